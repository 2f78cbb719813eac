//! Amazon Bedrock's Converse and ConverseStream.

mod additional;
mod answer;
mod citations;
mod content;
mod decode_request;
mod encode_messages;
mod encode_request;
mod encode_tools;
mod family;
mod fields;
mod media;
mod stream_reader;
mod stream_writer;
#[cfg(test)]
mod tests;
mod trouble;
pub mod usage;

use std::borrow::Cow;

use bytes::Bytes;

pub use trouble::{exception, stream_exception};

use super::ir::{Answer, Dropped, MediaKind, Request, Trouble};
use super::wire::{Form, Peek, Tells, Wire};
use super::{Asked, Called, Codec, StreamReader, StreamWriter, To};
use crate::error::Refusal;

/// Reads and writes it.
pub struct Bedrock;

/// Its facts.
pub const WIRE: Wire = Wire {
    peek: Peek { model_in_body: false, stream_default: None, max_output: &["inferenceConfig.maxTokens"], choices: &[] },
    path: |model, form| {
        let operation = if form == Form::Whole { "converse" } else { "converse-stream" };
        Cow::Owned(format!("/model/{}/{operation}", encode_label(model)))
    },
    stream_type: "application/vnd.amazon.eventstream",
    headers: &[],
    forwarded: &[],
    returned: &["x-amzn-requestid"],
    tells: Tells { last: &["metadata"], finishes: &["messageStop"], ..Tells::of(&["usage"], usage::read) },
    answers: &["output"],
};

/// A model's id as one segment of a path: AWS encodes all but the unreserved characters (RFC 3986, section 2.3).
pub fn encode_label(model: &str) -> String {
    let mut out = String::with_capacity(model.len() + 8);
    for byte in model.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

// === impl Bedrock ===

impl Codec for Bedrock {
    fn takes_url(&self, _: MediaKind, url: &str) -> bool {
        url.starts_with("s3://")
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

    fn encode_answer(&self, answer: Answer, _: &Asked, dropped: &mut Dropped) -> Bytes {
        answer::encode(answer, dropped)
    }

    fn decode_trouble(&self, status: u16, body: &[u8]) -> Trouble {
        trouble::read(status, body)
    }

    fn stream_reader(&self) -> Box<dyn StreamReader> {
        Box::new(stream_reader::Reader::default())
    }

    fn stream_writer(&self, _: &Asked) -> Box<dyn StreamWriter> {
        Box::new(stream_writer::Writer::default())
    }
}
