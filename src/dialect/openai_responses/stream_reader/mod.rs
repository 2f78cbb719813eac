//! Reads a stream: whatever part of the documented events a provider sends, each piece of an answer once.
//!
//! Some providers announce no items, some tell a text only when it is done, some only in the last event: what a `done` repeats is told as far
//! as no delta told it. Source: `ResponseStreamEvent` of OpenAI's API reference.

mod items;

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::answer::{Ending, read_logprobs};
use super::citation;
use super::trouble;
use crate::dialect::StreamReader;
use crate::dialect::frame::{Sse, SseEvent};
use crate::dialect::ir::{Delta, Event, Opening, Signature, Trouble};
use crate::dialect::trouble::of_broken_event;

/// One stream of a provider's.
#[derive(Default)]
pub struct Reader {
    sse: Sse,
    state: State,
}

#[derive(Default)]
struct State {
    is_started: bool,
    is_ended: bool,
    has_calls: bool,
    /// The index of the block that opens next.
    next: u32,
    /// The text, refusal or reasoning that is open.
    open: Option<Open>,
    /// Calls that are open.
    calls: Vec<Call>,
    /// What was heard of the parts of items whose end is to come.
    heard: Vec<Heard>,
    /// The place and the id of the reasoning item that was announced last.
    announced: Option<(u32, String)>,
    /// Signatures of calls that are to come.
    of_calls: Vec<(String, Signature)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Growing {
    Text,
    Refusal,
    Summary,
    /// Reasoning in the model's own words.
    Thought,
}

/// Where a piece belongs: the item's place, what it is, and which part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct At {
    item: u32,
    growing: Growing,
    part: u32,
}

struct Open {
    at: At,
    index: u32,
}

struct Call {
    item: u32,
    index: u32,
    id: String,
    /// Bytes of arguments that were told.
    told: usize,
}

struct Heard {
    at: At,
    /// Bytes.
    told: usize,
    citations: usize,
    has_logprobs: bool,
}

/// An event; each kind has some of the members.
#[derive(Deserialize)]
struct Told<'a> {
    #[serde(rename = "type", borrow, default)]
    kind: Cow<'a, str>,
    output_index: Option<u32>,
    content_index: Option<u32>,
    summary_index: Option<u32>,
    delta: Option<String>,
    text: Option<String>,
    refusal: Option<String>,
    arguments: Option<String>,
    input: Option<String>,
    annotation: Option<Value>,
    #[serde(borrow)]
    logprobs: Option<&'a RawValue>,
    #[serde(borrow)]
    part: Option<&'a RawValue>,
    #[serde(borrow)]
    item: Option<&'a RawValue>,
    #[serde(borrow)]
    response: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Head {
    id: Option<String>,
    model: Option<String>,
    created_at: Option<Value>,
}

#[derive(Deserialize)]
struct Output {
    output: Option<Vec<Value>>,
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
        if self.is_ended || event.data.is_empty() {
            return;
        }
        if event.data == b"[DONE]" {
            return self.done(out);
        }
        // An event that is not in this shape says nothing that is read here.
        let Ok(mut told) = serde_json::from_slice::<Told<'_>>(&event.data) else {
            if let Some(trouble) = of_broken_event(&event.data) {
                self.fail(trouble, out);
            }
            return;
        };
        if told.kind.is_empty() {
            told.kind = Cow::Borrowed(&event.event);
        }
        let item = told.output_index.unwrap_or(0);
        let at = |growing, part: Option<u32>| At { item, growing, part: part.unwrap_or(0) };
        let (content, summary) = (told.content_index, told.summary_index);
        match told.kind.as_ref() {
            "response.output_text.delta" => {
                let at = at(Growing::Text, content);
                self.grow(at, told.delta.unwrap_or_default(), out);
                self.logprobs(at, told.logprobs, out);
            }
            "response.output_text.done" => {
                let at = at(Growing::Text, content);
                self.complete(at, told.text.unwrap_or_default(), out);
                self.logprobs_if_none(at, told.logprobs, out);
            }
            "response.output_text.annotation.added" => {
                if let Some(annotation) = told.annotation {
                    self.cite(at(Growing::Text, content), annotation, out);
                }
            }
            "response.refusal.delta" => self.grow(at(Growing::Refusal, content), told.delta.unwrap_or_default(), out),
            "response.refusal.done" => self.complete(at(Growing::Refusal, content), told.refusal.unwrap_or_default(), out),
            "response.reasoning_summary_text.delta" => self.grow(at(Growing::Summary, summary), told.delta.unwrap_or_default(), out),
            "response.reasoning_summary_text.done" => self.complete(at(Growing::Summary, summary), told.text.unwrap_or_default(), out),
            "response.reasoning_text.delta" => self.grow(at(Growing::Thought, content), told.delta.unwrap_or_default(), out),
            "response.reasoning_text.done" => self.complete(at(Growing::Thought, content), told.text.unwrap_or_default(), out),
            "response.function_call_arguments.delta" | "response.custom_tool_call_input.delta" => {
                self.arguments(item, told.delta.unwrap_or_default(), out);
            }
            "response.function_call_arguments.done" => self.all_arguments(item, told.arguments.unwrap_or_default(), out),
            "response.custom_tool_call_input.done" => self.all_arguments(item, told.input.unwrap_or_default(), out),
            "response.content_part.done" => self.part_done(item, content.unwrap_or(0), object(told.part), out),
            "response.output_item.added" => self.item_added(item, object(told.item), out),
            "response.output_item.done" => self.item_done(item, object(told.item), out),
            "response.completed" | "response.incomplete" | "response.failed" | "response.cancelled" => self.last(told.response, out),
            "error" => self.fail(trouble::of_event(&event.data), out),
            "response.created" | "response.in_progress" | "response.queued" => self.start(told.response, out),
            _ => {}
        }
    }

    fn start(&mut self, response: Option<&RawValue>, out: &mut Vec<Event>) {
        if self.is_started {
            return;
        }
        self.is_started = true;
        let head = response.and_then(|raw| serde_json::from_str::<Head>(raw.get()).ok());
        let (id, model, created) = head.map_or_else(Default::default, |head| {
            let created = head.created_at.and_then(|at| at.as_f64()).unwrap_or(0.0) as i64;
            (head.id.unwrap_or_default(), head.model.unwrap_or_default(), created)
        });
        out.push(Event::Start { id, model, created });
    }

    /// Opens a block; whatever grew before has ended.
    fn open(&mut self, opening: Opening, out: &mut Vec<Event>) -> u32 {
        self.start(None, out);
        self.close(out);
        let index = self.next;
        self.next += 1;
        out.push(Event::Open { choice: 0, index, opening });
        index
    }

    fn close(&mut self, out: &mut Vec<Event>) {
        if let Some(Open { index, .. }) = self.open.take() {
            out.push(Event::Close { choice: 0, index });
        }
    }

    fn heard(&mut self, at: At) -> &mut Heard {
        let place = self.heard.iter().position(|heard| heard.at == at).unwrap_or_else(|| {
            self.heard.push(Heard { at, told: 0, citations: 0, has_logprobs: false });
            self.heard.len() - 1
        });
        &mut self.heard[place]
    }

    /// Whether an item's reasoning is told in its other form already.
    fn is_told_otherwise(&self, at: At) -> bool {
        let other = match at.growing {
            Growing::Summary => Growing::Thought,
            Growing::Thought => Growing::Summary,
            Growing::Text | Growing::Refusal => return false,
        };
        self.heard.iter().any(|heard| heard.at.item == at.item && heard.at.growing == other && heard.told > 0)
    }

    fn grow(&mut self, at: At, more: String, out: &mut Vec<Event>) {
        if more.is_empty() || self.is_told_otherwise(at) {
            return;
        }
        self.heard(at).told += more.len();
        let (index, is_new_part) = self.block(at, out);
        let delta = match at.growing {
            Growing::Text => Delta::Text(more),
            Growing::Refusal => Delta::Refusal(more),
            Growing::Summary | Growing::Thought if is_new_part => Delta::Reasoning(format!("\n\n{more}")),
            Growing::Summary | Growing::Thought => Delta::Reasoning(more),
        };
        out.push(Event::Delta { choice: 0, index, delta });
    }

    /// The block that a piece belongs to, and whether a new part of it begins: all parts of an item's reasoning are one block.
    fn block(&mut self, at: At, out: &mut Vec<Event>) -> (u32, bool) {
        if let Some(open) = &mut self.open
            && open.at.item == at.item
            && open.at.growing == at.growing
        {
            if open.at.part == at.part {
                return (open.index, false);
            }
            if matches!(at.growing, Growing::Summary | Growing::Thought) {
                open.at = at;
                return (open.index, true);
            }
        }
        let opening = match at.growing {
            Growing::Text => Opening::Text,
            Growing::Refusal => Opening::Refusal,
            Growing::Summary | Growing::Thought => {
                let announced = self.announced.take().filter(|(item, id)| *item == at.item && !id.is_empty());
                Opening::Reasoning { id: announced.map(|(_, id)| id) }
            }
        };
        let index = self.open(opening, out);
        self.open = Some(Open { at, index });
        (index, false)
    }

    /// All of a part: tells what no delta told.
    fn complete(&mut self, at: At, whole: String, out: &mut Vec<Event>) {
        let told = self.heard(at).told;
        match told {
            0 => self.grow(at, whole, out),
            told => self.grow(at, whole.get(told..).unwrap_or_default().to_owned(), out),
        }
    }

    fn cite(&mut self, at: At, annotation: Value, out: &mut Vec<Event>) {
        self.heard(at).citations += 1;
        let (index, _) = self.block(at, out);
        out.push(Event::Delta { choice: 0, index, delta: Delta::Citation(citation::read(annotation)) });
    }

    fn logprobs(&mut self, at: At, raw: Option<&RawValue>, out: &mut Vec<Event>) {
        let list = raw.filter(|raw| raw.get() != "[]").and_then(|raw| serde_json::from_str(raw.get()).ok()).map(read_logprobs);
        if let Some(logprobs) = list.filter(|list| !list.is_empty()) {
            self.heard(at).has_logprobs = true;
            out.push(Event::Logprobs { choice: 0, logprobs });
        }
    }

    fn logprobs_if_none(&mut self, at: At, raw: Option<&RawValue>, out: &mut Vec<Event>) {
        if !self.heard(at).has_logprobs {
            self.logprobs(at, raw, out);
        }
    }

    /// The last event has the whole response; its output is read where nothing of it was told before.
    fn last(&mut self, response: Option<&RawValue>, out: &mut Vec<Event>) {
        self.start(response, out);
        let raw = response.map_or("{}", RawValue::get);
        let Ok(ending) = serde_json::from_str::<Ending>(raw) else { return };
        if ending.has_failed() {
            let (code, message) = ending.failure();
            return self.fail(trouble::named(&code, message, None), out);
        }
        if self.next == 0 {
            let output = serde_json::from_str::<Output>(raw).ok().and_then(|output| output.output);
            for (number, item) in (0..).zip(output.unwrap_or_default()) {
                if let Value::Object(map) = item {
                    self.item_done(number, map, out);
                }
            }
        }
        self.close_all(out);
        out.extend(ending.usage().map(Event::Usage));
        out.push(Event::Finish { choice: 0, finish: ending.finish(self.has_calls) });
        self.is_ended = true;
        out.push(Event::End);
    }

    /// `[DONE]` without a last event, which some servers leave out: it is the end if something was told.
    fn done(&mut self, out: &mut Vec<Event>) {
        if self.next > 0 {
            self.last(None, out);
        }
    }

    fn close_all(&mut self, out: &mut Vec<Event>) {
        self.close(out);
        out.extend(self.calls.drain(..).map(|call| Event::Close { choice: 0, index: call.index }));
    }

    fn fail(&mut self, trouble: Trouble, out: &mut Vec<Event>) {
        self.is_ended = true;
        out.push(Event::Trouble(trouble));
    }
}

fn object(raw: Option<&RawValue>) -> Map<String, Value> {
    raw.and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default()
}
