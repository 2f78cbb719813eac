#![allow(clippy::unwrap_used)]

mod property;

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::*;
use crate::catalog::{Dialect, Operation};
use crate::dialect::ir::*;
use crate::ledger::record::Usage;

const TO: To<'static> = To { model: "llama3.2", facts: None };

fn called(operation: Operation) -> Called {
    Called::new(operation, Dialect::Ollama)
}

fn asked(operation: Operation) -> Asked {
    let request = Request { model: "asked/model".into(), ..Request::default() };
    Asked { called: called(operation), request: Arc::new(request), body: Bytes::from_static(b"{}") }
}

fn chat(body: &Value) -> Request {
    Ollama.decode_request(&called(Operation::Chat), body.to_string().as_bytes()).unwrap()
}

fn generate(body: &Value) -> Request {
    Ollama.decode_request(&called(Operation::Completions), body.to_string().as_bytes()).unwrap()
}

fn encoded(request: &Request) -> (Value, Dropped) {
    let mut dropped = Dropped::default();
    let body = Ollama.encode_request(request, &TO, &mut dropped).unwrap();
    (serde_json::from_slice(&body).unwrap(), dropped)
}

fn streamed(text: &str, size: usize) -> Vec<Event> {
    let (mut reader, mut events) = (Ollama.stream_reader(), Vec::new());
    text.as_bytes().chunks(size).for_each(|piece| reader.push(piece, &mut events));
    reader.finish(&mut events);
    events
}

fn collected(events: Vec<Event>) -> Result<Answer, Trouble> {
    let mut collector = Collector::default();
    events.into_iter().for_each(|event| collector.take(event));
    collector.finish()
}

fn written(operation: Operation, events: Vec<Event>) -> String {
    let (mut writer, mut out) = (Ollama.stream_writer(&asked(operation)), Vec::new());
    events.into_iter().for_each(|event| writer.write(event, &mut out));
    String::from_utf8(out).unwrap()
}

fn answered(answer: Answer, operation: Operation) -> Value {
    serde_json::from_slice(&Ollama.encode_answer(answer, &asked(operation), &mut Dropped::default())).unwrap()
}

/// The examples of Ollama's API documentation for `/api/chat`, without their question marks.
fn documented() -> Vec<Value> {
    let schema = json!({ "type": "object", "properties": { "age": { "type": "integer" } }, "required": ["age"] });
    vec![
        json!({ "model": "llama3.2", "messages": [{ "role": "user", "content": "why is the sky blue" }] }),
        json!({ "model": "llama3.1", "messages": [{ "role": "user", "content": "Return JSON" }], "stream": false, "format": schema,
                "options": { "temperature": 0 } }),
        json!({ "model": "llama3.2", "messages": [{ "role": "user", "content": "why" }, { "role": "assistant", "content": "due to rayleigh scattering." },
                { "role": "user", "content": "how" }] }),
        json!({ "model": "llava", "messages": [{ "role": "user", "content": "what is in this image", "images": ["iVBORw0KGgoAAAA="] }] }),
        json!({ "model": "llama3.2", "messages": [{ "role": "user", "content": "Hello!" }], "options": { "seed": 101, "temperature": 0 } }),
        json!({ "model": "llama3.2", "messages": [{ "role": "user", "content": "What is the weather" }], "stream": false, "tools": [{ "type": "function",
                "function": { "name": "get_current_weather", "description": "Get the weather", "parameters": { "type": "object",
                "properties": { "location": { "type": "string" } }, "required": ["location"] } } }] }),
        json!({ "model": "qwen3", "messages": [{ "role": "user", "content": "hi" }, { "role": "assistant", "content": "", "thinking": "hm",
                "tool_calls": [{ "id": "a", "function": { "index": 0, "name": "f", "arguments": { "x": 1 } } }] },
                { "role": "tool", "content": "11", "tool_name": "f", "tool_call_id": "a" }], "think": "high", "keep_alive": "5m" }),
        json!({ "model": "m", "messages": [{ "role": "user", "content": "hi" }], "options": { "num_keep": 5, "seed": 42, "num_predict": 100, "top_k": 20,
                "top_p": 0.9, "min_p": 0.0, "repeat_penalty": 1.2, "presence_penalty": 1.5, "frequency_penalty": 1.0, "stop": ["\n", "user:"], "num_ctx": 1024 } }),
    ]
}

/// Numbers in one spelling, and what is absent as it would be taken.
fn normal(value: &Value) -> Value {
    match value {
        Value::Number(number) => Value::from(number.as_f64().unwrap()),
        Value::Array(list) => list.iter().map(normal).collect(),
        Value::Object(members) => {
            let mut members: Map<String, Value> = members.iter().map(|(name, value)| (name.clone(), normal(value))).collect();
            if members.contains_key("messages") {
                members.entry("stream").or_insert(Value::from(true));
                members.remove("model");
            }
            Value::Object(members)
        }
        other => other.clone(),
    }
}

#[test]
fn documented_requests_keep_their_meaning() {
    for body in documented() {
        let mut request = chat(&body);
        request.stream = body["stream"].as_bool().unwrap_or(true);
        let (again, dropped) = encoded(&request);
        assert_eq!(normal(&again), normal(&body));
        assert!(dropped.is_empty(), "{body}");
    }
}

#[test]
fn a_completion_becomes_a_chat() {
    let request =
        generate(&json!({ "model": "m", "system": "be kind", "prompt": "hi", "images": ["/9j/AAAA"], "suffix": "end", "raw": true,
        "template": "t", "format": "json", "think": false, "options": { "num_predict": -1, "stop": "x" } }));
    assert_eq!(request.messages.len(), 2);
    assert_eq!(request.messages[0], Message::new(Role::System, vec![Block::text("be kind")]));
    assert_eq!(request.messages[1].content[0], Block::text("hi"));
    assert!(matches!(&request.messages[1].content[1].content, Content::Media(media) if media.media_type.as_deref() == Some("image/jpeg")));
    assert_eq!((request.format, request.sampling.max_output), (Some(Format::JsonObject), None));
    assert_eq!(request.sampling.stop, ["x"]);
    let mut extra: Vec<&str> = request.extra.fields.keys().map(String::as_str).collect();
    extra.sort_unstable();
    assert_eq!(extra, ["raw", "suffix", "template"]);
    assert!(request.thinking.unwrap().is_off());
    let refusal = Ollama.decode_request(&called(Operation::Completions), b"{\"model\":\"m\"}").unwrap_err();
    assert_eq!(refusal.param, Some("prompt"));
}

#[test]
fn results_without_ids_find_their_calls() {
    let call = |name: &str| json!({ "function": { "name": name, "arguments": {} } });
    let request = chat(&json!({ "messages": [
        { "role": "user", "content": "q" },
        { "role": "assistant", "content": "", "tool_calls": [call("f"), call("g"), call("f")] },
        { "role": "tool", "content": "of g", "tool_name": "g" },
        { "role": "tool", "content": "of f", "tool_name": "f" },
        { "role": "tool", "content": "of the other f" },
        { "role": "assistant", "content": "", "tool_calls": [call("f")] },
        { "role": "tool", "content": "later" },
    ] }));
    let pairs: Vec<(&str, &str)> = request
        .messages
        .iter()
        .flat_map(|message| &message.content)
        .filter_map(|block| match &block.content {
            Content::ToolResult(result) => Some((result.call_id.as_str(), result.content[0].as_text().unwrap())),
            _ => None,
        })
        .collect();
    assert_eq!(pairs, [("call_1", "of g"), ("call_0", "of f"), ("call_2", "of the other f"), ("call_3", "later")]);
    let alone = json!({ "messages": [{ "role": "tool", "content": "x" }] });
    assert_eq!(Ollama.decode_request(&called(Operation::Chat), alone.to_string().as_bytes()).unwrap_err().param, Some("messages"));
}

const STREAM: &str = r#"{"model":"qwen3","created_at":"2025-07-07T20:22:19.184789Z","message":{"role":"assistant","content":"","thinking":"h"},"done":false}
{"model":"qwen3","created_at":"2025-07-07T20:22:19.184789Z","message":{"role":"assistant","content":"","thinking":"m"},"done":false}
{"model":"qwen3","created_at":"2025-07-07T20:22:19.2Z","message":{"role":"assistant","content":"It "},"done":false,"logprobs":[{"token":"It","logprob":-0.5,"bytes":[73,116],"top_logprobs":[{"token":"Is","logprob":-1.5}]}]}
{"model":"qwen3","created_at":"2025-07-07T20:22:19.2Z","message":{"role":"assistant","content":"is","images":null},"done":false}
{"model":"qwen3","created_at":"2025-07-07T20:22:19.2Z","message":{"role":"assistant","content":"","tool_calls":[{"id":"c1","function":{"index":0,"name":"f","arguments":{"a":1}}},{"id":"c2","function":{"index":1,"name":"g","arguments":{}}}]},"done":false}
{"model":"qwen3","created_at":"2025-07-07T20:22:20Z","message":{"role":"assistant","content":""},"done_reason":"stop","done":true,"total_duration":885095291,"load_duration":3753500,"prompt_eval_count":122,"prompt_eval_duration":328493000,"eval_count":33,"eval_duration":552222000}
"#;

#[test]
fn a_stream_torn_anywhere_reads_alike() {
    let whole = streamed(STREAM, STREAM.len());
    for size in 1..STREAM.len() {
        assert_eq!(streamed(STREAM, size), whole, "in pieces of {size}");
    }
    assert_eq!(whole.last(), Some(&Event::End));
    // The last line may lack its break; without the last line there is no end.
    assert_eq!(streamed(STREAM.trim_end(), 50), whole);
    assert!(!streamed(&STREAM[..400], 50).contains(&Event::End));
    let answer = collected(whole).unwrap();
    let [thinking, said, first, second] = answer.choices[0].content.as_slice() else { panic!("{answer:?}") };
    assert!(matches!(&thinking.content, Content::Reasoning(reasoning) if reasoning.text == "hm"));
    assert_eq!(said.as_text(), Some("It is"));
    assert!(matches!(&first.content, Content::ToolCall(call) if call.arguments == "{\"a\":1}" && call.id == "c1"));
    assert!(matches!(&second.content, Content::ToolCall(call) if call.arguments == "{}" && call.name == "g"));
    assert_eq!(answer.choices[0].finish, Finish::ToolCalls);
    assert_eq!(answer.choices[0].logprobs[0].top[0].token, "Is");
    assert_eq!(answer.usage, Some(Usage { input: 122, output: 33, ..Usage::default() }));
    assert_eq!((answer.model.as_str(), answer.created), ("qwen3", 1_751_919_739));
    // What is written reads as what it was, whole and streamed.
    let again = collected(streamed(&written(Operation::Chat, answer.clone().into_events()), 11)).unwrap();
    assert_eq!(again, answer);
    let body = answered(answer.clone(), Operation::Chat);
    assert_eq!(Ollama.decode_answer(body.to_string().as_bytes()).unwrap(), answer);
}

#[test]
fn a_completion_is_answered_in_its_own_shape() {
    let lines = r#"{"model":"m","created_at":"2023-08-04T08:52:19.385406455-07:00","response":"The","done":false}
{"model":"m","created_at":"2023-08-04T19:22:45.499127Z","response":"","done":true,"done_reason":"length","context":[1,2,3],"prompt_eval_count":26,"eval_count":259}
"#;
    let answer = collected(streamed(lines, 13)).unwrap();
    assert_eq!((answer.choices[0].text().as_str(), &answer.choices[0].finish), ("The", &Finish::Length));
    let body = answered(answer.clone(), Operation::Completions);
    assert_eq!((&body["response"], &body["done"], &body["done_reason"]), (&json!("The"), &json!(true), &json!("length")));
    assert_eq!((&body["prompt_eval_count"], &body["message"]), (&json!(26), &Value::Null));
    let told = written(Operation::Completions, answer.clone().into_events());
    let lines: Vec<Value> = told.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&lines[0]["response"], &lines[1]["done"], &lines[1]["eval_count"]), (&json!("The"), &json!(true), &json!(259)));
    assert!(lines.iter().all(|line| line.get("message").is_none()));
}

#[test]
fn an_error_in_the_middle_of_a_stream_is_told() {
    let text = format!("{}\n{{\"error\":\"an error was encountered while running the model\"}}\n", STREAM.lines().next().unwrap());
    let trouble = collected(streamed(&text, 20)).unwrap_err();
    assert_eq!(trouble.message, "an error was encountered while running the model");
    let told = written(Operation::Chat, vec![Event::Trouble(trouble.clone())]);
    assert_eq!(collected(streamed(&told, 20)).unwrap_err().message, trouble.message);
    assert_eq!(Ollama.decode_answer(b"{\"error\":\"no\"}").unwrap_err(), "no");
}

#[test]
fn done_reasons_keep_their_meaning() {
    for (reason, expected) in [
        ("stop", Finish::Stop),
        ("length", Finish::Length),
        ("content_filter", Finish::ContentFilter),
        ("load", Finish::Other("load".into())),
        ("unload", Finish::Other("unload".into())),
    ] {
        assert_eq!(finish(Some(reason), false), expected);
        assert_eq!(done_reason(&expected), reason);
    }
    assert_eq!((finish(None, false), finish(Some("stop"), true)), (Finish::Stop, Finish::ToolCalls));
}

#[test]
fn what_ollama_cannot_be_sent_is_adjusted_named_or_refused() {
    let call = ToolCall { id: "c".into(), name: "f".into(), arguments: "not json".into(), is_custom: false, signature: None };
    let function = |name: &str| Tool::Function(Function { name: name.into(), strict: Some(true), ..Function::default() });
    let document = Media {
        name: Some("a.txt".into()),
        ..Media::new(MediaKind::Document, MediaSource::Base64("aGk=".into()), Some("text/plain".into()))
    };
    let foreign = Reasoning { text: "hm".into(), signature: Some(Signature::new(Dialect::Gemini, "s")), ..Reasoning::default() };
    let request = Request {
        messages: vec![
            Message::new(Role::User, vec![Block::text("a"), Block::text("b"), Content::Media(document).into()]),
            Message::new(Role::Assistant, vec![Content::Reasoning(foreign).into(), Content::ToolCall(call).into()]),
        ],
        tools: vec![function("f"), function("g")],
        tool_choice: Some(ToolChoice::Tool("g".into())),
        thinking: Some(Thinking { budget: Some(20_000), ..Thinking::default() }),
        ..Request::default()
    };
    let (body, dropped) = encoded(&request);
    assert_eq!(body["messages"][0]["content"], "a\n\nb\n\na.txt:\nhi");
    assert_eq!(body["messages"][1]["tool_calls"][0]["function"]["arguments"], json!({ "input": "not json" }));
    assert_eq!((&body["tools"][0]["function"]["name"], &body["tools"][1], &body["think"]), (&json!("g"), &Value::Null, &json!("high")));
    assert_eq!(dropped.names().collect::<Vec<_>>(), ["reasoning", "tool_choice", "strict", "thinking"]);
    let none = Request { tool_choice: Some(ToolChoice::None), ..request.clone() };
    assert_eq!(encoded(&none).0["tools"], Value::Null);
    let pdf = Media::new(MediaKind::Document, MediaSource::Base64("AAAA".into()), Some("application/pdf".into()));
    let refused = Request { messages: vec![Message::new(Role::User, vec![Content::Media(pdf).into()])], ..Request::default() };
    assert_eq!(Ollama.encode_request(&refused, &TO, &mut Dropped::default()).unwrap_err().code, "not_expressible");
}
