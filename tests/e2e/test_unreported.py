"""What a provider reports late, in part or never: a hard budget holds by the provider's own bill all the same."""

import base64
import http.client
import json
import os
import threading

import pytest

import upstream as provider
from gateway import eventually
from gateway import provider as provider_file
from test_limits import ask, code
from upstream import Answer, Hold

# A million tokens in are a dollar, and ten out.
MODELS = {"m": "context = 200000, max_output = 10000", "e": "context = 8192", "r": "context = 4096"}
SAID = "word " * 50
MOST = 4000
# What 4,000 tokens out cost, and a little for what was read.
WORST, LITTLE = 40_000_000, 1_000_000


def file(url, dialects, models=MODELS):
    listed = "\n".join(f'"{name}" = {{ {facts}, price = {{ input = 1, output = 10 }} }}' for name, facts in models.items())
    return provider_file(url, dialects=dialects, models=listed)


@pytest.fixture
def gateway(start_gateway, upstream):
    files = {"oa": file(upstream.url, ["openai_chat", "openai_responses"]), "an": file(upstream.url, ["anthropic_messages"]), "ge": file(upstream.url, ["gemini"])}
    return start_gateway(providers=files)


def events(*all_of_them, named=False):
    return b"".join((f"event: {event['type']}\n" if named else "").encode() + f"data: {json.dumps(event)}\n\n".encode() for event in all_of_them)


def anthropic():
    start = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": [], "stop_reason": None, "stop_sequence": None}
    begin = [
        {"type": "message_start", "message": {**start, "usage": {"input_tokens": 20, "output_tokens": 1}}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    ]
    deltas = [{"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": SAID}}] * 40
    stop = {"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None}, "usage": {"output_tokens": 2000}}
    told = events({"type": "content_block_stop", "index": 0}, stop, named=True)
    return events(*begin, *deltas, named=True), told, events({"type": "message_stop"}, named=True)


def gemini():
    def chunk(tokens, **more):
        usage = {"promptTokenCount": 20, "candidatesTokenCount": tokens, "totalTokenCount": 20 + tokens}
        return {"candidates": [{"content": {"role": "model", "parts": [{"text": SAID}]}, "index": 0, **more}], "usageMetadata": usage}

    return events(*[chunk(5)] * 40), events(chunk(2000, finishReason="STOP")), b""


def openai():
    def chunk(tokens, finish=None):
        choice = {"index": 0, "delta": {"content": SAID}, "finish_reason": finish}
        usage = {"prompt_tokens": 20, "completion_tokens": tokens, "total_tokens": 20 + tokens}
        return {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice], "usage": usage}

    return events(*[chunk(1)] * 40), events(chunk(2000, "stop")), b"data: [DONE]\n\n"


OPENAI = ("/v1/chat/completions", {"max_tokens": MOST, "stream": True, "messages": [{"role": "user", "content": "Hi"}]})
MESSAGES = ("/v1/messages", OPENAI[1])
GENERATE = ("/v1beta/models/ge/m:streamGenerateContent?alt=sse", {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}], "generationConfig": {"maxOutputTokens": MOST}})
STREAMS = {
    "anthropic": (anthropic, "/messages", *MESSAGES, "an/m"),
    "gemini": (gemini, "/models/m:streamGenerateContent", *GENERATE, None),
    "openai": (openai, "/chat/completions", *OPENAI, "oa/m"),
    "anthropic for openai": (anthropic, "/messages", *OPENAI, "an/m"),
    "gemini for openai": (gemini, "/models/m:streamGenerateContent", *OPENAI, "ge/m"),
}


def hang_up(gateway, key, path, body, at_least):
    """Calls, reads so many bytes and goes."""
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=10)
    connection.request("POST", path, json.dumps(body), {"authorization": f"Bearer {key}", "content-type": "application/json"})
    answer = connection.getresponse()
    read = 0
    while read < at_least and (piece := answer.read1(65536)):
        read += len(piece)
    status = answer.status
    answer.close()
    connection.close()
    return status


def charged(gateway, key, requests=1):
    return gateway.usage("key", key["id"], requests)


def serve(upstream, path, body, hold):
    upstream.serve_at("POST", path, lambda _: Answer(body, headers={"content-type": "text/event-stream"}, stream=True, hold=hold))


@pytest.mark.parametrize("which", STREAMS)
@pytest.mark.parametrize("how", ["hung up", "broken off"])
def test_usage_that_was_reported_on_the_way_is_not_all_of_it(gateway, upstream, which, how):
    stream, at, path, body, model = STREAMS[which]
    said, told, end = stream()
    key, soft = gateway.new_key(budget="1/ever"), gateway.new_key()
    for caller in (key, soft):
        hold = Hold(after=len(said)) if how == "hung up" else Hold.up(after=len(said))
        serve(upstream, at, said + told + end, hold)
        wanted = 4000 if how == "hung up" else 1 << 30
        assert hang_up(gateway, caller["key"], path, body | ({"model": model} if model else {}), wanted) == 200
    used = charged(gateway, key)
    # The most that it may have said, and what it may have read.
    assert WORST <= used["cost_nano_usd"] <= WORST + LITTLE and used["output_tokens"] == MOST
    # Where nothing has to hold it is an estimate of what was seen, and no less than what was reported.
    used = charged(gateway, soft)
    assert (used["input_tokens"], used["output_tokens"] > 5, used["cost_nano_usd"] < WORST) == (20, True, True)


@pytest.mark.parametrize("which", ["anthropic", "gemini", "openai"])
def test_usage_that_was_reported_with_the_end_is_final_wherever_its_reader_stops(gateway, upstream, which):
    stream, at, path, body, model = STREAMS[which]
    said, told, end = stream()
    hold = Hold(after=len(said + told))
    serve(upstream, at, said + told + (end or b"\n"), hold)
    key = gateway.new_key(budget="1/ever")
    assert hang_up(gateway, key["key"], path, body | ({"model": model} if model else {}), len(said + told)) == 200
    used = charged(gateway, key)
    assert (used["input_tokens"], used["output_tokens"], used["cost_nano_usd"]) == (20, 2000, 20 * 1000 + 2000 * 10000)


def told_early(stream, last):
    """The same stream with another usage at its end, which is all that it says then of its usage."""
    said, told, end = stream()
    lines = []
    for line in told.decode().splitlines(keepends=True):
        event = json.loads(line[6:]) if line.startswith("data: ") else {}
        name = next((name for name in ("usage", "usageMetadata") if name in event), None)
        if name:
            del event[name]
            line = f"data: {json.dumps(event | ({} if last == 'none' else {name: last}))}\n"
        lines.append(line)
    return said + "".join(lines).encode() + end


@pytest.mark.parametrize("last", ["none", None, {}, []], ids=str)
@pytest.mark.parametrize("which", STREAMS)
def test_usage_that_is_told_before_the_end_alone_is_not_all_of_it(gateway, upstream, which, last):
    stream, at, path, body, model = STREAMS[which]
    serve(upstream, at, told_early(stream, last), None)
    key, soft = gateway.new_key(budget="1/ever"), gateway.new_key()
    for caller in (key, soft):
        assert gateway.request("POST", path, json.dumps(body | ({"model": model} if model else {})).encode(), caller["key"]).status == 200
    used = charged(gateway, key)
    assert WORST <= used["cost_nano_usd"] <= WORST + LITTLE and used["output_tokens"] == MOST
    used = charged(gateway, soft)
    assert (used["input_tokens"], used["output_tokens"] > 5, used["cost_nano_usd"] < WORST) == (20, True, True)


def test_one_answer_of_several_that_has_ended_is_not_the_end(gateway, upstream):
    said, told, end = openai()
    serve(upstream, "/chat/completions", said + told + end, Hold(after=len(said + told)))
    key = gateway.new_key(budget="1/ever")
    assert hang_up(gateway, key["key"], OPENAI[0], {**OPENAI[1], "model": "oa/m", "n": 2}, len(said + told)) == 200
    assert charged(gateway, key)["cost_nano_usd"] >= 2 * WORST


def test_an_answer_without_any_usage_is_charged_what_was_reserved(gateway, upstream):
    upstream.serve("m", provider.chat("Hi", usage=None))
    key, soft = gateway.new_key(budget="1/ever"), gateway.new_key()
    for caller in (key, soft):
        assert ask(gateway, caller["key"], "oa/m", max_tokens=MOST).status == 200
    assert WORST <= charged(gateway, key)["cost_nano_usd"] <= WORST + LITTLE
    assert charged(gateway, soft)["cost_nano_usd"] < LITTLE


NO_OUTPUT = {
    "openai": ("m", lambda usage: {"choices": [{"index": 0, "message": {"role": "assistant", "content": SAID}, "finish_reason": "stop"}], "usage": usage}, "oa/m"),
    "anthropic": ("m", lambda usage: {"content": [{"type": "text", "text": SAID}], "stop_reason": "end_turn", "usage": usage}, "an/m"),
}


@pytest.mark.parametrize("usage", [{}, {"input": 9}, {"input": 9, "output": None}], ids=str)
@pytest.mark.parametrize("surface", [OPENAI[0], MESSAGES[0]], ids=["chat", "messages"])
@pytest.mark.parametrize("which", NO_OUTPUT)
def test_an_output_that_nobody_tells_is_not_none(gateway, upstream, which, surface, usage):
    model, answer, called = NO_OUTPUT[which]
    names = {"input": "prompt_tokens", "output": "completion_tokens"} if which == "openai" else {"input": "input_tokens", "output": "output_tokens"}
    upstream.serve(model, provider.answer_json(answer({names[name]: count for name, count in usage.items()})))
    key, soft = gateway.new_key(budget="1/ever"), gateway.new_key()
    for caller in (key, soft):
        body = {"model": called, "max_tokens": MOST, "messages": [{"role": "user", "content": "Hi"}]}
        assert gateway.request("POST", surface, json.dumps(body).encode(), caller["key"]).status == 200
    assert WORST <= charged(gateway, key)["cost_nano_usd"] <= WORST + LITTLE
    assert charged(gateway, soft)["output_tokens"] >= 50


@pytest.mark.parametrize(
    ("path", "body", "least"),
    [
        # Forty texts of at most 8,192 tokens each, not one.
        ("/v1/embeddings", {"model": "oa/e", "input": ["x" * 8000] * 40}, 0.32),
        ("/v1/completions", {"model": "oa/e", "prompt": ["x" * 8000] * 40, "max_tokens": 0}, 0.32),
        # The query is read with every document.
        ("/v2/rerank", {"model": "co/r", "query": "x" * 3000, "documents": ["y" * 20] * 200}, 0.6),
    ],
    ids=["embeddings", "completions", "rerank"],
)
def test_every_input_is_held_against_the_budget(start_gateway, upstream, path, body, least):
    gateway = start_gateway(providers={"oa": file(upstream.url, ["openai_chat"]), "co": file(upstream.url, ["cohere_v2"])})
    reply = gateway.request("POST", path, json.dumps(body).encode(), gateway.new_key(budget=f"{least - 0.01:.3f}/ever")["key"])
    assert reply.status == 402, reply
    assert upstream.requests == []


@pytest.mark.parametrize("item", [{"id": "msg_1"}, {"type": "reasoning", "id": "rs_1", "summary": []}, {"type": "image_generation_call", "id": "ig_1"}])
def test_an_item_that_is_named_by_its_id_alone_counts_as_all_that_the_model_reads(gateway, upstream, item):
    body = {"model": "oa/m", "max_output_tokens": 16, "input": [item, {"role": "user", "content": "Go on"}]}
    # 200,000 tokens are 0.2 USD.
    reply = gateway.request("POST", "/v1/responses", json.dumps(body).encode(), gateway.new_key(budget="0.2/ever")["key"])
    assert code(reply) == (402, "budget_exceeded")
    own = {"id": "msg_1", "type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Hi"}]}
    upstream.serve_at("POST", "/responses", provider.error(500))
    reply = gateway.request("POST", "/v1/responses", json.dumps(body | {"input": [own]}).encode(), gateway.new_key(budget="0.2/ever")["key"])
    assert reply.status >= 500 and upstream.requests


@pytest.mark.parametrize("fields", [{"venice_parameters": {"enable_web_search": "on"}}, {"webSearch": True}, {"linkup": {}}, {"force_search_enhancement": True}])
def test_searches_by_any_name_are_refused_where_a_budget_could_not_hold_them(gateway, upstream, fields):
    assert code(ask(gateway, gateway.new_key(budget="100/ever")["key"], "oa/m", **fields)) == (403, "tools_with_budget")
    assert upstream.requests == []
    upstream.serve("m", provider.chat("Hi"))
    assert ask(gateway, gateway.new_key(budget="100/ever")["key"], "oa/m", enable_search=False).status == 200


def test_a_prompt_that_the_provider_keeps_may_have_any_tools(gateway, upstream):
    body = {"model": "oa/m", "max_output_tokens": 16, "prompt": {"id": "pmpt_1"}}
    reply = gateway.request("POST", "/v1/responses", json.dumps(body).encode(), gateway.new_key(budget="100/ever")["key"])
    assert code(reply) == (403, "tools_with_budget") and "a prompt that it keeps" in reply.json()["error"]["message"]
    assert upstream.requests == []


TITAN = "amazon.titan-embed-text-v2:0"


@pytest.fixture
def titan(start_gateway, upstream):
    """A gateway before a model that takes one text a call, and what it was called with; `ends ID` ends that key meanwhile."""
    called, busy = [], [1]

    def answer(asked):
        text = asked.json()["inputText"]
        called.append(text)
        if text.startswith("ends "):
            running.admin("POST", f"/keys/{text.split()[1]}/revoke", {})
        if text.endswith(" busy"):
            return provider.error(429)
        if text == "wrong" or (text == "busy" and busy and busy.pop()):
            return provider.error(400 if text == "wrong" else 429)
        return Answer(json.dumps({"embedding": [0.5], "inputTextTokenCount": 8}).encode())

    for place in (TITAN, TITAN.replace(":", "%3A")):
        upstream.serve_at("POST", f"/model/{place}/invoke", answer)
    providers = {"be": file(upstream.url, ["bedrock_converse"], models={TITAN: "context = 8192"})}
    running = start_gateway(providers=providers, env={"KEYWARD_UPSTREAM_MAX_BACKOFF": "20ms"})
    return running, called


def embed(gateway, key, texts):
    return gateway.request("POST", "/v1/embeddings", json.dumps({"model": f"be/{TITAN}", "input": texts}).encode(), key["key"])


def test_calls_that_were_answered_before_one_that_was_not_are_charged(titan):
    gateway, called = titan
    for key in (gateway.new_key(budget="1/ever"), gateway.new_key()):
        called.clear()
        reply = embed(gateway, key, ["fine"] * 3 + ["wrong"])
        assert code(reply) == (502, "provider_answered_in_part") and "answered 3 of 4" in reply.json()["error"]["message"], reply
        assert called == ["fine"] * 3 + ["wrong"], "those that were answered are asked once"
        assert charged(gateway, key)["cost_nano_usd"] > 0
    called.clear()
    key = gateway.new_key(budget="1/ever")
    assert embed(gateway, key, ["wrong", "fine"]).status == 400 and called == ["wrong"]
    assert charged(gateway, key)["cost_nano_usd"] == 0


def test_one_call_of_several_that_is_too_much_for_now_is_made_again_alone(titan):
    gateway, called = titan
    key = gateway.new_key(budget="1/ever")
    assert embed(gateway, key, ["fine", "busy", "fine"]).status == 200
    assert called == ["fine", "busy", "busy", "fine"]
    assert charged(gateway, key)["input_tokens"] == 24


@pytest.mark.parametrize("then", ["", " busy"], ids=["next-call", "another-attempt"])
def test_of_several_calls_none_is_made_for_a_key_that_has_ended(titan, then):
    gateway, called = titan
    key = gateway.new_key(budget="1/ever")
    texts = ["fine", f"ends {key['id']}{then}", "fine"]
    assert code(embed(gateway, key, texts)) == (401, "key_revoked")
    assert called == texts[:2]
    assert charged(gateway, key)["cost_nano_usd"] > 0, "what was answered is charged"


def test_a_picture_is_no_text_of_its_length(gateway, upstream):
    upstream.serve("m", provider.chat("Hi"))
    picture = "data:image/png;base64," + base64.b64encode(os.urandom(1_000_000)).decode()
    messages = [{"role": "user", "content": [{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {"url": picture}}]}]
    assert ask(gateway, gateway.new_key(limit="tokens/minute=20000")["key"], "oa/m", max_tokens=10, messages=messages).status == 200
    # A text stays one.
    messages = [{"role": "user", "content": [{"type": "text", "text": "x y" * 100_000}, {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}]}]
    reply = ask(gateway, gateway.new_key(limit="tokens/minute=20000")["key"], "oa/m", max_tokens=10, messages=messages)
    assert code(reply) == (429, "request_too_large")


def test_tokens_that_are_held_are_waited_for_and_not_the_end_of_the_hour(gateway, upstream):
    hold = Hold()
    first = provider.chat("Hi", usage={"prompt_tokens": 5, "completion_tokens": 200, "total_tokens": 205})
    first.hold = hold
    upstream.serve("m", first, provider.chat("Hi"))
    key = gateway.new_key(limit="output-tokens/hour=10000")["key"]
    caller = threading.Thread(target=ask, args=(gateway, key, "oa/m"), kwargs={"max_tokens": 8000})
    caller.start()
    assert hold.reached.wait(timeout=10)
    reply = ask(gateway, key, "oa/m", max_tokens=8000)
    assert code(reply) == (429, "rate_limit_exceeded") and reply.headers["retry-after"] == "1" and "x-should-retry" not in reply.headers
    assert "requests that still run may take up to 8000" in reply.json()["error"]["message"]
    hold.released.set()
    caller.join()
    assert eventually(lambda: ask(gateway, key, "oa/m", max_tokens=8000).status == 200)


PICTURE = "A" * 1_600_000


def long_answer(dialect):
    """An answer of more than a MiB, whose usage stands at its end: ten tokens in, and 1,290 out."""
    if dialect == "gemini":
        parts = [{"inlineData": {"mimeType": "image/png", "data": PICTURE}}]
        usage = {"promptTokenCount": 10, "candidatesTokenCount": 1290, "totalTokenCount": 1300}
        return {"candidates": [{"content": {"role": "model", "parts": parts}, "finishReason": "STOP", "index": 0}], "usageMetadata": usage}
    if dialect == "anthropic":
        said = [{"type": "text", "text": PICTURE + 'a member "usage": {"input_tokens": 1}'}]
        usage = {"input_tokens": 10, "output_tokens": 1290}
        return {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": said, "stop_reason": "end_turn", "usage": usage}
    if dialect == "ollama":
        message = {"role": "assistant", "content": PICTURE}
        return {"model": "m", "created_at": "2026-01-01T00:00:00Z", "message": message, "done": True, "prompt_eval_count": 10, "eval_count": 1290}
    choice = {"index": 0, "message": {"role": "assistant", "content": PICTURE}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 10, "completion_tokens": 1290, "total_tokens": 1300}
    return {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": usage}


LONG = {
    "openai": ("/chat/completions", "/v1/chat/completions", {"model": "oa/m", "messages": OPENAI[1]["messages"]}),
    "anthropic": ("/messages", "/v1/messages", {"model": "an/m", "max_tokens": MOST, "messages": OPENAI[1]["messages"]}),
    "gemini": ("/models/m:generateContent", "/v1beta/models/ge/m:generateContent", {"contents": GENERATE[1]["contents"]}),
    "ollama": ("/api/chat", "/api/chat", {"model": "ol/m", "stream": False, "messages": OPENAI[1]["messages"]}),
}


@pytest.mark.parametrize("dialect", LONG)
@pytest.mark.parametrize("chunked", [False, True], ids=["of a length", "chunked"])
def test_a_long_answer_costs_what_its_end_reports(start_gateway, upstream, dialect, chunked):
    names = {"oa": "openai_chat", "an": "anthropic_messages", "ge": "gemini", "ol": "ollama"}
    gateway = start_gateway(providers={name: file(upstream.url, [spoken]) for name, spoken in names.items()})
    at, path, body = LONG[dialect]
    told = json.dumps(long_answer(dialect)).encode()
    headers = {"content-type": "application/json"}
    upstream.serve_at("POST", at, lambda _: Answer(told, headers=headers, stream=True) if chunked else Answer(told, headers=headers))
    key = gateway.new_key(budget="1/ever")
    reply = gateway.request("POST", path, json.dumps(body).encode(), key["key"])
    assert (reply.status, len(reply.body)) == (200, len(told)) and ("content-length" in reply.headers) != chunked
    used = charged(gateway, key)
    assert (used["input_tokens"], used["output_tokens"], used["cost_nano_usd"], used["failed"]) == (10, 1290, 10 * 1000 + 1290 * 10000, 0)


def test_what_was_not_reported_costs_no_more_than_what_was_reserved(gateway, upstream):
    body = json.dumps({key: value for key, value in long_answer("gemini").items() if key != "usageMetadata"}).encode()
    upstream.serve_at("POST", "/models/m:generateContent", lambda _: Answer(body, headers={"content-type": "application/json"}))
    key = gateway.new_key(budget="1/ever")
    reply = gateway.request("POST", LONG["gemini"][1], json.dumps(GENERATE[1]).encode(), key["key"])
    assert reply.status == 200 and WORST <= charged(gateway, key)["cost_nano_usd"] <= WORST + LITTLE


@pytest.mark.parametrize("count", [2**64 - 1, 2**63])
def test_a_count_that_is_nonsense_breaks_nothing(gateway, upstream, count):
    answer = long_answer("gemini") | {"usageMetadata": {"promptTokenCount": count, "toolUsePromptTokenCount": count, "candidatesTokenCount": count, "thoughtsTokenCount": count}}
    body = json.dumps(answer).encode()
    upstream.serve_at("POST", "/models/m:generateContent", lambda _: Answer(body, headers={"content-type": "application/json"}))
    key = gateway.new_key(budget="1/ever")
    assert gateway.request("POST", LONG["gemini"][1], json.dumps(GENERATE[1]).encode(), key["key"]).status == 200
    assert charged(gateway, key)["cost_nano_usd"] >= WORST


@pytest.mark.parametrize("surface", [OPENAI[0], MESSAGES[0]], ids=["chat", "messages"])
@pytest.mark.parametrize("model", ["oa/m", "an/m", "ge/m"])
def test_an_error_that_is_told_as_a_success_costs_nothing_in_whichever_dialect(gateway, upstream, model, surface):
    told = {"error": {"type": "overloaded_error", "message": "Too many ask."}} | ({"type": "error"} if model == "an/m" else {})
    upstream.serve("m", provider.answer_json(told))
    upstream.serve_at("POST", "/models/m:generateContent", provider.answer_json(told))
    key = gateway.new_key(budget="1/ever")
    body = {"model": model, "max_tokens": MOST, "messages": [{"role": "user", "content": "Hi"}]}
    reply = gateway.request("POST", surface, json.dumps(body).encode(), key["key"])
    assert (reply.status, b"Too many ask." in reply.body) == (502, True), reply
    assert charged(gateway, key)["cost_nano_usd"] == 0


RESPONSES = ("/v1/responses", {"model": "oa/m", "max_output_tokens": 16})
USER = {"role": "user", "content": "Hi"}
TALKING = {"model": "oa/m", "max_tokens": 9, "messages": [USER]}
SEARCH = {"type": "web_search"}


@pytest.mark.parametrize(
    ("path", "body", "expected"),
    [
        (*RESPONSES[:1], RESPONSES[1] | {"input": [{"type": "additional_tools", "role": "developer", "tools": [SEARCH]}, USER]}, "tools_with_budget"),
        (*RESPONSES[:1], RESPONSES[1] | {"input": [{"type": "additional\\u005ftools", "tools": [SEARCH]}, USER]}, "tools_with_budget"),
        (*RESPONSES[:1], RESPONSES[1] | {"input": [{"type": "tool_search_output", "tools": [SEARCH]}, USER]}, "tools_with_budget"),
        (*RESPONSES[:1], RESPONSES[1] | {"input": "Hi", "multi_agent": {"enabled": True}}, "tools_with_budget"),
        (*RESPONSES[:1], RESPONSES[1] | {"input": "Hi", "tools": SEARCH}, "tools_with_budget"),
        (*RESPONSES[:1], RESPONSES[1] | {"input": "Hi", "swarm": {"size": 9}}, "unknown_field_with_budget"),
        (*RESPONSES[:1], RESPONSES[1] | {"input": "Hi", "extra_body": {"tools": [SEARCH]}}, "unknown_field_with_budget"),
        (*RESPONSES[:1], RESPONSES[1] | {"input": "Hi", "extra_body": {"n": 16}}, "unknown_field_with_budget"),
        ("/v1/messages", LONG["anthropic"][2] | {"providerOptions": {"anthropic": {"mcpServers": [{"type": "url", "url": "https://a.b"}]}}}, "unknown_field_with_budget"),
        ("/v1/chat/completions", TALKING | {"providerOptions": {"xai": {"searchParameters": {"mode": "on"}}}}, "unknown_field_with_budget"),
        ("/v1/chat/completions", TALKING | {"provider_options": {"google": {"useSearchGrounding": True}}}, "unknown_field_with_budget"),
        ("/v1/chat/completions", TALKING | {"providerOptions": {"openai": {"previousResponseId": "resp_1"}}}, "unknown_field_with_budget"),
        ("/v1/chat/completions", TALKING | {"providerOptions": {"openai": {"maxCompletionTokens": 100000}}}, "unknown_field_with_budget"),
        ("/v1/chat/completions", TALKING | {"guardrails": [{"moderation_llm_v1": {}}]}, "unknown_field_with_budget"),
        ("/v1beta/models/ge/m:generateContent", GENERATE[1] | {"modelArmorConfig": {"promptTemplateName": "t"}}, "unknown_field_with_budget"),
        ("/v1beta/models/ge/m:generateContent", GENERATE[1] | {"tools": [{"name": "x", "googleSearch": {}}]}, "tools_with_budget"),
        ("/v1/chat/completions", TALKING | {"tools": [{"type": "function", "function": {"name": "f"}, "google_search": {}}]}, "tools_with_budget"),
        ("/v1beta/models/ge/m:generateContent", GENERATE[1] | {"tools": {"google_search": {}}}, "tools_with_budget"),
        ("/v1/messages", LONG["anthropic"][2] | {"messages": [{"role": "user", "content": [{"type": "tool_addition", "tool": {"type": "web_search_20250305"}}]}]}, "tools_with_budget"),
        ("/v1/messages", LONG["anthropic"][2] | {"thread": {"type": "continue", "previous_message_id": "msg_1"}}, "unknown_field_with_budget"),
        ("/v1/chat/completions", {"model": "oa/m", "max_tokens": 9, "messages": [USER], "providerOptions": {"gateway": {"models": ["an/m"]}}}, "other_models_named"),
        ("/v1/chat/completions", {"model": "oa/m", "max_tokens": 9, "messages": [USER], "providerOptions": {"gateway": {"fallback": "an/m"}}}, "other_models_named"),
    ],
)
def test_nothing_that_a_provider_could_do_besides_answering_is_held_against_a_budget_unseen(gateway, upstream, path, body, expected):
    raw = json.dumps(body).replace("\\\\u005f", "\\u005f").encode()
    reply = gateway.request("POST", path, raw, gateway.new_key(budget="100/ever")["key"])
    assert reply.status == 403 and expected in (reply.body.decode() + str(reply.headers)), reply
    assert upstream.requests == []
    if expected == "other_models_named":
        assert code(gateway.request("POST", path, raw, gateway.new_key(models="oa/m")["key"])) == (403, expected)
        assert upstream.requests == []
    # Where nothing has to hold, it is for the provider to judge.
    gateway.request("POST", path, raw, gateway.new_key(budget="100/ever:soft")["key"])
    assert upstream.requests


@pytest.mark.parametrize(
    "fields",
    [
        {"tool_choice": "auto", "tools": [{"type": "function", "function": {"name": "f", "description": "additional_tools", "parameters": {}}}]},
        {"response_format": {"type": "json_object"}, "metadata": {"a": "b"}, "chat_template_kwargs": {"x": 1}, "provider": {"data_collection": "deny"}, "logit_bias": {"1": 2}},
        {"swarm": [], "crew": {}, "herd": { }, "size": 0, "flag": False, "top_k": 3, "min_p": 0.1, "repetition_penalty": 1.1, "enable_thinking": True},
        {"providerOptions": {"anthropic": {"thinking": {"type": "enabled", "budgetTokens": 1024}, "mcpServers": []}, "google": {"thinkingConfig": {"includeThoughts": True}}}},
        {"client_metadata": {"a": "b"}, "providerOptions": {"openai": {"reasoningEffort": "low"}}, "extra_body": {"google": {"thinking_config": {"thinking_budget": 9}}}},
    ],
)
def test_what_only_shapes_an_answer_is_let_in_under_a_budget(gateway, upstream, fields):
    upstream.serve("m", provider.chat("Hi"))
    assert ask(gateway, gateway.new_key(budget="1/ever")["key"], "oa/m", max_tokens=9, **fields).status == 200


def test_holders_within_holders_are_refused_and_harm_nobody(gateway, upstream):
    deep = '{"extra_body":' * 20_000 + "1" + "}" * 20_000
    body = json.dumps(TALKING | {"extra_body": "@"}).replace('"@"', deep).encode()
    for limits in ({}, {"budget": "1/ever"}):
        reply = gateway.request("POST", "/v1/chat/completions", body, gateway.new_key(**limits)["key"])
        assert reply.status in (200, 400, 403), reply
    upstream.serve("m", provider.chat("Hi"))
    assert ask(gateway, gateway.new_key()["key"], "oa/m").status == 200


@pytest.mark.parametrize("fields", [{"max_tokens": 0, "prediction": None}, {"max_tokens": 0, "prediction": ""}, {"max_tokens": None, "prediction": {"type": "content", "content": "x" * 20_000}}])
def test_what_is_foretold_is_held_besides_the_most_that_a_model_says(gateway, upstream, fields):
    """The most that it says are 10,000 tokens, which are 0.1 USD."""
    least = 0.3 if len(str(fields)) > 9999 else 0.1
    body = json.dumps({"model": "oa/m", "messages": [USER], **fields}).encode()
    reply = gateway.request("POST", "/v1/chat/completions", body, gateway.new_key(budget=f"{least - 0.001:.3f}/ever")["key"])
    assert code(reply) == (402, "budget_exceeded")
    assert upstream.requests == []


@pytest.mark.parametrize("model", ["oa/m", "an/m", "ge/m"])
def test_no_tokens_at_all_are_no_limit_in_any_translation(gateway, upstream, model):
    assert code(ask(gateway, gateway.new_key(budget="0.09/ever")["key"], model, max_tokens=0)) == (402, "budget_exceeded")
    assert upstream.requests == []


def test_a_limit_that_completions_do_not_know_is_none(gateway, upstream):
    body = json.dumps({"model": "oa/m", "prompt": "Hi", "max_completion_tokens": 1}).encode()
    assert code(gateway.request("POST", "/v1/completions", body, gateway.new_key(budget="0.09/ever")["key"])) == (402, "budget_exceeded")
    assert upstream.requests == []


def test_a_limit_that_is_raised_in_translation_is_held_as_it_is_raised(start_gateway, upstream):
    files = {"re": file(upstream.url, ["openai_responses"], {"m": "context = 200000, max_output = 10000"})}
    gateway = start_gateway(providers=files)
    # Sixteen tokens are 160 micro-dollars, and what is read is less than 100.
    assert code(ask(gateway, gateway.new_key(budget="0.00016/ever")["key"], "re/m", max_tokens=1)) == (402, "budget_exceeded")
    assert upstream.requests == []


def test_cached_sound_is_charged_once(gateway, upstream):
    sound = [{"modality": "AUDIO", "tokenCount": 10_000}]
    usage = {"promptTokenCount": 10_000, "candidatesTokenCount": 1, "cachedContentTokenCount": 9_000}
    usage |= {"promptTokensDetails": sound, "cacheTokensDetails": [{"modality": "AUDIO", "tokenCount": 9_000}]}
    answer = json.dumps(long_answer("gemini") | {"usageMetadata": usage}).encode()
    upstream.serve_at("POST", "/models/m:generateContent", lambda _: Answer(answer, headers={"content-type": "application/json"}))
    key = gateway.new_key()
    assert gateway.request("POST", LONG["gemini"][1], json.dumps(GENERATE[1]).encode(), key["key"]).status == 200
    assert charged(gateway, key)["cost_nano_usd"] == 10_000 * 1000 + 10_000


@pytest.mark.parametrize("status", [204, 301, 304, 308])
def test_an_answer_by_which_nobody_has_worked_costs_nothing(gateway, upstream, status):
    upstream.serve("m", Answer(b"", status, {"location": "https://example.com/elsewhere"}))
    key = gateway.new_key(budget="1/ever")
    assert code(ask(gateway, key["key"], "oa/m", max_tokens=MOST)) == (502, "provider_bad_answer")
    assert charged(gateway, key)["cost_nano_usd"] == 0
    # One that could have been an answer may be billed.
    upstream.serve("m", Answer(b"<html>", 200, {"content-type": "text/html"}))
    assert code(ask(gateway, key["key"], "oa/m", max_tokens=MOST)) == (502, "provider_bad_answer")
    assert charged(gateway, key, 2)["cost_nano_usd"] >= WORST


def test_what_a_tool_is_called_with_is_no_end(gateway, upstream):
    """Whoever hangs up is charged what was reserved, whatever they have had a model say."""
    part = {"functionCall": {"name": "f", "args": {"finishReason": "STOP", "usageMetadata": {"promptTokenCount": 1}}}}
    chunk = {"candidates": [{"content": {"role": "model", "parts": [part]}, "index": 0}], "usageMetadata": {"promptTokenCount": 3}}
    said = events(chunk)
    serve(upstream, "/models/m:streamGenerateContent", said + b" " * 9, Hold(after=len(said)))
    key = gateway.new_key(budget="1/ever")
    assert hang_up(gateway, key["key"], *GENERATE, len(said)) == 200
    assert charged(gateway, key)["cost_nano_usd"] >= WORST


@pytest.mark.parametrize("indent", [None, 2])
def test_a_growing_array_tells_what_it_cost(gateway, upstream, indent):
    """Gemini's stream without `alt=sse`, on one line or on many."""
    finish = {"candidates": [{"content": {"parts": [{"text": "]}"}]}, "finishReason": "STOP"}], "usageMetadata": {"promptTokenCount": 20, "candidatesTokenCount": 7}}
    text = json.dumps([{"candidates": [{"content": {"parts": [{"text": "Hi\"["}]}}]}, finish], indent=indent).encode()
    upstream.serve_at("POST", "/models/m:streamGenerateContent", Answer(text, stream=True))
    key = gateway.new_key(budget="1/ever")
    reply = gateway.request("POST", GENERATE[0].partition("?")[0], json.dumps(GENERATE[1]).encode(), key["key"])
    assert (reply.status, reply.body) == (200, text)
    used = charged(gateway, key)
    assert (used["input_tokens"], used["output_tokens"], used["cost_nano_usd"]) == (20, 7, 20 * 1000 + 7 * 10000)


def test_what_a_ranking_repeats_is_no_usage(start_gateway, upstream):
    gateway = start_gateway(providers={"co": file(upstream.url, ["cohere_v2"])})
    documents = [{"text": "a", "usage": {"prompt_tokens": 0, "total_tokens": 0}, "meta": {"billed_units": {"input_tokens": 0}}}]
    ranked = {"usage": {"total_tokens": 900}, "results": [{"index": 0, "relevance_score": 1, "document": documents[0]}]}
    upstream.serve("r", provider.answer_json(ranked))
    key = gateway.new_key(budget="1/ever")
    body = {"model": "co/r", "query": "x", "documents": documents, "return_documents": True}
    assert gateway.request("POST", "/v2/rerank", json.dumps(body).encode(), key["key"]).status == 200
    assert charged(gateway, key)["cost_nano_usd"] == 900 * 1000


@pytest.mark.parametrize(
    "fields",
    [
        {"preset": "deep-research"},
        {"enable_code_interpreter": True},
        {"chat_template": "{% for i in range(300000) %}x{% endfor %}"},
        {"agent_id": "a"},
        {"num_return_sequences": 100},
        {"service_tier": "priority"},
        {"inference_geo": "us"},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_single_words_are_refused_that_a_budget_could_not_hold(gateway, upstream, fields):
    upstream.serve("m", provider.chat("Hi"))
    told = ask(gateway, gateway.new_key(budget="100/ever")["key"], "oa/m", **fields)
    assert code(told) == (403, "unknown_field_with_budget") and f"'{next(iter(fields))}'" in told.json()["error"]["message"]
    assert upstream.requests == []
    plain = {name: "default" if name == "service_tier" else "global" if name == "inference_geo" else None for name in fields}
    assert ask(gateway, gateway.new_key(budget="100/ever")["key"], "oa/m", **plain).status == 200
    assert ask(gateway, gateway.new_key(budget="100/ever:soft")["key"], "oa/m", **fields).status == 200


@pytest.mark.parametrize("chosen", [{"only": ["dear"]}, {"order": ["dear", "azure"]}, {"sort": "ttft"}], ids=lambda chosen: next(iter(chosen)))
@pytest.mark.parametrize("name", ["providerOptions", "provider_options", "provider"])
def test_nobody_chooses_who_serves_at_another_price_than_is_held(start_gateway, upstream, chosen, name):
    router = file(upstream.url, ["openai_chat"])
    held = router.replace("[models]", '[quirks]\nmax_price = "provider.max_price"\n\n[models]')
    telling = router.replace("[models]", "[quirks]\ntells_cost = true\n\n[models]")
    gateway = start_gateway(providers={"oa": router, "held": held, "telling": telling})
    within = (lambda chosen: chosen) if name == "provider" else (lambda chosen: {"gateway": chosen})
    fields = {name: within(chosen)}
    told = ask(gateway, gateway.new_key(budget="100/ever")["key"], "oa/m", **fields)
    assert code(told) == (403, "unknown_field_with_budget") and f"'{name}'" in told.json()["error"]["message"]
    assert upstream.requests == []
    for model, limits in [("held/m", {"budget": "100/ever"}), ("telling/m", {"budget": "100/ever"}), ("oa/m", {"budget": "100/ever:soft"}), ("oa/m", {"models": "oa/m"})]:
        assert ask(gateway, gateway.new_key(**limits)["key"], model, **fields).status == 200, model
    assert ask(gateway, gateway.new_key(budget="100/ever")["key"], "oa/m", **{name: within({"user": "u", "tags": ["context-eval"]})}).status == 200


WIDE = "context-1m-2025-08-07"
TALK = {"max_tokens": 9, "messages": [USER]}
CONVERSE = {"messages": [{"role": "user", "content": [{"text": "Hi"}]}], "inferenceConfig": {"maxTokens": 9}}


@pytest.mark.parametrize(
    ("path", "body", "flags"),
    [
        ("/v1/messages", TALK, f"computer-use-2025-01-24,{WIDE}"),
        ("/v1/messages", TALK | {"anthropic_beta": [WIDE]}, None),
        ("/v1/messages", TALK | {"betas": ["computer-use-2025-01-24", WIDE]}, None),
        ("/v1/chat/completions", TALK | {"extra_body": {"anthropic_beta": [WIDE]}}, None),
        ("/v1/chat/completions", TALK | {"providerOptions": {"anthropic": {"anthropicBeta": [WIDE]}}}, None),
        ("/model/{model}/converse", CONVERSE | {"additionalModelRequestFields": {"anthropic_beta": [WIDE]}}, None),
    ],
    ids=["header", "anthropic_beta", "betas", "extra_body", "providerOptions", "bedrock"],
)
def test_no_flag_has_a_model_take_more_than_is_held_for_it(start_gateway, upstream, path, body, flags):
    files = {name: file(upstream.url, [dialect], {"m": "context = 200000, max_output = 64", "wide": "context = 1000000, max_output = 64"})
             for name, dialect in [("an", "anthropic_messages"), ("oa", "openai_chat"), ("br", "bedrock_converse")]}
    gateway = start_gateway(providers=files)
    name = "an" if path == "/v1/messages" else "br" if "{" in path else "oa"

    def told(model, flags=flags, **limits):
        upstream.requests.clear()
        named = {"model": f"{name}/{model}"} if name != "br" else {}
        headers = {"anthropic-beta": flags} if flags else {}
        reply = gateway.request("POST", path.format(model=f"{name}%2F{model}"), json.dumps(body | named).encode(), gateway.new_key(**limits)["key"], **headers)
        return reply.status, f"'{WIDE}'" in reply.body.decode(), len(upstream.requests)

    assert told("m", budget="100/ever") == (403, True, 0)
    assert told("m", budget="100/ever:soft")[2] == 1, "it is for the provider to judge"
    assert told("wide", budget="100/ever")[2] == 1, "so much is held for it anyway"
    if flags:
        assert told("m", "context-management-2025-06-27,computer-use-2025-01-24", budget="100/ever")[2] == 1
        assert told("m", f"{WIDE},é".encode().decode("latin-1"), budget="100/ever") == (403, True, 0)
        name = "oa"
        assert told("m", budget="100/ever")[2] == 1, "who speaks another dialect is told of no flag"


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"top_k": 3, "n": 16}, "n"),
        ({"num_generations": 5}, "num_generations"),
        ({"numResults": 5}, "numResults"),
        ({"inferenceConfig": {"maxTokens": 40000}}, "inferenceConfig"),
        ({"max_completion_tokens": 40000}, "max_completion_tokens"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_bedrock_hands_to_a_model_by_itself_is_known_under_a_budget(start_gateway, upstream, fields, named):
    gateway = start_gateway(providers={"br": file(upstream.url, ["bedrock_converse"])})

    def told(fields, budget):
        upstream.requests.clear()
        body = json.dumps(CONVERSE | {"additionalModelRequestFields": fields}).encode()
        return gateway.request("POST", "/model/br%2Fm/converse", body, gateway.new_key(budget=budget)["key"])

    refused = told(fields, "100/ever")
    assert refused.status == 403 and f"'additionalModelRequestFields.{named}'" in refused.body.decode() and upstream.requests == []
    told(fields, "100/ever:soft")
    assert upstream.requests, "it is for the provider to judge"
    plain = {"top_k": 3, "thinking": {"type": "enabled", "budget_tokens": 1024}, "inferenceConfig": {"topK": 3}, "anthropic_beta": ["computer-use-2025-01-24"]}
    told(plain, "100/ever")
    assert upstream.requests


def test_thinking_it_over_several_times_is_another_model(gateway, upstream):
    upstream.serve_at("POST", "/responses", provider.error(500))
    body = {"model": "oa/m", "max_output_tokens": 16, "input": "Hi", "reasoning": {"mode": "pro"}}
    for limits in ({"budget": "100/ever"}, {"models": "oa/m"}):
        reply = gateway.request("POST", "/v1/responses", json.dumps(body).encode(), gateway.new_key(**limits)["key"])
        assert code(reply) == (403, "other_models_named") and upstream.requests == []
    body["reasoning"] = {"mode": "standard", "effort": "low"}
    gateway.request("POST", "/v1/responses", json.dumps(body).encode(), gateway.new_key(budget="100/ever")["key"])
    assert upstream.requests
