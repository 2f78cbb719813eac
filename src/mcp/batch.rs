//! Batches, which revision 2025-03-26 has and none after it: each message is served for itself, and what comes back is one stream.
//!
//! Source: "Sending Messages to the Server" of the MCP specification's Streamable HTTP transport, revision 2025-03-26.

use std::collections::HashSet;
use std::convert::Infallible;
use std::future::ready;

use axum::body::{Body, Bytes};
use axum::extract::Request;
use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body_util::BodyExt as _;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Value, json};
use sse_stream::SseStream;

use super::plain::INVALID_REQUEST;

/// The only revision that has them; who names none may speak it.
const REVISION: &str = "2025-03-26";
/// Messages of one batch at the most.
pub const MOST: usize = 50;
const EVENTS: HeaderValue = HeaderValue::from_static("text/event-stream");

/// Whether a caller with these headers may send batches.
pub fn may_come(headers: &HeaderMap, version: &str) -> bool {
    headers.get(version).is_none_or(|version| version == REVISION)
}

/// The messages of a body that is a batch; none where it is something else, and what is wrong with it where something is.
pub fn read(body: &[u8]) -> Option<Result<Vec<Value>, String>> {
    body.trim_ascii_start().first().filter(|first| **first == b'[')?;
    // What is no JSON is told of as with any other message.
    let messages: Vec<Value> = serde_json::from_slice(body).ok()?;
    if messages.is_empty() || messages.len() > MOST {
        return Some(Err(format!("A batch has one message at least and {MOST} at the most, and this one has {}.", messages.len())));
    }
    if messages.iter().any(|message| message.get("method").is_some_and(|method| method == "initialize")) {
        return Some(Err("'initialize' is sent alone, and not in a batch.".to_owned()));
    }
    if let Some(twice) = asked_twice(&messages) {
        return Some(Err(format!(
            "The id {twice} stands on two requests of the batch: each needs one of its own, as answers are told apart by it."
        )));
    }
    Some(Ok(messages))
}

/// The ids of requests, as JSON.
pub fn ids(messages: &[Value]) -> Vec<String> {
    messages.iter().filter(|message| is_request(message)).filter_map(|message| message.get("id")).map(Value::to_string).collect()
}

/// The id of a body that is one request.
pub fn id(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Asked {
        id: Value,
        #[serde(rename = "method")]
        _method: IgnoredAny,
    }
    serde_json::from_slice::<Asked>(body).ok().map(|asked| asked.id.to_string())
}

/// Serves each message by `one`, with the head that they came with together.
pub async fn serve<F: Future<Output = Response<Body>> + Send>(
    mut head: Parts,
    messages: Vec<Value>,
    one: impl Fn(Request) -> F,
) -> Response<Body> {
    head.headers.remove(header::CONTENT_LENGTH);
    let is_asked = messages.iter().any(is_request);
    let served: Vec<_> = messages
        .into_iter()
        .map(|message| {
            let response = one(Request::from_parts(head.clone(), Body::from(message.to_string())));
            async move { (message, response.await) }
        })
        .collect();
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::ACCEPTED;
    if !is_asked {
        futures_util::future::join_all(served).await;
        return response;
    }
    // A request waits for its answer, and may be asked something meanwhile: all begin at once.
    let begun = futures_util::future::join_all(served).await;
    let told = begun.into_iter().map(|(message, response)| answers(message, response));
    *response.body_mut() = Body::from_stream(stream::select_all(told).map(|message| Ok::<_, Infallible>(event(&message))));
    *response.status_mut() = StatusCode::OK;
    response.headers_mut().insert(header::CONTENT_TYPE, EVENTS);
    response
}

/// Refuses a batch.
pub fn refused(why: &str) -> Response<Body> {
    let body = json!({ "jsonrpc": "2.0", "id": null, "error": { "code": INVALID_REQUEST, "message": why } });
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = StatusCode::BAD_REQUEST;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn is_request(message: &Value) -> bool {
    let is_answer = message.get("method").is_none() && (message.get("result").is_some() || message.get("error").is_some());
    !is_answer && (message.get("id").is_some() || !message.is_object())
}

/// An id that two requests share.
fn asked_twice(messages: &[Value]) -> Option<&Value> {
    let mut ids = messages.iter().filter(|message| is_request(message)).filter_map(|message| message.get("id")).filter(|id| !id.is_null());
    let mut seen = HashSet::new();
    ids.find(|id| !seen.insert(*id))
}

fn event(message: &Value) -> Bytes {
    Bytes::from(format!("data: {message}\n\n"))
}

/// What comes back for one message.
fn answers(message: Value, response: Response<Body>) -> BoxStream<'static, Value> {
    let is_stream = response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(EVENTS.as_bytes()));
    let body = response.into_body();
    if is_stream {
        let events = SseStream::from_bytes_stream(body.into_data_stream());
        let read = |event: Result<sse_stream::Sse, _>| ready(event.ok().and_then(|event| serde_json::from_str(&event.data?).ok()));
        return events.filter_map(read).boxed();
    }
    let whole = async move {
        let body = body.collect().await.ok()?.to_bytes();
        let mut answer: Value = serde_json::from_slice(&body).ok()?;
        // What is refused before it is read names no request.
        if answer.get("id").is_none_or(Value::is_null) && is_request(&message) {
            answer["id"] = message.get("id").cloned().unwrap_or_default();
        }
        is_request(&message).then_some(answer)
    };
    stream::once(whole).filter_map(ready).boxed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_read_within_its_bounds() {
        assert!(read(br#"{"jsonrpc":"2.0"}"#).is_none() && read(b" [1, ").is_none());
        assert!(matches!(read(br#" [{"id":1,"method":"ping"},2]"#), Some(Ok(messages)) if messages.len() == 2));
        let long = json!(vec![1; MOST + 1]).to_string();
        // A number and a text are two ids, and an answer to a question is no request.
        let apart = r#"[{"id":1,"method":"ping"},{"id":"1","method":"ping"},{"id":1,"result":{}}]"#;
        assert!(matches!(read(apart.as_bytes()), Some(Ok(messages)) if messages.len() == 3));
        for bad in ["[]", &long, r#"[{"id":1,"method":"initialize"}]"#, r#"[{"id":1,"method":"ping"},{"id":1,"method":"ping"}]"#] {
            assert!(matches!(read(bad.as_bytes()), Some(Err(_))), "{bad}");
        }
    }
}
