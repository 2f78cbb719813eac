//! The prompts of a folder, by name and version; what is published once does not change.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;

use super::dotprompt::{Fault, Template};
use super::entry::{self, Prompt};
use super::published::{self, Known, Published};
use crate::life::State;
use crate::shelf::{self, Misfile, Moving, Reading, Seen, seen};

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
    /// What was read, for files that are being written when they are looked at again.
    texts: BTreeMap<PathBuf, String>,
    known: Known,
    /// What is published could not be noted.
    is_unnoted: bool,
}

type Texts = BTreeMap<PathBuf, io::Result<String>>;

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
        // What is noted of published versions too.
        ending == "prompt" || ending == "json"
    }

    fn read_files(&self, files: &Seen, moving: &Moving, before: Option<&Prompts>) -> Prompts {
        Prompts::read_files(&self.0, files, moving, before)
    }

    fn is_unsettled(prompts: &Prompts) -> bool {
        prompts.is_unnoted
    }

    fn faults(prompts: &Prompts) -> &[Misfile] {
        prompts.faults()
    }
}

// === impl Prompts ===

impl Prompts {
    /// Reads a folder. What is published is written down.
    pub fn read(folder: &Path) -> Prompts {
        Prompts::read_files(folder, &seen::<Folder>(folder), &Moving::new(), None)
    }

    fn read_files(folder: &Path, files: &Seen, moving: &Moving, before: Option<&Prompts>) -> Prompts {
        let text = |path: &PathBuf| match moving.contains(path) {
            true => before?.texts.get(path).cloned().map(Ok),
            false => Some(std::fs::read_to_string(path)),
        };
        let texts = files.keys().filter(|path| is_prompt(path)).filter_map(|path| Some((path.clone(), text(path)?))).collect();
        let noted = published::read(folder);
        let mut known = noted.as_ref().map_or_else(|_| Known::new(), Known::clone);
        // Whatever has happened to the file, this process knows what it has served.
        known.extend(before.map(|before| before.known.clone()).unwrap_or_default());
        let mut prompts = Prompts::of(folder, texts, known, before);
        match noted {
            Ok(noted) if noted == prompts.known => {}
            Ok(_) => {
                let written = published::write(folder, &prompts.known);
                prompts.is_unnoted = written.is_err();
                prompts.faults.extend(written.err());
            }
            Err(fault) => prompts.faults.push(fault),
        }
        prompts
    }

    /// What the folder would be with this text in a file: nothing is written.
    pub fn with(folder: &Path, file: &Path, text: &str) -> Result<Prompts, Misfile> {
        let others = seen::<Folder>(folder).into_keys().filter(|path| path != file && is_prompt(path));
        let mut texts: Texts = others.map(|path| (path.clone(), std::fs::read_to_string(path))).collect();
        texts.insert(file.to_path_buf(), Ok(text.to_owned()));
        Ok(Prompts::of(folder, texts, published::read(folder)?, None))
    }

    fn of(folder: &Path, files: Texts, known: Known, before: Option<&Prompts>) -> Prompts {
        let mut prompts = Prompts { known, ..Prompts::default() };
        let mut partials = BTreeMap::new();
        let mut files_of_prompts = Vec::new();
        for (path, text) in files {
            let text = match text {
                Ok(text) => text,
                Err(error) => {
                    prompts.faults.push(Misfile::at(&path, 1, format!("it cannot be read: {error}")));
                    continue;
                }
            };
            prompts.texts.insert(path.clone(), text.clone());
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            match name.strip_prefix('_').and_then(|name| name.strip_suffix(".prompt")) {
                Some(partial) => drop(partials.insert(partial.to_owned(), text.trim_start_matches('\u{feff}').replace("\r\n", "\n"))),
                None => files_of_prompts.push((path, text)),
            }
        }
        for (name, text) in &partials {
            if let Err(fault) = Template::compile(text, 1, &partials) {
                prompts.faults.push(Misfile::at(&folder.join(format!("_{name}.prompt")), fault.line, fault.message));
            }
        }
        let mut read: Vec<(PathBuf, Result<Prompt, Fault>)> =
            files_of_prompts.into_iter().map(|(path, text)| (path.clone(), read_one(&path, &text, &partials))).collect();
        // Of two files with one label, the one that was published holds, and a published one before a draft.
        read.sort_by_key(|(_, prompt)| prompt.as_ref().map_or(3, |prompt| prompts.rank(prompt)));
        for (path, prompt) in read {
            match prompt.and_then(|prompt| prompts.check(&prompt).map(|()| prompt)) {
                Ok(prompt) => {
                    if prompt.life.state != State::Draft {
                        prompts.known.insert(prompt.label(), Published::of(&prompt, &path));
                    }
                    prompts.put(path, Arc::new(prompt));
                }
                Err(fault) => {
                    prompts.faults.push(Misfile::at(&path, fault.line, fault.message));
                    if let Some(last_good) =
                        before.and_then(|before| before.files.get(&path)).filter(|prompt| !prompts.has(prompt)).cloned()
                    {
                        prompts.put(path, last_good);
                    }
                }
            }
        }
        prompts.keep(folder, before);
        prompts
    }

    /// Goes on with what was published of files that are wrong now, or are something else.
    fn keep(&mut self, folder: &Path, before: Option<&Prompts>) {
        for (label, published) in self.known.clone() {
            let Some(path) = published.file.as_ref().map(|file| folder.join(file)).filter(|path| self.texts.contains_key(path)) else {
                continue;
            };
            let is_it = |prompt: &&Arc<Prompt>| prompt.label() == label && prompt.hash == published.hash;
            if self.all().any(|prompt| prompt.label() == label) {
                continue;
            }
            let served = before.and_then(|before| before.all().find(is_it)).cloned();
            let Some(prompt) = served.or_else(|| published.prompt(&label).map(Arc::new)) else { continue };
            if self.files.contains_key(&path) && prompt.life.state != State::Retired {
                let message =
                    format!("'{label}' was published of this file, which is another version now: put that one into a file of its own");
                self.faults.push(Misfile::at(&path, 1, message));
            }
            self.by_name.entry(prompt.name.clone()).or_default().insert(prompt.version, Arc::clone(&prompt));
            self.files.entry(path).or_insert(prompt);
        }
    }

    fn rank(&self, prompt: &Prompt) -> u8 {
        match (prompt.life.state, self.known.get(&prompt.label())) {
            (State::Draft, _) => 2,
            (_, Some(published)) if published.hash == prompt.hash => 0,
            _ => 1,
        }
    }

    fn has(&self, prompt: &Prompt) -> bool {
        self.versions(&prompt.name).is_some_and(|versions| versions.contains_key(&prompt.version))
    }

    /// Whether a prompt may be one of these.
    fn check(&self, prompt: &Prompt) -> Result<(), Fault> {
        let label = prompt.label();
        if self.has(prompt) {
            return Err(Fault::at(1, format!("another file is '{label}' already: give this one another 'keyward.version'")));
        }
        match self.known.get(&label) {
            Some(published) if published.hash != prompt.hash => Err(Fault::at(
                1,
                format!(
                    "'{label}' is published and must not change: undo the change, or put it into {}@{}.prompt as the next version",
                    prompt.name,
                    prompt.version.saturating_add(1)
                ),
            )),
            Some(_) if prompt.life.state == State::Draft => {
                Err(Fault::at(1, format!("'{label}' is published and can be no draft again: 'keyward prompts retire {label}' ends it")))
            }
            _ => Ok(()),
        }
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

fn read_one(path: &Path, text: &str, partials: &BTreeMap<String, String>) -> Result<Prompt, Fault> {
    let is_name = |name: &str| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
    let (name, version) = entry::named(path).filter(|(name, _)| is_name(name)).ok_or_else(|| {
        Fault::at(1, "the file's name is none: it is NAME.prompt, NAME.VARIANT.prompt or NAME@2.prompt, of letters, digits, '-' and '_'")
    })?;
    Prompt::read(&name, version, text, partials)
}

fn is_prompt(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending == "prompt")
}
