//! Takes the members of a JSON object one by one, each by the type that it has to have.

use serde_json::{Map, Value};

use crate::error::Refusal;

/// The members of a request that are still to be read; those that are `null` count as absent.
#[derive(Debug)]
pub struct Fields(Map<String, Value>);

// === impl Fields ===

impl Fields {
    /// Of a request's body.
    pub fn read(body: &[u8]) -> Result<Fields, Refusal> {
        match serde_json::from_slice(body) {
            Ok(Value::Object(map)) => Ok(Fields::new(map)),
            Ok(_) => Err(Refusal::invalid("body_not_an_object", "The body has to be a JSON object with 'model' and 'input'.")),
            Err(error) => Err(Refusal::invalid("body_not_json", format!("The body is not right: {error}. Send one JSON object."))),
        }
    }

    /// Of an object.
    pub fn new(mut map: Map<String, Value>) -> Fields {
        map.retain(|_, value| !value.is_null());
        Fields(map)
    }

    /// Whether a member is there.
    pub fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// A member of any type.
    pub fn take(&mut self, name: &str) -> Option<Value> {
        self.0.remove(name)
    }

    /// Takes a member away if it says what goes without saying.
    pub fn forget(&mut self, name: &str, default: &Value) {
        if self.0.get(name) == Some(default) {
            self.0.remove(name);
        }
    }

    /// Keeps a member that was taken.
    pub fn put_back(&mut self, name: &str, value: Value) {
        self.0.insert(name.to_owned(), value);
    }

    /// A text.
    pub fn text(&mut self, name: &'static str) -> Result<Option<String>, Refusal> {
        self.typed(name, "a string", |value| if let Value::String(text) = value { Some(text) } else { None })
    }

    /// A number.
    pub fn number(&mut self, name: &'static str) -> Result<Option<f64>, Refusal> {
        self.typed(name, "a number", |value| value.as_f64())
    }

    /// A whole number that is not negative.
    pub fn whole(&mut self, name: &'static str) -> Result<Option<u64>, Refusal> {
        self.typed(name, "a whole number that is not negative", |value| value.as_u64())
    }

    /// `true` or `false`.
    pub fn flag(&mut self, name: &'static str) -> Result<Option<bool>, Refusal> {
        self.typed(name, "true or false", |value| value.as_bool())
    }

    /// A list.
    pub fn list(&mut self, name: &'static str) -> Result<Option<Vec<Value>>, Refusal> {
        self.typed(name, "a list", |value| if let Value::Array(list) = value { Some(list) } else { None })
    }

    /// An object.
    pub fn object(&mut self, name: &'static str) -> Result<Option<Fields>, Refusal> {
        self.typed(name, "an object", |value| if let Value::Object(map) = value { Some(Fields::new(map)) } else { None })
    }

    /// What is left.
    pub fn rest(self) -> Map<String, Value> {
        self.0
    }

    fn typed<T>(&mut self, name: &'static str, need: &str, read: impl Fn(Value) -> Option<T>) -> Result<Option<T>, Refusal> {
        let Some(value) = self.0.remove(name) else { return Ok(None) };
        read(value).map(Some).ok_or_else(|| wrong(name, &format!("'{name}' has to be {need}.")))
    }
}

/// A refusal of a member's value; `sentence` says what it has to be.
pub fn wrong(param: &'static str, sentence: &str) -> Refusal {
    Refusal::invalid("invalid_value", sentence).with_param(param)
}

/// Takes a text out of an object; empty where there is none.
pub fn take_text(map: &mut Map<String, Value>, name: &str) -> String {
    match map.remove(name) {
        Some(Value::String(text)) => text,
        _ => String::new(),
    }
}

/// Takes a list out of an object; empty where there is none.
pub fn take_list(map: &mut Map<String, Value>, name: &str) -> Vec<Value> {
    match map.remove(name) {
        Some(Value::Array(list)) => list,
        _ => Vec::new(),
    }
}

/// The paths of what is left of an object after it was read, but for members that say nothing to another dialect.
pub fn unread(path: &str, left: &Map<String, Value>, known: &[&str]) -> Vec<String> {
    let is_said = |value: &Value| !matches!(value, Value::Null | Value::Bool(false));
    let left = left.iter().filter(|(name, value)| !known.contains(&name.as_str()) && is_said(value));
    left.map(|(name, _)| format!("{path}.{name}")).collect()
}
