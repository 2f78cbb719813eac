#!/usr/bin/env python3
"""What a million rows of the ledger cost: sums by everything, an export, and deletion, of a running gateway.

`python bench/ledger.py [ROWS]` takes the binary that `tests/e2e/gateway.py` takes (KEYWARD_BIN for another) and prints a table;
with `--dense` every key uses every model, so that a day has as many sums as it can have, `--sums` leaves out export and deletion, and
`--hour` has all of it come in the last hour.
It fails where sums take longer than they may, or an export or a deletion more memory."""

import argparse
import contextlib
import http.client
import pathlib
import sqlite3
import statistics
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tests" / "e2e"))

from gateway import Gateway, eventually  # noqa: E402
from rows import DAYS, MODELS, fill  # noqa: E402

ROUNDS = 11
# What sums take at the median at the most, and exports and deletions beyond what was resident before.
MOST_MS, MOST_MIB = 100, 64


def memory(gateway, what="VmRSS"):
    """In MiB."""
    status = pathlib.Path(f"/proc/{gateway.process.pid}/status").read_text()
    return int(status.partition(f"{what}:")[2].split()[0]) / 1024


def asked(gateway, key, path):
    """Milliseconds for an answer, and what it says."""
    began = time.perf_counter()
    answer = gateway.request("GET", path, key=key)
    assert answer.status == 200, answer
    return (time.perf_counter() - began) * 1000, answer.json()["data"]


def count(path, statement):
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=30)) as store:
        return store.execute(statement).fetchone()[0]


def export(gateway, key, form):
    """Seconds, lines and the most memory on the way."""
    began, lines, most = time.perf_counter(), 0, 0.0
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=600)
    connection.request("GET", f"/admin/v1/usage/export?format={form}", headers={"authorization": f"Bearer {key}"})
    answer = connection.getresponse()
    while piece := answer.read(1 << 20):
        lines += piece.count(b"\n")
        most = max(most, memory(gateway))
    connection.close()
    return time.perf_counter() - began, lines, most


def deletion(gateway, key, path):
    """Seconds, the slowest sum meanwhile in milliseconds, and the most memory on the way."""
    began, slowest, most = time.perf_counter(), 0.0, 0.0
    first = f"SELECT COUNT(*) FROM ledger WHERE place < {256 * int((time.time() - DAYS / 2 * 86400) // 3600 * 3600e6)}"
    while count(path, first):
        slowest = max(slowest, asked(gateway, key, "/admin/v1/usage?by=day&limit=1000")[0])
        most = max(most, memory(gateway))
        time.sleep(0.5)
    return time.perf_counter() - began, slowest, most


def closed(path):
    """Whether what is over is summed up: all days but the last, and each part of an hour but the last ones."""
    days = count(path, "SELECT COUNT(*) FROM rolled WHERE span = 24")
    part = int(time.time() - 120) // 300 - 1
    last = f"SELECT EXISTS (SELECT 1 FROM rolled WHERE (span, number) IN ((0, {part}), (1, {part // 12})))"
    return days >= count(path, "SELECT COUNT(DISTINCT began / 86400000000) - 1 FROM requests") and count(path, last)


def main(rows, keys, models_a_key, only_sums, in_an_hour):
    wrong = []
    days = 1 / 24 if in_an_hour else DAYS
    with tempfile.TemporaryDirectory() as folder:
        gateway = Gateway(folder).start()
        key = gateway.new_key(kind="admin")["key"]
        # Usage of nobody is not told.
        one = gateway.new_key()["id"]
        gateway.cli("teams", "create", "team1")
        gateway.stop()
        path = pathlib.Path(folder) / "data" / "keyward.db"
        fill(path, rows, keys, models_a_key, days)
        with contextlib.closing(sqlite3.connect(path)) as store, store:
            store.execute("UPDATE commons SET key = ? WHERE key = 'key00000007'", (one,))
        gateway.start()
        began = time.perf_counter()
        assert eventually(lambda: closed(path), seconds=600)
        sums = count(path, "SELECT COUNT(*) FROM rollups")
        print(f"{rows:,} rows of {'an hour' if in_an_hour else f'{DAYS} days'}, {keys} keys that use {models_a_key} of {MODELS} models each; {sums:,} sums made in {time.perf_counter() - began:.1f} s\n")
        print("| sums | rows | median ms | slowest ms |\n| --- | ---: | ---: | ---: |")
        since = time.strftime("%Y-%m-%dT%H:%M:00Z", time.gmtime(time.time() - days / 3 * 86400))
        queries = [f"by={by}" for by in ("key", "model", "day", "project", "team", "provider", "operation")]
        for query in [*queries, f"by=model&key={one}", "by=day&team=team1", f"by=model&since={since}"]:
            answers = [asked(gateway, key, f"/admin/v1/usage?{query}&limit=1000") for _ in range(ROUNDS)]
            times = [took for took, _ in answers]
            if "&" not in query:
                assert sum(row["requests"] for row in answers[0][1]) == rows
            name, median = query.replace(since, "…").replace(one, "…"), statistics.median(times)
            print(f"| `{name}` | {len(answers[0][1])} | {median:.1f} | {max(times):.1f} |")
            if median > MOST_MS:
                wrong.append(f"{name} takes {median:.1f} ms")
        if only_sums:
            gateway.stop()
            return wrong
        before = memory(gateway)
        print()
        for form in ("csv", "jsonl"):
            seconds, lines, most = export(gateway, key, form)
            assert lines == rows + (form == "csv")
            print(f"Export as {form}: {seconds:.1f} s, {before:.0f} MiB resident before and at most {most:.0f} MiB on the way.")
            if most - before > MOST_MIB:
                wrong.append(f"an export as {form} takes {most - before:.0f} MiB")
        cost = sum(row["cost_nano_usd"] for row in asked(gateway, key, "/admin/v1/usage?by=day&limit=1000")[1])
        gateway.stop()
        gateway.env["KEYWARD_LEDGER_KEEP"] = f"{DAYS // 2}d"
        gateway.start()
        before = memory(gateway)
        seconds, slowest, most = deletion(gateway, key, path)
        left = count(path, "SELECT COUNT(*) FROM requests")
        now = sum(row["cost_nano_usd"] for row in asked(gateway, key, "/admin/v1/usage?by=day&limit=1000")[1])
        assert now == cost, "a sum changed by deleting what it sums"
        print(f"Deleted {rows - left:,} rows in {seconds:.1f} s, sums by day meanwhile at most {slowest:.0f} ms, ", end="")
        print(f"{before:.0f} MiB resident before and at most {most:.0f} MiB on the way; all sums are as before.")
        if most - before > MOST_MIB:
            wrong.append(f"deleting takes {most - before:.0f} MiB")
        gateway.stop()
    return wrong


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", nargs="?", type=int, default=1_000_000)
    parser.add_argument("--keys", type=int, default=40)
    parser.add_argument("--dense", action="store_true")
    parser.add_argument("--sums", action="store_true")
    parser.add_argument("--hour", action="store_true")
    asked_for = parser.parse_args()
    wrong = main(asked_for.rows, asked_for.keys, MODELS if asked_for.dense else 4, asked_for.sums or asked_for.hour, asked_for.hour)
    sys.exit("; ".join(wrong) or None)
