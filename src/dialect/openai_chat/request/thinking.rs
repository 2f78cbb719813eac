//! How much to reason: OpenAI's `reasoning_effort`, OpenRouter's `reasoning`, and the `thinking` of several others.

use serde_json::{Map, Value};

use super::fields::Fields;
use super::manner::Manner;
use crate::dialect::ir::{Dropped, Effort, Request, Thinking};
use crate::error::Refusal;

/// Takes what says how much to reason; words that are not known stay where they are.
pub fn decode(fields: &mut Fields) -> Result<Option<Thinking>, Refusal> {
    let mut thinking = Thinking::default();
    if let Some(word) = fields.text("reasoning_effort")? {
        thinking.effort = Effort::from_name(&word);
        if thinking.effort.is_none() {
            fields.put("reasoning_effort", Value::from(word));
        }
    }
    if let Some(object) = fields.object("reasoning")? {
        let mut object = Fields::new(object);
        reasoning(&mut object, &mut thinking)?;
        put_rest(fields, "reasoning", object);
    }
    if let Some(object) = fields.object("thinking")? {
        let mut object = Fields::new(object);
        match object.text("type")?.as_deref() {
            Some("enabled" | "adaptive" | "auto") => thinking.enabled = Some(true),
            Some("disabled") => thinking.enabled = Some(false),
            Some(other) => object.put("type", Value::from(other)),
            None => {}
        }
        thinking.budget = object.count("budget_tokens")?.or(thinking.budget);
        put_rest(fields, "thinking", object);
    }
    thinking.enabled = fields.flag("enable_thinking")?.or(thinking.enabled);
    thinking.budget = fields.count("thinking_budget")?.or(thinking.budget);
    Ok((thinking != Thinking::default()).then_some(thinking))
}

fn reasoning(object: &mut Fields, thinking: &mut Thinking) -> Result<(), Refusal> {
    if let Some(word) = object.text("effort")? {
        match Effort::from_name(&word) {
            Some(effort) => thinking.effort = Some(effort),
            None => object.put("effort", Value::from(word)),
        }
    }
    thinking.budget = object.count("max_tokens")?.or(thinking.budget);
    thinking.enabled = object.flag("enabled")?;
    thinking.include = object.flag("exclude")?.map(|excluded| !excluded);
    thinking.summary = object.text("summary")?;
    Ok(())
}

fn put_rest(fields: &mut Fields, name: &str, object: Fields) {
    let rest = object.rest();
    if !rest.is_empty() {
        fields.put(name, Value::Object(rest));
    }
}

/// Writes `reasoning_effort`, the one word that OpenAI and most others understand.
pub fn encode(request: &Request, manner: &Manner<'_>, body: &mut Map<String, Value>, dropped: &mut Dropped) {
    let Some(thinking) = &request.thinking else { return };
    dropped.note_if(thinking.wants_text(), "thinking.summary");
    let wanted = if thinking.is_off() { Some(Effort::None) } else { thinking.as_effort() };
    let Some(wanted) = wanted else { return dropped.note_if(thinking.enabled == Some(true), "thinking") };
    if !manner.reasons() {
        // Nothing is lost where a model that cannot reason is told not to.
        dropped.note_if(wanted != Effort::None, "thinking");
        return;
    }
    let effort = manner.nearest_effort(wanted);
    dropped.note_if(effort != wanted, "thinking");
    body.insert("reasoning_effort".to_owned(), Value::from(effort.as_str()));
}
