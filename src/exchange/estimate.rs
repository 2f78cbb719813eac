//! What a request can take at most, before its provider is asked: what is reserved for it.

use crate::catalog::Operation;
use crate::money::Usd;
use crate::quota::{Need, limits};
use crate::route::Target;

/// How much output is reserved where neither the caller nor the catalogue names a limit.
const UNNAMED_OUTPUT: u64 = 4096;
/// A token of text is about four bytes; the true count replaces this when the answer is settled.
const BYTES_A_TOKEN: u64 = 4;

/// A request's tokens and cost, before they are known.
#[derive(Clone, Copy, Debug, Default)]
pub struct Estimate {
    /// Tokens in, as text of its length mostly has.
    pub input: u64,
    /// Tokens out at the most, where the caller says so.
    pub output: u64,
    /// The most that it can cost, whichever target answers; `None` where one of them has no price.
    pub worst: Option<Usd>,
}

// === impl Estimate ===

impl Estimate {
    /// Of a request with a body of so many bytes, that wants `choices` answers of `max_output` tokens in all.
    pub fn new(operation: Operation, targets: &[Target], bytes: u64, max_output: Option<u64>, choices: u64) -> Estimate {
        let worst = |target: &Target| {
            let facts = target.facts()?;
            // No tokenizer makes more tokens of a text than it has bytes; a picture in it has far fewer, and the model's context bounds both.
            let input = bytes.min(facts.max_input.or(facts.context).unwrap_or(u64::MAX));
            let output = max_output.unwrap_or_else(|| facts.max_output.or(facts.context).unwrap_or(UNNAMED_OUTPUT).saturating_mul(choices));
            facts.worst_cost(input, output)
        };
        let worst = match operation.is_free() {
            true => Some(Usd::default()),
            false => targets.iter().map(worst).try_fold(Usd::default(), |most, cost| Some(most.max(cost?))),
        };
        Estimate { input: bytes / BYTES_A_TOKEN, output: max_output.unwrap_or(0), worst }
    }

    /// What has to be admitted; `touches` says whether a limit's glob names one of the targets.
    pub fn need<'a>(&self, touches: &'a dyn Fn(&str) -> bool) -> Need<'a> {
        Need { input: self.input, output: self.output, cost: self.worst, touches }
    }
}

/// Whether a limit's glob names one of the targets.
pub fn touches(targets: &[Target], glob: &str) -> bool {
    targets.iter().any(|target| limits::matches(glob, &target.full_name()))
}
