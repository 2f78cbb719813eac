//! What we present to a provider: a secret that cannot be printed, and a rest for one that was refused.

use std::fmt;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

const FIRST_REST: Duration = Duration::from_secs(5);
const LONGEST_REST: Duration = Duration::from_secs(300);

/// Text that no log, error or debug output shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

/// A provider's credential and how it fares.
#[derive(Debug)]
pub struct Credential {
    /// The variable that it is from: its name in messages.
    pub variable: String,
    /// The credential itself.
    pub secret: Secret,
    start: Instant,
    /// Milliseconds after `start` until which it rests; 0 for none.
    resting_until: AtomicU64,
    refusals: AtomicU32,
}

// === impl Secret ===

impl Secret {
    /// Takes a text in.
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }

    /// The text: to be sent to its provider, never to be written anywhere.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

// === impl Credential ===

impl Credential {
    /// A credential in good standing.
    pub fn new(variable: &str, secret: Secret) -> Credential {
        Credential {
            variable: variable.to_owned(),
            secret,
            start: Instant::now(),
            resting_until: AtomicU64::new(0),
            refusals: AtomicU32::new(0),
        }
    }

    /// Whether it was refused lately and is not to be tried yet; tells for how long.
    pub fn rests_for(&self) -> Option<Duration> {
        let until = self.resting_until.load(Ordering::Relaxed);
        let left = until.checked_sub(self.now()).filter(|left| *left > 0)?;
        Some(Duration::from_millis(left))
    }

    /// The provider refused it: it rests, longer with each time.
    pub fn refused(&self) -> Duration {
        let refusals = self.refusals.fetch_add(1, Ordering::Relaxed).min(16);
        let rest = FIRST_REST.saturating_mul(1 << refusals).min(LONGEST_REST);
        self.resting_until.store(self.now() + rest.as_millis() as u64, Ordering::Relaxed);
        rest
    }

    /// The provider took it.
    pub fn accepted(&self) {
        if self.refusals.load(Ordering::Relaxed) != 0 {
            self.refusals.store(0, Ordering::Relaxed);
            self.resting_until.store(0, Ordering::Relaxed);
        }
    }

    fn now(&self) -> u64 {
        self.start.elapsed().as_millis() as u64
    }
}
