//! `keyward prompts …`

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Subcommand;

use super::{CliError, output};
use crate::config::{Config, hint};
use crate::prompt::{Prompts as Shelved, edit};

/// Write, check and publish prompts
#[derive(Subcommand)]
pub enum Prompts {
    /// Write a file to start from
    New {
        /// The prompt's name
        name: String,
    },
    /// List the prompts
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Say what is wrong in which file and line
    Check,
    /// Publish a prompt: from then on its version does not change
    Publish {
        /// The prompt, as NAME or NAME@VERSION
        name: String,
    },
    /// Tell callers that a prompt will go
    Deprecate {
        /// The prompt, as NAME or NAME@VERSION
        name: String,
        /// When it goes: a day or time, UTC
        #[arg(long)]
        sunset: Option<String>,
        /// What to call instead
        #[arg(long)]
        successor: Option<String>,
    },
    /// Serve a prompt no longer: 410
    Retire {
        /// The prompt, as NAME or NAME@VERSION
        name: String,
    },
}

// === impl Prompts ===

impl Prompts {
    /// Works on the files; a running gateway sees what changed within a second.
    pub fn run(self, config: &Config) -> Result<ExitCode, CliError> {
        let folder = &config.prompts.folder;
        match self {
            Prompts::New { name } => new(folder, &name)?,
            Prompts::List { json } => list(folder, json)?,
            Prompts::Check => return check(folder),
            Prompts::Publish { name } => set(folder, &name, &[("keyward.state", "published")])?,
            Prompts::Retire { name } => set(folder, &name, &[("keyward.state", "retired")])?,
            Prompts::Deprecate { name, sunset, successor } => {
                let mut fields = vec![("keyward.state", "deprecated")];
                fields.extend(sunset.as_deref().map(|sunset| ("keyward.sunset", sunset)));
                fields.extend(successor.as_deref().map(|successor| ("keyward.successor", successor)));
                set(folder, &name, &fields)?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn new(folder: &Path, name: &str) -> Result<(), CliError> {
    if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') {
        return Err(format!("'{name}' is no name for a prompt: use letters, digits and '-'").into());
    }
    std::fs::create_dir_all(folder).map_err(|e| format!("the folder {} cannot be made: {e}", folder.display()))?;
    let path = folder.join(format!("{name}.prompt"));
    let file = std::fs::OpenOptions::new().write(true).create_new(true).open(&path);
    file.and_then(|mut file| std::io::Write::write_all(&mut file, edit::STARTER.as_bytes()))
        .map_err(|e| format!("{} cannot be written: {e}", path.display()))?;
    output::print(&format!("{} is there, as a draft: change it, then 'keyward prompts publish {name}'.\n", path.display()))
}

fn list(folder: &Path, json: bool) -> Result<(), CliError> {
    let prompts = Shelved::read(folder, None);
    if json {
        let row = |prompt: &std::sync::Arc<crate::prompt::Prompt>| serde_json::json!({ "name": prompt.name, "version": prompt.version, "state": prompt.state.as_str(), "description": prompt.front.description });
        return output::json(&prompts.all().map(row).collect::<Vec<_>>());
    }
    let row = |prompt: &std::sync::Arc<crate::prompt::Prompt>| {
        vec![prompt.label(), prompt.state.as_str().to_owned(), prompt.front.description.clone().unwrap_or_default()]
    };
    output::table(&["PROMPT", "STATE", "DESCRIPTION"], &prompts.all().map(row).collect::<Vec<_>>())
}

fn check(folder: &Path) -> Result<ExitCode, CliError> {
    let prompts = Shelved::read(folder, None);
    for fault in prompts.faults() {
        output::print(&format!("{}:{}: {}\n", fault.file, fault.line, fault.message))?;
    }
    if prompts.faults().is_empty() {
        output::print(&format!("{} prompts in {} are right.\n", prompts.all().count(), folder.display()))?;
        return Ok(ExitCode::SUCCESS);
    }
    Ok(ExitCode::FAILURE)
}

/// Sets fields in a prompt's file, and writes down what is published.
fn set(folder: &Path, name: &str, fields: &[(&str, &str)]) -> Result<(), CliError> {
    let (label, path) = file_of(folder, name)?;
    let text = std::fs::read_to_string(&path)?;
    let changed = fields.iter().fold(text.clone(), |text, (field, value)| edit::with_field(&text, field, value));
    std::fs::write(&path, changed).map_err(|e| format!("{} cannot be written: {e}", path.display()))?;
    let file = path.display().to_string();
    if let Some(fault) = Shelved::read(folder, None).faults().iter().find(|fault| fault.file == file) {
        let message = format!("{file}:{}: {}; nothing was changed", fault.line, fault.message);
        std::fs::write(&path, text)?;
        return Err(message.into());
    }
    let said: Vec<String> = fields.iter().map(|(field, value)| format!("{field}: {value}")).collect();
    output::print(&format!("{label} has {} now, in {file}.\n", said.join(", ")))
}

/// The file of a prompt: of the version that is named, or of the newest.
fn file_of(folder: &Path, name: &str) -> Result<(String, PathBuf), CliError> {
    let prompts = Shelved::read(folder, None);
    let (base, version) = name.split_once('@').map_or((name, None), |(base, version)| (base, Some(version)));
    let versions = prompts.versions(base).ok_or_else(|| {
        let near = hint::nearest(base, prompts.names()).map_or_else(String::new, |near| format!("; did you mean '{near}'?"));
        format!("there is no prompt '{base}' in {}{near} 'keyward prompts check' names the files that are wrong", folder.display())
    })?;
    let found = match version {
        Some(version) => version.parse().ok().and_then(|version: u32| versions.get(&version)),
        None => versions.values().next_back(),
    };
    let prompt = found.ok_or_else(|| format!("there is no version '{name}'"))?;
    let path = prompts.file_of(prompt).ok_or_else(|| format!("'{name}' has no file"))?;
    Ok((prompt.label(), path.to_path_buf()))
}
