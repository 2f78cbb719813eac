"""Prompts as APIs: by plain HTTP, and as models of the official SDKs."""

import json
import shutil

import anthropic
import pytest

from gateway import ROOT, eventually

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


@pytest.fixture
def prompts(start_gateway):
    gateway = start_gateway()
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
        ("/prompts/hello", {}, {}, 422, "required"),
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
    assert described["paths"]["/prompts/hello@1"]["post"]["requestBody"]["content"]["application/json"]["schema"]["required"] == ["name"]
