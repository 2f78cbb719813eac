//! Beside the corridor: managing the gateway; the command line and the management API call the same functions.

pub mod change;
pub mod groups;
pub mod keys;
pub mod state;
mod usage;

use std::sync::Arc;

use axum::routing::get;

pub use usage::parse as parse_usage_query;

use crate::gateway::Gateway;

/// The management API, for admin keys.
pub fn routes() -> axum::Router<Arc<Gateway>> {
    axum::Router::new().route("/admin/v1/usage", get(usage::show))
}
