//! Slows down whoever tries keys: so many unknown ones from one address, then few, and these mostly without a look-up. A key in memory is never
//! asked about here.
//!
//! A good key that is not in memory looks like a guess until it is looked up. From an address that has to wait few are each second, and those that
//! came as often have an allowance of their own: whoever sends each guess once, or twice, has no part in that of a key which comes once more.
//! Only from whoever sends each guess as often as the holder of a good key does, many a second, that has to win a place.

use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use governor::clock::{Clock, QuantaClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use moka::policy::EvictionPolicy;
use moka::sync::Cache;

use super::{KeyId, Reason};

/// Addresses kept at the most, about 900 bytes each: the one unseen for longest is forgotten first.
const ADDRESSES: u64 = 50_000;
/// An address that has been quiet for so long has its whole burst again.
const QUIET: Duration = Duration::from_secs(120);
/// Unknown keys at once: a fleet behind one address, deployed with an old key, still reads what is wrong.
const BURST: NonZeroU32 = NonZeroU32::new(100).expect("it is not zero");
/// And then one each such time.
const EVERY: Duration = Duration::from_secs(1);
/// Look-ups a second for an address that has to wait: of keys that came from it for the first time, as many of those that came once before, …
const LOOK_UPS: NonZeroU32 = NonZeroU32::new(10).expect("it is not zero");
/// … and of those that came so often.
const TIMES: usize = 8;
/// Keys kept at the most that came from addresses that had to wait and were not looked up, about 100 bytes each.
const TRIED: u64 = 100_000;
/// For so long.
const TRIED_FOR: Duration = Duration::from_secs(300);

/// The unknown keys that came from each address lately.
#[derive(Debug)]
pub struct Guesses {
    by_address: Cache<IpAddr, Arc<Source>>,
    /// How often what came from an address while that had to wait was not looked up.
    tried: Cache<(IpAddr, KeyId), u8>,
    opened: Instant,
}

/// What came from one address.
#[derive(Debug)]
struct Source {
    guesses: DefaultDirectRateLimiter,
    /// By how often a key was not looked up before.
    look_ups: [DefaultDirectRateLimiter; TIMES],
    /// Until when it has to wait, in milliseconds since `opened`.
    waits_until: AtomicU64,
}

// === impl Guesses ===

impl Guesses {
    /// None so far.
    pub fn new() -> Guesses {
        Guesses {
            by_address: Cache::builder().max_capacity(ADDRESSES).time_to_idle(QUIET).build(),
            // The newest is the one that will come again: how often others came says nothing.
            tried: Cache::builder().max_capacity(TRIED).time_to_live(TRIED_FOR).eviction_policy(EvictionPolicy::lru()).build(),
            opened: Instant::now(),
        }
    }

    /// Counts an unknown key, and gives the reason that its sender is told; what comes from nowhere is not counted.
    pub fn note(&self, from: Option<IpAddr>) -> Reason {
        let Some(address) = from.map(network) else { return Reason::Unknown };
        let source = self.by_address.get_with(address, || Arc::new(Source::new()));
        match source.guesses.check() {
            Ok(()) => Reason::Unknown,
            Err(until) => {
                let wait = until.wait_time_from(QuantaClock::default().now());
                source.waits_until.fetch_max(self.after(wait), Ordering::Relaxed);
                Reason::TooManyGuesses(wait)
            }
        }
    }

    /// How long a key that is not in memory has to wait before it is looked up; `None` where it may be now.
    pub fn hold_off(&self, from: IpAddr, id: KeyId) -> Option<Duration> {
        let address = network(from);
        let source = self.by_address.get(&address)?;
        let waits = source.waits_until.load(Ordering::Relaxed).checked_sub(self.after(Duration::ZERO)).filter(|waits| *waits > 0)?;
        let times = self.tried.get(&(address, id)).unwrap_or(0);
        let of_such = source.look_ups.get(usize::from(times)).or(source.look_ups.last())?;
        let refused = of_such.check().err()?;
        self.tried.insert((address, id), times.saturating_add(1));
        match times {
            0 => Some(Duration::from_millis(waits)),
            _ => Some(refused.wait_time_from(QuantaClock::default().now())),
        }
    }

    /// So long from now, in milliseconds since `opened`.
    fn after(&self, wait: Duration) -> u64 {
        u64::try_from((self.opened.elapsed() + wait).as_millis()).unwrap_or(u64::MAX)
    }

    /// Addresses that are remembered.
    #[cfg(test)]
    pub fn addresses(&self) -> u64 {
        self.by_address.run_pending_tasks();
        self.by_address.entry_count()
    }
}

impl Default for Guesses {
    fn default() -> Guesses {
        Guesses::new()
    }
}

// === impl Source ===

impl Source {
    fn new() -> Source {
        // `None` is a period of zero, which this one is not.
        let guesses = Quota::with_period(EVERY).unwrap_or(Quota::per_second(NonZeroU32::MIN)).allow_burst(BURST);
        let look_ups = std::array::from_fn(|_| RateLimiter::direct(Quota::per_second(LOOK_UPS)));
        Source { guesses: RateLimiter::direct(guesses), look_ups, waits_until: AtomicU64::new(0) }
    }
}

/// Whoever has an IPv6 address has all of its /64.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        v4 => v4,
    }
}
