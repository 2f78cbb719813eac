//! Usage as Responses tell it to callers: `input_tokens` includes cached ones, `output_tokens` includes reasoning.
//!
//! Source: `ResponseUsage` of OpenAI's API reference.

use serde::Serialize;

use crate::ledger::record::Usage;

/// The object on the wire.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Reported {
    input_tokens: Option<u64>,
    input_tokens_details: Option<OfInput>,
    output_tokens: Option<u64>,
    output_tokens_details: Option<OfOutput>,
    total_tokens: Option<u64>,
}

#[derive(Clone, Copy, Debug, Default, Serialize)]
struct OfInput {
    cached_tokens: Option<u64>,
    cache_write_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    audio_tokens: Option<u64>,
}

#[derive(Clone, Copy, Debug, Default, Serialize)]
struct OfOutput {
    reasoning_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    audio_tokens: Option<u64>,
}

// === impl Reported ===

impl From<&Usage> for Reported {
    fn from(usage: &Usage) -> Reported {
        let if_any = |count: u64| (count > 0).then_some(count);
        Reported {
            input_tokens: Some(usage.input),
            input_tokens_details: Some(OfInput {
                cached_tokens: Some(usage.cached),
                cache_write_tokens: Some(usage.cache_write),
                audio_tokens: if_any(usage.input_audio),
            }),
            output_tokens: Some(usage.output),
            output_tokens_details: Some(OfOutput { reasoning_tokens: Some(usage.reasoning), audio_tokens: if_any(usage.output_audio) }),
            total_tokens: Some(usage.input.saturating_add(usage.output)),
        }
    }
}
