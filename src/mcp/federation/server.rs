//! One federated server: what it has, followed by a connection of the gateway's own, and calls by the callers' connections.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock, PoisonError};
use std::time::Duration;

use rmcp::model::{ClientCapabilities, ClientConfig, ElicitationCapability, ErrorCode, ErrorData, Implementation, ProtocolVersion};
use rmcp::model::{
    FormElicitationCapability, ServerCapabilities, ServerResult, SubscribeRequestParams, SubscriptionFilter, UrlElicitationCapability,
};
use rmcp::service::{ServiceError, Subscription};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::Instant;

use super::link::Made;
use super::secrets::Secrets;
use super::way::Connection;
use super::{Approvals, Change, Changes, Key, Link, Listed, Listing, Opening, Pool, Relay, Way};
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
    /// How many programs may run in all.
    programs: Arc<Semaphore>,
    /// When it was asked for the first time.
    began: OnceLock<Instant>,
    /// Which revisions it has spoken so far.
    speaks: AtomicU8,
    /// `None` until it was asked for the first time.
    listing: watch::Sender<Option<Listed>>,
}

/// Why a server could not be called, for its caller.
#[derive(Debug)]
pub struct Trouble(pub ErrorData);

/// What is told of something that is not as the protocol has it without the server's credential.
pub const UNMASKED: &str = "told something that cannot be passed on without its credential";
/// A server that says nothing of changes is asked anew so often.
const RELIST: Duration = Duration::from_secs(300);
/// New approvals are looked for so often.
const TICK: Duration = Duration::from_secs(1);
/// A list of all that there is waits for a server no longer than this after it was asked for the first time.
const PATIENCE: Duration = Duration::from_secs(3);
const FIRST_REST: Duration = Duration::from_secs(1);
/// Between two connections.
const LONGEST_REST: Duration = Duration::from_secs(60);
/// Between two lists by one connection.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// So many things that are held back are named in the log.
const MOST_NAMED: usize = 20;
/// Revisions before 2026-07-28, and those from there on.
const HANDSHAKE: u8 = 1;
const MODERN: u8 = 2;
/// It has been tried, and has no handshake.
const NO_HANDSHAKE: u8 = 4;

// === impl Server ===

impl Server {
    /// A server that nothing is known of yet.
    pub fn new(name: &str, settings: &McpServer, way: Way, approvals: Arc<Approvals>, programs: Arc<Semaphore>) -> Server {
        Server {
            name: name.into(),
            call_timeout: settings.call_timeout,
            timeout: settings.timeout,
            way,
            approvals,
            programs,
            began: OnceLock::new(),
            speaks: AtomicU8::new(0),
            listing: watch::Sender::new(None),
        }
    }

    /// What it has; waits for its first answer as long as that may take.
    pub async fn listing(&self) -> Listed {
        self.listed_within(self.timeout).await
    }

    /// What it has; a server that has not answered by now is waited for only shortly, and has nothing until it does.
    pub async fn listing_soon(&self) -> Listed {
        let began = *self.began.get_or_init(Instant::now);
        self.listed_within(PATIENCE.saturating_sub(began.elapsed())).await
    }

    async fn listed_within(&self, patience: Duration) -> Listed {
        let mut listing = self.listing.subscribe();
        let first = tokio::time::timeout(patience, listing.wait_for(Option::is_some)).await;
        first.ok().and_then(Result::ok).and_then(|listing| listing.clone()).unwrap_or_default()
    }

    /// What it has, as far as that is known now.
    pub fn listing_now(&self) -> Listed {
        self.listing.borrow().clone().unwrap_or_default()
    }

    /// Asks it once, for the command line: what it has, and what of that would have to be approved.
    pub async fn look(&self) -> Result<(Listing, Vec<Change>), String> {
        let (mut listing, _link) = self.list().await?;
        let changes = self.approvals.changes(&self.name, &listing);
        let changes = changes.map_err(|error| format!("the file of approvals cannot be read: {error}"))?;
        listing.held_back = changes.iter().filter(|change| change.before.is_some()).map(|change| change.key.clone()).collect();
        Ok((listing, changes))
    }

    /// Whether it tells callers without a session that a resource has changed.
    pub fn tells_all(&self) -> bool {
        self.speaks.load(Ordering::Relaxed) & MODERN != 0
    }

    /// What keeps track of what was approved.
    pub fn approvals(&self) -> &Approvals {
        &self.approvals
    }

    /// Keeps its listing right until told to stop.
    pub async fn follow(self: Arc<Self>, changes: watch::Sender<Changes>, mut stopped: watch::Receiver<bool>) {
        let mut rest = FIRST_REST;
        self.began.get_or_init(Instant::now);
        loop {
            let connected = Instant::now();
            let followed = tokio::select! {
                followed = self.follow_once(&changes) => followed,
                _ = stopped.wait_for(|stop| *stop) => return,
            };
            if let Err(why) = followed {
                tracing::warn!(server = &*self.name, why, "an MCP server cannot be used now: what it has is hidden");
                self.publish(Listing::nothing(why), &changes);
            }
            // A connection that lasted was good; one that ends at once, again and again, is not made again at once.
            if connected.elapsed() > LONGEST_REST {
                rest = FIRST_REST;
            }
            tokio::select! {
                () = tokio::time::sleep(rest) => {}
                _ = stopped.wait_for(|stop| *stop) => return,
            }
            rest = (rest * 2).min(LONGEST_REST);
        }
    }

    /// Lists, and again by the same connection whenever that is no longer right, until the connection ends.
    async fn follow_once(&self, changes: &watch::Sender<Changes>) -> Result<(), String> {
        let (mut listing, link) = self.list().await?;
        let (mut subscription, mut is_first) = (None, true);
        let mut pause = FIRST_REST;
        loop {
            listing.held_back = self.held_back(&listing)?;
            let capabilities = listing.capabilities.clone();
            self.publish(listing, changes);
            let listed = Instant::now();
            if std::mem::take(&mut is_first) && link.is_modern {
                subscription = self.subscribe(&link, &capabilities).await;
            }
            self.lasts(&link, &mut subscription, changes).await?;
            if !link.is_usable() {
                return Ok(());
            }
            // One that announces a change with each list is not listed without end.
            pause = if listed.elapsed() > LONGEST_REST { FIRST_REST } else { (pause * 2).min(LONGEST_PAUSE) };
            tokio::time::sleep(pause).await;
            listing = self.listed(&link).await?;
        }
    }

    /// Hears of changes by a server that has no sessions, if it announces them.
    async fn subscribe(&self, link: &Link, capabilities: &ServerCapabilities) -> Option<Subscription> {
        let announces = SubscriptionFilter::builder().tools_list_changed().prompts_list_changed().resources_list_changed().build();
        let announces = announces.supported_by(capabilities);
        if announces == SubscriptionFilter::default() {
            return None;
        }
        tokio::time::timeout(self.timeout, link.service.listen(announces)).await.ok()?.ok()
    }

    /// Resolves when what was listed may be right no longer, or the connection has ended.
    async fn lasts(&self, link: &Link, subscription: &mut Option<Subscription>, changes: &watch::Sender<Changes>) -> Result<(), String> {
        let mut written_before = self.approvals.written(&self.name);
        let unreadable = |error| format!("the file of approvals cannot be used: {error}");
        let mut before = self.approvals.of(&self.name, &self.listing_now().held_back).map_err(unreadable)?;
        let told = async {
            match subscription {
                // Whatever comes is a change, and its end is a reason to look too.
                Some(announced) => {
                    if !matches!(announced.next().await, Ok(Some(_))) {
                        *subscription = None;
                    }
                }
                None => link.relay.changed().await,
            }
        };
        let mut told = std::pin::pin!(told);
        let again = Instant::now() + RELIST;
        while Instant::now() < again && !link.is_closed() {
            tokio::select! {
                () = &mut told => return Ok(()),
                () = tokio::time::sleep(TICK) => {}
            }
            let written = self.approvals.written(&self.name);
            if std::mem::replace(&mut written_before, written) != written {
                let mut listing = (*self.listing_now()).clone();
                let held_back = self.held_back(&listing)?;
                let approved = self.approvals.of(&self.name, &held_back).map_err(unreadable)?;
                let is_other = approved.iter().any(|one| !before.contains(one));
                before = approved;
                if is_other || !held_back.is_subset(&listing.held_back) {
                    // What was approved is not what was listed last, but what whoever approved it has seen since: a new connection tells all anew.
                    link.retire();
                    return Ok(());
                }
                listing.held_back = held_back;
                self.publish(listing, changes);
            }
        }
        Ok(())
    }

    async fn list(&self) -> Result<(Listing, Link), String> {
        let list = async {
            // A server may have tools for those alone who can be asked; whoever cannot is refused when it calls them.
            let (service, running) = self.open(ProtocolVersion::LATEST_WITH_INITIALIZE, able(), &self.openings()).await?;
            let link = Link::new(service, running, Vec::new());
            self.speaks.fetch_or(if link.is_modern { MODERN } else { HANDSHAKE }, Ordering::Relaxed);
            Ok((self.listed(&link).await?, link))
        };
        let late = |_| format!("it did not connect and list what it has within {} s", self.timeout.as_secs_f64());
        tokio::time::timeout(self.timeout, list).await.map_err(late)?
    }

    async fn listed(&self, link: &Link) -> Result<Listing, String> {
        let listed = tokio::time::timeout(self.timeout, Listing::of(&link.service)).await;
        let listed = listed.map_err(|_| format!("it did not list what it has within {} s", self.timeout.as_secs_f64()))?;
        let mut listing = listed.map_err(|error| format!("it does not list what it has: {}", self.told(&error)))?;
        let unread = std::mem::take(&mut *link.relay.left_out().lock().unwrap_or_else(PoisonError::into_inner));
        listing.left_out.extend(unread.iter().map(|what| self.secrets().masked(what)));
        listing.mask(self.secrets());
        for what in &listing.left_out {
            tracing::warn!(server = &*self.name, what, "something that callers could not read is left out");
        }
        Ok(listing)
    }

    /// The ways to begin with a server, of which the first that works is taken.
    fn openings(&self) -> Vec<Opening> {
        match self.speaks.load(Ordering::Relaxed) & (HANDSHAKE | MODERN) {
            0 => vec![Opening::Probe, Opening::Handshake, Opening::Discover],
            HANDSHAKE => vec![Opening::Handshake, Opening::Probe],
            _ => vec![Opening::Discover, Opening::Handshake],
        }
    }

    async fn open(&self, version: ProtocolVersion, capabilities: ClientCapabilities, openings: &[Opening]) -> Result<Connection, String> {
        let mut why = String::new();
        for opening in openings {
            let relay = Relay::new(&self.name, introduction(version.clone(), capabilities.clone()), Arc::clone(self.way.secrets()));
            match self.way.connect(relay, *opening).await {
                Ok(connection) => return Ok(connection),
                // What the handshake fails of is what whoever runs an ordinary server can do something about.
                Err(error) if why.is_empty() || matches!(opening, Opening::Handshake) => why = error,
                Err(_) => {}
            }
        }
        Err(why)
    }

    fn held_back(&self, listing: &Listing) -> Result<BTreeSet<Key>, String> {
        let held_back = self.approvals.held_back(&self.name, listing);
        let held_back = held_back.map_err(|error| format!("the file of approvals cannot be used: {error}"))?;
        if !held_back.is_empty() {
            let named: Vec<String> = held_back.iter().take(MOST_NAMED).map(Key::to_string).collect();
            tracing::warn!(
                server = &*self.name,
                count = held_back.len(),
                what = named.join(", "),
                "something is not as it was approved, and is held back: 'keyward mcp approve {}' shows what has changed",
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

    /// A connection for a call of a caller like this: the one of its pool, or a new one there.
    pub async fn link(&self, pool: &Pool, version: ProtocolVersion, capabilities: ClientCapabilities) -> Result<Arc<Link>, Trouble> {
        let linked = self.linked(&self.made(version, capabilities), pool).await;
        linked.map_err(|why| {
            tracing::warn!(server = &*self.name, why, "an MCP server cannot be called");
            self.trouble("cannot be reached right now: try again in a moment")
        })
    }

    /// The same for what such a connection is made for; the error says why there is none.
    pub async fn linked(&self, made: &Made, pool: &Pool) -> Result<Arc<Link>, String> {
        let place = pool.place(made);
        let linked = async {
            let mut place = place.lock().await;
            if let Some(link) = place.as_ref().filter(|link| link.is_usable()) {
                if link.begins_anew() {
                    self.resubscribe(link, pool).await;
                }
                return Ok(Arc::clone(link));
            }
            *place = None;
            let link = Arc::new(self.connect(made, pool).await?);
            pool.goes_on(&self.name, &link.relay);
            self.resubscribe(&link, pool).await;
            *place = Some(Arc::clone(&link));
            Ok(link)
        };
        tokio::time::timeout(self.timeout, Box::pin(linked)).await.unwrap_or_else(|_| Err("it did not connect in time".to_owned()))
    }

    /// Subscribes anew to what a session was subscribed to by a connection that has ended.
    async fn resubscribe(&self, link: &Link, pool: &Pool) {
        if link.is_modern {
            return;
        }
        for uri in pool.subscribed(&self.name) {
            if let Err(error) = link.service.subscribe(SubscribeRequestParams::new(uri.clone())).await {
                tracing::warn!(server = &*self.name, error = self.told(&error), "a subscription is not taken again");
                pool.subscribe(&self.name, &uri, false);
            }
        }
    }

    /// What a connection for such a caller is.
    fn made(&self, version: ProtocolVersion, mut capabilities: ClientCapabilities) -> Made {
        // That they have changed is not passed on.
        capabilities.roots.iter_mut().for_each(|roots| roots.list_changed = None);
        Made { server: Arc::clone(&self.name), version, capabilities, thread: std::thread::current().id() }
    }

    async fn connect(&self, made: &Made, pool: &Pool) -> Result<Link, String> {
        let permits = if self.way.is_program() { self.permits(pool)? } else { Vec::new() };
        let speaks = self.speaks.load(Ordering::Relaxed);
        let (version, openings) = match made.version.has_initialize() {
            // It is asked in its caller's own revision, where it has that.
            true if speaks & NO_HANDSHAKE != 0 => (made.version.clone(), vec![Opening::Discover, Opening::Handshake]),
            true => (made.version.clone(), vec![Opening::Handshake, Opening::Discover]),
            false => (ProtocolVersion::LATEST_WITH_INITIALIZE, self.openings()),
        };
        let (service, running) = self.open(version, made.capabilities.clone(), &openings).await?;
        let link = Link::new(service, running, permits);
        if link.is_modern && matches!(openings[..], [Opening::Handshake, ..]) {
            self.speaks.fetch_or(NO_HANDSHAKE, Ordering::Relaxed);
        }
        Ok(link)
    }

    /// That one more program may run, for the key and in all.
    pub(super) fn permits(&self, pool: &Pool) -> Result<Vec<OwnedSemaphorePermit>, String> {
        let permit = |of: &Arc<Semaphore>, whose| {
            let permit = Arc::clone(of).try_acquire_owned();
            permit.map_err(|_| format!("as many programs run {whose} as may"))
        };
        Ok(vec![permit(pool.programs(), "for this key")?, permit(&self.programs, "in all")?])
    }

    /// What went wrong with a connection, for the log.
    pub fn told(&self, error: &ServiceError) -> String {
        self.way.broken(error)
    }

    /// What of it must not be told to callers.
    pub fn secrets(&self) -> &Secrets {
        self.way.secrets()
    }

    /// A result with nothing of the server's credential: some servers repeat what they were sent.
    pub fn masked_result(&self, result: ServerResult) -> Result<ServerResult, ErrorData> {
        let secrets = self.secrets();
        let masked = match result {
            ServerResult::CallToolResult(result) => secrets.masked_in(result).map(ServerResult::CallToolResult),
            ServerResult::GetPromptResult(result) => secrets.masked_in(result).map(ServerResult::GetPromptResult),
            ServerResult::ReadResourceResult(result) => secrets.masked_in(result).map(ServerResult::ReadResourceResult),
            ServerResult::InputRequiredResult(result) => secrets.masked_in(result).map(ServerResult::InputRequiredResult),
            ServerResult::CompleteResult(result) => secrets.masked_in(result).map(ServerResult::CompleteResult),
            other => Some(other),
        };
        masked.ok_or_else(|| self.trouble(UNMASKED).0)
    }

    /// An error of the server's own, with nothing of its credential.
    pub fn masked(&self, mut error: ErrorData) -> ErrorData {
        error.message = self.way.masked(&error.message).into();
        error.data = error.data.map(|data| {
            let masked = self.way.masked(&data.to_string());
            serde_json::from_str(&masked).unwrap_or(serde_json::Value::String(masked))
        });
        error
    }

    /// What its caller is told.
    pub fn trouble(&self, what: &str) -> Trouble {
        Trouble(ErrorData::new(ErrorCode::INTERNAL_ERROR, format!("The MCP server '{}' {what}.", self.name), None))
    }
}

/// All that a caller can be asked.
fn able() -> ClientCapabilities {
    let elicitation =
        ElicitationCapability::new().with_form(FormElicitationCapability::default()).with_url(UrlElicitationCapability::default());
    ClientCapabilities::builder().enable_roots().enable_sampling().enable_elicitation_with(elicitation).build()
}

/// Who calls: always the gateway, with what the caller behind it can be asked.
fn introduction(version: ProtocolVersion, capabilities: ClientCapabilities) -> ClientConfig {
    let mut info = ClientConfig::new(capabilities, Implementation::new("keyward", env!("CARGO_PKG_VERSION")));
    info.protocol_version = version;
    info
}
