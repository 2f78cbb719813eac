use proptest::prelude::*;

use super::*;

fn text() -> impl Strategy<Value = String> {
    "[a-zé \\n\"{}:]{1,12}"
}

/// From 0 to 2 in hundredths, which text says exactly.
fn share() -> impl Strategy<Value = f64> {
    (0u32..=200).prop_map(|n| f64::from(n) / 100.0)
}

fn images() -> impl Strategy<Value = Vec<Block>> {
    let image = proptest::sample::select(vec!["iVBORw0KGgoAAAA=", "/9j/AAAA", "R0lGODAA", "UklGRgAA", "AAAA"]);
    proptest::collection::vec(image.prop_map(|data| message::image(data.to_owned())), 0..2)
}

fn said() -> impl Strategy<Value = Vec<Block>> {
    (text(), images()).prop_map(|(text, images)| std::iter::once(Block::text(text)).chain(images).collect())
}

/// What the model says, and what its tools answer.
fn turn() -> impl Strategy<Value = (Vec<Block>, Vec<Block>)> {
    let calls = proptest::collection::vec((text(), text(), text()), 1..3);
    (proptest::option::of(text()), text(), calls).prop_map(|(thought, said, calls)| {
        let reasoning = thought.and_then(|text| message::reasoning(Some(text), None, false));
        let mut spoken: Vec<Block> = reasoning.into_iter().chain([Block::text(said)]).collect();
        let mut results = Vec::new();
        for (at, (name, value, result)) in calls.into_iter().enumerate() {
            let id = format!("c{at}");
            let arguments = json!({ "a": value }).to_string();
            let call = ToolCall { id: id.clone(), name: name.clone(), arguments, is_custom: false, signature: None };
            spoken.push(Content::ToolCall(call).into());
            let result =
                ToolResult { call_id: id, name: Some(name), content: vec![Block::text(result)], is_error: false, is_custom: false };
            results.push(Content::ToolResult(result).into());
        }
        (spoken, results)
    })
}

prop_compose! {
    fn request()(
        system in proptest::option::of(text()),
        turns in proptest::collection::vec((said(), turn()), 0..3),
        last in said(),
        tools in proptest::collection::vec((text(), proptest::option::of(text())), 0..3),
        format in proptest::option::of(prop_oneof![
            Just(Format::JsonObject),
            Just(Format::JsonSchema { name: String::new(), description: None, schema: json!({ "type": "object" }), strict: None }),
        ]),
        thinking in proptest::option::of(prop_oneof![
            any::<bool>().prop_map(|enabled| Thinking { enabled: Some(enabled), ..Thinking::default() }),
            proptest::sample::select(vec![Effort::Low, Effort::Medium, Effort::High]).prop_map(|effort| Thinking { effort: Some(effort), ..Thinking::default() }),
        ]),
        numbers in (any::<Option<u32>>(), proptest::option::of(share()), proptest::option::of(share()), any::<Option<u32>>()),
        more in (any::<Option<i32>>(), proptest::option::of(share()), proptest::option::of(share()), any::<Option<bool>>(), any::<Option<u32>>()),
        stop in proptest::collection::vec(text(), 0..3),
        extra in any::<bool>(),
    ) -> Request {
        let mut messages: Vec<Message> = system.map(|text| Message::new(Role::System, vec![Block::text(text)])).into_iter().collect();
        for (user, (assistant, tool)) in turns {
            messages.push(Message::new(Role::User, user));
            messages.push(Message::new(Role::Assistant, assistant));
            messages.push(Message::new(Role::Tool, tool));
        }
        messages.push(Message::new(Role::User, last));
        let function = |(name, description)| {
            Tool::Function(Function { name, description, parameters: Some(json!({ "type": "object" })), ..Function::default() })
        };
        let fields = Map::from_iter([("keep_alive".to_owned(), json!("5m")), ("options".to_owned(), json!({ "num_ctx": 1024 }))]);
        Request {
            messages,
            tools: tools.into_iter().map(function).collect(),
            format,
            thinking,
            sampling: Sampling {
                max_output: numbers.0.map(u64::from), temperature: numbers.1, top_p: numbers.2, top_k: numbers.3.map(u64::from),
                seed: more.0.map(i64::from), frequency_penalty: more.1, presence_penalty: more.2, logprobs: more.3, top_logprobs: more.4,
                stop, ..Sampling::default()
            },
            extra: if extra { Extra::new(Dialect::Ollama, fields) } else { Extra::default() },
            ..Request::default()
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn what_is_written_is_read(request in request()) {
        let mut dropped = Dropped::default();
        let body = Ollama.encode_request(&request, &TO, &mut dropped).unwrap();
        let again = Ollama.decode_request(&called(Operation::Chat), &body).unwrap();
        prop_assert_eq!(&again, &request, "{}", String::from_utf8_lossy(&body));
        prop_assert!(dropped.is_empty(), "{:?}", dropped);
    }

    #[test]
    fn answers_that_are_written_are_read((content, _) in turn(), size in 1usize..40) {
        let usage = Usage { input: 10, output: 4, ..Usage::default() };
        let choice = Choice { content, finish: Finish::ToolCalls, logprobs: Vec::new() };
        let answer = Answer { model: "m".into(), created: 7, choices: vec![choice], usage: Some(usage), ..Answer::default() };
        let body = answered(answer.clone(), Operation::Chat);
        prop_assert_eq!(&Ollama.decode_answer(body.to_string().as_bytes()).unwrap(), &answer);
        prop_assert_eq!(&collected(streamed(&written(Operation::Chat, answer.clone().into_events()), size)).unwrap(), &answer);
    }

    #[test]
    fn no_bytes_panic(bytes: Vec<u8>, text in "[\\[\\]{}\":,a-z0-9\\n ]{0,60}") {
        for input in [bytes.as_slice(), text.as_bytes()] {
            let _ = Ollama.decode_request(&called(Operation::Chat), input);
            let _ = Ollama.decode_request(&called(Operation::Completions), input);
            let _ = Ollama.decode_answer(input);
            let (mut reader, mut events) = (Ollama.stream_reader(), Vec::new());
            reader.push(input, &mut events);
            reader.finish(&mut events);
        }
    }

    #[test]
    fn no_json_panics(body in json_like()) {
        let bytes = body.to_string();
        let _ = Ollama.decode_request(&called(Operation::Chat), bytes.as_bytes());
        let _ = Ollama.decode_request(&called(Operation::Completions), bytes.as_bytes());
        let _ = Ollama.decode_answer(bytes.as_bytes());
        let _ = streamed(&bytes, 7);
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
            "prompt",
            "system",
            "images",
            "thinking",
            "tool_calls",
            "function",
            "arguments",
            "options",
            "stop",
            "message",
            "response",
            "done",
            "done_reason",
            "eval_count",
            "logprobs",
            "error",
            "tools",
            "format",
            "think",
            "created_at",
        ]);
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::vec((name, inner), 0..6)
                .prop_map(|list| Value::Object(list.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())),
        ]
    })
}
