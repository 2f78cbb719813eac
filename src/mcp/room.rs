//! What `/mcp` keeps between requests: federated servers, sessions of older revisions with their keys, and what has changed.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache;
use rmcp::transport::StreamableHttpServerConfig;
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use tokio::sync::watch;

use super::federation::{Changes, Federation, Pool};
use crate::catalog::Environment;
use crate::config::Config;
use crate::gateway::Gateway;
use crate::key::KeyId;

/// Shared by all requests.
pub struct Room {
    /// The servers behind this one.
    pub federation: Federation,
    /// Sessions of the revisions that have them.
    pub(super) sessions: Arc<LocalSessionManager>,
    /// How the protocol is served.
    pub(super) config: StreamableHttpServerConfig,
    /// Whose session it is: with another key it is none.
    owners: Cache<String, KeyId>,
    /// Connections of keys that have no session.
    pools: Cache<KeyId, Arc<Pool>>,
    changes: watch::Sender<Changes>,
}

const POOLS: u64 = 10_000;
const MOST_SESSIONS: u64 = 10_000;
const POOL_FOR: Duration = Duration::from_secs(60);
/// A session that is not used for so long ends.
const SESSION_FOR: Duration = Duration::from_secs(1800);
const TICK: Duration = Duration::from_secs(1);

// === impl Room ===

impl Room {
    /// As the configuration says; the error names a server and what it lacks.
    pub fn new(config: &Config, env: &Environment, data: &Path) -> Result<Room, String> {
        let federation = Federation::new(&config.mcp, env, data)?;
        let mut sessions = LocalSessionManager::default();
        sessions.session_config.keep_alive = Some(SESSION_FOR);
        Ok(Room {
            config: served(config, !federation.is_empty()),
            federation,
            sessions: Arc::new(sessions),
            owners: Cache::builder().time_to_idle(SESSION_FOR * 2).max_capacity(MOST_SESSIONS * 2).build(),
            pools: Cache::builder().time_to_idle(POOL_FOR).max_capacity(POOLS).build(),
            changes: watch::Sender::new(Changes::default()),
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
        tokio::join!(self.federation.follow(&self.changes, &stopped), files);
    }

    /// Ends all sessions, and the streams that only wait for something to happen.
    pub fn close(&self) {
        self.config.cancellation_token.cancel();
    }

    /// Resolves when [`Room::close`] is called.
    pub async fn closing(&self) {
        self.config.cancellation_token.cancelled().await;
    }

    /// Raised whenever what callers may see is another.
    pub fn changes(&self) -> watch::Receiver<Changes> {
        self.changes.subscribe()
    }

    /// The connections of a key.
    pub fn pool(&self, key: KeyId) -> Arc<Pool> {
        self.pools.get_with(key, || Pool::new(false))
    }

    /// Whether there are as many sessions as may be.
    pub async fn is_full(&self) -> bool {
        self.sessions.sessions.read().await.len() as u64 >= MOST_SESSIONS
    }

    /// A session was made under a key.
    pub fn owned(&self, session: &str, key: KeyId) {
        self.owners.insert(session.to_owned(), key);
    }

    /// Whether a session belongs to a key.
    pub fn is_owned(&self, session: &str, key: KeyId) -> bool {
        self.owners.get(session) == Some(key)
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
