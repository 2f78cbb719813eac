//! The built-in provider: answers offline by echoing, for trying things out and for tests, and says in every answer that it is no model.

mod chat;
mod completions;
mod embeddings;
mod reading;
mod responses;
mod responses_stream;
mod schema;
#[cfg(test)]
mod tests;
mod text;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use serde::Serialize;
use serde_json::{Value, json};

use crate::catalog::{Dialect, Operation};
use reading::Request;

/// The only model.
const MODEL: &str = "echo";
/// Marks every answer, also those whose shape leaves no room for words.
const FINGERPRINT: &str = "keyward-simulator";
/// Opens every text.
const LABEL: &str = "[Keyward simulator]";

/// What a request is answered with: JSON, or the whole text of a stream.
enum Reply {
    Json(Value),
    Events(String),
}

/// A request that cannot be answered.
#[derive(Debug)]
struct Bad {
    status: StatusCode,
    code: &'static str,
    param: Option<&'static str>,
    message: String,
}

/// Answers a request as a provider would, without a network.
pub fn answer(operation: Operation, dialect: Dialect, body: &[u8]) -> Response<Bytes> {
    match reply(operation, dialect, body) {
        Ok(Reply::Json(value)) => response(StatusCode::OK, "application/json", value.to_string()),
        Ok(Reply::Events(text)) => response(StatusCode::OK, "text/event-stream; charset=utf-8", text),
        Err(bad) => response(bad.status, "application/json", bad.body().to_string()),
    }
}

fn reply(operation: Operation, dialect: Dialect, body: &[u8]) -> Result<Reply, Bad> {
    let request = Request::read(body)?;
    let model = request.text("model")?.ok_or_else(|| Bad::value("model", "is missing: the simulator has the model 'echo'"))?;
    if model != MODEL {
        return Err(Bad {
            status: StatusCode::NOT_FOUND,
            code: "model_not_found",
            param: Some("model"),
            message: format!("The Keyward simulator has no model '{}': it has 'echo' only.", text::shortened(model)),
        });
    }
    match operation {
        Operation::Chat if dialect == Dialect::OpenaiResponses => responses::reply(&request),
        Operation::Chat => chat::reply(&request),
        Operation::Completions => completions::reply(&request),
        Operation::Embeddings => embeddings::reply(&request),
        other => Err(Bad::new("operation_not_served", format!("The Keyward simulator does not serve '{}'.", other.as_str()))),
    }
}

fn response(status: StatusCode, content_type: &'static str, body: String) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// An id that no other answer of this process has.
fn new_id(prefix: &str) -> String {
    static COUNT: AtomicU64 = AtomicU64::new(1);
    format!("{prefix}-simulator-{:x}-{}", now(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// Seconds since 1970.
fn now() -> u32 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| u32::try_from(since.as_secs()).unwrap_or(u32::MAX))
}

/// An answer as JSON, with the simulator's mark.
fn marked(answer: &impl Serialize) -> Value {
    let mut value = to_value(answer);
    value["system_fingerprint"] = Value::from(FINGERPRINT);
    value
}

/// The answers' types hold nothing that JSON cannot.
fn to_value(answer: &impl Serialize) -> Value {
    serde_json::to_value(answer).unwrap_or_else(|_| json!({}))
}

// === impl Bad ===

impl Bad {
    fn new(code: &'static str, message: impl Into<String>) -> Bad {
        Bad { status: StatusCode::BAD_REQUEST, code, param: None, message: message.into() }
    }

    /// A field that is missing or wrong.
    fn value(param: &'static str, need: &str) -> Bad {
        Bad { param: Some(param), ..Bad::new("invalid_value", format!("'{param}' {need} (says the Keyward simulator).")) }
    }

    fn body(&self) -> Value {
        json!({ "error": { "message": self.message, "type": "invalid_request_error", "param": self.param, "code": self.code } })
    }
}
