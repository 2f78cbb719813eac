//! The table of requests: begun, settled, summed up.

use jiff::Timestamp;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use super::{Sqlite, micros, signed};
use crate::ledger::record::{Begin, Outcome, Settle, Source};
use crate::store::{Answer, Cursor, Entry, LedgerStore, StoreError, UsageBy, UsageQuery, UsageRow};

/// A settle without its begin makes a row of its own; one that is there is only written over while it is not settled for good.
const SETTLE: &str = "INSERT INTO requests
    (id, node, key, operation, provider, model, began, ended, outcome, status, input, cached, cache_write, output, reasoning,
     input_audio, output_audio, source, cost, first_byte_ms, total_ms)
    VALUES (?, ?, '', '', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (id) DO UPDATE SET provider = excluded.provider, model = excluded.model, ended = excluded.ended,
     outcome = excluded.outcome, status = excluded.status, input = excluded.input, cached = excluded.cached,
     cache_write = excluded.cache_write, output = excluded.output, reasoning = excluded.reasoning,
     input_audio = excluded.input_audio, output_audio = excluded.output_audio, source = excluded.source, cost = excluded.cost,
     first_byte_ms = excluded.first_byte_ms, total_ms = excluded.total_ms
    WHERE requests.outcome IN ('open', 'assumed')";
/// A begin whose settle came first fills in what the settle did not know.
const BEGIN: &str = "INSERT INTO requests (id, node, key, operation, provider, model, began, reserved, outcome)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'open')
    ON CONFLICT (id) DO UPDATE SET key = excluded.key, operation = excluded.operation, began = excluded.began,
     reserved = excluded.reserved WHERE requests.key = ''";
const ASSUME: &str =
    "UPDATE requests SET outcome = 'assumed', source = 'estimated', cost = reserved, ended = ? WHERE node = ? AND outcome = 'open'";

impl LedgerStore for Sqlite {
    fn cursor<'a>(&'a self, node: &'a str) -> Answer<'a, Cursor> {
        Box::pin(async move {
            let row = sqlx::query("SELECT segment, position FROM cursors WHERE node = ?").bind(node).fetch_optional(&self.pool).await?;
            let Some(row) = row else { return Ok(Cursor::default()) };
            Ok(Cursor { segment: count(&row, "segment")?, offset: count(&row, "position")? })
        })
    }

    fn apply<'a>(&'a self, node: &'a str, entries: &'a [Entry], cursor: Cursor) -> Answer<'a, ()> {
        Box::pin(async move {
            let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await?;
            for entry in entries {
                match entry {
                    Entry::Begin(begin) => write_begin(&mut transaction, node, begin).await?,
                    Entry::Settle(settle) => write_settle(&mut transaction, node, settle).await?,
                }
            }
            sqlx::query("INSERT INTO cursors (node, segment, position) VALUES (?, ?, ?) ON CONFLICT (node) DO UPDATE SET segment = excluded.segment, position = excluded.position")
                .bind(node)
                .bind(signed(cursor.segment))
                .bind(signed(cursor.offset))
                .execute(&mut *transaction)
                .await?;
            Ok(transaction.commit().await?)
        })
    }

    fn assume_open<'a>(&'a self, node: &'a str, at: Timestamp) -> Answer<'a, u64> {
        Box::pin(async move { Ok(sqlx::query(ASSUME).bind(micros(at)).bind(node).execute(&self.pool).await?.rows_affected()) })
    }

    fn usage<'a>(&'a self, query: &'a UsageQuery) -> Answer<'a, Vec<UsageRow>> {
        Box::pin(async move {
            let group = match query.by {
                UsageBy::Key => "key",
                UsageBy::Model => "provider || '/' || model",
                UsageBy::Day => "date(began / 1000000, 'unixepoch')",
            };
            let statement = format!(
                "SELECT {group} AS grouped, COUNT(*) AS requests, SUM(outcome NOT IN ('answered', 'open')) AS failed,
                 SUM(input) AS input, SUM(cached) AS cached, SUM(output) AS output,
                 SUM(COALESCE(cost, 0)) AS cost, SUM(cost IS NULL AND outcome <> 'open') AS unpriced
                 FROM requests WHERE began >= ?1 AND began < ?2 AND (?3 IS NULL OR key = ?3) GROUP BY grouped ORDER BY cost DESC, grouped"
            );
            let rows = sqlx::query(sqlx::AssertSqlSafe(statement))
                .bind(query.since.map_or(i64::MIN, micros))
                .bind(query.until.map_or(i64::MAX, micros))
                .bind(query.key.as_deref())
                .fetch_all(&self.pool)
                .await?;
            rows.iter().map(usage_row).collect()
        })
    }
}

async fn write_begin(connection: &mut SqliteConnection, node: &str, begin: &Begin) -> Result<(), StoreError> {
    sqlx::query(BEGIN)
        .bind(&begin.id)
        .bind(node)
        .bind(&begin.key)
        .bind(&begin.operation)
        .bind(&begin.provider)
        .bind(&begin.model)
        .bind(micros(begin.at))
        .bind(begin.reserved.0)
        .execute(connection)
        .await?;
    Ok(())
}

async fn write_settle(connection: &mut SqliteConnection, node: &str, settle: &Settle) -> Result<(), StoreError> {
    let usage = &settle.usage;
    let mut query = sqlx::query(SETTLE)
        .bind(&settle.id)
        .bind(node)
        .bind(&settle.provider)
        .bind(&settle.model)
        .bind(micros(settle.at))
        .bind(micros(settle.at))
        .bind(outcome(settle.outcome))
        .bind(settle.status);
    let counts = [usage.input, usage.cached, usage.cache_write, usage.output, usage.reasoning, usage.input_audio, usage.output_audio];
    for count in counts {
        query = query.bind(signed(count));
    }
    query
        .bind(match settle.source {
            Source::Reported => "reported",
            Source::Estimated => "estimated",
            Source::None => "none",
        })
        .bind(settle.cost.map(|cost| cost.0))
        .bind(settle.first_byte_ms.map(signed))
        .bind(signed(settle.total_ms))
        .execute(connection)
        .await?;
    Ok(())
}

fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Answered => "answered",
        Outcome::ProviderError => "provider_error",
        Outcome::Failed => "failed",
        Outcome::Abandoned => "abandoned",
        Outcome::Assumed => "assumed",
    }
}

fn usage_row(row: &SqliteRow) -> Result<UsageRow, StoreError> {
    Ok(UsageRow {
        group: row.try_get("grouped")?,
        requests: count(row, "requests")?,
        failed: count(row, "failed")?,
        input_tokens: count(row, "input")?,
        cached_tokens: count(row, "cached")?,
        output_tokens: count(row, "output")?,
        cost_nano_usd: row.try_get("cost")?,
        unpriced: count(row, "unpriced")?,
    })
}

fn count(row: &SqliteRow, column: &str) -> Result<u64, StoreError> {
    Ok(u64::try_from(row.try_get::<i64, _>(column)?).unwrap_or(0))
}
