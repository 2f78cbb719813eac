//! Reads a caller's request.

use serde_json::Value;

use super::{assistant, document};
use crate::catalog::Dialect;
use crate::dialect::fields::{Fields, wrong};
use crate::dialect::ir::{
    Block, Content, Extra, Format, Function, Media, MediaKind, Message, Request, Role, Sampling, Thinking, Tool, ToolChoice, ToolResult,
};
use crate::error::Refusal;

/// Reads the body of `POST /v2/chat`.
pub fn read(body: &[u8]) -> Result<Request, Refusal> {
    let mut fields = Fields::read(body)?;
    let mut request = Request::default();
    // Both are read before.
    fields.take("model");
    fields.take("stream");
    for value in fields.list("messages")?.ok_or_else(|| wrong("messages", "is missing"))? {
        request.push(message(value)?);
    }
    documents(fields.list("documents")?.unwrap_or_default(), &mut request)?;
    let strict = fields.flag("strict_tools")?;
    let tools = fields.list("tools")?.unwrap_or_default();
    request.tools = tools.into_iter().map(|value| tool(value, strict)).collect::<Result<_, _>>()?;
    request.tool_choice = match fields.text("tool_choice")?.as_deref() {
        None => None,
        Some("REQUIRED") => Some(ToolChoice::Required),
        Some("NONE") => Some(ToolChoice::None),
        Some(_) => return Err(wrong("tool_choice", "has to be REQUIRED or NONE, or left out")),
    };
    request.format = fields.object("response_format")?.map(format).transpose()?;
    request.thinking = fields.object("thinking")?.map(thinking).transpose()?;
    request.sampling = Sampling {
        max_output: fields.count("max_tokens")?,
        temperature: fields.number("temperature")?,
        top_p: fields.number("p")?,
        top_k: fields.count("k")?,
        seed: fields.whole("seed")?,
        frequency_penalty: fields.number("frequency_penalty")?,
        presence_penalty: fields.number("presence_penalty")?,
        stop: fields.texts("stop_sequences")?,
        n: None,
        logprobs: fields.flag("logprobs")?,
        top_logprobs: None,
    };
    request.extra = Extra::new(Dialect::CohereV2, fields.rest());
    Ok(request)
}

fn message(value: Value) -> Result<Message, Refusal> {
    let mut fields = Fields::of(value, "messages")?;
    let role = fields.text("role")?.unwrap_or_default().to_ascii_lowercase();
    match role.as_str() {
        "system" => Ok(Message::new(Role::System, content(fields.take("content"))?)),
        "developer" => Ok(Message::new(Role::Developer, content(fields.take("content"))?)),
        "user" => Ok(Message::new(Role::User, content(fields.take("content"))?)),
        "assistant" | "chatbot" => Ok(Message::new(Role::Assistant, assistant::read(&mut fields)?)),
        "tool" => {
            let call_id = fields.text("tool_call_id")?.filter(|id| !id.is_empty());
            let result = ToolResult {
                call_id: call_id.ok_or_else(|| wrong("messages", "has a tool message without 'tool_call_id'"))?,
                name: None,
                content: result_content(fields.take("content"))?,
                is_error: false,
                is_custom: false,
            };
            Ok(Message::new(Role::Tool, vec![Content::ToolResult(result).into()]))
        }
        _ => Err(wrong("messages", "has a message whose 'role' is none of system, user, assistant, tool")),
    }
}

/// A text or a list of blocks, without empty texts.
fn content(value: Option<Value>) -> Result<Vec<Block>, Refusal> {
    blocks(value, document::read)
}

fn result_content(value: Option<Value>) -> Result<Vec<Block>, Refusal> {
    match value {
        // An early form of the API took an object or a list of them.
        Some(object @ Value::Object(_)) => Ok(vec![Content::Json(object).into()]),
        value => blocks(value, document::read_result),
    }
}

fn blocks(value: Option<Value>, document: fn(Value) -> Result<Block, Refusal>) -> Result<Vec<Block>, Refusal> {
    match value {
        None => Ok(Vec::new()),
        Some(Value::String(text)) => Ok((!text.is_empty()).then(|| Block::text(text)).into_iter().collect()),
        Some(Value::Array(list)) => {
            let blocks = list.into_iter().map(|value| block(value, document)).collect::<Result<Vec<_>, _>>()?;
            Ok(blocks.into_iter().filter(|block| block.as_text() != Some("")).collect())
        }
        Some(_) => Err(wrong("messages", "has 'content' that is neither a text nor a list of blocks")),
    }
}

fn block(value: Value, document: fn(Value) -> Result<Block, Refusal>) -> Result<Block, Refusal> {
    let original = value.clone();
    let mut fields = Fields::of(value, "messages")?;
    match fields.text("type")?.as_deref() {
        Some("text") => Ok(Block::text(fields.text("text")?.unwrap_or_default())),
        Some("image_url") => {
            let (url, detail) = match fields.take("image_url") {
                Some(Value::String(url)) => (Some(url), None),
                Some(object) => {
                    let mut image = Fields::of(object, "messages")?;
                    (image.text("url")?, image.text("detail")?)
                }
                None => (None, None),
            };
            let url = url.ok_or_else(|| wrong("messages", "has an image_url block without 'url'"))?;
            Ok(Content::Media(Media { detail, ..Media::from_url(MediaKind::Image, &url) }).into())
        }
        Some("document") => document(fields.take("document").unwrap_or_default()),
        _ => Ok(Content::Other { of: Dialect::CohereV2, value: original }.into()),
    }
}

/// The documents stand before what the last user message says.
fn documents(list: Vec<Value>, request: &mut Request) -> Result<(), Refusal> {
    let mut blocks = list.into_iter().map(document::read).collect::<Result<Vec<_>, _>>()?;
    if blocks.is_empty() {
        return Ok(());
    }
    match request.messages.iter_mut().rfind(|message| message.role == Role::User) {
        Some(message) => {
            blocks.append(&mut message.content);
            message.content = blocks;
        }
        None => request.messages.push(Message::new(Role::User, blocks)),
    }
    Ok(())
}

fn tool(value: Value, strict: Option<bool>) -> Result<Tool, Refusal> {
    let mut fields = Fields::of(value, "tools")?;
    let mut function = fields.object("function")?.ok_or_else(|| wrong("tools", "has a tool without 'function'"))?;
    let name = function.text("name")?.ok_or_else(|| wrong("tools", "has a function without 'name'"))?;
    let (description, parameters) = (function.text("description")?, function.take("parameters"));
    Ok(Tool::Function(Function { name, description, parameters, strict, cache: None }))
}

fn format(mut fields: Fields) -> Result<Format, Refusal> {
    match fields.text("type")?.as_deref() {
        Some("text") => Ok(Format::Text),
        Some("json_object") => {
            // The first name is the v2 API's, the second the v1 API's.
            let schema = fields.take("json_schema").or_else(|| fields.take("schema"));
            Ok(match schema {
                Some(schema) => Format::JsonSchema { name: String::new(), description: None, schema, strict: None },
                None => Format::JsonObject,
            })
        }
        _ => Err(wrong("response_format", "has to have the type text or json_object")),
    }
}

fn thinking(mut fields: Fields) -> Result<Thinking, Refusal> {
    let enabled = match fields.text("type")?.as_deref() {
        Some("enabled") | None => Some(true),
        Some("disabled") => Some(false),
        Some(_) => return Err(wrong("thinking", "has to have the type enabled or disabled")),
    };
    Ok(Thinking { enabled, budget: fields.count("token_budget")?, ..Thinking::default() })
}
