//! What each dialect's callers call a member: what is dropped is told to them in their own words.

use std::borrow::Cow;

use crate::catalog::Dialect;

/// A member's name here, and its name in each dialect in the order of [`Dialect::ALL`]; an empty one is the same.
///
/// Sources: the references that the dialects' own modules name.
#[rustfmt::skip]
const NAMES: [(&str, [&str; 7]); 24] = [
    ("max_output", ["max_tokens", "max_output_tokens", "max_tokens", "maxOutputTokens", "maxTokens", "max_tokens", "num_predict"]),
    ("top_p", ["", "", "", "topP", "topP", "p", ""]),
    ("top_k", ["", "", "", "topK", "", "k", ""]),
    ("stop", ["", "", "stop_sequences", "stopSequences", "stopSequences", "stop_sequences", ""]),
    ("n", ["", "", "", "candidateCount", "", "", ""]),
    ("logprobs", ["", "include", "", "responseLogprobs", "", "", ""]),
    ("top_logprobs", ["", "", "", "logprobs", "", "", ""]),
    ("frequency_penalty", ["", "", "", "frequencyPenalty", "", "", ""]),
    ("presence_penalty", ["", "", "", "presencePenalty", "", "", ""]),
    ("format", ["response_format", "text.format", "output_config.format", "responseMimeType", "outputConfig.textFormat", "response_format", ""]),
    ("thinking", ["reasoning_effort", "reasoning.effort", "", "thinkingConfig", "additionalModelRequestFields.thinking", "", "think"]),
    ("thinking.summary", ["reasoning", "reasoning.summary", "thinking.display", "thinkingConfig.includeThoughts", "", "", ""]),
    ("reasoning", ["reasoning_content", "", "thinking", "thought", "reasoningContent", "thinking", "thinking"]),
    ("signature", ["extra_content", "", "", "thoughtSignature", "", "", ""]),
    ("cache", ["cache_control", "", "cache_control", "", "cachePoint", "", ""]),
    ("is_error", ["", "", "", "error", "toolResult.status", "", ""]),
    ("user", ["", "", "metadata.user_id", "", "", "", ""]),
    ("metadata", ["", "", "", "labels", "requestMetadata", "", ""]),
    ("parallel_tool_calls", ["", "", "tool_choice.disable_parallel_tool_use", "", "", "", ""]),
    ("tool_choice", ["", "", "", "toolConfig", "toolChoice", "", ""]),
    ("service_tier", ["", "", "", "serviceTier", "serviceTier", "", ""]),
    ("filename", ["", "", "title", "displayName", "name", "title", ""]),
    ("detail", ["", "", "", "mediaResolution", "", "", ""]),
    ("system_position", ["messages.system", "input.system", "system", "systemInstruction", "system", "messages.system", "messages.system"]),
];

/// What callers of `dialect` call the member of that name; names that came from them are theirs already.
pub fn called<'a>(name: &'a str, dialect: Dialect) -> Cow<'a, str> {
    let known = NAMES.iter().find(|(known, _)| *known == name);
    let at = Dialect::ALL.iter().position(|known| *known == dialect).unwrap_or_default();
    match known.map(|(_, own)| own[at]) {
        Some(own) if !own.is_empty() => Cow::Borrowed(own),
        _ => Cow::Borrowed(name),
    }
}
