"""A short answer in each dialect, with a text or a tool call: what every pair of dialects has to carry, written as the providers' references have it."""

import json
import struct
import zlib

import clients
from upstream import Answer

TEXT = "Hello there!"
CALL = ("get_weather", {"city": "Paris"})
USAGE = (11, 7)
ARGUMENTS = json.dumps(CALL[1])


def whole(body):
    return Answer(json.dumps(body).encode())


def sse(events, named=False, done=False):
    lines = "".join((f"event: {event['type']}\n" if named else "") + f"data: {json.dumps(event)}\n\n" for event in events)
    return Answer((lines + ("data: [DONE]\n\n" if done else "")).encode(), headers={"content-type": "text/event-stream"}, stream=True)


def openai_chat(kind, stream):
    usage = {"prompt_tokens": USAGE[0], "completion_tokens": USAGE[1], "total_tokens": sum(USAGE)}
    head = {"id": "chatcmpl-1", "created": 1760000000, "model": "m"}
    call = {"id": "call_1", "type": "function", "function": {"name": CALL[0], "arguments": ARGUMENTS}}
    finish = "stop" if kind == "text" else "tool_calls"
    if not stream:
        message = {"role": "assistant", "content": TEXT if kind == "text" else None} | ({"tool_calls": [call]} if kind == "tool" else {})
        return whole({**head, "object": "chat.completion", "choices": [{"index": 0, "message": message, "finish_reason": finish}], "usage": usage})

    def chunk(delta, finish=None):
        return {**head, "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}

    deltas = [{"content": "Hello "}, {"content": "there!"}]
    if kind == "tool":
        deltas = [{"tool_calls": [{"index": 0, **call, "function": {"name": CALL[0], "arguments": ""}}]},
                  *({"tool_calls": [{"index": 0, "function": {"arguments": piece}}]} for piece in (ARGUMENTS[:5], ARGUMENTS[5:]))]
    last = {**head, "object": "chat.completion.chunk", "choices": [], "usage": usage}
    return sse([chunk({"role": "assistant", "content": ""}), *map(chunk, deltas), chunk({}, finish), last], done=True)


def openai_responses(kind, stream):
    usage = {"input_tokens": USAGE[0], "output_tokens": USAGE[1], "total_tokens": sum(USAGE),
             "input_tokens_details": {"cached_tokens": 0}, "output_tokens_details": {"reasoning_tokens": 0}}
    part = {"type": "output_text", "text": TEXT, "annotations": []}
    message = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": [part]}
    call = {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": CALL[0], "arguments": ARGUMENTS, "status": "completed"}
    item = message if kind == "text" else call
    response = {"id": "resp_1", "object": "response", "created_at": 1760000000, "model": "m", "status": "completed", "output": [item], "usage": usage,
                "error": None, "incomplete_details": None, "instructions": None, "metadata": {}, "parallel_tool_calls": True, "temperature": 1.0,
                "tool_choice": "auto", "tools": [], "top_p": 1.0}
    if not stream:
        return whole(response)
    begun = {**response, "status": "in_progress", "output": [], "usage": None}
    at = {"output_index": 0, "item_id": item["id"]}
    if kind == "text":
        inner = {**at, "content_index": 0}
        events = [
            {"type": "response.output_item.added", "output_index": 0, "item": {**message, "status": "in_progress", "content": []}},
            {"type": "response.content_part.added", **inner, "part": {**part, "text": ""}},
            *({"type": "response.output_text.delta", **inner, "delta": piece} for piece in ("Hello ", "there!")),
            {"type": "response.output_text.done", **inner, "text": TEXT},
            {"type": "response.content_part.done", **inner, "part": part},
        ]
    else:
        events = [
            {"type": "response.output_item.added", "output_index": 0, "item": {**call, "arguments": "", "status": "in_progress"}},
            *({"type": "response.function_call_arguments.delta", **at, "delta": piece} for piece in (ARGUMENTS[:5], ARGUMENTS[5:])),
            {"type": "response.function_call_arguments.done", **at, "name": CALL[0], "arguments": ARGUMENTS},
        ]
    events = [{"type": "response.created", "response": begun}, *events,
              {"type": "response.output_item.done", "output_index": 0, "item": item}, {"type": "response.completed", "response": response}]
    return sse([{**event, "sequence_number": number} for number, event in enumerate(events)], named=True)


def anthropic_messages(kind, stream):
    usage = {"input_tokens": USAGE[0], "output_tokens": USAGE[1]}
    stop = "end_turn" if kind == "text" else "tool_use"
    block = {"type": "text", "text": TEXT} if kind == "text" else {"type": "tool_use", "id": "toolu_1", "name": CALL[0], "input": CALL[1]}
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": [block], "stop_reason": stop, "stop_sequence": None, "usage": usage}
    if not stream:
        return whole(message)
    empty = {**block, "text": ""} if kind == "text" else {**block, "input": {}}
    deltas = [{"type": "text_delta", "text": piece} for piece in ("Hello ", "there!")]
    if kind == "tool":
        deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in (ARGUMENTS[:5], ARGUMENTS[5:])]
    return sse([
        {"type": "message_start", "message": {**message, "content": [], "stop_reason": None, "usage": {**usage, "output_tokens": 1}}},
        {"type": "content_block_start", "index": 0, "content_block": empty},
        *({"type": "content_block_delta", "index": 0, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": stop, "stop_sequence": None}, "usage": {"output_tokens": USAGE[1]}},
        {"type": "message_stop"},
    ], named=True)


def gemini(kind, stream):
    usage = {"promptTokenCount": USAGE[0], "candidatesTokenCount": USAGE[1], "totalTokenCount": sum(USAGE)}
    parts = [{"text": "Hello "}, {"text": "there!"}] if kind == "text" else [{"functionCall": {"name": CALL[0], "args": CALL[1]}}]
    head = {"modelVersion": "m", "responseId": "r1"}

    def answer(parts, **more):
        return {"candidates": [{"content": {"role": "model", "parts": parts}, "index": 0, **more}], **head}

    if not stream:
        return whole({**answer(parts, finishReason="STOP"), "usageMetadata": usage})
    return sse([*(answer([part]) for part in parts), {**answer([], finishReason="STOP"), "usageMetadata": usage}])


def frame(name, body):
    """An event of AWS's event stream: length, length of the headers, checksum, headers, payload, checksum."""
    headers = b"".join(
        bytes([len(key)]) + key.encode() + b"\x07" + struct.pack(">H", len(value)) + value.encode()
        for key, value in ((":event-type", name), (":content-type", "application/json"), (":message-type", "event")))
    payload = json.dumps(body).encode()
    prelude = struct.pack(">II", 16 + len(headers) + len(payload), len(headers))
    message = prelude + struct.pack(">I", zlib.crc32(prelude)) + headers + payload
    return message + struct.pack(">I", zlib.crc32(message))


def bedrock_converse(kind, stream):
    usage = {"inputTokens": USAGE[0], "outputTokens": USAGE[1], "totalTokens": sum(USAGE)}
    stop = "end_turn" if kind == "text" else "tool_use"
    call = {"toolUseId": "tooluse_1", "name": CALL[0]}
    block = {"text": TEXT} if kind == "text" else {"toolUse": {**call, "input": CALL[1]}}
    if not stream:
        return whole({"output": {"message": {"role": "assistant", "content": [block]}}, "stopReason": stop, "usage": usage, "metrics": {"latencyMs": 5}})
    deltas = [{"text": piece} for piece in ("Hello ", "there!")]
    if kind == "tool":
        deltas = [{"toolUse": {"input": piece}} for piece in (ARGUMENTS[:5], ARGUMENTS[5:])]
    frames = [
        ("messageStart", {"role": "assistant"}),
        *([("contentBlockStart", {"contentBlockIndex": 0, "start": {"toolUse": call}})] if kind == "tool" else []),
        *(("contentBlockDelta", {"contentBlockIndex": 0, "delta": delta}) for delta in deltas),
        ("contentBlockStop", {"contentBlockIndex": 0}),
        ("messageStop", {"stopReason": stop}),
        ("metadata", {"usage": usage, "metrics": {"latencyMs": 5}}),
    ]
    body = b"".join(frame(*one) for one in frames)
    return Answer(body, headers={"content-type": "application/vnd.amazon.eventstream"}, stream=True)


def cohere_v2(kind, stream):
    tokens = {"input_tokens": USAGE[0], "output_tokens": USAGE[1]}
    usage = {"billed_units": tokens, "tokens": tokens}
    finish = "COMPLETE" if kind == "text" else "TOOL_CALL"
    call = {"id": "get_weather_1", "type": "function", "function": {"name": CALL[0], "arguments": ARGUMENTS}}
    if not stream:
        message = {"role": "assistant"} | ({"content": [{"type": "text", "text": TEXT}]} if kind == "text" else {"tool_calls": [call]})
        return whole({"id": "c1", "message": message, "finish_reason": finish, "usage": usage})
    if kind == "text":
        inner = [{"type": "content-start", "index": 0, "delta": {"message": {"content": {"type": "text", "text": ""}}}},
                 *({"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": piece}}}} for piece in ("Hello ", "there!")),
                 {"type": "content-end", "index": 0}]
    else:
        begun = {**call, "function": {"name": CALL[0], "arguments": ""}}
        inner = [{"type": "tool-call-start", "index": 0, "delta": {"message": {"tool_calls": begun}}},
                 *({"type": "tool-call-delta", "index": 0, "delta": {"message": {"tool_calls": {"function": {"arguments": piece}}}}} for piece in (ARGUMENTS[:5], ARGUMENTS[5:])),
                 {"type": "tool-call-end", "index": 0}]
    return sse([{"type": "message-start", "id": "c1", "delta": {"message": {"role": "assistant", "content": [], "tool_plan": "", "tool_calls": [], "citations": []}}},
                *inner, {"type": "message-end", "delta": {"finish_reason": finish, "usage": usage}}], named=True)


def ollama(kind, stream):
    head = {"model": "m", "created_at": "2025-10-09T08:53:20.000000Z"}
    last = {"done": True, "done_reason": "stop", "total_duration": 5, "load_duration": 1, "prompt_eval_count": USAGE[0], "prompt_eval_duration": 1, "eval_count": USAGE[1], "eval_duration": 2}
    called = {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": CALL[0], "arguments": CALL[1]}}]}
    if not stream:
        return whole({**head, "message": {"role": "assistant", "content": TEXT} if kind == "text" else called, **last})
    messages = [{"role": "assistant", "content": piece} for piece in ("Hello ", "there!")] if kind == "text" else [called]
    lines = [*({**head, "message": message, "done": False} for message in messages), {**head, "message": {"role": "assistant", "content": ""}, **last}]
    return Answer("".join(json.dumps(line) + "\n" for line in lines).encode(), headers={"content-type": "application/x-ndjson"}, stream=True)


WRITE = {"openai_chat": openai_chat, "openai_responses": openai_responses, "anthropic_messages": anthropic_messages, "gemini": gemini,
         "bedrock_converse": bedrock_converse, "cohere_v2": cohere_v2, "ollama": ollama}
ANSWERS = {f"{dialect} {kind}": (lambda stream, write=write, kind=kind: write(kind, stream)) for dialect, write in WRITE.items() for kind in ("text", "tool")}


def check(client, dialect, kind, stream):
    """What is wrong with what an SDK makes of the short answer of a dialect."""
    try:
        seen = client.ask(f"{dialect}/short-{kind}", stream)
    except Exception as error:  # noqa: BLE001: whatever an SDK stumbles over is a miss
        return f"{type(error).__name__}: {str(error)[:300]}"
    expected = clients.Seen(TEXT if kind == "text" else "", "", [CALL] if kind == "tool" else [], "stop" if kind == "text" else "tool_calls", USAGE)
    seen.cached = None
    return "" if seen == expected else f"{seen}"
