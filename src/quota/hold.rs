//! What a request holds of one account: taken when it is admitted, and replaced by what it used when it ends.
//!
//! Limits may change while it runs: what it holds moves to the counters that hold then, so that a new budget counts it by what it used.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use jiff::Timestamp;

use super::counter::{Counter, State, Taken, Tally};
use super::limits::{Budget, Parallel, Unit};
use super::meters::{Meters, Used};
use super::{Exceeded, Level, Need, Stage};
use crate::clock::Look;
use crate::money::Usd;

/// What a request holds of an account; given back, or settled, by its [`super::Permit`].
#[derive(Debug)]
pub(super) struct Hold {
    meters: Arc<Meters>,
    rates: Vec<(usize, Taken)>,
    budgets: Vec<(usize, Taken)>,
    /// It is one of the requests that run.
    runs: bool,
    /// Which counts of requests that run to some models it is in.
    running_by_model: Vec<Arc<AtomicU32>>,
}

/// A request that runs, as far as limits are concerned that are set while it does.
#[derive(Clone, Copy, Debug)]
pub(super) struct Running {
    /// When it began, as the ledger has it.
    pub began: Timestamp,
    /// What was reserved for it: so much of it the ledger counts while it is open.
    pub reserved: Used,
}

/// Whose request a limit's glob takes it for.
#[derive(Clone, Copy)]
pub(super) struct Named<'a> {
    /// Whether it names the model that the ledger has it under while it is open: the one that it began with.
    pub began: &'a dyn Fn(&str) -> bool,
    /// Whether it names the model that answered.
    pub ended: &'a dyn Fn(&str) -> bool,
}

// === impl Meters ===

impl Meters {
    /// Takes what a request needs, or says which limit stands in the way; then nothing is taken.
    pub(super) fn admit(self: &Arc<Self>, need: &Need<'_>, now: Look) -> Result<Hold, Exceeded> {
        let runs = !need.is_part;
        let running = if runs { self.running.fetch_add(1, Ordering::Relaxed) } else { 0 };
        // From here on the hold gives back what was taken, whichever limit refuses.
        let mut hold = Hold::new(self, runs);
        if let Some(limit) = self.parallel.filter(|limit| runs && running >= limit.get()) {
            return Err(Exceeded::Parallel(Parallel::All(limit)));
        }
        for (limit, running) in self.parallel_by_model.iter().filter(|(limit, _)| runs && (need.touches)(&limit.models)) {
            hold.running_by_model.push(Arc::clone(running));
            if running.fetch_add(1, Ordering::Relaxed) >= limit.most.get() {
                return Err(Exceeded::Parallel(Parallel::ByModel(limit.clone())));
            }
        }
        for (at, (rate, counter)) in self.rates.iter().enumerate() {
            if !is_touched(&rate.models, need.touches) {
                continue;
            }
            let amount = need.of(rate.unit);
            match counter.take(amount, (need.stage == Stage::ToSend).then_some(rate.most.get()), now) {
                Ok(taken) => hold.rates.push((at, taken)),
                Err(Level::Never) => return Err(Exceeded::TooLarge(rate.clone(), amount)),
                Err(Level::Unknown) => return Err(Exceeded::Uncounted(rate.models.clone())),
                // A request counts as one however it ends.
                Err(Level::Held(held, _)) if rate.unit != Unit::Requests => return Err(Exceeded::Reserved(rate.clone(), held)),
                Err(Level::Wait(wait) | Level::Held(_, wait)) => return Err(Exceeded::Rate(rate.clone(), wait)),
            }
        }
        for (at, (budget, tally)) in self.budgets.iter().enumerate() {
            if !is_touched(&budget.models, need.touches) {
                continue;
            }
            let is_soft = budget.soft || need.stage == Stage::Begun;
            let worst = match need.cost {
                Ok(cost) => cost.nanos(),
                Err(_) if is_soft => 0,
                Err(why) => return Err(Exceeded::Unbounded(budget.clone(), why)),
            };
            let most = budget.nano_usd.nanos();
            match tally.take(worst, (!is_soft).then_some(most), now.clock) {
                Ok(taken) => hold.budgets.push((at, taken)),
                Err(Level::Unknown) => return Err(Exceeded::Uncounted(budget.models.clone())),
                Err(_) => return Err(Exceeded::Budget { budget: budget.clone(), state: tally.state(), worst: Usd::of_nanos(worst) }),
            }
        }
        Ok(hold)
    }

    /// For a request that runs already, and that nothing was counted of here.
    pub(super) fn join(self: &Arc<Self>) -> Hold {
        self.running.fetch_add(1, Ordering::Relaxed);
        Hold::new(self, true)
    }
}

// === impl Hold ===

impl Hold {
    fn new(meters: &Arc<Meters>, runs: bool) -> Hold {
        Hold { meters: Arc::clone(meters), rates: Vec::new(), budgets: Vec::new(), runs, running_by_model: Vec::new() }
    }

    /// Moves to the counters that hold now; `is_new` where it held none of this account before.
    pub(super) fn move_to(&mut self, current: &Arc<Meters>, running: &Running, named: Named<'_>, is_new: bool) {
        if Arc::ptr_eq(&self.meters, current) && !is_new {
            return;
        }
        let before = std::mem::replace(&mut self.meters, Arc::clone(current));
        let (held_rates, held_budgets) = (std::mem::take(&mut self.rates), std::mem::take(&mut self.budgets));
        for (at, (rate, counter)) in current.rates.iter().enumerate() {
            let place = before.rates.iter().position(|(_, other)| Arc::ptr_eq(other, counter)).filter(|_| !is_new);
            let taken = match (place, &**counter) {
                (Some(place), _) => held_rates.iter().find(|(held, _)| *held == place).map(|(_, taken)| *taken),
                (None, Counter::Calendar(tally)) => {
                    // Tokens of a request that is open are not in the ledger yet.
                    let open = if rate.unit == Unit::Requests { 1 } else { 0 };
                    running.take_over(tally, named.by(&rate.models), running.reserved.of(rate.unit), open)
                }
                // What it holds is used already in the minute that a changed limit goes on with.
                (None, Counter::Sliding(_)) => None,
            };
            self.rates.extend(taken.map(|taken| (at, taken)));
        }
        for (at, (budget, tally)) in current.budgets.iter().enumerate() {
            let place = before.budgets.iter().position(|(_, other)| Arc::ptr_eq(other, tally)).filter(|_| !is_new);
            let taken = match place {
                Some(place) => held_budgets.iter().find(|(held, _)| *held == place).map(|(_, taken)| *taken),
                None => {
                    let reserved = running.reserved.cost.nanos();
                    running.take_over(tally, named.by(&budget.models), reserved, reserved)
                }
            };
            self.budgets.extend(taken.map(|taken| (at, taken)));
        }
    }

    /// Replaces what is held by what was used of a model that `touches` a limit's glob; `charged` hears which budgets that was charged to,
    /// and how they stand then.
    pub(super) fn settle(mut self, used: &Used, touches: &dyn Fn(&str) -> bool, charged: &dyn Fn(&Budget, &Tally, &State)) {
        let now = Look::now();
        for (at, taken) in std::mem::take(&mut self.rates) {
            let Some((rate, counter)) = self.meters.rates.get(at) else { continue };
            match is_touched(&rate.models, touches) {
                true if rate.unit == Unit::Requests => counter.settle(taken, taken.amount(), now),
                true => counter.settle(taken, used.of(rate.unit), now),
                false => counter.give_back(taken, now),
            }
        }
        for (at, taken) in std::mem::take(&mut self.budgets) {
            let Some((budget, tally)) = self.meters.budgets.get(at) else { continue };
            let is_touched = is_touched(&budget.models, touches);
            let state = tally.settle(taken, if is_touched { used.cost.nanos() } else { 0 }, now.clock);
            if is_touched {
                charged(budget, tally, &state);
            }
        }
    }

    /// What was not settled.
    fn give_back(&self) {
        if self.rates.is_empty() && self.budgets.is_empty() {
            return;
        }
        let now = Look::now();
        for (at, taken) in &self.rates {
            if let Some((_, counter)) = self.meters.rates.get(*at) {
                counter.give_back(*taken, now);
            }
        }
        for (at, taken) in &self.budgets {
            if let Some((_, tally)) = self.meters.budgets.get(*at) {
                tally.settle(*taken, 0, now.clock);
            }
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.give_back();
        if self.runs {
            self.meters.running.fetch_sub(1, Ordering::Relaxed);
        }
        for running in &self.running_by_model {
            running.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

// === impl Running ===

impl Running {
    /// Moves it to a count that was begun while it ran: one of who answered holds `held`, and one of whom it began with has `open` of the ledger.
    fn take_over(&self, tally: &Tally, [began, ended]: [bool; 2], held: u64, open: u64) -> Option<Taken> {
        let so = |is: bool, amount| if is { amount } else { 0 };
        (began || ended).then(|| tally.take_over(self.began, so(ended, held), so(began, open))).flatten()
    }
}

// === impl Named ===

impl Named<'_> {
    /// Whether a limit on these models counts it while it is open, and once it has ended.
    fn by(self, models: &Option<String>) -> [bool; 2] {
        [self.began, self.ended].map(|touches| is_touched(models, touches))
    }
}

fn is_touched(models: &Option<String>, touches: &dyn Fn(&str) -> bool) -> bool {
    models.as_deref().is_none_or(touches)
}
