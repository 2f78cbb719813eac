//! Writes `toolConfig`.
//!
//! Source: `ToolConfiguration` in the Amazon Bedrock API reference.

use serde_json::{Map, Value, json};

use super::encode_messages::write_cache;
use super::family::{Family, Vendor};
use crate::catalog::Dialect;
use crate::dialect::ir::{Builtin, BuiltinKind, Content, Dropped, Function, Request, Tool, ToolChoice};

const D: Dialect = Dialect::BedrockConverse;

/// The tools and the choice among them; `None` where there is nothing to call.
pub fn write(
    request: &Request,
    family: &Family<'_>,
    may_force: bool,
    fields: &mut Map<String, Value>,
    dropped: &mut Dropped,
) -> Option<Value> {
    let history = called_before(request);
    let forbids = request.tool_choice == Some(ToolChoice::None);
    dropped.note_if(forbids && !request.tools.is_empty(), "tool_choice");
    if forbids && history.is_empty() {
        return None;
    }
    let allowed = match &request.tool_choice {
        Some(ToolChoice::Allowed { names, .. }) => Some(names),
        _ => None,
    };
    let mut tools = Vec::new();
    for tool in &request.tools {
        match tool {
            Tool::Function(function)
                if allowed.is_none_or(|names| names.contains(&function.name) || history.contains(&&*function.name)) =>
            {
                write_function(function, family, &mut tools, dropped);
            }
            Tool::Custom { name, description, format } => {
                dropped.note_if(format.is_some(), "tools.format");
                tools.push(free_text(name, description.as_deref()));
            }
            Tool::Builtin(builtin) => write_builtin(builtin, family, fields, &mut tools, dropped),
            Tool::Function(_) => {}
        }
    }
    // Bedrock wants tools wherever a conversation has calls in it.
    if tools.is_empty() {
        tools.extend(history.iter().map(|name| spec(name, None, json!({ "type": "object", "properties": {} }), None)));
    }
    if tools.is_empty() {
        return None;
    }
    let mut config = Map::from_iter([("tools".to_owned(), Value::Array(tools))]);
    let choice = choice(request, family, may_force, dropped);
    if request.parallel_tool_calls == Some(false) && family.vendor == Vendor::Anthropic {
        // Claude's own field stands in place of Converse's: the two together are refused.
        fields.insert("tool_choice".to_owned(), one_by_one(choice.as_ref()));
    } else {
        dropped.note_if(request.parallel_tool_calls == Some(false), "parallel_tool_calls");
        config.extend(choice.map(|choice| ("toolChoice".to_owned(), choice)));
    }
    Some(Value::Object(config))
}

/// The names of the tools that the conversation has calls to.
fn called_before(request: &Request) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for block in request.messages.iter().flat_map(|message| &message.content) {
        let name = match &block.content {
            Content::ToolCall(call) => call.name.as_str(),
            Content::ToolResult(result) => result.name.as_deref().or(request.tool_name(&result.call_id)).unwrap_or("tool"),
            _ => continue,
        };
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

fn write_function(function: &Function, family: &Family<'_>, tools: &mut Vec<Value>, dropped: &mut Dropped) {
    let mut schema = function.parameters.clone().unwrap_or_else(|| json!({ "type": "object", "properties": {} }));
    if let Value::Object(schema) = &mut schema {
        schema.entry("type").or_insert_with(|| Value::from("object"));
    }
    if function.strict == Some(true) {
        close_objects(&mut schema);
    }
    tools.push(spec(&function.name, function.description.as_deref(), schema, function.strict));
    if let Some(cache) = &function.cache {
        match family.takes_cache(true) {
            true => tools.push(write_cache(cache)),
            false => dropped.note("cache"),
        }
    }
}

fn spec(name: &str, description: Option<&str>, schema: Value, strict: Option<bool>) -> Value {
    let mut spec = Map::from_iter([("name".to_owned(), Value::from(name)), ("inputSchema".to_owned(), json!({ "json": schema }))]);
    let description = description.filter(|description| !description.trim().is_empty());
    spec.extend(description.map(|description| ("description".to_owned(), Value::from(description))));
    spec.extend(strict.map(|strict| ("strict".to_owned(), Value::from(strict))));
    json!({ "toolSpec": spec })
}

/// A tool that takes free text, as one that takes an object with nothing but that in it.
fn free_text(name: &str, description: Option<&str>) -> Value {
    let schema = json!({ "type": "object", "properties": { "input": { "type": "string" } }, "required": ["input"] });
    spec(name, description, schema, None)
}

fn write_builtin(builtin: &Builtin, family: &Family<'_>, fields: &mut Map<String, Value>, tools: &mut Vec<Value>, dropped: &mut Dropped) {
    let nova = |name: &str| json!({ "systemTool": { "name": name } });
    match (builtin.of, builtin.kind, family.vendor) {
        (D, ..) => tools.push(builtin.value.clone()),
        (_, BuiltinKind::CodeExecution, Vendor::Nova) if family.is("nova-2") => tools.push(nova("nova_code_interpreter")),
        (_, BuiltinKind::WebSearch, Vendor::Nova) => tools.push(nova("nova_grounding")),
        (Dialect::AnthropicMessages, BuiltinKind::ComputerUse, Vendor::Anthropic) => {
            let listed = fields.entry("tools").or_insert_with(|| json!([]));
            if let Value::Array(listed) = listed {
                listed.push(builtin.value.clone());
            }
        }
        _ => dropped.note(builtin.own_name()),
    }
}

fn choice(request: &Request, family: &Family<'_>, may_force: bool, dropped: &mut Dropped) -> Option<Value> {
    let auto = || Some(json!({ "auto": {} }));
    let (value, which) = match request.tool_choice.as_ref()? {
        ToolChoice::Auto => return auto(),
        ToolChoice::None | ToolChoice::Allowed { required: false, .. } => return None,
        ToolChoice::Required | ToolChoice::Allowed { required: true, .. } => (json!({ "any": {} }), false),
        ToolChoice::Tool(name) => (json!({ "tool": { "name": name } }), true),
    };
    if may_force && family.takes_forced(which) {
        return Some(value);
    }
    dropped.note("tool_choice");
    match may_force && family.takes_forced(false) {
        true => Some(json!({ "any": {} })),
        false => auto(),
    }
}

/// Claude's `tool_choice` for calls that come one by one.
fn one_by_one(choice: Option<&Value>) -> Value {
    let named = choice.and_then(|choice| choice.pointer("/tool/name"));
    let mut out = match (named, choice.and_then(|choice| choice.get("any"))) {
        (Some(name), _) => json!({ "type": "tool", "name": name }),
        (None, Some(_)) => json!({ "type": "any" }),
        (None, None) => json!({ "type": "auto" }),
    };
    out["disable_parallel_tool_use"] = Value::from(true);
    out
}

/// Says of every object in a schema that it has no other members, where it does not say anything: Bedrock refuses a silent one.
pub fn close_objects(schema: &mut Value) {
    match schema {
        Value::Object(object) => {
            let is_object =
                object.get("type").is_some_and(|of| of == "object" || of.as_array().is_some_and(|all| all.iter().any(|of| of == "object")));
            if is_object {
                object.entry("additionalProperties").or_insert(Value::Bool(false));
            }
            object
                .iter_mut()
                .filter(|(name, _)| !["enum", "const", "default", "examples"].contains(&name.as_str()))
                .for_each(|(_, inner)| close_objects(inner));
        }
        Value::Array(list) => list.iter_mut().for_each(close_objects),
        _ => {}
    }
}
