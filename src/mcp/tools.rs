//! The gateway's own tools: which models a key may use, what it has used, and how it stands.

use std::sync::Arc;

use rmcp::ErrorData;
use rmcp::model::{CallToolResult, JsonObject, Tool, ToolAnnotations};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::calls::{no_tool, wrong};
use crate::admin::explain::Sources;
use crate::admin::{left_out_of_usage, parse_usage_query};
use crate::gateway::Gateway;
use crate::key::Caller;
use crate::quota::limits;
use crate::store::UsageQuery;
use crate::surface::openai::models;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ListModels {
    matching: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Usage {
    by: Option<String>,
    since: Option<String>,
    until: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ExplainKey {
    model: Option<String>,
}

/// All of them, with what they take and give.
pub fn all() -> Vec<Tool> {
    let text = |description: &str| json!({ "type": "string", "description": description });
    let tool = |name: &'static str, title: &str, description: &'static str, input: Value, output: Value| {
        let input = json!({ "type": "object", "properties": input, "additionalProperties": false });
        Tool::new(name, description, object(input))
            .with_title(title)
            .with_raw_output_schema(object(json!({ "type": "object", "properties": output })))
            .with_annotations(ToolAnnotations::with_title(title).read_only(true).open_world(false))
    };
    vec![
        tool(
            "list_models",
            "List models",
            "Lists the models that this key may use, with context size and prices in USD per million tokens.",
            json!({ "matching": text("A glob on the name, such as 'openai/*'; all where it is left out.") }),
            json!({ "models": { "type": "array", "items": { "type": "object" } } }),
        ),
        tool(
            "usage",
            "Usage of this key",
            "Sums up the requests, tokens and cost of this key.",
            json!({
                "by": { "type": "string", "enum": ["day", "model"], "description": "What makes a row; the day where it is left out." },
                "since": text("A day or an RFC 3339 time, in UTC."),
                "until": text("A day or an RFC 3339 time, in UTC."),
            }),
            json!({
                "rows": { "type": "array", "items": { "type": "object" } },
                "complete": { "type": "boolean", "description": "False while the newest requests are in no row yet, or where 'note' tells what is left out." },
                "note": { "type": "string", "description": "What is left out." },
            }),
        ),
        tool(
            "explain_key",
            "Explain this key",
            "Tells whether this key may be used now, for a model if one is named, how each of its own limits and budgets stands, and which that it shares with others refuse it.",
            json!({ "model": text("A model's name, such as 'openai/gpt-4o-mini'.") }),
            json!({ "accepted": { "type": "boolean" }, "message": { "type": "string" } }),
        ),
    ]
}

/// What stands for the gateway in scopes.
pub const SERVER: &str = crate::config::mcp::OWN_TOOLS;

/// Whether there is such a tool.
pub fn has(name: &str) -> bool {
    ["list_models", "usage", "explain_key"].contains(&name)
}

/// Calls one; what the caller did wrong is a result that says so, which a model can read.
pub async fn call(gateway: &Gateway, caller: &Caller, name: &str, arguments: Value) -> Result<CallToolResult, ErrorData> {
    let outcome = match name {
        "list_models" => list_models(gateway, caller, arguments),
        "usage" => usage(gateway, caller, arguments).await,
        "explain_key" => explain_key(gateway, caller, arguments).await,
        _ => return Err(no_tool(name)),
    };
    Ok(outcome.map_or_else(|why| wrong(&why), right))
}

fn list_models(gateway: &Gateway, caller: &Caller, arguments: Value) -> Result<Value, String> {
    let ListModels { matching } = read(arguments)?;
    let mut models = models::allowed(gateway, caller);
    models.retain(|model| matching.as_deref().is_none_or(|glob| limits::matches(glob, &model.id)));
    Ok(json!({ "models": models }))
}

async fn usage(gateway: &Gateway, caller: &Caller, arguments: Value) -> Result<Value, String> {
    let Usage { by, since, until } = read(arguments)?;
    let by = by.as_deref().unwrap_or("day");
    if !["day", "model"].contains(&by) {
        return Err(format!("'{by}' is nothing to sum by: it is day or model."));
    }
    let query = parse_usage_query(by, since.as_deref(), until.as_deref())?;
    let query = UsageQuery { key: Some(caller.id().to_string()), ..query };
    let is_newest = gateway.take_in_newest("usage is shown").await;
    let rows = gateway.ledger_store.usage(&query).await.map_err(|e| down(&e))?;
    let note = left_out_of_usage(&*gateway.ledger_store, query.since, query.until).await.map_err(|e| down(&e))?;
    let mut told = json!({ "rows": rows, "complete": is_newest && note.is_none() });
    if let Some(note) = note {
        told["note"] = note.into();
    }
    Ok(told)
}

/// What a key's holder may know: no more of the limits that others share than a request of theirs would be told.
async fn explain_key(gateway: &Gateway, caller: &Caller, arguments: Value) -> Result<Value, String> {
    let ExplainKey { model } = read(arguments)?;
    gateway.take_in_newest("a key is explained").await;
    let (keys, ledger, router) = (&*gateway.key_store, &*gateway.ledger_store, gateway.router());
    let (prompts, prompts_model) = (&*gateway.prompts.prompts(), gateway.config.prompts.model.as_str());
    let (keyring, audit) = (&*gateway.keys, &*gateway.audit_store);
    let sources = Sources { keyring, is_gateway: true, keys, ledger, audit, router: &router, prompts, prompts_model };
    let mut explanation = sources.explain(caller.id().as_str(), model.as_deref()).await.map_err(|e| down(&e))?;
    let own: Vec<String> = caller.chain().iter().map(|account| account.id()).filter(|id| id.is_a_keys()).map(ToString::to_string).collect();
    explanation.limits.retain(|standing| own.contains(&standing.account) || standing.refusal().is_some());
    let mut told = serde_json::to_value(explanation).map_err(|e| e.to_string())?;
    // It is for whoever runs the gateway.
    told.as_object_mut().and_then(|told| told.remove("hint"));
    Ok(told)
}

fn read<T: DeserializeOwned>(arguments: Value) -> Result<T, String> {
    serde_json::from_value(arguments).map_err(|e| format!("The arguments are not right: {e}."))
}

fn down(error: &dyn std::fmt::Display) -> String {
    tracing::error!(%error, "a tool cannot read from the store");
    "The store cannot be asked right now: try again in a moment.".to_owned()
}

fn right(value: Value) -> CallToolResult {
    CallToolResult::structured(value)
}

fn object(value: Value) -> Arc<JsonObject> {
    match value {
        Value::Object(object) => Arc::new(object),
        _ => Arc::default(),
    }
}
