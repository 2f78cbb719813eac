//! A form on its way to a provider: never whole in memory, put aside until its model is known, then sent on as it comes.

pub mod multipart;
pub mod piece;
pub mod spool;
#[cfg(test)]
mod tests;

use std::io;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, StatusCode, header};
use tokio::sync::mpsc;

use super::body::{self, Patience};
use super::shares::Share;
use crate::config::{Config, RequestLimits};
use crate::error::{Kind, Refusal};
use multipart::{Field, Scanner};
use spool::{Place, Spool};

/// A form.
pub struct Upload {
    /// The head's own, with the boundary.
    pub content_type: HeaderValue,
    /// How many pictures it asks for, as far as it has come.
    pub pictures: u64,
    /// The first field of what has come that nobody here knows.
    pub unknown: Option<String>,
    model: Option<Field>,
    spool: Spool,
    /// Its length as announced, or as it turned out to be.
    length: Option<u64>,
    limits: RequestLimits,
    /// It was waited for until here: what was judged by its head may not hold any more.
    pub was_late: bool,
    /// What is still to come, until somebody takes it.
    coming: Mutex<Option<Coming>>,
}

/// How much of a form has to be here before it is sent on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wants {
    /// None of it.
    Nothing,
    /// Up to its field `model`.
    Model,
    /// What stands at its end may cost.
    All,
}

/// The part of a form that has not come yet.
struct Coming {
    body: Body,
    scanner: Scanner,
    seen: u64,
    patience: Patience,
}

/// Where a form goes: its pieces, and `None` at its end. One that is closed before was cut off.
pub type Sink = mpsc::Sender<Option<Bytes>>;

// === impl Upload ===

impl Upload {
    /// Reads as much of a form as is wanted: a small one whole, so that it can be sent twice.
    pub async fn read(body: Body, head: &Parts, wants: Wants, config: &Config, mut share: Share) -> Result<Upload, Refusal> {
        let limits = config.limits.clone();
        let boundary = multipart::boundary(&head.headers)?;
        let length = body::announced(&head.headers).map(|length| length as u64);
        check_size(length.unwrap_or(0), &limits)?;
        let content_type = head.headers.get(header::CONTENT_TYPE).cloned().unwrap_or(HeaderValue::from_static("multipart/form-data"));
        let mut spool = Spool::new(&config.data);
        let mut coming = Coming { body, scanner: Scanner::new(&boundary, "model"), seen: 0, patience: Patience::default() };
        let is_small = length.is_some_and(|length| length <= spool::IN_MEMORY);
        let mut is_whole = false;
        while is_small || wants == Wants::All || (wants == Wants::Model && coming.scanner.found().is_none()) {
            let Some(piece) = coming.next(&limits).await? else {
                is_whole = true;
                break;
            };
            share.grow(piece.len() as u64)?;
            spool.push(piece).await.map_err(|e| no_room(&e))?;
        }
        spool.take(share);
        let was_late = coming.patience.was_needed();
        let model = coming.scanner.found().cloned();
        let (pictures, unknown) = (coming.scanner.pictures(), coming.scanner.unknown().map(str::to_owned));
        let length = if is_whole { Some(spool.size()) } else { length };
        let coming = Mutex::new(Some(coming).filter(|_| !is_whole));
        Ok(Upload { content_type, pictures, unknown, model, spool, length, limits, was_late, coming })
    }

    /// The model that it names.
    pub fn model(&self) -> Option<&str> {
        self.model.as_ref().map(|field| field.value.as_str())
    }

    /// Whether all of it is here, so that it can be sent more than once.
    pub fn is_whole(&self) -> bool {
        self.lock().is_none()
    }

    /// How long it may take to come.
    pub fn patience(&self) -> Duration {
        self.limits.body_deadline
    }

    /// How long it is with another model in it, where that is known.
    pub fn length_with(&self, model: &str) -> Option<u64> {
        let (old, new) = self.model.as_ref().map_or((0, 0), |field| (field.value.len() as u64, model.len() as u64));
        Some((self.length?.checked_sub(old)?) + new)
    }

    /// Sends it with another model in it; what is still to come is sent as it comes. Ends early where nobody listens any more.
    pub async fn send(&self, model: &str, to: &Sink) -> Result<(), Refusal> {
        let at = self.model.as_ref().map_or(u64::MAX..u64::MAX, |field| field.at.clone());
        let (mut place, mut seen) = (Place::default(), 0);
        while let Some(piece) = self.spool.next(&mut place).await.map_err(|e| no_room(&e))? {
            let start = seen;
            seen += piece.len() as u64;
            for piece in with(&piece, start, &at, model) {
                if to.send(Some(piece)).await.is_err() {
                    return Ok(());
                }
            }
        }
        let coming = self.lock().take();
        if let Some(mut coming) = coming {
            while let Some(piece) = coming.next(&self.limits).await? {
                if to.send(Some(piece)).await.is_err() {
                    return Ok(());
                }
            }
        }
        // Whoever has stopped listening has answered already.
        let _ = to.send(None).await;
        Ok(())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Coming>> {
        self.coming.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Coming ===

impl Coming {
    /// The next piece, looked at; `None` at the form's right end.
    async fn next(&mut self, limits: &RequestLimits) -> Result<Option<Bytes>, Refusal> {
        let Some(piece) = body::next(&mut self.body, limits, &mut self.patience).await? else {
            return self.scanner.finish().map(|()| None);
        };
        self.seen += piece.len() as u64;
        check_size(self.seen, limits)?;
        self.scanner.observe(&piece)?;
        Ok(Some(piece))
    }
}

/// A piece that begins at `start`, with `model` in place of what stands at `at`.
fn with(piece: &Bytes, start: u64, at: &Range<u64>, model: &str) -> Vec<Bytes> {
    let place = |position: u64| position.saturating_sub(start).min(piece.len() as u64) as usize;
    let mut pieces = vec![piece.slice(..place(at.start))];
    if (start..start + piece.len() as u64).contains(&at.start) {
        pieces.push(Bytes::copy_from_slice(model.as_bytes()));
    }
    pieces.push(piece.slice(place(at.end)..));
    pieces.retain(|piece| !piece.is_empty());
    pieces
}

/// Whether an upload of so many bytes is taken.
pub fn check_size(bytes: u64, limits: &RequestLimits) -> Result<(), Refusal> {
    if bytes <= (limits.upload_mib as u64) << 20 {
        return Ok(());
    }
    let message = format!(
        "The upload is larger than the {} MiB that this gateway takes: send less (its limit is limits.upload_mib).",
        limits.upload_mib
    );
    Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, Kind::Invalid, "upload_too_large", message))
}

fn no_room(error: &io::Error) -> Refusal {
    tracing::error!(%error, "an upload cannot be put aside in the data folder");
    let message = "This gateway has no room for the upload right now: send the fields before the file, or try again in a moment.";
    Refusal::new(StatusCode::INSUFFICIENT_STORAGE, Kind::Unavailable, "upload_not_taken", message)
}
