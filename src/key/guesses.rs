//! Slows down whoever tries keys: so many unknown ones from one address, then few. A good key is never asked about here.

use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use governor::clock::{Clock, QuantaClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use moka::sync::Cache;

use super::Reason;

/// Addresses kept at the most, about 200 bytes each: the one unseen for longest is forgotten first.
const ADDRESSES: u64 = 50_000;
/// An address that has been quiet for so long has its whole burst again.
const QUIET: Duration = Duration::from_secs(120);
/// Unknown keys at once: a fleet behind one address, deployed with an old key, still reads what is wrong.
const BURST: NonZeroU32 = NonZeroU32::new(100).expect("it is not zero");
/// And then one each such time.
const EVERY: Duration = Duration::from_secs(1);

/// The unknown keys that came from each address lately.
#[derive(Debug)]
pub struct Guesses {
    by_address: Cache<IpAddr, Arc<DefaultDirectRateLimiter>>,
}

// === impl Guesses ===

impl Guesses {
    /// None so far.
    pub fn new() -> Guesses {
        Guesses { by_address: Cache::builder().max_capacity(ADDRESSES).time_to_idle(QUIET).build() }
    }

    /// Counts an unknown key, and gives the reason that its sender is told; what comes from nowhere is not counted.
    pub fn note(&self, from: Option<IpAddr>) -> Reason {
        let Some(address) = from.map(network) else { return Reason::Unknown };
        let limiter = self.by_address.get_with(address, || Arc::new(RateLimiter::direct(quota())));
        match limiter.check() {
            Ok(()) => Reason::Unknown,
            Err(until) => Reason::TooManyGuesses(until.wait_time_from(QuantaClock::default().now())),
        }
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

fn quota() -> Quota {
    // `None` is a period of zero, which this one is not.
    Quota::with_period(EVERY).unwrap_or(Quota::per_second(NonZeroU32::MIN)).allow_burst(BURST)
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
