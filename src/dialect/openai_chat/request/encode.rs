//! Writes a Chat Completions request.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::manner::Manner;
use super::{messages_out, thinking, tools_out};
use crate::catalog::Dialect;
use crate::dialect::To;
use crate::dialect::ir::{Dropped, Format, Request, Sampling};
use crate::error::Refusal;

/// OpenAI takes no more stop sequences.
const MOST_STOPS: usize = 4;
/// OpenAI takes no higher temperature.
const HOTTEST: f64 = 2.0;
/// OpenAI takes no longer names of schemas.
const LONGEST_NAME: usize = 64;
/// Tiers that some provider of the dialect knows.
const TIERS: [&str; 8] = ["auto", "default", "flex", "priority", "scale", "batch", "on_demand", "performance"];

/// Writes a request for a provider.
pub fn encode(request: &Request, to: &To<'_>, dropped: &mut Dropped) -> Result<Bytes, Refusal> {
    let manner = Manner::new(to);
    let mut body = Map::new();
    body.insert("model".to_owned(), Value::from(to.model));
    body.insert("messages".to_owned(), Value::Array(messages_out::encode(request, &manner, dropped)?));
    if request.stream {
        body.insert("stream".to_owned(), Value::Bool(true));
    }
    tools_out::encode(request, &manner, &mut body, dropped);
    body.extend(request.format.as_ref().map(|format| ("response_format".to_owned(), self::format(format))));
    sampling(&request.sampling, &manner, &mut body, dropped);
    thinking::encode(request, &manner, &mut body, dropped);
    match request.service_tier.as_deref() {
        Some("standard_only") => drop(body.insert("service_tier".to_owned(), Value::from("default"))),
        Some(tier) if TIERS.contains(&tier) => drop(body.insert("service_tier".to_owned(), Value::from(tier))),
        tier => dropped.note_if(tier.is_some(), "service_tier"),
    }
    body.extend(request.user.as_ref().map(|user| ("user".to_owned(), Value::from(user.as_str()))));
    request.extra.write(Dialect::OpenaiChat, &mut body, dropped);
    metadata(request, &mut body, dropped);
    if request.stream {
        let options = body.entry("stream_options").or_insert_with(|| json!({}));
        options["include_usage"] = Value::Bool(true);
    }
    Ok(Bytes::from(Value::Object(body).to_string()))
}

/// OpenAI takes notes only with answers that it is to store.
fn metadata(request: &Request, body: &mut Map<String, Value>, dropped: &mut Dropped) {
    let is_stored = body.get("store").and_then(Value::as_bool) == Some(true);
    match is_stored && !request.metadata.is_empty() {
        true => drop(body.insert("metadata".to_owned(), Value::Object(request.metadata.clone()))),
        false => dropped.note_if(!request.metadata.is_empty(), "metadata"),
    }
}

fn sampling(sampling: &Sampling, manner: &Manner<'_>, body: &mut Map<String, Value>, dropped: &mut Dropped) {
    let mut set = |name: &str, value: Option<Value>| body.extend(value.map(|value| (name.to_owned(), value)));
    let most = sampling.max_output.map(|wanted| manner.output(wanted));
    dropped.note_if(most != sampling.max_output, "max_output");
    set("max_completion_tokens", most.map(Value::from));
    dropped.note_if(sampling.top_k.is_some(), "top_k");
    set("seed", sampling.seed.map(Value::from));
    let most_stops = if manner.takes_stops() { MOST_STOPS } else { 0 };
    dropped.note_if(sampling.stop.len() > most_stops, "stop");
    let stops: Vec<&str> = sampling.stop.iter().take(most_stops).map(String::as_str).collect();
    set("stop", (!stops.is_empty()).then(|| Value::from(stops)));
    set("n", sampling.n.map(Value::from));
    if !manner.takes_sampling() {
        let is_other = |value: Option<f64>, usual: f64| value.is_some_and(|value| value != usual);
        dropped.note_if(is_other(sampling.temperature, 1.0), "temperature");
        dropped.note_if(is_other(sampling.top_p, 1.0), "top_p");
        dropped.note_if(is_other(sampling.frequency_penalty, 0.0), "frequency_penalty");
        dropped.note_if(is_other(sampling.presence_penalty, 0.0), "presence_penalty");
        dropped.note_if(sampling.logprobs == Some(true) || sampling.top_logprobs.is_some(), "logprobs");
        return;
    }
    dropped.note_if(sampling.temperature.is_some_and(|temperature| temperature > HOTTEST), "temperature");
    set("temperature", sampling.temperature.map(|temperature| number(temperature.min(HOTTEST))));
    set("top_p", sampling.top_p.map(number));
    set("frequency_penalty", sampling.frequency_penalty.map(number));
    set("presence_penalty", sampling.presence_penalty.map(number));
    let logprobs = sampling.logprobs.or(sampling.top_logprobs.map(|_| true));
    set("logprobs", logprobs.map(Value::Bool));
    set("top_logprobs", sampling.top_logprobs.filter(|_| logprobs == Some(true)).map(Value::from));
}

/// Whole numbers without a fraction, as people write them.
fn number(number: f64) -> Value {
    match number.fract() == 0.0 && number.abs() < 1e9 {
        true => Value::from(number as i64),
        false => Value::from(number),
    }
}

fn format(format: &Format) -> Value {
    match format {
        Format::Text => json!({ "type": "text" }),
        Format::JsonObject => json!({ "type": "json_object" }),
        Format::JsonSchema { name, description, schema, strict } => {
            let mut object = json!({ "name": schema_name(name), "schema": schema });
            if let Some(description) = description {
                object["description"] = Value::from(description.as_str());
            }
            if let Some(strict) = strict {
                object["strict"] = Value::Bool(*strict);
            }
            json!({ "type": "json_schema", "json_schema": object })
        }
    }
}

/// A name of letters, digits, `_` and `-`, which OpenAI requires.
fn schema_name(name: &str) -> String {
    let name: String = name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' }).take(LONGEST_NAME).collect();
    if name.is_empty() { "answer".to_owned() } else { name }
}
