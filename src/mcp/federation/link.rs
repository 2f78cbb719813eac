//! Connections to servers, shared by the calls of whoever they were made for, and kept for the next.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::ThreadId;
use std::time::{Duration, Instant};

use rmcp::model::{ClientCapabilities, LoggingLevel, ProgressToken, ProtocolVersion, RequestId};
use rmcp::service::{RoleClient, RunningService};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use super::program::Running;
use super::{Relay, Toward};
use crate::server::workers;

/// A connection to one server; the protocol tells calls that run by it at once apart.
#[derive(Debug)]
pub struct Link {
    /// The connection.
    pub service: RunningService<RoleClient, Relay>,
    /// What passes on what the server asks and tells.
    pub relay: Relay,
    /// It has no handshake and no session: what a call lacks is told by its result.
    pub is_modern: bool,
    /// It has seen the server's tools, and so knows which arguments are repeated in headers.
    pub knows_tools: AtomicBool,
    /// From which level on it tells its log, where that was asked for.
    pub level: Mutex<Option<LoggingLevel>>,
    /// A call was left behind by it or waits for its caller: what comes of that is not another's, and no new call begins by it.
    is_spent: AtomicBool,
    used: Mutex<Instant>,
    /// Its program, which ends with it.
    _running: Option<Running>,
    /// That its program may run.
    _permits: Vec<OwnedSemaphorePermit>,
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

/// The place of one connection; who makes it holds the place meanwhile, and others wait for it.
pub type Place = tokio::sync::Mutex<Option<Arc<Link>>>;

/// What a session is subscribed to, by server.
pub type Subscribed = Arc<Mutex<BTreeSet<(Arc<str>, String)>>>;

/// The connections of one session, or of one key.
#[derive(Debug)]
pub struct Pool {
    places: Mutex<Vec<(Made, Arc<Place>)>>,
    /// They belong to a session, which a server may remember something of.
    is_session: bool,
    /// What its session is subscribed to, by server: a server that has started again knows nothing of that.
    subscribed: Subscribed,
    /// By what a session heard last of each server.
    relays: Mutex<BTreeMap<Arc<str>, Relay>>,
    /// Told when a session has subscribed to something.
    listens: Arc<Notify>,
    share: Arc<Share>,
}

/// What one key may have at once.
#[derive(Debug)]
pub struct Share {
    /// Programs that run for it.
    pub programs: Arc<Semaphore>,
    /// Requests that wait for news.
    pub listeners: Arc<Semaphore>,
}

/// A call that runs by a connection.
#[derive(Debug)]
pub struct Turn {
    /// The connection.
    pub link: Arc<Link>,
    number: u64,
    is_session: bool,
    is_over: bool,
}

/// Connections to one server that a key without a session keeps at the most on each worker: with fewer, calls that take turns on the
/// workers would end each other's programs.
const MOST_KEPT: usize = 2;
const IDLE_FOR: Duration = Duration::from_secs(60);
const MOST_PROGRAMS: usize = 128;
const MOST_LISTENERS: usize = 64;
/// A session is subscribed to so much again.
const MOST_SUBSCRIBED: usize = 1000;

// === impl Link ===

impl Link {
    /// A connection that is up.
    pub fn new(service: RunningService<RoleClient, Relay>, running: Option<Running>, permits: Vec<OwnedSemaphorePermit>) -> Link {
        let is_modern = service.peer_info().is_some_and(|info| !info.protocol_version.has_initialize());
        Link {
            relay: service.service().clone(),
            service,
            is_modern,
            knows_tools: AtomicBool::default(),
            level: Mutex::default(),
            is_spent: AtomicBool::default(),
            used: Mutex::new(Instant::now()),
            _running: running,
            _permits: permits,
        }
    }

    /// Whether a new call may begin by it.
    pub fn is_usable(&self) -> bool {
        !self.is_closed() && !self.is_spent.load(Ordering::Relaxed)
    }

    /// Whether the server has forgotten what it was told by it, such as subscriptions; it is to be told anew.
    pub fn begins_anew(&self) -> bool {
        let begins_anew = self.relay.has_expired().swap(false, Ordering::Relaxed);
        if begins_anew {
            *self.level.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
        begins_anew
    }

    /// Whether the server is gone.
    pub fn is_closed(&self) -> bool {
        // The service itself counts as open until somebody here ends it.
        self.service.peer().is_transport_closed()
    }

    /// No new call begins by it.
    pub fn retire(&self) {
        self.is_spent.store(true, Ordering::Relaxed);
    }

    /// A call of this caller begins.
    pub fn begin(self: Arc<Link>, toward: Toward, is_session: bool) -> Turn {
        self.touch();
        let number = self.relay.begin(toward, is_session);
        Turn { link: self, number, is_session, is_over: false }
    }

    fn touch(&self) {
        *self.used.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    fn idle(&self) -> Duration {
        self.used.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
    }
}

// === impl Turn ===

impl Turn {
    /// What tells it from other calls by the connection.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The request has been sent: what comes under its token and its id belongs to this call.
    pub fn sent(&self, token: ProgressToken, id: RequestId) {
        self.link.relay.sent(self.number, token, id);
    }

    /// Who is asked in the middle of this call.
    pub fn toward(&self) -> Option<Toward> {
        self.link.relay.toward(self.number)
    }

    /// Waits until what has come for this call by now is passed on.
    pub async fn passed_on(&self) {
        self.link.relay.passed_on(self.number).await;
    }

    /// The server has answered: nothing more comes of this call.
    pub fn over(mut self) {
        self.is_over = true;
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.link.touch();
        self.link.relay.end(self.number, !self.is_over);
        // A session goes on by its connection, which the server may remember something of; it hears of nobody else's calls.
        if !self.is_over && (!self.is_session || self.link.is_modern) {
            self.link.retire();
        }
    }
}

// === impl Pool ===

impl Pool {
    /// Of a session, or of a key, which may have so much.
    pub fn new(is_session: bool, share: Arc<Share>) -> Arc<Pool> {
        let (places, subscribed, relays) = (Mutex::default(), Arc::default(), Mutex::default());
        Arc::new(Pool { places, is_session, subscribed, relays, listens: Arc::default(), share })
    }

    /// The place of a connection like this.
    pub fn place(&self, made: &Made) -> Arc<Place> {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = places.iter().position(|(other, _)| other == made) {
            // What was used last is put away last.
            let found = places.remove(at);
            let place = Arc::clone(&found.1);
            places.push(found);
            return place;
        }
        let mut same = places.iter().enumerate().filter(|(_, (other, _))| other.server == made.server).map(|(at, _)| at);
        if let Some(oldest) = same.next().filter(|_| !self.is_session && same.count() + 1 >= MOST_KEPT * workers()) {
            places.remove(oldest);
        }
        let place = Arc::default();
        places.push((made.clone(), Arc::clone(&place)));
        place
    }

    /// Ends what nobody has used for a while, and what cannot be used any more.
    pub fn sweep(&self) {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        places.retain(|(_, place)| {
            // One that is being made is no longer idle.
            let Ok(mut held) = place.try_lock() else { return true };
            let is_idle = |link: &Arc<Link>| !self.is_session && Arc::strong_count(link) == 1 && link.idle() >= IDLE_FOR;
            if held.as_ref().is_some_and(|link| is_idle(link) || !link.is_usable()) {
                *held = None;
            }
            held.is_some() || Arc::strong_count(place) > 1
        });
    }

    /// A session has subscribed to a resource of a server, or no longer wants to hear of it.
    pub fn subscribe(&self, server: &Arc<str>, uri: &str, is_wanted: bool) {
        let mut subscribed = self.subscribed.lock().unwrap_or_else(PoisonError::into_inner);
        let one = (Arc::clone(server), uri.to_owned());
        if !is_wanted {
            subscribed.remove(&one);
        } else if self.is_session && subscribed.len() < MOST_SUBSCRIBED {
            subscribed.insert(one);
            self.listens.notify_one();
        }
    }

    /// Told when a session has subscribed to something.
    pub fn listens(&self) -> Arc<Notify> {
        Arc::clone(&self.listens)
    }

    /// Whether it has.
    pub fn is_subscribed(&self) -> bool {
        !self.subscribed.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// The connections to a server that have ended, or begun anew, though its session is subscribed to something there.
    pub fn lost(&self, server: &str) -> Vec<Made> {
        if self.subscribed(server).is_empty() {
            return Vec::new();
        }
        let places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let of_server = places.iter().filter(|(made, _)| *made.server == *server);
        // One that is being made is not lost.
        let is_lost = |place: &Place| {
            place
                .try_lock()
                .is_ok_and(|held| held.as_ref().is_none_or(|link| link.is_closed() || link.relay.has_expired().load(Ordering::Relaxed)))
        };
        of_server.filter(|(_, place)| is_lost(place)).map(|(made, _)| made.clone()).collect()
    }

    /// A session goes on by this connection: what names no call reaches it as before.
    pub fn goes_on(&self, server: &Arc<str>, relay: &Relay) {
        if !self.is_session {
            return;
        }
        relay.listens_to(&self.subscribed);
        let before = self.relays.lock().unwrap_or_else(PoisonError::into_inner).insert(Arc::clone(server), relay.clone());
        if let Some(before) = before {
            relay.goes_on_from(&before);
        }
    }

    /// What of a server a session is subscribed to.
    pub fn subscribed(&self, server: &str) -> Vec<String> {
        let subscribed = self.subscribed.lock().unwrap_or_else(PoisonError::into_inner);
        subscribed.iter().filter(|(of, _)| **of == *server).map(|(_, uri)| uri.clone()).collect()
    }

    /// Whether it belongs to a session.
    pub fn is_session(&self) -> bool {
        self.is_session
    }

    /// How many programs may run for the key.
    pub fn programs(&self) -> &Arc<Semaphore> {
        &self.share.programs
    }
}

// === impl Share ===

impl Default for Share {
    fn default() -> Share {
        Share { programs: Arc::new(Semaphore::new(MOST_PROGRAMS)), listeners: Arc::new(Semaphore::new(MOST_LISTENERS)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_worker_keeps_a_place_for_each_kind_of_caller() {
        let pool = Pool::new(false, Arc::default());
        let kinds = [ProtocolVersion::V_2025_06_18, ProtocolVersion::V_2025_11_25];
        let threads: Vec<ThreadId> =
            (0..workers()).filter_map(|_| std::thread::spawn(|| std::thread::current().id()).join().ok()).collect();
        let made = |thread: ThreadId, version: &ProtocolVersion| Made {
            server: "odd".into(),
            version: version.clone(),
            capabilities: ClientCapabilities::default(),
            thread,
        };
        let all: Vec<Made> = threads.iter().flat_map(|thread| kinds.iter().map(|version| made(*thread, version))).collect();
        let first: Vec<Arc<Place>> = all.iter().map(|made| pool.place(made)).collect();
        assert!(all.iter().zip(&first).all(|(made, place)| Arc::ptr_eq(&pool.place(made), place)), "none of them was put away");
    }
}
