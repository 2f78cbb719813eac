//! OpenAI's error shape: `{"error": {"message", "type", "param", "code"}}`, for our refusals and for providers' own errors.

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use serde_json::{Map, Value, json};

use crate::error::{Kind, Refusal};
use crate::route::LiveProvider;
use crate::surface::write_refusal_headers;
use crate::upstream::{Failure, Who, retry_after};

/// How much of a provider's text is quoted where it is no JSON.
const QUOTED: usize = 300;
/// How providers that answer 400 to a bad credential say so.
const CREDENTIAL_TEXTS: [&str; 5] = ["api_key_invalid", "api key not valid", "incorrect api key", "invalid api key", "invalid_api_key"];

/// A refusal as a response.
pub fn refuse(refusal: &Refusal) -> Response<Body> {
    let mut response = json_response(refusal.status, &body(refusal));
    if let Some(provider) = refusal.provider.as_ref().and_then(|name| HeaderValue::try_from(name).ok()) {
        response.headers_mut().insert(HeaderName::from_static("keyward-provider"), provider);
    }
    write_refusal_headers(&mut response, refusal);
    response
}

/// A refusal in the middle of a stream, where there is no status left to set.
pub fn error_event(refusal: &Refusal) -> Bytes {
    // The blank line before it ends an event that was begun.
    Bytes::from(format!("\ndata: {}\n\n", body(refusal)))
}

/// A provider's error with its status and message, and the provider named in it.
pub fn of_provider(head: &http::response::Parts, text: &[u8], provider: &LiveProvider) -> Result<Response<Body>, Failure> {
    let status = head.status;
    if status.is_redirection() || status.is_informational() {
        let why = format!("it redirects elsewhere (status {}), which is not followed", status.as_u16());
        return Err(Failure::BadAnswer { provider: Who::of(provider), why });
    }
    let text = without_credential(&String::from_utf8_lossy(text), provider);
    if status == StatusCode::BAD_REQUEST
        && is_about_credential(&text)
        && let Some(credential) = &provider.credential
    {
        let rest = credential.refused();
        return Err(Failure::CredentialRefused { provider: Who::of(provider), variable: credential.variable.clone(), rest });
    }
    let mut error = error_object(&text, status, &provider.name);
    error.insert("provider".to_owned(), Value::from(provider.id.as_str()));
    let mut response = json_response(status, &json!({ "error": error }));
    if let Ok(id) = HeaderValue::try_from(&provider.id) {
        response.headers_mut().insert(HeaderName::from_static("keyward-provider"), id);
    }
    if let Some(wait) = retry_after(&head.headers) {
        response.headers_mut().insert(header::RETRY_AFTER, (wait.as_secs_f64().ceil() as u64).into());
    }
    Ok(response)
}

fn body(refusal: &Refusal) -> Value {
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
        Kind::Upstream => "upstream_error",
        Kind::Unavailable => "server_error",
    }
}

/// The provider's own error object, or one made of whatever it sent.
fn error_object(text: &str, status: StatusCode, provider: &str) -> Map<String, Value> {
    let parsed = serde_json::from_str::<Value>(text).ok();
    // Some wrap their error in a list of one.
    let parsed = parsed.and_then(|value| if let Value::Array(mut list) = value { list.pop() } else { Some(value) });
    if let Some(Value::Object(mut error)) = parsed.as_ref().and_then(|value| value.get("error")).cloned() {
        // SDKs expect texts here, whatever a provider has in their place.
        if !error.get("message").is_some_and(Value::is_string) {
            let said = error.get("message").filter(|said| !said.is_null()).map(ToString::to_string);
            error.insert("message".to_owned(), Value::from(answered(provider, status, &said.unwrap_or_default())));
        }
        if !error.get("type").is_some_and(Value::is_string) {
            error.insert("type".to_owned(), Value::from("upstream_error"));
        }
        for field in ["param", "code"] {
            error.entry(field).or_insert(Value::Null);
        }
        return error;
    }
    let said = parsed.as_ref().and_then(|value| {
        ["error", "message", "detail", "error_message", "title"].into_iter().find_map(|field| match value.get(field)? {
            Value::String(said) => Some(said.clone()),
            Value::Null => None,
            other => Some(other.to_string()),
        })
    });
    let said = said.unwrap_or_else(|| text.trim().chars().take(QUOTED).collect());
    let message = answered(provider, status, &said);
    let fields = [
        ("message", Value::from(message)),
        ("type", Value::from("upstream_error")),
        ("param", Value::Null),
        ("code", Value::from("provider_error")),
    ];
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn answered(provider: &str, status: StatusCode, said: &str) -> String {
    match said.is_empty() {
        true => format!("{provider} answered with status {} and no message.", status.as_u16()),
        false => format!("{provider} answered with status {}: {said}", status.as_u16()),
    }
}

/// Some providers repeat what they were sent.
fn without_credential(text: &str, provider: &LiveProvider) -> String {
    match &provider.credential {
        Some(credential) => text.replace(credential.secret.expose(), "…"),
        None => text.to_owned(),
    }
}

fn is_about_credential(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    CREDENTIAL_TEXTS.iter().any(|known| lower.contains(known))
}

fn json_response(status: StatusCode, body: &Value) -> Response<Body> {
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
