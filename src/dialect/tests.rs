#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use proptest::prelude::*;

use super::ask::Ask;
use super::members::Members;
use super::meter::Meter;
use super::tools::Added;
use super::{Called, codec, wire};
use crate::catalog::{Dialect, Operation, Quirks};
use crate::ledger::record::Usage;

fn called() -> Called {
    Called::new(Operation::Chat, Dialect::OpenaiChat)
}

fn ask(body: &str) -> Ask {
    Ask::read(called(), Bytes::from(body.to_owned())).unwrap()
}

fn encoded(body: &str, quirks: &str) -> String {
    let quirks: Quirks = toml::from_str(quirks).unwrap();
    String::from_utf8(ask(body).encode("m", &quirks).concat()).unwrap()
}

#[test]
fn only_the_model_changes() {
    let body = " {\n \"messages\" : [ {\"role\":\"user\",\"content\":\"\\u00e9 \\\"model\\\": 1\"} ],\n\t\"model\" :\"a/b\", \"x\":1e3 }\n";
    assert_eq!(encoded(body, ""), body.replace("\"a/b\"", "\"m\""));
}

#[test]
fn a_stream_asks_for_usage_where_its_caller_did_not() {
    let cases = [
        (r#"{"model":"a","stream":true}"#, r#"{"stream_options":{"include_usage":true},"model":"m","stream":true}"#, true),
        (
            r#"{"model":"a","stream":true,"stream_options":null}"#,
            r#"{"model":"m","stream":true,"stream_options":{"include_usage":true}}"#,
            true,
        ),
        (
            r#"{"stream_options":{},"model":"a","stream":true}"#,
            r#"{"stream_options":{"include_usage":true},"model":"m","stream":true}"#,
            true,
        ),
        (
            r#"{"model":"a","stream":true,"stream_options":{"include_usage": false}}"#,
            r#"{"model":"m","stream":true,"stream_options":{"include_usage": true}}"#,
            true,
        ),
        (
            r#"{"model":"a","stream":true,"stream_options":{"x":1}}"#,
            r#"{"model":"m","stream":true,"stream_options":{"include_usage":true,"x":1}}"#,
            true,
        ),
        (
            r#"{"model":"a","stream":true,"stream_options":{"include_usage":true}}"#,
            r#"{"model":"m","stream":true,"stream_options":{"include_usage":true}}"#,
            false,
        ),
        (r#"{"model":"a","stream":false}"#, r#"{"model":"m","stream":false}"#, false),
    ];
    for (body, expected, hides) in cases {
        assert_eq!(encoded(body, ""), expected);
        assert_eq!(ask(body).hides_usage(&Quirks::default()), hides, "{body}");
    }
}

#[test]
fn quirks_rename_drop_and_fill_in() {
    let quirks = "drop = [\"stream_options\", \"user\"]\nrename = { max_completion_tokens = \"max_tokens\" }\ndefault = { temperature = 1, top_k = 5 }";
    assert_eq!(
        encoded(r#"{"model":"a","stream":true,"user":"u","max_completion_tokens": 5,"temperature":0.5}"#, quirks),
        r#"{"model":"m","stream":true,"max_tokens":5,"temperature":0.5,"top_k":5}"#
    );
    assert_eq!(
        encoded(r#"{"model":"a","max_completion_tokens":5,"max_tokens":6}"#, "rename = { max_completion_tokens = \"max_tokens\" }"),
        r#"{"model":"m","max_tokens":6}"#
    );
}

#[test]
fn what_is_wrong_is_named() {
    let cases = [
        ("", "body_empty"),
        ("  ", "body_empty"),
        ("[]", "body_not_an_object"),
        ("\"x\"", "body_not_an_object"),
        ("{", "body_not_json"),
        ("{\"model\":\"a\",}", "body_not_json"),
        ("{\"model\":\"a\"} {}", "body_not_json"),
        ("{\"model\":\"a\",\"model\":\"b\"}", "body_not_json"),
        ("{\"model\":\"a\",\"mod\\u0065l\":\"b\"}", "body_not_json"),
        ("{}", "invalid_value"),
        ("{\"model\":5}", "invalid_value"),
        ("{\"model\":\"\"}", "invalid_value"),
        ("{\"model\":\"a\",\"stream\":\"yes\"}", "invalid_value"),
        ("{\"model\":\"a\",\"max_tokens\":-1}", "invalid_value"),
        ("{\"model\":\"a\",\"stream\":true,\"stream_options\":5}", "invalid_value"),
        ("{\"model\":\"a\",\"stream\":true,\"stream_options\":[true]}", "invalid_value"),
    ];
    for (body, code) in cases {
        let refusal = Ask::read(called(), Bytes::from(body)).unwrap_err();
        assert_eq!(refusal.code, code, "{body}: {}", refusal.message);
    }
}

#[test]
fn what_points_out_of_a_request_is_seen_and_what_only_talks_of_it_is_not() {
    let said = |content: &str| format!(r#"{{"model":"a","messages":[{{"role":"user","content":{content}}}]}}"#);
    let pointing = [
        said(r#"[{"type":"file","file":{"file_id":"file-1"}}]"#),
        said(r#"[{"type":"image","source":{"type":"base64","data":"aGk="}}]"#),
        said(r#"[{"image":{"format":"png","source":{"bytes":"aGk="}}}]"#),
        said(r#"[{"type":"input_audio","input_audio":{"data":"aGk="}}]"#),
        said(r#"[{"type":"text","te\u0078t":"a"}]"#),
        r#"{"model":"a","contents":[{"parts":[{"inlineData":{"data":"aGk="}}]}]}"#.to_owned(),
        r#"{"model":"a","messages":[{"role":"user","content":"hi","images":["aGk="]}]}"#.to_owned(),
        r#"{"model":"a","previous_response_id":"resp_1"}"#.to_owned(),
    ];
    for body in pointing {
        assert!(ask(&body).points_out, "{body}");
    }
    let talking = [
        said(r#""an image at a url, with \"file_id\": 1 and web_search\n""#),
        said(r#""caf\u00e9 \u003cb\u003e \\u0061""#),
        r#"{"model":"a","tools":[{"type":"function","function":{"name":"fetch","parameters":{"properties":{"url":{"type":"string"}}}}}]}"#
            .to_owned(),
        r#"{"model":"a","response_format":{"json_schema":{"schema":{"properties":{"image":{"type":"string"}}}}},"messages":[]}"#.to_owned(),
        r#"{"model":"a","prompt":"hi"}"#.to_owned(),
    ];
    for body in talking {
        assert!(!ask(&body).points_out, "{body}");
    }
    // Whichever of the two comes first.
    assert!(ask(r#"{"model":"a","messages":[{"content":[{"image_url":"u"}]}],"tools":[{"url":1}]}"#).points_out);
    assert!(ask(r#"{"model":"a","tools":[{"url":1}],"messages":[{"content":[{"image_url":"u"}]}]}"#).points_out);
}

#[test]
fn tools_that_a_provider_runs_are_told_from_a_callers_own() {
    let added = |rest: &str| {
        let ask = ask(&format!(r#"{{"model":"a",{rest}}}"#));
        ask.tools.added(&ask.body)
    };
    let run_there = [
        r#""messages":[],"web_search_options":{}"#,
        r#""tools":[{"type":"web_search_preview_2025_03_11"}],"input":"hi""#,
        r#""tools":[{"type":"function","name":"f"},{"type":"mc\u0070","server_label":"x"}]"#,
        r#""tools":[{"googleSearch":{}}]"#,
        r#""tools":[{"functionDeclarations":[],"codeExecution":{}}]"#,
        r#""toolConfig":{"tools":[{"systemTool":{"name":"nova_grounding"}}]}"#,
        r#""tools":[{"type":"builtin_function","function":{"name":"$web_search"}}]"#,
        r#""tools":[{"type":"namespace","name":"n","tools":[{"type":"image_generation"}]}]"#,
        r#""context_management":{"edits":[{"type":"compact_20260112"}]}"#,
        r#""compaction":{"type":"summarize"}"#,
        r#""enable_search":true"#,
        r#""additionalModelRequestFields":{"tools":[{"type":"web_search_20250305","name":"web_search"}]}"#,
    ];
    for rest in run_there {
        assert!(added(rest).runs_there, "{rest}");
    }
    let own = [
        r#""tools":[{"type":"function","function":{"name":"web_search","parameters":{}}}]"#,
        r#""tools":[{"name":"f","description":"d","input_schema":{},"cache_control":{}}]"#,
        r#""tools":[{"functionDeclarations":[{"name":"f"}]}]"#,
        r#""toolConfig":{"tools":[{"toolSpec":{}},{"cachePoint":{}}],"toolChoice":{"auto":{}}}"#,
        r#""tools":[{"type":"custom","name":"c"}],"web_search_options":null"#,
        r#""context_management":{"edits":[{"type":"clear_tool_uses_20250919"}]}"#,
    ];
    for rest in own {
        assert_eq!((added(rest).runs_there, added(rest).described_there), (false, 0), "{rest}");
    }
    let shell = added(r#""tools":[{"type":"bash_20250124","name":"bash"},{"type":"text_editor_20250728"},{"name":"f","input_schema":{}}]"#);
    assert_eq!(shell, Added { runs_there: false, described_there: 2, any: true });
    let on_bedrock = added(r#""additionalModelRequestFields":{"top_k":1,"tools":[{"type":"computer_20250124","name":"computer"}]}"#);
    assert_eq!(on_bedrock, Added { described_there: 1, ..shell });
    assert_eq!(added(r#""additionalModelRequestFields":{"top_k":1}"#), Added::default());
    assert_eq!(added(r#""messages":[]"#), Added::default());
}

#[test]
fn of_two_names_for_a_limit_the_larger_counts_and_nothing_takes_no_others_place() {
    let both = ask(r#"{"model":"a","max_completion_tokens":1,"max_tokens":384000}"#);
    assert_eq!(both.max_output, Some(384_000));
    let renaming = "rename = { max_completion_tokens = \"max_tokens\" }";
    assert_eq!(encoded(r#"{"model":"a","max_completion_tokens":5,"max_tokens":null}"#, renaming), r#"{"model":"m","max_tokens":5}"#);
    let refusal = Ask::read(called(), Bytes::from(r#"{"model":"a","Model":"b"}"#)).unwrap_err();
    assert!(refusal.message.contains("'Model' is given twice"), "{}", refusal.message);
}

#[test]
fn a_prompt_that_a_provider_keeps_points_out() {
    let asks =
        |dialect| Ask::read(Called::new(Operation::Chat, dialect), Bytes::from(r#"{"model":"a","prompt":{"id":"pmpt_1"}}"#)).unwrap();
    assert!(asks(Dialect::OpenaiResponses).points_out);
    assert!(!asks(Dialect::OpenaiChat).points_out);
}

#[test]
fn every_answer_that_is_billed_is_counted() {
    let choices = |dialect, body: &'static str| {
        Ask::read(Called { model: Some("a".into()), stream: Some(false), ..Called::new(Operation::Chat, dialect) }, Bytes::from(body))
            .unwrap()
    };
    let gemini = choices(Dialect::Gemini, r#"{"generationConfig":{"candidateCount":3,"maxOutputTokens":5}}"#);
    assert_eq!((gemini.choices, gemini.max_output), (3, Some(15)));
    let completions = choices(Dialect::OpenaiChat, r#"{"model":"a","n":2,"best_of":4,"max_tokens":5}"#);
    assert_eq!((completions.choices, completions.max_output), (4, Some(20)));
    let completions = |body: &str| {
        let called = Called::new(Operation::Completions, Dialect::OpenaiChat);
        Ask::read(called, Bytes::from(body.to_owned())).unwrap().choices
    };
    assert_eq!(completions(r#"{"model":"a","prompt":["a","b","c"],"n":2}"#), 6);
    assert_eq!(completions(r#"{"model":"a","prompt":[[1,2],[3]]}"#), 2);
    assert_eq!(completions(r#"{"model":"a","prompt":[1,2,3]}"#), 1);
    assert_eq!(completions(r#"{"model":"a","prompt":"a"}"#), 1);
    let mixed = choices(Dialect::Gemini, r#"{"generationConfig":{"candidate_count":8,"maxOutputTokens":1,"max_output_tokens":9}}"#);
    assert_eq!((mixed.choices, mixed.max_output), (8, Some(72)));
    let foretold = choices(Dialect::OpenaiChat, r#"{"model":"a","max_tokens":5,"prediction":"0123456789"}"#);
    assert_eq!((foretold.max_output, foretold.foretold), (Some(5), 12));
}

const STREAM: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"say \\\"usage\\\": {\"}}],\"usage\":null}\n\n\
    data: {\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":4,\"prompt_tokens_details\":{\"cached_tokens\":3}}}\n\n\
    data: [DONE]\n\n";
const USAGE: Usage =
    Usage { input: 9, cached: 3, cache_write: 0, output: 4, reasoning: 0, input_audio: 0, output_audio: 0, kept_an_hour: 0, charged: None };

fn through(mut meter: Meter, pieces: &[&[u8]]) -> (String, Option<Usage>) {
    let mut out: Vec<u8> = Vec::new();
    for piece in pieces {
        out.extend_from_slice(&meter.pass(Bytes::copy_from_slice(piece)));
    }
    let (rest, reading) = meter.finish();
    out.extend_from_slice(&rest);
    (String::from_utf8(out).unwrap(), reading.usage)
}

#[test]
fn a_stream_torn_anywhere_reads_alike() {
    let hidden = STREAM.replace(&STREAM[STREAM.find("data: {\"choices\":[]").unwrap()..STREAM.find("data: [DONE]").unwrap()], "");
    for text in [STREAM.to_owned(), STREAM.replace('\n', "\r\n")] {
        let expected = if text.contains('\r') { hidden.replace('\n', "\r\n") } else { hidden.clone() };
        for first in 0..text.len() {
            for second in [first, (first + 1).min(text.len()), text.len()] {
                let bytes = text.as_bytes();
                let pieces = [&bytes[..first], &bytes[first..second], &bytes[second..]];
                assert_eq!(
                    through(Meter::stream(wire(Dialect::OpenaiChat).tells, false), &pieces),
                    (text.clone(), Some(USAGE)),
                    "{first} {second}"
                );
                assert_eq!(
                    through(Meter::stream(wire(Dialect::OpenaiChat).tells, true), &pieces),
                    (expected.clone(), Some(USAGE)),
                    "{first} {second}"
                );
            }
        }
    }
}

#[test]
fn a_last_event_with_choices_and_usage_is_not_hidden() {
    let text =
        "data: {\"choices\":[{\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":1}}\n\ndata: [DONE]\n\n";
    assert_eq!(through(Meter::stream(wire(Dialect::OpenaiChat).tells, true), &[text.as_bytes()]).0, text);
}

#[test]
fn a_whole_answer_tells_its_usage_in_each_spelling() {
    let cases = [
        (
            r#"{"choices":[{"message":{"content":"\"usage\": {\"prompt_tokens\":1}"}}],"usage":{"prompt_tokens":9,"completion_tokens":4,"total_tokens":13}}"#,
            (9, 4),
        ),
        (
            r#"{"usage":{"input_tokens":9,"output_tokens":4,"total_tokens":13},"tools":[{"properties":{"usage":{"type":"string"}}}]}"#,
            (9, 4),
        ),
        (r#"{"usage" : { "prompt_tokens": 9, "total_tokens": 9 }, "data": []}"#, (9, 0)),
        (
            r#"{"usage":{"prompt_tokens":9,"completion_tokens":1,"total_tokens":13,"completion_tokens_details":{"reasoning_tokens":3}}}"#,
            (9, 4),
        ),
        // Gemini's, as several gateways write it, with what it thought in the total alone.
        (r#"{"usage":{"prompt_tokens":20,"completion_tokens":198,"total_tokens":623}}"#, (20, 603)),
        (
            r#"{"usage":{"input_tokens":20,"output_tokens":198,"total_tokens":623,"output_tokens_details":{"reasoning_tokens":100}}}"#,
            (20, 603),
        ),
        (r#"{"usage":{"prompt_tokens":20,"completion_tokens":198,"total_tokens":0}}"#, (20, 198)),
        // Mistral's of sound, and a cache that is counted beside.
        (r#"{"usage":{"prompt_audio_seconds":203,"prompt_tokens":4,"total_tokens":3264,"completion_tokens":635}}"#, (2629, 635)),
        (
            r#"{"usage":{"prompt_audio_seconds":5,"prompt_tokens":5,"total_tokens":404,"completion_tokens":24,"prompt_tokens_details":{"cached_tokens":368}}}"#,
            (380, 24),
        ),
        (
            r#"{"usage":{"prompt_tokens":10,"completion_tokens":5,"total_tokens":1015,"prompt_tokens_details":{"cached_tokens":1000}}}"#,
            (1010, 5),
        ),
        (r#"{"usage":{"prompt_tokens":0,"completion_tokens":0,"input_tokens":9,"output_tokens":4,"cost":0.5,"details":[null]}}"#, (9, 4)),
    ];
    for (text, (input, output)) in cases {
        let (half, rest) = text.as_bytes().split_at(text.len() / 2);
        let usage = through(Meter::whole(wire(Dialect::OpenaiChat).tells), &[half, rest]).1.unwrap();
        assert_eq!((usage.input, usage.output), (input, output), "{text}");
    }
}

/// A whole answer of that dialect's, with that usage.
fn answered(dialect: Dialect, usage: &str) -> String {
    let (name, answer) = match dialect {
        Dialect::OpenaiChat => ("usage", r#""choices":[{"index":0,"message":{"role":"assistant","content":"Hi"},"finish_reason":"stop"}]"#),
        Dialect::OpenaiResponses => (
            "usage",
            r#""status":"completed","output":[{"type":"message","role":"assistant","content":[{"type":"output_text","text":"Hi","annotations":[]}]}]"#,
        ),
        Dialect::AnthropicMessages => ("usage", r#""content":[{"type":"text","text":"Hi"}],"stop_reason":"end_turn""#),
        Dialect::Gemini => ("usageMetadata", r#""candidates":[{"content":{"parts":[{"text":"Hi"}]},"finishReason":"STOP"}]"#),
        Dialect::BedrockConverse => {
            ("usage", r#""output":{"message":{"role":"assistant","content":[{"text":"Hi"}]}},"stopReason":"end_turn""#)
        }
        Dialect::CohereV2 => {
            ("usage", r#""finish_reason":"COMPLETE","message":{"role":"assistant","content":[{"type":"text","text":"Hi"}]}"#)
        }
        Dialect::Ollama => {
            return format!(r#"{{"message":{{"role":"assistant","content":"Hi"}},"done":true,"done_reason":"stop"{usage}}}"#);
        }
    };
    format!("{{{answer},\"{name}\":{usage}}}")
}

#[test]
fn an_output_that_nobody_tells_is_not_none() {
    let of_output = |dialect: Dialect, output: &str| match dialect {
        Dialect::OpenaiChat => format!(r#"{{"prompt_tokens":9,"completion_tokens":{output}}}"#),
        Dialect::OpenaiResponses | Dialect::AnthropicMessages => format!(r#"{{"input_tokens":9,"output_tokens":{output}}}"#),
        Dialect::Gemini => format!(r#"{{"promptTokenCount":9,"candidatesTokenCount":{output}}}"#),
        Dialect::BedrockConverse => format!(r#"{{"inputTokens":9,"outputTokens":{output}}}"#),
        Dialect::CohereV2 => format!(r#"{{"tokens":{{"input_tokens":9,"output_tokens":{output}}}}}"#),
        Dialect::Ollama => format!(r#","prompt_eval_count":9,"eval_count":{output}"#),
    };
    let told = |dialect: Dialect, usage: &str| {
        let text = answered(dialect, usage);
        let members = Members::read(text.as_bytes()).unwrap();
        let tells = wire(dialect).tells;
        let all = [
            through(Meter::whole(tells), &[text.as_bytes()]).1,
            Meter::read_whole(tells, &members, text.as_bytes()).usage,
            codec(dialect).decode_answer(text.as_bytes()).unwrap().usage,
        ];
        let [one, ..] = all.map(|usage| usage.map(|usage| (usage.input, usage.output)));
        assert!(all.iter().all(|usage| usage.map(|usage| (usage.input, usage.output)) == one), "{text}: {all:?}");
        one
    };
    for dialect in Dialect::ALL {
        assert_eq!(told(dialect, &of_output(dialect, "4")), Some((9, 4)), "{dialect:?}");
        assert_eq!(told(dialect, &of_output(dialect, "0")), Some((9, 0)), "{dialect:?}");
        for nothing in ["null", "-4", "\"4\"", "{}"] {
            assert_eq!(told(dialect, &of_output(dialect, nothing)), None, "{dialect:?} {nothing}");
        }
        for usage in ["null", "{}", "[]"].into_iter().filter(|_| dialect != Dialect::Ollama) {
            assert_eq!(told(dialect, usage), None, "{dialect:?} {usage}");
        }
    }
    // What is told in all tells the rest.
    assert_eq!(told(Dialect::OpenaiChat, r#"{"prompt_tokens":9,"total_tokens":13}"#), Some((9, 4)));
    assert_eq!(told(Dialect::OpenaiChat, r#"{"completion_tokens":4,"total_tokens":13}"#), Some((9, 4)));
    assert_eq!(told(Dialect::OpenaiChat, r#"{"prompt_tokens":9,"total_tokens":3}"#), None);
    assert_eq!(told(Dialect::OpenaiChat, r#"{"total_tokens":13}"#), None);
    assert_eq!(told(Dialect::Gemini, r#"{"promptTokenCount":9,"candidatesTokenCount":null,"totalTokenCount":13}"#), Some((9, 4)));
    assert_eq!(told(Dialect::Gemini, r#"{"totalTokenCount":13}"#), None);
    // A count of none is left out.
    assert_eq!(told(Dialect::Gemini, r#"{"promptTokenCount":9}"#), Some((9, 0)));
    assert_eq!(told(Dialect::Ollama, r#","prompt_eval_count":9"#), Some((9, 0)));
    assert_eq!(told(Dialect::Ollama, r#","eval_count":4"#), Some((0, 4)));
    assert_eq!(told(Dialect::Ollama, ""), None);
}

proptest! {
    #[test]
    fn no_input_panics_and_nothing_is_lost(body: Vec<u8>, cut in 0usize..64) {
        let _ = Ask::read(called(), Bytes::from(body.clone()));
        let cut = cut.min(body.len());
        let mut meter = Meter::stream(wire(Dialect::OpenaiChat).tells, true);
        let mut out = meter.pass(Bytes::copy_from_slice(&body[..cut])).to_vec();
        out.extend_from_slice(&meter.pass(Bytes::copy_from_slice(&body[cut..])));
        out.extend_from_slice(&meter.finish().0);
        prop_assert_eq!(out, body);
    }
}

/// JSON-like text of which about a half is right: braces, strings full of escapes, numbers, words, and bytes in the wrong place.
fn almost_json() -> impl Strategy<Value = String> {
    let string = r#""([a-z "鍵é]|\\[nt"\\/u]|\\u00e[0-9g]|\u{1}){0,20}""#;
    let leaf = prop_oneof![
        string,
        r"-?(0|[1-9][0-9]{0,3})(\.[0-9]{1,2})?([eE][+-]?[0-9])?",
        r"[-+0-9.eE]{1,4}",
        Just("true".to_owned()),
        Just("nul".to_owned()),
        Just("null".to_owned()),
    ];
    let value = leaf.prop_recursive(4, 24, 4, |inner| {
        let list = prop::collection::vec(inner.clone(), 0..4).prop_map(|items| format!("[{}]", items.join(" , ")));
        let object = prop::collection::vec(("[a-c]{0,2}|\\\\u0061", inner), 0..4)
            .prop_map(|members| members.iter().map(|(name, value)| format!("\"{name}\" :{value}")).collect::<Vec<_>>().join(","))
            .prop_map(|members| format!("{{{members}}}"));
        prop_oneof![list, object]
    });
    (value, 0..40_usize, prop_oneof![3 => Just(""), 1 => Just(","), 1 => Just("}"), 1 => Just("\"")]).prop_map(|(mut text, at, put)| {
        if text.is_char_boundary(at.min(text.len())) {
            text.insert_str(at.min(text.len()), put);
        }
        format!(" {text}\n")
    })
}

proptest! {
    #[test]
    fn both_readers_of_members_agree(json in almost_json(), padding in "[ x]{0,9}") {
        for json in [json.clone(), format!("{{\"{padding}\":{json}}}"), format!("{{\"a\":\"{padding}\\n\",\"b\":{json},\"{padding}c\":1}}")] {
            let fast = super::scan::members(json.as_bytes()).map(|(members, _)| members);
            let careful = Members::read_carefully(json.as_bytes()).ok().map(|members| members.iter().cloned().collect::<Vec<_>>());
            prop_assert_eq!(fast, careful, "{}", json);
        }
    }

    #[test]
    fn both_readers_end_strings_at_the_same_quote(
        parts in prop::collection::vec(r#"\\\\|\\"|\\n|\\u0a4F|[\\"na/u0é]|\PC|x{1,40}|\\{1,70}"#, 0..40),
        padding in "x{0,63}",
    ) {
        let json = format!("{{\"a\":\"{padding}{}\",\"b\":1}}", parts.concat());
        let fast = super::scan::members(json.as_bytes()).map(|(members, _)| members);
        let careful = Members::read_carefully(json.as_bytes()).ok().map(|members| members.iter().cloned().collect::<Vec<_>>());
        prop_assert_eq!(fast, careful, "{}", json);
    }
}

#[test]
fn strings_end_where_they_end_whatever_stands_at_the_edge_of_a_word() {
    for length in 0..150 {
        let plain = "x".repeat(length);
        for escape in [r#"\""#, r"\\", r"\n", r"\u0041", "é", "鍵", r#"\\\""#] {
            let json = format!(r#"{{"a":"{plain}{escape}{plain}","b":1}}"#);
            let (members, _) = super::scan::members(json.as_bytes()).unwrap();
            assert_eq!(members.len(), 2, "{json}");
            assert_eq!(members[0].raw, format!(r#""{plain}{escape}{plain}""#));
        }
        for wrong in ["\u{1}", "\n", r"\x", r"\u00g0", r#"""#, "\\"] {
            let json = format!(r#"{{"a":"{plain}{wrong}{plain}","b":1}}"#);
            assert!(super::scan::members(json.as_bytes()).is_none(), "{json}");
            assert!(Members::read(json.as_bytes()).is_err(), "{json}");
        }
    }
}

mod streams;
