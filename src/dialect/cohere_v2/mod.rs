//! Cohere's v2 chat.
//!
//! Source: "Chat" and "Chat with Streaming" in Cohere's v2 API reference, and the types of its Python SDK.

mod answer;
mod assistant;
mod citation;
mod decode_request;
mod document;
mod encode_request;
mod stream_reader;
mod stream_writer;
#[cfg(test)]
mod tests;
pub mod usage;

use std::borrow::Cow;

use bytes::Bytes;

use super::ir::{Answer, Dropped, Finish, MediaKind, Request};
use super::wire::{Peek, Tells, Wire};
use super::{Asked, Called, Codec, StreamReader, StreamWriter, To};
use crate::error::Refusal;

/// Its facts.
pub const WIRE: Wire = Wire {
    peek: Peek { model_in_body: true, stream_default: Some(false), max_output: &["max_tokens"], choices: &[] },
    path: |_, _| Cow::Borrowed("/chat"),
    stream_type: "text/event-stream",
    headers: &[],
    forwarded: &["x-client-name"],
    returned: &[],
    tells: Tells { last_types: &["message-end"], finishes: &["finish_reason"], ..Tells::of(&["usage"], usage::read) },
    answers: &["finish_reason"],
};

/// Reads and writes it.
pub struct Cohere;

// === impl Cohere ===

impl Codec for Cohere {
    fn takes_url(&self, kind: MediaKind, url: &str) -> bool {
        kind == MediaKind::Image && (url.starts_with("https://") || url.starts_with("http://"))
    }

    fn decode_request(&self, _: &Called, body: &[u8]) -> Result<Request, Refusal> {
        decode_request::read(body)
    }

    fn encode_request(&self, request: &Request, to: &To<'_>, dropped: &mut Dropped) -> Result<Bytes, Refusal> {
        encode_request::write(request, to, dropped)
    }

    fn decode_answer(&self, body: &[u8]) -> Result<Answer, String> {
        answer::read(body)
    }

    fn encode_answer(&self, answer: Answer, _: &Asked, dropped: &mut Dropped) -> Bytes {
        answer::write(answer, dropped)
    }

    fn stream_reader(&self) -> Box<dyn StreamReader> {
        Box::<stream_reader::Reader>::default()
    }

    fn stream_writer(&self, _: &Asked) -> Box<dyn StreamWriter> {
        Box::<stream_writer::Writer>::default()
    }
}

/// The meaning of a `finish_reason`; earlier versions wrote it in small letters.
fn finish(reason: &str) -> Finish {
    match reason.to_ascii_uppercase().as_str() {
        "COMPLETE" => Finish::Stop,
        // Which sequence it was is not told.
        "STOP_SEQUENCE" => Finish::StopSequence(String::new()),
        "MAX_TOKENS" => Finish::Length,
        "TOOL_CALL" => Finish::ToolCalls,
        "ERROR" => Finish::Error,
        "ERROR_TOXIC" => Finish::ContentFilter,
        "ERROR_LIMIT" => Finish::ContextExceeded,
        _ => Finish::Other(reason.to_owned()),
    }
}

/// The `finish_reason` that comes closest.
fn finish_reason(finish: &Finish) -> &str {
    match finish {
        Finish::Stop | Finish::Pause => "COMPLETE",
        Finish::StopSequence(_) => "STOP_SEQUENCE",
        Finish::Length | Finish::ContextExceeded => "MAX_TOKENS",
        Finish::ToolCalls => "TOOL_CALL",
        Finish::ContentFilter | Finish::Refusal | Finish::MalformedToolCall | Finish::Error => "ERROR",
        Finish::Other(reason) if reason == "TIMEOUT" => "TIMEOUT",
        Finish::Other(_) => "COMPLETE",
    }
}
