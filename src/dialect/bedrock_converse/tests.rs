#![allow(clippy::unwrap_used)]

mod recorded;
mod roundtrip;
mod said;

use std::sync::Arc;

use bytes::Bytes;

use super::Bedrock;
use crate::catalog::{Dialect, Model, Operation};
use crate::dialect::ir::{Answer, Collector, Dropped, Event, Request};
use crate::dialect::{Asked, Called, Codec, To};

const CLAUDE: &str = "us.anthropic.claude-sonnet-4-5-20250929-v1:0";

fn called() -> Called {
    Called::new(Operation::Chat, Dialect::BedrockConverse)
}

fn asked() -> Asked {
    Asked { called: called(), request: Arc::new(Request::default()), body: Bytes::from_static(b"{}") }
}

fn decoded(body: &str) -> Request {
    Bedrock.decode_request(&called(), body.as_bytes()).unwrap()
}

fn encoded_for(request: &Request, model: &str, facts: Option<&Model>) -> (serde_json::Value, Vec<String>) {
    let mut dropped = Dropped::default();
    let body = Bedrock.encode_request(request, &To { model, facts }, &mut dropped).unwrap();
    (serde_json::from_slice(&body).unwrap(), dropped.names().map(str::to_owned).collect())
}

fn read_stream<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<Event> {
    let mut reader = Bedrock.stream_reader();
    let mut out = Vec::new();
    pieces.into_iter().for_each(|piece| reader.push(piece, &mut out));
    reader.finish(&mut out);
    out
}

fn collect(events: Vec<Event>) -> Answer {
    let mut collector = Collector::default();
    events.into_iter().for_each(|event| collector.take(event));
    collector.finish().unwrap()
}

fn write_stream(answer: Answer) -> Vec<u8> {
    let mut writer = Bedrock.stream_writer(&asked());
    let mut out = Vec::new();
    answer.into_events().into_iter().for_each(|event| writer.write(event, &mut out));
    out
}

fn write_whole(answer: Answer) -> Bytes {
    Bedrock.encode_answer(answer, &asked(), &mut Dropped::default())
}
