//! Beside the corridor: the Model Context Protocol. `/mcp` serves what a key may do as tools, prompts and resources, over Streamable HTTP,
//! by `rmcp`, with those of federated servers beside its own; `/mcp/NAME` serves one federated server as it is.
//!
//! The newest revision has no sessions, and neither have older ones where nothing is federated: each request carries its key, and what it
//! may see is decided anew. A federated server may ask its caller something in the middle of a call, for which older revisions need a session.

#![allow(deprecated, reason = "sampling, roots and logging leave the protocol, and callers and servers of older revisions have them")]

mod batch;
mod calls;
mod cors;
mod endpoint;
pub mod federation;
mod handler;
mod holder;
mod introduction;
mod kept;
mod names;
mod plain;
mod prompts;
mod room;
mod services;
mod sessions;
mod subscriptions;
#[cfg(test)]
mod tests;
mod tools;

pub use batch::MOST as MOST_OF_A_BATCH;
pub use endpoint::routes;
pub use plain::{INVALID_REQUEST, PARSE_ERROR};
pub use room::Room;

/// What an operation of a REST service is called as a tool.
pub fn tool_name(service: &str, operation: &str) -> String {
    names::Manner::Beside.name(service, operation)
}
