//! What one account has used of its limits: a counter for each rate and budget, and how many of its requests run.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use jiff::Timestamp;

use super::bucket::TokenBucket;
use super::counter::{Counter, Taken, Tally};
use super::limits::{Budget, Limits, Rate, Unit};
use super::window::{Period, Window};
use super::{Exceeded, Level, Need};
use crate::money::Usd;

/// The limits of an account, each with its counter.
#[derive(Debug, Default)]
pub struct Meters {
    rates: Vec<(Rate, Arc<Counter>)>,
    budgets: Vec<(Budget, Arc<Tally>)>,
    parallel: Option<NonZeroU32>,
    running: Arc<AtomicU32>,
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
    /// Only these models.
    pub models: Option<String>,
}

/// What a request holds of an account; given back, or settled, by its [`super::Permit`].
#[derive(Debug)]
pub(super) struct Hold {
    pub(super) meters: Arc<Meters>,
    rates: Vec<(usize, Taken)>,
    budgets: Vec<(usize, Taken)>,
    /// It is one of the requests that run.
    runs: bool,
}

// === impl Meters ===

impl Meters {
    /// Counters for `limits`: `old` ones go on where they count the same, and the others begin with what `past` tells was used.
    pub fn new(limits: &Limits, old: Option<&Meters>, past: impl Fn(&Past) -> Used) -> Meters {
        let now = Timestamp::now();
        let rate = |rate: &Rate| {
            let alike = old.and_then(|old| old.rates.iter().find(|(other, _)| other.is_alike(rate)));
            match (alike, rate.per) {
                // How fast a bucket fills depends on its size.
                (Some((other, counter)), per) if per != Period::Minute || other.most == rate.most => (rate.clone(), Arc::clone(counter)),
                (_, Period::Minute) => {
                    let most = u32::try_from(rate.most.get()).ok().and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MAX);
                    (rate.clone(), Arc::new(Counter::Sliding(TokenBucket::per_minute(most))))
                }
                (_, per) => {
                    let window = per.window(now);
                    let used = past(&Past { window, models: rate.models.clone() });
                    (rate.clone(), Arc::new(Counter::Calendar(Tally::new(per, window, used.of(rate.unit)))))
                }
            }
        };
        let budget = |budget: &Budget| {
            let alike = old.and_then(|old| old.budgets.iter().find(|(other, _)| other.is_alike(budget)));
            let tally = alike.map(|(_, tally)| Arc::clone(tally)).unwrap_or_else(|| {
                let window = budget.per.window(now);
                let used = past(&Past { window, models: budget.models.clone() });
                Arc::new(Tally::new(budget.per, window, used.cost.nanos()))
            });
            (budget.clone(), tally)
        };
        Meters {
            rates: limits.rates.iter().map(rate).collect(),
            budgets: limits.budgets.iter().map(budget).collect(),
            parallel: limits.parallel,
            running: old.map(|old| Arc::clone(&old.running)).unwrap_or_default(),
        }
    }

    /// What has to be asked of the ledger before [`Meters::new`] can count it.
    pub fn unknown(limits: &Limits, old: Option<&Meters>) -> Vec<Past> {
        let now = Timestamp::now();
        let is_known_rate = |rate: &Rate| old.is_some_and(|old| old.rates.iter().any(|(other, _)| other.is_alike(rate)));
        let is_known_budget = |budget: &Budget| old.is_some_and(|old| old.budgets.iter().any(|(other, _)| other.is_alike(budget)));
        let rates = limits.rates.iter().filter(|rate| rate.per != Period::Minute && !is_known_rate(rate));
        let budgets = limits.budgets.iter().filter(|budget| !is_known_budget(budget));
        let past = |per: Period, models: &Option<String>| Past { window: per.window(now), models: models.clone() };
        rates.map(|rate| past(rate.per, &rate.models)).chain(budgets.map(|budget| past(budget.per, &budget.models))).collect()
    }

    /// Requests that run now.
    pub fn running(&self) -> u32 {
        self.running.load(Ordering::Relaxed)
    }

    /// The rates, and what is left of each.
    pub fn rates(&self) -> impl Iterator<Item = (&Rate, &Counter)> {
        self.rates.iter().map(|(rate, counter)| (rate, &**counter))
    }

    /// The budgets, and how each stands.
    pub fn budgets(&self) -> impl Iterator<Item = (&Budget, &Tally)> {
        self.budgets.iter().map(|(budget, tally)| (budget, &**tally))
    }

    /// Takes what a request needs, or says which limit stands in the way; then nothing is taken.
    pub(super) fn admit(self: &Arc<Self>, need: &Need<'_>) -> Result<Hold, Exceeded> {
        let runs = !need.is_part;
        let running = if runs { self.running.fetch_add(1, Ordering::Relaxed) } else { 0 };
        // From here on the hold gives back what was taken, whichever limit refuses.
        let mut hold = Hold { meters: Arc::clone(self), rates: Vec::new(), budgets: Vec::new(), runs };
        if let Some(limit) = self.parallel.filter(|limit| runs && running >= limit.get()) {
            return Err(Exceeded::Parallel(limit));
        }
        for (at, (rate, counter)) in self.rates.iter().enumerate() {
            if !is_touched(&rate.models, need.touches) {
                continue;
            }
            let amount = need.of(rate.unit);
            match counter.take(amount, rate.most.get()) {
                Ok(taken) => hold.rates.push((at, taken)),
                Err(Level::Never) => return Err(Exceeded::TooLarge(rate.clone(), amount)),
                Err(Level::Wait(wait)) => return Err(Exceeded::Rate(rate.clone(), wait)),
                Err(Level::Taken) => {}
            }
        }
        for (at, (budget, tally)) in self.budgets.iter().enumerate() {
            if !is_touched(&budget.models, need.touches) {
                continue;
            }
            let worst = match need.cost {
                Some(cost) => cost.nanos(),
                None if budget.soft => 0,
                None => return Err(Exceeded::Unpriced(budget.clone())),
            };
            let most = budget.nano_usd.nanos();
            match tally.take(worst, (!budget.soft).then_some(most)) {
                Ok(taken) => hold.budgets.push((at, taken)),
                Err(_) => return Err(Exceeded::Budget { budget: budget.clone(), state: tally.state(), worst: Usd::of_nanos(worst) }),
            }
        }
        Ok(hold)
    }
}

// === impl Hold ===

impl Hold {
    /// Replaces what is held by what was used of a model that `touches` a limit's glob; tells which budgets it was charged to.
    pub(super) fn settle(mut self, used: &Used, touches: &dyn Fn(&str) -> bool) -> Vec<(Budget, Arc<Tally>)> {
        for (at, taken) in std::mem::take(&mut self.rates) {
            let Some((rate, counter)) = self.meters.rates.get(at) else { continue };
            match is_touched(&rate.models, touches) {
                true if rate.unit == Unit::Requests => counter.settle(taken, taken.amount()),
                true => counter.settle(taken, used.of(rate.unit)),
                false => counter.give_back(taken),
            }
        }
        let mut charged = Vec::new();
        for (at, taken) in std::mem::take(&mut self.budgets) {
            let Some((budget, tally)) = self.meters.budgets.get(at) else { continue };
            let is_touched = is_touched(&budget.models, touches);
            tally.settle(taken, if is_touched { used.cost.nanos() } else { 0 });
            if is_touched {
                charged.push((budget.clone(), Arc::clone(tally)));
            }
        }
        charged
    }

    /// Adds what was used while the request runs on; an error once a limit has nothing left.
    pub(super) fn charge(&mut self, used: &Used) -> Result<(), Exceeded> {
        let mut exceeded = None;
        for (at, taken) in &mut self.rates {
            let Some((rate, counter)) = self.meters.rates.get(*at).filter(|(rate, _)| rate.unit != Unit::Requests) else { continue };
            let amount = used.of(rate.unit);
            *taken = counter.grow(*taken, amount);
            let (left, wait) = counter.remaining(rate.most.get());
            if left == 0 {
                exceeded = Some(Exceeded::Rate(rate.clone(), wait));
            }
        }
        for (at, taken) in &mut self.budgets {
            let Some((budget, tally)) = self.meters.budgets.get(*at) else { continue };
            let (amount, most) = (used.cost.nanos(), budget.nano_usd.nanos());
            *taken = tally.grow(*taken, amount);
            let state = tally.state();
            if !budget.soft && state.used + state.held >= most {
                exceeded = Some(Exceeded::Budget { budget: budget.clone(), state, worst: used.cost });
            }
        }
        exceeded.map_or(Ok(()), Err)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        for (at, taken) in &self.rates {
            if let Some((_, counter)) = self.meters.rates.get(*at) {
                counter.give_back(*taken);
            }
        }
        for (at, taken) in &self.budgets {
            if let Some((_, tally)) = self.meters.budgets.get(*at) {
                tally.settle(*taken, 0);
            }
        }
        if self.runs {
            self.meters.running.fetch_sub(1, Ordering::Relaxed);
        }
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

fn is_touched(models: &Option<String>, touches: &dyn Fn(&str) -> bool) -> bool {
    models.as_deref().is_none_or(touches)
}
