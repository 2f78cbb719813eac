//! Usage as OpenAI-shaped answers report it, in whichever of its spellings.
//!
//! Source: the `usage` objects of OpenAI's Chat Completions, Embeddings and Responses references.

use std::sync::LazyLock;

use memchr::memmem::Finder;
use serde::{Deserialize, Serialize};

use crate::dialect::members::Members;
use crate::ledger::record::Usage;

const NAME: &[u8] = b"\"usage\"";
/// Made once: making one costs as much as searching a kilobyte.
static NAME_FINDER: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(NAME));

#[derive(Deserialize)]
struct Reported {
    #[serde(alias = "input_tokens")]
    prompt_tokens: Option<u64>,
    #[serde(alias = "output_tokens")]
    completion_tokens: Option<u64>,
    total_tokens: Option<u64>,
    /// Transcriptions write it in a third way.
    #[serde(alias = "input_tokens_details", alias = "input_token_details")]
    prompt_tokens_details: Option<InputDetails>,
    #[serde(alias = "output_tokens_details")]
    completion_tokens_details: Option<OutputDetails>,
    /// DeepSeek's own name for cached input.
    prompt_cache_hit_tokens: Option<u64>,
    /// Mistral's.
    num_cached_tokens: Option<u64>,
    /// Moonshot's.
    cached_tokens: Option<u64>,
}

/// Usage as OpenAI reports it.
#[derive(Serialize)]
pub struct Written {
    prompt_tokens: u64,
    completion_tokens: u64,
    total_tokens: u64,
    prompt_tokens_details: WrittenInput,
    completion_tokens_details: WrittenOutput,
}

#[derive(Serialize)]
struct WrittenInput {
    cached_tokens: u64,
    audio_tokens: u64,
    /// OpenRouter's, where there are any.
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_write_tokens: Option<u64>,
}

#[derive(Serialize)]
struct WrittenOutput {
    reasoning_tokens: u64,
    audio_tokens: u64,
    accepted_prediction_tokens: u64,
    rejected_prediction_tokens: u64,
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

#[derive(Deserialize)]
struct Inner {
    usage: Option<Reported>,
}

/// Reads a usage object; `None` where it counts no tokens.
pub fn parse(usage: &[u8]) -> Option<Usage> {
    serde_json::from_slice::<Option<Reported>>(usage).ok()??.into_usage()
}

/// Reads the usage of an answer or an event; a later one says it all again.
pub fn read(json: &[u8], so_far: &mut Option<Usage>) {
    *so_far = of(json).or(*so_far);
}

/// The usage of a document or an event: its own, else whatever is nested in it (Groq has a usage for each model of a system).
fn of(json: &[u8]) -> Option<Usage> {
    let members = Members::read(json).ok();
    members.and_then(|members| own(&members)).or_else(|| last_in(json))
}

/// A document's own usage, or that of the response in it.
pub fn own(members: &Members<'_>) -> Option<Usage> {
    let usage = members.get("usage").and_then(|usage| serde_json::from_str::<Option<Reported>>(usage.raw).ok()?);
    let of_response = || serde_json::from_str::<Option<Inner>>(members.get("response")?.raw).ok()??.usage;
    usage.or_else(of_response)?.into_usage()
}

/// Where a `"usage": {` begins, from the end on; `"usage": null`, which stands in every event of a stream, costs no more than this look.
///
/// Inside a JSON string a quote is escaped, so the bytes `"usage"` followed by a colon are a member's name wherever they stand.
pub fn objects(json: &[u8]) -> impl Iterator<Item = usize> + '_ {
    // Searched forwards, which is many times faster than backwards; mostly there is none, and nothing is allocated.
    let found: Vec<usize> = NAME_FINDER.find_iter(json).filter(|at| object_after(json, *at).is_some()).collect();
    found.into_iter().rev()
}

/// The last usage in JSON text, whole or cut, that counts any tokens.
fn last_in(json: &[u8]) -> Option<Usage> {
    objects(json).find_map(|at| {
        let mut reader = serde_json::Deserializer::from_slice(object_after(json, at)?);
        Reported::deserialize(&mut reader).ok()?.into_usage()
    })
}

fn object_after(json: &[u8], at: usize) -> Option<&[u8]> {
    let value = json[at + NAME.len()..].trim_ascii_start().strip_prefix(b":")?.trim_ascii_start();
    value.starts_with(b"{").then_some(value)
}

// === impl Written ===

impl Written {
    /// The same usage, written.
    pub fn of(usage: Usage) -> Written {
        Written {
            prompt_tokens: usage.input,
            completion_tokens: usage.output,
            total_tokens: usage.input + usage.output,
            prompt_tokens_details: WrittenInput {
                cached_tokens: usage.cached,
                audio_tokens: usage.input_audio,
                cache_write_tokens: Some(usage.cache_write).filter(|tokens| *tokens > 0),
            },
            completion_tokens_details: WrittenOutput {
                reasoning_tokens: usage.reasoning,
                audio_tokens: usage.output_audio,
                accepted_prediction_tokens: 0,
                rejected_prediction_tokens: 0,
            },
        }
    }
}

// === impl Reported ===

impl Reported {
    fn into_usage(self) -> Option<Usage> {
        let input = self.prompt_tokens.or(self.total_tokens)?;
        let of_input = self.prompt_tokens_details.unwrap_or_default();
        let of_output = self.completion_tokens_details.unwrap_or_default();
        let cached = of_input.cached_tokens.or(self.prompt_cache_hit_tokens).or(self.num_cached_tokens).or(self.cached_tokens);
        let output = self.completion_tokens.unwrap_or(0);
        // Some count reasoning beside the output, not in it: their total gives them away.
        let reasoning = of_output.reasoning_tokens.unwrap_or(0);
        let beside = self.total_tokens == Some(input + output + reasoning) && reasoning > 0;
        Some(Usage {
            input,
            cached: cached.unwrap_or(0).min(input),
            cache_write: of_input.cache_write_tokens.unwrap_or(0),
            output: if beside { output + reasoning } else { output },
            reasoning,
            input_audio: of_input.audio_tokens.unwrap_or(0),
            output_audio: of_output.audio_tokens.unwrap_or(0),
        })
    }
}
