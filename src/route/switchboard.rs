//! The router that holds now: made anew when a stored credential changes, so that no request and no restart waits for it.

use std::path::Path;
use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use tokio::sync::{Mutex, watch};

use super::vault::Vault;
use super::{Router, Stored, StoredCredential, Unusable};
use crate::catalog::{Catalog, Environment};
use crate::config::Config;
use crate::store::{CredentialStore, StoreError};

/// Hands out the router.
pub struct Switchboard {
    /// Read by every request on every core: a lock, or a count of readers, would go back and forth between them.
    current: ArcSwap<Router>,
    store: Arc<dyn CredentialStore>,
    vault: Vault,
    env: Environment,
    config: Config,
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
    ) -> Result<Switchboard, Box<dyn std::error::Error + Send + Sync>> {
        let stored = stored(&*store, &vault).await?;
        let router = Router::new(catalog, config, env, &stored, None);
        let (env, config) = (env.clone(), config.clone());
        Ok(Switchboard { current: ArcSwap::from_pointee(router), store, vault, env, config, renewing: Mutex::new(()) })
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

    /// The folder of providers' files beside those that are built in.
    pub fn providers(&self) -> Option<&Path> {
        self.config.providers.as_deref()
    }

    /// Follows changes of credentials until the sender is gone.
    pub async fn follow(self: Arc<Self>, mut changed: watch::Receiver<i64>) {
        while changed.changed().await.is_ok() {
            if let Err(e) = self.renew().await {
                tracing::warn!(error = %e, "stored credentials changed and cannot be read: those known before go on working");
            }
        }
    }

    /// Reads the credentials anew, so that what was changed here holds from now on.
    pub async fn renew(&self) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let _alone = self.renewing.lock().await;
        let stored = stored(&*self.store, &self.vault).await?;
        let router = Router::new(Catalog::load(self.providers())?, &self.config, &self.env, &stored, Some(&self.router()));
        self.current.store(Arc::new(router));
        tracing::info!(credentials = stored.open.len(), "providers' credentials were read anew");
        Ok(())
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
