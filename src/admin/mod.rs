//! Beside the corridor: managing the gateway; the command line and the management API call the same functions.

pub mod change;
pub mod credentials;
pub mod explain;
pub mod groups;
mod http;
pub mod keys;
pub mod meant;
pub mod services;
pub mod state;
mod usage;

pub use http::{ANSWERS_KEPT_FOR, Desk, ScannerKeys, logged_if_managements, owns, routes, scanner_routes, unknown_path, wrong_method};
pub use usage::{known as known_usage, left_out as left_out_of_usage, parse as parse_usage_query, parse_export as parse_export_query};
