//! Entity tags (RFC 9110, section 8.8.3): an answer carries the tag of what it shows, and a change with `If-Match` is made to that alone.

use std::convert::Infallible;

use axum::body::Body;
use axum::extract::FromRequestParts;
use axum::response::IntoResponse;
use http::request::Parts;
use http::{HeaderValue, Response, StatusCode, header};
use ring::digest::{SHA256, digest};
use serde::Serialize;

use super::Problem;
use crate::hex::hex;

/// The tags that a change is meant for; none where it is meant for whatever is there.
pub struct IfMatch(Option<String>);

// === impl IfMatch ===

impl IfMatch {
    /// Whether a change is meant for whatever is there.
    pub fn is_any(&self) -> bool {
        self.0.is_none()
    }

    /// Whether what is there is what the caller has read.
    pub fn check<T: Serialize>(&self, there: &T) -> Result<(), Problem> {
        let Some(wanted) = &self.0 else { return Ok(()) };
        let tag = of(there);
        if wanted.split(',').map(str::trim).any(|wanted| wanted == "*" || wanted.as_bytes() == tag.as_bytes()) {
            return Ok(());
        }
        let detail = "It was changed since you read it: read it again, and change that.";
        Err(Problem::new(StatusCode::PRECONDITION_FAILED, "changed_meanwhile", detail))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for IfMatch {
    type Rejection = Infallible;

    async fn from_request_parts(head: &mut Parts, _: &S) -> Result<IfMatch, Infallible> {
        let mut wanted = head.headers.get_all(header::IF_MATCH).iter().peekable();
        // What is no text names no tag of ours, and so matches nothing.
        let text = |value: &HeaderValue| value.to_str().unwrap_or_default().to_owned();
        Ok(IfMatch(wanted.peek().is_some().then(|| wanted.map(text).collect::<Vec<_>>().join(","))))
    }
}

/// An answer that shows something, with its tag.
pub fn tagged<T: Serialize>(shown: &T) -> Response<Body> {
    with_tag(shown, shown)
}

/// An answer with the tag of the part of it that can be changed.
pub fn with_tag<T: Serialize>(tagged: &T, answer: &impl Serialize) -> Response<Body> {
    ([(header::ETAG, of(tagged))], axum::Json(answer)).into_response()
}

/// The same for the same content.
fn of<T: Serialize>(shown: &T) -> HeaderValue {
    // It is made of texts and numbers: that cannot fail.
    let digest = digest(&SHA256, &serde_json::to_vec(shown).unwrap_or_default());
    let digits = hex(&digest.as_ref()[..12]);
    HeaderValue::try_from(format!("\"{digits}\"")).unwrap_or_else(|_| HeaderValue::from_static("\"\""))
}
