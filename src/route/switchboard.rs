//! The router that holds now: made anew when a stored credential changes, so that no request and no restart waits for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use tokio::sync::{Mutex, watch};
use tokio::time::timeout;

use super::vault::Vault;
use super::{Router, Stored, StoredCredential, Unusable};
use crate::catalog::{Catalog, Environment};
use crate::config::Config;
use crate::store::{CredentialStore, StoreError};

/// After so long credentials are read again that could not be read.
const TRY_AGAIN: Duration = Duration::from_millis(500);

/// Hands out the router.
pub struct Switchboard {
    /// Read by every request on every core: a lock, or a count of readers, would go back and forth between them.
    current: ArcSwap<Router>,
    store: Arc<dyn CredentialStore>,
    vault: Vault,
    env: Environment,
    config: Config,
    /// As it was read at the start: a file that somebody is editing keeps no change of a credential from holding.
    catalog: Catalog,
    /// Credentials were changed, and could not be read since.
    is_behind: AtomicBool,
    /// Held from the reading to the end: an older reading never takes the place of a newer one.
    renewing: Mutex<()>,
}

// === impl Switchboard ===

impl Switchboard {
    /// A switchboard over what is stored now.
    pub async fn open(
        config: &Config,
        env: &Environment,
        vault: Vault,
        store: Arc<dyn CredentialStore>,
        catalog: Catalog,
    ) -> Result<Switchboard, StoreError> {
        let stored = stored(&*store, &vault).await?;
        let current = ArcSwap::from_pointee(Router::new(&catalog, config, env, &stored, None));
        let (env, config, is_behind) = (env.clone(), config.clone(), AtomicBool::new(false));
        Ok(Switchboard { current, store, vault, env, config, catalog, is_behind, renewing: Mutex::new(()) })
    }

    /// The router that holds now; a request keeps the one that it began with.
    pub fn router(&self) -> Guard<Arc<Router>> {
        self.current.load()
    }

    /// Where credentials rest.
    pub fn store(&self) -> &dyn CredentialStore {
        &*self.store
    }

    /// What opens them.
    pub fn vault(&self) -> &Vault {
        &self.vault
    }

    /// What is set beside them.
    pub fn environment(&self) -> &Environment {
        &self.env
    }

    /// The providers that there are, live or not.
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// Whether credentials that were changed since may still be used as they were.
    pub fn is_behind(&self) -> bool {
        self.is_behind.load(Ordering::Relaxed)
    }

    /// Follows changes of credentials until the sender is gone; what cannot be read is read again until it can.
    pub async fn follow(self: Arc<Self>, mut changed: watch::Receiver<i64>) {
        loop {
            let told = match self.is_behind() {
                true => timeout(TRY_AGAIN, changed.changed()).await.unwrap_or(Ok(())),
                false => changed.changed().await,
            };
            if told.is_err() {
                return;
            }
            self.renew().await;
        }
    }

    /// Reads the credentials anew, so that what was changed here holds from now on; or, where that cannot be, as soon as whoever follows the
    /// changes can read them.
    pub async fn renew(&self) {
        let _alone = self.renewing.lock().await;
        match stored(&*self.store, &self.vault).await {
            Ok(stored) => {
                let router = Router::new(&self.catalog, &self.config, &self.env, &stored, Some(&self.router()));
                self.current.store(Arc::new(router));
                self.is_behind.store(false, Ordering::Relaxed);
                tracing::info!(credentials = stored.open.len(), "providers' credentials were read anew");
            }
            Err(error) if !self.is_behind.swap(true, Ordering::Relaxed) => {
                tracing::warn!(%error, "stored credentials changed and cannot be read: those known before are used until they can");
            }
            Err(_) => {}
        }
    }
}

/// The credentials that are to be used, opened where they can be.
pub async fn stored(store: &dyn CredentialStore, vault: &Vault) -> Result<Stored, StoreError> {
    let mut all = Stored::default();
    for kept in store.credentials().await?.into_iter().filter(|kept| !kept.disabled) {
        match vault.open_sealed(&kept.name, &kept.sealed) {
            Ok(variables) => {
                all.open.push(StoredCredential { name: kept.name, provider: kept.provider, weight: kept.weight, variables });
            }
            Err(why) => {
                tracing::error!(credential = kept.name, provider = kept.provider, "a stored credential cannot be used: {why}");
                all.sealed.push(Unusable { provider: kept.provider, credential: kept.name, why: why.to_string() });
            }
        }
    }
    Ok(all)
}
