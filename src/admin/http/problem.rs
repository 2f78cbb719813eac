//! Errors of the management API: `application/problem+json` (RFC 9457), with a stable `code`, and each bad field by its JSON pointer.

use std::time::Duration;

use axum::body::Body;
use axum::response::IntoResponse;
use http::{HeaderValue, Response, StatusCode, header};
use serde::Serialize;
use utoipa::ToSchema;

use crate::admin::change::Wrong;
use crate::admin::groups::GroupError;
use crate::admin::keys::KeyError;
use crate::error::Refusal;
use crate::key::keyring::Rejected;
use crate::store::StoreError;
use crate::surface::write_retry_after;

/// A request to the management API that did nothing.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Problem {
    /// `about:blank`: what it is, the status and the code say.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The status in words.
    title: &'static str,
    /// The HTTP status.
    status: u16,
    /// What is wrong and what to do.
    detail: String,
    /// A stable name for programs.
    code: &'static str,
    /// The fields to blame.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FieldError>,
    /// When trying again makes sense: in the head, as `retry-after`.
    #[serde(skip)]
    retry_after: Option<Duration>,
}

/// A field that cannot be as it was sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct FieldError {
    /// Where it stands in the body: a JSON pointer (RFC 6901).
    pub pointer: String,
    /// What is wrong with it.
    pub detail: String,
}

// === impl Problem ===

impl Problem {
    /// A problem with no fields to blame.
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Problem {
        let title = status.canonical_reason().unwrap_or("Error");
        Problem { kind: "about:blank", title, status: status.as_u16(), detail: detail.into(), code, errors: Vec::new(), retry_after: None }
    }

    /// A body that cannot be taken: 422, with each field to blame.
    pub fn fields(errors: Vec<FieldError>) -> Problem {
        let sentences: Vec<String> = errors.iter().map(|error| format!("{}: {}", error.pointer, error.detail)).collect();
        let problem = Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_fields", sentences.join("; "));
        Problem { errors, ..problem }
    }

    /// A query that cannot be taken: 400.
    pub fn query(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, "invalid_query", detail)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response<Body> {
        // It is made of texts and numbers: that cannot fail.
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        write_retry_after(&mut response, self.retry_after);
        response
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Problem {
        let problem = Problem::new(refusal.status, refusal.code, refusal.message);
        Problem { retry_after: refusal.retry_after, ..problem }
    }
}

impl From<Rejected> for Problem {
    fn from(rejected: Rejected) -> Problem {
        Refusal::from(rejected).into()
    }
}

impl From<StoreError> for Problem {
    fn from(e: StoreError) -> Problem {
        tracing::error!(error = %e, "the store did not do what the management API asked for");
        let detail = "The store cannot be asked right now: look whether it was done, and try again in a moment.";
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "store_unavailable", detail)
    }
}

impl From<Wrong> for Problem {
    fn from(wrong: Wrong) -> Problem {
        Problem::fields(vec![FieldError { pointer: format!("/{}", wrong.field), detail: wrong.message }])
    }
}

impl From<KeyError> for Problem {
    fn from(e: KeyError) -> Problem {
        let detail = e.to_string();
        match e {
            KeyError::NotFound(_) => Problem::new(StatusCode::NOT_FOUND, "key_not_found", detail),
            KeyError::Revoked(_) => Problem::new(StatusCode::CONFLICT, "key_revoked", detail),
            KeyError::Wrong(wrong) => wrong.into(),
            KeyError::Store(e) => e.into(),
            KeyError::NoRandomness => Problem::new(StatusCode::SERVICE_UNAVAILABLE, "no_randomness", detail),
        }
    }
}

impl From<GroupError> for Problem {
    fn from(e: GroupError) -> Problem {
        let detail = e.to_string();
        match e {
            GroupError::NotFound(_) => Problem::new(StatusCode::NOT_FOUND, "not_found", detail),
            GroupError::Exists(_) => Problem::new(StatusCode::CONFLICT, "exists", detail),
            GroupError::Wrong(wrong) => wrong.into(),
            GroupError::Store(e) => e.into(),
        }
    }
}
