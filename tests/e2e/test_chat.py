"""Chat completions by the official SDK: what it sends and reads through Keyward is what it would without."""

import asyncio
import base64
import inspect
import json
import random

import openai
import pydantic
import pytest

import upstream as provider
from conftest import CREDENTIAL
from upstream import Answer

MESSAGES = [{"role": "user", "content": "Say hello."}]
TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather in a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"], "additionalProperties": False},
        "strict": True,
    },
}
# Every parameter that the SDK knows, but for those that choose how the answer comes.
PARAMETERS = {
    "messages": [{"role": "developer", "content": 'Be terse. Ünïcödé, \U0001f511, "quoted", \\ and \u2028.'}, *MESSAGES],
    "audio": {"format": "wav", "voice": "alloy"},
    "frequency_penalty": -0.5,
    "function_call": "auto",
    "functions": [{"name": "old", "parameters": {}}],
    "logit_bias": {"50256": -100},
    "logprobs": True,
    "max_completion_tokens": 100,
    "max_tokens": 99,
    "metadata": {"team": "a"},
    "modalities": ["text", "audio"],
    "moderation": {"model": "omni-moderation-latest"},
    "n": 2,
    "parallel_tool_calls": False,
    "prediction": {"type": "content", "content": "Hello"},
    "presence_penalty": 1e-7,
    "prompt_cache_key": "cache",
    "prompt_cache_options": {"mode": "explicit"},
    "prompt_cache_retention": "24h",
    "reasoning_effort": "low",
    "response_format": {"type": "json_object"},
    "safety_identifier": "user-1",
    "seed": 2**53 + 1,
    "service_tier": "flex",
    "stop": ["\n", "END"],
    "store": False,
    "temperature": 0.1,
    "tool_choice": {"type": "function", "function": {"name": "weather"}},
    "tools": [TOOL],
    "top_logprobs": 3,
    "top_p": 0.95,
    "user": "someone",
    "verbosity": "low",
    "web_search_options": {"search_context_size": "low"},
}


class City(pydantic.BaseModel):
    name: str
    country: str


def test_whole(client):
    answer = client.chat.completions.create(model="test/gpt-4o-mini", messages=MESSAGES)
    assert answer.choices[0].message.content == "Hello there!"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.total_tokens == 1200
    assert answer.usage.prompt_tokens_details.cached_tokens == 400


def test_streamed(client):
    chunks = list(client.chat.completions.create(model="test/gpt-4o-mini", messages=MESSAGES, stream=True))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "Hello there!"
    assert chunks[-1].choices[0].finish_reason == "stop"


def test_stream_helper(client):
    with client.chat.completions.stream(model="test/gpt-4o-mini", messages=MESSAGES) as stream:
        kinds = {event.type for event in stream}
        final = stream.get_final_completion()
    assert {"chunk", "content.delta", "content.done"} <= kinds
    assert final.choices[0].message.content == "Hello there!"


def test_bare_model_name(client, upstream):
    client.chat.completions.create(model="gpt-4o-mini", messages=MESSAGES)
    assert upstream.requests[-1].json()["model"] == "gpt-4o-mini"


def test_tool_round(client, upstream):
    call = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Köln"}'}}
    upstream.serve("gpt-4o-mini", provider.chat(None, tool_calls=[call]), provider.chat("Sunny."))
    first = client.chat.completions.create(model="test/gpt-4o-mini", messages=MESSAGES, tools=[TOOL], tool_choice="required")
    message = first.choices[0].message
    assert first.choices[0].finish_reason == "tool_calls"
    assert json.loads(message.tool_calls[0].function.arguments) == {"city": "Köln"}
    result = {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": "sunny"}
    second = client.chat.completions.create(model="test/gpt-4o-mini", messages=[*MESSAGES, message, result], tools=[TOOL])
    assert second.choices[0].message.content == "Sunny."
    assert upstream.requests[-1].json()["messages"][-1] == result


def test_image_of_a_megabyte(client, upstream):
    pixels = base64.b64encode(random.Random(1).randbytes(1 << 20)).decode()
    image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{pixels}", "detail": "low"}}
    content = [{"type": "text", "text": "What is it?"}, image]
    client.chat.completions.create(model="test/gpt-4o-mini", messages=[{"role": "user", "content": content}])
    assert upstream.requests[-1].json()["messages"][0]["content"] == content


def test_json_schema(client, upstream):
    upstream.serve("gpt-4o-mini", provider.chat('{"name": "Köln", "country": "Germany"}'))
    answer = client.chat.completions.parse(model="test/gpt-4o-mini", messages=MESSAGES, response_format=City)
    assert answer.choices[0].message.parsed == City(name="Köln", country="Germany")
    assert upstream.requests[-1].json()["response_format"]["json_schema"]["strict"] is True


def test_every_parameter_passes_untouched(client, direct, upstream):
    ours = {"self", "model", "stream", "stream_options", "extra_headers", "extra_query", "extra_body", "timeout"}
    assert set(inspect.signature(client.chat.completions.create).parameters) - ours == set(PARAMETERS)
    direct.chat.completions.create(model="gpt-4o-mini", **PARAMETERS)
    client.chat.completions.create(model="test/gpt-4o-mini", **PARAMETERS)
    assert upstream.requests[1].body == upstream.requests[0].body


def test_every_parameter_passes_untouched_in_a_stream(client, direct, upstream):
    asked = {"stream": True, "stream_options": {"include_usage": True, "include_obfuscation": False}}
    list(direct.chat.completions.create(model="gpt-4o-mini", **PARAMETERS, **asked))
    list(client.chat.completions.create(model="test/gpt-4o-mini", **PARAMETERS, **asked))
    assert upstream.requests[1].body == upstream.requests[0].body


def test_bytes_that_no_json_library_would_keep(gateway, key, upstream):
    body = '{ "temperature" : 1.0e0,"unknown":{"a":1,"a":2},\n"big":123456789012345678901234567890, "model":"%s" ,"s":"\\u0041\\/é"\t}'
    assert gateway.request("POST", "/v1/chat/completions", (body % "test/gpt-4o-mini").encode(), key).status == 200
    assert upstream.requests[-1].body == (body % "gpt-4o-mini").encode()


def test_path_and_credential(client, key, upstream):
    client.chat.completions.create(model="test/gpt-4o-mini", messages=MESSAGES)
    asked = upstream.requests[-1]
    assert (asked.method, asked.path) == ("POST", "/v1/chat/completions")
    assert asked.headers["authorization"] == f"Bearer {CREDENTIAL}"
    assert asked.headers["content-type"] == "application/json"
    assert key not in str(asked)


def test_usage_is_hidden_from_who_did_not_ask(client, upstream):
    chunks = list(client.chat.completions.create(model="test/gpt-4o-mini", messages=MESSAGES, stream=True))
    assert upstream.requests[-1].json()["stream_options"] == {"include_usage": True}
    assert all(chunk.choices and chunk.usage is None for chunk in chunks)


@pytest.mark.parametrize("options", [None, {}, {"include_usage": False}, {"include_obfuscation": False}])
def test_usage_stays_hidden_with_other_stream_options(client, upstream, options):
    chunks = list(client.chat.completions.create(model="test/gpt-4o-mini", messages=MESSAGES, stream=True, stream_options=options))
    assert upstream.requests[-1].json()["stream_options"] == {**(options or {}), "include_usage": True}
    assert all(chunk.choices for chunk in chunks)


def test_usage_is_shown_to_who_asked(client):
    stream = client.chat.completions.create(
        model="test/gpt-4o-mini", messages=MESSAGES, stream=True, stream_options={"include_usage": True}
    )
    *_, last = stream
    assert last.choices == [] and last.usage.total_tokens == 1200


def test_async_client_many_at_once(gateway, key, upstream):
    async def ask(client, i):
        if i % 2:
            return (await client.chat.completions.create(model="test/gpt-4o-mini", messages=MESSAGES)).choices[0].message.content
        stream = await client.chat.completions.create(model="test/gpt-4o-mini", messages=MESSAGES, stream=True)
        return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

    async def ask_all():
        async with gateway.client(key, openai.AsyncOpenAI) as client:
            return await asyncio.gather(*(ask(client, i) for i in range(40)))

    assert asyncio.run(ask_all()) == ["Hello there!"] * 40


def test_answer_headers(client):
    raw = client.chat.completions.with_raw_response.create(model="test/gpt-4o-mini", messages=MESSAGES)
    assert raw.headers["keyward-provider"] == "test"
    assert raw.headers["content-type"] == "application/json"
    assert raw.parse()._request_id == raw.headers["x-request-id"]


def test_request_id_is_echoed(client):
    raw = client.chat.completions.with_raw_response.create(
        model="test/gpt-4o-mini", messages=MESSAGES, extra_headers={"x-request-id": "mine-42"}
    )
    assert raw.headers["x-request-id"] == "mine-42"


def test_stream_arrives_as_it_is_made(client, upstream):
    hold = provider.Hold(after=400)
    upstream.serve("gpt-4o-mini", provider.chat_stream("one two three four five six", hold=hold))
    stream = iter(client.chat.completions.create(model="test/gpt-4o-mini", messages=MESSAGES, stream=True))
    assert next(stream).choices[0].delta.role == "assistant"
    assert hold.reached.wait(5) and not hold.released.is_set()
    hold.released.set()
    assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == "one two three four five six"


def test_hanging_up_on_a_stream_cancels_it_upstream(client, upstream):
    hold = provider.Hold(after=400)
    upstream.serve("gpt-4o-mini", provider.chat_stream("one two three four five six", hold=hold))
    stream = client.chat.completions.create(model="test/gpt-4o-mini", messages=MESSAGES, stream=True)
    next(iter(stream))
    stream.close()
    assert hold.gone.wait(5)


def test_hanging_up_before_the_answer_cancels_it_upstream(gateway, key, upstream):
    hold = provider.Hold()
    upstream.serve("gpt-4o-mini", Answer(provider.chat("late").body, hold=hold))
    client = gateway.client(key, timeout=0.5)
    with pytest.raises(openai.APITimeoutError):
        client.chat.completions.create(model="test/gpt-4o-mini", messages=MESSAGES)
    assert hold.gone.wait(5)
