"""Rows of a ledger that is two months old."""

import contextlib
import random
import sqlite3
import time

DAYS, MODELS = 60, 12
COLUMNS = "id, node, key, project, team, operation, provider, model, began, ended, outcome, status, input, output, source, reserved, cost, total_ms"


def fill(path, rows, keys, models_a_key):
    """Rows of two months up to now, most in the hours of the day."""
    random.seed(1)
    now = int(time.time() * 1e6)

    def row(n):
        began = now - int(random.random() * DAYS * 86400e6)
        # A model does one thing.
        key = random.randrange(keys)
        model = (key + random.randrange(models_a_key)) % MODELS
        cost = random.randrange(1_000_000)
        whose = (f"key{key:08}", f"project{key % 10}", f"team{key % 3}")
        what = ("embeddings" if model == 0 else "chat", f"provider{model % 4}", f"model{model}")
        return (f"req_{n:016}", "n", *whose, *what, began, began + 10**6, "answered", 200, 1000, 200, "reported", 2 * cost, cost, 1000)

    with contextlib.closing(sqlite3.connect(path)) as store, store:
        marks = ", ".join("?" * len(COLUMNS.split(",")))
        store.executemany(f"INSERT INTO requests ({COLUMNS}) VALUES ({marks})", map(row, range(rows)))
