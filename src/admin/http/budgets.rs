//! `/admin/v1/budgets`: how the limits of each account stand.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::IntoResponse;
use http::{Response, StatusCode};

use super::page::{self, Asked, Page, PageQuery};
use super::{Problem, Viewer};
use crate::admin::state::{self, AccountState};
use crate::gateway::Gateway;
use crate::quota::AccountId;
use crate::surface::Segment;

/// All accounts with a budget or a rate, by name.
#[utoipa::path(get, path = "/admin/v1/budgets", tag = "budgets", params(PageQuery), responses((status = 200, body = Page<AccountState>), (status = "4XX", body = Problem)))]
pub async fn list(_: Viewer, State(gateway): State<Arc<Gateway>>, Asked(query): Asked<PageQuery>) -> Result<Response<Body>, Problem> {
    let most = page::size(query.limit)?;
    // It is at most 1000.
    let asked = u32::try_from(most + 1).unwrap_or(u32::MAX);
    let accounts = gateway.key_store.limited(query.after.as_deref(), asked).await?;
    let Page { data: accounts, next } = page::cut(accounts, most, |(id, _)| id.to_string());
    let mut data: Vec<AccountState> = Vec::with_capacity(accounts.len());
    for (id, limits) in &accounts {
        data.push(state::of(id, limits, &gateway.accounts).await?);
    }
    Ok(axum::Json(Page { data, next }).into_response())
}

/// One account: `gateway`, `team:ID`, `project:ID` or a key's id.
#[utoipa::path(get, path = "/admin/v1/budgets/{account}", tag = "budgets", params(("account" = String, Path)), responses((status = 200, body = AccountState), (status = "4XX", body = Problem)))]
pub async fn show(_: Viewer, State(gateway): State<Arc<Gateway>>, Segment(account): Segment<3>) -> Result<Response<Body>, Problem> {
    let not_found = || {
        let detail = "There is no such account: it is gateway, team:ID, project:ID or a key's id.";
        Problem::new(StatusCode::NOT_FOUND, "not_found", detail)
    };
    let id = AccountId::parse(&account).ok_or_else(not_found)?;
    let (id, limits) = match &id {
        AccountId::Key(key) => {
            let record = gateway.key_store.key(*key).await?.ok_or_else(not_found)?;
            (AccountId::Key(record.family), record.limits)
        }
        group => (id.clone(), crate::admin::groups::show(&*gateway.group_store, group).await?.limits),
    };
    let state = state::of(&id, &limits, &gateway.accounts).await?;
    Ok(axum::Json(state).into_response())
}
