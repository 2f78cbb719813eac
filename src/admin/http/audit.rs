//! `/admin/v1/audit`: who changed what, newest first, and whether the list is whole.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::IntoResponse;
use http::Response;
use serde::Deserialize;
use utoipa::IntoParams;

use super::page::{self, Asked, Page};
use super::{Problem, Viewer};
use crate::gateway::Gateway;
use crate::store::audit::{self, Entry, Verified};

/// Which part of the list is wanted.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AuditQuery {
    /// The most entries, up to 1000 [default: 100].
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// What `next` was in the answer before: an entry's number.
    after: Option<i64>,
}

/// Entries, newest first.
#[utoipa::path(get, path = "/admin/v1/audit", tag = "audit", params(AuditQuery), responses((status = 200, body = Page<Entry>), (status = "4XX", body = Problem)))]
pub async fn list(_: Viewer, State(gateway): State<Arc<Gateway>>, Asked(query): Asked<AuditQuery>) -> Result<Response<Body>, Problem> {
    let most = page::size(query.limit)?;
    // It is at most 1000.
    let asked = u32::try_from(most + 1).unwrap_or(u32::MAX);
    let mut data = gateway.audit_store.audit(query.after, asked).await?;
    let has_more = data.len() > most;
    data.truncate(most);
    let next = data.last().filter(|_| has_more).map(|entry| entry.number.to_string());
    Ok(axum::Json(Page { data, next }).into_response())
}

/// Whether each entry follows from the one before it.
#[utoipa::path(get, path = "/admin/v1/audit/verification", tag = "audit", responses((status = 200, body = Verified), (status = "4XX", body = Problem)))]
pub async fn verification(_: Viewer, State(gateway): State<Arc<Gateway>>) -> Result<Response<Body>, Problem> {
    let verified: Verified = audit::verify(&*gateway.audit_store).await?;
    Ok(axum::Json(verified).into_response())
}
