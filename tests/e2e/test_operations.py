"""Embeddings, completions, responses and models by the official SDK."""

import inspect

import anthropic
import openai
import pytest
from google import genai

import recorded
import upstream as provider
from test_chat import MESSAGES

COMMON = {"self", "model", "stream", "stream_options", "extra_headers", "extra_query", "extra_body", "timeout"}
COMPLETION = {
    "prompt": ["Once", "Twice"],
    "best_of": 2,
    "echo": True,
    "frequency_penalty": 0.5,
    "logit_bias": {"50256": -100},
    "logprobs": 1,
    "max_tokens": 9,
    "n": 2,
    "presence_penalty": 0.5,
    "seed": 7,
    "stop": "\n",
    "suffix": "The end.",
    "temperature": 0.0,
    "top_p": 0.9,
    "user": "someone",
}
RESPONSE = {
    "access_programs": {"a": "b"},
    "background": False,
    "background_options": {"a": "b"},
    "context_management": [{"type": "compaction", "compact_threshold": 1000}],
    "conversation": "conv_1",
    "image": {"a": "b"},
    "include": ["reasoning.encrypted_content"],
    "input": [{"role": "user", "content": [{"type": "input_text", "text": "Grüß Gott"}]}],
    "instructions": "Be terse.",
    "max_output_tokens": 64,
    "max_tool_calls": 2,
    "metadata": {"team": "a"},
    "moderation": {"model": "omni-moderation-latest"},
    "parallel_tool_calls": True,
    "previous_response_id": "resp_0",
    "prompt": {"id": "pmpt_1", "variables": {"city": "Rome"}},
    "prompt_cache_key": "cache",
    "prompt_cache_options": {"mode": "explicit"},
    "prompt_cache_retention": "24h",
    "reasoning": {"effort": "low", "summary": "auto"},
    "safety_identifier": "user-1",
    "service_tier": "flex",
    "store": True,
    "temperature": 0.5,
    "text": {"format": {"type": "text"}, "verbosity": "low"},
    "tool_choice": "auto",
    "tools": [{"type": "function", "name": "f", "parameters": {}, "strict": False}],
    "top_logprobs": 2,
    "top_p": 0.9,
    "truncation": "auto",
    "user": "someone",
}
TEXT_COMPLETION = {
    "id": "cmpl-1",
    "object": "text_completion",
    "created": 1760000000,
    "model": "gpt-3.5-turbo-instruct",
    "choices": [{"text": " upon a time", "index": 0, "logprobs": None, "finish_reason": "length"}],
    "usage": {"prompt_tokens": 1, "completion_tokens": 3, "total_tokens": 4},
}
RESPONSE_ANSWER = {
    "id": "resp_1",
    "object": "response",
    "created_at": 1760000000,
    "status": "completed",
    "model": "gpt-4o-mini-2024-07-18",
    "output": [
        {
            "type": "message",
            "id": "msg_1",
            "status": "completed",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "Servus!", "annotations": []}],
        }
    ],
    "parallel_tool_calls": True,
    "tool_choice": "auto",
    "tools": [],
    "usage": {
        "input_tokens": 10,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": 5,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 15,
    },
}


def names(method):
    return set(inspect.signature(method).parameters) - COMMON


# Embeddings.


def embedding(vector):
    data = [{"object": "embedding", "index": 0, "embedding": vector}]
    return provider.answer_json(
        {"object": "list", "data": data, "model": "text-embedding-3-small", "usage": {"prompt_tokens": 2, "total_tokens": 2}}
    )


def test_embeddings_as_the_sdk_asks_by_itself(client, upstream):
    upstream.serve("text-embedding-3-small", embedding("AACAPwAAAMAAAIA+"))
    answer = client.embeddings.create(model="test/text-embedding-3-small", input=["Hi"])
    assert answer.data[0].embedding == [1.0, -2.0, 0.25]
    assert upstream.requests[-1].path == "/v1/embeddings"
    assert upstream.requests[-1].json()["encoding_format"] == "base64"


def test_embeddings_as_floats(client, upstream):
    upstream.serve("text-embedding-3-small", embedding([1.0, -2.0, 0.25]))
    answer = client.embeddings.create(model="test/text-embedding-3-small", input="Hi", encoding_format="float")
    assert answer.data[0].embedding == [1.0, -2.0, 0.25]


def test_embeddings_parameters_pass_untouched(client, direct, upstream):
    parameters = {"input": [[1, 2], [3]], "dimensions": 3, "encoding_format": "float", "user": "someone"}
    assert names(client.embeddings.create) == set(parameters)
    upstream.serve("text-embedding-3-small", embedding([1.0, -2.0, 0.25]))
    direct.embeddings.create(model="text-embedding-3-small", **parameters)
    client.embeddings.create(model="test/text-embedding-3-small", **parameters)
    assert upstream.requests[1].body == upstream.requests[0].body


@pytest.mark.parametrize("case", recorded.cases("openai_embeddings"))
def test_recorded_embeddings(client, direct, case):
    body = {name: value for name, value in case["request"]["body"].items() if name not in ("model", "input")}

    def ask(client, model):
        return client.embeddings.create(model=model, input=case["request"]["body"]["input"], extra_body=body)

    if known := case["truth"].get("error"):
        with pytest.raises(openai.APIStatusError) as caught:
            ask(client, f"test/{case['id']}")
        assert caught.value.status_code == known["status"]
        assert known["message"] in caught.value.body["message"]
    else:
        assert ask(client, f"test/{case['id']}").model_dump() == ask(direct, case["id"]).model_dump()


# Completions.


def test_completion_whole(client, direct, upstream):
    assert names(client.completions.create) == set(COMPLETION)
    upstream.serve("gpt-3.5-turbo-instruct", provider.answer_json(TEXT_COMPLETION))
    direct.completions.create(model="gpt-3.5-turbo-instruct", **COMPLETION)
    answer = client.completions.create(model="test/gpt-3.5-turbo-instruct", **COMPLETION)
    assert answer.choices[0].text == " upon a time"
    assert upstream.requests[1].path == "/v1/completions"
    assert upstream.requests[1].body == upstream.requests[0].body


@pytest.mark.parametrize("case", recorded.cases("openai_completions"))
def test_completion_streamed(client, direct, case):
    asked = {"prompt": "Holiday", "stream": True, "stream_options": {"include_usage": True}}
    through = list(client.completions.create(model=f"test/{case['id']}", **asked))
    assert through == list(direct.completions.create(model=case["id"], **asked))
    assert len("".join(chunk.choices[0].text for chunk in through if chunk.choices)) > 50


# Responses.


def test_response_whole(client, direct, upstream):
    assert names(client.responses.create) == set(RESPONSE)
    upstream.serve("gpt-4o-mini", provider.answer_json(RESPONSE_ANSWER))
    direct.responses.create(model="gpt-4o-mini", **RESPONSE)
    answer = client.responses.create(model="test/gpt-4o-mini", **RESPONSE)
    assert answer.output_text == "Servus!"
    assert answer.usage.total_tokens == 15
    assert upstream.requests[1].path == "/v1/responses"
    assert upstream.requests[1].body == upstream.requests[0].body


def test_response_streamed(client, upstream):
    item = {"output_index": 0, "content_index": 0, "item_id": "msg_1"}
    empty = {**RESPONSE_ANSWER, "status": "in_progress", "output": [], "usage": None}
    message = RESPONSE_ANSWER["output"][0]
    part = message["content"][0]
    events = [
        {"type": "response.created", "response": empty},
        {"type": "response.output_item.added", "output_index": 0, "item": {**message, "content": []}},
        {"type": "response.content_part.added", **item, "part": {**part, "text": ""}},
        *({"type": "response.output_text.delta", **item, "delta": piece, "logprobs": []} for piece in ("Ser", "vus!")),
        {"type": "response.output_text.done", **item, "text": "Servus!", "logprobs": []},
        {"type": "response.completed", "response": RESPONSE_ANSWER},
    ]
    upstream.serve("gpt-4o-mini", provider.answer_events([{**event, "sequence_number": i} for i, event in enumerate(events)]))
    with client.responses.stream(model="test/gpt-4o-mini", input="Grüß Gott") as stream:
        assert "".join(event.delta for event in stream if event.type == "response.output_text.delta") == "Servus!"
        assert stream.get_final_response().usage.output_tokens == 5
    assert "stream_options" not in upstream.requests[-1].json()


# Models.


def test_models_are_those_the_key_may_use(gateway, client):
    listed = {model.id: model for model in client.models.list()}
    assert {"test/gpt-4o-mini", "simulator/echo"} <= set(listed)
    assert listed["test/gpt-4o-mini"].owned_by == "test"
    narrow = gateway.client(gateway.new_key(models="test/*")["key"])
    assert {model.id for model in narrow.models.list()} == {"test/gpt-4o-mini"}
    with pytest.raises(openai.NotFoundError):
        narrow.models.retrieve("simulator/echo")


def test_models_as_the_other_sdks_list_them(gateway, key):
    google = genai.Client(api_key=key, http_options={"base_url": gateway.url})
    listed = {model.name: model for model in google.models.list()}
    assert listed["models/test/gpt-4o-mini"].input_token_limit == 128000
    assert google.models.get(model="test/gpt-4o-mini").name == "models/test/gpt-4o-mini"
    claude = anthropic.Anthropic(api_key=key, base_url=gateway.url)
    listed = {model.id: model for model in claude.models.list()}
    assert listed["test/gpt-4o-mini"].type == "model" and listed["test/gpt-4o-mini"].display_name
    assert claude.models.retrieve("test/gpt-4o-mini").id == "test/gpt-4o-mini"
    with pytest.raises(anthropic.NotFoundError):
        claude.models.retrieve("test/nothing")


def test_model_by_name(client):
    for name in ("test/gpt-4o-mini", "gpt-4o-mini"):
        model = client.models.retrieve(name)
        assert model.id == "test/gpt-4o-mini"
        assert model.model_extra["context"] == 128000
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("test/none-such")


# The simulator.


def test_simulator_is_labelled(client):
    raw = client.chat.completions.with_raw_response.create(model="simulator/echo", messages=MESSAGES)
    text = raw.parse().choices[0].message.content
    assert "Say hello." in text and "simulat" in text.lower()
    assert raw.headers["keyward-provider"] == "simulator"
    stream = client.chat.completions.create(model="simulator/echo", messages=MESSAGES, stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices) == text


def test_simulator_is_all_that_a_test_key_may_call(gateway):
    client = gateway.client(gateway.new_key(kind="test")["key"])
    client.chat.completions.create(model="simulator/echo", messages=MESSAGES)
    with pytest.raises(openai.PermissionDeniedError) as refused:
        client.chat.completions.create(model="test/gpt-4o-mini", messages=MESSAGES)
    assert refused.value.code == "key_test_only"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/healthz", 200),
        ("GET", "/readyz", 200),
        ("GET", "/metrics", 200),
        ("GET", "/v1/models", 200),
        ("GET", "/v1/models/simulator/echo", 200),
        ("GET", "/v1/models/nobody/x", 404),
        ("GET", "/admin/v1/usage", 403),
        ("GET", "/v1/nothing", 404),
        ("DELETE", "/v1/models", 405),
        ("GET", "/v1/chat/completions", 405),
        ("POST", "/v1/chat/completions", 400),
    ],
)
def test_every_answer_has_the_requests_id(gateway, method, path, status):
    key = gateway.new_key()["key"]
    named = gateway.request(method, path, key=key, x_request_id="mine-42")
    assert (named.status, named.headers["x-request-id"]) == (status, "mine-42")
    ids = {gateway.request(method, path, key=key, **more).headers["x-request-id"] for more in ({}, {}, {"x_request_id": "x" * 129})}
    assert len(ids) == 3 and all(own.startswith("req_") for own in ids)
    nobody = gateway.request(method, path, x_request_id="mine-43")
    assert nobody.headers["x-request-id"] == "mine-43"
