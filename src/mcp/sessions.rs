//! The sessions of the revisions that have them: whose each is, and when it ends.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::key::KeyId;
use crate::mcp::holder::Holder;

/// All sessions.
#[derive(Debug, Default)]
pub struct Sessions(Mutex<HashMap<String, Session>>);

#[derive(Debug)]
struct Session {
    key: KeyId,
    holder: Holder,
    used: Instant,
    /// Streams that wait for news or for an answer: as long as there is one, somebody is there.
    streams: usize,
    /// The ids of the requests that run in it, as JSON.
    asked: HashSet<String>,
    /// Since when its key is no longer good.
    bad_since: Option<Instant>,
}

/// A stream of a session, for as long as it is open.
#[derive(Debug)]
pub struct Stream {
    sessions: Arc<Sessions>,
    id: String,
    asked: Vec<String>,
}

/// One key has so many; where it begins one more, that ends which was not used for the longest time.
const MOST_OF_A_KEY: usize = 128;
/// One that is not used for so long ends, unless somebody listens.
const IDLE_FOR: Duration = Duration::from_secs(600);

/// What runs under a key that is no longer good ends within this, and says so.
const LAST_WORDS: Duration = Duration::from_secs(1);

// === impl Sessions ===

impl Sessions {
    /// Whether a session belongs to a key, which uses it now.
    pub fn is_used_by(&self, id: &str, key: KeyId) -> bool {
        let mut all = self.all();
        let session = all.get_mut(id).filter(|session| session.key == key);
        session.map(|session| session.used = Instant::now()).is_some()
    }

    /// Whether a session belongs to somebody.
    pub fn is_known(&self, id: &str) -> bool {
        self.all().contains_key(id)
    }

    /// Whether somebody has used a session not long ago.
    pub fn is_in_use(&self, id: &str) -> bool {
        self.all().get(id).is_some_and(|session| session.used.elapsed() < IDLE_FOR)
    }

    /// A session was begun; tells those that end for it.
    pub fn begun(&self, id: &str, key: KeyId, holder: Holder) -> Vec<String> {
        let mut all = self.all();
        all.insert(id.to_owned(), Session { key, holder, used: Instant::now(), streams: 0, asked: HashSet::new(), bad_since: None });
        // One in which something runs, or to which somebody listens, is used now.
        let of_key = all.iter().filter(|(_, session)| session.key == key);
        let mut of_key: Vec<_> = of_key.map(|(id, one)| (one.streams > 0, one.used, id.clone())).collect();
        let over = of_key.len().saturating_sub(MOST_OF_A_KEY);
        of_key.sort();
        let ended: Vec<String> = of_key.into_iter().take(over).map(|(_, _, id)| id).collect();
        ended.iter().for_each(|id| drop(all.remove(id)));
        ended
    }

    /// A stream of a session is opened.
    pub fn stream(self: &Arc<Sessions>, id: &str) -> Stream {
        self.all().entry(id.to_owned()).and_modify(|session| session.streams += 1);
        Stream { sessions: Arc::clone(self), id: id.to_owned(), asked: Vec::new() }
    }

    /// Forgets the sessions whose time is over, or whose key is no longer good; tells which.
    pub async fn sweep(&self) -> Vec<String> {
        let all: Vec<_> = self.all().iter().map(|(id, one)| (id.clone(), one.holder.clone(), one.streams, one.used)).collect();
        let mut ended = Vec::new();
        for (id, holder, streams, used) in all {
            let is_idle = streams == 0 && used.elapsed() >= IDLE_FOR;
            if is_idle || (!holder.is_good().await && self.is_over(&id)) {
                self.all().remove(&id);
                ended.push(id);
            }
        }
        ended
    }

    /// Whether a session whose key is no longer good has told what still ran in it that this is over.
    fn is_over(&self, id: &str) -> bool {
        let mut all = self.all();
        let Some(session) = all.get_mut(id) else { return true };
        session.bad_since.get_or_insert_with(Instant::now).elapsed() >= LAST_WORDS
    }

    /// A session has ended.
    pub fn ended(&self, id: &str) {
        self.all().remove(id);
    }

    fn all(&self) -> MutexGuard<'_, HashMap<String, Session>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Stream ===

impl Stream {
    /// It is of requests with these ids; the error is one that runs in the session already, since answers are told apart by them.
    pub fn asks(&mut self, ids: Vec<String>) -> Result<(), String> {
        let mut all = self.sessions.all();
        let Some(session) = all.get_mut(&self.id) else { return Ok(()) };
        match ids.iter().find(|id| session.asked.contains(*id)) {
            Some(twice) => Err(twice.clone()),
            None => {
                session.asked.extend(ids.iter().cloned());
                self.asked = ids;
                Ok(())
            }
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.sessions.all().entry(std::mem::take(&mut self.id)).and_modify(|session| {
            session.streams -= 1;
            session.asked.retain(|id| !self.asked.contains(id));
            session.used = Instant::now();
        });
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::mcp::holder::tests::holder;

    fn key(id: &str) -> KeyId {
        KeyId::parse(&format!("{id:a<12}")[..12]).unwrap()
    }

    #[tokio::test]
    async fn a_session_ends_that_nobody_uses_or_may_use() {
        let (sessions, good, bad) = (Arc::new(Sessions::default()), Arc::new(AtomicBool::new(true)), Arc::new(AtomicBool::new(true)));
        for (id, is_good) in [("idle", &good), ("used", &good), ("heard", &good), ("revoked", &bad)] {
            assert!(sessions.begun(id, key("k"), holder(is_good)).is_empty());
        }
        let stream = sessions.stream("heard");
        let long_ago = Instant::now().checked_sub(IDLE_FOR).unwrap();
        sessions.all().values_mut().for_each(|session| session.used = long_ago);
        assert!(sessions.is_used_by("used", key("k")) && sessions.is_used_by("revoked", key("k")));
        assert!(!sessions.is_used_by("idle", key("other")), "another's key uses nothing");
        assert_eq!(sessions.sweep().await, ["idle"]);
        bad.store(false, Ordering::Relaxed);
        assert!(sessions.sweep().await.is_empty(), "what runs in it may still say that it is over");
        sessions.all().get_mut("revoked").unwrap().bad_since = Instant::now().checked_sub(LAST_WORDS);
        assert_eq!(sessions.sweep().await, ["revoked"]);
        // Whoever has listened until now has used it until now.
        drop(stream);
        assert!(sessions.sweep().await.is_empty() && sessions.is_in_use("heard"));
        sessions.all().values_mut().for_each(|session| session.used = long_ago);
        let mut ended = sessions.sweep().await;
        ended.sort();
        assert_eq!(ended, ["heard", "used"]);
    }

    #[test]
    fn the_oldest_session_of_a_key_ends_for_one_more() {
        let (sessions, good) = (Arc::new(Sessions::default()), Arc::new(AtomicBool::new(true)));
        assert!(sessions.begun("other", key("other"), holder(&good)).is_empty());
        for number in 0..MOST_OF_A_KEY {
            assert!(sessions.begun(&number.to_string(), key("k"), holder(&good)).is_empty());
        }
        let _running = sessions.stream("1");
        assert!(sessions.is_used_by("0", key("k")));
        assert_eq!(sessions.begun("more", key("k"), holder(&good)), ["2"], "something runs in the one before it");
        assert!(sessions.is_known("0") && sessions.is_known("other") && !sessions.is_known("2"));
    }
}
