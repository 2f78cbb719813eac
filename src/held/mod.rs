//! Knows which provider keeps what for which key: files, batches, responses and conversations, each seen only by the key that made it.

mod change;
#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

pub use change::Change;
use http::StatusCode;
use jiff::Timestamp;
use moka::sync::Cache;
use serde::Deserialize;

use crate::error::{self, Refusal};
use crate::key::KeyId;
use crate::ledger::Ledger;
use crate::ledger::drain::DrainHandle;
use crate::store::{HeldStore, StoreError};

/// Something that a provider keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// What it is.
    pub kind: Kind,
    /// Its id at the provider.
    pub id: String,
    /// The key that made it.
    pub key: KeyId,
    /// Who keeps it.
    pub provider: String,
    /// When it was made.
    pub created: Timestamp,
}

/// What providers keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the names say it all")]
pub enum Kind {
    Response,
    Conversation,
    File,
    Batch,
}

/// Answers who keeps what: by what the ledger has and the store not yet, from memory for what was used lately, else from the store.
pub struct Keeper {
    store: Arc<dyn HeldStore>,
    ledger: Arc<Ledger>,
    drain: DrainHandle,
    known: Cache<(KeyId, Kind, String), Arc<str>>,
}

/// Kept in memory at the most, about 200 bytes each.
const KNOWN: u64 = 100_000;

// === impl Kind ===

impl Kind {
    /// Its name in the store and in messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Response => "response",
            Kind::Conversation => "conversation",
            Kind::File => "file",
            Kind::Batch => "batch",
        }
    }

    /// It is not there, or not this key's: one answer for both, so that nobody learns what others have.
    pub fn not_found(self, id: &str) -> Refusal {
        let (code, advice) = match self {
            Kind::Response => ("response_not_found", "only the key that made it sees it, and only where it was made with 'store' on"),
            Kind::Conversation => ("conversation_not_found", "only the key that made it sees it"),
            Kind::File => ("file_not_found", "only the key that uploaded it sees it"),
            Kind::Batch => ("batch_not_found", "only the key that made it sees it"),
        };
        let id: String = id.chars().take(100).collect();
        let message = format!("There is no {} '{id}' that this key made through this gateway: {advice}.", self.as_str());
        Refusal::new(StatusCode::NOT_FOUND, error::Kind::NotFound, code, message)
    }
}

// === impl Keeper ===

impl Keeper {
    /// One over `store` and what is on its way there.
    pub fn new(store: Arc<dyn HeldStore>, ledger: Arc<Ledger>, drain: DrainHandle) -> Keeper {
        Keeper { store, ledger, drain, known: Cache::new(KNOWN) }
    }

    /// Who keeps what has this id, if this key made it; an error where that cannot be told.
    pub async fn holder(&self, key: KeyId, kind: Kind, id: &str) -> Result<Option<Arc<str>>, StoreError> {
        // Before the store is asked: what is not here any more is there.
        let lately = self.ledger.untaken().of(kind, id);
        let knows_all = self.knows_all();
        if let Some(newest) = lately.last() {
            let mine = if newest.key() == key { vec![key] } else { self.store.mine(key).await? };
            if let Some(change) = lately.iter().rev().find(|change| mine.contains(&change.key())) {
                return Ok(change.holder());
            }
        }
        let place = (key, kind, id.to_owned());
        if let Some(known) = self.known.get(&place) {
            return Ok(Some(known));
        }
        let found: Option<Arc<str>> = self.store.holder(key, kind, id).await?.map(Arc::from);
        match &found {
            Some(provider) => self.known.insert(place, Arc::clone(provider)),
            None => knows_all?,
        }
        Ok(found)
    }

    /// Whether any key made what has this id; an error where that cannot be told.
    pub async fn is_anyones(&self, kind: Kind, id: &str) -> Result<bool, StoreError> {
        let lately = self.ledger.untaken().of(kind, id);
        let knows_all = self.knows_all();
        if !lately.is_empty() || self.store.is_held(kind, id).await? {
            return Ok(true);
        }
        knows_all.map(|()| false)
    }

    /// All of a kind that this key made, newest first; an error where that may not be all.
    pub async fn all(&self, key: KeyId, kind: Kind) -> Result<Vec<Held>, StoreError> {
        let lately = self.ledger.untaken().of_kind(kind);
        self.knows_all()?;
        let held = self.store.held_by(key, kind).await?;
        let mine = if lately.is_empty() { Vec::new() } else { self.store.mine(key).await? };
        let mut all: HashMap<(String, KeyId), Held> = held.into_iter().map(|held| ((held.id.clone(), held.key), held)).collect();
        for change in lately.iter().filter(|change| mine.contains(&change.key())) {
            match &**change {
                Change::Made(held) => drop(all.insert((held.id.clone(), held.key), held.clone())),
                Change::LetGo { id, .. } => mine.iter().for_each(|key| drop(all.remove(&(id.clone(), *key)))),
            }
        }
        let mut all: Vec<Held> = all.into_values().collect();
        all.sort_by_key(|held| Reverse(held.created));
        Ok(all)
    }

    /// Writes down what was made, before its maker hears of it.
    pub fn keep(&self, held: Held) {
        self.known.insert((held.key, held.kind, held.id.clone()), held.provider.as_str().into());
        self.write(Change::Made(held));
    }

    /// Forgets what is kept no more.
    pub fn let_go(&self, key: KeyId, kind: Kind, id: &str) {
        self.known.invalidate(&(key, kind, id.to_owned()));
        self.write(Change::LetGo { kind, id: id.to_owned(), key });
    }

    /// What was done at a provider is told whatever becomes of this.
    fn write(&self, change: Change) {
        if let Err(error) = self.ledger.hold(change) {
            tracing::error!(%error, "whose something is that a provider keeps is not written yet: it is lost if the gateway stops before");
        }
    }

    /// Fails while there may be more than the store and the memory have.
    fn knows_all(&self) -> Result<(), StoreError> {
        let why = match (self.drain.status().is_recovered(), self.ledger.untaken().is_whole()) {
            (true, true) => return Ok(()),
            (false, _) => "the store has not taken in yet what the last run left",
            (true, false) => "more waits to be taken into the store than there is room for in memory",
        };
        Err(StoreError(why.to_owned()))
    }
}
