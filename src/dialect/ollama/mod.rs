//! Ollama's `/api/chat`: JSON, and lines of JSON as a stream, which is what it does unless told otherwise.

pub mod usage;

use std::borrow::Cow;

use super::wire::{Peek, Tells, Wire};

/// Its facts.
pub const WIRE: Wire = Wire {
    peek: Peek { model_in_body: true, stream_default: Some(true), max_output: &["options.num_predict"], choices: None },
    path: |_, _| Cow::Borrowed("/api/chat"),
    stream_type: "application/x-ndjson",
    headers: &[],
    forwarded: &[],
    returned: &[],
    tells: Tells { members: &["eval_count", "prompt_eval_count"], read: usage::read, last: &[] },
};
