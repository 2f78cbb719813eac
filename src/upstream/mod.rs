//! Room 6: one client for all providers: send, stream, deadlines, and another attempt before the first byte only.

mod answer;
mod failure;
mod pieces;
pub mod pool;
pub mod simulator;

use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::BodyExt;

pub use answer::{AnswerBody, Source, Watch};
pub use failure::{Failure, Who};

use crate::catalog::Operation;
use crate::config;
use crate::dialect::openai::request::{Ask, Pieces};
use crate::route::{Address, Endpoint, LiveProvider, Target};
use pieces::PiecesBody;
use pool::{Connector, SendError};

/// The client that all requests to providers go through.
pub struct Client {
    /// The hot path: see [`pool`].
    connector: Connector,
    /// Everything else.
    http: reqwest::Client,
    settings: config::Upstream,
}

/// What a provider answered, with its body still to come.
pub struct Answer {
    /// The status and headers as they came.
    pub head: http::response::Parts,
    /// The body as it comes.
    pub body: Source,
    /// Which of the targets answered.
    pub target: usize,
}

/// Statuses that say that another attempt may fare better. 529 is Anthropic's "overloaded".
const TRANSIENT: [u16; 7] = [408, 429, 500, 502, 503, 504, 529];
const USER_AGENT: &str = concat!("keyward/", env!("CARGO_PKG_VERSION"));
const FIRST_BACKOFF: Duration = Duration::from_millis(250);

// === impl Client ===

impl Client {
    /// A client with these deadlines.
    pub fn new(settings: &config::Upstream) -> Result<Client, Box<dyn std::error::Error + Send + Sync>> {
        // Only the first of a process can be installed, and all are the same.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .connect_timeout(settings.connect_timeout)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(USER_AGENT)
            .tcp_keepalive(Duration::from_secs(60))
            .build()?;
        Ok(Client { connector: Connector::new(settings.connect_timeout)?, http, settings: settings.clone() })
    }

    /// How long an answer may be silent between two pieces.
    pub fn idle_timeout(&self) -> Duration {
        self.settings.idle_timeout
    }

    /// Sends a request to the first target that takes it; tried in turn until one answers or the attempts are used up.
    pub async fn call(&self, ask: &Ask, targets: &[Target], headers: &HeaderMap) -> Result<Answer, Failure> {
        let mut wait = FIRST_BACKOFF;
        let mut last = None;
        for attempt in 0..self.settings.attempts as usize {
            let index = attempt % targets.len();
            if attempt > 0 && index == 0 {
                tokio::time::sleep(wait.min(self.settings.max_backoff)).await;
                wait *= 2;
            }
            let outcome = self.attempt(ask, &targets[index], headers).await.map(|(head, body)| Answer { head, body, target: index });
            let is_last = attempt + 1 == self.settings.attempts as usize;
            match &outcome {
                Ok(answer) if !TRANSIENT.contains(&answer.head.status.as_u16()) => return outcome,
                Err(failure) if !failure.is_worth_another_attempt() && targets.len() == 1 => return outcome,
                Ok(answer) if !is_last => {
                    let asked = retry_after(&answer.head.headers);
                    let alone = targets.len() == 1;
                    if alone && asked.is_some_and(|asked| asked > self.settings.max_backoff) {
                        return outcome;
                    }
                    wait = asked.unwrap_or(wait).max(wait);
                }
                _ => {}
            }
            // An answer of a provider says more than a failure to reach one.
            if !matches!((&last, &outcome), (Some(Ok(_)), Err(_))) {
                last = Some(outcome);
            }
        }
        last.unwrap_or(Err(Failure::NoTarget))
    }

    /// Asks for the list of models beside an endpoint, and tells the status alone.
    pub async fn list_models(&self, endpoint: &Endpoint) -> Result<StatusCode, String> {
        let text = endpoint.url.as_str();
        let base = ["/chat/completions", "/responses"].iter().find_map(|path| text.strip_suffix(path)).unwrap_or(text);
        let url = reqwest::Url::parse(&format!("{base}/models")).map_err(|e| e.to_string())?;
        let request = self.http.get(url).headers(endpoint.headers.clone()).timeout(self.settings.connect_timeout);
        request.send().await.map(|response| response.status()).map_err(|e| e.without_url().to_string())
    }

    async fn attempt(&self, ask: &Ask, target: &Target, headers: &HeaderMap) -> Result<(http::response::Parts, Source), Failure> {
        let provider = &target.provider;
        let endpoint = target.endpoint(ask.operation).map_err(Failure::Unserved)?;
        let pieces = ask.encode(&target.model, &provider.quirks);
        if endpoint.is_simulator {
            let (head, body) = simulator::answer(ask.operation, &pieces.concat()).into_parts();
            return Ok((head, Source::Ready(Some(body))));
        }
        if let Some((credential, rest)) = provider.credential.as_ref().and_then(|c| Some((c, c.rests_for()?))) {
            return Err(Failure::CredentialRefused { provider: Who::of(provider), variable: credential.variable.clone(), rest });
        }
        let response = self.send(endpoint, headers, pieces, provider).await?;
        let (head, body) = response.into_parts();
        if let Some(credential) = &provider.credential {
            match head.status {
                StatusCode::UNAUTHORIZED => {
                    let rest = credential.refused();
                    tracing::warn!(
                        provider = provider.id,
                        variable = credential.variable,
                        rest_s = rest.as_secs(),
                        "the provider refused our credential"
                    );
                    return Err(Failure::CredentialRefused { provider: Who::of(provider), variable: credential.variable.clone(), rest });
                }
                status if status.is_success() => credential.accepted(),
                _ => {}
            }
        }
        Ok((head, body))
    }

    async fn send(
        &self,
        endpoint: &Endpoint,
        headers: &HeaderMap,
        pieces: Pieces,
        provider: &LiveProvider,
    ) -> Result<Response<Source>, Failure> {
        let deadline = self.settings.first_byte_timeout;
        match tokio::time::timeout(deadline, self.send_without_deadline(endpoint, headers, pieces, provider)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Failure::TimedOut { provider: Who::of(provider), after: deadline }),
        }
    }

    async fn send_without_deadline(
        &self,
        endpoint: &Endpoint,
        headers: &HeaderMap,
        pieces: Pieces,
        provider: &LiveProvider,
    ) -> Result<Response<Source>, Failure> {
        if let Some(address) = &endpoint.address {
            match self.connector.send(address, || pooled_request(endpoint, address, headers, &pieces)).await {
                Ok(response) => return Ok(response.map(Source::Pooled)),
                Err(SendError::Elsewhere) => {}
                Err(SendError::Connect(e)) => return Err(Failure::of_connecting(&Who::of(provider), &*e)),
                Err(SendError::Http(e)) => return Err(Failure::of_sending(&Who::of(provider), &e)),
            }
        }
        let mut request = reqwest::Request::new(Method::POST, endpoint.url.clone());
        write_headers(request.headers_mut(), endpoint, headers);
        *request.body_mut() = Some(reqwest::Body::wrap(PiecesBody::new(&pieces)));
        match self.http.execute(request).await.map_err(reqwest::Error::without_url) {
            Ok(response) => Ok(Response::from(response).map(Source::Network)),
            Err(e) if e.is_connect() => Err(Failure::of_connecting(&Who::of(provider), &e)),
            Err(e) => Err(Failure::of_sending(&Who::of(provider), &e)),
        }
    }
}

fn pooled_request(endpoint: &Endpoint, address: &Address, headers: &HeaderMap, pieces: &Pieces) -> Request<PiecesBody> {
    let mut request = Request::new(PiecesBody::new(pieces));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = address.path.clone();
    request.headers_mut().reserve(headers.len() + endpoint.headers.len() + 3);
    request.headers_mut().insert(header::HOST, address.host.clone());
    request.headers_mut().insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
    write_headers(request.headers_mut(), endpoint, headers);
    request
}

/// The caller's headers, those of the provider over them, and what the body is.
fn write_headers(to: &mut HeaderMap, endpoint: &Endpoint, forwarded: &HeaderMap) {
    for (name, value) in forwarded.iter().chain(&endpoint.headers) {
        to.insert(name.clone(), value.clone());
    }
    to.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
}

/// Reads a whole body of up to `limit` bytes; the bytes read so far where it is longer or breaks off.
pub async fn read_up_to(body: &mut Source, limit: usize, idle: Duration) -> Result<bytes::Bytes, Partial> {
    let mut pieces: Vec<bytes::Bytes> = Vec::new();
    let mut size = 0;
    loop {
        let frame = match tokio::time::timeout(idle, body.frame()).await {
            Ok(frame) => frame,
            Err(_) => return Err(Partial::TimedOut),
        };
        match frame {
            None => break,
            Some(Err(_)) => return Err(Partial::BrokeOff),
            Some(Ok(frame)) => {
                let Ok(data) = frame.into_data() else { continue };
                size += data.len();
                pieces.push(data);
                if size > limit {
                    return Err(Partial::TooLong(pieces));
                }
            }
        }
    }
    Ok(match pieces.len() {
        1 => pieces.swap_remove(0),
        _ => pieces.concat().into(),
    })
}

/// A body that was not read to its end.
pub enum Partial {
    /// Longer than asked for: what was read, with more to come.
    TooLong(Vec<bytes::Bytes>),
    /// The provider broke off.
    BrokeOff,
    /// The provider fell silent.
    TimedOut,
}

/// `retry-after` in seconds or as a date (RFC 9110, section 10.2.3).
pub fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let date = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
    Duration::try_from(date.duration_since(jiff::Timestamp::now())).ok()
}

/// The caller's headers that mean something to a provider.
pub fn headers_to_forward(operation: Operation, from: &HeaderMap) -> HeaderMap {
    const FORWARDED: [&str; 3] = ["openai-beta", "idempotency-key", "x-client-request-id"];
    let mut headers = HeaderMap::with_capacity(8);
    let accept = match operation {
        Operation::Embeddings => "application/json",
        _ => "application/json, text/event-stream",
    };
    headers.insert(header::ACCEPT, HeaderValue::from_static(accept));
    for name in FORWARDED {
        if let Some(value) = from.get(name) {
            headers.insert(http::HeaderName::from_static(name), value.clone());
        }
    }
    headers
}
