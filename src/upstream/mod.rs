//! Room 6: one client for all providers: send, stream, deadlines, and another attempt before the first byte only.

mod answer;
mod attempts;
mod blame;
mod conceal;
mod errand;
mod failure;
mod fetch;
mod forward;
mod http1;
mod pieces;
pub mod pool;
mod refused;
pub mod sign;
pub mod simulator;
pub mod tls;
mod upgrade;

use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use http_body_util::BodyExt;

pub use answer::{AnswerBody, Source, Watch};
use attempts::FIRST_BACKOFF;
pub use attempts::{Failed, Payer, is_transient};
pub use conceal::{Concealer, without_secret};
pub use errand::{Errand, Load};
pub use failure::{Failure, Who};
pub use fetch::media_of;
use fetch::{Fetched, Fetcher};
pub use refused::{READ_ERROR, error_text, repeats_secret, without_traces};
use refused::{attempt_by, judge_credential, unsigned};
pub use upgrade::{Upgraded, accept_key};

use crate::catalog::Dialect;
use crate::catalog::model::Within;
use crate::config;
use crate::dialect::ask::{Ask, Pieces, with_max_price, with_quirks};
use crate::dialect::ir::Dropped;
use crate::dialect::{Asked, Form, Meant, To, codec, meant, translate, wire};
use crate::error::{Billed, Refusal};
use crate::key::diagnose::holds_escaped_key;
use crate::route::{Attempt, Endpoint, LiveProvider, Place, Target};
use pieces::PiecesBody;
use pool::{Connector, SendError};

/// The client that all requests to providers go through.
pub struct Client {
    /// The hot path: see [`pool`].
    connector: Connector,
    /// Everything else.
    http: reqwest::Client,
    /// What begins as HTTP/1.1 and goes on as something else.
    upgrading: reqwest::Client,
    fetcher: Fetcher,
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
    /// In which dialect.
    pub dialect: Dialect,
    /// What of the request its dialect could not say.
    pub dropped: Dropped,
}

/// Answers are read: a server that is told nothing may encode them as it likes (RFC 9110, section 12.5.3).
const IDENTITY: HeaderValue = HeaderValue::from_static("identity");
const USER_AGENT: &str = concat!("keyward/", env!("CARGO_PKG_VERSION"));
/// The answer to one of several calls is read up to this size.
const LONGEST_PART: usize = 16 << 20;
/// Where a provider lists its models, by where it chats.
const LISTS: [(&str, &str); 5] = [
    ("/chat/completions", "/models"),
    ("/responses", "/models"),
    ("/messages", "/models"),
    ("/models/model:generateContent", "/models"),
    ("/api/chat", "/api/tags"),
];
/// A whole answer up to this size is read before it is passed on, so that a broken one is an error and not half an answer.
pub const READ_WHOLE: usize = 1 << 20;

// === impl Client ===

impl Client {
    /// A client with these deadlines.
    pub fn new(settings: &config::Upstream, fetch: &config::Fetch) -> Result<Client, Box<dyn std::error::Error + Send + Sync>> {
        // Only the first of a process can be installed, and all are the same.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let builder = |protocols| {
            let builder = tls::client(protocols);
            #[cfg(target_os = "linux")]
            let builder = builder.tcp_user_timeout(pool::UNHEARD_FOR);
            builder
                .connect_timeout(settings.connect_timeout)
                .redirect(reqwest::redirect::Policy::none())
                .user_agent(USER_AGENT)
                .tcp_keepalive(Duration::from_secs(60))
                // Who reads nothing of a connection of HTTP/2 keeps what one stream may hold, and never the whole of it.
                .http2_initial_stream_window_size(1 << 20)
                .http2_initial_connection_window_size(i32::MAX as u32)
                .http2_keep_alive_interval(Duration::from_secs(20))
                .http2_keep_alive_timeout(Duration::from_secs(10))
        };
        let (http, upgrading) = (builder(tls::BOTH).build()?, builder(tls::HTTP1).http1_only().pool_max_idle_per_host(0).build()?);
        let (connector, fetcher) = (Connector::new(settings.connect_timeout)?, Fetcher::new(fetch)?);
        Ok(Client { connector, http, upgrading, fetcher, settings: settings.clone() })
    }

    /// How long an answer may be silent between two pieces.
    pub fn idle_timeout(&self) -> Duration {
        self.settings.idle_timeout
    }

    /// Asks for the list of models beside an endpoint, and tells the status alone.
    pub async fn list_models(&self, endpoint: &Endpoint) -> Result<StatusCode, String> {
        let chat = endpoint.place("model", Form::Whole)?;
        let text = chat.url.as_str();
        let found = LISTS.iter().find_map(|(chat, list)| Some(format!("{}{list}", text.strip_suffix(chat)?)));
        let url = reqwest::Url::parse(&found.ok_or("its dialect has no list of models")?).map_err(|e| e.to_string())?;
        let request = self.http.get(url).headers(endpoint.headers.clone()).timeout(self.settings.connect_timeout);
        request.send().await.map(|response| response.status()).map_err(|e| failure::root_cause(&e.without_url()))
    }

    /// Whether there is a list of models to ask for.
    pub fn lists_models(endpoint: &Endpoint) -> bool {
        endpoint.place("model", Form::Whole).is_ok_and(|chat| LISTS.iter().any(|(path, _)| chat.url.as_str().ends_with(path)))
    }

    async fn attempt(
        &self,
        ask: &Ask,
        meant: Option<&Meant>,
        target: &Target,
        headers: &HeaderMap,
        fetched: &Fetched,
        payer: &dyn Payer,
    ) -> Result<Answer, Failure> {
        let provider = &target.provider;
        let endpoint = target.endpoint(ask.called.operation, ask.called.dialect).map_err(Failure::Unserved)?;
        let (mut calls, dropped) = match meant.filter(|_| endpoint.dialect != ask.called.dialect) {
            None => (vec![ask.encode(&target.model, &endpoint.quirks)], Dropped::default()),
            Some(Meant::Chat(asked)) => {
                let (pieces, dropped) = Box::pin(self.translated(asked, target, endpoint, fetched)).await?;
                (vec![pieces], dropped)
            }
            Some(meant) => {
                let calls = meant.calls(endpoint.dialect, &target.model);
                let (bodies, dropped) = calls.map_err(|refusal| Failure::Untranslatable(Box::new(refusal)))?;
                (bodies.into_iter().map(|body| with_quirks(&endpoint.quirks, vec![body])).collect(), dropped)
            }
        };
        let max_price = endpoint
            .quirks
            .max_price
            .as_deref()
            .filter(|_| ask.holds_price)
            .zip(target.facts().and_then(|model| model.dearest(Within::ANYTHING)));
        if let Some((place, price)) = max_price {
            calls = calls.into_iter().map(|pieces| with_max_price(place, price, pieces)).collect();
        }
        let answer = |(head, body)| Answer { head, body, target: 0, dialect: endpoint.dialect, dropped };
        let last = calls.pop().unwrap_or_default();
        if endpoint.is_simulator {
            let (head, body) = simulator::answer(endpoint.operation, endpoint.dialect, &last.concat()).into_parts();
            return Ok(answer((head, Source::Ready(Some(body)))));
        }
        let attempt = attempt_by(target)?;
        let place = endpoint.place(&target.model, ask.form()).map_err(|why| Failure::bad_answer(provider, why))?;
        let headers = write_headers(endpoint, (endpoint.dialect == ask.called.dialect).then_some(headers));
        if calls.is_empty() {
            return Ok(answer(self.send_ours(&place, headers, last, endpoint, provider, attempt.as_ref()).await?));
        }
        calls.push(last);
        let send = |pieces| self.send_ours(&place, headers.clone(), pieces, endpoint, provider, attempt.as_ref());
        Ok(answer(Box::pin(self.send_all(calls, endpoint, provider, payer, send)).await?))
    }

    /// Several calls for one request, and their answers as one list; where the first is no success it stands for all. What was answered before
    /// another that is none is billed.
    async fn send_all<F: Future<Output = Result<(http::response::Parts, Source), Failure>>>(
        &self,
        calls: Vec<Pieces>,
        endpoint: &Endpoint,
        provider: &LiveProvider,
        payer: &dyn Payer,
        send: impl Fn(Pieces) -> F,
    ) -> Result<(http::response::Parts, Source), Failure> {
        let mut answers = Vec::with_capacity(calls.len());
        let mut last = None;
        let all = calls.len();
        for pieces in calls {
            let (is_first, answered) = (answers.is_empty(), [answers.len(), all]);
            let in_part = |why| Failure::InPart { provider: Who::of(provider), answered, why };
            let failed = |failure| match failure {
                failure if is_first || matches!(failure, Failure::Ended(_)) => failure,
                failure => in_part(failure.refusal().message),
            };
            let sent = if is_first { send(pieces).await } else { self.again_while_busy(payer, || send(pieces.clone())).await };
            let (head, mut body) = sent.map_err(failed)?;
            if !head.status.is_success() {
                return match is_first {
                    true => Ok((head, body)),
                    false => Err(in_part(self.why(&head, &mut body, endpoint, provider).await)),
                };
            }
            answers.push(self.whole(&mut body, provider).await.map_err(failed)?);
            last = Some(head);
        }
        let head = last.ok_or(Failure::NoTarget)?;
        Ok((head, Source::Ready(Some(meant::as_list(&answers)))))
    }

    /// Makes a call again by itself: another attempt at all of a request's calls would have those billed twice that were answered.
    async fn again_while_busy<F: Future<Output = Result<(http::response::Parts, Source), Failure>>>(
        &self,
        payer: &dyn Payer,
        send: impl Fn() -> F,
    ) -> Result<(http::response::Parts, Source), Failure> {
        let mut wait = FIRST_BACKOFF;
        let ended = |refusal| Failure::Ended(Box::new(Refusal { billed: Billed::InPart, ..refusal }));
        for _ in 1..self.settings.attempts {
            payer.goes_on().await.map_err(ended)?;
            let sent = send().await;
            if !sent.as_ref().is_ok_and(|(head, _)| is_transient(head.status)) {
                return sent;
            }
            tokio::time::sleep(wait.min(self.settings.max_backoff)).await;
            wait *= 2;
        }
        payer.goes_on().await.map_err(ended)?;
        send().await
    }

    /// Sends one call with what makes it ours, and learns from its answer what our credential is worth.
    async fn send_ours(
        &self,
        place: &Place,
        mut headers: HeaderMap,
        pieces: Pieces,
        endpoint: &Endpoint,
        provider: &LiveProvider,
        attempt: Option<&Attempt<'_>>,
    ) -> Result<(http::response::Parts, Source), Failure> {
        if let Some(signer) = &endpoint.signer {
            let signed = Box::pin(signer.sign(&place.url, &pieces, &mut headers)).await;
            signed.map_err(|why| unsigned(why, provider, attempt))?;
        }
        // The bytes are shared.
        let said = pieces.clone();
        let sent = |text: &str| said.iter().any(|piece| blame::may_have(piece, text));
        let (mut head, body) = self.send(place, headers, pieces, provider).await?.into_parts();
        let (status, body) = judge_credential(head.status, body, endpoint, provider, attempt, self.idle_timeout(), &sent).await?;
        head.status = status;
        Ok((head, body))
    }

    /// What a provider says of a call that it does not serve.
    async fn why(&self, head: &http::response::Parts, body: &mut Source, endpoint: &Endpoint, provider: &LiveProvider) -> String {
        let text = read_up_to(body, READ_ERROR, self.idle_timeout()).await.unwrap_or_else(Partial::read);
        match error_text(head.status, &text, provider) {
            Ok(text) => {
                let said = codec(endpoint.dialect).decode_trouble(head.status.as_u16(), text.as_bytes()).message;
                format!("status {} ({said}).", head.status.as_u16())
            }
            Err(failure) => failure.refusal().message,
        }
    }

    /// The answer to one of several calls.
    async fn whole(&self, body: &mut Source, provider: &LiveProvider) -> Result<bytes::Bytes, Failure> {
        let why = || "it is too long for one of several calls".to_owned();
        read_up_to(body, LONGEST_PART, self.idle_timeout()).await.map_err(|partial| match partial {
            Partial::TooLong(_) => Failure::bad_answer(provider, why()),
            Partial::BrokeOff => Failure::cut(provider),
            Partial::TimedOut => Failure::TimedOut { provider: Who::of(provider), after: self.idle_timeout() },
        })
    }

    /// The request in the endpoint's dialect, with the media inline that its provider would not fetch.
    async fn translated(
        &self,
        asked: &Asked,
        target: &Target,
        endpoint: &Endpoint,
        fetched: &Fetched,
    ) -> Result<(Pieces, Dropped), Failure> {
        let refused = |refusal| Failure::Untranslatable(Box::new(refusal));
        let to = To { model: &target.model, facts: target.facts() };
        let inlined = self.fetcher.inline(&asked.request, codec(endpoint.dialect), fetched).await.map_err(refused)?;
        let request = inlined.as_ref().unwrap_or(&asked.request);
        let (body, dropped) = translate::write_request(request, endpoint.dialect, &to).map_err(refused)?;
        Ok((with_quirks(&endpoint.quirks, vec![body]), dropped))
    }

    async fn send(&self, place: &Place, headers: HeaderMap, pieces: Pieces, provider: &LiveProvider) -> Result<Response<Source>, Failure> {
        let deadline = self.settings.first_byte_timeout;
        match tokio::time::timeout(deadline, self.send_without_deadline(place, headers, pieces, provider)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Failure::TimedOut { provider: Who::of(provider), after: deadline }),
        }
    }

    async fn send_without_deadline(
        &self,
        place: &Place,
        mut headers: HeaderMap,
        pieces: Pieces,
        provider: &LiveProvider,
    ) -> Result<Response<Source>, Failure> {
        headers.insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
        headers.insert(header::ACCEPT_ENCODING, IDENTITY);
        if let Some(address) = &place.address {
            match self.connector.post(address, &headers, &pieces).await {
                Ok(response) => return Ok(response.map(Source::Pooled)),
                Err(SendError::Elsewhere) => {}
                Err(SendError::Connect(e)) => return Err(Failure::of_connecting(&Who::of(provider), &*e)),
                Err(SendError::Http(e)) => return Err(Failure::of_sending(&Who::of(provider), &e)),
            }
        }
        Box::pin(self.send_by_http(place, headers, pieces, provider)).await
    }

    /// Sends by the general client.
    async fn send_by_http(
        &self,
        place: &Place,
        headers: HeaderMap,
        pieces: Pieces,
        provider: &LiveProvider,
    ) -> Result<Response<Source>, Failure> {
        let mut request = reqwest::Request::new(Method::POST, place.url.clone());
        *request.headers_mut() = headers;
        *request.body_mut() = Some(reqwest::Body::wrap(PiecesBody::new(&pieces)));
        match self.http.execute(request).await.map_err(reqwest::Error::without_url) {
            Ok(response) => Ok(Response::from(response).map(Source::Network)),
            Err(e) if e.is_connect() => Err(Failure::of_connecting(&Who::of(provider), &e)),
            Err(e) => Err(Failure::of_sending(&Who::of(provider), &e)),
        }
    }
}

/// Whether that is what a body is, whatever its parameters say.
pub fn is_of(headers: &HeaderMap, media_type: &str) -> bool {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(media_type)
}

/// The provider's headers, the caller's over its defaults where both speak one dialect, and what the body is.
fn write_headers(endpoint: &Endpoint, forwarded: Option<&HeaderMap>) -> HeaderMap {
    let mut headers = endpoint.headers.clone();
    for (name, value) in forwarded.into_iter().flatten() {
        headers.insert(name.clone(), value.clone());
    }
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers
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

// === impl Partial ===

impl Partial {
    /// What was read, where that is worth anything.
    pub fn read(self) -> bytes::Bytes {
        match self {
            Partial::TooLong(pieces) => pieces.concat().into(),
            Partial::BrokeOff | Partial::TimedOut => bytes::Bytes::new(),
        }
    }
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

/// The caller's headers that mean something to a provider of the same dialect; a key that was put into one goes nowhere.
pub fn headers_to_forward(dialect: Dialect, from: &HeaderMap) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(8);
    headers.insert(header::ACCEPT, HeaderValue::from_static("*/*"));
    let is_theirs = |value: &HeaderValue| std::str::from_utf8(value.as_bytes()).is_ok_and(|text| !holds_escaped_key(text));
    for (name, value) in from.iter().filter(|(name, value)| wire(dialect).forwarded.contains(&name.as_str()) && is_theirs(value)) {
        headers.entry(name).or_insert_with(|| value.clone());
    }
    headers
}
