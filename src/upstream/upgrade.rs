//! Opens a WebSocket to a provider: the handshake is a request like any other, with the credential and errors of any other.
//!
//! Source: RFC 6455, section 4.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use reqwest::Url;
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use ring::rand::{SecureRandom, SystemRandom};

use super::refused::{READ_ERROR, attempt_by, judge_credential, unsigned};
use super::{Client, Failure, Partial, Source, Who, error_text, read_up_to, retry_after};
use crate::route::{Attempt, Endpoint, LiveProvider, Target};

/// How a provider answered the handshake.
pub enum Upgraded {
    /// The connection, for frames.
    Open(Box<reqwest::Upgraded>),
    /// The provider's own error.
    Refused {
        /// Its status.
        status: StatusCode,
        /// What it said, with nothing of our credential in it.
        text: String,
        /// When it wants to be asked again.
        retry_after: Option<Duration>,
    },
}

// === impl Client ===

impl Client {
    /// Asks for a WebSocket at `url`; connection and handshake together may take as long as any connection.
    pub async fn open_websocket(&self, url: Url, endpoint: &Endpoint, target: &Target, forwarded: HeaderMap) -> Result<Upgraded, Failure> {
        let provider = &*target.provider;
        let who = || Who::of(provider);
        let attempt = attempt_by(target)?;
        let key = new_key().map_err(|why| Failure::Unsigned { provider: who(), why })?;
        let mut headers = endpoint.headers.clone();
        forwarded.into_iter().filter_map(|(name, value)| Some((name?, value))).for_each(|(name, value)| {
            headers.insert(name, value);
        });
        if let Some(signer) = &endpoint.signer {
            signer.sign(&url, &[], &mut headers).await.map_err(|why| unsigned(why, provider, attempt.as_ref()))?;
        }
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        headers.insert(header::SEC_WEBSOCKET_KEY, key.clone());
        let after = self.settings.connect_timeout;
        let sent = tokio::time::timeout(after, self.upgrading.get(url).headers(headers).send());
        let response = match sent.await {
            Err(_) => return Err(Failure::TimedOut { provider: who(), after }),
            Ok(Ok(response)) => response,
            Ok(Err(e)) if e.is_connect() => return Err(Failure::of_connecting(&who(), &e.without_url())),
            Ok(Err(e)) => return Err(Failure::of_sending(&who(), &e.without_url())),
        };
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return self.refused(response, endpoint, provider, attempt.as_ref()).await;
        }
        if response.headers().get(header::SEC_WEBSOCKET_ACCEPT) != accept_key(&key).as_ref() {
            return Err(Failure::BadAnswer { provider: who(), why: "its WebSocket handshake does not answer ours".to_owned() });
        }
        let upgraded = response.upgrade().await.map_err(|e| Failure::of_breaking_off(&who(), &e.without_url()))?;
        attempt.iter().for_each(Attempt::accepted);
        Ok(Upgraded::Open(Box::new(upgraded)))
    }

    async fn refused(
        &self,
        response: reqwest::Response,
        endpoint: &Endpoint,
        provider: &LiveProvider,
        attempt: Option<&Attempt<'_>>,
    ) -> Result<Upgraded, Failure> {
        let (status, retry_after) = (response.status(), retry_after(response.headers()));
        if status.is_success() {
            let why = format!("status {} where a WebSocket was asked for", status.as_u16());
            return Err(Failure::bad_answer(provider, why));
        }
        let body = Source::Network(response.into());
        let (status, mut body) = judge_credential(status, body, endpoint, provider, attempt, self.idle_timeout(), &|_| false).await?;
        let text = read_up_to(&mut body, READ_ERROR, self.idle_timeout()).await.unwrap_or_else(Partial::read);
        Ok(Upgraded::Refused { status, text: error_text(status, &text, provider)?, retry_after })
    }
}

/// What proves that a handshake was read: the key and a fixed text, hashed (RFC 6455, section 4.2.2).
pub fn accept_key(key: &HeaderValue) -> Option<HeaderValue> {
    let text = [key.as_bytes(), b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"].concat();
    HeaderValue::try_from(STANDARD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, &text))).ok()
}

fn new_key() -> Result<HeaderValue, String> {
    let mut bytes = [0; 16];
    SystemRandom::new().fill(&mut bytes).map_err(|_| "the system has no randomness to give".to_owned())?;
    HeaderValue::try_from(STANDARD.encode(bytes)).map_err(|e| e.to_string())
}
