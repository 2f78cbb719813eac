//! `GET /admin/v1/openapi.json`: the management API's description, in OpenAPI 3.1; anyone may read it.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use axum::Json;
use serde_json::{Value, json};
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::path::{ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{RefOr, Required};
use utoipa::{Modify, OpenApi};

use super::{audit, budgets, credentials, examples, github, groups, keys, leaks, partials, prompts, services};
use crate::admin::{explain, usage};

#[derive(OpenApi)]
#[openapi(
    info(title = "Keyward management API", description = "Keys, teams, projects, limits, budgets, credentials, prompts, services, usage and audit of a Keyward gateway."),
    paths(
        keys::list, keys::create, keys::show, keys::update, keys::rotate, keys::revoke, keys::disable, keys::enable,
        keys::revoke_all, keys::disable_all, keys::enable_all,
        groups::teams, groups::create_team, groups::team, groups::update_team,
        groups::projects, groups::create_project, groups::project, groups::update_project,
        groups::limits, groups::update_limits,
        budgets::list, budgets::show,
        credentials::list, credentials::create, credentials::show, credentials::update, credentials::remove,
        prompts::list, prompts::show, prompts::write, prompts::remove, prompts::publish, prompts::deprecate, prompts::retire,
        examples::list, examples::test, examples::diff, partials::list, partials::show, partials::write,
        services::list, services::show, services::write, services::remove, services::diff, services::publish, services::deprecate, services::retire,
        services::subscriptions, services::approve, services::deny,
        usage::show, usage::export, explain::serve, audit::list, audit::verification, leaks::report, github::report,
    ),
    security(("admin_key" = [])),
    modifiers(&AdminKey, &OperationIds, &Idempotency),
)]
pub(super) struct Description;

/// How an admin key is shown.
struct AdminKey;

impl Modify for AdminKey {
    fn modify(&self, description: &mut utoipa::openapi::OpenApi) {
        let scheme = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        description.components.get_or_insert_default().add_security_scheme("admin_key", scheme);
    }
}

/// Names each operation by its method and path, so that no two have one name.
struct OperationIds;

impl Modify for OperationIds {
    fn modify(&self, description: &mut utoipa::openapi::OpenApi) {
        for (path, item) in &mut description.paths.paths {
            let path = path.trim_start_matches("/admin/v1/").replace(['{', '}'], "").replace('/', "_");
            let methods = [
                ("get", &mut item.get),
                ("post", &mut item.post),
                ("put", &mut item.put),
                ("patch", &mut item.patch),
                ("delete", &mut item.delete),
            ];
            for (method, operation) in methods {
                if let Some(operation) = operation {
                    operation.operation_id = Some(format!("{method}_{path}"));
                }
            }
        }
    }
}

/// What an `Idempotency-Key` does, with each operation that takes one, as its draft asks for
/// (draft-ietf-httpapi-idempotency-key-header, section 2.3).
struct Idempotency;

impl Modify for Idempotency {
    fn modify(&self, description: &mut utoipa::openapi::OpenApi) {
        let posts = description.paths.paths.iter_mut().filter(|(path, _)| !super::is_beside(path));
        for operation in posts.filter_map(|(_, item)| item.post.as_mut()) {
            let parameters = operation.parameters.get_or_insert_default();
            parameters.retain(|parameter| parameter.name != IDEMPOTENCY_KEY);
            let parameter = ParameterBuilder::new().name(IDEMPOTENCY_KEY).parameter_in(ParameterIn::Header).required(Required::False);
            let text = ObjectBuilder::new().schema_type(Type::String).min_length(Some(1)).max_length(Some(255));
            parameters.push(parameter.description(Some(ONCE)).schema(Some(text)).build());
            let successes = operation.responses.responses.iter_mut().filter(|(status, _)| status.starts_with('2'));
            for response in successes.filter_map(|(_, response)| match response {
                RefOr::T(response) => Some(response),
                RefOr::Ref(_) => None,
            }) {
                for (name, what) in IN_ANSWERS {
                    let schema = ObjectBuilder::new().schema_type(Type::String);
                    response.headers.insert(name.to_owned(), HeaderBuilder::new().schema(schema).description(Some(what)).build());
                }
            }
        }
    }
}

const IDEMPOTENCY_KEY: &str = "Idempotency-Key";
const ONCE: &str = "Any text of your own, a new one for each request: the request then has its effect once, however often it is sent \
    within 24 hours, also over a restart, and each time the answer of the first (of one with more than 4 MiB: {\"done\": true}). After that the text is free for another request. \
    The same text with another request is a 422 (idempotency_key_reused); a request whose first sending runs still, or was cut off, is a 409 \
    (idempotency_in_doubt); what was refused with a 4XX had no effect, and may be sent again with the same text.";
const IN_ANSWERS: [(&str, &str); 2] = [
    ("Idempotency-Expires", "To a request with an Idempotency-Key: until when this answer is given again (RFC 3339)."),
    ("Idempotency-Replayed", "`true` where the answer was given before."),
];

const TAG: &str = "The tag of what is shown: as If-Match of a change, that is made only while nobody else has made one (412).";

/// The description itself.
pub async fn show() -> Json<&'static Value> {
    static DESCRIPTION: LazyLock<Value> = LazyLock::new(described);
    Json(&DESCRIPTION)
}

/// What is told of refusals and of fields that are not known, which holds for every operation.
fn described() -> Value {
    // A description is made of maps, lists and texts, which all are JSON.
    let mut description = serde_json::to_value(Description::openapi()).unwrap_or_default();
    let schemas = description.pointer("/components/schemas").and_then(Value::as_object).cloned().unwrap_or_default();
    let parts: BTreeSet<&str> = schemas.values().filter_map(|schema| schema["allOf"].as_array()).flatten().filter_map(schema_of).collect();
    let mut asked = BTreeSet::new();
    for operation in operations(&mut description) {
        let body = operation.pointer("/requestBody/content/application~1json/schema").and_then(schema_of).map(str::to_owned);
        if let Some(name) = &body {
            operation["requestBody"]["required"] = Value::Bool(needs_something(&schemas[name]));
        }
        asked.extend(body);
        let Some(responses) = operation["responses"].as_object_mut() else { continue };
        if let Some(refused) = responses.get_mut("4XX") {
            let problem = refused["content"]["application/json"].take();
            refused["content"] = json!({ "application/problem+json": problem });
            let unable = refused.clone();
            responses.insert("5XX".to_owned(), unable);
        }
    }
    for name in schemas.keys() {
        let Some(schema) = description["components"]["schemas"][name].as_object_mut() else { continue };
        match schema.contains_key("allOf") {
            // A part of a whole knows nothing of the rest.
            _ if parts.contains(name.as_str()) => drop(schema.remove("additionalProperties")),
            true if asked.contains(name) => drop(schema.insert("unevaluatedProperties".to_owned(), Value::Bool(false))),
            false if asked.contains(name) => drop(schema.insert("additionalProperties".to_owned(), Value::Bool(false))),
            _ => {}
        }
    }
    name_tags(&mut description);
    name_unsigned(&mut description);
    description
}

/// Names the tag in each answer that shows what an `If-Match` can be given for.
fn name_tags(description: &mut Value) {
    let takes_tag = |operation: &Value| operation["parameters"].as_array().into_iter().flatten().any(|one| one["name"] == "If-Match");
    let items = description["paths"].as_object().into_iter().flat_map(serde_json::Map::values);
    let changed = items.filter(|item| ["put", "patch"].iter().any(|method| takes_tag(&item[method])));
    let shown: BTreeSet<String> = changed
        .flat_map(|item| ["get", "put", "patch"].map(|method| &item[method]["responses"]["200"]))
        .filter_map(|response| answer_of(response).map(str::to_owned))
        .collect();
    for operation in operations(description) {
        let responses = operation["responses"].as_object_mut().into_iter().flat_map(serde_json::Map::values_mut);
        for response in responses.filter(|response| answer_of(response).is_some_and(|answer| shown.contains(answer))) {
            response["headers"]["ETag"] = json!({ "description": TAG, "schema": { "type": "string" } });
        }
    }
}

/// Numbers that cannot be below zero go further up than the signed ones of as many bits.
fn name_unsigned(value: &mut Value) {
    match value {
        Value::Object(members) => {
            let is_unsigned = members.get("minimum").and_then(Value::as_f64).is_some_and(|minimum| minimum >= 0.0);
            if let Some(Value::String(format)) = members.get_mut("format").filter(|_| is_unsigned)
                && ["int32", "int64"].contains(&format.as_str())
            {
                format.insert(0, 'u');
            }
            members.values_mut().for_each(name_unsigned);
        }
        Value::Array(all) => all.iter_mut().for_each(name_unsigned),
        _ => {}
    }
}

fn operations(description: &mut Value) -> impl Iterator<Item = &mut Value> {
    let paths = description["paths"].as_object_mut().into_iter().flat_map(serde_json::Map::values_mut);
    paths.filter_map(Value::as_object_mut).flat_map(serde_json::Map::values_mut).filter(|operation| operation["responses"].is_object())
}

/// Whether there is a field that has to be sent: without one, no body is as good as an empty object.
fn needs_something(schema: &Value) -> bool {
    let parts = schema["allOf"].as_array().map(Vec::as_slice).unwrap_or_default();
    parts.iter().chain([schema]).any(|part| part["required"].as_array().is_some_and(|required| !required.is_empty()))
}

/// What an answer shows.
fn answer_of(response: &Value) -> Option<&str> {
    response.pointer("/content/application~1json/schema").and_then(schema_of)
}

fn schema_of(value: &Value) -> Option<&str> {
    value["$ref"].as_str()?.strip_prefix("#/components/schemas/")
}
