//! Usage as Messages reports it: in the whole answer, or in a stream's `message_start` and again, in all so far, in each `message_delta`.
//!
//! Source: the `usage` object of Anthropic's Messages and streaming references. `input_tokens` counts neither cache reads nor cache writes.

use serde::{Deserialize, Serialize};

use crate::ledger::record::Usage;

#[derive(Deserialize)]
struct Document {
    usage: Option<Reported>,
    message: Option<Inner>,
}

#[derive(Deserialize)]
struct Inner {
    usage: Option<Reported>,
}

/// The `usage` object.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Reported {
    input_tokens: Option<u64>,
    cache_read_input_tokens: Option<u64>,
    cache_creation_input_tokens: Option<u64>,
    output_tokens: Option<u64>,
    output_tokens_details: Option<OutputDetails>,
    /// The tier that served the request.
    pub service_tier: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
struct OutputDetails {
    thinking_tokens: Option<u64>,
}

/// The `usage` object as it is written.
#[derive(Clone, Debug, Serialize)]
pub struct Written {
    input_tokens: u64,
    cache_creation_input_tokens: u64,
    cache_read_input_tokens: u64,
    output_tokens: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_tokens_details: Option<OutputDetails>,
    /// The tier that served the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_tier: Option<&'static str>,
}

/// Reads the usage of an answer or an event, over what earlier events said.
pub fn read(json: &[u8], so_far: &mut Option<Usage>) {
    let Ok(document) = serde_json::from_slice::<Document>(json) else { return };
    if let Some(reported) = document.usage.or_else(|| document.message?.usage) {
        *so_far = Some(reported.over(so_far.unwrap_or_default()));
    }
}

// === impl Reported ===

impl Reported {
    /// What it says, over what was said before.
    pub fn over(&self, before: Usage) -> Usage {
        let uncached = self.input_tokens.unwrap_or_else(|| before.input.saturating_sub(before.cached + before.cache_write));
        let cached = self.cache_read_input_tokens.unwrap_or(before.cached);
        let cache_write = self.cache_creation_input_tokens.unwrap_or(before.cache_write);
        let output = self.output_tokens.unwrap_or(before.output);
        let reasoning = self.output_tokens_details.and_then(|details| details.thinking_tokens).unwrap_or(before.reasoning);
        let input = uncached.saturating_add(cached).saturating_add(cache_write);
        Usage { input, cached, cache_write, output, reasoning: reasoning.min(output), ..before }
    }
}

// === impl Written ===

impl From<Usage> for Written {
    fn from(usage: Usage) -> Written {
        Written {
            input_tokens: usage.input.saturating_sub(usage.cached.saturating_add(usage.cache_write)),
            cache_creation_input_tokens: usage.cache_write,
            cache_read_input_tokens: usage.cached,
            output_tokens: usage.output,
            output_tokens_details: (usage.reasoning > 0).then_some(OutputDetails { thinking_tokens: Some(usage.reasoning) }),
            service_tier: None,
        }
    }
}
