//! OpenAI's surface: its paths under `/v1`, served by the corridor, and its error shape.

mod error;
mod models;

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::routing::{get, post};
use http::request::Parts;
use http::{Method, Response, StatusCode, Uri, header};

pub use error::{error_event, refuse};

use super::Surface;
use crate::catalog::Operation;
use crate::error::{Kind, Refusal};
use crate::exchange::exchange;
use crate::gateway::Gateway;
use crate::route::LiveProvider;
use crate::upstream::Failure;

/// OpenAI's dialects.
pub struct OpenAi;

type AppState = State<Arc<Gateway>>;

/// The paths that OpenAI's SDKs call when given `http://…/v1` as their base URL.
pub fn routes() -> axum::Router<Arc<Gateway>> {
    axum::Router::new()
        .route("/v1/chat/completions", post(|State(gateway): AppState, request| exchange(gateway, &OpenAi, Operation::Chat, request)))
        .route("/v1/completions", post(|State(gateway): AppState, request| exchange(gateway, &OpenAi, Operation::Completions, request)))
        .route("/v1/embeddings", post(|State(gateway): AppState, request| exchange(gateway, &OpenAi, Operation::Embeddings, request)))
        .route("/v1/responses", post(|State(gateway): AppState, request| exchange(gateway, &OpenAi, Operation::Responses, request)))
}

/// The paths beside the corridor, that call no provider.
pub fn models_routes() -> axum::Router<Arc<Gateway>> {
    axum::Router::new().route("/v1/models", get(models::list)).route("/v1/models/{*id}", get(models::show))
}

/// A path that nothing is served at.
pub async fn unknown_path(uri: Uri) -> Response<Body> {
    let path: String = uri.path().chars().take(200).collect();
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
pub async fn wrong_method(method: Method, uri: Uri) -> Response<Body> {
    let right = if uri.path().starts_with("/v1/models") || !uri.path().starts_with("/v1/") { "GET" } else { "POST" };
    let message = format!("{} is not called with {method}: use {right}.", uri.path().chars().take(200).collect::<String>());
    refuse(&Refusal::new(StatusCode::METHOD_NOT_ALLOWED, Kind::Invalid, "method_not_allowed", message))
}

// === impl OpenAi ===

impl Surface for OpenAi {
    fn check_head(&self, head: &Parts) -> Result<(), Refusal> {
        let unsupported = |code, message: String| Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, Kind::Invalid, code, message);
        if let Some(encoding) = head.headers.get(header::CONTENT_ENCODING).filter(|value| *value != "identity") {
            let encoding = encoding.to_str().unwrap_or("another").chars().take(40).collect::<String>();
            return Err(unsupported(
                "content_encoding",
                format!("The body is encoded as '{encoding}': send it as it is, without content-encoding."),
            ));
        }
        let Some(content_type) = head.headers.get(header::CONTENT_TYPE) else { return Ok(()) };
        let text = content_type.to_str().unwrap_or_default();
        let essence = text.split(';').next().unwrap_or_default().trim();
        if essence.eq_ignore_ascii_case("application/json") || essence.to_ascii_lowercase().ends_with("+json") {
            return Ok(());
        }
        let shown: String = essence.chars().take(60).collect();
        Err(unsupported(
            "content_type",
            format!("The content type is '{shown}': send JSON with the header 'Content-Type: application/json'."),
        ))
    }

    fn refuse(&self, refusal: &Refusal) -> Response<Body> {
        refuse(refusal)
    }

    fn provider_error(&self, head: &http::response::Parts, body: &[u8], provider: &LiveProvider) -> Result<Response<Body>, Failure> {
        error::of_provider(head, body, provider)
    }
}
