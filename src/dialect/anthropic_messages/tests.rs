#![allow(clippy::unwrap_used)]

mod foreign;
mod round_trip;
mod traffic;

use serde_json::Value;

use super::Messages;
use crate::catalog::{Dialect, Operation};
use crate::dialect::ir::{Dropped, Event, Request};
use crate::dialect::{Asked, Called, Codec, To};
use crate::ledger::record::Usage;

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

#[test]
fn what_it_took_to_sum_up_a_conversation_is_counted_with_the_answer() {
    let read = |events: &[&str]| {
        let mut usage = None;
        events.iter().for_each(|event| usage = super::usage::read(event.as_bytes(), usage).or(usage));
        usage.unwrap()
    };
    let compacted = r#"{"usage":{"input_tokens":23000,"output_tokens":1000,"cache_read_input_tokens":5,"iterations":[
        {"type":"compaction","input_tokens":180000,"output_tokens":3500,"cache_read_input_tokens":7,"cache_creation_input_tokens":2},
        {"type":"message","input_tokens":23000,"output_tokens":1000},
        {"type":"advisor_message","model":"another","input_tokens":9,"output_tokens":9}]}}"#;
    let expected = Usage { input: 203_014, cached: 12, cache_write: 2, output: 4500, ..Usage::default() };
    assert_eq!(read(&[compacted]), expected);
    // A stream tells it at its end, and what comes behind that without a count of its own adds nothing twice.
    let start = r#"{"type":"message_start","message":{"usage":{"input_tokens":23000,"output_tokens":1}}}"#;
    let later = r#"{"type":"message_delta","usage":{"output_tokens":4500,"iterations":[{"type":"compaction","input_tokens":180000}]}}"#;
    assert_eq!(read(&[start, compacted, later]), expected);
    for odd in [r#""none""#, r#"[{"type":7}]"#, r#"[{"type":"compaction","input_tokens":null}]"#] {
        let usage = read(&[&format!(r#"{{"usage":{{"input_tokens":3,"output_tokens":4,"iterations":{odd}}}}}"#)]);
        assert_eq!((usage.input, usage.output), (3, 4), "{odd}");
    }
}
