//! Names go there and back, and what a tool says of itself is held to what was approved.

#![allow(clippy::unwrap_used)]

use rmcp::model::Tool;
use serde_json::json;

use super::federation::{Approvals, Change, Key, Kind, Listing};
use super::names::{Manner, check_uri, split, split_uri};

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
fn a_uri_that_could_be_taken_for_another_is_refused() {
    for uri in [
        "file:///pub/../s",
        "file:///pub/%2e%2e/s",
        "file:///pub/%2E./s",
        "x:%252e%252e/s",
        "a://b/..;x=1/c",
        "a:\\..\\b",
        "a://b/%2F..%2Fc",
        "a:/\n",
    ] {
        assert!(check_uri(uri).is_err(), "{uri}");
    }
    for uri in ["file:///pub/a..b/c.d", "git+ssh://host/x+y", "a:b%2Fc", "test://template/{id}/data", "x://y?range=1..2", "urn:x:100%25"] {
        assert_eq!(check_uri(uri), Ok(()), "{uri}");
    }
}

#[test]
fn a_key_is_read_as_it_was_written_whatever_the_name() {
    let kinds = [Kind::Tool, Kind::Prompt, Kind::Resource, Kind::Template];
    let names = ["t", "t ", " t", "a  b\n", "", "\u{3000}"];
    let mut keys: Vec<Key> = kinds.iter().flat_map(|kind| names.map(|name| Key::new(*kind, name))).collect();
    keys.push(Key::new(Kind::Instructions, ""));
    for key in keys {
        let written = serde_json::to_string(&key).unwrap();
        assert_eq!(serde_json::from_str::<Key>(&written).unwrap(), key, "{written}");
    }
}

fn listing(instructions: &str, tools: &[Tool]) -> Listing {
    Listing { tools: tools.to_vec(), instructions: Some(instructions.to_owned()), ..Listing::default() }
}

#[test]
fn what_changed_is_held_back_until_exactly_that_is_approved() {
    let folder = tempfile::tempdir().unwrap();
    let (gateway, command_line) = (Approvals::open(folder.path()), Approvals::open(folder.path()));
    let before = listing("use", &[tool("says", json!({ "type": "object", "properties": { "a": {}, "b": {} } }))]);
    let same = listing("use", &[tool("says", json!({ "properties": { "b": {}, "a": {} }, "type": "object" }))]);
    let after = listing("use it so", &[tool("says something else", json!({}))]);
    let held_back = |listing: &Listing| gateway.held_back("web", listing).unwrap().iter().map(Key::to_string).collect::<Vec<_>>();
    assert!(command_line.changes("web", &before).unwrap().iter().all(|change| change.before.is_none()) && gateway.written("web").is_none());
    assert!(held_back(&before).is_empty(), "the first that is seen counts as approved");
    assert!(held_back(&same).is_empty(), "the order of members says nothing");
    assert_eq!(held_back(&after), ["instructions", "tool t"]);
    assert_eq!(held_back(&after), ["instructions", "tool t"], "and stays so");
    assert!(gateway.held_back("other", &after).unwrap().is_empty(), "each server's are its own");
    let changes = command_line.changes("web", &after).unwrap();
    let shown = changes[1].shown();
    assert!(shown.contains("-  \"description\": \"says\"") && shown.contains("+  \"description\": \"says something else\""), "{shown}");
    let digest = Change::digest("web", &changes);
    assert_ne!(digest, Change::digest("web", &changes[1..]));
    assert_ne!(digest, Change::digest("other", &changes));
    let written = gateway.written("web");
    command_line.approve("web", &changes).unwrap();
    assert_ne!(gateway.written("web"), written, "the gateway notices");
    assert!(held_back(&after).is_empty());
    assert_eq!(held_back(&before), ["instructions", "tool t"]);
}

#[test]
fn resources_that_come_and_go_leave_room_for_all_else() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = Approvals::open(folder.path());
    let of = |day: u32, tools: &[Tool]| {
        let one = |number: u32| json!({ "uri": format!("mail://{day}/{number}"), "name": "a mail", "description": "says" });
        let resources = (0..3000).map(|number| serde_json::from_value(one(number)).unwrap()).collect();
        Listing { resources, ..listing("use", tools) }
    };
    for day in 0..4 {
        assert!(gateway.held_back("mail", &of(day, &[])).unwrap().is_empty(), "day {day}");
    }
    assert!(gateway.held_back("mail", &of(4, &[tool("new", json!({}))])).unwrap().is_empty());
    // What is no resource is remembered all the while.
    let held_back = gateway.held_back("mail", &of(5, &[tool("other", json!({}))])).unwrap();
    assert_eq!(held_back.iter().map(Key::to_string).collect::<Vec<_>>(), ["tool t"]);
}

#[test]
fn all_that_a_model_reads_of_a_tool_is_approved() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = Approvals::open(folder.path());
    let of = |more: serde_json::Value| {
        let mut whole = json!({ "name": "t", "description": "says", "inputSchema": {} });
        whole.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        listing("use", &[serde_json::from_value(whole).unwrap()])
    };
    assert!(gateway.held_back("web", &of(json!({}))).unwrap().is_empty());
    let icon = json!([{ "src": "https://x/y.png" }]);
    for more in [
        json!({ "_meta": { "a": "b" } }),
        json!({ "icons": icon }),
        json!({ "annotations": { "readOnlyHint": true } }),
        json!({ "title": "T" }),
    ] {
        assert_eq!(gateway.held_back("web", &of(more.clone())).unwrap().len(), 1, "{more}");
    }
}
