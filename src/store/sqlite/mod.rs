//! SQLite: one file in the data folder, shared by the server and the command line.

mod keys;
mod ledger;
#[cfg(test)]
mod tests;

use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use sqlx::SqlitePool;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};

use super::StoreError;

/// How long a writer waits for another one.
const BUSY: Duration = Duration::from_secs(5);

/// Keys and ledger in one file.
#[derive(Clone, Debug)]
pub struct Sqlite {
    pool: SqlitePool,
}

// === impl Sqlite ===

impl Sqlite {
    /// Opens the file, or makes it (mode 0600), and brings its tables up to date.
    pub async fn open(path: &Path) -> Result<Sqlite, StoreError> {
        std::fs::OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(path)
            .map_err(|e| StoreError(format!("{}: {e}", path.display())))?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Normal)
            .busy_timeout(BUSY)
            .foreign_keys(true);
        let pool = SqlitePoolOptions::new().max_connections(4).acquire_timeout(BUSY).connect_with(options).await?;
        sqlx::migrate!("src/store/sqlite/migrations").run(&pool).await.map_err(|e| StoreError(e.to_string()))?;
        Ok(Sqlite { pool })
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(e: sqlx::Error) -> StoreError {
        StoreError(e.to_string())
    }
}

fn micros(time: Timestamp) -> i64 {
    time.as_microsecond()
}

fn timestamp(micros: i64) -> Timestamp {
    Timestamp::from_microsecond(micros).unwrap_or_default()
}

/// Counts are stored as SQLite's only integers: signed ones.
fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
