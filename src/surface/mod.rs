//! Room 1: what callers speak: paths, bodies, and errors in each dialect's own shape.

pub mod anthropic;
pub mod bedrock;
pub mod body;
pub mod cohere;
pub mod gemini;
mod head;
pub mod ollama;
pub mod openai;
pub mod ops;
pub mod prompts;
pub mod services;
pub mod shares;
pub mod unread;
pub mod upload;

use std::convert::Infallible;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequestParts, Request};
use axum::handler::Handler;
use axum::middleware::{self, Next};
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Uri, header};
use jiff::Timestamp;
use percent_encoding::percent_decode_str;
use serde_json::Value;

use crate::dialect::ir::Trouble;
use crate::error::Refusal;
use crate::gateway::Gateway;
use crate::key::Caller;
pub use crate::key::diagnose::shown;
use crate::quota::Asker;
use crate::route::LiveProvider;
use crate::ticket;

/// When the caller's key ends (RFC 3339), where that is soon.
const KEY_EXPIRES: HeaderName = HeaderName::from_static("keyward-key-expires");

/// The request's name, the caller's or ours: in every answer.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// In the extensions of requests from beside the corridor: takes in when the key ends that they show, where that is soon.
#[derive(Clone, Default)]
pub struct EndsSoon(Arc<OnceLock<Timestamp>>);

/// A protocol offered to callers.
pub trait Surface: Send + Sync {
    /// Whether a request's head can be served at all: its content type and encoding.
    fn check_head(&self, head: &Parts) -> Result<(), Refusal> {
        head::is_json(head)
    }
    /// A refusal in the dialect's shape.
    fn refuse(&self, refusal: &Refusal) -> Response<Body>;
    /// A refusal in the middle of a stream, where there is no status left to set.
    fn error_event(&self, refusal: &Refusal) -> Bytes;
    /// A provider's error in the dialect's shape, marked with its name.
    fn provider_error(&self, error: &ProviderError<'_>) -> Response<Body>;
    /// Who says how long an answer may be.
    fn asker(&self) -> Asker {
        Asker::Caller
    }
    /// The header beside `x-request-id` in which the dialect's SDKs look for the request's id.
    fn request_id_header(&self) -> Option<HeaderName> {
        None
    }
}

/// A provider's own error, on its way to the caller.
pub struct ProviderError<'a> {
    /// The provider's status.
    pub status: StatusCode,
    /// What it said, with nothing of our credential in it.
    pub text: &'a str,
    /// What that means.
    pub trouble: Trouble,
    /// The text is in the surface's own dialect.
    pub is_native: bool,
    /// Who said it.
    pub provider: &'a LiveProvider,
    /// When it wants to be asked again.
    pub retry_after: Option<Duration>,
}

/// All paths of the gateway.
pub fn router(gateway: Arc<Gateway>) -> axum::Router {
    // The corridor names its requests itself, in the ledger and the log too.
    let beside =
        openai::models_routes().merge(ops::routes()).merge(prompts::routes()).merge(services::routes()).merge(crate::mcp::routes());
    // Where management has a listener of its own, this one knows nothing of it but where a scanner reports.
    let beside = match (gateway.config.admin.listen, &gateway.admin.scanner) {
        (None, _) => beside.merge(crate::admin::routes(&gateway)),
        (Some(_), Some(_)) => beside.merge(crate::admin::scanner_routes(&gateway)),
        (Some(_), None) => beside,
    };
    let router = axum::Router::new()
        .merge(openai::routes())
        .merge(anthropic::routes())
        .merge(gemini::routes())
        .merge(bedrock::routes())
        .merge(cohere::routes())
        .merge(ollama::routes())
        .merge(services::calls())
        .merge(beside.layer(middleware::from_fn(named)));
    with_fallbacks(router, gateway)
}

/// The management API's paths alone, for a listener of their own.
pub fn admin_router(gateway: Arc<Gateway>) -> axum::Router {
    let router = crate::admin::routes(&gateway).merge(ops::routes()).layer(middleware::from_fn(named));
    with_fallbacks(router, gateway)
}

/// Paths, and what is answered beside them: named, and where management is meant a line of the log, as all that is asked of it.
fn with_fallbacks(paths: axum::Router<Arc<Gateway>>, gateway: Arc<Gateway>) -> axum::Router {
    let named = || middleware::from_fn(named);
    let logged = || middleware::from_fn_with_state(Arc::clone(&gateway), crate::admin::logged_if_managements);
    let unknown_path = unknown_path.layer(logged()).layer(named());
    let wrong_method = wrong_method.layer(logged()).layer(named());
    paths.fallback(unknown_path).method_not_allowed_fallback(wrong_method).with_state(gateway)
}

/// In the extensions of requests beside the corridor: how its answer names it.
#[derive(Clone)]
pub struct Named(pub HeaderValue);

/// Names an answer by its request, and tells when the key that was shown ends.
async fn named(mut request: Request, next: Next) -> Response<Body> {
    let id = ticket::request_id(request.headers(), &ticket::next_id());
    let is_anthropics = request.headers().contains_key(anthropic::VERSION);
    let ends_soon = EndsSoon::default();
    request.extensions_mut().insert(ends_soon.clone());
    request.extensions_mut().insert(Named(id.clone()));
    let mut response = next.run(request).await;
    write_end(&mut response, ends_soon.0.get().copied());
    if is_anthropics {
        response.headers_mut().insert(anthropic::ID, id.clone());
    }
    response.headers_mut().insert(REQUEST_ID, id);
    response
}

/// An answer from beside the corridor, named by the head of its request.
fn name(headers: &HeaderMap, mut response: Response<Body>) -> Response<Body> {
    response.headers_mut().insert(REQUEST_ID, ticket::request_id(headers, &ticket::next_id()));
    response
}

/// The same, and it tells when the key that was shown ends.
fn name_with_end(head: &Parts, response: Response<Body>) -> Response<Body> {
    let mut response = name(&head.headers, response);
    write_end(&mut response, head.extensions.get::<EndsSoon>().and_then(|ends_soon| ends_soon.0.get().copied()));
    response
}

/// A segment of a request's path, by its place from 0 on: what in it is no UTF-8 is no name of anything, and refuses nothing before the key.
pub struct Segment<const AT: usize>(pub String);

impl<S: Send + Sync, const AT: usize> FromRequestParts<S> for Segment<AT> {
    type Rejection = Infallible;

    async fn from_request_parts(head: &mut Parts, _: &S) -> Result<Segment<AT>, Infallible> {
        let segment = head.uri.path().split('/').nth(AT + 1).unwrap_or_default();
        Ok(Segment(decoded(segment)))
    }
}

/// All of a request's path from the segment at that place on, read as one of its segments is.
pub struct Rest<const AT: usize>(pub String);

impl<S: Send + Sync, const AT: usize> FromRequestParts<S> for Rest<AT> {
    type Rejection = Infallible;

    async fn from_request_parts(head: &mut Parts, _: &S) -> Result<Rest<AT>, Infallible> {
        let rest = head.uri.path().splitn(AT + 2, '/').nth(AT + 1).unwrap_or_default();
        Ok(Rest(decoded(rest)))
    }
}

fn decoded(path: &str) -> String {
    percent_decode_str(path).decode_utf8_lossy().into_owned()
}

/// A path that nothing is served at, in the words of the surface that it looks like.
async fn unknown_path(headers: HeaderMap, uri: Uri) -> Response<Body> {
    match uri.path() {
        path if crate::admin::owns(path) => crate::admin::unknown_path(&uri),
        path if path.starts_with("/v1/") && gemini::operations::are_meant(&headers, &uri) => gemini::unknown_path(&uri),
        path if anthropic::owns(path) => anthropic::unknown_path(&uri),
        path if gemini::owns(path) => gemini::unknown_path(&uri),
        path if cohere::owns(path) => cohere::unknown_path(&uri),
        path if ollama::owns(path) => ollama::unknown_path(&uri),
        path if prompts::owns(path) => prompts::unknown_path(&uri),
        path if services::owns(path) => services::unknown_path(&uri),
        _ => openai::unknown_path(&uri),
    }
}

/// A path that is served for another method, in the words of its surface.
async fn wrong_method(method: Method, headers: HeaderMap, uri: Uri) -> Response<Body> {
    match uri.path() {
        path if crate::admin::owns(path) => crate::admin::wrong_method(&method, &uri),
        path if path.starts_with("/v1/") && gemini::operations::are_meant(&headers, &uri) => gemini::wrong_method(&method, &uri),
        path if anthropic::owns(path) => anthropic::wrong_method(&method, &uri),
        path if gemini::owns(path) => gemini::wrong_method(&method, &uri),
        path if cohere::owns(path) => cohere::wrong_method(&method, &uri),
        path if ollama::owns(path) => ollama::wrong_method(&method, &uri),
        path if prompts::owns(path) => prompts::wrong_method(&method, &uri),
        path if services::owns(path) => services::wrong_method(&method, &uri),
        _ => openai::wrong_method(&method, &uri),
    }
}

/// A JSON response, with what belongs in the head of every refusal: the provider's name, `retry-after`, the refusal's own headers.
pub fn refusal_response(refusal: &Refusal, body: &Value) -> Response<Body> {
    let mut response = json_response(refusal.status, body);
    write_challenge(&mut response);
    write_provider(&mut response, refusal.provider.as_deref());
    for (name, value) in &refusal.headers {
        response.headers_mut().insert(name.clone(), value.clone());
    }
    write_retry_after(&mut response, refusal.retry_after);
    response
}

// === impl EndsSoon ===

impl EndsSoon {
    /// The head of a request whose answer is to tell it.
    fn asked_for(request: Request) -> Parts {
        let mut head = request.into_parts().0;
        head.extensions.insert(EndsSoon::default());
        head
    }

    /// The request's key is good.
    pub fn note(&self, caller: &Caller) {
        if let Some(ends) = caller.ends_soon() {
            // A request shows one key, however often it is checked.
            let _ = self.0.set(ends);
        }
    }
}

// === impl ProviderError ===

impl ProviderError<'_> {
    /// A JSON response with the provider's status, its name and `retry-after` in the head.
    pub fn response(&self, body: &Value) -> Response<Body> {
        let mut response = json_response(self.status, body);
        write_provider(&mut response, Some(&self.provider.id));
        write_retry_after(&mut response, self.retry_after);
        response
    }

    /// What the provider said, with its name and status before it.
    pub fn message(&self) -> String {
        let (name, status) = (&self.provider.name, self.status.as_u16());
        match self.trouble.message.as_str() {
            "" => format!("{name} answered with status {status} and no message."),
            said => format!("{name} answered with status {status}: {said}"),
        }
    }
}

fn json_response(status: StatusCode, body: &Value) -> Response<Body> {
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

pub(crate) fn write_provider(response: &mut Response<Body>, id: Option<&str>) {
    if let Some(id) = id.and_then(|id| HeaderValue::try_from(id).ok()) {
        response.headers_mut().insert(HeaderName::from_static("keyward-provider"), id);
    }
}

/// Tells when the caller's key ends, where that is soon.
pub(crate) fn write_end(response: &mut Response<Body>, ends_soon: Option<Timestamp>) {
    if let Some(ends) = ends_soon.and_then(|ends| HeaderValue::try_from(ends.to_string()).ok()) {
        response.headers_mut().insert(KEY_EXPIRES, ends);
    }
}

/// A 401 says how to prove who asks (RFC 9110, section 15.5.2).
pub(crate) fn write_challenge(response: &mut Response<Body>) {
    if response.status() == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(r#"Bearer realm="keyward""#));
    }
}

/// In whole seconds, rounded up.
pub(crate) fn write_retry_after(response: &mut Response<Body>, wait: Option<Duration>) {
    if let Some(wait) = wait {
        let seconds = wait.as_secs_f64().ceil().max(1.0) as u64;
        response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
}
