//! What the ledger says of requests on its way into their table, in batches: mostly a request has begun and ended in the same one.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::{Arc, LazyLock};

use foldhash::fast::RandomState;
use jiff::Timestamp;
use sqlx::error::BoxDynError;
use sqlx::sqlite::SqliteArguments;
use sqlx::{Arguments, Row, SqliteConnection};

use super::commons::{self, Shared, in_pieces};
use super::{PLACES, ROOM, came_at, micros, place, rollups, signed};
use crate::ledger::common::Common;
use crate::ledger::record::{Begin, MOST_COST, MOST_TOKENS, Of, Settle, Usage};
use crate::money::Usd;
use crate::store::{Entry, StoreError};

/// What a batch says of one request.
#[derive(Clone, Copy, Default)]
struct Pair<'a> {
    /// When the request came, where its records tell.
    began: Option<Timestamp>,
    /// Where its row is, where the store was asked for that.
    found: Option<i64>,
    begin: Option<&'a Begin>,
    settle: Option<&'a Settle>,
}

/// Rows of one statement, many first: each costs one message to the database's thread, and each is prepared once, which costs more
/// than its rows do.
const ROWS: [usize; 5] = [256, 64, 16, 4, 1];

/// Columns that each row has a value for.
const OWN: &str = "place, id, common, source_address, reserved, ended, input, cached, output, cost, first_byte_ms, total_ms";
/// Columns that most rows leave as they are by default.
const RARE: &str = "cache_write, reasoning, input_audio, output_audio";
/// A row that is there is written over while it is not settled for good, once it is known how it ended; another's row stays.
const MERGE: &str = "ON CONFLICT (place) DO UPDATE SET common = excluded.common,
    source_address = COALESCE(excluded.source_address, source_address), reserved = COALESCE(excluded.reserved, reserved),
    ended = excluded.ended, input = excluded.input, cached = excluded.cached, cache_write = excluded.cache_write, output = excluded.output,
    reasoning = excluded.reasoning, input_audio = excluded.input_audio, output_audio = excluded.output_audio, cost = excluded.cost,
    first_byte_ms = excluded.first_byte_ms, total_ms = excluded.total_ms
    WHERE excluded.id = ledger.id AND excluded.ended IS NOT NULL
        AND (ledger.ended IS NULL OR EXISTS (SELECT 1 FROM commons WHERE number = ledger.common AND (outcome = 'assumed' OR key = '')))";

/// Statements by the place of their number of rows in [`ROWS`].
static NARROW: LazyLock<[String; ROWS.len()]> = LazyLock::new(|| inserts(OWN));
static WIDE: LazyLock<[String; ROWS.len()]> = LazyLock::new(|| inserts(&format!("{OWN}, {RARE}")));

/// The first place behind its own that is nobody's.
const FREE: &str = "SELECT place + 1 FROM ledger AS taken WHERE place >= ?1 AND place < ?2 - 1
    AND NOT EXISTS (SELECT 1 FROM ledger WHERE place = taken.place + 1) ORDER BY place LIMIT 1";

/// Takes a batch in: what it says of a request that is there already is added to its row.
pub(super) async fn write(connection: &mut SqliteConnection, node: &str, entries: &[Entry]) -> Result<(), StoreError> {
    let mut pairs = pair(entries);
    for pair in pairs.iter_mut().filter(|pair| pair.began.is_none()) {
        *pair = came(connection, node, *pair).await?;
    }
    name_the_nameless(connection, node, &mut pairs).await?;
    let known = begins(connection, &pairs).await?;
    for (which, found, begin) in &known {
        (pairs[*which].begin, pairs[*which].found) = (Some(begin), Some(*found));
    }
    // Each row that is written, or was completed above, is in one of these.
    rollups::forget(connection, pairs.iter().map(Pair::place)).await?;
    let numbers = numbers(connection, node, &pairs).await?;
    let (rare, plain): (Vec<_>, Vec<_>) = pairs.into_iter().zip(numbers).partition(|(pair, _)| pair.has_rare());
    for (rows, statements, with_rare) in [(plain, &NARROW, false), (rare, &WIDE, true)] {
        for (size, piece) in in_pieces(&rows, &ROWS) {
            if insert(connection, &statements[size], piece, with_rare).await? < piece.len() as u64 {
                find_room(connection, piece, &statements[ROWS.len() - 1], with_rare).await?;
            }
        }
    }
    Ok(())
}

/// Writes those of a piece whose places are others' rows: where they are already, or where there is room behind.
async fn find_room(
    connection: &mut SqliteConnection,
    piece: &[(Pair<'_>, i64)],
    one: &'static str,
    with_rare: bool,
) -> Result<(), StoreError> {
    for (pair, common) in piece {
        let owner: String =
            sqlx::query_scalar("SELECT id FROM ledger WHERE place = ?").bind(pair.place()).fetch_one(&mut *connection).await?;
        if owner == pair.id() {
            continue;
        }
        let own = "SELECT place FROM ledger WHERE place >= ? AND place < ? AND id = ?";
        let (first, last) = pair.room();
        let found: Option<i64> = sqlx::query_scalar(own).bind(first).bind(last).bind(pair.id()).fetch_optional(&mut *connection).await?;
        let found = match found {
            Some(found) => found,
            None => {
                let free = sqlx::query_scalar(FREE).bind(pair.place()).bind(last).fetch_optional(&mut *connection).await?;
                free.ok_or_else(|| StoreError(format!("{ROOM} requests came at {}: does the clock stand?", pair.began())))?
            }
        };
        rollups::forget(connection, [found]).await?;
        insert(connection, one, &[(Pair { found: Some(found), ..*pair }, *common)], with_rare).await?;
    }
    Ok(())
}

/// Writes rows by the statement for so many; tells how many were new or changed.
async fn insert(
    connection: &mut SqliteConnection,
    statement: &'static str,
    rows: &[(Pair<'_>, i64)],
    with_rare: bool,
) -> Result<u64, StoreError> {
    let arguments = arguments(rows, with_rare).map_err(|e| StoreError(e.to_string()))?;
    Ok(sqlx::query_with(statement, arguments).execute(connection).await?.rows_affected())
}

/// The number of what each has in common with others.
async fn numbers(connection: &mut SqliteConnection, node: &str, pairs: &[Pair<'_>]) -> Result<Vec<i64>, StoreError> {
    let mut places: HashMap<Shared<'_>, usize, RandomState> = HashMap::default();
    let mut all = Vec::new();
    let of_each: Vec<usize> = pairs
        .iter()
        .map(|pair| {
            let shared = Shared::of(pair.begin, pair.settle);
            *places.entry(shared).or_insert_with(|| {
                all.push(shared);
                all.len() - 1
            })
        })
        .collect();
    let known = commons::numbers(connection, node, &all).await?;
    let numbers: Option<Vec<i64>> = all.iter().map(|shared| known.get(shared).copied()).collect();
    let numbers = numbers.ok_or_else(|| StoreError("what requests have in common was written and is not there".to_owned()))?;
    Ok(of_each.into_iter().map(|which| numbers[which]).collect())
}

/// The beginnings, as the store has them, of what ended in another batch than it began in, each with the pair that it belongs to and where it is.
async fn begins(connection: &mut SqliteConnection, pairs: &[Pair<'_>]) -> Result<Vec<(usize, i64, Begin)>, StoreError> {
    let statement = "SELECT place, commons.*, source_address, reserved FROM ledger JOIN commons ON number = common
        WHERE place >= ? AND place < ? AND id = ?";
    let mut begins = Vec::new();
    for (which, pair) in pairs.iter().enumerate().filter(|(_, pair)| pair.begin.is_none()) {
        let Some(settle) = pair.settle else { continue };
        let (id, (first, last)) = (settle.of.id(), pair.room());
        let row = sqlx::query(statement).bind(first).bind(last).bind(&**id).fetch_optional(&mut *connection).await?;
        if let Some(row) = row {
            let common = Arc::new(Common::new(&commons::facts(&row)?));
            let reserved = row.try_get::<Option<i64>, _>("reserved")?.map(Usd);
            begins.push((which, row.try_get("place")?, Begin { id: Arc::clone(id), at: pair.began(), common, reserved }));
        }
    }
    Ok(begins)
}

/// Completes the rows of requests whose end was taken in before their beginning, as no ledger has it whose lines are whole.
async fn name_the_nameless(connection: &mut SqliteConnection, node: &str, pairs: &mut [Pair<'_>]) -> Result<(), StoreError> {
    if !sqlx::query_scalar::<_, bool>("SELECT EXISTS (SELECT 1 FROM commons JOIN ledger ON common = number WHERE key = '')")
        .fetch_one(&mut *connection)
        .await?
    {
        return Ok(());
    }
    let nameless =
        "SELECT place, commons.* FROM ledger JOIN commons ON number = common WHERE place >= ? AND place < ? AND id = ? AND key = ''";
    let name = "UPDATE ledger SET common = ?, source_address = ?, reserved = COALESCE(reserved, ?) WHERE place = ?";
    for pair in pairs.iter_mut().filter(|pair| pair.settle.is_none()) {
        let (Some(begin), (first, last)) = (pair.begin, pair.room()) else { continue };
        let row = sqlx::query(nameless).bind(first).bind(last).bind(&*begin.id).fetch_optional(&mut *connection).await?;
        let Some(row) = row else { continue };
        let found = row.try_get("place")?;
        pair.found = Some(found);
        let by: (&str, &str) = (row.try_get("provider")?, row.try_get("model")?);
        let shared = Shared {
            common: Some(&begin.common),
            by: Some(by).filter(|(provider, _)| !provider.is_empty()),
            outcome: row.try_get("outcome")?,
            status: row.try_get("status")?,
            source: row.try_get("source")?,
        };
        for number in commons::numbers(connection, node, &[shared]).await?.into_values() {
            let query = sqlx::query(name).bind(number).bind(address_of(begin)).bind(begin.reserved.map(nanos));
            query.bind(found).execute(&mut *connection).await?;
        }
    }
    Ok(())
}

fn arguments(rows: &[(Pair<'_>, i64)], with_rare: bool) -> Result<SqliteArguments, BoxDynError> {
    let mut arguments = SqliteArguments::default();
    arguments.reserve(rows.len() * if with_rare { 16 } else { 12 }, 0);
    // Many requests come from one address.
    let mut address: Option<(IpAddr, Arc<str>)> = None;
    for (pair, common) in rows {
        let from = pair.begin.and_then(|begin| begin.common.address()).map(|from| match &address {
            Some((known, text)) if *known == from => Arc::clone(text),
            _ => Arc::clone(&address.insert((from, from.to_string().into())).1),
        });
        pair.add_own(*common, from, &mut arguments)?;
        if with_rare {
            pair.add_rare(&mut arguments)?;
        }
    }
    Ok(arguments)
}

fn address_of(begin: &Begin) -> Option<String> {
    begin.common.address().map(|from| from.to_string())
}

fn inserts(columns: &str) -> [String; ROWS.len()] {
    let row = format!("({})", marks(columns));
    ROWS.map(|rows| format!("INSERT INTO ledger ({columns}) VALUES {} {MERGE}", vec![row.as_str(); rows].join(", ")))
}

/// Brings together what a batch says of each request, in the order in which they came.
fn pair(entries: &[Entry]) -> Vec<Pair<'_>> {
    let mut pairs: Vec<Pair<'_>> = Vec::with_capacity(entries.len() / 2 + 1);
    // Those that ended in the process that began them, by where their beginnings are.
    let mut ended: HashSet<*const Begin, RandomState> = HashSet::with_capacity_and_hasher(entries.len() / 2 + 1, RandomState::default());
    for settle in entries.iter().filter_map(Entry::settle) {
        if let Of::Begun(begin) = &settle.of {
            ended.insert(Arc::as_ptr(begin));
            pairs.push(Pair { began: Some(begin.at), found: None, begin: Some(begin), settle: Some(settle) });
        }
    }
    let mut places: HashMap<&str, usize> = HashMap::new();
    for entry in entries {
        let (id, begin, settle) = match entry {
            Entry::Begin(begin) if ended.contains(&Arc::as_ptr(begin)) => continue,
            Entry::Held(_) => continue,
            Entry::Begin(begin) => (&begin.id, Some(&**begin), None),
            Entry::Settle(settle) => match &settle.of {
                Of::Begun(_) => continue,
                Of::Line { id, .. } => (id, None, Some(&**settle)),
            },
        };
        let which = *places.entry(id).or_insert_with(|| {
            pairs.push(Pair::default());
            pairs.len() - 1
        });
        let pair = &mut pairs[which];
        let began = begin.map(|begin| begin.at).or_else(|| settle?.of.began());
        *pair = Pair { began: pair.began.or(began), found: None, begin: begin.or(pair.begin), settle: settle.or(pair.settle) };
    }
    pairs.sort_by_key(|pair| pair.began);
    pairs
}

/// A request whose end does not tell when it came: what is known of it is open, or nothing is.
async fn came<'a>(connection: &mut SqliteConnection, node: &str, pair: Pair<'a>) -> Result<Pair<'a>, StoreError> {
    let known = "SELECT place FROM ledger JOIN commons ON number = common WHERE ended IS NULL AND node = ? AND id = ?";
    let found: Option<i64> = sqlx::query_scalar(known).bind(node).bind(pair.id()).fetch_optional(connection).await?;
    let began = found.map(came_at).or(pair.settle.map(|settle| settle.at));
    Ok(Pair { began, found, ..pair })
}

// === impl Pair ===

impl Pair<'_> {
    /// When the request came.
    fn began(&self) -> Timestamp {
        self.began.unwrap_or_default()
    }

    fn shared_id(&self) -> Option<&Arc<str>> {
        self.settle.map(|settle| settle.of.id()).or(self.begin.map(|begin| &begin.id))
    }

    fn id(&self) -> &str {
        self.shared_id().map_or("", |id| id)
    }

    /// Where its row is, or is to be: the last digits of its id tell it from others of its microsecond.
    fn place(&self) -> i64 {
        self.found.unwrap_or_else(|| {
            let digits =
                self.id().bytes().rev().take(2).zip([1, 16]).map(|(digit, of)| (i64::from(digit & 0xf) + i64::from(digit >> 6) * 9) * of);
            place(self.began()) + digits.sum::<i64>() % PLACES
        })
    }

    /// From where to where its row may be.
    fn room(&self) -> (i64, i64) {
        let first = place(self.began());
        (first, first.saturating_add(ROOM))
    }

    fn usage(&self) -> Usage {
        self.settle.map(|settle| settle.usage).unwrap_or_default()
    }

    /// Whether it says anything in [`RARE`].
    fn has_rare(&self) -> bool {
        let Usage { cache_write, reasoning, input_audio, output_audio, .. } = self.usage();
        cache_write | reasoning | input_audio | output_audio > 0
    }

    /// Adds its values in the order of [`OWN`].
    fn add_own(&self, common: i64, from: Option<Arc<str>>, to: &mut SqliteArguments) -> Result<(), BoxDynError> {
        let (Pair { begin, settle, .. }, usage) = (self, self.usage());
        to.add(self.place())?;
        to.add(self.shared_id().map_or_else(Arc::default, Arc::clone))?;
        to.add(common)?;
        to.add(from)?;
        to.add(begin.and_then(|begin| begin.reserved).map(nanos))?;
        to.add(settle.map(|settle| micros(settle.at)))?;
        [usage.input, usage.cached, usage.output].into_iter().try_for_each(|count| to.add(tokens(count)))?;
        to.add(settle.and_then(|settle| settle.cost).map(nanos))?;
        to.add(settle.and_then(|settle| settle.first_byte_ms).map(signed))?;
        to.add(settle.map(|settle| signed(settle.total_ms)))
    }

    /// Adds its values in the order of [`RARE`].
    fn add_rare(&self, to: &mut SqliteArguments) -> Result<(), BoxDynError> {
        let usage = self.usage();
        let counts = [usage.cache_write, usage.reasoning, usage.input_audio, usage.output_audio];
        counts.into_iter().try_for_each(|count| to.add(tokens(count)))
    }
}

/// `?, ?, …`, one for each column.
pub(super) fn marks(columns: &str) -> String {
    vec!["?"; columns.split(", ").count()].join(", ")
}

fn tokens(count: u64) -> i64 {
    signed(count.min(MOST_TOKENS))
}

/// A provider that counts nonsense, or a caller who asks for it, is no reason for a sum that says nothing.
fn nanos(amount: Usd) -> i64 {
    amount.0.clamp(-MOST_COST.0, MOST_COST.0)
}
