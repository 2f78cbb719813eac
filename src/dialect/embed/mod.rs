//! Embeddings: what a request and an answer mean whatever dialect they are in, and what each dialect makes of them.

mod bedrock;
mod cohere;
mod gemini;
mod ollama;
mod openai;
#[cfg(test)]
mod tests;
pub mod usage;
mod vector;

use std::sync::Arc;

use bytes::Bytes;

pub use vector::Vector;

use super::ir::Dropped;
use super::meant::not_expressible;
use super::{Ask, Called};
use crate::catalog::{Dialect, Operation};
use crate::error::Refusal;
use crate::ledger::record::Usage;

/// A request for vectors.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Request {
    /// The model, as the caller names it.
    pub model: String,
    /// What gets a vector each.
    pub inputs: Vec<Input>,
    /// How many numbers a vector is to have.
    pub dimensions: Option<u64>,
    /// In which forms the answer is wanted.
    pub forms: Forms,
    /// What the vectors are for.
    pub purpose: Option<Purpose>,
    /// A document's title (Gemini's alone).
    pub title: Option<String>,
    /// What happens to an input that is too long.
    pub cut: Option<Cut>,
    /// The end user, for the provider's own watch over abuse.
    pub user: Option<String>,
    /// The names of what one dialect alone knows.
    pub rest: Vec<String>,
}

/// What gets one vector.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// Text and pictures, taken together.
    Parts(Vec<Part>),
    /// A text as the model's tokens.
    Tokens(Vec<u64>),
}

/// A part of an input.
#[derive(Clone, Debug, PartialEq)]
pub enum Part {
    /// A text.
    Text(String),
    /// A picture, by its URL, which may be a `data:` URL.
    Image(String),
}

/// The forms of the numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Forms {
    /// As JSON numbers; also where nothing is said.
    pub float: bool,
    /// As the base64 of little-endian 32-bit floats.
    pub base64: bool,
}

/// What vectors are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it all")]
pub enum Purpose {
    Query,
    Document,
    Similarity,
    Classification,
    Clustering,
    CodeQuery,
    Question,
    FactCheck,
}

/// What happens to an input that is too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// The request fails.
    Not,
    /// Its beginning is left out.
    Start,
    /// Its end is left out.
    End,
}

/// Vectors, one an input, in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    /// The provider's name for it.
    pub id: Option<String>,
    /// The model, as the provider names it.
    pub model: Option<String>,
    /// The vectors.
    pub vectors: Vec<Vector>,
    /// What it cost.
    pub usage: Option<Usage>,
}

/// What an answer has to know of its request.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The path that was called.
    pub called: Called,
    /// The request as it was read.
    pub request: Arc<Request>,
}

/// A dialect's name of a purpose, its own name first where it has several.
type Names = &'static [(&'static str, Purpose)];

/// Reads a caller's request.
pub fn read_request(ask: &Ask) -> Result<Asked, Refusal> {
    let is_one = ask.called.operation == Operation::EmbedOne;
    let mut request = match ask.called.dialect {
        Dialect::OpenaiChat => openai::decode_request(&ask.body)?,
        Dialect::Gemini if is_one => gemini::decode_one(&ask.body)?,
        Dialect::Gemini => gemini::decode_batch(&ask.body)?,
        Dialect::CohereV2 => cohere::decode_request(&ask.body)?,
        Dialect::Ollama => ollama::decode_request(&ask.body, is_one)?,
        other => return Err(not_expressible("model", format!("No embeddings are asked for in {}.", other.as_str()))),
    };
    request.model.clone_from(&ask.model);
    Ok(Asked { called: ask.called.clone(), request: Arc::new(request) })
}

/// Writes a request for a provider, in as many calls as it needs. What cannot be said is named in `dropped`, or refused.
pub fn write_request(request: &Request, dialect: Dialect, model: &str, dropped: &mut Dropped) -> Result<Vec<Bytes>, Refusal> {
    let most = match dialect {
        Dialect::BedrockConverse => bedrock::most_inputs(model),
        Dialect::Gemini => gemini::MOST_INPUTS,
        Dialect::CohereV2 => cohere::MOST_INPUTS,
        _ => openai::MOST_INPUTS,
    };
    let calls = request.inputs.len().div_ceil(most);
    if calls > MOST_CALLS {
        let message = format!(
            "'{model}' takes {most} inputs a call, and {} inputs would be {calls} calls: send {} at the most.",
            request.inputs.len(),
            most * MOST_CALLS
        );
        return Err(Refusal::invalid("too_many_inputs", message).with_param("input"));
    }
    request.rest.iter().for_each(|name| dropped.note(name.clone()));
    request
        .inputs
        .chunks(most)
        .map(|inputs| match dialect {
            Dialect::Gemini => gemini::encode_request(request, inputs, model, dropped),
            Dialect::CohereV2 => cohere::encode_request(request, inputs, model, dropped),
            Dialect::Ollama => ollama::encode_request(request, inputs, model, dropped),
            Dialect::BedrockConverse => bedrock::encode_request(request, inputs, model, dropped),
            _ => openai::encode_request(request, inputs, model, dropped),
        })
        .collect()
}

/// Reads a provider's answer to one call; the error says what is wrong with it.
pub fn read_answer(body: &[u8], dialect: Dialect) -> Result<Answer, String> {
    let answer = match dialect {
        Dialect::Gemini => gemini::decode_answer(body),
        Dialect::CohereV2 => cohere::decode_answer(body),
        Dialect::Ollama => ollama::decode_answer(body),
        Dialect::BedrockConverse => bedrock::decode_answer(body),
        _ => openai::decode_answer(body),
    };
    answer.map_err(|error| error.to_string())
}

/// Joins the answers to the calls of one request, in order.
pub fn join(answers: Vec<Answer>, request: &Request) -> Result<Answer, String> {
    let mut joined = Answer::default();
    for (at, answer) in answers.into_iter().enumerate() {
        joined.vectors.extend(answer.vectors);
        joined.usage = match (joined.usage, answer.usage) {
            _ if at == 0 => answer.usage,
            (Some(one), Some(other)) => Some(one.and(other)),
            // A part is no sum.
            _ => None,
        };
        joined.id = joined.id.or(answer.id);
        joined.model = joined.model.or(answer.model);
    }
    match joined.vectors.len() == request.inputs.len() {
        true => Ok(joined),
        false => Err(format!("it has {} vectors for {} inputs", joined.vectors.len(), request.inputs.len())),
    }
}

/// Writes an answer for a caller.
pub fn write_answer(answer: &Answer, asked: &Asked) -> Bytes {
    let is_one = asked.called.operation == Operation::EmbedOne;
    let written = match asked.called.dialect {
        Dialect::Gemini => gemini::encode_answer(answer, is_one),
        Dialect::CohereV2 => cohere::encode_answer(answer, &asked.request),
        Dialect::Ollama => ollama::encode_answer(answer, &asked.request, is_one),
        _ => openai::encode_answer(answer, &asked.request),
    };
    // Texts and numbers alone: nothing in them can fail to be written.
    Bytes::from(written.unwrap_or_default())
}

/// So many calls at the most are made for one request.
const MOST_CALLS: usize = 128;

// === impl Request ===

impl Request {
    fn model_of<'a>(&'a self, answer: &'a Answer) -> &'a str {
        answer.model.as_deref().unwrap_or(&self.model)
    }
}

// === impl Input ===

impl Input {
    /// An input of one text.
    pub fn text(text: impl Into<String>) -> Input {
        Input::Parts(vec![Part::Text(text.into())])
    }

    /// The text, where it is nothing else.
    fn as_text(&self) -> Option<String> {
        let Input::Parts(parts) = self else { return None };
        parts.iter().map(|part| if let Part::Text(text) = part { Some(text.as_str()) } else { None }).collect()
    }

    /// The parts; tokens mean nothing to a provider that was not told of which model they are.
    fn parts(&self, model: &str) -> Result<&[Part], Refusal> {
        match self {
            Input::Parts(parts) => Ok(parts),
            Input::Tokens(_) => Err(not_expressible("input", format!("'{model}' takes texts, not lists of tokens: send the text itself."))),
        }
    }
}

/// Inputs that are texts and nothing else.
fn texts(inputs: &[Input], model: &str) -> Result<Vec<String>, Refusal> {
    let text = |input: &Input| {
        input.parts(model)?;
        input.as_text().ok_or_else(|| not_expressible("input", format!("'{model}' takes no images for embeddings through this dialect.")))
    };
    inputs.iter().map(text).collect()
}

fn purpose_named(names: Names, name: &str) -> Option<Purpose> {
    names.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, purpose)| *purpose)
}

fn name_of(names: Names, purpose: Purpose) -> Option<&'static str> {
    names.iter().find(|(_, named)| *named == purpose).map(|(name, _)| *name)
}
