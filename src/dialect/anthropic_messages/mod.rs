//! Anthropic's Messages.

mod answer;
mod carried;
mod citation;
mod decode_blocks;
mod decode_request;
mod decode_tools;
mod encode_blocks;
mod encode_messages;
mod encode_request;
mod encode_tools;
mod fields;
mod model;
mod piece;
mod schema;
mod stop;
mod stream_reader;
mod stream_writer;
#[cfg(test)]
mod tests;
mod thinking;
pub mod trouble;
pub mod usage;

use std::borrow::Cow;

use bytes::Bytes;

use super::ir::{Answer, Dropped, MediaKind, Request, Trouble};
use super::wire::{Peek, Tells, Wire};
use super::{Asked, Called, Codec, StreamReader, StreamWriter, To};
use crate::error::Refusal;

/// Its facts.
pub const WIRE: Wire = Wire {
    peek: Peek { model_in_body: true, stream_default: Some(false), max_output: &["max_tokens"], choices: &[] },
    path: |_, _| Cow::Borrowed("/messages"),
    stream_type: "text/event-stream",
    headers: &[("anthropic-version", "2023-06-01")],
    forwarded: &["anthropic-version", "anthropic-beta"],
    returned: &["request-id"],
    tells: Tells {
        last_types: &["message_stop"],
        finishes: &["stop_reason"],
        finished: Some(usage::is_finished),
        ..Tells::of(&["usage"], usage::read)
    },
    answers: &["content"],
};

/// Reads and writes it.
pub struct Messages;

// === impl Messages ===

impl Codec for Messages {
    fn takes_url(&self, kind: MediaKind, url: &str) -> bool {
        matches!(kind, MediaKind::Image | MediaKind::Document) && url.starts_with("https://")
    }

    fn decode_request(&self, _: &Called, body: &[u8]) -> Result<Request, Refusal> {
        decode_request::decode(body)
    }

    fn encode_request(&self, request: &Request, to: &To<'_>, dropped: &mut Dropped) -> Result<Bytes, Refusal> {
        encode_request::encode(request, to, dropped)
    }

    fn decode_answer(&self, body: &[u8]) -> Result<Answer, String> {
        answer::decode(body)
    }

    fn encode_answer(&self, answer: Answer, asked: &Asked, dropped: &mut Dropped) -> Bytes {
        answer::encode(answer, asked, dropped)
    }

    fn decode_trouble(&self, status: u16, body: &[u8]) -> Trouble {
        trouble::read(status, body)
    }

    fn stream_reader(&self) -> Box<dyn StreamReader> {
        Box::new(stream_reader::Reader::default())
    }

    fn stream_writer(&self, asked: &Asked) -> Box<dyn StreamWriter> {
        Box::new(stream_writer::Writer::new(&asked.request.model))
    }
}
