//! An attempt that its provider may bill though another one follows it: a row of its own in the ledger, held against budgets by itself.

use futures_util::future::BoxFuture;

use super::estimate::{self, Estimate};
use crate::key::Caller;
use crate::quota::{Need, Permit};
use crate::route::Target;
use crate::ticket::Ticket;
use crate::upstream::{Failure, Payer};

/// Whoever pays for the attempts of one request.
pub(super) struct Paying<'a> {
    pub(super) ticket: &'a Ticket,
    pub(super) caller: &'a Caller,
    pub(super) targets: &'a [Target],
    pub(super) estimate: &'a Estimate,
}

// === impl Paying ===

impl Payer for Paying<'_> {
    fn pays<'a>(&'a self, failure: Failure, target: &'a Target) -> BoxFuture<'a, bool> {
        Box::pin(self.write_down(failure, target))
    }
}

impl Paying<'_> {
    /// False where there is no room for it: then what it may cost is what was reserved for the request, which ends with it.
    async fn write_down(&self, failure: Failure, target: &Target) -> bool {
        let Some(permit) = self.admitted() else { return false };
        let mut attempt = self.ticket.attempt();
        let begun = attempt.begin(target, permit, self.estimate).await;
        attempt.refused(&failure.refusal());
        begun.is_ok()
    }

    fn admitted(&self) -> Option<Permit> {
        let touches = |glob: &str| estimate::touches(self.targets, glob) || self.ticket.prompt_is_named_by(glob);
        let cost = if self.caller.has_hard_budget() { self.estimate.worst } else { Need::NOTHING.cost };
        // It counts as the request that it belongs to, which has its place among those that run.
        self.caller.admit(&Need { requests: 0, is_part: true, cost, touches: &touches, ..Need::NOTHING }).ok()
    }
}
