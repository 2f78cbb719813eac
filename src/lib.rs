//! Keyward, an AI gateway: any AI client in, any provider out, every call under a key that is checked, limited and accounted for.
//!
//! A request walks through eight rooms, and data only moves forward; [`exchange`] is the corridor that connects them:
//!
//! 1. [`surface`]: what the caller speaks
//! 2. [`key`]: whose key is it, is it good, and if not exactly why
//! 3. [`quota`]: may it do this now
//! 4. [`route`]: from a model's name to targets
//! 5. [`dialect`]: encode for the provider
//! 6. [`upstream`]: send, stream, retry
//! 7. [`dialect`]: watch the answer for its usage
//! 8. [`ledger`]: settle, once and never lost

pub mod admin;
pub mod catalog;
pub mod cli;
mod clock;
pub mod config;
pub mod deep;
pub mod dialect;
mod distinct;
pub mod error;
pub mod exchange;
pub mod gateway;
pub mod held;
mod hex;
mod hidden;
mod json;
pub mod key;
pub mod ledger;
pub mod life;
pub mod mcp;
pub mod money;
mod owner;
pub mod problem;
pub mod prompt;
pub mod quota;
pub mod realtime;
pub mod route;
pub mod server;
pub mod service;
pub mod shelf;
mod shown_url;
pub mod steps;
pub mod store;
pub mod surface;
pub mod telemetry;
pub mod ticket;
pub mod upstream;
pub mod versions;
pub mod yaml;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;
