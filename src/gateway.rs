//! All rooms together: what a request finds when it comes in.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::Guard;
use axum::body::Body;
use bytes::Bytes;
use http::request::Parts;

use crate::admin::Desk;
use crate::config::Config;
use crate::error::Refusal;
use crate::held::Keeper;
use crate::key::caller::Plane;
use crate::key::{Caller, KeyId, Keyring, Reason};
use crate::ledger::Ledger;
use crate::ledger::drain::DrainHandle;
use crate::prompt::Shelf;
use crate::quota::Accounts;
use crate::route::{Router, Switchboard, Vault};
use crate::server::Peer;
use crate::service::Subscriptions;
use crate::store::{AuditStore, GroupStore, KeyStore, LedgerStore, SubscriptionStore};
use crate::surface::shares::Shares;
use crate::surface::{EndsSoon, Named, body, shown};
use crate::telemetry::Metrics;
use crate::upstream::Client;

/// The running gateway, shared by all requests.
pub struct Gateway {
    /// The settings it was started with.
    pub config: Config,
    /// Room 2.
    pub keys: Arc<Keyring>,
    /// Room 3.
    pub accounts: Arc<Accounts>,
    /// Room 4.
    pub switchboard: Arc<Switchboard>,
    /// Room 6.
    pub client: Client,
    /// Room 8.
    pub ledger: Arc<Ledger>,
    /// How the ledger's records get into the store.
    pub drain: DrainHandle,
    /// What providers keep for whom.
    pub held: Arc<Keeper>,
    /// How much of bodies is in memory at a time.
    pub bodies: Shares,
    /// How much of forms is put aside at a time.
    pub forms: Shares,
    /// Seals the addresses that uploads go to.
    pub uploads: Vault,
    /// The prompts.
    pub prompts: Arc<Shelf>,
    /// The REST services.
    pub services: Arc<crate::service::Shelf>,
    /// Which keys may call those that want an approval.
    pub subscriptions: Arc<Subscriptions>,
    /// Where keys rest.
    pub key_store: Arc<dyn KeyStore>,
    /// Where teams and projects rest.
    pub group_store: Arc<dyn GroupStore>,
    /// Where it rests who changed what.
    pub audit_store: Arc<dyn AuditStore>,
    /// Where subscriptions to services rest.
    pub subscription_store: Arc<dyn SubscriptionStore>,
    /// What the management API needs.
    pub admin: Desk,
    /// Where the ledger rests.
    pub ledger_store: Arc<dyn LedgerStore>,
    /// What `/mcp` keeps between requests.
    pub mcp: crate::mcp::Room,
    /// What is counted.
    pub metrics: Metrics,
}

/// The key of something that lasts is looked at so often.
pub const LOOK_EVERY: Duration = Duration::from_millis(500);

// === impl Gateway ===

impl Gateway {
    /// The router that holds now.
    pub fn router(&self) -> Guard<Arc<Router>> {
        self.switchboard.router()
    }

    /// What ended before this call is in the store after it; false where that fails, and what is told is told without it.
    pub async fn take_in_newest(&self, what_is_told: &str) -> bool {
        let taken_in = self.drain.flush().await;
        taken_in.inspect_err(|error| tracing::warn!(%error, "{what_is_told} without the newest records")).is_ok()
    }

    /// The body of a request whose key was judged by its head, and is again where that was waited for: the key may have ended.
    pub async fn body(&self, caller: Caller, head: &Parts, body: Body) -> Result<(Caller, Bytes), Refusal> {
        let came = body::read(body, &head.headers, &self.config.limits, self.bodies.of(caller.family())).await?;
        Ok((self.still(caller, head, came.was_late).await?, came.bytes))
    }

    /// The caller as it is now, where what it has sent was late.
    pub async fn still(&self, caller: Caller, head: &Parts, was_late: bool) -> Result<Caller, Refusal> {
        // In a place of its own: every request would carry the room that this takes.
        if was_late { Ok(Box::pin(self.keys.check_by_id(caller.id(), head)).await?) } else { Ok(caller) }
    }

    /// Resolves once a key holds no longer for something that lasts, or may not do it any more, with why; a store that is down says nothing
    /// about it.
    pub async fn ended(&self, key: KeyId, head: &Parts, may: impl Fn(&Caller) -> Result<(), Refusal>) -> Refusal {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            match self.keys.check_by_id(key, head).await {
                Ok(caller) => {
                    if let Err(refusal) = may(&caller) {
                        return refusal;
                    }
                }
                Err(rejected) if matches!(rejected.reason, Reason::StoreDown) => {}
                Err(rejected) => return rejected.into(),
            }
        }
    }

    /// Judges the key of a request beside the corridor, which has no ticket to count and log its refusal.
    pub async fn caller(&self, head: &Parts, plane: Plane) -> Result<Caller, Refusal> {
        self.judged(head, plane).await.inspect_err(|refusal| {
            let (key, status) = (refusal.key.as_ref().map(KeyId::as_str), refusal.status.as_u16());
            let request_id = head.extensions.get::<Named>().and_then(|named| named.0.to_str().ok());
            let from = head.extensions.get::<Peer>().map(|peer| tracing::field::display(peer.address));
            let (method, path) = (head.method.as_str(), shown(head.uri.path()));
            tracing::info!(target: "keyward::request", request_id, from, key, ?plane, method, path, status, refused = refusal.code, "refused");
        })
    }

    /// The same where a refusal is told in the line that the request has anyway: it is counted.
    pub async fn judged(&self, head: &Parts, plane: Plane) -> Result<Caller, Refusal> {
        let checked = self.keys.check(head, plane).await;
        if let (Ok(caller), Some(ends_soon)) = (&checked, head.extensions.get::<EndsSoon>()) {
            ends_soon.note(caller);
        }
        checked.map_err(|rejected| {
            let refusal = Refusal::from(rejected);
            self.metrics.refused(refusal.code);
            refusal
        })
    }
}
