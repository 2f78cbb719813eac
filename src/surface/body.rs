//! Reads a request's body within its limits of size and patience.

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode, header};
use http_body_util::BodyExt;
use tokio::time::Instant;

use crate::config::RequestLimits;
use crate::error::{Kind, Refusal};

/// The whole body, in one piece.
pub async fn read(mut body: Body, headers: &HeaderMap, limits: &RequestLimits) -> Result<Bytes, Refusal> {
    let limit = limits.body_mib << 20;
    let announced = announced(headers);
    if announced.is_some_and(|length| length > limit) {
        return Err(too_large(limits));
    }
    let end = Instant::now() + limits.body_deadline;
    let Some(first) = next(&mut body, limits, end).await? else { return Ok(Bytes::new()) };
    if first.len() > limit {
        return Err(too_large(limits));
    }
    // A body that came in one piece is taken as it is.
    let Some(second) = next(&mut body, limits, end).await? else { return Ok(first) };
    if first.len() + second.len() > limit {
        return Err(too_large(limits));
    }
    let mut whole = BytesMut::with_capacity(announced.unwrap_or(first.len() * 4));
    whole.extend_from_slice(&first);
    whole.extend_from_slice(&second);
    while let Some(piece) = next(&mut body, limits, end).await? {
        if whole.len() + piece.len() > limit {
            return Err(too_large(limits));
        }
        whole.extend_from_slice(&piece);
    }
    Ok(whole.freeze())
}

/// How long a body says that it is.
pub fn announced(headers: &HeaderMap) -> Option<usize> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// The next piece: within the longest pause, and before the `end` of all patience, since a byte now and then is no pause.
pub(super) async fn next(body: &mut Body, limits: &RequestLimits, end: Instant) -> Result<Option<Bytes>, Refusal> {
    loop {
        let pause_ends = Instant::now() + limits.body_timeout;
        let Ok(frame) = tokio::time::timeout_at(pause_ends.min(end), body.frame()).await else {
            return Err(if end < pause_ends { too_slow(limits) } else { stalled(limits) });
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
