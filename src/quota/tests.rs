#![allow(clippy::unwrap_used)]

use std::num::NonZeroU32;
use std::sync::Arc;

use http::StatusCode;
use jiff::Timestamp;

use super::account::{Account, Current};
use super::alert::{self, AlertSender};
use super::limits::ParallelByModel;
use super::meters::Past;
use super::*;
use crate::clock::Look;
use crate::error::Refusal;
use crate::key::KeyId;
use crate::store::sqlite::Sqlite;

fn id() -> AccountId {
    AccountId::Key(KeyId::parse("abcdefgh2345").unwrap())
}

/// Alerts that nobody reads.
async fn sender() -> AlertSender {
    let folder = tempfile::tempdir().unwrap();
    let store = Sqlite::open(&folder.path().join("keyward.db")).await.unwrap();
    alert::channel(Arc::new(store), None).0
}

fn account(id: AccountId, limits: Limits, used: Used, alerts: &AlertSender) -> Arc<Account> {
    let meters = Arc::new(Meters::new(&limits, None, |_| used));
    Arc::new(Account::new(id, Current { limits, meters, ..Current::default() }, alerts.clone()))
}

async fn chain(limits: Limits) -> Chain {
    Arc::from([account(id(), limits, Used::default(), &sender().await)])
}

fn rates(texts: &[&str]) -> Limits {
    Limits { rates: texts.iter().map(|text| text.parse().unwrap()).collect(), ..Limits::default() }
}

fn budgets(texts: &[&str]) -> Limits {
    Limits { budgets: texts.iter().map(|text| text.parse().unwrap()).collect(), ..Limits::default() }
}

fn tokens(input: u64) -> Need<'static> {
    Need { input, ..Need::NOTHING }
}

fn costs(nanos: i64) -> Need<'static> {
    Need { cost: Ok(Usd(nanos)), ..Need::NOTHING }
}

fn used(input: u64, nanos: i64) -> Used {
    Used { requests: 1, input, output: 0, cost: Usd(nanos) }
}

const ALL: &dyn Fn(&str) -> bool = &|_| true;

fn exceeded(chain: &Chain, need: &Need<'_>) -> Exceeded {
    admit(chain, need).unwrap_err().exceeded
}

/// What is used and held of an account's only budget, in nano-dollars.
fn stands(chain: &Chain) -> (u64, u64) {
    let current = chain[0].current();
    let (_, tally) = current.meters.budgets().next().unwrap();
    let state = tally.state();
    (state.used, state.held)
}

#[tokio::test]
async fn requests_a_minute_are_counted_and_the_wait_is_told() {
    let chain = chain(rates(&["requests/minute=2"])).await;
    for _ in 0..2 {
        admit(&chain, &Need::NOTHING).unwrap().settle(&used(0, 0), ALL);
    }
    let refusal = Refusal::from(admit(&chain, &Need::NOTHING).unwrap_err());
    let wait = refusal.retry_after.unwrap();
    assert!(wait <= Duration::from_secs(30) && wait > Duration::from_secs(25), "{wait:?}");
    assert_eq!(refusal.status, StatusCode::TOO_MANY_REQUESTS);
    assert!(refusal.headers.iter().any(|(name, value)| name == "x-ratelimit-remaining-requests" && value == "0"));
}

#[tokio::test]
async fn parallel_requests_are_given_back_when_dropped() {
    let chain = chain(Limits { parallel: NonZeroU32::new(1), ..Limits::default() }).await;
    let first = admit(&chain, &Need::NOTHING).unwrap();
    assert!(matches!(exceeded(&chain, &Need::NOTHING), Exceeded::Parallel(_)));
    drop(first);
    admit(&chain, &Need::NOTHING).unwrap().settle(&used(5, 0), ALL);
    assert_eq!(chain[0].current().meters.running(), 0);
}

#[tokio::test]
async fn requests_at_a_time_to_some_models_are_counted_by_those_that_may_go_there() {
    let Ok(Parallel::ByModel(limit)) = "1@openai/*".parse() else { panic!("not of some models") };
    let limits = Limits { parallel_by_model: vec![limit.clone()], ..Limits::default() };
    let (openai, other) = (|glob: &str| limits::names(glob, "openai/gpt-5"), |glob: &str| limits::names(glob, "groq/openai/gpt-oss-120b"));
    let (to_openai, to_other) = (Need { touches: &openai, ..Need::NOTHING }, Need { touches: &other, ..Need::NOTHING });
    let chain = chain(limits.clone()).await;
    let first = admit(&chain, &to_openai).unwrap();
    let refusal = Refusal::from(admit(&chain, &to_openai).unwrap_err());
    assert_eq!((refusal.code, refusal.status), ("parallel_limit_exceeded", StatusCode::TOO_MANY_REQUESTS));
    assert_eq!(refusal.message, "This key may run 1 requests at a time for openai/*: wait until one of them has ended.");
    let told = &standing(&chain)[0];
    assert_eq!((told.limit.as_str(), told.most, told.left, told.held), ("parallel=1@openai/*", 1, 0, 1));
    drop(admit(&chain, &to_other).unwrap());
    drop(admit(&chain, &Need::NOTHING).unwrap());
    drop(admit(&chain, &Need { is_part: true, ..to_openai }).unwrap());
    // Another number for the same models counts the one that runs.
    let more = ParallelByModel { most: NonZeroU32::new(2).unwrap(), ..limit };
    let limits = Limits { parallel_by_model: vec![more], ..limits };
    let meters = Arc::new(Meters::new(&limits, Some(&chain[0].current().meters), |_| Used::default()));
    chain[0].change(Current { limits, meters, ..Current::default() });
    let second = admit(&chain, &to_openai).unwrap();
    assert!(matches!(exceeded(&chain, &to_openai), Exceeded::Parallel(limit) if limit.to_string() == "2@openai/*"));
    first.settle(&used(5, 0), ALL);
    drop(second);
    assert_eq!(chain[0].current().meters.parallels().map(|(_, running)| running).collect::<Vec<_>>(), [0]);
}

#[test]
fn requests_at_a_time_are_read_as_they_are_written() {
    for text in ["20", "4@openai/*"] {
        assert_eq!(text.parse::<Parallel>().unwrap().to_string(), text);
    }
    for text in ["0", "-1", "many", "0@openai/*", "@openai/*"] {
        assert!(text.parse::<Parallel>().unwrap_err().contains("write it as 20 or 4@openai/*"), "{text}");
    }
    assert!("4@".parse::<Parallel>().is_err() && "5/day@".parse::<Budget>().is_err() && "requests/minute=5@".parse::<Rate>().is_err());
    let limit = ParallelByModel { most: NonZeroU32::MIN, models: "openai/*".to_owned() };
    assert!(Limits { parallel_by_model: vec![limit.clone(), limit], ..Limits::default() }.check().is_err());
}

#[tokio::test]
async fn a_reservation_is_refunded_to_what_was_used() {
    let chain = chain(rates(&["tokens/minute=1000"])).await;
    let permit = admit(&chain, &tokens(900)).unwrap();
    assert!(matches!(exceeded(&chain, &tokens(900)), Exceeded::Rate(..)));
    permit.settle(&used(10, 0), ALL);
    drop(admit(&chain, &tokens(900)).unwrap());
    assert!(matches!(exceeded(&chain, &tokens(1001)), Exceeded::TooLarge(..)));
}

#[tokio::test]
async fn more_than_reserved_is_a_debt() {
    let chain = chain(rates(&["tokens/minute=1000"])).await;
    admit(&chain, &tokens(100)).unwrap().settle(&used(1500, 0), ALL);
    let Exceeded::Rate(_, wait) = exceeded(&chain, &tokens(1)) else { panic!("not a rate") };
    assert!(wait > Duration::from_secs(25), "{wait:?}");
}

#[tokio::test]
async fn a_refusal_by_one_limit_costs_nothing_of_the_others() {
    let chain = chain(rates(&["requests/minute=1", "requests/day=2", "tokens/minute=1000"])).await;
    admit(&chain, &tokens(10)).unwrap().settle(&used(10, 0), ALL);
    for _ in 0..50 {
        assert!(matches!(exceeded(&chain, &tokens(900)), Exceeded::Rate(rate, _) if rate.per == Period::Minute));
    }
    let current = chain[0].current();
    let left: Vec<u64> = current.meters.rates().map(|(rate, counter)| counter.remaining(rate.most.get(), Look::now()).0).collect();
    assert_eq!((left[0], left[1]), (0, 1));
    assert!(left[2] >= 985, "{left:?}");
}

#[tokio::test]
async fn no_number_of_callers_passes_a_budget_and_nothing_stays_reserved() {
    let chain = chain(budgets(&["0.0001/ever"])).await;
    // 100,000 nano-dollars, 1,000 a call at the most, 700 in the end; some hang up, some fail.
    let callers: Vec<_> = (0..64u64)
        .map(|n| {
            let chain = Arc::clone(&chain);
            std::thread::spawn(move || {
                let mut spent = 0;
                for call in 0..200u64 {
                    let Ok(permit) = admit(&chain, &costs(1000)) else { continue };
                    match (n + call) % 5 {
                        0 => drop(permit),
                        _ => {
                            permit.settle(&used(1, 700), ALL);
                            spent += 700;
                        }
                    }
                }
                spent
            })
        })
        .collect();
    let spent: u64 = callers.into_iter().map(|caller| caller.join().unwrap()).sum();
    assert_eq!(stands(&chain), (spent, 0));
    assert!(spent <= 100_000 && spent > 99_000 - 1000, "{spent}");
}

#[tokio::test]
async fn a_budget_says_what_is_left_of_it() {
    let chain = chain(budgets(&["1/month"])).await;
    admit(&chain, &costs(600_000_000)).unwrap().settle(&used(1, 600_000_000), ALL);
    let refusal = Refusal::from(admit(&chain, &costs(500_000_000)).unwrap_err());
    assert_eq!((refusal.status, refusal.code), (StatusCode::PAYMENT_REQUIRED, "budget_exceeded"));
    let says = "This key has $0.400000 left of its budget of $1.000000 a month, and this request may cost up to $0.500000;";
    assert!(refusal.message.starts_with(says), "{}", refusal.message);
    let running = admit(&chain, &costs(400_000_000)).unwrap();
    let refusal = Refusal::from(admit(&chain, &costs(300_000_000)).unwrap_err());
    assert_eq!((refusal.status, refusal.code), (StatusCode::TOO_MANY_REQUESTS, "budget_reserved"), "{}", refusal.message);
    drop(running);
    let refusal = Refusal::from(admit(&chain, &Need { cost: Err(Unbounded::Price), ..Need::NOTHING }).unwrap_err());
    assert_eq!((refusal.status, refusal.code), (StatusCode::FORBIDDEN, "model_without_price"));
}

#[tokio::test]
async fn a_soft_budget_refuses_nothing_and_counts() {
    let chain = chain(budgets(&["0.001/day:soft"])).await;
    for _ in 0..3 {
        admit(&chain, &costs(1_000_000)).unwrap().settle(&used(1, 1_000_000), ALL);
    }
    drop(admit(&chain, &Need { cost: Err(Unbounded::Price), ..Need::NOTHING }).unwrap());
    assert_eq!(stands(&chain), (3_000_000, 0));
}

#[tokio::test]
async fn limits_of_some_models_count_those_that_answer() {
    let limits = Limits {
        budgets: vec!["1/ever@openai/*".parse().unwrap()],
        rates: vec!["requests/day=1@*/big".parse().unwrap()],
        ..Limits::default()
    };
    let chain = chain(limits).await;
    let either = |glob: &str| ["openai/big", "other/small"].iter().any(|name| limits::matches(glob, name));
    let small = |glob: &str| limits::matches(glob, "other/small");
    // Either may answer, so both are held; the small one does.
    let need = Need { cost: Ok(Usd(900_000_000)), touches: &either, ..Need::NOTHING };
    admit(&chain, &need).unwrap().settle(&used(1, 900_000_000), &small);
    assert_eq!(stands(&chain), (0, 0));
    drop(admit(&chain, &need).unwrap());
    drop(admit(&chain, &Need { touches: &small, cost: Ok(Usd(2_000_000_000)), ..Need::NOTHING }).unwrap());
}

#[tokio::test]
async fn every_account_of_a_key_has_to_admit_and_is_named() {
    let alerts = sender().await;
    let key = account(id(), rates(&["requests/day=100"]), Used::default(), &alerts);
    let project =
        account(AccountId::Project("bot".into()), budgets(&["1/day"]), Used { cost: Usd(999_999_999), ..Used::default() }, &alerts);
    let gateway = account(AccountId::Gateway, rates(&["requests/hour=1"]), Used::default(), &alerts);
    let chain: Chain = Arc::from([Arc::clone(&key), project, gateway]);
    let refused = admit(&chain, &costs(2)).unwrap_err();
    assert_eq!(refused.account, AccountId::Project("bot".into()));
    assert!(Refusal::from(refused).message.starts_with("The project 'bot' has $0.000000 left"));
    admit(&chain, &costs(1)).unwrap().settle(&used(1, 0), ALL);
    let refused = admit(&chain, &costs(1)).unwrap_err();
    assert!(Refusal::from(refused).message.starts_with("This gateway may send 1 requests an hour"));
    let (rate, counter) =
        key.current().meters.rates().next().map(|(rate, counter)| (rate.clone(), counter.remaining(100, Look::now()))).unwrap();
    assert_eq!(counter.0, 99, "{rate}: what the others refused cost it nothing");
}

#[tokio::test]
async fn counts_outlive_a_change_of_limits_and_begin_with_the_ledgers_past() {
    let (old, alerts) = (budgets(&["1/ever", "1/day@openai/*"]), sender().await);
    let past = Used { requests: 7, input: 70, output: 30, cost: Usd(400_000_000) };
    assert_eq!(Meters::unknown(&old, None).len(), 2);
    let account = account(id(), old, past, &alerts);
    let chain: Chain = Arc::from([Arc::clone(&account)]);
    let running = admit(&chain, &costs(100_000_000)).unwrap();
    let new = Limits { rates: vec!["tokens/day=1000".parse().unwrap()], budgets: vec!["0.55/ever".parse().unwrap()], ..Limits::default() };
    let current = account.current();
    assert_eq!(Meters::unknown(&new, Some(&current.meters)).iter().map(|past| past.window.has_end()).collect::<Vec<_>>(), [true]);
    let meters = Arc::new(Meters::new(&new, Some(&current.meters), |_| past));
    account.change(Current { limits: new, meters, ..Current::default() });
    assert_eq!(stands(&chain), (400_000_000, 100_000_000));
    assert!(matches!(exceeded(&chain, &costs(100_000_000)), Exceeded::Budget { .. }), "the lower limit holds at once");
    running.settle(&used(1, 50_000_000), ALL);
    assert_eq!(stands(&chain), (450_000_000, 0), "what began before is charged to the same count");
    assert!(matches!(exceeded(&chain, &tokens(950)), Exceeded::Rate(..)), "100 of them were used before there was a limit");
}

#[tokio::test]
async fn a_minute_goes_on_under_a_changed_limit() {
    for (most, left) in [(1000, 700), (400, 100), (200, 0)] {
        let chain = chain(rates(&["tokens/minute=600"])).await;
        admit(&chain, &tokens(300)).unwrap().settle(&used(300, 0), ALL);
        let meters = change(&chain[0], rates(&[&format!("tokens/minute={most}")]));
        let (rate, counter) = meters.rates().next().unwrap();
        let remaining = counter.remaining(rate.most.get(), Look::now()).0;
        assert!((left..=left + most / 60).contains(&remaining), "{remaining} of {most}");
    }
}

/// Other limits while requests run; what is counted anew is not loaded yet.
fn change(account: &Account, limits: Limits) -> Arc<Meters> {
    let before = Arc::clone(&account.current());
    let meters = Arc::new(Meters::unloaded(&limits, &before.meters, Timestamp::now()));
    account.change(Current { limits, meters: Arc::clone(&meters), ..Current::default() });
    meters
}

#[tokio::test]
async fn a_budget_that_is_set_while_requests_run_counts_what_they_use_and_not_what_was_reserved() {
    for limits in [Limits::default(), rates(&["requests/day=100"]), budgets(&["1/day@none"])] {
        let chain = chain(limits).await;
        let [before, meanwhile, after] = [600, 500, 400].map(|cost| admit(&chain, &costs(cost)).unwrap());
        let meters = change(&chain[0], budgets(&["1/ever"]));
        let new = admit(&chain, &costs(30)).unwrap();
        assert_eq!(meters.begin_to_load().len(), 1);
        meanwhile.settle(&used(1, 50), ALL);
        let as_it_is = |open: i64| Used { cost: Usd(open), ..Used::default() };
        assert!(!meters.load(false, |_| as_it_is(600 + 500 + 400)), "one has ended since, so the ledger may know either");
        assert_eq!(meters.begin_to_load().len(), 1);
        assert!(meters.load(false, |_| as_it_is(600 + 50 + 400)));
        assert_eq!(stands(&chain), (1050, 30));
        assert!(meters.begin_to_load().is_empty() && meters.load(false, |_| as_it_is(9)));
        before.settle(&used(1, 60), ALL);
        assert_eq!(stands(&chain), (60 + 50 + 400, 30));
        drop(new);
        after.settle(&used(1, 40), ALL);
        assert_eq!(stands(&chain), (60 + 50 + 40, 0));
        assert_eq!(chain[0].current().meters.running(), 0);
    }
}

#[tokio::test]
async fn limits_of_models_that_are_set_while_a_request_goes_from_one_to_the_other_count_it_by_who_answers() {
    let (first, last) = (|glob: &str| glob == "a", |glob: &str| glob == "b");
    let both = Limits {
        rates: ["requests/hour=100@a", "requests/hour=100@b"].map(|text| text.parse().unwrap()).into(),
        ..budgets(&["1/ever@a", "1/ever@b", "1/ever"])
    };
    // Of a row that is open the ledger has the model that it began with, and what is reserved; then the one that answered, and what it cost.
    let ledger = |model: &'static str, cost: i64| {
        move |past: &Past| if past.models.as_deref().is_none_or(|glob| glob == model) { used(0, cost) } else { Used::default() }
    };
    for ends_before_it_was_asked in [true, false] {
        let chain = chain(Limits::default()).await;
        let running = admit(&chain, &costs(900)).unwrap();
        let meters = change(&chain[0], both.clone());
        let settle = |running: Permit| running.settle_moved(&used(0, 30), &last, &first);
        let asked = || assert_eq!(meters.begin_to_load().len(), 5);
        asked();
        if ends_before_it_was_asked {
            settle(running);
            assert!(!meters.load(false, ledger("a", 900)), "the ledger may know either, of both");
            asked();
            assert!(meters.load(false, ledger("b", 30)));
        } else {
            assert!(meters.load(false, ledger("a", 900)));
            settle(running);
        }
        let spent: Vec<_> = meters.budgets().map(|(_, tally)| (tally.state().used, tally.state().held)).collect();
        assert_eq!(spent, [(0, 0), (30, 0), (30, 0)]);
        let left: Vec<_> = meters.rates().map(|(_, counter)| counter.remaining(100, Look::now()).0).collect();
        assert_eq!(left, [100, 99]);
    }
}

#[tokio::test]
async fn a_project_that_had_no_limit_counts_what_runs_when_it_gets_one() {
    let alerts = sender().await;
    let project = account(AccountId::Project("bot".into()), Limits::default(), Used::default(), &alerts);
    let chain: Chain = Arc::from([account(id(), Limits::default(), Used::default(), &alerts), Arc::clone(&project)]);
    let running = admit(&chain, &costs(500)).unwrap();
    let meters = change(&project, budgets(&["1/ever"]));
    meters.begin_to_load();
    assert!(meters.load(false, |_| Used { cost: Usd(500), ..Used::default() }));
    running.settle(&used(1, 20), ALL);
    assert_eq!(project.current().meters.budgets().next().unwrap().1.state().used, 20);
}

#[test]
fn a_clock_that_was_far_ahead_does_not_stop_a_count_for_good() {
    let far = Timestamp::now() + jiff::SignedDuration::from_hours(400 * 24);
    let tally = counter::Tally::new(Period::Hour, Period::Hour.window(far), 2);
    let state = tally.state();
    assert_eq!((state.window, state.used), (Period::Hour.window(Timestamp::now()), 2), "what was used counts on, in the hour that runs");
    let take = |most| tally.take(1, Some(most), Timestamp::now());
    assert!(take(2).is_err() && take(3).is_ok());
}

#[test]
fn a_limits_glob_names_a_model_by_all_of_its_name_or_its_own() {
    let (full, of_groq) = ("openai/gpt-4o-mini", "groq/openai/gpt-oss-120b");
    for glob in ["openai/gpt-4o-mini", "openai/*", "*", "gpt-4o-mini", "gpt-4o*", "*mini", "openai/GPT-4o-Mini", "GPT-4o*"] {
        assert!(limits::names(glob, full) && limits::names(glob, "openai/GPT-4o-mini"), "{glob}");
    }
    for (glob, name) in [("gpt-4o", full), ("anthropic/*", full), ("openai/*", of_groq), ("openai", full)] {
        assert!(!limits::names(glob, name), "{glob} {name}");
    }
    assert!(limits::names("openai/gpt-oss-120b", of_groq));
}

#[test]
fn a_limits_glob_names_an_operation_in_all_versions_or_in_one() {
    let of_second = "service/weather@2/getStation";
    for glob in ["service/weather/*", "service/weather/get*", "service/weather@2/*", "service/weather@*/getStation", "service/*"] {
        assert!(limits::names(glob, of_second), "{glob}");
    }
    for glob in ["service/weather@1/*", "service/weath/*", "service/weather@2/put*", "weather@1/getStation"] {
        assert!(!limits::names(glob, of_second), "{glob}");
    }
    assert!(limits::names("service/weather/*", "service/weather/getStation"), "as it was called before there were versions");
    assert!(!limits::names("mcp/a/*", "mcp/a@2/b"), "no tool of an MCP server has versions");
}

#[test]
fn limits_are_read_and_written_as_text() {
    for text in ["requests/minute=60", "output-tokens/day=1000000@openai/*", "input-tokens/hour=5"] {
        assert_eq!(text.parse::<Rate>().unwrap().to_string(), text);
    }
    for text in ["50/month", "0.5/day:soft", "20.000000001/ever@anthropic/*", "0/week"] {
        assert_eq!(text.parse::<Budget>().unwrap().to_string(), text);
    }
    for wrong in ["requests=60", "requests/week=1", "requests/minute=0", "words/day=1", "requests/minute=5000000000", "requests/minute"] {
        assert!(wrong.parse::<Rate>().is_err(), "{wrong}");
    }
    for wrong in ["50", "50/hour", "-1/day", "1e9/day", "2000000000/ever", "5/day:hard", "5/day@test/*:soft"] {
        assert!(wrong.parse::<Budget>().is_err(), "{wrong}");
    }
    let owed = Budget { nano_usd: crate::money::Usd(-1), ..budgets(&["1/day"]).budgets[0].clone() };
    assert_eq!(owed.to_string(), "-0.000000001/day");
    let twice = budgets(&["1/day", "2/day:soft"]);
    assert!(twice.check().unwrap_err().contains("2/day:soft"));
    let json = serde_json::to_string(&budgets(&["1/day"])).unwrap();
    assert_eq!(serde_json::from_str::<Limits>(&json).unwrap(), budgets(&["1/day"]));
}

#[tokio::test]
async fn a_limit_that_has_no_headers_tells_none_of_another() {
    let alerts = sender().await;
    let both = Limits { parallel: std::num::NonZeroU32::new(1), ..rates(&["requests/minute=60"]) };
    let chain: Chain = Arc::from([account(id(), Limits { budgets: budgets(&["1/ever"]).budgets, ..both }, Used::default(), &alerts)]);
    let told = |refused: crate::error::Refusal| refused.headers.iter().any(|(name, _)| name.as_str().starts_with("x-ratelimit-"));
    assert!(!told(admit(&chain, &costs(2_000_000_000)).unwrap_err().into()));
    let running = admit(&chain, &costs(1)).unwrap();
    let refusal: crate::error::Refusal = admit(&chain, &costs(1)).unwrap_err().into();
    assert_eq!((refusal.code, refusal.retry_after), ("parallel_limit_exceeded", Some(Duration::from_secs(1))));
    assert!(!told(refusal));
    drop(running);
}

#[tokio::test]
async fn a_threshold_is_told_once() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(Sqlite::open(&folder.path().join("keyward.db")).await.unwrap());
    let (alerts, mut told) = alert::channel(store, None);
    let chain: Chain = Arc::from([account(id(), budgets(&["1/ever"]), Used::default(), &alerts)]);
    for _ in 0..10 {
        admit(&chain, &costs(100_000_000)).unwrap().settle(&used(1, 100_000_000), ALL);
    }
    assert!(admit(&chain, &costs(1)).is_err());
    let percents: Vec<u8> = std::iter::from_fn(|| told.try_next()).map(|alert| alert.percent).collect();
    assert_eq!(percents, [50, 80, 100]);
    let window = Period::Ever.window(Timestamp::now());
    assert!(!window.has_end());
}

#[tokio::test]
async fn a_request_that_is_too_large_spends_no_budget_that_has_more_left() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(Sqlite::open(&folder.path().join("keyward.db")).await.unwrap());
    let (alerts, mut told) = alert::channel(store, None);
    let chain: Chain = Arc::from([account(id(), budgets(&["1/ever"]), Used::default(), &alerts)]);
    let mut spend = |amount: i64| {
        admit(&chain, &costs(amount)).unwrap().settle(&used(1, amount), ALL);
        assert!(admit(&chain, &costs(1_100_000_000)).is_err());
        std::iter::from_fn(|| told.try_next()).map(|alert| alert.percent).collect::<Vec<_>>()
    };
    assert_eq!(spend(0), [0; 0]);
    assert_eq!(spend(790_000_000), [50]);
    // What is left may be too little for any request: then it will never be spent to the last.
    assert_eq!(spend(100_000_000), [80, 100]);
    assert_eq!(spend(110_000_000), [0; 0]);
}

#[tokio::test]
async fn a_budget_that_is_raised_alerts_of_its_new_amount() {
    let folder = tempfile::tempdir().unwrap();
    let store = Sqlite::open(&folder.path().join("keyward.db")).await.unwrap();
    let (alerts, mut queue) = alert::channel(Arc::new(store), None);
    let mut told = || queue.waiting().iter().map(|alert| alert.percent).collect::<Vec<_>>();
    let limits = budgets(&["0.001/ever:soft"]);
    let chain: Chain = Arc::from([account(id(), limits.clone(), Used::default(), &alerts)]);
    let spend = |nanos| admit(&chain, &costs(nanos)).unwrap().settle(&used(0, nanos), ALL);
    spend(1_000_000);
    assert_eq!(told(), [50, 80, 100]);
    let change = |limits: Limits| {
        let meters = Arc::new(Meters::new(&limits, Some(&chain[0].current().meters), |_| Used::default()));
        chain[0].change(Current { limits, meters, ..Current::default() });
    };
    change(budgets(&["0.004/ever:soft"]));
    spend(1_000_000);
    assert_eq!(told(), [50], "half of the new amount");
    change(budgets(&["0.004/ever:soft", "9/ever:soft@openai/*"]));
    spend(1_500_000);
    assert_eq!(told(), [80], "what was told of the same amount is not told again");
}
