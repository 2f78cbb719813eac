//! A webhook that takes nothing for a while.

#![allow(clippy::unwrap_used)]

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::extract::State;
use http::{HeaderMap, StatusCode};

use super::*;
use crate::key::KeyId;
use crate::quota::window::Period;
use crate::store::sqlite::Sqlite;

/// Refuses so many calls, and takes all after them.
#[derive(Default)]
struct Receiver {
    refused: usize,
    calls: AtomicUsize,
    taken: Mutex<HashSet<String>>,
}

impl Receiver {
    async fn start(refused: usize) -> (Arc<Receiver>, Webhook) {
        let receiver = Arc::new(Receiver { refused, ..Receiver::default() });
        let take = |State(receiver): State<Arc<Receiver>>, headers: HeaderMap| async move {
            if receiver.calls.fetch_add(1, Ordering::Relaxed) < receiver.refused {
                return StatusCode::SERVICE_UNAVAILABLE;
            }
            receiver.taken.lock().unwrap().insert(headers["webhook-id"].to_str().unwrap().to_owned());
            StatusCode::OK
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let router = axum::Router::new().fallback(take).with_state(Arc::clone(&receiver));
        tokio::spawn(async move { axum::serve(listener, router).await });
        (receiver, Webhook::new(&url, &Secret::new("k".repeat(20))).unwrap())
    }
}

/// Of another key each.
fn alert(number: usize) -> Alert {
    let id = KeyId::parse(&format!("{number:0>12}")).unwrap();
    let budget = "1/ever".parse::<Budget>().unwrap();
    let (at, window) = (Timestamp::now(), Period::Ever.window(Timestamp::now()));
    Alert { account: AccountId::Key(id), budget, percent: 50, spent: Usd(500_000_000), window, at }
}

#[tokio::test]
async fn an_alert_is_told_until_it_is_taken_and_memory_is_bounded() {
    let many = WAITING + INSISTED_ON + 200;
    for (alerts, refused) in [(1, 40), (many, 2 * many)] {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(Sqlite::open(&folder.path().join("keyward.db")).await.unwrap());
        let (receiver, webhook) = Receiver::start(refused).await;
        let (sender, told) = channel(store.clone(), Some(webhook));
        let told = Alerts { pauses: [1, 50].map(Duration::from_millis), ..told };
        let (stop, stopped) = watch::channel(false);
        let running = tokio::spawn(told.run(stopped));
        (0..alerts).for_each(|number| sender.tell(alert(number)));
        let is_told = async {
            while receiver.taken.lock().unwrap().len() < alerts || !store.waiting_alerts(1).await.unwrap().is_empty() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), is_told).await.unwrap();
        assert!(receiver.calls.load(Ordering::Relaxed) >= alerts + refused);
        stop.send_replace(true);
        running.await.unwrap();
    }
}

#[test]
fn what_has_no_room_waits_in_the_store_alone() {
    let mut waiting = Waiting::default();
    for number in 0..2 * WAITING {
        waiting.add(Call::of(format!("{number}|budget"), String::new()));
    }
    assert_eq!((waiting.calls.len(), waiting.known.len(), waiting.is_more), (WAITING, WAITING, true));
}
