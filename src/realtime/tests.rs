#![allow(clippy::unwrap_used)]

use super::events::{Asked, Told, What};
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
}

#[test]
fn no_other_event_counts() {
    for nothing in ["{}", r#"{"input_tokens":9}"#, r#"{"input_tokens":9,"output_tokens":null}"#, r#"{"input_tokens":9,"output_tokens":-1}"#]
    {
        let told = format!(r#"{{"type":"response.done","response":{{"status":"completed","usage":{nothing}}}}}"#);
        assert_eq!(meter::read(&told), None, "{nothing}");
    }
    let quoted = r#"{"type":"response.output_text.delta","delta":"\"response.done\"","response":{"usage":{"input_tokens":9}}}"#;
    let unreported = r#"{"type":"response.done","response":{"status":"cancelled","usage":null}}"#;
    let named = r#"{"type":"session.created","note":"response.done","response":{"usage":{"input_tokens":9}}}"#;
    for text in [quoted, unreported, named, "response.done", r#""response.done""#, "{\"response.done\""] {
        assert_eq!(meter::read(text), None, "{text}");
    }
}

#[test]
fn what_brings_a_response_about_is_known_however_it_is_written() {
    let read = |text: &str| Asked::read(text.as_bytes()).map_err(|refusal| refusal.code);
    let asked = read(r#"{"event_id":"e1","type":"response\u002ecreate","response":{"max_output_tokens":7}}"#).unwrap();
    assert_eq!(asked, Asked { what: What::Create, event_id: Some("e1".to_owned()), max_output: Some(7) });
    let unlimited = read(r#"{"type":"response.create","response":{"max_output_tokens":"inf"}}"#).unwrap();
    assert_eq!((unlimited.what, unlimited.max_output), (What::Create, None));
    let twice = r#"{"type":"response.create","response":{"max_output_tokens":"inf","max_response_output_tokens":1}}"#;
    assert_eq!(read(twice).unwrap().max_output, None);
    assert_eq!(read(r#"{"type":"input_audio_buffer.append","audio":"AA=="}"#).unwrap().what, What::Sound);
    assert_eq!(read(r#"{"type":"session.update","note":"response.create"}"#).unwrap().what, What::Other);
    for text in [r#"{"type":"x","type":"response.create"}"#, "response.create", "[]", "{"] {
        assert_eq!(read(text), Err("invalid_event"), "{text}");
    }
}

#[test]
fn of_a_providers_events_those_count_that_begin_end_or_refuse_a_response() {
    assert_eq!(Told::read(r#"{"type":"response.created","response":{"id":"r"}}"#), Some(Told::Created));
    assert_eq!(Told::read(DONE), Some(Told::Done(meter::read(DONE))));
    assert_eq!(Told::read(r#"{"type":"response.done","response":{"status":"cancelled","usage":null}}"#), Some(Told::Done(None)));
    assert_eq!(Told::read(r#"{"type":"error","error":{"event_id":"e1","code":"x"}}"#), Some(Told::Error(Some("e1".to_owned()))));
    assert_eq!(Told::read(r#"{"type":"error","error":{"event_id":null}}"#), Some(Told::Error(None)));
    assert_eq!(Told::read(r#"{"type":"response.output_text.delta","delta":"\"response.done\" \"error\""}"#), None);
}

#[test]
fn what_a_session_hears_is_written_out_by_the_model_that_its_provider_tells() {
    let by = |session: &str| match Told::read(&format!(r#"{{"type":"session.updated","session":{session}}}"#)) {
        Some(Told::Session(by)) => by,
        other => panic!("{other:?}"),
    };
    assert_eq!(by(r#"{"type":"realtime","audio":{"input":{"transcription":{"model":"whisper-1"}}}}"#).as_deref(), Some("whisper-1"));
    assert_eq!(by(r#"{"input_audio_transcription":{"model":"whisper-1","language":"de"}}"#).as_deref(), Some("whisper-1"));
    for none in [r#"{"audio":{"input":{"transcription":null}}}"#, r#"{"input_audio_transcription":null}"#, "{}", r#"{"audio":{}}"#] {
        assert_eq!(by(none), None, "{none}");
    }
    assert_eq!(Told::read(r#"{"type":"transcription_session.updated","session":{}}"#), Some(Told::Session(None)));
    assert_eq!(Told::read(r#"{"type":"input_audio_buffer.committed","item_id":"i"}"#), Some(Told::Committed));
    let event = |what: &str, rest: &str| Told::read(&format!(r#"{{"type":"conversation.item.input_audio_transcription.{what}"{rest}}}"#));
    let tokens =
        r#","usage":{"type":"tokens","total_tokens":22,"input_tokens":13,"input_token_details":{"audio_tokens":12},"output_tokens":9}"#;
    let usage = Usage { input: 13, input_audio: 12, output: 9, ..Usage::default() };
    assert_eq!(event("completed", tokens), Some(Told::Transcribed(Some(usage))));
    assert_eq!(event("completed", r#","usage":{"type":"duration","seconds":4.2}"#), Some(Told::Transcribed(None)));
    assert_eq!(event("failed", r#","error":{"code":"audio_unintelligible"}"#), Some(Told::NotTranscribed));
    assert_eq!(event("delta", r#","delta":"a""#), None);
}
