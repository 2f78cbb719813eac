//! The embedding models behind Bedrock's InvokeModel: Amazon's Titan and Cohere's Embed.
//!
//! Source: "Amazon Titan Embeddings" and "Cohere Embed" in the Amazon Bedrock user guide.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::usage::of_input;
use super::{Answer, Input, Part, Request, Vector, cohere, texts};
use crate::dialect::ir::Dropped;
use crate::dialect::meant::not_expressible;
use crate::error::Refusal;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Titan {
    embedding: Vector,
    input_text_token_count: Option<u64>,
}

/// How many inputs one call takes.
pub fn most_inputs(model: &str) -> usize {
    if is_cohere(model) { cohere::MOST_INPUTS } else { 1 }
}

/// Also behind a region's inference profile, such as `us.cohere.embed-v4:0`.
fn is_cohere(model: &str) -> bool {
    model.contains("cohere.")
}

/// Writes a request.
pub fn encode_request(request: &Request, inputs: &[Input], model: &str, dropped: &mut Dropped) -> Result<Bytes, Refusal> {
    let body = match is_cohere(model) {
        true => cohere::body_of(request, inputs, model, dropped)?,
        false => titan(request, inputs, model, dropped)?,
    };
    Ok(Bytes::from(Value::Object(body).to_string()))
}

fn titan(request: &Request, inputs: &[Input], model: &str, dropped: &mut Dropped) -> Result<Map<String, Value>, Refusal> {
    dropped.note_if(request.purpose.is_some(), "input_type");
    dropped.note_if(request.title.is_some(), "title");
    dropped.note_if(request.user.is_some(), "user");
    dropped.note_if(request.cut.is_some(), "truncate");
    let mut body = Map::new();
    if model.contains("titan-embed-image") {
        for part in inputs.iter().map(|input| input.parts(model)).collect::<Result<Vec<_>, _>>()?.concat() {
            let (name, value) = match part {
                Part::Text(text) => ("inputText", text),
                Part::Image(url) => ("inputImage", in_base64(&url)?),
            };
            if body.insert(name.to_owned(), json!(value)).is_some() {
                return Err(not_expressible("input", format!("'{model}' takes one text and one image an input.")));
            }
        }
        body.extend(request.dimensions.map(|number| ("embeddingConfig".to_owned(), json!({ "outputEmbeddingLength": number }))));
        return Ok(body);
    }
    body.insert("inputText".to_owned(), json!(texts(inputs, model)?.concat()));
    if request.dimensions.is_some() && model.contains("titan-embed-text-v1") {
        return Err(not_expressible("dimensions", format!("'{model}' has vectors of one length only: leave the dimensions out.")));
    }
    body.extend(request.dimensions.map(|number| ("dimensions".to_owned(), json!(number))));
    Ok(body)
}

fn in_base64(url: &str) -> Result<String, Refusal> {
    let data = url.strip_prefix("data:").and_then(|rest| rest.split_once(";base64,")).map(|(_, data)| data.to_owned());
    data.ok_or_else(|| not_expressible("input", "This model takes images inline only: send the image as a data: URL."))
}

/// Reads an answer.
pub fn decode_answer(body: &[u8]) -> serde_json::Result<Answer> {
    match serde_json::from_slice::<Titan>(body) {
        Ok(titan) => Ok(Answer { vectors: vec![titan.embedding], usage: titan.input_text_token_count.map(of_input), ..Answer::default() }),
        Err(_) => cohere::decode_answer(body),
    }
}
