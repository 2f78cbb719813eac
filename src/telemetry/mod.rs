//! What operators see: one log line a request, and metrics.

mod log;
mod metrics;

pub use log::start;
pub use metrics::Metrics;
