//! OpenAI's embeddings, with the fields that Voyage's and Jina's have beside them.
//!
//! Source: "Create embeddings" in OpenAI's API reference; "Text embeddings" in Voyage's; "Embeddings" in Jina's.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::vector::InBase64;
use super::{Answer, Cut, Forms, Input, Names, Part, Purpose, Request, Vector, name_of, purpose_named, texts};
use crate::dialect::fields::{Fields, wrong};
use crate::dialect::ir::Dropped;
use crate::dialect::meant::{Manner, not_expressible};
use crate::dialect::openai_chat;
use crate::error::Refusal;

/// Voyage's `input_type`.
const VOYAGE: Names = &[("query", Purpose::Query), ("document", Purpose::Document)];
/// Jina's `task`, and what others call it.
const JINA: Names = &[
    ("retrieval.query", Purpose::Query),
    ("retrieval.passage", Purpose::Document),
    ("text-matching", Purpose::Similarity),
    ("classification", Purpose::Classification),
    ("separation", Purpose::Clustering),
    ("code.query", Purpose::CodeQuery),
    ("passage", Purpose::Document),
];
/// As many as OpenAI takes in one call.
pub const MOST_INPUTS: usize = 2048;

#[derive(Deserialize)]
struct Read<'a> {
    data: Vec<Item>,
    model: Option<String>,
    id: Option<String>,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Item {
    embedding: Vector,
    #[serde(default)]
    index: usize,
}

#[derive(Serialize)]
struct Written<'a, V> {
    object: &'static str,
    data: Vec<WrittenItem<V>>,
    model: &'a str,
    usage: Tokens,
}

#[derive(Serialize)]
struct WrittenItem<V> {
    object: &'static str,
    index: usize,
    embedding: V,
}

#[derive(Serialize)]
struct Tokens {
    prompt_tokens: u64,
    total_tokens: u64,
}

/// Reads a request.
pub fn decode_request(body: &[u8]) -> Result<Request, Refusal> {
    let mut fields = Fields::read(body)?;
    fields.take("model");
    let input = fields.take("input").ok_or_else(|| wrong("input", "is missing: it is a text or a list of texts"))?;
    let mut request = Request { inputs: inputs(input)?, user: fields.text("user")?, ..Request::default() };
    request.dimensions = fields.count("dimensions")?.or(fields.count("output_dimension")?);
    let format = fields.text("encoding_format")?.or(fields.text("embedding_type")?);
    request.forms = match format.as_deref() {
        None | Some("float") => Forms { float: true, base64: false },
        Some("base64") => Forms { float: false, base64: true },
        Some(other) => {
            return Err(not_expressible("encoding_format", format!("Only float and base64 go between dialects, not '{other}'.")));
        }
    };
    for name in ["input_type", "task"] {
        let Some(said) = fields.text(name)? else { continue };
        match purpose_named(VOYAGE, &said).or_else(|| purpose_named(JINA, &said)) {
            Some(purpose) => request.purpose = Some(purpose),
            None => request.rest.push(name.to_owned()),
        }
    }
    if let Some(cuts) = fields.flag("truncation")?.or(fields.flag("truncate")?) {
        request.cut = Some(if cuts { Cut::End } else { Cut::Not });
    }
    request.rest.extend(fields.rest().into_iter().map(|(name, _)| name));
    Ok(request)
}

fn inputs(input: Value) -> Result<Vec<Input>, Refusal> {
    let bad = || wrong("input", "has to be a text, a list of texts, tokens, or a list of lists of tokens");
    match input {
        Value::String(text) => Ok(vec![Input::text(text)]),
        Value::Array(list) if list.is_empty() => Err(wrong("input", "is empty")),
        Value::Array(list) if list.iter().all(Value::is_u64) => Ok(vec![tokens(&list).ok_or_else(bad)?]),
        Value::Array(list) => list.into_iter().map(|one| input_of(one).ok_or_else(bad)).collect(),
        _ => Err(bad()),
    }
}

fn input_of(one: Value) -> Option<Input> {
    match one {
        Value::String(text) => Some(Input::text(text)),
        Value::Array(list) => tokens(&list),
        Value::Object(object) => match (object.get("text"), object.get("image")) {
            (Some(Value::String(text)), None) => Some(Input::text(text.as_str())),
            (None, Some(Value::String(image))) => Some(Input::Parts(vec![Part::Image(as_url(image))])),
            _ => None,
        },
        _ => None,
    }
}

fn tokens(list: &[Value]) -> Option<Input> {
    list.iter().map(Value::as_u64).collect::<Option<Vec<u64>>>().map(Input::Tokens)
}

/// Jina takes bare base64 for a picture too.
fn as_url(image: &str) -> String {
    match image.starts_with("data:") || image.contains("://") {
        true => image.to_owned(),
        false => format!("data:image/png;base64,{image}"),
    }
}

/// Writes a request.
pub fn encode_request(request: &Request, inputs: &[Input], model: &str, dropped: &mut Dropped) -> Result<Bytes, Refusal> {
    let manner = Manner::of(model);
    let mut body = Map::new();
    body.insert("model".to_owned(), json!(model));
    body.insert("input".to_owned(), written_inputs(inputs, model, manner)?);
    let name = if manner == Manner::Voyage { "output_dimension" } else { "dimensions" };
    body.extend(request.dimensions.map(|number| (name.to_owned(), json!(number))));
    let purpose = match (manner, request.purpose) {
        (_, None) => None,
        (Manner::Voyage, Some(purpose)) => name_of(VOYAGE, purpose).map(|name| ("input_type", name)),
        (Manner::Jina, Some(purpose)) => name_of(JINA, purpose).map(|name| ("task", name)),
        (Manner::Openai, Some(_)) => None,
    };
    dropped.note_if(request.purpose.is_some() && purpose.is_none(), "input_type");
    body.extend(purpose.map(|(name, value)| (name.to_owned(), json!(value))));
    let cuts = request.cut.map(|cut| cut != Cut::Not);
    dropped.note_if(request.cut == Some(Cut::Start) || (manner == Manner::Openai && cuts == Some(true)), "truncate");
    match manner {
        Manner::Voyage => body.extend(cuts.map(|cuts| ("truncation".to_owned(), json!(cuts)))),
        Manner::Jina => body.extend(cuts.map(|cuts| ("truncate".to_owned(), json!(cuts)))),
        // It never cuts.
        Manner::Openai => body.extend(request.user.as_ref().map(|user| ("user".to_owned(), json!(user)))),
    }
    dropped.note_if(request.user.is_some() && manner != Manner::Openai, "user");
    dropped.note_if(request.title.is_some(), "title");
    Ok(Bytes::from(Value::Object(body).to_string()))
}

fn written_inputs(inputs: &[Input], model: &str, manner: Manner) -> Result<Value, Refusal> {
    let all_tokens =
        inputs.iter().map(|input| if let Input::Tokens(tokens) = input { Some(tokens) } else { None }).collect::<Option<Vec<_>>>();
    if let Some(lists) = all_tokens.filter(|_| manner == Manner::Openai) {
        return Ok(json!(lists));
    }
    if manner != Manner::Jina {
        return Ok(json!(texts(inputs, model)?));
    }
    let part = |input: &Input| match input.parts(model)? {
        [Part::Image(url)] => Ok(json!({ "image": url })),
        _ => Ok(json!(texts(std::slice::from_ref(input), model)?.concat())),
    };
    inputs.iter().map(part).collect::<Result<Vec<Value>, Refusal>>().map(Value::from)
}

/// Reads an answer.
pub fn decode_answer(body: &[u8]) -> serde_json::Result<Answer> {
    let mut read: Read<'_> = serde_json::from_slice(body)?;
    read.data.sort_by_key(|item| item.index);
    let usage = read.usage.and_then(|usage| openai_chat::usage::parse_input(usage.get().as_bytes()));
    Ok(Answer { id: read.id, model: read.model, vectors: read.data.into_iter().map(|item| item.embedding).collect(), usage })
}

/// Writes an answer.
pub fn encode_answer(answer: &Answer, request: &Request) -> serde_json::Result<Vec<u8>> {
    let tokens = answer.usage.map_or(0, |usage| usage.input);
    let usage = Tokens { prompt_tokens: tokens, total_tokens: tokens };
    let (model, vectors) = (request.model_of(answer), answer.vectors.iter());
    match request.forms.base64 {
        true => serde_json::to_vec(&Written { object: "list", data: items(vectors.map(InBase64)), model, usage }),
        false => serde_json::to_vec(&Written { object: "list", data: items(vectors), model, usage }),
    }
}

fn items<V>(vectors: impl Iterator<Item = V>) -> Vec<WrittenItem<V>> {
    vectors.enumerate().map(|(index, embedding)| WrittenItem { object: "embedding", index, embedding }).collect()
}
