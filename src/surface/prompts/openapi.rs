//! A prompt's description in OpenAPI 3.1.

use http::header;
use http::request::Parts;
use serde_json::{Value, json};

use crate::prompt::{Prompt, State};

/// The description, by the name that was asked for, with its version or without; the server is the one that was asked.
pub fn of(prompt: &Prompt, name: &str, head: &Parts) -> Value {
    let host = head.headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("127.0.0.1:8080");
    let scheme = head.headers.get("x-forwarded-proto").and_then(|scheme| scheme.to_str().ok()).filter(|s| *s == "https").unwrap_or("http");
    let any = json!({ "type": "object" });
    let output = match prompt.gives_json() {
        true => json!({ "application/json": { "schema": prompt.front.output.as_ref().unwrap_or(&any) } }),
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
        "paths": { format!("/prompts/{name}"): { "post": {
            "operationId": prompt.name,
            "summary": description,
            "deprecated": prompt.life.state == State::Deprecated,
            "requestBody": { "required": true, "content": { "application/json": { "schema": prompt.front.input.as_ref().unwrap_or(&any) } } },
            "responses": {
                "200": { "description": "The answer", "content": answer },
                "400": problem("The body is no JSON"),
                "401": problem("The key is missing or no good"),
                "410": problem("The prompt is retired"),
                "422": problem("The input does not fit its schema"),
                "429": problem("A limit is reached"),
                "502": problem("The provider failed, or its answer does not fit the schema"),
            },
        } } },
        "components": {
            "securitySchemes": { "key": { "type": "http", "scheme": "bearer" } },
            "schemas": { "Problem": {
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
            } },
        },
    })
}
