//! Google's error shape, for our refusals and for providers' own errors: `{"error": {"code", "message", "status", "details"}}`.

use axum::body::Body;
use bytes::Bytes;
use http::Response;
use serde_json::{Value, json};

use crate::dialect::gemini::trouble;
use crate::dialect::ir::Trouble;
use crate::error::Refusal;
use crate::surface::{ProviderError, refusal_response};

/// A refusal as a response.
pub fn refuse(refusal: &Refusal) -> Response<Body> {
    refusal_response(refusal, &body(refusal))
}

/// A refusal in the middle of a stream, where there is no status left to set.
pub fn error_event(refusal: &Refusal) -> Bytes {
    // The blank line before it ends an event that was begun.
    Bytes::from(format!("\n\ndata: {}\n\n", body(refusal)))
}

/// A provider's error: its own object where it is Google's, or one made of whatever it said; the provider is named in it.
pub fn of_provider(error: &ProviderError<'_>) -> Response<Body> {
    let own = serde_json::from_str::<Value>(error.text).ok().filter(|_| error.is_native);
    // Some wrap their error in a list of one.
    let own = own.and_then(|own| if let Value::Array(mut list) = own { list.pop() } else { Some(own) });
    let own = own.filter(|own| own["error"]["message"].is_string() && own["error"]["code"].is_number());
    let mut body = own.unwrap_or_else(|| {
        let told = Trouble { message: error.message(), ..error.trouble.clone() };
        trouble::body(&told, Some(error.status.as_u16()))
    });
    body["error"]["provider"] = Value::from(error.provider.id.as_str());
    error.response(&body)
}

fn body(refusal: &Refusal) -> Value {
    let mut body = trouble::body(&Trouble::from(refusal), Some(refusal.status.as_u16()));
    let error = &mut body["error"];
    if let (Some(wait), Some(details)) = (refusal.retry_after, error["details"].as_array_mut()) {
        let seconds = wait.as_secs_f64().ceil().max(1.0) as u64;
        details.push(json!({ "@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": format!("{seconds}s") }));
    }
    if let Some(provider) = &refusal.provider {
        error["provider"] = Value::from(provider.as_str());
    }
    body
}
