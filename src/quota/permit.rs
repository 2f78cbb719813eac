//! The right to run one request: settled by what it used, or given back whole when it is dropped.

use http::HeaderMap;

use super::account::{Account, Chain};
use super::meters::{Hold, Used};
use super::{Refused, headers};
use std::sync::Arc;

/// Held for as long as the request runs; cannot be copied, and cannot be forgotten without giving back.
#[derive(Debug)]
#[must_use = "a permit that is dropped gives back what it holds"]
pub struct Permit {
    chain: Chain,
    holds: Vec<(Arc<Account>, Hold)>,
}

// === impl Permit ===

impl Permit {
    pub(super) fn new(chain: &Chain) -> Permit {
        Permit { chain: chain.clone(), holds: Vec::with_capacity(chain.len()) }
    }

    pub(super) fn hold(&mut self, account: &Arc<Account>, hold: Hold) {
        self.holds.push((Arc::clone(account), hold));
    }

    /// Replaces the reservation by what was really used of a model that `touches` a limit's glob, and ends the request.
    pub fn settle(mut self, used: &Used, touches: &dyn Fn(&str) -> bool) {
        for (account, hold) in std::mem::take(&mut self.holds) {
            for (budget, tally) in hold.settle(used, touches) {
                account.charged(&budget, &tally);
            }
        }
    }

    /// Takes what was used while the request runs on; an error once a limit has nothing left.
    pub fn charge(&mut self, used: &Used) -> Result<(), Refused> {
        let mut refused = Ok(());
        for (account, hold) in &mut self.holds {
            if let Err(exceeded) = hold.charge(used) {
                refused = Err(Refused::new(account, exceeded, &self.chain));
            }
        }
        refused
    }

    /// The `x-ratelimit-*` headers as they are now.
    pub fn write_headers(&self, to: &mut HeaderMap) {
        headers::write(&self.chain, to);
    }
}
