//! Connections to servers, kept for the next call of whoever they were made for.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::ThreadId;
use std::time::{Duration, Instant};

use rmcp::model::{ClientCapabilities, LoggingLevel, ProtocolVersion};
use rmcp::service::{RoleClient, RunningService};
use tokio::process::Child;

use super::Relay;

/// A connection to one server.
#[derive(Debug)]
pub struct Link {
    /// The connection.
    pub service: RunningService<RoleClient, Relay>,
    /// What passes on what the server asks and tells.
    pub relay: Relay,
    /// It has no handshake and no session: what a call lacks is told by its result.
    pub is_modern: bool,
    /// It has seen the server's tools, and so knows which arguments are repeated in headers.
    pub knows_tools: bool,
    /// From which level on it tells its log, where that was asked for.
    pub level: Option<LoggingLevel>,
    /// Its program, which ends with it.
    _child: Option<Child>,
}

/// What a connection was made for: a call takes none that was made otherwise.
#[derive(Clone, Debug, PartialEq)]
pub struct Made {
    /// The server.
    pub server: Arc<str>,
    /// The caller's revision.
    pub version: ProtocolVersion,
    /// What the caller can be asked.
    pub capabilities: ClientCapabilities,
    /// What comes by it is passed on in order within one thread.
    pub thread: ThreadId,
}

/// The connections of one session, or of one key.
#[derive(Debug)]
pub struct Pool {
    idle: Mutex<Vec<(Made, Link, Instant)>>,
    /// They belong to a session, which a server may remember something of.
    is_session: bool,
}

/// Connections that a key without a session keeps at the most.
const MOST_IDLE: usize = 8;
const IDLE_FOR: Duration = Duration::from_secs(60);

// === impl Link ===

impl Link {
    /// A connection that is up.
    pub fn new(service: RunningService<RoleClient, Relay>, child: Option<Child>) -> Link {
        let is_modern = service.peer_info().is_some_and(|info| !info.protocol_version.has_initialize());
        Link { relay: service.service().clone(), service, is_modern, knows_tools: false, level: None, _child: child }
    }
}

// === impl Pool ===

impl Pool {
    /// Of a session, or of a key.
    pub fn new(is_session: bool) -> Arc<Pool> {
        Arc::new(Pool { idle: Mutex::default(), is_session })
    }

    /// One that waits for a call like this.
    pub fn take(&self, made: &Made) -> Option<Link> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|(_, link, since)| !link.service.is_closed() && (self.is_session || since.elapsed() < IDLE_FOR));
        let at = idle.iter().rposition(|(other, ..)| other == made)?;
        Some(idle.remove(at).1)
    }

    /// Keeps one for the next call.
    pub fn give(&self, made: Made, link: Link) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.is_session && idle.len() >= MOST_IDLE {
            idle.remove(0);
        }
        idle.push((made, link, Instant::now()));
    }

    /// Whether it belongs to a session.
    pub fn is_session(&self) -> bool {
        self.is_session
    }
}
