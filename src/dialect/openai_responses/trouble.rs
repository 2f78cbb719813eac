//! Errors in the middle of a stream: the `error` event, and what a failed response says.

use serde_json::Value;

use crate::dialect::ir::{Trouble, TroubleKind};

/// Reads an `error` event: its members stand at the top, or in an object of that name.
pub fn of_event(data: &[u8]) -> Trouble {
    let value: Value = serde_json::from_slice(data).unwrap_or_default();
    let error = value.get("error").filter(|error| error.is_object()).unwrap_or(&value);
    let text = |name: &str| error.get(name).and_then(Value::as_str);
    let code = text("code").or_else(|| text("type").filter(|kind| *kind != "error")).unwrap_or("server_error");
    let mut trouble = named(code, text("message").unwrap_or("The provider says no more than that it failed.").to_owned(), text("param"));
    if trouble.kind == TroubleKind::Server && text("type").is_some_and(|kind| kind == "invalid_request_error") {
        trouble.kind = TroubleKind::Invalid;
    }
    trouble
}

/// An error by OpenAI's name for it.
pub fn named(code: &str, message: String, param: Option<&str>) -> Trouble {
    let has = |part: &str| code.contains(part);
    let kind = match code {
        "rate_limit_exceeded" | "too_many_requests" => TroubleKind::RateLimit,
        "insufficient_quota" => TroubleKind::Billing,
        "invalid_api_key" | "authentication_error" => TroubleKind::Authentication,
        _ if has("permission") => TroubleKind::Permission,
        _ if has("not_found") => TroubleKind::NotFound,
        _ if has("timeout") => TroubleKind::Timeout,
        _ if has("overloaded") || has("unavailable") => TroubleKind::Overloaded,
        _ if has("invalid") || has("unsupported") || has("context_length") || has("image") => TroubleKind::Invalid,
        _ => TroubleKind::Server,
    };
    Trouble { kind, code: Some(code.to_owned()), message, param: param.map(str::to_owned) }
}
