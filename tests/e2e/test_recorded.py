"""Every recorded answer of a real provider, read by the SDK directly and through Keyward: the two are the same, and are the truth."""

import json

import openai
import pytest

import recorded
from gateway import eventually


def chat(client, case, model, **asked):
    rest = {name: value for name, value in case["request"]["body"].items() if name not in ("model", "messages", "stream")}
    messages = case["request"]["body"]["messages"]
    return client.chat.completions.create(model=model, messages=messages, stream=case["stream"], extra_body=rest | asked)


def respond(client, case, model):
    rest = {name: value for name, value in case["request"]["body"].items() if name not in ("model", "input", "stream")}
    return client.responses.create(model=model, input=case["request"]["body"]["input"], stream=case["stream"], extra_body=rest)


def read(ask, client, case, model, **asked):
    """What the SDK makes of the answer: an object, or a stream's; last the error that it ends with, if it does."""
    seen = []
    try:
        answer = ask(client, case, model, **asked)
        for part in answer if case["stream"] else [answer]:
            seen.append(part.model_dump(warnings=False))
    except openai.APIError as error:
        seen.append((type(error), error.message, {**error.body, "provider": "test"}))
    return seen


def tool_calls(calls):
    return [{"name": name, "arguments": json.loads(arguments or "{}")} for name, arguments in calls]


def check_chat(truth, answer):
    """A whole chat answer against what is known of it; text that comes in parts is left to the comparison with the SDK's own reading."""
    choice = answer["choices"][0]
    message = choice["message"]
    if isinstance(message["content"], str):
        assert message["content"] == truth["text"]
    calls = [(call["function"]["name"], call["function"]["arguments"]) for call in message["tool_calls"] or []]
    assert tool_calls(calls) == truth["tool_calls"]
    assert choice["finish_reason"] == truth["finish_raw"]
    assert answer["usage"]["prompt_tokens"] == truth["usage"]["input"]


def check_chat_stream(truth, chunks):
    deltas = [choice["delta"] for chunk in chunks for choice in chunk["choices"]]
    contents = [delta["content"] for delta in deltas if delta.get("content")]
    if all(isinstance(content, str) for content in contents):
        assert "".join(contents) == truth["text"]
    calls = {}
    for call in (call for delta in deltas for call in delta.get("tool_calls") or []):
        known = calls.setdefault(call["index"], ["", ""])
        known[0] += call["function"]["name"] or ""
        known[1] += call["function"]["arguments"] or ""
    assert tool_calls(calls.values()) == truth["tool_calls"]


def check_response(truth, answer):
    parts = [part for item in answer["output"] if item["type"] == "message" for part in item["content"]]
    assert "".join(part["text"] for part in parts if part["type"] == "output_text") == truth["text"]
    calls = [(item["name"], item["arguments"]) for item in answer["output"] if item["type"] == "function_call"]
    assert tool_calls(calls) == truth["tool_calls"]
    if truth["usage"]:
        assert answer["usage"]["total_tokens"] == truth["usage"]["total"]


def whole_response(last):
    """The response that a stream ends with, or that is the answer; `None` where it failed or is still to come."""
    response = last.get("response", last) if isinstance(last, dict) else {}
    return response if response.get("status") == "completed" else None


@pytest.mark.parametrize("case", recorded.cases("openai_chat", lambda case: not case["stream"]))
def test_chat(client, direct, upstream, case):
    expected = read(chat, direct, case, case["id"])
    assert read(chat, client, case, f"test/{case['id']}") == expected
    assert upstream.requests[1].body == upstream.requests[0].body
    if case["truth"]:
        check_chat(case["truth"], expected[0])


@pytest.mark.parametrize("case", recorded.cases("openai_chat", lambda case: case["stream"]))
@pytest.mark.parametrize("include_usage", [True, False], ids=["usage", "plain"])
def test_chat_stream(client, direct, upstream, case, include_usage):
    options = {"stream_options": {"include_usage": include_usage}}
    expected = read(chat, direct, case, case["id"], **options)
    if case["truth"]:
        check_chat_stream(case["truth"], expected)
    if not include_usage:
        expected = [chunk for chunk in expected if isinstance(chunk, tuple) or chunk["choices"] or not chunk["usage"]]
    assert read(chat, client, case, f"test/{case['id']}", **options) == expected
    sent = upstream.requests[1].json()
    assert sent == {**upstream.requests[0].json(), "stream_options": {"include_usage": True}}


@pytest.mark.parametrize("case", recorded.cases("openai_responses", lambda case: case["op"] == "chat"))
def test_response(client, direct, upstream, case):
    expected = read(respond, direct, case, case["id"])
    assert read(respond, client, case, f"test/{case['id']}") == expected
    assert upstream.requests[1].body == upstream.requests[0].body
    truth = case["truth"]
    if truth and "error" in truth:
        assert truth["error"]["message"] in expected[-1][1]
    elif truth and (whole := whole_response(expected[-1])):
        check_response(truth, whole)


@pytest.mark.skipif(not recorded.by_id(), reason=f"no recorded traffic: {recorded.FOLDER} is missing")
def test_bytes_and_ledger(gateway, upstream):
    """All cases once more: each answer is the provider's to the byte, and the ledger has the tokens that it reported."""
    key = gateway.new_key(name="recorded")
    paths = {"openai_chat": "/v1/chat/completions", "openai_responses": "/v1/responses"}
    cases = [case for dialect in paths for case in recorded.load(dialect) if case["op"] == "chat" and case["response"]["status"] == 200]
    for case in cases:
        body = case["request"]["body"] | {"model": f"test/{case['id']}"}
        if case["stream"] and case["dialect"] == "openai_chat":
            body["stream_options"] = {"include_usage": True}
        reply = gateway.request("POST", paths[case["dialect"]], json.dumps(body).encode(), key["key"])
        assert reply.status == 200, reply.body
        assert reply.body == recorded.answer(case["id"]).body, case["id"]

    def sums():
        return gateway.cli("usage", "--by", "key", "--key", key["id"])

    assert eventually(lambda: (sums() or [{"requests": 0}])[0]["requests"] == len(cases))

    def wrong():
        rows = {row["group"]: row for row in gateway.cli("usage", "--by", "model", "--key", key["id"])}
        found = {}
        for case in cases:
            usage = (case["truth"] or {}).get("usage")
            row = rows[f"test/{case['id']}"]
            reported = (row["input_tokens"], row["cached_tokens"], row["output_tokens"])
            if not usage:
                continue
            if usage["total"] == 0:
                # What counts nothing of what it says is no usage: it is estimated.
                if not (reported[0] > 0 and reported[2] > 0):
                    found[case["id"]] = {"ledger": reported, "truth": "it says something"}
                continue
            # These count cached tokens where OpenAI has no name for them, so that the truth does not know.
            is_told = usage["cached"] is not None or case["provider"] not in ("mistral", "moonshot")
            cached = (usage["cached"] or 0) if is_told else row["cached_tokens"]
            # A provider that counts reasoning beside its output tells so by its total.
            if reported != (true := (usage["input"], cached, usage["total"] - usage["input"])):
                found[case["id"]] = {"ledger": reported, "truth": true}
        return found

    # The last request is counted from its beginning, and has its tokens a moment later.
    eventually(lambda: not wrong())
    assert wrong() == {}
