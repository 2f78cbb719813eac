//! `POST /v1/messages/count_tokens`: passed on to a provider of the same dialect, and free.

use std::sync::Arc;

use axum::extract::State;
use axum::routing::post;
use http::Method;

use super::Anthropic;
use crate::catalog::{Dialect, Operation};
use crate::exchange::errand::{Deed, Served, Takes, serve};
use crate::gateway::Gateway;

const PATH: &str = "/v1/messages/count_tokens";

static COUNT_TOKENS: Served = Served {
    method: Method::POST,
    path: PATH,
    operation: Operation::CountTokens,
    dialect: Dialect::AnthropicMessages,
    takes: Takes::Json,
    deed: Deed::Call,
};

/// The path, with and without `/anthropic` before it.
pub fn routes() -> axum::Router<Arc<Gateway>> {
    let count = || post(|State(gateway): State<Arc<Gateway>>, request| serve(gateway, &Anthropic, &COUNT_TOKENS, None, request));
    axum::Router::new().route(PATH, count()).route(&format!("/anthropic{PATH}"), count())
}
