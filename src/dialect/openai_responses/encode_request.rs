//! Writes a request: its top level. Items are written by [`items`](super::encode_items), tools by [`tools`](super::tools).
//!
//! Source: `CreateResponse` of OpenAI's API reference.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::decode_request::{INCLUDE_ENCRYPTED, INCLUDE_LOGPROBS};
use super::{encode_items, tools};
use crate::catalog::Dialect;
use crate::catalog::model::Capability;
use crate::dialect::To;
use crate::dialect::ir::{Content, Dropped, Effort, Extra, Format, Request, Sampling, Thinking};
use crate::error::Refusal;

/// OpenAI refuses a limit below this.
pub const LEAST_OUTPUT: u64 = 16;
/// Members of Chat Completions that mean the same here.
const SHARED_WITH_CHAT: [&str; 5] = ["prompt_cache_key", "prompt_cache_retention", "safety_identifier", "store", "verbosity"];

/// Writes a request for a provider.
pub fn encode(request: &Request, to: &To<'_>, dropped: &mut Dropped) -> Result<Bytes, Refusal> {
    let mut body = Map::new();
    body.insert("model".to_owned(), Value::from(to.model));
    let mut written = encode_items::encode(request, dropped)?;
    let names_json = written.instructions.as_ref().is_some_and(|text| text.to_ascii_lowercase().contains("json"));
    if request.format == Some(Format::JsonObject) && !names_json && !written.input.iter().any(says_json) {
        // OpenAI refuses this format where no message names it.
        written.input.push(json!({ "role": "developer", "content": "Answer with a JSON object." }));
    }
    insert(&mut body, "instructions", written.instructions);
    body.insert("input".to_owned(), Value::Array(written.input));
    insert(&mut body, "stream", request.stream.then_some(true));
    write_extra(&request.extra, &mut body, dropped);
    let list = tools::encode(&request.tools, dropped);
    // A choice, and how many at once, are refused where there is nothing to choose from.
    if !list.is_empty() {
        insert(&mut body, "tool_choice", request.tool_choice.as_ref().map(|choice| tools::encode_choice(choice, &request.tools)));
        insert(&mut body, "parallel_tool_calls", request.parallel_tool_calls);
        body.insert("tools".to_owned(), Value::Array(list));
    }
    write_text(request.format.as_ref(), &mut body);
    let sampling = &request.sampling;
    write_sampling(sampling, to, &mut body, dropped);
    let reasoning = reasoning(request.thinking.as_ref(), to, dropped);
    let may_reason = reasoning.is_some() || can(to, Capability::Reasoning) == Some(true) || was_reasoned(request);
    write_reasoning(reasoning, &mut body);
    let mut includes =
        body.remove("include").and_then(|list| if let Value::Array(list) = list { Some(list) } else { None }).unwrap_or_default();
    includes.extend((sampling.logprobs == Some(true)).then(|| Value::from(INCLUDE_LOGPROBS)));
    includes.extend(may_reason.then(|| Value::from(INCLUDE_ENCRYPTED)));
    insert(&mut body, "include", (!includes.is_empty()).then_some(includes));
    // What is not asked to be kept is not kept: elsewhere that goes without saying.
    body.entry("store").or_insert(Value::from(false));
    insert(&mut body, "service_tier", tier(request, dropped));
    insert(&mut body, "user", request.user.clone());
    insert(&mut body, "metadata", (!request.metadata.is_empty()).then(|| request.metadata.clone()));
    Ok(Bytes::from(Value::Object(body).to_string()))
}

fn insert(body: &mut Map<String, Value>, name: &str, value: Option<impl Into<Value>>) {
    if let Some(value) = value {
        body.insert(name.to_owned(), value.into());
    }
}

/// Whether the model is known to do something; `None` where nothing is known.
fn can(to: &To<'_>, capability: Capability) -> Option<bool> {
    let known = &to.facts?.can;
    (!known.is_empty()).then(|| known.contains(&capability))
}

fn write_extra(extra: &Extra, body: &mut Map<String, Value>, dropped: &mut Dropped) {
    if extra.of == Some(Dialect::OpenaiChat) {
        for (name, value) in &extra.fields {
            match SHARED_WITH_CHAT.contains(&name.as_str()) {
                true => insert(body, name, Some(value.clone())),
                false => dropped.note(name.clone()),
            }
        }
    } else {
        extra.write(Dialect::OpenaiResponses, body, dropped);
    }
}

/// Whether a message has the word in it.
fn says_json(value: &Value) -> bool {
    match value {
        Value::String(text) => text.to_ascii_lowercase().contains("json"),
        Value::Array(list) => list.iter().any(says_json),
        Value::Object(map) => ["content", "text", "output"].iter().any(|name| map.get(*name).is_some_and(says_json)),
        _ => false,
    }
}

/// `text`: the format, and the verbosity, which stands at the top in the form.
fn write_text(format: Option<&Format>, body: &mut Map<String, Value>) {
    let verbosity = body.remove("verbosity");
    let format = format.map(|format| match format {
        Format::Text => json!({ "type": "text" }),
        Format::JsonObject => json!({ "type": "json_object" }),
        Format::JsonSchema { name, description, schema, strict } => {
            let name = if name.is_empty() { "response" } else { name };
            let mut written = json!({ "type": "json_schema", "name": name, "schema": schema });
            if let Some(description) = description {
                written["description"] = Value::from(description.as_str());
            }
            if let Some(strict) = strict {
                written["strict"] = Value::from(*strict);
            }
            written
        }
    });
    if verbosity.is_none() && format.is_none() {
        return;
    }
    if let Value::Object(text) = body.entry("text").or_insert_with(|| json!({})) {
        text.extend(format.map(|format| ("format".to_owned(), format)));
        text.extend(verbosity.map(|verbosity| ("verbosity".to_owned(), verbosity)));
    }
}

fn write_sampling(sampling: &Sampling, to: &To<'_>, body: &mut Map<String, Value>, dropped: &mut Dropped) {
    let limit = sampling.max_output.map(|limit| limit.max(LEAST_OUTPUT));
    dropped.note_if(limit != sampling.max_output, "max_output");
    insert(body, "max_output_tokens", limit);
    // Models that reason mostly refuse both.
    let takes_temperature = can(to, Capability::Temperature) != Some(false);
    for (name, value) in [("temperature", sampling.temperature), ("top_p", sampling.top_p)] {
        match takes_temperature {
            true => insert(body, name, value),
            false => dropped.note_if(value.is_some(), name),
        }
    }
    insert(body, "top_logprobs", sampling.top_logprobs.filter(|count| *count > 0));
    dropped.note_if(sampling.top_k.is_some(), "top_k");
    dropped.note_if(sampling.seed.is_some(), "seed");
    dropped.note_if(sampling.frequency_penalty.is_some_and(|penalty| penalty != 0.0), "frequency_penalty");
    dropped.note_if(sampling.presence_penalty.is_some_and(|penalty| penalty != 0.0), "presence_penalty");
    dropped.note_if(!sampling.stop.is_empty(), "stop");
    dropped.note_if(sampling.n.is_some_and(|n| n > 1), "n");
}

/// `reasoning`, or `None` where nothing is to be said of it.
fn reasoning(thinking: Option<&Thinking>, to: &To<'_>, dropped: &mut Dropped) -> Option<Map<String, Value>> {
    let thinking = thinking?;
    if can(to, Capability::Reasoning) == Some(false) {
        dropped.note_if(!thinking.is_off(), "thinking");
        return None;
    }
    let effort = effort(thinking, to.model, dropped);
    let wants_text = thinking.include == Some(true) || (thinking.enabled == Some(true) && thinking.include.is_none());
    let summary = match thinking.summary.as_deref() {
        Some("omitted") => None,
        Some("summarized") => Some("auto"),
        None if wants_text && !thinking.is_off() => Some("auto"),
        other => other,
    };
    let mut written = Map::new();
    dropped.note_if(effort.is_none() && thinking.enabled == Some(true), "thinking");
    insert(&mut written, "effort", effort.map(Effort::as_str));
    insert(&mut written, "summary", summary);
    (!written.is_empty()).then_some(written)
}

fn effort(thinking: &Thinking, model: &str, dropped: &mut Dropped) -> Option<Effort> {
    if thinking.effort.is_none() && thinking.is_off() {
        let least = least_effort(model);
        dropped.note_if(least != Effort::None, "thinking");
        return Some(least);
    }
    match (thinking.effort, thinking.budget) {
        (Some(Effort::Max), _) => Some(Effort::XHigh),
        (Some(effort), _) => Some(effort),
        // Efforts above this one are known to few models.
        (None, Some(budget)) => Some(Effort::for_budget(budget).min(Effort::High)),
        (None, None) => None,
    }
}

/// The first models that reason cannot be told not to.
fn least_effort(model: &str) -> Effort {
    let name = model.rsplit('/').next().unwrap_or(model);
    let is_gpt_5 = name == "gpt-5" || name.starts_with("gpt-5-");
    match ["o1", "o3", "o4"].iter().any(|series| name.starts_with(series)) {
        true => Effort::Low,
        false if is_gpt_5 => Effort::Minimal,
        false => Effort::None,
    }
}

/// Merged with what the form has no place for.
fn write_reasoning(reasoning: Option<Map<String, Value>>, body: &mut Map<String, Value>) {
    let Some(reasoning) = reasoning else { return };
    if let Value::Object(object) = body.entry("reasoning").or_insert_with(|| json!({})) {
        object.extend(reasoning);
    }
}

fn was_reasoned(request: &Request) -> bool {
    let mut blocks = request.messages.iter().flat_map(|message| &message.content);
    blocks.any(|block| match &block.content {
        Content::Reasoning(reasoning) => {
            reasoning.signature.as_ref().is_some_and(|signature| signature.value_for(Dialect::OpenaiResponses).is_some())
        }
        _ => false,
    })
}

fn tier(request: &Request, dropped: &mut Dropped) -> Option<&'static str> {
    const KNOWN: [&str; 5] = ["auto", "default", "flex", "priority", "scale"];
    let tier = request.service_tier.as_deref()?;
    let written = KNOWN.iter().find(|known| **known == tier).copied().or((tier == "standard_only").then_some("default"));
    dropped.note_if(written.is_none(), "service_tier");
    written
}
