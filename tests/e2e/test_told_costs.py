"""Providers that say themselves what they charge: that is what is charged, and one that chooses who answers is told the highest price."""

import json
import re

import pytest

import recorded
import upstream as provider
from gateway import ROOT
from gateway import provider as provider_file
from test_chat import MESSAGES

TOLD = re.compile(r'"cost": ?([0-9.e-]+)')


def file_of(name, url):
    text = (ROOT / "providers" / f"{name}.toml").read_text()
    return re.sub(r'base_url = "[^"]*"', f'base_url = "{url}"', text, count=1)


def told(case):
    """Nano-dollars, as the provider told them last."""
    response = case["response"]
    found = TOLD.findall(response.get("text") or json.dumps(response.get("body")))
    return round(float(found[-1]) * 1e9) if found else None


def is_told(case):
    return case["provider"] == "openrouter" and case["op"] == "chat" and told(case) is not None


@pytest.mark.parametrize("case", recorded.cases("openai_chat", is_told))
def test_recorded_costs_are_charged(start_gateway, upstream, case):
    gateway = start_gateway(providers={"openrouter": file_of("openrouter", upstream.url)}, env={"OPENROUTER_API_KEY": "sk-or-v1-recorded"})
    key, model = gateway.new_key(), case["request"]["body"]["model"]
    upstream.serve(model, recorded.answer(case["id"]))
    body = case["request"]["body"] | {"model": f"openrouter/{model}"}
    assert gateway.request("POST", "/v1/chat/completions", json.dumps(body).encode(), key["key"]).status == 200
    assert gateway.usage("key", key["id"], 1)["cost_nano_usd"] == told(case)
    assert "max_price" not in upstream.requests[-1].json().get("provider", {}), "no budget has to hold"


USAGE = {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}


@pytest.mark.parametrize(
    ("name", "variable", "model", "more", "cost"),
    [
        ("openrouter", "OPENROUTER_API_KEY", "z-ai/glm-4.6", {"cost": 0.000014}, 14_000),
        ("openrouter", "OPENROUTER_API_KEY", "z-ai/glm-4.6", {"cost": 0}, 0),
        # Whoever answers by a key of one's own charges beside OpenRouter.
        ("openrouter", "OPENROUTER_API_KEY", "z-ai/glm-4.6", {"cost": 0.000001, "is_byok": True, "cost_details": {"upstream_inference_cost": 0.00002}}, 21_000),
        ("xai", "XAI_API_KEY", "grok-4.3", {"cost_in_usd_ticks": 37_756_000}, 3_775_600),
        ("perplexity", "PERPLEXITY_API_KEY", "sonar", {"cost": {"input_tokens_cost": 0.000009, "request_cost": 0.005, "total_cost": 0.005013}}, 5_013_000),
        # Of anybody else it may be anything.
        ("groq", "GROQ_API_KEY", "openai/gpt-oss-20b", {"cost": 99}, None),
    ],
)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_costs_are_charged_as_they_are_told(start_gateway, upstream, name, variable, model, more, cost, stream):
    gateway = start_gateway(providers={name: file_of(name, upstream.url)}, env={variable: "sk-told"})
    usage = USAGE | more
    if stream:
        chunks = [{"id": "c", "choices": [{"index": 0, "delta": {"content": "Hi"}, "finish_reason": "stop"}]}, {"id": "c", "choices": [], "usage": usage}]
        lines = [f"data: {json.dumps(chunk)}\n\n" for chunk in chunks] + ["data: [DONE]\n\n"]
        answer = provider.Answer("".join(lines).encode(), headers={"content-type": "text/event-stream"}, stream=True)
    else:
        answer = provider.answer_json({"id": "c", "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}], "usage": usage})
    upstream.serve(model, answer)
    # Who charges besides tokens is asked under no hard one.
    key = gateway.new_key(budget="1/month:soft" if name == "perplexity" else "1/month")
    body = {"model": f"{name}/{model}", "messages": MESSAGES, "max_tokens": 50, "stream": stream}
    assert gateway.request("POST", "/v1/chat/completions", json.dumps(body).encode(), key["key"]).status == 200
    charged = gateway.usage("key", key["id"], 1)["cost_nano_usd"]
    assert charged == cost if cost is not None else 0 < charged < 100_000


@pytest.mark.parametrize("surface", ["messages", "chat"])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize(("more", "cost"), [({"cost": 0.25}, 250_000_000), ({"cost": 0.01, "is_byok": True, "cost_details": {"upstream_inference_cost": 0.02}}, 30_000_000), ({"cost": "?"}, None)])
@pytest.mark.parametrize("tells", [True, False])
def test_costs_are_charged_as_they_are_told_in_messages(start_gateway, upstream, surface, stream, more, cost, tells):
    priced = '"m" = { context = 1000, max_output = 100, price = { input = 1, output = 10 } }\n[quirks]\n' + ("tells_cost = true" if tells else "")
    gateway = start_gateway(providers={"test": provider_file(upstream.url, dialects=["anthropic_messages"], models=priced)})
    usage = {"input_tokens": 9, "output_tokens": 4, **more}
    message = {"id": "m", "type": "message", "role": "assistant", "model": "m", "content": [], "stop_reason": None, "usage": {"input_tokens": 9, "output_tokens": 1}}
    events = [
        {"type": "message_start", "message": message},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None}, "usage": usage},
        {"type": "message_stop"},
    ]
    lines = "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events)
    streamed = provider.Answer(lines.encode(), headers={"content-type": "text/event-stream"}, stream=True)
    upstream.serve("m", streamed if stream else provider.answer_json(message | {"stop_reason": "end_turn", "usage": usage}))
    key, path = gateway.new_key(), {"messages": "/v1/messages", "chat": "/v1/chat/completions"}[surface]
    body = {"model": "test/m", "messages": MESSAGES, "max_tokens": 50, "stream": stream}
    assert gateway.request("POST", path, json.dumps(body).encode(), key["key"]).status == 200
    assert gateway.usage("key", key["id"], 1)["cost_nano_usd"] == (cost if tells and cost else 9 * 1000 + 4 * 10_000)


@pytest.mark.parametrize(
    ("asked", "sent"),
    [
        (None, {}),
        ({"order": ["Z.AI"], "max_price": {"prompt": 99, "completion": 99}}, {"order": ["Z.AI"]}),
    ],
    ids=["silent", "asked"],
)
@pytest.mark.parametrize("surface", ["chat", "messages", "responses"])
def test_who_chooses_is_told_the_price_that_was_reserved(start_gateway, upstream, asked, sent, surface):
    gateway = start_gateway(providers={"openrouter": file_of("openrouter", upstream.url)}, env={"OPENROUTER_API_KEY": "sk-or-v1-told"})
    paths = {"chat": "/v1/chat/completions", "messages": "/v1/messages", "responses": "/v1/responses"}
    said = {"input": "Hi", "max_output_tokens": 50} if surface == "responses" else {"messages": MESSAGES, "max_tokens": 50}
    body = {"model": "openrouter/z-ai/glm-4.6", **said} | ({"provider": asked} if asked else {})
    upstream.serve("z-ai/glm-4.6", provider.answer_json({"error": {"message": "no"}}, status=404))
    for budget, is_hard in (("1/month", True), ("1/month:soft", False)):
        key = gateway.new_key(budget=budget)["key"]
        gateway.request("POST", paths[surface], json.dumps(body).encode(), key)
        got = upstream.requests[-1].json()
        price = got.get("provider", {}).get("max_price")
        if is_hard:
            assert {**got["provider"], "max_price": None} == {**sent, "max_price": None}
            assert 0 < price["prompt"] <= 1 and 0 < price["completion"] <= 5, price
        else:
            assert price == (asked or {}).get("max_price")
        assert {name: value for name, value in got.items() if name != "provider"}.keys() >= {"model", *said}


def billed(case):
    """Tokens in and out that Cohere bills, of which it uses more."""
    response = case["response"]
    found = re.findall(r'"billed_units": ?\{"input_tokens": ?(\d+), ?"output_tokens": ?(\d+)\}', response.get("text") or json.dumps(response.get("body")))
    return tuple(map(int, found[-1]))


@pytest.mark.parametrize("surface", ["/v1/chat/completions", "/v1/messages"])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_what_was_thought_is_charged_where_the_total_alone_tells_of_it(start_gateway, upstream, surface, stream):
    """Gemini's, as several gateways write it."""
    models = '"m" = { context = 100000, max_output = 5000, price = { input = 1, output = 10 } }'
    gateway = start_gateway(providers={"test": provider_file(upstream.url, dialects=("openai_chat",), models=models)})
    usage, key = {"prompt_tokens": 20, "completion_tokens": 198, "total_tokens": 623}, gateway.new_key()
    events = [{"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"content": "Hi"}, "finish_reason": "stop"}], "usage": usage}]
    upstream.serve("m", provider.answer_events(events) if stream else provider.chat("Hi", usage=usage))
    body = {"model": "test/m", "max_tokens": 1000, "messages": MESSAGES, "stream": stream}
    assert gateway.request("POST", surface, json.dumps(body).encode(), key["key"]).status == 200
    assert gateway.usage("key", key["id"], 1)["cost_nano_usd"] == (20 * 1 + 603 * 10) * 1000


@pytest.mark.parametrize("case", recorded.cases("cohere_v2", lambda case: case["op"] == "chat"))
def test_what_cohere_bills_is_charged(start_gateway, upstream, case):
    listed = '"recorded" = { context = 200000, max_output = 10000, price = { input = 1, output = 10 } }'
    gateway = start_gateway(providers={"co": provider_file(upstream.url, dialects=["cohere_v2"], models=listed)})
    upstream.serve("recorded", recorded.answer_of(case))
    key, (read, said) = gateway.new_key(budget="1/ever"), billed(case)
    body = case["request"]["body"] | {"model": "co/recorded"}
    assert gateway.request("POST", "/v2/chat", json.dumps(body).encode(), key["key"]).status == 200
    used = gateway.usage("key", key["id"], 1)
    assert used["cost_nano_usd"] == read * 1000 + said * 10000
    assert used["input_tokens"] == case["truth"]["usage"]["input"] > read


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_what_is_kept_for_an_hour_costs_twice_what_is_read(start_gateway, upstream, stream):
    listed = '"m" = { context = 200000, max_output = 10000, price = { input = 1, output = 10, cache_read = 0.1, cache_write = 1.25 } }'
    gateway = start_gateway(providers={"an": provider_file(upstream.url, dialects=["anthropic_messages"], models=listed)})
    written = {"ephemeral_5m_input_tokens": 100, "ephemeral_1h_input_tokens": 1000}
    usage = {"input_tokens": 10, "cache_creation_input_tokens": 1100, "cache_creation": written, "cache_read_input_tokens": 50, "output_tokens": 7}
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": [{"type": "text", "text": "Hi"}], "stop_reason": "end_turn", "stop_sequence": None}
    if stream:
        events = [
            {"type": "message_start", "message": {**message, "content": [], "stop_reason": None, "usage": usage | {"output_tokens": 1}}},
            {"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None}, "usage": {"output_tokens": 7}},
            {"type": "message_stop"},
        ]
        body = "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events).encode()
        answer = provider.Answer(body, headers={"content-type": "text/event-stream"}, stream=True)
    else:
        answer = provider.answer_json(message | {"usage": usage})
    upstream.serve("m", answer)
    said = "x" * 5000
    kept = {"role": "user", "content": [{"type": "text", "text": said, "cache_control": {"type": "ephemeral", "ttl": "1h"}}]}
    body = {"model": "an/m", "max_tokens": 10, "stream": stream, "messages": [kept]}
    for surface, sent in (("/v1/messages", body), ("/v1/chat/completions", body | {"messages": [{"role": "user", "content": kept["content"]}]})):
        key = gateway.new_key(budget="1/ever")
        assert gateway.request("POST", surface, json.dumps(sent).encode(), key["key"]).status == 200
        used = gateway.usage("key", key["id"], 1)
        assert used["cost_nano_usd"] == 10 * 1000 + 100 * 1250 + 1000 * 2000 + 50 * 100 + 7 * 10000
    # Five thousand bytes and more are a cent where they are kept for an hour, and 0.625 where for minutes.
    short = json.loads(json.dumps(body).replace('"1h"', '"5m"'))
    for sent, budget, status in ((body, "0.0090/ever", 402), (short, "0.0090/ever", 200), (body, "0.0120/ever", 200)):
        upstream.serve("m", answer)
        assert gateway.request("POST", "/v1/messages", json.dumps(sent).encode(), gateway.new_key(budget=budget)["key"]).status == status


@pytest.mark.parametrize(
    ("name", "variable", "model", "fields", "expected"),
    [
        # Each request makes searches, which cost besides.
        ("perplexity", "PERPLEXITY_API_KEY", "sonar", {}, "model_charges_besides"),
        ("openrouter", "OPENROUTER_API_KEY", "openai/gpt-oss-20b:free", {"plugins": [{"id": "web"}]}, "tools_with_budget"),
        ("openrouter", "OPENROUTER_API_KEY", "openai/gpt-oss-20b:free", {"tools": [{"type": "openrouter:web_search"}]}, "tools_with_budget"),
        ("openrouter", "OPENROUTER_API_KEY", "openai/gpt-oss-20b:free", {"preset": "x"}, "unknown_field_with_budget"),
        ("openrouter", "OPENROUTER_API_KEY", "openai/gpt-oss-20b:free", {}, None),
    ],
)
def test_what_is_charged_besides_tokens_passes_no_budget(start_gateway, upstream, name, variable, model, fields, expected):
    """A model without a price is free of tokens alone where its provider tells what it charges."""
    gateway = start_gateway(providers={name: file_of(name, upstream.url)}, env={variable: "sk-told"})
    answer = {"id": "c", "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}], "usage": USAGE | {"cost": 0}}
    upstream.serve(model, provider.answer_json(answer))
    key = gateway.new_key(budget="0.01/ever")["key"]
    body = {"model": f"{name}/{model}", "messages": MESSAGES, "max_tokens": 50, **fields}
    told = gateway.request("POST", "/v1/chat/completions", json.dumps(body).encode(), key)
    assert (told.status, told.json().get("error", {}).get("code")) == ((403, expected) if expected else (200, None)), told.body
    assert bool(upstream.requests) == (expected is None)


@pytest.mark.parametrize("surface", ["/v1/chat/completions", "/v1/messages"])
@pytest.mark.parametrize(
    ("first", "last", "status", "cost"),
    [
        # What counts no token tells nothing: all that was reserved is charged.
        ({"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}, None, "reserved", None),
        ({"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0, "cost": 0}, None, "reserved", None),
        ({"prompt_tokens": 20, "completion_tokens": 0, "total_tokens": 20}, "few", "reserved", None),
        # Nor does what counts nothing of what was said.
        ({"prompt_tokens": 20, "completion_tokens": 0, "total_tokens": 20}, None, "reserved", None),
        ({"prompt_tokens": 20, "completion_tokens": 1}, {"prompt_tokens": 0, "completion_tokens": 0}, "on the way", None),
        # A negative cost is none.
        ({"prompt_tokens": 20, "completion_tokens": 7, "cost": -1}, None, "reported", (20 + 70) * 1000),
        # And takes nothing back that was told before.
        ({"prompt_tokens": 20, "completion_tokens": 7}, {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}, "reported", (20 + 70) * 1000),
        # A detail that cannot be read takes no other count with it.
        ({"prompt_tokens": 20, "completion_tokens": 7, "completion_tokens_details": {"reasoning_tokens": -1}}, None, "reported", (20 + 70) * 1000),
        ({"prompt_tokens": 20.0, "completion_tokens": 7, "prompt_tokens_details": {"cached_tokens": 0.0}}, None, "reported", (20 + 70) * 1000),
        ({"prompt_tokens": 20, "completion_tokens": 7, "prompt_tokens_details": [], "completion_tokens_details": []}, None, "reported", (20 + 70) * 1000),
        # But one that may be dearer than the rest does.
        ({"prompt_tokens": 20, "completion_tokens": 7, "completion_tokens_details": {"audio_tokens": "many"}}, None, "reserved", None),
    ],
)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_usage_that_tells_nothing_makes_nothing_free(start_gateway, upstream, surface, first, last, status, cost, stream):
    models = '"m" = { context = 100000, max_output = 5000, price = { input = 1, output = 10 } }'
    gateway = start_gateway(providers={"test": provider_file(upstream.url, dialects=("openai_chat",), models=models)})
    if last and not stream:
        pytest.skip("a whole answer has one usage")
    def chunk(delta, finish=None, usage=None):
        return {"id": "c", "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}], "usage": usage}

    on_the_way, few = status == "on the way", last == "few"
    last = None if few else last
    chunks = [chunk({"content": "word "}, usage=first if on_the_way else None)] * (2 if few else 20) + [chunk({}, "stop", None if on_the_way else first)]
    chunks += [{"id": "c", "object": "chat.completion.chunk", "choices": [], "usage": last}] if last else []
    upstream.serve("m", provider.answer_events(chunks) if stream else provider.chat("Hi", usage=first))
    key = gateway.new_key(budget="1/ever")
    body = json.dumps({"model": "test/m", "max_tokens": 1000, "messages": MESSAGES, "stream": stream}).encode()
    assert gateway.request("POST", surface, body, key["key"]).status == 200
    charged = gateway.usage("key", key["id"], 1)["cost_nano_usd"]
    assert charged == cost if cost is not None else charged >= 1000 * 10_000, charged
    # Where no hard budget has to hold, it costs what was seen of it.
    soft = gateway.new_key(budget="1/ever:soft")
    assert gateway.request("POST", surface, body, soft["key"]).status == 200
    seen = gateway.usage("key", soft["id"], 1)["cost_nano_usd"]
    assert seen == cost if cost is not None else 0 < seen < 10_000_000, seen


def test_a_price_is_reserved_where_it_can_apply(start_gateway, upstream):
    # Text at 1 and 10 dollars a million; sound, and what is long, at ten times as much.
    price = "input = 1, output = 10, input_audio = 10, output_audio = 100, tiers = [{ above = 100000, input = 10, output = 100 }]"
    models = f'"m" = {{ context = 1000000, max_output = 5000, price = {{ {price} }} }}'
    gateway = start_gateway(providers={"test": provider_file(upstream.url, dialects=("openai_chat", "gemini"), models=models)})
    upstream.serve("m", provider.chat("Hi"))
    said = {"candidates": [{"content": {"role": "model", "parts": [{"text": "Hi"}]}, "finishReason": "STOP"}], "usageMetadata": {"promptTokenCount": 1, "candidatesTokenCount": 1}}
    upstream.serve_at("POST", "/models/m:generateContent", provider.answer_json(said))
    sound = {"type": "input_audio", "input_audio": {"data": "aGk=", "format": "wav"}}
    long = [{"role": "user", "content": "word " * 25_000}]
    for fields, least, enough in (
        ({}, "0.0099", "0.0110"),
        ({"modalities": ["text", "audio"], "audio": {"voice": "alloy", "format": "wav"}}, "10.0990", "10.1100"),
        ({"mod\\u0061lities": ["text"]}, "10.0990", "10.1100"),
        ({"messages": long}, "1.3490", "1.3600"),
        # As much as the model takes of it.
        ({"messages": [{"role": "user", "content": [sound]}]}, "10.0990", "10.1100"),
    ):
        body = json.dumps({"model": "test/m", "max_tokens": 1000, "messages": MESSAGES, **fields}).replace("\\\\u", "\\u").encode()
        for budget, status in ((least, 402), (enough, 200)):
            told = gateway.request("POST", "/v1/chat/completions", body, gateway.new_key(budget=f"{budget}/ever")["key"])
            assert told.status == status, (fields.keys(), budget, told.body)
    for config, least, enough in (({}, "0.0099", "0.0110"), ({"responseModalities": ["AUDIO"]}, "0.0990", "0.1010"), ({"response_modalities": [3]}, "0.0990", "0.1010")):
        body = json.dumps({"contents": [{"role": "user", "parts": [{"text": "Hi"}]}], "generationConfig": {"maxOutputTokens": 1000, **config}}).encode()
        for budget, status in ((least, 402), (enough, 200)):
            told = gateway.request("POST", "/v1beta/models/test/m:generateContent", body, gateway.new_key(budget=f"{budget}/ever")["key"])
            assert told.status == status, (config, budget, told.body)


@pytest.mark.parametrize(
    ("name", "variable", "model", "expected"),
    [
        ("openrouter", "OPENROUTER_API_KEY", "perplexity/sonar-deep-research", "model_charges_besides"),
        ("openrouter", "OPENROUTER_API_KEY", "x-ai/grok-4.20-multi-agent", "model_charges_besides"),
        ("helicone", "HELICONE_API_KEY", "sonar", "model_charges_besides"),
        ("azure", "AZURE_API_KEY", "model-router", "model_without_price"),
        ("openai", "OPENAI_API_KEY", "gpt-4o-mini", None),
    ],
)
def test_models_that_cost_more_than_their_tokens_pass_no_budget(start_gateway, upstream, name, variable, model, expected):
    env = {variable: "sk-told", "AZURE_RESOURCE_NAME": "r"}
    gateway = start_gateway(providers={name: file_of(name, upstream.url)}, env=env)
    upstream.serve(model, provider.chat("Hi"))
    body = json.dumps({"model": f"{name}/{model}", "messages": MESSAGES, "max_tokens": 50}).encode()
    told = gateway.request("POST", "/v1/chat/completions", body, gateway.new_key(budget="100/ever")["key"])
    assert (told.status, told.json().get("error", {}).get("code")) == ((403, expected) if expected else (200, None)), told.body
    assert bool(upstream.requests) == (expected is None)
    assert gateway.request("POST", "/v1/chat/completions", body, gateway.new_key(budget="100/ever:soft")["key"]).status == 200


@pytest.mark.parametrize(("fields", "is_reserved"), [({}, True), ({"max_tokens": 1000}, True), ({"max_tokens": 0, "echo": True}, False)])
def test_a_completion_that_counts_nothing_of_what_it_says_costs_what_was_reserved(start_gateway, upstream, fields, is_reserved):
    models = '"m" = { context = 100000, max_output = 5000, price = { input = 1, output = 10 } }'
    gateway = start_gateway(providers={"test": provider_file(upstream.url, dialects=("openai_chat",), models=models)})
    said = {"id": "c", "object": "text_completion", "choices": [{"index": 0, "text": "Hello", "finish_reason": "stop"}], "usage": {"prompt_tokens": 20, "completion_tokens": 0, "total_tokens": 20}}
    upstream.serve_at("POST", "/completions", provider.answer_json(said))
    key = gateway.new_key(budget="1/ever")
    body = json.dumps({"model": "test/m", "prompt": "Hello", **fields}).encode()
    assert gateway.request("POST", "/v1/completions", body, key["key"]).status == 200
    cost = gateway.usage("key", key["id"], 1)["cost_nano_usd"]
    assert cost >= 10_000_000 if is_reserved else cost == 20_000, cost


def test_an_answer_that_says_nothing_and_counts_nothing_costs_nothing(start_gateway, upstream):
    """As where a guard of its provider's stopped the request before a model read it."""
    models = '"m" = { context = 100000, max_output = 5000, price = { input = 1, output = 10 } }'
    files = {"oa": provider_file(upstream.url, dialects=("openai_chat",), models=models), "an": provider_file(upstream.url, dialects=("anthropic_messages",), models=models)}
    files["ge"] = provider_file(upstream.url, dialects=("gemini",), models=models)
    gateway = start_gateway(providers=files)
    stopped = {"id": "c", "choices": [{"index": 0, "message": {"role": "assistant", "content": ""}, "finish_reason": "content_filter"}], "usage": {"prompt_tokens": 0, "completion_tokens": 0}}
    refused = {"id": "m", "type": "message", "role": "assistant", "model": "m", "content": [], "stop_reason": "refusal", "stop_sequence": None, "usage": {"input_tokens": 0, "output_tokens": 0}}
    silent = {"candidates": [{"content": {"role": "model", "parts": [{"text": ""}]}, "finishReason": "STOP"}], "usageMetadata": {"promptTokenCount": 20, "candidatesTokenCount": 0, "totalTokenCount": 20}}
    upstream.serve_at("POST", "/models/m:generateContent", provider.answer_json(silent))
    key = gateway.new_key(budget="1/ever")
    asked = {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}], "generationConfig": {"maxOutputTokens": 1000}}
    assert gateway.request("POST", "/v1beta/models/ge/m:generateContent", json.dumps(asked).encode(), key["key"]).status == 200
    assert gateway.usage("key", key["id"], 1)["cost_nano_usd"] == 20_000
    for name, answer in (("oa", stopped), ("an", refused)):
        for surface in ("/v1/chat/completions", "/v1/messages"):
            upstream.serve("m", provider.answer_json(answer))
            key = gateway.new_key(budget="1/ever")
            body = json.dumps({"model": f"{name}/m", "max_tokens": 1000, "messages": MESSAGES}).encode()
            assert gateway.request("POST", surface, body, key["key"]).status == 200
            assert gateway.usage("key", key["id"], 1)["cost_nano_usd"] == 0, (name, surface)


def test_what_a_provider_adds_is_reserved(start_gateway, upstream):
    quirks = "\n[quirks]\nadds_thinking = true\nfiles_run_tools = true\n"
    models = '"m" = { context = 100000, max_output = 50000, adds = 1024, price = { input = 1, output = 10 } }'
    gateway = start_gateway(providers={"test": provider_file(upstream.url, dialects=("openai_chat", "openai_responses"), models=models + quirks)})
    upstream.serve("m", provider.chat("Hi"))
    thinking = {"providerOptions": {"anthropic": {"thinking": {"type": "enabled", "budgetTokens": 40000}}}}
    for fields, least, enough in (({"max_tokens": 2000}, "0.0409", "0.0420"), ({"max_tokens": 16} | thinking, "0.4010", "0.4030"), ({"max_tokens": 16, "reasoning": {"max_tokens": 40000}}, "0.4010", "0.4030")):
        body = json.dumps({"model": "test/m", "messages": MESSAGES, **fields}).encode()
        for budget, status in ((least, 402), (enough, 200)):
            told = gateway.request("POST", "/v1/chat/completions", body, gateway.new_key(budget=f"{budget}/ever")["key"])
            assert told.status == status, (fields, budget, told.body)
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {"document": {"type": "string"}}}}}
    body = json.dumps({"model": "test/m", "messages": [{"role": "user", "content": "run `ls`"}], "tools": [tool], "max_tokens": 16}).replace("`", "\\u0060").encode()
    assert gateway.request("POST", "/v1/chat/completions", body, gateway.new_key(budget="100/ever")["key"]).status == 200
    file = [{"type": "input_file", "file_url": "https://a.b/c.pdf"}]
    document = [{"type": "document", "source": {"type": "url", "url": "https://a.b/c.pdf"}}]
    for path, body in (
        ("/v1/responses", {"input": [{"role": "user", "content": file}], "max_output_tokens": 16}),
        ("/v1/messages", {"messages": [{"role": "user", "content": document}], "max_tokens": 16}),
    ):
        told = gateway.request("POST", path, json.dumps({"model": "test/m", **body}).encode(), gateway.new_key(budget="100/ever")["key"])
        assert told.status == 403 and "tools_with_budget" in told.body.decode() + str(told.headers), told.body
