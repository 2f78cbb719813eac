//! What embeddings and rankings cost, as each dialect's answer tells it.

use memchr::memmem;
use serde::Deserialize;

use crate::dialect::openai_chat;
use crate::dialect::wire::Tells;
use crate::ledger::record::Usage;

/// For answers that pass as they are.
pub const TELLS: Tells = Tells { members: &[], read, own: None, last: &[], finishes: &[] };

/// Cohere's `meta.billed_units`.
#[derive(Debug, Deserialize)]
pub struct Billed {
    /// Tokens of texts.
    pub input_tokens: Option<f64>,
    /// Tokens of images.
    pub image_tokens: Option<f64>,
}

/// Gemini's `usageMetadata`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Metadata {
    /// All input.
    pub prompt_token_count: Option<u64>,
}

/// Input alone: vectors have no tokens.
pub fn of_input(input: u64) -> Usage {
    Usage { input, ..Usage::default() }
}

/// Reads the usage of a whole answer or of its end, whichever dialect it is in.
fn read(json: &[u8], so_far: &mut Option<Usage>) {
    let found = after(json, "\"usage\"")
        .and_then(openai_usage)
        .or_else(|| first::<Billed>(after(json, "\"billed_units\"")?)?.into_usage())
        .or_else(|| first::<Metadata>(after(json, "\"usageMetadata\"")?)?.into_usage())
        .or_else(|| first::<u64>(after(json, "\"prompt_eval_count\"")?).map(of_input));
    *so_far = found.or(*so_far);
}

fn openai_usage(value: &[u8]) -> Option<Usage> {
    let value: &serde_json::value::RawValue = first(value)?;
    openai_chat::usage::parse(value.get().as_bytes())
}

/// The value of the last member of that name: inside a text its quotes would be escaped.
fn after<'a>(json: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let at = memmem::rfind(json, name.as_bytes())?;
    json.get(at + name.len()..)?.trim_ascii_start().strip_prefix(b":")
}

/// The value that stands at the beginning.
fn first<'a, T: Deserialize<'a>>(json: &'a [u8]) -> Option<T> {
    T::deserialize(&mut serde_json::Deserializer::from_slice(json)).ok()
}

// === impl Billed ===

impl Billed {
    /// All that counts tokens.
    pub fn into_usage(self) -> Option<Usage> {
        let tokens = self.input_tokens.into_iter().chain(self.image_tokens).reduce(|one, other| one + other)?;
        Some(of_input(tokens as u64))
    }
}

// === impl Metadata ===

impl Metadata {
    /// What it counts.
    pub fn into_usage(self) -> Option<Usage> {
        self.prompt_token_count.map(of_input)
    }
}
