//! Usage as Responses tell it: `input_tokens` includes cached ones, `output_tokens` includes reasoning.
//!
//! Source: `ResponseUsage` of OpenAI's API reference.

use serde::{Deserialize, Serialize};

use crate::ledger::record::Usage;

/// The object on the wire; members that some providers leave out count as 0.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Reported {
    input_tokens: Option<u64>,
    input_tokens_details: Option<OfInput>,
    output_tokens: Option<u64>,
    output_tokens_details: Option<OfOutput>,
    total_tokens: Option<u64>,
}

#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct OfInput {
    cached_tokens: Option<u64>,
    cache_write_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    audio_tokens: Option<u64>,
}

#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct OfOutput {
    reasoning_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    audio_tokens: Option<u64>,
}

// === impl Reported ===

impl Reported {
    /// What it says; `None` where it counts nothing.
    pub fn read(self) -> Option<Usage> {
        let input = self.input_tokens.or(self.total_tokens)?;
        let (of_input, of_output) = (self.input_tokens_details.unwrap_or_default(), self.output_tokens_details.unwrap_or_default());
        let (output, reasoning) = (self.output_tokens.unwrap_or(0), of_output.reasoning_tokens.unwrap_or(0));
        // Some count reasoning beside the output, not in it: their total gives them away.
        let is_beside = reasoning > 0 && self.total_tokens == Some(input.saturating_add(output).saturating_add(reasoning));
        Some(Usage {
            input,
            cached: of_input.cached_tokens.unwrap_or(0).min(input),
            cache_write: of_input.cache_write_tokens.unwrap_or(0),
            output: if is_beside { output.saturating_add(reasoning) } else { output },
            reasoning,
            input_audio: of_input.audio_tokens.unwrap_or(0),
            output_audio: of_output.audio_tokens.unwrap_or(0),
        })
    }
}

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
