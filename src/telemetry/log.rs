//! The log: lines for people on a terminal, JSON elsewhere, written by a thread of its own so that no request waits for it.
//!
//! A library's non-blocking writer wakes its thread for every line, which cost a third of a request's CPU: here the first line
//! wakes it, and it writes what has gathered a moment later.

use std::io::{IsTerminal, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{ConfigError, Log, LogFormat, hint};
use crate::hidden::visible;

/// How long lines gather before they are written.
const GATHER: Duration = Duration::from_millis(10);
/// Bytes that may wait; a line beyond them is dropped, and the number of those is told.
const MOST_WAITING: usize = 8 << 20;

/// Writes what waits when it is dropped.
pub struct LogGuard {
    queue: Arc<Queue>,
    writer: Option<JoinHandle<()>>,
}

/// Lines on their way to the writer's thread.
#[derive(Default)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    has_some: Condvar,
}

#[derive(Default)]
struct Waiting {
    text: Vec<u8>,
    dropped: u64,
    is_closed: bool,
}

/// Where lines of JSON go that are written by hand; none where the log is for people.
static JSON_QUEUE: OnceLock<Arc<Queue>> = OnceLock::new();

/// Takes one line at a time: `tracing` writes each whole.
struct Line(Arc<Queue>);

/// The levels that a filter may name.
const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];

/// What is logged, by the settings.
pub fn filter(settings: &Log) -> Result<EnvFilter, ConfigError> {
    let wrong = |message: String| ConfigError { place: "log.filter".to_owned(), message };
    if let Some(word) = settings.filter.split(',').map(str::trim).find(|word| is_nothing(word)) {
        let near = hint::nearest(word, LEVELS.into_iter()).map_or_else(String::new, |near| format!("; did you mean '{near}'?"));
        let levels = LEVELS.join(", ");
        return Err(wrong(format!("'{word}' is no level: there are {levels}, and others than ours by name, as 'sqlx=debug'{near}")));
    }
    EnvFilter::try_new(format!("{QUIET},{}", settings.filter))
        .map_err(|e| wrong(format!("'{}' is no filter ({e}): write error, warn, info, debug or trace", settings.filter)))
}

/// A word that is no level would be taken for the name of something that nobody has, and alone would switch the whole log off.
fn is_nothing(word: &str) -> bool {
    let is_bare = !word.is_empty() && word.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-'));
    is_bare && word != env!("CARGO_PKG_NAME") && word.parse::<LevelFilter>().is_err()
}

/// Whether colours are wanted (<https://no-color.org>) and a terminal can show them.
fn takes_colors() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty()) && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Starts logging to standard error.
pub fn start(settings: &Log) -> Result<LogGuard, ConfigError> {
    let filter = filter(settings)?;
    let failed = |e: std::io::Error| ConfigError { place: "log".to_owned(), message: format!("its thread cannot be started: {e}") };
    let queue = Arc::new(Queue::default());
    let (for_writer, for_lines) = (Arc::clone(&queue), Arc::clone(&queue));
    let writer = std::thread::Builder::new().name("log".to_owned()).spawn(move || for_writer.write_out()).map_err(failed)?;
    let is_terminal = std::io::stderr().is_terminal();
    let lines = move || Line(Arc::clone(&for_lines));
    let base = tracing_subscriber::fmt().with_env_filter(filter).with_writer(lines).with_ansi(is_terminal && takes_colors());
    let is_json = settings.format == LogFormat::Json || (settings.format == LogFormat::Auto && !is_terminal);
    // A second start in one process (tests) keeps the first one's log.
    let begun = match is_json {
        true => base.json().flatten_event(true).with_current_span(false).with_span_list(false).finish().try_init(),
        false => base.compact().finish().try_init(),
    };
    if is_json && begun.is_ok() {
        JSON_QUEUE.get_or_init(|| Arc::clone(&queue));
    }
    Ok(LogGuard { queue, writer: Some(writer) })
}

/// The queue for lines of JSON, where the log is made of such.
pub(super) fn json_queue() -> Option<&'static Queue> {
    JSON_QUEUE.get().map(Arc::as_ref)
}

/// The protocol's library tells of every request with what is in it, and of servers' URLs: it is heard where the filter names it.
const QUIET: &str = "rmcp=off";

// === impl Queue ===

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a line, its end included.
    pub(super) fn add(&self, line: &[u8]) {
        let mut waiting = self.lock();
        if waiting.text.len() + line.len() > MOST_WAITING {
            waiting.dropped += 1;
            return;
        }
        let is_first = waiting.text.is_empty();
        waiting.text.extend_from_slice(line);
        drop(waiting);
        if is_first {
            self.has_some.notify_one();
        }
    }

    /// Runs until the queue is closed and empty.
    fn write_out(&self) {
        let mut text = Vec::new();
        loop {
            let is_idle = |waiting: &mut Waiting| waiting.text.is_empty() && !waiting.is_closed;
            let waiting = self.has_some.wait_while(self.lock(), is_idle).unwrap_or_else(PoisonError::into_inner);
            let is_closed = waiting.is_closed;
            drop(waiting);
            if !is_closed {
                std::thread::sleep(GATHER);
            }
            let mut waiting = self.lock();
            std::mem::swap(&mut waiting.text, &mut text);
            let dropped = std::mem::take(&mut waiting.dropped);
            drop(waiting);
            // Callers choose some names. Where the log cannot be written there is nowhere to say so.
            let _ = std::io::stderr().write_all(visible(&String::from_utf8_lossy(&text)).as_bytes());
            text.clear();
            text.shrink_to(64 << 10);
            if dropped > 0 {
                tracing::warn!(dropped, "log lines came faster than they could be written");
            }
            if is_closed && self.lock().text.is_empty() {
                return;
            }
        }
    }
}

// === impl Line ===

impl Write for Line {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        self.0.add(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

// === impl LogGuard ===

impl Drop for LogGuard {
    fn drop(&mut self) {
        self.queue.lock().is_closed = true;
        self.queue.has_some.notify_one();
        if let Some(writer) = self.writer.take() {
            // A writer that panicked has already said so.
            let _ = writer.join();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_word_that_is_no_level_is_no_filter() {
        let filter = |text: &str| filter(&Log { filter: text.to_owned(), ..Log::default() }).map(drop).map_err(|e| e.message);
        for right in
            ["info", "WARN", "off", "0", "", "keyward", "keyward=debug", "info,sqlx::query=debug", "info, keyward::request", "[x]=warn"]
        {
            assert_eq!(filter(right), Ok(()), "{right}");
        }
        for wrong in ["inf", "info,debg", "verbose"] {
            let word = wrong.rsplit(',').next().unwrap();
            assert!(filter(wrong).unwrap_err().starts_with(&format!("'{word}' is no level: there are error, warn, info")), "{wrong}");
        }
        assert!(filter("inf").unwrap_err().ends_with("did you mean 'info'?"));
    }
}
