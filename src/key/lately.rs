//! Keys that were shown on this thread lately: most requests find theirs here, and need no look into the cache that all cores share, which
//! counts each of them.
//!
//! They lie by their marks, which nobody can foresee: how long a look takes tells nothing of which ids there are.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::caller::Known;
use super::hash::Mark;

/// Keys of a thread at the most; each has one place, that it may share with others.
const PLACES: usize = 64;

thread_local! {
    static HERE: RefCell<[Option<Seen>; PLACES]> = const { RefCell::new([const { None }; PLACES]) };
}

/// So often a key is found here before the shared cache is asked for it again: whoever never asked would not be seen to be in use there,
/// and be put out.
const LOOKS: u8 = 64;

/// A key as it was at an edition of its ring.
struct Seen {
    edition: Edition,
    mark: Mark,
    known: Arc<Known>,
    /// How often it may still be found.
    left: u8,
}

/// A ring between two changes of its keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Edition {
    ring: u64,
    changes: u64,
}

/// Counts the changes of a ring's keys.
pub(super) struct Editions {
    ring: u64,
    changes: AtomicU64,
}

/// A proven key that was kept in this edition, but for once in a while.
pub(super) fn get(edition: Edition, mark: &Mark) -> Option<Arc<Known>> {
    HERE.with_borrow_mut(|here| {
        let seen = here[place(mark)].as_mut().filter(|seen| seen.edition == edition && seen.mark.matches(mark))?;
        seen.left = seen.left.checked_sub(1)?;
        Some(Arc::clone(&seen.known))
    })
}

/// Keeps a proven key that was found after this edition was [asked for](Editions::now).
///
/// One that comes again and again is kept as a copy of this thread's own: each request counts who holds it, and cores that count in one
/// place wait for each other. A copy takes longer than that where keys take the place from each other.
pub(super) fn keep(edition: Edition, mark: Mark, known: &Arc<Known>) {
    let comes_again = HERE.with_borrow(|here| here[place(&mark)].as_ref().is_some_and(|seen| seen.mark.matches(&mark)));
    let known = if comes_again { Arc::new(known.copied()) } else { Arc::clone(known) };
    let seen = Seen { edition, mark, known, left: LOOKS };
    let before = HERE.with_borrow_mut(|here| here[place(&mark)].replace(seen));
    // Not while the places are borrowed: it may be the last of its account.
    drop(before);
}

fn place(mark: &Mark) -> usize {
    usize::from(mark.first()) % PLACES
}

// === impl Editions ===

impl Editions {
    /// Of a ring that is like no other of this process.
    pub(super) fn new() -> Editions {
        static RINGS: AtomicU64 = AtomicU64::new(0);
        Editions { ring: RINGS.fetch_add(1, Ordering::Relaxed), changes: AtomicU64::new(0) }
    }

    /// The one that holds now.
    pub(super) fn now(&self) -> Edition {
        Edition { ring: self.ring, changes: self.changes.load(Ordering::Acquire) }
    }

    /// Ends it: what any thread has kept counts no more.
    pub(super) fn end(&self) {
        self.changes.fetch_add(1, Ordering::Release);
    }
}
