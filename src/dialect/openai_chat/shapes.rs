//! Answers as providers of the dialect send them, whole or chunk by chunk, with what they add to OpenAI's.
//!
//! Source: OpenAI's "The chat completion (chunk) object"; the others' members are named where they stand.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::loose::{self, Said};

/// A whole answer, or one chunk of a stream.
#[derive(Debug, Deserialize)]
#[allow(missing_docs, reason = "the names are the dialect's own")]
pub struct Chunk<'a> {
    #[serde(default, deserialize_with = "loose::text")]
    pub id: Option<String>,
    #[serde(default, deserialize_with = "loose::text")]
    pub object: Option<String>,
    #[serde(default, deserialize_with = "loose::text")]
    pub model: Option<String>,
    #[serde(default, deserialize_with = "loose::number")]
    pub created: Option<i64>,
    #[serde(default, borrow)]
    pub choices: Option<Vec<Choice<'a>>>,
    #[serde(default, borrow)]
    pub usage: Option<&'a RawValue>,
    #[serde(default, deserialize_with = "loose::text")]
    pub service_tier: Option<String>,
    #[serde(default, borrow)]
    pub error: Option<&'a RawValue>,
    /// Groq's own: usage of a stream, and its errors.
    #[serde(default, borrow)]
    pub x_groq: Option<Groq<'a>>,
    /// Perplexity's sources: URLs.
    #[serde(default, borrow)]
    pub citations: Option<&'a RawValue>,
    /// Perplexity's sources: `{title, url, date, snippet}`.
    #[serde(default, borrow)]
    pub search_results: Option<&'a RawValue>,
}

#[derive(Debug, Deserialize)]
#[allow(missing_docs, reason = "the names are the dialect's own")]
pub struct Groq<'a> {
    #[serde(default, borrow)]
    pub usage: Option<&'a RawValue>,
    #[serde(default, borrow)]
    pub error: Option<&'a RawValue>,
}

#[derive(Debug, Deserialize)]
#[allow(missing_docs, reason = "the names are the dialect's own")]
pub struct Choice<'a> {
    #[serde(default, deserialize_with = "loose::number")]
    pub index: Option<i64>,
    #[serde(default, borrow)]
    pub delta: Option<Message<'a>>,
    #[serde(default, borrow)]
    pub message: Option<Message<'a>>,
    #[serde(default, deserialize_with = "loose::text")]
    pub finish_reason: Option<String>,
    /// vLLM's: the stop sequence that was met.
    #[serde(default, borrow)]
    pub stop_reason: Option<&'a RawValue>,
    #[serde(default, borrow)]
    pub logprobs: Option<&'a RawValue>,
    /// Moonshot's place for a stream's usage.
    #[serde(default, borrow)]
    pub usage: Option<&'a RawValue>,
    /// OpenRouter's place for an error of the provider behind it.
    #[serde(default, borrow)]
    pub error: Option<&'a RawValue>,
}

/// A message, or what is added to it.
#[derive(Debug, Default, Deserialize)]
#[allow(missing_docs, reason = "the names are the dialect's own")]
pub struct Message<'a> {
    #[serde(default, deserialize_with = "loose::said")]
    pub content: Option<Said>,
    #[serde(default, deserialize_with = "loose::text")]
    pub refusal: Option<String>,
    #[serde(default, deserialize_with = "loose::text")]
    pub reasoning_content: Option<String>,
    #[serde(default, deserialize_with = "loose::text")]
    pub reasoning: Option<String>,
    #[serde(default, borrow)]
    pub reasoning_details: Option<&'a RawValue>,
    #[serde(default, borrow)]
    pub tool_calls: Option<Vec<Call<'a>>>,
    #[serde(default)]
    pub function_call: Option<Function>,
    #[serde(default, borrow)]
    pub annotations: Option<&'a RawValue>,
    /// OpenRouter's: `[{type: image_url, image_url: {url}}]`.
    #[serde(default, borrow)]
    pub images: Option<&'a RawValue>,
    #[serde(default)]
    pub audio: Option<Audio>,
    /// Groq's: the tools that it ran itself.
    #[serde(default, borrow)]
    pub executed_tools: Option<&'a RawValue>,
}

#[derive(Debug, Deserialize)]
#[allow(missing_docs, reason = "the names are the dialect's own")]
pub struct Call<'a> {
    #[serde(default, deserialize_with = "loose::number")]
    pub index: Option<i64>,
    #[serde(default, deserialize_with = "loose::text")]
    pub id: Option<String>,
    #[serde(default)]
    pub function: Option<Function>,
    #[serde(default)]
    pub custom: Option<Custom>,
    /// Google's: a thought signature.
    #[serde(default, borrow)]
    pub extra_content: Option<&'a RawValue>,
}

#[derive(Debug, Deserialize)]
#[allow(missing_docs, reason = "the names are the dialect's own")]
pub struct Function {
    #[serde(default, deserialize_with = "loose::text")]
    pub name: Option<String>,
    #[serde(default, deserialize_with = "loose::json_text")]
    pub arguments: Option<String>,
}

#[derive(Debug, Deserialize)]
#[allow(missing_docs, reason = "the names are the dialect's own")]
pub struct Custom {
    #[serde(default, deserialize_with = "loose::text")]
    pub name: Option<String>,
    #[serde(default, deserialize_with = "loose::text")]
    pub input: Option<String>,
}

#[derive(Debug, Deserialize)]
#[allow(missing_docs, reason = "the names are the dialect's own")]
pub struct Audio {
    #[serde(default, deserialize_with = "loose::text")]
    pub data: Option<String>,
    #[serde(default, deserialize_with = "loose::text")]
    pub transcript: Option<String>,
}

/// A choice's `logprobs`.
#[derive(Debug, Deserialize)]
#[allow(missing_docs, reason = "the names are the dialect's own")]
pub struct Logprobs {
    pub content: Option<Vec<Logprob>>,
    pub refusal: Option<Vec<Logprob>>,
}

/// A token's.
#[derive(Debug, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are the dialect's own")]
pub struct Logprob {
    pub token: String,
    pub bytes: Option<Vec<u8>>,
    /// OpenAI's -9999.0 stands for "very unlikely", as `null` does elsewhere.
    pub logprob: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_logprobs: Option<Vec<Logprob>>,
}
