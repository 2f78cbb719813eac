//! Beside the corridor: the Model Context Protocol. `/mcp` serves what a key may do as tools, over Streamable HTTP, by `rmcp`.
//!
//! Every revision is served without sessions: each request carries its key, and what it may see is decided anew.

mod endpoint;
mod tools;

pub use endpoint::{Endpoint, routes};
