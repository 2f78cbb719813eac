//! Reads what a session used from its provider's events, and nothing else of what passes.
//!
//! Source: OpenAI's Realtime reference, server events `response.done` and `conversation.item.input_audio_transcription.completed`.

use std::sync::LazyLock;

use memchr::memmem::Finder;
use serde::Deserialize;

use crate::ledger::record::Usage;

/// Made once: making one costs as much as searching a kilobyte.
static DONE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\"response.done\""));

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(rename = "type", borrow)]
    kind: std::borrow::Cow<'a, str>,
    response: Option<Response>,
}

#[derive(Deserialize)]
struct Response {
    usage: Option<Reported>,
}

#[derive(Deserialize)]
struct Transcript {
    usage: Option<OfTranscript>,
}

#[derive(Deserialize)]
struct OfTranscript {
    #[serde(rename = "type")]
    kind: String,
    #[serde(flatten)]
    reported: Reported,
}

#[derive(Deserialize)]
struct Reported {
    #[serde(default)]
    input_tokens: u64,
    output_tokens: Option<u64>,
    #[serde(default)]
    input_token_details: Option<Details>,
    #[serde(default)]
    output_token_details: Option<Details>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Details {
    cached_tokens: Option<u64>,
    audio_tokens: Option<u64>,
    reasoning_tokens: Option<u64>,
    cached_tokens_details: Option<CachedDetails>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct CachedDetails {
    audio_tokens: Option<u64>,
}

/// The usage of one response, where the text is the event that ends one and reports it.
pub fn read(text: &str) -> Option<Usage> {
    DONE.find(text.as_bytes())?;
    let event: Event<'_> = serde_json::from_str(text).ok()?;
    event.response.filter(|_| event.kind == "response.done")?.usage?.usage()
}

/// The usage of one transcript, where its event reports it in tokens: some models are paid for by the second.
pub fn read_transcript(text: &str) -> Option<Usage> {
    let event: Transcript = serde_json::from_str(text).ok()?;
    event.usage.filter(|usage| usage.kind == "tokens")?.reported.usage()
}

// === impl Reported ===

impl Reported {
    /// The tokens; `None` where it is not told how many were said.
    fn usage(self) -> Option<Usage> {
        let (input, output) = (self.input_token_details.unwrap_or_default(), self.output_token_details.unwrap_or_default());
        let cached_audio = input.cached_tokens_details.and_then(|details| details.audio_tokens).unwrap_or(0);
        Some(Usage {
            input: self.input_tokens,
            cached: input.cached_tokens.unwrap_or(0),
            output: self.output_tokens?,
            reasoning: output.reasoning_tokens.unwrap_or(0),
            // Sound from the cache has the price of the cache: counted as both it would be paid for twice.
            input_audio: input.audio_tokens.unwrap_or(0).saturating_sub(cached_audio),
            output_audio: output.audio_tokens.unwrap_or(0),
            ..Usage::default()
        })
    }
}
