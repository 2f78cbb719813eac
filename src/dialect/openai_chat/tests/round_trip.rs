//! What is written is read again, and no input makes a reader panic.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;
use crate::dialect::ir::{
    Block, Builtin, BuiltinKind, Cache, Content, Effort, Extra, Format, Function, Media, MediaKind, MediaSource, Message, Reasoning, Role,
    Sampling, Signature, Thinking, Tool, ToolCall, ToolChoice, ToolResult,
};

/// Takes developer messages and cache marks.
const MODEL: &str = "openai/claude";

fn text() -> impl Strategy<Value = String> {
    "[a-zé\"\\\\\n ]{1,12}"
}

fn name() -> impl Strategy<Value = String> {
    "[a-zA-Z_][a-zA-Z0-9_-]{0,10}"
}

fn cache() -> impl Strategy<Value = Option<Cache>> {
    option::of(option::of(prop_oneof![Just("5m".to_owned()), Just("1h".to_owned())]).prop_map(|ttl| Cache { ttl, breakpoint: None }))
}

fn text_block() -> impl Strategy<Value = Block> {
    (text(), cache()).prop_map(|(text, cache)| Block { cache, ..Block::text(text) })
}

fn media() -> impl Strategy<Value = Media> {
    let base64 = || "[A-Za-z0-9+/]{4,8}==".prop_map(MediaSource::Base64);
    let url = || "https://[a-z]{1,8}\\.example/[a-z]{1,5}".prop_map(MediaSource::Url);
    let details = option::of(prop_oneof![Just("low".to_owned()), Just("high".to_owned())]);
    let inline = (base64(), details.clone())
        .prop_map(|(source, detail)| Media { detail, ..Media::new(MediaKind::Image, source, Some("image/webp".to_owned())) });
    let linked = (url(), details).prop_map(|(source, detail)| Media { detail, ..Media::new(MediaKind::Image, source, None) });
    let audio = (base64(), prop_oneof![Just("audio/wav"), Just("audio/mpeg"), Just("audio/flac")])
        .prop_map(|(source, of)| Media::new(MediaKind::Audio, source, Some(of.to_owned())));
    let video = url().prop_map(|source| Media::new(MediaKind::Video, source, None));
    let document = (base64(), name()).prop_map(|(source, name)| Media {
        name: Some(name),
        ..Media::new(MediaKind::Document, source, Some("application/pdf".to_owned()))
    });
    let file = ("file-[a-z0-9]{4}", option::of(name()))
        .prop_map(|(id, name)| Media { name, ..Media::new(MediaKind::Document, MediaSource::File { of: Dialect::OpenaiChat, id }, None) });
    prop_oneof![inline, linked, audio, video, document, file]
}

fn part() -> impl Strategy<Value = Block> {
    prop_oneof![
        3 => text_block(),
        2 => (media(), cache()).prop_map(|(media, cache)| Block { content: Content::Media(media), cache }),
        1 => name().prop_map(|name| Content::Other { of: Dialect::OpenaiChat, value: json!({ "type": "new", "new": name }) }.into()),
    ]
}

fn asking() -> impl Strategy<Value = Message> {
    let instructions = (prop_oneof![Just(Role::System), Just(Role::Developer)], vec(text_block(), 0..3), option::of(name()));
    let instructions = instructions.prop_map(|(role, content, name)| Message { role, content, name });
    let asked = (vec(part(), 0..4), option::of(name())).prop_map(|(content, name)| Message { role: Role::User, content, name });
    prop_oneof![instructions, asked]
}

fn reasoning() -> impl Strategy<Value = Block> {
    let own = |mark: Value| Some(Signature::new(Dialect::OpenaiChat, mark.to_string()));
    let foreign = (text(), name(), prop_oneof![Just("reasoning.text"), Just("reasoning.summary")]).prop_map(move |(text, proof, kind)| {
        Reasoning { text, signature: own(json!({ "type": kind, "signature": proof })), ..Reasoning::default() }
    });
    let hidden = name().prop_map(move |data| Reasoning {
        signature: own(json!({ "type": "reasoning.encrypted", "data": data, "id": "rs" })),
        is_redacted: true,
        ..Reasoning::default()
    });
    prop_oneof![foreign, hidden].prop_map(|reasoning| Content::Reasoning(reasoning).into())
}

fn call() -> impl Strategy<Value = Block> {
    let arguments = prop_oneof![
        name().prop_map(|name| (json!({ "a": name }).to_string(), false)),
        Just(("{}".to_owned(), false)),
        text().prop_map(|text| (text, true))
    ];
    let signature = option::of(name().prop_map(|proof| Signature::new(Dialect::OpenaiChat, proof)));
    ("call_[a-z0-9]{1,20}", name(), arguments, signature).prop_map(|(id, name, (arguments, is_custom), signature)| {
        Content::ToolCall(ToolCall { id, name, arguments, is_custom, signature }).into()
    })
}

fn answering() -> impl Strategy<Value = Message> {
    let refusal = option::of(text().prop_map(|text| Block::from(Content::Refusal(text))));
    let content = (vec(reasoning(), 0..3), option::of(text_block()), refusal, vec(call(), 0..3));
    (content, option::of(name())).prop_map(|((reasoning, text, refusal, calls), name)| {
        let content = reasoning.into_iter().chain(text).chain(refusal).chain(calls).collect();
        Message { role: Role::Assistant, content, name }
    })
}

fn results() -> impl Strategy<Value = Message> {
    let result = ("id_[a-z0-9]{1,20}", vec(text_block(), 0..3));
    let block = result.prop_map(|(call_id, content)| {
        Content::ToolResult(ToolResult { call_id, name: None, content, is_error: false, is_custom: false }).into()
    });
    vec(block, 1..4).prop_map(|content| Message::new(Role::Tool, content))
}

fn tool() -> impl Strategy<Value = Tool> {
    let schema = option::of(name().prop_map(|name| json!({ "type": "object", "properties": { name: { "type": "string" } } })));
    let function = (name(), option::of(text()), schema, option::of(any::<bool>()), cache());
    let function = function.prop_map(|(name, description, parameters, strict, cache)| {
        Tool::Function(Function { name, description, parameters, strict, cache })
    });
    let custom = (name(), option::of(text())).prop_map(|(name, description)| Tool::Custom {
        name,
        description,
        format: Some(json!({ "type": "text" })),
    });
    let builtin = Just(Tool::Builtin(Builtin {
        kind: BuiltinKind::WebSearch,
        of: Dialect::OpenaiChat,
        value: json!({ "type": "openrouter:web_search", "parameters": {} }),
    }));
    prop_oneof![4 => function, 2 => custom, 1 => builtin]
}

fn tools() -> impl Strategy<Value = (Vec<Tool>, Option<ToolChoice>, Option<bool>)> {
    let choice = prop_oneof![
        Just(ToolChoice::Auto),
        Just(ToolChoice::None),
        Just(ToolChoice::Required),
        name().prop_map(ToolChoice::Tool),
        (vec(name(), 0..3), any::<bool>()).prop_map(|(names, required)| ToolChoice::Allowed { names, required }),
    ];
    let some = (vec(tool(), 1..4), option::of(choice), option::of(any::<bool>()));
    prop_oneof![Just((Vec::new(), None, None)), some]
}

fn format() -> impl Strategy<Value = Format> {
    let schema = (name(), option::of(text()), option::of(any::<bool>()));
    prop_oneof![
        Just(Format::Text),
        Just(Format::JsonObject),
        schema.prop_map(|(name, description, strict)| Format::JsonSchema {
            name,
            description,
            schema: json!({ "type": "object" }),
            strict
        }),
    ]
}

fn sampling() -> impl Strategy<Value = Sampling> {
    let quarter = |range: std::ops::Range<i32>| option::of(range.prop_map(|quarters| f64::from(quarters) / 4.0));
    let numbers = (option::of(0u64..1 << 40), quarter(0..9), quarter(0..5), option::of(any::<i64>()), quarter(-8..9), quarter(-8..9));
    let others = (vec(text(), 0..5), option::of(1u32..9), option::of(any::<bool>()), option::of(0u32..21));
    (numbers, others).prop_map(|((max_output, temperature, top_p, seed, frequency_penalty, presence_penalty), (stop, n, logprobs, top))| {
        let top_logprobs = top.filter(|_| logprobs == Some(true));
        Sampling { max_output, temperature, top_p, top_k: None, seed, frequency_penalty, presence_penalty, stop, n, logprobs, top_logprobs }
    })
}

fn effort() -> impl Strategy<Value = Thinking> {
    const WORDS: [&str; 7] = ["none", "minimal", "low", "medium", "high", "xhigh", "max"];
    proptest::sample::select(&WORDS[..]).prop_map(|word| Thinking { effort: Effort::from_name(word), ..Thinking::default() })
}

fn request() -> impl Strategy<Value = Request> {
    let message = prop_oneof![asking(), answering(), results()];
    let about = (option::of(effort()), option::of(Just("flex".to_owned())), option::of(name()), option::of(name()));
    (vec(message, 0..6), tools(), option::of(format()), sampling(), about, option::of(name())).prop_map(
        |(messages, (tools, tool_choice, parallel_tool_calls), format, sampling, (thinking, service_tier, user, note), more)| {
            let mut request =
                Request { tools, tool_choice, parallel_tool_calls, format, sampling, thinking, service_tier, user, ..Request::default() };
            messages.into_iter().for_each(|message| request.push(message));
            let mut fields = Map::from_iter(more.map(|name| (format!("x_{name}"), json!({ "a": [1, null] }))));
            if let Some(note) = note {
                // Notes go only with answers that are to be stored.
                fields.insert("store".into(), json!(true));
                request.metadata.insert(note, json!("value"));
            }
            request.extra = Extra::new(Dialect::OpenaiChat, fields);
            request
        },
    )
}

/// Any JSON, with the dialect's own names in it more often than not.
fn json_value() -> impl Strategy<Value = Value> {
    const NAMES: [&str; 44] = [
        "choices",
        "delta",
        "message",
        "content",
        "tool_calls",
        "function",
        "name",
        "arguments",
        "id",
        "index",
        "finish_reason",
        "usage",
        "prompt_tokens",
        "completion_tokens",
        "logprobs",
        "error",
        "reasoning_details",
        "reasoning",
        "type",
        "text",
        "annotations",
        "audio",
        "images",
        "messages",
        "role",
        "tools",
        "tool_choice",
        "stop",
        "response_format",
        "json_schema",
        "thinking",
        "image_url",
        "file",
        "input_audio",
        "url",
        "custom",
        "extra_content",
        "citations",
        "refusal",
        "tool_call_id",
        "data",
        "transcript",
        "x_groq",
        "code",
    ];
    const TEXTS: [&str; 14] = [
        "",
        "user",
        "assistant",
        "tool",
        "function",
        "text",
        "image_url",
        "reasoning.text",
        "reasoning.encrypted",
        "json_schema",
        "null",
        "data:;base64,",
        "kw.gemini.x",
        "thinking",
    ];
    let texts = prop_oneof![proptest::sample::select(&TEXTS[..]).prop_map(str::to_owned), ".{0,6}"];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        texts.prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 48, 6, |inner| {
        let names = proptest::sample::select(&NAMES[..]).prop_map(str::to_owned);
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::Array),
            vec((names, inner), 0..6).prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn read_all(bytes: &[u8]) {
    let _ = OpenaiChat.decode_request(&called(), bytes);
    let _ = OpenaiChat.decode_answer(bytes);
    let _ = OpenaiChat.decode_trouble(500, bytes);
    let told = events(&[bytes]);
    let _ = written(&told, &asked(&json!({ "messages": [] })));
}

proptest! {
    #[test]
    fn what_is_written_is_read(request in request()) {
        let (body, dropped) = encode(&request, MODEL);
        prop_assert!(dropped.is_empty(), "{dropped:?}");
        prop_assert_eq!(decode(&body), request, "{}", body);
    }

    #[test]
    fn no_bytes_panic(bytes in vec(any::<u8>(), 0..200)) {
        read_all(&bytes);
    }

    #[test]
    fn no_json_panics(value in json_value()) {
        read_all(value.to_string().as_bytes());
        read_all(json!({ "messages": [value.clone()], "choices": [value.clone()] }).to_string().as_bytes());
        read_all(json!({ "choices": [{ "message": value.clone(), "finish_reason": "stop" }] }).to_string().as_bytes());
        let chunk = json!({ "choices": [{ "delta": value }] });
        let stream = format!("data: {chunk}\n\ndata: {chunk}\n\ndata: [DONE]\n\n");
        let told = events(&[stream.as_bytes()]);
        let again = written(&told, &asked(&json!({ "messages": [] })));
        // What is written for one caller can be read by the next gateway.
        let read = events(&[again.as_bytes()]);
        prop_assert_eq!(read.last() == Some(&Event::End), told.last() == Some(&Event::End));
        if let Ok(answer) = OpenaiChat.decode_answer(json!({ "choices": [{ "message": chunk["choices"][0]["delta"] }] }).to_string().as_bytes()) {
            let body = OpenaiChat.encode_answer(answer, &asked(&json!({ "messages": [] })), &mut Dropped::default());
            prop_assert!(OpenaiChat.decode_answer(&body).is_ok());
        }
    }
}
