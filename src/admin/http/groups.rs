//! `/admin/v1/teams`, `/admin/v1/projects` and `/admin/v1/limits`: what keys belong to, with what each limit has left now.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::IntoResponse;
use http::{Response, StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::body::Fields;
use super::page::{self, Asked, Page, PageQuery};
use super::tag::{IfMatch, with_tag};
use super::{Admin, Json, Problem, Viewer};
use crate::admin::change::{LimitsChange, warnings};
use crate::admin::groups::{self, GroupChange, GroupView};
use crate::admin::state::{self, AccountState};
use crate::gateway::Gateway;
use crate::quota::AccountId;
use crate::surface::Segment;

/// A new team or project.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub struct NewGroup {
    /// 1 to 63 lower-case letters, digits, `-` and `_`.
    #[schema(value_type = String, required, min_length = 1, max_length = 63, pattern = "^[a-z0-9_-]+$")]
    id: Option<String>,
    #[serde(flatten)]
    rest: GroupChange,
}

/// A team, a project or the gateway, and how its limits stand.
#[derive(Debug, Serialize, ToSchema)]
pub struct GroupAnswer {
    #[serde(flatten)]
    group: GroupView,
    /// How its limits stand now.
    state: AccountState,
    /// Globs that name no model that is known.
    warnings: Vec<String>,
}

type Made = fn(Arc<str>) -> AccountId;

impl Fields for NewGroup {
    fn names() -> Vec<&'static str> {
        ["id"].into_iter().chain(GroupChange::names()).collect()
    }

    fn clearable() -> Option<&'static [&'static str]> {
        GroupChange::clearable()
    }
}

impl Fields for GroupChange {
    fn names() -> Vec<&'static str> {
        GroupChange::FIELDS.into_iter().chain(LimitsChange::FIELDS).collect()
    }

    fn clearable() -> Option<&'static [&'static str]> {
        Some(&["team", "parallel"])
    }
}

/// Teams, by id.
#[utoipa::path(get, path = "/admin/v1/teams", tag = "teams", params(PageQuery), responses((status = 200, body = Page<GroupView>), (status = "4XX", body = Problem)))]
pub async fn teams(_: Viewer, State(gateway): State<Arc<Gateway>>, Asked(query): Asked<PageQuery>) -> Result<Response<Body>, Problem> {
    list(&gateway, "team", &query).await
}

/// Makes a team.
#[utoipa::path(post, path = "/admin/v1/teams", tag = "teams", request_body = NewGroup, responses((status = 201, body = GroupAnswer), (status = "4XX", body = Problem)))]
pub async fn create_team(admin: Admin, State(gateway): State<Arc<Gateway>>, Json(new): Json<NewGroup>) -> Result<Response<Body>, Problem> {
    create(&admin, &gateway, AccountId::Team, new).await
}

/// One team.
#[utoipa::path(get, path = "/admin/v1/teams/{id}", tag = "teams", params(("id" = String, Path)), responses((status = 200, body = GroupAnswer), (status = "4XX", body = Problem)))]
pub async fn team(_: Viewer, State(gateway): State<Arc<Gateway>>, Segment(id): Segment<3>) -> Result<Response<Body>, Problem> {
    show(&gateway, &AccountId::Team(id.into())).await
}

/// Changes a team.
#[utoipa::path(patch, path = "/admin/v1/teams/{id}", tag = "teams", params(("id" = String, Path), ("If-Match" = Option<String>, Header)), request_body = GroupChange, responses((status = 200, body = GroupAnswer), (status = "4XX", body = Problem)))]
pub async fn update_team(
    admin: Admin,
    State(gateway): State<Arc<Gateway>>,
    Segment(id): Segment<3>,
    if_match: IfMatch,
    Json(change): Json<GroupChange>,
) -> Result<Response<Body>, Problem> {
    update(&admin, &gateway, &AccountId::Team(id.into()), &if_match, change).await
}

/// Projects, by id.
#[utoipa::path(get, path = "/admin/v1/projects", tag = "projects", params(PageQuery), responses((status = 200, body = Page<GroupView>), (status = "4XX", body = Problem)))]
pub async fn projects(_: Viewer, State(gateway): State<Arc<Gateway>>, Asked(query): Asked<PageQuery>) -> Result<Response<Body>, Problem> {
    list(&gateway, "project", &query).await
}

/// Makes a project.
#[utoipa::path(post, path = "/admin/v1/projects", tag = "projects", request_body = NewGroup, responses((status = 201, body = GroupAnswer), (status = "4XX", body = Problem)))]
pub async fn create_project(
    admin: Admin,
    State(gateway): State<Arc<Gateway>>,
    Json(new): Json<NewGroup>,
) -> Result<Response<Body>, Problem> {
    create(&admin, &gateway, AccountId::Project, new).await
}

/// One project.
#[utoipa::path(get, path = "/admin/v1/projects/{id}", tag = "projects", params(("id" = String, Path)), responses((status = 200, body = GroupAnswer), (status = "4XX", body = Problem)))]
pub async fn project(_: Viewer, State(gateway): State<Arc<Gateway>>, Segment(id): Segment<3>) -> Result<Response<Body>, Problem> {
    show(&gateway, &AccountId::Project(id.into())).await
}

/// Changes a project.
#[utoipa::path(patch, path = "/admin/v1/projects/{id}", tag = "projects", params(("id" = String, Path), ("If-Match" = Option<String>, Header)), request_body = GroupChange, responses((status = 200, body = GroupAnswer), (status = "4XX", body = Problem)))]
pub async fn update_project(
    admin: Admin,
    State(gateway): State<Arc<Gateway>>,
    Segment(id): Segment<3>,
    if_match: IfMatch,
    Json(change): Json<GroupChange>,
) -> Result<Response<Body>, Problem> {
    update(&admin, &gateway, &AccountId::Project(id.into()), &if_match, change).await
}

/// The limits of the whole gateway.
#[utoipa::path(get, path = "/admin/v1/limits", tag = "limits", responses((status = 200, body = GroupAnswer), (status = "4XX", body = Problem)))]
pub async fn limits(_: Viewer, State(gateway): State<Arc<Gateway>>) -> Result<Response<Body>, Problem> {
    show(&gateway, &AccountId::Gateway).await
}

/// Changes the limits of the whole gateway.
#[utoipa::path(patch, path = "/admin/v1/limits", tag = "limits", params(("If-Match" = Option<String>, Header)), request_body = GroupChange, responses((status = 200, body = GroupAnswer), (status = "4XX", body = Problem)))]
pub async fn update_limits(
    admin: Admin,
    State(gateway): State<Arc<Gateway>>,
    if_match: IfMatch,
    Json(change): Json<GroupChange>,
) -> Result<Response<Body>, Problem> {
    update(&admin, &gateway, &AccountId::Gateway, &if_match, change).await
}

async fn list(gateway: &Gateway, kind: &str, query: &PageQuery) -> Result<Response<Body>, Problem> {
    let all = groups::list(&*gateway.group_store, kind).await?;
    Ok(axum::Json::<Page<GroupView>>(page::of(all, query, |group| group.id.clone())?).into_response())
}

async fn create(admin: &Admin, gateway: &Gateway, kind: Made, new: NewGroup) -> Result<Response<Body>, Problem> {
    let id = kind(new.id.unwrap_or_default().into());
    new.rest.limits.check_names(&gateway.router())?;
    let group = groups::create(&*gateway.group_store, &id, new.rest, &admin.actor()).await?;
    let mut response = answer(gateway, &id, group).await?;
    *response.status_mut() = StatusCode::CREATED;
    Ok(response)
}

async fn show(gateway: &Gateway, id: &AccountId) -> Result<Response<Body>, Problem> {
    let group = groups::show(&*gateway.group_store, id).await?;
    answer(gateway, id, group).await
}

async fn update(
    admin: &Admin,
    gateway: &Gateway,
    id: &AccountId,
    if_match: &IfMatch,
    change: GroupChange,
) -> Result<Response<Body>, Problem> {
    change.limits.check_names(&gateway.router())?;
    let group = groups::update(&*gateway.group_store, (id, &if_match.meant), change, &admin.actor()).await?;
    // What is in memory follows now, so that the answer tells what holds.
    gateway.accounts.refresh(id).await?;
    answer(gateway, id, group).await
}

/// The tag is the group's own: how its limits stand changes with every request.
async fn answer(gateway: &Gateway, id: &AccountId, group: GroupView) -> Result<Response<Body>, Problem> {
    let state = state::of(id, &group.limits, &gateway.accounts).await?;
    let warnings = warnings(&group.limits, None, &gateway.router(), &gateway.prompts.prompts());
    let answer = GroupAnswer { group, state, warnings };
    Ok(with_tag(&answer.group, &answer))
}
