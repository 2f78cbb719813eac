//! How streams are cut into events: server-sent events, and lines of JSON.

mod lines;
mod sse;
#[cfg(test)]
mod tests;

pub use lines::Lines;
pub use sse::{Sse, SseEvent, write_sse};
