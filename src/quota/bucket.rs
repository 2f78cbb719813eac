//! A token bucket that can be refunded: a reservation is an upper bound, and what was not used goes back.
//!
//! The generic cell rate algorithm on one atomic: the theoretical arrival time moves ahead with what is taken and back with what
//! is given. `governor` has neither a way back, which token limits need, nor a look at what is left that takes nothing.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

const MINUTE_NS: u64 = 60_000_000_000;

/// So many tokens a minute, all of them at once if the minute before was quiet.
#[derive(Debug)]
pub struct TokenBucket {
    capacity: u32,
    start: Instant,
    /// Nanoseconds after `start` at which the bucket is full again.
    full_at: AtomicU64,
}

/// What came of asking for tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// They are taken.
    Taken,
    /// There is room for them after this time.
    Wait(Duration),
    /// They are more than the bucket holds.
    Never,
}

// === impl TokenBucket ===

impl TokenBucket {
    /// A full bucket.
    pub fn per_minute(capacity: NonZeroU32) -> TokenBucket {
        TokenBucket { capacity: capacity.get(), start: Instant::now(), full_at: AtomicU64::new(0) }
    }

    /// Takes `tokens`, all or none.
    pub fn take(&self, tokens: u64) -> Level {
        if tokens > u64::from(self.capacity) {
            return Level::Never;
        }
        let (now, price) = (self.now(), self.nanoseconds(tokens));
        let taken = self.full_at.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |full_at| {
            let after = full_at.max(now) + price;
            (after - now <= MINUTE_NS).then_some(after)
        });
        match taken {
            Ok(_) => Level::Taken,
            Err(full_at) => Level::Wait(Duration::from_nanos((full_at.max(now) + price).saturating_sub(now + MINUTE_NS))),
        }
    }

    /// Takes `tokens` that are used already, even if that leaves a debt to wait out.
    pub fn charge(&self, tokens: u64) {
        let (now, price) = (self.now(), self.nanoseconds(tokens));
        self.update(|full_at| full_at.max(now).saturating_add(price));
    }

    /// Gives back what was taken and not used.
    pub fn refund(&self, tokens: u64) {
        let price = self.nanoseconds(tokens);
        self.update(|full_at| full_at.saturating_sub(price));
    }

    /// Tokens that can be taken now, and how long until it is full.
    pub fn remaining(&self) -> (u64, Duration) {
        let until_full = self.full_at.load(Ordering::Relaxed).saturating_sub(self.now());
        let room = MINUTE_NS.saturating_sub(until_full);
        (share(room, u64::from(self.capacity), MINUTE_NS), Duration::from_nanos(until_full))
    }

    fn update(&self, change: impl Fn(u64) -> u64) {
        let mut seen = self.full_at.load(Ordering::Relaxed);
        while let Err(newer) = self.full_at.compare_exchange_weak(seen, change(seen), Ordering::Relaxed, Ordering::Relaxed) {
            seen = newer;
        }
    }

    fn nanoseconds(&self, tokens: u64) -> u64 {
        share(tokens, MINUTE_NS, u64::from(self.capacity))
    }

    fn now(&self) -> u64 {
        self.start.elapsed().as_nanos() as u64
    }
}

/// `amount * part / whole`, as far as that can be told; most products are no larger than a division in one step takes.
fn share(amount: u64, part: u64, whole: u64) -> u64 {
    match amount.checked_mul(part) {
        Some(product) => product / whole,
        None => (u128::from(amount) * u128::from(part) / u128::from(whole)).min(u128::from(u64::MAX)) as u64,
    }
}
