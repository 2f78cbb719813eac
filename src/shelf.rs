//! What the files of a folder are now, prompts and services alike: read again as they change; a bad file is refused whole and named.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs::{File, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::owner;

/// How a folder's files are read.
pub trait Reading: Send + Sync + 'static {
    /// What was read of them.
    type Found: Send + Sync;
    /// Where they are.
    fn folder(&self) -> &Path;
    /// Whether a file with this ending is one of them.
    fn is_ours(ending: &str) -> bool;
    /// Reads them; of one that is wrong now, or is being written, what it was `before` goes on.
    fn read_files(&self, files: &Seen, moving: &Moving, before: Option<&Self::Found>) -> Self::Found;
    /// Those that cannot be used.
    fn faults(found: &Self::Found) -> &[Misfile];
    /// Whether it has to be read again though no file changes.
    fn is_unsettled(_: &Self::Found) -> bool {
        false
    }
}

/// A folder's files, as they are now.
pub struct Shelf<R: Reading> {
    reading: R,
    now: RwLock<(Seen, Arc<R::Found>)>,
    /// Why the folder itself cannot be read, while it cannot.
    unread: Mutex<Option<Misfile>>,
    /// What files were when they were last looked at.
    looked: Mutex<Seen>,
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
pub type Seen = BTreeMap<PathBuf, Facts>;

/// When a file was changed, how long it is, and which one it is: a link may lead to another one.
pub type Facts = (Option<SystemTime>, u64, u64);

/// Files that are being written: they are not as they were a moment ago.
pub type Moving = BTreeSet<PathBuf>;

/// How often a folder is looked at; a file is read once it is the same at two looks.
const EVERY: Duration = Duration::from_millis(450);
/// What has changed so lately at the start is looked at once more.
const QUIET: Duration = Duration::from_millis(250);
/// The file of a folder that whoever changes its files holds the lock of; it has no ending, so that it is none of them.
pub const LOCK: &str = ".lock";
/// How long the lock is waited for.
pub const LONGEST: Duration = Duration::from_secs(2);
/// How often it is tried meanwhile.
const STEP: Duration = Duration::from_millis(20);

/// The files of a folder that are read, as they are now, or those that their links lead to; an error where the folder cannot be read.
pub fn seen<R: Reading>(folder: &Path) -> io::Result<Seen> {
    let mut files = Seen::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().and_then(|ending| ending.to_str()).is_some_and(R::is_ours) {
            match std::fs::metadata(&path) {
                Ok(facts) => drop(files.insert(path, (facts.modified().ok(), facts.len(), facts.ino()))),
                // It has just gone, or is a link that leads nowhere.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(files)
}

/// The same where nothing was read before: none where there is no folder.
pub fn seen_first<R: Reading>(folder: &Path) -> Result<Seen, Misfile> {
    match seen::<R>(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Seen::new()),
        read => read.map_err(|error| Misfile::at(folder, 1, format!("the folder cannot be read ({error})"))),
    }
}

/// Lets nobody else change a folder's files until it is dropped, in this process or another: what was read of them holds as long.
///
/// An error of the kind `NotFound` where there is no folder, and `WouldBlock` where somebody else goes on holding it.
pub fn alone(folder: &Path) -> io::Result<File> {
    let lock = lock_of(folder)?;
    let began = Instant::now();
    loop {
        match lock.try_lock() {
            Ok(()) => return Ok(lock),
            Err(TryLockError::WouldBlock) if began.elapsed() < LONGEST => std::thread::sleep(STEP),
            Err(TryLockError::WouldBlock) => return Err(io::ErrorKind::WouldBlock.into()),
            // Some disks know no locks.
            Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => return Ok(lock),
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
}

/// The file whose lock is held, made where there is none.
fn lock_of(folder: &Path) -> io::Result<File> {
    let path = folder.join(LOCK);
    // Some disks lock only what is opened for writing, which no folder can be.
    match owner::open(File::options().write(true), &path) {
        // Another account has made it.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => File::open(&path).map_err(|_| error),
        opened => opened,
    }
}

/// Puts a text into a file, which is the old one or the new one at every moment.
pub fn put(path: &Path, text: &str) -> io::Result<()> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    // Who has made a link of it, or opened it to others, goes on to have that.
    let path = &std::fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    let rights = std::fs::metadata(path).map(|facts| facts.permissions());
    // Another process, or another thread, may put the same file at the same time.
    let beside = path.with_extension(format!("{}-{}.new", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed)));
    // What a process of this number left when it was killed.
    let _ = std::fs::remove_file(&beside);
    let written = owner::make(File::options().write(true), &beside)
        .and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| rights.map_or(Ok(()), |rights| file.set_permissions(rights))));
    written.and_then(|()| std::fs::rename(&beside, path)).inspect_err(|_| drop(std::fs::remove_file(&beside)))
}

/// What is noted in a file beside those of a folder; nothing where there is none.
pub fn noted<K: DeserializeOwned + Default>(path: &Path) -> Result<K, Misfile> {
    let wrong = |line: usize, why: String| {
        let message = format!(
            "what was published cannot be read ({why}): put the file back as it was, or remove it, and what is published now is noted anew"
        );
        Misfile::at(path, line, message)
    };
    match std::fs::read(path) {
        Ok(text) => serde_json::from_slice(&text).map_err(|error| wrong(error.line().max(1), error.to_string())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(K::default()),
        Err(error) => Err(wrong(1, error.to_string())),
    }
}

/// Notes it.
pub fn note<K: Serialize>(path: &Path, known: &K) -> Result<(), Misfile> {
    let text = serde_json::to_string_pretty(known).map_err(io::Error::other);
    text.and_then(|text| put(path, &(text + "\n"))).map_err(|error| {
        let message = format!("what is published cannot be noted ({error}): it is known until this process ends");
        Misfile::at(path, 1, message)
    })
}

// === impl Shelf ===

impl<R: Reading> Shelf<R> {
    /// Reads the folder; where there is none, there is nothing in it.
    pub fn of(reading: R) -> Shelf<R> {
        let (settled, unread) = match settled::<R>(reading.folder()) {
            Ok(settled) => (settled, None),
            Err(fault) => (Default::default(), Some(fault)),
        };
        let (files, moving) = settled;
        let found = reading.read_files(&files, &moving, None);
        tell(unread.as_slice());
        tell(R::faults(&found));
        Shelf { looked: Mutex::new(files.clone()), now: RwLock::new((files, Arc::new(found))), unread: Mutex::new(unread), reading }
    }

    /// How the folder is read.
    pub fn reading(&self) -> &R {
        &self.reading
    }

    /// What cannot be used: the folder, and files in it.
    pub fn faults(&self) -> Vec<Misfile> {
        let unread = self.unread.lock().unwrap_or_else(PoisonError::into_inner).clone();
        unread.into_iter().chain(R::faults(&self.now()).iter().cloned()).collect()
    }

    /// Whether the folder is there and what is in it is known, so that what is not in it is not there.
    pub fn is_known(&self) -> bool {
        self.unread.lock().unwrap_or_else(PoisonError::into_inner).is_none() && self.reading.folder().is_dir()
    }

    /// What holds now.
    pub fn now(&self) -> Arc<R::Found> {
        Arc::clone(&self.now.read().unwrap_or_else(PoisonError::into_inner).1)
    }

    /// Looks at the folder, and reads again what changed in it and is quiet since the last look.
    pub fn refresh(&self) {
        self.look(&[]);
    }

    /// The same just after this process has put whole files there, which need not be waited for.
    pub fn take<P: AsRef<Path>>(&self, whole: &[P]) {
        let whole: Vec<&Path> = whole.iter().map(AsRef::as_ref).collect();
        self.look(&whole);
    }

    fn look(&self, whole: &[&Path]) {
        let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        let (known, before) = {
            let now = self.now.read().unwrap_or_else(PoisonError::into_inner);
            (now.0.clone(), Arc::clone(&now.1))
        };
        let mut files = match seen::<R>(self.reading.folder()) {
            Ok(files) => files,
            // There was no folder before.
            Err(error) if error.kind() == io::ErrorKind::NotFound && known.is_empty() => Seen::new(),
            Err(error) => return self.cannot_be_read(&error),
        };
        *self.unread.lock().unwrap_or_else(PoisonError::into_inner) = None;
        let is_moving =
            |path: &Path, facts: &Facts| known.get(path) != Some(facts) && looked.get(path) != Some(facts) && !whole.contains(&path);
        let moving: Moving = files.iter().filter(|(path, facts)| is_moving(path, facts)).map(|(path, _)| path.clone()).collect();
        looked.clone_from(&files);
        for path in &moving {
            match known.get(path) {
                Some(facts) => drop(files.insert(path.clone(), *facts)),
                None => drop(files.remove(path)),
            }
        }
        if files == known && !R::is_unsettled(&before) {
            return;
        }
        let found = self.reading.read_files(&files, &moving, Some(&before));
        if R::faults(&found) != R::faults(&before) {
            tell(R::faults(&found));
        }
        *self.now.write().unwrap_or_else(PoisonError::into_inner) = (files, Arc::new(found));
    }

    /// Whoever wants nothing to be served any more empties the folder; one that is away is a mistake.
    fn cannot_be_read(&self, error: &io::Error) {
        let fault = Misfile::at(self.reading.folder(), 1, format!("the folder cannot be read ({error})"));
        let mut unread = self.unread.lock().unwrap_or_else(PoisonError::into_inner);
        if unread.as_ref() != Some(&fault) {
            tell(std::slice::from_ref(&fault));
            *unread = Some(fault);
        }
    }

    /// Looks at the folder again and again until told to stop.
    pub async fn follow(self: Arc<Self>, mut stopped: tokio::sync::watch::Receiver<bool>) {
        while tokio::time::timeout(EVERY, stopped.wait_for(|stop| *stop)).await.is_err() {
            let shelf = Arc::clone(&self);
            // A folder may be on a slow disk; what panics there is told by the runtime, and what was read last goes on.
            let _ = tokio::task::spawn_blocking(move || shelf.refresh()).await;
        }
    }
}

/// The files, and those of them that are being written just now, which are told as if they were not there.
fn settled<R: Reading>(folder: &Path) -> Result<(Seen, Moving), Misfile> {
    let files = seen_first::<R>(folder)?;
    let is_fresh = |(changed, ..): &Facts| changed.is_some_and(|at| at.elapsed().is_ok_and(|since| since < QUIET));
    if !files.values().any(is_fresh) {
        return Ok((files, Moving::new()));
    }
    std::thread::sleep(QUIET);
    let mut now = seen_first::<R>(folder)?;
    let moving: Moving = now.iter().filter(|(path, facts)| files.get(*path) != Some(facts)).map(|(path, _)| path.clone()).collect();
    now.retain(|path, _| !moving.contains(path));
    Ok((now, moving))
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_lock_that_another_account_has_made_is_held_all_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(LOCK);
        // Which says nothing to root.
        File::create(&path).unwrap().set_permissions(std::fs::Permissions::from_mode(0o444)).unwrap();
        let held = alone(folder.path()).unwrap();
        assert!(matches!(File::open(&path).unwrap().try_lock(), Err(TryLockError::WouldBlock)));
        drop(held);
        assert!(File::open(&path).unwrap().try_lock().is_ok());
    }
}
