//! What a failed attempt costs the store, and that it costs the same whichever way it fails.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use http::request::Parts;
use jiff::Timestamp;
use tokio::sync::watch;

use crate::key::caller::Plane;
use crate::key::format::{KeyId, Kind, NewKey};
use crate::key::presented::Presented;
use crate::key::{KeyRecord, Keyring, Pepper, Reason, Unreadable};
use crate::quota::{AccountId, Accounts, Limits, alert};
use crate::server::Peer;
use crate::store::audit::{Actor, Note};
use crate::store::gate::Gates;
use crate::store::sqlite::Sqlite;
use crate::store::{self, Answer, Changes, CredentialStore, KeptCredential, KeyFilter, KeyStore, StoreError};

/// Counts what it is asked, and can be switched off.
struct Counting {
    inner: Sqlite,
    asked: AtomicUsize,
    asked_for_changes: AtomicUsize,
    is_down: AtomicBool,
    gates: Gates,
}

impl KeyStore for Counting {
    fn key(&self, id: KeyId) -> Answer<'_, Option<KeyRecord>> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        match self.is_down.load(Ordering::Relaxed) {
            true => Box::pin(async { Err(StoreError("switched off".to_owned())) }),
            false => Box::pin(async move {
                let record = self.inner.key(id).await;
                self.gates.pass().await;
                record
            }),
        }
    }
    fn keys(&self) -> Answer<'_, Vec<KeyRecord>> {
        self.inner.keys()
    }
    fn keys_page<'a>(&'a self, filter: &'a KeyFilter, after: Option<KeyId>, most: u32) -> Answer<'a, Vec<KeyRecord>> {
        self.inner.keys_page(filter, after, most)
    }
    fn limited<'a>(&'a self, after: Option<&'a str>, most: u32) -> Answer<'a, Vec<(AccountId, Limits)>> {
        self.inner.limited(after, most)
    }
    fn family(&self, family: KeyId) -> Answer<'_, Vec<KeyRecord>> {
        self.inner.family(family)
    }
    fn put_keys<'a>(&'a self, records: &'a [(KeyRecord, Note)]) -> Answer<'a, bool> {
        self.inner.put_keys(records)
    }
    fn switch_owner<'a>(&'a self, owner: &'a str, disabled: bool, note: &'a Note) -> Answer<'a, bool> {
        self.inner.switch_owner(owner, disabled, note)
    }
    fn changes(&self, since: i64) -> Answer<'_, Changes> {
        self.asked_for_changes.fetch_add(1, Ordering::Relaxed);
        self.inner.changes(since)
    }
}

struct World {
    _folder: tempfile::TempDir,
    store: Arc<Counting>,
    ring: Keyring,
    good: NewKey,
}

impl World {
    async fn new() -> World {
        let folder = tempfile::tempdir().unwrap();
        let pepper = || Pepper::load_or_create(&folder.path().join("server.secret")).unwrap();
        let inner = Sqlite::open(&folder.path().join("keyward.db")).await.unwrap();
        let good = NewKey::generate(Kind::Live).unwrap();
        let record = KeyRecord {
            id: good.id,
            hash: pepper().hash(good.expose()),
            kind: Kind::Live,
            name: String::new(),
            owner: String::new(),
            limits: Limits::default(),
            created: Timestamp::now(),
            not_before: None,
            expires: None,
            revoked: None,
            disabled: false,
            owner_disabled: false,
            group_disabled: false,
            rotated: None,
            project: None,
            role: None,
            family: good.id,
            changed: None,
        };
        let note = Note { actor: Actor::Gateway, action: "key.create", subject: String::new(), detail: serde_json::Value::Null };
        inner.put_keys(&[(record, note)]).await.unwrap();
        let all = Arc::new(Sqlite::open(&folder.path().join("keyward.db")).await.unwrap());
        let accounts = Accounts::new(all.clone(), all.clone(), None, alert::channel(all, None).0);
        let (asked, asked_for_changes, is_down) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicBool::new(false));
        let store = Arc::new(Counting { inner, asked, asked_for_changes, is_down, gates: Gates::default() });
        let ring = Keyring::new(pepper(), store.clone(), Arc::new(accounts), Duration::from_secs(60));
        World { _folder: folder, store, ring, good }
    }

    /// What came of a key, and how often the store was asked for it.
    async fn prove(&self, key: &str) -> (Option<Reason>, usize) {
        let before = self.store.asked.load(Ordering::Relaxed);
        let proven = self.ring.prove(Presented(key), None).await;
        (proven.err(), self.store.asked.load(Ordering::Relaxed) - before)
    }

    /// Revokes the good key, as the command line does it, and tells the ring what changed since `seen`.
    async fn revoke(&self, seen: i64) {
        let mut record = self.store.inner.key(self.good.id).await.unwrap().unwrap();
        record.revoked = Some(Timestamp::now());
        let note = Note { actor: Actor::Gateway, action: "key.revoke", subject: String::new(), detail: serde_json::Value::Null };
        assert!(self.store.put_keys(&[(record, note)]).await.unwrap());
        self.ring.catch_up(seen).await.unwrap();
    }

    /// Whether the good key is known to be revoked; its record tells, and that this is as old as its reading would be the fault.
    async fn revoked(&self) -> bool {
        self.ring.prove(Presented(self.good.expose()), None).await.unwrap().record.revoked.is_some()
    }

    /// A key with the good one's id and a secret that it has not.
    fn wrong_secret(&self) -> String {
        let other = NewKey::generate(Kind::Live).unwrap();
        let (good, other) = (self.good.expose(), other.expose());
        crate::key::format::with_checksum(&format!("{}{}", &good[..20], &other[20..50]))
    }
}

#[tokio::test]
async fn an_unknown_id_and_a_wrong_secret_of_a_key_in_use_ask_the_store_alike() {
    let world = World::new().await;
    assert_eq!(world.prove(world.good.expose()).await, (None, 1));
    let (unknown, wrong) = (NewKey::generate(Kind::Live).unwrap(), world.wrong_secret());
    for times in [1, 0, 0] {
        assert_eq!(world.prove(unknown.expose()).await, (Some(Reason::Unknown), times));
        assert_eq!(world.prove(&wrong).await, (Some(Reason::Unknown), times));
        assert_eq!(world.prove(world.good.expose()).await, (None, 0), "a good key passes whoever has tried its id");
    }
}

#[tokio::test]
async fn a_key_that_is_not_in_memory_passes_though_its_id_was_tried_in_vain() {
    let world = World::new().await;
    assert_eq!(world.prove(&world.wrong_secret()).await, (Some(Reason::Unknown), 1));
    assert_eq!(world.prove(world.good.expose()).await.0, None);
}

/// A request that shows a key, from one address of all.
fn shown(key: &str) -> Parts {
    let request = http::Request::builder().header("authorization", format!("Bearer {key}"));
    request.extension(Peer { address: "192.0.2.7".parse().unwrap(), is_callers: true }).body(()).unwrap().into_parts().0
}

#[tokio::test]
async fn whoever_guesses_much_costs_the_store_little_and_keeps_no_good_key_out() {
    let world = World::new().await;
    let asked = || world.store.asked.load(Ordering::Relaxed);
    let guess = async || {
        let key = NewKey::generate(Kind::Live).unwrap();
        world.ring.check(&shown(key.expose()), Plane::Data).await.unwrap_err().reason
    };
    let mut guesses = 0;
    while guess().await == Reason::Unknown {
        guesses += 1;
        assert!(guesses < 1000, "nobody slows it down");
    }
    let (before, began) = (asked(), std::time::Instant::now());
    for _ in 0..500 {
        assert!(matches!(guess().await, Reason::TooManyGuesses(_) | Reason::Unknown));
    }
    // Ten each second and as many at once; one that is let through, and the one after it that is told to wait.
    let most = 10 + 12 * (began.elapsed().as_secs() as usize + 1);
    assert!(asked() - before <= most, "{} look-ups", asked() - before);

    // All that may come for the first time has come.
    for _ in 0..20 {
        guess().await;
    }
    let good = shown(world.good.expose());
    let mut tries = 0;
    while world.ring.check(&good, Plane::Data).await.is_err() {
        tries += 1;
        assert!(matches!(guess().await, Reason::TooManyGuesses(_) | Reason::Unknown));
        assert!(tries < 3, "it is kept out");
    }
    let before = asked();
    world.ring.check(&good, Plane::Data).await.unwrap();
    assert_eq!(asked(), before, "it is in memory from then on");

    // A wrong secret of a key in memory is a guess like any other.
    for _ in 0..50 {
        let wrong = world.ring.check(&shown(&world.wrong_secret()), Plane::Data).await.unwrap_err().reason;
        assert!(matches!(wrong, Reason::TooManyGuesses(_) | Reason::Unknown));
    }
    assert!(asked() - before <= 12, "{} look-ups", asked() - before);
}

#[tokio::test]
async fn while_the_store_is_down_a_known_key_passes_and_no_other_is_called_wrong() {
    let world = World::new().await;
    assert_eq!(world.prove(world.good.expose()).await.0, None);
    world.store.is_down.store(true, Ordering::Relaxed);
    assert_eq!(world.prove(world.good.expose()).await, (None, 0));
    let unknown = NewKey::generate(Kind::Live).unwrap();
    assert_eq!(world.prove(unknown.expose()).await.0, Some(Reason::StoreDown));
    assert_eq!(world.prove(&world.wrong_secret()).await.0, Some(Reason::StoreDown));
    assert_eq!(world.ring.unread().await, Some(Unreadable::Otherwise));
    world.store.is_down.store(false, Ordering::Relaxed);
    assert_eq!(world.ring.unread().await, None, "whoever asks finds that out, and not the next caller");
}

#[tokio::test]
async fn a_key_that_has_changed_passes_on_no_thread_that_has_seen_it() {
    let world = Arc::new(World::new().await);
    let seen = world.store.changes(i64::MAX).await.unwrap().newest;
    // The first look-up proves it, the second finds its mark, the third finds it on this thread.
    for asked in [1, 0, 0] {
        assert_eq!(world.prove(world.good.expose()).await, (None, asked));
    }
    assert!(world.ring.check(&shown(world.good.expose()), Plane::Data).await.is_ok());
    let ((tell, told), (show, shown_there)) = (mpsc::channel(), mpsc::channel());
    let other = std::thread::spawn({
        let world = Arc::clone(&world);
        move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let check =
                || runtime.block_on(world.ring.check(&shown(world.good.expose()), Plane::Data)).map_err(|rejected| rejected.reason.code());
            let before = (0..100).all(|_| check().is_ok());
            show.send(before).unwrap();
            told.recv().unwrap();
            check().err()
        }
    });
    assert!(shown_there.recv().unwrap());
    world.revoke(seen).await;
    let rejected = world.ring.check(&shown(world.good.expose()), Plane::Data).await.unwrap_err();
    assert_eq!(rejected.reason.code(), "key_revoked");
    tell.send(()).unwrap();
    assert_eq!(other.join().unwrap(), Some("key_revoked"));
    // Another ring of the same process knows nothing of what this one has proven.
    assert_eq!(World::new().await.prove(world.good.expose()).await.0, Some(Reason::Unknown));
}

#[tokio::test]
async fn a_key_that_is_revoked_while_it_is_being_read_does_not_pass() {
    let world = World::new().await;
    let seen = world.store.changes(i64::MAX).await.unwrap().newest;
    let gate = world.store.gates.close();
    let revoke = async {
        gate.is_reached.notified().await;
        world.revoke(seen).await;
        gate.opens.notify_one();
    };
    let (first, ()) = tokio::join!(world.revoked(), revoke);
    assert!(first && world.revoked().await);
}

#[tokio::test]
async fn a_key_that_is_revoked_while_it_is_being_read_by_one_who_hangs_up_does_not_pass() {
    let world = World::new().await;
    let seen = world.store.changes(i64::MAX).await.unwrap().newest;
    let gate = world.store.gates.close();
    let revoke = async {
        gate.is_reached.notified().await;
        world.revoke(seen).await;
        let again = world.store.gates.close();
        gate.opens.notify_one();
        again.is_reached.notified().await;
    };
    // Its reading is in memory, and it is being read again.
    tokio::select! {
        _ = world.revoked() => panic!("nobody has let it"),
        () = revoke => {}
    }
    world.ring.catch_up(world.store.changes(i64::MAX).await.unwrap().newest).await.unwrap();
    assert!(world.revoked().await);
}

#[tokio::test]
async fn a_credential_that_changed_before_the_changes_are_followed_is_told() {
    let world = World::new().await;
    let seen = world.store.changes(i64::MAX).await.unwrap().newest;
    let kept = KeptCredential {
        name: "leaked".to_owned(),
        provider: "test".to_owned(),
        sealed: b"x".to_vec(),
        weight: 1,
        disabled: true,
        created: store::now(),
    };
    let note = Note { actor: Actor::Gateway, action: "credential.add", subject: String::new(), detail: serde_json::Value::Null };
    assert!(world.store.inner.put_credential(&kept, None, &note).await.unwrap());
    let ((tell, mut told), (stop, stopped)) = (watch::channel(0), watch::channel(false));
    let following = tokio::spawn(Arc::new(world.ring).follow(seen, tell, stopped));
    tokio::time::timeout(Duration::from_secs(20), told.changed()).await.unwrap().unwrap();
    assert!(*told.borrow() > seen);
    stop.send_replace(true);
    following.await.unwrap();
}

#[tokio::test]
async fn what_this_process_changes_is_taken_in_when_it_says_so() {
    let World { _folder, store, ring, .. } = World::new().await;
    let (ring, seen) = (Arc::new(ring), store.changes(i64::MAX).await.unwrap().newest);
    let (stop, stopped) = watch::channel(false);
    let following = tokio::spawn(Arc::clone(&ring).follow(seen, watch::channel(0).0, stopped));
    for _ in 0..20 {
        let before = store.asked_for_changes.load(Ordering::Relaxed);
        ring.take_in_now().await;
        assert!(store.asked_for_changes.load(Ordering::Relaxed) > before, "what was changed before is asked for after");
    }
    stop.send_replace(true);
    following.await.unwrap();
}

#[tokio::test]
async fn a_thread_that_has_a_copy_of_a_key_charges_the_same_accounts() {
    let world = World::new().await;
    let known = async || world.ring.prove(Presented(world.good.expose()), None).await.unwrap();
    let (first, mut last) = (known().await, known().await);
    for _ in 0..200 {
        last = known().await;
    }
    assert!(!Arc::ptr_eq(&first, &last), "it has no copy");
    assert!(!first.chain.is_empty() && first.chain.iter().zip(last.chain.iter()).all(|(one, other)| Arc::ptr_eq(one, other)));
}

#[tokio::test]
async fn a_key_that_one_thread_uses_again_and_again_is_seen_to_be_in_use_by_all() {
    let world = World::new().await;
    assert_eq!(world.prove(world.good.expose()).await, (None, 1));
    let asks_all = async || {
        let mut uses = 0;
        // Only the cache of all can be made to forget it.
        world.ring.forget(world.good.id).await;
        while world.prove(world.good.expose()).await == (None, 0) {
            uses += 1;
            assert!(uses < 1000, "it is never looked for");
        }
        uses
    };
    assert_eq!(asks_all().await, 0, "it was not seen twice");
    assert_eq!(world.prove(world.good.expose()).await, (None, 0));
    assert!(asks_all().await > 10);
}
