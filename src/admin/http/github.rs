//! `POST /admin/v1/leaks/github`: leaks as GitHub's secret scanning partner program reports them, signed instead of with a key.
//!
//! The format: <https://docs.github.com/code-security/secret-scanning/secret-scanning-partner-program>. The body's signature is ECDSA
//! over P-256 with SHA-256, as ASN.1 in base64; the public keys are at an address that the configuration names.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::response::IntoResponse;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode, header};
use ring::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use utoipa::ToSchema;

use super::Problem;
use super::body::unread;
use super::once;
use crate::admin::keys;
use crate::gateway::Gateway;
use crate::shown_url::shown;
use crate::store::audit::Actor;
use crate::upstream::tls;

/// The public keys of a scanner, read when a report comes and kept for a while.
pub struct ScannerKeys {
    /// A file's path, or a URL.
    from: String,
    is_at_url: bool,
    http: reqwest::Client,
    known: RwLock<Known>,
    /// When they were last asked for; held while they are.
    asked: Mutex<Option<Instant>>,
}

/// The keys as they were last read.
#[derive(Clone, Default)]
struct Known {
    read: Option<Instant>,
    keys: Arc<[PublicKey]>,
}

/// The scanner's answer about its public keys.
#[derive(Deserialize)]
struct PublicKeys {
    public_keys: Vec<PublicKey>,
}

#[derive(Clone, Deserialize)]
struct PublicKey {
    key_identifier: String,
    /// PEM.
    key: String,
}

/// A key that was found.
#[derive(Debug, Deserialize, ToSchema)]
pub struct Found {
    token: String,
    #[serde(rename = "type")]
    kind: String,
    url: Option<String>,
    source: Option<String>,
}

/// Whether it was one of ours.
#[derive(Debug, Serialize, ToSchema)]
pub struct Label {
    token_raw: String,
    token_type: String,
    /// `true_positive` or `false_positive`.
    label: &'static str,
}

/// Before the point of a P-256 public key in DER: RFC 5480, section 2.
const SPKI: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01,
    0x07, 0x03, 0x42, 0x00,
];
const USER_AGENT: &str = concat!("keyward/", env!("CARGO_PKG_VERSION"));
const PATIENCE: Duration = Duration::from_secs(10);
/// After so long public keys are asked for anew; those that are known are good meanwhile.
const FRESH_FOR: Duration = Duration::from_secs(3600);
/// Where they cannot be had, those that are known are good for so long.
const GOOD_FOR: Duration = Duration::from_secs(24 * 3600);
/// They are asked for no more often, whatever comes.
const ASKED_EVERY: Duration = Duration::from_secs(60);
const LARGEST_LIST: usize = 1 << 20;
const MOST: usize = 1000;

/// Ends keys that were found in public.
#[utoipa::path(post, path = "/admin/v1/leaks/github", tag = "leaks", security(()), params(("Github-Public-Key-Identifier" = String, Header), ("Github-Public-Key-Signature" = String, Header)), request_body = Vec<Found>, responses((status = 200, body = Vec<Label>), (status = "4XX", body = Problem)))]
pub async fn report(
    State(gateway): State<Arc<Gateway>>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response<Body>, Problem> {
    let Some(scanner) = &gateway.admin.scanner else {
        let detail = "Leaks are not taken from a scanner here: set admin.github_public_keys to where its public keys are.";
        return Err(Problem::new(StatusCode::NOT_FOUND, "scanner_not_configured", detail));
    };
    let body = body.map_err(|e| unread(&e, e.status()))?;
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    scanner.verify(text("github-public-key-identifier"), text("github-public-key-signature"), &body).await?;
    let found: Vec<Found> =
        serde_json::from_slice(&body).map_err(|e| Problem::new(StatusCode::BAD_REQUEST, "invalid_json", e.to_string()))?;
    if found.len() > MOST {
        return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_many", format!("Report at most {MOST} keys at a time.")));
    }
    let _alone = once::turn(&gateway).await?;
    let mut labels = Vec::with_capacity(found.len());
    for Found { token, kind, url, source } in found {
        let (place, action) = (format!("{} {}", source.unwrap_or_default(), url.unwrap_or_default()), gateway.config.admin.leaks);
        let texts = std::slice::from_ref(&token);
        let leaks =
            keys::leaked(&*gateway.key_store, &gateway.admin.pepper, texts, place.trim(), action, &Actor::Scanner("github")).await?;
        let is_ours = leaks.iter().any(|leak| leak.id.is_some());
        labels.push(Label { token_raw: token, token_type: kind, label: if is_ours { "true_positive" } else { "false_positive" } });
    }
    gateway.keys.take_in_now().await;
    Ok(axum::Json(labels).into_response())
}

// === impl ScannerKeys ===

impl ScannerKeys {
    /// Keys that are read from a file or a URL when they are needed.
    pub fn new(from: &str) -> Result<Arc<ScannerKeys>, String> {
        let is_at_url = is_at_url(from)?;
        // Only the first of a process can be installed, and all are the same.
        let _ = rustls::crypto::ring::default_provider().install_default();
        // GitHub answers no request that does not name its sender.
        let http = tls::client(tls::BOTH).user_agent(USER_AGENT).timeout(PATIENCE).redirect(reqwest::redirect::Policy::none()).build();
        let http = http.map_err(|e| e.to_string())?;
        Ok(Arc::new(ScannerKeys { from: from.to_owned(), is_at_url, http, known: RwLock::default(), asked: Mutex::default() }))
    }

    /// Why no keys can be read from there, as far as that is known without asking anybody.
    pub fn fault(from: &str) -> Option<String> {
        let cannot_be_read = |e| {
            format!("admin.github_public_keys is {from}, and that file cannot be read ({e}): no leak is taken from a scanner until it can")
        };
        match is_at_url(from) {
            Ok(true) => None,
            Ok(false) => std::fs::File::open(from).err().map(cannot_be_read),
            Err(wrong) => Some(wrong),
        }
    }

    async fn verify(self: &Arc<Self>, identifier: &str, signature: &str, body: &[u8]) -> Result<(), Problem> {
        let wrong = || {
            let detail = "The report is not signed by the scanner: Github-Public-Key-Identifier and Github-Public-Key-Signature have to match its body.";
            Problem::new(StatusCode::UNAUTHORIZED, "signature_wrong", detail)
        };
        // What is no signature is not worth asking whose it is.
        let signature = STANDARD.decode(signature).ok().filter(|signature| !signature.is_empty()).ok_or_else(wrong)?;
        if identifier.is_empty() {
            return Err(wrong());
        }
        let key = self.key(identifier, Instant::now()).await?.ok_or_else(wrong)?;
        let point = point(&key.key).ok_or_else(wrong)?;
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point).verify(body, &signature).map_err(|_| wrong())
    }

    /// The key of that name; none where a list that was just read does not have it, and a problem where none can be read now.
    async fn key(self: &Arc<Self>, identifier: &str, now: Instant) -> Result<Option<PublicKey>, Problem> {
        let known = self.known();
        let age = known.read.map(|read| now.saturating_duration_since(read));
        if let (Some(age), Some(key)) = (age.filter(|age| *age < GOOD_FOR), known.find(identifier)) {
            if age >= FRESH_FOR {
                let keys = Arc::clone(self);
                tokio::spawn(async move { keys.ask(now).await });
            }
            return Ok(Some(key));
        }
        let waits = self.ask(now).await;
        let known = self.known();
        match (waits, known.find(identifier).filter(|_| known.read.is_some_and(|read| now.saturating_duration_since(read) < GOOD_FOR))) {
            (_, Some(key)) => Ok(Some(key)),
            (None, None) => Ok(None),
            (Some(wait), None) => Err(unavailable(wait)),
        }
    }

    /// Reads the list anew, one request at a time and no more than one a minute; how long until the next, where it was not read now.
    async fn ask(&self, now: Instant) -> Option<Duration> {
        let mut asked = self.asked.lock().await;
        let wait = asked.and_then(|asked| ASKED_EVERY.checked_sub(now.saturating_duration_since(asked)));
        if let Some(wait) = wait.filter(|wait| !wait.is_zero()) {
            return Some(wait);
        }
        *asked = Some(now);
        match self.read().await {
            Ok(keys) => {
                let known = Known { read: Some(now), keys: keys.into() };
                *self.known.write().unwrap_or_else(PoisonError::into_inner) = known;
                None
            }
            Err(error) => {
                let age_s = self.known().read.map(|read| now.saturating_duration_since(read).as_secs());
                tracing::error!(
                    error,
                    from = shown(&self.from),
                    age_s,
                    "the scanner's public keys cannot be read: those that are known are good for a day"
                );
                Some(ASKED_EVERY)
            }
        }
    }

    fn known(&self) -> Known {
        self.known.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn read(&self) -> Result<Vec<PublicKey>, String> {
        let text = if self.is_at_url {
            let asked = self.http.get(&self.from).header(header::ACCEPT, "application/json").send().await;
            let mut answer = asked.and_then(reqwest::Response::error_for_status).map_err(|e| e.without_url().to_string())?;
            let mut text = Vec::new();
            while let Some(piece) = answer.chunk().await.map_err(|e| e.without_url().to_string())? {
                text.extend_from_slice(&piece);
                if text.len() > LARGEST_LIST {
                    return Err("the list is larger than 1 MiB".to_owned());
                }
            }
            text
        } else {
            tokio::fs::read(&self.from).await.map_err(|e| e.to_string())?
        };
        serde_json::from_slice::<PublicKeys>(&text).map(|list| list.public_keys).map_err(|e| e.to_string())
    }
}

// === impl Known ===

impl Known {
    fn find(&self, identifier: &str) -> Option<PublicKey> {
        self.keys.iter().find(|key| key.key_identifier == identifier).cloned()
    }
}

/// Whether keys are at a URL, and not in a file.
fn is_at_url(from: &str) -> Result<bool, String> {
    if !from.contains("://") {
        return Ok(false);
    }
    let is_web = from.parse().is_ok_and(|url: reqwest::Url| matches!(url.scheme(), "http" | "https"));
    is_web.then_some(true).ok_or_else(|| format!("admin.github_public_keys '{}' is no http:// or https:// URL, and no file", shown(from)))
}

/// Whose signature it is cannot be told now: the scanner reports again.
fn unavailable(wait: Duration) -> Problem {
    let detail =
        "This report's public key is not known here, and the scanner's list of them cannot be read right now: report again in a moment.";
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "public_keys_unavailable", detail).with_retry_after(wait)
}

/// The point of a P-256 public key in PEM.
fn point(pem: &str) -> Option<Vec<u8>> {
    let encoded: String = pem.lines().map(str::trim).filter(|line| !line.starts_with("-----")).collect();
    let der = STANDARD.decode(encoded).ok()?;
    der.strip_prefix(&SPKI).filter(|point| point.len() == 65).map(<[u8]>::to_vec)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// Whether a key is known: `Err` where that cannot be told.
    async fn asks(keys: &Arc<ScannerKeys>, identifier: &str, at: Instant) -> Result<bool, ()> {
        keys.key(identifier, at).await.map(|key| key.is_some()).map_err(drop)
    }

    #[tokio::test]
    async fn the_list_is_read_once_a_minute_and_a_known_key_waits_for_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        let list = |ids: &[&str]| {
            let keys: Vec<_> = ids.iter().map(|id| serde_json::json!({ "key_identifier": id, "key": "" })).collect();
            std::fs::write(&path, serde_json::json!({ "public_keys": keys }).to_string()).unwrap();
        };
        let keys = ScannerKeys::new(path.to_str().unwrap()).unwrap();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(asks(&keys, "one", at(0)).await, Err(()), "there is no list");
        list(&["one"]);
        assert_eq!(asks(&keys, "one", at(59)).await, Err(()), "it was asked for in this minute");
        assert_eq!(asks(&keys, "none", at(60)).await, Ok(false), "the list was read, and does not have it");
        assert_eq!(asks(&keys, "one", at(60)).await, Ok(true));
        list(&["one", "two"]);
        assert_eq!(asks(&keys, "two", at(119)).await, Err(()));
        assert_eq!(asks(&keys, "two", at(120)).await, Ok(true), "a key that is new is found within a minute");
        let asking = keys.asked.lock().await;
        assert_eq!(asks(&keys, "one", at(7200)).await, Ok(true), "an older list is good while another is asked for");
        drop(asking);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(asks(&keys, "one", at(86_000)).await, Ok(true));
        assert_eq!(asks(&keys, "one", at(90_000)).await, Err(()), "for a day");
    }
}
