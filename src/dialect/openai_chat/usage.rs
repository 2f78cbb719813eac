//! Usage as OpenAI-shaped answers report it, in whichever of its spellings.
//!
//! Source: the `usage` objects of OpenAI's Chat Completions, Embeddings and Responses references.

use std::sync::LazyLock;

use memchr::memmem::Finder;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::dialect::members::Members;
use crate::dialect::vocabulary;
use crate::ledger::record::{Charged, Usage};
use crate::money::Usd;

const NAME: &[u8] = b"\"usage\"";
/// Made once: making one costs as much as searching a kilobyte.
static NAME_FINDER: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(NAME));

/// Counts of what is no dearer than the rest: one of them that cannot be read takes no other with it.
const CHEAPER: [&str; 5] = ["cached_tokens", "num_cached_tokens", "prompt_cache_hit_tokens", "cache_read_input_tokens", "reasoning_tokens"];

/// What a usage object counts, by whichever names.
#[derive(Default)]
struct Reported {
    input: Option<u64>,
    output: Option<u64>,
    total: Option<u64>,
    cached: Option<u64>,
    /// Where the details of the input tell nothing of it.
    cached_beside: Option<u64>,
    cache_write: Option<u64>,
    input_audio: Option<u64>,
    reasoning: Option<u64>,
    output_audio: Option<u64>,
    /// Sound was read, which some count by its seconds, and its tokens in the total alone.
    has_heard: bool,
    charged: Option<Charged>,
}

/// Which object of a usage counts are read from.
#[derive(Clone, Copy)]
enum Part {
    All,
    Input,
    Output,
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

/// Reads a usage object; `None` where it does not tell how many tokens were read and how many said.
pub fn parse(usage: &[u8]) -> Option<Usage> {
    Reported::read(usage)?.into_usage()
}

/// The same of what says nothing, such as vectors: `None` where it counts no tokens.
pub fn parse_input(usage: &[u8]) -> Option<Usage> {
    let mut reported = Reported::read(usage)?;
    // All of it was read: what the total has more is pictures and the like.
    let read = reported.total.take().map(|total| total.saturating_sub(reported.output.unwrap_or(0)));
    reported.input = reported.input.max(read);
    reported.output = reported.output.or(Some(0));
    reported.into_usage()
}

/// Reads the usage of an answer or an event, its own, else whatever is nested in it (Groq has a usage for each model of a system); a later one says it
/// all again.
pub fn read(json: &[u8], _: Option<Usage>) -> Option<Usage> {
    read_own(json, None).or_else(|| last_in(json))
}

/// Reads the same of a dialect that repeats what it was asked with, of which anything may be called usage.
pub fn read_own(json: &[u8], _: Option<Usage>) -> Option<Usage> {
    own(&Members::read(json).ok()?)
}

/// A document's own usage, or that of the response in it.
pub fn own(members: &Members<'_>) -> Option<Usage> {
    let reported = |members: &Members<'_>| Reported::read(members.get("usage")?.raw.as_bytes());
    let of_response = || reported(&Members::read(members.get("response")?.raw.as_bytes()).ok()?);
    reported(members).or_else(of_response)?.into_usage()
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
        parse(<&RawValue>::deserialize(&mut reader).ok()?.get().as_bytes())
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
            total_tokens: usage.input.saturating_add(usage.output),
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
    /// Reads a usage object; `None` where it is none, or where one of its counts is no count. A general reader takes twice as long.
    fn read(usage: &[u8]) -> Option<Reported> {
        let mut reported = Reported::default();
        reported.add(Part::All, usage)?;
        Some(reported)
    }

    fn add(&mut self, part: Part, object: &[u8]) -> Option<()> {
        let members = Members::read(object).ok()?;
        if matches!(part, Part::All) {
            self.charged = charged(&members);
        }
        for member in members.iter().filter(|member| member.raw != "null") {
            let count = match (part, &*member.name) {
                (Part::All, "prompt_tokens" | "input_tokens") => &mut self.input,
                (Part::All, "completion_tokens" | "output_tokens") => &mut self.output,
                (Part::All, "total_tokens") => &mut self.total,
                // DeepSeek's, Mistral's and Moonshot's own names, and Anthropic's, which other gateways hand on.
                (Part::All, "prompt_cache_hit_tokens" | "num_cached_tokens" | "cached_tokens" | "cache_read_input_tokens") => {
                    &mut self.cached_beside
                }
                (Part::All, "cache_creation_input_tokens") => &mut self.cache_write,
                // Mistral's.
                (Part::All, "prompt_audio_seconds") => {
                    self.has_heard |= member.raw.parse::<f64>().is_ok_and(|seconds| seconds > 0.0);
                    continue;
                }
                // Transcriptions write it in the third way.
                (Part::All, "prompt_tokens_details" | "input_tokens_details" | "input_token_details") => {
                    self.add_details(Part::Input, member.raw)?;
                    continue;
                }
                (Part::All, "completion_tokens_details" | "output_tokens_details") => {
                    self.add_details(Part::Output, member.raw)?;
                    continue;
                }
                (Part::Input, "cached_tokens") => &mut self.cached,
                (Part::Input, "cache_write_tokens") => &mut self.cache_write,
                (Part::Input, "audio_tokens") => &mut self.input_audio,
                (Part::Output, "reasoning_tokens") => &mut self.reasoning,
                (Part::Output, "audio_tokens") => &mut self.output_audio,
                _ => continue,
            };
            let told = match parsed(member.raw) {
                None if CHEAPER.contains(&&*member.name) => continue,
                told => told?,
            };
            // The largest, where several names have one.
            *count = (*count).max(Some(told));
        }
        Some(())
    }

    /// Some write a list of none where there is nothing to tell.
    fn add_details(&mut self, part: Part, raw: &str) -> Option<()> {
        if vocabulary::is_empty_list(raw) { Some(()) } else { self.add(part, raw.as_bytes()) }
    }

    fn into_usage(self) -> Option<Usage> {
        // Of what is read and what is said, some tell the one and both together.
        let rest = |told: Option<u64>| self.total?.checked_sub(told?);
        let (input, output) = (self.input.or_else(|| rest(self.output))?, self.output.or_else(|| rest(self.input))?);
        // Some count beside both what was thought, or what was heard and what came from a cache: their total gives them away.
        let beside = self.total.unwrap_or(0).saturating_sub(input.saturating_add(output));
        let (cached, cache_write) = (self.cached.or(self.cached_beside).unwrap_or(0), self.cache_write.unwrap_or(0));
        let is_read = self.has_heard || beside == cached.saturating_add(cache_write);
        let (read, thought) = if is_read { (beside, 0) } else { (0, beside) };
        let input = input.saturating_add(read);
        Some(Usage {
            input,
            cached: cached.min(input),
            cache_write,
            output: output.saturating_add(thought),
            reasoning: self.reasoning.unwrap_or(0).max(thought),
            input_audio: self.input_audio.unwrap_or(0),
            output_audio: self.output_audio.unwrap_or(0),
            kept_an_hour: 0,
            charged: self.charged,
        })
    }
}

/// A count, which some write with a point.
fn parsed(raw: &str) -> Option<u64> {
    let with_point = || raw.parse::<f64>().ok().filter(|count| *count >= 0.0 && count.fract() == 0.0);
    raw.parse().ok().or_else(|| Some(with_point()? as u64))
}

/// What a provider says that it charges: in dollars (OpenRouter, Perplexity), or in ten thousand millionths of one (xAI). Of what OpenRouter has others
/// do by a key of one's own, they charge the rest.
pub fn charged(members: &Members<'_>) -> Option<Charged> {
    const TICKS_A_NANO: u64 = 10;
    let number = |members: &Members<'_>, name: &str| members.get(name)?.raw.parse::<f64>().ok();
    if let Some(ticks) = members.get("cost_in_usd_ticks") {
        return ticks.raw.parse::<u64>().ok().map(|ticks| Charged::Cost(Usd::of_nanos(ticks.div_ceil(TICKS_A_NANO))));
    }
    let within = |name: &str, inner: &str| number(&Members::read(members.get(name)?.raw.as_bytes()).ok()?, inner);
    let cost = number(members, "cost").or_else(|| within("cost", "total_cost")).filter(|cost| *cost >= 0.0)?;
    let is_by_own_key = members.get("is_byok").is_some_and(|is| is.raw == "true");
    let beside = within("cost_details", "upstream_inference_cost").filter(|_| is_by_own_key).unwrap_or(0.0);
    Some(Charged::Cost(Usd::of_dollars(cost + beside)))
}
