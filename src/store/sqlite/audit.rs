//! The table of who changed what.

use std::sync::atomic::Ordering;

use jiff::Timestamp;
use ring::hmac;
use serde_json::json;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use super::{Sqlite, micros, timestamp};
use crate::store::audit::{Actor, Entry, Head, Note, SEAL};
use crate::store::{Answer, AuditStore, StoreError};

impl AuditStore for Sqlite {
    fn note<'a>(&'a self, note: &'a Note) -> Answer<'a, ()> {
        Box::pin(async move {
            let mut transaction = self.change().await?;
            self.append(&mut transaction, note).await?;
            Ok(transaction.commit().await?)
        })
    }

    fn audit(&self, before: Option<i64>, most: u32) -> Answer<'_, Vec<Entry>> {
        Box::pin(async move {
            let rows = sqlx::query("SELECT * FROM audit WHERE number < ? ORDER BY number DESC LIMIT ?")
                .bind(before.unwrap_or(i64::MAX))
                .bind(most)
                .fetch_all(&self.reads)
                .await?;
            rows.iter().map(entry).collect()
        })
    }

    fn newest_of<'a>(&'a self, actor: &'a Actor) -> Answer<'a, Option<Entry>> {
        Box::pin(async move {
            let newest = "SELECT * FROM audit WHERE actor = ? ORDER BY number DESC LIMIT 1";
            let row = sqlx::query(newest).bind(actor.to_string()).fetch_optional(&self.reads).await?;
            row.as_ref().map(entry).transpose()
        })
    }

    fn audit_head(&self) -> Answer<'_, Head> {
        Box::pin(async move {
            let mut connection = self.reads.acquire().await?;
            self.head(&mut connection).await
        })
    }

    fn has_noted(&self) -> Answer<'_, bool> {
        Box::pin(async move {
            let any = "SELECT EXISTS (SELECT 1 FROM keys) OR EXISTS (SELECT 1 FROM groups) OR EXISTS (SELECT 1 FROM credentials)";
            Ok(sqlx::query_scalar(any).fetch_one(&self.reads).await?)
        })
    }
}

/// Begins to keep the list's end under a secret, where there is a list or something that was changed before there was one.
pub(super) async fn seal(store: &Sqlite) -> Result<(), StoreError> {
    let is_open = store.audit_head().await? != Head::None || (store.audit(None, 1).await?.is_empty() && !store.has_noted().await?);
    if is_open {
        return Ok(());
    }
    let mut transaction = store.change().await?;
    // Another program may have been faster.
    if store.head(&mut transaction).await? == Head::None {
        store.append(&mut transaction, &sealing("the end of the list was not kept before")).await?;
    }
    Ok(transaction.commit().await?)
}

fn sealing(why: &str) -> Note {
    Note { actor: Actor::Gateway, action: SEAL, subject: "audit".to_owned(), detail: json!({ "why": why }) }
}

impl Sqlite {
    /// Adds to the list, in the transaction of what is noted: neither is ever there without the other.
    ///
    /// It goes on from the end that is known, not from the one that is found: what was cut off leaves a gap.
    pub(super) async fn append(&self, connection: &mut SqliteConnection, note: &Note) -> Result<(), StoreError> {
        let head = self.head(&mut *connection).await?;
        let last = match &head {
            Head::At(number, hash) => Some((*number, hash.clone())),
            Head::None | Head::Forged | Head::Unkept => self.last(&mut *connection).await?,
        };
        let why = match head {
            Head::Forged => Some("the end that was kept is not this gateway's"),
            Head::None if last.is_some() || self.had_end.load(Ordering::Relaxed) => Some("there is no end that was kept"),
            _ => None,
        };
        let sealing = why.filter(|_| note.action != SEAL).map(sealing);
        let mut last = last;
        for note in sealing.iter().chain([note]) {
            let entry = note.entry(last.as_ref().map(|(number, hash)| (*number, hash.as_str())), Timestamp::now());
            last = Some((entry.number, entry.hash.clone()));
            self.write(&mut *connection, entry).await?;
        }
        Ok(())
    }

    async fn write(&self, connection: &mut SqliteConnection, entry: Entry) -> Result<(), StoreError> {
        if let Some(seal) = &self.seal {
            let put = "INSERT INTO audit_head (one, number, hash, code) VALUES (1, ?1, ?2, ?3)
                ON CONFLICT (one) DO UPDATE SET number = ?1, hash = ?2, code = ?3";
            let code = hmac::sign(seal, &sealed(entry.number, &entry.hash));
            sqlx::query(put).bind(entry.number).bind(&entry.hash).bind(code.as_ref()).execute(&mut *connection).await?;
        }
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

    /// The newest entry that is there.
    async fn last(&self, connection: &mut SqliteConnection) -> Result<Option<(i64, String)>, StoreError> {
        Ok(sqlx::query_as("SELECT number, hash FROM audit ORDER BY number DESC LIMIT 1").fetch_optional(connection).await?)
    }

    async fn head(&self, connection: &mut SqliteConnection) -> Result<Head, StoreError> {
        let Some(seal) = &self.seal else { return Ok(Head::Unkept) };
        let row: Option<(i64, String, Vec<u8>)> =
            sqlx::query_as("SELECT number, hash, code FROM audit_head").fetch_optional(connection).await?;
        // One that was there cannot be gone by itself.
        self.had_end.fetch_or(row.is_some(), Ordering::Relaxed);
        Ok(match row {
            None => Head::None,
            Some((number, hash, code)) if hmac::verify(seal, &sealed(number, &hash), &code).is_ok() => Head::At(number, hash),
            Some(_) => Head::Forged,
        })
    }
}

/// What the code of an end covers: its number, then its hash.
fn sealed(number: i64, hash: &str) -> Vec<u8> {
    [&number.to_be_bytes(), hash.as_bytes()].concat()
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
