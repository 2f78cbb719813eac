//! A prompt's description in OpenAPI 3.1.

use http::header;
use http::request::Parts;
use serde_json::{Value, json};

use crate::prompt::{Prompt, State};

/// The description, by the name that was asked for, with its version or without; the server is the one that was asked.
pub fn of(prompt: &Prompt, name: &str, head: &Parts) -> Value {
    let host = head.headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("127.0.0.1:8080");
    let scheme = head.headers.get("x-forwarded-proto").and_then(|scheme| scheme.to_str().ok()).filter(|s| *s == "https").unwrap_or("http");
    let mut schemas = json!({ "Problem": problem_schema() });
    let any = json!({});
    let input = embedded(Value::Object(prompt.given()), "Input", &mut schemas);
    let output = match prompt.gives_json() {
        true => {
            let schema = prompt.front.output.as_ref().unwrap_or(&any).clone();
            json!({ "application/json": { "schema": embedded(schema, "Output", &mut schemas) } })
        }
        false => json!({ "text/plain": { "schema": { "type": "string" } } }),
    };
    let problem = |description: &str| json!({ "description": description, "content": { "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } } } });
    let description = prompt.front.description.as_deref().unwrap_or("A prompt of this gateway.");
    let mut answer = output;
    answer["text/event-stream"] = json!({ "schema": { "type": "string" } });
    json!({
        "openapi": "3.1.0",
        "info": { "title": prompt.name, "version": prompt.version.to_string(), "description": description },
        "servers": [{ "url": format!("{scheme}://{host}") }],
        "security": [{ "key": [] }],
        "paths": { format!("/prompts/{name}"): { "get": {
            "operationId": format!("{}_schema", prompt.name),
            "summary": "What it takes and gives, as JSON Schemas",
            "responses": {
                "200": { "description": "The prompt", "content": { "application/json": { "schema": { "type": "object" } } } },
                "4XX": problem("The key is no good, or there is no such prompt"),
            },
        }, "post": {
            "operationId": prompt.name,
            "summary": description,
            "deprecated": prompt.life.state == State::Deprecated,
            "requestBody": { "required": true, "content": { "application/json": { "schema": input } } },
            "responses": {
                "200": {
                    "description": "The answer; as events: `delta`s with text, then `result` or `error`, and before them `finish` where it was cut off",
                    "headers": { "keyward-finish-reason": {
                        "description": "`length` where the answer was cut off at its limit of tokens",
                        "schema": { "type": "string" },
                    } },
                    "content": answer,
                },
                "400": problem("The body is no JSON"),
                "401": problem("The key is missing or no good"),
                "402": problem("A budget is spent"),
                "403": problem("The key may not call it"),
                "404": problem("There is no such prompt"),
                "410": problem("The prompt is retired"),
                "413": problem("The body is too large"),
                "415": problem("The body is not sent as JSON"),
                "422": problem("The input does not fit its schema (input_invalid), or the answer to it was withheld (answer_refused, answer_filtered)"),
                "429": problem("A limit is reached"),
                "502": problem("The provider failed, its answer does not fit the schema (output_invalid) or was cut off (answer_cut), or the prompt is wrong (prompt_faulty)"),
                "503": problem("The gateway cannot do it now"),
                "504": problem("The provider took too long"),
            },
        } } },
        "components": {
            "securitySchemes": { "key": { "type": "http", "scheme": "bearer" } },
            "schemas": schemas,
        },
    })
}

fn problem_schema() -> Value {
    json!({
        "type": "object",
        "required": ["type", "title", "status", "detail", "code"],
        "properties": {
            "type": { "type": "string" },
            "title": { "type": "string" },
            "status": { "type": "integer" },
            "detail": { "type": "string" },
            "code": { "type": "string" },
            "provider": { "type": "string" },
            "errors": { "type": "array", "items": {
                "type": "object",
                "properties": { "pointer": { "type": "string" }, "detail": { "type": "string" } },
            } },
        },
    })
}

/// A schema where it is used; one that refers to parts of itself is put among the components, where they can be found.
fn embedded(mut schema: Value, name: &str, schemas: &mut Value) -> Value {
    let place = format!("#/components/schemas/{name}");
    if !refer(&mut schema, &place) {
        return schema;
    }
    schemas[name] = schema;
    json!({ "$ref": place })
}

/// Turns references within a schema into ones within a document that has it at this place; whether there are any.
fn refer(schema: &mut Value, place: &str) -> bool {
    match schema {
        Value::Array(all) => all.iter_mut().map(|one| usize::from(refer(one, place))).sum::<usize>() > 0,
        // What has an address of its own is its own document.
        Value::Object(members) if members.contains_key("$id") => false,
        Value::Object(members) => members.iter_mut().fold(false, |has, (name, value)| match (name.as_str(), &mut *value) {
            ("$ref" | "$dynamicRef", Value::String(target)) if target.starts_with('#') => {
                *target = format!("{place}{}", &target[1..]);
                true
            }
            ("enum" | "const" | "default" | "examples", _) => has,
            _ => refer(value, place) || has,
        }),
        _ => false,
    }
}
