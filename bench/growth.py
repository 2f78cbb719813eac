#!/usr/bin/env python3
"""Does a request feel how many keys, providers and ledger rows there are? And how soon does the gateway answer its first one?

`python bench/growth.py` takes the release binaries that `bench/run` builds and prints a table: the same chat request through gateways
that differ in one number only, in alternating rounds, as a ratio to the smallest."""

import argparse
import contextlib
import dataclasses
import http.client
import os
import random
import sqlite3
import statistics
import string
import time
import urllib.parse

from bench import alone, build
from processes import Fault, Stage, note
from rows import fill
from targets import PROVIDER, start_keyward, start_upstream
from traffic import OPENAI, check_all, load, post

SCENARIO, CONNECTIONS = "chat", 32


def more_keys(folder, count):
    """Keys that nobody holds, beside the one that is used: rows like its own."""
    alphabet = string.ascii_letters + string.digits
    with contextlib.closing(sqlite3.connect(folder / "data" / "keyward.db")) as store, store:
        store.row_factory = sqlite3.Row
        one = dict(store.execute("SELECT * FROM keys WHERE kind = 'live' LIMIT 1").fetchone())
        columns = list(one)

        def row(n):
            identity = "".join(random.choices(alphabet, k=12))
            return [*(one | {"id": identity, "family": identity, "hash": os.urandom(32), "name": f"other {n}"}).values()]

        marks = ", ".join("?" * len(columns))
        store.executemany(f"INSERT OR IGNORE INTO keys ({', '.join(columns)}) VALUES ({marks})", (row(n) for n in range(count - 1)))


def more_rows(folder, count):
    fill(folder / "data" / "keyward.db", count, 200, 12)


def more_providers(folder, count):
    for n in range(count):
        (folder / "providers" / f"other-{n}.toml").write_text(PROVIDER.format(dialect=OPENAI, model=f"other-{n}", upstream="http://127.0.0.1:9/v1"))


GROWN = {
    "keys": (more_keys, [10_000, 1_000_000]),
    "ledger rows": (more_rows, [1_000_000]),
    "providers": (more_providers, [1_000]),
}


def start(stage, upstream, binary, name, grow=None):
    """A gateway whose data was grown before it started, and the milliseconds from its start to its first answer."""
    target, _ = start_keyward(stage, upstream, binary, name=name.replace(" ", "-"), prepare=grow)
    began = time.perf_counter()
    at = urllib.parse.urlsplit(target.url)
    while True:
        with contextlib.suppress(OSError), contextlib.closing(http.client.HTTPConnection(at.hostname, at.port, timeout=5)) as asked:
            post(asked, target, SCENARIO)
            break
        if target.process.poll() is not None or time.perf_counter() - began > 60:
            raise Fault(f"{name} did not come up: {target.log()}")
        time.sleep(0.001)
    return dataclasses.replace(target, name=name), (time.perf_counter() - began) * 1000


def wait_quiet(target):
    """Until it has done what it does by itself after a start, such as the sums of an old ledger."""
    end = time.monotonic() + 300
    while time.monotonic() < end:
        before = target.cpu()
        time.sleep(1)
        if target.cpu().since(before) < 50e6:
            return
    raise Fault(f"{target.name} is busy by itself for five minutes")


def main(options):
    with contextlib.ExitStack() as stack:
        stage, release = Stage(stack, False), build(options)
        upstream = start_upstream(stage, str(release / "examples" / "bench-upstream"), [])
        upstream.wait_ready()
        binary, first = str(release / "keyward"), {}
        smallest, first["smallest"] = start(stage, upstream, binary, "smallest")
        targets = [smallest]
        for what, (grow, counts) in GROWN.items():
            if options.only and what != options.only:
                continue
            for count in counts:
                name = f"{count:,} {what}"
                note(f"making {name}")
                target, first[name] = start(stage, upstream, binary, name, lambda folder, grow=grow, count=count: grow(folder, count))
                targets.append(target)
        lengths = check_all([upstream, *targets], [SCENARIO])
        for target in targets:
            wait_quiet(target)
        spent = {target.name: [] for target in targets}
        for target in targets:
            load(target, SCENARIO, CONNECTIONS, 1, lengths[target.name, SCENARIO])
        for index in range(options.rounds):
            turn = index % len(targets)
            for target in targets[turn:] + targets[:turn]:
                before = target.cpu()
                result = load(target, SCENARIO, CONNECTIONS, options.seconds, lengths[target.name, SCENARIO])
                spent[target.name].append(target.settled_cpu().since(before) / 1e3 / result["requests"])
                note(f"round {index + 1}/{options.rounds}, {target.name}: {spent[target.name][-1]:.1f} us CPU")
        check_all([upstream, *targets], [SCENARIO])
    print(f"chat, {CONNECTIONS} connections, median of {options.rounds} alternating rounds of {options.seconds} s.\n")
    print("| gateway | start to first answer, ms | CPU us/req | to the smallest (range) |")
    print("| --- | ---: | ---: | ---: |")
    for name, values in spent.items():
        ratios = [value / base for value, base in zip(values, spent["smallest"], strict=True)]
        told = f"{statistics.median(ratios):.2f} ({min(ratios):.2f}–{max(ratios):.2f})"
        print(f"| {name} | {first[name]:,.0f} | {statistics.median(values):.1f} | {told} |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=2)
    parser.add_argument("--only", choices=GROWN, help="grow nothing else")
    alone(parser, main)
