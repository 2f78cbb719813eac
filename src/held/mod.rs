//! Knows which provider keeps what for which key: files, batches, responses and conversations, each seen only by the key that made it.

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use jiff::Timestamp;
use moka::sync::Cache;
use tokio::sync::{mpsc, watch};

use crate::error::{self, Refusal};
use crate::key::KeyId;
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names say it all")]
pub enum Kind {
    Response,
    Conversation,
    File,
    Batch,
}

/// Answers who keeps what: from memory for what was used lately, else from the store.
pub struct Keeper {
    store: Arc<dyn HeldStore>,
    known: Cache<(KeyId, Kind, String), Arc<str>>,
    queue: mpsc::Sender<Held>,
}

/// Writes down in the background what must not make an answer wait.
pub struct Writer {
    store: Arc<dyn HeldStore>,
    queue: mpsc::Receiver<Held>,
}

/// Kept in memory at the most, about 200 bytes each.
const KNOWN: u64 = 100_000;
/// Waiting to be written at the most.
const WAITING: usize = 10_000;
/// Written at once.
const BATCH: usize = 256;
const PAUSE: Duration = Duration::from_secs(1);

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
    /// One over `store`, and what writes for it.
    pub fn new(store: Arc<dyn HeldStore>) -> (Keeper, Writer) {
        let (queue, waiting) = mpsc::channel(WAITING);
        (Keeper { store: Arc::clone(&store), known: Cache::new(KNOWN), queue }, Writer { store, queue: waiting })
    }

    /// Who keeps what has this id, if this key made it.
    pub async fn holder(&self, key: KeyId, kind: Kind, id: &str) -> Result<Option<Arc<str>>, StoreError> {
        let place = (key, kind, id.to_owned());
        if let Some(known) = self.known.get(&place) {
            return Ok(Some(known));
        }
        let found: Option<Arc<str>> = self.store.holder(key, kind, id).await?.map(Arc::from);
        if let Some(provider) = &found {
            self.known.insert(place, Arc::clone(provider));
        }
        Ok(found)
    }

    /// Whether any key made what has this id.
    pub async fn is_anyones(&self, kind: Kind, id: &str) -> Result<bool, StoreError> {
        self.store.is_held(kind, id).await
    }

    /// All of a kind that this key made, newest first.
    pub async fn all(&self, key: KeyId, kind: Kind) -> Result<Vec<Held>, StoreError> {
        self.store.held_by(key, kind).await
    }

    /// Writes down what was made, before its maker hears of it.
    pub async fn keep(&self, held: Held) -> Result<(), StoreError> {
        self.store.hold(std::slice::from_ref(&held)).await?;
        self.remember(&held);
        Ok(())
    }

    /// The same without waiting: known from now on, written down a moment later.
    pub fn note(&self, held: Held) {
        self.remember(&held);
        if let Err(e) = self.queue.try_send(held) {
            tracing::error!(error = %e, "what a provider keeps could not be written down: it is lost to its key when the gateway stops");
        }
    }

    /// Forgets what is kept no more.
    pub async fn let_go(&self, key: KeyId, kind: Kind, id: &str) -> Result<(), StoreError> {
        self.known.invalidate(&(key, kind, id.to_owned()));
        self.store.let_go(key, kind, id).await
    }

    fn remember(&self, held: &Held) {
        self.known.insert((held.key, held.kind, held.id.clone()), held.provider.as_str().into());
    }
}

// === impl Writer ===

impl Writer {
    /// Writes until shutdown, and then what still waits.
    pub async fn run(mut self, mut shutdown: watch::Receiver<bool>) {
        let mut rows = Vec::with_capacity(BATCH);
        loop {
            tokio::select! {
                biased;
                count = self.queue.recv_many(&mut rows, BATCH) => if count == 0 { return },
                _ = shutdown.wait_for(|stop| *stop) => self.queue.close(),
            }
            while let Err(e) = self.store.hold(&rows).await {
                tracing::warn!(error = %e, waiting = self.queue.len(), "what providers keep cannot be written down yet");
                if *shutdown.borrow() {
                    return;
                }
                tokio::time::sleep(PAUSE).await;
            }
            rows.clear();
        }
    }
}
