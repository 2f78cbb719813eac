//! Lists: up to `limit` entries after the one that `after` names; `next` is the `after` of the following page.

use axum::extract::{FromRequestParts, Query};
use http::request::Parts;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Problem;

/// Which part of a list is wanted.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PageQuery {
    /// The most entries, up to 1000 [default: 100].
    #[param(minimum = 1, maximum = 1000)]
    pub(super) limit: Option<usize>,
    /// What `next` was in the answer before.
    pub(super) after: Option<String>,
}

/// What a query asks for; one that is wrong is told of as all that is.
pub struct Asked<T>(pub T);

/// A part of a list.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Page<T> {
    /// The entries.
    pub data: Vec<T>,
    /// Where the following page begins; null at the end.
    pub next: Option<String>,
}

/// Bounds of a page.
const DEFAULT: usize = 100;
const MOST: usize = 1000;

// === impl Asked ===

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Asked<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Asked<T>, Problem> {
        let asked = Query::<T>::from_request_parts(parts, state).await;
        asked.map(|Query(asked)| Asked(asked)).map_err(|e| Problem::query(e.body_text()))
    }
}

/// The size of a page that is asked for.
pub fn size(limit: Option<usize>) -> Result<usize, Problem> {
    match limit.unwrap_or(DEFAULT) {
        limit @ 1..=MOST => Ok(limit),
        limit => Err(Problem::query(format!("limit is {limit}: it is from 1 to {MOST}."))),
    }
}

/// One page of entries that are sorted by a name.
pub fn of<T>(sorted: Vec<T>, query: &PageQuery, name: impl Fn(&T) -> String) -> Result<Page<T>, Problem> {
    let most = size(query.limit)?;
    let rest = sorted.into_iter().filter(|entry| query.after.as_ref().is_none_or(|after| name(entry) > *after));
    Ok(cut(rest.take(most + 1).collect(), most, name))
}

/// A page of so many entries at the most, of which one more was looked for.
pub fn cut<T>(mut data: Vec<T>, most: usize, name: impl Fn(&T) -> String) -> Page<T> {
    let has_more = data.len() > most;
    data.truncate(most);
    let next = data.last().filter(|_| has_more).map(name);
    Page { data, next }
}
