//! SQLite: one file in the data folder, shared by the server and the command line.

mod audit;
mod commons;
mod credentials;
mod groups;
mod held;
mod idempotency;
mod keys;
mod ledger;
mod rollups;
mod rows;
mod subscriptions;
#[cfg(test)]
mod sums_tests;
#[cfg(test)]
mod tests;
mod writing;

use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64};
use std::time::Duration;

use jiff::Timestamp;
use ring::hmac;
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection, SqlitePool, Transaction};

use super::StoreError;
use crate::owner;

/// How tables came to be as they are.
static TABLES: Migrator = sqlx::migrate!("src/store/sqlite/migrations");
/// How long a writer waits for another one.
const BUSY: Duration = Duration::from_secs(5);
/// The same of a change that somebody waits for.
const CHANGE_BUSY: Duration = Duration::from_secs(1);

/// What has to be seen to by whoever puts a store back.
pub const WITHOUT_JOURNAL: &str =
    "once keyward.db-wal and keyward.db-shm are moved away where there are any, as they are of the one that was there";

/// Keys and ledger in one file.
#[derive(Clone, Debug)]
pub struct Sqlite {
    /// What only reads waits for no writer, nor for a connection that one waits on.
    reads: SqlitePool,
    /// The ledger, and what else is written beside requests.
    writes: SqlitePool,
    /// What people change, and the audit list.
    changes: SqlitePool,
    file: Arc<File>,
    /// How far what requests have in common was swept.
    swept: Arc<AtomicI64>,
    /// What the end of the audit list is put under; without it, it is under nothing.
    seal: Option<Arc<hmac::Key>>,
    /// Whether the end of the audit list was seen, which nobody takes away but who cuts the list.
    had_end: Arc<AtomicBool>,
}

/// The file that was opened: the one of its name may be another one by now.
#[derive(Debug)]
struct File {
    path: PathBuf,
    /// Its device and its number there.
    is: (u64, u64),
}

// === impl Sqlite ===

impl Sqlite {
    /// Opens the file, or makes it (mode 0600), and brings its tables up to date.
    pub async fn open(path: &Path) -> Result<Sqlite, StoreError> {
        Sqlite::opened(path, true).await
    }

    /// The same for whoever must leave tables of an older version as they are: those are an error, also where nobody can tell.
    pub async fn open_as_it_is(path: &Path) -> Result<Sqlite, StoreError> {
        Sqlite::opened(path, false).await
    }

    async fn opened(path: &Path, may_change: bool) -> Result<Sqlite, StoreError> {
        create(path).map_err(|e| StoreError(format!("{}: {e}", path.display())))?;
        // SQLite has no lock around the change to WAL and around migrations: of two first starts at once one would fail.
        let _alone = alone(path).await?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Normal)
            .foreign_keys(true)
            // What is asked for has its index: one that SQLite makes for a single question reads all rows.
            .pragma("automatic_index", "OFF")
            // In pages of 4 KiB. What was written since is brought into its place then, which waits for the disk; a loss of power may undo it
            // until then, which the ledger's segments make good.
            .pragma("wal_autocheckpoint", "4000");
        bring_up_to_date(path, &options, may_change).await.map_err(|e| StoreError(format!("{}: {}", path.display(), outdated(&e))))?;
        // SQLite undoes a transaction by itself where the disk is full; sqlx takes its connection to be in one from then on, and begins no other.
        let is_free = |connection: &SqliteConnection| Ok(!connection.is_in_transaction());
        let pool = |most: u32| {
            let pool = SqlitePoolOptions::new().max_connections(most).acquire_timeout(BUSY);
            pool.before_acquire(move |connection, _| Box::pin(std::future::ready(is_free(connection))))
        };
        let [reads, writes] = [4, 2].map(|most| pool(most).connect_lazy_with(options.clone().busy_timeout(BUSY)));
        // A key that was revoked stays revoked, and a secret that was taken out is out.
        let safe = options.busy_timeout(CHANGE_BUSY).synchronous(SqliteSynchronous::Full).pragma("secure_delete", "ON");
        let changes = pool(2).connect_lazy_with(safe);
        let file = File { path: path.to_path_buf(), is: identity(path).map_err(|e| StoreError(format!("{}: {e}", path.display())))? };
        Ok(Sqlite { reads, writes, changes, file: Arc::new(file), swept: Arc::default(), seal: None, had_end: Arc::default() })
    }

    /// Whether the file's tables are to be brought up to date; one that cannot be read is not known to be.
    pub async fn is_older(path: &Path) -> bool {
        let options = SqliteConnectOptions::new().filename(path).read_only(true).busy_timeout(BUSY);
        let pool = SqlitePoolOptions::new().max_connections(1).acquire_timeout(BUSY).connect_lazy_with(options);
        let is_older = version(&pool).await.ok().flatten().is_some_and(|is| Some(is) < newest());
        pool.close().await;
        is_older
    }

    /// Whether the journal beside a file is its own, as the one that a killed process leaves is: another file's destroys it, once a process
    /// that may write opens both.
    pub async fn has_own_journal(path: &Path) -> bool {
        let is_empty = std::fs::metadata(beside(path, "-wal")).map_or(true, |journal| journal.len() == 0);
        if !is_empty {
            let store = path.display();
            tracing::info!(%store, "looking whether the journal that a process left is the store's own, which takes some seconds a GB: let it end");
        }
        // What is damaged by itself is not the journal's fault.
        is_empty || wrong_in(path, false, WHOLE).await.is_none() || wrong_in(path, true, WHOLE).await.is_some()
    }

    /// That what a file and the journal beside it hold does not fit together; a look at all of it, which takes some seconds a GB.
    pub async fn damage(path: &Path) -> Option<StoreError> {
        wrong_in(path, false, SOUND).await.map(|found| StoreError::damaged(&found))
    }

    /// From here on the end of the audit list is kept under a secret; where it never was, or is not any more, an entry tells from when on.
    pub async fn sealed_under(self, secret: &[u8]) -> Result<Sqlite, StoreError> {
        let store = self.judged_under(secret);
        audit::seal(&store).await?;
        Ok(store)
    }

    /// The same for whoever looks at the list, and must not write what was missing.
    pub fn judged_under(self, secret: &[u8]) -> Sqlite {
        Sqlite { seal: Some(Arc::new(hmac::Key::new(hmac::HMAC_SHA256, secret))), ..self }
    }

    /// Notes under which secret keys are made here, by its digest; false where those that are there were made under another.
    pub async fn is_under(&self, digest: &[u8]) -> Result<bool, StoreError> {
        let known = || sqlx::query_scalar::<_, Vec<u8>>("SELECT digest FROM secret");
        // A store that is locked can be looked at all the same.
        if let Some(known) = known().fetch_optional(&self.reads).await? {
            return Ok(known == digest);
        }
        sqlx::query("INSERT INTO secret (digest) SELECT ? WHERE NOT EXISTS (SELECT 1 FROM secret)")
            .bind(digest)
            .execute(&self.writes)
            .await?;
        Ok(known().fetch_one(&self.reads).await? == digest)
    }

    /// Whether any key was made here, however many were.
    pub async fn has_keys(&self) -> Result<bool, StoreError> {
        Ok(sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM keys)").fetch_one(&self.reads).await?)
    }

    /// Keys that were made here.
    pub async fn count_keys(&self) -> Result<u64, StoreError> {
        let count: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM keys").fetch_one(&self.reads).await?;
        Ok(u64::try_from(count).unwrap_or(0))
    }

    /// Whether it takes changes now, as far as can be told without one: another program may hold its lock.
    pub async fn takes_changes(&self) -> Result<(), StoreError> {
        Ok(self.change().await?.rollback().await?)
    }

    /// Begins what people change: not in a file that no restart would find.
    async fn change(&self) -> Result<Transaction<'static, sqlx::Sqlite>, StoreError> {
        self.is_there()?;
        Ok(self.changes.begin_with("BEGIN IMMEDIATE").await?)
    }

    /// Whether the file that was opened is still the one that a restart would find: what is written to another one is lost.
    fn is_there(&self) -> Result<(), StoreError> {
        match identity(&self.file.path) {
            Ok(is) if is == self.file.is => Ok(()),
            _ => Err(StoreError(format!(
                "{} was moved, deleted or put in the place of: put the one back that was there",
                self.file.path.display()
            ))),
        }
    }
}

/// Looks at all that a file holds.
const WHOLE: &str = "PRAGMA integrity_check(1)";
/// The same without comparing indexes with their tables, which takes most of the time.
const SOUND: &str = "PRAGMA quick_check(1)";

/// What does not fit together in a file, with or without what is in the journal beside it; only looks, and changes neither.
async fn wrong_in(path: &Path, is_alone: bool, check: &'static str) -> Option<String> {
    let options =
        SqliteConnectOptions::new().filename(path).read_only(true).immutable(is_alone).busy_timeout(BUSY).disable_statement_logging();
    let pool = SqlitePoolOptions::new().max_connections(1).acquire_timeout(BUSY).connect_lazy_with(options);
    let found = sqlx::query_scalar::<_, String>(check).fetch_one(&pool).await;
    pool.close().await;
    match found {
        Ok(found) => (found != "ok").then_some(found),
        // Whatever else keeps it from being read is told where it is opened.
        Err(e) => is_damage(&e).then(|| e.to_string()),
    }
}

/// The lowest byte of SQLite's extended code of an error.
fn code(error: &sqlx::Error) -> Option<u32> {
    error.as_database_error()?.code()?.parse::<u32>().ok().map(|code| code & 0xff)
}

/// SQLITE_CORRUPT, SQLITE_NOTADB.
fn is_damage(error: &sqlx::Error) -> bool {
    matches!(code(error), Some(11 | 26))
}

/// A file that SQLite keeps beside another one.
fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    PathBuf::from(name)
}

/// The version of a store's tables: in a new one there are none. An error where the file is damaged.
async fn version(pool: &SqlitePool) -> Result<Option<i64>, sqlx::Error> {
    match sqlx::query_scalar("SELECT MAX(version) FROM _sqlx_migrations").fetch_one(pool).await {
        Err(e) if is_damage(&e) => Err(e),
        read => Ok(read.unwrap_or_default()),
    }
}

/// The version that this one's tables have.
fn newest() -> Option<i64> {
    TABLES.iter().map(|change| change.version).max()
}

/// Changes tables of an older version; whoever waits for a large store is told why.
async fn bring_up_to_date(path: &Path, options: &SqliteConnectOptions, may_change: bool) -> Result<(), MigrateError> {
    // Such a statement is slow by what it does, and as long as a screen.
    let options = options.clone().busy_timeout(BUSY).disable_statement_logging();
    let pool = SqlitePoolOptions::new().max_connections(1).acquire_timeout(BUSY).connect_lazy_with(options);
    let (is, will_be) = (version(&pool).await?, newest());
    let is_older = is.is_some() && is < will_be;
    if !may_change && is < will_be {
        let why = "its tables are not known to be of this version: try again, and if that is so still, start the gateway, which brings them up to date";
        return Err(MigrateError::Execute(sqlx::Error::Protocol(why.to_owned())));
    }
    if is_older {
        let (store, from, to) = (path.display(), is, will_be);
        tracing::info!(%store, from, to, "the store is being brought up to date, which may take half a minute for a million requests: let it end");
    }
    TABLES.run(&pool).await?;
    if is_older {
        tracing::info!("the store is up to date");
    }
    pool.close().await;
    Ok(())
}

/// What keeps tables from being brought up to date, and what to do about it.
fn outdated(error: &MigrateError) -> String {
    match error {
        MigrateError::VersionMissing(_) => format!(
            "it was written by a newer Keyward than this one ({}): start that one, or put back the store that was backed up before, {WITHOUT_JOURNAL}",
            env!("CARGO_PKG_VERSION")
        ),
        MigrateError::Execute(e) if is_damage(e) => StoreError::damaged(&e.to_string()).to_string(),
        // SQLITE_FULL, and what reading and writing of files come to.
        MigrateError::Execute(e) if matches!(code(e), Some(10 | 13)) => format!("{e}: see whether the disk is full or failing"),
        MigrateError::Execute(sqlx::Error::Protocol(why)) => why.clone(),
        e => e.to_string(),
    }
}

fn identity(path: &Path) -> std::io::Result<(u64, u64)> {
    std::fs::metadata(path).map(|file| (file.dev(), file.ino()))
}

fn create(path: &Path) -> std::io::Result<()> {
    // Never opened where it exists: closing a second handle would drop the locks that SQLite holds by the first.
    match owner::make(std::fs::OpenOptions::new().write(true).mode(0o600), path) {
        Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => Err(e),
        _ => Ok(()),
    }
}

/// Held while the file is opened; a file of its own, since closing the database's would drop SQLite's own locks.
async fn alone(path: &Path) -> Result<std::fs::File, StoreError> {
    let path = path.with_extension("opening");
    let locked = tokio::task::spawn_blocking(move || {
        let file = owner::open(std::fs::OpenOptions::new().append(true).mode(0o600), &path)?;
        file.lock().map(|()| file)
    });
    locked.await.map_err(|e| StoreError(e.to_string()))?.map_err(|e| StoreError(format!("the store's lock: {e}")))
}

impl From<sqlx::Error> for StoreError {
    fn from(e: sqlx::Error) -> StoreError {
        match code(&e) {
            // SQLITE_BUSY, SQLITE_LOCKED.
            Some(5 | 6) => StoreError::locked(),
            // SQLITE_FULL.
            Some(13) => StoreError::full(),
            _ if is_damage(&e) => StoreError::damaged(&e.to_string()),
            _ => StoreError(e.to_string()),
        }
    }
}

fn micros(time: Timestamp) -> i64 {
    time.as_microsecond()
}

/// Places of requests that came in the same microsecond.
const PLACES: i64 = 256;
/// A request's row is no farther than this behind the first place of when it came.
const ROOM: i64 = 256 * PLACES;

/// The first place of those that came at a time, or after it; of all after the year 3100 the last ones.
fn place(time: Timestamp) -> i64 {
    micros(time).clamp(i64::MIN / PLACES, i64::MAX / PLACES - PLACES) * PLACES
}

/// When whoever is at a place came.
fn came_at(place: i64) -> Timestamp {
    timestamp(place.div_euclid(PLACES))
}

fn timestamp(micros: i64) -> Timestamp {
    Timestamp::from_microsecond(micros).unwrap_or_default()
}

/// Counts are stored as SQLite's only integers: signed ones.
fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
