//! Records that go into the ledger by one write.
//!
//! A beginning is written before its provider is called: its request waits until whatever else is ready on its thread has run, and the
//! first that goes on writes for all. An end waits for the next beginning of any thread, or for [`SOON`]: a process that is killed meanwhile
//! leaves its request open, which is then settled at its reservation. What an end gives back is given back once the end waits, so that whoever
//! begins by it is written behind it, and nothing is ever counted twice.
//! Whose something is that was made is written at once, and what waits with it.

use std::cell::RefCell;
use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::runtime::Handle;

use super::{Ledger, segment};
use crate::store::Entry;

thread_local! {
    static HERE: RefCell<Here> = const { RefCell::new(Here { begins: Lines::new(), end: Lines::new(), gathers: false, ends_in: None, turn: None }) };
}

/// Lines that were not written yet.
#[derive(Debug)]
pub(super) struct Lines {
    pub(super) text: Vec<u8>,
    /// Each with the length of its line.
    pub(super) entries: Vec<(Entry, usize)>,
}

/// What this thread has to write.
struct Here {
    begins: Lines,
    /// An end while its line is made, which nobody else has to wait for.
    end: Lines,
    /// Whether this thread's records wait at all.
    gathers: bool,
    /// Where its ends wait, while a task is under way that writes them.
    ends_in: Option<Arc<Ledger>>,
    /// Those who wait for the next write.
    turn: Option<Arc<Turn>>,
}

/// What became of a write, once it is known: several requests wait for it.
type Turn = OnceLock<Result<(), (io::ErrorKind, String)>>;

/// How long an end waits for a beginning to be written with: under load one comes much sooner, and writes for both.
const SOON: Duration = Duration::from_millis(1);
/// Lines that were longer do not hold their memory.
const USUAL: usize = 16 << 10;

/// Lets records wait on this thread; its runtime has to be one that runs on this thread alone.
pub fn gather() {
    HERE.with_borrow_mut(|here| here.gathers = true);
}

/// Writes what waits on this thread.
pub fn flush() {
    HERE.with_borrow_mut(|here| {
        if let Some(ledger) = here.ends_in.take()
            && let Err(error) = here.write(&ledger)
        {
            tracing::error!(%error, "ends of requests could not be written down yet; they will be as soon as the disk takes them");
        }
    });
}

/// Writes a beginning, with all that others on this thread have to write by then.
pub(super) async fn write(ledger: &Ledger, begin: Entry) -> io::Result<()> {
    let turn = HERE.with_borrow_mut(|here| {
        here.begins.add(begin);
        here.gathers.then(|| Arc::clone(here.turn.get_or_insert_default()))
    });
    let Some(turn) = turn else { return HERE.with_borrow_mut(|here| here.write(ledger)) };
    // Behind all that is ready to run.
    tokio::task::yield_now().await;
    match turn.get() {
        None => HERE.with_borrow_mut(|here| here.write(ledger)),
        Some(Ok(())) => Ok(()),
        Some(Err((kind, why))) => Err(io::Error::new(*kind, why.clone())),
    }
}

/// Writes an end soon, where this thread lets it wait.
pub(super) fn write_soon(ledger: &Arc<Ledger>, end: Entry) -> io::Result<()> {
    HERE.with_borrow_mut(|here| {
        here.leave(ledger, end);
        if here.ends_in.is_some() {
            return Ok(());
        }
        let Some(runtime) = Handle::try_current().ok().filter(|_| here.gathers) else { return here.write(ledger) };
        here.ends_in = Some(Arc::clone(ledger));
        // Where the runtime is ending it never runs: then its thread writes what waits, at its end.
        runtime.spawn(async {
            tokio::time::sleep(SOON).await;
            flush();
        });
        Ok(())
    })
}

/// Writes a line at once, with all that waits.
pub(super) fn write_now(ledger: &Ledger, line: Entry) -> io::Result<()> {
    HERE.with_borrow_mut(|here| {
        here.leave(ledger, line);
        here.write(ledger)
    })
}

// === impl Lines ===

impl Lines {
    pub(super) const fn new() -> Lines {
        Lines { text: Vec::new(), entries: Vec::new() }
    }

    fn add(&mut self, entry: Entry) {
        let before = self.text.len();
        segment::encode(&entry, &mut self.text);
        self.entries.push((entry, self.text.len() - before));
    }

    /// Takes others behind its own.
    pub(super) fn append(&mut self, others: &mut Lines) {
        self.text.append(&mut others.text);
        others.text.shrink_to(USUAL);
        self.entries.append(&mut others.entries);
    }

    /// Forgets what was written.
    pub(super) fn clear(&mut self) {
        self.text.clear();
        self.text.shrink_to(USUAL);
        self.entries.clear();
    }
}

// === impl Here ===

impl Here {
    /// Leaves a line to the next write, whichever thread's it is.
    fn leave(&mut self, ledger: &Ledger, line: Entry) {
        self.end.add(line);
        ledger.ends().append(&mut self.end);
    }

    fn write(&mut self, ledger: &Ledger) -> io::Result<()> {
        let written = ledger.write(&mut self.begins);
        if let Some(turn) = self.turn.take() {
            // Nobody else sets it: a turn is taken by the write that decides it.
            let _ = turn.set(written.as_ref().copied().map_err(|e| (e.kind(), e.to_string())));
        }
        written
    }
}
