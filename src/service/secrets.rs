//! Whose secrets a service's file may name that comes over HTTP, and the file as it is shown, without what may be a secret itself.

use std::collections::BTreeSet;

use toml::de::{DeTable, DeValue};

use crate::catalog::env::variables;

/// What a file says of where its secrets go.
struct Named {
    upstream: String,
    variables: BTreeSet<String>,
}

/// What variables begin with that any file may name: all others are somebody else's secrets.
const OPEN: &str = "SERVICE_";
/// Stands for what is not shown.
const HIDDEN: &str = "…";

/// Whether a file may be written: a variable of the gateway's goes only where it goes already, or is named for this.
pub fn check<'a>(text: &str, others: impl Iterator<Item = &'a str>) -> Result<(), String> {
    // What cannot be read is told as wrong with all else in it.
    let Some(Named { upstream, variables }) = named(text) else { return Ok(()) };
    if hidden_in(text) {
        return Err(format!("'{HIDDEN}' in the credential's value stands for what is not shown: write what it is"));
    }
    let mut beside: Vec<String> = variables.into_iter().filter(|name| !name.starts_with(OPEN)).collect();
    let others: Vec<Named> = others.filter_map(named).filter(|other| other.upstream == upstream).collect();
    beside.retain(|name| !others.iter().any(|other| other.variables.contains(name)));
    match beside.first() {
        None => Ok(()),
        Some(name) => Err(format!(
            "the variable {name} is not for this: over HTTP, a file names those that begin with {OPEN}, or that another service's file names with the same 'upstream'"
        )),
    }
}

/// A file's text in which the credential's value has variables, and at most a scheme such as `Token ` before them.
pub fn hidden(text: &str) -> String {
    let Ok(document) = DeTable::parse(text) else { return text.to_owned() };
    let value = document.get_ref().get("credential").and_then(|credential| match credential.get_ref() {
        DeValue::Table(fields) => fields.get("value"),
        _ => None,
    });
    let Some((written, span)) = value.and_then(|value| Some((value.get_ref().as_str()?, value.span()))) else { return text.to_owned() };
    let shown = shown(written);
    if shown == written {
        return text.to_owned();
    }
    let mut hidden = text.to_owned();
    hidden.replace_range(span, &toml::Value::String(shown).to_string());
    hidden
}

fn hidden_in(text: &str) -> bool {
    let value = toml::from_str::<toml::Table>(text).ok();
    let value = value.as_ref().and_then(|table| table.get("credential")?.get("value")?.as_str());
    value.is_some_and(|value| value.contains(HIDDEN))
}

fn named(text: &str) -> Option<Named> {
    let table = toml::from_str::<toml::Table>(text).ok()?;
    let upstream = table.get("upstream")?.as_str()?.to_owned();
    let value = table.get("credential").and_then(|credential| credential.get("value")?.as_str()).unwrap_or_default();
    let variables = variables(&upstream).chain(variables(value)).map(|(name, _)| name.to_owned()).collect();
    Some(Named { upstream, variables })
}

/// A credential's value without what may be a secret.
fn shown(value: &str) -> String {
    let (mut out, mut rest) = (String::new(), value);
    while let Some((before, (variable, after))) = rest.split_once("${").and_then(|(before, rest)| Some((before, rest.split_once('}')?))) {
        out.push_str(literal(before, out.is_empty()));
        out.push_str(&format!("${{{variable}}}"));
        rest = after;
    }
    out + literal(rest, false)
}

/// A part between variables: a scheme may stand before the first, which has letters and an end.
fn literal(part: &str, is_first: bool) -> &str {
    let is_scheme =
        part.ends_with([' ', '=', ':']) && part.trim_end_matches([' ', '=', ':']).chars().all(|c| c.is_ascii_alphabetic() || c == '-');
    if part.is_empty() || (is_first && is_scheme) { part } else { HIDDEN }
}
