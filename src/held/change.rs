//! A change of whose something is, as a line of the ledger has it.

use std::sync::Arc;

use jiff::Timestamp;
use serde::Deserialize;

use super::{Held, Kind};
use crate::json::Object;
use crate::key::KeyId;

/// What becomes of something that a provider keeps.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Line")]
pub enum Change {
    /// A key made it.
    Made(Held),
    /// It is kept no more.
    LetGo {
        /// What it was.
        kind: Kind,
        /// Its id at the provider.
        id: String,
        /// The key that let it go: its own, or one that it came from by rotation, made it.
        key: KeyId,
    },
}

/// Names are short, as those of a request's lines; what is kept no more has neither provider nor time.
#[derive(Deserialize)]
struct Line {
    #[serde(rename = "k")]
    kind: Kind,
    #[serde(rename = "i")]
    id: String,
    #[serde(rename = "o")]
    key: String,
    #[serde(rename = "p")]
    provider: Option<String>,
    /// Microseconds since 1970.
    #[serde(rename = "t", default)]
    created: i64,
}

// === impl Change ===

impl Change {
    /// What it is about.
    pub fn of(&self) -> (Kind, &str) {
        match self {
            Change::Made(held) => (held.kind, &held.id),
            Change::LetGo { kind, id, .. } => (*kind, id),
        }
    }

    /// The key that made it, or let it go.
    pub fn key(&self) -> KeyId {
        match self {
            Change::Made(held) => held.key,
            Change::LetGo { key, .. } => *key,
        }
    }

    /// Who keeps it from now on.
    pub fn holder(&self) -> Option<Arc<str>> {
        match self {
            Change::Made(held) => Some(held.provider.as_str().into()),
            Change::LetGo { .. } => None,
        }
    }

    /// Writes its members.
    pub fn write(&self, to: &mut Object<'_>) {
        let (kind, id) = self.of();
        to.text("k", kind.as_str());
        to.text("i", id);
        to.text("o", self.key().as_str());
        if let Change::Made(held) = self {
            to.text("p", &held.provider);
            to.number("t", held.created.as_microsecond());
        }
    }
}

impl TryFrom<Line> for Change {
    type Error = String;

    fn try_from(line: Line) -> Result<Change, String> {
        let Line { kind, id, key, provider, created } = line;
        let key = KeyId::parse(&key).ok_or_else(|| format!("'{key}' is no key's id"))?;
        let Some(provider) = provider else { return Ok(Change::LetGo { kind, id, key }) };
        let created = Timestamp::from_microsecond(created).map_err(|e| e.to_string())?;
        Ok(Change::Made(Held { kind, id, key, provider, created }))
    }
}
