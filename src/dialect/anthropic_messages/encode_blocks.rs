//! Writes content blocks of a request's messages.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::citation;
use crate::catalog::Dialect;
use crate::dialect::ir::{Block, Cache, Content, Dropped, Media, MediaKind, MediaSource, Reasoning, ToolCall, ToolResult};
use crate::error::Refusal;

const DIALECT: Dialect = Dialect::AnthropicMessages;

/// Whose turn a block stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// The caller's, or a tool's result.
    User,
    /// The model's.
    Assistant,
}

/// A block; `None` where nothing is left of it.
pub fn encode(block: &Block, turn: Turn, dropped: &mut Dropped) -> Result<Option<Value>, Refusal> {
    let written = match &block.content {
        Content::Text { text, citations } => text_block(text).map(|mut written| {
            let own: Vec<Value> = citations.iter().filter_map(citation::native).cloned().collect();
            dropped.note_if(own.len() < citations.len(), "citations");
            if !own.is_empty() {
                written["citations"] = Value::Array(own);
            }
            written
        }),
        Content::Refusal(text) => text_block(text),
        Content::Json(value) => text_block(&value.to_string()),
        Content::Media(_) if turn == Turn::Assistant => {
            dropped.note("messages.media");
            None
        }
        Content::Media(media) => {
            dropped.note_if(media.detail.as_deref().is_some_and(|detail| detail != "auto"), "detail");
            Some(self::media(media)?)
        }
        Content::ToolCall(call) => Some(tool_use(call)),
        Content::ToolResult(result) => Some(tool_result(result, dropped)?),
        Content::Reasoning(reasoning) => {
            let written = self::reasoning(reasoning);
            dropped.note_if(written.is_none(), "reasoning");
            // It cannot be a place where a cache reaches up to.
            return Ok(written);
        }
        Content::Builtin(builtin) if builtin.of == DIALECT => Some(builtin.value.clone()),
        Content::Other { of: DIALECT, value } => Some(value.clone()),
        other @ (Content::Builtin(_) | Content::Other { .. }) => {
            dropped.note(other.own_name());
            None
        }
    };
    Ok(written.map(|mut written| {
        if let (Some(cache), Value::Object(fields)) = (&block.cache, &mut written) {
            fields.insert("cache_control".to_owned(), self::cache(cache));
        }
        written
    }))
}

/// A cache mark.
pub fn cache(cache: &Cache) -> Value {
    match &cache.ttl {
        Some(ttl) => json!({ "type": "ephemeral", "ttl": ttl }),
        None => json!({ "type": "ephemeral" }),
    }
}

/// The arguments of a call as the object that the dialect wants.
pub fn input(call: &ToolCall) -> Value {
    match serde_json::from_str::<Value>(&call.arguments) {
        _ if call.is_custom => json!({ "input": call.arguments }),
        Ok(Value::Object(fields)) => Value::Object(fields),
        Ok(Value::Null) => json!({}),
        Ok(other) => json!({ "input": other }),
        Err(_) if call.arguments.trim().is_empty() => json!({}),
        Err(_) => json!({ "input": call.arguments }),
    }
}

/// An id of characters that the dialect takes; another's is changed in the same way wherever it stands.
pub fn call_id(id: &str) -> String {
    let is_good = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    match !id.is_empty() && id.chars().all(is_good) {
        true => id.to_owned(),
        // The checksum keeps ids apart that differ only in what is replaced.
        false => format!("{}_{:08x}", id.replace(|c| !is_good(c), "_"), crc32fast::hash(id.as_bytes())),
    }
}

/// Blank text is refused, so it is left out.
fn text_block(text: &str) -> Option<Value> {
    (!text.trim().is_empty()).then(|| json!({ "type": "text", "text": text }))
}

fn tool_use(call: &ToolCall) -> Value {
    json!({ "type": "tool_use", "id": call_id(&call.id), "name": call.name, "input": input(call) })
}

fn tool_result(result: &ToolResult, dropped: &mut Dropped) -> Result<Value, Refusal> {
    let mut content = Vec::with_capacity(result.content.len());
    for block in &result.content {
        content.extend(encode(block, Turn::User, dropped)?);
    }
    let mut written = json!({ "type": "tool_result", "tool_use_id": call_id(&result.call_id) });
    match result.content.as_slice() {
        [Block { content: Content::Text { text, citations }, cache: None }] if citations.is_empty() => {
            written["content"] = Value::from(text.as_str())
        }
        _ if content.is_empty() => {}
        _ => written["content"] = Value::Array(content),
    }
    if result.is_error {
        written["is_error"] = Value::Bool(true);
    }
    Ok(written)
}

fn reasoning(reasoning: &Reasoning) -> Option<Value> {
    let signature = reasoning.signature.as_ref()?.value_for(DIALECT)?;
    Some(match reasoning.is_redacted {
        true => json!({ "type": "redacted_thinking", "data": signature }),
        false => json!({ "type": "thinking", "thinking": reasoning.text, "signature": signature }),
    })
}

fn media(media: &Media) -> Result<Value, Refusal> {
    let kind = match media.kind {
        MediaKind::Image => "image",
        MediaKind::Document => "document",
        MediaKind::Audio => return Err(not_expressible("audio", "send its transcript as text")),
        MediaKind::Video => return Err(not_expressible("video", "send images of it")),
    };
    let mut written = Map::from_iter([("type".to_owned(), Value::from(kind)), ("source".to_owned(), source(media)?)]);
    if media.kind == MediaKind::Document {
        written.extend(media.name.as_ref().map(|name| ("title".to_owned(), Value::from(name.as_str()))));
        written.extend(media.context.as_ref().map(|context| ("context".to_owned(), Value::from(context.as_str()))));
        if media.citable {
            written.insert("citations".to_owned(), json!({ "enabled": true }));
        }
    }
    Ok(Value::Object(written))
}

fn source(media: &Media) -> Result<Value, Refusal> {
    Ok(match &media.source {
        MediaSource::Text(text) => json!({ "type": "text", "media_type": "text/plain", "data": text }),
        MediaSource::File { of: DIALECT, id } => json!({ "type": "file", "file_id": id }),
        MediaSource::File { .. } => return Err(not_expressible("a file that was uploaded to another provider", "send its content inline")),
        MediaSource::Url(url) if url.starts_with("https://") || url.starts_with("http://") => json!({ "type": "url", "url": url }),
        MediaSource::Url(_) => return Err(not_expressible("media at an address that is not https", "send its content inline")),
        MediaSource::Base64(data) if media.kind == MediaKind::Document => document(media, data)?,
        MediaSource::Base64(data) => {
            let media_type = media.media_type.as_deref().filter(|media_type| media_type.starts_with("image/"));
            json!({ "type": "base64", "media_type": media_type.unwrap_or_else(|| image_type(data)), "data": data })
        }
    })
}

/// A PDF as it is, text as text; nothing else is taken.
fn document(media: &Media, data: &str) -> Result<Value, Refusal> {
    let media_type = media.media_type.as_deref().unwrap_or("application/pdf");
    let essence = media_type.split(';').next().unwrap_or_default().trim();
    if essence == "application/pdf" || data.starts_with("JVBERi") {
        return Ok(json!({ "type": "base64", "media_type": "application/pdf", "data": data }));
    }
    let is_text = essence.starts_with("text/") || ["json", "xml", "yaml", "javascript", "csv"].iter().any(|kind| essence.ends_with(kind));
    let text = STANDARD.decode(data).ok().filter(|_| is_text).and_then(|bytes| String::from_utf8(bytes).ok());
    match text {
        Some(text) => Ok(json!({ "type": "text", "media_type": "text/plain", "data": text })),
        None => Err(not_expressible(&format!("a document of the type '{essence}'"), "send it as a PDF or as text")),
    }
}

/// By its first bytes, where nothing says what an image is.
fn image_type(data: &str) -> &'static str {
    match data.get(..4) {
        Some("/9j/") => "image/jpeg",
        Some("R0lG") => "image/gif",
        Some("UklG") => "image/webp",
        _ => "image/png",
    }
}

fn not_expressible(what: &str, instead: &str) -> Refusal {
    let message = format!("Claude does not take {what}: {instead}, or choose a model that takes it.");
    Refusal::invalid("not_expressible", message).with_param("messages")
}
