//! `/admin/v1/services`: services and their life, and who may call those that want an approval; a change is seen by callers at once.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::IntoResponse;
use http::Response;
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::failed::of_service;
use super::files::{noted, of_services};
use super::page::{self, Page, PageQuery};
use super::prompts::Deprecation;
use super::tag::{IfMatch, tagged};
use super::{Admin, Json, Problem, Viewer};
use crate::admin::services::{self, SubscriptionView};
use crate::gateway::Gateway;
use crate::quota::Limits;
use crate::service::{Folder, Service, Standing, edit};
use crate::steps::Step;
use crate::surface::Segment;

/// A service; what it shows to its API is not told.
#[derive(Debug, Serialize, ToSchema)]
pub struct ServiceView {
    name: String,
    title: String,
    description: Option<String>,
    /// draft, published, deprecated or retired.
    state: &'static str,
    #[schema(value_type = Option<String>, format = DateTime)]
    deprecated: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    sunset: Option<Timestamp>,
    /// Which service to call instead.
    successor: Option<String>,
    /// open or approval.
    subscription: &'static str,
    /// What a call costs, in nano-dollars.
    price_nano_usd: i64,
    /// What all callers together may do.
    limits: Limits,
    /// The ids of its operations.
    operations: Vec<String>,
}

type Params = Result<Query<PageQuery>, QueryRejection>;

/// All services, by name.
#[utoipa::path(get, path = "/admin/v1/services", tag = "services", params(PageQuery), responses((status = 200, body = Page<ServiceView>), (status = "4XX", body = Problem)))]
pub async fn list(_: Viewer, State(gateway): State<Arc<Gateway>>, params: Params) -> Result<Response<Body>, Problem> {
    let Query(query) = params.map_err(|e| Problem::query(e.body_text()))?;
    let all = gateway.services.services().all().map(|service| ServiceView::of(service)).collect();
    Ok(axum::Json::<Page<ServiceView>>(page::of(all, &query, |service: &ServiceView| service.name.clone())?).into_response())
}

/// One service.
#[utoipa::path(get, path = "/admin/v1/services/{name}", tag = "services", params(("name" = String, Path)), responses((status = 200, body = ServiceView), (status = "4XX", body = Problem)))]
pub async fn show(_: Viewer, State(gateway): State<Arc<Gateway>>, Segment(name): Segment<3>) -> Result<Response<Body>, Problem> {
    answer(&gateway, &name)
}

/// Lets callers see and call a service.
#[utoipa::path(post, path = "/admin/v1/services/{name}/publish", tag = "services", params(("name" = String, Path), ("If-Match" = Option<String>, Header)), responses((status = 200, body = ServiceView), (status = "4XX", body = Problem)))]
pub async fn publish(
    admin: Admin,
    State(gateway): State<Arc<Gateway>>,
    Segment(name): Segment<3>,
    if_match: IfMatch,
) -> Result<Response<Body>, Problem> {
    step(&admin, &gateway, "service.publish", (name, if_match), Step::Publish).await
}

/// Tells callers that a service will go.
#[utoipa::path(post, path = "/admin/v1/services/{name}/deprecate", tag = "services", params(("name" = String, Path), ("If-Match" = Option<String>, Header)), request_body = Deprecation, responses((status = 200, body = ServiceView), (status = "4XX", body = Problem)))]
pub async fn deprecate(
    admin: Admin,
    State(gateway): State<Arc<Gateway>>,
    Segment(name): Segment<3>,
    if_match: IfMatch,
    Json(Deprecation { sunset, successor }): Json<Deprecation>,
) -> Result<Response<Body>, Problem> {
    step(&admin, &gateway, "service.deprecate", (name, if_match), Step::Deprecate { sunset, successor }).await
}

/// Serves a service no longer: 410.
#[utoipa::path(post, path = "/admin/v1/services/{name}/retire", tag = "services", params(("name" = String, Path), ("If-Match" = Option<String>, Header)), responses((status = 200, body = ServiceView), (status = "4XX", body = Problem)))]
pub async fn retire(
    admin: Admin,
    State(gateway): State<Arc<Gateway>>,
    Segment(name): Segment<3>,
    if_match: IfMatch,
) -> Result<Response<Body>, Problem> {
    step(&admin, &gateway, "service.retire", (name, if_match), Step::Retire).await
}

/// The keys that have asked for a service, and how they stand.
#[utoipa::path(get, path = "/admin/v1/services/{name}/subscriptions", tag = "services", params(("name" = String, Path), PageQuery), responses((status = 200, body = Page<SubscriptionView>), (status = "4XX", body = Problem)))]
pub async fn subscriptions(
    _: Viewer,
    State(gateway): State<Arc<Gateway>>,
    Segment(name): Segment<3>,
    params: Params,
) -> Result<Response<Body>, Problem> {
    let Query(query) = params.map_err(|e| Problem::query(e.body_text()))?;
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

async fn step(
    admin: &Admin,
    gateway: &Arc<Gateway>,
    action: &'static str,
    (name, if_match): (String, IfMatch),
    step: Step,
) -> Result<Response<Body>, Problem> {
    let is_end = step == Step::Retire;
    let (folder, shelf, label) = (Folder::of(&gateway.config, None), Arc::clone(&gateway.services), name.clone());
    let plan = of_services(move || edit::step(&folder, &label, &step)).await?;
    if !if_match.is_any() {
        if_match.check(&view(gateway, &name)?)?;
    }
    let make = of_services(move || plan.make().inspect(|path| shelf.take(path)));
    noted(admin, gateway, (action, name.clone()), make).await?;
    if is_end {
        services::end(&*gateway.subscription_store, &name, &admin.actor()).await?;
        gateway.subscriptions.refresh().await?;
    }
    answer(gateway, &name)
}

fn answer(gateway: &Gateway, name: &str) -> Result<Response<Body>, Problem> {
    Ok(tagged(&view(gateway, name)?))
}

fn view(gateway: &Gateway, name: &str) -> Result<ServiceView, Problem> {
    let services = gateway.services.services();
    let service = services.service(name).ok_or_else(|| of_service(&edit::missing(&services, name)))?;
    Ok(ServiceView::of(service))
}

// === impl ServiceView ===

impl ServiceView {
    fn of(service: &Service) -> ServiceView {
        ServiceView {
            name: service.name.clone(),
            title: service.title.clone(),
            description: service.summary.clone(),
            state: service.life.state_at(Timestamp::now()).as_str(),
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
