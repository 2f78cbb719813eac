//! Prompts as a REST API: `POST /prompts/{name}`, `GET /prompts`, each prompt's schema and OpenAPI description.

mod answer;
mod openapi;
mod surface;

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::IntoResponse;
use axum::routing::get;
use http::request::Parts;
use http::{HeaderName, Method, Response, StatusCode, Uri, header};
use jiff::Timestamp;
use serde_json::{Value, json};

use self::answer::Call;
use self::surface::{Prompts, refuse};
use super::{Segment, Surface, body, shown};
use crate::catalog::Operation;
use crate::error::{Kind, Refusal};
use crate::exchange::may_use_all;
use crate::gateway::Gateway;
use crate::key::Caller;
use crate::key::caller::Plane;
use crate::prompt::{Prompt, State as Life, Violation, chat};
use crate::ticket::Ticket;

/// A refusal, and what in the input is to blame.
type Refused = (Refusal, Vec<Violation>);

/// A prompt's variables, on their way in.
enum Given {
    /// To be read of a request's body, which says too whether events are wanted.
    Body(Body),
    /// Read already, and to be answered whole.
    Value(Value),
}

/// Bodies from this size on are checked beside the threads that serve.
const LARGE: usize = 256 << 10;

/// The paths.
pub fn routes() -> axum::Router<Arc<Gateway>> {
    axum::Router::new()
        .route("/prompts", get(list))
        .route("/prompts/{name}", get(show).post(call))
        .route("/prompts/{name}/openapi.json", get(describe))
}

/// Whether a path is ours.
pub fn owns(path: &str) -> bool {
    path == "/prompts" || path.starts_with("/prompts/")
}

/// A path that nothing is served at.
pub fn unknown_path(uri: &Uri) -> Response<Body> {
    let path = shown(uri.path());
    let message = format!("Nothing is served at {path}. GET /prompts lists the prompts; each is called by POST /prompts/NAME.");
    refuse(&Refusal::new(StatusCode::NOT_FOUND, Kind::NotFound, "path_not_found", message), &[])
}

/// A path that is served for another method.
pub fn wrong_method(method: &Method, uri: &Uri) -> Response<Body> {
    let path = shown(uri.path());
    let right = if uri.path() == "/prompts" || uri.path().ends_with("/openapi.json") { "GET" } else { "POST, or GET for its schema" };
    let message = format!("{path} is not called with {method}: use {right}.");
    refuse(&Refusal::new(StatusCode::METHOD_NOT_ALLOWED, Kind::Invalid, "method_not_allowed", message), &[])
}

async fn list(State(gateway): State<Arc<Gateway>>, head: Parts) -> Response<Body> {
    let caller = match gateway.caller(&head, Plane::Data).await {
        Ok(caller) => caller,
        Err(refusal) => return refuse(&refusal, &[]),
    };
    let data: Vec<Value> = listed(&gateway, &caller)
        .iter()
        .map(|(name, prompt)| json!({ "name": name, "version": prompt.version, "state": prompt.life.state.as_str(), "description": prompt.front.description }))
        .collect();
    Json(json!({ "object": "list", "data": data })).into_response()
}

/// The prompts that a key may call now, one version of each.
pub fn callable(gateway: &Gateway, caller: &Caller) -> Vec<Arc<Prompt>> {
    let (prompts, now) = (gateway.prompts.prompts(), Timestamp::now());
    let chosen = prompts.names().filter_map(|name| prompts.shown(name, now));
    chosen.filter(|prompt| prompt.state_at(now) != Life::Retired && may_call(gateway, caller, prompt)).cloned().collect()
}

/// The same, each by the name that the key may call it by; of a prompt that it may call by versions alone, the newest of those.
pub fn listed(gateway: &Gateway, caller: &Caller) -> Vec<(String, Arc<Prompt>)> {
    let (prompts, now) = (gateway.prompts.prompts(), Timestamp::now());
    let is_there = |prompt: &Prompt| match prompt.state_at(now) {
        Life::Retired => false,
        Life::Draft => caller.names(&format!("{}{}", chat::PREFIX, prompt.label())),
        Life::Published | Life::Deprecated => true,
    };
    let pinned = |name: &str| {
        let versions = prompts.versions(name).into_iter().flat_map(|versions| versions.values().rev());
        let may_call = |prompt: &&Arc<Prompt>| is_there(prompt) && may_call_as(gateway, caller, &prompt.label(), prompt);
        versions.filter(may_call).map(|prompt| (prompt.label(), Arc::clone(prompt))).next()
    };
    let bare = |name: &str| {
        let shown = prompts.shown(name, now).filter(|prompt| is_there(prompt) && may_call(gateway, caller, prompt));
        shown.map(|prompt| (name.to_owned(), Arc::clone(prompt)))
    };
    prompts.names().filter_map(|name| bare(name).or_else(|| pinned(name))).collect()
}

/// Whether the key may call the prompt, and there is a model for it.
pub fn may_call(gateway: &Gateway, caller: &Caller, prompt: &Prompt) -> bool {
    may_call_as(gateway, caller, &prompt.name, prompt)
}

fn may_call_as(gateway: &Gateway, caller: &Caller, name: &str, prompt: &Prompt) -> bool {
    chat::may_call(caller, name).is_ok() && has_model(gateway, caller, prompt)
}

/// Whether there is a model for the prompt, which the key may run on.
pub fn has_model(gateway: &Gateway, caller: &Caller, prompt: &Prompt) -> bool {
    let model = chat::model(gateway, prompt);
    gateway.router().resolve(model).is_ok_and(|targets| may_use_all(caller, model, &targets, true).is_ok())
}

async fn found(gateway: &Gateway, head: &Parts, name: &str) -> Result<Arc<Prompt>, Refusal> {
    let caller = gateway.caller(head, Plane::Data).await?;
    chat::shown(gateway, &caller, name)
}

async fn show(State(gateway): State<Arc<Gateway>>, Segment(name): Segment<1>, head: Parts) -> Response<Body> {
    let prompt = match found(&gateway, &head, &name).await {
        Ok(prompt) => prompt,
        Err(refusal) => return refuse(&refusal, &[]),
    };
    let mut response = Json(json!({
        "name": prompt.name,
        "version": prompt.version,
        "state": prompt.life.state.as_str(),
        "description": prompt.front.description,
        "sunset": prompt.life.sunset,
        "successor": prompt.life.successor,
        "versions": versions(&gateway, &prompt.name),
        "input": prompt.front.input,
        "output": prompt.front.output,
    }))
    .into_response();
    write_headers(&mut response, &prompt);
    response
}

/// Its versions, but for drafts.
fn versions(gateway: &Gateway, name: &str) -> Vec<u32> {
    let prompts = gateway.prompts.prompts();
    let versions = prompts.versions(name).into_iter().flat_map(BTreeMap::values);
    versions.filter(|prompt| prompt.life.state != Life::Draft).map(|prompt| prompt.version).collect()
}

async fn describe(State(gateway): State<Arc<Gateway>>, Segment(name): Segment<1>, head: Parts) -> Response<Body> {
    match found(&gateway, &head, &name).await {
        Ok(prompt) => Json(openapi::of(&prompt, &name, &head)).into_response(),
        Err(refusal) => refuse(&refusal, &[]),
    }
}

/// Calls a prompt.
async fn call(State(gateway): State<Arc<Gateway>>, Segment(name): Segment<1>, request: Request) -> Response<Body> {
    let (head, body) = request.into_parts();
    run(&gateway, &name, head, Given::Body(body)).await
}

/// Calls a prompt for a request of another surface, whose head has the key: the answer is the same as that of `POST /prompts/{name}`.
pub async fn call_with(gateway: &Arc<Gateway>, name: &str, head: Parts, variables: Value) -> Response<Body> {
    run(gateway, &as_shown(gateway, name), head, Given::Value(variables)).await
}

/// The name that a caller goes by who has read a prompt's schema before: where versions that share calls have others, it names the one that is shown.
fn as_shown(gateway: &Gateway, name: &str) -> String {
    let (prompts, now) = (gateway.prompts.prompts(), Timestamp::now());
    match prompts.sharing(name, now).split_last() {
        Some((shown, others))
            if others.iter().any(|other| other.front.input != shown.front.input || other.front.output != shown.front.output) =>
        {
            shown.label()
        }
        _ => name.to_owned(),
    }
}

async fn run(gateway: &Arc<Gateway>, name: &str, head: Parts, given: Given) -> Response<Body> {
    match prepare(gateway, name, head.clone(), given).await {
        Ok(call) => {
            let prompt = Arc::clone(&call.prompt);
            let mut response = call.answer(gateway).await;
            write_headers(&mut response, &prompt);
            response
        }
        Err((caller, (refusal, violations))) => {
            // What never reaches the corridor is counted and logged here.
            let mut ticket = Ticket::new(gateway, Operation::Chat, &head.headers, &head.extensions);
            caller.iter().for_each(|caller| ticket.called_by(caller));
            ticket.called_model(&format!("{}{name}", chat::PREFIX));
            ticket.refused(&refusal);
            refuse(&refusal, &violations)
        }
    }
}

/// The key, the prompt and the variables, all checked.
async fn prepare(gateway: &Gateway, name: &str, head: Parts, given: Given) -> Result<Call, (Option<Caller>, Refused)> {
    let caller = gateway.keys.check(&head, Plane::Data).await.map_err(|rejected| (None, (rejected.into(), Vec::new())))?;
    match prepare_for(gateway, &caller, name, head, given).await {
        Ok(call) => Ok(call),
        Err(refused) => Err((Some(caller), refused)),
    }
}

async fn prepare_for(gateway: &Gateway, caller: &Caller, name: &str, head: Parts, given: Given) -> Result<Call, Refused> {
    let plain = |refusal: Refusal| (refusal, Vec::new());
    let prompt = chat::find(gateway, caller, name).map_err(plain)?;
    let (given, stream) = match given {
        Given::Value(value) => (value, false),
        Given::Body(body) => match read(gateway, caller, &head, body).await {
            Ok(value) => (value, wants_events(&head)),
            Err(refusal) => return Err(plain(chat::counted(caller, refusal))),
        },
    };
    let unfit = |violations: Vec<Violation>| {
        let refusal = chat::counted(caller, with_life(chat::unfit(&prompt, &violations), &prompt));
        // Of a limit that is reached, nothing in the input is to blame.
        let is_unfit = refusal.code == "input_invalid";
        (refusal, if is_unfit { violations } else { Vec::new() })
    };
    let (checked, size) = (Arc::clone(&prompt), body::announced(&head.headers).unwrap_or(usize::MAX));
    let check = move || {
        let input = chat::variables(&checked, given)?;
        Ok((checked.fitted(&input)?, input))
    };
    // A large input takes its time, and others on this thread none of it.
    let done = match size > LARGE {
        true => tokio::task::spawn_blocking(check).await.unwrap_or_else(|_| Err(Vec::new())),
        false => check(),
    };
    let (prompt, input) = done.map_err(unfit)?;
    Ok(Call { prompt, input, stream, head })
}

/// What is told of a prompt's life, also where a call of it is refused.
fn with_life(mut refusal: Refusal, prompt: &Prompt) -> Refusal {
    refusal.headers.extend(prompt.headers().into_iter().map(|(name, value)| (HeaderName::from_static(name), value)));
    refusal
}

async fn read(gateway: &Gateway, caller: &Caller, head: &Parts, body: Body) -> Result<Value, Refusal> {
    Prompts.check_head(head)?;
    let (_, bytes) = gateway.body(caller.clone(), head, body).await?;
    serde_json::from_slice(&bytes).map_err(|error| {
        let message = format!("The body is no JSON ({error}): send the prompt's variables as a JSON object.");
        Refusal::invalid("body_not_json", message)
    })
}

fn wants_events(head: &Parts) -> bool {
    let is_taken = |range: &str| {
        let mut parts = range.split(';').map(str::trim);
        let is_events = parts.next().is_some_and(|kind| kind.eq_ignore_ascii_case("text/event-stream"));
        let weight = parts.find_map(|part| part.strip_prefix("q=").or(part.strip_prefix("Q=")));
        is_events && weight.is_none_or(|weight| weight.trim().parse::<f32>().is_ok_and(|weight| weight > 0.0))
    };
    let accepts = |value: &http::HeaderValue| value.to_str().is_ok_and(|text| text.split(',').any(is_taken));
    let query = head.uri.query().unwrap_or_default();
    head.headers.get(header::ACCEPT).is_some_and(accepts) || query.split('&').any(|pair| pair == "stream=true")
}

fn write_headers(response: &mut Response<Body>, prompt: &Prompt) {
    for (name, value) in prompt.headers() {
        response.headers_mut().insert(HeaderName::from_static(name), value);
    }
}
