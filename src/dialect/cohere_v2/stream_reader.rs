//! Reads a stream of server-sent events.
//!
//! Source: "A Guide to Streaming Responses", "Streaming for tool use" and "RAG Streaming" in Cohere's documentation.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::Value;

use super::answer::Logprob;
use super::usage::Reported;
use super::{assistant, citation, finish};
use crate::catalog::Dialect;
use crate::dialect::StreamReader;
use crate::dialect::count::if_read;
use crate::dialect::frame::{Sse, SseEvent};
use crate::dialect::ir::{Blocks, Event, Finish, Opening, Signature, Trouble, TroubleKind};
use crate::dialect::trouble::of_broken_event;

/// A stream on its way in.
#[derive(Debug, Default)]
pub struct Reader {
    sse: Sse,
    state: State,
}

#[derive(Debug, Default)]
struct State {
    blocks: Blocks,
    has_started: bool,
    has_ended: bool,
    /// Reasoning that is open, and with it the mark that ends it.
    reasoning: Option<Signature>,
    /// A tool call whose arguments are still to come.
    silent_call: Option<u64>,
    calls: u64,
}

#[derive(Deserialize)]
struct Head<'a> {
    #[serde(rename = "type", borrow)]
    kind: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Start<'a> {
    #[serde(borrow)]
    id: Option<Cow<'a, str>>,
}

/// An event that tells a part of the message.
#[derive(Deserialize)]
struct Part<M> {
    index: Option<u64>,
    delta: Inner<M>,
    logprobs: Option<Logprob>,
}

#[derive(Deserialize)]
struct Inner<M> {
    message: M,
}

#[derive(Deserialize)]
struct WithContent {
    content: Piece,
}

#[derive(Deserialize)]
struct Piece {
    text: Option<String>,
    thinking: Option<String>,
    signature: Option<String>,
}

#[derive(Deserialize)]
struct WithPlan {
    tool_plan: String,
}

#[derive(Deserialize)]
struct WithCall {
    tool_calls: Call,
}

#[derive(Deserialize)]
struct Call {
    id: Option<String>,
    #[serde(default)]
    function: Function,
    signature: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Function {
    name: Option<String>,
    arguments: Option<String>,
}

#[derive(Deserialize)]
struct End {
    index: Option<u64>,
}

#[derive(Deserialize)]
struct WithCitation {
    citations: Value,
}

#[derive(Deserialize)]
struct Last<'a> {
    #[serde(borrow)]
    delta: LastDelta<'a>,
}

#[derive(Deserialize)]
struct LastDelta<'a> {
    #[serde(borrow)]
    finish_reason: Option<Cow<'a, str>>,
    #[serde(default, deserialize_with = "if_read")]
    usage: Option<Reported>,
    error: Option<String>,
}

// === impl Reader ===

impl StreamReader for Reader {
    fn push(&mut self, bytes: &[u8], out: &mut Vec<Event>) {
        let Reader { sse, state } = self;
        sse.push(bytes, |event| state.event(event, out));
    }

    fn finish(&mut self, out: &mut Vec<Event>) {
        let Reader { sse, state } = self;
        sse.finish(|event| state.event(event, out));
    }
}

// === impl State ===

impl State {
    fn event(&mut self, event: &SseEvent, out: &mut Vec<Event>) {
        if self.has_ended || event.data.is_empty() {
            return;
        }
        let data = event.data.as_slice();
        if let Some(trouble) = of_broken_event(data) {
            self.has_ended = true;
            out.push(Event::Trouble(trouble));
            return;
        }
        let kind = match event.event.as_str() {
            "" => serde_json::from_slice::<Head<'_>>(data).ok().and_then(|head| head.kind).unwrap_or_default(),
            name => Cow::Borrowed(name),
        };
        if kind != "message-start" && !self.has_started && kind.contains('-') {
            self.start(String::new(), out);
        }
        match kind.as_ref() {
            "message-start" => {
                let id = serde_json::from_slice::<Start<'_>>(data).ok().and_then(|start| start.id);
                self.start(id.unwrap_or_default().into_owned(), out);
            }
            "content-start" => {
                self.end_reasoning(out);
                self.blocks.close(0, out);
                self.content(data, out);
            }
            "content-delta" => self.content(data, out),
            // A text stays open for citations, which may come after it.
            "content-end" => self.end_reasoning(out),
            "tool-plan-delta" => self.plan(data, out),
            "tool-call-start" => self.call(data, out),
            "tool-call-delta" => self.arguments(data, out),
            "tool-call-end" => {
                self.end_call(out);
                let index = serde_json::from_slice::<End>(data).ok().and_then(|end| end.index);
                self.blocks.close_call(0, index.unwrap_or(self.calls.saturating_sub(1)), out);
            }
            "citation-start" => self.citation(data, out),
            "message-end" => self.end(data, out),
            "error" | "stream-error" => {
                self.has_ended = true;
                out.push(Event::Trouble(crate::dialect::trouble::read(500, data)));
            }
            _ => {}
        }
    }

    fn start(&mut self, id: String, out: &mut Vec<Event>) {
        if !std::mem::replace(&mut self.has_started, true) {
            out.push(Event::Start { id, model: String::new(), created: 0 });
        }
    }

    fn content(&mut self, data: &[u8], out: &mut Vec<Event>) {
        let Ok(part) = serde_json::from_slice::<Part<WithContent>>(data) else { return };
        let Piece { text, thinking, signature } = part.delta.message.content;
        if let Some(thinking) = thinking.filter(|thinking| !thinking.is_empty()) {
            self.reason(thinking, assistant::thinking_mark(), out);
        }
        if let Some(signature) = signature {
            self.reasoning = Some(Signature::read(&signature, Dialect::CohereV2));
        }
        if let Some(text) = text.filter(|text| !text.is_empty()) {
            self.end_reasoning(out);
            self.blocks.text(0, text, out);
        }
        if let Some(logprobs) = part.logprobs {
            out.push(Event::Logprobs { choice: 0, logprobs: vec![logprobs.into()] });
        }
    }

    fn plan(&mut self, data: &[u8], out: &mut Vec<Event>) {
        let Ok(part) = serde_json::from_slice::<Part<WithPlan>>(data) else { return };
        let plan = part.delta.message.tool_plan;
        if !plan.is_empty() {
            self.reason(plan, assistant::plan_mark(), out);
        }
    }

    fn reason(&mut self, more: String, mark: Signature, out: &mut Vec<Event>) {
        if self.reasoning.as_ref() != Some(&mark) {
            self.end_reasoning(out);
        }
        self.reasoning = Some(mark);
        self.blocks.reasoning(0, more, out);
    }

    fn end_reasoning(&mut self, out: &mut Vec<Event>) {
        if let Some(mark) = self.reasoning.take() {
            self.blocks.signature(0, mark, out);
            self.blocks.close(0, out);
        }
    }

    fn call(&mut self, data: &[u8], out: &mut Vec<Event>) {
        let Ok(part) = serde_json::from_slice::<Part<WithCall>>(data) else { return };
        self.end_reasoning(out);
        self.end_call(out);
        let Call { id, function, signature } = part.delta.message.tool_calls;
        let key = part.index.unwrap_or(self.calls);
        let opening = Opening::ToolCall {
            id: id.filter(|id| !id.is_empty()).unwrap_or_else(|| format!("call_{}", self.calls)),
            name: function.name.unwrap_or_default(),
            is_custom: false,
            signature: signature.map(|text| Signature::read(&text, Dialect::CohereV2)),
        };
        self.calls += 1;
        self.blocks.tool_call(0, key, opening, out);
        self.silent_call = Some(key);
        self.grow(key, function.arguments, out);
    }

    fn arguments(&mut self, data: &[u8], out: &mut Vec<Event>) {
        let Ok(part) = serde_json::from_slice::<Part<WithCall>>(data) else { return };
        let key = part.index.or(self.silent_call).unwrap_or(self.calls.saturating_sub(1));
        self.grow(key, part.delta.message.tool_calls.function.arguments, out);
    }

    fn grow(&mut self, key: u64, more: Option<String>, out: &mut Vec<Event>) {
        let Some(more) = more.filter(|more| !more.is_empty()) else { return };
        // A tool without parameters is called with `null`, or with nothing at all.
        if self.silent_call == Some(key) && more.trim() == "null" {
            return;
        }
        if self.silent_call == Some(key) {
            self.silent_call = None;
        }
        self.blocks.arguments(0, key, more, out);
    }

    /// A call that was given no arguments has an empty object of them.
    fn end_call(&mut self, out: &mut Vec<Event>) {
        if let Some(key) = self.silent_call.take() {
            self.blocks.arguments(0, key, "{}", out);
        }
    }

    fn citation(&mut self, data: &[u8], out: &mut Vec<Event>) {
        let Ok(part) = serde_json::from_slice::<Part<WithCitation>>(data) else { return };
        let list = match part.delta.message.citations {
            Value::Array(list) => list,
            one => vec![one],
        };
        self.end_reasoning(out);
        for value in list {
            self.blocks.citation(0, citation::read(value).1, out);
        }
    }

    fn end(&mut self, data: &[u8], out: &mut Vec<Event>) {
        let Ok(Last { delta }) = serde_json::from_slice::<Last<'_>>(data) else { return };
        self.has_ended = true;
        self.end_reasoning(out);
        self.end_call(out);
        self.blocks.close_all(0, out);
        out.extend(delta.usage.and_then(Reported::usage).map(Event::Usage));
        if let Some(message) = delta.error {
            let code = delta.finish_reason.map(Cow::into_owned);
            out.push(Event::Trouble(Trouble { kind: TroubleKind::Server, code, message, param: None }));
            return;
        }
        out.push(Event::Finish { choice: 0, finish: delta.finish_reason.as_deref().map_or(Finish::Stop, finish) });
        out.push(Event::End);
    }
}
