"""Tool loops of models that think: what an answer says goes back to its provider whole, through every caller's own messages."""

import json

import asked
import made
import meaning
import recorded
import short
from answers import Rate
from recorded import DIALECTS

# Whose reasoning goes back as it came, with what proves it; of the others' models it depends on the model whether it is wanted.
SEALED = {"openai_responses", "anthropic_messages", "gemini", "bedrock_converse"}
RESULT = "sunny"
# Callers whose streams are put together here as their SDKs do it; Google's chats keep each piece as a content of its own, others join them.
MANNERS = {"openai_chat": ("whole", "streamed"), "openai_responses": ("whole", "streamed"), "anthropic_messages": ("whole", "streamed"),
           "gemini": ("whole", "streamed", "joined")}


def with_tools(caller):
    """The first question, with the tool that is called."""
    name, schema = short.WEATHER[0], made.SMALL
    function = {"type": "function", "function": {"name": name, "parameters": schema}}
    tools = {
        "openai_responses": {"tools": [{"type": "function", "name": name, "parameters": schema, "strict": False}], "include": ["reasoning.encrypted_content"], "store": False},
        "anthropic_messages": {"tools": [{"name": name, "input_schema": schema}]},
        "gemini": {"tools": [{"functionDeclarations": [{"name": name, "parametersJsonSchema": schema}]}]},
        "bedrock_converse": {"toolConfig": {"tools": [{"toolSpec": {"name": name, "inputSchema": {"json": schema}}}]}},
    }
    return {**made.BASE[caller], **tools.get(caller, {"tools": [function]})}


def answered(caller, body, reply):
    """The question again, with the answer as it came, and the tool's result."""
    match caller:
        case "openai_chat":
            message = reply["choices"][0]["message"]
            more = [message, {"role": "tool", "tool_call_id": message["tool_calls"][0]["id"], "content": RESULT}]
        case "cohere_v2" | "ollama":
            message = reply["message"]
            call = {"tool_call_id": message["tool_calls"][0]["id"]} if caller == "cohere_v2" else {"tool_name": short.WEATHER[0]}
            more = [message, {"role": "tool", "content": RESULT, **call}]
        case "openai_responses":
            call = next(item for item in reply["output"] if item["type"] == "function_call")
            return {**body, "input": [made.user(), *reply["output"], {"type": "function_call_output", "call_id": call["call_id"], "output": RESULT}]}
        case "anthropic_messages":
            call = next(block for block in reply["content"] if block["type"] == "tool_use")
            more = [{"role": "assistant", "content": reply["content"]}, made.blocks({"type": "tool_result", "tool_use_id": call["id"], "content": RESULT})]
        case "gemini":
            contents = [candidate["content"] for candidate in reply["candidates"]]
            call = next(part["functionCall"] for content in contents for part in content["parts"] if "functionCall" in part)
            result = {name: call[name] for name in ("id", "name") if name in call}
            return {**body, "contents": [*body["contents"], *contents, made.parts({"functionResponse": {**result, "response": {"output": RESULT}}})]}
        case "bedrock_converse":
            message = reply["output"]["message"]
            call = next(block["toolUse"] for block in message["content"] if "toolUse" in block)
            more = [message, made.blocks({"toolResult": {"toolUseId": call["toolUseId"], "content": [{"text": RESULT}]}})]
    return {**body, "messages": [*body["messages"], *more]}


def together(caller, body, manner):
    """A stream as the whole answer that it is."""
    events = [json.loads(line.removeprefix("data: ")) for line in body.decode().splitlines() if line.startswith("data: {")]
    match caller:
        case "openai_chat":
            message = {"role": "assistant", "content": None}
            for choice in (choice for event in events for choice in event["choices"]):
                merge(message, choice["delta"])
            return {"choices": [{"message": message}]}
        case "openai_responses":
            return events[-1]["response"]
        case "anthropic_messages":
            blocks = {event["index"]: event["content_block"] for event in events if event["type"] == "content_block_start"}
            inputs = {index: "" for index, block in blocks.items() if "input" in block}
            for event in events:
                if event["type"] == "content_block_delta":
                    delta, index = event["delta"], event["index"]
                    inputs[index] = inputs.get(index, "") + delta.get("partial_json", "")
                    merge(blocks[index], {name: delta[name] for name in ("text", "thinking", "signature") if name in delta})
            return {"content": [{**block, "input": json.loads(inputs[index] or "{}")} if "input" in block else block for index, block in blocks.items()]}
        case "gemini":
            candidates = [candidate for event in events for candidate in event["candidates"]]
            parts = [part for candidate in candidates for part in candidate["content"]["parts"]]
            return {"candidates": candidates if manner == "streamed" else [{"content": made.parts(*parts, role="model")}]}


def merge(into, delta):
    """Texts grow, lists are merged by their items' `index`; what names something stays."""
    for name, value in delta.items():
        if isinstance(value, list):
            for item in value:
                known = next((one for one in into.setdefault(name, []) if one.get("index") == item.get("index")), None)
                merge(known, item) if known else into[name].append(item)
        elif isinstance(value, dict):
            merge(into.setdefault(name, {}), value)
        elif isinstance(value, str) and name not in ("id", "type", "role", "name", "format"):
            into[name] = (into.get(name) or "") + value
        elif value is not None:
            into[name] = value


def play(gateway, key, provider, _cases, callers):
    rates = {(caller, dialect): Rate() for caller in callers for dialect in DIALECTS}
    for caller, dialect in rates:
        for manner in MANNERS.get(caller, ("whole",)):
            try:
                wrong = check(gateway, key, provider, caller, dialect, manner)
            except Exception as error:  # noqa: BLE001: whatever cannot be sent back is a miss
                wrong = f"{type(error).__name__}: {error}"
            rates[caller, dialect].add(manner, wrong)
    return rates


def check(gateway, key, provider, caller, dialect, manner):
    """What is wrong with the answer as its provider gets it back."""
    stream = manner != "whole"

    def ask(body, stream=False):
        path = made.STREAMED[caller].request["path"] if stream else made.VERB.get(caller, "")
        body = {**body, "stream": True} if stream and not path else body
        case = recorded.Case("loop", caller, stream, {"path": path, "body": body}, {}, {}, [], True, True)
        path, body = asked.target(case, dialect, "short-reasoned")
        return gateway.request("POST", path, json.dumps(body).encode(), key, anthropic_version="2023-06-01")

    question = with_tools(caller)
    first = ask(question, stream)
    if first.status != 200:
        return f"{first.status} {first.body[:200]}"
    provider.requests.clear()
    second = ask(answered(caller, question, together(caller, first.body, manner) if stream else first.json()))
    if second.status != 200:
        return f"{second.status} {second.body[:200]}"
    arrived = meaning.READ[dialect](provider.requests[-1].json(), provider.requests[-1].path)
    name, arguments = short.WEATHER
    turns = [turn for turn in arrived.turns if turn[1] in ("call", "result")]
    if turns != [("assistant", "call", 0, name, json.dumps(arguments)), ("tool", "result", 0, RESULT)]:
        return f"the turns became {arrived.turns}"
    if dialect not in SEALED:
        return ""
    thoughts = meaning.squeeze("".join(short.SAID["reasoned"].thoughts))
    if dialect == "gemini":
        # Its thoughts are for readers; what the model wants back is the call's signature.
        return "" if arrived.proofs == {0: short.SIGNATURE} else f"the call's signature became {arrived.proofs}"
    return "" if arrived.reasoning == [(0, thoughts, short.SIGNATURE)] else f"the reasoning became {arrived.reasoning}"
