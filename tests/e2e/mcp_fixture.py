"""The MCP server that tests put behind the gateway, and sessions of the official SDK."""

import asyncio
import contextlib
import os
import socket
import subprocess

import httpx2
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client

from gateway import ROOT, TARGET, eventually, free_port

FIXTURE = ROOT / TARGET / "debug" / "examples" / "mcp-fixture"


def is_open(port):
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


class Fixture:
    """Serves Streamable HTTP; it can be ended and started again, saying other things of its tools."""

    def __init__(self):
        self.port = free_port()
        self.process = None

    def start(self, says="For testing"):
        self.process = subprocess.Popen([FIXTURE, f"127.0.0.1:{self.port}"], env=os.environ | {"FIXTURE_SAYS": says})
        assert eventually(lambda: is_open(self.port), seconds=20)
        return self

    def stop(self):
        self.process.kill()
        self.process.wait()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}/mcp"


@contextlib.contextmanager
def fixture():
    running = Fixture().start()
    try:
        yield running
    finally:
        running.stop()


def session(gateway, key, use, path="/mcp", **options):
    """What `use` makes of a session, after how it began."""

    async def run():
        async with (
            httpx2.AsyncClient(headers={"Authorization": f"Bearer {key}"}, timeout=30) as http,
            streamable_http_client(f"{gateway.url}{path}", http_client=http) as streams,
            ClientSession(streams[0], streams[1], **options) as opened,
        ):
            started = await opened.initialize()
            return started, await use(opened)

    return asyncio.run(run())


def tool_names(gateway, key, path="/mcp"):
    async def use(opened):
        return [tool.name for tool in (await opened.list_tools()).tools]

    return session(gateway, key, use, path)[1]


def call(gateway, key, name, path="/mcp", **arguments):
    async def use(opened):
        return await opened.call_tool(name, arguments)

    return session(gateway, key, use, path)[1]
