//! What the dialect can say is read as it was written; nothing that comes makes a decoder panic.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::{DIALECT, asked, called, events, written};
use crate::dialect::anthropic_messages::{Messages, citation};
use crate::dialect::ir::*;
use crate::dialect::{Codec, To};

/// A model that thinks either way.
const MODEL: &str = "claude-opus-4-6";

fn words() -> impl Strategy<Value = String> {
    "[a-zé\"\\\\\n{}]{0,12}[a-z0-9]"
}

fn marked(content: impl Strategy<Value = Content>) -> impl Strategy<Value = Block> {
    let ttl = prop_oneof![Just(None), Just(Some("1h".to_owned()))];
    (content, option::of(ttl)).prop_map(|(content, cache)| Block { content, cache: cache.map(|ttl| Cache { ttl, breakpoint: None }) })
}

fn text() -> impl Strategy<Value = Content> {
    words().prop_map(|text| Content::Text { text, citations: Vec::new() })
}

fn cited_text() -> impl Strategy<Value = Content> {
    let page = json!({"type": "web_search_result_location", "url": "https://a.b", "title": "t", "cited_text": "c", "encrypted_index": "e"});
    let place = json!({"type": "char_location", "document_title": null, "document_index": 0, "cited_text": "c", "start_char_index": 0, "end_char_index": 1});
    let citations = proptest::sample::subsequence(vec![page, place], 0..=2);
    (words(), citations).prop_map(|(text, list)| Content::Text { text, citations: list.into_iter().map(citation::decode).collect() })
}

fn media() -> impl Strategy<Value = Content> {
    let image = prop_oneof![
        Just(Media::new(MediaKind::Image, MediaSource::Base64("AAAA".into()), Some("image/gif".into()))),
        Just(Media::new(MediaKind::Image, MediaSource::Url("https://a.b/c.png".into()), None)),
        words().prop_map(|id| Media::new(MediaKind::Image, MediaSource::File { of: DIALECT, id }, None)),
    ];
    let source = prop_oneof![
        Just((MediaSource::Base64("JVBERi0=".into()), Some("application/pdf"))),
        words().prop_map(|text| (MediaSource::Text(text), Some("text/plain"))),
        Just((MediaSource::Url("https://a.b/c.pdf".into()), None)),
    ];
    let document =
        (source, option::of(words()), option::of(words()), any::<bool>()).prop_map(|((source, kind), name, context, citable)| Media {
            name,
            context,
            citable,
            ..Media::new(MediaKind::Document, source, kind.map(str::to_owned))
        });
    prop_oneof![image, document].prop_map(Content::Media)
}

fn of_user() -> impl Strategy<Value = Block> {
    let upload = words().prop_map(|id| Content::Other { of: DIALECT, value: json!({"type": "container_upload", "file_id": id}) });
    marked(prop_oneof![4 => text(), 2 => media(), 1 => upload])
}

fn reasoning() -> impl Strategy<Value = Block> {
    (words(), words(), any::<bool>()).prop_map(|(text, proof, is_redacted)| {
        let signature = Some(Signature::new(DIALECT, proof));
        Content::Reasoning(Reasoning { text: if is_redacted { String::new() } else { text }, signature, is_redacted, id: None }).into()
    })
}

fn of_assistant() -> impl Strategy<Value = Block> {
    let search = words().prop_map(|query| {
        let value = json!({"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": query}});
        Content::Builtin(Builtin { kind: BuiltinKind::WebSearch, of: DIALECT, value })
    });
    let found = words().prop_map(|text| {
        let value = json!({"type": "mcp_tool_result", "tool_use_id": "m", "is_error": false, "content": [{"type": "text", "text": text}]});
        Content::Builtin(Builtin { kind: BuiltinKind::Mcp, of: DIALECT, value })
    });
    marked(prop_oneof![4 => cited_text(), 1 => search, 1 => found])
}

/// A turn of the model's, and the results of what it called.
fn turn() -> impl Strategy<Value = Vec<Message>> {
    let calls = vec((words(), vec(marked(prop_oneof![text(), media()]), 0..3), any::<bool>()), 0..3);
    (reasoning(), vec(of_assistant(), 0..3), calls, vec(of_user(), 1..3)).prop_map(|(first, rest, calls, user)| {
        let mut said = vec![first];
        said.extend(rest);
        let mut results = Vec::new();
        for (number, (argument, content, is_error)) in calls.into_iter().enumerate() {
            let (id, arguments) = (format!("toolu_{number}"), json!({ "a": argument }).to_string());
            let call = ToolCall { id: id.clone(), name: "f".into(), arguments, is_custom: false, signature: None };
            said.push(Content::ToolCall(call).into());
            let result = ToolResult { call_id: id, name: None, content, is_error, is_custom: false };
            results.push(Content::ToolResult(result).into());
        }
        let mut turn = vec![Message::new(Role::Assistant, said)];
        if !results.is_empty() {
            turn.push(Message::new(Role::Tool, results));
        }
        turn.push(Message::new(Role::User, user));
        turn
    })
}

fn conversation() -> impl Strategy<Value = Vec<Message>> {
    (vec(marked(text()), 0..3), vec(of_user(), 1..3), vec(turn(), 0..3)).prop_map(|(system, first, turns)| {
        let mut messages = Vec::new();
        if !system.is_empty() {
            messages.push(Message::new(Role::System, system));
        }
        messages.push(Message::new(Role::User, first));
        messages.extend(turns.into_iter().flatten());
        messages
    })
}

fn schema() -> Value {
    json!({"type": "object", "properties": {"a": {"type": "string", "format": "date"}}, "required": ["a"], "additionalProperties": false})
}

fn tools() -> impl Strategy<Value = Vec<Tool>> {
    let function = |strict: Option<bool>, description, cache: bool| {
        let cache = cache.then(Cache::default);
        Tool::Function(Function { name: "f".into(), description, parameters: Some(schema()), strict, cache })
    };
    let builtin = |kind, value| Tool::Builtin(Builtin { kind, of: DIALECT, value });
    let builtins = vec![
        builtin(BuiltinKind::WebSearch, json!({"type": "web_search_20250305", "name": "web_search", "max_uses": 3})),
        builtin(BuiltinKind::Mcp, json!({"type": "url", "url": "https://a.b", "name": "m"})),
    ];
    let first = (prop_oneof![Just(None), Just(Some(true))], option::of(words()), any::<bool>());
    (first, proptest::sample::subsequence(builtins, 0..=2)).prop_map(move |((strict, description, cache), builtins)| {
        let mut tools = vec![function(strict, description, cache)];
        tools.extend(builtins);
        tools
    })
}

fn thinking() -> impl Strategy<Value = Option<Thinking>> {
    let summary = || prop_oneof![Just(None), Just(Some("summarized".to_owned())), Just(Some("omitted".to_owned()))];
    let effort = prop_oneof![Just(Effort::Low), Just(Effort::Medium), Just(Effort::High), Just(Effort::Max)];
    prop_oneof![
        Just(None),
        Just(Some(Thinking { enabled: Some(false), ..Thinking::default() })),
        (1024u64..4000, summary())
            .prop_map(|(budget, summary)| { Some(Thinking { enabled: Some(true), budget: Some(budget), summary, ..Thinking::default() }) }),
        (option::of(effort), summary()).prop_map(|(effort, summary)| Some(Thinking {
            enabled: Some(true),
            effort,
            summary,
            ..Thinking::default()
        })),
    ]
}

prop_compose! {
    fn request()(
        messages in conversation(),
        tools in tools(),
        thinking in thinking(),
        (choice, parallel) in (0..5, option::of(any::<bool>())),
        (temperature, top_k, stop) in (option::of(0u8..=64), option::of(1u64..50), vec(words(), 0..3)),
        (user, tier, has_format, defers) in (option::of(words()), 0..3usize, any::<bool>(), any::<bool>()),
    ) -> Request {
        let thinks = thinking.as_ref().is_some_and(|thinking| thinking.enabled == Some(true));
        let tool_choice = match choice {
            0 => None,
            1 => Some(ToolChoice::Auto),
            2 => Some(ToolChoice::None),
            _ if thinks => Some(ToolChoice::Auto),
            3 => Some(ToolChoice::Required),
            _ => Some(ToolChoice::Tool("f".into())),
        };
        let parallel_tool_calls = parallel.filter(|_| !matches!(tool_choice, None | Some(ToolChoice::None)));
        let mut fields = Map::new();
        if defers {
            fields.insert("tools.defer_loading".into(), json!({"f": true}));
            fields.insert("container".into(), json!("c"));
        }
        let format = has_format.then(|| Format::JsonSchema { name: String::new(), description: None, schema: schema(), strict: None });
        let sampling = Sampling {
            max_output: Some(8000),
            temperature: temperature.filter(|_| !thinks).map(|n| f64::from(n) / 64.0),
            top_k: top_k.filter(|_| !thinks),
            stop,
            ..Sampling::default()
        };
        let service_tier = [None, Some("auto"), Some("standard_only")][tier].map(str::to_owned);
        Request { messages, tools, tool_choice, parallel_tool_calls, format, sampling, thinking, service_tier, user, extra: Extra::new(DIALECT, fields), ..Request::default() }
    }
}

/// Any JSON, of the words that the dialect knows more often than of others.
fn any_json() -> impl Strategy<Value = Value> {
    const NAMES: [&str; 30] = [
        "type",
        "role",
        "content",
        "messages",
        "text",
        "tools",
        "input",
        "id",
        "name",
        "system",
        "source",
        "data",
        "thinking",
        "signature",
        "citations",
        "tool_choice",
        "usage",
        "input_tokens",
        "output_tokens",
        "stop_reason",
        "index",
        "delta",
        "content_block",
        "message",
        "partial_json",
        "cache_control",
        "output_config",
        "error",
        "tool_use_id",
        "max_tokens",
    ];
    const WORDS: [&str; 24] = [
        "text",
        "user",
        "assistant",
        "system",
        "image",
        "document",
        "base64",
        "url",
        "tool_use",
        "tool_result",
        "thinking",
        "redacted_thinking",
        "server_tool_use",
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
        "error",
        "text_delta",
        "input_json_delta",
        "enabled",
        "kw-call.9.a.b",
    ];
    let word = || prop_oneof![5 => proptest::sample::select(&WORDS[..]).prop_map(str::to_owned), 1 => words()];
    let name = || prop_oneof![9 => proptest::sample::select(&NAMES[..]).prop_map(str::to_owned), 1 => words()];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        word().prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 60, 6, move |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            (word(), proptest::collection::btree_map(name(), inner, 0..6)).prop_map(|(kind, members)| {
                let mut object: Map<String, Value> = members.into_iter().collect();
                object.entry("type").or_insert_with(|| Value::from(kind));
                Value::Object(object)
            }),
        ]
    })
}

fn read_all(bytes: &[u8]) {
    if let Ok(request) = Messages.decode_request(&called(), bytes) {
        for model in [MODEL, "claude-fable-5", "other"] {
            // A refusal is as good as a request: neither may panic.
            drop(Messages.encode_request(&request, &To { model, facts: None }, &mut Dropped::default()));
        }
    }
    if let Ok(answer) = Messages.decode_answer(bytes) {
        Messages.encode_answer(answer.clone(), &asked("m"), &mut Dropped::default());
        written(answer.into_events(), "m");
    }
    Messages.decode_trouble(500, bytes);
    let told = events(bytes, 7);
    assert!(told.iter().filter(|event| matches!(event, Event::End | Event::Trouble(_))).count() <= 1);
    written(told, "m");
}

proptest! {
    #[test]
    fn a_request_is_read_as_it_was_written(request in request()) {
        let mut dropped = Dropped::default();
        let body = Messages.encode_request(&request, &To { model: MODEL, facts: None }, &mut dropped).unwrap();
        prop_assert!(dropped.is_empty(), "{dropped:?}");
        prop_assert_eq!(Messages.decode_request(&called(), &body).unwrap(), request);
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in vec(any::<u8>(), 0..200)) {
        read_all(&bytes);
    }

    #[test]
    fn any_json_is_read_or_refused(value in any_json()) {
        read_all(value.to_string().as_bytes());
        let mut request = value.clone();
        if let Value::Object(fields) = &mut request {
            fields.insert("messages".to_owned(), json!([{"role": "user", "content": value}]));
            read_all(request.to_string().as_bytes());
        }
        read_all(json!({"type": "message", "content": [value]}).to_string().as_bytes());
        read_all(format!("data: {value}\n\ndata: {}\n\n", json!({"type": "message_start", "message": {"content": [value]}})).as_bytes());
    }

    #[test]
    fn an_answer_is_read_as_it_was_written(said in vec(of_assistant(), 0..3), first in reasoning(), (input, cached) in (0u64..9, 0u64..9)) {
        let mut content = vec![first];
        content.extend(said);
        content.iter_mut().for_each(|block| block.cache = None);
        let usage = crate::ledger::record::Usage { input: input + cached, cached, output: 5, reasoning: 2, ..Default::default() };
        let choices = vec![Choice { content, finish: Finish::StopSequence("x".into()), logprobs: Vec::new() }];
        let answer = Answer { id: "msg_1".into(), model: "m".into(), choices, usage: Some(usage), ..Answer::default() };
        let body = Messages.encode_answer(answer.clone(), &asked("m"), &mut Dropped::default());
        prop_assert_eq!(&Messages.decode_answer(&body).unwrap(), &answer);
        let mut collector = Collector::default();
        events(&written(answer.clone().into_events(), "m"), 3).into_iter().for_each(|event| collector.take(event));
        prop_assert_eq!(collector.finish().unwrap(), answer);
    }
}
