//! `GET /v1beta/models` and `/v1beta/models/{name}`: what the key may use, and nothing else.
//!
//! Source: `Model` in the Gemini API reference, `PublisherModel` in Vertex AI's.

use axum::Json;
use axum::body::Body;
use axum::response::IntoResponse;
use http::request::Parts;
use http::{Response, StatusCode};
use serde::Serialize;
use serde_json::json;

use super::error::refuse;
use crate::catalog::model::Capability;
use crate::error::{Kind, Refusal};
use crate::gateway::Gateway;
use crate::key::caller::Plane;
use crate::surface::openai::models::{Listed, allowed};

/// Google's model object.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    name: String,
    display_name: String,
    version: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    input_token_limit: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_token_limit: Option<u64>,
    supported_generation_methods: [&'static str; 2],
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking: Option<bool>,
}

/// All models that the key may use.
pub async fn list(gateway: &Gateway, head: &Parts, of_publishers: bool) -> Response<Body> {
    match gateway.caller(head, Plane::Data).await {
        Ok(caller) => {
            let models = allowed(gateway, &caller).into_iter();
            match of_publishers {
                true => {
                    let names: Vec<_> = models.map(|model| json!({ "name": publisher_name(&model.id), "versionId": "1" })).collect();
                    Json(json!({ "publisherModels": names })).into_response()
                }
                false => Json(json!({ "models": models.map(Shown::from).collect::<Vec<_>>() })).into_response(),
            }
        }
        Err(refusal) => refuse(&refusal),
    }
}

/// One model, by the name that a request would use.
pub async fn show(gateway: &Gateway, head: &Parts, id: &str) -> Response<Body> {
    let caller = match gateway.caller(head, Plane::Data).await {
        Ok(caller) => caller,
        Err(refusal) => return refuse(&refusal),
    };
    let full = gateway.router().resolve(id).map(|targets| targets.first().map(|target| target.full_name()).unwrap_or_default());
    let found = full.map_err(Refusal::from).and_then(|full| {
        allowed(gateway, &caller).into_iter().find(|model| model.id == id || model.id == full).ok_or_else(|| {
            let message = format!("This key may use no model '{id}': GET /v1beta/models lists those it may use.");
            Refusal::new(StatusCode::NOT_FOUND, Kind::NotFound, "model_not_found", message)
        })
    });
    match found {
        Ok(model) => Json(Shown::from(model)).into_response(),
        Err(refusal) => refuse(&refusal),
    }
}

fn publisher_name(id: &str) -> String {
    let (publisher, model) = id.split_once('/').unwrap_or(("google", id));
    format!("publishers/{publisher}/models/{model}")
}

impl From<Listed> for Shown {
    fn from(listed: Listed) -> Shown {
        let facts = listed.facts.unwrap_or_default();
        Shown {
            name: format!("models/{}", listed.id),
            display_name: facts.name.unwrap_or(listed.id),
            version: "1",
            input_token_limit: facts.max_input.or(facts.context),
            output_token_limit: facts.max_output,
            supported_generation_methods: ["generateContent", "streamGenerateContent"],
            thinking: (!facts.can.is_empty()).then(|| facts.can.contains(&Capability::Reasoning)),
        }
    }
}
