//! Knows every key that was used lately, in memory; asks the store for the others, once each however many callers wait.
//!
//! A background task follows the store's change numbers, so that a revocation or a new limit takes effect within a second, made on
//! whichever node or by the command line, and no request pays for it. While the store is down, keys in memory go on working for a
//! stated time; after that what they may do is not known any more.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use http::request::Parts;
use jiff::Timestamp;
use moka::future::Cache;
use tokio::sync::watch;

use super::format::{KeyId, KeyText, Kind};
use super::hash::{KeyHash, Pepper};
use super::record::KeyRecord;
use super::{Reason, presented};
use crate::quota::{self, Accounts, Chain, Need, Permit, Refused};
use crate::store::KeyStore;

/// Keys kept in memory at the most, about 500 bytes each.
const CAPACITY: u64 = 200_000;
/// Unknown ids kept in memory at the most, so that a guesser costs the store nothing.
const UNKNOWN_CAPACITY: u64 = 100_000;
const UNKNOWN_FOR: Duration = Duration::from_secs(30);
const FOLLOW_EVERY: Duration = Duration::from_millis(250);

/// All keys, as the hot path sees them.
pub struct Keyring {
    pepper: Pepper,
    store: Arc<dyn KeyStore>,
    accounts: Arc<Accounts>,
    known: Cache<KeyId, Arc<Known>>,
    unknown: Cache<KeyId, ()>,
    /// How long keys in memory go on working while the store cannot be asked.
    down_for: Duration,
    opened: Instant,
    /// When the store last told of changes, in milliseconds since `opened`.
    heard: AtomicU64,
    /// Compared with where an id is unknown, so that both failures do the same work.
    nobody: KeyHash,
}

/// A key in memory: its record and its accounts.
#[derive(Debug)]
pub struct Known {
    /// What the store says of it.
    pub record: KeyRecord,
    /// What its limits sit on, itself first.
    pub chain: Chain,
}

/// Somebody whose key is proven and good.
#[derive(Clone, Debug)]
pub struct Caller(Arc<Known>);

/// A key that was refused; `key` names it where its holder proved the secret.
#[derive(Clone, Debug)]
pub struct Rejected {
    /// Why.
    pub reason: Reason,
    /// Which, where that is proven.
    pub key: Option<KeyId>,
}

/// Which side of the gateway a key is shown to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plane {
    /// Models.
    Data,
    /// Management.
    Admin,
}

// === impl Keyring ===

impl Keyring {
    /// An empty ring over `store`; keys in memory go on working for `down_for` while it cannot be asked.
    pub fn new(pepper: Pepper, store: Arc<dyn KeyStore>, accounts: Arc<Accounts>, down_for: Duration) -> Keyring {
        let nobody = pepper.hash("");
        Keyring {
            pepper,
            store,
            accounts,
            known: Cache::new(CAPACITY),
            unknown: Cache::builder().max_capacity(UNKNOWN_CAPACITY).time_to_live(UNKNOWN_FOR).build(),
            down_for,
            opened: Instant::now(),
            heard: AtomicU64::new(0),
            nobody,
        }
    }

    /// Judges the key in a request's head.
    pub async fn check(&self, parts: &Parts, plane: Plane) -> Result<Caller, Rejected> {
        let text = presented::find(parts, plane == Plane::Data)?;
        let known = self.prove(text).await?;
        let caller = Caller(known);
        caller.admitted_to(plane).map_err(|reason| Rejected { reason, key: Some(caller.id()) })?;
        Ok(caller)
    }

    /// Finds the key and proves its secret, whatever its state.
    pub async fn prove(&self, text: KeyText<'_>) -> Result<Arc<Known>, Reason> {
        let hash = self.pepper.hash(text.expose());
        let known = self.find(text.id()).await?;
        let stored = known.as_ref().map_or(&self.nobody, |known| &known.record.hash);
        match (hash.matches(stored), known) {
            (true, Some(known)) => Ok(known),
            _ => Err(Reason::Unknown),
        }
    }

    /// Follows the store's changes until shutdown.
    pub async fn follow(self: Arc<Self>, mut shutdown: watch::Receiver<bool>) {
        let mut seen = None;
        let mut was_down = false;
        loop {
            match self.catch_up(seen).await {
                Ok(newest) => {
                    seen = Some(newest);
                    self.heard.store(self.now(), Ordering::Relaxed);
                    if std::mem::take(&mut was_down) {
                        tracing::info!("the key store answers again");
                    }
                }
                Err(e) if !was_down => {
                    was_down = true;
                    tracing::warn!(error = %e, "the key store does not answer: keys in memory go on working, others get a 503");
                }
                Err(_) => {}
            }
            tokio::select! {
                () = tokio::time::sleep(FOLLOW_EVERY) => {}
                _ = shutdown.wait_for(|stop| *stop) => return,
            }
        }
    }

    async fn find(&self, id: KeyId) -> Result<Option<Arc<Known>>, Reason> {
        if let Some(known) = self.known.get(&id).await {
            return if self.is_out_of_touch() { Err(Reason::StoreDown) } else { Ok(Some(known)) };
        }
        if self.unknown.contains_key(&id) {
            return Ok(None);
        }
        let load = async {
            match self.store.key(id).await {
                Ok(Some(record)) => self.known(record).await,
                Ok(None) => return Err(Reason::Unknown),
                Err(e) => Err(e),
            }
            .map_err(|e| {
                tracing::error!(key = %id, error = %e, "a key cannot be read from the store, and is refused until it can");
                Reason::StoreDown
            })
        };
        match self.known.try_get_with(id, load).await {
            Ok(known) => Ok(Some(known)),
            Err(reason) if *reason == Reason::Unknown => {
                self.unknown.insert(id, ()).await;
                Ok(None)
            }
            Err(reason) => Err(reason.as_ref().clone()),
        }
    }

    /// A key that was revoked since would still work: the store has been silent for too long.
    fn is_out_of_touch(&self) -> bool {
        let silent = self.now().saturating_sub(self.heard.load(Ordering::Relaxed));
        Duration::from_millis(silent) > self.down_for
    }

    fn now(&self) -> u64 {
        u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    async fn catch_up(&self, seen: Option<i64>) -> Result<i64, crate::store::StoreError> {
        let changes = self.store.changes(seen.unwrap_or(i64::MAX)).await?;
        for group in &changes.groups {
            self.accounts.refresh(group).await?;
            // A project may have gone to another team: its keys find their accounts anew.
            for (id, known) in self.known.iter().filter(|(_, known)| known.chain.iter().any(|account| account.id() == group)) {
                self.renew(*id, &known.record).await;
            }
        }
        for id in changes.keys {
            self.unknown.invalidate(&id).await;
            if self.known.get(&id).await.is_none() {
                continue;
            }
            match self.store.key(id).await {
                Ok(Some(record)) => self.renew(id, &record).await,
                // It changed and nobody can tell how, so it does not go on as it was: its next request asks the store again.
                Ok(None) | Err(_) => self.known.invalidate(&id).await,
            }
        }
        Ok(changes.newest)
    }

    async fn renew(&self, id: KeyId, record: &KeyRecord) {
        match self.known(record.clone()).await {
            Ok(known) => self.known.insert(id, known).await,
            Err(_) => self.known.invalidate(&id).await,
        }
    }

    async fn known(&self, record: KeyRecord) -> Result<Arc<Known>, crate::store::StoreError> {
        Ok(Arc::new(Known { chain: self.accounts.chain(&record).await?, record }))
    }
}

// === impl Caller ===

impl Caller {
    /// The key's public part.
    pub fn id(&self) -> KeyId {
        self.0.record.id
    }

    /// What the store says of the key.
    pub fn record(&self) -> &KeyRecord {
        &self.0.record
    }

    /// What the key's limits sit on, itself first.
    pub fn chain(&self) -> &Chain {
        &self.0.chain
    }

    /// When the key ends by itself or by its successor, whichever is sooner.
    pub fn ends(&self) -> Option<Timestamp> {
        let rotated = self.0.record.rotated.as_ref().map(|rotation| rotation.until);
        self.0.record.expires.into_iter().chain(rotated).min()
    }

    /// Admits a request to all of the key's accounts.
    pub fn admit(&self, need: &Need<'_>) -> Result<Permit, Refused> {
        quota::admit(&self.0.chain, need)
    }

    /// Whether the key may use a model that is asked for by one name and in full has another; `is_simulated` where no provider is called.
    pub fn may_use(&self, asked: &str, full: impl FnOnce() -> String, is_simulated: bool) -> Result<(), Reason> {
        if self.0.record.kind == Kind::Test && !is_simulated {
            return Err(Reason::TestOnly(asked.to_owned()));
        }
        // Mostly there is no list, and no name has to be put together.
        let mut full = std::iter::once_with(full);
        let mut name: Option<String> = None;
        for account in self.0.chain.iter() {
            let current = account.current();
            if current.limits.models.is_empty() {
                continue;
            }
            let full = name.get_or_insert_with(|| full.next().unwrap_or_default());
            if !current.limits.allows(&[asked, full]) {
                return Err(Reason::ModelNotAllowed { model: asked.to_owned(), allowed: current.limits.models.clone() });
            }
        }
        Ok(())
    }

    fn admitted_to(&self, plane: Plane) -> Result<(), Reason> {
        self.0.record.state(Timestamp::now())?;
        if let Some(group) = self.0.chain.iter().find(|account| account.current().disabled) {
            return Err(Reason::GroupDisabled(group.id().subject()));
        }
        match (plane, self.0.record.kind) {
            (Plane::Data, Kind::Admin) => Err(Reason::AdminOnDataPlane),
            (Plane::Admin, Kind::Live | Kind::Test) => Err(Reason::NotAdmin),
            _ => Ok(()),
        }
    }
}

// === impl Rejected ===

impl From<Reason> for Rejected {
    fn from(reason: Reason) -> Rejected {
        Rejected { reason, key: None }
    }
}

impl From<Rejected> for crate::error::Refusal {
    fn from(rejected: Rejected) -> crate::error::Refusal {
        rejected.reason.refusal(rejected.key)
    }
}
