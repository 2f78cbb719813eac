"""Rates and budgets of keys: what is reserved, what is charged, what is refused, and who is told."""

import contextlib
import http.client
import json
import threading

import pytest
from standardwebhooks import Webhook

import upstream as provider
from conftest import PRICED
from gateway import eventually
from gateway import provider as provider_file
from test_chat import MESSAGES
from upstream import Answer, Hold, Upstream

SECRET = "whsec_" + "c2VjcmV0IG9mIHRoZSBhbGVydHMhISE="
# What provider.USAGE costs by conftest.PRICED, in USD: 600 at 0.15, 400 cached at 0.075 and 200 at 0.6 a million.
COST = 0.00024


def ask(gateway, key, model="test/gpt-4o-mini", **fields):
    body = {"model": model, "messages": MESSAGES, "max_tokens": 200, **fields}
    # A backslash here is one of JSON's own.
    text = json.dumps({name: value for name, value in body.items() if value is not None}).replace("\\\\", "\\")
    return gateway.request("POST", "/v1/chat/completions", text.encode(), key)


def code(reply):
    return reply.status, reply.json()["error"]["code"]


def test_rate_of_a_day_is_counted_across_restarts(start_gateway):
    gateway = start_gateway()
    key = gateway.new_key(limit="requests/day=3")
    assert [ask(gateway, key["key"]).status for _ in range(2)] == [200, 200]
    gateway.stop()
    gateway.start()
    assert [ask(gateway, key["key"]).status for _ in range(2)] == [200, 429]
    reply = ask(gateway, key["key"])
    assert code(reply) == (429, "rate_limit_exceeded")
    assert reply.headers["x-should-retry"] == "false"
    assert "3 requests a day" in reply.json()["error"]["message"]


def test_budget_is_kept_to_the_last_call_and_across_restarts_and_rotations(start_gateway, upstream):
    gateway = start_gateway()
    key = gateway.new_key(budget=f"{COST * 3:.6f}/ever")
    for _ in range(2):
        assert ask(gateway, key["key"]).status == 200
    gateway.stop()
    gateway.start()
    new = gateway.cli("keys", "rotate", key["id"])
    assert ask(gateway, new["key"]).status == 200
    upstream.requests.clear()
    for text in (key["key"], new["key"]):
        reply = ask(gateway, text)
        assert code(reply) == (402, "budget_exceeded")
        assert reply.json()["error"]["type"] == "insufficient_quota"
        assert "$0.000720 in all" in reply.json()["error"]["message"]
    assert upstream.requests == []


def test_running_requests_hold_what_they_may_cost(start_gateway, upstream):
    gateway = start_gateway()
    # One of them may cost 0.00014 at the most, as far as its length tells.
    key = gateway.new_key(budget="0.0002/day")
    hold = Hold()
    upstream.serve("gpt-4o-mini", provider.chat_stream("One two", usage=True, hold=hold), provider.chat("Hello"))
    first = threading.Thread(target=ask, args=(gateway, key["key"]), kwargs={"stream": True})
    first.start()
    hold.reached.wait(5)
    reply = ask(gateway, key["key"])
    assert code(reply) == (429, "budget_reserved")
    assert int(reply.headers["retry-after"]) == 1
    hold.released.set()
    first.join()
    # The first took its whole usage; what is left is less than another may cost.
    assert eventually(lambda: code(ask(gateway, key["key"])) == (402, "budget_exceeded"))


def test_hung_up_and_failed_requests_leave_nothing_reserved(start_gateway, upstream):
    gateway = start_gateway()
    key = gateway.new_key(budget=f"{COST * 1.5:.6f}/ever")
    upstream.serve("gpt-4o-mini", provider.error(500), provider.error(500), provider.error(500), provider.error(400), provider.chat("Hello"))
    assert ask(gateway, key["key"]).status == 500
    assert ask(gateway, key["key"]).status == 400
    assert ask(gateway, key["key"]).status == 200


SAID = [{"role": "user", "content": "Hi"}]
PARTS = {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]}
ASKED = {
    "/v1/chat/completions": {"messages": SAID},
    "/v1/completions": {"prompt": "Hi"},
    "/v1/responses": {"input": "Hi"},
    "/v1/embeddings": {"input": "Hi"},
    "/v1/images/generations": {"prompt": "Hi"},
    "/v1/audio/speech": {"input": "Hi", "voice": "alloy"},
    "/v1/moderations": {"input": "Hi"},
    "/v1/messages": {"messages": SAID, "max_tokens": 200},
    "/v1beta/models/test/gpt-4o-mini:generateContent": PARTS,
    "/v1beta/models/test/gpt-4o-mini:embedContent": {"content": PARTS["contents"][0]},
    "/model/test%2Fgpt-4o-mini/converse": {"messages": [{"role": "user", "content": [{"text": "Hi"}]}]},
    "/v2/chat": {"messages": SAID},
    "/v2/embed": {"texts": ["Hi"], "input_type": "search_query", "embedding_types": ["float"]},
    "/api/chat": {"messages": SAID, "stream": False},
    "/api/embed": {"input": "Hi"},
}


@pytest.mark.parametrize("path", ASKED)
def test_nothing_stays_reserved_whatever_was_asked_for(gateway, upstream, path):
    key = gateway.new_key(budget="5/day")
    body = json.dumps({"model": "test/gpt-4o-mini", **ASKED[path]})
    held = provider.chat("Hello")
    held.hold = Hold()
    upstream.serve("gpt-4o-mini", held, *[provider.error(500)] * 3, provider.error(400), provider.chat("Hello"))
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=20)) as hangs_up:
        hangs_up.request("POST", path, body, {"authorization": f"Bearer {key['key']}", "content-type": "application/json"})
        assert held.hold.reached.wait(5)
        assert spent(gateway, key)[1] > 0
    assert eventually(lambda: spent(gateway, key)[1] == 0)
    # The last is the answer of a chat, which is none of some others.
    failed, refused, answered = [gateway.request("POST", path, body, key["key"]).status for _ in range(3)]
    assert (failed, refused) == (500, 400) and answered in (200, 502)
    assert eventually(lambda: spent(gateway, key)[1] == 0)


def test_model_without_a_price_is_not_taken_for_free(start_gateway):
    gateway = start_gateway()
    key = gateway.new_key(budget="1/month")
    assert code(ask(gateway, key["key"], "test/unlisted")) == (403, "model_without_price")
    soft = gateway.new_key(budget="1/month:soft")
    assert ask(gateway, soft["key"], "test/unlisted").status == 200


def test_what_goes_on_in_the_background_is_charged_as_reserved(start_gateway, upstream):
    gateway = start_gateway()
    key = gateway.new_key(budget="0.0002/day")
    upstream.serve("gpt-4o-mini", provider.answer_json({"id": "resp_1", "object": "response", "status": "queued", "background": True, "output": [], "usage": None}))
    body = json.dumps({"model": "test/gpt-4o-mini", "input": "Hi", "background": True, "max_output_tokens": 300}).encode()
    replies = [gateway.request("POST", "/v1/responses", body, key["key"]) for _ in range(2)]
    assert [reply.status for reply in replies] == [200, 402], "the first may cost 0.00018 and more, which nobody will tell"


@pytest.mark.parametrize(
    "part",
    [
        {"type": "file", "file": {"file_id": "file-1"}},
        {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}},
        {"t\\u0079pe": "file", "text": "x"},
    ],
)
def test_what_a_request_only_names_is_held_against_the_budget_as_all_that_the_model_reads(start_gateway, upstream, part):
    gateway = start_gateway()
    # 128,000 tokens at 0.15 USD a million, and 200 of output at 0.6: 0.01932.
    fields = {"messages": [{"role": "user", "content": [part]}]}
    assert code(ask(gateway, gateway.new_key(budget="0.0193/ever")["key"], **fields)) == (402, "budget_exceeded")
    assert ask(gateway, gateway.new_key(budget="0.0194/ever")["key"], **fields).status == 200
    assert ask(gateway, gateway.new_key(budget="0.0193/ever")["key"]).status == 200


def test_no_more_is_reserved_than_a_model_has_room_for_whatever_is_asked_of_it(start_gateway, upstream):
    gateway = start_gateway(providers={"one": provider_file(upstream.url, models='"m" = { context = 4000, max_output = 1000, price = { input = 1, output = 100 } }')})
    upstream.serve("m", provider.chat("Hi"))
    # 4,000 tokens at 100 USD a million are 0.4.
    key, less = (gateway.new_key(budget=budget)["key"] for budget in ("0.41/ever", "0.39/ever"))
    assert code(ask(gateway, less, "one/m", max_tokens=10**15)) == (402, "budget_exceeded")
    assert code(ask(gateway, key, "one/m", max_tokens=10**15, n=2)) == (402, "budget_exceeded"), "each answer may be as long"
    assert ask(gateway, key, "one/m", max_tokens=10**15).status == 200
    limited = gateway.new_key(limit="output-tokens/hour=5000")["key"]
    assert code(ask(gateway, limited, "one/m", max_tokens=10**15, n=2)) == (429, "request_too_large")
    assert ask(gateway, limited, "one/m", max_tokens=10**15).status == 200


def test_a_count_that_nobody_can_believe_is_told_and_charged_as_the_most_that_is(start_gateway, upstream):
    gateway = start_gateway()
    usage = {"prompt_tokens": 2**41, "completion_tokens": 2**41, "total_tokens": 2**42}
    upstream.serve("gpt-4o-mini", provider.chat("Hi", usage=usage))
    key = gateway.new_key(budget="100/ever:soft")
    assert ask(gateway, key["key"]).status == 200
    charged = gateway.usage("key", key["id"], 1)
    assert (charged["input_tokens"], charged["cost_nano_usd"]) == (2**32, 2**32 * 750)
    assert eventually(lambda: gateway.log().count("counts or charges more than a request can take") == 1)


def test_what_is_thought_beside_the_most_that_is_answered_is_held_too(start_gateway, upstream):
    """Such as SiliconFlow and Alibaba: their `max_tokens` is of the answer alone."""
    price = "{ context = 4000, max_output = 1000, price = { input = 1, output = 100 } }"
    file = provider_file(upstream.url, models=f'"m" = {price}')
    beside = file.replace("[models]", "[quirks]\nthinks_beside_max_output = true\n\n[models]")
    gateway = start_gateway(providers={"one": file, "two": beside})
    key = gateway.new_key(budget="0.3/ever")["key"]
    assert ask(gateway, key, "one/m", max_tokens=1).status == 200
    assert code(ask(gateway, key, "two/m", max_tokens=1)) == (402, "budget_exceeded"), "all that the model has room for"
    other = gateway.new_key(budget="0.05/ever")["key"]
    assert code(ask(gateway, other, "one/m", max_tokens=0)) == (402, "budget_exceeded"), "none may be taken for no limit"


@pytest.mark.parametrize("facts", ["", "context = 0, max_output = 0, "], ids=["silent", "zero"])
def test_model_of_which_nobody_knows_how_much_it_takes_and_gives(start_gateway, upstream, facts):
    models = f'"dark" = {{ {facts}price = {{ input = 0.15, output = 0.6 }} }}'
    gateway = start_gateway(providers={"test": provider_file(upstream.url, models=models)})
    key = gateway.new_key(budget="1/ever")["key"]
    reply = ask(gateway, key, "test/dark", max_tokens=None)
    assert code(reply) == (403, "model_without_limit")
    assert "set max_tokens" in reply.json()["error"]["message"] and "its max_output" in reply.json()["error"]["message"]
    assert ask(gateway, key, "test/dark").status == 200
    picture = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}}]}]
    reply = ask(gateway, key, "test/dark", messages=picture)
    assert code(reply) == (403, "model_without_limit")
    assert "its context" in reply.json()["error"]["message"]
    assert ask(gateway, gateway.new_key(budget="1/ever:soft")["key"], "test/dark", max_tokens=None, messages=picture).status == 200
    assert len(upstream.requests) == 2


@pytest.mark.parametrize("fields", [{"tools": [{"type": "web_search"}]}, {"web_search_options": {}}], ids=["tool", "member"])
def test_tools_that_a_provider_runs_are_refused_where_a_budget_could_not_hold_them(start_gateway, upstream, fields):
    gateway = start_gateway()
    reply = ask(gateway, gateway.new_key(budget="100/ever")["key"], **fields)
    assert code(reply) == (403, "tools_with_budget")
    assert upstream.requests == []
    assert ask(gateway, gateway.new_key(budget="100/ever:soft")["key"], **fields).status == 200
    # What switches nothing on passes.
    for off in ({"mcp_servers": []}, {"plugins": []}, {"search_parameters": {"mode": "off"}}, {"enable_search": False}, {"speed": "standard"}):
        assert ask(gateway, gateway.new_key(budget="100/ever")["key"], **off).status == 200, off
    for on in ({"search_parameters": {}}, {"search_parameters": {"mode": "auto", "max": "off"}}, {"search_parameters": {"mode": "off", "m\u006fde": "on"}}):
        assert code(ask(gateway, gateway.new_key(budget="100/ever")["key"], **on)) == (403, "tools_with_budget"), on
    assert code(ask(gateway, gateway.new_key(budget="100/ever")["key"], speed="fast")) == (403, "unknown_field_with_budget")
    own = {"tools": [{"type": "function", "function": {"name": "web_search", "parameters": {"properties": {"url": {"type": "string"}}}}}]}
    assert ask(gateway, gateway.new_key(budget="0.001/ever")["key"], **own).status == 200


FORM = b"".join(
    b'--b\r\ncontent-disposition: form-data; name="%b"\r\n\r\n%b\r\n' % part for part in [(b"model", b"test/gpt-4o-mini"), (b'file"; filename="x.wav', b"RIFF")]
)


@pytest.mark.parametrize("limit", [{"budget": "100/ever"}, {"models": "test/gpt-4o-mini"}], ids=["budget", "list"])
@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/images/generations", {"prompt": "x"}),
        ("/v1/audio/speech", {"input": "x", "voice": "alloy"}),
        ("/v1/moderations", {"input": "x"}),
        ("/v1/audio/transcriptions", None),
    ],
)
def test_beside_chat_no_other_model_is_named_either(start_gateway, upstream, limit, path, body):
    """Wherever a server could read it: in the query, in other letters, as one of several, or as a part that is spelled otherwise."""
    gateway = start_gateway()
    key, path_there = gateway.new_key(**limit)["key"], path.removeprefix("/v1")
    upstream.serve_at("POST", path_there, provider.answer_json({"ok": True, "usage": {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2}}))

    def send(query="", more=None, part=b""):
        upstream.requests.clear()
        form = {"content_type": "multipart/form-data; boundary=b"} if body is None else {}
        sent = FORM + part + b"--b--\r\n" if body is None else json.dumps({"model": "test/gpt-4o-mini", **body, **(more or {})}).encode()
        return gateway.request("POST", path + query, sent, key, **form)

    assert send().status == 200 and upstream.requests[0].path == path
    assert send("?model=dear&MODEL=dear&beta=true").status == 200
    assert upstream.requests[0].path == f"{path}?beta=true"
    if body is None:
        for name in (b'name = "model"', b'name=\t"model"', b'name="a"; name*0="model"'):
            told = send(part=b"--b\r\ncontent-disposition: form-data; %b\r\n\r\ndear\r\n" % name)
            assert code(told) == (400, "form_broken") and upstream.requests == [], name
        return
    for more, expected in [({"Model": "dear"}, (400, "body_not_json")), ({"models": ["dear"]}, (403, "other_models_named")), ({"fallbacks": ["dear"]}, (403, "other_models_named"))]:
        assert code(send(more=more)) == expected and upstream.requests == [], more


@pytest.mark.parametrize("limit", [{"budget": "100/ever"}, {"models": "test/gpt-4o-mini"}], ids=["budget", "list"])
def test_a_provider_chooses_no_model_that_nobody_has_judged(start_gateway, upstream, limit):
    gateway = start_gateway()
    reply = ask(gateway, gateway.new_key(**limit)["key"], models=["openai/o1-pro"])
    assert code(reply) == (403, "other_models_named")
    assert upstream.requests == []
    assert ask(gateway, gateway.new_key()["key"], models=["openai/o1-pro"]).status == 200


def test_every_prompt_of_a_completion_is_held_against_the_budget(start_gateway, upstream):
    gateway = start_gateway()
    # 500 answers of 1000 tokens at 0.6 a million, and little more.
    body = json.dumps({"model": "test/gpt-4o-mini", "prompt": ["a"] * 500, "max_tokens": 1000}).encode()
    replies = [gateway.request("POST", "/v1/completions", body, gateway.new_key(budget=f"{budget}/ever")["key"]).status for budget in (0.3, 0.31)]
    assert replies == [402, 200]


def test_usage_that_nobody_can_have_used_ends_no_connection(start_gateway, upstream):
    gateway = start_gateway()
    key = gateway.new_key(budget="1/ever")
    usage = {"prompt_tokens": 9 * 10**18, "completion_tokens": 9 * 10**18, "total_tokens": 18 * 10**18}
    upstream.serve("gpt-4o-mini", provider.chat("Hi", usage=usage))
    assert ask(gateway, key["key"]).status == 200
    assert code(ask(gateway, key["key"])) == (402, "budget_exceeded")


def test_batch_is_refused_where_a_budget_could_not_hold_it(start_gateway):
    gateway = start_gateway()
    body = json.dumps({"input_file_id": "file-1", "endpoint": "/v1/chat/completions", "completion_window": "24h"}).encode()
    reply = gateway.request("POST", "/v1/batches", body, gateway.new_key(budget="1/day")["key"])
    assert code(reply) == (403, "batch_with_budget")
    assert gateway.request("POST", "/v1/batches", body, gateway.new_key(budget="1/day:soft")["key"]).status == 404


def test_budget_of_some_models_leaves_the_others_alone(start_gateway):
    gateway = start_gateway()
    key = gateway.new_key(budget="0/month@test/*")
    assert code(ask(gateway, key["key"])) == (402, "budget_exceeded")
    assert ask(gateway, key["key"], "simulator/echo").status == 200


@pytest.mark.parametrize("glob", ["gpt-4o-mini", "gpt-4o*", "test/gpt-4o-mini", "test/*"])
def test_limit_of_a_model_holds_by_whichever_of_its_names_it_is_set(start_gateway, glob):
    gateway = start_gateway(config='[aliases]\nfast = "test/gpt-4o-mini"\n')
    limited = gateway.new_key(limit=f"requests/day=1@{glob}")
    # Some providers take a name in any letters.
    assert [ask(gateway, limited["key"], model).status for model in ("fast", "test/gpt-4o-mini", "test/GPT-4o-Mini")] == [200, 429, 429]
    assert ask(gateway, limited["key"], "simulator/echo").status == 200
    budgeted = gateway.new_key(budget=f"{COST:.6f}/day@{glob}")
    assert [ask(gateway, budgeted["key"], model).status for model in ("test/GPT-4O-mini", "fast", "test/gpt-4o-MINI")] == [200, 402, 402]
    assert gateway.usage("model", "test/GPT-4O-mini", 1)["cost_nano_usd"] == round(COST * 1e9)


@pytest.mark.parametrize("dialect", ["gemini", "bedrock_converse"])
def test_a_models_name_leads_to_no_other_path(start_gateway, dialect):
    """What a limit allows or counts is what the provider is asked for, also where the name stands in its path."""
    price = "{ context = 1000, max_output = 100, price = { input = 1, output = 1 } }"
    asked_of = Upstream()
    asked_of.fallback = lambda model: provider.error(404)
    file = provider_file(asked_of.url, dialects=[dialect], models=f'"flash" = {price}\n"pro" = {price}')
    gateway = start_gateway(providers={"gg": file})
    key = gateway.new_key(models="gg/flash*,gg/.*", limit="requests/day=1@gg/pro")["key"]
    assert code(ask(gateway, key, "gg/pro")) == (403, "model_not_allowed")
    tricks = ["flash/../pro", "flash/./../pro", "flash%2F..%2Fpro", "flash/%2e%2e/pro", "flash/../../files?x=", "flash/../../files#", "flash/..\\\\pro", "flash\\t/../pro", "..", "."]
    for trick in tricks:
        ask(gateway, key, f"gg/{trick}")
        gateway.request("POST", f"/v1beta/models/gg/{trick.partition('#')[0].partition('?')[0]}:generateContent", b'{"contents": []}', key)
    seen = {asked.path.partition("?")[0] for asked in asked_of.requests}
    folder = "/v1/models/" if dialect == "gemini" else "/v1/model/"
    names = [path.removeprefix(folder).removesuffix(":generateContent").removesuffix("/converse") for path in seen]
    assert len(names) >= 7 and all(name.startswith("flash") and "/" not in name for name in names), seen
    asked_of.close()


def test_limit_that_names_an_alias_is_refused_with_what_to_name(start_gateway):
    gateway = start_gateway(config='[aliases]\nfast = ["test/gpt-4o-mini", "simulator/echo"]\n"gpt-4o-mini" = "test/gpt-4o-mini"\n')
    made = gateway.new_key()
    for command in (["keys", "create"], ["keys", "update", made["id"]], ["teams", "create", "t"], ["limits", "set"]):
        for flag in ("--limit=requests/day=1@fast", "--budget=1/day@fast"):
            done = gateway.run(*command, flag)
            assert done.returncode != 0, command
            assert "'fast' is an alias" in done.stderr and "test/gpt-4o-mini and for simulator/echo" in done.stderr
    gateway.admin("GET", "/keys")
    for method, path, more in (("POST", "/keys", {}), ("PATCH", f"/keys/{made['id']}", {}), ("POST", "/teams", {"id": "t"}), ("PATCH", "/limits", {})):
        rate = {"unit": "requests", "per": "day", "most": 1, "models": "fast"}
        answer = gateway.request(method, f"/admin/v1{path}", json.dumps(more | {"rates": [rate]}), gateway.owner)
        assert (answer.status, answer.json()["code"], answer.json()["errors"][0]["pointer"]) == (422, "invalid_fields", "/rates"), path
    # It is the name of its model too.
    limited = gateway.new_key(limit="requests/day=1@gpt-4o-mini")
    assert [ask(gateway, limited["key"], "gpt-4o-mini").status for _ in range(2)] == [200, 429]


@pytest.mark.parametrize(("models", "is_let_in"), [("simulator/*", False), ("test/*", False), ("test/*,simulator/*", True), ("fast", True)])
def test_alias_is_told_of_where_it_may_be_called(start_gateway, models, is_let_in):
    gateway = start_gateway(config='[aliases]\nfast = ["test/gpt-4o-mini", "simulator/echo"]\n')
    key = gateway.admin("POST", "/keys", {"models": models.split(",")})["key"]
    told = gateway.request("GET", "/v1/models/fast", key=key)
    assert (told.status, told.json().get("id")) == ((200, "fast") if is_let_in else (404, None))
    assert ("fast" in [model["id"] for model in gateway.request("GET", "/v1/models", key=key).json()["data"]]) == is_let_in
    assert ask(gateway, key, "fast").status == (200 if is_let_in else 403)


@pytest.mark.parametrize("limit", ["requests/day=2", "requests/hour=2"])
def test_refusal_tells_of_the_limit_that_refused(start_gateway, limit):
    gateway = start_gateway()
    rates = [{"unit": "requests", "per": per, "most": int(most)} for per, most in (limit.removeprefix("requests/").split("="), ("minute", 60))]
    key = gateway.admin("POST", "/keys", {"rates": rates})["key"]
    replies = [ask(gateway, key) for _ in range(3)]
    assert [reply.status for reply in replies] == [200, 200, 429]
    assert [replies[1].headers[f"x-ratelimit-{name}-requests"] for name in ("limit", "remaining")] == ["60", "58"]
    told = replies[2].headers
    assert [told[f"x-ratelimit-{name}-requests"] for name in ("limit", "remaining")] == ["2", "0"]
    seconds = int(told["retry-after"])
    minutes, rest = told["x-ratelimit-reset-requests"].removesuffix("s").split("m") if "m" in told["x-ratelimit-reset-requests"] else (0, told["x-ratelimit-reset-requests"].removesuffix("s"))
    assert abs(int(minutes) * 60 + float(rest) - seconds) <= 2


def test_refusal_by_a_days_tokens_tells_of_them(start_gateway):
    gateway = start_gateway()
    rates = [{"unit": "input_tokens", "per": "day", "most": 3}, {"unit": "tokens", "per": "minute", "most": 100_000}]
    key = gateway.admin("POST", "/keys", {"rates": rates})["key"]
    told = ask(gateway, key, messages=[{"role": "user", "content": "a long message, of more tokens than there are in a day " * 5}])
    assert code(told) == (429, "request_too_large")
    assert [told.headers[f"x-ratelimit-{name}-tokens"] for name in ("limit", "remaining")] == ["3", "3"]


def spent(gateway, key):
    """How the key's only budget stands: what is used of it and what is held, in USD."""
    [standing] = gateway.admin("POST", "/keys/explain", {"key": key["id"]})["limits"]
    return round((standing["most"] - standing["left"] - standing["held"]) / 1e9, 6), standing["held"]


def test_budget_that_is_set_while_requests_run_counts_what_they_use(start_gateway, upstream):
    gateway = start_gateway()
    key, hold = gateway.new_key(), Hold()
    upstream.serve("gpt-4o-mini", provider.chat_stream("One two", usage=True, hold=hold), provider.chat("Hello"))
    # It may cost a hundred times what it does.
    running = threading.Thread(target=ask, args=(gateway, key["key"]), kwargs={"stream": True, "max_tokens": 16000})
    running.start()
    assert hold.reached.wait(5)
    gateway.admin("PATCH", f"/keys/{key['id']}", {"budgets": [{"nano_usd": 1_000_000_000, "per": "day"}]})
    assert eventually(lambda: gateway.admin("POST", "/keys/explain", {"key": key["id"]})["limits"])
    assert ask(gateway, key["key"]).status == 200
    hold.released.set()
    running.join()
    assert eventually(lambda: spent(gateway, key) == (round(2 * COST, 6), 0)), spent(gateway, key)


def test_budgets_of_models_that_are_set_while_an_alias_runs_count_who_answers(start_gateway, upstream):
    """The ledger has it under the first model until the second one has answered."""
    price = "{ context = 20000, max_output = 16000, price = { input = 1, output = 10 } }"
    models = f'"a" = {price}\n"b" = {price}'
    config = '[aliases]\nal = ["test/a", "test/b"]\n'
    gateway = start_gateway(providers={"test": provider_file(upstream.url, models=models)}, config=config)
    key, hold = gateway.new_key(), Hold()
    upstream.serve("a", provider.error(500))
    upstream.serve("b", provider.chat_stream("One two", usage=True, hold=hold))
    running = threading.Thread(target=ask, args=(gateway, key["key"], "al"), kwargs={"stream": True, "max_tokens": 16000})
    running.start()
    assert hold.reached.wait(5)
    budgets = [{"nano_usd": 10**9, "per": "ever", "models": f"test/{model}"} for model in "ab"]
    gateway.admin("PATCH", f"/keys/{key['id']}", {"budgets": budgets})
    stands = lambda: [(limit["most"] - limit["left"], limit["held"]) for limit in explain()]  # noqa: E731
    explain = lambda: gateway.admin("POST", "/keys/explain", {"key": key["id"]})["limits"]  # noqa: E731
    assert eventually(lambda: stands() and stands()[0][0] > 100_000_000), stands()
    hold.released.set()
    running.join()
    # 1000 tokens in and 200 out.
    assert eventually(lambda: stands() == [(0, 0), (3_000_000, 0)]), stands()
    gateway.stop()
    gateway.start()
    assert ask(gateway, key["key"], "test/a", max_tokens=1).status == 500
    assert stands() == [(0, 0), (3_000_000, 0)], "as the ledger has it"


@pytest.mark.parametrize("whose", ["key", "team"])
def test_a_budget_that_is_spent_lets_nothing_pass_while_its_period_is_changed(start_gateway, upstream, whose):
    gateway = start_gateway()
    budget = f"{COST * 3:.6f}"
    gateway.cli("teams", "create", "red", *(["--budget", f"{budget}/ever"] if whose == "team" else []))
    gateway.cli("projects", "create", "bot", "--team", "red")
    key = gateway.new_key(project="bot", **({"budget": f"{budget}/ever"} if whose == "key" else {}))
    change = ["keys", "update", key["id"]] if whose == "key" else ["teams", "update", "red"]
    assert [ask(gateway, key["key"]).status for _ in range(4)] == [200, 200, 200, 402]
    told, is_over = [], threading.Event()

    def calls():
        while not is_over.is_set():
            told.append(code(ask(gateway, key["key"])))

    callers = [threading.Thread(target=calls) for _ in range(4)]
    [caller.start() for caller in callers]
    explain = lambda: [limit["limit"] for limit in gateway.admin("POST", "/keys/explain", {"key": key["id"]})["limits"]]  # noqa: E731
    for period in ("month", "ever", "week", "ever"):
        gateway.cli(*change, "--budget", f"{budget}/{period}")
        assert eventually(lambda period=period: explain() == [f"{float(budget)}/{period}"]), explain()
    is_over.set()
    [caller.join() for caller in callers]
    assert set(told) == {(402, "budget_exceeded")} and len(upstream.requests) == 3


def test_explain_says_what_a_request_is_told(start_gateway):
    gateway = start_gateway()

    def explained(key, model):
        told = gateway.admin("POST", "/keys/explain", {"key": key["key"], "model": model})
        said = gateway.run("keys", "explain", key["key"], "--model", model, "--json")
        assert json.loads(said.stdout)["code"] == told["code"], "the command line says the same"
        reply = ask(gateway, key["key"], model)
        assert told["code"] == (None if reply.status == 200 else reply.json()["error"]["code"]), (told, reply.body)
        assert told["accepted"] == (reply.status == 200)
        return told["code"]

    of_one_model = gateway.new_key(limit="requests/day=1@test/gpt-4o-mini")
    assert ask(gateway, of_one_model["key"]).status == 200
    assert explained(of_one_model, "test/gpt-4o-mini") == "rate_limit_exceeded"
    assert explained(of_one_model, "simulator/echo") is None
    assert explained(of_one_model, "") == "invalid_value"
    assert explained(gateway.new_key(budget="5/day"), "test/no-price") == "model_without_price"
    assert explained(gateway.new_key(budget="0.000000001/day"), "test/gpt-4o-mini") == "budget_exceeded"
    told = gateway.admin("POST", "/keys/explain", {"key": gateway.new_key(**{"from": "192.0.2.0/24", "path": "POST /v1/embeddings"})["key"]})
    assert told["hint"] == "It works only from 192.0.2.0/24 and for POST /v1/embeddings."
    # Of a provider that this shell's variables do not switch on, the limits are told all the same.
    del gateway.env["TEST_PROVIDER_KEY"]
    asked = lambda key: json.loads(gateway.run("keys", "explain", key["id"], "--model", "test/gpt-4o-mini", "--json").stdout)  # noqa: E731
    assert asked(of_one_model)["code"] == "rate_limit_exceeded"
    other = asked(gateway.new_key())
    assert other["accepted"] and other["hint"].startswith("Whether Test is switched on")
    assert asked(gateway.new_key(models="simulator/*"))["code"] == "model_not_allowed"


def test_explain_says_of_an_admin_key_what_management_does(start_gateway):
    """Management counts nothing, and the whole gateway's lists do not bind it."""
    gateway = start_gateway()
    gateway.admin("PATCH", "/limits", {"budgets": [{"nano_usd": 0, "per": "month"}], "rates": [{"unit": "requests", "per": "day", "most": 1}], "paths": ["POST /v1/chat/*"]})
    key = gateway.new_key()["key"]
    assert eventually(lambda: ask(gateway, key, "simulator/echo").status == 429)
    boss = gateway.new_key(kind="admin", **{"from": "127.0.0.0/8"})["key"]
    assert gateway.request("GET", "/admin/v1/keys", None, boss).status == 200
    for told in (gateway.admin("POST", "/keys/explain", {"key": boss}), gateway.cli("keys", "explain", boss)):
        assert (told["accepted"], told["code"], told["message"], told["limits"]) == (True, None, "This key is good.", [])
        assert told["hint"] == "It works only from 127.0.0.0/8."
    assert gateway.admin("POST", "/keys/explain", {"key": boss, "model": "simulator/echo"})["code"] == "key_is_admin"
    assert gateway.admin("POST", "/keys/explain", {"key": key})["code"] == "rate_limit_exceeded"


def test_explain_without_a_model_says_that_a_spent_budget_lets_in_what_is_free(start_gateway):
    gateway = start_gateway()
    gateway.cli("limits", "set", "--budget", "0/month")
    key = gateway.new_key()["key"]
    for told in (gateway.admin("POST", "/keys/explain", {"key": key}), gateway.cli("keys", "explain", key)):
        assert told["accepted"] and told["code"] is None and [one["left"] for one in told["limits"]] == [0]
        assert told["message"].startswith("This key is good, and only what costs nothing is let in now. This gateway has spent its budget of $0")
    assert ask(gateway, key, "simulator/echo").status == gateway.request("GET", "/v1/models", None, key).status == 200
    assert code(ask(gateway, key)) == (402, "budget_exceeded")


@pytest.mark.parametrize("written", [lambda key: key, lambda key: f"test/{key}", lambda key: key.replace("_", "%5F")], ids=["alone", "behind a provider", "with escapes"])
def test_explain_repeats_no_key_that_was_pasted_as_the_model(gateway, written):
    key, boss = gateway.new_key()["key"], gateway.new_key(kind="admin")["key"]
    model = written(key)
    assert code(ask(gateway, key, model)) == (400, "key_in_model")
    for explained, says in ((key, "key_in_model"), (boss, "key_is_admin"), ("kw_live_AAAAAAAAAAAA", "invalid_api_key")):
        told = gateway.admin("POST", "/keys/explain", {"key": explained, "model": model})
        said = gateway.run("keys", "explain", explained, "--model", model, "--json")
        assert (told["code"], told["model"]) == (says, "(a key)") == (json.loads(said.stdout)["code"], json.loads(said.stdout)["model"])
        assert key[20:] not in json.dumps(told) + said.stdout + said.stderr


@pytest.mark.parametrize(
    ("flag", "given"),
    [
        ({"rpm": 1}, {"rates": [{"unit": "requests", "per": "minute", "most": 1}]}),
        ({"parallel": 1}, {"parallel": 1}),
        ({"parallel": "1@test/*"}, {"parallel_by_model": [{"most": 1, "models": "test/*"}]}),
        ({"budget": "1/month"}, {"budgets": [{"nano_usd": 1, "per": "month"}]}),
        ({"models": "test/*"}, {"models": ["test/*"]}),
        ({"tools": "prompt/*"}, {"tools": ["prompt/*"]}),
    ],
    ids=["rates", "parallel", "parallel_by_model", "budgets", "models", "tools"],
)
def test_limits_that_bind_nobody_who_manages_are_refused(gateway, flag, given):
    [field], says = given, "admin keys call no model, and management counts nothing"
    flags = [word for name, value in flag.items() for word in (f"--{name}", str(value))]
    boss = gateway.new_key(kind="admin", path="* /admin/*")
    for arguments in (("create", "--kind", "admin"), ("update", boss["id"])):
        done = gateway.run("keys", *arguments, *flags)
        assert done.returncode != 0 and f"{field}: {says}" in done.stderr, done.stderr
    for method, path, body in (("POST", "/keys", {"kind": "admin"}), ("PATCH", f"/keys/{boss['id']}", {})):
        reply = gateway.request(method, f"/admin/v1{path}", json.dumps(body | given).encode(), boss["key"])
        assert (reply.status, [error["pointer"] for error in reply.json()["errors"]]) == (422, [f"/{field}"]), reply.body
        assert says in reply.json()["errors"][0]["detail"]
    assert gateway.admin("PATCH", f"/keys/{boss['id']}", {"paths": [], "addresses": ["127.0.0.1"]})["addresses"] == ["127.0.0.1"]


@pytest.mark.parametrize(
    ("flag", "value", "says"),
    [("limit", "requests/week=1", "minute, hour or day"), ("limit", "60", "requests/minute=60"), ("budget", "5", "50/month"), ("from", "10.0.0.1/8", "10.0.0.0/8")],
)
def test_limit_that_cannot_be_meant_is_refused_with_what_can(start_gateway, flag, value, says):
    done = start_gateway().run("keys", "create", f"--{flag}", value)
    assert done.returncode != 0
    assert says in done.stderr


# What the gateway tells by itself, and what it has to ask or to write down for.
TOLD_BY_ITSELF = ["/v1/models", "/v1/models/test/gpt-4o-mini", "/v1beta/models", "/api/tags", "/api/version", "/prompts", "/services"]
LISTS = ["/v1/files", "/v1/batches"]
TOLD_BY_MCP = [("initialize", {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}}), ("ping", {})]
LISTS_OF_MCP = [(f"{kind}/list", {}) for kind in ("tools", "prompts", "resources", "resources/templates")]


def test_what_the_gateway_tells_by_itself_is_counted_by_no_limit(start_gateway, upstream):
    gateway = start_gateway()

    def mcp(key, method, params):
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
        headers = {"accept": "application/json, text/event-stream", "mcp_protocol_version": "2025-06-18"}
        return gateway.request("POST", "/mcp", body, key, **headers).body

    key = gateway.new_key(limit="requests/day=1")["key"]
    for _ in range(2):
        assert [gateway.request("GET", path, key=key).status for path in TOLD_BY_ITSELF] == [200] * len(TOLD_BY_ITSELF)
        assert all(b'"result"' in mcp(key, *told) for told in TOLD_BY_MCP)
    assert ask(gateway, key).status == 200, "the one that it has is left"
    assert [code(gateway.request("GET", path, key=key)) for path in LISTS] == [(429, "rate_limit_exceeded")] * len(LISTS)
    assert all(b"rate_limit_exceeded" in mcp(key, *asked) for asked in LISTS_OF_MCP)
    assert [gateway.request("GET", path, key=key).status for path in TOLD_BY_ITSELF] == [200] * len(TOLD_BY_ITSELF)
    upstream.serve_at("GET", "/files", provider.answer_json({"object": "list", "data": []}))
    for some, second in [("test/*", 429), ("gpt-*", 200)]:
        key = gateway.new_key(limit=f"requests/day=1@{some}")["key"]
        assert [gateway.request("GET", "/v1/files", key=key).status for _ in range(2)] == [200, second], "a limit for some models counts no list"
        assert all(b'"result"' in mcp(key, *asked) for asked in LISTS_OF_MCP)


def test_key_is_told_when_it_ends(start_gateway):
    gateway = start_gateway()
    soon, later = gateway.new_key(expires="3d"), gateway.new_key(expires="60d")
    assert ask(gateway, soon["key"]).headers["keyward-key-expires"] == soon["expires"]
    assert "keyward-key-expires" not in ask(gateway, later["key"]).headers
    beside = ["/v1/models", "/v1/models/test/gpt-4o-mini", "/v1/models/none", "/v1beta/models", "/api/tags", "/services", "/v1/files/none"]
    for path, body in [*((path, None) for path in beside), ("/v1/chat/completions", "{}"), ("/mcp", "{}")]:
        reply, other = (gateway.request("POST" if body else "GET", path, body, key["key"]) for key in (soon, later))
        assert reply.headers.get("keyward-key-expires") == soon["expires"], (path, reply.status)
        assert reply.status == other.status and "keyward-key-expires" not in other.headers, path
    boss = gateway.new_key(kind="admin", expires="3d")
    assert gateway.request("GET", "/admin/v1/keys", None, boss["key"]).headers["keyward-key-expires"] == boss["expires"]


def test_alerts_are_signed_and_come_once_for_each_threshold(start_gateway):
    receiver = Upstream()
    receiver.serve_at("POST", "/alerts", Answer(b"{}"))
    gateway = start_gateway(config=f'[alerts]\nwebhook = "{receiver.url}/alerts"\n', env={"KEYWARD_ALERT_SECRET": SECRET})
    key = gateway.new_key(budget=f"{COST * 5:.6f}/month")
    for _ in range(3):
        ask(gateway, key["key"])
    assert eventually(lambda: len(receiver.requests) == 1, seconds=15), receiver.requests
    gateway.stop()
    gateway.start()
    for _ in range(3):
        ask(gateway, key["key"])
    assert eventually(lambda: len(receiver.requests) == 3, seconds=15), receiver.requests
    told = [Webhook(SECRET).verify(asked.body, asked.headers) for asked in receiver.requests]
    assert [(one["type"], one["data"]["percent"]) for one in told] == [("budget.threshold", 50), ("budget.threshold", 80), ("budget.spent", 100)]
    assert {one["data"]["account"] for one in told} == {key["id"]}
    assert told[-1]["data"]["spent_nano_usd"] == round(COST * 5 * 1e9)
    assert SECRET not in gateway.log()
    receiver.close()


def test_an_alert_that_is_not_taken_keeps_no_other_waiting(start_gateway):
    receiver, seen = Upstream(), []

    def take(asked):
        account = json.loads(asked.body)["data"]["account"]
        seen.append((account, asked.headers["webhook-id"]))
        return Answer(b"{}", 500 if account == first["id"] and len(seen) < 3 else 200)

    receiver.serve_at("POST", "/alerts", take)
    gateway = start_gateway(config=f'[alerts]\nwebhook = "{receiver.url}/alerts"\n', env={"KEYWARD_ALERT_SECRET": SECRET})
    first, second = (gateway.new_key(budget=f"{COST * 1.5:.6f}/month") for _ in range(2))
    for key in (first, second):
        assert ask(gateway, key["key"]).status == 200
    assert eventually(lambda: len(seen) >= 3, seconds=15), seen
    assert [account for account, _ in seen[:3]] == [first["id"], second["id"], first["id"]]
    assert seen[0][1] == seen[2][1] != seen[1][1] and "." not in seen[0][1]
    receiver.close()


def test_alerts_to_a_webhook_that_hangs_are_all_told_after_a_restart(start_gateway):
    receiver, told, hold = Upstream(), {False: set(), True: set()}, threading.Event()

    def take(asked):
        is_later = hold.is_set()
        hold.wait(30)
        data = json.loads(asked.body)["data"]
        told[is_later].add((data["account"], data["percent"]))
        return Answer(b"{}")

    receiver.serve_at("POST", "/alerts", take)
    gateway = start_gateway(config=f'[alerts]\nwebhook = "{receiver.url}/alerts"\n', env={"KEYWARD_ALERT_SECRET": SECRET})
    keys = [gateway.new_key(budget=f"{COST:.6f}/month") for _ in range(20)]
    for key in keys:
        assert ask(gateway, key["key"]).status == 200
    # More than are called at once: what one of them holds up is told by itself.
    assert eventually(lambda: len(receiver.requests) >= 16)
    gateway.stop()
    hold.set()
    gateway.start()
    assert eventually(lambda: told[True] == {(key["id"], percent) for key in keys for percent in (50, 80, 100)}, seconds=20), told
    receiver.close()


def test_an_alert_that_nobody_took_is_told_after_a_restart(start_gateway):
    receiver, seen = Upstream(), []

    def take(asked):
        seen.append((asked.headers["webhook-id"], Webhook(SECRET).verify(asked.body, asked.headers)["data"]["percent"]))
        return Answer(b"{}", 503 if is_down else 200)

    is_down = True
    receiver.serve_at("POST", "/alerts", take)
    gateway = start_gateway(config=f'[alerts]\nwebhook = "{receiver.url}/alerts"\n', env={"KEYWARD_ALERT_SECRET": SECRET})
    key = gateway.new_key(budget=f"{COST * 1.5:.6f}/month")
    assert ask(gateway, key["key"]).status == 200
    assert eventually(lambda: seen, seconds=10)
    gateway.stop()
    tried, is_down = len(seen), False
    gateway.start()
    assert eventually(lambda: len(seen) > tried, seconds=10), seen
    assert len(set(seen)) == 1, "the same alert, by the same id"
    tried = len(seen)
    gateway.stop()
    gateway.start()
    assert ask(gateway, key["key"]).status == 402
    assert len(seen) == tried, "it was taken"
    receiver.close()


@pytest.mark.parametrize("full", [{"budget": "0/ever@test/*"}, {"limit": "requests/minute=1@test/*"}, {"parallel": "1@test/*"}], ids=["budget", "rate", "parallel"])
def test_a_limit_on_some_models_leaves_an_aliass_others(start_gateway, upstream, full):
    """What one target of an alias has no room for goes to the next; where none is left, the first limit is told."""
    gateway = start_gateway(config='[aliases]\nfast = ["test/gpt-4o-mini", "simulator/echo"]\n')
    key = gateway.new_key(**full)
    hold = Hold(after=400)
    upstream.serve("gpt-4o-mini", provider.chat_stream("one two three four", hold=hold))
    running = threading.Thread(target=ask, args=(gateway, key["key"]), kwargs={"stream": True})
    running.start()
    assert eventually(lambda: "budget" in full or upstream.requests)
    reply = ask(gateway, key["key"], model="fast")
    assert (reply.status, reply.headers["keyward-provider"]) == (200, "simulator")
    alone = ask(gateway, key["key"])
    assert alone.status in (402, 429) and "for test/*" in alone.json()["error"]["message"]
    for model, accepted in [("fast", True), ("test/gpt-4o-mini", False)]:
        assert gateway.admin("POST", "/keys/explain", {"key": key["id"], "model": model})["accepted"] == accepted
    hold.released.set()
    running.join()


def test_an_alias_whose_every_target_is_stopped_tells_the_first_limit(start_gateway):
    gateway = start_gateway(config='[aliases]\nfast = ["test/gpt-4o-mini", "simulator/echo"]\n')
    limits = ["--limit", "requests/minute=1@test/*", "--limit", "requests/minute=1@simulator/*"]
    key = gateway.cli("keys", "create", "--name", "both", *limits)["key"]
    first, second, third = (ask(gateway, key, model="fast") for _ in range(3))
    assert [reply.headers["keyward-provider"] for reply in (first, second)] == ["test", "simulator"]
    assert code(third) == (429, "rate_limit_exceeded") and "for test/*" in third.json()["error"]["message"]


def test_a_budget_on_some_models_is_held_against_what_those_cost(start_gateway, upstream):
    """A dearer target of the alias, which the budget does not count, sends nobody away from the one that there is room for."""
    models = '"gpt-4o-mini" = { context = 128000, max_output = 16384, price = { input = 1500, output = 6000 } }'
    files = {"test": provider_file(upstream.url, models=PRICED), "dear": provider_file(upstream.url, models=models)}
    gateway = start_gateway(providers=files, config='[aliases]\nfast = ["test/gpt-4o-mini", "dear/gpt-4o-mini"]\n')
    reply = ask(gateway, gateway.new_key(budget="0.01/ever@test/*")["key"], model="fast")
    assert (reply.status, reply.headers["keyward-provider"]) == (200, "test")


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/v1/responses", {"input": "Hi", "tools": [{"type": "image_generation", "model": "gpt-image-1"}]}),
        ("/v1/responses", {"input": "Hi", "tools": [{"type": "x", "parameters": {"model": "gpt-image-1"}}]}),
        ("/v1/messages", {"max_tokens": 9, "messages": MESSAGES, "tools": [{"type": "advisor_20260301", "name": "advisor", "model": "claude-opus-4-6"}]}),
        ("/v1/messages", {"max_tokens": 9, "messages": MESSAGES, "tools": [{"type": "advisor_20260301", "name": "advisor", "m\\u006fdel": "claude-opus-4-6"}]}),
    ],
)
def test_a_list_of_models_holds_for_those_of_tools(gateway, upstream, path, fields):
    body = json.dumps({"model": "test/gpt-4o-mini", **fields}).replace("\\\\u", "\\u").encode()
    reply = gateway.request("POST", path, body, gateway.new_key(models="test/gpt-4o-mini")["key"])
    assert reply.status == 403 and "models of tools" in reply.body.decode() and upstream.requests == []
    gateway.request("POST", path, body, gateway.new_key()["key"])
    assert upstream.requests


def test_a_tool_that_takes_a_model_names_none(gateway, upstream):
    upstream.serve("gpt-4o-mini", provider.chat("Hi"))
    schema = {"type": "object", "properties": {"model": {"type": "string"}}}
    tools = [{"type": "function", "function": {"name": "order", "parameters": schema}}]
    assert ask(gateway, gateway.new_key(models="test/gpt-4o-mini")["key"], tools=tools).status == 200
