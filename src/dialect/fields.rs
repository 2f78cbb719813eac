//! The members of a JSON object, taken out one by one with their types checked; what is left has no meaning to its reader.

use serde_json::{Map, Value};

use crate::error::Refusal;

/// An object's members.
#[derive(Debug, Default)]
pub struct Fields(Map<String, Value>);

// === impl Fields ===

impl Fields {
    /// The members of the object that a request's body is.
    pub fn read(body: &[u8]) -> Result<Fields, Refusal> {
        match serde_json::from_slice(body) {
            Ok(Value::Object(members)) => Ok(Fields(members)),
            Ok(_) => Err(Refusal::invalid("body_not_an_object", "The body has to be a JSON object.")),
            Err(error) => Err(Refusal::invalid("body_not_json", format!("The body is not right: {error}."))),
        }
    }

    /// The members of an object that stands in `field`.
    pub fn of(value: Value, field: &'static str) -> Result<Fields, Refusal> {
        match value {
            Value::Object(members) => Ok(Fields(members)),
            _ => Err(wrong(field, "has to hold an object")),
        }
    }

    /// A member of any type; `null` counts as absent.
    pub fn take(&mut self, name: &str) -> Option<Value> {
        self.0.remove(name).filter(|value| !value.is_null())
    }

    /// A text.
    pub fn text(&mut self, name: &'static str) -> Result<Option<String>, Refusal> {
        self.typed(name, "a text", |value| if let Value::String(text) = value { Some(text) } else { None })
    }

    /// `true` or `false`.
    pub fn flag(&mut self, name: &'static str) -> Result<Option<bool>, Refusal> {
        self.typed(name, "true or false", |value| value.as_bool())
    }

    /// A number.
    pub fn number(&mut self, name: &'static str) -> Result<Option<f64>, Refusal> {
        self.typed(name, "a number", |value| value.as_f64())
    }

    /// A whole number, which may be written with a point.
    pub fn whole(&mut self, name: &'static str) -> Result<Option<i64>, Refusal> {
        self.typed(name, "a whole number", |value| value.as_i64().or_else(|| value.as_f64().filter(|n| n.fract() == 0.0).map(|n| n as i64)))
    }

    /// A whole number that is not negative.
    pub fn count(&mut self, name: &'static str) -> Result<Option<u64>, Refusal> {
        let number = self.whole(name)?;
        number.map(|number| u64::try_from(number).map_err(|_| wrong(name, "may not be negative"))).transpose()
    }

    /// A list.
    pub fn list(&mut self, name: &'static str) -> Result<Option<Vec<Value>>, Refusal> {
        self.typed(name, "a list", |value| if let Value::Array(list) = value { Some(list) } else { None })
    }

    /// A list of texts.
    pub fn texts(&mut self, name: &'static str) -> Result<Vec<String>, Refusal> {
        let list = self.list(name)?.unwrap_or_default();
        let text = |value| if let Value::String(text) = value { Ok(text) } else { Err(wrong(name, "has to hold texts")) };
        list.into_iter().map(text).collect()
    }

    /// An object.
    pub fn object(&mut self, name: &'static str) -> Result<Option<Fields>, Refusal> {
        self.take(name).map(|value| Fields::of(value, name)).transpose()
    }

    /// What was not taken.
    pub fn rest(self) -> Map<String, Value> {
        self.0.into_iter().filter(|(_, value)| !value.is_null()).collect()
    }

    fn typed<T>(&mut self, name: &'static str, what: &str, read: impl FnOnce(Value) -> Option<T>) -> Result<Option<T>, Refusal> {
        match self.take(name) {
            None => Ok(None),
            Some(value) => read(value).map(Some).ok_or_else(|| wrong(name, &format!("has to be {what}"))),
        }
    }
}

/// The refusal of a field's value.
pub fn wrong(field: &'static str, need: &str) -> Refusal {
    Refusal::invalid("invalid_value", format!("'{field}' {need}.")).with_param(field)
}
