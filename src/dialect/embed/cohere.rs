//! Cohere's v2 embed, and the parts of it that Bedrock's InvokeModel shares.
//!
//! Source: "Embed API (v2)" in Cohere's API reference.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::usage::Billed;
use super::vector::InBase64;
use super::{Answer, Cut, Forms, Input, Names, Part, Purpose, Request, Vector, name_of, purpose_named};
use crate::dialect::fields::{Fields, wrong};
use crate::dialect::fresh_id;
use crate::dialect::ir::Dropped;
use crate::dialect::meant::not_expressible;
use crate::error::Refusal;

/// `input_type`.
const TYPES: Names = &[
    ("search_query", Purpose::Query),
    ("search_document", Purpose::Document),
    ("classification", Purpose::Classification),
    ("clustering", Purpose::Clustering),
];
/// As many as one call may have.
pub const MOST_INPUTS: usize = 96;

#[derive(Deserialize)]
struct Read {
    id: Option<String>,
    embeddings: Sets,
    meta: Option<Meta>,
}

/// By type, or the list of the older answer that Bedrock gives.
#[derive(Deserialize)]
#[serde(untagged)]
enum Sets {
    List(Vec<Vector>),
    ByType { float: Option<Vec<Vector>>, base64: Option<Vec<Vector>> },
}

#[derive(Deserialize)]
struct Meta {
    billed_units: Option<Billed>,
}

#[derive(Serialize)]
struct Written<'a> {
    id: String,
    embeddings: BTreeMap<&'static str, Set<'a>>,
    texts: Vec<String>,
    meta: Value,
    response_type: &'static str,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Set<'a> {
    Float(&'a [Vector]),
    Base64(Vec<InBase64<'a>>),
}

/// Reads a request.
pub fn decode_request(body: &[u8]) -> Result<Request, Refusal> {
    let mut fields = Fields::read(body)?;
    fields.take("model");
    let mut inputs: Vec<Input> = fields.texts("texts")?.into_iter().map(Input::text).collect();
    inputs.extend(fields.texts("images")?.into_iter().map(|url| Input::Parts(vec![Part::Image(url)])));
    for one in fields.list("inputs")?.unwrap_or_default() {
        let content = Fields::of(one, "inputs")?.list("content")?.unwrap_or_default();
        inputs.push(Input::Parts(content.into_iter().map(part).collect::<Result<_, _>>()?));
    }
    if inputs.is_empty() {
        return Err(wrong("texts", "is missing: give texts, images or inputs"));
    }
    let mut request = Request { inputs, dimensions: fields.count("output_dimension")?, forms: forms(&mut fields)?, ..Request::default() };
    if let Some(said) = fields.text("input_type")?.filter(|said| said != "image") {
        request.purpose = Some(
            purpose_named(TYPES, &said)
                .ok_or_else(|| wrong("input_type", "is one of search_query, search_document, classification, clustering, image"))?,
        );
    }
    request.cut = match fields.text("truncate")?.as_deref() {
        None => None,
        Some("NONE") => Some(Cut::Not),
        Some("START") => Some(Cut::Start),
        Some("END") => Some(Cut::End),
        Some(_) => return Err(wrong("truncate", "is one of NONE, START, END")),
    };
    request.rest.extend(fields.rest().into_iter().map(|(name, _)| name));
    Ok(request)
}

fn forms(fields: &mut Fields) -> Result<Forms, Refusal> {
    let mut forms = Forms::default();
    for form in fields.texts("embedding_types")? {
        match form.as_str() {
            "float" => forms.float = true,
            "base64" => forms.base64 = true,
            other => return Err(not_expressible("embedding_types", format!("Only float and base64 go between dialects, not '{other}'."))),
        }
    }
    forms.float |= !forms.base64;
    Ok(forms)
}

fn part(value: Value) -> Result<Part, Refusal> {
    let mut fields = Fields::of(value, "inputs")?;
    if let Some(text) = fields.text("text")? {
        return Ok(Part::Text(text));
    }
    let url = fields.object("image_url")?.map(|mut image| image.text("url")).transpose()?.flatten();
    url.map(Part::Image).ok_or_else(|| wrong("inputs", "has to hold texts and image_urls"))
}

/// Writes a request.
pub fn encode_request(request: &Request, inputs: &[Input], model: &str, dropped: &mut Dropped) -> Result<Bytes, Refusal> {
    let mut body = body_of(request, inputs, model, dropped)?;
    body.insert("model".to_owned(), json!(model));
    Ok(Bytes::from(Value::Object(body).to_string()))
}

/// All but the model.
pub fn body_of(request: &Request, inputs: &[Input], model: &str, dropped: &mut Dropped) -> Result<Map<String, Value>, Refusal> {
    dropped.note_if(request.user.is_some(), "user");
    dropped.note_if(request.title.is_some(), "title");
    let mut body = Map::new();
    let is_images = !inputs.is_empty()
        && inputs.iter().all(|input| matches!(input, Input::Parts(parts) if matches!(parts.as_slice(), [Part::Image(_)])));
    let texts: Option<Vec<String>> = inputs.iter().map(Input::as_text).collect();
    match texts {
        Some(texts) => body.insert("texts".to_owned(), json!(texts)),
        None => {
            let contents = inputs.iter().map(|input| Ok(content(input.parts(model)?))).collect::<Result<Vec<Value>, Refusal>>()?;
            body.insert("inputs".to_owned(), json!(contents))
        }
    };
    let named = request.purpose.and_then(|purpose| name_of(TYPES, purpose));
    dropped.note_if(request.purpose.is_some() && named.is_none(), "input_type");
    // It has to be said: what is embedded for no purpose is mostly kept to be found.
    let default = if is_images { "image" } else { "search_document" };
    body.insert("input_type".to_owned(), json!(named.unwrap_or(default)));
    body.insert("embedding_types".to_owned(), json!(["float"]));
    body.extend(request.dimensions.map(|number| ("output_dimension".to_owned(), json!(number))));
    let cut = request.cut.map(|cut| match cut {
        Cut::Not => "NONE",
        Cut::Start => "START",
        Cut::End => "END",
    });
    body.extend(cut.map(|cut| ("truncate".to_owned(), json!(cut))));
    Ok(body)
}

fn content(parts: &[Part]) -> Value {
    let part = |part: &Part| match part {
        Part::Text(text) => json!({ "type": "text", "text": text }),
        Part::Image(url) => json!({ "type": "image_url", "image_url": { "url": url } }),
    };
    json!({ "content": parts.iter().map(part).collect::<Vec<Value>>() })
}

/// Reads an answer.
pub fn decode_answer(body: &[u8]) -> serde_json::Result<Answer> {
    let read: Read = serde_json::from_slice(body)?;
    let vectors = match read.embeddings {
        Sets::List(vectors) => vectors,
        Sets::ByType { float, base64 } => float.or(base64).unwrap_or_default(),
    };
    let usage = read.meta.and_then(|meta| meta.billed_units).and_then(Billed::into_usage);
    Ok(Answer { id: read.id, model: None, vectors, usage })
}

/// Writes an answer.
pub fn encode_answer(answer: &Answer, request: &Request) -> serde_json::Result<Vec<u8>> {
    let mut embeddings = BTreeMap::new();
    if request.forms.float {
        embeddings.insert("float", Set::Float(&answer.vectors));
    }
    if request.forms.base64 {
        embeddings.insert("base64", Set::Base64(answer.vectors.iter().map(InBase64).collect()));
    }
    let mut meta = json!({ "api_version": { "version": "2" } });
    if let Some(usage) = answer.usage {
        meta["billed_units"] = json!({ "input_tokens": usage.input });
    }
    serde_json::to_vec(&Written {
        id: answer.id.clone().unwrap_or_else(fresh_id),
        embeddings,
        texts: request.inputs.iter().filter_map(Input::as_text).collect(),
        meta,
        response_type: "embeddings_by_type",
    })
}
