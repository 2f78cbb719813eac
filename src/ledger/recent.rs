//! Records that were appended lately, kept so that the drain need not read their lines again.

use super::segment::Batch;
use crate::store::{Cursor, Entry};

/// Records of lines that follow each other in one segment. Whatever is not here is read from the segment.
#[derive(Debug, Default)]
pub struct Recent {
    /// Where the first one's line begins.
    from: Cursor,
    /// Where the last one's line ends.
    to: u64,
    entries: Vec<Entry>,
}

/// Lines whose records are kept at the most, but for the last one: while the store is down, the segments grow and not the memory.
const MOST_BYTES: u64 = 8 << 20;
/// So many are worth a batch of their own: there is time to take them before there is no room.
const BATCH_BYTES: u64 = 1 << 20;

// === impl Recent ===

impl Recent {
    /// Keeps a record whose line begins at `at` and ends at `end`, if there is room.
    pub fn keep(&mut self, entry: Entry, at: Cursor, end: u64) {
        if self.to - self.from.offset >= MOST_BYTES && !self.entries.is_empty() {
            return;
        }
        if (at.segment, at.offset) != (self.from.segment, self.to) {
            self.entries.clear();
        }
        if self.entries.is_empty() {
            self.from = at;
        }
        self.entries.push(entry);
        self.to = end;
    }

    /// Whether it is time to take it, before there is no room.
    pub fn is_filling(&self) -> bool {
        !self.entries.is_empty() && self.to - self.from.offset >= BATCH_BYTES
    }

    /// Takes what is kept, if it begins at `from`; otherwise says how far that segment has to be read before it does.
    pub fn take(&mut self, from: Cursor) -> Result<Batch, Option<u64>> {
        if self.entries.is_empty() || from > self.from {
            self.entries.clear();
            return Err(None);
        }
        if from < self.from {
            return Err((from.segment == self.from.segment).then_some(self.from.offset));
        }
        let room = Vec::with_capacity(self.entries.len());
        Ok(Batch { entries: std::mem::replace(&mut self.entries, room), next: self.to, damaged: Vec::new() })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::ledger::common::{Common, Facts};
    use crate::ledger::record::Begin;

    fn at(segment: u64, offset: u64) -> Cursor {
        Cursor { segment, offset }
    }

    fn entry(id: &str) -> Entry {
        let common = Common::of(&Facts::default());
        Entry::Begin(Begin { id: id.into(), at: jiff::Timestamp::UNIX_EPOCH, common, reserved: None }.into())
    }

    /// Keeps a record whose line has a MiB.
    fn keep(recent: &mut Recent, segment: u64, mib: u64) {
        recent.keep(entry(&format!("{segment}-{mib}")), at(segment, mib << 20), (mib + 1) << 20);
    }

    fn ids(batch: &Batch) -> Vec<&str> {
        batch.entries.iter().map(|entry| if let Entry::Begin(begin) = entry { &*begin.id } else { "" }).collect()
    }

    #[test]
    fn what_has_no_room_is_left_to_the_segment_and_what_follows_it_is_kept_again() {
        let mut recent = Recent::default();
        (0..10).for_each(|mib| keep(&mut recent, 1, mib));
        assert!(recent.is_filling());
        let first = recent.take(at(1, 0)).unwrap();
        assert!(!recent.is_filling(), "it is empty");
        assert_eq!((ids(&first), first.next), (vec!["1-0", "1-1", "1-2", "1-3", "1-4", "1-5", "1-6", "1-7"], 8 << 20));
        assert_eq!(recent.take(at(1, first.next)).unwrap_err(), None);
        keep(&mut recent, 1, 10);
        assert_eq!(recent.take(at(1, first.next)).unwrap_err(), Some(10 << 20), "the segment has to be read to where memory begins");
        assert_eq!(recent.take(at(0, 9)).unwrap_err(), None, "the whole of an earlier one");
        let second = recent.take(at(1, 10 << 20)).unwrap();
        assert_eq!((ids(&second), second.next), (vec!["1-10"], 11 << 20));
    }

    #[test]
    fn records_are_kept_only_where_one_line_follows_the_other() {
        let mut recent = Recent::default();
        keep(&mut recent, 1, 0);
        keep(&mut recent, 2, 0);
        assert_eq!(ids(&recent.take(at(2, 0)).unwrap()), ["2-0"], "another segment");
        keep(&mut recent, 2, 1);
        recent.keep(entry("after a torn line"), at(2, (2 << 20) + 1), 3 << 20);
        assert_eq!(recent.take(at(2, 1 << 20)).unwrap_err(), Some((2 << 20) + 1), "something torn lies between");
        keep(&mut recent, 2, 7);
        assert_eq!(recent.take(at(2, 9 << 20)).unwrap_err(), None, "the store is ahead");
        assert_eq!(recent.take(at(2, 7 << 20)).unwrap_err(), None, "so it was forgotten");
    }
}
