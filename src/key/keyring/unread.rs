//! A key that the store could not give: whoever asks whether requests can be served is told, until it can be read again.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::Keyring;
use crate::key::KeyId;
use crate::store::StoreError;

/// The key whose reading failed last, or one whose reading met damage, and how it failed.
#[derive(Default)]
pub(super) struct Unread(Mutex<Option<(KeyId, Unreadable)>>);

/// Why a key, or what its limits have used, cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// The store's file is damaged.
    Damaged,
    /// Another program holds the store's lock.
    Locked,
    /// What its limits have used lately is not in the store yet.
    Behind,
    /// The log tells.
    Otherwise,
}

/// How long it is tried again for whoever asks.
const TRIED_FOR: Duration = Duration::from_secs(1);

// === impl Keyring ===

impl Keyring {
    /// Why a key that could not be read cannot be read still: it is tried again, as a gateway that is not ready may get no requests to try it by.
    pub async fn unread(&self) -> Option<Unreadable> {
        let (id, why) = self.unread.last()?;
        let again = async {
            match self.store.key(id).await? {
                Some(record) => self.known(record).await.map(drop),
                None => Ok(()),
            }
        };
        let still = match tokio::time::timeout(TRIED_FOR, again).await {
            Ok(read) => read.err().as_ref().map(Unreadable::of),
            Err(_) => Some(why),
        };
        self.unread.tried_again(id, still);
        still
    }
}

// === impl Unread ===

impl Unread {
    /// Tells of a reading that failed.
    pub(super) fn note(&self, id: KeyId, error: &StoreError) {
        let why = Unreadable::of(error);
        match why {
            Unreadable::Damaged | Unreadable::Otherwise => {
                tracing::error!(key = %id, %error, "a key cannot be read from the store, and is refused until it can");
            }
            Unreadable::Locked | Unreadable::Behind => {
                tracing::warn!(key = %id, %error, "a key that is not in memory is refused until the store takes in what its limits count");
            }
        }
        let mut last = self.lock();
        // What is damaged stays so, whatever else fails.
        if !matches!(*last, Some((_, Unreadable::Damaged))) {
            *last = Some((id, why));
        }
    }

    fn last(&self) -> Option<(KeyId, Unreadable)> {
        *self.lock()
    }

    /// Another one may have failed meanwhile.
    fn tried_again(&self, id: KeyId, still: Option<Unreadable>) {
        let mut last = self.lock();
        if last.is_some_and(|(failed, _)| failed == id) {
            *last = still.map(|why| (id, why));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<(KeyId, Unreadable)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Unreadable ===

impl Unreadable {
    fn of(error: &StoreError) -> Unreadable {
        match error {
            error if error.is_damaged() => Unreadable::Damaged,
            error if error.is_locked() => Unreadable::Locked,
            error if error.is_behind() => Unreadable::Behind,
            _ => Unreadable::Otherwise,
        }
    }
}
