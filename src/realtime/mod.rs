//! A realtime session: a WebSocket to a provider, handed through to a caller's under the key's limits.
//!
//! Each response is a request of its own: reserved before it is asked for, and settled when it is reported; and so is each transcript of
//! what the session hears. The session is one that costs nothing, and that is one of its key's parallel requests until it ends.
//!
//! Messages pass as they are. A `session.update` that names a model is the provider's to judge, as are the model's names in its
//! answers: inside a session they are the provider's own.

mod ending;
mod events;
mod handshake;
mod meter;
mod naming;
mod opening;
mod relay;
#[cfg(test)]
mod tests;
mod transcripts;
mod turns;

pub use opening::open;
