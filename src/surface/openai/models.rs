//! `GET /v1/models` and `/v1/models/{id}`: what the key may use, and nothing else.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::response::IntoResponse;
use http::request::Parts;
use http::{Response, StatusCode};
use serde::Serialize;

use super::refuse;
use crate::catalog::Model;
use crate::error::{Kind, Refusal};
use crate::exchange::may_use_all;
use crate::gateway::Gateway;
use crate::key::caller::{Caller, Plane};
use crate::key::presented::GOOGLE;
use crate::prompt::chat;
use crate::surface::{Rest, anthropic, gemini};

#[derive(Serialize)]
struct List {
    object: &'static str,
    data: Vec<Listed>,
}

/// OpenAI's model object, with what the catalogue knows beside it.
#[derive(Serialize)]
pub struct Listed {
    /// The name that a request uses.
    pub id: String,
    object: &'static str,
    /// Seconds since 1970; 0 where nobody knows.
    pub created: i64,
    /// The provider, or the gateway where the name is an alias.
    pub owned_by: String,
    /// What the catalogue knows.
    #[serde(flatten)]
    pub facts: Option<Model>,
}

/// All models that the key may use.
pub async fn list(State(gateway): State<Arc<Gateway>>, head: Parts) -> Response<Body> {
    // The path is Anthropic's too, and Google's: their SDKs say who they are.
    if head.headers.contains_key(GOOGLE) {
        return gemini::models::list(&gateway, &head, false).await;
    }
    if head.headers.contains_key(anthropic::VERSION) {
        return anthropic::models::list(&gateway, &head).await;
    }
    match gateway.caller(&head, Plane::Data).await {
        Ok(caller) => {
            let data = allowed(&gateway, &caller).into_iter().chain(prompts(&gateway, &caller)).collect();
            Json(List { object: "list", data }).into_response()
        }
        Err(refusal) => refuse(&refusal),
    }
}

/// One model, by the name that a request would use.
pub async fn show(State(gateway): State<Arc<Gateway>>, Rest(id): Rest<2>, head: Parts) -> Response<Body> {
    if head.headers.contains_key(GOOGLE) {
        return gemini::models::show(&gateway, &head, &id).await;
    }
    if head.headers.contains_key(anthropic::VERSION) {
        return anthropic::models::show(&gateway, &head, &id).await;
    }
    match find(&gateway, &head, &id).await {
        Ok(model) => Json(model).into_response(),
        Err(refusal) => refuse(&refusal),
    }
}

/// One model that the key may use.
pub async fn find(gateway: &Gateway, head: &Parts, id: &str) -> Result<Listed, Refusal> {
    let caller = gateway.caller(head, Plane::Data).await?;
    if let Some(prompt) = prompts(gateway, &caller).find(|prompt| prompt.id == id) {
        return Ok(prompt);
    }
    let prompt = id.strip_prefix(chat::PREFIX).and_then(|name| chat::shown(gateway, &caller, name).ok());
    if let Some(prompt) = prompt.filter(|prompt| crate::surface::prompts::has_model(gateway, &caller, prompt)) {
        return Ok(of_prompt(&prompt.label()));
    }
    let targets = gateway.router().resolve(id)?;
    let full = targets.first().map(|target| target.full_name()).unwrap_or_default();
    let may_use = may_use_all(&caller, id, &targets, false).is_ok();
    allowed(gateway, &caller).into_iter().find(|model| may_use && (model.id == id || model.id == full)).ok_or_else(|| {
        let message = match unlisted(gateway, &caller, &full) {
            Some(provider) => format!(
                "No models of {provider} are listed here, so nothing is known of '{id}'. This key may call it: {provider} itself says then whether it has it."
            ),
            None => format!("This key may use no model '{id}': GET /v1/models lists those it may use."),
        };
        Refusal::new(StatusCode::NOT_FOUND, Kind::NotFound, "model_not_found", message).with_param("model")
    })
}

/// The models that a key may use, by the names that a request may have.
pub fn allowed(gateway: &Gateway, caller: &Caller) -> Vec<Listed> {
    let router = gateway.router();
    let of_providers = router.live().flat_map(|provider| {
        let is_simulator = provider.is_simulator();
        provider.models.iter().filter_map(move |(model, facts)| {
            let id = format!("{}/{model}", provider.id);
            caller.may_use(&id, || id.clone(), is_simulator).ok()?;
            Some(Listed { id, object: "model", created: created(facts), owned_by: provider.id.clone(), facts: Some(facts.clone()) })
        })
    });
    let aliases = router.aliases().filter_map(|alias| {
        let targets = router.resolve(alias).ok()?;
        let first = targets.first().filter(|_| may_use_all(caller, alias, &targets, false).is_ok())?;
        Some(Listed {
            id: alias.to_owned(),
            object: "model",
            created: first.facts().map_or(0, created),
            owned_by: "keyward".to_owned(),
            facts: first.facts().cloned(),
        })
    });
    aliases.chain(of_providers).collect()
}

/// The prompts that a key may call, which are models to chat clients.
fn prompts(gateway: &Gateway, caller: &Caller) -> impl Iterator<Item = Listed> {
    crate::surface::prompts::listed(gateway, caller).into_iter().map(|(name, _)| of_prompt(&name))
}

fn of_prompt(name: &str) -> Listed {
    Listed { id: format!("{}{name}", chat::PREFIX), object: "model", created: 0, owned_by: "keyward".to_owned(), facts: None }
}

/// The name of a model's provider, where none of its models are listed and the key may use it.
fn unlisted(gateway: &Gateway, caller: &Caller, full: &str) -> Option<String> {
    let (id, _) = full.split_once('/')?;
    let router = gateway.router();
    let provider = router.live().find(|provider| provider.id == id && provider.models.is_empty())?;
    caller.may_use(full, || full.to_owned(), provider.is_simulator()).ok()?;
    Some(provider.name.clone())
}

fn created(facts: &Model) -> i64 {
    let day = facts.released.as_deref().and_then(|day| day.parse::<jiff::civil::Date>().ok());
    day.and_then(|day| jiff::tz::TimeZone::UTC.to_timestamp(day.at(0, 0, 0, 0)).ok()).map_or(0, jiff::Timestamp::as_second)
}
