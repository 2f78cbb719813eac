//! What the parts of a request cost, each alone: `cargo bench`. What a whole request costs beside nginx is `bench/run`'s to say.

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use futures_util::FutureExt as _;
use jiff::Timestamp;
use keyward::catalog::{Dialect, Operation};
use keyward::dialect::ir::{Answer, Dropped, Request};
use keyward::dialect::translate::Translation;
use keyward::dialect::{Ask, Asked, Called, Meter, To, codec, wire};
use keyward::key::format::{KeyText, Kind, NewKey};
use keyward::key::hash::Pepper;
use keyward::ledger::Ledger;
use keyward::ledger::common::{Common, Facts};
use keyward::ledger::record::{Begin, Of, Outcome, Settle, Source, Usage};
use keyward::money::Usd;
use serde_json::json;

fn main() {
    divan::main();
}

/// A question with a tool, as OpenAI's SDK sends it; `filler` characters of text are added.
fn question(filler: usize) -> Bytes {
    let text = format!("What is the weather like in Paris, and what should I wear? {}", "Tell me all. ".repeat(filler / 13));
    let schema = json!({ "type": "object", "properties": { "city": { "type": "string" }, "unit": { "type": "string", "enum": ["c", "f"] } }, "required": ["city"] });
    let body = json!({
        "model": "openai/gpt-4o-mini",
        "messages": [{ "role": "system", "content": "You are helpful." }, { "role": "user", "content": text }],
        "tools": [{ "type": "function", "function": { "name": "get_weather", "description": "The weather now", "parameters": schema } }],
        "temperature": 0.7,
        "max_tokens": 500,
    });
    body.to_string().into()
}

/// An answer with a text and a call, as OpenAI's API gives it.
fn answer() -> Bytes {
    let call = json!({ "id": "call_1", "type": "function", "function": { "name": "get_weather", "arguments": "{\"city\":\"Paris\"}" } });
    let message = json!({ "role": "assistant", "content": "Let me look that up for you.", "tool_calls": [call] });
    let usage = json!({ "prompt_tokens": 90, "completion_tokens": 30, "total_tokens": 120 });
    let choice = json!({ "index": 0, "message": message, "finish_reason": "tool_calls" });
    let body = json!({ "id": "chatcmpl-1", "object": "chat.completion", "created": 1_760_000_000, "model": "gpt-4o-mini", "choices": [choice], "usage": usage });
    body.to_string().into()
}

/// A stream of fifty words of OpenAI's, an event a piece.
fn stream() -> Vec<Bytes> {
    let event = |delta: serde_json::Value, finish: Option<&str>| {
        let choice = json!({ "index": 0, "delta": delta, "finish_reason": finish });
        let chunk = json!({ "id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1_760_000_000, "model": "gpt-4o-mini", "choices": [choice] });
        Bytes::from(format!("data: {chunk}\n\n"))
    };
    let begin = event(json!({ "role": "assistant", "content": "" }), None);
    let words = (0..50).map(|n| event(json!({ "content": format!("word{n} ") }), None));
    let usage = json!({ "id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1_760_000_000, "model": "gpt-4o-mini", "choices": [],
        "usage": { "prompt_tokens": 90, "completion_tokens": 50, "total_tokens": 140 } });
    let end = [event(json!({}), Some("stop")), format!("data: {usage}\n\n").into(), Bytes::from_static(b"data: [DONE]\n\n")];
    std::iter::once(begin).chain(words).chain(end).collect()
}

fn called(dialect: Dialect) -> Called {
    Called { model: Some("model".to_owned()), ..Called::new(Operation::Chat, dialect) }
}

fn asked(dialect: Dialect, stream: bool) -> Asked {
    let request = Request { model: "model".to_owned(), stream, ..Request::default() };
    Asked { called: called(dialect), request: request.into(), body: Bytes::new() }
}

static REQUEST: LazyLock<Request> = LazyLock::new(|| {
    codec(Dialect::OpenaiChat).decode_request(&Called::new(Operation::Chat, Dialect::OpenaiChat), &question(0)).expect("it is right")
});
static ANSWER: LazyLock<Answer> = LazyLock::new(|| codec(Dialect::OpenaiChat).decode_answer(&answer()).expect("it is right"));

/// A key from its text to the proof of its secret; who it belongs to is one look-up more.
#[divan::bench]
fn key_check(bencher: Bencher<'_, '_>) {
    let folder = tempfile::tempdir().expect("a folder");
    let pepper = Pepper::load_or_create(&folder.path().join("pepper")).expect("a secret");
    let key = NewKey::generate(Kind::Live).expect("randomness");
    let hash = pepper.hash(key.expose());
    bencher.bench(|| {
        let text = KeyText::parse(black_box(key.expose())).expect("it is a key");
        (text.id(), pepper.hash(text.expose()).matches(&hash))
    });
}

/// What is looked for in a request that passes: the model, the limits, whether it streams.
#[divan::bench(args = [0, 100_000])]
fn peek(bencher: Bencher<'_, '_>, filler: usize) {
    let body = question(filler);
    bencher
        .counter(BytesCount::new(body.len()))
        .bench(|| Ask::read(Called::new(Operation::Chat, Dialect::OpenaiChat), black_box(body.clone())).expect("it is right"));
}

/// A stream that passes while its usage is looked for.
#[divan::bench]
fn sse_scan(bencher: Bencher<'_, '_>) {
    let pieces = stream();
    bencher.counter(BytesCount::new(pieces.iter().map(Bytes::len).sum::<usize>())).bench(|| {
        let mut meter = Meter::stream(wire(Dialect::OpenaiChat).tells, true);
        pieces.iter().for_each(|piece| drop(black_box(meter.pass(piece.clone()))));
        meter.finish()
    });
}

#[divan::bench(args = Dialect::ALL)]
fn decode_request(bencher: Bencher<'_, '_>, dialect: Dialect) {
    let told = To { model: "model", facts: None };
    let body = codec(dialect).encode_request(&REQUEST, &told, &mut Dropped::default()).expect("it can be said");
    bencher.bench(|| codec(dialect).decode_request(&called(dialect), black_box(&body)).expect("it is right"));
}

#[divan::bench(args = Dialect::ALL)]
fn encode_request(bencher: Bencher<'_, '_>, dialect: Dialect) {
    let told = To { model: "model", facts: None };
    bencher.bench(|| codec(dialect).encode_request(black_box(&REQUEST), &told, &mut Dropped::default()).expect("it can be said"));
}

#[divan::bench(args = Dialect::ALL)]
fn decode_answer(bencher: Bencher<'_, '_>, dialect: Dialect) {
    let body = codec(dialect).encode_answer(ANSWER.clone(), &asked(dialect, false), &mut Dropped::default());
    bencher.bench(|| codec(dialect).decode_answer(black_box(&body)).expect("it is right"));
}

#[divan::bench(args = Dialect::ALL)]
fn encode_answer(bencher: Bencher<'_, '_>, dialect: Dialect) {
    let asked = asked(dialect, false);
    bencher.with_inputs(|| ANSWER.clone()).bench_values(|answer| codec(dialect).encode_answer(answer, &asked, &mut Dropped::default()));
}

/// A stream of OpenAI's, told in another dialect.
#[divan::bench(args = Dialect::ALL)]
fn encode_stream(bencher: Bencher<'_, '_>, dialect: Dialect) {
    let (pieces, asked) = (stream(), asked(dialect, true));
    bencher.bench(|| {
        let mut translation = Translation::new(Dialect::OpenaiChat, &asked);
        pieces.iter().for_each(|piece| drop(black_box(translation.pass(piece))));
        translation.finish()
    });
}

/// Another dialect's stream, told in OpenAI's.
#[divan::bench(args = Dialect::ALL)]
fn decode_stream(bencher: Bencher<'_, '_>, dialect: Dialect) {
    let mut from_openai = Translation::new(Dialect::OpenaiChat, &asked(dialect, true));
    let mut pieces: Vec<Bytes> = stream().iter().map(|piece| Bytes::copy_from_slice(&from_openai.pass(piece))).collect();
    pieces.push(Bytes::copy_from_slice(&from_openai.finish().0));
    let asked = asked(Dialect::OpenaiChat, true);
    bencher.bench(|| {
        let mut translation = Translation::new(dialect, &asked);
        pieces.iter().for_each(|piece| drop(black_box(translation.pass(piece))));
        translation.finish()
    });
}

/// A request written down, before its provider is called and after its answer.
#[divan::bench]
fn ledger_append(bencher: Bencher<'_, '_>) {
    let folder = tempfile::tempdir().expect("a folder");
    let ledger = Arc::new(Ledger::open(folder.path()).expect("a ledger"));
    let facts = Facts {
        key: "q5Xk2vW9bT1z",
        project: "chat",
        team: "research",
        prompt: "",
        operation: "chat".into(),
        provider: "openai",
        model: "gpt-4o-mini",
        from: Some([192, 0, 2, 7].into()),
    };
    let id: Arc<str> = "req_abcdefghij00000001".into();
    let begin =
        || Arc::new(Begin { id: Arc::clone(&id), at: Timestamp::now(), common: Common::of(&facts), reserved: Some(Usd(1_000_000)) });
    let settle = |begin: Arc<Begin>| Settle {
        at: begin.at,
        of: Of::Begun(begin),
        by: None,
        outcome: Outcome::Answered,
        status: 200,
        usage: Usage { input: 90, output: 30, ..Usage::default() },
        source: Source::Reported,
        cost: Some(Usd(31_500)),
        first_byte_ms: Some(300),
        total_ms: 900,
    };
    bencher.bench(|| {
        let begin = begin();
        ledger.begin(Arc::clone(&begin)).now_or_never().expect("none waits on this thread").expect("the disk takes it");
        ledger.settle(settle(begin)).expect("the disk takes it");
    });
}
