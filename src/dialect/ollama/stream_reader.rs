//! Reads a stream of lines, each a JSON object with a piece of the answer; the last one has `done: true`.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

use super::answer::Logprob;
use super::message;
use super::usage::Reported;
use super::{call_id, finish};
use crate::dialect::StreamReader;
use crate::dialect::count::Count;
use crate::dialect::frame::Lines;
use crate::dialect::ir::{Blocks, Event, Opening, Signature};
use crate::dialect::trouble::of_broken_event;
use crate::ledger::record::Usage;

/// A stream on its way in.
#[derive(Debug, Default)]
pub struct Reader {
    lines: Lines,
    state: State,
}

#[derive(Debug, Default)]
struct State {
    blocks: Blocks,
    has_started: bool,
    has_ended: bool,
    /// Reasoning that is open, and with it the mark that ends it.
    reasoning: Option<Signature>,
    calls: u64,
}

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    model: Option<Cow<'a, str>>,
    #[serde(borrow)]
    created_at: Option<Cow<'a, str>>,
    message: Option<Message>,
    /// The piece of text in `/api/generate`.
    response: Option<String>,
    /// The piece of reasoning in `/api/generate`.
    thinking: Option<String>,
    logprobs: Option<Vec<Logprob>>,
    done: Option<bool>,
    #[serde(borrow)]
    done_reason: Option<Cow<'a, str>>,
    #[serde(default)]
    prompt_eval_count: Count,
    #[serde(default)]
    eval_count: Count,
    error: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Message {
    content: Option<String>,
    thinking: Option<String>,
    signature: Option<String>,
    images: Option<Vec<String>>,
    tool_calls: Option<Vec<Value>>,
}

// === impl Reader ===

impl StreamReader for Reader {
    fn push(&mut self, bytes: &[u8], out: &mut Vec<Event>) {
        let Reader { lines, state } = self;
        lines.push(bytes, |line| state.line(line, out));
    }

    fn finish(&mut self, out: &mut Vec<Event>) {
        let Reader { lines, state } = self;
        lines.finish(|line| state.line(line, out));
    }
}

// === impl State ===

impl State {
    fn line(&mut self, json: &[u8], out: &mut Vec<Event>) {
        if self.has_ended {
            return;
        }
        let Ok(line) = serde_json::from_slice::<Line<'_>>(json) else {
            if let Some(trouble) = of_broken_event(json) {
                self.has_ended = true;
                out.push(Event::Trouble(trouble));
            }
            return;
        };
        if line.error.is_some() {
            self.has_ended = true;
            out.push(Event::Trouble(crate::dialect::trouble::read(500, json)));
            return;
        }
        if !std::mem::replace(&mut self.has_started, true) {
            let created = line.created_at.as_deref().and_then(|time| time.parse::<jiff::Timestamp>().ok());
            let created = created.map_or(0, jiff::Timestamp::as_second);
            out.push(Event::Start { id: String::new(), model: line.model.unwrap_or_default().into_owned(), created });
        }
        if let Some(message) = line.message {
            self.reason(message.thinking, message.signature, out);
            self.text(message.content, out);
            for image in message.images.into_iter().flatten() {
                self.end_reasoning(out);
                self.blocks.whole(0, message::image(image), out);
            }
            message.tool_calls.into_iter().flatten().for_each(|value| self.call(value, out));
        }
        self.reason(line.thinking, None, out);
        self.text(line.response, out);
        if let Some(logprobs) = line.logprobs.filter(|list| !list.is_empty()) {
            out.push(Event::Logprobs { choice: 0, logprobs: logprobs.into_iter().map(Into::into).collect() });
        }
        let usage = Reported { prompt_eval_count: line.prompt_eval_count, eval_count: line.eval_count };
        let is_last = line.done == Some(true);
        out.extend(Option::<Usage>::from(usage).map(if is_last { Event::Usage } else { Event::UsageSoFar }));
        if is_last {
            self.has_ended = true;
            self.end_reasoning(out);
            self.blocks.close_all(0, out);
            out.push(Event::Finish { choice: 0, finish: finish(line.done_reason.as_deref(), self.calls > 0) });
            out.push(Event::End);
        }
    }

    fn reason(&mut self, more: Option<String>, signature: Option<String>, out: &mut Vec<Event>) {
        if let Some(more) = more.filter(|more| !more.is_empty()) {
            self.reasoning.get_or_insert_with(message::thinking_mark);
            self.blocks.reasoning(0, more, out);
        }
        if let Some(signature) = signature {
            self.reasoning = Some(Signature::read(&signature, message::OWN));
        }
    }

    fn end_reasoning(&mut self, out: &mut Vec<Event>) {
        if let Some(mark) = self.reasoning.take() {
            self.blocks.signature(0, mark, out);
            self.blocks.close(0, out);
        }
    }

    fn text(&mut self, more: Option<String>, out: &mut Vec<Event>) {
        if let Some(more) = more.filter(|more| !more.is_empty()) {
            self.end_reasoning(out);
            self.blocks.text(0, more, out);
        }
    }

    /// A call comes whole.
    fn call(&mut self, value: Value, out: &mut Vec<Event>) {
        let Ok(call) = message::call(value, "message") else { return };
        self.end_reasoning(out);
        let id = if call.id.is_empty() { call_id() } else { call.id };
        let opening = Opening::ToolCall { id, name: call.name, is_custom: false, signature: call.signature };
        self.blocks.tool_call(0, self.calls, opening, out);
        self.blocks.arguments(0, self.calls, call.arguments, out);
        self.blocks.close_call(0, self.calls, out);
        self.calls += 1;
    }
}
