//! Room 8: every request is written down before its provider is called and after its answer ended, once and never lost.
//!
//! Records go into the active segment by one `write` to the page cache, which a killed process does not take with it; a background
//! task ([`drain`]) syncs segments to the disk each second and takes their records into the store. Whose something is that a provider keeps
//! goes the same way.

pub mod common;
pub mod drain;
pub mod export;
mod recent;
pub mod record;
pub mod segment;
#[cfg(test)]
mod tests;
pub mod together;
pub mod untaken;
pub mod upkeep;

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use recent::Recent;
use record::{Begin, Settle};
use segment::{Batch, Segment};
use together::Lines;
use tokio::sync::Notify;
use untaken::Untaken;

use crate::held::Change;
use crate::store::{Cursor, Entry};

/// A segment that has grown to this size is followed by another.
const SEGMENT_BYTES: u64 = 8 << 20;

/// The local ledger of this node.
#[derive(Debug)]
pub struct Ledger {
    folder: PathBuf,
    node: String,
    /// Held for a microsecond at a time: the order of the records in the file is the order of the lock.
    active: Mutex<Active>,
    /// Lines that wait for the next write, whichever thread's it is: ends.
    ends: Mutex<Lines>,
    /// Where this run begins.
    start: Cursor,
    is_failing: AtomicBool,
    /// The active segment's file is not the one of its name any more: what is written to it, no restart would find.
    is_away: AtomicBool,
    /// Tells that the records in memory should be taken.
    filling: Notify,
    /// Ends, and changes of what is held, that could not be written: no more than requests that ran when writing failed bring, since none begins
    /// then.
    owed: Mutex<Vec<Entry>>,
    /// Changes of what is held that the store does not have.
    untaken: Untaken,
    /// Keeps other processes out for as long as this one lives.
    _lock: File,
}

/// The right to a ledger's folder: no other process has it meanwhile.
#[derive(Debug)]
pub struct Locked {
    folder: PathBuf,
    lock: File,
}

/// What is appended to.
#[derive(Debug)]
struct Active {
    segment: Segment,
    recent: Recent,
    /// Between writes empty, and there for its memory.
    writing: Lines,
}

/// What is told while the active segment is not where it was made.
const AWAY: &str =
    "the ledger's folder was moved, deleted or put in the place of: put the one back that was there, or start the gateway anew";

/// A blank line, which means nothing, as long as most that mean something.
const PROBE: [u8; 1024] = {
    let mut line = [b' '; 1024];
    line[1023] = b'\n';
    line
};

// === impl Ledger ===

impl Ledger {
    /// Opens the folder (mode 0700), takes its lock, and begins a segment of its own.
    pub fn open(folder: &Path) -> io::Result<Ledger> {
        Locked::take(folder)?.open()
    }

    /// Whether a process has the ledger in `folder` open.
    pub fn is_locked(folder: &Path) -> io::Result<bool> {
        Ok(File::open(folder.join("lock"))?.try_lock().is_err())
    }

    /// The name in the store of the node whose ledger is in `folder`, where one has run on it.
    pub fn node_in(folder: &Path) -> io::Result<Option<String>> {
        let path = folder.join("node");
        match std::fs::read_to_string(&path) {
            Ok(id) => Ok(Some(id.trim().to_owned()).filter(|id| !id.is_empty())),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => {
                let why = "put back the one that was backed up, or move it away while no gateway runs, and the next start makes one";
                Err(io::Error::new(e.kind(), format!("{} cannot be read ({e}): {why}", path.display())))
            }
        }
    }

    /// Writes down that a request begins: once it has returned, the request is known whatever happens.
    pub async fn begin(&self, begin: Arc<Begin>) -> io::Result<()> {
        together::write(self, Entry::Begin(begin)).await
    }

    /// Writes down how a request ended, on some threads a moment later, but before whatever begins from now on; what cannot be written is
    /// kept for [`Ledger::try_again`].
    pub fn settle(self: &Arc<Self>, settle: Settle) -> io::Result<()> {
        together::write_soon(self, Entry::Settle(Box::new(settle)))
    }

    /// Writes down whose something is that a provider keeps, before anybody hears of it; what cannot be written is known all the same, and kept
    /// for [`Ledger::try_again`].
    pub fn hold(&self, change: Change) -> io::Result<()> {
        together::write_now(self, Entry::Held(Arc::new(change)))
    }

    /// Whose things are that the store does not know yet.
    pub fn untaken(&self) -> &Untaken {
        &self.untaken
    }

    /// Writes the ends that wait; what cannot be written is kept for [`Ledger::try_again`].
    pub fn write_ends(&self) -> io::Result<()> {
        self.write(&mut Lines::new())
    }

    /// After a write that failed: whether the disk has room again, and if so writes down what it had none for.
    pub fn try_again(self: &Arc<Self>) -> io::Result<()> {
        self.is_in_place()?;
        if self.is_failing() {
            let probed = self.lock().segment.append(&PROBE);
            self.is_failing.store(probed.is_err(), Ordering::Relaxed);
            probed?;
        }
        // Others may have been written since one failed.
        let owed = std::mem::take(&mut *self.owed());
        // The rest is owed again where one fails.
        owed.into_iter().map(|entry| together::write_soon(self, entry)).fold(Ok(()), Result::and)
    }

    /// This node's name in the store.
    pub fn node(&self) -> &str {
        &self.node
    }

    /// Where the segments are.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether the next record could not be written, as the last one could not.
    pub fn is_failing(&self) -> bool {
        self.is_failing.load(Ordering::Relaxed) || self.is_away()
    }

    /// Why nothing is written, in words for whoever runs the gateway.
    pub fn trouble(&self) -> Option<&'static str> {
        if self.is_away() { Some(AWAY) } else { self.is_failing().then_some("the ledger cannot be written") }
    }

    /// Looks whether the active segment's file is where it was made; while it is not, nothing is written.
    pub fn look(&self) -> bool {
        let is_there = self.lock().segment.is_there(&self.folder);
        if !self.is_away.swap(!is_there, Ordering::Relaxed) && !is_there {
            tracing::error!(folder = %self.folder.display(), "{AWAY}; until then requests are refused");
        }
        is_there
    }

    fn is_away(&self) -> bool {
        self.is_away.load(Ordering::Relaxed)
    }

    /// Fails while the active segment is away.
    fn is_in_place(&self) -> io::Result<()> {
        if self.is_away() { Err(io::Error::new(io::ErrorKind::NotFound, AWAY)) } else { Ok(()) }
    }

    /// Where this run begins: all before it is of earlier ones.
    pub fn start(&self) -> Cursor {
        self.start
    }

    /// The active segment's number and the end of its last whole line: whatever was appended before this call lies before it.
    pub fn end(&self) -> Cursor {
        let Active { segment, .. } = &*self.lock();
        Cursor { segment: segment.number(), offset: segment.whole() }
    }

    /// A handle on the active segment's file, to be synced.
    pub fn active_file(&self) -> io::Result<File> {
        self.lock().segment.file()
    }

    /// Waits until the records in memory are about to be more than it keeps.
    pub async fn filling(&self) {
        self.filling.notified().await;
    }

    /// A batch of records from `from` on, if they are still in memory; otherwise how far its segment has to be read before some are.
    pub fn take_recent(&self, from: Cursor) -> Result<Batch, Option<u64>> {
        self.lock().recent.take(from)
    }

    /// Writes the ends that wait, and these beginnings behind them; of what cannot be written, all but beginnings is owed.
    fn write(&self, begins: &mut Lines) -> io::Result<()> {
        let active = &mut *self.lock();
        // Only now, so that no end is passed by what begins after it.
        std::mem::swap(&mut active.writing, &mut *self.ends());
        active.writing.append(begins);
        if active.writing.entries.is_empty() {
            return Ok(());
        }
        let written = self.is_in_place().and_then(|()| active.append(&self.folder, &self.untaken));
        self.is_failing.store(written.is_err(), Ordering::Relaxed);
        if written.is_err() {
            active.writing.entries.iter().filter_map(|(entry, _)| entry.held()).for_each(|change| self.untaken.owed(change));
            let owed = active.writing.entries.drain(..).map(|(entry, _)| entry);
            self.owed().extend(owed.filter(|entry| !matches!(entry, Entry::Begin(_))));
        }
        active.writing.clear();
        if active.recent.is_filling() {
            self.filling.notify_one();
        }
        written
    }

    /// Ends that are not written yet.
    fn ends(&self) -> MutexGuard<'_, Lines> {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn owed(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.owed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, Active> {
        self.active.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Locked ===

impl Locked {
    /// Takes the lock of a folder, which is made where there is none (mode 0700).
    pub fn take(folder: &Path) -> io::Result<Locked> {
        let path = folder.join("lock");
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
        let lock = made.and_then(|()| private().create(true).truncate(true).open(&path));
        let not_made = |e: io::Error| {
            let why = format!("{} cannot be written: {e}; see to it that whoever runs the gateway may write to its folder", path.display());
            io::Error::new(e.kind(), why)
        };
        let lock = lock.map_err(not_made)?;
        lock.try_lock().map_err(|_| {
            io::Error::other(format!(
                "another keyward is running on this data folder ({}): stop it, or set KEYWARD_DATA to another folder",
                folder.display()
            ))
        })?;
        Ok(Locked { folder: folder.to_path_buf(), lock })
    }

    /// Opens the ledger, and begins a segment of its own.
    pub fn open(self) -> io::Result<Ledger> {
        let Locked { folder, lock } = self;
        let node = node_id(&folder)?;
        // Never the last run's segment: its end may be torn.
        let number = segment::numbers(&folder)?.last().map_or(1, |last| last + 1);
        let active = Mutex::new(Active { segment: Segment::create(&folder, number)?, recent: Recent::default(), writing: Lines::new() });
        Ok(Ledger {
            folder,
            node,
            active,
            ends: Mutex::new(Lines::new()),
            start: Cursor { segment: number, offset: 0 },
            is_failing: AtomicBool::new(false),
            is_away: AtomicBool::new(false),
            filling: Notify::new(),
            owed: Mutex::default(),
            untaken: Untaken::default(),
            _lock: lock,
        })
    }
}

// === impl Active ===

impl Active {
    /// Appends what is being written.
    fn append(&mut self, folder: &Path, untaken: &Untaken) -> io::Result<()> {
        let Active { segment, recent, writing } = self;
        // A segment that cannot be followed by another, say for want of a file handle, grows on.
        if segment.len() >= SEGMENT_BYTES
            && let Ok(next) = Segment::create(folder, segment.number() + 1)
        {
            *segment = next;
        }
        segment.append(&writing.text)?;
        let mut at = Cursor { segment: segment.number(), offset: segment.whole() - writing.text.len() as u64 };
        for (entry, len) in writing.entries.drain(..) {
            let end = at.offset + len as u64;
            if let Some(change) = entry.held() {
                untaken.written(change, Cursor { offset: end, ..at });
            }
            recent.keep(entry, at, end);
            at.offset = end;
        }
        Ok(())
    }
}

fn node_id(folder: &Path) -> io::Result<String> {
    if let Some(id) = Ledger::node_in(folder)? {
        return Ok(id);
    }
    let random = crate::key::format::random_base62::<12>().map_err(|_| io::Error::other("the system has no randomness to give"))?;
    let id = String::from_utf8_lossy(&random).into_owned();
    private().create(true).truncate(true).open(folder.join("node"))?.write_all(id.as_bytes())?;
    Ok(id)
}

/// For a file of its owner alone.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).mode(0o600);
    options
}
