//! Reads a request: its top level. Items are read by [`items`](super::decode_items), tools by [`tools`](super::tools).
//!
//! Source: `CreateResponse` of OpenAI's API reference.

use serde_json::{Map, Value, json};

use super::fields::{Fields, take_text, wrong};
use super::{decode_items, tools};
use crate::catalog::Dialect;
use crate::dialect::ir::{Block, Effort, Extra, Format, Message, Request, Role, Sampling, Thinking};
use crate::error::Refusal;

/// The value of `include` that asks for tokens' probabilities.
pub const INCLUDE_LOGPROBS: &str = "message.output_text.logprobs";
/// The value of `include` that asks for encrypted reasoning; a stateless provider's is always told.
pub const INCLUDE_ENCRYPTED: &str = "reasoning.encrypted_content";

/// Reads a request; `model` and `stream` are the caller's to set.
pub fn decode(body: &[u8]) -> Result<Request, Refusal> {
    let mut fields = Fields::read(body)?;
    for (name, default) in [("background", json!(false)), ("store", json!(false)), ("truncation", json!("disabled"))] {
        fields.forget(name, &default);
    }
    for read_elsewhere_or_meaningless in ["model", "stream", "stream_options"] {
        fields.take(read_elsewhere_or_meaningless);
    }
    let mut request = Request::default();
    if let Some(text) = fields.text("instructions")?.filter(|text| !text.is_empty()) {
        request.messages.push(Message::new(Role::System, vec![Block::text(text)]));
    }
    match fields.take("input") {
        Some(Value::String(text)) => request.messages.push(Message::new(Role::User, vec![Block::text(text)])),
        Some(Value::Array(items)) => decode_items::decode(items, &mut request)?,
        Some(_) => return Err(wrong("input", "'input' has to be a string or a list of items.")),
        None if ["prompt", "previous_response_id", "conversation"].iter().any(|name| fields.has(name)) => {}
        None => return Err(wrong("input", "'input' is missing: send a string or a list of items.")),
    }
    if let Some(list) = fields.list("tools")? {
        request.tools = tools::decode(list, &mut request.unread)?;
    }
    tools::decode_choice(&mut fields, &mut request)?;
    request.parallel_tool_calls = fields.flag("parallel_tool_calls")?;
    request.format = format(&mut fields)?;
    request.sampling = sampling(&mut fields)?;
    request.thinking = thinking(&mut fields)?;
    request.service_tier = fields.text("service_tier")?;
    request.user = fields.text("user")?;
    if request.user.is_none() {
        request.user = fields.text("safety_identifier")?;
    }
    request.metadata = fields.object("metadata")?.map(Fields::rest).unwrap_or_default();
    request.extra = Extra::new(Dialect::OpenaiResponses, fields.rest());
    Ok(request)
}

fn sampling(fields: &mut Fields) -> Result<Sampling, Refusal> {
    let mut includes = fields.list("include")?.unwrap_or_default();
    let wants_logprobs = includes.iter().any(|include| *include == INCLUDE_LOGPROBS);
    includes.retain(|include| *include != INCLUDE_LOGPROBS && *include != INCLUDE_ENCRYPTED);
    if !includes.is_empty() {
        fields.put_back("include", Value::Array(includes));
    }
    let top_logprobs = fields.whole("top_logprobs")?.and_then(|count| u32::try_from(count).ok());
    Ok(Sampling {
        max_output: fields.whole("max_output_tokens")?,
        temperature: fields.number("temperature")?,
        top_p: fields.number("top_p")?,
        logprobs: wants_logprobs.then_some(true),
        top_logprobs: top_logprobs.filter(|count| *count > 0),
        ..Sampling::default()
    })
}

/// `text`: its format, and its verbosity, which other dialects of OpenAI's have at the top.
fn format(fields: &mut Fields) -> Result<Option<Format>, Refusal> {
    let Some(mut text) = fields.object("text")? else { return Ok(None) };
    if let Some(verbosity) = text.text("verbosity").map_err(|refusal| refusal.with_param("text.verbosity"))? {
        fields.put_back("verbosity", Value::from(verbosity));
    }
    let format = match text.take("format") {
        None => None,
        Some(Value::Object(format)) => Some(read_format(format)?),
        Some(_) => return Err(wrong("text.format", "'text.format' has to be an object such as {\"type\": \"json_object\"}.")),
    };
    let rest = text.rest();
    if !rest.is_empty() {
        fields.put_back("text", Value::Object(rest));
    }
    Ok(format)
}

fn read_format(mut format: Map<String, Value>) -> Result<Format, Refusal> {
    match take_text(&mut format, "type").as_str() {
        "text" => Ok(Format::Text),
        "json_object" => Ok(Format::JsonObject),
        "json_schema" => {
            let schema = format.remove("schema").filter(Value::is_object);
            Ok(Format::JsonSchema {
                name: take_text(&mut format, "name"),
                description: format.remove("description").and_then(|text| text.as_str().map(str::to_owned)),
                schema: schema.ok_or_else(|| wrong("text.format", "'text.format.schema' has to be a JSON Schema, as an object."))?,
                strict: format.remove("strict").and_then(|strict| strict.as_bool()),
            })
        }
        _ => Err(wrong("text.format", "'text.format.type' has to be 'text', 'json_object' or 'json_schema'.")),
    }
}

fn thinking(fields: &mut Fields) -> Result<Option<Thinking>, Refusal> {
    let Some(mut reasoning) = fields.object("reasoning")? else { return Ok(None) };
    let effort = reasoning.text("effort").map_err(|refusal| refusal.with_param("reasoning.effort"))?;
    let deprecated = reasoning.text("generate_summary").map_err(|refusal| refusal.with_param("reasoning.generate_summary"))?;
    let summary = reasoning.text("summary").map_err(|refusal| refusal.with_param("reasoning.summary"))?.or(deprecated);
    let known = effort.as_deref().and_then(Effort::from_name);
    if let (Some(unknown), None) = (effort, known) {
        reasoning.put_back("effort", Value::from(unknown));
    }
    let rest = reasoning.rest();
    if !rest.is_empty() {
        fields.put_back("reasoning", Value::Object(rest));
    }
    let says_anything = known.is_some() || summary.is_some();
    Ok(says_anything.then(|| Thinking { effort: known, summary, ..Thinking::default() }))
}
