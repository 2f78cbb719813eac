//! A `GenerateContentResponse`: a whole answer, and each chunk of a stream.
//!
//! Source: `GenerateContentResponse` in the Gemini API reference; `partialArgs` and `willContinue` in Vertex AI's.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::usage::Reported;
use crate::dialect::count::if_read;

/// An answer or a chunk, borrowed from its bytes.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", bound(deserialize = "'de: 'a"))]
pub struct Chunk<'a> {
    /// The answers.
    pub candidates: Option<Vec<Candidate<'a>>>,
    /// Why the prompt was refused, if so.
    pub prompt_feedback: Option<PromptFeedback<'a>>,
    /// Tokens in all so far.
    #[serde(default, deserialize_with = "if_read")]
    pub usage_metadata: Option<Reported>,
    /// The model.
    pub model_version: Option<Text<'a>>,
    /// The answer's id.
    pub response_id: Option<Text<'a>>,
    /// RFC 3339.
    pub create_time: Option<Text<'a>>,
    /// An error in a stream.
    #[serde(borrow)]
    pub error: Option<&'a RawValue>,
}

/// What was found in the prompt.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", bound(deserialize = "'de: 'a"))]
pub struct PromptFeedback<'a> {
    /// Such as `SAFETY`.
    pub block_reason: Option<Text<'a>>,
}

/// One answer, or what is new of it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", bound(deserialize = "'de: 'a"))]
pub struct Candidate<'a> {
    /// Which.
    pub index: Option<u32>,
    /// What it says.
    pub content: Option<Content<'a>>,
    /// Why it ended.
    pub finish_reason: Option<Text<'a>>,
    /// What it was found with.
    #[serde(borrow)]
    pub grounding_metadata: Option<&'a RawValue>,
    /// What was fetched.
    #[serde(borrow)]
    pub url_context_metadata: Option<&'a RawValue>,
    /// What it quotes.
    pub citation_metadata: Option<CitationMetadata>,
    /// The tokens' probabilities.
    pub logprobs_result: Option<LogprobsResult>,
}

/// The parts, each read by itself.
#[derive(Debug, Deserialize)]
pub struct Content<'a> {
    /// As they came.
    #[serde(borrow)]
    pub parts: Option<Vec<&'a RawValue>>,
}

/// A part, as far as it has a meaning elsewhere.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", bound(deserialize = "'de: 'a"))]
pub struct Part<'a> {
    /// Text of the answer or of a thought.
    pub text: Option<Text<'a>>,
    /// It is a thought.
    pub thought: Option<bool>,
    /// What the provider wants back.
    pub thought_signature: Option<Text<'a>>,
    /// A tool call, or a piece of one.
    pub function_call: Option<FunctionCall<'a>>,
    /// Media.
    pub inline_data: Option<InlineData<'a>>,
}

/// A tool call, or a piece of one.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", bound(deserialize = "'de: 'a"))]
pub struct FunctionCall<'a> {
    /// Not every model gives one.
    pub id: Option<Text<'a>>,
    /// The tool's name; absent in later pieces.
    pub name: Option<Text<'a>>,
    /// The arguments.
    #[serde(borrow)]
    pub args: Option<&'a RawValue>,
    /// Pieces of arguments.
    pub partial_args: Option<Vec<PartialArg>>,
    /// More pieces follow.
    pub will_continue: Option<bool>,
}

/// A piece of one argument.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "the names are the API's own")]
pub struct PartialArg {
    pub json_path: Option<String>,
    pub string_value: Option<String>,
    pub number_value: Option<serde_json::Number>,
    pub bool_value: Option<bool>,
    pub null_value: Option<String>,
}

/// Media in the answer.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", bound(deserialize = "'de: 'a"))]
pub struct InlineData<'a> {
    /// Such as `image/png`.
    pub mime_type: Option<Text<'a>>,
    /// Base64.
    pub data: Option<Text<'a>>,
}

/// What an answer quotes.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CitationMetadata {
    /// AI Studio's name for them.
    pub citation_sources: Option<Vec<serde_json::Value>>,
    /// Vertex AI's.
    pub citations: Option<Vec<serde_json::Value>>,
}

/// The tokens' probabilities.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LogprobsResult {
    /// The tokens of the answer.
    pub chosen_candidates: Vec<Token>,
    /// The likeliest at each place.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub top_candidates: Vec<Top>,
}

/// The likeliest tokens at one place.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Top {
    /// Likeliest first.
    pub candidates: Vec<Token>,
}

/// A token.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Token {
    /// Its text.
    pub token: String,
    /// The natural logarithm of its probability.
    pub log_probability: f64,
}

/// A text that is borrowed unless it has escapes.
#[derive(Debug)]
pub struct Text<'a>(pub Cow<'a, str>);

// === impl Chunk ===

impl Chunk<'_> {
    /// Whether it says why the answer has ended.
    pub fn says_why_it_ended(&self) -> bool {
        let finished = |candidate: &Candidate<'_>| candidate.finish_reason.as_ref().is_some_and(|Text(reason)| !reason.is_empty());
        let is_blocked = self.prompt_feedback.as_ref().is_some_and(|feedback| feedback.block_reason.is_some());
        is_blocked || self.candidates.iter().flatten().any(finished)
    }
}

// === impl Text ===

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Text<'a>, D::Error> {
        #[derive(Deserialize)]
        struct Borrowed<'a>(#[serde(borrow)] Cow<'a, str>);
        Borrowed::deserialize(from).map(|Borrowed(text)| Text(text))
    }
}

/// JSON without white space between its tokens, as it came otherwise.
pub fn compact(raw: &RawValue) -> String {
    let (mut out, mut in_text, mut is_escaped) = (String::with_capacity(raw.get().len()), false, false);
    for c in raw.get().chars() {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' if in_text => is_escaped = true,
            '"' => in_text = !in_text,
            ' ' | '\n' | '\r' | '\t' if !in_text => continue,
            _ => {}
        }
        out.push(c);
    }
    out
}
