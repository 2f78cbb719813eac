//! `POST /admin/v1/leaks`: keys that were seen where they do not belong are ended.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::IntoResponse;
use http::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::body::Fields;
use super::{Admin, Json, Problem};
use crate::admin::change::Wrong;
use crate::admin::keys::{self, Leak};
use crate::gateway::Gateway;

/// Keys that leaked.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub struct Leaked {
    /// Up to 1000 keys, each as its text or its id, or lines that have their texts in them.
    #[schema(value_type = Vec<String>, required, min_items = 1, max_items = 1000)]
    keys: Option<Vec<String>>,
    /// Where they were seen.
    source: Option<String>,
}

/// What became of each key, in the order of the report.
#[derive(Debug, Serialize, ToSchema)]
pub struct Leaks {
    data: Vec<Leak>,
}

const MOST: usize = 1000;

impl Fields for Leaked {
    fn names() -> Vec<&'static str> {
        vec!["keys", "source"]
    }
}

/// Ends keys that leaked (or switches them off, as `admin.leaks` says), and notes where they were seen.
#[utoipa::path(post, path = "/admin/v1/leaks", tag = "leaks", request_body = Leaked, responses((status = 200, body = Leaks), (status = "4XX", body = Problem)))]
pub async fn report(admin: Admin, State(gateway): State<Arc<Gateway>>, Json(leaked): Json<Leaked>) -> Result<Response<Body>, Problem> {
    let texts = leaked.keys.unwrap_or_default();
    if !(1..=MOST).contains(&texts.iter().map(|text| keys::reported(text).len()).sum()) {
        return Err(Wrong { field: "keys", message: format!("report 1 to {MOST} keys") }.into());
    }
    // Whoever holds a key proves by it that it leaked; its id is no secret.
    for id in texts.iter().filter_map(|text| keys::fingerprint(text.trim())) {
        if let Some(record) = gateway.key_store.key(id).await? {
            admin.may_change(record.kind)?;
        }
    }
    let (store, action) = (&*gateway.key_store, gateway.config.admin.leaks);
    let source = leaked.source.unwrap_or_default();
    let data = keys::leaked(store, &gateway.admin.pepper, &texts, &source, action, &admin.actor()).await?;
    Ok(axum::Json(Leaks { data }).into_response())
}
