//! Prompts as a REST API: `POST /prompts/{name}`, `GET /prompts`, each prompt's schema and OpenAPI description.

mod answer;
mod openapi;
mod surface;

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::response::IntoResponse;
use axum::routing::get;
use http::request::Parts;
use http::{HeaderName, Method, Response, StatusCode, Uri, header};
use jiff::Timestamp;
use serde_json::{Value, json};

use self::answer::Call;
use self::surface::{Prompts, refuse};
use super::{Surface, body};
use crate::catalog::Operation;
use crate::error::{Kind, Refusal};
use crate::gateway::Gateway;
use crate::key::Caller;
use crate::key::keyring::Plane;
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
    let path: String = uri.path().chars().take(200).collect();
    let message = format!("Nothing is served at {path}. GET /prompts lists the prompts; each is called by POST /prompts/NAME.");
    refuse(&Refusal::new(StatusCode::NOT_FOUND, Kind::NotFound, "path_not_found", message), &[])
}

/// A path that is served for another method.
pub fn wrong_method(method: &Method, uri: &Uri) -> Response<Body> {
    let path: String = uri.path().chars().take(200).collect();
    let right = if path == "/prompts" || path.ends_with("/openapi.json") { "GET" } else { "POST, or GET for its schema" };
    let message = format!("{path} is not called with {method}: use {right}.");
    refuse(&Refusal::new(StatusCode::METHOD_NOT_ALLOWED, Kind::Invalid, "method_not_allowed", message), &[])
}

async fn list(State(gateway): State<Arc<Gateway>>, head: Parts) -> Response<Body> {
    let caller = match gateway.keys.check(&head, Plane::Data).await {
        Ok(caller) => caller,
        Err(rejected) => return refuse(&rejected.into(), &[]),
    };
    let data: Vec<Value> = callable(&gateway, &caller)
        .iter()
        .map(|prompt| json!({ "name": prompt.name, "version": prompt.version, "state": prompt.life.state.as_str(), "description": prompt.front.description }))
        .collect();
    Json(json!({ "object": "list", "data": data })).into_response()
}

/// The prompts that a key may call now, one version of each.
pub fn callable(gateway: &Gateway, caller: &Caller) -> Vec<Arc<Prompt>> {
    let (prompts, now) = (gateway.prompts.prompts(), Timestamp::now());
    let chosen = prompts.names().filter_map(|name| prompts.choose(name, now, 0.0));
    chosen.filter(|prompt| prompt.state_at(now) != Life::Retired && may_call(gateway, caller, prompt)).cloned().collect()
}

/// Whether the key may call the prompt, and there is a model for it.
pub fn may_call(gateway: &Gateway, caller: &Caller, prompt: &Prompt) -> bool {
    let model = chat::model(gateway, prompt);
    let is_allowed = |target: &crate::route::Target| caller.may_run_on(model, target.provider.is_simulator()).is_ok();
    chat::may_call(caller, &prompt.name).is_ok() && gateway.router().resolve(model).is_ok_and(|targets| targets.iter().all(is_allowed))
}

async fn found(gateway: &Gateway, head: &Parts, name: &str) -> Result<Arc<Prompt>, Refusal> {
    let caller = gateway.keys.check(head, Plane::Data).await?;
    chat::find(gateway, &caller, name)
}

async fn show(State(gateway): State<Arc<Gateway>>, Path(name): Path<String>, head: Parts) -> Response<Body> {
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

async fn describe(State(gateway): State<Arc<Gateway>>, Path(name): Path<String>, head: Parts) -> Response<Body> {
    match found(&gateway, &head, &name).await {
        Ok(prompt) => Json(openapi::of(&prompt, &name, &head)).into_response(),
        Err(refusal) => refuse(&refusal, &[]),
    }
}

/// Calls a prompt.
async fn call(State(gateway): State<Arc<Gateway>>, Path(name): Path<String>, request: Request) -> Response<Body> {
    let (head, body) = request.into_parts();
    run(&gateway, &name, head, Given::Body(body)).await
}

/// Calls a prompt for a request of another surface, whose head has the key: the answer is the same as that of `POST /prompts/{name}`.
pub async fn call_with(gateway: &Arc<Gateway>, name: &str, head: Parts, variables: Value) -> Response<Body> {
    run(gateway, name, head, Given::Value(variables)).await
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
            let mut ticket = Ticket::new(gateway, Operation::Chat, &head.headers);
            caller.iter().for_each(|caller| ticket.called_by(caller, &head));
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
        Given::Body(body) => match read(gateway, &head, body).await {
            Ok(value) => (value, wants_events(&head)),
            Err(refusal) => return Err(plain(chat::counted(caller, refusal))),
        },
    };
    let input = chat::variables(&prompt, given).map_err(|violations| {
        let refusal = chat::counted(caller, chat::unfit(&prompt, &violations));
        // Of a limit that is reached, nothing in the input is to blame.
        let is_unfit = refusal.code == "input_invalid";
        (refusal, if is_unfit { violations } else { Vec::new() })
    })?;
    Ok(Call { prompt, input, stream, head })
}

async fn read(gateway: &Gateway, head: &Parts, body: Body) -> Result<Value, Refusal> {
    Prompts.check_head(head)?;
    let bytes = body::read(body, &head.headers, &gateway.config.limits).await?;
    serde_json::from_slice(&bytes).map_err(|error| {
        let message = format!("The body is no JSON ({error}): send the prompt's variables as a JSON object.");
        Refusal::invalid("body_not_json", message)
    })
}

fn wants_events(head: &Parts) -> bool {
    let accepts = |value: &http::HeaderValue| value.to_str().is_ok_and(|text| text.contains("text/event-stream"));
    let query = head.uri.query().unwrap_or_default();
    head.headers.get(header::ACCEPT).is_some_and(accepts) || query.split('&').any(|pair| pair == "stream=true")
}

fn write_headers(response: &mut Response<Body>, prompt: &Prompt) {
    for (name, value) in prompt.headers() {
        response.headers_mut().insert(HeaderName::from_static(name), value);
    }
}
