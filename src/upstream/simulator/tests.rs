#![allow(clippy::unwrap_used)]

use async_openai::types::chat::{CreateChatCompletionResponse, CreateChatCompletionStreamResponse};
use async_openai::types::embeddings::CreateEmbeddingResponse;
use async_openai::types::responses::{Response, ResponseStreamEvent};
use serde_json::{Value, json};

use super::answer;
use crate::catalog::{Dialect, Operation};

/// Bytes of a schema's smallest value, at the most.
const LARGEST: usize = 100_000;

type Served = (Operation, Dialect);

const CHAT: Served = (Operation::Chat, Dialect::OpenaiChat);
const COMPLETIONS: Served = (Operation::Completions, Dialect::OpenaiChat);
const EMBEDDINGS: Served = (Operation::Embeddings, Dialect::OpenaiChat);
const RESPONSES: Served = (Operation::Chat, Dialect::OpenaiResponses);

fn ask((operation, dialect): Served, mut body: Value) -> (u16, Value) {
    body["model"] = json!("echo");
    let response = answer(operation, dialect, body.to_string().as_bytes());
    assert_eq!(response.headers()["content-type"], "application/json");
    (response.status().as_u16(), serde_json::from_slice(response.body()).unwrap())
}

fn good(served: Served, body: Value) -> Value {
    let (status, answer) = ask(served, body);
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["system_fingerprint"], "keyward-simulator");
    answer
}

fn events((operation, dialect): Served, mut body: Value) -> Vec<String> {
    body["model"] = json!("echo");
    body["stream"] = json!(true);
    let response = answer(operation, dialect, body.to_string().as_bytes());
    assert_eq!(response.status(), 200);
    assert!(response.headers()["content-type"].to_str().unwrap().starts_with("text/event-stream"));
    let text = String::from_utf8(response.body().to_vec()).unwrap();
    text.split("\n\n").filter_map(|event| event.split_once("data: ").map(|(_, data)| data.to_owned())).collect()
}

fn user(text: &str) -> Value {
    json!([{ "role": "user", "content": text }])
}

#[test]
fn a_chat_is_echoed_and_labelled() {
    let answer =
        good(CHAT, json!({ "messages": [{ "role": "system", "content": "Be kind" }, { "role": "user", "content": "Hello there" }] }));
    assert_eq!(answer["choices"][0]["message"]["content"], "[Keyward simulator] You said: Hello there");
    assert_eq!(answer["choices"][0]["finish_reason"], "stop");
    assert_eq!(answer["usage"], json!({ "prompt_tokens": 6, "completion_tokens": 6, "total_tokens": 12 }));
    serde_json::from_value::<CreateChatCompletionResponse>(answer).unwrap();
}

#[test]
fn images_and_files_are_acknowledged() {
    let content = json!([{ "type": "text", "text": "Look" }, { "type": "image_url", "image_url": { "url": "data:," } }, { "type": "image_url", "image_url": { "url": "data:," } }]);
    let answer = good(CHAT, json!({ "messages": [{ "role": "user", "content": content }] }));
    assert_eq!(answer["choices"][0]["message"]["content"], "[Keyward simulator] You said: Look and 2 images");
}

#[test]
fn a_limit_and_a_stop_cut_the_text() {
    let answer = good(CHAT, json!({ "messages": user("a b c"), "max_completion_tokens": 5, "n": 3 }));
    assert_eq!(answer["choices"].as_array().unwrap().len(), 3);
    assert_eq!(answer["choices"][2]["message"]["content"], "[Keyward simulator] You said: a");
    assert_eq!(answer["choices"][2]["finish_reason"], "length");
    assert_eq!(answer["usage"]["completion_tokens"], 15);
    let answer = good(CHAT, json!({ "messages": user("a b c"), "stop": [" c"] }));
    assert_eq!(answer["choices"][0]["message"]["content"], "[Keyward simulator] You said: a b");
}

#[test]
fn a_schema_is_filled_in() {
    let schema = json!({
        "type": "object",
        "required": ["name", "age", "tags", "kind", "home", "next", "score"],
        "properties": {
            "name": { "type": "string", "maxLength": 4 },
            "age": { "type": "integer", "minimum": 18 },
            "tags": { "type": "array", "minItems": 1, "items": { "enum": ["x", "y"] } },
            "kind": { "const": "person" },
            "home": { "$ref": "#/$defs/home" },
            "next": { "anyOf": [{ "type": "null" }, { "$ref": "#" }] },
            "score": { "type": "number", "maximum": -1.5 },
            "optional": { "type": "string" },
        },
        "$defs": { "home": { "type": "object", "required": ["street"], "properties": { "street": { "type": ["string", "null"] } } } },
    });
    let expected = json!({ "name": "simu", "age": 18, "tags": ["x"], "kind": "person", "home": { "street": "simulated" }, "next": null, "score": -1.5 });
    let format = json!({ "type": "json_schema", "json_schema": { "name": "p", "schema": schema } });
    let answer = good(CHAT, json!({ "messages": user("hi"), "response_format": format }));
    let content: Value = serde_json::from_str(answer["choices"][0]["message"]["content"].as_str().unwrap()).unwrap();
    assert_eq!(content, expected);
    let answer = good(CHAT, json!({ "messages": user("hi"), "response_format": { "type": "json_object" } }));
    let content: Value = serde_json::from_str(answer["choices"][0]["message"]["content"].as_str().unwrap()).unwrap();
    assert_eq!(content["you_said"], "hi");
}

#[test]
fn a_schema_without_end_comes_to_one() {
    let twice = json!({ "type": "object", "required": ["a", "b"], "properties": { "a": { "$ref": "#" }, "b": { "$ref": "#" } } });
    assert!(super::schema::minimal(&twice).len() < LARGEST);
    assert!(super::schema::minimal(&json!({ "type": "array", "minItems": 1_u64 << 60 })).len() < LARGEST);
    // At the deepest level each of these is null for nothing, and there are many of it.
    for list in ["prefixItems", "allOf"] {
        let wide = json!({ "type": "array", list: vec![json!({ "$ref": "#" }); 10_000] });
        assert!(super::schema::minimal(&wide).len() < LARGEST, "{list}");
    }
    let copies = json!({ "type": "array", "minItems": 1_000_000, "items": { "const": "x".repeat(100_000) } });
    assert!(super::schema::minimal(&copies).len() < LARGEST);
    assert!(super::schema::minimal(&json!({ "type": "string", "minLength": u64::MAX })).len() < 20_000);
}

#[test]
fn a_request_is_not_answered_with_many_times_its_size() {
    let white = " ".repeat(1 << 20);
    let wide = json!({ "type": "array", "minItems": 1_000_000 });
    let tools = json!([{ "type": "function", "function": { "name": "f", "parameters": wide } }]);
    let cases = [
        (CHAT, json!({ "messages": user(&white), "n": 16 })),
        (CHAT, json!({ "messages": user(&white), "n": 16, "stream": true })),
        (CHAT, json!({ "messages": user("hi"), "n": 16, "stream": true, "tools": tools, "tool_choice": "required" })),
        (COMPLETIONS, json!({ "prompt": white, "n": 16 })),
        (RESPONSES, json!({ "input": white, "stream": true })),
    ];
    for ((operation, dialect), mut body) in cases {
        body["model"] = json!("echo");
        let answer = answer(operation, dialect, body.to_string().as_bytes());
        assert!(answer.body().len() < 32 << 20, "{operation:?}: {}", answer.body().len());
    }
}

#[test]
fn a_tool_is_called_where_it_has_to_be() {
    let tools = json!([
        { "type": "function", "function": { "name": "first" } },
        { "type": "function", "function": { "name": "weather", "parameters": { "type": "object", "required": ["city"], "properties": { "city": { "type": "string" } } } } },
    ]);
    let named = json!({ "messages": user("hi"), "tools": tools, "tool_choice": { "type": "function", "function": { "name": "weather" } } });
    let answer = good(CHAT, named.clone());
    let call = &answer["choices"][0]["message"]["tool_calls"][0];
    assert_eq!(call["type"], "function");
    assert_eq!(call["function"], json!({ "name": "weather", "arguments": "{\"city\":\"simulated\"}" }));
    assert_eq!(answer["choices"][0]["finish_reason"], "tool_calls");
    let streamed: String = events(CHAT, named)
        .iter()
        .filter_map(|event| serde_json::from_str::<Value>(event).ok())
        .filter_map(|chunk| chunk["choices"][0]["delta"]["tool_calls"][0]["function"]["arguments"].as_str().map(str::to_owned))
        .collect();
    assert_eq!(streamed, "{\"city\":\"simulated\"}");
    let answer = good(CHAT, json!({ "messages": user("hi"), "tools": tools, "tool_choice": "required" }));
    assert_eq!(answer["choices"][0]["message"]["tool_calls"][0]["function"]["name"], "first");
    let answer = good(CHAT, json!({ "messages": user("hi"), "tools": tools }));
    assert!(answer["choices"][0]["message"].get("tool_calls").is_none());
}

#[test]
fn a_streamed_chat_says_the_same() {
    let all = events(CHAT, json!({ "messages": user("Hello there"), "stream_options": { "include_usage": true } }));
    assert_eq!(all.last().unwrap(), "[DONE]");
    let chunks: Vec<CreateChatCompletionStreamResponse> =
        all[..all.len() - 1].iter().map(|data| serde_json::from_str(data).unwrap()).collect();
    let text: String = chunks.iter().flat_map(|chunk| &chunk.choices).filter_map(|choice| choice.delta.content.clone()).collect();
    assert_eq!(text, "[Keyward simulator] You said: Hello there");
    let last = chunks.last().unwrap();
    assert!(last.choices.is_empty());
    assert_eq!(last.usage.as_ref().unwrap().completion_tokens, 6);
    let without = events(CHAT, json!({ "messages": user("Hello there") }));
    assert_eq!(without.len(), all.len() - 1);
    assert!(without[without.len() - 2].contains("\"finish_reason\":\"stop\""));
}

#[test]
fn completions_answer_each_prompt() {
    let answer = good(COMPLETIONS, json!({ "prompt": ["a", [1, 2]], "n": 2 }));
    let texts: Vec<&str> = answer["choices"].as_array().unwrap().iter().map(|choice| choice["text"].as_str().unwrap()).collect();
    assert_eq!(texts.len(), 4);
    assert_eq!((texts[0], texts[3]), ("[Keyward simulator] You said: a", "[Keyward simulator] You said: 1 2"));
    assert_eq!(answer["choices"][3]["index"], 3);
    assert_eq!(events(COMPLETIONS, json!({ "prompt": "a" })).last().unwrap(), "[DONE]");
}

#[test]
fn embeddings_are_unit_vectors_that_stay() {
    let answer = good(EMBEDDINGS, json!({ "input": ["a", "b", "a"], "dimensions": 64 }));
    let answer: CreateEmbeddingResponse = serde_json::from_value(answer).unwrap();
    let vectors: Vec<&Vec<f32>> = answer.data.iter().map(|one| &one.embedding).collect();
    assert_eq!(vectors[0].len(), 64);
    assert_eq!(vectors[0], vectors[2]);
    assert_ne!(vectors[0], vectors[1]);
    let length: f32 = vectors[1].iter().map(|x| x * x).sum();
    assert!((length - 1.0).abs() < 1e-4, "{length}");
    assert_eq!(answer.usage.total_tokens, 3);
    let encoded = good(EMBEDDINGS, json!({ "input": [1, 2, 3], "encoding_format": "base64" }));
    assert_eq!(encoded["data"][0]["embedding"].as_str().unwrap().len(), (256 * 4_usize).div_ceil(3) * 4);
}

#[test]
fn responses_are_whole_and_streamed() {
    let input = json!([{ "role": "user", "content": [{ "type": "input_text", "text": "Hi you" }, { "type": "input_image", "image_url": "data:," }] }]);
    let answer = good(RESPONSES, json!({ "input": input, "instructions": "Be kind", "temperature": 0.5 }));
    assert_eq!(answer["output"][0]["content"][0]["text"], "[Keyward simulator] You said: Hi you and 1 image");
    assert_eq!((&answer["status"], &answer["temperature"]), (&json!("completed"), &json!(0.5)));
    assert_eq!(answer["usage"]["total_tokens"], 5 + 9);
    serde_json::from_value::<Response>(answer).unwrap();

    let all: Vec<ResponseStreamEvent> =
        events(RESPONSES, json!({ "input": "Hi" })).iter().map(|data| serde_json::from_str(data).unwrap()).collect();
    let kinds: Vec<String> = all.iter().map(|event| serde_json::to_value(event).unwrap()["type"].as_str().unwrap().to_owned()).collect();
    let (start, end) = (&kinds[..4], &kinds[kinds.len() - 4..]);
    assert_eq!(start, ["response.created", "response.in_progress", "response.output_item.added", "response.content_part.added"]);
    assert_eq!(end, ["response.output_text.done", "response.content_part.done", "response.output_item.done", "response.completed"]);
    assert!(kinds[4..kinds.len() - 4].iter().all(|kind| kind == "response.output_text.delta"));
    let Some(ResponseStreamEvent::ResponseCompleted(last)) = all.last() else { panic!("no end") };
    assert_eq!(last.response.usage.as_ref().unwrap().output_tokens, 5);

    let cut = good(RESPONSES, json!({ "input": "a b c d", "max_output_tokens": 3 }));
    assert_eq!((&cut["status"], &cut["incomplete_details"]["reason"]), (&json!("incomplete"), &json!("max_output_tokens")));
    let tools = json!([{ "type": "function", "name": "weather", "parameters": { "type": "object", "required": ["n"], "properties": { "n": { "type": "integer" } } } }]);
    let call = json!({ "input": "hi", "tools": tools, "tool_choice": { "type": "function", "name": "weather" } });
    assert_eq!(good(RESPONSES, call.clone())["output"][0]["arguments"], "{\"n\":0}");
    for data in events(RESPONSES, call) {
        serde_json::from_str::<ResponseStreamEvent>(&data).unwrap();
    }
}

#[test]
fn bad_requests_are_refused_in_openais_shape() {
    let cases = [
        (CHAT, json!({}), "messages"),
        (CHAT, json!({ "messages": [] }), "messages"),
        (CHAT, json!({ "messages": [{ "content": "x" }] }), "messages"),
        (CHAT, json!({ "messages": [{ "role": "user", "content": 7 }] }), "messages"),
        (CHAT, json!({ "messages": user("x"), "n": 0 }), "n"),
        (CHAT, json!({ "messages": user("x"), "n": 17 }), "n"),
        (CHAT, json!({ "messages": user("x"), "max_tokens": 0 }), "max_tokens"),
        (CHAT, json!({ "messages": user("x"), "stop": 3 }), "stop"),
        (CHAT, json!({ "messages": user("x"), "stop": vec!["y"; 17] }), "stop"),
        (CHAT, json!({ "messages": user("x"), "tool_choice": "required" }), "tool_choice"),
        (CHAT, json!({ "messages": user("x"), "response_format": { "type": "yaml" } }), "response_format"),
        (CHAT, json!({ "messages": user("x"), "stream": "yes" }), "stream"),
        (COMPLETIONS, json!({}), "prompt"),
        (COMPLETIONS, json!({ "prompt": "x".repeat(1 << 17), "n": 16, "echo": true }), "echo"),
        (EMBEDDINGS, json!({ "input": [] }), "input"),
        (EMBEDDINGS, json!({ "input": "a", "dimensions": 1_000_000 }), "dimensions"),
        (EMBEDDINGS, json!({ "input": [{}] }), "input"),
        (RESPONSES, json!({ "input": 5 }), "input"),
    ];
    for (operation, body, param) in cases {
        let (status, answer) = ask(operation, body.clone());
        assert_eq!((status, &answer["error"]["param"]), (400, &json!(param)), "{body}: {answer}");
        assert!(answer["error"]["message"].as_str().unwrap().contains("simulator"));
    }
    let missing = answer(Operation::Chat, Dialect::OpenaiChat, br#"{"model":"gpt-4o"}"#);
    assert_eq!(missing.status(), 404);
    assert!(String::from_utf8_lossy(missing.body()).contains("model_not_found"));
    assert_eq!(answer(Operation::Chat, Dialect::OpenaiChat, b"[1]").status(), 400);
    assert_eq!(answer(Operation::Chat, Dialect::OpenaiChat, b"{").status(), 400);
}

/// A schema of a few levels, with lists of parts, references to itself, and huge numbers in it.
fn schema() -> impl proptest::strategy::Strategy<Value = Value> {
    use proptest::prelude::*;
    let leaf = prop_oneof![
        Just(json!({ "$ref": "#" })),
        any::<u64>().prop_map(|n| json!({ "type": "string", "minLength": n })),
        any::<u64>().prop_map(|n| json!({ "type": "array", "minItems": n, "items": { "$ref": "#" } })),
        any::<i64>().prop_map(|n| json!({ "type": "integer", "minimum": n })),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        let list = proptest::sample::select(vec!["prefixItems", "allOf", "anyOf", "oneOf", "enum"]);
        let kind = proptest::sample::select(vec!["object", "array"]);
        (list, kind, prop::collection::vec(inner, 1..4)).prop_map(|(list, kind, parts)| {
            let properties: serde_json::Map<String, Value> = (0..).map(|n: u32| n.to_string()).zip(parts.iter().cloned()).collect();
            let required: Vec<&String> = properties.keys().collect();
            json!({ "type": kind, list: parts, "required": required, "properties": properties })
        })
    })
}

proptest::proptest! {
    #[test]
    fn tokens_joined_are_the_text(text in "\\PC{0,80}|[ \\n a-z]{0,80}|[ \\n]{0,200}") {
        let joined: String = super::text::tokens(&text).collect();
        proptest::prop_assert_eq!(joined, text);
    }

    #[test]
    fn no_schema_asks_for_too_much(schema in schema()) {
        proptest::prop_assert!(super::schema::minimal(&schema).len() < LARGEST);
    }

    #[test]
    fn no_json_makes_it_panic(body in "[\\[\\]{}\":,a-z0-9 ]{0,60}") {
        for (operation, dialect) in [CHAT, COMPLETIONS, EMBEDDINGS, RESPONSES] {
            answer(operation, dialect, body.as_bytes());
        }
    }
}
