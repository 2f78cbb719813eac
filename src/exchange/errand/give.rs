//! The last hop beside chat: a provider's answer handed over as it came, and what it says of things that are kept written down.

use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use jiff::Timestamp;

use super::{Deed, Reply, Served, Walked, batch, google, not_served, upload};
use crate::catalog::Dialect;
use crate::dialect::ir::{Dropped, Trouble};
use crate::dialect::members::Members;
use crate::dialect::{Meter, Reading, Tells, wire};
use crate::error::Refusal;
use crate::exchange::handover::{Incoming, Outgoing, write_headers, write_length};
use crate::exchange::keeping::id_of;
use crate::exchange::list;
use crate::gateway::Gateway;
use crate::held::{self, Held};
use crate::key::KeyId;
use crate::ledger::record::Outcome;
use crate::route::LiveProvider;
use crate::surface::{ProviderError, Surface};
use crate::ticket::Ticket;
use crate::upstream::{self, Answer, AnswerBody, Concealer, Failure, Partial, READ_WHOLE, Watch, Who, is_of, retry_after};

/// What a request has come to: whose it is, who answered, and how.
pub(super) struct Gone<'a> {
    pub(super) key: KeyId,
    pub(super) provider: &'a LiveProvider,
    pub(super) head: &'a http::response::Parts,
    /// The thing that its path names.
    id: &'a str,
}

/// Hands the answer over; the ticket is settled when its last byte is on its way.
pub(super) async fn hand_over(
    gateway: &Arc<Gateway>,
    surface: &'static dyn Surface,
    served: &Served,
    mut ticket: Ticket,
    walked: Walked,
) -> Response<Body> {
    let Walked { key, target, answer, id, address } = walked;
    let provider = &*target.provider;
    let idle = gateway.client.idle_timeout();
    let (head, outgoing) = match answer {
        Reply::List(head, body) => (head, Ok(Outgoing::Whole { body, reading: Reading::default(), dropped: Dropped::default() })),
        Reply::Answer(Answer { head, body: source, .. }) => {
            let incoming = Incoming { head: &head, source, dialect: served.dialect, provider, hides_usage: false, idle };
            let outgoing = match head.status.is_success() {
                false => incoming.error().await,
                true => pass(incoming, served).await,
            };
            (head, outgoing)
        }
    };
    let gone = Gone { key, provider, head: &head, id: &id };
    let outgoing = match outgoing {
        Ok(Outgoing::Error { text, .. }) if served.deed != Deed::GoOn && is_unknown_path(head.status, &text) => {
            Err(unserved(served, provider))
        }
        Ok(Outgoing::Whole { body, reading, dropped }) => match keep(gateway, served, &gone, &body) {
            Ok(()) => Ok(Outgoing::Whole { body: as_told(served, body), reading, dropped }),
            Err(refusal) => Err(refusal),
        },
        other => other.map_err(Failure::refusal),
    };
    let mut response = Response::new(Body::empty());
    *response.status_mut() = head.status;
    write_headers(response.headers_mut(), &head, Some(served.dialect), provider, &ticket);
    let copied = [header::CONTENT_TYPE, header::CONTENT_DISPOSITION];
    let told = |value: &&HeaderValue| !upstream::repeats_secret(value.as_bytes(), provider);
    for (name, value) in
        copied.into_iter().filter_map(|name| head.headers.get(&name).filter(told).map(|value| (name.clone(), value.clone())))
    {
        response.headers_mut().insert(name, value);
    }
    upload::write_told(response.headers_mut(), &head);
    let outgoing = match (served.deed, &address, outgoing) {
        (Deed::Begin, Some(here), Ok(outgoing)) if head.status.is_success() => upload::address(gateway, &gone, here).map(|own| {
            response.headers_mut().insert(upload::ADDRESS, own);
            outgoing
        }),
        (.., outgoing) => outgoing,
    };
    match outgoing {
        Ok(Outgoing::Whole { body, reading, .. }) => {
            ticket.settle(Outcome::Answered, Some(reading));
            *response.body_mut() = Body::from(upstream::without_secret(body, provider));
        }
        Ok(Outgoing::Flowing { before, source, meter }) => {
            let is_stream = matches!(meter, Meter::Stream(_));
            let length = if is_stream { None } else { write_length(response.headers_mut(), &head) };
            let concealer = Concealer::of(&meter, provider);
            let watch = Watch { meter, ticket, provider: Who::of(provider), concealer, is_stream, surface };
            *response.body_mut() = Body::new(AnswerBody::new(before, source, idle, watch).of_length(length));
        }
        Ok(Outgoing::Error { status, trouble, text }) => {
            ticket.settle(Outcome::ProviderError, None);
            // What was to be deleted is gone already. Whatever else is not found may be there in a moment.
            if let (Deed::Delete(kind), StatusCode::NOT_FOUND) = (served.deed, status) {
                gateway.held.let_go(key, kind, &id);
            }
            let retry_after = retry_after(&head.headers);
            // What its provider repeats of where an upload goes is not for its caller.
            let hidden = |text: &str| upload::without_address(text, address.as_deref());
            let (text, trouble) = (hidden(&text), Trouble { message: hidden(&trouble.message), ..trouble });
            let error = ProviderError { status, text: &text, trouble, is_native: true, provider, retry_after };
            let mut response = surface.provider_error(&error);
            upload::write_told(response.headers_mut(), &head);
            return response;
        }
        Err(refusal) => {
            ticket.refused(&refusal);
            return surface.refuse(&refusal);
        }
    }
    response
}

/// As it came: JSON of a moderate size is read and checked first, a stream is watched, and bytes are just bytes.
async fn pass(mut incoming: Incoming<'_>, served: &Served) -> Result<Outgoing, Failure> {
    let facts = wire(served.dialect);
    if is_of(&incoming.head.headers, facts.stream_type) {
        // Streams beside chat end in ways of their own.
        let meter = Meter::stream(Tells { last: &[], last_types: &[], finishes: &[], ..facts.tells }, false);
        return Ok(Outgoing::Flowing { before: Vec::new(), source: incoming.source, meter });
    }
    // A file's own content may be JSON, whole or broken, as it was uploaded.
    let is_content = served.path.ends_with("/content") || served.path.ends_with(":download");
    let makes = matches!(served.deed, Deed::Make(_)) || (served.deed == Deed::GoOn && upload::is_final(incoming.head));
    if makes && !incoming.is_json() {
        return Err(incoming.no_json());
    }
    if !makes && matches!(served.deed, Deed::Begin | Deed::GoOn) {
        // There is nothing in it mostly.
        let read = upstream::read_up_to(&mut incoming.source, READ_WHOLE, incoming.idle).await;
        let body = read.map_err(|partial| incoming.partial(&partial))?;
        return Ok(Outgoing::Whole { body, reading: Reading::default(), dropped: Dropped::default() });
    }
    if !incoming.is_json() || is_content {
        return Ok(Outgoing::Flowing { before: Vec::new(), source: incoming.source, meter: Meter::Unread });
    }
    let mut meter = Meter::whole(facts.tells);
    match upstream::read_up_to(&mut incoming.source, READ_WHOLE, incoming.idle).await {
        Ok(whole) => {
            Members::read(&whole).map_err(|e| incoming.bad(format!("its JSON is broken ({e})")))?;
            let body = meter.pass(whole);
            Ok(Outgoing::Whole { body, reading: meter.finish().1, dropped: Dropped::default() })
        }
        Err(Partial::TooLong(before)) => Ok(Outgoing::Flowing { before, source: incoming.source, meter }),
        Err(partial) => Err(incoming.partial(&partial)),
    }
}

/// Notes what was made, what came of it, or that it is gone, before its maker hears of it.
fn keep(gateway: &Gateway, served: &Served, gone: &Gone<'_>, body: &Bytes) -> Result<(), Refusal> {
    let &Gone { key, provider, head, id } = gone;
    let is_googles = served.dialect == Dialect::Gemini;
    let held = |kind, id| Held { kind, id, key, provider: provider.holder(), created: Timestamp::now() };
    let mut made = Vec::new();
    let deed = match served.deed {
        Deed::GoOn if upload::is_final(head) => Deed::Make(held::Kind::File),
        deed => deed,
    };
    match deed {
        Deed::Make(kind) => {
            let id = if is_googles { google::name_of(body) } else { id_of(body) };
            made.extend(id.map(|id| held(kind, id)));
            if made.is_empty() {
                let why = format!("it made a {} and did not say its id", kind.as_str());
                return Err(Failure::bad_answer(provider, why).refusal());
            }
        }
        Deed::Use(held::Kind::Batch) if is_googles => made.extend(google::file_of(body).map(|id| held(held::Kind::File, id))),
        Deed::Use(held::Kind::Batch) => made.extend(list::files_of(body).into_iter().map(|id| held(held::Kind::File, id))),
        Deed::Delete(kind) => gateway.held.let_go(key, kind, id),
        _ => {}
    }
    made.into_iter().for_each(|held| gateway.held.keep(held));
    Ok(())
}

/// An answer as its caller is told it: what it says of where things are is of the gateway.
fn as_told(served: &Served, body: Bytes) -> Bytes {
    match (served.deed, served.dialect) {
        (Deed::Make(held::Kind::Batch) | Deed::Use(held::Kind::Batch), Dialect::AnthropicMessages) => {
            batch::with_results_here(&body).unwrap_or(body)
        }
        _ => body,
    }
}

/// A provider that has no such path says so in other words than OpenAI's of a thing that is not there.
fn is_unknown_path(status: StatusCode, text: &str) -> bool {
    #[derive(serde::Deserialize)]
    struct Inner {
        code: Option<serde_json::Value>,
    }
    #[derive(serde::Deserialize)]
    struct Outer {
        error: Inner,
    }
    match status {
        StatusCode::METHOD_NOT_ALLOWED => true,
        StatusCode::NOT_FOUND => {
            serde_json::from_str::<Outer>(text).map_or(true, |outer| outer.error.code.is_some_and(|code| code == "unknown_url"))
        }
        _ => false,
    }
}

fn unserved(served: &Served, provider: &LiveProvider) -> Refusal {
    let dialects: Vec<&str> = provider.dialects(None).map(Dialect::as_str).collect();
    let message = format!(
        "{} does not serve '{}': it speaks {}, and has no such path. Choose a model of a provider that does; GET /v1/models lists them.",
        provider.name,
        served.operation.as_str(),
        dialects.join(", ")
    );
    let mut refusal = not_served(message);
    refusal.provider = Some(provider.id.clone());
    refusal
}
