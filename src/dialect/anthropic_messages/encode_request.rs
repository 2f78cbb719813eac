//! Writes a Messages request for a provider.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::decode_tools::OF_TOOLS;
use super::encode_messages::{Conversation, alone};
use super::model::Traits;
use super::thinking::{self, Around};
use super::{encode_tools, schema};
use crate::catalog::Dialect;
use crate::dialect::To;
use crate::dialect::ir::{Dropped, Format, Request};
use crate::error::Refusal;

const DIALECT: Dialect = Dialect::AnthropicMessages;

/// Writes a request; what cannot be said is named.
pub fn encode(request: &Request, to: &To<'_>, dropped: &mut Dropped) -> Result<Bytes, Refusal> {
    let traits = Traits::of(to);
    let mut conversation = Conversation::of(request, &traits, dropped)?;
    let mut out = Map::from_iter([("model".to_owned(), Value::from(to.model))]);
    if request.stream {
        out.insert("stream".to_owned(), Value::Bool(true));
    }
    let forces_tool = encode_tools::encode(request, &traits, &mut out, dropped);
    let around = Around { forces_tool, lacks_reasoning: conversation.lacks_reasoning() };
    let mut config = Map::new();
    let thinks = thinking::encode(request, &traits, around, &mut out, &mut config, dropped);
    thinking::sampling(request, &traits, thinks, &mut out, dropped);
    if let Some(instruction) = format(request, &traits, &mut config, dropped) {
        conversation.system.push(json!({ "type": "text", "text": instruction }));
    }
    let (system, messages) = conversation.into_parts();
    if !system.is_empty() {
        out.insert("system".to_owned(), alone(system));
    }
    out.insert("messages".to_owned(), Value::Array(messages));
    if !config.is_empty() {
        out.insert("output_config".to_owned(), Value::Object(config));
    }
    about(request, &mut out, dropped);
    unsaid(request, dropped);
    extra(request, &mut out, dropped);
    serde_json::to_vec(&out)
        .map(Bytes::from)
        .map_err(|e| Refusal::invalid("not_expressible", format!("The request cannot be written: {e}.")))
}

/// Stop sequences, the tier, and who the user is.
fn about(request: &Request, out: &mut Map<String, Value>, dropped: &mut Dropped) {
    let stop: Vec<&String> = request.sampling.stop.iter().filter(|stop| !stop.trim().is_empty()).collect();
    dropped.note_if(stop.len() < request.sampling.stop.len(), "stop");
    if !stop.is_empty() {
        out.insert("stop_sequences".to_owned(), json!(stop));
    }
    let tier = match request.service_tier.as_deref() {
        Some("auto") => Some("auto"),
        Some("standard_only" | "default" | "standard") => Some("standard_only"),
        Some(_) => {
            dropped.note("service_tier");
            None
        }
        None => None,
    };
    out.extend(tier.map(|tier| ("service_tier".to_owned(), Value::from(tier))));
    if let Some(user) = &request.user {
        out.insert("metadata".to_owned(), json!({ "user_id": user }));
    }
    dropped.note_if(!request.metadata.is_empty(), "metadata");
}

/// The shape of the text: enforced where the model can be made to, else asked for in an instruction.
fn format(request: &Request, traits: &Traits, config: &mut Map<String, Value>, dropped: &mut Dropped) -> Option<String> {
    match request.format.as_ref()? {
        Format::Text => None,
        Format::JsonSchema { schema, .. } if traits.structured => {
            config.insert("format".to_owned(), json!({ "type": "json_schema", "schema": schema::enforceable(schema) }));
            None
        }
        Format::JsonSchema { schema, .. } => {
            dropped.note("format");
            Some(format!("Answer with one JSON value that fits this JSON Schema, and with nothing else, not even a code fence:\n{schema}"))
        }
        Format::JsonObject => {
            dropped.note("format");
            Some("Answer with one JSON object and with nothing else, not even a code fence.".to_owned())
        }
    }
}

/// Names what the dialect has no words for.
fn unsaid(request: &Request, dropped: &mut Dropped) {
    let sampling = &request.sampling;
    dropped.note_if(sampling.seed.is_some(), "seed");
    dropped.note_if(sampling.frequency_penalty.is_some_and(|penalty| penalty != 0.0), "frequency_penalty");
    dropped.note_if(sampling.presence_penalty.is_some_and(|penalty| penalty != 0.0), "presence_penalty");
    dropped.note_if(sampling.n.is_some_and(|n| n > 1), "n");
    dropped.note_if(sampling.logprobs == Some(true), "logprobs");
    dropped.note_if(sampling.top_logprobs.is_some_and(|top| top > 0), "top_logprobs");
}

/// The fields that were kept; of `output_config` and the tools' own only parts were.
fn extra(request: &Request, out: &mut Map<String, Value>, dropped: &mut Dropped) {
    let mut rest = request.extra.clone();
    if rest.of == Some(DIALECT) {
        rest.fields.retain(|name, _| !name.starts_with(OF_TOOLS));
        if let (Some(Value::Object(kept)), Some(Value::Object(config))) = (rest.fields.get("output_config"), out.get_mut("output_config")) {
            config.extend(kept.clone());
        }
    }
    rest.write(DIALECT, out, dropped);
}
