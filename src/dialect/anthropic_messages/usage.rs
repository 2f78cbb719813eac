//! Usage as Messages reports it: in the whole answer, or in a stream's `message_start` and again, in all so far, in each `message_delta`.
//!
//! Source: the `usage` object of Anthropic's Messages and streaming references. `input_tokens` counts neither cache reads nor cache writes,
//! and none of the counts what it took to sum up the conversation on the way ("Compaction"): `iterations` tells that.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::dialect::members::Members;
use crate::dialect::openai_chat;
use crate::ledger::record::{Charged, Usage};

#[derive(Deserialize)]
struct Document<'a> {
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
    #[serde(borrow)]
    message: Option<Inner<'a>>,
}

#[derive(Deserialize)]
struct Inner<'a> {
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
}

/// The `usage` object.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Reported {
    input_tokens: Option<u64>,
    cache_read_input_tokens: Option<u64>,
    cache_creation_input_tokens: Option<u64>,
    cache_creation: Option<Created>,
    output_tokens: Option<u64>,
    output_tokens_details: Option<OutputDetails>,
    /// As it came: what has another shape tomorrow must not take the other counts with it.
    iterations: Option<Box<RawValue>>,
    /// The tier that served the request.
    pub service_tier: Option<String>,
    /// What some say that they charge, as they say it in OpenAI's answers.
    #[serde(skip)]
    charged: Option<Charged>,
}

/// For how long what was written to the cache is kept there.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
struct Created {
    ephemeral_1h_input_tokens: Option<u64>,
}

/// One of the times that a model was called for a request.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
struct Iteration {
    #[serde(rename = "type")]
    kind: Kind,
    input_tokens: u64,
    cache_read_input_tokens: u64,
    cache_creation_input_tokens: u64,
    output_tokens: u64,
}

/// What for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    /// To sum up what was said so far.
    Compaction,
    /// For the answer, which is counted outside, or by another model, whose price nobody here knows.
    #[default]
    #[serde(other)]
    Other,
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

/// Reads what an answer or an event says that was used, over what earlier events said.
pub fn read(json: &[u8], so_far: Option<Usage>) -> Option<Usage> {
    let Document { usage, message } = serde_json::from_slice(json).ok()?;
    let is_beginning = usage.is_none();
    let reported = Reported::read(usage.or_else(|| message?.usage)?.get())?;
    (is_beginning || reported.tells_output()).then(|| reported.with_compactions(so_far.unwrap_or_default()))
}

/// Whether an event says why the answer has ended.
pub fn is_finished(json: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Event {
        delta: Option<Delta>,
        message: Option<Delta>,
    }
    #[derive(Deserialize)]
    struct Delta {
        stop_reason: Option<String>,
    }
    let Ok(Event { delta, message }) = serde_json::from_slice(json) else { return false };
    [delta, message].into_iter().flatten().any(|of| of.stop_reason.is_some())
}

// === impl Reported ===

impl Reported {
    /// Reads a `usage` object; `None` where it is none, or where one of its counts is no count.
    pub fn read(usage: &str) -> Option<Reported> {
        let charged = openai_chat::usage::charged(&Members::read(usage.as_bytes()).ok()?);
        Some(Reported { charged, ..serde_json::from_str(usage).ok()? })
    }

    /// Whether it is of all of an answer: what tells no output says nothing of what that cost.
    pub fn tells_output(&self) -> bool {
        self.output_tokens.is_some()
    }

    /// What it says, over what was said before.
    pub fn over(&self, before: Usage) -> Usage {
        let uncached = self.input_tokens.unwrap_or_else(|| before.input.saturating_sub(before.cached.saturating_add(before.cache_write)));
        let cached = self.cache_read_input_tokens.unwrap_or(before.cached);
        let cache_write = self.cache_creation_input_tokens.unwrap_or(before.cache_write);
        let output = self.output_tokens.unwrap_or(before.output);
        let reasoning = self.output_tokens_details.and_then(|details| details.thinking_tokens).unwrap_or(before.reasoning);
        let input = uncached.saturating_add(cached).saturating_add(cache_write);
        let kept_an_hour = self.cache_creation.and_then(|created| created.ephemeral_1h_input_tokens).unwrap_or(before.kept_an_hour);
        Usage {
            kept_an_hour: kept_an_hour.min(cache_write),
            input,
            cached,
            cache_write,
            output,
            reasoning: reasoning.min(output),
            charged: self.charged,
            ..before
        }
    }

    /// The same with what it took to sum up the conversation, which is billed and is no part of what is told of the answer.
    fn with_compactions(&self, before: Usage) -> Usage {
        let usage = self.over(before);
        // An event without a count of its own goes by one of before, which has them already.
        if self.input_tokens.is_some() { self.compactions().fold(usage, Iteration::added) } else { usage }
    }

    fn compactions(&self) -> impl Iterator<Item = Iteration> {
        let iterations = self.iterations.as_ref().and_then(|raw| serde_json::from_str::<Vec<Iteration>>(raw.get()).ok());
        iterations.into_iter().flatten().filter(|iteration| iteration.kind == Kind::Compaction)
    }
}

// === impl Iteration ===

impl Iteration {
    /// The usage with this one's.
    fn added(to: Usage, one: Iteration) -> Usage {
        let input = [one.input_tokens, one.cache_read_input_tokens, one.cache_creation_input_tokens];
        Usage {
            input: input.into_iter().fold(to.input, u64::saturating_add),
            cached: to.cached.saturating_add(one.cache_read_input_tokens),
            cache_write: to.cache_write.saturating_add(one.cache_creation_input_tokens),
            output: to.output.saturating_add(one.output_tokens),
            ..to
        }
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
