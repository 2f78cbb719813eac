//! Bytes put aside until it is known where they go: the first MiB in memory, the rest in a file that has no name.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use crate::surface::shares::Share;
use crate::ticket;

/// Kept in memory.
pub const IN_MEMORY: u64 = 1 << 20;
/// Of a disk no more than so much is left free for its sake.
const LEFT: u64 = 1 << 30;
/// Read back from the file at once.
const PIECE: u64 = 64 << 10;

/// Bytes put aside.
pub struct Spool {
    folder: PathBuf,
    memory: Vec<Bytes>,
    /// Bytes in memory.
    kept: u64,
    file: Option<Arc<File>>,
    /// Bytes in the file.
    written: u64,
    /// What it takes of what its key may have put aside.
    share: Option<Share>,
}

/// Where a reader of a spool stands.
#[derive(Default)]
pub struct Place {
    piece: usize,
    in_file: u64,
}

// === impl Spool ===

impl Spool {
    /// An empty one; a file is made in `folder`, since the system's own folder for such may be memory too.
    pub fn new(folder: &Path) -> Spool {
        Spool { folder: folder.to_owned(), memory: Vec::new(), kept: 0, file: None, written: 0, share: None }
    }

    /// Has its share until it is gone.
    pub fn take(&mut self, share: Share) {
        self.share = Some(share);
    }

    /// Bytes in all.
    pub fn size(&self) -> u64 {
        self.kept + self.written
    }

    /// Adds a piece.
    pub async fn push(&mut self, piece: Bytes) -> io::Result<()> {
        let size = piece.len() as u64;
        if self.file.is_none() && self.kept + size <= IN_MEMORY {
            self.memory.push(piece);
            self.kept += size;
            return Ok(());
        }
        let file = match &self.file {
            Some(file) => Arc::clone(file),
            None => {
                let path = self.folder.join(format!("{}.upload", ticket::next_id()));
                Arc::clone(self.file.insert(Arc::new(blocking(move || nameless(&path)).await?)))
            }
        };
        let at = self.written;
        let write = move || {
            leave_room(&file)?;
            file.write_all_at(&piece, at)
        };
        blocking(write).await?;
        self.written += size;
        Ok(())
    }

    /// The piece at `place`, which moves on; `None` at the end.
    pub async fn next(&self, place: &mut Place) -> io::Result<Option<Bytes>> {
        if let Some(piece) = self.memory.get(place.piece) {
            place.piece += 1;
            return Ok(Some(piece.clone()));
        }
        let size = PIECE.min(self.written - place.in_file);
        let Some(file) = self.file.as_ref().filter(|_| size > 0).map(Arc::clone) else { return Ok(None) };
        let at = place.in_file;
        place.in_file += size;
        let read = move || {
            let mut piece = vec![0; size as usize];
            file.read_exact_at(&mut piece, at)?;
            Ok(Bytes::from(piece))
        };
        blocking(read).await.map(Some)
    }
}

/// A file that only its handle leads to: gone with it, however the process ends.
fn nameless(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)?;
    std::fs::remove_file(path).map(|()| file)
}

/// A tenth of the disk, or a GiB of a large one, is left to the ledger and the store, which are beside it.
fn leave_room(file: &File) -> io::Result<()> {
    let disk = rustix::fs::fstatvfs(file)?;
    let [all, free] = [disk.f_blocks, disk.f_bavail].map(|blocks| blocks.saturating_mul(disk.f_frsize));
    // Of memory without a bound nobody tells how large it is.
    if all == 0 || free > LEFT.min(all / 10) { Ok(()) } else { Err(io::ErrorKind::StorageFull.into()) }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}
