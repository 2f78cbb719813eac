//! Reads a whole answer, and the output items of one, which a stream tells too.
//!
//! Source: `Response` and `OutputItem` of OpenAI's API reference.

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::decode_items::{Thought, reasoning};
use super::fields::{take_list, take_text};
use super::item::Logprob;
use super::{citation, native};
use crate::dialect::ir::{Answer, Block, Choice, Content, Finish, Media, MediaKind, MediaSource, Signature, TokenLogprob, ToolCall};
use crate::dialect::openai_chat::usage as reported;

#[derive(Deserialize)]
struct Whole {
    id: Option<String>,
    model: Option<String>,
    created_at: Option<Value>,
    status: Option<String>,
    incomplete_details: Option<Incomplete>,
    error: Option<Value>,
    usage: Option<Box<RawValue>>,
    output: Option<Vec<Value>>,
    service_tier: Option<String>,
}

/// How a response ended, whole or as a stream's last event has it.
#[derive(Deserialize)]
pub struct Ending {
    status: Option<String>,
    incomplete_details: Option<Incomplete>,
    error: Option<Value>,
    usage: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
struct Incomplete {
    reason: Option<String>,
}

/// What output items say.
#[derive(Debug, Default)]
pub struct Said {
    /// In blocks.
    pub blocks: Vec<Block>,
    /// The tokens of all texts.
    pub logprobs: Vec<TokenLogprob>,
    /// Signatures of calls, by the calls' ids.
    pub of_calls: Vec<(String, Signature)>,
}

/// Reads a whole answer.
pub fn decode(body: &[u8]) -> Result<Answer, String> {
    let whole: Whole = serde_json::from_slice(body).map_err(|error| format!("it is no Response ({error})"))?;
    let ending = Ending { status: whole.status, incomplete_details: whole.incomplete_details, error: whole.error, usage: whole.usage };
    if ending.has_failed() {
        let (code, message) = ending.failure();
        return Err(format!("its model failed with '{code}': {message}"));
    }
    let mut said = Said::default();
    for item in whole.output.ok_or("it has no 'output'")? {
        said.take(item);
    }
    said.sign();
    let has_calls = said.blocks.iter().any(|block| matches!(block.content, Content::ToolCall(_)));
    let finish = ending.finish(has_calls);
    Ok(Answer {
        id: whole.id.unwrap_or_default(),
        model: whole.model.unwrap_or_default(),
        created: whole.created_at.and_then(|at| at.as_f64()).unwrap_or(0.0) as i64,
        choices: vec![Choice { content: said.blocks, finish, logprobs: said.logprobs }],
        usage: ending.usage(),
        service_tier: whole.service_tier,
        ..Answer::default()
    })
}

// === impl Ending ===

impl Ending {
    /// Whether it ended with an error.
    pub fn has_failed(&self) -> bool {
        self.status.as_deref() == Some("failed") || (self.error.is_some() && self.status.as_deref() != Some("completed"))
    }

    /// The error's code and message.
    pub fn failure(&self) -> (String, String) {
        let text = |name| self.error.as_ref()?.get(name)?.as_str();
        let (code, message) = (text("code"), text("message").or_else(|| self.error.as_ref()?.as_str()));
        (code.unwrap_or("server_error").to_owned(), message.unwrap_or("the provider says no more").to_owned())
    }

    /// Why it ended.
    pub fn finish(&self, has_calls: bool) -> Finish {
        let reason = self.incomplete_details.as_ref().and_then(|details| details.reason.as_deref());
        match (self.status.as_deref(), reason) {
            (Some("incomplete"), Some("max_output_tokens" | "max_tokens")) => Finish::Length,
            (Some("incomplete"), Some("content_filter")) => Finish::ContentFilter,
            (Some("incomplete"), Some("model_context_window_exceeded")) => Finish::ContextExceeded,
            (Some("incomplete"), Some("malformed_tool_call")) => Finish::MalformedToolCall,
            (Some("incomplete"), Some(reason)) => Finish::Other(reason.to_owned()),
            (Some("incomplete"), None) => Finish::Length,
            (Some(status @ ("queued" | "in_progress" | "cancelled")), _) => Finish::Other(status.to_owned()),
            _ if has_calls => Finish::ToolCalls,
            _ => Finish::Stop,
        }
    }

    /// What it took.
    pub fn usage(&self) -> Option<crate::ledger::record::Usage> {
        reported::parse(self.usage.as_ref()?.get().as_bytes())
    }
}

// === impl Said ===

impl Said {
    /// Takes an output item in; what says nothing at all is left out.
    pub fn take(&mut self, item: Value) {
        let Value::Object(mut map) = item else { return };
        let kind = map.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
        match kind.as_str() {
            "message" => take_list(&mut map, "content").into_iter().for_each(|part| self.take_part(part)),
            "reasoning" => match reasoning(map) {
                Thought::Block(thought) if thought.text.is_empty() && thought.signature.is_none() => {}
                Thought::Block(thought) => self.blocks.push(Content::Reasoning(thought).into()),
                Thought::OfCall(id, signature) => self.of_calls.push((id, signature)),
            },
            "function_call" | "custom_tool_call" => {
                self.blocks.extend(tool_call(&mut map).map(|call| Block::from(Content::ToolCall(call))));
            }
            "image_generation_call" if map.get("result").and_then(Value::as_str).is_some_and(|data| !data.is_empty()) => {
                self.blocks.push(Content::Media(image(&mut map)).into());
            }
            _ => self.blocks.push(native::block(&kind, Value::Object(map))),
        }
    }

    fn take_part(&mut self, part: Value) {
        let Value::Object(mut map) = part else { return };
        match map.get("type").and_then(Value::as_str) {
            Some("output_text" | "text") => {
                let text = take_text(&mut map, "text");
                let citations: Vec<_> = take_list(&mut map, "annotations").into_iter().map(citation::read).collect();
                self.logprobs.extend(map.remove("logprobs").map(read_logprobs).unwrap_or_default());
                if !text.is_empty() || !citations.is_empty() {
                    self.blocks.push(Content::Text { text, citations }.into());
                }
            }
            Some("refusal") => self.blocks.push(Content::Refusal(take_text(&mut map, "refusal")).into()),
            _ => {}
        }
    }

    /// Gives each call its signature.
    pub fn sign(&mut self) {
        for block in &mut self.blocks {
            if let Content::ToolCall(call) = &mut block.content
                && let Some(at) = self.of_calls.iter().position(|(id, _)| *id == call.id)
            {
                call.signature = Some(self.of_calls.swap_remove(at).1);
            }
        }
    }
}

/// Tokens in their shape on the wire; those that are not in it are left out.
pub fn read_logprobs(value: Value) -> Vec<TokenLogprob> {
    let list: Vec<Logprob> = serde_json::from_value(value).unwrap_or_default();
    list.into_iter().map(TokenLogprob::from).collect()
}

/// A call's item; `None` where it has neither an id nor a name.
pub fn tool_call(map: &mut Map<String, Value>) -> Option<ToolCall> {
    let is_custom = map.get("type").is_some_and(|kind| kind == "custom_tool_call");
    let (call_id, id) = (take_text(map, "call_id"), take_text(map, "id"));
    let id = if call_id.is_empty() { id } else { call_id };
    let arguments = match map.remove(if is_custom { "input" } else { "arguments" }) {
        Some(Value::String(text)) => text,
        None | Some(Value::Null) => String::new(),
        // Some servers tell the arguments as an object.
        Some(other) => other.to_string(),
    };
    let call = ToolCall { id, name: take_text(map, "name"), arguments, is_custom, signature: None };
    (!call.id.is_empty() && !call.name.is_empty()).then_some(call)
}

fn image(map: &mut Map<String, Value>) -> Media {
    let media_type = match take_text(map, "output_format").as_str() {
        "" => "image/png".to_owned(),
        format => format!("image/{format}"),
    };
    Media::new(MediaKind::Image, MediaSource::Base64(take_text(map, "result")), Some(media_type))
}
