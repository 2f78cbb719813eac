#![allow(clippy::unwrap_used)]

//! Recorded exchanges read as they were meant, and requests and answers there and back.

use std::path::Path;

use bytes::Bytes;
use serde_json::{Value, json};

use super::*;
use crate::ledger::record::Charged;
use crate::money::Usd;

fn asked(operation: Operation, dialect: Dialect, body: &Value) -> Asked {
    let called = Called { model: Some("m".to_owned()), stream: Some(false), ..Called::new(operation, dialect) };
    read_request(&Ask::read(called, Bytes::from(body.to_string())).unwrap()).unwrap()
}

fn written(request: &Request, dialect: Dialect, model: &str) -> (Vec<Value>, Vec<String>) {
    let mut dropped = Dropped::default();
    let calls = write_request(request, dialect, model, &mut dropped).unwrap();
    (calls.iter().map(|call| serde_json::from_slice(call).unwrap()).collect(), dropped.names().map(str::to_owned).collect())
}

/// The recorded cases of embeddings, with the dialect of each; none where the recordings are not there.
fn recorded() -> Vec<(Dialect, Value)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/traffic");
    let folder = if folder.exists() { folder } else { Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/traffic") };
    let files = [("openai_embeddings", Dialect::OpenaiChat), ("gemini", Dialect::Gemini), ("cohere_v2", Dialect::CohereV2)];
    let mut cases = Vec::new();
    for (file, dialect) in files {
        let text = std::fs::read_to_string(folder.join(format!("{file}.jsonl"))).unwrap_or_default();
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        cases.extend(lines.filter(|case| case["op"] == "embeddings").map(|case| (dialect, case)));
    }
    cases
}

#[test]
fn recorded_answers_equal_the_truth() {
    for (dialect, case) in recorded() {
        let Some(vectors) = case["truth"]["embeddings"]["vectors"].as_array() else { continue };
        let body = case["response"]["body"].to_string();
        let answer = read_answer(body.as_bytes(), dialect).unwrap();
        assert_eq!(answer.vectors.len(), vectors.len(), "{}", case["id"]);
        for (vector, truth) in answer.vectors.iter().zip(vectors) {
            assert_eq!(vector.0.len() as u64, truth["dim"].as_u64().unwrap(), "{}", case["id"]);
            for (number, told) in vector.0.iter().zip(truth["head"].as_array().unwrap()) {
                assert!((f64::from(*number) - told.as_f64().unwrap()).abs() < 1e-6, "{}", case["id"]);
            }
        }
        if let Some(tokens) = case["truth"]["embeddings"]["usage"]["input"].as_u64() {
            assert_eq!(answer.usage, Some(usage::of_input(tokens)), "{}", case["id"]);
        }
        assert_eq!((usage::TELLS.read)(body.as_bytes(), None), answer.usage, "{}", case["id"]);
    }
}

#[test]
fn recorded_requests_keep_their_texts_in_every_dialect() {
    for (dialect, case) in recorded() {
        let body = &case["request"]["body"];
        if body.get("messages").is_some() {
            continue;
        }
        let is_one = body.get("content").is_some();
        let request = asked(if is_one { Operation::EmbedOne } else { Operation::Embeddings }, dialect, body).request;
        for to in [Dialect::OpenaiChat, Dialect::Gemini, Dialect::CohereV2, Dialect::Ollama] {
            let (calls, _) = written(&request, to, "m");
            let back = asked(Operation::Embeddings, to, &calls[0]).request;
            assert_eq!(back.inputs, request.inputs, "{} in {}", case["id"], to.as_str());
            assert_eq!(back.dimensions, request.dimensions, "{} in {}", case["id"], to.as_str());
        }
    }
}

#[test]
fn what_all_can_say_comes_back_the_same() {
    for (dialect, purpose, cut) in [
        (Dialect::CohereV2, Some(Purpose::Query), Some(Cut::Start)),
        (Dialect::Gemini, Some(Purpose::FactCheck), None),
        (Dialect::Ollama, None, Some(Cut::Not)),
        (Dialect::OpenaiChat, None, None),
    ] {
        let forms = Forms { float: true, base64: false };
        let inputs = vec![Input::text("a"), Input::text("b")];
        let request = Request { model: "m".to_owned(), inputs, dimensions: Some(8), forms, purpose, cut, ..Request::default() };
        let (calls, dropped) = written(&request, dialect, "m");
        assert_eq!((dropped, calls.len()), (Vec::new(), 1));
        assert_eq!(*asked(Operation::Embeddings, dialect, &calls[0]).request, request);
    }
}

#[test]
fn answers_come_back_the_same() {
    let vectors = vec![Vector(vec![0.1, -2.5e-8, 3.0]), Vector(vec![1.0, 0.0, -1.0])];
    let answer = Answer { id: None, model: None, vectors, usage: Some(usage::of_input(7)) };
    let bodies = [
        (Dialect::OpenaiChat, json!({ "model": "m", "input": ["a", "b"] })),
        (Dialect::OpenaiChat, json!({ "model": "m", "input": ["a", "b"], "encoding_format": "base64" })),
        (
            Dialect::Gemini,
            json!({ "requests": [{ "content": { "parts": [{ "text": "a" }] } }, { "content": { "parts": [{ "text": "b" }] } }] }),
        ),
        (Dialect::CohereV2, json!({ "model": "m", "texts": ["a", "b"], "embedding_types": ["base64"] })),
        (Dialect::Ollama, json!({ "model": "m", "input": ["a", "b"] })),
    ];
    for (dialect, body) in bodies {
        let asked = asked(Operation::Embeddings, dialect, &body);
        let back = read_answer(&write_answer(&answer, &asked), dialect).unwrap();
        assert_eq!((&back.vectors, back.usage), (&answer.vectors, answer.usage), "{body}");
    }
}

#[test]
fn fields_of_their_own_and_what_is_dropped() {
    let body = json!({ "model": "m", "texts": ["a"], "input_type": "search_query", "output_dimension": 256, "truncate": "END" });
    let request = asked(Operation::Embeddings, Dialect::CohereV2, &body).request;
    let (voyage, dropped) = written(&request, Dialect::OpenaiChat, "voyage-3.5");
    assert_eq!(
        voyage[0],
        json!({ "model": "voyage-3.5", "input": ["a"], "input_type": "query", "output_dimension": 256, "truncation": true })
    );
    assert!(dropped.is_empty());
    let (jina, _) = written(&request, Dialect::OpenaiChat, "jina-embeddings-v4");
    assert_eq!(jina[0]["task"], "retrieval.query");
    let (_, dropped) = written(&request, Dialect::OpenaiChat, "text-embedding-3-small");
    assert_eq!(dropped, ["input_type", "truncate"]);
    let (titan, dropped) = written(&request, Dialect::BedrockConverse, "amazon.titan-embed-text-v2:0");
    assert_eq!((&titan[0], dropped.len()), (&json!({ "inputText": "a", "dimensions": 256 }), 2));
    let (cohere, _) = written(&request, Dialect::BedrockConverse, "us.cohere.embed-v4:0");
    assert_eq!(cohere[0]["texts"], json!(["a"]));
    assert_eq!(cohere[0].get("model"), None);
}

#[test]
fn one_input_a_call_is_several_calls_and_too_many_are_refused() {
    let request = Request { inputs: vec![Input::text("a"), Input::text("b")], ..Request::default() };
    let (calls, _) = written(&request, Dialect::BedrockConverse, "amazon.titan-embed-text-v2:0");
    assert_eq!(calls, [json!({ "inputText": "a" }), json!({ "inputText": "b" })]);
    let many = Request { inputs: vec![Input::text("a"); 129], ..Request::default() };
    let refusal = write_request(&many, Dialect::BedrockConverse, "amazon.titan-embed-text-v2:0", &mut Dropped::default()).unwrap_err();
    assert_eq!(refusal.code, "too_many_inputs");
    let parts = ["a", "b"].map(|_| read_answer(br#"{"embedding":[1,2],"inputTextTokenCount":3}"#, Dialect::BedrockConverse).unwrap());
    assert_eq!(join(parts.to_vec(), &request).unwrap().usage, Some(usage::of_input(6)));
    assert!(join(parts[..1].to_vec(), &request).is_err());
}

#[test]
fn what_several_calls_used_and_cost_is_all_of_it() {
    let request = Request { inputs: vec![Input::text("a"), Input::text("b")], ..Request::default() };
    let joined = |parts: [Usage; 2]| {
        let answers = parts.map(|usage| Answer { vectors: vec![Vector(vec![0.5])], usage: Some(usage), ..Answer::default() });
        join(answers.to_vec(), &request).unwrap().usage.unwrap()
    };
    let cost = |nanos| Some(Charged::Cost(Usd(nanos)));
    let told = |input, charged| Usage { charged, ..usage::of_input(input) };
    assert_eq!(joined([told(3, cost(100)), told(4, cost(20))]), told(7, cost(120)));
    assert_eq!(joined([told(u64::MAX, None), told(4, cost(20))]), told(u64::MAX, None), "a cost of one alone is none of both");
    let tokens = |input, output| Some(Charged::Tokens { input, output });
    assert_eq!(joined([told(3, tokens(1, 0)), told(4, tokens(2, u64::MAX))]), told(7, tokens(3, u64::MAX)));
}

#[test]
fn tokens_are_refused_where_only_texts_are_taken() {
    let request = asked(Operation::Embeddings, Dialect::OpenaiChat, &json!({ "model": "m", "input": [[1, 2], [3]] })).request;
    assert_eq!(written(&request, Dialect::OpenaiChat, "m").0[0]["input"], json!([[1, 2], [3]]));
    for dialect in [Dialect::Gemini, Dialect::CohereV2, Dialect::Ollama, Dialect::BedrockConverse] {
        let refusal = write_request(&request, dialect, "m", &mut Dropped::default()).unwrap_err();
        assert_eq!((refusal.code, refusal.param), ("not_expressible", Some("input")), "{}", dialect.as_str());
    }
}

#[test]
fn the_model_of_each_part_of_a_batch_is_the_providers() {
    let body = r#"{"requests": [{"model": "models/google/e", "content": {"parts": [{"text": "models/google/e"}]}}]}"#;
    let called = Called { model: Some("google/e".to_owned()), ..Called::new(Operation::Embeddings, Dialect::Gemini) };
    let ask = Ask::read(called, Bytes::from_static(body.as_bytes())).unwrap();
    let sent = ask.encode("e", &crate::catalog::Quirks::default()).concat();
    assert_eq!(sent, body.replacen("models/google/e", "models/e", 1).into_bytes());
}

#[test]
fn what_a_document_holds_is_no_usage() {
    let read = |json: &str| (usage::TELLS.read)(json.as_bytes(), None).map(|usage| usage.input);
    let result =
        r#""results":[{"document":{"text":"a","usage":{"prompt_tokens":0,"total_tokens":0},"meta":{"billed_units":{"input_tokens":0}}}}]"#;
    for usage in [r#""usage":{"total_tokens":900}"#, r#""meta":{"billed_units":{"input_tokens":900.0}}"#] {
        assert_eq!(read(&format!("{{{usage},{result}}}")), Some(900));
        assert_eq!(read(&format!("{{{result},{usage}}}")), Some(900));
        assert_eq!(read(&format!(r#"half of a "text", with more"}},{usage},{result}}}"#)), Some(900), "of its end alone");
    }
    assert_eq!(read(&format!("{{{result}}}")), None);
}

#[test]
fn whatever_a_total_has_more_vectors_say_nothing() {
    let read = (usage::TELLS.read)(br#"{"usage":{"prompt_tokens":7,"total_tokens":4007},"data":[]}"#, None).unwrap();
    assert_eq!((read.input, read.output), (4007, 0));
    let read = (usage::TELLS.read)(br#"{"usage":{"prompt_tokens":10,"completion_tokens":4,"total_tokens":14},"data":[]}"#, None).unwrap();
    assert_eq!((read.input, read.output), (10, 4), "some count what they answer with");
}
