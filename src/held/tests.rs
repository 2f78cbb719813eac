#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::time::Duration;

use super::*;
use crate::admin::keys::{self, NewKeyOrder};
use crate::admin::meant::Meant;
use crate::key::Pepper;
use crate::ledger::drain::Drain;
use crate::store::audit::Actor;
use crate::store::sqlite::Sqlite;
use crate::store::{Cursor, Entry, LedgerStore};

/// A keeper over a store and the ledger that leads there.
struct Run {
    store: Arc<Sqlite>,
    ledger: Arc<Ledger>,
    drain: Drain,
    keeper: Keeper,
    pepper: Pepper,
}

impl Run {
    /// A new run, whose store has not taken in yet what the one before left.
    async fn begin(folder: &Path) -> Run {
        let store = Arc::new(Sqlite::open(&folder.join("keyward.db")).await.unwrap());
        let ledger = Arc::new(Ledger::open(&folder.join("ledger")).unwrap());
        let drain = Drain::new(Arc::clone(&ledger), store.clone());
        let keeper = Keeper::new(store.clone(), Arc::clone(&ledger), drain.handle());
        let pepper = Pepper::load_or_create(&folder.join("server.secret")).unwrap();
        Run { store, ledger, drain, keeper, pepper }
    }

    /// One whose store has all.
    async fn open(folder: &Path) -> Run {
        let run = Run::begin(folder).await;
        run.drain.recover().await;
        run
    }

    /// Another keeper, which remembers nothing.
    fn fresh(&self) -> Keeper {
        Keeper::new(self.store.clone(), Arc::clone(&self.ledger), self.drain.handle())
    }

    async fn new_key(&self) -> KeyId {
        let order = NewKeyOrder::new("n", crate::key::Kind::Live);
        KeyId::parse(&keys::create(&*self.store, &*self.store, &self.pepper, order, &Actor::Gateway).await.unwrap().view.id).unwrap()
    }

    async fn rotated(&self, key: KeyId) -> KeyId {
        let hour = Duration::from_secs(3600);
        let rotated = keys::rotate(&*self.store, &self.pepper, (key.as_str(), &Meant::ANY), hour, &Actor::Gateway).await.unwrap();
        KeyId::parse(&rotated.new.view.id).unwrap()
    }
}

fn held(key: KeyId, kind: Kind, id: &str, provider: &str) -> Held {
    Held { kind, id: id.to_owned(), key, provider: provider.to_owned(), created: Timestamp::from_second(1).unwrap() }
}

#[tokio::test]
async fn what_a_key_made_is_its_own_and_its_successors() {
    let folder = tempfile::tempdir().unwrap();
    let run = Run::open(folder.path()).await;
    let Run { store, drain, keeper, .. } = &run;
    let (first, other) = (run.new_key().await, run.new_key().await);
    keeper.keep(held(first, Kind::File, "file-1", "a"));
    // Two providers may give out one id: neither takes the other's away.
    keeper.keep(held(other, Kind::File, "file-1", "b"));
    let successor = run.rotated(first).await;
    // On its way to the store, and there.
    for is_taken in [false, true] {
        let fresh = run.fresh();
        for keeper in [keeper, &fresh] {
            assert_eq!(keeper.holder(first, Kind::File, "file-1").await.unwrap().as_deref(), Some("a"));
            assert_eq!(keeper.holder(other, Kind::File, "file-1").await.unwrap().as_deref(), Some("b"));
            assert_eq!(keeper.holder(other, Kind::Batch, "file-1").await.unwrap(), None);
            assert!(keeper.is_anyones(Kind::File, "file-1").await.unwrap() && !keeper.is_anyones(Kind::Batch, "file-1").await.unwrap());
        }
        assert_eq!(fresh.holder(successor, Kind::File, "file-1").await.unwrap().as_deref(), Some("a"));
        assert_eq!(fresh.all(successor, Kind::File).await.unwrap(), [held(first, Kind::File, "file-1", "a")]);
        assert_eq!(store.held_by(successor, Kind::File).await.unwrap().len(), usize::from(is_taken));
        drain.recover().await;
    }

    keeper.let_go(first, Kind::File, "file-1");
    drain.recover().await;
    assert_eq!(keeper.holder(first, Kind::File, "file-1").await.unwrap(), None);
    assert_eq!(keeper.all(other, Kind::File).await.unwrap().len(), 1);

    keeper.keep(Held { created: Timestamp::from_second(9).unwrap(), ..held(other, Kind::File, "file-9", "b") });
    drain.recover().await;
    let before = Timestamp::from_second(5).unwrap();
    assert_eq!((store.forget(before).await.unwrap(), store.forget(before).await.unwrap()), (1, 0));
    assert_eq!(keeper.all(other, Kind::File).await.unwrap()[0].id, "file-9");
}

#[tokio::test]
async fn what_is_made_is_known_at_once_and_in_the_store_soon() {
    let folder = tempfile::tempdir().unwrap();
    let run = Run::open(folder.path()).await;
    let Run { store, ledger, drain, keeper, .. } = &run;
    let (key, other) = (run.new_key().await, run.new_key().await);
    let ids: Vec<String> = (0..600).map(|i| format!("resp_{i}")).collect();
    ids.iter().for_each(|id| keeper.keep(held(key, Kind::Response, id, "a")));
    assert_eq!(store.held_by(key, Kind::Response).await.unwrap().len(), 0);
    let fresh = run.fresh();
    assert_eq!(fresh.holder(key, Kind::Response, "resp_599").await.unwrap().as_deref(), Some("a"));
    assert!(fresh.holder(other, Kind::Response, "resp_599").await.unwrap().is_none());
    assert!(fresh.is_anyones(Kind::Response, "resp_599").await.unwrap(), "nobody else goes on with it");
    assert_eq!(fresh.all(key, Kind::Response).await.unwrap().len(), ids.len());
    drain.recover().await;
    assert_eq!(store.held_by(key, Kind::Response).await.unwrap().len(), ids.len());
    assert!(ledger.untaken().of_kind(Kind::Response).is_empty());
}

#[tokio::test]
async fn what_was_let_go_is_not_brought_back() {
    let folder = tempfile::tempdir().unwrap();
    let run = Run::open(folder.path()).await;
    let Run { store, drain, keeper, .. } = &run;
    let first = run.new_key().await;
    let file = held(first, Kind::File, "file-1", "a");
    keeper.keep(file.clone());
    keeper.keep(held(first, Kind::File, "file-2", "a"));
    let successor = run.rotated(first).await;
    for _ in ["while it is on its way", "once it is in the store"] {
        assert_eq!(keeper.all(successor, Kind::File).await.unwrap().len(), 2);
        keeper.let_go(successor, Kind::File, "file-1");
        for keeper in [keeper, &run.fresh()] {
            assert_eq!(keeper.holder(successor, Kind::File, "file-1").await.unwrap(), None);
            assert_eq!(keeper.all(successor, Kind::File).await.unwrap().iter().map(|held| &*held.id).collect::<Vec<_>>(), ["file-2"]);
        }
        drain.recover().await;
        assert_eq!(store.holder(first, Kind::File, "file-1").await.unwrap(), None);
        keeper.keep(file.clone());
        drain.recover().await;
    }
    // What the store has taken already is told again with what follows it.
    let let_go = Change::LetGo { kind: Kind::File, id: file.id.clone(), key: successor };
    let batch = [Change::Made(file.clone()), let_go].map(|change| Entry::Held(change.into()));
    for _ in 0..2 {
        store.apply("n", &batch, Cursor { segment: 1, offset: 9 }).await.unwrap();
        assert_eq!(store.held_by(successor, Kind::File).await.unwrap().len(), 1);
    }
}

#[tokio::test]
async fn what_the_last_run_made_cannot_be_told_before_it_is_taken_in_and_is_known_then() {
    let folder = tempfile::tempdir().unwrap();
    let run = Run::open(folder.path()).await;
    let (key, other) = (run.new_key().await, run.new_key().await);
    run.keeper.keep(held(key, Kind::Response, "resp_0", "a"));
    run.drain.recover().await;
    run.keeper.keep(held(key, Kind::Response, "resp_1", "a"));
    // Killed, before the store had it.
    drop(run);
    let run = Run::begin(folder.path()).await;
    let keeper = &run.keeper;
    for id in ["resp_1", "resp_of_nobody"] {
        keeper.holder(key, Kind::Response, id).await.unwrap_err();
        keeper.is_anyones(Kind::Response, id).await.unwrap_err();
    }
    keeper.all(key, Kind::Response).await.unwrap_err();
    keeper.keep(held(key, Kind::Response, "resp_2", "a"));
    for id in ["resp_0", "resp_2"] {
        assert_eq!(keeper.holder(key, Kind::Response, id).await.unwrap().as_deref(), Some("a"));
        assert!(keeper.is_anyones(Kind::Response, id).await.unwrap());
    }
    run.drain.recover().await;
    assert_eq!(keeper.holder(key, Kind::Response, "resp_1").await.unwrap().as_deref(), Some("a"));
    assert_eq!(keeper.holder(other, Kind::Response, "resp_1").await.unwrap(), None);
    assert!(keeper.is_anyones(Kind::Response, "resp_1").await.unwrap());
    assert!(!keeper.is_anyones(Kind::Response, "resp_of_nobody").await.unwrap());
    assert_eq!(keeper.all(key, Kind::Response).await.unwrap().len(), 3);
}
