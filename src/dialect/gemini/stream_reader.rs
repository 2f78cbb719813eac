//! Reads answers: each chunk of a stream as it comes, a whole answer as a stream of one.

use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::chunk::{Candidate, Chunk, FunctionCall, Part, Text, compact};
use super::grounding::{Said, citations, of_source};
use super::partial::Partial;
use super::{carry, finish, media};
use crate::catalog::Dialect;
use crate::dialect::StreamReader;
use crate::dialect::frame::Sse;
use crate::dialect::ir::{
    Block, Blocks, Builtin, BuiltinKind, Content, Event, Finish, Media, MediaSource, Opening, Signature, TokenLogprob,
};
use crate::dialect::trouble::of_broken_event;

/// A stream between two of its chunks.
#[derive(Debug, Default)]
pub struct Reader {
    sse: Sse,
    state: State,
}

/// What was read so far of an answer.
#[derive(Debug, Default)]
pub struct State {
    blocks: Blocks,
    tracks: Vec<Track>,
    is_started: bool,
    has_failed: bool,
    /// What ids are made of where the provider gives none.
    id: String,
    /// Tool calls so far, all choices together.
    calls: u64,
}

#[derive(Debug, Default)]
struct Track {
    choice: u32,
    finish: Option<String>,
    has_calls: bool,
    partial: Option<(u64, Partial)>,
    said: Said,
    text_is_open: bool,
    grounding: Option<Value>,
    fetched: Option<Value>,
    cited: Vec<Cited>,
}

/// A source and the place in the text that rests on it.
#[derive(Debug, PartialEq)]
struct Cited {
    source: Option<String>,
    span: Option<(u64, u64)>,
}

// === impl Reader ===

impl StreamReader for Reader {
    fn push(&mut self, bytes: &[u8], out: &mut Vec<Event>) {
        let Reader { sse, state } = self;
        sse.push(bytes, |event| state.event(&event.data, out));
    }

    fn finish(&mut self, out: &mut Vec<Event>) {
        let Reader { sse, state } = self;
        sse.finish(|event| state.event(&event.data, out));
        if state.has_ended() {
            state.finish(out);
        }
    }
}

// === impl State ===

impl State {
    fn event(&mut self, data: &[u8], out: &mut Vec<Event>) {
        if data.is_empty() || self.has_failed {
            return;
        }
        match serde_json::from_slice::<Chunk<'_>>(data) {
            Ok(chunk) => self.take(chunk, out),
            // JSON that is no chunk is passed over: the stream's end tells whether an answer came.
            Err(_) => {
                if let Some(trouble) = of_broken_event(data) {
                    self.has_failed = true;
                    out.push(Event::Trouble(trouble));
                }
            }
        }
    }

    /// Whether the provider said why it ended.
    pub fn has_ended(&self) -> bool {
        !self.has_failed && self.tracks.iter().any(|track| track.finish.is_some())
    }

    /// Takes a chunk, or a whole answer.
    pub fn take(&mut self, chunk: Chunk<'_>, out: &mut Vec<Event>) {
        if let Some(error) = chunk.error {
            self.has_failed = true;
            let code = serde_json::from_str::<Value>(error.get()).ok().and_then(|error| error.get("code")?.as_u64());
            let status = code.and_then(|code| u16::try_from(code).ok()).unwrap_or(500);
            let body = format!("{{\"error\":{}}}", error.get());
            out.push(Event::Trouble(crate::dialect::trouble::read(status, body.as_bytes())));
            return;
        }
        self.start(&chunk, out);
        if let Some(usage) = chunk.usage_metadata.as_ref().and_then(|reported| reported.usage()) {
            out.push(if self.has_ended() || chunk.says_why_it_ended() { Event::Usage(usage) } else { Event::UsageSoFar(usage) });
        }
        for candidate in chunk.candidates.into_iter().flatten() {
            self.candidate(candidate, out);
        }
        if chunk.prompt_feedback.is_some_and(|feedback| feedback.block_reason.is_some()) {
            self.track(0).finish.get_or_insert_with(|| "PROHIBITED_CONTENT".to_owned());
        }
    }

    fn start(&mut self, chunk: &Chunk<'_>, out: &mut Vec<Event>) {
        if std::mem::replace(&mut self.is_started, true) {
            return;
        }
        let text = |text: &Option<Text<'_>>| text.as_ref().map(|text| text.0.to_string()).unwrap_or_default();
        let id = text(&chunk.response_id);
        let created = text(&chunk.create_time).parse::<jiff::Timestamp>().map_or(0, jiff::Timestamp::as_second);
        self.id = id.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_')).collect();
        if self.id.is_empty() {
            self.id = format!("{:x}", jiff::Timestamp::now().as_nanosecond());
        }
        out.push(Event::Start { id, model: text(&chunk.model_version), created });
    }

    fn candidate(&mut self, candidate: Candidate<'_>, out: &mut Vec<Event>) {
        let choice = candidate.index.unwrap_or(0);
        let raw_parts = candidate.content.and_then(|content| content.parts).unwrap_or_default();
        let parts: Vec<(&RawValue, Option<Part<'_>>)> =
            raw_parts.into_iter().map(|raw| (raw, serde_json::from_str(raw.get()).ok())).collect();
        let grounding = candidate.grounding_metadata.and_then(told);
        let sources = candidate.citation_metadata.map(|metadata| {
            let sources = metadata.citation_sources.or(metadata.citations).unwrap_or_default();
            sources.into_iter().filter(Value::is_object).collect::<Vec<_>>()
        });
        let is_text = |(_, part): &(&RawValue, Option<Part<'_>>)| part.as_ref().is_some_and(|part| part.is_said());
        // What is cited is told while the text that cites it is open.
        let cite_at = parts.iter().rposition(is_text);
        let mut cite = Some((grounding, sources.unwrap_or_default()));
        if cite_at.is_none() {
            cite.take().into_iter().for_each(|(grounding, sources)| self.cite(choice, grounding, sources, out));
        }
        for (at, (raw, part)) in parts.into_iter().enumerate() {
            match part {
                Some(part) => {
                    let cited = if cite_at == Some(at) { cite.take() } else { None };
                    self.part(choice, part, raw, cited, out);
                }
                None => self.other(choice, raw, out),
            }
        }
        if let Some(logprobs) = candidate.logprobs_result.map(super::logprobs::read).filter(|list: &Vec<TokenLogprob>| !list.is_empty()) {
            out.push(Event::Logprobs { choice, logprobs });
        }
        let fetched = candidate.url_context_metadata.and_then(told);
        let track = self.track(choice);
        track.fetched = fetched.or(track.fetched.take());
        if let Some(Text(reason)) = candidate.finish_reason.filter(|Text(reason)| !reason.is_empty()) {
            track.finish = Some(reason.into_owned());
        }
    }

    fn part(&mut self, choice: u32, part: Part<'_>, raw: &RawValue, cited: Option<(Option<Value>, Vec<Value>)>, out: &mut Vec<Event>) {
        let is_thought = part.thought == Some(true);
        let carried = part.thought_signature.map(|Text(text)| text).filter(|text| !text.is_empty()).map(|text| carry::read(&text));
        if let Some(call) = part.function_call {
            let signature = carried.and_then(|carried| carried.signature);
            self.call(choice, call, signature, out);
            return;
        }
        match (part.text, part.inline_data) {
            (Some(Text(text)), _) if is_thought => {
                self.not_text(choice);
                if let Some(redacted) = carried.as_ref().filter(|carried| carried.is_redacted) {
                    self.blocks.whole(choice, Content::Reasoning(redacted.clone()).into(), out);
                    return;
                }
                if !text.is_empty() {
                    self.blocks.reasoning(choice, text, out);
                }
            }
            (Some(Text(text)), _) => {
                if !text.is_empty() {
                    let track = self.track(choice);
                    if !std::mem::replace(&mut track.text_is_open, true) {
                        track.said = Said::default();
                    }
                    track.said.add(&text);
                    self.blocks.text(choice, text, out);
                }
            }
            (None, Some(data)) if !is_thought => {
                self.not_text(choice);
                let media_type = data.mime_type.map(|Text(text)| text.into_owned());
                let source = MediaSource::Base64(carry::standard(&data.data.map(|Text(text)| text).unwrap_or_default()));
                let media = Media::new(media::kind_of(media_type.as_deref(), ""), source, media_type);
                self.blocks.whole(choice, Content::Media(media).into(), out);
            }
            _ => return self.other(choice, raw, out),
        }
        if let Some((grounding, sources)) = cited {
            self.cite(choice, grounding, sources, out);
        }
        if let Some(signature) = carried.and_then(|carried| carried.signature) {
            if !is_thought {
                self.blocks.close(choice, out);
            }
            self.not_text(choice);
            self.blocks.signature(choice, signature, out);
            self.blocks.close(choice, out);
        }
    }

    /// A part that tells of a tool which the provider ran, or that only Gemini knows.
    fn other(&mut self, choice: u32, raw: &RawValue, out: &mut Vec<Event>) {
        let Ok(Value::Object(part)) = serde_json::from_str::<Value>(raw.get()) else { return };
        if part.is_empty() {
            return;
        }
        if let Some(Value::String(signature)) = part.get("thoughtSignature").filter(|_| part.len() == 1) {
            self.blocks.close(choice, out);
            carry::read(signature).signature.into_iter().for_each(|signature| self.blocks.signature(choice, signature, out));
            self.blocks.close(choice, out);
            return;
        }
        let kind = match () {
            () if part.contains_key("executableCode") || part.contains_key("codeExecutionResult") => Some(BuiltinKind::CodeExecution),
            () if part.contains_key("toolCall") || part.contains_key("toolResponse") => Some(BuiltinKind::Other),
            () => None,
        };
        let value = Value::Object(part);
        let content = match kind {
            Some(kind) => Content::Builtin(Builtin { kind, of: Dialect::Gemini, value }),
            None => Content::Other { of: Dialect::Gemini, value },
        };
        self.not_text(choice);
        self.blocks.whole(choice, content.into(), out);
    }

    fn call(&mut self, choice: u32, call: FunctionCall<'_>, signature: Option<Signature>, out: &mut Vec<Event>) {
        let continues = call.will_continue == Some(true);
        if let Some(Text(name)) = call.name.filter(|Text(name)| !name.is_empty()) {
            self.end_call(choice, out);
            let key = self.calls;
            self.calls += 1;
            let given = call.id.map(|Text(id)| id.into_owned()).filter(|id| !id.is_empty());
            let id = given.unwrap_or_else(|| format!("call_{}_{key}", self.id));
            self.not_text(choice);
            self.track(choice).has_calls = true;
            let opening = Opening::ToolCall { id, name: name.into_owned(), is_custom: false, signature };
            self.blocks.tool_call(choice, key, opening, out);
            if !continues && call.partial_args.is_none() {
                let arguments = call.args.filter(|args| args.get() != "null").map_or_else(|| "{}".to_owned(), compact);
                self.blocks.arguments(choice, key, arguments, out);
                self.blocks.close_all(choice, out);
                return;
            }
            self.track(choice).partial = Some((key, Partial::default()));
        }
        if let Some((_, partial)) = &mut self.track(choice).partial {
            call.partial_args.into_iter().flatten().for_each(|piece| partial.take(piece));
        }
        if !continues {
            self.end_call(choice, out);
        }
    }

    /// A call whose arguments came in pieces is complete.
    fn end_call(&mut self, choice: u32, out: &mut Vec<Event>) {
        if let Some((key, partial)) = self.track(choice).partial.take() {
            self.blocks.arguments(choice, key, partial.into_text(), out);
            self.blocks.close_all(choice, out);
        }
    }

    /// Chunks repeat what they cite: each place and source is told once.
    fn cite(&mut self, choice: u32, grounding: Option<Value>, sources: Vec<Value>, out: &mut Vec<Event>) {
        let track = self.track(choice);
        let mut told = grounding.as_ref().map(|metadata| citations(metadata, &track.said)).unwrap_or_default();
        told.extend(sources.into_iter().map(|source| of_source(source, &track.said)));
        told.retain(|citation| {
            let key = Cited { source: citation.url.clone().or_else(|| citation.title.clone()), span: citation.span };
            let is_new = !track.cited.contains(&key);
            track.cited.extend(is_new.then_some(key));
            is_new
        });
        track.grounding = grounding.or(track.grounding.take());
        if !told.is_empty() {
            track.text_is_open = true;
        }
        told.into_iter().for_each(|citation| self.blocks.citation(choice, citation, out));
    }

    /// The answer has ended: why each choice did, and the dialect's last word.
    pub fn finish(&mut self, out: &mut Vec<Event>) {
        for at in 0..self.tracks.len() {
            let Some(choice) = self.tracks.get(at).map(|track| track.choice) else { continue };
            self.end_call(choice, out);
            self.blocks.close_all(choice, out);
            let track = self.track(choice);
            let grounding = track.grounding.take().map(|value| builtin(kind_of(&value), json!({ "groundingMetadata": value })));
            let fetched = track.fetched.take().map(|value| builtin(BuiltinKind::WebFetch, json!({ "urlContextMetadata": value })));
            let reason = track.finish.take();
            let finish =
                reason.map_or(Finish::Other("FINISH_REASON_UNSPECIFIED".to_owned()), |reason| finish::read(&reason, track.has_calls));
            grounding.into_iter().chain(fetched).for_each(|block| self.blocks.whole(choice, block, out));
            out.push(Event::Finish { choice, finish });
        }
        out.push(Event::End);
    }

    fn not_text(&mut self, choice: u32) {
        self.track(choice).text_is_open = false;
    }

    fn track(&mut self, choice: u32) -> &mut Track {
        let at = self.tracks.iter().position(|track| track.choice == choice).unwrap_or_else(|| {
            self.tracks.push(Track { choice, ..Track::default() });
            self.tracks.len() - 1
        });
        &mut self.tracks[at]
    }
}

// === impl Part ===

impl Part<'_> {
    /// Whether it is text of the answer.
    fn is_said(&self) -> bool {
        self.thought != Some(true) && self.function_call.is_none() && self.text.as_ref().is_some_and(|Text(text)| !text.is_empty())
    }
}

/// Metadata that says something.
fn told(raw: &RawValue) -> Option<Value> {
    let value: Value = serde_json::from_str(raw.get()).ok()?;
    value.as_object().is_some_and(|object| !object.is_empty()).then_some(value)
}

fn kind_of(metadata: &Value) -> BuiltinKind {
    let chunks = metadata.get("groundingChunks").and_then(Value::as_array);
    match chunks.is_some_and(|chunks| chunks.iter().any(|chunk| chunk.get("retrievedContext").is_some())) {
        true => BuiltinKind::FileSearch,
        false => BuiltinKind::WebSearch,
    }
}

fn builtin(kind: BuiltinKind, value: Value) -> Block {
    Content::Builtin(Builtin { kind, of: Dialect::Gemini, value }).into()
}
