//! Money as integers: prices in pico-dollars a token, amounts in nano-dollars, so that sums are exact.

use std::fmt;

use serde::{Deserialize, Serialize};

/// An amount in nano-dollars (10⁻⁹ USD).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Usd(pub i64);

/// A price in pico-dollars (10⁻¹² USD) a token: 1 USD per million tokens is 1,000,000.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Price(pub u64);

// === impl Usd ===

impl Usd {
    /// The amount in dollars, for people; sums are made before, on the integer.
    pub fn as_f64(self) -> f64 {
        self.0 as f64 / 1e9
    }
}

impl fmt::Display for Usd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let nanos = self.0.unsigned_abs();
        write!(f, "{sign}${}.{:06}", nanos / 1_000_000_000, nanos % 1_000_000_000 / 1_000)
    }
}

// === impl Price ===

impl Price {
    /// From USD per million tokens, as the catalogue has it.
    pub fn per_million(usd: f64) -> Price {
        Price((usd * 1e6).round().max(0.0) as u64)
    }

    /// Pico-dollars for so many tokens.
    pub fn of(self, tokens: u64) -> u64 {
        self.0.saturating_mul(tokens)
    }
}

/// Pico-dollars as an amount, rounded up: a cost is never recorded below what was charged.
pub fn from_pico(pico: u64) -> Usd {
    Usd(i64::try_from(pico.div_ceil(1_000)).unwrap_or(i64::MAX))
}
