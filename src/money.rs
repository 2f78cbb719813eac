//! Money as integers: prices in pico-dollars a token, amounts in nano-dollars, so that sums are exact.

use std::fmt;

use serde::{Deserialize, Serialize};

/// An amount in nano-dollars (10⁻⁹ USD).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Usd(pub i64);

/// A price in pico-dollars (10⁻¹² USD) a token: 1 USD per million tokens is 1,000,000.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Price(pub u64);

// === impl Usd ===

impl Usd {
    /// The amount as a count; what is owed to us is none.
    pub fn nanos(self) -> u64 {
        u64::try_from(self.0).unwrap_or(0)
    }

    /// So many nano-dollars, as far as they can be told.
    pub fn of_nanos(nanos: u64) -> Usd {
        Usd(i64::try_from(nanos).unwrap_or(i64::MAX))
    }

    /// From dollars as a program tells them; what is less than nothing is nothing.
    pub fn of_dollars(dollars: f64) -> Usd {
        Usd((dollars.max(0.0) * 1e9).round() as i64)
    }

    /// From dollars as people write them, `12.50`, to the last nano-dollar.
    pub fn parse(text: &str) -> Option<Usd> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let is_number = |digits: &str| digits.bytes().all(|b| b.is_ascii_digit());
        if !is_number(whole) || !is_number(fraction) || fraction.len() > 9 || whole.len() + fraction.len() == 0 {
            return None;
        }
        let dollars: i64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
        let nanos: i64 = format!("{fraction:0<9}").parse().ok()?;
        dollars.checked_mul(1_000_000_000)?.checked_add(nanos).map(Usd)
    }

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

    /// The same in USD per million tokens.
    pub fn as_per_million(self) -> f64 {
        self.0 as f64 / 1e6
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dollars_are_read_exactly() {
        let right = [("12.50", 12_500_000_000), ("0", 0), (".5", 500_000_000), ("1.000000001", 1_000_000_001), ("7.", 7_000_000_000)];
        for (text, nanos) in right {
            assert_eq!(Usd::parse(text), Some(Usd(nanos)), "{text}");
        }
        for wrong in ["", ".", "-1", "1e3", "1,50", "1.0000000001", "99999999999999999999"] {
            assert_eq!(Usd::parse(wrong), None, "{wrong}");
        }
    }
}
