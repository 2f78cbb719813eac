"""Realtime sessions by the official SDK, against a provider that plays OpenAI's events."""

import contextlib
import json
import signal
import socket
import threading

import pytest
import websockets.exceptions
import websockets.sync.client
from websockets.sync.server import serve

from conftest import CREDENTIAL
from gateway import eventually, free_port
from gateway import provider as provider_file

MODEL = "gpt-realtime"
USAGE = {
    "total_tokens": 253,
    "input_tokens": 132,
    "output_tokens": 121,
    "input_token_details": {"text_tokens": 119, "audio_tokens": 13, "cached_tokens": 64, "cached_tokens_details": {"text_tokens": 64}},
    "output_token_details": {"text_tokens": 30, "audio_tokens": 91},
}


class Provider:
    """Greets, repeats each event that it gets, and plays a response where one is asked for."""

    def __init__(self):
        self.heads, self.received, self.sent, self.closed = [], [], [], []
        self.refusal = None
        self.server = serve(self.session, "127.0.0.1", 0, process_request=self.handshake, max_size=None)
        self.url = f"http://127.0.0.1:{self.server.socket.getsockname()[1]}/v1"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def handshake(self, connection, request):
        self.heads.append(request)
        if self.refusal:
            return connection.respond(*self.refusal)

    def say(self, connection, event):
        self.sent.append(event)
        connection.send(json.dumps(event))

    def session(self, connection):
        self.say(connection, {"type": "session.created", "event_id": "event_0", "session": {"type": "realtime", "model": MODEL}})
        try:
            for text in connection:
                if isinstance(text, bytes):
                    connection.send(text)
                    continue
                event = json.loads(text)
                self.received.append(event)
                match event["type"]:
                    case "response.create":
                        self.respond(connection)
                    case "test.vanish":
                        connection.socket.shutdown(socket.SHUT_RDWR)
                    case "test.close":
                        connection.close(4001, "that is all")
        except websockets.exceptions.ConnectionClosed:
            pass
        self.closed.append((connection.close_code, connection.close_reason))

    def respond(self, connection):
        response = {"id": "resp_1", "object": "realtime.response", "status": "in_progress", "output": []}
        delta = {"event_id": "event_2", "response_id": "resp_1", "item_id": "item_1", "output_index": 0, "content_index": 0}
        self.say(connection, {"type": "response.created", "event_id": "event_1", "response": response})
        self.say(connection, {"type": "response.output_text.delta", "delta": 'Said "response.done" in öne.', **delta})
        self.say(connection, {"type": "response.output_audio.delta", "delta": "UklGRg==" * 1000, **delta})
        done = {**response, "status": "completed", "usage": USAGE}
        self.say(connection, {"type": "response.done", "event_id": "event_3", "response": done})


@pytest.fixture
def played():
    provider = Provider()
    yield provider
    provider.server.shutdown()


@pytest.fixture
def running(start_gateway, played):
    return start_gateway(providers={"test": provider_file(played.url, models=f'"{MODEL}" = {{}}')})


def connect(running, key, model=f"test/{MODEL}", **options):
    return running.client(key).realtime.connect(model=model, **options)


def settled(running, key, **expected):
    """Holds the ledger's row of a key to its one session, and the log to one line of it: a row is there from the opening on."""

    def row():
        return running.usage("key", key["id"], 1)

    def matches(row):
        return {name: row[name] for name in expected} == expected

    assert eventually(lambda: running.log().count('"operation":"realtime"') == 1)
    assert eventually(lambda: matches(row())), row()
    assert row()["requests"] == 1
    assert running.log().count('"operation":"realtime"') == 1


def respond(session):
    """Asks for a response, and gives its events."""
    session.response.create()
    events = []
    while not events or events[-1].type != "response.done":
        events.append(session.recv())
    return events


def test_events_are_the_same_both_ways_and_usage_is_summed(running, played):
    key = running.new_key()
    with connect(running, key["key"], extra_headers={"openai-beta": "realtime=v1"}) as session:
        events = [session.recv()]
        session.session.update(session={"type": "realtime", "model": "gpt-realtime-mini", "instructions": "Be brief."})
        events += respond(session) + respond(session)
    assert [event.to_dict() for event in events] == played.sent
    assert [event["type"] for event in played.received] == ["session.update", "response.create", "response.create"]
    assert played.received[0]["session"]["model"] == "gpt-realtime-mini", "inside a session the names are the provider's"
    head = played.heads[0]
    assert head.path == f"/v1/realtime?model={MODEL}"
    assert head.headers["authorization"] == f"Bearer {CREDENTIAL}"
    assert head.headers["openai-beta"] == "realtime=v1"
    assert key["key"] not in str(head.headers)
    settled(running, key, input_tokens=264, output_tokens=242)
    assert eventually(lambda: played.closed == [(1000, "")])


def raw(running, model=f"test/{MODEL}", **options):
    return websockets.sync.client.connect(f"ws://127.0.0.1:{running.port}/v1/realtime?model={model}", compression=None, **options)


def test_browser_sends_its_key_as_a_subprotocol(running, played):
    key = running.new_key()
    protocols = ["realtime", f"openai-insecure-api-key.{key['key']}", "openai-beta.realtime-v1"]
    with raw(running, subprotocols=protocols) as session:
        assert session.subprotocol == "realtime"
        assert key["key"] not in str(session.response.headers)
        assert json.loads(session.recv())["type"] == "session.created"
        session.send(b"\x00\xff")
        assert session.recv() == b"\x00\xff"
        assert session.ping().wait(5)
    assert played.heads[0].headers["openai-beta"] == "realtime=v1"
    assert key["key"] not in str(played.heads[0].headers)


def test_close_of_the_provider_is_passed_on(running, played):
    key = running.new_key()
    with raw(running, additional_headers={"authorization": f"Bearer {key['key']}"}) as session:
        session.recv()
        session.send(json.dumps({"type": "test.close"}))
        with pytest.raises(websockets.exceptions.ConnectionClosed) as caught:
            session.recv(timeout=5)
    assert (caught.value.rcvd.code, caught.value.rcvd.reason) == (4001, "that is all")
    settled(running, key, input_tokens=0)


def refused(running, key, **options):
    """The status and the code of a session that is not opened."""
    with pytest.raises(websockets.exceptions.InvalidStatus) as caught:
        with connect(running, key, **options):
            pass
    answer = caught.value.response
    return answer.status_code, json.loads(answer.body)["error"]["code"]


def test_refusals_come_before_the_upgrade(running, played):
    key = running.new_key(models="test/gpt-realtime")["key"]
    assert refused(running, "sk-proj-" + "a" * 48) == (401, "key_of_another_service")
    assert refused(running, key, model="test/other") == (403, "model_not_allowed")
    assert refused(running, running.new_key()["key"], model="none-such") == (404, "model_not_found")
    assert refused(running, running.new_key()["key"], model="simulator/echo") == (501, "operation_not_served")
    assert running.request("GET", f"/v1/realtime?model={MODEL}", key=key).status == 426
    assert running.request("POST", f"/v1/realtime?model={MODEL}", key=key).status == 405
    assert played.heads == []


def test_provider_that_refuses_or_is_down(start_gateway, running, played):
    key = running.new_key()["key"]
    played.refusal = (404, json.dumps({"error": {"message": "No such model.", "code": "model_gone", "type": "x"}}))
    assert refused(running, key) == (404, "model_gone")
    played.refusal = (401, "who are you")
    assert refused(running, key) == (502, "provider_credential_refused")
    assert refused(running, key) == (502, "provider_credential_refused")
    assert len(played.heads) == 2, "a refused credential rests"
    down = start_gateway(providers={"test": provider_file(f"http://127.0.0.1:{free_port()}/v1", models=f'"{MODEL}" = {{}}')})
    assert refused(down, down.new_key()["key"]) == (502, "provider_unreachable")


def closed_with(session):
    """The last event before the close, and the close."""
    events = []
    with pytest.raises(websockets.exceptions.ConnectionClosed) as caught:
        while True:
            events.append(session.recv())
    return events[-1] if events else None, caught.value.rcvd


def test_revoked_key_ends_its_session(running, played):
    key = running.new_key()
    with connect(running, key["key"]) as session:
        session.recv()
        respond(session)
        running.cli("keys", "revoke", key["id"])
        event, close = closed_with(session)
    assert (event.type, event.error.code) == ("error", "key_revoked")
    assert (close.code, close.reason) == (1008, "key_revoked")
    settled(running, key, input_tokens=132, output_tokens=121)


def test_key_without_tokens_ends_its_session(running, played):
    key = running.new_key(tpm=300)
    with connect(running, key["key"]) as session:
        session.recv()
        respond(session)
        respond(session)
        event, close = closed_with(session)
    assert (event.type, event.error.code) == ("error", "rate_limit_exceeded")
    assert (close.code, close.reason) == (1008, "rate_limit_exceeded")
    assert refused(running, key["key"]) == (429, "rate_limit_exceeded")


def test_session_is_one_of_the_parallel_requests(running, played):
    key = running.new_key(parallel=1)["key"]
    with connect(running, key) as session:
        session.recv()
        assert refused(running, key) == (429, "parallel_limit_exceeded")

    def is_free():
        with contextlib.suppress(websockets.exceptions.InvalidStatus), connect(running, key):
            return True

    assert eventually(is_free)


@pytest.mark.parametrize("side", ["caller", "provider"])
def test_abrupt_end_settles_once(running, played, side):
    key = running.new_key()
    with raw(running, additional_headers={"authorization": f"Bearer {key['key']}"}) as session:
        session.recv()
        session.send(json.dumps({"type": "response.create"}))
        while json.loads(session.recv())["type"] != "response.done":
            pass
        if side == "caller":
            session.socket.shutdown(socket.SHUT_RDWR)
        else:
            session.send(json.dumps({"type": "test.vanish"}))
            assert json.loads(session.recv(timeout=5))["error"]["code"] == "provider_broke_off"
            with pytest.raises(websockets.exceptions.ConnectionClosed):
                session.recv(timeout=5)
            assert session.close_code == 1011
    settled(running, key, input_tokens=132, output_tokens=121)


def test_stopping_gateway_closes_its_sessions(running, played):
    key = running.new_key()
    with raw(running, additional_headers={"authorization": f"Bearer {key['key']}"}) as session:
        session.recv()
        running.process.send_signal(signal.SIGTERM)
        with pytest.raises(websockets.exceptions.ConnectionClosed):
            session.recv(timeout=5)
        assert session.close_code == 1001
    running.stop()
    assert '"outcome":"answered"' in running.log().lower()


def test_message_over_the_limit_ends_the_session(running, played):
    key = running.new_key()
    with raw(running, additional_headers={"authorization": f"Bearer {key['key']}"}, max_size=None) as session:
        session.recv()
        session.send(b"a" * (15 << 20))
        assert len(session.recv(timeout=20)) == 15 << 20
        with contextlib.suppress(websockets.exceptions.ConnectionClosed):
            session.send(b"a" * ((16 << 20) + 1))
        with pytest.raises(websockets.exceptions.ConnectionClosed):
            while True:
                session.recv(timeout=20)
