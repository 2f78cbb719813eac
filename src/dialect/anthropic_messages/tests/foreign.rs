//! Requests and answers of other dialects, made to fit this one.

use serde_json::{Value, json};

use super::{DIALECT, asked, encoded, events, written};
use crate::catalog::Dialect;
use crate::dialect::anthropic_messages::Messages;
use crate::dialect::ir::*;
use crate::dialect::{Codec, To};
use crate::ledger::record::Usage;

fn says(role: Role, text: &str) -> Message {
    Message::new(role, vec![Block::text(text)])
}

fn call(id: &str, arguments: &str) -> Block {
    let call = ToolCall { id: id.into(), name: "f".into(), arguments: arguments.into(), is_custom: false, signature: None };
    Content::ToolCall(call).into()
}

fn result(id: &str, content: Vec<Block>) -> Message {
    let result = ToolResult { call_id: id.into(), name: None, content, is_error: false, is_custom: false };
    Message::new(Role::Tool, vec![Content::ToolResult(result).into()])
}

fn function() -> Tool {
    Tool::Function(Function { name: "f".into(), parameters: Some(json!({"type": "object", "properties": {}})), ..Function::default() })
}

fn request(messages: Vec<Message>) -> Request {
    Request { messages, ..Request::default() }
}

fn names(dropped: &Dropped) -> Vec<&str> {
    dropped.names().collect()
}

#[test]
fn a_conversation_is_arranged_as_the_dialect_wants_it() {
    let mut messages = vec![
        says(Role::Developer, "be kind"),
        says(Role::User, "a"),
        says(Role::User, " \n"),
        says(Role::User, "b"),
        Message::new(Role::Assistant, vec![Block::text(""), call("x:1", "{\"n\":1}"), call("y", "")]),
        says(Role::User, "meanwhile"),
        result("x:1", vec![Block::text("one")]),
        result("y", vec![Content::Json(json!({"k": 2})).into(), Content::Media(image()).into()]),
        says(Role::System, "be brief"),
    ];
    messages[1].name = Some("ann".into());
    let (body, dropped) = encoded(&Request { tools: vec![function()], ..request(messages) }, "claude-haiku-4-5");
    assert_eq!(body["system"], json!([{"type": "text", "text": "be kind"}, {"type": "text", "text": "be brief"}]));
    let id = body["messages"][1]["content"][0]["id"].as_str().unwrap();
    assert!(id.starts_with("x_1_") && id.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'), "{id}");
    assert_eq!(
        body["messages"],
        json!([
            {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
            {"role": "assistant", "content": [
                {"type": "tool_use", "id": id, "name": "f", "input": {"n": 1}},
                {"type": "tool_use", "id": "y", "name": "f", "input": {}},
            ]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": id, "content": "one"},
                {"type": "tool_result", "tool_use_id": "y", "content": [
                    {"type": "text", "text": "{\"k\":2}"},
                    {"type": "image", "source": {"type": "base64", "media_type": "image/jpeg", "data": "/9j/AA=="}},
                ]},
                {"type": "text", "text": "meanwhile"},
            ]},
        ])
    );
    assert_eq!(names(&dropped), ["name", "system_position"]);
    assert_eq!(body["max_tokens"], 32_000);
}

fn image() -> Media {
    Media::new(MediaKind::Image, MediaSource::Base64("/9j/AA==".into()), None)
}

#[test]
fn a_request_of_instructions_alone_is_the_users() {
    let (body, _) = encoded(&request(vec![says(Role::System, "say hi")]), "claude-opus-4-1");
    assert_eq!((&body["messages"], &body["system"]), (&json!([{"role": "user", "content": "say hi"}]), &Value::Null));
}

#[test]
fn tools_of_the_past_are_declared_and_not_called() {
    let (body, _) =
        encoded(&request(vec![says(Role::User, "a"), Message::new(Role::Assistant, vec![call("c", "{}")]), result("c", vec![])]), "m");
    assert_eq!(body["tools"], json!([{"name": "f", "input_schema": {"type": "object", "properties": {}}}]));
    assert_eq!(body["tool_choice"], json!({"type": "none"}));
}

#[test]
fn an_effort_is_told_to_models_that_take_one() {
    // Too few tokens for a budget: what is left is to say how much effort to make.
    let thinking = Some(Thinking { effort: Some(Effort::High), ..Thinking::default() });
    let sampling = Sampling { max_output: Some(1000), ..Sampling::default() };
    for (model, effort) in [("claude-sonnet-4-5", false), ("claude-haiku-4-5", false), ("claude-opus-4-5", true)] {
        let asked = Request { thinking: thinking.clone(), sampling: sampling.clone(), ..request(vec![says(Role::User, "a")]) };
        let (body, dropped) = encoded(&asked, model);
        assert_eq!(body["thinking"], json!({"type": "disabled"}), "{model}");
        assert_eq!(body["output_config"]["effort"].is_string(), effort, "{model}");
        assert!(format!("{dropped:?}").contains("thinking"), "{model}");
    }
}

#[test]
fn thinking_is_told_as_each_model_wants_it() {
    let thinking = |effort, budget| Thinking { effort, budget, ..Thinking::default() };
    let cases = [
        ("claude-sonnet-4-5", thinking(Some(Effort::Low), None), json!({"type": "enabled", "budget_tokens": 1024}), Value::Null),
        ("claude-3-7-sonnet-20250219", thinking(None, Some(2000)), json!({"type": "enabled", "budget_tokens": 2000}), Value::Null),
        ("claude-opus-4-6", thinking(Some(Effort::XHigh), None), json!({"type": "adaptive"}), json!({"effort": "high"})),
        ("claude-opus-4-6", thinking(None, Some(5000)), json!({"type": "enabled", "budget_tokens": 5000}), Value::Null),
        ("claude-opus-4-8", thinking(None, Some(5000)), json!({"type": "adaptive", "display": "summarized"}), json!({"effort": "medium"})),
        ("claude-sonnet-5", thinking(Some(Effort::None), None), json!({"type": "disabled"}), Value::Null),
        ("claude-fable-5", thinking(Some(Effort::None), None), Value::Null, json!({"effort": "low"})),
        (
            "claude-opus-4-8",
            thinking(Some(Effort::Minimal), None),
            json!({"type": "adaptive", "display": "summarized"}),
            json!({"effort": "low"}),
        ),
        ("claude-3-5-haiku-20241022", thinking(Some(Effort::High), None), Value::Null, Value::Null),
    ];
    for (model, thinking, expected, config) in cases {
        let (body, _) = encoded(&Request { thinking: Some(thinking), ..request(vec![says(Role::User, "a")]) }, model);
        assert_eq!((&body["thinking"], &body["output_config"]), (&expected, &config), "{model}");
    }
}

#[test]
fn thinking_gives_way_to_what_forbids_it_and_forbids_the_rest() {
    let thinking = Some(Thinking { effort: Some(Effort::High), ..Thinking::default() });
    let sampling = Sampling { temperature: Some(0.3), top_k: Some(4), top_p: Some(0.5), max_output: Some(2000), ..Sampling::default() };
    let base = Request { thinking, sampling, tools: vec![function()], ..request(vec![says(Role::User, "a")]) };
    let (body, dropped) = encoded(&base, "claude-sonnet-4-0");
    assert_eq!(body["thinking"], json!({"type": "enabled", "budget_tokens": 1999}));
    assert_eq!(names(&dropped), ["temperature", "top_p", "top_k"]);

    let (body, dropped) = encoded(&Request { tool_choice: Some(ToolChoice::Required), ..base.clone() }, "claude-sonnet-4-0");
    assert_eq!((&body["thinking"]["type"], &body["tool_choice"]["type"]), (&json!("disabled"), &json!("any")));
    assert_eq!((&body["temperature"], &body["top_k"], names(&dropped)), (&json!(0.3), &json!(4), vec!["thinking"]));

    let mut unsigned = base.clone();
    unsigned.messages.extend([Message::new(Role::Assistant, vec![call("c", "{}")]), result("c", vec![Block::text("1")])]);
    assert_eq!(encoded(&unsigned, "claude-sonnet-4-0").0["thinking"]["type"], "disabled");
    assert_eq!(encoded(&unsigned, "claude-opus-4-8").0["thinking"]["type"], "adaptive");

    let proof = |by| Reasoning { text: "hm".into(), signature: Some(Signature::new(by, "s")), ..Reasoning::default() };
    unsigned.messages[1].content.insert(0, Content::Reasoning(proof(DIALECT)).into());
    assert_eq!(encoded(&unsigned, "claude-sonnet-4-0").0["thinking"]["type"], "enabled");
    unsigned.messages[1].content[0] = Content::Reasoning(proof(Dialect::Gemini)).into();
    let (body, dropped) = encoded(&unsigned, "claude-sonnet-4-0");
    assert!(!body.to_string().contains("hm") && names(&dropped).starts_with(&["reasoning", "thinking"]), "{body}");
}

#[test]
fn what_has_no_words_is_named() {
    let sampling = Sampling {
        temperature: Some(1.7),
        seed: Some(1),
        n: Some(2),
        logprobs: Some(true),
        frequency_penalty: Some(0.1),
        stop: vec!["\n".into(), "x".into()],
        ..Sampling::default()
    };
    let all = Request {
        sampling,
        format: Some(Format::JsonObject),
        service_tier: Some("flex".into()),
        parallel_tool_calls: Some(false),
        tools: vec![function()],
        ..request(vec![says(Role::User, "a")])
    };
    let (body, dropped) = encoded(&all, "claude-sonnet-4-5");
    assert_eq!((&body["temperature"], &body["stop_sequences"]), (&json!(1.0), &json!(["x"])));
    assert_eq!(body["tool_choice"], json!({"type": "auto", "disable_parallel_tool_use": true}));
    assert!(body["system"].as_str().unwrap().contains("JSON object"));
    assert_eq!(names(&dropped), ["temperature", "format", "stop", "service_tier", "seed", "frequency_penalty", "n", "logprobs"]);
}

#[test]
fn a_schema_is_enforced_where_the_model_can_be_made_to() {
    let schema = json!({"type": "object", "properties": {"n": {"type": "integer", "minimum": 1}}, "required": ["n"]});
    let format = Format::JsonSchema { name: "x".into(), description: None, schema, strict: Some(true) };
    let asked = Request { format: Some(format), ..request(vec![says(Role::User, "a")]) };
    let (body, _) = encoded(&asked, "claude-sonnet-4-5");
    let enforced = json!({
        "type": "object", "required": ["n"], "additionalProperties": false,
        "properties": {"n": {"type": "integer", "description": "{\"minimum\":1}"}},
    });
    assert_eq!(body["output_config"]["format"], json!({"type": "json_schema", "schema": enforced}));
    let (body, dropped) = encoded(&asked, "claude-sonnet-4-0");
    assert!(body["system"].as_str().unwrap().contains("\"minimum\":1") && names(&dropped) == ["format"], "{body}");
}

#[test]
fn what_would_change_the_meaning_is_refused() {
    let media = |kind, source, media_type: &str| Content::Media(Media::new(kind, source, Some(media_type.to_owned())));
    let base64 = || MediaSource::Base64("AAAA".into());
    let file = MediaSource::File { of: Dialect::OpenaiChat, id: "file-1".into() };
    let refused = [
        media(MediaKind::Audio, base64(), "audio/wav"),
        media(MediaKind::Document, base64(), "application/msword"),
        media(MediaKind::Image, file, "image/png"),
    ];
    for content in refused {
        let request = request(vec![Message::new(Role::User, vec![content.into()])]);
        let refusal = Messages.encode_request(&request, &To { model: "m", facts: None }, &mut Dropped::default()).unwrap_err();
        assert_eq!((refusal.code, refusal.param), ("not_expressible", Some("messages")), "{}", refusal.message);
    }
}

#[test]
fn a_foreign_signature_of_a_call_finds_its_way_back() {
    let signature = Signature::new(Dialect::Gemini, "si.g==");
    let called = ToolCall { id: "a.b".into(), name: "f".into(), arguments: "{}".into(), is_custom: false, signature: Some(signature) };
    let choice = Choice { content: vec![Content::ToolCall(called).into()], finish: Finish::Stop, logprobs: vec![] };
    let answer = Answer { choices: vec![choice], usage: Some(Usage { input: 3, output: 4, ..Usage::default() }), ..Answer::default() };
    let whole = Messages.encode_answer(answer.clone(), &asked("caller's"), &mut Dropped::default());
    let value: Value = serde_json::from_slice(&whole).unwrap();
    assert_eq!((&value["model"], &value["stop_reason"]), (&json!("caller's"), &json!("tool_use")));
    assert!(value["id"].as_str().unwrap().len() > 20 && value["usage"]["cache_read_input_tokens"] == 0);
    assert_eq!(Messages.decode_answer(&whole).unwrap().choices[0].content, answer.choices[0].content);

    let text = String::from_utf8(written(answer.clone().into_events(), "m")).unwrap();
    let told = events(text.as_bytes(), 10);
    assert!(matches!(told.last(), Some(Event::End)) && text.contains("kw-call.3.a.b.kw.gemini.si.g=="), "{text}");
    // The caller sends the turn back.
    let body = json!({"max_tokens": 1, "messages": [{"role": "assistant", "content": value["content"]}]});
    let back = Messages.decode_request(&super::called(), body.to_string().as_bytes()).unwrap();
    assert_eq!(back.messages[0].content, answer.choices[0].content);
}

#[test]
fn an_error_in_the_middle_of_a_stream_is_told_by_its_name() {
    let stream = b"event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}\n\n";
    let told = events(stream, 5);
    let trouble =
        Trouble { kind: TroubleKind::Overloaded, code: Some("overloaded_error".into()), message: "Overloaded".into(), param: None };
    assert_eq!(told, [Event::Trouble(trouble)]);
    let again = written(told.clone(), "m");
    assert!(again.starts_with(b"event: error\n") && events(&again, 5) == told);
}

#[test]
fn words_that_decline_end_as_a_refusal() {
    for (content, reason) in [(Content::Refusal("No.".into()).into(), "refusal"), (Block::text("No."), "end_turn")] {
        let answer =
            Answer { choices: vec![Choice { content: vec![content], finish: Finish::Stop, logprobs: vec![] }], ..Answer::default() };
        let whole: Value = serde_json::from_slice(&Messages.encode_answer(answer.clone(), &asked("m"), &mut Dropped::default())).unwrap();
        assert_eq!((&whole["stop_reason"], &whole["content"][0]["text"]), (&json!(reason), &json!("No.")));
        let stream = String::from_utf8(written(answer.into_events(), "m")).unwrap();
        assert!(stream.contains(&format!("\"stop_reason\":\"{reason}\"")), "{stream}");
    }
}
