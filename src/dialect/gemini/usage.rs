//! Usage as Gemini reports it: in the whole answer, and in each chunk of a stream in all so far.
//!
//! Source: `UsageMetadata` in the Gemini API reference. `promptTokenCount` includes cached tokens; thoughts stand beside the candidates,
//! and a count of none may be left out.

use serde::{Deserialize, Serialize};

use crate::dialect::count::Count;
use crate::ledger::record::Usage;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    usage_metadata: Option<Reported>,
}

/// The `usageMetadata` object.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Reported {
    prompt_token_count: Option<u64>,
    candidates_token_count: Count,
    total_token_count: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thoughts_token_count: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cached_content_token_count: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_use_prompt_token_count: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_tokens_details: Option<Vec<OfModality>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    candidates_tokens_details: Option<Vec<OfModality>>,
    #[serde(skip_serializing)]
    tool_use_prompt_tokens_details: Option<Vec<OfModality>>,
    #[serde(skip_serializing)]
    cache_tokens_details: Option<Vec<OfModality>>,
    /// The tier that served it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_tier: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
struct OfModality {
    modality: Option<String>,
    token_count: Option<u64>,
}

/// Reads the usage of an answer or a chunk; a later chunk says it all again, or says nothing of tokens.
pub fn read(json: &[u8], _: Option<Usage>) -> Option<Usage> {
    serde_json::from_slice::<Document>(json).ok()?.usage_metadata?.usage()
}

/// Whether a chunk says why the answer has ended.
pub fn is_finished(json: &[u8]) -> bool {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Chunk {
        #[serde(default)]
        candidates: Vec<Candidate>,
        prompt_feedback: Option<Feedback>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Candidate {
        finish_reason: Option<String>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Feedback {
        block_reason: Option<String>,
    }
    let Ok(Chunk { candidates, prompt_feedback }) = serde_json::from_slice(json) else { return false };
    let is_finished = |candidate: Candidate| candidate.finish_reason.is_some_and(|reason| !reason.is_empty());
    candidates.into_iter().any(is_finished) || prompt_feedback.is_some_and(|feedback| feedback.block_reason.is_some())
}

// === impl Reported ===

impl Reported {
    /// The tokens; `None` where none are counted, as in the middle of Vertex AI's streams, or nobody knows how many were said.
    pub fn usage(&self) -> Option<Usage> {
        let prompt = self.prompt_token_count.unwrap_or(0).saturating_add(self.tool_use_prompt_token_count.unwrap_or(0));
        let thoughts = self.thoughts_token_count.unwrap_or(0);
        let candidates = match (self.candidates_token_count, self.prompt_token_count, self.total_token_count) {
            (Count::Told(candidates), ..) => candidates,
            // Where only the total is told beside the prompt, the rest of it is output.
            (_, Some(_), Some(total)) => total.saturating_sub(prompt.saturating_add(thoughts)),
            (Count::Absent, Some(_), None) => 0,
            (Count::Unknown, _, None) | (_, None, _) => return None,
        };
        Some(Usage {
            input: prompt,
            cached: self.cached_content_token_count.unwrap_or(0),
            output: candidates.saturating_add(thoughts),
            reasoning: thoughts,
            // Sound that was cached is cached input.
            input_audio: audio(&self.prompt_tokens_details)
                .saturating_add(audio(&self.tool_use_prompt_tokens_details))
                .saturating_sub(audio(&self.cache_tokens_details)),
            output_audio: audio(&self.candidates_tokens_details),
            ..Usage::default()
        })
    }
}

impl From<&Usage> for Reported {
    fn from(usage: &Usage) -> Reported {
        let candidates = usage.output.saturating_sub(usage.reasoning);
        let some = |count: u64| (count > 0).then_some(count);
        Reported {
            prompt_token_count: Some(usage.input),
            candidates_token_count: Count::Told(candidates),
            total_token_count: Some(usage.input.saturating_add(usage.output)),
            thoughts_token_count: some(usage.reasoning),
            cached_content_token_count: some(usage.cached),
            prompt_tokens_details: details(usage.input, usage.input_audio),
            candidates_tokens_details: details(candidates, usage.output_audio),
            ..Reported::default()
        }
    }
}

fn audio(details: &Option<Vec<OfModality>>) -> u64 {
    let of_audio = details.iter().flatten().filter(|part| part.modality.as_deref() == Some("AUDIO"));
    of_audio.filter_map(|part| part.token_count).fold(0, u64::saturating_add)
}

/// By modality, where there is more than text.
fn details(all: u64, audio: u64) -> Option<Vec<OfModality>> {
    let of = |modality: &str, count| OfModality { modality: Some(modality.to_owned()), token_count: Some(count) };
    (audio > 0).then(|| vec![of("TEXT", all.saturating_sub(audio)), of("AUDIO", audio)])
}
