//! Malformed requests and misbehaving upstreams: each gets a clear error, and the gateway serves on with its memory where it was.

#![allow(clippy::unwrap_used)]

#[path = "malformed/expect.rs"]
mod expect;
#[path = "malformed/keys.rs"]
mod keys;
#[path = "malformed/requests.rs"]
mod requests;
mod support;
#[path = "malformed/upstreams.rs"]
mod upstreams;

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use expect::Case;
use support::{Gateway, exchange};

/// No answer may take longer than all the gateway's own deadlines and attempts together.
const DEADLINE: Duration = Duration::from_secs(10);
const LANES: usize = 8;
const MAY_GROW_KIB: u64 = 20 << 10;

#[test]
fn malformed_requests_get_clear_errors() {
    let folder = tempfile::tempdir().unwrap();
    let [data, other_data, providers] = ["data", "other", "providers"].map(|name| folder.path().join(name));
    std::fs::create_dir(&providers).unwrap();
    let keys = keys::Keys::make(&data, &other_data);
    let key = &keys.good;
    let (of_upstreams, credentials) = upstreams::start(&providers, key);
    let mut variables = vec![
        ("KEYWARD_PROVIDERS", providers.to_str().unwrap()),
        ("KEYWARD_LIMITS_BODY_MIB", "1"),
        ("KEYWARD_LIMITS_BODY_TIMEOUT", "500ms"),
        ("KEYWARD_LIMITS_BODY_DEADLINE", "1s"),
        ("KEYWARD_LIMITS_HEADER_TIMEOUT", "500ms"),
        ("KEYWARD_UPSTREAM_FIRST_BYTE_TIMEOUT", "1s"),
        ("KEYWARD_UPSTREAM_IDLE_TIMEOUT", "500ms"),
    ];
    variables.extend(credentials.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    let gateway = Gateway::start(&data, &variables);

    let good = requests::chat(key, "simulator/echo", false);
    for _ in 0..10 {
        assert_eq!(gateway.send(&good).status, 200);
    }
    let resident_before = gateway.resident();

    let cases: Vec<Case> = [
        requests::broken_json(key),
        requests::wrong_types(key),
        requests::not_there(key),
        requests::wrong_bodies(key),
        requests::bad_http(key),
        keys.cases(),
        of_upstreams,
    ]
    .into_iter()
    .flatten()
    .collect();
    assert!(cases.len() >= 80, "{} cases", cases.len());
    let mut secrets = keys.all();
    secrets.push(upstreams::CREDENTIAL.to_owned());
    let mut mismatches = send_all(&gateway, &cases, &secrets);
    let again = upstreams::cases_of_resting_credentials(key);
    mismatches.extend(send_all(&gateway, &again, &secrets));
    let mut must = |name: &str, expected: &str, seen: String, is_so: bool| {
        if !is_so {
            mismatches.push((name.to_owned(), expected.to_owned(), seen));
        }
    };
    let health = gateway.send(b"GET /healthz HTTP/1.1\r\nhost: gateway\r\n\r\n");
    must("afterwards: healthz", "200", health.status.to_string(), health.status == 200);
    let answer = gateway.send(&good).text();
    must("afterwards: a good request", "an echo", answer.clone(), answer.contains("[Keyward simulator] You said: hi"));
    if let (Some(before), Some(after)) = (resident_before, gateway.resident()) {
        println!("resident memory: {before} KiB after the first good requests, {after} KiB at the end");
        must("afterwards: memory", "20 MiB more at the most", format!("{before} KiB, then {after} KiB"), after <= before + MAY_GROW_KIB);
    }

    println!("{} malformed requests, {} mismatches", cases.len() + again.len(), mismatches.len());
    let table: String = mismatches.iter().map(|(name, expected, seen)| format!("\n| {name} | {expected} | {seen} |")).collect();
    assert!(mismatches.is_empty(), "\n| case | expected | seen |\n|---|---|---|{table}\n");
}

/// Sends all cases, a few at a time, and returns those that ended otherwise than they should.
fn send_all(gateway: &Gateway, cases: &[Case], secrets: &[String]) -> Vec<(String, String, String)> {
    let next = AtomicUsize::new(0);
    let mismatches = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..LANES {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let ended = exchange(gateway.address, &case.bytes, case.then, DEADLINE);
                    if let Some(seen) = case.expected.mismatch(&ended, secrets) {
                        mismatches.lock().unwrap().push((case.name.clone(), case.expected.shown(), seen));
                    }
                }
            });
        }
    });
    mismatches.into_inner().unwrap()
}
