//! Whatever the dialect can express comes back as it was, and no input panics.

use proptest::prelude::*;
use serde_json::{Map, json};

use super::*;
use crate::dialect::ir::{
    Block, Builtin, BuiltinKind, Citation, Content, Effort, Extra, Format, Function, Media, MediaKind, MediaSource, Message, Reasoning,
    Role, Sampling, Signature, Thinking, Tool, ToolCall, ToolChoice, ToolResult,
};

const OWN: Dialect = Dialect::OpenaiResponses;

fn text() -> impl Strategy<Value = String> {
    "[a-zé{}\" \n]{1,12}"
}

fn media() -> impl Strategy<Value = Block> {
    let detail = proptest::option::of("low|high|auto");
    let image = (prop_oneof![Just("https://a.example/x.png"), Just("data:image/png;base64,AAAA")], detail).prop_map(|(url, detail)| {
        let mut media = Media::from_url(MediaKind::Image, url);
        media.detail = detail;
        media
    });
    let file = |kind| Media::new(kind, MediaSource::File { of: OWN, id: "file-1".into() }, None);
    let pdf = Media {
        name: Some("a.pdf".into()),
        ..Media::new(MediaKind::Document, MediaSource::Base64("AAAA".into()), Some("application/pdf".into()))
    };
    let one_of = prop_oneof![
        image,
        Just(file(MediaKind::Image)),
        Just(file(MediaKind::Document)),
        Just(pdf),
        Just(Media::from_url(MediaKind::Document, "https://a.example/x.pdf")),
    ];
    one_of.prop_map(|media| Content::Media(media).into())
}

fn audio() -> impl Strategy<Value = Block> {
    "audio/(wav|mpeg)".prop_map(|kind| Content::Media(Media::new(MediaKind::Audio, MediaSource::Base64("AAAA".into()), Some(kind))).into())
}

fn plain() -> impl Strategy<Value = Block> {
    text().prop_map(Block::text)
}

fn citation() -> impl Strategy<Value = Citation> {
    prop_oneof![
        (text(), text(), 0..9u64).prop_map(|(url, title, start)| Citation {
            url: Some(url),
            title: Some(title),
            span: Some((start, start + 3)),
            ..Citation::default()
        }),
        Just(super::super::citation::read(json!({ "type": "file_citation", "file_id": "f", "filename": "n", "index": 3 }))),
    ]
}

fn call_id() -> impl Strategy<Value = String> {
    "call_[a-z0-9]{4}"
}

fn assistant() -> impl Strategy<Value = Message> {
    let cited = (text(), proptest::collection::vec(citation(), 0..3)).prop_map(|(text, citations)| Content::Text { text, citations });
    let call = (call_id(), text(), any::<bool>()).prop_map(|(id, arguments, is_custom)| {
        let arguments = if is_custom { arguments } else { json!({ "a": arguments }).to_string() };
        Content::ToolCall(ToolCall { id, name: "f".into(), arguments, is_custom, signature: None })
    });
    let reasoning = (text(), proptest::option::of("[a-z]{5}"), proptest::option::of("rs_[a-z]{3}"))
        .prop_filter("one of both", |(_, signature, id)| signature.is_some() || id.is_some())
        .prop_map(|(text, signature, id)| {
            Content::Reasoning(Reasoning { text, signature: signature.map(|value| Signature::new(OWN, value)), is_redacted: false, id })
        });
    let search = json!({ "type": "web_search_call", "id": "ws_1", "status": "completed", "action": { "type": "search", "query": "q" } });
    let builtin = Content::Builtin(Builtin { kind: BuiltinKind::WebSearch, of: OWN, value: search });
    let other = Content::Other { of: OWN, value: json!({ "type": "compaction", "encrypted_content": "x" }) };
    let block = prop_oneof![cited, text().prop_map(Content::Refusal), call, reasoning, Just(builtin), Just(other)];
    proptest::collection::vec(block.prop_map(Block::from), 1..5).prop_map(|content| Message::new(Role::Assistant, content))
}

fn tool() -> impl Strategy<Value = Message> {
    let content = proptest::collection::vec(prop_oneof![plain(), media()], 0..3);
    let result = (call_id(), content, any::<bool>()).prop_map(|(call_id, content, is_custom)| {
        Block::from(Content::ToolResult(ToolResult { call_id, name: None, content, is_error: false, is_custom }))
    });
    proptest::collection::vec(result, 1..3).prop_map(|content| Message::new(Role::Tool, content))
}

fn message() -> impl Strategy<Value = Message> {
    let user = proptest::collection::vec(prop_oneof![plain(), media(), audio()], 1..4);
    let others = prop_oneof![Just(Role::System), Just(Role::Developer)];
    prop_oneof![
        3 => user.prop_map(|content| Message::new(Role::User, content)),
        3 => assistant(),
        2 => tool(),
        1 => (others, proptest::collection::vec(plain(), 1..2)).prop_map(|(role, content)| Message::new(role, content)),
    ]
}

/// Neighbours of the assistant's, and of tools, are one message.
fn apart(messages: Vec<Message>) -> Vec<Message> {
    let mut out: Vec<Message> = Vec::new();
    for message in messages {
        match out.last_mut() {
            Some(last) if last.role == message.role && matches!(message.role, Role::Assistant | Role::Tool) => {}
            _ => out.push(message),
        }
    }
    out
}

fn tools() -> impl Strategy<Value = Vec<Tool>> {
    let schema = json!({ "type": "object", "properties": { "a": { "type": "string" } } });
    let function = (proptest::option::of(text()), any::<bool>(), any::<bool>()).prop_map(move |(description, strict, has_schema)| {
        Tool::Function(Function {
            name: "f".into(),
            description,
            parameters: has_schema.then(|| schema.clone()),
            strict: strict.then_some(true),
            cache: None,
        })
    });
    let custom = proptest::option::of(Just(json!({ "type": "text" }))).prop_map(|format| Tool::Custom {
        name: "c".into(),
        description: None,
        format,
    });
    let builtin = Tool::Builtin(Builtin { kind: BuiltinKind::WebSearch, of: OWN, value: json!({ "type": "web_search_preview" }) });
    proptest::collection::vec(prop_oneof![function, custom, Just(builtin)], 1..4)
}

fn choice() -> impl Strategy<Value = ToolChoice> {
    prop_oneof![
        Just(ToolChoice::Auto),
        Just(ToolChoice::None),
        Just(ToolChoice::Required),
        Just(ToolChoice::Tool("f".into())),
        any::<bool>().prop_map(|required| ToolChoice::Allowed { names: vec!["f".into(), "c".into()], required }),
    ]
}

fn format() -> impl Strategy<Value = Format> {
    let schema = (proptest::option::of(text()), proptest::option::of(any::<bool>())).prop_map(|(description, strict)| Format::JsonSchema {
        name: "answer".into(),
        description,
        schema: json!({ "type": "object" }),
        strict,
    });
    prop_oneof![Just(Format::Text), schema]
}

fn sampling() -> impl Strategy<Value = Sampling> {
    // Hundredths: longer fractions are read to the last bit but one.
    let option = |range: std::ops::Range<u8>| proptest::option::of(range.prop_map(|hundredths| f64::from(hundredths) / 100.0));
    (proptest::option::of(16..9999u64), option(0..200), option(0..100), proptest::option::of(Just(true)), proptest::option::of(1..20u32))
        .prop_map(|(max_output, temperature, top_p, logprobs, top_logprobs)| Sampling {
            max_output,
            temperature,
            top_p,
            logprobs,
            top_logprobs,
            ..Sampling::default()
        })
}

fn thinking() -> impl Strategy<Value = Thinking> {
    let efforts = [Effort::None, Effort::Minimal, Effort::Low, Effort::Medium, Effort::High, Effort::XHigh];
    let both = (proptest::option::of(proptest::sample::select(efforts.to_vec())), proptest::option::of("auto|concise|detailed"));
    both.prop_filter("says something", |(effort, summary)| effort.is_some() || summary.is_some()).prop_map(|(effort, summary)| Thinking {
        effort,
        summary,
        ..Thinking::default()
    })
}

fn extra() -> impl Strategy<Value = Extra> {
    let known = json!({
        "previous_response_id": "resp_1", "store": true, "truncation": "auto", "verbosity": "low", "max_tool_calls": 3,
        "include": ["code_interpreter_call.outputs"], "reasoning": { "context": "auto" }, "prompt_cache_key": "k", "text": { "x": 1 },
    });
    let Value::Object(known) = known else { unreachable!("it is an object") };
    let names: Vec<(String, Value)> = known.into_iter().collect();
    let count = names.len();
    proptest::sample::subsequence(names, 0..count).prop_map(|fields| Extra::new(OWN, fields.into_iter().collect()))
}

fn request() -> impl Strategy<Value = Request> {
    let option = proptest::option::of::<BoxedStrategy<String>>;
    let first = (proptest::collection::vec(message(), 1..6), proptest::option::of(tools()), proptest::option::of(choice()), any::<bool>());
    let second = (proptest::option::of(format()), sampling(), proptest::option::of(thinking()), extra());
    let third = (option("auto|default|flex|priority".boxed()), option(text().boxed()), any::<bool>());
    (first, second, third).prop_map(
        |((messages, tools, choice, parallel), (format, sampling, thinking, extra), (service_tier, user, has_notes))| {
            let has_tools = tools.is_some();
            Request {
                model: String::new(),
                stream: false,
                messages: apart(messages),
                tools: tools.unwrap_or_default(),
                tool_choice: choice.filter(|_| has_tools),
                parallel_tool_calls: has_tools.then_some(parallel),
                format,
                sampling,
                thinking,
                service_tier,
                user,
                metadata: if has_notes { Map::from_iter([("a".to_owned(), json!("b"))]) } else { Map::new() },
                extra,
                unread: Vec::new(),
            }
        },
    )
}

/// Any JSON, with the dialect's own names in it more often than not.
fn any_json() -> impl Strategy<Value = Value> {
    let names =
        "type|role|content|input|output|text|summary|item|response|id|call_id|name|arguments|status|usage|error|delta|tools|annotations";
    let words = "message|function_call|reasoning|output_text|input_image|completed|user|assistant|response.output_item.done|x";
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        words.prop_map(Value::from)
    ];
    leaf.prop_recursive(5, 64, 6, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            proptest::collection::vec((names, inner), 0..6).prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn what_can_be_expressed_comes_back(request in request()) {
        let (written, dropped) = encode(&request);
        prop_assert_eq!(dropped, Vec::<String>::new());
        let read = decode(&written).unwrap();
        prop_assert_eq!(read, request, "{}", written);
    }

    #[test]
    fn no_json_panics(value in any_json()) {
        let _ = decode(&value);
        let text = value.to_string();
        if let Ok(answer) = Responses.decode_answer(text.as_bytes()) {
            Responses.encode_answer(answer, &asked(&json!({ "model": "m", "input": "x" })), &mut Dropped::default());
        }
        events(format!("data: {text}\n\n").as_bytes(), 3);
        let mut input = json!({ "model": "m", "input": [value.clone()], "tools": [value.clone()], "text": value.clone(), "reasoning": value });
        let _ = decode(&input);
        input.as_object_mut().unwrap().remove("text");
        let _ = decode(&input);
    }

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Responses.decode_request(&called(), &bytes);
        let _ = Responses.decode_answer(&bytes);
        events(&bytes, 3);
    }
}
