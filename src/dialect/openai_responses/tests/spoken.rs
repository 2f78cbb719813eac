//! What is said in answers and streams of other dialects' providers, and what comes back in the next request.

use serde::Deserialize;
use serde_json::json;

use super::*;
use crate::dialect::ir::{
    Block, Choice, Citation, Content, Delta, Finish, Opening, Reasoning, Signature, TokenLogprob, ToolCall, TroubleKind,
};
use crate::dialect::translate;
use crate::ledger::record::Usage;

fn request() -> Value {
    json!({
        "model": "claude",
        "input": "weather?",
        "instructions": "be brief",
        "tools": [{ "type": "function", "name": "weather", "parameters": { "type": "object", "properties": {} } }],
        "temperature": 0.5,
        "text": { "verbosity": "low" },
        "store": false,
    })
}

fn signature() -> Signature {
    Signature::new(Dialect::AnthropicMessages, "EqQBCg==")
}

fn thinking_answer() -> Answer {
    let thought = Reasoning { text: "let me\n\nsee".into(), signature: Some(signature()), ..Reasoning::default() };
    let hidden =
        Reasoning { signature: Some(Signature::new(Dialect::AnthropicMessages, "hid")), is_redacted: true, ..Reasoning::default() };
    let call =
        |id: &str, signature| ToolCall { id: id.into(), name: "weather".into(), arguments: "{}".into(), is_custom: false, signature };
    let cited = Citation { url: Some("https://a.example".into()), span: Some((0, 2)), title: Some("A".into()), ..Citation::default() };
    Answer {
        id: "msg_01".into(),
        model: "claude-x".into(),
        created: 1,
        choices: vec![Choice {
            content: vec![
                Content::Reasoning(thought).into(),
                Content::Reasoning(hidden).into(),
                Content::Text { text: "I'll look".into(), citations: vec![cited] }.into(),
                Block::text(" twice"),
                Content::ToolCall(call("toolu_1", None)).into(),
                Content::ToolCall(call("toolu 2", Some(Signature::new(Dialect::Gemini, "thought")))).into(),
            ],
            finish: Finish::ToolCalls,
            logprobs: Vec::new(),
        }],
        usage: Some(Usage { input: 10, cached: 4, output: 7, reasoning: 3, ..Usage::default() }),
        ..Answer::default()
    }
}

/// The first finished response in a stream.
fn last_response(stream: &str) -> Value {
    parse_stream(stream).pop().unwrap()["response"].take()
}

#[test]
fn a_tool_loop_on_a_foreign_thinking_model_gets_back_all_that_its_provider_wants() {
    let whole: Value =
        serde_json::from_slice(&Responses.encode_answer(thinking_answer(), &asked(&request()), &mut Dropped::default())).unwrap();
    let mut streamed = last_response(&write_stream(thinking_answer().into_events(), &asked(&request())));
    streamed["completed_at"] = whole["completed_at"].clone();
    assert_eq!(whole, streamed);
    let mut next = request();
    let mut input = vec![json!({ "role": "user", "content": "weather?" })];
    input.extend(whole["output"].as_array().unwrap().clone());
    input.extend(["toolu_1", "toolu 2"].map(|id| json!({ "type": "function_call_output", "call_id": id, "output": "sunny" })));
    next["input"] = Value::Array(input);
    let request = decode(&next).unwrap();
    let mut expected = thinking_answer().choices.remove(0).content;
    for block in &mut expected {
        if let Content::Reasoning(reasoning) = &mut block.content {
            reasoning.id = None;
        }
    }
    let mut got = request.messages[2].content.clone();
    for block in &mut got {
        if let Content::Reasoning(reasoning) = &mut block.content {
            assert!(reasoning.id.take().unwrap().starts_with("rs_"));
        }
    }
    assert_eq!(got, expected);
    assert_eq!(request.messages[3].content.len(), 2);
    // None of it is sent to a provider that did not make it.
    let (written, dropped) = encode(&request);
    assert!(!written.to_string().contains("EqQBCg") && !written.to_string().contains("thought\""), "{written}");
    assert_eq!(dropped, ["reasoning"]);
}

#[test]
fn an_answer_has_what_the_sdks_want() {
    let whole: Value =
        serde_json::from_slice(&Responses.encode_answer(thinking_answer(), &asked(&request()), &mut Dropped::default())).unwrap();
    assert_eq!(whole["id"], "resp_kw_msg_01");
    assert_eq!(whole["instructions"], "be brief");
    assert_eq!(whole["temperature"], 0.5);
    assert_eq!(whole["text"], json!({ "format": { "type": "text" }, "verbosity": "low" }));
    assert_eq!(whole["tools"][0]["strict"], false);
    assert_eq!((&whole["tool_choice"], &whole["parallel_tool_calls"], &whole["metadata"]), (&json!("auto"), &json!(true), &json!({})));
    assert_eq!((&whole["status"], &whole["error"], &whole["incomplete_details"]), (&json!("completed"), &Value::Null, &Value::Null));
    let usage = json!({
        "input_tokens": 10, "input_tokens_details": { "cached_tokens": 4, "cache_write_tokens": 0 },
        "output_tokens": 7, "output_tokens_details": { "reasoning_tokens": 3 }, "total_tokens": 17,
    });
    assert_eq!(whole["usage"], usage);
    let ids: std::collections::BTreeSet<&str> =
        whole["output"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), whole["output"].as_array().unwrap().len());
    async_openai::types::responses::Response::deserialize(&whole).unwrap();
}

#[test]
fn a_stream_tells_the_documented_events_in_order() {
    let logprobs = vec![TokenLogprob { token: "a".into(), logprob: -0.5, bytes: None, top: Vec::new() }];
    let opening = |id: &str| Opening::ToolCall { id: id.into(), name: "f".into(), is_custom: false, signature: None };
    let grow = |index, delta| Event::Delta { choice: 0, index, delta };
    let events = vec![
        Event::Start { id: String::new(), model: String::new(), created: 0 },
        Event::Open { choice: 0, index: 0, opening: Opening::Reasoning { id: None } },
        grow(0, Delta::Reasoning("hm".into())),
        Event::Close { choice: 0, index: 0 },
        Event::Open { choice: 0, index: 1, opening: Opening::Text },
        grow(1, Delta::Text("a".into())),
        Event::Logprobs { choice: 0, logprobs },
        Event::Close { choice: 0, index: 1 },
        Event::Open { choice: 0, index: 2, opening: opening("x") },
        Event::Open { choice: 0, index: 3, opening: opening("y") },
        grow(2, Delta::Arguments("{}".into())),
        grow(3, Delta::Arguments("[]".into())),
        Event::Close { choice: 0, index: 2 },
        Event::Close { choice: 0, index: 3 },
        Event::Finish { choice: 0, finish: Finish::ToolCalls },
        Event::End,
    ];
    let told = parse_stream(&write_stream(events, &asked(&request())));
    let shape: Vec<String> = told
        .iter()
        .map(|event| {
            format!("{} {}", event["type"].as_str().unwrap().trim_start_matches("response."), event["output_index"]).replace(" null", "")
        })
        .collect();
    let expected = [
        "created",
        "in_progress",
        "output_item.added 0",
        "reasoning_summary_part.added 0",
        "reasoning_summary_text.delta 0",
        "reasoning_summary_text.done 0",
        "reasoning_summary_part.done 0",
        "output_item.done 0",
        "output_item.added 1",
        "content_part.added 1",
        "output_text.delta 1",
        "output_text.delta 1",
        "output_text.done 1",
        "content_part.done 1",
        "output_item.done 1",
        "output_item.added 2",
        "output_item.added 3",
        "function_call_arguments.delta 2",
        "function_call_arguments.delta 3",
        "function_call_arguments.done 2",
        "output_item.done 2",
        "function_call_arguments.done 3",
        "output_item.done 3",
        "completed",
    ];
    assert_eq!(shape, expected);
    assert!(told.iter().enumerate().all(|(at, event)| event["sequence_number"] == at));
    for event in &told {
        async_openai::types::responses::ResponseStreamEvent::deserialize(event).unwrap_or_else(|error| panic!("{event}: {error}"));
    }
    assert_eq!(told.last().unwrap()["response"]["output"][1]["content"][0]["logprobs"][0]["token"], "a");
    assert_eq!(told.last().unwrap()["response"]["model"], "");
}

#[test]
fn a_trouble_is_the_last_word() {
    let trouble = Trouble { kind: TroubleKind::RateLimit, code: None, message: "slow down".into(), param: None };
    let stream = write_stream(vec![Event::Trouble(trouble)], &asked(&request()));
    let told = parse_stream(&stream);
    assert_eq!(told[2]["error"]["message"], "slow down");
    assert_eq!((&told[2]["code"], &told[3]["response"]["status"]), (&json!("rate_limit_exceeded"), &json!("failed")));
    let read = collect(events(stream.as_bytes(), 7)).unwrap_err();
    assert_eq!((read.kind, read.message.as_str()), (TroubleKind::RateLimit, "slow down"));
}

#[test]
fn what_a_done_repeats_is_told_once() {
    let streams = [
        // Only what is done is told.
        r#"{"type":"response.output_item.done","output_index":0,"item":{"type":"message","content":[{"type":"output_text","text":"hello"}]}}
           {"type":"response.output_item.done","output_index":1,"item":{"type":"function_call","call_id":"c","name":"f","arguments":"{\"a\":1}"}}"#,
        // Deltas without any announcement, and all that repeats them.
        r#"{"type":"response.output_text.delta","output_index":0,"content_index":0,"delta":"hel"}
           {"type":"response.output_text.delta","output_index":0,"content_index":0,"delta":"lo"}
           {"type":"response.output_text.done","output_index":0,"content_index":0,"text":"hello"}
           {"type":"response.content_part.done","output_index":0,"content_index":0,"part":{"type":"output_text","text":"hello"}}
           {"type":"response.output_item.done","output_index":0,"item":{"type":"message","content":[{"type":"output_text","text":"hello"}]}}
           {"type":"response.output_item.added","output_index":1,"item":{"type":"function_call","call_id":"c","name":"f","arguments":"{\"a\":1}"}}
           {"type":"response.function_call_arguments.delta","output_index":1,"delta":"{\"a\":"}
           {"type":"response.function_call_arguments.done","output_index":1,"arguments":"{\"a\":1}"}
           {"type":"response.output_item.done","output_index":1,"item":{"type":"function_call","call_id":"c","name":"f","arguments":"{\"a\":1}"}}"#,
        "",
    ];
    let output = json!([
        { "type": "message", "content": [{ "type": "output_text", "text": "hello" }] },
        { "type": "function_call", "call_id": "c", "name": "f", "arguments": "{\"a\":1}" },
    ]);
    let last = json!({ "type": "response.completed", "response": { "id": "r", "status": "completed", "output": output } }).to_string();
    for stream in streams {
        let text: String = stream.lines().chain([last.as_str()]).map(|data| format!("data: {}\n\n", data.trim())).collect();
        let answer = collect(events(text.as_bytes(), 5)).unwrap();
        assert_eq!(answer.choices[0].text(), "hello", "{stream}");
        assert_eq!(answer.choices[0].finish, Finish::ToolCalls);
        let calls: Vec<&str> = answer.choices[0]
            .content
            .iter()
            .filter_map(|block| match &block.content {
                Content::ToolCall(call) => Some(call.arguments.as_str()),
                _ => None,
            })
            .collect();
        assert_eq!(calls, ["{\"a\":1}"], "{stream}");
    }
}

#[test]
fn a_stream_that_breaks_off_has_no_end() {
    let text = "data: {\"type\":\"response.output_text.delta\",\"delta\":\"hel\"}\n\n";
    assert!(!events(text.as_bytes(), 9).contains(&Event::End));
    assert!(events(format!("{text}data: [DONE]\n\n").as_bytes(), 9).contains(&Event::End));
}

#[test]
fn what_only_one_provider_holds_is_refused_elsewhere() {
    let to = To { model: "m", facts: None };
    for (name, value) in [
        ("previous_response_id", json!("resp_1")),
        ("conversation", json!("conv_1")),
        ("prompt", json!({ "id": "pmpt_1" })),
        ("background", json!(true)),
        ("input", json!([{ "type": "item_reference", "id": "msg_1" }])),
    ] {
        let mut body = request();
        body[name] = value;
        let request = decode(&body).unwrap();
        let refusal = translate::write_request(&request, Dialect::Gemini, &to).unwrap_err();
        assert_eq!((refusal.code, refusal.param), ("not_expressible", Some(name)));
        assert!(translate::write_request(&request, Dialect::OpenaiResponses, &to).is_ok());
    }
}

#[test]
fn wrong_types_are_named() {
    for (name, value) in [
        ("input", json!(5)),
        ("input", json!([5])),
        ("input", json!([{ "role": "tool", "content": "x" }])),
        ("input", json!([{ "type": "function_call", "name": "f" }])),
        ("temperature", json!("hot")),
        ("tools", json!([{ "type": "function" }])),
        ("tool_choice", json!("sometimes")),
        ("max_output_tokens", json!(-1)),
        ("metadata", json!([])),
    ] {
        let mut body = request();
        body[name] = value;
        let refusal = decode(&body).unwrap_err();
        assert_eq!((refusal.code, refusal.param), ("invalid_value", Some(name)), "{}", refusal.message);
    }
}

#[test]
fn what_openai_refuses_is_met_and_named() {
    let mut foreign = Request { model: "gpt-5-mini".into(), ..decode(&json!({ "input": "list three colours" })).unwrap() };
    foreign.format = Some(crate::dialect::ir::Format::JsonObject);
    foreign.sampling.max_output = Some(5);
    foreign.sampling.stop = vec!["END".into()];
    foreign.sampling.top_k = Some(3);
    foreign.thinking = Some(crate::dialect::ir::Thinking { enabled: Some(false), ..Default::default() });
    let long = "x".repeat(80);
    let call = ToolCall { id: long.clone(), name: "f".into(), arguments: String::new(), is_custom: false, signature: None };
    let result = crate::dialect::ir::ToolResult { call_id: long, name: None, content: Vec::new(), is_error: true, is_custom: false };
    foreign.messages.push(crate::dialect::ir::Message::new(crate::dialect::ir::Role::Assistant, vec![Content::ToolCall(call).into()]));
    foreign.messages.push(crate::dialect::ir::Message::new(crate::dialect::ir::Role::Tool, vec![Content::ToolResult(result).into()]));
    let (written, dropped) = encode(&foreign);
    assert_eq!(dropped, ["is_error", "max_output", "top_k", "stop", "thinking"]);
    assert_eq!((&written["max_output_tokens"], &written["reasoning"]["effort"]), (&json!(16), &json!("minimal")));
    assert_eq!((&written["store"], &written["include"]), (&json!(false), &json!(["reasoning.encrypted_content"])));
    assert_eq!(written["input"][1]["call_id"], written["input"][2]["call_id"]);
    assert!(written["input"][1]["call_id"].as_str().unwrap().len() <= 64);
    assert_eq!((&written["input"][1]["arguments"], &written["input"][3]["role"]), (&json!("{}"), &json!("developer")));
    // A chat request for a provider of Responses keeps what means the same in both.
    let fields = serde_json::Map::from_iter([("verbosity".to_owned(), json!("low")), ("modalities".to_owned(), json!(["text"]))]);
    foreign.extra = crate::dialect::ir::Extra::new(Dialect::OpenaiChat, fields);
    let (written, dropped) = encode(&foreign);
    assert_eq!(written["text"]["verbosity"], "low");
    assert!(dropped.contains(&"modalities".to_owned()) && !dropped.contains(&"verbosity".to_owned()));
}
