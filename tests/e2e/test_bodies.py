"""Bodies that take their time, and such as take a lot of room."""

import contextlib
import http.client
import json
import socket

import pytest

import upstream as provider
from conftest import small_disk
from gateway import eventually
from test_chat import MESSAGES
from test_media import MP3, form

CHAT = {"model": "test/gpt-4o-mini", "messages": MESSAGES, "max_tokens": 9}
SPOKEN = form(("file", "a.mp3", MP3), ("model", None, b"test/whisper-1"))
# What each surface is sent, and where its key stands.
SENT = {
    "chat": ("/v1/chat/completions", CHAT, "authorization: Bearer "),
    "responses": ("/v1/responses", {"model": "test/gpt-4o-mini", "input": "Hi"}, "authorization: Bearer "),
    "embeddings": ("/v1/embeddings", {"model": "test/gpt-4o-mini", "input": "Hi"}, "authorization: Bearer "),
    "images": ("/v1/images/generations", {"model": "test/gpt-image-1", "prompt": "A lighthouse"}, "authorization: Bearer "),
    "sound": ("/v1/audio/transcriptions", SPOKEN, "authorization: Bearer "),
    "anthropic": ("/v1/messages", CHAT, "x-api-key: "),
    "gemini": ("/v1beta/models/test/gpt-4o-mini:generateContent", {"contents": [{"parts": [{"text": "Hi"}]}]}, "x-goog-api-key: "),
    "bedrock": ("/model/test%2Fgpt-4o-mini/converse", {"messages": [{"role": "user", "content": [{"text": "Hi"}]}]}, "authorization: Bearer "),
    "cohere": ("/v2/chat", CHAT, "authorization: Bearer "),
    "mcp": ("/mcp", {"jsonrpc": "2.0", "id": 1, "method": "ping"}, "accept: application/json, text/event-stream\r\nauthorization: Bearer "),
    "ollama": ("/api/chat", CHAT, "authorization: Bearer "),
    "batches": ("/v1/batches", {"input_file_id": "file-1", "endpoint": "/v1/chat/completions", "completion_window": "24h"}, "authorization: Bearer "),
}


class Slow:
    """A request whose body comes in two parts."""

    def __init__(self, gateway, path, body, key, so_far):
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
        kind = "multipart/form-data; boundary=wall" if body.startswith(b"--wall") else "application/json"
        head = f"POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n{key}\r\n\r\n"
        self.rest = body[so_far:]
        self.connection = socket.create_connection(("127.0.0.1", gateway.port), timeout=20)
        self.connection.sendall(head.encode() + body[:so_far])

    def answer(self, is_whole=True):
        """Its status and body, once all of it is sent, or before."""
        with self.connection:
            # Who was refused before may be gone.
            with contextlib.suppress(OSError):
                self.connection.sendall(self.rest if is_whole else b"")
            reply = http.client.HTTPResponse(self.connection)
            reply.begin()
            return reply.status, reply.read().decode()


@pytest.mark.parametrize("surface", SENT)
def test_a_key_that_is_revoked_while_its_body_comes_has_nothing_sent_on(start_gateway, upstream, surface):
    gateway = start_gateway()
    key = gateway.new_key()
    path, body, header = SENT[surface]
    slow = Slow(gateway, path, body, header + key["key"], 9)
    gateway.cli("keys", "revoke", key["id"])
    revoked = lambda: gateway.request("GET", "/v1/models", None, key["key"]).status == 401  # noqa: E731
    assert eventually(revoked)
    status, told = slow.answer()
    assert status == 401 and "was revoked" in told, (status, told)
    assert upstream.requests == []


@pytest.mark.parametrize("change", ["model", "project"])
def test_a_body_that_takes_its_time_is_judged_by_what_its_key_may_then(start_gateway, upstream, change):
    gateway = start_gateway()
    gateway.cli("teams", "create", "red")
    gateway.cli("projects", "create", "spent", "--team", "red", "--budget", "0/month")
    key = gateway.new_key()
    slow = Slow(gateway, "/v1/chat/completions", CHAT, f"authorization: Bearer {key['key']}", 9)
    changed = {"model": ["--models", "test/other"], "project": ["--project", "spent"]}[change]
    gateway.cli("keys", "update", key["id"], *changed)
    is_known = lambda: json.dumps(gateway.request("POST", "/v1/chat/completions", json.dumps(CHAT).encode(), key["key"]).status)  # noqa: E731
    assert eventually(lambda: is_known() in ("402", "403"))
    upstream.requests.clear()
    status, told = slow.answer()
    assert (status, json.loads(told)["error"]["code"]) == {"model": (403, "model_not_allowed"), "project": (402, "budget_exceeded")}[change]
    assert upstream.requests == []


@pytest.mark.parametrize("path", ["/admin/v1/keys", "/admin/v1/keys/explain", "/v1/chat/completions", "/mcp"])
def test_a_body_that_stops_coming_is_not_waited_for(start_gateway, path):
    gateway = start_gateway(env={"KEYWARD_LIMITS_BODY_TIMEOUT": "200ms"})
    key = gateway.new_key(kind="admin" if path.startswith("/admin") else "live")["key"]
    status, told = Slow(gateway, path, CHAT, f"authorization: Bearer {key}", 9).answer(is_whole=False)
    assert status == 408 and "body_timeout" in told and "stopped coming for 0.2 s" in told, (status, told)


def large(kind, mib):
    """A body of about so many MiB, the model of a form at its end."""
    if kind == "body":
        return "/v1/chat/completions", CHAT | {"messages": [{"role": "user", "content": "a" * int(mib * (1 << 20))}]}
    return "/v1/audio/transcriptions", form(("file", "a.mp3", bytes(int(mib * (1 << 20)))), ("model", None, b"test/whisper-1"))


@pytest.mark.parametrize("kind", ["body", "form"])
def test_no_key_takes_all_of_the_room_that_there_is(start_gateway, upstream, kind):
    one, all_of_them = ("BODY_MIB", "BODIES_MIB") if kind == "body" else ("UPLOAD_MIB", "UPLOADS_MIB")
    gateway = start_gateway(env={f"KEYWARD_LIMITS_{one}": "2", f"KEYWARD_LIMITS_{all_of_them}": "4"})
    upstream.serve_at("POST", "/audio/transcriptions", provider.answer_json({"text": "One"}))
    # Nothing of it is let in by its limits, which are asked when all is here.
    greedy, other = gateway.new_key(limit="requests/minute=1", parallel=1, budget="0/month"), gateway.new_key()
    bearer = lambda key: f"authorization: Bearer {key['key']}"  # noqa: E731
    path, body = large(kind, 1.9)
    kept = Slow(gateway, path, body, bearer(greedy), (1 << 20) * 18 // 10)
    gauge = f"keyward_{'bodies' if kind == 'body' else 'uploads'}_bytes "
    taken = lambda: [int(line.removeprefix(gauge)) for line in gateway.request("GET", "/metrics").body.decode().splitlines() if line.startswith(gauge)]  # noqa: E731
    assert eventually(lambda: taken()[0] > (1 << 20) * 17 // 10), taken()
    status, told = Slow(gateway, path, body, bearer(greedy), (1 << 20) * 18 // 10).answer(is_whole=False)
    assert (status, json.loads(told)["error"]["code"]) == (429, "too_much_at_once") and f"limits.{all_of_them.lower()}" in told, told
    assert Slow(gateway, *large(kind, 0.5), bearer(other), 9).answer()[0] == 200, "others have room"
    kept.connection.close()
    assert eventually(lambda: Slow(gateway, path, body, bearer(greedy), 9).answer()[0] in (402, 403)), "it is given back"
    assert len(upstream.requests) == 1


def test_an_upload_leaves_room_for_the_ledger_and_the_store(start_gateway, tmp_path):
    with small_disk(tmp_path, "64m") as disk:
        gateway = start_gateway(env={"KEYWARD_DATA": str(disk)})
        key = gateway.new_key()["key"]
        path, body = large("form", 100)
        status, told = Slow(gateway, path, body, f"authorization: Bearer {key}", 90 << 20).answer(is_whole=False)
        assert (status, json.loads(told)["error"]["code"]) == (507, "upload_not_taken"), told
        assert gateway.request("GET", "/readyz").status == 200
        assert gateway.request("POST", "/v1/chat/completions", json.dumps(CHAT).encode(), key).status == 200
        gateway.stop()
