#!/usr/bin/env python3
"""Two thousand slow streams at once: is any of them kept waiting, what do they take, and is it given back?

`python bench/held.py` takes the release binaries that `bench/run` builds and prints a table. Of the streams a few are read by a clock: the
time to their first chunk, and the pauses between chunks, which are 20 ms at the source. The others are wrk's."""

import argparse
import contextlib
import json
import pathlib
import selectors
import socket
import statistics
import threading
import time
import urllib.parse

from bench import alone, build
from processes import Fault, Stage, memory, note
from targets import TRANSLATED, start_keyward, start_nginx, start_upstream
from traffic import Void, check_all, endpoint, load, request_body

SCENARIO, PAUSE_MS = "stream", 20


class Read:
    """A stream that is read by a clock, again and again over one connection."""

    def __init__(self, target):
        at, body = urllib.parse.urlsplit(endpoint(target, SCENARIO)), request_body(SCENARIO, target.models["openai_chat"])
        head = f"POST {at.path} HTTP/1.1\r\nhost: {at.netloc}\r\nauthorization: Bearer {target.api_key}\r\n"
        self.request = f"{head}content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body
        self.socket = socket.create_connection((at.hostname, at.port))
        self.firsts, self.pauses = [], []
        self.ask()

    def ask(self):
        self.socket.sendall(self.request)
        self.asked, self.last, self.tail = time.perf_counter(), None, b""

    def come(self):
        piece, now = self.socket.recv(1 << 16), time.perf_counter()
        if not piece:
            raise Void("a stream that was being read ended before its end")
        if not self.tail and not piece.startswith(b"HTTP/1.1 200 "):
            raise Void(f"a stream was refused: {piece[:200]!r}")
        if b"data:" in piece:
            if self.last is None:
                self.firsts.append((now - self.asked) * 1000)
            elif b"[DONE]" not in piece:
                self.pauses.append((now - self.last) * 1000)
            self.last = now
        self.tail = (self.tail + piece)[-64:]
        if self.tail.endswith(b"0\r\n\r\n"):
            if b"[DONE]" not in self.tail:
                raise Void("a stream ended without its last event")
            self.ask()


def read_by_clock(target, count, seconds):
    streams, selector = [Read(target) for _ in range(count)], selectors.DefaultSelector()
    for stream in streams:
        selector.register(stream.socket, selectors.EVENT_READ, stream)
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        for key, _ in selector.select(timeout=0.1):
            key.data.come()
    for stream in streams:
        stream.socket.close()
    return [first for stream in streams for first in stream.firsts], [pause for stream in streams for pause in stream.pauses]


def measure(target, options, length):
    before = memory(target.process.pid)["rss"]
    done = {}

    def others():
        try:
            done["result"] = load(target, SCENARIO, options.streams - options.read, options.seconds + 3, length)
        except (Void, Fault) as error:
            done["error"] = error

    running = threading.Thread(target=others)
    running.start()
    # Until all of them run.
    time.sleep(2)
    firsts, pauses = read_by_clock(target, options.read, options.seconds)
    most = memory(target.process.pid)["rss"]
    running.join()
    if "error" in done:
        raise done["error"]
    time.sleep(options.rest)
    per = lambda values, at: statistics.quantiles(values, n=1000)[at - 1]  # noqa: E731
    return {
        "streams": done["result"]["requests"] / done["result"]["us"] * 1e6,
        "first_p50": per(firsts, 500),
        "first_p99": per(firsts, 990),
        "pause_p50": per(pauses, 500),
        "pause_p99": per(pauses, 990),
        "pause_max": max(pauses),
        "before": before,
        "most": most,
        "after": memory(target.process.pid)["rss"],
    }


def main(options):
    with contextlib.ExitStack() as stack:
        stage, release = Stage(stack, False), build(options)
        upstream = start_upstream(stage, str(release / "examples" / "bench-upstream"), ["--chunk-delay-us", str(PAUSE_MS * 1000)])
        targets = [upstream, start_nginx(stage, upstream), *start_keyward(stage, upstream, str(release / "keyward"))]
        targets = [target for target in targets if target.name != TRANSLATED]
        for target in targets:
            target.wait_ready()
        lengths = check_all(targets, [SCENARIO])
        rows = {}
        for target in targets:
            note(f"{options.streams} streams through {target.name}")
            rows[target.name] = measure(target, options, lengths[target.name, SCENARIO])
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps(rows, indent=1))
    print(f"{options.streams} streams at once, a chunk each {PAUSE_MS} ms, {options.read} of them read by a clock.\n")
    print("| target | streams/s | first chunk ms, p50 | p99 | pause ms, p50 | p99 | longest | idle MB | with all | a minute after |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for name, row in rows.items():
        cells = [row[cell] for cell in ("streams", "first_p50", "first_p99", "pause_p50", "pause_p99", "pause_max", "before", "most", "after")]
        print(f"| {name} | " + " | ".join(f"{cell:,.0f}" if cell >= 100 else f"{cell:.1f}" for cell in cells) + " |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--streams", type=int, default=2000)
    parser.add_argument("--read", type=int, default=20)
    parser.add_argument("--seconds", type=int, default=15)
    parser.add_argument("--rest", type=int, default=60, help="seconds after which memory is looked at again")
    parser.add_argument("--json", metavar="FILE")
    alone(parser, main)
