//! The least JSON that a schema takes: required fields only, first choices, smallest numbers.

use serde_json::{Map, Number, Value, json};

/// Schemas may refer to themselves without end.
const DEEPEST: usize = 32;
/// And a small schema may ask for a huge value: what is above this many bytes is left out.
const MOST_BYTES: usize = 32 << 10;
const LONGEST_TEXT: usize = 10_000;
/// What a value costs beside its own length.
const VALUE_BYTES: usize = 8;

/// A minimal instance of a schema, as text.
pub(super) fn minimal(schema: &Value) -> String {
    Instance { root: schema, left: MOST_BYTES }.of(schema, 0).to_string()
}

struct Instance<'a> {
    root: &'a Value,
    left: usize,
}

// === impl Instance ===

impl<'a> Instance<'a> {
    fn of(&mut self, schema: &'a Value, depth: usize) -> Value {
        if depth > DEEPEST || !self.spend(0) {
            return Value::Null;
        }
        if let Some(target) = schema["$ref"].as_str().and_then(|to| self.root.pointer(to.strip_prefix('#')?)) {
            return self.of(target, depth + 1);
        }
        if let Some(value) = [schema.get("const"), schema["enum"].get(0), schema.get("default")].into_iter().flatten().next() {
            return if self.spend(value.to_string().len()) { value.clone() } else { Value::Null };
        }
        for choice in ["anyOf", "oneOf"] {
            if let Some(first) = schema[choice].get(0) {
                return self.of(first, depth + 1);
            }
        }
        let own = match kind(schema) {
            "object" => self.object(schema, depth),
            "array" => self.array(schema, depth),
            "string" => {
                let text = text(schema);
                if self.spend(text.len()) { Value::from(text) } else { Value::Null }
            }
            "integer" => number(schema, true),
            "number" => number(schema, false),
            "boolean" => Value::from(false),
            _ => Value::Null,
        };
        match schema["allOf"].as_array() {
            Some(parts) => {
                let mut all = own;
                for part in parts {
                    if !self.spend(0) {
                        break;
                    }
                    all = merge(all, self.of(part, depth + 1));
                }
                all
            }
            None => own,
        }
    }

    /// Whether there is room for so many bytes more.
    fn spend(&mut self, bytes: usize) -> bool {
        match self.left.checked_sub(bytes + VALUE_BYTES) {
            Some(left) => self.left = left,
            None => self.left = 0,
        }
        self.left > 0
    }

    fn object(&mut self, schema: &'a Value, depth: usize) -> Value {
        let mut object = Map::new();
        for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            if !self.spend(name.len()) {
                break;
            }
            let value = schema["properties"].get(name).map_or(Value::Null, |property| self.of(property, depth + 1));
            object.insert(name.to_owned(), value);
        }
        Value::Object(object)
    }

    fn array(&mut self, schema: &'a Value, depth: usize) -> Value {
        let first = schema["prefixItems"].as_array().into_iter().flatten();
        let mut items: Vec<Value> = Vec::new();
        for item in first {
            if !self.spend(0) {
                break;
            }
            items.push(self.of(item, depth + 1));
        }
        let least = schema["minItems"].as_u64().unwrap_or(0);
        while (items.len() as u64) < least && self.spend(0) {
            items.push(schema.get("items").map_or(Value::Null, |item| self.of(item, depth + 1)));
        }
        Value::Array(items)
    }
}

/// The schema's type, or what its fields say.
fn kind(schema: &Value) -> &str {
    match &schema["type"] {
        Value::String(kind) => kind,
        Value::Array(kinds) => kinds.first().and_then(Value::as_str).unwrap_or("null"),
        _ if schema.get("properties").is_some() => "object",
        _ if schema.get("items").is_some() => "array",
        _ => "null",
    }
}

fn text(schema: &Value) -> String {
    let known = match schema["format"].as_str() {
        Some("date-time") => Some("1970-01-01T00:00:00Z"),
        Some("date") => Some("1970-01-01"),
        Some("time") => Some("00:00:00Z"),
        Some("duration") => Some("PT0S"),
        Some("email") => Some("simulated@example.com"),
        Some("hostname") => Some("example.com"),
        Some("ipv4") => Some("192.0.2.1"),
        Some("ipv6") => Some("2001:db8::1"),
        Some("uri") => Some("https://example.com/"),
        Some("uuid") => Some("00000000-0000-4000-8000-000000000000"),
        _ => None,
    };
    let bound = |name: &str| schema[name].as_u64().map(|n| usize::try_from(n).unwrap_or(LONGEST_TEXT).min(LONGEST_TEXT));
    match known {
        Some(known) => known.to_owned(),
        None => {
            let length = "simulated".len().max(bound("minLength").unwrap_or(0)).min(bound("maxLength").unwrap_or(LONGEST_TEXT));
            "simulated".chars().cycle().take(length).collect()
        }
    }
}

/// 0 where that is allowed, else the bound nearest to it.
fn number(schema: &Value, whole: bool) -> Value {
    let step = if whole { 1.0 } else { 0.5 };
    let bound = |name: &str| schema[name].as_f64();
    let least = bound("minimum").or(bound("exclusiveMinimum").map(|n| if whole { n.floor() + step } else { n + step }));
    let most = bound("maximum").or(bound("exclusiveMaximum").map(|n| if whole { n.ceil() - step } else { n - step }));
    let mut value = 0.0_f64.max(least.unwrap_or(f64::MIN)).min(most.unwrap_or(f64::MAX));
    if let Some(of) = bound("multipleOf").filter(|of| *of > 0.0) {
        value = (value / of).ceil() * of;
    }
    match whole {
        true => json!(value.ceil() as i64),
        false => Number::from_f64(value).map_or(Value::from(0), Value::Number),
    }
}

fn merge(all: Value, part: Value) -> Value {
    match (all, part) {
        (Value::Object(mut all), Value::Object(part)) => {
            all.extend(part);
            Value::Object(all)
        }
        (Value::Null, part) => part,
        (all, _) => all,
    }
}
