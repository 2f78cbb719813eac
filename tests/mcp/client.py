"""The client of the conformance suite's client scenarios: a gateway in front of the suite's server, and somebody who calls through it.

The suite starts it with the URL of its server as the last argument, and with what a scenario has to say in MCP_CONFORMANCE_CONTEXT.
"""

import asyncio
import contextlib
import json
import os
import pathlib
import sys
import tempfile

import httpx2
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError
from mcp.types import ElicitResult

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))

from gateway import Gateway  # noqa: E402


def sample(schema, name):
    """An argument that fits a schema."""
    if "default" in schema:
        return schema["default"]
    if "enum" in schema:
        return schema["enum"][0]
    samples = {"number": len(name), "integer": len(name), "boolean": True, "array": [], "object": {}}
    return samples.get(schema.get("type"), "text")


def arguments(tool, tools):
    if tool.name == "json_schema_echo":
        return {"schema": next(other.input_schema for other in tools if other.name != tool.name)}
    return {name: sample(schema, name) for name, schema in tool.input_schema.get("properties", {}).items()}


async def accept(_, asked):
    """Takes what an elicitation has as its defaults."""
    properties = asked.requested_schema.get("properties", {})
    return ElicitResult(action="accept", content={name: schema["default"] for name, schema in properties.items() if "default" in schema})


async def call_all(url, key):
    """Calls what the scenario names, or else every tool once."""
    headers = {"Authorization": f"Bearer {key}"}
    async with (
        httpx2.AsyncClient(headers=headers, timeout=25) as http,
        streamable_http_client(url, http_client=http) as streams,
        ClientSession(streams[0], streams[1], elicitation_callback=accept) as session,
    ):
        await session.initialize()
        tools = (await session.list_tools()).tools
        context = json.loads(os.environ.get("MCP_CONFORMANCE_CONTEXT") or "{}")
        calls = context.get("toolCalls") or [{"name": tool.name, "arguments": arguments(tool, tools)} for tool in tools]
        for call in calls:
            # Some scenarios have tools that are only to be listed.
            with contextlib.suppress(MCPError):
                await session.call_tool(call["name"], call.get("arguments", {}))


def main():
    with tempfile.TemporaryDirectory() as folder:
        gateway = Gateway(folder, config=f'[mcp.servers.suite]\nurl = "{sys.argv[-1]}"\n').start()
        try:
            asyncio.run(call_all(f"{gateway.url}/mcp/suite", gateway.new_key()["key"]))
        finally:
            gateway.stop()


main()
