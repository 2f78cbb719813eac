"""Errors reach the caller as the SDK's own exceptions, with what the provider or the gateway said."""

import gzip
import json

import openai
import pytest

import upstream as provider
from gateway import free_port
from gateway import provider as provider_file
from test_chat import MESSAGES
from upstream import Answer


def refused(client, expected, **options):
    with pytest.raises(expected) as caught:
        client.chat.completions.create(**{"model": "test/gpt-4o-mini", "messages": MESSAGES, **options})
    return caught.value


@pytest.mark.parametrize(
    ("status", "exception"),
    [
        (400, openai.BadRequestError),
        (403, openai.PermissionDeniedError),
        (404, openai.NotFoundError),
        (409, openai.ConflictError),
        (422, openai.UnprocessableEntityError),
        (429, openai.RateLimitError),
        (500, openai.InternalServerError),
        (503, openai.InternalServerError),
    ],
)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_error_of_the_provider(client, upstream, status, exception, stream):
    upstream.serve("gpt-4o-mini", provider.error(status, "Not like this.", "some_error", "some_code"))
    error = refused(client, exception, stream=stream)
    assert type(error) is exception
    assert error.status_code == status
    assert error.body["message"] == "Not like this."
    assert (error.type, error.code, error.body["provider"]) == ("some_error", "some_code", "test")


@pytest.mark.parametrize(
    "body",
    [b'{"detail": "Not like this."}', b'[{"error": {"message": "Not like this."}}]', b'{"error": "Not like this."}', b"Not like this."],
)
def test_error_of_another_shape(client, upstream, body):
    upstream.serve("gpt-4o-mini", Answer(body, 400))
    error = refused(client, openai.BadRequestError)
    assert "Not like this." in error.body["message"]
    assert {"message", "type", "param", "code", "provider"} <= set(error.body)


def test_refused_credential_is_not_the_callers_fault(start_gateway, upstream):
    gateway = start_gateway()
    key = gateway.new_key()["key"]
    upstream.serve("gpt-4o-mini", provider.error(401, "Incorrect API key provided: sk-upstream-credential.", code="invalid_api_key"))
    for _ in range(2):
        error = refused(gateway.client(key), openai.InternalServerError)
        assert (error.status_code, error.code) == (502, "provider_credential_refused")
        assert "sk-upstream" not in error.message
        assert "TEST_PROVIDER_KEY" in error.message
    assert len(upstream.requests) == 1, "a refused credential is not tried again at once"


def test_unreachable_provider(start_gateway):
    gateway = start_gateway(providers={"test": provider_file(f"http://127.0.0.1:{free_port()}/v1")})
    error = refused(gateway.client(gateway.new_key()["key"]), openai.InternalServerError)
    assert (error.status_code, error.code, error.body["provider"]) == (502, "provider_unreachable", "test")
    assert error.response.headers["keyward-provider"] == "test"


@pytest.mark.parametrize(
    "answer",
    [
        Answer(b"<html>Bad gateway</html>", headers={"content-type": "text/html"}),
        Answer(b'{"choices": [', headers={"content-type": "application/json"}),
        Answer(b"", headers={"content-type": "application/json"}),
        Answer(b"", 302, {"location": "https://example.com/"}),
        Answer(gzip.compress(provider.chat("Hello").body), encoding="gzip"),
        provider.chat_stream("Hello there"),
    ],
    ids=["html", "torn-json", "nothing", "redirect", "gzip", "streamed"],
)
def test_provider_that_answers_rubbish(client, upstream, answer):
    upstream.serve("gpt-4o-mini", answer)
    error = refused(client, openai.InternalServerError)
    assert (error.status_code, error.code) == (502, "provider_bad_answer")
    assert upstream.requests[-1].headers["accept-encoding"] == "identity"


def test_error_that_is_gzipped_keeps_its_status(client, upstream):
    upstream.serve("gpt-4o-mini", Answer(gzip.compress(provider.error(400).body), 400, encoding="gzip"))
    assert "status 400" in refused(client, openai.BadRequestError).message


def test_stream_that_is_gzipped(client, upstream):
    upstream.serve("gpt-4o-mini", Answer(gzip.compress(provider.chat_stream("Hello").body), headers={"content-type": "text/event-stream"}, encoding="gzip"))
    error = refused(client, openai.InternalServerError, stream=True)
    assert (error.status_code, error.code) == (502, "provider_bad_answer")
    assert "gzip" in error.message


@pytest.mark.parametrize("cut", [False, True], ids=["left-open", "cut"])
def test_stream_ends_with_its_last_event_however_its_connection_ends(gateway, upstream, cut):
    key = gateway.new_key()
    answer = provider.chat_stream("one two three", usage=True)
    answer.hold = provider.Hold.up(after=len(answer.body)) if cut else provider.Hold(after=len(answer.body))
    upstream.serve("gpt-4o-mini", answer)
    body = json.dumps({"model": "test/gpt-4o-mini", "messages": MESSAGES, "stream": True}).encode()
    reply = gateway.request("POST", "/v1/chat/completions", body, key["key"])
    assert reply.body.endswith(b"data: [DONE]\n\n")
    assert gateway.usage("key", key["id"], 1)["failed"] == 0


@pytest.mark.parametrize("inside", [0, 100], ids=["between-events", "inside-an-event"])
def test_stream_that_breaks_off_ends_in_an_error(client, upstream, inside):
    answer = provider.chat_stream("one two three four five six")
    answer.hold = provider.Hold.up(after=answer.body.index(b"\n\n", 400) + 2 + inside)
    upstream.serve("gpt-4o-mini", answer)
    with pytest.raises(openai.APIError) as caught:
        list(client.chat.completions.create(model="test/gpt-4o-mini", messages=MESSAGES, stream=True))
    assert caught.value.code == "provider_broke_off"


def test_whole_answer_that_breaks_off(client, upstream):
    answer = provider.chat("one two three four five six")
    answer.hold = provider.Hold.up(after=50)
    upstream.serve("gpt-4o-mini", answer)
    error = refused(client, openai.InternalServerError)
    assert (error.status_code, error.code, error.body["provider"]) == (502, "provider_broke_off", "test")


@pytest.mark.parametrize(
    ("options", "exception", "code", "param"),
    [
        ({"model": "none-such"}, openai.NotFoundError, "model_not_found", "model"),
        ({"model": "openai/gpt-4o"}, openai.NotFoundError, "provider_not_live", "model"),
        ({"model": ""}, openai.BadRequestError, "invalid_value", "model"),
        ({"model": 7}, openai.BadRequestError, "invalid_value", "model"),
        ({"stream": "yes"}, openai.BadRequestError, "invalid_value", "stream"),
        ({"max_tokens": "many"}, openai.BadRequestError, "invalid_value", "max_tokens"),
    ],
)
def test_wrong_request(client, upstream, options, exception, code, param):
    error = refused(client, exception, **options)
    assert (error.code, error.param) == (code, param)
    assert upstream.requests == []


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"", 400), (b"{", 400), (b"[]", 400), (b'"text"', 400), (b"{}", 400), (b'{"model": "a", "model": "b"}', 400), (b"\xff\xfe", 400)],
)
def test_broken_body(gateway, key, body, status):
    reply = gateway.request("POST", "/v1/chat/completions", body, key)
    assert reply.status == status
    assert {"message", "type", "param", "code"} <= set(reply.json()["error"])


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/chat/completions", 405),
        ("DELETE", "/v1/models", 405),
        ("POST", "/chat/completions", 404),
        ("POST", "/v1/v1/chat/completions", 404),
        ("GET", "/nothing", 404),
    ],
)
def test_wrong_path_or_method(gateway, key, method, path, status):
    reply = gateway.request(method, path, b"{}" if method == "POST" else None, key)
    assert reply.status == status
    assert reply.json()["error"]["message"]


def test_wrong_content_type(gateway, key):
    reply = gateway.request("POST", "/v1/chat/completions", b"model=a", key, content_type="application/x-www-form-urlencoded")
    assert (reply.status, reply.json()["error"]["code"]) == (415, "content_type")


def test_body_over_the_limit(start_gateway, upstream):
    gateway = start_gateway(env={"KEYWARD_LIMITS_BODY_MIB": "1"})
    client = gateway.client(gateway.new_key()["key"])
    error = refused(client, openai.APIStatusError, messages=[{"role": "user", "content": "x" * (5 << 20)}])
    assert (error.status_code, error.code) == (413, "body_too_large")
    assert upstream.requests == []


@pytest.mark.parametrize("model", ["{key}", "test/{key}", "prompt/{key}"])
def test_a_key_in_the_models_place_goes_nowhere(start_gateway, upstream, model):
    gateway = start_gateway()
    key = gateway.new_key()["key"]
    client = gateway.client(key)
    calls = [
        lambda name: client.chat.completions.create(model=name, messages=MESSAGES),
        lambda name: client.images.generate(model=name, prompt="A lighthouse"),
        lambda name: client.embeddings.create(model=name, input="Hi"),
    ]
    for call in calls:
        with pytest.raises(openai.BadRequestError) as caught:
            call(model.format(key=key))
        assert (caught.value.code, caught.value.param) == ("key_in_model", "model") and key not in str(caught.value)
    reply = gateway.request("POST", f"/v1beta/models/{model.format(key=key)}:generateContent", b'{"contents": []}', x_goog_api_key=key)
    assert reply.status == 400 and "holds a key" in reply.json()["error"]["message"] and key not in str(reply.body)
    gateway.stop()
    assert not upstream.requests
    kept = [path for path in (gateway.folder / "data").rglob("*") if path.is_file() and key.encode() in path.read_bytes()]
    assert not kept and key not in gateway.log().partition("keyward is up")[2]
