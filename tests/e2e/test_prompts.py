"""Prompts as APIs: by plain HTTP, and as models of the official SDKs."""

import contextlib
import fcntl
import json
import os
import shutil
import socket
import sqlite3
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import anthropic
import openai
import pytest

import upstream as provider
from gateway import BINARY, ROOT, eventually
from gateway import provider as provider_file

HELLO = """---
model: test/gpt-4o-mini
input:
  schema:
    name: string
    tags?(array): string
keyward.state: {state}
{more}---
{{{{role "system"}}}}You greet.
{{{{role "user"}}}}Greet {{{{name}}}}{mark}
"""


PLAIN = '"gpt-4o-mini" = {}\n"plain" = { can = ["temperature", "tools"] }'


@pytest.fixture
def prompts(start_gateway, upstream):
    gateway = start_gateway(providers={"test": provider_file(upstream.url, models=PLAIN)})
    gateway.prompts = gateway.folder / "prompts"
    # Without what a gateway in this folder has noted, and without examples, which the simulator does not meet.
    shutil.copytree(ROOT / "prompts", gateway.prompts, ignore=shutil.ignore_patterns(".*", "*.examples.yaml"))
    write(gateway, "hello.prompt")
    gateway.secret = gateway.new_key(name="prompts")["key"]
    assert eventually(lambda: call(gateway, "/prompts/hello", method="GET").status == 200)
    return gateway


@pytest.mark.parametrize("way", ["/prompts/hello", "/v1/chat/completions"])
def test_nothing_more_is_asked_for_a_prompt_that_its_caller_may_not_call_any_more(prompts, upstream, way):
    key = prompts.new_key(models="prompt/hello")

    def give(_):
        prompts.admin("PATCH", f"/keys/{key['id']}", {"models": ["prompt/other"]})
        return provider.error(503)

    upstream.serve_at("POST", "/chat/completions", give)
    named = {"model": "prompt/hello", "messages": [{"role": "user", "content": '{"name": "x"}'}]}
    told = prompts.request("POST", way, json.dumps({"name": "x"} if way == "/prompts/hello" else named), key["key"])
    assert told.status == 403 and "model_not_allowed" in told.body.decode()
    assert len(upstream.requests) == 1


def write(gateway, file, *, state="published", more="", mark=""):
    (gateway.prompts / file).write_text(HELLO.format(state=state, more=more, mark=mark))


def call(gateway, path, body=None, *, method="POST", **headers):
    headers = {"authorization": f"Bearer {gateway.secret}", "content_type": "application/json"} | headers
    return gateway.request(method, path, body if isinstance(body, str | None) else json.dumps(body), **headers)


@pytest.mark.parametrize(
    ("path", "body", "headers", "status", "told"),
    [
        ("/prompts/hello", "", {}, 400, "no JSON"),
        ("/prompts/hello", '{"name":', {}, 400, "no JSON"),
        ("/prompts/hello", "name=x", {"content_type": "application/x-www-form-urlencoded"}, 415, "application/json"),
        ("/prompts/hello", [], {}, 422, "object"),
        ("/prompts/hello", {}, {}, 422, '"pointer":"/name"'),
        ("/prompts/hello", {"name": 3}, {}, 422, "/name"),
        ("/prompts/hello", {"name": "x", "tags": ["a", 1]}, {}, 422, "/tags/1"),
        ("/prompts/hello", {"name": "x", "nam": "y"}, {}, 422, "nam"),
        ("/prompts/helo", {"name": "x"}, {}, 404, "'hello'"),
        ("/prompts/hello@9", {"name": "x"}, {}, 404, "hello@1"),
        ("/prompts/hello@01", {"name": "x"}, {}, 404, "hello@1"),
        ("/prompts/%ff", {"name": "x"}, {}, 404, "no prompt"),
        ("/prompts/%ff", {"name": "x"}, {"authorization": "Bearer nonsense"}, 401, "key"),
        ("/prompts/hello", {"name": "x"}, {"authorization": "Bearer nonsense"}, 401, "key"),
    ],
)
def test_bad_inputs_are_problems_that_say_what_to_do(prompts, path, body, headers, status, told):
    reply = call(prompts, path, body, **headers)
    assert reply.status == status, reply.body
    assert reply.headers["content-type"] == "application/problem+json"
    assert told in reply.body.decode() and reply.json()["status"] == status


def test_an_answer_fits_its_schema_whole_and_as_events(prompts):
    whole = call(prompts, "/prompts/sentiment", {"text": "Fine"})
    assert whole.status == 200 and set(whole.json()) == {"sentiment", "confidence"}
    assert whole.headers["keyward-prompt"] == "sentiment@1" and whole.headers["keyward-provider"] == "simulator"
    events = call(prompts, "/prompts/sentiment?stream=true", {"text": "Fine"}).body.decode().strip().split("\n\n")
    name, data = events[-1].split("\n")
    assert name == "event: result" and set(json.loads(data.removeprefix("data: "))) == {"sentiment", "confidence"}


def test_versions_live_and_end(prompts):
    write(prompts, "hello@2.prompt", mark="!")
    write(prompts, "hello.prompt", state="deprecated", more="keyward.sunset: 2099-01-01\nkeyward.successor: hello@2\n")
    assert eventually(lambda: call(prompts, "/prompts/hello", method="GET").json()["version"] == 2)
    old = call(prompts, "/prompts/hello@1", method="GET")
    assert old.headers["deprecation"].startswith("@") and old.headers["sunset"] == "Thu, 01 Jan 2099 00:00:00 GMT"
    assert old.headers["link"] == '</prompts/hello@2>; rel="successor-version"'
    write(prompts, "hello.prompt", state="retired", more="keyward.successor: hello@2\n")
    assert eventually(lambda: call(prompts, "/prompts/hello@1", {"name": "x"}).status == 410)
    write(prompts, "hello@2.prompt", mark="?")
    assert eventually(lambda: "must not change" in gateway_ready(prompts))


def test_what_is_retired_stays_so(prompts):
    admin = prompts.new_key(kind="admin", role="admin", name="admin")["key"]
    assert prompts.run("prompts", "retire", "hello").returncode == 0
    assert eventually(lambda: call(prompts, "/prompts/hello", {"name": "x"}).status == 410)
    write(prompts, "hello.prompt")
    told = lambda: [(fault["line"], "'hello@1' is retired and stays so" in fault["message"]) for fault in refused(prompts)]  # noqa: E731
    assert eventually(lambda: told() == [(7, True)])
    assert call(prompts, "/prompts/hello", {"name": "x"}).status == 410
    prompts.stop()
    prompts.start()
    assert told() == [(7, True)] and call(prompts, "/prompts/hello@1", {"name": "x"}).status == 410
    checked = prompts.run("prompts", "check")
    assert checked.returncode == 1 and "hello.prompt:7: 'hello@1' is retired and stays so" in checked.stdout
    source = HELLO.format(state="published", more="", mark="")
    reply = prompts.request("PUT", "/admin/v1/prompts/hello@1", json.dumps({"source": source}), admin)
    assert reply.status == 422 and "is retired and stays so" in reply.json()["detail"], reply.body
    write(prompts, "hello.prompt", state="retired")
    assert eventually(lambda: not refused(prompts))


def gateway_ready(gateway):
    return call(gateway, "/readyz", method="GET").body.decode()


def test_any_sdk_calls_a_prompt_as_a_model(prompts):
    client = anthropic.Anthropic(base_url=f"http://127.0.0.1:{prompts.port}", api_key=prompts.secret)
    message = client.messages.create(model="prompt/sentiment", max_tokens=100, messages=[{"role": "user", "content": '{"text": "Fine"}'}])
    assert set(json.loads(message.content[0].text)) == {"sentiment", "confidence"}


def test_a_description_in_openapi(prompts):
    described = call(prompts, "/prompts/hello/openapi.json", method="GET").json()
    assert described["openapi"] == "3.1.0"
    assert described["paths"]["/prompts/hello"]["post"]["requestBody"]["content"]["application/json"]["schema"]["required"] == ["name"]
    assert list(call(prompts, "/prompts/hello@1/openapi.json", method="GET").json()["paths"]) == ["/prompts/hello@1"]


def answers(upstream, *texts):
    upstream.serve("gpt-4o-mini", *map(provider.chat, texts))


CLASSIFIED = """---
model: test/gpt-4o-mini
input: { schema: { text: string } }
output: { schema: { class: string } }
keyward.state: published
---
Classify {{text}}
"""


def test_an_answer_that_does_not_fit_is_asked_for_once_more(prompts, upstream):
    (prompts.prompts / "sort.prompt").write_text(CLASSIFIED)
    assert eventually(lambda: call(prompts, "/prompts/sort", method="GET").status == 200)
    answers(upstream, "It is good.", '```json\n{"class": "good"}\n```')
    reply = call(prompts, "/prompts/sort", {"text": "x"})
    assert (reply.status, reply.json()) == (200, {"class": "good"})
    told = upstream.requests[-1].json()["messages"]
    assert [message["role"] for message in told] == ["user", "assistant", "user"] and "does not fit" in told[-1]["content"]
    answers(upstream, '{"class": 7}')
    refused = call(prompts, "/prompts/sort", {"text": "x"})
    assert (refused.status, refused.json()["code"]) == (502, "output_invalid")
    assert refused.headers["keyward-prompt"] == "sort@1" and "/class" in refused.body.decode()
    row = prompts.usage("prompt", "sort@1", 4)
    assert (row["requests"], row["input_tokens"]) == (4, 4000)


def test_versions_share_calls_by_weight_and_are_counted_apart(prompts, upstream):
    write(prompts, "hello.prompt", more="keyward.weight: 1\n")
    write(prompts, "hello@2.prompt", more="keyward.weight: 1\n", mark="!")
    versions = lambda: call(prompts, "/prompts/hello", method="GET").json().get("versions")  # noqa: E731
    assert eventually(lambda: versions() == [1, 2])
    answers(upstream, "Hello!")
    called = [call(prompts, "/prompts/hello", {"name": "x"}).headers["keyward-prompt"] for _ in range(40)]
    counts = {label: called.count(label) for label in ("hello@1", "hello@2")}
    assert sum(counts.values()) == 40 and min(counts.values()) > 0
    for label, count in counts.items():
        assert prompts.usage("prompt", label, count)["requests"] == count
    assert "prompt/hello@1" not in {row["group"] for row in prompts.cli("usage", "--by", "model")}


def test_weights_that_are_all_zero_leave_what_was(prompts, upstream):
    write(prompts, "hello.prompt", more="keyward.weight: 1\n")
    write(prompts, "hello@2.prompt", more="keyward.weight: 0\n", mark="!")
    chosen = lambda: call(prompts, "/prompts/hello", {"name": "x"}).headers.get("keyward-prompt")  # noqa: E731
    assert eventually(lambda: call(prompts, "/prompts/hello", method="GET").json().get("versions") == [1, 2])
    answers(upstream, "Hello!")
    assert chosen() == "hello@1"
    write(prompts, "hello.prompt", more="keyward.weight: 0\n")
    assert eventually(lambda: refused(prompts)) and chosen() == "hello@1"
    fault = refused(prompts)[0]
    assert "have the weight 0" in fault["message"] and fault["line"] == 8, fault
    prompts.stop()
    prompts.start()
    assert refused(prompts) and chosen() == "hello@1"
    write(prompts, "hello@2.prompt", more="keyward.weight: 1\n", mark="!")
    assert eventually(lambda: not refused(prompts) and chosen() == "hello@2")


def test_a_put_writes_the_version_that_it_names(prompts):
    admin = prompts.new_key(kind="admin", role="admin", name="admin")["key"]
    text = HELLO.format(state="draft", more="", mark="?")

    def wrote(name, source=text, **headers):
        return prompts.request("PUT", f"/admin/v1/prompts/{name}", json.dumps({"source": source}), admin, **headers)

    assert wrote("hello@2", if_none_match="*").json()["id"] == "hello@2"
    assert wrote("hello@2", if_none_match="*").json()["code"] == "exists_already"
    several = wrote("hello")
    assert several.status == 422 and "'hello' has several versions (hello@1, hello@2): name the one" in several.json()["detail"]
    evil = HELLO.format(state="published", more='keyward.successor: "x>; rel=evil"\n', mark="?")
    assert "'successor' is a name" in wrote("hello@3", evil).json()["detail"]


def test_a_conversation_goes_where_the_template_wants_it(prompts, upstream):
    text = '---\nmodel: test/gpt-4o-mini\nkeyward.state: published\n---\n{{role "system"}}Be kind.\n{{history}}\n{{role "user"}}Go on.\n'
    (prompts.prompts / "talk.prompt").write_text(text)
    assert eventually(lambda: call(prompts, "/prompts/talk", method="GET").status == 200)
    answers(upstream, "Yes.")
    call_of = {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": '{"at": 1}'}}
    said = [{"role": "user", "content": "Look."}, {"role": "assistant", "tool_calls": [call_of]}, {"role": "tool", "tool_call_id": "call_1", "content": "A tree."}]
    client = prompts.client(prompts.secret)
    assert client.chat.completions.create(model="prompt/talk", messages=said).choices[0].message.content == "Yes."
    sent = upstream.requests[-1].json()["messages"]
    assert [message["role"] for message in sent] == ["system", "user", "assistant", "tool", "user"]
    assert sent[2]["tool_calls"] == [call_of] and sent[3]["content"] == "A tree." and sent[4]["content"].strip() == "Go on."


def test_deprecation_has_a_date(prompts):
    assert prompts.run("prompts", "deprecate", "hello", "--sunset", "2099-01-01", "--successor", "sentiment").returncode == 0
    told = lambda: call(prompts, "/prompts/hello", method="GET").headers.get("deprecation", "@0")  # noqa: E731
    assert eventually(lambda: abs(int(told()[1:]) - time.time()) < 60)


EXAMPLES = """examples:
  - name: by value
    input: { text: fine }
    output: { class: good }
  - input: { text: fine }
    contains: [good]
  - name: wrong
    input: { text: fine }
    output: { class: bad }
"""


def test_examples_are_called_and_what_differs_is_shown(prompts, upstream):
    (prompts.prompts / "sort.prompt").write_text(CLASSIFIED)
    (prompts.prompts / "sort.examples.yaml").write_text(EXAMPLES)
    assert eventually(lambda: call(prompts, "/prompts/sort", method="GET").status == 200)
    answers(upstream, '{"class": "good"}')
    assert "KEYWARD_KEY" in prompts.run("prompts", "test", "sort").stderr
    prompts.env["KEYWARD_KEY"] = prompts.secret
    done = prompts.run("prompts", "test", "sort")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "ok    sort@1 by value\nok    sort@1 example 2\nWRONG sort@1 wrong" in done.stdout
    assert '-  "class": "bad"\n+  "class": "good"\n' in done.stdout and done.stdout.endswith("2 passed, 1 failed\n")
    told = json.loads(prompts.run("prompts", "test", "sort", "--json").stdout)
    admin = prompts.new_key(kind="admin", role="viewer", name="viewer")["key"]
    manage = lambda method, path, body=None: prompts.request(method, f"/admin/v1/prompts/sort{path}", body and json.dumps(body), admin)  # noqa: E731
    report = manage("POST", "/test", {"key": prompts.secret}).json()
    assert (report["prompt"], report["passed"], report["failed"], report["examples"]) == ("sort@1", 2, 1, told)
    assert [one["passed"] for one in told] == [True, True, False] and '"class": "bad"' in told[2]["wrong"]
    assert manage("POST", "/test", {}).json()["errors"][0]["pointer"] == "/key"
    wrong_key = manage("POST", "/test", {"key": prompts.secret[:-1]}).json()
    assert wrong_key["passed"] == 0 and "401" in wrong_key["examples"][0]["wrong"] and prompts.secret[:-1] not in json.dumps(wrong_key)
    listed = manage("GET", "/examples").json()
    assert (listed["file"], [example["name"] for example in listed["examples"]], listed["faults"]) == ("sort.examples.yaml", ["by value", None, "wrong"], [])
    (prompts.prompts / "sort.examples.yaml").write_text(EXAMPLES.split("  - name: wrong")[0])
    assert prompts.run("prompts", "test").returncode == 0
    (prompts.prompts / "sort.examples.yaml").write_text("examples:\n  - inptu: {}\n")
    assert "inptu" in prompts.run("prompts", "test", "sort").stderr


def test_a_run_of_examples_that_names_itself_is_paid_for_once(prompts, upstream):
    (prompts.prompts / "sort.prompt").write_text(CLASSIFIED)
    (prompts.prompts / "sort.examples.yaml").write_text(EXAMPLES)
    assert eventually(lambda: call(prompts, "/prompts/sort", method="GET").status == 200)
    answers(upstream, '{"class": "good"}')
    admin = prompts.new_key(kind="admin", role="viewer", name="runner")["key"]

    def run(name, key=prompts.secret):
        upstream.requests.clear()
        body = json.dumps({"key": key})
        reply = prompts.request("POST", "/admin/v1/prompts/sort/test", body, admin, idempotency_key=name)
        return reply.status, reply.json(), reply.headers.get("idempotency-replayed"), len(upstream.requests)

    status, report, replayed, asked = run("one")
    assert (status, report["passed"], report["failed"], replayed) == (200, 2, 1, None) and asked >= 3
    assert run("one") == (200, report, "true", 0)
    assert run("two")[3] == asked
    assert run("one", prompts.secret[:-1])[1]["code"] == "idempotency_key_reused"


def test_versions_are_compared(prompts):
    write(prompts, "hello@2.prompt", mark="!")
    told = prompts.admin("GET", "/prompts/hello@2/diff")
    assert (told["from"], told["to"]) == ("hello@1", "hello@2") and "+Greet {{name}}!" in told["diff"].replace('{{role "user"}}', "")
    assert prompts.admin("GET", "/prompts/hello@2/diff?from=hello@2")["diff"] == ""
    shown = prompts.run("prompts", "diff", "hello").stdout
    assert shown.startswith("--- hello@1\n+++ hello@2\n") and '+{{role "user"}}Greet {{name}}!\n' in shown
    assert "the same" in prompts.run("prompts", "diff", "hello@2", "hello@2").stdout
    assert "none before it" in prompts.run("prompts", "diff", "hello@1").stderr


def test_prompts_are_managed_over_http(prompts):
    owner = prompts.new_key(kind="admin", role="admin", name="admin")["key"]
    viewer = prompts.new_key(kind="admin", role="viewer", name="viewer")["key"]

    def manage(method, path, body=None, key=owner):
        return prompts.request(method, f"/admin/v1/prompts{path}", None if body is None else json.dumps(body), key)

    text = HELLO.format(state="draft", more="", mark="")
    assert manage("PUT", "/note", {"source": text}, viewer).status == 403
    made = manage("PUT", "/note", {"source": text})
    assert (made.status, made.json()["id"], made.json()["state"]) == (200, "note@1", "draft"), made.body
    wrong = manage("PUT", "/note", {"source": text.replace("name: string", "name: strnig")})
    assert (wrong.status, wrong.json()["code"]) == (422, "prompt_invalid") and "note.prompt:5:" in wrong.json()["detail"], wrong.body
    assert manage("GET", "/note@1", key=viewer).json()["source"] == text
    assert manage("POST", "/note/publish", {}).json()["state"] == "published"
    assert call(prompts, "/prompts/note", method="GET").status == 200, "at once"
    changed = manage("PUT", "/note", {"source": text.replace("draft", "published").replace("greet", "grunt")})
    assert changed.status == 422 and "must not change" in changed.json()["detail"]
    assert manage("PUT", "/..%2Fnote", {"source": text}).status == 422
    assert manage("PUT", "/note@2", {"source": text}).json()["version"] == 2
    assert manage("POST", "/note@1/deprecate", {"sunset": "2099-01-01", "successor": "note@2"}).json()["successor"] == "note@2"
    assert manage("POST", "/note@1/retire", {}).json()["state"] == "retired"
    assert call(prompts, "/prompts/note@1", {"name": "x"}).status == 410
    assert {"note@1", "note@2", "sentiment@1"} <= {row["id"] for row in manage("GET", "?limit=100").json()["data"]}
    assert manage("GET", "/nothing").json()["code"] == "prompt_not_found"
    done = [entry["action"] for entry in prompts.cli("audit")]
    assert [action for action in done if action.startswith("prompt.")] == ["prompt.retire", "prompt.deprecate", "prompt.write", "prompt.publish", "prompt.write"]


def put(prompts, name, text):
    (prompts.prompts / name).write_text(text)


def shown(prompts, name):
    return eventually(lambda: call(prompts, f"/prompts/{name}", method="GET").status == 200)


def refused(prompts):
    return call(prompts, "/readyz", method="GET").json()["prompts_refused"]


DEEP = "---\nmodel: test/gpt-4o-mini\nkeyward.state: published\n---\n"


def test_no_template_takes_the_process_with_it(prompts):
    admin = prompts.new_key(kind="admin", role="admin", name="admin")["key"]
    put(prompts, "_b.prompt", "B {{> c}}")
    put(prompts, "_c.prompt", "C\n{{> b}}")
    put(prompts, "circle.prompt", DEEP + "{{> b}}")
    for times in (1000, 3000, 20000):
        source = DEEP + "{{#if a}}" * times + "x" + "{{/if}}" * times
        reply = prompts.request("PUT", "/admin/v1/prompts/deep", json.dumps({"source": source}), admin)
        assert (reply.status, reply.json()["code"]) == (422, "prompt_invalid"), reply.body
    assert eventually(lambda: any("circle" in fault["message"] for fault in refused(prompts)))
    [fault] = [fault for fault in refused(prompts) if fault["file"].endswith("/circle.prompt")]
    assert fault["line"] == 5 and "_b.prompt -> _c.prompt -> _b.prompt" in fault["message"]
    assert call(prompts, "/prompts/circle", {}).status == 404
    assert call(prompts, "/prompts/sentiment", {"text": "Fine"}).status == 200
    checked = prompts.run("prompts", "check")
    assert checked.returncode == 1 and "circle.prompt:5:" in checked.stdout


def test_a_bad_partial_takes_down_those_alone_that_use_it(prompts, upstream):
    answers(upstream, "Hi.")
    put(prompts, "_bad.prompt", "x\n{{#if}} oops {{/each}}")
    put(prompts, "uses.prompt", DEEP + "{{> bad}}")
    put(prompts, "fine.prompt", DEEP + "Fine")
    assert shown(prompts, "fine")
    prompts.stop()
    prompts.start()
    assert call(prompts, "/prompts/hello", {"name": "x"}).status == 200 and call(prompts, "/prompts/fine", {}).status == 200
    assert call(prompts, "/prompts/uses", {}).status == 404
    assert any(fault["file"].endswith("_bad.prompt") and fault["line"] == 2 for fault in refused(prompts))


def test_what_is_published_is_served_as_it_was_over_restarts(prompts, upstream):
    answers(upstream, "Hi.")
    admin = prompts.new_key(kind="admin", role="admin", name="admin")["key"]

    def sent():
        assert call(prompts, "/prompts/hello@1", {"name": "x"}).status == 200
        return upstream.requests[-1].json()["messages"][-1]["content"].strip()

    good = (prompts.prompts / "hello.prompt").read_text()
    draft = good.replace("published", "draft").replace("Greet", "CHANGED")
    for text in (draft, good.replace("Greet", "CHANGED"), "---\nmodel: [\n---\n", good.replace("published", "draft")):
        put(prompts, "hello.prompt", text)
        assert eventually(lambda: any(fault["file"].endswith("hello.prompt") for fault in refused(prompts))), text
        assert sent() == "Greet x"
        prompts.stop()
        prompts.start()
        assert sent() == "Greet x" and any(fault["file"].endswith("hello.prompt") for fault in refused(prompts))
        put(prompts, "hello.prompt", good)
        assert eventually(lambda: not refused(prompts))
    reply = prompts.request("PUT", "/admin/v1/prompts/hello@1", json.dumps({"source": draft}), admin)
    assert reply.status == 422 and "must not change" in reply.json()["detail"]
    put(prompts, "a.prompt", "---\nkeyward.version: 1\n---\nx")
    (prompts.prompts / ".published.json").write_text('{"trunc')
    put(prompts, "hello.prompt", good.replace("Greet", "CHANGED"))
    assert eventually(lambda: any(fault["file"].endswith(".published.json") for fault in refused(prompts)))
    assert sent() == "Greet x"


def test_bad_inputs_are_few_words_and_count_as_requests(prompts):
    prompts.secret = prompts.new_key(limit="requests/minute=3")["key"]
    many = call(prompts, "/prompts/hello", {"name": "x", "tags": [1] * 100_000})
    assert many.status == 422 and len(many.body) < 20_000 and "and 99980 more" in many.body.decode()
    assert len(call(prompts, "/prompts/hello", {"name": ["x" * 1_000_000]}).body) < 5000
    assert call(prompts, "/prompts/hello", '{"name":').status == 400
    assert call(prompts, "/prompts/hello", '{"name":').status == 429
    assert call(prompts, "/prompts/hello", {}).status == 429


def test_a_prompt_is_granted_whatever_it_runs_on(prompts, upstream):
    answers(upstream, "Hi.")
    put(prompts, "secret@1.prompt", DEEP.replace("published", "draft") + "Draft")
    put(prompts, "last.prompt", DEEP + "x")
    assert shown(prompts, "last")
    status = lambda name, **key: call(prompts, f"/prompts/{name}", {"name": "x"} if name == "hello" else {}, authorization="Bearer " + prompts.new_key(**key)["key"]).status  # noqa: E731
    assert status("hello", models="prompt/hello") == 200
    assert status("last", models="prompt/hello") == 403
    assert status("hello", models="test/*") == 403
    assert status("hello", tools="github/*") == 403
    assert status("hello", tools="prompt/hello") == 200
    assert status("secret@1") == 404
    assert status("secret@1", tools="prompt/*") == 404
    assert status("secret@1", tools="prompt/secret@1") == 200
    assert status("secret@1", models="prompt/secret@1") == 200
    assert "is a draft" in call(prompts, "/prompts/secret@1", {}).json()["detail"]
    client = prompts.client(prompts.new_key(models="prompt/hello")["key"])
    assert [model.id for model in client.models.list().data] == ["prompt/hello"]
    assert client.models.retrieve("prompt/hello").id == "prompt/hello"
    said = client.chat.completions.create(model="prompt/hello", messages=[{"role": "user", "content": '{"name": "x"}'}])
    assert said.choices[0].message.content == "Hi."


def test_any_sdk_gets_an_answer_that_fits(prompts, upstream):
    put(prompts, "sort.prompt", CLASSIFIED)
    assert shown(prompts, "sort")
    client = prompts.client(prompts.new_key(limit="requests/hour=100")["key"])
    ask = lambda: client.chat.completions.with_raw_response.create(model="prompt/sort", messages=[{"role": "user", "content": '{"text": "x"}'}])  # noqa: E731
    answers(upstream, "It is good.", '{"class": "good"}')
    reply = ask()
    assert json.loads(reply.parse().choices[0].message.content) == {"class": "good"} and reply.headers["keyward-prompt"] == "sort@1"
    assert [message["role"] for message in upstream.requests[-1].json()["messages"]] == ["user", "assistant", "user"]
    answers(upstream, '{"class": 7}')
    with pytest.raises(openai.InternalServerError) as refused_:
        ask()
    assert refused_.value.code == "output_invalid"
    count = len(upstream.requests)
    answers(upstream, '{"class": "good"}')
    ask()
    assert len(upstream.requests) == count + 1


def test_the_output_is_asked_for_as_the_model_takes_it(prompts, upstream):
    put(prompts, "sort.prompt", CLASSIFIED)
    put(prompts, "plain.prompt", CLASSIFIED.replace("gpt-4o-mini", "plain"))
    assert shown(prompts, "plain") and shown(prompts, "sort")

    def picky(asked):
        if asked.json().get("response_format"):
            return provider.error(400, "This response_format type is unavailable now")
        return provider.chat('{"class": "good"}')

    upstream.serve_at("POST", "/chat/completions", picky)
    for body in ({"text": "x"},):
        before = len(upstream.requests)
        assert call(prompts, "/prompts/sort", body).json() == {"class": "good"}
        assert len(upstream.requests) == before + 2
        words = upstream.requests[-1].json()["messages"][0]
        assert words["role"] in ("system", "developer") and "JSON Schema" in words["content"]
        before = len(upstream.requests)
        assert call(prompts, "/prompts/plain", body).json() == {"class": "good"}
        assert len(upstream.requests) == before + 1 and "JSON Schema" in upstream.requests[-1].json()["messages"][0]["content"]
    client = prompts.client(prompts.secret)
    said = client.chat.completions.create(model="prompt/sort", messages=[{"role": "user", "content": '{"text": "x"}'}])
    assert said.choices[0].message.content == '{"class": "good"}'


def test_settings_that_cannot_be_said_are_named(prompts, upstream):
    answers(upstream, "Hi.")
    put(prompts, "set.prompt", DEEP.replace("---\n", "---\nconfig: { topK: 4, seed: 7, frequencyPenalty: 1, colour: red }\n", 1) + "x")
    assert shown(prompts, "set")
    reply = call(prompts, "/prompts/set", {})
    assert set(reply.headers["keyward-dropped"].split(", ")) == {"top_k", "config.colour"}
    sent = upstream.requests[-1].json()
    assert (sent["seed"], sent["frequency_penalty"]) == (7, 1)
    client = prompts.client(prompts.secret)
    reply = client.chat.completions.with_raw_response.create(model="prompt/set", messages=[{"role": "user", "content": "{}"}])
    assert set(reply.headers["keyward-dropped"].split(", ")) == {"top_k", "config.colour"}


def test_check_refuses_what_nobody_means(prompts):
    put(prompts, "typo.prompt", "---\nmodle: x\n---\nx")
    put(prompts, "hot.prompt", "---\nconfig: { temperature: hot }\n---\nx")
    put(prompts, "bom.prompt", "\ufeff" + DEEP + "x")
    put(prompts, "hello.examples.yaml", "examples:\n  - inptu: {}\n")
    checked = prompts.run("prompts", "check")
    assert checked.returncode == 1
    for wanted in ("typo.prompt:2: 'modle' is no field: did you mean 'model'?", "hot.prompt:2: 'config.temperature' has to be a number", "hello.examples.yaml", "inptu"):
        assert wanted in checked.stdout, checked.stdout
    assert "bom.prompt" not in checked.stdout and shown(prompts, "bom")


def test_an_answer_that_is_asked_for_again_is_one_request(prompts, upstream):
    put(prompts, "sort.prompt", CLASSIFIED)
    assert shown(prompts, "sort")
    prompts.secret = prompts.new_key(limit="requests/minute=1")["key"]
    answers(upstream, "It is good.", '{"class": "good"}')
    reply = call(prompts, "/prompts/sort", {"text": "x"}, x_request_id="find-me")
    assert (reply.status, reply.headers["x-request-id"]) == (200, "find-me")
    assert call(prompts, "/prompts/sort", {"text": "x"}).status == 429
    prompts.secret = prompts.new_key(limit="requests/minute=1")["key"]
    answers(upstream, "It is good.", '{"class": "good"}')
    ask = [{"role": "user", "content": '{"text": "x"}'}]
    assert prompts.client(prompts.secret).chat.completions.create(model="prompt/sort", messages=ask).choices[0].message.content == '{"class": "good"}'


def published(prompts, name):
    """Whether a gateway, or who publishes, has noted it."""
    note = prompts.prompts / ".published.json"
    return note.exists() and f"{name}@1" in json.loads(note.read_text())


def test_words_are_words_in_front_matter_and_examples(prompts, upstream):
    put(prompts, "words.prompt", "---\nmodel: test/gpt-4o-mini\ninput: { schema: { answer(enum): [yes, no], country: string, zip?: string }, default: { country: NO, zip: 010 } }\nkeyward.state: published\n---\n{{answer}} {{country}} {{zip}}")
    put(prompts, "words.examples.yaml", "examples:\n  - { input: { answer: yes }, output: no }\n")
    assert shown(prompts, "words")
    answers(upstream, "no")
    assert call(prompts, "/prompts/words", {"answer": "yes"}).status == 200
    assert upstream.requests[-1].json()["messages"][-1]["content"] == "yes NO 010"
    assert call(prompts, "/prompts/words", {"answer": True}).status == 422
    prompts.env["KEYWARD_KEY"] = prompts.secret
    assert prompts.run("prompts", "test", "words").returncode == 0


def test_a_mark_at_the_beginning_stays_there(prompts, upstream):
    answers(upstream, "Hi.")
    put(prompts, "bom.prompt", "\ufeff" + DEEP.replace("published", "draft") + "Hello")
    assert prompts.run("prompts", "publish", "bom").returncode == 0
    assert shown(prompts, "bom") and call(prompts, "/prompts/bom", {}).status == 200
    assert upstream.requests[-1].json()["messages"] == [{"role": "user", "content": "Hello"}]
    assert (prompts.prompts / "bom.prompt").read_text().count("---") == 2


def test_a_draft_can_be_removed_and_what_is_published_not(prompts):
    admin = prompts.new_key(kind="admin", role="admin", name="admin")["key"]
    manage = lambda method, name, body=None: prompts.request(method, f"/admin/v1/prompts/{name}", body and json.dumps(body), admin)  # noqa: E731
    draft = DEEP.replace("published", "draft")
    assert manage("PUT", "gone", {"source": draft + "x"}).status == 200
    assert manage("DELETE", "gone@1").status == 204 and not (prompts.prompts / "gone.prompt").exists()
    assert manage("GET", "gone@1").status == 404 and manage("DELETE", "gone@1").status == 404
    assert manage("DELETE", "hello@1").status == 422 and call(prompts, "/prompts/hello", method="GET").status == 200
    assert manage("PUT", "public", {"source": DEEP + "x"}).json()["state"] == "published"
    audit = prompts.run("audit").stdout
    assert "prompt.remove" in audit and "prompt.publish" in audit


def test_limits_and_budgets_of_a_prompt_count(prompts, upstream):
    answers(upstream, "Hi.")
    put(prompts, "other.prompt", DEEP + "x")
    assert shown(prompts, "other")
    prompts.secret = prompts.new_key(limit="requests/minute=1@prompt/hello")["key"]
    assert call(prompts, "/prompts/hello", {"name": "x"}).status == 200
    assert call(prompts, "/prompts/hello", {"name": "x"}).status == 429
    assert call(prompts, "/prompts/hello@1", {"name": "x"}).status == 429
    assert call(prompts, "/prompts/other", {}).status == 200
    warned = prompts.run("keys", "create", "--name", "w", "--limit", "requests/minute=1@prompt/helo")
    assert "'prompt/helo' names no prompt that there is; did you mean 'prompt/hello'?" in warned.stderr
    assert "warning" not in prompts.run("keys", "create", "--name", "w", "--limit", "requests/minute=1@prompt/hello").stderr


@pytest.mark.parametrize("glob", ["prompt/hello", "prompt/h*@1"])
def test_what_a_prompt_has_used_outlives_a_restart(prompts, upstream, glob):
    answers(upstream, "Hi.")
    prompts.secret = prompts.new_key(limit=f"requests/day=2@{glob}")["key"]
    assert [call(prompts, "/prompts/hello", {"name": "x"}).status for _ in range(3)] == [200, 200, 429]
    prompts.stop()
    prompts.start()
    assert call(prompts, "/prompts/hello", {"name": "x"}).status == 429


def test_a_folder_that_is_away_changes_nothing(prompts, upstream):
    answers(upstream, "Hi.")
    away = prompts.folder / "away"
    prompts.prompts.rename(away)
    assert eventually(lambda: any("the folder cannot be read" in fault["message"] for fault in refused(prompts)))
    assert call(prompts, "/prompts/hello", {"name": "x"}).status == 200
    admin = prompts.new_key(kind="admin", role="admin", name="admin")["key"]
    manage = lambda method, path, body: prompts.request(method, f"/admin/v1/{path}", body, admin)  # noqa: E731
    for step in ("publish", "deprecate", "retire"):
        by_cli = prompts.run("prompts", step, "hello")
        assert by_cli.returncode != 0 and "there is no prompt 'hello'" in by_cli.stderr
        reply = manage("POST", f"prompts/hello/{step}", "{}")
        assert (reply.status, reply.json()["code"]) == (404, "prompt_not_found"), reply.body
    assert manage("DELETE", "prompts/hello@1", None).status == 404
    for path in ("prompts/new", "partials/new"):
        assert manage("PUT", path, json.dumps({"source": "{{#if}} oops {{/each}}"})).status == 422
    assert not prompts.prompts.exists() and call(prompts, "/prompts/hello", {"name": "x"}).status == 200
    away.rename(prompts.prompts)
    assert eventually(lambda: not refused(prompts))


def test_a_link_is_followed_to_what_it_leads_to(prompts, upstream):
    answers(upstream, "Hi.")
    for number in (1, 2):
        (prompts.folder / f"data{number}").mkdir()
        (prompts.folder / f"data{number}" / "linked.prompt").write_text(DEEP.replace("published", "draft") + f"Text {number}")
    (prompts.folder / "now").symlink_to(prompts.folder / "data1")
    (prompts.prompts / "linked.prompt").symlink_to(prompts.folder / "now" / "linked.prompt")
    key = prompts.new_key(tools="prompt/linked@1")["key"]
    sent = lambda: call(prompts, "/prompts/linked@1", {}, authorization=f"Bearer {key}").status == 200 and upstream.requests[-1].json()["messages"][0]["content"]  # noqa: E731
    assert eventually(lambda: sent() == "Text 1")
    (prompts.folder / "next").symlink_to(prompts.folder / "data2")
    (prompts.folder / "next").rename(prompts.folder / "now")
    assert eventually(lambda: sent() == "Text 2")
    (prompts.folder / "data2" / "linked.prompt").chmod(0o640)
    assert prompts.run("prompts", "publish", "linked").returncode == 0
    assert (prompts.prompts / "linked.prompt").is_symlink() and (prompts.folder / "data2" / "linked.prompt").stat().st_mode & 0o777 == 0o640


def test_a_step_without_a_version_is_for_what_callers_get(prompts):
    write(prompts, "hello@2.prompt", state="draft", mark="!")
    done = prompts.run("prompts", "deprecate", "hello")
    assert done.returncode == 0 and done.stdout.startswith("hello@1 has ")
    assert "draft" in prompts.run("prompts", "deprecate", "hello@2").stderr
    assert prompts.run("prompts", "publish", "hello").stdout.startswith("hello@2 has ")
    assert "no draft to publish" in prompts.run("prompts", "publish", "hello").stderr
    assert prompts.run("prompts", "retire", "hello").stdout.startswith("hello@2 has ")
    for step in ("publish", "deprecate", "retire"):
        assert "'hello@2' is retired, and stays so" in prompts.run("prompts", step, "hello@2").stderr
    before = (prompts.prompts / "hello.prompt").read_text()
    for successor, why in [("nosuch", "no such prompt"), ("hello@1", "the same"), ("hello@2", "retired"), ("x\nkeyward.weight: 7", "no name of a successor"), ("sentiment\n---", "no name")]:
        done = prompts.run("prompts", "deprecate", "hello@1", "--successor", successor)
        assert done.returncode == 1 and why in done.stderr, done.stderr
    assert "is no time" in prompts.run("prompts", "deprecate", "hello@1", "--sunset", "2099-01-01\nkeyward.weight: 7").stderr
    assert (prompts.prompts / "hello.prompt").read_text() == before
    write(prompts, "late.prompt", state="draft", more="keyward.sunset: 2020-01-01\n")
    assert prompts.run("prompts", "publish", "late").returncode == 0
    assert shown(prompts, "late")
    admin = prompts.new_key(kind="admin", role="admin", name="admin")["key"]
    reply = prompts.request("POST", "/admin/v1/prompts/hello/deprecate", json.dumps({"successor": "sentiment"}), admin)
    assert (reply.status, reply.json()["id"]) == (200, "hello@1"), reply.body


def test_whoever_looks_publishes_nothing(start_gateway):
    gateway = start_gateway()
    gateway.stop()
    gateway.prompts = gateway.folder / "prompts"
    gateway.prompts.mkdir()
    write(gateway, "hello.prompt")
    for looked in (["check"], ["list"], ["diff", "hello@1", "hello@1"]):
        assert gateway.run("prompts", *looked).returncode == 0
        assert not published(gateway, "hello")
    write(gateway, "next.prompt", state="draft")
    assert gateway.run("prompts", "publish", "next").returncode == 0
    assert published(gateway, "next") and not published(gateway, "hello")


def ended(text, finish, refusal=None):
    answer = json.loads(provider.chat(text).body)
    answer["choices"][0]["finish_reason"] = finish
    answer["choices"][0]["message"]["refusal"] = refusal
    return provider.answer_json(answer)


def events(reply):
    return [event.split("\n") for event in reply.body.decode().strip().split("\n\n")]


def test_an_answer_that_was_cut_off_or_withheld_is_told(prompts, upstream):
    put(prompts, "sort.prompt", CLASSIFIED)
    assert shown(prompts, "sort")
    upstream.serve("gpt-4o-mini", ended("Dear", "length"))
    cut = call(prompts, "/prompts/hello", {"name": "x"})
    assert (cut.status, cut.body, cut.headers["keyward-finish-reason"]) == (200, b"Dear", "length")
    upstream.serve("gpt-4o-mini", ended('{"class": "go', "length"))
    before = len(upstream.requests)
    for path, code, status, answer in [
        ("sort", "answer_cut", 502, ended('{"class": "go', "length")),
        ("sort", "answer_filtered", 422, ended("", "content_filter")),
        ("hello", "answer_filtered", 422, ended("Dea", "content_filter")),
        ("sort", "answer_refused", 422, ended(None, "stop", "I won't.")),
    ]:
        upstream.serve("gpt-4o-mini", answer)
        reply = call(prompts, f"/prompts/{path}", {"name": "x"} if path == "hello" else {"text": "x"})
        assert (reply.status, reply.json()["code"]) == (status, code), reply.body
        assert reply.headers["keyward-prompt"] == f"{path}@1" and reply.headers["content-type"] == "application/problem+json"
    assert len(upstream.requests) == before + 4
    stream = lambda finish: provider.Answer(provider.chat_stream("Dear you").body.replace(b'"stop"', f'"{finish}"'.encode()), headers={"content-type": "text/event-stream"}, stream=True)  # noqa: E731
    upstream.serve("gpt-4o-mini", stream("length"))
    told = events(call(prompts, "/prompts/hello?stream=true", {"name": "x"}))
    assert told[-2:] == [["event: finish", 'data: {"reason":"length"}'], ["event: result", 'data: "Dear you"']]
    upstream.serve("gpt-4o-mini", stream("content_filter"))
    told = events(call(prompts, "/prompts/hello?stream=true", {"name": "x"}))
    assert told[-1][0] == "event: error" and '"answer_filtered"' in told[-1][1]
    client = prompts.client(prompts.secret)
    upstream.serve("gpt-4o-mini", ended('{"class": "go', "length"))
    said = client.chat.completions.create(model="prompt/sort", messages=[{"role": "user", "content": '{"text": "x"}'}])
    assert said.choices[0].finish_reason == "length"


def test_a_changed_partial_does_not_hold_what_was_published(prompts, upstream):
    answers(upstream, "Hi.")
    put(prompts, "_who.prompt", "you")
    put(prompts, "part.prompt", DEEP + "Hi {{> who}}")
    assert shown(prompts, "part")
    put(prompts, "_who.prompt", "them")
    assert eventually(lambda: any("_who.prompt" in fault["message"] and fault["file"].endswith("/part.prompt") for fault in refused(prompts)))
    assert call(prompts, "/prompts/part", {}).status == 200 and upstream.requests[-1].json()["messages"][0]["content"] == "Hi you"
    assert prompts.run("prompts", "deprecate", "part", "--sunset", "2099-01-01").returncode == 0
    assert eventually(lambda: "deprecation" in call(prompts, "/prompts/part", method="GET").headers)
    assert call(prompts, "/prompts/part", {}).status == 200 and upstream.requests[-1].json()["messages"][0]["content"] == "Hi you"
    assert prompts.run("prompts", "retire", "part").returncode == 0
    assert eventually(lambda: call(prompts, "/prompts/part", {}).status == 410)


def test_versions_that_share_calls_are_shown_as_one(prompts, upstream):
    answers(upstream, "Hi.")
    write(prompts, "hello.prompt", more="keyward.weight: 1\n")
    put(prompts, "hello@2.prompt", HELLO.format(state="published", more="keyward.weight: 1\n", mark="!").replace("name: string", "name: string\n    extra?: string"))
    seen = lambda: {call(prompts, "/prompts/hello", method="GET").json()["version"] for _ in range(10)}  # noqa: E731
    assert eventually(lambda: seen() == {2})
    assert {call(prompts, "/prompts/hello/openapi.json", method="GET").json()["info"]["version"] for _ in range(10)} == {"2"}
    checked = prompts.run("prompts", "check")
    assert checked.returncode == 0 and "hello@1 and hello@2 share calls and take other variables" in checked.stdout
    write(prompts, "hello@3.prompt", state="draft")
    assert "hello@3 gets no call that names no version" in prompts.run("prompts", "publish", "hello").stdout
    put(prompts, "idle.prompt", DEEP.replace("---\n", "---\nkeyward.weight: 0\n", 1) + "x")
    checked = prompts.run("prompts", "check")
    assert checked.returncode == 1 and "idle.prompt:2: all published versions of 'idle' have the weight 0" in checked.stdout


def test_a_conversation_goes_on_after_the_first_answer(prompts, upstream):
    answers(upstream, "Hi.")
    client = prompts.client(prompts.secret)
    first = {"role": "user", "content": '{"name": "Ann"}'}
    client.chat.completions.create(model="prompt/hello", messages=[first, {"role": "assistant", "content": "Hello Ann"}, {"role": "user", "content": "Shorter, please."}])
    sent = upstream.requests[-1].json()["messages"]
    assert [(message["role"], message["content"].strip()) for message in sent] == [("system", "You greet."), ("user", "Greet Ann"), ("assistant", "Hello Ann"), ("user", "Shorter, please.")]
    wanted = {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    client.chat.completions.create(model="prompt/hello", messages=[first, {"role": "assistant", "tool_calls": [wanted]}, {"role": "tool", "tool_call_id": "call_1", "content": "A tree."}])
    sent = upstream.requests[-1].json()["messages"]
    assert [message["role"] for message in sent] == ["system", "user", "assistant", "tool"] and sent[-1]["content"] == "A tree."
    image = {"type": "image_url", "image_url": {"url": "https://img.example/a.png"}}
    client.chat.completions.create(model="prompt/hello", messages=[{"role": "user", "content": [{"type": "text", "text": '{"name": "Ann"}'}, image]}])
    sent = upstream.requests[-1].json()["messages"]
    assert sent[-1]["role"] == "user" and [part["type"] for part in sent[-1]["content"]] == ["text", "image_url"]


def test_who_answers_is_told_where_it_is_the_simulator(prompts):
    line = "the simulator answers"
    checked = prompts.run("prompts", "check")
    assert checked.returncode == 0 and f"Note: {line} classify@1, " in checked.stdout and "KEYWARD_PROMPTS_MODEL" in checked.stdout
    assert "Note: models are judged by the variables and stored credentials that this command has" in checked.stdout
    assert line in prompts.run("doctor").stdout
    prompts.stop()
    prompts.start()
    assert eventually(lambda: line in prompts.log())


@pytest.mark.parametrize(
    ("file", "text", "told"),
    [
        ("empty.prompt", "\n", "empty.prompt:1: the file is empty"),
        ("role.prompt", '{{role "usr"}}x', "'usr' is no role"),
        ("tools.prompt", "---\ntools: [look]\n---\nx", "tools.prompt:2: 'tools' is not served here"),
        ("self.prompt", "---\nmodel: prompt/self\n---\nx", "self.prompt:2: 'model' has to be a model"),
        ("default.prompt", "---\ninput:\n  schema: { n: integer }\n  default: { n: many }\n---\nx", "'input.default' does not fit the schema: at /n"),
        ("hello.examples.yaml", "examples:\n  - input: { nam: x }\n", "the input of example 1 does not fit hello@1"),
        ("hello.examples.yml", "examples: []\n", "name it hello.examples.yaml"),
        ("x@07.prompt", "x", "x@07.prompt:1: the file's name is none"),
    ],
)
def test_check_refuses_what_would_go_wrong(prompts, file, text, told):
    put(prompts, file, text)
    checked = prompts.run("prompts", "check")
    assert checked.returncode == 1 and told in checked.stdout, checked.stdout


def test_check_tells_what_is_hardly_meant(prompts):
    put(prompts, "vars.prompt", DEEP + "x")
    put(prompts, "vars.prompt", "---\nmodel: test/gpt-9\ninput: { schema: { text: string } }\n---\n{{text}} {{txt}}{{#each text}}{{this}}{{/each}}")
    checked = prompts.run("prompts", "check")
    assert checked.returncode == 0 and "Note: vars@1 names the variable 'txt'" in checked.stdout
    assert "Note: vars@1 cannot be answered: 'test/gpt-9' is no model" in checked.stdout
    put(prompts, "text.prompt", "---\ninput: { schema: string }\n---\n{{text}}")
    assert "Note: text@1 can be called by nobody: its input's schema has the type \"string\"" in prompts.run("prompts", "check").stdout


LONG = "---\nmodel: test/gpt-4o-mini\nkeyward.state: published\nconfig: { maxOutputTokens: 9000 }\n---\nx"


def test_who_can_ask_for_less_is_told(start_gateway, upstream):
    gateway = start_gateway()
    gateway.prompts = gateway.folder / "prompts"
    gateway.prompts.mkdir()
    put(gateway, "long.prompt", LONG)
    gateway.secret = gateway.new_key()["key"]
    assert shown(gateway, "long")
    for flags, status, told, to_chats in (
        ({"limit": "output-tokens/minute=100"}, 429, "or let the prompt's author lower config.maxOutputTokens.", "or set a lower max_tokens."),
        ({"budget": "0.001/day"}, 402, "Let the prompt's author lower config.maxOutputTokens, or ask", "Set a lower max_tokens, or ask"),
    ):
        gateway.secret = gateway.new_key(**flags)["key"]
        reply = call(gateway, "/prompts/long", {})
        assert reply.status == status and told in reply.json()["detail"] and "max_tokens" not in reply.json()["detail"], reply.body
        # Whoever calls it as a model says so in the request.
        body = {"model": "prompt/long", "messages": [{"role": "user", "content": "{}"}]}
        reply = call(gateway, "/v1/chat/completions", body)
        assert reply.status == status and to_chats in reply.json()["error"]["message"], reply.body
    assert upstream.requests == []


def test_what_is_wrong_with_a_prompt_is_not_its_callers_fault(prompts, upstream):
    put(prompts, "nowhere.prompt", DEEP.replace("test/gpt-4o-mini", "nowhere/model") + "x")
    assert shown(prompts, "nowhere")
    reply = call(prompts, "/prompts/nowhere", {}, x_request_id="find-me")
    assert (reply.status, reply.json()["code"], reply.headers["x-request-id"]) == (502, "prompt_faulty", "find-me"), reply.body
    assert "tell whoever wrote the prompt" in reply.json()["detail"]
    for status, told in [(404, "The model does not exist"), (400, "Unsupported value: 'temperature'")]:
        upstream.serve("gpt-4o-mini", provider.error(status, told))
        reply = call(prompts, "/prompts/hello", {"name": "x"})
        assert (reply.status, reply.json()["code"]) == (502, "prompt_faulty") and told in reply.json()["detail"], reply.body
    upstream.serve("gpt-4o-mini", provider.error(400, "This model's maximum context length is 8 tokens"))
    assert call(prompts, "/prompts/hello", {"name": "x"}).status == 400
    upstream.serve("gpt-4o-mini", provider.error(404, "The model does not exist"))
    with pytest.raises(openai.InternalServerError) as refused_:
        prompts.client(prompts.secret).chat.completions.create(model="prompt/hello", messages=[{"role": "user", "content": '{"name": "x"}'}])
    assert refused_.value.code == "prompt_faulty"
    # What its caller has set beside the prompt is theirs.
    upstream.serve("gpt-4o-mini", provider.answer_json({"error": {"message": "max_tokens is too large: 100000", "type": "invalid_request_error", "param": "max_tokens", "code": "invalid_value"}}, 400))
    for own, expected in ({"max_tokens": 100_000}, openai.BadRequestError), ({}, openai.InternalServerError):
        with pytest.raises(expected):
            prompts.client(prompts.secret).chat.completions.create(model="prompt/hello", messages=[{"role": "user", "content": '{"name": "x"}'}], **own)


def test_a_description_refers_to_nothing_outside_of_itself(prompts):
    schema = {"type": "object", "required": ["tree", "depth"], "properties": {"tree": {"$ref": "#/$defs/node"}, "depth": {"type": "integer"}}, "$defs": {"node": {"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}}}}}
    front = f"---\nmodel: test/gpt-4o-mini\ninput: {{ schema: {json.dumps(schema)}, default: {{ depth: 3 }} }}\nkeyward.state: published\n---\nx"
    put(prompts, "tree.prompt", front)
    assert shown(prompts, "tree")
    told = call(prompts, "/prompts/tree/openapi.json", method="GET").json()

    def references(value):
        if isinstance(value, dict):
            yield from ([value["$ref"]] if isinstance(value.get("$ref"), str) else [])
            value = list(value.values())
        for one in value if isinstance(value, list) else []:
            yield from references(one)

    def resolved(reference):
        found = told
        for step in reference.removeprefix("#/").split("/"):
            found = found[step]
        return found

    found = list(references(told))
    assert len(found) > 3 and all(resolved(reference) for reference in found)
    asked = resolved(told["paths"]["/prompts/tree"]["post"]["requestBody"]["content"]["application/json"]["schema"]["$ref"])
    assert asked["required"] == ["tree"]


def test_nobody_is_told_of_what_they_may_not_call(prompts):
    write(prompts, "secret.prompt")
    put(prompts, "hidden.prompt", DEEP.replace("published", "draft") + "x")
    assert shown(prompts, "secret")
    key = prompts.new_key(tools="prompt/h*,prompt/secre")["key"]
    for name, hidden in (("secre", "secret"), ("hiden", "'hidden'")):
        assert hidden not in call(prompts, f"/prompts/{name}", {}, authorization=f"Bearer {key}").json()["detail"].replace(f"'{name}'", "")
    assert "'hello'" in call(prompts, "/prompts/helo", {}, authorization=f"Bearer {key}").json()["detail"]


def test_a_file_without_a_text_is_refused(prompts):
    admin = prompts.new_key(kind="admin", role="admin", name="admin")["key"]
    manage = lambda name, body: prompts.request("PUT", f"/admin/v1/prompts/{name}", json.dumps(body), admin)  # noqa: E731
    assert manage("note", {}).json()["errors"][0]["pointer"] == "/source"
    assert manage("note", {"source": ""}).status == 422
    assert manage("note@07", {"source": "x"}).status == 422
    assert not (prompts.prompts / "note.prompt").exists()
    refused_ = prompts.request("GET", "/admin/v1/prompts/%ff", None, "nonsense")
    assert refused_.status == 401 and prompts.request("GET", "/admin/v1/prompts/%ff", None, admin).headers["content-type"] == "application/problem+json"


def test_what_a_template_grows_to_has_an_end(prompts):
    put(prompts, "grow.prompt", DEEP + "{{#each a}}{{#each ../a}}{{#each ../../a}}0123456789{{/each}}{{/each}}{{/each}}")
    assert shown(prompts, "grow")
    reply = call(prompts, "/prompts/grow", {"a": [1] * 1000})
    assert (reply.status, reply.json()["code"]) == (422, "prompt_not_rendered") and "loops go through too much" in reply.json()["detail"]
    put(prompts, "wide.prompt", DEEP + "{{#each a}}" + "0123456789" * 1000 + "{{/each}}")
    assert shown(prompts, "wide")
    assert "32 MiB" in call(prompts, "/prompts/wide", {"a": [1] * 5000}).json()["detail"]


def test_events_come_to_those_who_want_them(prompts):
    kind = lambda accept: call(prompts, "/prompts/sentiment", {"text": "Fine"}, accept=accept).headers["content-type"]  # noqa: E731
    assert kind("text/event-stream;q=0, application/json") == "application/json"
    assert kind("text/event-stream") == "text/event-stream"


def test_a_refused_input_of_what_is_deprecated_says_so(prompts):
    write(prompts, "hello.prompt", state="deprecated", more="keyward.sunset: 2099-01-01\n")
    assert eventually(lambda: "sunset" in call(prompts, "/prompts/hello", method="GET").headers)
    reply = call(prompts, "/prompts/hello", {})
    assert reply.status == 422 and reply.headers["sunset"].endswith("2099 00:00:00 GMT") and reply.headers["deprecation"] == "@0"
    assert eventually(lambda: any('"prompt":"sentiment@1"' in line for line in prompts.log().splitlines()) or call(prompts, "/prompts/sentiment", {"text": "x"}) is None)


def test_an_answer_fits_what_the_caller_asks_for(prompts, upstream):
    for name in ("extract", "classify"):
        source = (prompts.prompts / f"{name}.prompt").read_text().replace("---\n", "---\nmodel: test/gpt-4o-mini\n", 1)
        put(prompts, f"my-{name}.prompt", source)
        assert shown(prompts, f"my-{name}")
    wanted = {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}}
    answers(upstream, '{"nam": 7}', '{"name": "Ann"}')
    reply = call(prompts, "/prompts/my-extract", {"text": "I am Ann", "schema": wanted})
    assert (reply.status, reply.json()) == (200, {"name": "Ann"})
    assert upstream.requests[-2].json()["response_format"]["json_schema"]["schema"] == wanted
    answers(upstream, '{"nam": 7}')
    assert call(prompts, "/prompts/my-extract", {"text": "I am Ann", "schema": wanted}).json()["code"] == "output_invalid"
    bad = call(prompts, "/prompts/my-extract", {"text": "x", "schema": {"type": "nonsense"}})
    assert bad.status == 422 and bad.json()["errors"][0]["pointer"] == "/schema"
    answers(upstream, '{"label": "spam!", "reason": "x"}', '{"label": "spam", "reason": "x"}')
    reply = call(prompts, "/prompts/my-classify", {"text": "x", "labels": ["spam", "ham"]})
    assert reply.json() == {"label": "spam", "reason": "x"}
    assert upstream.requests[-2].json()["response_format"]["json_schema"]["schema"]["properties"]["label"]["enum"] == ["spam", "ham"]
    client = prompts.client(prompts.secret)
    answers(upstream, '{"label": "spam!", "reason": "x"}', '{"label": "ham", "reason": "x"}')
    ask = [{"role": "user", "content": json.dumps({"text": "x", "labels": ["spam", "ham"]})}]
    assert json.loads(client.chat.completions.create(model="prompt/my-classify", messages=ask).choices[0].message.content)["label"] == "ham"


LOOPS = """---
model: test/gpt-4o-mini
input: { schema: { list(array): integer } }
keyward.state: published
---
Hi
{{#each list}}{{#each ../list}}{{#each ../../list}}{{/each}}{{/each}}{{/each}}
"""
# The same, with loops that stand in chains of `else` alone.
CHAINS = """---
model: test/gpt-4o-mini
input:
  schema:
    list(array): integer
    a?: boolean
keyward.state: published
---
Hi
{{#if a}}y{{else each list}}{{#if ../a}}y{{else each ../list}}{{#if ../../a}}y{{else each ../../list}}{{/if}}{{/if}}{{/if}}
"""


def test_loops_over_a_long_list_end_and_hold_nobody_up(prompts, upstream):
    answers(upstream, "Hi.")
    put(prompts, "loops.prompt", LOOPS)
    put(prompts, "chains.prompt", CHAINS)
    assert shown(prompts, "loops") and shown(prompts, "chains")
    body = {"list": list(range(2000))}
    waits, ended = [], threading.Event()

    def ask_meanwhile():
        while not ended.is_set():
            asked = time.monotonic()
            assert call(prompts, "/healthz", method="GET").status == 200
            waits.append(time.monotonic() - asked)

    others = threading.Thread(target=ask_meanwhile)
    others.start()
    # So many that each thread that serves is held, if any is.
    try:
        with ThreadPoolExecutor(8) as pool:
            replies = list(pool.map(lambda path: call(prompts, path, body), ["/prompts/loops", "/prompts/chains"] * 4))
    finally:
        ended.set()
        others.join()
    assert {reply.status for reply in replies} == {422}, replies
    assert len(waits) > 10 and max(waits) < 3, (len(waits), max(waits))
    began = time.monotonic()
    reply = call(prompts, "/prompts/loops", body)
    assert (reply.status, reply.json()["code"]) == (422, "prompt_not_rendered") and "loops" in reply.json()["detail"], reply.body
    assert time.monotonic() - began < 8
    chat = {"model": "prompt/loops", "messages": [{"role": "user", "content": json.dumps(body)}]}
    assert call(prompts, "/v1/chat/completions", chat).status == 422
    assert call(prompts, "/prompts/loops", {"list": [1, 2]}).status == 200


def test_a_stream_that_does_not_fit_ends_with_an_error(prompts, upstream):
    put(prompts, "sort.prompt", CLASSIFIED)
    assert shown(prompts, "sort")
    client = prompts.client(prompts.secret)

    def pieces(said):
        upstream.serve("gpt-4o-mini", provider.chat_stream(said, usage=True))
        got = []
        try:
            for chunk in client.chat.completions.create(model="prompt/sort", stream=True, messages=[{"role": "user", "content": '{"text": "x"}'}]):
                got += [chunk.choices[0].delta.content or "", chunk.choices[0].finish_reason or ""] if chunk.choices else []
        except openai.APIError as error:
            got.append(error.code)
        return "".join(got)

    assert pieces('{"class": "good"}') == '{"class": "good"}stop'
    assert pieces('{"class": 7}') == '{"class": 7}stopoutput_invalid'
    assert pieces("It is good.") == "It is good.stopoutput_invalid"
    # Each choice is one.
    ask = lambda: client.chat.completions.create(model="prompt/sort", n=2, messages=[{"role": "user", "content": '{"text": "x"}'}])  # noqa: E731
    both = json.loads(provider.chat('{"class": "good"}', n=2).body)
    both["choices"][1]["message"] = {"role": "assistant", "content": '{"class": 7}'}
    upstream.serve("gpt-4o-mini", provider.answer_json(both), provider.chat('{"class": "good"}', n=2))
    assert [choice.message.content for choice in ask().choices] == ['{"class": "good"}'] * 2
    upstream.serve("gpt-4o-mini", provider.answer_json(both))
    with pytest.raises(openai.InternalServerError, match="does not fit"):
        ask()
    claude = anthropic.Anthropic(base_url=f"http://127.0.0.1:{prompts.port}", api_key=prompts.secret, max_retries=0)
    upstream.serve("gpt-4o-mini", provider.chat_stream("no JSON"))
    with pytest.raises(anthropic.APIError, match="does not fit"), claude.messages.stream(model="prompt/sort", max_tokens=9, messages=[{"role": "user", "content": '{"text": "x"}'}]) as stream:
        assert list(stream.text_stream)
    # What was streamed is paid for all the same, and told in the log.
    row = prompts.usage("prompt", "sort@1", 8)
    assert (row["requests"], row["failed"], row["running"]) == (8, 0, 0)
    assert prompts.log().count("does not fit its prompt's output schema") == 3


def test_what_uses_a_partial_that_is_broken_can_be_retired(prompts, upstream):
    answers(upstream, "Hi.")
    put(prompts, "_tone.prompt", "Kindly")
    put(prompts, "uses.prompt", DEEP + "{{> tone}}")
    assert shown(prompts, "uses")
    for broken in ("{{#if}} oops {{/each}}", None):
        put(prompts, "_tone.prompt", broken) if broken else (prompts.prompts / "_tone.prompt").unlink()
        assert eventually(lambda: any("goes on with the partials" in fault["message"] for fault in refused(prompts)))
        assert call(prompts, "/prompts/uses", {}).status == 200
    prompts.stop()
    prompts.start()
    assert call(prompts, "/prompts/uses", {}).status == 200 and upstream.requests[-1].json()["messages"][-1]["content"] == "Kindly"
    assert prompts.run("prompts", "deprecate", "uses").returncode == 0
    assert eventually(lambda: "deprecation" in call(prompts, "/prompts/uses", {}).headers)
    done = prompts.run("prompts", "retire", "uses")
    assert done.returncode == 0, done.stderr
    assert eventually(lambda: call(prompts, "/prompts/uses", {}).status == 410)


def test_no_schema_of_a_caller_takes_the_process_with_it(prompts):
    twice = {f"a{n}": {"allOf": [{"$ref": f"#/$defs/a{n + 1}"}] * 2} for n in range(30)} | {"a30": {"type": "string"}}
    for schema in ({"$ref": "#/$defs/a0", "$defs": twice}, {"allOf": [{"$ref": "#"}]}, {"properties": {"a": {"allOf": [{"$ref": "#"}] * 2}}}):
        reply = call(prompts, "/prompts/extract", {"text": "x", "schema": schema})
        assert (reply.status, reply.json()["code"]) == (422, "input_invalid") and '"pointer":"/schema"' in reply.body.decode(), reply.body
    doubled = {"$defs": {"n": {"anyOf": [{"type": "array", "items": {"$ref": "#/$defs/n"}}] * 2}}, "$ref": "#/$defs/n"}
    assert call(prompts, "/prompts/extract", {"text": "x", "schema": doubled}).status == 422
    or_null = lambda name: {"anyOf": [{"$ref": f"#/$defs/{name}"}, {"type": "null"}]}  # noqa: E731
    node = {"type": "object", "properties": {"value": {"type": "string"}, "next": or_null("node")}}
    tree = {"type": "object", "properties": {"left": or_null("tree"), "right": or_null("tree")}}
    for schema in (
        {"type": "object", "properties": {"next": {"$ref": "#"}}},
        {"$id": "https://example.com/list", "type": "object", "properties": {"first": or_null("node"), "last": or_null("node")}, "$defs": {"node": node}},
        {"type": "object", "properties": {"root": or_null("tree")}, "$defs": {"tree": tree}},
    ):
        reply = call(prompts, "/prompts/extract", {"text": "x", "schema": schema})
        assert reply.status == 200, reply.body


def test_a_published_prompt_stays_so_whatever_its_editor_writes_then(prompts, upstream):
    answers(upstream, "Hi.")
    draft = DEEP.replace("published", "draft")
    put(prompts, "ed.prompt", draft + "Old")
    named = prompts.new_key(tools="prompt/ed@1")["key"]
    assert eventually(lambda: call(prompts, "/prompts/ed@1", {}, authorization=f"Bearer {named}").status == 200)
    assert prompts.run("prompts", "publish", "ed").returncode == 0
    put(prompts, "ed.prompt", draft + "Other")
    assert eventually(lambda: any("must not change" in fault["message"] for fault in refused(prompts)))
    assert call(prompts, "/prompts/ed", {}).status == 200 and upstream.requests[-1].json()["messages"][-1]["content"] == "Old"


def test_changes_of_files_wait_for_each_other(prompts):
    put(prompts, "race.prompt", DEEP.replace("published", "draft") + "x")
    lock = os.open(prompts.prompts / ".lock", os.O_WRONLY | os.O_CREAT)
    fcntl.flock(lock, fcntl.LOCK_EX)
    publishing = subprocess.Popen([BINARY, "prompts", "publish", "race"], cwd=prompts.folder, env=prompts.env, stdout=subprocess.PIPE, text=True)
    time.sleep(1)
    assert publishing.poll() is None and "draft" in (prompts.prompts / "race.prompt").read_text()
    os.close(lock)
    assert publishing.wait(20) == 0 and "published" in (prompts.prompts / "race.prompt").read_text()


def test_who_holds_a_folder_is_not_waited_for_without_end(prompts):
    admin = prompts.new_key(kind="admin", role="admin", name="admin")["key"]
    put(prompts, "held.prompt", DEEP.replace("published", "draft") + "x")
    assert managed(prompts, "held", admin)
    lock = os.open(prompts.prompts / ".lock", os.O_WRONLY | os.O_CREAT)
    fcntl.flock(lock, fcntl.LOCK_EX)
    began = time.monotonic()
    reply = prompts.request("POST", "/admin/v1/prompts/held@1/publish", b"", admin, idempotency_key="held")
    assert (reply.status, reply.json()["code"]) == (503, "folder_locked") and ".lock" in reply.json()["detail"], reply.body
    by_cli = prompts.run("prompts", "publish", "held")
    assert by_cli.returncode != 0 and ".lock" in by_cli.stderr
    assert time.monotonic() - began < 15 and "draft" in (prompts.prompts / "held.prompt").read_text()
    os.close(lock)
    again = prompts.request("POST", "/admin/v1/prompts/held@1/publish", b"", admin, idempotency_key="held")
    assert again.status == 200, "what was not done may be sent again under its name"
    assert not refused(prompts)


@contextlib.contextmanager
def held_lock(prompts):
    """The lock of the prompts' folder, for as long as nobody else is to change a file."""
    lock = os.open(prompts.prompts / ".lock", os.O_WRONLY | os.O_CREAT)
    fcntl.flock(lock, fcntl.LOCK_EX)
    yield
    os.close(lock)


def publish_and_hang_up(prompts, admin, name):
    """A change whose caller goes while the folder's lock is waited for, and whose going the gateway has noticed."""

    def is_begun():
        with contextlib.closing(sqlite3.connect(prompts.folder / "data" / "keyward.db")) as store:
            return store.execute("SELECT 1 FROM idempotency WHERE name = ?", [name]).fetchall()

    with socket.create_connection(("127.0.0.1", prompts.port), timeout=20) as caller:
        head = ["POST /admin/v1/prompts/left@1/publish HTTP/1.1", "Host: x", f"Authorization: Bearer {admin}", f"Idempotency-Key: {name}"]
        caller.sendall("\r\n".join([*head, "Content-Length: 0", "", ""]).encode())
        assert eventually(is_begun)
        caller.shutdown(socket.SHUT_WR)
        assert caller.recv(1) == b"", "the gateway has hung up too"


def with_a_draft(prompts):
    """A draft to publish, and the key of who does."""
    admin = prompts.new_key(kind="admin", role="admin", name="admin")["key"]
    put(prompts, "left.prompt", DEEP.replace("published", "draft") + "x")
    assert managed(prompts, "left", admin)
    return admin


def is_made(prompts, admin, name):
    """Holds the change of that name to have been made, as who sends it again hears."""
    again = prompts.request("POST", "/admin/v1/prompts/left@1/publish", b"", admin, idempotency_key=name)
    assert (again.status, again.headers.get("idempotency-replayed")) == (200, "true"), again.body


def test_a_change_goes_on_when_its_caller_has_gone(prompts):
    admin = with_a_draft(prompts)
    with held_lock(prompts):
        publish_and_hang_up(prompts, admin, "left")
    is_made(prompts, admin, "left")
    assert "published" in (prompts.prompts / "left.prompt").read_text()
    assert [entry["subject"] for entry in prompts.cli("audit") if entry["action"] == "prompt.publish"] == ["left@1"]


def test_a_stop_waits_for_a_change_whose_caller_has_gone(prompts):
    admin = with_a_draft(prompts)
    with held_lock(prompts):
        publish_and_hang_up(prompts, admin, "last")
        prompts.terminate()
        assert eventually(lambda: "stopping: running answers may end" in prompts.log())
    prompts.stop()
    prompts.start()
    is_made(prompts, admin, "last")


def managed(prompts, name, admin):
    return eventually(lambda: prompts.request("GET", f"/admin/v1/prompts/{name}@1", None, admin).status == 200)


def test_nothing_is_published_that_the_audit_does_not_tell(prompts):
    admin = prompts.new_key(kind="admin", role="admin", name="admin")["key"]
    put(prompts, "noted.prompt", DEEP.replace("published", "draft") + "x")
    assert eventually(lambda: prompts.request("GET", "/admin/v1/prompts/noted@1", None, admin).status == 200)
    store = sqlite3.connect(prompts.folder / "data" / "keyward.db", isolation_level=None)
    store.execute("BEGIN IMMEDIATE")
    reply = prompts.request("POST", "/admin/v1/prompts/noted@1/publish", b"", admin)
    assert (reply.status, reply.json()["code"]) == (503, "store_locked"), reply.body
    assert "draft" in (prompts.prompts / "noted.prompt").read_text() and call(prompts, "/prompts/noted", {}).status == 404
    store.execute("ROLLBACK")
    store.close()
    assert prompts.request("POST", "/admin/v1/prompts/noted@1/publish", b"", admin).status == 200
    assert "prompt.publish" in prompts.run("audit").stdout


def test_explain_tells_what_a_call_of_a_prompt_is_told(prompts, upstream):
    answers(upstream, "Hi.")
    key = prompts.new_key(limit="requests/minute=1@prompt/hello")
    explained = lambda model: prompts.admin("POST", "/keys/explain", {"key": key["id"], "model": model})  # noqa: E731
    assert explained("prompt/hello")["accepted"] and explained("prompt/hello@1")["accepted"]
    assert call(prompts, "/prompts/hello", {"name": "x"}, authorization=f"Bearer {key['key']}").status == 200
    told = explained("prompt/hello")
    assert (told["code"], told["accepted"]) == ("rate_limit_exceeded", False) and "try again in" in told["message"]
    assert explained("prompt/sentiment")["accepted"] and explained("test/gpt-4o-mini")["accepted"]
    assert explained("prompt/helo")["code"] == "prompt_not_found"
    narrow = prompts.new_key(models="prompt/hello")
    for model, code in (("prompt/sentiment", "model_not_allowed"), ("prompt/hello", None)):
        by_cli = json.loads(prompts.run("keys", "explain", narrow["id"], "--model", model, "--json").stdout)
        assert by_cli["code"] == prompts.admin("POST", "/keys/explain", {"key": narrow["id"], "model": model})["code"] == code


@pytest.mark.parametrize("glob", ["@prompt/hello", "@prompt/*", "", "@test/*"])
@pytest.mark.parametrize("fields", [{"service_tier": "priority"}, {"swarm": {"size": 9}}], ids=lambda fields: next(iter(fields)))
def test_a_hard_budget_on_a_prompt_lets_no_dearer_tier_and_no_unknown_field_through(prompts, upstream, glob, fields):
    answers(upstream, "Hi.")
    before = len(upstream.requests)
    body = {"model": "prompt/hello", "messages": [{"role": "user", "content": json.dumps({"name": "x"})}], **fields}
    ask = lambda budget: prompts.request("POST", "/v1/chat/completions", json.dumps(body).encode(), prompts.new_key(budget=budget)["key"])  # noqa: E731
    refused = ask(f"100/ever{glob}")
    assert (refused.status, refused.json()["error"]["code"]) == (403, "unknown_field_with_budget"), refused.body
    assert len(upstream.requests) == before
    assert ask(f"100/ever:soft{glob}").status == 200
    sent = upstream.requests[-1].json()
    assert {name: sent[name] for name in fields} == fields, "it would have been sent"


def test_partials_over_http(prompts, upstream):
    answers(upstream, "Hi.")
    admin = prompts.new_key(kind="admin", role="admin", name="admin")["key"]
    manage = lambda method, name="", body=None, **headers: prompts.request(method, f"/admin/v1/partials{name}", body and json.dumps({"source": body}), admin, **headers)  # noqa: E731
    assert manage("PUT", "/tone", "Kindly").status == 200
    put(prompts, "uses.prompt", DEEP.replace("published", "draft") + "{{> tone}}")
    assert eventually(lambda: prompts.request("GET", "/admin/v1/prompts/uses@1", None, admin).status == 200)
    read = manage("GET", "/tone")
    assert read.json() == {"name": "tone", "source": "Kindly", "used_by": ["uses@1"]}
    assert read.json() in manage("GET").json()["data"]
    # In pages, as all lists.
    assert [manage("PUT", f"/{name}", "x").status for name in ("tone-a", "tone_b")] == [200, 200]
    page = manage("GET", "?limit=2").json()
    assert ([partial["name"] for partial in page["data"]], page["next"]) == (["tone", "tone-a"], "tone-a")
    page = manage("GET", "?limit=2&after=tone-a").json()
    assert ([partial["name"] for partial in page["data"]], page["next"]) == (["tone_b"], None)
    assert manage("GET", "?limit=0").json()["code"] == "invalid_query"
    refused_ = manage("PUT", "/tone", "{{#if}} oops {{/each}}")
    assert (refused_.status, refused_.json()["code"]) == (422, "prompt_invalid") and manage("GET", "/tone").json()["source"] == "Kindly"
    assert manage("PUT", "/tone", "Gruffly", if_match=read.headers["etag"]).status == 200
    assert manage("PUT", "/tone", "Again", if_match=read.headers["etag"]).status == 412
    assert manage("GET", "/nothing").status == 404 and manage("PUT", "/a%2Fb", "x").status == 422
    # Of two that are missing, either may come first.
    put(prompts, "two.prompt", DEEP + "{{> aa}} {{> bb}}")
    assert eventually(lambda: refused(prompts))
    assert manage("PUT", "/aa", "A").status == 200 and manage("PUT", "/bb", "B").status == 200
    assert shown(prompts, "two")
    assert "partial.write" in prompts.run("audit").stdout


def test_what_a_key_may_call_by_its_version_alone_is_listed(prompts, upstream):
    answers(upstream, "Hi.")
    put(prompts, "cc.prompt", DEEP.replace("published", "draft") + "x")
    assert eventually(lambda: "cc" in prompts.run("prompts", "list").stdout)
    time.sleep(1.2)
    for flags, name in (({"models": "prompt/hello@1"}, "hello@1"), ({"tools": "prompt/cc@1"}, "cc@1"), ({"models": "prompt/hello"}, "hello")):
        key = prompts.new_key(**flags)["key"]
        listed = call(prompts, "/prompts", method="GET", authorization=f"Bearer {key}").json()["data"]
        assert [prompt["name"] for prompt in listed] == [name], listed
        models = prompts.client(key).models.list().data
        assert f"prompt/{name}" in [model.id for model in models]
        assert prompts.client(key).models.retrieve(f"prompt/{name}").id == f"prompt/{name}"


def test_what_says_nothing_is_no_prompt(prompts):
    admin = prompts.new_key(kind="admin", role="admin", name="admin")["key"]
    for body in ("", "\n\n", "{{! a note }}\n{{!-- another --}}"):
        reply = prompts.request("PUT", "/admin/v1/prompts/nothing", json.dumps({"source": DEEP + body}), admin)
        assert reply.status == 422 and "no template" in reply.json()["detail"], reply.body
    put(prompts, "maybe.prompt", DEEP + "{{q}}")
    assert shown(prompts, "maybe")
    reply = call(prompts, "/prompts/maybe", {"q": ""})
    assert (reply.status, reply.json()["code"]) == (422, "prompt_not_rendered") and "says nothing" in reply.json()["detail"]


def test_a_variable_may_be_called_as_a_helper_is(prompts, upstream):
    answers(upstream, "Hi.")
    put(prompts, "names.prompt", "---\nmodel: test/gpt-4o-mini\nkeyward.state: published\ninput: { schema: { raw: string, and: string, len: integer } }\n---\n{{raw}} {{and}} {{len}}")
    assert shown(prompts, "names")
    assert call(prompts, "/prompts/names", {"raw": "x", "and": "y", "len": 3}).status == 200
    assert upstream.requests[-1].json()["messages"][-1]["content"] == "x y 3"


def test_what_a_prompt_cannot_be_asked_for_is_told_with_what_to_call(prompts, upstream):
    said = [{"role": "user", "content": "x"}]
    for path, body, instead in (
        ("/v1/completions", {"model": "prompt/hello", "prompt": "x"}, "POST /v1/chat/completions"),
        ("/v1/embeddings", {"model": "prompt/hello", "input": "x"}, "POST /v1/chat/completions"),
        ("/v1/images/generations", {"model": "prompt/hello", "prompt": "x"}, "POST /v1/chat/completions"),
        ("/v1/responses/input_tokens", {"model": "prompt/hello", "input": "x"}, "POST /v1/responses, whose answer tells"),
        ("/v1/messages/count_tokens", {"model": "prompt/hello", "messages": said}, "POST /v1/messages, whose answer tells"),
        ("/v1/messages/batches", {"requests": [{"custom_id": "a", "params": {"model": "prompt/hello", "messages": said}}]}, "POST /v1/messages"),
        ("/v1beta/models/prompt/hello:countTokens", {"contents": [{"parts": [{"text": "x"}]}]}, "generateContent, whose answer tells"),
        ("/api/generate", {"model": "prompt/hello", "prompt": "x"}, "POST /api/chat"),
        ("/v2/embed", {"model": "prompt/hello", "texts": ["x"], "input_type": "search_query", "embedding_types": ["float"]}, "POST /v2/chat"),
    ):
        reply = call(prompts, path, body)
        told = reply.body.decode()
        assert reply.status == 400 and "'prompt/hello' is a prompt, which answers chats and not '" in told, (path, told)
        assert f"call it by {instead}" in told and "or by POST /prompts/hello." in told, (path, told)
    assert upstream.requests == []


def test_sdks_raise_what_a_prompt_cannot_be_asked_for(prompts):
    with pytest.raises(openai.BadRequestError) as completed:
        prompts.client(prompts.secret).completions.create(model="prompt/hello", prompt="x")
    assert (completed.value.code, completed.value.param) == ("prompt_is_for_chat", "model")
    client = anthropic.Anthropic(base_url=prompts.url, api_key=prompts.secret, max_retries=0)
    with pytest.raises(anthropic.BadRequestError, match="POST /v1/messages"):
        client.messages.count_tokens(model="prompt/hello", messages=[{"role": "user", "content": '{"name": "x"}'}])
