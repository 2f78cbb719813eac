//! Ollama's `/api/chat` and `/api/generate`: JSON, and lines of JSON as a stream, which is what it does unless told otherwise.
//!
//! Source: "API" in Ollama's documentation (`docs/api.md`) and the types of its Go package `api`.

mod answer;
mod decode_request;
mod encode_request;
mod message;
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
use crate::catalog::Operation;
use crate::error::Refusal;

/// Its facts.
pub const WIRE: Wire = Wire {
    peek: Peek { model_in_body: true, stream_default: Some(true), max_output: &["options.num_predict"], choices: &[] },
    path: |_, _| Cow::Borrowed("/api/chat"),
    stream_type: "application/x-ndjson",
    headers: &[],
    forwarded: &[],
    returned: &[],
    tells: Tells { finishes: &["done"], finished: Some(usage::is_done), ..Tells::of(&["eval_count", "prompt_eval_count"], usage::read) },
    answers: &["message", "response"],
};

/// Reads and writes it.
pub struct Ollama;

// === impl Ollama ===

impl Codec for Ollama {
    fn takes_url(&self, _: MediaKind, _: &str) -> bool {
        false
    }

    fn decode_request(&self, called: &Called, body: &[u8]) -> Result<Request, Refusal> {
        decode_request::read(is_generate(called), body)
    }

    fn encode_request(&self, request: &Request, to: &To<'_>, dropped: &mut Dropped) -> Result<Bytes, Refusal> {
        encode_request::write(request, to, dropped)
    }

    fn decode_answer(&self, body: &[u8]) -> Result<Answer, String> {
        answer::read(body)
    }

    fn encode_answer(&self, answer: Answer, asked: &Asked, dropped: &mut Dropped) -> Bytes {
        answer::write(answer, asked, dropped)
    }

    fn stream_reader(&self) -> Box<dyn StreamReader> {
        Box::<stream_reader::Reader>::default()
    }

    fn stream_writer(&self, asked: &Asked) -> Box<dyn StreamWriter> {
        Box::new(stream_writer::Writer::new(asked))
    }
}

/// Whether `/api/generate` was called and not `/api/chat`.
fn is_generate(called: &Called) -> bool {
    called.operation == Operation::Completions
}

/// The meaning of a `done_reason`; a call for tools ends with `stop` too.
fn finish(reason: Option<&str>, calls_tools: bool) -> Finish {
    match reason {
        None | Some("stop" | "") if calls_tools => Finish::ToolCalls,
        None | Some("stop" | "") => Finish::Stop,
        Some("tool_calls") => Finish::ToolCalls,
        Some("length") => Finish::Length,
        Some("content_filter") => Finish::ContentFilter,
        Some("refusal") => Finish::Refusal,
        Some("error") => Finish::Error,
        Some(other) => Finish::Other(other.to_owned()),
    }
}

/// The `done_reason`; Ollama has no closed list of them.
fn done_reason(finish: &Finish) -> &str {
    match finish {
        Finish::Stop | Finish::StopSequence(_) | Finish::ToolCalls | Finish::Pause => "stop",
        Finish::Length | Finish::ContextExceeded => "length",
        Finish::ContentFilter => "content_filter",
        Finish::Refusal => "refusal",
        Finish::MalformedToolCall | Finish::Error => "error",
        Finish::Other(reason) => reason,
    }
}

/// `created_at` for seconds since 1970; now where they are not known.
fn created_at(seconds: i64) -> String {
    let known = jiff::Timestamp::from_second(seconds).ok().filter(|_| seconds > 0);
    known.unwrap_or_else(jiff::Timestamp::now).to_string()
}

/// An id for a tool call that was given none.
fn call_id() -> String {
    format!("call_{}", super::fresh_id())
}
