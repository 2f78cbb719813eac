//! Changes to prompts: the files are the truth, and the command line and the management API change them by the same functions.

use std::fmt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::Prompts;
use crate::config::hint;
use crate::shelf::{self, Misfile};

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
    Disk(String),
}

/// Makes a prompt's first file, as a draft.
pub fn create(folder: &Path, name: &str, text: &str) -> Result<Source, EditError> {
    let path = folder.join(format!("{}.prompt", checked(name)?));
    if path.exists() {
        return Err(EditError::Exists(format!("{} is there already: change it, or take another name", path.display())));
    }
    put(folder, &path, text)
}

/// Writes a version's file, new or in the place of what it was; a published one does not change.
pub fn write(folder: &Path, label: &str, text: &str) -> Result<Source, EditError> {
    match source(folder, label) {
        Ok(known) => put(folder, &known.path, text),
        Err(EditError::NotFound(_)) => put(folder, &folder.join(format!("{}.prompt", checked(label)?)), text),
        Err(other) => Err(other),
    }
}

/// Takes a prompt a step on: the version that is named, or the newest.
pub fn step(folder: &Path, name: &str, step: &Step) -> Result<Source, EditError> {
    let prompts = Prompts::read(folder);
    let known = found(&prompts, name)?;
    // What is served may be what was published, and not what is in the file.
    if let Some(fault) = fault_of(&prompts, &known.path) {
        return Err(EditError::Wrong(format!("{fault}; nothing was changed")));
    }
    let text = step.fields().iter().fold(known.text, |text, (field, value)| with_field(&text, field, value));
    put(folder, &known.path, &text)
}

/// The file of a prompt: of the version that is named, or of the newest.
pub fn source(folder: &Path, name: &str) -> Result<Source, EditError> {
    found(&Prompts::read(folder), name)
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
        Some(version) => version.parse().ok().and_then(|version: u32| versions.get(&version)),
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
    let is_version = version.is_none_or(|version| version.parse::<u32>().is_ok_and(|version| version > 0));
    match is_name && is_version && name.len() <= 100 {
        true => Ok(label),
        false => {
            Err(EditError::Wrong(format!("'{label}' is no name for a prompt: use letters, digits and '-', such as 'hello' or 'hello@2'")))
        }
    }
}

/// Puts a text into a file if all in the folder is right with it; the file is the old one or the new one at every moment.
fn put(folder: &Path, path: &Path, text: &str) -> Result<Source, EditError> {
    let file = path.display().to_string();
    let prompts = Prompts::with(folder, path, text).map_err(|fault| EditError::Wrong(format!("{fault}; nothing was changed")))?;
    if let Some(fault) = fault_of(&prompts, path) {
        return Err(EditError::Wrong(format!("{fault}; nothing was changed")));
    }
    let label = prompts.label_of(path).ok_or_else(|| EditError::Wrong(format!("{file} would be no prompt")))?;
    let written = std::fs::create_dir_all(folder).and_then(|()| shelf::put(path, text));
    written.map_err(|e| EditError::Disk(format!("{file} cannot be written: {e}")))?;
    // What is published is written down by this.
    Prompts::read(folder);
    Ok(Source { label, path: path.to_path_buf(), text: text.to_owned() })
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
    let line = format!("{field}: {value}");
    let lines: Vec<&str> = source.lines().collect();
    let is_fence = |line: &&str| line.trim_end() == "---";
    let begin = lines.iter().position(is_fence).filter(|begin| lines[..*begin].iter().all(|l| l.trim().is_empty() || l.starts_with('#')));
    let end = begin.and_then(|begin| Some(begin + 1 + lines.get(begin + 1..)?.iter().position(is_fence)?));
    let (Some(begin), Some(end)) = (begin, end) else { return format!("---\n{line}\n---\n{source}") };
    let is_field = |line: &&str| line.strip_prefix(field).is_some_and(|rest| rest.trim_start().starts_with(':'));
    let mut changed: Vec<&str> = lines.clone();
    match lines.iter().take(end).skip(begin).position(is_field) {
        Some(at) => changed.splice(begin + at..=begin + at, [line.as_str()]),
        None => changed.splice(end..end, [line.as_str()]),
    };
    changed.join("\n") + "\n"
}

// === impl Step ===

impl Step {
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

impl fmt::Display for EditError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (EditError::NotFound(message) | EditError::Exists(message) | EditError::Wrong(message) | EditError::Disk(message)) = self;
        f.write_str(message)
    }
}

impl std::error::Error for EditError {}
