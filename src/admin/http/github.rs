//! `POST /admin/v1/leaks/github`: leaks as GitHub's secret scanning partner program reports them, signed instead of with a key.
//!
//! The format: <https://docs.github.com/code-security/secret-scanning/secret-scanning-partner-program>. The body's signature is ECDSA
//! over P-256 with SHA-256, as ASN.1 in base64; the public keys are at an address that the configuration names.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::State;
use axum::response::IntoResponse;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode};
use ring::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use utoipa::ToSchema;

use super::Problem;
use crate::admin::keys;
use crate::gateway::Gateway;
use crate::store::audit::Actor;

/// The public keys of a scanner, read when a report comes and kept for a while.
pub struct ScannerKeys {
    /// A file's path, or a URL.
    from: String,
    http: reqwest::Client,
    known: Mutex<Option<(Instant, Vec<PublicKey>)>>,
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
    #[serde(default)]
    url: String,
    #[serde(default)]
    source: String,
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
const PATIENCE: Duration = Duration::from_secs(10);
/// How long public keys are good, and how soon an unknown one makes us ask again.
const KEPT_FOR: Duration = Duration::from_secs(3600);
const ASKED_AGAIN: Duration = Duration::from_secs(10);
const LARGEST_LIST: usize = 1 << 20;
const MOST: usize = 1000;

/// Ends keys that were found in public.
#[utoipa::path(post, path = "/admin/v1/leaks/github", tag = "leaks", security(()), params(("Github-Public-Key-Identifier" = String, Header), ("Github-Public-Key-Signature" = String, Header)), request_body = Vec<Found>, responses((status = 200, body = Vec<Label>), (status = "4XX", body = Problem)))]
pub async fn report(State(gateway): State<Arc<Gateway>>, headers: HeaderMap, body: Bytes) -> Result<Response<Body>, Problem> {
    let Some(scanner) = &gateway.admin.scanner else {
        let detail = "Leaks are not taken from a scanner here: set admin.github_public_keys to where its public keys are.";
        return Err(Problem::new(StatusCode::NOT_FOUND, "scanner_not_configured", detail));
    };
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    scanner.verify(text("github-public-key-identifier"), text("github-public-key-signature"), &body).await?;
    let found: Vec<Found> =
        serde_json::from_slice(&body).map_err(|e| Problem::new(StatusCode::BAD_REQUEST, "invalid_json", e.to_string()))?;
    if found.len() > MOST {
        return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_many", format!("Report at most {MOST} keys at a time.")));
    }
    let _alone = gateway.admin.changing.lock().await;
    let mut labels = Vec::with_capacity(found.len());
    for Found { token, kind, url, source } in found {
        let (place, action) = (format!("{source} {url}"), gateway.config.admin.leaks);
        let texts = std::slice::from_ref(&token);
        let leaks =
            keys::leaked(&*gateway.key_store, &gateway.admin.pepper, texts, place.trim(), action, &Actor::Scanner("github")).await?;
        let is_ours = leaks.iter().any(|leak| leak.id.is_some());
        labels.push(Label { token_raw: token, token_type: kind, label: if is_ours { "true_positive" } else { "false_positive" } });
    }
    Ok(axum::Json(labels).into_response())
}

// === impl ScannerKeys ===

impl ScannerKeys {
    /// Keys that are read from a file or a URL when they are needed.
    pub fn new(from: &str) -> Result<ScannerKeys, String> {
        let http = reqwest::Client::builder().timeout(PATIENCE).redirect(reqwest::redirect::Policy::none()).build();
        Ok(ScannerKeys { from: from.to_owned(), http: http.map_err(|e| e.to_string())?, known: Mutex::default() })
    }

    async fn verify(&self, identifier: &str, signature: &str, body: &[u8]) -> Result<(), Problem> {
        let wrong = || {
            let detail = "The report is not signed by the scanner: Github-Public-Key-Identifier and Github-Public-Key-Signature have to match its body.";
            Problem::new(StatusCode::UNAUTHORIZED, "signature_wrong", detail)
        };
        if identifier.is_empty() || signature.is_empty() {
            return Err(wrong());
        }
        let key = self.key(identifier).await?.ok_or_else(wrong)?;
        let (point, signature) = (point(&key.key).ok_or_else(wrong)?, STANDARD.decode(signature).map_err(|_| wrong())?);
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point).verify(body, &signature).map_err(|_| wrong())
    }

    async fn key(&self, identifier: &str) -> Result<Option<PublicKey>, Problem> {
        let mut known = self.known.lock().await;
        let find = |keys: &[PublicKey]| keys.iter().find(|key| key.key_identifier == identifier).cloned();
        if let Some((since, keys)) = known.as_ref() {
            let found = find(keys);
            // Whoever makes identifiers up does not make us ask for keys each time.
            if (found.is_some() && since.elapsed() < KEPT_FOR) || since.elapsed() < ASKED_AGAIN {
                return Ok(found);
            }
        }
        let keys = self.read().await.map_err(|e| {
            tracing::error!(error = e, from = self.from, "the scanner's public keys cannot be read");
            let detail = "The scanner's public keys cannot be read right now: report again in a moment.";
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "public_keys_unavailable", detail)
        })?;
        let found = find(&keys);
        *known = Some((Instant::now(), keys));
        Ok(found)
    }

    async fn read(&self) -> Result<Vec<PublicKey>, String> {
        let text = if self.from.starts_with("http://") || self.from.starts_with("https://") {
            let mut answer =
                self.http.get(&self.from).send().await.and_then(reqwest::Response::error_for_status).map_err(|e| e.to_string())?;
            let mut text = Vec::new();
            while let Some(piece) = answer.chunk().await.map_err(|e| e.to_string())? {
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

/// The point of a P-256 public key in PEM.
fn point(pem: &str) -> Option<Vec<u8>> {
    let encoded: String = pem.lines().map(str::trim).filter(|line| !line.starts_with("-----")).collect();
    let der = STANDARD.decode(encoded).ok()?;
    der.strip_prefix(&SPKI).filter(|point| point.len() == 65).map(<[u8]>::to_vec)
}
