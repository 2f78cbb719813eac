"""From the first start to the end of the process, and what those who run it see."""

import json
import re
import shlex
import stat
import subprocess
import sys
import threading

import pytest

import upstream as provider
from gateway import Gateway, eventually
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


def test_data_folder_is_for_its_owner_alone(gateway):
    assert stat.S_IMODE((gateway.folder / "data").stat().st_mode) == 0o700


def test_probes(gateway):
    assert gateway.request("GET", "/healthz").json()["status"] == "ok"
    ready = gateway.request("GET", "/readyz")
    assert (ready.status, ready.json()["status"]) == (200, "ready")


def test_metrics(gateway, client):
    client.chat.completions.create(model="test/gpt-4o-mini", messages=MESSAGES)
    text = gateway.request("GET", "/metrics").body.decode()
    assert re.search(r'keyward_requests_total\{[^}]*model="gpt-4o-mini"[^}]*status="200"[^}]*\} [1-9]', text)
    assert 'keyward_tokens_total{provider="test",model="gpt-4o-mini",kind="output"}' in text
    assert text.endswith("# EOF\n")


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
