//! Whole answers: read as the one chunk that they are, written as `chat.completion` objects.

use bytes::Bytes;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::reading::Reading;
use super::shapes::Chunk;
use super::usage::Written;
use super::{calls, citations, details, finish, ids, logprobs};
use crate::catalog::Dialect;
use crate::dialect::Asked;
use crate::dialect::ir::{Answer, Choice, Collector, Content, Dropped, Event, MediaKind, MediaSource, Reasoning};

/// The tiers that OpenAI's SDKs know.
const TIERS: [&str; 5] = ["auto", "default", "flex", "scale", "priority"];

#[derive(Serialize)]
struct Completion<'a> {
    id: String,
    object: &'static str,
    created: i64,
    model: &'a str,
    choices: Vec<Told>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Written>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service_tier: Option<String>,
    #[serde(flatten)]
    extra: Map<String, Value>,
}

#[derive(Serialize)]
struct Told {
    index: usize,
    message: Map<String, Value>,
    logprobs: Option<logprobs::Written>,
    finish_reason: &'static str,
}

/// Reads a provider's answer.
pub fn decode(body: &[u8]) -> Result<Answer, String> {
    let chunk: Chunk<'_> = serde_json::from_slice(body).map_err(|e| format!("it is no chat completion ({e})"))?;
    let has_choices = chunk.choices.as_ref().is_some_and(|choices| !choices.is_empty());
    let service_tier = chunk.service_tier.clone().filter(|tier| !tier.is_empty());
    let (mut reading, mut events) = (Reading::default(), Vec::new());
    // Whatever a provider calls it, it is read as a whole: choices count by their places.
    reading.take(
        Chunk { object: Some("chat.completion".to_owned()).filter(|_| chunk.object.as_deref() != Some("error")).or(chunk.object), ..chunk },
        body,
        &mut events,
    );
    reading.end(&mut events);
    if let Some(trouble) = events.iter().find_map(|event| if let Event::Trouble(trouble) = event { Some(trouble) } else { None }) {
        return Err(trouble.message.clone());
    }
    if !has_choices {
        return Err("it has no choices".to_owned());
    }
    let mut collector = Collector::default();
    events.into_iter().for_each(|event| collector.take(event));
    let answer = collector.finish().map_err(|trouble| trouble.message)?;
    Ok(Answer { service_tier, ..answer })
}

/// Writes an answer for a caller.
pub fn encode(answer: Answer, asked: &Asked, dropped: &mut Dropped) -> Bytes {
    let is_legacy = wants_function_call(asked);
    let mut extra = Map::new();
    answer.extra.write(Dialect::OpenaiChat, &mut extra, dropped);
    let service_tier = answer.service_tier.filter(|tier| {
        let is_known = TIERS.contains(&tier.as_str());
        dropped.note_if(!is_known, "service_tier");
        is_known
    });
    let model = if answer.model.is_empty() { &asked.request.model } else { &answer.model };
    let choices = answer.choices.into_iter().enumerate().map(|(index, choice)| told(index, choice, is_legacy, dropped)).collect();
    let completion = Completion {
        id: ids::answer(&answer.id),
        object: "chat.completion",
        created: ids::created(answer.created),
        model,
        choices,
        usage: answer.usage.map(Written::of),
        service_tier,
        extra,
    };
    serde_json::to_vec(&completion).unwrap_or_default().into()
}

/// Whether the caller knows calls only as `function_call`, of the time before there were several.
pub fn wants_function_call(asked: &Asked) -> bool {
    let has = |name: &str| asked.member(name).is_some_and(|value| !value.is_null());
    !asked.request.tools.is_empty() && has("functions") && !has("tools")
}

fn told(index: usize, choice: Choice, is_legacy: bool, dropped: &mut Dropped) -> Told {
    let has_refusal = choice.content.iter().any(|block| matches!(block.content, Content::Refusal(_)));
    let (reason, is_all) = finish::write(&choice.finish, has_refusal);
    dropped.note_if(!is_all, "finish_reason");
    let mut message = self::message(&choice, dropped);
    let mut finish_reason = reason;
    if let Some(Value::Array(calls)) = is_legacy.then(|| message.remove("tool_calls")).flatten() {
        let function = calls.into_iter().next().and_then(|mut call| call.get_mut("function").map(Value::take));
        message.insert("function_call".to_owned(), function.unwrap_or_default());
        finish_reason = if reason == "tool_calls" { "function_call" } else { reason };
    }
    let logprobs = Some(choice.logprobs).filter(|tokens| !tokens.is_empty()).map(logprobs::write);
    Told { index, message, logprobs, finish_reason }
}

fn message(choice: &Choice, dropped: &mut Dropped) -> Map<String, Value> {
    let mut message = Map::new();
    let (mut text, mut refusal) = (None::<String>, None::<String>);
    let mut lists: [(&str, Vec<Value>); 4] = ["tool_calls", "annotations", "images", "executed_tools"].map(|name| (name, Vec::new()));
    let [(_, tool_calls), (_, annotations), (_, images), (_, executed)] = &mut lists;
    let mut reasoning: Vec<&Reasoning> = Vec::new();
    for block in &choice.content {
        match &block.content {
            Content::Text { text: more, citations } => {
                let count = |text: &str| if citations.is_empty() { 0 } else { text.chars().count() as u64 };
                let before = count(text.as_deref().unwrap_or_default());
                text.get_or_insert_default().push_str(more);
                annotations.extend(citations.iter().filter_map(|citation| citations::write(citation, before, count(more))));
            }
            Content::Refusal(more) => refusal.get_or_insert_default().push_str(more),
            Content::Reasoning(block) => reasoning.push(block),
            Content::ToolCall(call) => tool_calls.push(calls::write(call, &call.id)),
            Content::Media(media) => match (media.kind, &media.source, media.to_url()) {
                (MediaKind::Image, _, Some(url)) => images.push(json!({ "type": "image_url", "image_url": { "url": url } })),
                (MediaKind::Audio, MediaSource::Base64(data), _) => {
                    let audio = json!({ "id": ids::fresh("audio_"), "data": data, "expires_at": 0, "transcript": "" });
                    message.insert("audio".to_owned(), audio);
                }
                _ => dropped.note("media"),
            },
            Content::Builtin(builtin) if builtin.of == Dialect::OpenaiChat => executed.push(builtin.value.clone()),
            Content::Builtin(_) => dropped.note("builtin_tool_calls"),
            Content::Other { .. } | Content::ToolResult(_) | Content::Json(_) => dropped.note("content"),
        }
    }
    let says_nothing_else = tool_calls.is_empty() && refusal.is_none();
    message.insert("role".to_owned(), Value::from("assistant"));
    message.insert("content".to_owned(), text.or(says_nothing_else.then(String::new)).map_or(Value::Null, Value::from));
    message.insert("refusal".to_owned(), refusal.map_or(Value::Null, Value::from));
    details::write(&reasoning, &mut message);
    for (name, list) in lists.into_iter().filter(|(_, list)| !list.is_empty()) {
        message.insert(name.to_owned(), Value::Array(list));
    }
    message
}
