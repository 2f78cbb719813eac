//! The log: lines for people on a terminal, JSON elsewhere, written by a thread of its own so that no request waits for it.

use std::io::{BufWriter, IsTerminal};

use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{ConfigError, Log, LogFormat};

/// Lines that may wait for the writer before the newest are dropped.
const WAITING_LINES: usize = 32_768;

/// Lines that wait are written together; the writer flushes as soon as none is left.
const BUFFER: usize = 64 << 10;

/// Starts logging to standard error; what waits is written when the guard is dropped.
pub fn start(settings: &Log) -> Result<WorkerGuard, ConfigError> {
    let filter = EnvFilter::try_new(&settings.filter).map_err(|e| ConfigError {
        place: "log.filter".to_owned(),
        message: format!("'{}' is no filter ({e}): write error, warn, info, debug or trace", settings.filter),
    })?;
    let (writer, guard) = NonBlockingBuilder::default()
        .buffered_lines_limit(WAITING_LINES)
        .lossy(true)
        .finish(BufWriter::with_capacity(BUFFER, std::io::stderr()));
    let is_terminal = std::io::stderr().is_terminal();
    let base = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer).with_ansi(is_terminal);
    let is_json = settings.format == LogFormat::Json || (settings.format == LogFormat::Auto && !is_terminal);
    // A second start in one process (tests) keeps the first one's log.
    let _ = match is_json {
        true => base.json().flatten_event(true).with_current_span(false).with_span_list(false).finish().try_init(),
        false => base.compact().finish().try_init(),
    };
    Ok(guard)
}
