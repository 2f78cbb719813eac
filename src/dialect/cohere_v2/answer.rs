//! Whole answers.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::assistant::{self, Written};
use super::usage::{Reported, Told};
use super::{finish, finish_reason};
use crate::catalog::Dialect;
use crate::dialect::fields::Fields;
use crate::dialect::ir::{Answer, Choice, Dropped, Extra, Finish, TokenLogprob};

/// The probabilities of a piece of text's tokens, in a whole answer and beside a stream's deltas.
#[derive(Debug, Deserialize, Serialize)]
pub struct Logprob {
    #[serde(default)]
    text: String,
    #[serde(default)]
    token_ids: Vec<u64>,
    #[serde(default)]
    logprobs: Vec<f64>,
}

/// Reads an answer.
pub fn read(body: &[u8]) -> Result<Answer, String> {
    let mut fields = Fields::read(body).map_err(|refusal| refusal.message)?;
    let mut message = fields.object("message").map_err(|refusal| refusal.message)?.ok_or("it has no 'message'")?;
    let content = assistant::read(&mut message).map_err(|refusal| refusal.message)?;
    let reason = fields.text("finish_reason").map_err(|refusal| refusal.message)?;
    let usage = fields.take("usage").and_then(|usage| serde_json::from_value::<Reported>(usage).ok());
    let logprobs = fields.take("logprobs").and_then(|list| serde_json::from_value::<Vec<Logprob>>(list).ok()).unwrap_or_default();
    let id = fields.take("id").or_else(|| fields.take("generation_id"));
    Ok(Answer {
        id: id.and_then(|id| id.as_str().map(str::to_owned)).unwrap_or_default(),
        choices: vec![Choice {
            content,
            finish: reason.as_deref().map_or(Finish::Stop, finish),
            logprobs: logprobs.into_iter().map(TokenLogprob::from).collect(),
        }],
        usage: usage.and_then(Reported::usage),
        extra: Extra::new(Dialect::CohereV2, fields.rest()),
        ..Answer::default()
    })
}

/// Writes an answer; of several choices the first.
pub fn write(answer: Answer, dropped: &mut Dropped) -> Bytes {
    dropped.note_if(answer.choices.len() > 1, "n");
    let choice = answer.choices.into_iter().next();
    let (content, finish, logprobs) =
        choice.map_or((Vec::new(), Finish::Stop, Vec::new()), |choice| (choice.content, choice.finish, choice.logprobs));
    let mut written = Written::for_caller(&content, dropped);
    let mut message = Map::from_iter([("role".to_owned(), Value::from("assistant"))]);
    let said = std::mem::take(&mut written.content);
    if !said.is_empty() || written.tool_calls.is_empty() {
        message.insert("content".to_owned(), Value::from(said));
    }
    written.add_beside(&mut message);
    let mut body = Map::from_iter([
        ("id".to_owned(), Value::from(id(answer.id))),
        ("finish_reason".to_owned(), Value::from(finish_reason(&finish))),
        ("message".to_owned(), Value::Object(message)),
    ]);
    if let Some(usage) = &answer.usage {
        body.insert("usage".to_owned(), json!(Told::from(usage)));
    }
    if !logprobs.is_empty() {
        body.insert("logprobs".to_owned(), logprobs.into_iter().map(|logprob| json!(Logprob::from(logprob))).collect());
    }
    answer.extra.write(Dialect::CohereV2, &mut body, dropped);
    Bytes::from(Value::Object(body).to_string())
}

/// The provider's id, or one of our own.
pub fn id(given: String) -> String {
    match given.is_empty() {
        true => format!("chat-{}", crate::dialect::fresh_id()),
        false => given,
    }
}

// === impl Logprob ===

impl From<Logprob> for TokenLogprob {
    /// A piece of several tokens is as likely as all of them together.
    fn from(logprob: Logprob) -> TokenLogprob {
        TokenLogprob { token: logprob.text, logprob: logprob.logprobs.iter().sum(), bytes: None, top: Vec::new() }
    }
}

impl From<TokenLogprob> for Logprob {
    fn from(logprob: TokenLogprob) -> Logprob {
        Logprob { text: logprob.token, token_ids: Vec::new(), logprobs: vec![logprob.logprob] }
    }
}
