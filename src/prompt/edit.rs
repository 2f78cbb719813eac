//! Changes to prompts: the files are the truth, and the command line and the management API change them by the same functions.

use std::fmt;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::{Prompt, Prompts, State, entry, examples};
use crate::config::hint;
use crate::life::time;
use crate::shelf::{self, Misfile};
use crate::yaml;

/// A step in a prompt's life.
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

/// A prompt's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// `name@version`.
    pub label: String,
    /// Where it is.
    pub path: PathBuf,
    /// What is in it.
    pub text: String,
}

/// A change that was found right, and that nobody comes before: all others wait until it is made, or dropped.
#[derive(Debug)]
pub struct Plan {
    /// None where there is no folder yet, and so nobody else in it.
    alone: Option<File>,
    folder: PathBuf,
    source: Source,
    /// What the folder will be.
    prompts: Prompts,
    /// What was no draft is not changed, so from now on it is none.
    publishes: bool,
}

/// A draft that is to go; until it does, or the plan is dropped, all others wait.
#[derive(Debug)]
pub struct Removal {
    _alone: File,
    source: Source,
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
    /// There is no such prompt, or no such version.
    NotFound(String),
    /// There is one already.
    Exists(String),
    /// The file would be wrong.
    Wrong(String),
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

/// Plans a prompt's first file, as a draft: nothing is written before the plan is made.
pub fn create(folder: &Path, name: &str, text: &str) -> Result<Plan, EditError> {
    let alone = alone(folder)?;
    let path = folder.join(format!("{}.prompt", checked(name)?));
    if path.exists() {
        return Err(EditError::Exists(exists(&path)));
    }
    plan(alone, folder, &path, text)
}

/// Plans a version's file, new or in the place of what it was; a published one does not change.
pub fn write(folder: &Path, label: &str, text: &str) -> Result<Plan, EditError> {
    let alone = alone(folder)?;
    match source(folder, label) {
        Ok(known) => plan(alone, folder, &known.path, text),
        Err(EditError::NotFound(_)) => plan(alone, folder, &folder.join(format!("{}.prompt", checked(label)?)), text),
        Err(other) => Err(other),
    }
}

/// Plans a step of a prompt: of the version that is named, or of the newest draft to be published, or of what callers get today.
pub fn step(folder: &Path, name: &str, step: &Step) -> Result<Plan, EditError> {
    let alone = alone(folder)?.ok_or_else(|| away(folder, "prompt", name))?;
    let (prompts, now) = (Prompts::read(folder), Timestamp::now());
    let label = if name.contains('@') { name.to_owned() } else { meant(&prompts, name, step, now)? };
    let known = found(&prompts, &label)?;
    // What is served may be what was published, and not what is in the file.
    if let Some(fault) = fault_of(&prompts, &known.path).filter(|_| !prompts.takes(&known.path)) {
        return Err(EditError::Wrong(format!("{fault}; nothing was changed")));
    }
    let prompt = prompts.all().find(|prompt| prompt.label() == known.label);
    let prompt = prompt.ok_or_else(|| EditError::NotFound(format!("there is no '{label}' any more")))?;
    step.check(prompt.life.state_at(now), &known.label, "a prompt")?;
    if let Step::Deprecate { successor: Some(successor), .. } = step {
        succeeds(&prompts, prompt, successor, now)?;
    }
    let text = step.cleared().iter().fold(known.text, |text, field| without_field(&text, field));
    let text = step.fields().iter().fold(text, |text, (field, value)| with_field(&text, field, value));
    plan(Some(alone), folder, &known.path, &text)
}

/// Plans to remove a draft's file: what is published is retired, and its file stays.
pub fn remove(folder: &Path, label: &str) -> Result<Removal, EditError> {
    let alone = alone(folder)?.ok_or_else(|| away(folder, "prompt", label))?;
    let prompts = Prompts::read(folder);
    let source = found(&prompts, label)?;
    match prompts.all().find(|prompt| prompt.label() == source.label).is_some_and(|prompt| prompt.life.state == State::Draft) {
        true => Ok(Removal { _alone: alone, source }),
        false => Err(EditError::Wrong(format!("'{}' is no draft: retire it, and callers are told so; nothing was changed", source.label))),
    }
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

fn exists(path: &Path) -> String {
    format!("{} is there already: change it, or take another name", path.display())
}

/// Makes a folder for its first file, unless somebody else has made both meanwhile.
fn made_for(folder: &Path, path: &Path) -> Result<File, EditError> {
    let unmade = |why: String| EditError::failed(format!("{} cannot be made: {why}", folder.display()));
    std::fs::create_dir_all(folder).map_err(|e| unmade(e.to_string()))?;
    let alone = alone(folder)?.ok_or_else(|| unmade("it is gone again".to_owned()))?;
    match path.exists() {
        true => Err(EditError::Exists(exists(path))),
        false => Ok(alone),
    }
}

/// The version that a step is for where none is named.
fn meant(prompts: &Prompts, name: &str, step: &Step, now: Timestamp) -> Result<String, EditError> {
    let newest = |states: &[State]| states.iter().find_map(|state| prompts.newest(name, *state, now)).map(|prompt| prompt.label());
    let (label, wanted) = match step {
        Step::Publish => (newest(&[State::Draft]), "draft to publish"),
        Step::Deprecate { .. } | Step::Retire => (newest(&[State::Published, State::Deprecated]), "version that callers get"),
    };
    // A name that there is not is told as such.
    found(prompts, name)?;
    let told = |prompt: &std::sync::Arc<Prompt>| format!("{} ({})", prompt.label(), prompt.life.state_at(now).as_str());
    let versions = || prompts.versions(name).into_iter().flat_map(|versions| versions.values()).map(told).collect::<Vec<_>>().join(", ");
    label.ok_or_else(|| EditError::Wrong(format!("'{name}' has no {wanted}: there are {}", versions())))
}

/// Whether callers of a prompt can be told to call that one instead.
fn succeeds(prompts: &Prompts, prompt: &Prompt, successor: &str, now: Timestamp) -> Result<(), EditError> {
    let wrong =
        |why: &str| EditError::Wrong(format!("'{successor}' cannot be the successor of '{}': {why}; nothing was changed", prompt.label()));
    let next = match successor.split_once('@') {
        Some((base, version)) => prompts.version(base, version),
        None => prompts.shown(successor, now).or_else(|| prompts.newest(successor, State::Draft, now)),
    };
    match next {
        None => Err(wrong("there is no such prompt")),
        Some(next) if next.label() == prompt.label() => Err(wrong("it is the same")),
        Some(next) if next.state_at(now) == State::Retired => Err(wrong("it is retired")),
        Some(_) => Ok(()),
    }
}

/// The file of a prompt: of the version that is named, or of the newest.
pub fn source(folder: &Path, name: &str) -> Result<Source, EditError> {
    found(&Prompts::read(folder), name)
}

/// How a version differs from another, or from the one before it.
pub fn compared(folder: &Path, name: &str, other: Option<&str>) -> Result<Compared, EditError> {
    let newer = source(folder, name)?;
    let older = match other {
        Some(other) => source(folder, other)?,
        None => {
            let (base, version) = newer.label.split_once('@').unwrap_or((&newer.label, "1"));
            let (prompts, version) = (Prompts::read(folder), version.parse().unwrap_or(1));
            let before = prompts.versions(base).and_then(|versions| versions.range(..version).next_back());
            let first = || EditError::NotFound(format!("{} is the first version: there is none before it", newer.label));
            source(folder, &format!("{base}@{}", before.ok_or_else(first)?.0))?
        }
    };
    let diff = examples::diff(&older.text, &newer.text, (&older.label, &newer.label));
    Ok(Compared { from: older.label, to: newer.label, diff })
}

/// Plans a partial's file, new or in the place of what it was; what is wrong itself, or makes a prompt wrong that was right, is refused.
pub fn write_partial(folder: &Path, name: &str, text: &str) -> Result<Plan, EditError> {
    let alone = alone(folder)?;
    if checked(name)?.contains('@') {
        return Err(EditError::Wrong(format!("'{name}' is no name for a partial: it has no versions")));
    }
    let path = folder.join(format!("_{name}.prompt"));
    let (before, prompts) = (Prompts::read(folder), Prompts::with(folder, &path, text));
    let prompts = prompts.map_err(|fault| EditError::Wrong(format!("{fault}; nothing was changed")))?;
    let goes_on = |prompts: &Prompts, fault: &Misfile| prompts.takes(Path::new(&fault.file));
    // What is wrong with a prompt may be told in other words now, such as of another partial that is missing.
    let was_wrong = |fault: &Misfile| {
        let mut those = before.faults().iter().filter(|then| then.file == fault.file && !goes_on(&before, then));
        Path::new(&fault.file) != path && those.next().is_some()
    };
    if let Some(fault) = prompts.faults().iter().find(|fault| !was_wrong(fault) && !goes_on(&prompts, fault)) {
        return Err(EditError::Wrong(format!("{fault}; nothing was changed")));
    }
    let source = Source { label: format!("_{name}"), path, text: text.to_owned() };
    Ok(Plan { alone, folder: folder.to_path_buf(), source, prompts, publishes: false })
}

fn found(prompts: &Prompts, name: &str) -> Result<Source, EditError> {
    let (base, version) = name.split_once('@').map_or((name, None), |(base, version)| (base, Some(version)));
    let versions = prompts.versions(base).ok_or_else(|| {
        let near = hint::nearest(base, prompts.names()).map_or_else(String::new, |near| format!("; did you mean '{near}'?"));
        let faulty =
            prompts.faults().first().map_or_else(String::new, |fault| format!("; {} is wrong, see 'keyward prompts check'", fault.file));
        EditError::NotFound(format!("there is no prompt '{base}'{near}{faulty}"))
    })?;
    let found = match version {
        Some(version) => prompts.version(base, version),
        None => versions.values().next_back(),
    };
    let labels = || versions.values().map(|prompt| prompt.label()).collect::<Vec<_>>().join(", ");
    let prompt = found.ok_or_else(|| EditError::NotFound(format!("there is no version '{name}': there are {}", labels())))?;
    let path = prompts.file_of(prompt).ok_or_else(|| EditError::NotFound(format!("'{name}' has no file")))?.to_path_buf();
    Ok(Source { label: prompt.label(), path, text: prompt.source.clone() })
}

fn fault_of<'a>(prompts: &'a Prompts, path: &Path) -> Option<&'a Misfile> {
    let file = path.display().to_string();
    prompts.faults().iter().find(|fault| fault.file == file)
}

/// A name, or a name and a version, that can be a file's.
fn checked(label: &str) -> Result<&str, EditError> {
    let (name, version) = label.split_once('@').map_or((label, None), |(name, version)| (name, Some(version)));
    let is_name =
        name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    let is_version = version.is_none_or(|version| entry::version(version).is_some());
    match is_name && is_version && name.len() <= 100 {
        true => Ok(label),
        false => {
            Err(EditError::Wrong(format!("'{label}' is no name for a prompt: use letters, digits and '-', such as 'hello' or 'hello@2'")))
        }
    }
}

/// A text in a file, if all in the folder is right with it.
fn plan(alone: Option<File>, folder: &Path, path: &Path, text: &str) -> Result<Plan, EditError> {
    let file = path.display().to_string();
    let prompts = Prompts::with(folder, path, text).map_err(|fault| EditError::Wrong(format!("{fault}; nothing was changed")))?;
    if let Some(fault) = fault_of(&prompts, path).filter(|_| !prompts.takes(path)) {
        return Err(EditError::Wrong(format!("{fault}; nothing was changed")));
    }
    let label = prompts.label_of(path).ok_or_else(|| EditError::Wrong(format!("{file} would be no prompt")))?;
    let source = Source { label, path: path.to_path_buf(), text: text.to_owned() };
    let is_public = |prompts: &Prompts| prompts.all().any(|prompt| prompt.label() == source.label && prompt.life.state != State::Draft);
    let publishes = is_public(&prompts) && !is_public(&Prompts::read(folder));
    Ok(Plan { alone, folder: folder.to_path_buf(), source, prompts, publishes })
}

/// What `keyward prompts new` writes.
pub const STARTER: &str = r#"---
# What the prompt does, in a sentence: callers see it.
description: Says hello
# Which model answers; without this line, the one in keyward.toml (`[prompts] model`), or simulator/echo.
# model: openai/gpt-4o-mini
config:
  temperature: 0.7
# The variables, each as `name: type, description`; `name?` may be left out.
input:
  schema:
    name: string, whom to greet
    language?: string, in which language
  default:
    language: English
# With a schema the answer is JSON that fits it; without one it is text.
# output:
#   schema:
#     greeting: string
---
{{role "system"}}You greet people in {{language}}, in one sentence.
{{role "user"}}Greet {{name}}.
"#;

/// The file's text with a field of its front matter set; a file without front matter gets one.
pub fn with_field(source: &str, field: &str, value: &str) -> String {
    let line = format!("{field}: {}", scalar(value));
    // The mark that some editors begin a file with stays before all else.
    let (mark, source) = source.strip_prefix('\u{feff}').map_or(("", source), |rest| ("\u{feff}", rest));
    let lines: Vec<&str> = source.lines().collect();
    let Some((begin, end)) = front(&lines) else { return format!("{mark}---\n{line}\n---\n{source}") };
    let mut changed: Vec<&str> = lines.clone();
    match lines.iter().take(end).skip(begin).position(|line| sets(line, field)) {
        Some(at) => changed.splice(begin + at..=begin + at, [line.as_str()]),
        None => changed.splice(end..end, [line.as_str()]),
    };
    format!("{mark}{}\n", changed.join("\n"))
}

/// The file's text without a field of its front matter.
fn without_field(source: &str, field: &str) -> String {
    let lines: Vec<&str> = source.lines().collect();
    let Some((begin, end)) = front(&lines) else { return source.to_owned() };
    let kept = lines.iter().enumerate().filter(|(at, line)| !((begin..end).contains(at) && sets(line, field)));
    kept.map(|(_, line)| *line).collect::<Vec<_>>().join("\n") + "\n"
}

/// Where the front matter begins and ends.
fn front(lines: &[&str]) -> Option<(usize, usize)> {
    let is_fence = |line: &&str| line.trim_start_matches('\u{feff}').trim_end() == "---";
    let begin = lines.iter().position(is_fence)?;
    let is_front = lines.iter().take(begin).all(|line| line.trim().is_empty() || line.trim_start_matches('\u{feff}').starts_with('#'));
    let end = begin + 1 + lines.get(begin + 1..)?.iter().position(is_fence)?;
    is_front.then_some((begin, end))
}

fn sets(line: &str, field: &str) -> bool {
    line.strip_prefix(field).is_some_and(|rest| rest.trim_start().starts_with(':'))
}

/// A text as YAML: as it is where it is read so, or else in quotes.
fn scalar(value: &str) -> String {
    match yaml::read::<serde_json::Value>(value, 1) {
        Ok(serde_json::Value::String(read)) if read == value => read,
        Ok(serde_json::Value::Number(number)) if number.to_string() == value => number.to_string(),
        // A text of JSON is one of YAML.
        _ => serde_json::Value::from(value).to_string(),
    }
}

// === impl Plan ===

impl Plan {
    /// `name@version` of what is changed.
    pub fn label(&self) -> &str {
        &self.source.label
    }

    /// Whether it publishes a version, be it by what its file says.
    pub fn publishes(&self) -> bool {
        self.publishes
    }

    /// Makes it, and the folder of a first file; the file is the old one or the new one at every moment.
    pub fn make(self) -> Result<Source, EditError> {
        let Plan { alone, folder, source, prompts, .. } = self;
        let _alone = alone.map_or_else(|| made_for(&folder, &source.path), Ok)?;
        let written = shelf::put(&source.path, &source.text);
        written.map_err(|e| EditError::failed(format!("{} cannot be written: {e}", source.path.display())))?;
        prompts.note(&folder, &source.label).map_err(|fault| EditError::failed(fault.to_string()))?;
        Ok(source)
    }
}

// === impl Removal ===

impl Removal {
    /// `name@version` of what goes.
    pub fn label(&self) -> &str {
        &self.source.label
    }

    /// Removes the file.
    pub fn make(self) -> Result<Source, EditError> {
        let path = &self.source.path;
        std::fs::remove_file(path).map_err(|e| EditError::failed(format!("{} cannot be removed: {e}", path.display())))?;
        Ok(self.source)
    }
}

// === impl Step ===

impl Step {
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
        let is_plain = |text: &String| !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.@".contains(c));
        match successor.as_ref().filter(|successor| !is_plain(successor)) {
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

    /// The fields of the front matter that it sets.
    pub fn fields(&self) -> Vec<(&'static str, String)> {
        match self {
            Step::Publish => vec![("keyward.state", "published".to_owned())],
            Step::Retire => vec![("keyward.state", "retired".to_owned())],
            Step::Deprecate { sunset, successor } => {
                let now = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
                let mut fields = vec![("keyward.state", "deprecated".to_owned()), ("keyward.deprecated", now)];
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
        let (EditError::NotFound(message)
        | EditError::Exists(message)
        | EditError::Wrong(message)
        | EditError::Disk(DiskError::Locked(message) | DiskError::Failed(message))) = self;
        f.write_str(message)
    }
}

impl std::error::Error for EditError {}
