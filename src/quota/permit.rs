//! The right to run one request: settled by what it used, or given back whole when it is dropped.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use http::HeaderMap;

use super::{Exceeded, Level, Meters, Refused};

/// Held for as long as the request runs; cannot be copied, and cannot be forgotten without giving back.
#[derive(Debug)]
#[must_use = "a permit that is dropped gives back what it holds"]
pub struct Permit {
    meters: Arc<Meters>,
    held_tokens: Option<u64>,
    pub(super) remaining_requests: Option<u32>,
}

// === impl Permit ===

impl Permit {
    pub(super) fn new(meters: Arc<Meters>) -> Permit {
        Permit { meters, held_tokens: None, remaining_requests: None }
    }

    pub(super) fn hold_tokens(&mut self, tokens: u64) {
        self.held_tokens = Some(tokens);
    }

    /// Replaces the reservation by the tokens that were really used, and ends the request.
    pub fn settle(mut self, used: u64) {
        if let (Some(held), Some(bucket)) = (self.held_tokens.take(), &self.meters.tokens) {
            match used.checked_sub(held) {
                Some(more) => bucket.charge(more),
                None => bucket.refund(held - used),
            }
        }
    }

    /// Takes tokens that were used while the request runs on; an error once the key has none left.
    pub fn charge(&mut self, used: u64) -> Result<(), Refused> {
        let (Some(held), Some(bucket), Some(limit)) = (&mut self.held_tokens, &self.meters.tokens, self.meters.limits.tokens_per_minute)
        else {
            return Ok(());
        };
        bucket.charge(used);
        *held += used;
        match bucket.take(1) {
            Level::Wait(wait) => Err(self.meters.refuse(Exceeded::Tokens(limit, wait))),
            Level::Taken | Level::Never => {
                bucket.refund(1);
                Ok(())
            }
        }
    }

    /// The key's `x-ratelimit-*` headers as they are now.
    pub fn write_headers(&self, headers: &mut HeaderMap) {
        self.meters.write_headers(self.remaining_requests, headers);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let (Some(held), Some(bucket)) = (self.held_tokens, &self.meters.tokens) {
            bucket.refund(held);
        }
        self.meters.running.fetch_sub(1, Ordering::Relaxed);
    }
}
