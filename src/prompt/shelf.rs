//! The prompts of a folder, by name and version; what is published once does not change.

mod check;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;

use super::dotprompt::{Fault, Template};
use super::entry::{self, Prompt};
use super::published::{self, Known, Published};
use crate::life::State;
use crate::shelf::{self, Misfile, Moving, Reading, Seen, seen_first};
use crate::versions::{Versions, labels};

/// All prompts of a folder, as they are now.
pub type Shelf = shelf::Shelf<Folder>;

/// Where prompts are.
#[derive(Debug)]
pub struct Folder(PathBuf);

/// What was read of a folder.
#[derive(Debug, Default)]
pub struct Prompts {
    files: BTreeMap<PathBuf, Arc<Prompt>>,
    versions: Versions<Prompt>,
    faults: Vec<Misfile>,
    /// What was read, for files that are being written when they are looked at again.
    texts: BTreeMap<PathBuf, String>,
    /// Files that are there and could not be read.
    unread: BTreeSet<PathBuf>,
    /// Files that go on with the partials that they were published with.
    with_old_partials: BTreeSet<PathBuf>,
    known: Known,
    /// What is published could not be noted, or not be read.
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
        prompts.is_unnoted || !prompts.unread.is_empty()
    }

    fn faults(prompts: &Prompts) -> &[Misfile] {
        prompts.faults()
    }
}

// === impl Prompts ===

impl Deref for Prompts {
    type Target = Versions<Prompt>;

    fn deref(&self) -> &Versions<Prompt> {
        &self.versions
    }
}

impl Prompts {
    /// Reads a folder, and writes nothing: what is published is noted by a gateway, and by whoever publishes.
    pub fn read(folder: &Path) -> Prompts {
        let (texts, unread) = texts(folder).map_or_else(|fault| (Texts::new(), Some(fault)), |texts| (texts, None));
        let (known, unknown) = published::read(folder).map_or_else(|fault| (Known::new(), Some(fault)), |known| (known, None));
        let mut prompts = Prompts::of(folder, texts, known, None);
        prompts.faults.extend(unread.into_iter().chain(unknown));
        prompts
    }

    fn read_files(folder: &Path, files: &Seen, moving: &Moving, before: Option<&Prompts>) -> Prompts {
        let text = |path: &PathBuf| match moving.contains(path) {
            true => before?.texts.get(path).cloned().map(Ok),
            false => Some(std::fs::read_to_string(path)),
        };
        let texts = files.keys().filter(|path| is_prompt(path)).filter_map(|path| Some((path.clone(), text(path)?))).collect();
        let noted = published::read(folder);
        let mut known = noted.as_ref().map_or_else(|_| Known::new(), Known::clone);
        if let Some(before) = before {
            before.go_on(&mut known, Timestamp::now());
        }
        let mut prompts = Prompts::of(folder, texts, known, before);
        match noted {
            Ok(noted) if noted == prompts.known => {}
            Ok(_) => {
                let written = published::write(folder, &prompts.known);
                prompts.is_unnoted = written.is_err();
                prompts.faults.extend(written.err());
            }
            Err(fault) => {
                prompts.is_unnoted = true;
                prompts.faults.push(fault);
            }
        }
        prompts
    }

    /// What is noted, as this process has served it, whatever has happened to the file since; of a retired version, that it is.
    fn go_on(&self, known: &mut Known, now: Timestamp) {
        let is_live = |noted: Option<&Published>| noted.is_none_or(|noted| !noted.retired);
        for (label, published) in &self.known {
            let served = label.rsplit_once('@').and_then(|(name, version)| self.version(name, version));
            let retired = published.retired || served.is_some_and(|prompt| prompt.state_at(now) == State::Retired);
            if is_live(known.get(label)) {
                known.insert(label.clone(), Published { retired, ..published.clone() });
            }
        }
    }

    /// Notes a version as it is published here.
    pub fn note(&self, folder: &Path, label: &str) -> Result<(), Misfile> {
        let mut noted = published::read(folder)?;
        match self.known.get(label) {
            Some(published) if noted.get(label) != Some(published) => {
                noted.insert(label.to_owned(), published.clone());
                published::write(folder, &noted)
            }
            _ => Ok(()),
        }
    }

    /// What the folder would be with this text in a file: nothing is written.
    pub fn with(folder: &Path, file: &Path, text: &str) -> Result<Prompts, Misfile> {
        let mut texts = texts(folder)?;
        texts.insert(file.to_path_buf(), Ok(text.to_owned()));
        Ok(Prompts::of(folder, texts, published::read(folder)?, None))
    }

    fn of(folder: &Path, files: Texts, known: Known, before: Option<&Prompts>) -> Prompts {
        let noted = known.clone();
        let mut prompts = Prompts { known, ..Prompts::default() };
        let mut partials = BTreeMap::new();
        let mut files_of_prompts = Vec::new();
        for (path, text) in files {
            let text = match text {
                Ok(text) => text,
                Err(error) => {
                    prompts.faults.push(Misfile::at(&path, 1, format!("it cannot be read: {error}")));
                    prompts.unread.insert(path.clone());
                    // It is as it was, until it can be read again.
                    let Some(text) = before.and_then(|before| before.texts.get(&path)) else { continue };
                    text.clone()
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
        let mut read: Vec<(PathBuf, Result<Prompt, Fault>)> = Vec::new();
        for (path, text) in files_of_prompts {
            let prompt = read_one(&path, &text, &partials).or_else(|fault| prompts.with_partials_of_then(&path, &text, fault));
            read.push((path, prompt));
        }
        // Of two files with one label, the one that was published holds, and a published one before a draft.
        read.sort_by_key(|(_, prompt)| prompt.as_ref().map_or(3, |prompt| prompts.rank(prompt)));
        for (path, prompt) in read {
            let prompt = prompt.map(|prompt| prompts.as_published(&path, prompt));
            match prompt.and_then(|prompt| prompts.check(&prompt).map(|()| prompt)) {
                Ok(prompt) => {
                    if prompt.life.state != State::Draft {
                        prompts.known.insert(prompt.label(), Published::of(&prompt, &path, Timestamp::now()));
                    }
                    prompts.put(path, Arc::new(prompt));
                }
                Err(fault) => {
                    prompts.faults.push(Misfile::at(&path, fault.line, fault.message));
                    // What was published goes on as it was published, and neither as the draft that it was before nor beyond its end.
                    let is_past = |prompt: &Prompt| {
                        let known = prompts.known.get(&prompt.label());
                        known.is_some_and(|known| prompt.life.state == State::Draft || known.is_revived_by(prompt))
                    };
                    let last_good = before.and_then(|before| before.files.get(&path));
                    if let Some(last_good) = last_good.filter(|prompt| !prompts.has(prompt) && !is_past(prompt)).cloned() {
                        prompts.put(path, last_good);
                    }
                }
            }
        }
        prompts.keep(folder, before);
        prompts.check_weights(before, &noted);
        prompts
    }

    /// Goes on with what was published of files that are wrong now, or are something else.
    fn keep(&mut self, folder: &Path, before: Option<&Prompts>) {
        for (label, published) in self.known.clone() {
            let is_there = |path: &PathBuf| self.texts.contains_key(path) || self.unread.contains(path);
            let Some(path) = published.file.as_ref().map(|file| folder.join(file)).filter(is_there) else { continue };
            let is_it = |prompt: &&Arc<Prompt>| {
                let is_same = prompt.label() == label && prompt.hash == published.hash;
                is_same && prompt.life.state != State::Draft && !published.is_revived_by(prompt)
            };
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
            self.versions.put(Arc::clone(&prompt));
            self.files.entry(path).or_insert(prompt);
        }
    }

    /// A version whose partials alone are wrong or gone since it was published, with those that it was published with; told as a fault.
    fn with_partials_of_then(&mut self, path: &Path, text: &str, fault: Fault) -> Result<Prompt, Fault> {
        let (Some(file), Some((name, version))) = (path.file_name().and_then(|name| name.to_str()), entry::named(path)) else {
            return Err(fault);
        };
        let of_file = self.known.values().filter(|known| known.file.as_deref() == Some(file));
        let again = of_file.filter_map(|known| {
            let prompt = Prompt::read(&name, version, text, &known.partials).ok()?;
            (prompt.hash == known.hash && prompt.life.state != State::Draft).then_some(prompt)
        });
        let Some(prompt) = again.into_iter().next() else { return Err(fault) };
        let message = format!("'{}' goes on with the partials that it was published with: {}", prompt.label(), fault.message);
        self.faults.push(Misfile::at(path, fault.line, message));
        self.with_old_partials.insert(path.to_path_buf());
        Ok(prompt)
    }

    /// A version whose partials alone have changed since it was published, with those that it was published with; told as a fault.
    fn as_published(&mut self, path: &Path, prompt: Prompt) -> Prompt {
        let known = self.known.get(&prompt.label()).filter(|known| known.hash != prompt.hash);
        let Some(known) = known else { return prompt };
        let again = Prompt::read(&prompt.name, Some(prompt.version), &prompt.source, &known.partials);
        let Some(again) = again.ok().filter(|again| again.hash == known.hash && again.life.state != State::Draft) else { return prompt };
        let changed = known.partials.iter().filter(|(name, text)| prompt.partials.get(*name) != Some(*text));
        let changed: Vec<String> = changed.map(|(name, _)| format!("_{name}.prompt")).collect();
        let message = format!(
            "'{}' was published with another {}, and goes on with it as it was: undo the change there, or let the next version use another partial",
            prompt.label(),
            changed.join(" and ")
        );
        self.faults.push(Misfile::at(path, 1, message));
        self.with_old_partials.insert(path.to_path_buf());
        again
    }

    /// The files that cannot be used.
    pub fn faults(&self) -> &[Misfile] {
        &self.faults
    }

    /// The texts that prompts share, by name.
    pub fn partials(&self) -> impl Iterator<Item = (&str, &str)> {
        self.texts.iter().filter_map(|(path, text)| {
            let name = path.file_name()?.to_str()?.strip_prefix('_')?.strip_suffix(".prompt")?;
            Some((name, text.as_str()))
        })
    }

    /// What is right by itself and hardly meant, among versions that are called by one name.
    pub fn warnings(&self, now: Timestamp) -> Vec<String> {
        self.names().flat_map(|name| self.warnings_of(name, now)).collect()
    }

    /// The same of one name.
    pub fn warnings_of(&self, name: &str, now: Timestamp) -> Vec<String> {
        let (sharing, idle) = (self.sharing(name, now), self.idle(name, now));
        let mut warnings = Vec::new();
        if !idle.is_empty() {
            let (idle, busy) = (labels(&idle, " and "), labels(&sharing, " and "));
            warnings.push(format!("{idle} gets no call that names no version, since {busy} has a keyward.weight: give it one too"));
        }
        if let Some((last, others)) = sharing.split_last()
            && others.iter().any(|other| other.front.input != last.front.input)
        {
            let busy = labels(&sharing, " and ");
            warnings.push(format!(
                "{busy} share calls and take other variables: a call that fits the one may be refused by the other; {} is shown and is MCP's",
                last.label()
            ));
        }
        warnings
    }

    /// Whether a file is taken as it is written, though something beside it may be wrong.
    pub fn takes(&self, file: &Path) -> bool {
        self.with_old_partials.contains(file) && self.files.contains_key(file)
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
        self.versions.put(Arc::clone(&prompt));
        self.files.insert(path, prompt);
    }
}

fn read_one(path: &Path, text: &str, partials: &BTreeMap<String, String>) -> Result<Prompt, Fault> {
    let is_name = |name: &str| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
    let (name, version) = entry::named(path).filter(|(name, _)| is_name(name)).ok_or_else(|| {
        Fault::at(
            1,
            "the file's name is none: it is NAME.prompt, NAME.VARIANT.prompt or NAME@2.prompt (not @02), of letters, digits, '-' and '_'",
        )
    })?;
    if text.trim_start_matches('\u{feff}').trim().is_empty() {
        return Err(Fault::at(1, "the file is empty: 'keyward prompts new NAME' writes one to start from"));
    }
    let prompt = Prompt::read(&name, version, text, partials)?;
    match prompt.template.is_empty {
        true => Err(Fault::at(text.lines().count().max(1), "there is no template after the front matter: nobody would be asked anything")),
        false => Ok(prompt),
    }
}

/// The texts of a folder as they are now.
fn texts(folder: &Path) -> Result<Texts, Misfile> {
    let files = seen_first::<Folder>(folder)?.into_keys().filter(|path| is_prompt(path));
    let text = |path: PathBuf| {
        let text = std::fs::read_to_string(&path);
        (path, text)
    };
    Ok(files.map(text).collect())
}

fn is_prompt(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending == "prompt")
}
