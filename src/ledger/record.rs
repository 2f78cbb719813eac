//! What the ledger says of a request: one record before the provider is called, one after.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer};

use crate::json::Object;
use crate::money::Usd;

/// Written before the provider is called: from then on the request is known, whatever happens.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Begin {
    /// The request's id, unique for good.
    #[serde(deserialize_with = "shared")]
    pub id: Arc<str>,
    /// When it came.
    pub at: Timestamp,
    /// The caller's key id.
    #[serde(deserialize_with = "shared")]
    pub key: Arc<str>,
    /// The project that the key belongs to, by its id; empty where it belongs to none.
    #[serde(deserialize_with = "shared", default)]
    pub project: Arc<str>,
    /// The project's team, by its id; empty where there is none.
    #[serde(deserialize_with = "shared", default)]
    pub team: Arc<str>,
    /// The prompt that was called, as `name@version`; empty where none was.
    #[serde(deserialize_with = "shared", default)]
    pub prompt: Arc<str>,
    /// `chat`, `embeddings`, …
    pub operation: Cow<'static, str>,
    /// The provider first tried.
    #[serde(deserialize_with = "shared")]
    pub provider: Arc<str>,
    /// The model, as the provider names it.
    #[serde(deserialize_with = "shared")]
    pub model: Arc<str>,
    /// The address that it came from.
    #[serde(default)]
    pub from: Option<IpAddr>,
    /// The most that it can cost; `None` where the catalogue has no price.
    pub reserved: Option<Usd>,
}

/// Written when the answer ended, however it did.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Settle {
    /// The id in its [`Begin`].
    #[serde(deserialize_with = "shared")]
    pub id: Arc<str>,
    /// When it came, to the microsecond; with it the store finds its row. Lines of before this was written have none.
    #[serde(default, with = "jiff::fmt::serde::timestamp::microsecond::optional")]
    pub began: Option<Timestamp>,
    /// When it ended.
    pub at: Timestamp,
    /// The provider that answered.
    #[serde(deserialize_with = "shared")]
    pub provider: Arc<str>,
    /// The model that answered.
    #[serde(deserialize_with = "shared")]
    pub model: Arc<str>,
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

/// Tokens, as providers count them; `input` includes `cached` and `cache_write`, `output` includes `reasoning`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Usage {
    /// All input tokens.
    pub input: u64,
    /// Those of them read from the provider's cache.
    pub cached: u64,
    /// Those of them written to the provider's cache.
    pub cache_write: u64,
    /// All output tokens.
    pub output: u64,
    /// Those of them spent on reasoning.
    pub reasoning: u64,
    /// Audio tokens in.
    pub input_audio: u64,
    /// Audio tokens out.
    pub output_audio: u64,
}

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
    /// The caller hung up first.
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

fn shared<'de, D: Deserializer<'de>>(from: D) -> Result<Arc<str>, D::Error> {
    String::deserialize(from).map(Arc::from)
}

// === impl Begin ===

impl Begin {
    /// Writes its members.
    pub fn write(&self, to: &mut Object<'_>) {
        to.text("id", &self.id);
        to.time("at", self.at, 9);
        to.text("key", &self.key);
        let named = [("project", &self.project), ("team", &self.team), ("prompt", &self.prompt)];
        named.into_iter().filter(|(_, id)| !id.is_empty()).for_each(|(name, id)| to.text(name, id));
        to.text("operation", &self.operation);
        to.text("provider", &self.provider);
        to.text("model", &self.model);
        to.some_address("from", self.from);
        to.some_number("reserved", self.reserved.map(|amount| amount.0));
    }
}

// === impl Settle ===

impl Settle {
    /// Writes its members.
    pub fn write(&self, to: &mut Object<'_>) {
        to.text("id", &self.id);
        to.some_number("began", self.began.map(Timestamp::as_microsecond));
        to.time("at", self.at, 9);
        to.text("provider", &self.provider);
        to.text("model", &self.model);
        to.text("outcome", self.outcome.as_str());
        to.number("status", self.status);
        let mut usage = to.object("usage");
        self.usage.write(&mut usage);
        usage.close();
        to.text("source", self.source.as_str());
        to.some_number("cost", self.cost.map(|amount| amount.0));
        to.some_number("first_byte_ms", self.first_byte_ms);
        to.number("total_ms", self.total_ms);
    }
}

// === impl Usage ===

impl Usage {
    /// Most requests have none of most kinds: what is not written is not read again either.
    fn write(&self, to: &mut Object<'_>) {
        let kinds = [
            ("input", self.input),
            ("cached", self.cached),
            ("cache_write", self.cache_write),
            ("output", self.output),
            ("reasoning", self.reasoning),
            ("input_audio", self.input_audio),
            ("output_audio", self.output_audio),
        ];
        kinds.into_iter().filter(|(_, count)| *count > 0).for_each(|(kind, count)| to.number(kind, count));
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
