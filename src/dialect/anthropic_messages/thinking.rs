//! Decides how a model is told to think, and what else of a request that forbids.
//!
//! Source: the pages on extended thinking ("feature compatibility"), adaptive thinking and effort.

use serde_json::{Map, Value, json};

use super::model::{Thinks, Traits};
use crate::dialect::ir::{Dropped, Effort, Request, Thinking};

/// The least budget that is taken.
const LEAST: u64 = 1024;

/// What the rest of the request means for thinking.
#[derive(Clone, Copy, Debug)]
pub struct Around {
    /// A tool has to be called.
    pub forces_tool: bool,
    /// The model's last turn does not begin with signed reasoning.
    pub lacks_reasoning: bool,
}

/// Adds `thinking`, the effort, and with them the limit of output tokens; the answer says whether the model will think.
pub fn encode(
    request: &Request,
    traits: &Traits,
    around: Around,
    out: &mut Map<String, Value>,
    config: &mut Map<String, Value>,
    dropped: &mut Dropped,
) -> bool {
    let mut limit = request.sampling.max_output.unwrap_or_else(|| traits.default_max_output());
    if let Some(most) = traits.max_output.filter(|most| *most > 0 && limit > *most) {
        limit = most;
        dropped.note("max_output");
    }
    let wanted = request.thinking.as_ref().filter(|_| traits.can_think);
    dropped.note_if(!traits.can_think && request.thinking.as_ref().is_some_and(|thinking| !thinking.is_off()), "thinking");
    let mut plan = Plan::of(wanted, traits);
    if let Plan::Budget(budget) = plan {
        let is_forbidden = around.forces_tool || around.lacks_reasoning;
        plan = match room(budget, request.sampling.max_output, traits, &mut limit) {
            Some(budget) if !is_forbidden => Plan::Budget(budget),
            _ => {
                dropped.note("thinking");
                Plan::Off
            }
        };
    }
    let written = match plan {
        Plan::Silent => None,
        Plan::Off if traits.always_thinks => {
            dropped.note("thinking");
            None
        }
        Plan::Off => Some(json!({ "type": "disabled" })),
        Plan::Adaptive => Some(json!({ "type": "adaptive" })),
        Plan::Budget(budget) => Some(json!({ "type": "enabled", "budget_tokens": budget })),
    };
    if let Some(mut written) = written {
        if let Some(display) = wanted.filter(|_| plan != Plan::Off).and_then(|wanted| display(wanted, traits)) {
            written["display"] = Value::from(display);
        }
        out.insert("thinking".to_owned(), written);
    }
    let effort = wanted.and_then(|wanted| effort(wanted, traits, plan));
    config.extend(effort.map(|effort| ("effort".to_owned(), Value::from(effort.as_str()))));
    out.insert("max_tokens".to_owned(), Value::from(limit));
    matches!(plan, Plan::Adaptive | Plan::Budget(_))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Plan {
    /// Nothing is said of thinking.
    Silent,
    Off,
    Adaptive,
    Budget(u64),
}

// === impl Plan ===

impl Plan {
    fn of(thinking: Option<&Thinking>, traits: &Traits) -> Plan {
        let Some(thinking) = thinking else { return Plan::Silent };
        let says_how_much = thinking.budget.is_some() || thinking.effort.is_some();
        if thinking.is_off() {
            return Plan::Off;
        }
        if !says_how_much && thinking.enabled.is_none() && thinking.include.is_none() && thinking.summary.is_none() {
            return Plan::Silent;
        }
        match (traits.thinks, thinking.budget) {
            (Thinks::Adaptive, _) | (Thinks::Either, None) => Plan::Adaptive,
            (_, Some(budget)) => Plan::Budget(budget),
            // Of another maker's model nothing is known: what it was asked for stands.
            (Thinks::Budget, None) if traits.version.is_none() && !says_how_much && thinking.enabled == Some(true) => Plan::Adaptive,
            (Thinks::Budget, None) => Plan::Budget(thinking.effort.unwrap_or(Effort::Medium).budget()),
        }
    }
}

/// The budget, made to fit under the limit of output tokens; `None` where there is no room for one.
fn room(budget: u64, asked: Option<u64>, traits: &Traits, limit: &mut u64) -> Option<u64> {
    let budget = budget.max(LEAST);
    if asked.is_none() && budget >= *limit - *limit / 4 {
        match traits.max_output {
            None => *limit = budget.saturating_add(4096),
            Some(_) => return Some(*limit - *limit / 4).filter(|budget| *budget >= LEAST),
        }
    }
    Some(budget.min(limit.saturating_sub(1))).filter(|budget| *budget >= LEAST)
}

/// Whether the readable part is wanted, where the caller says so; newer models keep it to themselves unless asked.
fn display(thinking: &Thinking, traits: &Traits) -> Option<&'static str> {
    let is_new = traits.version.is_some_and(|version| version >= (4, 0));
    match (thinking.summary.as_deref(), thinking.include) {
        (Some("omitted"), _) => Some("omitted"),
        (Some("summarized"), _) => Some("summarized"),
        (Some(_), _) | (None, Some(true)) if is_new => Some("summarized"),
        (None, Some(false)) if is_new => Some("omitted"),
        (None, None) if thinking.enabled.is_none() && traits.thinks == Thinks::Adaptive => Some("summarized"),
        _ => None,
    }
}

/// The effort in the words that the model knows.
fn effort(thinking: &Thinking, traits: &Traits, plan: Plan) -> Option<Effort> {
    let asked = match plan {
        // The least that can be asked of a model that always thinks.
        Plan::Off if traits.always_thinks => Some(Effort::Low),
        Plan::Adaptive => thinking.as_effort(),
        // A budget that stands for the effort says it already.
        Plan::Budget(_) if thinking.budget.is_none() => None,
        _ => thinking.effort,
    };
    let version = traits.version.unwrap_or((u16::MAX, 0));
    match asked.filter(|_| traits.effort)? {
        Effort::None => None,
        Effort::Minimal => Some(Effort::Low),
        Effort::XHigh if version < (4, 7) => Some(Effort::High),
        Effort::Max if version < (4, 6) => Some(Effort::High),
        effort => Some(effort),
    }
}

/// Adds `temperature`, `top_p` and `top_k` as far as the model takes them.
pub fn sampling(request: &Request, traits: &Traits, thinks: bool, out: &mut Map<String, Value>, dropped: &mut Dropped) {
    let sampling = &request.sampling;
    let is_own = |temperature: f64| (0.0..=1.0).contains(&temperature);
    // Leaving out the default changes nothing.
    let temperature = sampling.temperature.filter(|temperature| traits.sampling && (!thinks || *temperature == 1.0));
    dropped.note_if(sampling.temperature.is_some_and(|asked| !is_own(asked) || (asked != 1.0 && temperature.is_none())), "temperature");
    let temperature = temperature.filter(|_| !thinks).map(|temperature| temperature.clamp(0.0, 1.0));
    let clashes = temperature.is_some() && !traits.both_samplings;
    let top_p = sampling.top_p.filter(|top_p| traits.sampling && !clashes && (!thinks || *top_p >= 0.95));
    dropped.note_if(sampling.top_p.is_some_and(|asked| asked < 1.0 && top_p.is_none()), "top_p");
    let top_k = sampling.top_k.filter(|_| traits.sampling && !thinks);
    dropped.note_if(sampling.top_k.is_some() && top_k.is_none(), "top_k");
    out.extend(temperature.map(|value| ("temperature".to_owned(), Value::from(value))));
    out.extend(top_p.map(|value| ("top_p".to_owned(), Value::from(value))));
    out.extend(top_k.map(|value| ("top_k".to_owned(), Value::from(value))));
}
