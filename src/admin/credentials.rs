//! Keeping providers' credentials: they go in, are used, weighed, switched off and taken out, and never come out again.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::change::{Wrong, key_in_reference};
use super::meant::{ChangedMeanwhile, Meant};
use crate::catalog::{Auth, Catalog, Environment, LoadError, Provider, env};
use crate::config::hint;
use crate::distinct::distinct;
use crate::quota::account::is_slug;
use crate::route::{LiveProvider, Sealed, Secret, StoredCredential, Switchboard, UNKNOWN_PROVIDER, Variables, Vault};
use crate::store::audit::{Actor, Note};
use crate::store::{self, CredentialStore, KeptCredential, StoreError};
use crate::upstream::sign::{self, is_file};

/// Where credentials rest, and what seals and judges them.
pub struct Safe<'a> {
    /// Where they rest.
    pub store: &'a dyn CredentialStore,
    /// Seals and opens them.
    pub vault: &'a Vault,
    /// The providers that there are, as far as their files could be read.
    pub catalog: Result<&'a Catalog, &'a LoadError>,
    /// What is set beside them.
    pub env: &'a Environment,
    /// Whether a credential may be the name of a file: whoever manages from elsewhere could have any of this machine's files read.
    pub takes_files: bool,
}

/// What may be shown of a credential.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[allow(missing_docs, reason = "the names say it all")]
pub struct CredentialView {
    pub name: String,
    pub provider: String,
    /// Of every so many requests to its provider it takes this share.
    pub weight: u32,
    pub disabled: bool,
    #[schema(value_type = String, format = DateTime)]
    pub created: Timestamp,
    /// What only its vault can open: shown to nobody, and of the tag, as it is another one with each new secret.
    #[serde(skip)]
    sealed: Vec<u8>,
    /// Why it cannot be used, as when it was sealed under another master key.
    pub fault: Option<String>,
}

/// A secret that is given in, in one of two ways.
#[derive(Clone, Debug)]
pub enum Given {
    /// The value of the one variable that its provider takes.
    Value(Secret),
    /// Several variables, each with its value.
    Variables(Variables),
}

/// What is to be different.
#[derive(Debug, Default)]
pub struct CredentialChange {
    /// Its share.
    pub weight: Option<u32>,
    /// Whether it is switched off.
    pub disabled: Option<bool>,
    /// The secret in the place of the one that it had.
    pub secret: Option<Given>,
}

/// What became of a credential that was to be sealed anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resealed {
    /// It is under the key that holds now.
    Now,
    /// It was already.
    Before,
    /// Neither key opens it.
    Not(Sealed),
}

/// Why a credential was not kept, or not changed.
#[derive(Debug)]
pub enum CredentialError {
    /// No such name.
    NotFound(String),
    /// The name is taken.
    Exists(String),
    /// It cannot be meant.
    Wrong(Wrong),
    /// It is not as its caller has read it.
    Changed(ChangedMeanwhile),
    /// The catalogue of providers cannot be read.
    Catalog(LoadError),
    /// The store did not do it.
    Store(StoreError),
}

/// The largest share: sums of them have to fit.
const HEAVIEST: u32 = 1000;
/// The longest secret, in bytes: a service account's JSON has about 2,400.
const LONGEST: usize = 16 << 10;

/// The values of variables in an environment, to be kept.
pub fn variables_of(env: &Environment, names: &[String]) -> Result<Variables, CredentialError> {
    let value = |name: &String| {
        let value = env.get(name).ok_or_else(|| wrong("variables", format!("{name} is not set")))?;
        Ok((name.clone(), Secret::new(value)))
    };
    names.iter().map(value).collect()
}

fn known<'a>(catalog: &'a Catalog, id: &str) -> Result<&'a Provider, CredentialError> {
    catalog.get(id).ok_or_else(|| {
        let near = hint::nearest(id, catalog.iter().map(|provider| provider.id.as_str()));
        let near = near.map_or_else(String::new, |near| format!("; did you mean '{near}'?"));
        wrong("provider", format!("there is no provider '{}'{near}", id.chars().take(60).collect::<String>()))
    })
}

/// The variables that a provider's file and its ways of authentication read.
fn taken_by(provider: &Provider) -> Vec<&str> {
    let doors = || provider.doors.values();
    let addresses = std::iter::once(&provider.base_url).chain(doors().filter_map(|door| door.base_url.as_ref()));
    let ways = std::iter::once(&provider.auth).chain(doors().filter_map(|door| door.auth.as_ref())).chain(provider.ways.values());
    let mut taken: Vec<&str> = provider.credential.iter().map(String::as_str).collect();
    taken.extend(addresses.flat_map(|address| env::variables(address)).map(|(name, _)| name));
    taken.extend(ways.flat_map(|way| sign::variables(way).iter().copied()));
    distinct(taken)
}

fn wrong(field: &'static str, message: impl Into<String>) -> CredentialError {
    CredentialError::Wrong(Wrong { field, message: message.into() })
}

fn weight(weight: u32) -> Result<u32, CredentialError> {
    match (1..=HEAVIEST).contains(&weight) {
        true => Ok(weight),
        false => Err(wrong("weight", format!("it is from 1 to {HEAVIEST}; to use a credential no more, disable it"))),
    }
}

fn note(by: &Actor, action: &'static str, name: &str, detail: Value) -> Note {
    Note { actor: by.clone(), action, subject: name.to_owned(), detail }
}

// === impl Safe ===

impl<'a> Safe<'a> {
    /// The safe of a running gateway.
    pub fn of(switchboard: &'a Switchboard) -> Safe<'a> {
        let (store, vault, env) = (switchboard.store(), switchboard.vault(), switchboard.environment());
        Safe { store, vault, catalog: Ok(switchboard.catalog()), env, takes_files: false }
    }

    /// Keeps a credential: the values of the variables that would switch its provider on.
    pub async fn add(&self, name: &str, provider: &str, share: u32, secret: Given, by: &Actor) -> Result<CredentialView, CredentialError> {
        if !is_slug(name) {
            return Err(wrong("name", "a name has 1 to 63 lower-case letters, digits, '-' and '_'"));
        }
        if let Some(why) = key_in_reference(name) {
            return Err(wrong("name", why));
        }
        if self.find(name).await.is_ok() {
            return Err(CredentialError::Exists(name.to_owned()));
        }
        let (sealed, variables) = self.sealed(name, provider, secret)?;
        let (name, provider, created) = (name.to_owned(), provider.to_owned(), store::now());
        let kept = KeptCredential { sealed, name, provider, weight: weight(share)?, disabled: false, created };
        let detail = json!({ "provider": kept.provider, "weight": kept.weight, "variables": variables });
        match self.store.put_credential(&kept, None, &note(by, "credential.add", &kept.name, detail)).await? {
            true => Ok(self.view(&kept)),
            false => Err(CredentialError::Exists(kept.name)),
        }
    }

    /// All that are kept, by provider and name.
    pub async fn list(&self) -> Result<Vec<CredentialView>, CredentialError> {
        Ok(self.store.credentials().await?.iter().map(|kept| self.view(kept)).collect())
    }

    /// One of them.
    pub async fn show(&self, name: &str) -> Result<CredentialView, CredentialError> {
        self.find(name).await.map(|kept| self.view(&kept))
    }

    /// Changes how much a credential is used, or what it is.
    pub async fn change(
        &self,
        (name, meant): (&str, &Meant),
        change: CredentialChange,
        by: &Actor,
    ) -> Result<CredentialView, CredentialError> {
        // Where another process has changed it in between, it is changed as it is now, if the change is meant for that.
        loop {
            let was = self.meant_one(name, meant).await?;
            let mut kept = was.clone();
            let mut detail = json!({});
            if let Some(share) = change.weight {
                kept.weight = weight(share)?;
                detail["weight"] = kept.weight.into();
            }
            if let Some(disabled) = change.disabled {
                kept.disabled = disabled;
                detail["disabled"] = disabled.into();
            }
            let action = if change.secret.is_some() { "credential.replace" } else { "credential.update" };
            if let Some(secret) = change.secret.clone() {
                let (sealed, variables) = self.sealed(name, &kept.provider, secret)?;
                kept.sealed = sealed;
                detail["variables"] = variables;
            }
            if self.store.put_credential(&kept, Some(&was), &note(by, action, name, detail)).await? {
                return Ok(self.view(&kept));
            }
        }
    }

    /// Takes a credential out; its secret is erased.
    pub async fn remove(&self, (name, meant): (&str, &Meant), by: &Actor) -> Result<(), CredentialError> {
        let note = note(by, "credential.remove", name, json!({}));
        while !self.store.remove_credential(&self.meant_one(name, meant).await?, &note).await? {}
        Ok(())
    }

    /// Notes that the gateway has this vault's key, so that no command seals under another one.
    pub async fn marked(&self) -> Result<(), CredentialError> {
        if !self.store.mark().await?.is_some_and(|mark| self.vault.has_made(&mark)) {
            self.store.put_mark(&self.vault.mark().map_err(|why| wrong("variables", why))?).await?;
        }
        Ok(())
    }

    /// What is sealed under another master key than this vault's, if anything is: all that the gateway seals, or a credential.
    pub async fn under_another_key(&self) -> Result<Option<String>, CredentialError> {
        if self.store.mark().await?.is_some_and(|mark| !self.vault.has_made(&mark)) {
            return Ok(Some("the gateway seals".to_owned()));
        }
        let is_closed = |kept: &KeptCredential| self.vault.open_sealed(&kept.name, &kept.sealed).is_err_and(|why| why == Sealed::OtherKey);
        Ok(self.store.credentials().await?.into_iter().find(is_closed).map(|kept| format!("the credential '{}' is sealed", kept.name)))
    }

    /// One of them, if a change is meant for it as it is.
    async fn meant_one(&self, name: &str, meant: &Meant) -> Result<KeptCredential, CredentialError> {
        let kept = self.find(name).await?;
        meant.check(&self.view(&kept).tagged()).map_err(CredentialError::Changed)?;
        Ok(kept)
    }

    async fn find(&self, name: &str) -> Result<KeptCredential, CredentialError> {
        let kept = self.store.credentials().await?.into_iter().find(|kept| kept.name == name);
        kept.ok_or_else(|| CredentialError::NotFound(name.chars().take(63).collect()))
    }

    /// What would switch a provider on, sealed, and the names of its variables.
    fn sealed(&self, name: &str, provider: &str, secret: Given) -> Result<(Vec<u8>, Value), CredentialError> {
        let catalog = self.catalog.map_err(|e| CredentialError::Catalog(e.clone()))?;
        let provider = known(catalog, provider)?;
        let (field, variables) = match secret {
            Given::Value(value) => {
                let variable = provider.credential.first().filter(|_| provider.auth != Auth::None);
                let variable = variable.ok_or_else(|| wrong("provider", format!("{} takes no credential", provider.name)))?;
                ("value", Variables::from([(variable.clone(), Secret::new(value.expose().trim()))]))
            }
            Given::Variables(variables) => ("variables", variables),
        };
        let taken = taken_by(provider);
        if variables.keys().any(|name| !taken.contains(&name.as_str())) {
            // Not by its name, which may be a secret in the wrong place.
            return Err(wrong(field, format!("{} takes no other variables than {}", provider.name, taken.join(", "))));
        }
        if variables.values().any(|value| value.expose().is_empty() || value.expose().len() > LONGEST) {
            return Err(wrong(field, "a secret has 1 to 16384 bytes"));
        }
        let is_googles = |variable: &String| {
            let ways = provider.doors.values().filter_map(|door| door.auth.as_ref()).chain([&provider.auth]);
            provider.ways.get(variable).into_iter().chain(ways).any(|way| *way == Auth::Gcp)
        };
        let names_file = |(variable, value): (&String, &Secret)| {
            provider.credential.contains(variable) && is_googles(variable) && is_file(variable, value)
        };
        if !self.takes_files && variables.iter().any(names_file) {
            return Err(wrong(
                field,
                "send what the credentials file says, its JSON: the name of one would be a file of the gateway's machine",
            ));
        }
        let names = json!(variables.keys().collect::<Vec<_>>());
        let new = StoredCredential { name: name.to_owned(), provider: provider.id.clone(), weight: 1, variables };
        let line = LiveProvider::switch_on(provider, self.env, Some(&new))
            .map_err(|needs| wrong(field, format!("{} needs more than this: {}", provider.name, needs.join(" and "))))?;
        if let Some(fault) = line.fault() {
            return Err(wrong(field, format!("{} cannot be called by it: {fault}", provider.name)));
        }
        let sealed = self.vault.seal(name, &new.variables).map_err(|why| wrong(field, why))?;
        Ok((sealed, names))
    }

    /// How it stands; whether its provider takes it, as far as there is a catalogue.
    fn view(&self, kept: &KeptCredential) -> CredentialView {
        CredentialView {
            name: kept.name.clone(),
            provider: kept.provider.clone(),
            weight: kept.weight,
            disabled: kept.disabled,
            created: kept.created,
            sealed: kept.sealed.clone(),
            fault: self.fault(kept),
        }
    }

    /// Why it cannot be used.
    fn fault(&self, kept: &KeptCredential) -> Option<String> {
        let variables = match self.vault.open_sealed(&kept.name, &kept.sealed) {
            Ok(variables) => variables,
            Err(why) => return Some(why.to_string()),
        };
        let Some(provider) = self.catalog.ok()?.get(&kept.provider) else { return Some(UNKNOWN_PROVIDER.to_owned()) };
        let stored = StoredCredential { name: kept.name.clone(), provider: kept.provider.clone(), weight: kept.weight, variables };
        match LiveProvider::switch_on(provider, self.env, Some(&stored)) {
            Ok(line) => line.fault().map(str::to_owned),
            Err(needs) => Some(format!("it needs {}", needs.join(" and "))),
        }
    }

    /// Seals anew what is sealed under `old`, for a gateway that will have this vault's key; tells of each credential whether that was to be
    /// done, or why it stays closed.
    pub async fn reseal(&self, old: &Vault, by: &Actor) -> Result<Vec<(String, Resealed)>, CredentialError> {
        let mut all = Vec::new();
        for kept in self.store.credentials().await? {
            let name = kept.name.clone();
            // One that was removed meanwhile needs nothing.
            if let Some(resealed) = self.reseal_one(kept, old, by).await? {
                all.push((name, resealed));
            }
        }
        self.marked().await?;
        Ok(all)
    }

    /// One that another process has changed in between is sealed anew as it is now.
    async fn reseal_one(&self, kept: KeptCredential, old: &Vault, by: &Actor) -> Result<Option<Resealed>, CredentialError> {
        let (name, mut now) = (kept.name.clone(), Some(kept));
        while let Some(kept) = now {
            let sealed = match (self.vault.open_sealed(&name, &kept.sealed), old.open_sealed(&name, &kept.sealed)) {
                (Ok(_), _) => return Ok(Some(Resealed::Before)),
                (Err(_), Ok(variables)) => self.vault.seal(&name, &variables).map_err(|why| wrong("variables", why))?,
                (Err(Sealed::Damaged), _) | (_, Err(Sealed::Damaged)) => return Ok(Some(Resealed::Not(Sealed::Damaged))),
                (Err(why), _) => return Ok(Some(Resealed::Not(why))),
            };
            let anew = KeptCredential { sealed, ..kept.clone() };
            let note = note(by, "credential.reseal", &name, json!({}));
            if self.store.put_credential(&anew, Some(&kept), &note).await? {
                return Ok(Some(Resealed::Now));
            }
            now = self.store.credentials().await?.into_iter().find(|kept| kept.name == name);
        }
        Ok(None)
    }
}

// === impl CredentialView ===

impl CredentialView {
    /// What its tag is made of.
    pub fn tagged(&self) -> (&CredentialView, &[u8]) {
        (self, &self.sealed)
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
            CredentialError::Wrong(why) => why.fmt(f),
            CredentialError::Changed(why) => why.fmt(f),
            CredentialError::Catalog(e) => e.fmt(f),
            CredentialError::Store(e) => write!(f, "the store did not do it: {e}"),
        }
    }
}

impl std::error::Error for CredentialError {}
