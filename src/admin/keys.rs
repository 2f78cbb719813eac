//! Making, rotating and revoking keys.

mod leak;
mod list;
mod update;

use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

pub use leak::{Leak, LeakAction, leaked, of_owner, revoke_all};
pub use list::{ListQuery, page};
pub(super) use update::difference;
pub use update::{KeyChange, disable, enable, switch_owner, update};

use super::change::Wrong;
use crate::key::format::{KeyText, NewKey};
use crate::key::record::Rotation;
use crate::key::{KeyId, KeyRecord, Kind, Pepper, Role};
use crate::quota::Limits;
use crate::store::audit::{Actor, Note};
use crate::store::{self, GroupStore, KeyStore, StoreError};

/// What a new key is to be.
#[derive(Clone, Debug)]
pub struct NewKeyOrder {
    /// What people call it.
    pub name: String,
    /// Whose it is.
    pub owner: String,
    /// What it is for.
    pub kind: Kind,
    /// What it may do.
    pub limits: Limits,
    /// When it begins to be valid.
    pub not_before: Option<Timestamp>,
    /// When it ends by itself.
    pub expires: Option<Timestamp>,
    /// The project that it belongs to, by its id.
    pub project: Option<String>,
    /// What an admin key may manage.
    pub role: Option<Role>,
    /// Switched off from the start.
    pub disabled: bool,
}

/// A key that was just made: the only time that its text is shown.
#[derive(Debug, Serialize, ToSchema)]
pub struct Created {
    /// The whole key.
    pub key: String,
    /// What is known of it from now on.
    #[serde(flatten)]
    pub view: KeyView,
}

/// What may be shown of a key.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[allow(missing_docs, reason = "the names say it all")]
pub struct KeyView {
    pub id: String,
    pub name: String,
    pub owner: String,
    pub kind: &'static str,
    pub state: String,
    pub project: Option<String>,
    pub role: Option<&'static str>,
    #[serde(flatten)]
    pub limits: Limits,
    pub disabled: bool,
    #[schema(value_type = String, format = DateTime)]
    pub created: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub not_before: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub revoked: Option<Timestamp>,
    pub replaced_by: Option<String>,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub works_until: Option<Timestamp>,
}

/// Why a key could not be changed.
#[derive(Debug)]
pub enum KeyError {
    /// No such id.
    NotFound(String),
    /// It is revoked, and stays so.
    Revoked(KeyId),
    /// It was rotated, and its grace is over.
    Rotated(KeyId, KeyId),
    /// The store did not do it.
    Store(StoreError),
    /// What it is to be cannot be.
    Wrong(Wrong),
    /// The system has no randomness.
    NoRandomness,
}

/// Makes a key.
pub async fn create(
    store: &dyn KeyStore,
    groups: &dyn GroupStore,
    pepper: &Pepper,
    order: NewKeyOrder,
    by: &Actor,
) -> Result<Created, KeyError> {
    let (record, text) = made(pepper, order, None)?;
    update::check(&record, groups).await?;
    insert(store, record, text, by).await
}

fn made(pepper: &Pepper, order: NewKeyOrder, family: Option<KeyId>) -> Result<(KeyRecord, NewKey), KeyError> {
    let new = NewKey::generate(order.kind).map_err(|_| KeyError::NoRandomness)?;
    let record = KeyRecord {
        id: new.id,
        hash: pepper.hash(new.expose()),
        kind: order.kind,
        name: order.name,
        owner: order.owner,
        limits: order.limits,
        created: store::now(),
        not_before: order.not_before,
        expires: order.expires,
        revoked: None,
        disabled: order.disabled,
        owner_disabled: false,
        group_disabled: false,
        rotated: None,
        project: order.project,
        role: order.role,
        family: family.unwrap_or(new.id),
    };
    Ok((record, new))
}

async fn insert(store: &dyn KeyStore, record: KeyRecord, new: NewKey, by: &Actor) -> Result<Created, KeyError> {
    store.insert_key(&record, &note(by, "key.create", &record, json!(KeyView::of(&record)))).await?;
    // What holds of its owner is for the store to tell.
    let view = KeyView::of(&store.key(record.id).await?.unwrap_or(record));
    Ok(Created { key: new.expose().to_owned(), view })
}

/// Makes a successor with the same rights; the old key works beside it for `grace`.
pub async fn rotate(store: &dyn KeyStore, pepper: &Pepper, id: &str, grace: Duration, by: &Actor) -> Result<Created, KeyError> {
    let mut old = find(store, id).await?;
    if old.revoked.is_some() {
        return Err(KeyError::Revoked(old.id));
    }
    if let Some(rotation) = old.rotated.as_ref().filter(|rotation| rotation.until <= store::now()) {
        return Err(KeyError::Rotated(old.id, rotation.successor));
    }
    let order = NewKeyOrder {
        name: old.name.clone(),
        owner: old.owner.clone(),
        kind: old.kind,
        limits: old.limits.clone(),
        not_before: old.not_before,
        expires: old.expires,
        project: old.project.clone(),
        role: old.role,
        disabled: old.disabled,
    };
    let (record, text) = made(pepper, order, Some(old.family))?;
    let created = insert(store, record, text, by).await?;
    let successor = KeyId::parse(&created.view.id).ok_or(KeyError::NoRandomness)?;
    old.rotated = Some(Rotation { successor, until: store::now() + grace });
    let detail = json!({ "successor": created.view.id, "works_until": old.rotated.as_ref().map(|rotation| rotation.until) });
    store.update_key(&old, &note(by, "key.rotate", &old, detail)).await?;
    Ok(created)
}

/// Ends a key for good; a second time changes nothing.
pub async fn revoke(store: &dyn KeyStore, id: &str, by: &Actor) -> Result<KeyView, KeyError> {
    let mut record = find(store, id).await?;
    if record.revoked.is_none() {
        record.revoked = Some(store::now());
        store.update_key(&record, &note(by, "key.revoke", &record, json!({}))).await?;
    }
    Ok(KeyView::of(&record))
}

/// One key, by its id.
pub async fn show(store: &dyn KeyStore, id: &str) -> Result<KeyView, KeyError> {
    Ok(KeyView::of(&find(store, id).await?))
}

async fn find(store: &dyn KeyStore, id: &str) -> Result<KeyRecord, KeyError> {
    let not_found = || KeyError::NotFound(id.chars().take(12).collect());
    let parsed = KeyId::parse(id).or_else(|| Some(KeyText::parse(id).ok()?.id())).ok_or_else(not_found)?;
    store.key(parsed).await?.ok_or_else(not_found)
}

fn note(by: &Actor, action: &'static str, record: &KeyRecord, detail: Value) -> Note {
    Note { actor: by.clone(), action, subject: record.id.to_string(), detail }
}

// === impl NewKeyOrder ===

impl NewKeyOrder {
    /// A key that may do all that its kind may.
    pub fn new(name: &str, kind: Kind) -> NewKeyOrder {
        NewKeyOrder {
            name: name.to_owned(),
            owner: String::new(),
            kind,
            limits: Limits::default(),
            not_before: None,
            expires: None,
            project: None,
            role: None,
            disabled: false,
        }
    }
}

// === impl KeyView ===

impl KeyView {
    /// What may be shown of a record.
    pub fn of(record: &KeyRecord) -> KeyView {
        KeyView {
            id: record.id.to_string(),
            name: record.name.clone(),
            owner: record.owner.clone(),
            kind: record.kind.as_str(),
            state: list::state_of(record, Timestamp::now()).to_owned(),
            project: record.project.clone(),
            role: record.role.map(Role::as_str),
            limits: record.limits.clone(),
            disabled: record.disabled,
            created: record.created,
            not_before: record.not_before,
            expires: record.expires,
            revoked: record.revoked,
            replaced_by: record.rotated.as_ref().map(|rotation| rotation.successor.to_string()),
            works_until: record.rotated.as_ref().map(|rotation| rotation.until),
        }
    }
}

// === impl KeyError ===

impl From<StoreError> for KeyError {
    fn from(e: StoreError) -> KeyError {
        KeyError::Store(e)
    }
}

impl std::fmt::Display for KeyError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            KeyError::NotFound(id) => write!(f, "there is no key with the id '{id}': 'keyward keys list' shows them all"),
            KeyError::Rotated(id, successor) => {
                write!(f, "the key {id} was rotated and its grace is over, so it works no more: rotate its successor {successor}")
            }
            KeyError::Revoked(id) => write!(f, "the key {id} is revoked, which is for good: make a new one with 'keyward keys create'"),
            KeyError::Wrong(why) => why.fmt(f),
            KeyError::Store(e) => write!(f, "the store did not do it: {e}"),
            KeyError::NoRandomness => f.write_str("the system has no randomness to make a key from"),
        }
    }
}

impl std::error::Error for KeyError {}
