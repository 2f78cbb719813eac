//! Cohere's v2 chat.

pub mod usage;

use std::borrow::Cow;

use super::wire::{Peek, Tells, Wire};

/// Its facts.
pub const WIRE: Wire = Wire {
    peek: Peek { model_in_body: true, stream_default: Some(false), max_output: &["max_tokens"], choices: None },
    path: |_, _| Cow::Borrowed("/chat"),
    stream_type: "text/event-stream",
    headers: &[],
    forwarded: &["x-client-name"],
    returned: &[],
    tells: Tells { members: &["usage"], read: usage::read, last: &["event: message-end"] },
};
