#![allow(clippy::unwrap_used)]

use http::Uri;

use super::*;

fn model(model: &str, verb: &str) -> Option<Place> {
    Some(Place::Model { model: model.to_owned(), verb: verb.to_owned() })
}

fn show(model: &str) -> Option<Place> {
    Some(Place::Show { model: model.to_owned() })
}

#[test]
fn paths_name_a_model_and_what_to_do() {
    let vertex = "projects/p/locations/global/publishers";
    let cases = [
        ("models/gemini-2.5-flash:generateContent".to_owned(), model("gemini-2.5-flash", "generateContent")),
        ("models/simulator/echo:streamGenerateContent".to_owned(), model("simulator/echo", "streamGenerateContent")),
        ("models/models/a:generateContent".to_owned(), model("a", "generateContent")),
        ("models/ollama/qwen3:8b:generateContent".to_owned(), model("ollama/qwen3:8b", "generateContent")),
        ("models/ollama/qwen3:8b".to_owned(), show("ollama/qwen3:8b")),
        ("models/ollama/qwen3:latest".to_owned(), show("ollama/qwen3:latest")),
        (format!("{vertex}/google/models/gemini-3-flash:generateContent"), model("gemini-3-flash", "generateContent")),
        (format!("{vertex}/simulator/models/echo:generateContent"), model("simulator/echo", "generateContent")),
        ("publishers/google/models/gemini-3-flash:countTokens".to_owned(), model("gemini-3-flash", "countTokens")),
        ("v1beta/models/a:generateContent".to_owned(), model("a", "generateContent")),
        ("models".to_owned(), Some(Place::List { of_publishers: false })),
        ("publishers/google/models".to_owned(), Some(Place::List { of_publishers: true })),
        ("models/".to_owned(), Some(Place::List { of_publishers: false })),
        ("files".to_owned(), None),
        ("projects/p".to_owned(), None),
        ("publishers".to_owned(), None),
    ];
    for (path, expected) in cases {
        assert_eq!(place(&path), expected, "{path}");
    }
}

#[test]
fn only_alt_sse_asks_for_events() {
    let uri = |text: &str| text.parse::<Uri>().unwrap();
    assert!(is_sse(&uri("/x?key=k&alt=sse")));
    assert!(!is_sse(&uri("/x?alt=json")));
    assert!(!is_sse(&uri("/x")));
}

#[tokio::test]
async fn refusals_have_googles_shape() {
    let mut refusal = Refusal::new(StatusCode::TOO_MANY_REQUESTS, Kind::RateLimit("requests"), "rate_limited", "Slow down.");
    refusal.retry_after = Some(std::time::Duration::from_millis(1500));
    let response = Gemini.refuse(&refusal);
    assert_eq!(response.status(), 429);
    let body = axum::body::to_bytes(response.into_body(), 1 << 16).await.unwrap();
    let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!((&body["error"]["code"], &body["error"]["status"]), (&429.into(), &"RESOURCE_EXHAUSTED".into()));
    assert_eq!(body["error"]["message"], "Slow down.");
    assert_eq!(body["error"]["details"][0]["reason"], "rate_limited");
    assert_eq!(body["error"]["details"][1]["retryDelay"], "2s");
    assert!(Gemini.error_event(&refusal).starts_with(b"\n\ndata: {\"error\":"));
}

#[test]
fn the_paths_stand_beside_openais() {
    // Building it panics where two surfaces serve the same path and method.
    let router: axum::Router<Arc<Gateway>> = crate::surface::openai::routes().merge(routes());
    assert!(router.has_routes());
    assert!(owns("/v1beta/files") && owns("/v1beta1/x") && owns("/v1/projects/p") && !owns("/v1/models/a") && !owns("/v1betas"));
}
