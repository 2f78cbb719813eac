//! OpenAI's dialects, passed through: peek at a request, splice what has to change, watch the answer for its usage.

pub mod members;
pub mod meter;
pub mod request;
mod scan;
#[cfg(test)]
mod tests;
pub mod usage;
