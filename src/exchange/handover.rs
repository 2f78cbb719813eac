//! The last hop: a provider's answer handed to the caller, as it came or in the caller's dialect; a stream as it comes, a whole answer checked.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};

use super::Walked;
use super::keeping::{self, Noting};
use crate::catalog::Dialect;
use crate::dialect::ir::{Dropped, Field, Trouble};
use crate::dialect::members::Members;
use crate::dialect::meter::Reading;
use crate::dialect::translate::{self, Translated, Translation};
use crate::dialect::{Ask, Form, Meant, Meter, codec, embed, wire};
use crate::gateway::Gateway;
use crate::ledger::record::Outcome;
use crate::route::{LiveProvider, Target};
use crate::surface::{ProviderError, Surface};
use crate::ticket::Ticket;
use crate::upstream::{self, Answer, AnswerBody, Concealer, Failure, Partial, READ_WHOLE, Source, Watch, Who, is_of, retry_after};

/// An answer that has to be translated is read up to this size.
const READ_TO_TRANSLATE: usize = 64 << 20;

/// What an answer mostly has: its limits, its content type, and who made it under which name.
const MOST_HEADERS: usize = 12;
const PROVIDER: HeaderName = HeaderName::from_static("keyward-provider");
const DROPPED: HeaderName = HeaderName::from_static("keyward-dropped");
const UPSTREAM_ID: HeaderName = HeaderName::from_static("keyward-upstream-request-id");
/// How providers name their request, those of the field in order of how many use it.
const THEIR_IDS: [&str; 3] = ["x-request-id", "request-id", "x-amzn-requestid"];

/// A provider's answer on its way in.
pub(super) struct Incoming<'a> {
    pub(super) head: &'a http::response::Parts,
    pub(super) source: Source,
    pub(super) dialect: Dialect,
    pub(super) provider: &'a LiveProvider,
    /// The usage that a stream tells was asked for by us alone.
    pub(super) hides_usage: bool,
    pub(super) idle: Duration,
}

/// What goes to the caller.
pub(super) enum Outgoing {
    /// All of it.
    Whole { body: Bytes, reading: Reading, dropped: Dropped },
    /// What was read already, and more as it comes.
    Flowing { before: Vec<Bytes>, source: Source, meter: Meter },
    /// The provider's own error.
    Error { status: StatusCode, trouble: Trouble, text: String },
}

/// Takes an answer in, as far as it has to be looked at before any of it goes out.
pub(super) async fn take_in(gateway: &Gateway, walked: &mut Walked) -> Result<Outgoing, Failure> {
    let Walked { ask, meant, targets, answer } = walked;
    let (target, is_native) = (&targets[answer.target], answer.dialect == ask.called.dialect);
    let endpoint = target.endpoint(ask.called.operation, ask.called.dialect);
    let incoming = Incoming {
        head: &answer.head,
        source: std::mem::replace(&mut answer.body, Source::Ready(None)),
        dialect: answer.dialect,
        provider: &target.provider,
        hides_usage: endpoint.is_ok_and(|endpoint| ask.hides_usage(&endpoint.quirks)),
        idle: gateway.client.idle_timeout(),
    };
    match meant.as_ref().filter(|_| !is_native) {
        _ if !answer.head.status.is_success() => incoming.error().await,
        None => incoming.pass(ask).await,
        Some(meant) => incoming.translate(meant).await,
    }
}

/// Hands over what was taken in; the ticket is settled when its last byte is on its way.
pub(super) fn hand_over(
    gateway: &Gateway,
    surface: &'static dyn Surface,
    mut ticket: Ticket,
    walked: Walked,
    taken: Result<Outgoing, Failure>,
) -> Response<Body> {
    let Walked { ask, targets, answer, .. } = walked;
    let Answer { head, target, dialect, mut dropped, .. } = answer;
    let Target { provider, .. } = &targets[target];
    let is_native = dialect == ask.called.dialect;
    // Only who made an answer may see it again, so what its provider keeps is noted on its way.
    let noting = ticket.key.filter(|_| is_native && ask.keeps && !provider.is_simulator()).map(|key| (key, Arc::clone(provider)));
    let mut response = Response::new(Body::empty());
    write_headers(response.headers_mut(), &head, is_native.then_some(dialect), provider, &ticket);
    match taken {
        Ok(Outgoing::Whole { body, reading, dropped: also }) => {
            ticket.settle(Outcome::Answered, Some(reading));
            if let Some((key, provider)) = &noting {
                keeping::note_response(gateway, *key, provider, &body);
            }
            also.names().for_each(|name| dropped.note(name.to_owned()));
            // A whole answer may stand in for the stream that was asked for.
            let is_stream = ask.stream && !is_native;
            *response.body_mut() = Body::from(upstream::without_secret(body, provider));
            write_content_type(&mut response, &head, is_native, is_stream, &ask, &dropped)
        }
        Ok(Outgoing::Flowing { before, source, meter }) => {
            // A JSON array takes no event: one that fails is cut off.
            let is_stream = ask.stream && (!is_native || ask.form() != Form::Array);
            let length = if is_native && !is_stream { write_length(response.headers_mut(), &head) } else { None };
            let concealer = Concealer::of(&meter, provider);
            let watch = Watch { meter, ticket, provider: Who::of(provider), concealer, is_stream, surface };
            let answer = AnswerBody::new(before, source, gateway.client.idle_timeout(), watch).of_length(length);
            *response.body_mut() = match noting {
                None => Body::new(answer),
                Some((key, provider)) => Body::new(Noting::new(answer, &gateway.held, key, &provider, is_stream)),
            };
            write_content_type(&mut response, &head, is_native, is_stream, &ask, &dropped)
        }
        Ok(Outgoing::Error { status, trouble, text }) => {
            ticket.settle(Outcome::ProviderError, None);
            let (retry_after, subject, field) = (retry_after(&head.headers), trouble.subject(), trouble.param.clone().map(Field));
            let mut response = surface.provider_error(&ProviderError { status, text: &text, trouble, is_native, provider, retry_after });
            // For whoever asks in the place of the caller, such as a prompt.
            response.extensions_mut().insert(subject);
            field.and_then(|field| response.extensions_mut().insert(field));
            return response;
        }
        Err(failure) => {
            let refusal = failure.refusal();
            ticket.refused(&refusal);
            return surface.refuse(&refusal);
        }
    }
    response
}

// === impl Incoming ===

impl Incoming<'_> {
    /// As it came, while a meter watches.
    async fn pass(mut self, ask: &Ask) -> Result<Outgoing, Failure> {
        self.is_plain()?;
        let facts = wire(self.dialect);
        let is_stream = is_of(&self.head.headers, facts.stream_type) || (ask.form() == Form::Array && self.is_json());
        if is_stream {
            if !ask.stream {
                return Err(self.bad("it streamed where the whole answer was asked for".to_owned()));
            }
            let meter = match self.dialect {
                Dialect::BedrockConverse => Meter::frames(facts.tells),
                _ if self.is_json() => Meter::array(facts.tells),
                _ => Meter::stream(facts.tells, self.hides_usage),
            };
            return Ok(Outgoing::Flowing { before: Vec::new(), source: self.source, meter });
        }
        if !self.is_json() {
            return Err(self.no_json());
        }
        let tells = if ask.called.operation.has_no_output() { embed::usage::TELLS } else { facts.tells };
        match upstream::read_up_to(&mut self.source, READ_WHOLE, self.idle).await {
            Ok(whole) => {
                let members = Members::read(&whole).map_err(|e| Failure::broken_json(self.provider, &e))?;
                if self.is_error(&members) {
                    return self.told_error(StatusCode::BAD_GATEWAY, &whole);
                }
                if !self.is_answer(&members) && !ask.called.operation.has_no_output() {
                    let expected = facts.answers.join("' or '");
                    return Err(self.bad(format!("its JSON has neither '{expected}' nor an error")));
                }
                let reading = Meter::read_whole(tells, &members, &whole);
                Ok(Outgoing::Whole { body: whole, reading, dropped: Dropped::default() })
            }
            Err(Partial::TooLong(before)) => Ok(Outgoing::Flowing { before, source: self.source, meter: Meter::whole(tells) }),
            Err(partial) => Err(self.partial(&partial)),
        }
    }

    /// In the caller's dialect.
    async fn translate(mut self, meant: &Meant) -> Result<Outgoing, Failure> {
        self.is_plain()?;
        let is_stream = is_of(&self.head.headers, wire(self.dialect).stream_type);
        if let Meant::Chat(asked) = meant
            && is_stream
            && asked.request.stream
        {
            let meter = Meter::Translation(Box::new(Translation::new(self.dialect, asked)));
            return Ok(Outgoing::Flowing { before: Vec::new(), source: self.source, meter });
        }
        if !is_stream && !self.is_json() {
            return Err(self.no_json());
        }
        let body = match upstream::read_up_to(&mut self.source, READ_TO_TRANSLATE, self.idle).await {
            Ok(body) => body,
            Err(partial) => return Err(self.partial(&partial)),
        };
        // Of several calls it is an array.
        if !is_stream && Members::read(&body).is_ok_and(|members| self.is_error(&members)) {
            return self.told_error(StatusCode::BAD_GATEWAY, &body);
        }
        let translated = match meant {
            Meant::Chat(asked) if is_stream => translate::collected(&body, self.dialect, asked).map_err(|trouble| trouble.message),
            _ => meant.answered(&body, self.dialect),
        };
        let Translated { body, dropped, reading } = translated.map_err(|why| self.bad(why))?;
        Ok(Outgoing::Whole { body, reading, dropped })
    }

    /// Whether a whole success has what each answer has one of.
    fn is_answer(&self, members: &Members<'_>) -> bool {
        wire(self.dialect).answers.iter().any(|name| members.get(name).is_some())
    }

    /// Whether a whole success is no answer, and says itself that it is an error.
    fn is_error(&self, members: &Members<'_>) -> bool {
        !self.is_answer(members) && members.given("error").is_some()
    }

    /// The provider's own error.
    pub(super) async fn error(mut self) -> Result<Outgoing, Failure> {
        if self.is_plain().is_err() {
            // Its status says something all the same.
            return self.told_error(self.head.status, b"");
        }
        let text = upstream::read_up_to(&mut self.source, upstream::READ_ERROR, self.idle).await.unwrap_or_else(Partial::read);
        self.told_error(self.head.status, &text)
    }

    /// An error with the status that its caller is to see. One that came as a success is a bad gateway's: SDKs read the body of a 200 as an
    /// answer, and fail far from the cause.
    fn told_error(&self, status: StatusCode, text: &[u8]) -> Result<Outgoing, Failure> {
        let text = upstream::error_text(status, text, self.provider)?;
        let mut trouble = codec(self.dialect).decode_trouble(status.as_u16(), text.as_bytes());
        // What was escaped is found where it is read.
        for text in [Some(&mut trouble.message), trouble.code.as_mut(), trouble.param.as_mut()].into_iter().flatten() {
            *text = upstream::without_traces(text, self.provider);
        }
        Ok(Outgoing::Error { status, trouble, text })
    }

    fn is_plain(&self) -> Result<(), Failure> {
        Failure::encoded(self.provider, &self.head.headers).map_or(Ok(()), Err)
    }

    pub(super) fn is_json(&self) -> bool {
        is_of(&self.head.headers, "application/json")
    }

    pub(super) fn no_json(&self) -> Failure {
        Failure::no_json(self.provider, self.head)
    }

    pub(super) fn bad(&self, why: String) -> Failure {
        Failure::bad_answer(self.provider, why)
    }

    pub(super) fn partial(&self, partial: &Partial) -> Failure {
        let provider = Who::of(self.provider);
        match partial {
            Partial::TooLong(_) => self.bad(format!("it is longer than the {} MiB that can be translated", READ_TO_TRANSLATE >> 20)),
            Partial::BrokeOff => Failure::cut(self.provider),
            Partial::TimedOut => Failure::TimedOut { provider, after: self.idle },
        }
    }
}

/// Of a provider's headers only these concern the caller; its rate limits and organisation are ours.
pub(super) fn write_headers(
    to: &mut HeaderMap,
    head: &http::response::Parts,
    native: Option<Dialect>,
    provider: &LiveProvider,
    ticket: &Ticket,
) {
    // At once: a map that grows is hashed anew.
    to.reserve(MOST_HEADERS);
    let returned = native.map_or(&[][..], |dialect| wire(dialect).returned);
    let is_told = |value: &HeaderValue| !upstream::repeats_secret(value.as_bytes(), provider);
    for (name, value) in head.headers.iter().filter(|(name, value)| returned.contains(&name.as_str()) && is_told(value)) {
        to.entry(name).or_insert_with(|| value.clone());
    }
    // One walk takes less than a look-up for each.
    let rank = |name: &HeaderName| THEIR_IDS.iter().position(|theirs| *theirs == name.as_str());
    if let Some((_, id)) = head.headers.iter().filter_map(|(name, value)| Some((rank(name)?, value))).min_by_key(|(rank, _)| *rank)
        && is_told(id)
    {
        to.insert(UPSTREAM_ID, id.clone());
    }
    if let Ok(provider) = HeaderValue::try_from(&provider.id) {
        to.insert(PROVIDER, provider);
    }
    ticket.write_limits(to);
}

/// How long the answer is, where its provider says so.
pub(super) fn write_length(to: &mut HeaderMap, head: &http::response::Parts) -> Option<u64> {
    let length = head.headers.get(header::CONTENT_LENGTH)?;
    to.insert(header::CONTENT_LENGTH, length.clone());
    length.to_str().ok()?.parse().ok()
}

/// The status and the content type: the provider's own, or that of the caller's dialect.
fn write_content_type(
    response: &mut Response<Body>,
    head: &http::response::Parts,
    is_native: bool,
    is_stream: bool,
    ask: &Ask,
    dropped: &Dropped,
) {
    *response.status_mut() = if is_native { head.status } else { StatusCode::OK };
    let headers = response.headers_mut();
    let own = match (is_stream, ask.form()) {
        (true, Form::Stream) => HeaderValue::from_static(wire(ask.called.dialect).stream_type),
        _ => HeaderValue::from_static("application/json"),
    };
    headers.insert(header::CONTENT_TYPE, head.headers.get(header::CONTENT_TYPE).filter(|_| is_native).cloned().unwrap_or(own));
    if is_stream {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    }
    headers.extend(dropped.header(ask.called.dialect, &ask.body).map(|value| (DROPPED, value)));
}
