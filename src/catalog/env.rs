//! Where `${VARIABLE}` parts and credentials come from: the process's environment, or a map in tests.

use std::collections::HashMap;

/// A snapshot of environment variables; empty ones count as unset.
#[derive(Clone, Default)]
pub struct Environment(HashMap<String, String>);

/// A variable that has to be set and is not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unset(pub String);

// === impl Environment ===

impl Environment {
    /// The process's environment as it is now.
    pub fn of_process() -> Environment {
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))).collect()
    }

    /// The value of a variable that is set and not empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).map(str::trim).filter(|value| !value.is_empty())
    }

    /// The names of all variables.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// The same with other variables set.
    pub fn with<'a>(&self, variables: impl IntoIterator<Item = (&'a str, &'a str)>) -> Environment {
        let mut all = self.0.clone();
        all.extend(variables.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())));
        Environment(all)
    }

    /// Fills in `${NAME}` and `${NAME:-default}`; a value's own `http(s)://` gives way to the one written before it.
    pub fn expand(&self, template: &str) -> Result<String, Unset> {
        self.filled(template, |name, value, _| value.ok_or_else(|| Unset(name.to_owned())))
    }

    /// The same of an address: a variable within it is a part of a host or of a path, and makes no other address of it.
    pub fn address(&self, template: &str) -> Result<String, String> {
        self.filled(template, |name, value, is_within| match value {
            None => Err(format!("{name} is not set, which its address needs")),
            Some(value) if is_within && !is_part(value) => {
                Err(format!("{name} is no part of an address: it has letters, digits, '.', '-', '_', '~' and ':' alone"))
            }
            Some(value) => Ok(value),
        })
    }

    /// Fills in what `judge` makes of each variable, which hears its name, its value, and whether something stands before it.
    fn filled<E>(&self, template: &str, judge: impl for<'v> Fn(&str, Option<&'v str>, bool) -> Result<&'v str, E>) -> Result<String, E> {
        let mut out = String::with_capacity(template.len());
        for part in parts(template) {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Variable { name, default } => {
                    let value = self.get(name).or(default).map(|value| inserted(&out, value));
                    let value = judge(name, value, !out.is_empty())?;
                    out.push_str(value);
                }
            }
        }
        Ok(out)
    }
}

/// Whether a text can stand within an address, as a host or as a segment of a path, and ends neither.
pub fn is_part(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_~:".contains(&byte);
    !matches!(text, "." | "..") && text.bytes().all(is_plain)
}

/// A variable's value as it stands behind what is there before: without its own scheme behind another.
fn inserted<'a>(before: &str, value: &'a str) -> &'a str {
    let value = match before.ends_with("://") {
        true => value.split_once("://").map_or(value, |(_, host)| host),
        false => value,
    };
    value.trim_end_matches('/')
}

impl FromIterator<(String, String)> for Environment {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(variables: I) -> Environment {
        Environment(variables.into_iter().collect())
    }
}

/// The variables that a template names, and whether it has a default for each.
pub fn variables(template: &str) -> impl Iterator<Item = (&str, bool)> {
    parts(template).filter_map(|part| match part {
        Part::Variable { name, default } => Some((name, default.is_some())),
        Part::Text(_) => None,
    })
}

enum Part<'a> {
    Text(&'a str),
    Variable { name: &'a str, default: Option<&'a str> },
}

fn parts(template: &str) -> impl Iterator<Item = Part<'_>> {
    let mut rest = template;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        if let Some((inside, after)) = rest.strip_prefix("${").and_then(|inner| inner.split_once('}')) {
            rest = after;
            let (name, default) = inside.split_once(":-").map_or((inside, None), |(name, default)| (name, Some(default)));
            return Some(Part::Variable { name, default });
        }
        let start = usize::from(rest.starts_with("${")) * 2;
        let end = rest[start..].find("${").map_or(rest.len(), |at| at + start);
        let (text, after) = rest.split_at(end);
        rest = after;
        Some(Part::Text(text))
    })
}
