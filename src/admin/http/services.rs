//! `/admin/v1/services`: services and their life, and who may call those that want an approval; a change is seen by callers at once.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::IntoResponse;
use http::{Response, StatusCode};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::body::Fields;
use super::examples::DiffQuery;
use super::files::{noted, of_services};
use super::page::{self, Asked, Page, PageQuery};
use super::prompts::Deprecation;
use super::tag::{IfMatch, tagged};
use super::{Admin, Json, Problem, Viewer};
use crate::admin::services::{self, SubscriptionView};
use crate::gateway::Gateway;
use crate::problem::FieldError;
use crate::quota::Limits;
use crate::service::edit::{self, Plan};
use crate::service::{Folder, Service, Standing, Texts, secrets};
use crate::steps::{Compared, EditError, Step};
use crate::surface::Segment;
use crate::versions::{self, Versioned};

/// A version of a service; what it shows to its API is not told.
#[derive(Debug, Serialize, ToSchema)]
pub struct ServiceView {
    /// `name@version`.
    id: String,
    name: String,
    version: u32,
    title: String,
    description: Option<String>,
    /// draft, published, deprecated or retired.
    state: &'static str,
    /// Its share of the calls that name no version.
    weight: Option<u32>,
    #[schema(value_type = Option<String>, format = DateTime)]
    deprecated: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    sunset: Option<Timestamp>,
    /// What to call instead.
    successor: Option<String>,
    /// open or approval.
    subscription: &'static str,
    /// What a call costs, in nano-dollars.
    price_nano_usd: i64,
    /// What all callers of the version together may do.
    limits: Limits,
    /// The ids of its operations.
    operations: Vec<String>,
}

/// A version with its files.
#[derive(Debug, Serialize, ToSchema)]
pub struct ServiceAnswer {
    #[serde(flatten)]
    service: ServiceView,
    /// The text of its file, in TOML; of the credential's value its variables alone.
    source: String,
    /// The text of its description, in YAML or JSON.
    openapi: String,
}

/// What a version's files are to be.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub struct ServiceSource {
    /// The text of its file, in TOML.
    source: Option<String>,
    /// The text of the description that the file names as `openapi`; without it, that file is there already.
    openapi: Option<String>,
}

impl Fields for ServiceSource {
    fn names() -> Vec<&'static str> {
        vec!["source", "openapi"]
    }
}

/// All versions of all services, by name.
#[utoipa::path(get, path = "/admin/v1/services", tag = "services", params(PageQuery), responses((status = 200, body = Page<ServiceView>), (status = "4XX", body = Problem)))]
pub async fn list(_: Viewer, State(gateway): State<Arc<Gateway>>, Asked(query): Asked<PageQuery>) -> Result<Response<Body>, Problem> {
    let all = gateway.services.services().all().map(|service| ServiceView::of(service)).collect();
    Ok(axum::Json::<Page<ServiceView>>(page::of(all, &query, |service: &ServiceView| service.id.clone())?).into_response())
}

/// One version with its files; the newest where the name has no version.
#[utoipa::path(get, path = "/admin/v1/services/{name}", tag = "services", params(("name" = String, Path)), responses((status = 200, body = ServiceAnswer), (status = "4XX", body = Problem)))]
pub async fn show(_: Viewer, State(gateway): State<Arc<Gateway>>, Segment(name): Segment<3>) -> Result<Response<Body>, Problem> {
    Ok(tagged(&answer(&gateway, &name).await?))
}

/// Writes a version's two files: a new draft, or a draft in the place of what it was; one whose `state` is published is published by it.
#[utoipa::path(put, path = "/admin/v1/services/{name}", tag = "services", params(("name" = String, Path), ("If-Match" = Option<String>, Header), ("If-None-Match" = Option<String>, Header)), request_body = ServiceSource, responses((status = 200, body = ServiceAnswer), (status = "4XX", body = Problem)))]
pub async fn write(
    admin: Admin,
    State(gateway): State<Arc<Gateway>>,
    Segment(name): Segment<3>,
    if_match: IfMatch,
    Json(ServiceSource { source, openapi }): Json<ServiceSource>,
) -> Result<Response<Body>, Problem> {
    let detail = "has to be the text of the service's file, in TOML".to_owned();
    let text = source.ok_or_else(|| Problem::fields(vec![FieldError { pointer: "/source".to_owned(), detail }]))?;
    let plan = move |folder: &Folder, name: &str| edit::write(folder, name, &text, openapi.as_deref());
    let (label, _) = change(&admin, &gateway, "service.write", (name, if_match), plan).await?;
    Ok(tagged(&answer(&gateway, &label).await?))
}

/// Removes a draft's files; what is published is retired.
#[utoipa::path(delete, path = "/admin/v1/services/{name}", tag = "services", params(("name" = String, Path), ("If-Match" = Option<String>, Header)), responses((status = 204), (status = "4XX", body = Problem)))]
pub async fn remove(
    admin: Admin,
    State(gateway): State<Arc<Gateway>>,
    Segment(name): Segment<3>,
    if_match: IfMatch,
) -> Result<Response<Body>, Problem> {
    let (shelf, named) = (Arc::clone(&gateway.services), name.clone());
    let removal = of_services(move || edit::remove(shelf.reading(), &named)).await?;
    unchanged(&gateway, &name, &if_match).await?;
    let (shelf, what) = (Arc::clone(&gateway.services), ("service.remove", removal.label().to_owned()));
    noted(&admin, &gateway, what, of_services(move || removal.make().inspect(|files| shelf.take(files)))).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// How a version differs from another, line by line: its own file, and then its description.
#[utoipa::path(get, path = "/admin/v1/services/{name}/diff", tag = "services", params(("name" = String, Path), DiffQuery), responses((status = 200, body = Compared), (status = "4XX", body = Problem)))]
pub async fn diff(
    _: Viewer,
    State(gateway): State<Arc<Gateway>>,
    Segment(name): Segment<3>,
    Asked(DiffQuery { from }): Asked<DiffQuery>,
) -> Result<Response<Body>, Problem> {
    let shelf = Arc::clone(&gateway.services);
    let compared = of_services(move || edit::compared(shelf.reading(), &name, from.as_deref())).await?;
    Ok(axum::Json(compared).into_response())
}

/// Lets callers see and call a version: from then on what it offers does not change.
#[utoipa::path(post, path = "/admin/v1/services/{name}/publish", tag = "services", params(("name" = String, Path), ("If-Match" = Option<String>, Header)), responses((status = 200, body = ServiceAnswer), (status = "4XX", body = Problem)))]
pub async fn publish(
    admin: Admin,
    State(gateway): State<Arc<Gateway>>,
    Segment(name): Segment<3>,
    if_match: IfMatch,
) -> Result<Response<Body>, Problem> {
    step(&admin, &gateway, (name, if_match), Step::Publish).await
}

/// Tells callers that a version will go.
#[utoipa::path(post, path = "/admin/v1/services/{name}/deprecate", tag = "services", params(("name" = String, Path), ("If-Match" = Option<String>, Header)), request_body = Deprecation, responses((status = 200, body = ServiceAnswer), (status = "4XX", body = Problem)))]
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
#[utoipa::path(post, path = "/admin/v1/services/{name}/retire", tag = "services", params(("name" = String, Path), ("If-Match" = Option<String>, Header)), responses((status = 200, body = ServiceAnswer), (status = "4XX", body = Problem)))]
pub async fn retire(
    admin: Admin,
    State(gateway): State<Arc<Gateway>>,
    Segment(name): Segment<3>,
    if_match: IfMatch,
) -> Result<Response<Body>, Problem> {
    step(&admin, &gateway, (name, if_match), Step::Retire).await
}

/// The keys that have asked for a service, and how they stand.
#[utoipa::path(get, path = "/admin/v1/services/{name}/subscriptions", tag = "services", params(("name" = String, Path), PageQuery), responses((status = 200, body = Page<SubscriptionView>), (status = "4XX", body = Problem)))]
pub async fn subscriptions(
    _: Viewer,
    State(gateway): State<Arc<Gateway>>,
    Segment(name): Segment<3>,
    Asked(query): Asked<PageQuery>,
) -> Result<Response<Body>, Problem> {
    let all = services::list(&*gateway.subscription_store, &gateway.services.services(), &name).await?;
    let page: Page<SubscriptionView> = page::of(all, &query, |one: &SubscriptionView| one.key.clone())?;
    Ok(axum::Json(page).into_response())
}

/// Lets a key call a service, whether it asked or not.
#[utoipa::path(post, path = "/admin/v1/services/{name}/subscriptions/{key}/approve", tag = "services", params(("name" = String, Path), ("key" = String, Path)), responses((status = 200, body = SubscriptionView), (status = "4XX", body = Problem)))]
pub async fn approve(
    admin: Admin,
    State(gateway): State<Arc<Gateway>>,
    Segment(name): Segment<3>,
    Segment(key): Segment<5>,
) -> Result<Response<Body>, Problem> {
    decide(&admin, &gateway, (name, key), Standing::Approved).await
}

/// Lets a key call a service no longer.
#[utoipa::path(post, path = "/admin/v1/services/{name}/subscriptions/{key}/deny", tag = "services", params(("name" = String, Path), ("key" = String, Path)), responses((status = 200, body = SubscriptionView), (status = "4XX", body = Problem)))]
pub async fn deny(
    admin: Admin,
    State(gateway): State<Arc<Gateway>>,
    Segment(name): Segment<3>,
    Segment(key): Segment<5>,
) -> Result<Response<Body>, Problem> {
    decide(&admin, &gateway, (name, key), Standing::Denied).await
}

async fn decide(admin: &Admin, gateway: &Gateway, (name, key): (String, String), standing: Standing) -> Result<Response<Body>, Problem> {
    let (store, keys) = (&*gateway.subscription_store, &*gateway.key_store);
    let decided = services::decide(store, keys, &gateway.services.services(), (&name, &key), standing, &admin.actor()).await?;
    // What is in memory follows now, so that what is answered holds.
    gateway.subscriptions.refresh().await?;
    Ok(axum::Json(decided).into_response())
}

async fn step(admin: &Admin, gateway: &Arc<Gateway>, what: (String, IfMatch), step: Step) -> Result<Response<Body>, Problem> {
    let (label, ends) = change(admin, gateway, step.of_service(), what, move |folder, name| edit::step(folder, name, &step)).await?;
    if ends {
        let (base, _) = versions::split(&label);
        services::end(&*gateway.subscription_store, base, &admin.actor()).await?;
        gateway.subscriptions.refresh().await?;
    }
    Ok(tagged(&answer(gateway, &label).await?))
}

/// Makes a change; the version that it is of, and whether that was the last of its service.
async fn change(
    admin: &Admin,
    gateway: &Arc<Gateway>,
    action: &'static str,
    (name, if_match): (String, IfMatch),
    plan: impl FnOnce(&Folder, &str) -> Result<Plan, EditError> + Send + 'static,
) -> Result<(String, bool), Problem> {
    let (shelf, named) = (Arc::clone(&gateway.services), name.clone());
    let plan = of_services(move || plan(shelf.reading(), &named)).await?;
    if_match.check_new(plan.is_new())?;
    unchanged(gateway, &name, &if_match).await?;
    let (label, ends) = (plan.label().to_owned(), plan.ends());
    let what = (if plan.publishes() { "service.publish" } else { action }, label.clone());
    let shelf = Arc::clone(&gateway.services);
    noted(admin, gateway, what, of_services(move || plan.make().inspect(|files| shelf.take(files)))).await?;
    Ok((label, ends))
}

/// Whether the version is as the caller has read it.
async fn unchanged(gateway: &Arc<Gateway>, name: &str, if_match: &IfMatch) -> Result<(), Problem> {
    match if_match.meant.is_any() {
        true => Ok(()),
        false => Ok(if_match.meant.check(&answer(gateway, name).await?)?),
    }
}

/// A version with its files, as they are now: whoever else changes them may have been there since the gateway looked.
async fn answer(gateway: &Arc<Gateway>, name: &str) -> Result<ServiceAnswer, Problem> {
    let (shelf, name) = (Arc::clone(&gateway.services), name.to_owned());
    of_services(move || {
        let services = shelf.reading().read();
        let service = services.newest_of(&name).ok_or_else(|| edit::missing(&services, &name))?;
        let Texts { file, openapi } = &service.texts;
        Ok(ServiceAnswer { service: ServiceView::of(service), source: secrets::hidden(file), openapi: openapi.clone() })
    })
    .await
}

// === impl ServiceView ===

impl ServiceView {
    fn of(service: &Service) -> ServiceView {
        ServiceView {
            id: service.label(),
            name: service.name.clone(),
            version: service.version,
            title: service.title.clone(),
            description: service.summary.clone(),
            state: service.state_at(Timestamp::now()).as_str(),
            weight: service.weight,
            deprecated: service.life.deprecated,
            sunset: service.life.sunset,
            successor: service.life.successor.clone(),
            subscription: service.access.as_str(),
            price_nano_usd: service.price.0,
            limits: service.limits.clone(),
            operations: service.description.operations.iter().map(|operation| operation.id.clone()).collect(),
        }
    }
}
