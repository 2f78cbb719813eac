"""Runs the official npm package's tests against a fresh gateway, with what the provider answers to each model set up here."""

import os
import pathlib
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import upstream  # noqa: E402
from conftest import CREDENTIAL, IMPATIENT, PRICED  # noqa: E402
from gateway import Gateway, provider  # noqa: E402
from test_operations import RESPONSE_ANSWER, embedding  # noqa: E402

CALL = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Köln"}'}}


def answers():
    response = {"type": "response.completed", "sequence_number": 0, "response": RESPONSE_ANSWER}
    return {
        "tools": [upstream.chat(None, tool_calls=[CALL]), upstream.chat("Sunny in Köln.")],
        "schema": [upstream.chat('{"city": "Köln"}')],
        "embed": [embedding("AACAPwAAAMAAAIA+")],
        "respond": [upstream.answer_json(RESPONSE_ANSWER)],
        "respond-stream": [upstream.answer_events([response])],
        **{f"error-{status}": [upstream.error(status, "Not like this.", retry_after="17")] for status in (400, 404, 422, 429, 500)},
    }


def main():
    server = upstream.Upstream()
    for model, given in answers().items():
        server.serve(model, *given)
    with tempfile.TemporaryDirectory() as folder:
        gateway = Gateway(folder, providers={"test": provider(server.url, models=PRICED)}, env=IMPATIENT).start()
        env = {
            **os.environ,
            "OPENAI_BASE_URL": f"{gateway.url}/v1",
            "OPENAI_API_KEY": gateway.new_key(name="node")["key"],
            "DIRECT_URL": server.url,
            "DIRECT_KEY": CREDENTIAL,
        }
        done = subprocess.run(["node", "--test", *sys.argv[1:], str(HERE / "openai.test.cjs")], env=env)
        gateway.stop()
    server.close()
    return done.returncode


sys.exit(main())
