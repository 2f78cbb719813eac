//! Errors as `application/problem+json` (RFC 9457), with our stable `code` and each violation by its JSON pointer.

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderValue, Response, header};
use serde_json::{Value, json};

use crate::error::Refusal;
use crate::prompt::Violation;
use crate::surface::openai::OpenAi;
use crate::surface::{ProviderError, Surface, refusal_response};

/// The surface of prompts.
pub struct Prompts;

/// A refusal as a response.
pub fn refuse(refusal: &Refusal, violations: &[Violation]) -> Response<Body> {
    as_problem(refusal_response(refusal, &object(refusal, violations)))
}

/// A refusal as a problem.
pub fn object(refusal: &Refusal, violations: &[Violation]) -> Value {
    let mut problem = json!({
        "type": format!("urn:keyward:{}", refusal.code),
        "title": refusal.status.canonical_reason().unwrap_or("Error"),
        "status": refusal.status.as_u16(),
        "detail": refusal.message,
        "code": refusal.code,
    });
    if let Some(provider) = &refusal.provider {
        problem["provider"] = Value::from(provider.as_str());
    }
    if !violations.is_empty() {
        problem["violations"] = json!(violations);
    }
    problem
}

fn as_problem(mut response: Response<Body>) -> Response<Body> {
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    response
}

// === impl Prompts ===

impl Surface for Prompts {
    fn refuse(&self, refusal: &Refusal) -> Response<Body> {
        refuse(refusal, &[])
    }

    /// Read again by `answer`, which tells the caller.
    fn error_event(&self, refusal: &Refusal) -> Bytes {
        OpenAi.error_event(refusal)
    }

    fn provider_error(&self, error: &ProviderError<'_>) -> Response<Body> {
        let code = error.trouble.code.as_deref().unwrap_or("provider_error");
        as_problem(error.response(&json!({
            "type": "urn:keyward:provider_error",
            "title": error.status.canonical_reason().unwrap_or("Error"),
            "status": error.status.as_u16(),
            "detail": error.message(),
            "code": code,
            "provider": error.provider.id,
        })))
    }
}
