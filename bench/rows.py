"""Rows of a ledger that is two months old."""

import contextlib
import random
import sqlite3
import time

DAYS, MODELS = 60, 12
COLUMNS = "place, id, common, reserved, ended, input, output, cost, total_ms"
COMMON = "number, key, project, team, operation, provider, model, prompt, node, outcome, status, source"


def fill(path, rows, keys, models_a_key, days=DAYS):
    """Rows of so many days up to now."""
    random.seed(1)
    now = int(time.time() * 1e6)
    commons = {}

    def row(n):
        # Each in a piece of time of its own, so that no two have the same place.
        began = now - int((rows - n - random.random()) / rows * days * 86400e6)
        # A model does one thing.
        key = random.randrange(keys)
        model = (key + random.randrange(models_a_key)) % MODELS
        cost = random.randrange(1_000_000)
        whose = (f"key{key:08}", f"project{key % 10}", f"team{key % 3}")
        what = ("embeddings" if model == 0 else "chat", f"provider{model % 4}", f"model{model}")
        common = commons.setdefault((*whose, *what), len(commons) + 1)
        return (began * 256 + int(f"{n % 100:02}", 16), f"req_{n:016}", common, 2 * cost, began + 10**6, 1000, 200, cost, 1000)

    with contextlib.closing(sqlite3.connect(path)) as store, store:
        def marks(columns):
            return ", ".join("?" * len(columns.split(",")))

        store.executemany(f"INSERT INTO ledger ({COLUMNS}) VALUES ({marks(COLUMNS)})", map(row, range(rows)))
        rest = ("", "n", "answered", 200, "reported")
        store.executemany(f"INSERT INTO commons ({COMMON}) VALUES ({marks(COMMON)})", ((number, *common, *rest) for common, number in commons.items()))
