//! `/admin/v1/prompts`: the prompts' files and their life; a change is seen by callers at once.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::IntoResponse;
use http::{Response, StatusCode};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::body::Fields;
use super::files::{noted, of_prompts};
use super::page::{self, Asked, Page, PageQuery};
use super::tag::{IfMatch, tagged};
use super::{Admin, Json, Problem, Viewer};
use crate::gateway::Gateway;
use crate::problem::FieldError;
use crate::prompt::Prompt;
use crate::prompt::edit::{self, Plan, Source};
use crate::steps::{EditError, Step};
use crate::surface::Segment;

/// A version of a prompt.
#[derive(Debug, Serialize, ToSchema)]
pub struct PromptView {
    /// `name@version`.
    id: String,
    name: String,
    version: u32,
    /// draft, published, deprecated or retired.
    state: &'static str,
    description: Option<String>,
    /// Its share of the calls that name no version.
    weight: Option<u32>,
    #[schema(value_type = Option<String>, format = DateTime)]
    deprecated: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    sunset: Option<Timestamp>,
    /// What to call instead.
    successor: Option<String>,
}

/// A version with its file.
#[derive(Debug, Serialize, ToSchema)]
pub struct PromptAnswer {
    #[serde(flatten)]
    prompt: PromptView,
    /// The file's text, in the Dotprompt format.
    source: String,
}

/// What a version's file is to be.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub struct PromptSource {
    /// The file's text, in the Dotprompt format.
    #[schema(value_type = String, required)]
    pub(super) source: Option<String>,
}

/// What callers are told of what is deprecated.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub struct Deprecation {
    /// When it goes: a day or time, UTC.
    pub(super) sunset: Option<String>,
    /// What to call instead; of a prompt as `name` or `name@version`.
    pub(super) successor: Option<String>,
}

impl Fields for PromptSource {
    fn names() -> Vec<&'static str> {
        vec!["source"]
    }
}

impl Fields for Deprecation {
    fn names() -> Vec<&'static str> {
        vec!["sunset", "successor"]
    }
}

/// All versions of all prompts, by name.
#[utoipa::path(get, path = "/admin/v1/prompts", tag = "prompts", params(PageQuery), responses((status = 200, body = Page<PromptView>), (status = "4XX", body = Problem)))]
pub async fn list(_: Viewer, State(gateway): State<Arc<Gateway>>, Asked(query): Asked<PageQuery>) -> Result<Response<Body>, Problem> {
    let all = gateway.prompts.prompts().all().map(|prompt| PromptView::of(prompt)).collect();
    Ok(axum::Json::<Page<PromptView>>(page::of(all, &query, |prompt: &PromptView| prompt.id.clone())?).into_response())
}

/// One version with its file; the newest where the name has no version.
#[utoipa::path(get, path = "/admin/v1/prompts/{name}", tag = "prompts", params(("name" = String, Path)), responses((status = 200, body = PromptAnswer), (status = "4XX", body = Problem)))]
pub async fn show(_: Viewer, State(gateway): State<Arc<Gateway>>, Segment(name): Segment<3>) -> Result<Response<Body>, Problem> {
    let folder = gateway.config.prompts.folder.clone();
    let source = of_prompts(move || edit::source(&folder, &name)).await?;
    Ok(tagged(&answer(&gateway, source)?))
}

/// Writes a version's file: a new draft, or a draft in the place of what it was; one whose `keyward.state` is published is published by it.
#[utoipa::path(put, path = "/admin/v1/prompts/{name}", tag = "prompts", params(("name" = String, Path), ("If-Match" = Option<String>, Header), ("If-None-Match" = Option<String>, Header)), request_body = PromptSource, responses((status = 200, body = PromptAnswer), (status = "4XX", body = Problem)))]
pub async fn write(
    admin: Admin,
    State(gateway): State<Arc<Gateway>>,
    Segment(name): Segment<3>,
    if_match: IfMatch,
    Json(body): Json<PromptSource>,
) -> Result<Response<Body>, Problem> {
    let detail = "has to be the file's text, in the Dotprompt format".to_owned();
    let text = body.source.ok_or_else(|| Problem::fields(vec![FieldError { pointer: "/source".to_owned(), detail }]))?;
    change(&admin, &gateway, "prompt.write", (name, if_match), move |folder, name| edit::write(folder, name, &text)).await
}

/// Removes a draft's file; what is published is retired.
#[utoipa::path(delete, path = "/admin/v1/prompts/{name}", tag = "prompts", params(("name" = String, Path), ("If-Match" = Option<String>, Header)), responses((status = 204), (status = "4XX", body = Problem)))]
pub async fn remove(
    admin: Admin,
    State(gateway): State<Arc<Gateway>>,
    Segment(name): Segment<3>,
    if_match: IfMatch,
) -> Result<Response<Body>, Problem> {
    let (folder, shelf, named) = (gateway.config.prompts.folder.clone(), Arc::clone(&gateway.prompts), name.clone());
    let removal = of_prompts(move || edit::remove(&folder, &named)).await?;
    unchanged(&gateway, &name, &if_match).await?;
    let what = ("prompt.remove", removal.label().to_owned());
    noted(&admin, &gateway, what, of_prompts(move || removal.make().inspect(|source| shelf.take(&[&source.path])))).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Publishes a version: from then on it does not change.
#[utoipa::path(post, path = "/admin/v1/prompts/{name}/publish", tag = "prompts", params(("name" = String, Path), ("If-Match" = Option<String>, Header)), responses((status = 200, body = PromptAnswer), (status = "4XX", body = Problem)))]
pub async fn publish(
    admin: Admin,
    State(gateway): State<Arc<Gateway>>,
    Segment(name): Segment<3>,
    if_match: IfMatch,
) -> Result<Response<Body>, Problem> {
    step(&admin, &gateway, (name, if_match), Step::Publish).await
}

/// Tells callers that a version will go.
#[utoipa::path(post, path = "/admin/v1/prompts/{name}/deprecate", tag = "prompts", params(("name" = String, Path), ("If-Match" = Option<String>, Header)), request_body = Deprecation, responses((status = 200, body = PromptAnswer), (status = "4XX", body = Problem)))]
pub async fn deprecate(
    admin: Admin,
    State(gateway): State<Arc<Gateway>>,
    Segment(name): Segment<3>,
    if_match: IfMatch,
    Json(Deprecation { sunset, successor }): Json<Deprecation>,
) -> Result<Response<Body>, Problem> {
    step(&admin, &gateway, (name, if_match), Step::Deprecate { sunset, successor }).await
}

/// Serves a version no longer: 410.
#[utoipa::path(post, path = "/admin/v1/prompts/{name}/retire", tag = "prompts", params(("name" = String, Path), ("If-Match" = Option<String>, Header)), responses((status = 200, body = PromptAnswer), (status = "4XX", body = Problem)))]
pub async fn retire(
    admin: Admin,
    State(gateway): State<Arc<Gateway>>,
    Segment(name): Segment<3>,
    if_match: IfMatch,
) -> Result<Response<Body>, Problem> {
    step(&admin, &gateway, (name, if_match), Step::Retire).await
}

async fn step(admin: &Admin, gateway: &Arc<Gateway>, what: (String, IfMatch), step: Step) -> Result<Response<Body>, Problem> {
    change(admin, gateway, step.of_prompt(), what, move |folder, name| edit::step(folder, name, &step)).await
}

async fn change(
    admin: &Admin,
    gateway: &Arc<Gateway>,
    action: &'static str,
    (name, if_match): (String, IfMatch),
    plan: impl FnOnce(&std::path::Path, &str) -> Result<Plan, EditError> + Send + 'static,
) -> Result<Response<Body>, Problem> {
    let (folder, shelf, named) = (gateway.config.prompts.folder.clone(), Arc::clone(&gateway.prompts), name.clone());
    let plan = of_prompts(move || plan(&folder, &named)).await?;
    if_match.check_new(plan.is_new())?;
    unchanged(gateway, &name, &if_match).await?;
    let what = (if plan.publishes() { "prompt.publish" } else { action }, plan.label().to_owned());
    let source = noted(admin, gateway, what, of_prompts(move || plan.make().inspect(|source| shelf.take(&[&source.path])))).await?;
    Ok(tagged(&answer(gateway, source)?))
}

/// Whether the version is as the caller has read it.
async fn unchanged(gateway: &Gateway, name: &str, if_match: &IfMatch) -> Result<(), Problem> {
    if if_match.meant.is_any() {
        return Ok(());
    }
    let (folder, name) = (gateway.config.prompts.folder.clone(), name.to_owned());
    let source = of_prompts(move || edit::source(&folder, &name)).await?;
    Ok(if_match.meant.check(&answer(gateway, source)?)?)
}

fn answer(gateway: &Gateway, source: Source) -> Result<PromptAnswer, Problem> {
    let prompts = gateway.prompts.prompts();
    let prompt = prompts.all().find(|prompt| prompt.label() == source.label);
    let gone = || Problem::new(StatusCode::NOT_FOUND, "prompt_not_found", format!("There is no '{}' any more.", source.label));
    let prompt = PromptView::of(prompt.ok_or_else(gone)?);
    Ok(PromptAnswer { prompt, source: source.text })
}

// === impl PromptView ===

impl PromptView {
    fn of(prompt: &Prompt) -> PromptView {
        PromptView {
            id: prompt.label(),
            name: prompt.name.clone(),
            version: prompt.version,
            state: prompt.state_at(Timestamp::now()).as_str(),
            description: prompt.front.description.clone(),
            weight: prompt.weight,
            deprecated: prompt.life.deprecated,
            sunset: prompt.life.sunset,
            successor: prompt.life.successor.clone(),
        }
    }
}
