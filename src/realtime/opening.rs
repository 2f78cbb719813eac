//! From a request for a session to the session: the key, the model, the quota, the provider's handshake, and then the caller's.

use std::sync::Arc;

use axum::body::Body;
use http::request::Parts;
use http::{Request, Response, StatusCode};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use super::handshake;
use super::relay::Relay;
use super::turns::{Turns, estimate_of};
use crate::catalog::{Dialect, Operation};
use crate::dialect::{Form, codec};
use crate::error::Refusal;
use crate::exchange::estimate::{self, Estimate};
use crate::exchange::{Holding, check_foreign, check_name, may_use_all};
use crate::gateway::Gateway;
use crate::key::caller::Plane;
use crate::key::{Caller, KeyId, presented};
use crate::ledger::record::Outcome;
use crate::money::Usd;
use crate::prompt::chat;
use crate::route::{self, Target};
use crate::server::Lasting;
use crate::surface::{ProviderError, REQUEST_ID, Surface, write_end};
use crate::ticket::Ticket;
use crate::upstream::{self, Failure, Upgraded};

/// The largest message, in bytes: a provider takes 15 MiB of sound in one.
const LARGEST_MESSAGE: usize = 16 << 20;
/// Read at once; every open session has two such buffers.
const READ_BUFFER: usize = 16 << 10;

/// What the provider's side of a session is opened with.
struct Opened {
    provider: Box<reqwest::Upgraded>,
    target: Target,
    model: String,
    caller: Caller,
}

/// Why there is no session.
enum NotOpened {
    Refused(Refusal),
    /// The provider's own error, as a response.
    Told(Response<Body>),
}

/// Opens a session, or says as HTTP why not.
pub async fn open(gateway: Arc<Gateway>, surface: &'static dyn Surface, request: Request<Body>) -> Response<Body> {
    let (mut head, _) = request.into_parts();
    handshake::unfold(&mut head);
    let mut ticket = Ticket::new(&gateway, Operation::Realtime, &head.headers, &head.extensions);
    let request_id = ticket.request_id.clone();
    let walked = walk(&gateway, surface, &head, &mut ticket).await;
    let ends_soon = ticket.ends_soon;
    let mut response = match walked {
        Ok(opened) => begin(gateway, head, ticket, opened),
        Err(NotOpened::Refused(refusal)) => {
            ticket.refused(&refusal);
            surface.refuse(&refusal)
        }
        Err(NotOpened::Told(response)) => {
            ticket.settle(Outcome::ProviderError, None);
            response
        }
    };
    response.headers_mut().insert(REQUEST_ID, request_id);
    write_end(&mut response, ends_soon);
    response
}

async fn walk(gateway: &Gateway, surface: &dyn Surface, head: &Parts, ticket: &mut Ticket) -> Result<Opened, NotOpened> {
    let caller = gateway.keys.check(head, Plane::Data).await?;
    ticket.called_by(&caller);
    handshake::check(head)?;
    let (model, others) = query(head, ticket.key)?;
    check_name(&model)?;
    ticket.called_model(&model);
    chat::check_operation(&model, Operation::Realtime, Dialect::OpenaiChat)?;
    let targets = gateway.router().resolve(&model)?;
    check_foreign(&model, &targets)?;
    may_use_all(&caller, &model, &targets, false).map_err(|reason| reason.refusal(ticket.key))?;
    let targets = route::serving(targets, Operation::Realtime, Dialect::OpenaiChat)?;
    // There has to be room for a response at least; each is reserved when it is asked for, and the session alone costs nothing.
    let estimate = estimate_of(&targets, 0, None);
    let touches = |glob: &str| estimate::touches(&targets, glob);
    drop(caller.admit(&estimate.need(&touches))?);
    let estimate = Estimate { worst: estimate.worst.map(|_| Usd::default()), ..Estimate::default() };
    let permit = caller.admit(&estimate.need(&touches))?;
    let first = targets.first().ok_or_else(|| Failure::NoTarget.refusal())?;
    ticket.begin(first, permit, &estimate).await.map_err(|e| crate::exchange::ledger_down(&e))?;
    let may = |caller: &Caller| may_use_all(caller, &model, &targets, false).map_err(|reason| reason.refusal(Some(caller.id())));
    let holding = Holding { gateway, key: caller.id(), head, may: &may };
    let (target, upgraded) = shake_hands(&holding, &targets, &others).await?;
    match upgraded {
        Upgraded::Open(provider) => {
            ticket.answering(StatusCode::SWITCHING_PROTOCOLS, target);
            Ok(Opened { provider, target: target.clone(), model, caller })
        }
        Upgraded::Refused { status, text, retry_after } => {
            ticket.answering(status, target);
            let trouble = codec(Dialect::OpenaiChat).decode_trouble(status.as_u16(), text.as_bytes());
            let error = ProviderError { status, text: &text, trouble, is_native: true, provider: &target.provider, retry_after };
            Err(NotOpened::Told(surface.provider_error(&error)))
        }
    }
}

/// Asks the targets in turn until one opens a session, or refuses to for a reason that would hold anywhere.
async fn shake_hands<'a>(
    holding: &Holding<'_>,
    targets: &'a [Target],
    query: &[(String, String)],
) -> Result<(&'a Target, Upgraded), Refusal> {
    let forwarded = upstream::headers_to_forward(Dialect::OpenaiChat, &holding.head.headers);
    let mut last = Err(Failure::NoTarget);
    for (index, target) in targets.iter().enumerate() {
        // The one before may have taken its time.
        if index > 0 {
            holding.judge().await?;
        }
        let provider = &target.provider;
        let endpoint = target.endpoint(Operation::Realtime, Dialect::OpenaiChat)?;
        let place = endpoint.place(&target.model, Form::Whole);
        let mut url = place.map_err(|why| Failure::bad_answer(provider, why))?.url.clone();
        url.query_pairs_mut().append_pair("model", &target.model).extend_pairs(query);
        let upgraded = holding.gateway.client.open_websocket(url, endpoint, target, forwarded.clone()).await;
        match upgraded {
            Ok(Upgraded::Refused { status, .. }) if upstream::is_transient(status) => {}
            Err(_) if last.is_ok() => continue,
            Err(_) => {}
            Ok(upgraded) => return Ok((target, upgraded)),
        }
        // An answer of a provider says more than a failure to reach one.
        last = upgraded.map(|upgraded| (target, upgraded));
    }
    last.map_err(Failure::refusal)
}

/// The model, and what else the query says that is not for this gateway.
fn query(head: &Parts, key: Option<KeyId>) -> Result<(String, Vec<(String, String)>), Refusal> {
    let pairs = presented::query_beside_key(head).map_err(|reason| reason.refusal(key))?;
    let (models, others): (Vec<_>, Vec<_>) = pairs.into_iter().partition(|(name, _)| name.eq_ignore_ascii_case("model"));
    let mut models = models.into_iter().map(|(_, model)| model);
    match (models.next().filter(|model| !model.is_empty()), models.next()) {
        (Some(model), None) => Ok((model, others)),
        _ => Err(Refusal::invalid("invalid_value", "Name one model in the query, as in /v1/realtime?model=openai/gpt-realtime.")
            .with_param("model")),
    }
}

/// Answers the caller's handshake; the session runs once that answer is out.
fn begin(gateway: Arc<Gateway>, mut head: Parts, mut ticket: Ticket, opened: Opened) -> Response<Body> {
    let mut response = handshake::accept(&head);
    ticket.write_limits(response.headers_mut());
    let (upgrade, lasting) = (head.extensions.remove::<OnUpgrade>(), head.extensions.remove::<Lasting>());
    tokio::spawn(async move {
        let Some(Ok(caller)) = (match upgrade {
            Some(upgrade) => Some(upgrade.await),
            None => None,
        }) else {
            // It hung up between its question and the answer.
            return ticket.settle(Outcome::Abandoned, None);
        };
        let caller = WebSocketStream::from_raw_socket(TokioIo::new(caller), Role::Server, Some(config())).await;
        let provider = WebSocketStream::from_raw_socket(*opened.provider, Role::Client, Some(config())).await;
        let turns = Turns::new(gateway, head, opened.caller, opened.target, opened.model);
        Relay { ticket, turns }.run(caller, provider, lasting).await;
    });
    response
}

fn config() -> WebSocketConfig {
    WebSocketConfig::default().read_buffer_size(READ_BUFFER).max_message_size(Some(LARGEST_MESSAGE)).max_frame_size(Some(LARGEST_MESSAGE))
}

// === impl NotOpened ===

impl<E: Into<Refusal>> From<E> for NotOpened {
    fn from(error: E) -> NotOpened {
        NotOpened::Refused(error.into())
    }
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Refusal {
        failure.refusal()
    }
}
