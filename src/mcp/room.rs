//! What `/mcp` keeps between requests: federated servers, sessions of older revisions with their keys, and what has changed.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use moka::sync::Cache;
use rmcp::transport::StreamableHttpServerConfig;
use rmcp::transport::streamable_http_server::SessionManager as _;
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use tokio::sync::{OwnedSemaphorePermit, watch};

use super::federation::{Changes, Federation, Pool, Share};
use super::kept::Kept;
use super::sessions::Sessions;
use crate::catalog::Environment;
use crate::config::Config;
use crate::gateway::{Gateway, LOOK_EVERY};
use crate::key::KeyId;

/// Shared by all requests.
pub struct Room {
    /// The servers behind this one.
    pub federation: Federation,
    /// Sessions of the revisions that have them.
    pub(super) sessions: Arc<LocalSessionManager>,
    /// Whose they are.
    pub(super) owned: Arc<Sessions>,
    /// Calls that wait for answers of callers without a session.
    pub(super) kept: Kept,
    /// How the protocol is served.
    pub(super) config: StreamableHttpServerConfig,
    /// Connections of keys that have no session.
    pools: Cache<KeyId, Arc<Pool>>,
    /// What keys have of what there is not without end.
    shares: Mutex<HashMap<KeyId, Weak<Share>>>,
    changes: watch::Sender<Changes>,
    stopping: watch::Sender<bool>,
}

/// A place among those of a key who wait for news.
pub type Listener = (OwnedSemaphorePermit, Arc<Share>);

const POOLS: u64 = 10_000;
const POOL_FOR: Duration = Duration::from_secs(120);
/// A session in which nothing at all happens for so long ends, though somebody may listen.
const SESSION_FOR: Duration = Duration::from_secs(1800);
const MOST_SESSIONS: usize = 10_000;
const TICK: Duration = Duration::from_secs(1);
/// What was answered in a session can be heard again for so long, by who lost the connection.
const REPLAY_FOR: Duration = Duration::from_secs(10);
/// What can be heard no longer is let go so often.
const LET_GO_EVERY: Duration = Duration::from_secs(5);
const LET_GO_WITHIN: Duration = Duration::from_millis(100);
/// Sessions that belong to nobody are looked for so often.
const STRAYS_EVERY: Duration = Duration::from_secs(60);

// === impl Room ===

impl Room {
    /// As the configuration says; the error names a server and what it lacks.
    pub fn new(config: &Config, env: &Environment, data: &Path) -> Result<Room, String> {
        let federation = Federation::new(&config.mcp, env, data)?;
        let mut sessions = LocalSessionManager::default();
        sessions.session_config.keep_alive = Some(SESSION_FOR);
        sessions.session_config.completed_cache_ttl = REPLAY_FOR;
        Ok(Room {
            config: served(config, !federation.is_empty()),
            federation,
            sessions: Arc::new(sessions),
            owned: Arc::default(),
            kept: Kept::default(),
            pools: Cache::builder().time_to_idle(POOL_FOR).max_capacity(POOLS).build(),
            shares: Mutex::default(),
            changes: watch::Sender::new(Changes::default()),
            stopping: watch::Sender::new(false),
        })
    }

    /// Follows servers, prompts, and services with who is subscribed to them, until told to stop.
    pub async fn follow(&self, gateway: &Gateway, stopped: watch::Receiver<bool>) {
        let files = async {
            let now = || (gateway.prompts.prompts(), gateway.services.services(), gateway.subscriptions.version());
            let (mut stopped, mut before) = (stopped.clone(), now());
            while tokio::time::timeout(TICK, stopped.wait_for(|stop| *stop)).await.is_err() {
                let now = now();
                let has_other_prompts = !Arc::ptr_eq(&before.0, &now.0);
                let has_other_services = !Arc::ptr_eq(&before.1, &now.1) || before.2 != now.2;
                if has_other_prompts || has_other_services {
                    self.changes.send_modify(|changes| changes.count([true, has_other_prompts, has_other_prompts]));
                    before = now;
                }
            }
        };
        let sweeping = async {
            let (mut stopped, mut strays, mut looked) = (stopped.clone(), HashSet::new(), Instant::now());
            let mut let_go = Instant::now();
            while tokio::time::timeout(LOOK_EVERY, stopped.wait_for(|stop| *stop)).await.is_err() {
                self.sweep().await;
                if let_go.elapsed() >= LET_GO_EVERY {
                    self.let_go().await;
                    let_go = Instant::now();
                }
                if looked.elapsed() >= STRAYS_EVERY {
                    (strays, looked) = (self.end_strays(strays).await, Instant::now());
                }
            }
        };
        tokio::join!(self.federation.follow(&self.changes, &stopped), files, sweeping);
    }

    /// Ends what nobody uses, and what nobody may use any more.
    async fn sweep(&self) {
        for id in self.owned.sweep().await {
            self.end(&id).await;
        }
        self.kept.sweep().await;
        self.pools.run_pending_tasks();
        self.pools.iter().for_each(|(_, pool)| pool.sweep());
        self.shares.lock().unwrap_or_else(PoisonError::into_inner).retain(|_, share| share.strong_count() > 0);
    }

    /// Has each session let go of what can be heard no longer: by itself it does so only when something happens in it.
    async fn let_go(&self) {
        let handles: Vec<_> = {
            let sessions = self.sessions.sessions.read().await;
            sessions.iter().filter(|(id, _)| self.owned.is_in_use(id)).map(|(_, handle)| handle.clone()).collect()
        };
        // That there is no such stream is as good an event as any; a session that is busy has others.
        let told = handles.iter().map(|handle| tokio::time::timeout(LET_GO_WITHIN, handle.close_sse_stream(u64::MAX, None)));
        futures_util::future::join_all(told).await;
    }

    /// Ends the sessions that still belong to nobody, as when their caller hung up before they had begun; tells which belong to nobody now.
    async fn end_strays(&self, before: HashSet<String>) -> HashSet<String> {
        let mut strays: HashSet<String> = self.sessions.sessions.read().await.keys().map(ToString::to_string).collect();
        strays.retain(|id| !self.owned.is_known(id));
        for id in before.intersection(&strays) {
            self.end(id).await;
        }
        strays
    }

    /// Ends a session.
    pub async fn end(&self, id: &str) {
        self.owned.ended(id);
        // One that has ended by itself is no error.
        let _ = self.sessions.close_session(&id.to_owned().into()).await;
    }

    /// Ends the streams that only wait for something to happen: whatever is called goes on to its answer.
    pub fn stop(&self) {
        self.stopping.send_replace(true);
    }

    /// Ends all sessions, with what still runs.
    pub fn close(&self) {
        self.config.cancellation_token.cancel();
    }

    /// Resolves when [`Room::stop`] is called.
    pub async fn stopping(&self) {
        // The sender lives as long as the room.
        let _ = self.stopping.subscribe().wait_for(|stopping| *stopping).await;
    }

    /// Whether callers of older revisions have sessions: what a federated server asks in the middle of a call needs one.
    pub fn has_sessions(&self) -> bool {
        self.config.legacy_session_mode
    }

    /// Raised whenever what callers may see is another.
    pub fn changes(&self) -> watch::Receiver<Changes> {
        self.changes.subscribe()
    }

    /// The connections of a key.
    pub fn pool(&self, key: KeyId) -> Arc<Pool> {
        self.pools.get_with(key, || Pool::new(false, self.share(key)))
    }

    /// Whether there are as many sessions as may be, those too that are only just begun.
    pub async fn is_full(&self) -> bool {
        self.sessions.sessions.read().await.len() >= MOST_SESSIONS
    }

    /// A place among those of a key who wait for news, where there is one left.
    pub fn listener(&self, key: KeyId) -> Option<Listener> {
        let share = self.share(key);
        Some((Arc::clone(&share.listeners).try_acquire_owned().ok()?, share))
    }

    /// What a key may have at once.
    pub fn share(&self, key: KeyId) -> Arc<Share> {
        let mut shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(share) = shares.get(&key).and_then(Weak::upgrade) {
            return share;
        }
        let share = Arc::new(Share::default());
        shares.insert(key, Arc::downgrade(&share));
        share
    }
}

fn served(config: &Config, has_sessions: bool) -> StreamableHttpServerConfig {
    let mcp = &config.mcp;
    let mut hosts = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    hosts.extend(mcp.hosts.iter().cloned());
    let served = StreamableHttpServerConfig::default()
        .with_legacy_session_mode(has_sessions)
        .with_json_response(true)
        .with_max_request_body_bytes(config.limits.body_mib << 20)
        .with_allowed_origins(mcp.origins.clone())
        .enforce_origin_validation();
    match mcp.hosts.iter().any(|host| host == "*") {
        true => served.disable_allowed_hosts(),
        false => served.with_allowed_hosts(hosts),
    }
}
