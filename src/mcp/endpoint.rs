//! `/mcp` and `/mcp/NAME`: who asks is known before the protocol is read; a request without a good key gets 401 and a JSON-RPC error that says why.

use std::net::IpAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::routing::any;
use bytes::Bytes;
use futures_util::StreamExt as _;
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderMap, Method, Response, StatusCode, header};
use rmcp::transport::{StreamableHttpServerConfig, StreamableHttpService};
use serde_json::json;

use super::federation::{Pool, Server};
use super::handler::Handler;
use super::holder::Holder;
use super::names::{Manner, shown};
use super::room::Listener;
use super::sessions::Stream;
use super::{batch, cors, plain};
use crate::error::{Kind, Refusal};
use crate::gateway::Gateway;
use crate::key::caller::Plane;
use crate::key::presented::BARE_HEADERS;
use crate::surface::{Segment, refusal_response};

/// The head of a request as it came, with its key, for what is called under that key in turn.
#[derive(Clone)]
pub struct Presented(pub Parts);

/// What JSON-RPC leaves to implementations: refused before the method was looked at.
const REFUSED: i32 = -32001;
const SESSION: &str = "mcp-session-id";
const VERSION: &str = "mcp-protocol-version";
/// The first revision without sessions.
const NO_SESSIONS: &str = "2026-07-28";

/// The paths of the protocol.
pub fn routes() -> axum::Router<Arc<Gateway>> {
    axum::Router::new().route("/mcp", any(serve_all)).route("/mcp/", any(serve_all)).route("/mcp/{server}", any(serve_one))
}

async fn serve_all(State(gateway): State<Arc<Gateway>>, request: Request) -> Response<Body> {
    serve(gateway, None, request).await
}

async fn serve_one(State(gateway): State<Arc<Gateway>>, Segment(name): Segment<1>, request: Request) -> Response<Body> {
    serve(gateway, Some(name), request).await
}

async fn serve(gateway: Arc<Gateway>, name: Option<String>, request: Request) -> Response<Body> {
    let (head, body) = request.into_parts();
    let origin = cors::origin(&head.headers, &own_address(gateway.mcp.config.clone(), &head).allowed_origins);
    let response = match origin.is_some() && cors::is_preflight(&head) {
        true => cors::preflight(&head),
        false => serve_message(gateway, name, (head, body)).await,
    };
    cors::readable(response, origin)
}

async fn serve_message(gateway: Arc<Gateway>, name: Option<String>, (mut head, body): (Parts, Body)) -> Response<Body> {
    let caller = match gateway.caller(&head, Plane::Data).await {
        Ok(caller) => caller,
        Err(refusal) => return refuse(&refusal),
    };
    let key = caller.id();
    let alone = match name.as_deref().map(|name| gateway.mcp.federation.server(name).cloned().ok_or_else(|| not_found(name))) {
        None => None,
        Some(Ok(server)) => Some(server),
        Some(Err(refusal)) => return refuse(&refusal),
    };
    let session = head.headers.get(SESSION).and_then(|session| session.to_str().ok());
    let session = session.map(str::to_owned).filter(|_| gateway.mcp.has_sessions());
    if session.as_ref().is_some_and(|session| !gateway.mcp.owned.is_used_by(session, key)) {
        let message = "There is no such session, or it was begun under another key: begin a new one by 'initialize'.";
        return refuse(&Refusal::new(StatusCode::NOT_FOUND, Kind::NotFound, "session_not_found", message));
    }
    if session.is_none() && gateway.mcp.is_full().await {
        let message = "There are too many MCP sessions right now: end those that are not used, or try again in a few minutes.";
        return refuse(&Refusal::new(StatusCode::SERVICE_UNAVAILABLE, Kind::Unavailable, "too_many_sessions", message));
    }
    let (caller, whole) = match head.method == Method::POST {
        false => (caller, Bytes::new()),
        true => match gateway.body(caller, &head, body).await {
            Ok(read) => read,
            Err(refusal) => return refuse(&refusal),
        },
    };
    let place = match session.as_ref().filter(|_| head.method == Method::GET).map(|_| gateway.mcp.listener(key)) {
        None => None,
        Some(Some(place)) => Some(place),
        Some(None) => {
            let message = "This key listens as often as it may: end one of its streams before another begins.";
            return refuse(&Refusal::new(StatusCode::TOO_MANY_REQUESTS, Kind::RateLimit("streams"), "too_many_streams", message));
        }
    };
    let service = {
        let caller = caller.clone();
        let (of, gateway) = (Arc::clone(&gateway), Arc::clone(&gateway));
        let (pool, manner) = (pool(&gateway, &head.headers, key), manner(alone.as_ref()));
        let own = move || Pool::new(true, gateway.mcp.share(key));
        let handler = move || Ok(Handler::new(&of, alone.clone(), manner, pool.clone().unwrap_or_else(&own), caller.clone()));
        move |sessions, config| StreamableHttpService::new(handler, sessions, config)
    };
    let holder = Holder::new(&gateway, key, head.clone());
    head.extensions.insert(Presented(head.clone()));
    head.extensions.insert(caller);
    // The key has done its work: the protocol's side cannot repeat it.
    for name in [header::AUTHORIZATION].iter().chain(&BARE_HEADERS) {
        head.headers.remove(name);
    }
    let service = service(Arc::clone(&gateway.mcp.sessions), own_address(gateway.mcp.config.clone(), &head));
    let method = head.method.clone();
    // A session is used until what runs in it is over.
    let mut used = session.as_ref().filter(|_| method == Method::POST).map(|session| gateway.mcp.owned.stream(session));
    let may_be_batch = batch::may_come(&head.headers, VERSION);
    if method == Method::POST && (may_be_batch || used.is_some()) {
        let read = if may_be_batch { batch::read(&whole) } else { None };
        let ids = match &read {
            Some(messages) => messages.as_deref().map(batch::ids).unwrap_or_default(),
            None => batch::id(&whole).into_iter().collect(),
        };
        if let Some(Err(twice)) = used.as_mut().map(|used| used.asks(ids)) {
            return batch::refused(&format!(
                "The id {twice} is of a request that still runs in this session: each needs one of its own, as answers are told apart by it."
            ));
        }
        match read {
            Some(Ok(messages)) => {
                let one = |request| async { plain::told(service.handle(request).await.map(Body::new), &Method::POST).await };
                return while_running(batch::serve(head, messages, one).await, used);
            }
            Some(Err(why)) => return batch::refused(&why),
            None => {}
        }
    }
    let request = Request::from_parts(head, Body::from(whole));
    let response = while_running(plain::told(service.handle(request).await.map(Body::new), &method).await, used);
    if let Some(begun) = response.headers().get(SESSION).and_then(|session| session.to_str().ok()).filter(|_| session.is_none()) {
        for ended in gateway.mcp.owned.begun(begun, key, holder.clone()) {
            gateway.mcp.end(&ended).await;
        }
    }
    match session {
        Some(session) if method == Method::DELETE => {
            gateway.mcp.owned.ended(&session);
            // Some clients take another success for a failure.
            let is_done = response.status().is_success();
            if is_done { Response::new(Body::empty()) } else { response }
        }
        Some(session) if method == Method::GET && response.status().is_success() => {
            while_good(response, gateway, &session, (holder, place))
        }
        _ => response,
    }
}

/// A response to something that runs in a session, which holds its place until it is over.
fn while_running(response: Response<Body>, used: Option<Stream>) -> Response<Body> {
    let is_stream = response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"));
    match used.filter(|_| is_stream) {
        Some(used) => {
            let held = move |piece| {
                let _used = &used;
                piece
            };
            response.map(|body| Body::from_stream(body.into_data_stream().map(held)))
        }
        None => response,
    }
}

/// A stream of news, which ends with its key and when the gateway stops.
fn while_good(
    response: Response<Body>,
    gateway: Arc<Gateway>,
    session: &str,
    (holder, place): (Holder, Option<Listener>),
) -> Response<Body> {
    let stream = gateway.mcp.owned.stream(session);
    let ended = async move {
        tokio::select! {
            () = holder.ended() => {}
            () = gateway.mcp.stopping() => {}
        }
        drop((stream, place));
    };
    response.map(|body| Body::from_stream(body.into_data_stream().take_until(Box::pin(ended))))
}

/// What is allowed by default, and an address instead of a name: no name is bound anew to that. A page of the gateway's own address may call it.
fn own_address(mut served: StreamableHttpServerConfig, head: &Parts) -> StreamableHttpServerConfig {
    let named = head.headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let Some(authority) = named.and_then(|host| Authority::try_from(host).ok()).or_else(|| head.uri.authority().cloned()) else {
        return served;
    };
    let is_address = authority.host().trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
    if is_address && !served.allowed_hosts.is_empty() {
        served.allowed_hosts.push(authority.host().to_owned());
    }
    let origin = head.headers.get(header::ORIGIN).and_then(|origin| origin.to_str().ok());
    if let Some(origin) = origin.filter(|origin| is_of(origin, &authority)) {
        served.allowed_origins.push(origin.to_owned());
    }
    served
}

/// Whether an origin is the host that a request names.
fn is_of(origin: &str, host: &Authority) -> bool {
    let own = ["http://", "https://"].iter().find_map(|scheme| origin.strip_prefix(scheme));
    own.is_some_and(|own| own.eq_ignore_ascii_case(host.as_str()))
}

fn manner(alone: Option<&Arc<Server>>) -> Manner {
    if alone.is_some() { Manner::Alone } else { Manner::Beside }
}

/// The key's connections where the request has no session; one with a session has its own.
fn pool(gateway: &Gateway, headers: &HeaderMap, key: crate::key::KeyId) -> Option<Arc<Pool>> {
    let is_stateless = !gateway.mcp.has_sessions()
        || headers.get(VERSION).and_then(|version| version.to_str().ok()).is_some_and(|version| version >= NO_SESSIONS);
    is_stateless.then(|| gateway.mcp.pool(key))
}

fn not_found(name: &str) -> Refusal {
    let message = format!("There is no MCP server '{}' behind this gateway: /mcp has what there is.", shown(name));
    Refusal::new(StatusCode::NOT_FOUND, Kind::NotFound, "mcp_server_not_found", message)
}

/// A refusal as JSON-RPC has it; its id is unknown, since nothing was read.
fn refuse(refusal: &Refusal) -> Response<Body> {
    let data = json!({ "code": refusal.code });
    let body = json!({ "jsonrpc": "2.0", "id": null, "error": { "code": REFUSED, "message": refusal.message, "data": data } });
    refusal_response(refusal, &body)
}
