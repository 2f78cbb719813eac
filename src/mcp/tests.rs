//! Names go there and back, and what a tool says of itself is held to what was approved.

#![allow(clippy::unwrap_used)]

use rmcp::model::Tool;
use serde_json::json;

use super::federation::{Approvals, fingerprint};
use super::names::{Manner, split, split_uri};

fn tool(description: &str, schema: serde_json::Value) -> Tool {
    serde_json::from_value(json!({ "name": "t", "description": description, "inputSchema": schema })).unwrap()
}

#[test]
fn names_and_uris_are_turned_back() {
    for own in ["echo", "get__it", "a/b.c", ""] {
        assert_eq!(split(&Manner::Beside.name("web-1", own)), Some(("web-1", own)));
        assert_eq!(Manner::Alone.name("web-1", own), own);
    }
    for own in ["test://static", "git+ssh://host/x+y", "test://template/{id}/data", "urn:x:y"] {
        assert_eq!(split_uri(&Manner::Beside.uri("web-1", own)), Some(("web-1", own)));
        assert_eq!(Manner::Alone.uri("web-1", own), own);
    }
    assert_eq!((split("echo"), split_uri("prompt://x@1"), split_uri("Web+x://y")), (None, None, None));
}

#[test]
fn a_fingerprint_is_of_what_a_model_reads_and_not_of_the_order_of_members() {
    let one = fingerprint(&tool("says", json!({ "type": "object", "properties": { "a": { "type": "string" }, "b": {} } })));
    assert_eq!(one, fingerprint(&tool("says", json!({ "properties": { "b": {}, "a": { "type": "string" } }, "type": "object" }))));
    assert_ne!(one, fingerprint(&tool("says more", json!({ "type": "object", "properties": { "a": { "type": "string" }, "b": {} } }))));
    assert_ne!(one, fingerprint(&tool("says", json!({ "type": "object", "properties": { "a": { "type": "number" }, "b": {} } }))));
}

#[test]
fn a_tool_that_changed_is_held_back_until_it_is_approved() {
    let folder = tempfile::tempdir().unwrap();
    let (gateway, command_line) = (Approvals::open(folder.path()), Approvals::open(folder.path()));
    let (before, after) = (tool("says", json!({})), tool("says something else", json!({})));
    let held_back = |tool: &Tool| gateway.held_back("web", std::slice::from_ref(tool)).unwrap();
    assert!(command_line.differing("web", std::slice::from_ref(&before)).unwrap().is_empty() && gateway.written().is_none());
    assert!(held_back(&before).is_empty(), "the first that is seen counts as approved");
    assert_eq!(held_back(&after), ["t"]);
    assert_eq!(held_back(&after), ["t"], "and stays so");
    assert_eq!(command_line.differing("web", std::slice::from_ref(&after)).unwrap(), ["t"]);
    assert!(gateway.held_back("other", std::slice::from_ref(&after)).unwrap().is_empty(), "each server's tools are its own");
    let written = gateway.written();
    command_line.approve("web", std::slice::from_ref(&after)).unwrap();
    assert_ne!(gateway.written(), written, "the gateway notices");
    assert!(held_back(&after).is_empty());
    assert_eq!(held_back(&before), ["t"]);
}
