//! Counts of one rate or budget: taken before, corrected after, given back when nothing came of it.
//!
//! Counters outlive the limits that they are compared with, so that a changed limit starts no new period.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::bucket::{Level, Slot, TokenBucket};
use super::window::{Period, Window};
use crate::clock::{self, Look};

/// How much of something was used in the period that runs.
#[derive(Debug)]
pub enum Counter {
    /// A minute that slides.
    Sliding(TokenBucket),
    /// A calendar period.
    Calendar(Tally),
}

/// A sum over a calendar period; the lock is held for nanoseconds, and only by requests that share the limit.
#[derive(Debug)]
pub struct Tally {
    per: Period,
    count: Mutex<Count>,
}

/// A count, and the one before it.
#[derive(Debug)]
struct Count {
    state: State,
    since: Option<Since>,
    /// How the period before this one stood: a clock that was ahead for a moment comes back to it.
    before: Option<(State, Option<Since>)>,
}

/// Where a count began in the middle of its period: what began before came, or is to come, from the ledger.
#[derive(Clone, Copy, Debug)]
struct Since {
    from: Timestamp,
    ledgers: Part,
    /// Its limit held before too, and lets nothing pass until all is counted.
    is_waited_for: bool,
}

/// What the ledger has of a count.
#[derive(Clone, Copy, Debug)]
enum Part {
    /// It was not asked yet.
    Unknown,
    /// It is being asked; so many requests of before have ended meanwhile.
    Asked(u32),
    /// It is there.
    Loaded,
}

/// What stands in a [`Tally`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    /// The period that runs.
    pub window: Window,
    /// Used for good.
    pub used: u64,
    /// Held by requests that run.
    pub held: u64,
    /// Which alerts were given in this period, by their percentages' places.
    pub alerted: u8,
}

/// What was taken, and when; only whoever gives it back makes it undone.
#[derive(Clone, Copy, Debug)]
pub struct Taken {
    amount: u64,
    of: Of,
}

/// What it was taken of.
#[derive(Clone, Copy, Debug)]
enum Of {
    /// A minute that slides.
    Minute(Slot),
    /// A period that ends then: what was taken in one that is over belongs to no later one.
    Until(Timestamp),
}

/// By so much a clock may be put back without a word.
const LITTLE: SignedDuration = SignedDuration::from_mins(2);

/// Counts that were begun where a clock that was set led to, and have to be [loaded](Tally::load).
static LED_TO: AtomicU64 = AtomicU64::new(0);

/// How many counts of this process were begun so: where it has grown there is something to load.
pub fn led_to_by_clocks() -> u64 {
    LED_TO.load(Ordering::Relaxed)
}

// === impl State ===

impl State {
    /// What is used and held, with so much more.
    pub fn with(&self, amount: u64) -> u64 {
        self.used.saturating_add(self.held).saturating_add(amount)
    }
}

// === impl Counter ===

impl Counter {
    /// Takes `amount`, all or nothing; `most` is the limit, or none.
    pub fn take(&self, amount: u64, most: Option<u64>, now: Look) -> Result<Taken, Level> {
        match self {
            Counter::Sliding(bucket) => {
                let slot = if most.is_none() { bucket.charge(amount, now.here) } else { bucket.take(amount, now.here)? };
                Ok(Taken { amount, of: Of::Minute(slot) })
            }
            Counter::Calendar(tally) => tally.take(amount, most, now.clock),
        }
    }

    /// Replaces what was taken by what was used, be it more.
    pub fn settle(&self, taken: Taken, used: u64, now: Look) {
        match (self, taken.of) {
            (Counter::Sliding(bucket), Of::Minute(slot)) => match used.checked_sub(taken.amount) {
                Some(0) => {}
                Some(more) => {
                    bucket.charge(more, now.here);
                }
                None => bucket.refund(slot, taken.amount - used, now.here),
            },
            (Counter::Sliding(_), Of::Until(_)) => {}
            (Counter::Calendar(tally), _) => {
                tally.settle(taken, used, now.clock);
            }
        }
    }

    /// Gives back what was taken.
    pub fn give_back(&self, taken: Taken, now: Look) {
        self.settle(taken, 0, now);
    }

    /// What is left under `most`, and how long until all of it is.
    pub fn remaining(&self, most: u64, now: Look) -> (u64, Duration) {
        match self {
            Counter::Sliding(bucket) => bucket.remaining(now.here),
            Counter::Calendar(tally) => {
                let state = tally.state_at(now.clock);
                (most.saturating_sub(state.used.saturating_add(state.held)), state.window.left(now.clock))
            }
        }
    }
}

// === impl Taken ===

impl Taken {
    /// So much.
    pub fn amount(self) -> u64 {
        self.amount
    }
}

// === impl State ===

impl State {
    fn new(window: Window, used: u64) -> State {
        State { window, used, held: 0, alerted: 0 }
    }
}

// === impl Tally ===

impl Tally {
    /// A count that begins with what was used since `window` began.
    pub fn new(per: Period, window: Window, used: u64) -> Tally {
        Tally { per, count: Mutex::new(Count::new(State::new(window, used), None)) }
    }

    /// A count of what begins from `from` on; what began before is [loaded](Tally::load).
    pub fn unloaded(per: Period, window: Window, from: Timestamp) -> Tally {
        let since = Since { from, ledgers: Part::Unknown, is_waited_for: false };
        Tally { per, count: Mutex::new(Count::new(State::new(window, 0), Some(since))) }
    }

    /// Which period has to be loaded, and up to when; `None` where nothing has to be.
    pub fn begin_to_load(&self) -> Option<(Window, Timestamp)> {
        let Count { state, since, .. } = &mut *self.lock();
        let since = since.as_mut().filter(|since| !since.is_loaded())?;
        since.ledgers = Part::Asked(0);
        Some((state.window, since.from))
    }

    /// Adds what was used before; false where requests of before have ended since that was asked, unless it is the `last` try, and where another
    /// period runs now that was not asked for.
    pub fn load(&self, last: bool, used: impl FnOnce((Window, Timestamp)) -> u64) -> bool {
        let Count { state, since, .. } = &mut *self.lock();
        let Some(since) = since.as_mut() else { return true };
        match since.ledgers {
            Part::Loaded => true,
            Part::Asked(ended) if ended == 0 || last => {
                since.ledgers = Part::Loaded;
                state.used = state.used.saturating_add(used((state.window, since.from)));
                true
            }
            Part::Asked(_) | Part::Unknown => false,
        }
    }

    /// Holds `held` for a request that runs already: one of before is in the ledger's part as `open`, if it belongs to this period at all.
    /// Either is nothing where this counts other models than the one that answered, or than the one that it began with.
    pub fn take_over(&self, began: Timestamp, held: u64, open: u64) -> Option<Taken> {
        let Count { state, since, .. } = &mut *self.lock();
        if began < state.window.begins {
            return None;
        }
        if let Some(since) = since.as_mut().filter(|since| began < since.from) {
            if !since.is_loaded() {
                since.ended_one();
                return None;
            }
            state.used = state.used.saturating_sub(open);
        }
        state.held = state.held.saturating_add(held);
        Some(Taken { amount: held, of: Of::Until(state.window.ends) })
    }

    /// Takes `amount`; `most` is the limit, or none.
    pub fn take(&self, amount: u64, most: Option<u64>, now: Timestamp) -> Result<Taken, Level> {
        let Count { state, since, .. } = &mut *self.lock_at(now);
        if most.is_some() && since.is_some_and(|since| since.is_waited_for && !since.is_loaded()) {
            return Err(Level::Unknown);
        }
        // What is not loaded is a part of what was used: where that is too much, all of it is.
        let most = most.unwrap_or(u64::MAX);
        if amount > most {
            return Err(Level::Never);
        }
        if state.with(amount) > most {
            let wait = state.window.left(now);
            return Err(if state.used.saturating_add(amount) <= most { Level::Held(state.held, wait) } else { Level::Wait(wait) });
        }
        state.held = state.held.saturating_add(amount);
        Ok(Taken { amount, of: Of::Until(state.window.ends) })
    }

    /// Replaces what was taken by what was used; tells how the count stands then.
    pub fn settle(&self, taken: Taken, used: u64, now: Timestamp) -> State {
        let Count { state, before, .. } = &mut *self.lock_at(now);
        let of = |state: &State| matches!(taken.of, Of::Until(until) if until == state.window.ends);
        let before = before.as_mut().map(|(state, _)| state);
        if let Some(state) = [Some(&mut *state), before].into_iter().flatten().find(|state| of(state)) {
            state.held = state.held.saturating_sub(taken.amount);
            state.used = state.used.saturating_add(used);
        }
        *state
    }

    /// How the count stands.
    pub fn state(&self) -> State {
        self.lock().state
    }

    fn state_at(&self, now: Timestamp) -> State {
        self.lock_at(now).state
    }

    /// Its budget has another amount now, of which other sums are so many percent.
    pub fn alert_anew(&self) {
        self.lock().state.alerted = 0;
    }

    /// Marks an alert as given in this period; false where it was.
    pub fn alert(&self, place: u8) -> bool {
        let state = &mut self.lock().state;
        let is_new = state.alerted & (1 << place) == 0;
        state.alerted |= 1 << place;
        is_new
    }

    /// In the period that runs now.
    fn lock(&self) -> MutexGuard<'_, Count> {
        self.lock_at(Timestamp::now())
    }

    /// In the one that runs at a time that was looked at just before.
    fn lock_at(&self, now: Timestamp) -> MutexGuard<'_, Count> {
        let mut count = self.count.lock().unwrap_or_else(PoisonError::into_inner);
        count.go_to(self.per, now, clock::was_set);
        count
    }
}

// === impl Count ===

impl Count {
    fn new(state: State, since: Option<Since>) -> Count {
        Count { state, since, before: None }
    }

    /// Begins a period where the one that was counted is over.
    ///
    /// A clock that is put back a little starts no period again: the one that ran goes on. One that was wrong by more goes on with the period
    /// that it had left, or with a new one. What it has counted in one that is ahead counts in the one that it comes back to as well.
    ///
    /// Of a new one that the machine's own time has run on into nothing can be used; one that a clock which was set leads to may have been used by
    /// a gateway that ran before it was wrong, as after a start at which no clock was set yet.
    fn go_to(&mut self, per: Period, now: Timestamp, was_set: impl FnOnce() -> bool) {
        let is_over = self.state.window.is_over(now);
        let is_ahead = now < self.state.window.begins && self.state.window.begins.duration_since(now) > LITTLE;
        if !is_over && !is_ahead {
            return;
        }
        let window = per.window(now);
        let anew = || {
            let since = Since { from: now, ledgers: Part::Unknown, is_waited_for: true };
            (State::new(window, 0), was_set().then_some(since))
        };
        let (next, since) = self.before.take_if(|(before, _)| before.window == window).unwrap_or_else(anew);
        let (left, left_since) = (std::mem::replace(&mut self.state, next), std::mem::replace(&mut self.since, since));
        if since.is_some_and(|since| !since.is_loaded()) {
            LED_TO.fetch_add(1, Ordering::Relaxed);
        }
        if is_ahead {
            self.state.used = self.state.used.saturating_add(left.used).saturating_add(left.held);
            self.state.alerted |= left.alerted;
        }
        self.before = Some((left, left_since));
    }
}

// === impl Since ===

impl Since {
    fn is_loaded(&self) -> bool {
        matches!(self.ledgers, Part::Loaded)
    }

    /// A request of before has ended: what the ledger is being asked may have it either way.
    fn ended_one(&mut self) {
        if let Part::Asked(ended) = &mut self.ledgers {
            *ended += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_clock_that_was_ahead_for_a_moment_forgets_nothing() {
        let (noon, per): (Timestamp, _) = ("2026-11-25T12:00:00Z".parse().unwrap(), Period::Day);
        let after = |days: i64| noon + SignedDuration::from_hours(24 * days);
        let state = State { held: 5, ..State::new(per.window(noon), 70) };
        let mut count = Count { state, since: None, before: None };
        count.go_to(per, after(40), || true);
        assert_eq!((count.state.used, count.state.held), (0, 0), "another day");
        (count.state.used, count.state.held) = (8, 4);
        count.go_to(per, noon, || true);
        assert_eq!(count.state, State { held: 5, ..State::new(per.window(noon), 82) });
        count.go_to(per, after(-1), || true);
        assert_eq!(count.state, State::new(per.window(after(-1)), 87), "one that was behind for a moment");
        count.go_to(per, noon, || true);
        assert_eq!(count.state, State { held: 5, ..State::new(per.window(noon), 82) });
        count.go_to(per, after(1), || true);
        assert_eq!(count.state, State::new(per.window(after(1)), 0), "the next day");
    }

    #[test]
    fn a_period_that_a_set_clock_leads_to_waits_for_the_ledger_and_one_that_time_runs_on_into_does_not() {
        let (then, per): (Timestamp, _) = ("2026-10-16T12:00:00Z".parse().unwrap(), Period::Month);
        let a_year = SignedDuration::from_hours(365 * 24);
        for was_set in [false, true] {
            let mut count = Count::new(State::new(per.window(then), 70), None);
            count.go_to(per, then + a_year, || was_set);
            assert_eq!(count.state, State::new(per.window(then + a_year), 0));
            assert_eq!(count.since.is_some_and(|since| since.is_waited_for), was_set);
            count.go_to(per, then, || true);
            assert_eq!((count.state.used, count.since.is_some()), (70, false), "it was counted here");
            count.go_to(per, then + a_year, || false);
            assert_eq!(count.since.is_some(), was_set, "what was not loaded then is not loaded yet");
        }
    }

    #[test]
    fn no_limit_lets_anything_pass_that_the_ledger_was_not_asked_for() {
        let (now, per) = (Timestamp::now(), Period::Month);
        let forty_days = SignedDuration::from_hours(40 * 24);
        // A start with a clock that is behind, and with one that is ahead: what was used by that is of no other period, or of this one.
        for (then, used) in [(now - forty_days, 0), (now + forty_days, 3)] {
            let (mut count, before) = (Count::new(State::new(per.window(then), 3), None), led_to_by_clocks());
            count.go_to(per, now, || true);
            let tally = Tally { per, count: Mutex::new(count) };
            assert!(matches!(tally.take(1, Some(10), now), Err(Level::Unknown)));
            assert!(led_to_by_clocks() > before);
            let soft = tally.take(1, None, now).unwrap();
            assert!(!tally.load(true, |_| panic!("nobody was asked")));
            let (window, from) = tally.begin_to_load().unwrap();
            assert_eq!(window, per.window(now));
            assert!(tally.load(false, |asked| if asked == (window, from) { 6 } else { 0 }));
            assert!(tally.begin_to_load().is_none());
            assert_eq!(tally.settle(soft, 1, now).used, used + 7);
            assert!(tally.take(4 - used, Some(10), now).is_err() && tally.take(3 - used, Some(10), now).is_ok());
        }
    }
}
