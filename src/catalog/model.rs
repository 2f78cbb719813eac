//! A model: what it takes and gives, and what it costs.

use serde::{Deserialize, Serialize};

use crate::ledger::record::Usage;
use crate::money::{self, Price, Usd};

/// A model as its provider's file describes it; every field may be unknown.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Model {
    /// What people call it; its id where absent.
    pub name: Option<String>,
    /// The day it came out.
    pub released: Option<String>,
    /// Tokens in and out together.
    pub context: Option<u64>,
    /// Tokens in.
    pub max_input: Option<u64>,
    /// Tokens out.
    pub max_output: Option<u64>,
    /// Modalities that it takes.
    #[serde(rename = "in")]
    pub takes: Vec<Modality>,
    /// Modalities that it gives.
    #[serde(rename = "out")]
    pub gives: Vec<Modality>,
    /// What it is known to do; empty says nothing.
    pub can: Vec<Capability>,
    /// Where it stands in its life.
    pub status: Option<Status>,
    /// The provider's door that it lives behind.
    pub door: Option<String>,
    /// Each request makes searches or calls of other models by itself, which cost more than its tokens.
    #[serde(skip_serializing_if = "is_not")]
    pub charges_besides: bool,
    /// Tokens that its provider puts before whatever is asked, at the most.
    #[serde(skip_serializing_if = "is_none")]
    pub adds: u64,
    /// USD per million tokens.
    pub price: Option<PriceList>,
}

/// A kind of content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the names say it all")]
pub enum Modality {
    Text,
    Image,
    Audio,
    Video,
    Pdf,
}

/// Something that a model may be able to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Capability {
    /// Takes files.
    Attachment,
    /// Thinks before it answers.
    Reasoning,
    /// Answers by a JSON schema.
    Structured,
    /// Takes a temperature.
    Temperature,
    /// Calls tools.
    Tools,
}

/// A model that is not simply there to be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the names say it all")]
pub enum Status {
    Alpha,
    Beta,
    Deprecated,
}

/// What a request is known to be within, which some of a model's prices cannot come into.
#[derive(Clone, Copy, Debug)]
pub struct Within {
    /// The most tokens that may be read.
    pub input: u64,
    /// Whether sound may be among them.
    pub hears: bool,
    /// Whether it may be answered with sound.
    pub speaks: bool,
}

/// USD per million tokens; an absent part costs what the wider one does.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[allow(missing_docs, reason = "the names say it all")]
pub struct PriceList {
    pub input: f64,
    pub output: f64,
    pub cache_read: Option<f64>,
    pub cache_write: Option<f64>,
    pub reasoning: Option<f64>,
    pub input_audio: Option<f64>,
    pub output_audio: Option<f64>,
    /// Other prices for a whole request whose input is above a size.
    pub tiers: Vec<Tier>,
}

/// The prices of a request with more than `above` input tokens.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "the names say it all")]
pub struct Tier {
    pub above: u64,
    pub input: f64,
    pub output: f64,
    #[serde(default)]
    pub cache_read: Option<f64>,
    #[serde(default)]
    pub cache_write: Option<f64>,
}

// === impl Model ===

impl Model {
    /// What `usage` costs; `None` where the catalogue has no price.
    pub fn cost(&self, usage: &Usage) -> Option<Usd> {
        self.price.as_ref().map(|price| price.cost(usage))
    }

    /// Whether nothing of it has a price but 0.
    pub fn is_free(&self) -> bool {
        self.price.as_ref().is_some_and(|price| price.all().all(|usd| usd == 0.0))
    }

    /// Whether sound that it says has a price of its own, and text is what it says else.
    pub fn prices_its_voice(&self) -> bool {
        self.gives_text() && self.price.as_ref().is_some_and(|price| price.output_audio.is_some())
    }

    /// The most that a token costs which a cache keeps for an hour.
    pub fn dearest_hour(&self, within: Within) -> Option<Price> {
        let price = self.price.as_ref()?;
        let dearest = price.tiers(within).fold(price.input, |worst, tier| worst.max(tier.input));
        Some(Price::per_million(dearest * KEPT_AN_HOUR))
    }

    /// The most that a token in and one out can cost, of whichever kind and in whichever tier they turn out to be.
    pub fn dearest(&self, within: Within) -> Option<[Price; 2]> {
        let price = self.price.as_ref()?;
        let most = |usd: &[Option<f64>]| usd.iter().flatten().copied().fold(0.0, f64::max);
        let dearest_input =
            price.tiers(within).fold(0.0, |worst: f64, tier| worst.max(most(&[Some(tier.input), tier.cache_read, tier.cache_write])));
        let dearest_output = price.tiers(within).fold(0.0, |worst: f64, tier| worst.max(tier.output));
        let input_audio = price.input_audio.filter(|_| within.hears);
        let output_audio = price.output_audio.filter(|_| within.speaks || !self.gives_text());
        let input_usd = most(&[Some(price.input), price.cache_read, price.cache_write, input_audio, Some(dearest_input)]);
        let output_usd = most(&[Some(price.output), price.reasoning, output_audio, Some(dearest_output)]);
        Some([input_usd, output_usd].map(Price::per_million))
    }

    fn gives_text(&self) -> bool {
        self.gives.is_empty() || self.gives.contains(&Modality::Text)
    }
}

// === impl Within ===

impl Within {
    /// Nothing is known of it.
    pub const ANYTHING: Within = Within { input: u64::MAX, hears: true, speaks: true };
}

/// What is kept for an hour costs so many times what is read uncached ("Prompt caching" in Anthropic's documentation, and Bedrock's pricing).
const KEPT_AN_HOUR: f64 = 2.0;

// === impl PriceList ===

impl PriceList {
    /// Each price of it.
    pub fn all(&self) -> impl Iterator<Item = f64> {
        let optional = [self.cache_read, self.cache_write, self.reasoning, self.input_audio, self.output_audio];
        let of_tiers = self.tiers.iter().flat_map(|tier| [Some(tier.input), Some(tier.output), tier.cache_read, tier.cache_write]);
        [self.input, self.output].into_iter().chain(optional.into_iter().chain(of_tiers).flatten())
    }

    /// What `usage` costs, each part at its own price.
    pub fn cost(&self, usage: &Usage) -> Usd {
        let tier = self.tiers.iter().filter(|tier| usage.input > tier.above).max_by_key(|tier| tier.above);
        let (input, output) = tier.map_or((self.input, self.output), |tier| (tier.input, tier.output));
        let cache_read = tier.map_or(self.cache_read, |tier| tier.cache_read).unwrap_or(input);
        let cache_write = tier.map_or(self.cache_write, |tier| tier.cache_write).unwrap_or(input);
        // A tier has no prices of its own for these: what is dearer there is no cheaper for them.
        let at_least = |own: Option<f64>, plain: f64| own.map_or(plain, |own| if tier.is_some() { own.max(plain) } else { own });
        let plain_input = usage.input.saturating_sub(usage.cached.saturating_add(usage.cache_write).saturating_add(usage.input_audio));
        let plain_output = usage.output.saturating_sub(usage.reasoning.saturating_add(usage.output_audio));
        let parts = [
            (input, plain_input),
            (cache_read, usage.cached),
            (cache_write, usage.cache_write.saturating_sub(usage.kept_an_hour)),
            (cache_write.max(input * KEPT_AN_HOUR), usage.kept_an_hour),
            (at_least(self.input_audio, input), usage.input_audio),
            (output, plain_output),
            (at_least(self.reasoning, output), usage.reasoning),
            (at_least(self.output_audio, output), usage.output_audio),
        ];
        money::from_pico(parts.iter().map(|&(usd, tokens)| Price::per_million(usd).of(tokens)).fold(0, u64::saturating_add))
    }

    /// The tiers that a request can come into.
    fn tiers(&self, within: Within) -> impl Iterator<Item = &Tier> {
        self.tiers.iter().filter(move |tier| within.input > tier.above)
    }
}

fn is_not(flag: &bool) -> bool {
    !flag
}

fn is_none(tokens: &u64) -> bool {
    *tokens == 0
}
