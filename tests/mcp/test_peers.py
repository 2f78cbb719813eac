"""The reference server with everything stands behind the gateway; the official TypeScript SDK and the inspector call through it."""

import json
import os
import pathlib
import subprocess

import pytest

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
