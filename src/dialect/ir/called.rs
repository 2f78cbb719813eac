//! What each dialect's callers call a member: what is dropped is told to them in their own words.

use memchr::memmem;

use crate::catalog::Dialect;

/// A member's name here, and its name in each dialect in the order of [`Dialect::ALL`]; an empty one is the same. Where there are several,
/// with `|` between them, the one that the caller used is told, or else the first.
///
/// Sources: the references that the dialects' own modules name.
#[rustfmt::skip]
const NAMES: [(&str, [&str; 7]); 25] = [
    ("max_output", ["max_tokens|max_completion_tokens", "max_output_tokens", "max_tokens", "maxOutputTokens", "maxTokens", "max_tokens", "num_predict"]),
    ("top_p", ["", "", "", "topP", "topP", "p", ""]),
    ("top_k", ["", "", "", "topK", "", "k", ""]),
    ("stop", ["", "", "stop_sequences", "stopSequences", "stopSequences", "stop_sequences", ""]),
    ("n", ["", "", "", "candidateCount", "", "", ""]),
    ("logprobs", ["", "include", "", "responseLogprobs", "", "", ""]),
    ("top_logprobs", ["", "", "", "logprobs", "", "", ""]),
    ("frequency_penalty", ["", "", "", "frequencyPenalty", "", "", ""]),
    ("presence_penalty", ["", "", "", "presencePenalty", "", "", ""]),
    ("format", ["response_format", "text.format", "output_config.format|output_format", "responseSchema|responseJsonSchema|responseMimeType", "outputConfig.textFormat", "response_format", ""]),
    ("thinking", ["reasoning_effort|reasoning|thinking|enable_thinking", "reasoning.effort", "", "thinkingConfig", "thinking|reasoning_config|reasoningConfig|reasoning_effort|outputConfig.effort", "", "think"]),
    ("thinking.summary", ["reasoning", "reasoning.summary", "thinking.display", "thinkingConfig.includeThoughts", "", "", ""]),
    ("reasoning", ["reasoning_content|reasoning_details|reasoning|thinking", "", "thinking|redacted_thinking", "thought", "reasoningContent", "thinking", "thinking"]),
    ("signature", ["extra_content", "", "", "thoughtSignature", "", "", ""]),
    ("cache", ["cache_control|prompt_cache_breakpoint", "prompt_cache_breakpoint", "cache_control", "", "cachePoint", "", ""]),
    ("is_error", ["", "", "", "error", "toolResult.status", "", ""]),
    ("user", ["user|safety_identifier", "user|safety_identifier", "metadata.user_id", "", "", "", ""]),
    ("metadata", ["", "", "", "labels", "requestMetadata", "", ""]),
    ("parallel_tool_calls", ["", "", "tool_choice.disable_parallel_tool_use", "", "", "", ""]),
    ("tool_choice", ["", "", "", "toolConfig", "toolChoice", "", ""]),
    ("service_tier", ["", "", "", "serviceTier", "serviceTier", "", ""]),
    ("strict", ["", "", "", "", "", "strict_tools", ""]),
    ("filename", ["", "", "title", "displayName", "name", "title", ""]),
    ("detail", ["", "", "", "mediaResolution", "", "", ""]),
    ("system_position", ["messages.system", "input.system", "system", "systemInstruction", "system", "messages.system", "messages.system"]),
];

/// What the caller that wrote `body` in `dialect` calls the member of that name; names that came from there are theirs already.
pub fn called<'a>(name: &'a str, dialect: Dialect, body: &[u8]) -> &'a str {
    let known = NAMES.iter().find(|(known, _)| *known == name);
    let at = Dialect::ALL.iter().position(|known| *known == dialect).unwrap_or_default();
    let Some(own) = known.map(|(_, own)| own[at]).filter(|own| !own.is_empty()) else { return name };
    let is_used = |path: &&str| {
        let first = path.split('.').next().unwrap_or(path);
        memmem::find(body, format!("\"{first}\"").as_bytes()).is_some()
    };
    own.split('|').find(is_used).or(own.split('|').next()).unwrap_or(own)
}
