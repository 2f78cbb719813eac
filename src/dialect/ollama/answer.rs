//! Whole answers, of `/api/chat` and of `/api/generate`.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::message;
use super::usage::Reported;
use super::{call_id, created_at, done_reason, finish, is_generate};
use crate::dialect::Asked;
use crate::dialect::fields::Fields;
use crate::dialect::ir::{Answer, Block, Choice, Content, Dropped, Finish, MediaKind, MediaSource, TokenLogprob};
use crate::error::Refusal;

/// The probability of a token.
#[derive(Debug, Deserialize, Serialize)]
pub struct Logprob {
    token: String,
    logprob: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<Vec<u8>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    top_logprobs: Vec<Logprob>,
}

/// Reads an answer.
pub fn read(body: &[u8]) -> Result<Answer, String> {
    let usage = serde_json::from_slice::<Reported>(body).unwrap_or_default();
    let mut fields = Fields::read(body).map_err(|refusal| refusal.message)?;
    if let Some(error) = fields.take("error") {
        return Err(error.as_str().map_or_else(|| error.to_string(), str::to_owned));
    }
    let read = read_fields(&mut fields).map_err(|refusal| refusal.message)?;
    Ok(Answer { usage: usage.into(), ..read.ok_or("it has neither 'message' nor 'response'")? })
}

fn read_fields(fields: &mut Fields) -> Result<Option<Answer>, Refusal> {
    let content = match fields.object("message")? {
        Some(mut message) => {
            let text = message.text("content")?;
            let mut content = said(message.text("thinking")?, message.text("signature")?, text);
            content.extend(message.texts("images")?.into_iter().map(message::image));
            for value in message.list("tool_calls")?.unwrap_or_default() {
                let mut call = message::call(value, "message")?;
                if call.id.is_empty() {
                    call.id = call_id();
                }
                content.push(Content::ToolCall(call).into());
            }
            content
        }
        None => match fields.text("response")? {
            Some(text) => said(fields.text("thinking")?, fields.text("signature")?, Some(text)),
            None => return Ok(None),
        },
    };
    let calls_tools = content.iter().any(|block| matches!(block.content, Content::ToolCall(_)));
    let created = fields.text("created_at")?.and_then(|time| time.parse::<jiff::Timestamp>().ok());
    let logprobs = fields.take("logprobs").and_then(|list| serde_json::from_value::<Vec<Logprob>>(list).ok()).unwrap_or_default();
    Ok(Some(Answer {
        model: fields.text("model")?.unwrap_or_default(),
        created: created.map_or(0, jiff::Timestamp::as_second),
        choices: vec![Choice {
            content,
            finish: finish(fields.text("done_reason")?.as_deref(), calls_tools),
            logprobs: logprobs.into_iter().map(TokenLogprob::from).collect(),
        }],
        ..Answer::default()
    }))
}

fn said(thinking: Option<String>, signature: Option<String>, text: Option<String>) -> Vec<Block> {
    let text = text.filter(|text| !text.is_empty()).map(Block::text);
    message::reasoning(thinking, signature, false).into_iter().chain(text).collect()
}

/// Writes an answer in the shape of the path that was called; of several choices the first.
pub fn write(answer: Answer, asked: &Asked, dropped: &mut Dropped) -> Bytes {
    dropped.note_if(answer.choices.len() > 1, "n");
    let choice = answer.choices.into_iter().next().unwrap_or(Choice { content: Vec::new(), finish: Finish::Stop, logprobs: Vec::new() });
    let model = if answer.model.is_empty() { asked.request.model.clone() } else { answer.model };
    let mut body = Map::from_iter([
        ("model".to_owned(), Value::from(model)),
        ("created_at".to_owned(), Value::from(created_at(answer.created))),
        ("done".to_owned(), Value::from(true)),
        ("done_reason".to_owned(), Value::from(done_reason(&choice.finish))),
    ]);
    if let Some(usage) = &answer.usage {
        body.insert("prompt_eval_count".to_owned(), Value::from(usage.input));
        body.insert("eval_count".to_owned(), Value::from(usage.output));
    }
    if !choice.logprobs.is_empty() {
        body.insert("logprobs".to_owned(), choice.logprobs.into_iter().map(|logprob| json!(Logprob::from(logprob))).collect());
    }
    let mut message = write_message(&choice.content, dropped);
    match is_generate(&asked.called) {
        true => {
            body.insert("response".to_owned(), message.remove("content").unwrap_or_default());
            dropped.note_if(message.contains_key("tool_calls"), "tool_calls");
            body.extend(["thinking", "signature"].into_iter().filter_map(|name| message.remove_entry(name)));
        }
        false => drop(body.insert("message".to_owned(), Value::Object(message))),
    }
    answer.extra.write(message::OWN, &mut body, dropped);
    Bytes::from(Value::Object(body).to_string())
}

fn write_message(content: &[Block], dropped: &mut Dropped) -> Map<String, Value> {
    let (mut text, mut thinking, mut signatures) = (String::new(), String::new(), Vec::new());
    let (mut images, mut calls) = (Vec::new(), Vec::new());
    for block in content {
        match &block.content {
            Content::Text { text: more, citations } => {
                text.push_str(more);
                dropped.note_if(!citations.is_empty(), "citations");
            }
            Content::Refusal(more) => text.push_str(more),
            Content::Json(value) => text.push_str(&value.to_string()),
            Content::Reasoning(reasoning) => {
                thinking.push_str(&reasoning.text);
                signatures.push(reasoning.signature.as_ref().and_then(message::told_signature));
            }
            Content::ToolCall(call) => {
                let mut value = message::call_value(&call.id, &call.name, &call.arguments, call.is_custom, calls.len());
                value.extend(call.signature.iter().map(|signature| ("signature".to_owned(), Value::from(signature.write(message::OWN)))));
                calls.push(Value::Object(value));
            }
            Content::Media(media) => match (media.kind, &media.source) {
                (MediaKind::Image, MediaSource::Base64(data)) => images.push(Value::from(data.as_str())),
                _ => dropped.note("media"),
            },
            Content::Builtin(_) => dropped.note("builtin_tools"),
            Content::ToolResult(_) | Content::Other { .. } => dropped.note("content"),
        }
    }
    let mut value = Map::from_iter([("role".to_owned(), Value::from("assistant")), ("content".to_owned(), Value::from(text))]);
    if !thinking.is_empty() {
        value.insert("thinking".to_owned(), Value::from(thinking));
    }
    // A signature is of one reasoning: of several that became one text, none would fit.
    if let [Some(signature)] = signatures.as_slice() {
        value.insert("signature".to_owned(), Value::from(signature.as_str()));
    }
    for (name, list) in [("images", images), ("tool_calls", calls)] {
        if !list.is_empty() {
            value.insert(name.to_owned(), Value::from(list));
        }
    }
    value
}

// === impl Logprob ===

impl From<Logprob> for TokenLogprob {
    fn from(logprob: Logprob) -> TokenLogprob {
        let top = logprob.top_logprobs.into_iter().map(Into::into).collect();
        TokenLogprob { token: logprob.token, logprob: logprob.logprob, bytes: logprob.bytes, top }
    }
}

impl From<TokenLogprob> for Logprob {
    fn from(logprob: TokenLogprob) -> Logprob {
        let top_logprobs = logprob.top.into_iter().map(Into::into).collect();
        Logprob { token: logprob.token, logprob: logprob.logprob, bytes: logprob.bytes, top_logprobs }
    }
}
