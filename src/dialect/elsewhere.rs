//! What a request says that another dialect cannot: refused where it would mean something else without it, named where it would not.

use std::borrow::Cow;

use serde_json::Value;

use super::ir::{Block, Content, Dropped, Media, MediaKind, MediaSource, Message, Request, Role};
use super::openai_responses;
use crate::catalog::Dialect;
use crate::error::Refusal;

/// Members of one dialect alone without which a request means something else, and what to do instead.
const NEEDED: [(Dialect, &str, &str); 5] = [
    (Dialect::Gemini, "cachedContent", "send what is cached in 'contents' instead"),
    (Dialect::BedrockConverse, "guardrailConfig", "leave it out if the answer may go unguarded, or name a model of Bedrock's"),
    (Dialect::Ollama, "context", "send the conversation to /api/chat instead"),
    (Dialect::Ollama, "suffix", "name a model of an Ollama server"),
    (Dialect::Ollama, "raw", "leave it out, or name a model of an Ollama server"),
];

/// Refuses what a provider of `dialect` cannot be told at all.
pub fn check(request: &Request, dialect: Dialect) -> Result<(), Refusal> {
    if dialect != Dialect::OpenaiResponses {
        openai_responses::refuse_held_state(request)?;
    }
    check_members(request, dialect)?;
    check_files(request, dialect)
}

/// Names what the dialect has no place for at all, in whichever block it stands.
pub fn name(request: &Request, dialect: Dialect, dropped: &mut Dropped) {
    use Dialect::{AnthropicMessages, BedrockConverse, Gemini, Ollama, OpenaiChat};
    request.unread.iter().for_each(|name| dropped.note(name.clone()));
    let blocks = || request.messages.iter().flat_map(|message| &message.content);
    let results = || blocks().filter_map(|block| if let Content::ToolResult(result) = &block.content { Some(result) } else { None });
    let inner = || results().flat_map(|result| &result.content);
    let media = || blocks().chain(inner()).filter_map(|block| if let Content::Media(media) = &block.content { Some(media) } else { None });
    dropped.note_if(blocks().any(|block| has_foreign_signature(block, dialect)), "signature");
    let has_detail = |media: &Media| media.detail.as_deref().is_some_and(|detail| detail != "auto");
    dropped.note_if(matches!(dialect, BedrockConverse | Ollama) && media().any(has_detail), "detail");
    dropped.note_if(dialect == Ollama && media().any(|media| media.citable), "citations");
    let takes_marks = matches!(dialect, OpenaiChat | AnthropicMessages | BedrockConverse);
    dropped.note_if(!takes_marks && inner().any(|block| block.cache.is_some()), "cache");
    let is_instruction = |message: &&Message| matches!(message.role, Role::System | Role::Developer);
    let mut later = request.messages.iter().skip_while(is_instruction).filter(is_instruction);
    let is_moved = later.any(|message| message.content.iter().any(|block| block.as_text().is_some()));
    dropped.note_if(is_moved && matches!(dialect, BedrockConverse | Gemini), "system_position");
}

/// What another dialect alone knows is told to the model as it is where it stands in a tool's result: a result is never lost.
pub fn with_results_told(request: &Request, dialect: Dialect) -> Cow<'_, Request> {
    let foreign = |content: &Content| match content {
        Content::Other { of, value } if *of != dialect => Some(value.to_string()),
        Content::Builtin(builtin) if builtin.of != dialect => Some(builtin.value.to_string()),
        _ => None,
    };
    let is_foreign = |block: &Block| matches!(&block.content, Content::ToolResult(result) if result.content.iter().any(|part| foreign(&part.content).is_some()));
    if !request.messages.iter().flat_map(|message| &message.content).any(is_foreign) {
        return Cow::Borrowed(request);
    }
    let mut told = request.clone();
    for block in told.messages.iter_mut().flat_map(|message| &mut message.content) {
        if let Content::ToolResult(result) = &mut block.content {
            for part in &mut result.content {
                if let Some(text) = foreign(&part.content) {
                    *part = Block::text(text);
                }
            }
        }
    }
    Cow::Owned(told)
}

fn check_members(request: &Request, dialect: Dialect) -> Result<(), Refusal> {
    let is_said = |value: &Value| {
        !matches!(value, Value::Null | Value::Bool(false))
            && value.as_str() != Some("")
            && value.as_array().is_none_or(|list| !list.is_empty())
    };
    let of = request.extra.of.filter(|of| *of != dialect);
    let is_sent = |name: &str| request.extra.fields.get(name).is_some_and(is_said);
    match NEEDED.iter().find(|(whose, name, _)| of == Some(*whose) && is_sent(name)) {
        None => Ok(()),
        Some((_, name, instead)) => {
            let message = format!(
                "'{name}' cannot be said to the provider behind this model, and without it the request means something else: {instead}."
            );
            Err(Refusal::invalid("not_expressible", message).with_param(name))
        }
    }
}

/// A file that another provider holds is seen by that provider alone.
fn check_files(request: &Request, dialect: Dialect) -> Result<(), Refusal> {
    use Dialect::{OpenaiChat, OpenaiResponses};
    let is_seen = |of: Dialect, kind: MediaKind| match (of, dialect) {
        (OpenaiChat | OpenaiResponses, OpenaiResponses) => true,
        // Chat takes files of its own as documents alone.
        (OpenaiChat | OpenaiResponses, OpenaiChat) => kind == MediaKind::Document,
        _ => of == dialect,
    };
    let elsewhere = |block: &Block| match &block.content {
        Content::Media(Media { kind, source: MediaSource::File { of, id }, .. }) if !is_seen(*of, *kind) => Some(id.clone()),
        _ => None,
    };
    let in_result = |block: &Block| match &block.content {
        Content::ToolResult(result) => result.content.iter().find_map(elsewhere),
        _ => None,
    };
    let mut blocks = request.messages.iter().flat_map(|message| &message.content);
    match blocks.find_map(|block| elsewhere(block).or_else(|| in_result(block))) {
        None => Ok(()),
        Some(id) => {
            let id: String = id.chars().take(100).collect();
            let message = format!(
                "The file '{id}' was uploaded to another provider than this model's, which cannot see it: send its content in the request, as base64."
            );
            Err(Refusal::invalid("not_expressible", message).with_param("messages"))
        }
    }
}

/// Whether a call has what another dialect's provider wants back with it.
fn has_foreign_signature(block: &Block, dialect: Dialect) -> bool {
    match &block.content {
        Content::ToolCall(call) => call.signature.as_ref().is_some_and(|signature| signature.by != dialect),
        _ => false,
    }
}
