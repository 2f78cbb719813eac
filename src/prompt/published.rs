//! What was published: each version's hash, its text and whether it has ended, in a file beside the prompts, so that both stay over restarts.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Prompt, State};
use crate::shelf::{self, Misfile};
use crate::versions;

/// The published versions, by `name@version`.
pub type Known = BTreeMap<String, Published>;

/// A version as it was published.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(from = "Written")]
pub struct Published {
    /// Of all that must not change.
    pub hash: String,
    /// The name of the file that it was read of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The file's text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The partials that it uses.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub partials: BTreeMap<String, String>,
    /// Its callers were told that it has ended.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub retired: bool,
}

/// As it stands in the file; of what was published first, the hash alone was noted.
#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Hash(String),
    Whole {
        hash: String,
        file: Option<String>,
        source: Option<String>,
        #[serde(default)]
        partials: BTreeMap<String, String>,
        #[serde(default)]
        retired: bool,
    },
}

const FILE: &str = ".published.json";

fn path(folder: &Path) -> PathBuf {
    folder.join(FILE)
}

/// What is noted; nothing where there is no file.
pub fn read(folder: &Path) -> Result<Known, Misfile> {
    shelf::noted(&path(folder))
}

/// Notes it.
pub fn write(folder: &Path, known: &Known) -> Result<(), Misfile> {
    shelf::note(&path(folder), known)
}

// === impl Published ===

impl Published {
    /// A version that is published now.
    pub fn of(prompt: &Prompt, path: &Path, now: Timestamp) -> Published {
        Published {
            hash: prompt.hash.clone(),
            file: path.file_name().and_then(|name| name.to_str()).map(str::to_owned),
            source: Some(prompt.source.clone()),
            partials: prompt.partials.clone(),
            retired: prompt.state_at(now) == State::Retired,
        }
    }

    /// Whether it has ended, and this is it in another state.
    pub fn is_revived_by(&self, prompt: &Prompt) -> bool {
        self.retired && prompt.state_at(Timestamp::now()) != State::Retired
    }

    /// The version as it was published, where its text was noted and can still be read.
    pub fn prompt(&self, label: &str) -> Option<Prompt> {
        let (name, version) = label.rsplit_once('@')?;
        Prompt::read(name, Some(versions::number(version)?), self.source.as_deref()?, &self.partials).ok()
    }
}

impl From<Written> for Published {
    fn from(written: Written) -> Published {
        match written {
            Written::Hash(hash) => Published { hash, file: None, source: None, partials: BTreeMap::new(), retired: false },
            Written::Whole { hash, file, source, partials, retired } => Published { hash, file, source, partials, retired },
        }
    }
}
