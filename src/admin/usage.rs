//! `GET /admin/v1/usage`: sums over the ledger by key, model or day.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Query, State};
use axum::response::IntoResponse;
use http::request::Parts;
use http::{Response, StatusCode};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::Deserialize;
use serde_json::json;

use crate::error::{Kind, Refusal};
use crate::gateway::Gateway;
use crate::key::keyring::Plane;
use crate::store::{UsageBy, UsageQuery};
use crate::surface::openai;

/// The query as it is written in a URL or on the command line.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Params {
    by: Option<String>,
    since: Option<String>,
    until: Option<String>,
    key: Option<String>,
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
    let Query(params) =
        params.map_err(|e| Refusal::invalid("invalid_query", format!("{e}: the parameters are by, since, until and key.")))?;
    let by = params.by.as_deref().unwrap_or("day");
    let query = parse(by, params.since.as_deref(), params.until.as_deref(), params.key.as_deref())
        .map_err(|message| Refusal::invalid("invalid_query", message))?;
    // What ended before this call is in the answer.
    if let Err(e) = gateway.drain.flush().await {
        tracing::warn!(error = %e, "usage is shown without the newest records");
    }
    let rows = gateway.ledger_store.usage(&query).await.map_err(|e| {
        tracing::error!(error = %e, "usage cannot be read");
        Refusal::new(
            StatusCode::SERVICE_UNAVAILABLE,
            Kind::Unavailable,
            "store_unavailable",
            "The store cannot be asked right now: try again in a moment.",
        )
    })?;
    Ok(Json(json!({ "object": "list", "data": rows })).into_response())
}

/// Reads a query: `by` is `key`, `model` or `day`; times are RFC 3339 or a day (UTC).
pub fn parse(by: &str, since: Option<&str>, until: Option<&str>, key: Option<&str>) -> Result<UsageQuery, String> {
    let by = match by {
        "key" => UsageBy::Key,
        "model" => UsageBy::Model,
        "day" => UsageBy::Day,
        other => return Err(format!("'{other}' is nothing to sum by: it is one of key, model, day.")),
    };
    let time = |text: Option<&str>| text.map(self::time).transpose();
    Ok(UsageQuery { by, since: time(since)?, until: time(until)?, key: key.map(str::to_owned) })
}

fn time(text: &str) -> Result<Timestamp, String> {
    let of_day = |day: Date| TimeZone::UTC.to_timestamp(day.at(0, 0, 0, 0)).ok();
    text.parse::<Timestamp>()
        .ok()
        .or_else(|| of_day(text.parse().ok()?))
        .ok_or_else(|| format!("'{text}' is no time: write it as 2026-01-31 or 2026-01-31T12:00:00Z."))
}
