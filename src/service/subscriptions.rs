//! Which keys may call services that want an approval: in memory, as the store has it, so that no request asks the store.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::watch;

use super::Shelf;
use crate::admin::services;
use crate::key::KeyId;
use crate::store::audit::Actor;
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
    /// The service is gone: another one of its name has to be asked for anew.
    Ended,
}

/// All subscriptions, as this process knows them.
pub struct Subscriptions {
    store: Arc<dyn SubscriptionStore>,
    known: RwLock<HashMap<String, HashMap<KeyId, Standing>>>,
    /// The newest change number that is known.
    newest: AtomicI64,
    /// Held from a reading to its end: an older one never takes the place of a newer one.
    reading: tokio::sync::Mutex<()>,
}

/// How often the store is asked for what changed.
const EVERY: Duration = Duration::from_millis(250);
/// A service is gone whose file has been away for so long: files are replaced by taking them away for a moment.
const AWAY_FOR: Duration = Duration::from_secs(10);
const STANDINGS: [(Standing, &str); 4] =
    [(Standing::Pending, "pending"), (Standing::Approved, "approved"), (Standing::Denied, "denied"), (Standing::Ended, "ended")];

// === impl Standing ===

impl Standing {
    /// `pending`, `approved`, `denied` or `ended`.
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
        let subscriptions = Subscriptions { store, known: RwLock::default(), newest: AtomicI64::new(-1), reading: Default::default() };
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
        let _alone = self.reading.lock().await;
        let (newest, changed) = self.store.subscriptions_since(self.version()).await?;
        if !changed.is_empty() {
            let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
            for Subscription { service, family, standing, .. } in changed {
                known.entry(service).or_default().insert(family, standing);
            }
        }
        self.newest.store(newest, Ordering::Relaxed);
        Ok(())
    }

    /// Follows the store until told to stop, and ends what was asked of services that are gone; while the store is down, what is known goes on.
    pub async fn follow(self: Arc<Self>, shelf: Arc<Shelf>, mut stopped: watch::Receiver<bool>) {
        let mut away = HashMap::new();
        while tokio::time::timeout(EVERY, stopped.wait_for(|stop| *stop)).await.is_err() {
            // That the store is down is told by those who follow keys.
            let _ = self.refresh().await;
            for service in self.gone(&shelf, &mut away) {
                if services::end(&*self.store, &service, &Actor::Gateway).await.is_ok() {
                    tracing::info!(service, "the service is gone: its subscriptions have ended");
                    let _ = self.refresh().await;
                }
            }
        }
    }

    /// The services with subscriptions whose versions are all retired, or whose files have been away for long; `away` is since when.
    fn gone(&self, shelf: &Shelf, away: &mut HashMap<String, Instant>) -> Vec<String> {
        let (services, now) = (shelf.services(), Timestamp::now());
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let has_living = |keys: &HashMap<KeyId, Standing>| keys.values().any(|standing| *standing != Standing::Ended);
        let living: Vec<&String> = known.iter().filter(|(_, keys)| has_living(keys)).map(|(name, _)| name).collect();
        let is_away = |name: &str| !services.has_file(name) && shelf.is_known();
        away.retain(|name, _| living.contains(&name) && is_away(name));
        let is_gone = |name: &&&String| match services.versions(name) {
            Some(_) => services.is_over(name, now),
            None => is_away(name) && away.entry((**name).clone()).or_insert_with(Instant::now).elapsed() >= AWAY_FOR,
        };
        living.iter().filter(is_gone).map(|name| (*name).clone()).collect()
    }
}
