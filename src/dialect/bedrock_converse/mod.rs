//! Amazon Bedrock's Converse and ConverseStream.

pub mod usage;

use std::borrow::Cow;

use super::wire::{Form, Peek, Tells, Wire};

/// Its facts.
pub const WIRE: Wire = Wire {
    peek: Peek { model_in_body: false, stream_default: None, max_output: &["inferenceConfig.maxTokens"], choices: None },
    path: |model, form| {
        let operation = if form == Form::Whole { "converse" } else { "converse-stream" };
        Cow::Owned(format!("/model/{}/{operation}", encode_label(model)))
    },
    stream_type: "application/vnd.amazon.eventstream",
    headers: &[],
    forwarded: &[],
    returned: &["x-amzn-requestid"],
    tells: Tells { members: &["usage"], read: usage::read, last: &[] },
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
