#![allow(clippy::unwrap_used)]

use super::*;
use crate::catalog::Dialect;
use crate::ledger::record::Usage;

fn answer() -> Answer {
    let call = ToolCall { id: "c1".into(), name: "f".into(), arguments: "{\"a\":1}".into(), is_custom: false, signature: None };
    let reasoning =
        Reasoning { text: "hm".into(), signature: Some(Signature::new(Dialect::AnthropicMessages, "sig")), is_redacted: false, id: None };
    let citation = Citation { url: Some("https://example.com".into()), ..Citation::default() };
    let media = Media::new(MediaKind::Image, MediaSource::Base64("AAAA".into()), Some("image/png".into()));
    Answer {
        id: "a".into(),
        model: "m".into(),
        created: 7,
        choices: vec![
            Choice {
                content: vec![
                    Content::Reasoning(reasoning).into(),
                    Content::Text { text: "hello".into(), citations: vec![citation] }.into(),
                    Content::ToolCall(call).into(),
                    Content::Media(media).into(),
                ],
                finish: Finish::ToolCalls,
                logprobs: vec![TokenLogprob { token: "hello".into(), logprob: -0.5, bytes: None, top: Vec::new() }],
            },
            Choice { content: vec![Content::Refusal("no".into()).into()], finish: Finish::Refusal, logprobs: Vec::new() },
        ],
        usage: Some(Usage { input: 3, output: 4, ..Usage::default() }),
        ..Answer::default()
    }
}

#[test]
fn an_answer_told_as_events_is_collected_again() {
    let mut collector = Collector::default();
    answer().into_events().into_iter().for_each(|event| collector.take(event));
    assert_eq!(collector.finish().unwrap(), answer());
}

#[test]
fn blocks_open_and_close_as_what_grows_changes() {
    let (mut blocks, mut out) = (Blocks::default(), Vec::new());
    blocks.reasoning(0, "hm", &mut out);
    blocks.text(0, "a", &mut out);
    blocks.text(0, "b", &mut out);
    let opening = |id: &str| Opening::ToolCall { id: id.to_owned(), name: "f".to_owned(), is_custom: false, signature: None };
    blocks.tool_call(0, 0, opening("x"), &mut out);
    blocks.tool_call(0, 1, opening("y"), &mut out);
    assert!(blocks.arguments(0, 0, "{}", &mut out) && blocks.arguments(0, 1, "[]", &mut out));
    assert!(!blocks.arguments(0, 2, "?", &mut out));
    blocks.close_all(0, &mut out);
    let shape: Vec<String> = out
        .iter()
        .map(|event| match event {
            Event::Open { index, .. } => format!("open {index}"),
            Event::Delta { index, .. } => format!("grow {index}"),
            Event::Close { index, .. } => format!("close {index}"),
            other => format!("{other:?}"),
        })
        .collect();
    let expected = [
        "open 0", "grow 0", "close 0", "open 1", "grow 1", "grow 1", "close 1", "open 2", "open 3", "grow 2", "grow 3", "close 2",
        "close 3",
    ];
    assert_eq!(shape, expected);
}

#[test]
fn a_signature_finds_its_way_back_and_only_there() {
    let signature = Signature::new(Dialect::AnthropicMessages, "a.b=");
    let carried = signature.write(Dialect::OpenaiChat);
    assert_eq!(Signature::read(&carried, Dialect::OpenaiChat), signature);
    assert_eq!(signature.write(Dialect::AnthropicMessages), "a.b=");
    assert_eq!(signature.value_for(Dialect::BedrockConverse), Some("a.b="));
    assert_eq!(signature.value_for(Dialect::Gemini), None);
}

#[test]
fn what_is_dropped_is_named_once_and_fits_a_header() {
    let mut dropped = Dropped::default();
    for name in ["top_k", "seed", "top_k", "bad\r\nname"] {
        dropped.note(name);
    }
    assert_eq!(dropped.header(Dialect::OpenaiChat, b"{}").unwrap(), "top_k, seed, badname");
    (0..500).for_each(|n| dropped.note(format!("field_{n}")));
    assert!(
        dropped.header(Dialect::OpenaiChat, b"{}").unwrap().len() < 1100
            && dropped.header(Dialect::OpenaiChat, b"{}").unwrap().to_str().unwrap().ends_with(" more")
    );
    assert_eq!(Dropped::default().header(Dialect::OpenaiChat, b"{}"), None);
}

#[test]
fn what_is_dropped_is_told_in_the_callers_own_words() {
    let mut dropped = Dropped::default();
    for name in ["max_output", "top_k", "cache", "seed"] {
        dropped.note(name);
    }
    let told = |dialect| dropped.header(dialect, br#"{"max_completion_tokens": 5}"#).unwrap().to_str().unwrap().to_owned();
    assert_eq!(told(Dialect::OpenaiChat), "max_completion_tokens, top_k, cache_control, seed");
    assert_eq!(told(Dialect::Gemini), "maxOutputTokens, topK, cache, seed");
    assert_eq!(told(Dialect::Ollama), "num_predict, top_k, cache, seed");
}
