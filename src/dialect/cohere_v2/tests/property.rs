use proptest::prelude::*;

use super::*;

fn text() -> impl Strategy<Value = String> {
    "[a-zé \\n\"{}:]{1,12}"
}

/// From 0 to 1 in hundredths, which text says exactly.
fn share() -> impl Strategy<Value = f64> {
    (0u32..=100).prop_map(|n| f64::from(n) / 100.0)
}

fn citation() -> impl Strategy<Value = Citation> {
    (0u64..9, 0u64..9, text()).prop_map(|(start, end, text)| {
        let source = json!({ "type": "document", "id": "d", "document": { "title": text, "text": text } });
        citation::read(json!({ "start": start, "end": end, "text": text, "sources": [source] })).1
    })
}

fn said() -> impl Strategy<Value = Block> {
    let image = (any::<bool>(), proptest::option::of(Just("low".to_owned()))).prop_map(|(is_inline, detail)| {
        let url = if is_inline { "data:image/png;base64,AAAA" } else { "https://example.com/a.png" };
        Content::Media(Media { detail, ..Media::from_url(MediaKind::Image, url) }).into()
    });
    prop_oneof![text().prop_map(Block::text), image]
}

fn document() -> impl Strategy<Value = Block> {
    (text(), proptest::option::of(text())).prop_map(|(text, name)| {
        Content::Media(Media { name, citable: true, ..Media::new(MediaKind::Document, MediaSource::Text(text), None) }).into()
    })
}

fn assistant_blocks() -> impl Strategy<Value = Vec<Block>> {
    let thought = (text(), Just(assistant::thinking_mark()));
    let reasoning =
        |(text, mark): (String, Signature)| Content::Reasoning(Reasoning { text, signature: Some(mark), ..Reasoning::default() }).into();
    let spoken =
        (text(), proptest::collection::vec(citation(), 0..3)).prop_map(|(text, citations)| Block::from(Content::Text { text, citations }));
    let calls = proptest::collection::vec((text(), text()), 0..3).prop_map(|list| {
        let call = |(at, (name, value)): (usize, (String, String))| {
            let arguments = json!({ "a": value }).to_string();
            Content::ToolCall(ToolCall { id: format!("c{at}"), name, arguments, is_custom: false, signature: None }).into()
        };
        list.into_iter().enumerate().map(call).collect::<Vec<Block>>()
    });
    let plan = proptest::option::of((text(), Just(assistant::plan_mark())).prop_map(reasoning));
    (proptest::option::of(thought.prop_map(reasoning)), proptest::collection::vec(spoken, 1..3), plan, calls)
        .prop_map(|(thought, spoken, plan, calls)| thought.into_iter().chain(spoken).chain(plan).chain(calls).collect())
}

fn tool_blocks() -> impl Strategy<Value = Vec<Block>> {
    let part = prop_oneof![text().prop_map(Block::text), document(), text().prop_map(|text| Content::Json(json!({ "r": text })).into())];
    proptest::collection::vec(proptest::collection::vec(part, 0..3), 1..3).prop_map(|results| {
        let result = |(at, content): (usize, Vec<Block>)| {
            Content::ToolResult(ToolResult { call_id: format!("c{at}"), name: None, content, is_error: false, is_custom: false }).into()
        };
        results.into_iter().enumerate().map(result).collect()
    })
}

prop_compose! {
    fn request()(
        system in proptest::option::of(text()),
        turns in proptest::collection::vec((proptest::collection::vec(said(), 1..3), assistant_blocks(), tool_blocks()), 0..3),
        documents in proptest::collection::vec(document(), 0..2),
        last in proptest::collection::vec(said(), 1..3),
        tools in proptest::collection::vec((text(), proptest::option::of(text())), 0..3),
        strict in any::<Option<bool>>(),
        choice in proptest::option::of(prop_oneof![Just(ToolChoice::Required), Just(ToolChoice::None)]),
        format in proptest::option::of(prop_oneof![
            Just(Format::Text),
            Just(Format::JsonObject),
            Just(Format::JsonSchema { name: String::new(), description: None, schema: json!({ "type": "object" }), strict: None }),
        ]),
        budget in proptest::option::of(1u64..9999),
        thinks in any::<Option<bool>>(),
        numbers in (any::<Option<u32>>(), proptest::option::of(share()), proptest::option::of((1u32..99).prop_map(|n| f64::from(n) / 100.0)), proptest::option::of(0u64..=500)),
        more in (proptest::option::of(0i64..9999), proptest::option::of(share()), proptest::option::of(share()), any::<Option<bool>>()),
        stop in proptest::collection::vec(text(), 0..=5),
        extra in any::<bool>(),
    ) -> Request {
        let mut messages: Vec<Message> = system.map(|text| Message::new(Role::System, vec![Block::text(text)])).into_iter().collect();
        for (user, assistant, tool) in turns {
            messages.push(Message::new(Role::User, user));
            messages.push(Message::new(Role::Assistant, assistant));
            messages.push(Message::new(Role::Tool, tool));
        }
        let is_bound = !tools.is_empty() || !documents.is_empty();
        messages.push(Message::new(Role::User, documents.into_iter().chain(last).collect()));
        let schema = json!({ "type": "object", "properties": { "a": {} }, "required": ["a"] });
        let function = |(name, description)| Tool::Function(Function { name, description, parameters: Some(schema.clone()), strict, cache: None });
        let fields = Map::from_iter([("safety_mode".to_owned(), json!("STRICT")), ("citation_options".to_owned(), json!({ "mode": "FAST" }))]);
        Request {
            messages,
            tool_choice: choice.filter(|_| !tools.is_empty()),
            tools: tools.into_iter().map(function).collect(),
            format: format.filter(|format| !is_bound || *format == Format::Text),
            thinking: thinks.map(|enabled| Thinking { enabled: Some(enabled), budget: budget.filter(|_| enabled), ..Thinking::default() }),
            sampling: Sampling {
                max_output: numbers.0.map(u64::from), temperature: numbers.1, top_p: numbers.2, top_k: numbers.3,
                seed: more.0, frequency_penalty: more.1, presence_penalty: more.2, logprobs: more.3, stop, ..Sampling::default()
            },
            extra: if extra { Extra::new(Dialect::CohereV2, fields) } else { Extra::default() },
            ..Request::default()
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn what_is_written_is_read(request in request()) {
        let mut dropped = Dropped::default();
        let body = Cohere.encode_request(&request, &TO, &mut dropped).unwrap();
        prop_assert_eq!(&Cohere.decode_request(&called(), &body).unwrap(), &request, "{}", String::from_utf8_lossy(&body));
        prop_assert!(dropped.is_empty(), "{:?}", dropped);
    }

    #[test]
    fn answers_that_are_written_are_read(content in assistant_blocks(), cached in 0u64..9, size in 1usize..40) {
        let usage = Usage { input: 10, output: 4, cached, ..Usage::default() };
        let choice = Choice { content, finish: Finish::Length, logprobs: Vec::new() };
        let answer = Answer { id: "a".into(), choices: vec![choice], usage: Some(usage), ..Answer::default() };
        prop_assert_eq!(rewritten(answer.clone()), answer.clone());
        let events = streamed(&written(answer.clone().into_events()), size);
        prop_assert_eq!(collected(events).unwrap().choices[0].text(), answer.choices[0].text());
    }

    #[test]
    fn no_bytes_panic(bytes: Vec<u8>, text in "[\\[\\]{}\":,a-z0-9\\n ]{0,60}") {
        for input in [bytes.as_slice(), text.as_bytes(), format!("event: content-delta\ndata: {text}\n\n").as_bytes()] {
            let _ = Cohere.decode_request(&called(), input);
            let _ = Cohere.decode_answer(input);
            let (mut reader, mut events) = (Cohere.stream_reader(), Vec::new());
            reader.push(input, &mut events);
            reader.finish(&mut events);
        }
    }

    #[test]
    fn no_json_panics(body in json_like()) {
        let bytes = body.to_string();
        let _ = Cohere.decode_request(&called(), bytes.as_bytes());
        let _ = Cohere.decode_answer(bytes.as_bytes());
        for kind in ["message-start", "content-start", "content-delta", "tool-plan-delta", "tool-call-start", "tool-call-delta", "citation-start", "message-end", "error"] {
            let _ = streamed(&format!("event: {kind}\ndata: {bytes}\n\n"), 7);
        }
    }
}

/// JSON whose members have the dialect's names and any values.
fn json_like() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        text().prop_map(Value::from)
    ];
    leaf.prop_recursive(5, 48, 5, |inner| {
        let name = proptest::sample::select(vec![
            "messages",
            "role",
            "content",
            "type",
            "text",
            "thinking",
            "tool_calls",
            "function",
            "arguments",
            "documents",
            "document",
            "data",
            "delta",
            "message",
            "citations",
            "sources",
            "usage",
            "tokens",
            "error",
            "index",
            "tools",
            "image_url",
            "finish_reason",
        ]);
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::vec((name, inner), 0..6)
                .prop_map(|list| Value::Object(list.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())),
        ]
    })
}
