//! Reads a Converse request.
//!
//! Source: the request body of `Converse` in the Amazon Bedrock API reference.

use serde_json::{Map, Value, json};

use super::additional;
use super::content::{builtin_kind, read_blocks, read_cache};
use super::fields::{take, text, wrong};
use crate::catalog::Dialect;
use crate::dialect::ir::{
    Block, Builtin, BuiltinKind, Content, Effort, Extra, Format, Function, Message, Request, Role, Sampling, Signature, Thinking, Tool,
    ToolChoice,
};
use crate::error::Refusal;

const D: Dialect = Dialect::BedrockConverse;
/// Where Claude's own answer says which stop sequence it came to.
pub const STOP_SEQUENCE: &str = "/delta/stop_sequence";

/// Reads the body.
pub fn decode(body: &[u8]) -> Result<Request, Refusal> {
    let mut top: Map<String, Value> =
        serde_json::from_slice(body).map_err(|e| Refusal::invalid("body_not_json", format!("The body is not right: {e}.")))?;
    let mut request = Request::default();
    if let Some(system) = top.remove("system").filter(|system| !system.is_null()) {
        let content = read_blocks(system, false).map_err(|why| in_field("system", &why))?;
        if !content.is_empty() {
            request.push(Message::new(Role::System, content));
        }
    }
    read_messages(&mut top, &mut request)?;
    let mut tool_config = take::<Map<String, Value>>(&mut top, "toolConfig", "has to be an object")?.unwrap_or_default();
    request.tools = read_tools(&mut tool_config)?;
    request.tool_choice = read_tool_choice(&mut tool_config)?;
    request.sampling = read_inference(&mut top)?;
    read_output(&mut top, &mut request)?;
    let tier = take::<Value>(&mut top, "serviceTier", "has to be an object")?;
    request.service_tier = tier.as_ref().and_then(|tier| text(tier, "type")).map(str::to_owned);
    request.metadata = take(&mut top, "requestMetadata", "has to be an object of strings")?.unwrap_or_default();
    additional::read(&mut top, &mut request)?;
    // Every dialect's answer says which stop sequence it came to, asked or not.
    top.retain(|name, paths| name != "additionalModelResponseFieldPaths" || *paths != json!([STOP_SEQUENCE]));
    request.extra = Extra::new(D, top);
    Ok(request)
}

fn in_field(field: &'static str, why: &str) -> Refusal {
    Refusal::invalid("invalid_value", format!("In '{field}', {why}.")).with_param(field)
}

fn read_messages(top: &mut Map<String, Value>, request: &mut Request) -> Result<(), Refusal> {
    let messages = take::<Vec<Map<String, Value>>>(top, "messages", "has to be a list of messages")?.unwrap_or_default();
    for mut message in messages {
        let is_assistant = match message.get("role").and_then(Value::as_str) {
            Some("user") => false,
            Some("assistant") => true,
            _ => return Err(wrong("messages", "has to have the role 'user' or 'assistant' in each message")),
        };
        let content = message.remove("content").unwrap_or(Value::Array(Vec::new()));
        let blocks = read_blocks(content, is_assistant).map_err(|why| in_field("messages", &why))?;
        match is_assistant {
            true => request.push(Message::new(Role::Assistant, with_call_signatures(blocks))),
            false => split(blocks, request),
        }
    }
    Ok(())
}

/// The results of tools stand in messages of their own.
fn split(blocks: Vec<Block>, request: &mut Request) {
    if blocks.is_empty() {
        return request.push(Message::new(Role::User, blocks));
    }
    let mut run: Option<Message> = None;
    for block in blocks {
        let role = if matches!(block.content, Content::ToolResult(_)) { Role::Tool } else { Role::User };
        match &mut run {
            Some(message) if message.role == role => message.content.push(block),
            other => {
                if let Some(done) = other.replace(Message::new(role, vec![block])) {
                    request.push(done);
                }
            }
        }
    }
    if let Some(last) = run {
        request.push(last);
    }
}

/// Gives a call the signature of another dialect that stands before it as reasoning without words: this dialect's calls have no place for it.
fn with_call_signatures(blocks: Vec<Block>) -> Vec<Block> {
    let mut out: Vec<Block> = Vec::with_capacity(blocks.len());
    for mut block in blocks {
        if let Content::ToolCall(call) = &mut block.content
            && let Some(signature) = out.last().and_then(lone_signature)
        {
            call.signature = Some(signature);
            out.pop();
        }
        out.push(block);
    }
    out
}

fn lone_signature(block: &Block) -> Option<Signature> {
    match &block.content {
        Content::Reasoning(reasoning) if reasoning.text.is_empty() && !reasoning.is_redacted => {
            reasoning.signature.clone().filter(|signature| signature.by == Dialect::Gemini)
        }
        _ => None,
    }
}

fn read_tools(config: &mut Map<String, Value>) -> Result<Vec<Tool>, Refusal> {
    let listed = config.remove("tools").unwrap_or(Value::Null);
    let listed: Option<Vec<Map<String, Value>>> =
        serde_json::from_value(listed).map_err(|_| wrong("toolConfig", "has to have a list of objects as its 'tools'"))?;
    let mut tools = Vec::new();
    for object in listed.unwrap_or_default() {
        let Some((name, mut value)) = object.into_iter().next() else { continue };
        match (name.as_str(), tools.last_mut()) {
            ("toolSpec", _) => tools.push(Tool::Function(read_function(&mut value)?)),
            ("cachePoint", Some(Tool::Function(function))) if function.cache.is_none() => function.cache = Some(read_cache(&value)),
            _ => {
                let kind = if name == "systemTool" { builtin_kind(text(&value, "name").unwrap_or_default()) } else { BuiltinKind::Other };
                tools.push(Tool::Builtin(Builtin { kind, of: D, value: Value::Object(Map::from_iter([(name, value)])) }));
            }
        }
    }
    Ok(tools)
}

fn read_function(spec: &mut Value) -> Result<Function, Refusal> {
    let name = text(spec, "name").filter(|name| !name.is_empty()).ok_or_else(|| wrong("toolConfig", "has to name each of its tools"))?;
    Ok(Function {
        name: name.to_owned(),
        description: text(spec, "description").map(str::to_owned),
        strict: spec.get("strict").and_then(Value::as_bool),
        parameters: spec.pointer_mut("/inputSchema/json").map(Value::take).filter(|schema| !schema.is_null()),
        cache: None,
    })
}

fn read_tool_choice(config: &mut Map<String, Value>) -> Result<Option<ToolChoice>, Refusal> {
    let Some(choice) = config.remove("toolChoice").filter(|choice| !choice.is_null()) else { return Ok(None) };
    if choice.get("auto").is_some() {
        return Ok(Some(ToolChoice::Auto));
    }
    if choice.get("any").is_some() {
        return Ok(Some(ToolChoice::Required));
    }
    match choice.pointer("/tool/name").and_then(Value::as_str) {
        Some(name) => Ok(Some(ToolChoice::Tool(name.to_owned()))),
        None => Err(wrong("toolConfig", "has to have {\"auto\": {}}, {\"any\": {}} or {\"tool\": {\"name\": …}} as its 'toolChoice'")),
    }
}

fn read_inference(top: &mut Map<String, Value>) -> Result<Sampling, Refusal> {
    let Some(mut config) = take::<Map<String, Value>>(top, "inferenceConfig", "has to be an object")? else {
        return Ok(Sampling::default());
    };
    const NUMBER: &str = "has to be a number";
    Ok(Sampling {
        max_output: take(&mut config, "maxTokens", "has to be a whole number of tokens")?,
        temperature: take(&mut config, "temperature", NUMBER)?,
        top_p: take(&mut config, "topP", NUMBER)?,
        top_k: take(&mut config, "topK", NUMBER)?,
        stop: take(&mut config, "stopSequences", "has to be a list of strings")?.unwrap_or_default(),
        ..Sampling::default()
    })
}

fn read_output(top: &mut Map<String, Value>, request: &mut Request) -> Result<(), Refusal> {
    const NEED: &str = "has to have a 'textFormat' with a JSON schema as text in 'structure.jsonSchema.schema'";
    let Some(config) = take::<Value>(top, "outputConfig", NEED)? else { return Ok(()) };
    if let Some(effort) = text(&config, "effort") {
        let known = Effort::from_name(effort).ok_or_else(|| wrong("outputConfig", "has an 'effort' that is not known"))?;
        request.thinking = Some(Thinking { effort: Some(known), ..Thinking::default() });
    }
    let Some(definition) = config.pointer("/textFormat/structure/jsonSchema") else { return Ok(()) };
    let schema = text(definition, "schema").and_then(|schema| serde_json::from_str(schema).ok());
    request.format = Some(Format::JsonSchema {
        name: text(definition, "name").unwrap_or_default().to_owned(),
        description: text(definition, "description").map(str::to_owned),
        schema: schema.ok_or_else(|| wrong("outputConfig", NEED))?,
        strict: None,
    });
    Ok(())
}
