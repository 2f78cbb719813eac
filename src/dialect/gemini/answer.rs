//! Whole answers, read and written.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::chunk::Chunk;
use super::grounding::{Grounding, Said};
use super::parts::{Parts, own};
use super::stream_reader::State;
use super::usage::Reported;
use super::{finish, logprobs};
use crate::catalog::Dialect;
use crate::dialect::Asked;
use crate::dialect::ir::{Answer, Choice, Collector, Content, Dropped, Event, Extra, Finish};

/// Reads an answer, or the chunks of one in a list.
pub fn decode(body: &[u8]) -> Result<Answer, String> {
    let broken = |e: serde_json::Error| format!("its JSON is broken or not Gemini's ({e})");
    let chunks: Vec<Chunk<'_>> = match body.trim_ascii_start().first() {
        Some(b'[') => serde_json::from_slice(body).map_err(broken)?,
        _ => vec![serde_json::from_slice(body).map_err(broken)?],
    };
    let says_something = |chunk: &Chunk<'_>| {
        chunk.candidates.is_some() || chunk.prompt_feedback.is_some() || chunk.usage_metadata.is_some() || chunk.error.is_some()
    };
    if !chunks.iter().any(says_something) {
        return Err("it has no candidates".to_owned());
    }
    let tier = chunks.iter().filter_map(|chunk| chunk.usage_metadata.as_ref()?.service_tier.clone()).next_back();
    let (mut state, mut events) = (State::default(), Vec::new());
    chunks.into_iter().for_each(|chunk| state.take(chunk, &mut events));
    if let Some(Event::Trouble(trouble)) = events.iter().find(|event| matches!(event, Event::Trouble(_))) {
        return Err(format!("it tells an error: {}", trouble.message));
    }
    state.finish(&mut events);
    let mut collector = Collector::default();
    events.into_iter().for_each(|event| collector.take(event));
    let mut answer = collector.finish().map_err(|trouble| trouble.message)?;
    answer.service_tier = tier.map(|tier| tier.to_ascii_lowercase());
    answer.extra = Extra::new(Dialect::Gemini, rest(body));
    Ok(answer)
}

/// What the prompt's check found, which no other dialect has.
fn rest(body: &[u8]) -> Map<String, Value> {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Rest {
        prompt_feedback: Option<Value>,
    }
    let rest = serde_json::from_slice::<Rest>(body).ok().and_then(|rest| rest.prompt_feedback);
    rest.map(|feedback| ("promptFeedback".to_owned(), feedback)).into_iter().collect()
}

/// Writes an answer.
pub fn encode(answer: Answer, asked: &Asked, dropped: &mut Dropped) -> Bytes {
    let Answer { id, model, created, choices, usage, service_tier, extra } = answer;
    let mut body = Map::new();
    if extra.of == Some(Dialect::Gemini) {
        extra.write(Dialect::Gemini, &mut body, dropped);
    }
    let candidates = (0u32..).zip(choices).map(|(index, choice)| Value::Object(candidate(index, choice, dropped)));
    body.insert("candidates".to_owned(), candidates.collect());
    if let Some(usage) = &usage {
        let mut reported = Reported::from(usage);
        reported.service_tier = service_tier;
        body.insert("usageMetadata".to_owned(), json!(reported));
    }
    if created != 0
        && let Ok(created) = jiff::Timestamp::from_second(created)
    {
        body.insert("createTime".to_owned(), Value::from(created.to_string()));
    }
    body.insert("modelVersion".to_owned(), Value::from(if model.is_empty() { asked.request.model.as_str() } else { &model }));
    body.insert("responseId".to_owned(), Value::from(response_id(id)));
    Bytes::from(Value::Object(body).to_string())
}

/// The provider's id, or one of the time's.
pub fn response_id(id: String) -> String {
    if id.is_empty() { format!("{:x}", jiff::Timestamp::now().as_nanosecond()) } else { id }
}

fn candidate(index: u32, choice: Choice, dropped: &mut Dropped) -> Map<String, Value> {
    let (mut parts, mut candidate) = (Parts::default(), Map::new());
    let (mut grounding, mut said) = (Grounding::default(), Said::default());
    for block in choice.content {
        let mut cite = |text: &str, citations: Vec<crate::dialect::ir::Citation>| {
            let from = said.len();
            said.add(text);
            citations.into_iter().for_each(|citation| grounding.add(citation, &said, from));
        };
        match block.content {
            Content::Text { text, citations } => {
                cite(&text, citations);
                parts.text(&text);
            }
            Content::Refusal(text) => parts.text(&text),
            Content::Reasoning(reasoning) => parts.reasoning(&reasoning),
            Content::ToolCall(call) => parts.call(&call, own(call.signature.as_ref())),
            Content::Media(media) => {
                if parts.media(&media, dropped).is_err() {
                    dropped.note("media");
                }
            }
            Content::Json(value) => parts.text(&value.to_string()),
            Content::Builtin(builtin) if builtin.of == Dialect::Gemini => native(builtin.value, &mut parts, &mut candidate),
            Content::Other { of: Dialect::Gemini, value } => parts.native(value),
            Content::Builtin(_) | Content::Other { .. } | Content::ToolResult(_) => dropped.note("builtin_tool_results"),
        }
    }
    grounding.write(&mut candidate);
    candidate.insert("content".to_owned(), json!({ "role": "model", "parts": parts.into_list() }));
    candidate.insert("index".to_owned(), json!(index));
    candidate.insert("finishReason".to_owned(), json!(finish::write(&choice.finish)));
    if let Finish::Other(reason) = &choice.finish
        && finish::write(&choice.finish) != reason
    {
        candidate.insert("finishMessage".to_owned(), json!(reason));
    }
    if !choice.logprobs.is_empty() {
        candidate.insert("logprobsResult".to_owned(), json!(logprobs::write(choice.logprobs)));
    }
    candidate
}

/// Metadata stands beside the content, everything else in it.
pub fn native(value: Value, parts: &mut Parts, candidate: &mut Map<String, Value>) {
    match value {
        Value::Object(members) if members.keys().any(|name| name.ends_with("Metadata")) => candidate.extend(members),
        part => parts.native(part),
    }
}
