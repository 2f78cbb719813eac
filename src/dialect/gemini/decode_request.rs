//! Reads a `GenerateContentRequest` into the intermediate form.
//!
//! Source: `models.generateContent` in the Gemini API reference, and the same method of Vertex AI.

use serde_json::{Map, Value, json};

use super::fields::{count, flag, has, list, number, object, take, text, whole, wrong};
use super::{contents, schema, thinking, tools};
use crate::catalog::Dialect;
use crate::dialect::ir::{Block, Extra, Format, Message, Request, Role, Sampling};
use crate::error::Refusal;

const CONFIG: &str = "generationConfig";

/// Reads a request.
pub fn decode(body: &[u8]) -> Result<Request, Refusal> {
    let mut top: Map<String, Value> = serde_json::from_slice(body)
        .map_err(|e| Refusal::invalid("body_not_json", format!("The body is not right: {e}. Send one JSON object.")))?;
    let mut request = Request::default();
    // The path names the model; some clients repeat it here.
    top.remove("model");
    if let Some(instruction) = take(&mut top, "systemInstruction") {
        let content = system(instruction)?;
        if !content.is_empty() {
            request.messages.push(Message::new(Role::System, content));
        }
    }
    if !has(&top, "contents") {
        return Err(Refusal::invalid("invalid_value", "'contents' is missing: send the conversation there.").with_param("contents"));
    }
    contents::decode(list(&mut top, "contents"), &mut request)?;
    request.tools = tools::decode(list(&mut top, "tools"))?;
    let mut rest = Map::new();
    let mut tool_config = object(&mut top, "toolConfig", "toolConfig")?;
    request.tool_choice = tools::decode_choice(&mut tool_config, &mut rest)?;
    keep("toolConfig", tool_config, &mut rest);
    let mut config = object(&mut top, CONFIG, CONFIG)?;
    request.sampling = sampling(&mut config)?;
    request.format = format(&mut config)?;
    request.thinking = thinking::decode(object(&mut config, "thinkingConfig", "generationConfig.thinkingConfig")?)?;
    // Text alone is what every model answers with anyway.
    if let Some(modalities) = take(&mut config, "responseModalities").filter(|wanted| *wanted != json!(["TEXT"])) {
        config.insert("responseModalities".to_owned(), modalities);
    }
    keep(CONFIG, config, &mut rest);
    let tier = text(&mut top, "serviceTier", "serviceTier")?;
    request.service_tier = tier.map(|tier| tier.to_ascii_lowercase().trim_start_matches("service_tier_").to_owned());
    rest.append(&mut top);
    request.extra = Extra::new(Dialect::Gemini, rest);
    Ok(request)
}

/// Members of a nested object, kept under their path so that what is dropped is named by it.
fn keep(path: &str, object: Map<String, Value>, rest: &mut Map<String, Value>) {
    rest.extend(object.into_iter().filter(|(_, value)| !value.is_null()).map(|(name, value)| (format!("{path}.{name}"), value)));
}

fn system(instruction: Value) -> Result<Vec<Block>, Refusal> {
    let need = || wrong("systemInstruction", "systemInstruction", "a content with text parts");
    let parts = match instruction {
        Value::String(text) => vec![Value::String(text)],
        Value::Array(parts) => parts,
        Value::Object(mut content) if has(&content, "parts") => list(&mut content, "parts"),
        Value::Object(part) if part.contains_key("text") => vec![Value::Object(part)],
        _ => return Err(need()),
    };
    let text = |part: Value| match part {
        Value::String(text) => Ok(text),
        Value::Object(mut part) => text(&mut part, "text", "systemInstruction")?.ok_or_else(need),
        _ => Err(need()),
    };
    let texts: Vec<String> = parts.into_iter().map(text).collect::<Result<_, _>>()?;
    Ok(texts.into_iter().filter(|text| !text.is_empty()).map(Block::text).collect())
}

fn sampling(config: &mut Map<String, Value>) -> Result<Sampling, Refusal> {
    let mut sampling = Sampling {
        max_output: count(config, "maxOutputTokens", "generationConfig.maxOutputTokens")?,
        temperature: number(config, "temperature", "generationConfig.temperature")?,
        top_p: number(config, "topP", "generationConfig.topP")?,
        top_k: count(config, "topK", "generationConfig.topK")?,
        seed: whole(config, "seed", "generationConfig.seed")?,
        frequency_penalty: number(config, "frequencyPenalty", "generationConfig.frequencyPenalty")?,
        presence_penalty: number(config, "presencePenalty", "generationConfig.presencePenalty")?,
        logprobs: flag(config, "responseLogprobs", "generationConfig.responseLogprobs")?,
        ..Sampling::default()
    };
    let small = |number: Option<u64>| number.map(|number| u32::try_from(number).unwrap_or(u32::MAX));
    sampling.n = small(count(config, "candidateCount", "generationConfig.candidateCount")?);
    sampling.top_logprobs = small(count(config, "logprobs", "generationConfig.logprobs")?);
    for stop in list(config, "stopSequences") {
        let Value::String(stop) = stop else { return Err(wrong("generationConfig.stopSequences", "stopSequences", "a list of strings")) };
        sampling.stop.push(stop);
    }
    Ok(sampling)
}

fn format(config: &mut Map<String, Value>) -> Result<Option<Format>, Refusal> {
    let media_type = text(config, "responseMimeType", "generationConfig.responseMimeType")?;
    // A choice between plain words has no counterpart elsewhere.
    if media_type.as_deref().is_some_and(|media_type| !matches!(media_type, "text/plain" | "application/json")) {
        config.extend(media_type.map(|media_type| ("responseMimeType".to_owned(), Value::from(media_type))));
        return Ok(None);
    }
    let json_schema = take(config, "responseJsonSchema").or_else(|| take(config, "_responseJsonSchema"));
    let schema = json_schema.or_else(|| take(config, "responseSchema").map(schema::from_google));
    Ok(match (schema, media_type.as_deref()) {
        (Some(schema @ Value::Object(_)), _) => Some(Format::JsonSchema { name: String::new(), description: None, schema, strict: None }),
        (Some(_), _) => return Err(wrong("generationConfig.responseSchema", "responseSchema", "an object")),
        (None, Some("application/json")) => Some(Format::JsonObject),
        (None, Some(_)) => Some(Format::Text),
        (None, None) => None,
    })
}
