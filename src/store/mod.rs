//! Where keys, groups, the ledger and what providers keep for whom rest: one small trait each, which every database implements.

pub mod audit;
#[cfg(test)]
pub mod gate;
pub mod sqlite;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;

use audit::{Actor, Entry as AuditEntry, Head, Note};

use crate::held::{self, Change, Held};
use crate::key::{KeyId, KeyRecord};
use crate::ledger::record::{Begin, Settle};
use crate::quota::meters::{Past, Used};
use crate::quota::{AccountId, Limits};
use crate::service::Subscription;

/// A store's answer, boxed so that the traits can be objects.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// The store did not do as asked; the text is for operators, and never for callers.
#[derive(Clone, Debug)]
pub struct StoreError(pub String);

/// Keys at rest.
pub trait KeyStore: Send + Sync {
    /// The key with that id.
    fn key(&self, id: KeyId) -> Answer<'_, Option<KeyRecord>>;
    /// All keys, newest first.
    fn keys(&self) -> Answer<'_, Vec<KeyRecord>>;
    /// Up to `most` keys that fit, newest first, from the one after `after` on.
    fn keys_page<'a>(&'a self, filter: &'a KeyFilter, after: Option<KeyId>, most: u32) -> Answer<'a, Vec<KeyRecord>>;
    /// Up to `most` accounts of keys and groups with limits that are counted, by their names, from the one after `after` on.
    fn limited<'a>(&'a self, after: Option<&'a str>, most: u32) -> Answer<'a, Vec<(AccountId, Limits)>>;
    /// A key with all that it replaced and that replaced it.
    fn family(&self, family: KeyId) -> Answer<'_, Vec<KeyRecord>>;
    /// Adds keys that were not stored, and replaces the records of others, all or none; notes each, and tells every node by new change numbers.
    ///
    /// False where one is not as it was read any more, or gone: nothing is changed, and what is to be changed has to be read anew.
    fn put_keys<'a>(&'a self, records: &'a [(KeyRecord, Note)]) -> Answer<'a, bool>;
    /// Switches all keys of an owner off, those made later too, or on again, and notes who did; false where that is so already.
    fn switch_owner<'a>(&'a self, owner: &'a str, disabled: bool, note: &'a Note) -> Answer<'a, bool>;
    /// The newest change number, and what changed after `since`.
    fn changes(&self, since: i64) -> Answer<'_, Changes>;
}

/// Teams, projects and the whole gateway at rest.
pub trait GroupStore: Send + Sync {
    /// The group with that id.
    fn group<'a>(&'a self, id: &'a AccountId) -> Answer<'a, Option<Group>>;
    /// All groups, by id.
    fn groups(&self) -> Answer<'_, Vec<Group>>;
    /// Adds a group, or replaces one that is as it `was` read; notes who did, and tells every node by a new change number.
    ///
    /// False where it is not so any more: nothing is changed, and it has to be read anew.
    fn put_group<'a>(&'a self, group: &'a Group, was: Option<&'a Group>, note: &'a Note) -> Answer<'a, bool>;
    /// Whether an alert of this name was never given before; from now on it was, and where it has a body it waits to be taken.
    fn first_alert<'a>(&'a self, name: &'a str, at: Timestamp, body: Option<&'a str>) -> Answer<'a, bool>;
    /// Up to `most` alerts that no webhook has taken yet, each with its body, oldest first.
    fn waiting_alerts(&self, most: u32) -> Answer<'_, Vec<(String, String)>>;
    /// An alert needs to be told no more.
    fn alert_taken<'a>(&'a self, name: &'a str) -> Answer<'a, ()>;
}

/// Providers' credentials at rest, each sealed.
pub trait CredentialStore: Send + Sync {
    /// All of them, by provider and name.
    fn credentials(&self) -> Answer<'_, Vec<KeptCredential>>;
    /// Adds one, or replaces one that is as it `was` read; notes who did, and tells every node by a new change number.
    ///
    /// False where it is not so any more, or gone: nothing is changed, and it has to be read anew.
    fn put_credential<'a>(&'a self, kept: &'a KeptCredential, was: Option<&'a KeptCredential>, note: &'a Note) -> Answer<'a, bool>;
    /// Erases one that is as it `was` read, and notes who did; false where it is not so any more, or gone.
    fn remove_credential<'a>(&'a self, was: &'a KeptCredential, note: &'a Note) -> Answer<'a, bool>;
    /// What the gateway sealed last as a mark of its key; none where none has started yet.
    fn mark(&self) -> Answer<'_, Option<Vec<u8>>>;
    /// Keeps a mark in the place of the one before.
    fn put_mark<'a>(&'a self, mark: &'a [u8]) -> Answer<'a, ()>;
}

/// Who changed what, at rest; it can only grow.
pub trait AuditStore: Send + Sync {
    /// Notes something that changes nothing else.
    fn note<'a>(&'a self, note: &'a Note) -> Answer<'a, ()>;
    /// Up to `most` entries before the number `before`, newest first.
    fn audit(&self, before: Option<i64>, most: u32) -> Answer<'_, Vec<AuditEntry>>;
    /// The newest entry of somebody.
    fn newest_of<'a>(&'a self, actor: &'a Actor) -> Answer<'a, Option<AuditEntry>>;
    /// What is known of the list's end beside the list.
    fn audit_head(&self) -> Answer<'_, Head>;
    /// Whether anything is there that nobody adds without its being noted.
    fn has_noted(&self) -> Answer<'_, bool>;
}

/// The ledger at rest.
pub trait LedgerStore: Send + Sync {
    /// How far a node's segments have been taken in.
    fn cursor<'a>(&'a self, node: &'a str) -> Answer<'a, Cursor>;
    /// Takes in records and moves the cursor, all or nothing; a record that is there already changes nothing.
    fn apply<'a>(&'a self, node: &'a str, entries: &'a [Entry], cursor: Cursor) -> Answer<'a, ()>;
    /// Settles at its reservation whatever was begun and not settled, by nodes of before too, as of a store that was put back from a backup: asked
    /// by the only one that runs. Tells how many.
    fn assume_open(&self, at: Timestamp) -> Answer<'_, u64>;
    /// What an account used since a period began; what still runs counts as its reservation.
    fn used<'a>(&'a self, account: &'a AccountId, past: &'a Past) -> Answer<'a, Used>;
    /// A key's newest request.
    fn last_use(&self, key: KeyId) -> Answer<'_, Option<LastUse>>;
    /// Sums over the ledger.
    fn usage<'a>(&'a self, query: &'a UsageQuery) -> Answer<'a, Vec<UsageRow>>;
    /// Up to [`PAGE`] requests in the order in which they began, from the first one after a place; an error where the one at that place, and
    /// others after it perhaps, were deleted.
    fn rows<'a>(&'a self, query: &'a RowsQuery, after: Option<Place>) -> Answer<'a, Vec<Request>>;
    /// Sums up one more day, hour or part of one whose requests mostly have ended by now, so that it need not be read row by row; false where
    /// there is none.
    fn roll_up(&self, now: Timestamp) -> Answer<'_, bool>;
    /// Deletes some requests that began in an hour that was over at `before` and have ended, but for those that came at the time of an open one; their
    /// sums stay. Tells how many.
    fn prune(&self, before: Timestamp) -> Answer<'_, u64>;
    /// Until when requests of a time are deleted, of which the sums of whole hours alone tell: the end of the newest hour with such in it.
    fn pruned_until(&self, since: Option<Timestamp>, until: Option<Timestamp>) -> Answer<'_, Option<Timestamp>>;
    /// When the newest request came.
    fn newest(&self) -> Answer<'_, Option<Timestamp>>;
    /// Looks at some more of what is kept of requests together, and forgets what none has any more; tells how much.
    fn sweep(&self) -> Answer<'_, u64>;
}

/// What providers keep for whom, at rest, as the ledger has told it. What a key's predecessors (by rotation) made is its own.
pub trait HeldStore: Send + Sync {
    /// The keys whose things are this key's: itself, and those that it came from by rotation.
    fn mine(&self, key: KeyId) -> Answer<'_, Vec<KeyId>>;
    /// The provider that keeps what has this id, if this key made it.
    fn holder<'a>(&'a self, key: KeyId, kind: held::Kind, id: &'a str) -> Answer<'a, Option<String>>;
    /// Whether any key made what has this id.
    fn is_held<'a>(&'a self, kind: held::Kind, id: &'a str) -> Answer<'a, bool>;
    /// All of a kind that this key made, newest first.
    fn held_by(&self, key: KeyId, kind: held::Kind) -> Answer<'_, Vec<Held>>;
    /// Forgets some of what was made before `before`; tells how many.
    fn forget(&self, before: Timestamp) -> Answer<'_, u64>;
}

/// Subscriptions to services, at rest.
pub trait SubscriptionStore: Send + Sync {
    /// Those that changed after the change number `since`, and the newest number of theirs.
    fn subscriptions_since(&self, since: i64) -> Answer<'_, (i64, Vec<Subscription>)>;
    /// All to a service, by key.
    fn subscriptions<'a>(&'a self, service: &'a str) -> Answer<'a, Vec<Subscription>>;
    /// Adds one where there is none, or one that has ended, notes who did, and tells every node by a new change number; false where there is one.
    fn add_subscription<'a>(&'a self, subscription: &'a Subscription, note: &'a Note) -> Answer<'a, bool>;
    /// Adds one, or replaces it where it is there; notes who did, and tells every node by a new change number.
    fn put_subscription<'a>(&'a self, subscription: &'a Subscription, note: &'a Note) -> Answer<'a, ()>;
    /// Ends all to a service, notes who did, and tells every node by a new change number; where none is left, nothing is noted.
    fn end_subscriptions<'a>(&'a self, service: &'a str, at: Timestamp, note: &'a Note) -> Answer<'a, ()>;
}

/// Requests that are done once however often they are sent, at rest.
pub trait IdempotencyStore: Send + Sync {
    /// Takes a name for a request (its digest) where nobody has it; what is older than `oldest` is forgotten.
    fn claim<'a>(&'a self, scope: &'a str, name: &'a str, request: &'a [u8], oldest: Timestamp) -> Answer<'a, Claim>;
    /// Forgets names that were taken before `before`, with their answers.
    fn forget_answers(&self, before: Timestamp) -> Answer<'_, ()>;
    /// Keeps the answer under the name, or gives the name back where nothing came of the request.
    fn answered<'a>(&'a self, scope: &'a str, name: &'a str, answer: Option<&'a [u8]>) -> Answer<'a, ()>;
}

/// What is known of a request that names itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// It is the first of its name.
    First,
    /// It was done, and this was the answer, sealed; the name was taken then.
    Done(Vec<u8>, Timestamp),
    /// It began, and how it ended is not known (yet).
    InDoubt,
    /// Another request has the name.
    Another,
}

/// Which keys to list; an absent part fits all.
#[derive(Clone, Debug, Default)]
pub struct KeyFilter {
    /// Whose they are.
    pub owner: Option<String>,
    /// The project that they belong to, by its id.
    pub project: Option<String>,
}

/// What changed since somebody looked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// The newest change number.
    pub newest: i64,
    /// Keys that changed.
    pub keys: Vec<KeyId>,
    /// Groups that changed.
    pub groups: Vec<AccountId>,
    /// Some credential changed.
    pub credentials: bool,
}

/// A credential of a provider, sealed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptCredential {
    /// What people call it.
    pub name: String,
    /// Whose it is: the provider's id.
    pub provider: String,
    /// What only its vault can open.
    pub sealed: Vec<u8>,
    /// Its share of the provider's requests.
    pub weight: u32,
    /// Switched off for now.
    pub disabled: bool,
    /// When it came.
    pub created: Timestamp,
}

/// A team, a project, or the whole gateway: what keys belong to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Which it is; never a key.
    pub id: AccountId,
    /// What people call it.
    pub name: String,
    /// The team of a project, by its id.
    pub team: Option<String>,
    /// What all of its keys together may do.
    pub limits: Limits,
    /// None of its keys works for now.
    pub disabled: bool,
    /// When it was made.
    pub created: Timestamp,
}

/// One line of a ledger segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A request began.
    Begin(Arc<Begin>),
    /// A request ended.
    Settle(Box<Settle>),
    /// Something that a provider keeps was made, or let go.
    Held(Arc<Change>),
}

/// A place in a node's segments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor {
    /// The segment's number.
    pub segment: u64,
    /// Bytes of it that are taken in.
    pub offset: u64,
}

/// Which requests to sum, and by what. Of hours whose requests are deleted (`ledger.keep`) only whole ones are summed.
#[derive(Clone, Debug, Default)]
pub struct UsageQuery {
    /// What makes a row.
    pub by: UsageBy,
    /// Requests from here on.
    pub since: Option<Timestamp>,
    /// Requests before here.
    pub until: Option<Timestamp>,
    /// Requests of this key alone.
    pub key: Option<String>,
    /// Requests of this project alone.
    pub project: Option<String>,
    /// Requests of this team alone.
    pub team: Option<String>,
}

/// What makes a row of usage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UsageBy {
    /// The caller's key.
    Key,
    /// `provider/model`.
    Model,
    /// The day in UTC.
    #[default]
    Day,
    /// The key's project when it asked.
    Project,
    /// The project's team when it asked.
    Team,
    /// Who answered.
    Provider,
    /// `chat`, `embeddings`, …
    Operation,
    /// The prompt that was called, as `name@version`.
    Prompt,
    /// `server/tool`, of calls of MCP tools alone.
    Tool,
    /// `service/operation`, of calls of REST services alone.
    Service,
}

/// Which requests to list.
#[derive(Clone, Debug, Default)]
pub struct RowsQuery {
    /// Requests from here on.
    pub since: Option<Timestamp>,
    /// Requests before here.
    pub until: Option<Timestamp>,
    /// Those of this key alone, by its id.
    pub key: Option<String>,
}

const LOCKED: &str = "the store is locked by another program";
const FULL: &str = "the disk that the store is on is full";
/// What is told where limits would be counted without what was used last.
const BEHIND: &str = "the newest records are not in the store yet";
/// What is told of a damaged file begins so.
const DAMAGED: &str = "the store's file is damaged";

/// Requests of a page at the most.
pub const PAGE: u32 = 1000;

/// Where a request stands among all, by when they began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place(pub(in crate::store) i64);

/// One request as the store has it, in the order of an export's columns.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the names are those of Begin, Settle and Usage")]
pub struct Request {
    /// No column: what the next page begins behind.
    #[serde(skip)]
    pub place: Place,
    pub id: String,
    pub began: Timestamp,
    pub ended: Option<Timestamp>,
    pub node: String,
    pub key: String,
    pub project: String,
    pub team: String,
    pub prompt: String,
    pub operation: String,
    pub provider: String,
    pub model: String,
    /// `open` while it runs.
    pub outcome: String,
    pub status: u16,
    pub input_tokens: u64,
    pub cached_tokens: u64,
    pub cache_write_tokens: u64,
    pub output_tokens: u64,
    pub reasoning_tokens: u64,
    pub input_audio_tokens: u64,
    pub output_audio_tokens: u64,
    pub source: String,
    pub reserved_nano_usd: Option<i64>,
    pub cost_nano_usd: Option<i64>,
    pub first_byte_ms: Option<i64>,
    pub total_ms: Option<i64>,
    /// Where it came from.
    pub source_address: Option<String>,
}

/// A key's newest request that a provider was to answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct LastUse {
    /// The request's id.
    pub request: String,
    /// When it came.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// `chat`, `embeddings`, …
    pub operation: String,
    /// `provider/model`.
    pub model: String,
    /// The address that it came from; a proxy's where there is one.
    pub from: Option<String>,
    /// How it ended: `answered`, `failed`, …; `open` while it runs.
    pub outcome: String,
    /// The status that its caller saw; 0 while it runs.
    pub status: u16,
}

/// A sum over requests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct UsageRow {
    /// The key id, the model, the day, …; empty where a request belongs to none.
    pub group: String,
    /// Requests begun.
    pub requests: u64,
    /// Of them, those that ended in an error or were abandoned.
    pub failed: u64,
    /// Input tokens.
    pub input_tokens: u64,
    /// Of them, read from a provider's cache.
    pub cached_tokens: u64,
    /// Output tokens.
    pub output_tokens: u64,
    /// What they cost, in nano-dollars.
    pub cost_nano_usd: i64,
    /// Requests with no price in the catalogue.
    pub unpriced: u64,
    /// Of the requests, those whose end is still to come.
    pub running: u64,
}

/// The time as precisely as stores keep it, to the microsecond: what is made now looks the same when it is read again.
pub fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now)
}

// === impl Entry ===

impl Entry {
    /// What it says of an end.
    pub fn settle(&self) -> Option<&Settle> {
        match self {
            Entry::Begin(_) | Entry::Held(_) => None,
            Entry::Settle(settle) => Some(settle),
        }
    }

    /// What it says of something that a provider keeps.
    pub fn held(&self) -> Option<&Arc<Change>> {
        match self {
            Entry::Begin(_) | Entry::Settle(_) => None,
            Entry::Held(change) => Some(change),
        }
    }
}

// === impl Group ===

impl Group {
    /// A new one without limits.
    pub fn new(id: AccountId, name: &str) -> Group {
        Group { id, name: name.to_owned(), team: None, limits: Limits::default(), disabled: false, created: now() }
    }
}

// === impl StoreError ===

impl StoreError {
    /// Another program holds the store's lock.
    pub fn locked() -> StoreError {
        StoreError(LOCKED.to_owned())
    }

    /// Whether another program holds the store's lock: nothing was done.
    pub fn is_locked(&self) -> bool {
        self.0 == LOCKED
    }

    /// There is no room for what was to be written.
    pub fn full() -> StoreError {
        StoreError(FULL.to_owned())
    }

    /// Whether there is no room for what was to be written: nothing was done.
    pub fn is_full(&self) -> bool {
        self.0 == FULL
    }

    /// The store has not taken in what has to be in it.
    pub fn behind() -> StoreError {
        StoreError(BEHIND.to_owned())
    }

    /// Whether the store has not taken in what has to be in it: it may do so later.
    pub fn is_behind(&self) -> bool {
        self.0 == BEHIND
    }

    /// What the store's file holds does not fit together, by what was found in it.
    pub fn damaged(found: &str) -> StoreError {
        StoreError(format!("{DAMAGED} ({found}): stop the gateway and put back the store that was backed up, {}", sqlite::WITHOUT_JOURNAL))
    }

    /// Whether the store's file is damaged, which no second try changes.
    pub fn is_damaged(&self) -> bool {
        self.0.starts_with(DAMAGED)
    }
}

impl std::fmt::Display for StoreError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for StoreError {}
