//! Changes, one at a time and each to its end; and a `POST` with an `Idempotency-Key` has its effect once, however often it is sent within
//! 24 hours.
//!
//! The first answer is kept in the store, sealed (AES-256-GCM) under a secret derived from the server's: it may hold a new key's text,
//! which is nowhere in clear. What was refused is not kept, and may be sent again.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::IntoResponse;
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};
use http_body_util::BodyExt as _;
use jiff::Timestamp;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::digest::{Context, SHA256};
use ring::rand::{SecureRandom, SystemRandom};

use super::body::broken_off;
use super::{Problem, access, failed};
use crate::gateway::Gateway;
use crate::key::Pepper;
use crate::key::diagnose::holds_whole_key;
use crate::problem::Code;
use crate::server::Lasting;
use crate::store::{Claim, IdempotencyStore};

/// Server errors that say that nothing was done: the same name may try again.
const UNDONE: [&str; 4] = [failed::LOCKED, failed::FULL, failed::FOLDER_LOCKED, failed::NO_RANDOMNESS];
/// How often an answer that the store did not take is brought again, and after how long.
const KEPT_LATER: u32 = 240;
const AGAIN: Duration = Duration::from_millis(250);
const NAME: HeaderName = HeaderName::from_static("idempotency-key");
/// In an answer that was given before.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
/// Until when an answer is given again (RFC 3339).
const EXPIRES: HeaderName = HeaderName::from_static("idempotency-expires");
/// How long answers are given again.
pub const KEPT_FOR: Duration = Duration::from_secs(24 * 3600);
const LONGEST_NAME: usize = 255;
/// How long a change waits for those before it.
const PATIENCE: Duration = Duration::from_secs(5);
/// The largest body of a change, and the largest answer that is kept.
const LARGEST: usize = 4 << 20;
/// What is kept of a larger one.
const DONE: &str =
    r#"{"done":true,"detail":"This was done. Its answer had more than 4 MiB, and is not kept: ask for what it changed, as by GET."}"#;

/// Seals answers, each for its own request.
struct Seal(LessSafeKey);

/// Lets reads pass; makes changes wait for each other, also where their caller has gone, and does those that name themselves once.
pub async fn changes(State(gateway): State<Arc<Gateway>>, request: Request, next: Next) -> Response<Body> {
    match *request.method() {
        Method::GET | Method::HEAD => next.run(request).await,
        _ => to_its_end(gateway, request, next, true).await,
    }
}

/// Does once what names itself, and changes nothing: neither waits for the other.
pub async fn runs(State(gateway): State<Arc<Gateway>>, request: Request, next: Next) -> Response<Body> {
    match is_named(request.method(), request.headers()) {
        true => to_its_end(gateway, request, next, false).await,
        false => next.run(request).await,
    }
}

fn is_named(method: &Method, headers: &HeaderMap) -> bool {
    *method == Method::POST && headers.contains_key(&NAME)
}

/// Does what is asked for whether or not its caller stays, in its turn where it is a change.
async fn to_its_end(gateway: Arc<Gateway>, request: Request, next: Next, is_change: bool) -> Response<Body> {
    let (mut head, body) = request.into_parts();
    // Whoever has no key is turned away before anybody waits for them.
    if let Err(problem) = access::caller(&gateway, &head).await {
        return problem.into_response();
    }
    let body = match axum::body::to_bytes(body, LARGEST).await {
        Ok(body) => body,
        Err(e) => {
            return broken_off(&e, StatusCode::PAYLOAD_TOO_LARGE, "The body broke off, or is larger than 4 MiB.").into_response();
        }
    };
    let lasting = head.extensions.remove::<Lasting>();
    // A task of its own: whoever hangs up leaves nothing half done, and finds by its name what was done.
    let made = tokio::spawn(async move {
        let response = match is_change {
            true => made(&gateway, head, body, next).await,
            false => once(&gateway, head, body, next).await.unwrap_or_else(IntoResponse::into_response),
        };
        drop(lasting);
        response
    });
    made.await.unwrap_or_else(|_| {
        let detail = "It broke off before it was answered: look whether it took effect, and report this to whoever runs the gateway.";
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail).into_response()
    })
}

/// Makes a change when those before it are made.
async fn made(gateway: &Gateway, head: Parts, body: Bytes, next: Next) -> Response<Body> {
    let alone = match turn(gateway).await {
        Ok(alone) => alone,
        Err(problem) => return problem.into_response(),
    };
    let response = match is_named(&head.method, &head.headers) {
        false => next.run(Request::from_parts(head, Body::from(body))).await,
        true => once(gateway, head, body, next).await.unwrap_or_else(IntoResponse::into_response),
    };
    if response.extensions().get::<Code>().is_some_and(|code| code.0 == failed::LOCKED) {
        gateway.admin.locked.notify_waiters();
    }
    drop(alone);
    if response.status().is_success() {
        gateway.keys.take_in_now().await;
    }
    response
}

/// Waits for the changes before: not behind a store that does not answer, nor behind one that the first of them has found locked.
pub(super) async fn turn(gateway: &Gateway) -> Result<tokio::sync::MutexGuard<'_, ()>, Problem> {
    let locked = gateway.admin.locked.notified();
    tokio::select! {
        biased;
        () = locked => Err(failed::locked()),
        alone = gateway.admin.changing.lock() => Ok(alone),
        () = tokio::time::sleep(PATIENCE) => {
            let detail = "Other changes are waiting for the store, which does not answer: nothing was changed, try again in a moment.";
            Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "store_busy", detail))
        }
    }
}

async fn once(gateway: &Gateway, head: Parts, body: Bytes, next: Next) -> Result<Response<Body>, Problem> {
    let name = head.headers.get(&NAME).and_then(|value| value.to_str().ok()).filter(|name| (1..=LONGEST_NAME).contains(&name.len()));
    let bad_name = || Problem::new(StatusCode::BAD_REQUEST, "invalid_idempotency_key", "An Idempotency-Key has 1 to 255 ASCII characters.");
    let name = name.ok_or_else(bad_name)?.to_owned();
    // It is kept as it is.
    if holds_whole_key(&name) {
        let detail = "An API key stands in the Idempotency-Key: make one up for each request.";
        return Err(Problem::new(StatusCode::BAD_REQUEST, "invalid_idempotency_key", detail));
    }
    let (caller, role) = access::caller(gateway, &head).await?;
    // A key whose role has changed is told nothing that it may not see any more.
    let scope = format!("{}:{}", caller.id(), role.as_str());
    // A body may hold a secret: nobody who reads the store can try guesses against its digest.
    let secret = gateway.admin.pepper.derive("digests of idempotent requests");
    let now = Timestamp::now();
    let (digest, oldest) = (digest(&secret, &head, &body), now - KEPT_FOR);
    let seal = Seal::new(&gateway.admin.pepper)?;
    let bound = format!("{scope}\n{name}");
    let store = &gateway.admin.idempotency;
    match store.claim(&scope, &name, &digest, oldest).await? {
        Claim::First => {}
        Claim::Done(sealed, taken) => return seal.open(&bound, sealed).map(|response| with_end(response, taken)),
        Claim::Another => {
            let detail = "Another request had this Idempotency-Key within the last 24 hours: use a new one for each request.";
            return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "idempotency_key_reused", detail));
        }
        Claim::InDoubt => {
            let detail = "A request with this Idempotency-Key is still being done, or was cut off before it was answered: send it again in a while; if this stays so look whether it took effect, and if not send it with a new one.";
            return Err(Problem::new(StatusCode::CONFLICT, "idempotency_in_doubt", detail));
        }
    }
    let response = next.run(Request::from_parts(head, Body::from(body))).await;
    let (head, body) = response.into_parts();
    let broken = |_| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "Its answer broke off: look whether it took effect.");
    let body = body.collect().await.map_err(broken)?.to_bytes();
    // What was done is answered whole, and what does not fit is kept by that it was done.
    let kept: &[u8] = if body.len() > LARGEST { DONE.as_bytes() } else { &body };
    let is_undone = head.extensions.get::<Code>().is_some_and(|code| UNDONE.contains(&&*code.0));
    let is_kept = match head.status {
        status if status.is_success() => keep(store, scope, name, Some(seal.close(&bound, status, kept)?)).await,
        status if status.is_client_error() || is_undone => {
            keep(store, scope, name, None).await;
            false
        }
        // It may have come after the effect: the name stays taken.
        _ => false,
    };
    let response = Response::from_parts(head, Body::from(body));
    Ok(if is_kept { with_end(response, now) } else { response })
}

/// Keeps an answer, or frees its name; false where the store could not do so yet. Whoever asked is answered all the same: what was done is done.
async fn keep(store: &Arc<dyn IdempotencyStore>, scope: String, name: String, sealed: Option<Vec<u8>>) -> bool {
    let Err(error) = store.answered(&scope, &name, sealed.as_deref()).await else { return true };
    tracing::warn!(%error, "the answer to a change is not kept under its Idempotency-Key yet");
    let store = Arc::clone(store);
    tokio::spawn(async move {
        for _ in 0..KEPT_LATER {
            tokio::time::sleep(AGAIN).await;
            if store.answered(&scope, &name, sealed.as_deref()).await.is_ok() {
                return;
            }
        }
        tracing::error!("the answer to a change could not be kept under its Idempotency-Key, which stays in doubt for a day");
    });
    false
}

/// An answer that is given again until then; from then on the name is free for another request.
fn with_end(mut response: Response<Body>, taken: Timestamp) -> Response<Body> {
    if let Ok(ends) = HeaderValue::try_from((taken + KEPT_FOR).to_string()) {
        response.headers_mut().insert(EXPIRES, ends);
    }
    response
}

/// What makes a request the same: method, path, query and body.
fn digest(secret: &[u8], head: &Parts, body: &[u8]) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    for part in [secret, head.method.as_str().as_bytes(), head.uri.to_string().as_bytes(), body] {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    let mut out = [0; 32];
    out.copy_from_slice(context.finish().as_ref());
    out
}

// === impl Seal ===

impl Seal {
    fn new(pepper: &Pepper) -> Result<Seal, Problem> {
        let key = UnboundKey::new(&AES_256_GCM, &pepper.derive("answers to idempotent requests")).map_err(|_| lost())?;
        Ok(Seal(LessSafeKey::new(key)))
    }

    /// The nonce, then the status and the body, sealed.
    fn close(&self, bound: &str, status: StatusCode, body: &[u8]) -> Result<Vec<u8>, Problem> {
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce).map_err(|_| lost())?;
        let mut text = [&status.as_u16().to_be_bytes(), body].concat();
        let aad = Aad::from(bound.as_bytes());
        self.0.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut text).map_err(|_| lost())?;
        Ok([&nonce, text.as_slice()].concat())
    }

    fn open(&self, bound: &str, mut sealed: Vec<u8>) -> Result<Response<Body>, Problem> {
        let (nonce, text) = sealed.split_at_mut_checked(NONCE_LEN).ok_or_else(lost)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| lost())?;
        let text = self.0.open_in_place(nonce, Aad::from(bound.as_bytes()), text).map_err(|_| lost())?;
        let (status, body) = text.split_first_chunk::<2>().ok_or_else(lost)?;
        let mut response = Response::new(Body::from(body.to_vec()));
        *response.status_mut() = StatusCode::from_u16(u16::from_be_bytes(*status)).map_err(|_| lost())?;
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
        Ok(response)
    }
}

/// The server's secret is another one than it was, or the row was tampered with.
fn lost() -> Problem {
    let detail = "It was done, and its answer cannot be read again: look for what it made, and use a new Idempotency-Key from here on.";
    Problem::new(StatusCode::CONFLICT, "idempotency_answer_lost", detail)
}
