//! What one account has used of its limits: a counter for each rate and budget, and how many of its requests run.
//!
//! A limit that is set anew counts what the ledger has of its period. Where requests run meanwhile, its counter is there first, and
//! counts those that begin from then on; what began before is added once the ledger has told it ([`Meters::load`]).

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use jiff::Timestamp;

use super::bucket::TokenBucket;
use super::counter::{Counter, Tally};
use super::limits::{Budget, Limits, Parallel, ParallelByModel, Rate, Unit};
use super::window::{Period, Window};
use crate::clock::Look;
use crate::money::Usd;

/// The limits of an account, each with its counter.
#[derive(Debug, Default)]
pub struct Meters {
    pub(super) rates: Vec<(Rate, Arc<Counter>)>,
    pub(super) budgets: Vec<(Budget, Arc<Tally>)>,
    pub(super) parallel: Option<NonZeroU32>,
    pub(super) running: Arc<AtomicU32>,
    pub(super) parallel_by_model: Vec<(ParallelByModel, Arc<AtomicU32>)>,
}

/// What was used in a period, as the ledger has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Used {
    /// Requests begun.
    pub requests: u64,
    /// Tokens in.
    pub input: u64,
    /// Tokens out.
    pub output: u64,
    /// What they cost; those without a price cost nothing.
    pub cost: Usd,
}

/// Something that is counted from the ledger when it is first limited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Past {
    /// The period that runs.
    pub window: Window,
    /// Only requests that began before this, where others are counted already.
    pub until: Option<Timestamp>,
    /// Only these models.
    pub models: Option<String>,
}

/// How a new count begins.
enum Begun {
    /// With what was used.
    With(Used),
    /// At this moment; what was used before is loaded later.
    Unloaded(Timestamp),
}

// === impl Meters ===

impl Meters {
    /// Counters for `limits`: `old` ones go on where they count the same, and the others begin with what `past` tells was used.
    pub fn new(limits: &Limits, old: Option<&Meters>, past: impl Fn(&Past) -> Used) -> Meters {
        Meters::with(limits, old, |per, models, now| {
            let window = per.window(now);
            (window, Begun::With(past(&Past { window, until: None, models: models.clone() })))
        })
    }

    /// The same while requests run: what was used before now has to be [loaded](Meters::load).
    pub fn unloaded(limits: &Limits, old: &Meters, now: Timestamp) -> Meters {
        Meters::with(limits, Some(old), |per, _, _| (per.window(now), Begun::Unloaded(now)))
    }

    fn with(limits: &Limits, old: Option<&Meters>, begin: impl Fn(Period, &Option<String>, Timestamp) -> (Window, Begun)) -> Meters {
        let look = Look::now();
        let now = look.clock;
        let tally = |per: Period, models: &Option<String>, of: &dyn Fn(&Used) -> u64| match begin(per, models, now) {
            (window, Begun::With(used)) => Tally::new(per, window, of(&used)),
            (window, Begun::Unloaded(from)) => Tally::unloaded(per, window, from),
        };
        let rate = |rate: &Rate| {
            let alike = old.and_then(|old| old.rates.iter().find(|(other, _)| other.is_alike(rate)));
            match (alike, rate.per) {
                // How fast a bucket fills depends on its size.
                (Some((other, counter)), per) if per != Period::Minute || other.most == rate.most => (rate.clone(), Arc::clone(counter)),
                (alike, Period::Minute) => {
                    let most = u32::try_from(rate.most.get()).ok().and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MAX);
                    let bucket = TokenBucket::per_minute(most);
                    // A changed limit is no new minute: what was used of the old one is used of it.
                    if let Some((old, counter)) = alike {
                        let used = old.most.get().saturating_sub(counter.remaining(old.most.get(), look).0);
                        bucket.charge(used.min(rate.most.get()), look.here);
                    }
                    (rate.clone(), Arc::new(Counter::Sliding(bucket)))
                }
                (_, per) => (rate.clone(), Arc::new(Counter::Calendar(tally(per, &rate.models, &|used| used.of(rate.unit))))),
            }
        };
        let budget = |budget: &Budget| {
            let alike = old.and_then(|old| old.budgets.iter().find(|(other, _)| other.is_alike(budget)));
            let new = || Arc::new(tally(budget.per, &budget.models, &|used| used.cost.nanos()));
            if let Some((_, tally)) = alike.filter(|(other, _)| other.nano_usd != budget.nano_usd) {
                tally.alert_anew();
            }
            (budget.clone(), alike.map_or_else(new, |(_, tally)| Arc::clone(tally)))
        };
        let by_model = |limit: &ParallelByModel| {
            let alike = old.and_then(|old| old.parallel_by_model.iter().find(|(other, _)| other.models == limit.models));
            (limit.clone(), alike.map(|(_, running)| Arc::clone(running)).unwrap_or_default())
        };
        Meters {
            rates: limits.rates.iter().map(rate).collect(),
            budgets: limits.budgets.iter().map(budget).collect(),
            parallel: limits.parallel,
            running: old.map(|old| Arc::clone(&old.running)).unwrap_or_default(),
            parallel_by_model: limits.parallel_by_model.iter().map(by_model).collect(),
        }
    }

    /// What has to be asked of the ledger before [`Meters::new`] can count it.
    pub fn unknown(limits: &Limits, old: Option<&Meters>) -> Vec<Past> {
        let now = Timestamp::now();
        let is_known_rate = |rate: &Rate| old.is_some_and(|old| old.rates.iter().any(|(other, _)| other.is_alike(rate)));
        let is_known_budget = |budget: &Budget| old.is_some_and(|old| old.budgets.iter().any(|(other, _)| other.is_alike(budget)));
        let rates = limits.rates.iter().filter(|rate| rate.per != Period::Minute && !is_known_rate(rate));
        let budgets = limits.budgets.iter().filter(|budget| !is_known_budget(budget));
        let past = |per: Period, models: &Option<String>| Past { window: per.window(now), until: None, models: models.clone() };
        rates.map(|rate| past(rate.per, &rate.models)).chain(budgets.map(|budget| past(budget.per, &budget.models))).collect()
    }

    /// What has to be loaded; from here on it is noted which requests of before end, since the ledger may tell of them either way.
    pub fn begin_to_load(&self) -> Vec<Past> {
        let (rates, budgets) = (self.calendars(), self.budgets.iter().map(|(budget, tally)| (&budget.models, &**tally)));
        let past = |(models, tally): (&Option<String>, &Tally)| {
            tally.begin_to_load().map(|(window, from)| Past { window, until: Some(from), models: models.clone() })
        };
        rates.map(|(rate, tally)| (&rate.models, tally)).chain(budgets).filter_map(past).collect()
    }

    /// Adds what the ledger has; false where requests of before have ended meanwhile and it has to be asked again, unless it is the `last` try.
    pub fn load(&self, last: bool, past: impl Fn(&Past) -> Used) -> bool {
        let of = |models: &Option<String>, (window, from): (Window, Timestamp)| {
            past(&Past { window, until: Some(from), models: models.clone() })
        };
        let rates = self.calendars().map(|(rate, tally)| tally.load(last, |asked| of(&rate.models, asked).of(rate.unit)));
        let budgets = self.budgets.iter().map(|(budget, tally)| tally.load(last, |asked| of(&budget.models, asked).cost.nanos()));
        rates.chain(budgets).fold(true, |all, loaded| all & loaded)
    }

    fn calendars(&self) -> impl Iterator<Item = (&Rate, &Tally)> {
        self.rates.iter().filter_map(|(rate, counter)| match &**counter {
            Counter::Calendar(tally) => Some((rate, tally)),
            Counter::Sliding(_) => None,
        })
    }

    /// Requests that run now.
    pub fn running(&self) -> u32 {
        self.running.load(Ordering::Relaxed)
    }

    /// How many requests may run at a time, and how many of those do.
    pub fn parallels(&self) -> impl Iterator<Item = (Parallel, u32)> {
        let all = self.parallel.map(|most| (Parallel::All(most), self.running()));
        let by_model = self.parallel_by_model.iter();
        all.into_iter().chain(by_model.map(|(limit, running)| (Parallel::ByModel(limit.clone()), running.load(Ordering::Relaxed))))
    }

    /// The rates, and what is left of each.
    pub fn rates(&self) -> impl Iterator<Item = (&Rate, &Counter)> {
        self.rates.iter().map(|(rate, counter)| (rate, &**counter))
    }

    /// The budgets, and how each stands.
    pub fn budgets(&self) -> impl Iterator<Item = (&Budget, &Tally)> {
        self.budgets.iter().map(|(budget, tally)| (budget, &**tally))
    }
}

// === impl Used ===

impl Used {
    /// So much of a unit.
    pub fn of(&self, unit: Unit) -> u64 {
        match unit {
            Unit::Requests => self.requests,
            Unit::Tokens => self.input.saturating_add(self.output),
            Unit::InputTokens => self.input,
            Unit::OutputTokens => self.output,
        }
    }
}
