//! OpenAI's surface: its paths under `/v1`, served by the corridor, and its error shape.

mod error;
pub mod models;
mod operations;
mod realtime;

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::routing::{get, post};
use bytes::Bytes;
use http::{Method, Response, StatusCode, Uri};

pub use error::{object, refuse};

use super::{ProviderError, Surface};
use crate::catalog::{Dialect, Operation};
use crate::dialect::Called;
use crate::error::{Kind, Refusal};
use crate::exchange::exchange;
use crate::gateway::Gateway;

/// OpenAI's dialects.
pub struct OpenAi;

type AppState = State<Arc<Gateway>>;

/// The paths that OpenAI's SDKs call when given `http://…/v1` as their base URL.
pub fn routes() -> axum::Router<Arc<Gateway>> {
    let serve = |operation, dialect| {
        post(move |State(gateway): AppState, request| exchange(gateway, &OpenAi, Called::new(operation, dialect), request))
    };
    axum::Router::new()
        .route("/v1/chat/completions", serve(Operation::Chat, Dialect::OpenaiChat))
        .route("/v1/responses", serve(Operation::Chat, Dialect::OpenaiResponses))
        .route("/v1/completions", serve(Operation::Completions, Dialect::OpenaiChat))
        .route("/v1/embeddings", serve(Operation::Embeddings, Dialect::OpenaiChat))
        .route("/v1/rerank", serve(Operation::Rerank, Dialect::OpenaiChat))
        .merge(operations::routes())
        .merge(realtime::routes())
}

/// The paths beside the corridor, that call no provider.
pub fn models_routes() -> axum::Router<Arc<Gateway>> {
    axum::Router::new().route("/v1/models", get(models::list)).route("/v1/models/{*id}", get(models::show))
}

/// A path that nothing is served at.
pub fn unknown_path(uri: &Uri) -> Response<Body> {
    let path = super::shown(uri.path());
    let hint = match path.strip_prefix("/v1/v1/") {
        Some(rest) => format!(" The base URL already ends with /v1: call /v1/{rest}."),
        None if matches!(path.as_str(), "/chat/completions" | "/completions" | "/embeddings" | "/responses" | "/models") => {
            format!(" The base URL has to end with /v1: call /v1{path}.")
        }
        None => " OpenAI's paths are under /v1, such as /v1/chat/completions; /healthz tells whether the gateway is up.".to_owned(),
    };
    refuse(&Refusal::new(StatusCode::NOT_FOUND, Kind::NotFound, "path_not_found", format!("Nothing is served at {path}.{hint}")))
}

/// A path that is served for another method.
pub fn wrong_method(method: &Method, uri: &Uri) -> Response<Body> {
    let methods = operations::methods(uri.path());
    let right = match uri.path() {
        _ if !methods.is_empty() => methods.join(" or "),
        path if path.starts_with("/v1/models") || !path.starts_with("/v1/") => "GET".to_owned(),
        _ => "POST".to_owned(),
    };
    let message = format!("{} is not called with {method}: use {right}.", super::shown(uri.path()));
    refuse(&Refusal::new(StatusCode::METHOD_NOT_ALLOWED, Kind::Invalid, "method_not_allowed", message))
}

// === impl OpenAi ===

impl Surface for OpenAi {
    fn refuse(&self, refusal: &Refusal) -> Response<Body> {
        refuse(refusal)
    }

    fn error_event(&self, refusal: &Refusal) -> Bytes {
        error::error_event(refusal)
    }

    fn provider_error(&self, provider_error: &ProviderError<'_>) -> Response<Body> {
        error::of_provider(provider_error)
    }
}
