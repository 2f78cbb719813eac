#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

use super::Sqlite;
use crate::ledger::common::{Common, Facts};
use crate::ledger::export::{Export, Format};
use crate::ledger::record::{Begin, Of, Outcome, Settle, Source, Usage};
use crate::money::Usd;
use crate::quota::AccountId;
use crate::quota::meters::Past;
use crate::quota::window::Window;
use crate::store::{Cursor, Entry, LedgerStore, RowsQuery, UsageBy, UsageQuery, UsageRow};

/// What can happen to a store, in hours of three days.
#[derive(Clone, Debug)]
enum Step {
    Begin { minute: i64, key: u8, model: u8, reserved: Option<i64> },
    Settle { which: prop::sample::Index, failed: bool, cost: Option<i64>, tokens: u64 },
    Assume,
    RollUp { minute: i64 },
    Prune { hour: i64, steps: u8 },
    Ask { since: i64, until: i64 },
}

/// A request, as simple as can be.
#[derive(Clone, Debug)]
struct Plain {
    minute: i64,
    key: String,
    model: String,
    outcome: &'static str,
    tokens: u64,
    reserved: Option<i64>,
    cost: Option<i64>,
    may_be_gone: bool,
}

const MINUTES: i64 = 3 * 24 * 60;

fn step() -> impl Strategy<Value = Step> {
    // Many of one hour come in the same microsecond.
    let minute = prop_oneof![0..MINUTES, (0..MINUTES / 60).prop_map(|hour| hour * 60)];
    let begin = (minute, 0..3_u8, 0..2_u8, prop::option::of(0..1000_i64));
    let settle = (any::<prop::sample::Index>(), any::<bool>(), prop::option::of(0..1000_i64), 0..100_u64);
    prop_oneof![
        8 => begin.prop_map(|(minute, key, model, reserved)| Step::Begin { minute, key, model, reserved }),
        8 => settle.prop_map(|(which, failed, cost, tokens)| Step::Settle { which, failed, cost, tokens }),
        1 => Just(Step::Assume),
        3 => (0..MINUTES + 8 * 60).prop_map(|minute| Step::RollUp { minute }),
        2 => (0..80_i64, 1..6_u8).prop_map(|(hour, steps)| Step::Prune { hour, steps }),
        3 => (0..MINUTES, 0..MINUTES).prop_map(|(since, until)| Step::Ask { since, until }),
    ]
}

fn at(minute: i64) -> Timestamp {
    "2026-03-01T00:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_mins(minute)
}

fn prompt_of(model: &str) -> String {
    format!("prompt-{model}@1")
}

/// All have the same last digits, by which the store tells those of one microsecond apart.
fn named(id: usize) -> Arc<str> {
    format!("{id}00").into()
}

fn begin(id: usize, plain: &Plain) -> Entry {
    Entry::Begin(Arc::new(beginning(id, plain)))
}

fn beginning(id: usize, plain: &Plain) -> Begin {
    let common = Common::new(&Facts {
        key: &plain.key,
        project: &format!("of-{}", plain.key),
        prompt: &prompt_of(&plain.model),
        operation: "chat".into(),
        provider: "p",
        model: &plain.model,
        ..Facts::default()
    });
    Begin { id: named(id), at: at(plain.minute), common: Arc::new(common), reserved: plain.reserved.map(Usd) }
}

fn settle(id: usize, plain: &Plain) -> Entry {
    // Every second one is read from its line.
    let of = match id % 2 {
        0 => Of::Begun(Arc::new(beginning(id, plain))),
        _ => Of::Line { id: named(id), began: Some(at(plain.minute)) },
    };
    Entry::Settle(Box::new(Settle {
        of,
        at: at(MINUTES),
        by: None,
        outcome: if plain.outcome == "answered" { Outcome::Answered } else { Outcome::Failed },
        status: 200,
        usage: Usage { input: plain.tokens, cached: plain.tokens / 2, output: plain.tokens * 2, ..Usage::default() },
        source: Source::Reported,
        cost: plain.cost.map(Usd),
        first_byte_ms: None,
        total_ms: 1,
    }))
}

/// The sums by one request after the other.
fn expected(all: &[Plain], by: UsageBy, span: (i64, i64)) -> Vec<UsageRow> {
    let mut rows: BTreeMap<String, UsageRow> = BTreeMap::new();
    for plain in all.iter().filter(|plain| (span.0..span.1).contains(&plain.minute)) {
        let group = match by {
            UsageBy::Key => plain.key.clone(),
            UsageBy::Model => format!("p/{}", plain.model),
            UsageBy::Day => at(plain.minute).to_string()[..10].to_owned(),
            UsageBy::Project => format!("of-{}", plain.key),
            UsageBy::Team => String::new(),
            UsageBy::Provider => "p".to_owned(),
            UsageBy::Operation => "chat".to_owned(),
            UsageBy::Prompt => prompt_of(&plain.model),
            UsageBy::Tool | UsageBy::Service => unreachable!("no request here is a tool's or a service's"),
        };
        let row = rows.entry(group.clone()).or_insert(UsageRow {
            group,
            requests: 0,
            failed: 0,
            input_tokens: 0,
            cached_tokens: 0,
            output_tokens: 0,
            cost_nano_usd: 0,
            unpriced: 0,
            running: 0,
        });
        row.requests += 1;
        row.failed += u64::from(!["answered", "open"].contains(&plain.outcome));
        row.running += u64::from(plain.outcome == "open");
        row.unpriced += u64::from(plain.outcome != "open" && plain.cost.is_none());
        row.input_tokens += plain.tokens;
        row.cached_tokens += plain.tokens / 2;
        row.output_tokens += plain.tokens * 2;
        row.cost_nano_usd += plain.cost.unwrap_or(0);
    }
    let mut rows: Vec<UsageRow> = rows.into_values().collect();
    rows.sort_by(|a, b| b.cost_nano_usd.cmp(&a.cost_nano_usd).then_with(|| a.group.cmp(&b.group)));
    rows
}

const ALL: [UsageBy; 8] =
    [UsageBy::Key, UsageBy::Model, UsageBy::Day, UsageBy::Project, UsageBy::Team, UsageBy::Provider, UsageBy::Operation, UsageBy::Prompt];

async fn check(store: &Sqlite, all: &[Plain], (since, until): (i64, i64)) {
    for by in ALL {
        let query = UsageQuery { by, since: Some(at(since)), until: Some(at(until)), ..UsageQuery::default() };
        assert_eq!(store.usage(&query).await.unwrap(), expected(all, by, (since, until)), "{by:?} {since} {until}");
    }
    let of_one: Vec<Plain> = all.iter().filter(|plain| plain.key == "k0").cloned().collect();
    let query = UsageQuery {
        by: UsageBy::Model,
        key: Some("k0".to_owned()),
        since: Some(at(since)),
        until: Some(at(until)),
        ..UsageQuery::default()
    };
    assert_eq!(store.usage(&query).await.unwrap(), expected(&of_one, UsageBy::Model, (since, until)));
    for by in ALL {
        let project = Some("of-k0".to_owned());
        let query = UsageQuery { by, project, since: Some(at(since)), until: Some(at(until)), ..UsageQuery::default() };
        assert_eq!(store.usage(&query).await.unwrap(), expected(&of_one, by, (since, until)), "{by:?} of a project {since} {until}");
    }
    let past = Past { window: Window { begins: at(since), ends: at(MINUTES) }, until: None, models: None };
    let used = store.used(&AccountId::Project("of-k0".into()), &past).await.unwrap();
    let since: Vec<&Plain> = of_one.iter().filter(|plain| plain.minute >= since).collect();
    let counts = |plain: &Plain| if plain.outcome == "open" { plain.reserved } else { plain.cost }.unwrap_or(0);
    assert_eq!((used.requests, used.cost.0), (since.len() as u64, since.iter().map(|plain| counts(plain)).sum()));
}

async fn run(steps: Vec<Step>) {
    let folder = tempfile::tempdir().unwrap();
    let store = Sqlite::open(&folder.path().join("keyward.db")).await.unwrap();
    let mut all: Vec<Plain> = Vec::new();
    let mut pruned_to = 0;
    for step in steps {
        match step {
            Step::Begin { minute, key, model, reserved } => {
                let (key, model) = (format!("k{key}"), format!("m{model}"));
                all.push(Plain { minute, key, model, outcome: "open", tokens: 0, reserved, cost: None, may_be_gone: false });
                let entry = begin(all.len() - 1, all.last().unwrap());
                store.apply("n", &[entry], Cursor::default()).await.unwrap();
            }
            Step::Settle { which, failed, cost, tokens } if !all.is_empty() => {
                let id = which.index(all.len());
                let plain = &mut all[id];
                if ["open", "assumed"].contains(&plain.outcome) && !plain.may_be_gone {
                    (plain.outcome, plain.cost, plain.tokens) = (if failed { "failed" } else { "answered" }, cost, tokens);
                    let entry = settle(id, plain);
                    store.apply("n", &[entry], Cursor::default()).await.unwrap();
                }
            }
            Step::Settle { .. } => {}
            Step::Assume => {
                store.assume_open(at(MINUTES)).await.unwrap();
                for plain in all.iter_mut().filter(|plain| plain.outcome == "open") {
                    (plain.outcome, plain.cost) = ("assumed", plain.reserved);
                }
            }
            Step::RollUp { minute } => while store.roll_up(at(minute)).await.unwrap() {},
            Step::Prune { hour, steps } => {
                pruned_to = pruned_to.max(hour * 60);
                for _ in 0..steps {
                    store.prune(at(hour * 60)).await.unwrap();
                }
                all.iter_mut()
                    .filter(|plain| plain.minute < hour * 60 && plain.outcome != "open")
                    .for_each(|plain| plain.may_be_gone = true);
            }
            Step::Ask { since, until } => {
                let since = if since < pruned_to { since / 60 * 60 } else { since };
                let until = if until < pruned_to { until / 60 * 60 } else { until };
                check(&store, &all, (since, until.max(since))).await;
            }
        }
    }
    check(&store, &all, (0, MINUTES)).await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn sums_are_those_of_the_requests_however_they_are_rolled_up_and_pruned(steps in prop::collection::vec(step(), 1..60)) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(run(steps));
    }
}

#[tokio::test]
async fn sums_of_more_than_a_number_holds_are_the_most_that_it_holds() {
    let folder = tempfile::tempdir().unwrap();
    let store = Sqlite::open(&folder.path().join("keyward.db")).await.unwrap();
    let (key, model) = ("k0".to_owned(), "m".to_owned());
    let plain = Plain { minute: 1, key, model, outcome: "answered", tokens: 1, reserved: None, cost: Some(3), may_be_gone: false };
    let put = async |ids: std::ops::Range<usize>, amount: i64| {
        let entries: Vec<Entry> = ids.flat_map(|id| [begin(id, &plain), settle(id, &plain)]).collect();
        store.apply("n", &entries, Cursor::default()).await.unwrap();
        // As a version wrote them that believed more.
        sqlx::query("UPDATE ledger SET cost = ?1, input = ?1 WHERE cost = 3").bind(amount).execute(&store.writes).await.unwrap();
    };
    let check = async |cost: i64, requests: u64| {
        for by in ALL {
            let rows = store.usage(&UsageQuery { by, ..UsageQuery::default() }).await.unwrap();
            let [UsageRow { cost_nano_usd, input_tokens, requests: counted, .. }] = rows[..] else { panic!("{rows:?}") };
            assert_eq!((cost_nano_usd, input_tokens, counted), (cost, cost as u64, requests), "{by:?}");
        }
        let past = Past { window: Window { begins: at(0), ends: at(MINUTES) }, until: None, models: None };
        let used = store.used(&AccountId::Project("of-k0".into()), &past).await.unwrap();
        assert_eq!((used.cost.0, used.input, used.requests), (cost, cost as u64, requests));
    };
    put(0..2, (1 << 61) + 1).await;
    check((1 << 62) + 2, 2).await;
    put(2..4, i64::MAX).await;
    check(i64::MAX, 4).await;
    while store.roll_up(at(MINUTES)).await.unwrap() {}
    check(i64::MAX, 4).await;
    assert_eq!(store.prune(at(MINUTES)).await.unwrap(), 4);
    put(4..6, i64::MAX).await;
    check(i64::MAX, 6).await;
    assert_eq!(store.prune(at(MINUTES)).await.unwrap(), 2);
    while store.roll_up(at(MINUTES)).await.unwrap() {}
    check(i64::MAX, 6).await;
}

#[tokio::test]
async fn pages_follow_each_other_without_a_gap_where_many_began_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let store = std::sync::Arc::new(Sqlite::open(&folder.path().join("keyward.db")).await.unwrap());
    let plain = Plain {
        minute: 1,
        key: "=k\"".to_owned(),
        model: "m".to_owned(),
        outcome: "answered",
        tokens: 1,
        reserved: None,
        cost: Some(3),
        may_be_gone: false,
    };
    let entries: Vec<Entry> = (0..2500).flat_map(|id| [begin(id, &plain), settle(id, &plain)]).collect();
    store.apply("n", &entries, Cursor::default()).await.unwrap();
    for format in [Format::Csv, Format::JsonLines] {
        let mut export = Some(Export::new(store.clone(), RowsQuery::default(), format));
        let mut text = String::new();
        while let Some(page) = export {
            let (more, left) = page.next().await.unwrap();
            text.push_str(&more);
            export = left;
        }
        let head = usize::from(format == Format::Csv);
        let mut lines: Vec<&str> = text.lines().skip(head).collect();
        lines.sort_unstable();
        lines.dedup();
        assert_eq!(lines.len(), 2500);
        let (key, name) = if head == 1 { ("\"'=k\"\"\"", "id,began,ended,node,key,") } else { ("\"key\":\"=k\\\"\"", "{\"id\":") };
        assert!(lines[0].contains(key) && text.starts_with(name), "{}", &text[..400]);
    }
    let (_, left) = Export::new(store.clone(), RowsQuery::default(), Format::Csv).next().await.unwrap();
    while store.prune(at(MINUTES)).await.unwrap() > 0 {}
    let cut = left.unwrap().next().await.err().unwrap();
    assert!(cut.to_string().contains("ledger.keep"), "what was deleted meanwhile is no end: {cut}");
}
