//! `GET /v1/realtime?model=…`: OpenAI's Realtime API over a WebSocket.

use axum::body::Body;
use axum::extract::State;
use axum::routing::get;
use http::{Method, Request, Response, StatusCode};

use super::{AppState, OpenAi, refuse};
use crate::error::{Kind, Refusal};
use crate::gateway::Gateway;
use crate::realtime;

/// The path that OpenAI's SDKs connect to.
pub fn routes() -> axum::Router<std::sync::Arc<Gateway>> {
    let open = async |State(gateway): AppState, request: Request<Body>| realtime::open(gateway, &OpenAi, request).await;
    axum::Router::new().route("/v1/realtime", get(open).fallback(wrong_method))
}

async fn wrong_method(method: Method) -> Response<Body> {
    let message = format!("/v1/realtime is not called with {method}: connect to it by a WebSocket, which begins with GET.");
    refuse(&Refusal::new(StatusCode::METHOD_NOT_ALLOWED, Kind::Invalid, "method_not_allowed", message))
}
