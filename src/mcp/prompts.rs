//! Prompts of this gateway to MCP: each is a tool with typed input and output, a prompt, and a resource with its file's text.

use std::sync::Arc;

use axum::body::Body;
use http::{Response, StatusCode};
use http_body_util::BodyExt as _;
use rmcp::ErrorData;
use rmcp::model::{
    CallToolResult, ContentBlock, GetPromptResult, JsonObject, Prompt as McpPrompt, PromptArgument, PromptMessage, ReadResourceResult,
    Resource, ResourceContents, Role, Tool,
};
use serde_json::{Map, Value, json};

use super::calls::{Called, wrong};
use super::names::shown;
use crate::dialect::ir::{self, Content, MediaKind, MediaSource};
use crate::gateway::Gateway;
use crate::key::Caller;
use crate::prompt::{Prompt, chat};
use crate::surface::prompts::{call_with, callable, may_call};

/// What stands before the name of a prompt's tool, and in scopes.
pub const SERVER: &str = crate::config::mcp::OWN_PROMPTS;
const SCHEME: &str = "prompt://";
const FILE_TYPE: &str = "text/plain";

/// The prompts that a key may call now, one version of each.
pub fn allowed(gateway: &Gateway, caller: &Caller) -> Vec<Arc<Prompt>> {
    let mut prompts = callable(gateway, caller);
    prompts.retain(|prompt| caller.may_use_tool(&scope(&prompt.name)).is_ok());
    prompts
}

/// A prompt's name in scopes.
pub fn scope(name: &str) -> String {
    format!("{SERVER}/{}", base(name))
}

/// A prompt's name without its version.
pub fn base(name: &str) -> &str {
    name.split_once('@').map_or(name, |(base, _)| base)
}

/// A prompt as a tool.
pub fn tool(prompt: &Prompt) -> Tool {
    let description = prompt.front.description.clone().unwrap_or_else(|| format!("The prompt '{}' of this gateway.", prompt.name));
    let tool = Tool::new(super::names::Manner::Beside.name(SERVER, &prompt.name), description, Arc::new(input(prompt)));
    match prompt.front.output.as_ref().filter(|_| prompt.gives_json()) {
        Some(schema) => tool.with_raw_output_schema(Arc::new(wrapped_schema(schema))),
        None => tool,
    }
}

/// A prompt as a prompt.
pub fn prompt(prompt: &Prompt) -> McpPrompt {
    let schema = input(prompt);
    let required: Vec<&str> = schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
    let properties = schema.get("properties").and_then(Value::as_object);
    let arguments = properties.into_iter().flatten().map(|(name, property)| {
        let argument = PromptArgument::new(name).with_required(required.contains(&name.as_str()));
        match property.get("description").and_then(Value::as_str) {
            Some(description) => argument.with_description(description),
            None => argument,
        }
    });
    McpPrompt::new(&prompt.name, prompt.front.description.clone(), Some(arguments.collect()))
}

/// A prompt's file as a resource.
pub fn resource(prompt: &Prompt) -> Resource {
    let described = prompt.front.description.clone().unwrap_or_else(|| format!("The file of the prompt '{}'.", prompt.name));
    Resource::new(format!("{SCHEME}{}", prompt.label()), prompt.label())
        .with_description(described)
        .with_mime_type(FILE_TYPE)
        .with_size(prompt.source.len() as u64)
}

/// Calls a prompt as `POST /prompts/{name}` does: the same checks, limits, ledger and answer, told as a tool's result.
pub async fn call(gateway: &Arc<Gateway>, called: &Called, name: &str, arguments: JsonObject) -> CallToolResult {
    if let Err(reason) = called.caller.may_use_tool(&scope(name)) {
        return wrong(&reason.message());
    }
    let response = call_with(gateway, name, called.presented.clone(), Value::Object(arguments)).await;
    let gives_json = response.headers().get(http::header::CONTENT_TYPE).is_some_and(|kind| kind == "application/json");
    let (status, text) = read(response).await;
    if status != StatusCode::OK {
        return wrong(&told(&text));
    }
    match serde_json::from_str::<Value>(&text).ok().filter(|_| gives_json) {
        Some(value @ Value::Object(_)) => CallToolResult::structured(value),
        Some(value) => CallToolResult::structured(json!({ RESULT: value })),
        None => CallToolResult::success(vec![ContentBlock::text(text)]),
    }
}

/// A prompt rendered for a client that has a model of its own.
pub fn get(gateway: &Gateway, caller: &Caller, name: &str, arguments: Option<JsonObject>) -> Result<GetPromptResult, ErrorData> {
    let prompt = found(gateway, caller, name)?;
    let given = typed(&prompt, arguments.unwrap_or_default());
    let refused = |refusal: crate::error::Refusal| ErrorData::invalid_params(refusal.message, Some(json!({ "code": refusal.code })));
    let input = chat::variables(&prompt, given).map_err(|violations| refused(chat::unfit(&prompt, &violations)))?;
    let request = chat::rendered(&prompt, input, Vec::new(), ir::Request::default()).map_err(refused)?;
    let messages = request.messages.iter().flat_map(|message| {
        // MCP has no role for a system's instructions: the user says them first.
        let role = if message.role == ir::Role::Assistant { Role::Assistant } else { Role::User };
        message.content.iter().filter_map(content).map(move |content| PromptMessage::new(role.clone(), content))
    });
    let result = GetPromptResult::new(messages.collect());
    Ok(match &prompt.front.description {
        Some(description) => result.with_description(description),
        None => result,
    })
}

/// The prompt whose file a URI names.
pub fn named(uri: &str) -> Option<&str> {
    uri.strip_prefix(SCHEME)
}

/// A prompt's file.
pub fn file(gateway: &Gateway, caller: &Caller, name: &str) -> Result<ReadResourceResult, ErrorData> {
    found(gateway, caller, name).map(|prompt| {
        let contents = ResourceContents::text(&prompt.source, format!("{SCHEME}{}", prompt.label())).with_mime_type(FILE_TYPE);
        ReadResourceResult::new(vec![contents])
    })
}

fn found(gateway: &Gateway, caller: &Caller, name: &str) -> Result<Arc<Prompt>, ErrorData> {
    let not_found = || ErrorData::resource_not_found(format!("There is no prompt '{}' that this key may use.", shown(name)), None);
    caller.may_use_tool(&scope(name)).map_err(|_| not_found())?;
    let prompt = chat::find(gateway, caller, name).map_err(|_| not_found())?;
    if may_call(gateway, caller, &prompt) { Ok(prompt) } else { Err(not_found()) }
}

/// The schema of what is given: what has a default need not be.
fn input(prompt: &Prompt) -> JsonObject {
    prompt.given()
}

/// Where an answer that is no object stands: a tool's structured content is always one.
const RESULT: &str = "result";

fn wrapped_schema(schema: &Value) -> JsonObject {
    match schema {
        Value::Object(object) if object.get("type").is_some_and(|kind| kind == "object") => object.clone(),
        other => Map::from_iter([
            ("type".to_owned(), json!("object")),
            ("properties".to_owned(), json!({ RESULT: other })),
            ("required".to_owned(), json!([RESULT])),
        ]),
    }
}

/// Arguments of an MCP prompt are texts; those that the schema wants otherwise are read as JSON.
fn typed(prompt: &Prompt, arguments: JsonObject) -> Value {
    let schema = prompt.front.input.as_ref();
    let wants_text = |name: &str| {
        let kind = schema.and_then(|schema| schema.pointer("/properties")?.get(name)?.get("type"));
        kind.is_none_or(|kind| kind == "string" || kind.as_array().is_some_and(|kinds| kinds.iter().any(|kind| kind == "string")))
    };
    let one = |(name, value): (String, Value)| {
        let read = value.as_str().filter(|_| !wants_text(&name)).and_then(|text| serde_json::from_str(text).ok());
        let value = read.unwrap_or(value);
        (name, value)
    };
    Value::Object(arguments.into_iter().map(one).collect())
}

fn content(block: &ir::Block) -> Option<ContentBlock> {
    if let Some(text) = block.as_text() {
        return Some(ContentBlock::text(text));
    }
    let Content::Media(media) = &block.content else { return None };
    Some(match (&media.source, media.kind, &media.media_type) {
        (MediaSource::Base64(data), MediaKind::Image, Some(kind)) => ContentBlock::image(data, kind),
        (MediaSource::Base64(data), MediaKind::Audio, Some(kind)) => ContentBlock::audio(data, kind),
        (MediaSource::Url(url), ..) => ContentBlock::resource_link(Resource::new(url, "media")),
        _ => return None,
    })
}

async fn read(response: Response<Body>) -> (StatusCode, String) {
    let status = response.status();
    match response.into_body().collect().await {
        Ok(whole) => (status, String::from_utf8_lossy(&whole.to_bytes()).into_owned()),
        Err(error) => (StatusCode::BAD_GATEWAY, format!("The answer broke off: {error}.")),
    }
}

/// A problem's sentence.
fn told(problem: &str) -> String {
    let read = serde_json::from_str::<Value>(problem).ok();
    read.and_then(|problem| problem.get("detail")?.as_str().map(str::to_owned)).unwrap_or_else(|| problem.to_owned())
}
