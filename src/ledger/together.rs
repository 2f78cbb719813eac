//! Records of one thread that go into the ledger by one write.
//!
//! A beginning is written before its provider is called: its request waits until whatever else is ready on its thread has run, and the
//! first that goes on writes for all. An end waits for the next beginning, or for the end of the thread's turn: a process that is
//! killed in that fraction of a millisecond leaves its request open, which is then settled at its reservation.

use std::cell::RefCell;
use std::io;
use std::sync::{Arc, OnceLock};

use tokio::runtime::Handle;

use super::{Ledger, segment};
use crate::store::Entry;

thread_local! {
    static LINES: RefCell<Lines> =
        const { RefCell::new(Lines { text: Vec::new(), entries: Vec::new(), gathers: false, waits_in: None, turn: None }) };
}

/// Lines that were not written yet.
struct Lines {
    text: Vec<u8>,
    /// Each with the length of its line.
    entries: Vec<(Entry, usize)>,
    /// Whether this thread's records wait at all.
    gathers: bool,
    /// Where they go, while a task is under way that writes them.
    waits_in: Option<Arc<Ledger>>,
    /// Those who wait for the next write.
    turn: Option<Arc<Turn>>,
}

/// What became of a write, once it is known: several requests wait for it.
type Turn = OnceLock<Result<(), (io::ErrorKind, String)>>;

/// Lines that were longer do not hold their memory.
const USUAL: usize = 16 << 10;

/// Lets records wait on this thread; its runtime has to be one that runs on this thread alone.
pub fn gather() {
    LINES.with_borrow_mut(|lines| lines.gathers = true);
}

/// Writes what waits on this thread.
pub fn flush() {
    LINES.with_borrow_mut(|lines| {
        if let Some(ledger) = lines.waits_in.take()
            && let Err(error) = lines.write(&ledger)
        {
            tracing::error!(%error, "ends of requests could not be written down yet; they will be as soon as the disk takes them");
        }
    });
}

/// Writes a record, with all that others on this thread have to write by then.
pub(super) async fn write(ledger: &Ledger, entry: Entry) -> io::Result<()> {
    let turn = LINES.with_borrow_mut(|lines| {
        lines.add(entry);
        lines.gathers.then(|| Arc::clone(lines.turn.get_or_insert_default()))
    });
    let Some(turn) = turn else { return LINES.with_borrow_mut(|lines| lines.write(ledger)) };
    // Behind all that is ready to run.
    tokio::task::yield_now().await;
    match turn.get() {
        None => LINES.with_borrow_mut(|lines| lines.write(ledger)),
        Some(Ok(())) => Ok(()),
        Some(Err((kind, why))) => Err(io::Error::new(*kind, why.clone())),
    }
}

/// Writes a record soon, where this thread lets it wait.
pub(super) fn write_soon(ledger: &Arc<Ledger>, entry: Entry) -> io::Result<()> {
    LINES.with_borrow_mut(|lines| {
        lines.add(entry);
        let Some(runtime) = Handle::try_current().ok().filter(|_| lines.gathers) else { return lines.write(ledger) };
        if lines.waits_in.is_none() {
            lines.waits_in = Some(Arc::clone(ledger));
            // Behind all that is ready to run. Where the runtime is ending it never runs: then its thread writes what waits, at its end.
            runtime.spawn(async {
                tokio::task::yield_now().await;
                flush();
            });
        }
        Ok(())
    })
}

// === impl Lines ===

impl Lines {
    fn add(&mut self, entry: Entry) {
        let before = self.text.len();
        segment::encode(&entry, &mut self.text);
        self.entries.push((entry, self.text.len() - before));
    }

    fn write(&mut self, ledger: &Ledger) -> io::Result<()> {
        if self.entries.is_empty() {
            return Ok(());
        }
        let written = ledger.write(&self.text, &mut self.entries);
        if let Some(turn) = self.turn.take() {
            // Nobody else sets it: a turn is taken by the write that decides it.
            let _ = turn.set(written.as_ref().copied().map_err(|e| (e.kind(), e.to_string())));
        }
        self.text.clear();
        self.text.shrink_to(USUAL);
        written
    }
}
