//! The router that holds now: made anew when a stored credential changes, so that no request and no restart waits for it.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::watch;

use super::vault::Vault;
use super::{Router, StoredCredential};
use crate::catalog::{Catalog, Environment};
use crate::config::Config;
use crate::store::{CredentialStore, StoreError};

/// Hands out the router.
pub struct Switchboard {
    current: RwLock<Arc<Router>>,
    store: Arc<dyn CredentialStore>,
    vault: Vault,
    env: Environment,
    config: Config,
    providers: Option<PathBuf>,
}

// === impl Switchboard ===

impl Switchboard {
    /// A switchboard over what is stored now.
    pub async fn open(
        config: &Config,
        env: &Environment,
        vault: Vault,
        store: Arc<dyn CredentialStore>,
    ) -> Result<Switchboard, Box<dyn std::error::Error + Send + Sync>> {
        let stored = stored(&*store, &vault).await?;
        let router = Router::new(Catalog::load(config.providers.as_deref())?, config, env, &stored, None);
        let (env, config, providers) = (env.clone(), config.clone(), config.providers.clone());
        Ok(Switchboard { current: RwLock::new(Arc::new(router)), store, vault, env, config, providers })
    }

    /// The router that holds now; a request keeps the one that it began with.
    pub fn router(&self) -> Arc<Router> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Follows changes of credentials until the sender is gone.
    pub async fn follow(self: Arc<Self>, mut changed: watch::Receiver<i64>) {
        while changed.changed().await.is_ok() {
            if let Err(e) = self.renew().await {
                tracing::warn!(error = %e, "stored credentials changed and cannot be read: those known before go on working");
            }
        }
    }

    async fn renew(&self) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let stored = stored(&*self.store, &self.vault).await?;
        let catalog = Catalog::load(self.providers.as_deref())?;
        let router = Router::new(catalog, &self.config, &self.env, &stored, Some(&self.router()));
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(router);
        tracing::info!(credentials = stored.len(), "providers' credentials were read anew");
        Ok(())
    }
}

/// The credentials that are to be used, opened; one that cannot be is told and passed over.
pub async fn stored(store: &dyn CredentialStore, vault: &Vault) -> Result<Vec<StoredCredential>, StoreError> {
    let mut all = Vec::new();
    for kept in store.credentials().await?.into_iter().filter(|kept| !kept.disabled) {
        match vault.open_sealed(&kept.name, &kept.sealed) {
            Ok(variables) => all.push(StoredCredential { name: kept.name, provider: kept.provider, weight: kept.weight, variables }),
            Err(why) => tracing::error!(credential = kept.name, provider = kept.provider, "a stored credential cannot be used: {why}"),
        }
    }
    Ok(all)
}
