//! Reads tools, the choice among them, and MCP servers.
//!
//! Source: `tools` and `tool_choice` of the Messages reference; `mcp_servers` of the MCP connector's page.

use serde_json::{Map, Value};

use super::decode_blocks::cache;
use super::fields::{take, take_of, wrong};
use crate::catalog::Dialect;
use crate::dialect::ir::{Builtin, BuiltinKind, Function, Request, Tool, ToolChoice};
use crate::error::Refusal;

const DIALECT: Dialect = Dialect::AnthropicMessages;
/// What a member of a function that this form has no word for is kept under, by the function's name: `tools.defer_loading`.
pub const OF_TOOLS: &str = "tools.";

/// Takes `tools`, `tool_choice` and `mcp_servers` out of a request's fields.
pub fn decode(fields: &mut Map<String, Value>, request: &mut Request) -> Result<(), Refusal> {
    const LIST: &str = "has to be a list of objects";
    let tools: Vec<Map<String, Value>> = take(fields, "tools", LIST)?.unwrap_or_default();
    for tool in tools {
        let tool = decode_tool(tool, fields)?;
        request.tools.push(tool);
    }
    let servers: Vec<Map<String, Value>> = take(fields, "mcp_servers", LIST)?.unwrap_or_default();
    for server in servers {
        request.tools.push(Tool::Builtin(Builtin { kind: BuiltinKind::Mcp, of: DIALECT, value: Value::Object(server) }));
    }
    if let Some(choice) = take::<Map<String, Value>>(fields, "tool_choice", "has to be an object such as {\"type\": \"auto\"}")? {
        decode_choice(choice, request)?;
    }
    Ok(())
}

fn decode_tool(mut tool: Map<String, Value>, fields: &mut Map<String, Value>) -> Result<Tool, Refusal> {
    match tool.get("type") {
        None | Some(Value::Null) => drop(tool.remove("type")),
        Some(Value::String(kind)) if kind == "custom" => drop(tool.remove("type")),
        Some(Value::String(kind)) => {
            let kind = builtin_kind(kind);
            return Ok(Tool::Builtin(Builtin { kind, of: DIALECT, value: Value::Object(tool) }));
        }
        Some(_) => return Err(wrong("tools", "has a tool whose 'type' is no text")),
    }
    let name: String =
        take_of(&mut tool, "tools", "name", "has to be text")?.ok_or_else(|| wrong("tools", "has a tool without a 'name'"))?;
    let function = Function {
        description: take_of(&mut tool, "tools", "description", "has to be text")?,
        parameters: tool.remove("input_schema").filter(|schema| !schema.is_null()),
        strict: take_of(&mut tool, "tools", "strict", "has to be true or false")?,
        cache: cache(tool.remove("cache_control")),
        name: name.clone(),
    };
    for (member, value) in tool {
        let kept = fields.entry(format!("{OF_TOOLS}{member}")).or_insert_with(|| Value::Object(Map::new()));
        if let Value::Object(by_name) = kept {
            by_name.insert(name.clone(), value);
        }
    }
    Ok(Tool::Function(function))
}

/// Types have the day of their version at the end: `web_search_20250305`.
fn builtin_kind(kind: &str) -> BuiltinKind {
    match kind.trim_end_matches(|c: char| c.is_ascii_digit()).trim_end_matches('_') {
        "web_search" => BuiltinKind::WebSearch,
        "web_fetch" => BuiltinKind::WebFetch,
        "code_execution" => BuiltinKind::CodeExecution,
        "computer" => BuiltinKind::ComputerUse,
        "mcp_toolset" => BuiltinKind::Mcp,
        _ => BuiltinKind::Other,
    }
}

fn decode_choice(mut choice: Map<String, Value>, request: &mut Request) -> Result<(), Refusal> {
    let mut text = |name: &str| take_of::<String>(&mut choice, "tool_choice", name, "has to be text");
    let (kind, name) = (text("type")?, text("name")?);
    request.tool_choice = Some(match (kind.as_deref(), name) {
        (Some("auto"), _) => ToolChoice::Auto,
        (Some("any"), _) => ToolChoice::Required,
        (Some("none"), _) => ToolChoice::None,
        (Some("tool"), Some(name)) => ToolChoice::Tool(name),
        (Some("tool"), None) => return Err(wrong("tool_choice", "has the type \"tool\" and no 'name'")),
        _ => return Err(wrong("tool_choice", "has to have the 'type' \"auto\", \"any\", \"tool\" or \"none\"")),
    });
    let disabled: Option<bool> = take_of(&mut choice, "tool_choice", "disable_parallel_tool_use", "has to be true or false")?;
    request.parallel_tool_calls = disabled.map(|disabled| !disabled);
    Ok(())
}
