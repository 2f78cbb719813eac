//! Reads a request's fields, and says which one is wrong.

use serde_json::{Map, Value};

use super::Bad;
use super::text::MOST_TOKENS;

/// More choices than that are refused.
const MOST_CHOICES: u64 = 16;
/// A text is searched once for each of them.
const MOST_STOPS: usize = 16;
/// It is repeated in every choice. OpenAI's own limit is 64.
const LONGEST_NAME: usize = 256;

/// A request's body.
pub(super) struct Request(Map<String, Value>);

/// What a caller wants to be called: a function with its schema.
pub(super) struct Function<'a> {
    pub(super) name: &'a str,
    pub(super) parameters: Option<&'a Value>,
}

/// A way to ask for JSON.
pub(super) enum Format<'a> {
    Text,
    AnyObject,
    Schema(&'a Value),
}

/// What stands in a message: its text, and a note on what is no text.
#[derive(Default)]
pub(super) struct Content {
    pub(super) text: String,
    pub(super) images: usize,
    pub(super) sounds: usize,
    pub(super) files: usize,
}

// === impl Request ===

impl Request {
    pub(super) fn read(body: &[u8]) -> Result<Request, Bad> {
        match serde_json::from_slice(body) {
            Ok(Value::Object(fields)) => Ok(Request(fields)),
            Ok(_) => Err(Bad::new("body_not_an_object", "The Keyward simulator needs a JSON object.")),
            Err(e) => Err(Bad::new("body_not_json", format!("The Keyward simulator cannot read the body: {e}."))),
        }
    }

    /// A field that is there and not null.
    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    pub(super) fn text(&self, name: &'static str) -> Result<Option<&str>, Bad> {
        self.get(name).map(|value| value.as_str().ok_or_else(|| Bad::value(name, "has to be a string"))).transpose()
    }

    pub(super) fn flag(&self, name: &'static str) -> Result<bool, Bad> {
        self.get(name).map_or(Ok(false), |value| value.as_bool().ok_or_else(|| Bad::value(name, "has to be true or false")))
    }

    pub(super) fn positive(&self, name: &'static str) -> Result<Option<u64>, Bad> {
        let read = |value: &Value| value.as_u64().filter(|&n| n > 0).ok_or_else(|| Bad::value(name, "has to be a whole number above 0"));
        self.get(name).map(read).transpose()
    }

    pub(super) fn choices(&self) -> Result<u32, Bad> {
        match self.positive("n")?.unwrap_or(1) {
            n if n > MOST_CHOICES => Err(Bad::value("n", "is too large: the simulator makes 16 choices at the most")),
            n => Ok(n as u32),
        }
    }

    /// The most tokens of one choice, by the first of these fields that is there and by what all choices together may have.
    pub(super) fn limit(&self, fields: &[&'static str], choices: u32) -> Result<usize, Bad> {
        let most = (MOST_TOKENS / choices.max(1) as usize).max(1);
        for field in fields {
            if let Some(asked) = self.positive(field)? {
                return Ok(usize::try_from(asked).unwrap_or(most).min(most));
            }
        }
        Ok(most)
    }

    /// Texts at which an answer is to stop.
    pub(super) fn stops(&self) -> Result<Vec<&str>, Bad> {
        match self.get("stop") {
            None => Ok(Vec::new()),
            Some(Value::String(stop)) => Ok(vec![stop.as_str()]),
            Some(Value::Array(list)) if list.len() > MOST_STOPS => {
                Err(Bad::value("stop", "is too long: the simulator takes 16 at the most"))
            }
            Some(Value::Array(list)) => {
                list.iter().map(|stop| stop.as_str().ok_or_else(|| Bad::value("stop", "has to be a string or a list of strings"))).collect()
            }
            Some(_) => Err(Bad::value("stop", "has to be a string or a list of strings")),
        }
    }

    pub(super) fn wants_usage(&self) -> Result<bool, Bad> {
        match self.get("stream_options") {
            None => Ok(false),
            Some(Value::Object(options)) => Ok(options.get("include_usage").and_then(Value::as_bool).unwrap_or(false)),
            Some(_) => Err(Bad::value("stream_options", "has to be an object")),
        }
    }

    /// The function that has to be called, if any; OpenAI's two dialects nest its name in different depths.
    pub(super) fn forced_function(&self) -> Result<Option<Function<'_>>, Bad> {
        let tools = match self.get("tools") {
            None => &[],
            Some(Value::Array(tools)) => tools.as_slice(),
            Some(_) => return Err(Bad::value("tools", "has to be a list")),
        };
        let mut functions = tools.iter().filter(|tool| tool["type"] == "function").filter_map(|tool| {
            let function = tool.get("function").unwrap_or(tool);
            let name = function["name"].as_str().filter(|name| name.len() <= LONGEST_NAME)?;
            Some(Function { name, parameters: function.get("parameters").filter(|schema| schema.is_object()) })
        });
        let Some(choice) = self.get("tool_choice") else { return Ok(None) };
        let named = choice.get("function").unwrap_or(choice).get("name").and_then(Value::as_str);
        let mode = choice.as_str().or_else(|| choice.get("allowed_tools").unwrap_or(choice).get("mode")?.as_str());
        match (named, mode) {
            (Some(name), _) => match functions.find(|function| function.name == name) {
                Some(function) => Ok(Some(function)),
                None => Err(Bad::value("tool_choice", "names a function that 'tools' does not have")),
            },
            (None, Some("required")) => match functions.next() {
                Some(function) => Ok(Some(function)),
                None => Err(Bad::value("tool_choice", "is 'required', and 'tools' has no function to call")),
            },
            (None, Some("auto" | "none")) => Ok(None),
            _ => Err(Bad::value("tool_choice", "has to be 'none', 'auto', 'required' or name a function")),
        }
    }
}

// === impl Format ===

impl<'a> Format<'a> {
    /// Reads chat's `response_format` or Responses' `text.format`, which has the schema one level higher.
    pub(super) fn read(format: Option<&'a Value>, param: &'static str) -> Result<Format<'a>, Bad> {
        let Some(format) = format else { return Ok(Format::Text) };
        match format["type"].as_str() {
            Some("text") => Ok(Format::Text),
            Some("json_object") => Ok(Format::AnyObject),
            Some("json_schema") => match format.get("json_schema").unwrap_or(format).get("schema") {
                Some(schema) if schema.is_object() => Ok(Format::Schema(schema)),
                _ => Err(Bad::value(param, "has no schema")),
            },
            _ => Err(Bad::value(param, "has to have the type 'text', 'json_object' or 'json_schema'")),
        }
    }
}

// === impl Content ===

impl Content {
    pub(super) fn of_text(text: &str) -> Content {
        Content { text: text.to_owned(), ..Content::default() }
    }

    /// A string, or a list of parts.
    pub(super) fn read(content: &Value, param: &'static str) -> Result<Content, Bad> {
        let mut read = Content::default();
        match content {
            Value::Null => {}
            Value::String(text) => read.text.clone_from(text),
            Value::Array(parts) => {
                for part in parts {
                    read.add(part, param)?;
                }
            }
            _ => return Err(Bad::value(param, "has a content that is neither a string nor a list of parts")),
        }
        Ok(read)
    }

    fn add(&mut self, part: &Value, param: &'static str) -> Result<(), Bad> {
        match part["type"].as_str() {
            Some("text" | "input_text" | "output_text" | "refusal") => {
                let text = part.get("text").or(part.get("refusal")).and_then(Value::as_str);
                let text = text.ok_or_else(|| Bad::value(param, "has a text part without text"))?;
                if !self.text.is_empty() {
                    self.text.push('\n');
                }
                self.text.push_str(text);
            }
            Some("image_url" | "input_image") => self.images += 1,
            Some("input_audio") => self.sounds += 1,
            Some("file" | "input_file") => self.files += 1,
            _ => return Err(Bad::value(param, "has a part of a type that the simulator does not know")),
        }
        Ok(())
    }

    /// "and 1 image", or nothing.
    pub(super) fn note(&self) -> String {
        let kinds = [(self.images, "image", "images"), (self.sounds, "audio clip", "audio clips"), (self.files, "file", "files")];
        let counted = kinds.iter().filter(|(count, ..)| *count > 0);
        counted.map(|(count, one, many)| format!(" and {count} {}", if *count == 1 { one } else { many })).collect()
    }
}
