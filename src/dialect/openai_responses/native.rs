//! Items that only this dialect has: calls to tools that the provider runs, their outputs, and whatever comes after this was written.

use serde_json::{Value, json};

use crate::catalog::Dialect;
use crate::dialect::ir::{Block, Builtin, BuiltinKind, Content};

/// An item by its `type`.
pub fn block(kind: &str, value: Value) -> Block {
    let of = Dialect::OpenaiResponses;
    let kind = match kind {
        "web_search_call" => BuiltinKind::WebSearch,
        "file_search_call" => BuiltinKind::FileSearch,
        "code_interpreter_call" => BuiltinKind::CodeExecution,
        "image_generation_call" => BuiltinKind::ImageGeneration,
        "computer_call" => BuiltinKind::ComputerUse,
        kind if kind.starts_with("mcp_") && !is_callers(kind) => BuiltinKind::Mcp,
        kind if kind.ends_with("_call") => BuiltinKind::Other,
        _ => return Content::Other { of, value }.into(),
    };
    Content::Builtin(Builtin { kind, of, value }).into()
}

/// Whether an item of this `type` is told by the caller, and not by the model.
pub fn is_callers(kind: &str) -> bool {
    (kind.ends_with("_output") && kind != "tool_search_output") || matches!(kind, "mcp_approval_response" | "additional_tools")
}

/// Whether a value of this dialect is a part of a message, and not an item of its own.
pub fn is_part(value: &Value) -> bool {
    let kind = value.get("type").and_then(Value::as_str).unwrap_or_default();
    kind.starts_with("input_") || kind.starts_with("output_") || kind.starts_with("computer_screenshot")
}

/// The item that stands for another dialect's call to a built-in tool, where this one has that tool and the call says enough.
pub fn of_foreign(builtin: &Builtin, id: impl FnOnce(&str) -> String) -> Option<Value> {
    let input = builtin.value.get("input").unwrap_or(&builtin.value);
    let text = |names: &[&str]| names.iter().find_map(|name| input.get(*name)?.as_str());
    match builtin.kind {
        BuiltinKind::WebSearch => {
            let action = json!({ "type": "search", "query": text(&["query"])? });
            Some(json!({ "type": "web_search_call", "id": id("ws"), "status": "completed", "action": action }))
        }
        BuiltinKind::CodeExecution => {
            let code = input.get("executableCode").unwrap_or(input).get("code").and_then(Value::as_str).or_else(|| text(&["command"]))?;
            let id = id("ci");
            Some(
                json!({ "type": "code_interpreter_call", "id": id, "status": "completed", "code": code, "container_id": "", "outputs": null }),
            )
        }
        _ => None,
    }
}
