//! Writes the conversation.

use std::borrow::Cow;

use serde_json::{Map, Value, json};

use super::manner::Manner;
use super::parts::{self, cache_control, text_part};
use crate::catalog::Dialect;
use crate::dialect::custom::INPUT;
use crate::dialect::ir::{Block, Cache, Content, Dropped, Media, Message, Reasoning, Request, Role, ToolCall, ToolResult};
use crate::dialect::openai_chat::{calls, details};
use crate::error::Refusal;

/// Writes messages one after the other.
struct Writer<'a> {
    manner: &'a Manner<'a>,
    dropped: &'a mut Dropped,
    out: Vec<Value>,
}

/// The messages of a request.
pub fn encode(request: &Request, manner: &Manner<'_>, dropped: &mut Dropped) -> Result<Vec<Value>, Refusal> {
    let mut writer = Writer { manner, dropped, out: Vec::with_capacity(request.messages.len()) };
    for message in &request.messages {
        match message.role {
            Role::Assistant => writer.assistant(message),
            Role::Tool => writer.tool(message)?,
            Role::System | Role::Developer | Role::User => writer.plain(message)?,
        }
    }
    Ok(writer.out)
}

// === impl Writer ===

impl Writer<'_> {
    fn plain(&mut self, message: &Message) -> Result<(), Refusal> {
        let role = match message.role {
            Role::Developer if self.manner.has_developer() => "developer",
            Role::System | Role::Developer => "system",
            _ => "user",
        };
        let mut parts = Vec::with_capacity(message.content.len());
        for block in &message.content {
            parts.extend(self.part(block)?);
        }
        if parts.is_empty() && !message.content.is_empty() {
            return Ok(());
        }
        let content = self.content(parts);
        self.push(role, content, message.name.as_deref(), Map::new());
        Ok(())
    }

    fn assistant(&mut self, message: &Message) {
        let (mut parts, mut calls, mut reasoning) = (Vec::new(), Vec::new(), Vec::new());
        let mut more = Map::new();
        for block in &message.content {
            match &block.content {
                Content::Text { text, .. } if text.is_empty() => {}
                Content::Text { text, .. } => parts.push(self.text(text, block)),
                Content::Refusal(text) => drop(more.insert("refusal".to_owned(), Value::from(text.as_str()))),
                Content::ToolCall(call) => calls.push(self.call(call)),
                Content::Reasoning(own) => reasoning.push(own),
                Content::Other { of: Dialect::OpenaiChat, value } => match value.get("audio") {
                    Some(audio) => drop(more.insert("audio".to_owned(), audio.clone())),
                    None => parts.push(value.clone()),
                },
                other => self.dropped.note(other.own_name()),
            }
        }
        let parts = [self.reasoning(&reasoning, &mut more), parts].concat();
        if !calls.is_empty() {
            more.insert("tool_calls".to_owned(), Value::Array(calls));
        }
        if parts.is_empty() && more.is_empty() && !message.content.is_empty() {
            return;
        }
        // What the model said is one text, whatever pieces it came in.
        let is_plain = parts.iter().all(|part| part.get("text").is_some() && !is_marked(part));
        let content = match is_plain {
            true if parts.is_empty() && !more.is_empty() => Value::Null,
            true => Value::from(parts.iter().filter_map(|part| part.get("text")?.as_str()).collect::<String>()),
            false => Value::Array(parts),
        };
        self.push("assistant", content, message.name.as_deref(), more);
    }

    /// Reasoning goes back to the one that made it, in the form in which it came, and to nobody else.
    ///
    /// A caller whose dialect has no place for a signature, as Ollama's, cannot say whose it was: it goes to a model that wants its own back.
    fn reasoning(&mut self, blocks: &[&Reasoning], more: &mut Map<String, Value>) -> Vec<Value> {
        let by = |block: &Reasoning| block.signature.as_ref().map(|proof| proof.by);
        let (own, others): (Vec<&Reasoning>, Vec<&Reasoning>) =
            blocks.iter().copied().partition(|block| by(block) == Some(Dialect::OpenaiChat));
        for block in others {
            let is_bare = !block.is_redacted && matches!(by(block), None | Some(Dialect::Ollama));
            match is_bare && self.manner.wants_reasoning_back() {
                true => details::append(more, details::FIELDS[0], &block.text),
                false => self.dropped.note("reasoning"),
            }
        }
        let (chunks, others): (Vec<&Reasoning>, Vec<&Reasoning>) = own.into_iter().partition(|block| details::chunk(block).is_some());
        details::write_back(&others, more);
        chunks.into_iter().filter_map(details::chunk).collect()
    }

    fn call(&mut self, call: &ToolCall) -> Value {
        let is_foreign = call.signature.as_ref().is_some_and(|signature| signature.value_for(Dialect::OpenaiChat).is_none());
        let is_function = call.is_custom && !self.manner.takes_custom_tools();
        let mut own = Cow::Borrowed(call);
        if is_foreign {
            own.to_mut().signature = None;
        }
        if is_function {
            (own.to_mut().is_custom, own.to_mut().arguments) = (false, json!({ INPUT: call.arguments }).to_string());
        }
        calls::write(&own, &self.manner.call_id(&call.id))
    }

    /// Each result is a message of its own; what is no text follows as the user's.
    fn tool(&mut self, message: &Message) -> Result<(), Refusal> {
        let mut following = Vec::new();
        for block in &message.content {
            let Content::ToolResult(result) = &block.content else { continue };
            let content = self.result(result, block, &mut following)?;
            let id = Value::from(self.manner.call_id(&result.call_id).into_owned());
            self.push("tool", content, None, Map::from_iter([("tool_call_id".to_owned(), id)]));
        }
        if !following.is_empty() {
            self.push("user", Value::Array(following), None, Map::new());
        }
        Ok(())
    }

    fn result(&mut self, result: &ToolResult, around: &Block, following: &mut Vec<Value>) -> Result<Value, Refusal> {
        self.dropped.note_if(result.is_error, "is_error");
        let mut parts = Vec::new();
        for block in &result.content {
            match &block.content {
                Content::Media(media) => {
                    let told = format!("This belongs to the result of the tool call {}:", self.manner.call_id(&result.call_id));
                    following.push(Value::Object(text_part(&told)));
                    following.push(parts::encode(media, self.manner)?);
                }
                Content::Json(Value::String(text)) => parts.push(self.text(text, block)),
                Content::Json(value) => parts.push(self.text(&value.to_string(), block)),
                _ => parts.extend(self.part(block)?),
            }
        }
        if let (Some(cache), Some(last), true) = (&around.cache, parts.last_mut(), self.manner.takes_cache_marks()) {
            last["cache_control"] = cache_control(cache);
        }
        if parts.is_empty() && result.is_error {
            parts.push(Value::Object(text_part("The tool failed.")));
        }
        if parts.is_empty() && !following.is_empty() {
            parts.push(Value::Object(text_part("The result is in the next message.")));
        }
        Ok(self.content(parts))
    }

    fn part(&mut self, block: &Block) -> Result<Option<Value>, Refusal> {
        Ok(match &block.content {
            Content::Text { text, .. } if text.is_empty() => None,
            Content::Text { text, .. } | Content::Refusal(text) => Some(self.text(text, block)),
            Content::Media(media) => {
                let plain = Media { context: None, citable: false, ..media.clone() };
                self.dropped.note_if(media.context.is_some(), "context");
                self.dropped.note_if(media.citable, "citations");
                let mut part = parts::encode(&plain, self.manner)?;
                self.mark(block, &mut part);
                Some(part)
            }
            Content::Json(value) => Some(self.text(&value.to_string(), block)),
            Content::Other { of: Dialect::OpenaiChat, value } => Some(value.clone()),
            other => {
                self.dropped.note(other.own_name());
                None
            }
        })
    }

    fn text(&mut self, text: &str, block: &Block) -> Value {
        let mut part = Value::Object(text_part(text));
        self.mark(block, &mut part);
        part
    }

    fn mark(&mut self, block: &Block, part: &mut Value) {
        match &block.cache {
            Some(cache) if self.manner.takes_cache_marks() => part["cache_control"] = cache_control(cache),
            Some(Cache { breakpoint: Some(mark), .. }) => part[Cache::BREAKPOINT] = mark.clone(),
            cache => self.dropped.note_if(cache.is_some(), "cache"),
        }
    }

    /// One text where there is nothing else to say, since not all providers take a list.
    fn content(&self, parts: Vec<Value>) -> Value {
        let text_of = |part: &Value| part.get("text").filter(|_| !is_marked(part))?.as_str().map(str::to_owned);
        let texts: Option<Vec<String>> = parts.iter().map(text_of).collect();
        match texts {
            Some(texts) if texts.len() < 2 || self.manner.wants_plain_text() => Value::from(texts.join("\n\n")),
            _ => Value::Array(parts),
        }
    }

    fn push(&mut self, role: &str, content: Value, name: Option<&str>, more: Map<String, Value>) {
        let mut message = json!({ "role": role, "content": content });
        if let Some(object) = message.as_object_mut() {
            object.extend(name.map(|name| ("name".to_owned(), Value::from(name))));
            object.extend(more);
        }
        self.out.push(message);
    }
}

/// Whether the prompt's cache is to reach up to a part, which then cannot be told as mere text.
fn is_marked(part: &Value) -> bool {
    part.get("cache_control").is_some() || part.get(Cache::BREAKPOINT).is_some()
}
