//! An answer's output items and their parts, as they are written.
//!
//! Source: `OutputItem` and `OutputContent` of OpenAI's API reference.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::dialect::ir::TokenLogprob;

/// An output item.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Item {
    /// Text and refusals.
    Message {
        /// `msg_…`
        id: String,
        /// `in_progress`, `completed`, `incomplete`
        status: &'static str,
        /// `assistant`
        role: &'static str,
        /// Its parts.
        content: Vec<Part>,
    },
    /// Reasoning, and whatever the provider wants back.
    Reasoning {
        /// `rs_…`
        id: String,
        /// At most one [`Part::SummaryText`].
        summary: Vec<Part>,
        /// See [`Carried`](super::carried::Carried).
        encrypted_content: Option<String>,
    },
    /// A call to a function.
    FunctionCall {
        /// `fc_…`; pairs nothing.
        id: String,
        /// Pairs the call with its output.
        call_id: String,
        /// The function's name.
        name: String,
        /// JSON text.
        arguments: String,
        /// As of a message.
        status: &'static str,
    },
    /// A call to a tool that takes free text.
    CustomToolCall {
        /// `ctc_…`; pairs nothing.
        id: String,
        /// Pairs the call with its output.
        call_id: String,
        /// The tool's name.
        name: String,
        /// Free text.
        input: String,
        /// As of a message.
        status: &'static str,
    },
    /// An image.
    ImageGenerationCall {
        /// `ig_…`
        id: String,
        /// As of a message.
        status: &'static str,
        /// Base64.
        result: String,
        /// `png`, `webp`, `jpeg`
        output_format: String,
    },
    /// As its provider, which speaks this dialect, has it.
    #[serde(untagged)]
    Native(Value),
}

/// A part of an item.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Part {
    /// Text.
    OutputText {
        /// The text.
        text: String,
        /// What it cites.
        annotations: Vec<Value>,
        /// Its tokens.
        logprobs: Vec<Logprob>,
    },
    /// The model declines.
    Refusal {
        /// In its words.
        refusal: String,
    },
    /// Reasoning that can be read.
    SummaryText {
        /// The text.
        text: String,
    },
}

/// A token and its probability; those of `top_logprobs` have none themselves.
#[derive(Debug, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are the field's own")]
pub struct Logprob {
    pub token: String,
    pub logprob: f64,
    #[serde(default)]
    pub bytes: Option<Vec<u8>>,
    #[serde(default)]
    pub top_logprobs: Vec<Logprob>,
}

// === impl Item ===

impl Item {
    /// Sets its status, where it has one.
    pub fn set_status(&mut self, new: &'static str) {
        match self {
            Item::Message { status, .. }
            | Item::FunctionCall { status, .. }
            | Item::CustomToolCall { status, .. }
            | Item::ImageGenerationCall { status, .. } => *status = new,
            Item::Reasoning { .. } | Item::Native(_) => {}
        }
    }
}

// === impl Logprob ===

impl From<TokenLogprob> for Logprob {
    fn from(told: TokenLogprob) -> Logprob {
        let bytes = told.bytes.unwrap_or_else(|| told.token.as_bytes().to_vec());
        Logprob {
            bytes: Some(bytes),
            token: told.token,
            logprob: told.logprob,
            top_logprobs: told.top.into_iter().map(Logprob::from).collect(),
        }
    }
}

impl From<Logprob> for TokenLogprob {
    fn from(told: Logprob) -> TokenLogprob {
        TokenLogprob {
            token: told.token,
            logprob: told.logprob,
            bytes: told.bytes,
            top: told.top_logprobs.into_iter().map(TokenLogprob::from).collect(),
        }
    }
}
