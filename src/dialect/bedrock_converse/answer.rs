//! Reads and writes a whole Converse answer.
//!
//! Source: the response of `Converse` in the Amazon Bedrock API reference.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::content::{read_blocks, redacted_base64};
use super::fields::text;
use super::usage::Reported;
use super::{citations, media};
use crate::catalog::Dialect;
use crate::dialect::ir::{Answer, Block, Choice, Content, Dropped, Extra, Finish, Reasoning, ToolCall};

const D: Dialect = Dialect::BedrockConverse;
/// Every reason to stop that Bedrock has.
const REASONS: [&str; 9] = [
    "end_turn",
    "tool_use",
    "max_tokens",
    "stop_sequence",
    "guardrail_intervened",
    "content_filtered",
    "malformed_model_output",
    "malformed_tool_use",
    "model_context_window_exceeded",
];

/// Reads the body.
pub fn decode(body: &[u8]) -> Result<Answer, String> {
    let mut top: Map<String, Value> = serde_json::from_slice(body).map_err(|e| e.to_string())?;
    let mut output = top.remove("output").ok_or("it has no 'output'")?;
    let content = output.pointer_mut("/message/content").map(Value::take).unwrap_or_default();
    let content = if content.is_null() { Vec::new() } else { read_blocks(content, true)? };
    let reason = top.remove("stopReason");
    let finish = read_finish(reason.as_ref().and_then(Value::as_str).unwrap_or_default(), top.get("additionalModelResponseFields"));
    let usage = top.remove("usage").and_then(|usage| serde_json::from_value::<Reported>(usage).ok()?.usage());
    let tier = top.remove("serviceTier");
    // How long the provider took is no part of the answer, and the stop sequence has been read.
    top.remove("metrics");
    top.retain(|name, fields| name != "additionalModelResponseFields" || !says_the_stop_sequence_alone(fields));
    Ok(Answer {
        choices: vec![Choice { content, finish, logprobs: Vec::new() }],
        usage,
        service_tier: tier.as_ref().and_then(|tier| text(tier, "type")).map(str::to_owned),
        extra: Extra::new(D, top),
        ..Answer::default()
    })
}

/// Reads a reason; which sequence it was stands, where it was asked for, in the model's own fields.
pub fn read_finish(reason: &str, additional: Option<&Value>) -> Finish {
    match reason {
        "end_turn" | "" => Finish::Stop,
        "tool_use" => Finish::ToolCalls,
        "max_tokens" => Finish::Length,
        "stop_sequence" => {
            let told = additional.and_then(|fields| fields.pointer("/delta/stop_sequence").or(fields.get("stop_sequence")));
            Finish::StopSequence(told.and_then(Value::as_str).unwrap_or_default().to_owned())
        }
        "guardrail_intervened" | "content_filtered" => Finish::ContentFilter,
        "malformed_tool_use" => Finish::MalformedToolCall,
        "model_context_window_exceeded" => Finish::ContextExceeded,
        other => Finish::Other(other.to_owned()),
    }
}

fn says_the_stop_sequence_alone(fields: &Value) -> bool {
    let only = |object: &Value, name: &str| object.as_object().is_some_and(|members| members.keys().all(|key| key == name));
    only(fields, "stop_sequence") || (only(fields, "delta") && fields.get("delta").is_some_and(|delta| only(delta, "stop_sequence")))
}

/// Writes a reason.
pub fn write_finish(finish: &Finish) -> &str {
    match finish {
        Finish::Stop | Finish::Pause | Finish::Error => "end_turn",
        Finish::StopSequence(_) => "stop_sequence",
        Finish::Length => "max_tokens",
        Finish::ToolCalls => "tool_use",
        Finish::ContentFilter | Finish::Refusal => "content_filtered",
        Finish::ContextExceeded => "model_context_window_exceeded",
        Finish::MalformedToolCall => "malformed_tool_use",
        Finish::Other(reason) if REASONS.contains(&reason.as_str()) => reason,
        Finish::Other(_) => "end_turn",
    }
}

/// What the model's own fields say of a stop sequence.
pub fn stop_sequence_fields(finish: &Finish) -> Option<Value> {
    match finish {
        Finish::StopSequence(sequence) if !sequence.is_empty() => Some(json!({ "delta": { "stop_sequence": sequence } })),
        _ => None,
    }
}

/// Writes the body.
pub fn encode(answer: Answer, dropped: &mut Dropped) -> Bytes {
    dropped.note_if(answer.choices.len() > 1, "n");
    let choice = answer.choices.into_iter().next();
    let choice = choice.unwrap_or(Choice { content: Vec::new(), finish: Finish::Stop, logprobs: Vec::new() });
    dropped.note_if(!choice.logprobs.is_empty(), "logprobs");
    let mut names = media::Names::default();
    let mut content = Vec::with_capacity(choice.content.len());
    for block in choice.content {
        write_block(block, &mut names, &mut content, dropped);
    }
    let usage = Reported::from(answer.usage.unwrap_or_default());
    let mut top = Map::from_iter([
        ("output".to_owned(), json!({ "message": { "role": "assistant", "content": content } })),
        ("stopReason".to_owned(), Value::from(write_finish(&choice.finish))),
        ("usage".to_owned(), serde_json::to_value(usage).unwrap_or_default()),
        // A duration that nobody measured.
        ("metrics".to_owned(), json!({ "latencyMs": 0 })),
    ]);
    top.extend(answer.service_tier.map(|tier| ("serviceTier".to_owned(), json!({ "type": tier }))));
    answer.extra.write(D, &mut top, dropped);
    if let Some(fields) = stop_sequence_fields(&choice.finish) {
        top.entry("additionalModelResponseFields").or_insert(fields);
    }
    Bytes::from(serde_json::to_vec(&top).unwrap_or_default())
}

fn write_block(block: Block, names: &mut media::Names, out: &mut Vec<Value>, dropped: &mut Dropped) {
    match block.content {
        Content::Text { text, citations } => {
            out.push(json!({ "text": text }));
            // The text stands by itself, for readers that know no citations.
            if !citations.is_empty() {
                let cited: Vec<Value> = citations.iter().map(citations::write).collect();
                out.push(json!({ "citationsContent": { "content": [], "citations": cited } }));
            }
        }
        Content::Refusal(text) => out.push(json!({ "text": text })),
        Content::Reasoning(reasoning) => out.push(write_reasoning(&reasoning)),
        Content::ToolCall(call) => write_call(call, out),
        Content::Media(one) => match media::write(&one, names) {
            Ok(value) => out.push(value),
            Err(_) => dropped.note("media"),
        },
        Content::Builtin(builtin) if builtin.of == D => out.push(builtin.value),
        Content::Other { of: D, value } => out.push(value),
        Content::Json(value) => out.push(json!({ "text": value.to_string() })),
        Content::Builtin(_) | Content::Other { .. } | Content::ToolResult(_) => dropped.note("content"),
    }
}

fn write_reasoning(reasoning: &Reasoning) -> Value {
    let signature = reasoning.signature.as_ref().map(|signature| signature.write(D));
    if reasoning.is_redacted {
        return json!({ "reasoningContent": { "redactedContent": redacted_base64(&signature.unwrap_or_default()) } });
    }
    let mut readable = Map::from_iter([("text".to_owned(), Value::from(reasoning.text.as_str()))]);
    readable.extend(signature.map(|signature| ("signature".to_owned(), Value::from(signature))));
    json!({ "reasoningContent": { "reasoningText": readable } })
}

fn write_call(call: ToolCall, out: &mut Vec<Value>) {
    if let Some(signature) = &call.signature {
        out.push(json!({ "reasoningContent": { "reasoningText": { "text": "", "signature": signature.write(D) } } }));
    }
    let input = match serde_json::from_str::<Value>(&call.arguments) {
        Ok(object) if object.is_object() && !call.is_custom => object,
        _ if call.arguments.trim().is_empty() => json!({}),
        _ => json!({ "input": call.arguments }),
    };
    out.push(json!({ "toolUse": { "toolUseId": call.id, "name": call.name, "input": input } }));
}
