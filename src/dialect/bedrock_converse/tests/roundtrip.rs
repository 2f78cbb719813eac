//! What is written is read again, and nothing panics.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;
use crate::dialect::ir::{
    Block, Builtin, BuiltinKind, Cache, Choice, Citation, Content, Effort, Finish, Format, Function, Media, MediaKind, MediaSource,
    Message, Reasoning, Role, Sampling, Signature, Thinking, Tool, ToolCall, ToolChoice, ToolResult,
};
use crate::ledger::record::Usage;

const D: Dialect = Dialect::BedrockConverse;

fn word() -> impl Strategy<Value = String> {
    "[a-zA-Z0-9_-]{1,12}"
}

fn said() -> impl Strategy<Value = String> {
    "[a-zé☃\"\\\\ ]{0,10}[a-z]"
}

fn json_object() -> impl Strategy<Value = Value> {
    proptest::collection::btree_map(
        word(),
        prop_oneof![Just(json!(null)), any::<i32>().prop_map(Value::from), said().prop_map(Value::from)],
        0..3,
    )
    .prop_map(|members| json!(members))
}

fn cache() -> impl Strategy<Value = Option<Cache>> {
    proptest::option::weighted(0.2, proptest::option::of(Just("1h".to_owned())).prop_map(|ttl| Cache { ttl, breakpoint: None }))
}

fn marked(content: impl Strategy<Value = Content>) -> impl Strategy<Value = Block> {
    (content, cache()).prop_map(|(content, cache)| Block { content, cache })
}

fn text() -> impl Strategy<Value = Content> {
    said().prop_map(|text| Content::Text { text, citations: Vec::new() })
}

fn image() -> impl Strategy<Value = Content> {
    let source = prop_oneof![Just(MediaSource::Base64("iVBORw0KGgo=".into())), Just(MediaSource::Url("s3://bucket/a.webp".into()))];
    (source, prop_oneof![Just("image/png"), Just("image/jpeg"), Just("image/webp")])
        .prop_map(|(source, of)| Content::Media(Media::new(MediaKind::Image, source, Some(of.into()))))
}

fn document(n: usize) -> impl Strategy<Value = Content> {
    let pdf = (MediaSource::Base64("JVBERi0=".into()), "application/pdf");
    let plain = (MediaSource::Text("all of it".into()), "text/plain");
    (prop_oneof![Just(pdf), Just(plain)], any::<bool>(), proptest::option::of(said())).prop_map(move |((source, of), citable, context)| {
        let mut media = Media::new(MediaKind::Document, source, Some(of.into()));
        media.name = Some(format!("Document {n}"));
        (media.citable, media.context) = (citable, context);
        Content::Media(media)
    })
}

fn signature() -> impl Strategy<Value = Option<Signature>> {
    "[A-Za-z0-9+/]{8,16}=".prop_map(|value| Some(Signature::new(D, value)))
}

fn reasoning() -> impl Strategy<Value = Content> {
    prop_oneof![
        (said(), signature()).prop_map(|(text, signature)| Reasoning { text, signature, is_redacted: false, id: None }),
        signature().prop_map(|signature| Reasoning { text: String::new(), signature, is_redacted: true, id: None }),
    ]
    .prop_map(Content::Reasoning)
}

fn builtin() -> Content {
    let value =
        json!({ "toolUse": { "toolUseId": "b", "name": "nova_code_interpreter", "input": { "snippet": "1" }, "type": "server_tool_use" } });
    Content::Builtin(Builtin { kind: BuiltinKind::CodeExecution, of: D, value })
}

/// Turns of a conversation whose calls are each answered.
fn turns() -> impl Strategy<Value = Vec<Message>> {
    let user = (marked(text()), proptest::option::of(marked(image())), proptest::option::of(document(1)));
    let thought = proptest::collection::vec(reasoning(), 0..2);
    let answer = (thought, marked(text()), proptest::option::of((json_object(), json_object(), said(), any::<bool>())), any::<bool>());
    let later = marked(text());
    (user, proptest::option::of((answer, later))).prop_map(|((first, image, document), rest)| {
        let opening = [first].into_iter().chain(image).chain(document.map(Block::from)).collect();
        let mut turns = vec![Message::new(Role::User, opening)];
        let Some(((thought, answer, call, has_builtin), later)) = rest else { return turns };
        let mut content: Vec<Block> = thought.into_iter().map(Block::from).collect();
        content.push(answer);
        content.extend(has_builtin.then(|| builtin().into()));
        if let Some((input, result, words, is_error)) = call {
            content.push(Content::ToolCall(tool_call(input)).into());
            turns.push(Message::new(Role::Assistant, content));
            let result = ToolResult {
                call_id: "call_1".into(),
                name: None,
                content: vec![Block::text(words), Content::Json(result).into()],
                is_error,
                is_custom: false,
            };
            turns.push(Message::new(Role::Tool, vec![Content::ToolResult(result).into()]));
        } else {
            turns.push(Message::new(Role::Assistant, content));
        }
        turns.push(Message::new(Role::User, vec![later]));
        turns
    })
}

fn tool_call(input: Value) -> ToolCall {
    ToolCall { id: "call_1".into(), name: "lookup".into(), arguments: input.to_string(), is_custom: false, signature: None }
}

fn tools() -> impl Strategy<Value = (Vec<Tool>, Option<ToolChoice>)> {
    let function = (proptest::option::of(said()), proptest::option::of(any::<bool>()), cache()).prop_map(|(description, strict, cache)| {
        let parameters = Some(json!({ "type": "object", "properties": { "a": { "type": "string" } }, "additionalProperties": false }));
        Tool::Function(Function { name: "lookup".into(), description, parameters, strict, cache })
    });
    let choice = prop_oneof![
        Just(None),
        Just(Some(ToolChoice::Auto)),
        Just(Some(ToolChoice::Required)),
        Just(Some(ToolChoice::Tool("lookup".into())))
    ];
    (function, choice).prop_map(|(function, choice)| (vec![function], choice))
}

fn sampling() -> impl Strategy<Value = Sampling> {
    let one = prop_oneof![Just((None, None)), Just((Some(0.5), None)), Just((None, Some(0.25)))];
    (proptest::option::of(1u64..9000), one, proptest::option::of(1u64..100), proptest::collection::vec("[A-Z]{1,4}", 0..3)).prop_map(
        |(max_output, (temperature, top_p), top_k, stop)| Sampling { max_output, temperature, top_p, top_k, stop, ..Sampling::default() },
    )
}

fn request() -> impl Strategy<Value = Request> {
    let system = proptest::collection::vec(marked(text()), 0..2);
    let format = proptest::option::of((word(), proptest::option::of(said()), json_object()).prop_map(|(name, description, mut schema)| {
        schema["type"] = json!("string");
        Format::JsonSchema { name, description, schema, strict: None }
    }));
    let tier = proptest::option::of(prop_oneof![Just("flex".to_owned()), Just("priority".to_owned())]);
    let metadata = proptest::collection::btree_map("[a-z]{1,5}", "[a-z:]{0,5}", 0..2);
    (system, turns(), tools(), sampling(), format, tier, metadata).prop_map(
        |(system, turns, (tools, choice), sampling, format, tier, metadata)| {
            let mut messages = Vec::new();
            if !system.is_empty() {
                messages.push(Message::new(Role::System, system));
            }
            messages.extend(turns);
            Request {
                messages,
                tools,
                tool_choice: choice,
                sampling,
                format,
                service_tier: tier,
                metadata: metadata.into_iter().map(|(name, value)| (name, Value::from(value))).collect::<Map<_, _>>(),
                ..Request::default()
            }
        },
    )
}

fn thinking() -> impl Strategy<Value = (&'static str, Thinking)> {
    let budget = Thinking { budget: Some(2048), ..Thinking::default() };
    let off = Thinking { enabled: Some(false), ..Thinking::default() };
    let on = Thinking { enabled: Some(true), ..Thinking::default() };
    let effort = |effort| Thinking { effort: Some(effort), ..Thinking::default() };
    prop_oneof![
        Just((CLAUDE, budget.clone())),
        Just((CLAUDE, off)),
        Just(("anthropic.claude-opus-4-6-v1", budget)),
        Just(("anthropic.claude-opus-4-7", on)),
        Just(("anthropic.claude-opus-4-7", effort(Effort::XHigh))),
        Just(("us.amazon.nova-2-lite-v1:0", effort(Effort::Medium))),
        Just(("openai.gpt-oss-120b-1:0", effort(Effort::High))),
        Just(("qwen.qwen3-32b-v1:0", effort(Effort::Low))),
    ]
}

fn answer() -> impl Strategy<Value = Answer> {
    let citation = said().prop_map(|title| {
        let native =
            json!({ "title": title, "sourceContent": [{ "text": "words" }], "location": { "web": { "url": "https://a.example/" } } });
        Citation {
            url: Some("https://a.example/".into()),
            title: Some(title),
            cited_text: Some("words".into()),
            span: None,
            native: Some((D, native)),
        }
    });
    let cited = (said(), proptest::collection::vec(citation, 0..2)).prop_map(|(text, citations)| Content::Text { text, citations });
    let call = (json_object(), "tooluse_[a-z]{6}").prop_map(|(input, id)| Content::ToolCall(ToolCall { id, ..tool_call(input) }));
    let image = Just(Content::Media(Media::new(MediaKind::Image, MediaSource::Base64("iVBORw0KGgo=".into()), Some("image/png".into()))));
    let block = prop_oneof![4 => cited, 2 => call, 2 => reasoning(), 1 => Just(builtin()), 1 => image];
    let finish = prop_oneof![
        Just(Finish::Stop),
        Just(Finish::StopSequence("END".into())),
        Just(Finish::StopSequence(String::new())),
        Just(Finish::Length),
        Just(Finish::ToolCalls),
        Just(Finish::ContentFilter),
        Just(Finish::ContextExceeded),
        Just(Finish::MalformedToolCall),
        Just(Finish::Other("malformed_model_output".into())),
    ];
    (proptest::collection::vec(block, 0..5), finish, 0u64..99, 0u64..99, 0u64..9).prop_map(|(content, finish, input, output, cached)| {
        Answer {
            choices: vec![Choice { content: content.into_iter().map(Block::from).collect(), finish, logprobs: Vec::new() }],
            usage: Some(Usage { input: input + cached, cached, output, ..Usage::default() }),
            ..Answer::default()
        }
    })
}

proptest! {
    #[test]
    fn a_request_is_read_as_it_was_written(request in request()) {
        let (body, dropped) = encoded_for(&request, CLAUDE, None);
        prop_assert!(dropped.is_empty(), "{dropped:?}");
        prop_assert_eq!(decoded(&body.to_string()), request);
    }

    #[test]
    fn reasoning_is_read_as_it_was_written_for_each_family((model, thinking) in thinking()) {
        let message = Message::new(Role::User, vec![Block::text("hello")]);
        let request = Request { messages: vec![message], thinking: Some(thinking), ..Request::default() };
        let (body, dropped) = encoded_for(&request, model, None);
        prop_assert!(dropped.is_empty(), "{dropped:?}");
        prop_assert_eq!(decoded(&body.to_string()), request);
    }

    #[test]
    fn an_answer_is_read_as_it_was_written_whole_and_streamed(answer in answer(), size in 1usize..200) {
        prop_assert_eq!(&Bedrock.decode_answer(&write_whole(answer.clone())).unwrap(), &answer);
        prop_assert_eq!(collect(read_stream(write_stream(answer.clone()).chunks(size))), answer);
    }

    #[test]
    fn no_bytes_panic(bytes: Vec<u8>, cut in 0usize..64) {
        let _ = Bedrock.decode_request(&called(), &bytes);
        let _ = Bedrock.decode_answer(&bytes);
        Bedrock.decode_trouble(400, &bytes);
        let cut = cut.min(bytes.len());
        read_stream([&bytes[..cut], &bytes[cut..]]);
    }

    #[test]
    fn no_json_panics(member in "messages|system|toolConfig|inferenceConfig|outputConfig|serviceTier|requestMetadata|additionalModelRequestFields|output|usage", value in any_json(), name in "contentBlockStart|contentBlockDelta|contentBlockStop|messageStop|metadata") {
        let body = json!({ member: value.clone() }).to_string();
        if let Ok(request) = Bedrock.decode_request(&called(), body.as_bytes()) {
            let _ = Bedrock.encode_request(&request, &To { model: CLAUDE, facts: None }, &mut Dropped::default());
        }
        let _ = Bedrock.decode_answer(body.as_bytes());
        let blocks = json!({ "messages": [{ "role": "user", "content": value.clone() }, { "role": "assistant", "content": value.clone() }] });
        if let Ok(request) = Bedrock.decode_request(&called(), blocks.to_string().as_bytes()) {
            let _ = Bedrock.encode_request(&request, &To { model: "m", facts: None }, &mut Dropped::default());
        }
        let mut stream = Vec::new();
        crate::dialect::frame::write_frame(Default::default(), &name, &mut stream, |out| out.extend_from_slice(value.to_string().as_bytes()));
        read_stream([&stream[..]]);
    }
}

/// JSON made of the names that blocks have.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        said().prop_map(Value::from)
    ];
    let name = prop_oneof![
        "text|toolUse|toolResult|image|document|video|reasoningContent|cachePoint|citationsContent|guardContent|json|source|bytes|format",
        "toolUseId|name|input|content|status|citations|thinking|type|tools|toolSpec|inputSchema|toolChoice|tool|delta|start|contentBlockIndex",
    ];
    leaf.prop_recursive(5, 40, 4, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map(name.clone(), inner, 0..4).prop_map(|members| json!(members)),
        ]
    })
}
