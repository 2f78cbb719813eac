//! `GET /admin/v1/usage`: sums over the ledger by key, model, day, …; `/export`: its requests one by one.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Query, State};
use axum::response::IntoResponse;
use futures_util::StreamExt as _;
use http::{HeaderName, Response, header};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::http::Viewer;
use super::http::page::{self, Page};
use super::keys::KeyError;
use super::{change, keys};
use crate::gateway::Gateway;
use crate::ledger::export::{Export, Format};
use crate::life;
use crate::problem::Problem;
use crate::quota::AccountId;
use crate::store::{GroupStore, KeyStore, LedgerStore, RowsQuery, StoreError, UsageBy, UsageQuery, UsageRow};

/// What usage can be summed by.
const BY: [(&str, UsageBy); 10] = [
    ("key", UsageBy::Key),
    ("model", UsageBy::Model),
    ("day", UsageBy::Day),
    ("project", UsageBy::Project),
    ("team", UsageBy::Team),
    ("provider", UsageBy::Provider),
    ("operation", UsageBy::Operation),
    ("prompt", UsageBy::Prompt),
    ("tool", UsageBy::Tool),
    ("service", UsageBy::Service),
];

/// The sum of what belongs to no project, team, …, none of which is named so.
const NONE: &str = "(none)";

/// Whether all that has ended is in an export, which has no place for it but its head.
const COMPLETE: HeaderName = HeaderName::from_static("keyward-complete");
/// From when on all single requests are kept, where a time was asked for of which some are not any more.
const KEPT_SINCE: HeaderName = HeaderName::from_static("keyward-kept-since");

const HOUR: i64 = 3600;

/// The query as it is written in a URL or on the command line.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Params {
    /// key, model, day (the default), project, team, provider, operation, prompt (as `name@version`), tool (as `server/tool`) or service (as `service@version/operation`).
    #[param(pattern = "^(key|model|day|project|team|provider|operation|prompt|tool|service)$")]
    by: Option<String>,
    /// From this day or time on, UTC.
    since: Option<String>,
    /// Before this day or time, UTC.
    until: Option<String>,
    /// Of this key alone, by its id.
    key: Option<String>,
    /// Of this project alone, by its id.
    project: Option<String>,
    /// Of this team alone, by its id.
    team: Option<String>,
    /// The most sums, up to 1000, dearest first [default: 100]; one that grows dearer between two pages may be on neither: end the time before now.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// What `next` was in the answer before.
    after: Option<String>,
}

/// Sums, one for each key, model or day.
#[derive(Serialize, ToSchema)]
pub struct Sums {
    object: &'static str,
    /// Whether all that has ended is in them; false while the store takes nothing, and `/readyz` tells why, and where `note` tells what else is not.
    complete: bool,
    /// Which hours are left out, as the time ends or begins within them and the sums of whole hours alone are kept (`ledger.keep`).
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
    #[serde(flatten)]
    page: Page<UsageRow>,
}

/// Sums over the ledger.
#[utoipa::path(get, path = "/admin/v1/usage", tag = "usage", params(Params), responses((status = 200, body = Sums), (status = "4XX", body = Problem)))]
pub(super) async fn show(
    _: Viewer,
    State(gateway): State<Arc<Gateway>>,
    params: Result<Query<Params>, axum::extract::rejection::QueryRejection>,
) -> Result<Response<Body>, Problem> {
    let Query(params) = params.map_err(|e| {
        Problem::query(format!("{}: the parameters are by, since, until, key, project, team, limit and after.", e.body_text()))
    })?;
    let most = page::size(params.limit)?;
    let by = params.by.as_deref().unwrap_or("day");
    let query = parse(by, params.since.as_deref(), params.until.as_deref()).map_err(Problem::query)?;
    let UsageQuery { key, project, team, .. } = whose(&gateway, params.key, params.project, params.team).await?;
    let query = UsageQuery { key, project, team, ..query };
    let is_newest = gateway.take_in_newest("usage is shown").await;
    let rows = gateway.ledger_store.usage(&query).await?;
    // Asked for after the sums: what is deleted meanwhile may be said to be missing, and is never missing unsaid.
    let note = left_out(&*gateway.ledger_store, query.since, query.until).await?;
    let complete = is_newest && note.is_none();
    // Where the sum of none was the last one, `next` was empty in versions before this one.
    let is_at = |row: &UsageRow, after: &str| named(row) == after || row.group == after;
    if let Some(after) = params.after.as_ref().filter(|after| !rows.iter().any(|row| is_at(row, after))) {
        return Err(Problem::query(format!(
            "after is '{after}', which is none of these sums: it is what 'next' was in the answer before."
        )));
    }
    let is_before = |row: &UsageRow| params.after.as_ref().is_some_and(|after| !is_at(row, after));
    let rest = rows.into_iter().skip_while(is_before).skip(usize::from(params.after.is_some()));
    let page = page::cut(rest.take(most + 1).collect(), most, |row| named(row).to_owned());
    Ok(Json(Sums { object: "list", complete, note, page }).into_response())
}

/// What a page ends with: clients take an empty name for the end of the list.
fn named(row: &UsageRow) -> &str {
    if row.group.is_empty() { NONE } else { &row.group }
}

/// What to export, as it is written in a URL.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ExportParams {
    /// jsonl (the default) or csv.
    #[param(pattern = "^(jsonl|csv)$")]
    format: Option<String>,
    /// From this day or time on, UTC.
    since: Option<String>,
    /// Before this day or time, UTC.
    until: Option<String>,
    /// Of this key alone, by its id.
    key: Option<String>,
}

/// Single requests, oldest first, as lines; the header `keyward-complete` is `false` while the store does not take the newest, and where `since` is
/// before `keyward-kept-since`: of the time before that, not all of them are kept (`ledger.keep`).
#[utoipa::path(get, path = "/admin/v1/usage/export", tag = "usage", params(ExportParams), responses((status = 200, description = "JSON lines or CSV", content((String = "application/jsonl"), (String = "text/csv"))), (status = "4XX", body = Problem)))]
pub(super) async fn export(
    _: Viewer,
    State(gateway): State<Arc<Gateway>>,
    params: Result<Query<ExportParams>, axum::extract::rejection::QueryRejection>,
) -> Result<Response<Body>, Problem> {
    let Query(params) =
        params.map_err(|e| Problem::query(format!("{}: the parameters are format, since, until and key.", e.body_text())))?;
    let format = Format::parse(params.format.as_deref().unwrap_or("jsonl")).map_err(Problem::query)?;
    let query = parse_export(params.since.as_deref(), params.until.as_deref()).map_err(Problem::query)?;
    let query = RowsQuery { key: whose(&gateway, params.key, None, None).await?.key, ..query };
    let is_newest = gateway.take_in_newest("usage is exported").await;
    let (store, since, until) = (Arc::clone(&gateway.ledger_store), query.since, query.until);
    let export = Export::new(Arc::clone(&gateway.ledger_store), query, format);
    // The first page before the head: a store that is down is a 503, and not an export that breaks off.
    let (first, export) = export.next().await?;
    let kept_since = store.pruned_until(since, until).await?;
    // Who names no beginning asks for what there is.
    let complete = is_newest && (since.is_none() || kept_since.is_none());
    let later = futures_util::stream::try_unfold(export, |export| async move {
        let Some(export) = export else { return Ok(None) };
        export.next().await.map(Some).inspect_err(|e| tracing::error!(error = %e, "an export breaks off"))
    });
    let text = futures_util::stream::once(std::future::ready(Ok(first))).chain(later);
    let headers = [(header::CONTENT_TYPE, format.media_type()), (COMPLETE, if complete { "true" } else { "false" })];
    let kept_since = kept_since.map(|kept_since| [(KEPT_SINCE, kept_since.to_string())]);
    Ok((headers, kept_since, Body::from_stream(text)).into_response())
}

/// What sums over a time leave out though it is in it: of an hour whose requests have had their time only the sum of the whole is kept.
pub async fn left_out(store: &dyn LedgerStore, since: Option<Timestamp>, until: Option<Timestamp>) -> Result<Option<String>, StoreError> {
    let mut hours: Vec<[Timestamp; 2]> = Vec::new();
    for hour in [since, until].into_iter().flatten().filter_map(hour_around) {
        if !hours.contains(&hour) && store.pruned_until(Some(hour[0]), Some(hour[1])).await?.is_some() {
            hours.push(hour);
        }
    }
    let hours: Vec<String> = hours.iter().map(|[begins, ends]| format!("from {begins} to {ends}")).collect();
    Ok((!hours.is_empty()).then(|| {
        let hours = hours.join(" and the one ");
        format!("Not all of the hour {hours} is in these sums: its requests have had their time (ledger.keep), and their sum is told of whole hours alone: begin and end with one.")
    }))
}

/// The hour that a time is in the middle of.
fn hour_around(time: Timestamp) -> Option<[Timestamp; 2]> {
    let begins = Timestamp::from_second(time.as_second().div_euclid(HOUR) * HOUR).ok()?;
    let ends = begins.checked_add(SignedDuration::from_secs(HOUR)).ok()?;
    (begins < time).then_some([begins, ends])
}

async fn whose(gateway: &Gateway, key: Option<String>, project: Option<String>, team: Option<String>) -> Result<UsageQuery, Problem> {
    known(&*gateway.key_store, &*gateway.group_store, key, project, team).await?.map_err(Problem::query)
}

/// Whose usage is asked for, a key by its id however it is written: a name that nobody has would be told as one that has used nothing.
pub async fn known(
    keys: &dyn KeyStore,
    groups: &dyn GroupStore,
    key: Option<String>,
    project: Option<String>,
    team: Option<String>,
) -> Result<Result<UsageQuery, String>, StoreError> {
    let key = match key {
        Some(id) => match keys::find(keys, &id).await {
            Ok(record) => Some(record.id.to_string()),
            Err(KeyError::Store(e)) => return Err(e),
            Err(wrong) => return Ok(Err(wrong.to_string())),
        },
        None => None,
    };
    let ids = [
        ("project", project.as_deref().map(|id| AccountId::Project(id.into()))),
        ("team", team.as_deref().map(|id| AccountId::Team(id.into()))),
    ];
    for (field, id) in ids.into_iter().filter_map(|(field, id)| Some((field, id?))) {
        if let Err(wrong) = change::existing(groups, &id, field).await? {
            return Ok(Err(wrong.to_string()));
        }
    }
    Ok(Ok(UsageQuery { key, project, team, ..UsageQuery::default() }))
}

/// Reads a query: `by` is one of [`BY`]; times are RFC 3339 or a day (UTC).
pub fn parse(by: &str, since: Option<&str>, until: Option<&str>) -> Result<UsageQuery, String> {
    let names = || BY.map(|(name, _)| name).join(", ");
    let known = BY.iter().find(|(name, _)| *name == by).map(|(_, known)| *known);
    let by = known.ok_or_else(|| format!("'{by}' is nothing to sum by: it is one of {}.", names()))?;
    let RowsQuery { since, until, .. } = parse_export(since, until)?;
    Ok(UsageQuery { by, since, until, ..UsageQuery::default() })
}

/// Reads from when to when requests are exported.
pub fn parse_export(since: Option<&str>, until: Option<&str>) -> Result<RowsQuery, String> {
    let time = |text: Option<&str>| text.map(self::time).transpose();
    Ok(RowsQuery { since: time(since)?, until: time(until)?, ..RowsQuery::default() })
}

fn time(text: &str) -> Result<Timestamp, String> {
    life::time(text).map_err(|why| format!("{why}."))
}
