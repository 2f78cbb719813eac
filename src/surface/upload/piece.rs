//! A piece of an upload that comes in several: sent on as it comes, and never whole in memory.

use std::time::Duration;

use axum::body::Body;
use http::HeaderMap;

use super::{Sink, check_size};
use crate::config::RequestLimits;
use crate::error::Refusal;
use crate::surface::body::{self, Patience};

/// A piece.
pub struct Piece {
    body: Body,
    length: Option<u64>,
    /// Bytes of the whole that came before it.
    before: u64,
    limits: RequestLimits,
}

// === impl Piece ===

impl Piece {
    /// The body of a request with these headers, after so many bytes of the whole.
    pub fn new(body: Body, headers: &HeaderMap, before: u64, limits: &RequestLimits) -> Result<Piece, Refusal> {
        let length = body::announced(headers).map(|length| length as u64);
        check_size(before.saturating_add(length.unwrap_or(0)), limits)?;
        Ok(Piece { body, length, before, limits: limits.clone() })
    }

    /// Its length, where it is announced.
    pub fn length(&self) -> Option<u64> {
        self.length
    }

    /// How long it may take to come.
    pub fn patience(&self) -> Duration {
        self.limits.body_deadline
    }

    /// Sends it as it comes. Ends early where nobody listens any more.
    pub async fn send(mut self, to: &Sink) -> Result<(), Refusal> {
        let (mut seen, mut patience) = (self.before, Patience::default());
        while let Some(bytes) = body::next(&mut self.body, &self.limits, &mut patience).await? {
            seen = seen.saturating_add(bytes.len() as u64);
            check_size(seen, &self.limits)?;
            if to.send(Some(bytes)).await.is_err() {
                return Ok(());
            }
        }
        // Whoever has stopped listening has answered already.
        let _ = to.send(None).await;
        Ok(())
    }
}
