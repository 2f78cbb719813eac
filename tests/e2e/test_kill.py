"""The gateway is killed at random moments under load: whatever reached the provider is in the store exactly once."""

import collections
import concurrent.futures
import os
import random
import time

import pytest

from counting import COST, WAYS, Counting, call, rows
from gateway import Gateway, eventually

KILLS = 200 if os.environ.get("KEYWARD_SOAK") == "1" else 15
CALLERS = 12
MODELS = 3000


@pytest.fixture
def counting():
    running = Counting()
    yield running
    running.upstream.close()


def call_until_killed(gateway, key, models):
    """The ways of the calls by their models."""
    made = {}
    while gateway.process.poll() is None and (model := next(models, None)) is not None:
        made[f"m{model}"] = random.choice(WAYS)
        call(gateway.port, key, model, made[f"m{model}"])
    return made


def test_nothing_is_lost_by_being_killed(counting, tmp_path):
    random.seed(4)
    gateway = Gateway(tmp_path, providers={"test": counting.provider(MODELS)}, env={"TEST_PROVIDER_KEY": "sk-t", "KEYWARD_UPSTREAM_MAX_BACKOFF": "20ms"})
    gateway.start()
    key = gateway.new_key()["key"]
    totals, slowest, known = collections.Counter(), 0.0, set()
    with concurrent.futures.ThreadPoolExecutor(CALLERS) as pool:
        for _ in range(KILLS):
            counting.log.clear()
            models = iter(range(MODELS))
            calling = [pool.submit(call_until_killed, gateway, key, models) for _ in range(CALLERS)]
            time.sleep(random.uniform(0.02, 1.0))
            gateway.kill()
            for future in calling:
                future.result()
            began = time.monotonic()
            gateway.start()
            slowest = max(slowest, time.monotonic() - began)
            new = [row for row in rows(gateway) if row["id"] not in known]
            known.update(row["id"] for row in new)
            reconcile(counting, new)
            totals.update(row["outcome"] for row in new)
            totals["arrived"] += len(counting.log)
    print(f"{KILLS} kills, {dict(totals)}, slowest restart {slowest:.2f} s")
    assert totals["arrived"] > 10 * KILLS and totals["assumed"] > 0 and totals["answered"] > 0
    assert slowest < 10
    summed = gateway.cli("usage", "--by", "provider")
    assert sum(row["requests"] for row in summed) == len(known)
    assert eventually(lambda: gateway.request("GET", "/readyz").json()["ledger_waiting_bytes"] == 0)
    gateway.stop()


def reconcile(counting, new):
    by_model = collections.Counter(row["model"] for row in new)
    assert not [model for model, count in by_model.items() if count != 1], "a request is in the store twice"
    assert not set(counting.log) - set(by_model), "a request reached the provider and is not in the store"
    for row in new:
        charged = sum(counting.log.get(row["model"], []))
        if row["outcome"] == "answered":
            assert (row["cost"], row["source"]) == (charged, "reported"), row
        elif row["outcome"] == "assumed":
            assert row["cost"] == row["reserved"] >= COST, row
        else:
            assert row["outcome"] in ("provider_error", "failed", "abandoned") and (row["cost"] or 0) <= row["reserved"], row
