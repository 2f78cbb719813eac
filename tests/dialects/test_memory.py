"""A stream is translated as it comes: the gateway's memory does not grow with its length."""

import http.client
import json
import pathlib
import re
import tempfile

import pytest

import recorded
import short
from asked import PATHS
from gateway import Gateway
from table import provider_file
from upstream import Answer

WORD = "word " * 800
WORDS = 10_000
# What may be kept of forty megabytes: buffers, and what an allocator does not give back.
MOST_GROWTH = 3 << 20


def long_stream(dialect):
    """The short stream of a dialect with its first delta again and again."""
    answer = short.WRITE[dialect](short.SAID["text"], True)
    if dialect == "bedrock_converse":
        first = short.frame("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "Hello "}})
        delta = short.frame("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": WORD}})
    else:
        first = next(event for event in re.findall(rb".*?\n\n?", answer.body, re.DOTALL) if b"Hello " in event)
        if b"event: " in answer.body:
            first = next(event for event in answer.body.split(b"\n\n") if b"Hello " in event) + b"\n\n"
        delta = first.replace(b"Hello ", WORD.encode())
    assert answer.body.count(first) == 1
    return Answer(answer.body.replace(first, delta * WORDS), headers=answer.headers, stream=True)


@pytest.fixture(scope="module")
def gateway_and_key():
    provider = recorded.Provider([])
    streams = {dialect: long_stream(dialect) for dialect in recorded.DIALECTS}
    provider.short = {f"{dialect} text": lambda _, stream=stream: stream for dialect, stream in streams.items()}
    with tempfile.TemporaryDirectory() as folder:
        gateway = Gateway(folder, providers={dialect: provider_file(dialect, provider.base) for dialect in recorded.DIALECTS}, env={"TEST_PROVIDER_KEY": "sk-test"}).start()
        yield gateway, gateway.new_key()["key"]
        gateway.stop()
    provider.close()


def asked(caller, dialect):
    model, text = f"{dialect}/short-text", "Say much."
    messages = [{"role": "user", "content": text}]
    match caller:
        case "gemini":
            return f"/v1beta/models/{model}:streamGenerateContent?alt=sse", {"contents": [{"role": "user", "parts": [{"text": text}]}]}
        case "bedrock_converse":
            return f"/model/{model.replace('/', '%2F')}/converse-stream", {"messages": [{"role": "user", "content": [{"text": text}]}]}
        case "anthropic_messages":
            return PATHS[caller], {"model": model, "max_tokens": 100, "stream": True, "messages": messages}
        case _:
            return PATHS[caller], {"model": model, "stream": True, "messages": messages}


def resident(gateway):
    status = pathlib.Path(f"/proc/{gateway.process.pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) << 10


# The Responses API tells the whole text again in its last events: as a caller's dialect it has to be kept.
CALLERS = [dialect for dialect in recorded.DIALECTS if dialect != "openai_responses"]
PAIRS = [(caller, dialect) for caller in CALLERS for dialect in recorded.DIALECTS if "openai_chat" in (caller, dialect) or caller == dialect]


@pytest.mark.parametrize(("caller", "dialect"), PAIRS)
def test_memory_does_not_grow_with_a_stream(gateway_and_key, caller, dialect):
    gateway, key = gateway_and_key
    path, body = asked(caller, dialect)
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=60)
    connection.request("POST", path, json.dumps(body), {"authorization": f"Bearer {key}", "content-type": "application/json"})
    answer = connection.getresponse()
    assert answer.status == 200, answer.read(500)
    size, early, most = 0, None, 0
    while piece := answer.read(256 << 10):
        size += len(piece)
        if size > len(WORD) * WORDS // 4:
            early = early or resident(gateway)
            most = max(most, resident(gateway))
    connection.close()
    assert size > len(WORD) * WORDS, "all of it came"
    assert most - early < MOST_GROWTH, f"{(most - early) >> 10} KiB more at the end than at a quarter"
