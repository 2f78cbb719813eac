//! A stream's events as they are written.

use serde::Serialize;
use serde_json::Value;

use crate::dialect::ir::TroubleKind;
use crate::dialect::openai_responses::item::{Item, Logprob, Part};

/// An event about an item; each kind has some of the members.
#[derive(Default, Serialize)]
pub(super) struct Told<'a> {
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    pub(super) sequence_number: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) item_id: Option<&'a str>,
    pub(super) output_index: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) content_index: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) summary_index: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) annotation_index: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) delta: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) refusal: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) arguments: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) input: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) logprobs: Option<&'a [Logprob]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) annotation: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) part: Option<&'a Part>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) item: Option<&'a Item>,
}

/// The `error` event.
#[derive(Serialize)]
pub(super) struct Failed<'a> {
    pub(super) r#type: &'static str,
    pub(super) sequence_number: u64,
    pub(super) code: &'a str,
    pub(super) message: &'a str,
    pub(super) param: Option<&'a str>,
    /// The SDKs raise what stands here.
    pub(super) error: FailedObject<'a>,
}

/// The error as the SDKs raise it.
#[derive(Serialize)]
pub(super) struct FailedObject<'a> {
    pub(super) r#type: &'a str,
    pub(super) code: &'a str,
    pub(super) message: &'a str,
    pub(super) param: Option<&'a str>,
}

/// Writes an event about an item, unless only the whole answer is wanted.
pub(super) fn emit(is_whole: bool, sequence: &mut u64, told: Told<'_>, out: &mut Vec<u8>) {
    if !is_whole {
        let told = Told { sequence_number: *sequence, ..told };
        *sequence += 1;
        write_event(told.kind, &told, out);
    }
}

/// Writes an event.
pub(super) fn write_event(kind: &str, data: &impl Serialize, out: &mut Vec<u8>) {
    out.extend_from_slice(b"event: ");
    out.extend_from_slice(kind.as_bytes());
    out.extend_from_slice(b"\ndata: ");
    // Writing into memory does not fail: the values are texts and numbers.
    let _ = serde_json::to_writer(&mut *out, data);
    out.extend_from_slice(b"\n\n");
}

/// OpenAI's name for a sort of error.
pub(super) fn name_of(kind: TroubleKind) -> &'static str {
    match kind {
        TroubleKind::Invalid | TroubleKind::TooLarge | TroubleKind::NotFound => "invalid_request_error",
        TroubleKind::Authentication => "authentication_error",
        TroubleKind::Permission => "permission_error",
        TroubleKind::Billing => "insufficient_quota",
        TroubleKind::RateLimit => "rate_limit_exceeded",
        TroubleKind::Overloaded | TroubleKind::Timeout | TroubleKind::Server => "server_error",
    }
}
