"""Chat Completions requests, with the members that compatible providers add."""

from .form import Meaning, common, texts

MESSAGE = {"role", "content", "name", "tool_calls", "tool_call_id", "refusal", "function_call", "reasoning_content", "reasoning_details", "reasoning",
           "cache_control", "type"}
READ = {"model", "messages", "stream", "stream_options", "tools", "tool_choice", "parallel_tool_calls", "response_format", "max_tokens",
        "max_completion_tokens", "temperature", "top_p", "top_k", "seed", "stop", "n", "frequency_penalty", "presence_penalty", "logprobs", "top_logprobs",
        "reasoning_effort", "reasoning", "thinking", "user", "safety_identifier", "metadata", "service_tier", "web_search_options"}

# What a tool that takes free text takes where all take JSON.
FREE = {"type": "object", "properties": {"input": {"type": "string"}}, "required": ["input"]}


def read(body, _path=""):
    meaning = Meaning()
    for message in body["messages"]:
        one(meaning, message)
    for tool in body.get("tools") or []:
        # Mistral's tools may leave out what they are.
        kind = tool.get("type", "function")
        inner = tool.get(kind) or {}
        if kind in ("function", "custom"):
            meaning.tool(inner["name"], inner.get("description"), inner.get("parameters") if kind == "function" else FREE, inner.get("strict"))
            meaning.mark(tool.get("cache_control"), "tool", inner["name"])
        else:
            meaning.offer(kind)
    if body.get("web_search_options") is not None:
        meaning.offer("web_search")
    choice(meaning, body.get("tool_choice"))
    meaning.ask("parallel_tool_calls", body.get("parallel_tool_calls"))
    form(meaning, body.get("response_format") or {})
    meaning.ask("max_output", body.get("max_completion_tokens") or body.get("max_tokens"))
    common(meaning, body)
    for name in ("n", "logprobs", "top_logprobs", "service_tier"):
        meaning.ask(name, body.get(name))
    meaning.ask("user", body.get("user") or body.get("safety_identifier"))
    meaning.ask("metadata", body.get("metadata") or None)
    meaning.ask("stream", bool(body.get("stream")))
    thinking(meaning, body)
    meaning.keep(body, READ)
    return meaning


def one(meaning, message):
    role, content = message["role"], message.get("content")
    parts = [{"type": "text", "text": content}] if isinstance(content, str) else content or []
    for name, value in message.items():
        if name not in MESSAGE and value not in (None, False, [], {}, ""):
            meaning.rest[f"messages.{name}"] = value
    if message.get("name") and role != "tool":
        meaning.names.append(message["name"])
    if role in ("system", "developer"):
        for part in parts:
            meaning.instruct(part["text"])
            meaning.mark(marked(part), "system")
    elif role in ("tool", "function"):
        meaning.result(message.get("tool_call_id"), texts(content), name=message.get("name"))
        for part in parts:
            meaning.mark(marked(part))
    else:
        reasoned(meaning, message)
        of = None
        for part in parts:
            of = part_of(meaning, role, part, of)
        if message.get("refusal"):
            meaning.text(role, message["refusal"])
        for call in message.get("tool_calls") or []:
            inner = call.get("function") or {"name": call["custom"]["name"], "arguments": call["custom"]["input"]}
            proof = ((call.get("extra_content") or {}).get("google") or {}).get("thought_signature")
            meaning.call(call["id"], inner["name"], inner["arguments"], proof)


def reasoned(meaning, message):
    details = message.get("reasoning_details") or []
    for detail in details:
        meaning.reason(detail.get("text") or detail.get("summary"), detail.get("signature") or detail.get("data"))
    if not details:
        meaning.reason(message.get("reasoning_content") or message.get("reasoning"))


def part_of(meaning, role, part, of):
    """One part; the answer is the call that the next media is of, where this is the introduction to it."""
    about = {}
    match part["type"]:
        case "text":
            if (found := meaning.introduced(part["text"])) is not None:
                return found
            meaning.text(role, part["text"])
        case "refusal":
            meaning.text(role, part["refusal"])
        case "thinking":
            meaning.reason(texts(part["thinking"]), part.get("signature"))
        case "image_url":
            inner = part["image_url"] if isinstance(part["image_url"], dict) else {"url": part["image_url"]}
            about = {"kind": "image", "data": inner["url"], "detail": inner.get("detail")}
        case "input_audio":
            about = {"kind": "audio", "data": part["input_audio"]["data"]}
        case "file":
            inner = part["file"]
            if inner.get("file_id"):
                meaning.held.add("file")
            about = {"kind": "document", "data": inner.get("file_data") or inner.get("file_id"), "title": inner.get("filename")}
        case "document_url":
            about = {"kind": "document", "data": part["document_url"], "title": part.get("document_name")}
        case "video_url":
            about = {"kind": "video", "data": part["video_url"]["url"]}
        case other:
            meaning.server.append(other)
    if about:
        meaning.media(role, about.pop("kind"), about.pop("data"), of=of, **about)
    meaning.mark(marked(part))
    return None


def marked(part):
    """A mark of the cache: OpenAI's own, or the one that OpenRouter takes."""
    return part.get("prompt_cache_breakpoint") or part.get("cache_control")


def choice(meaning, chosen):
    """A mode, a tool's name, or the mode of several allowed ones; `any` is Mistral's."""
    if isinstance(chosen, dict):
        inner = chosen.get(chosen.get("type"))
        inner = inner if isinstance(inner, dict) else chosen
        mode = inner.get("mode") or inner.get("name")
        tools = inner.get("tools") or []
        if mode == "required" and len(tools) == 1:
            mode = (tools[0].get("function") or tools[0]).get("name")
        meaning.allowed = {(tool.get("function") or tool).get("name") for tool in tools} or {inner.get("name")} - {None}
        chosen = mode or chosen.get("type")
    meaning.ask("tool_choice", {"any": "required"}.get(chosen, chosen))


def form(meaning, asked):
    match asked.get("type"):
        case "json_schema":
            inner = asked.get("json_schema") or asked
            meaning.ask("format", {"schema": inner.get("schema"), "name": inner.get("name"), "strict": inner.get("strict")})
        case "json_object":
            schema = asked.get("schema")
            meaning.ask("format", {"schema": schema, "name": None, "strict": None} if schema else "json")


def thinking(meaning, body):
    inner = body.get("reasoning") or {}
    kind = (body.get("thinking") or {}).get("type")
    on = False if kind == "disabled" or inner.get("enabled") is False else True if kind or inner.get("enabled") else None
    budget = (body.get("thinking") or {}).get("budget_tokens") or inner.get("max_tokens")
    meaning.keep(body.get("thinking") or {}, {"type", "budget_tokens"}, "thinking")
    meaning.keep(inner, {"effort", "max_tokens", "enabled"}, "reasoning")
    meaning.think(on=on, effort=body.get("reasoning_effort") or inner.get("effort"), budget=budget)
