//! Subscriptions in memory, over a store that takes its time.

use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use tokio::sync::Notify;

use crate::key::KeyId;
use crate::service::Subscriptions;
use crate::service::{Standing, Subscription};
use crate::store::audit::Note;
use crate::store::{Answer, SubscriptionStore};

/// One subscription, whose second reading waits once it has read.
#[derive(Default)]
struct Slow {
    newest: Mutex<(i64, Vec<Subscription>)>,
    readings: Mutex<u32>,
    has_read: Notify,
    may_end: Notify,
}

impl Slow {
    fn put(&self, change: i64, standing: Standing) {
        let (family, asked) = (KeyId::parse(KEY).unwrap(), Timestamp::UNIX_EPOCH);
        let subscription = Subscription { service: "weather".to_owned(), family, standing, asked, decided: None };
        *self.newest.lock().unwrap() = (change, vec![subscription]);
    }
}

impl SubscriptionStore for Slow {
    fn subscriptions_since(&self, _: i64) -> Answer<'_, (i64, Vec<Subscription>)> {
        Box::pin(async {
            let (read, reading) = (self.newest.lock().unwrap().clone(), {
                let mut readings = self.readings.lock().unwrap();
                *readings += 1;
                *readings
            });
            if reading == 2 {
                self.has_read.notify_one();
                self.may_end.notified().await;
            }
            Ok(read)
        })
    }

    fn subscriptions<'a>(&'a self, _: &'a str) -> Answer<'a, Vec<Subscription>> {
        unreachable!("a refresh reads what changed alone")
    }

    fn add_subscription<'a>(&'a self, _: &'a Subscription, _: &'a Note) -> Answer<'a, bool> {
        unreachable!("a refresh reads what changed alone")
    }

    fn put_subscription<'a>(&'a self, _: &'a Subscription, _: &'a Note) -> Answer<'a, ()> {
        unreachable!("a refresh reads what changed alone")
    }

    fn end_subscriptions<'a>(&'a self, _: &'a str, _: Timestamp, _: &'a Note) -> Answer<'a, ()> {
        unreachable!("a refresh reads what changed alone")
    }
}

const KEY: &str = "0123456789AB";

#[tokio::test]
async fn an_older_reading_takes_no_newer_ones_place() {
    let store = Arc::new(Slow::default());
    let subscriptions = Arc::new(Subscriptions::open(Arc::clone(&store) as Arc<dyn SubscriptionStore>).await.unwrap());
    let refresh = || {
        let subscriptions = Arc::clone(&subscriptions);
        tokio::spawn(async move { subscriptions.refresh().await })
    };
    store.put(1, Standing::Approved);
    let older = refresh();
    store.has_read.notified().await;
    store.put(2, Standing::Denied);
    let newer = refresh();
    // It goes as far as it can before the older one ends.
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    store.may_end.notify_one();
    older.await.unwrap().unwrap();
    newer.await.unwrap().unwrap();
    assert_eq!(subscriptions.standing("weather", KeyId::parse(KEY).unwrap()), Some(Standing::Denied));
    assert_eq!(subscriptions.version(), 2);
}
