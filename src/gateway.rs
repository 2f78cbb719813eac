//! All rooms together: what a request finds when it comes in.

use std::sync::Arc;

use crate::config::Config;
use crate::held::Keeper;
use crate::key::Keyring;
use crate::ledger::Ledger;
use crate::ledger::drain::DrainHandle;
use crate::prompt::Shelf;
use crate::quota::Accounts;
use crate::route::{Router, Switchboard};
use crate::store::{AuditStore, GroupStore, KeyStore, LedgerStore};
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
    /// The prompts.
    pub prompts: Arc<Shelf>,
    /// Where keys rest.
    pub key_store: Arc<dyn KeyStore>,
    /// Where teams and projects rest.
    pub group_store: Arc<dyn GroupStore>,
    /// Where it rests who changed what.
    pub audit_store: Arc<dyn AuditStore>,
    /// Where the ledger rests.
    pub ledger_store: Arc<dyn LedgerStore>,
    /// What is counted.
    pub metrics: Metrics,
}

// === impl Gateway ===

impl Gateway {
    /// The router that holds now.
    pub fn router(&self) -> Arc<Router> {
        self.switchboard.router()
    }
}
