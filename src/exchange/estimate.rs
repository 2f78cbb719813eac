//! What a request can take at most, before its provider is asked: what is reserved for it.

use std::slice;

use crate::catalog::{Model, Operation};
use crate::dialect::Ask;
use crate::dialect::tools::Added;
use crate::money::{self, Price, Usd};
use crate::quota::{Exceeded, Need, Unbounded, limits};
use crate::route::Target;

/// A token of text is about four bytes; the true count replaces this when the answer is settled.
const BYTES_A_TOKEN: u64 = 4;
/// More tokens than a provider puts around tools, or for one that it describes itself: Anthropic's page "Pricing" names up to 804.
const AROUND_TOOLS: u64 = 1024;

/// A request's tokens and cost, before they are known.
#[derive(Clone, Copy, Debug)]
pub struct Estimate {
    /// Tokens in, as text of its length mostly has.
    pub input: u64,
    /// Tokens out at the most, where the caller says so.
    pub output: u64,
    /// The most that it can cost, whichever target answers, or why nobody can tell.
    pub worst: Result<Usd, Unbounded>,
}

/// What a model is given to read.
#[derive(Clone, Copy, Debug, Default)]
pub struct Input {
    /// Bytes of text.
    text: u64,
    /// Tokens that its provider adds.
    added: u64,
    /// It may be more, or no text at all: files, pictures, sound, pages, what a provider keeps, what its own tools find.
    may_be_more: bool,
    /// After each call of a tool that its provider runs, the model reads all of it again.
    is_read_again: bool,
}

// === impl Input ===

impl Input {
    /// A text of so many bytes.
    pub fn text(bytes: u64) -> Input {
        Input { text: bytes, ..Input::default() }
    }

    /// A text of so many bytes, and what nobody can count beforehand.
    pub fn and_more(text: u64) -> Input {
        Input { text, may_be_more: true, ..Input::default() }
    }

    /// What a request holds, what it points to, and what its provider adds because of its tools, which matters where a budget must hold.
    pub fn of(ask: &Ask, is_budgeted: bool) -> Input {
        let tools = if is_budgeted { ask.tools.added(&ask.body) } else { Added::default() };
        let added = AROUND_TOOLS.saturating_mul(u64::from(tools.any) + tools.described_there);
        Input { text: ask.body.len() as u64, added, may_be_more: ask.points_out, is_read_again: tools.runs_there }
    }

    /// The most tokens that a model makes of it.
    fn most(self, model: &Model) -> Result<u64, Unbounded> {
        if self.is_read_again {
            return Err(Unbounded::Tools);
        }
        let takes = takes(model);
        match self.may_be_more {
            true => takes.ok_or(Unbounded::Input),
            // No tokenizer makes more tokens of a text than it has bytes.
            false => Ok((self.text.saturating_add(self.added)).min(takes.unwrap_or(u64::MAX))),
        }
    }
}

// === impl Estimate ===

impl Estimate {
    /// Of a request that wants `choices` answers of `max_output` tokens in all.
    pub fn new(operation: Operation, targets: &[Target], input: Input, max_output: Option<u64>, choices: u64) -> Estimate {
        let worst = |target: &Target| {
            let model = target.facts().ok_or(Unbounded::Price)?;
            let gives = || known(model.max_output).or(known(model.context)).map(|most| most.saturating_mul(choices));
            let [price_in, price_out] = model.dearest().ok_or(Unbounded::Price)?;
            // Of what is free there may be any number.
            let input = if price_in == Price(0) { 0 } else { input.most(model)? };
            let output = if price_out == Price(0) { 0 } else { max_output.or_else(gives).ok_or(Unbounded::Output)? };
            Ok(money::from_pico(price_in.of(input).saturating_add(price_out.of(output))))
        };
        let worst = match operation.is_free() {
            true => Ok(Usd::default()),
            false => targets.iter().map(worst).try_fold(Usd::default(), |most, cost| Ok(most.max(cost?))),
        };
        Estimate { input: input.text / BYTES_A_TOKEN, output: max_output.unwrap_or(0), worst }
    }

    /// What has to be admitted; `touches` says whether a limit's glob names one of the targets.
    pub fn need<'a>(&self, touches: &'a dyn Fn(&str) -> bool) -> Need<'a> {
        Need { requests: 1, input: self.input, output: self.output, cost: self.worst, touches, is_part: false, is_sent: false }
    }
}

impl Default for Estimate {
    fn default() -> Estimate {
        Estimate { input: 0, output: 0, worst: Ok(Usd::default()) }
    }
}

/// Whether a limit's glob names one of the targets.
pub fn touches(targets: &[Target], glob: &str) -> bool {
    targets.iter().any(|target| limits::names(glob, &target.full_name()))
}

/// Judges a request by those of its targets that no limit on some models stops, which are all that is left of them then; where none is left, the
/// first refusal is told.
pub fn among<T, E>(
    targets: &mut Vec<Target>,
    judge: impl Fn(&[Target]) -> Result<T, E>,
    exceeded: impl Fn(&E) -> &Exceeded,
) -> Result<T, E> {
    let mut first = None;
    loop {
        let refused = match judge(targets) {
            Ok(judged) => return Ok(judged),
            Err(refused) => refused,
        };
        let exceeded = exceeded(&refused);
        let is_counted = |target: &Target| exceeded.models().is_some_and(|glob| touches(slice::from_ref(target), glob));
        let (counted, left): (Vec<Target>, Vec<Target>) = targets.iter().cloned().partition(is_counted);
        if counted.is_empty() || left.is_empty() {
            return Err(first.unwrap_or(refused));
        }
        // What the others cost at the most is nothing to a budget that does not count them.
        if matches!(exceeded, Exceeded::Budget { .. } | Exceeded::Unbounded(..))
            && let Ok(judged) = judge(&counted)
        {
            *targets = counted;
            return Ok(judged);
        }
        first.get_or_insert(refused);
        *targets = left;
    }
}

/// The most tokens that a model reads, where that is known.
pub fn takes(model: &Model) -> Option<u64> {
    known(model.max_input).or(known(model.context))
}

/// The catalogue's 0 is a number that nobody knows: there are models of pictures and sound that it says to read and give nothing.
fn known(tokens: Option<u64>) -> Option<u64> {
    tokens.filter(|tokens| *tokens > 0)
}
