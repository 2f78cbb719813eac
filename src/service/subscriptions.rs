//! Which keys may call services that want an approval: in memory, as the store has it, so that no request asks the store.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;

use crate::key::KeyId;
use crate::store::{StoreError, SubscriptionStore};

/// A key's subscription to a service; its successors by rotation have it too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// The service's name.
    pub service: String,
    /// The first of the key and its predecessors.
    pub family: KeyId,
    /// How it stands.
    pub standing: Standing,
    /// When it was asked for, or granted unasked.
    pub asked: Timestamp,
    /// When it was last decided.
    pub decided: Option<Timestamp>,
}

/// How a subscription stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is asked for, and nobody has decided.
    Pending,
    /// The key may call.
    Approved,
    /// It may not.
    Denied,
}

/// All subscriptions, as this process knows them.
pub struct Subscriptions {
    store: Arc<dyn SubscriptionStore>,
    known: RwLock<HashMap<String, HashMap<KeyId, Standing>>>,
    /// The newest change number that is known.
    newest: AtomicI64,
}

/// How often the store is asked for what changed.
const EVERY: Duration = Duration::from_millis(250);
const STANDINGS: [(Standing, &str); 3] = [(Standing::Pending, "pending"), (Standing::Approved, "approved"), (Standing::Denied, "denied")];

// === impl Standing ===

impl Standing {
    /// `pending`, `approved` or `denied`.
    pub fn as_str(self) -> &'static str {
        STANDINGS.iter().find(|(standing, _)| *standing == self).map_or("", |(_, name)| name)
    }

    /// The standing of that name.
    pub fn from_name(name: &str) -> Option<Standing> {
        STANDINGS.iter().find(|(_, known)| *known == name).map(|(standing, _)| *standing)
    }
}

// === impl Subscriptions ===

impl Subscriptions {
    /// Reads all of them.
    pub async fn open(store: Arc<dyn SubscriptionStore>) -> Result<Subscriptions, StoreError> {
        let subscriptions = Subscriptions { store, known: RwLock::default(), newest: AtomicI64::new(-1) };
        subscriptions.refresh().await?;
        Ok(subscriptions)
    }

    /// How a key, by its family, stands with a service; none where it never asked.
    pub fn standing(&self, service: &str, family: KeyId) -> Option<Standing> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).get(service)?.get(&family).copied()
    }

    /// Another number whenever something has changed.
    pub fn version(&self) -> i64 {
        self.newest.load(Ordering::Relaxed)
    }

    /// Reads what changed since.
    pub async fn refresh(&self) -> Result<(), StoreError> {
        let (newest, changed) = self.store.subscriptions_since(self.version()).await?;
        if !changed.is_empty() {
            let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
            for Subscription { service, family, standing, .. } in changed {
                known.entry(service).or_default().insert(family, standing);
            }
        }
        self.newest.fetch_max(newest, Ordering::Relaxed);
        Ok(())
    }

    /// Follows the store until told to stop; while it is down, what is known goes on.
    pub async fn follow(self: Arc<Self>, mut stopped: watch::Receiver<bool>) {
        while tokio::time::timeout(EVERY, stopped.wait_for(|stop| *stop)).await.is_err() {
            // That the store is down is told by those who follow keys.
            let _ = self.refresh().await;
        }
    }
}
