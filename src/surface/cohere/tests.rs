#![allow(clippy::unwrap_used)]

use http_body_util::BodyExt;
use serde_json::Value;

use super::*;
use crate::dialect::codec;
use crate::dialect::ir::Event;

#[tokio::test]
async fn a_refusal_has_what_the_sdk_reads() {
    let refusal = Refusal::invalid("invalid_value", "'k' has to be a whole number.").with_param("k");
    let response = Cohere.refuse(&refusal);
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    let body: Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(
        (body["message"].as_str(), body["code"].as_str(), body["param"].as_str()),
        (Some(refusal.message.as_str()), Some("invalid_value"), Some("k"))
    );
    assert!(!body["id"].as_str().unwrap().is_empty());
}

#[test]
fn an_error_in_a_stream_ends_it() {
    let mut bytes = b"event: message-start\ndata: {\"type\":\"message-start\",\"id\":\"a\"}\n".to_vec();
    bytes.extend_from_slice(&Cohere.error_event(&Refusal::invalid("x", "broke off")));
    let (mut reader, mut events) = (codec(Dialect::CohereV2).stream_reader(), Vec::new());
    reader.push(&bytes, &mut events);
    assert!(matches!(events.as_slice(), [Event::Start { .. }, Event::Trouble(trouble)] if trouble.message == "broke off"), "{events:?}");
}
