//! What the ledger says of requests on its way into their table, in batches: mostly a request has begun and ended in the same one.

use std::collections::{HashMap, HashSet};
use std::hash::{Hash, Hasher};
use std::net::IpAddr;
use std::sync::{Arc, LazyLock};

use jiff::Timestamp;
use sqlx::error::BoxDynError;
use sqlx::sqlite::SqliteArguments;
use sqlx::{Arguments, SqliteConnection};

use super::{micros, rollups, signed, timestamp};
use crate::ledger::common::{Common, Facts};
use crate::ledger::record::{Begin, Of, Settle, Source, Usage};
use crate::money::Usd;
use crate::store::{Entry, StoreError};

/// What a batch says of one request.
#[derive(Clone, Copy, Default)]
struct Pair<'a> {
    /// When the request came, where its records tell.
    began: Option<Timestamp>,
    begin: Option<&'a Begin>,
    settle: Option<&'a Settle>,
}

/// What many requests have in common: who asked for what, and how it ended.
#[derive(PartialEq, Eq)]
struct Shared<'a> {
    common: Option<&'a Common>,
    /// The provider that answered and its model, where those are others than it began with.
    by: Option<&'a (Arc<str>, Arc<str>)>,
    outcome: &'static str,
    status: u16,
    source: &'static str,
}

/// Texts that the rows of a batch have in common.
#[derive(Default)]
struct Texts {
    all: Vec<Arc<str>>,
    /// The last address: many requests come from one.
    address: Option<(IpAddr, Arc<str>)>,
}

/// So many of them: node, keys, models, operations, outcomes, sources.
const MOST_SHARED: usize = 32;

/// A provider that counts nonsense must not make the sums over all requests overflow.
const MOST_TOKENS: u64 = 1 << 40;
const MOST_NANOS: i64 = 1 << 50;

/// A caller chooses how long a model's name is; what is longer than any real one is cut.
const LONGEST_NAME: usize = 200;

/// Rows of one statement, many first: each costs one message to the database's thread, and each is prepared once, which costs more
/// than its rows do.
const ROWS: [usize; 5] = [256, 64, 16, 4, 1];
/// The same where what the rows have in common is told once; fewer are not worth a statement of their own.
const ALIKE: [usize; 3] = [256, 64, 16];

/// Columns that each row has a value of its own for.
const OWN: &str = "began, id, reserved, ended, input, cached, output, cost, first_byte_ms, total_ms";
/// Columns that rows have in common.
const SHARED: &str = "node, key, project, team, prompt, operation, provider, model, source_address, outcome, status, source";
/// Columns that most rows leave as they are by default.
const RARE: &str = "cache_write, reasoning, input_audio, output_audio";
/// A row that is there is written over while it is not settled for good, by what is known now and was not before.
const MERGE: &str = "ON CONFLICT (began, id) DO UPDATE SET
    key = MAX(key, excluded.key), project = MAX(project, excluded.project), team = MAX(team, excluded.team),
    prompt = MAX(prompt, excluded.prompt), operation = MAX(operation, excluded.operation),
    source_address = COALESCE(source_address, excluded.source_address), reserved = COALESCE(excluded.reserved, reserved),
    provider = CASE WHEN excluded.provider = '' OR (excluded.outcome = 'open' AND provider <> '') THEN provider ELSE excluded.provider END,
    model = CASE WHEN excluded.provider = '' OR (excluded.outcome = 'open' AND provider <> '') THEN model ELSE excluded.model END,
    ended = COALESCE(excluded.ended, ended), outcome = CASE WHEN excluded.outcome = 'open' THEN outcome ELSE excluded.outcome END,
    status = MAX(status, excluded.status), input = MAX(input, excluded.input), cached = MAX(cached, excluded.cached),
    cache_write = MAX(cache_write, excluded.cache_write), output = MAX(output, excluded.output),
    reasoning = MAX(reasoning, excluded.reasoning), input_audio = MAX(input_audio, excluded.input_audio),
    output_audio = MAX(output_audio, excluded.output_audio),
    source = CASE WHEN excluded.outcome = 'open' THEN source ELSE excluded.source END,
    cost = CASE WHEN excluded.outcome = 'open' THEN cost ELSE excluded.cost END,
    first_byte_ms = COALESCE(excluded.first_byte_ms, first_byte_ms), total_ms = COALESCE(excluded.total_ms, total_ms)
    WHERE requests.outcome IN ('open', 'assumed') OR requests.key = ''";

static OF_EACH: LazyLock<[String; ROWS.len()]> = LazyLock::new(|| {
    let row = format!("({}, {}, {})", marks(OWN), marks(SHARED), marks(RARE));
    ROWS.map(|rows| format!("INSERT INTO requests ({OWN}, {SHARED}, {RARE}) VALUES {} {MERGE}", vec![row.as_str(); rows].join(", ")))
});
static OF_ALIKE: LazyLock<[String; ALIKE.len()]> = LazyLock::new(|| {
    let (row, shared) = (format!("({})", marks(OWN)), marks(SHARED));
    ALIKE.map(|rows| {
        let rows = vec![row.as_str(); rows].join(", ");
        format!("WITH alike ({OWN}) AS (VALUES {rows}) INSERT INTO requests ({OWN}, {SHARED}) SELECT {OWN}, {shared} FROM alike WHERE TRUE {MERGE}")
    })
});

/// Takes a batch in: what it says of a request that is there already is added to its row.
pub(super) async fn write(connection: &mut SqliteConnection, node: &str, entries: &[Entry]) -> Result<(), StoreError> {
    let (mut pairs, mut texts) = (pair(entries), Texts::default());
    for pair in pairs.iter_mut().filter(|pair| pair.began.is_none()) {
        pair.began = Some(began(connection, node, pair).await?);
    }
    let mut hours: Vec<i64> = pairs.iter().map(|pair| rollups::hour_of(pair.began())).collect();
    hours.sort_unstable();
    hours.dedup();
    for hour in hours {
        rollups::forget(connection, hour).await?;
    }
    let (groups, mut others) = grouped(pairs);
    for (shared, pairs) in &groups {
        let (pieces, left) = in_pieces(pairs, &ALIKE);
        for (size, pairs) in pieces {
            let arguments = of_alike(shared, pairs, node, &mut texts).map_err(|e| StoreError(e.to_string()))?;
            sqlx::query_with(OF_ALIKE[size].as_str(), arguments).execute(&mut *connection).await?;
        }
        others.extend_from_slice(left);
    }
    for (size, pairs) in in_pieces(&others, &ROWS).0 {
        let arguments = of_each(pairs, node, &mut texts).map_err(|e| StoreError(e.to_string()))?;
        sqlx::query_with(OF_EACH[size].as_str(), arguments).execute(&mut *connection).await?;
    }
    Ok(())
}

/// Rows in pieces, each with the place of its size among these; and those that are left.
fn in_pieces<'a, 'b>(mut rows: &'a [Pair<'b>], sizes: &[usize]) -> (Vec<(usize, &'a [Pair<'b>])>, &'a [Pair<'b>]) {
    let mut pieces = Vec::new();
    for (place, size) in sizes.iter().enumerate() {
        while let Some((piece, later)) = rows.split_at_checked(*size) {
            pieces.push((place, piece));
            rows = later;
        }
    }
    (pieces, rows)
}

fn of_alike(shared: &Shared<'_>, pairs: &[Pair<'_>], node: &str, texts: &mut Texts) -> Result<SqliteArguments, BoxDynError> {
    let mut arguments = SqliteArguments::default();
    arguments.reserve(pairs.len() * 10 + 12, 0);
    pairs.iter().try_for_each(|pair| pair.add_own(&mut arguments))?;
    shared.add(&mut arguments, node, texts)?;
    Ok(arguments)
}

fn of_each(pairs: &[Pair<'_>], node: &str, texts: &mut Texts) -> Result<SqliteArguments, BoxDynError> {
    let mut arguments = SqliteArguments::default();
    arguments.reserve(pairs.len() * 26, 0);
    for pair in pairs {
        pair.add_own(&mut arguments)?;
        Shared::of(pair).add(&mut arguments, node, texts)?;
        pair.add_rare(&mut arguments)?;
    }
    Ok(arguments)
}

/// Brings together what a batch says of each request, in the order in which they came.
fn pair(entries: &[Entry]) -> Vec<Pair<'_>> {
    let mut pairs: Vec<Pair<'_>> = Vec::with_capacity(entries.len() / 2 + 1);
    // Those that ended in the process that began them, by where their beginnings are.
    let mut ended: HashSet<*const Begin> = HashSet::with_capacity(entries.len() / 2 + 1);
    for settle in entries.iter().filter_map(Entry::settle) {
        if let Of::Begun(begin) = &settle.of {
            ended.insert(Arc::as_ptr(begin));
            pairs.push(Pair { began: Some(begin.at), begin: Some(begin), settle: Some(settle) });
        }
    }
    let mut places: HashMap<&str, usize> = HashMap::new();
    for entry in entries {
        let (id, begin, settle) = match entry {
            Entry::Begin(begin) if ended.contains(&Arc::as_ptr(begin)) => continue,
            Entry::Begin(begin) => (&begin.id, Some(&**begin), None),
            Entry::Settle(settle) => match &settle.of {
                Of::Begun(_) => continue,
                Of::Line { id, .. } => (id, None, Some(&**settle)),
            },
        };
        let place = *places.entry(id).or_insert_with(|| {
            pairs.push(Pair::default());
            pairs.len() - 1
        });
        let pair = &mut pairs[place];
        let began = begin.map(|begin| begin.at).or_else(|| settle?.of.began());
        *pair = Pair { began: pair.began.or(began), begin: begin.or(pair.begin), settle: settle.or(pair.settle) };
    }
    pairs.sort_by_key(|pair| pair.began);
    pairs
}

/// Brings together those that have much in common; behind them, those with something rare.
fn grouped(pairs: Vec<Pair<'_>>) -> (HashMap<Shared<'_>, Vec<Pair<'_>>>, Vec<Pair<'_>>) {
    let (mut groups, mut others): (HashMap<_, Vec<_>>, _) = (HashMap::new(), Vec::new());
    for pair in pairs {
        match pair.has_rare() {
            true => others.push(pair),
            false => groups.entry(Shared::of(&pair)).or_default().push(pair),
        }
    }
    (groups, others)
}

/// When a request came whose end does not tell: what is known of it is open, or nothing is.
async fn began(connection: &mut SqliteConnection, node: &str, pair: &Pair<'_>) -> Result<Timestamp, StoreError> {
    let Some(settle) = pair.settle else { return Ok(Timestamp::default()) };
    let known = "SELECT began FROM requests WHERE node = ? AND outcome = 'open' AND id = ?";
    let known: Option<i64> = sqlx::query_scalar(known).bind(node).bind(&**settle.of.id()).fetch_optional(connection).await?;
    Ok(known.map_or(settle.at, timestamp))
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

    /// Whether it says anything in [`RARE`].
    fn has_rare(&self) -> bool {
        let Usage { input: _, cached: _, output: _, cache_write, reasoning, input_audio, output_audio } = self.usage();
        cache_write | reasoning | input_audio | output_audio > 0
    }

    /// Adds its values in the order of [`OWN`].
    fn add_own(&self, to: &mut SqliteArguments) -> Result<(), BoxDynError> {
        let (Pair { begin, settle, .. }, usage) = (self, self.usage());
        to.add(micros(self.began()))?;
        to.add(settle.map(|settle| settle.of.id()).or(begin.map(|begin| &begin.id)).map_or_else(Arc::default, Arc::clone))?;
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

// === impl Shared ===

impl<'a> Shared<'a> {
    fn of(pair: &Pair<'a>) -> Shared<'a> {
        let Pair { begin, settle, .. } = *pair;
        Shared {
            common: begin.map(|begin| &*begin.common),
            by: settle.and_then(|settle| settle.by.as_ref()),
            outcome: settle.map_or("open", |settle| settle.outcome.as_str()),
            status: settle.map_or(0, |settle| settle.status),
            source: settle.map_or(Source::None, |settle| settle.source).as_str(),
        }
    }

    /// Adds its values in the order of [`SHARED`].
    fn add(&self, to: &mut SqliteArguments, node: &str, texts: &mut Texts) -> Result<(), BoxDynError> {
        let facts = self.common.map(Common::facts);
        let text = |of: fn(&Facts<Box<str>>) -> &str| facts.map_or("", of);
        let began_with = [text(|facts| &facts.provider), text(|facts| &facts.model)];
        to.add(texts.shared(node))?;
        let within = [text(|facts| &facts.key), text(|facts| &facts.project), text(|facts| &facts.team), text(|facts| &facts.prompt)];
        within.into_iter().try_for_each(|name| to.add(texts.shared(name)))?;
        to.add(texts.shared(text(|facts| &facts.operation)))?;
        let by = self.by.map_or(began_with, |(provider, model)| [provider, model]);
        by.into_iter().try_for_each(|name| to.add(texts.shared(shortened(name))))?;
        to.add(facts.and_then(|facts| facts.from).map(|address| texts.address(address)))?;
        to.add(texts.shared(self.outcome))?;
        to.add(self.status)?;
        to.add(texts.shared(self.source))
    }
}

impl Hash for Shared<'_> {
    /// By what tells most of them apart.
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.common.hash(state);
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

/// `?, ?, …`, one for each column.
fn marks(columns: &str) -> String {
    vec!["?"; columns.split(", ").count()].join(", ")
}

fn shortened(name: &str) -> &str {
    match Some(name).filter(|name| name.len() > LONGEST_NAME).and_then(|name| name.char_indices().nth(LONGEST_NAME)) {
        Some((end, _)) => &name[..end],
        None => name,
    }
}

fn tokens(count: u64) -> i64 {
    signed(count.min(MOST_TOKENS))
}

fn nanos(amount: Usd) -> i64 {
    amount.0.clamp(-MOST_NANOS, MOST_NANOS)
}
