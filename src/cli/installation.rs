//! The data folder: its secret and its store, made at the first use, readable by their owner alone.

use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::CliError;
use crate::catalog::{Catalog, Environment};
use crate::config::Config;
use crate::key::Pepper;
use crate::quota::{Accounts, alert};
use crate::route::{Router, Stored, Vault, switchboard};
use crate::store::sqlite::Sqlite;

/// An opened data folder.
pub struct Installation {
    /// The folder.
    pub data: PathBuf,
    /// The secret that keys are hashed under.
    pub pepper: Pepper,
    /// Keys and ledger.
    pub store: Sqlite,
}

// === impl Installation ===

impl Installation {
    /// Opens the folder, or makes it.
    pub async fn open(data: &Path) -> Result<Installation, CliError> {
        let failed = |what: &str, e: &dyn std::fmt::Display| format!("{} in {}: {e}; 'keyward doctor' tells more", what, data.display());
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(data)
            .map_err(|e| format!("the data folder {} cannot be made: {e}; set KEYWARD_DATA to one that can", data.display()))?;
        let pepper = Pepper::load_or_create(&data.join("server.secret")).map_err(|e| failed("the server's secret cannot be read", &e))?;
        let store = Sqlite::open(&data.join("keyward.db")).await.map_err(|e| failed("the store cannot be opened", &e))?;
        Ok(Installation { data: data.to_path_buf(), pepper, store })
    }
}

/// The router as a gateway on this configuration would have it; where there is no data folder, none is made.
pub async fn router(config: &Config, env: &Environment) -> Result<Router, CliError> {
    let catalog = Catalog::load(config.providers.as_deref())?;
    let stored = match config.data.join("keyward.db").exists() {
        false => Stored::default(),
        true => {
            let Installation { pepper, store, .. } = Installation::open(&config.data).await?;
            switchboard::stored(&store, &Vault::open(env, &pepper)?).await?
        }
    };
    Ok(Router::new(catalog, config, env, &stored, None))
}

/// The accounts of the store's keys, as a process has them that counts nothing itself.
pub fn accounts(store: &Sqlite) -> Accounts {
    let store = Arc::new(store.clone());
    Accounts::new(store.clone(), store.clone(), None, alert::channel(store, None).0)
}

/// The permission bits of a file or folder that others than its owner have.
pub fn open_to_others(path: &Path) -> Option<u32> {
    let mode = std::fs::metadata(path).ok()?.mode() & 0o777;
    (mode & 0o077 != 0).then_some(mode)
}
