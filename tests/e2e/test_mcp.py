"""The MCP server, by the official Python SDK: what a key may do, as tools."""

import json

import httpx
import pytest

from mcp_fixture import call, session
from test_chat import MESSAGES

INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "e2e", "version": "1"}},
}
ACCEPT = {"accept": "application/json, text/event-stream", "content_type": "application/json"}


def test_tools_are_listed_with_their_schemas(gateway, key):
    async def use(opened):
        return (await opened.list_tools()).tools

    started, tools = session(gateway, key, use)
    assert started.server_info.name == "keyward"
    assert [tool.name for tool in tools] == ["list_models", "usage", "explain_key"]
    assert all(tool.input_schema["type"] == "object" and tool.output_schema and tool.annotations.read_only_hint for tool in tools)


def test_models_are_those_of_the_key(gateway):
    key = gateway.new_key(models="simulator/*")["key"]
    models = call(gateway, key, "list_models").structured_content["models"]
    assert models and all(model["id"].startswith("simulator/") for model in models)
    assert call(gateway, key, "list_models", matching="*/echo").structured_content["models"][0]["id"] == "simulator/echo"


def test_usage_and_standing_are_those_of_the_key(gateway, upstream):
    key = gateway.new_key(limit="requests/day=9")
    gateway.client(key["key"]).chat.completions.create(model="test/gpt-4o-mini", messages=MESSAGES)
    usage = call(gateway, key["key"], "usage", by="model").structured_content
    rows = {row["group"]: row for row in usage["rows"]}
    assert usage["complete"]
    assert rows["test/gpt-4o-mini"]["requests"] == 1
    # The call that asks is one itself, and runs.
    assert rows["mcp/keyward/usage"]["running"] == 1
    told = call(gateway, key["key"], "explain_key", model="test/gpt-4o-mini").structured_content
    assert told["accepted"] and told["key"]["id"] == key["id"]
    # The call before and this one are requests too, and so is the list by which the SDK checks a result.
    assert [(one["limit"], one["left"]) for one in told["limits"]] == [("requests/day=9", 5)]
    told = call(gateway, key["key"], "explain_key", model="nobody/nothing").structured_content
    assert told["code"] == "model_not_found"


def test_a_keys_holder_is_told_of_what_others_share_only_what_stands_in_its_way(start_gateway):
    gateway = start_gateway()
    gateway.cli("limits", "set", "--budget", "2000/month", "--from", "127.0.0.0/8", "--from", "10.20.0.0/16")
    gateway.cli("teams", "create", "all", "--budget", "77/month", "--limit", "requests/day=1000")
    gateway.cli("projects", "create", "some", "--team", "all", "--limit", "requests/day=1@test/*")
    key = gateway.new_key(project="some", limit="requests/day=99")["key"]
    told = call(gateway, key, "explain_key").structured_content
    assert told["accepted"] and [one["limit"] for one in told["limits"]] == ["requests/day=99"]
    assert "hint" not in told and not any(word in json.dumps(told) for word in ("10.20.0.0", "2000/month", "77/month"))
    gateway.client(key).chat.completions.create(model="test/gpt-4o-mini", messages=MESSAGES)
    told = call(gateway, key, "explain_key", model="test/gpt-4o-mini").structured_content
    assert not told["accepted"] and [one["limit"] for one in told["limits"]] == ["requests/day=99", "requests/day=1@test/*"]


def test_what_is_wrong_is_told_to_the_model(gateway):
    key = gateway.new_key(limit="requests/day=2")["key"]
    for name, arguments, says in [("usage", {"by": "moon"}, "day or model"), ("list_models", {"colour": "red"}, "unknown field")]:
        result = call(gateway, key, name, **arguments)
        assert result.is_error and says in result.content[0].text
    assert "2 requests a day" in call(gateway, key, "list_models").content[0].text


@pytest.mark.parametrize(("key", "code"), [(None, "key_missing"), ("kw_live_short", "key_wrong_length"), ("sk-proj-" + "a" * 40, "key_of_another_service")])
def test_bad_key_is_refused_before_the_protocol(gateway, key, code):
    reply = gateway.request("POST", "/mcp", json.dumps(INITIALIZE).encode(), key, **ACCEPT)
    assert (reply.status, reply.json()["error"]["data"]["code"]) == (401, code)
    assert reply.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize(("header", "value"), [("host", "evil.example"), ("origin", "https://evil.example")])
def test_other_hosts_and_origins_are_turned_away(gateway, key, header, value):
    headers = {"authorization": f"Bearer {key}", "accept": ACCEPT["accept"], header: value}
    assert httpx.post(f"{gateway.url}/mcp", json=INITIALIZE, headers=headers).status_code == 403


@pytest.mark.parametrize("version", ["2025-03-26", "2025-06-18", "2025-11-25"])
def test_revisions_with_a_handshake(gateway, key, version):
    body = INITIALIZE | {"params": INITIALIZE["params"] | {"protocolVersion": version}}
    reply = gateway.request("POST", "/mcp", json.dumps(body).encode(), key, **ACCEPT)
    assert reply.json()["result"]["protocolVersion"] == version


def test_revision_without_a_handshake(gateway, key):
    meta = {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "e2e", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": meta}}
    headers = {"mcp_protocol_version": "2026-07-28", "mcp_method": "tools/list", **ACCEPT}
    reply = gateway.request("POST", "/mcp", json.dumps(body).encode(), key, **headers)
    assert [tool["name"] for tool in reply.json()["result"]["tools"]] == ["list_models", "usage", "explain_key"], reply.body


# What is no message, or not one of the protocol's.

META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientInfo": {"name": "e2e", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}


def asked(method, **params):
    """A request of the newest revision with its headers; those of `headers` are over them."""
    named = next((params[name] for name in ("name", "uri") if name in params), None)
    headers = {"mcp-protocol-version": "2026-07-28", "mcp-method": method} | ({"mcp-name": named} if named else {})
    return json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params | {"_meta": META}}), headers


def other(message, **headers):
    return message[0], message[1] | headers


@pytest.mark.parametrize(
    ("message", "status", "code", "words"),
    [
        (("{", {}), 400, -32700, "is not JSON"),
        (("", {}), 400, -32700, "is not JSON"),
        (("[" * 5000 + "]" * 5000, {}), 400, -32700, "recursion"),
        (("7", {}), 400, -32600, "no message of JSON-RPC 2.0"),
        ((f"[{json.dumps(INITIALIZE)}]", {}), 400, -32600, "not in a batch"),
        (('{"jsonrpc": "1.0", "id": 1, "method": "ping"}', {}), 400, -32600, "no message of JSON-RPC 2.0"),
        (('{"jsonrpc": "2.0", "id": {}, "method": "ping"}', {}), 400, -32600, "a number or a text"),
        (('{"jsonrpc": "2.0", "id": 1}', {}), 400, -32600, '"method"'),
        (('{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": [1]}', {}), 400, -32600, "an object"),
        ((json.dumps(INITIALIZE), {"content-type": "text/plain"}), 415, -32600, "application/json"),
        ((json.dumps(INITIALIZE), {"accept": "text/html"}), 406, -32600, "text/event-stream"),
        ((json.dumps(INITIALIZE), {"origin": "https://evil.example"}), 403, -32600, "Origin"),
        (asked("nope/nope"), 404, -32601, "no method 'nope/nope'"),
        (asked("tools/call", name="usage", arguments="x"), 200, -32602, "'arguments' has to be an object"),
        (asked("tools/call", arguments={}), 200, -32602, "'name' is missing"),
        (asked("tools/call", name="nope", arguments={}), 200, -32602, "there is no tool 'nope'"),
        (asked("prompts/get", name="nope"), 200, -32602, "no prompt 'nope'"),
        (asked("resources/read", uri="nope://x"), 200, -32602, "no resource 'nope://x'"),
        (asked("tools/list", cursor="x"), 200, -32602, "no such cursor"),
        (other(asked("tools/call", name="usage", arguments={}), **{"mcp-name": "other"}), 400, -32020, "other"),
        (other(asked("tools/list"), **{"mcp-method": "prompts/list"}), 400, -32020, "prompts/list"),
        (other(asked("tools/list"), **{"mcp-protocol-version": "1999-01-01"}), 400, -32020, "1999-01-01"),
    ],
)
def test_a_bad_message_is_told_what_is_wrong_with_it(gateway, key, message, status, code, words):
    text, own = message
    headers = {"content-type": "application/json", "accept": ACCEPT["accept"], "authorization": f"Bearer {key}"} | own
    reply = httpx.post(f"{gateway.url}/mcp", content=text, headers=headers)
    assert (reply.status_code, reply.json()["error"]["code"]) == (status, code), reply.text
    assert words in reply.json()["error"]["message"]


def test_a_message_that_is_too_large_is_refused_however_it_comes(start_gateway):
    gateway = start_gateway(env={"KEYWARD_LIMITS_BODY_MIB": "1"})
    headers = {"content-type": "application/json", "accept": ACCEPT["accept"], "authorization": f"Bearer {gateway.new_key()['key']}"}
    large = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "ping", "params": {"x": "y" * (2 << 20)}}).encode()
    reply = httpx.post(f"{gateway.url}/mcp", content=large, headers=headers)
    assert (reply.status_code, reply.json()["error"]["data"]["code"]) == (413, "body_too_large")
    pieces = (large[at : at + 65536] for at in range(0, len(large), 65536))
    reply = httpx.post(f"{gateway.url}/mcp", content=pieces, headers=headers)
    assert reply.status_code == 413 and "limits.body_mib" in reply.json()["error"]["message"]


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_other_methods_hear_how_messages_are_sent(gateway, key, method):
    headers = {"accept": ACCEPT["accept"], "authorization": f"Bearer {key}", "mcp-protocol-version": "2026-07-28"}
    reply = httpx.request(method, f"{gateway.url}/mcp", headers=headers)
    assert reply.status_code == 405 and "by POST" in reply.json()["error"]["message"]
