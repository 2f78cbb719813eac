"""Cohere's v2 chat requests."""

import json

from .form import Meaning, common

READ = {"model", "messages", "stream", "documents", "tools", "tool_choice", "strict_tools", "response_format", "max_tokens", "temperature", "p", "k", "seed",
        "stop_sequences", "frequency_penalty", "presence_penalty", "logprobs", "thinking"}


def read(body, _path=""):
    meaning = Meaning()
    # Answers cite documents unless told not to.
    citable = (body.get("citation_options") or {}).get("mode", "").lower() not in ("off", "disabled")
    for document in body.get("documents") or []:
        add_document(meaning, "user", document, citable)
    for message in body["messages"]:
        one(meaning, message)
    for tool in body.get("tools") or []:
        inner = tool["function"]
        meaning.tool(inner["name"], inner.get("description"), inner.get("parameters"), body.get("strict_tools"))
    meaning.ask("tool_choice", (body.get("tool_choice") or "").lower() or None)
    form = body.get("response_format") or {}
    if schema := form.get("json_schema") or form.get("schema"):
        meaning.ask("format", {"schema": schema, "name": None, "strict": None})
    elif form.get("type") == "json_object":
        meaning.ask("format", "json")
    meaning.ask("max_output", body.get("max_tokens"))
    common(meaning, body, top_p="p", top_k="k", stop="stop_sequences")
    meaning.ask("logprobs", body.get("logprobs"))
    meaning.ask("stream", bool(body.get("stream")))
    thinking = body.get("thinking") or {}
    meaning.think(on={"enabled": True, "disabled": False}.get(thinking.get("type")), budget=thinking.get("token_budget"))
    meaning.keep(body, READ)
    return meaning


def one(meaning, message):
    role, content = message["role"], message.get("content")
    parts = [{"type": "text", "text": content}] if isinstance(content, str) else content or []
    if role == "system":
        for part in parts:
            meaning.instruct(part["text"])
        return
    if role == "tool":
        words = [words_of(part["document"]) if part["type"] == "document" else part["text"] for part in parts]
        meaning.result(message.get("tool_call_id"), "".join(words))
        return
    # "A chain-of-thought style reflection and plan".
    meaning.reason(message.get("tool_plan"))
    of = None
    for part in parts:
        if part["type"] == "text" and (found := meaning.introduced(part["text"])) is not None:
            of = found
        elif part["type"] == "text":
            meaning.text(role, part["text"])
        elif part["type"] == "thinking":
            meaning.reason(part["thinking"], part.get("signature"))
        elif part["type"] == "image_url":
            meaning.media(role, "image", part["image_url"]["url"], of=of, detail=part["image_url"].get("detail"))
            of = None
        elif part["type"] == "document":
            add_document(meaning, role, part["document"], False)
        else:
            meaning.server.append(part["type"])
    for call in message.get("tool_calls") or []:
        meaning.call(call.get("id"), call["function"]["name"], call["function"]["arguments"])


def add_document(meaning, role, document, citable):
    document = {"data": document} if isinstance(document, str) else document
    title = document["data"].get("title") if isinstance(document["data"], dict) else None
    meaning.document(role, words_of(document), title=title, citable=citable)


def words_of(document):
    """The words of a document: all that it has but for its title, where that is one text; else its fields."""
    data = document.get("data")
    if isinstance(data, str):
        return data
    words = [value for name, value in data.items() if name in ("text", "content", "snippet", "data")]
    alone = len(words) == 1 and isinstance(words[0], str) and set(data) <= {"text", "content", "snippet", "data", "title"}
    return words[0] if alone else json.dumps(data, sort_keys=True)
