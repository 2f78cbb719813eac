//! For those who run the gateway: `/healthz` (is it up), `/readyz` (can it do its work), `/metrics` (Prometheus).

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::response::IntoResponse;
use axum::routing::get;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use serde_json::{Value, json};

use crate::gateway::Gateway;
use crate::key::Unreadable;
use crate::mcp::federation::Server;
use crate::store::StoreError;
use crate::telemetry::Format;

/// That a credential which somebody disabled or removed may still be in use.
const CREDENTIALS_BEHIND: &str = "a stored credential was changed and the store cannot be read: what was known before is used until it can";

/// What `/readyz` says of the store.
const SILENT: &str = "the key store does not answer";
const DAMAGED: &str = "the store's file is damaged, and keys that cannot be read are refused: 'keyward doctor' tells what to do";
const LOCKED: &str = "the store is locked by another program, such as a backup or a shell that has a transaction open on it: keys that are not in memory are refused until that ends";
const BEHIND: &str =
    "the store has not taken in the newest requests: keys that are not in memory, and whose limits count them, are refused until it has";
const UNREAD: &str = "a key cannot be read from the store, and is refused until it can: the log tells why";

/// The paths; none needs a key, and none tells a secret.
pub fn routes() -> axum::Router<Arc<Gateway>> {
    axum::Router::new().route("/healthz", get(healthz)).route("/readyz", get(readyz)).route("/metrics", get(metrics))
}

async fn healthz() -> Json<Value> {
    Json(json!({ "status": "ok", "version": env!("CARGO_PKG_VERSION") }))
}

/// 200 while requests can be served; troubles that do not stop that are told too.
async fn readyz(State(gateway): State<Arc<Gateway>>) -> Response<Body> {
    let store = store(&gateway).await;
    let ledger = gateway.ledger.trouble();
    let behind = gateway.switchboard.is_behind().then_some(CREDENTIALS_BEHIND);
    let drain = gateway.drain.status().last_error().map(|why| waiting(&StoreError(why)));
    let refused: Vec<Value> = gateway
        .router()
        .lines()
        .filter_map(|provider| {
            let credential = provider.credential.as_ref()?;
            let (models, rest_s) = match credential.refused_for_s() {
                Some(rest_s) => (None, rest_s),
                None => credential.refused_alone().map(|(models, rest_s)| (Some(models), rest_s))?,
            };
            let mut told = json!({ "provider": provider.id, "credential": credential.variable, "tried_again_in_s": rest_s });
            // Which, the log tells: names of models are whatever somebody asked for.
            if let Some(models) = models {
                told["models"] = models.into();
            }
            Some(told)
        })
        .collect();
    let down = |server: &Arc<Server>| Some(json!({ "server": server.name, "why": server.listing_now().trouble.as_ref()? }));
    let servers_down: Vec<Value> = gateway.mcp.federation.servers().filter_map(down).collect();
    let router = gateway.router();
    let (status, word) = match (ledger, gateway.keys.is_out_of_touch(), store.or(drain).or(behind), router.unusable()) {
        // Every request would be refused.
        (Some(_), ..) | (_, true, ..) => (StatusCode::SERVICE_UNAVAILABLE, "not ready"),
        // Whoever is not in memory is, and what is written may be lost.
        (_, _, Some(DAMAGED), _) => (StatusCode::SERVICE_UNAVAILABLE, "not ready"),
        (None, false, None, []) => (StatusCode::OK, "ready"),
        // Keys that are not in memory are refused, what is written down waits, or what it has of its providers is not all that it was given.
        (None, ..) => (StatusCode::OK, "degraded"),
    };
    let body = json!({
        "status": word,
        "store": store.unwrap_or("ok"),
        "ledger": ledger.or(drain).unwrap_or("ok"),
        "ledger_waiting_bytes": gateway.drain.status().lag_bytes(),
        "ledger_damaged_lines": gateway.drain.status().damaged_lines(),
        "credentials": behind.unwrap_or("ok"),
        "credentials_refused": refused,
        "credentials_unusable": router.unusable(),
        "prompts_refused": gateway.prompts.faults(),
        "services_refused": gateway.services.faults(),
        "mcp_servers_down": servers_down,
    });
    (status, Json(body)).into_response()
}

/// Why records wait on disk.
fn waiting(why: &StoreError) -> &'static str {
    match why {
        why if why.is_locked() => "the store is locked by another program; records wait on disk",
        why if why.is_full() => "the disk that the store is on is full: make room; records wait in the data folder's 'ledger'",
        _ => "the ledger's store does not answer; records wait on disk",
    }
}

/// What is wrong with the store.
async fn store(gateway: &Gateway) -> Option<&'static str> {
    match gateway.key_store.changes(i64::MAX).await {
        Err(e) if e.is_damaged() => Some(DAMAGED),
        Err(e) if e.is_locked() => Some(LOCKED),
        Err(_) => Some(SILENT),
        Ok(_) => gateway.keys.unread().await.map(|why| match why {
            Unreadable::Damaged => DAMAGED,
            Unreadable::Locked => LOCKED,
            Unreadable::Behind => BEHIND,
            Unreadable::Otherwise => UNREAD,
        }),
    }
}

async fn metrics(State(gateway): State<Arc<Gateway>>, headers: HeaderMap) -> Response<Body> {
    let accepts = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let format = match accepts.into_iter().any(|accept| accept.contains("application/openmetrics-text")) {
        true => Format::OpenMetrics,
        false => Format::Text,
    };
    let mut response = Response::new(Body::from(gateway.metrics.render(&gateway, format)));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(format.content_type()));
    response
}
