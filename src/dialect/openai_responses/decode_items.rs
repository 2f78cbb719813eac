//! Reads a request's input items into messages: an assistant's neighbouring items are one message, the outputs of tools another.
//!
//! Source: `InputItem` and `InputContent` of OpenAI's API reference.

use serde_json::{Map, Value};

use super::carried::Carried;
use super::fields::{self, take_list, take_text, wrong};
use super::{citation, native};
use crate::catalog::Dialect;
use crate::dialect::ir::{
    Block, Cache, Content, Media, MediaKind, MediaSource, Message, Reasoning, Request, Role, Signature, ToolCall, ToolResult,
};
use crate::error::Refusal;

/// Reads the items and adds their messages.
pub fn decode(items: Vec<Value>, request: &mut Request) -> Result<(), Refusal> {
    let mut of_calls = Vec::new();
    for item in items {
        let Value::Object(map) = item else {
            return Err(wrong("input", "Each item of 'input' has to be an object, such as {\"role\": \"user\", \"content\": \"…\"}."));
        };
        decode_item(map, request, &mut of_calls)?;
    }
    for (call_id, signature) in of_calls {
        sign(&call_id, signature, request);
    }
    Ok(())
}

fn decode_item(mut map: Map<String, Value>, request: &mut Request, of_calls: &mut Vec<(String, Signature)>) -> Result<(), Refusal> {
    let kind = match map.get("type") {
        Some(Value::String(kind)) => kind.clone(),
        _ => "message".to_owned(),
    };
    match kind.as_str() {
        "message" => decode_message(map, request)?,
        "function_call" | "custom_tool_call" => assistant(request, [Content::ToolCall(tool_call(&mut map)?).into()]),
        "function_call_output" | "custom_tool_call_output" => {
            let result = tool_result(map, kind.starts_with("custom"))?;
            request.push(Message::new(Role::Tool, vec![Content::ToolResult(result).into()]));
        }
        "reasoning" => match reasoning(map) {
            Thought::Block(reasoning) => assistant(request, [Content::Reasoning(reasoning).into()]),
            Thought::OfCall(call_id, signature) => of_calls.push((call_id, signature)),
        },
        _ => {
            let block = native::block(&kind, Value::Object(map));
            match native::is_callers(&kind) {
                true => request.messages.push(Message::new(Role::User, vec![block])),
                false => assistant(request, [block]),
            }
        }
    }
    Ok(())
}

/// Adds to the assistant's message, which may have been begun.
fn assistant(request: &mut Request, blocks: impl IntoIterator<Item = Block>) {
    let mut blocks = blocks.into_iter().peekable();
    if blocks.peek().is_none() {
        return;
    }
    match request.messages.last_mut() {
        Some(last) if last.role == Role::Assistant => last.content.extend(blocks),
        _ => request.messages.push(Message::new(Role::Assistant, blocks.collect())),
    }
}

fn decode_message(mut map: Map<String, Value>, request: &mut Request) -> Result<(), Refusal> {
    let role = match map.get("role").and_then(Value::as_str) {
        Some("user") => Role::User,
        Some("assistant") => Role::Assistant,
        Some("system") => Role::System,
        Some("developer") => Role::Developer,
        _ => return Err(wrong("input", "A message's 'role' has to be 'user', 'assistant', 'system' or 'developer'.")),
    };
    let content = content(map.remove("content").unwrap_or_default())?;
    request.unread.extend(fields::unread("input", &map, &["type", "role", "id", "status"]));
    match role {
        // An assistant's text that says nothing stands beside its calls.
        Role::Assistant => assistant(request, content.into_iter().filter(|block| block.as_text() != Some(""))),
        _ => request.messages.push(Message::new(role, content)),
    }
    Ok(())
}

fn content(value: Value) -> Result<Vec<Block>, Refusal> {
    match value {
        Value::Null => Ok(Vec::new()),
        Value::String(text) => Ok(vec![Block::text(text)]),
        Value::Array(parts) => parts.into_iter().map(part).collect(),
        _ => Err(wrong("input", "A 'content' or 'output' has to be a string or a list of parts.")),
    }
}

fn part(value: Value) -> Result<Block, Refusal> {
    let Value::Object(mut map) = value else {
        return Err(wrong("input", "Each part of a 'content' has to be an object, such as {\"type\": \"input_text\", \"text\": \"…\"}."));
    };
    let kind = map.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
    let cache = map.get(Cache::BREAKPOINT).and_then(Cache::of_breakpoint);
    let content = match kind.as_str() {
        "input_text" | "output_text" | "text" => match map.remove("text") {
            Some(Value::String(text)) => {
                Content::Text { text, citations: take_list(&mut map, "annotations").into_iter().map(citation::read).collect() }
            }
            _ => return Err(wrong("input", "The 'text' of a text part has to be a string.")),
        },
        "refusal" => Content::Refusal(take_text(&mut map, "refusal")),
        "input_image" => Content::Media(image(&mut map)?),
        "input_file" => Content::Media(file(&mut map)?),
        "input_audio" => Content::Media(audio(map)?),
        "" => return Err(wrong("input", "Each part of a 'content' needs a 'type', such as 'input_text'.")),
        _ => Content::Other { of: Dialect::OpenaiResponses, value: Value::Object(map) },
    };
    Ok(Block { content, cache })
}

fn image(map: &mut Map<String, Value>) -> Result<Media, Refusal> {
    let url = take_text(map, "image_url");
    let mut media = match (url.as_str(), take_text(map, "file_id")) {
        ("", id) if id.is_empty() => return Err(wrong("input", "An 'input_image' needs an 'image_url' or a 'file_id'.")),
        ("", id) => Media::new(MediaKind::Image, MediaSource::File { of: Dialect::OpenaiResponses, id }, None),
        (url, _) => Media::from_url(MediaKind::Image, url),
    };
    media.detail = Some(take_text(map, "detail")).filter(|detail| !detail.is_empty());
    Ok(media)
}

fn file(map: &mut Map<String, Value>) -> Result<Media, Refusal> {
    let [data, url, id] = ["file_data", "file_url", "file_id"].map(|name| take_text(map, name));
    let mut media = match (data.as_str(), url.as_str(), id.as_str()) {
        ("", "", "") => return Err(wrong("input", "An 'input_file' needs 'file_data', a 'file_url' or a 'file_id'.")),
        ("", "", _) => Media::new(MediaKind::Document, MediaSource::File { of: Dialect::OpenaiResponses, id }, None),
        ("", url, _) => Media::from_url(MediaKind::Document, url),
        (data, ..) if data.starts_with("data:") => Media::from_url(MediaKind::Document, data),
        _ => Media::new(MediaKind::Document, MediaSource::Base64(data), None),
    };
    media.name = Some(take_text(map, "filename")).filter(|name| !name.is_empty());
    match media.media_type.as_deref() {
        Some(kind) if kind.starts_with("image/") => media.kind = MediaKind::Image,
        Some(kind) if kind.starts_with("audio/") => media.kind = MediaKind::Audio,
        Some(kind) if kind.starts_with("video/") => media.kind = MediaKind::Video,
        _ => {}
    }
    Ok(media)
}

fn audio(mut map: Map<String, Value>) -> Result<Media, Refusal> {
    let Some(Value::Object(mut inner)) = map.remove("input_audio") else {
        return Err(wrong("input", "An 'input_audio' part needs an object {\"data\", \"format\"} of the same name."));
    };
    let media_type = match take_text(&mut inner, "format").as_str() {
        "" => None,
        "mp3" => Some("audio/mpeg".to_owned()),
        format => Some(format!("audio/{format}")),
    };
    Ok(Media::new(MediaKind::Audio, MediaSource::Base64(take_text(&mut inner, "data")), media_type))
}

fn tool_call(map: &mut Map<String, Value>) -> Result<ToolCall, Refusal> {
    let is_custom = map.get("type").is_some_and(|kind| kind == "custom_tool_call");
    let (call_id, id) = (take_text(map, "call_id"), take_text(map, "id"));
    let call = ToolCall {
        // Some clients know the item by its own id alone.
        id: if call_id.is_empty() { id } else { call_id },
        name: take_text(map, "name"),
        arguments: take_text(map, if is_custom { "input" } else { "arguments" }),
        is_custom,
        signature: None,
    };
    match call.id.is_empty() || call.name.is_empty() {
        true => Err(wrong("input", "A tool call needs a 'call_id' and a 'name'.")),
        false => Ok(call),
    }
}

fn tool_result(mut map: Map<String, Value>, is_custom: bool) -> Result<ToolResult, Refusal> {
    let call_id = take_text(&mut map, "call_id");
    if call_id.is_empty() {
        return Err(wrong("input", "A tool's output needs the 'call_id' of its call."));
    }
    let content = match map.remove("output").unwrap_or_default() {
        Value::Object(json) => vec![Content::Json(Value::Object(json)).into()],
        Value::String(text) if text.is_empty() => Vec::new(),
        output => content(output)?,
    };
    Ok(ToolResult { call_id, name: None, content, is_error: false, is_custom })
}

/// What a reasoning item says.
pub enum Thought {
    /// Reasoning, readable or not.
    Block(Reasoning),
    /// The signature of the call of this id.
    OfCall(String, Signature),
}

/// Reads a reasoning item: its summary, or its own words where there is none.
pub fn reasoning(mut map: Map<String, Value>) -> Thought {
    let mut text = |name| {
        let parts = take_list(&mut map, name);
        let texts: Vec<&str> = parts.iter().filter_map(|part| part.get("text")?.as_str()).collect();
        texts.join("\n\n")
    };
    let (summary, own) = (text("summary"), text("content"));
    let text = if summary.is_empty() { own } else { summary };
    let id = Some(take_text(&mut map, "id")).filter(|id| !id.is_empty());
    let encrypted = take_text(&mut map, "encrypted_content");
    let block = |signature, is_redacted| Thought::Block(Reasoning { text, signature, is_redacted, id });
    if encrypted.is_empty() {
        return block(None, false);
    }
    match Carried::read(&encrypted) {
        Carried::Thought(signature) => block(Some(signature), false),
        Carried::Redacted(signature) => block(Some(signature), true),
        Carried::OfCall { call_id, signature } => Thought::OfCall(call_id, signature),
    }
}

fn sign(id: &str, signature: Signature, request: &mut Request) {
    let mut blocks = request.messages.iter_mut().flat_map(|message| &mut message.content);
    let call = blocks.find_map(|block| match &mut block.content {
        Content::ToolCall(call) if call.id == id => Some(call),
        _ => None,
    });
    if let Some(call) = call {
        call.signature = Some(signature);
    }
}
