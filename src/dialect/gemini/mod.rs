//! Google's Gemini: `generateContent` and `streamGenerateContent`.

pub mod usage;

use std::borrow::Cow;

use super::wire::{Form, Peek, Tells, Wire};

/// Its facts.
pub const WIRE: Wire = Wire {
    peek: Peek {
        model_in_body: false,
        stream_default: None,
        max_output: &["generationConfig.maxOutputTokens", "generation_config.max_output_tokens"],
        choices: None,
    },
    path: |model, form| {
        let verb = match form {
            Form::Whole => "generateContent",
            Form::Stream => "streamGenerateContent?alt=sse",
            Form::Array => "streamGenerateContent",
        };
        Cow::Owned(format!("/models/{model}:{verb}"))
    },
    stream_type: "text/event-stream",
    headers: &[],
    forwarded: &[],
    returned: &[],
    tells: Tells { members: &["usageMetadata"], read: usage::read, last: &[] },
};
