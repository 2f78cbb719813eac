//! Every answer there is, as the bytes that go on the wire, built once.

use std::fmt::Write as _;

/// Content chunks of a stream.
pub const CHUNKS: usize = 50;

const TEXT: &str = "A ward is the part of a lock that keeps the wrong key from turning: a ridge of metal inside the case, and a cut in the key's bit that lets the right one pass.";
const WORDS: [&str; 10] = [" a", " ward", " keeps", " the", " wrong", " key", " from", " turning", " in", " locks"];
const INPUT_TOKENS: usize = 24;
const OUTPUT_TOKENS: usize = 40;

/// What a request is answered with.
#[derive(Clone, Copy)]
pub enum Answer {
    OpenAi { stream: bool },
    Anthropic { stream: bool },
    NotFound,
}

/// An answer is a list of parts, one for each write: so a proxy sees a stream arrive in pieces.
pub struct Answers {
    openai: [Vec<Vec<u8>>; 2],
    anthropic: [Vec<Vec<u8>>; 2],
    not_found: Vec<Vec<u8>>,
}

/// What surrounds the content chunks of a stream: one event each, its type (if the dialect tells it) and its data.
struct Frame {
    before: Vec<Event>,
    chunks: Vec<Event>,
    after: Vec<Event>,
}

type Event = (Option<&'static str>, String);

// === impl Answer ===

impl Answer {
    pub fn is_stream(self) -> bool {
        matches!(self, Answer::OpenAi { stream: true } | Answer::Anthropic { stream: true })
    }
}

// === impl Answers ===

impl Answers {
    pub fn new(stream_writes: usize) -> Self {
        let not_found = r#"{"error":{"message":"Only POST /v1/chat/completions and /v1/messages are served.","type":"invalid_request_error","param":null,"code":"not_found"}}"#;
        Self {
            openai: [vec![response("200 OK", &openai::whole())], openai::stream().parts(stream_writes)],
            anthropic: [vec![response("200 OK", &anthropic::whole())], anthropic::stream().parts(stream_writes)],
            not_found: vec![response("404 Not Found", not_found)],
        }
    }

    pub fn parts(&self, answer: Answer) -> &[Vec<u8>] {
        match answer {
            Answer::OpenAi { stream } => &self.openai[usize::from(stream)],
            Answer::Anthropic { stream } => &self.anthropic[usize::from(stream)],
            Answer::NotFound => &self.not_found,
        }
    }
}

fn response(status: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

// === impl Frame ===

impl Frame {
    /// What comes before the chunks goes out with the first of them, what comes after them by itself.
    fn parts(self, writes: usize) -> Vec<Vec<u8>> {
        let mut parts = vec![String::new(); writes];
        parts[0].push_str("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ncache-control: no-cache\r\ntransfer-encoding: chunked\r\n\r\n");
        self.before.iter().for_each(|event| push_event(&mut parts[0], event));
        for (index, chunk) in self.chunks.iter().enumerate() {
            push_event(&mut parts[index * writes / CHUNKS], chunk);
        }
        let mut last = String::new();
        self.after.iter().for_each(|event| push_event(&mut last, event));
        last.push_str("0\r\n\r\n");
        parts.push(last);
        parts.into_iter().map(String::into_bytes).collect()
    }
}

/// Appends one SSE event as one HTTP chunk.
fn push_event(out: &mut String, (name, data): &Event) {
    let event = match name {
        Some(name) => format!("event: {name}\ndata: {data}\n\n"),
        None => format!("data: {data}\n\n"),
    };
    let _ = write!(out, "{:x}\r\n{event}\r\n", event.len());
}

fn words() -> impl Iterator<Item = (usize, &'static str)> {
    WORDS.into_iter().cycle().take(CHUNKS).enumerate()
}

/// As OpenAI answers, by the reference of its API.
mod openai {
    use super::{CHUNKS, Frame, INPUT_TOKENS, OUTPUT_TOKENS, TEXT, words};

    pub fn whole() -> String {
        format!(
            r#"{{"id":"chatcmpl-BenchUpstream0000000000001","object":"chat.completion","created":1760000000,"model":"gpt-4o-mini-2024-07-18","choices":[{{"index":0,"message":{{"role":"assistant","content":"{TEXT}","refusal":null,"annotations":[]}},"logprobs":null,"finish_reason":"stop"}}],"usage":{},"service_tier":"default","system_fingerprint":"fp_0000bench0"}}"#,
            usage(OUTPUT_TOKENS)
        )
    }

    pub fn stream() -> Frame {
        let chunks = words().map(|(index, word)| {
            let role = if index == 0 { r#""role":"assistant","# } else { "" };
            let finish = if index + 1 == CHUNKS { r#""stop""# } else { "null" };
            let choice = format!(r#"{{"index":0,"delta":{{{role}"content":"{word}"}},"logprobs":null,"finish_reason":{finish}}}"#);
            (None, chunk(&choice, "null"))
        });
        let after = vec![(None, chunk("", &usage(CHUNKS))), (None, "[DONE]".to_owned())];
        Frame { before: Vec::new(), chunks: chunks.collect(), after }
    }

    fn chunk(choice: &str, usage: &str) -> String {
        format!(
            r#"{{"id":"chatcmpl-BenchUpstream0000000000001","object":"chat.completion.chunk","created":1760000000,"model":"gpt-4o-mini-2024-07-18","service_tier":"default","system_fingerprint":"fp_0000bench0","choices":[{choice}],"usage":{usage}}}"#
        )
    }

    fn usage(completion_tokens: usize) -> String {
        format!(
            r#"{{"prompt_tokens":{INPUT_TOKENS},"completion_tokens":{completion_tokens},"total_tokens":{},"prompt_tokens_details":{{"cached_tokens":0,"audio_tokens":0}},"completion_tokens_details":{{"reasoning_tokens":0,"audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}}}"#,
            INPUT_TOKENS + completion_tokens
        )
    }
}

/// As Anthropic answers, by the reference of its API.
mod anthropic {
    use super::{CHUNKS, Event, Frame, INPUT_TOKENS, OUTPUT_TOKENS, TEXT, words};

    pub fn whole() -> String {
        message(&format!(r#"{{"type":"text","text":"{TEXT}"}}"#), r#""end_turn""#, OUTPUT_TOKENS)
    }

    pub fn stream() -> Frame {
        let before = vec![
            event("message_start", &format!(r#""message":{}"#, message("", "null", 1))),
            event("content_block_start", r#""index":0,"content_block":{"type":"text","text":""}"#),
            event("ping", ""),
        ];
        let chunks =
            words().map(|(_, word)| event("content_block_delta", &format!(r#""index":0,"delta":{{"type":"text_delta","text":"{word}"}}"#)));
        let delta = format!(
            r#""delta":{{"stop_reason":"end_turn","stop_sequence":null}},"usage":{{"input_tokens":{INPUT_TOKENS},"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":{CHUNKS}}}"#
        );
        let after = vec![event("content_block_stop", r#""index":0"#), event("message_delta", &delta), event("message_stop", "")];
        Frame { before, chunks: chunks.collect(), after }
    }

    fn event(name: &'static str, members: &str) -> Event {
        let comma = if members.is_empty() { "" } else { "," };
        (Some(name), format!(r#"{{"type":"{name}"{comma}{members}}}"#))
    }

    fn message(content: &str, stop_reason: &str, output_tokens: usize) -> String {
        format!(
            r#"{{"model":"claude-sonnet-4-5-20250929","id":"msg_BenchUpstream00000000001","type":"message","role":"assistant","content":[{content}],"stop_reason":{stop_reason},"stop_sequence":null,"usage":{{"input_tokens":{INPUT_TOKENS},"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"cache_creation":{{"ephemeral_5m_input_tokens":0,"ephemeral_1h_input_tokens":0}},"output_tokens":{output_tokens},"service_tier":"standard"}}}}"#
        )
    }
}
