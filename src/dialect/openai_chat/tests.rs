#![allow(clippy::unwrap_used)]

//! Recorded answers and requests, round trips, and whatever bytes there may be.

mod bare_reasoning;
mod recorded;
mod round_trip;
mod shapes;

use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;

use super::OpenaiChat;
use crate::catalog::{Dialect, Operation};
use crate::dialect::ir::{Answer, Collector, Dropped, Event, Request, Trouble};
use crate::dialect::{Asked, Called, Codec, StreamReader, To};

fn called() -> Called {
    Called::new(Operation::Chat, Dialect::OpenaiChat)
}

fn decode(body: &Value) -> Request {
    OpenaiChat.decode_request(&called(), body.to_string().as_bytes()).unwrap()
}

fn encode(request: &Request, model: &str) -> (Value, Dropped) {
    let mut dropped = Dropped::default();
    let body = OpenaiChat.encode_request(request, &To { model, facts: None }, &mut dropped).unwrap();
    (serde_json::from_slice(&body).unwrap(), dropped)
}

fn asked(body: &Value) -> Asked {
    let mut request = decode(body);
    request.model = "asked".into();
    Asked { called: called(), request: Arc::new(request), body: Bytes::from(body.to_string()) }
}

fn events(pieces: &[&[u8]]) -> Vec<Event> {
    let mut reader: Box<dyn StreamReader> = OpenaiChat.stream_reader();
    let mut out = Vec::new();
    pieces.iter().for_each(|piece| reader.push(piece, &mut out));
    reader.finish(&mut out);
    out
}

fn collect(events: Vec<Event>) -> Result<Answer, Trouble> {
    let mut collector = Collector::default();
    events.into_iter().for_each(|event| collector.take(event));
    collector.finish()
}

/// The stream that a caller gets.
fn written(events: &[Event], asked: &Asked) -> String {
    let mut writer = OpenaiChat.stream_writer(asked);
    let mut out = Vec::new();
    events.iter().for_each(|event| writer.write(event.clone(), &mut out));
    String::from_utf8(out).unwrap()
}
