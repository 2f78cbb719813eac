//! The log line of a management request: who asked for what, and what became of it, also where nothing was changed.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use http::{HeaderValue, Method, Response};

use super::{ROOT, access};
use crate::gateway::Gateway;
use crate::key::KeyId;
use crate::key::caller::Plane;
use crate::problem::Code;
use crate::server::Peer;
use crate::surface::{Named, shown};

/// In the extensions of management requests: takes in whose key was shown.
#[derive(Clone, Default)]
pub struct Shown(Arc<OnceLock<KeyId>>);

/// What the line says; it is written when this is dropped, so that whoever hangs up has one too.
struct Line {
    started: Instant,
    request_id: Option<HeaderValue>,
    from: Option<IpAddr>,
    shown: Shown,
    method: Method,
    /// Without its query, and with no key in it.
    path: String,
    status: u16,
    /// The code of what was not done.
    refused: Option<Cow<'static, str>>,
}

/// nginx's name for a caller who hung up before there was a status.
const HUNG_UP: u16 = 499;

/// Writes a line for a request, and counts what its key's role did not allow as what the key itself did not.
pub async fn written(State(gateway): State<Arc<Gateway>>, mut request: Request, next: Next) -> Response<Body> {
    let mut line = Line::of(&request);
    request.extensions_mut().insert(line.shown.clone());
    let response = next.run(request).await;
    line.status = response.status().as_u16();
    line.refused = response.extensions().get::<Code>().map(|code| code.0.clone());
    if line.refused.as_deref() == Some(access::TOO_LOW) {
        gateway.metrics.refused(access::TOO_LOW);
    }
    response
}

/// The same for what is answered where nothing is served, if that is below management's own path: there is no key that anything looks at.
pub async fn written_if_managements(gateway: State<Arc<Gateway>>, request: Request, next: Next) -> Response<Body> {
    let below = request.uri().path().strip_prefix(ROOT);
    match below.is_some_and(|below| below.is_empty() || below.starts_with('/')) {
        true => written(gateway, request, next).await,
        false => next.run(request).await,
    }
}

// === impl Shown ===

impl Shown {
    /// The request shows this key.
    pub fn note(&self, key: KeyId) {
        // A request shows one key, however often it is checked.
        let _ = self.0.set(key);
    }
}

// === impl Line ===

impl Line {
    fn of(request: &Request) -> Line {
        let extensions = request.extensions();
        Line {
            started: Instant::now(),
            request_id: extensions.get::<Named>().map(|named| named.0.clone()),
            from: extensions.get::<Peer>().map(|peer| peer.address),
            shown: Shown::default(),
            method: request.method().clone(),
            path: shown(request.uri().path()).to_string(),
            status: HUNG_UP,
            refused: None,
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        tracing::info!(
            target: "keyward::request",
            request_id = self.request_id.as_ref().and_then(|id| id.to_str().ok()),
            key = self.shown.0.get().map(KeyId::as_str),
            plane = ?Plane::Admin,
            method = self.method.as_str(),
            path = self.path,
            status = self.status,
            refused = self.refused.as_deref(),
            from = self.from.map(tracing::field::display),
            total_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX),
        );
    }
}
