"""Ollama's chat requests."""

from .form import Meaning, common

READ = {"model", "messages", "stream", "tools", "format", "options", "think", "logprobs", "top_logprobs"}
OPTIONS = {"num_predict", "temperature", "top_p", "top_k", "seed", "stop", "frequency_penalty", "presence_penalty"}


def read(body, _path=""):
    meaning = Meaning()
    for message in body["messages"]:
        role, content = message["role"], message.get("content") or ""
        if role == "system":
            meaning.instruct(content)
            continue
        if role == "tool":
            of = meaning.result(message.get("tool_call_id"), content, name=message.get("tool_name"))
        else:
            of = None
            meaning.reason(message.get("thinking"))
            meaning.text(role, content)
        for image in message.get("images") or []:
            meaning.media(role, "image", image, of=of)
        for call in message.get("tool_calls") or []:
            meaning.call(call.get("id"), call["function"]["name"], call["function"]["arguments"])
    for tool in body.get("tools") or []:
        meaning.tool(tool["function"]["name"], tool["function"].get("description"), tool["function"].get("parameters"))
    form = body.get("format")
    if form:
        meaning.ask("format", {"schema": form, "name": None, "strict": None} if isinstance(form, dict) else "json")
    options = body.get("options") or {}
    # -1 and -2 are no limit.
    meaning.ask("max_output", options.get("num_predict") if (options.get("num_predict") or 0) > 0 else None)
    common(meaning, options)
    meaning.ask("logprobs", body.get("logprobs"))
    meaning.ask("top_logprobs", body.get("top_logprobs"))
    # Streaming is what it does unless told otherwise.
    meaning.ask("stream", body.get("stream", True))
    think = body.get("think")
    meaning.think(on=bool(think) if think is not None else None, effort=think if isinstance(think, str) else None)
    meaning.keep(options, OPTIONS, "options")
    meaning.keep(body, READ)
    return meaning
