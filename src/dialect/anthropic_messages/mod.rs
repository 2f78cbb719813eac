//! Anthropic's Messages.

pub mod usage;

use std::borrow::Cow;

use super::wire::{Peek, Tells, Wire};

/// Its facts.
pub const WIRE: Wire = Wire {
    peek: Peek { model_in_body: true, stream_default: Some(false), max_output: &["max_tokens"], choices: None },
    path: |_, _| Cow::Borrowed("/messages"),
    stream_type: "text/event-stream",
    headers: &[("anthropic-version", "2023-06-01")],
    forwarded: &["anthropic-version", "anthropic-beta"],
    returned: &["request-id"],
    tells: Tells { members: &["usage"], read: usage::read, last: &["event: message_stop"] },
};
