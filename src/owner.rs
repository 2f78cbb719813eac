//! Whose a new file is: what root makes in another account's folder is that account's, as it is with the files that SQLite makes.
//!
//! Only what was made here is given away. A name that was there before may be that account's link to anything.

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, fchown, lchown};
use std::path::Path;

/// Makes a file; an error where there is one.
pub fn make(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    let file = options.create_new(true).open(path)?;
    if let Some(folder) = others(path, &file.metadata()?) {
        // A root that may give nothing away, as in some containers, keeps it.
        let _ = fchown(&file, Some(folder.uid()), Some(folder.gid()));
    }
    Ok(file)
}

/// Opens a file, made where there is none.
pub fn open(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    match make(options, path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => options.create_new(false).open(path),
        made => made,
    }
}

/// Makes a folder where there is none.
pub fn make_folder(path: &Path) -> io::Result<()> {
    match std::fs::create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        made => made?,
    }
    if let Some(folder) = others(path, &std::fs::symlink_metadata(path)?) {
        let _ = lchown(path, Some(folder.uid()), Some(folder.gid()));
    }
    Ok(())
}

/// The folder that something of root's is in, if that is not root's.
fn others(path: &Path, made: &Metadata) -> Option<Metadata> {
    let folder = std::fs::metadata(path.parent()?).ok()?;
    (made.uid() == 0 && folder.uid() != 0).then_some(folder)
}
