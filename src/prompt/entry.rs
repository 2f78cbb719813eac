//! One prompt in one version: a file, checked whole.

use std::collections::BTreeMap;
use std::path::Path;

use http::HeaderValue;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jsonschema::Validator;
use ring::digest;
use serde_json::{Map, Value};

use super::dotprompt::{Fault, FrontMatter, Schemas, Template, partials_in, split};
use crate::hex::hex;

/// A prompt that can be called.
#[derive(Debug)]
pub struct Prompt {
    /// What callers name it.
    pub name: String,
    /// Which version, from 1 on.
    pub version: u32,
    /// Where it stands in its life.
    pub state: State,
    /// Since when it is deprecated, where the file says so.
    pub deprecated: Option<Timestamp>,
    /// When it stops being served.
    pub sunset: Option<Timestamp>,
    /// What to call instead: `name` or `name@version`.
    pub successor: Option<String>,
    /// Its share of the calls that name no version, beside the other published versions.
    pub weight: Option<u32>,
    /// What the file says.
    pub front: FrontMatter,
    /// What is rendered.
    pub template: Template,
    /// The file's text, as it was written.
    pub source: String,
    /// Of all that must not change once it is published.
    pub hash: String,
    input: Option<Validator>,
    output: Option<Validator>,
}

/// The states of a prompt's life, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it all")]
pub enum State {
    Draft,
    Published,
    Deprecated,
    Retired,
}

/// Something in a value that its schema does not allow.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Violation {
    /// A JSON pointer (RFC 6901); empty for the whole value.
    pub path: String,
    /// What is wrong there.
    pub message: String,
}

/// The fields under `keyward.` that a file may have; those from the second on may change after publishing.
const FIELDS: [&str; 6] = ["version", "state", "deprecated", "sunset", "successor", "weight"];

// === impl Prompt ===

impl Prompt {
    /// Reads a file of this name (`name`, with the version that the file's name says, if it does).
    pub fn read(name: &str, version: Option<u32>, source: &str, partials: &BTreeMap<String, String>) -> Result<Prompt, Fault> {
        let written = source;
        let source = written.replace("\r\n", "\n");
        let parts = split(&source)?;
        let yaml = parts.front.unwrap_or_default();
        let front = FrontMatter::read(yaml, parts.front_line, &Schemas::new())?;
        let at = |field: &str, message: String| Fault::at(parts.front_line + super::dotprompt::line_of(yaml, &[field]), message);
        let ours = front.ext.get("keyward").cloned().unwrap_or_default();
        if let Some(unknown) = ours.keys().find(|field| !FIELDS.contains(&field.as_str())) {
            let message =
                format!("'keyward.{unknown}' is no field: those are {}", FIELDS.map(|field| format!("keyward.{field}")).join(", "));
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
        let state = match text("state").as_deref() {
            None | Some("draft") => State::Draft,
            Some("published") => State::Published,
            Some("deprecated") => State::Deprecated,
            Some("retired") => State::Retired,
            Some(other) => {
                return Err(at("keyward.state", format!("'{other}' is no state: it is one of draft, published, deprecated, retired")));
            }
        };
        let moment = |field: &str| {
            let read = |text: String| {
                let message = format!("'{text}' is no time: write it as 2027-01-31 or 2027-01-31T12:00:00Z");
                time(&text).ok_or_else(|| at(&format!("keyward.{field}"), message))
            };
            text(field).map(read).transpose()
        };
        let schema = |schema: &Option<Value>, side: &str| {
            let compiled = schema.as_ref().map(jsonschema::draft202012::new).transpose();
            compiled.map_err(|error| at(side, format!("'{side}.schema' is no JSON Schema: {error}")))
        };
        let (input, output) = (schema(&front.input, "input")?, schema(&front.output, "output")?);
        let template = Template::compile(parts.body, parts.body_line, partials)?;
        let mut fixed: Map<String, Value> = front.raw.clone();
        FIELDS[1..].iter().for_each(|field| drop(fixed.shift_remove(&format!("keyward.{field}"))));
        fixed.shift_remove("keyward.version");
        let mut hashed = format!("{}\n{}", Value::Object(fixed), parts.body);
        for text in used(parts.body, partials) {
            hashed.push_str(text);
        }
        let hash = hex(digest::digest(&digest::SHA256, hashed.as_bytes()).as_ref());
        Ok(Prompt {
            name: name.to_owned(),
            version: version.or(own_version).unwrap_or(1),
            state,
            deprecated: moment("deprecated")?,
            sunset: moment("sunset")?,
            successor: text("successor"),
            weight: number("weight", 0)?,
            front,
            template,
            source: written.to_owned(),
            hash,
            input,
            output,
        })
    }

    /// `name@version`.
    pub fn label(&self) -> String {
        format!("{}@{}", self.name, self.version)
    }

    /// The state that holds at a time: past its sunset a prompt is retired.
    pub fn state_at(&self, now: Timestamp) -> State {
        match self.sunset {
            Some(sunset) if sunset <= now && self.state != State::Draft => State::Retired,
            _ => self.state,
        }
    }

    /// What in the variables their schema does not allow.
    pub fn input_violations(&self, input: &Value) -> Vec<Violation> {
        violations(self.input.as_ref(), input)
    }

    /// What in an answer its schema does not allow.
    pub fn output_violations(&self, output: &Value) -> Vec<Violation> {
        violations(self.output.as_ref(), output)
    }

    /// Whether the answer is JSON.
    pub fn gives_json(&self) -> bool {
        self.front.format.as_deref().map_or(self.front.output.is_some(), |format| format == "json")
    }

    /// `Deprecation` (RFC 9745), `Sunset` (RFC 8594) and `Link: rel="successor-version"`, and which prompt it is.
    pub fn headers(&self) -> Vec<(&'static str, HeaderValue)> {
        let mut headers = vec![("keyward-prompt", self.label())];
        if self.state == State::Deprecated {
            // Of a date that the file does not say, nothing is known but that it has passed.
            headers.push(("deprecation", format!("@{}", self.deprecated.map_or(0, Timestamp::as_second))));
        }
        if let Some(sunset) = self.sunset {
            headers.push(("sunset", sunset.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()));
        }
        if let Some(successor) = &self.successor {
            headers.push(("link", format!("</prompts/{successor}>; rel=\"successor-version\"")));
        }
        headers.into_iter().filter_map(|(name, value)| Some((name, HeaderValue::try_from(value).ok()?))).collect()
    }
}

// === impl State ===

impl State {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Draft => "draft",
            State::Published => "published",
            State::Deprecated => "deprecated",
            State::Retired => "retired",
        }
    }
}

fn violations(validator: Option<&Validator>, value: &Value) -> Vec<Violation> {
    let of = |error: jsonschema::ValidationError<'_>| Violation { path: error.instance_path().to_string(), message: error.to_string() };
    validator.into_iter().flat_map(|validator| validator.iter_errors(value)).map(of).collect()
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

fn time(text: &str) -> Option<Timestamp> {
    let day = || TimeZone::UTC.to_timestamp(text.parse::<Date>().ok()?.at(0, 0, 0, 0)).ok();
    text.parse().ok().or_else(day)
}

/// The name and version that a file's name says: `NAME.prompt`, `NAME.VARIANT.prompt`, `NAME@2.prompt`.
pub fn named(path: &Path) -> Option<(String, Option<u32>)> {
    let stem = path.file_name()?.to_str()?.strip_suffix(".prompt")?;
    match stem.split_once('@') {
        Some((name, version)) => Some((name.to_owned(), Some(version.parse().ok().filter(|version| *version > 0)?))),
        None => Some((stem.to_owned(), None)),
    }
}
