"""Converse requests."""

import base64
import json

from .form import Meaning, common, texts

READ = {"messages", "system", "toolConfig", "inferenceConfig", "outputConfig", "additionalModelRequestFields", "requestMetadata", "serviceTier", "modelId",
        "guardrailConfig", "additionalModelResponseFieldPaths"}
FIELDS = {"thinking", "reasoning_config", "reasoningConfig", "reasoning_effort", "top_k", "inferenceConfig", "output_config", "anthropic_beta"}


def read(body, path=""):
    meaning = Meaning()
    for block in body.get("system") or []:
        meaning.instruct(block.get("text"))
        meaning.mark(block.get("cachePoint"), "system")
    for message in body["messages"]:
        for block in message["content"]:
            one(meaning, message["role"], block)
    config, last = body.get("toolConfig") or {}, ""
    for tool in config.get("tools") or []:
        if spec := tool.get("toolSpec"):
            meaning.tool(spec["name"], spec.get("description"), spec["inputSchema"]["json"], spec.get("strict"))
            last = spec["name"]
        elif system := tool.get("systemTool"):
            meaning.offer(system["name"], "systemTool")
        meaning.mark(tool.get("cachePoint"), "tool", last)
    choice = config.get("toolChoice") or {}
    meaning.allowed = {name for name in [choice.get("tool", {}).get("name")] if name}
    meaning.ask("tool_choice", choice.get("tool", {}).get("name") or ("required" if "any" in choice else "auto" if "auto" in choice else None))
    form = (((body.get("outputConfig") or {}).get("textFormat") or {}).get("structure") or {}).get("jsonSchema") or {}
    if form.get("schema"):
        meaning.ask("format", {"schema": json.loads(form["schema"]), "name": form.get("name"), "strict": None})
    inference = body.get("inferenceConfig") or {}
    meaning.ask("max_output", inference.get("maxTokens"))
    common(meaning, inference, top_p="topP", stop="stopSequences")
    meaning.ask("metadata", body.get("requestMetadata") or None)
    meaning.ask("service_tier", (body.get("serviceTier") or {}).get("type"))
    meaning.ask("stream", "converse-stream" in path)
    more(meaning, body.get("additionalModelRequestFields") or {}, (body.get("outputConfig") or {}).get("effort"))
    if body.get("guardrailConfig"):
        meaning.held.add("guardrailConfig")
    meaning.keep(body, READ)
    return meaning


def more(meaning, fields, effort):
    """What models take beside, and the effort, which the dialect has itself."""
    meaning.ask("top_k", fields.get("top_k") or (fields.get("inferenceConfig") or {}).get("topK"))
    thinking = fields.get("thinking") or fields.get("reasoning_config") or fields.get("reasoningConfig") or {}
    thinking = {"type": "enabled", "effort": thinking} if isinstance(thinking, str) else thinking
    effort = effort or fields.get("reasoning_effort") or thinking.get("effort") or thinking.get("maxReasoningEffort") or (fields.get("output_config") or {}).get("effort")
    on = {"enabled": True, "adaptive": True, "disabled": False}.get(thinking.get("type"))
    meaning.think(on=on, budget=thinking.get("budget_tokens"), effort=effort)
    meaning.keep(fields, FIELDS, "additionalModelRequestFields")


def one(meaning, role, block):
    if "text" in block:
        meaning.text(role, block["text"])
    elif "cachePoint" in block:
        meaning.mark(block["cachePoint"])
    elif "reasoningContent" in block:
        inner = block["reasoningContent"]
        told = inner.get("reasoningText") or {}
        # What is sealed is bytes to AWS, which JSON has as base64.
        meaning.reason(told.get("text"), told.get("signature") or base64.b64decode(inner.get("redactedContent") or "").decode(errors="replace"))
    elif "toolUse" in block and block["toolUse"].get("type") == "server_tool_use" or block.get("toolResult", {}).get("type"):
        meaning.server.append(next(iter(block)))
    elif "toolUse" in block:
        meaning.call(block["toolUse"]["toolUseId"], block["toolUse"]["name"], block["toolUse"]["input"])
    elif "toolResult" in block:
        inner = block["toolResult"].get("content") or []
        of = meaning.result(block["toolResult"]["toolUseId"], texts(inner), failed=block["toolResult"].get("status") == "error")
        for part in inner:
            if not ("text" in part or "json" in part):
                media(meaning, "tool", part, of)
    elif not media(meaning, role, block):
        meaning.server.append(next(iter(block)))


def media(meaning, role, block, of=None):
    """Whether the block is media, which is taken."""
    kind = next((kind for kind in ("image", "document", "video", "audio") if kind in block), None)
    if not kind:
        return False
    inner, source = block[kind], block[kind]["source"]
    about = {"of": of, "title": inner.get("name"), "context": inner.get("context"), "citable": (inner.get("citations") or {}).get("enabled", False)}
    plain = source.get("text") or texts(source.get("content"))
    if not plain and inner.get("format") in ("txt", "md", "csv", "html"):
        plain = base64.b64decode(source.get("bytes") or "").decode()
    if plain:
        meaning.document(role, plain, **about)
    else:
        meaning.media(role, kind, source.get("bytes") or (source.get("s3Location") or {}).get("uri"), **about)
    return True
