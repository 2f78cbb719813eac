//! A token bucket that can be refunded: a reservation is an upper bound, and what was not used goes back.
//!
//! The generic cell rate algorithm on one atomic: the theoretical arrival time moves ahead with what is taken and back with what
//! is given. `governor` has neither a way back, which token limits need, nor a look at what is left that takes nothing.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

const MINUTE_NS: u64 = 60_000_000_000;
/// Requests that take within this time of each other may look at the clock in another order than they take in.
const AT_ONCE_NS: u64 = 100_000_000;

/// So many tokens a minute, all of them at once if the minute before was quiet.
#[derive(Debug)]
pub struct TokenBucket {
    capacity: u32,
    start: Instant,
    /// Nanoseconds after `start` at which the bucket is full again.
    full_at: AtomicU64,
    /// When it was last found full: what was taken before then has come back.
    found_full: AtomicU64,
}

/// Tokens that were taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Nanoseconds after the bucket's start.
    taken_at: u64,
    /// The same at which it has filled up by these, and by all that were taken before.
    filled_at: u64,
}

/// Why tokens are not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// There is room for them after this time.
    Wait(Duration),
    /// There is room for them already, but for what is held by requests that still run: after this time whatever these take.
    Held(u64, Duration),
    /// They are more than the bucket holds.
    Never,
    /// What was used of them has to be asked for first.
    Unknown,
}

// === impl TokenBucket ===

impl TokenBucket {
    /// A full bucket.
    pub fn per_minute(capacity: NonZeroU32) -> TokenBucket {
        TokenBucket { capacity: capacity.get(), start: Instant::now(), full_at: AtomicU64::new(0), found_full: AtomicU64::new(0) }
    }

    /// Takes `tokens`, all or none.
    pub fn take(&self, tokens: u64, now: Instant) -> Result<Slot, Level> {
        if tokens > u64::from(self.capacity) {
            return Err(Level::Never);
        }
        let (now, price) = (self.at(now), self.nanoseconds(tokens));
        let taken = self.full_at.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |full_at| {
            let after = full_at.max(now).saturating_add(price);
            (after - now <= MINUTE_NS).then_some(after)
        });
        match taken {
            Ok(full_at) => Ok(self.slot(full_at, now, price)),
            Err(full_at) => Err(Level::Wait(Duration::from_nanos(full_at.max(now).saturating_add(price).saturating_sub(now + MINUTE_NS)))),
        }
    }

    /// Takes `tokens` that are used already, even if that leaves a debt to wait out.
    pub fn charge(&self, tokens: u64, now: Instant) -> Slot {
        let (now, price) = (self.at(now), self.nanoseconds(tokens));
        self.slot(self.update(|full_at| full_at.max(now).saturating_add(price)), now, price)
    }

    /// Gives back tokens of a slot that were not used, as far as they have not come back by themselves: the bucket was filling meanwhile.
    pub fn refund(&self, slot: Slot, tokens: u64, now: Instant) {
        if slot.taken_at.saturating_add(AT_ONCE_NS) < self.found_full.load(Ordering::Relaxed) {
            return;
        }
        let price = self.nanoseconds(tokens).min(slot.filled_at.saturating_sub(self.at(now)));
        self.update(|full_at| full_at.saturating_sub(price));
    }

    /// Tokens that can be taken now, and how long until it is full.
    pub fn remaining(&self, now: Instant) -> (u64, Duration) {
        let until_full = self.full_at.load(Ordering::Relaxed).saturating_sub(self.at(now));
        let room = MINUTE_NS.saturating_sub(until_full);
        (share(room, u64::from(self.capacity), MINUTE_NS), Duration::from_nanos(until_full))
    }

    /// What was taken for so much of a bucket that would have been full then.
    fn slot(&self, full_at: u64, now: u64, price: u64) -> Slot {
        if full_at <= now {
            self.found_full.fetch_max(now, Ordering::Relaxed);
        }
        Slot { taken_at: now, filled_at: full_at.max(now).saturating_add(price) }
    }

    /// Tells what it was before.
    fn update(&self, change: impl Fn(u64) -> u64) -> u64 {
        let mut seen = self.full_at.load(Ordering::Relaxed);
        while let Err(newer) = self.full_at.compare_exchange_weak(seen, change(seen), Ordering::Relaxed, Ordering::Relaxed) {
            seen = newer;
        }
        seen
    }

    fn nanoseconds(&self, tokens: u64) -> u64 {
        share(tokens, MINUTE_NS, u64::from(self.capacity))
    }

    fn at(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.start).as_nanos() as u64
    }
}

/// `amount * part / whole`, as far as that can be told; most products are no larger than a division in one step takes.
fn share(amount: u64, part: u64, whole: u64) -> u64 {
    match amount.checked_mul(part) {
        Some(product) => product / whole,
        None => (u128::from(amount) * u128::from(part) / u128::from(whole)).min(u128::from(u64::MAX)) as u64,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn bucket(capacity: u32) -> TokenBucket {
        TokenBucket::per_minute(NonZeroU32::new(capacity).unwrap())
    }

    #[test]
    fn what_has_come_back_by_itself_is_not_given_back_again() {
        let (bucket, mut now) = (bucket(600), Instant::now());
        let long = bucket.take(560, now).unwrap();
        now += Duration::from_secs(32);
        bucket.take(280, now).unwrap();
        bucket.refund(long, 550, now);
        // As if it had taken ten: those were back before the other came.
        assert!((318..=321).contains(&bucket.remaining(now).0), "{}", bucket.remaining(now).0);
        assert!(matches!(bucket.take(570, now), Err(Level::Wait(_))));
    }

    #[test]
    fn what_came_back_as_another_gave_back_is_not_given_back_again() {
        let (bucket, mut now) = (bucket(60_000), Instant::now());
        let (first, second) = (bucket.take(30_000, now).unwrap(), bucket.take(20_000, now).unwrap());
        now += Duration::from_secs(1);
        bucket.refund(first, 29_000, now);
        now += Duration::from_secs(29);
        bucket.take(60_000, now).unwrap();
        bucket.refund(second, 19_000, now);
        assert!(bucket.remaining(now).0 < 100, "{}", bucket.remaining(now).0);
    }

    #[test]
    fn what_was_not_used_comes_back_whole_while_others_stand_before_it() {
        let (bucket, mut now) = (bucket(6000), Instant::now());
        bucket.charge(5000, now);
        let late = bucket.take(900, now).unwrap();
        now += Duration::from_secs(30);
        assert!((3100..=3101).contains(&bucket.remaining(now).0));
        bucket.refund(late, 890, now);
        assert!((3990..=3991).contains(&bucket.remaining(now).0), "{}", bucket.remaining(now).0);
    }

    #[test]
    fn whoever_looked_at_the_clock_before_and_takes_after_gives_back_all() {
        let (bucket, now) = (bucket(600_000), Instant::now());
        let later = now + Duration::from_micros(2);
        let first = bucket.take(50_000, later).unwrap();
        let second = bucket.take(50_000, now).unwrap();
        bucket.refund(second, 49_990, later);
        bucket.refund(first, 49_990, later);
        assert!((599_979..=599_980).contains(&bucket.remaining(later).0), "{}", bucket.remaining(later).0);
    }

    #[test]
    fn what_is_given_back_at_once_is_all_of_it() {
        let (bucket, now) = (bucket(10), Instant::now());
        let slot = bucket.take(10, now).unwrap();
        assert!(matches!(bucket.take(1, now), Err(Level::Wait(_))));
        bucket.refund(slot, 10, now);
        assert_eq!(bucket.remaining(now).0, 10);
        assert_eq!(bucket.take(11, now), Err(Level::Never));
    }
}
