//! How streams end and break, in every dialect; that what they hold is bounded, and that nothing waits for what comes after it.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::*;
use crate::dialect::frame::{AwsFrames, AwsKind, Sse, write_frame};
use crate::dialect::ir::{Delta, Event, Finish, Opening, Request, Tool};
use crate::dialect::translate::Translation;
use crate::dialect::{Asked, Ending, Reading, codec};

const RECORDED: [(&str, Dialect); 7] = [
    ("openai_chat", Dialect::OpenaiChat),
    ("openai_completions", Dialect::OpenaiChat),
    ("openai_responses", Dialect::OpenaiResponses),
    ("anthropic", Dialect::AnthropicMessages),
    ("gemini", Dialect::Gemini),
    ("bedrock_converse", Dialect::BedrockConverse),
    ("cohere_v2", Dialect::CohereV2),
];

fn meter(dialect: Dialect) -> Meter {
    match dialect {
        Dialect::BedrockConverse => Meter::frames(wire(dialect).tells),
        _ => Meter::stream(wire(dialect).tells, false),
    }
}

fn reading(dialect: Dialect, bytes: &[u8], length: usize) -> Reading {
    let mut meter = meter(dialect);
    bytes.chunks(length).for_each(|piece| drop(meter.pass(Bytes::copy_from_slice(piece))));
    meter.finish().1
}

fn ending(dialect: Dialect, bytes: &[u8]) -> Ending {
    reading(dialect, bytes, 97).ending
}

fn asked(dialect: Dialect, tools: Vec<Tool>) -> Asked {
    let request = Request { stream: true, tools, ..Request::default() };
    Asked { called: Called::new(Operation::Chat, dialect), request: Arc::new(request), body: Bytes::from_static(b"{}") }
}

/// A stream of that dialect's: its start, one piece of text for each, and its end.
fn written(dialect: Dialect, texts: &[&str]) -> Vec<Vec<u8>> {
    let mut events = vec![
        Event::Start { id: "id".to_owned(), model: "m".to_owned(), created: 1 },
        Event::Open { choice: 0, index: 0, opening: Opening::Text },
    ];
    events.extend(texts.iter().map(|text| Event::Delta { choice: 0, index: 0, delta: Delta::Text((*text).to_owned()) }));
    events.extend([
        Event::Close { choice: 0, index: 0 },
        Event::Finish { choice: 0, finish: Finish::Stop },
        Event::Usage(USAGE),
        Event::End,
    ]);
    let mut writer = codec(dialect).stream_writer(&asked(dialect, Vec::new()));
    let pieces = events.into_iter().map(|event| {
        let mut out = Vec::new();
        writer.write(event, &mut out);
        out
    });
    pieces.collect()
}

#[test]
fn every_recorded_stream_is_seen_to_end() {
    let mut seen = 0;
    for (file, dialect) in RECORDED {
        let path = format!("{}/../shared/traffic/{file}.jsonl", env!("CARGO_MANIFEST_DIR"));
        for line in std::fs::read_to_string(path).unwrap_or_default().lines() {
            let case: Value = serde_json::from_str(line).unwrap();
            let response = &case["response"];
            let bytes = match (response["b64"].as_str(), response["text"].as_str()) {
                (Some(b64), _) => STANDARD.decode(b64).unwrap(),
                (None, Some(text)) => text.as_bytes().to_vec(),
                (None, None) => continue,
            };
            let read = reading(dialect, &bytes, 97);
            // A recording that ends with the provider's own error has one.
            assert!(read.ending != Ending::Open, "{} of {file}: {read:?}", case["id"]);
            // What it tells of its usage, it tells of all of it.
            assert!(read.so_far.is_none() || read.usage.is_some() || read.ending == Ending::Failed, "{} of {file}: {read:?}", case["id"]);
            seen += 1;
        }
    }
    eprintln!("{seen} streams");
}

#[test]
fn a_stream_that_closes_before_its_end_is_not_taken_for_whole() {
    for dialect in Dialect::ALL {
        let pieces = written(dialect, &["Hello ", "world"]);
        assert!(matches!(ending(dialect, &pieces.concat()), Ending::Complete | Ending::Finished), "{dialect:?}");
        assert_eq!(ending(dialect, &pieces[..4].concat()), Ending::Open, "{dialect:?}");
        assert_eq!(ending(dialect, b""), Ending::Open, "{dialect:?}");
        for to in Dialect::ALL.into_iter().filter(|to| *to != dialect) {
            let mut translation = Translation::new(dialect, &asked(to, Vec::new()));
            translation.pass(&pieces[..4].concat());
            assert_eq!(translation.finish().1.ending, Ending::Open, "{dialect:?} to {to:?}");
        }
    }
    let failed = b"data: {\"choices\":[{\"delta\":{},\"finish_reason\":null}]}\n\ndata: {\"error\":{\"message\":\"overloaded\"}}\n\n";
    assert_eq!(ending(Dialect::OpenaiChat, failed), Ending::Failed);
    let failed = b"event: error\ndata: {\"type\":\"error\",\"code\":\"server_error\",\"message\":\"overloaded\"}\n\n";
    assert_eq!(ending(Dialect::OpenaiResponses, failed), Ending::Failed);
    let without_done = b"data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
    assert_eq!(ending(Dialect::OpenaiChat, without_done), Ending::Finished);
}

#[test]
fn the_name_of_an_event_goes_with_what_it_names() {
    let text = b"event: a\ndata: {}\n\nevent: b\ndata: {}\n\n";
    for at in 0..text.len() {
        let mut meter = meter(Dialect::OpenaiResponses);
        let passed = meter.pass(Bytes::copy_from_slice(&text[..at]));
        let last = passed.trim_ascii_end().rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
        assert!(!last.starts_with(b"event:"), "{at}: {passed:?}");
        let rest = meter.pass(Bytes::copy_from_slice(&text[at..]));
        assert_eq!([&*passed, &*rest, &*meter.finish().0].concat(), text);
    }
}

#[test]
fn what_a_request_needs_is_refused_and_not_dropped() {
    let sent = [
        (Dialect::Gemini, json!({ "contents": [{ "parts": [{ "text": "a" }] }], "cachedContent": "cachedContents/1" }), "cachedContent"),
        (
            Dialect::BedrockConverse,
            json!({ "messages": [{ "role": "user", "content": [{ "text": "a" }] }], "guardrailConfig": { "guardrailIdentifier": "g" } }),
            "guardrailConfig",
        ),
    ];
    for (dialect, body, named) in sent {
        let called = crate::dialect::Called { model: Some("m".to_owned()), ..crate::dialect::Called::new(Operation::Chat, dialect) };
        let request = codec(dialect).decode_request(&called, body.to_string().as_bytes()).unwrap();
        let to = crate::dialect::To { model: "m", facts: None };
        let refused = crate::dialect::translate::write_request(&request, Dialect::OpenaiChat, &to).unwrap_err();
        assert_eq!((refused.code, refused.message.contains(named)), ("not_expressible", true), "{}", refused.message);
    }
}

#[test]
fn an_event_that_is_no_json_is_told_as_trouble() {
    for dialect in Dialect::ALL.into_iter().filter(|dialect| *dialect != Dialect::BedrockConverse) {
        let mut stream = written(dialect, &["Hello"])[..3].concat();
        let torn: &[u8] =
            if dialect == Dialect::Ollama { b"{\"message\":{\"cont\n" } else { b"event: x\ndata: {\"type\":\"x\",\"cont\n\n" };
        stream.extend_from_slice(torn);
        let mut out = Vec::new();
        codec(dialect).stream_reader().push(&stream, &mut out);
        assert!(matches!(out.last(), Some(Event::Trouble(trouble)) if trouble.message.contains("broken")), "{dialect:?}: {out:?}");
    }
}

#[test]
fn a_line_that_is_too_long_is_trouble_and_leaves_its_neighbours_alone() {
    let piece = vec![b'x'; 1 << 20];
    let mut sse = Sse::default();
    let mut lengths = Vec::new();
    let mut each =
        |event: &crate::dialect::frame::SseEvent| lengths.push((event.data.len(), serde_json::from_slice::<Value>(&event.data).is_ok()));
    sse.push(b"data: {\"a\":\"", &mut each);
    (0..70).for_each(|_| sse.push(&piece, &mut each));
    sse.push(b"\"}\n\ndata: {\"b\":1}\n\n", &mut each);
    assert_eq!(lengths, [(32 << 20, false), (7, true)]);
}

#[test]
fn no_line_is_held_back_for_ever() {
    for before in ["", "event: x\n"] {
        let mut meter = meter(Dialect::AnthropicMessages);
        let (mut passed, mut largest) = (0, 0);
        let pieces = std::iter::once(format!("{before}data: ")).chain((0..70).map(|_| "x".repeat(1 << 20)));
        let mut given = 0;
        for piece in pieces {
            given += piece.len();
            passed += meter.pass(Bytes::from(piece)).len();
            largest = largest.max(given - passed);
        }
        assert!(largest <= 33 << 20, "{largest} bytes are held back behind {before:?}");
        assert_eq!(passed + meter.finish().0.len(), given);
    }
}

#[test]
fn a_long_message_in_many_pieces_costs_its_length_once() {
    let mut message = Vec::new();
    write_frame(AwsKind::Event, "metadata", &mut message, |out| out.extend_from_slice(&vec![b' '; 20 << 20]));
    let started = std::time::Instant::now();
    let (mut frames, mut meter, mut seen, mut passed) = (AwsFrames::default(), meter(Dialect::BedrockConverse), 0, 0);
    for piece in message.chunks(1 << 10) {
        frames.push(piece, |frame| seen += usize::from(frame.is_ok()));
        passed += meter.pass(Bytes::copy_from_slice(piece)).len();
    }
    assert_eq!((seen, passed), (1, message.len()));
    // Copied anew with each of its 20,000 pieces, it would be 200 GB.
    assert!(started.elapsed() < std::time::Duration::from_secs(20), "{:?}", started.elapsed());
}

#[test]
fn many_hidden_events_are_taken_out_of_one_piece() {
    let hidden = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":1}}\n\n";
    let text = format!("data: {{\"a\":1}}\n\n{}data: {{\"b\":1}}\n\n", hidden.repeat(50_000));
    let (out, _) = through(Meter::stream(wire(Dialect::OpenaiChat).tells, true), &[text.as_bytes()]);
    assert!(out == "data: {\"a\":1}\n\ndata: {\"b\":1}\n\n", "{} bytes", out.len());
}

#[test]
fn arguments_of_a_custom_tool_are_held_up_to_a_limit() {
    let tool = Tool::Custom { name: "shell".to_owned(), description: None, format: None };
    let mut translation = Translation::new(Dialect::OpenaiChat, &asked(Dialect::OpenaiResponses, vec![tool]));
    let call = json!({ "choices": [{ "index": 0, "delta": { "tool_calls": [{ "index": 0, "id": "c", "type": "function", "function": { "name": "shell", "arguments": "{\"input\":\"" } }] } }] });
    translation.pass(format!("data: {call}\n\n").as_bytes());
    let more = json!({ "choices": [{ "index": 0, "delta": { "tool_calls": [{ "index": 0, "function": { "arguments": "x".repeat(1 << 20) } }] } }] });
    let more = format!("data: {more}\n\n");
    let told: Vec<Bytes> = (0..20).map(|_| translation.pass(more.as_bytes())).collect();
    assert!(String::from_utf8_lossy(&told.concat()).contains("longer than 16 MiB"));
    assert_eq!(translation.finish().1.ending, Ending::Failed);
}

#[test]
fn the_first_token_goes_out_before_the_second_comes() {
    for from in Dialect::ALL {
        let pieces = written(from, &["first-token", "second-token"]);
        for to in Dialect::ALL.into_iter().filter(|to| *to != from) {
            let mut translation = Translation::new(from, &asked(to, Vec::new()));
            let out = translation.pass(&pieces[..3].concat());
            assert!(memchr::memmem::find(&out, b"first-token").is_some(), "{from:?} to {to:?}: {}", String::from_utf8_lossy(&out));
        }
    }
}

#[test]
fn every_recorded_answer_has_a_member_that_answers_have() {
    for (file, dialect) in RECORDED {
        let path = format!("{}/../shared/traffic/{file}.jsonl", env!("CARGO_MANIFEST_DIR"));
        for line in std::fs::read_to_string(path).unwrap_or_default().lines() {
            let case: Value = serde_json::from_str(line).unwrap();
            let Some(body) = case["response"]["body"].as_object().filter(|_| case["response"]["status"] == 200) else { continue };
            if body.contains_key("input_tokens") || body.contains_key("embeddings") {
                continue;
            }
            let has_any = wire(dialect).answers.iter().any(|name| body.contains_key(*name));
            assert!(has_any, "{} of {file}: {:?}", case["id"], body.keys().collect::<Vec<_>>());
        }
    }
}

#[test]
fn what_a_tool_is_called_with_ends_no_answer() {
    let gemini = r#"data: {"candidates":[{"content":{"parts":[{"functionCall":{"name":"f","args":{"finishReason":"STOP"}}}]}}],"usageMetadata":{"promptTokenCount":3}}"#;
    let ollama = r#"{"message":{"tool_calls":[{"function":{"name":"f","arguments":{"done":true,"eval_count":1}}}]},"done":false}"#;
    let anthropic =
        r#"data: {"type":"content_block_start","content_block":{"type":"tool_use","input":{"stop_reason":"x","type":"message_stop"}}}"#;
    let chat = r#"data: {"choices":[{"delta":{"content":"\"finish_reason\":\"stop\""},"finish_reason":null}]}"#;
    let responses = r#"data: {"type":"response.output_text.delta","delta":"response.completed\n\"response.completed\"","a":{"type":"response.completed"}}"#;
    let open = [
        (Dialect::Gemini, gemini),
        (Dialect::Ollama, ollama),
        (Dialect::AnthropicMessages, anthropic),
        (Dialect::OpenaiChat, chat),
        (Dialect::OpenaiResponses, responses),
    ];
    for (dialect, line) in open {
        let mut meter = meter(dialect);
        meter.pass(Bytes::from(format!("{line}\n\n")));
        let (_, reading) = meter.finish();
        assert_eq!((reading.ending, reading.usage), (Ending::Open, None), "{dialect:?}");
    }
}

#[test]
fn the_last_event_is_known_by_its_type_wherever_that_stands() {
    let events = [
        (
            Dialect::OpenaiResponses,
            r#"data: {"sequence_number":9,"response":{"output":[],"usage":{"input_tokens":5,"output_tokens":2}},"type":"response.incomplete"}"#,
        ),
        (Dialect::OpenaiResponses, "event:response.completed\ndata: {\"response\":{\"usage\":{\"input_tokens\":5,\"output_tokens\":2}}}"),
        (
            Dialect::AnthropicMessages,
            "data: {\"delta\":{\"stop_reason\":\"x\"},\"usage\":{\"input_tokens\":5,\"output_tokens\":2}}\n\ndata: {\"type\" : \"message_stop\"}",
        ),
        (Dialect::CohereV2, r#"data: {"delta":{"usage":{"billed_units":{"input_tokens":5,"output_tokens":2}}},"type":"message-end"}"#),
    ];
    for (dialect, text) in events {
        let mut meter = meter(dialect);
        meter.pass(Bytes::from(format!("{text}\n\n")));
        let (_, reading) = meter.finish();
        let usage = reading.usage.map(|usage| (usage.input, usage.output));
        assert_eq!((reading.ending, usage), (Ending::Complete, Some((5, 2))), "{dialect:?}: {text}");
    }
}

#[test]
fn what_responses_repeat_of_the_request_is_no_usage() {
    let created = r#"data: {"type":"response.created","response":{"usage":null,"tools":[{"parameters":{"properties":{"usage":{"prompt_tokens":0}}}}]}}"#;
    let mut meter = meter(Dialect::OpenaiResponses);
    meter.pass(Bytes::from(format!("event: response.created\n{created}\n\n")));
    assert_eq!(meter.finish().1.usage, None);
}

#[test]
fn an_array_is_read_by_its_elements_however_they_lie_on_lines() {
    let chunk = |text: &str, more: Value| json!([{ "candidates": [{ "content": { "parts": [{ "text": text }] } }] }, more]);
    let last = json!({ "candidates": [{ "finishReason": "STOP" }], "usageMetadata": { "promptTokenCount": 9, "candidatesTokenCount": 4 } });
    let array = chunk("a \"}]\" {\\", last);
    let lines = array.as_array().unwrap().iter().map(|element| format!("{element}\n")).collect::<String>();
    let alone = serde_json::to_string_pretty(&array[1]).unwrap();
    for text in
        [serde_json::to_string_pretty(&array).unwrap(), array.to_string(), array.to_string().replace("},{", "}\n,\r\n{"), lines, alone]
    {
        for length in [1, 7, text.len()] {
            let mut meter = Meter::array(wire(Dialect::Gemini).tells);
            let mut out = Vec::new();
            text.as_bytes().chunks(length).for_each(|piece| out.extend_from_slice(&meter.pass(Bytes::copy_from_slice(piece))));
            let (rest, reading) = meter.finish();
            out.extend_from_slice(&rest);
            assert_eq!(out, text.as_bytes());
            let usage = reading.usage.map(|usage| (usage.input, usage.output));
            assert_eq!((reading.ending, usage), (Ending::Finished, Some((9, 4))), "{text}");
        }
    }
}

/// A dialect and a stream in it, with that at its end.
type Stream = (Dialect, fn(&str) -> String);

/// Streams that tell their usage at the beginning.
fn told_early() -> [Stream; 3] {
    let chat = |last: &str| {
        format!(
            "data: {{\"choices\":[{{\"delta\":{{\"content\":\"Hi\"}}}}],\"usage\":{{\"prompt_tokens\":9,\"completion_tokens\":1}}}}\n\n\
             data: {{\"choices\":[{{\"delta\":{{}},\"finish_reason\":\"stop\"}}]{last}}}\n\ndata: [DONE]\n\n"
        )
    };
    let anthropic = |last: &str| {
        format!(
            "event: message_start\ndata: {{\"type\":\"message_start\",\"message\":{{\"usage\":{{\"input_tokens\":9,\"output_tokens\":1}}}}}}\n\n\
             event: message_delta\ndata: {{\"type\":\"message_delta\",\"delta\":{{\"stop_reason\":\"end_turn\"}}{last}}}\n\n\
             event: message_stop\ndata: {{\"type\":\"message_stop\"}}\n\n"
        )
    };
    let gemini = |last: &str| {
        format!(
            "data: {{\"candidates\":[{{\"content\":{{\"parts\":[{{\"text\":\"Hi\"}}]}}}}],\"usageMetadata\":{{\"promptTokenCount\":9}}}}\n\n\
             data: {{\"candidates\":[{{\"finishReason\":\"STOP\"}}]{last}}}\n\n"
        )
    };
    [(Dialect::OpenaiChat, chat), (Dialect::AnthropicMessages, anthropic), (Dialect::Gemini, gemini)]
}

/// What is read of a stream that passes as it is, however it is torn, and of one that becomes each other dialect's.
fn readings(dialect: Dialect, text: &str) -> Vec<Reading> {
    let torn = |length: usize| reading(dialect, text.as_bytes(), length);
    let translated = |to: Dialect| {
        let mut translation = Translation::new(dialect, &asked(to, Vec::new()));
        translation.pass(text.as_bytes());
        translation.finish().1
    };
    let others = Dialect::ALL.into_iter().filter(|to| *to != dialect);
    [1, 7, text.len()].into_iter().map(torn).chain(others.map(translated)).collect()
}

#[test]
fn usage_that_is_told_before_it_is_known_why_a_stream_ended_is_of_what_was_said_until_then() {
    for (dialect, stream) in told_early() {
        let name = if dialect == Dialect::Gemini { "usageMetadata" } else { "usage" };
        for last in ["", "null", "{}", "[]"] {
            let last = if last.is_empty() { String::new() } else { format!(",\"{name}\":{last}") };
            for reading in readings(dialect, &stream(&last)) {
                assert_eq!((reading.usage, reading.so_far.map(|usage| usage.input)), (None, Some(9)), "{dialect:?} {last}: {reading:?}");
                assert!(matches!(reading.ending, Ending::Finished | Ending::Complete), "{dialect:?} {last}: {reading:?}");
            }
        }
    }
}

#[test]
fn usage_directly_before_the_last_event_is_of_all_of_it_where_nothing_says_why_it_ended() {
    let usage = r#"data: {"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":4}}"#;
    let more = r#"data: {"choices":[{"delta":{"content":"Hi"}}]}"#;
    for (lines, expected) in [([more, usage], Some(4)), ([usage, more], None)] {
        for reading in readings(Dialect::OpenaiChat, &format!("{}\n\ndata: [DONE]\n\n", lines.join("\n\n"))) {
            assert_eq!((reading.usage.map(|usage| usage.output), reading.ending), (expected, Ending::Complete), "{lines:?}: {reading:?}");
        }
    }
}

#[test]
fn usage_that_is_told_with_why_a_stream_ended_is_of_all_of_it() {
    for (dialect, stream) in told_early() {
        let last = match dialect {
            Dialect::Gemini => r#","usageMetadata":{"promptTokenCount":9,"candidatesTokenCount":4}"#,
            Dialect::AnthropicMessages => r#","usage":{"output_tokens":4}"#,
            _ => r#","usage":{"prompt_tokens":9,"completion_tokens":4}"#,
        };
        for reading in readings(dialect, &stream(last)) {
            let usage = reading.usage.map(|usage| (usage.input, usage.output));
            assert_eq!(usage, Some((9, 4)), "{dialect:?}: {reading:?}");
        }
    }
}
