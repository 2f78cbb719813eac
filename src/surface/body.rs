//! Reads a request's body within its limits of size and patience.

use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode, header};
use http_body_util::BodyExt;

use crate::config::RequestLimits;
use crate::error::{Kind, Refusal};

/// The whole body, in one piece.
pub async fn read(mut body: Body, headers: &HeaderMap, limits: &RequestLimits) -> Result<Bytes, Refusal> {
    let limit = limits.body_mib << 20;
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > limit) {
        return Err(too_large(limits));
    }
    let Some(first) = next(&mut body, limits.body_timeout).await? else { return Ok(Bytes::new()) };
    // A body that came in one piece is taken as it is.
    let Some(second) = next(&mut body, limits.body_timeout).await? else { return Ok(first) };
    let mut whole = BytesMut::with_capacity(announced.unwrap_or(first.len() * 4));
    whole.extend_from_slice(&first);
    whole.extend_from_slice(&second);
    while let Some(piece) = next(&mut body, limits.body_timeout).await? {
        if whole.len() + piece.len() > limit {
            return Err(too_large(limits));
        }
        whole.extend_from_slice(&piece);
    }
    Ok(whole.freeze())
}

async fn next(body: &mut Body, patience: Duration) -> Result<Option<Bytes>, Refusal> {
    loop {
        let Ok(frame) = tokio::time::timeout(patience, body.frame()).await else {
            return Err(Refusal::new(
                StatusCode::REQUEST_TIMEOUT,
                Kind::Invalid,
                "body_timeout",
                format!("The body stopped coming for {} s: send it without pauses.", patience.as_secs_f64()),
            ));
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
