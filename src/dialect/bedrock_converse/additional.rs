//! `additionalModelRequestFields`: what a model takes beside Converse's own fields, read where its meaning is known, and written as its family has it.
//!
//! Source: the Amazon Bedrock user guide's pages on Claude's extended and adaptive thinking, Amazon Nova, OpenAI's and Qwen's models.

use serde_json::{Map, Value, json};

use super::family::{Family, Thinks, Vendor};
use super::fields::{take, text, wrong};
use crate::catalog::{Capability, Dialect};
use crate::dialect::ir::{Builtin, BuiltinKind, Content, Dropped, Effort, Format, Request, Role, Sampling, Thinking, Tool, ToolChoice};
use crate::error::Refusal;

/// The name of the field.
pub const FIELD: &str = "additionalModelRequestFields";
const LEAST_BUDGET: u64 = 1024;

/// Takes out what is known; the rest stays where it is.
pub fn read(top: &mut Map<String, Value>, request: &mut Request) -> Result<(), Refusal> {
    let Some(mut fields) = take::<Map<String, Value>>(top, FIELD, "has to be an object")? else { return Ok(()) };
    let top_k = take::<u64>(&mut fields, "top_k", "has to be a whole number")?;
    request.sampling.top_k = request.sampling.top_k.or(top_k);
    if let Some(Value::Object(mut inner)) = fields.remove("inferenceConfig") {
        request.sampling.top_k = request.sampling.top_k.or(take(&mut inner, "topK", "has to be a whole number")?);
        put_back(&mut fields, "inferenceConfig", inner);
    }
    request.thinking = read_thinking(&mut fields)?.or(request.thinking.take());
    read_output_config(&mut fields, request);
    read_tool_choice(&mut fields, request);
    if let Some(Value::Array(tools)) = fields.remove("tools") {
        let builtin = |value| Tool::Builtin(Builtin { kind: BuiltinKind::ComputerUse, of: Dialect::AnthropicMessages, value });
        request.tools.extend(tools.into_iter().map(builtin));
    }
    put_back(top, FIELD, fields);
    Ok(())
}

fn put_back(into: &mut Map<String, Value>, name: &str, rest: Map<String, Value>) {
    if !rest.is_empty() {
        into.insert(name.to_owned(), Value::Object(rest));
    }
}

fn read_thinking(fields: &mut Map<String, Value>) -> Result<Option<Thinking>, Refusal> {
    let named = |text: &str| Effort::from_name(text).ok_or_else(|| wrong(FIELD, "names an effort of reasoning that is not known"));
    if let Some(effort) = take::<String>(fields, "reasoning_effort", "has to be a string")? {
        return Ok(Some(Thinking { effort: Some(named(&effort)?), ..Thinking::default() }));
    }
    if let Some(Value::String(effort)) = fields.get("reasoning_config") {
        let effort = named(effort)?;
        fields.remove("reasoning_config");
        return Ok(Some(Thinking { effort: Some(effort), ..Thinking::default() }));
    }
    let Some(config) = ["thinking", "reasoning_config", "reasoningConfig"].iter().find_map(|name| fields.remove(*name)) else {
        return Ok(None);
    };
    let budget = config.get("budget_tokens").or(config.get("budgetTokens")).and_then(Value::as_u64);
    let effort = text(&config, "maxReasoningEffort").map(named).transpose()?;
    let enabled = match text(&config, "type") {
        Some("disabled") => Some(false),
        Some(_) if budget.is_none() && effort.is_none() => Some(true),
        _ => None,
    };
    Ok(Some(Thinking { enabled, effort, budget, summary: text(&config, "display").map(str::to_owned), include: None }))
}

/// Claude's own `output_config`: an effort, and the shape of the text.
fn read_output_config(fields: &mut Map<String, Value>, request: &mut Request) {
    let Some(Value::Object(mut config)) = fields.remove("output_config") else { return };
    if let Some(effort) = config.get("effort").and_then(Value::as_str).and_then(Effort::from_name) {
        config.remove("effort");
        let thinking = request.thinking.get_or_insert_default();
        thinking.effort = Some(effort);
        // The effort says it.
        thinking.enabled = thinking.enabled.filter(|is_on| !is_on);
    }
    if let Some(schema) = config.get("format").and_then(|format| format.get("schema")).cloned() {
        config.remove("format");
        request.format.get_or_insert(Format::JsonSchema { name: String::new(), description: None, schema, strict: None });
    }
    put_back(fields, "output_config", config);
}

/// Claude's own `tool_choice`, which can say that calls are to come one by one.
fn read_tool_choice(fields: &mut Map<String, Value>, request: &mut Request) {
    let Some(choice) = fields.remove("tool_choice") else { return };
    let is_serial = choice.get("disable_parallel_tool_use").and_then(Value::as_bool);
    request.parallel_tool_calls = is_serial.map(|is_serial| !is_serial);
    let said = match text(&choice, "type") {
        Some("auto") => Some(ToolChoice::Auto),
        Some("any") => Some(ToolChoice::Required),
        Some("none") => Some(ToolChoice::None),
        Some("tool") => text(&choice, "name").map(|name| ToolChoice::Tool(name.to_owned())),
        _ => None,
    };
    request.tool_choice = request.tool_choice.take().or(said);
}

/// What is said of sampling and reasoning, once the model's family has had its say.
pub struct Settled {
    /// What `inferenceConfig` is to say; `top_k` is among the fields.
    pub sampling: Sampling,
    /// The fields.
    pub fields: Map<String, Value>,
    /// Whether a tool may be forced.
    pub may_force: bool,
    /// What `outputConfig` is to say of effort, for models with no word of their own for it.
    pub effort: Option<&'static str>,
}

/// Settles sampling and reasoning for a family, on top of the caller's own additional fields.
pub fn settle(request: &Request, family: &Family, fields: Map<String, Value>, dropped: &mut Dropped) -> Settled {
    let mut settled = Settled { sampling: request.sampling.clone(), fields, may_force: true, effort: None };
    settled.clamp(family, dropped);
    if let Some(thinking) = &request.thinking {
        match family.vendor {
            Vendor::Anthropic => settled.claude(request, thinking, family, dropped),
            Vendor::Nova => settled.nova(thinking, family, dropped),
            _ => settled.other(thinking, family, dropped),
        }
    }
    if let Some(top_k) = settled.sampling.top_k.take() {
        match family.vendor {
            Vendor::Nova => {
                let inner = settled.fields.entry("inferenceConfig").or_insert_with(|| json!({}));
                if let Value::Object(inner) = inner {
                    inner.insert("topK".to_owned(), Value::from(top_k));
                }
            }
            Vendor::Meta | Vendor::OpenAi => dropped.note("top_k"),
            _ => drop(settled.fields.insert("top_k".to_owned(), Value::from(top_k))),
        }
    }
    settled
}

// === impl Settled ===

impl Settled {
    /// Into the ranges that Bedrock and the model take.
    fn clamp(&mut self, family: &Family, dropped: &mut Dropped) {
        let sampling = &mut self.sampling;
        if let Some(temperature) = sampling.temperature.as_mut().filter(|temperature| !(0.0..=1.0).contains(*temperature)) {
            *temperature = temperature.clamp(0.0, 1.0);
            dropped.note("temperature");
        }
        if family.has_no_sampling() {
            dropped.note_if(sampling.temperature.take().is_some(), "temperature");
            dropped.note_if(sampling.top_p.take().is_some(), "top_p");
            dropped.note_if(sampling.top_k.take().is_some(), "top_k");
        }
        if family.takes_one_of_temperature_and_top_p() && sampling.temperature.is_some() {
            dropped.note_if(sampling.top_p.take().is_some(), "top_p");
        }
        let before = sampling.stop.len();
        let is_claude = family.vendor == Vendor::Anthropic;
        let says_nothing = |stop: &str| if is_claude { stop.trim().is_empty() } else { stop.is_empty() };
        sampling.stop.retain(|stop| !says_nothing(stop) && !family.has_no_stop());
        dropped.note_if(sampling.stop.len() < before, "stop");
    }

    fn claude(&mut self, request: &Request, thinking: &Thinking, family: &Family, dropped: &mut Dropped) {
        let thinks = family.claude_thinks();
        if thinking.is_off() {
            let can = thinks != Thinks::Never && thinking.enabled == Some(false);
            return if can {
                self.put("thinking", json!({ "type": "disabled" }))
            };
        }
        let budget = match thinks {
            Thinks::Never => return dropped.note("thinking"),
            Thinks::Adaptive => None,
            Thinks::Either => thinking.budget,
            Thinks::Budget => thinking.as_budget().or(Some(Effort::Medium.budget())),
        };
        let Some(budget) = budget else { return self.adaptive(thinking, dropped) };
        let most = self.sampling.max_output.map_or(u64::MAX, |max| max.saturating_sub(1));
        if most < LEAST_BUDGET || lacks_its_reasoning(request) {
            return dropped.note("thinking");
        }
        let budget = budget.clamp(LEAST_BUDGET, most);
        let mut config = json!({ "type": "enabled", "budget_tokens": budget });
        if let Some(display) = display(thinking) {
            config["display"] = Value::from(display);
        }
        self.put("thinking", config);
        self.without_sampling(dropped);
    }

    fn adaptive(&mut self, thinking: &Thinking, dropped: &mut Dropped) {
        let mut config = json!({ "type": "adaptive" });
        if let Some(display) = display(thinking) {
            config["display"] = Value::from(display);
        }
        self.put("thinking", config);
        if let Some(effort) = thinking.as_effort() {
            let effort = if effort == Effort::Minimal { Effort::Low } else { effort };
            let output = self.fields.entry("output_config").or_insert_with(|| json!({}));
            if let Value::Object(output) = output {
                output.insert("effort".to_owned(), Value::from(effort.as_str()));
            }
        }
        self.without_sampling(dropped);
    }

    /// While Claude thinks, it takes no other temperature than 1, no `top_k`, a `top_p` of 0.95 or more, and no forced tool.
    fn without_sampling(&mut self, dropped: &mut Dropped) {
        let sampling = &mut self.sampling;
        dropped.note_if(sampling.temperature.take().is_some_and(|temperature| temperature != 1.0), "temperature");
        dropped.note_if(sampling.top_k.take().is_some(), "top_k");
        if sampling.top_p.is_some_and(|top_p| top_p < 0.95) {
            sampling.top_p = None;
            dropped.note("top_p");
        }
        self.may_force = false;
    }

    /// Nova 2 thinks by an effort of three, and at its highest has its own sampling and takes no limit: a caller's own limit means more than that.
    fn nova(&mut self, thinking: &Thinking, family: &Family, dropped: &mut Dropped) {
        if !family.is("nova-2") {
            return dropped.note_if(!thinking.is_off(), "thinking");
        }
        if thinking.is_off() {
            return self.put("reasoningConfig", json!({ "type": "disabled" }));
        }
        let is_bounded = self.sampling.max_output.is_some();
        let effort = match of_three(thinking) {
            "high" if is_bounded => {
                dropped.note("thinking");
                "medium"
            }
            effort => effort,
        };
        self.put("reasoningConfig", json!({ "type": "enabled", "maxReasoningEffort": effort }));
        if effort == "high" {
            let sampling = &mut self.sampling;
            dropped.note_if(sampling.temperature.take().is_some(), "temperature");
            dropped.note_if(sampling.top_p.take().is_some(), "top_p");
        }
    }

    fn other(&mut self, thinking: &Thinking, family: &Family, dropped: &mut Dropped) {
        match (family.vendor, thinking.is_off()) {
            (Vendor::OpenAi, false) if family.is("gpt-oss") => self.put("reasoning_effort", Value::from(of_three(thinking))),
            (Vendor::Qwen | Vendor::DeepSeek, false) => {
                let effort = if of_three(thinking) == "low" { "low" } else { "high" };
                self.put("reasoning_config", Value::from(effort));
            }
            (Vendor::OpenAi, true) => dropped.note("thinking"),
            (_, true) => {}
            (_, false) if thinking.wants_text_alone() => dropped.note("thinking.summary"),
            (Vendor::Unknown, false) if family.can(Capability::Reasoning) && thinking.as_effort() >= Some(Effort::Low) => {
                self.effort = thinking.as_effort().map(Effort::as_str);
            }
            (_, false) => dropped.note("thinking"),
        }
    }

    /// The caller's own field wins.
    fn put(&mut self, name: &str, value: Value) {
        self.fields.entry(name).or_insert(value);
    }
}

/// Claude's word for how the readable part is shown.
fn display(thinking: &Thinking) -> Option<&'static str> {
    match (thinking.summary.as_deref(), thinking.include) {
        (Some("omitted"), _) => Some("omitted"),
        (Some("summarized"), _) => Some("summarized"),
        _ => None,
    }
}

fn of_three(thinking: &Thinking) -> &'static str {
    match thinking.as_effort() {
        Some(Effort::None | Effort::Minimal | Effort::Low) => "low",
        None | Some(Effort::Medium) => "medium",
        Some(Effort::High | Effort::XHigh | Effort::Max) => "high",
    }
}

/// Claude, told to think, refuses to go on after tool calls whose reasoning is not there.
fn lacks_its_reasoning(request: &Request) -> bool {
    let goes_on = request.messages.last().is_some_and(|message| message.role == Role::Tool);
    let turn = request.messages.iter().rev().find(|message| message.role == Role::Assistant);
    let has_reasoning = turn.is_some_and(|message| {
        message.content.iter().any(|block| match &block.content {
            Content::Reasoning(reasoning) => {
                reasoning.signature.as_ref().is_some_and(|it| it.value_for(Dialect::BedrockConverse).is_some())
            }
            _ => false,
        })
    });
    goes_on && !has_reasoning
}
