"""500 callers at once on a budget for 100 calls: it holds, whatever they do, and nothing stays reserved."""

import collections
import concurrent.futures
import os
import random
import re
import time

import pytest

from counting import COST, WAYS, Counting, call, rows
from gateway import Gateway, eventually

CALLERS = 500
BUDGET = 100 * COST
ROUNDS = 10 if os.environ.get("KEYWARD_SOAK") == "1" else 1
SETTINGS = {"TEST_PROVIDER_KEY": "sk-t", "KEYWARD_UPSTREAM_MAX_BACKOFF": "20ms"}


@pytest.fixture
def counting():
    running = Counting()
    yield running
    running.upstream.close()


def call_until_told(gateway, key, model, way):
    """Calls again while others hold what is left, as the gateway says to."""
    deadline = time.monotonic() + 60
    while (told := call(gateway.port, key, model, way))[1] == "budget_reserved" and time.monotonic() < deadline:
        time.sleep(0.2)
    return told


def all_at_once(pool, gateway, key, models):
    return [pool.submit(call_until_told, gateway, key, model, random.choice(WAYS)) for model in models]


def is_quiet(gateway):
    return all(row["outcome"] != "open" for row in rows(gateway)) and gateway.request("GET", "/readyz").json()["ledger_waiting_bytes"] == 0


@pytest.mark.parametrize("seed", range(5, 5 + ROUNDS))
@pytest.mark.parametrize("is_killed", [False, True], ids=["running through", "killed in the middle"])
def test_a_budget_holds(counting, tmp_path, is_killed, seed):
    random.seed(seed)
    gateway = Gateway(tmp_path, providers={"test": counting.provider(2 * CALLERS + 1)}, env=SETTINGS).start()
    key = gateway.new_key(budget=f"{BUDGET / 1e9:.9f}/ever")["key"]
    if is_killed:
        # Something runs at that moment, whichever it is.
        counting.gate.clear()
        counting.interrupt = (random.randint(20, 70), gateway.kill)
    with concurrent.futures.ThreadPoolExecutor(CALLERS) as pool:
        calling = all_at_once(pool, gateway, key, range(CALLERS))
        if is_killed:
            assert counting.interrupted.wait(timeout=60)
            counting.gate.set()
            gateway.start()
            calling += all_at_once(pool, gateway, key, range(CALLERS, 2 * CALLERS))
        told = collections.Counter((status, code) for status, code, _ in (future.result() for future in calling))
    assert eventually(lambda: is_quiet(gateway), seconds=20)

    all_rows = rows(gateway)
    spent = sum(row["cost"] or 0 for row in all_rows)
    outcomes = collections.Counter(row["outcome"] for row in all_rows)
    print(f"spent {spent} of {BUDGET}, outcomes {dict(outcomes)}, told {dict(told)}")
    assert 0 < spent <= BUDGET
    assert told[402, "budget_exceeded"] > 0 and outcomes["answered"] + outcomes["assumed"] > 20
    assert (outcomes["assumed"] > 0) == is_killed
    by_model = collections.Counter(row["model"] for row in all_rows)
    assert set(counting.log) <= set(by_model) and set(by_model.values()) == {1}
    for row in all_rows:
        charged = sum(counting.log.get(row["model"], []))
        # To the nano-dollar where the provider reported; what it did not report is told as an estimate, within the reservation.
        assert charged <= row["reserved"], row
        if row["outcome"] in ("answered", "provider_error"):
            assert (row["cost"] or 0) == charged, row
        else:
            assert row["source"] != "reported" and (row["cost"] or 0) <= row["reserved"], row
    assert left_of(gateway, key) == (BUDGET - spent) // 1000, "something stays reserved, or memory and store do not agree"
    gateway.stop()


def left_of(gateway, key):
    """What the refusal of a call that costs too much says is left, in micro-dollars."""
    status, code, message = call(gateway.port, key, 2 * CALLERS, "whole", max_tokens=16000 * 100)
    assert (status, code) == (402, "budget_exceeded"), message
    found = re.search(r"has \$([0-9.]+) left", message)
    assert found or "has spent its budget" in message, message
    return round(float(found[1]) * 1e6) if found else 0
