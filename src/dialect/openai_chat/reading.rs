//! What an answer says, put together from its chunks; a whole answer is one chunk that says it all.

use serde_json::Value;
use serde_json::value::RawValue;

use super::loose::Said;
use super::reading_calls::Calls;
use super::shapes::{Audio, Choice, Chunk, Message};
use super::{citations, details, finish, logprobs, usage};
use crate::catalog::Dialect;
use crate::dialect::ir::{Blocks, Builtin, Content, Event, Finish, Media, MediaKind, MediaSource, Trouble, TroubleKind};
use crate::ledger::record::Usage;

/// So many choices are told at the most; no provider gives more.
const MOST_CHOICES: i64 = 128;

/// An answer between two chunks.
#[derive(Default)]
pub struct Reading {
    blocks: Blocks,
    choices: Vec<Track>,
    id: String,
    has_started: bool,
    has_ended: bool,
    /// The usage in the chunk that came last.
    newest: Option<Usage>,
    /// The usage that was told last.
    told: Option<Event>,
    /// Perplexity's lists as they came last.
    sources: [Option<Box<RawValue>>; 2],
}

/// A choice between two chunks.
struct Track {
    index: u32,
    calls: Calls,
    /// How the reasoning that is open has come so far.
    reasoning: Option<Pending>,
    has_said: bool,
    has_citations: bool,
    finish: Option<Finish>,
}

enum Pending {
    Field(&'static str),
    Detail(serde_json::Map<String, Value>),
}

// === impl Reading ===

impl Reading {
    /// Takes a chunk, whose bytes are `json`.
    pub fn take(&mut self, chunk: Chunk<'_>, json: &[u8], out: &mut Vec<Event>) {
        if self.has_ended {
            return;
        }
        if is_error(&chunk) {
            return self.fail(trouble(json), out);
        }
        let choices = chunk.choices.unwrap_or_default();
        if !self.has_started && (!choices.is_empty() || chunk.id.as_deref().is_some_and(|id| !id.is_empty())) {
            self.start(chunk.id.unwrap_or_default(), chunk.model.unwrap_or_default(), chunk.created.unwrap_or(0), out);
        }
        for (told, kept) in [chunk.search_results, chunk.citations].into_iter().zip(&mut self.sources) {
            if let Some(told) = told.filter(|told| told.get() != "null") {
                *kept = Some(told.to_owned());
            }
        }
        let mut usages = vec![chunk.usage, chunk.x_groq.and_then(|groq| groq.usage)];
        let is_whole = chunk.object.as_deref() == Some("chat.completion");
        for (position, choice) in (0..).zip(choices) {
            usages.push(choice.usage);
            let index = choice.index.filter(|_| !is_whole).unwrap_or(position);
            if (0..MOST_CHOICES).contains(&index) {
                self.choice(index as u32, choice, out);
            }
        }
        let usage = usages.into_iter().flatten().find_map(|told| usage::parse(told.get().as_bytes()));
        self.newest = usage;
        self.tell_usage(self.has_finished(), out);
    }

    fn tell_usage(&mut self, is_last: bool, out: &mut Vec<Event>) {
        let told = self.newest.map(if is_last { Event::Usage } else { Event::UsageSoFar });
        if let Some(told) = told.filter(|told| self.told.as_ref() != Some(told)) {
            self.told = Some(told.clone());
            out.push(told);
        }
    }

    /// The answer has come to its end.
    pub fn end(&mut self, out: &mut Vec<Event>) {
        if self.has_ended {
            return;
        }
        self.has_ended = true;
        if !self.has_started {
            self.start(String::new(), String::new(), 0, out);
        }
        let [results, urls] = &self.sources;
        let mut sources = citations::of_sources(results.as_deref().map(RawValue::get), urls.as_deref().map(RawValue::get));
        for track in &mut self.choices {
            track.close_reasoning(&mut self.blocks, out);
            if track.has_said && !track.has_citations {
                sources.drain(..).for_each(|citation| self.blocks.citation(track.index, citation, out));
            }
            track.calls.complete(track.index, &mut self.blocks, out);
            self.blocks.close_all(track.index, out);
            let finish = track.finish.take().unwrap_or_default();
            // Some say `stop` where they want tools called.
            let finish = if finish == Finish::Stop && !track.calls.is_empty() { Finish::ToolCalls } else { finish };
            out.push(Event::Finish { choice: track.index, finish });
        }
        // What came last is of all of it, also where nothing has said why it ended.
        self.tell_usage(true, out);
        out.push(Event::End);
    }

    /// The provider tells an error.
    pub fn fail(&mut self, trouble: Trouble, out: &mut Vec<Event>) {
        if !self.has_ended {
            self.has_ended = true;
            out.push(Event::Trouble(trouble));
        }
    }

    /// Whether every choice has said why it ended.
    pub fn has_finished(&self) -> bool {
        !self.choices.is_empty() && self.choices.iter().all(|track| track.finish.is_some())
    }

    fn start(&mut self, id: String, model: String, created: i64, out: &mut Vec<Event>) {
        self.has_started = true;
        self.id.clone_from(&id);
        out.push(Event::Start { id, model, created });
    }

    fn choice(&mut self, index: u32, choice: Choice<'_>, out: &mut Vec<Event>) {
        let Reading { blocks, choices, id, .. } = self;
        let at = choices.iter().position(|track| track.index == index).unwrap_or_else(|| {
            choices.push(Track::new(index));
            choices.len() - 1
        });
        let track = &mut choices[at];
        let is_whole = choice.delta.is_none();
        // Perplexity repeats all of the message beside each delta.
        let message = choice.delta.or(choice.message.filter(|_| !track.has_said)).unwrap_or_default();
        track.message(message, is_whole, id, blocks, out);
        if let Some(told) = choice.logprobs.filter(|told| told.get() != "null") {
            let logprobs = logprobs::read(told.get());
            if !logprobs.is_empty() {
                out.push(Event::Logprobs { choice: index, logprobs });
            }
        }
        if track.finish.is_none() {
            let sequence = choice.stop_reason.and_then(|told| serde_json::from_str::<String>(told.get()).ok());
            track.finish = choice.finish_reason.as_deref().and_then(finish::read);
            if let (Some(Finish::Stop), Some(sequence)) = (&track.finish, sequence) {
                track.finish = Some(Finish::StopSequence(sequence));
            }
        }
    }
}

fn is_error(chunk: &Chunk<'_>) -> bool {
    let in_choice = chunk.choices.iter().flatten().filter_map(|choice| choice.error);
    let told = chunk.error.into_iter().chain(chunk.x_groq.as_ref().and_then(|groq| groq.error)).chain(in_choice);
    let is_told = |told: &RawValue| !matches!(told.get(), "null" | "false" | "\"\"" | "{}");
    told.into_iter().any(is_told) || chunk.object.as_deref() == Some("error")
}

/// The error that a chunk or a whole answer is.
pub fn trouble(json: &[u8]) -> Trouble {
    let value: Value = serde_json::from_slice(json).unwrap_or_default();
    let in_choice = value.pointer("/choices/0/error").or(value.pointer("/x_groq/error")).filter(|error| !error.is_null());
    let error = value.get("error").filter(|error| !error.is_null()).or(in_choice).unwrap_or(&value);
    let status = ["status_code", "code", "status"].iter().find_map(|name| match error.get(*name)? {
        Value::String(text) => text.parse().ok(),
        number => number.as_u64(),
    });
    let status = status.and_then(|status| u16::try_from(status).ok()).filter(|status| (400..600).contains(status));
    let kind = error.get("type").and_then(Value::as_str).unwrap_or_default();
    let status = status.unwrap_or(match kind {
        "invalid_request_error" | "invalid_request" => 400,
        "rate_limit_error" | "rate_limit_exceeded" | "tokens" | "requests" => 429,
        "overloaded_error" => 503,
        _ => 500,
    });
    let read = crate::dialect::trouble::read(status, error.to_string().as_bytes());
    let message = if error.is_string() { error.as_str().unwrap_or_default().to_owned() } else { read.message };
    Trouble { kind: TroubleKind::of_status(status), message, ..read }
}

// === impl Track ===

impl Track {
    fn new(index: u32) -> Track {
        Track { index, calls: Calls::default(), reasoning: None, has_said: false, has_citations: false, finish: None }
    }

    fn message(&mut self, message: Message<'_>, is_whole: bool, id: &str, blocks: &mut Blocks, out: &mut Vec<Event>) {
        let index = self.index;
        self.reasoning(&message, blocks, out);
        match message.content {
            Some(Said::Text(text)) => self.text(text, blocks, out),
            Some(Said::Parts(parts)) => parts.into_iter().for_each(|part| self.part(part, blocks, out)),
            None => {}
        }
        if let Some(Audio { data, transcript }) = message.audio {
            // A message may tell its words in both ways.
            self.text(transcript.filter(|_| !is_whole || !self.has_said).unwrap_or_default(), blocks, out);
            // Sound comes in pieces that make no file of their own: of a stream the words alone are told.
            if let Some(data) = data.filter(|data| is_whole && !data.is_empty()) {
                self.close_reasoning(blocks, out);
                blocks.whole(index, Content::Media(Media::new(MediaKind::Audio, MediaSource::Base64(data), None)).into(), out);
            }
        }
        if let Some(told) = message.annotations.filter(|told| told.get() != "null") {
            let (cited, others) = citations::read(told.get());
            if !cited.is_empty() || !others.is_empty() {
                self.close_reasoning(blocks, out);
            }
            self.has_citations |= !cited.is_empty();
            cited.into_iter().for_each(|citation| blocks.citation(index, citation, out));
            others.into_iter().for_each(|other| blocks.whole(index, other, out));
        }
        if let Some(refusal) = message.refusal.filter(|refusal| !refusal.is_empty()) {
            self.close_reasoning(blocks, out);
            self.has_said = true;
            blocks.refusal(index, refusal, out);
        }
        for image in list(message.images) {
            if let Some(url) = image.get("image_url").and_then(|inner| inner.as_str().or_else(|| inner.get("url")?.as_str())) {
                self.close_reasoning(blocks, out);
                blocks.whole(index, Content::Media(Media::from_url(MediaKind::Image, url)).into(), out);
            }
        }
        for value in list(message.executed_tools) {
            let kind = super::request::builtin_kind(value.get("type").and_then(Value::as_str).unwrap_or_default());
            self.close_reasoning(blocks, out);
            blocks.whole(index, Content::Builtin(Builtin { kind, of: Dialect::OpenaiChat, value }).into(), out);
        }
        let legacy = message.function_call.into_iter().map(super::reading_calls::legacy);
        for call in message.tool_calls.unwrap_or_default().into_iter().chain(legacy) {
            self.close_reasoning(blocks, out);
            self.calls.take(call, index, id, blocks, out);
        }
    }

    fn text(&mut self, text: String, blocks: &mut Blocks, out: &mut Vec<Event>) {
        if !text.is_empty() {
            self.close_reasoning(blocks, out);
            self.has_said = true;
            blocks.text(self.index, text, out);
        }
    }

    /// A part of Mistral's content.
    fn part(&mut self, part: Value, blocks: &mut Blocks, out: &mut Vec<Event>) {
        match part.get("type").and_then(Value::as_str) {
            Some("thinking") => self.say_reasoning(details::chunk_text(&part).unwrap_or_default(), "thinking", blocks, out),
            Some("reference") => {
                self.close_reasoning(blocks, out);
                blocks.citation(self.index, citations::of_reference(part), out);
            }
            _ => match super::request::part(part).content {
                Content::Text { text, .. } => self.text(text, blocks, out),
                other => {
                    self.close_reasoning(blocks, out);
                    blocks.whole(self.index, other.into(), out);
                }
            },
        }
    }

    fn reasoning(&mut self, message: &Message<'_>, blocks: &mut Blocks, out: &mut Vec<Event>) {
        let mut details: Vec<details::Detail> = list(message.reasoning_details).into_iter().filter_map(details::Detail::read).collect();
        let is_told = details.iter().any(|detail| !detail.text.is_empty());
        let texts = [(details::FIELDS[0], &message.reasoning_content), (details::FIELDS[1], &message.reasoning)];
        let said = texts.into_iter().find_map(|(field, text)| text.as_ref().filter(|text| !text.is_empty()).map(|text| (field, text)));
        if let Some((field, text)) = said.filter(|_| !is_told) {
            // A text whose detail comes without it belongs to that detail.
            match details.iter_mut().find(|detail| !detail.is_redacted) {
                Some(bare) => bare.text.clone_from(text),
                None => self.say_reasoning(text.clone(), field, blocks, out),
            }
        }
        details.into_iter().for_each(|detail| self.detail(detail, blocks, out));
    }

    fn say_reasoning(&mut self, text: String, field: &'static str, blocks: &mut Blocks, out: &mut Vec<Event>) {
        if !text.is_empty() {
            self.reasoning.get_or_insert(Pending::Field(field));
            blocks.reasoning(self.index, text, out);
        }
    }

    fn detail(&mut self, detail: details::Detail, blocks: &mut Blocks, out: &mut Vec<Event>) {
        if detail.is_redacted {
            self.close_reasoning(blocks, out);
            return blocks.whole(self.index, Content::Reasoning(detail.into_reasoning()).into(), out);
        }
        if matches!(&self.reasoning, Some(Pending::Detail(mark)) if !detail.continues(mark)) {
            self.close_reasoning(blocks, out);
            blocks.close(self.index, out);
        }
        match &mut self.reasoning {
            Some(Pending::Detail(mark)) => mark.extend(detail.mark),
            other => *other = Some(Pending::Detail(detail.mark)),
        }
        if !detail.text.is_empty() {
            blocks.reasoning(self.index, detail.text, out);
        }
    }

    /// Tells how the reasoning that was open came, so that it can go back so.
    fn close_reasoning(&mut self, blocks: &mut Blocks, out: &mut Vec<Event>) {
        match self.reasoning.take() {
            None => {}
            Some(Pending::Field(field)) => blocks.signature(self.index, details::mark_of(field), out),
            Some(Pending::Detail(mark)) => blocks.signature(self.index, details::signature_of(&mark), out),
        }
    }
}

fn list(json: Option<&RawValue>) -> Vec<Value> {
    json.filter(|json| json.get() != "null").and_then(|json| serde_json::from_str(json.get()).ok()).unwrap_or_default()
}
