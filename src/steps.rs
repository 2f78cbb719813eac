//! Steps in the life of what files say, prompts and services alike, and why a change of a file is not made.

use std::fmt;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use crate::life::{Life, State, is_successor, time};
use crate::shelf;
use crate::versions::{Versioned, Versions};

/// A step in a life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// From now on the version does not change.
    Publish,
    /// Callers are told that it will go.
    Deprecate {
        /// When it goes: a day or time, UTC.
        sunset: Option<String>,
        /// What to call instead, as `name` or `name@version`.
        successor: Option<String>,
    },
    /// It is served no longer.
    Retire,
}

/// How one version differs from another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Compared {
    /// The older one, as `name@version`.
    pub from: String,
    /// The newer one.
    pub to: String,
    /// The lines that differ, as a unified diff; empty where they are the same.
    pub diff: String,
}

/// Why nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EditError {
    /// There is nothing of that name, or no such version.
    NotFound(String),
    /// There is one already.
    Exists(String),
    /// The file would be wrong.
    Wrong(String),
    /// Its name is no name to keep, for this reason.
    Named(&'static str),
    /// The disk did not do it.
    Disk(DiskError),
}

/// Why the disk did not do it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DiskError {
    /// Somebody else goes on changing the folder's files.
    Locked(String),
    /// Something cannot be read or written.
    Failed(String),
}

/// Lets nobody else change a folder's files; none where there is no folder.
pub fn alone(folder: &Path) -> Result<Option<File>, EditError> {
    match shelf::alone(folder) {
        Ok(alone) => Ok(Some(alone)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) if e.kind() == io::ErrorKind::WouldBlock => Err(EditError::Disk(DiskError::Locked(format!(
            "another program, such as another 'keyward', has held the lock of {} for {} s: wait for it or end it, and try again; nothing was changed",
            folder.join(shelf::LOCK).display(),
            shelf::LONGEST.as_secs()
        )))),
        Err(e) => Err(EditError::failed(format!("{} cannot be locked: {e}", folder.display()))),
    }
}

/// There is nothing of a name, since there is no folder.
pub fn away(folder: &Path, what: &str, name: &str) -> EditError {
    EditError::NotFound(format!("there is no {what} '{name}': there is no folder {}", folder.display()))
}

/// A file is there that was to be made.
pub fn exists(path: &Path) -> String {
    format!("{} is there already: change it, or take another name", path.display())
}

/// A name without a version is written to as that of one alone.
pub fn one_alone<T: Versioned>(versions: &Versions<T>, name: &str) -> Result<(), EditError> {
    let labels: Vec<String> = versions.each(name).map(|one| one.label()).collect();
    match labels.len() > 1 {
        true => {
            let labels = labels.join(", ");
            Err(EditError::Wrong(format!("'{name}' has several versions ({labels}): name the one that is meant; nothing was changed")))
        }
        false => Ok(()),
    }
}

/// Makes a folder for its first files, unless somebody else has made it and one of them meanwhile.
pub fn made_for<'a>(folder: &Path, files: impl IntoIterator<Item = &'a PathBuf>) -> Result<File, EditError> {
    let unmade = |why: String| EditError::failed(format!("{} cannot be made: {why}", folder.display()));
    std::fs::create_dir_all(folder).map_err(|e| unmade(e.to_string()))?;
    let alone = alone(folder)?.ok_or_else(|| unmade("it is gone again".to_owned()))?;
    match files.into_iter().find(|path| path.exists()) {
        Some(path) => Err(EditError::Exists(exists(path))),
        None => Ok(alone),
    }
}

/// The version that a step is for where none is named.
pub fn meant<T: Versioned>(versions: &Versions<T>, name: &str, step: &Step, now: Timestamp) -> Result<String, EditError> {
    let newest = |states: &[State]| states.iter().find_map(|state| versions.newest(name, *state, now)).map(|one| one.label());
    let (label, wanted) = match step {
        Step::Publish => (newest(&[State::Draft]), "draft to publish"),
        Step::Deprecate { .. } | Step::Retire => (newest(&[State::Published, State::Deprecated]), "version that callers get"),
    };
    let told = |one: &Arc<T>| format!("{} ({})", one.label(), one.state_at(now).as_str());
    let all = || versions.each(name).map(told).collect::<Vec<_>>().join(", ");
    label.ok_or_else(|| EditError::Wrong(format!("'{name}' has no {wanted}: there are {}", all())))
}

/// Whether callers of a version can be told to call that one instead.
pub fn succeeds<T: Versioned>(versions: &Versions<T>, what: &str, one: &T, successor: &str, now: Timestamp) -> Result<(), EditError> {
    let wrong =
        |why: &str| EditError::Wrong(format!("'{successor}' cannot be the successor of '{}': {why}; nothing was changed", one.label()));
    let next = match successor.split_once('@') {
        Some((base, version)) => versions.version(base, version),
        None => versions.shown(successor, now).or_else(|| versions.newest(successor, State::Draft, now)),
    };
    match next {
        None => Err(wrong(&format!("there is no such {what}"))),
        Some(next) if next.label() == one.label() => Err(wrong("it is the same")),
        Some(next) if next.state_at(now) == State::Retired => Err(wrong("it is retired")),
        Some(_) => Ok(()),
    }
}

// === impl Step ===

impl Step {
    /// What the audit calls it of a prompt.
    pub fn of_prompt(&self) -> &'static str {
        match self {
            Step::Publish => "prompt.publish",
            Step::Deprecate { .. } => "prompt.deprecate",
            Step::Retire => "prompt.retire",
        }
    }

    /// The same of a service.
    pub fn of_service(&self) -> &'static str {
        match self {
            Step::Publish => "service.publish",
            Step::Deprecate { .. } => "service.deprecate",
            Step::Retire => "service.retire",
        }
    }

    /// Whether something in this state can take it, and what it says can stand in a file.
    pub fn check(&self, state: State, label: &str, what: &str) -> Result<(), EditError> {
        let refused = |why: String| Err(EditError::Wrong(format!("{why}; nothing was changed")));
        match (self, state) {
            (_, State::Retired) => {
                return refused(format!("'{label}' is retired, and stays so: {what} that is to be called again is a new one"));
            }
            (Step::Deprecate { .. } | Step::Retire, State::Draft) => {
                return refused(format!("'{label}' is a draft, which nobody relies on: change its file, or remove it"));
            }
            _ => {}
        }
        let Step::Deprecate { sunset, successor } = self else { return Ok(()) };
        match sunset.as_deref().map(time) {
            Some(Err(why)) => return refused(why),
            Some(Ok(sunset)) if sunset <= Timestamp::now() => {
                return refused(format!("'{label}' would have ended on {sunset} already: what is to end now is retired"));
            }
            _ => {}
        }
        match successor.as_ref().filter(|successor| !is_successor(successor)) {
            Some(successor) => {
                refused(format!("{successor:?} is no name of a successor: it has letters, digits, '-', '_', '.' and '@' alone"))
            }
            None => Ok(()),
        }
    }

    /// The fields of the front matter that it takes away: what is published is neither deprecated nor has an end.
    pub fn cleared(&self) -> &'static [&'static str] {
        match self {
            Step::Publish => &["keyward.deprecated", "keyward.sunset", "keyward.successor"],
            Step::Deprecate { .. } | Step::Retire => &[],
        }
    }

    /// The fields of the front matter that it sets, in that life: since when something is deprecated stays.
    pub fn fields(&self, life: &Life) -> Vec<(&'static str, String)> {
        match self {
            Step::Publish => vec![("keyward.state", "published".to_owned())],
            Step::Retire => vec![("keyward.state", "retired".to_owned())],
            Step::Deprecate { sunset, successor } => {
                let now = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
                let is_known = life.state == State::Deprecated && life.deprecated.is_some();
                let mut fields = vec![("keyward.state", "deprecated".to_owned())];
                fields.extend(Some(("keyward.deprecated", now)).filter(|_| !is_known));
                fields.extend(sunset.clone().map(|sunset| ("keyward.sunset", sunset)));
                fields.extend(successor.clone().map(|successor| ("keyward.successor", successor)));
                fields
            }
        }
    }
}

// === impl EditError ===

impl EditError {
    /// The disk did not do it, in words.
    pub fn failed(message: String) -> EditError {
        EditError::Disk(DiskError::Failed(message))
    }

    /// Whether somebody else holds the folder, so that the same may be done in a moment.
    pub fn is_locked(&self) -> bool {
        matches!(self, EditError::Disk(DiskError::Locked(_)))
    }
}

impl fmt::Display for EditError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EditError::NotFound(message)
            | EditError::Exists(message)
            | EditError::Wrong(message)
            | EditError::Disk(DiskError::Locked(message) | DiskError::Failed(message)) => f.write_str(message),
            EditError::Named(why) => write!(f, "that name is not kept: {why}; nothing was changed"),
        }
    }
}

impl std::error::Error for EditError {}
