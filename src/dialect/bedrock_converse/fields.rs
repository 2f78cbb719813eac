//! Reads members of JSON objects, and says by name which one is wrong.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::error::Refusal;

/// Takes a member out and reads it; `null` counts as absent.
pub fn take<T: DeserializeOwned>(from: &mut Map<String, Value>, name: &'static str, need: &str) -> Result<Option<T>, Refusal> {
    match from.remove(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => serde_json::from_value(value).map(Some).map_err(|_| wrong(name, need)),
    }
}

/// A member that is not what it has to be.
pub fn wrong(name: &'static str, need: &str) -> Refusal {
    Refusal::invalid("invalid_value", format!("'{name}' {need}.")).with_param(name)
}

/// A member that is a text.
pub fn text<'a>(of: &'a Value, name: &str) -> Option<&'a str> {
    of.get(name).and_then(Value::as_str)
}

/// The texts of a list of `{"text"}` objects.
pub fn texts(list: &Value) -> Vec<&str> {
    list.as_array().into_iter().flatten().filter_map(|item| text(item, "text")).collect()
}
