"""What each dialect calls a member, and what it has nothing for: the one list of what may be dropped, or refused.

Sources: the references of OpenAI ("Create chat completion", "Create a model response"), Anthropic ("Create a Message"), Google ("generateContent"),
AWS ("Converse"), Cohere ("Chat v2") and Ollama ("Generate a chat message").
"""

# Names that callers may have used, by member; in all dialects where a dialect has no line of its own.
NAMES = {
    "": {name: {name} for name in ("temperature", "top_p", "top_k", "seed", "frequency_penalty", "presence_penalty", "stop", "n", "logprobs", "top_logprobs",
                                   "tool_choice", "parallel_tool_calls", "user", "metadata", "service_tier", "stream", "strict", "detail", "context")}
    | {"is_error": {"is_error"}, "cache": {"cache_control", "prompt_cache_breakpoint"},
       "system_position": {"system_position", "system", "developer"}, "name": {"name"}, "title": {"filename", "title"}, "citable": {"citations"}},
    "openai_chat": {
        "max_output": {"max_tokens", "max_completion_tokens"}, "format": {"response_format"}, "user": {"user", "safety_identifier"},
        "thinking": {"reasoning_effort", "reasoning", "thinking", "effort"}, "thoughts_shown": {"reasoning"},
        "reasoning": {"reasoning_content", "reasoning", "reasoning_details", "thinking"}, "proof": {"extra_content"},
        "web_search": {"web_search_options", "web_search"}, "title": {"filename", "document_name"},
    },
    "openai_responses": {
        "max_output": {"max_output_tokens"}, "format": {"format", "text"}, "user": {"user", "safety_identifier"}, "thinking": {"reasoning", "effort"},
        "thoughts_shown": {"summary", "reasoning"}, "reasoning": {"reasoning"}, "logprobs": {"include", "top_logprobs"},
    },
    "anthropic_messages": {
        "max_output": {"max_tokens"}, "stop": {"stop_sequences"}, "format": {"format", "output_format"}, "thinking": {"thinking", "effort"},
        "thoughts_shown": {"display"}, "reasoning": {"thinking", "redacted_thinking"}, "user": {"user_id", "metadata"}, "title": {"title"},
        "parallel_tool_calls": {"disable_parallel_tool_use"},
    },
    "gemini": {
        "max_output": {"maxOutputTokens"}, "top_p": {"topP"}, "top_k": {"topK"}, "stop": {"stopSequences"}, "n": {"candidateCount"},
        "frequency_penalty": {"frequencyPenalty"}, "presence_penalty": {"presencePenalty"}, "logprobs": {"responseLogprobs"}, "top_logprobs": {"logprobs"},
        "format": {"responseMimeType", "responseSchema", "responseJsonSchema"}, "thinking": {"thinkingConfig", "thinkingBudget", "thinkingLevel"},
        "thoughts_shown": {"includeThoughts", "thinkingConfig"}, "reasoning": {"thought", "thoughtSignature"}, "proof": {"thoughtSignature"},
        "tool_choice": {"toolConfig", "functionCallingConfig", "mode"}, "metadata": {"labels"}, "service_tier": {"serviceTier"},
        "is_error": {"error", "response"}, "detail": {"mediaResolution"}, "title": {"displayName"},
    },
    "bedrock_converse": {
        "max_output": {"maxTokens"}, "top_p": {"topP"}, "stop": {"stopSequences"}, "format": {"outputConfig", "textFormat"},
        "thinking": {"thinking", "reasoning_config", "reasoningConfig", "effort"}, "reasoning": {"reasoningContent"}, "cache": {"cachePoint"}, "is_error": {"status"},
        "tool_choice": {"toolChoice"}, "metadata": {"requestMetadata"}, "service_tier": {"serviceTier"}, "title": {"name"},
    },
    "cohere_v2": {
        "max_output": {"max_tokens"}, "top_p": {"p"}, "top_k": {"k"}, "stop": {"stop_sequences"}, "format": {"response_format"}, "thinking": {"thinking"},
        "reasoning": {"thinking", "tool_plan"}, "strict": {"strict_tools"}, "citable": {"citations", "citation_options"}, "title": {"title"},
    },
    "ollama": {
        "max_output": {"num_predict"}, "format": {"format"}, "thinking": {"think"}, "reasoning": {"thinking"},
    },
}



def beyond(value, *efforts):
    """Whether reasoning is asked for otherwise than by an effort that is known: these dialects cannot only switch it on."""
    return value["effort"] not in efforts and (value["effort"] is not None or value["budget"] is None)


CLAUDE = ("anthropic_messages", "bedrock_converse")
# OpenAI's marks of the cache are for its newest models, and so are Gemini's parts with a resolution for a version of its API that is not the usual one.
LACKS = {
    "openai_chat": {
        "top_k": True, "cache": True, "is_error": True, "reasoning": True, "proof": True, "context": True, "citable": True, "thoughts_shown": True,
        # Notes are taken with answers alone that are to be stored.
        "metadata": True, "stop": lambda value: len(value) > 4, "temperature": lambda value: value > 2,
        "thinking": lambda value: beyond(value, "none", "minimal", "low", "medium", "high", "xhigh"),
    },
    "openai_responses": {
        "top_k": True, "seed": True, "frequency_penalty": True, "presence_penalty": True, "stop": True, "n": True, "cache": True, "is_error": True,
        "reasoning": True, "proof": True, "context": True, "citable": True, "name": True, "temperature": lambda value: value > 2,
        # JSON mode is refused where no message speaks of JSON.
        "format": lambda value: value == "json",
        "max_output": lambda value: value < 16, "service_tier": lambda value: value not in ("auto", "default", "flex", "priority", "scale"),
        "thinking": lambda value: beyond(value, "none", "minimal", "low", "medium", "high", "xhigh"),
    },
    "anthropic_messages": {
        "seed": True, "frequency_penalty": True, "presence_penalty": True, "logprobs": True, "top_logprobs": True, "n": True, "metadata": True, "name": True,
        "detail": True, "proof": True, "system_position": True, "reasoning": True, "format": lambda value: value == "json",
        "temperature": lambda value: value > 1, "service_tier": lambda value: value not in ("auto", "default"),
        "thinking": lambda value: value["effort"] not in (None, "low", "medium", "high", "xhigh", "max"), "stop": lambda value: any(not stop.strip() for stop in value),
    },
    "gemini": {
        "parallel_tool_calls": True, "cache": True, "user": True, "metadata": True, "name": True, "title": True, "context": True, "citable": True, "strict": True,
        "reasoning": True, "proof": True, "system_position": True, "temperature": lambda value: value > 2, "stop": lambda value: len(value) > 5,
        "seed": lambda value: not -2**31 <= value < 2**31, "detail": True,
        "service_tier": lambda value: value not in ("default", "flex", "priority"),
        "thinking": lambda value: value["effort"] not in (None, "minimal", "low", "medium", "high"),
    },
    "bedrock_converse": {
        "seed": True, "frequency_penalty": True, "presence_penalty": True, "logprobs": True, "top_logprobs": True, "n": True, "user": True, "name": True,
        "detail": True, "proof": True, "parallel_tool_calls": True, "system_position": True, "reasoning": True, "format": lambda value: value == "json",
        "temperature": lambda value: value > 1, "tool_choice": lambda value: value == "none",
        # A budget is a member of each model's own.
        "thinking": lambda value: value["effort"] not in ("low", "medium", "high", "xhigh", "max"), "thoughts_shown": True,
        "service_tier": lambda value: value not in ("default", "flex", "priority", "reserved"),
        "metadata": lambda value: any(not isinstance(one, str) for one in value.values()),
    },
    "cohere_v2": {
        "top_logprobs": True, "n": True, "user": True, "metadata": True, "parallel_tool_calls": True, "service_tier": True, "cache": True, "is_error": True,
        "name": True, "context": True, "citable": True, "proof": True, "reasoning": True, "thoughts_shown": True, "temperature": lambda value: value > 1,
        "thinking": lambda value: beyond(value, "none", "minimal", "low", "medium", "high", "xhigh", "max") and value["effort"] is not None,
        "frequency_penalty": lambda value: not 0 <= value <= 1, "presence_penalty": lambda value: not 0 <= value <= 1,
        "top_p": lambda value: not 0.01 <= value <= 0.99, "top_k": lambda value: value > 500, "stop": lambda value: len(value) > 5, "seed": lambda value: value < 0,
    },
    "ollama": {
        "n": True, "user": True, "metadata": True, "parallel_tool_calls": True, "service_tier": True, "cache": True, "is_error": True, "name": True,
        "title": True, "context": True, "citable": True, "proof": True, "reasoning": True, "detail": True, "strict": True, "thoughts_shown": True,
        "tool_choice": True, "thinking": lambda value: value["effort"] not in (None, "low", "medium", "high") or value["budget"] is not None,
    },
}
# Built-in tools that a dialect can offer; all others may be dropped.
BUILTINS = {"openai_chat": {"web_search"}, "openai_responses": {"web_search", "code_execution"}, "anthropic_messages": {"web_search", "web_fetch", "code_execution"},
            "gemini": {"web_search", "web_fetch", "code_execution"}, "bedrock_converse": set(), "cohere_v2": set(), "ollama": set()}
# Keywords of tools' schemas that a dialect does not take: at the top of one, where they begin with a dot.
KEYWORDS = {"gemini": {"exclusiveMinimum", "exclusiveMaximum", "examples", "discriminator"}, "anthropic_messages": {".anyOf", ".allOf"}}
# What a request may be refused for, where dropping it would change what it means, and the words of the refusal that name it.
REFUSED = {
    **{(target, "audio"): ("audio",) for target in ("openai_responses", "anthropic_messages", "cohere_v2", "ollama")},
    **{(target, "video"): ("video",) for target in ("openai_responses", "anthropic_messages", "cohere_v2", "ollama")},
    **{(target, "document"): ("application/pdf", "document") for target in ("cohere_v2", "ollama")},
}
# What one provider holds no other has: named in every refusal by the caller's own name of it.
HELD = {"file": ("file", "uploaded"), "background": ("background",), "previous_response_id": ("previous_response_id",), "conversation": ("conversation",), "prompt": ("prompt",),
        "item_reference": ("item_reference",), "cached_content": ("cachedContent",), "guardrailConfig": ("guardrailConfig",)}


def called(caller, member):
    """The names by which a caller may have given a member."""
    own = NAMES[caller].get(member) or NAMES[""].get(member) or {member}
    if caller != "gemini":
        return own
    return own | {"".join("_" + letter.lower() if letter.isupper() else letter for letter in name) for name in own}


def lacks(target, member, value=None):
    """Whether a dialect has nothing for a member, or not for this value of it."""
    found = LACKS[target].get(member, False)
    return found(value) if callable(found) else found
