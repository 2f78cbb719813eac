//! Reads a request's body within its limits of size and patience.

use std::io::{self, ErrorKind};

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use futures_util::{FutureExt as _, stream};
use http::{HeaderMap, StatusCode, header};
use http_body_util::BodyExt;
use tokio::time::Instant;

use super::shares::Share;
use crate::config::RequestLimits;
use crate::error::{Kind, Refusal};

/// A whole body.
pub struct Came {
    /// It, in one piece.
    pub bytes: Bytes,
    /// It was waited for: what was judged by its head may not hold any more.
    pub was_late: bool,
}

/// How long a body may take, which begins with the first wait for some of it.
#[derive(Default)]
pub struct Patience {
    began: Option<Instant>,
}

/// The whole body; what comes in several pieces takes of its key's share.
pub async fn read(mut body: Body, headers: &HeaderMap, limits: &RequestLimits, mut share: Share) -> Result<Came, Refusal> {
    let limit = limits.body_mib << 20;
    let announced = announced(headers);
    if announced.is_some_and(|length| length > limit) {
        return Err(too_large(limits));
    }
    let mut patience = Patience::default();
    let came = |bytes: Bytes, patience: &Patience| Came { bytes, was_late: patience.was_needed() };
    let Some(first) = next(&mut body, limits, &mut patience).await? else { return Ok(came(Bytes::new(), &patience)) };
    if first.len() > limit {
        return Err(too_large(limits));
    }
    // A body that came in one piece is taken as it is.
    let Some(second) = next(&mut body, limits, &mut patience).await? else { return Ok(came(first, &patience)) };
    let (mut whole, mut piece) = (BytesMut::new(), Some(second));
    share.grow(first.len() as u64)?;
    whole.reserve(announced.unwrap_or(first.len() * 4));
    whole.extend_from_slice(&first);
    while let Some(more) = piece {
        if whole.len() + more.len() > limit {
            return Err(too_large(limits));
        }
        share.grow(more.len() as u64)?;
        whole.extend_from_slice(&more);
        piece = next(&mut body, limits, &mut patience).await?;
    }
    Ok(came(share.keep(whole.freeze()), &patience))
}

/// How long a body says that it is.
pub fn announced(headers: &HeaderMap) -> Option<usize> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// The next piece: within the longest pause, and before the end of all patience, since a byte now and then is no pause.
pub(super) async fn next(body: &mut Body, limits: &RequestLimits, patience: &mut Patience) -> Result<Option<Bytes>, Refusal> {
    loop {
        // Mostly it is there, and nobody looks at a clock.
        let frame = match body.frame().now_or_never() {
            Some(frame) => frame,
            None => {
                let (pause_ends, end) = (Instant::now() + limits.body_timeout, patience.begin() + limits.body_deadline);
                let Ok(frame) = tokio::time::timeout_at(pause_ends.min(end), body.frame()).await else {
                    return Err(if end < pause_ends { too_slow(limits) } else { stalled(limits) });
                };
                frame
            }
        };
        match frame {
            None => return Ok(None),
            Some(Ok(frame)) => {
                if let Ok(piece) = frame.into_data() {
                    return Ok(Some(piece));
                }
            }
            Some(Err(_)) => return Err(Refusal::invalid("body_broken", "The body broke off before its end: send it again, whole.")),
        }
    }
}

/// A body that is read by others, within the same limits of patience: what does not come in time is an error of the kind `TimedOut`.
pub fn patient(body: Body, limits: RequestLimits) -> Body {
    let pieces = stream::try_unfold((body, Patience::default()), move |(mut body, mut patience)| {
        let limits = limits.clone();
        async move {
            let piece = next(&mut body, &limits, &mut patience).await.map_err(|refusal| {
                let kind = if refusal.status == StatusCode::REQUEST_TIMEOUT { ErrorKind::TimedOut } else { ErrorKind::UnexpectedEof };
                io::Error::new(kind, refusal.message)
            })?;
            Ok::<_, io::Error>(piece.map(|piece| (piece, (body, patience))))
        }
    });
    Body::from_stream(pieces)
}

// === impl Patience ===

impl Patience {
    /// When it began; now, where nobody has waited yet.
    fn begin(&mut self) -> Instant {
        *self.began.get_or_insert_with(Instant::now)
    }

    /// Whether anybody had to wait.
    pub fn was_needed(&self) -> bool {
        self.began.is_some()
    }
}

fn stalled(limits: &RequestLimits) -> Refusal {
    timeout("body_timeout", format!("The body stopped coming for {} s: send it without pauses.", limits.body_timeout.as_secs_f64()))
}

fn too_slow(limits: &RequestLimits) -> Refusal {
    let message = format!(
        "The body did not come whole within {} s: send it faster, or send less (its limit is limits.body_deadline).",
        limits.body_deadline.as_secs_f64()
    );
    timeout("body_too_slow", message)
}

fn timeout(code: &'static str, message: String) -> Refusal {
    Refusal::new(StatusCode::REQUEST_TIMEOUT, Kind::Invalid, code, message)
}

fn too_large(limits: &RequestLimits) -> Refusal {
    Refusal::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        Kind::Invalid,
        "body_too_large",
        format!(
            "The body is larger than the {} MiB that this gateway takes: send less, such as smaller images (its limit is limits.body_mib).",
            limits.body_mib
        ),
    )
}
