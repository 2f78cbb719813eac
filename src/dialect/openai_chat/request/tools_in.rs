//! Reads what a model may call: functions, custom tools, tools of the provider's, and the choice among them.

use serde_json::{Map, Value};

use super::fields::{Fields, wrong};
use super::parts::cache;
use crate::catalog::Dialect;
use crate::dialect::ir::{Builtin, BuiltinKind, Function, Tool, ToolChoice};
use crate::error::Refusal;

/// Takes `tools`, and the `functions` that came before them.
pub fn tools(fields: &mut Fields) -> Result<Vec<Tool>, Refusal> {
    let mut tools = Vec::new();
    for tool in fields.list("tools")?.unwrap_or_default() {
        let Value::Object(tool) = tool else { return Err(wrong("tools", "has to be a list of objects")) };
        tools.push(one(tool)?);
    }
    for function in fields.list("functions")?.unwrap_or_default() {
        let Value::Object(function) = function else { return Err(wrong("functions", "has to be a list of objects")) };
        tools.push(Tool::Function(self::function(Fields::new(function))?));
    }
    Ok(tools)
}

fn one(tool: Map<String, Value>) -> Result<Tool, Refusal> {
    let inner = |name: &str| tool.get(name).and_then(Value::as_object).cloned().map(Fields::new);
    let kind = tool.get("type").and_then(Value::as_str);
    match (kind, inner("function"), inner("custom")) {
        // Mistral's clients leave the type out.
        (None | Some("function"), Some(function), _) => {
            let mut function = self::function(function)?;
            function.cache = cache(tool.get("cache_control"));
            Ok(Tool::Function(function))
        }
        (Some("custom"), _, Some(mut custom)) => Ok(Tool::Custom {
            name: custom.text("name")?.ok_or_else(|| wrong("tools", "has a custom tool without a name"))?,
            description: custom.text("description")?,
            format: custom.take("format"),
        }),
        (Some("function" | "custom") | None, ..) => {
            Err(wrong("tools", "has to be a list such as [{\"type\": \"function\", \"function\": {\"name\": …}}]"))
        }
        (Some(other), ..) => {
            Ok(Tool::Builtin(Builtin { kind: builtin_kind(other), of: Dialect::OpenaiChat, value: Value::Object(tool.clone()) }))
        }
    }
}

fn function(mut function: Fields) -> Result<Function, Refusal> {
    Ok(Function {
        name: function.text("name")?.ok_or_else(|| wrong("tools", "has a function without a name"))?,
        description: function.text("description")?,
        parameters: function.take("parameters"),
        strict: function.flag("strict")?,
        cache: None,
    })
}

/// The sort of a tool that a compatible provider runs, by its name there (`web_search`, `openrouter:web_search`, `browser_search`, …).
pub fn builtin_kind(name: &str) -> BuiltinKind {
    const KINDS: [(&str, BuiltinKind); 8] = [
        ("fetch", BuiltinKind::WebFetch),
        ("visit", BuiltinKind::WebFetch),
        ("file_search", BuiltinKind::FileSearch),
        ("retrieval", BuiltinKind::FileSearch),
        ("search", BuiltinKind::WebSearch),
        ("python", BuiltinKind::CodeExecution),
        ("code", BuiltinKind::CodeExecution),
        ("mcp", BuiltinKind::Mcp),
    ];
    KINDS.iter().find(|(part, _)| name.contains(part)).map_or(BuiltinKind::Other, |(_, kind)| *kind)
}

/// Takes `tool_choice`, and the `function_call` that came before it.
pub fn choice(fields: &mut Fields) -> Result<Option<ToolChoice>, Refusal> {
    let need = || wrong("tool_choice", "has to be \"auto\", \"none\", \"required\" or an object that names a tool");
    let legacy = fields.take("function_call");
    match fields.take("tool_choice").or(legacy) {
        None => Ok(None),
        Some(Value::String(word)) => by_word(&word).map(Some).ok_or_else(need),
        Some(Value::Object(object)) if object.get("type").and_then(Value::as_str) == Some("allowed_tools") => allowed(&object).map(Some),
        Some(object) => {
            let word = || object.get("type").and_then(Value::as_str).and_then(by_word);
            tool_name(&object).map(ToolChoice::Tool).or_else(word).map(Some).ok_or_else(need)
        }
    }
}

/// `any` is Mistral's word.
fn by_word(word: &str) -> Option<ToolChoice> {
    match word {
        "auto" => Some(ToolChoice::Auto),
        "none" => Some(ToolChoice::None),
        "required" | "any" => Some(ToolChoice::Required),
        _ => None,
    }
}

fn allowed(object: &Map<String, Value>) -> Result<ToolChoice, Refusal> {
    let inner = object.get("allowed_tools").and_then(Value::as_object).unwrap_or(object);
    let tools = inner.get("tools").and_then(Value::as_array);
    let tools = tools.ok_or_else(|| wrong("tool_choice", "of type allowed_tools has to have a list 'tools'"))?;
    Ok(ToolChoice::Allowed {
        names: tools.iter().filter_map(tool_name).collect(),
        required: inner.get("mode").and_then(Value::as_str) == Some("required"),
    })
}

fn tool_name(object: &Value) -> Option<String> {
    let inner = ["function", "custom"].iter().find_map(|kind| object.get(kind)).unwrap_or(object);
    inner.get("name").and_then(Value::as_str).map(str::to_owned)
}
