//! What the files of a folder are now, prompts and services alike: read again as they change; a bad file is refused whole and named.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use serde::Serialize;

/// How a folder's files are read.
pub trait Reading: Send + Sync + 'static {
    /// What was read of them.
    type Found: Send + Sync;
    /// Where they are.
    fn folder(&self) -> &Path;
    /// Whether a file with this ending is one of them.
    fn is_ours(ending: &str) -> bool;
    /// Reads them; of one that is wrong now, what it was `before` goes on.
    fn read_files(&self, files: &Seen, before: Option<&Self::Found>) -> Self::Found;
    /// Those that cannot be used.
    fn faults(found: &Self::Found) -> &[Misfile];
}

/// A folder's files, as they are now.
pub struct Shelf<R: Reading> {
    reading: R,
    now: RwLock<(Seen, Arc<R::Found>)>,
}

/// A file that cannot be used; in words `FILE:LINE: what is wrong`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Misfile {
    /// The file.
    pub file: String,
    /// The line, from 1 on.
    pub line: usize,
    /// What is wrong, and what would be right.
    pub message: String,
}

/// What files were when they were read.
pub type Seen = BTreeMap<PathBuf, (Option<SystemTime>, u64)>;

/// How often a folder is looked at.
const EVERY: Duration = Duration::from_secs(1);

/// The files of a folder that are read, as they are now; none where there is no folder.
pub fn seen<R: Reading>(folder: &Path) -> Seen {
    let ours = |entry: std::fs::DirEntry| {
        let path = entry.path();
        let is_ours = path.extension().and_then(|ending| ending.to_str()).is_some_and(R::is_ours);
        let facts = entry.metadata().ok().filter(|_| is_ours)?;
        Some((path, (facts.modified().ok(), facts.len())))
    };
    std::fs::read_dir(folder).into_iter().flatten().flatten().filter_map(ours).collect()
}

/// Puts a text into a file, which is the old one or the new one at every moment.
pub fn put(path: &Path, text: &str) -> std::io::Result<()> {
    let beside = path.with_extension("new");
    std::fs::write(&beside, text)?;
    std::fs::rename(&beside, path)
}

// === impl Shelf ===

impl<R: Reading> Shelf<R> {
    /// Reads the folder; where there is none, there is nothing in it.
    pub fn of(reading: R) -> Shelf<R> {
        let files = seen::<R>(reading.folder());
        let found = reading.read_files(&files, None);
        tell(R::faults(&found));
        Shelf { now: RwLock::new((files, Arc::new(found))), reading }
    }

    /// What holds now.
    pub fn now(&self) -> Arc<R::Found> {
        Arc::clone(&self.now.read().unwrap_or_else(PoisonError::into_inner).1)
    }

    /// Looks at the folder, and reads it again if anything in it changed.
    pub fn refresh(&self) {
        let files = seen::<R>(self.reading.folder());
        let before = {
            let now = self.now.read().unwrap_or_else(PoisonError::into_inner);
            if now.0 == files {
                return;
            }
            Arc::clone(&now.1)
        };
        let found = self.reading.read_files(&files, Some(&before));
        if R::faults(&found) != R::faults(&before) {
            tell(R::faults(&found));
        }
        *self.now.write().unwrap_or_else(PoisonError::into_inner) = (files, Arc::new(found));
    }

    /// Looks at the folder every second until told to stop.
    pub async fn follow(self: Arc<Self>, mut stopped: tokio::sync::watch::Receiver<bool>) {
        while tokio::time::timeout(EVERY, stopped.wait_for(|stop| *stop)).await.is_err() {
            let shelf = Arc::clone(&self);
            // A folder may be on a slow disk; what panics there is told by the runtime, and what was read last goes on.
            let _ = tokio::task::spawn_blocking(move || shelf.refresh()).await;
        }
    }
}

fn tell(faults: &[Misfile]) {
    for fault in faults {
        tracing::error!("{fault}; what it was before goes on, if it was anything");
    }
}

// === impl Misfile ===

impl Misfile {
    /// What is wrong in a line of a file.
    pub fn at(path: &Path, line: usize, message: impl Into<String>) -> Misfile {
        Misfile { file: path.display().to_string(), line, message: message.into() }
    }
}

impl fmt::Display for Misfile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.message)
    }
}
