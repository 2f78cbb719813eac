//! What the ledger says of a request: one record before the provider is called, one after.

use std::borrow::Cow;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, de};

use super::common::{Common, Facts};
use crate::json::Object;
use crate::money::Usd;

/// Written before the provider is called: from then on the request is known, whatever happens.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(from = "BeginLine")]
pub struct Begin {
    /// The request's id, unique for good.
    pub id: Arc<str>,
    /// When it came; in a line, to the microsecond.
    pub at: Timestamp,
    /// Who asks whom for what.
    pub common: Arc<Common>,
    /// The most that it can cost; `None` where the catalogue has no price.
    pub reserved: Option<Usd>,
}

/// Written when the answer ended, however it did.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(from = "SettleLine")]
pub struct Settle {
    /// Which request.
    pub of: Of,
    /// When it ended; in a line, to the microsecond.
    pub at: Timestamp,
    /// The provider that answered and its model, where those are others than it began with.
    pub by: Option<(Arc<str>, Arc<str>)>,
    /// How it ended.
    pub outcome: Outcome,
    /// The status that the caller saw.
    pub status: u16,
    /// The tokens it took.
    pub usage: Usage,
    /// Where the tokens are from.
    pub source: Source,
    /// What it cost; `None` where the catalogue has no price.
    pub cost: Option<Usd>,
    /// Milliseconds to the first byte of the answer.
    pub first_byte_ms: Option<u64>,
    /// Milliseconds in all.
    pub total_ms: u64,
}

/// A request that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Of {
    /// In the process that began it.
    Begun(Arc<Begin>),
    /// By its line.
    Line {
        /// The id in its [`Begin`].
        id: Arc<str>,
        /// When it came, to the microsecond; with it the store finds its row. Lines of before this was written have none.
        began: Option<Timestamp>,
    },
}

/// Names are short, as every request writes two lines; lines of before they were have their long names.
#[derive(Deserialize)]
struct BeginLine {
    #[serde(rename = "i", alias = "id")]
    id: Box<str>,
    #[serde(rename = "t", alias = "at", deserialize_with = "time")]
    at: Timestamp,
    #[serde(flatten)]
    facts: Facts<Box<str>>,
    #[serde(rename = "r", alias = "reserved")]
    reserved: Option<Usd>,
}

/// What most requests have is not written.
#[derive(Deserialize)]
struct SettleLine {
    #[serde(rename = "i", alias = "id")]
    id: Box<str>,
    #[serde(rename = "b", alias = "began", default, deserialize_with = "some_time")]
    began: Option<Timestamp>,
    #[serde(rename = "t", alias = "at", deserialize_with = "time")]
    at: Timestamp,
    #[serde(rename = "p", alias = "provider", default)]
    provider: Option<Box<str>>,
    #[serde(rename = "m", alias = "model", default)]
    model: Option<Box<str>>,
    #[serde(rename = "o", alias = "outcome", default = "answered")]
    outcome: Outcome,
    #[serde(rename = "s", alias = "status", default = "ok")]
    status: u16,
    #[serde(rename = "u", alias = "usage")]
    usage: Usage,
    #[serde(rename = "q", alias = "source", default = "reported")]
    source: Source,
    #[serde(rename = "c", alias = "cost")]
    cost: Option<Usd>,
    #[serde(rename = "f", alias = "first_byte_ms")]
    first_byte_ms: Option<u64>,
    #[serde(rename = "d", alias = "total_ms")]
    total_ms: u64,
}

/// Tokens, as providers count them; `input` includes `cached` and `cache_write`, `output` includes `reasoning`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Usage {
    /// All input tokens.
    #[serde(rename = "i", alias = "input")]
    pub input: u64,
    /// Those of them read from the provider's cache.
    #[serde(rename = "r", alias = "cached")]
    pub cached: u64,
    /// Those of them written to the provider's cache.
    #[serde(rename = "w", alias = "cache_write")]
    pub cache_write: u64,
    /// All output tokens.
    #[serde(rename = "o", alias = "output")]
    pub output: u64,
    /// Those of them spent on reasoning.
    #[serde(rename = "t", alias = "reasoning")]
    pub reasoning: u64,
    /// Audio tokens in.
    #[serde(rename = "a", alias = "input_audio")]
    pub input_audio: u64,
    /// Audio tokens out.
    #[serde(rename = "s", alias = "output_audio")]
    pub output_audio: u64,
    /// Tokens written to the cache that are kept for an hour, which is dearer than the usual minutes; the ledger has their cost alone.
    #[serde(skip)]
    pub kept_an_hour: u64,
    /// What is charged for, where the provider tells that beside; the ledger has the cost alone.
    #[serde(skip)]
    pub charged: Option<Charged>,
}

/// What a provider says that it charges for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Charged {
    /// So much.
    Cost(Usd),
    /// So many tokens, of which it has used more.
    Tokens {
        /// Of input.
        input: u64,
        /// Of output.
        output: u64,
    },
}

/// No request takes more of any kind: what is more was not counted but made up.
pub const MOST_TOKENS: u64 = 1 << 32;
/// Nor costs more, which is about 8,796 dollars: a million of them have a sum.
pub const MOST_COST: Usd = Usd(1 << 43);

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Answered to the end.
    Answered,
    /// The provider answered with an error.
    ProviderError,
    /// The provider could not be reached, or broke off.
    Failed,
    /// The gateway refused it after it was written down; no provider was asked, or none could be.
    Refused,
    /// The caller hung up first, or their key ended.
    Abandoned,
    /// The gateway stopped before the end was known; settled at its reservation.
    Assumed,
}

/// Where a token count is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The provider's own count.
    Reported,
    /// Estimated from what was seen, where the provider counted nothing.
    Estimated,
    /// Nothing was used.
    None,
}

const fn answered() -> Outcome {
    Outcome::Answered
}

const fn ok() -> u16 {
    200
}

const fn reported() -> Source {
    Source::Reported
}

/// Microseconds since 1970, or RFC 3339.
#[derive(Deserialize)]
#[serde(untagged)]
enum Time<'a> {
    Micros(i64),
    Text(#[serde(borrow)] Cow<'a, str>),
}

fn time<'de, D: Deserializer<'de>>(from: D) -> Result<Timestamp, D::Error> {
    match Time::deserialize(from)? {
        Time::Micros(micros) => Timestamp::from_microsecond(micros).map_err(de::Error::custom),
        Time::Text(text) => text.parse().map_err(de::Error::custom),
    }
}

fn some_time<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Timestamp>, D::Error> {
    time(from).map(Some)
}

// === impl Begin ===

impl From<BeginLine> for Begin {
    fn from(line: BeginLine) -> Begin {
        let BeginLine { id, at, facts, reserved } = line;
        Begin { id: id.into(), at, common: Arc::new(Common::new(&facts.borrowed())), reserved }
    }
}

impl Begin {
    /// Writes its members.
    pub fn write(&self, to: &mut Object<'_>) {
        to.text("i", &self.id);
        to.number("t", self.at.as_microsecond());
        to.members(self.common.line());
        to.some_number("r", self.reserved.map(|amount| amount.0));
    }
}

// === impl Settle ===

impl From<SettleLine> for Settle {
    fn from(line: SettleLine) -> Settle {
        let SettleLine { id, began, at, provider, model, outcome, status, usage, source, cost, first_byte_ms, total_ms } = line;
        let by = provider.zip(model).map(|(provider, model)| (provider.into(), model.into()));
        Settle { of: Of::Line { id: id.into(), began }, at, by, outcome, status, usage, source, cost, first_byte_ms, total_ms }
    }
}

impl Settle {
    /// Writes its members.
    pub fn write(&self, to: &mut Object<'_>) {
        to.text("i", self.of.id());
        to.some_number("b", self.of.began().map(Timestamp::as_microsecond));
        to.number("t", self.at.as_microsecond());
        if let Some((provider, model)) = &self.by {
            to.text("p", provider);
            to.text("m", model);
        }
        if self.outcome != answered() {
            to.text("o", self.outcome.as_str());
        }
        to.some_number("s", Some(self.status).filter(|status| *status != ok()));
        let mut usage = to.object("u");
        self.usage.write(&mut usage);
        usage.close();
        if self.source != reported() {
            to.text("q", self.source.as_str());
        }
        to.some_number("c", self.cost.map(|amount| amount.0));
        to.some_number("f", self.first_byte_ms);
        to.number("d", self.total_ms);
    }
}

// === impl Of ===

impl Of {
    /// The request's id.
    pub fn id(&self) -> &Arc<str> {
        match self {
            Of::Begun(begin) => &begin.id,
            Of::Line { id, .. } => id,
        }
    }

    /// When it came, where that is known.
    pub fn began(&self) -> Option<Timestamp> {
        match self {
            Of::Begun(begin) => Some(begin.at),
            Of::Line { began, .. } => *began,
        }
    }
}

// === impl Charged ===

impl Charged {
    /// Both together, where they are of one kind.
    fn and(self, other: Charged) -> Option<Charged> {
        match (self, other) {
            (Charged::Cost(one), Charged::Cost(other)) => Some(Charged::Cost(Usd::of_nanos(one.nanos().saturating_add(other.nanos())))),
            (Charged::Tokens { input, output }, Charged::Tokens { input: more_in, output: more_out }) => {
                Some(Charged::Tokens { input: input.saturating_add(more_in), output: output.saturating_add(more_out) })
            }
            (Charged::Cost(_), Charged::Tokens { .. }) | (Charged::Tokens { .. }, Charged::Cost(_)) => None,
        }
    }
}

// === impl Usage ===

impl Usage {
    /// Both together; what one alone tells that it charges is no sum, and is left out.
    pub fn and(self, other: Usage) -> Usage {
        let sum = |of: fn(&Usage) -> u64| of(&self).saturating_add(of(&other));
        Usage {
            input: sum(|usage| usage.input),
            cached: sum(|usage| usage.cached),
            cache_write: sum(|usage| usage.cache_write),
            output: sum(|usage| usage.output),
            reasoning: sum(|usage| usage.reasoning),
            input_audio: sum(|usage| usage.input_audio),
            output_audio: sum(|usage| usage.output_audio),
            kept_an_hour: sum(|usage| usage.kept_an_hour),
            charged: self.charged.zip(other.charged).and_then(|(one, other)| one.and(other)),
        }
    }

    /// Whether it counts any token.
    pub fn counts(&self) -> bool {
        self.input > 0 || self.output > 0
    }

    /// What is reported after something else: all of it anew, but for what counts nothing, as some end their streams.
    pub fn after(self, before: Option<Usage>) -> Usage {
        match before {
            Some(before) if !self.counts() => Usage { charged: self.charged.or(before.charged), ..before },
            _ => self,
        }
    }

    /// As far as it can be true.
    pub fn credible(self) -> Usage {
        let Usage { input, cached, cache_write, output, reasoning, input_audio, output_audio, kept_an_hour, charged } = self;
        let [input, cached, cache_write, output, reasoning, input_audio, output_audio, kept_an_hour] =
            [input, cached, cache_write, output, reasoning, input_audio, output_audio, kept_an_hour].map(|tokens| tokens.min(MOST_TOKENS));
        Usage { input, cached, cache_write, output, reasoning, input_audio, output_audio, kept_an_hour, charged }
    }

    /// Most requests have none of most kinds: what is not written is not read again either.
    fn write(&self, to: &mut Object<'_>) {
        let some = |count: u64| Some(count).filter(|count| *count > 0);
        // One by one, since each name is copied by its own length.
        to.some_number("i", some(self.input));
        to.some_number("r", some(self.cached));
        to.some_number("w", some(self.cache_write));
        to.some_number("o", some(self.output));
        to.some_number("t", some(self.reasoning));
        to.some_number("a", some(self.input_audio));
        to.some_number("s", some(self.output_audio));
    }
}

// === impl Outcome ===

impl Outcome {
    /// `answered`, `provider_error`, …
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Answered => "answered",
            Outcome::ProviderError => "provider_error",
            Outcome::Failed => "failed",
            Outcome::Refused => "refused",
            Outcome::Abandoned => "abandoned",
            Outcome::Assumed => "assumed",
        }
    }
}

// === impl Source ===

impl Source {
    /// `reported`, `estimated` or `none`.
    pub fn as_str(self) -> &'static str {
        match self {
            Source::Reported => "reported",
            Source::Estimated => "estimated",
            Source::None => "none",
        }
    }
}
