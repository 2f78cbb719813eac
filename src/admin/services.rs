//! Subscriptions to services: keys ask, and whoever runs the gateway decides; the command line and the management API by the same functions.

use std::fmt;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use crate::key::{Caller, KeyId, KeyRecord, Kind};
use crate::service::{Services, Standing, Subscription, edit};
use crate::store::audit::{Actor, Note};
use crate::store::{self, KeyStore, StoreError, SubscriptionStore};
use crate::versions;

/// A key's subscription to a service.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct SubscriptionView {
    /// The service's name.
    pub service: String,
    /// The key, by the id of the first of its family: its successors by rotation have the subscription too.
    pub key: String,
    /// pending, approved, denied, or ended with its service.
    pub standing: &'static str,
    /// When it was asked for.
    #[schema(value_type = String, format = DateTime)]
    pub asked: Timestamp,
    /// When it was last decided.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub decided: Option<Timestamp>,
}

/// Why nothing was decided.
#[derive(Debug)]
pub enum SubscriptionError {
    /// There is no such service, or its file is wrong.
    NoService(String),
    /// There is no such key, or it calls nothing.
    NoKey(String),
    /// The store did not do it.
    Store(StoreError),
}

/// A key asks; one that has asked before changes nothing, unless that has ended.
pub async fn ask(store: &dyn SubscriptionStore, service: &str, caller: &Caller) -> Result<(), StoreError> {
    let family = caller.record().family;
    let asked = Subscription { service: service.to_owned(), family, standing: Standing::Pending, asked: store::now(), decided: None };
    let note = note(Actor::Key(caller.id()), "subscription.ask", &asked);
    store.add_subscription(&asked, &note).await.map(|_| ())
}

/// All subscriptions to a service.
pub async fn list(store: &dyn SubscriptionStore, services: &Services, service: &str) -> Result<Vec<SubscriptionView>, SubscriptionError> {
    // They are to all versions.
    let (service, _) = versions::split(service);
    let all = store.subscriptions(service).await?;
    // They outlive the service's file, so that they can be looked at and ended.
    if all.is_empty() {
        known(services, service)?;
    }
    Ok(all.iter().map(SubscriptionView::of).collect())
}

/// Approves or denies a key's subscription, whether it asked or not.
pub async fn decide(
    store: &dyn SubscriptionStore,
    keys: &dyn KeyStore,
    services: &Services,
    (service, key): (&str, &str),
    standing: Standing,
    by: &Actor,
) -> Result<SubscriptionView, SubscriptionError> {
    let (service, _) = versions::split(service);
    let all = store.subscriptions(service).await?;
    if standing == Standing::Approved || all.is_empty() {
        known(services, service)?;
    }
    let record = find(keys, key).await?;
    let now = store::now();
    let is_living = |subscription: &Subscription| subscription.family == record.family && subscription.standing != Standing::Ended;
    let before = all.into_iter().find(is_living);
    let asked = before.map_or(now, |subscription| subscription.asked);
    let decided = Subscription { service: service.to_owned(), family: record.family, standing, asked, decided: Some(now) };
    let action = if standing == Standing::Approved { "subscription.approve" } else { "subscription.deny" };
    store.put_subscription(&decided, &note(by.clone(), action, &decided)).await?;
    Ok(SubscriptionView::of(&decided))
}

/// Ends all subscriptions to a service that is gone: another one of its name has to be asked for anew.
pub async fn end(store: &dyn SubscriptionStore, service: &str, by: &Actor) -> Result<(), StoreError> {
    let note = Note { actor: by.clone(), action: "subscription.end", subject: service.to_owned(), detail: json!({}) };
    store.end_subscriptions(service, store::now(), &note).await
}

fn known(services: &Services, service: &str) -> Result<(), SubscriptionError> {
    match services.named(service) {
        Some(_) => Ok(()),
        None => Err(SubscriptionError::NoService(edit::missing(services, service).to_string())),
    }
}

async fn find(keys: &dyn KeyStore, key: &str) -> Result<KeyRecord, SubscriptionError> {
    let shown: String = key.chars().take(60).collect();
    let none = || SubscriptionError::NoKey(format!("there is no key '{shown}' that calls services: 'keyward keys list' has their ids"));
    let id = KeyId::parse(key).ok_or_else(none)?;
    keys.key(id).await?.filter(|record| record.kind != Kind::Admin).ok_or_else(none)
}

fn note(actor: Actor, action: &'static str, subscription: &Subscription) -> Note {
    Note { actor, action, subject: subscription.service.clone(), detail: json!({ "key": subscription.family.to_string() }) }
}

// === impl SubscriptionView ===

impl SubscriptionView {
    fn of(subscription: &Subscription) -> SubscriptionView {
        SubscriptionView {
            service: subscription.service.clone(),
            key: subscription.family.to_string(),
            standing: subscription.standing.as_str(),
            asked: subscription.asked,
            decided: subscription.decided,
        }
    }
}

// === impl SubscriptionError ===

impl From<StoreError> for SubscriptionError {
    fn from(e: StoreError) -> SubscriptionError {
        SubscriptionError::Store(e)
    }
}

impl fmt::Display for SubscriptionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SubscriptionError::NoService(message) | SubscriptionError::NoKey(message) => f.write_str(message),
            SubscriptionError::Store(e) => write!(f, "the store did not do it: {e}"),
        }
    }
}

impl std::error::Error for SubscriptionError {}
