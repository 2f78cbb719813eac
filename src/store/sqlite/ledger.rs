//! The table of requests: begun, settled, summed up.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, LazyLock};

use jiff::Timestamp;
use sqlx::error::BoxDynError;
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{Arguments, Row, SqliteConnection};

use super::rollups::{self, Span, Sums};
use super::{Sqlite, micros, rows, signed, timestamp};
use crate::key::KeyId;
use crate::ledger::record::{Begin, Settle, Source, Usage};
use crate::money::Usd;
use crate::quota::meters::{Past, Used};
use crate::quota::{AccountId, limits};
use crate::store::{Answer, Cursor, Entry, LastUse, LedgerStore, Place, Request, RowsQuery, StoreError, UsageBy, UsageQuery, UsageRow};

/// Rows of one statement, many first: each costs one message to the database's thread, and each is prepared once, which costs more
/// than its rows do.
const ROWS: [usize; 5] = [256, 64, 16, 4, 1];
/// For rows with what most have, and for those with everything.
static STATEMENTS: LazyLock<[[String; ROWS.len()]; 2]> = LazyLock::new(|| {
    [[USUAL].as_slice(), &[USUAL, RARE]].map(|parts| {
        let columns = parts.join(", ");
        let row = format!("({})", vec!["?"; columns.split(", ").count()].join(", "));
        ROWS.map(|rows| format!("INSERT INTO requests ({columns}) VALUES {}{MERGE}", vec![row.as_str(); rows].join(", ")))
    })
});

/// A provider that counts nonsense must not make the sums over all requests overflow.
const MOST_TOKENS: u64 = 1 << 40;
const MOST_NANOS: i64 = 1 << 50;

/// A caller chooses how long a model's name is; what is longer than any real one is cut.
const LONGEST_NAME: usize = 200;

const USUAL: &str = "began, id, node, key, operation, provider, model, source_address, reserved, ended, outcome, status, \
    input, output, source, cost, first_byte_ms, total_ms";
/// What most rows leave as it is by itself: each value costs as much as any other.
const RARE: &str = "project, team, prompt, cached, cache_write, reasoning, input_audio, output_audio";
/// A row that is there is written over while it is not settled for good, by what is known now and was not before.
const MERGE: &str = " ON CONFLICT (began, id) DO UPDATE SET
    key = MAX(key, excluded.key), project = MAX(project, excluded.project), team = MAX(team, excluded.team),
    prompt = MAX(prompt, excluded.prompt), operation = MAX(operation, excluded.operation),
    source_address = COALESCE(source_address, excluded.source_address), reserved = COALESCE(excluded.reserved, reserved),
    provider = CASE WHEN excluded.outcome = 'open' THEN provider ELSE excluded.provider END,
    model = CASE WHEN excluded.outcome = 'open' THEN model ELSE excluded.model END,
    ended = COALESCE(excluded.ended, ended), outcome = CASE WHEN excluded.outcome = 'open' THEN outcome ELSE excluded.outcome END,
    status = MAX(status, excluded.status), input = MAX(input, excluded.input), cached = MAX(cached, excluded.cached),
    cache_write = MAX(cache_write, excluded.cache_write), output = MAX(output, excluded.output),
    reasoning = MAX(reasoning, excluded.reasoning), input_audio = MAX(input_audio, excluded.input_audio),
    output_audio = MAX(output_audio, excluded.output_audio),
    source = CASE WHEN excluded.outcome = 'open' THEN source ELSE excluded.source END,
    cost = CASE WHEN excluded.outcome = 'open' THEN cost ELSE excluded.cost END,
    first_byte_ms = COALESCE(excluded.first_byte_ms, first_byte_ms), total_ms = COALESCE(excluded.total_ms, total_ms)
    WHERE requests.outcome IN ('open', 'assumed') OR requests.key = ''";
const ASSUME: &str =
    "UPDATE requests SET outcome = 'assumed', source = 'estimated', cost = reserved, ended = ? WHERE node = ? AND outcome = 'open'";

const LAST_USE: &str = "SELECT id, began, operation, provider || '/' || model AS model, source_address, outcome, status FROM requests
    WHERE key = ? ORDER BY began DESC LIMIT 1";

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
            let mut transaction = self.writes.begin_with("BEGIN IMMEDIATE").await?;
            let (mut pairs, mut texts) = (pair(entries), Texts::default());
            for pair in pairs.iter_mut().filter(|pair| pair.began.is_none()) {
                pair.began = Some(began(&mut transaction, node, pair).await?);
            }
            let mut hours: Vec<i64> = pairs.iter().map(|pair| rollups::hour_of(pair.began())).collect();
            hours.sort_unstable();
            hours.dedup();
            for hour in hours {
                rollups::forget(&mut transaction, hour).await?;
            }
            let (usual, rare): (Vec<_>, Vec<_>) = pairs.into_iter().partition(Pair::is_usual);
            for (pairs, statements) in [usual, rare].iter().zip(&*STATEMENTS) {
                let mut left = pairs.as_slice();
                for (rows, statement) in ROWS.into_iter().zip(statements) {
                    while let Some((now, later)) = left.split_at_checked(rows) {
                        write(&mut transaction, statement, arguments(node, now, &mut texts)?).await?;
                        left = later;
                    }
                }
            }
            sqlx::query("INSERT INTO cursors (node, segment, position) VALUES (?, ?, ?) ON CONFLICT (node) DO UPDATE SET segment = excluded.segment, position = excluded.position")
                .bind(node)
                .bind(signed(cursor.segment))
                .bind(signed(cursor.offset))
                .execute(&mut *transaction)
                .await?;
            transaction.commit().await?;
            // A move to another segment lets the ones before be deleted: what came from them must outlive a loss of power first.
            if cursor.offset == 0 {
                sqlx::query("PRAGMA wal_checkpoint(PASSIVE)").execute(&self.writes).await?;
            }
            Ok(())
        })
    }

    fn assume_open<'a>(&'a self, node: &'a str, at: Timestamp) -> Answer<'a, u64> {
        Box::pin(async move { Ok(sqlx::query(ASSUME).bind(micros(at)).bind(node).execute(&self.writes).await?.rows_affected()) })
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
                    used.requests += count(row, "requests")?;
                    used.input += count(row, "input")?;
                    used.output += count(row, "output")?;
                    // What still runs counts as its reservation, whatever it will cost.
                    used.cost.0 += row.try_get::<i64, _>("cost")? + row.try_get::<i64, _>("held")?;
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

    fn rows<'a>(&'a self, query: &'a RowsQuery, after: Option<&'a Place>) -> Answer<'a, Vec<Request>> {
        Box::pin(rows::page(&self.reads, query, after))
    }

    fn roll_up(&self, before: Timestamp) -> Answer<'_, bool> {
        Box::pin(rollups::roll_up(&self.writes, before))
    }

    fn prune(&self, before: Timestamp) -> Answer<'_, u64> {
        Box::pin(rollups::prune(&self.writes, before, PRUNED_AT_ONCE))
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
        at: timestamp(row.try_get("began")?),
        operation: row.try_get("operation")?,
        model: row.try_get("model")?,
        from: row.try_get("source_address")?,
        outcome: row.try_get("outcome")?,
        status: u16::try_from(row.try_get::<i64, _>("status")?).unwrap_or_default(),
    })
}
/// So few that whoever else writes to the store waits for milliseconds.
const PRUNED_AT_ONCE: u32 = 1000;

/// What a batch says of one request.
#[derive(Clone, Copy, Default)]
struct Pair<'a> {
    /// When the request came, where its records tell.
    began: Option<Timestamp>,
    begin: Option<&'a Begin>,
    settle: Option<&'a Settle>,
}

/// Texts that the rows of a batch have in common.
#[derive(Default)]
struct Texts {
    all: Vec<Arc<str>>,
    /// The last address: many requests come from one.
    address: Option<(IpAddr, Arc<str>)>,
}

/// So many of them: node, operations, outcomes, sources.
const MOST_SHARED: usize = 16;

/// Brings together what a batch says of each request: mostly it has begun and ended in the same one.
fn pair(entries: &[Entry]) -> Vec<Pair<'_>> {
    let mut places: HashMap<&str, usize> = HashMap::with_capacity(entries.len() / 2);
    let mut pairs: Vec<Pair<'_>> = Vec::with_capacity(entries.len() / 2);
    for entry in entries {
        let id = match entry {
            Entry::Begin(begin) => &begin.id,
            Entry::Settle(settle) => &settle.id,
        };
        let place = *places.entry(id).or_insert_with(|| {
            pairs.push(Pair::default());
            pairs.len() - 1
        });
        let pair = &mut pairs[place];
        match entry {
            Entry::Begin(begin) => (pair.begin, pair.began) = (Some(begin), Some(begin.at)),
            Entry::Settle(settle) => (pair.settle, pair.began) = (Some(settle), pair.began.or(settle.began)),
        }
    }
    pairs
}

/// When a request came whose end does not tell: what is known of it is open, or nothing is.
async fn began(connection: &mut SqliteConnection, node: &str, pair: &Pair<'_>) -> Result<Timestamp, StoreError> {
    let Some(settle) = pair.settle else { return Ok(Timestamp::default()) };
    let known = "SELECT began FROM requests WHERE node = ? AND outcome = 'open' AND id = ?";
    let known: Option<i64> = sqlx::query_scalar(known).bind(node).bind(&*settle.id).fetch_optional(connection).await?;
    Ok(known.map_or(settle.at, timestamp))
}

async fn write(connection: &mut SqliteConnection, statement: &'static str, arguments: SqliteArguments) -> Result<(), StoreError> {
    sqlx::query_with(statement, arguments).execute(connection).await?;
    Ok(())
}

fn arguments(node: &str, pairs: &[Pair<'_>], texts: &mut Texts) -> Result<SqliteArguments, StoreError> {
    let mut arguments = SqliteArguments::default();
    arguments.reserve(pairs.len() * 26, 0);
    pairs.iter().try_for_each(|pair| add_row(&mut arguments, node, pair, texts)).map_err(|e| StoreError(e.to_string()))?;
    Ok(arguments)
}

/// Adds a row's values in the order of [`USUAL`], and where it is not usual of [`RARE`].
fn add_row(to: &mut SqliteArguments, node: &str, pair: &Pair<'_>, texts: &mut Texts) -> Result<(), BoxDynError> {
    let Pair { begin, settle, .. } = pair;
    let usage = pair.usage();
    let text = |of_settle: fn(&Settle) -> &Arc<str>, of_begin: fn(&Begin) -> &Arc<str>| {
        settle.map(of_settle).or(begin.map(of_begin)).map_or_else(Arc::default, shortened)
    };
    to.add(micros(pair.began()))?;
    to.add(text(|settle| &settle.id, |begin| &begin.id))?;
    to.add(texts.shared(node))?;
    to.add(begin.map_or_else(Arc::default, |begin| Arc::clone(&begin.key)))?;
    to.add(texts.shared(begin.map_or("", |begin| &begin.operation)))?;
    to.add(text(|settle| &settle.provider, |begin| &begin.provider))?;
    to.add(text(|settle| &settle.model, |begin| &begin.model))?;
    to.add(begin.and_then(|begin| begin.from).map(|address| texts.address(address)))?;
    to.add(begin.and_then(|begin| begin.reserved).map(nanos))?;
    to.add(settle.map(|settle| micros(settle.at)))?;
    to.add(texts.shared(settle.map_or("open", |settle| settle.outcome.as_str())))?;
    to.add(settle.map_or(0, |settle| settle.status))?;
    to.add(tokens(usage.input))?;
    to.add(tokens(usage.output))?;
    to.add(texts.shared(settle.map_or(Source::None, |settle| settle.source).as_str()))?;
    to.add(settle.and_then(|settle| settle.cost).map(nanos))?;
    to.add(settle.and_then(|settle| settle.first_byte_ms).map(signed))?;
    to.add(settle.map(|settle| signed(settle.total_ms)))?;
    if pair.is_usual() {
        return Ok(());
    }
    to.add(texts.shared(begin.map_or("", |begin| &begin.project)))?;
    to.add(texts.shared(begin.map_or("", |begin| &begin.team)))?;
    to.add(texts.shared(begin.map_or("", |begin| &begin.prompt)))?;
    let counts = [usage.cached, usage.cache_write, usage.reasoning, usage.input_audio, usage.output_audio];
    counts.into_iter().try_for_each(|count| to.add(tokens(count)))
}

// === impl Pair ===

impl Pair<'_> {
    /// When the request came.
    fn began(&self) -> Timestamp {
        self.began.unwrap_or_default()
    }

    fn usage(&self) -> Usage {
        self.settle.map(|settle| settle.usage).unwrap_or_default()
    }

    /// Whether it says nothing in [`RARE`].
    fn is_usual(&self) -> bool {
        let Usage { input: _, output: _, cached, cache_write, reasoning, input_audio, output_audio } = self.usage();
        cached | cache_write | reasoning | input_audio | output_audio == 0
            && self.begin.is_none_or(|begin| begin.project.is_empty() && begin.team.is_empty() && begin.prompt.is_empty())
    }
}

// === impl Texts ===

impl Texts {
    fn shared(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.all.iter().find(|known| ***known == *text) {
            return Arc::clone(known);
        }
        let new: Arc<str> = text.into();
        if self.all.len() < MOST_SHARED {
            self.all.push(Arc::clone(&new));
        }
        new
    }

    fn address(&mut self, address: IpAddr) -> Arc<str> {
        match &self.address {
            Some((known, text)) if *known == address => Arc::clone(text),
            _ => Arc::clone(&self.address.insert((address, address.to_string().into())).1),
        }
    }
}

fn shortened(name: &Arc<str>) -> Arc<str> {
    match Some(name).filter(|name| name.len() > LONGEST_NAME).and_then(|name| name.char_indices().nth(LONGEST_NAME)) {
        Some((end, _)) => name[..end].into(),
        None => Arc::clone(name),
    }
}

fn tokens(count: u64) -> i64 {
    signed(count.min(MOST_TOKENS))
}

fn nanos(amount: Usd) -> i64 {
    amount.0.clamp(-MOST_NANOS, MOST_NANOS)
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
        running: count(row, "running")?,
    })
}

pub(super) fn count(row: &SqliteRow, column: &str) -> Result<u64, StoreError> {
    Ok(u64::try_from(row.try_get::<i64, _>(column)?).unwrap_or(0))
}
