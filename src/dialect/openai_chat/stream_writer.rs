//! Writes a stream for a caller: chunks that share their head, `[DONE]` last.

use serde::Serialize;
use serde_json::Value;

use super::usage::Written;
use super::{answer, calls, citations, details, finish, ids, logprobs, trouble};
use crate::dialect::frame::write_sse;
use crate::dialect::ir::{Block, Content, Delta, Event, MediaKind, Opening, Signature};
use crate::dialect::{Asked, StreamWriter};
use crate::ledger::record::Usage;

/// A stream on its way to a caller.
pub struct Writer {
    /// The caller's name of the model, for where the provider gives none.
    model: String,
    wants_usage: bool,
    is_legacy: bool,
    /// `data: {` and the members that all chunks share, up to the choices.
    head: Vec<u8>,
    choices: Vec<Track>,
    usage: Option<Usage>,
}

/// What is told of a choice.
#[derive(Default)]
struct Track {
    choice: u32,
    /// The open tool calls.
    calls: Vec<Call>,
    /// How many tool calls were told.
    told_calls: usize,
    /// How many pieces of reasoning were told.
    told_reasoning: usize,
    /// How many annotations and images were told: SDKs put lists together by their items' `index`.
    told_annotations: usize,
    told_images: usize,
    /// Characters of the texts that were told, and of those in the text that is open.
    characters: (u64, u64),
    has_refusal: bool,
    /// The open reasoning: its signature so far, and its characters.
    reasoning: Option<(Option<Signature>, usize)>,
}

struct Call {
    block: u32,
    number: usize,
    is_custom: bool,
    has_arguments: bool,
}

/// What a message grows by.
#[derive(Default, Serialize)]
struct Grown<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refusal: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_content: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_details: Option<[Value; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_calls: Option<[GrownCall<'a>; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    function_call: Option<GrownFunction<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    annotations: Option<[Value; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    images: Option<[Value; 1]>,
}

#[derive(Serialize)]
struct GrownCall<'a> {
    index: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    function: Option<GrownFunction<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    custom: Option<GrownCustom<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    extra_content: Option<Value>,
}

#[derive(Serialize)]
struct GrownFunction<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    arguments: &'a str,
}

#[derive(Serialize)]
struct GrownCustom<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    input: &'a str,
}

// === impl Writer ===

impl Writer {
    /// For the caller who asked so.
    pub fn new(asked: &Asked) -> Writer {
        let options = asked.member("stream_options");
        Writer {
            model: asked.request.model.clone(),
            wants_usage: options.is_some_and(|options| options.get("include_usage").and_then(Value::as_bool) == Some(true)),
            is_legacy: answer::wants_function_call(asked),
            head: Vec::new(),
            choices: Vec::new(),
            usage: None,
        }
    }

    fn start(&mut self, id: &str, model: &str, created: i64) {
        let model = if model.is_empty() { &self.model } else { model };
        let (id, model) = (Value::from(ids::answer(id)), Value::from(model));
        let created = ids::created(created);
        self.head =
            format!(r#"data: {{"id":{id},"object":"chat.completion.chunk","created":{created},"model":{model},"choices":["#).into_bytes();
    }

    /// The place of a choice; its first chunk says whose message it is.
    fn track(&mut self, choice: u32, out: &mut Vec<u8>) -> usize {
        if let Some(at) = self.choices.iter().position(|track| track.choice == choice) {
            return at;
        }
        self.choices.push(Track { choice, ..Track::default() });
        self.grow(choice, &Grown { role: Some("assistant"), content: Some(""), ..Grown::default() }, out);
        self.choices.len() - 1
    }

    fn grow(&mut self, choice: u32, grown: &Grown<'_>, out: &mut Vec<u8>) {
        self.chunk(choice, grown, None, "null", out);
    }

    fn chunk(&mut self, choice: u32, grown: &Grown<'_>, told: Option<logprobs::Written>, finish: &str, out: &mut Vec<u8>) {
        if self.head.is_empty() {
            self.start("", "", 0);
        }
        out.extend_from_slice(&self.head);
        out.extend_from_slice(b"{\"index\":");
        out.extend_from_slice(itoa::Buffer::new().format(choice).as_bytes());
        out.extend_from_slice(b",\"delta\":");
        write_json(grown, out);
        out.extend_from_slice(b",\"logprobs\":");
        write_json(&told, out);
        out.extend_from_slice(b",\"finish_reason\":");
        out.extend_from_slice(finish.as_bytes());
        out.extend_from_slice(if self.wants_usage { b"}],\"usage\":null}\n\n" } else { b"}]}\n\n" });
    }

    fn open(&mut self, choice: u32, block: u32, opening: Opening, out: &mut Vec<u8>) {
        let at = self.track(choice, out);
        let track = &mut self.choices[at];
        match opening {
            Opening::Text => track.characters = (track.characters.0 + track.characters.1, 0),
            Opening::Refusal => track.has_refusal = true,
            Opening::Reasoning { .. } => track.reasoning = Some((None, 0)),
            Opening::Whole(whole) => self.whole(choice, *whole, out),
            Opening::ToolCall { id, name, is_custom, signature } => {
                let number = track.told_calls;
                track.told_calls += 1;
                track.calls.push(Call { block, number, is_custom, has_arguments: false });
                let call = GrownCall {
                    index: number,
                    id: Some(&id),
                    kind: Some(if is_custom { "custom" } else { "function" }),
                    function: (!is_custom).then_some(GrownFunction { name: Some(&name), arguments: "" }),
                    custom: is_custom.then_some(GrownCustom { name: Some(&name), input: "" }),
                    extra_content: signature.as_ref().map(calls::extra_content),
                };
                self.grow_call(choice, call, out);
            }
        }
    }

    fn grow_call(&mut self, choice: u32, call: GrownCall<'_>, out: &mut Vec<u8>) {
        let grown = match (self.is_legacy, call.index) {
            (false, _) => Grown { tool_calls: Some([call]), ..Grown::default() },
            (true, 0) => Grown { function_call: call.function, ..Grown::default() },
            // Its caller knows one call alone.
            (true, _) => return,
        };
        self.grow(choice, &grown, out);
    }

    fn delta(&mut self, choice: u32, block: u32, delta: Delta, out: &mut Vec<u8>) {
        let at = self.track(choice, out);
        let track = &mut self.choices[at];
        match delta {
            Delta::Text(text) if !text.is_empty() => {
                track.characters.1 += text.chars().count() as u64;
                self.grow(choice, &Grown { content: Some(&text), ..Grown::default() }, out);
            }
            Delta::Refusal(text) => self.grow(choice, &Grown { refusal: Some(&text), ..Grown::default() }, out),
            Delta::Reasoning(text) if !text.is_empty() => {
                if let Some((_, characters)) = &mut track.reasoning {
                    *characters += text.chars().count();
                }
                self.grow(choice, &Grown { reasoning_content: Some(&text), ..Grown::default() }, out);
            }
            Delta::Signature(signature) => self.signature(at, choice, block, signature, out),
            Delta::Arguments(text) if !text.is_empty() => self.arguments(at, choice, block, &text, out),
            Delta::Citation(citation) => {
                if let Some(mut annotation) = citations::write(&citation, track.characters.0, track.characters.1) {
                    annotation["index"] = Value::from(track.told_annotations);
                    track.told_annotations += 1;
                    self.grow(choice, &Grown { annotations: Some([annotation]), ..Grown::default() }, out);
                }
            }
            Delta::Text(_) | Delta::Reasoning(_) | Delta::Arguments(_) => {}
        }
    }

    fn arguments(&mut self, at: usize, choice: u32, block: u32, text: &str, out: &mut Vec<u8>) {
        let Some(call) = self.choices[at].calls.iter_mut().find(|call| call.block == block) else { return };
        call.has_arguments = true;
        let call = GrownCall {
            index: call.number,
            id: None,
            kind: None,
            function: (!call.is_custom).then_some(GrownFunction { name: None, arguments: text }),
            custom: call.is_custom.then_some(GrownCustom { name: None, input: text }),
            extra_content: None,
        };
        self.grow_call(choice, call, out);
    }

    /// Of reasoning it is kept until all of it is there; of a call it comes whole.
    fn signature(&mut self, at: usize, choice: u32, block: u32, signature: Signature, out: &mut Vec<u8>) {
        let track = &mut self.choices[at];
        if let Some(call) = track.calls.iter().find(|call| call.block == block) {
            let extra_content = Some(calls::extra_content(&signature));
            let call = GrownCall { index: call.number, id: None, kind: None, function: None, custom: None, extra_content };
            return self.grow_call(choice, call, out);
        }
        match &mut track.reasoning {
            Some((Some(begun), _)) => begun.value.push_str(&signature.value),
            Some((none, _)) => *none = Some(signature),
            None => {}
        }
    }

    fn whole(&mut self, choice: u32, block: Block, out: &mut Vec<u8>) {
        let at = self.track(choice, out);
        let grown = match block.content {
            Content::Reasoning(reasoning) => {
                let index = self.choices[at].told_reasoning;
                self.choices[at].told_reasoning += 1;
                Grown { reasoning_details: Some([details::detail(index, &reasoning)]), ..Grown::default() }
            }
            Content::Media(media) if media.kind == MediaKind::Image => {
                let Some(url) = media.to_url() else { return };
                let index = self.choices[at].told_images;
                self.choices[at].told_images += 1;
                let image = serde_json::json!({ "index": index, "type": "image_url", "image_url": { "url": url } });
                Grown { images: Some([image]), ..Grown::default() }
            }
            // A stream's head has gone before: what cannot be told is not named either.
            _ => return,
        };
        self.grow(choice, &grown, out);
    }

    fn close(&mut self, choice: u32, block: u32, out: &mut Vec<u8>) {
        let at = self.track(choice, out);
        let track = &mut self.choices[at];
        if let Some(call) = track.calls.iter().position(|call| call.block == block) {
            let is_bare = !track.calls[call].has_arguments && !track.calls[call].is_custom;
            if is_bare {
                self.arguments(at, choice, block, "{}", out);
            }
            self.choices[at].calls.remove(call);
        } else if let Some((signature, characters)) = track.reasoning.take() {
            let index = track.told_reasoning;
            track.told_reasoning += 1;
            if let Some(detail) = signature.and_then(|signature| details::closing(index, signature, characters)) {
                self.grow(choice, &Grown { reasoning_details: Some([detail]), ..Grown::default() }, out);
            }
        }
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        if let Some(usage) = self.usage.filter(|_| self.wants_usage) {
            if self.head.is_empty() {
                self.start("", "", 0);
            }
            out.extend_from_slice(&self.head);
            out.extend_from_slice(b"],\"usage\":");
            write_json(&Written::of(usage), out);
            out.extend_from_slice(b"}\n\n");
        }
        out.extend_from_slice(b"data: [DONE]\n\n");
    }
}

impl StreamWriter for Writer {
    fn write(&mut self, event: Event, out: &mut Vec<u8>) {
        match event {
            Event::Start { id, model, created } => {
                self.start(&id, &model, created);
                self.track(0, out);
            }
            Event::Open { choice, index, opening } => self.open(choice, index, opening, out),
            Event::Delta { choice, index, delta } => self.delta(choice, index, delta, out),
            Event::Close { choice, index } => self.close(choice, index, out),
            Event::Logprobs { choice, logprobs } => {
                self.track(choice, out);
                self.chunk(choice, &Grown::default(), Some(logprobs::write(logprobs)), "null", out);
            }
            Event::Finish { choice, finish } => {
                let at = self.track(choice, out);
                let (reason, _) = finish::write(&finish, self.choices[at].has_refusal);
                let reason = if self.is_legacy && reason == "tool_calls" { "function_call" } else { reason };
                self.chunk(choice, &Grown::default(), None, &format!("\"{reason}\""), out);
            }
            Event::Usage(usage) | Event::UsageSoFar(usage) => self.usage = Some(usage),
            Event::Trouble(told) => write_sse("", trouble::write(&told).to_string().as_bytes(), out),
            Event::End => self.end(out),
        }
    }
}

fn write_json<T: Serialize>(value: &T, out: &mut Vec<u8>) {
    // Writing into memory does not fail, and every key here is a text.
    let _ = serde_json::to_writer(out, value);
}
