//! What the ledger says of a request: one record before the provider is called, one after.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::money::Usd;

/// Written before the provider is called: from then on the request is known, whatever happens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begin {
    /// The request's id, unique for good.
    pub id: String,
    /// When it came.
    pub at: Timestamp,
    /// The caller's key id.
    pub key: String,
    /// `chat`, `embeddings`, …
    pub operation: String,
    /// The provider first tried.
    pub provider: String,
    /// The model, as the provider names it.
    pub model: String,
    /// The most that it can cost; `None` where the catalogue has no price.
    pub reserved: Option<Usd>,
}

/// Written when the answer ended, however it did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settle {
    /// The id in its [`Begin`].
    pub id: String,
    /// When it ended.
    pub at: Timestamp,
    /// The provider that answered.
    pub provider: String,
    /// The model that answered.
    pub model: String,
    /// How it ended.
    pub outcome: Outcome,
    /// The status that the caller saw.
    pub status: u16,
    /// The tokens it took.
    pub usage: Usage,
    /// Where the tokens are from.
    pub source: Source,
    /// What it cost; `None` where the catalogue has no price.
    pub cost: Option<Usd>,
    /// Milliseconds to the first byte of the answer.
    pub first_byte_ms: Option<u64>,
    /// Milliseconds in all.
    pub total_ms: u64,
}

/// Tokens, as providers count them; `input` includes `cached` and `cache_write`, `output` includes `reasoning`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Usage {
    /// All input tokens.
    pub input: u64,
    /// Those of them read from the provider's cache.
    #[serde(skip_serializing_if = "is_zero")]
    pub cached: u64,
    /// Those of them written to the provider's cache.
    #[serde(skip_serializing_if = "is_zero")]
    pub cache_write: u64,
    /// All output tokens.
    pub output: u64,
    /// Those of them spent on reasoning.
    #[serde(skip_serializing_if = "is_zero")]
    pub reasoning: u64,
    /// Audio tokens in.
    #[serde(skip_serializing_if = "is_zero")]
    pub input_audio: u64,
    /// Audio tokens out.
    #[serde(skip_serializing_if = "is_zero")]
    pub output_audio: u64,
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Answered to the end.
    Answered,
    /// The provider answered with an error.
    ProviderError,
    /// The provider could not be reached, or broke off.
    Failed,
    /// The caller hung up first.
    Abandoned,
    /// The gateway stopped before the end was known; settled at its reservation.
    Assumed,
}

/// Where a token count is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The provider's own count.
    Reported,
    /// Estimated from what was seen, where the provider counted nothing.
    Estimated,
    /// Nothing was used.
    None,
}

/// Most requests have none of most kinds: what is not written is not read again either.
fn is_zero(count: &u64) -> bool {
    *count == 0
}
