//! Ollama's `/api/embed`, and the older `/api/embeddings` of one text.
//!
//! Source: "Generate Embeddings" and "Generate Embedding" in Ollama's API documentation.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::usage::of_input;
use super::{Answer, Cut, Forms, Input, Request, Vector, texts};
use crate::dialect::fields::{Fields, wrong};
use crate::dialect::ir::Dropped;
use crate::error::Refusal;

#[derive(Deserialize)]
struct Read {
    model: Option<String>,
    #[serde(default)]
    embeddings: Vec<Vector>,
    embedding: Option<Vector>,
    prompt_eval_count: Option<u64>,
}

#[derive(Serialize)]
struct Written<'a> {
    model: &'a str,
    embeddings: &'a [Vector],
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_eval_count: Option<u64>,
}

#[derive(Serialize)]
struct WrittenOne<'a> {
    embedding: Option<&'a Vector>,
}

/// Reads a request.
pub fn decode_request(body: &[u8], is_one: bool) -> Result<Request, Refusal> {
    let mut fields = Fields::read(body)?;
    fields.take("model");
    let inputs = match is_one {
        true => vec![Input::text(fields.text("prompt")?.ok_or_else(|| wrong("prompt", "is missing"))?)],
        false => match fields.take("input") {
            Some(Value::String(text)) => vec![Input::text(text)],
            Some(Value::Array(list)) if !list.is_empty() => list.into_iter().map(text).collect::<Result<_, _>>()?,
            _ => return Err(wrong("input", "is missing: it is a text or a list of texts")),
        },
    };
    let mut request = Request { inputs, forms: Forms { float: true, base64: false }, ..Request::default() };
    request.dimensions = fields.count("dimensions")?;
    request.cut = fields.flag("truncate")?.map(|cuts| if cuts { Cut::End } else { Cut::Not });
    let is_empty = |value: &Value| value.as_object().is_some_and(Map::is_empty);
    request.rest.extend(fields.rest().into_iter().filter(|(_, value)| !is_empty(value)).map(|(name, _)| name));
    Ok(request)
}

fn text(value: Value) -> Result<Input, Refusal> {
    value.as_str().map(Input::text).ok_or_else(|| wrong("input", "has to hold texts"))
}

/// Writes a request.
pub fn encode_request(request: &Request, inputs: &[Input], model: &str, dropped: &mut Dropped) -> Result<Bytes, Refusal> {
    dropped.note_if(request.purpose.is_some(), "input_type");
    dropped.note_if(request.title.is_some(), "title");
    dropped.note_if(request.user.is_some(), "user");
    dropped.note_if(request.cut == Some(Cut::Start), "truncate");
    let mut body = Map::new();
    body.insert("model".to_owned(), json!(model));
    body.insert("input".to_owned(), json!(texts(inputs, model)?));
    body.extend(request.dimensions.map(|number| ("dimensions".to_owned(), json!(number))));
    body.extend(request.cut.map(|cut| ("truncate".to_owned(), json!(cut != Cut::Not))));
    Ok(Bytes::from(Value::Object(body).to_string()))
}

/// Reads the answer of either.
pub fn decode_answer(body: &[u8]) -> serde_json::Result<Answer> {
    let read: Read = serde_json::from_slice(body)?;
    let vectors = read.embeddings.into_iter().chain(read.embedding).collect();
    Ok(Answer { id: None, model: read.model, vectors, usage: read.prompt_eval_count.map(of_input) })
}

/// Writes the answer of either.
pub fn encode_answer(answer: &Answer, request: &Request, is_one: bool) -> serde_json::Result<Vec<u8>> {
    if is_one {
        return serde_json::to_vec(&WrittenOne { embedding: answer.vectors.first() });
    }
    let prompt_eval_count = answer.usage.map(|usage| usage.input);
    serde_json::to_vec(&Written { model: request.model_of(answer), embeddings: &answer.vectors, prompt_eval_count })
}
