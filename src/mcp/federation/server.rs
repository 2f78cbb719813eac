//! One federated server: what it has, followed by a connection of the gateway's own, and calls by the callers' connections.

use std::sync::Arc;
use std::time::Duration;

use rmcp::model::{ClientCapabilities, ClientConfig, Implementation, ProtocolVersion, SubscriptionFilter};
use rmcp::service::ClientLifecycleMode;
use rmcp::{ErrorData, model::ErrorCode};
use tokio::sync::watch;

use super::link::Made;
use super::{Approvals, Changes, Link, Listed, Listing, Pool, Relay, Way};
use crate::config::McpServer;

/// A server of the configuration.
#[derive(Debug)]
pub struct Server {
    /// What stands before its names.
    pub name: Arc<str>,
    /// How long one call may take.
    pub call_timeout: Duration,
    timeout: Duration,
    way: Way,
    approvals: Arc<Approvals>,
    /// `None` until it was asked for the first time.
    listing: watch::Sender<Option<Listed>>,
}

/// Why a server could not be called, for its caller.
#[derive(Debug)]
pub struct Trouble(pub ErrorData);

/// A server that says nothing of changes is asked anew so often.
const RELIST: Duration = Duration::from_secs(300);
/// New approvals are looked for so often.
const TICK: Duration = Duration::from_secs(1);
const FIRST_REST: Duration = Duration::from_secs(1);
const LONGEST_REST: Duration = Duration::from_secs(60);

// === impl Server ===

impl Server {
    /// A server that nothing is known of yet.
    pub fn new(name: &str, settings: &McpServer, way: Way, approvals: Arc<Approvals>) -> Server {
        Server {
            name: name.into(),
            call_timeout: settings.call_timeout,
            timeout: settings.timeout,
            way,
            approvals,
            listing: watch::Sender::new(None),
        }
    }

    /// What it has; waits for its first answer as long as that may take.
    pub async fn listing(&self) -> Listed {
        let mut listing = self.listing.subscribe();
        let first = tokio::time::timeout(self.timeout, listing.wait_for(Option::is_some)).await;
        first.ok().and_then(Result::ok).and_then(|listing| listing.clone()).unwrap_or_default()
    }

    /// What it has, as far as that is known now.
    pub fn listing_now(&self) -> Listed {
        self.listing.borrow().clone().unwrap_or_default()
    }

    /// Asks it once, for the command line.
    pub async fn look(&self) -> Result<Listing, String> {
        let (mut listing, _link) = self.list().await?;
        let held_back = self.approvals.differing(&self.name, &listing.tools);
        listing.held_back = held_back.map_err(|error| format!("the file of approved tools cannot be read: {error}"))?;
        Ok(listing)
    }

    /// What keeps track of its tools.
    pub fn approvals(&self) -> &Approvals {
        &self.approvals
    }

    /// Keeps its listing right until told to stop.
    pub async fn follow(self: Arc<Self>, changes: watch::Sender<Changes>, mut stopped: watch::Receiver<bool>) {
        let mut rest = FIRST_REST;
        loop {
            let followed = tokio::select! {
                followed = self.follow_once(&changes) => followed,
                _ = stopped.wait_for(|stop| *stop) => return,
            };
            match followed {
                Ok(()) => rest = FIRST_REST,
                Err(why) => {
                    tracing::warn!(server = &*self.name, why, "an MCP server cannot be used now: what it has is hidden");
                    self.publish(Listing::nothing(why), &changes);
                    tokio::select! {
                        () = tokio::time::sleep(rest) => {}
                        _ = stopped.wait_for(|stop| *stop) => return,
                    }
                    rest = (rest * 2).min(LONGEST_REST);
                }
            }
        }
    }

    /// Lists, and waits until that is no longer right.
    async fn follow_once(&self, changes: &watch::Sender<Changes>) -> Result<(), String> {
        let (mut listing, link) = self.list().await?;
        listing.held_back = self.held_back(&listing)?;
        let mut approved = self.approvals.written();
        let announces = SubscriptionFilter::builder().tools_list_changed().prompts_list_changed().resources_list_changed().build();
        let announces = announces.supported_by(&listing.capabilities);
        self.publish(listing, changes);
        let mut subscription = match link.is_modern && announces != SubscriptionFilter::default() {
            true => link.service.listen(announces).await.ok(),
            false => None,
        };
        let told = async {
            match &mut subscription {
                // Whatever comes is a change, and its end is a reason to look too.
                Some(subscription) => drop(subscription.next().await),
                None => link.relay.changed().await,
            }
        };
        let mut told = std::pin::pin!(told);
        let again = tokio::time::Instant::now() + RELIST;
        while tokio::time::Instant::now() < again && !link.service.is_closed() {
            tokio::select! {
                () = &mut told => return Ok(()),
                () = tokio::time::sleep(TICK) => {}
            }
            let written = self.approvals.written();
            if std::mem::replace(&mut approved, written) != written {
                let mut listing = (*self.listing_now()).clone();
                listing.held_back = self.held_back(&listing)?;
                self.publish(listing, changes);
            }
        }
        Ok(())
    }

    async fn list(&self) -> Result<(Listing, Link), String> {
        let list = async {
            let info = introduction(ProtocolVersion::LATEST_WITH_INITIALIZE, ClientCapabilities::default());
            let lifecycle = ClientLifecycleMode::Auto {
                preferred_versions: vec![ProtocolVersion::V_2026_07_28],
                legacy_version: Some(ProtocolVersion::LATEST_WITH_INITIALIZE),
            };
            let (service, child) = self.way.connect(Relay::new(&self.name, info), lifecycle).await?;
            let link = Link::new(service, child);
            let listing = Listing::of(&link.service).await.map_err(|error| format!("it does not list what it has: {error}"))?;
            Ok((listing, link))
        };
        let late = |_| format!("it did not connect and list what it has within {} s", self.timeout.as_secs_f64());
        tokio::time::timeout(self.timeout, list).await.map_err(late)?
    }

    fn held_back(&self, listing: &Listing) -> Result<Vec<String>, String> {
        let held_back = self.approvals.held_back(&self.name, &listing.tools);
        let held_back = held_back.map_err(|error| format!("the file of approved tools cannot be used: {error}"))?;
        for tool in &held_back {
            tracing::warn!(
                server = &*self.name,
                tool,
                "a tool is not as it was approved, and is held back: see 'keyward mcp servers', and 'keyward mcp approve {}'",
                self.name
            );
        }
        Ok(held_back)
    }

    fn publish(&self, listing: Listing, changes: &watch::Sender<Changes>) {
        let differs = self.listing_now().differs(&listing);
        self.listing.send_replace(Some(Arc::new(listing)));
        if differs.contains(&true) {
            changes.send_modify(|changes| changes.count(differs));
        }
    }

    /// A connection for a call of a caller like this, from its pool or new.
    pub async fn link(&self, pool: &Pool, version: ProtocolVersion, capabilities: ClientCapabilities) -> Result<(Made, Link), Trouble> {
        let made = Made { server: Arc::clone(&self.name), version, capabilities, thread: std::thread::current().id() };
        if let Some(link) = pool.take(&made) {
            return Ok((made, link));
        }
        let connect = self.connect(&made);
        let connected = tokio::time::timeout(self.timeout, connect).await.unwrap_or_else(|_| Err("it did not connect in time".to_owned()));
        match connected {
            Ok(link) => Ok((made, link)),
            Err(why) => {
                tracing::warn!(server = &*self.name, why, "an MCP server cannot be called");
                Err(self.trouble("cannot be reached right now: try again in a moment"))
            }
        }
    }

    async fn connect(&self, made: &Made) -> Result<Link, String> {
        let modern = || vec![ProtocolVersion::V_2026_07_28];
        let legacy = if made.version.has_initialize() { made.version.clone() } else { ProtocolVersion::LATEST_WITH_INITIALIZE };
        let info = || introduction(legacy.clone(), made.capabilities.clone());
        let first = match made.version.has_initialize() {
            true => ClientLifecycleMode::Initialize,
            false => ClientLifecycleMode::Auto { preferred_versions: modern(), legacy_version: Some(legacy.clone()) },
        };
        let connected = self.way.connect(Relay::new(&self.name, info()), first).await;
        let (service, child) = match connected {
            // A server of the newest revision alone has no handshake.
            Err(_) if made.version.has_initialize() => {
                let lifecycle = ClientLifecycleMode::Discover { preferred_versions: modern() };
                self.way.connect(Relay::new(&self.name, info()), lifecycle).await?
            }
            connected => connected?,
        };
        Ok(Link::new(service, child))
    }

    /// What its caller is told.
    pub fn trouble(&self, what: &str) -> Trouble {
        Trouble(ErrorData::new(ErrorCode::INTERNAL_ERROR, format!("The MCP server '{}' {what}.", self.name), None))
    }
}

/// Who calls: always the gateway, with what the caller behind it can be asked.
fn introduction(version: ProtocolVersion, capabilities: ClientCapabilities) -> ClientConfig {
    let mut info = ClientConfig::new(capabilities, Implementation::new("keyward", env!("CARGO_PKG_VERSION")));
    info.protocol_version = version;
    info
}
