//! Usage as Cohere reports it: in the whole answer, or in a stream's `message-end` event.
//!
//! Source: `Usage` in Cohere's v2 chat reference. `tokens` counts what the model saw, with what Cohere puts before a conversation itself;
//! `billed_units`, what is charged.

use serde::{Deserialize, Serialize};

use crate::ledger::record::{Charged, Usage};

#[derive(Deserialize)]
struct Document {
    usage: Option<Reported>,
    delta: Option<Inner>,
}

#[derive(Deserialize)]
struct Inner {
    usage: Option<Reported>,
}

/// The `usage` object.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Reported {
    tokens: Option<Tokens>,
    billed_units: Option<Tokens>,
    cached_tokens: Option<f64>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
struct Tokens {
    input_tokens: Option<f64>,
    output_tokens: Option<f64>,
}

/// The `usage` object as it is told to a caller.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Told {
    billed_units: Counted,
    tokens: Counted,
    #[serde(skip_serializing_if = "Option::is_none")]
    cached_tokens: Option<u64>,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct Counted {
    input_tokens: u64,
    output_tokens: u64,
}

/// Reads the usage of an answer or an event.
pub fn read(json: &[u8], _: Option<Usage>) -> Option<Usage> {
    let Document { usage, delta } = serde_json::from_slice(json).ok()?;
    usage.or_else(|| delta?.usage)?.usage()
}

// === impl Reported ===

impl Reported {
    /// The tokens; `None` where it is not told how many were read and how many said.
    pub fn usage(self) -> Option<Usage> {
        let (seen, billed) = (self.tokens.and_then(Tokens::counts), self.billed_units.and_then(Tokens::counts));
        let [input, output] = seen.or(billed)?;
        let charged = billed.filter(|billed| *billed != [input, output]).map(|[input, output]| Charged::Tokens { input, output });
        Some(Usage { input, output, cached: self.cached_tokens.unwrap_or_default() as u64, charged, ..Usage::default() })
    }
}

// === impl Tokens ===

impl Tokens {
    fn counts(self) -> Option<[u64; 2]> {
        let count = |told: Option<f64>| told.filter(|count| *count >= 0.0).map(|count| count as u64);
        Some([count(self.input_tokens)?, count(self.output_tokens)?])
    }
}

// === impl Told ===

impl From<&Usage> for Told {
    fn from(usage: &Usage) -> Told {
        let tokens = Counted { input_tokens: usage.input, output_tokens: usage.output };
        let billed_units = match usage.charged {
            Some(Charged::Tokens { input, output }) => Counted { input_tokens: input, output_tokens: output },
            _ => tokens,
        };
        Told { billed_units, tokens, cached_tokens: (usage.cached > 0).then_some(usage.cached) }
    }
}
