//! Why an answer ended, in OpenAI's words and in those of compatible providers.

use crate::dialect::ir::Finish;

/// Reads a `finish_reason`; an empty one is none.
pub fn read(reason: &str) -> Option<Finish> {
    Some(match reason.to_ascii_lowercase().as_str() {
        "" | "null" => return None,
        "stop" | "end_turn" | "eos" | "eos_token" | "stop_sequence" | "complete" | "done" => Finish::Stop,
        "length" | "max_tokens" | "model_length" | "max_output_tokens" | "token_limit" => Finish::Length,
        "tool_calls" | "tool_use" | "function_call" | "tool_call" => Finish::ToolCalls,
        "content_filter" | "safety" | "sensitive" | "guardrail" | "recitation" | "content_filtered" => Finish::ContentFilter,
        "refusal" => Finish::Refusal,
        "context_length_exceeded" | "model_context_window_exceeded" => Finish::ContextExceeded,
        "malformed_function_call" => Finish::MalformedToolCall,
        "error" | "network_error" | "failed" => Finish::Error,
        _ => Finish::Other(reason.to_owned()),
    })
}

/// OpenAI's word, one of the few that its SDKs know, and whether it tells all.
pub fn write(finish: &Finish, has_refusal: bool) -> (&'static str, bool) {
    match finish {
        Finish::Stop | Finish::StopSequence(_) => ("stop", true),
        Finish::Length | Finish::ContextExceeded => ("length", true),
        Finish::ToolCalls => ("tool_calls", true),
        Finish::Refusal if has_refusal => ("stop", true),
        Finish::ContentFilter | Finish::Refusal => ("content_filter", true),
        Finish::Pause | Finish::MalformedToolCall | Finish::Error | Finish::Other(_) => ("stop", false),
    }
}
