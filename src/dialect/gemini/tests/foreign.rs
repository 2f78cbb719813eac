//! Requests of other dialects, and those of Google's own in each of its spellings.

use serde_json::{Value, json};

use super::*;

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
    assert!(dropped.names().any(|name| name == "format") && body["generationConfig"].get("responseMimeType").is_none());
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
fn a_streamed_turn_that_comes_back_in_pieces_is_one() {
    let model = |part: Value| json!({ "role": "model", "parts": [part] });
    let request = decode(&json!({ "contents": [
        { "role": "user", "parts": [{ "text": "Hi" }] },
        model(json!({ "text": "I th", "thought": true })),
        model(json!({ "text": "ink", "thought": true, "thoughtSignature": "c2ln" })),
        model(json!({ "text": "Hello " })),
        model(json!({ "text": "there!" })),
        model(json!({ "functionCall": { "name": "f", "args": {} } })),
        model(json!({ "text": "" })),
        { "role": "user", "parts": [{ "functionResponse": { "name": "f", "response": { "output": "1" } } }] },
    ] }));
    let roles: Vec<Role> = request.messages.iter().map(|message| message.role).collect();
    assert_eq!(roles, [Role::User, Role::Assistant, Role::Tool]);
    let [thought, said, call] = &request.messages[1].content[..] else { panic!("{:?}", request.messages[1]) };
    assert!(matches!(&thought.content, Content::Reasoning(thought) if thought.text == "I think" && thought.signature.is_some()));
    assert_eq!(said.as_text(), Some("Hello there!"));
    assert!(matches!(&call.content, Content::ToolCall(call) if call.name == "f"));
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
fn a_texts_signature_stays_with_the_text_through_an_openai_client() {
    let said = json!({ "candidates": [{ "content": { "role": "model", "parts": [
        { "text": "hm", "thought": true }, { "text": "Hello", "thoughtSignature": "c2ln" },
    ] }, "finishReason": "STOP" }] });
    let answer = Gemini.decode_answer(said.to_string().as_bytes()).unwrap();
    let chat = crate::dialect::codec(Dialect::OpenaiChat);
    let told = chat.encode_answer(answer, &asked(), &mut Dropped::default());
    let told: Value = serde_json::from_slice(&told).unwrap();
    let body = json!({ "model": "m", "messages": [{ "role": "user", "content": "Hi" }, told["choices"][0]["message"], { "role": "user", "content": "Go on" }] });
    let request = chat.decode_request(&Called::new(Operation::Chat, Dialect::OpenaiChat), body.to_string().as_bytes()).unwrap();
    let (back, dropped) = encode_for("gemini-3-pro-preview", &request);
    assert_eq!(back["contents"][1]["parts"], json!([{ "text": "Hello", "thoughtSignature": "c2ln" }]));
    assert_eq!(dropped.names().collect::<Vec<_>>(), ["reasoning"]);
}
