//! What is served: each service's two files as they were when they were right last, in a file beside them, so that both stay over restarts.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::Service;
use super::entry::Texts;
use crate::shelf;

/// The services, by name.
pub type Known = BTreeMap<String, Texts>;

fn path(folder: &Path) -> PathBuf {
    folder.join(".served.json")
}

/// What is noted; nothing where nothing can be read.
pub fn read(folder: &Path) -> Known {
    std::fs::read(path(folder)).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default()
}

/// Notes services whose files are right, in the place of what is known of them, and nothing else of those that are no longer there.
pub fn note<'a>(folder: &Path, known: Known, right: impl Iterator<Item = &'a Service>, is_there: impl Fn(&str) -> bool) {
    let mut noted: Known = known.iter().filter(|(name, _)| is_there(name)).map(|(name, served)| (name.clone(), served.clone())).collect();
    for service in right {
        noted.insert(service.name.clone(), service.texts.clone());
    }
    if noted == known {
        return;
    }
    let text = serde_json::to_string_pretty(&noted).map_err(std::io::Error::other);
    if let Err(error) = text.and_then(|text| shelf::put(&path(folder), &(text + "\n"))) {
        tracing::warn!(%error, "what is served cannot be noted: a file that is wrong at the next start is not served then");
    }
}
