#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;
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
    assert_eq!(dropped.names().collect::<Vec<_>>(), ["reasoning", "tool_choice", "strict", "reasoning_budget"]);
    let none = Request { tool_choice: Some(ToolChoice::None), ..request.clone() };
    assert_eq!(encoded(&none).0["tools"], Value::Null);
    let pdf = Media::new(MediaKind::Document, MediaSource::Base64("AAAA".into()), Some("application/pdf".into()));
    let refused = Request { messages: vec![Message::new(Role::User, vec![Content::Media(pdf).into()])], ..Request::default() };
    assert_eq!(Ollama.encode_request(&refused, &TO, &mut Dropped::default()).unwrap_err().code, "not_expressible");
}

fn text() -> impl Strategy<Value = String> {
    "[a-zé \\n\"{}:]{1,12}"
}

/// From 0 to 2 in hundredths, which text says exactly.
fn share() -> impl Strategy<Value = f64> {
    (0u32..=200).prop_map(|n| f64::from(n) / 100.0)
}

fn images() -> impl Strategy<Value = Vec<Block>> {
    let image = proptest::sample::select(vec!["iVBORw0KGgoAAAA=", "/9j/AAAA", "R0lGODAA", "UklGRgAA", "AAAA"]);
    proptest::collection::vec(image.prop_map(|data| message::image(data.to_owned())), 0..2)
}

fn said() -> impl Strategy<Value = Vec<Block>> {
    (text(), images()).prop_map(|(text, images)| std::iter::once(Block::text(text)).chain(images).collect())
}

/// What the model says, and what its tools answer.
fn turn() -> impl Strategy<Value = (Vec<Block>, Vec<Block>)> {
    let calls = proptest::collection::vec((text(), text(), text()), 1..3);
    (proptest::option::of(text()), text(), calls).prop_map(|(thought, said, calls)| {
        let reasoning = thought.and_then(|text| message::reasoning(Some(text), None, false));
        let mut spoken: Vec<Block> = reasoning.into_iter().chain([Block::text(said)]).collect();
        let mut results = Vec::new();
        for (at, (name, value, result)) in calls.into_iter().enumerate() {
            let id = format!("c{at}");
            let arguments = json!({ "a": value }).to_string();
            let call = ToolCall { id: id.clone(), name: name.clone(), arguments, is_custom: false, signature: None };
            spoken.push(Content::ToolCall(call).into());
            let result =
                ToolResult { call_id: id, name: Some(name), content: vec![Block::text(result)], is_error: false, is_custom: false };
            results.push(Content::ToolResult(result).into());
        }
        (spoken, results)
    })
}

prop_compose! {
    fn request()(
        system in proptest::option::of(text()),
        turns in proptest::collection::vec((said(), turn()), 0..3),
        last in said(),
        tools in proptest::collection::vec((text(), proptest::option::of(text())), 0..3),
        format in proptest::option::of(prop_oneof![
            Just(Format::JsonObject),
            Just(Format::JsonSchema { name: String::new(), description: None, schema: json!({ "type": "object" }), strict: None }),
        ]),
        thinking in proptest::option::of(prop_oneof![
            any::<bool>().prop_map(|enabled| Thinking { enabled: Some(enabled), ..Thinking::default() }),
            proptest::sample::select(vec![Effort::Low, Effort::Medium, Effort::High]).prop_map(|effort| Thinking { effort: Some(effort), ..Thinking::default() }),
        ]),
        numbers in (any::<Option<u32>>(), proptest::option::of(share()), proptest::option::of(share()), any::<Option<u32>>()),
        more in (any::<Option<i32>>(), proptest::option::of(share()), proptest::option::of(share()), any::<Option<bool>>(), any::<Option<u32>>()),
        stop in proptest::collection::vec(text(), 0..3),
        extra in any::<bool>(),
    ) -> Request {
        let mut messages: Vec<Message> = system.map(|text| Message::new(Role::System, vec![Block::text(text)])).into_iter().collect();
        for (user, (assistant, tool)) in turns {
            messages.push(Message::new(Role::User, user));
            messages.push(Message::new(Role::Assistant, assistant));
            messages.push(Message::new(Role::Tool, tool));
        }
        messages.push(Message::new(Role::User, last));
        let function = |(name, description)| {
            Tool::Function(Function { name, description, parameters: Some(json!({ "type": "object" })), ..Function::default() })
        };
        let fields = Map::from_iter([("keep_alive".to_owned(), json!("5m")), ("options".to_owned(), json!({ "num_ctx": 1024 }))]);
        Request {
            messages,
            tools: tools.into_iter().map(function).collect(),
            format,
            thinking,
            sampling: Sampling {
                max_output: numbers.0.map(u64::from), temperature: numbers.1, top_p: numbers.2, top_k: numbers.3.map(u64::from),
                seed: more.0.map(i64::from), frequency_penalty: more.1, presence_penalty: more.2, logprobs: more.3, top_logprobs: more.4,
                stop, ..Sampling::default()
            },
            extra: if extra { Extra::new(Dialect::Ollama, fields) } else { Extra::default() },
            ..Request::default()
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn what_is_written_is_read(request in request()) {
        let mut dropped = Dropped::default();
        let body = Ollama.encode_request(&request, &TO, &mut dropped).unwrap();
        let again = Ollama.decode_request(&called(Operation::Chat), &body).unwrap();
        prop_assert_eq!(&again, &request, "{}", String::from_utf8_lossy(&body));
        prop_assert!(dropped.is_empty(), "{:?}", dropped);
    }

    #[test]
    fn answers_that_are_written_are_read((content, _) in turn(), size in 1usize..40) {
        let usage = Usage { input: 10, output: 4, ..Usage::default() };
        let choice = Choice { content, finish: Finish::ToolCalls, logprobs: Vec::new() };
        let answer = Answer { model: "m".into(), created: 7, choices: vec![choice], usage: Some(usage), ..Answer::default() };
        let body = answered(answer.clone(), Operation::Chat);
        prop_assert_eq!(&Ollama.decode_answer(body.to_string().as_bytes()).unwrap(), &answer);
        prop_assert_eq!(&collected(streamed(&written(Operation::Chat, answer.clone().into_events()), size)).unwrap(), &answer);
    }

    #[test]
    fn no_bytes_panic(bytes: Vec<u8>, text in "[\\[\\]{}\":,a-z0-9\\n ]{0,60}") {
        for input in [bytes.as_slice(), text.as_bytes()] {
            let _ = Ollama.decode_request(&called(Operation::Chat), input);
            let _ = Ollama.decode_request(&called(Operation::Completions), input);
            let _ = Ollama.decode_answer(input);
            let (mut reader, mut events) = (Ollama.stream_reader(), Vec::new());
            reader.push(input, &mut events);
            reader.finish(&mut events);
        }
    }

    #[test]
    fn no_json_panics(body in json_like()) {
        let bytes = body.to_string();
        let _ = Ollama.decode_request(&called(Operation::Chat), bytes.as_bytes());
        let _ = Ollama.decode_request(&called(Operation::Completions), bytes.as_bytes());
        let _ = Ollama.decode_answer(bytes.as_bytes());
        let _ = streamed(&bytes, 7);
    }
}

/// JSON whose members have the dialect's names and any values.
fn json_like() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        text().prop_map(Value::from)
    ];
    leaf.prop_recursive(5, 48, 5, |inner| {
        let name = proptest::sample::select(vec![
            "messages",
            "role",
            "content",
            "prompt",
            "system",
            "images",
            "thinking",
            "tool_calls",
            "function",
            "arguments",
            "options",
            "stop",
            "message",
            "response",
            "done",
            "done_reason",
            "eval_count",
            "logprobs",
            "error",
            "tools",
            "format",
            "think",
            "created_at",
        ]);
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::vec((name, inner), 0..6)
                .prop_map(|list| Value::Object(list.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())),
        ]
    })
}
