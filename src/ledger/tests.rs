#![allow(clippy::unwrap_used)]

use std::collections::HashSet;
use std::io::Write;
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};

use futures_util::FutureExt as _;
use jiff::Timestamp;
use tokio::sync::watch;

use super::common::{Common, Facts};
use super::drain::Drain;
use super::record::{Of, Outcome, Source, Usage};
use super::*;
use crate::held::{Change, Held, Kind};
use crate::key::KeyId;
use crate::money::Usd;
use crate::quota::AccountId;
use crate::quota::meters::{Past, Used};
use crate::store::sqlite::Sqlite;
use crate::store::{Answer, Cursor, Entry, LastUse, LedgerStore, Place, Request, RowsQuery, StoreError, UsageBy, UsageQuery, UsageRow};

/// When all requests here came: ends name it to the microsecond.
static CAME: LazyLock<Timestamp> = LazyLock::new(|| Timestamp::from_microsecond(Timestamp::now().as_microsecond()).unwrap());

fn begin(id: &str) -> Begin {
    begin_of(id, |_| ())
}

/// The same, with something else about it.
fn begin_of(id: &str, change: impl FnOnce(&mut Facts<Box<str>>)) -> Begin {
    let mut facts = Facts {
        key: "k".into(),
        operation: "chat".into(),
        provider: "p".into(),
        model: "m".into(),
        from: Some([192, 0, 2, 7].into()),
        ..Facts::default()
    };
    change(&mut facts);
    Begin { id: id.into(), at: *CAME, common: Arc::new(Common::new(&facts.borrowed())), reserved: Some(Usd(500)) }
}

fn settle(id: &str) -> Settle {
    Settle {
        of: Of::Line { id: id.into(), began: Some(*CAME) },
        at: *CAME,
        by: None,
        outcome: Outcome::Answered,
        status: 200,
        usage: Usage { input: 7, output: 3, ..Usage::default() },
        source: Source::Reported,
        cost: Some(Usd(10)),
        first_byte_ms: Some(1),
        total_ms: 2,
    }
}

fn begun(begin: Begin) -> Entry {
    Entry::Begin(Arc::new(begin))
}

fn ended(settle: Settle) -> Entry {
    Entry::Settle(Box::new(settle))
}

/// A key made a file of that id.
fn made(id: &str) -> Change {
    Change::Made(Held { kind: Kind::File, id: id.to_owned(), key: maker(), provider: "p#1".to_owned(), created: *CAME })
}

fn let_go(id: &str) -> Change {
    Change::LetGo { kind: Kind::File, id: id.to_owned(), key: maker() }
}

fn maker() -> KeyId {
    KeyId::parse("abcdefghijkl").unwrap()
}

/// Writes a beginning on a thread where none waits.
fn write_begin(ledger: &Ledger, begin: Begin) -> io::Result<()> {
    ledger.begin(Arc::new(begin)).now_or_never().unwrap()
}

async fn usage(store: &Sqlite) -> Vec<UsageRow> {
    store.usage(&UsageQuery { by: UsageBy::Key, ..UsageQuery::default() }).await.unwrap()
}

/// A store, this run's ledger, and the drain from one to the other.
async fn opened(folder: &Path) -> (Sqlite, Arc<Ledger>, Drain) {
    let (store, ledger) = (store(folder).await, Arc::new(Ledger::open(folder).unwrap()));
    let drain = Drain::new(Arc::clone(&ledger), Arc::new(store.clone()));
    (store, ledger, drain)
}

async fn store(folder: &Path) -> Sqlite {
    Sqlite::open(&folder.join("keyward.db")).await.unwrap()
}

#[test]
fn a_line_reads_back_and_a_damaged_one_does_not() {
    let used = Usage { cached: 1, cache_write: 2, reasoning: 3, input_audio: 4, output_audio: 5, ..settle("a").usage };
    let by = Some(("q".into(), "\"n".into()));
    let bare = Settle { cost: None, first_byte_ms: None, outcome: Outcome::ProviderError, source: Source::None, by, ..settle("\"b\"\n") };
    let all = begin_of("b", |facts| {
        (facts.project, facts.team, facts.prompt) = ("j".into(), "g".into(), "n@1".into());
        facts.from = None;
    });
    let entries = [
        begun(begin("a")),
        begun(all),
        begun(Begin { reserved: None, ..begin("\u{1}") }),
        ended(Settle { usage: used, ..settle("a") }),
        ended(Settle { status: 502, outcome: Outcome::Failed, ..settle("c") }),
        Entry::Held(made("\"b\"\n").into()),
        Entry::Held(let_go("file-ü").into()),
        ended(bare),
    ];
    let mut line = Vec::new();
    for entry in &entries {
        line.clear();
        segment::encode(entry, &mut line);
        assert_eq!(segment::decode(line.trim_ascii_end()).as_ref(), Some(entry));
    }
    let text = line.trim_ascii_end();
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
    let ledger = Arc::new(Ledger::open(folder.path()).unwrap());
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let ledger = &ledger;
            scope.spawn(move || (0..250).for_each(|n| write_begin(ledger, begin(&format!("{thread}-{n}"))).unwrap()));
        }
    });
    let text = std::fs::read(segment::path(folder.path(), 1)).unwrap();
    let entries: Vec<_> = text.split(|&b| b == b'\n').filter(|line| !line.is_empty()).map(segment::decode).collect();
    assert_eq!((entries.len(), entries.iter().flatten().count()), (2000, 2000));
}

#[test]
fn its_files_are_its_owners_alone() {
    let folder = tempfile::tempdir().unwrap();
    write_begin(&Ledger::open(folder.path()).unwrap(), begin("a")).unwrap();
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().mode() & 0o777, 0o600, "{:?}", entry.path());
    }
}

#[tokio::test]
async fn what_the_last_run_left_is_recovered_once_and_its_segments_go() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path()).await;
    let ledger = Arc::new(Ledger::open(folder.path()).unwrap());
    write_begin(&ledger, begin("settled")).unwrap();
    ledger.settle(settle("settled")).unwrap();
    write_begin(&ledger, begin("open")).unwrap();
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
async fn what_is_ready_on_a_thread_is_written_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = Arc::new(Ledger::open(folder.path()).unwrap());
    together::gather();
    let lines = || {
        let batch = segment::read(folder.path(), ledger.start(), Some(ledger.end().offset)).unwrap();
        assert_eq!(batch.damaged, [0; 0]);
        batch.entries.len()
    };
    let mut beginnings: Vec<_> = ["a", "b", "c"].map(|id| Box::pin(ledger.begin(begin(id).into()))).into();
    beginnings.iter_mut().for_each(|beginning| assert!(beginning.now_or_never().is_none(), "none goes on before it is written"));
    ledger.settle(settle("z")).unwrap();
    assert_eq!(lines(), 0);
    // One is given up: its line is written all the same.
    drop(beginnings.pop());
    beginnings.remove(0).await.unwrap();
    assert_eq!(lines(), 4, "the first that goes on writes for all");
    beginnings.remove(0).await.unwrap();
    assert_eq!(lines(), 4);
    let recent = ledger.take_recent(ledger.start()).unwrap();
    assert_eq!((recent.entries.len(), recent.next), (4, ledger.end().offset));
    ledger.settle(settle("c")).unwrap();
    assert_eq!(lines(), 4, "it waits for what begins");
    let written = async {
        while lines() < 5 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(5), written).await.expect("nothing begins, and the end is written all the same");
    ledger.settle(settle("e")).unwrap();
    ledger.write_ends().unwrap();
    assert_eq!(lines(), 6, "whoever wants to know all need not wait");
    ledger.settle(settle("d")).unwrap();
    together::flush();
    assert_eq!(lines(), 7, "the thread ends");
}

#[tokio::test]
async fn what_begins_is_written_behind_the_ends_that_made_room_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = Arc::new(Ledger::open(folder.path()).unwrap());
    write_begin(&ledger, begin("a")).unwrap();
    together::gather();
    ledger.settle(settle("a")).unwrap();
    // Another worker's request, for which this thread has not written its end yet.
    let other = Arc::clone(&ledger);
    std::thread::spawn(move || write_begin(&other, begin("b")).unwrap()).join().unwrap();
    let entries = segment::read(folder.path(), ledger.start(), Some(ledger.end().offset)).unwrap().entries;
    let ids: Vec<&str> = entries.iter().map(|entry| if let Entry::Begin(begin) = entry { &*begin.id } else { "end" }).collect();
    assert_eq!(ids, ["a", "end", "b"]);
}

#[tokio::test]
async fn a_write_that_fails_fails_for_all_who_wait_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = Arc::new(Ledger::open(folder.path()).unwrap());
    // A file that may only be read takes no line.
    ledger.lock().segment = Segment::read_only(folder.path(), 1).unwrap();
    together::gather();
    let (a, b) = tokio::join!(ledger.begin(begin("a").into()), ledger.begin(begin("b").into()));
    assert_eq!(a.unwrap_err().to_string(), b.unwrap_err().to_string());
    assert!(ledger.is_failing());
}

#[tokio::test]
async fn the_same_records_twice_change_nothing_and_a_late_settle_wins_over_an_assumption() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path()).await;
    let (first, second) = (begun(begin("a")), ended(settle("a")));
    store.apply("n", std::slice::from_ref(&first), Cursor { segment: 1, offset: 5 }).await.unwrap();
    assert_eq!(store.assume_open(Timestamp::now()).await.unwrap(), 1);
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
async fn what_an_older_version_wrote_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path()).await;
    let lines = [
        r#"{"b":{"id":"c","at":"2026-03-01T00:00:00.000001Z","key":"k","project":"j","team":"g","prompt":"n@1","operation":"chat","provider":"p","model":"m","from":"192.0.2.7","reserved":5}}"#,
        r#"{"s":{"id":"c","began":1772323200000001,"at":"2026-03-01T00:00:01Z","provider":"q","model":"n","outcome":"failed","status":502,"usage":{"input":7,"cache_write":1},"source":"estimated","first_byte_ms":1,"total_ms":2}}"#,
    ];
    let [begin_line, settle_line] =
        lines.map(|json| segment::decode(format!("{:08x} {json}", crc32fast::hash(json.as_bytes())).as_bytes()));
    let at: Timestamp = "2026-03-01T00:00:00.000001Z".parse().unwrap();
    let all = begin_of("c", |facts| (facts.project, facts.team, facts.prompt) = ("j".into(), "g".into(), "n@1".into()));
    assert_eq!(begin_line, Some(begun(Begin { at, reserved: Some(Usd(5)), ..all })));
    let expected = Settle {
        of: Of::Line { id: "c".into(), began: Some(at) },
        at: "2026-03-01T00:00:01Z".parse().unwrap(),
        by: Some(("q".into(), "n".into())),
        outcome: Outcome::Failed,
        status: 502,
        usage: Usage { input: 7, cache_write: 1, ..Usage::default() },
        source: Source::Estimated,
        cost: None,
        ..settle("c")
    };
    assert_eq!(settle_line, Some(ended(expected)));

    // The first ones did not say when their request came.
    let line = br#"825e7512 {"s":{"id":"a","at":"2026-03-01T00:00:00Z","provider":"p","model":"m","outcome":"answered","status":200,"usage":{"input":7},"source":"reported","cost":10,"total_ms":2}}"#;
    let end = segment::decode(line).unwrap();
    store.apply("n", &[begun(begin("a")), begun(begin("b"))], Cursor::default()).await.unwrap();
    store.apply("n", std::slice::from_ref(&end), Cursor::default()).await.unwrap();
    let rows = usage(&store).await;
    assert_eq!((rows.len(), rows[0].requests, rows[0].running, rows[0].cost_nano_usd), (1, 2, 1, 10));
}

#[tokio::test]
async fn ends_of_this_process_find_their_beginnings_in_the_same_batch_and_in_one_before() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path()).await;
    let begins: Vec<Arc<Begin>> = ["a", "b", "c"].map(|id| Arc::new(begin(id))).into();
    let [a, b, c] = [0, 1, 2].map(|n: usize| Entry::Begin(Arc::clone(&begins[n])));
    let end = |n: usize| ended(Settle { of: Of::Begun(Arc::clone(&begins[n])), ..settle("") });
    store.apply("n", &[a.clone(), b, end(0), c], Cursor::default()).await.unwrap();
    let rows = usage(&store).await;
    assert_eq!((rows[0].requests, rows[0].running, rows[0].cost_nano_usd), (3, 2, 10));
    // What the store has taken already is told again with what follows it.
    store.apply("n", &[a, end(0), end(2)], Cursor::default()).await.unwrap();
    let rows = usage(&store).await;
    assert_eq!((rows.len(), rows[0].requests, rows[0].running, rows[0].cost_nano_usd), (1, 3, 1, 20));
    let rows = store.rows(&RowsQuery::default(), None).await.unwrap();
    let told: Vec<_> = rows.iter().map(|row| (&*row.id, &*row.outcome, &*row.provider, row.reserved_nano_usd)).collect();
    assert_eq!(told, [("a", "answered", "p", Some(500)), ("b", "open", "p", Some(500)), ("c", "answered", "p", Some(500))]);
}

#[tokio::test]
async fn an_unpriced_request_that_is_assumed_is_no_free_one() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path()).await;
    let free = Begin { reserved: Some(Usd(0)), ..begin("free") };
    let begins = [begin("priced"), free, Begin { reserved: None, ..begin("unpriced") }].map(begun);
    store.apply("n", &begins, Cursor::default()).await.unwrap();
    assert_eq!(usage(&store).await[0].unpriced, 0, "none has ended");
    assert_eq!(store.assume_open(Timestamp::now()).await.unwrap(), 3);
    let rows = usage(&store).await;
    assert_eq!((rows[0].requests, rows[0].cost_nano_usd, rows[0].unpriced), (3, 500, 1));
}

#[tokio::test]
async fn a_name_of_any_length_is_cut_before_it_is_stored() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path()).await;
    let long = "ü".repeat(1 << 20);
    let another = Settle { by: Some(("q".into(), long.as_str().into())), ..settle("b") };
    let of_long = |id| begun(begin_of(id, |facts| facts.model = long.as_str().into()));
    store.apply("n", &[of_long("a"), ended(settle("a")), of_long("b"), ended(another)], Cursor::default()).await.unwrap();
    let rows = store.usage(&UsageQuery { by: UsageBy::Model, ..UsageQuery::default() }).await.unwrap();
    let groups: Vec<&str> = rows.iter().map(|row| row.group.as_str()).collect();
    assert_eq!(groups, ["p", "q"].map(|provider| format!("{provider}/{}", "ü".repeat(200))));
}

#[tokio::test]
async fn a_settle_that_comes_before_its_begin_is_completed_by_it() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path()).await;
    let by_model = UsageQuery { by: UsageBy::Model, ..UsageQuery::default() };
    let by = Some(("q".into(), "n".into()));
    // In one batch, in two, and where another one answered than it began with.
    for (id, settle, model) in [("a", settle("a"), "p/m"), ("b", settle("b"), "p/m"), ("c", Settle { by, ..settle("c") }, "q/n")] {
        let before = store.usage(&by_model).await.unwrap();
        let count = |rows: &[UsageRow]| rows.iter().find(|row| row.group == model).map_or(0, |row| row.requests);
        match id {
            "a" => store.apply("n", &[ended(settle), begun(begin(id))], Cursor::default()).await.unwrap(),
            _ => {
                store.apply("n", &[ended(settle)], Cursor::default()).await.unwrap();
                store.apply("n", &[begun(begin(id))], Cursor::default()).await.unwrap();
            }
        }
        assert_eq!(count(&store.usage(&by_model).await.unwrap()), count(&before) + 1, "{id}");
    }
    let rows = usage(&store).await;
    assert_eq!((rows[0].group.as_str(), rows[0].requests, rows[0].cost_nano_usd), ("k", 3, 30));
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
    fn assume_open(&self, at: Timestamp) -> Answer<'_, u64> {
        self.unless_down(self.inner.assume_open(at))
    }
    fn used<'a>(&'a self, account: &'a AccountId, past: &'a Past) -> Answer<'a, Used> {
        self.unless_down(self.inner.used(account, past))
    }
    fn newest(&self) -> Answer<'_, Option<Timestamp>> {
        self.unless_down(self.inner.newest())
    }
    fn last_use(&self, key: KeyId) -> Answer<'_, Option<LastUse>> {
        self.unless_down(self.inner.last_use(key))
    }
    fn usage<'a>(&'a self, query: &'a UsageQuery) -> Answer<'a, Vec<UsageRow>> {
        self.unless_down(self.inner.usage(query))
    }
    fn rows<'a>(&'a self, query: &'a RowsQuery, after: Option<Place>) -> Answer<'a, Vec<Request>> {
        self.unless_down(self.inner.rows(query, after))
    }
    fn roll_up(&self, now: Timestamp) -> Answer<'_, bool> {
        self.unless_down(self.inner.roll_up(now))
    }
    fn prune(&self, before: Timestamp) -> Answer<'_, u64> {
        self.unless_down(self.inner.prune(before))
    }
    fn pruned_until(&self, since: Option<Timestamp>, until: Option<Timestamp>) -> Answer<'_, Option<Timestamp>> {
        self.unless_down(self.inner.pruned_until(since, until))
    }
    fn sweep(&self) -> Answer<'_, u64> {
        self.unless_down(self.inner.sweep())
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
        write_begin(&ledger, begin(&n.to_string())).unwrap();
        ledger.settle(settle(&n.to_string())).unwrap();
    }
    flaky.is_down.store(false, Ordering::Relaxed);
    handle.flush().await.unwrap();
    assert_eq!(usage(&flaky.inner).await[0].requests, 100);
    assert_eq!(handle.status().last_error(), None);
    stop.send_replace(true);
    running.await.unwrap();
}

/// A beginning whose line has 64 KiB.
fn filler(id: &str) -> Begin {
    begin_of(id, |facts| facts.operation = "x".repeat(64 << 10).into())
}

/// Writes so many of them, each with an id by its number.
fn write_fillers(ledger: &Ledger, numbers: Range<u32>) {
    numbers.for_each(|n| write_begin(ledger, filler(&format!("filler {n}"))).unwrap());
}

/// Appends to the active segment until another one follows it.
fn fill_a_segment(ledger: &Ledger) {
    let first = ledger.end().segment;
    let filler = filler("filler");
    while ledger.end().segment == first {
        write_begin(ledger, filler.clone()).unwrap();
    }
}

#[tokio::test]
async fn a_line_longer_than_a_batch_holds_nothing_up() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path()).await;
    let ledger = Arc::new(Ledger::open(folder.path()).unwrap());
    // `provider/model` is passed on as it came, so a caller chooses how long it is.
    write_begin(&ledger, begin_of("long", |facts| facts.model = "m".repeat(3 << 20).into())).unwrap();
    for n in 0..10 {
        write_begin(&ledger, begin(&n.to_string())).unwrap();
        ledger.settle(settle(&n.to_string())).unwrap();
    }
    fill_a_segment(&ledger);
    Drain::new(Arc::clone(&ledger), Arc::new(store.clone())).recover().await;
    drop(ledger);
    let ledger = Arc::new(Ledger::open(folder.path()).unwrap());
    Drain::new(ledger, Arc::new(store.clone())).recover().await;
    assert_eq!(usage(&store).await[0].requests, 12);
}

#[tokio::test]
async fn segments_taken_away_do_not_lose_the_ones_that_follow() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path()).await;
    store.apply(Ledger::open(folder.path()).unwrap().node(), &[], Cursor { segment: 7, offset: 9 }).await.unwrap();
    std::fs::remove_file(segment::path(folder.path(), 1)).unwrap();
    let ledger = Arc::new(Ledger::open(folder.path()).unwrap());
    assert_eq!(ledger.end().segment, 1);
    write_begin(&ledger, begin("a")).unwrap();
    drop(ledger);
    let ledger = Arc::new(Ledger::open(folder.path()).unwrap());
    Drain::new(ledger, Arc::new(store.clone())).recover().await;
    assert_eq!(usage(&store).await.first().map(|row| row.requests), Some(1));
}

#[tokio::test]
async fn a_store_that_is_down_is_told_by_what_waits() {
    let folder = tempfile::tempdir().unwrap();
    let flaky = Arc::new(Flaky { inner: store(folder.path()).await, is_down: AtomicBool::new(true) });
    let ledger = Arc::new(Ledger::open(folder.path()).unwrap());
    write_begin(&ledger, begin("a")).unwrap();
    fill_a_segment(&ledger);
    let drain = Drain::new(Arc::clone(&ledger), flaky.clone());
    drain.recover().await;
    assert!(drain.handle().status().lag_bytes() > 8 << 20, "{}", drain.handle().status().lag_bytes());
    flaky.is_down.store(false, Ordering::Relaxed);
    drain.recover().await;
    assert_eq!(drain.handle().status().lag_bytes(), 0);
}

#[tokio::test]
async fn a_store_that_was_down_at_the_start_still_settles_the_last_run() {
    let folder = tempfile::tempdir().unwrap();
    let flaky = Arc::new(Flaky { inner: store(folder.path()).await, is_down: AtomicBool::new(true) });
    write_begin(&Ledger::open(folder.path()).unwrap(), begin("last run")).unwrap();
    let ledger = Arc::new(Ledger::open(folder.path()).unwrap());
    let drain = Drain::new(Arc::clone(&ledger), flaky.clone());
    let handle = drain.handle();
    assert_eq!(drain.recover().await, 0);
    write_begin(&ledger, begin("this run")).unwrap();
    let (stop, stopped) = watch::channel(false);
    let running = tokio::spawn(drain.run(stopped));
    flaky.is_down.store(false, Ordering::Relaxed);
    handle.flush().await.unwrap();
    // One at its reservation of 500, the other still open.
    assert_eq!((usage(&flaky.inner).await[0].requests, usage(&flaky.inner).await[0].cost_nano_usd), (2, 500));
    stop.send_replace(true);
    running.await.unwrap();
}

/// Writes another text over all of a segment: whoever reads it from the file finds nothing.
fn spoil(ledger: &Ledger, segment: u64) {
    let path = segment::path(ledger.folder(), segment);
    let len = std::fs::metadata(&path).unwrap().len() as usize;
    std::fs::write(path, vec![b'x'; len]).unwrap();
}

#[tokio::test]
async fn new_records_are_taken_from_memory_and_what_has_no_room_there_from_the_segment() {
    let folder = tempfile::tempdir().unwrap();
    let (store, ledger, drain) = opened(folder.path()).await;
    let count = async || usage(&store).await.first().map_or(0, |row| row.requests);
    write_begin(&ledger, begin("a")).unwrap();
    ledger.settle(settle("a")).unwrap();
    spoil(&ledger, ledger.end().segment);
    drain.recover().await;
    assert_eq!((count().await, drain.handle().status().damaged_lines()), (1, 0), "the file was not read");

    // More than is kept, and then some: in memory is the beginning, the end is in the file alone.
    write_fillers(&ledger, 0..140);
    drain.recover().await;
    assert_eq!(count().await, 141);
    // Now there is room again.
    write_fillers(&ledger, 140..170);
    ledger.settle(settle("filler 169")).unwrap();
    drain.recover().await;
    assert_eq!((count().await, drain.handle().status().damaged_lines()), (171, 0));
    assert_eq!(store.cursor(ledger.node()).await.unwrap(), ledger.end());
}

#[tokio::test]
async fn records_in_memory_outlive_the_change_of_a_segment() {
    let folder = tempfile::tempdir().unwrap();
    let (store, ledger, drain) = opened(folder.path()).await;
    let first = ledger.end().segment;
    write_fillers(&ledger, 0..120);
    drain.recover().await;
    assert_eq!(ledger.end().segment, first, "it has room for more");
    write_fillers(&ledger, 120..140);
    [first, first + 1].into_iter().for_each(|segment| spoil(&ledger, segment));
    drain.recover().await;
    assert_eq!((usage(&store).await[0].requests, drain.handle().status().damaged_lines()), (140, 0), "neither was read");
}

#[tokio::test]
async fn records_whose_store_failed_are_read_from_the_segment_again() {
    let folder = tempfile::tempdir().unwrap();
    let flaky = Arc::new(Flaky { inner: store(folder.path()).await, is_down: AtomicBool::new(false) });
    let ledger = Arc::new(Ledger::open(folder.path()).unwrap());
    let drain = Drain::new(Arc::clone(&ledger), flaky.clone());
    drain.recover().await;
    write_begin(&ledger, begin("a")).unwrap();
    flaky.is_down.store(true, Ordering::Relaxed);
    drain.recover().await;
    write_begin(&ledger, begin("b")).unwrap();
    flaky.is_down.store(false, Ordering::Relaxed);
    drain.recover().await;
    assert_eq!(usage(&flaky.inner).await[0].requests, 2);
}

#[tokio::test]
async fn a_provider_that_counts_nonsense_does_not_break_the_sums() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path()).await;
    let nonsense = Usage { input: u64::MAX, ..Usage::default() };
    let settles = ["a", "b"].map(|id| ended(Settle { usage: nonsense, cost: Some(Usd(i64::MAX)), ..settle(id) }));
    store.apply("n", &settles, Cursor::default()).await.unwrap();
    assert_eq!(usage(&store).await[0].requests, 2);
    let (most, cost) = (2 * record::MOST_TOKENS, 2 * record::MOST_COST.0);
    assert_eq!((usage(&store).await[0].input_tokens, usage(&store).await[0].cost_nano_usd), (most, cost));
}

#[tokio::test]
async fn hundreds_of_requests_in_any_order_and_split_give_the_same_sums() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path()).await;
    let begins: Vec<_> = (0..150).map(|n| begun(begin(&n.to_string()))).collect();
    let settles: Vec<_> = (0..150).rev().map(|n| ended(settle(&n.to_string()))).collect();
    // Settles before begins, twice, then both at once.
    for entries in [&settles[..100], &begins[50..], &begins[50..], &settles[..], &[begins.clone(), settles.clone()].concat()] {
        store.apply("n", entries, Cursor { segment: 1, offset: 1 }).await.unwrap();
    }
    store.apply("n", &begins, Cursor { segment: 1, offset: 1 }).await.unwrap();
    let rows = usage(&store).await;
    assert_eq!((rows.len(), rows[0].requests, rows[0].cost_nano_usd, rows[0].input_tokens), (1, 150, 1500, 1050));
    assert_eq!(store.assume_open(Timestamp::now()).await.unwrap(), 0);
}

#[tokio::test]
async fn a_torn_end_of_an_old_segment_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path()).await;
    let ledger = Arc::new(Ledger::open(folder.path()).unwrap());
    write_begin(&ledger, begin("a")).unwrap();
    ledger.active_file().unwrap().write_all(b"12345678 {\"b\":").unwrap();
    drop(ledger);
    let drain = Drain::new(Arc::new(Ledger::open(folder.path()).unwrap()), Arc::new(store.clone()));
    assert_eq!(drain.recover().await, 1);
    assert_eq!(drain.handle().status().damaged_lines(), 1);
}

#[tokio::test]
async fn a_shutdown_that_nobody_can_give_any_more_ends_the_task() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = Arc::new(Ledger::open(folder.path()).unwrap());
    let drain = Drain::new(ledger, Arc::new(store(folder.path()).await));
    let (stop, stopped) = watch::channel(false);
    drop(stop);
    tokio::time::timeout(std::time::Duration::from_secs(5), drain.run(stopped)).await.unwrap();
}

/// The folder of the ledger that this test binary, run by [`a_full_disk_takes_all_lines_of_a_write_or_none`], is to fill.
const FILL: &str = "KEYWARD_TEST_LEDGER_TO_FILL";

/// No test by itself: what the next one runs in a process whose files may not grow.
#[test]
#[ignore = "is run by another test"]
fn fill_the_disk() {
    let Some(folder) = std::env::var_os(FILL) else { return };
    let ledger = Arc::new(Ledger::open(Path::new(&folder)).unwrap());
    // Always at the same time: lines of known lengths, of which some fit and the last does not.
    let line = |n: u32| Begin { at: Timestamp::UNIX_EPOCH, ..begin(&n.to_string()) };
    let together = |first: u32| {
        let mut lines = Lines::new();
        for n in first..first + 5 {
            let (entry, before) = (Entry::Begin(Arc::new(line(n))), lines.text.len());
            segment::encode(&entry, &mut lines.text);
            lines.entries.push((entry, lines.text.len() - before));
        }
        lines
    };
    let failed = (0..).step_by(5).find_map(|first| ledger.write(&mut together(first)).err()).unwrap();
    assert_eq!(failed.kind(), io::ErrorKind::StorageFull, "{failed}");
    let whole = ledger.end();
    assert_eq!(ledger.active_file().unwrap().metadata().unwrap().len(), whole.offset, "those that fitted were refused too");
    // Nor has the disk room for one line more.
    while write_begin(&ledger, line(0)).is_ok() {}
    let whole = ledger.end();
    ledger.settle(settle("0")).unwrap_err();
    assert!(ledger.is_failing());
    assert_eq!(ledger.end(), whole);

    let pid = std::process::id().to_string();
    assert!(std::process::Command::new("prlimit").args(["--fsize=unlimited:", "--pid", &pid]).status().unwrap().success());
    ledger.settle(settle("0")).unwrap();
    assert!(!ledger.is_failing());
}

#[tokio::test]
async fn a_full_disk_takes_all_lines_of_a_write_or_none() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("ledger");
    // A write that goes over the limit is cut short, and the next one fails: as on a full disk, once the signal is ignored.
    let done = std::process::Command::new("bash")
        .args(["-c", "trap '' XFSZ; ulimit -S -f 4; exec \"$0\" --ignored --exact ledger::tests::fill_the_disk"])
        .arg(std::env::current_exe().unwrap())
        .env(FILL, &data)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(done.status.success() && said.contains("1 passed"), "{said}{}", String::from_utf8_lossy(&done.stderr));

    let store = store(folder.path()).await;
    let text = std::fs::read(segment::path(&data, 1)).unwrap();
    let begun: Vec<Arc<str>> = text
        .split(|&b| b == b'\n')
        .filter_map(|line| match segment::decode(line) {
            Some(Entry::Begin(begin)) => Some(Arc::clone(&begin.id)),
            _ => None,
        })
        .collect();
    let drain = Drain::new(Arc::new(Ledger::open(&data).unwrap()), Arc::new(store.clone()));
    let requests = begun.iter().collect::<HashSet<_>>().len() as u64;
    assert_eq!(drain.recover().await, requests - 1);
    assert_eq!(drain.handle().status().damaged_lines(), 0);
    let rows = usage(&store).await;
    assert!(requests > 10 && requests.is_multiple_of(5), "{requests}");
    assert_eq!((rows[0].requests, rows[0].input_tokens), (requests, 7), "request 0 is settled, the others are assumed");
}

#[test]
fn nothing_is_written_into_a_segment_that_is_away_and_what_is_owed_is_when_it_is_back() {
    let folder = tempfile::tempdir().unwrap();
    let (data, away) = (folder.path().join("ledger"), folder.path().join("away"));
    let ledger = Arc::new(Ledger::open(&data).unwrap());
    write_begin(&ledger, begin("a")).unwrap();
    assert!(ledger.look() && ledger.trouble().is_none());
    let end = ledger.end();
    std::fs::rename(&data, &away).unwrap();
    // Another of its name is not it.
    for put in [false, true] {
        if put {
            std::fs::create_dir(&data).unwrap();
            std::fs::write(segment::path(&data, 1), "").unwrap();
        }
        assert!(!ledger.look() && ledger.is_failing() && ledger.trouble().unwrap().contains("put the one back"));
        write_begin(&ledger, begin("b")).unwrap_err();
        ledger.try_again().unwrap_err();
    }
    ledger.settle(settle("a")).unwrap_err();
    ledger.hold(made("file-1")).unwrap_err();
    assert_eq!(ledger.untaken().of(Kind::File, "file-1").len(), 1, "it is known all the same");
    assert_eq!(ledger.active_file().unwrap().metadata().unwrap().len(), end.offset, "not even to try");
    std::fs::remove_dir_all(&data).unwrap();
    std::fs::rename(&away, &data).unwrap();
    assert!(ledger.look());
    ledger.try_again().unwrap();
    assert!(ledger.trouble().is_none() && ledger.owed().is_empty() && ledger.end() > end);
    let written = segment::read(&data, end, Some(ledger.end().offset)).unwrap().entries;
    assert_eq!(written, [ended(settle("a")), Entry::Held(made("file-1").into())]);
    assert_eq!(ledger.untaken().of(Kind::File, "file-1").len(), 1);
    ledger.untaken().taken(ledger.end());
    assert_eq!(ledger.untaken().of(Kind::File, "file-1").len(), 0);
}

#[tokio::test]
async fn a_blank_line_is_no_damage_and_hides_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (store, ledger, drain) = opened(folder.path()).await;
    write_begin(&ledger, begin("a")).unwrap();
    ledger.is_failing.store(true, Ordering::Relaxed);
    ledger.owed().push(ended(settle("a")));
    ledger.try_again().unwrap();
    assert!(!ledger.is_failing() && ledger.owed().is_empty());
    drain.recover().await;
    assert_eq!(drain.handle().status().damaged_lines(), 0);
    let rows = usage(&store).await;
    assert_eq!((rows[0].requests, rows[0].running, rows[0].cost_nano_usd), (1, 0, 10));
}
