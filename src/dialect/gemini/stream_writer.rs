//! Writes streams: a chunk for each piece of text, a whole part for everything else, as events or as a JSON array that grows.

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::answer::{native, response_id};
use super::grounding::{Grounding, Said};
use super::parts::{Parts, own};
use super::usage::Reported;
use super::{carry, finish, logprobs, trouble};
use crate::catalog::Dialect;
use crate::dialect::ir::{Block, Content, Delta, Dropped, Event, Finish, Opening, Reasoning, ToolCall};
use crate::dialect::{Asked, StreamWriter};
use crate::ledger::record::Usage;

/// A stream between two of its chunks.
pub struct Writer {
    as_array: bool,
    has_begun: bool,
    id: String,
    model: String,
    /// Tool calls and reasoning that are to be completed.
    open: Vec<(u32, u32, Open)>,
    tracks: Vec<Track>,
    usage: Option<Usage>,
    /// A chunk as it is serialised.
    scratch: Vec<u8>,
}

enum Open {
    /// Written whole when its arguments are.
    Call(ToolCall),
    /// Its text goes out as it comes, its signature at its end.
    Reasoning { reasoning: Reasoning, has_text: bool },
    /// Where the text block begins in the bytes of all text.
    Text(usize),
}

#[derive(Default)]
struct Track {
    choice: u32,
    finish: Option<Finish>,
    grounding: Grounding,
    said: Said,
    /// Members of the last chunk's candidate.
    last: Map<String, Value>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Chunk<'a, C: Serialize> {
    candidates: [C; 1],
    #[serde(skip_serializing_if = "Option::is_none")]
    usage_metadata: Option<Reported>,
    model_version: &'a str,
    response_id: &'a str,
}

#[derive(Serialize)]
struct Candidate<P: Serialize> {
    content: Said1<P>,
    index: u32,
}

#[derive(Serialize)]
struct Said1<P: Serialize> {
    role: &'static str,
    parts: [P; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TextPart<'a> {
    text: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    thought: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thought_signature: Option<String>,
}

// === impl Writer ===

impl Writer {
    /// A writer for the caller that asked.
    pub fn new(asked: &Asked) -> Writer {
        Writer {
            as_array: asked.called.as_array,
            has_begun: false,
            id: String::new(),
            model: asked.request.model.clone(),
            open: Vec::new(),
            tracks: Vec::new(),
            usage: None,
            scratch: Vec::new(),
        }
    }

    fn part<P: Serialize>(&mut self, choice: u32, part: P, out: &mut Vec<u8>) {
        let candidate = Candidate { content: Said1 { role: "model", parts: [part] }, index: choice };
        self.chunk(candidate, None, out);
    }

    fn chunk<C: Serialize>(&mut self, candidate: C, usage: Option<Reported>, out: &mut Vec<u8>) {
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.clear();
        let chunk = Chunk { candidates: [candidate], usage_metadata: usage, model_version: &self.model, response_id: &self.id };
        // Writing texts, numbers and maps with texts as names into memory cannot fail.
        if serde_json::to_writer(&mut scratch, &chunk).is_ok() {
            self.frame(&scratch, out);
        }
        self.scratch = scratch;
    }

    fn frame(&mut self, json: &[u8], out: &mut Vec<u8>) {
        let (before, after): (&[u8], &[u8]) = match (self.as_array, std::mem::replace(&mut self.has_begun, true)) {
            (false, _) => (b"data: ", b"\r\n\r\n"),
            (true, false) => (b"[", b""),
            (true, true) => (b",\r\n", b""),
        };
        out.extend_from_slice(before);
        out.extend_from_slice(json);
        out.extend_from_slice(after);
    }

    fn begin(&mut self, choice: u32, index: u32, opening: Opening, out: &mut Vec<u8>) {
        let open = match opening {
            Opening::Text | Opening::Refusal => Open::Text(self.track(choice).said.len()),
            Opening::Reasoning { id } => Open::Reasoning { reasoning: Reasoning { id, ..Reasoning::default() }, has_text: false },
            Opening::ToolCall { id, name, is_custom, signature } => {
                Open::Call(ToolCall { id, name, arguments: String::new(), is_custom, signature })
            }
            Opening::Whole(block) => return self.whole(choice, *block, out),
        };
        self.open.push((choice, index, open));
    }

    fn whole(&mut self, choice: u32, block: Block, out: &mut Vec<u8>) {
        let (mut parts, mut dropped) = (Parts::default(), Dropped::default());
        match block.content {
            Content::Builtin(builtin) if builtin.of == Dialect::Gemini => {
                native(builtin.value, &mut parts, &mut self.track(choice).last);
            }
            Content::Other { of: Dialect::Gemini, value } => parts.native(value),
            Content::Reasoning(reasoning) => parts.reasoning(&reasoning),
            Content::Text { text, .. } | Content::Refusal(text) => parts.text(&text),
            Content::ToolCall(call) => parts.call(&call, own(call.signature.as_ref())),
            // A file of another provider's cannot be reached by this caller, and there is no head left to say so.
            Content::Media(media) => parts.media(&media, &mut dropped).unwrap_or_default(),
            Content::Json(value) => parts.text(&value.to_string()),
            Content::Builtin(_) | Content::Other { .. } | Content::ToolResult(_) => {}
        }
        parts.into_list().into_iter().for_each(|part| self.part(choice, part, out));
    }

    fn grow(&mut self, choice: u32, index: u32, delta: Delta, out: &mut Vec<u8>) {
        let Some(at) = self.open.iter().rposition(|(c, i, _)| (*c, *i) == (choice, index)) else { return };
        match (&mut self.open[at].2, delta) {
            (Open::Text(_), Delta::Text(text) | Delta::Refusal(text)) if !text.is_empty() => {
                self.track(choice).said.add(&text);
                self.part(choice, TextPart { text: &text, thought: None, thought_signature: None }, out);
            }
            (Open::Text(from), Delta::Citation(citation)) => {
                let from = *from;
                let track = self.track(choice);
                track.grounding.add(citation, &track.said, from);
            }
            (Open::Reasoning { has_text, .. }, Delta::Reasoning(text)) if !text.is_empty() => {
                *has_text = true;
                self.part(choice, TextPart { text: &text, thought: Some(true), thought_signature: None }, out);
            }
            (Open::Reasoning { reasoning, .. }, Delta::Signature(more)) => match &mut reasoning.signature {
                Some(begun) => begun.value.push_str(&more.value),
                none => *none = Some(more),
            },
            (Open::Call(call), Delta::Arguments(more)) => call.arguments.push_str(&more),
            (Open::Call(call), Delta::Signature(signature)) => call.signature = Some(signature),
            _ => {}
        }
    }

    fn close(&mut self, choice: u32, index: u32, out: &mut Vec<u8>) {
        let Some(at) = self.open.iter().rposition(|(c, i, _)| (*c, *i) == (choice, index)) else { return };
        match self.open.remove(at).2 {
            Open::Call(call) => {
                let mut parts = Parts::default();
                parts.call(&call, own(call.signature.as_ref()));
                parts.into_list().into_iter().for_each(|part| self.part(choice, part, out));
            }
            Open::Reasoning { reasoning: Reasoning { signature: Some(signature), id, .. }, has_text } => {
                // A signature of Gemini's without a thought is that of what was said before.
                let is_thought = has_text || signature.by != Dialect::Gemini;
                let carried = carry::write(&signature, false, id.as_deref());
                self.part(choice, TextPart { text: "", thought: is_thought.then_some(true), thought_signature: Some(carried) }, out);
            }
            Open::Reasoning { .. } | Open::Text(_) => {}
        }
    }

    /// The last chunk of each choice, the very last with the usage.
    fn end(&mut self, out: &mut Vec<u8>) {
        if self.tracks.is_empty() {
            self.track(0);
        }
        let tracks = std::mem::take(&mut self.tracks);
        let last = tracks.len() - 1;
        for (at, track) in tracks.into_iter().enumerate() {
            let mut candidate = track.last;
            track.grounding.write(&mut candidate);
            candidate.insert("content".to_owned(), json!({ "role": "model", "parts": [{ "text": "" }] }));
            candidate.insert("index".to_owned(), json!(track.choice));
            candidate.insert("finishReason".to_owned(), json!(finish::write(&track.finish.unwrap_or_default())));
            let usage = self.usage.as_ref().filter(|_| at == last).map(Reported::from);
            self.chunk(candidate, usage, out);
        }
        if self.as_array {
            out.extend_from_slice(b"]");
        }
    }

    fn fail(&mut self, body: &Value, out: &mut Vec<u8>) {
        self.frame(body.to_string().as_bytes(), out);
        if self.as_array {
            out.extend_from_slice(b"]");
        }
    }

    fn track(&mut self, choice: u32) -> &mut Track {
        let at = self.tracks.iter().position(|track| track.choice == choice).unwrap_or_else(|| {
            self.tracks.push(Track { choice, ..Track::default() });
            self.tracks.len() - 1
        });
        &mut self.tracks[at]
    }
}

impl StreamWriter for Writer {
    fn write(&mut self, event: Event, out: &mut Vec<u8>) {
        match event {
            Event::Start { id, model, .. } => {
                self.id = response_id(id);
                if !model.is_empty() {
                    self.model = model;
                }
            }
            Event::Open { choice, index, opening } => self.begin(choice, index, opening, out),
            Event::Delta { choice, index, delta } => self.grow(choice, index, delta, out),
            Event::Close { choice, index } => self.close(choice, index, out),
            Event::Logprobs { choice, logprobs } => {
                let result = json!(logprobs::write(logprobs));
                let content = json!({ "role": "model", "parts": [{ "text": "" }] });
                self.chunk(json!({ "content": content, "index": choice, "logprobsResult": result }), None, out);
            }
            Event::Finish { choice, finish } => self.track(choice).finish = Some(finish),
            Event::Usage(usage) | Event::UsageSoFar(usage) => self.usage = Some(usage),
            Event::Trouble(trouble) => self.fail(&trouble::body(&trouble, None), out),
            Event::End => self.end(out),
        }
    }
}
