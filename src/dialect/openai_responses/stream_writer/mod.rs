//! Writes a stream: the documented sequence of events for each item and part, and the response as a whole at its beginning and end.
//!
//! The last event repeats the whole answer, so what was said is kept until then: that much the dialect demands.
//! Source: `ResponseStreamEvent` of OpenAI's API reference.

mod events;
mod items;

use bytes::Bytes;
use ring::rand::{SecureRandom, SystemRandom};

use self::events::{Failed, FailedObject, Told, emit, name_of, write_event};
use super::carried::Carried;
use super::envelope::{Envelope, Status, ending, now};
use super::item::{Item, Part};
use super::native;
use crate::catalog::Dialect;
use crate::dialect::ir::{Answer, Block, Builtin, Content, Dropped, Event, Finish, MediaKind, MediaSource, Opening, Trouble};
use crate::dialect::{Asked, StreamWriter};
use crate::hex::hex;
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
            Event::Usage(usage) | Event::UsageSoFar(usage) => return self.usage = Some(usage),
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

/// What ids are made with: the provider's own id, or chance where it gives none.
fn base(id: &str) -> String {
    let own: String = id.trim_start_matches("resp_").chars().filter(|c| c.is_ascii_alphanumeric() || "_-".contains(*c)).take(96).collect();
    if !own.is_empty() {
        return own;
    }
    let mut bytes = [0; 12];
    let _ = SystemRandom::new().fill(&mut bytes);
    hex(&bytes)
}
