//! The corridor's side door: a request beside chat through the same rooms, passed on as it is to a provider that serves it.

mod aim;
mod batch;
mod give;
mod google;
mod upload;

use std::sync::Arc;

use axum::body::Body;
use axum::routing::MethodFilter;
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderName, Method, Request, Response, StatusCode};

pub(super) use aim::held_by;
pub(super) use batch::with_results_here;
pub(super) use google::file_of;
pub use upload::{of_piece, serve_piece};

use super::estimate::{Estimate, Input};
use super::paying::{self, Holding, Paying};
use super::{check_foreign, check_known, check_name, ledger_down, list, may_use_all, name_request, others_named, pages};
use crate::catalog::{Dialect, Operation};
use crate::dialect::ask::{broken, model_in, names_others, once_in_any_case, optional};
use crate::dialect::members::Members;
use crate::dialect::vocabulary;
use crate::error::{Kind, Refusal};
use crate::gateway::Gateway;
use crate::held;
use crate::key::KeyId;
use crate::key::caller::{Caller, Plane};
use crate::key::presented;
use crate::prompt::chat;
use crate::quota::Asker;
use crate::route::{self, Target};
use crate::surface::Surface;
use crate::surface::upload::{Upload, Wants};
use crate::ticket::Ticket;
use crate::upstream::{Answer, Errand, Load};

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
    /// The upload of a file begins.
    Begin,
    /// It goes on, until the file is made.
    GoOn,
    /// They are listed.
    List(held::Kind),
    /// The one that the path names is read or changed.
    Use(held::Kind),
    /// The one that the path names is deleted.
    Delete(held::Kind),
}

/// What the rooms up to the provider found out.
struct Walked {
    key: KeyId,
    target: Target,
    answer: Reply,
    /// The thing that the path names.
    id: String,
    /// Of an upload: where it was begun here, or where its provider takes it.
    address: Option<String>,
}

/// What came of it.
pub(super) enum Reply {
    /// A provider's answer, with its body still to come.
    Answer(Answer),
    /// A list, put together of a provider's pages; their head is the last one's.
    List(http::response::Parts, Bytes),
}

/// What came with a request.
struct Sent {
    load: Load,
    model: Option<String>,
    /// What the model is given to read.
    input: Input,
    /// How many pictures it is asked for at the most.
    pictures: u64,
    /// Whether it names other models that its provider may call instead.
    names_others: bool,
    /// A member by which its provider may do what nobody here knows.
    unknown: Option<String>,
}

/// Parameters of a query that name models.
const NAMES_MODELS: [&str; 6] = ["model", "models", "fallbacks", "deployment", "deployment_id", "engine"];
/// As many pictures as OpenAI makes of one request (`n` in "Create image edit"): in a form their number may come after all else.
const MOST_PICTURES: u64 = 10;
/// Names the provider in an answer, and in a request that names no model.
const PROVIDER: HeaderName = HeaderName::from_static("keyward-provider");

/// How a path of a table's is called; none where it is none of them.
pub fn methods(table: &'static [Served], path: &str) -> Vec<&'static str> {
    table.iter().filter(|served| served.is_at(path)).map(|served| served.method.as_str()).collect()
}

/// Whether a query's parameter does, as some reader may spell it.
fn names_models(parameter: &str) -> bool {
    let name = parameter.split('[').next().unwrap_or_default().trim();
    NAMES_MODELS.iter().any(|names| name.eq_ignore_ascii_case(names))
}

// === impl Served ===

impl Served {
    /// Its method, as a router has it.
    pub fn filter(&self) -> MethodFilter {
        // Every table has the usual methods alone.
        MethodFilter::try_from(self.method.clone()).unwrap_or(MethodFilter::POST)
    }

    /// Whether a request's path is one of this one's.
    pub fn is_at(&self, path: &str) -> bool {
        let (mut expected, mut given) = (self.path.split('/'), path.split('/'));
        loop {
            match (expected.next(), given.next()) {
                (None, None) => return true,
                (Some(expected), Some(given)) if expected == given || is_id(expected, given) => {}
                _ => return false,
            }
        }
    }
}

/// Whether a segment is an id where one is expected, with the verb after it that is expected: `{id}` or `{id}:cancel`.
fn is_id(expected: &str, given: &str) -> bool {
    let Some((_, verb)) = expected.strip_prefix('{').and_then(|rest| rest.split_once('}')) else { return false };
    given.strip_suffix(verb).is_some_and(|id| !id.is_empty() && !id.contains(':'))
}

/// Serves a request beside chat; `model` is the one that the path names, where it does.
pub async fn serve(
    gateway: Arc<Gateway>,
    surface: &'static dyn Surface,
    served: &'static Served,
    model: Option<String>,
    request: Request<Body>,
) -> Response<Body> {
    let mut ticket = Ticket::new(&gateway, served.operation, request.headers(), request.extensions());
    let request_id = ticket.request_id.clone();
    let walked = walk(&gateway, surface, served, model, &mut ticket, request).await;
    let ends_soon = ticket.ends_soon;
    let mut response = match walked {
        Ok(walked) => give::hand_over(&gateway, surface, served, ticket, walked).await,
        Err(refusal) => {
            ticket.refused(&refusal);
            surface.refuse(&refusal)
        }
    };
    name_request(surface, &mut response, request_id, ends_soon);
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
    ticket.called_by(&caller);
    let mut query = presented::query_beside_key(&head).map_err(|reason| reason.refusal(ticket.key))?;
    // Some servers take one from there before the body's, which alone is judged.
    query.retain(|(name, _)| served.deed != Deed::Call || !names_models(name));
    let (caller, sent) = load(gateway, surface, served, caller, &head, body).await?;
    ticket.called_by(&caller);
    let Sent { mut load, model: named, input, pictures, names_others, unknown } = sent;
    let model = model.or(named);
    model.as_deref().map_or(Ok(()), check_name)?;
    model.iter().for_each(|model| ticket.called_model(model));
    model.as_deref().map_or(Ok(()), |model| chat::check_operation(model, served.operation, served.dialect))?;
    let rest = rest(served, &head)?;
    let id = match served.dialect {
        // `/files/ID:download` is about `files/ID`.
        Dialect::Gemini => rest.trim_start_matches('/').split(':').next().unwrap_or_default().to_owned(),
        _ => rest.split('/').nth(1).unwrap_or_default().to_owned(),
    };
    if served.deed == Deed::Make(held::Kind::Batch) && caller.has_hard_budget() {
        return Err(unbounded());
    }
    if names_others && served.deed == Deed::Call && caller.has_list_or_budget() {
        return Err(others_named());
    }
    let targets = aim::targets(gateway, served, &caller, &head, &mut load, model.as_deref(), &id).await?;
    model.as_deref().map_or(Ok(()), |model| check_foreign(model, &targets))?;
    let mut targets = route::serving(targets, served.operation, served.dialect)?;
    let unknown = unknown.as_deref().filter(|_| served.deed == Deed::Call && !served.operation.is_free());
    check_known(unknown, &caller, &targets, &|_| false)?;
    let output = served.operation.has_no_output().then_some(0);
    let estimate_of = |targets: &[Target]| Estimate::new(served.operation, targets, input, output, pictures);
    // Nobody says in such a request how much the answer may be.
    let (permit, estimate) =
        paying::admit(&caller, &mut targets, &estimate_of, &|_| false, false).map_err(|refused| refused.told(Asker::Nobody))?;
    ticket.begin(&targets[0], permit, &estimate).await.map_err(|e| ledger_down(&e))?;
    let mut headers = Errand::headers(served.dialect, &head.headers, &load);
    let begins_upload = served.deed == Deed::Begin;
    let address = begins_upload.then(|| upload::own_address(&head)).transpose()?;
    if begins_upload {
        headers.extend(upload::beginning(&head, &gateway.config.limits)?);
    }
    let (operation, dialect) = (served.operation, served.dialect);
    let errand = Errand { operation, dialect, method: served.method.clone(), rest, query, headers, load, begins_upload };
    let may = |caller: &Caller| match (served.deed, model.as_deref()) {
        (Deed::Call, Some(model)) => may_use_all(caller, model, &targets, false).map_err(|reason| reason.refusal(Some(caller.id()))),
        (Deed::Call, None) => aim::may_use_any(caller, &targets[0].provider),
        // What a key made stays its own.
        _ => Ok(()),
    };
    let holding = Holding { gateway, key: caller.id(), head: &head, may: &may };
    let answer = match served.deed {
        Deed::List(kind) if dialect == Dialect::Gemini => pages::page(&holding, &caller, kind, errand, &targets).await?,
        Deed::List(kind) => list::list(&holding, &caller, kind, errand, &targets).await?,
        _ => {
            let payer = Paying { holding, ticket, caller: &caller, estimate_of: &estimate_of };
            let answered = gateway.client.run(&errand, &targets, &payer).await;
            paying::asked(ticket, &targets, &answered, &estimate_of);
            Reply::Answer(answered.map_err(|failed| ticket.failed(failed, &targets))?)
        }
    };
    let (status, index) = match &answer {
        Reply::Answer(answer) => (answer.head.status, answer.target),
        Reply::List(head, _) => (head.status, 0),
    };
    ticket.answering(status, &targets[index]);
    Ok(Walked { key: caller.id(), target: targets[index].clone(), answer, id, address })
}

/// What a batch costs is known when it has been spent.
fn unbounded() -> Refusal {
    let message = "This key, its project, its team or this gateway has a hard budget, and what a batch will cost cannot be held against one: send its requests one by one, or ask whoever runs this gateway for a soft budget.";
    Refusal::new(StatusCode::FORBIDDEN, Kind::Permission, "batch_with_budget", message)
}

/// What came with a request, and its caller as it is once that is here.
async fn load(
    gateway: &Gateway,
    surface: &dyn Surface,
    served: &Served,
    caller: Caller,
    head: &Parts,
    body: Body,
) -> Result<(Caller, Sent), Refusal> {
    let nothing = Sent { load: Load::Nothing, model: None, input: Input::text(0), pictures: 1, names_others: false, unknown: None };
    match served.takes {
        Takes::Nothing => Ok((caller, nothing)),
        Takes::Json => {
            surface.check_head(head)?;
            let (caller, bytes) = gateway.body(caller, head, body).await?;
            // Cancelling and the like may come with nothing.
            if bytes.is_empty() && matches!(served.deed, Deed::Use(_) | Deed::Begin) {
                return Ok((caller, nothing));
            }
            let members = Members::read(&bytes).map_err(|e| broken(&bytes, &e))?;
            once_in_any_case(&members)?;
            let is_named = served.deed == Deed::Call && members.given("model").is_some();
            let (model, at) = if is_named { model_in(&members).map(|(model, at)| (Some(model), at))? } else { (None, None) };
            let text = if served.operation.is_free() { 0 } else { bytes.len() as u64 };
            let input = if members.points_out() { Input::and_more(text) } else { Input::text(text) };
            // One that is shown before it is ready costs less than a whole one.
            let number = |name| optional::<u64>(&members, name, "has to be a whole number");
            let pictures = number("n")?.unwrap_or(1).max(1).saturating_add(number("partial_images")?.unwrap_or(0));
            let (names_others, unknown) = (names_others(&members), vocabulary::unknown_beside_chat(&members).map(str::to_owned));
            Ok((caller, Sent { load: Load::Json(bytes.clone(), at), model, input, pictures, names_others, unknown }))
        }
        Takes::Form => {
            let share = gateway.forms.of(caller.family());
            let wants = match served.deed {
                Deed::Call if caller.has_hard_budget() => Wants::All,
                Deed::Call => Wants::Model,
                _ => Wants::Nothing,
            };
            let upload = Upload::read(body, head, wants, &gateway.config, share).await?;
            let caller = gateway.still(caller, head, upload.was_late).await?;
            let model = upload.model().map(str::to_owned).filter(|_| served.deed == Deed::Call);
            let are_many = matches!(served.operation, Operation::ImageEdits | Operation::ImageVariations) && !upload.is_whole();
            let (pictures, unknown) = (if are_many { MOST_PICTURES } else { upload.pictures }, upload.unknown.clone());
            let (load, input) = (Load::Form(Box::new(upload)), Input::and_more(0));
            Ok((caller, Sent { load, model, input, pictures, names_others: false, unknown }))
        }
    }
}

/// What stands after the operation's own path: ids and words, such as `/file-1/content`.
fn rest(served: &Served, head: &Parts) -> Result<String, Refusal> {
    let is_googles = served.dialect == Dialect::Gemini;
    let (base, rest) = match (served.deed, served.path.split_once("/{")) {
        (Deed::Call, _) => return Ok(String::new()),
        // A surface's own word may stand before it.
        (Deed::Use(_) | Deed::Delete(_), Some((base, _))) => (base, head.uri.path().split_once(base).map_or("", |(_, rest)| rest)),
        _ => (served.path, ""),
    };
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/_-".contains(&byte) || (byte == b':' && is_googles);
    match rest.bytes().all(is_plain) {
        // Google's operations have no path of their own.
        true if is_googles => Ok(format!("{base}{rest}")),
        true => Ok(rest.to_owned()),
        false => Err(Refusal::new(StatusCode::NOT_FOUND, Kind::NotFound, "path_not_found", "The path holds an id that is none.")),
    }
}

fn not_served(message: String) -> Refusal {
    Refusal::new(StatusCode::NOT_IMPLEMENTED, Kind::Invalid, "operation_not_served", message)
}
