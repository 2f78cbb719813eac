//! The table of providers' credentials, each sealed.

use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use super::{Sqlite, keys, micros, timestamp};
use crate::store::audit::Note;
use crate::store::{Answer, CredentialStore, KeptCredential, StoreError};

/// Whose a credential is and when it was made stay as they are.
const PUT: &str = "INSERT INTO credentials (name, provider, sealed, weight, disabled, created, changed) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
    ON CONFLICT (name) DO UPDATE SET sealed = ?3, weight = ?4, disabled = ?5, changed = ?7";
/// The row stays, so that every node learns of it; the secret does not.
const REMOVE: &str = "UPDATE credentials SET sealed = NULL, changed = ?2 WHERE name = ?1 AND sealed IS NOT NULL";

impl CredentialStore for Sqlite {
    fn credentials(&self) -> Answer<'_, Vec<KeptCredential>> {
        Box::pin(async move {
            let all = "SELECT * FROM credentials WHERE sealed IS NOT NULL ORDER BY provider, name";
            sqlx::query(all).fetch_all(&self.reads).await?.iter().map(credential).collect()
        })
    }

    fn put_credential<'a>(&'a self, kept: &'a KeptCredential, was: Option<&'a KeptCredential>, note: &'a Note) -> Answer<'a, bool> {
        Box::pin(async move {
            let mut transaction = self.change().await?;
            if stored(&mut transaction, &kept.name).await?.as_ref() != was {
                return Ok(false);
            }
            let changed = keys::next_change(&mut transaction).await?;
            // A name that was removed may be given again, to another provider too.
            sqlx::query("DELETE FROM credentials WHERE name = ? AND sealed IS NULL").bind(&kept.name).execute(&mut *transaction).await?;
            sqlx::query(PUT)
                .bind(&kept.name)
                .bind(&kept.provider)
                .bind(&kept.sealed)
                .bind(kept.weight)
                .bind(kept.disabled)
                .bind(micros(kept.created))
                .bind(changed)
                .execute(&mut *transaction)
                .await?;
            self.append(&mut transaction, note).await?;
            transaction.commit().await?;
            self.erase_what_was().await;
            Ok(true)
        })
    }

    fn remove_credential<'a>(&'a self, was: &'a KeptCredential, note: &'a Note) -> Answer<'a, bool> {
        Box::pin(async move {
            let mut transaction = self.change().await?;
            if stored(&mut transaction, &was.name).await?.as_ref() != Some(was) {
                return Ok(false);
            }
            let changed = keys::next_change(&mut transaction).await?;
            sqlx::query(REMOVE).bind(&was.name).bind(changed).execute(&mut *transaction).await?;
            self.append(&mut transaction, note).await?;
            transaction.commit().await?;
            self.erase_what_was().await;
            Ok(true)
        })
    }

    fn mark(&self) -> Answer<'_, Option<Vec<u8>>> {
        Box::pin(async move { Ok(sqlx::query_scalar("SELECT mark FROM seal").fetch_optional(&self.reads).await?) })
    }

    fn put_mark<'a>(&'a self, mark: &'a [u8]) -> Answer<'a, ()> {
        Box::pin(async move {
            let mut transaction = self.change().await?;
            sqlx::query("DELETE FROM seal").execute(&mut *transaction).await?;
            sqlx::query("INSERT INTO seal (mark) VALUES (?)").bind(mark).execute(&mut *transaction).await?;
            Ok(transaction.commit().await?)
        })
    }
}

impl Sqlite {
    /// What a change has written over is in the file until its journal is brought into it, and in the journal until that begins anew. While
    /// somebody reads it goes on for longer.
    async fn erase_what_was(&self) {
        let is_busy = sqlx::query_scalar::<_, bool>("PRAGMA wal_checkpoint(TRUNCATE)").fetch_one(&self.changes).await;
        if is_busy.unwrap_or(true) {
            tracing::warn!("the sealed text of before is in the store's journal until nobody reads the store");
        }
    }
}

/// A credential as a transaction has it.
async fn stored(transaction: &mut SqliteConnection, name: &str) -> Result<Option<KeptCredential>, StoreError> {
    let one = "SELECT * FROM credentials WHERE name = ? AND sealed IS NOT NULL";
    sqlx::query(one).bind(name).fetch_optional(transaction).await?.as_ref().map(credential).transpose()
}

fn credential(row: &SqliteRow) -> Result<KeptCredential, StoreError> {
    Ok(KeptCredential {
        name: row.try_get("name")?,
        provider: row.try_get("provider")?,
        sealed: row.try_get("sealed")?,
        weight: row.try_get("weight")?,
        disabled: row.try_get("disabled")?,
        created: timestamp(row.try_get("created")?),
    })
}
