"""From the first start to the end of the process, and what those who run it see."""

import json
import re
import shlex
import stat
import subprocess
import sys
import threading

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

import upstream as provider
from gateway import BINARY, ROOT, Gateway, eventually
from gateway import provider as provider_file
from test_chat import MESSAGES


def test_first_start_shows_two_keys_and_lines_that_work(tmp_path):
    gateway = Gateway(tmp_path).start()
    try:
        log = gateway.log()
        [admin] = set(re.findall(r"kw_admin_\w+", log))
        [key] = set(re.findall(r"kw_live_\w+", log))
        assert gateway.request("GET", "/v1/models", key=key).status == 200
        assert gateway.request("GET", "/admin/v1/usage", key=admin).status == 200
        assert "OPENAI_API_KEY" in log
        [curl] = [line.strip() for line in log.splitlines() if line.strip().startswith("curl ")]
        answer = subprocess.run(curl, shell=True, capture_output=True, text=True, check=True).stdout
        assert "simulator" in json.loads(answer)["choices"][0]["message"]["content"].lower()
        [python] = [line.strip() for line in log.splitlines() if line.strip().startswith("python3 ")]
        answer = subprocess.run([sys.executable, *shlex.split(python)[1:]], capture_output=True, text=True, check=True).stdout
        assert "simulator" in answer.lower()
    finally:
        gateway.stop()
    (tmp_path / "log").write_text("")
    gateway.start()
    gateway.stop()
    assert "kw_" not in gateway.log()


def test_a_first_start_with_keys_that_were_made_before_tells_how_to_make_others(tmp_path):
    gateway = Gateway(tmp_path)
    gateway.new_key()
    for is_first in (True, False):
        (tmp_path / "log").write_text("")
        gateway.start()
        gateway.stop()
        log = gateway.log()
        told = ("keyward keys create --kind admin", "Live providers: simulator", "OPENAI_API_KEY")
        assert [text in log for text in told] == [is_first] * 3 and "kw_" not in log, log


def test_data_folder_is_for_its_owner_alone(gateway):
    assert stat.S_IMODE((gateway.folder / "data").stat().st_mode) == 0o700


def test_probes(gateway):
    assert gateway.request("GET", "/healthz").json()["status"] == "ok"
    ready = gateway.request("GET", "/readyz")
    assert (ready.status, ready.json()["status"]) == (200, "ready")


def test_metrics(gateway, client):
    client.chat.completions.create(model="test/gpt-4o-mini", messages=MESSAGES)
    openmetrics = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"
    asked = [({}, "text/plain; version=0.0.4; charset=utf-8", parse_text), ({"accept": openmetrics}, "application/openmetrics-text; version=1.0.0; charset=utf-8", parse_openmetrics)]
    for headers, content_type, parse in asked:
        reply = gateway.request("GET", "/metrics", **headers)
        assert reply.headers["content-type"] == content_type
        families = {family.name: family for family in parse(reply.body.decode())}
        requests = [sample for sample in families["keyward_requests"].samples if sample.labels["model"] == "gpt-4o-mini" and sample.labels["status"] == "200"]
        assert families["keyward_requests"].type == "counter" and sum(sample.value for sample in requests) >= 1
        tokens = {(sample.name, sample.labels["model"], sample.labels["kind"]) for sample in families["keyward_tokens"].samples}
        assert ("keyward_tokens_total", "gpt-4o-mini", "output") in tokens
        assert families["keyward_request_duration_seconds"].type == "histogram" and families["keyward_request_duration_seconds"].documentation


def test_metrics_that_are_written_of_are_there(start_gateway):
    # Some are told of a credential that no header takes alone.
    broken = provider_file("http://127.0.0.1:1/v1", credential="BROKEN_KEY")
    gateway = start_gateway(providers={"broken": broken}, env={"BROKEN_KEY": "sk-\u0001"})
    there = {line.split()[2] for line in gateway.request("GET", "/metrics").body.decode().splitlines() if line.startswith("# TYPE ")}
    texts = {path.name: path.read_text() for path in (ROOT / "README.md", *(ROOT / "docs").glob("*.md"))}
    written = {(name, metric) for name, text in texts.items() for metric in re.findall(r"`(keyward_[a-z_]+)", text)}
    assert written and {(name, metric) for name, metric in written if metric not in there} == set()


def test_who_is_refused_is_logged_with_an_address(gateway):
    gateway.request("POST", "/v1/chat/completions", b"{}", "kw_live_nothing", x_request_id="refused-here")
    assert eventually(lambda: '"refused-here"' in gateway.log())
    [line] = [json.loads(line) for line in gateway.log().splitlines() if '"refused-here"' in line]
    assert line["from"] == "127.0.0.1" and line["refused"] == "key_wrong_length"


def test_first_keys_that_cannot_be_shown_are_told_of(tmp_path):
    gateway = Gateway(tmp_path)
    with open("/dev/full", "w") as full:
        ended = subprocess.run([BINARY], cwd=tmp_path, env=gateway.env, stdout=full, stderr=subprocess.PIPE, text=True, timeout=30)
    assert ended.returncode != 0 and "cannot be shown" in ended.stderr and "keyward keys create --kind admin" in ended.stderr
    gateway.start()
    assert gateway.new_key(kind="admin")["key"].startswith("kw_admin_")
    gateway.stop()


def test_one_log_line_a_request(gateway, client, key):
    headers = {"x-request-id": "find-me"}
    client.chat.completions.create(model="test/gpt-4o-mini", messages=MESSAGES, extra_headers=headers)

    def lines():
        return [json.loads(line) for line in gateway.log().splitlines() if '"find-me"' in line]

    assert eventually(lines)
    [line] = lines()
    assert (line["status"], line["model"], line["provider"]) == (200, "test/gpt-4o-mini", "test")
    assert (line["input_tokens"], line["output_tokens"]) == (1000, 200)
    assert line["cost_usd"] == pytest.approx(0.00024)
    assert line["total_ms"] >= line["first_byte_ms"] >= 0
    assert line["key"] in key
    assert key not in gateway.log().replace(key[: key.index(line["key"])], "")


def test_shutdown_lets_a_stream_end(start_gateway, upstream):
    gateway = start_gateway()
    key = gateway.new_key()
    hold = provider.Hold(after=400)
    upstream.serve("gpt-4o-mini", provider.chat_stream("one two three four", hold=hold))
    stream = gateway.client(key["key"]).chat.completions.create(model="test/gpt-4o-mini", messages=MESSAGES, stream=True)
    chunks = iter(stream)
    first = next(chunks)
    gateway.terminate()
    assert eventually(lambda: not gateway.is_up()), "no new request is taken"
    assert gateway.process.poll() is None
    hold.released.set()
    text = "".join(chunk.choices[0].delta.content or "" for chunk in [first, *chunks])
    assert text == "one two three four"
    gateway.stop()
    row = gateway.usage("key", key["id"], 1)
    assert row["failed"] == 0 and row["output_tokens"] > 0


def test_shutdown_does_not_wait_for_ever(start_gateway, upstream):
    gateway = start_gateway(env={"KEYWARD_LIMITS_DRAIN_TIMEOUT": "500ms"})
    hold = provider.Hold(after=400)
    upstream.serve("gpt-4o-mini", provider.chat_stream("one two three four", hold=hold))
    client = gateway.client(gateway.new_key()["key"])
    stream = client.chat.completions.create(model="test/gpt-4o-mini", messages=MESSAGES, stream=True)
    next(iter(stream))
    gateway.stop()
    hold.released.set()


def test_kill_loses_no_request(start_gateway, upstream):
    gateway = start_gateway()
    key = gateway.new_key()
    client = gateway.client(key["key"])
    client.chat.completions.create(model="test/gpt-4o-mini", messages=MESSAGES)
    hold = provider.Hold()
    answer = provider.chat("late")
    answer.hold = hold
    upstream.serve("gpt-4o-mini", answer)
    body = json.dumps({"model": "test/gpt-4o-mini", "messages": MESSAGES, "max_tokens": 1000}).encode()
    caller = threading.Thread(target=lambda: pytest.raises(Exception, gateway.request, "POST", "/v1/chat/completions", body, key["key"]))
    caller.start()
    assert hold.reached.wait(5)
    gateway.kill()
    caller.join(5)
    hold.released.set()
    gateway.start()
    row = gateway.usage("key", key["id"], 2)
    assert row["requests"] == 2
    # The one that was cut off is settled at what it could have cost at most: a thousand tokens of output, and its input.
    assert row["cost_nano_usd"] >= 600 * 150 + 400 * 75 + 200 * 600 + 1000 * 600
