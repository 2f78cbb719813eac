#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use serde_json::json;
use utoipa::OpenApi;

use super::body;
use super::openapi::Description;
use super::*;
use crate::admin::keys::KeyChange;

#[test]
fn every_path_of_the_router_is_described() {
    let described: BTreeSet<String> = Description::openapi().paths.paths.keys().cloned().collect();
    let routed: BTreeSet<String> = RESOURCES.iter().chain(&RUNS).chain(&BESIDE).map(|(path, _)| (*path).to_owned()).collect();
    assert_eq!(described, routed);
}

#[test]
fn each_bad_field_is_named_by_its_pointer() {
    let cases = [
        (json!({ "nam": "x" }), vec!["/nam"]),
        (json!({ "name": 7, "parallel": 0 }), vec!["/name", "/parallel"]),
        (
            json!({ "rates": [{ "unit": "requests", "per": "minute", "most": 1 }, { "unit": "requests", "per": "minute", "most": 0 }] }),
            vec!["/rates/1"],
        ),
        (json!({ "addresses": ["10.0.0.0/8", "10.0.0.1/8"], "expires": "soon" }), vec!["/addresses/1", "/expires"]),
    ];
    for (sent, pointers) in cases {
        let problem = json!(body::read::<KeyChange>(sent.to_string().as_bytes()).err().unwrap());
        let named: Vec<&str> = problem["errors"].as_array().unwrap().iter().map(|error| error["pointer"].as_str().unwrap()).collect();
        assert_eq!((named, problem["status"].as_u64()), (pointers, Some(422)), "{sent}");
    }
    let cleared = body::read::<KeyChange>(br#"{"project": null, "parallel": null}"#).ok().unwrap();
    assert_eq!((cleared.project, cleared.limits.parallel, cleared.expires), (Some(None), Some(None), None));
    assert!(body::read::<KeyChange>(b"[]").is_err() && body::read::<KeyChange>(b"").is_ok());
}
