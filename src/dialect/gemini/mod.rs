//! Google's Gemini: `generateContent` and `streamGenerateContent`.

mod answer;
mod carry;
mod chunk;
mod contents;
mod decode_request;
mod encode_request;
mod family;
mod fields;
mod finish;
mod grounding;
mod logprobs;
mod media;
mod messages;
mod partial;
mod parts;
mod schema;
mod stream_reader;
mod stream_writer;
#[cfg(test)]
mod tests;
mod thinking;
mod tools;
pub mod trouble;
pub mod usage;

use std::borrow::Cow;

use bytes::Bytes;

use super::ir::{Answer, Dropped, MediaKind, Request};
use super::wire::{Form, Peek, Tells, Wire, in_path};
use super::{Asked, Called, Codec, StreamReader, StreamWriter, To};
use crate::error::Refusal;

/// Reads and writes it.
pub struct Gemini;

/// Its facts.
pub const WIRE: Wire = Wire {
    peek: Peek {
        model_in_body: false,
        stream_default: None,
        // Readers of protobuf's JSON take either spelling of each name.
        max_output: &[
            "generationConfig.maxOutputTokens",
            "generationConfig.max_output_tokens",
            "generation_config.maxOutputTokens",
            "generation_config.max_output_tokens",
        ],
        choices: &[
            "generationConfig.candidateCount",
            "generationConfig.candidate_count",
            "generation_config.candidateCount",
            "generation_config.candidate_count",
        ],
    },
    path: |model, form| {
        let verb = match form {
            Form::Whole => "generateContent",
            Form::Stream => "streamGenerateContent?alt=sse",
            Form::Array => "streamGenerateContent",
        };
        Cow::Owned(format!("/models/{}:{verb}", in_path(model)))
    },
    stream_type: "text/event-stream",
    headers: &[],
    forwarded: &[],
    returned: &[],
    tells: Tells {
        finishes: &["finishReason", "blockReason"],
        finished: Some(usage::is_finished),
        ..Tells::of(&["usageMetadata"], usage::read)
    },
    answers: &["candidates", "promptFeedback", "usageMetadata"],
};

// === impl Gemini ===

impl Codec for Gemini {
    fn takes_url(&self, _: MediaKind, url: &str) -> bool {
        media::takes_url(url)
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

    fn stream_reader(&self) -> Box<dyn StreamReader> {
        Box::new(stream_reader::Reader::default())
    }

    fn stream_writer(&self, asked: &Asked) -> Box<dyn StreamWriter> {
        Box::new(stream_writer::Writer::new(asked))
    }
}
