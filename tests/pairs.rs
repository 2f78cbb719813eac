//! What survives between each two dialects: asked of the codecs themselves, and written down in `docs/dialects.md`.
//!
//! `KEYWARD_WRITE_DOCS=1 cargo test --test pairs` writes the page anew; without it the test fails where the page says something else.

#![allow(clippy::unwrap_used)]

use std::fmt::Write;

use bytes::Bytes;
use keyward::catalog::{Dialect, Operation};
use keyward::dialect::ir::*;
use keyward::dialect::translate::write_request;
use keyward::dialect::{Asked, Called, To, codec};
use keyward::ledger::record::Usage;
use serde_json::json;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/dialects.md");
const HEAD: &str = "# What survives between dialects

Any client SDK reaches any provider. Where both speak the same dialect, bytes pass through untouched but for the model's name and the
credential. Between two dialects, everything that both can say survives. This page is made by `tests/pairs.rs`, which asks the code itself.

- **yes**: it arrives as it was meant.
- **nearly**: it arrives as the nearest thing that the provider's dialect can say, such as a budget as an effort.
- **fetched**: the same, after the gateway has fetched it, since the provider would not.
- *named*: the provider's dialect cannot say it; the request goes on without it, or with the nearest thing, and the answer's header
  `keyward-dropped` names it by the caller's own name.
- refused: to go on without it would change the meaning, so the caller gets an error that says so (`not_expressible`).
- –: the caller's dialect cannot say it.

Images, audio and documents that a caller names by URL are fetched by the gateway for providers that take them only inline: by https, up to
`fetch.media_mib`, from public addresses alone.
";

const ANSWERS_HEAD: &str = "
## Answers, by the caller's dialect

Whatever a provider of another dialect answers reaches the caller in its own words. *named*: in the header `keyward-dropped` of a whole
answer; a stream's headers are gone before it is known. no: the dialect has no word for it.

| |";

/// Something that a request can say: its name, and how it is said.
type Feature = (&'static str, fn(&mut Request));

fn user(request: &mut Request, content: Content) {
    request.messages[0].content.push(content.into());
}

fn media(kind: MediaKind, source: MediaSource, media_type: &str) -> Content {
    Content::Media(Media::new(kind, source, Some(media_type.to_owned())))
}

fn base64(data: &str) -> MediaSource {
    MediaSource::Base64(data.to_owned())
}

fn call(id: &str) -> Block {
    Content::ToolCall(ToolCall {
        id: id.to_owned(),
        name: "get_weather".to_owned(),
        arguments: "{\"city\":\"Paris\"}".to_owned(),
        is_custom: false,
        signature: None,
    })
    .into()
}

fn result(id: &str, content: Vec<Block>, is_error: bool) -> Block {
    Content::ToolResult(ToolResult { call_id: id.to_owned(), name: Some("get_weather".to_owned()), content, is_error, is_custom: false })
        .into()
}

fn tool() -> Tool {
    let parameters = json!({ "type": "object", "properties": { "city": { "type": "string" } }, "required": ["city"] });
    let description = Some("The weather.".to_owned());
    Tool::Function(Function { name: "get_weather".to_owned(), description, parameters: Some(parameters), ..Function::default() })
}

fn loop_with(request: &mut Request, result: Block) {
    request.tools.push(tool());
    request.messages.push(Message::new(Role::Assistant, vec![call("call_1")]));
    request.messages.push(Message::new(Role::Tool, vec![result]));
}

const FEATURES: &[Feature] = &[
    ("system message", |r| r.messages.insert(0, Message::new(Role::System, vec![Block::text("Be kind.")]))),
    ("several turns", |r| {
        r.messages.push(Message::new(Role::Assistant, vec![Block::text("Hello.")]));
        r.messages.push(Message::new(Role::User, vec![Block::text("Again?")]));
    }),
    ("image, base64", |r| user(r, media(MediaKind::Image, base64("iVBORw0KGgo="), "image/png"))),
    ("image, URL", |r| user(r, Content::Media(Media::new(MediaKind::Image, MediaSource::Url("https://example.com/a.png".into()), None)))),
    ("audio", |r| user(r, media(MediaKind::Audio, base64("UklGRg=="), "audio/wav"))),
    ("PDF", |r| user(r, media(MediaKind::Document, base64("JVBERi0="), "application/pdf"))),
    ("tools", |r| r.tools.push(tool())),
    ("tool loop", |r| loop_with(r, result("call_1", vec![Block::text("Sunny.")], false))),
    ("tool result that failed", |r| loop_with(r, result("call_1", vec![Block::text("No such city.")], true))),
    ("image in a tool result", |r| {
        loop_with(
            r,
            result("call_1", vec![Block::text("See."), media(MediaKind::Image, base64("iVBORw0KGgo="), "image/png").into()], false),
        );
    }),
    ("tool choice: required", |r| {
        r.tools.push(tool());
        r.tool_choice = Some(ToolChoice::Required);
    }),
    ("tool choice: one tool", |r| {
        r.tools.push(tool());
        r.tool_choice = Some(ToolChoice::Tool("get_weather".to_owned()));
    }),
    ("tool choice: none", |r| {
        r.tools.push(tool());
        r.tool_choice = Some(ToolChoice::None);
    }),
    ("one tool call at a time", |r| {
        r.tools.push(tool());
        r.parallel_tool_calls = Some(false);
    }),
    ("JSON mode", |r| r.format = Some(Format::JsonObject)),
    ("JSON by schema", |r| {
        let schema =
            json!({ "type": "object", "properties": { "a": { "type": "string" } }, "required": ["a"], "additionalProperties": false });
        r.format = Some(Format::JsonSchema { name: "answer".to_owned(), description: None, schema, strict: Some(true) });
    }),
    ("reasoning effort", |r| r.thinking = Some(Thinking { effort: Some(Effort::Medium), ..Thinking::default() })),
    ("reasoning budget", |r| r.thinking = Some(Thinking { enabled: Some(true), budget: Some(8192), ..Thinking::default() })),
    ("web search", |r| {
        r.tools.push(Tool::Builtin(Builtin {
            kind: BuiltinKind::WebSearch,
            of: Dialect::OpenaiResponses,
            value: json!({ "type": "web_search" }),
        }));
    }),
    ("max tokens", |r| r.sampling.max_output = Some(777)),
    ("temperature", |r| r.sampling.temperature = Some(0.5)),
    ("top_p", |r| r.sampling.top_p = Some(0.5)),
    ("top_k", |r| r.sampling.top_k = Some(40)),
    ("seed", |r| r.sampling.seed = Some(7)),
    ("frequency penalty", |r| r.sampling.frequency_penalty = Some(0.5)),
    ("presence penalty", |r| r.sampling.presence_penalty = Some(0.5)),
    ("stop sequences", |r| r.sampling.stop = vec!["END".to_owned()]),
    ("several answers", |r| r.sampling.n = Some(2)),
    ("log probabilities", |r| {
        r.sampling.logprobs = Some(true);
        r.sampling.top_logprobs = Some(2);
    }),
    ("cache mark", |r| r.messages[0].content[0].cache = Some(Cache::default())),
    ("end user's id", |r| r.user = Some("user-1".to_owned())),
    ("metadata", |r| drop(r.metadata.insert("team".to_owned(), json!("red")))),
    ("service tier", |r| r.service_tier = Some("flex".to_owned())),
];

fn plain() -> Request {
    Request {
        model: "m".to_owned(),
        messages: vec![Message::new(Role::User, vec![Block::text("Hello there.")])],
        // What some dialects cannot be without.
        sampling: Sampling { max_output: Some(4096), ..Sampling::default() },
        ..Request::default()
    }
}

/// The request as it can be said in a dialect, and what of it cannot.
fn said_in(from: Dialect, request: &Request) -> Option<(Request, Dropped)> {
    let (body, dropped) = write_request(request, from, &To { model: "m", facts: None }).ok()?;
    let mut read = codec(from).decode_request(&Called::new(Operation::Chat, from), &body).unwrap();
    read.model = "m".to_owned();
    Some((read, dropped))
}

/// The request as the gateway makes it for a provider that does not fetch media by itself.
fn inlined(request: &Request, to: Dialect) -> Option<Request> {
    let mut request = request.clone();
    let mut is_changed = false;
    for block in request.messages.iter_mut().flat_map(|message| &mut message.content) {
        if let Content::Media(media) = &mut block.content
            && let MediaSource::Url(url) = &media.source
            && !codec(to).takes_url(media.kind, url)
        {
            media.source = base64("iVBORw0KGgo=");
            media.media_type = Some("image/png".to_owned());
            is_changed = true;
        }
    }
    is_changed.then_some(request)
}

/// A request without what each dialect has in a way of its own: ids, names of tools beside their results, a conversation's cutting up.
fn meaning(request: &Request) -> Request {
    let mut request = request.clone();
    for message in &mut request.messages {
        for block in &mut message.content {
            match &mut block.content {
                Content::ToolCall(call) => call.id = String::new(),
                Content::ToolResult(result) => (result.call_id, result.name) = (String::new(), None),
                Content::Media(media) => media.name = None,
                _ => {}
            }
        }
    }
    (request.extra, request.stream) = (Extra::default(), false);
    request
}

fn outcome(from: Dialect, to: Dialect, feature: fn(&mut Request)) -> &'static str {
    let mut request = plain();
    feature(&mut request);
    let plainly = said_in(from, &plain()).unwrap();
    let Some((asked, lost)) = said_in(from, &request) else { return "–" };
    if lost.names().any(|name| plainly.1.names().all(|known| known != name)) || asked == plainly.0 {
        return "–";
    }
    let base = said_in(to, &plainly.0).unwrap();
    let inlined = inlined(&asked, to);
    match said_in(to, inlined.as_ref().unwrap_or(&asked)) {
        None => "refused",
        Some((_, dropped)) if dropped.names().any(|name| base.1.names().all(|known| known != name)) => "*named*",
        Some((read, _)) if read != base.0 && inlined.is_some() => "**fetched**",
        Some((read, _)) if read == base.0 => "LOST",
        Some((read, _)) if meaning(&read) == meaning(&asked) => "**yes**",
        Some(_) => "**nearly**",
    }
}

/// Something that an answer can say: its name, and how it is said.
type Said = (&'static str, fn(&mut Answer));

fn says(answer: &mut Answer, content: Content) {
    answer.choices[0].content.insert(0, content.into());
}

const ANSWERS: &[Said] = &[
    ("text", |a| a.choices[0].content = vec![Block::text("Hello.")]),
    ("tool call", |a| {
        a.choices[0].content.push(call("call_1"));
        a.choices[0].finish = Finish::ToolCalls;
    }),
    ("reasoning", |a| {
        // Another provider's, whose signature has to find its way back.
        let signature = Some(Signature::new(Dialect::AnthropicMessages, "c2lnbmVk"));
        says(a, Content::Reasoning(Reasoning { text: "Think.".to_owned(), signature, ..Reasoning::default() }));
    }),
    ("refusal", |a| a.choices[0].content = vec![Content::Refusal("No.".to_owned()).into()]),
    ("citation of a page", |a| {
        let cited = Citation { url: Some("https://example.com/".to_owned()), title: Some("A page".to_owned()), ..Citation::default() };
        a.choices[0].content = vec![Content::Text { text: "It is so.".to_owned(), citations: vec![cited] }.into()];
    }),
    ("image", |a| says(a, media(MediaKind::Image, base64("iVBORw0KGgo="), "image/png"))),
    ("end: limit of tokens", |a| a.choices[0].finish = Finish::Length),
    ("end: stop sequence", |a| a.choices[0].finish = Finish::StopSequence("END".to_owned())),
    ("end: content filter", |a| a.choices[0].finish = Finish::ContentFilter),
    ("end: context is full", |a| a.choices[0].finish = Finish::ContextExceeded),
    ("cached tokens", |a| a.usage = Some(usage(|usage| usage.cached = 5))),
    ("tokens written into the cache", |a| a.usage = Some(usage(|usage| usage.cache_write = 5))),
    ("reasoning tokens", |a| a.usage = Some(usage(|usage| usage.reasoning = 5))),
    ("log probabilities", |a| {
        a.choices[0].logprobs = vec![TokenLogprob { token: "Hi".to_owned(), logprob: -0.25, bytes: None, top: Vec::new() }];
    }),
    ("several answers", |a| a.choices.push(a.choices[0].clone())),
];

fn usage(more: fn(&mut Usage)) -> Usage {
    let mut usage = Usage { input: 11, output: 7, ..Usage::default() };
    more(&mut usage);
    usage
}

fn short() -> Answer {
    let choice = Choice { content: vec![Block::text("Hi.")], finish: Finish::Stop, logprobs: Vec::new() };
    Answer { id: "a1".to_owned(), model: "m".to_owned(), choices: vec![choice], usage: Some(usage(|_| {})), ..Answer::default() }
}

/// What is left of an answer when its caller's SDK reads it, and what is named.
fn told_in(dialect: Dialect, answer: Answer) -> (Vec<Choice>, Option<Usage>, Dropped) {
    let mut dropped = Dropped::default();
    let called = Called::new(Operation::Chat, dialect);
    let asked = Asked {
        called,
        request: Request { sampling: Sampling { n: Some(2), logprobs: Some(true), ..Sampling::default() }, ..plain() }.into(),
        body: Bytes::new(),
    };
    let written = codec(dialect).encode_answer(answer, &asked, &mut dropped);
    let mut read = codec(dialect).decode_answer(&written).unwrap();
    for block in read.choices.iter_mut().flat_map(|choice| &mut choice.content) {
        match &mut block.content {
            Content::ToolCall(call) => call.id = "call_1".to_owned(),
            Content::Text { citations, .. } => citations.iter_mut().for_each(|cited| (cited.native, cited.span) = (None, None)),
            Content::Reasoning(reasoning) => reasoning.id = None,
            _ => {}
        }
    }
    (read.choices, read.usage, dropped)
}

fn answered(to: Dialect, said: fn(&mut Answer)) -> &'static str {
    let mut answer = short();
    said(&mut answer);
    let (choices, usage, dropped) = told_in(to, answer.clone());
    let (plain_choices, plain_usage, _) = told_in(to, short());
    match dropped.is_empty() {
        false => "*named*",
        true if (&choices, usage) == (&answer.choices, answer.usage) => "**yes**",
        true if (&choices, usage) == (&plain_choices, plain_usage) => "no",
        true => "**nearly**",
    }
}

fn answers(page: &mut String) {
    page.push_str(ANSWERS_HEAD);
    Dialect::ALL.iter().for_each(|to| write!(page, " {} |", to.as_str()).unwrap());
    write!(page, "\n|---|{}\n", "---|".repeat(Dialect::ALL.len())).unwrap();
    for (name, said) in ANSWERS {
        let cells: Vec<&str> = Dialect::ALL.iter().map(|to| answered(*to, *said)).collect();
        writeln!(page, "| {name} | {} |", cells.join(" | ")).unwrap();
    }
}

#[test]
fn the_page_on_dialects_says_what_the_code_does() {
    let mut page = HEAD.to_owned();
    for from in Dialect::ALL {
        write!(page, "\n## From `{}`\n\n| |", from.as_str()).unwrap();
        let others: Vec<Dialect> = Dialect::ALL.into_iter().filter(|to| *to != from).collect();
        others.iter().for_each(|to| write!(page, " {} |", to.as_str()).unwrap());
        write!(page, "\n|---|{}\n", "---|".repeat(others.len())).unwrap();
        for (name, feature) in FEATURES {
            let cells: Vec<&str> = others.iter().map(|to| outcome(from, *to, *feature)).collect();
            if cells.iter().any(|cell| *cell != "–") {
                writeln!(page, "| {name} | {} |", cells.join(" | ")).unwrap();
            }
        }
    }
    answers(&mut page);
    assert!(
        !page.contains("LOST"),
        "something is lost and not named:\n{}",
        page.lines().filter(|l| l.contains("LOST")).collect::<Vec<_>>().join("\n")
    );
    if std::env::var_os("KEYWARD_WRITE_DOCS").is_some() {
        std::fs::write(PAGE, &page).unwrap();
    }
    let written = std::fs::read_to_string(PAGE).unwrap_or_default();
    assert!(written == page, "docs/dialects.md is out of date: KEYWARD_WRITE_DOCS=1 cargo test --test pairs");
}

/// An answer with everything that every dialect can say.
fn answer() -> Answer {
    Answer {
        id: "a1".to_owned(),
        model: "m".to_owned(),
        created: 1_760_000_000,
        choices: vec![Choice {
            content: vec![Block::text("Let me see."), call("call_1")],
            finish: Finish::ToolCalls,
            logprobs: Vec::new(),
        }],
        usage: Some(usage(|_| {})),
        ..Answer::default()
    }
}

/// Text, calls by name and arguments, the end, tokens in and out.
type Gist = (String, Vec<(String, serde_json::Value)>, Finish, Option<(u64, u64)>);

/// What matters of an answer: a dialect without ids of calls makes its own.
fn gist(answer: &Answer) -> Gist {
    let choice = &answer.choices[0];
    let calls = choice.content.iter().filter_map(|block| match &block.content {
        Content::ToolCall(call) => Some((call.name.clone(), serde_json::from_str(&call.arguments).unwrap())),
        _ => None,
    });
    (choice.text(), calls.collect(), choice.finish.clone(), answer.usage.map(|usage| (usage.input, usage.output)))
}

#[test]
fn an_answer_means_the_same_in_every_dialect_whole_and_streamed() {
    for dialect in Dialect::ALL {
        for stream in [false, true] {
            let request = Request { stream, ..plain() };
            let (body, called) = (Bytes::from("{\"stream_options\":{\"include_usage\":true}}"), Called::new(Operation::Chat, dialect));
            let asked = Asked { called, request: request.into(), body };
            let read = match stream {
                false => {
                    let written = codec(dialect).encode_answer(answer(), &asked, &mut Dropped::default());
                    codec(dialect).decode_answer(&written).unwrap()
                }
                true => {
                    let (mut writer, mut out) = (codec(dialect).stream_writer(&asked), Vec::new());
                    answer().into_events().into_iter().for_each(|event| writer.write(event, &mut out));
                    let (mut reader, mut events) = (codec(dialect).stream_reader(), Vec::new());
                    out.chunks(7).for_each(|piece| reader.push(piece, &mut events));
                    reader.finish(&mut events);
                    let mut collector = Collector::default();
                    events.into_iter().for_each(|event| collector.take(event));
                    collector.finish().unwrap()
                }
            };
            assert_eq!(gist(&read), gist(&answer()), "{} {stream}", dialect.as_str());
        }
    }
}
