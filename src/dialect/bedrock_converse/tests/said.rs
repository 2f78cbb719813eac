//! What families of models take, and what other dialects say in this one.

use serde_json::json;

use super::*;
use crate::dialect::frame::{AwsKind, write_frame};
use crate::dialect::ir::{
    Block, Content, Effort, Finish, Function, Media, MediaKind, MediaSource, Message, Reasoning, Role, Sampling, Signature, Thinking, Tool,
    ToolCall, ToolChoice, ToolResult, Trouble, TroubleKind,
};

fn user(text: &str) -> Message {
    Message::new(Role::User, vec![Block::text(text)])
}

fn function(name: &str) -> Tool {
    Tool::Function(Function { name: name.into(), ..Function::default() })
}

fn call(id: &str) -> Content {
    Content::ToolCall(ToolCall { id: id.into(), name: "f".into(), arguments: String::new(), is_custom: false, signature: None })
}

fn result(id: &str, content: Vec<Block>) -> Content {
    Content::ToolResult(ToolResult { call_id: id.into(), name: None, content, is_error: false, is_custom: false })
}

#[test]
fn roles_take_turns_and_a_user_begins() {
    let messages = vec![
        Message::new(Role::Developer, vec![Block::text("be brief")]),
        Message::new(Role::Assistant, vec![Block::text("hello"), Block::text("  ")]),
        user("one"),
        user(""),
        Message::new(Role::System, vec![Block::text("be kind")]),
        user("two"),
    ];
    let (body, dropped) = encoded_for(&Request { messages, ..Request::default() }, CLAUDE, None);
    assert_eq!(body["system"], json!([{ "text": "be brief" }, { "text": "be kind" }]));
    let expected = json!([
        { "role": "user", "content": [{ "text": "." }] },
        { "role": "assistant", "content": [{ "text": "hello" }] },
        { "role": "user", "content": [{ "text": "one" }, { "text": "two" }] },
    ]);
    assert_eq!((&body["messages"], dropped.is_empty()), (&expected, true));
}

#[test]
fn results_of_tools_and_what_cannot_stand_in_them_survive() {
    let pdf = Media::new(MediaKind::Document, MediaSource::Base64("JVBERi0=".into()), Some("application/pdf".into()));
    let id = "call with spaces|and more";
    let messages = vec![
        user("go"),
        Message::new(Role::Assistant, vec![call(id).into(), call("b").into()]),
        Message::new(Role::Tool, vec![result(id, vec![Content::Media(pdf).into()]).into(), result("b", vec![Block::text("ok")]).into()]),
    ];
    let request = Request { messages, ..Request::default() };
    let (body, _) = encoded_for(&request, "us.amazon.nova-pro-v1:0", None);
    let results = &body["messages"][2]["content"];
    assert_eq!(results[0]["toolResult"]["content"], json!([{ "text": "See the attached file(s)." }]));
    assert_eq!(results[0]["toolResult"]["toolUseId"], body["messages"][1]["content"][0]["toolUse"]["toolUseId"]);
    assert_eq!(results[1]["toolResult"]["content"], json!([{ "text": "ok" }]));
    assert_eq!(results[2]["document"]["name"], "Document 1");
    assert_eq!(results[3]["text"], "See attached document(s).");
    // There are calls, so there has to be a tool.
    assert_eq!(body["toolConfig"]["tools"][0]["toolSpec"]["name"], "f");
    let (body, _) = encoded_for(&request, CLAUDE, None);
    assert_eq!(body["messages"][2]["content"][0]["toolResult"]["content"][0]["document"]["format"], "pdf");
}

#[test]
fn documents_have_names_that_are_taken_and_differ() {
    let document = |name: &str| {
        let mut media = Media::new(MediaKind::Document, MediaSource::Base64("QQ==".into()), Some("text/x-python".into()));
        media.name = Some(name.into());
        Block::from(Content::Media(media))
    };
    let content = vec![Block::text("see"), document("a/b  c.py"), document("a_b c.py"), document("[x] (1)-2"), document("☃")];
    let (body, _) = encoded_for(&Request { messages: vec![Message::new(Role::User, content)], ..Request::default() }, "m", None);
    let names: Vec<_> = body["messages"][0]["content"].as_array().unwrap()[1..].iter().map(|block| &block["document"]["name"]).collect();
    assert_eq!(names, ["a b c py", "a b c py (2)", "[x] (1)-2", "Document 4"]);
    assert_eq!(body["messages"][0]["content"][1]["document"]["format"], "txt");
}

#[test]
fn media_at_a_place_that_bedrock_cannot_reach_is_refused() {
    for source in [MediaSource::Url("https://a.example/x.png".into()), MediaSource::File { of: Dialect::Gemini, id: "f".into() }] {
        let media = Content::Media(Media::new(MediaKind::Image, source, None));
        let request = Request { messages: vec![Message::new(Role::User, vec![media.into()])], ..Request::default() };
        let refused = Bedrock.encode_request(&request, &To { model: CLAUDE, facts: None }, &mut Dropped::default()).unwrap_err();
        assert_eq!(refused.code, "not_expressible");
    }
    assert!(Bedrock.takes_url(MediaKind::Image, "s3://b/k") && !Bedrock.takes_url(MediaKind::Image, "https://a.example/"));
}

#[test]
fn claude_that_thinks_takes_neither_its_sampling_nor_a_forced_tool() {
    let sampling = Sampling { temperature: Some(0.3), top_k: Some(5), max_output: Some(2000), ..Sampling::default() };
    let thinking = Some(Thinking { effort: Some(Effort::High), ..Thinking::default() });
    let request = Request {
        messages: vec![user("go")],
        tools: vec![function("f")],
        tool_choice: Some(ToolChoice::Tool("f".into())),
        sampling,
        thinking,
        ..Request::default()
    };
    let (body, dropped) = encoded_for(&request, CLAUDE, None);
    assert_eq!(body["additionalModelRequestFields"], json!({ "thinking": { "type": "enabled", "budget_tokens": 1999 } }));
    assert_eq!((&body["inferenceConfig"], &body["toolConfig"]["toolChoice"]), (&json!({ "maxTokens": 2000 }), &json!({ "auto": {} })));
    assert_eq!(dropped, ["temperature", "top_k", "tool_choice"]);
    let (body, _) = encoded_for(&request, "anthropic.claude-opus-4-8", None);
    let fields = &body["additionalModelRequestFields"];
    assert_eq!((&fields["thinking"], &fields["output_config"]), (&json!({ "type": "adaptive" }), &json!({ "effort": "high" })));
    let (body, dropped) = encoded_for(&request, "us.amazon.nova-2-lite-v1:0", None);
    let fields =
        |effort| json!({ "inferenceConfig": { "topK": 5 }, "reasoningConfig": { "type": "enabled", "maxReasoningEffort": effort } });
    let bounded = json!({ "maxTokens": 2000, "temperature": 0.3 });
    assert_eq!((&body["additionalModelRequestFields"], &body["inferenceConfig"]), (&fields("medium"), &bounded), "a limit is kept");
    assert_eq!(dropped, ["thinking"]);
    let boundless = Request { sampling: Sampling { max_output: None, ..request.sampling.clone() }, ..request.clone() };
    let (body, dropped) = encoded_for(&boundless, "us.amazon.nova-2-lite-v1:0", None);
    assert_eq!((&body["additionalModelRequestFields"], body.get("inferenceConfig")), (&fields("high"), None));
    assert_eq!(dropped, ["temperature"]);
    let (body, dropped) = encoded_for(&request, "meta.llama3-70b-instruct-v1:0", None);
    assert_eq!((body.get("additionalModelRequestFields"), &body["toolConfig"]["toolChoice"]), (None, &json!({ "auto": {} })));
    assert_eq!(dropped, ["thinking", "top_k", "tool_choice"]);
}

#[test]
fn claude_that_is_to_go_on_without_its_reasoning_does_not_think() {
    let signature = |by| Some(Signature::new(by, "c2ln"));
    let reasoning = |by| Content::Reasoning(Reasoning { text: "hm".into(), signature: signature(by), ..Reasoning::default() });
    for (by, kept) in [(Dialect::AnthropicMessages, true), (Dialect::Gemini, false)] {
        let messages = vec![
            user("go"),
            Message::new(Role::Assistant, vec![reasoning(by).into(), call("a").into()]),
            Message::new(Role::Tool, vec![result("a", vec![Block::text("ok")]).into()]),
        ];
        let thinking = Some(Thinking { budget: Some(2048), ..Thinking::default() });
        let (body, dropped) = encoded_for(&Request { messages, thinking, tools: vec![function("f")], ..Request::default() }, CLAUDE, None);
        assert_eq!(body["messages"][1]["content"][0].get("reasoningContent").is_some(), kept);
        assert_eq!(body.get("additionalModelRequestFields").is_some(), kept);
        assert_eq!(dropped, if kept { vec![] } else { vec!["reasoning", "thinking"] });
    }
}

#[test]
fn calls_one_by_one_are_claudes_own_field_in_place_of_the_choice() {
    let request = Request {
        messages: vec![user("go")],
        tools: vec![function("f")],
        tool_choice: Some(ToolChoice::Required),
        parallel_tool_calls: Some(false),
        ..Request::default()
    };
    let (body, dropped) = encoded_for(&request, CLAUDE, None);
    assert_eq!(body["additionalModelRequestFields"]["tool_choice"], json!({ "type": "any", "disable_parallel_tool_use": true }));
    assert!(body["toolConfig"].get("toolChoice").is_none() && dropped.is_empty());
    let read = decoded(&body.to_string());
    assert_eq!((read.tool_choice, read.parallel_tool_calls), (Some(ToolChoice::Required), Some(false)));
}

#[test]
fn a_foreign_signature_comes_back_through_a_tool_loop() {
    let signature = Signature::new(Dialect::Gemini, "dGhvdWdodA==");
    let asks = ToolCall { id: "c".into(), name: "f".into(), arguments: "{}".into(), is_custom: false, signature: Some(signature.clone()) };
    let choice =
        crate::dialect::ir::Choice { content: vec![Content::ToolCall(asks).into()], finish: Finish::ToolCalls, logprobs: Vec::new() };
    let answer = Answer { choices: vec![choice], ..Answer::default() };
    let whole: serde_json::Value = serde_json::from_slice(&write_whole(answer.clone())).unwrap();
    let body = json!({ "messages": [{ "role": "user", "content": [{ "text": "go" }] }, whole["output"]["message"]] });
    let carried = |request: &Request| match &request.messages[1].content[..] {
        [Block { content: Content::ToolCall(call), .. }] => call.signature.clone(),
        _ => None,
    };
    assert_eq!(carried(&decoded(&body.to_string())), Some(signature));
    let streamed = collect(read_stream([&write_stream(answer)[..]]));
    let words: Vec<_> = streamed.choices[0].content.iter().map(|block| matches!(block.content, Content::Reasoning(_))).collect();
    assert_eq!(words, [true, false]);
}

#[test]
fn redacted_reasoning_is_the_same_behind_both_of_claudes_doors() {
    let body = r#"{"messages":[{"role":"user","content":[{"text":"a"}]},{"role":"assistant","content":[{"reasoningContent":{"redactedContent":"RXVRRkNrZ0lC"}}]}]}"#;
    let request = decoded(body);
    let Content::Reasoning(reasoning) = &request.messages[1].content[0].content else { panic!("no reasoning") };
    assert_eq!(reasoning.signature.as_ref().unwrap().value_for(Dialect::AnthropicMessages), Some("EuQFCkgIB"));
}

#[test]
fn an_exception_in_the_middle_of_a_stream_is_trouble() {
    let mut stream = Vec::new();
    write_frame(AwsKind::Event, "messageStart", &mut stream, |out| out.extend_from_slice(br#"{"role":"assistant"}"#));
    write_frame(AwsKind::Exception, "throttlingException", &mut stream, |out| out.extend_from_slice(br#"{"message":"slower"}"#));
    let events = read_stream([&stream[..]]);
    let expected =
        Trouble { kind: TroubleKind::RateLimit, code: Some("throttlingException".into()), message: "slower".into(), param: None };
    assert_eq!(events[1..], [Event::Trouble(expected.clone())]);
    let mut writer = Bedrock.stream_writer(&asked());
    let mut out = Vec::new();
    events.into_iter().for_each(|event| writer.write(event, &mut out));
    assert!(out == stream);
    // The damage of one bit is seen.
    let at = stream.len() - 9;
    stream[at] ^= 1;
    assert!(matches!(read_stream([&stream[..]]).last(), Some(Event::Trouble(trouble)) if trouble.kind == TroubleKind::Server));
}

#[test]
fn what_is_cited_reads_alike_whole_and_streamed() {
    let source = json!({ "title": "d", "sourceContent": [{ "text": "words" }], "location": { "documentPage": { "documentIndex": 0, "start": 1, "end": 2 } } });
    let whole = json!({ "output": { "message": { "role": "assistant", "content": [
        { "text": "It says " }, { "citationsContent": { "content": [{ "text": "words" }], "citations": [source] } }, { "text": "." },
    ] } }, "stopReason": "end_turn" });
    let mut stream = Vec::new();
    let mut event = |name: &str, payload: serde_json::Value| {
        write_frame(AwsKind::Event, name, &mut stream, |out| out.extend_from_slice(payload.to_string().as_bytes()));
    };
    event("messageStart", json!({ "role": "assistant" }));
    for (index, delta) in [
        (0, json!({ "text": "It says " })),
        (1, json!({ "citation": source })),
        (1, json!({ "text": "words" })),
        (2, json!({ "text": "." })),
        (3, json!({ "text": "" })),
    ] {
        event("contentBlockDelta", json!({ "contentBlockIndex": index, "delta": delta }));
    }
    event("messageStop", json!({ "stopReason": "end_turn" }));
    let whole = Bedrock.decode_answer(whole.to_string().as_bytes()).unwrap();
    assert_eq!(whole.choices[0].citations().next().unwrap().cited_text.as_deref(), Some("words"));
    assert_eq!(collect(read_stream([&stream[..]])), whole);
}
