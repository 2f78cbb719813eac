"""Keys: made, limited, rotated and ended beside the running gateway, which takes notice within a second."""

import concurrent.futures
import datetime
import re
import time

import openai
import pytest

import upstream as provider
from gateway import eventually
from test_chat import MESSAGES


def ask(client, model="test/gpt-4o-mini", **options):
    return client.chat.completions.create(model=model, messages=MESSAGES, **options)


def code_of(client):
    """The code of the refusal, `None` where there is none."""
    try:
        ask(client)
    except openai.APIStatusError as error:
        return error.code
    return None


def test_new_key_works_at_once(gateway, upstream):
    new = gateway.new_key(name="fresh", owner="team a", models="test/*", rpm=600)
    assert re.fullmatch(r"kw_live_[0-9A-Za-z]+", new["key"])
    assert ask(gateway.client(new["key"])).choices
    shown = gateway.cli("keys", "show", new["id"])
    assert (shown["name"], shown["owner"], shown["models"], shown["state"]) == ("fresh", "team a", ["test/*"], "active")
    assert new["key"] not in str(shown)
    assert new["id"] in {key["id"] for key in gateway.cli("keys", "list")}


def test_key_text_is_nowhere_on_disk(gateway, upstream):
    new = gateway.new_key()
    ask(gateway.client(new["key"]))
    secret = new["key"].removeprefix(f"kw_live_{new['id']}").encode()
    assert len(secret) < len(new["key"])
    files = [path for path in gateway.folder.rglob("*") if path.is_file()]
    assert not [path for path in files if secret in path.read_bytes()]


def mangled(key):
    """Ways in which keys arrive, with the code of the answer."""
    typo = "A" if key[-1] != "A" else "B"
    return {
        "": "key_empty",
        key[:-1] + typo: "key_wrong_checksum",
        key[:-5]: "key_wrong_length",
        f'"{key}"': "key_quoted",
        f"Bearer {key}": "key_doubled_bearer",
        key.upper(): "key_wrong_case",
        "sk-proj-" + "a" * 48: "key_of_another_service",
        "hello": "key_malformed",
    }


def test_mangled_key_is_told_what_is_wrong_with_it(gateway, key, upstream):
    told = {text: gateway.request("GET", "/v1/models", authorization=f"Bearer {text}").json()["error"]["code"] for text in mangled(key)}
    assert told == mangled(key)


def test_no_key(gateway):
    reply = gateway.request("GET", "/v1/models")
    assert (reply.status, reply.json()["error"]["code"]) == (401, "key_missing")


def test_never_issued_key_is_an_authentication_error(gateway, start_gateway):
    stranger = start_gateway().new_key()["key"]
    with pytest.raises(openai.AuthenticationError) as caught:
        ask(gateway.client(stranger))
    assert caught.value.code == "invalid_api_key"


def test_model_that_the_key_may_not_use(gateway, upstream):
    client = gateway.client(gateway.new_key(models="simulator/*")["key"])
    with pytest.raises(openai.PermissionDeniedError) as caught:
        ask(client)
    assert (caught.value.code, caught.value.param) == ("model_not_allowed", "model")
    assert upstream.requests == []


def test_admin_key_calls_no_model(gateway, upstream):
    client = gateway.client(gateway.new_key(kind="admin")["key"])
    with pytest.raises(openai.PermissionDeniedError) as caught:
        ask(client)
    assert caught.value.code == "key_is_admin"


def test_revoked_key_is_refused_within_a_second(gateway, upstream):
    new = gateway.new_key()
    client = gateway.client(new["key"])
    ask(client)
    gateway.cli("keys", "revoke", new["id"])
    assert eventually(lambda: code_of(client) == "key_revoked", seconds=1)
    assert gateway.cli("keys", "show", new["id"])["state"] == "key_revoked"


def test_rotated_key_works_until_its_grace_ends(gateway, upstream):
    old = gateway.new_key(rpm=600, models="test/*")
    client = gateway.client(old["key"])
    ask(client)
    new = gateway.cli("keys", "rotate", old["id"], "--grace", "2s")
    assert new["id"] != old["id"] and new["models"] == ["test/*"] and new["rates"] == [{"unit": "requests", "per": "minute", "most": 600}]
    rotated = time.monotonic()
    ask(gateway.client(new["key"]))
    assert code_of(client) is None
    assert eventually(lambda: code_of(client) == "key_rotated", seconds=5)
    assert time.monotonic() - rotated > 1
    ask(gateway.client(new["key"]))
    # What is over does not begin again.
    again = gateway.run("keys", "rotate", old["id"], "--grace", "1h")
    assert again.returncode != 0 and f"rotate its successor {new['id']}" in again.stderr


def test_key_expires(gateway, upstream):
    end = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=2.5)
    new = gateway.new_key(expires=end.isoformat())
    client = gateway.client(new["key"])
    ask(client)
    assert eventually(lambda: code_of(client) == "key_expired", seconds=5)
    assert datetime.datetime.now(datetime.UTC) >= end


def test_explain(gateway, key):
    good = gateway.cli("keys", "explain", key)
    assert good["accepted"] and good["key"]["name"] == "session"
    bad = gateway.run("keys", "explain", key[:-5])
    assert bad.returncode == 1 and "cut short" in bad.stdout


def test_requests_a_minute(gateway, upstream):
    client = gateway.client(gateway.new_key(rpm=2)["key"])
    first = client.chat.completions.with_raw_response.create(model="test/gpt-4o-mini", messages=MESSAGES)
    assert first.headers["x-ratelimit-limit-requests"] == "2"
    assert first.headers["x-ratelimit-remaining-requests"] == "1"
    ask(client)
    with pytest.raises(openai.RateLimitError) as caught:
        ask(client)
    headers = caught.value.response.headers
    assert caught.value.code == "rate_limit_exceeded"
    assert 1 <= int(headers["retry-after"]) <= 30
    assert headers["x-ratelimit-remaining-requests"] == "0"
    assert re.fullmatch(r"(\d+m)?[\d.]+m?s", headers["x-ratelimit-reset-requests"])
    assert len(upstream.requests) == 2


def test_tokens_a_minute(gateway, upstream):
    client = gateway.client(gateway.new_key(tpm=2000)["key"])
    raw = client.chat.completions.with_raw_response.create(model="test/gpt-4o-mini", messages=MESSAGES, max_tokens=100)
    assert raw.headers["x-ratelimit-limit-tokens"] == "2000"
    left = eventually(lambda: gateway_tokens(client) < 900 and gateway_tokens(client))
    assert left, "the 1200 tokens that the provider reported replace what was reserved"
    with pytest.raises(openai.RateLimitError) as caught:
        ask(client, max_tokens=1500)
    assert caught.value.type == "tokens" and int(caught.value.response.headers["retry-after"]) > 1


def gateway_tokens(client):
    """What is left of a key's tokens, told by a refusal that takes none."""
    with pytest.raises(openai.RateLimitError) as caught:
        ask(client, max_tokens=1_000_000)
    assert caught.value.code == "request_too_large"
    return int(caught.value.response.headers["x-ratelimit-remaining-tokens"])


def test_parallel_requests(gateway, upstream):
    hold = provider.Hold(after=400)
    upstream.serve("gpt-4o-mini", provider.chat_stream("one two three four", hold=hold), provider.chat("Again."))
    client = gateway.client(gateway.new_key(parallel=1)["key"])
    stream = ask(client, stream=True)
    with pytest.raises(openai.RateLimitError) as caught:
        ask(client)
    assert caught.value.type == "parallel"
    hold.released.set()
    assert list(stream)
    assert eventually(lambda: code_of(client) is None), "the first has ended, so there is room again"


def test_parallel_place_is_given_back_by_who_hangs_up(gateway, upstream):
    hold = provider.Hold(after=400)
    upstream.serve("gpt-4o-mini", provider.chat_stream("one two three four", hold=hold), provider.chat("Hello"))
    client = gateway.client(gateway.new_key(parallel=1)["key"])
    stream = ask(client, stream=True)
    next(iter(stream))
    stream.close()
    assert eventually(lambda: code_of(client) is None)


def test_limits_hold_under_many_at_once(gateway, upstream):
    client = gateway.client(gateway.new_key(rpm=10)["key"])
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        codes = list(pool.map(lambda _: code_of(client), range(40)))
    assert codes.count(None) == 10
    assert codes.count("rate_limit_exceeded") == 30
