"""Connections: towards providers over TLS, and towards callers who read nothing."""

import contextlib
import json
import os
import signal
import socket
import subprocess

import httpx
import pytest

import upstream as provider
from gateway import ROOT, eventually
from gateway import provider as provider_file
from test_chat import MESSAGES

H2 = ROOT / "tests" / "e2e" / "node" / "h2.mjs"


@contextlib.contextmanager
def over_tls(folder, both):
    """A provider's address, and the file of whoever signed its certificate."""
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE"]
    files = ["-keyout", folder / "key.pem", "-out", folder / "cert.pem"]
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *names, *files], check=True, capture_output=True)
    # A group of its own: the command may be one that starts another.
    with subprocess.Popen(["node", H2, folder, both], stdout=subprocess.PIPE, text=True, start_new_session=True) as server:
        try:
            yield f"https://localhost:{int(server.stdout.readline())}/v1", folder / "cert.pem"
        finally:
            os.killpg(server.pid, signal.SIGKILL)


@pytest.mark.parametrize(("both", "version"), [("both", "1.1"), ("", "2.0")], ids=["both", "http2-alone"])
def test_a_provider_that_speaks_http1_is_asked_by_that(start_gateway, tmp_path, both, version):
    with over_tls(tmp_path, both) as (url, signed_by):
        gateway = start_gateway(providers={"test": provider_file(url)}, env={"SSL_CERT_FILE": str(signed_by)})
        key = gateway.new_key()["key"]
        body = json.dumps({"model": "test/m", "messages": MESSAGES}).encode()
        for _ in range(3):
            reply = gateway.request("POST", "/v1/chat/completions", body, key)
            assert reply.status == 200, reply.body
            assert reply.json()["choices"][0]["message"]["content"] == version


@pytest.mark.parametrize("http2", [False, True], ids=["1.1", "2"])
def test_a_head_that_is_too_large_is_told_to_be(start_gateway, http2):
    gateway = start_gateway()
    good = {"authorization": f"Bearer {gateway.new_key()['key']}"}
    with httpx.Client(http1=not http2, http2=http2, base_url=f"http://127.0.0.1:{gateway.port}") as client:
        for path in ("/v1/models", "/v1/messages", "/readyz"):
            told = client.get(path, headers=good | {"x-api-key": "a" * 70_000})
            assert (told.status_code, told.json()["error"]["code"]) == (431, "head_too_large"), path
        assert client.get("/v1/models", headers=good | {"x-long": "a" * 60_000}).status_code == 200
        assert client.get("/v1/models", headers=good).status_code == 200, "and the next one is served"


@contextlib.contextmanager
def streaming(gateway, key):
    """A caller with little room, who has asked for a stream on a connection of their own and has read nothing yet."""
    body = json.dumps({"model": "test/gpt-4o-mini", "messages": MESSAGES, "stream": True})
    head = {"host": "x", "connection": "close", "authorization": f"Bearer {key}", "content-type": "application/json", "content-length": len(body)}
    with socket.socket() as caller:
        caller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        caller.connect(("127.0.0.1", gateway.port))
        lines = ["POST /v1/chat/completions HTTP/1.1", *(f"{name}: {value}" for name, value in head.items()), "", body]
        caller.sendall("\r\n".join(lines).encode())
        yield caller


def test_a_caller_who_reads_nothing_is_cut_off(start_gateway, upstream):
    gateway = start_gateway(env={"KEYWARD_LIMITS_SEND_TIMEOUT": "300ms"})
    key = gateway.new_key(parallel=1)
    upstream.serve("gpt-4o-mini", provider.chat_stream("word " * 200_000))
    with streaming(gateway, key["key"]):
        assert gateway.usage("key", key["id"], 1)
    upstream.serve("gpt-4o-mini", provider.chat("Hello"))
    asked = json.dumps({"model": "test/gpt-4o-mini", "messages": MESSAGES}).encode()
    assert eventually(lambda: gateway.request("POST", "/v1/chat/completions", asked, key["key"]).status == 200), "its place is free again"


def test_a_caller_with_a_small_window_gets_all_of_it(start_gateway, upstream):
    gateway = start_gateway(env={"KEYWARD_LIMITS_SEND_TIMEOUT": "1s"})
    key = gateway.new_key()
    upstream.serve("gpt-4o-mini", provider.chat_stream("word " * 20_000))
    with streaming(gateway, key["key"]) as caller:
        read = b"".join(iter(lambda: caller.recv(65536), b""))
    assert b"data: [DONE]" in read
    assert gateway.usage("key", key["id"], 1)["failed"] == 0
