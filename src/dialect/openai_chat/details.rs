//! Reasoning as messages carry it: a text beside the content, OpenRouter's `reasoning_details`, or Mistral's chunks of type `thinking`.
//!
//! What a provider of this dialect said comes with a signature of this dialect's that tells how: the name of the member that it stood in,
//! or the detail's JSON without its text. So it finds its way back to that provider in the form in which it came, and to nobody else.
//! Source: OpenRouter's "Reasoning tokens", Mistral's "Reasoning", DeepSeek's and Moonshot's `reasoning_content`.

use serde_json::{Map, Value, json};

use crate::catalog::Dialect;
use crate::dialect::ir::{Block, Content, Reasoning, Signature};

/// The members that hold reasoning as a text, the more usual first.
pub const FIELDS: [&str; 2] = ["reasoning_content", "reasoning"];
/// The type of Mistral's chunks, which stands for them as the name of a member does for a text.
const THINKING: &str = "thinking";
/// Where a stream told a text before its signature, the detail says how much of it is its own, in characters.
const LENGTH: &str = "text_length";

/// What a detail is, by its `type`.
pub struct Detail {
    /// The readable part.
    pub text: String,
    /// There is only an encrypted form.
    pub is_redacted: bool,
    /// All but the readable part.
    pub mark: Map<String, Value>,
}

// === impl Detail ===

impl Detail {
    /// Reads one; `None` where it is none.
    pub fn read(value: Value) -> Option<Detail> {
        let Value::Object(mut mark) = value else { return None };
        let kind = mark.get("type").and_then(Value::as_str)?;
        let is_redacted = kind == "reasoning.encrypted";
        let field = text_field(kind);
        let text = match mark.remove(field) {
            Some(Value::String(text)) => text,
            _ => String::new(),
        };
        mark.retain(|_, value| !value.is_null());
        Some(Detail { text, is_redacted, mark })
    }

    /// Whether it goes on with what `mark` is of.
    pub fn continues(&self, mark: &Map<String, Value>) -> bool {
        !self.is_redacted
            && ["type", "index", "id"].iter().all(|name| mark.get(*name) == self.mark.get(*name) || self.mark.get(*name).is_none())
    }

    /// As reasoning of its own.
    pub fn into_reasoning(self) -> Reasoning {
        let foreign_id = self.mark.get("id").and_then(Value::as_str).map(str::to_owned);
        let signature = signature_of(&self.mark);
        let id = foreign_id.filter(|_| signature.by != Dialect::OpenaiChat);
        Reasoning { text: self.text, signature: Some(signature), is_redacted: self.is_redacted, id }
    }
}

fn text_field(kind: &str) -> &'static str {
    if kind == "reasoning.summary" { "summary" } else { "text" }
}

/// Another dialect's signature that a detail carries, or the detail itself.
pub fn signature_of(mark: &Map<String, Value>) -> Signature {
    let told = ["signature", "data"].iter().find_map(|name| mark.get(*name)?.as_str());
    let foreign = told.map(|told| Signature::read(told, Dialect::OpenaiChat)).filter(|signature| signature.by != Dialect::OpenaiChat);
    foreign.unwrap_or_else(|| Signature::new(Dialect::OpenaiChat, Value::Object(mark.clone()).to_string()))
}

/// Says that reasoning stood as a text in the member of that name.
pub fn mark_of(field: &str) -> Signature {
    Signature::new(Dialect::OpenaiChat, field)
}

/// Reasoning of a message: its details, and what it says as one text.
pub fn read(details: Vec<Value>, said: String) -> Vec<Block> {
    let mut said = said.as_str();
    let mut out: Vec<Reasoning> = Vec::new();
    let details: Vec<Detail> = details.into_iter().filter_map(Detail::read).collect();
    // Where one tells its text, an empty one beside it is a signature that stands alone.
    let is_told = details.iter().any(|detail| !detail.text.is_empty());
    for mut detail in details {
        let length = detail.mark.remove(LENGTH).and_then(|length| length.as_u64());
        let is_bare = detail.text.is_empty() && !detail.is_redacted && (length.is_some() || !is_told);
        if is_bare {
            let end = length.and_then(|length| said.char_indices().nth(length as usize)).map_or(said.len(), |(at, _)| at);
            let (own, rest) = said.split_at(end);
            (detail.text, said) = (own.to_owned(), rest);
        }
        out.push(detail.into_reasoning());
    }
    if out.iter().all(|reasoning| reasoning.text.is_empty()) && !said.is_empty() {
        out.insert(0, Reasoning { text: said.to_owned(), ..Reasoning::default() });
    }
    out.into_iter().map(|reasoning| Content::Reasoning(reasoning).into()).collect()
}

/// Mistral's chunk `{"type": "thinking", "thinking": [{"type": "text", "text": …}]}`.
pub fn of_chunk(chunk: &Value) -> Option<Block> {
    let text = chunk_text(chunk)?;
    Some(Content::Reasoning(Reasoning { text, signature: Some(mark_of(THINKING)), ..Reasoning::default() }).into())
}

/// The text of such a chunk.
pub fn chunk_text(chunk: &Value) -> Option<String> {
    match chunk.get(THINKING)? {
        Value::String(text) => Some(text.clone()),
        Value::Array(list) => Some(list.iter().filter_map(|part| part.get("text")?.as_str()).collect()),
        _ => None,
    }
}

/// Such a chunk, where reasoning came as one.
pub fn chunk(reasoning: &Reasoning) -> Option<Value> {
    let is_one = own(reasoning).is_some_and(|mark| mark == THINKING);
    is_one.then(|| json!({ "type": THINKING, THINKING: [{ "type": "text", "text": reasoning.text }] }))
}

/// Writes reasoning that goes back to the provider that made it.
pub fn write_back(blocks: &[&Reasoning], message: &mut Map<String, Value>) {
    let mut details = Vec::new();
    for (index, block) in blocks.iter().enumerate() {
        match own(block).and_then(|mark| FIELDS.into_iter().find(|field| *field == mark)) {
            Some(field) => append(message, field, &block.text),
            None => details.push(detail(index, block)),
        }
    }
    if !details.is_empty() {
        message.insert("reasoning_details".to_owned(), Value::Array(details));
    }
}

/// Writes reasoning for a caller: as one text, and with the details where there is a signature to be kept.
pub fn write(blocks: &[&Reasoning], message: &mut Map<String, Value>) {
    let field = blocks.iter().find_map(|block| FIELDS.into_iter().find(|field| own(block) == Some(*field))).unwrap_or(FIELDS[0]);
    blocks.iter().filter(|block| !block.text.is_empty()).for_each(|block| append(message, field, &block.text));
    if blocks.iter().any(|block| has_detail(block)) {
        let details = blocks.iter().enumerate().map(|(index, block)| detail(index, block)).collect();
        message.insert("reasoning_details".to_owned(), Value::Array(details));
    }
}

/// The detail that gives a signature after the text, of so many characters, was told.
pub fn closing(index: usize, signature: Signature, characters: usize) -> Option<Value> {
    let block = Reasoning { signature: Some(signature), ..Reasoning::default() };
    has_detail(&block).then(|| {
        let mut detail = detail(index, &block);
        if let Some(detail) = detail.as_object_mut() {
            detail.remove("text");
            detail.remove("summary");
            detail.insert(LENGTH.to_owned(), Value::from(characters));
        }
        detail
    })
}

/// One block of reasoning as a detail.
pub fn detail(index: usize, block: &Reasoning) -> Value {
    let own_detail = own(block).and_then(|mark| serde_json::from_str::<Map<String, Value>>(mark).ok());
    if let Some(mut mark) = own_detail {
        let field = text_field(mark.get("type").and_then(Value::as_str).unwrap_or_default());
        if !block.is_redacted {
            mark.insert(field.to_owned(), Value::from(block.text.as_str()));
        }
        return Value::Object(mark);
    }
    let proof = block.signature.as_ref().filter(|_| has_detail(block));
    let mut detail = match (proof, block.is_redacted) {
        (Some(proof), true) => json!({ "type": "reasoning.encrypted", "data": proof.write(Dialect::OpenaiChat) }),
        (Some(proof), false) => {
            json!({ "type": "reasoning.text", "text": block.text, "signature": proof.write(Dialect::OpenaiChat) })
        }
        (None, _) => json!({ "type": "reasoning.text", "text": block.text }),
    };
    detail["format"] = Value::from(format(proof));
    detail["index"] = Value::from(index);
    if let Some(id) = &block.id {
        detail["id"] = Value::from(id.as_str());
    }
    detail
}

/// OpenRouter's name of the form that a signature has.
fn format(proof: Option<&Signature>) -> &'static str {
    match proof.map(|proof| proof.by) {
        Some(Dialect::AnthropicMessages | Dialect::BedrockConverse) => "anthropic-claude-v1",
        Some(Dialect::OpenaiResponses) => "openai-responses-v1",
        Some(Dialect::Gemini) => "google-gemini-v1",
        _ => "unknown",
    }
}

/// Whether there is more to keep than a text.
fn has_detail(block: &Reasoning) -> bool {
    match own(block) {
        Some(mark) => mark != THINKING && !FIELDS.contains(&mark),
        None => block.signature.is_some(),
    }
}

fn own(block: &Reasoning) -> Option<&str> {
    block.signature.as_ref().filter(|signature| signature.by == Dialect::OpenaiChat).map(|signature| signature.value.as_str())
}

/// Adds to reasoning that stands as a text.
pub fn append(message: &mut Map<String, Value>, field: &str, text: &str) {
    match message.get_mut(field) {
        Some(Value::String(before)) => before.push_str(text),
        _ => drop(message.insert(field.to_owned(), Value::from(text))),
    }
}
