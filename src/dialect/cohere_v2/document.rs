//! Documents that an answer may cite: in a request's `documents`, and in what a tool answered.
//!
//! Source: `Document` in Cohere's v2 chat reference: a text, or `{id, data}` with members of the caller's choice in `data`.

use serde_json::{Map, Value, json};

use crate::dialect::fields::{Fields, wrong};
use crate::dialect::ir::{Block, Content, Media, MediaKind, MediaSource};
use crate::error::Refusal;

/// Where the words of a document stand in its `data`.
const TEXTS: [&str; 2] = ["text", "snippet"];

/// Reads a document of a request.
pub fn read(value: Value) -> Result<Block, Refusal> {
    match parts(value)? {
        Parts { id, title, data: Data::Text(text) } => Ok(block(text, title.or(id))),
        Parts { id, title, data: Data::Object(data) } => Ok(block(Value::Object(data).to_string(), title.or(id))),
    }
}

/// Reads a document of a tool's result, which may be any object.
pub fn read_result(value: Value) -> Result<Block, Refusal> {
    match parts(value)? {
        Parts { title, data: Data::Text(text), .. } => Ok(block(text, title)),
        Parts { data: Data::Object(data), .. } => Ok(Content::Json(Value::Object(data)).into()),
    }
}

/// Writes a document.
pub fn write(text: &str, title: Option<&str>) -> Value {
    match title {
        Some(title) => json!({ "data": { "text": text, "title": title } }),
        None => json!({ "data": { "text": text } }),
    }
}

struct Parts {
    id: Option<String>,
    title: Option<String>,
    data: Data,
}

enum Data {
    /// Its words, and nothing beside them but a title.
    Text(String),
    /// Members that say more.
    Object(Map<String, Value>),
}

fn parts(value: Value) -> Result<Parts, Refusal> {
    if let Value::String(text) = value {
        return Ok(Parts { id: None, title: None, data: Data::Text(text) });
    }
    let mut fields = Fields::of(value, "documents")?;
    let id = fields.text("id")?;
    let mut data = match fields.take("data") {
        Some(Value::String(text)) => return Ok(Parts { id, title: None, data: Data::Text(text) }),
        Some(Value::Object(data)) => data,
        None => fields.rest(),
        Some(_) => return Err(wrong("documents", "has to hold texts, or objects with 'data'")),
    };
    let title = data.get("title").and_then(Value::as_str).map(str::to_owned);
    let known = usize::from(title.is_some()) + 1;
    let text = TEXTS.into_iter().find(|name| data.len() == known && data.get(*name).is_some_and(Value::is_string));
    match text.and_then(|name| data.remove(name)) {
        Some(Value::String(text)) => Ok(Parts { id, title, data: Data::Text(text) }),
        _ => Ok(Parts { id, title, data: Data::Object(data) }),
    }
}

fn block(text: String, name: Option<String>) -> Block {
    let media = Media { name, citable: true, ..Media::new(MediaKind::Document, MediaSource::Text(text), None) };
    Content::Media(media).into()
}
