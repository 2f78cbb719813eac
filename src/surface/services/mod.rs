//! REST services behind keys: `/services/NAME/…` and `/services/NAME@VERSION/…` are passed on; which there are, what each has, and subscriptions to those that want one.

mod answer;
mod call;
mod request;
mod standing;

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::IntoResponse;
use axum::routing::{any, get};
use http::request::Parts;
use http::{HeaderMap, Method, Response, StatusCode, Uri, header};
use jiff::Timestamp;
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

pub use call::Asked;

use super::{Segment, shown};
use crate::error::{Kind, Refusal};
use crate::gateway::Gateway;
use crate::key::caller::Plane;
use crate::key::{Caller, Reason};
use crate::life::State as Life;
use crate::problem::Problem;
use crate::service::{Access, Operation, Service, Services};
use crate::store::StoreError;
use crate::versions::Versioned;

/// Before the names of services.
const PREFIX: &str = "/services";

/// The paths that are the gateway's own.
pub fn routes() -> axum::Router<Arc<Gateway>> {
    axum::Router::new()
        .route("/services", get(list))
        .route("/services/{name}", get(show))
        .route("/services/{name}/openapi.json", get(describe))
        .route("/services/{name}/subscription", get(standing::show).post(standing::ask))
}

/// The paths that are passed on; each answer is named by its request already.
pub fn calls() -> axum::Router<Arc<Gateway>> {
    axum::Router::new().route("/services/{name}/", any(call)).route("/services/{name}/{*path}", any(call))
}

/// Whether a path is ours.
pub fn owns(path: &str) -> bool {
    path == PREFIX || path.starts_with("/services/")
}

/// A path that nothing is served at.
pub fn unknown_path(uri: &Uri) -> Response<Body> {
    let message =
        format!("Nothing is served at {}. GET /services lists the services; each is called below /services/NAME.", shown(uri.path()));
    refuse(&Refusal::new(StatusCode::NOT_FOUND, Kind::NotFound, "path_not_found", message))
}

/// A path that is served for another method.
pub fn wrong_method(method: &Method, uri: &Uri) -> Response<Body> {
    let right = if uri.path().ends_with("/subscription") { "POST to ask, GET to see how it stands" } else { "GET" };
    let message = format!("{} is not called with {method}: use {right}.", shown(uri.path()));
    refuse(&Refusal::new(StatusCode::METHOD_NOT_ALLOWED, Kind::Invalid, "method_not_allowed", message))
}

/// A refusal as a problem.
pub fn refuse(refusal: &Refusal) -> Response<Body> {
    Problem::of(refusal).into_response()
}

/// The services with operations that a key may call now, each in the version that is shown.
pub fn callable(gateway: &Gateway, caller: &Caller) -> Vec<Arc<Service>> {
    let services = gateway.services.services();
    let has_some =
        |service: &&Arc<Service>| service.description.operations.iter().any(|operation| may_call(gateway, caller, service, operation));
    services.served().filter(has_some).cloned().collect()
}

/// Whether the key's scope allows an operation by its service's name or its version's, and its subscription where one is wanted.
pub fn may_call(gateway: &Gateway, caller: &Caller, service: &Service, operation: &Operation) -> bool {
    in_scope(caller, service, &service.label(), operation).is_ok() && call::subscribed(gateway, caller, service).is_ok()
}

/// The name that a caller goes by who has read the description of the version that is shown: where versions that share calls have others,
/// or the key names the version alone, it names that one.
pub fn as_shown(gateway: &Gateway, caller: &Caller, service: &Service, operation: &Operation) -> String {
    let others = gateway.services.services();
    let is_other = |other: &&Arc<Service>| other.offer.openapi != service.offer.openapi;
    let is_pinned =
        in_scope(caller, service, &service.name, operation).is_err() && in_scope(caller, service, &service.label(), operation).is_ok();
    match is_pinned || others.sharing(&service.name, Timestamp::now()).iter().any(is_other) {
        true => service.label(),
        false => service.name.clone(),
    }
}

/// Calls an operation for a request of another surface: the same checks, limits, ledger and answer.
pub async fn call_with(gateway: &Arc<Gateway>, asked: Asked) -> Response<Body> {
    call::run(gateway, asked).await
}

async fn call(State(gateway): State<Arc<Gateway>>, request: Request) -> Response<Body> {
    let (head, body) = request.into_parts();
    // The router brings nothing here that does not begin so.
    let below = head.uri.path().strip_prefix("/services/").unwrap_or_default();
    let (name, path) = below.split_at(below.find('/').unwrap_or(below.len()));
    // Some clients escape the '@' of a version.
    let service = percent_decode_str(name).decode_utf8_lossy().into_owned();
    let path = path.to_owned();
    let query = head.uri.query().unwrap_or_default().to_owned();
    let (method, headers) = (head.method.clone(), head.headers.clone());
    call::run(&gateway, Asked { head, plane: Plane::Services, service, method, path, query, headers, body }).await
}

/// What callers are told of a service, by the name that they call it by.
fn told(gateway: &Gateway, caller: &Caller, service: &Service, name: &str) -> Value {
    let state = service.state_at(Timestamp::now());
    let standing = match service.access {
        Access::Open => None,
        Access::Approval => {
            Some(gateway.subscriptions.standing(&service.name, caller.record().family).map_or("none", |known| known.as_str()))
        }
    };
    json!({
        "name": name,
        "version": service.version,
        "title": service.title,
        "description": service.summary,
        "state": state.as_str(),
        "sunset": service.life.sunset,
        "successor": service.life.successor,
        "subscription": { "needed": service.access == Access::Approval, "standing": standing },
        "price_nano_usd": service.price.0,
    })
}

/// The services that a key's scope allows: those among them that want a subscription are told too, so that it can be asked for.
async fn list(State(gateway): State<Arc<Gateway>>, head: Parts) -> Response<Body> {
    let caller = match gateway.caller(&head, Plane::Data).await {
        Ok(caller) => caller,
        Err(refusal) => return refuse(&refusal),
    };
    let listed = listed(&gateway.services.services(), &caller);
    let data: Vec<Value> = listed.iter().map(|(name, service)| told(&gateway, &caller, service, name)).collect();
    Json(json!({ "object": "list", "data": data })).into_response()
}

/// Each by the name that the key may call it by; of one that it may call by versions alone, the newest of those.
fn listed(services: &Services, caller: &Caller) -> Vec<(String, Arc<Service>)> {
    let now = Timestamp::now();
    let is_there = |service: &Service| match service.state_at(now) {
        Life::Retired => false,
        Life::Draft => caller.names_version(&service.label()),
        Life::Published | Life::Deprecated => true,
    };
    let bare = |name: &str| {
        let shown = services.shown(name, now).filter(|service| is_there(service) && any_in_scope(caller, service, name).is_ok());
        shown.map(|service| (name.to_owned(), Arc::clone(service)))
    };
    let pinned = |name: &str| {
        let may_call = |service: &&Arc<Service>| is_there(service) && any_in_scope(caller, service, &service.label()).is_ok();
        services.each(name).rev().find(may_call).map(|service| (service.label(), Arc::clone(service)))
    };
    services.names().filter_map(|name| bare(name).or_else(|| pinned(name))).collect()
}

/// Whether the key's scope allows an operation of a service that is called by this name, with its version or without.
fn in_scope(caller: &Caller, service: &Service, name: &str, operation: &Operation) -> Result<(), Reason> {
    let (whatever, pinned) = (service.scope(&operation.id), service.pinned_scope(&operation.id));
    match name.contains('@') {
        true => caller.may_call_service(&[&whatever, &pinned]),
        false => caller.may_call_service(&[&whatever]),
    }
}

/// Whether the key may call anything of a service, by its scope; if not, why, with no operation named that it may not know of.
fn any_in_scope(caller: &Caller, service: &Service, name: &str) -> Result<(), Reason> {
    let mut operations = service.description.operations.iter();
    match operations.len() == 0 || operations.any(|operation| in_scope(caller, service, name, operation).is_ok()) {
        true => Ok(()),
        false => caller.may_call_service(&[&format!("{name}/*")]),
    }
}

fn store_down(error: &StoreError) -> Refusal {
    tracing::error!(%error, "a service cannot be called or subscribed to, since the store does not answer");
    let message = "This gateway cannot look that up right now. Your key is fine: try again in a moment.";
    Refusal::new(StatusCode::SERVICE_UNAVAILABLE, Kind::Unavailable, "store_unavailable", message)
}

/// A service that the key may see, by name: of versions that share calls, the newest each time.
async fn found(gateway: &Gateway, head: &Parts, name: &str) -> Result<(Caller, Arc<Service>), Refusal> {
    let caller = gateway.caller(head, Plane::Data).await?;
    let service = call::find(&gateway.services.services(), &caller, name, |services, name, now| services.shown(name, now))?;
    any_in_scope(&caller, &service, name).map_err(|reason| reason.refusal(Some(caller.id())))?;
    Ok((caller, service))
}

async fn show(State(gateway): State<Arc<Gateway>>, Segment(name): Segment<1>, head: Parts) -> Response<Body> {
    let (caller, service) = match found(&gateway, &head, &name).await {
        Ok(found) => found,
        Err(refusal) => return refuse(&refusal),
    };
    let mut told = told(&gateway, &caller, &service, &name);
    let services = gateway.services.services();
    let public = services.each(&service.name).filter(|version| version.life.state != Life::Draft);
    told["versions"] = public.map(|version| version.version).collect();
    let operations = service.description.operations.iter();
    let operations = operations.filter(|operation| in_scope(&caller, &service, &name, operation).is_ok());
    let of = |operation: &Operation| {
        let path = format!("{PREFIX}/{name}{}", operation.path);
        json!({ "id": operation.id, "method": operation.method.as_str(), "path": path, "summary": operation.summary, "deprecated": operation.deprecated })
    };
    told["operations"] = operations.map(of).collect();
    with_life(Json(told).into_response(), &service)
}

async fn describe(State(gateway): State<Arc<Gateway>>, Segment(name): Segment<1>, head: Parts) -> Response<Body> {
    let (caller, service) = match found(&gateway, &head, &name).await {
        Ok(found) => found,
        Err(refusal) => return refuse(&refusal),
    };
    let server = format!("{}{PREFIX}/{name}", address(&head.headers));
    let may_call = |operation: &Operation| in_scope(&caller, &service, &name, operation).is_ok();
    let is_deprecated = service.state_at(Timestamp::now()) == Life::Deprecated;
    with_life(Json(service.description.told(&server, is_deprecated, may_call)).into_response(), &service)
}

/// The gateway's address as the caller has it.
fn address(headers: &HeaderMap) -> String {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let scheme = text("x-forwarded-proto").filter(|scheme| *scheme == "https").unwrap_or("http");
    format!("{scheme}://{}", text(header::HOST.as_str()).unwrap_or("127.0.0.1:8080"))
}

fn with_life(mut response: Response<Body>, service: &Service) -> Response<Body> {
    for (name, value) in service.life.headers(PREFIX) {
        match name {
            // The API's own links stay.
            "link" => drop(response.headers_mut().append(name, value)),
            _ => drop(response.headers_mut().insert(name, value)),
        }
    }
    response
}

fn not_found(name: &str, near: Option<String>) -> Refusal {
    let none = ": GET /services lists those that there are (one whose file says no 'state' is a draft, and is not among them)";
    let near = near.map_or_else(|| none.to_owned(), |near| format!("; did you mean '{near}'?"));
    let end = if near.ends_with('?') { "" } else { "." };
    let message = format!("There is no service '{}'{near}{end}", shown(name));
    Refusal::new(StatusCode::NOT_FOUND, Kind::NotFound, "service_not_found", message)
}

fn retired(service: &Service, name: &str) -> Refusal {
    let instead =
        service.life.successor.as_ref().map_or_else(|| ".".to_owned(), |successor| format!(": call /services/{successor} instead."));
    let message = format!("The service '{name}' is retired and is served no longer{instead}");
    let mut refusal = Refusal::new(StatusCode::GONE, Kind::NotFound, "service_retired", message);
    let headers = service.life.headers(PREFIX).into_iter();
    refusal.headers.extend(headers.map(|(name, value)| (http::HeaderName::from_static(name), value)));
    refusal
}
