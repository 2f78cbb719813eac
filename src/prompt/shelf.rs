//! The prompts of a folder, by name and version; what is published once does not change.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;

use super::dotprompt::Fault;
use super::entry::{self, Prompt};
use crate::life::State;
use crate::shelf::{self, Misfile, Reading, Seen, seen};

/// All prompts of a folder, as they are now.
pub type Shelf = shelf::Shelf<Folder>;

/// Where prompts are.
#[derive(Debug)]
pub struct Folder(PathBuf);

/// What was read of a folder.
#[derive(Debug, Default)]
pub struct Prompts {
    files: BTreeMap<PathBuf, Arc<Prompt>>,
    by_name: BTreeMap<String, BTreeMap<u32, Arc<Prompt>>>,
    faults: Vec<Misfile>,
}

/// What each published version was, so that it stays so over restarts.
const PUBLISHED: &str = ".published.json";

// === impl Shelf ===

impl Shelf {
    /// Reads a folder; where there is none, there are no prompts.
    pub fn open(folder: &Path) -> Shelf {
        Shelf::of(Folder(folder.to_path_buf()))
    }

    /// The prompts that hold now.
    pub fn prompts(&self) -> Arc<Prompts> {
        self.now()
    }
}

// === impl Folder ===

impl Reading for Folder {
    type Found = Prompts;

    fn folder(&self) -> &Path {
        &self.0
    }

    fn is_ours(ending: &str) -> bool {
        ending == "prompt"
    }

    fn read_files(&self, files: &Seen, before: Option<&Prompts>) -> Prompts {
        Prompts::read_files(&self.0, files, before)
    }

    fn faults(prompts: &Prompts) -> &[Misfile] {
        prompts.faults()
    }
}

// === impl Prompts ===

impl Prompts {
    /// Reads a folder. What is published is written down.
    pub fn read(folder: &Path) -> Prompts {
        Prompts::read_files(folder, &seen::<Folder>(folder), None)
    }

    fn read_files(folder: &Path, files: &Seen, before: Option<&Prompts>) -> Prompts {
        let texts = files.keys().map(|path| (path.clone(), std::fs::read_to_string(path))).collect();
        let (prompts, known) = Prompts::of(folder, texts, before);
        if known != published(folder)
            && let Ok(text) = serde_json::to_string_pretty(&known)
            && let Err(error) = std::fs::write(folder.join(PUBLISHED), text + "\n")
        {
            tracing::warn!(%error, "{} cannot be written: a published prompt that changes is not noticed after a restart", folder.join(PUBLISHED).display());
        }
        prompts
    }

    /// What the folder would be with this text in a file: nothing is written.
    pub fn with(folder: &Path, file: &Path, text: &str) -> Prompts {
        let others = seen::<Folder>(folder).into_keys().filter(|path| path != file);
        let mut texts: BTreeMap<PathBuf, io::Result<String>> = others.map(|path| (path.clone(), std::fs::read_to_string(path))).collect();
        texts.insert(file.to_path_buf(), Ok(text.to_owned()));
        Prompts::of(folder, texts, None).0
    }

    fn of(folder: &Path, files: BTreeMap<PathBuf, io::Result<String>>, before: Option<&Prompts>) -> (Prompts, Hashes) {
        let mut prompts = Prompts::default();
        let mut partials = BTreeMap::new();
        let mut texts = Vec::new();
        for (path, text) in files {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            match (text, name.strip_prefix('_').and_then(|name| name.strip_suffix(".prompt"))) {
                (Ok(text), Some(partial)) => drop(partials.insert(partial.to_owned(), text.replace("\r\n", "\n"))),
                (Ok(text), None) => texts.push((path.clone(), text)),
                (Err(error), _) => prompts.faults.push(Misfile::at(&path, 1, format!("it cannot be read: {error}"))),
            }
        }
        let mut known = published(folder);
        for (path, text) in texts {
            match read_one(&path, &text, &partials, &mut known, &prompts.by_name) {
                Ok(prompt) => prompts.put(path, Arc::new(prompt)),
                Err(fault) => {
                    prompts.faults.push(Misfile::at(&path, fault.line, fault.message));
                    if let Some(last_good) = before.and_then(|before| before.files.get(&path)).cloned() {
                        prompts.put(path, last_good);
                    }
                }
            }
        }
        (prompts, known)
    }

    /// The files that cannot be used.
    pub fn faults(&self) -> &[Misfile] {
        &self.faults
    }

    /// All, by name and version.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Prompt>> {
        self.by_name.values().flat_map(BTreeMap::values)
    }

    /// The names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.by_name.keys().map(String::as_str)
    }

    /// The versions of a name.
    pub fn versions(&self, name: &str) -> Option<&BTreeMap<u32, Arc<Prompt>>> {
        self.by_name.get(name)
    }

    /// The version for a call that names none: by weight where versions have any, else the newest that is published, or was; a draft is called by its version alone.
    ///
    /// `chance` is a number from 0 to 1 that says which, by weight.
    pub fn choose(&self, name: &str, now: Timestamp, chance: f64) -> Option<&Arc<Prompt>> {
        let versions = self.versions(name)?;
        let is = |state: State| move |prompt: &&Arc<Prompt>| prompt.state_at(now) == state;
        let weighed: Vec<&Arc<Prompt>> =
            versions.values().filter(is(State::Published)).filter(|prompt| prompt.weight.is_some_and(|weight| weight > 0)).collect();
        let total: u32 = weighed.iter().filter_map(|prompt| prompt.weight).fold(0, u32::saturating_add);
        let mut left = chance * f64::from(total);
        for prompt in &weighed {
            left -= f64::from(prompt.weight.unwrap_or(0));
            if left < 0.0 {
                return Some(prompt);
            }
        }
        let newest = |state| versions.values().rev().find(is(state));
        newest(State::Published).or_else(|| newest(State::Deprecated)).or_else(|| newest(State::Retired))
    }

    /// The file that a prompt was read of.
    pub fn file_of(&self, prompt: &Prompt) -> Option<&Path> {
        self.files.iter().find(|(_, other)| other.label() == prompt.label()).map(|(path, _)| path.as_path())
    }

    /// `name@version` of what is in a file.
    pub fn label_of(&self, file: &Path) -> Option<String> {
        self.files.get(file).map(|prompt| prompt.label())
    }

    fn put(&mut self, path: PathBuf, prompt: Arc<Prompt>) {
        self.by_name.entry(prompt.name.clone()).or_default().insert(prompt.version, Arc::clone(&prompt));
        self.files.insert(path, prompt);
    }
}

type Hashes = BTreeMap<String, String>;

fn read_one(
    path: &Path,
    text: &str,
    partials: &BTreeMap<String, String>,
    published: &mut Hashes,
    others: &BTreeMap<String, BTreeMap<u32, Arc<Prompt>>>,
) -> Result<Prompt, Fault> {
    let is_name = |name: &str| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
    let (name, version) = entry::named(path).filter(|(name, _)| is_name(name)).ok_or_else(|| {
        Fault::at(1, "the file's name is none: it is NAME.prompt, NAME.VARIANT.prompt or NAME@2.prompt, of letters, digits, '-' and '_'")
    })?;
    let prompt = Prompt::read(&name, version, text, partials)?;
    let label = prompt.label();
    if others.get(&name).is_some_and(|versions| versions.contains_key(&prompt.version)) {
        return Err(Fault::at(1, format!("another file is '{label}' already: give this one another 'keyward.version'")));
    }
    if prompt.life.state == State::Draft {
        return Ok(prompt);
    }
    match published.get(&label) {
        Some(hash) if *hash != prompt.hash => Err(Fault::at(
            1,
            format!(
                "'{label}' is published and must not change: undo the change, or put it into {name}@{}.prompt as the next version",
                prompt.version.saturating_add(1)
            ),
        )),
        Some(_) => Ok(prompt),
        None => {
            published.insert(label, prompt.hash.clone());
            Ok(prompt)
        }
    }
}

fn published(folder: &Path) -> Hashes {
    std::fs::read(folder.join(PUBLISHED)).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default()
}
