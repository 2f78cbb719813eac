//! Entity tags (RFC 9110, section 8.8.3): an answer carries the tag of what it shows, a change with `If-Match` is made to that alone,
//! and a file is written with `If-None-Match: *` where there is none alone.

use std::convert::Infallible;

use axum::body::Body;
use axum::extract::FromRequestParts;
use axum::response::IntoResponse;
use http::request::Parts;
use http::{HeaderValue, Response, StatusCode, header};
use serde::Serialize;

use super::Problem;
use crate::admin::meant::{Meant, tag_of};

/// What a change is meant for.
pub struct IfMatch {
    /// The tags that it names (`If-Match`).
    pub meant: Meant,
    /// It is meant for what is not there yet (`If-None-Match: *`).
    is_for_new: bool,
}

// === impl IfMatch ===

impl IfMatch {
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
}

impl<S: Send + Sync> FromRequestParts<S> for IfMatch {
    type Rejection = Infallible;

    async fn from_request_parts(head: &mut Parts, _: &S) -> Result<IfMatch, Infallible> {
        let mut wanted = head.headers.get_all(header::IF_MATCH).iter().peekable();
        // What is no text names no tag of ours, and so matches nothing.
        let text = |value: &HeaderValue| value.to_str().unwrap_or_default().to_owned();
        let tags = wanted.peek().is_some().then(|| wanted.map(text).collect::<Vec<_>>().join(","));
        let is_for_new = head.headers.get(header::IF_NONE_MATCH).is_some_and(|value| value.as_bytes().trim_ascii() == b"*");
        Ok(IfMatch { meant: tags.map_or(Meant::ANY, Meant::for_tags), is_for_new })
    }
}

/// An answer that shows something, with its tag.
pub fn tagged<T: Serialize>(shown: &T) -> Response<Body> {
    with_tag(shown, shown)
}

/// An answer with the tag of the part of it that can be changed.
pub fn with_tag<T: Serialize>(tagged: &T, answer: &impl Serialize) -> Response<Body> {
    ([(header::ETAG, tag_of(tagged))], axum::Json(answer)).into_response()
}
