//! Changes to prompts: the files are the truth, and the command line and the management API change them by the same functions.

use std::fs::File;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::{Prompts, State, examples};
use crate::admin::change::key_in_reference;
use crate::config::hint;
use crate::shelf::{self, Misfile};
use crate::steps::{Compared, EditError, Step, alone, away, exists, made_for, meant, one_alone, succeeds};
use crate::versions;
use crate::yaml;

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
    /// The fields that a step sets.
    said: Vec<(&'static str, String)>,
}

/// A draft that is to go; until it does, or the plan is dropped, all others wait.
#[derive(Debug)]
pub struct Removal {
    _alone: File,
    source: Source,
}

/// Plans a prompt's first file, as a draft: nothing is written before the plan is made.
pub fn create(folder: &Path, name: &str, text: &str) -> Result<Plan, EditError> {
    no_key(name)?;
    let alone = alone(folder)?;
    let path = folder.join(format!("{}.prompt", checked(name)?));
    if path.exists() {
        return Err(EditError::Exists(exists(&path)));
    }
    plan(alone, folder, &path, text)
}

/// Plans a version's file, new or in the place of what it was; a published one does not change.
pub fn write(folder: &Path, label: &str, text: &str) -> Result<Plan, EditError> {
    no_key(label)?;
    let alone = alone(folder)?;
    let prompts = Prompts::read(folder);
    one_alone(&prompts, label)?;
    match found(&prompts, label) {
        Ok(known) => plan(alone, folder, &known.path, text),
        Err(EditError::NotFound(_)) => plan(alone, folder, &folder.join(format!("{}.prompt", checked(label)?)), text),
        Err(other) => Err(other),
    }
}

/// Plans a step of a prompt: of the version that is named, or of the newest draft to be published, or of what callers get today.
pub fn step(folder: &Path, name: &str, step: &Step) -> Result<Plan, EditError> {
    // What is published already can be taken back.
    if *step == Step::Publish {
        no_key(name)?;
    }
    let alone = alone(folder)?.ok_or_else(|| away(folder, "prompt", name))?;
    let (prompts, now) = (Prompts::read(folder), Timestamp::now());
    // A name that there is not is told as such.
    found(&prompts, name)?;
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
        succeeds(&prompts, "prompt", &**prompt, successor, now)?;
    }
    let text = step.cleared().iter().fold(known.text, |text, field| without_field(&text, field));
    let said = step.fields(&prompt.life);
    let text = said.iter().fold(text, |text, (field, value)| with_field(&text, field, value));
    let plan = plan(Some(alone), folder, &known.path, &text)?;
    Ok(Plan { said, ..plan })
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
    no_key(name)?;
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
    Ok(Plan { alone, folder: folder.to_path_buf(), source, prompts, publishes: false, said: Vec::new() })
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

/// A name that is a key would be in lists, the ledger and the audit list for good.
fn no_key(label: &str) -> Result<(), EditError> {
    key_in_reference(label).map_or(Ok(()), |why| Err(EditError::Named(why)))
}

/// A name, or a name and a version, that can be a file's.
fn checked(label: &str) -> Result<&str, EditError> {
    let (name, version) = label.split_once('@').map_or((label, None), |(name, version)| (name, Some(version)));
    let is_name =
        name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    let is_version = version.is_none_or(|version| versions::number(version).is_some());
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
    Ok(Plan { alone, folder: folder.to_path_buf(), source, prompts, publishes, said: Vec::new() })
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

    /// Whether there is no file of the version yet.
    pub fn is_new(&self) -> bool {
        !self.source.path.exists()
    }

    /// Whether it publishes a version, be it by what its file says.
    pub fn publishes(&self) -> bool {
        self.publishes
    }

    /// The fields of its front matter that the step sets.
    pub fn said(&self) -> &[(&'static str, String)] {
        &self.said
    }

    /// Makes it, and the folder of a first file; the file is the old one or the new one at every moment.
    pub fn make(self) -> Result<Source, EditError> {
        let Plan { alone, folder, source, prompts, .. } = self;
        let _alone = alone.map_or_else(|| made_for(&folder, [&source.path]), Ok)?;
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
