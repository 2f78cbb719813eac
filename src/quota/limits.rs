//! What a key, a project, a team or the whole gateway may do: allow-lists, rates and budgets, as people write them and as they are stored.

use std::fmt;
use std::num::{NonZeroU32, NonZeroU64};
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use utoipa::ToSchema;

use super::network::Network;
use super::window::Period;
use crate::money::Usd;

/// What somebody may do; an absent limit is none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Globs (`*`, `?`) on `provider/model` and alias names; empty allows all.
    pub models: Vec<String>,
    /// Addresses and networks that requests may come from; empty allows all.
    #[schema(value_type = Vec<String>)]
    pub addresses: Vec<Network>,
    /// Globs on `METHOD /path`; empty allows all.
    pub paths: Vec<String>,
    /// Globs on `server/tool` of MCP and `service/operation` of REST services; empty allows all.
    pub tools: Vec<String>,
    /// How much at most in a period.
    pub rates: Vec<Rate>,
    /// Requests at a time.
    #[schema(value_type = Option<u32>, minimum = 1)]
    pub parallel: Option<NonZeroU32>,
    /// Requests at a time to some models.
    pub parallel_by_model: Vec<ParallelByModel>,
    /// How much money at most in a period.
    pub budgets: Vec<Budget>,
}

/// So many requests at a time to some models; in text `4@openai/*`. It counts those that begin while it holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ParallelByModel {
    /// The most of them.
    #[schema(value_type = u32, minimum = 1)]
    pub most: NonZeroU32,
    /// A glob on `provider/model`: only requests that may go to those count.
    pub models: String,
}

/// Requests at a time, whatever the model or to some; in text `20` or `4@openai/*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parallel {
    /// To all models together.
    All(NonZeroU32),
    /// To some.
    ByModel(ParallelByModel),
}

/// So many of a unit in a period; in text `requests/minute=60` or `output-tokens/day=1000000@openai/*`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// What is counted.
    pub unit: Unit,
    /// In which period; there is no rate for a week or longer.
    pub per: Period,
    /// The most of it.
    #[schema(value_type = u64, minimum = 1)]
    pub most: NonZeroU64,
    /// A glob on `provider/model`: only those models count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub models: Option<String>,
}

/// So much money in a period; in text `50/month`, `5/day:soft` or `20/ever@anthropic/*`, in USD.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Budget {
    /// The most of it, in nano-dollars.
    #[schema(value_type = i64, minimum = 0, maximum = 1_000_000_000_000_000_000_i64)]
    #[serde(deserialize_with = "an_amount")]
    pub nano_usd: Usd,
    /// In which period.
    pub per: Period,
    /// Only alerts are sent when it is spent; nothing is refused.
    #[serde(default)]
    pub soft: bool,
    /// A glob on `provider/model`: only those models count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub models: Option<String>,
}

/// What a rate counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the names say it all")]
pub enum Unit {
    Requests,
    /// In and out.
    Tokens,
    InputTokens,
    OutputTokens,
}

const UNITS: [(Unit, &str, &str); 4] = [
    (Unit::Requests, "requests", "requests"),
    (Unit::Tokens, "tokens", "tokens"),
    (Unit::InputTokens, "input-tokens", "input tokens"),
    (Unit::OutputTokens, "output-tokens", "output tokens"),
];

/// The largest budget: more nano-dollars would not fit beside each other in a sum.
const MOST_USD: i64 = 1_000_000_000;
/// What a budget's text has that is only told of.
const SOFT: &str = ":soft";

// === impl Limits ===

impl Limits {
    /// Whether the globs allow a model known by any of `names`.
    pub fn allows(&self, names: &[&str]) -> bool {
        self.models.is_empty() || self.models.iter().any(|glob| names.iter().any(|name| matches(glob, name)))
    }

    /// Nothing here has to be counted.
    pub fn counts_nothing(&self) -> bool {
        self.rates.is_empty() && self.budgets.is_empty() && self.parallel.is_none() && self.parallel_by_model.is_empty()
    }

    /// These and the rates and budgets of `others`: what neither would let pass.
    pub fn beside(&self, others: &Limits) -> Limits {
        let mut both = self.clone();
        for rate in &mut both.rates {
            let alike = others.rates.iter().find(|other| other.is_alike(rate));
            rate.most = alike.map_or(rate.most, |other| rate.most.min(other.most));
        }
        for budget in &mut both.budgets {
            let alike = others.budgets.iter().filter(|other| !other.soft).find(|other| other.is_alike(budget));
            if let Some(hard) = alike {
                let most = if budget.soft { hard.nano_usd } else { budget.nano_usd.min(hard.nano_usd) };
                (budget.nano_usd, budget.soft) = (most, false);
            }
        }
        both.rates.extend(others.rates.iter().filter(|other| !self.rates.iter().any(|rate| rate.is_alike(other))).cloned());
        both.budgets.extend(others.budgets.iter().filter(|other| !self.budgets.iter().any(|budget| budget.is_alike(other))).cloned());
        both
    }

    /// The globs of limits that count some models alone.
    pub fn counted(&self) -> impl Iterator<Item = &str> {
        let rates = self.rates.iter().filter_map(|rate| rate.models.as_deref());
        let budgets = self.budgets.iter().filter_map(|budget| budget.models.as_deref());
        rates.chain(budgets).chain(self.parallel_by_model.iter().map(|limit| limit.models.as_str()))
    }

    /// How many requests may run at a time: of all, and then of some.
    pub fn parallels(&self) -> impl Iterator<Item = Parallel> {
        let by_model = self.parallel_by_model.iter().cloned().map(Parallel::ByModel);
        self.parallel.map(Parallel::All).into_iter().chain(by_model)
    }

    /// Says what cannot be meant: two limits on the same thing, or one that can never be reached.
    pub fn check(&self) -> Result<(), String> {
        let is_of_path = |glob: &&String| glob.contains(['*', '?']) || glob.contains(" /");
        if let Some(glob) = self.paths.iter().find(|glob| !is_of_path(glob)) {
            return Err(format!("'{glob}' matches no path: write it as 'POST /v1/chat/*', or as '* /v1/models' for all methods"));
        }
        let is_small =
            |glob: &&String| glob.split_once(' ').is_some_and(|(method, _)| method.bytes().any(|byte| byte.is_ascii_lowercase()));
        if let Some(glob) = self.paths.iter().find(is_small) {
            return Err(format!("'{glob}' matches no method: write it in capitals, as in 'POST /v1/chat/*'"));
        }
        if self.counted().any(str::is_empty) {
            return Err("no model is named behind '@': write a limit for some as 4@openai/*, and one for all without '@'".to_owned());
        }
        for (at, rate) in self.rates.iter().enumerate() {
            if !matches!(rate.per, Period::Minute | Period::Hour | Period::Day) {
                return Err(format!("'{rate}' is no rate: it is per minute, hour or day (a budget can be per week or month)"));
            }
            if rate.per == Period::Minute && rate.most.get() > u64::from(u32::MAX) {
                return Err(format!("'{rate}' is more than can be counted in a minute: at most {}", u32::MAX));
            }
            if self.rates[..at].iter().any(|other| other.is_alike(rate)) {
                return Err(format!("'{rate}' limits what another rate limits already: leave one of them out"));
            }
        }
        for (at, limit) in self.parallel_by_model.iter().enumerate() {
            if self.parallel_by_model[..at].iter().any(|other| other.models == limit.models) {
                return Err(format!("'{limit}' limits what another one limits already: leave one of them out"));
            }
        }
        for (at, budget) in self.budgets.iter().enumerate() {
            if matches!(budget.per, Period::Minute | Period::Hour) {
                return Err(format!("'{budget}' is no budget: it is per day, week, month or ever"));
            }
            if !is_amount(budget.nano_usd) {
                return Err(format!("'{budget}' is no budget: it is from 0 to {MOST_USD} USD"));
            }
            if self.budgets[..at].iter().any(|other| other.is_alike(budget)) {
                return Err(format!("'{budget}' limits what another budget limits already: leave one of them out"));
            }
        }
        Ok(())
    }
}

/// Matches `*` (any run) and `?` (any one byte), in time linear in the name for each star.
pub fn matches(glob: &str, name: &str) -> bool {
    matches_by(glob, name, |a, b| a == b)
}

fn matches_by(glob: &str, name: &str, is_same: fn(u8, u8) -> bool) -> bool {
    let (glob, name) = (glob.as_bytes(), name.as_bytes());
    let (mut g, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match glob.get(g) {
            Some(b'*') => {
                star = Some((g, n));
                g += 1;
            }
            Some(&c) if c == b'?' || is_same(c, name[n]) => {
                g += 1;
                n += 1;
            }
            _ => match star {
                Some((at, seen)) => {
                    star = Some((at, seen + 1));
                    g = at + 1;
                    n = seen + 1;
                }
                None => return false,
            },
        }
    }
    glob[g..].iter().all(|&c| c == b'*')
}

/// Whether the glob of a limit names a model of that full name (`provider/model`): by all of it, or by the model's own name.
///
/// A glob with a `/` and a star is about providers: `openai/*` is not meant for `groq/openai/gpt-oss-120b`.
///
/// Capitals are small letters to it: they are to some providers, and nobody gets past a limit by them.
///
/// One that names an operation of a REST service without a version names it in all versions.
pub fn names(glob: &str, full: &str) -> bool {
    names_it(glob, full) || without_version(full).is_some_and(|full| names_it(glob, &full))
}

fn names_it(glob: &str, full: &str) -> bool {
    let own = full.split_once('/').map_or(full, |(_, model)| model);
    let matches = |name: &str| matches_by(glob, name, |a, b| a.eq_ignore_ascii_case(&b));
    matches(full) || glob.eq_ignore_ascii_case(own) || (!glob.contains('/') && matches(own))
}

/// `service/NAME/OPERATION` of `service/NAME@VERSION/OPERATION`.
fn without_version(full: &str) -> Option<String> {
    let (service, operation) = full.strip_prefix(OF_SERVICES)?.split_once('/')?;
    let (name, _) = service.split_once('@')?;
    Some(format!("{OF_SERVICES}{name}/{operation}"))
}

/// What the globs that name operations of REST services begin with: `service/NAME/OPERATION`, `service/NAME@VERSION/OPERATION`.
const OF_SERVICES: &str = "service/";
/// What the globs that name prompts begin with: `prompt/NAME`, `prompt/NAME@VERSION`.
pub const OF_PROMPTS: &str = "prompt/";

/// Whether the glob of a limit names a prompt, in all versions or in this one.
pub fn names_prompt(glob: &str, name: &str, version: u32) -> bool {
    let Some(glob) = glob.strip_prefix(OF_PROMPTS) else { return false };
    match glob.split_once('@') {
        Some((names, versions)) => matches(names, name) && matches(versions, &version.to_string()),
        None => matches(glob, name),
    }
}

// === impl Rate ===

impl Rate {
    /// So many of a unit in a period, whatever the model.
    pub fn new(unit: Unit, per: Period, most: NonZeroU64) -> Rate {
        Rate { unit, per, most, models: None }
    }

    /// Whether both count the same.
    pub fn is_alike(&self, other: &Rate) -> bool {
        (self.unit, self.per, &self.models) == (other.unit, other.per, &other.models)
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}={}", self.unit.as_str(), self.per.as_str(), self.most)?;
        self.models.iter().try_for_each(|models| write!(f, "@{models}"))
    }
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Rate, String> {
        let wrong = || format!("'{text}' is no rate: write it as requests/minute=60 or output-tokens/day=1000000@openai/*");
        let (limit, models) = at_models(text);
        let (what, most) = limit.split_once('=').ok_or_else(wrong)?;
        let (unit, per) = what.split_once('/').ok_or_else(wrong)?;
        let unit = UNITS.iter().find(|(_, name, _)| *name == unit).map(|(unit, ..)| *unit).ok_or_else(wrong)?;
        let rate = Rate { unit, per: Period::parse(per).ok_or_else(wrong)?, most: most.parse().map_err(|_| wrong())?, models };
        Limits { rates: vec![rate.clone()], ..Limits::default() }.check().map(|()| rate)
    }
}

// === impl Parallel ===

impl Parallel {
    /// The most of them.
    pub fn most(&self) -> NonZeroU32 {
        match self {
            Parallel::All(most) | Parallel::ByModel(ParallelByModel { most, .. }) => *most,
        }
    }

    /// The glob on the models that it counts; with none it counts all.
    pub fn models(&self) -> Option<&str> {
        match self {
            Parallel::All(_) => None,
            Parallel::ByModel(ParallelByModel { models, .. }) => Some(models),
        }
    }
}

impl fmt::Display for Parallel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Parallel::All(most) => most.fmt(f),
            Parallel::ByModel(limit) => limit.fmt(f),
        }
    }
}

impl FromStr for Parallel {
    type Err = String;

    fn from_str(text: &str) -> Result<Parallel, String> {
        let (most, models) = at_models(text);
        let most = most.parse().map_err(|_| format!("'{text}' is no number of requests at a time: write it as 20 or 4@openai/*"))?;
        let Some(models) = models else { return Ok(Parallel::All(most)) };
        let limit = ParallelByModel { most, models };
        Limits { parallel_by_model: vec![limit.clone()], ..Limits::default() }.check().map(|()| Parallel::ByModel(limit))
    }
}

impl fmt::Display for ParallelByModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.most, self.models)
    }
}

/// Whether a budget can be of so much.
fn is_amount(usd: Usd) -> bool {
    (0..=MOST_USD * 1_000_000_000).contains(&usd.0)
}

/// What is no amount is told of as such, before anybody asks what is to be done with it.
fn an_amount<'de, D: Deserializer<'de>>(from: D) -> Result<Usd, D::Error> {
    let usd = Usd::deserialize(from)?;
    if is_amount(usd) { Ok(usd) } else { Err(D::Error::custom(format!("a budget is from 0 to {MOST_USD} USD"))) }
}

// === impl Budget ===

impl Budget {
    /// Whether both sum up the same.
    pub fn is_alike(&self, other: &Budget) -> bool {
        (self.per, &self.models) == (other.per, &other.models)
    }
}

impl fmt::Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // One below nothing is none, and is told of all the same.
        let (sign, nanos) = (if self.nano_usd.0 < 0 { "-" } else { "" }, self.nano_usd.0.unsigned_abs());
        let fraction = format!("{:09}", nanos % 1_000_000_000);
        write!(f, "{sign}{}", nanos / 1_000_000_000)?;
        match fraction.trim_end_matches('0') {
            "" => {}
            digits => write!(f, ".{digits}")?,
        }
        write!(f, "/{}{}", self.per.as_str(), if self.soft { SOFT } else { "" })?;
        self.models.iter().try_for_each(|models| write!(f, "@{models}"))
    }
}

impl FromStr for Budget {
    type Err = String;

    fn from_str(text: &str) -> Result<Budget, String> {
        let wrong = || format!("'{text}' is no budget: write it as 50/month, 5/day:soft or 0.50/ever@anthropic/*, in USD");
        let (limit, models) = at_models(text);
        if models.as_ref().is_some_and(|models| models.ends_with(SOFT)) {
            return Err(format!(
                "'{text}' would be a hard budget of models whose names end with '{SOFT}': for a soft one write {SOFT} before the @"
            ));
        }
        let (limit, soft) = match limit.strip_suffix(SOFT) {
            Some(limit) => (limit, true),
            None => (limit, false),
        };
        let (amount, per) = limit.split_once('/').ok_or_else(wrong)?;
        let nano_usd = Usd::parse(amount.strip_prefix('$').unwrap_or(amount)).ok_or_else(wrong)?;
        let budget = Budget { nano_usd, per: Period::parse(per).ok_or_else(wrong)?, soft, models };
        Limits { budgets: vec![budget.clone()], ..Limits::default() }.check().map(|()| budget)
    }
}

fn at_models(text: &str) -> (&str, Option<String>) {
    text.split_once('@').map_or((text, None), |(limit, models)| (limit, Some(models.to_owned())))
}

// === impl Unit ===

impl Unit {
    /// `requests`, `tokens`, `input-tokens` or `output-tokens`.
    pub fn as_str(self) -> &'static str {
        UNITS.iter().find(|(unit, ..)| *unit == self).map_or("", |(_, name, _)| name)
    }

    /// In a sentence.
    pub fn words(self) -> &'static str {
        UNITS.iter().find(|(unit, ..)| *unit == self).map_or("", |(.., words)| words)
    }
}
