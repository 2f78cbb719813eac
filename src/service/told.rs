//! An OpenAPI description as callers are told it: the operations that they may call, what those refer to, and nothing that is the API's own affair.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::schema::follow;
use super::{Description, Operation};

/// Fields of a path that are operations.
pub const METHODS: [&str; 8] = ["get", "put", "post", "delete", "options", "head", "patch", "trace"];
/// The name of the gateway's key in a description.
const SCHEME: &str = "keyward";
/// What of a description tells of the API's own address and keys, or of calls that it makes itself.
const KEPT: [&str; 2] = ["servers", "security"];
/// Members whose own members have names that somebody chose: there, `x-` begins no extension.
const NAMES: [&str; 19] = [
    "properties",
    "patternProperties",
    "dependentSchemas",
    "dependentRequired",
    "$defs",
    "definitions",
    "schemas",
    "responses",
    "parameters",
    "examples",
    "requestBodies",
    "headers",
    "pathItems",
    "content",
    "encoding",
    "variables",
    "scopes",
    "mapping",
    "mediaTypes",
];
/// Members that tell of other servers, and of operations that a caller may not know: calls that the API makes, and what to call next.
const UNTOLD: [&str; 2] = ["callbacks", "links"];
/// Members that are somebody's values.
const VALUES: [&str; 5] = ["example", "default", "enum", "const", "value"];

/// The description of the operations that `may_call` lets through, at this gateway's address and under its keys.
pub fn told(description: &Description, (server, is_deprecated): (&str, bool), may_call: impl Fn(&Operation) -> bool) -> Value {
    let source = &description.document;
    let mut told = Map::new();
    for field in ["openapi", "info", "jsonSchemaDialect", "tags", "externalDocs"] {
        if let Some(value) = source.get(field) {
            told.insert(field.to_owned(), stripped(value, false));
        }
    }
    // In YAML a version is easily a number, and OpenAPI has it as a text.
    if let Some(version) = told.get_mut("info").and_then(|info| info.get_mut("version")).filter(|version| version.is_number()) {
        *version = Value::from(version.to_string());
    }
    told.insert("servers".to_owned(), json!([{ "url": server }]));
    told.insert("security".to_owned(), json!([{ SCHEME: [] }]));
    let mut paths = Map::new();
    for (path, item) in source.get("paths").and_then(Value::as_object).into_iter().flatten() {
        // What a path refers to is told in its place, so that nothing of it is told that may not be.
        let Ok(Value::Object(item)) = follow(source, item) else { continue };
        let is_told = |name: &str| {
            let known = description.operations.iter().find(|known| known.path == *path && known.method.as_str().eq_ignore_ascii_case(name));
            !METHODS.contains(&name) || known.is_some_and(&may_call)
        };
        let item: Map<String, Value> =
            item.iter().filter(|(name, _)| is_told(name)).map(|(name, value)| (name.clone(), value.clone())).collect();
        if let (true, Value::Object(mut item)) =
            (METHODS.iter().any(|method| item.contains_key(*method)), stripped(&Value::Object(item), false))
        {
            let members = item.iter_mut().filter(|(name, _)| METHODS.contains(&name.as_str()));
            for operation in members.filter_map(|(_, operation)| operation.as_object_mut()) {
                keep(operation, description);
                if is_deprecated {
                    operation.insert("deprecated".to_owned(), Value::Bool(true));
                }
            }
            keep(&mut item, description);
            paths.insert(path.clone(), Value::Object(item));
        }
    }
    let paths = Value::Object(paths);
    let mut components = reachable(source, &paths);
    components.insert("securitySchemes".to_owned(), json!({ SCHEME: { "type": "http", "scheme": "bearer" } }));
    tags(&mut told, &paths);
    told.insert("paths".to_owned(), paths);
    told.insert("components".to_owned(), Value::Object(components));
    Value::Object(told)
}

/// Leaves out what is the API's own affair, and what the gateway fills in itself.
fn keep(members: &mut Map<String, Value>, description: &Description) {
    KEPT.iter().for_each(|name| drop(members.shift_remove(*name)));
    let is_ours = |parameter: &Value| {
        let parameter = follow(&description.document, parameter).unwrap_or(parameter);
        let text = |field: &str| parameter.get(field).and_then(Value::as_str).unwrap_or_default();
        ["header", "query"].contains(&text("in")) && description.ours.contains(&text("name").to_ascii_lowercase())
    };
    if let Some(Value::Array(parameters)) = members.get_mut("parameters") {
        parameters.retain(|parameter| !is_ours(parameter));
    }
}

/// The tags that an operation has.
fn tags(told: &mut Map<String, Value>, paths: &Value) {
    let operations = paths.as_object().into_iter().flat_map(Map::values).filter_map(Value::as_object).flat_map(Map::values);
    let used: BTreeSet<&str> =
        operations.filter_map(|operation| operation.get("tags")?.as_array()).flatten().filter_map(Value::as_str).collect();
    if let Some(Value::Array(tags)) = told.get_mut("tags") {
        tags.retain(|tag| tag.get("name").and_then(Value::as_str).is_some_and(|name| used.contains(name)));
    }
}

/// The components that paths refer to, and that those refer to in turn, by kind and name.
fn reachable(source: &Value, paths: &Value) -> Map<String, Value> {
    let mut components: Map<String, Value> = Map::new();
    let mut left = Vec::new();
    referred(paths, &mut left);
    while let Some((kind, name)) = left.pop() {
        let known = components.entry(kind.clone()).or_insert_with(|| json!({}));
        let Some(known) = known.as_object_mut().filter(|known| !known.contains_key(&name)) else { continue };
        if let Some(component) = source.get("components").and_then(|all| all.get(&kind)?.get(&name)) {
            let component = stripped(component, false);
            referred(&component, &mut left);
            known.insert(name, component);
        }
    }
    components.retain(|kind, all| kind != "securitySchemes" && all.as_object().is_some_and(|all| !all.is_empty()));
    components
}

/// The components that a value refers to.
fn referred(value: &Value, found: &mut Vec<(String, String)>) {
    let component = |target: &str| {
        let (kind, rest) = target.strip_prefix("#/components/")?.split_once('/')?;
        let name = percent_encoding::percent_decode_str(rest.split('/').next()?).decode_utf8_lossy().replace("~1", "/").replace("~0", "~");
        Some((kind.to_owned(), name))
    };
    match value {
        Value::Array(all) => all.iter().for_each(|one| referred(one, found)),
        Value::Object(members) => {
            for (name, value) in members {
                match (name.as_str(), value) {
                    ("$ref", Value::String(target)) => found.extend(component(target)),
                    ("mapping", Value::Object(targets)) => {
                        // A bare name stands for a schema.
                        let named = |target: &str| component(target).unwrap_or_else(|| ("schemas".to_owned(), target.to_owned()));
                        found.extend(targets.values().filter_map(Value::as_str).map(named));
                    }
                    _ => referred(value, found),
                }
            }
        }
        _ => {}
    }
}

/// A value without extensions and what is not told; `has_names` where its members are named by somebody.
pub(super) fn stripped(value: &Value, has_names: bool) -> Value {
    match value {
        Value::Array(all) => all.iter().map(|one| stripped(one, false)).collect(),
        Value::Object(members) => {
            let kept = members.iter().filter(|(name, _)| has_names || !(name.starts_with("x-") || UNTOLD.contains(&name.as_str())));
            let one = |(name, value): (&String, &Value)| {
                let value = match !has_names && VALUES.contains(&name.as_str()) {
                    true => value.clone(),
                    false => stripped(value, !has_names && NAMES.contains(&name.as_str())),
                };
                (name.clone(), value)
            };
            Value::Object(kept.map(one).collect())
        }
        other => other.clone(),
    }
}
