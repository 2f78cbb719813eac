//! Steps in a service's life: its file is the truth, and the command line and the management API change it by the same function.

use std::fs::File;
use std::path::PathBuf;

use jiff::Timestamp;
use toml::de::{DeTable, DeValue};

use super::shelf::Folder;
use crate::shelf::put;
use crate::steps::{EditError, Step, alone, away};

/// A change that was found right, and that nobody comes before: all others wait until it is made, or dropped.
#[derive(Debug)]
pub struct Plan {
    _alone: File,
    path: PathBuf,
    text: String,
}

/// Plans a step of a service: nothing is written before the plan is made.
pub fn step(folder: &Folder, name: &str, step: &Step) -> Result<Plan, EditError> {
    let alone = alone(folder.path())?.ok_or_else(|| away(folder.path(), "service", name))?;
    let services = folder.read();
    let path = folder.path().join(format!("{name}.toml"));
    let service = services.service(name).ok_or_else(|| missing(&services, name))?;
    step.check(service.life.state_at(Timestamp::now()), name, "a service")?;
    if let Step::Deprecate { successor: Some(successor), .. } = step
        && (successor == name || services.service(successor).is_none())
    {
        let why = if successor == name { "it is the same" } else { "there is no such service" };
        return Err(EditError::Wrong(format!("'{successor}' cannot be the successor of '{name}': {why}; nothing was changed")));
    }
    let text = std::fs::read_to_string(&path).map_err(|e| EditError::failed(format!("{} cannot be read: {e}", path.display())))?;
    let text = step.cleared().iter().fold(text, |text, field| without_field(&text, field.trim_start_matches("keyward.")));
    let text = fields(step).iter().fold(text, |text, (field, value)| with_field(&text, field, value));
    folder.read_one(&path, &text).map_err(|fault| EditError::Wrong(format!("{fault}; nothing was changed")))?;
    Ok(Plan { _alone: alone, path, text })
}

/// There is no such service, or its file is wrong.
pub fn missing(services: &super::Services, name: &str) -> EditError {
    let file = format!("{name}.toml");
    if let Some(fault) = services.faults().iter().find(|fault| fault.file.ends_with(&file)) {
        return EditError::Wrong(fault.to_string());
    }
    let names: Vec<&str> = services.all().map(|service| service.name.as_str()).collect();
    let near = crate::config::hint::nearest(name, names.into_iter()).map_or_else(String::new, |near| format!("; did you mean '{near}'?"));
    EditError::NotFound(format!("there is no service '{name}'{near}"))
}

/// The fields that a step sets.
pub fn fields(step: &Step) -> Vec<(&'static str, String)> {
    step.fields().into_iter().map(|(field, value)| (field.trim_start_matches("keyward."), value)).collect()
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
    /// Makes it; the file is the old one or the new one at every moment.
    pub fn make(self) -> Result<PathBuf, EditError> {
        put(&self.path, &self.text).map_err(|e| EditError::failed(format!("{} cannot be written: {e}", self.path.display())))?;
        Ok(self.path)
    }
}
