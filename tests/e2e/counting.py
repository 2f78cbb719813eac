"""A provider that writes down every request before it answers, callers of every kind, and what the gateway's store says of them afterwards.

A call has a model of its own, so that a row of the store and a line of the provider's log are known to be of the same request."""

import collections
import contextlib
import http.client
import itertools
import json
import random
import sqlite3
import threading
import time

from gateway import provider
from upstream import Hold, Upstream, chat, chat_stream, error

WAYS = ("whole", "stream", "wrong", "retried", "hung up", "broken off")
# What the provider reports with each answer, and what it charges in nano-dollars at its prices below.
TOKENS = {"prompt_tokens": 1000, "completion_tokens": 200, "total_tokens": 1200}
COST = 1000 * 150 + 200 * 600
PRICE = "{ context = 100000, max_output = 16384, price = { input = 0.15, output = 0.6 } }"


class Counting:
    """`log[model]` has what was charged for each request that arrived."""

    def __init__(self):
        self.upstream = Upstream()
        self.log = collections.defaultdict(list)
        # The answers to ten of the requests wait for it: by their order, as a burst passes ten models while one answer is thought of.
        self.arrivals = itertools.count()
        self.gate = threading.Event()
        self.gate.set()
        # What is done once so many have arrived, at once: whoever waits for that is told too late, while hundreds of callers run.
        self.interrupt, self.interrupted = (None, None), threading.Event()
        self.upstream.serve_at("POST", "/chat/completions", self.answer)

    def provider(self, models):
        return provider(self.upstream.url, models="\n".join(f'"m{n}" = {PRICE}' for n in range(models)))

    def answer(self, asked):
        arrival, body = next(self.arrivals), asked.json()
        before, way = self.log[body["model"]], body["user"]
        is_free = way == "wrong" or (way == "retried" and not before)
        before.append(0 if is_free else COST)
        at, interrupt = self.interrupt
        if arrival == at:
            interrupt()
            self.interrupted.set()
        # No provider answers at once: there is always something in the middle.
        time.sleep(0.02)
        if arrival in range(10, 20):
            # Far longer than whoever holds it waits for anything: a machine that stands still for a while must not let them go.
            self.gate.wait(timeout=300)
        if is_free:
            return error(400 if way == "wrong" else 500)
        if not body.get("stream"):
            return chat("Hello there!", usage=TOKENS)
        hold = Hold.up(after=300) if way == "broken off" else Hold(after=300) if way == "hung up" else None
        return chat_stream("Hello there! " * 5, usage=True, hold=hold)


def call(port, key, model, way, max_tokens=200):
    """One call; its status and the code and sentence of its refusal, all nothing where there was no answer."""
    body = {"model": f"test/m{model}", "user": way, "max_tokens": max_tokens, "messages": [{"role": "user", "content": "x" * 1000}]}
    if way in ("stream", "hung up", "broken off") or (way == "retried" and random.random() < 0.5):
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
        connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
        answer = connection.getresponse()
        if way == "hung up" and answer.status == 200:
            answer.read1(50)
            return 200, None, None
        text = answer.read()
        if answer.status == 200:
            return 200, None, None
        trouble = json.loads(text)["error"]
        return answer.status, trouble["code"], trouble["message"]
    except (OSError, http.client.HTTPException, ValueError):
        return None, None, None
    finally:
        connection.close()


def rows(gateway):
    """The store's requests, read beside the running gateway."""
    path = f"{gateway.env['KEYWARD_DATA']}/keyward.db"
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)) as store:
        store.row_factory = sqlite3.Row
        return [dict(row) for row in store.execute("SELECT * FROM requests")]
