//! What many requests have in common (who asked whom for what, and how it ended), told once and known by its number.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicI64, Ordering};

use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{Arguments, Row, SqliteConnection, SqlitePool};

use super::writing::marks;
use crate::ledger::common::{Common, Facts};
use crate::ledger::record::{Begin, Settle, Source};
use crate::store::StoreError;

/// What a row has in common with others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shared<'a> {
    /// Who asks whom for what, where that is known.
    pub common: Option<&'a Common>,
    /// The provider that answered and its model, where those are others than it began with.
    pub by: Option<(&'a str, &'a str)>,
    /// How it ended; `open` where it has not.
    pub outcome: &'a str,
    /// The status that the caller saw.
    pub status: u16,
    /// Where its counts are from.
    pub source: &'a str,
}

/// All of it, in the order of the table's index.
const COLUMNS: &str = "key, model, provider, operation, project, team, prompt, node, outcome, status, source";
/// So many are looked for, or added, by one statement, many first.
const AT_ONCE: [usize; 3] = [64, 8, 1];
/// A caller chooses how long a model's name is; what is longer than any real one is cut.
const LONGEST_NAME: usize = 200;
/// So few are looked at at once that it takes milliseconds.
const SWEPT_AT_ONCE: u32 = 1000;

/// Statements by the place of their size in [`AT_ONCE`].
static FIND: LazyLock<[String; AT_ONCE.len()]> = LazyLock::new(|| {
    let row = format!("({}, ?)", marks(COLUMNS));
    AT_ONCE.map(|rows| {
        let rows = vec![row.as_str(); rows].join(", ");
        format!("WITH wanted ({COLUMNS}, place) AS (VALUES {rows}) SELECT place, number FROM wanted CROSS JOIN commons USING ({COLUMNS})")
    })
});
static ADD: LazyLock<[String; AT_ONCE.len()]> = LazyLock::new(|| {
    let row = format!("({})", marks(COLUMNS));
    // Of two long names the same may be left.
    AT_ONCE.map(|rows| format!("INSERT INTO commons ({COLUMNS}) VALUES {} ON CONFLICT DO NOTHING", vec![row.as_str(); rows].join(", ")))
});

/// The numbers of these, each of which is there from now on.
pub(super) async fn numbers<'a>(
    connection: &mut SqliteConnection,
    node: &str,
    wanted: &[Shared<'a>],
) -> Result<HashMap<Shared<'a>, i64>, StoreError> {
    let mut numbers = HashMap::with_capacity(wanted.len());
    find(connection, node, wanted, &mut numbers).await?;
    let new: Vec<Shared<'_>> = wanted.iter().filter(|shared| !numbers.contains_key(shared)).copied().collect();
    for (size, piece) in in_pieces(&new, &AT_ONCE) {
        let mut arguments = SqliteArguments::default();
        piece.iter().try_for_each(|shared| shared.add(&mut arguments, node)).map_err(|e| StoreError(e.to_string()))?;
        sqlx::query_with(ADD[size].as_str(), arguments).execute(&mut *connection).await?;
    }
    find(connection, node, &new, &mut numbers).await?;
    Ok(numbers)
}

async fn find<'a>(
    connection: &mut SqliteConnection,
    node: &str,
    wanted: &[Shared<'a>],
    numbers: &mut HashMap<Shared<'a>, i64>,
) -> Result<(), StoreError> {
    for (size, piece) in in_pieces(wanted, &AT_ONCE) {
        let mut arguments = SqliteArguments::default();
        for (place, shared) in (0i64..).zip(piece) {
            shared.add(&mut arguments, node).and_then(|()| arguments.add(place)).map_err(|e| StoreError(e.to_string()))?;
        }
        for row in sqlx::query_with(FIND[size].as_str(), arguments).fetch_all(&mut *connection).await? {
            let (place, number): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
            numbers.extend(usize::try_from(place).ok().and_then(|place| piece.get(place)).map(|shared| (*shared, number)));
        }
    }
    Ok(())
}

/// Things in pieces, each with the place of its size among these, the last of which is 1.
pub(super) fn in_pieces<'a, T>(mut all: &'a [T], sizes: &[usize]) -> Vec<(usize, &'a [T])> {
    let mut pieces = Vec::new();
    for (place, size) in sizes.iter().enumerate() {
        while let Some((piece, later)) = all.split_at_checked(*size) {
            pieces.push((place, piece));
            all = later;
        }
    }
    pieces
}

/// Looks at some more, behind those that it looked at before, and forgets those that no request has any more; tells how many.
pub(super) async fn sweep(reads: &SqlitePool, writes: &SqlitePool, swept: &AtomicI64) -> Result<u64, StoreError> {
    // They are looked at before anybody else has to wait.
    let look = "SELECT COALESCE(MAX(number), 0), json_group_array(number) FILTER (WHERE unused) FROM (
        SELECT number, NOT EXISTS (SELECT 1 FROM ledger WHERE common = number) AS unused FROM commons WHERE number > ? ORDER BY number LIMIT ?)";
    let (last, unused): (i64, String) =
        sqlx::query_as(look).bind(swept.load(Ordering::Relaxed)).bind(SWEPT_AT_ONCE).fetch_one(reads).await?;
    // Behind the last one it begins anew.
    swept.store(last, Ordering::Relaxed);
    let delete =
        "DELETE FROM commons WHERE number IN (SELECT value FROM json_each(?)) AND NOT EXISTS (SELECT 1 FROM ledger WHERE common = number)";
    match &*unused {
        "[]" => Ok(0),
        unused => Ok(sqlx::query(delete).bind(unused).execute(writes).await?.rows_affected()),
    }
}

/// Who asked whom for what, as a row of `commons` has it, and from where.
pub(super) fn facts(row: &SqliteRow) -> Result<Facts<&str>, StoreError> {
    let text = |column| row.try_get::<&str, _>(column);
    Ok(Facts {
        key: text("key")?,
        project: text("project")?,
        team: text("team")?,
        prompt: text("prompt")?,
        operation: row.try_get::<String, _>("operation")?.into(),
        provider: text("provider")?,
        model: text("model")?,
        from: row.try_get::<Option<&str>, _>("source_address")?.and_then(|address| address.parse().ok()),
    })
}

// === impl Shared ===

impl<'a> Shared<'a> {
    /// Of a request by what is known of it.
    pub(super) fn of(begin: Option<&'a Begin>, settle: Option<&'a Settle>) -> Shared<'a> {
        Shared {
            common: begin.map(|begin| &*begin.common),
            by: settle.and_then(|settle| settle.by.as_ref()).map(|(provider, model)| (&**provider, &**model)),
            outcome: settle.map_or("open", |settle| settle.outcome.as_str()),
            status: settle.map_or(0, |settle| settle.status),
            source: settle.map_or(Source::None, |settle| settle.source).as_str(),
        }
    }

    /// Adds its values in the order of [`COLUMNS`].
    fn add(&self, to: &mut SqliteArguments, node: &str) -> Result<(), sqlx::error::BoxDynError> {
        let facts = self.common.map(Common::facts).unwrap_or_default();
        let (provider, model) = self.by.unwrap_or((facts.provider, facts.model));
        let values = [facts.key, shortened(model), shortened(provider), &facts.operation, facts.project, facts.team, facts.prompt];
        for value in values.into_iter().chain([node, self.outcome]) {
            to.add(value.to_owned())?;
        }
        to.add(self.status)?;
        to.add(self.source.to_owned())
    }
}

impl Hash for Shared<'_> {
    /// By what tells most of them apart.
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.common, self.outcome.len()).hash(state);
    }
}

fn shortened(name: &str) -> &str {
    match Some(name).filter(|name| name.len() > LONGEST_NAME).and_then(|name| name.char_indices().nth(LONGEST_NAME)) {
        Some((end, _)) => &name[..end],
        None => name,
    }
}
