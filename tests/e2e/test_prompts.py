"""Prompts as APIs: by plain HTTP, and as models of the official SDKs."""

import json
import shutil
import time

import anthropic
import openai
import pytest

import upstream as provider
from gateway import ROOT, eventually
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
    shutil.copytree(ROOT / "prompts", gateway.prompts)
    write(gateway, "hello.prompt")
    gateway.secret = gateway.new_key(name="prompts")["key"]
    assert eventually(lambda: call(gateway, "/prompts/hello", method="GET").status == 200)
    return gateway


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
    (prompts.prompts / "sort.examples.yaml").write_text(EXAMPLES.split("  - name: wrong")[0])
    assert prompts.run("prompts", "test").returncode == 0
    (prompts.prompts / "sort.examples.yaml").write_text("examples:\n  - inptu: {}\n")
    assert "inptu" in prompts.run("prompts", "test", "sort").stderr


def test_versions_are_compared(prompts):
    write(prompts, "hello@2.prompt", mark="!")
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
