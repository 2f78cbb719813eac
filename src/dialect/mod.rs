//! Rooms 5 and 7: what a request says, what a provider is sent, and what its answer cost.
//!
//! The same dialect on both sides is byte for byte but for the model and the credential, so these read only what they need.

pub mod openai;

pub use openai::meter::{Meter, Reading};
