//! Cohere's error shape: `{"id", "message"}`, with our stable code beside them.

use axum::body::Body;
use bytes::Bytes;
use http::Response;
use serde_json::{Map, Value, json};

use crate::dialect::fresh_id;
use crate::error::Refusal;
use crate::surface::{ProviderError, refusal_response};

/// A refusal as a response.
pub fn refuse(refusal: &Refusal) -> Response<Body> {
    let mut body = json!({ "id": fresh_id(), "message": refusal.message, "code": refusal.code });
    if let Some(param) = refusal.param {
        body["param"] = Value::from(param);
    }
    if let Some(provider) = &refusal.provider {
        body["provider"] = Value::from(provider.as_str());
    }
    refusal_response(refusal, &body)
}

/// A refusal in the middle of a stream: its last event, which tells an error.
pub fn error_event(refusal: &Refusal) -> Bytes {
    let data = json!({ "type": "message-end", "delta": { "finish_reason": "ERROR", "error": refusal.message } });
    // The blank line before it ends an event that was begun.
    Bytes::from(format!("\nevent: message-end\ndata: {data}\n\n"))
}

/// A provider's error with its status and message, and the provider named in it.
pub fn of_provider(error: &ProviderError<'_>) -> Response<Body> {
    let own = serde_json::from_str::<Map<String, Value>>(error.text).ok().filter(|own| error.is_native && own.contains_key("message"));
    let mut body = own.unwrap_or_default();
    body.entry("id").or_insert_with(|| Value::from(fresh_id()));
    body.entry("message").or_insert_with(|| Value::from(error.message()));
    body.entry("code").or_insert_with(|| Value::from(error.trouble.code.as_deref().unwrap_or("provider_error")));
    body.insert("provider".to_owned(), Value::from(error.provider.id.as_str()));
    error.response(&Value::Object(body))
}
