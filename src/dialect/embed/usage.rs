//! What embeddings and rankings cost, as each dialect's answer tells it.

use serde::Deserialize;

use crate::dialect::openai_chat;
use crate::dialect::wire::{Tells, last};
use crate::ledger::record::Usage;

/// For answers that pass as they are.
pub const TELLS: Tells = Tells::of(&[], read);

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

/// Cohere's `meta`.
#[derive(Debug, Deserialize)]
struct Meta {
    billed_units: Option<Billed>,
}

/// Reads the usage of a whole answer or of its end, whichever dialect it is in: a ranking repeats documents, which may hold anything.
fn read(json: &[u8], _: Option<Usage>) -> Option<Usage> {
    last(json, "usage")
        .and_then(|usage| openai_chat::usage::parse_input(usage.get().as_bytes()))
        .or_else(|| told::<Meta>(json, "meta")?.billed_units?.into_usage())
        .or_else(|| told::<Metadata>(json, "usageMetadata")?.into_usage())
        .or_else(|| told::<u64>(json, "prompt_eval_count").map(of_input))
}

fn told<'a, T: Deserialize<'a>>(json: &'a [u8], name: &str) -> Option<T> {
    serde_json::from_str(last(json, name)?.get()).ok()
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
