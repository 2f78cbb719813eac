#![allow(clippy::unwrap_used)]

mod properties;
mod recorded;
mod spoken;

use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;

use super::Responses;
use crate::catalog::{Dialect, Operation};
use crate::dialect::ir::{Answer, Collector, Dropped, Event, Request, Trouble};
use crate::dialect::{Asked, Called, Codec, To};
use crate::error::Refusal;

fn called() -> Called {
    Called::new(Operation::Chat, Dialect::OpenaiResponses)
}

fn decode(body: &Value) -> Result<Request, Refusal> {
    Responses.decode_request(&called(), body.to_string().as_bytes())
}

fn encode(request: &Request) -> (Value, Vec<String>) {
    let mut dropped = Dropped::default();
    let body = Responses.encode_request(request, &To { model: &request.model, facts: None }, &mut dropped).unwrap();
    (serde_json::from_slice(&body).unwrap(), dropped.names().map(str::to_owned).collect())
}

fn asked(body: &Value) -> Asked {
    Asked { called: called(), request: Arc::new(decode(body).unwrap()), body: Bytes::from(body.to_string()) }
}

/// Reads a stream that comes in pieces of `size` bytes.
fn events(stream: &[u8], size: usize) -> Vec<Event> {
    let (mut reader, mut out) = (Responses.stream_reader(), Vec::new());
    stream.chunks(size).for_each(|piece| reader.push(piece, &mut out));
    reader.finish(&mut out);
    out
}

fn collect(events: Vec<Event>) -> Result<Answer, Trouble> {
    let mut collector = Collector::default();
    events.into_iter().for_each(|event| collector.take(event));
    collector.finish()
}

fn write_stream(events: Vec<Event>, asked: &Asked) -> String {
    let (mut writer, mut out) = (Responses.stream_writer(asked), Vec::new());
    events.into_iter().for_each(|event| writer.write(event, &mut out));
    String::from_utf8(out).unwrap()
}

/// The JSON of a stream's events, each checked against the event's name.
fn parse_stream(stream: &str) -> Vec<Value> {
    let read = |event: &str| {
        let (name, data) = event.strip_prefix("event: ").unwrap().split_once("\ndata: ").unwrap();
        let value: Value = serde_json::from_str(data).unwrap();
        assert_eq!(value["type"], name);
        value
    };
    stream.split_terminator("\n\n").map(read).collect()
}
