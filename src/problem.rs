//! Errors as `application/problem+json` (RFC 9457), with a stable `code` and each bad field by its JSON pointer: those of management, of prompts and of services.

use std::borrow::Cow;
use std::time::Duration;

use axum::body::Body;
use axum::response::IntoResponse;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use serde::Serialize;
use utoipa::ToSchema;

use crate::error::Refusal;
use crate::key::diagnose::without_keys;
use crate::key::keyring::Rejected;
use crate::surface::{write_challenge, write_provider, write_retry_after};

/// A request that did nothing.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Problem {
    /// `urn:keyward:` and what sort of problem it is.
    #[serde(rename = "type")]
    kind: String,
    /// The status in words.
    title: &'static str,
    /// The HTTP status.
    status: u16,
    /// What is wrong and what to do.
    detail: String,
    /// A stable name for programs; of a provider's error the provider's own.
    code: Cow<'static, str>,
    /// The provider that is to blame.
    #[serde(skip_serializing_if = "Option::is_none")]
    provider: Option<String>,
    /// The fields to blame.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FieldError>,
    /// When trying again makes sense: in the head, as `retry-after`.
    #[serde(skip)]
    retry_after: Option<Duration>,
    /// More of the head.
    #[serde(skip)]
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// The code of a problem, in the extensions of the answer that tells it.
#[derive(Clone, Debug)]
pub struct Code(pub Cow<'static, str>);

/// A field that cannot be as it was sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct FieldError {
    /// Where it stands in the body: a JSON pointer (RFC 6901), empty for the whole.
    pub pointer: String,
    /// What is wrong with it.
    pub detail: String,
}

// === impl Problem ===

impl Problem {
    /// A problem with no fields to blame.
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Problem {
        Problem {
            kind: format!("urn:keyward:{code}"),
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            detail: without_keys(detail.into()),
            code: Cow::Borrowed(code),
            provider: None,
            errors: Vec::new(),
            retry_after: None,
            headers: Vec::new(),
        }
    }

    /// A body that cannot be taken: 422, with each field to blame.
    pub fn fields(errors: Vec<FieldError>) -> Problem {
        let sentences: Vec<String> = errors.iter().map(|error| format!("{}: {}", error.pointer, error.detail)).collect();
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_fields", sentences.join("; ")).blaming(errors)
    }

    /// A query that cannot be taken: 400.
    pub fn query(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, "invalid_query", detail)
    }

    /// A refusal as a problem.
    pub fn of(refusal: &Refusal) -> Problem {
        Problem {
            provider: refusal.provider.clone(),
            retry_after: refusal.retry_after,
            headers: refusal.headers.clone(),
            ..Problem::new(refusal.status, refusal.code, refusal.message.as_str())
        }
    }

    /// What a provider said, by the provider's own code where it gave one.
    pub fn of_provider(status: StatusCode, code: Option<&str>, detail: String, provider: &str, retry_after: Option<Duration>) -> Problem {
        let problem = Problem::new(status, "provider_error", detail);
        let code = code.map_or(problem.code.clone(), |code| Cow::Owned(code.to_owned()));
        Problem { code, provider: Some(provider.to_owned()), retry_after, ..problem }
    }

    /// Its sentence.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// The same, to be tried again after so long.
    pub fn with_retry_after(self, wait: Duration) -> Problem {
        Problem { retry_after: Some(wait), ..self }
    }

    /// The same, with fields to blame.
    pub fn blaming(self, errors: Vec<FieldError>) -> Problem {
        let told = |error: FieldError| FieldError { pointer: without_keys(error.pointer), detail: without_keys(error.detail) };
        Problem { errors: errors.into_iter().map(told).collect(), ..self }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response<Body> {
        // It is made of texts and numbers: that cannot fail.
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        write_challenge(&mut response);
        write_provider(&mut response, self.provider.as_deref());
        response.extensions_mut().insert(Code(self.code));
        for (name, value) in self.headers {
            response.headers_mut().insert(name, value);
        }
        write_retry_after(&mut response, self.retry_after);
        response
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Problem {
        Problem::of(&refusal)
    }
}

impl From<Rejected> for Problem {
    fn from(rejected: Rejected) -> Problem {
        Refusal::from(rejected).into()
    }
}
