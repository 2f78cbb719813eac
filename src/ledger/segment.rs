//! A segment: lines of `<crc32 in hex> <json>`, so that a torn or damaged line is known for what it is.

use std::fs::{File, Metadata};
use std::io::{self, BufRead, BufReader, Read as _, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::record::{Begin, Settle};
use crate::held::Change;
use crate::json::Object;
use crate::store::{Cursor, Entry};

/// The file that records are appended to.
#[derive(Debug)]
pub struct Segment {
    file: File,
    number: u64,
    len: u64,
    /// Where the last whole line ends.
    whole: u64,
    /// The last write ended in the middle of a line.
    is_torn: bool,
}

/// `{"b": …}`, `{"s": …}` or `{"h": …}`.
#[derive(Deserialize)]
enum Read {
    #[serde(rename = "b")]
    Begin(Begin),
    #[serde(rename = "s")]
    Settle(Settle),
    #[serde(rename = "h")]
    Held(Change),
}

/// Some lines of a segment, read in one go.
#[derive(Debug, Default)]
pub struct Batch {
    /// What the whole lines say.
    pub entries: Vec<Entry>,
    /// Where the next line begins; where this batch began, at the segment's end.
    pub next: u64,
    /// Where lines are that are torn or damaged.
    pub damaged: Vec<u64>,
}

/// Characters of the checksum and the space after it.
const CHECKSUM: usize = 9;
/// A batch ends with the line that reaches this: memory stays the same however much waits.
const BATCH_BYTES: u64 = 1 << 20;

// === impl Segment ===

impl Segment {
    /// Makes the segment of that number (mode 0600).
    pub fn create(folder: &Path, number: u64) -> io::Result<Segment> {
        let file = std::fs::OpenOptions::new().append(true).create_new(true).mode(0o600).open(path(folder, number))?;
        Ok(Segment { file, number, len: 0, whole: 0, is_torn: false })
    }

    /// Appends lines by one write, all or none: whoever is told that it failed begins nothing, so none of them may be read as a beginning.
    pub fn append(&mut self, line: &[u8]) -> io::Result<()> {
        if self.is_torn {
            self.len += self.file.write(b"\n")? as u64;
            self.is_torn = false;
        }
        let written = self.file.write(line)?;
        self.len += written as u64;
        if written == line.len() {
            self.whole = self.len;
            return Ok(());
        }
        // A full disk lets go of what it took; where it does not, the next lines begin on a line of their own.
        match self.file.set_len(self.whole) {
            Ok(()) => self.len = self.whole,
            Err(_) => self.is_torn = true,
        }
        Err(io::Error::new(io::ErrorKind::StorageFull, "the disk took only a part of a record"))
    }

    /// A segment that takes no line.
    #[cfg(test)]
    pub fn read_only(folder: &Path, number: u64) -> io::Result<Segment> {
        Ok(Segment { file: File::open(path(folder, number))?, number, len: 0, whole: 0, is_torn: false })
    }

    /// Its number.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Its bytes so far.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Where its last whole line ends.
    pub fn whole(&self) -> u64 {
        self.whole
    }

    /// Whether nothing was written to it.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether its file is the one of its name in the folder still; what cannot be looked at now is not known to be away.
    pub fn is_there(&self, folder: &Path) -> bool {
        let is = |of: &Metadata| (of.dev(), of.ino());
        match (std::fs::metadata(path(folder, self.number)), self.file.metadata()) {
            (Ok(named), Ok(open)) => is(&named) == is(&open),
            (Err(e), _) => e.kind() != io::ErrorKind::NotFound,
            _ => true,
        }
    }

    /// Another handle on the file.
    pub fn file(&self) -> io::Result<File> {
        self.file.try_clone()
    }
}

/// Adds a record's line to `lines`.
pub fn encode(entry: &Entry, lines: &mut Vec<u8>) {
    let begin = lines.len();
    lines.extend_from_slice(b"00000000 ");
    let mut outer = Object::open(lines);
    let name = match entry {
        Entry::Begin(_) => "b",
        Entry::Settle(_) => "s",
        Entry::Held(_) => "h",
    };
    let mut inner = outer.object(name);
    match entry {
        Entry::Begin(begin) => begin.write(&mut inner),
        Entry::Settle(settle) => settle.write(&mut inner),
        Entry::Held(change) => change.write(&mut inner),
    }
    inner.close();
    outer.close();
    let line = &mut lines[begin..];
    let checksum = crc32fast::hash(&line[CHECKSUM..]);
    for (digit, shift) in line.iter_mut().zip((0..32).step_by(4).rev()) {
        *digit = b"0123456789abcdef"[(checksum >> shift & 0xf) as usize];
    }
    lines.push(b'\n');
}

/// Reads a line, or `None` where it is torn or damaged.
pub fn decode(line: &[u8]) -> Option<Entry> {
    let (checksum, json) = line.split_at_checked(CHECKSUM)?;
    let expected = u32::from_str_radix(std::str::from_utf8(&checksum[..CHECKSUM - 1]).ok()?, 16).ok()?;
    if checksum.last() != Some(&b' ') || crc32fast::hash(json) != expected {
        return None;
    }
    match serde_json::from_slice(json).ok()? {
        Read::Begin(begin) => Some(Entry::Begin(begin.into())),
        Read::Settle(settle) => Some(Entry::Settle(settle.into())),
        Read::Held(change) => Some(Entry::Held(change.into())),
    }
}

/// Reads a batch of lines; without an `end` the segment is written no more, and a last line without its end is torn.
pub fn read(folder: &Path, from: Cursor, end: Option<u64>) -> io::Result<Batch> {
    let mut file = File::open(path(folder, from.segment))?;
    file.seek(SeekFrom::Start(from.offset))?;
    let left = end.map_or(u64::MAX, |end| end.saturating_sub(from.offset));
    // Line by line: one longer than a batch, such as a caller can cause by a long model name, must still be passed.
    let mut lines = BufReader::with_capacity(64 << 10, file.take(left));
    let mut batch = Batch { next: from.offset, ..Batch::default() };
    let mut line = Vec::new();
    while batch.next - from.offset < BATCH_BYTES {
        line.clear();
        let len = lines.read_until(b'\n', &mut line)?;
        if len == 0 {
            break;
        }
        match decode(line.trim_ascii_end()) {
            Some(entry) => batch.entries.push(entry),
            None if line.trim_ascii().is_empty() => {}
            None => batch.damaged.push(batch.next),
        }
        batch.next += len as u64;
    }
    Ok(batch)
}

/// Makes the disk keep the segments from `first` to `last`, and with `with_names` that they are there at all.
pub fn sync(folder: &Path, first: u64, last: u64, with_names: bool) -> io::Result<()> {
    for number in first..=last {
        match File::open(path(folder, number)) {
            Ok(file) => file.sync_data()?,
            // Taken in and deleted since.
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
    }
    if with_names { File::open(folder)?.sync_all() } else { Ok(()) }
}

/// Where the newest segment in a folder ends now.
pub fn end(folder: &Path) -> io::Result<Cursor> {
    let Some(segment) = numbers(folder)?.pop() else { return Ok(Cursor::default()) };
    Ok(Cursor { segment, offset: std::fs::metadata(path(folder, segment))?.len() })
}

/// Bytes of the segments in a folder from one place to another.
pub fn between(folder: &Path, from: Cursor, end: Cursor) -> io::Result<u64> {
    // One that is gone is taken in.
    let len =
        |number| if number == end.segment { end.offset } else { std::fs::metadata(path(folder, number)).map_or(0, |file| file.len()) };
    let numbers = numbers(folder)?.into_iter().filter(|number| (from.segment..=end.segment).contains(number));
    Ok(numbers.map(|number| if number == from.segment { len(number).saturating_sub(from.offset) } else { len(number) }).sum())
}

/// Where the segment of that number is.
pub fn path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:08}.seg"))
}

/// The numbers of the segments that are there, in order.
pub fn numbers(folder: &Path) -> io::Result<Vec<u64>> {
    let mut numbers: Vec<u64> =
        std::fs::read_dir(folder)?.filter_map(|entry| entry.ok()?.file_name().to_str()?.strip_suffix(".seg")?.parse().ok()).collect();
    numbers.sort_unstable();
    Ok(numbers)
}
