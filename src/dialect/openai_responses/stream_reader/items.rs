//! What items and parts tell when they are announced and when they are done.

use serde_json::{Map, Value};

use super::{At, Call, Growing, Open, State};
use crate::dialect::ir::{Block, Content, Delta, Event, Opening, Reasoning};
use crate::dialect::openai_responses::answer::{Said, read_logprobs, tool_call};
use crate::dialect::openai_responses::decode_items::{Thought, reasoning};
use crate::dialect::openai_responses::fields::{take_list, take_text};

// === impl State ===

impl State {
    pub(super) fn part_done(&mut self, item: u32, part: u32, mut map: Map<String, Value>, out: &mut Vec<Event>) {
        let at = |growing| At { item, growing, part };
        match map.get("type").and_then(Value::as_str) {
            Some("output_text" | "text") => {
                let at = at(Growing::Text);
                self.complete(at, take_text(&mut map, "text"), out);
                let known = self.heard(at).citations;
                take_list(&mut map, "annotations").into_iter().skip(known).for_each(|cited| self.cite(at, cited, out));
                if !self.heard(at).has_logprobs
                    && let Some(logprobs) = map.remove("logprobs").map(read_logprobs).filter(|list| !list.is_empty())
                {
                    self.heard(at).has_logprobs = true;
                    out.push(Event::Logprobs { choice: 0, logprobs });
                }
            }
            Some("refusal") => self.complete(at(Growing::Refusal), take_text(&mut map, "refusal"), out),
            Some("reasoning_text") => self.complete(at(Growing::Thought), take_text(&mut map, "text"), out),
            _ => {}
        }
    }

    pub(super) fn item_added(&mut self, item: u32, mut map: Map<String, Value>, out: &mut Vec<Event>) {
        self.start(None, out);
        match map.get("type").and_then(Value::as_str) {
            // Arguments that stand here already are told again by a delta or when the call is done.
            Some("function_call" | "custom_tool_call") => drop(self.open_call(item, &mut map, out)),
            Some("reasoning") => self.announced = Some((item, take_text(&mut map, "id"))),
            _ => {}
        }
    }

    pub(super) fn open_call(&mut self, item: u32, map: &mut Map<String, Value>, out: &mut Vec<Event>) -> String {
        let Some(call) = tool_call(map) else { return String::new() };
        self.has_calls = true;
        let signature = self.of_calls.iter().position(|(id, _)| *id == call.id).map(|at| self.of_calls.swap_remove(at).1);
        let opening = Opening::ToolCall { id: call.id.clone(), name: call.name, is_custom: call.is_custom, signature };
        let index = self.open(opening, out);
        self.calls.push(Call { item, index, id: call.id, told: 0 });
        call.arguments
    }

    pub(super) fn arguments(&mut self, item: u32, more: String, out: &mut Vec<Event>) {
        if more.is_empty() {
            return;
        }
        // Without its announcement a call has no name yet: all of it is told when it is done.
        if let Some(call) = self.calls.iter_mut().rev().find(|call| call.item == item) {
            call.told += more.len();
            out.push(Event::Delta { choice: 0, index: call.index, delta: Delta::Arguments(more) });
        }
    }

    pub(super) fn all_arguments(&mut self, item: u32, whole: String, out: &mut Vec<Event>) {
        let told = self.calls.iter().rev().find(|call| call.item == item).map_or(0, |call| call.told);
        self.arguments(item, whole.get(told..).unwrap_or_default().to_owned(), out);
    }

    pub(super) fn item_done(&mut self, item: u32, mut map: Map<String, Value>, out: &mut Vec<Event>) {
        self.start(None, out);
        match map.get("type").and_then(Value::as_str) {
            Some("message") => {
                for (number, part) in (0..).zip(take_list(&mut map, "content")) {
                    if let Value::Object(part) = part {
                        self.part_done(item, number, part, out);
                    }
                }
            }
            Some("reasoning") => self.reasoning_done(item, map, out),
            Some("function_call" | "custom_tool_call") => {
                let arguments = match self.calls.iter().any(|call| call.item == item) {
                    true => tool_call(&mut map).map(|call| call.arguments).unwrap_or_default(),
                    false => self.open_call(item, &mut map, out),
                };
                self.all_arguments(item, arguments, out);
                let closed = self.calls.iter().position(|call| call.item == item).map(|at| self.calls.swap_remove(at));
                out.extend(closed.map(|call| Event::Close { choice: 0, index: call.index }));
            }
            _ => self.tell(Value::Object(map), out),
        }
        if self.open.as_ref().is_some_and(|open| open.at.item == item) {
            self.close(out);
        }
        self.heard.retain(|heard| heard.at.item != item);
    }

    pub(super) fn reasoning_done(&mut self, item: u32, map: Map<String, Value>, out: &mut Vec<Event>) {
        let is_told = self.heard.iter().any(|heard| heard.at.item == item && heard.told > 0);
        match reasoning(map) {
            Thought::OfCall(id, signature) => match self.calls.iter().find(|call| call.id == id) {
                Some(call) => out.push(Event::Delta { choice: 0, index: call.index, delta: Delta::Signature(signature) }),
                None => self.of_calls.push((id, signature)),
            },
            Thought::Block(thought) if thought.is_redacted => {
                let index = self.open(Opening::Whole(Box::new(Content::Reasoning(thought).into())), out);
                out.push(Event::Close { choice: 0, index });
            }
            Thought::Block(Reasoning { text, signature, id, .. }) => {
                if !is_told && (!text.is_empty() || signature.is_some()) {
                    let index = self.open(Opening::Reasoning { id }, out);
                    self.open = Some(Open { at: At { item, growing: Growing::Summary, part: 0 }, index });
                    if !text.is_empty() {
                        out.push(Event::Delta { choice: 0, index, delta: Delta::Reasoning(text) });
                    }
                }
                let open = self.open.as_ref().filter(|open| open.at.item == item).map(|open| open.index);
                out.extend(open.zip(signature).map(|(index, signature)| Event::Delta {
                    choice: 0,
                    index,
                    delta: Delta::Signature(signature),
                }));
            }
        }
    }

    /// Tells an item that comes in one piece, or that no event told before.
    pub(super) fn tell(&mut self, item: Value, out: &mut Vec<Event>) {
        let mut said = Said::default();
        said.take(item);
        for block in said.blocks {
            self.tell_block(block, out);
        }
        if !said.logprobs.is_empty() {
            out.push(Event::Logprobs { choice: 0, logprobs: said.logprobs });
        }
    }

    pub(super) fn tell_block(&mut self, block: Block, out: &mut Vec<Event>) {
        let index = self.open(Opening::Whole(Box::new(block)), out);
        out.push(Event::Close { choice: 0, index });
    }
}
