//! `GET /api/tags` and `POST /api/show`: what the key may use, and of it what the catalogue knows.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::response::IntoResponse;
use http::{Request, Response, StatusCode};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::error::refuse;
use crate::catalog::Model;
use crate::catalog::model::{Capability, Modality};
use crate::error::{Kind, Refusal};
use crate::gateway::Gateway;
use crate::key::caller::Plane;
use crate::surface::openai::models::{Listed, allowed};

#[derive(Deserialize)]
struct Asked {
    /// `name` is what the field was called first.
    #[serde(alias = "name")]
    model: String,
}

/// All models that the key may use.
pub async fn tags(State(gateway): State<Arc<Gateway>>, request: Request<Body>) -> Response<Body> {
    let (head, _) = request.into_parts();
    match gateway.caller(&head, Plane::Data).await {
        Ok(caller) => {
            let models: Vec<Value> = allowed(&gateway, &caller).into_iter().map(|model| tag(&model)).collect();
            Json(json!({ "models": models })).into_response()
        }
        Err(refusal) => refuse(&refusal),
    }
}

/// One model, by the name that a request would use.
pub async fn show(State(gateway): State<Arc<Gateway>>, request: Request<Body>) -> Response<Body> {
    match find(&gateway, request).await {
        Ok(shown) => Json(shown).into_response(),
        Err(refusal) => refuse(&refusal),
    }
}

async fn find(gateway: &Arc<Gateway>, request: Request<Body>) -> Result<Value, Refusal> {
    let (head, body) = request.into_parts();
    let caller = gateway.caller(&head, Plane::Data).await?;
    let (caller, bytes) = gateway.body(caller, &head, body).await?;
    let asked = serde_json::from_slice::<Asked>(&bytes)
        .map_err(|_| Refusal::invalid("invalid_value", "The body has to be a JSON object that names a 'model'.").with_param("model"))?;
    let full = gateway.router().resolve(&asked.model)?.first().map(|target| target.full_name()).unwrap_or_default();
    let found = allowed(gateway, &caller).into_iter().find(|model| model.id == asked.model || model.id == full);
    found.map(|model| shown(&model)).ok_or_else(|| {
        let message = format!("This key may use no model '{}': GET /api/tags lists those it may use.", asked.model);
        Refusal::new(StatusCode::NOT_FOUND, Kind::NotFound, "model_not_found", message).with_param("model")
    })
}

/// A model as a list has it; it lies with its provider, so there is neither a size nor a digest.
fn tag(model: &Listed) -> Value {
    json!({
        "name": model.id,
        "model": model.id,
        "modified_at": modified_at(model),
        "size": 0,
        "digest": "",
        "details": details(model),
    })
}

fn shown(model: &Listed) -> Value {
    let facts = model.facts.as_ref();
    let family = model.owned_by.as_str();
    let mut info = Map::from_iter([("general.architecture".to_owned(), Value::from(family))]);
    if let Some(context) = facts.and_then(|facts| facts.context) {
        info.insert(format!("{family}.context_length"), Value::from(context));
    }
    json!({
        "modified_at": modified_at(model),
        "details": details(model),
        "model_info": info,
        "capabilities": capabilities(facts),
    })
}

fn details(model: &Listed) -> Value {
    json!({
        "parent_model": "",
        "format": "",
        "family": model.owned_by,
        "families": [model.owned_by],
        "parameter_size": "",
        "quantization_level": "",
    })
}

/// Ollama's names for what the catalogue knows a model to do.
fn capabilities(facts: Option<&Model>) -> Vec<&'static str> {
    let mut list = vec!["completion"];
    if let Some(facts) = facts {
        let has = |capability| facts.can.contains(&capability);
        list.extend(has(Capability::Tools).then_some("tools"));
        list.extend(has(Capability::Reasoning).then_some("thinking"));
        list.extend(facts.takes.contains(&Modality::Image).then_some("vision"));
    }
    list
}

fn modified_at(model: &Listed) -> String {
    jiff::Timestamp::from_second(model.created).unwrap_or_default().to_string()
}
