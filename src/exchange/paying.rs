//! What is held against limits: a request, by those of its targets that there is room for, and by itself an attempt that its provider may bill
//! though another one follows it, which is a row of its own in the ledger. None follows once the key holds no longer.

use std::slice;

use futures_util::future::BoxFuture;
use http::request::Parts;

use super::estimate::{self, Estimate};
use crate::error::Refusal;
use crate::gateway::Gateway;
use crate::key::{Caller, KeyId};
use crate::quota::{Need, Permit, Refused, Stage};
use crate::route::Target;
use crate::ticket::Ticket;
use crate::upstream::{Answer, Failed, Failure, Payer};

/// Admits a request, which is asked of those targets alone that no limit on some models stops; where none is left, the first one that did is told.
///
/// `is_named` says whether a limit's glob names what the request is beside its targets, `is_part` that it goes on with one that runs.
pub(super) fn admit(
    caller: &Caller,
    targets: &mut Vec<Target>,
    estimate_of: &dyn Fn(&[Target]) -> Estimate,
    is_named: &dyn Fn(&str) -> bool,
    is_part: bool,
) -> Result<(Permit, Estimate), Refused> {
    let admitted = |targets: &[Target]| {
        let estimate = estimate_of(targets);
        let touches = |glob: &str| estimate::touches(targets, glob) || is_named(glob);
        let admitted = caller.admit(&Need { requests: u64::from(!is_part), is_part, ..estimate.need(&touches) });
        admitted.map(|permit| (permit, estimate))
    };
    estimate::among(targets, admitted, |refused| &refused.exceeded)
}

/// It is known which of several targets was asked last: what that may have cost unseen is the most that it takes, not the dearest of all.
pub(super) fn asked(
    ticket: &mut Ticket,
    targets: &[Target],
    answered: &Result<Answer, Failed>,
    estimate_of: &dyn Fn(&[Target]) -> Estimate,
) {
    let index = match answered {
        Ok(answer) => answer.target,
        Err(failed) => failed.target,
    };
    if let Some(target) = targets.get(index).filter(|_| targets.len() > 1) {
        ticket.may_have_cost(estimate_of(slice::from_ref(target)));
    }
}

/// The key of a request that runs, by which nothing more is asked once it holds no longer.
pub struct Holding<'a> {
    /// Where it is judged.
    pub gateway: &'a Gateway,
    /// Which it is.
    pub key: KeyId,
    /// The request's head.
    pub head: &'a Parts,
    /// Why it may not have done any more what it asked for.
    pub may: &'a (dyn Fn(&Caller) -> Result<(), Refusal> + Sync),
}

/// Whoever pays for the attempts of one request.
pub(super) struct Paying<'a> {
    pub(super) holding: Holding<'a>,
    pub(super) ticket: &'a Ticket,
    pub(super) caller: &'a Caller,
    /// Of some of its targets.
    pub(super) estimate_of: &'a (dyn Fn(&[Target]) -> Estimate + Sync),
}

// === impl Holding ===

impl Holding<'_> {
    /// Judges it as it is now, in memory: its secret was proven when the request came.
    pub async fn judge(&self) -> Result<(), Refusal> {
        let caller = self.gateway.keys.check_by_id(self.key, self.head).await?;
        (self.may)(&caller)
    }
}

/// What is free has to be paid for by nobody.
impl Payer for Holding<'_> {
    fn goes_on(&self) -> BoxFuture<'_, Result<(), Refusal>> {
        Box::pin(self.judge())
    }

    fn pays<'a>(&'a self, _: &'a Failure, _: &'a Target) -> BoxFuture<'a, bool> {
        Box::pin(std::future::ready(true))
    }
}

// === impl Paying ===

impl Payer for Paying<'_> {
    fn goes_on(&self) -> BoxFuture<'_, Result<(), Refusal>> {
        Box::pin(self.holding.judge())
    }

    fn pays<'a>(&'a self, failure: &'a Failure, target: &'a Target) -> BoxFuture<'a, bool> {
        Box::pin(self.write_down(failure, target))
    }
}

impl Paying<'_> {
    /// False where there is no room for it: then it is paid of what was reserved for the request, which ends with it.
    async fn write_down(&self, failure: &Failure, target: &Target) -> bool {
        let estimate = (self.estimate_of)(slice::from_ref(target));
        let Some(permit) = self.admitted(target, &estimate) else { return false };
        let mut attempt = self.ticket.attempt();
        let begun = attempt.begin(target, permit, &estimate).await;
        attempt.refused(&failure.clone().refusal());
        begun.is_ok()
    }

    fn admitted(&self, target: &Target, estimate: &Estimate) -> Option<Permit> {
        let touches = |glob: &str| estimate::touches(slice::from_ref(target), glob) || self.ticket.prompt_is_named_by(glob);
        let cost = if self.caller.has_hard_budget() { estimate.worst } else { Need::NOTHING.cost };
        // The request that it belongs to has its place among those that run.
        self.caller.admit(&Need { is_part: true, stage: Stage::Sent, cost, touches: &touches, ..Need::NOTHING }).ok()
    }
}
