//! Writes a ConverseStream; blocks are numbered anew, since a signature that a call has no place for takes a block of its own.
//!
//! Source: `ConverseStreamOutput` in the Amazon Bedrock API reference.

use serde::Serialize;
use serde_json::{Value, json};

use super::answer::{stop_sequence_fields, write_finish};
use super::content::redacted_base64;
use super::usage::Reported;
use super::{citations, media, trouble};
use crate::catalog::Dialect;
use crate::dialect::StreamWriter;
use crate::dialect::frame::{AwsKind, write_frame};
use crate::dialect::ir::{Block, Content, Delta, Event, Finish, MediaKind, Opening, Signature};
use crate::ledger::record::Usage;

const D: Dialect = Dialect::BedrockConverse;

/// Between two events.
#[derive(Debug, Default)]
pub struct Writer {
    next: u32,
    open: Vec<Open>,
    usage: Usage,
    has_stopped: bool,
}

#[derive(Debug)]
struct Open {
    index: u32,
    /// The number that it was given here.
    own: u32,
    /// Something was told of it, so its end is too.
    is_told: bool,
    /// A piece of its signature was told.
    is_signed: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Grown<'a> {
    content_block_index: u32,
    delta: Told<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
enum Told<'a> {
    Text(&'a str),
    ToolUse { input: &'a str },
    ReasoningContent(Reasoned<'a>),
    Citation(Value),
    ToolResult(&'a Value),
    Image(Value),
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
enum Reasoned<'a> {
    Text(&'a str),
    Signature(&'a str),
    RedactedContent(&'a str),
}

// === impl Writer ===

impl StreamWriter for Writer {
    fn write(&mut self, event: Event, out: &mut Vec<u8>) {
        match event {
            Event::Start { .. } => write("messageStart", &json!({ "role": "assistant" }), out),
            Event::Open { choice: 0, index, opening } => self.open(index, opening, out),
            Event::Delta { choice: 0, index, delta } => self.grow(index, &delta, out),
            Event::Close { choice: 0, index } => self.close(index, out),
            Event::Finish { choice: 0, finish } => self.stop(&finish, out),
            Event::Usage(usage) | Event::UsageSoFar(usage) => self.usage = usage,
            Event::End => {
                if !self.has_stopped {
                    self.stop(&Finish::Stop, out);
                }
                // A duration that nobody measured.
                write("metadata", &json!({ "usage": Reported::from(self.usage), "metrics": { "latencyMs": 0 } }), out);
            }
            Event::Trouble(told) => {
                let name = trouble::stream_exception(told.kind);
                write_frame(AwsKind::Exception, name, out, |out| put(&json!({ "message": told.message }), out));
            }
            // A stream has one choice here, and no logarithmic probabilities.
            _ => {}
        }
    }
}

impl Writer {
    fn open(&mut self, index: u32, opening: Opening, out: &mut Vec<u8>) {
        if let Opening::ToolCall { id, name, signature, .. } = opening {
            if let Some(signature) = signature {
                let own = self.take_number();
                grow(own, Told::ReasoningContent(Reasoned::Signature(&signature.write(D))), out);
                write("contentBlockStop", &json!({ "contentBlockIndex": own }), out);
            }
            let own = self.take_number();
            let start = json!({ "contentBlockIndex": own, "start": { "toolUse": { "toolUseId": id, "name": name } } });
            write("contentBlockStart", &start, out);
            self.open.push(Open { index, own, is_told: true, is_signed: false });
            return;
        }
        let own = self.take_number();
        let is_told = match &opening {
            Opening::Whole(block) => write_whole(own, block, out),
            _ => false,
        };
        self.open.push(Open { index, own, is_told, is_signed: false });
    }

    fn take_number(&mut self) -> u32 {
        self.next += 1;
        self.next - 1
    }

    fn grow(&mut self, index: u32, delta: &Delta, out: &mut Vec<u8>) {
        let Some(open) = self.open.iter_mut().find(|open| open.index == index) else { return };
        let own = open.own;
        match delta {
            Delta::Text(text) | Delta::Refusal(text) => grow(own, Told::Text(text), out),
            Delta::Reasoning(text) => grow(own, Told::ReasoningContent(Reasoned::Text(text)), out),
            Delta::Arguments(input) => grow(own, Told::ToolUse { input }, out),
            Delta::Citation(citation) => grow(own, Told::Citation(citations::write(citation)), out),
            Delta::Signature(signature) => {
                let signature = signature_piece(signature, open.is_signed);
                open.is_signed = true;
                grow(own, Told::ReasoningContent(Reasoned::Signature(&signature)), out);
            }
        }
        open.is_told = true;
    }

    fn close(&mut self, index: u32, out: &mut Vec<u8>) {
        let Some(at) = self.open.iter().position(|open| open.index == index) else { return };
        let open = self.open.swap_remove(at);
        if open.is_told {
            write("contentBlockStop", &json!({ "contentBlockIndex": open.own }), out);
        }
    }

    fn stop(&mut self, finish: &Finish, out: &mut Vec<u8>) {
        self.has_stopped = true;
        let mut event = json!({ "stopReason": write_finish(finish) });
        if let Some(fields) = stop_sequence_fields(finish) {
            event["additionalModelResponseFields"] = fields;
        }
        write("messageStop", &event, out);
    }
}

/// The mark of a foreign signature stands before its first piece alone.
fn signature_piece(signature: &Signature, is_more: bool) -> String {
    if is_more { signature.value.clone() } else { signature.write(D) }
}

/// A block that comes in one piece; whether it could be told.
fn write_whole(own: u32, block: &Block, out: &mut Vec<u8>) -> bool {
    let start = |start: Value, out: &mut Vec<u8>| write("contentBlockStart", &json!({ "contentBlockIndex": own, "start": start }), out);
    match &block.content {
        Content::Reasoning(reasoning) => {
            let value = reasoning.signature.as_ref().map(|signature| signature.write(D)).unwrap_or_default();
            grow(own, Told::ReasoningContent(Reasoned::RedactedContent(&redacted_base64(&value))), out);
        }
        Content::Media(one) if one.kind == MediaKind::Image => {
            let Ok(image) = media::write(one, &mut media::Names::default()) else { return false };
            start(json!({ "image": { "format": image["image"]["format"] } }), out);
            grow(own, Told::Image(json!({ "source": image["image"]["source"] })), out);
        }
        Content::Builtin(builtin) if builtin.of == D => match (builtin.value.get("toolUse"), builtin.value.get("toolResult")) {
            (Some(call), _) => {
                start(json!({ "toolUse": without(call, "input") }), out);
                grow(own, Told::ToolUse { input: &call.get("input").map(Value::to_string).unwrap_or_default() }, out);
            }
            (None, Some(result)) => {
                start(json!({ "toolResult": without(result, "content") }), out);
                grow(own, Told::ToolResult(result.get("content").unwrap_or(&Value::Array(Vec::new()))), out);
            }
            (None, None) => return false,
        },
        _ => return false,
    }
    true
}

fn without(object: &Value, name: &str) -> Value {
    let mut object = object.clone();
    if let Value::Object(members) = &mut object {
        members.remove(name);
    }
    object
}

fn grow(content_block_index: u32, delta: Told<'_>, out: &mut Vec<u8>) {
    write("contentBlockDelta", &Grown { content_block_index, delta }, out);
}

fn write(name: &str, payload: &impl Serialize, out: &mut Vec<u8>) {
    write_frame(AwsKind::Event, name, out, |out| put(payload, out));
}

fn put(payload: &impl Serialize, out: &mut Vec<u8>) {
    // A vector takes all that is written, and these payloads are all plain JSON.
    let _ = serde_json::to_writer(out, payload);
}
