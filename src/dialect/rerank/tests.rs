#![allow(clippy::unwrap_used)]

//! Rankings between the two shapes.

use bytes::Bytes;
use serde_json::{Value, json};

use super::*;
use crate::catalog::Operation;

fn asked(dialect: Dialect, body: &Value) -> Asked {
    let ask = Ask::read(Called::new(Operation::Rerank, dialect), Bytes::from(body.to_string())).unwrap();
    read_request(&ask).unwrap()
}

fn written(asked: &Asked, dialect: Dialect, model: &str) -> (Value, Vec<String>) {
    let mut dropped = Dropped::default();
    let body = write_request(&asked.request, dialect, model, &mut dropped);
    (serde_json::from_slice(&body).unwrap(), dropped.names().map(str::to_owned).collect())
}

#[test]
fn a_request_in_each_providers_own_words() {
    let body =
        json!({ "model": "m", "query": "q", "documents": ["a", { "text": "b", "id": 1 }], "top_n": 1, "return_documents": true, "x": 1 });
    let asked = asked(Dialect::OpenaiChat, &body);
    let (cohere, dropped) = written(&asked, Dialect::CohereV2, "rerank-v3.5");
    assert_eq!(cohere, json!({ "model": "rerank-v3.5", "query": "q", "documents": ["a", "b"], "top_n": 1 }));
    assert_eq!(dropped, ["x"]);
    let (voyage, _) = written(&asked, Dialect::OpenaiChat, "rerank-2.5");
    assert_eq!((&voyage["top_k"], voyage.get("top_n")), (&json!(1), None));
    let (jina, _) = written(&asked, Dialect::OpenaiChat, "jina-reranker-v2-base-multilingual");
    assert_eq!((&jina["documents"], &jina["top_n"]), (&body["documents"], &json!(1)));
}

#[test]
fn an_answer_in_each_callers_shape() {
    let voyage = json!({ "object": "list", "data": [{ "index": 1, "relevance_score": 0.5 }], "model": "rerank-2.5", "usage": { "total_tokens": 9 } });
    let answer = read_answer(voyage.to_string().as_bytes()).unwrap();
    let body = json!({ "model": "m", "query": "q", "documents": ["a", "b"], "return_documents": true });
    let jina: Value = serde_json::from_slice(&write_answer(&answer, &asked(Dialect::OpenaiChat, &body))).unwrap();
    assert_eq!(jina["results"], json!([{ "index": 1, "relevance_score": 0.5, "document": { "text": "b" } }]));
    assert_eq!(jina["usage"], json!({ "total_tokens": 9 }));
    let cohere: Value = serde_json::from_slice(&write_answer(&answer, &asked(Dialect::CohereV2, &body))).unwrap();
    assert_eq!(cohere["meta"]["billed_units"], json!({ "input_tokens": 9 }));
    let back = read_answer(cohere.to_string().as_bytes()).unwrap();
    assert_eq!((back.results, back.usage), (answer.results, answer.usage));
}
