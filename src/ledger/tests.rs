#![allow(clippy::unwrap_used)]

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use jiff::Timestamp;
use tokio::sync::watch;

use super::drain::Drain;
use super::record::{Outcome, Source, Usage};
use super::*;
use crate::money::Usd;
use crate::store::sqlite::Sqlite;
use crate::store::{Answer, Cursor, Entry, LedgerStore, StoreError, UsageBy, UsageQuery, UsageRow};

fn begin(id: &str) -> Begin {
    Begin {
        id: id.to_owned(),
        at: Timestamp::now(),
        key: "k".to_owned(),
        operation: "chat".to_owned(),
        provider: "p".to_owned(),
        model: "m".to_owned(),
        reserved: Usd(500),
    }
}

fn settle(id: &str) -> Settle {
    Settle {
        id: id.to_owned(),
        at: Timestamp::now(),
        provider: "p".to_owned(),
        model: "m".to_owned(),
        outcome: Outcome::Answered,
        status: 200,
        usage: Usage { input: 7, output: 3, ..Usage::default() },
        source: Source::Reported,
        cost: Some(Usd(10)),
        first_byte_ms: Some(1),
        total_ms: 2,
    }
}

async fn usage(store: &Sqlite) -> Vec<UsageRow> {
    store.usage(&UsageQuery { by: UsageBy::Key, since: None, until: None, key: None }).await.unwrap()
}

async fn store(folder: &Path) -> Sqlite {
    Sqlite::open(&folder.join("keyward.db")).await.unwrap()
}

#[test]
fn a_line_reads_back_and_a_damaged_one_does_not() {
    let begin = begin("a");
    let line = segment::Line::Begin(&begin).encode().unwrap();
    let text = line.trim_ascii_end();
    assert_eq!(segment::decode(text), Some(Entry::Begin(begin)));
    for at in 0..text.len() {
        let mut damaged = text.to_vec();
        damaged[at] ^= 1;
        assert_eq!(segment::decode(&damaged), None, "{at}");
        assert_eq!(segment::decode(&text[..at]), None, "{at}");
    }
}

#[test]
fn only_one_process_at_a_time_has_a_ledger() {
    let folder = tempfile::tempdir().unwrap();
    let first = Ledger::open(folder.path()).unwrap();
    assert!(Ledger::open(folder.path()).unwrap_err().to_string().contains("another keyward is running"));
    assert!(Ledger::is_locked(folder.path()).unwrap());
    drop(first);
    Ledger::open(folder.path()).unwrap();
}

#[test]
fn lines_of_many_threads_stay_whole() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(folder.path()).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let ledger = &ledger;
            scope.spawn(move || (0..250).for_each(|n| ledger.begin(&begin(&format!("{thread}-{n}"))).unwrap()));
        }
    });
    let text = std::fs::read(segment::path(folder.path(), 1)).unwrap();
    let entries: Vec<_> = text.split(|&b| b == b'\n').filter(|line| !line.is_empty()).map(segment::decode).collect();
    assert_eq!((entries.len(), entries.iter().flatten().count()), (2000, 2000));
}

#[tokio::test]
async fn what_the_last_run_left_is_recovered_once_and_its_segments_go() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path()).await;
    let ledger = Ledger::open(folder.path()).unwrap();
    ledger.begin(&begin("settled")).unwrap();
    ledger.settle(&settle("settled")).unwrap();
    ledger.begin(&begin("open")).unwrap();
    let mut file = ledger.active_file().unwrap();
    // A record that the crash cut off.
    file.write_all(b"12345678 {\"b\":{\"id\":\"torn").unwrap();
    drop(ledger);

    for assumed in [1, 0] {
        let ledger = Arc::new(Ledger::open(folder.path()).unwrap());
        let drain = Drain::new(Arc::clone(&ledger), Arc::new(store.clone()));
        assert_eq!(drain.recover().await, assumed);
        let rows = usage(&store).await;
        assert_eq!((rows[0].requests, rows[0].failed, rows[0].cost_nano_usd), (2, 1, 510));
        assert_eq!(segment::numbers(folder.path()).unwrap(), [ledger.end().segment]);
    }
}

#[tokio::test]
async fn the_same_records_twice_change_nothing_and_a_late_settle_wins_over_an_assumption() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path()).await;
    let (first, second) = (Entry::Begin(begin("a")), Entry::Settle(settle("a")));
    store.apply("n", std::slice::from_ref(&first), Cursor { segment: 1, offset: 5 }).await.unwrap();
    assert_eq!(store.assume_open("n", Timestamp::now()).await.unwrap(), 1);
    assert_eq!(usage(&store).await[0].cost_nano_usd, 500);
    for _ in 0..2 {
        store.apply("n", &[first.clone(), second.clone()], Cursor { segment: 1, offset: 9 }).await.unwrap();
        let rows = usage(&store).await;
        assert_eq!((rows[0].requests, rows[0].cost_nano_usd, rows[0].input_tokens), (1, 10, 7));
    }
    assert_eq!(store.cursor("n").await.unwrap(), Cursor { segment: 1, offset: 9 });
    assert_eq!(store.cursor("other").await.unwrap(), Cursor::default());
}

#[tokio::test]
async fn a_settle_that_comes_before_its_begin_is_completed_by_it() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path()).await;
    store.apply("n", &[Entry::Settle(settle("a")), Entry::Begin(begin("a"))], Cursor::default()).await.unwrap();
    let rows = usage(&store).await;
    assert_eq!((rows[0].group.as_str(), rows[0].requests, rows[0].cost_nano_usd), ("k", 1, 10));
}

/// A store that can be switched off.
struct Flaky {
    inner: Sqlite,
    is_down: AtomicBool,
}

impl Flaky {
    fn unless_down<'a, T: 'a>(&self, answer: Answer<'a, T>) -> Answer<'a, T> {
        match self.is_down.load(Ordering::Relaxed) {
            true => Box::pin(async { Err(StoreError("switched off".to_owned())) }),
            false => answer,
        }
    }
}

impl LedgerStore for Flaky {
    fn cursor<'a>(&'a self, node: &'a str) -> Answer<'a, Cursor> {
        self.unless_down(self.inner.cursor(node))
    }
    fn apply<'a>(&'a self, node: &'a str, entries: &'a [Entry], cursor: Cursor) -> Answer<'a, ()> {
        self.unless_down(self.inner.apply(node, entries, cursor))
    }
    fn assume_open<'a>(&'a self, node: &'a str, at: Timestamp) -> Answer<'a, u64> {
        self.unless_down(self.inner.assume_open(node, at))
    }
    fn usage<'a>(&'a self, query: &'a UsageQuery) -> Answer<'a, Vec<UsageRow>> {
        self.unless_down(self.inner.usage(query))
    }
}

#[tokio::test]
async fn a_store_that_is_down_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let flaky = Arc::new(Flaky { inner: store(folder.path()).await, is_down: AtomicBool::new(true) });
    let ledger = Arc::new(Ledger::open(folder.path()).unwrap());
    let drain = Drain::new(Arc::clone(&ledger), flaky.clone());
    let handle = drain.handle();
    assert_eq!(drain.recover().await, 0);
    assert_eq!(handle.status().last_error().as_deref(), Some("switched off"));
    let (stop, stopped) = watch::channel(false);
    let running = tokio::spawn(drain.run(stopped));
    for n in 0..100 {
        ledger.begin(&begin(&n.to_string())).unwrap();
        ledger.settle(&settle(&n.to_string())).unwrap();
    }
    flaky.is_down.store(false, Ordering::Relaxed);
    handle.flush().await.unwrap();
    assert_eq!(usage(&flaky.inner).await[0].requests, 100);
    assert_eq!(handle.status().last_error(), None);
    stop.send_replace(true);
    running.await.unwrap();
}
