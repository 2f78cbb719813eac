//! One call of a REST service through the rooms: key, service, operation, scope, subscription, limits, ledger; then it is passed on.

use std::sync::Arc;

use axum::body::Body;
use futures_util::future::BoxFuture;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};
use http_body::Body as _;
use jiff::Timestamp;

use super::{answer, any_in_scope, in_scope, not_found, refuse, request, retired, store_down, with_life};
use crate::catalog;
use crate::error::{Kind, Refusal};
use crate::exchange::ledger_down;
use crate::gateway::Gateway;
use crate::key::Caller;
use crate::key::caller::Plane;
use crate::key::diagnose::holds_escaped_key;
use crate::key::reason::{Place, Reason};
use crate::life::State;
use crate::quota::{self, AccountId, Asker, Chain, Need, Permit, limits};
use crate::service::{Access, Operation, Path, Service, Services, Standing};
use crate::surface::{REQUEST_ID, shown, write_end};
use crate::ticket::{SERVICE, Ticket};
use crate::versions::{self, Versioned, chance, labels};

/// What is asked of a service, and the head that carries the key.
pub struct Asked {
    /// With the key.
    pub head: Parts,
    /// Where the key may stand.
    pub plane: Plane,
    /// The service's name, with a version or without.
    pub service: String,
    /// How the operation is called.
    pub method: Method,
    /// Its path below the service, escaped, from its `/` on.
    pub path: String,
    /// The query, escaped.
    pub query: String,
    /// What may go on of the headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Body,
}

/// A call that was passed on and is answered.
pub(super) struct Walked {
    pub(super) service: Arc<Service>,
    /// What the caller calls it.
    pub(super) name: String,
    pub(super) answer: Response<reqwest::Body>,
    pub(super) is_head: bool,
    /// What was asked for, without the credential.
    pub(super) url: reqwest::Url,
    pub(super) idle: std::time::Duration,
    pub(super) ended: Ended,
}

/// Resolves once the key of a call that runs holds no longer, with why.
pub(super) type Ended = BoxFuture<'static, Refusal>;

/// Names the operation in an answer, as `service@version/operation`.
const OPERATION: HeaderName = HeaderName::from_static("keyward-operation");
/// Operations that a refusal names at the most.
const MOST_NAMED: usize = 10;

/// Calls it.
pub(super) async fn run(gateway: &Arc<Gateway>, asked: Asked) -> Response<Body> {
    let mut ticket = Ticket::new(gateway, catalog::Operation::Service, &asked.head.headers, &asked.head.extensions);
    let request_id = ticket.request_id.clone();
    let mut called = Called::default();
    let walked = walk(gateway, &mut ticket, &mut called, asked).await;
    let ends_soon = ticket.ends_soon;
    let response = match walked {
        Ok(walked) => answer::hand_over(ticket, walked).await,
        Err(refusal) => {
            ticket.refused(&refusal);
            refuse(&refusal)
        }
    };
    let mut response = match &called.service {
        Some(service) => with_life(response, service),
        None => response,
    };
    if let Some(operation) = called.operation.and_then(|name| HeaderValue::try_from(&*name).ok()) {
        response.headers_mut().insert(OPERATION, operation);
    }
    response.headers_mut().insert(REQUEST_ID, request_id);
    write_end(&mut response, ends_soon);
    response
}

/// What is known of a call so far, for its answer's head.
#[derive(Default)]
struct Called {
    service: Option<Arc<Service>>,
    operation: Option<Arc<str>>,
}

async fn walk(gateway: &Arc<Gateway>, ticket: &mut Ticket, called: &mut Called, asked: Asked) -> Result<Walked, Refusal> {
    let caller = gateway.keys.check(&asked.head, asked.plane).await?;
    ticket.called_by(&caller);
    ticket.called_model(&format!("{SERVICE}/{}", asked.service));
    let holder = |reason: Reason| reason.refusal(Some(caller.id()));
    if holds_escaped_key(&asked.path) || holds_escaped_key(&asked.query) {
        return Err(holder(Reason::Misplaced(Place::Url)));
    }
    if asked.headers.contains_key(header::UPGRADE) {
        return Err(no_upgrade());
    }
    let service = find(&gateway.services.services(), &caller, &asked.service, |services, name, now| services.choose(name, now, chance()))?;
    called.service = Some(Arc::clone(&service));
    any_in_scope(&caller, &service, &asked.service).map_err(holder)?;
    let operation = operation(&service, &caller, &asked)?;
    let (cookies, server, id) = (operation.cookies.clone(), operation.server.clone(), operation.id.clone());
    let name: Arc<str> = service.pinned_scope(&operation.id).into();
    ticket.called_model(&format!("/{}", operation.id));
    in_scope(&caller, &service, &asked.service, operation).map_err(holder)?;
    called.operation = Some(Arc::clone(&name));
    subscribed(gateway, &caller, &service)?;
    let limit = request::check_length(&service, &asked, &gateway.config.limits)?;
    let upstream = service.upstream.as_ref().ok_or_else(|| request::unready(&service))?;
    let url = upstream.url(server.as_deref(), &asked.path, &asked.query).ok_or_else(|| not_plain("it leads elsewhere"))?;
    let asked_for = upstream.base.join(url.path()).map_err(|_| not_plain("it is no part of a URL"))?;
    let permit = admit(gateway, &caller, &service, &name).await?;
    ticket.begin_service(name, service.price, permit).await.map_err(|e| ledger_down(&e))?;
    let outgoing = request::Outgoing {
        method: asked.method.clone(),
        url,
        headers: request::headers(&asked.headers, upstream, &cookies, &ticket.request_id),
        limit,
    };
    let mut ended = ended(gateway, &caller, asked.head, (Arc::clone(&service), asked.service.clone(), id));
    let answer = tokio::select! {
        answer = outgoing.send(gateway, &service, asked.body) => answer?,
        refusal = &mut ended => {
            ticket.ended(&refusal);
            return Err(refusal);
        }
    };
    ticket.service_answering(answer.status());
    // No part was asked for of what may have the credential in it.
    let is_part = answer.status() == StatusCode::PARTIAL_CONTENT && upstream.credential.is_some();
    if answer.status().is_informational() || is_part {
        return Err(request::unasked(&service, answer.status()));
    }
    // Where nothing was shown, it is the API that asks its callers for something.
    let is_refused = answer.status() == StatusCode::UNAUTHORIZED && upstream.credential.is_some();
    if is_refused || answer.status() == StatusCode::PROXY_AUTHENTICATION_REQUIRED {
        tracing::warn!(service = %service.name, "a service refuses the credential that this gateway has for it");
        return Err(request::credential_refused(&service));
    }
    Ok(Walked {
        answer,
        is_head: asked.method == Method::HEAD,
        url: asked_for,
        idle: gateway.client.idle_timeout(),
        name: asked.service,
        service: Arc::clone(&service),
        ended,
    })
}

/// Watches the key of a call: it may be revoked while the answer flows, which need not have an end.
fn ended(gateway: &Arc<Gateway>, caller: &Caller, head: Parts, (service, name, id): (Arc<Service>, String, String)) -> Ended {
    let (gateway, key) = (Arc::clone(gateway), caller.id());
    Box::pin(async move {
        let may = |caller: &Caller| {
            let mut operations = service.description.operations.iter();
            let operation = operations.find(|operation| operation.id == id);
            operation
                .map_or(Ok(()), |operation| in_scope(caller, &service, &name, operation))
                .map_err(|reason| reason.refusal(Some(key)))?;
            subscribed(&gateway, caller, &service)
        };
        gateway.ended(key, &head, may).await
    })
}

/// The version of a service that is served for a name; without a version in it, the one that is chosen.
pub(super) fn find(
    services: &Services,
    caller: &Caller,
    name: &str,
    choose: impl for<'a> Fn(&'a Services, &str, Timestamp) -> Option<&'a Arc<Service>>,
) -> Result<Arc<Service>, Refusal> {
    let now = Timestamp::now();
    let (base, digits) = versions::split(name);
    let found = match digits {
        Some(digits) => services.version(base, digits),
        None => choose(services, base, now),
    };
    // What the key may not call, it is not told of.
    let is_told = |service: &Service| any_in_scope(caller, service, name).is_ok();
    let Some(service) = found else {
        let public: Vec<&Arc<Service>> =
            services.each(base).filter(|service| service.life.state != State::Draft && is_told(service)).collect();
        return Err(match public.is_empty() {
            true => not_found(name, services.nearest(base, is_told)),
            false => no_version(name, &labels(&public, ", ")),
        });
    };
    match service.state_at(now) {
        State::Draft if caller.names_version(&service.label()) => Ok(Arc::clone(service)),
        State::Draft if is_told(service) => Err(draft(service)),
        State::Draft => Err(not_found(name, None)),
        State::Retired => Err(retired(service, name)),
        State::Published | State::Deprecated => Ok(Arc::clone(service)),
    }
}

fn no_version(name: &str, versions: &str) -> Refusal {
    let message = format!("There is no service '{}': its versions are {versions}.", shown(name));
    Refusal::new(StatusCode::NOT_FOUND, Kind::NotFound, "service_not_found", message)
}

/// A draft is for those alone to whom it is shown.
fn draft(service: &Service) -> Refusal {
    let label = service.label();
    let message = format!(
        "The service '{label}' is a draft: it is called with a key whose tools name '{label}/…', and by all once 'keyward services publish {label}' is done."
    );
    Refusal::new(StatusCode::NOT_FOUND, Kind::NotFound, "service_not_found", message)
}

/// Other protocols have no operations, no limits and no end.
fn no_upgrade() -> Refusal {
    let message = "This gateway passes on HTTP requests alone, and no WebSocket or other protocol: call the service without 'Upgrade'.";
    Refusal::new(StatusCode::NOT_IMPLEMENTED, Kind::Invalid, "upgrade_not_served", message)
}

/// The operation for a method and path, or what there is instead, of what the key may call.
fn operation<'a>(service: &'a Service, caller: &Caller, asked: &Asked) -> Result<&'a Operation, Refusal> {
    let path = Path::read(&asked.path).map_err(not_plain)?;
    let methods = match service.description.find(&asked.method, &path) {
        Ok(operation) if service.description.is_clear(operation, &asked.method, &path) => return Ok(operation),
        Ok(_) => return Err(not_plain("it could be taken for the path of another operation")),
        Err(methods) => methods,
    };
    let shown = shown(&asked.path);
    if !methods.is_empty() {
        let allowed = methods.iter().map(|method| method.as_str()).collect::<Vec<_>>().join(", ");
        let message = format!("{shown} of the service '{}' is not called with {}: use {allowed}.", asked.service, asked.method);
        let mut refusal = Refusal::new(StatusCode::METHOD_NOT_ALLOWED, Kind::Invalid, "method_not_allowed", message);
        refusal.headers.extend(HeaderValue::try_from(allowed).ok().map(|allowed| (header::ALLOW, allowed)));
        return Err(refusal);
    }
    let may_call = |operation: &&Operation| in_scope(caller, service, &asked.service, operation).is_ok();
    let paths: Vec<&str> = service.description.operations.iter().filter(may_call).map(|operation| operation.path.as_str()).collect();
    let mut named: Vec<&str> = Vec::new();
    paths.iter().for_each(|path| {
        if !named.contains(path) {
            named.push(path)
        }
    });
    let more = if named.len() > MOST_NAMED { ", …" } else { "" };
    named.truncate(MOST_NAMED);
    let message = format!(
        "The service '{}' has no path {shown}: it has {}{more}. GET /services/{}/openapi.json describes them.",
        asked.service,
        named.join(", "),
        asked.service
    );
    Err(Refusal::new(StatusCode::NOT_FOUND, Kind::NotFound, "operation_not_found", message))
}

fn not_plain(why: &str) -> Refusal {
    let message = format!("The path is not passed on: {why}. Send the path as the service describes it.");
    Refusal::invalid("path_not_plain", message)
}

/// Whether the key has the subscription that a service wants.
pub(super) fn subscribed(gateway: &Gateway, caller: &Caller, service: &Service) -> Result<(), Refusal> {
    if service.access == Access::Open {
        return Ok(());
    }
    let name = &service.name;
    let (code, message) = match gateway.subscriptions.standing(name, caller.record().family) {
        Some(Standing::Approved) => return Ok(()),
        None | Some(Standing::Ended) => (
            "subscription_needed",
            format!("The service '{name}' is called with a subscription: ask for one by POST /services/{name}/subscription with this key."),
        ),
        Some(Standing::Pending) => (
            "subscription_pending",
            format!(
                "This key's subscription to the service '{name}' is asked for and not approved yet: wait, or ask whoever runs this gateway."
            ),
        ),
        Some(Standing::Denied) => {
            ("subscription_denied", format!("This key's subscription to the service '{name}' was denied: ask whoever runs this gateway."))
        }
    };
    let mut refusal = Refusal::new(StatusCode::FORBIDDEN, Kind::Permission, code, message);
    refusal.key = Some(caller.id());
    Err(refusal)
}

/// Leaves it to the key's limits, and to those of the service.
async fn admit(gateway: &Gateway, caller: &Caller, service: &Service, name: &str) -> Result<Permit, Refusal> {
    // Limits that were taken away have counted something: where they come again, they count from the ledger.
    let had_limits = || gateway.accounts.get(&AccountId::Service(service.label().into())).is_some();
    let chain: Chain = match service.limits.counts_nothing() && !had_limits() {
        true => Arc::clone(caller.chain()),
        false => {
            let account = gateway.accounts.service(&service.label(), &service.limits).await.map_err(|e| store_down(&e))?;
            caller.chain().iter().cloned().chain([account]).collect()
        }
    };
    let full = format!("{SERVICE}/{name}");
    let need = Need { cost: Ok(service.price), touches: &|glob: &str| limits::names(glob, &full), ..Need::NOTHING };
    quota::admit(&chain, &need).map_err(|refused| refused.told(Asker::Nobody))
}

/// Whether there is a body at all.
pub(super) fn has_body(body: &Body) -> bool {
    !body.is_end_stream()
}
