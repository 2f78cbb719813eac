//! Reads a Chat Completions request.
//!
//! Source: OpenAI's API reference, "Create chat completion"; the members that compatible providers add are read where several have them.

use serde_json::{Map, Value};

use super::fields::{Fields, wrong};
use super::{messages_in, thinking, tools_in};
use crate::catalog::Dialect;
use crate::dialect::ir::{Builtin, BuiltinKind, Extra, Format, Request, Sampling, Tool};
use crate::error::Refusal;

/// Reads a request; the model and whether it streams are the caller's to set.
pub fn decode(body: &[u8]) -> Result<Request, Refusal> {
    let mut fields = Fields::read(body)?;
    for known in ["model", "stream"] {
        fields.take(known);
    }
    let messages = fields.list("messages")?.ok_or_else(|| wrong("messages", "is missing: send a list with at least one message"))?;
    let mut request = messages_in::decode(messages)?;
    request.tools = tools_in::tools(&mut fields)?;
    request.tool_choice = tools_in::choice(&mut fields)?;
    request.parallel_tool_calls = fields.flag("parallel_tool_calls")?;
    request.tools.extend(fields.object("web_search_options")?.map(web_search));
    request.format = format(&mut fields)?;
    request.sampling = sampling(&mut fields)?;
    request.thinking = thinking::decode(&mut fields)?;
    request.service_tier = fields.text("service_tier")?;
    request.user = match fields.text("user")? {
        None => fields.text("safety_identifier")?,
        user => user,
    };
    request.metadata = fields.object("metadata")?.unwrap_or_default();
    stream_options(&mut fields)?;
    request.extra = Extra::new(Dialect::OpenaiChat, fields.rest());
    Ok(request)
}

fn web_search(options: Map<String, Value>) -> Tool {
    Tool::Builtin(Builtin { kind: BuiltinKind::WebSearch, of: Dialect::OpenaiChat, value: Value::Object(options) })
}

/// `include_usage` is for whoever writes the answer; the rest is kept.
fn stream_options(fields: &mut Fields) -> Result<(), Refusal> {
    if let Some(mut options) = fields.object("stream_options")? {
        options.remove("include_usage");
        if !options.is_empty() {
            fields.put("stream_options", Value::Object(options));
        }
    }
    Ok(())
}

fn sampling(fields: &mut Fields) -> Result<Sampling, Refusal> {
    let max_tokens = fields.count("max_tokens")?;
    let small = |count: Option<u64>| count.map(|count| u32::try_from(count).unwrap_or(u32::MAX));
    Ok(Sampling {
        max_output: fields.count("max_completion_tokens")?.or(max_tokens),
        temperature: fields.number("temperature")?,
        top_p: fields.number("top_p")?,
        top_k: fields.count("top_k")?,
        seed: fields.whole("seed")?,
        frequency_penalty: fields.number("frequency_penalty")?,
        presence_penalty: fields.number("presence_penalty")?,
        stop: stop(fields)?,
        n: small(fields.count("n")?),
        logprobs: fields.flag("logprobs")?,
        top_logprobs: small(fields.count("top_logprobs")?),
    })
}

fn stop(fields: &mut Fields) -> Result<Vec<String>, Refusal> {
    let need = || wrong("stop", "has to be a string or a list of strings");
    match fields.take("stop") {
        None => Ok(Vec::new()),
        Some(Value::String(one)) => Ok(vec![one]),
        Some(Value::Array(list)) => list.into_iter().map(|each| each.as_str().map(str::to_owned).ok_or_else(need)).collect(),
        Some(_) => Err(need()),
    }
}

fn format(fields: &mut Fields) -> Result<Option<Format>, Refusal> {
    let Some(mut format) = fields.object("response_format")? else { return Ok(None) };
    let kind = format.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
    let format = match (kind.as_str(), format.remove("json_schema"), format.remove("schema")) {
        ("text", ..) => Format::Text,
        // Some providers take the schema beside the type.
        ("json_object" | "json_schema", None, Some(schema)) => {
            Format::JsonSchema { name: String::new(), description: None, schema, strict: None }
        }
        ("json_object", ..) => Format::JsonObject,
        ("json_schema", Some(Value::Object(schema)), _) => json_schema(Fields::new(schema))?,
        ("json_schema", ..) => return Err(wrong("response_format", "of type json_schema has to have an object 'json_schema'")),
        (_, json_schema, schema) => {
            let mut left = |name: &str, value: Option<Value>| value.map(|value| format.insert(name.to_owned(), value));
            left("json_schema", json_schema);
            left("schema", schema);
            fields.put("response_format", Value::Object(format));
            return Ok(None);
        }
    };
    Ok(Some(format))
}

fn json_schema(mut schema: Fields) -> Result<Format, Refusal> {
    Ok(Format::JsonSchema {
        name: schema.text("name")?.unwrap_or_default(),
        description: schema.text("description")?,
        strict: schema.flag("strict")?,
        schema: schema.take("schema").unwrap_or_else(|| Value::Object(Map::new())),
    })
}
