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
    key = gateway.new_key(limit="requests/day=5")
    gateway.client(key["key"]).chat.completions.create(model="test/gpt-4o-mini", messages=MESSAGES)
    rows = {row["group"]: row for row in call(gateway, key["key"], "usage", by="model").structured_content["rows"]}
    assert rows["test/gpt-4o-mini"]["requests"] == 1
    # The call that asks is one itself, and runs.
    assert rows["mcp/keyward/usage"]["running"] == 1
    told = call(gateway, key["key"], "explain_key", model="test/gpt-4o-mini").structured_content
    assert told["accepted"] and told["key"]["id"] == key["id"]
    # The call before and this one are requests too.
    assert [(one["limit"], one["left"]) for one in told["limits"]] == [("requests/day=5", 2)]
    told = call(gateway, key["key"], "explain_key", model="nobody/nothing").structured_content
    assert told["code"] == "model_not_found"


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
