//! Writes tools, the choice among them, and MCP servers.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::decode_tools::OF_TOOLS;
use super::model::Traits;
use super::{encode_blocks, schema};
use crate::catalog::Dialect;
use crate::dialect::ir::{Builtin, BuiltinKind, Content, Dropped, Extra, Function, Request, Tool, ToolChoice};

const DIALECT: Dialect = Dialect::AnthropicMessages;

/// Adds `tools`, `tool_choice` and `mcp_servers`; the answer says whether a call is forced.
pub fn encode(request: &Request, traits: &Traits, out: &mut Map<String, Value>, dropped: &mut Dropped) -> bool {
    let allowed = match &request.tool_choice {
        Some(ToolChoice::Allowed { names, .. }) => Some(names),
        _ => None,
    };
    let (mut tools, mut servers) = (Vec::new(), Vec::new());
    for tool in &request.tools {
        let written = match tool {
            Tool::Function(function) => {
                is_allowed(allowed, &function.name).then(|| write_function(function, traits, &request.extra, dropped))
            }
            Tool::Custom { name, description, format } => {
                dropped.note_if(format.as_ref().is_some_and(|format| format["type"] != "text"), "tools.format");
                is_allowed(allowed, name).then(|| custom(name, description.as_deref()))
            }
            Tool::Builtin(builtin) => match own_builtin(builtin) {
                Some(server) if server["type"] == "url" => {
                    servers.push(server);
                    None
                }
                None => {
                    dropped.note(builtin.own_name());
                    None
                }
                own => own,
            },
        };
        tools.extend(written);
    }
    let is_history = tools.is_empty() && servers.is_empty();
    if is_history {
        tools = of_history(request);
    }
    let choice = if tools.is_empty() || is_history { None } else { choice(request, traits, dropped) };
    let forces = choice.as_ref().is_some_and(|choice| choice["type"] == "any" || choice["type"] == "tool");
    if is_history && !tools.is_empty() {
        out.insert("tool_choice".to_owned(), json!({ "type": "none" }));
    }
    for (name, list) in [("tools", tools), ("mcp_servers", servers)] {
        if !list.is_empty() {
            out.insert(name.to_owned(), Value::Array(list));
        }
    }
    out.extend(choice.map(|choice| ("tool_choice".to_owned(), choice)));
    forces
}

fn is_allowed(allowed: Option<&Vec<String>>, name: &String) -> bool {
    allowed.is_none_or(|names| names.contains(name))
}

fn write_function(function: &Function, traits: &Traits, extra: &Extra, dropped: &mut Dropped) -> Value {
    let Function { name, description, parameters, strict, cache } = function;
    let mut lost = Vec::new();
    let mut input_schema = schema::of_tool(parameters.as_ref(), &mut lost);
    lost.into_iter().for_each(|keyword| dropped.note(format!("tools.parameters.{keyword}")));
    let mut tool = Map::from_iter([("name".to_owned(), Value::from(name.as_str()))]);
    tool.extend(description.as_ref().map(|text| ("description".to_owned(), Value::from(text.as_str()))));
    match strict {
        Some(true) if traits.structured => {
            input_schema = schema::enforceable(&input_schema);
            tool.insert("strict".to_owned(), Value::Bool(true));
        }
        Some(true) => dropped.note("strict"),
        Some(false) if extra.of == Some(DIALECT) => drop(tool.insert("strict".to_owned(), Value::Bool(false))),
        _ => {}
    }
    tool.insert("input_schema".to_owned(), input_schema);
    tool.extend(cache.as_ref().map(|cache| ("cache_control".to_owned(), encode_blocks::cache(cache))));
    if extra.of == Some(DIALECT) {
        let kept = extra.fields.iter().filter_map(|(key, by_name)| Some((key.strip_prefix(OF_TOOLS)?, by_name.get(name)?)));
        tool.extend(kept.map(|(member, value)| (member.to_owned(), value.clone())));
    }
    Value::Object(tool)
}

/// A tool that takes free text takes it as the one member of an object.
fn custom(name: &str, description: Option<&str>) -> Value {
    json!({
        "name": name,
        "description": description.unwrap_or_default(),
        "input_schema": { "type": "object", "properties": { "input": { "type": "string" } }, "required": ["input"] },
    })
}

/// A built-in tool in this dialect's words; `None` where it has none.
fn own_builtin(builtin: &Builtin) -> Option<Value> {
    if builtin.of == DIALECT {
        return Some(builtin.value.clone());
    }
    match builtin.kind {
        BuiltinKind::WebSearch => Some(web_search(&builtin.value)),
        BuiltinKind::WebFetch => Some(json!({ "type": "web_fetch_20250910", "name": "web_fetch" })),
        BuiltinKind::CodeExecution => Some(json!({ "type": "code_execution_20250825", "name": "code_execution" })),
        _ => None,
    }
}

/// Where the searcher is and which sites are wanted, in the places where OpenAI's dialects have them.
fn web_search(theirs: &Value) -> Value {
    let mut tool = json!({ "type": "web_search_20250305", "name": "web_search" });
    let place = theirs.get("user_location").filter(|place| place.is_object());
    let place = place.map(|place| place.get("approximate").filter(|inner| inner.is_object()).unwrap_or(place));
    let known = ["city", "region", "country", "timezone"];
    let location: Map<String, Value> =
        known.iter().filter_map(|name| Some(((*name).to_owned(), place?.get(*name).filter(|value| value.is_string())?.clone()))).collect();
    if !location.is_empty() {
        tool["user_location"] = Value::Object(location);
        tool["user_location"]["type"] = Value::from("approximate");
    }
    for name in ["allowed_domains", "blocked_domains"] {
        let domains = theirs.get("filters").and_then(|filters| filters.get(name)).or(theirs.get(name));
        if let Some(domains) = domains.filter(|domains| domains.as_array().is_some_and(|list| !list.is_empty())) {
            tool[name] = domains.clone();
        }
    }
    tool
}

/// A conversation with tool calls in it needs their tools, though none may be called any more.
fn of_history(request: &Request) -> Vec<Value> {
    let blocks = request.messages.iter().flat_map(|message| &message.content);
    let names: BTreeSet<&str> = blocks
        .filter_map(|block| match &block.content {
            Content::ToolCall(call) => Some(call.name.as_str()),
            _ => None,
        })
        .collect();
    names.into_iter().map(|name| json!({ "name": name, "input_schema": { "type": "object", "properties": {} } })).collect()
}

fn choice(request: &Request, traits: &Traits, dropped: &mut Dropped) -> Option<Value> {
    let mut choice = match &request.tool_choice {
        None => match request.parallel_tool_calls {
            Some(false) => json!({ "type": "auto" }),
            _ => return None,
        },
        Some(ToolChoice::None) => return Some(json!({ "type": "none" })),
        Some(ToolChoice::Auto | ToolChoice::Allowed { required: false, .. }) => json!({ "type": "auto" }),
        Some(_) if !traits.forced_tools => {
            dropped.note("tool_choice");
            json!({ "type": "auto" })
        }
        Some(ToolChoice::Required | ToolChoice::Allowed { required: true, .. }) => json!({ "type": "any" }),
        Some(ToolChoice::Tool(name)) => json!({ "type": "tool", "name": name }),
    };
    if let Some(parallel) = request.parallel_tool_calls {
        choice["disable_parallel_tool_use"] = Value::Bool(!parallel);
    }
    Some(choice)
}
