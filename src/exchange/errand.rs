//! The corridor's side door: a request beside chat through the same rooms, passed on as it is to a provider that serves it.

use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderName, Method, Request, Response, StatusCode, header};
use jiff::Timestamp;

use super::handover::{Incoming, Outgoing, READ_WHOLE, is, write_headers};
use super::keeping::{id_of, store_down};
use super::{ledger_down, list};
use crate::catalog::{Dialect, Operation};
use crate::dialect::ask::{broken, model_in};
use crate::dialect::ir::Dropped;
use crate::dialect::members::Members;
use crate::dialect::{Meter, Reading, wire};
use crate::error::{Kind, Refusal};
use crate::gateway::Gateway;
use crate::held::{self, Held};
use crate::key::keyring::{Caller, Plane};
use crate::ledger::record::Outcome;
use crate::route::{LiveProvider, Target};
use crate::surface::upload::Upload;
use crate::surface::{ProviderError, REQUEST_ID, Surface, body};
use crate::ticket::Ticket;
use crate::upstream::{self, Answer, AnswerBody, Errand, Failure, Load, Partial, Watch, Who, retry_after};

/// A path that is served beside chat.
#[derive(Debug)]
pub struct Served {
    /// How it is called.
    pub method: Method,
    /// Its path, in the router's words.
    pub path: &'static str,
    /// What is wanted.
    pub operation: Operation,
    /// In which dialect.
    pub dialect: Dialect,
    /// What comes with it.
    pub takes: Takes,
    /// What becomes of things that the provider keeps.
    pub deed: Deed,
}

/// What comes with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it all")]
pub enum Takes {
    Nothing,
    Json,
    Form,
}

/// What becomes of things that the provider keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// Nothing is kept.
    Call,
    /// One is made.
    Make(held::Kind),
    /// They are listed.
    List(held::Kind),
    /// The one that the path names is read or changed.
    Use(held::Kind),
    /// The one that the path names is deleted.
    Delete(held::Kind),
}

/// What the rooms up to the provider found out.
struct Walked {
    key: crate::key::KeyId,
    target: Target,
    answer: Reply,
    /// The thing that the path names.
    id: String,
}

/// What came of it.
pub(super) enum Reply {
    /// A provider's answer, with its body still to come.
    Answer(Answer),
    /// A list, put together of a provider's pages; their head is the last one's.
    List(http::response::Parts, Bytes),
}

/// Names the provider in an answer, and in a request that names no model.
const PROVIDER: HeaderName = HeaderName::from_static("keyward-provider");

/// Serves a request beside chat; `model` is the one that the path names, where it does.
pub async fn serve(
    gateway: Arc<Gateway>,
    surface: &'static dyn Surface,
    served: &'static Served,
    model: Option<String>,
    request: Request<Body>,
) -> Response<Body> {
    let mut ticket = Ticket::new(&gateway, served.operation, request.headers());
    let request_id = ticket.request_id.clone();
    let mut response = match walk(&gateway, surface, served, model, &mut ticket, request).await {
        Ok(walked) => hand_over(&gateway, surface, served, ticket, walked).await,
        Err(refusal) => {
            ticket.refused(&refusal);
            surface.refuse(&refusal)
        }
    };
    response.headers_mut().insert(REQUEST_ID, request_id);
    response
}

async fn walk(
    gateway: &Arc<Gateway>,
    surface: &dyn Surface,
    served: &'static Served,
    model: Option<String>,
    ticket: &mut Ticket,
    request: Request<Body>,
) -> Result<Walked, Refusal> {
    let (head, body) = request.into_parts();
    let caller = gateway.keys.check(&head, Plane::Data).await?;
    ticket.key = Some(caller.id());
    let (load, named) = load(gateway, surface, served, &head, body).await?;
    let model = model.or(named);
    ticket.model.extend(model.iter().flat_map(|model| model.chars()).take(200));
    let rest = rest(served, &head)?;
    let id = rest.split('/').nth(1).unwrap_or_default().to_owned();
    let targets = targets(gateway, served, &caller, &head, &load, model.as_deref(), &id).await?;
    for target in &targets {
        target.endpoint(served.operation, served.dialect)?;
    }
    let estimated_input = match &load {
        Load::Json(body, _) if !served.operation.is_free() => body.len() as u64 / 4,
        _ => 0,
    };
    let permit = caller.meters().admit(estimated_input)?;
    ticket.begin(&targets[0], permit, estimated_input, None).map_err(|e| ledger_down(&e))?;
    let headers = Errand::headers(served.dialect, &head.headers, &load);
    let (operation, dialect) = (served.operation, served.dialect);
    let errand = Errand { operation, dialect, method: served.method.clone(), rest, query: query(&head), headers, load };
    let answer = match served.deed {
        Deed::List(kind) => list::list(gateway, &caller, kind, errand, &targets).await?,
        _ => Reply::Answer(gateway.client.run(&errand, &targets).await.map_err(Failure::refusal)?),
    };
    let (status, index) = match &answer {
        Reply::Answer(answer) => (answer.head.status, answer.target),
        Reply::List(head, _) => (head.status, 0),
    };
    ticket.answering(status, &targets[index]);
    Ok(Walked { key: caller.id(), target: targets[index].clone(), answer, id })
}

/// What came with the request, and the model that it names.
async fn load(
    gateway: &Gateway,
    surface: &dyn Surface,
    served: &Served,
    head: &Parts,
    body: Body,
) -> Result<(Load, Option<String>), Refusal> {
    match served.takes {
        Takes::Nothing => Ok((Load::Nothing, None)),
        Takes::Json => {
            surface.check_head(head)?;
            let bytes = body::read(body, &head.headers, &gateway.config.limits).await?;
            // Cancelling and the like may come with nothing.
            if bytes.is_empty() && matches!(served.deed, Deed::Use(_)) {
                return Ok((Load::Nothing, None));
            }
            let members = Members::read(&bytes).map_err(|e| broken(&bytes, &e))?;
            let is_named = served.deed == Deed::Call && members.get("model").is_some_and(|member| member.raw != "null");
            let (model, at) = if is_named { model_in(&members).map(|(model, at)| (Some(model), at))? } else { (None, None) };
            Ok((Load::Json(bytes.clone(), at), model))
        }
        Takes::Form => {
            let upload = Upload::read(body, head, served.deed == Deed::Call, &gateway.config).await?;
            let model = upload.model().map(str::to_owned).filter(|_| served.deed == Deed::Call);
            Ok((Load::Form(Box::new(upload)), model))
        }
    }
}

/// What stands after the operation's own path: ids and words, such as `/file-1/content`.
fn rest(served: &Served, head: &Parts) -> Result<String, Refusal> {
    let Some((base, _)) = served.path.split_once("/{").filter(|_| served.deed != Deed::Call) else { return Ok(String::new()) };
    let rest = head.uri.path().strip_prefix(base).unwrap_or_default();
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/_-".contains(&byte);
    match rest.bytes().all(is_plain) {
        true => Ok(rest.to_owned()),
        false => Err(Refusal::new(StatusCode::NOT_FOUND, Kind::NotFound, "path_not_found", "The path holds an id that is none.")),
    }
}

/// The query without our own key, which may stand in it.
fn query(head: &Parts) -> Vec<(String, String)> {
    let query = head.uri.query().unwrap_or_default();
    url::form_urlencoded::parse(query.as_bytes())
        .filter(|(name, _)| name != "key")
        .map(|(name, value)| (name.into(), value.into()))
        .collect()
}

async fn targets(
    gateway: &Gateway,
    served: &Served,
    caller: &Caller,
    head: &Parts,
    load: &Load,
    model: Option<&str>,
    id: &str,
) -> Result<Vec<Target>, Refusal> {
    let wanted = head.headers.get(PROVIDER).map(|value| value.to_str().unwrap_or_default());
    match (served.deed, model) {
        (Deed::Use(kind) | Deed::Delete(kind), _) => holder(gateway, caller, kind, id).await,
        (Deed::List(kind), _) => {
            let mut holders: Vec<String> = held_by(gateway, caller, kind).await?.into_iter().map(|held| held.provider).collect();
            holders.sort();
            holders.dedup();
            match (wanted, holders.as_slice()) {
                (None, [one]) => at(gateway, one).map(|target| vec![target]),
                (None, [_, _, ..]) => Err(ambiguous(&format!("list each '{}' by its provider", kind.as_str()), &holders)),
                _ => choose(gateway, served, wanted),
            }
        }
        (Deed::Make(held::Kind::Batch), _) => {
            let input = match load {
                Load::Json(body, _) => {
                    Members::read(body).ok().and_then(|members| serde_json::from_str(members.get("input_file_id")?.raw).ok())
                }
                _ => None,
            };
            let need = "'input_file_id' has to be the id of a file that was uploaded with the purpose 'batch'.";
            let input: String = input.ok_or_else(|| Refusal::invalid("invalid_value", need).with_param("input_file_id"))?;
            let targets = holder(gateway, caller, held::Kind::File, &input).await?;
            // The file names its models by itself: whoever may send it may use any.
            may_use_any(caller, &targets[0].provider)?;
            Ok(targets)
        }
        (_, Some(model)) => {
            let targets = gateway.router.resolve(model)?;
            for target in &targets {
                let names = [model, &target.full_name()];
                caller.may_use(&names, target.provider.is_simulator()).map_err(|reason| reason.refusal(Some(caller.id())))?;
            }
            Ok(targets)
        }
        (deed, None) => {
            let targets = choose(gateway, served, wanted)?;
            let provider = &targets[0].provider;
            let has_some = |model: &String| caller.may_use(&[&format!("{}/{model}", provider.id)], false).is_ok();
            if deed == Deed::Call || !provider.models.keys().any(has_some) {
                may_use_any(caller, provider)?;
            }
            Ok(targets)
        }
    }
}

/// Whether the key may use whatever model of the provider's.
fn may_use_any(caller: &Caller, provider: &LiveProvider) -> Result<(), Refusal> {
    let any = format!("{}/*", provider.id);
    caller.may_use(&[&any], provider.is_simulator()).map_err(|reason| reason.refusal(Some(caller.id())))
}

async fn holder(gateway: &Gateway, caller: &Caller, kind: held::Kind, id: &str) -> Result<Vec<Target>, Refusal> {
    let found = gateway.held.holder(caller.id(), kind, id).await.map_err(|e| store_down(&e))?;
    let provider = found.ok_or_else(|| kind.not_found(id))?;
    at(gateway, &provider).map(|target| vec![target])
}

/// All of a kind that the key made.
pub(super) async fn held_by(gateway: &Gateway, caller: &Caller, kind: held::Kind) -> Result<Vec<Held>, Refusal> {
    gateway.held.all(caller.id(), kind).await.map_err(|e| store_down(&e))
}

/// A provider as a target, with no model.
fn at(gateway: &Gateway, id: &str) -> Result<Target, Refusal> {
    let shown: String = id.chars().take(60).collect();
    let message = format!("There is no live provider '{shown}': GET /v1/models lists those that are live, before the '/' of each model.");
    let provider =
        gateway.router.provider(id).ok_or_else(|| Refusal::new(StatusCode::NOT_FOUND, Kind::NotFound, "provider_not_live", message))?;
    Ok(Target { provider: Arc::clone(provider), model: String::new() })
}

/// The provider for a request that names no model: the one wanted, or the only one.
fn choose(gateway: &Gateway, served: &Served, wanted: Option<&str>) -> Result<Vec<Target>, Refusal> {
    if let Some(wanted) = wanted {
        return at(gateway, wanted).map(|target| vec![target]);
    }
    let serves = |provider: &&Arc<LiveProvider>| provider.endpoint(None, served.operation, served.dialect).is_ok();
    let providers: Vec<&Arc<LiveProvider>> = gateway.router.live().filter(serves).collect();
    let name = served.operation.as_str();
    match providers.as_slice() {
        [one] => Ok(vec![Target { provider: Arc::clone(one), model: String::new() }]),
        [] => Err(not_served(format!("No live provider serves '{name}': it needs one that speaks {}.", served.dialect.as_str()))),
        several => {
            let ids: Vec<String> = several.iter().map(|provider| provider.id.clone()).collect();
            Err(ambiguous(&format!("for '{name}' without a model"), &ids))
        }
    }
}

fn ambiguous(what: &str, ids: &[String]) -> Refusal {
    let message = format!("Several providers could be meant; {what}, say which with the header 'keyward-provider': {}.", ids.join(", "));
    Refusal::invalid("provider_ambiguous", message)
}

fn not_served(message: String) -> Refusal {
    Refusal::new(StatusCode::NOT_IMPLEMENTED, Kind::Invalid, "operation_not_served", message)
}

/// Hands the answer over; the ticket is settled when its last byte is on its way.
async fn hand_over(
    gateway: &Arc<Gateway>,
    surface: &'static dyn Surface,
    served: &Served,
    mut ticket: Ticket,
    walked: Walked,
) -> Response<Body> {
    let Walked { key, target, answer, id } = walked;
    let provider = &*target.provider;
    let idle = gateway.client.idle_timeout();
    let (head, outgoing) = match answer {
        Reply::List(head, body) => (head, Ok(Outgoing::Whole { body, reading: Reading::default(), dropped: Dropped::default() })),
        Reply::Answer(Answer { head, body: source, .. }) => {
            let incoming = Incoming { head: &head, source, dialect: served.dialect, provider, idle };
            let outgoing = match head.status.is_success() {
                false => incoming.error().await,
                true => pass(incoming, served).await,
            };
            (head, outgoing)
        }
    };
    let outgoing = match outgoing {
        Ok(Outgoing::Error { text, .. }) if is_unknown_path(head.status, &text) => Err(unserved(served, provider)),
        Ok(Outgoing::Whole { body, reading, dropped }) => match keep(gateway, served.deed, key, provider, &id, &body).await {
            Ok(()) => Ok(Outgoing::Whole { body, reading, dropped }),
            Err(refusal) => Err(refusal),
        },
        other => other.map_err(Failure::refusal),
    };
    let mut response = Response::new(Body::empty());
    *response.status_mut() = head.status;
    write_headers(response.headers_mut(), &head, Some(served.dialect), provider, &ticket);
    let copied = [header::CONTENT_TYPE, header::CONTENT_DISPOSITION];
    for (name, value) in copied.into_iter().filter_map(|name| head.headers.get(&name).map(|value| (name.clone(), value.clone()))) {
        response.headers_mut().insert(name, value);
    }
    match outgoing {
        Ok(Outgoing::Whole { body, reading, .. }) => {
            ticket.settle(Outcome::Answered, Some(reading));
            *response.body_mut() = Body::from(body);
        }
        Ok(Outgoing::Flowing { before, source, meter }) => {
            let is_stream = matches!(meter, Meter::Stream(_));
            if let Some(length) = head.headers.get(header::CONTENT_LENGTH).filter(|_| !is_stream) {
                response.headers_mut().insert(header::CONTENT_LENGTH, length.clone());
            }
            let watch = Watch { meter, ticket, provider: Who::of(provider), is_stream, surface };
            *response.body_mut() = Body::new(AnswerBody::new(before, source, idle, watch));
        }
        Ok(Outgoing::Error { trouble, text }) => {
            ticket.settle(Outcome::ProviderError, None);
            let retry_after = retry_after(&head.headers);
            let error = ProviderError { status: head.status, text: &text, trouble, is_native: true, provider, retry_after };
            return surface.provider_error(&error);
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
    if is(&incoming.head.headers, facts.stream_type) {
        let meter = Meter::stream(facts.tells, false);
        return Ok(Outgoing::Flowing { before: Vec::new(), source: incoming.source, meter });
    }
    // A file's own content may be JSON, whole or broken, as it was uploaded.
    let is_content = served.path.ends_with("/content");
    if matches!(served.deed, Deed::Make(_)) && !incoming.is_json() {
        return Err(incoming.no_json());
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
async fn keep(
    gateway: &Gateway,
    deed: Deed,
    key: crate::key::KeyId,
    provider: &LiveProvider,
    id: &str,
    body: &Bytes,
) -> Result<(), Refusal> {
    let held = |kind, id| Held { kind, id, key, provider: provider.id.clone(), created: Timestamp::now() };
    let mut made = Vec::new();
    match deed {
        Deed::Make(kind) => {
            made.extend(id_of(body).map(|id| held(kind, id)));
            if made.is_empty() {
                let why = format!("it made a {} and did not say its id", kind.as_str());
                return Err(Failure::BadAnswer { provider: Who::of(provider), why }.refusal());
            }
        }
        Deed::Use(held::Kind::Batch) => made.extend(list::files_of(body).into_iter().map(|id| held(held::Kind::File, id))),
        Deed::Delete(kind) => gateway.held.let_go(key, kind, id).await.map_err(|e| store_down(&e))?,
        _ => {}
    }
    for held in made {
        gateway.held.keep(held).await.map_err(|e| store_down(&e))?;
    }
    Ok(())
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
