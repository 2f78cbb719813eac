//! The data folder: its secret and its store, made by the first start or the first thing that is kept, readable by their owner alone.

use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::json;

use super::CliError;
use crate::catalog::{Catalog, Environment};
use crate::config::Config;
use crate::key::Pepper;
use crate::ledger::{Ledger, Locked};
use crate::quota::{Accounts, alert};
use crate::route::{Router, Stored, Vault, switchboard};
use crate::store::StoreError;
use crate::store::audit::{Actor, Note};
use crate::store::sqlite::{Sqlite, WITHOUT_JOURNAL};

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
    /// Opens a folder that has a store: whoever only looks, or changes what is there, makes none.
    pub async fn existing(data: &Path) -> Result<Installation, CliError> {
        is_there(data)?;
        Installation::open(data).await
    }

    /// The same for whoever looks whether the audit list is whole: one whose end is not kept any more stays so.
    pub async fn existing_to_judge(data: &Path) -> Result<Installation, CliError> {
        is_there(data)?;
        Installation::open_unsealed(data).await
    }

    /// Notes what is done to files and then does it, and notes what failed; where no gateway has run yet there is nowhere to note it.
    pub async fn noted<T, E: Into<CliError>>(
        data: &Path,
        (action, subject): (&'static str, &str),
        make: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, CliError> {
        if !data.join("keyward.db").exists() {
            return make().map_err(E::into);
        }
        let Installation { store, .. } = Installation::existing(data).await?;
        let note = Note { actor: Actor::of_process(), action, subject: subject.to_owned(), detail: json!({}) };
        note.around(&store, async { make().map_err(E::into) }, CliError::to_string).await
    }

    /// Opens the folder, or makes it.
    pub async fn open(data: &Path) -> Result<Installation, CliError> {
        Installation::open_unsealed(data).await?.sealed().await
    }

    /// The same for the gateway, which has its ledger alone from then on: a store of an older version is brought up to date by nobody else, so
    /// that none is under a gateway that runs on it.
    pub async fn of_gateway(data: &Path) -> Result<(Installation, Locked), CliError> {
        make(data)?;
        let locked = Locked::take(&data.join("ledger"))?;
        let file = not_lost(data)?;
        is_by_itself(&file).await?;
        let store = Sqlite::open(&file).await.map_err(|e| cannot_open(data, &e))?;
        Ok((Installation::under_its_secret(data, store).await?.sealed().await?, locked))
    }

    async fn open_unsealed(data: &Path) -> Result<Installation, CliError> {
        make(data)?;
        let file = data.join("keyward.db");
        // A first start has the lock before it has a store.
        if !file.exists() && is_running(data) && has_run(data) {
            return Err(
                format!("{} is gone, and a gateway runs on it: put it back, or stop the gateway to begin anew", file.display()).into()
            );
        }
        let file = not_lost(data)?;
        // What a running gateway has in its journal is its own.
        if !is_running(data) {
            is_by_itself(&file).await?;
        }
        match if has_run(data) { Sqlite::open_as_it_is(&file).await } else { Sqlite::open(&file).await } {
            Ok(store) => Installation::under_its_secret(data, store).await,
            Err(e) => Err(older(data).await.unwrap_or_else(|| cannot_open(data, &e)).into()),
        }
    }

    async fn sealed(self) -> Result<Installation, CliError> {
        let Installation { data, pepper, store } = self;
        let store = store.sealed_under(&pepper.derive(END_OF_THE_LIST)).await;
        let store = store.map_err(|e| format!("the store cannot be written in {}: {e}", data.display()))?;
        Ok(Installation { data, pepper, store })
    }

    async fn under_its_secret(data: &Path, store: Sqlite) -> Result<Installation, CliError> {
        let failed = |what: &str, e: &dyn std::fmt::Display| format!("{} in {}: {e}", what, data.display());
        let secret = data.join("server.secret");
        let cannot_look = |e: StoreError| failed("the store cannot be read", &e);
        // A new one would make every key unknown.
        if !secret.exists() && store.has_keys().await.map_err(cannot_look)? {
            return Err(another_secret(&secret, "is missing").into());
        }
        let pepper = Pepper::load_or_create(&secret).map_err(|e| failed("the server's secret cannot be read", &e))?;
        if !store.is_under(&pepper.derive("to tell it from others")).await.map_err(cannot_look)? {
            return Err(another_secret(&secret, "is not the one").into());
        }
        let store = store.judged_under(&pepper.derive(END_OF_THE_LIST));
        Ok(Installation { data: data.to_path_buf(), pepper, store })
    }
}

/// What the audit list's end is kept under.
const END_OF_THE_LIST: &str = "the end of the audit list";

/// Makes the folder where there is none.
pub fn make(data: &Path) -> Result<(), CliError> {
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(data);
    Ok(made.map_err(|e| format!("the data folder {} cannot be made: {e}; set KEYWARD_DATA to one that can", data.display()))?)
}

/// The store's file, which a new one takes the place of only where no gateway has run.
fn not_lost(data: &Path) -> Result<PathBuf, CliError> {
    let file = data.join("keyward.db");
    // A disk that was full, or half a copy, leaves a file without a byte.
    let is_empty = std::fs::metadata(&file).map_or(true, |file| file.len() == 0);
    if is_empty && has_run(data) {
        return Err(format!(
            "{} is {}, though a gateway has run on {}: put back the one that was backed up, {WITHOUT_JOURNAL}; to begin anew, with new \
             keys, move the whole folder away",
            file.display(),
            if file.exists() { "empty" } else { "gone" },
            data.display()
        )
        .into());
    }
    Ok(file)
}

/// That the journal beside the store, if there is one, is the store's: one that was put back may have another's.
async fn is_by_itself(file: &Path) -> Result<(), CliError> {
    if Sqlite::has_own_journal(file).await {
        return Ok(());
    }
    let file = file.display();
    Err(format!(
        "{file} is whole, and {file}-wal beside it is of another one, such as the one that a backup took the place of, and would destroy it: \
         move {file}-wal and {file}-shm away, and try again; nothing was changed"
    )
    .into())
}

fn cannot_open(data: &Path, error: &StoreError) -> String {
    format!("the store cannot be opened in {}: {error}", data.display())
}

/// That a folder's store is of an older version, which only a gateway's start brings up to date.
pub async fn older(data: &Path) -> Option<String> {
    let file = data.join("keyward.db");
    (has_run(data) && file.exists() && Sqlite::is_older(&file).await).then(|| {
        format!(
            "{} is of an older Keyward than this one ({}), whose next start brings it up to date: back it up before, as the older one \
             cannot use it any more after that; until then the older one's commands work on it",
            file.display(),
            env!("CARGO_PKG_VERSION")
        )
    })
}

/// That a folder's store is damaged, where there is one; all of it is looked at.
pub async fn damage(data: &Path) -> Option<String> {
    let file = data.join("keyward.db");
    let damage = if file.exists() { Sqlite::damage(&file).await } else { None };
    damage.map(|damage| format!("{}: {damage}", file.display()))
}

fn is_there(data: &Path) -> Result<(), CliError> {
    match data.join("keyward.db").exists() || is_running(data) {
        true => Ok(()),
        false => Err(format!(
            "there is no store in {}: the first start makes one, and so does 'keyward keys create'; if there should be one, set KEYWARD_DATA \
             to where it is",
            data.display()
        )
        .into()),
    }
}

fn another_secret(path: &Path, what: &str) -> String {
    let (folder, rest) = (path.parent().unwrap_or(path).display(), "that the keys of this store were made under");
    format!(
        "{} {what} {rest}: put back the one that was backed up with keyward.db; without it none of them can be used, and \
         only a new store, with new keys, helps (move all of {folder} away)",
        path.display()
    )
}

/// Whether a gateway has run on it, and made its store to the end.
pub fn has_run(data: &Path) -> bool {
    data.join("ledger").join("node").exists()
}

/// Whether a gateway runs on it now.
pub fn is_running(data: &Path) -> bool {
    Ledger::is_locked(&data.join("ledger")).unwrap_or(false)
}

/// The router as a gateway on this configuration would have it; where there is no data folder, none is made.
pub async fn router(config: &Config, env: &Environment) -> Result<Router, CliError> {
    let catalog = Catalog::load(config.providers.as_deref())?;
    let stored = match config.data.join("keyward.db").exists() {
        // A configuration can be checked before a new version takes over.
        true if older(&config.data).await.is_none() => {
            let Installation { pepper, store, .. } = Installation::open(&config.data).await?;
            switchboard::stored(&store, &Vault::open(env, &pepper)?).await?
        }
        _ => {
            Vault::check(env)?;
            Stored::default()
        }
    };
    Ok(Router::new(&catalog, config, env, &stored, None))
}

/// The accounts of the store's keys, as a process has them that counts nothing itself.
pub fn accounts(store: &Sqlite) -> Accounts {
    let store = Arc::new(store.clone());
    Accounts::new(store.clone(), store.clone(), None, alert::channel(store, None).0)
}

/// Files in a folder that the folder's owner, as whom a gateway runs, cannot read, and how that is mended.
pub fn closed_to_owner(folder: &Path) -> Vec<String> {
    let Some(owner) = std::fs::metadata(folder).ok().filter(|owner| owner.uid() != 0) else { return Vec::new() };
    let is_closed = |file: &std::fs::Metadata| {
        let bit = if file.uid() == owner.uid() {
            0o400
        } else if file.gid() == owner.gid() {
            0o040
        } else {
            0o004
        };
        file.mode() & bit == 0
    };
    let (mut told, mut folders) = (Vec::new(), vec![folder.to_path_buf()]);
    while let Some(folder) = folders.pop() {
        // What cannot be looked at is told of by whoever needs it.
        for path in std::fs::read_dir(&folder).into_iter().flatten().flatten().map(|entry| entry.path()) {
            let Ok(facts) = std::fs::metadata(&path) else { continue };
            if is_closed(&facts) {
                let (uid, path) = (owner.uid(), path.display());
                told.push(format!("{path} cannot be read by the folder's owner: chown {uid} '{path}'; chmod u+rw '{path}'"));
            } else if facts.is_dir() && !path.is_symlink() {
                folders.push(path);
            }
        }
    }
    told.sort();
    told
}

/// What of a data folder others than its owner can read, and how that is mended.
pub fn open_to_others(data: &Path) -> Vec<String> {
    let told = |path: &PathBuf| {
        let mode = std::fs::metadata(path).ok()?.mode() & 0o777;
        (mode & 0o077 != 0).then(|| format!("{} can be read by others (mode {mode:o}): chmod go= '{}'", path.display(), path.display()))
    };
    [data.to_path_buf(), data.join("server.secret"), data.join("keyward.db")].iter().filter_map(told).collect()
}
