//! Two changes of one account at once, and one that nobody waits for any more.

#![allow(clippy::unwrap_used)]

use std::pin::pin;
use std::sync::atomic::AtomicUsize;

use super::*;
use crate::key::{KeyId, Kind, Pepper};
use crate::money::Usd;
use crate::quota::{Need, account, alert};
use crate::store::audit::{Actor, Note};
use crate::store::gate::Gates;
use crate::store::sqlite::Sqlite;
use crate::store::{Answer, GroupStore};

/// Counts how often a group is read, and can stop the next reading once it is done.
struct Gated {
    inner: Arc<Sqlite>,
    asked: AtomicUsize,
    gates: Gates,
}

impl GroupStore for Gated {
    fn group<'a>(&'a self, id: &'a AccountId) -> Answer<'a, Option<Group>> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        Box::pin(async move {
            let group = self.inner.group(id).await;
            self.gates.pass().await;
            group
        })
    }
    fn groups(&self) -> Answer<'_, Vec<Group>> {
        self.inner.groups()
    }
    fn put_group<'a>(&'a self, group: &'a Group, was: Option<&'a Group>, note: &'a Note) -> Answer<'a, bool> {
        self.inner.put_group(group, was, note)
    }
    fn first_alert<'a>(&'a self, name: &'a str, at: Timestamp, body: Option<&'a str>) -> Answer<'a, bool> {
        self.inner.first_alert(name, at, body)
    }
    fn waiting_alerts(&self, most: u32) -> Answer<'_, Vec<(String, String)>> {
        self.inner.waiting_alerts(most)
    }
    fn alert_taken<'a>(&'a self, name: &'a str) -> Answer<'a, ()> {
        self.inner.alert_taken(name)
    }
}

struct World {
    _folder: tempfile::TempDir,
    store: Arc<Gated>,
    accounts: Accounts,
    team: Arc<Account>,
}

impl World {
    /// A team of these limits, in memory.
    async fn new(limits: Limits) -> World {
        let folder = tempfile::tempdir().unwrap();
        let inner = Arc::new(Sqlite::open(&folder.path().join("keyward.db")).await.unwrap());
        let store = Arc::new(Gated { inner: Arc::clone(&inner), asked: AtomicUsize::new(0), gates: Gates::default() });
        let accounts = Accounts::new(store.clone(), inner.clone(), None, alert::channel(inner, None).0);
        put(&store.inner, limits).await;
        let team = accounts.group(&team()).await.unwrap();
        World { _folder: folder, store, accounts, team }
    }
}

fn team() -> AccountId {
    AccountId::Team("red".into())
}

fn a_day(rate: u32) -> Limits {
    Limits { rates: vec![format!("requests/day={rate}").parse().unwrap()], ..Limits::default() }
}

async fn put(store: &Sqlite, limits: Limits) {
    let was = store.group(&team()).await.unwrap();
    let created = was.as_ref().map_or_else(Timestamp::now, |was| was.created);
    let group = Group { id: team(), name: "Red".to_owned(), team: None, limits, disabled: false, created };
    let note = Note { actor: Actor::Gateway, action: "team.update", subject: "red".to_owned(), detail: serde_json::Value::Null };
    assert!(store.put_group(&group, was.as_ref(), &note).await.unwrap());
}

#[tokio::test]
async fn of_two_changes_at_once_the_later_one_stays() {
    let world = World::new(a_day(1)).await;
    let asked = || world.store.asked.load(Ordering::Relaxed);
    put(&world.store.inner, a_day(2)).await;
    let gate = world.store.gates.close();
    let team = team();
    let later = async {
        gate.is_reached.notified().await;
        put(&world.store.inner, a_day(3)).await;
        let mut second = pin!(world.accounts.refresh(&team));
        let before = asked();
        assert!(futures_util::poll!(&mut second).is_pending());
        assert_eq!(asked(), before, "what the first has read does not hold yet");
        gate.opens.notify_one();
        second.await.unwrap();
    };
    let (first, ()) = tokio::join!(world.accounts.refresh(&team), later);
    first.unwrap();
    assert_eq!(world.team.current().limits, a_day(3));
}

#[tokio::test]
async fn a_change_that_nobody_waits_for_leaves_no_count_that_began_at_nothing() {
    let world = World::new(Limits::default()).await;
    put(&world.store.inner, a_day(2)).await;
    let begun = async {
        while world.team.current().limits != a_day(2) {
            tokio::task::yield_now().await;
        }
    };
    let team = team();
    tokio::select! {
        biased;
        () = begun => {}
        _ = world.accounts.refresh(&team) => panic!("it takes its time to ask the ledger"),
    }
    assert_eq!(world.team.current().limits, Limits::default());
    world.accounts.refresh(&team).await.unwrap();
    assert_eq!(world.team.current().limits, a_day(2));
}

/// A key of these limits, which no store has.
fn key(limits: Limits) -> KeyRecord {
    let id = KeyId::parse("abcdefgh2345").unwrap();
    let pepper = Pepper::load_or_create(&tempfile::tempdir().unwrap().path().join("server.secret")).unwrap();
    let (hash, kind, created) = (pepper.hash("key"), Kind::Live, Timestamp::UNIX_EPOCH);
    let (name, owner) = (String::new(), String::new());
    let (not_before, expires, revoked, rotated, project, role, changed) = (None, None, None, None, None, None, None);
    let (disabled, owner_disabled, group_disabled) = (false, false, false);
    KeyRecord {
        id,
        hash,
        kind,
        name,
        owner,
        limits,
        created,
        not_before,
        expires,
        revoked,
        disabled,
        owner_disabled,
        group_disabled,
        rotated,
        project,
        role,
        family: id,
        changed,
    }
}

fn costs(worst: u64) -> Need<'static> {
    Need { cost: Ok(Usd::of_nanos(worst)), ..Need::NOTHING }
}

fn budget(text: &str) -> Limits {
    Limits { budgets: vec![text.parse().unwrap()], ..Limits::default() }
}

#[tokio::test]
async fn a_budget_that_is_spent_holds_until_the_next_one_is_counted() {
    let (world, team) = (World::new(budget("0.1/ever")).await, team());
    let chain: Chain = Arc::from([Arc::clone(&world.team)]);
    // No ledger has it.
    let _nearly_all = account::admit(&chain, &costs(90_000_000)).unwrap();
    let is_full = || account::admit(&chain, &costs(20_000_000)).is_err() && account::admit(&chain, &costs(10_000_000)).is_ok();
    put(&world.store.inner, budget("0.1/month")).await;
    let mut refresh = Box::pin(world.accounts.refresh(&team));
    while world.team.current().limits.budgets.len() < 2 {
        assert!(futures_util::poll!(&mut refresh).is_pending(), "it takes its time to ask the ledger");
        tokio::task::yield_now().await;
    }
    assert!(is_full(), "what is not counted lets nothing more pass");
    // As where the store does not answer.
    drop(refresh);
    assert!(world.team.current().limits == budget("0.1/ever") && is_full());
    world.accounts.refresh(&team).await.unwrap();
    assert_eq!(world.team.current().limits, budget("0.1/month"));
    assert!(!is_full(), "the ledger knows of nothing");
}

#[tokio::test]
async fn a_budget_that_is_raised_holds_as_it_was_until_another_one_beside_it_is_counted() {
    let (world, team) = (World::new(budget("0.1/ever")).await, team());
    let chain: Chain = Arc::from([Arc::clone(&world.team)]);
    let _all = account::admit(&chain, &costs(100_000_000)).unwrap();
    for raised in ["1/ever", "1/ever:soft"] {
        let mut limits = budget(raised);
        limits.budgets.extend(budget("0.15/day").budgets);
        put(&world.store.inner, limits.clone()).await;
        let mut refresh = Box::pin(world.accounts.refresh(&team));
        while world.team.current().limits.budgets.len() < 2 {
            assert!(futures_util::poll!(&mut refresh).is_pending(), "it takes its time to ask the ledger");
            tokio::task::yield_now().await;
        }
        assert!(account::admit(&chain, &costs(1)).is_err(), "{raised}: what is not counted lets nothing pass");
        drop(refresh);
    }
    world.accounts.refresh(&team).await.unwrap();
    assert!(account::admit(&chain, &costs(150_000_001)).is_err() && account::admit(&chain, &costs(1)).is_ok());
}

#[tokio::test]
async fn whoever_needs_a_change_that_another_has_begun_sees_it_through() {
    let world = World::new(Limits::default()).await;
    let account = world.accounts.key(&key(Limits::default())).await.unwrap();
    // While a request runs, what is counted anew begins at nothing until the ledger was asked.
    let chain: Chain = Arc::from([Arc::clone(&account)]);
    let _running = account::admit(&chain, &Need::NOTHING).unwrap();
    let (changed, limits) = (key(a_day(2)), a_day(2));
    let mut first = Box::pin(world.accounts.key(&changed));
    while account.current().limits != limits {
        assert!(futures_util::poll!(&mut first).is_pending(), "it takes its time to ask the ledger");
        tokio::task::yield_now().await;
    }
    let mut second = pin!(world.accounts.key(&changed));
    assert!(futures_util::poll!(&mut second).is_pending(), "it may still be undone");
    drop(first);
    second.await.unwrap();
    assert_eq!(account.current().limits, limits);
}
