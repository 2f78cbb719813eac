//! Whose things are by lines that the store has not taken in yet: whoever asks for one is told from here.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::held::{Change, Kind};
use crate::store::Cursor;

/// Changes that were written, or are owed, and are not in the store; while its lock is held, no other is taken.
#[derive(Debug, Default)]
pub struct Untaken(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    /// Of each thing, oldest first.
    changes: HashMap<(Kind, String), Vec<Arc<Change>>>,
    /// Those that are written, in the order of their lines, with where each ends.
    written: VecDeque<(Cursor, Arc<Change>)>,
    /// Of all of them, about.
    bytes: usize,
    /// Before this are lines that had no room here.
    without: Cursor,
}

/// Kept at the most, about 80,000 changes, none of which is given up for another: while some had no room, no id is told to be nobody's.
const MOST_BYTES: usize = 32 << 20;
/// What one takes beside its texts.
const EACH: usize = 300;

// === impl Untaken ===

impl Untaken {
    /// All that is not in the store is here.
    pub fn is_whole(&self) -> bool {
        self.lock().without == Cursor::default()
    }

    /// What became of a thing lately, oldest first.
    pub fn of(&self, kind: Kind, id: &str) -> Vec<Arc<Change>> {
        self.lock().of(kind, id).to_vec()
    }

    /// What became of all things of a kind lately, of each oldest first.
    pub fn of_kind(&self, kind: Kind) -> Vec<Arc<Change>> {
        self.lock().changes.iter().filter(|((of, _), _)| *of == kind).flat_map(|(_, changes)| changes).cloned().collect()
    }

    /// Its line was written, and ends there.
    pub(super) fn written(&self, change: &Arc<Change>, end: Cursor) {
        let mut waiting = self.lock();
        let was_owed = waiting.has(change);
        if !was_owed && waiting.bytes >= MOST_BYTES {
            waiting.without = end;
            return;
        }
        if !was_owed {
            waiting.add(change);
        }
        waiting.written.push_back((end, Arc::clone(change)));
    }

    /// Its line could not be written yet: there are no more of these than requests that ran when writing failed.
    pub(super) fn owed(&self, change: &Arc<Change>) {
        let mut waiting = self.lock();
        if !waiting.has(change) {
            waiting.add(change);
        }
    }

    /// The store has all lines up to there.
    pub(super) fn taken(&self, until: Cursor) {
        let mut waiting = self.lock();
        while let Some((_, change)) = waiting.written.pop_front_if(|(end, _)| *end <= until) {
            waiting.remove(&change);
        }
        if waiting.without <= until {
            waiting.without = Cursor::default();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Waiting ===

impl Waiting {
    fn of(&self, kind: Kind, id: &str) -> &[Arc<Change>] {
        // Mostly there is nothing, and no name to be made.
        if self.changes.is_empty() { &[] } else { self.changes.get(&(kind, id.to_owned())).map_or(&[], Vec::as_slice) }
    }

    fn has(&self, change: &Arc<Change>) -> bool {
        let (kind, id) = change.of();
        self.of(kind, id).iter().any(|other| Arc::ptr_eq(other, change))
    }

    fn add(&mut self, change: &Arc<Change>) {
        let (kind, id) = change.of();
        self.bytes += size(change);
        self.changes.entry((kind, id.to_owned())).or_default().push(Arc::clone(change));
    }

    fn remove(&mut self, change: &Arc<Change>) {
        let (kind, id) = change.of();
        self.bytes -= size(change);
        if let Entry::Occupied(mut changes) = self.changes.entry((kind, id.to_owned())) {
            changes.get_mut().retain(|other| !Arc::ptr_eq(other, change));
            if changes.get().is_empty() {
                changes.remove();
            }
        }
    }
}

fn size(change: &Change) -> usize {
    // Its id is here twice.
    EACH + 2 * change.of().1.len()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::key::KeyId;

    fn let_go(id: &str) -> Arc<Change> {
        Arc::new(Change::LetGo { kind: Kind::File, id: id.to_owned(), key: KeyId::parse("000000000000").unwrap() })
    }

    fn at(segment: u64, offset: u64) -> Cursor {
        Cursor { segment, offset }
    }

    #[test]
    fn what_is_not_in_the_store_is_here_until_it_is() {
        let untaken = Untaken::default();
        let changes = ["a", "b", "a"].map(let_go);
        untaken.owed(&changes[0]);
        untaken.owed(&changes[0]);
        untaken.written(&changes[1], at(1, 9));
        untaken.written(&changes[2], at(2, 5));
        assert_eq!((untaken.of(Kind::File, "a").len(), untaken.of_kind(Kind::File).len(), untaken.of_kind(Kind::Batch).len()), (2, 3, 0));
        untaken.taken(at(2, 4));
        assert_eq!((untaken.of(Kind::File, "a").len(), untaken.of(Kind::File, "b").len()), (2, 0));
        // What was owed is written in the end.
        untaken.written(&changes[0], at(2, 9));
        assert_eq!(untaken.of(Kind::File, "a").len(), 2, "and is there once");
        untaken.taken(at(2, 8));
        assert!(Arc::ptr_eq(&untaken.of(Kind::File, "a")[0], &changes[0]) && untaken.is_whole());
        untaken.taken(at(3, 0));
        let left = untaken.lock();
        assert!(left.changes.is_empty() && left.bytes == 0);
    }

    #[test]
    fn what_has_no_room_is_told_until_the_store_has_it() {
        let untaken = Untaken::default();
        let ends = 1..=20;
        // Each takes two MiB and something.
        ends.clone().for_each(|n| untaken.written(&let_go(&"x".repeat((1 << 20) + n)), at(1, n as u64)));
        assert!(!untaken.is_whole());
        assert!(untaken.lock().bytes < MOST_BYTES + (3 << 20));
        let kept = untaken.of_kind(Kind::File).len() as u64;
        assert!((10..20).contains(&kept));
        // One that could not be written is not given up.
        untaken.owed(&let_go("owed"));
        assert_eq!(untaken.of(Kind::File, "owed").len(), 1);
        untaken.taken(at(1, 19));
        assert!(!untaken.is_whole(), "the last one is in the ledger alone");
        untaken.taken(at(1, 20));
        assert!(untaken.is_whole());
    }
}
