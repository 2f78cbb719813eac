//! How much to reason: `thinkingConfig`, whose budget (2.5) and level (3) are each right for their generation alone.
//!
//! Source: the thinking guide of the Gemini API: 2.5 Pro takes 128 to 32,768 tokens and cannot be switched off, Flash up to 24,576,
//! Flash-Lite from 512; 3 Pro takes the levels low and high.

use serde_json::{Map, Value, json};

use super::family::Family;
use super::fields::{flag, text, whole, wrong};
use crate::dialect::ir::{Dropped, Effort, Thinking};
use crate::error::Refusal;

const PARAM: &str = "generationConfig.thinkingConfig";

/// Reads a `thinkingConfig`; `None` where it says nothing.
pub fn decode(mut config: Map<String, Value>) -> Result<Option<Thinking>, Refusal> {
    let mut thinking = Thinking { include: flag(&mut config, "includeThoughts", PARAM)?, ..Thinking::default() };
    match whole(&mut config, "thinkingBudget", PARAM)? {
        // -1 leaves it to the model.
        Some(budget) if budget < 0 => thinking.enabled = Some(true),
        Some(budget) => thinking.budget = u64::try_from(budget).ok(),
        None => {}
    }
    if let Some(level) = text(&mut config, "thinkingLevel", PARAM)? {
        thinking.effort = match level.to_ascii_uppercase().as_str() {
            "MINIMAL" => Some(Effort::Minimal),
            "LOW" => Some(Effort::Low),
            "MEDIUM" => Some(Effort::Medium),
            "HIGH" => Some(Effort::High),
            "THINKING_LEVEL_UNSPECIFIED" => None,
            _ => return Err(wrong(PARAM, "thinkingLevel", "MINIMAL, LOW, MEDIUM or HIGH")),
        };
    }
    Ok(Some(thinking).filter(|thinking| *thinking != Thinking::default()))
}

/// Writes a `thinkingConfig` that the model takes; `None` where it takes or needs none.
pub fn encode(thinking: &Thinking, family: &Family, dropped: &mut Dropped) -> Option<Value> {
    if !family.thinks {
        dropped.note_if(!thinking.is_off(), "thinking");
        return None;
    }
    let mut config = Map::new();
    match family.is_third() {
        true => third(thinking, family, &mut config, dropped),
        false => second(thinking, family, &mut config, dropped),
    }
    let wants_summary = thinking.summary.as_deref().map(|summary| summary != "omitted");
    let include = thinking.include.or(wants_summary).or((thinking.enabled == Some(true)).then_some(true));
    if let Some(include) = include.filter(|_| !thinking.is_off() || thinking.include.is_some()) {
        config.insert("includeThoughts".to_owned(), json!(include));
    }
    (!config.is_empty()).then_some(Value::Object(config))
}

/// Gemini 3: a level where an effort is named, or a budget as it was before; never both.
fn third(thinking: &Thinking, family: &Family, config: &mut Map<String, Value>, dropped: &mut Dropped) {
    let level = if thinking.is_off() {
        // It cannot be switched off: the least there is comes next.
        dropped.note("thinking");
        Some(Effort::Minimal)
    } else {
        thinking.effort
    };
    let level = level.map(|effort| match effort {
        Effort::None | Effort::Minimal if family.is_pro => "LOW",
        Effort::None | Effort::Minimal => "MINIMAL",
        Effort::Low => "LOW",
        Effort::Medium if family.is_pro && (family.generation, family.minor) == (3, 0) => "HIGH",
        Effort::Medium => "MEDIUM",
        Effort::High | Effort::XHigh | Effort::Max => "HIGH",
    });
    match (level, thinking.budget) {
        (Some(level), _) => drop(config.insert("thinkingLevel".to_owned(), json!(level))),
        (None, Some(budget)) => drop(config.insert("thinkingBudget".to_owned(), json!(budget))),
        (None, None) => {}
    }
}

/// Gemini 2.5: a budget within its bounds.
fn second(thinking: &Thinking, family: &Family, config: &mut Map<String, Value>, dropped: &mut Dropped) {
    let (least, most) = match (family.is_pro, family.is_lite) {
        (true, _) => (128, 32_768),
        (_, true) => (512, 24_576),
        _ => (1, 24_576),
    };
    let budget = match (thinking.is_off(), thinking.as_budget()) {
        (true, _) if family.is_pro => {
            dropped.note("thinking");
            json!(least)
        }
        (true, _) => json!(0),
        (false, Some(budget)) => json!(budget.clamp(least, most)),
        (false, None) if thinking.enabled == Some(true) => json!(-1),
        (false, None) => return,
    };
    config.insert("thinkingBudget".to_owned(), budget);
}
