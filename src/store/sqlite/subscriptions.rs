//! The table of subscriptions to services.

use jiff::Timestamp;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::{Sqlite, keys, micros, timestamp};
use crate::key::KeyId;
use crate::service::{Standing, Subscription};
use crate::store::audit::Note;
use crate::store::{Answer, StoreError, SubscriptionStore};

const ADD: &str = "INSERT INTO subscriptions (service, family, standing, asked, decided, changed) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
    ON CONFLICT (service, family) DO UPDATE SET standing = ?3, asked = ?4, decided = ?5, changed = ?6 WHERE standing = 'ended'";
/// When it was asked for stays as it is, unless that has ended.
const PUT: &str = "INSERT INTO subscriptions (service, family, standing, asked, decided, changed) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
    ON CONFLICT (service, family) DO UPDATE SET standing = ?3, decided = ?5, changed = ?6,
    asked = CASE standing WHEN 'ended' THEN ?4 ELSE asked END";
const END: &str = "UPDATE subscriptions SET standing = 'ended', decided = ?, changed = ? WHERE service = ? AND standing <> 'ended'";

impl SubscriptionStore for Sqlite {
    fn subscriptions_since(&self, since: i64) -> Answer<'_, (i64, Vec<Subscription>)> {
        Box::pin(async move {
            let rows =
                sqlx::query("SELECT * FROM subscriptions WHERE changed > ? ORDER BY changed").bind(since).fetch_all(&self.reads).await?;
            let newest = rows.last().map(|row| row.try_get("changed")).transpose()?.unwrap_or(since);
            Ok((newest, rows.iter().map(subscription).collect::<Result<_, _>>()?))
        })
    }

    fn subscriptions<'a>(&'a self, service: &'a str) -> Answer<'a, Vec<Subscription>> {
        Box::pin(async move {
            let rows = sqlx::query("SELECT * FROM subscriptions WHERE service = ? ORDER BY family").bind(service);
            rows.fetch_all(&self.reads).await?.iter().map(subscription).collect()
        })
    }

    fn add_subscription<'a>(&'a self, subscription: &'a Subscription, note: &'a Note) -> Answer<'a, bool> {
        Box::pin(write(self, ADD, subscription, note))
    }

    fn put_subscription<'a>(&'a self, subscription: &'a Subscription, note: &'a Note) -> Answer<'a, ()> {
        Box::pin(async move { write(self, PUT, subscription, note).await.map(|_| ()) })
    }

    fn end_subscriptions<'a>(&'a self, service: &'a str, at: Timestamp, note: &'a Note) -> Answer<'a, ()> {
        Box::pin(async move {
            let mut transaction = self.change().await?;
            let changed = keys::next_change(&mut transaction).await?;
            let done = sqlx::query(END).bind(micros(at)).bind(changed).bind(service).execute(&mut *transaction).await?;
            if done.rows_affected() > 0 {
                self.append(&mut transaction, note).await?;
                transaction.commit().await?;
            }
            Ok(())
        })
    }
}

async fn write(store: &Sqlite, statement: &'static str, subscription: &Subscription, note: &Note) -> Result<bool, StoreError> {
    let mut transaction = store.change().await?;
    let changed = keys::next_change(&mut transaction).await?;
    let done = sqlx::query(statement)
        .bind(&subscription.service)
        .bind(subscription.family.to_string())
        .bind(subscription.standing.as_str())
        .bind(micros(subscription.asked))
        .bind(subscription.decided.map(micros))
        .bind(changed)
        .execute(&mut *transaction)
        .await?;
    if done.rows_affected() == 0 {
        return Ok(false);
    }
    store.append(&mut transaction, note).await?;
    transaction.commit().await?;
    Ok(true)
}

fn subscription(row: &SqliteRow) -> Result<Subscription, StoreError> {
    let (service, family, standing): (String, &str, &str) = (row.try_get("service")?, row.try_get("family")?, row.try_get("standing")?);
    let broken = |what: &str| StoreError(format!("a subscription to {service} has a broken {what}: mend its row"));
    Ok(Subscription {
        family: KeyId::parse(family).ok_or_else(|| broken("family"))?,
        standing: Standing::from_name(standing).ok_or_else(|| broken("standing"))?,
        asked: timestamp(row.try_get("asked")?),
        decided: row.try_get::<Option<i64>, _>("decided")?.map(timestamp),
        service: service.clone(),
    })
}
