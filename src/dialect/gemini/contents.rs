//! The conversation: contents and their parts, read into messages and blocks.

use serde_json::{Map, Value};

use super::fields::{has, list, object, take, text, wrong};
use super::messages::is_placeholder;
use super::{carry, media};
use crate::catalog::Dialect;
use crate::dialect::ir::{Block, Builtin, BuiltinKind, Content, Message, Reasoning, Request, Role, Signature, ToolCall, ToolResult};
use crate::error::Refusal;

/// Members of a part that tell of a tool which the provider ran.
const BUILTINS: [(&str, BuiltinKind); 4] = [
    ("executableCode", BuiltinKind::CodeExecution),
    ("codeExecutionResult", BuiltinKind::CodeExecution),
    ("toolCall", BuiltinKind::Other),
    ("toolResponse", BuiltinKind::Other),
];

/// A call that was read, for the results to find.
struct Known {
    /// As the request has it.
    given: Option<String>,
    id: String,
    name: String,
    is_answered: bool,
}

/// Reads contents in order.
#[derive(Default)]
struct Reader {
    calls: Vec<Known>,
}

/// Reads `contents` and adds them as messages.
pub fn decode(contents: Vec<Value>, request: &mut Request) -> Result<(), Refusal> {
    let mut reader = Reader::default();
    // A list of parts or texts may stand for one content of the user's.
    for content in contents {
        match content {
            Value::String(text) => request.push(Message::new(Role::User, vec![Block::text(text)])),
            Value::Object(content) if !has(&content, "parts") && !has(&content, "role") && !content.is_empty() => {
                reader.content("user", vec![Value::Object(content)], request)?;
            }
            Value::Object(mut content) => {
                let role = text(&mut content, "role", "contents")?;
                reader.content(role.as_deref().unwrap_or("user"), list(&mut content, "parts"), request)?;
            }
            _ => return Err(wrong("contents", "contents", "a list of contents")),
        }
    }
    Ok(())
}

// === impl Reader ===

impl Reader {
    fn content(&mut self, role: &str, parts: Vec<Value>, request: &mut Request) -> Result<(), Refusal> {
        let role = match role {
            "user" | "function" | "tool" | "" => Role::User,
            "model" | "assistant" => Role::Assistant,
            "system" => Role::System,
            _ => return Err(wrong("contents", "role", "'user' or 'model'")),
        };
        // Google's SDK keeps each piece of a streamed answer as a content of its own: together they are one turn.
        let goes_on = request.messages.pop_if(|last| role == Role::Assistant && last.role == Role::Assistant);
        let mut blocks = goes_on.map(|message| message.content).unwrap_or_default();
        let seam = blocks.len();
        let mut is_silent = !parts.is_empty();
        for part in parts {
            let part = match part {
                Value::String(text) => Map::from_iter([("text".to_owned(), Value::String(text))]),
                Value::Object(part) => part,
                _ => return Err(wrong("contents", "parts", "a list of objects")),
            };
            if role == Role::User && has(&part, "functionResponse") {
                push(Role::User, std::mem::take(&mut blocks), request);
                push(Role::Tool, vec![Content::ToolResult(self.result(part)?).into()], request);
                is_silent = false;
            } else {
                self.part(part, &mut blocks)?;
            }
        }
        join(&mut blocks, seam);
        if is_silent && blocks.is_empty() {
            // An empty text is a turn nevertheless.
            blocks.push(Block::text(""));
        }
        push(role, blocks, request);
        Ok(())
    }

    fn part(&mut self, mut part: Map<String, Value>, blocks: &mut Vec<Block>) -> Result<(), Refusal> {
        if let Some((_, kind)) = BUILTINS.iter().find(|(name, _)| has(&part, name)) {
            blocks.push(Content::Builtin(Builtin { kind: *kind, of: Dialect::Gemini, value: Value::Object(part) }).into());
            return Ok(());
        }
        let is_thought = part.get("thought") == Some(&Value::Bool(true));
        let has_media = ["inlineData", "fileData"].into_iter().find(|name| has(&part, name));
        if (has_media.is_some() && (is_thought || has(&part, "videoMetadata"))) || has(&part, "functionResponse") {
            blocks.push(Content::Other { of: Dialect::Gemini, value: Value::Object(part) }.into());
            return Ok(());
        }
        part.remove("thought");
        let carried = text(&mut part, "thoughtSignature", "contents")?.filter(|text| !text.is_empty() && !is_placeholder(text));
        let carried = carried.map(|text| carry::read(&text));
        if has(&part, "functionCall") {
            let call = self.call(object(&mut part, "functionCall", "contents")?)?;
            let signature = carried.and_then(|carried| settle(carried, blocks));
            blocks.push(Content::ToolCall(ToolCall { signature, ..call }).into());
            return Ok(());
        }
        if let Some(name) = has_media {
            let data = object(&mut part, name, "contents")?;
            let media = if name == "inlineData" { media::from_inline(data)? } else { media::from_file(data)? };
            blocks.push(Content::Media(media).into());
        } else if let Some(text) = text(&mut part, "text", "contents")? {
            if is_thought {
                let reasoning = carried.unwrap_or_default();
                blocks.push(Content::Reasoning(Reasoning { text, ..reasoning }).into());
                // A stream's pieces of one thought, whose signature is the last one's.
                join(blocks, blocks.len() - 1);
                return Ok(());
            }
            let signature = carried.and_then(|carried| settle(carried, blocks));
            if !text.is_empty() {
                blocks.push(Block::text(text));
            }
            after(signature, blocks);
            return Ok(());
        } else if !part.is_empty() {
            blocks.push(Content::Other { of: Dialect::Gemini, value: Value::Object(part) }.into());
        }
        let signature = carried.and_then(|carried| settle(carried, blocks));
        after(signature, blocks);
        Ok(())
    }

    fn call(&mut self, mut call: Map<String, Value>) -> Result<ToolCall, Refusal> {
        let given = text(&mut call, "id", "contents")?.filter(|id| !id.is_empty());
        let name = text(&mut call, "name", "contents")?.ok_or_else(|| wrong("contents", "functionCall.name", "a string"))?;
        let arguments = match take(&mut call, "args") {
            None => "{}".to_owned(),
            Some(Value::Object(args)) => Value::Object(args).to_string(),
            Some(_) => return Err(wrong("contents", "functionCall.args", "an object")),
        };
        let id = match &given {
            Some(id) if !self.calls.iter().any(|known| known.id == *id) => id.clone(),
            _ => self.new_id(),
        };
        self.calls.push(Known { given, id: id.clone(), name: name.clone(), is_answered: false });
        Ok(ToolCall { id, name, arguments, is_custom: false, signature: None })
    }

    /// Made of the call's place, so that the same conversation always has the same ids.
    fn new_id(&self) -> String {
        let first = self.calls.len();
        let mut ids = (first..).map(|place| format!("call_{place}"));
        ids.find(|id| !self.calls.iter().any(|known| known.id == *id)).unwrap_or_default()
    }

    fn result(&mut self, mut part: Map<String, Value>) -> Result<ToolResult, Refusal> {
        let mut response = object(&mut part, "functionResponse", "contents")?;
        let given = text(&mut response, "id", "contents")?.filter(|id| !id.is_empty());
        let name = text(&mut response, "name", "contents")?;
        let (mut content, is_error) = outcome(take(&mut response, "response"));
        for part in list(&mut response, "parts") {
            let Value::Object(mut part) = part else { return Err(wrong("contents", "functionResponse.parts", "a list of objects")) };
            let inline = object(&mut part, "inlineData", "contents")?;
            let file = object(&mut part, "fileData", "contents")?;
            if !inline.is_empty() {
                content.push(Content::Media(media::from_inline(inline)?).into());
            } else if !file.is_empty() {
                content.push(Content::Media(media::from_file(file)?).into());
            }
        }
        let call_id = self.answered(given, name.as_deref());
        Ok(ToolResult { call_id, name, content, is_error, is_custom: false })
    }

    /// The call that a result is of: by id, else the first unanswered one by name, else the first unanswered one.
    fn answered(&mut self, given: Option<String>, name: Option<&str>) -> String {
        let open = |known: &&mut Known| !known.is_answered;
        let by_id = given.as_ref().and_then(|id| self.calls.iter_mut().filter(open).find(|known| known.given.as_ref() == Some(id)));
        let found = match by_id {
            Some(known) => Some(known),
            None => {
                let place = |fits: &dyn Fn(&Known) -> bool| self.calls.iter().position(|known| !known.is_answered && fits(known));
                let by_name = place(&|known| name == Some(known.name.as_str()));
                let by_order = || place(&|_| given.is_none());
                by_name.or_else(by_order).and_then(|at| self.calls.get_mut(at))
            }
        };
        match found {
            Some(known) => {
                known.is_answered = true;
                known.id.clone()
            }
            None => given.unwrap_or_else(|| self.new_id()),
        }
    }
}

/// What a tool answered; the keys `output` and `error` are Google's own.
fn outcome(response: Option<Value>) -> (Vec<Block>, bool) {
    let Some(Value::Object(mut response)) = response else {
        return (response.into_iter().map(|value| Content::Json(value).into()).collect(), false);
    };
    if response.len() == 1 {
        if let Some(Value::String(output)) = response.get("output") {
            return (vec![Block::text(output.as_str())], false);
        }
        if let Some(error) = response.get_mut("error") {
            return match error.take() {
                Value::String(error) => (vec![Block::text(error)], true),
                error => (vec![Content::Json(error).into()], true),
            };
        }
    }
    match response.is_empty() {
        true => (Vec::new(), false),
        false => (vec![Content::Json(Value::Object(response)).into()], false),
    }
}

/// A signature of Gemini's is given back; another provider's is of reasoning, and goes where that stands.
fn settle(carried: Reasoning, blocks: &mut Vec<Block>) -> Option<Signature> {
    if carried.signature.as_ref().is_none_or(|signature| signature.by == Dialect::Gemini) {
        return carried.signature;
    }
    match blocks.last_mut().map(|block| &mut block.content) {
        // Some SDKs move a thought's signature to the part after it.
        Some(Content::Reasoning(last)) if last.signature.is_none() => *last = Reasoning { text: std::mem::take(&mut last.text), ..carried },
        _ => blocks.push(Content::Reasoning(carried).into()),
    }
    None
}

/// Makes one block of the two at a seam that are one text, or one thought whose signature is its last piece's.
fn join(blocks: &mut Vec<Block>, seam: usize) {
    let Some((before, after)) = blocks.split_at_mut_checked(seam) else { return };
    let (Some(last), Some(first)) = (before.last_mut(), after.first_mut()) else { return };
    match (&mut last.content, &mut first.content) {
        (Content::Text { text, .. }, Content::Text { text: more, .. }) => text.push_str(more),
        (Content::Reasoning(thought), Content::Reasoning(more)) if thought.signature.is_none() => {
            let text = std::mem::take(&mut thought.text) + &more.text;
            *thought = Reasoning { text, ..std::mem::take(more) };
        }
        _ => return,
    }
    blocks.remove(seam);
}

/// A signature of a part that is no call stands behind it, as reasoning that says nothing.
fn after(signature: Option<Signature>, blocks: &mut Vec<Block>) {
    if signature.is_some() {
        blocks.push(Content::Reasoning(Reasoning { signature, ..Reasoning::default() }).into());
    }
}

fn push(role: Role, blocks: Vec<Block>, request: &mut Request) {
    if !blocks.is_empty() {
        request.push(Message::new(role, blocks));
    }
}
