//! Whether the machine's clock was set: it goes on at the pace of the machine's own count of time otherwise.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use jiff::{SignedDuration, Timestamp};

/// What goes on at the pace of the machine's own count of time, which stands still while it sleeps, was not set; by more than this it was.
const SET: SignedDuration = SignedDuration::from_mins(1);

/// Both at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    /// What the clock says.
    pub clock: Timestamp,
    /// What the machine counts.
    pub here: Instant,
}

/// The last look of whoever looks all the time; none where nobody does.
static LAST: Mutex<Option<Look>> = Mutex::new(None);

/// Whether it was since the last look.
pub fn was_set() -> bool {
    last().is_some_and(|last| last.set_by(Look::now()).is_some())
}

/// Keeps a look, for as long as [`was_set`] is to be asked of what was set before it.
pub fn keep(look: Look) {
    *last() = Some(look);
}

fn last() -> MutexGuard<'static, Option<Look>> {
    LAST.lock().unwrap_or_else(PoisonError::into_inner)
}

// === impl Look ===

impl Look {
    /// At both, now.
    pub fn now() -> Look {
        Look { clock: Timestamp::now(), here: Instant::now() }
    }

    /// By how much the clock was set between this look and a later one, or the machine slept; `None` where neither was.
    pub fn set_by(self, later: Look) -> Option<SignedDuration> {
        let passed = SignedDuration::try_from(later.here.saturating_duration_since(self.here)).unwrap_or(SignedDuration::MAX);
        let set_by = later.clock.duration_since(self.clock).saturating_sub(passed);
        (set_by.abs() > SET).then_some(set_by)
    }
}
