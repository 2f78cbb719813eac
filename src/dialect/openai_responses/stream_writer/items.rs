//! How items grow and end, and the events that tell it.

use super::Writer;
use super::events::{Told, emit};
use crate::dialect::ir::{Delta, Signature, TokenLogprob};
use crate::dialect::openai_responses::carried::Carried;
use crate::dialect::openai_responses::citation;
use crate::dialect::openai_responses::item::{Item, Logprob, Part};

// === impl Writer ===

impl Writer {
    pub(super) fn grow(&mut self, index: u32, delta: Delta, out: &mut Vec<u8>) {
        let Some(&(_, at)) = self.places.iter().rev().find(|(known, _)| *known == index) else { return };
        let Some(item) = self.items.get_mut(at) else { return };
        let mut told = Told { output_index: at, ..Told::default() };
        match (item, &delta) {
            (Item::Message { id, content, .. }, delta) => {
                told.item_id = Some(id);
                told.content_index = Some(content.len().saturating_sub(1));
                match (content.last_mut(), delta) {
                    (Some(Part::OutputText { text, .. }), Delta::Text(more)) => {
                        text.push_str(more);
                        told.kind = "response.output_text.delta";
                        told.delta = Some(more);
                        told.logprobs = Some(&[]);
                    }
                    (Some(Part::Refusal { refusal }), Delta::Refusal(more)) => {
                        refusal.push_str(more);
                        told.kind = "response.refusal.delta";
                        told.delta = Some(more);
                    }
                    (Some(Part::OutputText { text, annotations, .. }), Delta::Citation(cited)) => {
                        annotations.push(citation::write(cited, text.chars().count() as u64));
                        told.kind = "response.output_text.annotation.added";
                        told.annotation_index = Some(annotations.len() - 1);
                        told.annotation = annotations.last();
                    }
                    _ => return,
                }
            }
            (Item::Reasoning { id, summary, .. }, Delta::Reasoning(more)) => {
                if more.is_empty() {
                    return;
                }
                told.item_id = Some(id);
                told.summary_index = Some(0);
                if summary.is_empty() {
                    summary.push(Part::SummaryText { text: String::new() });
                    let kind = "response.reasoning_summary_part.added";
                    let added = Told {
                        kind,
                        part: summary.last(),
                        item_id: told.item_id,
                        output_index: at,
                        summary_index: Some(0),
                        ..Told::default()
                    };
                    emit(self.is_whole, &mut self.sequence, added, out);
                }
                if let Some(Part::SummaryText { text }) = summary.last_mut() {
                    text.push_str(more);
                }
                told.kind = "response.reasoning_summary_text.delta";
                told.delta = Some(more);
            }
            (Item::Reasoning { encrypted_content, .. }, Delta::Signature(signature)) => {
                let begun = encrypted_content.take();
                *encrypted_content = Some(match begun {
                    Some(begun) => begun + &signature.value,
                    None => Carried::Thought(signature.clone()).write(),
                });
                return;
            }
            (Item::FunctionCall { call_id, .. } | Item::CustomToolCall { call_id, .. }, Delta::Signature(signature)) => {
                let call_id = call_id.clone();
                return self.sign_call(call_id, signature.clone(), out);
            }
            (Item::FunctionCall { id, arguments, .. }, Delta::Arguments(more)) => {
                arguments.push_str(more);
                told.kind = "response.function_call_arguments.delta";
                told.item_id = Some(id);
                told.delta = Some(more);
            }
            (Item::CustomToolCall { id, input, .. }, Delta::Arguments(more)) => {
                input.push_str(more);
                told.kind = "response.custom_tool_call_input.delta";
                told.item_id = Some(id);
                told.delta = Some(more);
            }
            _ => return,
        }
        emit(self.is_whole, &mut self.sequence, told, out);
    }

    pub(super) fn sign_call(&mut self, call_id: String, signature: Signature, out: &mut Vec<u8>) {
        self.carry(&Carried::OfCall { call_id, signature }, out);
    }

    pub(super) fn finish_item(&mut self, at: usize, status: &'static str, out: &mut Vec<u8>) {
        let Some(item) = self.items.get_mut(at) else { return };
        let mut told = Told { output_index: at, ..Told::default() };
        match item {
            Item::Message { .. } => {
                self.close_part(at, out);
                return self.item_done(at, status, out);
            }
            Item::Reasoning { id, summary, .. } => {
                let Some(part @ Part::SummaryText { text }) = summary.last() else { return self.item_done(at, status, out) };
                let of_part = |kind| Told { kind, item_id: Some(id), output_index: at, summary_index: Some(0), ..Told::default() };
                let said = Told { text: Some(text), ..of_part("response.reasoning_summary_text.done") };
                emit(self.is_whole, &mut self.sequence, said, out);
                told = Told { part: Some(part), ..of_part("response.reasoning_summary_part.done") };
            }
            Item::FunctionCall { id, name, arguments, .. } => {
                if arguments.trim().is_empty() {
                    arguments.clear();
                    arguments.push_str("{}");
                    let delta = Told {
                        kind: "response.function_call_arguments.delta",
                        item_id: Some(id),
                        delta: Some("{}"),
                        output_index: at,
                        ..Told::default()
                    };
                    emit(self.is_whole, &mut self.sequence, delta, out);
                }
                told.kind = "response.function_call_arguments.done";
                told.item_id = Some(id);
                told.name = Some(name);
                told.arguments = Some(arguments);
            }
            Item::CustomToolCall { id, input, .. } => {
                told.kind = "response.custom_tool_call_input.done";
                told.item_id = Some(id);
                told.input = Some(input);
            }
            Item::ImageGenerationCall { .. } | Item::Native(_) => return self.item_done(at, status, out),
        }
        emit(self.is_whole, &mut self.sequence, told, out);
        self.item_done(at, status, out);
    }

    pub(super) fn close_part(&mut self, at: usize, out: &mut Vec<u8>) {
        let Some(Item::Message { id, content, .. }) = self.items.get(at) else { return };
        let Some(part) = content.last() else { return };
        let of_part = |kind| Told { kind, item_id: Some(id), output_index: at, content_index: Some(content.len() - 1), ..Told::default() };
        let said = match part {
            Part::OutputText { text, logprobs, .. } => {
                Told { text: Some(text), logprobs: Some(logprobs), ..of_part("response.output_text.done") }
            }
            Part::Refusal { refusal } => Told { refusal: Some(refusal), ..of_part("response.refusal.done") },
            // Stands in reasoning alone.
            Part::SummaryText { .. } => return,
        };
        emit(self.is_whole, &mut self.sequence, said, out);
        let told = Told { part: Some(part), ..of_part("response.content_part.done") };
        emit(self.is_whole, &mut self.sequence, told, out);
    }

    pub(super) fn item_done(&mut self, at: usize, status: &'static str, out: &mut Vec<u8>) {
        let Some(item) = self.items.get_mut(at) else { return };
        item.set_status(status);
        let told = Told { kind: "response.output_item.done", output_index: at, item: Some(item), ..Told::default() };
        emit(self.is_whole, &mut self.sequence, told, out);
    }

    /// Probabilities of the text that is open, told by an event that adds no text; of the last one where none is.
    pub(super) fn logprobs(&mut self, told: Vec<TokenLogprob>, out: &mut Vec<u8>) {
        let logprobs: Vec<Logprob> = told.into_iter().map(Logprob::from).collect();
        let is_text =
            |item: &Item| matches!(item, Item::Message { content, .. } if matches!(content.last(), Some(Part::OutputText { .. })));
        let Some(at) = self.message.or_else(|| self.items.iter().rposition(is_text)) else { return };
        let Some(Item::Message { id, content, .. }) = self.items.get_mut(at) else { return };
        let content_index = Some(content.len().saturating_sub(1));
        let Some(Part::OutputText { logprobs: all, .. }) = content.last_mut() else { return };
        if self.message == Some(at) {
            let kind = "response.output_text.delta";
            let logprobs = Some(logprobs.as_slice());
            let told = Told { kind, item_id: Some(id), output_index: at, content_index, delta: Some(""), logprobs, ..Told::default() };
            emit(self.is_whole, &mut self.sequence, told, out);
        }
        all.extend(logprobs);
    }
}
