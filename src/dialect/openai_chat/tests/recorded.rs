//! What real providers answered and were asked, from the folder of recorded traffic beside the project.

use serde_json::{Value, json};

use super::*;
use crate::dialect::Reading;
use crate::dialect::ir::{Content, Finish};
use crate::dialect::translate::Translation;
use crate::ledger::record::Usage;

/// The recorded cases, from the folder that `KEYWARD_TRAFFIC` names or the one beside the project; none where it is not there.
fn cases() -> Vec<Value> {
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/traffic").to_owned();
    let path = format!("{}/openai_chat.jsonl", std::env::var("KEYWARD_TRAFFIC").unwrap_or(beside));
    match std::fs::read_to_string(&path) {
        Ok(text) => text.lines().map(|line| serde_json::from_str(line).unwrap()).collect(),
        Err(error) => {
            eprintln!("skipped: no recorded traffic at {path} ({error})");
            Vec::new()
        }
    }
}

/// An answer in the terms of a case's `truth`.
fn told(answer: &Answer) -> Value {
    let choice = &answer.choices[0];
    let (mut reasoning, mut refusal, mut calls) = (String::new(), String::new(), Vec::new());
    for block in &choice.content {
        match &block.content {
            Content::Reasoning(block) => reasoning.push_str(&block.text),
            Content::Refusal(text) => refusal.push_str(text),
            Content::ToolCall(call) => {
                let arguments = serde_json::from_str::<Value>(&call.arguments).unwrap_or(json!(call.arguments));
                calls.push(json!({ "name": call.name, "arguments": arguments }));
            }
            _ => {}
        }
    }
    let finish = match &choice.finish {
        Finish::Stop => "stop",
        Finish::Length => "length",
        Finish::ToolCalls => "tool_calls",
        Finish::ContentFilter => "content_filter",
        other => panic!("{other:?} is in no case"),
    };
    json!({ "text": choice.text(), "reasoning": reasoning, "refusal": refusal, "tool_calls": calls, "finish_reason": finish })
}

fn check_truth(case: &Value, answer: &Answer) {
    let (id, truth, told) = (&case["id"], &case["truth"], told(answer));
    for field in ["text", "reasoning", "tool_calls"] {
        assert_eq!(told[field], truth[field], "{id} {field}");
    }
    assert_eq!(told["refusal"].as_str(), Some(truth["refusal"].as_str().unwrap_or_default()), "{id} refusal");
    // One provider leaves the reason empty: the answer is whole all the same.
    let finish = truth["finish_reason"].as_str().filter(|reason| !reason.is_empty()).unwrap_or("stop");
    assert_eq!(told["finish_reason"], finish, "{id}");
    assert_eq!(answer.choices.len() as u64, truth["n"].as_u64().unwrap(), "{id}");
    let Some(usage) = truth["usage"].as_object() else { return };
    let own = answer.usage.unwrap();
    assert_eq!(Some(own.input), usage["input"].as_u64(), "{id}");
    // Where reasoning is counted beside the output, it is added.
    let total = usage["total"].as_u64().unwrap();
    assert!(Some(own.output) == usage["output"].as_u64() || own.input + own.output == total, "{id} {own:?} {usage:?}");
    if let Some(cached) = usage["cached"].as_u64() {
        assert_eq!(own.cached, cached, "{id}");
    }
}

#[test]
fn whole_answers_say_what_they_say() {
    let mut seen = 0;
    for case in cases().iter().filter(|case| case["response"]["body"].is_object()) {
        let answer = OpenaiChat.decode_answer(case["response"]["body"].to_string().as_bytes());
        let answer = answer.unwrap_or_else(|error| panic!("{} {error}", case["id"]));
        check_truth(case, &answer);
        seen += 1;
        let written = OpenaiChat.encode_answer(answer.clone(), &asked(&case["request"]["body"]), &mut Dropped::default());
        let again = OpenaiChat.decode_answer(&written).unwrap();
        assert_eq!((told(&again), again.usage), (told(&answer), tokens(answer.usage)), "{}", case["id"]);
    }
    eprintln!("{seen} whole answers");
}

#[test]
fn streams_say_what_they_say_however_torn() {
    let mut seen = 0;
    for case in cases().iter().filter(|case| case["response"]["text"].is_string()) {
        let (id, text) = (&case["id"], case["response"]["text"].as_str().unwrap().as_bytes());
        let whole = events(&[text]);
        for size in [1, 2, 3, 5, 7, 64, 1000] {
            let torn: Vec<&[u8]> = text.chunks(size).collect();
            assert_eq!(events(&torn), whole, "{id} in pieces of {size}");
        }
        if text.len() < 6000 {
            (0..text.len()).for_each(|at| assert_eq!(events(&[&text[..at], &text[at..]]), whole, "{id} at {at}"));
        }
        let collected = collect(whole.clone());
        seen += 1;
        if !case["truth"].is_object() {
            assert!(collected.is_err() || whole.last() == Some(&Event::End), "{id}");
            continue;
        }
        let answer = collected.unwrap();
        check_truth(case, &answer);
        assert_eq!(whole.last(), Some(&Event::End), "{id}");
        let mut body = case["request"]["body"].clone();
        body["stream_options"] = json!({ "include_usage": true });
        let (told_again, reading) = translated(text, &asked(&body));
        assert!(reading.ending == crate::dialect::Ending::Complete && reading.usage == answer.usage, "{id} {reading:?}");
        let again = collect(events(&[told_again.as_slice()])).unwrap();
        assert_eq!((told(&again), again.usage), (told(&answer), tokens(answer.usage)), "{id}");
    }
    eprintln!("{seen} streams");
}

/// A usage as it is written: what it costs is not.
fn tokens(usage: Option<Usage>) -> Option<Usage> {
    usage.map(|usage| Usage { charged: None, ..usage })
}

/// What a caller gets of a stream that comes in pieces, and what it cost.
fn translated(text: &[u8], asked: &Asked) -> (Vec<u8>, Reading) {
    let mut translation = Translation::new(Dialect::OpenaiChat, asked);
    let mut out: Vec<u8> = text.chunks(97).flat_map(|piece| translation.pass(piece)).collect();
    let (rest, reading) = translation.finish();
    out.extend_from_slice(&rest);
    (out, reading)
}

#[test]
fn requests_keep_their_meaning() {
    let mut seen = 0;
    for case in cases() {
        let body = &case["request"]["body"];
        let mut request = decode(body);
        request.stream = body["stream"] == true;
        let (again, dropped) = encode(&request, body["model"].as_str().unwrap_or_default());
        assert_eq!(normal(again), normal(body.clone()), "{} {dropped:?}", case["id"]);
        // To reason, but with no word of how much, is said in no word that all providers of the dialect know.
        assert!(dropped.names().all(|name| name == "thinking" && body["thinking"]["type"] == "enabled"), "{} {dropped:?}", case["id"]);
        seen += 1;
    }
    eprintln!("{seen} requests");
}

/// A request without what may be said in two ways. Forgiven: members that are `null`, defaults that are said or not, `max_tokens`,
/// `any`, empty lists, the option that asks for usage, types that are left out, content as a list of one text, empty content, ids that were shortened,
/// Mistral's `prefix: false`, and reasoning switched on by another word.
fn normal(mut body: Value) -> Value {
    without_nulls(&mut body);
    let object = body.as_object_mut().unwrap();
    for default in [("stream", json!(false)), ("tool_choice", json!("auto")), ("n", json!(1)), ("top_p", json!(1.0)), ("top_p", json!(1))] {
        if object.get(default.0) == Some(&default.1) {
            object.remove(default.0);
        }
    }
    object.remove("stream_options");
    if object.get("tools") == Some(&json!([])) {
        object.remove("tools");
    }
    if let Some(limit) = object.remove("max_tokens") {
        object.insert("max_completion_tokens".into(), limit);
    }
    if object.get("tool_choice") == Some(&json!("any")) {
        object.insert("tool_choice".into(), json!("required"));
    }
    if let Some(Value::Object(reasoning)) = object.get("reasoning").cloned() {
        object.remove("reasoning");
        object.insert("reasoning_effort".into(), reasoning["effort"].clone());
    }
    if let Some(thinking) = object.get_mut("thinking").and_then(Value::as_object_mut) {
        thinking.remove("type");
    }
    for tool in object.get_mut("tools").and_then(Value::as_array_mut).into_iter().flatten() {
        if tool.get("function").is_some() {
            tool["type"] = json!("function");
        }
    }
    for message in object["messages"].as_array_mut().unwrap() {
        normal_message(message.as_object_mut().unwrap());
    }
    body
}

fn normal_message(message: &mut serde_json::Map<String, Value>) {
    message.remove("prefix");
    message.retain(|_, value| *value != json!([]));
    for call in message.get_mut("tool_calls").and_then(Value::as_array_mut).into_iter().flatten() {
        call.as_object_mut().unwrap().remove("index");
        call["type"] = json!("function");
    }
    let content = match message.remove("content").unwrap_or_default() {
        Value::Array(parts) => {
            let parts: Vec<Value> = parts.into_iter().filter(|part| part["text"] != "").map(normal_part).collect();
            match parts.as_slice() {
                [] => json!(""),
                [one] if one["type"] == "text" && one.get("cache_control").is_none() => one["text"].clone(),
                _ => Value::Array(parts),
            }
        }
        Value::Null => json!(""),
        text => text,
    };
    message.insert("content".into(), content);
}

/// A URL may stand by itself; some clients add members of other types.
fn normal_part(mut part: Value) -> Value {
    if let Some(url) = part.get("image_url").filter(|url| url.is_string()).cloned() {
        part["image_url"] = json!({ "url": url });
    }
    part
}

fn without_nulls(value: &mut Value) {
    match value {
        Value::Object(object) => {
            object.retain(|_, value| !value.is_null());
            object.values_mut().for_each(without_nulls);
        }
        Value::Array(list) => list.iter_mut().for_each(without_nulls),
        _ => {}
    }
}
