//! Writes what a model may call, and the choice among it.

use serde_json::{Map, Value, json};

use super::manner::Manner;
use super::parts::cache_control;
use crate::catalog::Dialect;
use crate::dialect::custom::as_function;
use crate::dialect::ir::{Builtin, BuiltinKind, Dropped, Function, Request, Tool, ToolChoice};

/// Writes `tools`, `web_search_options`, `tool_choice` and `parallel_tool_calls`.
pub fn encode(request: &Request, manner: &Manner<'_>, body: &mut Map<String, Value>, dropped: &mut Dropped) {
    let mut tools = Vec::new();
    for tool in &request.tools {
        match tool {
            Tool::Function(function) => tools.push(self::function(function, manner, dropped)),
            Tool::Custom { name, description, .. } if !manner.takes_custom_tools() => {
                tools.push(self::function(&as_function(name, description.as_deref()), manner, dropped));
            }
            Tool::Custom { name, description, format } => {
                let mut custom = json!({ "name": name });
                set(&mut custom, "description", description.clone().map(Value::from));
                set(&mut custom, "format", format.clone());
                tools.push(json!({ "type": "custom", "custom": custom }));
            }
            Tool::Builtin(builtin) => self::builtin(builtin, &mut tools, body, dropped),
        }
    }
    // OpenAI refuses a choice where there is nothing to choose from.
    if !tools.is_empty() {
        body.insert("tools".to_owned(), Value::Array(tools));
        if let Some(choice) = &request.tool_choice {
            body.insert("tool_choice".to_owned(), self::choice(choice, request, manner));
        }
        match request.parallel_tool_calls {
            Some(parallel) if manner.takes_parallel() => drop(body.insert("parallel_tool_calls".to_owned(), Value::Bool(parallel))),
            parallel => dropped.note_if(parallel == Some(false), "parallel_tool_calls"),
        }
    }
}

fn function(function: &Function, manner: &Manner<'_>, dropped: &mut Dropped) -> Value {
    let mut inner = json!({ "name": function.name });
    set(&mut inner, "description", function.description.clone().map(Value::from));
    // Mistral requires a schema.
    let none = || manner.is_mistral().then(|| json!({ "type": "object", "properties": {} }));
    set(&mut inner, "parameters", function.parameters.clone().or_else(none));
    set(&mut inner, "strict", function.strict.map(Value::Bool));
    let mut tool = json!({ "type": "function", "function": inner });
    match &function.cache {
        Some(cache) if manner.takes_cache_marks() => set(&mut tool, "cache_control", Some(cache_control(cache))),
        cache => dropped.note_if(cache.is_some(), "cache"),
    }
    tool
}

fn builtin(builtin: &Builtin, tools: &mut Vec<Value>, body: &mut Map<String, Value>, dropped: &mut Dropped) {
    let is_own = builtin.of == Dialect::OpenaiChat;
    match builtin.kind {
        _ if is_own && builtin.value.get("type").is_some() => tools.push(builtin.value.clone()),
        BuiltinKind::WebSearch => {
            let options = if is_own { builtin.value.clone() } else { web_search_options(&builtin.value) };
            body.insert("web_search_options".to_owned(), options);
        }
        _ => dropped.note(builtin.own_name()),
    }
}

/// The size of the context and the place of the user, which others tell with no object around the place.
fn web_search_options(of_another: &Value) -> Value {
    let mut options = json!({});
    set(&mut options, "search_context_size", of_another.get("search_context_size").cloned());
    if let Some(Value::Object(mut place)) = of_another.get("user_location").cloned() {
        place.remove("type");
        place.retain(|_, value| value.is_string());
        set(&mut options, "user_location", Some(json!({ "type": "approximate", "approximate": place })));
    }
    options
}

fn choice(choice: &ToolChoice, request: &Request, manner: &Manner<'_>) -> Value {
    let named = |name: &str| {
        let is_custom = manner.takes_custom_tools()
            && request.tools.iter().any(|tool| matches!(tool, Tool::Custom { name: known, .. } if known == name));
        let kind = if is_custom { "custom" } else { "function" };
        json!({ "type": kind, kind: { "name": name } })
    };
    match choice {
        ToolChoice::Auto => json!("auto"),
        ToolChoice::None => json!("none"),
        ToolChoice::Required => json!("required"),
        ToolChoice::Tool(name) => named(name),
        ToolChoice::Allowed { names, required } => {
            let mode = if *required { "required" } else { "auto" };
            let tools: Vec<Value> = names.iter().map(|name| named(name)).collect();
            json!({ "type": "allowed_tools", "allowed_tools": { "mode": mode, "tools": tools } })
        }
    }
}

/// Sets a member of an object that is one.
fn set(object: &mut Value, name: &str, value: Option<Value>) {
    if let (Some(object), Some(value)) = (object.as_object_mut(), value) {
        object.insert(name.to_owned(), value);
    }
}
