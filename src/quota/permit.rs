//! The right to run one request: settled by what it used, or given back whole when it is dropped.

use http::HeaderMap;
use jiff::Timestamp;

use super::account::Chain;
use super::hold::{Hold, Named, Running};
use super::meters::Used;
use super::{Need, headers};

/// Held for as long as the request runs; cannot be copied, and cannot be forgotten without giving back.
#[derive(Debug)]
#[must_use = "a permit that is dropped gives back what it holds"]
pub struct Permit {
    chain: Chain,
    /// What is held of accounts, each by its place in the chain.
    holds: Vec<(usize, Hold)>,
    running: Running,
}

// === impl Permit ===

impl Permit {
    pub(super) fn new(chain: &Chain, need: &Need<'_>, began: Timestamp) -> Permit {
        let reserved = Used { requests: need.requests, input: need.input, output: need.output, cost: need.cost.unwrap_or_default() };
        let running = Running { began, reserved };
        Permit { chain: chain.clone(), holds: Vec::with_capacity(chain.len()), running }
    }

    /// When its request was admitted: what the ledger has to say of when it began.
    pub fn began(&self) -> Timestamp {
        self.running.began
    }

    pub(super) fn hold(&mut self, place: usize, hold: Hold) {
        self.holds.push((place, hold));
    }

    /// Replaces the reservation by what was really used of a model that `touches` a limit's glob, and ends the request.
    pub fn settle(self, used: &Used, touches: &dyn Fn(&str) -> bool) {
        self.settle_moved(used, touches, touches);
    }

    /// The same of one that the ledger had as one of a model that `began` names until another one answered.
    pub fn settle_moved(mut self, used: &Used, touches: &dyn Fn(&str) -> bool, began: &dyn Fn(&str) -> bool) {
        self.follow(Named { began, ended: touches });
        for (place, hold) in std::mem::take(&mut self.holds) {
            hold.settle(used, touches, &|budget, tally, state| self.chain[place].charged(budget, tally, state));
        }
    }

    /// Limits that were set since the request began count it too.
    fn follow(&mut self, named: Named<'_>) {
        for (place, account) in self.chain.iter().enumerate() {
            let current = account.current();
            match self.holds.iter_mut().find(|(held, _)| *held == place) {
                Some((_, hold)) => hold.move_to(&current.meters, &self.running, named, false),
                None if current.limits.counts_nothing() => {}
                None => {
                    let mut hold = current.meters.join();
                    hold.move_to(&current.meters, &self.running, named, true);
                    self.holds.push((place, hold));
                }
            }
        }
    }

    /// The `x-ratelimit-*` headers as they are now.
    pub fn write_headers(&self, to: &mut HeaderMap) {
        headers::write(&self.chain, to);
    }
}
