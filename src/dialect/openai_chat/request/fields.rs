//! The members of a JSON object, taken out one by one; what is of the wrong type is named by its field.

use serde_json::{Map, Value};

use crate::error::Refusal;

/// The members that are not taken yet. `null` is as good as absent.
pub struct Fields(Map<String, Value>);

/// What is wrong with a field.
pub fn wrong(field: &'static str, need: &str) -> Refusal {
    Refusal::invalid("invalid_value", format!("'{field}' {need}.")).with_param(field)
}

// === impl Fields ===

impl Fields {
    /// All members of an object.
    pub fn new(mut members: Map<String, Value>) -> Fields {
        members.retain(|_, value| !value.is_null());
        Fields(members)
    }

    /// The members of the request's body.
    pub fn read(body: &[u8]) -> Result<Fields, Refusal> {
        let members = serde_json::from_slice::<Map<String, Value>>(body);
        members.map(Fields::new).map_err(|e| Refusal::invalid("body_not_json", format!("The body has to be one JSON object: {e}.")))
    }

    /// Takes a member of any type.
    pub fn take(&mut self, name: &str) -> Option<Value> {
        self.0.remove(name)
    }

    /// Takes a member that has to be `true` or `false`.
    pub fn flag(&mut self, name: &'static str) -> Result<Option<bool>, Refusal> {
        self.typed(name, "has to be true or false", |value| value.as_bool())
    }

    /// Takes a member that has to be a text.
    pub fn text(&mut self, name: &'static str) -> Result<Option<String>, Refusal> {
        self.typed(name, "has to be a string", |value| value.as_str().map(str::to_owned))
    }

    /// Takes a member that has to be a number.
    pub fn number(&mut self, name: &'static str) -> Result<Option<f64>, Refusal> {
        self.typed(name, "has to be a number", Value::as_f64)
    }

    /// Takes a member that has to be a whole number that is not negative; `5.0` is one, too.
    pub fn count(&mut self, name: &'static str) -> Result<Option<u64>, Refusal> {
        self.typed(name, "has to be a whole number, 0 or more", as_count)
    }

    /// Takes a member that has to be a whole number.
    pub fn whole(&mut self, name: &'static str) -> Result<Option<i64>, Refusal> {
        self.typed(name, "has to be a whole number", Value::as_i64)
    }

    /// Takes a member that has to be a list.
    pub fn list(&mut self, name: &'static str) -> Result<Option<Vec<Value>>, Refusal> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Array(list)) => Ok(Some(list)),
            Some(_) => Err(wrong(name, "has to be a list")),
        }
    }

    /// Takes a member that has to be an object.
    pub fn object(&mut self, name: &'static str) -> Result<Option<Map<String, Value>>, Refusal> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Object(object)) => Ok(Some(object)),
            Some(_) => Err(wrong(name, "has to be an object")),
        }
    }

    /// Puts a member back.
    pub fn put(&mut self, name: &str, value: Value) {
        self.0.insert(name.to_owned(), value);
    }

    /// What was not taken.
    pub fn rest(self) -> Map<String, Value> {
        self.0
    }

    fn typed<T>(&mut self, name: &'static str, need: &str, read: impl Fn(&Value) -> Option<T>) -> Result<Option<T>, Refusal> {
        match self.take(name) {
            None => Ok(None),
            Some(value) => read(&value).map(Some).ok_or_else(|| wrong(name, need)),
        }
    }
}

fn as_count(value: &Value) -> Option<u64> {
    let of_float = || value.as_f64().filter(|number| number.fract() == 0.0 && (0.0..9e15).contains(number)).map(|number| number as u64);
    value.as_u64().or_else(of_float)
}
