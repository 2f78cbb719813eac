#![allow(clippy::unwrap_used)]

use http::Request;
use http_body_util::BodyExt;
use serde_json::Value;

use super::*;
use crate::dialect::codec;
use crate::dialect::ir::Event;

#[tokio::test]
async fn a_refusal_has_what_the_client_reads() {
    let response = Ollama.refuse(&Refusal::invalid("invalid_value", "'think' has to be low, medium or high."));
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    let body: Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!((body["error"].as_str(), body["code"].as_str()), (Some("'think' has to be low, medium or high."), Some("invalid_value")));
}

#[test]
fn an_error_in_a_stream_is_one_line() {
    let bytes = Ollama.error_event(&Refusal::invalid("x", "broke off"));
    assert_eq!(bytes.iter().filter(|byte| **byte == b'\n').count(), 1);
    let (mut reader, mut events) = (codec(Dialect::Ollama).stream_reader(), Vec::new());
    reader.push(&bytes, &mut events);
    assert!(matches!(events.as_slice(), [Event::Trouble(trouble)] if trouble.message == "broke off"), "{events:?}");
}

#[test]
fn what_curl_sends_is_taken_and_other_types_are_not() {
    let check = |content_type: &str| {
        let (parts, ()) = Request::builder().header("content-type", content_type).body(()).unwrap().into_parts();
        Ollama.check_head(&parts).is_ok()
    };
    assert!(check("application/json") && check("application/x-www-form-urlencoded"));
    assert!(!check("multipart/form-data"));
}
