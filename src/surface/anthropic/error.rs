//! Anthropic's error shape: `{"type": "error", "error": {"type", "message"}, "request_id"}`, with our stable `code` beside the type.

use axum::body::Body;
use bytes::Bytes;
use http::{Response, StatusCode};
use serde_json::{Value, json};

use crate::dialect::anthropic_messages::trouble;
use crate::dialect::ir::Trouble;
use crate::error::{Kind, Refusal};
use crate::surface::{ProviderError, refusal_response};

/// Anthropic's status for "overloaded".
const OVERLOADED: u16 = 529;

/// A refusal as a response.
pub fn refuse(refusal: &Refusal) -> Response<Body> {
    let mut response = refusal_response(refusal, &body(refusal));
    if refusal.kind == Kind::Unavailable {
        *response.status_mut() = overloaded();
    }
    response
}

/// A refusal in the middle of a stream, where there is no status left to set.
pub fn error_event(refusal: &Refusal) -> Bytes {
    // The blank line before it ends an event that was begun.
    Bytes::from(format!("\n\nevent: error\ndata: {}\n\n", body(refusal)))
}

/// A provider's error: its own object where it is Anthropic's, or one made of whatever it said; the provider is named in it.
pub fn of_provider(error: &ProviderError<'_>) -> Response<Body> {
    let own = serde_json::from_str::<Value>(error.text).ok().filter(|_| error.is_native);
    let own = own.filter(|own| own["error"]["type"].is_string() && own["error"]["message"].is_string());
    let mut body = own.unwrap_or_else(|| {
        let kind = trouble::name(error.trouble.kind);
        let mut object = json!({ "type": kind, "message": error.message() });
        if let Some(code) = error.trouble.code.as_deref().filter(|code| !trouble::is_name(code)) {
            object["code"] = Value::from(code);
        }
        json!({ "type": "error", "error": object })
    });
    body["type"] = Value::from("error");
    body["error"]["provider"] = Value::from(error.provider.id.as_str());
    let mut response = error.response(&body);
    if error.status == StatusCode::SERVICE_UNAVAILABLE {
        *response.status_mut() = overloaded();
    }
    response
}

fn body(refusal: &Refusal) -> Value {
    let mut error = json!({
        "type": trouble::name(Trouble::from(refusal).kind),
        "message": refusal.message,
        "code": refusal.code,
    });
    if let Some(param) = refusal.param {
        error["param"] = Value::from(param);
    }
    if let Some(provider) = &refusal.provider {
        error["provider"] = Value::from(provider.as_str());
    }
    json!({ "type": "error", "error": error, "request_id": null })
}

fn overloaded() -> StatusCode {
    StatusCode::from_u16(OVERLOADED).unwrap_or(StatusCode::SERVICE_UNAVAILABLE)
}
