//! Ollama's surface: the paths that its clients call under the host, and its error shape.

mod error;
mod models;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::middleware;
use axum::routing::{get, post};
use bytes::Bytes;
use http::request::Parts;
use http::{Method, Response, StatusCode, Uri, header};
use serde_json::{Value, json};

use super::{ProviderError, Surface, head};
use crate::catalog::{Dialect, Operation};
use crate::dialect::Called;
use crate::error::{Kind, Refusal};
use crate::exchange::exchange;
use crate::gateway::Gateway;

/// Ollama's dialect.
pub struct Ollama;

type AppState = State<Arc<Gateway>>;

/// The paths that Ollama's clients call when given `http://…` as their host.
pub fn routes() -> axum::Router<Arc<Gateway>> {
    let serve = |operation: Operation| {
        post(move |State(gateway): AppState, request| {
            // Streams are Ollama's default, but not of vectors.
            let stream = operation.has_no_output().then_some(false);
            exchange(gateway, &Ollama, Called { stream, ..Called::new(operation, Dialect::Ollama) }, request)
        })
    };
    // The corridor names its requests itself.
    let beside = axum::Router::new()
        .route("/api/tags", get(models::tags))
        .route("/api/show", post(models::show))
        .route("/api/version", get(version))
        .layer(middleware::from_fn(super::named));
    axum::Router::new()
        .route("/api/chat", serve(Operation::Chat))
        .route("/api/generate", serve(Operation::Completions))
        .route("/api/embed", serve(Operation::Embeddings))
        .route("/api/embeddings", serve(Operation::EmbedOne))
        .merge(beside)
}

/// Whether a path is one of Ollama's, served or not.
pub fn owns(path: &str) -> bool {
    path.starts_with("/api/")
}

/// A path that nothing is served at.
pub fn unknown_path(uri: &Uri) -> Response<Body> {
    let path = super::shown(uri.path());
    let message = format!(
        "Nothing is served at {path}. Of Ollama's paths there are /api/chat, /api/generate, /api/embed, /api/embeddings, /api/tags, /api/show and /api/version: models are neither pulled nor made here."
    );
    error::refuse(&Refusal::new(StatusCode::NOT_FOUND, Kind::NotFound, "path_not_found", message))
}

/// A path that is served for another method.
pub fn wrong_method(method: &Method, uri: &Uri) -> Response<Body> {
    let right = if matches!(uri.path(), "/api/tags" | "/api/version") { "GET" } else { "POST" };
    let message = format!("{} is not called with {method}: use {right}.", super::shown(uri.path()));
    error::refuse(&Refusal::new(StatusCode::METHOD_NOT_ALLOWED, Kind::Invalid, "method_not_allowed", message))
}

/// The gateway's version: there is no Ollama behind this path.
async fn version() -> Json<Value> {
    Json(json!({ "version": env!("CARGO_PKG_VERSION") }))
}

// === impl Ollama ===

impl Surface for Ollama {
    /// As `curl -d` sends it: its documentation calls it so, and it is JSON all the same.
    fn check_head(&self, parts: &Parts) -> Result<(), Refusal> {
        let is_form = parts.headers.get(header::CONTENT_TYPE).is_some_and(|value| value == "application/x-www-form-urlencoded");
        match is_form && !parts.headers.contains_key(header::CONTENT_ENCODING) {
            true => Ok(()),
            false => head::is_json(parts),
        }
    }

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
