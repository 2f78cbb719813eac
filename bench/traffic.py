"""What is sent, whether what comes back is right, and wrk."""

import contextlib
import http.client
import json
import pathlib
import subprocess
import urllib.parse
from concurrent.futures import ThreadPoolExecutor

from processes import Fault, clean_env, tool

SCENARIOS = ("chat", "stream", "body100k")
CHUNKS = 50
LOAD = pathlib.Path(__file__).resolve().with_name("load.lua")


class Void(Exception):
    """A request failed, so nothing that was measured counts."""


QUESTION = "What is the ward of a lock, and why does the wrong key not turn? Answer in one sentence."
PASTE = 'fn turn(key: &Key) -> bool {\n\tkey.cuts == "naïve – 鍵" // \\o/\n}\n'


def request_body(scenario, model):
    """A request as the official Python SDK writes it: compact, UTF-8, the messages before the model."""
    content = QUESTION if scenario != "body100k" else PASTE * (100_000 // len(json.dumps(PASTE, ensure_ascii=False)))
    body = {
        "messages": [
            {"role": "system", "content": "You are a locksmith."},
            {"role": "user", "content": content},
        ],
        "model": model,
        "max_tokens": 256,
        "temperature": 0.2,
    }
    if scenario == "stream":
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()


def post(connection, target, body):
    at = urllib.parse.urlsplit(target.endpoint)
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {target.api_key}"}
    connection.request("POST", at.path, body, headers)
    response = connection.getresponse()
    answer = response.read()
    if response.status != 200:
        raise Void(f"{target.name} answered {response.status}: {answer[:500].decode(errors='replace')}")
    return answer


def parse_whole(answer):
    answer = json.loads(answer)
    return answer["choices"][0]["message"]["content"], answer["usage"]["total_tokens"]


def parse_stream(answer):
    lines = answer.decode().splitlines()
    data = [line.removeprefix("data:").strip() for line in lines if line.startswith("data:")]
    if data.pop() != "[DONE]":
        raise ValueError("the stream does not end with [DONE]")
    chunks = [json.loads(event) for event in data]
    deltas = [choice["delta"].get("content") for chunk in chunks for choice in chunk["choices"]]
    deltas = [delta for delta in deltas if delta]
    if len(deltas) != CHUNKS:
        raise ValueError(f"the stream has {len(deltas)} content chunks, not {CHUNKS}")
    usage = [chunk["usage"]["total_tokens"] for chunk in chunks if chunk.get("usage")]
    return "".join(deltas), usage


def check(target, scenario, expected=None):
    """Asks 32 times over 8 kept connections; returns what the answer says and its length in bytes."""
    at = urllib.parse.urlsplit(target.url)
    body = request_body(scenario, target.model)
    parse = parse_stream if scenario == "stream" else parse_whole

    def ask(_):
        with contextlib.closing(http.client.HTTPConnection(at.hostname, at.port, timeout=30)) as connection:
            return [post(connection, target, body) for _ in range(4)]

    try:
        with ThreadPoolExecutor(8) as pool:
            answers = [answer for some in pool.map(ask, range(8)) for answer in some]
        said = [parse(answer) for answer in answers]
    except (OSError, http.client.HTTPException, ValueError, LookupError, TypeError, AttributeError) as error:
        raise Void(f"{target.name}, {scenario}: {error!r}") from error
    for one in said:
        if one != (expected or said[0]):
            raise Void(f"{target.name}, {scenario}: answered {one}, not {expected or said[0]}")
    return said[0], min(map(len, answers))


def check_all(targets, scenarios):
    """Every target answers as the upstream does; returns {(target, scenario): bytes of an answer}."""
    upstream, lengths = targets[0], {}
    for scenario in scenarios:
        expected, _ = check(upstream, scenario)
        for target in targets:
            _, lengths[target.name, scenario] = check(target, scenario, expected)
    return lengths


def load(target, scenario, connections, seconds, length):
    """One run of wrk. `length` is what an answer has at least: less means answers cut short."""
    body = target.folder / f"{scenario}.json"
    body.write_bytes(request_body(scenario, target.model))
    command = [tool("wrk"), "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s"]
    command += ["-s", str(LOAD), target.endpoint]
    env = clean_env() | {"BENCH_BODY": str(body), "BENCH_KEY": target.api_key}
    run = subprocess.run(command, check=False, env=env, capture_output=True, text=True)
    if run.returncode != 0:
        raise Fault(f"wrk: {run.stderr or run.stdout}")
    result = json.loads(run.stdout.splitlines()[-1])
    where = f"{target.name}, {scenario}, {connections} connections"
    if any(result["errors"].values()):
        raise Void(f"{where}: {result['errors']} of {result['requests']} requests\n{target.log()}")
    if result["requests"] == 0:
        raise Void(f"{where}: no request was answered in {seconds} s")
    if result["bytes"] < 0.98 * length * result["requests"]:
        raise Void(f"{where}: answers shorter than {length} bytes")
    return result
