//! Writes a request for a provider, within what Cohere takes.
//!
//! Source of the limits: the parameters' descriptions in Cohere's v2 chat reference, and "Structured Outputs" in its documentation.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::assistant::Written;
use super::document;
use crate::catalog::Dialect;
use crate::catalog::model::Capability;
use crate::dialect::ir::{
    Block, Content, Dropped, Format, Function, Media, MediaKind, Message, Request, Role, Sampling, Thinking, Tool, ToolChoice, ToolResult,
};
use crate::dialect::{To, custom};
use crate::error::Refusal;

/// Cohere takes no more stop sequences.
const MOST_STOPS: usize = 5;

/// Writes the body of `POST /v2/chat`.
pub fn write(request: &Request, to: &To<'_>, dropped: &mut Dropped) -> Result<Bytes, Refusal> {
    let thinks = to.facts.is_none_or(|facts| facts.can.is_empty() || facts.can.contains(&Capability::Reasoning));
    let mut writer = Writer { messages: Vec::new(), documents: Vec::new(), thinks, dropped };
    for message in &request.messages {
        writer.message(message)?;
    }
    let Writer { messages, documents, .. } = writer;
    let mut body = Map::new();
    let mut set = |name: &str, value: Value| drop(body.insert(name.to_owned(), value));
    set("model", Value::from(to.model));
    set("stream", Value::from(request.stream));
    set("messages", Value::from(messages));
    let tools = tools(request, dropped);
    let is_bound = !tools.is_empty() || !documents.is_empty();
    if !documents.is_empty() {
        set("documents", Value::from(documents));
    }
    if !tools.is_empty() {
        if let Some(strict) = strict(&request.tools, dropped) {
            set("strict_tools", Value::from(strict));
        }
        match &request.tool_choice {
            Some(ToolChoice::None) => set("tool_choice", Value::from("NONE")),
            Some(ToolChoice::Required | ToolChoice::Tool(_) | ToolChoice::Allowed { required: true, .. }) => {
                set("tool_choice", Value::from("REQUIRED"));
            }
            Some(ToolChoice::Auto | ToolChoice::Allowed { required: false, .. }) | None => {}
        }
        set("tools", Value::from(tools));
    }
    match &request.format {
        // Cohere answers by a schema or with tools and documents, not both.
        Some(Format::JsonObject | Format::JsonSchema { .. }) if is_bound => dropped.note("format"),
        Some(Format::Text) => set("response_format", json!({ "type": "text" })),
        Some(Format::JsonObject) => set("response_format", json!({ "type": "json_object" })),
        Some(Format::JsonSchema { schema, .. }) => set("response_format", json!({ "type": "json_object", "json_schema": schema })),
        None => {}
    }
    if let Some(thinking) = request.thinking.as_ref().and_then(|thinking| thinking_value(thinking, thinks, dropped)) {
        set("thinking", thinking);
    }
    sampling(&request.sampling, dropped, &mut set);
    dropped.note_if(request.parallel_tool_calls == Some(false), "parallel_tool_calls");
    dropped.note_if(request.service_tier.as_deref().is_some_and(|tier| !matches!(tier, "auto" | "default")), "service_tier");
    dropped.note_if(request.user.is_some(), "user");
    dropped.note_if(!request.metadata.is_empty(), "metadata");
    request.extra.write(Dialect::CohereV2, &mut body, dropped);
    Ok(Bytes::from(Value::Object(body).to_string()))
}

struct Writer<'a> {
    messages: Vec<Value>,
    documents: Vec<Value>,
    thinks: bool,
    dropped: &'a mut Dropped,
}

// === impl Writer ===

impl Writer<'_> {
    fn message(&mut self, message: &Message) -> Result<(), Refusal> {
        self.dropped.note_if(message.name.is_some(), "name");
        self.dropped.note_if(message.content.iter().any(|block| block.cache.is_some()), "cache");
        match message.role {
            Role::System | Role::Developer => self.said("system", &message.content),
            Role::User => self.said("user", &message.content),
            Role::Assistant => {
                let mut written = Written::for_provider(&message.content, self.thinks, self.dropped);
                let content = text_or_blocks(std::mem::take(&mut written.content));
                let mut value = Map::from_iter([("role".to_owned(), Value::from("assistant"))]);
                value.extend(content.map(|content| ("content".to_owned(), content)));
                written.add_beside(&mut value);
                // A message with nothing in it is refused.
                if value.len() > 1 {
                    self.messages.push(Value::Object(value));
                }
                Ok(())
            }
            Role::Tool => self.results(&message.content),
        }
    }

    fn said(&mut self, role: &str, blocks: &[Block]) -> Result<(), Refusal> {
        let mut content = Vec::new();
        for block in blocks {
            match &block.content {
                Content::Text { text, .. } | Content::Refusal(text) => content.extend((!text.is_empty()).then(|| text_value(text))),
                Content::Json(value) => content.push(text_value(&value.to_string())),
                Content::Media(media) => match media.kind {
                    MediaKind::Document => {
                        let text = media.words().ok_or_else(|| inexpressible(media))?;
                        self.documents.push(document::write(&text, media.name.as_deref()));
                    }
                    _ => content.push(image(media)?),
                },
                Content::Other { of: Dialect::CohereV2, value } => content.push(value.clone()),
                other => self.dropped.note(other.own_name()),
            }
        }
        if let Some(content) = text_or_blocks(content) {
            self.messages.push(json!({ "role": role, "content": content }));
        }
        Ok(())
    }

    /// A message for each result; images follow in a message of the user's, since a tool message takes none.
    fn results(&mut self, blocks: &[Block]) -> Result<(), Refusal> {
        let mut images = Vec::new();
        for block in blocks {
            let Content::ToolResult(result) = &block.content else { continue };
            self.dropped.note_if(result.is_error, "is_error");
            let content = self.result(result, &mut images)?;
            self.messages.push(json!({ "role": "tool", "tool_call_id": result.call_id, "content": content }));
        }
        if !images.is_empty() {
            self.messages.push(json!({ "role": "user", "content": images }));
        }
        Ok(())
    }

    fn result(&mut self, result: &ToolResult, images: &mut Vec<Value>) -> Result<Value, Refusal> {
        let mut content = Vec::new();
        for block in &result.content {
            match &block.content {
                Content::Text { text, .. } => content.extend((!text.is_empty()).then(|| text_value(text))),
                Content::Json(data @ Value::Object(_)) => content.push(json!({ "type": "document", "document": { "data": data } })),
                Content::Json(value) => content.push(text_value(&value.to_string())),
                Content::Media(media) if media.kind == MediaKind::Document => {
                    let document = document::write(&media.words().ok_or_else(|| inexpressible(media))?, media.name.as_deref());
                    content.push(json!({ "type": "document", "document": document }));
                }
                Content::Media(media) => {
                    images.push(text_value(&format!("The image that tool call {} gave:", result.call_id)));
                    images.push(image(media)?);
                }
                Content::Other { of: Dialect::CohereV2, value } => content.push(value.clone()),
                other => self.dropped.note(other.own_name()),
            }
        }
        Ok(text_or_blocks(content).unwrap_or_else(|| Value::from("")))
    }
}

/// One text as it is, else the list; `None` where there is nothing.
fn text_or_blocks(mut content: Vec<Value>) -> Option<Value> {
    let is_one_text = content.len() == 1 && content.first().is_some_and(|block| block["type"] == "text");
    match is_one_text {
        true => content.pop().map(|mut block| block["text"].take()),
        false => (!content.is_empty()).then(|| Value::from(content)),
    }
}

fn text_value(text: &str) -> Value {
    json!({ "type": "text", "text": text })
}

fn image(media: &Media) -> Result<Value, Refusal> {
    let url = media.to_url().filter(|_| media.kind == MediaKind::Image);
    let mut image = json!({ "url": url.ok_or_else(|| inexpressible(media))? });
    if let Some(detail) = &media.detail {
        image["detail"] = Value::from(detail.as_str());
    }
    Ok(json!({ "type": "image_url", "image_url": image }))
}

fn inexpressible(media: &Media) -> Refusal {
    let what = media.media_type.as_deref().unwrap_or(media.kind.as_str());
    let message = format!(
        "A part of 'messages' is {what}, which this model cannot be sent: its provider takes texts, images, and documents as text."
    );
    Refusal::invalid("not_expressible", message).with_param("messages")
}

/// The tools that may be called: where one or some are chosen by name, only those.
fn tools(request: &Request, dropped: &mut Dropped) -> Vec<Value> {
    let may_call = |name: &str| match &request.tool_choice {
        Some(ToolChoice::Tool(only)) => only == name,
        Some(ToolChoice::Allowed { names, .. }) => names.iter().any(|allowed| allowed == name),
        _ => true,
    };
    custom::functions(&request.tools, may_call, dropped)
}

/// `strict_tools` is for all tools or none, and each has to require a parameter.
fn strict(tools: &[Tool], dropped: &mut Dropped) -> Option<bool> {
    let functions = || tools.iter().filter_map(|tool| if let Tool::Function(function) = tool { Some(function) } else { None });
    let requires = |function: &Function| function.parameters.as_ref().is_some_and(|schema| schema["required"][0].is_string());
    if functions().all(|function| function.strict == Some(false)) {
        return Some(false);
    }
    let all = functions().all(|function| function.strict == Some(true) && requires(function));
    dropped.note_if(!all && functions().any(|function| function.strict == Some(true)), "strict");
    all.then_some(true)
}

fn thinking_value(thinking: &Thinking, thinks: bool, dropped: &mut Dropped) -> Option<Value> {
    dropped.note_if(thinking.wants_text_alone(), "thinking.summary");
    match (thinks, thinking.is_off()) {
        (true, true) => Some(json!({ "type": "disabled" })),
        (false, true) => None,
        (false, false) => {
            dropped.note("thinking");
            None
        }
        (true, false) => Some(match thinking.as_budget().filter(|budget| *budget > 0) {
            Some(budget) => json!({ "type": "enabled", "token_budget": budget }),
            None if thinking.enabled.is_none() => return None,
            None => json!({ "type": "enabled" }),
        }),
    }
}

fn sampling(sampling: &Sampling, dropped: &mut Dropped, set: &mut impl FnMut(&str, Value)) {
    let mut within = |name: &'static str, value: Option<f64>, least: f64, most: f64| {
        dropped.note_if(value.is_some_and(|value| !(least..=most).contains(&value)), name);
        value.map(|value| Value::from(value.clamp(least, most)))
    };
    let numbers = [
        ("temperature", within("temperature", sampling.temperature, 0.0, 1.0)),
        ("p", within("top_p", sampling.top_p, 0.01, 0.99)),
        ("frequency_penalty", within("frequency_penalty", sampling.frequency_penalty, 0.0, 1.0)),
        ("presence_penalty", within("presence_penalty", sampling.presence_penalty, 0.0, 1.0)),
    ];
    for (name, value) in numbers {
        value.into_iter().for_each(|value| set(name, value));
    }
    if let Some(most) = sampling.max_output {
        set("max_tokens", Value::from(most));
    }
    if let Some(top_k) = sampling.top_k {
        dropped.note_if(top_k > 500, "top_k");
        set("k", Value::from(top_k.min(500)));
    }
    match sampling.seed {
        Some(seed) if seed >= 0 => set("seed", Value::from(seed)),
        Some(_) => dropped.note("seed"),
        None => {}
    }
    if !sampling.stop.is_empty() {
        dropped.note_if(sampling.stop.len() > MOST_STOPS, "stop");
        set("stop_sequences", sampling.stop.iter().take(MOST_STOPS).cloned().collect());
    }
    if let Some(logprobs) = sampling.logprobs {
        set("logprobs", Value::from(logprobs));
    }
    dropped.note_if(sampling.top_logprobs.is_some_and(|top| top > 0), "top_logprobs");
    dropped.note_if(sampling.n.is_some_and(|n| n > 1), "n");
}
