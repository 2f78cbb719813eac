"""Messages requests."""

from .form import Meaning, common, texts

READ = {"model", "messages", "system", "stream", "tools", "tool_choice", "max_tokens", "temperature", "top_p", "top_k", "stop_sequences", "thinking",
        "output_config", "output_format", "metadata", "service_tier"}


def read(body, _path=""):
    meaning = Meaning()
    instruct(meaning, body.get("system"))
    for message in body["messages"]:
        role, content = message["role"], message["content"]
        if role == "system":
            instruct(meaning, content)
            continue
        for block in [{"type": "text", "text": content}] if isinstance(content, str) else content:
            one(meaning, role, block)
            meaning.mark(block.get("cache_control"))
    for tool in body.get("tools") or []:
        if tool.get("type", "custom") == "custom":
            meaning.tool(tool["name"], tool.get("description"), tool.get("input_schema"), tool.get("strict"))
            meaning.mark(tool.get("cache_control"), "tool", tool["name"])
            meaning.keep({f"tools.{name}": tool.get(name) for name in ("defer_loading", "allowed_callers", "input_examples")}, ())
        else:
            meaning.offer(tool["type"], *([tool["name"]] if tool.get("name") else []))
    choose(meaning, body.get("tool_choice") or {})
    config = body.get("output_config") or {}
    form = config.get("format") or body.get("output_format") or {}
    if form.get("type") == "json_schema":
        meaning.ask("format", {"schema": form.get("schema"), "name": None, "strict": None})
    meaning.ask("max_output", body.get("max_tokens"))
    common(meaning, body, stop="stop_sequences")
    meaning.ask("user", (body.get("metadata") or {}).get("user_id"))
    meaning.ask("service_tier", {"standard_only": "default"}.get(body.get("service_tier"), body.get("service_tier")))
    meaning.ask("stream", bool(body.get("stream")))
    think(meaning, body.get("thinking") or {}, config)
    meaning.keep(body, READ)
    meaning.keep(config, {"format", "effort"}, "output_config")
    if any(block.get("type") == "container_upload" for message in body["messages"] for block in message["content"] if isinstance(block, dict)):
        meaning.held.add("file")
    return meaning


def instruct(meaning, content):
    for block in [{"text": content}] if isinstance(content, str) else content or []:
        meaning.instruct(block.get("text"))
        meaning.mark(block.get("cache_control"), "system")
        if block.get("type") not in (None, "text"):
            meaning.server.append(block["type"])


def one(meaning, role, block):
    match block["type"]:
        case "text":
            meaning.text(role, block["text"])
        case "image" | "document":
            media(meaning, role, block)
        case "thinking":
            meaning.reason(block["thinking"], block.get("signature"))
        case "redacted_thinking":
            meaning.reason("", block["data"])
        case "tool_use":
            meaning.call(block["id"], block["name"], block["input"])
        case "tool_result":
            inner = block.get("content")
            of = meaning.result(block["tool_use_id"], texts(inner), failed=block.get("is_error"))
            for part in inner if isinstance(inner, list) else []:
                if part["type"] in ("image", "document"):
                    media(meaning, "tool", part, of)
                meaning.mark(part.get("cache_control"))
        case other:
            meaning.server.append(other)


def media(meaning, role, block, of=None):
    source = block["source"]
    about = {"title": block.get("title"), "context": block.get("context"), "citable": (block.get("citations") or {}).get("enabled", False), "of": of}
    if source["type"] in ("text", "content"):
        meaning.document(role, source.get("data") or texts(source.get("content")), **about)
        return
    if source.get("file_id"):
        meaning.held.add("file")
    meaning.media(role, block["type"], source.get("data") or source.get("url") or source.get("file_id"), mime=source.get("media_type"), **about)


def choose(meaning, choice):
    meaning.allowed = {choice["name"]} if "name" in choice else set()
    meaning.ask("tool_choice", {"any": "required"}.get(choice.get("type"), choice.get("name") or choice.get("type")))
    if "disable_parallel_tool_use" in choice:
        meaning.ask("parallel_tool_calls", not choice["disable_parallel_tool_use"])


def think(meaning, thinking, config):
    on = {"enabled": True, "adaptive": True, "disabled": False}.get(thinking.get("type"))
    shown = thinking.get("display") != "omitted" if on and "display" in thinking else None
    meaning.keep(thinking, {"type", "budget_tokens", "display"}, "thinking")
    meaning.think(on=on, budget=thinking.get("budget_tokens"), effort=config.get("effort") if on is not False else None, shown=shown)
