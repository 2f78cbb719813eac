//! Bearer tokens with a short life: held, fetched anew before they end, by one at a time and never for every request.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use http::{HeaderValue, StatusCode, header};
use http_body_util::{BodyExt as _, Limited};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::{Unsigned, client_credentials, entra, google};
use crate::route::{Secret, Trace};
use crate::upstream::tls;

/// The token of one credential.
pub struct Tokens {
    source: Source,
    whose: Whose,
    held: RwLock<Held>,
    /// Held by whoever fetches.
    fetching: Arc<tokio::sync::Mutex<()>>,
}

/// Whose tokens they are, for the log.
#[derive(Clone, Debug)]
pub struct Whose {
    /// The provider's id; none where the credential is no provider's.
    pub provider: Option<String>,
    /// What the credential is from.
    pub credential: String,
}

/// Where tokens are from.
pub enum Source {
    /// Google's OAuth server, or a machine's metadata server.
    Google(google::Account),
    /// Microsoft Entra.
    Entra(entra::Application),
    /// Any OAuth server, for a client's secret.
    Client(client_credentials::Client),
}

/// What a token server grants.
#[derive(Debug, Deserialize)]
pub struct Granted {
    access_token: String,
    /// In seconds, where that is told.
    #[serde(default, deserialize_with = "seconds")]
    expires_in: Option<Duration>,
}

#[derive(Default)]
struct Held {
    token: Option<Token>,
    /// The last failure, and when it was.
    failed: Option<(Instant, Unsigned)>,
}

struct Token {
    header: HeaderValue,
    /// Whoever is sent it may repeat it.
    trace: Option<Trace>,
    /// From then on a new one is fetched, while this one is still used.
    fresh_until: Instant,
    good_until: Instant,
}

/// A token is renewed so long before its end, or at half of a life that is shorter than twice that.
const EARLY: Duration = Duration::from_secs(300);
/// After a failure nobody asks again for so long.
const REST: Duration = Duration::from_secs(5);
const PATIENCE: Duration = Duration::from_secs(15);
/// Of a server's description of an error so much is told.
const QUOTED: usize = 200;
/// A shorter value of a form may be a word of anybody's.
const SHORTEST_HIDDEN: usize = 8;

/// The life of a token of which none is told, and the longest that is believed.
const USUAL_LIFE: Duration = Duration::from_secs(3600);
const LONGEST_LIFE: Duration = Duration::from_secs(30 * 24 * 3600);
/// A token server's answer is no longer.
const MOST_BYTES: usize = 1 << 20;

/// What servers say where it is the client that gets no token (RFC 6749, section 5.2), with Google's and Microsoft's own.
const REFUSED: [&str; 11] = [
    "invalid_request",
    "invalid_client",
    "invalid_grant",
    "unauthorized_client",
    "unsupported_grant_type",
    "invalid_scope",
    "access_denied",
    "deleted_client",
    "disabled_client",
    "admin_policy_enforced",
    "invalid_resource",
];

/// A number, or one that is written as a text, as some servers do; anything else tells nothing.
fn seconds<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
    let told = Value::deserialize(from)?;
    let number = told.as_f64().or_else(|| told.as_str()?.trim().parse().ok());
    Ok(number.filter(|number| *number >= 0.0).map(|number| Duration::try_from_secs_f64(number).unwrap_or(LONGEST_LIFE)))
}

/// What a form encodes; servers that read HTTP Basic as it comes are served so by most ids and secrets.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Why there is no token.
#[derive(Debug)]
pub struct Refused {
    /// The server does not take the client for who it says it is, in the way that it says so.
    pub is_of_client: bool,
    /// The server does not take the request as it is, whoever asks.
    pub is_of_request: bool,
    /// What becomes of what wants a token.
    pub why: Unsigned,
}

// === impl Tokens ===

impl Tokens {
    /// Of a source; nothing is fetched yet.
    pub fn new(source: Source, whose: Whose) -> Arc<Tokens> {
        Arc::new(Tokens { source, whose, held: RwLock::default(), fetching: Arc::default() })
    }

    /// The value of `authorization`; the error says why there is none.
    pub async fn get(self: &Arc<Tokens>) -> Result<HeaderValue, Unsigned> {
        if let Some((token, is_fresh)) = self.held() {
            if !is_fresh {
                self.renew();
            }
            return Ok(token);
        }
        let _alone = self.fetching.lock().await;
        if let Some((token, _)) = self.held() {
            return Ok(token);
        }
        if let Some((when, why)) = &self.read().failed
            && when.elapsed() < REST
        {
            return Err(why.clone());
        }
        self.fetch().await
    }

    /// What finds the token that is held.
    pub fn trace(&self) -> Option<Trace> {
        self.read().token.as_ref()?.trace.clone()
    }

    /// The token that is held is no good.
    pub fn forget(&self) {
        self.write().token = None;
    }

    fn held(&self) -> Option<(HeaderValue, bool)> {
        let (held, now) = (self.read(), Instant::now());
        let token = held.token.as_ref().filter(|token| now < token.good_until)?;
        Some((token.header.clone(), now < token.fresh_until))
    }

    /// Fetches in the background, unless somebody does already or just failed to.
    fn renew(self: &Arc<Tokens>) {
        let rests = self.read().failed.as_ref().is_some_and(|(when, _)| when.elapsed() < REST);
        if rests {
            return;
        }
        if let Ok(alone) = Arc::clone(&self.fetching).try_lock_owned() {
            let this = Arc::clone(self);
            tokio::spawn(async move {
                if let Err(why) = this.fetch().await {
                    let Whose { provider, credential } = &this.whose;
                    tracing::warn!(
                        provider,
                        credential,
                        why = why.told,
                        "a provider's token could not be renewed; the one that is held goes on until its end"
                    );
                }
                drop(alone);
            });
        }
    }

    async fn fetch(&self) -> Result<HeaderValue, Unsigned> {
        let granted = match &self.source {
            Source::Google(account) => account.fetch().await,
            Source::Entra(application) => application.fetch().await,
            Source::Client(client) => client.fetch().await,
        };
        let token = granted.and_then(|granted| granted.into_token().map_err(Unsigned::from));
        let mut held = self.write();
        match token {
            Ok(token) => {
                let header = token.header.clone();
                *held = Held { token: Some(token), failed: None };
                Ok(header)
            }
            Err(why) => {
                if why.is_refused || why.described.is_some() {
                    let Whose { provider, credential } = &self.whose;
                    tracing::warn!(provider, credential, why = why.told, description = why.described, "a token server refuses");
                }
                held.failed = Some((Instant::now(), why.clone()));
                Err(why)
            }
        }
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Held> {
        self.held.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Held> {
        self.held.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tokens(…)")
    }
}

impl From<String> for Refused {
    fn from(told: String) -> Refused {
        Refused { is_of_client: false, is_of_request: false, why: told.into() }
    }
}

// === impl Granted ===

impl Granted {
    fn into_token(self) -> Result<Token, String> {
        let header = HeaderValue::try_from(format!("Bearer {}", self.access_token));
        let mut header = header.map_err(|_| "the token server's token holds characters that no header can carry".to_owned())?;
        header.set_sensitive(true);
        let (now, lives) = (Instant::now(), self.expires_in.unwrap_or(USUAL_LIFE).min(LONGEST_LIFE));
        let trace = Trace::of(&Secret::new(self.access_token));
        Ok(Token { header, trace, fresh_until: now + lives.saturating_sub(EARLY).max(lives / 2), good_until: now + lives })
    }
}

/// Asks a token server by a form.
pub async fn post_form(url: &str, form: &[(&str, &str)]) -> Result<Granted, Unsigned> {
    ask(url, form, None).await.map_err(|refused| refused.why)
}

/// The same, where a client may say by HTTP Basic who it is: by its id and its secret, encoded as in a form.
pub async fn ask(url: &str, form: &[(&str, &str)], basic: Option<(&str, &Secret)>) -> Result<Granted, Refused> {
    let encoded = |text: &str| utf8_percent_encode(text, ENCODED).to_string();
    let body: Vec<String> = form.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect();
    let request = client()?.post(url).header(header::CONTENT_TYPE, "application/x-www-form-urlencoded").body(body.join("&"));
    let sent: Vec<&str> = form.iter().map(|(_, value)| *value).chain(basic.map(|(_, secret)| secret.expose())).collect();
    let request = match basic {
        Some((id, secret)) => request.basic_auth(encoded(id), Some(encoded(secret.expose()))),
        None => request,
    };
    send(request, &sent).await
}

/// Asks a machine's metadata server.
pub async fn get(url: &str) -> Result<Granted, Unsigned> {
    send(client()?.get(url).header("metadata-flavor", "Google"), &[]).await.map_err(|refused| refused.why)
}

/// A client of its own: it is needed once an hour.
fn client() -> Result<reqwest::Client, String> {
    let builder = tls::client(tls::BOTH).timeout(PATIENCE).redirect(reqwest::redirect::Policy::none());
    builder.build().map_err(|e| format!("no token server can be asked ({e})"))
}

/// What is wrong with JSON, with nothing that stands in it.
fn class(why: &serde_json::Error) -> String {
    let what = if why.is_data() { "a member is missing, or of another type" } else { "it cannot be read" };
    format!("{what}, at line {} column {}", why.line(), why.column())
}

/// What a server says, without what it was sent.
fn quoted(said: &str, sent: &[&str]) -> String {
    let hidden = sent.iter().filter(|value| value.len() >= SHORTEST_HIDDEN).fold(said.to_owned(), |said, value| said.replace(value, "…"));
    hidden.chars().take(QUOTED).collect()
}

async fn send(request: reqwest::RequestBuilder, sent: &[&str]) -> Result<Granted, Refused> {
    let unreachable = |e: reqwest::Error| format!("its token server could not be reached ({})", e.without_url());
    let response = request.send().await.map_err(unreachable)?;
    let status = response.status();
    let body = Limited::new(http::Response::<reqwest::Body>::from(response).into_body(), MOST_BYTES).collect().await;
    let body = body.map_err(|_| format!("its token server's answer broke off, or is longer than {} MiB", MOST_BYTES >> 20))?.to_bytes();
    if status.is_success() {
        let granted = serde_json::from_slice::<Granted>(&body);
        return granted.map_err(|why| format!("its token server's answer is no JSON with an 'access_token' ({})", class(&why)).into());
    }
    let error = serde_json::from_slice::<Value>(&body).unwrap_or_default();
    // Its description may repeat what it was sent, and names the application: that is for whoever runs this gateway.
    let said = quoted(error["error"].as_str().unwrap_or_default(), sent);
    let described = error["error_description"].as_str().map(|description| quoted(description, sent));
    // A server that is down, or somebody before it, says nothing of the credential.
    let is_final = matches!(status, StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
    let is_refused = is_final && REFUSED.contains(&said.as_str());
    let is_of_client = error["error"] == "invalid_client" || status == StatusCode::UNAUTHORIZED;
    // A resource that is refused as one is no reason to ask for a token to all of them.
    let is_of_request = status == StatusCode::BAD_REQUEST && !is_of_client && error["error"] != "invalid_target";
    let told = format!("its token server answered with status {} {said}", status.as_u16()).trim_end().to_owned();
    Err(Refused { is_of_client, is_of_request, why: Unsigned { is_refused, told, described } })
}
