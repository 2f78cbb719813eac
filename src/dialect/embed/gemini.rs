//! Gemini's embedContent and batchEmbedContents.
//!
//! Source: "Embeddings" in the Gemini API reference.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::usage::Metadata;
use super::{Answer, Forms, Input, Names, Part, Purpose, Request, Vector, name_of, purpose_named};
use crate::dialect::fields::{Fields, wrong};
use crate::dialect::ir::Dropped;
use crate::dialect::meant::not_expressible;
use crate::error::Refusal;

/// `taskType`.
const TASKS: Names = &[
    ("RETRIEVAL_QUERY", Purpose::Query),
    ("RETRIEVAL_DOCUMENT", Purpose::Document),
    ("SEMANTIC_SIMILARITY", Purpose::Similarity),
    ("CLASSIFICATION", Purpose::Classification),
    ("CLUSTERING", Purpose::Clustering),
    ("CODE_RETRIEVAL_QUERY", Purpose::CodeQuery),
    ("QUESTION_ANSWERING", Purpose::Question),
    ("FACT_VERIFICATION", Purpose::FactCheck),
];
/// As many as one batch may have.
pub const MOST_INPUTS: usize = 100;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Read {
    embedding: Option<Values>,
    #[serde(default)]
    embeddings: Vec<Values>,
    usage_metadata: Option<Metadata>,
}

#[derive(Deserialize)]
struct Values {
    values: Vector,
}

#[derive(Serialize)]
struct WrittenValues<'a> {
    values: &'a Vector,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Written<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    embedding: Option<WrittenValues<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    embeddings: Option<Vec<WrittenValues<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage_metadata: Option<Value>,
}

/// Reads an embedContent.
pub fn decode_one(body: &[u8]) -> Result<Request, Refusal> {
    request_of(Fields::read(body)?)
}

/// Reads a batchEmbedContents, whose requests have to want the same of each vector.
pub fn decode_batch(body: &[u8]) -> Result<Request, Refusal> {
    let mut fields = Fields::read(body)?;
    let list = fields.list("requests")?.unwrap_or_default();
    let mut requests = list.into_iter().map(|one| request_of(Fields::of(one, "requests")?));
    let mut batch = requests.next().ok_or_else(|| wrong("requests", "is missing or empty"))??;
    for one in requests {
        let one = one?;
        let is_alike = (one.dimensions, one.purpose, &one.title) == (batch.dimensions, batch.purpose, &batch.title);
        if !is_alike {
            return Err(not_expressible(
                "requests",
                "The requests of a batch differ in taskType, title or outputDimensionality, which this model's provider cannot be told: send them apart.",
            ));
        }
        batch.inputs.extend(one.inputs);
        batch.rest.extend(one.rest);
    }
    batch.rest.extend(fields.rest().into_iter().map(|(name, _)| name));
    Ok(batch)
}

fn request_of(mut fields: Fields) -> Result<Request, Refusal> {
    let mut content = fields.object("content")?.ok_or_else(|| wrong("content", "is missing"))?;
    let parts = content.list("parts")?.unwrap_or_default().into_iter().map(part).collect::<Result<Vec<Part>, Refusal>>()?;
    let mut request = Request { inputs: vec![Input::Parts(parts)], forms: Forms { float: true, base64: false }, ..Request::default() };
    fields.take("model");
    if let Some(config) = fields.object("embedContentConfig")? {
        settings(config, &mut request)?;
    }
    settings(fields, &mut request)?;
    Ok(request)
}

fn settings(mut fields: Fields, request: &mut Request) -> Result<(), Refusal> {
    let task = fields.text("taskType")?.or(fields.text("task_type")?);
    match task.as_deref().map(|task| purpose_named(TASKS, task)) {
        Some(None) if task.as_deref() != Some("TASK_TYPE_UNSPECIFIED") => request.rest.push("taskType".to_owned()),
        purpose => request.purpose = purpose.flatten().or(request.purpose),
    }
    request.title = fields.text("title")?.or(request.title.take());
    request.dimensions = fields.count("outputDimensionality")?.or(fields.count("output_dimensionality")?).or(request.dimensions);
    request.rest.extend(fields.rest().into_iter().map(|(name, _)| name));
    Ok(())
}

fn part(value: Value) -> Result<Part, Refusal> {
    let mut fields = Fields::of(value, "parts")?;
    if let Some(text) = fields.text("text")? {
        return Ok(Part::Text(text));
    }
    let inline = fields.object("inlineData")?.map_or_else(|| fields.object("inline_data"), |inline| Ok(Some(inline)))?;
    let mut inline = inline.ok_or_else(|| not_expressible("parts", "Only parts of text and inlineData go between dialects."))?;
    let kind = inline.text("mimeType")?.or(inline.text("mime_type")?).unwrap_or_else(|| "image/png".to_owned());
    let data = inline.text("data")?.ok_or_else(|| wrong("inlineData", "needs 'data'"))?;
    Ok(Part::Image(format!("data:{kind};base64,{data}")))
}

/// Writes a batchEmbedContents.
pub fn encode_request(request: &Request, inputs: &[Input], model: &str, dropped: &mut Dropped) -> Result<Bytes, Refusal> {
    dropped.note_if(request.user.is_some(), "user");
    dropped.note_if(request.cut.is_some(), "truncate");
    let one = |input: &Input| {
        let parts = input.parts(model)?.iter().map(written_part).collect::<Result<Vec<Value>, Refusal>>()?;
        let mut one = Map::new();
        one.insert("model".to_owned(), json!(format!("models/{model}")));
        one.insert("content".to_owned(), json!({ "parts": parts }));
        let task = request.purpose.and_then(|purpose| name_of(TASKS, purpose));
        one.extend(task.map(|task| ("taskType".to_owned(), json!(task))));
        one.extend(request.title.as_ref().map(|title| ("title".to_owned(), json!(title))));
        one.extend(request.dimensions.map(|number| ("outputDimensionality".to_owned(), json!(number))));
        Ok(Value::Object(one))
    };
    let requests = inputs.iter().map(one).collect::<Result<Vec<Value>, Refusal>>()?;
    Ok(Bytes::from(json!({ "requests": requests }).to_string()))
}

fn written_part(part: &Part) -> Result<Value, Refusal> {
    match part {
        Part::Text(text) => Ok(json!({ "text": text })),
        Part::Image(url) => match url.strip_prefix("data:").and_then(|rest| rest.split_once(";base64,")) {
            Some((kind, data)) => Ok(json!({ "inlineData": { "mimeType": kind, "data": data } })),
            None => Err(not_expressible("input", "This model takes images inline only: send the image as a data: URL.")),
        },
    }
}

/// Reads the answer of either.
pub fn decode_answer(body: &[u8]) -> serde_json::Result<Answer> {
    let read: Read = serde_json::from_slice(body)?;
    let vectors = read.embedding.into_iter().chain(read.embeddings).map(|one| one.values).collect();
    Ok(Answer { vectors, usage: read.usage_metadata.and_then(Metadata::into_usage), ..Answer::default() })
}

/// Writes the answer of either.
pub fn encode_answer(answer: &Answer, is_one: bool) -> serde_json::Result<Vec<u8>> {
    let mut vectors = answer.vectors.iter().map(|values| WrittenValues { values });
    let (embedding, embeddings) = if is_one { (vectors.next(), None) } else { (None, Some(vectors.collect())) };
    let usage_metadata = answer.usage.map(|usage| json!({ "promptTokenCount": usage.input, "totalTokenCount": usage.input }));
    serde_json::to_vec(&Written { embedding, embeddings, usage_metadata })
}
