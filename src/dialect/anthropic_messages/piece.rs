//! A content block of an answer, whole or at its beginning in a stream, as far as this form has words for it.

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::decode_blocks::builtin_kind;
use super::{carried, citation};
use crate::catalog::Dialect;
use crate::dialect::ir::{Block, Builtin, Citation, Content, Reasoning, Signature, ToolCall};

const DIALECT: Dialect = Dialect::AnthropicMessages;

/// What a block is.
#[derive(Deserialize)]
struct Kind {
    #[serde(rename = "type")]
    name: String,
}

#[derive(Deserialize)]
struct Text {
    #[serde(default)]
    text: String,
    citations: Option<Vec<Value>>,
}

#[derive(Deserialize)]
struct Thinking {
    #[serde(default)]
    thinking: String,
    signature: Option<String>,
}

#[derive(Deserialize)]
struct Redacted {
    #[serde(default)]
    data: String,
}

#[derive(Deserialize)]
struct ToolUse<'a> {
    id: String,
    name: String,
    #[serde(borrow)]
    input: Option<&'a RawValue>,
}

/// Reads a block; what is none of the known kinds, or not as they are, is kept as it came.
pub fn decode(raw: &str) -> Result<Block, String> {
    let kind: Kind = serde_json::from_str(raw).map_err(|_| "a content block has no 'type'".to_owned())?;
    let known = match kind.name.as_str() {
        "text" => {
            serde_json::from_str::<Text>(raw).ok().map(|block| Content::Text { text: block.text, citations: citations(block.citations) })
        }
        "thinking" => serde_json::from_str::<Thinking>(raw).ok().map(|block| {
            let signature = block.signature.filter(|signature| !signature.is_empty());
            Content::Reasoning(Reasoning {
                text: block.thinking,
                signature: signature.map(|signature| Signature::read(&signature, DIALECT)),
                is_redacted: false,
                id: None,
            })
        }),
        "redacted_thinking" => serde_json::from_str::<Redacted>(raw).ok().map(|block| carried::redacted(block.data)),
        "tool_use" => serde_json::from_str::<ToolUse<'_>>(raw).ok().filter(|block| !block.id.is_empty()).map(|block| {
            Content::ToolCall(ToolCall {
                id: block.id,
                name: block.name,
                arguments: block.input.map(RawValue::get).filter(|input| *input != "null").unwrap_or("{}").to_owned(),
                is_custom: false,
                signature: None,
            })
        }),
        _ => None,
    };
    match known {
        Some(content) => Ok(content.into()),
        None => Ok(other(&kind.name, serde_json::from_str(raw).map_err(|e| format!("a content block is broken ({e})"))?).into()),
    }
}

/// A block that is kept as it came.
pub fn other(kind: &str, value: Value) -> Content {
    match builtin_kind(kind, value.get("name").and_then(Value::as_str)) {
        Some(kind) => Content::Builtin(Builtin { kind, of: DIALECT, value }),
        None => Content::Other { of: DIALECT, value },
    }
}

fn citations(list: Option<Vec<Value>>) -> Vec<Citation> {
    list.unwrap_or_default().into_iter().map(citation::decode).collect()
}
