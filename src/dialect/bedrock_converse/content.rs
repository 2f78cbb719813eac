//! Reads content blocks, of requests and of answers.
//!
//! Source: `ContentBlock` and `ToolResultContentBlock` in the Amazon Bedrock API reference: objects of one member, whose name says what they are.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::fields::{text, texts};
use super::{citations, media};
use crate::catalog::Dialect;
use crate::dialect::ir::{Block, Builtin, BuiltinKind, Cache, Citation, Content, Reasoning, Signature, ToolCall, ToolResult};

const D: Dialect = Dialect::BedrockConverse;
/// Marks a redacted content whose bytes are no text; nothing in base64 has a colon.
const BINARY: &str = "b64:";

/// Reads a list of blocks; in an assistant's message the results of tools are of those that the provider runs.
pub fn read_blocks(list: Value, is_assistant: bool) -> Result<Vec<Block>, String> {
    let Value::Array(list) = list else { return Err("'content' has to be a list of blocks".to_owned()) };
    let mut blocks: Vec<Block> = Vec::with_capacity(list.len());
    for item in list {
        let Value::Object(mut object) = item else { return Err("each block of 'content' has to be an object".to_owned()) };
        if object.len() > 1 {
            // Some say beside the member's name what it is.
            object.remove("type");
        }
        let Some((name, value)) = object.into_iter().find(|(_, value)| !value.is_null()) else { continue };
        if name == "cachePoint" {
            mark(&mut blocks, value);
        } else if name == "citationsContent" {
            read_cited(value, &mut blocks);
        } else {
            blocks.push(read_block(&name, value, is_assistant)?.into());
        }
    }
    Ok(blocks)
}

/// The mark goes to the block that it stands after.
fn mark(blocks: &mut Vec<Block>, value: Value) {
    match blocks.last_mut() {
        Some(block) if block.cache.is_none() => block.cache = Some(read_cache(&value)),
        _ => blocks.push(Content::Other { of: D, value: json!({ "cachePoint": value }) }.into()),
    }
}

/// Reads a cache point.
pub fn read_cache(value: &Value) -> Cache {
    Cache::new(text(value, "ttl"))
}

fn read_block(name: &str, value: Value, is_assistant: bool) -> Result<Content, String> {
    let wrapped = |value| json!({ name: value });
    Ok(match name {
        "text" => match value {
            Value::String(text) => Content::Text { text, citations: Vec::new() },
            _ => return Err("'text' has to be a string".to_owned()),
        },
        "toolUse" if text(&value, "type") == Some("server_tool_use") => {
            let kind = builtin_kind(text(&value, "name").unwrap_or_default());
            Content::Builtin(Builtin { kind, of: D, value: wrapped(value) })
        }
        "toolUse" => Content::ToolCall(read_tool_use(value)?),
        "toolResult" if is_assistant => {
            let kind = builtin_kind(text(&value, "type").unwrap_or_default());
            Content::Builtin(Builtin { kind, of: D, value: wrapped(value) })
        }
        "toolResult" => Content::ToolResult(read_tool_result(value)?),
        "reasoningContent" => read_reasoning(&value)?,
        // What is to be guarded is the caller's text like any other to whoever has no guardrails.
        "guardContent" => match (value.pointer("/text/text").and_then(Value::as_str), value.get("image")) {
            (Some(text), _) => Content::Text { text: text.to_owned(), citations: Vec::new() },
            (None, Some(image)) => media::read(crate::dialect::ir::MediaKind::Image, image)?,
            (None, None) => Content::Other { of: D, value: wrapped(value) },
        },
        "searchResult" => media::read_search_result(&value),
        "json" => Content::Json(value),
        _ => match media::kind(name) {
            Some(kind) => media::read(kind, &value)?,
            None => Content::Other { of: D, value: wrapped(value) },
        },
    })
}

fn read_tool_use(mut value: Value) -> Result<ToolCall, String> {
    let need = |name: &str| text(&value, name).filter(|text| !text.is_empty()).map(str::to_owned);
    let id = need("toolUseId").ok_or("'toolUse' has to have a 'toolUseId'")?;
    let name = need("name").ok_or("'toolUse' has to have a 'name'")?;
    let arguments = match value.get_mut("input").map(Value::take) {
        None | Some(Value::Null) => "{}".to_owned(),
        // Some models' arguments come as the text that they wrote.
        Some(Value::String(text)) => text,
        Some(input) => input.to_string(),
    };
    Ok(ToolCall { id, name, arguments, is_custom: false, signature: None })
}

fn read_tool_result(mut value: Value) -> Result<ToolResult, String> {
    let call_id = text(&value, "toolUseId").filter(|id| !id.is_empty()).ok_or("'toolResult' has to have a 'toolUseId'")?.to_owned();
    let is_error = text(&value, "status") == Some("error");
    let content = match value.get_mut("content").map(Value::take) {
        None | Some(Value::Null) => Vec::new(),
        Some(content) => read_blocks(content, false)?,
    };
    Ok(ToolResult { call_id, name: None, content, is_error, is_custom: false })
}

fn read_reasoning(value: &Value) -> Result<Content, String> {
    if let Some(redacted) = text(value, "redactedContent") {
        return Ok(Content::Reasoning(redacted_reasoning(redacted)));
    }
    let readable = value.get("reasoningText").ok_or("'reasoningContent' has to have a 'reasoningText' or a 'redactedContent'")?;
    Ok(Content::Reasoning(Reasoning {
        text: text(readable, "text").unwrap_or_default().to_owned(),
        signature: text(readable, "signature").filter(|text| !text.is_empty()).map(|text| Signature::read(text, D)),
        is_redacted: false,
        id: None,
    }))
}

/// Redacted reasoning from its base64. Within it is mostly the same text as behind Anthropic's own door, and that is kept.
pub fn redacted_reasoning(base64: &str) -> Reasoning {
    let bytes = STANDARD.decode(base64).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let inner = bytes.filter(|text| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic()) && !text.starts_with(BINARY));
    let value = inner.unwrap_or_else(|| format!("{BINARY}{base64}"));
    Reasoning { text: String::new(), signature: Some(Signature::read(&value, D)), is_redacted: true, id: None }
}

/// The base64 of redacted reasoning.
pub fn redacted_base64(value: &str) -> String {
    value.strip_prefix(BINARY).map_or_else(|| STANDARD.encode(value), str::to_owned)
}

fn read_cited(mut value: Value, blocks: &mut Vec<Block>) {
    let citations: Vec<Citation> = match value.get_mut("citations").map(Value::take) {
        Some(Value::Array(list)) => list.into_iter().map(citations::read).collect(),
        _ => Vec::new(),
    };
    let said = value.get("content").map(texts).unwrap_or_default().concat();
    match blocks.last_mut().map(|block| &mut block.content) {
        // Without words of its own it tells the sources of those before it.
        Some(Content::Text { citations: before, .. }) if said.is_empty() => before.extend(citations),
        _ => blocks.push(Content::Text { text: said, citations }.into()),
    }
}

/// Which of the tools that Amazon runs a name stands for.
pub fn builtin_kind(name: &str) -> BuiltinKind {
    match name {
        _ if name.starts_with("nova_code_interpreter") => BuiltinKind::CodeExecution,
        _ if name.starts_with("nova_grounding") => BuiltinKind::WebSearch,
        _ => BuiltinKind::Other,
    }
}
