//! Messages written as contents: system messages become the instruction, neighbours of the model's become one.

use serde_json::{Value, json};

use super::family::Family;
use super::parts::{Parts, own};
use crate::catalog::Dialect;
use crate::dialect::ir::{Block, Content, Dropped, Media, MediaSource, Message, Request, Role, ToolResult};
use crate::error::Refusal;

/// What Google documents for calls whose signature is not at hand, such as those of another provider's model.
const NO_SIGNATURE: &str = "skip_thought_signature_validator";
/// The other words for it, and both in base64, as SDKs send bytes.
const NO_SIGNATURES: [&str; 4] = [
    NO_SIGNATURE,
    "context_engineering_is_the_way_to_go",
    "c2tpcF90aG91Z2h0X3NpZ25hdHVyZV92YWxpZGF0b3I=",
    "Y29udGV4dF9lbmdpbmVlcmluZ19pc190aGVfd2F5X3RvX2dv",
];

/// Whether it says no more than that there is no signature.
///
/// Source: "Thought signatures" of the Gemini API's documentation.
pub fn is_placeholder(signature: &str) -> bool {
    NO_SIGNATURES.contains(&signature)
}
/// Types that may stand in a function response.
const IN_RESPONSES: [&str; 5] = ["image/png", "image/jpeg", "image/webp", "application/pdf", "text/plain"];

/// Writes the conversation; `system` takes the instruction's parts.
pub fn encode(request: &Request, family: &Family, system: &mut Vec<Value>, dropped: &mut Dropped) -> Result<Vec<Value>, Refusal> {
    let mut contents: Vec<Value> = Vec::new();
    let mut pending: Option<Parts> = None;
    for message in &request.messages {
        dropped.note_if(message.name.is_some(), "name");
        dropped.note_if(message.content.iter().any(|block| block.cache.is_some()), "cache");
        match message.role {
            Role::Assistant => assistant(message, family, pending.get_or_insert_default(), dropped)?,
            Role::System | Role::Developer => instruct(message, system, dropped),
            Role::User | Role::Tool => {
                flush(&mut pending, &mut contents);
                let (parts, more) = match message.role {
                    Role::User => (user(message, dropped)?, Vec::new()),
                    _ => results(message, request, family, dropped)?,
                };
                for parts in [parts, more].into_iter().filter(|parts| !parts.is_empty()) {
                    contents.push(json!({ "role": "user", "parts": parts }));
                }
            }
        }
    }
    flush(&mut pending, &mut contents);
    if contents.is_empty() {
        // There has to be something to answer: the instructions themselves.
        contents.extend((!system.is_empty()).then(|| json!({ "role": "user", "parts": std::mem::take(system) })));
    } else if contents.first().and_then(|first| first.get("role")) == Some(&json!("model")) {
        // The model may not speak first.
        contents.insert(0, json!({ "role": "user", "parts": [{ "text": " " }] }));
    }
    Ok(contents)
}

fn flush(pending: &mut Option<Parts>, contents: &mut Vec<Value>) {
    if let Some(parts) = pending.take().map(Parts::into_list).filter(|parts| !parts.is_empty()) {
        contents.push(json!({ "role": "model", "parts": parts }));
    }
}

fn instruct(message: &Message, system: &mut Vec<Value>, dropped: &mut Dropped) {
    for block in &message.content {
        match block.as_text() {
            Some(text) => system.extend((!text.is_empty()).then(|| json!({ "text": text }))),
            None => dropped.note(block.content.own_name()),
        }
    }
}

fn user(message: &Message, dropped: &mut Dropped) -> Result<Vec<Value>, Refusal> {
    let mut parts = Parts::default();
    for block in &message.content {
        common(block, &mut parts, dropped)?;
    }
    Ok(parts.into_list())
}

/// Blocks that either side may have.
fn common(block: &Block, parts: &mut Parts, dropped: &mut Dropped) -> Result<(), Refusal> {
    match &block.content {
        Content::Text { text, .. } | Content::Refusal(text) => parts.text(text),
        Content::Media(media) => parts.media(media, dropped)?,
        Content::Json(value) => parts.text(&value.to_string()),
        Content::Builtin(builtin) if builtin.of == Dialect::Gemini => parts.native(builtin.value.clone()),
        Content::Other { of: Dialect::Gemini, value } => parts.native(value.clone()),
        other @ (Content::Builtin(_) | Content::Other { .. }) => dropped.note(other.own_name()),
        Content::Reasoning(reasoning) => match own(reasoning.signature.as_ref()) {
            Some(_) => parts.reasoning(reasoning),
            None => dropped.note("reasoning"),
        },
        Content::ToolCall(call) => parts.call(call, own(call.signature.as_ref())),
        // These stand in tool messages alone.
        Content::ToolResult(_) => {}
    }
    Ok(())
}

fn assistant(message: &Message, family: &Family, parts: &mut Parts, dropped: &mut Dropped) -> Result<(), Refusal> {
    // Of parallel calls only the first has a signature, which Gemini 3 insists on.
    let mut is_first = family.is_third();
    // Dialects that tell reasoning first move a text's signature before it.
    let mut early = None;
    for block in &message.content {
        match &block.content {
            Content::Reasoning(reasoning)
                if reasoning.text.is_empty() && !parts.takes_signature() && own(reasoning.signature.as_ref()).is_some() =>
            {
                early.replace(reasoning).into_iter().for_each(|before| parts.reasoning(before));
            }
            Content::Text { text, .. } if !text.is_empty() => {
                common(block, parts, dropped)?;
                early.take().into_iter().for_each(|reasoning| parts.reasoning(reasoning));
            }
            Content::ToolCall(call) => {
                early.take().into_iter().for_each(|reasoning| parts.reasoning(reasoning));
                let signature = own(call.signature.as_ref()).or(is_first.then_some(NO_SIGNATURE));
                parts.call(call, signature);
                is_first = false;
            }
            _ => common(block, parts, dropped)?,
        }
    }
    early.into_iter().for_each(|reasoning| parts.reasoning(reasoning));
    Ok(())
}

/// The function responses, and the media that cannot stand in them, for a content of their own.
fn results(message: &Message, request: &Request, family: &Family, dropped: &mut Dropped) -> Result<(Vec<Value>, Vec<Value>), Refusal> {
    let (mut responses, mut more) = (Vec::new(), Parts::default());
    for block in &message.content {
        let Content::ToolResult(result) = &block.content else { continue };
        let name = result.name.as_deref().or_else(|| request.tool_name(&result.call_id)).unwrap_or("tool");
        let mut response = json!({ "id": result.call_id, "name": name, "response": response(result) });
        let mut inside = Vec::new();
        let mut is_introduced = false;
        for media in result.content.iter().filter_map(as_media) {
            let mut part = Parts::default();
            part.media(media, dropped)?;
            if family.is_third() && stands_in_response(media) {
                inside.extend(part.into_list());
                continue;
            }
            if !std::mem::replace(&mut is_introduced, true) {
                more.text(&format!("From the result of {name} ({}):", result.call_id));
            }
            part.into_list().into_iter().for_each(|part| more.native(part));
        }
        if !inside.is_empty() {
            response["parts"] = Value::Array(inside);
        }
        responses.push(json!({ "functionResponse": response }));
    }
    Ok((responses, more.into_list()))
}

fn as_media(block: &Block) -> Option<&Media> {
    match &block.content {
        Content::Media(media) => Some(media),
        _ => None,
    }
}

fn stands_in_response(media: &Media) -> bool {
    matches!(media.source, MediaSource::Base64(_)) && media.media_type.as_deref().is_some_and(|kind| IN_RESPONSES.contains(&kind))
}

/// An object: the data itself, or a text under Google's own keys `output` and `error`.
fn response(result: &ToolResult) -> Value {
    let said: Vec<&Content> =
        result.content.iter().map(|block| &block.content).filter(|content| !matches!(content, Content::Media(_))).collect();
    let value = match said.as_slice() {
        [] if result.is_error => json!(""),
        [] => return json!({}),
        [Content::Json(value)] => value.clone(),
        several if several.iter().all(|content| matches!(content, Content::Text { .. } | Content::Refusal(_))) => {
            json!(several.iter().filter_map(|content| plain(content)).collect::<Vec<_>>().join("\n"))
        }
        mixed => {
            // Whatever else a tool said is told as it is: a result is never lost.
            let told = |content: &&Content| match content {
                Content::Json(value) | Content::Other { value, .. } => value.clone(),
                Content::Builtin(builtin) => builtin.value.clone(),
                content => json!(plain(content)),
            };
            mixed.iter().map(told).collect()
        }
    };
    match (result.is_error, value) {
        (true, value) => json!({ "error": value }),
        (false, Value::Object(object)) => Value::Object(object),
        (false, value) => json!({ "output": value }),
    }
}

fn plain(content: &Content) -> Option<&str> {
    match content {
        Content::Text { text, .. } | Content::Refusal(text) => Some(text),
        _ => None,
    }
}
