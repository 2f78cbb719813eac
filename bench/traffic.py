"""What is sent, whether what comes back is right, and wrk."""

import contextlib
import dataclasses
import http.client
import json
import pathlib
import subprocess
import urllib.parse
from concurrent.futures import ThreadPoolExecutor

from processes import Fault, clean_env, tool

OPENAI, ANTHROPIC = "openai_chat", "anthropic_messages"
PATHS = {OPENAI: "/chat/completions", ANTHROPIC: "/messages"}
CHUNKS = 50
LOAD = pathlib.Path(__file__).resolve().with_name("load.lua")


class Void(Exception):
    """A request failed, so nothing that was measured counts."""


@dataclasses.dataclass(frozen=True)
class Scenario:
    """What is asked, in which dialect."""

    dialect: str
    is_stream: bool = False
    is_long: bool = False


SCENARIOS = {
    "chat": Scenario(OPENAI),
    "stream": Scenario(OPENAI, is_stream=True),
    "body100k": Scenario(OPENAI, is_long=True),
    "messages": Scenario(ANTHROPIC),
    "messages-stream": Scenario(ANTHROPIC, is_stream=True),
}


QUESTION = "What is the ward of a lock, and why does the wrong key not turn? Answer in one sentence."
PASTE = 'fn turn(key: &Key) -> bool {\n\tkey.cuts == "naïve – 鍵" // \\o/\n}\n'


def request_body(scenario, model):
    """A request as the official Python SDKs write it: compact, UTF-8, the messages before the model."""
    scenario = SCENARIOS[scenario]
    content = QUESTION if not scenario.is_long else PASTE * (100_000 // len(json.dumps(PASTE, ensure_ascii=False)))
    question, system = {"role": "user", "content": content}, "You are a locksmith."
    if scenario.dialect == ANTHROPIC:
        body = {"max_tokens": 256, "messages": [question], "model": model, "system": system, "temperature": 0.2}
        body |= {"stream": True} if scenario.is_stream else {}
    else:
        body = {"messages": [{"role": "system", "content": system}, question], "model": model, "max_tokens": 256, "temperature": 0.2}
        body |= {"stream": True, "stream_options": {"include_usage": True}} if scenario.is_stream else {}
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()


def headers(scenario):
    """What the dialect's SDK sends besides the key."""
    return {"anthropic-version": "2023-06-01"} if SCENARIOS[scenario].dialect == ANTHROPIC else {}


def post(connection, target, scenario):
    at = urllib.parse.urlsplit(endpoint(target, scenario))
    own = {"Content-Type": "application/json", "Authorization": f"Bearer {target.api_key}"}
    connection.request("POST", at.path, request_body(scenario, target.models[SCENARIOS[scenario].dialect]), own | headers(scenario) | target.headers)
    response = connection.getresponse()
    answer = response.read()
    if response.status != 200:
        raise Void(f"{target.name} answered {response.status}: {answer[:500].decode(errors='replace')}")
    return answer


def endpoint(target, scenario):
    return target.url + PATHS[SCENARIOS[scenario].dialect]


def parse(scenario, answer):
    """The text of an answer and its tokens in all."""
    scenario = SCENARIOS[scenario]
    if not scenario.is_stream:
        answer = json.loads(answer)
        if scenario.dialect == ANTHROPIC:
            return "".join(block["text"] for block in answer["content"]), all_tokens(answer["usage"])
        return answer["choices"][0]["message"]["content"], answer["usage"]["total_tokens"]
    lines = answer.decode().splitlines()
    data = [line.removeprefix("data:").strip() for line in lines if line.startswith("data:")]
    deltas, tokens = (anthropic_stream if scenario.dialect == ANTHROPIC else openai_stream)(data)
    if len(deltas) != CHUNKS:
        raise ValueError(f"the stream has {len(deltas)} content chunks, not {CHUNKS}")
    return "".join(deltas), tokens


def openai_stream(data):
    if data.pop() != "[DONE]":
        raise ValueError("the stream does not end with [DONE]")
    chunks = [json.loads(event) for event in data]
    deltas = [choice["delta"].get("content") for chunk in chunks for choice in chunk["choices"]]
    (tokens,) = [chunk["usage"]["total_tokens"] for chunk in chunks if chunk.get("usage")]
    return [delta for delta in deltas if delta], tokens


def anthropic_stream(data):
    events = [json.loads(event) for event in data]
    if events[-1]["type"] != "message_stop":
        raise ValueError("the stream does not end with message_stop")
    (usage,) = [event["usage"] for event in events if event["type"] == "message_delta"]
    return [event["delta"]["text"] for event in events if event["type"] == "content_block_delta"], all_tokens(usage)


def all_tokens(usage):
    return usage["input_tokens"] + usage["output_tokens"]


def check(target, scenario, expected=None):
    """Asks 32 times over 8 kept connections; returns what the answer says and its length in bytes."""
    at = urllib.parse.urlsplit(target.url)

    def ask(_):
        with contextlib.closing(http.client.HTTPConnection(at.hostname, at.port, timeout=30)) as connection:
            return [post(connection, target, scenario) for _ in range(4)]

    try:
        with ThreadPoolExecutor(8) as pool:
            answers = [answer for some in pool.map(ask, range(8)) for answer in some]
        said = [parse(scenario, answer) for answer in answers]
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
        for target in taking_part(targets, scenario):
            _, lengths[target.name, scenario] = check(target, scenario, expected)
    return lengths


def taking_part(targets, scenario):
    wanted = SCENARIOS[scenario]
    return [target for target in targets if wanted.dialect in target.models and (target.answers_streams or not wanted.is_stream)]


def load(target, scenario, connections, seconds, length):
    """One run of wrk. `length` is what an answer has at least: less means answers cut short."""
    body = target.folder / f"{target.name}-{scenario}.json"
    body.write_bytes(request_body(scenario, target.models[SCENARIOS[scenario].dialect]))
    command = [tool("wrk"), "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s"]
    command += [word for name, value in (headers(scenario) | target.headers).items() for word in ("-H", f"{name}: {value}")]
    command += ["-s", str(LOAD), endpoint(target, scenario)]
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
