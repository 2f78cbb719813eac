//! Writes a request for a provider: always `/api/chat`.

use bytes::Bytes;
use serde_json::{Map, Value};

use super::message::{self, OWN};
use crate::catalog::model::Capability;
use crate::dialect::ir::{
    Block, Content, Dropped, Effort, Extra, Format, Media, MediaKind, MediaSource, Message, Request, Role, Sampling, Thinking, Tool,
    ToolChoice,
};
use crate::dialect::{To, custom};
use crate::error::Refusal;

/// Writes the body.
pub fn write(request: &Request, to: &To<'_>, dropped: &mut Dropped) -> Result<Bytes, Refusal> {
    let thinks = to.facts.is_none_or(|facts| facts.can.is_empty() || facts.can.contains(&Capability::Reasoning));
    let mut messages = Vec::new();
    for message in &request.messages {
        write_message(message, request, &mut messages, dropped)?;
    }
    let mut body = Map::new();
    let mut set = |name: &str, value: Value| drop(body.insert(name.to_owned(), value));
    set("model", Value::from(to.model));
    // A stream is what it does unless told otherwise, so both are told.
    set("stream", Value::from(request.stream));
    set("messages", Value::from(messages));
    let tools = tools(request, dropped);
    if !tools.is_empty() {
        set("tools", Value::from(tools));
    }
    match &request.format {
        Some(Format::JsonObject) => set("format", Value::from("json")),
        Some(Format::JsonSchema { schema, .. }) => set("format", schema.clone()),
        Some(Format::Text) | None => {}
    }
    if let Some(think) = request.thinking.as_ref().and_then(|thinking| think(thinking, thinks, dropped)) {
        set("think", think);
    }
    if let Some(logprobs) = request.sampling.logprobs {
        set("logprobs", Value::from(logprobs));
    }
    if let Some(top) = request.sampling.top_logprobs {
        set("top_logprobs", Value::from(top));
    }
    let options = options(&request.sampling, &request.extra, dropped);
    if !options.is_empty() {
        set("options", Value::Object(options));
    }
    dropped.note_if(request.parallel_tool_calls == Some(false), "parallel_tool_calls");
    dropped.note_if(request.service_tier.as_deref().is_some_and(|tier| !matches!(tier, "auto" | "default")), "service_tier");
    dropped.note_if(request.user.is_some(), "user");
    dropped.note_if(!request.metadata.is_empty(), "metadata");
    request.extra.write(OWN, &mut body, dropped);
    Ok(Bytes::from(Value::Object(body).to_string()))
}

fn write_message(message: &Message, request: &Request, out: &mut Vec<Value>, dropped: &mut Dropped) -> Result<(), Refusal> {
    dropped.note_if(message.name.is_some(), "name");
    dropped.note_if(message.content.iter().any(|block| block.cache.is_some()), "cache");
    let role = match message.role {
        Role::System | Role::Developer => "system",
        Role::User => "user",
        Role::Assistant => "assistant",
        Role::Tool => {
            for block in &message.content {
                let Content::ToolResult(result) = &block.content else { continue };
                dropped.note_if(result.is_error, "is_error");
                let mut said = Said::default();
                result.content.iter().try_for_each(|block| said.add(block, dropped))?;
                let mut value = said.into_message("tool", "\n");
                value.insert("tool_call_id".to_owned(), Value::from(result.call_id.as_str()));
                if let Some(name) = result.name.as_deref().or_else(|| request.tool_name(&result.call_id)) {
                    value.insert("tool_name".to_owned(), Value::from(name));
                }
                out.push(Value::Object(value));
            }
            return Ok(());
        }
    };
    let mut said = Said::default();
    message.content.iter().try_for_each(|block| said.add(block, dropped))?;
    if !said.is_empty() {
        let between = if message.role == Role::Assistant { "" } else { "\n\n" };
        out.push(Value::Object(said.into_message(role, between)));
    }
    Ok(())
}

/// A message in the making.
#[derive(Default)]
struct Said {
    texts: Vec<String>,
    images: Vec<Value>,
    thinking: String,
    calls: Vec<Value>,
}

// === impl Said ===

impl Said {
    fn add(&mut self, block: &Block, dropped: &mut Dropped) -> Result<(), Refusal> {
        match &block.content {
            Content::Text { text, .. } | Content::Refusal(text) => self.texts.extend((!text.is_empty()).then(|| text.clone())),
            Content::Json(value) => self.texts.push(value.to_string()),
            Content::Media(media) => match (media.kind, &media.source) {
                (MediaKind::Image, MediaSource::Base64(data)) => self.images.push(Value::from(data.as_str())),
                (MediaKind::Document, _) => {
                    let words = media.words().ok_or_else(|| inexpressible(media))?;
                    self.texts.push(media.told(&words));
                }
                _ => return Err(inexpressible(media)),
            },
            Content::Reasoning(reasoning) if message::is_own(reasoning) => self.thinking.push_str(&reasoning.text),
            Content::Reasoning(_) => dropped.note("reasoning"),
            Content::ToolCall(call) => {
                let value = message::call_value(&call.id, &call.name, &call.arguments, call.is_custom, self.calls.len());
                self.calls.push(Value::Object(value));
            }
            other @ (Content::Builtin(_) | Content::ToolResult(_) | Content::Other { .. }) => dropped.note(other.own_name()),
        }
        Ok(())
    }

    fn is_empty(&self) -> bool {
        self.texts.is_empty() && self.images.is_empty() && self.thinking.is_empty() && self.calls.is_empty()
    }

    fn into_message(self, role: &str, between: &str) -> Map<String, Value> {
        let mut value =
            Map::from_iter([("role".to_owned(), Value::from(role)), ("content".to_owned(), Value::from(self.texts.join(between)))]);
        if !self.thinking.is_empty() {
            value.insert("thinking".to_owned(), Value::from(self.thinking));
        }
        for (name, list) in [("images", self.images), ("tool_calls", self.calls)] {
            if !list.is_empty() {
                value.insert(name.to_owned(), Value::from(list));
            }
        }
        value
    }
}

fn inexpressible(media: &Media) -> Refusal {
    let kind = format!("{:?}", media.kind).to_lowercase();
    let what = media.media_type.as_deref().unwrap_or(&kind);
    let message = format!(
        "A part of 'messages' is {what}, which this model cannot be sent: its provider takes texts, images in the request, and documents as text."
    );
    Refusal::invalid("not_expressible", message).with_param("messages")
}

/// The tools that may be called: none where none may be, and where one or some are chosen by name, only those.
fn tools(request: &Request, dropped: &mut Dropped) -> Vec<Value> {
    let may_call = |name: &str| match &request.tool_choice {
        Some(ToolChoice::None) => false,
        Some(ToolChoice::Tool(only)) => only == name,
        Some(ToolChoice::Allowed { names, .. }) => names.iter().any(|allowed| allowed == name),
        Some(ToolChoice::Auto | ToolChoice::Required) | None => true,
    };
    let must =
        matches!(&request.tool_choice, Some(ToolChoice::Required | ToolChoice::Tool(_) | ToolChoice::Allowed { required: true, .. }));
    let forbids = request.tool_choice == Some(ToolChoice::None) && !request.tools.is_empty();
    dropped.note_if(must || forbids, "tool_choice");
    let is_strict = |tool: &Tool| matches!(tool, Tool::Function(function) if function.strict == Some(true) && may_call(&function.name));
    dropped.note_if(request.tools.iter().any(is_strict), "strict");
    custom::functions(&request.tools, may_call, dropped)
}

/// `think`: a model that cannot refuses it, but not that it is switched off.
fn think(thinking: &Thinking, thinks: bool, dropped: &mut Dropped) -> Option<Value> {
    if thinking.is_off() {
        return Some(Value::from(false));
    }
    if !thinks {
        dropped.note("thinking");
        return None;
    }
    dropped.note_if(thinking.wants_text_alone(), "thinking.summary");
    dropped.note_if(thinking.budget.is_some() || thinking.effort > Some(Effort::High), "thinking");
    match thinking.as_effort() {
        Some(Effort::None) => Some(Value::from(false)),
        Some(Effort::Minimal | Effort::Low) => Some(Value::from("low")),
        Some(Effort::Medium) => Some(Value::from("medium")),
        Some(Effort::High | Effort::XHigh | Effort::Max) => Some(Value::from("high")),
        None => thinking.enabled.map(Value::from),
    }
}

/// Ollama's own options, and over them those with a meaning everywhere.
fn options(sampling: &Sampling, extra: &Extra, dropped: &mut Dropped) -> Map<String, Value> {
    let own = extra.fields.get("options").filter(|_| extra.of == Some(OWN)).and_then(Value::as_object);
    let mut options = own.cloned().unwrap_or_default();
    let mut set = |name: &str, value: Option<Value>| options.extend(value.map(|value| (name.to_owned(), value)));
    set("num_predict", sampling.max_output.map(Value::from));
    set("temperature", sampling.temperature.map(Value::from));
    set("top_p", sampling.top_p.map(Value::from));
    set("top_k", sampling.top_k.map(Value::from));
    set("seed", sampling.seed.map(Value::from));
    set("frequency_penalty", sampling.frequency_penalty.map(Value::from));
    set("presence_penalty", sampling.presence_penalty.map(Value::from));
    set("stop", (!sampling.stop.is_empty()).then(|| sampling.stop.iter().cloned().collect()));
    dropped.note_if(sampling.n.is_some_and(|n| n > 1), "n");
    options
}
