//! Writes a request's messages as input items, in which everything but text and media is an item of its own.
//!
//! Source: `InputItem` and `InputContent` of OpenAI's API reference.

use std::borrow::Cow;

use ring::digest::{SHA256, digest};
use serde_json::{Value, json};

use super::{citation, native};
use crate::catalog::Dialect;
use crate::dialect::ir::{
    Block, Cache, Content, Dropped, Media, MediaKind, MediaSource, Message, Reasoning, Request, Role, ToolCall, ToolResult,
};
use crate::error::Refusal;
use crate::hex::hex;

/// OpenAI refuses calls whose id is longer.
const LONGEST_CALL_ID: usize = 64;

/// The messages, written.
#[derive(Debug, Default)]
pub struct Written {
    /// The first message, where it is a system's plain text.
    pub instructions: Option<String>,
    /// The others.
    pub input: Vec<Value>,
}

/// Items under way: parts are gathered until something else than a part comes.
struct Items<'a> {
    input: Vec<Value>,
    parts: Vec<Value>,
    role: Role,
    dropped: &'a mut Dropped,
}

/// Writes all messages.
pub fn encode(request: &Request, dropped: &mut Dropped) -> Result<Written, Refusal> {
    let mut messages = request.messages.as_slice();
    let mut instructions = None;
    if let [first, rest @ ..] = messages
        && !rest.is_empty()
        && first.role == Role::System
    {
        instructions = plain_text(first);
        if instructions.is_some() {
            dropped.note_if(first.content.iter().any(|block| block.cache.is_some()), "cache");
            messages = rest;
        }
    }
    let mut items = Items { input: Vec::new(), parts: Vec::new(), role: Role::User, dropped };
    for message in messages {
        items.message(message)?;
    }
    Ok(Written { instructions, input: items.input })
}

/// The text of a message that has nothing else.
fn plain_text(message: &Message) -> Option<String> {
    let texts: Option<Vec<&str>> = message.content.iter().map(Block::as_text).collect();
    texts.filter(|texts| !texts.is_empty()).map(|texts| texts.join("\n\n"))
}

// === impl Items ===

impl Items<'_> {
    fn message(&mut self, message: &Message) -> Result<(), Refusal> {
        self.role = message.role;
        self.dropped.note_if(message.name.is_some(), "name");
        // What an output or an assistant's message cannot hold follows as the user's.
        let mut after = Vec::new();
        for block in &message.content {
            let parts = self.parts.len();
            self.block(block, &mut after)?;
            self.mark(block, parts);
        }
        self.flush();
        if !after.is_empty() {
            self.input.push(json!({ "role": "user", "content": after }));
        }
        Ok(())
    }

    /// OpenAI's own mark of the prompt's cache stands on the part that it was on.
    fn mark(&mut self, block: &Block, parts_before: usize) {
        let Some(cache) = &block.cache else { return };
        let part = self.parts.get_mut(parts_before).filter(|_| self.role != Role::Assistant);
        match (part, &cache.breakpoint) {
            (Some(part), Some(mark)) => part[Cache::BREAKPOINT] = mark.clone(),
            _ => self.dropped.note("cache"),
        }
    }

    fn block(&mut self, block: &Block, after: &mut Vec<Value>) -> Result<(), Refusal> {
        let of = Dialect::OpenaiResponses;
        match &block.content {
            Content::Text { text, citations } if self.role == Role::Assistant => {
                let length = text.chars().count() as u64;
                let annotations: Vec<Value> = citations.iter().map(|cited| citation::write(cited, length)).collect();
                self.parts.push(json!({ "type": "output_text", "text": text, "annotations": annotations }));
            }
            Content::Text { text, .. } => self.parts.push(json!({ "type": "input_text", "text": text })),
            Content::Refusal(text) => self.parts.push(json!({ "type": "refusal", "refusal": text })),
            Content::Media(media) if self.role == Role::Assistant => after.push(media_part(media, self.dropped)?),
            Content::Media(media) => {
                let part = media_part(media, self.dropped)?;
                self.parts.push(part);
            }
            Content::Json(value) => self.parts.push(json!({ "type": "input_text", "text": value.to_string() })),
            Content::ToolCall(call) => self.item(tool_call(call)),
            Content::ToolResult(result) => {
                let item = tool_result(result, after, self.dropped)?;
                self.item(item);
            }
            Content::Reasoning(reasoning) => match reasoning_item(reasoning) {
                Some(item) => self.item(item),
                None => self.dropped.note("reasoning"),
            },
            Content::Other { of: owner, value } if *owner == of && native::is_part(value) => self.parts.push(value.clone()),
            Content::Other { of: owner, value } if *owner == of => self.item(value.clone()),
            Content::Builtin(builtin) if builtin.of == of => self.item(builtin.value.clone()),
            other @ (Content::Other { .. } | Content::Builtin(_)) => self.dropped.note(other.own_name()),
        }
        Ok(())
    }

    fn item(&mut self, item: Value) {
        self.flush();
        self.input.push(item);
    }

    /// Writes the parts that were gathered as a message: plain text where it is no more, which every provider takes.
    fn flush(&mut self) {
        let parts = std::mem::take(&mut self.parts);
        let role = match self.role {
            Role::System => "system",
            Role::Developer => "developer",
            Role::User | Role::Tool => "user",
            Role::Assistant => "assistant",
        };
        let item = match parts.as_slice() {
            [] => return,
            [only] if is_plain(only) => json!({ "role": role, "content": only["text"] }),
            _ => json!({ "type": "message", "role": role, "content": parts }),
        };
        self.input.push(item);
    }
}

fn is_plain(part: &Value) -> bool {
    let is_text = part["type"] == "input_text" || part["type"] == "output_text";
    is_text && part["text"] != "" && part["annotations"].as_array().is_none_or(Vec::is_empty)
}

fn tool_call(call: &ToolCall) -> Value {
    let id = call_id(&call.id);
    match call.is_custom {
        true => json!({ "type": "custom_tool_call", "call_id": id, "name": call.name, "input": call.arguments }),
        false => {
            let arguments = if call.arguments.trim().is_empty() { "{}" } else { &call.arguments };
            json!({ "type": "function_call", "call_id": id, "name": call.name, "arguments": arguments })
        }
    }
}

/// The id, or what stands for it where it is too long: the same for a call and for its output.
fn call_id(id: &str) -> Cow<'_, str> {
    if id.len() <= LONGEST_CALL_ID {
        return Cow::Borrowed(id);
    }
    let hash = digest(&SHA256, id.as_bytes());
    Cow::Owned(format!("call_{}", hex(&hash.as_ref()[..16])))
}

fn tool_result(result: &ToolResult, after: &mut Vec<Value>, dropped: &mut Dropped) -> Result<Value, Refusal> {
    dropped.note_if(result.is_error, "is_error");
    let mut parts = Vec::new();
    for block in &result.content {
        match &block.content {
            Content::Text { text, .. } | Content::Refusal(text) => parts.push(json!({ "type": "input_text", "text": text })),
            Content::Json(value) => parts.push(json!({ "type": "input_text", "text": value.to_string() })),
            Content::Media(media) if media.kind == MediaKind::Audio => after.push(media_part(media, dropped)?),
            Content::Media(media) => parts.push(media_part(media, dropped)?),
            Content::Other { of: Dialect::OpenaiResponses, value } => parts.push(value.clone()),
            // Whatever else a tool said is told as it is: a result is never lost.
            Content::Other { value, .. } => parts.push(json!({ "type": "input_text", "text": value.to_string() })),
            Content::Builtin(builtin) => parts.push(json!({ "type": "input_text", "text": builtin.value.to_string() })),
            Content::ToolCall(_) | Content::ToolResult(_) | Content::Reasoning(_) => dropped.note("content"),
        }
    }
    let output = match parts.as_slice() {
        [] => Value::from(""),
        [only] if is_plain(only) => only["text"].clone(),
        _ => Value::Array(parts),
    };
    let kind = if result.is_custom { "custom_tool_call_output" } else { "function_call_output" };
    Ok(json!({ "type": kind, "call_id": call_id(&result.call_id), "output": output }))
}

/// The item, if it can be the provider's own: encrypted by it, or known to it by its id.
fn reasoning_item(reasoning: &Reasoning) -> Option<Value> {
    let summary: Vec<Value> = match reasoning.text.as_str() {
        "" => Vec::new(),
        text => vec![json!({ "type": "summary_text", "text": text })],
    };
    let mut item = json!({ "type": "reasoning", "summary": summary });
    match &reasoning.signature {
        Some(signature) => item["encrypted_content"] = Value::from(signature.value_for(Dialect::OpenaiResponses)?),
        None => drop(reasoning.id.as_ref()?),
    }
    if let Some(id) = &reasoning.id {
        item["id"] = Value::from(id.as_str());
    }
    Some(item)
}

fn media_part(media: &Media, dropped: &mut Dropped) -> Result<Value, Refusal> {
    dropped.note_if(media.context.is_some(), "context");
    dropped.note_if(media.citable, "citations");
    match (&media.source, media.kind) {
        (MediaSource::File { of: Dialect::OpenaiResponses | Dialect::OpenaiChat, id }, MediaKind::Image) => {
            Ok(with_detail(json!({ "type": "input_image", "file_id": id }), media))
        }
        (MediaSource::File { of: Dialect::OpenaiResponses | Dialect::OpenaiChat, id }, _) => {
            Ok(json!({ "type": "input_file", "file_id": id }))
        }
        (MediaSource::File { id, .. }, _) => Err(inexpressible(&format!("the file '{id}', which another provider holds"))),
        (MediaSource::Text(text), _) => Ok(json!({ "type": "input_text", "text": media.told(text) })),
        (MediaSource::Url(_) | MediaSource::Base64(_), MediaKind::Image) => {
            let url = media.to_url().unwrap_or_default();
            Ok(with_detail(json!({ "type": "input_image", "image_url": url }), media))
        }
        (MediaSource::Base64(data), MediaKind::Audio) => {
            let format = match media.media_type.as_deref().unwrap_or("audio/wav") {
                "audio/mpeg" | "audio/mp3" => "mp3",
                "audio/x-wav" | "audio/wave" => "wav",
                other => other.strip_prefix("audio/").unwrap_or(other),
            };
            Ok(json!({ "type": "input_audio", "input_audio": { "data": data, "format": format } }))
        }
        (MediaSource::Url(url), MediaKind::Document) => Ok(json!({ "type": "input_file", "file_url": url })),
        (MediaSource::Base64(_), MediaKind::Document) => {
            let name = media.name.as_deref().unwrap_or("document.pdf");
            Ok(json!({ "type": "input_file", "filename": name, "file_data": media.to_url() }))
        }
        (_, MediaKind::Audio) => Err(inexpressible("audio by its URL")),
        (_, MediaKind::Video) => Err(inexpressible("video")),
    }
}

fn with_detail(mut part: Value, media: &Media) -> Value {
    if let Some(detail) = &media.detail {
        part["detail"] = Value::from(detail.as_str());
    }
    part
}

fn inexpressible(what: &str) -> Refusal {
    let message = format!("The provider behind this model cannot take {what}: leave it out, or ask a model that can.");
    Refusal::invalid("not_expressible", message).with_param("messages")
}
