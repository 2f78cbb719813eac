//! Cohere's surface: the paths that `ClientV2` calls under the base URL, and Cohere's error shape.

mod error;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::routing::post;
use bytes::Bytes;
use http::{Method, Response, StatusCode, Uri};

use super::{ProviderError, Surface};
use crate::catalog::{Dialect, Operation};
use crate::dialect::Called;
use crate::error::{Kind, Refusal};
use crate::exchange::exchange;
use crate::gateway::Gateway;

/// Cohere's dialect.
pub struct Cohere;

type AppState = State<Arc<Gateway>>;

/// The paths that Cohere's SDKs call when given `http://…` as their base URL.
pub fn routes() -> axum::Router<Arc<Gateway>> {
    let serve = |operation| {
        post(move |State(gateway): AppState, request| exchange(gateway, &Cohere, Called::new(operation, Dialect::CohereV2), request))
    };
    axum::Router::new()
        .route("/v2/chat", serve(Operation::Chat))
        .route("/v2/embed", serve(Operation::Embeddings))
        .route("/v2/rerank", serve(Operation::Rerank))
}

/// Whether a path is one of Cohere's, served or not.
pub fn owns(path: &str) -> bool {
    path.starts_with("/v2/")
}

/// A path that nothing is served at.
pub fn unknown_path(uri: &Uri) -> Response<Body> {
    let path = super::shown(uri.path());
    let message = format!("Nothing is served at {path}. Of Cohere's paths there are POST /v2/chat, /v2/embed and /v2/rerank.");
    error::refuse(&Refusal::new(StatusCode::NOT_FOUND, Kind::NotFound, "path_not_found", message))
}

/// A path that is served for another method.
pub fn wrong_method(method: &Method, uri: &Uri) -> Response<Body> {
    let message = format!("{} is not called with {method}: use POST.", uri.path());
    error::refuse(&Refusal::new(StatusCode::METHOD_NOT_ALLOWED, Kind::Invalid, "method_not_allowed", message))
}

// === impl Cohere ===

impl Surface for Cohere {
    fn refuse(&self, refusal: &Refusal) -> Response<Body> {
        error::refuse(refusal)
    }

    fn error_event(&self, refusal: &Refusal) -> Bytes {
        error::error_event(refusal)
    }

    fn provider_error(&self, provider_error: &ProviderError<'_>) -> Response<Body> {
        error::of_provider(provider_error)
    }
}
