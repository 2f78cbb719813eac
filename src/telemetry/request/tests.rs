#![allow(clippy::unwrap_used)]

use super::*;

#[test]
fn the_line_is_one_json_object_with_what_is_known() {
    let line = RequestLine {
        at: Timestamp::UNIX_EPOCH,
        id: "req_1",
        request_id: Some("a \"quoted\"\nname"),
        key: None,
        operation: "chat",
        model: Some("p/鍵"),
        prompt: Some("hi@1"),
        provider: None,
        status: 200,
        outcome: "answered",
        refused: None,
        from: Some([192, 0, 2, 7].into()),
        input_tokens: u64::MAX,
        output_tokens: 0,
        cost_usd: Some(0.00024),
        first_byte_ms: Some(7),
        total_ms: 9,
    };
    let text = String::from_utf8(line.json()).unwrap();
    assert_eq!(text.matches('\n').count(), 1);
    let expected = serde_json::json!({
        "timestamp": "1970-01-01T00:00:00.000000Z", "level": "INFO", "id": "req_1", "request_id": "a \"quoted\"\nname",
        "operation": "chat", "model": "p/鍵", "prompt": "hi@1", "status": 200, "outcome": "answered", "from": "192.0.2.7", "input_tokens": u64::MAX, "output_tokens": 0,
        "cost_usd": 0.00024, "first_byte_ms": 7, "total_ms": 9, "target": "keyward::request",
    });
    assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), expected);
}
