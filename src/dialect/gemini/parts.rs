//! Blocks written as parts, for requests and answers alike.

use serde_json::{Map, Value, json};

use super::{carry, media};
use crate::dialect::ir::{Dropped, Media, Reasoning, Signature, ToolCall};
use crate::error::Refusal;

/// A content's parts as they are written.
#[derive(Debug, Default)]
pub struct Parts {
    list: Vec<Value>,
    /// The last part is text or media, which a signature that follows belongs to.
    takes_signature: bool,
    /// A text that says nothing was left out.
    is_empty_text: bool,
}

// === impl Parts ===

impl Parts {
    /// Text; an empty one says nothing, and stands only where nothing else is said.
    pub fn text(&mut self, text: &str) {
        match text.is_empty() {
            true => self.is_empty_text = true,
            false => self.push(json!({ "text": text }), true),
        }
    }

    /// Media.
    pub fn media(&mut self, media: &Media, dropped: &mut Dropped) -> Result<(), Refusal> {
        let part = media::to_part(media, dropped)?;
        self.push(Value::Object(part), true);
        Ok(())
    }

    /// A tool call; arguments that are no JSON object are wrapped in one.
    pub fn call(&mut self, call: &ToolCall, signature: Option<&str>) {
        let args = match call.is_custom {
            true => json!({ "input": call.arguments }),
            false => arguments(&call.arguments),
        };
        let mut part = json!({ "functionCall": { "id": call.id, "name": call.name, "args": args } });
        if let Some(signature) = signature {
            part["thoughtSignature"] = Value::from(signature);
        }
        self.push(part, false);
    }

    /// Reasoning; a signature of Gemini's without a text belongs to the part before it.
    pub fn reasoning(&mut self, reasoning: &Reasoning) {
        let Reasoning { text, signature, is_redacted, id } = reasoning;
        let is_own = signature.as_ref().is_some_and(|signature| signature.by == crate::catalog::Dialect::Gemini);
        let carried = signature.as_ref().map(|signature| carry::write(signature, *is_redacted, id.as_deref()));
        if text.is_empty() && is_own {
            match self.list.last_mut().and_then(Value::as_object_mut).filter(|_| self.takes_signature) {
                Some(last) => drop(last.insert("thoughtSignature".to_owned(), json!(carried))),
                None => self.list.push(json!({ "text": "", "thoughtSignature": carried })),
            }
            self.takes_signature = false;
            return;
        }
        let mut part = json!({ "text": text, "thought": true });
        if let Some(carried) = carried {
            part["thoughtSignature"] = Value::from(carried);
        }
        self.push(part, false);
    }

    /// Whether a signature that comes now belongs to the last part.
    pub fn takes_signature(&self) -> bool {
        self.takes_signature
    }

    /// A part as its own dialect has it.
    pub fn native(&mut self, part: Value) {
        self.push(part, false);
    }

    /// The parts.
    pub fn into_list(mut self) -> Vec<Value> {
        if self.list.is_empty() && self.is_empty_text {
            self.list.push(json!({ "text": "" }));
        }
        self.list
    }

    fn push(&mut self, part: Value, takes_signature: bool) {
        self.list.push(part);
        self.takes_signature = takes_signature;
    }
}

/// The signature of a call as Gemini has it.
pub fn own(signature: Option<&Signature>) -> Option<&str> {
    signature.and_then(|signature| signature.value_for(crate::catalog::Dialect::Gemini))
}

/// A tool call's arguments as an object.
pub fn arguments(text: &str) -> Value {
    match serde_json::from_str(text) {
        Ok(Value::Object(args)) => Value::Object(args),
        Ok(Value::Null) => json!({}),
        Ok(other) => json!({ "input": other }),
        Err(_) if text.trim().is_empty() => Value::Object(Map::new()),
        Err(_) => json!({ "input": text }),
    }
}
