//! Steps in a service's life: its file is the truth, and the command line and the management API change it by the same function.

use std::path::PathBuf;

use super::entry::line_of;
use super::shelf::Folder;
use crate::prompt::edit::{EditError, Step};
use crate::shelf::put;

/// Takes a service a step on; the file is the old one or the new one at every moment.
pub fn step(folder: &Folder, name: &str, step: &Step) -> Result<PathBuf, EditError> {
    let services = folder.read();
    let path = folder.path().join(format!("{name}.toml"));
    let text = match services.service(name) {
        Some(_) => std::fs::read_to_string(&path).map_err(|e| EditError::Disk(format!("{} cannot be read: {e}", path.display())))?,
        None => return Err(missing(&services, name)),
    };
    let text = fields(step).iter().fold(text, |text, (field, value)| with_field(&text, field, value));
    folder.read_one(&path, &text).map_err(|fault| EditError::Wrong(format!("{fault}; nothing was changed")))?;
    put(&path, &text).map_err(|e| EditError::Disk(format!("{} cannot be written: {e}", path.display())))?;
    Ok(path)
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

/// The file's text with a field set that belongs to no table.
pub fn with_field(source: &str, field: &str, value: &str) -> String {
    let line = format!("{field} = {}", toml::Value::String(value.to_owned()));
    let mut lines: Vec<&str> = source.lines().collect();
    let tables = lines.iter().position(|line| line.trim_start().starts_with('[')).unwrap_or(lines.len());
    let at = line_of(source, field) - 1;
    let is_set = at < tables && lines.get(at).is_some_and(|line| line.trim_start().starts_with(field));
    match is_set {
        true => drop(lines.splice(at..=at, [line.as_str()])),
        // Before the blank line, if there is one, that parts it from the first table.
        false => {
            let end = lines[..tables].iter().rposition(|line| !line.trim().is_empty()).map_or(0, |last| last + 1);
            lines.insert(end, &line);
        }
    }
    lines.join("\n") + "\n"
}
