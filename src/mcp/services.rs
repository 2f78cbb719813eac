//! REST services to MCP: each operation is a tool with the input that its OpenAPI description says, called as `/services/NAME/…` is.

use std::sync::Arc;

use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName, HeaderValue, Response, header};
use http_body_util::{BodyExt as _, Limited};
use rmcp::ErrorData;
use rmcp::model::{CallToolResult, ContentBlock, JsonObject, Tool, ToolAnnotations};
use serde_json::{Value, json};

use super::calls::{Called, no_tool, wrong};
use crate::gateway::Gateway;
use crate::key::Caller;
use crate::key::caller::Plane;
use crate::service::arguments::{Filled, Form};
use crate::service::{Operation, Service};
use crate::surface::services::{Asked, as_shown, call_with, callable, may_call};

/// An answer is read up to this size: more is too much for a model.
const LARGEST: usize = 4 << 20;
/// Where an answer that is no object stands: a tool's structured content is always one.
const RESULT: &str = "result";

/// The tools of all services that a key may call now, in the version that is shown.
pub fn tools(gateway: &Gateway, caller: &Caller) -> Vec<Tool> {
    let of = |service: &Arc<Service>| {
        let may_call = |operation: &&Operation| may_call(gateway, caller, service, operation);
        let tools = service.description.operations.iter().filter(may_call).filter_map(|operation| tool(service, operation));
        tools.collect::<Vec<_>>()
    };
    callable(gateway, caller).iter().flat_map(of).collect()
}

/// An operation as a tool. What it gives is not promised: many an API answers otherwise than its description says, and clients would refuse that.
fn tool(service: &Service, operation: &Operation) -> Option<Tool> {
    let form = operation.form.as_ref().ok()?;
    let said: Vec<&str> = [&operation.summary, &operation.description].into_iter().flatten().map(String::as_str).collect();
    let description = match said.is_empty() {
        true => format!("{} {} of {}.", operation.method, operation.path, service.title),
        false => said.join("\n\n"),
    };
    let method = &operation.method;
    let hints = ToolAnnotations::new()
        .read_only(method.is_safe())
        .destructive(!method.is_safe() && *method != http::Method::POST)
        .idempotent(method.is_idempotent())
        .open_world(true);
    let tool = Tool::new(super::tool_name(&service.name, &operation.id), description, Arc::new(form.schema.clone()));
    Some(tool.with_annotations(hints))
}

/// Calls an operation by its id; what is wrong with the call is a result that says so, which a model can read.
pub async fn call(
    gateway: &Arc<Gateway>,
    called: &Called,
    service: &Service,
    id: &str,
    arguments: JsonObject,
) -> Result<CallToolResult, ErrorData> {
    let operation = service.description.operation(id).ok_or_else(|| no_tool(id))?;
    let filled = match &operation.form {
        Ok(form) => filled(form, operation, arguments),
        Err(why) => Err(format!("'{id}' of '{}' is no tool: {why}. It is called at /services/{}.", service.name, service.name)),
    };
    let name = as_shown(gateway, &called.caller, service, operation);
    let scope = if called.caller.may_use_tool(&service.scope(id)).is_ok() { service.scope(id) } else { service.pinned_scope(id) };
    let asked = match filled.and_then(|filled| asked(called, name, operation, filled)) {
        Ok(asked) => asked,
        Err(why) => {
            // It is a request all the same.
            let admitted = called.admit(&scope);
            return Ok(admitted.map_or_else(|refused| wrong(&refused.message), |()| wrong(&why)));
        }
    };
    Ok(told(call_with(gateway, asked).await).await)
}

fn filled(form: &Form, operation: &Operation, arguments: JsonObject) -> Result<Filled, String> {
    let arguments = Value::Object(arguments);
    let violations = form.violations(&arguments);
    if !violations.is_empty() {
        return Err(format!("The arguments are not right: {}.", violations.join("; ")));
    }
    Ok(form.fill(&operation.path, arguments.as_object().unwrap_or(&JsonObject::new())))
}

/// The request, under the key that the call came with.
fn asked(called: &Called, service: String, operation: &Operation, filled: Filled) -> Result<Asked, String> {
    let mut headers = HeaderMap::new();
    headers.insert(header::ACCEPT, HeaderValue::from_static("application/json, */*;q=0.5"));
    for (name, value) in &filled.headers {
        let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) else {
            return Err(format!("'{name}' has characters that no header can have."));
        };
        headers.insert(name, value);
    }
    let body = match filled.body {
        None => Body::empty(),
        Some((kind, text)) => {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(text.len()));
            Body::from(text)
        }
    };
    Ok(Asked {
        head: called.presented.clone(),
        plane: Plane::Data,
        service,
        method: operation.method.clone(),
        path: filled.path,
        query: filled.query,
        headers,
        body,
    })
}

/// An answer as a tool's result.
async fn told(response: Response<Body>) -> CallToolResult {
    let (head, body) = response.into_parts();
    let Ok(whole) = Limited::new(body, LARGEST).collect().await else {
        return wrong(&format!("The answer broke off, or is larger than the {} MiB that a tool gives.", LARGEST >> 20));
    };
    let kind = head.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let bytes = whole.to_bytes();
    let text = std::str::from_utf8(&bytes);
    if !head.status.is_success() {
        return wrong(&failed(head.status, &kind, text.unwrap_or_default()));
    }
    let is_json = kind == "application/json" || kind.ends_with("+json");
    match (text, serde_json::from_slice::<Value>(&bytes).ok().filter(|_| is_json)) {
        (_, Some(value @ Value::Object(_))) => CallToolResult::structured(value),
        (_, Some(value)) => CallToolResult::structured(json!({ RESULT: value })),
        _ if kind.starts_with("image/") => CallToolResult::success(vec![ContentBlock::image(STANDARD.encode(&bytes), kind)]),
        _ if kind.starts_with("audio/") => CallToolResult::success(vec![ContentBlock::audio(STANDARD.encode(&bytes), kind)]),
        (Ok(""), None) => CallToolResult::success(vec![ContentBlock::text(format!("Done (status {}).", head.status.as_u16()))]),
        (Ok(text), None) => CallToolResult::success(vec![ContentBlock::text(text)]),
        (Err(_), None) => wrong(&format!("The answer is {} bytes of {kind}, which a tool cannot give.", bytes.len())),
    }
}

/// The gateway's own refusals in their sentence, a service's error with its status.
fn failed(status: http::StatusCode, kind: &str, text: &str) -> String {
    let problem = serde_json::from_str::<Value>(text).ok().filter(|_| kind == "application/problem+json");
    let is_ours = |problem: &Value| problem.get("type").and_then(Value::as_str).is_some_and(|kind| kind.starts_with("urn:keyward:"));
    match problem.as_ref().filter(|problem| is_ours(problem)).and_then(|problem| problem.get("detail")?.as_str()) {
        Some(detail) => detail.to_owned(),
        None => format!("The service answered with status {}: {text}", status.as_u16()),
    }
}
