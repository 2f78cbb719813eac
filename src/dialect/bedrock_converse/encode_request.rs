//! Writes a Converse request: fields here, messages in [`super::encode_messages`], tools in [`super::encode_tools`].
//!
//! Source: the request body of `Converse` in the Amazon Bedrock API reference.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::additional::{self, Settled};
use super::decode_request::STOP_SEQUENCE;
use super::encode_messages::{self, Written};
use super::encode_tools;
use super::family::{Family, Vendor};
use crate::catalog::Dialect;
use crate::catalog::model::Capability;
use crate::dialect::To;
use crate::dialect::ir::{Dropped, Format, Request, Sampling};
use crate::error::Refusal;

const D: Dialect = Dialect::BedrockConverse;
/// The service tiers that Bedrock knows.
const TIERS: [&str; 4] = ["priority", "default", "flex", "reserved"];
/// Limits of `requestMetadata`.
const METADATA_ENTRIES: usize = 16;
const METADATA_LENGTH: usize = 256;

/// Writes the body.
pub fn encode(request: &Request, to: &To<'_>, dropped: &mut Dropped) -> Result<Bytes, Refusal> {
    let family = Family::of(to);
    let Written { mut system, messages } = encode_messages::write(request, &family, dropped)?;
    let mut top = Map::new();
    let own = request.extra.fields.get(additional::FIELD).filter(|_| request.extra.of == Some(D));
    let own = own.and_then(Value::as_object).cloned().unwrap_or_default();
    let Settled { sampling, mut fields, may_force, effort } = additional::settle(request, &family, own, dropped);
    let tools = encode_tools::write(request, &family, may_force, &mut fields, dropped);
    top.extend(tools.map(|tools| ("toolConfig".to_owned(), tools)));
    let mut output = write_format(request, &family, &mut system, dropped).unwrap_or_default();
    output.extend(effort.map(|effort| ("effort".to_owned(), Value::from(effort))));
    if !output.is_empty() {
        top.insert("outputConfig".to_owned(), Value::Object(output));
    }
    top.insert("messages".to_owned(), Value::Array(messages));
    if !system.is_empty() {
        top.insert("system".to_owned(), Value::Array(system));
    }
    if let Some(config) = write_inference(&sampling) {
        top.insert("inferenceConfig".to_owned(), config);
    }
    if !sampling.stop.is_empty() && family.vendor == Vendor::Anthropic {
        let paths = json!([STOP_SEQUENCE]);
        let is_own = request.extra.of == Some(D) && request.extra.fields.contains_key("additionalModelResponseFieldPaths");
        if !is_own {
            top.insert("additionalModelResponseFieldPaths".to_owned(), paths);
        }
    }
    if !fields.is_empty() {
        top.insert(additional::FIELD.to_owned(), Value::Object(fields));
    }
    match request.service_tier.as_deref() {
        Some("auto" | "standard" | "standard_only") | None => {}
        Some(tier) if TIERS.contains(&tier) => drop(top.insert("serviceTier".to_owned(), json!({ "type": tier }))),
        Some(_) => dropped.note("service_tier"),
    }
    if let Some(metadata) = write_metadata(request, dropped) {
        top.insert("requestMetadata".to_owned(), metadata);
    }
    request.extra.write(D, &mut top, dropped);
    name_the_rest(request, dropped);
    Ok(Bytes::from(serde_json::to_vec(&top).unwrap_or_default()))
}

/// What Converse has no field for.
fn name_the_rest(request: &Request, dropped: &mut Dropped) {
    let sampling = &request.sampling;
    dropped.note_if(sampling.seed.is_some(), "seed");
    dropped.note_if(sampling.frequency_penalty.is_some_and(|penalty| penalty != 0.0), "frequency_penalty");
    dropped.note_if(sampling.presence_penalty.is_some_and(|penalty| penalty != 0.0), "presence_penalty");
    dropped.note_if(sampling.n.is_some_and(|n| n > 1), "n");
    dropped.note_if(sampling.logprobs == Some(true), "logprobs");
    dropped.note_if(sampling.top_logprobs.is_some(), "top_logprobs");
    dropped.note_if(request.user.is_some(), "user");
}

fn write_inference(sampling: &Sampling) -> Option<Value> {
    let mut config = Map::new();
    config.extend(sampling.max_output.map(|max| ("maxTokens".to_owned(), Value::from(max))));
    config.extend(sampling.temperature.map(|temperature| ("temperature".to_owned(), Value::from(temperature))));
    config.extend(sampling.top_p.map(|top_p| ("topP".to_owned(), Value::from(top_p))));
    if !sampling.stop.is_empty() {
        config.insert("stopSequences".to_owned(), json!(sampling.stop));
    }
    (!config.is_empty()).then_some(Value::Object(config))
}

/// The shape of the text; a model that cannot be held to it is asked for it.
fn write_format(request: &Request, family: &Family<'_>, system: &mut Vec<Value>, dropped: &mut Dropped) -> Option<Map<String, Value>> {
    let mut ask = |instruction: String| {
        dropped.note("format");
        system.push(json!({ "text": instruction }));
        None
    };
    match request.format.as_ref()? {
        Format::Text => None,
        Format::JsonObject => ask("Answer with one JSON object and nothing else: no code fence, no other words.".to_owned()),
        Format::JsonSchema { schema, .. } if !family.can(Capability::Structured) => ask(format!(
            "Answer with JSON and nothing else, with no code fence and no other words. It has to fit this JSON schema: {schema}"
        )),
        Format::JsonSchema { name, description, schema, .. } => {
            let mut schema = schema.clone();
            encode_tools::close_objects(&mut schema);
            let mut definition = Map::from_iter([("schema".to_owned(), Value::from(schema.to_string()))]);
            if !name.is_empty() {
                definition.insert("name".to_owned(), Value::from(name.as_str()));
            }
            definition.extend(description.as_ref().map(|text| ("description".to_owned(), Value::from(text.as_str()))));
            let format = json!({ "type": "json_schema", "structure": { "jsonSchema": definition } });
            Some(Map::from_iter([("textFormat".to_owned(), format)]))
        }
    }
}

/// Texts of the few characters that Bedrock's log takes.
fn write_metadata(request: &Request, dropped: &mut Dropped) -> Option<Value> {
    let fits = |text: &str| {
        let is_known = |c: char| c.is_ascii_alphanumeric() || c.is_ascii_whitespace() || ":_@$#=/+,-.".contains(c);
        text.len() <= METADATA_LENGTH && text.chars().all(is_known)
    };
    let kept: Map<String, Value> = request
        .metadata
        .iter()
        .filter(|(name, value)| !name.is_empty() && fits(name) && value.as_str().is_some_and(fits))
        .take(METADATA_ENTRIES)
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    dropped.note_if(kept.len() < request.metadata.len(), "metadata");
    (!kept.is_empty()).then_some(Value::Object(kept))
}
