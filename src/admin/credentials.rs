//! Keeping providers' credentials: they go in, are used, weighed, switched off and taken out, and never come out again.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::json;

use crate::catalog::{Auth, Catalog, Environment, Provider};
use crate::config::hint;
use crate::quota::account::is_slug;
use crate::route::{LiveProvider, StoredCredential, Variables, Vault};
use crate::store::audit::{Actor, Note};
use crate::store::{CredentialStore, KeptCredential, StoreError};

/// What may be shown of a credential.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs, reason = "the names say it all")]
pub struct CredentialView {
    pub name: String,
    pub provider: String,
    /// Of every so many requests to its provider it takes this share.
    pub weight: u32,
    pub disabled: bool,
    pub created: Timestamp,
}

/// What is to be different.
#[derive(Clone, Copy, Debug, Default)]
pub struct CredentialChange {
    /// Its share.
    pub weight: Option<u32>,
    /// Whether it is switched off.
    pub disabled: Option<bool>,
}

/// Why a credential was not kept, or not changed.
#[derive(Debug)]
pub enum CredentialError {
    /// No such name.
    NotFound(String),
    /// The name is taken.
    Exists(String),
    /// It cannot be meant.
    Wrong(String),
    /// The store did not do it.
    Store(StoreError),
}

/// Keeps a credential: the values of the variables that would switch its provider on.
pub async fn add(
    store: &dyn CredentialStore,
    vault: &Vault,
    catalog: &Catalog,
    env: &Environment,
    new: StoredCredential,
    by: &Actor,
) -> Result<CredentialView, CredentialError> {
    if !is_slug(&new.name) {
        return Err(CredentialError::Wrong(format!("'{}' is no name: it has lower-case letters, digits, '-' and '_', up to 63", new.name)));
    }
    if store.credentials().await?.iter().any(|kept| kept.name == new.name) {
        return Err(CredentialError::Exists(new.name));
    }
    let provider = known(catalog, &new.provider)?;
    LiveProvider::switch_on(provider, env, Some(&new))
        .map_err(|needs| CredentialError::Wrong(format!("{} needs more than this: {}", provider.name, needs.join(" and "))))?;
    let kept = KeptCredential {
        sealed: vault.seal(&new.name, &new.variables).map_err(CredentialError::Wrong)?,
        name: new.name,
        provider: new.provider,
        weight: new.weight.max(1),
        disabled: false,
        created: Timestamp::now(),
    };
    let detail = json!({ "provider": kept.provider, "weight": kept.weight, "variables": new.variables.keys().collect::<Vec<_>>() });
    store.put_credential(&kept, &note(by, "credential.add", &kept.name, detail)).await?;
    Ok(CredentialView::of(&kept))
}

/// The variable that a provider's only secret goes by; an error where it takes more than one, or none.
pub fn only_variable(catalog: &Catalog, provider: &str) -> Result<String, CredentialError> {
    let provider = known(catalog, provider)?;
    let variable = provider.credential.first().filter(|_| provider.auth != Auth::None);
    variable.cloned().ok_or_else(|| CredentialError::Wrong(format!("{} takes no credential", provider.name)))
}

fn known<'a>(catalog: &'a Catalog, id: &str) -> Result<&'a Provider, CredentialError> {
    catalog.get(id).ok_or_else(|| {
        let near = hint::nearest(id, catalog.iter().map(|provider| provider.id.as_str()));
        let near = near.map_or_else(String::new, |near| format!("; did you mean '{near}'?"));
        CredentialError::Wrong(format!("there is no provider '{id}'{near}"))
    })
}

/// All that are kept, by provider and name.
pub async fn list(store: &dyn CredentialStore) -> Result<Vec<CredentialView>, CredentialError> {
    Ok(store.credentials().await?.iter().map(CredentialView::of).collect())
}

/// Changes how much a credential is used.
pub async fn change(
    store: &dyn CredentialStore,
    name: &str,
    change: CredentialChange,
    by: &Actor,
) -> Result<CredentialView, CredentialError> {
    let kept = store.credentials().await?.into_iter().find(|kept| kept.name == name);
    let mut kept = kept.ok_or_else(|| CredentialError::NotFound(name.to_owned()))?;
    kept.weight = change.weight.unwrap_or(kept.weight).max(1);
    kept.disabled = change.disabled.unwrap_or(kept.disabled);
    let detail = json!({ "weight": kept.weight, "disabled": kept.disabled });
    store.put_credential(&kept, &note(by, "credential.update", name, detail)).await?;
    Ok(CredentialView::of(&kept))
}

/// Takes a credential out; its secret is erased.
pub async fn remove(store: &dyn CredentialStore, name: &str, by: &Actor) -> Result<(), CredentialError> {
    match store.remove_credential(name, &note(by, "credential.remove", name, json!({}))).await? {
        true => Ok(()),
        false => Err(CredentialError::NotFound(name.to_owned())),
    }
}

/// The values of variables in an environment, to be kept.
pub fn variables_of(env: &Environment, names: &[String]) -> Result<Variables, CredentialError> {
    let value = |name: &String| {
        let value = env.get(name).ok_or_else(|| CredentialError::Wrong(format!("{name} is not set")))?;
        Ok((name.clone(), crate::route::Secret::new(value)))
    };
    names.iter().map(value).collect()
}

fn note(by: &Actor, action: &'static str, name: &str, detail: serde_json::Value) -> Note {
    Note { actor: by.clone(), action, subject: name.to_owned(), detail }
}

// === impl CredentialView ===

impl CredentialView {
    fn of(kept: &KeptCredential) -> CredentialView {
        CredentialView {
            name: kept.name.clone(),
            provider: kept.provider.clone(),
            weight: kept.weight,
            disabled: kept.disabled,
            created: kept.created,
        }
    }
}

// === impl CredentialError ===

impl From<StoreError> for CredentialError {
    fn from(e: StoreError) -> CredentialError {
        CredentialError::Store(e)
    }
}

impl std::fmt::Display for CredentialError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            CredentialError::NotFound(name) => {
                write!(f, "there is no stored credential '{name}': 'keyward credentials list' shows them all")
            }
            CredentialError::Exists(name) => {
                write!(f, "there is a credential '{name}' already: choose another name, or remove that one first")
            }
            CredentialError::Wrong(why) => f.write_str(why),
            CredentialError::Store(e) => write!(f, "the store did not do it: {e}"),
        }
    }
}

impl std::error::Error for CredentialError {}
