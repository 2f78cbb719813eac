//! Why an answer ended, by `stop_reason`.
//!
//! Source: the `stop_reason` of the Messages reference.

use crate::dialect::ir::Finish;

/// Reads `stop_reason` and `stop_sequence`.
pub fn decode(reason: &str, sequence: Option<&str>) -> Finish {
    match reason {
        "end_turn" => Finish::Stop,
        "max_tokens" => Finish::Length,
        "stop_sequence" => Finish::StopSequence(sequence.unwrap_or_default().to_owned()),
        "tool_use" => Finish::ToolCalls,
        "pause_turn" => Finish::Pause,
        "refusal" => Finish::Refusal,
        "model_context_window_exceeded" => Finish::ContextExceeded,
        other => Finish::Other(other.to_owned()),
    }
}

/// `stop_reason` and `stop_sequence`; an answer that calls tools and was done wants them called.
pub fn encode(finish: &Finish, calls_tools: bool) -> (&'static str, Option<&str>) {
    match finish {
        Finish::ToolCalls => ("tool_use", None),
        Finish::Stop | Finish::Other(_) | Finish::MalformedToolCall | Finish::Error if calls_tools => ("tool_use", None),
        Finish::Stop | Finish::Other(_) | Finish::MalformedToolCall | Finish::Error => ("end_turn", None),
        Finish::StopSequence(sequence) => ("stop_sequence", Some(sequence)),
        Finish::Length => ("max_tokens", None),
        Finish::ContentFilter | Finish::Refusal => ("refusal", None),
        Finish::Pause => ("pause_turn", None),
        Finish::ContextExceeded => ("model_context_window_exceeded", None),
    }
}
