//! Usage as Converse reports it: in the whole answer, or in a stream's `metadata` event.
//!
//! Source: `TokenUsage` in the Amazon Bedrock API reference. `inputTokens` counts neither cache reads nor cache writes.

use serde::{Deserialize, Serialize};

use crate::ledger::record::Usage;

#[derive(Deserialize)]
struct Document {
    usage: Option<Reported>,
}

/// The `usage` object.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Reported {
    input_tokens: u64,
    output_tokens: Option<u64>,
    total_tokens: u64,
    cache_read_input_tokens: u64,
    cache_write_input_tokens: u64,
    #[serde(skip_serializing)]
    cache_details: Option<Vec<Kept>>,
}

/// For how long some of what was written to the cache is kept there.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Kept {
    input_tokens: u64,
    ttl: String,
}

/// Reads the usage of an answer or an event.
pub fn read(json: &[u8], _: Option<Usage>) -> Option<Usage> {
    serde_json::from_slice::<Document>(json).ok()?.usage?.usage()
}

// === impl Reported ===

impl Reported {
    /// The tokens; `None` where it is not told how many were said.
    pub fn usage(self) -> Option<Usage> {
        let (cached, cache_write) = (self.cache_read_input_tokens, self.cache_write_input_tokens);
        let details = self.cache_details.iter().flatten().filter(|kept| kept.ttl == "1h");
        let kept_an_hour = details.fold(0, |all: u64, kept| all.saturating_add(kept.input_tokens));
        Some(Usage {
            input: self.input_tokens.saturating_add(cached).saturating_add(cache_write),
            cached,
            cache_write,
            output: self.output_tokens?,
            kept_an_hour: kept_an_hour.min(cache_write),
            ..Usage::default()
        })
    }
}

impl From<Usage> for Reported {
    fn from(usage: Usage) -> Reported {
        Reported {
            input_tokens: usage.input.saturating_sub(usage.cached.saturating_add(usage.cache_write)),
            output_tokens: Some(usage.output),
            total_tokens: usage.input.saturating_add(usage.output),
            cache_read_input_tokens: usage.cached,
            cache_write_input_tokens: usage.cache_write,
            cache_details: None,
        }
    }
}
