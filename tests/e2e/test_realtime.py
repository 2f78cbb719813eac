"""Realtime sessions by the official SDK, against a provider that plays OpenAI's events."""

import concurrent.futures
import contextlib
import json
import shutil
import signal
import socket
import subprocess
import threading
import time

import pytest
import websockets.exceptions
import websockets.sync.client
from websockets.sync.server import serve

from conftest import CREDENTIAL
from gateway import BINARY, eventually, free_port
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
        self.refusal, self.refused_credential = None, None
        self.release, self.usage = threading.Event(), USAGE
        self.meanwhile = lambda: None
        self.transcript = None
        self.server = serve(self.session, "127.0.0.1", 0, process_request=self.handshake, max_size=None)
        self.url = f"http://127.0.0.1:{self.server.socket.getsockname()[1]}/v1"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def handshake(self, connection, request):
        self.heads.append(request)
        self.meanwhile()
        if self.refusal:
            return connection.respond(*self.refusal)
        if request.headers["authorization"] == self.refused_credential:
            return connection.respond(403, json.dumps({"error": {"message": "Invalid API key provided", "code": "invalid_api_key"}}))

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
                    case "response.create" if event.get("response", {}).get("metadata") == {"test": "held"}:
                        self.begin(connection)
                        self.release.wait(10)
                    case "response.create" if event.get("response", {}).get("metadata") == {"test": "long"}:
                        response = self.begin(connection)
                        self.release.wait(30)
                        self.end(connection, response)
                    case "response.create" if event.get("response", {}).get("metadata") == {"test": "refused"}:
                        self.say(connection, {"type": "error", "event_id": "event_9", "error": {"code": "no", "event_id": event["event_id"]}})
                    case "response.create":
                        self.respond(connection)
                    case "input_audio_buffer.append" if event["audio"] == "c2lsZW5jZQ==":
                        self.respond(connection)
                    case "input_audio_buffer.append" if event["audio"] == "dHdpY2U=":
                        first, second = self.begin(connection), self.begin(connection)
                        self.end(connection, first)
                        self.end(connection, second)
                    case "session.update":
                        self.say(connection, {"type": "session.updated", "event_id": "event_5", "session": event["session"]})
                    case "input_audio_buffer.commit":
                        self.say(connection, {"type": "input_audio_buffer.committed", "event_id": "event_6", "item_id": "item_2"})
                        if self.transcript:
                            self.say(connection, {"event_id": "event_7", "item_id": "item_2", "content_index": 0, **self.transcript})
                    case "test.nonsense":
                        self.say(connection, {"type": "error", "event_id": "event_8", "error": {"code": "no", "event_id": event.get("event_id")}})
                    case "test.vanish":
                        connection.socket.shutdown(socket.SHUT_RDWR)
                    case "test.close":
                        connection.close(4001, "that is all")
        except websockets.exceptions.ConnectionClosed:
            pass
        self.closed.append((connection.close_code, connection.close_reason))

    def begin(self, connection):
        response = {"id": "resp_1", "object": "realtime.response", "status": "in_progress", "output": []}
        self.say(connection, {"type": "response.created", "event_id": "event_1", "response": response})
        return response

    def respond(self, connection):
        response = self.begin(connection)
        delta = {"event_id": "event_2", "response_id": "resp_1", "item_id": "item_1", "output_index": 0, "content_index": 0}
        self.say(connection, {"type": "response.output_text.delta", "delta": 'Said "response.done" in öne.', **delta})
        self.say(connection, {"type": "response.output_audio.delta", "delta": "UklGRg==" * 1000, **delta})
        self.end(connection, response)

    def end(self, connection, response):
        done = {**response, "status": "completed", "usage": self.usage}
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


def settled(running, key, responses=0, **expected):
    """Holds the ledger's sums of a key to its one session with so many responses, and the log to one line of each."""
    requests = 1 + responses

    def row():
        return running.usage("key", key["id"], requests)

    def matches(row):
        return {name: row[name] for name in expected} == expected

    assert eventually(lambda: running.log().count('"operation":"realtime"') == requests)
    assert eventually(lambda: matches(row())), row()
    assert row()["requests"] == requests
    assert running.log().count('"operation":"realtime"') == requests


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
    settled(running, key, responses=2, input_tokens=264, output_tokens=242)
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


def test_credential_that_the_provider_repeats_is_hidden(start_gateway, played):
    running = start_gateway(providers={"test": provider_file(played.url, models=f'"{MODEL}" = {{}}')}, env={"TEST_PROVIDER_KEY": "sk-repeated/by+realtime="})
    with connect(running, running.new_key()["key"]) as session:
        session.recv()
        session.send({"type": "session.update", "session": {"type": "realtime", "instructions": "you sent sk-repeated/by+realtime= here"}})
        told = session.recv()
        assert told.type == "session.updated" and told.session.instructions == "you sent … here"


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
    assert refused(running, running.new_key()["key"], model="prompt/hello") == (400, "prompt_is_for_chat")
    assert refused(running, running.new_key()["key"], model=f"test/sk-proj-{'Ab1' * 20}") == (400, "key_in_model")
    assert refused(running, running.new_key()["key"], extra_query={"Model": "dear"}) == (400, "invalid_value")
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
    settled(running, key, responses=1, input_tokens=132, output_tokens=121)


def test_response_that_a_key_has_no_tokens_for_is_refused(running, played):
    key = running.new_key(tpm=300)
    with connect(running, key["key"]) as session:
        session.recv()
        respond(session)
        respond(session)
        session.response.create(event_id="mine")
        event = session.recv()
        assert (event.type, event.error.code, event.error.event_id) == ("error", "rate_limit_exceeded", "mine")
        session.input_audio_buffer.append(audio="AAAA")
        event, close = closed_with(session)
    assert (event.type, event.error.code) == ("error", "rate_limit_exceeded")
    assert (close.code, close.reason) == (1008, "rate_limit_exceeded")
    assert [event["type"] for event in played.received].count("response.create") == 2, "what is refused is not sent on"
    assert "input_audio_buffer.append" not in [event["type"] for event in played.received]
    assert refused(running, key["key"]) == (429, "rate_limit_exceeded")


def test_session_goes_on_over_the_turn_of_a_day_whose_limit_it_had_reached(running, played):
    """What was held before midnight belongs to the day before, though it ends after."""
    faketime = shutil.which("faketime")
    if not faketime:
        pytest.skip("faketime is not installed")
    key = running.new_key(limit="output-tokens/day=300")
    running.stop()
    library = subprocess.run([faketime, "-f", "+1d", "printenv", "LD_PRELOAD"], capture_output=True, text=True).stdout.strip()
    to_midnight = 24 * 3600 - time.time() % (24 * 3600)
    running.env |= {"LD_PRELOAD": library, "FAKETIME": f"+{to_midnight - 12:.0f}s"}
    midnight = time.time() + 12.5
    running.start()
    with connect(running, key["key"]) as session:
        session.recv()
        most = {"max_output_tokens": 121}
        create(session, response=most)
        assert until_quiet(session, 1) == (1, [])
        create(session, response=most | {"metadata": {"test": "long"}})
        assert session.recv().type == "response.created"
        create(session, event_id="too-much", response=most)
        event = session.recv()
        assert (event.type, event.error.code, event.error.event_id) == ("error", "rate_limit_exceeded", "too-much")
        assert time.time() < midnight, "it took too long to tell anything"
        time.sleep(midnight + 1 - time.time())
        played.release.set()
        while session.recv().type != "response.done":
            pass
        told = []
        for _ in range(3):
            create(session, response=most)
            told.append(until_quiet(session, 1))
        assert told == [(1, []), (1, []), (0, ["rate_limit_exceeded"])]


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
    settled(running, key, responses=1, input_tokens=132, output_tokens=121)


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


# Money. A token costs a tenth of a cent: a response reserves 1.5 USD, for all that it may read and say, and uses 1.2.

DEAR = f'"{MODEL}" = {{ context = 1000, max_output = 500, price = {{ input = 1000, output = 1000 }} }}'
DEAR_USAGE = {"total_tokens": 1200, "input_tokens": 1000, "output_tokens": 200}


@pytest.fixture
def dear(start_gateway, played):
    played.usage = DEAR_USAGE
    return start_gateway(providers={"test": provider_file(played.url, models=DEAR)})


def spent(gateway, key):
    """What a key has spent and still holds, in USD."""
    boss = gateway.new_key(kind="admin", role="owner")["key"]
    [budget] = gateway.request("GET", f"/admin/v1/budgets/{key['id']}", None, boss).json()["budgets"]
    return budget["used_nano_usd"] / 1e9, (budget["reserved_nano_usd"] or 0) / 1e9


def create(session, test=None, **event):
    session.send({"type": "response.create", **event, **({"response": {"metadata": {"test": test}}} if test else {})})


def until_quiet(session, ends):
    """Events until so many responses have ended or been refused: how many of each."""
    done, told = 0, []
    while done + len(told) < ends:
        event = session.recv()
        done += event.type == "response.done"
        if event.type == "error":
            told.append(event.error.code)
    return done, told


def test_responses_that_are_asked_for_at_once_stay_within_the_budget(dear, played):
    key = dear.new_key(budget="5/day")
    with connect(dear, key["key"]) as session:
        session.recv()
        for _ in range(30):
            create(session)
        done, told = until_quiet(session, 30)
    asked = [event["type"] for event in played.received].count("response.create")
    assert done == asked and 1 <= done <= 4, (done, told)
    assert set(told) <= {"budget_exceeded", "budget_reserved"}
    assert eventually(lambda: spent(dear, key) == (pytest.approx(1.2 * done), 0))


def test_sessions_at_once_stay_within_the_budget(dear, played):
    key = dear.new_key(budget="5/day")
    with contextlib.ExitStack() as open_sessions:
        sessions = [open_sessions.enter_context(connect(dear, key["key"])) for _ in range(5)]
        assert spent(dear, key) == (0, 0), "a session that is silent holds nothing"

        def converse(session):
            session.recv()
            for _ in range(5):
                create(session)
            return until_quiet(session, 5)

        with concurrent.futures.ThreadPoolExecutor(5) as pool:
            outcomes = list(pool.map(converse, sessions))
    done = sum(done for done, _ in outcomes)
    assert 1 <= done <= 4, outcomes
    assert eventually(lambda: spent(dear, key) == (pytest.approx(1.2 * done), 0))


def test_last_of_a_budget_is_not_said_to_be_held_by_others(dear, played):
    key = dear.new_key(budget="2/day")
    with connect(dear, key["key"]) as session:
        session.recv()
        respond(session)
        create(session, event_id="mine", test="x" * 1000)
        event = session.recv()
        assert (event.error.code, event.error.event_id) == ("budget_exceeded", "mine")
        assert "0.800000 left" in event.error.message


@pytest.mark.parametrize("end", ["close", "cut"])
def test_hanging_up_before_the_end_is_charged_what_was_reserved(dear, played, end):
    key = dear.new_key(budget="5/day")
    session = raw(dear, additional_headers={"authorization": f"Bearer {key['key']}"})
    session.recv()
    session.send(json.dumps({"type": "response.create", "response": {"metadata": {"test": "held"}}}))
    assert json.loads(session.recv())["type"] == "response.created"
    used, held = spent(dear, key)
    assert (used, held) == (0, 1.5)
    session.close() if end == "close" else session.socket.shutdown(socket.SHUT_RDWR)
    assert eventually(lambda: spent(dear, key) == (held, 0)), spent(dear, key)
    played.release.set()


def test_refused_request_for_a_response_gives_back_what_it_held(dear, played):
    key = dear.new_key(budget="5/day")
    with connect(dear, key["key"]) as session:
        session.recv()
        create(session, event_id="mine", test="refused")
        assert session.recv().error.code == "no"
        assert spent(dear, key) == (0, 0)
        create(session, test="refused", event_id="other")
        assert session.recv().error.code == "no"
    assert eventually(lambda: spent(dear, key) == (0, 0))


def test_an_error_about_another_event_gives_back_nothing(dear, played):
    """Whatever it is called: a response that was asked for is made all the same, and costs."""
    key = dear.new_key(budget="5/day")
    with connect(dear, key["key"]) as session:
        session.recv()
        create(session, event_id="mine", test="held")
        assert session.recv().type == "response.created"
        create(session, event_id="mine")
        create(session)
        for name in ("mine", None, "event_gateway_0000000000000001"):
            session.send({"type": "test.nonsense"} | ({"event_id": name} if name else {}))
        assert eventually(lambda: spent(dear, key)[1] == 4.5), spent(dear, key)
        played.release.set()
        told = []
        while len(told) < 3:
            event = session.recv()
            told += [event.error.event_id] if event.type == "error" else []
        assert told == ["mine", None, "event_gateway_0000000000000001"], "in its caller's words"
        own = [event["event_id"] for event in played.received if event["type"] == "response.create"]
        assert len(set(own)) == 3 and all(name.startswith("event_gateway_") for name in own)
    # Three were made.
    assert eventually(lambda: gateway_requests(dear, key) == 4), gateway_requests(dear, key)


def gateway_requests(gateway, key):
    """Of a key: its sessions and their responses."""
    return sum(row["requests"] for row in gateway.cli("usage", "--by", "key", "--key", key["id"]))


def test_transcripts_are_written_by_models_that_the_key_may_use(start_gateway, played):
    gateway = start_gateway(providers={"test": provider_file(played.url, models=f"{DEAR}\n{WRITES}")})
    for models, is_let_in in ((f"test/{MODEL},test/scribe", True), (f"test/{MODEL}", False)):
        key = gateway.admin("POST", "/keys", {"models": models.split(",")})
        with connect(gateway, key["key"]) as session:
            if is_let_in:
                hear(session)
                continue
            with pytest.raises(websockets.exceptions.ConnectionClosed) as closed:
                hear(session)
        assert closed.value.rcvd.reason == "model_not_allowed"
    assert gateway.usage("model", "test/scribe", 1)["requests"] == 1
    assert len([event for event in played.received if event["type"] == "input_audio_buffer.append"]) == 1


def test_what_sound_brings_about_is_reserved_before(dear, played):
    key = dear.new_key(budget="3/day")
    with connect(dear, key["key"]) as session:
        session.recv()
        session.input_audio_buffer.append(audio="AAAA")
        assert eventually(lambda: spent(dear, key)[1] == pytest.approx(1.5)), "all that it may read, and say"
        session.input_audio_buffer.append(audio="c2lsZW5jZQ==")
        assert until_quiet(session, 1) == (1, [])
        assert eventually(lambda: spent(dear, key) == (pytest.approx(1.2), 0))
        session.input_audio_buffer.append(audio="AAAA")
    assert eventually(lambda: spent(dear, key) == (pytest.approx(1.2), 0)), "nothing came of the last"


def test_second_response_to_one_sound_is_charged_though_there_is_no_room(dear, played):
    key = dear.new_key(budget="2/day")
    with connect(dear, key["key"]) as session, pytest.raises(websockets.exceptions.ConnectionClosed) as closed:
        session.recv()
        session.input_audio_buffer.append(audio="dHdpY2U=")
        for _ in range(9):
            session.recv()
    assert closed.value.rcvd.code == 1008
    assert eventually(lambda: spent(dear, key) == (pytest.approx(2.4), 0)), "as many as the provider gave"
    assert dear.usage("key", key["id"], 3)["requests"] == 3, "the session, and both responses"


def test_limit_of_two_names_is_the_larger(dear, played):
    key = dear.new_key(budget="2.3/day")
    with connect(dear, key["key"]) as session:
        session.recv()
        respond(session)
        session.send({"type": "response.create", "response": {"max_output_tokens": "inf", "max_response_output_tokens": 1}})
        assert session.recv().error.code == "budget_exceeded"
        assert eventually(lambda: spent(dear, key) == (1.2, 0))
        session.send({"type": "response.create", "response": {"max_output_tokens": 2, "max_response_output_tokens": 1}})
        assert session.recv().type == "response.created"


def test_key_that_moves_takes_its_session_with_it(dear, played):
    for name, budget in (("rich", "100000/day"), ("poor", "0.01/day")):
        dear.cli("projects", "create", name, "--budget", budget)
    key = dear.new_key(project="rich")
    with connect(dear, key["key"]) as session:
        session.recv()
        respond(session)
        dear.cli("keys", "update", key["id"], "--project", "poor")

        def is_refused():
            create(session)
            return until_quiet(session, 1)[1]

        assert eventually(is_refused, seconds=3) == ["budget_exceeded"]


def test_nothing_new_begins_while_nobody_can_tell_whether_the_key_holds(start_gateway, played):
    gateway = start_gateway(providers={"test": provider_file(played.url, models=DEAR)}, env={"KEYWARD_STORE_DOWN_FOR": "1s"})
    key = gateway.new_key()
    store = gateway.folder / "data" / "keyward.db"
    with connect(gateway, key["key"]) as session:
        session.recv()
        respond(session)
        store.rename(store.with_suffix(".away"))

        def refused():
            create(session)
            return until_quiet(session, 1)[1]

        assert eventually(refused, seconds=8) == ["key_store_unavailable"]
        store.with_suffix(".away").rename(store)
        assert eventually(lambda: not refused(), seconds=8), "the session goes on"


WRITES = '"scribe" = { context = 500, max_output = 100, price = { input = 1000, output = 2000 } }'
TRANSCRIPT = "conversation.item.input_audio_transcription."


def hear(session, model="scribe"):
    """Has what is heard written out, and says something."""
    transcription = {"model": model} if model else None
    session.session.update(session={"type": "realtime", "audio": {"input": {"transcription": transcription}}})
    while session.recv().type != "session.updated":
        pass
    session.input_audio_buffer.append(audio="AAAA")
    session.input_audio_buffer.commit()
    while session.recv().type != "input_audio_buffer.committed":
        pass


@pytest.mark.parametrize("told", ["tokens", "duration", "failed", "nothing"])
def test_transcripts_of_what_is_heard_are_requests_of_their_own(start_gateway, played, told):
    gateway = start_gateway(providers={"test": provider_file(played.url, models=f"{DEAR}\n{WRITES}")})
    # All that it reads, and the most that it writes.
    most = 0.5 + 0.2
    usage = {"type": "tokens", "total_tokens": 300, "input_tokens": 200, "output_tokens": 100, "input_token_details": {"audio_tokens": 200}}
    played.transcript, cost = {
        "tokens": ({"type": f"{TRANSCRIPT}completed", "transcript": "Hello", "usage": usage}, 0.4),
        "duration": ({"type": f"{TRANSCRIPT}completed", "transcript": "Hello", "usage": {"type": "duration", "seconds": 1.5}}, most),
        "failed": ({"type": f"{TRANSCRIPT}failed", "error": {"type": "x", "code": "audio_unintelligible", "message": "?"}}, 0),
        "nothing": (None, most),
    }[told]
    key = gateway.new_key(budget="5/day")
    with connect(gateway, key["key"]) as session:
        hear(session)
        if played.transcript:
            assert session.recv().type == played.transcript["type"]
            # The response that sound may bring about is held for until the session ends.
            assert eventually(lambda: spent(gateway, key) == (pytest.approx(cost), 1.5)), spent(gateway, key)
    assert eventually(lambda: spent(gateway, key) == (pytest.approx(cost), 0)), spent(gateway, key)
    row = gateway.usage("model", "test/scribe", 1)
    assert (row["requests"], row["input_tokens"]) == (1, 200 if told == "tokens" else 0)


def test_transcripts_stay_within_the_budget(start_gateway, played):
    gateway = start_gateway(providers={"test": provider_file(played.url, models=f"{DEAR}\n{WRITES}")})
    usage = {"type": "tokens", "total_tokens": 600, "input_tokens": 500, "output_tokens": 100}
    played.transcript = {"type": f"{TRANSCRIPT}completed", "transcript": "Hello", "usage": usage}
    key = gateway.new_key(budget="4/day")
    with connect(gateway, key["key"]) as session, pytest.raises(websockets.exceptions.ConnectionClosed) as closed:
        for _ in range(10):
            hear(session)
    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1008, "budget_reserved"), "for the response that sound may bring about"
    assert eventually(lambda: spent(gateway, key) == (pytest.approx(2.1), 0)), spent(gateway, key)
    assert gateway.usage("model", "test/scribe", 3)["requests"] == 3
    # One whose price nobody knows is not asked for under a budget; without transcripts there is nothing to hold.
    other = gateway.new_key(budget="4/day")
    with connect(gateway, other["key"]) as session:
        hear(session, None)
        assert spent(gateway, other) == (0, 1.5)
        with pytest.raises(websockets.exceptions.ConnectionClosed) as closed:
            hear(session, "whisper-1")
    assert closed.value.rcvd.code == 1008


def test_what_was_reported_survives_a_kill(dear, played):
    key = dear.new_key(budget="50/day")
    session = raw(dear, additional_headers={"authorization": f"Bearer {key['key']}"})
    session.recv()
    for _ in range(8):
        session.send(json.dumps({"type": "response.create"}))
        while json.loads(session.recv())["type"] != "response.done":
            pass
    assert eventually(lambda: spent(dear, key) == (pytest.approx(9.6), 0))
    session.send(json.dumps({"type": "response.create", "response": {"metadata": {"test": "held"}}}))
    assert json.loads(session.recv())["type"] == "response.created"
    held = spent(dear, key)[1]
    dear.kill()
    dear.start()
    used, _ = spent(dear, key)
    assert used == pytest.approx(9.6 + held)
    played.release.set()


def test_event_that_could_be_read_in_two_ways_is_not_sent_on(running, played):
    key = running.new_key()
    with raw(running, additional_headers={"authorization": f"Bearer {key['key']}"}) as session:
        session.recv()
        for event in ('{"type":"x","type":"response.create"}', "no JSON"):
            session.send(event)
            assert json.loads(session.recv())["error"]["code"] == "invalid_event"
    assert played.received == []


def add_credential(running):
    """Another one for the provider."""
    command = [BINARY, "credentials", "add", "test", "--name", "other"]
    secret = "sk-other-credential"
    done = subprocess.run(command, cwd=running.folder, env=running.env, input=secret, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0


def test_another_credential_is_tried_at_the_handshake(running, played):
    key = running.new_key()["key"]
    add_credential(running)
    played.refused_credential = f"Bearer {CREDENTIAL}"

    def opened():
        with contextlib.suppress(websockets.exceptions.InvalidStatus), connect(running, key) as session:
            return session.recv().type == "session.created"

    assert eventually(opened)
    assert [opened() for _ in range(4)] == [True] * 4
    assert [head.headers["authorization"] for head in played.heads].count(f"Bearer {CREDENTIAL}") == 1, "a refused credential rests"
    assert played.heads[-1].headers["authorization"] == "Bearer sk-other-credential"


def test_no_other_credential_is_tried_for_a_key_that_has_ended(running, played):
    key = running.new_key()
    add_credential(running)
    played.refusal = (503, "busy")

    def attempts():
        played.heads.clear()
        refused(running, key["key"])
        return len(played.heads)

    assert eventually(lambda: attempts() == 2)
    played.meanwhile = lambda: running.admin("POST", f"/keys/{key['id']}/revoke", {})
    played.heads.clear()
    assert refused(running, key["key"]) == (401, "key_revoked")
    assert len(played.heads) == 1
