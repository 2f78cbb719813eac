//! Writes a request as a `GenerateContentRequest`, within what the model's generation takes.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::family::Family;
use super::{messages, schema, thinking, tools};
use crate::catalog::Dialect;
use crate::dialect::To;
use crate::dialect::ir::{Dropped, Format, Request, Sampling, Tool};
use crate::error::Refusal;

/// The most stop sequences that are taken.
const MOST_STOPS: usize = 5;
/// Nested objects whose members stand in a request's extra fields under their path.
const NESTED: [&str; 3] = ["toolConfig.functionCallingConfig.", "toolConfig.", "generationConfig."];

/// Writes a request.
pub fn encode(request: &Request, to: &To<'_>, dropped: &mut Dropped) -> Result<Bytes, Refusal> {
    let family = Family::of(to.model, to.facts);
    let mut body = extra(request, dropped);
    let mut system = Vec::new();
    let contents = messages::encode(request, &family, &mut system, dropped)?;
    let tools = tools::encode(request, &family, dropped);
    let mut config = Map::new();
    sampling(&request.sampling, &mut config, dropped);
    if let Some(format) = &request.format {
        let is_refused = family.is_before_third() && tools.iter().any(|tool| tool.get("functionDeclarations").is_some());
        write_format(format, is_refused, &mut config, &mut system, dropped);
    }
    if let Some(thinking) = request.thinking.as_ref().and_then(|thinking| thinking::encode(thinking, &family, dropped)) {
        config.insert("thinkingConfig".to_owned(), thinking);
    }
    merge(&mut body, "generationConfig", config);
    let is_foreign = request.tools.iter().any(|tool| matches!(tool, Tool::Builtin(builtin) if builtin.of != Dialect::Gemini));
    if is_foreign && tools::are_mixed(&tools) && family.is_third() {
        merge(&mut body, "toolConfig", Map::from_iter([("includeServerSideToolInvocations".to_owned(), json!(true))]));
    }
    if let Some(choice) = request.tool_choice.as_ref().filter(|_| !tools.is_empty()) {
        let calling = tools::encode_choice(choice);
        let known = body.entry("toolConfig").or_insert_with(|| json!({}));
        match known.get_mut("functionCallingConfig").and_then(Value::as_object_mut) {
            Some(known) => known.extend(calling.as_object().cloned().unwrap_or_default()),
            None => known["functionCallingConfig"] = calling,
        }
    }
    if !tools.is_empty() {
        body.insert("tools".to_owned(), Value::Array(tools));
    }
    if !system.is_empty() {
        body.insert("systemInstruction".to_owned(), json!({ "parts": system }));
    }
    body.insert("contents".to_owned(), Value::Array(contents));
    write_tier(request.service_tier.as_deref(), &mut body, dropped);
    dropped.note_if(request.parallel_tool_calls == Some(false), "parallel_tool_calls");
    dropped.note_if(request.user.is_some(), "user");
    dropped.note_if(!request.metadata.is_empty(), "metadata");
    Ok(Bytes::from(Value::Object(body).to_string()))
}

/// The fields without a meaning elsewhere, each in its place.
fn extra(request: &Request, dropped: &mut Dropped) -> Map<String, Value> {
    let mut flat = Map::new();
    request.extra.write(Dialect::Gemini, &mut flat, dropped);
    let mut body = Map::new();
    for (name, value) in flat {
        let Some((path, member)) = NESTED.iter().find_map(|path| Some((path.trim_end_matches('.'), name.strip_prefix(path)?))) else {
            body.insert(name, value);
            continue;
        };
        let member = Map::from_iter([(member.to_owned(), value)]);
        match path.split_once('.') {
            Some((outer, inner)) => {
                let outer = body.entry(outer).or_insert_with(|| json!({}));
                if let Some(outer) = outer.as_object_mut() {
                    merge(outer, inner, member);
                }
            }
            None => merge(&mut body, path, member),
        }
    }
    body
}

/// Adds members to an object inside another, which is made where there is none.
fn merge(body: &mut Map<String, Value>, name: &str, members: Map<String, Value>) {
    if members.is_empty() {
        return;
    }
    match body.get_mut(name).and_then(Value::as_object_mut) {
        Some(object) => object.extend(members),
        None => drop(body.insert(name.to_owned(), Value::Object(members))),
    }
}

fn sampling(sampling: &Sampling, config: &mut Map<String, Value>, dropped: &mut Dropped) {
    let Sampling { max_output, temperature, top_p, top_k, seed, frequency_penalty, presence_penalty, stop, n, logprobs, top_logprobs } =
        sampling;
    let mut put = |name: &str, value: Option<Value>| config.extend(value.map(|value| (name.to_owned(), value)));
    dropped.note_if(temperature.is_some_and(|temperature| !(0.0..=2.0).contains(&temperature)), "temperature");
    put("maxOutputTokens", max_output.map(Value::from));
    put("temperature", temperature.map(|temperature| json!(temperature.clamp(0.0, 2.0))));
    put("topP", top_p.map(Value::from));
    put("topK", top_k.filter(|top_k| *top_k > 0).map(Value::from));
    let fits = seed.filter(|seed| i32::try_from(*seed).is_ok());
    dropped.note_if(fits != *seed, "seed");
    put("seed", fits.map(Value::from));
    put("frequencyPenalty", frequency_penalty.map(Value::from));
    put("presencePenalty", presence_penalty.map(Value::from));
    dropped.note_if(stop.len() > MOST_STOPS, "stop");
    put("stopSequences", (!stop.is_empty()).then(|| json!(stop[..stop.len().min(MOST_STOPS)])));
    put("candidateCount", n.map(Value::from));
    put("responseLogprobs", logprobs.map(Value::from));
    put("logprobs", top_logprobs.filter(|_| *logprobs != Some(false)).filter(|count| *count > 0).map(|count| json!(count.min(20))));
}

/// Where the model takes no JSON format beside functions, the wish goes into the instructions.
fn write_format(format: &Format, is_refused: bool, config: &mut Map<String, Value>, system: &mut Vec<Value>, dropped: &mut Dropped) {
    let is_json = !matches!(format, Format::Text);
    if is_json && is_refused {
        dropped.note("format");
        let wish = match format {
            Format::JsonSchema { schema, .. } => format!("Answer with JSON alone that fits this JSON Schema: {schema}"),
            _ => "Answer with a JSON object alone.".to_owned(),
        };
        system.push(json!({ "text": wish }));
        return;
    }
    config.insert("responseMimeType".to_owned(), json!(if is_json { "application/json" } else { "text/plain" }));
    if let Format::JsonSchema { schema, description, .. } = format {
        let mut lost = Vec::new();
        let mut schema = schema::for_gemini(schema.clone(), &mut lost);
        lost.into_iter().for_each(|keyword| dropped.note(format!("format.schema.{keyword}")));
        if let (Some(schema), Some(description)) = (schema.as_object_mut().filter(|s| !s.contains_key("$ref")), description) {
            schema.entry("description").or_insert_with(|| json!(description));
        }
        config.insert("responseJsonSchema".to_owned(), schema);
    }
}

fn write_tier(tier: Option<&str>, body: &mut Map<String, Value>, dropped: &mut Dropped) {
    match tier {
        Some(tier @ ("standard" | "flex" | "priority")) => drop(body.insert("serviceTier".to_owned(), Value::from(tier))),
        None | Some("auto" | "default") => {}
        Some(_) => dropped.note("service_tier"),
    }
}
