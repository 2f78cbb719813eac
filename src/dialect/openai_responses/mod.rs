//! OpenAI's Responses.

use std::borrow::Cow;

use super::openai_chat::usage;
use super::wire::{Peek, Tells, Wire};

/// Its facts.
pub const WIRE: Wire = Wire {
    peek: Peek { model_in_body: true, stream_default: Some(false), max_output: &["max_output_tokens"], choices: None },
    path: |_, _| Cow::Borrowed("/responses"),
    stream_type: "text/event-stream",
    headers: &[],
    forwarded: &["openai-beta", "idempotency-key", "x-client-request-id"],
    returned: &["openai-processing-ms", "openai-version"],
    tells: Tells { members: &["usage"], read: usage::read, last: &["event: response.completed", "event: response.incomplete"] },
};
