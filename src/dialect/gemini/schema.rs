//! Schemas: OpenAPI's in Google's spelling read as JSON Schema, and JSON Schema written so that Gemini takes it.
//!
//! Sources: `Schema` and `FunctionDeclaration.parametersJsonSchema` in the Gemini API reference.

use serde_json::{Map, Value, json};

/// Keywords whose value is a schema.
const ONE: [&str; 4] = ["items", "additionalProperties", "not", "contains"];
/// Keywords whose value is a list of schemas.
const LIST: [&str; 4] = ["anyOf", "oneOf", "allOf", "prefixItems"];
/// Keywords whose value is an object of schemas.
const NAMED: [&str; 4] = ["properties", "$defs", "definitions", "patternProperties"];
/// Whole numbers that ProtoJSON writes as texts.
const COUNTS: [&str; 6] = ["minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties"];
/// Keywords that are Google's own.
const GOOGLES: [&str; 3] = ["propertyOrdering", "property_ordering", "example"];
/// Keywords that Gemini does not take.
const REFUSED: [&str; 4] = ["discriminator", "examples", "exclusiveMinimum", "exclusiveMaximum"];

/// Reads a schema in Google's spelling (`"type": "OBJECT"`, `nullable`) as JSON Schema.
pub fn from_google(schema: Value) -> Value {
    let Value::Object(mut schema) = schema else { return schema };
    GOOGLES.iter().for_each(|name| drop(schema.remove(*name)));
    for (snake, camel) in [("any_of", "anyOf"), ("min_items", "minItems"), ("max_items", "maxItems"), ("additional_properties", ONE[1])] {
        if let Some(value) = schema.remove(snake) {
            schema.insert(camel.to_owned(), value);
        }
    }
    let is_nullable = schema.remove("nullable") == Some(Value::Bool(true));
    if let Some(Value::String(name)) = schema.get("type") {
        let name = name.to_ascii_lowercase();
        match (name.as_str(), is_nullable) {
            ("type_unspecified", _) => drop(schema.remove("type")),
            (_, true) => drop(schema.insert("type".to_owned(), json!([name, "null"]))),
            (_, false) => drop(schema.insert("type".to_owned(), Value::from(name))),
        }
    }
    if schema.get("format").and_then(Value::as_str) == Some("enum") {
        schema.remove("format");
    }
    for name in COUNTS {
        if let Some(number) = schema.get(name).and_then(Value::as_str).and_then(|text| text.parse::<u64>().ok()) {
            schema.insert(name.to_owned(), Value::from(number));
        }
    }
    Value::Object(each_inner(schema, &mut from_google))
}

/// Writes a JSON Schema without the keywords that Gemini refuses, which are `lost`.
pub fn for_gemini(schema: Value, lost: &mut Vec<&'static str>) -> Value {
    let Value::Object(mut schema) = schema else { return schema };
    schema.remove("$schema");
    lost.extend(REFUSED.into_iter().filter(|name| schema.remove(*name).is_some()));
    if let Some(value) = schema.remove("const") {
        schema.insert("enum".to_owned(), Value::Array(vec![value]));
    }
    Value::Object(each_inner(schema, &mut |inner| for_gemini(inner, lost)))
}

fn each_inner(schema: Map<String, Value>, change: &mut dyn FnMut(Value) -> Value) -> Map<String, Value> {
    let mut inner = |(name, value): (String, Value)| {
        let value = match value {
            Value::Object(named) if NAMED.contains(&name.as_str()) => {
                Value::Object(named.into_iter().map(|(name, schema)| (name, change(schema))).collect())
            }
            Value::Array(list) if LIST.contains(&name.as_str()) || name == "items" => {
                Value::Array(list.into_iter().map(&mut *change).collect())
            }
            one if ONE.contains(&name.as_str()) => change(one),
            other => other,
        };
        (name, value)
    };
    schema.into_iter().map(&mut inner).collect()
}
