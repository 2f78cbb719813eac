"""Responses requests."""

from . import openai_chat
from .form import Meaning, common, texts

READ = {"model", "input", "instructions", "stream", "tools", "tool_choice", "parallel_tool_calls", "text", "max_output_tokens", "temperature", "top_p",
        "top_k", "seed", "stop", "n", "frequency_penalty", "presence_penalty", "top_logprobs", "reasoning", "user", "safety_identifier", "metadata",
        "service_tier", "include", "previous_response_id", "conversation", "prompt", "background"}
LOGPROBS, SEALED = "message.output_text.logprobs", "reasoning.encrypted_content"
MESSAGE = {"type", "role", "content", "id", "status", "name"}


def read(body, _path=""):
    meaning = Meaning()
    meaning.instruct(body.get("instructions"))
    items = body.get("input") or []
    for item in [{"role": "user", "content": items}] if isinstance(items, str) else items:
        one(meaning, item)
    for tool in body.get("tools") or []:
        offer(meaning, tool)
    openai_chat.choice(meaning, body.get("tool_choice"))
    meaning.ask("parallel_tool_calls", body.get("parallel_tool_calls"))
    text = body.get("text") or {}
    openai_chat.form(meaning, text.get("format") or {})
    if text.get("verbosity"):
        meaning.rest["verbosity"] = text["verbosity"]
    meaning.ask("max_output", body.get("max_output_tokens"))
    common(meaning, body)
    include = body.get("include") or []
    meaning.ask("logprobs", LOGPROBS in include or None)
    # What is sealed is told to every caller anyway.
    if others := [one for one in include if one not in (LOGPROBS, SEALED)]:
        meaning.rest["include"] = others
    meaning.ask("top_logprobs", body.get("top_logprobs"))
    meaning.ask("service_tier", body.get("service_tier"))
    meaning.ask("user", body.get("user") or body.get("safety_identifier"))
    meaning.ask("metadata", body.get("metadata") or None)
    meaning.ask("stream", bool(body.get("stream")))
    reasoning = body.get("reasoning") or {}
    shown = reasoning.get("summary") or reasoning.get("generate_summary")
    meaning.think(effort=reasoning.get("effort"), shown=True if shown else None)
    meaning.keep(reasoning, {"effort", "summary", "generate_summary"}, "reasoning")
    meaning.keep(body, READ)
    meaning.held |= {name for name in ("previous_response_id", "conversation", "prompt", "background") if body.get(name)}
    return meaning


def offer(meaning, tool):
    if tool["type"] in ("function", "custom"):
        is_function = tool["type"] == "function"
        schema, strict = (tool.get("parameters"), tool.get("strict")) if is_function else (openai_chat.FREE, False)
        meaning.tool(tool["name"], tool.get("description"), schema, strict)
        meaning.keep({"tools.defer_loading": tool.get("defer_loading")}, ())
    elif tool["type"] == "namespace":
        for inner in tool["tools"]:
            offer(meaning, inner)
    else:
        meaning.offer(tool["type"])


def one(meaning, item):
    kind, role = item.get("type", "message"), item.get("role")
    if kind == "message":
        meaning.keep({f"messages.{name}": item[name] for name in item.keys() - MESSAGE}, ())
        content = item["content"]
        if role in ("system", "developer"):
            for part in [{"text": content}] if isinstance(content, str) else content:
                meaning.instruct(texts(part))
                meaning.mark(openai_chat.marked(part), "system")
            return
        for part in [{"type": "input_text", "text": content}] if isinstance(content, str) else content:
            part_of(meaning, role, part)
    elif kind in ("function_call", "custom_tool_call"):
        meaning.call(item["call_id"], item["name"], item.get("arguments", item.get("input")))
    elif kind in ("function_call_output", "custom_tool_call_output"):
        output = item["output"]
        of = meaning.result(item["call_id"], texts(output))
        for part in output if isinstance(output, list) else []:
            if part["type"] not in ("input_text", "output_text"):
                part_of(meaning, "tool", part, of)
    elif kind == "reasoning":
        text = "".join(part["text"] for part in item.get("content") or item.get("summary") or [])
        meaning.reason(text, item.get("encrypted_content"))
    elif kind == "item_reference":
        meaning.held.add("item_reference")
    else:
        meaning.server.append(kind)


def part_of(meaning, role, part, of=None):
    match part["type"]:
        case "input_text" | "output_text" | "text":
            meaning.text(role, part["text"])
        case "refusal":
            meaning.text(role, part["refusal"])
        case "input_image":
            if part.get("file_id"):
                meaning.held.add("file")
            meaning.media(role, "image", part.get("image_url") or part.get("file_id"), of=of, detail=part.get("detail"))
        case "input_audio":
            meaning.media(role, "audio", part["input_audio"]["data"], of=of)
        case "input_file":
            if part.get("file_id"):
                meaning.held.add("file")
            data = part.get("file_data") or part.get("file_url") or part.get("file_id")
            meaning.media(role, "document", data, of=of, title=part.get("filename"))
        case other:
            meaning.server.append(other)
    meaning.mark(openai_chat.marked(part))
