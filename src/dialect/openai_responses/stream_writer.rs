//! Writes a stream: the documented sequence of events for each item and part, and the response as a whole at its beginning and end.
//!
//! The last event repeats the whole answer, so what was said is kept until then: that much the dialect demands.
//! Source: `ResponseStreamEvent` of OpenAI's API reference.

use bytes::Bytes;
use ring::rand::{SecureRandom, SystemRandom};
use serde::Serialize;
use serde_json::Value;

use super::carried::Carried;
use super::envelope::{Envelope, Status, ending, now};
use super::item::{Item, Logprob, Part};
use super::{citation, native};
use crate::catalog::Dialect;
use crate::dialect::ir::{
    Answer, Block, Builtin, Content, Delta, Dropped, Event, Finish, MediaKind, MediaSource, Opening, Signature, TokenLogprob, Trouble,
    TroubleKind,
};
use crate::dialect::{Asked, StreamWriter};
use crate::ledger::record::Usage;

/// One answer on its way out.
pub struct Writer {
    envelope: Envelope,
    /// The caller's name of the model, for where the provider has none.
    model: String,
    is_begun: bool,
    /// Only the whole answer is wanted.
    is_whole: bool,
    /// What ids of items are made with.
    base: String,
    sequence: u64,
    items: Vec<Item>,
    /// The item that each open block of the stream is of.
    places: Vec<(u32, usize)>,
    /// The message whose last part is open.
    message: Option<usize>,
    finish: Finish,
    usage: Option<Usage>,
    /// What the dialect has no item for.
    dropped: Dropped,
}

/// An event about an item; each kind has some of the members.
#[derive(Default, Serialize)]
struct Told<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    sequence_number: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    item_id: Option<&'a str>,
    output_index: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_index: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    summary_index: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    annotation_index: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delta: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refusal: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    arguments: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    input: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    logprobs: Option<&'a [Logprob]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    annotation: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    part: Option<&'a Part>,
    #[serde(skip_serializing_if = "Option::is_none")]
    item: Option<&'a Item>,
}

#[derive(Serialize)]
struct Failed<'a> {
    r#type: &'static str,
    sequence_number: u64,
    code: &'a str,
    message: &'a str,
    param: Option<&'a str>,
    /// The SDKs raise what stands here.
    error: FailedObject<'a>,
}

#[derive(Serialize)]
struct FailedObject<'a> {
    r#type: &'a str,
    code: &'a str,
    message: &'a str,
    param: Option<&'a str>,
}

// === impl Writer ===

impl Writer {
    /// For a stream.
    pub fn new(asked: &Asked) -> Writer {
        Writer {
            envelope: Envelope::new(asked),
            model: asked.request.model.clone(),
            is_begun: false,
            is_whole: false,
            base: String::new(),
            sequence: 0,
            items: Vec::new(),
            places: Vec::new(),
            message: None,
            finish: Finish::Stop,
            usage: None,
            dropped: Dropped::default(),
        }
    }

    fn begin(&mut self, id: &str, model: String, created: i64, out: &mut Vec<u8>) {
        if self.is_begun {
            return;
        }
        self.is_begun = true;
        self.base = base(id);
        self.envelope.id = if id.starts_with("resp_") { id.to_owned() } else { format!("resp_kw_{}", self.base) };
        self.envelope.model = if model.is_empty() { std::mem::take(&mut self.model) } else { model };
        self.envelope.created = if created == 0 { now() } else { created };
        self.whole_event("response.created", Status::InProgress, out);
        self.whole_event("response.in_progress", Status::InProgress, out);
    }

    fn open(&mut self, index: u32, opening: Opening, out: &mut Vec<u8>) {
        match opening {
            Opening::Text => {
                self.open_part(index, Part::OutputText { text: String::new(), annotations: Vec::new(), logprobs: Vec::new() }, out)
            }
            Opening::Refusal => self.open_part(index, Part::Refusal { refusal: String::new() }, out),
            Opening::Reasoning { id } => {
                let id = id.unwrap_or_else(|| self.item_id("rs"));
                let item = Item::Reasoning { id, summary: Vec::new(), encrypted_content: None };
                self.open_item(Some(index), item, out);
            }
            Opening::ToolCall { id, name, is_custom, signature } => {
                if let Some(signature) = signature {
                    self.carry(&Carried::OfCall { call_id: id.clone(), signature }, out);
                }
                let (arguments, status) = (String::new(), "in_progress");
                let item = match is_custom {
                    true => Item::CustomToolCall { id: self.item_id("ctc"), call_id: id, name, input: arguments, status },
                    false => Item::FunctionCall { id: self.item_id("fc"), call_id: id, name, arguments, status },
                };
                self.open_item(Some(index), item, out);
            }
            Opening::Whole(block) => self.whole_block(*block, out),
        }
    }

    fn open_item(&mut self, index: Option<u32>, item: Item, out: &mut Vec<u8>) -> usize {
        self.close_message("completed", out);
        let at = self.items.len();
        self.items.push(item);
        self.places.extend(index.map(|index| (index, at)));
        let told = Told { kind: "response.output_item.added", output_index: at, item: self.items.last(), ..Told::default() };
        emit(self.is_whole, &mut self.sequence, told, out);
        at
    }

    /// A part of the message that is open, or of a new one.
    fn open_part(&mut self, index: u32, part: Part, out: &mut Vec<u8>) {
        let at = match self.message {
            Some(at) => {
                self.close_part(at, out);
                self.places.push((index, at));
                at
            }
            None => {
                let item = Item::Message { id: self.item_id("msg"), status: "in_progress", role: "assistant", content: Vec::new() };
                self.open_item(Some(index), item, out)
            }
        };
        self.message = Some(at);
        let Some(Item::Message { id, content, .. }) = self.items.get_mut(at) else { return };
        content.push(part);
        let told = Told {
            kind: "response.content_part.added",
            item_id: Some(id),
            output_index: at,
            content_index: Some(content.len() - 1),
            part: content.last(),
            ..Told::default()
        };
        emit(self.is_whole, &mut self.sequence, told, out);
    }

    fn whole_block(&mut self, block: Block, out: &mut Vec<u8>) {
        let of = Dialect::OpenaiResponses;
        match block.content {
            Content::Media(media) if media.kind == MediaKind::Image => match media.source {
                MediaSource::Base64(result) => {
                    let output_format =
                        media.media_type.as_deref().and_then(|kind| kind.strip_prefix("image/")).unwrap_or("png").to_owned();
                    let item = Item::ImageGenerationCall { id: self.item_id("ig"), status: "in_progress", result, output_format };
                    self.whole_item(item, out);
                }
                _ => self.dropped.note("image"),
            },
            Content::Reasoning(reasoning) => match reasoning.signature {
                Some(signature) => self.carry(&Carried::Redacted(signature), out),
                None => self.dropped.note("reasoning"),
            },
            Content::Builtin(Builtin { of: owner, value, .. }) | Content::Other { of: owner, value } if owner == of => {
                self.whole_item(Item::Native(value), out);
            }
            Content::Builtin(builtin) => match native::of_foreign(&builtin, |prefix| self.item_id(prefix)) {
                Some(value) => self.whole_item(Item::Native(value), out),
                None => self.dropped.note("builtin"),
            },
            _ => self.dropped.note("content"),
        }
    }

    fn whole_item(&mut self, item: Item, out: &mut Vec<u8>) {
        let at = self.open_item(None, item, out);
        self.item_done(at, "completed", out);
    }

    /// A reasoning item that says nothing itself.
    fn carry(&mut self, carried: &Carried, out: &mut Vec<u8>) {
        let item = Item::Reasoning { id: self.item_id("rs"), summary: Vec::new(), encrypted_content: Some(carried.write()) };
        self.whole_item(item, out);
    }

    fn grow(&mut self, index: u32, delta: Delta, out: &mut Vec<u8>) {
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

    fn sign_call(&mut self, call_id: String, signature: Signature, out: &mut Vec<u8>) {
        self.carry(&Carried::OfCall { call_id, signature }, out);
    }

    /// The block has ended; a message stays open, since more text may follow and its probabilities are told after it.
    fn close(&mut self, index: u32, out: &mut Vec<u8>) {
        let Some(place) = self.places.iter().rposition(|(known, _)| *known == index) else { return };
        let (_, at) = self.places.swap_remove(place);
        if self.message != Some(at) {
            self.finish_item(at, "completed", out);
        }
    }

    fn close_message(&mut self, status: &'static str, out: &mut Vec<u8>) {
        if let Some(at) = self.message.take() {
            self.places.retain(|(_, place)| *place != at);
            self.finish_item(at, status, out);
        }
    }

    fn finish_item(&mut self, at: usize, status: &'static str, out: &mut Vec<u8>) {
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

    fn close_part(&mut self, at: usize, out: &mut Vec<u8>) {
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

    fn item_done(&mut self, at: usize, status: &'static str, out: &mut Vec<u8>) {
        let Some(item) = self.items.get_mut(at) else { return };
        item.set_status(status);
        let told = Told { kind: "response.output_item.done", output_index: at, item: Some(item), ..Told::default() };
        emit(self.is_whole, &mut self.sequence, told, out);
    }

    /// Probabilities of the text that is open, told by an event that adds no text; of the last one where none is.
    fn logprobs(&mut self, told: Vec<TokenLogprob>, out: &mut Vec<u8>) {
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

    fn finish(&mut self, finish: Finish, out: &mut Vec<u8>) {
        let status = if ending(&finish).0 == "completed" { "completed" } else { "incomplete" };
        self.finish = finish;
        self.close_message(status, out);
        for (_, at) in std::mem::take(&mut self.places) {
            self.finish_item(at, status, out);
        }
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        self.begin("", String::new(), 0, out);
        let finish = std::mem::take(&mut self.finish);
        self.finish(finish, out);
        let finish = std::mem::take(&mut self.finish);
        let (kind, status) = match (ending(&finish).0, &finish) {
            ("failed", _) => {
                let message = "The provider says no more than that it failed.";
                ("response.failed", Status::Failed { code: "server_error", message })
            }
            ("incomplete", finish) => ("response.incomplete", Status::Ended(finish)),
            (_, finish) => ("response.completed", Status::Ended(finish)),
        };
        match self.is_whole {
            true => self.envelope.write(status, &self.items, self.usage.as_ref(), out),
            false => self.whole_event(kind, status, out),
        }
    }

    fn trouble(&mut self, trouble: &Trouble, out: &mut Vec<u8>) {
        self.begin("", String::new(), 0, out);
        let kind = name_of(trouble.kind);
        let code = trouble.code.as_deref().unwrap_or(kind);
        let (message, param) = (trouble.message.as_str(), trouble.param.as_deref());
        let error = FailedObject { r#type: kind, code, message, param };
        let failed = Failed { r#type: "error", sequence_number: self.sequence, code, message, param, error };
        self.sequence += 1;
        write_event("error", &failed, out);
        self.whole_event("response.failed", Status::Failed { code, message }, out);
    }

    /// An event with the response in it.
    fn whole_event(&mut self, kind: &'static str, status: Status<'_>, out: &mut Vec<u8>) {
        if self.is_whole {
            return;
        }
        let number = self.sequence;
        self.sequence += 1;
        let head = format!("event: {kind}\ndata: {{\"type\":\"{kind}\",\"sequence_number\":{number},\"response\":");
        out.extend_from_slice(head.as_bytes());
        self.envelope.write(status, &self.items, self.usage.as_ref(), out);
        out.extend_from_slice(b"}\n\n");
    }

    /// An id for the item that comes next.
    fn item_id(&self, prefix: &str) -> String {
        format!("{prefix}_{}_{}", self.base, self.items.len())
    }
}

/// Writes a whole answer: what the last event of its stream would tell.
pub fn whole(answer: Answer, asked: &Asked, dropped: &mut Dropped) -> Bytes {
    let mut writer = Writer { is_whole: true, ..Writer::new(asked) };
    let mut out = Vec::new();
    writer.envelope.service_tier.clone_from(&answer.service_tier);
    answer.into_events().into_iter().for_each(|event| writer.write(event, &mut out));
    writer.dropped.names().for_each(|name| dropped.note(name.to_owned()));
    Bytes::from(out)
}

impl StreamWriter for Writer {
    fn write(&mut self, event: Event, out: &mut Vec<u8>) {
        match event {
            Event::Start { id, model, created } => return self.begin(&id, model, created, out),
            Event::Usage(usage) => return self.usage = Some(usage),
            Event::End => return self.end(out),
            Event::Trouble(trouble) => return self.trouble(&trouble, out),
            _ => self.begin("", String::new(), 0, out),
        }
        match event {
            // There is one choice, and nowhere to tell another.
            Event::Open { choice: 1.., .. } | Event::Finish { choice: 1.., .. } => self.dropped.note("n"),
            Event::Open { index, opening, .. } => self.open(index, opening, out),
            Event::Delta { choice: 0, index, delta } => self.grow(index, delta, out),
            Event::Close { choice: 0, index } => self.close(index, out),
            Event::Logprobs { choice: 0, logprobs } => self.logprobs(logprobs, out),
            Event::Finish { finish, .. } => self.finish(finish, out),
            _ => {}
        }
    }
}

fn emit(is_whole: bool, sequence: &mut u64, told: Told<'_>, out: &mut Vec<u8>) {
    if !is_whole {
        let told = Told { sequence_number: *sequence, ..told };
        *sequence += 1;
        write_event(told.kind, &told, out);
    }
}

fn write_event(kind: &str, data: &impl Serialize, out: &mut Vec<u8>) {
    out.extend_from_slice(b"event: ");
    out.extend_from_slice(kind.as_bytes());
    out.extend_from_slice(b"\ndata: ");
    // Writing into memory does not fail: the values are texts and numbers.
    let _ = serde_json::to_writer(&mut *out, data);
    out.extend_from_slice(b"\n\n");
}

/// What ids are made with: the provider's own id, or chance where it gives none.
fn base(id: &str) -> String {
    let own: String = id.trim_start_matches("resp_").chars().filter(|c| c.is_ascii_alphanumeric() || "_-".contains(*c)).take(96).collect();
    if !own.is_empty() {
        return own;
    }
    let mut bytes = [0; 12];
    let _ = SystemRandom::new().fill(&mut bytes);
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn name_of(kind: TroubleKind) -> &'static str {
    match kind {
        TroubleKind::Invalid | TroubleKind::TooLarge | TroubleKind::NotFound => "invalid_request_error",
        TroubleKind::Authentication => "authentication_error",
        TroubleKind::Permission => "permission_error",
        TroubleKind::RateLimit => "rate_limit_exceeded",
        TroubleKind::Overloaded | TroubleKind::Timeout | TroubleKind::Server => "server_error",
    }
}
