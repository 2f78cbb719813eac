"""The official conformance suite against the fixture, directly and through the gateway: all of it has to pass through the gateway."""

import asyncio
import contextlib
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import threading

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))

from gateway import Gateway  # noqa: E402
from mcp_fixture import fixture  # noqa: E402

PACKAGES = pathlib.Path(os.environ["KEYWARD_MCP_NODE"])
# Which release of the suite knows a revision best: the older one is the newest that is stable.
RUNS = [
    ("0.1.16", "2025-06-18"),
    ("0.1.16", "2025-11-25"),
    ("0.2.0-alpha.12", "2025-06-18"),
    ("0.2.0-alpha.12", "2025-11-25"),
    ("0.2.0-alpha.12", "2026-07-28"),
]
# What the suite asks of clients, and a gateway is one of. Left out are those of authorization by a person in a browser, and one of a server
# that no revision describes: `http-standard-headers` has a handshake in a revision without one.
CLIENT_RELEASE = "0.2.0-alpha.12"
CLIENT_SCENARIOS = [
    "initialize",
    "tools_call",
    "elicitation-sep1034-client-defaults",
    "request-metadata",
    "sep-2322-client-request-state",
    "http-custom-headers",
    "http-invalid-tool-headers",
    "json-schema-ref-no-deref",
    "json-schema-2020-12-preservation",
    "sse-retry",
]
SCENARIO = re.compile(r"^\s*- (\S+) \[([^\]]*)\]$")


def conformance(release, *arguments):
    command = [PACKAGES / "node/bin/node", PACKAGES / f"conformance-{release}" / "dist/index.js", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=180)


def scenarios(release, revision):
    """The server scenarios of a revision, without those of extensions."""
    names = []
    for line in conformance(release, "list", "--server").stdout.splitlines():
        if (found := SCENARIO.match(line)) and revision in found[2].split(","):
            names.append(found[1])
    return names


def passes(release, revision, scenario, url):
    """Whether a scenario passes, and what the suite says."""
    done = conformance(release, "server", "--url", url, "--scenario", scenario, "--spec-version", revision)
    return done.returncode == 0, done.stdout + done.stderr


def passes_as_client(scenario):
    """Whether the gateway's own client, called by somebody's, does as a scenario wants it."""
    client = f"{sys.executable} {pathlib.Path(__file__).with_name('client.py')}"
    done = conformance(CLIENT_RELEASE, "client", "--command", client, "--scenario", scenario)
    return done.returncode == 0, done.stdout + done.stderr


async def carry(reader, writer, port, key):
    """Carries a connection's requests to a port byte by byte, each with a key in its head: the suite has no way to send one."""
    onward_reader, onward_writer = await asyncio.open_connection("127.0.0.1", port)

    async def answers():
        with contextlib.suppress(OSError):
            while piece := await onward_reader.read(65536):
                writer.write(piece)
                await writer.drain()
        writer.close()

    answering = asyncio.create_task(answers())
    with contextlib.suppress(OSError, asyncio.IncompleteReadError):
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            asked, _, rest = head.partition(b"\r\n")
            length = re.search(rb"(?i)\r\ncontent-length:\s*(\d+)", head)
            body = await reader.readexactly(int(length[1])) if length else b""
            onward_writer.write(asked + b"\r\nauthorization: Bearer " + key.encode() + b"\r\n" + rest + body)
            await onward_writer.drain()
    onward_writer.close()
    await answering


@contextlib.contextmanager
def with_key(port, key):
    """A port that carries requests to another under a key."""
    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(asyncio.start_server(lambda *streams: carry(*streams, port, key), "127.0.0.1", 0))
    threading.Thread(target=loop.run_forever, daemon=True).start()
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        loop.call_soon_threadsafe(loop.stop)


@contextlib.contextmanager
def gateway(config, **env):
    with tempfile.TemporaryDirectory() as folder:
        running = Gateway(folder, config=config, env=env).start()
        try:
            yield running
        finally:
            running.kill()


def main():
    wanted = sys.argv[1:]
    wrong, passed, failed = [], 0, 0
    config = '[mcp]\norigins = ["http://localhost:*", "http://127.0.0.1:*"]\n\n[mcp.servers.fixture]\nurl = "{}"\n'
    with contextlib.ExitStack() as stack, fixture() as served, gateway(config.format(served.url)) as running:
        key = running.new_key(name="conformance")["key"]
        port = stack.enter_context(with_key(running.port, key))
        through = f"http://127.0.0.1:{port}/mcp/fixture"
        for release, revision in RUNS:
            print(f"\n{release}, {revision}\n{'scenario':45} {'directly':10} through the gateway")
            for scenario in scenarios(release, revision):
                if wanted and scenario not in wanted:
                    continue
                (is_right, _), (is_right_through, said) = (passes(release, revision, scenario, url) for url in (served.url, through))
                print(f"{scenario:45} {'pass' if is_right else 'fail':10} {'pass' if is_right_through else 'fail'}", flush=True)
                passed, failed = passed + is_right_through, failed + (not is_right_through)
                if not is_right_through:
                    wrong.append(f"{release} {revision} {scenario} ({'right' if is_right else 'wrong, too,'} directly):\n{said[-3000:]}")
    print(f"\n{CLIENT_RELEASE}, as a client")
    for scenario in CLIENT_SCENARIOS:
        if wanted and scenario not in wanted:
            continue
        is_right, said = passes_as_client(scenario)
        print(f"{scenario:56} {'pass' if is_right else 'fail'}", flush=True)
        passed, failed = passed + is_right, failed + (not is_right)
        if not is_right:
            wrong.append(f"as a client, {scenario}:\n{said[-3000:]}")
    print(*wrong, sep="\n\n")
    print(f"\nthrough the gateway {passed} scenarios pass, {failed} do not")
    print(f"{int(not wrong)} passed, {int(bool(wrong))} failed")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
