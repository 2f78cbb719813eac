//! What the model said: in the assistant messages of a request, and in an answer.
//!
//! A `tool_plan`, which Cohere calls a chain of thought, is reasoning. Cohere signs none of its reasoning; the mark that says which of the
//! two it was lets it find its way back through other dialects. A thinking block or tool call of another provider's has its signature beside it.

use serde_json::{Map, Value, json};

use super::citation;
use crate::catalog::Dialect;
use crate::dialect::fields::{Fields, wrong};
use crate::dialect::ir::{Block, Citation, Content, Dropped, Reasoning, Signature, ToolCall};
use crate::error::Refusal;

const OWN: Dialect = Dialect::CohereV2;
/// Marks reasoning that was a `tool_plan`.
const PLAN: &str = "tool_plan";
/// Marks reasoning that was a thinking block.
const THINKING: &str = "thinking";

/// An assistant message in the making.
#[derive(Debug, Default)]
pub struct Written {
    /// Its content blocks.
    pub content: Vec<Value>,
    /// Its plan; empty where there is none.
    pub tool_plan: String,
    /// Its tool calls.
    pub tool_calls: Vec<Value>,
    /// Its citations.
    pub citations: Vec<Value>,
}

/// The mark of a plan.
pub fn plan_mark() -> Signature {
    Signature::new(OWN, PLAN)
}

/// The mark of a thinking block.
pub fn thinking_mark() -> Signature {
    Signature::new(OWN, THINKING)
}

/// Whether reasoning was a `tool_plan`.
fn is_plan(reasoning: &Reasoning) -> bool {
    reasoning.signature.as_ref().is_some_and(|signature| signature.by == OWN && signature.value == PLAN)
}

/// Whether Cohere can take reasoning back: its own, or one that nobody signed.
fn is_own(reasoning: &Reasoning) -> bool {
    !reasoning.is_redacted && reasoning.signature.as_ref().is_none_or(|signature| signature.by == OWN)
}

/// The arguments of a tool call; for tools that take none the model writes `null` or nothing.
pub fn arguments(text: String) -> String {
    match text.trim() {
        "" | "null" => "{}".to_owned(),
        _ => text,
    }
}

/// Reads a message's blocks: content, then the plan, then the tool calls.
pub fn read(message: &mut Fields) -> Result<Vec<Block>, Refusal> {
    let mut blocks = Vec::new();
    // Which block of the content became which of the message's.
    let mut places = Vec::new();
    match message.take("content") {
        None => {}
        Some(Value::String(text)) => {
            places.push((!text.is_empty()).then_some(0));
            blocks.extend((!text.is_empty()).then(|| Block::text(text)));
        }
        Some(Value::Array(list)) => {
            for value in list {
                let block = read_block(value)?;
                places.push(block.is_some().then_some(blocks.len()));
                blocks.extend(block);
            }
        }
        Some(_) => return Err(wrong("messages", "has 'content' that is neither a text nor a list of blocks")),
    }
    for value in message.list("citations")?.unwrap_or_default() {
        let (index, citation) = citation::read(value);
        let place = index.map_or_else(|| blocks.iter().position(|block| block.as_text().is_some()), |index| *places.get(index)?);
        if let Some(Content::Text { citations, .. }) = place.and_then(|place| blocks.get_mut(place)).map(|block| &mut block.content) {
            citations.push(citation);
        }
    }
    if let Some(text) = message.text("tool_plan")?.filter(|plan| !plan.is_empty()) {
        blocks.push(Content::Reasoning(Reasoning { text, signature: Some(plan_mark()), ..Reasoning::default() }).into());
    }
    for (at, value) in message.list("tool_calls")?.unwrap_or_default().into_iter().enumerate() {
        blocks.push(Content::ToolCall(read_call(value, at)?).into());
    }
    Ok(blocks)
}

fn read_block(value: Value) -> Result<Option<Block>, Refusal> {
    let original = value.clone();
    let mut fields = Fields::of(value, "messages")?;
    let content = match fields.text("type")?.as_deref() {
        Some("text") => {
            let text = fields.text("text")?.unwrap_or_default();
            if text.is_empty() {
                return Ok(None);
            }
            Content::Text { text, citations: Vec::new() }
        }
        Some("thinking") => {
            let text = fields.text("thinking")?.unwrap_or_default();
            let signature = fields.text("signature")?.map(|text| Signature::read(&text, OWN));
            if text.is_empty() && signature.is_none() {
                return Ok(None);
            }
            let is_redacted = fields.flag("redacted")?.unwrap_or(false);
            Content::Reasoning(Reasoning { text, signature: signature.or_else(|| Some(thinking_mark())), is_redacted, id: None })
        }
        _ => Content::Other { of: OWN, value: original },
    };
    Ok(Some(content.into()))
}

fn read_call(value: Value, at: usize) -> Result<ToolCall, Refusal> {
    let mut call = Fields::of(value, "messages")?;
    let mut function = call.object("function")?.unwrap_or_default();
    let given = match function.take("arguments") {
        Some(Value::String(text)) => text,
        Some(object) => object.to_string(),
        None => String::new(),
    };
    Ok(ToolCall {
        id: call.text("id")?.filter(|id| !id.is_empty()).unwrap_or_else(|| format!("call_{at}")),
        name: function.text("name")?.unwrap_or_default(),
        arguments: arguments(given),
        is_custom: false,
        signature: call.text("signature")?.map(|text| Signature::read(&text, OWN)),
    })
}

// === impl Written ===

impl Written {
    /// Writes a message for a provider; `thinks` says whether the model takes reasoning back.
    pub fn for_provider(blocks: &[Block], thinks: bool, dropped: &mut Dropped) -> Written {
        let mut written = Written::default();
        for block in blocks {
            match &block.content {
                Content::Reasoning(reasoning) if is_plan(reasoning) => written.tool_plan.push_str(&reasoning.text),
                Content::Reasoning(reasoning) if thinks && is_own(reasoning) => {
                    written.content.push(json!({ "type": "thinking", "thinking": reasoning.text }));
                }
                Content::Reasoning(_) => dropped.note("reasoning"),
                Content::ToolCall(call) => written.tool_calls.push(call_value(call)),
                _ => written.other(block, dropped),
            }
        }
        written
    }

    /// Writes a message for a caller, with the signatures that other providers want back.
    pub fn for_caller(blocks: &[Block], dropped: &mut Dropped) -> Written {
        let mut written = Written::default();
        for block in blocks {
            match &block.content {
                Content::Reasoning(reasoning) if is_plan(reasoning) => written.tool_plan.push_str(&reasoning.text),
                Content::Reasoning(reasoning) => written.content.push(thinking_value(reasoning)),
                Content::ToolCall(call) => {
                    let mut value = call_value(call);
                    if let Some(signature) = &call.signature {
                        value["signature"] = Value::from(signature.write(OWN));
                    }
                    written.tool_calls.push(value);
                }
                _ => written.other(block, dropped),
            }
        }
        written
    }

    fn other(&mut self, block: &Block, dropped: &mut Dropped) {
        match &block.content {
            Content::Text { text, citations } => self.text(text, citations),
            Content::Refusal(text) => self.text(text, &[]),
            Content::Json(value) => self.text(&value.to_string(), &[]),
            Content::Other { of: OWN, value } => self.content.push(value.clone()),
            other => dropped.note(other.own_name()),
        }
    }

    fn text(&mut self, text: &str, citations: &[Citation]) {
        if text.is_empty() {
            return;
        }
        let (index, length) = (self.content.len(), text.chars().count() as u64);
        self.citations.extend(citations.iter().map(|citation| citation::write(citation, text, length, index)));
        self.content.push(json!({ "type": "text", "text": text }));
    }

    /// Adds to a message what there is beside its content.
    pub fn add_beside(self, message: &mut Map<String, Value>) {
        if !self.tool_plan.is_empty() {
            message.insert("tool_plan".to_owned(), Value::from(self.tool_plan));
        }
        for (name, list) in [("tool_calls", self.tool_calls), ("citations", self.citations)] {
            if !list.is_empty() {
                message.insert(name.to_owned(), Value::from(list));
            }
        }
    }
}

/// A signature as it stands beside a thinking block; Cohere's own marks are not told.
pub fn told_signature(signature: &Signature) -> Option<String> {
    (signature.by != OWN).then(|| signature.write(OWN))
}

fn thinking_value(reasoning: &Reasoning) -> Value {
    let mut value = json!({ "type": "thinking", "thinking": reasoning.text });
    if let Some(text) = reasoning.signature.as_ref().and_then(told_signature) {
        value["signature"] = Value::from(text);
    }
    if reasoning.is_redacted {
        value["redacted"] = Value::from(true);
    }
    value
}

fn call_value(call: &ToolCall) -> Value {
    let given = match call.is_custom {
        true => json!({ "input": call.arguments }).to_string(),
        false => arguments(call.arguments.clone()),
    };
    json!({ "id": call.id, "type": "function", "function": { "name": call.name, "arguments": given } })
}
