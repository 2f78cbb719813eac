"""Aliases, fallback and another attempt."""

import concurrent.futures
import dataclasses
import gzip
import json

import pytest

import upstream as provider
from gateway import free_port
from gateway import provider as provider_file
from test_chat import MESSAGES
from test_limits import code
from upstream import Answer, Upstream

ALIASES = '[aliases]\nfast = ["first/a", "second/b"]\n'


@pytest.fixture
def first():
    upstream = Upstream()
    yield upstream
    upstream.close()


@pytest.fixture
def start_two(start_gateway, upstream):
    """A gateway whose alias `fast` tries the provider at `url`, then `second`."""

    def start(url):
        files = {
            "first": provider_file(url, credential="FIRST_KEY", models='"a" = {}'),
            "second": provider_file(upstream.url, models='"b" = {}'),
        }
        return start_gateway(providers=files, config=ALIASES, env={"FIRST_KEY": "sk-first"})

    return start


def ask(gateway, key, model, stream=False):
    body = json.dumps({"model": model, "messages": MESSAGES, "stream": stream}).encode()
    return gateway.request("POST", "/v1/chat/completions", body, key)


def test_alias_goes_to_its_first_target(start_two, first, upstream):
    gateway = start_two(first.url)
    assert ask(gateway, gateway.new_key()["key"], "fast").headers["keyward-provider"] == "first"
    assert first.requests[-1].json()["model"] == "a"
    assert upstream.requests == []


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_alias_falls_back_where_the_first_is_down(start_two, upstream, stream):
    gateway = start_two(f"http://127.0.0.1:{free_port()}/v1")
    key = gateway.new_key()
    answer = ask(gateway, key["key"], "fast", stream=stream)
    assert answer.headers["keyward-provider"] == "second"
    assert b"Hello" in answer.body
    assert upstream.requests[-1].json()["model"] == "b"
    gateway.usage("key", key["id"], 1)
    assert [row["group"] for row in gateway.cli("usage", "--by", "model")] == ["second/b"]


@pytest.mark.parametrize("status", [401, 429, 500, 503])
def test_alias_falls_back_where_the_first_answers_with_an_error(start_two, first, status):
    gateway = start_two(first.url)
    first.serve("a", provider.error(status, retry_after="3600"))
    assert ask(gateway, gateway.new_key()["key"], "fast").headers["keyward-provider"] == "second"


@pytest.mark.parametrize(
    "answer",
    [
        Answer(b"<html>Maintenance</html>", headers={"content-type": "text/html"}),
        Answer(b'{"choices": ['),
        Answer(b"", 307, {"location": "https://example.com/"}),
        Answer(b"", 204),
        Answer(gzip.compress(provider.chat("Hello").body), encoding="gzip"),
        dataclasses.replace(provider.chat("one two three four"), hold=provider.Hold.up(after=50)),
    ],
    ids=["html", "torn-json", "redirect", "no-content", "gzip", "cut"],
)
def test_alias_falls_back_where_the_first_answers_rubbish(start_two, first, answer):
    gateway = start_two(first.url)
    first.serve("a", answer)
    reply = ask(gateway, gateway.new_key()["key"], "fast")
    assert (reply.status, reply.headers["keyward-provider"]) == (200, "second")
    assert len(first.requests) == 1


def test_a_long_answer_of_an_alias_passes_as_it_comes(start_two, first):
    gateway = start_two(first.url)
    long = provider.chat("word " * 600_000)
    first.serve("a", long)
    reply = ask(gateway, gateway.new_key()["key"], "fast")
    assert (reply.headers["keyward-provider"], reply.body) == ("first", long.body)


def test_a_target_that_may_have_worked_is_not_asked_again(start_two, first, upstream):
    gateway = start_two(first.url)
    first.serve("a", dataclasses.replace(provider.chat("one two three four"), hold=provider.Hold.up(after=50)))
    upstream.serve("b", provider.error(503))
    assert ask(gateway, gateway.new_key()["key"], "fast").status == 503
    assert (len(first.requests), len(upstream.requests)) == (1, 2)


def test_alias_does_not_hide_that_the_request_is_wrong(start_two, first, upstream):
    gateway = start_two(first.url)
    first.serve("a", provider.error(400))
    reply = ask(gateway, gateway.new_key()["key"], "fast")
    assert (reply.status, reply.json()["error"]["provider"]) == (400, "first")
    assert upstream.requests == []


def test_key_needs_to_be_allowed_all_targets_of_an_alias(start_two, first):
    gateway = start_two(first.url)
    allowed = {models: gateway.new_key(models=models)["key"] for models in ("fast", "first/*,second/*", "first/*")}
    statuses = {models: ask(gateway, key, "fast").status for models, key in allowed.items()}
    assert statuses == {"fast": 200, "first/*,second/*": 200, "first/*": 403}


@pytest.mark.parametrize("status", [429, 503])
def test_another_attempt_after_what_the_provider_asks_for(client, upstream, status):
    upstream.serve("gpt-4o-mini", provider.error(status, retry_after="0.05"), provider.chat("At last."))
    answer = client.chat.completions.create(model="test/gpt-4o-mini", messages=MESSAGES)
    assert answer.choices[0].message.content == "At last."
    assert len(upstream.requests) == 2
    assert upstream.requests[0].body == upstream.requests[1].body


def test_no_other_attempt_where_the_provider_wants_a_long_rest(gateway, key, upstream):
    upstream.serve("gpt-4o-mini", provider.error(429, "Slow down.", retry_after="17"))
    reply = ask(gateway, key, "test/gpt-4o-mini")
    assert (reply.status, reply.headers["retry-after"]) == (429, "17")
    assert reply.json()["error"]["message"] == "Slow down."
    assert len(upstream.requests) == 1


def test_no_other_attempt_for_what_the_caller_did_wrong(gateway, key, upstream):
    upstream.serve("gpt-4o-mini", provider.error(400))
    ask(gateway, key, "test/gpt-4o-mini")
    assert len(upstream.requests) == 1


PRICES = {"a": 10, "b": 20}
# What an attempt may cost at most, in nano-dollars.
WORST = {model: 100 * price * 1000 for model, price in PRICES.items()}


@pytest.fixture
def start_priced(start_gateway, first, upstream):
    def start():
        models = ((first, "a", "FIRST_KEY"), (upstream, "b", "TEST_PROVIDER_KEY"))
        price = "context = 1000, max_output = 100, price = {{ input = 0, output = {} }}"
        files = {name: provider_file(at.url, credential=credential, models=f'"{model}" = {{ {price.format(PRICES[model])} }}')
                 for name, (at, model, credential) in zip(("first", "second"), models, strict=True)}
        return start_gateway(providers=files, config=ALIASES, env={"FIRST_KEY": "sk-first"})

    return start


def dollars(nanos):
    return f"{nanos / 1e9:.9f}/ever"


def costs(gateway):
    """Of each model: its rows, and what they cost."""
    return {row["group"]: (row["requests"], row["cost_nano_usd"]) for row in gateway.cli("usage", "--by", "model")}


TORN = [Answer(b'{"choices": ['), dataclasses.replace(provider.chat("one two three four"), hold=provider.Hold.up(after=50))]


@pytest.mark.parametrize("torn", TORN, ids=["torn-json", "cut"])
def test_attempt_that_its_provider_may_bill_is_paid_for_though_another_answers(start_priced, first, upstream, torn):
    gateway = start_priced()
    first.serve("a", torn)
    upstream.serve("b", provider.chat("Hello", usage={"prompt_tokens": 9, "completion_tokens": 7, "total_tokens": 16}))
    key = gateway.new_key(budget=dollars(WORST["a"] + WORST["b"]))
    assert ask(gateway, key["key"], "fast").headers["keyward-provider"] == "second"
    gateway.usage("key", key["id"], 2)
    assert costs(gateway) == {"first/a": (1, WORST["a"]), "second/b": (1, 7 * 20 * 1000)}
    assert ask(gateway, key["key"], "fast").status == 402
    [limit] = gateway.admin("POST", "/keys/explain", {"key": key["key"]})["limits"]
    assert (limit["most"] - limit["left"], limit["held"]) == (WORST["a"] + 140_000, 0)


def test_no_other_is_asked_where_the_budget_has_no_room_for_both(start_priced, first, upstream):
    gateway = start_priced()
    first.serve("a", TORN[0])
    key = gateway.new_key(budget=dollars(WORST["a"] + WORST["b"] - 1))
    answer = ask(gateway, key["key"], "fast")
    assert code(answer) == (502, "provider_bad_answer")
    assert upstream.requests == []
    gateway.usage("key", key["id"], 1)
    assert costs(gateway) == {"first/a": (1, WORST["a"])}, "what was reserved of the request for the one that was asked"


UNREPORTED = [
    provider.chat("one two", usage=None),
    provider.chat_stream("one two"),
    dataclasses.replace(provider.chat_stream("one two"), hold=provider.Hold.up(after=200)),
]


@pytest.mark.parametrize("answer", UNREPORTED, ids=["whole", "stream", "cut"])
def test_what_is_not_reported_costs_no_more_than_the_target_takes_that_was_asked(start_priced, first, answer):
    gateway = start_priced()
    first.serve("a", answer)
    key = gateway.new_key(budget=dollars(WORST["a"] + WORST["b"]))
    assert ask(gateway, key["key"], "fast", stream=answer is not UNREPORTED[0]).status == 200
    gateway.usage("key", key["id"], 1)
    assert costs(gateway) == {"first/a": (1, WORST["a"])}
    [limit] = gateway.admin("POST", "/keys/explain", {"key": key["key"]})["limits"]
    assert (limit["left"], limit["held"]) == (WORST["b"], 0)


def test_last_attempt_is_paid_for_though_an_earlier_answer_is_told(start_priced, first, upstream):
    gateway = start_priced()
    first.serve("a", provider.error(500))
    upstream.serve("b", TORN[0])
    key = gateway.new_key(budget=dollars(2 * WORST["b"]))
    assert ask(gateway, key["key"], "fast").status == 500
    gateway.usage("key", key["id"], 2)
    assert costs(gateway)["second/b"] == (1, WORST["b"])


def test_what_failed_is_charged_to_the_budget_of_whoever_failed(start_priced, first, upstream):
    gateway = start_priced()
    first.close()
    upstream.serve("b", TORN[0])
    key = gateway.new_key(budget=dollars(WORST["b"]) + "@second/*")
    assert ask(gateway, key["key"], "fast").status == 502
    gateway.usage("key", key["id"], 1)
    assert costs(gateway) == {"second/b": (1, WORST["b"])}
    [limit] = gateway.admin("POST", "/keys/explain", {"key": key["key"]})["limits"]
    assert (limit["left"], limit["held"]) == (0, 0)


def test_tokens_that_are_used_up_keep_no_request_that_runs_from_another_target(start_priced, first, upstream):
    gateway = start_priced()
    hold = provider.Hold(after=1)
    first.serve("a", dataclasses.replace(TORN[0], hold=hold), provider.chat("Hello"))
    key = gateway.new_key(limit="output-tokens/hour=5")
    with concurrent.futures.ThreadPoolExecutor() as pool:
        waiting = pool.submit(ask, gateway, key["key"], "fast")
        hold.reached.wait(5)
        assert ask(gateway, key["key"], "fast").status == 200
        hold.released.set()
        assert waiting.result().headers["keyward-provider"] == "second"


ENDS = {"revoked": ("POST", "/revoke", {}), "narrowed": ("PATCH", "", {"models": ["other/*"]})}


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("model", ["fast", "first/a"], ids=["another-target", "same-target"])
@pytest.mark.parametrize("answer", [provider.error(503), TORN[0]], ids=["busy", "torn"])
def test_nothing_more_is_asked_for_a_key_that_has_ended_meanwhile(start_priced, first, upstream, end, model, answer):
    gateway = start_priced()
    key = gateway.new_key(budget=dollars(WORST["a"] + WORST["b"]))

    def give(_):
        method, path, body = ENDS[end]
        gateway.admin(method, f"/keys/{key['id']}{path}", body)
        return answer

    first.serve_at("POST", "/chat/completions", give)
    is_told = model == "first/a" and answer is TORN[0]
    expected = {"revoked": (401, "key_revoked"), "narrowed": (403, "model_not_allowed")}[end]
    assert code(ask(gateway, key["key"], model)) == ((502, "provider_bad_answer") if is_told else expected)
    assert (len(first.requests), upstream.requests) == (1, [])
    paid = WORST["a"] if answer is TORN[0] else 0
    gateway.usage("key", key["id"], 1 if is_told or not paid else 2)
    assert sum(cost for _, cost in costs(gateway).values()) == paid, "what was reserved for more is given back"
    [limit] = gateway.admin("POST", "/keys/explain", {"key": key["key"]})["limits"]
    assert (limit["most"] - limit["left"], limit["held"]) == (paid, 0)
