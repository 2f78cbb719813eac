//! Rankings: documents in the order in which they answer a query, in Cohere's shape and in that of Jina and Voyage.
//!
//! Source: "Rerank API (v2)" in Cohere's API reference; "Reranker" in Jina's; "Rerankers" in Voyage's.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::embed::usage::Billed;
use super::fields::{Fields, wrong};
use super::ir::Dropped;
use super::meant::Manner;
use super::{Ask, Called, fresh_id, openai_chat};
use crate::catalog::Dialect;
use crate::error::Refusal;
use crate::ledger::record::Usage;

/// A request for a ranking.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Request {
    /// The model, as the caller names it.
    pub model: String,
    /// What is looked for.
    pub query: String,
    /// Texts, or objects with a `text` and more.
    pub documents: Vec<Value>,
    /// How many are wanted, the best of all.
    pub top_n: Option<u64>,
    /// Whether each result is to hold its document.
    pub return_documents: Option<bool>,
    /// Tokens of a document that are read (Cohere's alone).
    pub max_tokens_per_doc: Option<u64>,
    /// Whether what is too long is cut (Voyage's and Jina's).
    pub truncation: Option<bool>,
    /// The names of what one dialect alone knows.
    pub rest: Vec<String>,
}

/// A ranking, the best first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    /// The provider's name for it.
    pub id: Option<String>,
    /// The model, as the provider names it.
    pub model: Option<String>,
    /// What was ranked.
    pub results: Vec<Ranked>,
    /// What it cost in tokens.
    pub usage: Option<Usage>,
    /// What it cost in searches (Cohere's).
    pub search_units: Option<f64>,
}

/// One document's place.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Ranked {
    /// Which of the documents it is, from 0.
    pub index: usize,
    /// How well it fits.
    pub relevance_score: f64,
}

/// What an answer has to know of its request.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The path that was called.
    pub called: Called,
    /// The request as it was read.
    pub request: Arc<Request>,
}

#[derive(Deserialize)]
struct Read {
    id: Option<String>,
    model: Option<String>,
    /// Voyage calls them `data`.
    #[serde(alias = "data")]
    results: Vec<Ranked>,
    usage: Option<Value>,
    meta: Option<Meta>,
}

#[derive(Deserialize)]
struct Meta {
    billed_units: Option<Value>,
}

/// Reads a caller's request, in either shape.
pub fn read_request(ask: &Ask) -> Result<Asked, Refusal> {
    let mut fields = Fields::read(&ask.body)?;
    fields.take("model");
    let query = fields.text("query")?.ok_or_else(|| wrong("query", "is missing"))?;
    let documents = fields.list("documents")?.filter(|list| !list.is_empty()).ok_or_else(|| wrong("documents", "is missing or empty"))?;
    if !documents.iter().all(|document| document.is_string() || document.is_object()) {
        return Err(wrong("documents", "has to hold texts or objects"));
    }
    let mut request = Request { model: ask.model.clone(), query, documents, ..Request::default() };
    request.top_n = fields.count("top_n")?.or(fields.count("top_k")?);
    request.return_documents = fields.flag("return_documents")?;
    request.max_tokens_per_doc = fields.count("max_tokens_per_doc")?;
    request.truncation = fields.flag("truncation")?.or(fields.flag("truncate")?);
    request.rest.extend(fields.rest().into_iter().map(|(name, _)| name));
    Ok(Asked { called: ask.called.clone(), request: Arc::new(request) })
}

/// Writes a request for a provider; what cannot be said is named in `dropped`.
pub fn write_request(request: &Request, dialect: Dialect, model: &str, dropped: &mut Dropped) -> Bytes {
    request.rest.iter().for_each(|name| dropped.note(name.clone()));
    let manner = Manner::of(model);
    let is_cohere = dialect == Dialect::CohereV2;
    let takes_objects = !is_cohere && manner == Manner::Jina;
    let document = |document: &Value| if takes_objects { document.clone() } else { Value::from(text_of(document)) };
    let mut body = Map::new();
    body.insert("model".to_owned(), json!(model));
    body.insert("query".to_owned(), json!(request.query));
    body.insert("documents".to_owned(), request.documents.iter().map(document).collect());
    let top = if !is_cohere && manner == Manner::Voyage { "top_k" } else { "top_n" };
    body.extend(request.top_n.map(|number| (top.to_owned(), json!(number))));
    dropped.note_if(request.max_tokens_per_doc.is_some() && !is_cohere, "max_tokens_per_doc");
    dropped.note_if(request.truncation.is_some() && (is_cohere || manner == Manner::Openai), "truncation");
    match is_cohere {
        true => body.extend(request.max_tokens_per_doc.map(|number| ("max_tokens_per_doc".to_owned(), json!(number)))),
        // The documents are known here: they are not sent back and forth.
        false => body.extend([("return_documents".to_owned(), json!(false))]),
    }
    if !is_cohere && manner != Manner::Openai {
        body.extend(request.truncation.map(|cuts| ("truncation".to_owned(), json!(cuts))));
    }
    Bytes::from(Value::Object(body).to_string())
}

/// A document's text; an object without one is read as it is written.
fn text_of(document: &Value) -> String {
    match document {
        Value::String(text) => text.clone(),
        other => other.get("text").and_then(Value::as_str).map_or_else(|| other.to_string(), str::to_owned),
    }
}

/// Reads a provider's answer, in either shape; the error says what is wrong with it.
pub fn read_answer(body: &[u8]) -> Result<Answer, String> {
    let read: Read = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    let billed = read.meta.and_then(|meta| meta.billed_units);
    let search_units = billed.as_ref().and_then(|billed| billed.get("search_units")?.as_f64());
    let in_tokens = billed.and_then(|billed| serde_json::from_value::<Billed>(billed).ok()?.into_usage());
    let usage = read.usage.and_then(|usage| openai_chat::usage::parse_input(usage.to_string().as_bytes()));
    Ok(Answer { id: read.id, model: read.model, results: read.results, usage: usage.or(in_tokens), search_units })
}

/// Writes an answer for a caller.
pub fn write_answer(answer: &Answer, asked: &Asked) -> Bytes {
    let request = &asked.request;
    let holds_documents = request.return_documents == Some(true);
    let result = |ranked: &Ranked| {
        let mut result = json!({ "index": ranked.index, "relevance_score": ranked.relevance_score });
        if let Some(document) = request.documents.get(ranked.index).filter(|_| holds_documents) {
            result["document"] = if document.is_object() { document.clone() } else { json!({ "text": document }) };
        }
        result
    };
    let results: Vec<Value> = answer.results.iter().map(result).collect();
    let tokens = answer.usage.map(|usage| usage.input);
    let id = || answer.id.clone().unwrap_or_else(fresh_id);
    let body = match asked.called.dialect {
        Dialect::CohereV2 => {
            let mut billed = Map::new();
            billed.extend(answer.search_units.map(|units| ("search_units".to_owned(), json!(units))));
            billed.extend(tokens.map(|tokens| ("input_tokens".to_owned(), json!(tokens))));
            json!({ "id": id(), "results": results, "meta": { "api_version": { "version": "2" }, "billed_units": billed } })
        }
        _ => {
            let model = answer.model.as_deref().unwrap_or(&request.model);
            json!({ "object": "list", "model": model, "results": results, "usage": { "total_tokens": tokens.unwrap_or(0) } })
        }
    };
    Bytes::from(body.to_string())
}
