"""The reference server with everything stands behind the gateway; the official TypeScript SDK and the inspector call through it."""

import asyncio
import json
import os
import pathlib
import subprocess

import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.types import ElicitResult, PromptReference

from gateway import Gateway, eventually
from mcp_fixture import call, tool_names

PACKAGES = pathlib.Path(os.environ["KEYWARD_MCP_NODE"])
NODE = PACKAGES / "node/bin/node"
EVERYTHING = PACKAGES / "@modelcontextprotocol/server-everything/dist/index.js"
INSPECTOR = PACKAGES / ".bin" / "mcp-inspector"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    config = f"""
[mcp.servers.everything]
command = "{NODE}"
args = ["{EVERYTHING}", "stdio"]
"""
    running = Gateway(tmp_path_factory.mktemp("gateway"), config=config).start()
    running.secret = running.new_key(name="peers")["key"]
    assert eventually(lambda: "everything__echo" in tool_names(running, running.secret), seconds=60)
    yield running
    running.stop()


def run(*command, **options):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=120, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_everything_is_called_by_the_sdk_for_python(gateway):
    assert "hello" in call(gateway, gateway.secret, "everything__echo", message="hello").content[0].text
    assert "5" in call(gateway, gateway.secret, "everything__get-sum", a=2, b=3).content[0].text


def test_a_new_client_uses_an_old_server(gateway):
    """The SDK for Python in its default mode speaks 2026-07-28 here; the server knows nothing of it."""

    async def run():
        async with (
            httpx2.AsyncClient(headers={"Authorization": f"Bearer {gateway.secret}"}, timeout=30) as http,
            Client(streamable_http_client(f"{gateway.url}/mcp", http_client=http)) as client,
        ):
            said = await client.call_tool("everything__echo", {"message": "new to old"})
            resources = [one for one in (await client.list_resources()).resources if str(one.uri).startswith("everything+")]
            read = await client.read_resource(resources[0].uri)
            prompt = await client.get_prompt("everything__simple-prompt")
            reference = PromptReference(type="ref/prompt", name="everything__completable-prompt")
            completed = await client.complete(reference, {"name": "department", "value": "E"})
            return client.protocol_version, said, read, prompt, completed

    version, said, read, prompt, completed = asyncio.run(run())
    assert version == "2026-07-28" and "new to old" in said.content[0].text
    assert read.contents and prompt.messages and completed.completion.values


def test_a_new_client_is_asked_by_an_old_server(gateway):
    asked = []

    async def elicit(context, params):
        asked.append(params.message)
        return ElicitResult(action="accept", content={"name": "Ada", "check": True})

    async def run():
        async with (
            httpx2.AsyncClient(headers={"Authorization": f"Bearer {gateway.secret}"}, timeout=30) as http,
            Client(streamable_http_client(f"{gateway.url}/mcp", http_client=http), elicitation_callback=elicit) as client,
        ):
            return client.protocol_version, await client.call_tool("everything__trigger-elicitation-request", {})

    version, said = asyncio.run(run())
    assert version == "2026-07-28" and len(asked) == 1 and "Ada" in "".join(block.text for block in said.content), said


def test_the_newer_sdk_for_typescript(gateway):
    script = pathlib.Path(__file__).with_name("newer.mjs")
    seen = json.loads(run(NODE, script, PACKAGES, f"{gateway.url}/mcp", gateway.secret))
    assert seen["version"] == "2026-07-28" and "from TypeScript" in seen["said"]


def test_the_sdk_for_typescript(gateway):
    script = pathlib.Path(__file__).with_name("typescript.mjs")
    seen = json.loads(run(NODE, script, PACKAGES, f"{gateway.url}/mcp", gateway.secret))
    assert {"list_models", "everything__echo"} <= set(seen["tools"])
    assert "from TypeScript" in seen["said"] and seen["prompts"] > 0
    assert all(uri.startswith("everything+") for uri in seen["resources"]) and seen["resources"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--method", "tools/list"], "everything__echo"),
        (["--method", "tools/call", "--tool-name", "everything__echo", "--tool-arg", "message=inspected"], "inspected"),
        (["--method", "resources/list"], "everything+"),
        (["--method", "prompts/list"], "everything__"),
    ],
)
def test_the_inspector(gateway, arguments, says):
    path = f"{NODE.parent}{os.pathsep}{os.environ['PATH']}"
    target = [f"{gateway.url}/mcp", "--transport", "http", "--header", f"Authorization: Bearer {gateway.secret}"]
    assert says in run(INSPECTOR, "--cli", *target, *arguments, env=os.environ | {"PATH": path})
