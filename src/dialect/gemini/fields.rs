//! Members of Gemini's objects, in camelCase or snake_case: protocol buffers' JSON takes both, and numbers as texts too.
//!
//! Source: ProtoJSON in the Protocol Buffers documentation.

use serde_json::{Map, Value};

use crate::error::Refusal;

/// Takes a member out, whichever way it is spelled; `null` is as good as absent.
pub fn take(from: &mut Map<String, Value>, name: &str) -> Option<Value> {
    let camel = from.remove(name);
    let snake = from.remove(&snake(name));
    camel.or(snake).filter(|value| !value.is_null())
}

/// Whether a member is there, whichever way it is spelled.
pub fn has(object: &Map<String, Value>, name: &str) -> bool {
    let there = |name: &str| object.get(name).is_some_and(|value| !value.is_null());
    there(name) || there(&snake(name))
}

/// A text.
pub fn text(from: &mut Map<String, Value>, name: &str, param: &'static str) -> Result<Option<String>, Refusal> {
    match take(from, name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(wrong(param, name, "a string")),
    }
}

/// Yes or no.
pub fn flag(from: &mut Map<String, Value>, name: &str, param: &'static str) -> Result<Option<bool>, Refusal> {
    match take(from, name) {
        None => Ok(None),
        Some(Value::Bool(flag)) => Ok(Some(flag)),
        Some(_) => Err(wrong(param, name, "true or false")),
    }
}

/// A number.
pub fn number(from: &mut Map<String, Value>, name: &str, param: &'static str) -> Result<Option<f64>, Refusal> {
    let Some(value) = take(from, name) else { return Ok(None) };
    let number = value.as_f64().or_else(|| value.as_str()?.parse().ok()).filter(|number: &f64| number.is_finite());
    number.map(Some).ok_or_else(|| wrong(param, name, "a number"))
}

/// A whole number, which may be written with `.0`.
pub fn whole(from: &mut Map<String, Value>, name: &str, param: &'static str) -> Result<Option<i64>, Refusal> {
    let Some(value) = take(from, name) else { return Ok(None) };
    let rounded = |number: f64| (number.fract() == 0.0 && number.abs() < 9e15).then_some(number as i64);
    let number = value.as_i64().or_else(|| value.as_str()?.parse().ok()).or_else(|| rounded(value.as_f64()?));
    number.map(Some).ok_or_else(|| wrong(param, name, "a whole number"))
}

/// A whole number that is not negative.
pub fn count(from: &mut Map<String, Value>, name: &str, param: &'static str) -> Result<Option<u64>, Refusal> {
    let number = whole(from, name, param)?;
    number.map(|number| u64::try_from(number).map_err(|_| wrong(param, name, "a whole number of 0 or more"))).transpose()
}

/// An object.
pub fn object(from: &mut Map<String, Value>, name: &str, param: &'static str) -> Result<Map<String, Value>, Refusal> {
    match take(from, name) {
        None => Ok(Map::new()),
        Some(Value::Object(object)) => Ok(object),
        Some(_) => Err(wrong(param, name, "an object")),
    }
}

/// A list, or the one thing that stands where a list is meant.
pub fn list(from: &mut Map<String, Value>, name: &str) -> Vec<Value> {
    match take(from, name) {
        None => Vec::new(),
        Some(Value::Array(list)) => list,
        Some(one) => vec![one],
    }
}

/// What a field that has another type than it should have is refused with.
pub fn wrong(param: &'static str, name: &str, need: &str) -> Refusal {
    Refusal::invalid("invalid_value", format!("'{name}' has to be {need}.")).with_param(param)
}

/// A member's name in camelCase.
pub fn camel(name: &str) -> String {
    let mut pieces = name.split('_');
    let mut camel = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let mut letters = piece.chars();
        camel.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        camel.push_str(letters.as_str());
    }
    camel
}

fn snake(name: &str) -> String {
    let mut snake = String::with_capacity(name.len() + 4);
    for c in name.chars() {
        if c.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(c.to_ascii_lowercase());
    }
    snake
}
