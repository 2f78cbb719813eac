//! Schemas of an OpenAPI description as JSON Schema (2020-12) that stands alone: references are followed, and 3.0's own words translated.

use std::collections::BTreeMap;

use percent_encoding::percent_decode_str;
use serde_json::{Map, Value, json};

/// Takes schemas out of a description, for one tool.
pub struct Schemas<'a> {
    document: &'a Value,
    /// What is referred to, by its name in `$defs`.
    defined: BTreeMap<String, Value>,
    /// The names in `$defs`, by reference.
    names: BTreeMap<String, String>,
    /// So many schemas may still stand where they are referred to; the rest goes to `$defs`.
    left: usize,
}

/// Enough for what people write by hand; of larger ones each part is there once.
const INLINE: usize = 1000;
/// Deeper than any description that is meant.
const DEEPEST: usize = 100;

/// Words of OpenAPI that JSON Schema does not know, and examples.
const DROPPED: [&str; 6] = ["discriminator", "xml", "example", "externalDocs", "nullable", "$schema"];
const OF_ONE: [&str; 11] = [
    "items",
    "additionalProperties",
    "not",
    "if",
    "then",
    "else",
    "contains",
    "propertyNames",
    "unevaluatedProperties",
    "unevaluatedItems",
    "contentSchema",
];
const OF_MANY: [&str; 4] = ["allOf", "anyOf", "oneOf", "prefixItems"];
const BY_NAME: [&str; 5] = ["properties", "patternProperties", "$defs", "definitions", "dependentSchemas"];
/// What may stand beside a reference and says nothing of what fits.
const SAID: [&str; 6] = ["title", "description", "summary", "default", "deprecated", "examples"];

/// What a reference within a document leads to, and what that leads to in turn.
pub fn follow<'a>(document: &'a Value, value: &'a Value) -> Result<&'a Value, String> {
    let mut value = value;
    for _ in 0..DEEPEST {
        match value.get("$ref").and_then(Value::as_str) {
            None => return Ok(value),
            Some(target) => value = look_up(document, target)?,
        }
    }
    Err("references go round in a circle".to_owned())
}

fn look_up<'a>(document: &'a Value, target: &str) -> Result<&'a Value, String> {
    let pointer = target.strip_prefix('#').ok_or_else(|| format!("'{target}' is in another file: put all into one (bundle it)"))?;
    let pointer = percent_decode_str(pointer).decode_utf8_lossy();
    document.pointer(&pointer).ok_or_else(|| format!("'{target}' refers to nothing"))
}

// === impl Schemas ===

impl<'a> Schemas<'a> {
    /// Takes them out of this description.
    pub fn of(document: &'a Value) -> Schemas<'a> {
        Schemas { document, defined: BTreeMap::new(), names: BTreeMap::new(), left: INLINE }
    }

    /// A schema with what it refers to in its place, or in `$defs`.
    pub fn take(&mut self, schema: &Value) -> Result<Value, String> {
        self.schema(schema, &mut Vec::new())
    }

    /// What was put into `$defs`.
    pub fn defs(self) -> Option<Value> {
        (!self.defined.is_empty()).then(|| Value::Object(self.defined.into_iter().collect()))
    }

    fn schema(&mut self, schema: &Value, within: &mut Vec<String>) -> Result<Value, String> {
        self.left = self.left.saturating_sub(1);
        let Value::Object(members) = schema else { return Ok(schema.clone()) };
        if within.len() > DEEPEST {
            return Err("a schema is nested too deeply".to_owned());
        }
        match members.get("$ref").and_then(Value::as_str) {
            Some(target) => self.referred(target, members, within),
            None => self.members(members, within),
        }
    }

    fn referred(&mut self, target: &str, members: &Map<String, Value>, within: &mut Vec<String>) -> Result<Value, String> {
        let found = if self.left == 0 || within.iter().any(|outer| outer == target) {
            json!({ "$ref": format!("#/$defs/{}", self.define(target)?) })
        } else {
            within.push(target.to_owned());
            let found = look_up(self.document, target).and_then(|schema| self.schema(schema, within));
            within.pop();
            found?
        };
        let beside = members.iter().filter(|(name, _)| *name != "$ref");
        let (said, more): (Vec<_>, Vec<_>) = beside.partition(|(name, _)| SAID.contains(&name.as_str()));
        let Value::Object(mut found) = found else { return Ok(found) };
        if !more.is_empty() {
            let more: Map<String, Value> = more.into_iter().map(|(name, value)| (name.clone(), value.clone())).collect();
            let more = self.members(&more, within)?;
            found = Map::from_iter([("allOf".to_owned(), json!([found, more]))]);
        }
        said.into_iter().for_each(|(name, value)| drop(found.insert(name.clone(), value.clone())));
        Ok(Value::Object(found))
    }

    /// Puts what is referred to into `$defs`, once; the name that it has there.
    fn define(&mut self, target: &str) -> Result<String, String> {
        if let Some(name) = self.names.get(target) {
            return Ok(name.clone());
        }
        let base: String =
            target.rsplit('/').next().unwrap_or_default().chars().map(|c| if c.is_alphanumeric() { c } else { '_' }).collect();
        let mut name = base.clone();
        while self.names.values().any(|other| *other == name) {
            name.push('_');
        }
        self.names.insert(target.to_owned(), name.clone());
        let schema = look_up(self.document, target)?;
        let schema = self.schema(schema, &mut vec![target.to_owned()])?;
        self.defined.insert(name.clone(), schema);
        Ok(name)
    }

    fn members(&mut self, members: &Map<String, Value>, within: &mut Vec<String>) -> Result<Value, String> {
        // Not only references are deep: what is nested counts as well.
        within.push(String::new());
        let taken = members.iter().filter(|(name, _)| !DROPPED.contains(&name.as_str())).map(|(name, value)| {
            let value = match (name.as_str(), value) {
                (name, Value::Object(all)) if BY_NAME.contains(&name) => {
                    let all = all.iter().map(|(name, schema)| Ok((name.clone(), self.schema(schema, within)?)));
                    Value::Object(all.collect::<Result<_, String>>()?)
                }
                (name, Value::Array(all)) if OF_MANY.contains(&name) => {
                    Value::Array(all.iter().map(|schema| self.schema(schema, within)).collect::<Result<_, _>>()?)
                }
                (name, schema) if OF_ONE.contains(&name) => self.schema(schema, within)?,
                (_, other) => other.clone(),
            };
            Ok((name.clone(), value))
        });
        let taken = taken.collect::<Result<Map<String, Value>, String>>();
        within.pop();
        let mut taken = taken?;
        exclusive(&mut taken, "exclusiveMinimum", "minimum");
        exclusive(&mut taken, "exclusiveMaximum", "maximum");
        let is_nullable = members.get("nullable").is_some_and(|nullable| nullable == true);
        Ok(if is_nullable { nullable(taken) } else { Value::Object(taken) })
    }
}

/// In OpenAPI 3.0 it is a mark on the bound; since then it is the bound itself.
fn exclusive(schema: &mut Map<String, Value>, mark: &str, bound: &str) {
    match schema.get(mark) {
        Some(Value::Bool(true)) => match schema.shift_remove(bound) {
            Some(number) => drop(schema.insert(mark.to_owned(), number)),
            None => drop(schema.shift_remove(mark)),
        },
        Some(Value::Bool(false)) => drop(schema.shift_remove(mark)),
        _ => {}
    }
}

/// In OpenAPI 3.0 null is allowed by a mark.
fn nullable(mut schema: Map<String, Value>) -> Value {
    if let Some(Value::Array(values)) = schema.get_mut("enum")
        && !values.contains(&Value::Null)
    {
        values.push(Value::Null);
    }
    match schema.get("type") {
        Some(Value::String(kind)) => {
            let kinds = json!([kind, "null"]);
            schema.insert("type".to_owned(), kinds);
            Value::Object(schema)
        }
        Some(_) => Value::Object(schema),
        None => json!({ "anyOf": [schema, { "type": "null" }] }),
    }
}
