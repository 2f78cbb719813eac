//! Reads a ConverseStream: messages that start blocks, let them grow and stop them, then `messageStop`, then `metadata` with the usage.
//!
//! Source: `ConverseStreamOutput` in the Amazon Bedrock API reference.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};

use super::answer::read_finish;
use super::content::{builtin_kind, redacted_reasoning};
use super::fields::text;
use super::usage::Reported;
use super::{citations, media, trouble};
use crate::catalog::Dialect;
use crate::dialect::StreamReader;
use crate::dialect::count::if_read;
use crate::dialect::frame::{AwsFrame, AwsFrames, AwsKind, Broken};
use crate::dialect::ir::{Block, Builtin, Content, Delta, Event, MediaKind, Opening, Signature, Trouble, TroubleKind};

const D: Dialect = Dialect::BedrockConverse;

/// Between two messages.
#[derive(Debug, Default)]
pub struct Reader {
    frames: AwsFrames,
    state: State,
}

#[derive(Debug, Default)]
struct State {
    has_begun: bool,
    has_finished: bool,
    /// Its last word was told, or an error: nothing follows.
    is_done: bool,
    next: u32,
    open: Vec<Open>,
}

#[derive(Debug)]
struct Open {
    /// The provider's number of the block.
    key: u64,
    index: u32,
    growing: Growing,
}

/// What is open; what has to be whole before it can be told is kept till then.
#[derive(Debug)]
enum Growing {
    Text,
    Reasoning,
    /// A call, and whether any of its arguments came.
    Call(bool),
    Redacted(Vec<u8>),
    /// A call to a tool of the provider's: its start, and the text of its input.
    BuiltinCall(Value, String),
    /// The result of one: its start, and its content.
    BuiltinResult(Value, Vec<Value>),
    /// An image's format, and its bytes.
    Image(Value, Vec<u8>),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
struct BlockEvent {
    content_block_index: u64,
    start: Option<Start>,
    delta: Option<Grown>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Start {
    tool_use: Option<Value>,
    tool_result: Option<Value>,
    image: Option<Value>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Grown {
    text: Option<String>,
    tool_use: Option<Input>,
    reasoning_content: Option<Reasoned>,
    citation: Option<Value>,
    tool_result: Option<Vec<Value>>,
    image: Option<Value>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Input {
    input: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Reasoned {
    text: Option<String>,
    signature: Option<String>,
    redacted_content: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MessageStop {
    #[serde(default)]
    stop_reason: String,
    additional_model_response_fields: Option<Value>,
}

#[derive(Deserialize)]
struct Metadata {
    #[serde(default, deserialize_with = "if_read")]
    usage: Option<Reported>,
}

// === impl Reader ===

impl StreamReader for Reader {
    fn push(&mut self, bytes: &[u8], out: &mut Vec<Event>) {
        let Reader { frames, state } = self;
        frames.push(bytes, |frame| state.take(frame, out));
    }

    fn finish(&mut self, out: &mut Vec<Event>) {
        if self.state.has_finished && !self.state.is_done {
            self.state.is_done = true;
            out.push(Event::End);
        }
    }
}

// === impl State ===

impl State {
    fn take(&mut self, frame: Result<AwsFrame<'_>, Broken>, out: &mut Vec<Event>) {
        if self.is_done {
            return;
        }
        let frame = match frame {
            Ok(frame) => frame,
            Err(Broken) => return self.fail(TroubleKind::Server, "provider_bad_answer", "The provider's stream is damaged.", out),
        };
        if frame.kind != AwsKind::Event {
            let said = serde_json::from_slice::<Value>(frame.payload).ok();
            let said = said.as_ref().and_then(|said| text(said, "message").or(text(said, "originalMessage")));
            return self.fail(trouble::kind(frame.name), frame.name, said.unwrap_or(frame.error), out);
        }
        if self.event(frame, out).is_err() {
            self.fail(TroubleKind::Server, "provider_bad_answer", "The provider's stream has an event that cannot be read.", out);
        }
    }

    fn fail(&mut self, kind: TroubleKind, code: &str, message: &str, out: &mut Vec<Event>) {
        self.is_done = true;
        out.push(Event::Trouble(Trouble { kind, code: Some(code.to_owned()), message: message.to_owned(), param: None }));
    }

    fn event(&mut self, frame: AwsFrame<'_>, out: &mut Vec<Event>) -> Result<(), serde_json::Error> {
        if !self.has_begun {
            self.has_begun = true;
            out.push(Event::Start { id: String::new(), model: String::new(), created: 0 });
        }
        match frame.name {
            "contentBlockStart" => {
                let event: BlockEvent = serde_json::from_slice(frame.payload)?;
                self.start(event.content_block_index, event.start.unwrap_or_default(), out);
            }
            "contentBlockDelta" => {
                let event: BlockEvent = serde_json::from_slice(frame.payload)?;
                self.grow(event.content_block_index, event.delta.unwrap_or_default(), out);
            }
            "contentBlockStop" => {
                let event: BlockEvent = serde_json::from_slice(frame.payload)?;
                self.close(|open| open.key == event.content_block_index, out);
            }
            "messageStop" => {
                let event: MessageStop = serde_json::from_slice(frame.payload)?;
                self.close(|_| true, out);
                let finish = read_finish(&event.stop_reason, event.additional_model_response_fields.as_ref());
                out.push(Event::Finish { choice: 0, finish });
                self.has_finished = true;
            }
            "metadata" => {
                let event: Metadata = serde_json::from_slice(frame.payload)?;
                out.extend(event.usage.and_then(Reported::usage).map(Event::Usage));
                if self.has_finished {
                    self.is_done = true;
                    out.push(Event::End);
                }
            }
            // The rest tells nothing that has a place here.
            _ => {}
        }
        Ok(())
    }

    fn start(&mut self, key: u64, start: Start, out: &mut Vec<Event>) {
        if let Some(call) = start.tool_use {
            if text(&call, "type") == Some("server_tool_use") {
                self.open(key, Growing::BuiltinCall(call, String::new()), None, out);
                return;
            }
            let id = text(&call, "toolUseId").filter(|id| !id.is_empty());
            let id = id.map_or_else(|| format!("tooluse_{key}"), str::to_owned);
            let name = text(&call, "name").unwrap_or_default().to_owned();
            let opening = Opening::ToolCall { id, name, is_custom: false, signature: None };
            self.open(key, Growing::Call(false), Some(opening), out);
        } else if let Some(result) = start.tool_result {
            self.open(key, Growing::BuiltinResult(result, Vec::new()), None, out);
        } else if let Some(image) = start.image {
            self.open(key, Growing::Image(image, Vec::new()), None, out);
        }
    }

    /// Opens a block; one that is kept till it is whole has no opening.
    fn open(&mut self, key: u64, growing: Growing, opening: Option<Opening>, out: &mut Vec<Event>) -> u32 {
        let is_call = matches!(growing, Growing::Call(_));
        self.close(|open| open.key == key || !(is_call && matches!(open.growing, Growing::Call(_))), out);
        let index = self.next;
        self.next += 1;
        self.open.push(Open { key, index, growing });
        out.extend(opening.map(|opening| Event::Open { choice: 0, index, opening }));
        index
    }

    fn grow(&mut self, key: u64, grown: Grown, out: &mut Vec<Event>) {
        if let Some(text) = grown.text {
            self.add(key, Growing::Text, Delta::Text(text), out);
        }
        if let Some(citation) = grown.citation {
            self.add(key, Growing::Text, Delta::Citation(citations::read(citation)), out);
        }
        if let Some(reasoned) = grown.reasoning_content {
            if let Some(text) = reasoned.text {
                self.add(key, Growing::Reasoning, Delta::Reasoning(text), out);
            }
            if let Some(signature) = reasoned.signature.filter(|signature| !signature.is_empty()) {
                self.add(key, Growing::Reasoning, Delta::Signature(Signature::read(&signature, D)), out);
            }
            if let Some(redacted) = reasoned.redacted_content {
                if !self.open.iter().any(|open| open.key == key && matches!(open.growing, Growing::Redacted(_))) {
                    self.open(key, Growing::Redacted(Vec::new()), None, out);
                }
                self.keep(key, |growing| {
                    if let Growing::Redacted(bytes) = growing {
                        bytes.extend(STANDARD.decode(redacted).unwrap_or_default());
                    }
                });
            }
        }
        if let Some(Input { input }) = grown.tool_use {
            self.input(key, input, out);
        }
        if let Some(more) = grown.tool_result {
            self.keep(key, |growing| {
                if let Growing::BuiltinResult(_, content) = growing {
                    content.extend(more);
                }
            });
        }
        if let Some(image) = grown.image {
            let bytes = image.pointer("/source/bytes").and_then(Value::as_str).unwrap_or_default();
            self.keep(key, |growing| {
                if let Growing::Image(_, kept) = growing {
                    kept.extend(STANDARD.decode(bytes).unwrap_or_default());
                }
            });
        }
    }

    fn keep(&mut self, key: u64, add: impl FnOnce(&mut Growing)) {
        if let Some(open) = self.open.iter_mut().find(|open| open.key == key) {
            add(&mut open.growing);
        }
    }

    /// Text or reasoning grows; it begins with its first piece that says something.
    fn add(&mut self, key: u64, of: Growing, delta: Delta, out: &mut Vec<Event>) {
        let is_same = |open: &&Open| open.key == key && std::mem::discriminant(&open.growing) == std::mem::discriminant(&of);
        let index = match self.open.iter().find(is_same) {
            Some(open) => open.index,
            None if matches!(&delta, Delta::Text(text) | Delta::Reasoning(text) if text.is_empty()) => return,
            None => {
                let opening = if matches!(of, Growing::Text) { Opening::Text } else { Opening::Reasoning { id: None } };
                self.open(key, of, Some(opening), out)
            }
        };
        out.push(Event::Delta { choice: 0, index, delta });
    }

    fn input(&mut self, key: u64, input: String, out: &mut Vec<Event>) {
        let Some(open) = self.open.iter_mut().find(|open| open.key == key) else { return };
        match &mut open.growing {
            Growing::Call(has_arguments) if !input.is_empty() => {
                *has_arguments = true;
                out.push(Event::Delta { choice: 0, index: open.index, delta: Delta::Arguments(input) });
            }
            Growing::BuiltinCall(_, kept) => kept.push_str(&input),
            _ => {}
        }
    }

    fn close(&mut self, which: impl Fn(&Open) -> bool, out: &mut Vec<Event>) {
        for Open { index, growing, .. } in self.open.extract_if(.., |open| which(open)) {
            match growing {
                Growing::Text | Growing::Reasoning | Growing::Call(true) => {}
                // A tool without arguments is called with none.
                Growing::Call(false) => out.push(Event::Delta { choice: 0, index, delta: Delta::Arguments("{}".to_owned()) }),
                kept => {
                    let block = Box::new(kept.into_block());
                    out.push(Event::Open { choice: 0, index, opening: Opening::Whole(block) });
                }
            }
            out.push(Event::Close { choice: 0, index });
        }
    }
}

// === impl Growing ===

impl Growing {
    /// What was kept, whole.
    fn into_block(self) -> Block {
        match self {
            Growing::Redacted(bytes) => Content::Reasoning(redacted_reasoning(&STANDARD.encode(bytes))).into(),
            Growing::BuiltinCall(mut call, input) => {
                call["input"] = serde_json::from_str(&input).unwrap_or_else(|_| json!({}));
                let kind = builtin_kind(text(&call, "name").unwrap_or_default());
                Content::Builtin(Builtin { kind, of: D, value: json!({ "toolUse": call }) }).into()
            }
            Growing::BuiltinResult(mut result, content) => {
                result["content"] = Value::Array(content);
                let kind = builtin_kind(text(&result, "type").unwrap_or_default());
                Content::Builtin(Builtin { kind, of: D, value: json!({ "toolResult": result }) }).into()
            }
            Growing::Image(mut image, bytes) => {
                image["source"] = json!({ "bytes": STANDARD.encode(bytes) });
                let whole = media::read(MediaKind::Image, &image);
                whole.unwrap_or(Content::Other { of: D, value: json!({ "image": image }) }).into()
            }
            Growing::Text | Growing::Reasoning | Growing::Call(_) => Block::text(""),
        }
    }
}
