//! What can be expressed comes back, and no input panics.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

/// JSON of any shape, with the members that the decoders look for.
fn any_json() -> impl Strategy<Value = Value> {
    let names = prop::sample::select(vec![
        "contents",
        "parts",
        "role",
        "text",
        "functionCall",
        "function_response",
        "args",
        "name",
        "id",
        "response",
        "thought",
        "thoughtSignature",
        "inlineData",
        "fileData",
        "data",
        "mimeType",
        "tools",
        "functionDeclarations",
        "parameters",
        "type",
        "toolConfig",
        "functionCallingConfig",
        "mode",
        "generationConfig",
        "thinkingConfig",
        "stopSequences",
        "systemInstruction",
        "candidates",
        "content",
        "finishReason",
        "usageMetadata",
        "groundingMetadata",
        "groundingChunks",
        "groundingSupports",
        "segment",
        "startIndex",
        "endIndex",
        "groundingChunkIndices",
        "web",
        "uri",
        "partialArgs",
        "jsonPath",
        "stringValue",
        "willContinue",
        "error",
        "promptFeedback",
        "blockReason",
        "logprobsResult",
        "chosenCandidates",
        "citationMetadata",
        "citations",
        "executableCode",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a-zA-Zé$.\\[\\]0-9]{0,8}".prop_map(Value::from),
        prop::sample::select(vec!["user", "model", "STOP", "ANY", "OBJECT", "image/png", "$.a[0]", "$.a[99999999]"]).prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 64, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((names.clone(), inner), 0..6)
                .prop_map(|members| Value::Object(members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())),
        ]
    })
}

fn word() -> impl Strategy<Value = String> {
    "[a-zé \"\\\\\n]{0,6}[a-zA-Z0-9]"
}

fn signature() -> impl Strategy<Value = Option<Signature>> {
    prop::option::of("[A-Za-z0-9+/]{7}=".prop_map(|value| Signature::new(Dialect::Gemini, value)))
}

fn media() -> impl Strategy<Value = Content> {
    let kinds = prop::sample::select(vec![
        (MediaKind::Image, "image/png"),
        (MediaKind::Audio, "audio/wav"),
        (MediaKind::Video, "video/mp4"),
        (MediaKind::Document, "application/pdf"),
    ]);
    let sources = prop_oneof![
        "[A-Za-z0-9+/]{7}=".prop_map(MediaSource::Base64),
        "gs://[a-z]{3}/[a-z]{3}".prop_map(MediaSource::Url),
        "https://generativelanguage\\.googleapis\\.com/v1beta/files/[a-z]{3}".prop_map(|id| MediaSource::File { of: Dialect::Gemini, id }),
    ];
    (kinds, sources).prop_map(|((kind, media_type), source)| Content::Media(Media::new(kind, source, Some(media_type.to_owned()))))
}

fn natives() -> impl Strategy<Value = Content> {
    prop_oneof![
        word().prop_map(|code| Content::Builtin(Builtin {
            kind: BuiltinKind::CodeExecution,
            of: Dialect::Gemini,
            value: json!({ "executableCode": { "language": "PYTHON", "code": code } })
        })),
        word().prop_map(|uri| Content::Other {
            of: Dialect::Gemini,
            value: json!({ "fileData": { "fileUri": uri }, "videoMetadata": { "fps": 2 } })
        }),
    ]
}

/// A user's message; then one of the model's with calls, and their results, so that each id is there once.
fn turn(number: usize) -> impl Strategy<Value = Vec<Message>> {
    let text = || word().prop_map(|text| Content::Text { text, citations: Vec::new() });
    let user = prop::collection::vec(prop_oneof![text(), media(), natives()], 1..4);
    let reasoning = (word(), "[A-Za-z0-9+/]{7}=").prop_map(|(text, value)| {
        Content::Reasoning(Reasoning { text, signature: Some(Signature::new(Dialect::Gemini, value)), ..Reasoning::default() })
    });
    let said = prop::collection::vec(prop_oneof![reasoning, text(), media(), natives()], 0..4);
    let outcome = prop_oneof![
        (word(), any::<bool>()).prop_map(|(text, is_error)| (vec![Block::text(text)], is_error)),
        word().prop_map(|text| (vec![Content::Json(json!({ "a": text, "b": 1 })).into()], false)),
        Just((vec![Content::Json(json!([1])).into()], true)),
        Just((Vec::new(), false)),
    ];
    let call = (word(), word(), signature(), outcome);
    (user, said, prop::collection::vec(call, 1..3)).prop_map(move |(user, said, calls)| {
        let mut model: Vec<Block> = said.into_iter().map(Block::from).collect();
        let mut results = Vec::new();
        for (at, (name, argument, signature, (content, is_error))) in calls.into_iter().enumerate() {
            let id = format!("id-{number}-{at}");
            let arguments = json!({ "x": argument }).to_string();
            model.push(Content::ToolCall(ToolCall { id: id.clone(), name: name.clone(), arguments, is_custom: false, signature }).into());
            results.push(Content::ToolResult(ToolResult { call_id: id, name: Some(name), content, is_error, is_custom: false }).into());
        }
        vec![
            Message::new(Role::User, user.into_iter().map(Block::from).collect()),
            Message::new(Role::Assistant, model),
            Message::new(Role::Tool, results),
        ]
    })
}

fn messages() -> impl Strategy<Value = Vec<Message>> {
    let system = prop::option::of(prop::collection::vec(word().prop_map(Block::text), 1..3));
    (system, turn(0), turn(1)).prop_map(|(system, first, second)| {
        let system = system.map(|content| Message::new(Role::System, content));
        system.into_iter().chain(first).chain(second).collect()
    })
}

fn tools() -> impl Strategy<Value = Vec<Tool>> {
    let parameters = json!({ "type": "object", "properties": { "x": { "type": ["string", "null"] } }, "required": ["x"] });
    let function = (word(), prop::option::of(word()), prop::option::of(Just(parameters)))
        .prop_map(|(name, description, parameters)| Tool::Function(Function { name, description, parameters, ..Function::default() }));
    let search = Builtin { kind: BuiltinKind::WebSearch, of: Dialect::Gemini, value: json!({ "googleSearch": {} }) };
    prop::collection::vec(prop_oneof![3 => function, 1 => Just(Tool::Builtin(search))], 1..4)
}

fn choices() -> impl Strategy<Value = Option<ToolChoice>> {
    prop::option::of(prop_oneof![
        Just(ToolChoice::Auto),
        Just(ToolChoice::None),
        Just(ToolChoice::Required),
        word().prop_map(ToolChoice::Tool),
        (prop::collection::vec(word(), 2..4), any::<bool>()).prop_map(|(names, required)| ToolChoice::Allowed { names, required }),
    ])
}

fn sampling() -> impl Strategy<Value = Sampling> {
    let numbers = (prop::option::of(1u64..9999), prop::option::of(0u32..=200), prop::option::of(0u32..=100), prop::option::of(1u64..100));
    let more =
        (prop::option::of(any::<i32>()), prop::option::of(-20i32..20), prop::collection::vec(word(), 0..3), prop::option::of(1u32..5));
    (numbers, more, prop::option::of(1u32..=20)).prop_map(|((max_output, temperature, top_p, top_k), (seed, penalty, stop, n), tops)| {
        Sampling {
            max_output,
            temperature: temperature.map(|hundredth| f64::from(hundredth) / 100.0),
            top_p: top_p.map(|hundredth| f64::from(hundredth) / 100.0),
            top_k,
            seed: seed.map(i64::from),
            frequency_penalty: penalty.map(|tenth| f64::from(tenth) / 10.0),
            presence_penalty: penalty.map(|tenth| f64::from(tenth) / 20.0),
            stop,
            n,
            logprobs: tops.map(|_| true),
            top_logprobs: tops,
        }
    })
}

fn formats() -> impl Strategy<Value = Option<Format>> {
    let schema = json!({ "type": "object", "properties": { "y": { "$ref": "#/$defs/Y" } }, "$defs": { "Y": { "type": "integer" } } });
    prop::option::of(prop_oneof![
        Just(Format::Text),
        Just(Format::JsonObject),
        Just(Format::JsonSchema { name: String::new(), description: None, schema, strict: None }),
    ])
}

/// What Gemini can express, for a model of the third generation.
fn requests() -> impl Strategy<Value = Request> {
    let efforts = prop::sample::select(vec![Effort::Minimal, Effort::Low, Effort::Medium, Effort::High]);
    let thinking = prop::option::of(prop_oneof![
        (efforts, prop::option::of(any::<bool>())).prop_map(|(effort, include)| Thinking {
            effort: Some(effort),
            include,
            ..Thinking::default()
        }),
        (1u64..9999).prop_map(|budget| Thinking { budget: Some(budget), ..Thinking::default() }),
    ]);
    let tiers = prop::option::of(prop::sample::select(vec!["flex", "priority", "standard"]));
    let extra = prop::option::of(word().prop_map(|value| {
        let fields = json!({ "safetySettings": [], "generationConfig.mediaResolution": value, "toolConfig.retrievalConfig": {} });
        Extra::new(Dialect::Gemini, fields.as_object().unwrap().clone())
    }));
    (messages(), tools(), choices(), sampling(), formats(), thinking, tiers, extra).prop_map(
        |(messages, tools, tool_choice, sampling, format, thinking, tier, extra)| Request {
            messages,
            tools,
            tool_choice,
            sampling,
            format,
            thinking,
            service_tier: tier.map(str::to_owned),
            extra: extra.unwrap_or_default(),
            ..Request::default()
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn what_it_can_express_comes_back(request in requests()) {
        let mut request = request;
        // Of parallel calls the first has a signature, or gets the one that stands for none.
        for message in request.messages.iter_mut().filter(|message| message.role == Role::Assistant) {
            let first = message.content.iter_mut().find_map(|block| if let Content::ToolCall(call) = &mut block.content { Some(call) } else { None });
            first.unwrap().signature.get_or_insert_with(|| Signature::new(Dialect::Gemini, "AAAA"));
        }
        let (body, dropped) = encode_for("gemini-3-flash-preview", &request);
        prop_assert!(dropped.is_empty(), "{:?}", dropped);
        prop_assert_eq!(decode(&body), request);
    }

    #[test]
    fn no_json_panics(value in any_json()) {
        let body = value.to_string();
        if let Ok(request) = Gemini.decode_request(&called(), body.as_bytes()) {
            for model in ["gemini-2.0-flash", "gemini-2.5-pro", "gemini-3-pro-preview", "other"] {
                let _ = Gemini.encode_request(&request, &To { model, facts: None }, &mut Dropped::default());
            }
        }
        if let Ok(answer) = Gemini.decode_answer(body.as_bytes()) {
            let written = Gemini.encode_answer(answer, &asked(), &mut Dropped::default());
            prop_assert!(Gemini.decode_answer(&written).is_ok());
        }
        let events = read_stream(&[b"data: ", body.as_bytes(), b"\n\n"]);
        let (mut writer, mut out) = (Gemini.stream_writer(&asked()), Vec::new());
        events.into_iter().for_each(|event| writer.write(event, &mut out));
        let _ = Gemini.decode_trouble(400, body.as_bytes());
    }

    #[test]
    fn no_bytes_panic(bytes: Vec<u8>) {
        let _ = Gemini.decode_request(&called(), &bytes);
        let _ = Gemini.decode_answer(&bytes);
        let _ = Gemini.decode_trouble(500, &bytes);
        read_stream(&[&bytes]);
        read_stream(&[b"data: {\"candidates\":", &bytes, b"\n\n"]);
    }
}
