//! OpenAI's Responses.

mod answer;
mod carried;
mod citation;
mod decode_items;
mod decode_request;
mod encode_items;
mod encode_request;
mod envelope;
mod fields;
mod item;
mod native;
mod state;
mod stream_reader;
mod stream_writer;
#[cfg(test)]
mod tests;
mod tools;
mod trouble;
mod usage;

use std::borrow::Cow;

use bytes::Bytes;

use super::ir::{Answer, Dropped, MediaKind, Request};
use super::openai_chat::usage as reported;
use super::wire::{Peek, Tells, Wire};
use super::{Asked, Called, Codec, StreamReader, StreamWriter, To};
use crate::error::Refusal;

pub use encode_request::LEAST_OUTPUT;
pub use state::refuse as refuse_held_state;

/// Its facts.
pub const WIRE: Wire = Wire {
    peek: Peek { model_in_body: true, stream_default: Some(false), max_output: &["max_output_tokens"], choices: &[] },
    path: |_, _| Cow::Borrowed("/responses"),
    stream_type: "text/event-stream",
    headers: &[],
    forwarded: &["openai-beta", "idempotency-key", "x-client-request-id"],
    returned: &["openai-processing-ms", "openai-version"],
    tells: Tells {
        last_types: &["response.completed", "response.incomplete", "response.failed"],
        ..Tells::of(&["usage"], reported::read_own)
    },
    answers: &["output"],
};

/// Reads and writes it.
pub struct Responses;

// === impl Responses ===

impl Codec for Responses {
    fn takes_url(&self, kind: MediaKind, url: &str) -> bool {
        let is_web = url.starts_with("https://") || url.starts_with("http://");
        is_web && matches!(kind, MediaKind::Image | MediaKind::Document)
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
        stream_writer::whole(answer, asked, dropped)
    }

    fn stream_reader(&self) -> Box<dyn StreamReader> {
        Box::new(stream_reader::Reader::default())
    }

    fn stream_writer(&self, asked: &Asked) -> Box<dyn StreamWriter> {
        Box::new(stream_writer::Writer::new(asked))
    }
}
