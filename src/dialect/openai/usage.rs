//! Usage as OpenAI-shaped answers report it, in whichever of its spellings.
//!
//! Source: the `usage` objects of OpenAI's Chat Completions, Embeddings and Responses references.

use memchr::memmem;
use serde::Deserialize;

use crate::ledger::record::Usage;

#[derive(Deserialize)]
struct Reported {
    #[serde(alias = "input_tokens")]
    prompt_tokens: Option<u64>,
    #[serde(alias = "output_tokens")]
    completion_tokens: Option<u64>,
    total_tokens: Option<u64>,
    #[serde(alias = "input_tokens_details")]
    prompt_tokens_details: Option<InputDetails>,
    #[serde(alias = "output_tokens_details")]
    completion_tokens_details: Option<OutputDetails>,
    /// DeepSeek's own name for cached input.
    prompt_cache_hit_tokens: Option<u64>,
}

#[derive(Default, Deserialize)]
struct InputDetails {
    cached_tokens: Option<u64>,
    cache_write_tokens: Option<u64>,
    audio_tokens: Option<u64>,
}

#[derive(Default, Deserialize)]
struct OutputDetails {
    reasoning_tokens: Option<u64>,
    audio_tokens: Option<u64>,
}

/// The last `"usage": {…}` in JSON text that counts any tokens.
///
/// Inside a JSON string a quote is escaped, so the bytes `"usage"` followed by a colon are a member's name wherever they stand.
pub fn last_in(json: &[u8]) -> Option<Usage> {
    let name = b"\"usage\"";
    memmem::rfind_iter(json, name).find_map(|at| {
        let rest = json[at + name.len()..].trim_ascii_start();
        let value = rest.strip_prefix(b":")?.trim_ascii_start();
        value.first().filter(|&&b| b == b'{')?;
        let mut reader = serde_json::Deserializer::from_slice(value);
        Reported::deserialize(&mut reader).ok()?.into_usage()
    })
}

impl Reported {
    fn into_usage(self) -> Option<Usage> {
        let input = self.prompt_tokens.or(self.total_tokens)?;
        let of_input = self.prompt_tokens_details.unwrap_or_default();
        let of_output = self.completion_tokens_details.unwrap_or_default();
        let output = self.completion_tokens.unwrap_or(0);
        // Some count reasoning beside the output, not in it: their total gives them away.
        let reasoning = of_output.reasoning_tokens.unwrap_or(0);
        let beside = self.total_tokens == Some(input + output + reasoning) && reasoning > 0;
        Some(Usage {
            input,
            cached: of_input.cached_tokens.or(self.prompt_cache_hit_tokens).unwrap_or(0).min(input),
            cache_write: of_input.cache_write_tokens.unwrap_or(0),
            output: if beside { output + reasoning } else { output },
            reasoning,
            input_audio: of_input.audio_tokens.unwrap_or(0),
            output_audio: of_output.audio_tokens.unwrap_or(0),
        })
    }
}
