"""generateContent requests; members may be written in camel case and in snake case."""

import re

from .form import Meaning, common, texts
from .media import kind_of

AS_THEY_ARE = ("parameters", "parameters_json_schema", "response_schema", "response_json_schema", "args", "response", "labels")
READ = {"contents", "system_instruction", "tools", "tool_config", "generation_config", "model", "labels", "service_tier", "cached_content"}
CONFIG = {"max_output_tokens", "temperature", "top_p", "top_k", "seed", "stop_sequences", "candidate_count", "frequency_penalty", "presence_penalty",
          "response_logprobs", "logprobs", "response_mime_type", "response_schema", "response_json_schema", "thinking_config"}


def snake(value, keep=AS_THEY_ARE):
    """A body with all names in snake case; below the names in `keep` nothing is touched."""
    if isinstance(value, list):
        return [snake(part, keep) for part in value]
    if not isinstance(value, dict):
        return value
    out = {}
    for name, part in value.items():
        named = re.sub(r"(?<=[a-z0-9])([A-Z])", lambda match: "_" + match[1].lower(), name)
        out[named] = part if named in keep else snake(part, keep)
    return out


def read(body, path=""):
    body, meaning = snake(body), Meaning()
    instruction = body.get("system_instruction")
    meaning.instruct(texts(instruction.get("parts")) if isinstance(instruction, dict) else texts(instruction))
    contents = body["contents"]
    for content in contents if isinstance(contents, list) else [contents]:
        role = {"model": "assistant"}.get(content.get("role"), "user")
        of = None
        for part in content.get("parts") or []:
            of = one(meaning, role, part, of)
    for tool in body.get("tools") or []:
        for name, inner in tool.items():
            if name == "function_declarations":
                for function in inner:
                    schema = function.get("parameters_json_schema") or function.get("parameters")
                    meaning.tool(function["name"], function.get("description"), schema)
            elif inner is not None:
                meaning.offer(name)
    choose(meaning, body.get("tool_config") or {})
    configure(meaning, body.get("generation_config") or {})
    meaning.ask("metadata", body.get("labels") or None)
    tier = body.get("service_tier")
    meaning.ask("service_tier", {"standard": "default"}.get(tier, tier))
    meaning.ask("stream", "stream" in path)
    if body.get("cached_content"):
        meaning.held.add("cached_content")
    meaning.keep(body, READ)
    return meaning


def one(meaning, role, part, of):
    """One part, `of` a call where it was introduced so; the answer is the call that the next one is introduced to be of."""
    proof = part.get("thought_signature")
    if part.get("thought"):
        meaning.reason(part.get("text"), proof)
    elif call := part.get("function_call"):
        meaning.call(call.get("id"), call["name"], call.get("args"), proof)
    elif result := part.get("function_response"):
        response = result.get("response")
        failed = isinstance(response, dict) and list(response) == ["error"]
        of = meaning.result(result.get("id"), response, name=result.get("name"), failed=failed)
        for inner in result.get("parts") or []:
            inline(meaning, "tool", inner, of)
    elif part.get("inline_data") or part.get("file_data"):
        inline(meaning, role, part, of)
    elif part.get("text"):
        if (found := meaning.introduced(part["text"])) is not None:
            return found
        meaning.text(role, part["text"])
        meaning.reason("", proof)
    elif proof and not set(part) - {"thought_signature", "text"}:
        meaning.reason("", proof)
    elif other := sorted(set(part) - {"thought_signature", "text", "video_metadata"}):
        meaning.server.append(other[0])
    return None


def inline(meaning, role, part, of=None):
    data = part.get("inline_data") or part.get("file_data") or {}
    uri = data.get("file_uri") or ""
    if "/files/" in uri:
        meaning.held.add("file")
    title = data.get("display_name")
    detail = {"media_resolution_low": "low", "media_resolution_high": "high"}.get(str((part.get("media_resolution") or {}).get("level", "")).lower())
    meaning.media(role, kind_of(data.get("mime_type")), data.get("data") or uri, mime=data.get("mime_type"), of=of, title=title, detail=detail)


def choose(meaning, config):
    calling = config.get("function_calling_config") or {}
    names = calling.get("allowed_function_names") or []
    meaning.allowed = set(names)
    mode = (calling.get("mode") or "").lower()
    is_one = mode == "any" and len(names) == 1
    meaning.ask("tool_choice", names[0] if is_one else {"any": "required", "mode_unspecified": None}.get(mode, mode or None))
    meaning.keep(config, {"function_calling_config"}, "tool_config")


def configure(meaning, config):
    if schema := config.get("response_json_schema") or config.get("response_schema"):
        meaning.ask("format", {"schema": schema, "name": None, "strict": None})
    elif config.get("response_mime_type") == "application/json":
        meaning.ask("format", "json")
    elif config.get("response_mime_type") not in (None, "text/plain"):
        meaning.rest["response_mime_type"] = config["response_mime_type"]
    meaning.ask("max_output", config.get("max_output_tokens"))
    common(meaning, config, stop="stop_sequences")
    meaning.ask("n", config.get("candidate_count"))
    meaning.ask("logprobs", config.get("response_logprobs"))
    meaning.ask("top_logprobs", config.get("logprobs"))
    thinking = config.get("thinking_config") or {}
    budget, level = thinking.get("thinking_budget"), (thinking.get("thinking_level") or "").lower() or None
    # A budget of -1 leaves it to the model.
    meaning.think(on=True if budget == -1 else None, budget=None if budget == -1 else budget, effort=level, shown=thinking.get("include_thoughts"))
    rest = dict(config)
    if [str(one).upper() for one in rest.get("response_modalities") or []] == ["TEXT"]:
        del rest["response_modalities"]
    meaning.keep(rest, CONFIG, "generation_config")
