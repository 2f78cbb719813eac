//! The table of who changed what.

use jiff::Timestamp;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use super::{Sqlite, micros, timestamp};
use crate::store::audit::{Entry, Note};
use crate::store::{Answer, AuditStore, StoreError};

impl AuditStore for Sqlite {
    fn note<'a>(&'a self, note: &'a Note) -> Answer<'a, ()> {
        Box::pin(async move {
            let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await?;
            append(&mut transaction, note).await?;
            Ok(transaction.commit().await?)
        })
    }

    fn audit(&self, before: Option<i64>, most: u32) -> Answer<'_, Vec<Entry>> {
        Box::pin(async move {
            let rows = sqlx::query("SELECT * FROM audit WHERE number < ? ORDER BY number DESC LIMIT ?")
                .bind(before.unwrap_or(i64::MAX))
                .bind(most)
                .fetch_all(&self.pool)
                .await?;
            rows.iter().map(entry).collect()
        })
    }
}

/// Adds to the list, in the transaction of what is noted: neither is ever there without the other.
pub(super) async fn append(connection: &mut SqliteConnection, note: &Note) -> Result<(), StoreError> {
    let last = sqlx::query("SELECT number, hash FROM audit ORDER BY number DESC LIMIT 1").fetch_optional(&mut *connection).await?;
    let last: Option<(i64, String)> = last.map(|row| Ok::<_, sqlx::Error>((row.try_get("number")?, row.try_get("hash")?))).transpose()?;
    let entry = note.entry(last.as_ref().map(|(number, hash)| (*number, hash.as_str())), Timestamp::now());
    sqlx::query("INSERT INTO audit (number, at, actor, action, subject, detail, hash) VALUES (?, ?, ?, ?, ?, ?, ?)")
        .bind(entry.number)
        .bind(micros(entry.at))
        .bind(entry.actor)
        .bind(entry.action)
        .bind(entry.subject)
        .bind(entry.detail)
        .bind(entry.hash)
        .execute(connection)
        .await?;
    Ok(())
}

fn entry(row: &SqliteRow) -> Result<Entry, StoreError> {
    Ok(Entry {
        number: row.try_get("number")?,
        at: timestamp(row.try_get("at")?),
        actor: row.try_get("actor")?,
        action: row.try_get("action")?,
        subject: row.try_get("subject")?,
        detail: row.try_get("detail")?,
        hash: row.try_get("hash")?,
    })
}
