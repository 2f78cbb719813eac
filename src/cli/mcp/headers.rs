//! The headers that repeat what is in a message, which the revisions without a handshake want.
//!
//! Source: "Standard MCP request headers" of the MCP specification, revision 2026-07-28 (SEP-2243).

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::{HeaderName, HeaderValue};
use serde_json::{Map, Value};

pub const VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
const METHOD: HeaderName = HeaderName::from_static("mcp-method");
const NAME: HeaderName = HeaderName::from_static("mcp-name");

/// Where an argument stands in a call, and what its header is called after `Mcp-Param-`.
type Repeated = (Vec<String>, String);

/// The arguments that are repeated, by tool, as lists of tools that went by told them.
#[derive(Default)]
pub struct Headers(Mutex<HashMap<String, Vec<Repeated>>>);

// === impl Headers ===

impl Headers {
    /// Learns of the tools that an answer lists.
    pub fn learn(&self, answer: &Value) {
        let Some(tools) = answer.pointer("/result/tools").and_then(Value::as_array) else { return };
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for tool in tools {
            let (Some(name), Some(schema)) = (tool["name"].as_str(), tool["inputSchema"].as_object()) else { continue };
            let mut repeated = Vec::new();
            annotated(schema, &mut Vec::new(), &mut repeated);
            known.insert(name.to_owned(), repeated);
        }
    }

    /// The headers of a message; none where it is of an older revision.
    pub fn of(&self, message: &Value) -> Vec<(HeaderName, HeaderValue)> {
        let version = message.pointer("/params/_meta/io.modelcontextprotocol~1protocolVersion").and_then(Value::as_str);
        let Some(version) = version else { return Vec::new() };
        let name = ["/params/name", "/params/uri"].iter().find_map(|path| message.pointer(path)?.as_str());
        let method = message.get("method").and_then(Value::as_str);
        let told = [(VERSION, Some(version)), (METHOD, method), (NAME, name)];
        let mut headers: Vec<_> = told.into_iter().filter_map(|(header, text)| Some((header, value(text?)?))).collect();
        if let (Some("tools/call"), Some(name)) = (method, name) {
            let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let arguments = &message["params"]["arguments"];
            headers.extend(known.get(name).into_iter().flatten().filter_map(|(path, name)| {
                let header = HeaderName::try_from(format!("mcp-param-{name}")).ok()?;
                let argument = path.iter().try_fold(arguments, |value, member| value.get(member))?;
                Some((header, value(&text(argument)?)?))
            }));
        }
        headers
    }
}

/// The arguments that a schema has repeated, those of objects inside it too.
fn annotated(schema: &Map<String, Value>, path: &mut Vec<String>, out: &mut Vec<Repeated>) {
    for (name, property) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        path.push(name.clone());
        if let Some(header) = property.get("x-mcp-header").and_then(Value::as_str) {
            out.push((path.clone(), header.to_owned()));
        }
        if let Some(inner) = property.as_object() {
            annotated(inner, path, out);
        }
        path.pop();
    }
}

fn text(argument: &Value) -> Option<String> {
    match argument {
        Value::String(text) => Some(text.clone()),
        Value::Bool(_) | Value::Number(_) => Some(argument.to_string()),
        _ => None,
    }
}

/// As a header can carry it: what is not plain goes as base64 between marks.
fn value(text: &str) -> Option<HeaderValue> {
    let is_plain = text.bytes().all(|byte| byte == b'\t' || (b' '..=b'~').contains(&byte))
        && text.trim() == text
        && !(text.starts_with("=?base64?") && text.ends_with("?="));
    let told = if is_plain { text.to_owned() } else { format!("=?base64?{}?=", BASE64_STANDARD.encode(text)) };
    HeaderValue::try_from(told).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    fn call(arguments: Value, version: &str) -> Value {
        let meta = json!({ "io.modelcontextprotocol/protocolVersion": version });
        json!({ "method": "tools/call", "params": { "name": "f", "arguments": arguments, "_meta": meta } })
    }

    #[test]
    fn arguments_are_repeated_as_the_tools_want_it() {
        let headers = Headers::default();
        let inner = json!({ "type": "object", "properties": { "zone": { "type": "string", "x-mcp-header": "Zone" } } });
        let properties =
            json!({ "region": { "type": "string", "x-mcp-header": "Region" }, "n": { "x-mcp-header": "N" }, "in": inner, "x": {} });
        headers.learn(&json!({ "result": { "tools": [{ "name": "f", "inputSchema": { "properties": properties } }] } }));
        let message = call(json!({ "region": "Österreich", "n": 3, "in": { "zone": "a b" }, "x": "y" }), "2026-07-28");
        let told: HashMap<String, HeaderValue> = headers.of(&message).into_iter().map(|(name, value)| (name.to_string(), value)).collect();
        let expected = [
            ("mcp-protocol-version", "2026-07-28"),
            ("mcp-method", "tools/call"),
            ("mcp-name", "f"),
            ("mcp-param-region", "=?base64?w5ZzdGVycmVpY2g=?="),
            ("mcp-param-n", "3"),
            ("mcp-param-zone", "a b"),
        ];
        assert_eq!(told.len(), expected.len(), "{told:?}");
        assert!(expected.iter().all(|(name, value)| told[*name] == *value), "{told:?}");
        assert!(headers.of(&json!({ "method": "tools/call", "params": { "name": "f" } })).is_empty(), "an older revision");
    }
}
