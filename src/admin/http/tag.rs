//! Entity tags (RFC 9110, section 8.8.3): an answer carries the tag of what it shows, a change with `If-Match` is made to that alone,
//! and a file is written with `If-None-Match: *` where there is none alone.

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
pub struct IfMatch {
    wanted: Option<String>,
    /// It is meant for what is not there yet (`If-None-Match: *`).
    is_for_new: bool,
}

// === impl IfMatch ===

impl IfMatch {
    /// Whether a change is meant for whatever is there.
    pub fn is_any(&self) -> bool {
        self.wanted.is_none()
    }

    /// Whether a change may be made to what is there already, or is not.
    pub fn check_new(&self, is_new: bool) -> Result<(), Problem> {
        match self.is_for_new && !is_new {
            true => Err(Problem::new(
                StatusCode::PRECONDITION_FAILED,
                "exists_already",
                "It is there already: change it without If-None-Match.",
            )),
            false => Ok(()),
        }
    }

    /// Whether what is there is what the caller has read.
    pub fn check<T: Serialize>(&self, there: &T) -> Result<(), Problem> {
        let Some(wanted) = &self.wanted else { return Ok(()) };
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
        let wanted = wanted.peek().is_some().then(|| wanted.map(text).collect::<Vec<_>>().join(","));
        let is_for_new = head.headers.get(header::IF_NONE_MATCH).is_some_and(|value| value.as_bytes().trim_ascii() == b"*");
        Ok(IfMatch { wanted, is_for_new })
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
