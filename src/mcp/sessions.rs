//! The sessions of the revisions that have them: whose each is, and when it ends.

use std::collections::HashMap;
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
    /// Streams that wait for news: as long as there is one, somebody is there.
    streams: usize,
    /// Since when its key is no longer good.
    bad_since: Option<Instant>,
}

/// A stream of a session, for as long as it is open.
#[derive(Debug)]
pub struct Stream {
    sessions: Arc<Sessions>,
    id: String,
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
        all.insert(id.to_owned(), Session { key, holder, used: Instant::now(), streams: 0, bad_since: None });
        let mut of_key: Vec<_> = all.iter().filter(|(_, session)| session.key == key).map(|(id, one)| (one.used, id.clone())).collect();
        let over = of_key.len().saturating_sub(MOST_OF_A_KEY);
        of_key.sort();
        let ended: Vec<String> = of_key.into_iter().take(over).map(|(_, id)| id).collect();
        ended.iter().for_each(|id| drop(all.remove(id)));
        ended
    }

    /// A stream of a session is opened.
    pub fn stream(self: &Arc<Sessions>, id: &str) -> Stream {
        self.all().entry(id.to_owned()).and_modify(|session| session.streams += 1);
        Stream { sessions: Arc::clone(self), id: id.to_owned() }
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

impl Drop for Stream {
    fn drop(&mut self) {
        self.sessions.all().entry(std::mem::take(&mut self.id)).and_modify(|session| {
            session.streams -= 1;
            session.used = Instant::now();
        });
    }
}
