//! How an exchange over a connection can fail.

use std::error::Error;
use std::fmt;
use std::io::{self, ErrorKind};

/// Why there is no answer, or not all of it.
#[derive(Debug)]
pub enum Fault {
    /// Nothing was sent: the connection was closed before.
    Unsent,
    /// The connection was closed before a word of an answer: the provider may not have seen the request.
    Silent,
    /// The connection was closed in the middle of the answer.
    Incomplete,
    /// The connection failed.
    Io(io::Error),
    /// What came is not HTTP/1.1, or leaves open where it ends.
    Bad(&'static str),
}

/// Whether the other side has closed the connection.
pub(super) fn is_closed(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset | ErrorKind::UnexpectedEof)
}

// === impl Fault ===

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Unsent => f.write_str("the connection was closed before the request was sent"),
            Fault::Silent => f.write_str("the connection was closed before an answer"),
            Fault::Incomplete => f.write_str("the connection was closed in the middle of the answer"),
            Fault::Io(_) => f.write_str("the connection failed"),
            Fault::Bad(why) => f.write_str(why),
        }
    }
}

impl Error for Fault {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Fault::Io(e) => Some(e),
            _ => None,
        }
    }
}
