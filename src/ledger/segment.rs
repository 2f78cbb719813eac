//! A segment: lines of `<crc32 in hex> <json>`, so that a torn or damaged line is known for what it is.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::record::{Begin, Settle};
use crate::store::Entry;

/// The file that records are appended to.
#[derive(Debug)]
pub struct Segment {
    file: File,
    number: u64,
    len: u64,
    /// The last write ended in the middle of a line.
    is_torn: bool,
}

/// A record on its way to a segment.
#[derive(Serialize)]
pub enum Line<'a> {
    /// `{"b": …}`
    #[serde(rename = "b")]
    Begin(&'a Begin),
    /// `{"s": …}`
    #[serde(rename = "s")]
    Settle(&'a Settle),
}

#[derive(Deserialize)]
enum Read {
    #[serde(rename = "b")]
    Begin(Begin),
    #[serde(rename = "s")]
    Settle(Settle),
}

/// Characters of the checksum and the space after it.
const CHECKSUM: usize = 9;

// === impl Segment ===

impl Segment {
    /// Makes the segment of that number (mode 0600).
    pub fn create(folder: &Path, number: u64) -> io::Result<Segment> {
        let file = std::fs::OpenOptions::new().append(true).create_new(true).mode(0o600).open(path(folder, number))?;
        Ok(Segment { file, number, len: 0, is_torn: false })
    }

    /// Appends a line by one write; after one that failed half-way the next begins on a line of its own.
    pub fn append(&mut self, line: &[u8]) -> io::Result<()> {
        if self.is_torn {
            self.len += self.file.write(b"\n")? as u64;
            self.is_torn = false;
        }
        let written = self.file.write(line)?;
        self.len += written as u64;
        self.is_torn = written < line.len();
        match self.is_torn {
            true => Err(io::Error::new(io::ErrorKind::StorageFull, "the disk took only a part of a record")),
            false => Ok(()),
        }
    }

    /// Its number.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Its bytes so far.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether nothing was written to it.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Another handle on the file.
    pub fn file(&self) -> io::Result<File> {
        self.file.try_clone()
    }
}

// === impl Line ===

impl Line<'_> {
    /// The line as it is written.
    pub fn encode(&self) -> io::Result<Vec<u8>> {
        let mut text = Vec::with_capacity(512);
        text.extend_from_slice(b"00000000 ");
        serde_json::to_writer(&mut text, self)?;
        let checksum = crc32fast::hash(&text[CHECKSUM..]);
        text[..CHECKSUM - 1].copy_from_slice(format!("{checksum:08x}").as_bytes());
        text.push(b'\n');
        Ok(text)
    }
}

/// Reads a line, or `None` where it is torn or damaged.
pub fn decode(line: &[u8]) -> Option<Entry> {
    let (checksum, json) = line.split_at_checked(CHECKSUM)?;
    let expected = u32::from_str_radix(std::str::from_utf8(&checksum[..CHECKSUM - 1]).ok()?, 16).ok()?;
    if checksum.last() != Some(&b' ') || crc32fast::hash(json) != expected {
        return None;
    }
    match serde_json::from_slice(json).ok()? {
        Read::Begin(begin) => Some(Entry::Begin(begin)),
        Read::Settle(settle) => Some(Entry::Settle(settle)),
    }
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
