//! Room 8: every request is written down before its provider is called and after its answer ended, once and never lost.
//!
//! A record goes into the active segment by one `write` to the page cache, which a killed process does not take with it; a background
//! task ([`drain`]) syncs segments to the disk each second and takes their records into the store.

pub mod drain;
pub mod record;
pub mod segment;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use record::{Begin, Settle};
use segment::Segment;

/// A segment that has grown to this size is followed by another.
const SEGMENT_BYTES: u64 = 8 << 20;

/// The local ledger of this node.
#[derive(Debug)]
pub struct Ledger {
    folder: PathBuf,
    node: String,
    /// Held for a microsecond at a time: the order of the records in the file is the order of the lock.
    active: Mutex<Segment>,
    is_failing: AtomicBool,
    /// Keeps other processes out for as long as this one lives.
    _lock: File,
}

// === impl Ledger ===

impl Ledger {
    /// Opens the folder (mode 0700), takes its lock, and begins a segment of its own.
    pub fn open(folder: &Path) -> io::Result<Ledger> {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let lock = File::create(folder.join("lock"))?;
        lock.try_lock().map_err(|_| {
            io::Error::other(format!(
                "another keyward is running on this data folder ({}): stop it, or set KEYWARD_DATA to another folder",
                folder.display()
            ))
        })?;
        let node = node_id(&folder.join("node"))?;
        // Never the last run's segment: its end may be torn.
        let number = segment::numbers(folder)?.last().map_or(1, |last| last + 1);
        let active = Mutex::new(Segment::create(folder, number)?);
        Ok(Ledger { folder: folder.to_path_buf(), node, active, is_failing: AtomicBool::new(false), _lock: lock })
    }

    /// Whether a process has the ledger in `folder` open.
    pub fn is_locked(folder: &Path) -> io::Result<bool> {
        Ok(File::open(folder.join("lock"))?.try_lock().is_err())
    }

    /// Writes down that a request begins.
    pub fn begin(&self, begin: &Begin) -> io::Result<()> {
        self.append(&segment::Line::Begin(begin))
    }

    /// Writes down how a request ended.
    pub fn settle(&self, settle: &Settle) -> io::Result<()> {
        self.append(&segment::Line::Settle(settle))
    }

    /// This node's name in the store.
    pub fn node(&self) -> &str {
        &self.node
    }

    /// Where the segments are.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether the last record could not be written.
    pub fn is_failing(&self) -> bool {
        self.is_failing.load(Ordering::Relaxed)
    }

    /// The active segment's number and length: whatever was appended before this call lies before it.
    pub fn end(&self) -> crate::store::Cursor {
        let active = self.active.lock().unwrap_or_else(PoisonError::into_inner);
        crate::store::Cursor { segment: active.number(), offset: active.len() }
    }

    /// A handle on the active segment's file, to be synced.
    pub fn active_file(&self) -> io::Result<File> {
        self.active.lock().unwrap_or_else(PoisonError::into_inner).file()
    }

    fn append(&self, line: &segment::Line<'_>) -> io::Result<()> {
        let text = line.encode()?;
        let mut active = self.active.lock().unwrap_or_else(PoisonError::into_inner);
        if active.len() >= SEGMENT_BYTES {
            *active = Segment::create(&self.folder, active.number() + 1)?;
        }
        let written = active.append(&text);
        self.is_failing.store(written.is_err(), Ordering::Relaxed);
        written
    }
}

fn node_id(path: &Path) -> io::Result<String> {
    if let Ok(id) = std::fs::read_to_string(path) {
        return Ok(id.trim().to_owned());
    }
    let random = crate::key::format::random_base62::<12>().map_err(|_| io::Error::other("the system has no randomness to give"))?;
    let id = String::from_utf8_lossy(&random).into_owned();
    std::fs::write(path, &id)?;
    Ok(id)
}
