//! What compatible providers do otherwise, and what a caller is told of another dialect's answer.

use serde_json::{Value, json};

use super::*;
use crate::catalog::Model;
use crate::dialect::ir::{
    Block, Choice, Citation, Content, Delta, Effort, Finish, Function, Media, MediaKind, MediaSource, Message, Opening, Reasoning, Role,
    Sampling, Signature, Thinking, TokenLogprob, Tool, ToolCall, ToolChoice, ToolResult, TroubleKind,
};
use crate::ledger::record::Usage;

/// A stream of chunks whose first choice has these deltas, with its end.
fn stream(deltas: &[Value], finish: &str) -> String {
    let mut text = String::new();
    for delta in deltas {
        text.push_str(&format!(
            "data: {}\n\n",
            json!({ "id": "x", "model": "m", "created": 1, "choices": [{ "index": 0, "delta": delta }] })
        ));
    }
    let last = json!({ "choices": [{ "index": 0, "delta": {}, "finish_reason": finish }] });
    format!("{text}data: {last}\n\ndata: [DONE]\n\n")
}

fn read(deltas: &[Value], finish: &str) -> Choice {
    collect(events(&[stream(deltas, finish).as_bytes()])).unwrap().choices.remove(0)
}

fn whole(message: Value) -> Choice {
    let body = json!({ "id": "x", "choices": [{ "message": message, "finish_reason": "stop" }] });
    OpenaiChat.decode_answer(body.to_string().as_bytes()).unwrap().choices.remove(0)
}

fn calls(choice: &Choice) -> Vec<(&str, &str, &str)> {
    let call = |block: &'_ Block| match &block.content {
        Content::ToolCall(call) => Some((call.id.clone(), call.name.clone(), call.arguments.clone())),
        _ => None,
    };
    let all: Vec<_> = choice.content.iter().filter_map(call).collect();
    all.leak().iter().map(|(id, name, arguments)| (id.as_str(), name.as_str(), arguments.as_str())).collect()
}

fn reasoning(block: &Block) -> &Reasoning {
    match &block.content {
        Content::Reasoning(reasoning) => reasoning,
        other => panic!("{other:?}"),
    }
}

#[test]
fn tool_calls_are_put_together_however_they_are_numbered() {
    let cases = [
        // All with one index, told apart by their ids.
        vec![
            json!({"tool_calls": [{"index": 0, "id": "a", "function": {"name": "f", "arguments": "{\"x\":1}"}}]}),
            json!({"tool_calls": [{"index": 0, "id": "b", "function": {"name": "g", "arguments": "{}"}}]}),
        ],
        // No index, all in one chunk, arguments as an object.
        vec![
            json!({"tool_calls": [{"id": "a", "function": {"name": "f", "arguments": {"x": 1}}}, {"id": "b", "function": {"name": "g"}}]}),
        ],
        // The id in every piece, or empty in later ones; interleaved.
        vec![
            json!({"tool_calls": [{"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": ""}}]}),
            json!({"tool_calls": [{"index": 1, "id": "b", "type": "function", "function": {"name": "g", "arguments": "{"}}]}),
            json!({"tool_calls": [{"index": 0, "id": "a", "function": {"name": "f", "arguments": "{\"x\":"}}]}),
            json!({"tool_calls": [{"index": 1, "id": "", "function": {"name": null, "arguments": "}"}}]}),
            json!({"tool_calls": [{"index": 0, "id": "", "function": {"arguments": "1}"}}]}),
        ],
        // Neither index nor id in later pieces; the name late.
        vec![
            json!({"tool_calls": [{"id": "a", "function": {"arguments": "{\"x\""}}]}),
            json!({"tool_calls": [{"function": {"name": "f", "arguments": ":1"}}]}),
            json!({"tool_calls": [{"function": {"arguments": "}"}}]}),
            json!({"tool_calls": [{"id": "b", "function": {"name": "g", "arguments": "{}"}}]}),
        ],
    ];
    for (number, deltas) in cases.iter().enumerate() {
        let choice = read(deltas, "stop");
        let expected = [("a", "f", "{\"x\":1}"), ("b", "g", "{}")];
        assert_eq!(calls(&choice), expected, "case {number}");
        assert_eq!(choice.finish, Finish::ToolCalls, "case {number}");
    }
}

#[test]
fn calls_without_an_id_get_one_and_old_ones_are_calls() {
    let both = json!({"tool_calls": [{"function": {"name": "f", "arguments": "{}"}}, {"function": {"name": "f", "arguments": "{}"}}]});
    let choice = whole(both.clone());
    let ids: Vec<&str> = calls(&choice).iter().map(|(id, ..)| *id).collect();
    assert!(ids.len() == 2 && ids[0] != ids[1] && ids.iter().all(|id| id.starts_with("call_")), "{ids:?}");
    assert_eq!(calls(&read(&[both], "tool_calls")).len(), 2);
    let legacy = whole(json!({"content": null, "function_call": {"name": "f", "arguments": "{\"a\":2}"}}));
    assert_eq!((calls(&legacy)[0].1, calls(&legacy)[0].2), ("f", "{\"a\":2}"));
    let empty = whole(json!({"content": "4", "function_call": {"name": "", "arguments": ""}, "tool_calls": null}));
    assert_eq!((calls(&empty).len(), &empty.finish), (0, &Finish::Stop));
}

#[test]
fn reasoning_in_every_form_finds_its_way_back() {
    let detail = json!({"type": "reasoning.text", "text": "hm", "signature": "s+/=", "format": "anthropic-claude-v1", "index": 0});
    let summary = json!({"type": "reasoning.summary", "summary": "hm", "format": "openai-responses-v1", "index": 0});
    let hidden = json!({"type": "reasoning.encrypted", "data": "gAAA", "id": "rs_1", "format": "openai-responses-v1", "index": 1});
    let thinking = json!([{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"type": "text", "text": "a"}]);
    let cases = [
        json!({"content": "a", "reasoning_content": "hm"}),
        json!({"content": "a", "reasoning": "hm"}),
        json!({"content": "a", "reasoning_details": [detail]}),
        json!({"content": "a", "reasoning_details": [summary, hidden]}),
        json!({"content": thinking}),
    ];
    for message in cases {
        let pieces = [message.clone(), json!({"reasoning_details": []})];
        for choice in [whole(message.clone()), read(&pieces, "stop")] {
            assert_eq!(reasoning(&choice.content[0]).text, "hm", "{message}");
            assert_eq!(choice.text(), "a");
            // Through another dialect, which keeps text and signature alone.
            let content = choice.content.iter().map(|block| match &block.content {
                Content::Reasoning(own) => {
                    let carried = own.signature.as_ref().map(|signature| signature.write(Dialect::AnthropicMessages)).unwrap();
                    let signature = Some(Signature::read(&carried, Dialect::AnthropicMessages));
                    Content::Reasoning(Reasoning { signature, ..own.clone() }).into()
                }
                _ => block.clone(),
            });
            let request = Request { messages: vec![Message::new(Role::Assistant, content.collect())], ..Request::default() };
            let (body, dropped) = encode(&request, "m");
            let mut expected = message.clone();
            expected["role"] = json!("assistant");
            assert_eq!((&body["messages"][0], dropped.is_empty()), (&expected, true));
        }
    }
}

#[test]
fn reasoning_of_others_is_carried_and_not_sent() {
    let own = |text: &str, signature: &str, is_redacted| {
        let signature = Some(Signature::new(Dialect::AnthropicMessages, signature));
        Block::from(Content::Reasoning(Reasoning { text: text.into(), signature, is_redacted, id: None }))
    };
    let signature = Some(Signature::new(Dialect::Gemini, "AQ=="));
    let call = ToolCall { id: "c".into(), name: "f".into(), arguments: "{}".into(), is_custom: false, signature };
    let content = vec![own("one, ", "s1", false), own("", "data", true), own("two", "s2", false), Content::ToolCall(call).into()];
    let answer =
        Answer { choices: vec![Choice { content: content.clone(), finish: Finish::ToolCalls, logprobs: vec![] }], ..Answer::default() };
    let asked = asked(&json!({"messages": []}));
    let body = OpenaiChat.encode_answer(answer.clone(), &asked, &mut Dropped::default());
    let body: Value = serde_json::from_slice(&body).unwrap();
    let message = &body["choices"][0]["message"];
    assert_eq!(message["reasoning_content"], "one, two");
    // A client that puts a stream together keeps members and joins texts and lists.
    let mut joined = json!({"role": "assistant", "content": null, "reasoning_content": "", "reasoning_details": [], "tool_calls": []});
    for line in written(&answer.into_events(), &asked).lines().filter_map(|line| line.strip_prefix("data: {")) {
        let delta = serde_json::from_str::<Value>(&format!("{{{line}")).unwrap()["choices"][0]["delta"].take();
        let said = format!("{}{}", joined["reasoning_content"].as_str().unwrap(), delta["reasoning_content"].as_str().unwrap_or_default());
        joined["reasoning_content"] = json!(said);
        for list in ["reasoning_details", "tool_calls"] {
            let more = delta[list].as_array().cloned().unwrap_or_default();
            joined[list].as_array_mut().unwrap().extend(more.into_iter().filter(|item| item["function"]["arguments"] != "{}"));
        }
    }
    joined["tool_calls"][0]["function"]["arguments"] = json!("{}");
    for message in [message.clone(), joined] {
        let request = decode(&json!({"messages": [message]}));
        assert_eq!(request.messages[0].content, content);
        let (body, dropped) = encode(&request, "m");
        let sent = body["messages"][0].to_string();
        assert!(!sent.contains("kw.") && !sent.contains("s1") && !sent.contains("AQ=="), "{sent}");
        assert_eq!(dropped.names().collect::<Vec<_>>(), ["reasoning"]);
    }
}

#[test]
fn usage_is_read_wherever_it_stands() {
    let usage = json!({"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13, "num_cached_tokens": 3});
    let places = [
        json!({"choices": [], "usage": usage}),
        json!({"choices": [], "x_groq": {"id": "r", "usage": usage}}),
        json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop", "usage": usage}]}),
    ];
    for place in places {
        let text = format!("data: {place}\n\n{}", stream(&[json!({"content": "a"})], "stop"));
        let usage = collect(events(&[text.as_bytes()])).unwrap().usage;
        assert_eq!(usage, Some(Usage { input: 9, cached: 3, output: 4, ..Usage::default() }), "{place}");
    }
}

#[test]
fn a_cache_in_the_words_of_anthropic_is_within_the_input_or_beside_it() {
    for (prompt, total) in [(9, 13), (3, 13)] {
        let told = json!({"prompt_tokens": prompt, "completion_tokens": 4, "total_tokens": total, "cache_read_input_tokens": 4, "cache_creation_input_tokens": 2});
        let read = Usage { input: 9, cached: 4, cache_write: 2, output: 4, ..Usage::default() };
        assert_eq!(super::super::usage::parse(told.to_string().as_bytes()), Some(read), "{told}");
    }
}

#[test]
fn errors_in_a_stream_are_told_and_end_it() {
    let begun = format!("data: {}\n\n", json!({"id": "x", "choices": [{"index": 0, "delta": {"content": "a"}}]}));
    let cases = [
        (json!({"error": {"message": "no", "code": 429}}), "", TroubleKind::RateLimit),
        (json!({"error": {"message": "no", "type": "invalid_request_error"}}), "event: error\n", TroubleKind::Invalid),
        (json!({"error": "no"}), "", TroubleKind::Server),
        (json!({"object": "error", "message": "no", "code": 400}), "", TroubleKind::Invalid),
        (json!({"message": "no"}), "event: error\n", TroubleKind::Server),
        (json!({"choices": [{"index": 0, "error": {"message": "no", "code": 502}, "finish_reason": "error"}]}), "", TroubleKind::Server),
    ];
    for (error, name, kind) in cases {
        let events = events(&[format!("{begun}{name}data: {error}\n\ndata: [DONE]\n\n").as_bytes()]);
        let Some(Event::Trouble(trouble)) = events.last() else { panic!("{error} {events:?}") };
        assert_eq!((trouble.kind, trouble.message.as_str()), (kind, "no"), "{error}");
        let told = written(&events, &asked(&json!({"messages": []})));
        assert!(told.trim_end().ends_with('}') && told.contains("data: {\"error\":{") && !told.contains("[DONE]"), "{told}");
        assert!(OpenaiChat.decode_answer(error.to_string().as_bytes()).is_err());
    }
    assert!(!events(&[begun.as_bytes()]).contains(&Event::End), "what broke off has no end");
}

#[test]
fn sources_become_annotations() {
    let results = json!([{"title": "A", "url": "https://a.example", "date": null}]);
    let body = json!({"choices": [{"message": {"content": "hi"}}], "search_results": results, "citations": ["https://a.example"]});
    let answer = OpenaiChat.decode_answer(body.to_string().as_bytes()).unwrap();
    let citation = Citation { url: Some("https://a.example".into()), title: Some("A".into()), ..Citation::default() };
    assert_eq!(answer.choices[0].citations().collect::<Vec<_>>(), [&citation]);
    let cited = Citation { span: Some((0, 2)), ..citation };
    let blocks = ["é ", "ok"].map(|text| Content::Text { text: text.into(), citations: vec![cited.clone()] }.into());
    let choice = Choice { content: blocks.to_vec(), finish: Finish::Stop, logprobs: vec![] };
    let answer = Answer { choices: vec![choice], ..Answer::default() };
    let asked = asked(&json!({"messages": []}));
    let body = OpenaiChat.encode_answer(answer.clone(), &asked, &mut Dropped::default());
    let streamed = collect(events(&[written(&answer.into_events(), &asked).as_bytes()])).unwrap();
    for answer in [OpenaiChat.decode_answer(&body).unwrap(), streamed] {
        let spans: Vec<_> = answer.choices[0].citations().map(|citation| citation.span).collect();
        assert_eq!(spans, [Some((0, 2)), Some((2, 4))]);
    }
}

#[test]
fn sound_has_its_words() {
    let choice = whole(json!({"content": null, "audio": {"id": "a", "data": "AAAA", "expires_at": 1, "transcript": "hi"}}));
    assert_eq!((choice.text().as_str(), choice.content.len()), ("hi", 2));
    let pieces =
        [json!({"audio": {"id": "a", "transcript": "h"}}), json!({"audio": {"data": "AAAA"}}), json!({"audio": {"transcript": "i"}})];
    assert_eq!((read(&pieces, "stop").text().as_str(), read(&pieces, "stop").content.len()), ("hi", 1));
}

#[test]
fn a_stream_shows_usage_only_to_who_asked() {
    let events = events(&[stream(&[json!({"content": "a"})], "stop").as_bytes()]);
    let mut told = events.clone();
    told.insert(1, Event::Usage(Usage { input: 1, output: 2, ..Usage::default() }));
    let plain = written(&told, &asked(&json!({"messages": []})));
    assert!(!plain.contains("usage") && plain.ends_with("data: [DONE]\n\n"));
    let asked = asked(&json!({"messages": [], "stream_options": {"include_usage": true}}));
    let chunks: Vec<Value> =
        written(&told, &asked).lines().filter_map(|line| serde_json::from_str(line.strip_prefix("data: ")?).ok()).collect();
    let (last, before) = chunks.split_last().unwrap();
    assert_eq!((&last["choices"], &last["usage"]["total_tokens"]), (&json!([]), &json!(3)));
    assert!(before.iter().all(|chunk| chunk["usage"].is_null() && chunk["id"] == last["id"] && chunk["created"] == last["created"]));
    assert_eq!(before[0]["choices"][0]["delta"], json!({"role": "assistant", "content": ""}));
}

#[test]
fn a_tool_result_is_never_lost() {
    let image = Media::new(MediaKind::Image, MediaSource::Base64("AAAA".into()), Some("image/png".into()));
    let result = |call_id: &str, content| {
        let result = ToolResult { call_id: call_id.into(), name: None, content, is_error: false, is_custom: false };
        Block::from(Content::ToolResult(result))
    };
    let content = vec![
        result("a", vec![Block::text("look"), Content::Media(image).into()]),
        result("b", vec![Content::Json(json!({"ok": true})).into()]),
        result("c", vec![]),
    ];
    let request = Request { messages: vec![Message::new(Role::Tool, content)], ..Request::default() };
    let (body, _) = encode(&request, "m");
    let messages = body["messages"].as_array().unwrap();
    assert_eq!(messages[0], json!({"role": "tool", "tool_call_id": "a", "content": "look"}));
    assert_eq!(messages[1], json!({"role": "tool", "tool_call_id": "b", "content": "{\"ok\":true}"}));
    assert_eq!(messages[2]["tool_call_id"], "c");
    assert_eq!(
        (&messages[3]["role"], &messages[3]["content"][1]["image_url"]["url"]),
        (&json!("user"), &json!("data:image/png;base64,AAAA"))
    );
}

#[test]
fn a_caller_of_functions_gets_a_function_call() {
    let asked =
        asked(&json!({"messages": [{"role": "user", "content": "x"}], "functions": [{"name": "f"}], "function_call": {"name": "f"}}));
    assert_eq!(asked.request.tool_choice, Some(ToolChoice::Tool("f".into())));
    let answer = collect(events(&[stream(
        &[json!({"tool_calls": [{"index": 0, "id": "a", "function": {"name": "f", "arguments": "{}"}}]})],
        "tool_calls",
    )
    .as_bytes()]));
    let body = OpenaiChat.encode_answer(answer.clone().unwrap(), &asked, &mut Dropped::default());
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(body["choices"][0]["message"]["function_call"], json!({"name": "f", "arguments": "{}"}));
    assert_eq!(body["choices"][0]["finish_reason"], "function_call");
    let told = written(&answer.unwrap().into_events(), &asked);
    assert!(told.contains("\"function_call\":{\"name\":\"f\"") && !told.contains("tool_calls"), "{told}");
}

#[test]
fn what_is_wrong_in_a_request_is_named() {
    let cases = [
        (json!({}), "messages"),
        (json!({"messages": {}}), "messages"),
        (json!({"messages": [{"role": "boss", "content": "x"}]}), "messages"),
        (json!({"messages": [{"role": "tool", "content": "x"}]}), "messages"),
        (json!({"messages": [{"role": "user", "content": 5}]}), "messages"),
        (json!({"messages": [], "temperature": "hot"}), "temperature"),
        (json!({"messages": [], "tools": [{"type": "function"}]}), "tools"),
        (json!({"messages": [], "tool_choice": "maybe"}), "tool_choice"),
        (json!({"messages": [], "stop": [1]}), "stop"),
        (json!({"messages": [], "response_format": {"type": "json_schema"}}), "response_format"),
    ];
    for (body, param) in cases {
        let refusal = OpenaiChat.decode_request(&called(), body.to_string().as_bytes()).unwrap_err();
        assert_eq!((refusal.code, refusal.param), ("invalid_value", Some(param)), "{body}");
    }
}

#[test]
fn a_choice_among_tools_is_said_in_many_ways() {
    let choice = |choice: Value| decode(&json!({"messages": [], "tool_choice": choice})).tool_choice.unwrap();
    assert_eq!(choice(json!("any")), ToolChoice::Required);
    assert_eq!(choice(json!({"type": "auto"})), ToolChoice::Auto);
    assert_eq!(choice(json!({"function": {"name": "f"}})), ToolChoice::Tool("f".into()));
    assert_eq!(choice(json!({"type": "custom", "custom": {"name": "f"}})), ToolChoice::Tool("f".into()));
    let tools = json!([{"type": "function", "function": {"name": "f"}}]);
    let allowed = json!({"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": tools}});
    assert_eq!(choice(allowed), ToolChoice::Allowed { names: vec!["f".into()], required: true });
}

#[test]
fn how_much_to_reason_is_said_in_many_ways() {
    let thinking = |more: Value| {
        let mut body = json!({"messages": []});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        decode(&body).thinking.unwrap_or_default()
    };
    assert_eq!(thinking(json!({"reasoning_effort": "high"})).effort, Some(Effort::High));
    assert_eq!(
        thinking(json!({"reasoning": {"max_tokens": 900, "exclude": true}})),
        Thinking { budget: Some(900), include: Some(false), ..Thinking::default() }
    );
    assert!(thinking(json!({"thinking": {"type": "disabled"}})).is_off());
    assert_eq!(thinking(json!({"enable_thinking": true, "thinking_budget": 5})).budget, Some(5));
    let request = |thinking: Thinking| Request { thinking: Some(thinking), ..Request::default() };
    let off = request(Thinking { enabled: Some(false), ..Thinking::default() });
    for (model, effort) in [("gpt-5", "minimal"), ("o3", "low"), ("gpt-5.1", "none"), ("x/o1-mini", "low")] {
        assert_eq!(encode(&off, model).0["reasoning_effort"], effort, "{model}");
    }
    let budget = request(Thinking { budget: Some(10_000), ..Thinking::default() });
    assert_eq!(encode(&budget, "m").0["reasoning_effort"], "high");
}

#[test]
fn probabilities_and_many_choices_are_told() {
    let token = TokenLogprob { token: "a".into(), logprob: -0.25, bytes: Some(vec![97]), top: vec![] };
    let choice = |text: &str| Choice { content: vec![Block::text(text)], finish: Finish::Stop, logprobs: vec![token.clone()] };
    let answer =
        Answer { id: "chatcmpl-1".into(), model: "m".into(), created: 5, choices: vec![choice("a"), choice("b")], ..Answer::default() };
    let asked = asked(&json!({"messages": [], "n": 2}));
    let body = OpenaiChat.encode_answer(answer.clone(), &asked, &mut Dropped::default());
    assert_eq!(OpenaiChat.decode_answer(&body).unwrap(), answer);
    let told = written(&answer.clone().into_events(), &asked);
    assert_eq!(collect(events(&[told.as_bytes()])).unwrap(), answer);
}

#[test]
fn the_first_text_is_not_held_back() {
    let text = stream(&[json!({"role": "assistant", "content": "a"})], "stop");
    let first = text.find("\n\n").unwrap() + 2;
    let mut reader = OpenaiChat.stream_reader();
    let mut out = Vec::new();
    reader.push(&text.as_bytes()[..first], &mut out);
    assert!(matches!(&out[1], Event::Open { opening: Opening::Text, .. }));
    assert!(matches!(&out[2], Event::Delta { delta: Delta::Text(text), .. } if text == "a"));
}

#[test]
fn a_model_is_sent_what_it_takes() {
    let sampling = Sampling {
        max_output: Some(64_000),
        temperature: Some(0.5),
        stop: vec!["x".into()],
        frequency_penalty: Some(0.0),
        top_k: Some(4),
        ..Sampling::default()
    };
    let long = "toolu_0123456789012345678901234567890123456789";
    let call = ToolCall { id: long.into(), name: "f".into(), arguments: "{}".into(), is_custom: false, signature: None };
    let result = ToolResult { call_id: long.into(), name: None, content: vec![Block::text("x")], is_error: false, is_custom: false };
    let request = Request {
        messages: vec![
            Message::new(Role::Developer, vec![Block::text("one"), Block::text("two")]),
            Message::new(Role::Assistant, vec![Content::ToolCall(call).into()]),
            Message::new(Role::Tool, vec![Content::ToolResult(result).into()]),
        ],
        tools: vec![Tool::Function(Function { name: "f".into(), ..Function::default() })],
        parallel_tool_calls: Some(false),
        sampling,
        ..Request::default()
    };
    let (plain, dropped) = encode(&request, "some-model");
    assert_eq!((&plain["temperature"], &plain["stop"], &plain["messages"][0]["role"]), (&json!(0.5), &json!(["x"]), &json!("system")));
    assert_eq!(dropped.names().collect::<Vec<_>>(), ["top_k"]);
    let (o3, dropped) = encode(&request, "o3-mini");
    assert_eq!(o3["messages"][0]["role"], "developer");
    assert!(["temperature", "stop", "parallel_tool_calls"].iter().all(|name| o3.get(*name).is_none()));
    assert_eq!(dropped.names().collect::<Vec<_>>(), ["parallel_tool_calls", "top_k", "stop", "temperature"]);
    let (mistral, _) = encode(&request, "mistral-large-latest");
    for (body, length) in [(&plain, 21), (&mistral, 9)] {
        let id = body["messages"][1]["tool_calls"][0]["id"].as_str().unwrap();
        assert_eq!((id.len(), body["messages"][2]["tool_call_id"].as_str()), (length, Some(id)));
    }
    assert!(mistral["tools"][0]["function"]["parameters"].is_object());
    assert_eq!(encode(&request, "deepseek-chat").0["messages"][0]["content"], "one\n\ntwo");
    let facts = Model { max_output: Some(16_384), ..Model::default() };
    let mut dropped = Dropped::default();
    let body = OpenaiChat.encode_request(&request, &To { model: "m", facts: Some(&facts) }, &mut dropped).unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&body).unwrap()["max_completion_tokens"], 16_384);
    assert!(dropped.names().any(|name| name == "max_output"));
}
