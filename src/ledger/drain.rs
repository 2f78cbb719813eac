//! Takes the segments' records into the store, in batches, each once; what is in the store is deleted from the disk.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::{Notify, watch};

use super::{Ledger, segment};
use crate::store::{Cursor, Entry, LedgerStore, StoreError};

/// How often new records are looked for.
const EVERY: Duration = Duration::from_millis(200);
/// How long the store is left alone after it failed, at the most.
const LONGEST_BACKOFF: Duration = Duration::from_secs(5);
/// Of a segment so much is read at once: memory stays the same however much waits.
const BATCH_BYTES: usize = 1 << 20;
/// How often the disk is asked to keep what was written, against a loss of power.
const SYNC_EVERY: Duration = Duration::from_secs(1);
/// How long somebody waits for the newest records.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

/// The background task.
pub struct Drain {
    ledger: Arc<Ledger>,
    store: Arc<dyn LedgerStore>,
    handle: DrainHandle,
}

/// Wakes the task and waits for it.
#[derive(Clone)]
pub struct DrainHandle {
    ledger: Arc<Ledger>,
    wake: Arc<Notify>,
    done: watch::Receiver<Cursor>,
    report: Arc<watch::Sender<Cursor>>,
    status: Arc<DrainStatus>,
}

/// How the task fares.
#[derive(Debug, Default)]
pub struct DrainStatus {
    lag_bytes: AtomicU64,
    damaged_lines: AtomicU64,
    last_error: Mutex<Option<String>>,
}

// === impl Drain ===

impl Drain {
    /// A task that has not begun.
    pub fn new(ledger: Arc<Ledger>, store: Arc<dyn LedgerStore>) -> Drain {
        let (report, done) = watch::channel(Cursor::default());
        let handle = DrainHandle {
            ledger: Arc::clone(&ledger),
            wake: Arc::new(Notify::new()),
            done,
            report: Arc::new(report),
            status: Arc::default(),
        };
        Drain { ledger, store, handle }
    }

    /// A handle for those who need the newest records.
    pub fn handle(&self) -> DrainHandle {
        self.handle.clone()
    }

    /// Before the first request: takes in what the last run left, and settles at its reservation what it did not settle.
    pub async fn recover(&self) -> u64 {
        let recovered = async {
            self.catch_up().await?;
            self.store.assume_open(self.ledger.node(), Timestamp::now()).await
        };
        match recovered.await {
            Ok(assumed) => assumed,
            Err(e) => {
                tracing::warn!(error = %e, "the last run's records wait on disk until the store answers");
                0
            }
        }
    }

    /// Runs until shutdown, and then to the end of what was written.
    pub async fn run(self, mut shutdown: watch::Receiver<bool>) {
        let mut backoff = EVERY;
        let mut synced = Instant::now();
        loop {
            let stopping = *shutdown.borrow();
            backoff = match self.catch_up().await {
                Ok(()) => EVERY,
                Err(_) => (backoff * 2).min(LONGEST_BACKOFF),
            };
            if synced.elapsed() >= SYNC_EVERY || stopping {
                synced = Instant::now();
                self.sync().await;
            }
            if stopping {
                return;
            }
            tokio::select! {
                () = tokio::time::sleep(backoff) => {}
                () = self.handle.wake.notified() => {}
                _ = shutdown.wait_for(|stop| *stop) => {}
            }
        }
    }

    /// Takes in everything up to the end as it is now.
    async fn catch_up(&self) -> Result<(), StoreError> {
        let outcome = self.take_in().await;
        self.handle.status.note(outcome.as_ref().err());
        outcome
    }

    async fn take_in(&self) -> Result<(), StoreError> {
        let node = self.ledger.node();
        let end = self.ledger.end();
        let mut cursor = self.store.cursor(node).await?;
        let numbers = segment::numbers(self.ledger.folder()).map_err(|e| io_error(&e))?;
        for number in numbers.into_iter().filter(|number| *number <= end.segment) {
            if number > cursor.segment {
                cursor = Cursor { segment: number, offset: 0 };
            }
            while number == cursor.segment {
                let (entries, next) = self.read(cursor).map_err(|e| io_error(&e))?;
                if next == cursor {
                    break;
                }
                self.store.apply(node, &entries, next).await?;
                cursor = next;
            }
            if number < end.segment {
                std::fs::remove_file(segment::path(self.ledger.folder(), number)).map_err(|e| io_error(&e))?;
            }
        }
        let lag = if cursor.segment == end.segment { end.offset.saturating_sub(cursor.offset) } else { 0 };
        self.handle.status.lag_bytes.store(lag, Ordering::Relaxed);
        self.handle.report.send_replace(cursor.max(Cursor { segment: end.segment, offset: 0 }));
        Ok(())
    }

    /// A batch of whole lines after the cursor, and where it ends.
    fn read(&self, cursor: Cursor) -> io::Result<(Vec<Entry>, Cursor)> {
        let mut file = File::open(segment::path(self.ledger.folder(), cursor.segment))?;
        file.seek(SeekFrom::Start(cursor.offset))?;
        let mut text = Vec::new();
        file.take(BATCH_BYTES as u64).read_to_end(&mut text)?;
        let whole = memchr::memrchr(b'\n', &text).map_or(0, |at| at + 1);
        let mut entries = Vec::new();
        let mut offset = cursor.offset;
        for line in text[..whole].split_inclusive(|&b| b == b'\n') {
            match segment::decode(line.trim_ascii_end()) {
                Some(entry) => entries.push(entry),
                None => {
                    self.handle.status.damaged_lines.fetch_add(1, Ordering::Relaxed);
                    tracing::warn!(segment = cursor.segment, offset, "a ledger line is torn or damaged and is passed over");
                }
            }
            offset += line.len() as u64;
        }
        Ok((entries, Cursor { segment: cursor.segment, offset }))
    }

    async fn sync(&self) {
        let Ok(file) = self.ledger.active_file() else { return };
        match tokio::task::spawn_blocking(move || file.sync_data()).await {
            Ok(Ok(())) => {}
            Ok(Err(e)) => tracing::warn!(error = %e, "the disk did not confirm the ledger's newest records"),
            Err(e) => tracing::warn!(error = %e, "the ledger's sync did not run"),
        }
    }
}

// === impl DrainHandle ===

impl DrainHandle {
    /// Waits until everything appended before this call is in the store.
    pub async fn flush(&self) -> Result<(), StoreError> {
        let end = self.ledger.end();
        self.wake.notify_one();
        let mut done = self.done.clone();
        match tokio::time::timeout(FLUSH_TIMEOUT, done.wait_for(|cursor| *cursor >= end)).await {
            Ok(Ok(_)) => Ok(()),
            _ => Err(StoreError("the newest records are not in the store yet".to_owned())),
        }
    }

    /// How the task fares.
    pub fn status(&self) -> &DrainStatus {
        &self.status
    }
}

// === impl DrainStatus ===

impl DrainStatus {
    /// Bytes that were not in the store when the task last looked.
    pub fn lag_bytes(&self) -> u64 {
        self.lag_bytes.load(Ordering::Relaxed)
    }

    /// Lines that were torn or damaged.
    pub fn damaged_lines(&self) -> u64 {
        self.damaged_lines.load(Ordering::Relaxed)
    }

    /// Why the store does not take records, while it does not.
    pub fn last_error(&self) -> Option<String> {
        self.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Logs a change from good to bad or back, and not every try.
    fn note(&self, error: Option<&StoreError>) {
        let mut last = self.last_error.lock().unwrap_or_else(PoisonError::into_inner);
        match (&*last, error) {
            (None, Some(e)) => tracing::warn!(error = %e, "the ledger's store does not answer: records wait on disk"),
            (Some(_), None) => tracing::info!("the ledger's store answers again"),
            _ => {}
        }
        *last = error.map(ToString::to_string);
    }
}

fn io_error(e: &io::Error) -> StoreError {
    StoreError(format!("the ledger's folder: {e}"))
}
