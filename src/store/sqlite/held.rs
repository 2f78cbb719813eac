//! The table of what providers keep for whom; what a rotated key made belongs to its successors too.

use jiff::Timestamp;
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row, Sqlite as Database, SqliteConnection};

use super::{Sqlite, micros, timestamp};
use crate::held::{Change, Held, Kind};
use crate::key::KeyId;
use crate::store::{Answer, Entry, HeldStore, StoreError};

/// Rows of one statement.
const ROWS: usize = 256;
/// Rows that are forgotten at once: others who write wait for that.
const FORGOTTEN: i64 = 1000;

/// The key and those that it came from by rotation.
const MINE: &str = "WITH RECURSIVE mine (id) AS (SELECT ?1 UNION SELECT keys.id FROM keys JOIN mine ON keys.successor = mine.id)";

impl HeldStore for Sqlite {
    fn mine(&self, key: KeyId) -> Answer<'_, Vec<KeyId>> {
        Box::pin(async move {
            let statement = format!("{MINE} SELECT id FROM mine");
            let keys: Vec<String> = sqlx::query_scalar(sqlx::AssertSqlSafe(statement)).bind(key.to_string()).fetch_all(&self.reads).await?;
            keys.iter().map(|key| key_of(key)).collect()
        })
    }

    fn holder<'a>(&'a self, key: KeyId, kind: Kind, id: &'a str) -> Answer<'a, Option<String>> {
        Box::pin(async move {
            let statement = format!("{MINE} SELECT provider FROM held WHERE kind = ?2 AND id = ?3 AND key IN mine LIMIT 1");
            let found = sqlx::query_scalar(sqlx::AssertSqlSafe(statement)).bind(key.to_string()).bind(kind.as_str()).bind(id);
            Ok(found.fetch_optional(&self.reads).await?)
        })
    }

    fn is_held<'a>(&'a self, kind: Kind, id: &'a str) -> Answer<'a, bool> {
        Box::pin(async move {
            let found = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM held WHERE kind = ? AND id = ?)").bind(kind.as_str()).bind(id);
            Ok(found.fetch_one(&self.reads).await?)
        })
    }

    fn held_by(&self, key: KeyId, kind: Kind) -> Answer<'_, Vec<Held>> {
        Box::pin(async move {
            let statement =
                format!("{MINE} SELECT id, key, provider, created FROM held WHERE kind = ?2 AND key IN mine ORDER BY created DESC");
            let rows = sqlx::query(sqlx::AssertSqlSafe(statement)).bind(key.to_string()).bind(kind.as_str());
            rows.fetch_all(&self.reads).await?.iter().map(|row| held(row, kind)).collect()
        })
    }

    fn forget(&self, before: Timestamp) -> Answer<'_, u64> {
        Box::pin(async move {
            let some = "DELETE FROM held WHERE (kind, id, key) IN (SELECT kind, id, key FROM held WHERE created < ? LIMIT ?)";
            Ok(sqlx::query(some).bind(micros(before)).bind(FORGOTTEN).execute(&self.writes).await?.rows_affected())
        })
    }
}

/// Takes in what a batch of the ledger's says, in its order: what was let go is not brought back by the line that it was made by.
pub(super) async fn write(connection: &mut SqliteConnection, entries: &[Entry]) -> Result<(), StoreError> {
    let mut made = Vec::new();
    for change in entries.iter().filter_map(Entry::held) {
        match &**change {
            Change::Made(held) => made.push(held),
            Change::LetGo { kind, id, key } => {
                hold(connection, &std::mem::take(&mut made)).await?;
                let statement = format!("{MINE} DELETE FROM held WHERE kind = ?2 AND id = ?3 AND key IN mine");
                let delete = sqlx::query(sqlx::AssertSqlSafe(statement)).bind(key.to_string()).bind(kind.as_str()).bind(id);
                delete.execute(&mut *connection).await?;
            }
        }
    }
    hold(connection, &made).await
}

/// Writes rows down; one that is there is replaced.
async fn hold(connection: &mut SqliteConnection, rows: &[&Held]) -> Result<(), StoreError> {
    for rows in rows.chunks(ROWS) {
        let mut query = QueryBuilder::<Database>::new("INSERT OR REPLACE INTO held (kind, id, key, provider, created) ");
        query.push_values(rows, |mut row, held| {
            row.push_bind(held.kind.as_str());
            row.push_bind(&held.id);
            row.push_bind(held.key.to_string());
            row.push_bind(&held.provider);
            row.push_bind(micros(held.created));
        });
        query.build().persistent(false).execute(&mut *connection).await?;
    }
    Ok(())
}

fn key_of(text: &str) -> Result<KeyId, StoreError> {
    KeyId::parse(text).ok_or_else(|| StoreError(format!("what is held for '{text}' is held for no key")))
}

fn held(row: &SqliteRow, kind: Kind) -> Result<Held, StoreError> {
    Ok(Held {
        kind,
        id: row.try_get("id")?,
        key: key_of(row.try_get("key")?)?,
        provider: row.try_get("provider")?,
        created: timestamp(row.try_get("created")?),
    })
}
