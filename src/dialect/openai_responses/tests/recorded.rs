//! Recorded requests and answers of real providers.

use serde_json::{Map, Value, json};

use super::*;
use crate::dialect::ir::{Content, Finish};

/// The recorded cases; none where the folder is not there.
fn cases() -> Vec<Value> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/traffic/openai_responses.jsonl");
    match std::fs::read_to_string(path) {
        Ok(text) => text.lines().map(|line| serde_json::from_str(line).unwrap()).collect(),
        Err(error) => {
            eprintln!("{path} cannot be read ({error}): the recorded cases are skipped");
            Vec::new()
        }
    }
}

fn text_of(case: &Value) -> Option<&str> {
    case["response"]["text"].as_str()
}

/// What the answer says, in the terms of the recording.
fn said(answer: &Answer) -> Value {
    let (mut text, mut reasoning, mut calls) = (String::new(), Vec::new(), Vec::new());
    let choice = &answer.choices[0];
    for block in &choice.content {
        match &block.content {
            Content::Text { text: more, .. } => text.push_str(more),
            Content::Reasoning(thought) if !thought.text.is_empty() => reasoning.push(thought.text.clone()),
            Content::ToolCall(call) => {
                calls.push(json!({ "name": call.name, "arguments": serde_json::from_str::<Value>(&call.arguments).unwrap_or_default() }));
            }
            _ => {}
        }
    }
    let finish = match &choice.finish {
        Finish::Stop => "stop",
        Finish::ToolCalls => "tool_calls",
        Finish::Length => "length",
        Finish::ContentFilter => "content_filter",
        Finish::Other(other) => other,
        other => panic!("{other:?}"),
    };
    let usage = answer.usage.map(|usage| json!({ "input": usage.input, "output": usage.output, "cached": usage.cached }));
    json!({ "text": text, "reasoning": reasoning.join("\n"), "tool_calls": calls, "finish_reason": finish, "usage": usage })
}

fn expected(truth: &Value) -> Value {
    let mut truth = truth.clone();
    let usage =
        truth["usage"].as_object().map(|usage| json!({ "input": usage["input"], "output": usage["output"], "cached": usage["cached"] }));
    // "complete" is no status of OpenAI's, and what it means is plain.
    let finish = if truth["finish_reason"] == "complete" { json!("stop") } else { truth["finish_reason"].take() };
    let reasoning = truth["reasoning"].as_str().unwrap_or_default().replace('\n', "");
    json!({ "text": truth["text"], "reasoning": reasoning, "tool_calls": truth["tool_calls"], "finish_reason": finish, "usage": usage })
}

/// Blank lines between parts of a summary are ours.
fn squeeze(mut said: Value) -> Value {
    let reasoning = said["reasoning"].as_str().unwrap_or_default().replace('\n', "");
    said["reasoning"] = Value::from(reasoning);
    said
}

#[test]
fn whole_answers_are_read_rightly() {
    for case in cases().iter().filter(|case| case["response"]["body"]["output"].is_array()) {
        let answer = Responses.decode_answer(case["response"]["body"].to_string().as_bytes()).unwrap();
        assert_eq!(squeeze(said(&answer)), expected(&case["truth"]), "{}", case["id"]);
    }
}

#[test]
fn streams_are_read_rightly_however_they_are_torn() {
    for case in cases() {
        let Some(text) = text_of(&case) else { continue };
        let whole = events(text.as_bytes(), usize::MAX);
        for size in [1, 2, 3, 5, 7, 11, 64, 1000] {
            assert_eq!(events(text.as_bytes(), size), whole, "{} by {size}", case["id"]);
        }
        match collect(whole.clone()) {
            Err(trouble) => assert_eq!(case["truth"]["finish_reason"], "failed", "{}: {trouble:?}", case["id"]),
            Ok(answer) if case["complete"] == true => {
                assert_eq!(whole.last(), Some(&Event::End), "{}", case["id"]);
                assert_eq!(squeeze(said(&answer)), expected(&case["truth"]), "{}", case["id"]);
            }
            Ok(_) => {}
        }
    }
}

#[test]
fn answers_are_written_as_they_were_read() {
    for case in cases() {
        let body = match &case["request"]["body"] {
            body if body["input"].is_array() || body["input"].is_string() => body.clone(),
            _ => json!({ "model": "m", "input": "hi" }),
        };
        let asked = asked(&body);
        let answer = match text_of(&case) {
            Some(text) => match collect(events(text.as_bytes(), usize::MAX)) {
                Ok(answer) => answer,
                Err(_) => continue,
            },
            None if case["response"]["body"]["output"].is_array() => {
                Responses.decode_answer(case["response"]["body"].to_string().as_bytes()).unwrap()
            }
            None => continue,
        };
        let written = Responses.encode_answer(answer.clone(), &asked, &mut Dropped::default());
        let read = Responses.decode_answer(&written).unwrap();
        assert_eq!(without_defaults(read), without_defaults(answer.clone()), "{} whole", case["id"]);
        let streamed = write_stream(answer.clone().into_events(), &asked);
        parse_stream(&streamed);
        let mut read = collect(events(streamed.as_bytes(), usize::MAX)).unwrap();
        read.service_tier.clone_from(&answer.service_tier);
        assert_eq!(without_defaults(read), without_defaults(answer), "{} streamed", case["id"]);
    }
}

/// What an answer has to have, and is made where the provider has none.
fn without_defaults(mut answer: Answer) -> Answer {
    // What it costs is not written.
    answer.usage.iter_mut().for_each(|usage| usage.charged = None);
    answer.id.clear();
    answer.model.clear();
    answer.created = 0;
    for block in &mut answer.choices[0].content {
        match &mut block.content {
            Content::Reasoning(reasoning) => reasoning.id = None,
            // A call without arguments has none in either spelling.
            Content::ToolCall(call) if call.arguments.is_empty() => call.arguments.push_str("{}"),
            _ => {}
        }
    }
    answer
}

/// A request without the differences that mean nothing.
fn normal(mut body: Value) -> Value {
    let map = body.as_object_mut().unwrap();
    map.retain(|name, value| !(value.is_null() || name == "instructions" && value == ""));
    for (name, default) in
        [("stream", json!(false)), ("background", json!(false)), ("truncation", json!("disabled")), ("store", json!(false))]
    {
        if map.get(name) == Some(&default) {
            map.remove(name);
        }
    }
    // Encrypted reasoning is asked for wherever a model may reason: it is never less than what was asked for.
    if let Some(Value::Array(list)) = map.get_mut("include") {
        list.retain(|include| include != "reasoning.encrypted_content");
        if list.is_empty() {
            map.remove("include");
        }
    }
    if let Some(Value::Object(reasoning)) = map.get_mut("reasoning") {
        reasoning.retain(|_, value| !value.is_null());
        // The deprecated name of the same.
        if let Some(summary) = reasoning.remove("generate_summary") {
            reasoning.insert("summary".to_owned(), summary);
        }
    }
    for tool in map.get_mut("tools").and_then(Value::as_array_mut).into_iter().flatten() {
        if tool["type"] == "function" {
            let tool = tool.as_object_mut().unwrap();
            tool.retain(|_, value| !value.is_null());
            // Tools that are loaded later are the provider's own affair; elsewhere they are there from the start.
            tool.remove("defer_loading");
            tool.entry("strict").or_insert(json!(false));
        }
    }
    if map.get("tools").is_none_or(|tools| tools == &json!([])) {
        for only_with_tools in ["tools", "tool_choice", "parallel_tool_calls"] {
            map.remove(only_with_tools);
        }
    }
    let mut items = match map.remove("input") {
        Some(Value::String(text)) => vec![json!({ "role": "user", "content": text })],
        Some(Value::Array(items)) => items,
        _ => Vec::new(),
    };
    if !map.contains_key("instructions") && items.len() > 1 && items[0]["role"] == "system" {
        map.insert("instructions".to_owned(), items.remove(0)["content"].take());
    }
    map.insert("input".to_owned(), Value::Array(merged(items)));
    body
}

/// The items, with neighbouring messages of the assistant as one.
fn merged(items: Vec<Value>) -> Vec<Value> {
    let mut out: Vec<Value> = Vec::new();
    for item in items {
        let item = normal_item(item);
        if item["type"] == "message" && item["content"] == json!([]) {
            continue;
        }
        match out.last_mut() {
            Some(last) if last["role"] == "assistant" && item["role"] == "assistant" => {
                let more = item["content"].as_array().unwrap().clone();
                last["content"].as_array_mut().unwrap().extend(more);
            }
            _ => out.push(item),
        }
    }
    out
}

fn normal_item(mut item: Value) -> Value {
    let map: &mut Map<String, Value> = item.as_object_mut().unwrap();
    map.retain(|_, value| !value.is_null());
    let kind = map.entry("type").or_insert(json!("message")).as_str().unwrap().to_owned();
    match kind.as_str() {
        "message" => {
            let is_assistant = map["role"] == "assistant";
            // Ids, phases and the status are the provider's own notes.
            map.retain(|name, _| matches!(name.as_str(), "type" | "role" | "content"));
            let text = if is_assistant { "output_text" } else { "input_text" };
            let content = match map["content"].take() {
                Value::String(plain) => json!([{ "type": text, "text": plain }]),
                list => list,
            };
            map.insert("content".to_owned(), content);
            if is_assistant {
                // An assistant's text that says nothing.
                map["content"].as_array_mut().unwrap().retain(|part| part["text"] != "");
            }
            map["content"].as_array_mut().unwrap().iter_mut().for_each(normal_part);
        }
        // The item's own id pairs nothing; a namespace is the provider's own affair.
        "function_call" | "custom_tool_call" => map.retain(|name, _| !matches!(name.as_str(), "id" | "status" | "namespace")),
        "reasoning" => {
            let mut texts = Vec::new();
            for part in ["summary", "content"].iter().filter_map(|name| map.get(*name)?.as_array()).flatten() {
                texts.push(part["text"].as_str().unwrap().to_owned());
            }
            map.remove("content");
            map.insert("summary".to_owned(), json!(texts.join("\n\n")));
        }
        _ => {}
    }
    item
}

fn normal_part(part: &mut Value) {
    let part = part.as_object_mut().unwrap();
    part.retain(|_, value| !value.is_null() && *value != json!([]));
}

/// The first difference, by its path.
fn difference(left: &Value, right: &Value, path: &str) -> Option<String> {
    match (left, right) {
        (Value::Object(l), Value::Object(r)) => {
            l.keys().chain(r.keys()).find_map(|name| difference(&left[name.as_str()], &right[name.as_str()], &format!("{path}.{name}")))
        }
        (Value::Array(l), Value::Array(r)) if l.len() == r.len() => {
            l.iter().zip(r).enumerate().find_map(|(at, (l, r))| difference(l, r, &format!("{path}[{at}]")))
        }
        _ => (left != right).then(|| {
            format!(
                "{path}: {} != {}",
                left.to_string().chars().take(300).collect::<String>(),
                right.to_string().chars().take(300).collect::<String>()
            )
        }),
    }
}

#[test]
fn requests_are_written_as_they_were_read() {
    for case in cases() {
        let body = &case["request"]["body"];
        if !body.is_object() {
            continue;
        }
        let mut request = decode(body).unwrap_or_else(|refusal| panic!("{}: {}", case["id"], refusal.message));
        request.model = body["model"].as_str().unwrap_or_default().to_owned();
        request.stream = body["stream"] == true;
        let (written, dropped) = encode(&request);
        assert_eq!(dropped, Vec::<String>::new(), "{}", case["id"]);
        assert_eq!(difference(&normal(written.clone()), &normal(body.clone()), ""), None, "{}", case["id"]);
        assert_eq!(decode(&written).unwrap().messages, request.messages, "{}", case["id"]);
    }
}
