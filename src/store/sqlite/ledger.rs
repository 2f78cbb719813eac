//! The table of requests: begun, settled, summed up.

use jiff::Timestamp;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::rollups::{self, Span, Sums};
use super::{Sqlite, came_at, commons, held, micros, rows, signed, writing};
use crate::key::KeyId;
use crate::quota::meters::{Past, Used};
use crate::quota::{AccountId, limits};
use crate::store::{Answer, Cursor, Entry, LastUse, LedgerStore, Place, Request, RowsQuery, StoreError, UsageBy, UsageQuery, UsageRow};

/// How requests end that are taken to have cost what was reserved: for each number of what open ones have in common, another.
const ASSUMED: &str = "INSERT INTO commons (key, model, provider, operation, project, team, prompt, node, outcome, status, source)
    SELECT key, model, provider, operation, project, team, prompt, node, 'assumed', status, 'estimated' FROM commons
    WHERE outcome = 'open' AND number IN (SELECT common FROM ledger WHERE ended IS NULL) ON CONFLICT DO NOTHING";
const ASSUME: &str = "UPDATE ledger SET cost = reserved, ended = ?1, common = (
        SELECT assumed.number FROM commons AS open JOIN commons AS assumed USING
            (key, model, provider, operation, project, team, prompt, node, status)
        WHERE open.number = ledger.common AND assumed.outcome = 'assumed' AND assumed.source = 'estimated')
    WHERE ended IS NULL AND EXISTS (SELECT 1 FROM commons WHERE number = ledger.common AND outcome = 'open')
    RETURNING place";

/// The newest of each number of what the key's requests have in common, and of those the newest.
const LAST_USE: &str = "SELECT id, place, operation, provider || '/' || model AS model, source_address, outcome, status
    FROM commons CROSS JOIN ledger ON place = (SELECT MAX(place) FROM ledger WHERE common = number)
    WHERE key = ? ORDER BY place DESC LIMIT 1";

impl LedgerStore for Sqlite {
    fn cursor<'a>(&'a self, node: &'a str) -> Answer<'a, Cursor> {
        Box::pin(async move {
            let row = sqlx::query("SELECT segment, position FROM cursors WHERE node = ?").bind(node).fetch_optional(&self.reads).await?;
            let Some(row) = row else { return Ok(Cursor::default()) };
            Ok(Cursor { segment: count(&row, "segment")?, offset: count(&row, "position")? })
        })
    }

    fn apply<'a>(&'a self, node: &'a str, entries: &'a [Entry], cursor: Cursor) -> Answer<'a, ()> {
        Box::pin(async move {
            self.is_there()?;
            // A move to another segment lets the ones before be deleted: what came from them must outlive a loss of power first, and this
            // transaction's end waits for the disk with all before it, whoever reads meanwhile.
            let pool = if cursor.offset == 0 { &self.changes } else { &self.writes };
            let mut transaction = pool.begin_with("BEGIN IMMEDIATE").await?;
            writing::write(&mut transaction, node, entries).await?;
            held::write(&mut transaction, entries).await?;
            sqlx::query("INSERT INTO cursors (node, segment, position) VALUES (?, ?, ?) ON CONFLICT (node) DO UPDATE SET segment = excluded.segment, position = excluded.position")
                .bind(node)
                .bind(signed(cursor.segment))
                .bind(signed(cursor.offset))
                .execute(&mut *transaction)
                .await?;
            Ok(transaction.commit().await?)
        })
    }

    fn assume_open(&self, at: Timestamp) -> Answer<'_, u64> {
        Box::pin(async move {
            let mut transaction = self.writes.begin_with("BEGIN IMMEDIATE").await?;
            sqlx::query(ASSUMED).execute(&mut *transaction).await?;
            let assumed: Vec<i64> = sqlx::query_scalar(ASSUME).bind(micros(at)).fetch_all(&mut *transaction).await?;
            rollups::forget(&mut transaction, assumed.iter().copied()).await?;
            transaction.commit().await?;
            Ok(assumed.len() as u64)
        })
    }

    fn used<'a>(&'a self, account: &'a AccountId, past: &'a Past) -> Answer<'a, Used> {
        Box::pin(async move {
            let (filter, id, scope) = match account {
                AccountId::Gateway => ("TRUE", None, Some("")),
                AccountId::Team(id) => ("team = ?7", Some(&**id), Some("team")),
                AccountId::Project(id) => ("project = ?7", Some(&**id), Some("project")),
                // A name has no character that means something in a glob.
                AccountId::Service(label) => (OF_SERVICE, Some(&**label), None),
                AccountId::Key(family) => ("key IN (SELECT id FROM keys WHERE family = ?7)", Some(family.as_str()), None),
            };
            let since = past.window.has_end().then_some(past.window.begins);
            let by = match &past.models {
                Some(glob) if glob.starts_with(limits::OF_PROMPTS) => UsageBy::Prompt,
                _ => UsageBy::Model,
            };
            let rows = Span::new(since, past.until).sums(&self.reads, Sums { by, filter, values: id.as_slice(), scope }).await?;
            let mut used = Used::default();
            for row in &rows {
                let name: &str = row.try_get("grouped")?;
                if past.models.as_deref().is_none_or(|glob| is_named(glob, name)) {
                    let with = |sum: u64, column| Ok::<_, StoreError>(sum.saturating_add(count(row, column)?));
                    used.requests = with(used.requests, "requests")?;
                    used.input = with(used.input, "input")?;
                    used.output = with(used.output, "output")?;
                    // What still runs counts as its reservation, whatever it will cost.
                    let (cost, held): (i64, i64) = (row.try_get("cost")?, row.try_get("held")?);
                    used.cost.0 = used.cost.0.saturating_add(cost).saturating_add(held);
                }
            }
            Ok(used)
        })
    }

    fn last_use(&self, key: KeyId) -> Answer<'_, Option<LastUse>> {
        Box::pin(async move {
            let row = sqlx::query(LAST_USE).bind(key.to_string()).fetch_optional(&self.reads).await?;
            row.as_ref().map(last_use).transpose()
        })
    }

    fn usage<'a>(&'a self, query: &'a UsageQuery) -> Answer<'a, Vec<UsageRow>> {
        Box::pin(async move {
            let wanted = [("key", &query.key), ("project", &query.project), ("team", &query.team)];
            let wanted: Vec<(&'static str, &str)> =
                wanted.into_iter().filter_map(|(column, value)| Some((column, value.as_deref()?))).collect();
            let asked = match query.by {
                UsageBy::Tool => "operation = 'tool'",
                UsageBy::Service => "operation = 'service'",
                _ => "TRUE",
            };
            let filter = (7..).zip(&wanted).fold(asked.to_owned(), |filter, (at, (column, _))| format!("{filter} AND {column} = ?{at}"));
            let values: Vec<&str> = wanted.iter().map(|(_, value)| *value).collect();
            let scope = match wanted.as_slice() {
                _ if matches!(query.by, UsageBy::Tool | UsageBy::Service) => None,
                [] => Some(""),
                [(column @ ("team" | "project"), _)] => Some(*column),
                _ => None,
            };
            let rows = Span::new(query.since, query.until)
                .sums(&self.reads, Sums { by: query.by, filter: &filter, values: &values, scope })
                .await?;
            rows.iter().map(usage_row).collect()
        })
    }

    fn rows<'a>(&'a self, query: &'a RowsQuery, after: Option<Place>) -> Answer<'a, Vec<Request>> {
        Box::pin(rows::page(&self.reads, query, after))
    }

    fn roll_up(&self, now: Timestamp) -> Answer<'_, bool> {
        Box::pin(rollups::roll_up(&self.writes, now))
    }

    fn prune(&self, before: Timestamp) -> Answer<'_, u64> {
        Box::pin(rollups::prune(&self.writes, before, PRUNED_AT_ONCE))
    }

    fn pruned_until(&self, since: Option<Timestamp>, until: Option<Timestamp>) -> Answer<'_, Option<Timestamp>> {
        Box::pin(Span::new(since, until).pruned_until(&self.reads))
    }

    fn newest(&self) -> Answer<'_, Option<Timestamp>> {
        Box::pin(async move {
            let place: Option<i64> = sqlx::query_scalar("SELECT MAX(place) FROM ledger").fetch_one(&self.reads).await?;
            Ok(place.map(came_at))
        })
    }

    fn sweep(&self) -> Answer<'_, u64> {
        Box::pin(commons::sweep(&self.reads, &self.writes, &self.swept))
    }
}

/// Rows of a service's version; before there were versions, those of the first had its name alone.
const OF_SERVICE: &str =
    "provider = 'service' AND (model GLOB ?7 || '/*' OR (?7 GLOB '*@1' AND model GLOB substr(?7, 1, length(?7) - 2) || '/*'))";

/// Whether the glob of a limit names a model (`provider/model`), or a prompt by its label (`name@version`).
fn is_named(glob: &str, grouped: &str) -> bool {
    let prompt = grouped.rsplit_once('@').and_then(|(name, version)| Some((name, version.parse().ok()?)));
    limits::names(glob, grouped) || prompt.is_some_and(|(name, version)| limits::names_prompt(glob, name, version))
}

fn last_use(row: &SqliteRow) -> Result<LastUse, StoreError> {
    Ok(LastUse {
        request: row.try_get("id")?,
        at: came_at(row.try_get("place")?),
        operation: row.try_get("operation")?,
        model: row.try_get("model")?,
        from: row.try_get("source_address")?,
        outcome: row.try_get("outcome")?,
        status: u16::try_from(row.try_get::<i64, _>("status")?).unwrap_or_default(),
    })
}
/// So few that whoever else writes to the store waits for milliseconds.
const PRUNED_AT_ONCE: u32 = 1000;

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
        running: count(row, "running")?,
    })
}

pub(super) fn count(row: &SqliteRow, column: &str) -> Result<u64, StoreError> {
    Ok(u64::try_from(row.try_get::<i64, _>(column)?).unwrap_or(0))
}
