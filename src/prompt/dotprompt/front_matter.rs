//! The front matter: YAML between two lines of `---`, after comments, with schemas in Picoschema or JSON Schema.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{Fault, config, picoschema};
use crate::config::hint::nearest;
use crate::prompt::chat::PREFIX;
use crate::yaml;

/// What the front matter says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FrontMatter {
    /// The model by its name here.
    pub model: Option<String>,
    /// The prompt in a sentence.
    pub description: Option<String>,
    /// Settings of the model, such as `temperature`.
    pub config: Map<String, Value>,
    /// JSON Schema of the variables.
    pub input: Option<Value>,
    /// Variables where the caller gives none.
    pub default: Map<String, Value>,
    /// JSON Schema of the answer.
    pub output: Option<Value>,
    /// `json` or `text`, where it is said.
    pub format: Option<String>,
    /// Fields with a `.` in their name, by what stands before the last one.
    pub ext: BTreeMap<String, Map<String, Value>>,
    /// All of it, as it was written.
    pub raw: Map<String, Value>,
}

/// Schemas with names, for Picoschema to refer to.
pub type Schemas = BTreeMap<String, Value>;

/// A file in its two parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Split<'a> {
    /// The YAML; `None` where the file has no front matter.
    pub front: Option<&'a str>,
    /// The line on which the YAML begins.
    pub front_line: usize,
    /// The template.
    pub body: &'a str,
    /// The line on which the template begins.
    pub body_line: usize,
}

/// How deep front matter may be nested: what reads schemas goes as deep as they do.
const DEEPEST: usize = 64;
/// The fields of front matter, and those of its parts.
const FIELDS: [&str; 16] = [
    "name",
    "variant",
    "version",
    "title",
    "description",
    "model",
    "tools",
    "toolDefs",
    "toolChoice",
    "maxTurns",
    "returnToolRequests",
    "config",
    "input",
    "output",
    "context",
    "metadata",
];
/// Those of them that nothing here would heed.
const TOOLS: [&str; 3] = ["tools", "toolDefs", "toolChoice"];
const INPUT: [&str; 2] = ["schema", "default"];
const OUTPUT: [&str; 2] = ["schema", "format"];

/// Parts a file whose lines end with `\n` alone; blank lines and `#` comments may stand before the front matter.
pub fn split(source: &str) -> Result<Split<'_>, Fault> {
    let whole = Split { front: None, front_line: 1, body: source, body_line: 1 };
    let mut at = 0;
    let mut front: Option<(usize, usize)> = None;
    for (number, line) in (1..).zip(source.split_inclusive('\n')) {
        let start = at;
        at += line.len();
        match (front, line.trim_end()) {
            (None, "---") => front = Some((at, number + 1)),
            (None, other) if other.is_empty() || other.starts_with('#') => {}
            (None, _) => return Ok(whole),
            (Some((begin, front_line)), "---") => {
                let rest = &source[at..];
                let body = rest.trim();
                let skipped = rest[..rest.len() - rest.trim_start().len()].matches('\n').count();
                return Ok(Split { front: Some(&source[begin..start]), front_line, body, body_line: number + 1 + skipped });
            }
            (Some(_), _) => {}
        }
    }
    match front {
        None => Ok(whole),
        Some((_, line)) => Err(Fault::at(line - 1, "the front matter begins here and has no end: close it by a line '---'")),
    }
}

// === impl FrontMatter ===

impl FrontMatter {
    /// Reads the YAML of a [`Split`].
    pub fn read(yaml: &str, first_line: usize, schemas: &Schemas) -> Result<FrontMatter, Fault> {
        let parsed: Value = if yaml.trim().is_empty() { Value::Null } else { parse(yaml, first_line)? };
        let raw = match parsed {
            Value::Object(raw) => raw,
            Value::Null => Map::new(),
            _ => return Err(Fault::at(first_line, "the front matter has to be 'name: value' lines")),
        };
        let at = |path: &[&str], message: String| Fault::at(first_line + line_of(yaml, path), message);
        let text = |name: &str| match raw.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(at(&[name], format!("'{name}' has to be a text"))),
        };
        let object = |name: &str| match raw.get(name) {
            None | Some(Value::Null) => Ok(Map::new()),
            Some(Value::Object(object)) => Ok(object.clone()),
            Some(_) => Err(at(&[name], format!("'{name}' has to be an object"))),
        };
        let (input, output) = (object("input")?, object("output")?);
        let schema = |side: &Map<String, Value>, name: &str| match side.get("schema") {
            None | Some(Value::Null) => Ok(None),
            Some(schema) => picoschema::to_json_schema(schema, schemas, name == "input")
                .map(Some)
                .map_err(|wrong| at(&[name, "schema", &wrong.at], format!("'{name}.schema' is not right: {}", wrong.message))),
        };
        let default = match input.get("default") {
            None | Some(Value::Null) => Map::new(),
            Some(Value::Object(default)) => default.clone(),
            Some(_) => return Err(at(&["input", "default"], "'input.default' has to be an object of variables".to_owned())),
        };
        let format = match output.get("format").map(|format| format.as_str()) {
            None => None,
            Some(Some(format @ ("json" | "text"))) => Some(format.to_owned()),
            Some(_) => return Err(at(&["output", "format"], "'output.format' has to be 'json' or 'text'".to_owned())),
        };
        let mut ext: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
        for (name, value) in &raw {
            if let Some((space, field)) = name.rsplit_once('.') {
                ext.entry(space.to_owned()).or_default().insert(field.to_owned(), value.clone());
            }
        }
        Ok(FrontMatter {
            model: text("model")?,
            description: text("description")?,
            config: object("config")?,
            input: schema(&input, "input")?,
            default,
            output: schema(&output, "output")?,
            format,
            ext,
            raw: raw.clone(),
        })
    }
}

/// What is wrong with front matter that Dotprompt itself takes, and that nobody means: fields that are misspelt, and settings of another type.
pub fn check(raw: &Map<String, Value>, yaml: &str, first_line: usize) -> Result<(), Fault> {
    let at = |path: &[&str], message: String| Fault::at(first_line + line_of(yaml, path), message);
    let empty = Map::new();
    let part = |name: &str| raw.get(name).and_then(Value::as_object).unwrap_or(&empty);
    if raw.contains_key("keyward") {
        let message = "'keyward' is no field by itself: write each of its own with a dot, as 'keyward.state: published'";
        return Err(at(&["keyward"], message.to_owned()));
    }
    if let Some(tools) = TOOLS.into_iter().find(|name| raw.contains_key(*name)) {
        let message = format!(
            "'{tools}' is not served here: a prompt calls no tools; leave it out, or send tools with a chat request for prompt/NAME"
        );
        return Err(at(&[tools], message));
    }
    if raw.get("model").and_then(Value::as_str).is_some_and(|model| model.starts_with(PREFIX)) {
        return Err(at(&["model"], format!("'model' has to be a model, and '{PREFIX}…' is a prompt")));
    }
    let parts: [(&str, &Map<String, Value>, &[&str]); 4] = [
        ("", raw, &FIELDS),
        ("input", part("input"), &INPUT),
        ("output", part("output"), &OUTPUT),
        ("config", part("config"), &config::NAMES),
    ];
    for (part, fields, known) in parts {
        for name in fields.keys().filter(|name| !name.contains('.') && !known.contains(&name.as_str())) {
            if let Some(near) = nearest(name, known.iter().copied()).filter(|near| is_misspelt(name, near)) {
                let shown = if part.is_empty() { name.clone() } else { format!("{part}.{name}") };
                return Err(at(&[part, name], format!("'{shown}' is no field: did you mean '{near}'?")));
            }
        }
    }
    config::check(part("config")).map_err(|(name, message)| at(&["config", name], message))
}

/// A few letters apart, and not another word: `topP` is no misspelt `topK`.
fn is_misspelt(name: &str, near: &str) -> bool {
    let (name, near) = (name.to_ascii_lowercase(), near.to_ascii_lowercase());
    name == near || (near.len() > 4 && strsim::damerau_levenshtein(&name, &near) <= 2)
}

fn parse(yaml: &str, first_line: usize) -> Result<Value, Fault> {
    yaml::read(yaml, DEEPEST)
        .map_err(|(line, message)| Fault::at(first_line + line - 1, format!("the front matter is no YAML ({message})")))
}

/// How many lines after the first the innermost of the names stands, each looked for after the one before it.
pub fn line_of(yaml: &str, path: &[&str]) -> usize {
    let lines: Vec<&str> = yaml.lines().collect();
    let mut found = 0;
    for name in path.iter().filter(|name| !name.is_empty()) {
        let is_it = |line: &&str| line.trim_start().trim_start_matches(['"', '\'']).starts_with(*name);
        found = lines.iter().skip(found).position(is_it).map_or(found, |more| found + more);
    }
    found
}
