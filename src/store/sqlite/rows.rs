//! Requests one by one, page after page: nothing is locked between two pages, and memory holds one.

use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqlitePool};

use super::ledger::count;
use super::{place, timestamp};
use crate::store::{PAGE, Place, Request, RowsQuery, StoreError};

const PAGED: &str = "SELECT * FROM requests WHERE place >= ?1 AND place < ?2 AND (?4 IS NULL OR key = ?4) ORDER BY place LIMIT ?3";

pub(super) async fn page(pool: &SqlitePool, query: &RowsQuery, after: Option<Place>) -> Result<Vec<Request>, StoreError> {
    // From the last one on: the oldest are deleted first, so that nothing after it was while it is there.
    let since = after.map(|Place(last)| last).or(query.since.map(place)).unwrap_or(i64::MIN);
    let most = PAGE + u32::from(after.is_some());
    let paged = sqlx::query(PAGED).bind(since).bind(query.until.map_or(i64::MAX, place)).bind(most).bind(&query.key);
    let mut requests = paged.fetch_all(pool).await?.iter().map(request).collect::<Result<Vec<_>, _>>()?;
    if let Some(last) = after {
        if requests.first().is_none_or(|first| first.place != last) {
            return Err(StoreError("requests were deleted before they were read, being older than ledger.keep: begin again".to_owned()));
        }
        requests.remove(0);
    }
    Ok(requests)
}

fn request(row: &SqliteRow) -> Result<Request, StoreError> {
    Ok(Request {
        place: Place(row.try_get("place")?),
        id: row.try_get("id")?,
        began: timestamp(row.try_get("began")?),
        ended: row.try_get::<Option<i64>, _>("ended")?.map(timestamp),
        node: row.try_get("node")?,
        key: row.try_get("key")?,
        project: row.try_get("project")?,
        team: row.try_get("team")?,
        prompt: row.try_get("prompt")?,
        operation: row.try_get("operation")?,
        provider: row.try_get("provider")?,
        model: row.try_get("model")?,
        outcome: row.try_get("outcome")?,
        status: row.try_get("status")?,
        input_tokens: count(row, "input")?,
        cached_tokens: count(row, "cached")?,
        cache_write_tokens: count(row, "cache_write")?,
        output_tokens: count(row, "output")?,
        reasoning_tokens: count(row, "reasoning")?,
        input_audio_tokens: count(row, "input_audio")?,
        output_audio_tokens: count(row, "output_audio")?,
        source: row.try_get("source")?,
        reserved_nano_usd: row.try_get("reserved")?,
        cost_nano_usd: row.try_get("cost")?,
        first_byte_ms: row.try_get("first_byte_ms")?,
        total_ms: row.try_get("total_ms")?,
        source_address: row.try_get("source_address")?,
    })
}
