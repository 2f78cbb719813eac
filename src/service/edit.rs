//! Changes to services: their files are the truth, and the command line and the management API change them by the same functions.

use std::fs::File;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use toml::de::{DeTable, DeValue};

use super::secrets;
use super::shelf::{Changed, Folder, Services, is_name};
use crate::config::hint;
use crate::life::State;
use crate::prompt::examples;
use crate::shelf::{self, put};
use crate::steps::{Compared, EditError, Step, alone, away, made_for, meant, one_alone, succeeds};
use crate::versions::{self, Versioned};

/// A version's two files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// `name@version`.
    pub label: String,
    /// Where it is.
    pub path: PathBuf,
    /// What is in it.
    pub text: String,
    /// Where its description is.
    pub openapi_path: PathBuf,
    /// What is in that.
    pub openapi: String,
}

/// A change that was found right, and that nobody comes before: all others wait until it is made, or dropped.
#[derive(Debug)]
pub struct Plan {
    /// None where there is no folder yet, and so nobody else in it.
    alone: Option<File>,
    folder: PathBuf,
    label: String,
    changed: Changed,
    /// What the folder will be.
    services: Services,
    /// What was no draft is not changed, so from now on it is none.
    publishes: bool,
    /// The fields that a step sets.
    said: Vec<(&'static str, String)>,
}

/// A draft that is to go; until it does, or the plan is dropped, all others wait.
#[derive(Debug)]
pub struct Removal {
    _alone: File,
    label: String,
    files: Vec<PathBuf>,
}

/// Endings of files that are descriptions.
const DESCRIPTIONS: [&str; 3] = [".yaml", ".yml", ".json"];

/// Plans a step of a service: of the version that is named, or of the newest draft to be published, or of what callers get today.
pub fn step(folder: &Folder, name: &str, step: &Step) -> Result<Plan, EditError> {
    let alone = alone(folder.path())?.ok_or_else(|| away(folder.path(), "service", name))?;
    let (services, now) = (folder.read(), Timestamp::now());
    // A name that there is not is told as such.
    found(&services, name)?;
    let label = if name.contains('@') { name.to_owned() } else { meant(&services, name, step, now)? };
    let known = found(&services, &label)?;
    // What is served may be what was published, and not what is in the file.
    if let Some(fault) = services.fault_of(&known.path) {
        return Err(EditError::Wrong(format!("{fault}; nothing was changed")));
    }
    let service = services.named(&label).ok_or_else(|| missing(&services, &label))?;
    step.check(service.state_at(now), &label, "a service")?;
    if let Step::Deprecate { successor: Some(successor), .. } = step {
        succeeds(&services, "service", &**service, successor, now)?;
    }
    let text = step.cleared().iter().fold(known.text, |text, field| without_field(&text, field.trim_start_matches("keyward.")));
    let said: Vec<(&str, String)> =
        step.fields(&service.life).into_iter().map(|(field, value)| (field.trim_start_matches("keyward."), value)).collect();
    let text = said.iter().fold(text, |text, (field, value)| with_field(&text, field, value));
    let plan = plan(Some(alone), folder, &services, known.path.clone(), Changed::from([(known.path, text)]))?;
    Ok(Plan { said, ..plan })
}

/// Plans a version's two files, new or in the place of what they were; what a published one offers does not change.
///
/// Without the text of a description, the one that the file names is there already.
pub fn write(folder: &Folder, label: &str, text: &str, openapi: Option<&str>) -> Result<Plan, EditError> {
    let alone = alone(folder.path())?;
    let services = folder.read();
    one_alone(&services, label)?;
    let path = match found(&services, label) {
        Ok(known) => known.path,
        // What is wrong there now goes, whatever it is.
        Err(EditError::NotFound(_) | EditError::Wrong(_)) => path_of(folder, checked(label)?),
        Err(other) => return Err(other),
    };
    secrets::check(text, services.all().map(|service| service.texts.file.as_str()))
        .map_err(|why| EditError::Wrong(format!("{}: {why}; nothing was changed", path.display())))?;
    let mut changed = Changed::from([(path.clone(), text.to_owned())]);
    // A file that names none is told as wrong with all else in it.
    if let Some((openapi, file)) = openapi.zip(described(text)) {
        let described = folder.path().join(checked_description(&file)?);
        if std::fs::read_to_string(&described).is_ok_and(|there| there != openapi)
            && let Some(other) = naming(folder, &file, &path)?
        {
            let other = other.file_name().unwrap_or_default().display();
            return Err(EditError::Wrong(format!(
                "'{file}' is the description of {other} too, and would be another one: let this version name a file of its own as 'openapi'; nothing was changed"
            )));
        }
        changed.insert(described, openapi.to_owned());
    }
    plan(alone, folder, &services, path, changed)
}

/// Plans to remove a draft's file, and its description where no other file names it: what is published is retired, and its files stay.
pub fn remove(folder: &Folder, label: &str) -> Result<Removal, EditError> {
    let alone = alone(folder.path())?.ok_or_else(|| away(folder.path(), "service", label))?;
    let services = folder.read();
    let (label, path, described) = match found(&services, label) {
        Ok(Source { label, path, openapi_path, .. }) => {
            if services.named(&label).is_none_or(|service| service.life.state != State::Draft) {
                let why = format!("'{label}' is no draft: retire it, and callers are told so; nothing was changed");
                return Err(EditError::Wrong(why));
            }
            (label, path, openapi_path.file_name().and_then(|name| name.to_str()).map(str::to_owned))
        }
        // What is wrong, and was nothing before, has no callers.
        Err(why) => wrong_file(folder, &services, label).ok_or(why)?,
    };
    let is_alone = |file: &String| naming(folder, file, &path).map(|other| other.is_none());
    let described = match described.as_ref().map(is_alone).transpose()? {
        Some(true) => described.map(|file| folder.path().join(file)).filter(|path| path.exists()),
        _ => None,
    };
    Ok(Removal { _alone: alone, label, files: [Some(path), described].into_iter().flatten().collect() })
}

/// A version whose file is there and wrong, and that nobody has published: its label, its file, and the description that this names.
fn wrong_file(folder: &Folder, services: &Services, label: &str) -> Option<(String, PathBuf, Option<String>)> {
    let path = path_of(folder, checked(label).ok()?);
    services.fault_of(&path)?;
    let (name, digits) = versions::split(label);
    let label = format!("{name}@{}", digits.unwrap_or("1"));
    let described = std::fs::read_to_string(&path).ok().and_then(|text| described(&text));
    let is_plain = |file: &String| checked_description(file).is_ok();
    (!services.was_published(&label)).then(|| (label, path, described.filter(is_plain)))
}

/// Another service's file that names this one as its description.
fn naming(folder: &Folder, described: &str, own: &Path) -> Result<Option<PathBuf>, EditError> {
    let files = shelf::seen_first::<Folder>(folder.path()).map_err(|fault| EditError::failed(fault.to_string()))?;
    let names_it = |other: &PathBuf| {
        let text = std::fs::read_to_string(other).unwrap_or_default();
        // Of a file that is wrong it is not known what it names.
        self::described(&text).map_or_else(|| text.contains(described), |named| named == described)
    };
    let is_service = |other: &PathBuf| other.extension().is_some_and(|ending| ending == "toml") && *other != own;
    Ok(files.into_keys().filter(is_service).find(names_it))
}

/// The file of a version that is not read of any.
fn path_of(folder: &Folder, label: &str) -> PathBuf {
    let path = |stem: &str| folder.path().join(format!("{stem}.toml"));
    let bare = label.strip_suffix("@1").map(path).filter(|path| path.exists());
    bare.unwrap_or_else(|| path(label))
}

/// The files of a version, or of the newest one of a name.
pub fn source(folder: &Folder, name: &str) -> Result<Source, EditError> {
    found(&folder.read(), name)
}

/// How a version differs from another, or from the one before it: its own file, and then its description.
pub fn compared(folder: &Folder, name: &str, other: Option<&str>) -> Result<Compared, EditError> {
    let services = folder.read();
    let newer = found(&services, name)?;
    let older = match other {
        Some(other) => found(&services, other)?,
        None => {
            let (base, digits) = versions::split(&newer.label);
            let version = digits.and_then(versions::number).unwrap_or(1);
            let before = services.versions(base).and_then(|versions| versions.range(..version).next_back());
            let first = || EditError::NotFound(format!("{} is the first version: there is none before it", newer.label));
            found(&services, &before.ok_or_else(first)?.1.label())?
        }
    };
    let own = examples::diff(&secrets::hidden(&older.text), &secrets::hidden(&newer.text), (&older.label, &newer.label));
    let name = |source: &Source| format!("{} {}", source.label, source.openapi_path.file_name().unwrap_or_default().display());
    let described = examples::diff(&older.openapi, &newer.openapi, (&name(&older), &name(&newer)));
    Ok(Compared { from: older.label, to: newer.label, diff: own + &described })
}

/// There is no such service, or its file is wrong.
pub fn missing(services: &Services, name: &str) -> EditError {
    let (base, _) = versions::split(name);
    let is_its = |file: &str| {
        let stem = Path::new(file).file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        versions::split(stem).0 == base
    };
    match services.versions(base) {
        Some(versions) => {
            let labels = versions.values().map(|service| service.label()).collect::<Vec<_>>().join(", ");
            EditError::NotFound(format!("there is no version '{name}': there are {labels}"))
        }
        None => match services.faults().iter().find(|fault| is_its(&fault.file)) {
            Some(fault) => EditError::Wrong(fault.to_string()),
            None => {
                let near = hint::nearest(base, services.names()).map_or_else(String::new, |near| format!("; did you mean '{near}'?"));
                EditError::NotFound(format!("there is no service '{base}'{near}"))
            }
        },
    }
}

fn found(services: &Services, name: &str) -> Result<Source, EditError> {
    let service = services.newest_of(name).ok_or_else(|| missing(services, name))?;
    let path = services.file_of(service).ok_or_else(|| EditError::NotFound(format!("'{name}' has no file")))?.to_path_buf();
    let openapi_path = path.with_file_name(&service.openapi);
    Ok(Source { label: service.label(), path, text: service.texts.file.clone(), openapi_path, openapi: service.texts.openapi.clone() })
}

/// A name, or a name and a version, that can be a file's.
fn checked(label: &str) -> Result<&str, EditError> {
    let (name, digits) = versions::split(label);
    match is_name(name) && digits.is_none_or(|digits| versions::number(digits).is_some()) {
        true => Ok(label),
        false => Err(EditError::Wrong(format!(
            "'{label}' is no name for a service: it has up to 30 lower-case letters, digits and '-', and may name a version, such as 'weather' or 'weather@2'"
        ))),
    }
}

/// The name of a description's file that can be written.
fn checked_description(file: &str) -> Result<&str, EditError> {
    let is_plain =
        file.starts_with(|c: char| c.is_ascii_alphanumeric()) && file.chars().all(|c| c.is_ascii_alphanumeric() || "-_.@".contains(c));
    match is_plain && file.len() <= 100 && DESCRIPTIONS.iter().any(|ending| file.ends_with(ending)) {
        true => Ok(file),
        false => Err(EditError::Wrong(format!(
            "'{file}' is no name for a description: it has letters, digits, '-', '_', '.' and '@', and ends with .yaml, .yml or .json; nothing was changed"
        ))),
    }
}

/// The description that a file names.
fn described(text: &str) -> Option<String> {
    toml::from_str::<toml::Table>(text).ok()?.get("openapi")?.as_str().map(str::to_owned)
}

/// Texts in files, of which one is a service's own, if nothing in the folder becomes wrong by them.
fn plan(alone: Option<File>, folder: &Folder, before: &Services, path: PathBuf, changed: Changed) -> Result<Plan, EditError> {
    let services = folder.with(&changed);
    let is_new = |fault: &&shelf::Misfile| !before.faults().contains(fault);
    if let Some(fault) = services.fault_of(&path).or_else(|| services.faults().iter().find(is_new)) {
        return Err(EditError::Wrong(format!("{fault}; nothing was changed")));
    }
    let label_of =
        |services: &Services| services.all().find(|service| services.file_of(service) == Some(&path)).map(|service| service.label());
    let label = label_of(&services).ok_or_else(|| EditError::Wrong(format!("{} would be no service", path.display())))?;
    let is_public = |services: &Services| services.named(&label).is_some_and(|service| service.life.state != State::Draft);
    let publishes = is_public(&services) && !is_public(before);
    Ok(Plan { alone, folder: folder.path().to_path_buf(), label, changed, services, publishes, said: Vec::new() })
}

/// The file's text without the line of a field that belongs to no table.
fn without_field(source: &str, field: &str) -> String {
    let Ok(document) = DeTable::parse(source) else { return source.to_owned() };
    let Some((name, value)) = document.get_ref().iter().find(|(name, _)| name.get_ref() == field) else { return source.to_owned() };
    let begin = source[..name.span().start].rfind('\n').map_or(0, |end| end + 1);
    let end = source[value.span().end..].find('\n').map_or(source.len(), |more| value.span().end + more + 1);
    format!("{}{}", &source[..begin], &source[end..])
}

/// The file's text with a field set that belongs to no table.
pub fn with_field(source: &str, field: &str, value: &str) -> String {
    let value = toml::Value::String(value.to_owned()).to_string();
    let Ok(document) = DeTable::parse(source) else { return source.to_owned() };
    let fields = document.get_ref();
    if let Some((_, old)) = fields.iter().find(|(name, _)| name.get_ref() == field) {
        let mut text = source.to_owned();
        text.replace_range(old.span(), &value);
        return text;
    }
    let is_table = |value: &DeValue<'_>| match value {
        DeValue::Table(_) => true,
        DeValue::Array(all) => all.iter().any(|one| matches!(one.get_ref(), DeValue::Table(_))),
        _ => false,
    };
    // After the last field that is in no table: nothing else is sure to stand before the first one.
    let last = fields.values().filter(|value| !is_table(value.get_ref())).map(|value| value.span().end).max();
    let at = last.map_or(0, |last| source[last..].find('\n').map_or(source.len(), |end| last + end + 1));
    let (before, after) = source.split_at(at);
    let end = if before.is_empty() || before.ends_with('\n') { "" } else { "\n" };
    format!("{before}{end}{field} = {value}\n{after}")
}

// === impl Plan ===

impl Plan {
    /// `name@version` of what is changed.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Whether there is no file of the version yet.
    pub fn is_new(&self) -> bool {
        !self.changed.keys().any(|path| path.extension().is_some_and(|ending| ending == "toml") && path.exists())
    }

    /// Whether it publishes a version, be it by what its file says.
    pub fn publishes(&self) -> bool {
        self.publishes
    }

    /// The fields of its file that the step sets.
    pub fn said(&self) -> &[(&'static str, String)] {
        &self.said
    }

    /// Whether no version of the service is left that is not retired.
    pub fn ends(&self) -> bool {
        self.services.is_over(versions::split(&self.label).0, Timestamp::now())
    }

    /// Makes it, and the folder of a first file; each file is the old one or the new one at every moment.
    pub fn make(self) -> Result<Vec<PathBuf>, EditError> {
        let Plan { alone, folder, label, changed, services, .. } = self;
        let _alone = alone.map_or_else(|| made_for(&folder, changed.keys()), Ok)?;
        // The description first: a new file names one that is there.
        let (own, described): (Changed, Changed) = changed.into_iter().partition(|(path, _)| path.extension().is_some_and(|e| e == "toml"));
        for (path, text) in described.iter().chain(&own) {
            put(path, text).map_err(|e| EditError::failed(format!("{} cannot be written: {e}", path.display())))?;
        }
        services.note(&folder, &label).map_err(|fault| EditError::failed(fault.to_string()))?;
        Ok(own.into_keys().chain(described.into_keys()).collect())
    }
}

// === impl Removal ===

impl Removal {
    /// `name@version` of what goes.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Removes the files.
    pub fn make(self) -> Result<Vec<PathBuf>, EditError> {
        for path in &self.files {
            std::fs::remove_file(path).map_err(|e| EditError::failed(format!("{} cannot be removed: {e}", path.display())))?;
        }
        Ok(self.files)
    }
}
