//! What of a server's lists the libraries of callers refuse, and all else that is listed with it: mended, or left out and named.
//!
//! Source: the schemas of `tools/list` and `resources/list` as the official SDKs read them.

use std::collections::HashSet;
use std::sync::Arc;

use rmcp::model::{Annotations, JsonObject, Resource, ResourceTemplate, Tool};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::Listing;
use super::said::{Key, Kind};
use super::secrets::Secrets;
use super::tasks::runs_as_a_task;

/// An ISO 8601 date and time with its offset is no shorter, and has this between the two.
const TIME_MARK: char = 'T';

// === impl Listing ===

impl Listing {
    /// Mends what can be mended. What cannot, or has the name of one before it, is left out, and the listing says so.
    pub fn fit(&mut self) {
        let left_out = &mut self.left_out;
        keep(&mut self.tools, Kind::Tool, left_out, |tool| &tool.name, tool);
        keep(&mut self.prompts, Kind::Prompt, left_out, |prompt| &prompt.name, |_| Ok(()));
        keep(&mut self.resources, Kind::Resource, left_out, |resource| &resource.uri, resource);
        let template = |template: &mut ResourceTemplate| {
            annotations(template.annotations.as_mut());
            Ok(())
        };
        keep(&mut self.templates, Kind::Template, left_out, |template| &template.uri_template, template);
    }
}

impl Listing {
    /// Takes the server's credential out of all that it says of what it has; names and URIs stay, since that is what is used by them.
    pub fn mask(&mut self, secrets: &Secrets) {
        if secrets.is_empty() {
            return;
        }
        let left_out = &mut self.left_out;
        self.instructions = self.instructions.as_ref().map(|text| secrets.masked(text));
        mask(&mut self.tools, Kind::Tool, left_out, secrets, |tool| tool.name.to_string(), |tool, name| tool.name = name.into());
        mask(&mut self.prompts, Kind::Prompt, left_out, secrets, |prompt| prompt.name.clone(), |prompt, name| prompt.name = name);
        mask(&mut self.resources, Kind::Resource, left_out, secrets, |resource| resource.uri.clone(), |resource, uri| resource.uri = uri);
        let named = |template: &ResourceTemplate| template.uri_template.clone();
        mask(&mut self.templates, Kind::Template, left_out, secrets, named, |template, uri| template.uri_template = uri);
    }
}

fn mask<T: Clone + Serialize + DeserializeOwned>(
    entries: &mut Vec<T>,
    kind: Kind,
    left_out: &mut Vec<String>,
    secrets: &Secrets,
    named: impl Fn(&T) -> String,
    name: impl Fn(&mut T, String),
) {
    entries.retain_mut(|entry| {
        let own = named(entry);
        match secrets.masked_in(entry.clone()) {
            Some(masked) => *entry = masked,
            None => {
                left_out.push(format!("{} (it has the server's credential in it)", Key::new(kind, &secrets.masked(&own))));
                return false;
            }
        }
        name(entry, own);
        true
    });
}

fn keep<T>(
    entries: &mut Vec<T>,
    kind: Kind,
    left_out: &mut Vec<String>,
    named: impl Fn(&T) -> &str,
    fit: impl Fn(&mut T) -> Result<(), &'static str>,
) {
    let mut seen = HashSet::new();
    entries.retain_mut(|entry| {
        let name = named(entry).to_owned();
        let is_first = |()| if seen.insert(name.clone()) { Ok(()) } else { Err("another before it has its name") };
        let fits = fit(entry).and_then(is_first);
        if let Err(why) = fits {
            left_out.push(format!("{} ({why})", Key::new(kind, &name)));
        }
        fits.is_ok()
    });
}

fn tool(tool: &mut Tool) -> Result<(), &'static str> {
    if runs_as_a_task(tool) {
        return Err("it runs as a task alone, and tasks are not passed on");
    }
    schema(Arc::make_mut(&mut tool.input_schema)).map_err(|()| "its inputSchema is of no object")?;
    // What a tool gives can be told without a schema.
    if tool.output_schema.as_mut().is_some_and(|output| schema(Arc::make_mut(output)).is_err()) {
        tool.output_schema = None;
    }
    Ok(())
}

/// A schema of an object, as strict as the SDKs are; the error is that it is one of something else.
fn schema(schema: &mut JsonObject) -> Result<(), ()> {
    let is_object = schema.get("type").is_none_or(|kind| match kind {
        Value::Array(kinds) => kinds.iter().any(|kind| kind == "object"),
        kind => kind == "object",
    });
    if !is_object {
        return Err(());
    }
    schema.insert("type".to_owned(), json!("object"));
    match schema.get_mut("properties") {
        Some(Value::Object(properties)) => {
            for property in properties.values_mut().filter(|property| !property.is_object()) {
                // A schema may be `true` or `false`; these say the same as objects.
                *property = if *property == Value::Bool(false) { json!({ "not": {} }) } else { json!({}) };
            }
        }
        Some(_) => drop(schema.shift_remove("properties")),
        None => {}
    }
    match schema.get_mut("required") {
        Some(Value::Array(required)) => required.retain(Value::is_string),
        Some(_) => drop(schema.shift_remove("required")),
        None => {}
    }
    Ok(())
}

fn resource(resource: &mut Resource) -> Result<(), &'static str> {
    annotations(resource.annotations.as_mut());
    url::Url::parse(&resource.uri).map(drop).map_err(|_| "its uri is none")
}

fn annotations(annotations: Option<&mut Annotations>) {
    let Some(annotations) = annotations else { return };
    annotations.priority = annotations.priority.filter(|priority| (0.0..=1.0).contains(priority));
    let is_time = |text: &String| text.contains(TIME_MARK) && text.parse::<jiff::Timestamp>().is_ok();
    annotations.last_modified = annotations.last_modified.take().filter(is_time);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn what_can_be_mended_is_and_what_cannot_is_left_out_and_named() {
        let tool = |name: &str, input: Value| -> Tool { serde_json::from_value(json!({ "name": name, "inputSchema": input })).unwrap() };
        let resource = |uri: &str, annotations: Value| -> Resource {
            serde_json::from_value(json!({ "uri": uri, "name": "x", "annotations": annotations })).unwrap()
        };
        let mut listing = Listing {
            tools: vec![
                tool("untyped", json!({ "properties": { "a": true } })),
                tool("any", json!({ "anyOf": [{ "type": "object" }] })),
                tool("array", json!({ "type": "array" })),
                tool("wrong", json!({ "type": "object", "required": "a", "properties": [] })),
                tool("any", json!({ "type": "object", "description": "the second" })),
            ],
            resources: vec![resource("x://y", json!({ "priority": 5, "lastModified": "yesterday" })), resource("no uri", json!({}))],
            ..Listing::default()
        };
        listing.fit();
        let schemas: Vec<Value> = listing.tools.iter().map(|tool| json!([tool.name, tool.input_schema])).collect();
        let expected = [
            json!(["untyped", { "properties": { "a": {} }, "type": "object" }]),
            json!(["any", { "anyOf": [{ "type": "object" }], "type": "object" }]),
            json!(["wrong", { "type": "object" }]),
        ];
        assert_eq!(schemas, expected);
        assert_eq!(json!(listing.resources), json!([{ "uri": "x://y", "name": "x", "annotations": {} }]));
        assert_eq!(
            listing.left_out,
            [
                "tool array (its inputSchema is of no object)",
                "tool any (another before it has its name)",
                "resource no uri (its uri is none)"
            ]
        );
    }
}
