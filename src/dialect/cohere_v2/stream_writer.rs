//! Writes a stream of server-sent events.

use std::collections::HashMap;

use serde::Serialize;
use serde_json::{Value, json};

use super::answer::{Logprob, id};
use super::usage::Told;
use super::{assistant, citation, finish_reason};
use crate::catalog::Dialect;
use crate::dialect::StreamWriter;
use crate::dialect::ir::{Block, Content, Delta, Event, Finish, Opening};
use crate::ledger::record::Usage;

/// A stream on its way out.
#[derive(Debug, Default)]
pub struct Writer {
    /// What each open block of the intermediate form is here.
    open: HashMap<u32, Open>,
    contents: u64,
    calls: u64,
    citations: u64,
    finish: Option<Finish>,
    usage: Option<Usage>,
}

#[derive(Debug)]
struct Open {
    kind: Kind,
    /// Its index among the contents, or among the tool calls.
    index: u64,
    /// Characters of text told.
    length: u64,
    /// Its end was told already.
    has_ended: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Text,
    Thinking,
    Call,
}

#[derive(Serialize)]
struct Part<'a> {
    r#type: &'a str,
    index: u64,
    delta: PartDelta<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    logprobs: Option<Logprob>,
}

#[derive(Serialize)]
struct PartDelta<'a> {
    message: PartMessage<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum PartMessage<'a> {
    Content(Piece<'a>),
    ToolCalls(Call<'a>),
    Citations(Value),
}

#[derive(Default, Serialize)]
struct Piece<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    r#type: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signature: Option<&'a str>,
}

#[derive(Default, Serialize)]
struct Call<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    r#type: Option<&'a str>,
    function: Function<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signature: Option<&'a str>,
}

#[derive(Default, Serialize)]
struct Function<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    arguments: &'a str,
}

#[derive(Serialize)]
struct Close<'a> {
    r#type: &'a str,
    index: u64,
}

// === impl Writer ===

impl StreamWriter for Writer {
    fn write(&mut self, event: Event, out: &mut Vec<u8>) {
        match event {
            Event::Start { id: given, .. } => {
                let message = json!({ "role": "assistant", "content": [], "tool_plan": "", "tool_calls": [], "citations": [] });
                tell("message-start", &json!({ "type": "message-start", "id": id(given), "delta": { "message": message } }), out);
            }
            // The dialect has one answer.
            Event::Open { choice, .. }
            | Event::Delta { choice, .. }
            | Event::Close { choice, .. }
            | Event::Logprobs { choice, .. }
            | Event::Finish { choice, .. }
                if choice > 0 => {}
            Event::Open { index, opening, .. } => self.open(index, opening, out),
            Event::Delta { index, delta, .. } => self.grow(index, delta, out),
            Event::Close { index, .. } => self.close(index, out),
            Event::Logprobs { logprobs, .. } => {
                for logprob in logprobs {
                    let piece = Piece { text: Some(""), ..Piece::default() };
                    content("content-delta", self.contents.saturating_sub(1), piece, Some(logprob.into()), out);
                }
            }
            Event::Finish { finish, .. } => self.finish = Some(finish),
            Event::Usage(usage) | Event::UsageSoFar(usage) => self.usage = Some(usage),
            Event::Trouble(trouble) => {
                let delta = json!({ "error": trouble.message, "finish_reason": "ERROR" });
                tell("message-end", &json!({ "type": "message-end", "delta": delta }), out);
            }
            Event::End => {
                let mut delta = json!({ "finish_reason": finish_reason(self.finish.as_ref().unwrap_or(&Finish::Stop)) });
                if let Some(usage) = &self.usage {
                    delta["usage"] = json!(Told::from(usage));
                }
                tell("message-end", &json!({ "type": "message-end", "delta": delta }), out);
            }
        }
    }
}

impl Writer {
    fn open(&mut self, index: u32, opening: Opening, out: &mut Vec<u8>) {
        match opening {
            Opening::Text | Opening::Refusal => self.open_content(index, Kind::Text, out),
            Opening::Reasoning { .. } => self.open_content(index, Kind::Thinking, out),
            Opening::ToolCall { id, name, signature, .. } => {
                self.end_calls(out);
                let signature = signature.map(|signature| signature.write(Dialect::CohereV2));
                let function = Function { name: Some(&name), arguments: "" };
                let call = Call { id: Some(&id), r#type: Some("function"), function, signature: signature.as_deref() };
                tell_call("tool-call-start", self.calls, call, out);
                self.open.insert(index, Open { kind: Kind::Call, index: self.calls, length: 0, has_ended: false });
                self.calls += 1;
            }
            Opening::Whole(block) => self.whole(index, *block, out),
        }
    }

    /// Of what comes in one piece, reasoning that only its provider can read is carried for it.
    fn whole(&mut self, index: u32, block: Block, out: &mut Vec<u8>) {
        match block.content {
            Content::Reasoning(reasoning) => {
                self.open_content(index, Kind::Thinking, out);
                if let Some(text) = reasoning.signature.as_ref().and_then(assistant::told_signature) {
                    self.piece(index, Piece { thinking: Some(""), signature: Some(&text), ..Piece::default() }, out);
                }
            }
            Content::Text { text, .. } | Content::Refusal(text) => {
                self.open_content(index, Kind::Text, out);
                self.grow(index, Delta::Text(text), out);
            }
            _ => {}
        }
    }

    fn open_content(&mut self, index: u32, kind: Kind, out: &mut Vec<u8>) {
        let piece = match kind {
            Kind::Thinking => Piece { r#type: Some("thinking"), thinking: Some(""), ..Piece::default() },
            Kind::Text | Kind::Call => Piece { r#type: Some("text"), text: Some(""), ..Piece::default() },
        };
        content("content-start", self.contents, piece, None, out);
        self.open.insert(index, Open { kind, index: self.contents, length: 0, has_ended: false });
        self.contents += 1;
    }

    fn piece(&self, index: u32, piece: Piece<'_>, out: &mut Vec<u8>) {
        if let Some(open) = self.open.get(&index) {
            content("content-delta", open.index, piece, None, out);
        }
    }

    fn grow(&mut self, index: u32, delta: Delta, out: &mut Vec<u8>) {
        match delta {
            Delta::Text(text) | Delta::Refusal(text) => {
                if let Some(open) = self.open.get_mut(&index) {
                    open.length += text.chars().count() as u64;
                }
                self.piece(index, Piece { text: Some(&text), ..Piece::default() }, out);
            }
            Delta::Reasoning(text) => self.piece(index, Piece { thinking: Some(&text), ..Piece::default() }, out),
            Delta::Signature(signature) => {
                if let (Some(text), Some(Kind::Thinking)) = (assistant::told_signature(&signature), self.kind(index)) {
                    self.piece(index, Piece { thinking: Some(""), signature: Some(&text), ..Piece::default() }, out);
                }
            }
            Delta::Arguments(more) => {
                if let Some(open) = self.open.get(&index) {
                    let function = Function { name: None, arguments: &more };
                    tell_call("tool-call-delta", open.index, Call { function, ..Call::default() }, out);
                }
            }
            Delta::Citation(cited) => {
                let Some(open) = self.open.get(&index) else { return };
                let value = citation::write(&cited, "", open.length, open.index as usize);
                part("citation-start", self.citations, PartMessage::Citations(value), None, out);
                tell("citation-end", &Close { r#type: "citation-end", index: self.citations }, out);
                self.citations += 1;
            }
        }
    }

    fn kind(&self, index: u32) -> Option<Kind> {
        self.open.get(&index).map(|open| open.kind)
    }

    /// Cohere tells one call after the other, and its clients count on it; what comes later of an earlier one still has its index.
    fn end_calls(&mut self, out: &mut Vec<u8>) {
        for open in self.open.values_mut().filter(|open| open.kind == Kind::Call && !open.has_ended) {
            open.has_ended = true;
            tell("tool-call-end", &Close { r#type: "tool-call-end", index: open.index }, out);
        }
    }

    fn close(&mut self, index: u32, out: &mut Vec<u8>) {
        if let Some(open) = self.open.remove(&index).filter(|open| !open.has_ended) {
            let kind = if open.kind == Kind::Call { "tool-call-end" } else { "content-end" };
            tell(kind, &Close { r#type: kind, index: open.index }, out);
        }
    }
}

fn content(kind: &str, index: u64, piece: Piece<'_>, logprobs: Option<Logprob>, out: &mut Vec<u8>) {
    part(kind, index, PartMessage::Content(piece), logprobs, out);
}

fn tell_call(kind: &str, index: u64, call: Call<'_>, out: &mut Vec<u8>) {
    part(kind, index, PartMessage::ToolCalls(call), None, out);
}

fn part(kind: &str, index: u64, message: PartMessage<'_>, logprobs: Option<Logprob>, out: &mut Vec<u8>) {
    tell(kind, &Part { r#type: kind, index, delta: PartDelta { message }, logprobs }, out);
}

/// Writes one event straight into `out`.
fn tell(kind: &str, data: &impl Serialize, out: &mut Vec<u8>) {
    out.extend_from_slice(b"event: ");
    out.extend_from_slice(kind.as_bytes());
    out.extend_from_slice(b"\ndata: ");
    // What is written has texts for its keys and goes into memory: it cannot fail.
    let _ = serde_json::to_writer(&mut *out, data);
    out.extend_from_slice(b"\n\n");
}
