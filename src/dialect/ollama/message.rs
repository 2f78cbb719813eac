//! What messages and answers share: images, tool calls, reasoning.
//!
//! Ollama signs none of its reasoning; the mark that it was Ollama's lets it find its way back through other dialects. Reasoning and tool
//! calls of other providers have their signature beside them.

use serde_json::{Map, Value, json};

use crate::catalog::Dialect;
use crate::dialect::fields::{Fields, wrong};
use crate::dialect::ir::{Block, Content, Media, MediaKind, MediaSource, Reasoning, Signature, ToolCall};
use crate::error::Refusal;

pub const OWN: Dialect = Dialect::Ollama;
const THINKING: &str = "thinking";
/// How the base64 form of an image's first bytes begins.
const IMAGES: [(&str, &str); 4] = [("iVBORw0KGgo", "image/png"), ("/9j/", "image/jpeg"), ("R0lGOD", "image/gif"), ("UklGR", "image/webp")];

/// The mark of reasoning that was Ollama's.
pub fn thinking_mark() -> Signature {
    Signature::new(OWN, THINKING)
}

/// Whether Ollama can take reasoning back: its own, or one that nobody signed.
pub fn is_own(reasoning: &Reasoning) -> bool {
    !reasoning.is_redacted && reasoning.signature.as_ref().is_none_or(|signature| signature.by == OWN)
}

/// A signature as it stands in a message; Ollama's own mark is not told.
pub fn told_signature(signature: &Signature) -> Option<String> {
    (signature.by != OWN).then(|| signature.write(OWN))
}

/// Reasoning as it stands in `thinking`, with its signature; `None` where there is neither.
pub fn reasoning(text: Option<String>, signature: Option<String>, is_redacted: bool) -> Option<Block> {
    let text = text.unwrap_or_default();
    if text.is_empty() && signature.is_none() {
        return None;
    }
    let signature = signature.map_or_else(thinking_mark, |text| Signature::read(&text, OWN));
    Some(Content::Reasoning(Reasoning { text, signature: Some(signature), is_redacted, id: None }).into())
}

/// An image in base64; its type is told by its first bytes.
pub fn image(data: String) -> Block {
    let data = match data.split_once(";base64,") {
        Some((head, data)) if head.starts_with("data:") => data.to_owned(),
        _ => data,
    };
    let media_type = IMAGES.iter().find(|(start, _)| data.starts_with(start)).map(|(_, media_type)| (*media_type).to_owned());
    Content::Media(Media::new(MediaKind::Image, MediaSource::Base64(data), media_type)).into()
}

/// A tool call; its id may be empty, which is for the reader to mend.
pub fn call(value: Value, field: &'static str) -> Result<ToolCall, Refusal> {
    let mut call = Fields::of(value, field)?;
    let mut function = call.object("function")?.ok_or_else(|| wrong(field, "has a tool call without 'function'"))?;
    let arguments = match function.take("arguments") {
        Some(Value::String(text)) if !text.trim().is_empty() => text,
        Some(object @ Value::Object(_)) => object.to_string(),
        _ => "{}".to_owned(),
    };
    Ok(ToolCall {
        id: call.text("id")?.unwrap_or_default(),
        name: function.text("name")?.unwrap_or_default(),
        arguments,
        is_custom: false,
        signature: call.text("signature")?.map(|text| Signature::read(&text, OWN)),
    })
}

/// A tool call as it stands in `tool_calls`; arguments that are no object are put into one.
pub fn call_value(id: &str, name: &str, arguments: &str, is_custom: bool, at: usize) -> Map<String, Value> {
    let parsed = match is_custom {
        true => None,
        false if arguments.trim().is_empty() => Some(Value::Object(Map::new())),
        false => serde_json::from_str::<Value>(arguments).ok(),
    };
    let arguments = match parsed {
        Some(object @ Value::Object(_)) => object,
        Some(Value::Null) => Value::Object(Map::new()),
        Some(other) => json!({ "input": other }),
        None => json!({ "input": arguments }),
    };
    Map::from_iter([
        ("id".to_owned(), Value::from(id)),
        ("function".to_owned(), json!({ "index": at, "name": name, "arguments": arguments })),
    ])
}
