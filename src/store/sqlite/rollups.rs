//! Sums over requests: what is over is summed once, by hours and days, and by parts of the hour that runs; a query adds those sums to the
//! rows of the rest.
//!
//! A sum is deleted, in the same transaction, by whatever adds a row to it or changes one ([`forget`]), and made anew by the next
//! [`roll_up`]. Of days there are totals by one name alone too. Pruning moves rows into their hour's sums, a few at a time, so that a
//! query is right at every moment.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use jiff::{SignedDuration, Timestamp};
use sqlx::sqlite::SqliteRow;
use sqlx::{SqliteConnection, SqlitePool};

use super::{PLACES, ROOM, came_at, place};
use crate::store::{StoreError, UsageBy};

/// In places.
const HOUR: i64 = 3_600_000_000 * PLACES;
const PARTS_AN_HOUR: i64 = 12;
const PART: i64 = HOUR / PARTS_AN_HOUR;
const HOURS_A_DAY: i64 = 24;
const DAY: i64 = HOURS_A_DAY * HOUR;

/// A part's requests mostly have ended by then, and an hour's: where one ends later, all that it is in is summed up anew.
const PART_SETTLES: SignedDuration = SignedDuration::from_mins(1);
const HOUR_SETTLES: SignedDuration = SignedDuration::from_mins(5);

/// What the rows of a request and of a sum are told apart by.
const NAMES: &str = "key, project, team, provider, model, operation, prompt";
const COUNTS: [&str; 9] = ["requests", "failed", "running", "input", "cached", "output", "cost", "held", "unpriced"];
/// The counts of one request.
const OF_ONE: &str = "1 AS requests, outcome NOT IN ('answered', 'open') AS failed, outcome = 'open' AS running, input, cached, output,
    COALESCE(cost, 0) AS cost, CASE WHEN outcome = 'open' THEN COALESCE(reserved, 0) ELSE 0 END AS held,
    cost IS NULL AND outcome <> 'open' AS unpriced";

/// Hours that have requests in [?1, ?2): found by a jump along the index for each.
const HOURS: &str = "WITH RECURSIVE
    steps (hour) AS (
        SELECT (SELECT place FROM ledger WHERE place >= ?1 AND place < ?2 ORDER BY place LIMIT 1) / 921600000000
        UNION ALL
        SELECT (SELECT place FROM ledger WHERE place >= (hour + 1) * 921600000000 AND place < ?2 ORDER BY place LIMIT 1) / 921600000000
        FROM steps WHERE hour IS NOT NULL
    ),
    hours (hour) AS (SELECT hour FROM steps WHERE hour IS NOT NULL)";

/// The parts of `some` hours (a table), and whether each is known by its sums alone; one that is not wholly in [?1, ?2) is not.
const PARTS: &str = "parts (part, is_summed) AS (
        SELECT number, number * 76800000000 >= ?1 AND (number + 1) * 76800000000 <= ?2
            AND EXISTS (SELECT 1 FROM rolled WHERE span = 0 AND rolled.number = part.number)
        FROM (SELECT hour * 12 + column1 AS number FROM some CROSS JOIN
            (VALUES (0), (1), (2), (3), (4), (5), (6), (7), (8), (9), (10), (11))) AS part
    )";
/// Their sums, and the rows of the others.
const SUMMED_PARTS: &str = "parts CROSS JOIN rollups WHERE is_summed AND span = 0 AND number = +part";
const ROWS_OF_PARTS: &str = "parts CROSS JOIN requests
    WHERE NOT is_summed AND place >= MAX(?1, part * 76800000000) AND place < MIN(?2, (part + 1) * 76800000000)";

/// What whole days are summed by alone, and the expression for it over [`NAMES`].
const TOTALS: [(&str, &str); 7] = [
    ("key", "key"),
    ("project", "project"),
    ("team", "team"),
    ("provider", "provider"),
    ("model", MODEL),
    ("operation", "operation"),
    ("prompt", "prompt"),
];
/// Whose requests whole days are summed up: everybody's, each team's, each project's. And the column that tells whose.
const SCOPES: [(&str, &str); 3] = [("", "''"), ("team", "team"), ("project", "project")];
/// A model's full name.
const MODEL: &str = "provider || '/' || model";
/// The day that a request began on.
const DAY_OF: &str = "{day}";

/// Whether a request has ended and nobody needs its row: of one that is open the row may be behind it because its own place was taken, where the
/// end finds it only as long as that is so.
static IS_PRUNABLE: LazyLock<String> = LazyLock::new(|| {
    let open = format!("open.ended IS NULL AND open.place > ledger.place AND open.place < ledger.place + {ROOM}");
    format!("ended IS NOT NULL AND NOT EXISTS (SELECT 1 FROM ledger AS open WHERE {open})")
});

/// What is summed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sums<'a> {
    /// What makes a row.
    pub by: UsageBy,
    /// An expression over [`NAMES`] and `?7`, `?8`, …: which requests.
    pub filter: &'a str,
    /// The values of `?7` and on.
    pub values: &'a [&'a str],
    /// The one of [`SCOPES`] that the filter names, where it names nothing else.
    pub scope: Option<&'static str>,
}

/// From when to when, in places: the whole hours and days in it are known by their sums.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    since: i64,
    until: i64,
}

// === impl Span ===

impl Span {
    pub(super) fn new(since: Option<Timestamp>, until: Option<Timestamp>) -> Span {
        Span { since: since.map_or(0, place).max(0), until: until.map_or(i64::MAX, place).max(0) }
    }

    /// The sums that are asked for; the columns are `grouped` and [`COUNTS`]. One statement, so that all of it is of one moment.
    pub(super) async fn sums(self, pool: &SqlitePool, asked: Sums<'_>) -> Result<Vec<SqliteRow>, StoreError> {
        let (name, group) = asked.by.total();
        let filter = asked.filter;
        let part = |day: &str, counts: &str, from: &str| {
            format!("SELECT {} AS grouped, {counts} FROM {from} AND {filter}", group.replace(DAY_OF, day))
        };
        let (counts, day) = (COUNTS.join(", "), "date(number * 86400, 'unixepoch')");
        // A look-up for each day: whose they are comes next in both indices. Without the '+' its bounds are known to hold for both sides of
        // 'number = day', and all days are gone through at once.
        let each = "(SELECT number AS day FROM rolled WHERE span = 24 AND number >= ?5 AND number < ?6)";
        let days = match asked.scope {
            Some(scope) => {
                let group = if group == DAY_OF { day } else { "value" };
                let whose = if scope.is_empty() { "''" } else { "?7" };
                format!(
                    "SELECT {group} AS grouped, {counts} FROM {each} CROSS JOIN totals
                     WHERE number = day AND scope = '{scope}' AND whose = {whose} AND name = '{name}'"
                )
            }
            None => part(day, &counts, &format!("{each} CROSS JOIN rollups WHERE span = 24 AND number = +day")),
        };
        let hours = part(
            "date(rollups.number * 3600, 'unixepoch')",
            &counts,
            "(SELECT number AS hour FROM rolled WHERE span = 1 AND number >= ?3 AND number < ?4 AND NOT (number / 24 >= ?5 AND number / 24 < ?6
                AND EXISTS (SELECT 1 FROM rolled AS day WHERE day.span = 24 AND day.number = rolled.number / 24)))
             CROSS JOIN rollups WHERE span = 1 AND number = +hour",
        );
        let parts = part("date(part / 12 * 3600, 'unixepoch')", &counts, SUMMED_PARTS);
        let rows = part("date(began / 1000000, 'unixepoch')", OF_ONE, ROWS_OF_PARTS);
        let statement = format!(
            "{HOURS}, some (hour) AS (SELECT hour FROM hours WHERE NOT (hour >= ?3 AND hour < ?4
                AND EXISTS (SELECT 1 FROM rolled WHERE span = 1 AND number = hour AND NOT pruned))
              AND NOT (hour / 24 >= ?5 AND hour / 24 < ?6 AND EXISTS (SELECT 1 FROM rolled WHERE span = 24 AND number = hour / 24))), {PARTS}
             SELECT grouped, {} FROM ({days} UNION ALL {hours} UNION ALL {parts} UNION ALL {rows})
             GROUP BY grouped ORDER BY cost DESC, grouped",
            sums(&COUNTS)
        );
        let mut query = sqlx::query(sqlx::AssertSqlSafe(statement)).bind(self.since).bind(self.until);
        for span in [HOUR, DAY] {
            query = query.bind(self.since.saturating_add(span - 1) / span).bind(self.until / span);
        }
        for value in asked.values {
            query = query.bind(*value);
        }
        Ok(query.fetch_all(pool).await?)
    }

    /// The end of its newest hour, of which it may have a part alone, that has pruned rows.
    pub(super) async fn pruned_until(self, pool: &SqlitePool) -> Result<Option<Timestamp>, StoreError> {
        let newest = "SELECT MAX(number) FROM rolled WHERE span = 1 AND pruned AND number >= ? AND number < ?";
        let hours = [self.since / HOUR, self.until.saturating_add(HOUR - 1) / HOUR];
        let newest: Option<i64> = sqlx::query_scalar(newest).bind(hours[0]).bind(hours[1]).fetch_one(pool).await?;
        Ok(newest.map(|hour| came_at((hour + 1) * HOUR)))
    }
}

// === impl UsageBy ===

impl UsageBy {
    /// The name of the days' totals that give it, and what makes a row of it.
    fn total(self) -> (&'static str, &'static str) {
        match self {
            UsageBy::Key => ("key", "key"),
            UsageBy::Project => ("project", "project"),
            UsageBy::Team => ("team", "team"),
            UsageBy::Provider => ("provider", "provider"),
            UsageBy::Model => ("model", MODEL),
            UsageBy::Prompt => ("prompt", "prompt"),
            UsageBy::Operation => ("operation", "operation"),
            // Days have no totals by these.
            UsageBy::Tool => ("tool", "model"),
            UsageBy::Service => ("service", "model"),
            // There are fewest of these.
            UsageBy::Day => ("operation", DAY_OF),
        }
    }
}

/// Sums up one more hour, part of the hour that runs, or day that is over and not summed up; false where there is none.
pub(super) async fn roll_up(pool: &SqlitePool, now: Timestamp) -> Result<bool, StoreError> {
    let [settled, closed] = [PART_SETTLES, HOUR_SETTLES].map(|settles| place(now.saturating_sub(settles).unwrap_or(now)));
    // What is found to be missing is still missing when it is added.
    let mut transaction = pool.begin_with("BEGIN IMMEDIATE").await?;
    let is_more = add_hour(&mut transaction, hour_of(closed)).await?
        || add_part(&mut transaction, hour_of(closed), part_of(settled)).await?
        || add_day(&mut transaction, hour_of(closed) / HOURS_A_DAY).await?;
    transaction.commit().await?;
    Ok(is_more)
}

/// Sums up an hour before `closed`, by the sums of its parts where there are some.
async fn add_hour(connection: &mut SqliteConnection, closed: i64) -> Result<bool, StoreError> {
    let hour = format!("{HOURS} SELECT hour FROM hours WHERE NOT EXISTS (SELECT 1 FROM rolled WHERE span = 1 AND number = hour) LIMIT 1");
    let hour = sqlx::query_scalar::<_, i64>(sqlx::AssertSqlSafe(hour)).bind(0).bind(closed * HOUR).fetch_optional(&mut *connection).await?;
    let Some(hour) = hour else { return Ok(false) };
    let (some, counts) = (format!("WITH some (hour) AS (SELECT ?1 / {HOUR}), {PARTS}"), COUNTS.join(", "));
    let from = format!("{some} SELECT {NAMES}, {counts} FROM {SUMMED_PARTS} UNION ALL SELECT {NAMES}, {OF_ONE} FROM {ROWS_OF_PARTS}");
    add(connection, (1, hour), &from, [hour * HOUR, (hour + 1) * HOUR]).await?;
    mark(connection, 1, hour, false).await?;
    Ok(true)
}

/// Sums up a part before `settled` of the hours from `closed` on.
async fn add_part(connection: &mut SqliteConnection, closed: i64, settled: i64) -> Result<bool, StoreError> {
    let part = format!(
        "{HOURS}, some (hour) AS (SELECT hour FROM hours), {PARTS} SELECT part FROM parts
         WHERE NOT is_summed AND part < ?3 AND EXISTS (SELECT 1 FROM ledger WHERE place >= part * {PART} AND place < (part + 1) * {PART}) LIMIT 1"
    );
    let part = sqlx::query_scalar::<_, i64>(sqlx::AssertSqlSafe(part)).bind(closed * HOUR).bind(i64::MAX).bind(settled);
    let Some(part) = part.fetch_optional(&mut *connection).await? else { return Ok(false) };
    let from = format!("SELECT {NAMES}, {OF_ONE} FROM requests WHERE place >= ?1 AND place < ?2");
    add(connection, (0, part), &from, [part * PART, (part + 1) * PART]).await?;
    mark(connection, 0, part, false).await?;
    Ok(true)
}

/// Sums up a day before `closed`: the sum of its hours once no row of it counts beside them.
async fn add_day(connection: &mut SqliteConnection, closed: i64) -> Result<bool, StoreError> {
    let day = "SELECT number / 24 AS day FROM rolled WHERE span = 1 AND number / 24 < ?1
        AND NOT EXISTS (SELECT 1 FROM rolled AS day WHERE day.span = 24 AND day.number = rolled.number / 24)
        AND NOT EXISTS (SELECT 1 FROM rolled AS hour WHERE hour.span = 1 AND hour.number >= rolled.number / 24 * 24
            AND hour.number < rolled.number / 24 * 24 + 24 AND hour.pruned
            AND EXISTS (SELECT 1 FROM ledger WHERE place >= hour.number * 921600000000 AND place < (hour.number + 1) * 921600000000))
        LIMIT 1";
    let Some(day) = sqlx::query_scalar::<_, i64>(day).bind(closed).fetch_optional(&mut *connection).await? else { return Ok(false) };
    let hours = [day * HOURS_A_DAY, (day + 1) * HOURS_A_DAY];
    let from = format!("SELECT {NAMES}, {} FROM rollups WHERE span = 1 AND number >= ?1 AND number < ?2", COUNTS.join(", "));
    add(connection, (HOURS_A_DAY, day), &from, hours).await?;
    mark(connection, HOURS_A_DAY, day, false).await?;
    add_totals(connection, day).await?;
    delete(connection, 0, hours.map(|hour| hour * PARTS_AN_HOUR)).await?;
    Ok(true)
}

/// Deletes the sums that rows at these places are in, or missing in; those of hours with pruned rows count beside what is added.
pub(super) async fn forget(connection: &mut SqliteConnection, places: impl IntoIterator<Item = i64>) -> Result<(), StoreError> {
    let parts: BTreeSet<i64> = places.into_iter().map(part_of).collect();
    for part in parts {
        forget_part(connection, part).await?;
    }
    Ok(())
}

async fn forget_part(connection: &mut SqliteConnection, part: i64) -> Result<(), StoreError> {
    let known = "SELECT EXISTS (SELECT 1 FROM rolled WHERE span = 0 AND number = ?1),
        EXISTS (SELECT 1 FROM rolled WHERE span = 1 AND number = ?1 / 12 AND NOT pruned),
        EXISTS (SELECT 1 FROM rolled WHERE span = 24 AND number = ?1 / 288)";
    let (is_known, of_hour, of_day): (bool, bool, bool) = sqlx::query_as(known).bind(part).fetch_one(&mut *connection).await?;
    let hour = part / PARTS_AN_HOUR;
    for (is_known, span, number) in [(is_known, 0, part), (of_hour, 1, hour), (of_day, HOURS_A_DAY, hour / HOURS_A_DAY)] {
        if is_known {
            delete(connection, span, [number, number + 1]).await?;
        }
    }
    Ok(())
}

/// Deletes the sums of the parts, hours or days from one to another, and that there are some.
async fn delete(connection: &mut SqliteConnection, span: i64, [from, to]: [i64; 2]) -> Result<(), StoreError> {
    for table in ["rollups", "rolled"] {
        let delete = format!("DELETE FROM {table} WHERE span = ? AND number >= ? AND number < ?");
        sqlx::query(sqlx::AssertSqlSafe(delete)).bind(span).bind(from).bind(to).execute(&mut *connection).await?;
    }
    Ok(())
}

/// The part of an hour that a place is in, counted since 1970.
fn part_of(place: i64) -> i64 {
    place / PART
}

fn hour_of(place: i64) -> i64 {
    place / HOUR
}

/// Moves up to `most` ended requests of one hour, which is over before `before`, into its sums, but for those that came at the time of an open
/// one; tells how many.
pub(super) async fn prune(pool: &SqlitePool, before: Timestamp, most: u32) -> Result<u64, StoreError> {
    let mut transaction = pool.begin_with("BEGIN IMMEDIATE").await?;
    let first = sqlx::AssertSqlSafe(format!("SELECT place FROM ledger WHERE place < ? AND {} ORDER BY place LIMIT 1", *IS_PRUNABLE));
    let first = sqlx::query_scalar::<_, i64>(first).bind(hour_of(place(before)) * HOUR).fetch_optional(&mut *transaction).await?;
    let Some(hour) = first.map(hour_of) else { return Ok(0) };
    // Its sums so far are of rows that are there, and are made anew of those that go.
    let fresh = "DELETE FROM rollups WHERE span = 1 AND number = ?1
        AND NOT EXISTS (SELECT 1 FROM rolled WHERE span = 1 AND number = ?1 AND pruned)";
    sqlx::query(fresh).bind(hour).execute(&mut *transaction).await?;
    mark(&mut transaction, 1, hour, true).await?;
    delete(&mut transaction, 0, [hour, hour + 1].map(|hour| hour * PARTS_AN_HOUR)).await?;
    delete(&mut transaction, HOURS_A_DAY, [hour / HOURS_A_DAY, hour / HOURS_A_DAY + 1]).await?;
    let which = format!("SELECT place FROM ledger WHERE place >= ?1 AND place < ?2 AND {} ORDER BY place LIMIT {most}", *IS_PRUNABLE);
    let from = format!("SELECT {NAMES}, {OF_ONE} FROM requests WHERE place IN ({which})");
    add(&mut transaction, (1, hour), &from, [hour * HOUR, (hour + 1) * HOUR]).await?;
    let delete = sqlx::AssertSqlSafe(format!("DELETE FROM ledger WHERE place IN ({which})"));
    let deleted = sqlx::query(delete).bind(hour * HOUR).bind((hour + 1) * HOUR).execute(&mut *transaction).await?;
    transaction.commit().await?;
    Ok(deleted.rows_affected())
}

/// Adds the rows of `from` (their [`NAMES`] and [`COUNTS`]) to the sums of a span; `?1` and `?2` in it are `bounds`.
async fn add(connection: &mut SqliteConnection, (span, number): (i64, i64), from: &str, bounds: [i64; 2]) -> Result<(), StoreError> {
    let merged = COUNTS.map(|count| format!("{count} = CAST({count} + excluded.{count} AS INTEGER)")).join(", ");
    let statement = format!(
        "INSERT INTO rollups (span, number, {NAMES}, {}) SELECT {span}, {number}, {NAMES}, {} FROM ({from}) WHERE TRUE GROUP BY {NAMES}
         ON CONFLICT DO UPDATE SET {merged}",
        COUNTS.join(", "),
        sums(&COUNTS)
    );
    let [begin, end] = bounds;
    sqlx::query(sqlx::AssertSqlSafe(statement)).bind(begin).bind(end).execute(connection).await?;
    Ok(())
}

/// Sums up the sums of a day by each name alone.
async fn add_totals(connection: &mut SqliteConnection, day: i64) -> Result<(), StoreError> {
    for ((scope, whose), (name, value)) in SCOPES.into_iter().flat_map(|scope| TOTALS.map(|total| (scope, total))) {
        let counts = COUNTS.join(", ");
        let statement = format!(
            "INSERT INTO totals (number, scope, whose, name, value, {counts}) SELECT number, '{scope}', {whose}, '{name}', {value}, {}
             FROM rollups WHERE span = 24 AND number = ? GROUP BY {whose}, {value}",
            sums(&COUNTS)
        );
        sqlx::query(sqlx::AssertSqlSafe(statement)).bind(day).execute(&mut *connection).await?;
    }
    Ok(())
}

async fn mark(connection: &mut SqliteConnection, span: i64, number: i64, pruned: bool) -> Result<(), StoreError> {
    let statement =
        "INSERT INTO rolled (span, number, pruned) VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET pruned = MAX(pruned, excluded.pruned)";
    sqlx::query(statement).bind(span).bind(number).bind(pruned).execute(connection).await?;
    Ok(())
}

/// Exact, and the most that a number can be where the sum is more: SQLite's own fails then, and with it whatever is asked of the ledger. The halves
/// of numbers are summed, which is no more than a number can be of any rows that a disk holds; what is more when they are put together is a
/// float, which a cast brings back.
fn sums(counts: &[&str]) -> String {
    let sum = |count: &&str| format!("CAST(SUM({count} >> 32) * 4294967296 + SUM({count} & 4294967295) AS INTEGER) AS {count}");
    counts.iter().map(sum).collect::<Vec<_>>().join(", ")
}
