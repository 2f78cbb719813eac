//! The corridor: one request through its eight rooms, in order, on one screen.

use std::sync::Arc;

use axum::body::Body;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode, header};

use crate::catalog::Operation;
use crate::dialect::Meter;
use crate::dialect::openai::members::Members;
use crate::dialect::openai::request::Ask;
use crate::error::{Kind, Refusal};
use crate::gateway::Gateway;
use crate::key::keyring::Plane;
use crate::ledger::record::Outcome;
use crate::route::Target;
use crate::surface::{REQUEST_ID, Surface, body};
use crate::ticket::Ticket;
use crate::upstream::{self, Answer, AnswerBody, Failure, Partial, Watch, Who};

/// A whole answer up to this size is read before it is passed on, so that a broken one is an error and not half an answer.
const READ_WHOLE: usize = 1 << 20;
/// Of a provider's error so much is read at the most.
const READ_ERROR: usize = 256 << 10;

/// Serves a request, or says in its surface's own shape why not.
pub async fn exchange(
    gateway: Arc<Gateway>,
    surface: &'static dyn Surface,
    operation: Operation,
    request: Request<Body>,
) -> Response<Body> {
    let mut ticket = Ticket::new(&gateway, operation, request.headers());
    let request_id = ticket.request_id.clone();
    let mut response = match walk(&gateway, surface, &mut ticket, request).await {
        Ok(answer) => match pass_on(&gateway, surface, ticket, answer).await {
            Ok(response) | Err(response) => response,
        },
        Err(refusal) => {
            ticket.refused(&refusal);
            surface.refuse(&refusal)
        }
    };
    response.headers_mut().insert(REQUEST_ID, request_id);
    response
}

/// What the rooms up to the provider found out.
struct Walked {
    ask: Ask,
    targets: Vec<Target>,
    answer: Answer,
}

async fn walk(gateway: &Arc<Gateway>, surface: &dyn Surface, ticket: &mut Ticket, request: Request<Body>) -> Result<Walked, Refusal> {
    let (head, body) = request.into_parts();
    let caller = gateway.keys.check(&head, Plane::Data).await?;
    ticket.key = Some(caller.id());
    surface.check_head(&head)?;
    let bytes = body::read(body, &head.headers, &gateway.config.limits).await?;
    let ask = Ask::read(ticket.operation, bytes)?;
    ticket.model.extend(ask.model.chars().take(200));
    let targets = gateway.router.resolve(&ask.model)?;
    for target in &targets {
        let names = [ask.model.as_str(), &target.full_name()];
        caller.may_use(&names, target.provider.is_simulator()).map_err(|reason| reason.refusal(ticket.key))?;
        target.endpoint(ask.operation)?;
    }
    // A token is about four bytes; the true count replaces this when the answer is settled.
    let estimated_input = ask.body.len() as u64 / 4;
    let permit = caller.meters().admit(estimated_input + ask.max_output.unwrap_or(0))?;
    ticket.begin(&targets[0], permit, estimated_input, ask.max_output).map_err(|e| ledger_down(&e))?;
    let headers = upstream::headers_to_forward(ask.operation, &head.headers);
    let answer = gateway.client.call(&ask, &targets, &headers).await.map_err(Failure::refusal)?;
    ticket.answering(answer.head.status, &targets[answer.target]);
    Ok(Walked { ask, targets, answer })
}

/// Hands the answer to the caller: a stream as it comes, a whole answer checked first, an error in the surface's shape.
async fn pass_on(
    gateway: &Gateway,
    surface: &'static dyn Surface,
    mut ticket: Ticket,
    walked: Walked,
) -> Result<Response<Body>, Response<Body>> {
    let Walked { ask, targets, answer } = walked;
    let Answer { head, body: mut source, target } = answer;
    let target = &targets[target];
    let provider = &target.provider;
    let idle = gateway.client.idle_timeout();
    let refuse = |ticket: &mut Ticket, failure: Failure| {
        let refusal = failure.refusal();
        ticket.refused(&refusal);
        surface.refuse(&refusal)
    };

    if !head.status.is_success() {
        let text = match upstream::read_up_to(&mut source, READ_ERROR, idle).await {
            Ok(text) => text,
            Err(Partial::TooLong(pieces)) => pieces.concat().into(),
            Err(Partial::BrokeOff | Partial::TimedOut) => bytes::Bytes::new(),
        };
        return Err(match surface.provider_error(&head, &text, provider) {
            Ok(response) => {
                ticket.settle(Outcome::ProviderError, None);
                response
            }
            Err(failure) => refuse(&mut ticket, failure),
        });
    }

    let is_stream = is(&head.headers, "text/event-stream");
    if !is_stream && !is(&head.headers, "application/json") {
        let got = head.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("no content type");
        let why = format!("status {} with {got} where JSON was expected", head.status.as_u16());
        return Err(refuse(&mut ticket, Failure::BadAnswer { provider: Who::of(provider), why }));
    }
    let mut response = Response::new(());
    *response.status_mut() = head.status;
    write_headers(response.headers_mut(), &head.headers, target, &ticket);

    let meter = if is_stream { Meter::stream(ask.hides_usage(&provider.quirks)) } else { Meter::whole() };
    let watch = |meter, ticket| Watch { meter, ticket, provider: Who::of(provider), is_stream };
    if is_stream {
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        return Ok(response.map(|()| Body::new(AnswerBody::new(Vec::new(), source, idle, watch(meter, ticket)))));
    }
    match upstream::read_up_to(&mut source, READ_WHOLE, idle).await {
        Ok(whole) => match Members::read(&whole) {
            Ok(_) => {
                let mut meter = meter;
                let whole = meter.pass(whole);
                ticket.settle(Outcome::Answered, Some(meter.finish().1));
                Ok(response.map(|()| Body::from(whole)))
            }
            Err(e) => {
                let why = format!("its JSON is broken ({e})");
                Err(refuse(&mut ticket, Failure::BadAnswer { provider: Who::of(provider), why }))
            }
        },
        Err(Partial::TooLong(pieces)) => {
            if let Some(length) = head.headers.get(header::CONTENT_LENGTH) {
                response.headers_mut().insert(header::CONTENT_LENGTH, length.clone());
            }
            Ok(response.map(|()| Body::new(AnswerBody::new(pieces, source, idle, watch(meter, ticket)))))
        }
        Err(Partial::BrokeOff) => {
            let why = "in the middle of its answer".to_owned();
            Err(refuse(&mut ticket, Failure::BrokeOff { provider: Who::of(provider), why }))
        }
        Err(Partial::TimedOut) => Err(refuse(&mut ticket, Failure::TimedOut { provider: Who::of(provider), after: idle })),
    }
}

const PROVIDER: HeaderName = HeaderName::from_static("keyward-provider");
const UPSTREAM_ID: HeaderName = HeaderName::from_static("keyward-upstream-request-id");

/// Of a provider's headers only these concern the caller; its rate limits and organisation are ours.
fn write_headers(to: &mut http::HeaderMap, from: &http::HeaderMap, target: &Target, ticket: &Ticket) {
    for name in [header::CONTENT_TYPE, HeaderName::from_static("openai-processing-ms"), HeaderName::from_static("openai-version")] {
        if let Some(value) = from.get(&name) {
            to.insert(name, value.clone());
        }
    }
    if let Some(id) = from.get(REQUEST_ID) {
        to.insert(UPSTREAM_ID, id.clone());
    }
    if let Ok(provider) = HeaderValue::try_from(&target.provider.id) {
        to.insert(PROVIDER, provider);
    }
    ticket.write_limits(to);
}

fn is(headers: &http::HeaderMap, media_type: &str) -> bool {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().is_some_and(|essence| essence.trim().eq_ignore_ascii_case(media_type))
}

fn ledger_down(error: &std::io::Error) -> Refusal {
    tracing::error!(%error, "the ledger cannot be written: requests are refused until it can");
    Refusal::new(
        StatusCode::SERVICE_UNAVAILABLE,
        Kind::Unavailable,
        "ledger_unavailable",
        "This gateway cannot write down requests right now, so it takes none. Your key is fine: try again in a moment, or tell whoever runs it.",
    )
}
