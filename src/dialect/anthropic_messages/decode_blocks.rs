//! Reads content blocks of a request's messages.
//!
//! Source: `messages.content` of the Messages reference.

use serde_json::{Map, Value};

use super::fields::{take_of, wrong};
use super::{carried, citation};
use crate::catalog::Dialect;
use crate::dialect::ir::{
    Block, Builtin, BuiltinKind, Cache, Content, Media, MediaKind, MediaSource, Reasoning, Signature, ToolCall, ToolResult,
};
use crate::error::Refusal;

const DIALECT: Dialect = Dialect::AnthropicMessages;
const TEXT: &str = "has to be text";

/// A message's `content`: a text, or a list of blocks.
pub fn decode(content: Value) -> Result<Vec<Block>, Refusal> {
    match content {
        Value::String(text) => Ok(vec![Block::text(text)]),
        Value::Array(blocks) => blocks.into_iter().map(block).collect(),
        Value::Null => Ok(Vec::new()),
        _ => Err(wrong("messages", "has a content that is neither a text nor a list of blocks")),
    }
}

/// A block of any kind.
pub fn block(value: Value) -> Result<Block, Refusal> {
    let Value::Object(mut fields) = value else {
        return Err(wrong("messages", "has a content block that is no object"));
    };
    let cache = cache(fields.remove("cache_control"));
    let kind = match fields.get("type") {
        Some(Value::String(kind)) => kind.clone(),
        _ => return Err(wrong("messages", "has a content block without a 'type'")),
    };
    let text = |fields: &mut Map<String, Value>, name: &str| take_of::<String>(fields, "messages", name, TEXT);
    let content = match kind.as_str() {
        "text" => Content::Text {
            text: text(&mut fields, "text")?.ok_or_else(|| wrong("messages", "has a text block without a 'text'"))?,
            citations: citations(&mut fields),
        },
        "image" => media(fields, MediaKind::Image)?,
        "document" => media(fields, MediaKind::Document)?,
        "search_result" => search_result(fields)?,
        "tool_use" => {
            let arguments = fields.remove("input").filter(|input| !input.is_null());
            Content::ToolCall(ToolCall {
                id: text(&mut fields, "id")?
                    .filter(|id| !id.is_empty())
                    .ok_or_else(|| wrong("messages", "has a tool_use without an 'id'"))?,
                name: text(&mut fields, "name")?.ok_or_else(|| wrong("messages", "has a tool_use without a 'name'"))?,
                arguments: arguments.map_or_else(|| "{}".to_owned(), |input| input.to_string()),
                is_custom: false,
                signature: None,
            })
        }
        "tool_result" => Content::ToolResult(ToolResult {
            call_id: text(&mut fields, "tool_use_id")?.ok_or_else(|| wrong("messages", "has a tool_result without a 'tool_use_id'"))?,
            name: None,
            content: decode(fields.remove("content").unwrap_or_default())?,
            is_error: take_of(&mut fields, "messages", "is_error", "has to be true or false")?.unwrap_or(false),
            is_custom: false,
        }),
        "thinking" => {
            let signature = text(&mut fields, "signature")?.filter(|signature| !signature.is_empty());
            Content::Reasoning(Reasoning {
                text: text(&mut fields, "thinking")?.unwrap_or_default(),
                signature: signature.map(|signature| Signature::read(&signature, DIALECT)),
                is_redacted: false,
                id: None,
            })
        }
        "redacted_thinking" => carried::redacted(text(&mut fields, "data")?.unwrap_or_default()),
        kind => match builtin_kind(kind, fields.get("name").and_then(Value::as_str)) {
            Some(kind) => Content::Builtin(Builtin { kind, of: DIALECT, value: Value::Object(fields) }),
            None => Content::Other { of: DIALECT, value: Value::Object(fields) },
        },
    };
    Ok(Block { content, cache })
}

/// `cache_control`; `null` is none.
pub fn cache(value: Option<Value>) -> Option<Cache> {
    let Some(Value::Object(mark)) = value else { return None };
    Some(Cache::new(mark.get("ttl").and_then(Value::as_str)))
}

/// Which built-in tool a block is of: `server_tool_use`, `web_search_tool_result` and the like; `None` for other blocks.
pub fn builtin_kind(kind: &str, name: Option<&str>) -> Option<BuiltinKind> {
    let tool = match kind {
        "server_tool_use" => name.unwrap_or_default(),
        "mcp_tool_use" => "mcp",
        _ => kind.strip_suffix("_tool_result").filter(|tool| !tool.is_empty())?,
    };
    Some(match tool {
        "web_search" => BuiltinKind::WebSearch,
        "web_fetch" => BuiltinKind::WebFetch,
        "code_execution" | "bash_code_execution" | "text_editor_code_execution" => BuiltinKind::CodeExecution,
        "mcp" => BuiltinKind::Mcp,
        _ => BuiltinKind::Other,
    })
}

fn citations(fields: &mut Map<String, Value>) -> Vec<crate::dialect::ir::Citation> {
    match fields.remove("citations") {
        Some(Value::Array(list)) => list.into_iter().map(citation::decode).collect(),
        _ => Vec::new(),
    }
}

/// An image or a document; one whose source is of an unknown kind is kept as it came.
fn media(mut fields: Map<String, Value>, kind: MediaKind) -> Result<Content, Refusal> {
    let Some(Value::Object(source)) = fields.get_mut("source") else {
        return Err(wrong("messages", "has an image or a document without a 'source'"));
    };
    let which = source.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
    let member = match which.as_str() {
        "base64" | "text" => "data",
        "url" => "url",
        "file" => "file_id",
        "content" => "content",
        _ => "",
    };
    let value = match source.get(member) {
        Some(Value::String(_)) => source.remove(member).and_then(|value| if let Value::String(text) = value { Some(text) } else { None }),
        Some(Value::Array(blocks)) if which == "content" => plain_text(blocks),
        _ => None,
    };
    let media_type = source.get("media_type").and_then(Value::as_str).map(str::to_owned);
    let Some(value) = value else {
        return match member {
            "" | "content" => Ok(Content::Other { of: DIALECT, value: Value::Object(fields) }),
            _ => Err(wrong("messages", "has an image or a document whose 'source' lacks what its 'type' says")),
        };
    };
    let (source, media_type) = match which.as_str() {
        "base64" => (MediaSource::Base64(value), media_type),
        "url" => (MediaSource::Url(value), media_type),
        "file" => (MediaSource::File { of: DIALECT, id: value }, media_type),
        _ => (MediaSource::Text(value), Some("text/plain".to_owned())),
    };
    let of_citations = fields.get("citations").and_then(|citations| citations.get("enabled")).and_then(Value::as_bool);
    Ok(Content::Media(Media {
        name: take_of(&mut fields, "messages", "title", TEXT)?,
        context: take_of(&mut fields, "messages", "context", TEXT)?,
        citable: of_citations.unwrap_or(false),
        ..Media::new(kind, source, media_type)
    }))
}

/// The texts of blocks that are nothing but text.
fn plain_text(blocks: &[Value]) -> Option<String> {
    let texts: Option<Vec<&str>> = blocks.iter().map(|block| block.get("text")?.as_str()).collect();
    texts.map(|texts| texts.join("\n\n"))
}

/// A result of the caller's own search: a text document that says where it is from.
fn search_result(mut fields: Map<String, Value>) -> Result<Content, Refusal> {
    let text = match fields.remove("content") {
        Some(Value::Array(blocks)) => plain_text(&blocks),
        _ => None,
    };
    let text = text.ok_or_else(|| wrong("messages", "has a search_result whose 'content' is no list of texts"))?;
    let of_citations = fields.get("citations").and_then(|citations| citations.get("enabled")).and_then(Value::as_bool);
    Ok(Content::Media(Media {
        name: take_of(&mut fields, "messages", "title", TEXT)?,
        context: take_of(&mut fields, "messages", "source", TEXT)?,
        citable: of_citations.unwrap_or(false),
        ..Media::new(MediaKind::Document, MediaSource::Text(text), Some("text/plain".to_owned()))
    }))
}
