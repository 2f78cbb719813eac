//! What a JSON Schema may be that a caller gives: so small with all that it refers to, and so little recursive, that checking by it ends soon.

use std::collections::HashMap;

use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};

/// Parts of a schema, with each `$ref` replaced by what it refers to.
const MOST_PARTS: u64 = 20_000;
/// How deep they are nested.
const DEEPEST: usize = 128;

/// Keywords below which schemas stand by names of their own.
const MAPS: [&str; 3] = ["properties", "patternProperties", "dependentSchemas"];
/// What is checked where something refers to it.
const DEFINITIONS: [&str; 2] = ["$defs", "definitions"];
/// Values, and no schemas.
const VALUES: [&str; 5] = ["enum", "const", "default", "examples", "example"];
/// Keywords whose schemas are for parts of the value, and not for the value itself.
const INTO: [&str; 9] = [
    "properties",
    "patternProperties",
    "additionalProperties",
    "unevaluatedProperties",
    "propertyNames",
    "items",
    "prefixItems",
    "contains",
    "unevaluatedItems",
];
/// Names that another `$ref` could mean.
const NAMES: [&str; 6] = ["$id", "$anchor", "$dynamicAnchor", "$dynamicRef", "$recursiveRef", "$recursiveAnchor"];

/// What a part comes to.
#[derive(Clone, Copy, Default)]
struct Whole {
    parts: u64,
    depth: usize,
    /// How often it refers to something that it is in.
    returns: u64,
}

struct Looking<'a> {
    root: &'a Value,
    known: HashMap<&'a str, Whole>,
    /// What refers to what is being looked at, each with how far into the value that is.
    within: Vec<(&'a str, usize)>,
}

/// Refuses a schema that checking would not come to an end with soon.
pub fn check(schema: &Value) -> Result<(), String> {
    let mut looking = Looking { root: schema, known: HashMap::new(), within: vec![("#", 0)] };
    let whole = looking.schema(schema, 0, 0)?;
    match whole {
        Whole { parts, .. } if parts > MOST_PARTS => Err(too_large()),
        // Twice at each step into a value would be without end.
        Whole { returns, .. } if returns > 1 => Err("it refers to itself in more than one place".to_owned()),
        _ => Ok(()),
    }
}

fn too_large() -> String {
    format!("with all that it refers to it has more than {MOST_PARTS} parts")
}

// === impl Whole ===

impl Whole {
    fn add(&mut self, other: Whole) -> Result<(), String> {
        self.parts = self.parts.saturating_add(other.parts);
        self.returns = self.returns.saturating_add(other.returns);
        self.depth = self.depth.max(other.depth + 1);
        match self {
            Whole { parts, .. } if *parts > MOST_PARTS => Err(too_large()),
            Whole { depth, .. } if *depth > DEEPEST => Err(format!("it is nested more than {DEEPEST} deep")),
            _ => Ok(()),
        }
    }
}

// === impl Looking ===

impl<'a> Looking<'a> {
    /// A schema, or a list of schemas, that is `far` into the value and so `deep` in what refers to it.
    fn schema(&mut self, schema: &'a Value, far: usize, deep: usize) -> Result<Whole, String> {
        let mut whole = Whole { parts: 1, ..Whole::default() };
        if deep > DEEPEST {
            return Err(format!("it is nested more than {DEEPEST} deep"));
        }
        match schema {
            Value::Object(members) => self.members(members, far, deep, &mut whole)?,
            Value::Array(list) => list.iter().try_for_each(|one| whole.add(self.schema(one, far, deep + 1)?))?,
            _ => {}
        }
        Ok(whole)
    }

    fn members(&mut self, members: &'a Map<String, Value>, far: usize, deep: usize, whole: &mut Whole) -> Result<(), String> {
        for (name, member) in members {
            let far = far + usize::from(INTO.contains(&name.as_str()));
            match (name.as_str(), member) {
                ("$ref", Value::String(target)) => whole.add(self.target(target, far, deep + 1)?)?,
                (name, Value::String(_)) if NAMES.contains(&name) => {
                    return Err(format!("'{name}' is not taken: refer to parts of it by '$ref' and their place, as #/$defs/name"));
                }
                (name, _) if DEFINITIONS.contains(&name) => {}
                (name, _) if VALUES.contains(&name) => whole.add(Whole { parts: values(member), ..Whole::default() })?,
                (name, Value::Object(all)) if MAPS.contains(&name) => {
                    all.values().try_for_each(|one| whole.add(self.schema(one, far, deep + 1)?))?;
                }
                _ => whole.add(self.schema(member, far, deep + 1)?)?,
            }
        }
        Ok(())
    }

    /// What a `$ref` refers to.
    fn target(&mut self, target: &'a str, far: usize, deep: usize) -> Result<Whole, String> {
        if let Some((_, from)) = self.within.iter().find(|(outer, _)| *outer == target) {
            return match *from == far {
                true => Err(format!("'{target}' refers to itself without end")),
                false => Ok(Whole { parts: 1, depth: 0, returns: 1 }),
            };
        }
        if let Some(known) = self.known.get(target) {
            return Ok(*known);
        }
        let pointer = target.strip_prefix('#').and_then(|pointer| percent_decode_str(pointer).decode_utf8().ok());
        let found = pointer.and_then(|pointer| self.root.pointer(&pointer)).ok_or_else(|| format!("there is nothing at '{target}'"))?;
        self.within.push((target, far));
        let whole = self.schema(found, far, deep)?;
        self.within.pop();
        self.known.insert(target, whole);
        Ok(whole)
    }
}

/// How many parts a value has.
fn values(value: &Value) -> u64 {
    match value {
        Value::Array(list) => 1 + list.iter().map(values).sum::<u64>(),
        Value::Object(members) => 1 + members.values().map(values).sum::<u64>(),
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    #[test]
    fn what_people_mean_is_taken() {
        for schema in [
            json!({ "type": "object", "properties": { "a": { "$ref": "#/$defs/b" }, "$id": { "type": "string" } }, "$defs": { "b": { "enum": [1, 2] } } }),
            json!({ "$ref": "#/$defs/node", "$defs": { "node": { "properties": { "children": { "items": { "$ref": "#/$defs/node" } } } } } }),
            json!({ "properties": { "next": { "$ref": "#" } } }),
            json!({ "enum": (0..5_000).collect::<Vec<_>>() }),
            json!(true),
        ] {
            check(&schema).unwrap();
        }
    }

    #[test]
    fn what_would_not_end_is_refused() {
        let mut doubled: Map<String, Value> = (0..40)
            .map(|n| {
                (
                    format!("a{n}"),
                    json!({ "allOf": [{ "$ref": format!("#/$defs/a{}", n + 1) }, { "$ref": format!("#/$defs/a{}", n + 1) }] }),
                )
            })
            .collect();
        doubled.insert("a40".to_owned(), json!({ "type": "string" }));
        let mut hidden = doubled.clone();
        hidden.insert("properties".to_owned(), json!({ "$defs": { "$ref": "#/$defs/a0" } }));
        let deep: Map<String, Value> = (0..3_000).map(|n| (format!("a{n}"), json!({ "$ref": format!("#/$defs/a{}", n + 1) }))).collect();
        for (schema, why) in [
            (json!({ "$ref": "#/$defs/a0", "$defs": doubled.clone() }), "more than 20000 parts"),
            (json!({ "properties": { "$defs": { "$ref": "#/$defs/a0" } }, "$defs": doubled }), "more than 20000 parts"),
            (json!({ "$ref": "#/$defs/a0", "$defs": deep }), "more than 128 deep"),
            (json!({ "allOf": [{ "$ref": "#" }] }), "without end"),
            (
                json!({ "$ref": "#/$defs/a", "$defs": { "a": { "anyOf": [{ "$ref": "#/$defs/b" }] }, "b": { "not": { "$ref": "#/$defs/a" } } } }),
                "without end",
            ),
            (json!({ "properties": { "a": { "allOf": [{ "$ref": "#" }, { "$ref": "#" }] } } }), "in more than one place"),
            (json!({ "$ref": "#/$defs/nothing" }), "there is nothing at"),
            (json!({ "$ref": "https://example.com/schema" }), "there is nothing at"),
            (json!({ "$anchor": "a", "properties": { "b": { "$ref": "#a" } } }), "'$anchor' is not taken"),
        ] {
            let told = check(&schema).unwrap_err();
            assert!(told.contains(why), "{told}");
        }
    }
}
