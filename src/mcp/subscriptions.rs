//! `subscriptions/listen` of the newest revision: changes of what there is, and of resources of federated servers, told until the caller ends it.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use rmcp::ErrorData;
use rmcp::model::{ServerNotification, SubscriptionFilter};
use rmcp::service::SubscriptionContext;

use super::calls::Called;
use super::federation::{Server, Trouble};
use super::handler::Handler;

/// Tells until there is nothing more to tell, or nobody to tell it to.
pub async fn listen(handler: &Handler, subscription: &SubscriptionContext) -> Result<(), ErrorData> {
    let called = Called::of(subscription.request_context().clone())?;
    let mut by_server: BTreeMap<String, (Arc<Server>, Vec<String>)> = BTreeMap::new();
    for uri in subscription.accepted().resource_subscriptions.iter().flatten() {
        if let Some((server, own)) = handler.whose_uri(uri)
            && called.admit(&format!("{}/{own}", server.name)).is_ok()
        {
            by_server.entry(server.name.to_string()).or_insert_with(|| (server, Vec::new())).1.push(own.to_owned());
        }
    }
    let mut told: FuturesUnordered<_> =
        by_server.into_values().map(|(server, uris)| updates(handler, &called, subscription, server, uris)).collect();
    let updates = async { while told.next().await.is_some() {} };
    tokio::select! {
        () = async { tokio::join!(updates, changes(handler, subscription)); } => {}
        () = subscription.cancelled() => {}
        () = handler.closing() => {}
    }
    Ok(())
}

/// Tells that what there is has changed.
async fn changes(handler: &Handler, subscription: &SubscriptionContext) {
    let (mut changes, wanted, sink) = (handler.changes(), subscription.accepted(), subscription.sink());
    let mut told = *changes.borrow_and_update();
    while changes.changed().await.is_ok() {
        let before = std::mem::replace(&mut told, *changes.borrow_and_update());
        // Whoever is gone cancels the subscription: nothing is lost by what cannot be told.
        if told.tools != before.tools && wanted.tools_list_changed == Some(true) {
            let _ = sink.notify_tool_list_changed().await;
        }
        if told.prompts != before.prompts && wanted.prompts_list_changed == Some(true) {
            let _ = sink.notify_prompt_list_changed().await;
        }
        if told.resources != before.resources && wanted.resources_list_changed == Some(true) {
            let _ = sink.notify_resource_list_changed().await;
        }
    }
}

/// Tells that resources of a server have changed, by a connection that is this subscription's alone.
async fn updates(handler: &Handler, called: &Called, subscription: &SubscriptionContext, server: Arc<Server>, uris: Vec<String>) {
    let capabilities = called.context.client_capabilities().unwrap_or_default();
    let pool = super::federation::Pool::new(true);
    let link = match server.link(&pool, called.version(), capabilities).await {
        Ok((_, link)) => link,
        Err(Trouble(error)) => return tracing::warn!(server = &*server.name, %error, "nobody tells of changes of resources"),
    };
    if !link.is_modern {
        return tracing::info!(server = &*server.name, "it tells sessions alone of changes of resources: this caller has none");
    }
    let filter = SubscriptionFilter::builder().resource_subscriptions(uris).build();
    let Ok(mut stream) = link.service.listen(filter).await else { return };
    while let Ok(Some(notification)) = stream.next().await {
        if let ServerNotification::ResourceUpdatedNotification(updated) = notification {
            let mut params = updated.params;
            params.uri = handler.manner().uri(&server.name, &params.uri);
            let _ = subscription.sink().notify_resource_updated(params.uri).await;
        }
    }
}
