//! Counts of one rate or budget: taken before, corrected after, given back when nothing came of it.
//!
//! Counters outlive the limits that they are compared with, so that a changed limit starts no new period.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::bucket::{Level, Slot, TokenBucket};
use super::window::{Period, Window};

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

/// A count, and where it began while requests ran.
#[derive(Debug)]
struct Count {
    state: State,
    /// How the period before this one stood: a clock that was ahead for a moment comes back to it.
    before: Option<State>,
    since: Option<Since>,
}

/// A count that was begun while requests ran: what began before came, or is to come, from the ledger.
#[derive(Clone, Copy, Debug)]
struct Since {
    from: Timestamp,
    /// The end of the period that it was begun in.
    until: Timestamp,
    /// The ledger's part is there.
    is_loaded: bool,
    /// Requests of before that ended while it was being loaded.
    ended: u32,
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
    pub fn take(&self, amount: u64, most: Option<u64>) -> Result<Taken, Level> {
        match self {
            Counter::Sliding(bucket) => {
                let slot = if most.is_none() { bucket.charge(amount) } else { bucket.take(amount)? };
                Ok(Taken { amount, of: Of::Minute(slot) })
            }
            Counter::Calendar(tally) => tally.take(amount, most),
        }
    }

    /// Replaces what was taken by what was used, be it more.
    pub fn settle(&self, taken: Taken, used: u64) {
        match (self, taken.of) {
            (Counter::Sliding(bucket), Of::Minute(slot)) => match used.checked_sub(taken.amount) {
                Some(0) => {}
                Some(more) => {
                    bucket.charge(more);
                }
                None => bucket.refund(slot, taken.amount - used),
            },
            (Counter::Sliding(_), Of::Until(_)) => {}
            (Counter::Calendar(tally), _) => {
                tally.settle(taken, used);
            }
        }
    }

    /// Gives back what was taken.
    pub fn give_back(&self, taken: Taken) {
        self.settle(taken, 0);
    }

    /// What is left under `most`, and how long until all of it is.
    pub fn remaining(&self, most: u64) -> (u64, Duration) {
        match self {
            Counter::Sliding(bucket) => bucket.remaining(),
            Counter::Calendar(tally) => {
                let (state, now) = (tally.state(), Timestamp::now());
                (most.saturating_sub(state.used.saturating_add(state.held)), state.window.left(now))
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
        Tally { per, count: Mutex::new(Count { state: State::new(window, used), before: None, since: None }) }
    }

    /// A count of what begins from `from` on; what began before is [loaded](Tally::load).
    pub fn unloaded(per: Period, window: Window, from: Timestamp) -> Tally {
        let since = Some(Since { from, until: window.ends, is_loaded: false, ended: 0 });
        Tally { per, count: Mutex::new(Count { state: State::new(window, 0), before: None, since }) }
    }

    /// Which period has to be loaded, and up to when; `None` where nothing has to be.
    pub fn begin_to_load(&self) -> Option<(Window, Timestamp)> {
        let Count { state, since, .. } = &mut *self.lock();
        let since = since.as_mut().filter(|since| !since.is_loaded)?;
        since.ended = 0;
        Some((state.window, since.from))
    }

    /// Adds what was used before; false where requests of before have ended since that was asked, unless it is the `last` try.
    pub fn load(&self, last: bool, used: impl FnOnce((Window, Timestamp)) -> u64) -> bool {
        let Count { state, before, since } = &mut *self.lock();
        let Some(since) = since.as_mut().filter(|since| !since.is_loaded) else { return true };
        if since.ended > 0 && !last {
            return false;
        }
        since.is_loaded = true;
        // Of a period that is over nothing belongs to the one that runs.
        if let Some(state) = [Some(state), before.as_mut()].into_iter().flatten().find(|state| state.window.ends == since.until) {
            state.used = state.used.saturating_add(used((state.window, since.from)));
        }
        true
    }

    /// Holds `held` for a request that runs already: one of before is in the ledger's part as `open`, if it belongs to this period at all.
    pub fn take_over(&self, began: Timestamp, held: u64, open: u64) -> Option<Taken> {
        let Count { state, since, .. } = &mut *self.lock();
        if began < state.window.begins {
            return None;
        }
        if let Some(since) = since.as_mut().filter(|since| began < since.from && since.until == state.window.ends) {
            if !since.is_loaded {
                since.ended += 1;
                return None;
            }
            state.used = state.used.saturating_sub(open);
        }
        state.held = state.held.saturating_add(held);
        Some(Taken { amount: held, of: Of::Until(state.window.ends) })
    }

    /// Takes `amount`; `most` is the limit, or none.
    pub fn take(&self, amount: u64, most: Option<u64>) -> Result<Taken, Level> {
        let state = &mut self.lock().state;
        let most = most.unwrap_or(u64::MAX);
        if amount > most {
            return Err(Level::Never);
        }
        if state.with(amount) > most {
            let wait = state.window.left(Timestamp::now());
            return Err(if state.used.saturating_add(amount) <= most { Level::Held(state.held, wait) } else { Level::Wait(wait) });
        }
        state.held += amount;
        Ok(Taken { amount, of: Of::Until(state.window.ends) })
    }

    /// Replaces what was taken by what was used; tells how the count stands then.
    pub fn settle(&self, taken: Taken, used: u64) -> State {
        let Count { state, before, .. } = &mut *self.lock();
        let of = |state: &State| matches!(taken.of, Of::Until(until) if until == state.window.ends);
        if let Some(state) = Some(&mut *state).filter(|state| of(state)).or_else(|| before.as_mut().filter(|state| of(state))) {
            state.held = state.held.saturating_sub(taken.amount);
            state.used = state.used.saturating_add(used);
        }
        *state
    }

    /// How the count stands.
    pub fn state(&self) -> State {
        self.lock().state
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
        let mut count = self.count.lock().unwrap_or_else(PoisonError::into_inner);
        count.go_to(self.per, Timestamp::now());
        count
    }
}

// === impl Count ===

impl Count {
    /// Begins a period where the one that was counted is over.
    ///
    /// A clock that is put back a little starts no period again: the one that ran goes on. One that was wrong by more goes on with the period
    /// that it had left, or with a new one. What it has counted in one that is ahead counts in the one that it comes back to as well.
    fn go_to(&mut self, per: Period, now: Timestamp) {
        let is_over = self.state.window.is_over(now);
        let is_ahead = now < self.state.window.begins && self.state.window.begins.duration_since(now) > LITTLE;
        if !is_over && !is_ahead {
            return;
        }
        let window = per.window(now);
        let next = self.before.take_if(|before| before.window == window).unwrap_or_else(|| State::new(window, 0));
        let left = std::mem::replace(&mut self.state, next);
        if is_ahead {
            self.state.used = self.state.used.saturating_add(left.used).saturating_add(left.held);
            self.state.alerted |= left.alerted;
        }
        self.before = Some(left);
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
        let mut count = Count { state: State { held: 5, ..State::new(per.window(noon), 70) }, before: None, since: None };
        count.go_to(per, after(40));
        assert_eq!((count.state.used, count.state.held), (0, 0), "another day");
        (count.state.used, count.state.held) = (8, 4);
        count.go_to(per, noon);
        assert_eq!(count.state, State { held: 5, ..State::new(per.window(noon), 82) });
        count.go_to(per, after(-1));
        assert_eq!(count.state, State::new(per.window(after(-1)), 87), "one that was behind for a moment");
        count.go_to(per, noon);
        assert_eq!(count.state, State { held: 5, ..State::new(per.window(noon), 82) });
        count.go_to(per, after(1));
        assert_eq!(count.state, State::new(per.window(after(1)), 0), "the next day");
    }
}
