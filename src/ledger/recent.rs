//! Records that were appended lately, kept so that the drain need not read their lines again.

use std::collections::VecDeque;

use super::segment::Batch;
use crate::store::{Cursor, Entry};

/// What is kept, oldest first. Whatever is not here is read from the segments.
#[derive(Debug, Default)]
pub struct Recent {
    runs: VecDeque<Run>,
    /// Of all their lines.
    bytes: u64,
    /// Entries that were taken the last time: the next ones will have their room at once.
    usual: usize,
}

/// Records of lines that follow each other in one segment, as many as are one batch.
#[derive(Debug)]
struct Run {
    /// Where the first one's line begins.
    from: Cursor,
    /// Where the last one's line ends.
    to: u64,
    entries: Vec<Entry>,
}

/// Lines whose records are kept at the most, but for the last one: while the store is down, the segments grow and not the memory.
const MOST_BYTES: u64 = 8 << 20;
/// So many are one batch: there is time to take them before there is no room, and the store is never held for long.
const BATCH_BYTES: u64 = 1 << 20;

// === impl Recent ===

impl Recent {
    /// Keeps a record whose line begins at `at` and ends at `end`, if there is room.
    pub fn keep(&mut self, entry: Entry, at: Cursor, end: u64) {
        if self.bytes >= MOST_BYTES {
            return;
        }
        self.bytes += end - at.offset;
        let goes_on = |run: &&mut Run| run.bytes() < BATCH_BYTES && (run.from.segment, run.to) == (at.segment, at.offset);
        match self.runs.back_mut().filter(goes_on) {
            Some(run) => {
                run.entries.push(entry);
                run.to = end;
            }
            None => {
                let mut entries = Vec::with_capacity(self.usual);
                entries.push(entry);
                self.runs.push_back(Run { from: at, to: end, entries });
            }
        }
    }

    /// Whether it is time to take it, before there is no room.
    pub fn is_filling(&self) -> bool {
        self.bytes >= BATCH_BYTES
    }

    /// Takes what follows `from` without a gap, if that is kept; otherwise says how far that segment has to be read before it is.
    pub fn take(&mut self, from: Cursor) -> Result<Batch, Option<u64>> {
        while let Some(run) = self.runs.pop_front_if(|run| run.from <= from) {
            self.bytes -= run.bytes();
            // Of one that begins before, the store has some already, and the rest is read.
            if run.from == from {
                self.usual = run.entries.len();
                return Ok(Batch { entries: run.entries, next: run.to, damaged: Vec::new() });
            }
        }
        Err(self.runs.front().filter(|run| run.from.segment == from.segment).map(|run| run.from.offset))
    }
}

// === impl Run ===

impl Run {
    fn bytes(&self) -> u64 {
        self.to - self.from.offset
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
        for mib in 0..8 {
            let batch = recent.take(at(1, mib << 20)).unwrap();
            assert_eq!((ids(&batch), batch.next), (vec![&*format!("1-{mib}")], (mib + 1) << 20), "one is enough for a batch");
        }
        assert!(!recent.is_filling(), "it is empty");
        assert_eq!(recent.take(at(1, 8 << 20)).unwrap_err(), None);
        keep(&mut recent, 1, 10);
        assert_eq!(recent.take(at(1, 8 << 20)).unwrap_err(), Some(10 << 20), "the segment has to be read to where memory begins");
        assert_eq!(recent.take(at(0, 9)).unwrap_err(), None, "the whole of an earlier one");
        let second = recent.take(at(1, 10 << 20)).unwrap();
        assert_eq!((ids(&second), second.next), (vec!["1-10"], 11 << 20));
    }

    #[test]
    fn a_batch_has_records_whose_lines_follow_each_other() {
        let mut recent = Recent::default();
        keep(&mut recent, 1, 0);
        keep(&mut recent, 2, 0);
        assert_eq!(ids(&recent.take(at(1, 0)).unwrap()), ["1-0"]);
        assert_eq!(recent.take(at(1, 1 << 20)).unwrap_err(), None, "another segment");
        assert_eq!(ids(&recent.take(at(2, 0)).unwrap()), ["2-0"]);
        keep(&mut recent, 2, 1);
        recent.keep(entry("after a torn line"), at(2, (2 << 20) + 1), 3 << 20);
        assert_eq!(ids(&recent.take(at(2, 1 << 20)).unwrap()), ["2-1"]);
        assert_eq!(recent.take(at(2, 2 << 20)).unwrap_err(), Some((2 << 20) + 1), "something torn lies between");
        keep(&mut recent, 2, 7);
        assert_eq!(recent.take(at(2, 9 << 20)).unwrap_err(), None, "the store is ahead");
        assert_eq!(recent.take(at(2, 7 << 20)).unwrap_err(), None, "so it was forgotten");
    }
}
