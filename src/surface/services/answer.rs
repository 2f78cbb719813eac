//! A service's answer on its way to the caller: as it comes, without what is between two neighbours and without the gateway's credential.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use http_body::{Body as _, Frame};
use http_body_util::BodyExt as _;
use reqwest::Url;
use tokio::time::{Instant, Sleep, sleep};

use super::call::{Ended, Walked};
use super::request::{broke_off, not_searchable, strip_hop_by_hop};
use super::{PREFIX, refuse};
use crate::ledger::record::Outcome;
use crate::service::{Masking, Service, Upstream};
use crate::ticket::Ticket;

/// What is passed on; the ticket is settled at its end.
struct Flowing {
    /// What has come already.
    first: Option<Bytes>,
    source: reqwest::Body,
    masking: Masking,
    service: Arc<Service>,
    /// None once it is settled.
    ticket: Option<Ticket>,
    outcome: Outcome,
    /// Bytes still to come, where that is known.
    left: Option<u64>,
    idle: Duration,
    ended: Ended,
    silence: Pin<Box<Sleep>>,
}

/// Of an answer's head what is between the service and the gateway: a cookie is a session that all callers would share.
/// And so is what it says of its own address, and what the gateway says itself: limits, and its own names.
const KEPT: [HeaderName; 4] =
    [header::SET_COOKIE, header::PROXY_AUTHENTICATE, header::STRICT_TRANSPORT_SECURITY, HeaderName::from_static("alt-svc")];
/// How headers begin that are the gateway's own.
const OWN: [&str; 2] = ["keyward-", "x-ratelimit-"];

/// Hands it over.
pub(super) async fn hand_over(mut ticket: Ticket, walked: Walked) -> Response<Body> {
    let Walked { service, name, answer, is_head, url, idle, mut ended } = walked;
    let (head, mut source) = answer.into_parts();
    let masking = service.upstream.as_ref().map(Upstream::masking).unwrap_or_default();
    let mut response = Response::new(Body::empty());
    *response.status_mut() = head.status;
    *response.headers_mut() = headers(head.headers, (&service, &name), &url, &masking);
    ticket.write_limits(response.headers_mut());
    let outcome = if head.status.is_client_error() || head.status.is_server_error() { Outcome::ProviderError } else { Outcome::Answered };
    let is_empty = is_head || source.is_end_stream() || [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED].contains(&head.status);
    if is_empty {
        ticket.settle(outcome, None);
        // Of a length that the API does not tell, none is known here either.
        if is_head && !response.headers().contains_key(header::CONTENT_LENGTH) {
            *response.body_mut() = Body::from_stream(stream::empty::<io::Result<Bytes>>());
        }
        return response;
    }
    if service.upstream.as_ref().is_some_and(|upstream| upstream.credential.is_some())
        && let Some(form) = unreadable(response.headers())
    {
        let refusal = not_searchable(&service, form);
        ticket.refused(&refusal);
        return refuse(&refusal);
    }
    // A service that has closed after its head is told as such while that can still be told.
    let is_long = response.headers().contains_key(header::CONTENT_LENGTH);
    let first = async { if is_long { tokio::time::timeout(idle, source.frame()).await.ok() } else { None } };
    let first = tokio::select! {
        biased;
        first = first => first,
        refusal = &mut ended => {
            ticket.ended(&refusal);
            return refuse(&refusal);
        }
    };
    if matches!(first, Some(None | Some(Err(_)))) {
        let refusal = broke_off(&service);
        ticket.refused(&refusal);
        return refuse(&refusal);
    }
    let first = first.flatten().and_then(Result::ok).and_then(|frame| frame.into_data().ok());
    let left = response.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    let flowing =
        Flowing { first, source, masking, service, ticket: Some(ticket), outcome, left, idle, ended, silence: Box::pin(sleep(idle)) };
    *response.body_mut() = Body::new(flowing);
    response
}

/// In what form an answer is in which the gateway's credential could not be found, though it were in it.
fn unreadable(headers: &HeaderMap) -> Option<&'static str> {
    let texts = |name| headers.get_all(name).into_iter().map(|value| value.to_str().unwrap_or("?").to_ascii_lowercase());
    // Some name an encoding of characters here, which compresses nothing.
    let is_coded = |value: String| value.split(',').map(str::trim).any(|coding| !matches!(coding, "" | "identity" | "utf-8" | "utf8"));
    let is_wide = |value: String| {
        let charset = value.split_once("charset=").map(|(_, charset)| charset.trim_start_matches(['"', '\'', ' ']).to_owned());
        charset.is_some_and(|charset| {
            ["utf-16", "utf-32", "utf-7", "utf16", "utf32", "ucs-", "iso-10646"].iter().any(|wide| charset.starts_with(wide))
        })
    };
    match texts(header::CONTENT_ENCODING).any(is_coded) {
        true => Some("compressed"),
        false => texts(header::CONTENT_TYPE).any(is_wide).then_some("in another encoding than UTF-8"),
    }
}

fn headers(mut from: HeaderMap, called: (&Service, &str), url: &Url, masking: &Masking) -> HeaderMap {
    let (service, _) = called;
    strip_hop_by_hop(&mut from);
    KEPT.iter().for_each(|name| drop(from.remove(name)));
    if service.upstream.as_ref().is_some_and(|upstream| upstream.credential.is_some()) {
        // No part of it is given.
        from.remove(header::ACCEPT_RANGES);
    }
    let own: Vec<HeaderName> = from.keys().filter(|name| OWN.iter().any(|own| name.as_str().starts_with(own))).cloned().collect();
    own.iter().for_each(|name| drop(from.remove(name)));
    for name in [header::LOCATION, header::CONTENT_LOCATION] {
        let place = from.get(&name).and_then(|value| here(value.to_str().ok()?, called, url));
        if let Some(place) = place.and_then(|place| HeaderValue::try_from(place).ok()) {
            from.insert(name, place);
        }
    }
    if let http::header::Entry::Occupied(mut links) = from.entry(header::LINK) {
        for link in links.iter_mut() {
            let told = link.to_str().ok().map(|text| links_here(text, called, url));
            if let Some(told) = told.and_then(|told| HeaderValue::try_from(told).ok()) {
                *link = told;
            }
        }
    }
    let telling: Vec<HeaderName> = from.iter().filter(|(_, value)| masking.finds(value.as_bytes())).map(|(name, _)| name.clone()).collect();
    telling.iter().for_each(|name| drop(from.remove(name)));
    from
}

/// A place below the service's base as a place of the gateway's, by the name that the service was called by; what is relative is so to what was asked for.
fn here(place: &str, (service, name): (&Service, &str), asked: &Url) -> Option<String> {
    let upstream = service.upstream.as_ref()?;
    let below = upstream.base.path().trim_end_matches('/');
    let url = asked.join(place).ok()?;
    let rest = url.path().strip_prefix(below).filter(|rest| rest.starts_with('/') && url.origin() == upstream.base.origin())?;
    let query = upstream.others(url.query().unwrap_or_default());
    let query = Some(query).filter(|query| !query.is_empty()).map_or_else(String::new, |query| format!("?{query}"));
    let fragment = url.fragment().map_or_else(String::new, |fragment| format!("#{fragment}"));
    Some(format!("{PREFIX}/{name}{rest}{query}{fragment}"))
}

/// A `Link` with each place in it as `here` has it (RFC 8288, section 3).
fn links_here(text: &str, called: (&Service, &str), asked: &Url) -> String {
    let (mut out, mut rest, mut is_quoted) = (String::with_capacity(text.len()), text, false);
    while let Some(at) = rest.find(['<', '"']) {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        match from.strip_prefix('<').filter(|_| !is_quoted).and_then(|link| link.split_once('>')) {
            Some((place, after)) => {
                out.push_str(&format!("<{}>", here(place, called, asked).unwrap_or_else(|| place.to_owned())));
                rest = after;
            }
            None => {
                is_quoted ^= from.starts_with('"');
                // Both marks are one byte long.
                out.push_str(&from[..1]);
                rest = &from[1..];
            }
        }
    }
    out + rest
}

// === impl Flowing ===

impl Flowing {
    fn settle(&mut self, outcome: Outcome) {
        if let Some(mut ticket) = self.ticket.take() {
            ticket.settle(outcome, None);
        }
    }

    /// What may go on of a piece; after the last one nothing is asked for.
    fn pass(&mut self, piece: Bytes) -> Bytes {
        self.left = self.left.map(|left| left.saturating_sub(piece.len() as u64));
        let passed = self.masking.pass(piece);
        if self.left != Some(0) {
            return passed;
        }
        self.settle(self.outcome);
        [passed, self.masking.finish()].concat().into()
    }

    fn broken(&mut self, code: &'static str, why: &str) -> io::Error {
        tracing::warn!(service = %self.service.name, why, "a service's answer broke off");
        if let Some(ticket) = &mut self.ticket {
            ticket.cut_short(code);
        }
        self.settle(Outcome::Failed);
        io::Error::other(why.to_owned())
    }
}

impl http_body::Body for Flowing {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let this = &mut *self;
        let Some(ticket) = &mut this.ticket else { return Poll::Ready(None) };
        // First: what always has more to say would never let it be asked.
        if let Poll::Ready(refusal) = this.ended.as_mut().poll(context) {
            ticket.ended(&refusal);
            this.ticket = None;
            return Poll::Ready(Some(Err(io::Error::other(refusal.message))));
        }
        loop {
            let next = match this.first.take() {
                Some(first) => Poll::Ready(Some(Ok(Frame::data(first)))),
                None => Pin::new(&mut this.source).poll_frame(context),
            };
            match next {
                Poll::Ready(Some(Ok(frame))) => {
                    this.silence.as_mut().reset(Instant::now() + this.idle);
                    // Trailers stay with the neighbour.
                    let Ok(piece) = frame.into_data() else { continue };
                    match this.pass(piece) {
                        passed if passed.is_empty() => {}
                        passed => return Poll::Ready(Some(Ok(Frame::data(passed)))),
                    }
                }
                Poll::Ready(Some(Err(error))) => {
                    let why = error.without_url().to_string();
                    return Poll::Ready(Some(Err(this.broken("service_broke_off", &why))));
                }
                Poll::Ready(None) => {
                    this.settle(this.outcome);
                    let rest = this.masking.finish();
                    return Poll::Ready((!rest.is_empty()).then(|| Ok(Frame::data(rest))));
                }
                Poll::Pending if this.silence.as_mut().poll(context).is_ready() => {
                    return Poll::Ready(Some(Err(this.broken("service_timeout", "it was silent for too long"))));
                }
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}
