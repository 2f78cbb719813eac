//! What is known of a key at rest: everything but the key itself.

use std::cell::LazyCell;

use jiff::Timestamp;

use super::{KeyHash, KeyId, Kind, Reason};
use crate::quota::Limits;

/// One key in the store.
#[derive(Clone, Debug)]
pub struct KeyRecord {
    /// Its public part.
    pub id: KeyId,
    /// The keyed hash of the whole key.
    pub hash: KeyHash,
    /// What it is for.
    pub kind: Kind,
    /// What people call it.
    pub name: String,
    /// Whose it is; free text.
    pub owner: String,
    /// What it may do.
    pub limits: Limits,
    /// When it was made.
    pub created: Timestamp,
    /// When it begins to be valid.
    pub not_before: Option<Timestamp>,
    /// When it ends by itself.
    pub expires: Option<Timestamp>,
    /// When it was revoked.
    pub revoked: Option<Timestamp>,
    /// Switched off for now.
    pub disabled: bool,
    /// All of its owner's keys are switched off for now; the store's to tell, whatever is written.
    pub owner_disabled: bool,
    /// A group that it belongs to was switched off when this was read; the store's to tell, whatever is written. [`Known::state`] knows better.
    ///
    /// [`Known::state`]: super::caller::Known::state
    pub group_disabled: bool,
    /// The key that replaced it, and until when this one still works beside it.
    pub rotated: Option<Rotation>,
    /// The project that it belongs to, by its id.
    pub project: Option<String>,
    /// What its holder may manage; of admin keys alone, and `Owner` where absent.
    pub role: Option<Role>,
    /// The first of the keys that this one replaced; itself where it replaced none.
    pub family: KeyId,
    /// The store's number of its last change when this was read; none where it was not stored.
    pub changed: Option<i64>,
}

/// A key's successor.
#[derive(Clone, Debug)]
pub struct Rotation {
    /// The new key.
    pub successor: KeyId,
    /// The end of the grace period.
    pub until: Timestamp,
}

/// What somebody with an admin key may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Looks at everything, and changes nothing.
    Viewer,
    /// Changes everything but who may manage the gateway.
    Admin,
    /// Makes and ends admin keys too.
    Owner,
}

const ROLES: [(Role, &str); 3] = [(Role::Viewer, "viewer"), (Role::Admin, "admin"), (Role::Owner, "owner")];

// === impl KeyRecord ===

impl KeyRecord {
    /// Whether the key is good at `now`, and if not why; most keys neither begin nor end, and then nobody has to ask what time it is.
    pub fn state(&self, now: impl FnOnce() -> Timestamp) -> Result<(), Reason> {
        let now = LazyCell::new(now);
        if let Some(when) = self.revoked {
            return Err(Reason::Revoked(when.to_string()));
        }
        if let Some(rotation) = self.rotated.as_ref().filter(|rotation| rotation.until <= *now) {
            return Err(Reason::Rotated(rotation.until.to_string()));
        }
        if let Some(when) = self.expires.filter(|when| *when <= *now) {
            return Err(Reason::Expired(when.to_string()));
        }
        if let Some(when) = self.not_before.filter(|when| *when > *now) {
            return Err(Reason::NotYetValid(when.to_string()));
        }
        match (self.disabled, self.owner_disabled) {
            (true, _) => Err(Reason::Disabled),
            (false, true) => Err(Reason::OwnerDisabled(self.owner.clone())),
            (false, false) => Ok(()),
        }
    }

    /// When it ends by itself or by its successor, whichever is sooner.
    pub fn ends(&self) -> Option<Timestamp> {
        let rotated = self.rotated.as_ref().map(|rotation| rotation.until);
        self.expires.into_iter().chain(rotated).min()
    }

    /// Whether it was switched off when this was read: by itself, or with its owner, its project or team.
    pub fn is_off(&self) -> bool {
        self.disabled || self.owner_disabled || self.group_disabled
    }
}

// === impl Role ===

impl Role {
    /// `viewer`, `admin` or `owner`.
    pub fn as_str(self) -> &'static str {
        ROLES.iter().find(|(role, _)| *role == self).map_or("", |(_, name)| name)
    }

    /// The role with that name.
    pub fn from_name(name: &str) -> Option<Role> {
        ROLES.iter().find(|(_, known)| *known == name).map(|(role, _)| *role)
    }
}
