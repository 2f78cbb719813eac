//! Members of the top level that say nothing by which a provider would do more than answer: of all dialects, and of single providers.
//!
//! Source: the reference of each dialect's API, and of vLLM, NVIDIA, OpenRouter, Vercel, Mistral and Alibaba, whose members others share.

/// What stands in a request as an SDK takes it beside its own members: of a few providers that read it there, such as Google, it is known.
const EXTRA: &str = "extra_body";
/// Words of what could let a provider do more.
const MORE: [&str; 5] = ["tool", "search", "model", "agent", "\\u"];

/// Whether a member has something in it that nobody here knows.
pub fn holds_more(name: &str, raw: &str) -> bool {
    let inside = raw.strip_prefix(['{', '[']).and_then(|raw| raw.strip_suffix(['}', ']']));
    let is_known = || has(name) || (name == EXTRA && !MORE.iter().any(|word| raw.contains(word)));
    inside.is_some_and(|inside| !inside.trim_ascii().is_empty()) && !is_known()
}

/// Whether a member is known; of some that are, such as `tools`, others look at what is in them.
fn has(name: &str) -> bool {
    is_common(name) || is_of_a_dialect(name) || is_of_a_provider(name)
}

/// Those that most requests have.
fn is_common(name: &str) -> bool {
    matches!(
        name,
        "messages" | "input" | "contents" | "system" | "tools" | "tool_choice" | "response_format" | "stop" | "stream_options" | "metadata"
    )
}

fn is_of_a_dialect(name: &str) -> bool {
    is_of_openai(name)
        || matches!(
            name,
            // Anthropic.
            "anthropic_beta" | "betas" | "cache_control" | "container" | "context_management" | "diagnostics" | "fallbacks"
                | "output_config" | "output_format" | "stop_sequences" | "thinking"
            // Gemini.
                | "generationConfig" | "generation_config" | "labels" | "modelArmorConfig" | "safetySettings" | "safety_settings" | "systemInstruction"
                | "system_instruction" | "toolConfig" | "tool_config"
            // Bedrock.
                | "additionalModelRequestFields" | "additionalModelResponseFieldPaths" | "guardrailConfig" | "inferenceConfig"
                | "outputConfig" | "performanceConfig" | "promptVariables" | "requestMetadata" | "serviceTier"
            // Cohere, Ollama.
                | "citation_options" | "documents" | "context" | "format" | "images" | "options" | "think"
        )
}

fn is_of_openai(name: &str) -> bool {
    matches!(
        name,
        "audio"
            | "client_metadata"
            | "conversation"
            | "function_call"
            | "functions"
            | "include"
            | "logit_bias"
            | "logprobs"
            | "modalities"
            | "moderation"
            | "prediction"
            | "prompt"
            | "prompt_cache_options"
            | "reasoning"
            | "text"
    )
}

fn is_of_a_provider(name: &str) -> bool {
    matches!(
        name,
        // vLLM, SGLang, NVIDIA.
        "allowed_token_ids" | "bad_words" | "chat_template_kwargs" | "guided_choice" | "guided_json" | "json_schema" | "logits_processors"
            | "mm_processor_kwargs" | "nvext" | "stop_token_ids" | "structured_outputs" | "vllm_xargs"
        // OpenRouter, Vercel.
            | "image_config" | "models" | "provider" | "providerOptions" | "provider_options" | "tags" | "trace" | "transforms" | "usage"
        // Mistral, Alibaba, and who has an own word for how much is thought.
            | "asr_options" | "guardrails" | "thinking_config" | "translation_options"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_requests_are_decoded_of_is_known() {
        const DECODERS: [&str; 8] = [
            include_str!("anthropic_messages/decode_request.rs"),
            include_str!("bedrock_converse/decode_request.rs"),
            include_str!("cohere_v2/decode_request.rs"),
            include_str!("gemini/decode_request.rs"),
            include_str!("ollama/decode_request.rs"),
            include_str!("openai_chat/request/decode.rs"),
            include_str!("openai_chat/request/manner.rs"),
            include_str!("openai_responses/decode_request.rs"),
        ];
        // Single values, what stands within others, and what lets a provider search.
        const OTHERS: [&str; 17] = [
            "content",
            "document",
            "function",
            "image_url",
            "instructions",
            "model",
            "name",
            "refusal",
            "role",
            "schema",
            "signature",
            "stream",
            "tool_call_id",
            "tool_calls",
            "tool_name",
            "type",
            "web_search_options",
        ];
        let taken = |ways: &[&str]| -> Vec<&str> {
            let of = |text: &'static str, way: &str| text.match_indices(way).map(|(at, way)| &text[at + way.len()..]).collect::<Vec<_>>();
            let after = DECODERS.iter().flat_map(|text| ways.iter().flat_map(|way| of(text, way)));
            after.filter_map(|rest| rest.split('"').next()).collect()
        };
        let taken = taken(&["fields.remove(\"", "fields.take(\"", "fields.list(\"", "fields.object(\"", "fields.texts(\""]);
        let unknown: Vec<&&str> = taken.iter().filter(|name| !OTHERS.contains(name) && holds_more(name, "{\"a\":1}")).collect();
        assert!(unknown.is_empty() && taken.len() > 20, "{unknown:?} of {taken:?}");
        assert!(holds_more("swarm", "[1]") && !holds_more("swarm", "{ }") && !holds_more("swarm", "1"));
        assert!(!holds_more("extra_body", r#"{"google":{"a":1}}"#) && holds_more("extra_body", r#"{"tools":[1]}"#));
    }
}
