//! The caller's side of the handshake: what it asks for, its key where a browser puts it, and the answer.
//!
//! Source: RFC 6455, section 4.2; OpenAI's Realtime guide for WebSockets, "browser".

use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};

use axum::body::Body;

use crate::error::{Kind, Refusal};
use crate::upstream::accept_key;

/// The subprotocol that is spoken.
const REALTIME: &str = "realtime";
/// A browser can send no headers: it puts them here.
const KEY: &str = "openai-insecure-api-key.";
/// The same for `openai-beta: realtime=v1`.
const BETA: &str = "openai-beta.realtime-v1";
const OPENAI_BETA: HeaderName = HeaderName::from_static("openai-beta");

/// What a caller offers as subprotocols.
fn offered(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let values = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim)
}

/// Puts what a browser says in its subprotocols where other callers say it; a second key that differs is found out there.
pub fn unfold(head: &mut Parts) {
    let mut more = HeaderMap::new();
    for protocol in offered(&head.headers) {
        let key = protocol.strip_prefix(KEY).and_then(|key| HeaderValue::try_from(format!("Bearer {key}")).ok());
        if let Some(mut key) = key {
            key.set_sensitive(true);
            more.append(header::AUTHORIZATION, key);
        }
        if protocol == BETA {
            more.insert(OPENAI_BETA, HeaderValue::from_static("realtime=v1"));
        }
    }
    for (name, value) in &more {
        head.headers.append(name, value.clone());
    }
}

/// Whether a WebSocket is asked for, in the only version there is.
pub fn check(head: &Parts) -> Result<(), Refusal> {
    let says = |name: HeaderName, word: &str| {
        let values = head.headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split(',')).any(|part| part.trim().eq_ignore_ascii_case(word))
    };
    let is_asked = head.method == Method::GET
        && says(header::CONNECTION, "upgrade")
        && says(header::UPGRADE, "websocket")
        && says(header::SEC_WEBSOCKET_VERSION, "13")
        && head.headers.contains_key(header::SEC_WEBSOCKET_KEY)
        && head.extensions.get::<hyper::upgrade::OnUpgrade>().is_some();
    if is_asked {
        return Ok(());
    }
    let message = "This path is a WebSocket: connect to it by one, with HTTP/1.1 (in an SDK, client.realtime.connect).";
    let mut refusal = Refusal::new(StatusCode::UPGRADE_REQUIRED, Kind::Invalid, "websocket_required", message);
    refusal.headers.push((header::UPGRADE, HeaderValue::from_static("websocket")));
    Err(refusal)
}

/// The answer that opens the WebSocket; of the subprotocols it takes `realtime` alone, so that no key comes back.
pub fn accept(head: &Parts) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.extend(head.headers.get(header::SEC_WEBSOCKET_KEY).and_then(accept_key).map(|key| (header::SEC_WEBSOCKET_ACCEPT, key)));
    if offered(&head.headers).any(|protocol| protocol == REALTIME) {
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(REALTIME));
    }
    response
}
