//! Knows every key that was used lately, in memory; asks the store for the others, once each however many callers wait.
//!
//! A background task follows the store's change numbers, so that a revocation or a new limit takes effect within a second, made on
//! whichever node or by the command line, and at once where this process made it; no request pays for it. While the store is down, keys in
//! memory go on working for a stated time; after that what they may do is not known any more.

mod unread;

pub use unread::Unreadable;

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use http::request::Parts;
use moka::future::Cache;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::caller::{Caller, Known, Plane};
use super::format::{KeyId, KeyText};
use super::guesses::Guesses;
use super::hash::{KeyHash, Mark, Marker, Pepper};
use super::lately::{self, Editions};
use super::presented::{self, Presented};
use super::record::KeyRecord;
use super::{Reason, beat};
use crate::quota::{AccountId, Accounts};
use crate::server::Peer;
use crate::store::{Changes, KeyStore, StoreError};
use unread::Unread;

/// Keys kept in memory at the most, about 500 bytes each.
const CAPACITY: u64 = 200_000;
/// Ids of failed attempts kept in memory at the most, so that whoever tries one again costs the store nothing.
const FAILED_CAPACITY: u64 = 100_000;
const FAILED_FOR: Duration = Duration::from_secs(30);
/// Records that were read a moment ago.
const READ_CAPACITY: u64 = 10_000;
const READ_FOR: Duration = Duration::from_secs(1);
const FOLLOW_EVERY: Duration = Duration::from_millis(250);
/// How long whoever has changed something waits for that to hold.
const TAKEN_IN_WITHIN: Duration = Duration::from_secs(1);
/// Keys that are read anew at the same time: one whose new limit has to be counted first holds no other up.
const RENEWED_AT_ONCE: usize = 8;

/// All keys, as the hot path sees them.
pub struct Keyring {
    pepper: Pepper,
    marker: Marker,
    store: Arc<dyn KeyStore>,
    accounts: Arc<Accounts>,
    known: Cache<KeyId, Arc<Known>>,
    /// Of those that threads keep by themselves.
    editions: Editions,
    /// Ids that were tried in vain lately, and the hash of the key that there is, if there is one: its holder is looked up all the same.
    failed: Cache<KeyId, Option<KeyHash>>,
    /// Records of keys on their way into memory, or that there is none, for a moment: who comes meanwhile asks for none again.
    read: Cache<KeyId, Read>,
    guesses: Guesses,
    /// How long keys in memory go on working while the store cannot be asked.
    down_for: Duration,
    opened: Instant,
    /// Counts up when changes are told, before they are looked at: what was read meanwhile may be older.
    told: AtomicU64,
    /// Keys that were read while changes were told, by callers who hung up before they could read them again.
    doubted: Mutex<HashSet<KeyId>>,
    /// Held while a key is read anew and kept, and not while its limits are counted: an older reading never takes the place of a newer one.
    renewing: tokio::sync::Mutex<()>,
    /// Wakes whoever follows the changes, and how often that was done.
    changed_here: Notify,
    asked: AtomicU64,
    /// Of those how many have what was changed before them taken in.
    taken_in: watch::Sender<u64>,
    /// When the store last told of changes, in milliseconds since `opened`.
    heard: AtomicU64,
    /// The last one that the store could not give.
    unread: Unread,
    /// Compared with where an id is unknown, so that both failures do the same work.
    nobody: (KeyHash, Mark),
}

/// The record of an id, if there is one, and what `told` said before it was read.
type Read = (Option<Arc<KeyRecord>>, u64);

/// A reading of a key that may be older than a change: dropped before it is settled, it leaves the key to whoever follows the changes.
struct Doubt<'a> {
    ring: &'a Keyring,
    id: KeyId,
    /// What `told` said before it was read.
    told: u64,
}

/// A key that was refused; `key` names it where its holder proved the secret.
#[derive(Clone, Debug)]
pub struct Rejected {
    /// Why.
    pub reason: Reason,
    /// Which, where that is proven.
    pub key: Option<KeyId>,
}

// === impl Keyring ===

impl Keyring {
    /// An empty ring over `store`; keys in memory go on working for `down_for` while it cannot be asked.
    pub fn new(pepper: Pepper, store: Arc<dyn KeyStore>, accounts: Arc<Accounts>, down_for: Duration) -> Keyring {
        let marker = Marker::new(&pepper);
        let nobody = (pepper.hash(""), marker.mark(""));
        Keyring {
            pepper,
            marker,
            store,
            accounts,
            known: Cache::new(CAPACITY),
            editions: Editions::new(),
            failed: Cache::builder().max_capacity(FAILED_CAPACITY).time_to_live(FAILED_FOR).build(),
            read: Cache::builder().max_capacity(READ_CAPACITY).time_to_live(READ_FOR).build(),
            guesses: Guesses::new(),
            down_for,
            opened: Instant::now(),
            told: AtomicU64::new(0),
            doubted: Mutex::default(),
            renewing: tokio::sync::Mutex::default(),
            changed_here: Notify::new(),
            asked: AtomicU64::new(0),
            taken_in: watch::Sender::new(0),
            heard: AtomicU64::new(0),
            unread: Unread::default(),
            nobody,
        }
    }

    /// Judges the key in a request's head.
    pub async fn check(&self, parts: &Parts, plane: Plane) -> Result<Caller, Rejected> {
        let text = presented::find(parts, plane == Plane::Data)?;
        let from = parts.extensions.get::<Peer>().map(|peer| peer.address);
        let known = match self.prove(text, from).await {
            Err(Reason::Unknown) => return Err(self.guesses.note(from).into()),
            proven => proven?,
        };
        let caller = Caller::from(known);
        let admitted = caller.admitted_to(plane).and_then(|()| caller.may_call(parts, plane));
        admitted.map_err(|reason| Rejected { reason, key: Some(caller.id()) })?;
        Ok(caller)
    }

    /// Judges the key of something that this gateway gave to its holder, who shows that and not the key.
    pub async fn check_by_id(&self, id: KeyId, parts: &Parts) -> Result<Caller, Rejected> {
        let known = self.known.get(&id).await;
        let rejected = |reason| Rejected { reason, key: Some(id) };
        let known = match known {
            Some(_) if self.is_out_of_touch() => return Err(rejected(Reason::StoreDown)),
            Some(known) => known,
            None => {
                let (record, told) = self.read(id, false).await.map_err(rejected)?;
                self.look_up(record.ok_or(rejected(Reason::Unknown))?, told).await.map_err(rejected)?
            }
        };
        let caller = Caller::from(known);
        caller.admitted_to(Plane::Data).and_then(|()| caller.may_call(parts, Plane::Data)).map_err(rejected)?;
        Ok(caller)
    }

    /// Judges a text, finds its key and proves its secret, whatever the key's state; what comes from an address of many guesses is not
    /// always looked up.
    pub async fn prove(&self, text: Presented<'_>, from: Option<IpAddr>) -> Result<Arc<Known>, Reason> {
        let (edition, mark) = (self.editions.now(), self.marker.mark(text.0));
        // What has the mark of a key that was proven is that key: its shape was judged then.
        if let Some(known) = lately::get(edition, &mark) {
            return self.in_touch(known);
        }
        let text = text.judge()?;
        let known = self.known.get(&text.id()).await;
        let is_marked = mark.matches(known.as_ref().and_then(|known| known.proven.get()).unwrap_or(&self.nobody.1));
        match known {
            Some(known) if is_marked => {
                lately::keep(edition, mark, &known);
                self.in_touch(known)
            }
            // In a place of its own: every request would carry the room that this takes.
            known => Box::pin(self.prove_anew(text, mark, known, from)).await,
        }
    }

    /// What is not marked is compared with its keyed hash, and what that does not fit is asked of the store.
    async fn prove_anew(
        &self,
        text: KeyText<'_>,
        mark: Mark,
        known: Option<Arc<Known>>,
        from: Option<IpAddr>,
    ) -> Result<Arc<Known>, Reason> {
        let hash = self.pepper.hash(text.expose());
        let is_right = hash.matches(known.as_ref().map_or(&self.nobody.0, |known| &known.record.hash));
        let is_known = known.is_some();
        let known = match known.filter(|_| is_right) {
            Some(known) => self.in_touch(known)?,
            None => self.prove_by_store(text.id(), hash, is_known, from).await?,
        };
        // Another caller of the same key may have been first.
        let _ = known.proven.set(mark);
        Ok(known)
    }

    /// Asks the store, also for a wrong secret of a key in memory, so that no clock tells which ids are in use. Nothing but the record is read
    /// before the secret is proven: what its limits have used may take long to count.
    async fn prove_by_store(&self, id: KeyId, hash: KeyHash, is_known: bool, from: Option<IpAddr>) -> Result<Arc<Known>, Reason> {
        let fits = |kept: Option<KeyHash>| hash.matches(kept.as_ref().unwrap_or(&self.nobody.0));
        if self.failed.get(&id).await.is_some_and(|kept| !fits(kept)) {
            return Err(Reason::Unknown);
        }
        if let Some(wait) = from.and_then(|from| self.guesses.hold_off(from, id)) {
            return Err(Reason::TooManyGuesses(wait));
        }
        let began = std::time::Instant::now();
        let (record, told) = self.read(id, is_known).await?;
        let kept = record.as_ref().map(|record| record.hash);
        match record.filter(|_| fits(kept)) {
            Some(record) => self.look_up(record, told).await,
            None => {
                self.failed.insert(id, kept).await;
                // A row that is found takes longer to read than none: both are told at the same beat.
                beat::after(began).await;
                Err(Reason::Unknown)
            }
        }
    }

    /// Whether a text is the key of a record.
    pub fn is_of(&self, text: KeyText<'_>, record: &KeyRecord) -> bool {
        self.pepper.hash(text.expose()).matches(&record.hash)
    }

    /// Follows the store's changes after `seen` until shutdown, and tells those of credentials on.
    pub async fn follow(self: Arc<Self>, mut seen: i64, credentials: watch::Sender<i64>, mut shutdown: watch::Receiver<bool>) {
        let mut was_down = false;
        // Beside the loop: a new limit may take long to be counted, and a key that is revoked meanwhile must not wait for that.
        let (mut taking_in, mut failed) = (JoinSet::new(), Vec::new());
        loop {
            failed.extend(std::iter::from_fn(|| taking_in.try_join_next()).flat_map(Result::unwrap_or_default));
            let asked = self.asked.load(Ordering::SeqCst);
            match self.changes(seen).await {
                Ok(changes) => {
                    seen = changes.newest;
                    if changes.credentials {
                        credentials.send_replace(changes.newest);
                    }
                    let (keys, groups) = (changes.keys, [changes.groups, std::mem::take(&mut failed)].concat());
                    if !groups.is_empty() || !keys.is_empty() {
                        let ring = Arc::clone(&self);
                        taking_in.spawn(async move { ring.take_in(keys, groups).await });
                    }
                    self.heard.store(self.now(), Ordering::Relaxed);
                    if taking_in.is_empty() {
                        self.taken_in.send_replace(asked);
                    }
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
                () = self.changed_here.notified() => {}
                Some(done) = taking_in.join_next() => failed.extend(done.unwrap_or_default()),
                _ = shutdown.wait_for(|stop| *stop) => return,
            }
        }
    }

    /// Something was changed by this process: it is taken in at once, and after this mostly is. A new limit that is still to be counted, and a
    /// store that does not answer, are not waited for.
    pub async fn take_in_now(&self) {
        let mut taken_in = self.taken_in.subscribe();
        let mine = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
        self.changed_here.notify_one();
        let _ = tokio::time::timeout(TAKEN_IN_WITHIN, taken_in.wait_for(|done| *done >= mine)).await;
    }

    /// A key's record, as the store has it; or had it a moment ago, where the key was in memory for nobody yet.
    async fn read(&self, id: KeyId, is_known: bool) -> Result<Read, Reason> {
        let told = self.told.load(Ordering::SeqCst);
        let read = async || {
            let record = self.store.key(id).await.inspect_err(|error| self.unread.note(id, error))?;
            Ok::<Read, StoreError>((record.map(Arc::new), told))
        };
        let read_once = async {
            match self.known.get(&id).await {
                // Another caller has just brought it there.
                Some(known) => Ok((Some(Arc::new(known.record.clone())), told)),
                None => read().await,
            }
        };
        match is_known {
            true => read().await.map_err(|_| Reason::StoreDown),
            false => self.read.try_get_with(id, read_once).await.map_err(|_| Reason::StoreDown),
        }
    }

    /// A key with its accounts, kept in memory from here on.
    async fn look_up(&self, record: Arc<KeyRecord>, told: u64) -> Result<Arc<Known>, Reason> {
        let id = record.id;
        let mut doubt = Doubt { ring: self, id, told };
        let load = async { self.known(KeyRecord::clone(&record)).await.inspect_err(|error| self.unread.note(id, error)) };
        let known = self.known.try_get_with(id, load).await.map_err(|_| Reason::StoreDown);
        self.read.invalidate(&id).await;
        if known.is_ok() && !doubt.is_settled() {
            let now = self.told.load(Ordering::SeqCst);
            self.read_again(id).await;
            doubt.told = now;
            return self.known.get(&id).await.ok_or(Reason::StoreDown);
        }
        known
    }

    /// A key in memory, while what is known of it holds.
    fn in_touch(&self, known: Arc<Known>) -> Result<Arc<Known>, Reason> {
        if self.is_out_of_touch() { Err(Reason::StoreDown) } else { Ok(known) }
    }

    /// A key that was revoked since would still work: the store has been silent for too long.
    pub fn is_out_of_touch(&self) -> bool {
        let silent = self.now().saturating_sub(self.heard.load(Ordering::Relaxed));
        Duration::from_millis(silent) > self.down_for
    }

    fn now(&self) -> u64 {
        u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// What changed since `seen`; from here on what is read is not older.
    async fn changes(&self, seen: i64) -> Result<Changes, StoreError> {
        let mut changes = self.store.changes(seen).await?;
        changes.keys.extend(std::mem::take(&mut *self.doubted()));
        if !changes.groups.is_empty() || !changes.keys.is_empty() {
            self.told.fetch_add(1, Ordering::SeqCst);
        }
        Ok(changes)
    }

    /// Takes changes in; tells which groups could not be read.
    async fn take_in(&self, keys: Vec<KeyId>, groups: Vec<AccountId>) -> Vec<AccountId> {
        let (mut keys, mut groups) = (keys.into_iter(), groups.into_iter());
        let (mut renewing, mut failed) = (FuturesUnordered::new(), Vec::new());
        loop {
            while renewing.len() < RENEWED_AT_ONCE {
                let next = keys.next().map(|id| self.take_in_key(id).boxed());
                match next.or_else(|| groups.next().map(|group| self.take_in_group(group).boxed())) {
                    Some(next) => renewing.push(next),
                    None => break,
                }
            }
            match renewing.next().await {
                Some(done) => failed.extend(done),
                None => break,
            }
        }
        // Also of keys that are not in memory any more: a thread may have kept one longer.
        self.editions.end();
        failed
    }

    async fn take_in_key(&self, id: KeyId) -> Option<AccountId> {
        self.failed.invalidate(&id).await;
        self.read.invalidate(&id).await;
        if self.known.get(&id).await.is_some() {
            self.read_again(id).await;
        }
        None
    }

    async fn take_in_group(&self, group: AccountId) -> Option<AccountId> {
        if let Err(e) = self.accounts.refresh(&group).await {
            tracing::warn!(%group, error = %e, "new limits cannot be counted yet, and the ones of before hold until they can");
            return Some(group);
        }
        // Whoever was read meanwhile may have found it as it was.
        self.told.fetch_add(1, Ordering::SeqCst);
        // A project may have gone to another team: its keys find their accounts anew.
        for (id, _) in self.known.iter().filter(|(_, known)| known.chain.iter().any(|account| *account.id() == group)) {
            // Whoever reads one meanwhile may have found its accounts as they were.
            while let Some(known) = self.known.get(&*id).await
                && !self.find_accounts(*id, known).await
            {}
        }
        None
    }

    /// Takes in what changed since `seen`.
    #[cfg(test)]
    pub(super) async fn catch_up(&self, seen: i64) -> Result<(), StoreError> {
        let changes = self.changes(seen).await?;
        assert!(self.take_in(changes.keys, changes.groups).await.is_empty());
        Ok(())
    }

    fn doubted(&self) -> MutexGuard<'_, HashSet<KeyId>> {
        self.doubted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a key out of the memory that all cores share, as it does by itself with one that it takes to be used by nobody.
    #[cfg(test)]
    pub(super) async fn forget(&self, id: KeyId) {
        self.known.invalidate(&id).await;
    }

    /// A key that changed, as the store has it now.
    async fn read_again(&self, id: KeyId) {
        let read = {
            let _one_at_a_time = self.renewing.lock().await;
            let record = self.store.key(id).await.ok().flatten();
            let known = self.known.get(&id).await;
            match (record, known) {
                // That it is revoked holds at once, whatever of its limits has to be counted first.
                (Some(record), Some(known)) => {
                    let read = Arc::new(Known::new(Arc::clone(&known.chain), record));
                    self.known.insert(id, Arc::clone(&read)).await;
                    self.editions.end();
                    read
                }
                // Nobody can tell how it changed, so it does not go on as it was: its next request asks the store again.
                _ => {
                    self.known.invalidate(&id).await;
                    return self.editions.end();
                }
            }
        };
        self.find_accounts(id, read).await;
    }

    /// Finds the accounts of a key anew; false where it was read again meanwhile, by somebody who finds them too.
    async fn find_accounts(&self, id: KeyId, read: Arc<Known>) -> bool {
        let known = self.known(read.record.clone()).await.ok();
        let _one_at_a_time = self.renewing.lock().await;
        let is_newest = self.known.get(&id).await.is_some_and(|now| Arc::ptr_eq(&now, &read));
        if is_newest {
            match known {
                Some(known) => self.known.insert(id, known).await,
                None => self.known.invalidate(&id).await,
            }
            self.editions.end();
        }
        is_newest
    }

    /// A key with its accounts, whether it was used lately or not.
    pub async fn known(&self, record: KeyRecord) -> Result<Arc<Known>, StoreError> {
        Ok(Arc::new(Known::new(self.accounts.chain(&record).await?, record)))
    }
}

// === impl Doubt ===

impl Doubt<'_> {
    /// Nothing was told since it was read.
    fn is_settled(&self) -> bool {
        self.ring.told.load(Ordering::SeqCst) == self.told
    }
}

impl Drop for Doubt<'_> {
    fn drop(&mut self) {
        if !self.is_settled() {
            self.ring.doubted().insert(self.id);
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
