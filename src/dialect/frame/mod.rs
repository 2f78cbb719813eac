//! How streams are cut into events: server-sent events, lines of JSON, and AWS event streams.

mod aws;
mod lines;
mod sse;
#[cfg(test)]
mod tests;

pub use aws::{AwsFrame, AwsFrames, AwsKind, Broken, frame_len, read_frame, seal_frames, write_frame};
pub use lines::Lines;
pub use sse::{Sse, SseEvent, write_sse};
