//! Reads and writes whole answers.
//!
//! Source: the Message object of the Messages reference.

use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::usage::{Reported, Written};
use super::{carried, citation, encode_blocks, piece, stop};
use crate::catalog::Dialect;
use crate::dialect::Asked;
use crate::dialect::ir::{Answer, Block, Choice, Content, Dropped, Extra, Finish, Reasoning};
use crate::dialect::members::Members;
use crate::key::format::random_base62;

const DIALECT: Dialect = Dialect::AnthropicMessages;
/// Members of an answer that are read, or always the same.
const KNOWN: [&str; 8] = ["id", "type", "role", "model", "content", "stop_reason", "stop_sequence", "usage"];

#[derive(Serialize)]
struct Message<'a> {
    id: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
    role: &'static str,
    model: &'a str,
    content: Vec<Value>,
    stop_reason: &'static str,
    stop_sequence: Option<&'a str>,
    usage: Written,
    #[serde(flatten)]
    extra: Map<String, Value>,
}

/// Reads an answer.
pub fn decode(body: &[u8]) -> Result<Answer, String> {
    let members = Members::read(body).map_err(|e| format!("its JSON is broken ({e})"))?;
    let text = |name: &str| members.get(name).and_then(|member| serde_json::from_str::<String>(member.raw).ok());
    if text("type").as_deref() == Some("error") {
        return Err("it is an error with a status of success".to_owned());
    }
    let content = members.get("content").ok_or("it has no 'content'")?;
    let raw: Vec<&RawValue> = serde_json::from_str(content.raw).map_err(|_| "its 'content' is no list".to_owned())?;
    let mut content = raw.into_iter().map(|block| piece::decode(block.get())).collect::<Result<Vec<Block>, String>>()?;
    carried::put_back(&mut content);
    let calls_tools = content.iter().any(|block| matches!(block.content, Content::ToolCall(_)));
    let finish = match text("stop_reason") {
        Some(reason) => stop::decode(&reason, text("stop_sequence").as_deref()),
        None if calls_tools => Finish::ToolCalls,
        None => Finish::Stop,
    };
    let usage = members.get("usage").and_then(|usage| Reported::read(usage.raw));
    let rest = members.iter().filter(|member| !KNOWN.contains(&member.name.as_ref()) && member.raw != "null");
    let rest = rest.filter_map(|member| Some((member.name.clone().into_owned(), serde_json::from_str(member.raw).ok()?)));
    Ok(Answer {
        id: text("id").unwrap_or_default(),
        model: text("model").unwrap_or_default(),
        created: 0,
        choices: vec![Choice { content, finish, logprobs: Vec::new() }],
        service_tier: usage.as_ref().and_then(|usage| usage.service_tier.clone()),
        usage: usage.filter(Reported::tells_output).map(|usage| usage.over(Default::default())),
        extra: Extra::new(DIALECT, rest.collect()),
    })
}

/// Writes an answer; the dialect has one choice.
pub fn encode(answer: Answer, asked: &Asked, dropped: &mut Dropped) -> Bytes {
    dropped.note_if(answer.choices.len() > 1, "n");
    let choice = answer.choices.into_iter().next();
    let Choice { content, finish, logprobs } = choice.unwrap_or(Choice { content: Vec::new(), finish: Finish::Stop, logprobs: Vec::new() });
    dropped.note_if(!logprobs.is_empty(), "logprobs");
    let calls_tools = content.iter().any(|block| matches!(block.content, Content::ToolCall(_)));
    let finish = finish.said(content.iter().any(|block| matches!(block.content, Content::Refusal(_))));
    let mut blocks = Vec::with_capacity(content.len());
    for block in &content {
        write_block(&block.content, &mut blocks, dropped);
    }
    let (stop_reason, stop_sequence) = stop::encode(&finish, calls_tools);
    let mut usage = Written::from(answer.usage.unwrap_or_default());
    usage.service_tier = answer.service_tier.as_deref().and_then(tier);
    let mut extra = Map::new();
    answer.extra.write(DIALECT, &mut extra, dropped);
    let message = Message {
        id: &message_id(answer.id),
        kind: "message",
        role: "assistant",
        model: if answer.model.is_empty() { &asked.request.model } else { &answer.model },
        content: blocks,
        stop_reason,
        stop_sequence,
        usage,
        extra,
    };
    // Texts, numbers and JSON values alone: there is nothing in it that cannot be written.
    Bytes::from(serde_json::to_vec(&message).unwrap_or_default())
}

/// An id such as `msg_…`: the provider's, marked where it is another dialect's, or a new one.
pub fn message_id(id: String) -> String {
    match id.as_str() {
        "" => match random_base62::<24>() {
            Ok(random) => format!("msg_{}", String::from_utf8_lossy(&random)),
            Err(_) => "msg_unknown".to_owned(),
        },
        known if known.starts_with("msg_") => id,
        _ => format!("msg_{id}"),
    }
}

/// A block of an answer in the dialect's words; a call's foreign signature is carried by a block of its own.
pub fn write_block(content: &Content, out: &mut Vec<Value>, dropped: &mut Dropped) {
    match content {
        Content::Text { text, citations } => {
            let mut written = json!({ "type": "text", "text": text, "citations": null });
            let list: Vec<Value> = citations.iter().filter_map(citation::encode).collect();
            if !list.is_empty() {
                written["citations"] = Value::Array(list);
            }
            out.push(written);
        }
        Content::Refusal(text) => out.push(json!({ "type": "text", "text": text, "citations": null })),
        Content::Json(value) => out.push(json!({ "type": "text", "text": value.to_string(), "citations": null })),
        Content::Reasoning(reasoning) => out.extend(reasoning_block(reasoning)),
        Content::ToolCall(call) => {
            if let Some(signature) = &call.signature {
                out.push(json!({ "type": "redacted_thinking", "data": carried::data(&call.id, signature) }));
            }
            out.push(json!({ "type": "tool_use", "id": call.id, "name": call.name, "input": encode_blocks::input(call) }));
        }
        Content::Builtin(builtin) if builtin.of == DIALECT => out.push(builtin.value.clone()),
        Content::Other { of: DIALECT, value } => out.push(value.clone()),
        Content::Builtin(_) => dropped.note("builtin"),
        Content::Media(_) => dropped.note("media"),
        Content::ToolResult(_) | Content::Other { .. } => dropped.note("content"),
    }
}

/// Reasoning, with the signature that lets it find its way back; `None` where it says nothing and proves nothing.
fn reasoning_block(reasoning: &Reasoning) -> Option<Value> {
    let signature = reasoning.signature.as_ref().map(|signature| signature.write(DIALECT));
    match (reasoning.is_redacted, signature) {
        (true, None) => None,
        (true, Some(data)) => Some(json!({ "type": "redacted_thinking", "data": data })),
        (false, None) if reasoning.text.is_empty() => None,
        (false, signature) => Some(json!({ "type": "thinking", "thinking": reasoning.text, "signature": signature.unwrap_or_default() })),
    }
}

/// The tiers that the dialect's SDKs know.
fn tier(name: &str) -> Option<&'static str> {
    match name {
        "standard" | "default" | "standard_only" => Some("standard"),
        "priority" => Some("priority"),
        "batch" => Some("batch"),
        _ => None,
    }
}
