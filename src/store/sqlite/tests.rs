#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use super::*;
use crate::admin::keys::{self, NewKeyOrder};
use crate::admin::meant::Meant;
use crate::key::format::NewKey;
use crate::key::presented::Presented;
use crate::key::{KeyId, KeyText, Keyring, Kind, Pepper, Reason};
use crate::ledger::Ledger;
use crate::ledger::common::{Common, Facts};
use crate::ledger::drain::Drain;
use crate::ledger::record::{Begin, Of, Outcome, Settle, Source, Usage};
use crate::quota::{AccountId, Accounts, Limits, alert};
use crate::service::{Standing, Subscription, Subscriptions};
use crate::store::audit::{self, Actor, End};
use crate::store::{
    AuditStore, Changes, Claim, CredentialStore, Cursor, Entry, Group, GroupStore, IdempotencyStore, KeptCredential, KeyStore, LedgerStore,
    RowsQuery, SubscriptionStore, UsageBy, UsageQuery,
};

#[tokio::test]
async fn a_key_reads_back_and_its_changes_are_numbered() {
    let folder = tempfile::tempdir().unwrap();
    let store = Sqlite::open(&folder.path().join("keyward.db")).await.unwrap();
    let pepper = Pepper::load_or_create(&folder.path().join("server.secret")).unwrap();
    let limits = Limits { models: vec!["openai/*".to_owned()], rates: vec!["tokens/minute=9".parse().unwrap()], ..Limits::default() };
    let order = NewKeyOrder { limits: limits.clone(), ..NewKeyOrder::new("n", Kind::Test) };
    let created = keys::create(&store, &store, &pepper, order, &Actor::Gateway).await.unwrap();
    let id = KeyId::parse(&created.view.id).unwrap();

    let Changes { newest: first, keys: changed, .. } = store.changes(0).await.unwrap();
    assert_eq!(changed, [id]);
    let record = store.key(id).await.unwrap().unwrap();
    assert_eq!((record.kind, record.name.as_str(), &record.limits), (Kind::Test, "n", &limits));
    assert!(pepper.hash(&created.key).matches(&record.hash));

    keys::revoke(&store, (&created.view.id, &Meant::ANY), &Actor::Gateway).await.unwrap();
    let Changes { newest: second, keys: changed, .. } = store.changes(first).await.unwrap();
    assert!(second > first && changed == [id]);
    assert!(store.changes(second).await.unwrap().keys.is_empty());
    assert!(store.key(id).await.unwrap().unwrap().revoked.is_some());
}

fn note(action: &'static str) -> audit::Note {
    audit::Note { actor: Actor::Gateway, action, subject: "s".to_owned(), detail: serde_json::json!({ "name": "new" }) }
}

/// A keyring over a store whose ledger stands still.
fn keyring(folder: &Path, store: Sqlite) -> Keyring {
    let (store, ledger) = (Arc::new(store), Arc::new(Ledger::open(&folder.join("ledger")).unwrap()));
    let drain = Drain::new(ledger, store.clone()).handle();
    let accounts = Accounts::new(store.clone(), store.clone(), Some(drain), alert::channel(store.clone(), None).0);
    Keyring::new(Pepper::load_or_create(&folder.join("server.secret")).unwrap(), store, Arc::new(accounts), Duration::from_secs(60))
}

#[tokio::test]
async fn the_audit_list_can_only_grow_and_shows_where_it_was_changed() {
    let folder = tempfile::tempdir().unwrap();
    let (store, id, _) = with_a_key(folder.path()).await;
    keys::revoke(&store, (id.as_str(), &Meant::ANY), &Actor::CommandLine("ann".to_owned())).await.unwrap();
    store.note(&note("test")).await.unwrap();
    let mut entries = store.audit(None, 10).await.unwrap();
    entries.reverse();
    let told: Vec<(i64, &str, &str)> = entries.iter().map(|entry| (entry.number, entry.actor.as_str(), entry.action.as_str())).collect();
    assert_eq!(told, [(1, "gateway", "key.create"), (2, "cli:ann", "key.revoke"), (3, "gateway", "test")]);
    assert_eq!(store.audit(Some(3), 1).await.unwrap()[0].number, 2);
    let verified = audit::verify(&store).await.unwrap();
    assert_eq!((verified.entries, verified.first_broken, verified.newest_hash.as_ref()), (3, None, Some(&entries[2].hash)));
    for change in ["UPDATE audit SET actor = 'cli:bob'", "DELETE FROM audit"] {
        let refused = sqlx::query(change).execute(&store.writes).await.unwrap_err().to_string();
        assert!(refused.contains("can only grow"), "{refused}");
    }
    let changes = [
        ("DROP TRIGGER audit_is_not_changed", None),
        ("DROP TRIGGER audit_is_not_cut", None),
        ("UPDATE audit SET actor = 'cli:bob' WHERE number = 2", Some(2)),
        ("DELETE FROM audit WHERE number = 2", Some(3)),
        ("UPDATE audit SET detail = '{}' WHERE number = 1", Some(1)),
    ];
    for (change, first_broken) in changes {
        sqlx::query(change).execute(&store.writes).await.unwrap();
        assert_eq!(audit::verify(&store).await.unwrap().first_broken, first_broken, "{change}");
    }
}

/// Takes entries off the end of the list, as whoever can write the file does.
async fn cut(store: &Sqlite, after: i64) {
    sqlx::query("DROP TRIGGER IF EXISTS audit_is_not_cut").execute(&store.writes).await.unwrap();
    sqlx::query("DELETE FROM audit WHERE number > ?").bind(after).execute(&store.writes).await.unwrap();
}

#[tokio::test]
async fn an_audit_list_whose_end_was_cut_off_shows_it_also_when_it_has_gone_on() {
    let folder = tempfile::tempdir().unwrap();
    let open = async || Sqlite::open(&folder.path().join("keyward.db")).await.unwrap().sealed_under(b"a secret").await.unwrap();
    let store = open().await;
    for action in ["one", "two", "three"] {
        store.note(&note(action)).await.unwrap();
    }
    let verified = audit::verify(&store).await.unwrap();
    assert!(verified.is_whole() && verified.entries == 3, "{verified:?}");
    cut(&store, 2).await;
    let verified = audit::verify(&store).await.unwrap();
    assert_eq!((verified.end, verified.first_broken), (End::Cut, None));
    store.note(&note("four")).await.unwrap();
    let verified = audit::verify(&store).await.unwrap();
    assert_eq!((verified.end, verified.first_broken, verified.entries), (End::Whole, Some(4), 3), "the gap stays");
    cut(&store, 0).await;
    assert_eq!(audit::verify(&open().await).await.unwrap().end, End::Cut, "all of it was");
}

#[tokio::test]
async fn the_end_of_an_audit_list_is_made_by_nobody_without_the_secret() {
    let folder = tempfile::tempdir().unwrap();
    let bare = Sqlite::open(&folder.path().join("keyward.db")).await.unwrap();
    bare.note(&note("before")).await.unwrap();
    let seal = async |secret: &[u8]| Sqlite::open(&folder.path().join("keyward.db")).await.unwrap().sealed_under(secret).await.unwrap();
    let store = seal(b"a secret").await;
    let actions = async || store.audit(None, 10).await.unwrap().into_iter().map(|entry| entry.action).collect::<Vec<_>>();
    assert_eq!(actions().await, ["audit.seal", "before"], "a list that was there says from when on its end is kept");
    assert!(audit::verify(&store).await.unwrap().is_whole());
    bare.note(&note("added")).await.unwrap();
    assert_eq!(audit::verify(&store).await.unwrap().end, End::Forged, "its chain is right, and its end is not");
    cut(&store, 2).await;
    sqlx::query("DELETE FROM audit_head").execute(&store.writes).await.unwrap();
    assert_eq!(audit::verify(&store).await.unwrap().end, End::Missing);
    store.note(&note("after")).await.unwrap();
    assert_eq!(actions().await, ["after", "audit.seal", "audit.seal", "before"], "that it was away stays in the list");
    assert!(audit::verify(&store).await.unwrap().is_whole());
    sqlx::query("UPDATE audit_head SET number = 2").execute(&store.writes).await.unwrap();
    assert_eq!(audit::verify(&store).await.unwrap().end, End::Forged);
    let other = seal(b"another").await;
    assert_eq!(audit::verify(&other).await.unwrap().end, End::Forged);
}

#[tokio::test]
async fn accounts_with_limits_are_listed_in_pages_without_reading_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let store = Sqlite::open(&folder.path().join("keyward.db")).await.unwrap();
    let pepper = Pepper::load_or_create(&folder.path().join("server.secret")).unwrap();
    let some = [
        Limits { rates: vec!["requests/day=1".parse().unwrap()], ..Limits::default() },
        Limits { budgets: vec!["1/day".parse().unwrap()], ..Limits::default() },
        Limits { parallel: std::num::NonZeroU32::new(1), ..Limits::default() },
        Limits { models: vec![r#""rates":[{"#.to_owned()], ..Limits::default() },
        Limits::default(),
    ];
    let mut limited = vec!["gateway".to_owned()];
    for (place, limits) in some.iter().enumerate() {
        let order = NewKeyOrder { limits: limits.clone(), ..NewKeyOrder::new("n", Kind::Live) };
        let made = keys::create(&store, &store, &pepper, order, &Actor::Gateway).await.unwrap();
        let id = made.view.id.clone();
        // A successor has its predecessor's limits, and they are one account.
        keys::rotate(&store, &pepper, (&id, &Meant::ANY), Duration::from_secs(60), &Actor::Gateway).await.unwrap();
        if place < 3 {
            limited.push(id);
        }
    }
    let group = Group { limits: some[0].clone(), ..Group::new(AccountId::Gateway, "") };
    store.put_group(&group, None, &note("test")).await.unwrap();
    store.put_group(&Group::new(AccountId::Team("t".into()), ""), None, &note("test")).await.unwrap();
    limited.sort();
    let (mut listed, mut after) = (Vec::new(), None);
    loop {
        let page = store.limited(after.as_deref(), 3).await.unwrap();
        listed.extend(page.iter().map(|(id, _)| id.to_string()));
        after = listed.last().cloned();
        if page.len() < 3 {
            break;
        }
    }
    assert_eq!(listed, limited);
    let plan: Vec<(i64, i64, i64, String)> = sqlx::query_as(sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {}", super::keys::LIMITED)))
        .bind(None::<String>)
        .bind(3)
        .fetch_all(&store.reads)
        .await
        .unwrap();
    assert!(plan.iter().any(|(.., step)| step.contains("keys USING INDEX limited_keys")), "{plan:?}");
}

#[tokio::test]
async fn a_request_is_first_once_and_its_answer_is_kept_for_a_while() {
    let folder = tempfile::tempdir().unwrap();
    let store = Sqlite::open(&folder.path().join("keyward.db")).await.unwrap();
    let (past, future) = (Timestamp::UNIX_EPOCH, Timestamp::now() + Duration::from_secs(60));
    let claim = |scope, request: &'static [u8], oldest| store.claim(scope, "n", request, oldest);
    assert_eq!(claim("a", b"1", past).await.unwrap(), Claim::First);
    assert_eq!(claim("a", b"1", past).await.unwrap(), Claim::InDoubt);
    store.answered("a", "n", Some(b"sealed")).await.unwrap();
    let done = claim("a", b"1", past).await.unwrap();
    assert!(matches!(done, Claim::Done(answer, taken) if answer == b"sealed" && (Timestamp::now().duration_since(taken)).as_secs() < 60));
    assert_eq!(claim("a", b"2", past).await.unwrap(), Claim::Another);
    assert_eq!(claim("b", b"2", past).await.unwrap(), Claim::First, "another's names are their own");
    store.answered("b", "n", None).await.unwrap();
    assert_eq!(claim("b", b"3", past).await.unwrap(), Claim::First, "a name that is given back is free");
    assert_eq!(claim("a", b"2", future).await.unwrap(), Claim::First, "what is old is forgotten");
}

#[tokio::test]
async fn tables_of_another_version_are_left_as_they_are_by_whoever_must() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keyward.db");
    let (store, id, _) = with_a_key(folder.path()).await;
    assert!(Sqlite::open_as_it_is(&path).await.unwrap().key(id).await.unwrap().is_some());
    let version = async || version(&store.reads).await.unwrap();
    let newest = version().await;
    // The last can be made a second time; without the list nobody can tell.
    sqlx::query("DELETE FROM _sqlx_migrations WHERE version = (SELECT MAX(version) FROM _sqlx_migrations)")
        .execute(&store.writes)
        .await
        .unwrap();
    let older = version().await;
    assert!(older < newest);
    let told = Sqlite::open_as_it_is(&path).await.err().unwrap().to_string();
    assert!(told.contains("not known to be of this version"), "{told}");
    assert_eq!(version().await, older, "and nothing is changed");
    Sqlite::open(&path).await.unwrap();
    assert_eq!(version().await, newest);
    sqlx::query("ALTER TABLE _sqlx_migrations RENAME TO gone").execute(&store.writes).await.unwrap();
    assert!(Sqlite::open_as_it_is(&path).await.is_err());
}

/// A store in `folder` with one key, its id and its text.
async fn with_a_key(folder: &Path) -> (Sqlite, KeyId, String) {
    let store = Sqlite::open(&folder.join("keyward.db")).await.unwrap();
    let pepper = Pepper::load_or_create(&folder.join("server.secret")).unwrap();
    let order = NewKeyOrder::new("n", Kind::Live);
    let created = keys::create(&store, &store, &pepper, order, &Actor::Gateway).await.unwrap();
    (store, KeyId::parse(&created.view.id).unwrap(), created.key)
}

#[tokio::test]
async fn a_key_that_is_gone_is_not_made_again_by_a_change() {
    let folder = tempfile::tempdir().unwrap();
    let (store, id, _) = with_a_key(folder.path()).await;
    let record = store.key(id).await.unwrap().unwrap();
    sqlx::query("DELETE FROM keys").execute(&store.writes).await.unwrap();
    let newest = store.changes(0).await.unwrap().newest;
    assert!(!store.put_keys(&[(record, note("key.update"))]).await.unwrap());
    assert!(store.keys().await.unwrap().is_empty());
    assert_eq!(store.changes(0).await.unwrap().newest, newest);
}

#[tokio::test]
async fn what_another_process_has_changed_is_not_undone_by_a_change_of_what_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let (store, id, _) = with_a_key(folder.path()).await;
    let pepper = Pepper::load_or_create(&folder.path().join("server.secret")).unwrap();
    let stale = store.key(id).await.unwrap().unwrap();
    keys::revoke(&store, (id.as_str(), &Meant::ANY), &Actor::Gateway).await.unwrap();
    let (newest, entries) = (store.changes(0).await.unwrap().newest, store.audit(None, 10).await.unwrap().len());
    assert!(!store.put_keys(&[(stale, note("key.update"))]).await.unwrap());
    assert!(store.key(id).await.unwrap().unwrap().revoked.is_some());
    assert_eq!((store.changes(0).await.unwrap().newest, store.audit(None, 10).await.unwrap().len()), (newest, entries));

    // Of two changes at one time both hold, and of a rotation both halves.
    let key = keys::create(&store, &store, &pepper, NewKeyOrder::new("m", Kind::Live), &Actor::Gateway).await.unwrap().view.id;
    let (one, other) = tokio::join!(
        keys::rotate(&store, &pepper, (&key, &Meant::ANY), Duration::from_secs(60), &Actor::Gateway),
        keys::revoke(&store, (&key, &Meant::ANY), &Actor::Gateway)
    );
    other.unwrap();
    let record = store.key(KeyId::parse(&key).unwrap()).await.unwrap().unwrap();
    assert!(record.revoked.is_some());
    assert_eq!(record.rotated.is_some(), one.is_ok());
    assert_eq!(store.keys().await.unwrap().len(), 2 + usize::from(one.is_ok()));

    let kept = KeptCredential {
        name: "c".into(),
        provider: "p".into(),
        sealed: vec![1],
        weight: 1,
        disabled: false,
        created: crate::store::now(),
    };
    assert!(store.put_credential(&kept, None, &note("test")).await.unwrap());
    let disabled = KeptCredential { disabled: true, ..kept.clone() };
    assert!(store.put_credential(&disabled, Some(&kept), &note("test")).await.unwrap());
    assert!(!store.put_credential(&KeptCredential { weight: 2, ..kept.clone() }, Some(&kept), &note("test")).await.unwrap());
    assert!(!store.remove_credential(&kept, &note("test")).await.unwrap());
    assert!(store.remove_credential(&disabled, &note("test")).await.unwrap());
    assert!(!store.put_credential(&kept, Some(&disabled), &note("test")).await.unwrap(), "what was removed stays so");
    assert!(store.credentials().await.unwrap().is_empty());

    let team = Group::new(AccountId::Team("a".into()), "a");
    assert!(store.put_group(&team, None, &note("test")).await.unwrap());
    assert!(!store.put_group(&team, None, &note("test")).await.unwrap());
    let disabled = Group { disabled: true, ..store.group(&team.id).await.unwrap().unwrap() };
    let was = store.group(&team.id).await.unwrap();
    assert!(store.put_group(&disabled, was.as_ref(), &note("test")).await.unwrap());
    assert!(!store.put_group(&was.clone().unwrap(), was.as_ref(), &note("test")).await.unwrap());
    assert!(store.group(&team.id).await.unwrap().unwrap().disabled);
}

#[tokio::test]
async fn a_rotation_that_cannot_be_read_is_not_taken_for_none() {
    let folder = tempfile::tempdir().unwrap();
    let (store, id, text) = with_a_key(folder.path()).await;
    for broken in ["successor = 'no key', grace_ends = 0", "successor = id, grace_ends = NULL", "successor = NULL, grace_ends = 0"] {
        sqlx::query(sqlx::AssertSqlSafe(format!("UPDATE keys SET {broken}"))).execute(&store.writes).await.unwrap();
        let refused = store.key(id).await.unwrap_err().to_string();
        assert!(refused.contains(&id.to_string()) && refused.contains("broken"), "{refused}");
    }
    // Whoever has the key is refused, and hears that it is not the key's fault.
    let keyring = keyring(folder.path(), store);
    assert_eq!(keyring.prove(Presented(&text), None).await.unwrap_err(), Reason::StoreDown);
}

#[tokio::test]
async fn requests_of_the_first_migration_stay_with_their_reservations() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keyward.db");
    let pool = at_version(&path, 1).await;
    let insert = "INSERT INTO requests (id, node, key, operation, provider, model, began, outcome, reserved, cost)
        VALUES ('a', 'n', 'k', 'chat', 'p', 'm', 1, 'open', 500, NULL), ('b', 'n', 'k', 'chat', 'p', 'm', 1, 'answered', 500, 7)";
    sqlx::query(insert).execute(&pool).await.unwrap();
    pool.close().await;

    let store = Sqlite::open(&path).await.unwrap();
    assert_eq!(store.assume_open(Timestamp::now()).await.unwrap(), 1);
    let query = UsageQuery { by: UsageBy::Key, ..UsageQuery::default() };
    let rows = store.usage(&query).await.unwrap();
    assert_eq!((rows.len(), rows[0].requests, rows[0].cost_nano_usd), (1, 2, 507));
}

#[tokio::test]
async fn requests_of_the_fifteenth_migration_are_told_as_before() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keyward.db");
    let pool = at_version(&path, 15).await;
    let insert = "INSERT INTO requests (began, id, node, key, project, team, prompt, operation, provider, model, source_address, reserved, ended,
            outcome, status, input, cached, cache_write, output, reasoning, input_audio, output_audio, source, cost, first_byte_ms, total_ms)
        VALUES (1, 'a7f', 'n', 'k', 'j', 'g', 'p@1', 'chat', 'p', 'm', '192.0.2.7', 9, 5, 'answered', 200, 1, 2, 3, 4, 5, 6, 7, 'reported', 8, 1, 2),
            (1, 'b7f', 'n', 'k', 'j', 'g', 'p@1', 'chat', 'p', 'm', '192.0.2.7', 9, 6, 'answered', 200, 2, 0, 0, 4, 0, 0, 0, 'reported', 3, 1, 2),
            (2, 'c7f', 'n', 'k', '', '', '', 'chat', 'p', 'm', NULL, 9, 6, 'assumed', 0, 0, 0, 0, 0, 0, 0, 0, 'estimated', 9, NULL, NULL),
            (3, 'd7f', 'o', 'l', '', '', '', 'tool', 'p', 'ü', NULL, NULL, NULL, 'open', 0, 0, 0, 0, 0, 0, 0, 0, 'none', NULL, NULL, NULL)";
    sqlx::query(insert).execute(&pool).await.unwrap();
    let told = "SELECT GROUP_CONCAT(told) FROM (SELECT JSON_ARRAY(began, id, node, key, project, team, prompt, operation, provider, model,
            source_address, reserved, ended, outcome, status, input, cached, cache_write, output, reasoning, input_audio, output_audio, source,
            cost, first_byte_ms, total_ms) AS told
        FROM requests ORDER BY began, id)";
    let told = async |pool| sqlx::query_scalar::<_, String>(told).fetch_one(pool).await.unwrap();
    let before = told(&pool).await;
    pool.close().await;

    let store = Sqlite::open(&path).await.unwrap();
    assert_eq!(told(&store.reads).await, before);
    assert_eq!(count(&store, "SELECT COUNT(*) FROM commons").await, 3, "two have all of it in common");
    // What its ledger tells again, it tells of the same rows.
    let again = ["a7f", "b7f"].map(|id| begun_at(Timestamp::from_microsecond(1).unwrap(), id, "m"));
    store.apply("n", &again.clone().map(Entry::Begin), Cursor::default()).await.unwrap();
    store.apply("n", &again.map(|begin| answered(Of::Begun(begin), 1)), Cursor::default()).await.unwrap();
    assert_eq!(told(&store.reads).await, before);
    assert_eq!(store.assume_open(Timestamp::now()).await.unwrap(), 1, "whichever node it is of, as of a store that was put back elsewhere");
    assert_eq!(count(&store, "SELECT COUNT(*) FROM requests WHERE outcome = 'assumed' AND model = 'ü' AND ended > 5").await, 1);
}

#[tokio::test]
async fn what_requests_have_in_common_is_kept_once_and_for_as_long_as_one_has_it() {
    let folder = tempfile::tempdir().unwrap();
    let store = Sqlite::open(&folder.path().join("keyward.db")).await.unwrap();
    let commons = async || count(&store, "SELECT COUNT(*) FROM commons").await;
    // More models than are looked for at once, each of two requests.
    let begins: Vec<_> = (0..300).map(|n| begun(&n.to_string(), &format!("m{}", n / 2))).collect();
    let begun: Vec<_> = begins.iter().cloned().map(Entry::Begin).collect();
    let ended: Vec<_> = begins.iter().map(|begin| answered(Of::Begun(Arc::clone(begin)), 0)).collect();
    store.apply("n", &begun, Cursor::default()).await.unwrap();
    assert_eq!(commons().await, 150);
    for _ in 0..2 {
        store.apply("n", &ended, Cursor::default()).await.unwrap();
        assert_eq!(commons().await, 300, "open and answered");
    }
    let models = store.usage(&UsageQuery { by: UsageBy::Model, ..UsageQuery::default() }).await.unwrap();
    assert!(models.len() == 150 && models.iter().all(|row| row.requests == 2 && row.running == 0));
    assert_eq!(store.sweep().await.unwrap(), 150, "none is open any more");
    assert_eq!(store.sweep().await.unwrap(), 0, "behind the last one it begins anew");
    assert_eq!((store.sweep().await.unwrap(), commons().await), (0, 150));
    assert_eq!(store.prune(Timestamp::now()).await.unwrap(), 300);
    assert_eq!((store.sweep().await.unwrap(), commons().await), (0, 150), "it was behind the last one");
    assert_eq!((store.sweep().await.unwrap(), commons().await), (150, 0));
    let models = store.usage(&UsageQuery { by: UsageBy::Model, ..UsageQuery::default() }).await.unwrap();
    assert!(models.len() == 150 && models.iter().all(|row| row.requests == 2), "its sums stay");
}

#[tokio::test]
async fn it_is_known_until_when_requests_are_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let store = Sqlite::open(&folder.path().join("keyward.db")).await.unwrap();
    let at = |minute: i64| Timestamp::from_second(minute * 60).unwrap();
    for (id, minute) in [("a7f", 70), ("b7f", 190), ("c7f", 310)] {
        let begun = begun_at(at(minute), id, "m");
        store.apply("n", &[Entry::Begin(Arc::clone(&begun)), answered(Of::Begun(begun), 1)], Cursor::default()).await.unwrap();
    }
    assert_eq!(store.pruned_until(None, None).await.unwrap(), None);
    while store.prune(at(240)).await.unwrap() > 0 {}
    let spans = [
        (None, None),
        (Some(119), None),
        (Some(240), None),
        (Some(120), Some(180)),
        (None, Some(181)),
        (None, Some(180)),
        (None, Some(60)),
    ];
    let until = [Some(240), Some(240), None, None, Some(240), Some(120), None];
    for ((since, before), until) in spans.into_iter().zip(until) {
        assert_eq!(store.pruned_until(since.map(at), before.map(at)).await.unwrap(), until.map(at), "{since:?} {before:?}");
    }
}

#[tokio::test]
async fn requests_that_came_at_once_have_a_row_each_whatever_their_ids() {
    let folder = tempfile::tempdir().unwrap();
    let store = Sqlite::open(&folder.path().join("keyward.db")).await.unwrap();
    let line = |id: &str| Of::Line { id: id.into(), began: Some(Timestamp::UNIX_EPOCH) };
    let rows = async || {
        let rows = rows::page(&store.reads, &RowsQuery::default(), None).await.unwrap();
        rows.into_iter().map(|row| (row.id, row.outcome, row.input_tokens)).collect::<Vec<_>>()
    };
    let all = ["a7f", "b7f", "c7f", "d80"].map(|id| begun(id, "m"));
    let row = |id: &str, outcome: &str, input| (id.to_owned(), outcome.to_owned(), input);
    store.apply("n", &all.clone().map(Entry::Begin), Cursor::default()).await.unwrap();
    let open = ["a7f", "d80", "b7f", "c7f"].map(|id| row(id, "open", 0));
    assert_eq!(rows().await, open, "the first is where it belongs, and so is whoever belongs behind it");
    // One ends in another batch of the run that began it, one after that, and both are told again.
    for _ in 0..2 {
        store.apply("n", &[answered(Of::Begun(Arc::clone(&all[1])), 2)], Cursor::default()).await.unwrap();
        store.apply("n", &[answered(line("c7f"), 3)], Cursor::default()).await.unwrap();
        store.apply("n", &all.clone().map(Entry::Begin), Cursor::default()).await.unwrap();
    }
    let ended = [row("a7f", "open", 0), row("d80", "open", 0), row("b7f", "answered", 2), row("c7f", "answered", 3)];
    assert_eq!(rows().await, ended);
    // More than a microsecond has places for.
    let many: Vec<_> = (0..300).map(|n| Entry::Begin(begun(&format!("m{n}-7f"), "m"))).collect();
    store.apply("n", &many, Cursor::default()).await.unwrap();
    assert_eq!(rows().await.len(), 304);
    assert!(store.roll_up(Timestamp::now()).await.unwrap());
    store.apply("n", &[Entry::Begin(begun("z7f", "m"))], Cursor::default()).await.unwrap();
    let models = store.usage(&UsageQuery { by: UsageBy::Model, ..UsageQuery::default() }).await.unwrap();
    assert_eq!((models.len(), models[0].requests, models[0].running, models[0].input_tokens), (1, 305, 303, 5));
}

#[tokio::test]
async fn a_row_stays_while_one_that_came_at_the_same_time_is_open() {
    let folder = tempfile::tempdir().unwrap();
    let store = Sqlite::open(&folder.path().join("keyward.db")).await.unwrap();
    let [first, second] = ["a7f", "b7f"].map(|id| begun(id, "m"));
    store.apply("n", &[Entry::Begin(Arc::clone(&first)), Entry::Begin(Arc::clone(&second))], Cursor::default()).await.unwrap();
    store.apply("n", &[answered(Of::Begun(first), 1)], Cursor::default()).await.unwrap();
    assert_eq!(store.prune(Timestamp::now()).await.unwrap(), 0);
    store.apply("n", &[answered(Of::Begun(second), 1)], Cursor::default()).await.unwrap();
    assert_eq!(store.prune(Timestamp::now()).await.unwrap(), 2);
    let models = store.usage(&UsageQuery { by: UsageBy::Model, ..UsageQuery::default() }).await.unwrap();
    assert_eq!((models.len(), models[0].requests, models[0].running, models[0].input_tokens), (1, 2, 0, 2));
}

#[tokio::test]
async fn a_row_that_is_moved_into_the_next_hour_is_in_its_sums() {
    let folder = tempfile::tempdir().unwrap();
    let store = Sqlite::open(&folder.path().join("keyward.db")).await.unwrap();
    let last = Timestamp::from_microsecond(3_599_999_999).unwrap();
    let requests = async || store.usage(&UsageQuery { by: UsageBy::Model, ..UsageQuery::default() }).await.unwrap()[0].requests;
    for (count, id) in (1..).zip(["aff", "bff", "cff"]) {
        let begin = begun_at(last, id, "m");
        store.apply("n", &[Entry::Begin(Arc::clone(&begin)), answered(Of::Begun(begin), 1)], Cursor::default()).await.unwrap();
        assert_eq!(requests().await, count);
        while store.roll_up(Timestamp::now()).await.unwrap() {}
        assert_eq!(requests().await, count);
    }
    assert_eq!(count(&store, "SELECT COUNT(*) FROM rolled WHERE span = 1").await, 2);
    while store.prune(Timestamp::now()).await.unwrap() > 0 {}
    assert_eq!((requests().await, count(&store, "SELECT COUNT(*) FROM ledger").await), (3, 0));
}

#[tokio::test]
async fn a_transaction_that_sqlite_undid_by_itself_leaves_the_store_writable() {
    let folder = tempfile::tempdir().unwrap();
    let store = Sqlite::open(&folder.path().join("keyward.db")).await.unwrap();
    for pool in [&store.writes, &store.changes] {
        // More often than there are connections.
        for _ in 0..3 {
            let mut transaction = pool.begin_with("BEGIN IMMEDIATE").await.unwrap();
            // As SQLite does it where the disk is full.
            let undone = "INSERT OR ROLLBACK INTO secret (digest) VALUES (NULL)";
            assert!(sqlx::query(undone).execute(&mut *transaction).await.is_err());
        }
    }
    let begin = begun("a", "m");
    store.apply("n", &[Entry::Begin(Arc::clone(&begin)), answered(Of::Begun(begin), 1)], Cursor::default()).await.unwrap();
    AuditStore::note(&store, &note("key.create")).await.unwrap();
    assert_eq!(count(&store, "SELECT COUNT(*) FROM ledger").await, 1);
}

/// A request's beginning, at the same time for all.
fn begun(id: &str, model: &str) -> Arc<Begin> {
    begun_at(Timestamp::UNIX_EPOCH, id, model)
}

fn begun_at(at: Timestamp, id: &str, model: &str) -> Arc<Begin> {
    let facts = Facts { key: "k", operation: "chat".into(), provider: "p", model, ..Facts::default() };
    Arc::new(Begin { id: id.into(), at, common: Arc::new(Common::new(&facts)), reserved: None })
}

/// A request's end.
fn answered(of: Of, input: u64) -> Entry {
    Entry::Settle(Box::new(Settle {
        of,
        at: Timestamp::now(),
        by: None,
        outcome: Outcome::Answered,
        status: 200,
        usage: Usage { input, ..Usage::default() },
        source: Source::Reported,
        cost: None,
        first_byte_ms: None,
        total_ms: 1,
    }))
}

/// A new store as it was when a migration was the last one.
async fn at_version(path: &Path, version: i64) -> SqlitePool {
    let options = SqliteConnectOptions::new().filename(path).create_if_missing(true);
    let pool = SqlitePoolOptions::new().connect_with(options).await.unwrap();
    let mut old = sqlx::migrate!("src/store/sqlite/migrations");
    old.migrations = old.migrations.iter().filter(|migration| migration.version <= version).cloned().collect();
    old.run(&pool).await.unwrap();
    pool
}

async fn count(store: &Sqlite, statement: &'static str) -> i64 {
    sqlx::query_scalar(statement).fetch_one(&store.reads).await.unwrap()
}

#[tokio::test]
async fn keys_of_the_third_migration_read_back_with_their_limits_and_families() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keyward.db");
    let pool = at_version(&path, 3).await;
    let new_id = |_| KeyText::parse(NewKey::generate(Kind::Live).unwrap().expose()).unwrap().id().to_string();
    let ids: Vec<String> = (0..4).map(new_id).collect();
    let limited = r#"{"models":["openai/*"],"requests_per_minute":5,"tokens_per_minute":900,"parallel":2}"#;
    let free = r#"{"models":[],"requests_per_minute":5,"tokens_per_minute":null,"parallel":null}"#;
    // The first was rotated twice; the last stands alone.
    let rows = [(0, limited, Some(1)), (1, limited, Some(2)), (2, limited, None), (3, free, None)];
    for (at, limits, successor) in rows {
        let insert = "INSERT INTO keys (id, hash, kind, name, owner, limits, created, disabled, successor, grace_ends, changed)
            VALUES (?, ?, 'live', 'n', 'o', ?, 1, 0, ?, ?, 1)";
        let successor: Option<&String> = successor.map(|place: usize| &ids[place]);
        let query = sqlx::query(insert).bind(&ids[at]).bind(vec![7_u8; 32]).bind(limits).bind(successor).bind(successor.map(|_| 9));
        query.execute(&pool).await.unwrap();
    }
    pool.close().await;

    let store = Sqlite::open(&path).await.unwrap();
    let limited = Limits {
        models: vec!["openai/*".to_owned()],
        rates: vec!["requests/minute=5".parse().unwrap(), "tokens/minute=900".parse().unwrap()],
        parallel: std::num::NonZeroU32::new(2),
        ..Limits::default()
    };
    let free = Limits { rates: vec!["requests/minute=5".parse().unwrap()], ..Limits::default() };
    for (id, family, limits) in [(0, 0, &limited), (1, 0, &limited), (2, 0, &limited), (3, 3, &free)] {
        let record = store.key(KeyId::parse(&ids[id]).unwrap()).await.unwrap().unwrap();
        assert_eq!((record.family.as_str(), &record.limits), (ids[family].as_str(), limits), "{id}");
    }
    assert_eq!(store.keys().await.unwrap().len(), 4);
}

#[tokio::test]
async fn nothing_of_a_key_is_in_the_file_but_its_id() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keyward.db");
    let store = Sqlite::open(&path).await.unwrap();
    let pepper = Pepper::load_or_create(&folder.path().join("server.secret")).unwrap();
    let order = NewKeyOrder::new("n", Kind::Live);
    let created = keys::create(&store, &store, &pepper, order, &Actor::Gateway).await.unwrap();
    store.reads.close().await;
    let secret = created.key.split_once(&created.view.id).unwrap().1;
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        assert!(memchr::memmem::find(&bytes, &secret.as_bytes()[..8]).is_none());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_first_starts_at_once_both_open() {
    for _ in 0..10 {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keyward.db");
        let open = || {
            tokio::spawn({
                let path = path.clone();
                async move { Sqlite::open(&path).await }
            })
        };
        let (first, second) = tokio::join!(open(), open());
        first.unwrap().unwrap();
        second.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_subscription_is_asked_for_once_and_decided_and_whoever_follows_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(Sqlite::open(&folder.path().join("keyward.db")).await.unwrap());
    let follower = Subscriptions::open(store.clone()).await.unwrap();
    let family = KeyId::parse("0123456789ab").unwrap();
    let asked =
        Subscription { service: "weather".to_owned(), family, standing: Standing::Pending, asked: crate::store::now(), decided: None };
    assert!(store.add_subscription(&asked, &note("subscription.ask")).await.unwrap());
    follower.refresh().await.unwrap();
    let seen = follower.version();
    assert_eq!(follower.standing("weather", family), Some(Standing::Pending));

    let approved = Subscription { standing: Standing::Approved, decided: Some(crate::store::now()), ..asked.clone() };
    store.put_subscription(&approved, &note("subscription.approve")).await.unwrap();
    assert!(!store.add_subscription(&asked, &note("subscription.ask")).await.unwrap(), "asking again changes nothing");
    follower.refresh().await.unwrap();
    assert_eq!((follower.standing("weather", family), follower.version() > seen), (Some(Standing::Approved), true));
    assert_eq!(store.subscriptions("weather").await.unwrap(), vec![approved]);
    assert_eq!((store.subscriptions("other").await.unwrap(), follower.standing("other", family)), (vec![], None));
    let actions: Vec<String> = store.audit(None, 9).await.unwrap().into_iter().map(|entry| entry.action).collect();
    assert_eq!(actions, ["subscription.approve", "subscription.ask"]);
}
