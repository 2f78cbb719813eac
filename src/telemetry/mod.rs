//! What operators see: one log line a request, and metrics.

mod log;
mod metrics;
mod request;

pub use log::{filter, start};
pub use metrics::{Ended, Format, Metrics, UNLISTED};
pub use request::RequestLine;
