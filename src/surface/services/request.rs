//! A call on its way to a service: the caller's credentials stay here, the gateway's goes along, and the body streams within its limits.

use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Body;
use futures_util::stream;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use reqwest::Url;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout_at};

use super::call::{Asked, has_body};
use crate::config::RequestLimits;
use crate::error::{Kind, Refusal};
use crate::gateway::Gateway;
use crate::key::diagnose::holds_escaped_key;
use crate::key::presented::BARE_HEADERS;
use crate::service::{Credential, Service, Upstream};
use crate::surface::REQUEST_ID;
use crate::surface::body::{self, Patience};
use crate::upstream::{Failure, Who};

/// What is sent, but for its body.
pub(super) struct Outgoing {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    /// The largest body, in bytes.
    pub(super) limit: usize,
}

/// What a body on its way out tells.
#[derive(Default)]
struct Told {
    /// It has gone out whole.
    sent: Notify,
    /// It cannot go out whole.
    refused: Mutex<Option<Refusal>>,
}

/// How long a body may be, and how long it says that it is.
struct Bounds {
    limit: usize,
    announced: Option<usize>,
}

/// What is between two neighbours alone (RFC 9110, section 7.6.1).
pub(super) const HOP_BY_HOP: [HeaderName; 9] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    HeaderName::from_static("proxy-connection"),
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];
/// What is the caller's own, or is said anew; compressed answers could not be looked through for the credential.
const KEPT: [HeaderName; 9] = [
    header::AUTHORIZATION,
    header::COOKIE,
    header::HOST,
    header::EXPECT,
    header::CONTENT_LENGTH,
    header::ACCEPT_ENCODING,
    header::FORWARDED,
    HeaderName::from_static("x-real-ip"),
    REQUEST_ID,
];

/// What asks for a part of an answer.
const PARTS: [&str; 3] = ["range", "if-range", "request-range"];
/// What would make another call of one that was looked at, or another caller: other methods, other paths, other addresses.
const OTHERS: [&str; 14] = [
    "proxy",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-original-method",
    "x-original-url",
    "x-original-uri",
    "x-original-host",
    "x-rewrite-url",
    "x-client-ip",
    "x-cluster-client-ip",
    "true-client-ip",
    "cf-connecting-ip",
    "fastly-client-ip",
];

/// The headers that go on: those of the caller that are for the service, the cookies that the operation takes, and the gateway's credential.
pub(super) fn headers(from: &HeaderMap, upstream: &Upstream, cookies: &[String], request_id: &HeaderValue) -> HeaderMap {
    let mut to = from.clone();
    strip_hop_by_hop(&mut to);
    KEPT.iter().chain(&BARE_HEADERS).for_each(|name| drop(to.remove(name)));
    // Many a server takes the one mark for the other.
    let plain = |name: &HeaderName| name.as_str().replace('_', "-");
    let shown = match &upstream.credential {
        Some(Credential::Header(name, _)) => Some(plain(name)),
        _ => None,
    };
    let is_ours = |name: &HeaderName, value: &HeaderValue| {
        let name = plain(name);
        let is_credential = shown.as_ref() == Some(&name);
        // In pieces, nobody could find the credential in an answer that repeats it.
        let is_part = upstream.credential.is_some() && PARTS.contains(&name.as_str());
        let is_other = is_credential || is_part || OTHERS.contains(&name.as_str()) || KEPT.iter().any(|kept| kept.as_str() == name);
        is_other
            || ["x-forwarded-", "keyward-"].iter().any(|prefix| name.starts_with(prefix))
            || holds_escaped_key(&String::from_utf8_lossy(value.as_bytes()))
    };
    let ours: Vec<HeaderName> = to.iter().filter(|(name, value)| is_ours(name, value)).map(|(name, _)| name.clone()).collect();
    ours.iter().for_each(|name| drop(to.remove(name)));
    to.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    to.insert(REQUEST_ID, request_id.clone());
    if let Some(cookie) = named_cookies(from, cookies) {
        to.insert(header::COOKIE, cookie);
    }
    if let Some(length) = from.get(header::CONTENT_LENGTH) {
        to.insert(header::CONTENT_LENGTH, length.clone());
    }
    if let Some(Credential::Header(name, value)) = &upstream.credential {
        to.insert(name, value.clone());
    }
    to
}

/// The caller's cookies of these names.
fn named_cookies(from: &HeaderMap, names: &[String]) -> Option<HeaderValue> {
    let all = from.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(';')).map(str::trim);
    let is_named = |pair: &&str| {
        pair.split_once('=').is_some_and(|(name, value)| names.iter().any(|named| named == name) && !holds_escaped_key(value))
    };
    let named = all.filter(is_named).collect::<Vec<_>>().join("; ");
    HeaderValue::try_from(named).ok().filter(|named| !named.is_empty())
}

/// Takes out what is between two neighbours alone, and what a neighbour names so.
pub(super) fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<String> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(',').map(|name| name.trim().to_ascii_lowercase()))
        .collect();
    named.iter().for_each(|name| drop(headers.remove(name.as_str())));
    HOP_BY_HOP.iter().for_each(|name| drop(headers.remove(name)));
}

/// The largest body for a service, in bytes; one that says that it is larger is refused at once.
pub(super) fn check_length(service: &Service, asked: &Asked, limits: &RequestLimits) -> Result<usize, Refusal> {
    let mib = service.body_mib.map_or(limits.body_mib, |own| own.min(limits.body_mib));
    let limit = mib << 20;
    match body::announced(&asked.headers).is_some_and(|length| length > limit) {
        true => Err(too_large(limit)),
        false => Ok(limit),
    }
}

// === impl Outgoing ===

impl Outgoing {
    /// Sends it; the answer has to begin in time, counted from the end of the body.
    pub(super) async fn send(self, gateway: &Gateway, service: &Service, body: Body) -> Result<Response<reqwest::Body>, Refusal> {
        let Outgoing { method, url, headers, limit } = self;
        let (told, limits) = (Arc::new(Told::default()), gateway.config.limits.clone());
        let patience = Instant::now() + limits.body_deadline;
        let body = match has_body(&body) {
            true => flowing(body, Bounds { limit, announced: body::announced(&headers) }, limits, Arc::clone(&told)),
            false => {
                told.sent.notify_one();
                reqwest::Body::from("")
            }
        };
        let mut request = Request::new(body);
        *request.method_mut() = method;
        *request.headers_mut() = headers;
        *request.uri_mut() = url.as_str().parse().map_err(|_| Refusal::invalid("path_not_plain", "The path is no part of a URL."))?;
        let who = Who { id: service.name.clone(), name: service.title.clone() };
        let late = async {
            // What does not go out in time ends as the body says.
            let _ = timeout_at(patience, told.sent.notified()).await;
            sleep(service.timeout).await;
        };
        let answer = tokio::select! {
            answer = gateway.client.forward(request, &who) => answer,
            () = late => Err(Failure::TimedOut { provider: who, after: service.timeout }),
        };
        let refused = || told.refused.lock().unwrap_or_else(PoisonError::into_inner).take();
        answer.map_err(|failure| refused().unwrap_or_else(|| failed(failure, service)))
    }
}

/// The body as it comes, within its limits.
fn flowing(body: Body, bounds: Bounds, limits: RequestLimits, told: Arc<Told>) -> reqwest::Body {
    let Bounds { limit, announced } = bounds;
    let pieces = stream::try_unfold((body, 0_usize, told, Patience::default()), move |(mut body, sent, told, mut patience)| {
        let limits = limits.clone();
        async move {
            let refusal = match body::next(&mut body, &limits, &mut patience).await {
                Ok(None) => {
                    told.sent.notify_one();
                    return Ok(None);
                }
                Ok(Some(piece)) if sent.saturating_add(piece.len()) <= limit => {
                    let sent = sent + piece.len();
                    // Nobody asks for the end of a body whose length was told.
                    if announced == Some(sent) {
                        told.sent.notify_one();
                    }
                    return Ok(Some((piece, (body, sent, told, patience))));
                }
                Ok(Some(_)) => too_large(limit),
                Err(refusal) => refusal,
            };
            *told.refused.lock().unwrap_or_else(PoisonError::into_inner) = Some(refusal);
            Err(std::io::Error::other("the body is not sent whole"))
        }
    });
    reqwest::Body::wrap_stream(pieces)
}

fn too_large(limit: usize) -> Refusal {
    let message = format!("The body is larger than the {} MiB that this service takes: send less.", limit >> 20);
    Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, Kind::Invalid, "body_too_large", message)
}

/// The gateway's own credential is no good: never the caller's trouble.
pub(super) fn credential_refused(service: &Service) -> Refusal {
    let message = format!(
        "{} refuses the credential that this gateway has for it. Your own key is fine: tell whoever runs this gateway.",
        service.title
    );
    blamed(service, StatusCode::BAD_GATEWAY, "service_credential_refused", message)
}

/// A variable of its file is not set, so that nobody knows where it is, or what it is shown.
pub(super) fn unready(service: &Service) -> Refusal {
    let message = format!(
        "{} cannot be called now: this gateway lacks something of its own for it. Your key is fine: tell whoever runs this gateway.",
        service.title
    );
    Refusal::new(StatusCode::SERVICE_UNAVAILABLE, Kind::Unavailable, "service_not_ready", message)
}

/// An answer to something that was not asked for, such as another protocol.
pub(super) fn unasked(service: &Service, status: StatusCode) -> Refusal {
    let message = format!(
        "{} answered with status {} though nothing asked it to. Your key is fine: tell whoever runs this gateway.",
        service.title,
        status.as_u16()
    );
    blamed(service, StatusCode::BAD_GATEWAY, "service_bad_answer", message)
}

fn failed(failure: Failure, service: &Service) -> Refusal {
    let (who, bad_gateway) = (&service.title, StatusCode::BAD_GATEWAY);
    let (status, code, message) = match failure {
        Failure::TimedOut { after, .. } => {
            let message = format!("{who} was silent for {} s. Your key is fine: try again.", after.as_secs_f64());
            (StatusCode::GATEWAY_TIMEOUT, "service_timeout", message)
        }
        Failure::Unreachable { why, .. } => {
            (bad_gateway, "service_unreachable", format!("{who} could not be reached ({why}). Your key is fine: try again."))
        }
        Failure::BadAnswer { why, .. } | Failure::Empty { why, .. } => {
            let message =
                format!("{who} answered with something that is no answer ({why}). Your key is fine: tell whoever runs this gateway.");
            (bad_gateway, "service_bad_answer", message)
        }
        _ => return broke_off(service),
    };
    blamed(service, status, code, message)
}

/// It has closed the connection.
pub(super) fn broke_off(service: &Service) -> Refusal {
    let message = format!("{} closed the connection before it answered. Your key is fine: try again.", service.title);
    blamed(service, StatusCode::BAD_GATEWAY, "service_broke_off", message)
}

/// It answers in a form that nothing can be found in.
pub(super) fn not_searchable(service: &Service, form: &str) -> Refusal {
    let message = format!(
        "{} answered {form} though it was asked not to, so nobody can see whether the gateway's credential is in it, and it is not passed on. Your key is fine: tell whoever runs this gateway.",
        service.title
    );
    blamed(service, StatusCode::BAD_GATEWAY, "service_bad_answer", message)
}

fn blamed(service: &Service, status: StatusCode, code: &'static str, message: String) -> Refusal {
    let mut refusal = Refusal::new(status, Kind::Upstream, code, message);
    refusal.provider = Some(service.name.clone());
    refusal
}
