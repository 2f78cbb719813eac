#![allow(clippy::unwrap_used)]

mod foreign;
mod round_trip;
mod traffic;

use serde_json::Value;

use super::Messages;
use crate::catalog::{Dialect, Operation};
use crate::dialect::ir::{Dropped, Event, Request};
use crate::dialect::{Asked, Called, Codec, To};

const DIALECT: Dialect = Dialect::AnthropicMessages;

fn called() -> Called {
    Called::new(Operation::Chat, DIALECT)
}

fn asked(model: &str) -> Asked {
    let request = Request { model: model.to_owned(), ..Request::default() };
    Asked { called: called(), request: request.into(), body: Default::default() }
}

fn encoded(request: &Request, model: &str) -> (Value, Dropped) {
    let mut dropped = Dropped::default();
    let body = Messages.encode_request(request, &To { model, facts: None }, &mut dropped).unwrap();
    (serde_json::from_slice(&body).unwrap(), dropped)
}

/// A stream's events, read in pieces of `size` bytes.
fn events(stream: &[u8], size: usize) -> Vec<Event> {
    let (mut reader, mut out) = (Messages.stream_reader(), Vec::new());
    stream.chunks(size).for_each(|piece| reader.push(piece, &mut out));
    reader.finish(&mut out);
    out
}

/// Events written for a caller.
fn written(events: Vec<Event>, model: &str) -> Vec<u8> {
    let (mut writer, mut out) = (Messages.stream_writer(&asked(model)), Vec::new());
    events.into_iter().for_each(|event| writer.write(event, &mut out));
    out
}
