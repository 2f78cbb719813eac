//! The corridor: one request through its eight rooms, in order, on one screen.

pub mod errand;
pub mod estimate;
mod fitting;
mod handover;
mod keeping;
mod list;
mod naming;
mod pages;
mod paying;
mod streamed;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::body::Body;
use futures_util::future::BoxFuture;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use jiff::Timestamp;

use self::estimate::{Estimate, Input};
use self::fitting::Again;
pub use self::paying::Holding;
use self::paying::Paying;
use crate::catalog::{Model, Operation};
use crate::dialect::openai_responses::LEAST_OUTPUT;
use crate::dialect::{Ask, Called, Meant, meant, vocabulary};
use crate::error::{Kind, Refusal};
use crate::gateway::Gateway;
use crate::key::caller::Plane;
use crate::key::diagnose::{holds_escaped_key, is_foreign};
use crate::key::{Caller, Reason};
use crate::prompt::{Prompt, chat};
use crate::route::{self, Target};
use crate::surface::{REQUEST_ID, Surface, write_end};
use crate::ticket::Ticket;
use crate::upstream::{self, Answer};

/// Anthropic's header of beta flags.
const BETA_FLAGS: &str = "anthropic-beta";

/// Serves a request, or says in its surface's own shape why not.
pub fn exchange(
    gateway: Arc<Gateway>,
    surface: &'static dyn Surface,
    called: Called,
    request: Request<Body>,
) -> BoxFuture<'static, Response<Body>> {
    let (head, body) = request.into_parts();
    // In a place of its own from the first: whoever hands it on would copy all that it has room for.
    Box::pin(serve(gateway, surface, called, head, body))
}

async fn serve(gateway: Arc<Gateway>, surface: &'static dyn Surface, called: Called, head: Parts, body: Body) -> Response<Body> {
    let mut ticket = Ticket::new(&gateway, called.operation, &head.headers, &head.extensions);
    let request_id = ticket.request_id.clone();
    let walked = walk(&gateway, surface, called, &mut ticket, &head, body).await;
    let (prompt, ends_soon) = (ticket.prompt.clone(), ticket.ends_soon);
    let mut response = match walked {
        Ok((mut walked, again)) => {
            let taken = handover::take_in(&gateway, &mut walked).await;
            let response = handover::hand_over(&gateway, surface, ticket, walked, taken);
            match again {
                None => response,
                // In a place of its own: every request would carry the room that this takes.
                Some(again) => Box::pin(again.settled(&gateway, surface, &request_id, response)).await,
            }
        }
        Err(refusal) => {
            ticket.refused(&refusal);
            surface.refuse(&refusal)
        }
    };
    for (name, value) in prompt.iter().flat_map(|prompt| prompt.headers()) {
        response.headers_mut().insert(name, value);
    }
    name_request(surface, &mut response, request_id, ends_soon);
    response
}

/// Names the request in its answer, and tells when the caller's key ends, where that is soon.
fn name_request(surface: &dyn Surface, response: &mut Response<Body>, request_id: HeaderValue, ends_soon: Option<Timestamp>) {
    if let Some(name) = surface.request_id_header() {
        // A provider's own id says more to whoever asks it for help.
        response.headers_mut().entry(name).or_insert_with(|| request_id.clone());
    }
    response.headers_mut().insert(REQUEST_ID, request_id);
    write_end(response, ends_soon);
}

/// What the rooms up to the provider found out.
pub struct Walked {
    /// The request.
    pub ask: Ask,
    /// The request in the intermediate form, where one of the targets speaks another dialect.
    pub meant: Option<Meant>,
    /// Who could answer.
    pub targets: Vec<Target>,
    /// Who did, and what.
    pub answer: Answer,
}

async fn walk(
    gateway: &Arc<Gateway>,
    surface: &dyn Surface,
    called: Called,
    ticket: &mut Ticket,
    head: &Parts,
    body: Body,
) -> Result<(Walked, Option<Box<Again>>), Refusal> {
    let caller = gateway.keys.check(head, Plane::Data).await?;
    ticket.called_by(&caller);
    ticket.prompt = head.extensions.get::<Arc<Prompt>>().cloned();
    surface.check_head(head)?;
    let (caller, bytes) = gateway.body(caller, head, body).await?;
    ticket.called_by(&caller);
    let mut ask = Ask::read(called, bytes)?;
    check_name(&ask.model)?;
    ticket.called_model(&ask.model);
    chat::check_operation(&ask.model, ask.called.operation, ask.called.dialect)?;
    let mut again = None;
    if ask.model.starts_with(chat::PREFIX) {
        let own = ask.body.clone();
        // In a place of its own: every request would carry the room that this takes.
        let expanded = Box::pin(chat::expand(gateway, &caller, ask)).await?;
        ask = expanded.ask;
        // What a prompt's own surface asks for, it checks itself.
        again = ticket.prompt.is_none().then(|| {
            Box::new(Again {
                prompt: Arc::clone(&expanded.prompt),
                dropped: expanded.dropped,
                called: ask.called.clone(),
                stream: ask.stream,
                own,
                body: ask.body.clone(),
                head: head.clone(),
            })
        });
        ticket.prompt = Some(expanded.prompt);
    }
    let targets = keeping::targets(gateway, &ask, caller.id(), &ticket.prompt).await?;
    check_foreign(&ask.model, &targets)?;
    may_use_all(&caller, &ask.model, &targets, ticket.prompt.is_some()).map_err(|reason| reason.refusal(ticket.key))?;
    let (operation, dialect) = (ask.called.operation, ask.called.dialect);
    let mut targets = route::serving(targets, operation, dialect).map_err(|none| chat::own_fault(&ticket.prompt, none.into()))?;
    let is_same = targets.iter().all(|target| target.endpoint(operation, dialect).is_ok_and(|endpoint| endpoint.dialect == dialect));
    let meant = if is_same { None } else { Some(meant::read(&ask)?) };
    if let Some(meant) = &meant {
        keeping::holder(gateway, caller.id(), &naming::files_meant(meant)).await?;
    }
    let headers = upstream::headers_to_forward(dialect, &head.headers);
    check_seen(&ask, &headers, &caller, &targets, &|glob| ticket.prompt_is_named_by(glob))?;
    ask.holds_price = caller.has_hard_budget();
    let input = Input::of(&ask, &targets, ask.holds_price);
    // One that is translated may have its limit raised to the least that its provider takes.
    let least = meant.as_ref().map_or(0, |_| LEAST_OUTPUT.saturating_mul(ask.choices));
    let most = ask.max_output.map(|most| if most == 0 { 0 } else { most.max(least) });
    let estimate_of = |targets: &[Target]| Estimate::new(operation, targets, input, most, ask.choices);
    let is_part = head.extensions.get::<chat::GoesOn>().is_some();
    let admitted = paying::admit(&caller, &mut targets, &estimate_of, &|glob| ticket.prompt_is_named_by(glob), is_part);
    let (permit, estimate) = admitted.map_err(|refused| refused.told(surface.asker()))?;
    ticket.goes_on_unseen(ask.in_background);
    ticket.begin(&targets[0], permit, &estimate).await.map_err(|e| ledger_down(&e))?;
    let called = ticket.prompt.clone();
    let may = |caller: &Caller| {
        let may_call = called.iter().try_for_each(|prompt| chat::may_call(caller, &prompt.label()));
        let may = may_call.and_then(|()| may_use_all(caller, &ask.model, &targets, called.is_some()));
        may.map_err(|reason| reason.refusal(Some(caller.id())))
    };
    let holding = Holding { gateway, key: caller.id(), head, may: &may };
    let payer = Paying { holding, ticket, caller: &caller, estimate_of: &estimate_of };
    let answered = gateway.client.call(&ask, meant.as_ref(), &targets, &headers, &payer).await;
    paying::asked(ticket, &targets, &answered, &estimate_of);
    let answer = answered.map_err(|failed| ticket.failed(failed, &targets))?;
    ticket.answering(answer.head.status, &targets[answer.target]);
    Ok((Walked { ask, meant, targets, answer }, again))
}

/// A key that was pasted in a model's place goes to no provider, no log and no ledger.
pub fn check_name(model: &str) -> Result<(), Refusal> {
    match holds_escaped_key(model) {
        false => Ok(()),
        true => Err(key_in_model("this gateway: send the key in the header 'Authorization: Bearer …', and")),
    }
}

/// Whether the key may use whoever a model's name leads to, by its caller's own wish or by a prompt's.
pub fn may_use_all(caller: &Caller, model: &str, targets: &[Target], by_prompt: bool) -> Result<(), Reason> {
    targets.iter().try_for_each(|target| match (by_prompt, target.provider.is_simulator()) {
        (true, is_simulated) => caller.may_run_on(model, is_simulated),
        (false, is_simulated) => caller.may_use(model, || target.full_name(), is_simulated),
    })
}

/// The same of a key of another service, as far as no provider lists it: names of models may look like keys.
pub fn check_foreign(model: &str, targets: &[Target]) -> Result<(), Refusal> {
    match is_foreign(model) && targets.iter().any(|target| target.facts().is_none()) {
        false => Ok(()),
        true => Err(key_in_model("another service, which was neither forwarded nor logged: leave it out, and")),
    }
}

fn key_in_model(whose: &str) -> Refusal {
    let message = format!("'model' holds a key of {whose} name a model, as GET /v1/models lists them.");
    Refusal::invalid("key_in_model", message).with_param("model")
}

/// Where a list or a hard budget has to hold, nothing goes on that lets a provider use more than what was judged.
///
/// `is_named` says whether a limit's glob names what the request is beside its targets.
fn check_seen(ask: &Ask, headers: &HeaderMap, caller: &Caller, targets: &[Target], is_named: &dyn Fn(&str) -> bool) -> Result<(), Refusal> {
    if caller.has_list_or_budget() && (ask.names_others || ask.tools.name_models(&ask.body)) {
        return Err(others_named());
    }
    let is_talk = matches!(ask.called.operation, Operation::Chat | Operation::Completions);
    check_known(ask.tools.unknown.as_deref().filter(|_| is_talk), caller, targets, is_named)?;
    // Who tells its cost is charged that, and who is told a highest price keeps it.
    let is_held = |target: &Target| {
        let endpoint = target.endpoint(ask.called.operation, ask.called.dialect);
        target.provider.tells_cost || endpoint.is_ok_and(|endpoint| endpoint.quirks.max_price.is_some())
    };
    check_known(ask.picks_server.as_deref().filter(|_| !targets.iter().all(is_held)), caller, targets, is_named)?;
    let flags = headers.get(BETA_FLAGS).and_then(|flags| str::from_utf8(flags.as_bytes()).ok());
    let widening = flags.and_then(vocabulary::widening).or(ask.widening.as_deref());
    // Who is asked in another dialect is not told of flags, and what takes no more than is reserved for it anyway may be.
    let is_judged = |target: &Target, flag| {
        let endpoint = target.endpoint(ask.called.operation, ask.called.dialect);
        endpoint.is_ok_and(|endpoint| endpoint.dialect != ask.called.dialect)
            || target.facts().and_then(estimate::takes).is_none_or(|takes| takes >= vocabulary::widens_to(flag))
    };
    check_known(widening.filter(|flag| !targets.iter().all(|target| is_judged(target, flag))), caller, targets, is_named)
}

/// Where a hard budget has to hold, nothing goes on by which a provider that charges could do what nobody here knows.
fn check_known(unknown: Option<&str>, caller: &Caller, targets: &[Target], is_named: &dyn Fn(&str) -> bool) -> Result<(), Refusal> {
    // Who tells what it charges may charge for what has no price too.
    let is_free = |target: &Target| !target.provider.tells_cost && target.facts().is_some_and(Model::is_free);
    let touches = |glob: &str| estimate::touches(targets, glob) || is_named(glob);
    match unknown {
        Some(name) if caller.has_hard_budget_on(&touches) && !targets.iter().all(is_free) => Err(unknown_under_budget(name)),
        _ => Ok(()),
    }
}

/// Other models than the one that was judged, whose prices nobody looked at.
fn others_named() -> Refusal {
    let message = "'models', 'fallbacks', models of tools and a 'mode' of 'reasoning' let a provider use a model, or one several times, that this gateway has not judged, and this key may use some models alone or has a budget: name one in 'model', or ask whoever runs this gateway for an alias of several.";
    Refusal::new(StatusCode::FORBIDDEN, Kind::Permission, "other_models_named", message).with_param("models")
}

/// What nobody knows may let a provider call more models, or one as often as it likes.
fn unknown_under_budget(name: &str) -> Refusal {
    let name: String = name.chars().take(60).collect();
    let message = format!(
        "What a provider does because of '{name}', as it is here, this gateway does not know, and this key has a budget: it could cost any amount. Leave it out, or ask whoever runs this gateway for a soft budget."
    );
    Refusal::new(StatusCode::FORBIDDEN, Kind::Permission, "unknown_field_with_budget", message)
}

/// Nothing is begun that cannot be written down.
pub fn ledger_down(error: &std::io::Error) -> Refusal {
    tracing::error!(%error, "the ledger cannot be written: requests are refused until it can");
    Refusal::new(
        StatusCode::SERVICE_UNAVAILABLE,
        Kind::Unavailable,
        "ledger_unavailable",
        "This gateway cannot write down requests right now, so it takes none. Your key is fine: try again in a moment, or tell whoever runs it.",
    )
}
