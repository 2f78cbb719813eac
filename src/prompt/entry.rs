//! One prompt in one version: a file, checked whole.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use http::HeaderValue;
use jiff::Timestamp;
use jsonschema::error::ValidationErrorKind;
use jsonschema::{Draft, PatternOptions, ValidationError, Validator};
use ring::digest;
use serde_json::{Map, Value};

use super::dotprompt::{Fault, FrontMatter, Schemas, Template, check, partials_in, split, variables};
use super::given;
use crate::config::hint;
use crate::hex::hex;
use crate::life::{Life, State, time};
use crate::quota::limits;
use crate::versions::{self, Versioned};

/// A prompt that can be called.
#[derive(Clone, Debug)]
pub struct Prompt {
    /// What callers name it.
    pub name: String,
    /// Which version, from 1 on.
    pub version: u32,
    /// Where it stands in its life; its successor is `name` or `name@version`.
    pub life: Life,
    /// Its share of the calls that name no version, beside the other published versions.
    pub weight: Option<u32>,
    /// What the file says.
    pub front: FrontMatter,
    /// What is rendered.
    pub template: Arc<Template>,
    /// The file's text, as it was written.
    pub source: String,
    /// The partials that the template uses, as they were.
    pub partials: BTreeMap<String, String>,
    /// Of all that must not change once it is published.
    pub hash: String,
    /// Which parts of the output's schema are a variable's value: JSON pointers into it, and the variables' names.
    filled: Vec<(String, String)>,
    input: Option<Arc<Validator>>,
    output: Option<Arc<Validator>>,
}

/// Something in a value that its schema does not allow.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Violation {
    /// A JSON pointer (RFC 6901); empty for the whole value.
    pub path: String,
    /// What is wrong there.
    pub message: String,
}

/// So many violations are told at the most.
const MOST_VIOLATIONS: usize = 20;
/// Characters of what is told of one.
const LONGEST: usize = 300;

/// The fields under `keyward.` that a file may have; those from `state` on may change after publishing.
const FIELDS: [&str; 7] = ["version", "output", "state", "deprecated", "sunset", "successor", "weight"];
/// The first of them that may.
const CHANGING: usize = 2;
/// So often a pattern may try again on a text, that none holds up the others for long.
const MOST_TRIES: usize = 100_000;

// === impl Prompt ===

impl Versioned for Prompt {
    fn name(&self) -> &str {
        &self.name
    }

    fn version(&self) -> u32 {
        self.version
    }

    fn life(&self) -> &Life {
        &self.life
    }

    fn weight(&self) -> Option<u32> {
        self.weight
    }
}

impl Prompt {
    /// Reads a file of this name (`name`, with the version that the file's name says, if it does).
    pub fn read(name: &str, version: Option<u32>, source: &str, partials: &BTreeMap<String, String>) -> Result<Prompt, Fault> {
        let written = source;
        let source = plain(written);
        let parts = split(&source)?;
        let yaml = parts.front.unwrap_or_default();
        let front = FrontMatter::read(yaml, parts.front_line, &Schemas::new())?;
        check(&front.raw, yaml, parts.front_line)?;
        let at = |field: &str, message: String| Fault::at(parts.front_line + super::dotprompt::line_of(yaml, &[field]), message);
        let ours = front.ext.get("keyward").cloned().unwrap_or_default();
        if let Some(unknown) = ours.keys().find(|field| !FIELDS.contains(&field.as_str())) {
            let near = hint::nearest(unknown, FIELDS.into_iter()).map(|near| format!("did you mean 'keyward.{near}'?"));
            let all = || format!("those are {}", FIELDS.map(|field| format!("keyward.{field}")).join(", "));
            let message = format!("'keyward.{unknown}' is no field: {}", near.unwrap_or_else(all));
            return Err(at(&format!("keyward.{unknown}"), message));
        }
        let number = |field: &str, least: u32| match ours.get(field) {
            None => Ok(None),
            Some(value) => match value.as_u64().and_then(|number| u32::try_from(number).ok()).filter(|number| *number >= least) {
                Some(number) => Ok(Some(number)),
                None => Err(at(&format!("keyward.{field}"), format!("'keyward.{field}' has to be a whole number from {least} on"))),
            },
        };
        let own_version = number("version", 1)?;
        if let (Some(named), Some(own)) = (version, own_version)
            && named != own
        {
            return Err(at("keyward.version", format!("'keyward.version' is {own}, and the file's name says {named}")));
        }
        let text = |field: &str| ours.get(field).map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned));
        let state = text("state").map_or(Ok(State::Draft), |name| State::from_name(&name));
        let state = state.map_err(|message| at("keyward.state", message))?;
        let moment = |field: &str| {
            let read = |text: String| time(&text).map_err(|message| at(&format!("keyward.{field}"), message));
            text(field).map(read).transpose()
        };
        let schema = |schema: &Option<Value>, side: &str| {
            let compiled = schema.as_ref().map(validator).transpose();
            compiled.map_err(|error| at(side, format!("'{side}.schema' is no JSON Schema: {error}")))
        };
        let (input, output) = (schema(&front.input, "input")?, schema(&front.output, "output")?);
        // Of defaults alone something is missing; what is there has to be right.
        let defaults = Value::Object(front.default.clone());
        let has_defaults = !front.default.is_empty();
        let is_missing = |error: &ValidationError<'_>| matches!(error.kind(), ValidationErrorKind::Required { .. });
        let checked = input.iter().filter(|_| has_defaults);
        if let Some(wrong) = checked.flat_map(|input| input.iter_errors(&defaults)).find(|error| !is_missing(error)) {
            let message = format!("'input.default' does not fit the schema: {}", Violation::of(&wrong).told());
            return Err(at("default", message));
        }
        let filled = filled(ours.get("output"), &front).map_err(|message| at("keyward.output", message))?;
        let template = Template::compile(parts.body, parts.body_line, partials)?;
        let mut fixed: Map<String, Value> = front.raw.clone();
        FIELDS[CHANGING..].iter().for_each(|field| drop(fixed.shift_remove(&format!("keyward.{field}"))));
        fixed.shift_remove("keyward.version");
        let mut hashed = format!("{}\n{}", Value::Object(fixed), parts.body);
        for text in used(parts.body, partials) {
            hashed.push_str(text);
        }
        let hash = hex(digest::digest(&digest::SHA256, hashed.as_bytes()).as_ref());
        Ok(Prompt {
            name: name.to_owned(),
            version: version.or(own_version).unwrap_or(1),
            life: Life { state, deprecated: moment("deprecated")?, sunset: moment("sunset")?, successor: text("successor") },
            weight: number("weight", 0)?,
            front,
            partials: partials
                .iter()
                .filter(|(name, _)| template.partials.contains(name))
                .map(|(name, text)| (name.clone(), text.clone()))
                .collect(),
            template: Arc::new(template),
            filled,
            source: written.to_owned(),
            hash,
            input: input.map(Arc::new),
            output: output.map(Arc::new),
        })
    }

    /// `name@version`.
    pub fn label(&self) -> String {
        Versioned::label(self)
    }

    /// Whether a limit's glob names it, as `prompt/NAME` or `prompt/NAME@VERSION`.
    pub fn is_named_by(&self, glob: &str) -> bool {
        limits::names_prompt(glob, &self.name, self.version)
    }

    /// The state that holds at a time: past its sunset a prompt is retired.
    pub fn state_at(&self, now: Timestamp) -> State {
        self.life.state_at(now)
    }

    /// What in the variables their schema does not allow.
    pub fn input_violations(&self, input: &Value) -> Vec<Violation> {
        violations(self.input.as_deref(), input)
    }

    /// What in an answer its schema does not allow.
    pub fn output_violations(&self, output: &Value) -> Vec<Violation> {
        violations(self.output.as_deref(), output)
    }

    /// The prompt for one call, whose output schema has the values of variables in it where the file says so.
    pub fn fitted(self: Arc<Self>, input: &Value) -> Result<Arc<Prompt>, Vec<Violation>> {
        let values: Vec<(&str, &String, &Value)> = self
            .filled
            .iter()
            .filter_map(|(pointer, variable)| Some((pointer.as_str(), variable, input.get(variable).filter(|value| !value.is_null())?)))
            .collect();
        let Some((_, first, _)) = values.first() else { return Ok(self) };
        let wrong = |message: String| vec![Violation { path: format!("/{first}"), message: cut(message, LONGEST) }];
        let mut schema = self.front.output.clone().unwrap_or_else(|| Value::Object(Map::new()));
        for (pointer, _, value) in &values {
            match pointer.rsplit_once('/') {
                None => schema = (*value).clone(),
                Some((parent, name)) => {
                    let parent = schema.pointer_mut(parent).and_then(Value::as_object_mut);
                    let parent = parent.ok_or_else(|| wrong(format!("it has no place at {pointer} of the output's schema")))?;
                    parent.insert(name.to_owned(), (*value).clone());
                }
            }
        }
        given::check(&schema).map_err(|error| wrong(format!("no answer can be checked by it: {error}")))?;
        let validator = validator(&schema).map_err(|error| wrong(format!("no answer can be checked by it: {error}")))?;
        let mut fitted = Prompt::clone(&self);
        fitted.front.output = Some(schema);
        fitted.output = Some(Arc::new(validator));
        Ok(Arc::new(fitted))
    }

    /// The schema of what callers give: what has a default need not be given.
    pub fn given(&self) -> Map<String, Value> {
        let mut schema = match &self.front.input {
            Some(Value::Object(schema)) => schema.clone(),
            _ => Map::new(),
        };
        schema.entry("type").or_insert_with(|| Value::from("object"));
        if let Some(Value::Array(required)) = schema.get_mut("required") {
            required.retain(|name| name.as_str().is_none_or(|name| !self.front.default.contains_key(name)));
        }
        schema
    }

    /// Variables that the template names and no caller can give.
    pub fn unknown_variables(&self) -> Vec<String> {
        let known = self.front.input.as_ref().and_then(|schema| schema.get("properties")?.as_object());
        let is_open = self.front.input.as_ref().is_some_and(|schema| schema.get("additionalProperties") != Some(&Value::Bool(false)));
        let Some(known) = known.filter(|_| !is_open) else { return Vec::new() };
        let source = plain(&self.source);
        let body = split(&source).map_or("", |parts| parts.body).to_owned();
        variables(&body).into_iter().filter(|name| !known.contains_key(name) && !self.front.default.contains_key(name)).collect()
    }

    /// The line of its file on which a field of the front matter stands; where it has none, that on which the front matter begins.
    pub fn line_of(&self, field: &str) -> usize {
        let source = plain(&self.source);
        split(&source).map_or(1, |parts| parts.front_line + super::dotprompt::line_of(parts.front.unwrap_or_default(), &[field]))
    }

    /// Whether the answer is JSON.
    pub fn gives_json(&self) -> bool {
        self.front.format.as_deref().map_or(self.front.output.is_some(), |format| format == "json")
    }

    /// `Deprecation` (RFC 9745), `Sunset` (RFC 8594) and `Link: rel="successor-version"`, and which prompt it is.
    pub fn headers(&self) -> Vec<(&'static str, HeaderValue)> {
        let label = HeaderValue::try_from(self.label()).ok().map(|label| ("keyward-prompt", label));
        label.into_iter().chain(self.life.headers("/prompts")).collect()
    }
}

/// A file's text without the mark that some editors begin it with, and with lines that all end the same.
fn plain(written: &str) -> String {
    written.strip_prefix('\u{feff}').unwrap_or(written).replace("\r\n", "\n")
}

/// The parts of an output's schema that are filled in; the error says which cannot be.
fn filled(field: Option<&Value>, front: &FrontMatter) -> Result<Vec<(String, String)>, String> {
    let wanted = "'keyward.output' has to name variables by the places in the output's schema that their values take, as { /properties/label/enum: labels }";
    let places = match field {
        None => return Ok(Vec::new()),
        Some(places) => places.as_object().ok_or(wanted)?,
    };
    let is_variable =
        |name: &str| front.input.as_ref().is_some_and(|schema| schema.get("properties").is_some_and(|all| all.get(name).is_some()));
    let one = |(pointer, variable): (&String, &Value)| {
        let variable = variable.as_str().ok_or(wanted)?;
        let parent = pointer.rsplit_once('/').map(|(parent, _)| parent);
        let has_place = parent.map_or(pointer.is_empty(), |parent| {
            front.output.as_ref().is_some_and(|schema| schema.pointer(parent).is_some_and(Value::is_object))
        });
        match (has_place, is_variable(variable)) {
            (false, _) => Err(format!("'{pointer}' in 'keyward.output' is no place in the output's schema")),
            (_, false) => Err(format!("'{variable}' in 'keyward.output' is no variable of the input's schema")),
            _ => Ok((pointer.clone(), variable.to_owned())),
        }
    };
    places.iter().map(one).collect()
}

/// What checks values by a schema, in bounded time for each text.
fn validator(schema: &Value) -> Result<Validator, String> {
    let patterns = PatternOptions::fancy_regex().backtrack_limit(MOST_TRIES);
    let options = jsonschema::options().with_draft(Draft::Draft202012).with_pattern_options(patterns);
    options.build(schema).map_err(|error| error.to_string())
}

fn violations(validator: Option<&Validator>, value: &Value) -> Vec<Violation> {
    validator.map_or_else(Vec::new, |validator| Violation::all(validator.iter_errors(value)))
}

// === impl Violation ===

impl Violation {
    /// The first of them, each in few words, and how many more there are: a large value has as many as it has parts, and is itself in each.
    pub fn all<'a>(errors: impl Iterator<Item = ValidationError<'a>>) -> Vec<Violation> {
        let mut errors = errors;
        let mut all: Vec<Violation> = errors.by_ref().take(MOST_VIOLATIONS).map(|error| Violation::of(&error)).collect();
        let more = errors.count();
        if more > 0 {
            all.push(Violation { path: String::new(), message: format!("and {more} more") });
        }
        all
    }

    fn of(error: &ValidationError<'_>) -> Violation {
        let mut path = error.instance_path().to_string();
        if let ValidationErrorKind::Required { property: Value::String(property) } = error.kind() {
            // What is missing has its place too.
            path = format!("{path}/{}", property.replace('~', "~0").replace('/', "~1"));
        }
        let is_large = matches!(&**error.instance(), Value::Array(_) | Value::Object(_));
        let message = if is_large { error.masked().to_string() } else { error.to_string() };
        Violation { path: cut(path, LONGEST), message: cut(message, LONGEST) }
    }
}

/// A text, or its beginning where it is longer.
fn cut(text: String, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}

/// The partials that a template uses, and those that they use.
fn used<'a>(body: &str, partials: &'a BTreeMap<String, String>) -> Vec<&'a str> {
    let mut names: Vec<String> = partials_in(body).into_iter().map(|(name, _)| name).collect();
    let mut at = 0;
    while let Some(text) = names.get(at).map(|name| partials.get(name).map_or("", String::as_str)) {
        let more: Vec<String> = partials_in(text).into_iter().map(|(name, _)| name).filter(|name| !names.contains(name)).collect();
        names.extend(more);
        at += 1;
    }
    names.iter().filter_map(|name| partials.get(name).map(String::as_str)).collect()
}

/// The name and version that a file's name says: `NAME.prompt`, `NAME.VARIANT.prompt`, `NAME@2.prompt`.
pub fn named(path: &Path) -> Option<(String, Option<u32>)> {
    let stem = path.file_name()?.to_str()?.strip_suffix(".prompt")?;
    match stem.split_once('@') {
        Some((name, number)) => Some((name.to_owned(), Some(versions::number(number)?))),
        None => Some((stem.to_owned(), None)),
    }
}
