//! The table of what providers keep for whom; what a rotated key made belongs to its successors too.

use jiff::Timestamp;
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row, Sqlite as Database};

use super::{Sqlite, micros, timestamp};
use crate::held::{Held, Kind};
use crate::key::KeyId;
use crate::store::{Answer, HeldStore, StoreError};

/// Rows of one statement.
const ROWS: usize = 256;
/// Rows that are forgotten at once: others who write wait for that.
const FORGOTTEN: i64 = 1000;

/// The key and those that it came from by rotation.
const MINE: &str = "WITH RECURSIVE mine (id) AS (SELECT ?1 UNION SELECT keys.id FROM keys JOIN mine ON keys.successor = mine.id)";

impl HeldStore for Sqlite {
    fn hold<'a>(&'a self, rows: &'a [Held]) -> Answer<'a, ()> {
        Box::pin(async move {
            for rows in rows.chunks(ROWS) {
                let mut query = QueryBuilder::<Database>::new("INSERT OR REPLACE INTO held (kind, id, key, provider, created) ");
                query.push_values(rows, |mut row, held| {
                    row.push_bind(held.kind.as_str());
                    row.push_bind(&held.id);
                    row.push_bind(held.key.to_string());
                    row.push_bind(&held.provider);
                    row.push_bind(micros(held.created));
                });
                query.build().persistent(false).execute(&self.writes).await?;
            }
            Ok(())
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

    fn let_go<'a>(&'a self, key: KeyId, kind: Kind, id: &'a str) -> Answer<'a, ()> {
        Box::pin(async move {
            let statement = format!("{MINE} DELETE FROM held WHERE kind = ?2 AND id = ?3 AND key IN mine");
            sqlx::query(sqlx::AssertSqlSafe(statement)).bind(key.to_string()).bind(kind.as_str()).bind(id).execute(&self.writes).await?;
            Ok(())
        })
    }

    fn forget(&self, before: Timestamp) -> Answer<'_, u64> {
        Box::pin(async move {
            let some = "DELETE FROM held WHERE (kind, id, key) IN (SELECT kind, id, key FROM held WHERE created < ? LIMIT ?)";
            Ok(sqlx::query(some).bind(micros(before)).bind(FORGOTTEN).execute(&self.writes).await?.rows_affected())
        })
    }
}

fn held(row: &SqliteRow, kind: Kind) -> Result<Held, StoreError> {
    let key: &str = row.try_get("key")?;
    Ok(Held {
        kind,
        id: row.try_get("id")?,
        key: KeyId::parse(key).ok_or_else(|| StoreError(format!("what is held for '{key}' is held for no key")))?,
        provider: row.try_get("provider")?,
        created: timestamp(row.try_get("created")?),
    })
}
