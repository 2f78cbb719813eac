//! Usage as Gemini reports it: in the whole answer, and in each chunk of a stream in all so far.
//!
//! Source: `UsageMetadata` in the Gemini API reference. `promptTokenCount` includes cached tokens; thoughts stand beside the candidates.

use serde::Deserialize;

use crate::ledger::record::Usage;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    usage_metadata: Option<Reported>,
}

/// The `usageMetadata` object.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Reported {
    prompt_token_count: u64,
    candidates_token_count: u64,
    thoughts_token_count: u64,
    cached_content_token_count: u64,
    tool_use_prompt_token_count: u64,
    prompt_tokens_details: Vec<OfModality>,
    candidates_tokens_details: Vec<OfModality>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct OfModality {
    modality: String,
    token_count: u64,
}

/// Reads the usage of an answer or a chunk; a later chunk says it all again.
pub fn read(json: &[u8], so_far: &mut Option<Usage>) {
    if let Ok(Document { usage_metadata: Some(reported) }) = serde_json::from_slice(json) {
        *so_far = Some(reported.into());
    }
}

impl From<Reported> for Usage {
    fn from(reported: Reported) -> Usage {
        let audio = |details: &[OfModality]| details.iter().filter(|part| part.modality == "AUDIO").map(|part| part.token_count).sum();
        Usage {
            input: reported.prompt_token_count + reported.tool_use_prompt_token_count,
            cached: reported.cached_content_token_count,
            cache_write: 0,
            output: reported.candidates_token_count + reported.thoughts_token_count,
            reasoning: reported.thoughts_token_count,
            input_audio: audio(&reported.prompt_tokens_details),
            output_audio: audio(&reported.candidates_tokens_details),
        }
    }
}
