//! Usage as Messages reports it: in the whole answer, or in a stream's `message_start` and again, in all so far, in each `message_delta`.
//!
//! Source: the `usage` object of Anthropic's Messages and streaming references. `input_tokens` counts neither cache reads nor cache writes.

use serde::Deserialize;

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
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub struct Reported {
    input_tokens: Option<u64>,
    cache_read_input_tokens: Option<u64>,
    cache_creation_input_tokens: Option<u64>,
    output_tokens: Option<u64>,
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
    pub fn over(self, before: Usage) -> Usage {
        let uncached = self.input_tokens.unwrap_or(before.input - before.cached - before.cache_write);
        let cached = self.cache_read_input_tokens.unwrap_or(before.cached);
        let cache_write = self.cache_creation_input_tokens.unwrap_or(before.cache_write);
        Usage { input: uncached + cached + cache_write, cached, cache_write, output: self.output_tokens.unwrap_or(before.output), ..before }
    }
}
