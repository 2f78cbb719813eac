//! `GET /v1/models` and `/v1/models/{id}` as Anthropic's SDKs read them.
//!
//! Source: `ModelInfo` in the Anthropic API reference.

use axum::Json;
use axum::body::Body;
use axum::response::IntoResponse;
use http::Response;
use http::request::Parts;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::error::refuse;
use crate::gateway::Gateway;
use crate::key::caller::Plane;
use crate::surface::openai::models::{Listed, allowed, find};

/// All models that the key may use, on one page.
pub async fn list(gateway: &Gateway, head: &Parts) -> Response<Body> {
    match gateway.caller(head, Plane::Data).await {
        Ok(caller) => {
            let models = allowed(gateway, &caller);
            let end = |model: Option<&Listed>| model.map(|model| model.id.clone());
            let (first, last) = (end(models.first()), end(models.last()));
            let data: Vec<Value> = models.iter().map(shown).collect();
            Json(json!({ "data": data, "has_more": false, "first_id": first, "last_id": last })).into_response()
        }
        Err(refusal) => refuse(&refusal),
    }
}

/// One model, by the name that a request would use.
pub async fn show(gateway: &Gateway, head: &Parts, id: &str) -> Response<Body> {
    match find(gateway, head, id).await {
        Ok(model) => Json(shown(&model)).into_response(),
        Err(refusal) => refuse(&refusal),
    }
}

fn shown(model: &Listed) -> Value {
    let facts = model.facts.as_ref();
    json!({
        "type": "model",
        "id": model.id,
        "display_name": model.id,
        "created_at": Timestamp::from_second(model.created).unwrap_or_default(),
        "max_input_tokens": facts.and_then(|facts| facts.context),
        "max_tokens": facts.and_then(|facts| facts.max_output),
    })
}
