"""Requests written by hand, for members that no recording has: in each dialect all that it can say, a few members a request."""

import base64
import json

import recorded

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(range(200, 240))).decode()
GIF = base64.b64encode(b"GIF89a" + bytes(range(160, 200))).decode()
PDF = base64.b64encode(b"%PDF-1.7\n" + bytes(range(130, 180))).decode()
WAV = base64.b64encode(b"RIFF\xff\xfe\xfd\xfcWAVEfmt " + bytes(range(128, 160))).decode()
URL = "https://example.com/cat.png"
RICH = {
    "type": "object",
    "properties": {
        "unit": {"type": "string", "enum": ["celsius", "kelvin"], "description": "Which scale."},
        "days": {"type": "integer", "minimum": 1, "maximum": 14},
        "name": {"type": "string", "minLength": 2, "maxLength": 9, "pattern": "^[a-z]+$"},
        "when": {"type": "string", "format": "date"},
        "tags": {"type": "array", "items": {"type": "string", "enum": ["a", "b"]}, "minItems": 1, "maxItems": 3},
        "place": {"anyOf": [{"type": "string"}, {"type": "object", "properties": {"lat": {"type": "number"}}, "required": ["lat"]}]},
        "note": {"type": ["string", "null"]},
        "kind": {"const": "weather"},
    },
    "required": ["unit", "kind"],
    "additionalProperties": False,
}
SHAPE = {"type": "object", "properties": {"mood": {"type": "string", "enum": ["good", "bad"]}, "score": {"type": "integer"}}, "required": ["mood", "score"],
         "additionalProperties": False}
SMALL = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
ASK = "What is the weather?"
PARIS, ROME = {"city": "Paris"}, {"city": "Rome"}
SIGNED = "c2lnbmF0dXJlIG9mIHRoZSBtYWtlcg=="


def user(text=ASK):
    return {"role": "user", "content": text}


def functions(**more):
    return [{"type": "function", "function": {"name": "weather", "description": "Tells it.", "parameters": RICH, **more}},
            {"type": "function", "function": {"name": "time", "description": "Tells the time.", "parameters": SMALL, **more}}]


def chat_loop(extra=()):
    calls = [{"id": name, "type": "function", "function": {"name": "time", "arguments": json.dumps(where)}} for name, where in (("call_p", PARIS), ("call_r", ROME))]
    results = [{"role": "tool", "tool_call_id": name, "content": text} for name, text in (("call_r", "one o'clock"), ("call_p", "two o'clock"))]
    return [user(), {"role": "assistant", "content": "I look.", "tool_calls": calls, **dict(extra)}, *results, user("And?")]


def chat_image(data, **more):
    return {"type": "image_url", "image_url": {"url": data, **more}}


def blocks(*inner, role="user"):
    return {"role": role, "content": list(inner)}


def said(*parts):
    return [{"role": "user", "content": list(parts)}]


OPENAI_CHAT = {
    "sampling": {"temperature": 0.3, "top_p": 0.8, "seed": 7, "frequency_penalty": 0.4, "presence_penalty": 0.2, "stop": ["END", "STOP"], "max_completion_tokens": 77},
    "several": {"n": 2}, "logprobs": {"logprobs": True, "top_logprobs": 3}, "streamed": {"stream": True},
    "loop": {"messages": chat_loop(), "tools": functions()},
    "required": {"tools": functions(), "tool_choice": "required", "parallel_tool_calls": False},
    "strict": {"tools": functions(strict=True), "tool_choice": "none"},
    "chosen": {"tools": functions(), "tool_choice": {"type": "function", "function": {"name": "time"}}},
    "allowed": {"tools": functions(), "tool_choice": {"type": "allowed_tools", "allowed_tools": {
        "mode": "required", "tools": [{"type": "function", "function": {"name": "time"}}]}}},
    "schema": {"response_format": {"type": "json_schema", "json_schema": {"name": "mood", "schema": SHAPE, "strict": True}}},
    "rich_schema": {"response_format": {"type": "json_schema", "json_schema": {"name": "weather", "schema": RICH}}},
    "json": {"response_format": {"type": "json_object"}, "messages": [user("Answer as JSON.")]},
    "images": {"messages": said({"type": "text", "text": "First"}, chat_image(f"data:image/png;base64,{PNG}", detail="high"), {"type": "text", "text": "then"},
                                chat_image(f"data:image/gif;base64,{GIF}"), {"type": "text", "text": "last"}, chat_image(URL))},
    "pdf": {"messages": said({"type": "text", "text": "Read"}, {"type": "file", "file": {"filename": "rules.pdf", "file_data": f"data:application/pdf;base64,{PDF}"}})},
    "audio": {"messages": said({"type": "text", "text": "Hear"}, {"type": "input_audio", "input_audio": {"data": WAV, "format": "wav"}})},
    "effort": {"reasoning_effort": "low"}, "no_effort": {"reasoning_effort": "none"},
    "about": {"user": "user-1", "service_tier": "flex", "messages": [{"role": "user", "name": "ada", "content": ASK}]},
    "notes": {"store": True, "metadata": {"team": "blue"}},
    "system": {"messages": [{"role": "system", "content": "Be kind."}, user(), {"role": "assistant", "content": "Where?"}, {"role": "developer", "content": "Be brief."}, user("Here.")]},
    "cache": {"messages": [{"role": "system", "content": [{"type": "text", "text": "Be kind.", "cache_control": {"type": "ephemeral"}}]},
                           *said({"type": "text", "text": ASK, "cache_control": {"type": "ephemeral", "ttl": "1h"}})]},
    "breakpoint": {"messages": [{"role": "system", "content": [{"type": "text", "text": "Be kind.", "prompt_cache_breakpoint": {"mode": "explicit"}}]}, user()]},
    "reasoning": {"messages": chat_loop({"reasoning_content": "They ask twice."}), "tools": functions()},
    "search": {"web_search_options": {}},
    "unknown": {"logit_bias": {"50256": -100}, "prediction": {"type": "content", "content": "sun"}},
}


TREE = {"type": "object", "properties": {"root": {"$ref": "#/$defs/node"}}, "$defs": {"node": {"type": "object", "properties": {
    "value": {"type": "number", "exclusiveMinimum": 0, "multipleOf": 0.5}, "children": {"type": "array", "items": {"$ref": "#/$defs/node"}, "uniqueItems": True}}}}}
CHOICE = {"type": "object", "oneOf": [{"properties": {"city": {"type": "string"}}, "required": ["city"]}, {"properties": {"zip": {"type": "integer"}}, "required": ["zip"]}]}
ODD_ID = "call:1/é" + "x" * 70


def called(call_id, name, arguments, result):
    """A call and its result, as Chat Completions has them."""
    call = {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}
    return [{"role": "assistant", "content": None, "tool_calls": [call]}, {"role": "tool", "tool_call_id": call_id, "content": result}]


# What stands at the edge of what is allowed somewhere.
OPENAI_CHAT |= {
    "hot": {"temperature": 1.7}, "top_p_of_one": {"top_p": 1}, "six_stops": {"stop": list("ABCDEF")}, "far_seed": {"seed": 2**40}, "negative_seed": {"seed": -3},
    "negative_penalty": {"frequency_penalty": -1.5, "presence_penalty": 1.5}, "tree": {"tools": [{"type": "function", "function": {"name": "grow", "parameters": TREE}}]},
    "choice": {"tools": [{"type": "function", "function": {"name": "find", "parameters": CHOICE}}]}, "bare": {"tools": [{"type": "function", "function": {"name": "now"}}]},
    "odd_id": {"messages": [user(), *called(ODD_ID, "time", json.dumps(PARIS), "noon")], "tools": functions()},
    "twice": {"messages": [user(), *called("call_1", "time", json.dumps(PARIS), "noon"), *called("call_2", "time", json.dumps(PARIS), "one")], "tools": functions()},
    "empty": {"messages": [user(), *called("call_1", "now", "{}", ""), user("And?")], "tools": [{"type": "function", "function": {"name": "now"}}]},
    "data": {"messages": [user(), *called("call_1", "time", json.dumps(PARIS), '{"hour": 12, "zones": ["CET", "UTC"]}')], "tools": functions()},
    "untold": {"messages": [user(), *called("call_1", "time", json.dumps(PARIS), "noon"), user("And?")]},
    "turns": {"messages": [user("One."), user("Two."), {"role": "assistant", "content": "Three."}, {"role": "assistant", "content": "Four."}, user("Fünf 🌞.")]},
    "begun": {"messages": [{"role": "assistant", "content": "Hello."}, user()]}, "prefilled": {"messages": [user(), {"role": "assistant", "content": "It is"}]},
    "declined": {"messages": [user(), {"role": "assistant", "content": None, "refusal": "I will not."}, user("Please.")]},
    "large": {"max_tokens": 500_000}, "text": {"response_format": {"type": "text"}},
}


def items(*more, between=()):
    calls = [{"type": "function_call", "call_id": name, "name": "time", "arguments": json.dumps(where)} for name, where in (("call_p", PARIS), ("call_r", ROME))]
    results = [{"type": "function_call_output", "call_id": name, "output": text} for name, text in (("call_r", "one o'clock"), ("call_p", "two o'clock"))]
    return [user(), *between, *calls, *results, *more]


def own(strict=False):
    return [{"type": "function", "strict": strict, **{name: value for name, value in tool["function"].items()}} for tool in functions()]


IMAGE = {"type": "input_image", "image_url": f"data:image/png;base64,{PNG}", "detail": "low"}
OPENAI_RESPONSES = {
    "sampling": {"temperature": 0.3, "top_p": 0.8, "max_output_tokens": 77}, "logprobs": {"include": ["message.output_text.logprobs"], "top_logprobs": 3},
    "streamed": {"stream": True}, "loop": {"input": items(user("And?")), "tools": own()},
    "required": {"tools": own(), "tool_choice": "required", "parallel_tool_calls": False}, "strict": {"tools": own(True)},
    "chosen": {"tools": own(), "tool_choice": {"type": "function", "name": "time"}},
    "allowed": {"tools": own(), "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "time"}]}},
    "schema": {"text": {"format": {"type": "json_schema", "name": "mood", "schema": SHAPE, "strict": True}}},
    "images": {"input": said({"type": "input_text", "text": "First"}, IMAGE, {"type": "input_text", "text": "then"}, {"type": "input_image", "image_url": URL})},
    "pdf": {"input": said({"type": "input_text", "text": "Read"}, {"type": "input_file", "filename": "rules.pdf", "file_data": f"data:application/pdf;base64,{PDF}"})},
    "effort": {"reasoning": {"effort": "high", "summary": "auto"}},
    "about": {"safety_identifier": "user-1", "service_tier": "priority", "metadata": {"team": "blue"}, "text": {"verbosity": "low"}},
    "shown": {"input": [*items()[:3], {"type": "function_call_output", "call_id": "call_p", "output": [{"type": "input_text", "text": "look"}, IMAGE]},
                        {"type": "function_call_output", "call_id": "call_r", "output": "dark"}], "tools": own()},
    "reasoning": {"input": items(between=[{"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "They ask."}], "encrypted_content": SIGNED}]),
                  "tools": own(), "include": ["reasoning.encrypted_content"]},
    "custom": {"tools": [{"type": "custom", "name": "shell", "description": "Runs it."}],
               "input": [user(), {"type": "custom_tool_call", "call_id": "call_1", "name": "shell", "input": "ls"},
                         {"type": "custom_tool_call_output", "call_id": "call_1", "output": "files"}]},
    "breakpoint": {"input": said({"type": "input_text", "text": ASK, "prompt_cache_breakpoint": {"mode": "explicit"}})},
    "file_url": {"input": said({"type": "input_file", "file_url": "https://example.com/rules.pdf"}, {"type": "input_text", "text": "Read"})},
    "effort_none": {"reasoning": {"effort": "none"}}, "instructed": {"instructions": "Be kind.", "input": [{"role": "developer", "content": "Be brief."}, user()]},
    "search": {"tools": [{"type": "web_search"}]}, "limits": {"truncation": "auto", "max_tool_calls": 3},
}


def uses(*before, fail=False, inner=None):
    calls = [{"type": "tool_use", "id": name, "name": "time", "input": where} for name, where in (("toolu_p", PARIS), ("toolu_r", ROME))]
    results = [{"type": "tool_result", "tool_use_id": "toolu_r", "content": "one o'clock"}, {"type": "tool_result", "tool_use_id": "toolu_p", "content": inner or "two o'clock"}]
    if fail:
        results[1]["is_error"] = True
    return [user(), {"role": "assistant", "content": [*before, *calls]}, {"role": "user", "content": [*results, {"type": "text", "text": "And?"}]}]


def claudes(**more):
    return [{"name": tool["function"]["name"], "description": tool["function"]["description"], "input_schema": tool["function"]["parameters"], **more} for tool in functions()]


EPHEMERAL = {"type": "ephemeral"}
INLINE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}
ANTHROPIC_MESSAGES = {
    "sampling": {"temperature": 0.3, "top_k": 40, "stop_sequences": ["END", "STOP"]}, "nucleus": {"top_p": 0.8}, "streamed": {"stream": True},
    "loop": {"messages": uses({"type": "text", "text": "I look."}), "tools": claudes()}, "failed": {"messages": uses(fail=True), "tools": claudes()},
    "required": {"tools": claudes(), "tool_choice": {"type": "any", "disable_parallel_tool_use": True}}, "none": {"tools": claudes(), "tool_choice": {"type": "none"}},
    "chosen": {"tools": claudes(), "tool_choice": {"type": "tool", "name": "time"}}, "strict": {"tools": claudes(strict=True)},
    "schema": {"output_config": {"format": {"type": "json_schema", "schema": SHAPE}}},
    "images": {"messages": said({"type": "text", "text": "First"}, INLINE, {"type": "text", "text": "then"}, {"type": "image", "source": {"type": "url", "url": URL}})},
    "pdf": {"messages": said({"type": "document", "title": "rules", "context": "Of a pool.", "citations": {"enabled": True},
                              "source": {"type": "base64", "media_type": "application/pdf", "data": PDF}}, {"type": "text", "text": "Read"})},
    "plain": {"messages": said({"type": "document", "title": "rules", "source": {"type": "text", "media_type": "text/plain", "data": "No running. No shouting."}},
                               {"type": "text", "text": "Read"})},
    "shown": {"messages": uses(inner=[{"type": "text", "text": "look"}, INLINE]), "tools": claudes()},
    "budget": {"thinking": {"type": "enabled", "budget_tokens": 2048}, "max_tokens": 4096}, "adaptive": {"thinking": {"type": "adaptive"}, "output_config": {"effort": "low"}},
    "off": {"thinking": {"type": "disabled"}},
    "reasoning": {"messages": uses({"type": "thinking", "thinking": "They ask.", "signature": SIGNED}, {"type": "redacted_thinking", "data": "c2VjcmV0"}), "tools": claudes(),
                  "thinking": {"type": "enabled", "budget_tokens": 2048}, "max_tokens": 4096},
    "cache": {"system": [{"type": "text", "text": "Be kind.", "cache_control": EPHEMERAL}], "tools": claudes(cache_control={"type": "ephemeral", "ttl": "1h"}),
              "messages": said({"type": "text", "text": ASK, "cache_control": EPHEMERAL})},
    "about": {"metadata": {"user_id": "user-1"}, "service_tier": "standard_only"},
    "cached_result": {"messages": uses(inner=[{"type": "text", "text": "two o'clock", "cache_control": EPHEMERAL}]), "tools": claudes()},
    "failed_shown": {"messages": uses(fail=True, inner=[{"type": "text", "text": "look"}, INLINE]), "tools": claudes()},
    "pdf_url": {"messages": said({"type": "document", "source": {"type": "url", "url": "https://example.com/rules.pdf"}}, {"type": "text", "text": "Read"})},
    "interleaved": {"messages": [user(), {"role": "assistant", "content": [{"type": "text", "text": "First"}, {"type": "tool_use", "id": "toolu_p", "name": "time", "input": PARIS},
                                                                          {"type": "text", "text": "then"}]},
                                 blocks({"type": "tool_result", "tool_use_id": "toolu_p", "content": "noon"})], "tools": claudes()},
    "search": {"tools": [{"type": "web_search_20250305", "name": "web_search", "max_uses": 2}]}, "automatic": {"cache_control": EPHEMERAL},
}


def parts(*inner, role="user"):
    return {"role": role, "parts": list(inner)}


def turns(*more, fail=False, proof=None, inner=None):
    calls = [{"functionCall": {"id": name, "name": "time", "args": where}} for name, where in (("p", PARIS), ("r", ROME))]
    if proof:
        calls[0]["thoughtSignature"] = proof
    results = [{"functionResponse": {"id": "r", "name": "time", "response": {"output": "one o'clock"}}},
               {"functionResponse": {"id": "p", "name": "time", "response": {"error" if fail else "output": "two o'clock"}, **(inner or {})}}]
    return [parts({"text": ASK}), parts(*more, *calls, role="model"), parts(*results), parts({"text": "And?"})]


def declared():
    return [{"functionDeclarations": [{"name": tool["function"]["name"], "description": tool["function"]["description"],
                                       "parametersJsonSchema": tool["function"]["parameters"]} for tool in functions()]}]


def calling(**config):
    return {"tools": declared(), "toolConfig": {"functionCallingConfig": config}}


def config(**members):
    return {"generationConfig": members}


GEMINI = {
    "sampling": config(temperature=0.3, topP=0.8, topK=40, seed=7, frequencyPenalty=0.4, presencePenalty=0.2, stopSequences=["END", "STOP"], maxOutputTokens=77),
    "several": config(candidateCount=2), "logprobs": config(responseLogprobs=True, logprobs=3), "loop": {"contents": turns(), "tools": declared()},
    "failed": {"contents": turns(fail=True), "tools": declared()}, "required": calling(mode="ANY"), "none": calling(mode="NONE"),
    "chosen": calling(mode="ANY", allowedFunctionNames=["time"]), "both": calling(mode="ANY", allowedFunctionNames=["time", "weather"]),
    "schema": config(responseMimeType="application/json", responseJsonSchema=SHAPE), "json": config(responseMimeType="application/json"),
    "old_schema": config(responseMimeType="application/json", responseSchema={
        "type": "OBJECT", "properties": {"mood": {"type": "STRING", "enum": ["good", "bad"]}, "note": {"type": "STRING", "nullable": True}}, "required": ["mood"]}),
    "images": {"contents": [parts({"text": "First"}, {"inlineData": {"mimeType": "image/png", "data": PNG}}, {"text": "then"},
                                  {"fileData": {"mimeType": "image/png", "fileUri": URL}}, {"text": "last"})]},
    "pdf": {"contents": [parts({"inlineData": {"mimeType": "application/pdf", "data": PDF}}, {"text": "Read"})]},
    "audio": {"contents": [parts({"inlineData": {"mimeType": "audio/wav", "data": WAV}}, {"text": "Hear"})]},
    "shown": {"contents": turns(inner={"parts": [{"inlineData": {"mimeType": "image/png", "data": PNG}}]}), "tools": declared()},
    "budget": config(thinkingConfig={"thinkingBudget": 2048, "includeThoughts": True}), "level": config(thinkingConfig={"thinkingLevel": "LOW"}),
    "off": config(thinkingConfig={"thinkingBudget": 0}), "reasoning": {"contents": turns({"text": "They ask.", "thought": True}, proof=SIGNED), "tools": declared()},
    "search": {"tools": [{"googleSearch": {}}]}, "code": {"tools": [{"codeExecution": {}}, {"urlContext": {}}]},
    "unnamed": {"contents": [parts({"text": ASK}), parts(*({"functionCall": {"name": "time", "args": where}} for where in (PARIS, ROME)), role="model"),
                             parts(*({"functionResponse": {"name": "time", "response": {"output": text}}} for text in ("one", "two")))], "tools": declared()},
    "safety": {"safetySettings": [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}]},
}


def converse_loop(*before, status="success", inner=()):
    calls = [{"toolUse": {"toolUseId": name, "name": "time", "input": where}} for name, where in (("tu_p", PARIS), ("tu_r", ROME))]
    results = [{"toolResult": {"toolUseId": "tu_r", "content": [{"json": {"hour": 1}}], "status": "success"}},
               {"toolResult": {"toolUseId": "tu_p", "content": [{"text": "two o'clock"}, *inner], "status": status}}]
    return [blocks({"text": ASK}), blocks(*before, *calls, role="assistant"), blocks(*results, {"text": "And?"})]


def specs(choice=None, mark=False):
    tools = [{"toolSpec": {"name": tool["function"]["name"], "description": tool["function"]["description"], "inputSchema": {"json": tool["function"]["parameters"]}}}
             for tool in functions()]
    return {"tools": tools + [{"cachePoint": {"type": "default"}}] * mark, **({"toolChoice": choice} if choice else {})}


BEDROCK_CONVERSE = {
    "sampling": {"inferenceConfig": {"temperature": 0.3, "topP": 0.8, "maxTokens": 77, "stopSequences": ["END", "STOP"]}}, "top_k": {"additionalModelRequestFields": {"top_k": 40}},
    "loop": {"messages": converse_loop({"text": "I look."}), "toolConfig": specs()}, "failed": {"messages": converse_loop(status="error"), "toolConfig": specs()},
    "required": {"toolConfig": specs({"any": {}})}, "chosen": {"toolConfig": specs({"tool": {"name": "time"}})},
    "schema": {"outputConfig": {"textFormat": {"type": "json_schema", "structure": {"jsonSchema": {"name": "mood", "schema": json.dumps(SHAPE)}}}}},
    "images": {"messages": [blocks({"text": "First"}, {"image": {"format": "png", "source": {"bytes": PNG}}}, {"text": "then"}, {"image": {"format": "gif", "source": {"bytes": GIF}}})]},
    "pdf": {"messages": [blocks({"document": {"format": "pdf", "name": "rules", "source": {"bytes": PDF}, "citations": {"enabled": True}, "context": "Of a pool."}}, {"text": "Read"})]},
    "shown": {"messages": converse_loop(inner=[{"image": {"format": "png", "source": {"bytes": PNG}}}]), "toolConfig": specs()},
    "budget": {"additionalModelRequestFields": {"thinking": {"type": "enabled", "budget_tokens": 2048}}, "inferenceConfig": {"maxTokens": 4096}},
    "effort": {"outputConfig": {"effort": "high"}},
    "reasoning": {"messages": converse_loop({"reasoningContent": {"reasoningText": {"text": "They ask.", "signature": SIGNED}}}), "toolConfig": specs()},
    "sealed": {"messages": converse_loop({"reasoningContent": {"redactedContent": base64.b64encode(b"c2VjcmV0").decode()}}), "toolConfig": specs()},
    "cache": {"system": [{"text": "Be kind."}, {"cachePoint": {"type": "default"}}], "toolConfig": specs(mark=True),
              "messages": [blocks({"text": ASK}, {"cachePoint": {"type": "default", "ttl": "1h"}})]},
    "about": {"requestMetadata": {"team": "blue"}, "serviceTier": {"type": "flex"}},
    "guarded": {"guardrailConfig": {"guardrailIdentifier": "g1", "guardrailVersion": "1"}},
}
COHERE_V2 = {
    "sampling": {"temperature": 0.3, "p": 0.8, "k": 40, "seed": 7, "frequency_penalty": 0.4, "presence_penalty": 0.2, "stop_sequences": ["END", "STOP"], "max_tokens": 77},
    "logprobs": {"logprobs": True}, "streamed": {"stream": True}, "loop": {"messages": chat_loop(), "tools": functions()},
    "required": {"tools": functions(), "tool_choice": "REQUIRED"}, "none": {"tools": functions(), "tool_choice": "NONE"}, "strict": {"tools": functions(), "strict_tools": True},
    "schema": {"response_format": {"type": "json_object", "json_schema": SHAPE}}, "json": {"response_format": {"type": "json_object"}},
    "images": {"messages": said({"type": "text", "text": "First"}, chat_image(f"data:image/png;base64,{PNG}", detail="high"), {"type": "text", "text": "then"}, chat_image(URL))},
    "documents": {"documents": [{"id": "d1", "data": {"title": "rules", "text": "No running. No shouting."}}]},
    "budget": {"thinking": {"type": "enabled", "token_budget": 2048}}, "off": {"thinking": {"type": "disabled"}},
    "reasoning": {"messages": [user(), {"role": "assistant", "content": [{"type": "thinking", "thinking": "They ask."}, {"type": "text", "text": "Sun."}]}, user("And?")]},
    "plan": {"messages": [user(), {**{name: value for name, value in chat_loop()[1].items() if name != "content"}, "tool_plan": "I look."}, *chat_loop()[2:]], "tools": functions()},
    "safety": {"safety_mode": "STRICT"},
}


def options(**members):
    return {"options": members}


def ollama_loop():
    calls = [{"function": {"name": name, "arguments": PARIS}} for name in ("time", "weather")]
    return [user(), {"role": "assistant", "content": "I look.", "tool_calls": calls}, {"role": "tool", "tool_name": "time", "content": "two o'clock"},
            {"role": "tool", "tool_name": "weather", "content": "sun"}]


OLLAMA = {
    "sampling": options(temperature=0.3, top_p=0.8, top_k=40, seed=7, frequency_penalty=0.4, presence_penalty=0.2, stop=["END", "STOP"], num_predict=77),
    "logprobs": {"logprobs": True, "top_logprobs": 3}, "streamed": {"stream": True}, "loop": {"messages": ollama_loop(), "tools": functions()},
    "schema": {"format": SHAPE}, "json": {"format": "json"},
    "images": {"messages": [{**user(), "images": [PNG, GIF]}]}, "effort": {"think": "low"}, "on": {"think": True}, "off": {"think": False},
    "reasoning": {"messages": [user(), {"role": "assistant", "thinking": "They ask.", "content": "Sun."}, user("And?")]}, "own": {**options(num_ctx=4096), "keep_alive": "5m"},
}
BASE = {
    "openai_chat": {"messages": [user()]}, "openai_responses": {"input": ASK}, "anthropic_messages": {"messages": [user()], "max_tokens": 1000},
    "gemini": {"contents": [parts({"text": ASK})]}, "bedrock_converse": {"messages": [blocks({"text": ASK})]}, "cohere_v2": {"messages": [user()]},
    "ollama": {"messages": [user()], "stream": False},
}
MADE = {"openai_chat": OPENAI_CHAT, "openai_responses": OPENAI_RESPONSES, "anthropic_messages": ANTHROPIC_MESSAGES, "gemini": GEMINI,
        "bedrock_converse": BEDROCK_CONVERSE, "cohere_v2": COHERE_V2, "ollama": OLLAMA}
VERB = {"gemini": "m:generateContent", "bedrock_converse": "m/converse"}
CASES = [
    recorded.Case(f"made-{dialect}-{name}", dialect, body.get("stream", False), {"path": VERB.get(dialect, ""), "body": {**BASE[dialect], **body}}, {}, {}, [], True, True)
    for dialect, bodies in MADE.items() for name, body in bodies.items()
]
STREAMED = {
    dialect: recorded.Case(f"streamed-{dialect}", dialect, True, {"path": VERB.get(dialect, "").replace("generate", "streamGenerate").replace("converse", "converse-stream"),
                                                                  "body": body if dialect in VERB else {**body, "stream": True}}, {}, {}, [], True, True)
    for dialect, body in BASE.items()
}
CASES += [STREAMED[dialect] for dialect in VERB]
