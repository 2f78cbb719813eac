//! Writes `system` and `messages`: roles take turns, a user begins, nothing is empty, and the results of tools stand in a user's message.
//!
//! Source: `Message`, `ContentBlock` and `ToolResultBlock` in the Amazon Bedrock API reference.

use std::borrow::Cow;

use serde_json::{Map, Value, json};

use super::content::redacted_base64;
use super::family::{Family, Vendor};
use super::{citations, media};
use crate::catalog::Dialect;
use crate::dialect::ir::{Block, Cache, Citation, Content, Dropped, Message, Reasoning, Request, Role, ToolCall, ToolResult};
use crate::error::Refusal;

const D: Dialect = Dialect::BedrockConverse;
/// What is said where Bedrock wants some text and there is none.
const NOTHING: &str = ".";
const SEE_DOCUMENTS: &str = "See attached document(s).";
const SEE_FILES: &str = "See the attached file(s).";

/// What a conversation becomes.
pub struct Written {
    /// Instructions.
    pub system: Vec<Value>,
    /// The turns.
    pub messages: Vec<Value>,
}

struct Writer<'a> {
    family: &'a Family<'a>,
    dropped: &'a mut Dropped,
    names: media::Names,
    system: Vec<Value>,
    turns: Vec<(&'static str, Vec<Value>)>,
}

/// Writes the conversation.
pub fn write(request: &Request, family: &Family<'_>, dropped: &mut Dropped) -> Result<Written, Refusal> {
    let names = media::Names::default();
    let mut writer = Writer { family, dropped, names, system: Vec::new(), turns: Vec::new() };
    for message in &request.messages {
        writer.message(message)?;
    }
    Ok(writer.finish())
}

/// A cache point.
pub fn write_cache(cache: &Cache) -> Value {
    let mut point = Map::from_iter([("type".to_owned(), Value::from("default"))]);
    point.extend(cache.ttl.as_ref().map(|ttl| ("ttl".to_owned(), Value::from(ttl.as_str()))));
    json!({ "cachePoint": point })
}

// === impl Writer ===

impl Writer<'_> {
    fn message(&mut self, message: &Message) -> Result<(), Refusal> {
        self.dropped.note_if(message.name.is_some(), "name");
        match message.role {
            Role::System | Role::Developer => self.instructions(&message.content),
            Role::User => {
                let mut out = Vec::new();
                for block in &message.content {
                    self.user_block(block, &mut out)?;
                }
                self.push("user", out);
            }
            Role::Assistant => {
                let mut out = Vec::new();
                for block in &message.content {
                    self.assistant_block(block, &mut out);
                }
                self.push("assistant", out);
            }
            Role::Tool => self.results(&message.content)?,
        }
        Ok(())
    }

    /// Neighbours of one role become one turn.
    fn push(&mut self, role: &'static str, blocks: Vec<Value>) {
        match self.turns.last_mut() {
            Some((last, content)) if *last == role => content.extend(blocks),
            _ if blocks.is_empty() => {}
            _ => self.turns.push((role, blocks)),
        }
    }

    fn instructions(&mut self, content: &[Block]) {
        for block in content {
            match &block.content {
                Content::Text { text, .. } if text.is_empty() => continue,
                Content::Text { text, .. } => self.system.push(json!({ "text": text })),
                Content::Other { of: D, value } => self.system.push(value.clone()),
                other => {
                    self.dropped.note(other.own_name());
                    continue;
                }
            }
            if let Some(point) = self.cache(block) {
                self.system.push(point);
            }
        }
    }

    fn cache(&mut self, block: &Block) -> Option<Value> {
        let cache = block.cache.as_ref()?;
        if self.family.takes_cache(false) {
            return Some(write_cache(cache));
        }
        self.dropped.note("cache");
        None
    }

    fn user_block(&mut self, block: &Block, out: &mut Vec<Value>) -> Result<(), Refusal> {
        match &block.content {
            Content::Text { text, .. } | Content::Refusal(text) if text.is_empty() => return Ok(()),
            Content::Text { text, .. } | Content::Refusal(text) => out.push(json!({ "text": text })),
            Content::Media(one) => out.push(media::write(one, &mut self.names)?),
            Content::Json(value) => out.push(json!({ "text": value.to_string() })),
            Content::Other { of: D, value } => out.push(value.clone()),
            Content::ToolResult(result) => out.push(self.result(result, &mut Vec::new())?),
            other @ (Content::Other { .. } | Content::Builtin(_) | Content::Reasoning(_) | Content::ToolCall(_)) => {
                self.dropped.note(other.own_name());
                return Ok(());
            }
        }
        out.extend(self.cache(block));
        Ok(())
    }

    fn assistant_block(&mut self, block: &Block, out: &mut Vec<Value>) {
        match &block.content {
            Content::Text { text, .. } | Content::Refusal(text) if text.trim().is_empty() => return,
            Content::Text { text, citations } => out.push(self.cited(text, citations)),
            Content::Refusal(text) => out.push(json!({ "text": text })),
            Content::ToolCall(call) => out.push(self.call(call)),
            Content::Reasoning(reasoning) => match self.reasoning(reasoning) {
                Some(value) => out.push(value),
                None => return self.dropped.note("reasoning"),
            },
            Content::Other { of: D, value } => out.push(value.clone()),
            Content::Builtin(builtin) if builtin.of == D => out.push(builtin.value.clone()),
            Content::Json(value) => out.push(json!({ "text": value.to_string() })),
            other @ (Content::Media(_) | Content::Other { .. } | Content::Builtin(_) | Content::ToolResult(_)) => {
                return self.dropped.note(other.own_name());
            }
        }
        out.extend(self.cache(block));
    }

    /// Citations go back to whose they are alone.
    fn cited(&mut self, text: &str, cited: &[Citation]) -> Value {
        let own: Vec<Value> = cited.iter().filter(|citation| matches!(citation.native, Some((D, _)))).map(citations::write).collect();
        self.dropped.note_if(own.len() < cited.len(), "citations");
        match own.is_empty() {
            true => json!({ "text": text }),
            false => json!({ "citationsContent": { "content": [{ "text": text }], "citations": own } }),
        }
    }

    fn reasoning(&self, reasoning: &Reasoning) -> Option<Value> {
        let value = reasoning.signature.as_ref()?.value_for(D)?;
        Some(match reasoning.is_redacted {
            true => json!({ "reasoningContent": { "redactedContent": redacted_base64(value) } }),
            false => json!({ "reasoningContent": { "reasoningText": { "text": reasoning.text, "signature": value } } }),
        })
    }

    fn call(&self, call: &ToolCall) -> Value {
        let parsed = serde_json::from_str::<Value>(&call.arguments).ok().filter(Value::is_object);
        let input = match parsed {
            Some(object) if !call.is_custom => object,
            _ if call.arguments.trim().is_empty() && !call.is_custom => json!({}),
            _ => json!({ "input": call.arguments }),
        };
        json!({ "toolUse": { "toolUseId": tool_id(&call.id, self.family), "name": call.name, "input": input } })
    }

    /// The results of tools, and after them what cannot stand in one.
    fn results(&mut self, content: &[Block]) -> Result<(), Refusal> {
        let (mut out, mut moved) = (Vec::new(), Vec::new());
        for block in content {
            if let Content::ToolResult(result) = &block.content {
                out.push(self.result(result, &mut moved)?);
                // A mark inside a result reaches up to its end.
                let inner = result.content.iter().rfind(|inner| inner.cache.is_some());
                out.extend(self.cache(inner.filter(|_| block.cache.is_none()).unwrap_or(block)));
            }
        }
        out.extend(moved);
        self.push("user", out);
        Ok(())
    }

    fn result(&mut self, result: &ToolResult, moved: &mut Vec<Value>) -> Result<Value, Refusal> {
        let mut content = Vec::new();
        let moved_before = moved.len();
        for block in &result.content {
            match &block.content {
                Content::Text { text, .. } | Content::Refusal(text) => content.push(json!({ "text": text })),
                Content::Json(value) if value.is_object() => content.push(json!({ "json": value })),
                Content::Json(value) => content.push(json!({ "text": value.to_string() })),
                Content::Other { of: D, value } => content.push(value.clone()),
                Content::Media(one) => match self.family.takes_in_result(one.kind) {
                    true => content.push(media::write(one, &mut self.names)?),
                    false => moved.push(media::write(one, &mut self.names)?),
                },
                other => self.dropped.note(other.own_name()),
            }
        }
        if content.is_empty() && moved.len() > moved_before {
            content.push(json!({ "text": SEE_FILES }));
        }
        let status = if result.is_error { "error" } else { "success" };
        Ok(json!({ "toolResult": { "toolUseId": tool_id(&result.call_id, self.family), "content": content, "status": status } }))
    }

    fn finish(mut self) -> Written {
        if self.turns.first().is_none_or(|(role, _)| *role != "user") {
            self.turns.insert(0, ("user", vec![json!({ "text": NOTHING })]));
        }
        for (role, content) in &mut self.turns {
            let has = |name: &str| content.iter().any(|block| block.get(name).is_some());
            if *role == "user" && has("document") && !has("text") {
                content.push(json!({ "text": SEE_DOCUMENTS }));
            }
        }
        if self.family.vendor == Vendor::Anthropic {
            self.trim_last();
        }
        let messages = self.turns.into_iter().map(|(role, content)| json!({ "role": role, "content": content })).collect();
        Written { system: self.system, messages }
    }

    /// Claude goes on with an answer that was begun only where no white space stands at its end.
    fn trim_last(&mut self) {
        if let Some(("assistant", content)) = self.turns.last_mut()
            && let Some(Value::String(text)) = content.last_mut().and_then(|block| block.get_mut("text"))
        {
            text.truncate(text.trim_end().len());
        }
    }
}

/// A call's id in the characters that Bedrock takes: another one, always the same for the same id, where it has others.
fn tool_id<'a>(id: &'a str, family: &Family<'_>) -> Cow<'a, str> {
    let is_claude = family.vendor == Vendor::Anthropic;
    let fits = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c) || (!is_claude && ".:".contains(c));
    let is_short = |most: usize| id.len() <= most && !id.is_empty();
    let digest = || format!("{:08x}", crc32fast::hash(id.as_bytes()));
    if family.vendor == Vendor::Mistral {
        let is_right = id.len() == 9 && id.chars().all(|c| c.is_ascii_alphanumeric());
        return if is_right { Cow::Borrowed(id) } else { Cow::Owned(format!("t{}", digest())) };
    }
    if is_short(64) && id.chars().all(fits) {
        return Cow::Borrowed(id);
    }
    let clean: String = id.chars().map(|c| if fits(c) { c } else { '_' }).take(55).collect();
    Cow::Owned(format!("{clean}_{}", digest()))
}
