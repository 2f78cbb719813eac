//! Room 2: whose key is it, is it good, and if not exactly why.
//!
//! A key is judged in three steps, each cheaper to fail than the next: [`presented`] finds what the caller sent,
//! [`format`] knows a typo by its checksum without a look-up, [`keyring`] knows the rest from memory or the store;
//! a [`caller`] is who passed all three.
//! [`diagnose`] names the mistake in what is no key, and [`guesses`] slows down whoever tries keys.

mod beat;
pub mod caller;
pub mod diagnose;
pub mod foreign;
pub mod format;
pub mod guesses;
pub mod hash;
pub mod keyring;
mod lately;
pub mod presented;
pub mod reason;
pub mod record;
#[cfg(test)]
mod tests;

pub use caller::Caller;
pub use format::{KeyId, KeyText, Kind};
pub use hash::{KeyHash, Pepper};
pub use keyring::{Keyring, Unreadable};
pub use reason::Reason;
pub use record::{KeyRecord, Role};
