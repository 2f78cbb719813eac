//! Room 6: one pooled client for all providers: send, stream, deadlines, and another attempt before the first byte only.

mod answer;
mod failure;
mod pieces;
mod refused;
pub mod sign;
pub mod simulator;

use std::time::Duration;

use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body_util::BodyExt;

pub use answer::{AnswerBody, Source, Watch};
pub use failure::{Failure, Who};
pub use refused::error_text;

use crate::catalog::Dialect;
use crate::config;
use crate::dialect::ask::{Ask, Pieces, with_quirks};
use crate::dialect::ir::Dropped;
use crate::dialect::{Asked, Form, To, translate, wire};
use crate::route::{Endpoint, Target};
use pieces::PiecesBody;

/// The client that all requests to providers go through.
pub struct Client {
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
    /// In which dialect.
    pub dialect: Dialect,
    /// What of the request its dialect could not say.
    pub dropped: Dropped,
}

/// Statuses that say that another attempt may fare better. 529 is Anthropic's "overloaded".
const TRANSIENT: [u16; 7] = [408, 429, 500, 502, 503, 504, 529];
const FIRST_BACKOFF: Duration = Duration::from_millis(250);

// === impl Client ===

impl Client {
    /// A client with these deadlines.
    pub fn new(settings: &config::Upstream) -> Result<Client, reqwest::Error> {
        // Only the first of a process can be installed, and all are the same.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .connect_timeout(settings.connect_timeout)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("keyward/", env!("CARGO_PKG_VERSION")))
            .tcp_keepalive(Duration::from_secs(60))
            .build()?;
        Ok(Client { http, settings: settings.clone() })
    }

    /// How long an answer may be silent between two pieces.
    pub fn idle_timeout(&self) -> Duration {
        self.settings.idle_timeout
    }

    /// Sends a request to the first target that takes it; tried in turn until one answers or the attempts are used up.
    ///
    /// `asked` is the request in the intermediate form, for the targets that do not speak its dialect.
    pub async fn call(&self, ask: &Ask, asked: Option<&Asked>, targets: &[Target], headers: &HeaderMap) -> Result<Answer, Failure> {
        let mut wait = FIRST_BACKOFF;
        let mut last = None;
        for attempt in 0..self.settings.attempts as usize {
            let index = attempt % targets.len();
            if attempt > 0 && index == 0 {
                tokio::time::sleep(wait.min(self.settings.max_backoff)).await;
                wait *= 2;
            }
            let outcome = self.attempt(ask, asked, &targets[index], headers).await.map(|answer| Answer { target: index, ..answer });
            let is_last = attempt + 1 == self.settings.attempts as usize;
            match &outcome {
                Ok(answer) if !TRANSIENT.contains(&answer.head.status.as_u16()) => return outcome,
                Err(failure) if !failure.is_worth_another_attempt() && (targets.len() == 1 || failure.is_the_callers()) => return outcome,
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
        let chat = endpoint.url("model", Form::Whole)?;
        let text = chat.as_str();
        let base = ["/chat/completions", "/responses"].iter().find_map(|path| text.strip_suffix(path)).unwrap_or(text);
        let url = reqwest::Url::parse(&format!("{base}/models")).map_err(|e| e.to_string())?;
        let request = self.http.get(url).headers(endpoint.headers.clone()).timeout(self.settings.connect_timeout);
        request.send().await.map(|response| response.status()).map_err(|e| e.without_url().to_string())
    }

    async fn attempt(&self, ask: &Ask, asked: Option<&Asked>, target: &Target, headers: &HeaderMap) -> Result<Answer, Failure> {
        let provider = &target.provider;
        let endpoint = target.endpoint(ask.called.operation, ask.called.dialect).map_err(Failure::Unserved)?;
        let (pieces, dropped) = match asked.filter(|_| endpoint.dialect != ask.called.dialect) {
            None => (ask.encode(&target.model, &provider.quirks), Dropped::default()),
            Some(asked) => translated(asked, target, endpoint)?,
        };
        let answer = |(head, body)| Answer { head, body, target: 0, dialect: endpoint.dialect, dropped };
        if endpoint.is_simulator {
            let (head, body) = simulator::answer(endpoint.operation, endpoint.dialect, &pieces.concat()).into_parts();
            return Ok(answer((head, Source::Ready(Some(body)))));
        }
        if let Some((credential, rest)) = provider.credential.as_ref().and_then(|c| Some((c, c.rests_for()?))) {
            return Err(Failure::CredentialRefused { provider: Who::of(provider), variable: credential.variable.clone(), rest });
        }
        let url = endpoint.url(&target.model, ask.form()).map_err(|why| Failure::BadAnswer { provider: Who::of(provider), why })?;
        let mut headers = std::borrow::Cow::Borrowed(headers);
        if let Some(signer) = &endpoint.signer {
            let signed = signer.sign(&url, &pieces, headers.to_mut()).await;
            signed.map_err(|why| Failure::Unsigned { provider: Who::of(provider), why })?;
        }
        let response = self.send(&url, endpoint, &headers, PiecesBody::new(pieces), &Who::of(provider)).await?;
        let (head, body) = response.into_parts();
        if let Some(credential) = &provider.credential {
            match head.status {
                StatusCode::UNAUTHORIZED => {
                    endpoint.signer.iter().for_each(|signer| signer.refused());
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
        Ok(answer((head, Source::Network(body))))
    }

    async fn send(
        &self,
        url: &reqwest::Url,
        endpoint: &Endpoint,
        headers: &HeaderMap,
        body: PiecesBody,
        provider: &Who,
    ) -> Result<Response<reqwest::Body>, Failure> {
        let mut request = reqwest::Request::new(http::Method::POST, url.clone());
        *request.headers_mut() = endpoint.headers.clone();
        request.headers_mut().extend(headers.clone());
        request.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        *request.body_mut() = Some(reqwest::Body::wrap(body));
        match tokio::time::timeout(self.settings.first_byte_timeout, self.http.execute(request)).await {
            Ok(Ok(response)) => Ok(response.into()),
            Ok(Err(e)) => Err(Failure::of_sending(provider, &e.without_url())),
            Err(_) => Err(Failure::TimedOut { provider: provider.clone(), after: self.settings.first_byte_timeout }),
        }
    }
}

fn translated(asked: &Asked, target: &Target, endpoint: &Endpoint) -> Result<(Pieces, Dropped), Failure> {
    let to = To { model: &target.model, facts: target.facts() };
    let written = translate::write_request(&asked.request, endpoint.dialect, &to);
    let (body, dropped) = written.map_err(|refusal| Failure::Untranslatable(Box::new(refusal)))?;
    Ok((with_quirks(&target.provider.quirks, vec![body]), dropped))
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

/// The caller's headers that mean something to a provider of the same dialect.
pub fn headers_to_forward(dialect: Dialect, from: &HeaderMap) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(8);
    headers.insert(header::ACCEPT, HeaderValue::from_static("*/*"));
    for name in wire(dialect).forwarded {
        if let Some(value) = from.get(*name) {
            headers.insert(http::HeaderName::from_static(name), value.clone());
        }
    }
    headers
}
