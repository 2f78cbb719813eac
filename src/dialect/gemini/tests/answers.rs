//! Answers of other dialects, streams that fail, and arguments in pieces.

use serde_json::{Value, json};

use super::*;

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
