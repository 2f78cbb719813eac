//! What is known of a key at rest: everything but the key itself.

use std::num::NonZeroU32;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{KeyHash, KeyId, Kind, Reason};

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
    /// The key that replaced it, and until when this one still works beside it.
    pub rotated: Option<Rotation>,
}

/// A key's successor.
#[derive(Clone, Debug)]
pub struct Rotation {
    /// The new key.
    pub successor: KeyId,
    /// The end of the grace period.
    pub until: Timestamp,
}

/// What a key may do; an absent limit is none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Globs (`*`, `?`) on `provider/model` and alias names; empty allows all.
    pub models: Vec<String>,
    /// Requests a minute.
    pub requests_per_minute: Option<NonZeroU32>,
    /// Tokens a minute, in and out.
    pub tokens_per_minute: Option<NonZeroU32>,
    /// Requests at a time.
    pub parallel: Option<NonZeroU32>,
}

// === impl KeyRecord ===

impl KeyRecord {
    /// Whether the key may use a model that is asked for by one name and in full has another; `is_simulated` where no provider is called.
    pub fn may_use(&self, asked: &str, full: impl FnOnce() -> String, is_simulated: bool) -> Result<(), Reason> {
        if self.kind == Kind::Test && !is_simulated {
            return Err(Reason::TestOnly(asked.to_owned()));
        }
        // Mostly there is no list, and no name has to be put together.
        match self.limits.models.is_empty() || self.limits.allows(&[asked, &full()]) {
            true => Ok(()),
            false => Err(Reason::ModelNotAllowed { model: asked.to_owned(), allowed: self.limits.models.clone() }),
        }
    }

    /// Whether the key is good at `now`, and if not why.
    pub fn state(&self, now: Timestamp) -> Result<(), Reason> {
        if let Some(when) = self.revoked {
            return Err(Reason::Revoked(when.to_string()));
        }
        if let Some(rotation) = self.rotated.as_ref().filter(|rotation| rotation.until <= now) {
            return Err(Reason::Rotated(rotation.until.to_string()));
        }
        if let Some(when) = self.expires.filter(|when| *when <= now) {
            return Err(Reason::Expired(when.to_string()));
        }
        if let Some(when) = self.not_before.filter(|when| *when > now) {
            return Err(Reason::NotYetValid(when.to_string()));
        }
        match self.disabled {
            true => Err(Reason::Disabled),
            false => Ok(()),
        }
    }
}

// === impl Limits ===

impl Limits {
    /// Whether the globs allow a model known by any of `names`.
    pub fn allows(&self, names: &[&str]) -> bool {
        self.models.is_empty() || self.models.iter().any(|glob| names.iter().any(|name| matches(glob, name)))
    }
}

/// Matches `*` (any run) and `?` (any one byte), in time linear in the name for each star.
pub fn matches(glob: &str, name: &str) -> bool {
    let (glob, name) = (glob.as_bytes(), name.as_bytes());
    let (mut g, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match glob.get(g) {
            Some(b'*') => {
                star = Some((g, n));
                g += 1;
            }
            Some(&c) if c == b'?' || c == name[n] => {
                g += 1;
                n += 1;
            }
            _ => match star {
                Some((at, seen)) => {
                    star = Some((at, seen + 1));
                    g = at + 1;
                    n = seen + 1;
                }
                None => return false,
            },
        }
    }
    glob[g..].iter().all(|&c| c == b'*')
}
