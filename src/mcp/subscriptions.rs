//! News for callers: that what there is has changed, told to sessions and to those who listen, and changes of federated servers' resources.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use rmcp::model::{ServerNotification, SubscriptionFilter};
use rmcp::service::{Peer, SubscriptionContext};
use rmcp::{ErrorData, RoleServer};
use tokio::sync::watch;

use super::calls::Called;
use super::federation::{Changes, Pool, Server, Trouble};
use super::handler::Handler;
use super::holder::{Holder, Scopes};
use super::names::check_uri;
use crate::gateway::Gateway;

/// Whether a key sees something else, and whether a connection has ended that a session hears by, is looked at so often.
const FIRST_REST: Duration = Duration::from_secs(2);
/// The longest time between two looks at a connection that ends again and again.
const LONGEST_REST: Duration = Duration::from_secs(30);

/// What a session, or who listens, was told of.
struct News {
    changes: watch::Receiver<Changes>,
    told: Changes,
    holder: Holder,
    scopes: Option<Scopes>,
}

/// `subscriptions/listen` of the newest revision: tells until there is nothing more to tell, or nobody to tell it to.
pub async fn listen(handler: &Handler, subscription: &SubscriptionContext) -> Result<(), ErrorData> {
    let called = Called::of(subscription.request_context().clone())?;
    called.count()?;
    let gateway = handler.gateway();
    let _place = gateway.mcp.listener(called.caller.id()).ok_or_else(|| {
        ErrorData::invalid_request("This key listens as often as it may: end one of its subscriptions before another begins.", None)
    })?;
    let holder = Holder::of(gateway, &called);
    let mut by_server: BTreeMap<String, (Arc<Server>, Vec<String>)> = BTreeMap::new();
    for uri in subscription.accepted().resource_subscriptions.iter().flatten() {
        if let Some((server, own)) = handler.whose_uri(uri)
            && check_uri(own).is_ok()
            && called.admit(&format!("{}/{own}", server.name)).is_ok()
        {
            by_server.entry(server.name.to_string()).or_insert_with(|| (server, Vec::new())).1.push(own.to_owned());
        }
    }
    let mut told: FuturesUnordered<_> =
        by_server.into_values().map(|(server, uris)| updates(handler, (&called, &holder), subscription, server, uris)).collect();
    let updates = async { while told.next().await.is_some() {} };
    tokio::select! {
        () = async { tokio::join!(updates, changes(handler, &holder, subscription)); } => {}
        () = subscription.cancelled() => {}
        () = holder.ended() => {}
        () = gateway.mcp.stopping() => {}
    }
    Ok(())
}

/// Tells a session that what there is has changed, for as long as the session lives, and sees to it that it goes on hearing of what it is
/// subscribed to. Its connections are not held by that: they end with it.
pub async fn tell_session(
    (changes, holder): (watch::Receiver<Changes>, Holder),
    peer: Peer<RoleServer>,
    gateway: Arc<Gateway>,
    pool: Weak<Pool>,
) {
    let mut news = News::new(changes, holder).await;
    let listens = pool.upgrade().map(|pool| pool.listens()).unwrap_or_default();
    let (mut rest, mut looked) = (FIRST_REST, Instant::now());
    while !peer.is_transport_closed() {
        let is_subscribed = pool.upgrade().is_some_and(|pool| pool.is_subscribed());
        tokio::select! {
            _ = news.come() => {}
            () = listens.notified() => {}
            () = gateway.mcp.stopping() => return,
        }
        if is_subscribed
            && looked.elapsed() >= rest
            && let Some(pool) = pool.upgrade()
        {
            // What ends again and again is not started again at once.
            rest = if revive(&gateway, &pool).await { (rest * 2).min(LONGEST_REST) } else { (rest / 2).max(FIRST_REST) };
            looked = Instant::now();
        }
        let (tools, prompts, resources) = news.take().await;
        // A session that is gone needs no news; the next turn ends this.
        if tools {
            let _ = peer.notify_tool_list_changed().await;
        }
        if prompts {
            let _ = peer.notify_prompt_list_changed().await;
        }
        if resources {
            let _ = peer.notify_resource_list_changed().await;
        }
    }
}

/// Connects anew where a session is subscribed to something and the connection has ended; whether there was such a one.
async fn revive(gateway: &Gateway, pool: &Pool) -> bool {
    let mut has_ended = false;
    for server in gateway.mcp.federation.servers() {
        for made in pool.lost(&server.name) {
            has_ended = true;
            if let Err(why) = server.linked(&made, pool).await {
                tracing::warn!(server = &*server.name, why, "a session that is subscribed to something hears nothing for now");
            }
        }
    }
    has_ended
}

// === impl News ===

impl News {
    /// Of what comes from now on.
    async fn new(mut changes: watch::Receiver<Changes>, holder: Holder) -> News {
        let told = *changes.borrow_and_update();
        let scopes = holder.scopes().await;
        News { changes, told, holder, scopes }
    }

    /// Resolves when there may be some; false when there never will be.
    async fn come(&mut self) -> bool {
        !matches!(tokio::time::timeout(FIRST_REST, self.changes.changed()).await, Ok(Err(_)))
    }

    /// Whether tools, prompts and resources have changed since they were told of, or are others for this key.
    async fn take(&mut self) -> (bool, bool, bool) {
        let before = std::mem::replace(&mut self.told, *self.changes.borrow_and_update());
        let now = self.holder.scopes().await;
        let is_other = now.is_some() && self.scopes.is_some() && now != self.scopes;
        self.scopes = now.or(self.scopes.take());
        let told = &self.told;
        (is_other || told.tools != before.tools, is_other || told.prompts != before.prompts, is_other || told.resources != before.resources)
    }
}

/// Tells that what there is has changed.
async fn changes(handler: &Handler, holder: &Holder, subscription: &SubscriptionContext) {
    let (wanted, sink) = (subscription.accepted(), subscription.sink());
    let mut news = News::new(handler.changes(), holder.clone()).await;
    while news.come().await {
        let (tools, prompts, resources) = news.take().await;
        // Whoever is gone cancels the subscription: nothing is lost by what cannot be told.
        if tools && wanted.tools_list_changed == Some(true) {
            let _ = sink.notify_tool_list_changed().await;
        }
        if prompts && wanted.prompts_list_changed == Some(true) {
            let _ = sink.notify_prompt_list_changed().await;
        }
        if resources && wanted.resources_list_changed == Some(true) {
            let _ = sink.notify_resource_list_changed().await;
        }
    }
}

/// Tells that resources of a server have changed, by a connection that is this subscription's alone.
async fn updates(
    handler: &Handler,
    (called, holder): (&Called, &Holder),
    subscription: &SubscriptionContext,
    server: Arc<Server>,
    uris: Vec<String>,
) {
    let capabilities = called.context.client_capabilities().unwrap_or_default();
    let pool = Pool::new(true, handler.gateway().mcp.share(called.caller.id()));
    let link = match server.link(&pool, called.version(), capabilities).await {
        Ok(link) => link,
        Err(Trouble(error)) => return tracing::warn!(server = &*server.name, %error, "nobody tells of changes of resources"),
    };
    if !link.is_modern {
        return tracing::info!(server = &*server.name, "it tells sessions alone of changes of resources: this caller has none");
    }
    let filter = SubscriptionFilter::builder().resource_subscriptions(uris).build();
    let Ok(mut stream) = link.service.listen(filter).await else { return };
    while let Ok(Some(notification)) = stream.next().await {
        if let ServerNotification::ResourceUpdatedNotification(updated) = notification
            && holder.may_use(&format!("{}/{}", server.name, updated.params.uri)).await
        {
            let uri = handler.manner().uri(&server.name, &server.secrets().masked(&updated.params.uri));
            let _ = subscription.sink().notify_resource_updated(uri).await;
        }
    }
}
