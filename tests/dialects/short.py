"""Short answers in each dialect, one of every kind: what every pair of dialects has to carry, written as the providers' references have it."""

import dataclasses
import json
import struct
import zlib

import clients
from upstream import Answer

USAGE = (11, 7)
BROKEN = "It broke."
# What a provider signs or seals its thoughts with.
SIGNATURE = "c2lnbmVk"


@dataclasses.dataclass
class Said:
    """What an answer says: texts and thoughts in pieces, calls, and why it ends; `error` is what it breaks off with."""

    text: tuple = ()
    thoughts: tuple = ()
    calls: tuple = ()
    finish: str = "stop"
    error: str = ""


WEATHER, TIME = ("get_weather", {"city": "Paris"}), ("get_time", {"zone": "CET"})
SAID = {
    "text": Said(("Hello ", "there!")),
    "tool": Said(calls=(WEATHER,), finish="tool_calls"),
    "tools": Said(("I look.",), calls=(WEATHER, TIME), finish="tool_calls"),
    "reasoned": Said(thoughts=("They ", "ask."), calls=(WEATHER,), finish="tool_calls"),
    "thought": Said(("Hello ", "there!"), thoughts=("They ", "greet.")),
    "length": Said(("Hello ", "th"), finish="length"),
    "filtered": Said(("Hello ",), finish="content_filter"),
    "broken": Said(("Hello ", "there!"), error=BROKEN),
}
# Why an answer ends, in each dialect's words; what a dialect has no word for is not played.
FINISH = {
    "openai_chat": {"stop": "stop", "tool_calls": "tool_calls", "length": "length", "content_filter": "content_filter"},
    "openai_responses": {"stop": None, "tool_calls": None, "length": "max_output_tokens", "content_filter": "content_filter"},
    "anthropic_messages": {"stop": "end_turn", "tool_calls": "tool_use", "length": "max_tokens", "content_filter": "refusal"},
    "gemini": {"stop": "STOP", "tool_calls": "STOP", "length": "MAX_TOKENS", "content_filter": "SAFETY"},
    "bedrock_converse": {"stop": "end_turn", "tool_calls": "tool_use", "length": "max_tokens", "content_filter": "content_filtered"},
    "cohere_v2": {"stop": "COMPLETE", "tool_calls": "TOOL_CALL", "length": "MAX_TOKENS"},
    "ollama": {"stop": "stop", "tool_calls": "stop", "length": "length"},
}


def whole(body):
    return Answer(json.dumps(body).encode())


def sse(events, named=False, done=False):
    lines = "".join((f"event: {event['type']}\n" if named else "") + f"data: {json.dumps(event)}\n\n" for event in events)
    return Answer((lines + ("data: [DONE]\n\n" if done else "")).encode(), headers={"content-type": "text/event-stream"}, stream=True)


def split(arguments):
    text = json.dumps(arguments)
    return text[:5], text[5:]


def openai_chat(said, stream):
    usage = {"prompt_tokens": USAGE[0], "completion_tokens": USAGE[1], "total_tokens": sum(USAGE)}
    head = {"id": "chatcmpl-1", "created": 1760000000, "model": "m"}
    finish = FINISH["openai_chat"][said.finish]
    calls = [{"id": f"call_{number}", "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}} for number, (name, arguments) in enumerate(said.calls)]
    if not stream:
        message = {"role": "assistant", "content": "".join(said.text) or None} | ({"tool_calls": calls} if calls else {})
        message |= {"reasoning_content": "".join(said.thoughts)} if said.thoughts else {}
        return whole({**head, "object": "chat.completion", "choices": [{"index": 0, "message": message, "finish_reason": finish}], "usage": usage})

    def chunk(delta, finish=None):
        return {**head, "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}

    deltas = [{"reasoning_content": piece} for piece in said.thoughts] + [{"content": piece} for piece in said.text]
    for number, call in enumerate(calls):
        deltas.append({"tool_calls": [{"index": number, **call, "function": {"name": call["function"]["name"], "arguments": ""}}]})
        deltas += ({"tool_calls": [{"index": number, "function": {"arguments": piece}}]} for piece in split(said.calls[number][1]))
    chunks = [chunk({"role": "assistant", "content": ""}), *map(chunk, deltas)]
    if said.error:
        return sse([*chunks, {"error": {"message": said.error, "type": "server_error", "param": None, "code": None}}])
    return sse([*chunks, chunk({}, finish), {**head, "object": "chat.completion.chunk", "choices": [], "usage": usage}], done=True)


def openai_responses(said, stream):
    usage = {"input_tokens": USAGE[0], "output_tokens": USAGE[1], "total_tokens": sum(USAGE),
             "input_tokens_details": {"cached_tokens": 0}, "output_tokens_details": {"reasoning_tokens": 0}}
    reason = FINISH["openai_responses"][said.finish]
    response = {"id": "resp_1", "object": "response", "created_at": 1760000000, "model": "m", "status": "incomplete" if reason else "completed", "usage": usage,
                "error": None, "incomplete_details": {"reason": reason} if reason else None, "instructions": None, "metadata": {}, "parallel_tool_calls": True,
                "temperature": 1.0, "tool_choice": "auto", "tools": [], "top_p": 1.0}
    items, events = [], []

    def item(done, begun, inner):
        events.append({"type": "response.output_item.added", "output_index": len(items), "item": {**done, **begun}})
        events.extend({"output_index": len(items), "item_id": done["id"], **event} for event in inner)
        events.append({"type": "response.output_item.done", "output_index": len(items), "item": done})
        items.append(done)

    if said.thoughts:
        summary = {"type": "summary_text", "text": "".join(said.thoughts)}
        at = {"summary_index": 0}
        item({"type": "reasoning", "id": "rs_1", "summary": [summary], "encrypted_content": SIGNATURE}, {"summary": []}, [
            {"type": "response.reasoning_summary_part.added", **at, "part": {**summary, "text": ""}},
            *({"type": "response.reasoning_summary_text.delta", **at, "delta": piece} for piece in said.thoughts),
            {"type": "response.reasoning_summary_text.done", **at, "text": summary["text"]}, {"type": "response.reasoning_summary_part.done", **at, "part": summary}])
    if said.text:
        part = {"type": "output_text", "text": "".join(said.text), "annotations": []}
        at = {"content_index": 0}
        item({"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": [part]}, {"status": "in_progress", "content": []}, [
            {"type": "response.content_part.added", **at, "part": {**part, "text": ""}},
            *({"type": "response.output_text.delta", **at, "delta": piece} for piece in said.text),
            {"type": "response.output_text.done", **at, "text": part["text"]}, {"type": "response.content_part.done", **at, "part": part}])
    for number, (name, arguments) in enumerate(said.calls):
        call = {"type": "function_call", "id": f"fc_{number}", "call_id": f"call_{number}", "name": name, "arguments": json.dumps(arguments), "status": "completed"}
        item(call, {"arguments": "", "status": "in_progress"}, [
            *({"type": "response.function_call_arguments.delta", "delta": piece} for piece in split(arguments)),
            {"type": "response.function_call_arguments.done", "name": name, "arguments": call["arguments"]}])
    if not stream:
        return whole({**response, "output": items})
    last = {"type": "response.incomplete" if reason else "response.completed", "response": {**response, "output": items}}
    if said.error:
        events, last = events[:-2], {"type": "error", "code": "server_error", "message": said.error, "param": None}
    events = [{"type": "response.created", "response": {**response, "status": "in_progress", "output": [], "usage": None, "incomplete_details": None}}, *events, last]
    return sse([{**event, "sequence_number": number} for number, event in enumerate(events)], named=True)


def anthropic_messages(said, stream):
    usage = {"input_tokens": USAGE[0], "output_tokens": USAGE[1]}
    stop = FINISH["anthropic_messages"][said.finish]
    blocks = [({"type": "thinking", "thinking": "".join(said.thoughts), "signature": SIGNATURE}, {"thinking": "", "signature": ""},
               [*({"type": "thinking_delta", "thinking": piece} for piece in said.thoughts), {"type": "signature_delta", "signature": SIGNATURE}])] if said.thoughts else []
    if said.text:
        blocks.append(({"type": "text", "text": "".join(said.text)}, {"text": ""}, [{"type": "text_delta", "text": piece} for piece in said.text]))
    for number, (name, arguments) in enumerate(said.calls):
        blocks.append(({"type": "tool_use", "id": f"toolu_{number}", "name": name, "input": arguments}, {"input": {}},
                       [{"type": "input_json_delta", "partial_json": piece} for piece in split(arguments)]))
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": [block for block, *_ in blocks], "stop_reason": stop,
               "stop_sequence": None, "usage": usage}
    if not stream:
        return whole(message)
    events = [{"type": "message_start", "message": {**message, "content": [], "stop_reason": None, "usage": {**usage, "output_tokens": 1}}}, {"type": "ping"}]
    for index, (block, empty, deltas) in enumerate(blocks):
        events += [{"type": "content_block_start", "index": index, "content_block": {**block, **empty}},
                   *({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas), {"type": "content_block_stop", "index": index}]
    if said.error:
        return sse([*events[:-1], {"type": "error", "error": {"type": "overloaded_error", "message": said.error}}], named=True)
    return sse([*events, {"type": "message_delta", "delta": {"stop_reason": stop, "stop_sequence": None}, "usage": {"output_tokens": USAGE[1]}}, {"type": "message_stop"}], named=True)


def gemini(said, stream):
    usage = {"promptTokenCount": USAGE[0], "candidatesTokenCount": USAGE[1], "totalTokenCount": sum(USAGE)}
    parts = [{"text": piece, "thought": True} for piece in said.thoughts] + [{"text": piece} for piece in said.text]
    signed = {"thoughtSignature": SIGNATURE} if said.thoughts else {}
    parts += [{"functionCall": {"name": name, "args": arguments}, **signed} for name, arguments in said.calls]
    head, finish = {"modelVersion": "m", "responseId": "r1"}, FINISH["gemini"][said.finish]

    def answer(parts, **more):
        return {"candidates": [{"content": {"role": "model", "parts": parts}, "index": 0, **more}], **head}

    if not stream:
        return whole({**answer(parts, finishReason=finish), "usageMetadata": usage})
    events = [answer([part]) for part in parts]
    if said.error:
        return sse([*events, {"error": {"code": 503, "message": said.error, "status": "UNAVAILABLE"}}])
    return sse([*events, {**answer([], finishReason=finish), "usageMetadata": usage}])


def frame(name, body, kind="event"):
    """A message of AWS's event stream: length, length of the headers, checksum, headers, payload, checksum."""
    headers = b"".join(
        bytes([len(key)]) + key.encode() + b"\x07" + struct.pack(">H", len(value)) + value.encode()
        for key, value in ((f":{kind}-type", name), (":content-type", "application/json"), (":message-type", kind)))
    payload = json.dumps(body).encode()
    prelude = struct.pack(">II", 16 + len(headers) + len(payload), len(headers))
    message = prelude + struct.pack(">I", zlib.crc32(prelude)) + headers + payload
    return message + struct.pack(">I", zlib.crc32(message))


def bedrock_converse(said, stream):
    usage = {"inputTokens": USAGE[0], "outputTokens": USAGE[1], "totalTokens": sum(USAGE)}
    stop = FINISH["bedrock_converse"][said.finish]
    blocks = []
    if said.thoughts:
        signed = {"reasoningText": {"text": "".join(said.thoughts), "signature": SIGNATURE}}
        blocks.append(({"reasoningContent": signed}, None, [*({"reasoningContent": {"text": piece}} for piece in said.thoughts), {"reasoningContent": {"signature": SIGNATURE}}]))
    if said.text:
        blocks.append(({"text": "".join(said.text)}, None, [{"text": piece} for piece in said.text]))
    for number, (name, arguments) in enumerate(said.calls):
        call = {"toolUseId": f"tooluse_{number}", "name": name}
        blocks.append(({"toolUse": {**call, "input": arguments}}, {"toolUse": call}, [{"toolUse": {"input": piece}} for piece in split(arguments)]))
    if not stream:
        content = [block for block, *_ in blocks]
        return whole({"output": {"message": {"role": "assistant", "content": content}}, "stopReason": stop, "usage": usage, "metrics": {"latencyMs": 5}})
    frames = [frame("messageStart", {"role": "assistant"})]
    for index, (_, start, deltas) in enumerate(blocks):
        at = {"contentBlockIndex": index}
        frames += [frame("contentBlockStart", {**at, "start": start})] if start else []
        frames += [*(frame("contentBlockDelta", {**at, "delta": delta}) for delta in deltas), frame("contentBlockStop", at)]
    if said.error:
        frames = [*frames[:-1], frame("modelStreamErrorException", {"message": said.error}, "exception")]
    else:
        frames += [frame("messageStop", {"stopReason": stop}), frame("metadata", {"usage": usage, "metrics": {"latencyMs": 5}})]
    return Answer(b"".join(frames), headers={"content-type": "application/vnd.amazon.eventstream"}, stream=True)


def cohere_v2(said, stream):
    tokens = {"input_tokens": USAGE[0], "output_tokens": USAGE[1]}
    usage, finish = {"billed_units": tokens, "tokens": tokens}, FINISH["cohere_v2"][said.finish]
    # With calls, what is said is the plan.
    plan, said_text = (said.text, ()) if said.calls else ((), said.text)
    calls = [{"id": f"{name}_{number}", "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}} for number, (name, arguments) in enumerate(said.calls)]
    contents = [(kind, pieces) for kind, pieces in (("thinking", said.thoughts), ("text", said_text)) if pieces]
    if not stream:
        message = {"role": "assistant"} | ({"content": [{"type": kind, kind: "".join(pieces)} for kind, pieces in contents]} if contents else {})
        message |= ({"tool_calls": calls} if calls else {}) | ({"tool_plan": "".join(plan)} if plan else {})
        return whole({"id": "c1", "message": message, "finish_reason": finish, "usage": usage})
    events = [{"type": "message-start", "id": "c1", "delta": {"message": {"role": "assistant", "content": [], "tool_plan": "", "tool_calls": [], "citations": []}}}]
    events += ({"type": "tool-plan-delta", "delta": {"message": {"tool_plan": piece}}} for piece in plan)
    for index, (kind, pieces) in enumerate(contents):
        events += [{"type": "content-start", "index": index, "delta": {"message": {"content": {"type": kind, kind: ""}}}},
                   *({"type": "content-delta", "index": index, "delta": {"message": {"content": {kind: piece}}}} for piece in pieces), {"type": "content-end", "index": index}]
    for index, call in enumerate(calls):
        begun = {**call, "function": {"name": call["function"]["name"], "arguments": ""}}
        events += [{"type": "tool-call-start", "index": index, "delta": {"message": {"tool_calls": begun}}},
                   *({"type": "tool-call-delta", "index": index, "delta": {"message": {"tool_calls": {"function": {"arguments": piece}}}}} for piece in split(said.calls[index][1])),
                   {"type": "tool-call-end", "index": index}]
    if said.error:
        return sse([*events[:-1], {"type": "message-end", "delta": {"error": said.error, "finish_reason": "ERROR"}}], named=True)
    return sse([*events, {"type": "message-end", "delta": {"finish_reason": finish, "usage": usage}}], named=True)


def ollama(said, stream):
    head = {"model": "m", "created_at": "2025-10-09T08:53:20.000000Z"}
    last = {"done": True, "done_reason": FINISH["ollama"][said.finish], "total_duration": 5, "load_duration": 1, "prompt_eval_count": USAGE[0], "prompt_eval_duration": 1,
            "eval_count": USAGE[1], "eval_duration": 2}
    calls = [{"function": {"name": name, "arguments": arguments}} for name, arguments in said.calls]
    if not stream:
        message = {"role": "assistant", "content": "".join(said.text)} | ({"tool_calls": calls} if calls else {})
        message |= {"thinking": "".join(said.thoughts)} if said.thoughts else {}
        return whole({**head, "message": message, **last})
    messages = [{"role": "assistant", "content": "", "thinking": piece} for piece in said.thoughts] + [{"role": "assistant", "content": piece} for piece in said.text]
    messages += [{"role": "assistant", "content": "", "tool_calls": [call]} for call in calls]
    lines = [{**head, "message": message, "done": False} for message in messages]
    lines.append({"error": said.error} if said.error else {**head, "message": {"role": "assistant", "content": ""}, **last})
    return Answer("".join(json.dumps(line) + "\n" for line in lines).encode(), headers={"content-type": "application/x-ndjson"}, stream=True)


WRITE = {"openai_chat": openai_chat, "openai_responses": openai_responses, "anthropic_messages": anthropic_messages, "gemini": gemini,
         "bedrock_converse": bedrock_converse, "cohere_v2": cohere_v2, "ollama": ollama}


def is_played(dialect, kind, stream):
    """Whether a dialect can say it so; an error whose status is none of success is played elsewhere."""
    return SAID[kind].finish in FINISH[dialect] and (stream or not SAID[kind].error)


ANSWERS = {f"{dialect} {kind}": (lambda stream, write=write, said=said: write(said, stream)) for dialect, write in WRITE.items() for kind, said in SAID.items()}


def check(client, dialect, kind, stream):
    """What is wrong with what an SDK makes of the short answer of a dialect."""
    said, seen = SAID[kind], clients.Seen()
    try:
        client.ask(f"{dialect}/short-{kind}", stream, seen)
    except Exception as error:  # noqa: BLE001: whatever an SDK stumbles over is a miss
        return f"{type(error).__name__}: {str(error)[:300]}"
    text = "".join(said.text)
    if said.error:
        return "" if seen.error and said.error in seen.error[1] and text.startswith(seen.text) and not seen.finish else f"{seen}"
    expected = clients.Seen(text, "".join(said.thoughts), list(said.calls), said.finish, USAGE)
    if said.calls and text and text in (seen.text, seen.reasoning):
        # Cohere's plan is text or reasoning to others, and so is what others say to a caller of Cohere's.
        expected.text, expected.reasoning = seen.text, seen.reasoning
    seen.cached = None
    return "" if seen == expected else f"{seen}"
