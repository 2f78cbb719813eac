//! A request in the intermediate form of its operation, for providers that speak another dialect than its caller.

use bytes::Bytes;
use serde_json::value::RawValue;

use super::ir::Dropped;
use super::translate::{self, Translated};
use super::{Ask, Asked, Ending, Reading, embed, rerank};
use crate::catalog::{Dialect, Operation};
use crate::error::Refusal;

/// What is asked for.
#[derive(Clone, Debug)]
pub enum Meant {
    /// A chat.
    Chat(Asked),
    /// Vectors.
    Embed(embed::Asked),
    /// An order of documents.
    Rerank(rerank::Asked),
}

/// Whose fields an OpenAI-like request for vectors or a ranking is to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it all")]
pub enum Manner {
    Openai,
    Voyage,
    Jina,
}

/// Reads a request; what is wrong in it is named by its field.
pub fn read(ask: &Ask) -> Result<Meant, Refusal> {
    match ask.called.operation {
        Operation::Embeddings | Operation::EmbedOne => embed::read_request(ask).map(Meant::Embed),
        Operation::Rerank => rerank::read_request(ask).map(Meant::Rerank),
        _ => translate::read_request(ask).map(Meant::Chat),
    }
}

/// What is refused because dropping it would change the meaning.
pub fn not_expressible(param: &'static str, message: impl Into<String>) -> Refusal {
    Refusal::invalid("not_expressible", message).with_param(param)
}

// === impl Meant ===

impl Meant {
    /// The bodies of a provider's calls, for what is no chat, and what cannot be said in them.
    pub fn calls(&self, dialect: Dialect, model: &str) -> Result<(Vec<Bytes>, Dropped), Refusal> {
        let mut dropped = Dropped::default();
        let calls = match self {
            Meant::Embed(asked) => embed::write_request(&asked.request, dialect, model, &mut dropped)?,
            Meant::Rerank(asked) => vec![rerank::write_request(&asked.request, dialect, model, &mut dropped)],
            Meant::Chat(_) => Vec::new(),
        };
        Ok((calls, dropped))
    }

    /// Turns a provider's whole answer into the caller's dialect; the answers to several calls are a list. The error says what is wrong.
    pub fn answered(&self, body: &[u8], from: Dialect) -> Result<Translated, String> {
        let (body, dropped, usage) = match self {
            Meant::Chat(asked) => return translate::whole(body, from, asked),
            Meant::Embed(asked) => {
                let answers = answers(body)?.into_iter().map(|one| embed::read_answer(one, from)).collect::<Result<Vec<_>, _>>()?;
                let answer = embed::join(answers, &asked.request)?;
                (embed::write_answer(&answer, asked), Dropped::default(), answer.usage)
            }
            Meant::Rerank(asked) => {
                let answer = rerank::read_answer(body)?;
                (rerank::write_answer(&answer, asked), Dropped::default(), answer.usage)
            }
        };
        Ok(Translated { body, dropped, reading: Reading { usage, ending: Ending::Complete, ..Reading::default() } })
    }
}

fn answers(body: &[u8]) -> Result<Vec<&[u8]>, String> {
    if !body.trim_ascii_start().starts_with(b"[") {
        return Ok(vec![body]);
    }
    let list: Vec<&RawValue> = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    Ok(list.into_iter().map(|one| one.get().as_bytes()).collect())
}

/// The answers to several calls as one list.
pub fn as_list(answers: &[Bytes]) -> Bytes {
    let mut list = vec![b'['];
    list.extend_from_slice(&answers.join(&b","[..]));
    list.push(b']');
    Bytes::from(list)
}

// === impl Manner ===

impl Manner {
    /// Their models are named after them, wherever they are served.
    pub fn of(model: &str) -> Manner {
        match model {
            _ if model.contains("voyage-") || model.starts_with("rerank-2") => Manner::Voyage,
            _ if model.contains("jina-") => Manner::Jina,
            _ => Manner::Openai,
        }
    }
}
