//! `GET /admin/v1/usage`: sums over the ledger by key, model or day.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Query, State};
use axum::response::IntoResponse;
use http::Response;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::http::{Problem, Viewer};
use crate::gateway::Gateway;
use crate::store::{UsageBy, UsageQuery, UsageRow};

/// The query as it is written in a URL or on the command line.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Params {
    /// key, model or day (the default).
    by: Option<String>,
    /// From this day or time on, UTC.
    since: Option<String>,
    /// Before this day or time, UTC.
    until: Option<String>,
    /// Of this key alone, by its id.
    key: Option<String>,
}

/// Sums, one for each key, model or day.
#[derive(Serialize, ToSchema)]
pub struct Sums {
    object: &'static str,
    data: Vec<UsageRow>,
}

/// Sums over the ledger.
#[utoipa::path(get, path = "/admin/v1/usage", tag = "usage", params(Params), responses((status = 200, body = Sums), (status = "4XX", body = Problem)))]
pub(super) async fn show(
    _: Viewer,
    State(gateway): State<Arc<Gateway>>,
    params: Result<Query<Params>, axum::extract::rejection::QueryRejection>,
) -> Result<Response<Body>, Problem> {
    let Query(params) = params.map_err(|e| Problem::query(format!("{}: the parameters are by, since, until and key.", e.body_text())))?;
    let by = params.by.as_deref().unwrap_or("day");
    let query = parse(by, params.since.as_deref(), params.until.as_deref(), params.key.as_deref()).map_err(Problem::query)?;
    // What ended before this call is in the answer.
    if let Err(e) = gateway.drain.flush().await {
        tracing::warn!(error = %e, "usage is shown without the newest records");
    }
    let data = gateway.ledger_store.usage(&query).await?;
    Ok(Json(Sums { object: "list", data }).into_response())
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
