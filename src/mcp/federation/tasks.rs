//! Tools that run as tasks alone: what a list says of that is noted where it can be read again, since the protocol's library drops it.
//!
//! Source: `execution.taskSupport` of tools in the MCP schema, revision 2025-11-25, the only one that has it.

use memchr::memmem;
use rmcp::model::Tool;
use serde_json::{Map, Value, json};

/// The revision that has such tools.
pub const REVISION: &str = "2025-11-25";
const SUPPORT: &str = "taskSupport";
/// Stands in the `_meta` of such a tool.
const NOTE: &str = "keyward/runs-as-a-task";

/// A message with a note in each such tool that it lists; none where it lists no such tool.
pub fn noted(message: &[u8]) -> Option<Value> {
    memmem::find(message, SUPPORT.as_bytes())?;
    let mut message: Value = serde_json::from_slice(message).ok()?;
    let tools = message.pointer_mut("/result/tools")?.as_array_mut()?;
    let mut is_noted = false;
    let runs_as_a_task = |tool: &&mut Value| tool.pointer("/execution/taskSupport").is_some_and(|support| support == "required");
    for tool in tools.iter_mut().filter(runs_as_a_task).filter_map(Value::as_object_mut) {
        let meta = tool.entry("_meta").or_insert_with(|| Value::Object(Map::new()));
        if let Value::Object(meta) = meta {
            is_noted = meta.insert(NOTE.to_owned(), json!(true)).is_none() || is_noted;
        }
    }
    is_noted.then_some(message)
}

/// Whether a tool is such a one.
pub fn runs_as_a_task(tool: &Tool) -> bool {
    tool.meta.as_ref().is_some_and(|meta| meta.contains_key(NOTE))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use rmcp::model::{ServerJsonRpcMessage, ServerResult};

    use super::*;

    #[test]
    fn tools_that_run_as_tasks_alone_are_known_again() {
        let tool = |name: &str, support: &str| json!({ "name": name, "inputSchema": { "type": "object" }, "execution": { "taskSupport": support } });
        let list = |tools: Value| json!({ "jsonrpc": "2.0", "id": 1, "result": { "tools": tools } }).to_string();
        let some =
            [tool("both", "optional"), tool("task", "required"), tool("never", "forbidden"), json!({ "name": "plain", "inputSchema": {} })];
        let message: ServerJsonRpcMessage = serde_json::from_value(noted(list(json!(some)).as_bytes()).unwrap()).unwrap();
        let ServerJsonRpcMessage::Response(response) = message else { panic!("it is a response") };
        let ServerResult::ListToolsResult(listed) = response.result else { panic!("it is a list") };
        let known: Vec<_> = listed.tools.iter().filter(|tool| runs_as_a_task(tool)).map(|tool| &*tool.name).collect();
        assert_eq!((known, listed.tools.len()), (vec!["task"], 4));
        assert!(noted(list(json!([tool("both", "optional")])).as_bytes()).is_none());
        assert!(noted(br#"{"jsonrpc":"2.0","id":1,"result":{"content":[],"structuredContent":{"taskSupport":"required"}}}"#).is_none());
    }
}
