//! Tools, and whether and what must be called.

use serde_json::{Map, Value, json};

use super::family::Family;
use super::fields::{list, object, take, text, wrong};
use super::schema;
use crate::catalog::Dialect;
use crate::dialect::custom;
use crate::dialect::ir::{Builtin, BuiltinKind, Dropped, Function, Request, Tool, ToolChoice};
use crate::error::Refusal;

/// Tools that the provider runs, by their member's name.
const BUILTINS: [(&str, BuiltinKind); 9] = [
    ("googleSearch", BuiltinKind::WebSearch),
    ("googleSearchRetrieval", BuiltinKind::WebSearch),
    ("enterpriseWebSearch", BuiltinKind::WebSearch),
    ("urlContext", BuiltinKind::WebFetch),
    ("codeExecution", BuiltinKind::CodeExecution),
    ("fileSearch", BuiltinKind::FileSearch),
    ("retrieval", BuiltinKind::FileSearch),
    ("computerUse", BuiltinKind::ComputerUse),
    ("mcpServers", BuiltinKind::Mcp),
];
const CALLING: &str = "toolConfig.functionCallingConfig";

/// Reads `tools`.
pub fn decode(list_of_tools: Vec<Value>) -> Result<Vec<Tool>, Refusal> {
    let mut tools = Vec::new();
    for tool in list_of_tools {
        let Value::Object(mut tool) = tool else { return Err(wrong("tools", "tools", "a list of objects")) };
        for declaration in list(&mut tool, "functionDeclarations") {
            tools.push(Tool::Function(function(declaration)?));
        }
        for (name, value) in tool.into_iter().filter(|(_, value)| !value.is_null()) {
            let camel = super::fields::camel(&name);
            let kind = BUILTINS.iter().find(|(known, _)| *known == camel).map_or(BuiltinKind::Other, |(_, kind)| *kind);
            tools.push(Tool::Builtin(Builtin { kind, of: Dialect::Gemini, value: json!({ name: value }) }));
        }
    }
    Ok(tools)
}

fn function(declaration: Value) -> Result<Function, Refusal> {
    let Value::Object(mut declaration) = declaration else {
        return Err(wrong("tools", "functionDeclarations", "a list of objects"));
    };
    let name = text(&mut declaration, "name", "tools")?.ok_or_else(|| wrong("tools", "functionDeclarations.name", "a string"))?;
    let description = text(&mut declaration, "description", "tools")?;
    let json_schema = take(&mut declaration, "parametersJsonSchema");
    let parameters = json_schema.or_else(|| take(&mut declaration, "parameters").map(schema::from_google));
    if parameters.as_ref().is_some_and(|parameters| !parameters.is_object()) {
        return Err(wrong("tools", "functionDeclarations.parameters", "an object"));
    }
    Ok(Function { name, description, parameters, ..Function::default() })
}

/// Reads `toolConfig.functionCallingConfig`; what has no counterpart goes to `rest` under its path.
pub fn decode_choice(config: &mut Map<String, Value>, rest: &mut Map<String, Value>) -> Result<Option<ToolChoice>, Refusal> {
    let mut calling = object(config, "functionCallingConfig", CALLING)?;
    let mode = text(&mut calling, "mode", "toolConfig.functionCallingConfig.mode")?.map(|mode| mode.to_ascii_uppercase());
    let mut names = Vec::new();
    for name in list(&mut calling, "allowedFunctionNames") {
        let Value::String(name) = name else {
            return Err(wrong("toolConfig.functionCallingConfig.allowedFunctionNames", "allowedFunctionNames", "a list of strings"));
        };
        names.push(name);
    }
    let choice = match (mode.as_deref(), names.len()) {
        (Some("NONE"), _) => Some(ToolChoice::None),
        (Some("ANY"), 0) => Some(ToolChoice::Required),
        (Some("ANY"), 1) => names.pop().map(ToolChoice::Tool),
        (Some("ANY"), _) => Some(ToolChoice::Allowed { names, required: true }),
        (Some("AUTO"), 0) => Some(ToolChoice::Auto),
        (Some("VALIDATED"), 0) => {
            // As with AUTO, with the arguments held to their schema.
            rest.insert(format!("{CALLING}.mode"), Value::from("VALIDATED"));
            None
        }
        (None | Some("MODE_UNSPECIFIED"), 0) => None,
        (None | Some("MODE_UNSPECIFIED" | "AUTO" | "VALIDATED"), _) => Some(ToolChoice::Allowed { names, required: false }),
        (Some(_), _) => return Err(wrong("toolConfig.functionCallingConfig.mode", "mode", "AUTO, ANY, NONE or VALIDATED")),
    };
    rest.extend(calling.into_iter().map(|(name, value)| (format!("{CALLING}.{name}"), value)));
    Ok(choice)
}

/// Writes `tools`: neighbouring functions share one, built-in tools have one each.
pub fn encode(request: &Request, family: &Family, dropped: &mut Dropped) -> Vec<Value> {
    let has_functions = request.tools.iter().any(|tool| !matches!(tool, Tool::Builtin(_)));
    let mut tools: Vec<Value> = Vec::new();
    let mut declarations = Vec::new();
    for tool in &request.tools {
        match tool {
            Tool::Function(function) => declarations.push(declare(function, dropped)),
            Tool::Custom { name, description, .. } => {
                declarations.push(declare(&custom::as_function(name, description.as_deref()), dropped));
            }
            Tool::Builtin(builtin) => {
                flush(&mut declarations, &mut tools);
                tools.extend(builtin_tool(builtin, has_functions && family.is_before_third(), dropped));
            }
        }
    }
    flush(&mut declarations, &mut tools);
    tools
}

fn flush(declarations: &mut Vec<Value>, tools: &mut Vec<Value>) {
    if !declarations.is_empty() {
        tools.push(json!({ "functionDeclarations": std::mem::take(declarations) }));
    }
}

fn declare(function: &Function, dropped: &mut Dropped) -> Value {
    dropped.note_if(function.strict == Some(true), "strict");
    dropped.note_if(function.cache.is_some(), "cache");
    let mut declaration = Map::from_iter([("name".to_owned(), Value::from(function.name.as_str()))]);
    if let Some(description) = &function.description {
        declaration.insert("description".to_owned(), Value::from(description.as_str()));
    }
    if let Some(parameters) = &function.parameters {
        let mut lost = Vec::new();
        declaration.insert("parametersJsonSchema".to_owned(), schema::for_gemini(parameters.clone(), &mut lost));
        lost.into_iter().for_each(|keyword| dropped.note(format!("tools.parameters.{keyword}")));
    }
    Value::Object(declaration)
}

/// Its own as it came, another dialect's by its kind; `alone` says that it could not stand beside the functions.
fn builtin_tool(builtin: &Builtin, alone: bool, dropped: &mut Dropped) -> Option<Value> {
    if builtin.of == Dialect::Gemini {
        return Some(builtin.value.clone());
    }
    let tool = match builtin.kind {
        BuiltinKind::WebSearch => Some("googleSearch"),
        BuiltinKind::WebFetch => Some("urlContext"),
        BuiltinKind::CodeExecution => Some("codeExecution"),
        _ => None,
    };
    let tool = tool.filter(|_| !alone);
    if tool.is_none() {
        dropped.note(builtin.own_name());
    }
    tool.map(|tool| json!({ tool: {} }))
}

/// Whether built-in tools and functions stand side by side, which has to be wished for.
pub fn are_mixed(tools: &[Value]) -> bool {
    let is_functions = |tool: &Value| tool.get("functionDeclarations").is_some();
    tools.iter().any(is_functions) && !tools.iter().all(is_functions)
}

/// Writes a `functionCallingConfig`.
pub fn encode_choice(choice: &ToolChoice) -> Value {
    match choice {
        ToolChoice::Auto => json!({ "mode": "AUTO" }),
        ToolChoice::None => json!({ "mode": "NONE" }),
        ToolChoice::Required => json!({ "mode": "ANY" }),
        ToolChoice::Tool(name) => json!({ "mode": "ANY", "allowedFunctionNames": [name] }),
        ToolChoice::Allowed { names, required: true } => json!({ "mode": "ANY", "allowedFunctionNames": names }),
        ToolChoice::Allowed { names, required: false } => json!({ "mode": "VALIDATED", "allowedFunctionNames": names }),
    }
}
