//! Beside the corridor: providers, their models and prices, from `providers/*.toml` and a folder of the user's own.

pub mod env;
pub mod load;
pub mod model;
pub mod operation;
pub mod provider;
#[cfg(test)]
mod tests;

pub use env::Environment;
pub use load::{Catalog, LoadError};
pub use model::{Capability, Model};
pub use provider::{Auth, Dialect, Door, Operation, Provider, Quirks};
