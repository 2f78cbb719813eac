//! Anthropic's surface: `/v1/messages`, with and without `/anthropic` before it, and its error shape.

mod error;
pub mod models;
pub mod operations;

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::routing::post;
use bytes::Bytes;
use http::{HeaderName, Method, Response, StatusCode, Uri};

use super::{ProviderError, Surface};
use crate::catalog::{Dialect, Operation};
use crate::dialect::Called;
use crate::error::{Kind, Refusal};
use crate::exchange::exchange;
use crate::gateway::Gateway;

/// Anthropic's dialect.
pub struct Anthropic;

/// What Anthropic's SDKs send with every request.
pub const VERSION: &str = "anthropic-version";
/// How they are told a request's id.
pub const ID: HeaderName = HeaderName::from_static("request-id");

/// The prefix that tells it from OpenAI's paths, for SDKs whose base URL has one.
const PREFIX: &str = "/anthropic/";

/// The paths that Anthropic's SDKs call when given `http://…` or `http://…/anthropic` as their base URL.
pub fn routes() -> axum::Router<Arc<Gateway>> {
    let serve = || {
        post(|State(gateway): State<Arc<Gateway>>, request| {
            exchange(gateway, &Anthropic, Called::new(Operation::Chat, Dialect::AnthropicMessages), request)
        })
    };
    axum::Router::new().route("/v1/messages", serve()).route("/anthropic/v1/messages", serve()).merge(operations::routes())
}

/// Whether a path that nothing is served at is one of this surface's.
pub fn owns(path: &str) -> bool {
    path.starts_with(PREFIX) || path.starts_with("/v1/messages") || path.starts_with("/v1/v1/messages") || path == "/messages"
}

/// A path of this surface's that nothing is served at.
pub fn unknown_path(uri: &Uri) -> Response<Body> {
    let path = super::shown(uri.path());
    let hint = match path.strip_prefix(PREFIX).unwrap_or(&path).trim_start_matches('/') {
        "messages" | "v1/v1/messages" => " The base URL has to be the gateway's address, without /v1: Anthropic's SDKs add /v1/messages.",
        _ => " Anthropic's path is /v1/messages; /healthz tells whether the gateway is up.",
    };
    let message = format!("Nothing is served at {path}.{hint}");
    error::refuse(&Refusal::new(StatusCode::NOT_FOUND, Kind::NotFound, "path_not_found", message))
}

/// A path of this surface's that is served for another method.
pub fn wrong_method(method: &Method, uri: &Uri) -> Response<Body> {
    let methods = operations::methods(uri.path());
    let right = if methods.is_empty() { "POST".to_owned() } else { methods.join(" or ") };
    let message = format!("{} is not called with {method}: use {right}.", super::shown(uri.path()));
    error::refuse(&Refusal::new(StatusCode::METHOD_NOT_ALLOWED, Kind::Invalid, "method_not_allowed", message))
}

// === impl Anthropic ===

impl Surface for Anthropic {
    fn refuse(&self, refusal: &Refusal) -> Response<Body> {
        error::refuse(refusal)
    }

    fn error_event(&self, refusal: &Refusal) -> Bytes {
        error::error_event(refusal)
    }

    fn provider_error(&self, provider_error: &ProviderError<'_>) -> Response<Body> {
        error::of_provider(provider_error)
    }

    fn request_id_header(&self) -> Option<HeaderName> {
        Some(ID)
    }
}
