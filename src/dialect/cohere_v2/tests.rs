#![allow(clippy::unwrap_used)]

mod property;

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::*;
use crate::catalog::{Dialect, Operation};
use crate::dialect::ir::*;
use crate::ledger::record::{Charged, Usage};

const CASES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/traffic/cohere_v2.jsonl");
const TO: To<'static> = To { model: "command-a", facts: None };

fn called() -> Called {
    Called::new(Operation::Chat, Dialect::CohereV2)
}

fn asked() -> Asked {
    Asked { called: called(), request: Arc::new(Request::default()), body: Bytes::from_static(b"{}") }
}

fn decoded(body: &Value) -> Request {
    Cohere.decode_request(&called(), body.to_string().as_bytes()).unwrap()
}

fn encoded(request: &Request) -> (Value, Dropped) {
    let mut dropped = Dropped::default();
    let body = Cohere.encode_request(request, &TO, &mut dropped).unwrap();
    (serde_json::from_slice(&body).unwrap(), dropped)
}

fn names(dropped: &Dropped) -> Vec<&str> {
    dropped.names().collect()
}

/// A stream's events, read in pieces of `size` bytes.
fn streamed(text: &str, size: usize) -> Vec<Event> {
    let (mut reader, mut events) = (Cohere.stream_reader(), Vec::new());
    text.as_bytes().chunks(size).for_each(|piece| reader.push(piece, &mut events));
    reader.finish(&mut events);
    events
}

fn collected(events: Vec<Event>) -> Result<Answer, Trouble> {
    let mut collector = Collector::default();
    events.into_iter().for_each(|event| collector.take(event));
    collector.finish()
}

fn written(events: Vec<Event>) -> String {
    let (mut writer, mut out) = (Cohere.stream_writer(&asked()), Vec::new());
    events.into_iter().for_each(|event| writer.write(event, &mut out));
    String::from_utf8(out).unwrap()
}

fn rewritten(answer: Answer) -> Answer {
    let body = Cohere.encode_answer(answer, &asked(), &mut Dropped::default());
    Cohere.decode_answer(&body).unwrap()
}

/// Cases of recorded traffic; none where the folder is not there.
fn cases() -> Vec<Value> {
    let Ok(text) = std::fs::read_to_string(CASES) else {
        eprintln!("skipped: there is no recorded traffic at {CASES}");
        return Vec::new();
    };
    text.lines().map(|line| serde_json::from_str(line).unwrap()).filter(|case: &Value| case["op"] == "chat").collect()
}

/// The same meaning in one form: a lone text block is a text, fields that say nothing are left out.
fn normal(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let keep = |(name, value): (&String, &Value)| match (name.as_str(), value) {
                (_, Value::Null) => None,
                ("content", Value::Array(list)) if list.len() == 1 && list[0]["type"] == "text" => {
                    Some((name.clone(), list[0]["text"].clone()))
                }
                ("arguments", Value::String(text)) => Some((name.clone(), serde_json::from_str(text).unwrap())),
                _ => Some((name.clone(), normal(value))),
            };
            let mut members: Map<String, Value> = members.iter().filter_map(keep).collect();
            if members.contains_key("messages") {
                members.entry("stream").or_insert(Value::from(false));
                members.remove("model");
            }
            Value::Object(members)
        }
        Value::Array(list) => list.iter().map(normal).collect(),
        other => other.clone(),
    }
}

fn check_truth(answer: &Answer, case: &Value) {
    let (id, truth) = (&case["id"], &case["truth"]);
    let choice = &answer.choices[0];
    assert_eq!(choice.text(), truth["text"].as_str().unwrap(), "{id}");
    let (mut reasoning, mut plan, mut calls) = (String::new(), String::new(), Vec::new());
    for block in &choice.content {
        match &block.content {
            Content::Reasoning(one) if one.signature == Some(assistant::plan_mark()) => plan.push_str(&one.text),
            Content::Reasoning(one) => reasoning.push_str(&one.text),
            Content::ToolCall(call) => {
                calls.push(json!({ "name": call.name, "arguments": serde_json::from_str::<Value>(&call.arguments).unwrap() }));
            }
            _ => {}
        }
    }
    assert_eq!(reasoning, truth["reasoning"].as_str().unwrap(), "{id}");
    assert_eq!(plan, truth["plan"].as_str().unwrap_or_default(), "{id}");
    assert_eq!(Value::from(calls), truth["tool_calls"], "{id}");
    let finish = match choice.finish {
        Finish::Stop | Finish::StopSequence(_) => "stop",
        Finish::Length => "length",
        Finish::ToolCalls => "tool_calls",
        _ => "other",
    };
    assert_eq!(finish, truth["finish_reason"].as_str().unwrap(), "{id}");
    let usage = answer.usage.unwrap();
    assert_eq!(
        (usage.input, usage.output),
        (truth["usage"]["input"].as_u64().unwrap(), truth["usage"]["output"].as_u64().unwrap()),
        "{id}"
    );
    assert_eq!(usage.cached, truth["usage"]["cached"].as_u64().unwrap_or(0), "{id}");
}

#[test]
fn recorded_requests_keep_their_meaning() {
    for case in cases() {
        let body = &case["request"]["body"];
        let mut request = decoded(body);
        request.stream = body["stream"].as_bool().unwrap_or(false);
        let (again, dropped) = encoded(&request);
        assert_eq!(normal(&again), normal(body), "{}", case["id"]);
        assert!(dropped.is_empty(), "{}", case["id"]);
    }
}

#[test]
fn recorded_answers_say_what_they_said() {
    for case in cases() {
        let response = &case["response"];
        let answer = match response["text"].as_str() {
            Some(text) => {
                let events = streamed(text, text.len());
                for size in [1, 2, 3, 5, 7, 64, 1000] {
                    assert_eq!(streamed(text, size), events, "{} in pieces of {size}", case["id"]);
                }
                assert_eq!(events.last(), Some(&Event::End));
                collected(events).unwrap()
            }
            None => Cohere.decode_answer(response["body"].to_string().as_bytes()).unwrap(),
        };
        check_truth(&answer, &case);
        assert_eq!(rewritten(answer.clone()), answer, "{} whole", case["id"]);
        let again = collected(streamed(&written(answer.clone().into_events()), 17)).unwrap();
        check_truth_of_stream(again, answer, &case);
    }
}

/// A stream has no place to say that reasoning was a plan, and none for top-level extras.
fn check_truth_of_stream(mut again: Answer, mut answer: Answer, case: &Value) {
    for one in [&mut again, &mut answer] {
        one.extra = Extra::default();
        for block in &mut one.choices[0].content {
            if let Content::Reasoning(reasoning) = &mut block.content {
                reasoning.signature = None;
            }
        }
    }
    assert_eq!(again, answer, "{} streamed", case["id"]);
}

#[test]
fn a_stream_tells_citations_plans_calls_and_its_end() {
    let text = r#"event: message-start
data: {"id":"a","type":"message-start","delta":{"message":{"role":"assistant","content":[],"tool_plan":"","tool_calls":[],"citations":[]}}}

event: content-start
data: {"type":"content-start","index":0,"delta":{"message":{"content":{"type":"thinking","thinking":"h"}}}}

event: content-delta
data: {"type":"content-delta","index":0,"delta":{"message":{"content":{"thinking":"m"}}}}

event: content-end
data: {"type":"content-end","index":0}

event: content-start
data: {"type":"content-start","index":1,"delta":{"message":{"content":{"type":"text","text":""}}}}

event: content-delta
data: {"type":"content-delta","index":1,"delta":{"message":{"content":{"text":"Paris"}}},"logprobs":{"text":"Paris","token_ids":[1,2],"logprobs":[-0.5,-0.25]}}

event: content-end
data: {"type":"content-end","index":1}

event: citation-start
data: {"type":"citation-start","index":0,"delta":{"message":{"citations":{"start":0,"end":5,"text":"Paris","sources":[{"type":"tool","id":"t:0","tool_output":{"url":"https://p","title":"P"}}],"type":"TEXT_CONTENT"}}}}

event: citation-end
data: {"type":"citation-end","index":0}

event: tool-plan-delta
data: {"type":"tool-plan-delta","delta":{"message":{"tool_plan":"I call"}}}

event: tool-call-start
data: {"type":"tool-call-start","index":0,"delta":{"message":{"tool_calls":{"id":"x","type":"function","function":{"name":"f","arguments":""}}}}}

event: tool-call-delta
data: {"type":"tool-call-delta","index":0,"delta":{"message":{"tool_calls":{"function":{"arguments":"{\"a\":"}}}}}

event: tool-call-delta
data: {"type":"tool-call-delta","index":0,"delta":{"message":{"tool_calls":{"function":{"arguments":"1}"}}}}}

event: tool-call-end
data: {"type":"tool-call-end","index":0}

event: tool-call-start
data: {"type":"tool-call-start","index":1,"delta":{"message":{"tool_calls":{"id":"y","type":"function","function":{"name":"g","arguments":""}}}}}

event: tool-call-end
data: {"type":"tool-call-end","index":1}

event: message-end
data: {"type":"message-end","delta":{"finish_reason":"TOOL_CALL","usage":{"billed_units":{"input_tokens":1,"output_tokens":2},"tokens":{"input_tokens":30,"output_tokens":4},"cached_tokens":5}}}

data: [DONE]

"#;
    let whole = streamed(text, text.len());
    for size in 1..text.len() {
        assert_eq!(streamed(text, size), whole, "in pieces of {size}");
    }
    let answer = collected(whole).unwrap();
    let [thinking, said, plan, first, second] = answer.choices[0].content.as_slice() else { panic!("{answer:?}") };
    assert!(matches!(&thinking.content, Content::Reasoning(r) if r.text == "hm" && r.signature == Some(assistant::thinking_mark())));
    let Content::Text { text, citations } = &said.content else { panic!("{said:?}") };
    assert_eq!((text.as_str(), citations[0].span, citations[0].url.as_deref()), ("Paris", Some((0, 5)), Some("https://p")));
    assert!(matches!(&plan.content, Content::Reasoning(r) if r.text == "I call" && r.signature == Some(assistant::plan_mark())));
    assert!(matches!(&first.content, Content::ToolCall(call) if call.arguments == "{\"a\":1}" && call.id == "x"));
    assert!(matches!(&second.content, Content::ToolCall(call) if call.arguments == "{}" && call.name == "g"));
    assert_eq!(answer.choices[0].finish, Finish::ToolCalls);
    assert_eq!(answer.choices[0].logprobs[0].logprob, -0.75);
    assert_eq!(
        answer.usage,
        Some(Usage { input: 30, output: 4, cached: 5, charged: Some(Charged::Tokens { input: 1, output: 2 }), ..Usage::default() })
    );
}

#[test]
fn an_error_at_a_streams_end_is_told() {
    let text = "event: message-start\ndata: {\"id\":\"a\",\"type\":\"message-start\"}\n\n\
        event: message-end\ndata: {\"type\":\"message-end\",\"delta\":{\"finish_reason\":\"ERROR\",\"error\":\"out of luck\"}}\n\n";
    let trouble = collected(streamed(text, 9)).unwrap_err();
    assert_eq!((trouble.message.as_str(), trouble.code.as_deref()), ("out of luck", Some("ERROR")));
    assert!(!streamed(text, 9).contains(&Event::End));
    // And one of another provider's is told so that it reads alike.
    assert_eq!(collected(streamed(&written(vec![Event::Trouble(trouble.clone())]), 9)).unwrap_err().message, trouble.message);
    // A stream that breaks off has no end.
    assert!(!streamed(&text[..text.find("event: message-end").unwrap()], 9).contains(&Event::End));
}

#[test]
fn finish_reasons_keep_their_meaning() {
    for (reason, expected) in [
        ("COMPLETE", Finish::Stop),
        ("STOP_SEQUENCE", Finish::StopSequence(String::new())),
        ("MAX_TOKENS", Finish::Length),
        ("TOOL_CALL", Finish::ToolCalls),
        ("ERROR", Finish::Error),
        ("TIMEOUT", Finish::Other("TIMEOUT".into())),
    ] {
        assert_eq!(finish(reason), expected);
        assert_eq!(finish_reason(&expected), reason);
    }
    assert_eq!(finish("max_tokens"), Finish::Length);
    assert_eq!(finish_reason(&Finish::Other("EXOTIC".into())), "COMPLETE");
}

#[test]
fn documents_of_all_shapes_become_documents() {
    let body = json!({ "model": "m", "messages": [{ "role": "user", "content": "q" }], "documents": [
        "plain", { "id": "d1", "data": { "text": "words", "title": "t" } }, { "id": "d2", "data": { "snippet": "s", "year": 1 } }, { "data": "text" }
    ] });
    let request = decoded(&body);
    let media: Vec<(&MediaSource, Option<&str>)> = request.messages[0]
        .content
        .iter()
        .filter_map(|block| if let Content::Media(media) = &block.content { Some((&media.source, media.name.as_deref())) } else { None })
        .collect();
    let text = |text: &str| MediaSource::Text(text.to_owned());
    assert_eq!(media[0], (&text("plain"), None));
    assert_eq!(media[1], (&text("words"), Some("t")));
    assert_eq!(media[2], (&text("{\"snippet\":\"s\",\"year\":1}"), Some("d2")));
    assert_eq!(media[3], (&text("text"), None));
    let (again, _) = encoded(&request);
    assert_eq!(again["documents"][1], json!({ "data": { "text": "words", "title": "t" } }));
    assert_eq!(again["messages"], json!([{ "role": "user", "content": "q" }]));
}

#[test]
fn what_cohere_cannot_be_sent_is_moved_adjusted_named_or_refused() {
    let image = || Content::Media(Media::from_url(MediaKind::Image, "data:image/png;base64,AAAA")).into();
    let result =
        |content| Content::ToolResult(ToolResult { call_id: "c".into(), name: None, content, is_error: true, is_custom: false }).into();
    let foreign =
        Reasoning { text: "hm".into(), signature: Some(Signature::new(Dialect::AnthropicMessages, "s")), is_redacted: false, id: None };
    let call = ToolCall { id: "c".into(), name: "f".into(), arguments: String::new(), is_custom: false, signature: None };
    let function = |name: &str, strict| {
        let schema = json!({ "type": "object", "properties": {} });
        Tool::Function(Function { name: name.into(), parameters: Some(schema), strict, ..Function::default() })
    };
    let request = Request {
        messages: vec![
            Message::new(Role::Developer, vec![Block::text("be kind")]),
            Message::new(Role::Assistant, vec![Content::Reasoning(foreign).into(), Content::ToolCall(call).into()]),
            Message::new(Role::Tool, vec![result(vec![Block::text("see"), image()])]),
            Message::new(Role::Assistant, vec![Block::text("")]),
        ],
        tools: vec![function("f", Some(true)), function("g", None)],
        tool_choice: Some(ToolChoice::Tool("f".into())),
        format: Some(Format::JsonObject),
        sampling: Sampling { temperature: Some(1.5), top_p: Some(1.0), seed: Some(-1), n: Some(2), ..Sampling::default() },
        user: Some("u".into()),
        ..Request::default()
    };
    let (body, dropped) = encoded(&request);
    let expected = json!([
        { "role": "system", "content": "be kind" },
        { "role": "assistant", "tool_calls": [{ "id": "c", "type": "function", "function": { "name": "f", "arguments": "{}" } }] },
        { "role": "tool", "tool_call_id": "c", "content": "see" },
        { "role": "user", "content": [
            { "type": "text", "text": "The image that tool call c gave:" },
            { "type": "image_url", "image_url": { "url": "data:image/png;base64,AAAA" } }
        ] }
    ]);
    assert_eq!(body["messages"], expected);
    assert_eq!(body["tool_choice"], "REQUIRED");
    assert_eq!(body["tools"].as_array().unwrap().len(), 1);
    assert_eq!((&body["temperature"], &body["p"]), (&json!(1.0), &json!(0.99)));
    let expected = ["reasoning", "is_error", "strict", "format", "temperature", "top_p", "seed", "n", "user"];
    assert_eq!(names(&dropped), expected);

    let audio = Media::new(MediaKind::Audio, MediaSource::Base64("AAAA".into()), Some("audio/wav".into()));
    let request = Request { messages: vec![Message::new(Role::User, vec![Content::Media(audio).into()])], ..Request::default() };
    let refusal = Cohere.encode_request(&request, &TO, &mut Dropped::default()).unwrap_err();
    assert_eq!((refusal.code, refusal.param), ("not_expressible", Some("messages")));
}

#[test]
fn wrong_types_are_named_by_their_field() {
    for (body, field) in [
        (json!({ "messages": 1 }), "messages"),
        (json!({}), "messages"),
        (json!({ "messages": [{ "role": "bishop", "content": "x" }] }), "messages"),
        (json!({ "messages": [{ "role": "tool", "content": "x" }] }), "messages"),
        (json!({ "messages": [], "max_tokens": "many" }), "max_tokens"),
        (json!({ "messages": [], "k": -1 }), "k"),
        (json!({ "messages": [], "stop_sequences": [1] }), "stop_sequences"),
        (json!({ "messages": [], "tool_choice": "auto" }), "tool_choice"),
        (json!({ "messages": [], "response_format": { "type": "xml" } }), "response_format"),
        (json!({ "messages": [], "thinking": { "type": "hard" } }), "thinking"),
        (json!({ "messages": [], "tools": [{}] }), "tools"),
    ] {
        let refusal = Cohere.decode_request(&called(), body.to_string().as_bytes()).unwrap_err();
        assert_eq!((refusal.code, refusal.param), ("invalid_value", Some(field)), "{body}");
    }
}

#[test]
fn a_foreign_answer_carries_its_signatures() {
    let reasoning =
        Reasoning { text: "hm".into(), signature: Some(Signature::new(Dialect::AnthropicMessages, "sig")), is_redacted: false, id: None };
    let redacted = Reasoning { is_redacted: true, text: String::new(), ..reasoning.clone() };
    let call = ToolCall {
        id: "c".into(),
        name: "f".into(),
        arguments: "{}".into(),
        is_custom: false,
        signature: Some(Signature::new(Dialect::Gemini, "g")),
    };
    let citation = Citation { url: Some("https://e".into()), span: Some((0, 2)), ..Citation::default() };
    let content = vec![
        Content::Reasoning(reasoning.clone()).into(),
        Content::Reasoning(redacted.clone()).into(),
        Content::Text { text: "héllo".into(), citations: vec![citation] }.into(),
        Content::ToolCall(call.clone()).into(),
    ];
    let answer = Answer { choices: vec![Choice { content, finish: Finish::ToolCalls, logprobs: Vec::new() }], ..Answer::default() };
    let body: Value = serde_json::from_slice(&Cohere.encode_answer(answer.clone(), &asked(), &mut Dropped::default())).unwrap();
    assert_eq!(body["message"]["citations"][0]["text"], "hé");
    assert_eq!(body["message"]["citations"][0]["content_index"], 2);
    assert!(!body["id"].as_str().unwrap().is_empty());
    // What the caller sends back in its next turn is what the provider gave.
    let request = decoded(&json!({ "messages": [body["message"]] }));
    let back = &request.messages[0].content;
    assert_eq!(back[0].content, Content::Reasoning(reasoning.clone()));
    assert_eq!(back[1].content, Content::Reasoning(redacted));
    assert_eq!(back[3].content, Content::ToolCall(call));
    let streamed = collected(streamed(&written(answer.into_events()), 5)).unwrap();
    assert_eq!(streamed.choices[0].content[0].content, Content::Reasoning(reasoning));
    assert_eq!(streamed.choices[0].text(), "héllo");
}

#[test]
fn a_call_ends_before_the_next_begins() {
    let open = |index, id: &str| Event::Open {
        choice: 0,
        index,
        opening: Opening::ToolCall { id: id.into(), name: "f".into(), is_custom: false, signature: None },
    };
    let grow = |index, more: &str| Event::Delta { choice: 0, index, delta: Delta::Arguments(more.into()) };
    let close = |index| Event::Close { choice: 0, index };
    let events = vec![open(0, "x"), grow(0, "{}"), open(1, "y"), grow(1, "{}"), close(0), close(1), Event::End];
    let told = written(events);
    let kinds: Vec<&str> = told.lines().filter_map(|line| line.strip_prefix("event: ")).collect();
    let call = ["tool-call-start", "tool-call-delta", "tool-call-end"];
    assert_eq!(kinds, [&call[..], &call[..], &["message-end"]].concat());
}
