//! `GET /admin/v1/usage`: sums over the ledger by key, model, day, …; `/export`: its requests one by one.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Query, State};
use axum::response::IntoResponse;
use futures_util::StreamExt as _;
use http::request::Parts;
use http::{Response, StatusCode, header};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::Deserialize;
use serde_json::json;

use crate::error::{Kind, Refusal};
use crate::gateway::Gateway;
use crate::key::keyring::Plane;
use crate::ledger::export::{Export, Format};
use crate::store::{RowsQuery, StoreError, UsageBy, UsageQuery};
use crate::surface::openai;

/// What usage can be summed by.
const BY: [(&str, UsageBy); 7] = [
    ("key", UsageBy::Key),
    ("model", UsageBy::Model),
    ("day", UsageBy::Day),
    ("project", UsageBy::Project),
    ("team", UsageBy::Team),
    ("provider", UsageBy::Provider),
    ("operation", UsageBy::Operation),
];

/// The query as it is written in a URL or on the command line.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Params {
    by: Option<String>,
    since: Option<String>,
    until: Option<String>,
    key: Option<String>,
    project: Option<String>,
    team: Option<String>,
}

pub(super) async fn show(
    State(gateway): State<Arc<Gateway>>,
    params: Result<Query<Params>, axum::extract::rejection::QueryRejection>,
    head: Parts,
) -> Response<Body> {
    match sums(&gateway, params, &head).await {
        Ok(response) => response,
        Err(refusal) => openai::refuse(&refusal),
    }
}

async fn sums(
    gateway: &Gateway,
    params: Result<Query<Params>, axum::extract::rejection::QueryRejection>,
    head: &Parts,
) -> Result<Response<Body>, Refusal> {
    gateway.caller(head, Plane::Admin).await?;
    let Query(params) = params
        .map_err(|e| Refusal::invalid("invalid_query", format!("{e}: the parameters are by, since, until, key, project and team.")))?;
    let invalid = |message| Refusal::invalid("invalid_query", message);
    let query = parse(params.by.as_deref().unwrap_or("day"), params.since.as_deref(), params.until.as_deref()).map_err(invalid)?;
    let query = UsageQuery { key: params.key, project: params.project, team: params.team, ..query };
    // What ended before this call is in the answer.
    if let Err(e) = gateway.drain.flush().await {
        tracing::warn!(error = %e, "usage is shown without the newest records");
    }
    let rows = gateway.ledger_store.usage(&query).await.map_err(|e| store_down(&e))?;
    Ok(Json(json!({ "object": "list", "data": rows })).into_response())
}

/// What to export, as it is written in a URL.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExportParams {
    format: Option<String>,
    since: Option<String>,
    until: Option<String>,
}

pub(super) async fn export(
    State(gateway): State<Arc<Gateway>>,
    params: Result<Query<ExportParams>, axum::extract::rejection::QueryRejection>,
    head: Parts,
) -> Response<Body> {
    match requests(&gateway, params, &head).await {
        Ok(response) => response,
        Err(refusal) => openai::refuse(&refusal),
    }
}

async fn requests(
    gateway: &Gateway,
    params: Result<Query<ExportParams>, axum::extract::rejection::QueryRejection>,
    head: &Parts,
) -> Result<Response<Body>, Refusal> {
    gateway.caller(head, Plane::Admin).await?;
    let invalid = |message| Refusal::invalid("invalid_query", message);
    let Query(params) = params.map_err(|e| invalid(format!("{e}: the parameters are format, since and until.")))?;
    let format = Format::parse(params.format.as_deref().unwrap_or("jsonl")).map_err(invalid)?;
    let query = parse_export(params.since.as_deref(), params.until.as_deref()).map_err(invalid)?;
    let export = Export::new(Arc::clone(&gateway.ledger_store), query, format);
    // The first page before the head: a store that is down is a 503, and not an export that breaks off.
    let (first, export) = export.next().await.map_err(|e| store_down(&e))?;
    let later = futures_util::stream::try_unfold(export, |export| async move {
        let Some(export) = export else { return Ok(None) };
        export.next().await.map(Some).inspect_err(|e| tracing::error!(error = %e, "an export breaks off"))
    });
    let text = futures_util::stream::once(std::future::ready(Ok(first))).chain(later);
    Ok(([(header::CONTENT_TYPE, format.media_type())], Body::from_stream(text)).into_response())
}

fn store_down(error: &StoreError) -> Refusal {
    tracing::error!(%error, "usage cannot be read");
    Refusal::new(
        StatusCode::SERVICE_UNAVAILABLE,
        Kind::Unavailable,
        "store_unavailable",
        "The store cannot be asked right now: try again in a moment.",
    )
}

/// Reads a query: `by` is one of [`BY`]; times are RFC 3339 or a day (UTC).
pub fn parse(by: &str, since: Option<&str>, until: Option<&str>) -> Result<UsageQuery, String> {
    let names = || BY.map(|(name, _)| name).join(", ");
    let known = BY.iter().find(|(name, _)| *name == by).map(|(_, known)| *known);
    let by = known.ok_or_else(|| format!("'{by}' is nothing to sum by: it is one of {}.", names()))?;
    let RowsQuery { since, until } = parse_export(since, until)?;
    Ok(UsageQuery { by, since, until, ..UsageQuery::default() })
}

/// Reads from when to when requests are exported.
pub fn parse_export(since: Option<&str>, until: Option<&str>) -> Result<RowsQuery, String> {
    let time = |text: Option<&str>| text.map(self::time).transpose();
    Ok(RowsQuery { since: time(since)?, until: time(until)? })
}

fn time(text: &str) -> Result<Timestamp, String> {
    let of_day = |day: Date| TimeZone::UTC.to_timestamp(day.at(0, 0, 0, 0)).ok();
    text.parse::<Timestamp>()
        .ok()
        .or_else(|| of_day(text.parse().ok()?))
        .ok_or_else(|| format!("'{text}' is no time: write it as 2026-01-31 or 2026-01-31T12:00:00Z."))
}
