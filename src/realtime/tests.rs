#![allow(clippy::unwrap_used)]

use super::meter;
use crate::ledger::record::Usage;

const DONE: &str = r#"{"type":"response.done","event_id":"event_1","response":{"id":"resp_1","status":"completed","usage":{
"total_tokens":253,"input_tokens":132,"output_tokens":121,
"input_token_details":{"text_tokens":119,"audio_tokens":13,"cached_tokens":64,"cached_tokens_details":{"text_tokens":60,"audio_tokens":4}},
"output_token_details":{"text_tokens":30,"audio_tokens":91}}}}"#;

#[test]
fn usage_is_read_from_the_event_that_ends_a_response() {
    let usage = meter::read(DONE).unwrap();
    assert_eq!(usage, Usage { input: 132, cached: 64, output: 121, input_audio: 9, output_audio: 91, ..Usage::default() });
    let twice = meter::sum(usage, usage);
    assert_eq!((twice.input, twice.cached, twice.output, twice.input_audio, twice.output_audio), (264, 128, 242, 18, 182));
}

#[test]
fn no_other_event_counts() {
    let quoted = r#"{"type":"response.output_text.delta","delta":"\"response.done\"","response":{"usage":{"input_tokens":9}}}"#;
    let unreported = r#"{"type":"response.done","response":{"status":"cancelled","usage":null}}"#;
    let named = r#"{"type":"session.created","note":"response.done","response":{"usage":{"input_tokens":9}}}"#;
    for text in [quoted, unreported, named, "response.done", r#""response.done""#, "{\"response.done\""] {
        assert_eq!(meter::read(text), None, "{text}");
    }
}
