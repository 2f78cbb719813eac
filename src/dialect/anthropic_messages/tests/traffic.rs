//! Recorded traffic of Anthropic's: requests keep their meaning, answers say what is known of them, torn anywhere.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::{asked, called, encoded, events, written};
use crate::dialect::Codec;
use crate::dialect::anthropic_messages::Messages;
use crate::dialect::ir::{Answer, Collector, Content, Dropped, Event, Finish};

const TRAFFIC: &str = "shared/traffic/anthropic.jsonl";

/// The folder stands beside the repository, or beside the folder that its worktrees are in.
fn cases() -> Vec<Value> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().skip(1).map(|folder| folder.join(TRAFFIC));
    let Some(text) = beside.take(2).find_map(|path| std::fs::read_to_string(path).ok()) else {
        eprintln!("SKIPPED: ../{TRAFFIC} is not there, so recorded traffic was not read");
        return Vec::new();
    };
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn recorded_requests_keep_their_meaning() {
    let mut wrong = Vec::new();
    for case in cases().iter().filter(|case| case["request_is"] == "recorded") {
        let body = &case["request"]["body"];
        let mut request = Messages.decode_request(&called(), body.to_string().as_bytes()).unwrap();
        request.stream = body["stream"] == true;
        let (again, dropped) = encoded(&request, body["model"].as_str().unwrap());
        let (was, is) = (normal(body.clone()), normal(again));
        if was != is || !dropped.is_empty() {
            wrong.push(format!("{}: {dropped:?}\n  {was}\n  {is}", case["id"]));
        }
    }
    assert!(wrong.is_empty(), "{} differ: {}", wrong.len(), wrong.join("\n"));
}

/// Forgives what means the same: texts as lists of one, defaults that are spelt out, who called a tool.
fn normal(mut body: Value) -> Value {
    let fields = body.as_object_mut().unwrap();
    if fields.get("stream") == Some(&Value::Bool(false)) {
        fields.remove("stream");
    }
    fields.entry("system").and_modify(listed);
    for message in fields["messages"].as_array_mut().unwrap() {
        listed(&mut message["content"]);
        for block in message["content"].as_array_mut().unwrap() {
            normal_block(block);
        }
    }
    for tool in fields.get_mut("tools").and_then(Value::as_array_mut).into_iter().flatten() {
        if tool["strict"] == false {
            tool.as_object_mut().unwrap().remove("strict");
        }
    }
    // A user's turn that is split in two is one turn.
    let mut merged: Vec<Value> = Vec::new();
    for message in fields["messages"].as_array().unwrap() {
        match merged.last_mut().filter(|last| last["role"] == message["role"]) {
            Some(last) => last["content"].as_array_mut().unwrap().extend(message["content"].as_array().unwrap().clone()),
            None => merged.push(message.clone()),
        }
    }
    fields.insert("messages".to_owned(), Value::Array(merged));
    body
}

fn normal_block(block: &mut Value) {
    let fields = block.as_object_mut().unwrap();
    fields.remove("caller");
    if fields["type"] == "tool_result" {
        if fields.get("is_error") == Some(&Value::Bool(false)) {
            fields.remove("is_error");
        }
        fields.entry("content").and_modify(listed);
    }
    if fields.get("citations").is_some_and(Value::is_null) && fields["type"] == "text" {
        fields.remove("citations");
    }
}

fn listed(content: &mut Value) {
    if let Value::String(text) = content {
        *content = json!([{ "type": "text", "text": text }]);
    }
}

#[test]
fn recorded_answers_say_what_is_known_of_them() {
    let (mut wrong, mut read) = (Vec::new(), 0);
    for case in cases().iter().filter(|case| case["truth"].is_object()) {
        let answer = match &case["response"]["body"] {
            Value::Null => collected(events(case["response"]["text"].as_str().unwrap().as_bytes(), usize::MAX)),
            body => Messages.decode_answer(body.to_string().as_bytes()).unwrap(),
        };
        read += 1;
        let (known, is) = (normal_truth(&case["truth"]), told(&answer));
        if known != is {
            wrong.push(format!("{}:\n  {known}\n  {is}", case["id"]));
        }
    }
    println!("{read} answers");
    assert!(wrong.is_empty(), "{} of {read} differ: {}", wrong.len(), wrong.join("\n"));
}

fn collected(events: Vec<Event>) -> Answer {
    assert_eq!(events.iter().filter(|event| matches!(event, Event::End)).count(), 1);
    let mut collector = Collector::default();
    events.into_iter().for_each(|event| collector.take(event));
    collector.finish().unwrap()
}

fn normal_truth(truth: &Value) -> Value {
    let mut usage = truth["usage"].clone();
    usage.as_object_mut().unwrap().remove("total");
    let calls: Vec<Value> =
        truth["tool_calls"].as_array().unwrap().iter().map(|call| json!([call["name"], arguments(&call["arguments"])])).collect();
    json!([truth["text"], truth["reasoning"], calls, truth["finish_reason"], usage])
}

fn arguments(value: &Value) -> Value {
    value.as_str().map_or_else(|| value.clone(), |text| serde_json::from_str(text).unwrap())
}

/// What an answer says, in the words of the recorded truth.
fn told(answer: &Answer) -> Value {
    let choice = &answer.choices[0];
    let mut reasoning = String::new();
    let mut calls = Vec::new();
    for block in &choice.content {
        match &block.content {
            Content::Reasoning(block) => reasoning.push_str(&block.text),
            Content::ToolCall(call) => calls.push(json!([call.name, serde_json::from_str::<Value>(&call.arguments).unwrap()])),
            _ => {}
        }
    }
    let finish = match choice.finish {
        Finish::Stop | Finish::StopSequence(_) => "stop",
        Finish::ToolCalls => "tool_calls",
        Finish::Length => "length",
        Finish::Refusal => "content_filter",
        _ => "other",
    };
    let usage = answer.usage.unwrap();
    let usage =
        Map::from_iter([("input", usage.input), ("output", usage.output), ("cached", usage.cached)].map(|(k, v)| (k.to_owned(), v.into())));
    json!([choice.text(), reasoning, calls, finish, usage])
}

#[test]
fn recorded_streams_torn_anywhere_read_alike() {
    for case in cases() {
        let Some(text) = case["response"]["text"].as_str() else { continue };
        let whole = events(text.as_bytes(), usize::MAX);
        assert!(whole.len() > 3, "{}", case["id"]);
        for size in [1, 2, 3, 5, 7, 11, 101] {
            assert_eq!(events(text.as_bytes(), size), whole, "{} by {size}", case["id"]);
        }
    }
}

#[test]
fn recorded_answers_written_again_read_alike() {
    for case in cases() {
        let mut answer = match &case["response"]["body"] {
            Value::Null => collected(events(case["response"]["text"].as_str().unwrap().as_bytes(), usize::MAX)),
            body => Messages.decode_answer(body.to_string().as_bytes()).unwrap(),
        };
        // The text of arguments may be spaced otherwise.
        for block in answer.choices.iter_mut().flat_map(|choice| &mut choice.content) {
            if let Content::ToolCall(call) = &mut block.content {
                call.arguments = arguments(&Value::from(call.arguments.as_str())).to_string();
            }
        }
        let mut dropped = Dropped::default();
        let again = Messages.encode_answer(answer.clone(), &asked("m"), &mut dropped);
        let mut expected = answer.clone();
        if !matches!(expected.service_tier.as_deref(), Some("standard" | "priority" | "batch")) {
            expected.service_tier = None;
        }
        assert_eq!(Messages.decode_answer(&again).unwrap(), expected, "{}", case["id"]);
        assert!(dropped.is_empty(), "{dropped:?}");
        let stream = written(answer.clone().into_events(), "m");
        let streamed = collected(events(&stream, 64));
        assert_eq!((&streamed.choices, streamed.usage), (&answer.choices, answer.usage), "{}", case["id"]);
    }
}
