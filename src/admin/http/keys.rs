//! `/admin/v1/keys`: making, listing, changing, rotating and ending keys.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::response::IntoResponse;
use http::{Response, StatusCode};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::body::Fields;
use super::page::{self, Asked, Page};
use super::tag::{IfMatch, tagged, with_tag};
use super::{Admin, Json, Problem, Viewer};
use crate::admin::change::{LimitsChange, Wrong, given, warnings};
use crate::admin::keys::{self, Created, KeyChange, KeyView, ListQuery, NewKeyOrder, Overlap, Rotated};
use crate::gateway::Gateway;
use crate::key::{KeyId, Kind};
use crate::store::KeyFilter;
use crate::surface::Segment;

/// What a new key is to be.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub struct NewKey {
    /// `live` (the default) calls models, `test` calls the simulator only, `admin` manages.
    #[schema(pattern = "^(live|test|admin)$")]
    kind: Option<String>,
    #[serde(flatten)]
    rest: KeyChange,
}

/// What was done, and what is odd about it.
#[derive(Debug, Serialize, ToSchema)]
pub struct Warned<T> {
    #[serde(flatten)]
    what: T,
    /// What is most likely a mistake: globs that name no model that is known, an owner whom no key has.
    warnings: Vec<String>,
}

/// Which keys to list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListParams {
    /// Whose they are.
    owner: Option<String>,
    /// The project that they belong to.
    project: Option<String>,
    /// active, disabled, owner_disabled, group_disabled, expired, not_yet_valid, revoked or rotated.
    #[param(pattern = "^(active|(key_)?(disabled|owner_disabled|group_disabled|expired|not_yet_valid|revoked|rotated))$")]
    state: Option<String>,
    /// The most entries, up to 1000 [default: 100].
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// What `next` was in the answer before.
    after: Option<String>,
}

/// How long the old key still works.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub struct Rotation {
    /// In seconds, up to a year [default: a day].
    grace_s: Option<u64>,
    /// When the successor ends by itself; null for never [default: when the old key does].
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>, format = DateTime)]
    expires: Option<Option<Timestamp>>,
}

/// Whose keys.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub struct OwnersKeys {
    /// The owner, exactly as in the keys.
    #[schema(value_type = String, required, min_length = 1)]
    owner: Option<String>,
}

const DAY: u64 = 24 * 3600;

impl Fields for NewKey {
    fn names() -> Vec<&'static str> {
        ["kind"].into_iter().chain(KeyChange::names()).collect()
    }

    fn clearable() -> Option<&'static [&'static str]> {
        Some(&["kind", "project", "not_before", "expires", "parallel"])
    }
}

impl Fields for KeyChange {
    fn names() -> Vec<&'static str> {
        KeyChange::FIELDS.into_iter().chain(LimitsChange::FIELDS).collect()
    }

    fn clearable() -> Option<&'static [&'static str]> {
        Some(&["project", "not_before", "expires", "parallel"])
    }
}

impl Fields for Rotation {
    fn names() -> Vec<&'static str> {
        vec!["grace_s", "expires"]
    }
}

impl Fields for OwnersKeys {
    fn names() -> Vec<&'static str> {
        vec!["owner"]
    }
}

/// Keys, newest first.
#[utoipa::path(get, path = "/admin/v1/keys", tag = "keys", params(ListParams), responses((status = 200, body = Page<KeyView>), (status = "4XX", body = Problem)))]
pub async fn list(_: Viewer, State(gateway): State<Arc<Gateway>>, Asked(params): Asked<ListParams>) -> Result<Response<Body>, Problem> {
    let after = match params.after.as_deref().map(KeyId::parse) {
        Some(Some(id)) if gateway.key_store.key(id).await?.is_some() => Some(id),
        Some(_) => return Err(Problem::query("after is no key's id: take it from 'next'.")),
        None => None,
    };
    let filter = KeyFilter { owner: params.owner, project: params.project };
    let query = ListQuery { filter, state: params.state, after };
    let (data, has_more) = keys::page(&*gateway.key_store, &query, page::size(params.limit)?).await?;
    let next = data.last().filter(|_| has_more).map(|view| view.id.clone());
    Ok(axum::Json(Page { data, next }).into_response())
}

/// Makes a key; its text is in this answer and nowhere else.
#[utoipa::path(post, path = "/admin/v1/keys", tag = "keys", request_body = NewKey, params(("Idempotency-Key" = Option<String>, Header)), responses((status = 201, body = Warned<Created>), (status = "4XX", body = Problem)))]
pub async fn create(admin: Admin, State(gateway): State<Arc<Gateway>>, Json(new): Json<NewKey>) -> Result<Response<Body>, Problem> {
    let kind = Kind::from_name(new.kind.as_deref().unwrap_or("live"));
    let kind = kind.ok_or(Wrong { field: "kind", message: "a kind is one of live, test, admin".to_owned() })?;
    admin.may_change(kind)?;
    new.rest.limits.check_names(&gateway.router())?;
    let mut order = NewKeyOrder::new(new.rest.name.as_deref().unwrap_or("unnamed"), kind);
    new.rest.fill(&mut order);
    let warnings = warnings(&order.limits, Some(kind), &gateway.router(), &gateway.prompts.prompts());
    let what = keys::create(&*gateway.key_store, &*gateway.group_store, &gateway.admin.pepper, order, &admin.actor()).await?;
    Ok((StatusCode::CREATED, axum::Json(Warned { what, warnings })).into_response())
}

/// One key.
#[utoipa::path(get, path = "/admin/v1/keys/{id}", tag = "keys", params(("id" = String, Path)), responses((status = 200, body = KeyView), (status = "4XX", body = Problem)))]
pub async fn show(_: Viewer, State(gateway): State<Arc<Gateway>>, Segment(id): Segment<3>) -> Result<Response<Body>, Problem> {
    Ok(tagged(&keys::show(&*gateway.key_store, &id).await?))
}

/// Changes a key; its limits are those of all that it replaced and that replaced it.
#[utoipa::path(patch, path = "/admin/v1/keys/{id}", tag = "keys", params(("id" = String, Path), ("If-Match" = Option<String>, Header)), request_body = KeyChange, responses((status = 200, body = Warned<KeyView>), (status = "4XX", body = Problem)))]
pub async fn update(
    admin: Admin,
    State(gateway): State<Arc<Gateway>>,
    Segment(id): Segment<3>,
    if_match: IfMatch,
    Json(change): Json<KeyChange>,
) -> Result<Response<Body>, Problem> {
    of_mine(&admin, &gateway, &id).await?;
    change.limits.check_names(&gateway.router())?;
    let what = keys::update(&*gateway.key_store, &*gateway.group_store, (&id, &if_match.meant), change, &admin.actor()).await?;
    let warnings = warnings(&what.limits, Kind::from_name(what.kind), &gateway.router(), &gateway.prompts.prompts());
    let warned = Warned { what, warnings };
    Ok(with_tag(&warned.what, &warned))
}

/// Makes a successor with the same rights; the old key works beside it for a while, unless it is disabled (also with its owner, project or team), and
/// its successor with it.
#[utoipa::path(post, path = "/admin/v1/keys/{id}/rotate", tag = "keys", params(("id" = String, Path), ("If-Match" = Option<String>, Header), ("Idempotency-Key" = Option<String>, Header)), request_body = Rotation, responses((status = 201, body = Warned<Rotated>), (status = "4XX", body = Problem)))]
pub async fn rotate(
    admin: Admin,
    State(gateway): State<Arc<Gateway>>,
    Segment(id): Segment<3>,
    if_match: IfMatch,
    Json(rotation): Json<Rotation>,
) -> Result<Response<Body>, Problem> {
    of_mine(&admin, &gateway, &id).await?;
    let overlap = Overlap { grace: Duration::from_secs(rotation.grace_s.unwrap_or(DAY)), expires: rotation.expires };
    let what = keys::rotate(&*gateway.key_store, &gateway.admin.pepper, (&id, &if_match.meant), overlap, &admin.actor()).await?;
    let view = &what.new.view;
    let warnings = warnings(&view.limits, Kind::from_name(view.kind), &gateway.router(), &gateway.prompts.prompts());
    Ok((StatusCode::CREATED, axum::Json(Warned { what, warnings })).into_response())
}

/// Ends a key for good.
#[utoipa::path(post, path = "/admin/v1/keys/{id}/revoke", tag = "keys", params(("id" = String, Path), ("If-Match" = Option<String>, Header)), responses((status = 200, body = KeyView), (status = "4XX", body = Problem)))]
pub async fn revoke(
    admin: Admin,
    State(gateway): State<Arc<Gateway>>,
    Segment(id): Segment<3>,
    if_match: IfMatch,
) -> Result<Response<Body>, Problem> {
    of_mine(&admin, &gateway, &id).await?;
    Ok(tagged(&keys::revoke(&*gateway.key_store, (&id, &if_match.meant), &admin.actor()).await?))
}

/// Switches a key off for now.
#[utoipa::path(post, path = "/admin/v1/keys/{id}/disable", tag = "keys", params(("id" = String, Path), ("If-Match" = Option<String>, Header)), responses((status = 200, body = KeyView), (status = "4XX", body = Problem)))]
pub async fn disable(
    admin: Admin,
    State(gateway): State<Arc<Gateway>>,
    Segment(id): Segment<3>,
    if_match: IfMatch,
) -> Result<Response<Body>, Problem> {
    of_mine(&admin, &gateway, &id).await?;
    Ok(tagged(&keys::disable(&*gateway.key_store, &*gateway.group_store, (&id, &if_match.meant), &admin.actor()).await?))
}

/// Switches a key on again.
#[utoipa::path(post, path = "/admin/v1/keys/{id}/enable", tag = "keys", params(("id" = String, Path), ("If-Match" = Option<String>, Header)), responses((status = 200, body = KeyView), (status = "4XX", body = Problem)))]
pub async fn enable(
    admin: Admin,
    State(gateway): State<Arc<Gateway>>,
    Segment(id): Segment<3>,
    if_match: IfMatch,
) -> Result<Response<Body>, Problem> {
    of_mine(&admin, &gateway, &id).await?;
    Ok(tagged(&keys::enable(&*gateway.key_store, &*gateway.group_store, (&id, &if_match.meant), &admin.actor()).await?))
}

/// Ends all keys of an owner for good, all or none.
#[utoipa::path(post, path = "/admin/v1/keys/revoke", tag = "keys", request_body = OwnersKeys, responses((status = 200, body = Page<KeyView>), (status = "4XX", body = Problem)))]
pub async fn revoke_all(admin: Admin, State(gateway): State<Arc<Gateway>>, Json(of): Json<OwnersKeys>) -> Result<Response<Body>, Problem> {
    let keys = keys::of_known_owner(&*gateway.key_store, &owner(of)?).await?;
    admin.may_change_all(&keys)?;
    let data = keys::revoke_all(&*gateway.key_store, keys, "all of its owner", &admin.actor()).await?;
    Ok(axum::Json(Page { data, next: None }).into_response())
}

/// Switches all keys of an owner off for now, those made later too.
#[utoipa::path(post, path = "/admin/v1/keys/disable", tag = "keys", request_body = OwnersKeys, responses((status = 200, body = Warned<Page<KeyView>>), (status = "4XX", body = Problem)))]
pub async fn disable_all(admin: Admin, State(gateway): State<Arc<Gateway>>, Json(of): Json<OwnersKeys>) -> Result<Response<Body>, Problem> {
    switch_owner(&admin, &gateway, of, true).await
}

/// Switches all keys of an owner on again, but those that are disabled by themselves.
#[utoipa::path(post, path = "/admin/v1/keys/enable", tag = "keys", request_body = OwnersKeys, responses((status = 200, body = Warned<Page<KeyView>>), (status = "4XX", body = Problem)))]
pub async fn enable_all(admin: Admin, State(gateway): State<Arc<Gateway>>, Json(of): Json<OwnersKeys>) -> Result<Response<Body>, Problem> {
    switch_owner(&admin, &gateway, of, false).await
}

async fn switch_owner(admin: &Admin, gateway: &Gateway, of: OwnersKeys, disabled: bool) -> Result<Response<Body>, Problem> {
    let owner = owner(of)?;
    admin.may_change_all(&keys::of_owner(&*gateway.key_store, &owner).await?)?;
    let data = keys::switch_owner(&*gateway.key_store, &owner, disabled, &admin.actor()).await?;
    let is_unknown = disabled && data.is_empty();
    let warnings = is_unknown.then(|| keys::unknown_owner(&owner)).into_iter().collect();
    Ok(axum::Json(Warned { what: Page { data, next: None }, warnings }).into_response())
}

fn owner(of: OwnersKeys) -> Result<String, Problem> {
    let owner = of.owner.filter(|owner| !owner.is_empty());
    Ok(owner.ok_or(Wrong { field: "owner", message: "say whose keys".to_owned() })?)
}

/// Whether the caller may change the key.
async fn of_mine(admin: &Admin, gateway: &Gateway, id: &str) -> Result<(), Problem> {
    let view = keys::show(&*gateway.key_store, id).await?;
    admin.may_change(Kind::from_name(view.kind).unwrap_or(Kind::Admin))
}
