//! OpenAI's Chat Completions, which most providers speak.

pub mod usage;

use std::borrow::Cow;

use super::wire::{Peek, Tells, Wire};

/// Its facts.
pub const WIRE: Wire = Wire {
    peek: Peek {
        model_in_body: true,
        stream_default: Some(false),
        max_output: &["max_completion_tokens", "max_tokens"],
        choices: Some("n"),
    },
    path: |_, _| Cow::Borrowed("/chat/completions"),
    stream_type: "text/event-stream",
    headers: &[],
    forwarded: &["openai-beta", "idempotency-key", "x-client-request-id"],
    returned: &["openai-processing-ms", "openai-version"],
    tells: Tells { members: &["usage"], read: usage::read, last: &["data: [DONE]"] },
};
