//! A tool call whose arguments come in pieces, each under its JSON path (Vertex AI's `streamFunctionCallArguments`).

use serde_json::{Map, Value};

use super::chunk::PartialArg;

/// A list does not grow by more than this at once, whatever index a path names.
const LONGEST_GAP: usize = 1024;
/// No deeper than this.
const DEEPEST: usize = 64;

/// Arguments as far as they have come.
#[derive(Debug, Default)]
pub struct Partial {
    args: Map<String, Value>,
}

enum Step {
    Member(String),
    Index(usize),
}

// === impl Partial ===

impl Partial {
    /// Takes a piece in: a text goes on where one stands already.
    pub fn take(&mut self, piece: PartialArg) {
        let steps = steps(piece.json_path.as_deref().unwrap_or_default());
        let Some((Step::Member(first), rest)) = steps.split_first() else { return };
        let mut place = self.args.entry(first.clone()).or_insert(Value::Null);
        for step in rest {
            let Some(inner) = enter(place, step) else { return };
            place = inner;
        }
        match (piece.string_value, piece.number_value, piece.bool_value, place) {
            (Some(more), _, _, Value::String(text)) => text.push_str(&more),
            (Some(text), _, _, place) => *place = Value::String(text),
            (None, Some(number), _, place) => *place = Value::Number(number),
            (None, None, Some(flag), place) => *place = Value::Bool(flag),
            (None, None, None, place) if piece.null_value.is_some() => *place = Value::Null,
            _ => {}
        }
    }

    /// The arguments as JSON text.
    pub fn into_text(self) -> String {
        Value::Object(self.args).to_string()
    }
}

fn enter<'v>(place: &'v mut Value, step: &Step) -> Option<&'v mut Value> {
    match step {
        Step::Member(name) => {
            if !place.is_object() {
                *place = Value::Object(Map::new());
            }
            Some(place.as_object_mut()?.entry(name.clone()).or_insert(Value::Null))
        }
        Step::Index(at) => {
            if !place.is_array() {
                *place = Value::Array(Vec::new());
            }
            let list = place.as_array_mut()?;
            if *at >= list.len() {
                if at - list.len() > LONGEST_GAP {
                    return None;
                }
                list.resize(at + 1, Value::Null);
            }
            list.get_mut(*at)
        }
    }
}

/// The steps of a path such as `$.recipe.steps[9]` or `$['two words']` (RFC 9535, as far as it names one place).
fn steps(path: &str) -> Vec<Step> {
    let mut rest = path.strip_prefix('$').unwrap_or(path);
    let mut steps = Vec::new();
    while !rest.is_empty() && steps.len() < DEEPEST {
        if let Some(inside) = rest.strip_prefix('[') {
            let Some((inside, after)) = inside.split_once(']') else { break };
            let name = inside.trim_matches(['\'', '"']);
            steps.push(match inside.parse() {
                Ok(index) => Step::Index(index),
                Err(_) => Step::Member(name.to_owned()),
            });
            rest = after;
        } else {
            let name = rest.strip_prefix('.').unwrap_or(rest);
            let end = name.find(['.', '[']).unwrap_or(name.len());
            if end == 0 {
                break;
            }
            steps.push(Step::Member(name[..end].to_owned()));
            rest = &name[end..];
        }
    }
    steps
}
