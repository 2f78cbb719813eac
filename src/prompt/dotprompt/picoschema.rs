//! Picoschema, Dotprompt's short way to write a schema, made JSON Schema 2020-12; JSON Schema passes as it is.

use serde_json::{Map, Value, json};

use super::Schemas;

/// What is wrong with a schema.
#[derive(Debug)]
pub struct Wrong {
    /// The field, as it is written.
    pub at: String,
    /// What is wrong with it.
    pub message: String,
}

const SCALARS: [&str; 6] = ["string", "boolean", "null", "number", "integer", "any"];
/// What may stand beside the `type` of a scalar in JSON Schema, and in OpenAPI's.
const KEYWORDS: [&str; 38] = [
    "$id",
    "$schema",
    "$ref",
    "$defs",
    "$comment",
    "$anchor",
    "type",
    "title",
    "description",
    "default",
    "deprecated",
    "readOnly",
    "writeOnly",
    "examples",
    "example",
    "enum",
    "const",
    "format",
    "pattern",
    "minLength",
    "maxLength",
    "contentEncoding",
    "contentMediaType",
    "contentSchema",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "allOf",
    "anyOf",
    "oneOf",
    "not",
    "if",
    "then",
    "else",
    "definitions",
    "nullable",
];

/// The JSON Schema of a schema in either form; one of variables is an object's, whatever they are called.
pub fn to_json_schema(schema: &Value, named: &Schemas, is_of_variables: bool) -> Result<Value, Wrong> {
    let Value::Object(object) = schema else { return pico(schema, named, "schema") };
    if has_field_named_type(object, named, is_of_variables) {
        return self::object(object, named);
    }
    let is_json_schema = match object.get("type") {
        Some(Value::String(kind)) => SCALARS.contains(&kind.as_str()) || kind == "object" || kind == "array",
        Some(Value::Array(_)) => true,
        _ => object.contains_key("$ref") || object.contains_key("anyOf") || object.contains_key("oneOf"),
    };
    if is_json_schema {
        return Ok(schema.clone());
    }
    if object.get("properties").is_some_and(Value::is_object) {
        let mut whole = object.clone();
        whole.insert("type".to_owned(), json!("object"));
        return Ok(Value::Object(whole));
    }
    pico(schema, named, "schema")
}

/// Whether `type: string` is a field of that name and not the schema's own type: nothing tells but what stands beside it.
fn has_field_named_type(fields: &Map<String, Value>, named: &Schemas, is_of_variables: bool) -> bool {
    let is_scalar = fields.get("type").and_then(Value::as_str).is_some_and(|kind| SCALARS.contains(&kind));
    let is_no_keyword = |name: &String| !KEYWORDS.contains(&name.as_str()) && !name.starts_with("x-");
    is_scalar && (is_of_variables || fields.keys().any(is_no_keyword)) && object(fields, named).is_ok()
}

fn pico(schema: &Value, named: &Schemas, at: &str) -> Result<Value, Wrong> {
    match schema {
        Value::String(text) => scalar(text, named, at),
        Value::Object(fields) => object(fields, named),
        other => Err(wrong(at, format!("'{at}' is {other}: write a type such as 'string', or fields"))),
    }
}

fn scalar(text: &str, named: &Schemas, at: &str) -> Result<Value, Wrong> {
    let (kind, description) = described(text);
    let mut schema = match kind {
        "any" => json!({}),
        kind if SCALARS.contains(&kind) => json!({ "type": kind }),
        kind => named.get(kind).cloned().ok_or_else(|| {
            wrong(at, format!("'{kind}' is no type: it is one of {}, or 'name(array): type' and the like", SCALARS.join(", ")))
        })?,
    };
    describe(&mut schema, description);
    Ok(schema)
}

fn object(fields: &Map<String, Value>, named: &Schemas) -> Result<Value, Wrong> {
    let (mut properties, mut required, mut rest) = (Map::new(), Vec::new(), Value::Bool(false));
    for (key, value) in fields {
        if key == "(*)" {
            rest = pico(value, named, key)?;
            continue;
        }
        let (name, manner) = match key.split_once('(') {
            Some((name, manner)) => (name, Some(manner.strip_suffix(')').ok_or_else(|| wrong(key, format!("'{key}' lacks its ')'")))?)),
            None => (key.as_str(), None),
        };
        let is_optional = name.ends_with('?');
        let name = name.trim_end_matches('?');
        if !is_optional {
            required.push(Value::from(name));
        }
        let (kind, description) = manner.map_or((None, None), |manner| {
            let (kind, description) = described(manner);
            (Some(kind), description)
        });
        let mut property = field(kind, value, is_optional, named, key)?;
        if is_optional && let Some(Value::String(one)) = property.get("type") {
            property["type"] = json!([one, "null"]);
        }
        describe(&mut property, description);
        properties.insert(name.to_owned(), property);
    }
    let mut schema = json!({ "type": "object", "properties": properties });
    if !required.is_empty() {
        schema["required"] = Value::Array(required);
    }
    schema["additionalProperties"] = rest;
    Ok(schema)
}

fn field(kind: Option<&str>, value: &Value, is_optional: bool, named: &Schemas, key: &str) -> Result<Value, Wrong> {
    match (kind, value) {
        (None, value) => pico(value, named, key),
        (Some("array"), value) => Ok(json!({ "type": "array", "items": pico(value, named, key)? })),
        (Some("object"), value) => pico(value, named, key),
        (Some("enum"), Value::Array(values)) => {
            let mut values = values.clone();
            if is_optional && !values.contains(&Value::Null) {
                values.push(Value::Null);
            }
            Ok(json!({ "enum": values }))
        }
        (Some("enum"), _) => Err(wrong(key, format!("'{key}' has to be a list of values"))),
        (Some(other), _) => Err(wrong(key, format!("'{other}' in '{key}' is none of array, object, enum"))),
    }
}

/// A type and what follows its comma.
fn described(text: &str) -> (&str, Option<&str>) {
    match text.split_once(',') {
        Some((kind, description)) => (kind.trim(), Some(description.trim())),
        None => (text.trim(), None),
    }
}

fn describe(schema: &mut Value, description: Option<&str>) {
    if let (Some(description), Value::Object(schema)) = (description, schema) {
        schema.insert("description".to_owned(), Value::from(description));
    }
}

fn wrong(at: &str, message: String) -> Wrong {
    Wrong { at: at.to_owned(), message }
}
