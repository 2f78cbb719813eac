//! Beside the corridor: managing the gateway; the command line and the management API call the same functions.

pub mod credentials;
pub mod explain;
pub mod keys;
mod usage;

use std::sync::Arc;

use axum::routing::{get, post};

pub use usage::{parse as parse_usage_query, parse_export as parse_export_query};

use crate::gateway::Gateway;

/// The management API, for admin keys.
pub fn routes() -> axum::Router<Arc<Gateway>> {
    axum::Router::new()
        .route("/admin/v1/usage", get(usage::show))
        .route("/admin/v1/usage/export", get(usage::export))
        .route("/admin/v1/keys/explain", post(explain::serve))
}
