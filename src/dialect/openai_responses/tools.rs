//! Tools and the choice among them, read and written.
//!
//! Source: `Tool` and `ToolChoiceParam` of OpenAI's API reference.

use serde_json::{Map, Value, json};

use super::fields::{self, Fields, take_text, wrong};
use crate::catalog::Dialect;
use crate::dialect::ir::{Builtin, BuiltinKind, Dropped, Function, Request, Tool, ToolChoice};
use crate::error::Refusal;

/// Reads the tools.
pub fn decode(list: Vec<Value>, unread: &mut Vec<String>) -> Result<Vec<Tool>, Refusal> {
    list.into_iter().map(|tool| decode_tool(tool, unread)).collect()
}

fn decode_tool(value: Value, unread: &mut Vec<String>) -> Result<Tool, Refusal> {
    let Value::Object(mut map) = value else {
        return Err(wrong("tools", "Each of 'tools' has to be an object with a 'type', such as 'function'."));
    };
    let kind = map.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
    let description = |map: &mut Map<String, Value>| map.remove("description").and_then(|text| text.as_str().map(str::to_owned));
    match kind.as_str() {
        "function" | "custom" => {}
        "" => return Err(wrong("tools", "Each of 'tools' needs a 'type', such as 'function'.")),
        kind => return Ok(Tool::Builtin(Builtin { kind: kind_of(kind), of: Dialect::OpenaiResponses, value: Value::Object(map) })),
    }
    let name = take_text(&mut map, "name");
    if name.is_empty() {
        return Err(wrong("tools", "A tool of type 'function' or 'custom' needs a 'name', beside its 'type'."));
    }
    if kind == "custom" {
        let format = map.remove("format").filter(|format| !format.is_null());
        return Ok(Tool::Custom { name, description: description(&mut map), format });
    }
    let function = Function {
        name,
        description: description(&mut map),
        parameters: map.remove("parameters").filter(|schema| !schema.is_null()),
        // Here a function is strict unless it says otherwise; elsewhere it is the other way round.
        strict: map.remove("strict").and_then(|strict| strict.as_bool()).filter(|strict| *strict),
        cache: None,
    };
    unread.extend(fields::unread("tools", &map, &["type"]));
    Ok(Tool::Function(function))
}

fn kind_of(kind: &str) -> BuiltinKind {
    match kind {
        "file_search" => BuiltinKind::FileSearch,
        "code_interpreter" => BuiltinKind::CodeExecution,
        "image_generation" => BuiltinKind::ImageGeneration,
        "mcp" => BuiltinKind::Mcp,
        "computer" | "computer_use" | "computer_use_preview" => BuiltinKind::ComputerUse,
        kind if kind.starts_with("web_search") => BuiltinKind::WebSearch,
        _ => BuiltinKind::Other,
    }
}

/// Reads `tool_choice`; a built-in tool that is forced has no place in the form and stays with what is left.
pub fn decode_choice(fields: &mut Fields, request: &mut Request) -> Result<(), Refusal> {
    const NEED: &str = "'tool_choice' has to be 'auto', 'none', 'required' or an object such as {\"type\": \"function\", \"name\": \"…\"}.";
    request.tool_choice = match fields.take("tool_choice") {
        None => None,
        Some(Value::String(word)) => Some(match word.as_str() {
            "auto" => ToolChoice::Auto,
            "none" => ToolChoice::None,
            "required" => ToolChoice::Required,
            _ => return Err(wrong("tool_choice", NEED)),
        }),
        Some(Value::Object(map)) => match named(&map) {
            None => {
                fields.put_back("tool_choice", Value::Object(map));
                None
            }
            choice => choice,
        },
        Some(_) => return Err(wrong("tool_choice", NEED)),
    };
    Ok(())
}

fn named(map: &Map<String, Value>) -> Option<ToolChoice> {
    let name = |tool: &Value| tool.get("name")?.as_str().map(str::to_owned);
    match map.get("type")?.as_str()? {
        "function" | "custom" => Some(ToolChoice::Tool(map.get("name")?.as_str()?.to_owned())),
        "allowed_tools" => {
            let names: Option<Vec<String>> = map.get("tools")?.as_array()?.iter().map(name).collect();
            Some(ToolChoice::Allowed { names: names?, required: map.get("mode").is_some_and(|mode| mode == "required") })
        }
        _ => None,
    }
}

/// Writes the tools; what cannot be said is named by its type.
pub fn encode(tools: &[Tool], dropped: &mut Dropped) -> Vec<Value> {
    tools.iter().filter_map(|tool| encode_tool(tool, dropped)).collect()
}

fn encode_tool(tool: &Tool, dropped: &mut Dropped) -> Option<Value> {
    match tool {
        Tool::Function(function) => {
            dropped.note_if(function.cache.is_some(), "cache");
            let mut written = json!({
                "type": "function",
                "name": function.name,
                "parameters": function.parameters.as_ref().map(rooted),
                "strict": function.strict.unwrap_or(false),
            });
            if let Some(description) = &function.description {
                written["description"] = Value::from(description.as_str());
            }
            Some(written)
        }
        Tool::Custom { name, description, format } => {
            let mut written = json!({ "type": "custom", "name": name });
            if let Some(description) = description {
                written["description"] = Value::from(description.as_str());
            }
            if let Some(format) = format {
                written["format"] = format.clone();
            }
            Some(written)
        }
        Tool::Builtin(builtin) if builtin.of == Dialect::OpenaiResponses => Some(builtin.value.clone()),
        Tool::Builtin(builtin) => {
            let written = of_foreign(builtin);
            if written.is_none() {
                dropped.note(builtin.own_name());
            }
            written
        }
    }
}

/// The schema as OpenAI takes it: an object's, with its properties named, be they none.
fn rooted(schema: &Value) -> Value {
    let mut schema = schema.clone();
    if let Value::Object(map) = &mut schema {
        let is_object = *map.entry("type").or_insert_with(|| Value::from("object")) == "object";
        if is_object {
            map.entry("properties").or_insert_with(|| json!({}));
        }
    }
    schema
}

fn of_foreign(builtin: &Builtin) -> Option<Value> {
    let value = |name: &str| builtin.value.get(name).filter(|value| !value.is_null()).cloned();
    match builtin.kind {
        BuiltinKind::WebSearch => {
            let mut written = json!({ "type": "web_search" });
            if let Some(location) = value("user_location") {
                written["user_location"] = location;
            }
            if let Some(domains) = value("allowed_domains") {
                written["filters"] = json!({ "allowed_domains": domains });
            }
            Some(written)
        }
        BuiltinKind::CodeExecution => Some(json!({ "type": "code_interpreter", "container": { "type": "auto" } })),
        BuiltinKind::ImageGeneration => Some(json!({ "type": "image_generation" })),
        _ => None,
    }
}

/// Writes `tool_choice`.
pub fn encode_choice(choice: &ToolChoice, tools: &[Tool]) -> Value {
    let named = |name: &String| {
        let is_custom = tools.iter().any(|tool| matches!(tool, Tool::Custom { name: known, .. } if known == name));
        json!({ "type": if is_custom { "custom" } else { "function" }, "name": name })
    };
    match choice {
        ToolChoice::Auto => Value::from("auto"),
        ToolChoice::None => Value::from("none"),
        ToolChoice::Required => Value::from("required"),
        ToolChoice::Tool(name) => named(name),
        ToolChoice::Allowed { names, required } => {
            let mode = if *required { "required" } else { "auto" };
            json!({ "type": "allowed_tools", "mode": mode, "tools": names.iter().map(named).collect::<Vec<_>>() })
        }
    }
}
