//! Why an answer ended, by Gemini's names.
//!
//! Source: `FinishReason` in the references of the Gemini API and Vertex AI.

use crate::dialect::ir::Finish;

/// Reads a finish reason; an answer that calls tools ends with `STOP` too.
pub fn read(reason: &str, has_calls: bool) -> Finish {
    match reason {
        "STOP" if has_calls => Finish::ToolCalls,
        "STOP" => Finish::Stop,
        "MAX_TOKENS" => Finish::Length,
        "SAFETY" | "RECITATION" | "BLOCKLIST" | "PROHIBITED_CONTENT" | "SPII" | "MODEL_ARMOR" => Finish::ContentFilter,
        "IMAGE_SAFETY" | "IMAGE_PROHIBITED_CONTENT" | "IMAGE_RECITATION" => Finish::ContentFilter,
        "MALFORMED_FUNCTION_CALL" => Finish::MalformedToolCall,
        other => Finish::Other(other.to_owned()),
    }
}

/// Writes a finish reason that the SDKs know.
pub fn write(finish: &Finish) -> &str {
    match finish {
        Finish::Stop | Finish::StopSequence(_) | Finish::ToolCalls | Finish::Pause => "STOP",
        Finish::Length | Finish::ContextExceeded => "MAX_TOKENS",
        Finish::ContentFilter | Finish::Refusal => "SAFETY",
        Finish::MalformedToolCall => "MALFORMED_FUNCTION_CALL",
        Finish::Error => "OTHER",
        Finish::Other(name) => match name.as_str() {
            "LANGUAGE"
            | "UNEXPECTED_TOOL_CALL"
            | "TOO_MANY_TOOL_CALLS"
            | "MISSING_THOUGHT_SIGNATURE"
            | "MALFORMED_RESPONSE"
            | "NO_IMAGE"
            | "IMAGE_OTHER"
            | "FINISH_REASON_UNSPECIFIED" => name,
            _ => "OTHER",
        },
    }
}
