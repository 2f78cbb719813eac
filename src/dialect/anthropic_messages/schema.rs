//! JSON Schemas as Anthropic takes them: an object at the top of a tool's, and a smaller vocabulary where it enforces them.
//!
//! Source: the page on structured outputs, "JSON Schema limitations", and the transformation that Anthropic's SDKs do.

use serde_json::{Map, Value, json};

/// String formats that are enforced.
const FORMATS: [&str; 10] = ["date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"];
/// Keywords whose values hold no schemas and that are enforced or harmless.
const PLAIN: [&str; 8] = ["type", "enum", "const", "default", "required", "title", "description", "$ref"];

/// A tool's schema: an object's, with the variants of a choice at its top merged into it, since Anthropic refuses one there.
///
/// The names of keywords that were merged away are added to `lost`.
pub fn of_tool(schema: Option<&Value>, lost: &mut Vec<&'static str>) -> Value {
    let Some(Value::Object(schema)) = schema else {
        return json!({ "type": "object", "properties": {} });
    };
    let mut schema = schema.clone();
    for keyword in ["anyOf", "oneOf", "allOf"] {
        let Some(Value::Array(variants)) = schema.remove(keyword) else { continue };
        lost.push(keyword);
        let properties = schema.entry("properties").or_insert_with(|| json!({}));
        for (name, value) in variants.iter().filter_map(|variant| variant.get("properties")?.as_object()).flatten() {
            if let Value::Object(properties) = properties {
                properties.entry(name.clone()).or_insert_with(|| value.clone());
            }
        }
    }
    if schema.get("type").and_then(Value::as_str) != Some("object") {
        schema.insert("type".to_owned(), Value::from("object"));
    }
    Value::Object(schema)
}

/// A schema that Anthropic can enforce: objects are closed, and keywords that it does not know are told in the description.
pub fn enforceable(schema: &Value) -> Value {
    let Value::Object(schema) = schema else { return schema.clone() };
    let mut out = Map::new();
    let mut told = Map::new();
    for (keyword, value) in schema {
        match keyword.as_str() {
            "properties" | "$defs" | "definitions" => drop(out.insert(keyword.clone(), each(value))),
            "items" => drop(out.insert(keyword.clone(), enforceable(value))),
            "anyOf" | "allOf" => drop(out.insert(keyword.clone(), all(value))),
            "oneOf" => drop(out.insert("anyOf".to_owned(), all(value))),
            "minItems" if matches!(value.as_u64(), Some(0 | 1)) => drop(out.insert(keyword.clone(), value.clone())),
            "format" if value.as_str().is_some_and(|format| FORMATS.contains(&format)) => drop(out.insert(keyword.clone(), value.clone())),
            "additionalProperties" | "$schema" | "$id" => {}
            plain if PLAIN.contains(&plain) => drop(out.insert(keyword.clone(), value.clone())),
            _ => drop(told.insert(keyword.clone(), value.clone())),
        }
    }
    if out.get("type").and_then(Value::as_str) == Some("object") || out.contains_key("properties") {
        out.insert("additionalProperties".to_owned(), Value::Bool(false));
    }
    if !told.is_empty() {
        let before = out.get("description").and_then(Value::as_str).map(|text| format!("{text}\n\n")).unwrap_or_default();
        out.insert("description".to_owned(), Value::from(format!("{before}{}", Value::Object(told))));
    }
    Value::Object(out)
}

fn each(value: &Value) -> Value {
    match value {
        Value::Object(schemas) => schemas.iter().map(|(name, schema)| (name.clone(), enforceable(schema))).collect(),
        other => other.clone(),
    }
}

fn all(value: &Value) -> Value {
    match value {
        Value::Array(schemas) => schemas.iter().map(enforceable).collect(),
        other => other.clone(),
    }
}
