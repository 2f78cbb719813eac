//! Takes known members out of a JSON object, and names the field that is wrong.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::error::Refusal;

/// A member by its name; absent where it is `null`, refused where it is of another type.
pub fn take<T: DeserializeOwned>(fields: &mut Map<String, Value>, name: &'static str, need: &str) -> Result<Option<T>, Refusal> {
    match fields.remove(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => serde_json::from_value(value).map(Some).map_err(|_| wrong(name, need)),
    }
}

/// The same of a member of an object that is itself a member of the request: the outer one is blamed.
pub fn take_of<T: DeserializeOwned>(
    fields: &mut Map<String, Value>,
    outer: &'static str,
    name: &str,
    need: &str,
) -> Result<Option<T>, Refusal> {
    match fields.remove(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => serde_json::from_value(value)
            .map(Some)
            .map_err(|_| Refusal::invalid("invalid_value", format!("'{name}' in '{outer}' {need}.")).with_param(outer)),
    }
}

/// A refusal that blames a member.
pub fn wrong(name: &'static str, need: &str) -> Refusal {
    Refusal::invalid("invalid_value", format!("'{name}' {need}.")).with_param(name)
}
