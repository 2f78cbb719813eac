//! Room 1: what callers speak: paths, bodies, and errors in each dialect's own shape.

pub mod body;
pub mod openai;
pub mod ops;
pub mod unread;

use std::sync::Arc;

use axum::body::Body;
use axum::extract::Request;
use axum::handler::Handler;
use axum::middleware::{self, Next};
use http::request::Parts;
use http::{HeaderName, Response, header};

use crate::error::Refusal;
use crate::gateway::Gateway;
use crate::route::LiveProvider;
use crate::ticket;
use crate::upstream::Failure;

/// The request's name, the caller's or ours: in every answer.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// A protocol offered to callers.
pub trait Surface: Send + Sync {
    /// Whether a request's head can be served at all: its content type and encoding.
    fn check_head(&self, head: &Parts) -> Result<(), Refusal>;
    /// A refusal in the dialect's shape.
    fn refuse(&self, refusal: &Refusal) -> Response<Body>;
    /// A provider's error in the dialect's shape, marked with its name; a failure where it is about our credential.
    fn provider_error(&self, head: &http::response::Parts, body: &[u8], provider: &LiveProvider) -> Result<Response<Body>, Failure>;
}

/// All paths of the gateway.
pub fn router(gateway: Arc<Gateway>) -> axum::Router {
    // The corridor names its requests itself, in the ledger and the log too.
    let beside = openai::models_routes().merge(ops::routes()).merge(crate::admin::routes());
    axum::Router::new()
        .merge(openai::routes())
        .merge(beside.layer(middleware::from_fn(named)))
        .fallback(openai::unknown_path.layer(middleware::from_fn(named)))
        .method_not_allowed_fallback(openai::wrong_method.layer(middleware::from_fn(named)))
        .with_state(gateway)
}

/// Names an answer by its request.
async fn named(request: Request, next: Next) -> Response<Body> {
    let id = ticket::request_id(request.headers(), &ticket::next_id());
    let mut response = next.run(request).await;
    response.headers_mut().insert(REQUEST_ID, id);
    response
}

/// Writes `retry-after` in whole seconds, rounded up, and a refusal's own headers.
pub fn write_refusal_headers(response: &mut Response<Body>, refusal: &Refusal) {
    for (name, value) in &refusal.headers {
        response.headers_mut().insert(name.clone(), value.clone());
    }
    if let Some(wait) = refusal.retry_after {
        let seconds = wait.as_secs_f64().ceil().max(1.0) as u64;
        response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
}
