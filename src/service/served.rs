//! What is served: each version's two files as they were when they were right last, and what was published, in a file beside them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Service;
use super::entry::Texts;
use super::offer::Offer;
use crate::life::State;
use crate::shelf::{self, Misfile};
use crate::versions::Versioned;

/// The versions, by `name@version`.
pub type Known = BTreeMap<String, Served>;

/// What is known of a version.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Served {
    /// Its files when they were right last, as long as they are there.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub texts: Option<Texts>,
    /// What it offered as it was published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offer: Option<Offer>,
    /// The operations that it is served with since it was published.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub operations: BTreeSet<String>,
    /// Its callers were told that it has ended.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub retired: bool,
}

fn path(folder: &Path) -> PathBuf {
    folder.join(".served.json")
}

/// What is noted; nothing where there is no file.
pub fn read(folder: &Path) -> Result<Known, Misfile> {
    let noted: Known = shelf::noted(&path(folder))?;
    // Before there were versions, a service was noted by its name.
    let label = |name: String| if name.contains('@') { name } else { format!("{name}@1") };
    Ok(noted.into_iter().map(|(name, served)| (label(name), served)).collect())
}

/// Notes it.
pub fn write(folder: &Path, known: &Known) -> Result<(), Misfile> {
    shelf::note(&path(folder), known)
}

/// What a process knows beside what is noted: whatever has happened to the file, what was published first holds.
pub fn joined(noted: &Known, known: &Known) -> Known {
    let mut all = noted.clone();
    for (label, served) in known {
        let there = all.entry(label.clone()).or_default();
        there.texts = served.texts.clone().or(there.texts.take());
        there.offer = served.offer.clone().or(there.offer.take());
        there.operations.extend(served.operations.iter().cloned());
        there.retired |= served.retired;
    }
    all
}

/// The same without the texts of versions whose files are no longer there; that they were published stays known.
pub fn kept(known: Known, there: &BTreeSet<String>) -> Known {
    let one = |(label, served): (String, Served)| {
        let texts = served.texts.filter(|_| there.contains(&label));
        (texts.is_some() || served.offer.is_some()).then_some((label, Served { texts, ..served }))
    };
    known.into_iter().filter_map(one).collect()
}

// === impl Served ===

impl Served {
    /// Takes a version whose files are right.
    pub fn take(&mut self, service: &Service, now: Timestamp) {
        self.retired |= service.state_at(now) == State::Retired;
        self.texts = Some(service.texts.clone());
        if service.life.state != State::Draft {
            // It is the same, and may be noted by another hash.
            self.offer = Some(service.offer.clone());
            // Without variables it may not be known where it is, and so which of them are there.
            if service.upstream.is_some() {
                self.operations = service.description.operations.iter().map(|operation| operation.id.clone()).collect();
            }
        }
    }

    /// Whether it has ended, and this is it in another state.
    pub fn is_revived_by(&self, service: &Service, now: Timestamp) -> bool {
        self.retired && service.state_at(now) != State::Retired
    }

    /// An operation that callers have had, and that would not be served any more.
    pub fn lost_by(&self, service: &Service) -> Option<&str> {
        self.operations.iter().map(String::as_str).find(|id| service.description.operation(id).is_none())
    }
}
