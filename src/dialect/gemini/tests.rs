#![allow(clippy::unwrap_used)]

mod answers;
mod foreign;
mod round_trip;
mod traffic;

use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;

use super::Gemini;
use crate::catalog::{Dialect, Operation};
use crate::dialect::ir::*;
use crate::dialect::{Asked, Called, Codec, To};

fn called() -> Called {
    Called::new(Operation::Chat, Dialect::Gemini)
}

fn asked() -> Asked {
    Asked { called: called(), request: Arc::new(Request { model: "asked".to_owned(), ..Request::default() }), body: Bytes::new() }
}

fn decode(body: &Value) -> Request {
    Gemini.decode_request(&called(), body.to_string().as_bytes()).unwrap()
}

fn encode_for(model: &str, request: &Request) -> (Value, Dropped) {
    let mut dropped = Dropped::default();
    let body = Gemini.encode_request(request, &To { model, facts: None }, &mut dropped).unwrap();
    (serde_json::from_slice(&body).unwrap(), dropped)
}

fn collect(events: Vec<Event>) -> Answer {
    let mut collector = Collector::default();
    events.into_iter().for_each(|event| collector.take(event));
    collector.finish().unwrap()
}

fn read_stream(pieces: &[&[u8]]) -> Vec<Event> {
    let (mut reader, mut events) = (Gemini.stream_reader(), Vec::new());
    pieces.iter().for_each(|piece| reader.push(piece, &mut events));
    reader.finish(&mut events);
    events
}
