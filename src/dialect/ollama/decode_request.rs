//! Reads a caller's request to `/api/chat` or `/api/generate`.

use std::collections::VecDeque;

use serde_json::Value;

use super::message::{self, OWN};
use crate::dialect::fields::{Fields, wrong};
use crate::dialect::ir::{
    Block, Content, Effort, Extra, Format, Function, Message, Request, Role, Sampling, Thinking, Tool, ToolCall, ToolResult,
};
use crate::error::Refusal;

/// Reads the body.
pub fn read(is_generate: bool, body: &[u8]) -> Result<Request, Refusal> {
    let mut fields = Fields::read(body)?;
    let mut request = Request::default();
    // Both are read before.
    fields.take("model");
    fields.take("stream");
    match is_generate {
        true => prompt(&mut fields, &mut request)?,
        false => messages(fields.list("messages")?.unwrap_or_default(), &mut request)?,
    }
    if request.messages.is_empty() {
        let field = if is_generate { "prompt" } else { "messages" };
        return Err(wrong(field, "is empty: loading and unloading a model is for Ollama alone, and this model is not served by one"));
    }
    request.tools = fields.list("tools")?.unwrap_or_default().into_iter().map(tool).collect::<Result<_, _>>()?;
    request.format = match fields.take("format") {
        None => None,
        Some(Value::String(name)) if name.is_empty() => None,
        Some(Value::String(name)) if name == "json" => Some(Format::JsonObject),
        Some(schema @ Value::Object(_)) => Some(Format::JsonSchema { name: String::new(), description: None, schema, strict: None }),
        Some(_) => return Err(wrong("format", "has to be \"json\" or a JSON schema")),
    };
    request.thinking = fields.take("think").map(thinking).transpose()?;
    let mut options = fields.object("options")?.unwrap_or_default();
    request.sampling = sampling(&mut options)?;
    request.sampling.logprobs = fields.flag("logprobs")?;
    request.sampling.top_logprobs = fields.count("top_logprobs")?.map(|top| u32::try_from(top).unwrap_or(u32::MAX));
    let (mut rest, options) = (fields.rest(), options.rest());
    if !options.is_empty() {
        rest.insert("options".to_owned(), Value::Object(options));
    }
    request.extra = Extra::new(OWN, rest);
    Ok(request)
}

/// `/api/generate`: one message of the user's, and perhaps one of the system's.
fn prompt(fields: &mut Fields, request: &mut Request) -> Result<(), Refusal> {
    if let Some(system) = fields.text("system")?.filter(|text| !text.is_empty()) {
        request.messages.push(Message::new(Role::System, vec![Block::text(system)]));
    }
    let text = fields.text("prompt")?.filter(|text| !text.is_empty()).map(Block::text);
    let images = fields.texts("images")?.into_iter().map(message::image);
    let content: Vec<Block> = text.into_iter().chain(images).collect();
    match content.is_empty() {
        true => request.messages.clear(),
        false => request.messages.push(Message::new(Role::User, content)),
    }
    Ok(())
}

fn messages(list: Vec<Value>, request: &mut Request) -> Result<(), Refusal> {
    // Calls whose results are still to come: an Ollama client may pair them by name, or by order alone.
    let mut waiting: VecDeque<(String, String)> = VecDeque::new();
    let mut unnamed = 0;
    for value in list {
        let mut fields = Fields::of(value, "messages")?;
        let role = fields.text("role")?.unwrap_or_default();
        let text = fields.text("content")?.filter(|text| !text.is_empty()).map(Block::text);
        let images = fields.texts("images")?.into_iter().map(message::image);
        let said = text.into_iter().chain(images);
        let read = match role.as_str() {
            "system" => Message::new(Role::System, said.collect()),
            "user" => Message::new(Role::User, said.collect()),
            "assistant" => {
                let is_redacted = fields.flag("redacted")?.unwrap_or(false);
                let mut content: Vec<Block> =
                    message::reasoning(fields.text("thinking")?, fields.text("signature")?, is_redacted).into_iter().chain(said).collect();
                waiting.clear();
                for value in fields.list("tool_calls")?.unwrap_or_default() {
                    let mut call: ToolCall = message::call(value, "messages")?;
                    if call.id.is_empty() {
                        call.id = format!("call_{unnamed}");
                        unnamed += 1;
                    }
                    waiting.push_back((call.id.clone(), call.name.clone()));
                    content.push(Content::ToolCall(call).into());
                }
                Message::new(Role::Assistant, content)
            }
            "tool" => {
                let (id, name) = (fields.text("tool_call_id")?.filter(|id| !id.is_empty()), fields.text("tool_name")?);
                let place = match (&id, &name) {
                    (Some(id), _) => waiting.iter().position(|(known, _)| known == id),
                    (None, Some(name)) => waiting.iter().position(|(_, known)| known == name),
                    (None, None) => (!waiting.is_empty()).then_some(0),
                };
                let paired = place.and_then(|place| waiting.remove(place)).map(|(id, _)| id);
                let call_id = id.or(paired).ok_or_else(|| wrong("messages", "has a tool message that answers no tool call before it"))?;
                let result = ToolResult { call_id, name, content: said.collect(), is_error: false, is_custom: false };
                Message::new(Role::Tool, vec![Content::ToolResult(result).into()])
            }
            _ => return Err(wrong("messages", "has a message whose 'role' is none of system, user, assistant, tool")),
        };
        request.push(read);
    }
    Ok(())
}

fn tool(value: Value) -> Result<Tool, Refusal> {
    let mut fields = Fields::of(value, "tools")?;
    let mut function = fields.object("function")?.ok_or_else(|| wrong("tools", "has a tool without 'function'"))?;
    let name = function.text("name")?.ok_or_else(|| wrong("tools", "has a function without 'name'"))?;
    let (description, parameters) = (function.text("description")?, function.take("parameters"));
    Ok(Tool::Function(Function { name, description, parameters, strict: None, cache: None }))
}

fn thinking(value: Value) -> Result<Thinking, Refusal> {
    let effort = value.as_str().map(|name| Effort::from_name(name).ok_or_else(|| wrong("think", "has to be low, medium or high")));
    match (value.as_bool(), effort.transpose()?) {
        (None, None) => Err(wrong("think", "has to be true, false, \"low\", \"medium\" or \"high\"")),
        (enabled, effort) => Ok(Thinking { enabled, effort, ..Thinking::default() }),
    }
}

fn sampling(options: &mut Fields) -> Result<Sampling, Refusal> {
    // Fewer than no tokens is Ollama's way to say "no limit".
    let most = options.whole("num_predict")?;
    let stop = match options.take("stop") {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(list)) => list.into_iter().filter_map(|stop| stop.as_str().map(str::to_owned)).collect(),
        None => Vec::new(),
        Some(_) => return Err(wrong("options", "has 'stop' that is no list of texts")),
    };
    Ok(Sampling {
        max_output: most.and_then(|most| u64::try_from(most).ok()),
        temperature: options.number("temperature")?,
        top_p: options.number("top_p")?,
        top_k: options.count("top_k")?,
        seed: options.whole("seed")?,
        frequency_penalty: options.number("frequency_penalty")?,
        presence_penalty: options.number("presence_penalty")?,
        stop,
        ..Sampling::default()
    })
}
