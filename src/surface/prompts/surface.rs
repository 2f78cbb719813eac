//! The surface of prompts: its errors are problems.

use axum::body::Body;
use axum::response::IntoResponse;
use bytes::Bytes;
use http::Response;

use crate::error::Refusal;
use crate::problem::{FieldError, Problem};
use crate::prompt::Violation;
use crate::quota::Asker;
use crate::surface::openai::OpenAi;
use crate::surface::{ProviderError, Surface};

/// The surface of prompts.
pub struct Prompts;

/// A refusal as a response.
pub fn refuse(refusal: &Refusal, violations: &[Violation]) -> Response<Body> {
    problem(refusal, violations).into_response()
}

/// A refusal as a problem, which blames what violates a schema.
pub fn problem(refusal: &Refusal, violations: &[Violation]) -> Problem {
    let blamed = |violation: &Violation| FieldError { pointer: violation.path.clone(), detail: violation.message.clone() };
    Problem::of(refusal).blaming(violations.iter().map(blamed).collect())
}

// === impl Prompts ===

impl Surface for Prompts {
    fn refuse(&self, refusal: &Refusal) -> Response<Body> {
        refuse(refusal, &[])
    }

    fn asker(&self) -> Asker {
        Asker::Author
    }

    /// Read again by `answer`, which tells the caller.
    fn error_event(&self, refusal: &Refusal) -> Bytes {
        OpenAi.error_event(refusal)
    }

    fn provider_error(&self, error: &ProviderError<'_>) -> Response<Body> {
        let (code, provider) = (error.trouble.code.as_deref(), &error.provider.id);
        Problem::of_provider(error.status, code, error.message(), provider, error.retry_after).into_response()
    }
}
