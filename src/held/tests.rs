#![allow(clippy::unwrap_used)]

use super::*;
use crate::admin::keys::{self, NewKeyOrder};
use crate::admin::meant::Meant;
use crate::key::Pepper;
use crate::store::audit::Actor;
use crate::store::sqlite::Sqlite;

fn held(key: KeyId, kind: Kind, id: &str, provider: &str) -> Held {
    Held { kind, id: id.to_owned(), key, provider: provider.to_owned(), created: Timestamp::from_second(1).unwrap() }
}

async fn new_key(store: &Sqlite, pepper: &Pepper) -> KeyId {
    let order = NewKeyOrder::new("n", crate::key::Kind::Live);
    KeyId::parse(&keys::create(store, store, pepper, order, &Actor::Gateway).await.unwrap().view.id).unwrap()
}

#[tokio::test]
async fn what_a_key_made_is_its_own_and_its_successors() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(Sqlite::open(&folder.path().join("keyward.db")).await.unwrap());
    let pepper = Pepper::load_or_create(&folder.path().join("server.secret")).unwrap();
    let (first, other) = (new_key(&store, &pepper).await, new_key(&store, &pepper).await);
    let (keeper, _writer) = Keeper::new(store.clone());
    keeper.keep(held(first, Kind::File, "file-1", "a")).await.unwrap();
    // Two providers may give out one id: neither takes the other's away.
    keeper.keep(held(other, Kind::File, "file-1", "b")).await.unwrap();
    let (fresh, _writer) = Keeper::new(store.clone());
    for keeper in [&keeper, &fresh] {
        assert_eq!(keeper.holder(first, Kind::File, "file-1").await.unwrap().as_deref(), Some("a"));
        assert_eq!(keeper.holder(other, Kind::File, "file-1").await.unwrap().as_deref(), Some("b"));
        assert_eq!(keeper.holder(other, Kind::Batch, "file-1").await.unwrap(), None);
        assert!(keeper.is_anyones(Kind::File, "file-1").await.unwrap() && !keeper.is_anyones(Kind::Batch, "file-1").await.unwrap());
    }

    let rotated = keys::rotate(&*store, &pepper, (first.as_str(), &Meant::ANY), Duration::from_secs(3600), &Actor::Gateway).await.unwrap();
    let successor = KeyId::parse(&rotated.view.id).unwrap();
    assert_eq!(fresh.holder(successor, Kind::File, "file-1").await.unwrap().as_deref(), Some("a"));
    assert_eq!(fresh.all(successor, Kind::File).await.unwrap(), [held(first, Kind::File, "file-1", "a")]);

    keeper.let_go(first, Kind::File, "file-1").await.unwrap();
    assert_eq!(keeper.holder(first, Kind::File, "file-1").await.unwrap(), None);
    assert_eq!(keeper.all(other, Kind::File).await.unwrap().len(), 1);

    keeper.keep(Held { created: Timestamp::from_second(9).unwrap(), ..held(other, Kind::File, "file-9", "b") }).await.unwrap();
    let before = Timestamp::from_second(5).unwrap();
    assert_eq!((store.forget(before).await.unwrap(), store.forget(before).await.unwrap()), (1, 0));
    assert_eq!(keeper.all(other, Kind::File).await.unwrap()[0].id, "file-9");
}

#[tokio::test]
async fn what_is_noted_is_known_at_once_and_written_before_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(Sqlite::open(&folder.path().join("keyward.db")).await.unwrap());
    let pepper = Pepper::load_or_create(&folder.path().join("server.secret")).unwrap();
    let key = new_key(&store, &pepper).await;
    let (keeper, writer) = Keeper::new(store.clone());
    let ids: Vec<String> = (0..600).map(|i| format!("resp_{i}")).collect();
    ids.iter().for_each(|id| keeper.note(held(key, Kind::Response, id, "a")));
    assert_eq!(keeper.holder(key, Kind::Response, "resp_599").await.unwrap().as_deref(), Some("a"));
    let (stop, stopped) = watch::channel(true);
    writer.run(stopped).await;
    drop(stop);
    assert_eq!(store.held_by(key, Kind::Response).await.unwrap().len(), ids.len());
}
