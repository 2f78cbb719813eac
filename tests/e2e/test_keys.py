"""Keys: made, limited, rotated and ended beside the running gateway, which takes notice within a second."""

import concurrent.futures
import contextlib
import datetime
import http.client
import itertools
import json
import os
import pathlib
import re
import sqlite3
import sys
import threading
import time

import openai
import pytest

import upstream as provider
from gateway import eventually
from gateway import provider as provider_file
from test_chat import MESSAGES

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / "keys"))
from keys import with_secret_of  # noqa: E402

FIRST_USES = 200
# Those that read, that write the ledger, and that change what people change.
CONNECTIONS = 4 + 2 + 2


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


def test_a_bad_key_is_a_line_of_the_log_and_no_trace(gateway, start_gateway):
    own = start_gateway()
    bad = {**mangled(own.new_key()["key"]), gateway.new_key()["key"]: "invalid_api_key"}
    for text, code in bad.items():
        reply = own.request("GET", "/v1/models", authorization=f"Bearer {text}")
        error = reply.json()["error"]
        assert (reply.status, error["code"], set(error)) == (401, code, {"message", "type", "param", "code"})

    def lines():
        return [json.loads(line) for line in own.log().splitlines() if '"refused"' in line]

    assert eventually(lambda: [line["refused"] for line in lines()] == [*bad.values()]), lines()
    assert {(line["from"], line["method"], line["path"]) for line in lines()} == {("127.0.0.1", "GET", "/v1/models")}
    reply = own.request("POST", "/admin/v1/keys", b"{}", "kw_admin_wrong", x_request_id="mine")
    assert reply.status == 401
    assert eventually(lambda: [line["path"] for line in lines() if line.get("request_id") == "mine"] == ["/admin/v1/keys"]), lines()
    assert {line["level"] for line in lines()} == {"INFO"}
    assert not re.search("backtrace|panicked|ERROR|" + "|".join(re.escape(text) for text in bad if text.lower().startswith("kw_")), own.log())


def test_a_key_goes_to_no_provider_wherever_it_is_put(start_gateway, upstream):
    gateway = start_gateway()
    key = gateway.new_key()["key"]
    shaken = {"connection": "upgrade", "upgrade": "websocket", "sec_websocket_version": "13", "sec_websocket_key": "dGhlIHNhbXBsZSBub25jZQ=="}
    asked = [
        ("/v1/files?purpose=x&api_key=" + key, {"keyward_provider": "test"}),
        ("/v1/files?purpose=" + key.replace("_", "%5F"), {"keyward_provider": "test"}),
        ("/v1/realtime?model=test/gpt-4o-mini&token=" + key, shaken),
    ]
    for path, headers in asked:
        reply = gateway.request("GET", path, key=key, **headers)
        assert reply.json()["error"]["code"] == "key_misplaced", reply
    assert upstream.requests == []
    upstream.serve("gpt-4o-mini", provider.chat("Hi"))
    body = json.dumps({"model": "test/gpt-4o-mini", "messages": MESSAGES}).encode()
    for name in ("x_client_request_id", "openai_beta", "openai_organization", "user_agent"):
        assert gateway.request("POST", "/v1/chat/completions", body, key, **{name: f"of {key}"}).status == 200
    assert not [asked for asked in upstream.requests if key in str(asked)]


def test_a_wrong_secret_is_told_as_an_unknown_id_whatever_limits_its_key_has(start_gateway):
    gateway = start_gateway()
    busy, limited = gateway.new_key()["key"], gateway.new_key(limit="requests/day=9", budget="1/month")
    wrong = with_secret_of(limited["key"], busy)
    body = json.dumps({"model": "simulator/echo", "messages": MESSAGES}).encode()
    # With its lock held by another program, what the limits have used cannot be counted.
    with contextlib.closing(sqlite3.connect(gateway.folder / "data" / "keyward.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert gateway.request("POST", "/v1/chat/completions", body, busy).status == 200
        for _ in range(3):
            reply = gateway.request("POST", "/v1/chat/completions", body, wrong)
            assert (reply.status, reply.json()["error"]["code"]) == (401, "invalid_api_key")
        other.execute("ROLLBACK")
    assert gateway.request("POST", "/v1/chat/completions", body, limited["key"]).status == 200, "who guesses its id keeps no holder out"
    assert gateway.request("POST", "/v1/chat/completions", body, wrong).status == 401


def test_many_first_uses_at_once_are_one_look_up(start_gateway):
    gateway = start_gateway(env={"KEYWARD_LOG": "info,sqlx::query=debug"})
    one, *others = [gateway.admin("POST", "/keys", {"budgets": [{"nano_usd": 10**9, "per": "day"}]})["key"] for _ in range(50)]
    gateway.stop()
    before = len(gateway.log())
    gateway.start()
    ready = threading.Barrier(FIRST_USES)

    def use(key):
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=20)) as connection:
            connection.connect()
            ready.wait()
            connection.request("GET", "/v1/models", headers={"authorization": f"Bearer {key}"})
            return connection.getresponse().status

    with concurrent.futures.ThreadPoolExecutor(FIRST_USES) as pool:
        for keys in ([one], others):
            assert set(pool.map(use, itertools.islice(itertools.cycle(keys), FIRST_USES))) == {200}
    files = [os.readlink(file) for file in pathlib.Path(f"/proc/{gateway.process.pid}/fd").iterdir()]
    assert 0 < sum(file.endswith("keyward.db") for file in files) <= CONNECTIONS
    # By its end the log is whole.
    gateway.stop()
    assert gateway.log()[before:].count("FROM owned_keys WHERE id") == 50


def test_no_key(gateway):
    reply = gateway.request("GET", "/v1/models")
    assert (reply.status, reply.json()["error"]["code"]) == (401, "key_missing")


def test_never_issued_key_is_an_authentication_error(gateway, start_gateway):
    stranger = start_gateway().new_key()["key"]
    with pytest.raises(openai.AuthenticationError) as caught:
        ask(gateway.client(stranger))
    assert caught.value.code == "invalid_api_key"


def test_an_address_list_believes_no_words_before_those_of_a_trusted_proxy(start_gateway):
    gateway = start_gateway(config='trusted_proxies = ["127.0.0.1"]\n')
    key = gateway.new_key(**{"from": "127.0.0.0/8"})["key"]

    def status(*forwarded):
        """Of a request with these headers as a proxy here would send them, to the byte."""
        connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=20)
        with contextlib.closing(connection):
            connection.putrequest("GET", "/v1/models")
            connection.putheader("authorization", f"Bearer {key}")
            for value in forwarded:
                connection.putheader("x-forwarded-for", value)
            connection.endheaders()
            return connection.getresponse().status

    assert [status(b"127.0.0.9"), status(b"\xe9, 127.0.0.9")] == [200] * 2
    assert status() == 403, "it asks for somebody, and does not say for whom"
    for hidden in (b"", b"192.0.2.2", b"\xe9, 192.0.2.2", b"127.0.0.1, 192.0.2.2", b"192.0.2.2, \xe9", b"unknown", b'"127.0.0.1"', b"127.0.0.1,"):
        assert status(hidden) == 403, hidden
    assert status(b"127.0.0.9", b"\xe9") == 403


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


def test_a_change_over_http_holds_at_once(gateway):
    keys = [gateway.new_key() for _ in range(12)]
    passes = lambda key: gateway.request("GET", "/v1/models", None, key["key"]).status == 200  # noqa: E731
    assert all(passes(key) for key in keys)
    for key in keys:
        gateway.admin("POST", f"/keys/{key['id']}/revoke", {})
        assert not passes(key), "what was answered holds"


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


def test_parallel_requests_to_some_models(gateway, upstream):
    hold = provider.Hold(after=400)
    upstream.serve("gpt-4o-mini", provider.chat_stream("one two three four", hold=hold), provider.chat("Again."))
    upstream.serve("gpt-4o", provider.chat("Another."))
    new = gateway.new_key(parallel="1@*-mini")
    client = gateway.client(new["key"])
    stream = ask(client, stream=True)
    with pytest.raises(openai.RateLimitError) as caught:
        ask(client)
    assert caught.value.code == "parallel_limit_exceeded" and "1 requests at a time for *-mini" in caught.value.body["message"]
    assert ask(client, model="test/gpt-4o").choices
    told = gateway.admin("POST", "/keys/explain", {"key": new["id"], "model": "test/gpt-4o-mini"})
    assert (told["code"], told["limits"][0]["limit"], told["limits"][0]["left"]) == ("parallel_limit_exceeded", "parallel=1@*-mini", 0)
    assert gateway.admin("POST", "/keys/explain", {"key": new["id"], "model": "test/gpt-4o"})["accepted"]
    more = gateway.admin("PATCH", f"/keys/{new['id']}", {"parallel_by_model": [{"most": 2, "models": "*-mini"}]})
    assert more["parallel_by_model"] == [{"most": 2, "models": "*-mini"}]
    assert eventually(lambda: code_of(client) is None), "the running one is counted, and there is room beside it"
    assert gateway.admin("GET", f"/budgets/{new['id']}")["parallel"] == [{"parallel": "parallel=2@*-mini", "limit": 2, "running": 1}]
    hold.released.set()
    assert list(stream)
    assert gateway.cli("keys", "update", new["id"], "--clear", "parallel")["parallel_by_model"] == []


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


@pytest.mark.parametrize("model", ["test/sk-ant-api03-" + "a" * 95, "Bearer sk-proj-" + "A1b2" * 12])
def test_a_key_of_another_service_behind_something_else_goes_nowhere(gateway, upstream, model):
    body = json.dumps({"model": model, "messages": MESSAGES}).encode()
    reply = gateway.request("POST", "/v1/chat/completions", body, gateway.new_key()["key"], x_request_id=model)
    secret = model.split("/")[-1].split(" ")[-1]
    assert (reply.status, reply.json()["error"]["code"]) in [(400, "key_in_model"), (404, "model_not_found")] and secret not in reply.body.decode()
    assert upstream.requests == [] and secret not in gateway.log() + str(reply.headers)


@pytest.mark.parametrize("path, field", [("/v1/chat/completions", "messages"), ("/v1/embeddings", "input")])
def test_a_key_that_is_written_with_escapes_in_a_models_place_goes_nowhere(gateway, upstream, path, field):
    key = gateway.new_key()["key"]
    written = key.replace("_", "%5F")
    reply = gateway.request("POST", path, json.dumps({"model": f"test/{written}", field: MESSAGES}).encode(), key)
    assert (reply.status, reply.json()["error"]["code"]) == (400, "key_in_model") and written not in reply.body.decode()
    assert upstream.requests == [] and written not in gateway.log()


@pytest.mark.parametrize("written", [lambda key: key, lambda key: key.replace("_", "%5F"), lambda key: key.upper().replace("_", "%5f")], ids=["as it is", "with escapes", "in capitals"])
def test_a_key_in_place_of_a_requests_name_is_neither_told_nor_logged(gateway, upstream, written):
    key = gateway.new_key()["key"]
    name = written(key)
    body = json.dumps({"model": "test/gpt-4o-mini", "messages": MESSAGES}).encode()
    for path, key_of_it in (("/v1/chat/completions", key), ("/v1/chat/completions", None), ("/v1/nowhere", key)):
        reply = gateway.request("POST", path, body, key_of_it, x_request_id=name)
        assert reply.headers["x-request-id"].startswith("req_"), path
    assert name not in gateway.log() + "".join(str(asked.headers) for asked in upstream.requests)


def test_a_model_that_looks_like_a_key_is_one_where_a_provider_lists_it(start_gateway, upstream):
    files = {"pp": provider_file(upstream.url, models='"pplx-embed-context-v1-0.6b" = {}')}
    gateway = start_gateway(providers=files)
    upstream.serve("pplx-embed-context-v1-0.6b", provider.chat("Hi"))
    body = json.dumps({"model": "pp/pplx-embed-context-v1-0.6b", "messages": MESSAGES}).encode()
    assert gateway.request("POST", "/v1/chat/completions", body, gateway.new_key()["key"]).status == 200


def test_a_path_that_is_refused_repeats_no_key(gateway):
    key = gateway.new_key(path="POST /v1/chat/completions")["key"]
    for written in (key, key.replace("_", "%5f")):
        reply = gateway.request("GET", f"/v1/files/{written}", None, key)
        assert reply.status in (400, 403) and key[-20:] not in reply.body.decode(), reply
