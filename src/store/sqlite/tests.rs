#![allow(clippy::unwrap_used)]

use std::num::NonZeroU32;

use super::*;
use crate::admin::keys::{self, NewKeyOrder};
use crate::key::{KeyId, Kind, Limits, Pepper};
use crate::store::KeyStore;

#[tokio::test]
async fn a_key_reads_back_and_its_changes_are_numbered() {
    let folder = tempfile::tempdir().unwrap();
    let store = Sqlite::open(&folder.path().join("keyward.db")).await.unwrap();
    let pepper = Pepper::load_or_create(&folder.path().join("server.secret")).unwrap();
    let limits = Limits { models: vec!["openai/*".to_owned()], tokens_per_minute: NonZeroU32::new(9), ..Limits::default() };
    let order = NewKeyOrder { name: "n".to_owned(), owner: "o".to_owned(), kind: Kind::Test, limits: limits.clone(), expires: None };
    let created = keys::create(&store, &pepper, order).await.unwrap();
    let id = KeyId::parse(&created.view.id).unwrap();

    let (first, changed) = store.key_changes(0).await.unwrap();
    assert_eq!(changed, [id]);
    let record = store.key(id).await.unwrap().unwrap();
    assert_eq!((record.kind, record.name.as_str(), &record.limits), (Kind::Test, "n", &limits));
    assert!(pepper.hash(&created.key).matches(&record.hash));

    keys::revoke(&store, &created.view.id).await.unwrap();
    let (second, changed) = store.key_changes(first).await.unwrap();
    assert!(second > first && changed == [id]);
    assert!(store.key_changes(second).await.unwrap().1.is_empty());
    assert!(store.key(id).await.unwrap().unwrap().revoked.is_some());
}

#[tokio::test]
async fn nothing_of_a_key_is_in_the_file_but_its_id() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keyward.db");
    let store = Sqlite::open(&path).await.unwrap();
    let pepper = Pepper::load_or_create(&folder.path().join("server.secret")).unwrap();
    let order = NewKeyOrder { name: "n".to_owned(), owner: String::new(), kind: Kind::Live, limits: Limits::default(), expires: None };
    let created = keys::create(&store, &pepper, order).await.unwrap();
    store.pool.close().await;
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
