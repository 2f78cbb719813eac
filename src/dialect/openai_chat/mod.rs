//! OpenAI's Chat Completions, which most providers speak.

mod answer;
mod calls;
mod citations;
mod details;
mod finish;
mod ids;
mod logprobs;
mod loose;
mod reading;
mod reading_calls;
mod request;
mod shapes;
mod stream_reader;
mod stream_writer;
#[cfg(test)]
mod tests;
mod trouble;
pub mod usage;

use std::borrow::Cow;

use bytes::Bytes;

use super::ir::{Answer, Dropped, MediaKind, Request};
use super::wire::{Peek, Tells, Wire};
use super::{Asked, Called, Codec, StreamReader, StreamWriter, To};
use crate::error::Refusal;

/// Chat Completions.
pub struct OpenaiChat;

/// Its facts.
pub const WIRE: Wire = Wire {
    peek: Peek {
        model_in_body: true,
        stream_default: Some(false),
        max_output: &["max_completion_tokens", "max_tokens"],
        // Of text completions all are billed of which the best are given.
        choices: &["n", "best_of"],
    },
    path: |_, _| Cow::Borrowed("/chat/completions"),
    stream_type: "text/event-stream",
    headers: &[],
    forwarded: &["openai-beta", "idempotency-key", "x-client-request-id"],
    returned: &["openai-processing-ms", "openai-version"],
    tells: Tells {
        own: Some(usage::own),
        last: &["data: [DONE]", "data:[DONE]"],
        finishes: &["finish_reason"],
        ..Tells::of(&["usage"], usage::read)
    },
    answers: &["choices"],
};

// === impl OpenaiChat ===

impl Codec for OpenaiChat {
    /// Files have to be inline, and audio too.
    fn takes_url(&self, kind: MediaKind, url: &str) -> bool {
        matches!(kind, MediaKind::Image | MediaKind::Video) && (url.starts_with("https://") || url.starts_with("http://"))
    }

    fn decode_request(&self, _: &Called, body: &[u8]) -> Result<Request, Refusal> {
        request::decode(body)
    }

    fn encode_request(&self, request: &Request, to: &To<'_>, dropped: &mut Dropped) -> Result<Bytes, Refusal> {
        request::encode(request, to, dropped)
    }

    fn decode_answer(&self, body: &[u8]) -> Result<Answer, String> {
        answer::decode(body)
    }

    fn encode_answer(&self, answer: Answer, asked: &Asked, dropped: &mut Dropped) -> Bytes {
        answer::encode(answer, asked, dropped)
    }

    fn stream_reader(&self) -> Box<dyn StreamReader> {
        Box::<stream_reader::Reader>::default()
    }

    fn stream_writer(&self, asked: &Asked) -> Box<dyn StreamWriter> {
        Box::new(stream_writer::Writer::new(asked))
    }
}
