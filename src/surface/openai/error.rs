//! OpenAI's error shape: `{"error": {"message", "type", "param", "code"}}`, for our refusals and for providers' own errors.

use axum::body::Body;
use bytes::Bytes;
use http::Response;
use serde_json::{Map, Value, json};

use crate::error::{Kind, Refusal};
use crate::surface::{ProviderError, refusal_response};

/// A refusal as a response.
pub fn refuse(refusal: &Refusal) -> Response<Body> {
    refusal_response(refusal, &object(refusal))
}

/// A refusal in the middle of a stream, where there is no status left to set.
pub fn error_event(refusal: &Refusal) -> Bytes {
    // The blank line before it ends an event that was begun.
    Bytes::from(format!("\ndata: {}\n\n", object(refusal)))
}

/// A provider's error with its status and message, and the provider named in it.
pub fn of_provider(error: &ProviderError<'_>) -> Response<Body> {
    let mut object = error_object(error);
    object.insert("provider".to_owned(), Value::from(error.provider.id.as_str()));
    error.response(&json!({ "error": object }))
}

/// A refusal as an object with the member `error`.
pub fn object(refusal: &Refusal) -> Value {
    let mut error = json!({
        "message": refusal.message,
        "type": kind(refusal.kind),
        "param": refusal.param,
        "code": refusal.code,
    });
    if let Some(provider) = &refusal.provider {
        error["provider"] = Value::from(provider.as_str());
    }
    json!({ "error": error })
}

/// OpenAI's own names for the sorts of trouble.
fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Invalid | Kind::NotFound | Kind::Authentication => "invalid_request_error",
        Kind::Permission => "permission_error",
        Kind::RateLimit(limit) => limit,
        Kind::Budget => "insufficient_quota",
        Kind::Upstream => "upstream_error",
        Kind::Unavailable => "server_error",
    }
}

/// The provider's own error object where it is OpenAI's, or one made of whatever it said.
fn error_object(error: &ProviderError<'_>) -> Map<String, Value> {
    let mut object = match own_object(error.text).filter(|_| error.is_native) {
        Some(own) => own,
        None => Map::from_iter([
            ("message".to_owned(), Value::from(error.message())),
            ("code".to_owned(), Value::from(error.trouble.code.as_deref().unwrap_or("provider_error"))),
        ]),
    };
    // SDKs expect texts here, whatever a provider has in their place.
    if !object.get("message").is_some_and(Value::is_string) {
        object.insert("message".to_owned(), Value::from(error.message()));
    }
    if !object.get("type").is_some_and(Value::is_string) {
        object.insert("type".to_owned(), Value::from("upstream_error"));
    }
    for field in ["param", "code"] {
        object.entry(field).or_insert(Value::Null);
    }
    object
}

fn own_object(text: &str) -> Option<Map<String, Value>> {
    let parsed = serde_json::from_str::<Value>(text).ok()?;
    // Some wrap their error in a list of one.
    let mut parsed = if let Value::Array(mut list) = parsed { list.pop()? } else { parsed };
    match parsed.get_mut("error")?.take() {
        Value::Object(object) => Some(object),
        _ => None,
    }
}
