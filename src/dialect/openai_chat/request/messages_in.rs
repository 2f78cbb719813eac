//! Reads the conversation.

use serde_json::{Map, Value};

use super::fields::{Fields, wrong};
use super::parts;
use crate::catalog::Dialect;
use crate::dialect::ir::{Block, Content, Message, Request, Role, ToolCall, ToolResult};
use crate::dialect::openai_chat::{calls, details};
use crate::error::Refusal;

const BAD_CONTENT: &str = "has content that is neither a string nor a list of parts";

/// A request that has the conversation and nothing else yet.
pub fn decode(messages: Vec<Value>) -> Result<Request, Refusal> {
    let mut request = Request::default();
    for message in messages {
        let Value::Object(message) = message else { return Err(wrong("messages", "has to be a list of objects")) };
        let message = one(Fields::new(message), &request)?;
        request.push(message);
    }
    Ok(request)
}

fn one(mut fields: Fields, before: &Request) -> Result<Message, Refusal> {
    let role = fields.text("role").ok().flatten().unwrap_or_default();
    let role = match role.as_str() {
        "system" => Role::System,
        "developer" => Role::Developer,
        "user" => Role::User,
        "assistant" => return assistant(fields, before),
        "tool" => return tool(fields, before),
        "function" => return function(fields, before),
        _ => return Err(wrong("messages", "has a message whose role is none of system, developer, user, assistant and tool")),
    };
    let content = content(fields.take("content"))?;
    Ok(Message { role, content, name: fields.text("name")? })
}

/// Texts and parts; an empty text is none.
fn content(content: Option<Value>) -> Result<Vec<Block>, Refusal> {
    match content {
        None => Ok(Vec::new()),
        Some(Value::String(text)) if text.is_empty() => Ok(Vec::new()),
        Some(Value::String(text)) => Ok(vec![Block::text(text)]),
        Some(Value::Array(list)) => {
            let part = |part: Value| match part {
                Value::String(text) => Ok(Block::text(text)),
                Value::Object(_) => Ok(parts::decode(part)),
                _ => Err(wrong("messages", BAD_CONTENT)),
            };
            list.into_iter().map(part).collect()
        }
        Some(_) => Err(wrong("messages", BAD_CONTENT)),
    }
}

fn assistant(mut fields: Fields, before: &Request) -> Result<Message, Refusal> {
    let said = ["reasoning_content", "reasoning"].iter().filter_map(|name| fields.take(name)).find_map(|value| match value {
        Value::String(text) => Some(text),
        _ => None,
    });
    let detailed = fields.list("reasoning_details")?.unwrap_or_default();
    let mut blocks: Vec<Block> = details::read(detailed, said.unwrap_or_default());
    let own = match fields.take("content") {
        Some(Value::Array(list)) => list.into_iter().flat_map(assistants_part).collect(),
        other => content(other)?,
    };
    blocks.extend(own);
    blocks.extend(fields.text("refusal")?.filter(|text| !text.is_empty()).map(|text| Block::from(Content::Refusal(text))));
    if let Some(audio) = fields.object("audio")? {
        let value = Value::from_iter([("type", Value::from("audio")), ("audio", Value::Object(audio))]);
        blocks.push(Content::Other { of: Dialect::OpenaiChat, value }.into());
    }
    if let Some(call) = fields.object("function_call")? {
        let id = legacy_id(before, call.get("name").and_then(Value::as_str).unwrap_or_default());
        blocks.push(tool_call(id, &call)?);
    }
    for (number, call) in fields.list("tool_calls")?.unwrap_or_default().into_iter().enumerate() {
        let Value::Object(call) = call else { return Err(wrong("messages", "has tool_calls that are not objects")) };
        let id = call.get("id").and_then(Value::as_str).filter(|id| !id.is_empty()).map(str::to_owned);
        let id = id.unwrap_or_else(|| format!("call_{}_{number}", before.messages.len()));
        blocks.push(tool_call(id, &call)?);
    }
    Ok(Message { role: Role::Assistant, content: blocks, name: fields.text("name")? })
}

/// A part of what the model said: Mistral's reasoning stands among them.
fn assistants_part(part: Value) -> Vec<Block> {
    match part.get("type").and_then(Value::as_str) {
        Some("thinking") => details::of_chunk(&part).into_iter().collect(),
        _ => vec![parts::decode(part)],
    }
}

fn tool_call(id: String, call: &Map<String, Value>) -> Result<Block, Refusal> {
    let (inner, is_custom) = match (call.get("function"), call.get("custom")) {
        (Some(Value::Object(function)), _) => (function, false),
        (_, Some(Value::Object(custom))) => (custom, true),
        _ => (call, false),
    };
    let name = inner.get("name").and_then(Value::as_str).ok_or_else(|| wrong("messages", "has a tool call without a name"))?;
    let arguments = match inner.get(if is_custom { "input" } else { "arguments" }) {
        Some(Value::String(text)) if is_custom || !text.trim().is_empty() => text.clone(),
        None | Some(Value::Null | Value::String(_)) => if is_custom { "" } else { "{}" }.to_owned(),
        Some(other) => other.to_string(),
    };
    let signature = call.get("extra_content").and_then(calls::signature);
    Ok(Content::ToolCall(ToolCall { id, name: name.to_owned(), arguments, is_custom, signature }).into())
}

fn tool(mut fields: Fields, before: &Request) -> Result<Message, Refusal> {
    let call_id = fields.text("tool_call_id")?.ok_or_else(|| wrong("messages", "has a tool message without a tool_call_id"))?;
    let is_custom = calls_before(before).any(|call| call.id == call_id && call.is_custom);
    let content = match fields.take("content") {
        Some(object @ Value::Object(_)) => vec![Content::Json(object).into()],
        other => content(other)?,
    };
    let name = fields.text("name")?;
    let result = ToolResult { call_id, name, content, is_error: false, is_custom };
    Ok(Message::new(Role::Tool, vec![Content::ToolResult(result).into()]))
}

/// A result of the time before calls had ids: it answers the last call of its name.
fn function(mut fields: Fields, before: &Request) -> Result<Message, Refusal> {
    let name = fields.text("name")?.ok_or_else(|| wrong("messages", "has a function message without a name"))?;
    let call_id = calls_before(before).filter(|call| call.name == name).last().map(|call| call.id.clone());
    let result = ToolResult {
        call_id: call_id.unwrap_or_else(|| legacy_id(before, &name)),
        name: Some(name),
        content: content(fields.take("content"))?,
        is_error: false,
        is_custom: false,
    };
    Ok(Message::new(Role::Tool, vec![Content::ToolResult(result).into()]))
}

fn legacy_id(before: &Request, name: &str) -> String {
    format!("call_{}_{name}", before.messages.len())
}

fn calls_before(request: &Request) -> impl Iterator<Item = &ToolCall> {
    request.messages.iter().flat_map(|message| &message.content).filter_map(|block| match &block.content {
        Content::ToolCall(call) => Some(call),
        _ => None,
    })
}
