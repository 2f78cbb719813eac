#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::Gemini;
use crate::catalog::{Dialect, Operation};
use crate::dialect::ir::*;
use crate::dialect::{Asked, Called, Codec, To};

/// Beside the repository, or beside the folder of its worktrees.
const TRAFFIC: [&str; 2] = [
    concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/traffic/gemini.jsonl"),
    concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/traffic/gemini.jsonl"),
];

fn called() -> Called {
    Called::new(Operation::Chat, Dialect::Gemini)
}

fn asked() -> Asked {
    Asked { called: called(), request: Arc::new(Request { model: "asked".to_owned(), ..Request::default() }), body: Bytes::new() }
}

fn decode(body: &Value) -> Request {
    Gemini.decode_request(&called(), body.to_string().as_bytes()).unwrap()
}

fn encode_for(model: &str, request: &Request) -> (Value, Dropped) {
    let mut dropped = Dropped::default();
    let body = Gemini.encode_request(request, &To { model, facts: None }, &mut dropped).unwrap();
    (serde_json::from_slice(&body).unwrap(), dropped)
}

fn cases() -> Vec<Value> {
    let Some(text) = TRAFFIC.iter().find_map(|path| std::fs::read_to_string(path).ok()) else {
        eprintln!("skipped: there is no recorded traffic at {TRAFFIC:?}");
        return Vec::new();
    };
    let all = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    all.filter(|case| case["op"] == "chat").collect()
}

fn collect(events: Vec<Event>) -> Answer {
    let mut collector = Collector::default();
    events.into_iter().for_each(|event| collector.take(event));
    collector.finish().unwrap()
}

fn read_stream(pieces: &[&[u8]]) -> Vec<Event> {
    let (mut reader, mut events) = (Gemini.stream_reader(), Vec::new());
    pieces.iter().for_each(|piece| reader.push(piece, &mut events));
    reader.finish(&mut events);
    events
}

/// Neighbouring pieces of the same block joined: tearing may not change anything else.
fn answer_of(case: &Value) -> Answer {
    let response = &case["response"];
    match response.get("text").and_then(Value::as_str) {
        Some(text) => collect(read_stream(&[text.as_bytes()])),
        None => Gemini.decode_answer(response["body"].to_string().as_bytes()).unwrap(),
    }
}

/// A request's body as far as it means something: one spelling, one form of each shorthand.
fn meaning(value: &Value) -> Value {
    let mut body = spelled(value);
    let object = body.as_object_mut().unwrap();
    object.remove("model");
    // Text alone is the default.
    if let Some(config) = object.get_mut("generationConfig").and_then(Value::as_object_mut) {
        if config.get("responseModalities") == Some(&json!(["TEXT"])) {
            config.remove("responseModalities");
        }
        if config.is_empty() {
            object.remove("generationConfig");
        }
    }
    // An instruction's role means nothing.
    if let Some(instruction) = object.get_mut("systemInstruction").and_then(Value::as_object_mut) {
        instruction.remove("role");
    }
    let mut contents: Vec<Value> = Vec::new();
    for content in object["contents"].as_array().unwrap() {
        let mut content = content.clone();
        content.as_object_mut().unwrap().entry("role").or_insert(json!("user"));
        for part in content["parts"].as_array_mut().unwrap() {
            if let Some(call) = part.get_mut("functionCall").and_then(Value::as_object_mut) {
                call.entry("args").or_insert(json!({}));
            }
        }
        match contents.last_mut().filter(|last| last["role"] == content["role"]) {
            // Neighbours of one role are one.
            Some(last) => last["parts"].as_array_mut().unwrap().extend(content["parts"].as_array().unwrap().clone()),
            None => contents.push(content),
        }
    }
    object["contents"] = Value::Array(contents);
    // Functions may be declared one by one.
    if let Some(tools) = object.get_mut("tools").and_then(Value::as_array_mut) {
        for tool in tools.iter_mut() {
            for function in tool.get_mut("functionDeclarations").and_then(Value::as_array_mut).into_iter().flatten() {
                let function = function.as_object_mut().unwrap();
                if let Some(schema) = function.remove("parameters") {
                    function.insert("parametersJsonSchema".to_owned(), super::schema::from_google(schema));
                }
            }
        }
        let (mut functions, mut rest): (Vec<Value>, Vec<Value>) = (Vec::new(), Vec::new());
        for mut tool in std::mem::take(tools) {
            match tool.get_mut("functionDeclarations") {
                Some(list) => functions.append(list.as_array_mut().unwrap()),
                None => rest.push(tool),
            }
        }
        tools.push(json!({ "functionDeclarations": functions, "others": rest }));
    }
    body
}

/// camelCase outside of what the caller names, and base64 in one alphabet.
fn spelled(value: &Value) -> Value {
    const OPAQUE: [&str; 6] = ["args", "response", "parametersJsonSchema", "responseJsonSchema", "parameters", "fileSearch"];
    match value {
        Value::Object(object) => {
            let member = |(name, value): (&String, &Value)| {
                let name = super::fields::camel(name);
                let value = match value {
                    value if OPAQUE.contains(&name.as_str()) => value.clone(),
                    Value::String(text) if name == "data" => json!(super::carry::standard(text)),
                    value => spelled(value),
                };
                (name, value)
            };
            Value::Object(object.iter().map(member).collect())
        }
        Value::Array(list) => list.iter().map(spelled).collect(),
        other => other.clone(),
    }
}

#[test]
fn recorded_requests_keep_their_meaning() {
    let (mut seen, mut wrong) = (0, Vec::new());
    for case in cases() {
        let body = &case["request"]["body"];
        let model = case["request"]["path"].as_str().unwrap().rsplit('/').next().unwrap().split(':').next().unwrap().to_owned();
        seen += 1;
        let (mut again, _) = encode_for(&model, &decode(body));
        // What is put there for want of a signature says nothing.
        strip_placeholders(&mut again);
        let mut given = body.clone();
        strip_placeholders(&mut given);
        if meaning(&given) != meaning(&again) {
            wrong.push(format!("{}\n{}\n{}", case["id"], meaning(&given), meaning(&again)));
        }
    }
    eprintln!("{} of {seen} recorded requests", seen - wrong.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

fn strip_placeholders(body: &mut Value) {
    for part in body["contents"].as_array_mut().into_iter().flatten().flat_map(|content| content["parts"].as_array_mut().unwrap()) {
        if part.get("thoughtSignature") == Some(&json!("skip_thought_signature_validator")) {
            part.as_object_mut().unwrap().remove("thoughtSignature");
        }
    }
}

#[test]
fn recorded_answers_say_what_they_said() {
    let mut wrong = Vec::new();
    let cases: Vec<Value> = cases().into_iter().filter(|case| case["truth"].get("error").is_none()).collect();
    for case in &cases {
        let (answer, truth) = (answer_of(case), &case["truth"]);
        let choice = &answer.choices[0];
        let reasoning: String = choice
            .content
            .iter()
            .filter_map(|block| if let Content::Reasoning(reasoning) = &block.content { Some(reasoning.text.as_str()) } else { None })
            .collect();
        let calls: Vec<Value> = choice
            .content
            .iter()
            .filter_map(|block| if let Content::ToolCall(call) = &block.content { Some(call) } else { None })
            .map(|call| json!({ "name": call.name, "arguments": serde_json::from_str::<Value>(&call.arguments).unwrap() }))
            .collect();
        let finish = match &choice.finish {
            Finish::Stop => json!("stop"),
            Finish::ToolCalls => json!("tool_calls"),
            Finish::Length => json!("length"),
            Finish::ContentFilter => json!("content_filter"),
            Finish::Other(name) => json!(name),
            other => json!(format!("{other:?}")),
        };
        let usage = answer.usage.unwrap();
        let cached = truth["usage"]["cached"].as_u64().unwrap_or(0);
        let mut said = json!({ "text": choice.text(), "reasoning": reasoning, "tool_calls": calls, "finish_reason": finish,
            "usage": { "input": usage.input, "output": usage.output, "cached": usage.cached } });
        let told = &truth["usage"];
        let mut expected = json!({ "text": truth["text"], "reasoning": truth["reasoning"], "tool_calls": truth["tool_calls"],
            "finish_reason": truth["finish_reason"],
            "usage": { "input": told["input"], "output": told["output"].as_u64().unwrap_or(0), "cached": cached } });
        // The truth leaves out calls whose arguments come in pieces: they are checked by a test of their own.
        if truth["builtin"].as_array().is_some_and(|list| list.contains(&json!("partialArgs"))) {
            for side in [&mut said, &mut expected] {
                side.as_object_mut().unwrap().retain(|name, _| !matches!(name.as_str(), "tool_calls" | "finish_reason"));
            }
        }
        if said != expected {
            wrong.push(format!("{}\n{said}\n{expected}", case["id"]));
        }
    }
    eprintln!("{} of {} recorded answers", cases.len() - wrong.len(), cases.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn recorded_streams_torn_anywhere_read_alike() {
    for case in cases() {
        let Some(text) = case["response"].get("text").and_then(Value::as_str) else { continue };
        let whole = read_stream(&[text.as_bytes()]);
        assert!(matches!(whole.last(), Some(Event::End)), "{}", case["id"]);
        if text.len() < 4000 {
            for at in 0..text.len() {
                let (first, rest) = text.as_bytes().split_at(at);
                assert_eq!(read_stream(&[first, rest]), whole, "{} at {at}", case["id"]);
            }
        }
        for size in [1, 2, 3, 5, 7, 64, 1000] {
            let pieces: Vec<&[u8]> = text.as_bytes().chunks(size).collect();
            assert_eq!(read_stream(&pieces), whole, "{} by {size}", case["id"]);
        }
    }
}

#[test]
fn recorded_answers_written_again_say_the_same() {
    for case in cases().into_iter().filter(|case| case["truth"].get("error").is_none()) {
        let mut answer = answer_of(&case);
        let written = Gemini.encode_answer(answer.clone(), &asked(), &mut Dropped::default());
        let again = Gemini.decode_answer(&written).unwrap();
        assert_eq!(again, answer, "{}", case["id"]);
        let (mut writer, mut out) = (Gemini.stream_writer(&asked()), Vec::new());
        answer.clone().into_events().into_iter().for_each(|event| writer.write(event, &mut out));
        let streamed = collect(read_stream(&[&out]));
        // What stands beside the candidates of a whole answer alone.
        answer.created = 0;
        answer.service_tier = None;
        answer.extra = Extra::default();
        assert_eq!(cited_where_said(streamed), answer, "{}", case["id"]);
    }
}

/// A stream tells what it cites at its end, when the text that cites it may be closed: then it stands in an empty text of its own.
fn cited_where_said(mut answer: Answer) -> Answer {
    for choice in &mut answer.choices {
        let is_late =
            |block: &Block| matches!(&block.content, Content::Text { text, citations } if text.is_empty() && !citations.is_empty());
        let Some(at) = choice.content.iter().position(is_late) else { continue };
        let Content::Text { citations: late, .. } = choice.content.remove(at).content else { unreachable!("it was found as text") };
        let last = choice
            .content
            .iter_mut()
            .rev()
            .find_map(|block| if let Content::Text { citations, .. } = &mut block.content { Some(citations) } else { None });
        last.unwrap().extend(late);
    }
    answer
}

#[test]
fn recorded_errors_are_read() {
    for case in cases().into_iter().filter(|case| case["truth"].get("error").is_some()) {
        let status = u16::try_from(case["response"]["status"].as_u64().unwrap()).unwrap();
        let trouble = Gemini.decode_trouble(status, case["response"]["body"].to_string().as_bytes());
        assert_eq!(json!(trouble.message), case["truth"]["error"]["message"]);
        assert_eq!(trouble.kind, TroubleKind::of_status(status));
    }
}

#[test]
fn arguments_in_pieces_are_put_together() {
    let chunk = |call: Value| format!("data: {}\n\n", json!({ "candidates": [{ "content": { "parts": [{ "functionCall": call }] } }] }));
    let text = [
        json!({ "name": "f", "willContinue": true }),
        json!({ "partialArgs": [{ "jsonPath": "$.a.list[0].n", "stringValue": "x", "willContinue": true }], "willContinue": true }),
        json!({ "partialArgs": [{ "jsonPath": "$.a.list[0].n", "stringValue": "y" }], "willContinue": true }),
        json!({ "partialArgs": [{ "jsonPath": "$.a.list[1]", "numberValue": 2 }, { "jsonPath": "$['two words']", "boolValue": true }], "willContinue": true }),
        json!({}),
    ];
    let mut stream: String = text.into_iter().map(chunk).collect();
    stream.push_str("data: {\"candidates\":[{\"finishReason\":\"STOP\"}]}\n\n");
    let answer = collect(read_stream(&[stream.as_bytes()]));
    let Content::ToolCall(call) = &answer.choices[0].content[0].content else { panic!("{answer:?}") };
    let args: Value = serde_json::from_str(&call.arguments).unwrap();
    assert_eq!(args, json!({ "a": { "list": [{ "n": "xy" }, 2] }, "two words": true }));
    assert_eq!(answer.choices[0].finish, Finish::ToolCalls);
}

/// JSON of any shape, with the members that the decoders look for.
fn any_json() -> impl Strategy<Value = Value> {
    let names = prop::sample::select(vec![
        "contents",
        "parts",
        "role",
        "text",
        "functionCall",
        "function_response",
        "args",
        "name",
        "id",
        "response",
        "thought",
        "thoughtSignature",
        "inlineData",
        "fileData",
        "data",
        "mimeType",
        "tools",
        "functionDeclarations",
        "parameters",
        "type",
        "toolConfig",
        "functionCallingConfig",
        "mode",
        "generationConfig",
        "thinkingConfig",
        "stopSequences",
        "systemInstruction",
        "candidates",
        "content",
        "finishReason",
        "usageMetadata",
        "groundingMetadata",
        "groundingChunks",
        "groundingSupports",
        "segment",
        "startIndex",
        "endIndex",
        "groundingChunkIndices",
        "web",
        "uri",
        "partialArgs",
        "jsonPath",
        "stringValue",
        "willContinue",
        "error",
        "promptFeedback",
        "blockReason",
        "logprobsResult",
        "chosenCandidates",
        "citationMetadata",
        "citations",
        "executableCode",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a-zA-Zé$.\\[\\]0-9]{0,8}".prop_map(Value::from),
        prop::sample::select(vec!["user", "model", "STOP", "ANY", "OBJECT", "image/png", "$.a[0]", "$.a[99999999]"]).prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 64, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((names.clone(), inner), 0..6)
                .prop_map(|members| Value::Object(members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())),
        ]
    })
}

fn word() -> impl Strategy<Value = String> {
    "[a-zé \"\\\\\n]{0,6}[a-zA-Z0-9]"
}

fn signature() -> impl Strategy<Value = Option<Signature>> {
    prop::option::of("[A-Za-z0-9+/]{7}=".prop_map(|value| Signature::new(Dialect::Gemini, value)))
}

fn media() -> impl Strategy<Value = Content> {
    let kinds = prop::sample::select(vec![
        (MediaKind::Image, "image/png"),
        (MediaKind::Audio, "audio/wav"),
        (MediaKind::Video, "video/mp4"),
        (MediaKind::Document, "application/pdf"),
    ]);
    let sources = prop_oneof![
        "[A-Za-z0-9+/]{7}=".prop_map(MediaSource::Base64),
        "gs://[a-z]{3}/[a-z]{3}".prop_map(MediaSource::Url),
        "https://generativelanguage\\.googleapis\\.com/v1beta/files/[a-z]{3}".prop_map(|id| MediaSource::File { of: Dialect::Gemini, id }),
    ];
    (kinds, sources).prop_map(|((kind, media_type), source)| Content::Media(Media::new(kind, source, Some(media_type.to_owned()))))
}

fn natives() -> impl Strategy<Value = Content> {
    prop_oneof![
        word().prop_map(|code| Content::Builtin(Builtin {
            kind: BuiltinKind::CodeExecution,
            of: Dialect::Gemini,
            value: json!({ "executableCode": { "language": "PYTHON", "code": code } })
        })),
        word().prop_map(|uri| Content::Other {
            of: Dialect::Gemini,
            value: json!({ "fileData": { "fileUri": uri }, "videoMetadata": { "fps": 2 } })
        }),
    ]
}

/// A user's message; then one of the model's with calls, and their results, so that each id is there once.
fn turn(number: usize) -> impl Strategy<Value = Vec<Message>> {
    let text = || word().prop_map(|text| Content::Text { text, citations: Vec::new() });
    let user = prop::collection::vec(prop_oneof![text(), media(), natives()], 1..4);
    let reasoning = (word(), "[A-Za-z0-9+/]{7}=").prop_map(|(text, value)| {
        Content::Reasoning(Reasoning { text, signature: Some(Signature::new(Dialect::Gemini, value)), ..Reasoning::default() })
    });
    let said = prop::collection::vec(prop_oneof![reasoning, text(), media(), natives()], 0..4);
    let outcome = prop_oneof![
        (word(), any::<bool>()).prop_map(|(text, is_error)| (vec![Block::text(text)], is_error)),
        word().prop_map(|text| (vec![Content::Json(json!({ "a": text, "b": 1 })).into()], false)),
        Just((vec![Content::Json(json!([1])).into()], true)),
        Just((Vec::new(), false)),
    ];
    let call = (word(), word(), signature(), outcome);
    (user, said, prop::collection::vec(call, 1..3)).prop_map(move |(user, said, calls)| {
        let mut model: Vec<Block> = said.into_iter().map(Block::from).collect();
        let mut results = Vec::new();
        for (at, (name, argument, signature, (content, is_error))) in calls.into_iter().enumerate() {
            let id = format!("id-{number}-{at}");
            let arguments = json!({ "x": argument }).to_string();
            model.push(Content::ToolCall(ToolCall { id: id.clone(), name: name.clone(), arguments, is_custom: false, signature }).into());
            results.push(Content::ToolResult(ToolResult { call_id: id, name: Some(name), content, is_error, is_custom: false }).into());
        }
        vec![
            Message::new(Role::User, user.into_iter().map(Block::from).collect()),
            Message::new(Role::Assistant, model),
            Message::new(Role::Tool, results),
        ]
    })
}

fn messages() -> impl Strategy<Value = Vec<Message>> {
    let system = prop::option::of(prop::collection::vec(word().prop_map(Block::text), 1..3));
    (system, turn(0), turn(1)).prop_map(|(system, first, second)| {
        let system = system.map(|content| Message::new(Role::System, content));
        system.into_iter().chain(first).chain(second).collect()
    })
}

fn tools() -> impl Strategy<Value = Vec<Tool>> {
    let parameters = json!({ "type": "object", "properties": { "x": { "type": ["string", "null"] } }, "required": ["x"] });
    let function = (word(), prop::option::of(word()), prop::option::of(Just(parameters)))
        .prop_map(|(name, description, parameters)| Tool::Function(Function { name, description, parameters, ..Function::default() }));
    let search = Builtin { kind: BuiltinKind::WebSearch, of: Dialect::Gemini, value: json!({ "googleSearch": {} }) };
    prop::collection::vec(prop_oneof![3 => function, 1 => Just(Tool::Builtin(search))], 1..4)
}

fn choices() -> impl Strategy<Value = Option<ToolChoice>> {
    prop::option::of(prop_oneof![
        Just(ToolChoice::Auto),
        Just(ToolChoice::None),
        Just(ToolChoice::Required),
        word().prop_map(ToolChoice::Tool),
        (prop::collection::vec(word(), 2..4), any::<bool>()).prop_map(|(names, required)| ToolChoice::Allowed { names, required }),
    ])
}

fn sampling() -> impl Strategy<Value = Sampling> {
    let numbers = (prop::option::of(1u64..9999), prop::option::of(0u32..=200), prop::option::of(0u32..=100), prop::option::of(1u64..100));
    let more =
        (prop::option::of(any::<i32>()), prop::option::of(-20i32..20), prop::collection::vec(word(), 0..3), prop::option::of(1u32..5));
    (numbers, more, prop::option::of(1u32..=20)).prop_map(|((max_output, temperature, top_p, top_k), (seed, penalty, stop, n), tops)| {
        Sampling {
            max_output,
            temperature: temperature.map(|hundredth| f64::from(hundredth) / 100.0),
            top_p: top_p.map(|hundredth| f64::from(hundredth) / 100.0),
            top_k,
            seed: seed.map(i64::from),
            frequency_penalty: penalty.map(|tenth| f64::from(tenth) / 10.0),
            presence_penalty: penalty.map(|tenth| f64::from(tenth) / 20.0),
            stop,
            n,
            logprobs: tops.map(|_| true),
            top_logprobs: tops,
        }
    })
}

fn formats() -> impl Strategy<Value = Option<Format>> {
    let schema = json!({ "type": "object", "properties": { "y": { "$ref": "#/$defs/Y" } }, "$defs": { "Y": { "type": "integer" } } });
    prop::option::of(prop_oneof![
        Just(Format::Text),
        Just(Format::JsonObject),
        Just(Format::JsonSchema { name: String::new(), description: None, schema, strict: None }),
    ])
}

/// What Gemini can express, for a model of the third generation.
fn requests() -> impl Strategy<Value = Request> {
    let efforts = prop::sample::select(vec![Effort::Minimal, Effort::Low, Effort::Medium, Effort::High]);
    let thinking = prop::option::of(prop_oneof![
        (efforts, prop::option::of(any::<bool>())).prop_map(|(effort, include)| Thinking {
            effort: Some(effort),
            include,
            ..Thinking::default()
        }),
        (1u64..9999).prop_map(|budget| Thinking { budget: Some(budget), ..Thinking::default() }),
    ]);
    let tiers = prop::option::of(prop::sample::select(vec!["flex", "priority", "standard"]));
    let extra = prop::option::of(word().prop_map(|value| {
        let fields = json!({ "safetySettings": [], "generationConfig.mediaResolution": value, "toolConfig.retrievalConfig": {} });
        Extra::new(Dialect::Gemini, fields.as_object().unwrap().clone())
    }));
    (messages(), tools(), choices(), sampling(), formats(), thinking, tiers, extra).prop_map(
        |(messages, tools, tool_choice, sampling, format, thinking, tier, extra)| Request {
            messages,
            tools,
            tool_choice,
            sampling,
            format,
            thinking,
            service_tier: tier.map(str::to_owned),
            extra: extra.unwrap_or_default(),
            ..Request::default()
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn what_it_can_express_comes_back(request in requests()) {
        let mut request = request;
        // Of parallel calls the first has a signature, or gets the one that stands for none.
        for message in request.messages.iter_mut().filter(|message| message.role == Role::Assistant) {
            let first = message.content.iter_mut().find_map(|block| if let Content::ToolCall(call) = &mut block.content { Some(call) } else { None });
            first.unwrap().signature.get_or_insert_with(|| Signature::new(Dialect::Gemini, "AAAA"));
        }
        let (body, dropped) = encode_for("gemini-3-flash-preview", &request);
        prop_assert!(dropped.is_empty(), "{:?}", dropped);
        prop_assert_eq!(decode(&body), request);
    }

    #[test]
    fn no_json_panics(value in any_json()) {
        let body = value.to_string();
        if let Ok(request) = Gemini.decode_request(&called(), body.as_bytes()) {
            for model in ["gemini-2.0-flash", "gemini-2.5-pro", "gemini-3-pro-preview", "other"] {
                let _ = Gemini.encode_request(&request, &To { model, facts: None }, &mut Dropped::default());
            }
        }
        if let Ok(answer) = Gemini.decode_answer(body.as_bytes()) {
            let written = Gemini.encode_answer(answer, &asked(), &mut Dropped::default());
            prop_assert!(Gemini.decode_answer(&written).is_ok());
        }
        let events = read_stream(&[b"data: ", body.as_bytes(), b"\n\n"]);
        let (mut writer, mut out) = (Gemini.stream_writer(&asked()), Vec::new());
        events.into_iter().for_each(|event| writer.write(event, &mut out));
        let _ = Gemini.decode_trouble(400, body.as_bytes());
    }

    #[test]
    fn no_bytes_panic(bytes: Vec<u8>) {
        let _ = Gemini.decode_request(&called(), &bytes);
        let _ = Gemini.decode_answer(&bytes);
        let _ = Gemini.decode_trouble(500, &bytes);
        read_stream(&[&bytes]);
        read_stream(&[b"data: {\"candidates\":", &bytes, b"\n\n"]);
    }
}

fn foreign_turn(reasoning: Reasoning) -> Request {
    let call = |id: &str, name: &str| {
        let arguments = "{}".to_owned();
        Block::from(Content::ToolCall(ToolCall { id: id.to_owned(), name: name.to_owned(), arguments, is_custom: false, signature: None }))
    };
    let result = |id: &str, content: Vec<Block>| {
        Block::from(Content::ToolResult(ToolResult { call_id: id.to_owned(), name: None, content, is_error: false, is_custom: false }))
    };
    let image = || Content::Media(Media::new(MediaKind::Image, MediaSource::Base64("AAAA".into()), Some("image/png".into())));
    Request {
        messages: vec![
            Message::new(Role::System, vec![Block::text("Be brief.")]),
            Message::new(Role::User, vec![Block::text("Look."), Block::text("")]),
            Message::new(Role::Assistant, vec![Content::Reasoning(reasoning).into(), call("c1", "see")]),
            Message::new(Role::Assistant, vec![call("c2", "hear")]),
            Message::new(Role::Tool, vec![result("c2", vec![Block::text("a bell")]), result("c1", vec![image().into()])]),
            Message::new(Role::Developer, vec![Block::text("And kind.")]),
        ],
        ..Request::default()
    }
}

#[test]
fn a_foreign_conversation_fits_each_generation() {
    let foreign = Signature::new(Dialect::AnthropicMessages, "sig");
    let request = foreign_turn(Reasoning { text: "hm".into(), signature: Some(foreign), ..Reasoning::default() });
    let (body, dropped) = encode_for("gemini-3-pro-preview", &request);
    assert_eq!(dropped.names().collect::<Vec<_>>(), ["reasoning"]);
    assert_eq!(body["systemInstruction"]["parts"], json!([{ "text": "Be brief." }, { "text": "And kind." }]));
    let roles: Vec<&str> = body["contents"].as_array().unwrap().iter().map(|content| content["role"].as_str().unwrap()).collect();
    assert_eq!(roles, ["user", "model", "user"]);
    let calls = &body["contents"][1]["parts"];
    assert_eq!(calls[0]["thoughtSignature"], "skip_thought_signature_validator");
    assert_eq!((&calls[0]["functionCall"]["name"], &calls[1]["functionCall"]["name"]), (&json!("see"), &json!("hear")));
    let answers = &body["contents"][2]["parts"];
    assert_eq!(answers[0]["functionResponse"], json!({ "id": "c2", "name": "hear", "response": { "output": "a bell" } }));
    assert_eq!(answers[1]["functionResponse"]["parts"][0]["inlineData"]["mimeType"], "image/png");
    let (body, _) = encode_for("gemini-2.5-flash", &request);
    assert_eq!(body["contents"][1]["parts"][0].get("thoughtSignature"), None);
    assert_eq!(body["contents"][2]["parts"][1]["functionResponse"], json!({ "id": "c1", "name": "see", "response": {} }));
    assert_eq!(body["contents"][3]["parts"][1]["inlineData"]["data"], "AAAA");
}

#[test]
fn json_beside_functions_becomes_an_instruction_before_the_third_generation() {
    let schema = json!({ "$schema": "x", "type": "object", "properties": { "examples": { "const": 1, "examples": [1] } } });
    let request = Request {
        tools: vec![Tool::Function(Function { name: "f".into(), parameters: Some(schema.clone()), ..Function::default() })],
        format: Some(Format::JsonSchema { name: "n".into(), description: None, schema, strict: None }),
        ..foreign_turn(Reasoning::default())
    };
    let (body, dropped) = encode_for("gemini-2.5-flash", &request);
    assert!(dropped.names().any(|name| name == "response_format") && body["generationConfig"].get("responseMimeType").is_none());
    assert!(body["systemInstruction"]["parts"][2]["text"].as_str().unwrap().contains("JSON Schema"));
    let (body, _) = encode_for("gemini-3-flash-preview", &request);
    let clean = json!({ "type": "object", "properties": { "examples": { "enum": [1] } } });
    assert_eq!(body["generationConfig"]["responseJsonSchema"], clean);
    assert_eq!(body["tools"][0]["functionDeclarations"][0]["parametersJsonSchema"], clean);
}

#[test]
fn thinking_is_told_as_the_generation_has_it() {
    let config = |model: &str, thinking: Thinking| {
        let request = Request { thinking: Some(thinking), ..foreign_turn(Reasoning::default()) };
        encode_for(model, &request).0["generationConfig"]["thinkingConfig"].clone()
    };
    let effort = |effort| Thinking { effort: Some(effort), ..Thinking::default() };
    let budget = |budget| Thinking { budget: Some(budget), ..Thinking::default() };
    let on = Thinking { enabled: Some(true), budget: Some(2000), ..Thinking::default() };
    assert_eq!(config("gemini-2.5-flash", effort(Effort::Medium)), json!({ "thinkingBudget": 8192 }));
    assert_eq!(config("gemini-2.5-flash", effort(Effort::None)), json!({ "thinkingBudget": 0 }));
    assert_eq!(config("gemini-2.5-pro", effort(Effort::None)), json!({ "thinkingBudget": 128 }));
    assert_eq!(config("gemini-2.5-flash", on), json!({ "thinkingBudget": 2000, "includeThoughts": true }));
    assert_eq!(config("gemini-2.5-flash", budget(99_999)), json!({ "thinkingBudget": 24_576 }));
    assert_eq!(config("gemini-3-pro-preview", effort(Effort::Medium)), json!({ "thinkingLevel": "HIGH" }));
    assert_eq!(config("gemini-3-flash-preview", effort(Effort::None)), json!({ "thinkingLevel": "MINIMAL" }));
    assert_eq!(config("gemini-3-flash-preview", budget(99)), json!({ "thinkingBudget": 99 }));
    assert_eq!(config("gemini-2.0-flash", effort(Effort::High)), Value::Null);
}

#[test]
fn another_providers_reasoning_comes_back_through_googles_sdk() {
    let signature = Signature::new(Dialect::AnthropicMessages, "a/b+c==");
    let whole = Reasoning { text: "hm".into(), signature: Some(signature.clone()), ..Reasoning::default() };
    let redacted = Reasoning { signature: Some(signature.clone()), is_redacted: true, id: Some("rs_1".into()), ..Reasoning::default() };
    let call = ToolCall { id: "toolu_1".into(), name: "f".into(), arguments: "{}".into(), is_custom: false, signature: None };
    let content = [Content::Reasoning(whole), Content::Reasoning(redacted), Content::ToolCall(call)].map(Block::from).to_vec();
    let choice = Choice { content: content.clone(), finish: Finish::ToolCalls, logprobs: Vec::new() };
    let answer = Answer { id: "msg_1".into(), model: "claude".into(), choices: vec![choice], ..Answer::default() };
    let written = Gemini.encode_answer(answer.clone(), &asked(), &mut Dropped::default());
    let (mut writer, mut streamed) = (Gemini.stream_writer(&asked()), Vec::new());
    answer.into_events().into_iter().for_each(|event| writer.write(event, &mut streamed));
    let said: Value = serde_json::from_slice(&written).unwrap();
    // The SDK reads base64 and writes its other alphabet.
    let mut given = said["candidates"][0]["content"].clone();
    for part in given["parts"].as_array_mut().unwrap() {
        if let Some(signature) = part.get("thoughtSignature").and_then(Value::as_str) {
            part["thoughtSignature"] = json!(signature.replace('+', "-").replace('/', "_"));
        }
    }
    let request = decode(&json!({ "contents": [{ "parts": [{ "text": "Hi" }] }, given] }));
    assert_eq!(request.messages[1].content, content);
    // Some clients move the signature to the call.
    let moved = json!({ "parts": [{ "text": "hm", "thought": true },
        { "functionCall": { "name": "f" }, "thoughtSignature": said["candidates"][0]["content"]["parts"][0]["thoughtSignature"] }], "role": "model" });
    let request = decode(&json!({ "contents": ["Hi", moved] }));
    let Content::Reasoning(reasoning) = &request.messages[1].content[0].content else { panic!("{request:?}") };
    assert_eq!((reasoning.text.as_str(), reasoning.signature.as_ref()), ("hm", Some(&signature)));
    let streamed = collect(read_stream(&[&streamed]));
    let signatures = streamed.choices[0]
        .content
        .iter()
        .filter(|block| matches!(&block.content, Content::Reasoning(Reasoning { signature: Some(by), .. }) if *by == signature));
    assert_eq!(signatures.count(), 2);
}

#[test]
fn results_find_their_calls() {
    let call = |name: &str| json!({ "function_call": { "name": name, "args": { "a": 1 } } });
    let result = |name: &str, value: &str| json!({ "functionResponse": { "name": name, "response": { "output": value } } });
    let request = decode(&json!({
        "contents": [
            "Go",
            { "role": "model", "parts": [call("f"), call("g"), call("f")] },
            { "role": "function", "parts": [result("g", "2"), result("f", "1"), result("f", "3"), { "text": "Well?" }] },
        ],
        "system_instruction": "Be brief.",
        "tool_config": { "function_calling_config": { "mode": "any", "allowed_function_names": ["f"] } },
        "generation_config": { "max_output_tokens": "5", "top_k": 40.0, "thinking_config": { "thinking_budget": -1 } },
        "safety_settings": [],
    }));
    let ids: Vec<&str> = request
        .messages
        .iter()
        .flat_map(|message| &message.content)
        .filter_map(|block| match &block.content {
            Content::ToolCall(call) => Some(call.id.as_str()),
            Content::ToolResult(result) => Some(result.call_id.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(ids, ["call_0", "call_1", "call_2", "call_1", "call_0", "call_2"]);
    let roles: Vec<Role> = request.messages.iter().map(|message| message.role).collect();
    assert_eq!(roles, [Role::System, Role::User, Role::Assistant, Role::Tool, Role::User]);
    assert_eq!(request.tool_choice, Some(ToolChoice::Tool("f".into())));
    assert_eq!((request.sampling.max_output, request.sampling.top_k), (Some(5), Some(40)));
    assert_eq!(request.thinking, Some(Thinking { enabled: Some(true), ..Thinking::default() }));
    assert_eq!(request.extra.fields.keys().collect::<Vec<_>>(), ["safety_settings"]);
}

#[test]
fn what_is_wrong_in_a_request_is_named() {
    let cases = [
        (json!({}), "contents"),
        (json!({ "contents": 5 }), "contents"),
        (json!({ "contents": [{ "role": "robot", "parts": [] }] }), "contents"),
        (json!({ "contents": "x", "generationConfig": { "temperature": "hot" } }), "generationConfig.temperature"),
        (json!({ "contents": "x", "generationConfig": { "topK": -1 } }), "generationConfig.topK"),
        (
            json!({ "contents": "x", "toolConfig": { "functionCallingConfig": { "mode": "MAYBE" } } }),
            "toolConfig.functionCallingConfig.mode",
        ),
        (json!({ "contents": "x", "tools": ["x"] }), "tools"),
        (json!({ "contents": "x", "systemInstruction": 5 }), "systemInstruction"),
    ];
    for (body, param) in cases {
        let refusal = Gemini.decode_request(&called(), body.to_string().as_bytes()).unwrap_err();
        assert_eq!(refusal.param, Some(param), "{body}: {}", refusal.message);
    }
}

#[test]
fn a_blocked_prompt_and_an_error_in_a_stream_are_told() {
    let blocked =
        json!({ "promptFeedback": { "blockReason": "SAFETY" }, "usageMetadata": { "promptTokenCount": 4, "totalTokenCount": 4 } });
    let answer = Gemini.decode_answer(blocked.to_string().as_bytes()).unwrap();
    assert_eq!((&answer.choices[0].finish, answer.usage.unwrap().input), (&Finish::ContentFilter, 4));
    let written = Gemini.encode_answer(answer.clone(), &asked(), &mut Dropped::default());
    assert_eq!(serde_json::from_slice::<Value>(&written).unwrap()["promptFeedback"], blocked["promptFeedback"]);
    let error = json!({ "error": { "code": 503, "message": "Busy.", "status": "UNAVAILABLE" } });
    let events = read_stream(&[format!("data: {error}\r\n\r\n").as_bytes()]);
    let [Event::Trouble(trouble)] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!((trouble.kind, trouble.message.as_str()), (TroubleKind::Overloaded, "Busy."));
    assert!(!read_stream(&[b"data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"a\"}]}}]}\n\n"]).contains(&Event::End));
}

#[test]
fn a_stream_may_be_an_array_that_grows() {
    let mut asked = asked();
    asked.called.as_array = true;
    let (mut writer, mut out) = (Gemini.stream_writer(&asked), Vec::new());
    answer_with_text().into_events().into_iter().for_each(|event| writer.write(event, &mut out));
    let list: Vec<Value> = serde_json::from_slice(&out).unwrap();
    assert_eq!(list[0]["candidates"][0]["content"]["parts"][0]["text"], "Hello");
    assert_eq!(list.last().unwrap()["candidates"][0]["finishReason"], "MAX_TOKENS");
    assert_eq!(Gemini.decode_answer(&out).unwrap().choices[0].text(), "Hello");
}

fn answer_with_text() -> Answer {
    let citation = Citation { url: Some("https://example.com".into()), span: Some((1, 5)), ..Citation::default() };
    let content = vec![Content::Text { text: "Hello".into(), citations: vec![citation] }.into()];
    let choice = Choice { content, finish: Finish::Length, logprobs: Vec::new() };
    Answer { id: "r".into(), choices: vec![choice], ..Answer::default() }
}

#[test]
fn foreign_citations_become_grounding() {
    let written = Gemini.encode_answer(answer_with_text(), &asked(), &mut Dropped::default());
    let body: Value = serde_json::from_slice(&written).unwrap();
    assert_eq!(body["modelVersion"], "asked");
    let grounding = &body["candidates"][0]["groundingMetadata"];
    assert_eq!(grounding["groundingSupports"][0]["segment"], json!({ "startIndex": 1, "endIndex": 5, "text": "ello" }));
    let again = Gemini.decode_answer(&written).unwrap();
    let citation = again.choices[0].citations().next().unwrap();
    assert_eq!((citation.url.as_deref(), citation.span), (Some("https://example.com"), Some((1, 5))));
}
