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
    Some(usage.or_else(|| delta?.usage)?.into())
}

impl From<Reported> for Usage {
    fn from(reported: Reported) -> Usage {
        let counted = |tokens: Option<Tokens>| tokens.filter(|tokens| tokens.input_tokens.is_some() || tokens.output_tokens.is_some());
        let counts = |tokens: Tokens| [tokens.input_tokens, tokens.output_tokens].map(|tokens| tokens.unwrap_or_default() as u64);
        let (seen, billed) = (counted(reported.tokens), counted(reported.billed_units));
        let [input, output] = counts(seen.or(billed).unwrap_or_default());
        let charged =
            billed.map(counts).filter(|billed| *billed != [input, output]).map(|[input, output]| Charged::Tokens { input, output });
        Usage { input, output, cached: reported.cached_tokens.unwrap_or_default() as u64, charged, ..Usage::default() }
    }
}

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
