//! Takes the segments' records into the store, in batches, each once; what is in the store is deleted from the disk.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{Notify, watch};

use super::segment::Batch;
use super::{Ledger, segment};
use crate::store::{Cursor, Entry, LedgerStore, StoreError};

/// How often new records are looked for.
const EVERY: Duration = Duration::from_millis(200);
/// How long the store is left alone after it failed, at the most.
const LONGEST_BACKOFF: Duration = Duration::from_secs(5);
/// How often the disk is asked to keep what was written, against a loss of power.
const SYNC_EVERY: Duration = Duration::from_secs(1);
/// How long somebody waits for the newest records.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

/// The background task.
pub struct Drain {
    ledger: Arc<Ledger>,
    store: Arc<dyn LedgerStore>,
    handle: DrainHandle,
    /// How far the store is, once it has told.
    taken: Mutex<Option<Cursor>>,
    /// The ledger could not be written when it was last looked at.
    was_failing: AtomicBool,
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
    is_recovered: AtomicBool,
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
        Drain { ledger, store, handle, taken: Mutex::new(None), was_failing: AtomicBool::new(false) }
    }

    /// A handle for those who need the newest records.
    pub fn handle(&self) -> DrainHandle {
        self.handle.clone()
    }

    /// Before the first request: takes in what the last run left, and settles at its reservation what it did not settle.
    ///
    /// Where the store does not answer now, [`Drain::run`] makes up for it when it does.
    pub async fn recover(&self) -> u64 {
        self.catch_up().await.unwrap_or_else(|e| {
            tracing::warn!(error = %e, "the last run's records wait on disk until the store answers");
            0
        })
    }

    /// Runs until shutdown, and then to the end of what was written.
    pub async fn run(self, shutdown: watch::Receiver<bool>) {
        // Side by side: a store that does not answer must not keep the disk from being synced.
        let ((), synced) = tokio::join!(self.keep_draining(shutdown.clone()), self.keep_syncing(shutdown));
        self.sync(synced).await;
    }

    async fn keep_draining(&self, mut shutdown: watch::Receiver<bool>) {
        let mut backoff = EVERY;
        let mut is_stopping = false;
        loop {
            if self.ledger.try_again().is_ok_and(|()| self.was_failing.swap(false, Ordering::Relaxed)) {
                tracing::info!("the ledger can be written again");
            }
            self.was_failing.fetch_or(self.ledger.is_failing(), Ordering::Relaxed);
            backoff = match self.catch_up().await {
                Ok(_) => EVERY,
                Err(_) => (backoff * 2).min(LONGEST_BACKOFF),
            };
            if is_stopping {
                return;
            }
            tokio::select! {
                () = tokio::time::sleep(backoff) => {}
                () = self.handle.wake.notified() => {}
                // A store that has failed is left alone all the same: what there is no room for is read from the disk.
                () = self.ledger.filling(), if backoff == EVERY => {}
                // An error here means that nobody is left to give the word: that is a shutdown too.
                _ = shutdown.wait_for(|stop| *stop) => is_stopping = true,
            }
        }
    }

    async fn keep_syncing(&self, mut shutdown: watch::Receiver<bool>) -> Option<Cursor> {
        let mut synced = None;
        loop {
            tokio::select! {
                () = tokio::time::sleep(SYNC_EVERY) => {}
                _ = shutdown.wait_for(|stop| *stop) => return synced,
            }
            if self.ledger.look() {
                synced = self.sync(synced).await;
            }
        }
    }

    /// Takes in everything up to the end as it is now; tells how many of earlier runs' requests were assumed.
    async fn catch_up(&self) -> Result<u64, StoreError> {
        let outcome = self.take_in_all().await;
        if outcome.is_err() {
            // It may have kept the batch all the same: only the store knows.
            self.set_taken(None);
        }
        self.handle.status.lag_bytes.store(self.lag(), Ordering::Relaxed);
        self.handle.status.note(outcome.as_ref().err());
        outcome
    }

    async fn take_in_all(&self) -> Result<u64, StoreError> {
        let mut assumed = 0;
        if !self.handle.status.is_recovered() {
            // Nothing of this run is in the store yet, so what is open there will never be settled.
            self.take_in(self.ledger.start()).await?;
            assumed = self.store.assume_open(Timestamp::now()).await?;
            self.handle.status.is_recovered.store(true, Ordering::Release);
        }
        self.take_in(self.ledger.end()).await?;
        Ok(assumed)
    }

    async fn take_in(&self, end: Cursor) -> Result<(), StoreError> {
        let mut cursor = self.cursor().await?;
        if cursor >= end {
            return Ok(());
        }
        for number in segment::numbers(self.ledger.folder()).map_err(|e| io_error(&e))? {
            if number > end.segment {
                break;
            }
            if number > cursor.segment {
                cursor = Cursor { segment: number, offset: 0 };
                // The store keeps the move for good before what lies behind it is deleted.
                self.apply(&[], cursor).await?;
                self.delete_before(number).map_err(|e| io_error(&e))?;
            }
            if number < cursor.segment {
                continue;
            }
            while cursor < end {
                let batch = match self.ledger.take_recent(cursor) {
                    Ok(batch) => batch,
                    Err(recent) => {
                        let until = (number == end.segment).then_some(end.offset);
                        self.read(cursor, recent.into_iter().chain(until).min()).await?
                    }
                };
                if batch.next == cursor.offset {
                    break;
                }
                cursor.offset = batch.next;
                self.apply(&batch.entries, cursor).await?;
            }
        }
        Ok(())
    }

    /// How far the store is: asked of it once, and after it failed.
    async fn cursor(&self) -> Result<Cursor, StoreError> {
        let taken = *self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(cursor) = taken {
            return Ok(cursor);
        }
        let mut cursor = self.store.cursor(self.ledger.node()).await?;
        if cursor > self.ledger.end() {
            tracing::warn!(?cursor, "the store is ahead of the ledger's folder, whose segments were taken away: beginning at the first");
            cursor = Cursor::default();
        }
        self.set_taken(Some(cursor));
        Ok(cursor)
    }

    async fn apply(&self, entries: &[Entry], cursor: Cursor) -> Result<(), StoreError> {
        self.store.apply(self.ledger.node(), entries, cursor).await?;
        // Before the report: whoever waits for it must find the store well.
        self.handle.status.note(None);
        self.set_taken(Some(cursor));
        Ok(())
    }

    fn set_taken(&self, cursor: Option<Cursor>) {
        *self.taken.lock().unwrap_or_else(PoisonError::into_inner) = cursor;
        if let Some(cursor) = cursor {
            self.ledger.untaken().taken(cursor);
            self.handle.report.send_replace(cursor);
        }
    }

    /// Reads a batch on a thread for blocking work: a thousand lines take milliseconds that no request should wait for.
    async fn read(&self, from: Cursor, end: Option<u64>) -> Result<Batch, StoreError> {
        let ledger = Arc::clone(&self.ledger);
        let reading = tokio::task::spawn_blocking(move || segment::read(ledger.folder(), from, end));
        let batch = reading.await.map_err(|e| StoreError(e.to_string()))?.map_err(|e| io_error(&e))?;
        for offset in &batch.damaged {
            self.handle.status.damaged_lines.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(segment = from.segment, offset, "a ledger line is torn or damaged and is passed over");
        }
        Ok(batch)
    }

    fn delete_before(&self, segment: u64) -> io::Result<()> {
        for number in segment::numbers(self.ledger.folder())?.into_iter().filter(|number| *number < segment) {
            std::fs::remove_file(segment::path(self.ledger.folder(), number))?;
        }
        Ok(())
    }

    /// Bytes on disk that are not in the store, also while it is down.
    fn lag(&self) -> u64 {
        let (taken, end) = (*self.handle.done.borrow(), self.ledger.end());
        match taken.segment == end.segment {
            true => end.offset.saturating_sub(taken.offset),
            false => segment::between(self.ledger.folder(), taken, end).unwrap_or(end.offset),
        }
    }

    /// Makes the disk keep what was written since `synced`; tells how far it is then.
    async fn sync(&self, synced: Option<Cursor>) -> Option<Cursor> {
        let end = self.ledger.end();
        if synced == Some(end) {
            return synced;
        }
        let first = synced.unwrap_or(self.ledger.start()).segment;
        let has_new_names = synced.is_none_or(|synced| synced.segment < end.segment);
        let ledger = Arc::clone(&self.ledger);
        match tokio::task::spawn_blocking(move || segment::sync(ledger.folder(), first, end.segment, has_new_names)).await {
            Ok(Ok(())) => return Some(end),
            Ok(Err(e)) => tracing::warn!(error = %e, "the disk did not confirm the ledger's newest records"),
            Err(e) => tracing::warn!(error = %e, "the ledger's sync did not run"),
        }
        synced
    }
}

// === impl DrainHandle ===

impl DrainHandle {
    /// Waits until everything that was begun or ended before this call is in the store.
    pub async fn flush(&self) -> Result<(), StoreError> {
        self.ledger.write_ends().map_err(|e| io_error(&e))?;
        let end = self.ledger.end();
        self.wake.notify_one();
        let mut done = self.done.clone();
        match tokio::time::timeout(FLUSH_TIMEOUT, done.wait_for(|cursor| *cursor >= end)).await {
            Ok(Ok(_)) => Ok(()),
            _ => Err(self.status.last_error().map_or_else(StoreError::behind, StoreError)),
        }
    }

    /// How the task fares.
    pub fn status(&self) -> &DrainStatus {
        &self.status
    }
}

// === impl DrainStatus ===

impl DrainStatus {
    /// What earlier runs left is in the store and settled.
    pub fn is_recovered(&self) -> bool {
        self.is_recovered.load(Ordering::Acquire)
    }

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
