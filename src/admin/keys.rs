//! Making, rotating and revoking keys.

mod leak;
mod list;
mod update;

use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

pub use leak::{Leak, LeakAction, leaked, of_known_owner, of_owner, reported, revoke_all};
pub use list::{ListQuery, page};
pub(super) use update::difference;
pub use update::{KeyChange, disable, enable, switch_owner, unknown_owner, update};

use super::change::Wrong;
use super::meant::{ChangedMeanwhile, Meant};
use crate::key::diagnose::without_keys;
use crate::key::format::{KeyText, NewKey};
use crate::key::record::Rotation;
use crate::key::{KeyId, KeyRecord, Kind, Pepper, Role};
use crate::quota::Limits;
use crate::store::audit::{Actor, Note};
use crate::store::{self, GroupStore, KeyStore, StoreError};

/// How long two keys of one family may work beside each other.
const LONGEST_GRACE: Duration = Duration::from_secs(366 * 24 * 3600);

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

/// A successor that was just made, and what becomes of the key that it takes the place of.
#[derive(Debug, Serialize, ToSchema)]
pub struct Rotated {
    /// The new key.
    #[serde(flatten)]
    pub new: Created,
    /// The old one.
    pub replaces: Replaced,
}

/// A key that has a successor.
#[derive(Debug, Serialize, ToSchema)]
pub struct Replaced {
    /// Its id.
    pub id: String,
    /// Until when it works beside its successor, which is not beyond its own end; of one that was disabled, also with its owner, project or team, no
    /// longer.
    #[schema(value_type = String, format = DateTime)]
    pub works_until: Timestamp,
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

/// How a key and its successor go together.
#[derive(Clone, Copy, Debug, Default)]
pub struct Overlap {
    /// How long the old key works beside it.
    pub grace: Duration,
    /// When the successor ends by itself; `None` for when the old key does, `Some(None)` for never.
    pub expires: Option<Option<Timestamp>>,
}

/// Why a key could not be changed.
#[derive(Debug)]
pub enum KeyError {
    /// No such id.
    NotFound(String),
    /// No key has that owner.
    NoneOf(String),
    /// It is revoked, and stays so.
    Revoked(KeyId),
    /// It was rotated: it has a successor.
    Rotated(KeyId, KeyId),
    /// It is not as its caller has read it.
    Changed(ChangedMeanwhile),
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
    update::check(&record, &Limits::default(), groups).await?;
    let note = note(by, "key.create", &record, json!(KeyView::of(&record)));
    // It has a number of its own: nobody else can have changed it.
    store.put_keys(&[(record.clone(), note)]).await?;
    told(store, record, text).await
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
        changed: None,
    };
    Ok((record, new))
}

/// A key that was just stored, with its text; what holds of its owner is for the store to tell.
async fn told(store: &dyn KeyStore, record: KeyRecord, new: NewKey) -> Result<Created, KeyError> {
    let view = KeyView::of(&store.key(record.id).await?.unwrap_or(record));
    Ok(Created { key: new.expose().to_owned(), view })
}

/// Makes a successor with the same rights, and with the same end where it is given no other; the old key works beside it for a while, unless it is
/// switched off, by itself or with its owner, project or team: the successor is so too then, and enabling lets the new text in alone, as the old one
/// may have leaked.
pub async fn rotate(
    store: &dyn KeyStore,
    pepper: &Pepper,
    (id, meant): (&str, &Meant),
    overlap: impl Into<Overlap>,
    by: &Actor,
) -> Result<Rotated, KeyError> {
    let Overlap { grace, expires } = overlap.into();
    if grace > LONGEST_GRACE {
        return Err(KeyError::Wrong(Wrong { field: "grace_s", message: "a grace period is at most a year".to_owned() }));
    }
    // Where another process has changed the key in between, what it is now is rotated.
    loop {
        let mut old = meant_one(store, id, meant).await?;
        if old.revoked.is_some() {
            return Err(KeyError::Revoked(old.id));
        }
        if let Some(rotation) = &old.rotated {
            let successor = store.key(rotation.successor).await?;
            // Of two successors one would be a good key that nothing points to; one that was ended is none.
            if rotation.until <= store::now() || successor.is_some_and(|successor| successor.revoked.is_none()) {
                return Err(KeyError::Rotated(old.id, rotation.successor));
            }
        }
        let ends = expires.unwrap_or(old.expires);
        if let Some(past) = ends.filter(|ends| *ends <= store::now()) {
            let message = format!("the successor would have ended on {past} already: give it another end");
            return Err(KeyError::Wrong(Wrong { field: "expires", message }));
        }
        let order = NewKeyOrder {
            name: old.name.clone(),
            owner: old.owner.clone(),
            kind: old.kind,
            limits: old.limits.clone(),
            not_before: old.not_before,
            expires: ends,
            project: old.project.clone(),
            role: old.role,
            disabled: old.disabled,
        };
        let (record, text) = made(pepper, order, Some(old.family))?;
        let until = if old.is_off() { store::now() } else { store::now() + grace };
        old.rotated = Some(Rotation { successor: record.id, until });
        let works_until = old.ends().unwrap_or(until);
        let detail = json!({ "successor": record.id.to_string(), "works_until": works_until });
        let notes = [note(by, "key.create", &record, json!(KeyView::of(&record))), note(by, "key.rotate", &old, detail)];
        // Both or neither: no successor is left that nobody has been told of.
        let replaces = Replaced { id: old.id.to_string(), works_until };
        let both: Vec<(KeyRecord, Note)> = [record.clone(), old].into_iter().zip(notes).collect();
        if store.put_keys(&both).await? {
            return Ok(Rotated { new: told(store, record, text).await?, replaces });
        }
    }
}

/// Ends a key for good; a second time changes nothing.
pub async fn revoke(store: &dyn KeyStore, (id, meant): (&str, &Meant), by: &Actor) -> Result<KeyView, KeyError> {
    loop {
        let mut record = meant_one(store, id, meant).await?;
        if record.revoked.is_some() {
            return Ok(KeyView::of(&record));
        }
        record.revoked = Some(store::now());
        let note = note(by, "key.revoke", &record, json!({}));
        if store.put_keys(&[(record.clone(), note)]).await? {
            return Ok(KeyView::of(&record));
        }
    }
}

/// One key, by its id.
pub async fn show(store: &dyn KeyStore, id: &str) -> Result<KeyView, KeyError> {
    Ok(KeyView::of(&find(store, id).await?))
}

/// A key's id, bare or after its prefix, as lists and people show it (`kw_live_4fJ2…`).
pub fn fingerprint(text: &str) -> Option<KeyId> {
    let text = text.trim_end_matches(['…', '.']);
    let bare = Kind::ALL.iter().find_map(|kind| text.strip_prefix(kind.prefix())).unwrap_or(text);
    KeyId::parse(bare)
}

/// The key of an id or a text, as people write either.
pub async fn find(store: &dyn KeyStore, id: &str) -> Result<KeyRecord, KeyError> {
    let not_found = || KeyError::NotFound(id.chars().take(12).collect());
    let parsed = fingerprint(id).or_else(|| Some(KeyText::parse(id).ok()?.id())).ok_or_else(not_found)?;
    store.key(parsed).await?.ok_or_else(not_found)
}

/// The same, if a change is meant for it as it is.
async fn meant_one(store: &dyn KeyStore, id: &str, meant: &Meant) -> Result<KeyRecord, KeyError> {
    let record = find(store, id).await?;
    meant.check(&KeyView::of(&record)).map_err(KeyError::Changed)?;
    Ok(record)
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

// === impl Overlap ===

impl From<Duration> for Overlap {
    fn from(grace: Duration) -> Overlap {
        Overlap { grace, expires: None }
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
            works_until: record.ends().filter(|_| record.rotated.is_some()),
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
            KeyError::NoneOf(owner) => {
                write!(
                    f,
                    "no key has the owner '{}', and nothing was done: 'keyward keys list' shows them all",
                    without_keys(owner.clone())
                )
            }
            KeyError::NotFound(id) => write!(f, "there is no key with the id '{id}': 'keyward keys list' shows them all"),
            KeyError::Rotated(id, successor) => {
                write!(f, "the key {id} was rotated already: rotate its successor {successor}")
            }
            KeyError::Revoked(id) => write!(f, "the key {id} is revoked, which is for good: make a new one with 'keyward keys create'"),
            KeyError::Wrong(why) => why.fmt(f),
            KeyError::Changed(why) => why.fmt(f),
            KeyError::Store(e) => write!(f, "the store did not do it: {e}"),
            KeyError::NoRandomness => f.write_str("the system has no randomness to make a key from"),
        }
    }
}

impl std::error::Error for KeyError {}
