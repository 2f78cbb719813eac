//! Reads a caller's Messages request.
//!
//! Source: the Messages reference, "Create a Message", with the beta fields `output_format` and `mcp_servers`.

use serde_json::{Map, Value};

use super::fields::{take, take_of, wrong};
use super::{carried, decode_blocks, decode_tools};
use crate::catalog::Dialect;
use crate::dialect::ir::{Block, Content, Effort, Extra, Format, Message, Request, Role, Sampling, Thinking};
use crate::error::Refusal;

const DIALECT: Dialect = Dialect::AnthropicMessages;
const NUMBER: &str = "has to be a number";
const WHOLE: &str = "has to be a whole number";

/// Reads a request; its model and whether it streams are the caller's to read.
pub fn decode(body: &[u8]) -> Result<Request, Refusal> {
    let mut fields: Map<String, Value> = serde_json::from_slice(body)
        .map_err(|e| Refusal::invalid("body_not_json", format!("The body is not right: {e}. Send one JSON object.")))?;
    fields.remove("model");
    fields.remove("stream");
    let mut request = Request {
        sampling: Sampling {
            max_output: take(&mut fields, "max_tokens", "has to be a whole number of tokens")?,
            temperature: take(&mut fields, "temperature", NUMBER)?,
            top_p: take(&mut fields, "top_p", NUMBER)?,
            top_k: take(&mut fields, "top_k", WHOLE)?,
            stop: take::<Vec<String>>(&mut fields, "stop_sequences", "has to be a list of texts")?.unwrap_or_default(),
            ..Sampling::default()
        },
        service_tier: take(&mut fields, "service_tier", "has to be \"auto\" or \"standard_only\"")?,
        ..Request::default()
    };
    if let Some(system) = fields.remove("system").filter(|system| !system.is_null()) {
        request.messages.push(Message::new(Role::System, decode_blocks::decode(system)?));
    }
    let messages: Vec<Value> = take(&mut fields, "messages", "has to be a list of messages")?
        .ok_or_else(|| wrong("messages", "is missing: send a list of messages such as {\"role\": \"user\", \"content\": \"…\"}"))?;
    for value in messages {
        message(value, &mut request)?;
    }
    decode_tools::decode(&mut fields, &mut request)?;
    metadata(&mut fields, &mut request)?;
    thinking_and_format(&mut fields, &mut request)?;
    request.extra = Extra::new(DIALECT, fields);
    Ok(request)
}

fn message(value: Value, request: &mut Request) -> Result<(), Refusal> {
    let Value::Object(mut fields) = value else { return Err(wrong("messages", "has a message that is no object")) };
    let role: Option<String> = take_of(&mut fields, "messages", "role", "has to be \"user\" or \"assistant\"")?;
    let mut content = decode_blocks::decode(fields.remove("content").unwrap_or_default())?;
    match role.as_deref() {
        Some("assistant") => {
            carried::put_back(&mut content);
            request.messages.push(Message::new(Role::Assistant, content));
        }
        Some("system") => request.messages.push(Message::new(Role::System, content)),
        Some("user") => user(content, request),
        _ => return Err(wrong("messages", "has a message whose 'role' is not \"user\" or \"assistant\"")),
    }
    Ok(())
}

/// Tool results stand in a message of their own, before what else the user's says.
fn user(content: Vec<Block>, request: &mut Request) {
    let (results, rest): (Vec<Block>, Vec<Block>) = content.into_iter().partition(|block| matches!(block.content, Content::ToolResult(_)));
    let is_only_results = rest.is_empty() && !results.is_empty();
    if !results.is_empty() {
        request.push(Message::new(Role::Tool, results));
    }
    if !is_only_results {
        request.messages.push(Message::new(Role::User, rest));
    }
}

fn metadata(fields: &mut Map<String, Value>, request: &mut Request) -> Result<(), Refusal> {
    let mut metadata: Map<String, Value> = take(fields, "metadata", "has to be an object")?.unwrap_or_default();
    request.user = take_of(&mut metadata, "metadata", "user_id", "has to be text")?;
    request.metadata = metadata;
    Ok(())
}

fn thinking_and_format(fields: &mut Map<String, Value>, request: &mut Request) -> Result<(), Refusal> {
    const OBJECT: &str = "has to be an object";
    if let Some(mut thinking) = take::<Map<String, Value>>(fields, "thinking", OBJECT)? {
        let kind: Option<String> = take_of(&mut thinking, "thinking", "type", "has to be text")?;
        let enabled = match kind.as_deref() {
            Some("enabled" | "adaptive") => true,
            Some("disabled") => false,
            _ => return Err(wrong("thinking", "has to have the 'type' \"enabled\", \"adaptive\" or \"disabled\"")),
        };
        request.thinking = Some(Thinking {
            enabled: Some(enabled),
            budget: take_of(&mut thinking, "thinking", "budget_tokens", WHOLE)?,
            summary: take_of(&mut thinking, "thinking", "display", "has to be text")?,
            ..Thinking::default()
        });
    }
    let mut config: Map<String, Value> = take(fields, "output_config", OBJECT)?.unwrap_or_default();
    if let Some(effort) = take_of::<String>(&mut config, "output_config", "effort", "has to be text")? {
        let effort = Effort::from_name(&effort)
            .ok_or_else(|| wrong("output_config", "has an 'effort' that is not \"low\", \"medium\", \"high\", \"xhigh\" or \"max\""))?;
        request.thinking.get_or_insert_default().effort = Some(effort);
    }
    let beta = fields.remove("output_format");
    if let Some(format) = config.remove("format").or(beta).filter(|format| !format.is_null()) {
        request.format = Some(self::format(format)?);
    }
    if !config.is_empty() {
        fields.insert("output_config".to_owned(), Value::Object(config));
    }
    Ok(())
}

fn format(mut format: Value) -> Result<Format, Refusal> {
    let schema = format.get_mut("schema").map(Value::take).filter(Value::is_object);
    match (format.get("type").and_then(Value::as_str), schema) {
        (Some("json_schema"), Some(schema)) => Ok(Format::JsonSchema { name: String::new(), description: None, schema, strict: None }),
        _ => Err(wrong("output_config", "has a 'format' that is not {\"type\": \"json_schema\", \"schema\": {…}}")),
    }
}
