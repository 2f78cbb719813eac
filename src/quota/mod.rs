//! Room 3: may this request be made now? Admission hands out a [`Permit`] that gives back what it holds when it is dropped.
//!
//! What a request needs at most is reserved before its provider is called, of every account that it belongs to; what it used
//! replaces that when it ends. So callers at the same time cannot together pass a limit that each alone would keep.

pub mod account;
pub mod accounts;
pub mod alert;
mod bucket;
pub mod counter;
mod headers;
mod hold;
pub mod limits;
pub mod meters;
pub mod network;
mod permit;
mod refused;
pub mod standing;
#[cfg(test)]
mod tests;
pub mod window;

use std::time::Duration;

pub use account::{Account, AccountId, Chain, admit};
pub use accounts::Accounts;
pub use bucket::{Level, TokenBucket};
pub use limits::{Budget, Limits, Parallel, Rate, Unit};
pub use meters::{Meters, Used};
pub use permit::Permit;
pub use refused::{Asker, Refused};
pub use standing::{Standing, standing};
pub use window::Period;

use counter::State;

use crate::money::Usd;

/// What a request needs at most.
#[derive(Clone, Copy)]
pub struct Need<'a> {
    /// How many requests it counts as: none where it goes on with one that was counted.
    pub requests: u64,
    /// Estimated tokens in.
    pub input: u64,
    /// The most tokens out, as far as the caller limits them.
    pub output: u64,
    /// The most that it can cost, or why nobody can tell.
    pub cost: Result<Usd, Unbounded>,
    /// Whether a limit's glob names a model that it may go to.
    pub touches: &'a dyn Fn(&str) -> bool,
    /// It is a part of a request that runs, which counts as one of those that run already.
    pub is_part: bool,
    /// Which limits may still refuse it.
    pub stage: Stage,
}

/// How far what is to be counted has come: limits that cannot refuse it any more count it all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// All may refuse it.
    ToSend,
    /// It was sent, and may be billed: only budgets may refuse to have it paid by itself.
    Sent,
    /// It is being answered, and will be billed: none may.
    Begun,
}

/// Why nobody can tell what a request costs at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unbounded {
    /// One of its models has no price.
    Price,
    /// It may read more than the text in it, and nothing says how much one of its models takes.
    Input,
    /// Nothing says how much one of its models gives.
    Output,
    /// Its provider runs tools by itself, and the model reads all again after each call.
    Tools,
    /// One of its models costs more than its tokens, as for searches that it makes by itself.
    Besides,
}

/// Which limit was reached, and when there is room again.
#[derive(Clone, Debug, PartialEq)]
pub enum Exceeded {
    /// A rate, and how long until there is room.
    Rate(Rate, Duration),
    /// Tokens of a rate, of which requests that still run hold so many, and may use fewer.
    Reserved(Rate, u64),
    /// More in one request than a whole period has.
    TooLarge(Rate, u64),
    /// Requests at a time.
    Parallel(Parallel),
    /// Money.
    Budget {
        /// Which.
        budget: Budget,
        /// How it stands.
        state: State,
        /// The most that the request could cost.
        worst: Usd,
    },
    /// There is a budget, and no most to hold against it.
    Unbounded(Budget, Unbounded),
    /// A limit, on these models or on all, of whose period the ledger is being asked what was used: the clock was set to it.
    Uncounted(Option<String>),
}

// === impl Exceeded ===

impl Exceeded {
    /// The glob on the models that it counts; with none it counts all.
    pub fn models(&self) -> Option<&str> {
        match self {
            Exceeded::Rate(rate, _) | Exceeded::Reserved(rate, _) | Exceeded::TooLarge(rate, _) => rate.models.as_deref(),
            Exceeded::Budget { budget, .. } | Exceeded::Unbounded(budget, _) => budget.models.as_deref(),
            Exceeded::Parallel(limit) => limit.models(),
            Exceeded::Uncounted(models) => models.as_deref(),
        }
    }
}

// === impl Need ===

impl Need<'_> {
    /// A request to no model, that takes nothing that is counted but itself.
    pub const NOTHING: Need<'static> =
        Need { requests: 1, input: 0, output: 0, cost: Ok(Usd(0)), touches: &|_| false, is_part: false, stage: Stage::ToSend };

    /// So much of a unit.
    pub fn of(&self, unit: Unit) -> u64 {
        match unit {
            Unit::Requests => self.requests,
            Unit::Tokens => self.input.saturating_add(self.output),
            Unit::InputTokens => self.input,
            Unit::OutputTokens => self.output,
        }
    }
}
