//! Ollama's error shape: `{"error": "…"}`, with our stable code beside it.

use axum::body::Body;
use bytes::Bytes;
use http::Response;
use serde_json::{Value, json};

use crate::error::Refusal;
use crate::surface::{ProviderError, refusal_response};

/// A refusal as a response.
pub fn refuse(refusal: &Refusal) -> Response<Body> {
    let mut body = json!({ "error": refusal.message, "code": refusal.code });
    if let Some(provider) = &refusal.provider {
        body["provider"] = Value::from(provider.as_str());
    }
    refusal_response(refusal, &body)
}

/// A refusal in the middle of a stream: a line of its own. Its clients read no empty lines, so none comes before it.
pub fn error_event(refusal: &Refusal) -> Bytes {
    Bytes::from(format!("{}\n", json!({ "error": refusal.message, "code": refusal.code })))
}

/// A provider's error with its status and message, and the provider named in it.
pub fn of_provider(error: &ProviderError<'_>) -> Response<Body> {
    let said = if error.is_native { error.trouble.message.clone() } else { String::new() };
    let message = if said.is_empty() { error.message() } else { said };
    let code = error.trouble.code.as_deref().unwrap_or("provider_error");
    error.response(&json!({ "error": message, "code": code, "provider": error.provider.id }))
}
