//! A realtime session: a WebSocket to a provider, handed through to a caller's under the key's limits, and settled when it ends.
//!
//! Messages pass as they are. A `session.update` that names a model is the provider's to judge, as are the model's names in its
//! answers: inside a session they are the provider's own.

mod ending;
mod handshake;
mod meter;
mod opening;
mod relay;
#[cfg(test)]
mod tests;

pub use opening::open;
