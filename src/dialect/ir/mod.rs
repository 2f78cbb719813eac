//! The intermediate form: what a chat request, an answer and a stream mean, as rich as the richest dialect.
//!
//! N dialects need N decoders and N encoders, not N × N translators. What one dialect cannot express is told by [`Dropped`], never silent.
//! Tokens are [`Usage`](crate::ledger::record::Usage): `input` includes cached ones, `output` includes reasoning.

mod answer;
mod block;
mod called;
mod dropped;
mod event;
mod request;
mod signature;
mod subject;
#[cfg(test)]
mod tests;

pub use answer::{Answer, Choice, Collector, Finish, TokenLogprob};
pub use block::{Block, Builtin, BuiltinKind, Cache, Citation, Content, Media, MediaKind, MediaSource, Reasoning, ToolCall, ToolResult};
pub use dropped::Dropped;
pub use event::{Blocks, Delta, Event, Opening, Trouble, TroubleKind};
pub use request::{Effort, Extra, Format, Function, Message, Request, Role, Sampling, Thinking, Tool, ToolChoice};
pub use signature::Signature;
pub use subject::{Field, Subject};
