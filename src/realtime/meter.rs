//! Reads what a session used from its provider's `response.done` events, and nothing else of what passes.
//!
//! Source: OpenAI's Realtime reference, server event `response.done`.

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
struct Reported {
    #[serde(default)]
    input_tokens: u64,
    #[serde(default)]
    output_tokens: u64,
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
    let reported = event.response.filter(|_| event.kind == "response.done")?.usage?;
    let (input, output) = (reported.input_token_details.unwrap_or_default(), reported.output_token_details.unwrap_or_default());
    let cached_audio = input.cached_tokens_details.and_then(|details| details.audio_tokens).unwrap_or(0);
    Some(Usage {
        input: reported.input_tokens,
        cached: input.cached_tokens.unwrap_or(0),
        output: reported.output_tokens,
        reasoning: output.reasoning_tokens.unwrap_or(0),
        // Sound from the cache has the price of the cache: counted as both it would be paid for twice.
        input_audio: input.audio_tokens.unwrap_or(0).saturating_sub(cached_audio),
        output_audio: output.audio_tokens.unwrap_or(0),
        ..Usage::default()
    })
}
