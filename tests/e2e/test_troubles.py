"""The disk is full, the store is locked or gone: nothing is lost, and who is refused hears why."""

import asyncio
import collections
import concurrent.futures
import contextlib
import itertools
import json
import os
import resource
import shutil
import sqlite3
import subprocess
import tempfile
import threading
import time

import httpx
import pytest

from conftest import small_disk
from counting import Counting, call, rows
from gateway import BINARY, Gateway, eventually

SETTINGS = {"TEST_PROVIDER_KEY": "sk-t", "KEYWARD_UPSTREAM_MAX_BACKOFF": "20ms"}
# MiB of memory that a locked store may take, and calls whose lines on disk are more than twice that, as each has its model's name.
MOST_MEMORY = 64
LONG_NAME, LONG_CALLS = "x" * (128 << 10), 1100
# What the store keeps of a name.
KEPT_NAME = 200
# Seconds that a store is away.
GONE_FOR = 60 if os.environ.get("KEYWARD_SOAK") == "1" else 1


@pytest.fixture
def counting():
    running = Counting()
    yield running
    running.upstream.close()


@pytest.fixture
def gateway(request, counting, tmp_path):
    """A gateway, with the variables that a test gives as the parameter."""
    gateway = Gateway(tmp_path, providers={"test": counting.provider(600)}, env=SETTINGS | getattr(request, "param", {})).start()
    yield gateway
    gateway.stop()


def ready(gateway):
    answer = gateway.request("GET", "/readyz")
    return answer.status, answer.json()


def waiting(gateway):
    """The metric of what is not in the store yet, in bytes."""
    text = gateway.request("GET", "/metrics").body.decode()
    return next(float(line.split()[1]) for line in text.splitlines() if line.startswith("keyward_ledger_waiting_bytes "))


def memory(gateway):
    """Resident, in MiB."""
    status = open(f"/proc/{gateway.process.pid}/status").read()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


def on_disk(gateway):
    """What is written and not deleted yet, in MiB."""
    return sum(segment.stat().st_size for segment in (gateway.folder / "data" / "ledger").glob("*.seg")) / 2**20


def has_all(gateway, counting):
    """Whether the store has every request that reached the provider, once and to its end."""
    found = collections.Counter(row["model"] for row in rows(gateway) if row["outcome"] != "open")
    return found == {model[:KEPT_NAME]: len(charges) for model, charges in counting.log.items()}


def test_a_locked_store_delays_and_loses_nothing(counting, gateway):
    key, store = gateway.new_key()["key"], gateway.folder / "data" / "keyward.db"
    with concurrent.futures.ThreadPoolExecutor(16) as pool, contextlib.closing(sqlite3.connect(store, isolation_level=None)) as other:

        def told(models):
            return {status for status, _, _ in pool.map(lambda model: call(gateway.port, key, model, "whole"), models)}

        # What so many callers take by themselves is no part of what waits.
        assert told([0, *[LONG_NAME] * 100]) == {200}
        assert eventually(lambda: has_all(gateway, counting))
        before, written = memory(gateway), on_disk(gateway)
        other.execute("BEGIN IMMEDIATE")
        assert told([*range(1, 400), *[LONG_NAME] * LONG_CALLS]) == {200}
        # All of it waits by now: a queue in memory would have as many bytes.
        assert on_disk(gateway) - written > 2 * MOST_MEMORY
        assert memory(gateway) - before < MOST_MEMORY
        assert eventually(lambda: waiting(gateway) > 0)
        assert eventually(lambda: "wait on disk" in ready(gateway)[1]["ledger"], seconds=15)
        assert ready(gateway)[0] == 200, "requests are served all the same"
        other.execute("ROLLBACK")
    assert eventually(lambda: ready(gateway)[1]["ledger_waiting_bytes"] == 0, seconds=20)
    assert ready(gateway)[1]["ledger"] == "ok"
    assert eventually(lambda: has_all(gateway, counting))
    assert len(counting.log) == 401 and len(counting.log[f"m{LONG_NAME}"]) == 100 + LONG_CALLS


def test_usage_says_when_the_newest_is_not_in_it(counting, gateway):
    key, store = gateway.new_key(), gateway.folder / "data" / "keyward.db"

    def told():
        """How many requests are summed, whether that is all, and what an export says of itself."""
        sums = gateway.admin("GET", f"/usage?key={key['id']}")
        export = gateway.request("GET", f"/admin/v1/usage/export?key={key['id']}", key=gateway.owner)
        assert len(export.body.splitlines()) == sum(row["requests"] for row in sums["data"])
        return sum(row["requests"] for row in sums["data"]), sums["complete"], export.headers["keyward-complete"]

    assert call(gateway.port, key["key"], 0, "whole")[0] == 200
    assert told() == (1, True, "true")
    with contextlib.closing(sqlite3.connect(store, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert call(gateway.port, key["key"], 1, "whole")[0] == 200
        assert told() == (1, False, "false"), "what a locked store has, and that it is not all"
        other.execute("ROLLBACK")
    assert eventually(lambda: told() == (2, True, "true"), seconds=20)


def test_a_locked_store_refuses_changes_soon_and_looks_keys_up_all_the_while(counting, gateway):
    unknown = [gateway.new_key()["key"] for _ in range(5)]
    gateway.admin("GET", "/keys")

    def change(_):
        began = time.monotonic()
        reply = gateway.request("POST", "/admin/v1/keys", "{}", gateway.owner, idempotency_key="once" if _ == 0 else f"other-{_}")
        return reply.status, reply.json().get("code"), time.monotonic() - began

    def use(number):
        began = time.monotonic()
        return call(gateway.port, unknown[number], number, "whole")[0], time.monotonic() - began

    with contextlib.closing(sqlite3.connect(gateway.folder / "data" / "keyward.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with concurrent.futures.ThreadPoolExecutor(20) as pool:
            changes = [pool.submit(change, number) for number in range(12)]
            time.sleep(0.3)
            uses = [pool.submit(use, number) for number in range(5)]
            told = [future.result() for future in changes]
            used = [future.result() for future in uses]
        assert {(status, code) for status, code, _ in told} == {(503, "store_locked")}
        assert max(took for _, _, took in told) < 2.5, told
        assert {status for status, _ in used} == {200} and max(took for _, took in used) < 1, used
        assert ready(gateway)[0] == 200
        other.execute("ROLLBACK")
    assert change(0)[0] == 201, "what was not done may be sent again under its name"


@pytest.mark.parametrize("gateway", [{"KEYWARD_STORE_DOWN_FOR": "4s"}], indirect=True, ids=[""])
def test_keys_in_memory_outlive_the_store_for_the_time_that_is_set(counting, gateway):
    known, unknown = gateway.new_key()["key"], gateway.new_key()["key"]
    assert call(gateway.port, known, 0, "whole")[0] == 200
    with contextlib.closing(sqlite3.connect(gateway.folder / "data" / "keyward.db", isolation_level=None)) as other:
        # Nobody can read either; views do not follow the names.
        other.execute("PRAGMA legacy_alter_table = ON")
        other.execute("ALTER TABLE changes RENAME TO away")
        assert eventually(lambda: ready(gateway)[1]["store"] != "ok")
        assert call(gateway.port, known, 1, "whole")[0] == 200
        other.execute("ALTER TABLE keys RENAME TO keys_away")
        assert call(gateway.port, unknown, 2, "whole")[:2] == (503, "key_store_unavailable")
        assert eventually(lambda: call(gateway.port, known, 3, "whole")[:2] == (503, "key_store_unavailable"), seconds=15)
        other.execute("ALTER TABLE keys_away RENAME TO keys")
        other.execute("ALTER TABLE away RENAME TO changes")
    for key in (known, unknown):
        assert eventually(lambda: call(gateway.port, key, 4, "whole")[0] == 200)


def test_a_store_that_is_moved_away_and_comes_back_has_everything(counting, gateway):
    key, data = gateway.new_key()["key"], gateway.folder / "data"
    assert call(gateway.port, key, 0, "whole")[0] == 200
    away = gateway.folder / "away"
    away.mkdir()
    files = [path.name for path in data.glob("keyward.db*")]
    for name in files:
        (data / name).rename(away / name)
    assert {call(gateway.port, key, model, "whole")[0] for model in range(1, 100)} == {200}
    time.sleep(GONE_FOR)
    assert {call(gateway.port, key, model, "whole")[0] for model in range(100, 110)} == {200}
    for name in files:
        (away / name).rename(data / name)
    assert {call(gateway.port, key, model, "whole")[0] for model in range(110, 130)} == {200}
    assert eventually(lambda: has_all(gateway, counting), seconds=20)


def test_a_store_that_takes_nothing_is_told_while_requests_are_served(counting, gateway):
    key = gateway.new_key()["key"]
    assert call(gateway.port, key, 0, "whole")[0] == 200 and ready(gateway)[1]["status"] == "ready"
    with contextlib.closing(sqlite3.connect(gateway.folder / "data" / "keyward.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert call(gateway.port, key, 1, "whole")[0] == 200
        assert eventually(lambda: ready(gateway)[1]["status"] == "degraded", seconds=15), "a writer waits for another one before it fails"
        assert call(gateway.port, key, 2, "whole")[0] == 200 and "wait on disk" in ready(gateway)[1]["ledger"] and ready(gateway)[0] == 200
        other.execute("ROLLBACK")
    assert eventually(lambda: ready(gateway)[1]["status"] == "ready", seconds=15)
    assert eventually(lambda: has_all(gateway, counting), seconds=20)


def test_a_ledger_whose_folder_is_moved_away_takes_nothing_until_it_is_back(counting, gateway):
    key, ledger, away = gateway.new_key()["key"], gateway.folder / "data" / "ledger", gateway.folder / "away"
    assert call(gateway.port, key, 0, "whole")[0] == 200
    ledger.rename(away)
    assert eventually(lambda: ready(gateway)[0] == 503) and "put the one back" in ready(gateway)[1]["ledger"]
    assert call(gateway.port, key, 1, "whole")[:2] == (503, "ledger_unavailable")
    # One that another start makes in its place is not it.
    ledger.mkdir()
    (ledger / "00000001.seg").touch()
    assert call(gateway.port, key, 2, "whole")[:2] == (503, "ledger_unavailable")
    shutil.rmtree(ledger)
    away.rename(ledger)
    assert eventually(lambda: ready(gateway)[0] == 200, seconds=15)
    assert call(gateway.port, key, 3, "whole")[0] == 200
    assert eventually(lambda: has_all(gateway, counting), seconds=20)


def test_a_store_whose_file_is_gone_is_told_and_no_new_one_is_made(counting, gateway):
    key, data = gateway.new_key(), gateway.folder / "data"
    unused, admin = gateway.new_key()["key"], gateway.new_key(kind="admin", role="admin", name="admin")["key"]
    assert call(gateway.port, key["key"], 0, "whole")[0] == 200
    assert gateway.request("GET", "/admin/v1/keys", key=admin).status == 200
    away = gateway.folder / "away"
    (data / "keyward.db").rename(away)
    assert eventually(lambda: ready(gateway)[1]["store"] != "ok")
    # Nobody can tell what is kept of it, and what is changed would be lost.
    assert call(gateway.port, unused, 1, "whole")[:2] == (503, "key_store_unavailable")
    for path in (f"keys/{key['id']}/revoke", "keys"):
        assert gateway.request("POST", f"/admin/v1/{path}", b"{}", admin).status == 503
    done = gateway.run("keys", "create", "--name", "lost")
    assert done.returncode != 0 and "keyward.db is gone, and a gateway runs on it" in done.stderr
    assert not (data / "keyward.db").exists()
    away.rename(data / "keyward.db")
    assert eventually(lambda: ready(gateway)[1]["store"] == "ok")
    assert gateway.run("keys", "revoke", key["id"]).returncode == 0


def test_who_only_looks_makes_no_store_and_a_start_none_over_what_was_there(counting, tmp_path):
    gateway = Gateway(tmp_path, providers={"test": counting.provider(2)}, env=SETTINGS)
    data = tmp_path / "data"
    for command in ["keys list", "usage", "audit", "limits show", "credentials list", "teams list", "doctor"]:
        done = gateway.run(*command.split())
        assert not data.exists() and (command == "doctor" or (done.returncode == 1 and "KEYWARD_DATA" in done.stderr)), command
    gateway.start()
    key = gateway.new_key()["key"]
    data.rename(tmp_path / "moved")
    listed = gateway.run("keys", "list")
    assert listed.returncode == 1 and "there is no store" in listed.stderr and not data.exists()
    (tmp_path / "moved").rename(data)
    gateway.stop()
    store = (data / "keyward.db").read_bytes()
    for left in [b"", None]:
        (data / "keyward.db").unlink() if left is None else (data / "keyward.db").write_bytes(left)
        done = gateway.run("serve")
        assert done.returncode == 1 and "put back the one that was backed up" in done.stderr and "Welcome" not in done.stdout, done.stderr
        assert "put back the one that was backed up" in gateway.run("doctor").stdout or left is None
    (data / "keyward.db").write_bytes(store)
    gateway.start()
    assert call(gateway.port, key, 0, "whole")[0] == 200
    gateway.stop()


def findings(gateway):
    """What `keyward doctor` finds wrong."""
    return {found["what"]: found["finding"] for found in json.loads(gateway.run("doctor", "--json").stdout) if found["state"] == "wrong"}


def test_a_damaged_store_is_told_of(counting, tmp_path):
    gateway = Gateway(tmp_path, providers={"test": counting.provider(2)}, env=SETTINGS).start()
    key, store = gateway.new_key()["key"], tmp_path / "data" / "keyward.db"
    assert call(gateway.port, key, 0, "whole")[0] == 200
    gateway.stop()
    assert "store" not in findings(gateway)
    with contextlib.closing(sqlite3.connect(store)) as db:
        [(page,)] = db.execute("SELECT rootpage FROM sqlite_schema WHERE type = 'table' AND name = 'keys'")
        [(size,)] = db.execute("PRAGMA page_size")
    whole = store.read_bytes()
    store.write_bytes(whole[: (page - 1) * size] + b"\xa5" * size + whole[page * size :])
    told = "the store's file is damaged"
    assert told in findings(gateway)["store"] and "put back the store that was backed up" in findings(gateway)["store"]
    done = gateway.run("serve", "--check")
    assert done.returncode == 1 and f"keyward.db: {told}" in done.stderr, done
    gateway.start()
    assert ready(gateway)[0] == 200, "nobody has asked for anything of it yet"
    assert call(gateway.port, key, 1, "whole")[:2] == (503, "key_store_unavailable")
    status, body = ready(gateway)
    assert (status, body["status"]) == (503, "not ready") and told in body["store"]
    gateway.stop()
    store.write_bytes(whole)
    gateway.start()
    assert call(gateway.port, key, 2, "whole")[0] == 200 and ready(gateway)[1]["status"] == "ready"
    gateway.stop()


@pytest.mark.parametrize("left", ["half", "garbage"])
def test_a_file_that_is_no_store_any_more_is_not_taken_for_an_older_one(counting, tmp_path, left):
    gateway = Gateway(tmp_path, providers={"test": counting.provider(2)}, env=SETTINGS).start()
    gateway.new_key()
    gateway.stop()
    store = tmp_path / "data" / "keyward.db"
    store.write_bytes(store.read_bytes()[: store.stat().st_size // 2] if left == "half" else b"x" * 5000)
    for found in [*findings(gateway).values(), *(gateway.run(*command).stderr for command in (["serve"], ["serve", "--check"], ["keys", "list"]))]:
        assert "the store's file is damaged" in found and "put back the store that was backed up" in found, found


def test_a_ledger_whose_name_cannot_be_read_is_told_of(counting, tmp_path):
    gateway = Gateway(tmp_path, providers={"test": counting.provider(2)}, env=SETTINGS).start()
    key, node = gateway.new_key()["key"], tmp_path / "data" / "ledger" / "node"
    gateway.stop()
    node.write_bytes(b"\xff\xfe\n")
    for found in [findings(gateway)["data folder"], *(gateway.run(*command).stderr for command in (["serve"], ["serve", "--check"]))]:
        assert f"{node} cannot be read" in found and "move it away" in found, found
    node.unlink()
    gateway.start()
    assert call(gateway.port, key, 0, "whole")[0] == 200
    gateway.stop()


def test_a_key_that_cannot_be_read_is_told_of_until_it_can(counting, gateway):
    key = gateway.new_key()["key"]
    with contextlib.closing(sqlite3.connect(gateway.folder / "data" / "keyward.db", isolation_level=None)) as other:
        # Views do not follow the names.
        other.execute("PRAGMA legacy_alter_table = ON")
        other.execute("ALTER TABLE keys RENAME TO keys_away")
        assert call(gateway.port, key, 0, "whole")[:2] == (503, "key_store_unavailable")
        status, body = ready(gateway)
        assert (status, body["status"]) == (200, "degraded") and "a key cannot be read" in body["store"]
        other.execute("ALTER TABLE keys_away RENAME TO keys")
    # Whoever is told that a gateway is not ready sends it nothing to find that out by.
    assert ready(gateway)[1]["status"] == "ready"
    assert call(gateway.port, key, 1, "whole")[0] == 200


@pytest.fixture
def by_nobody():
    """A gateway that runs as an account of its own on a folder of that account, whose commands are run by root."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        gateway = Gateway(folder)
        for name in ("prompts", "services", "data"):
            (gateway.folder / name).mkdir()
        (gateway.folder / "data").chmod(0o700)
        try:
            for path in (gateway.folder, *gateway.folder.rglob("*")):
                os.chown(path, 65534, 65534)
            # Before the first start, as whoever sets a machine up does it.
            made = gateway.new_key(kind="admin")
            with (gateway.folder / "log").open("ab") as log:
                account = {"user": 65534, "group": 65534, "extra_groups": []}
                gateway.process = subprocess.Popen([BINARY], cwd=folder, env=gateway.env, stdout=log, stderr=subprocess.STDOUT, **account)
        except PermissionError:
            pytest.skip("another account needs root, and a binary that it may run")
        assert eventually(gateway.is_up, seconds=20), gateway.log()
        assert gateway.request("GET", "/admin/v1/keys", key=made["key"]).status == 200
        yield gateway
        gateway.stop()


def test_what_root_does_to_files_keeps_no_other_account_from_them(by_nobody):
    made = by_nobody.folder / "prompts" / "hi.prompt"
    assert by_nobody.run("prompts", "new", "hi").returncode == 0 and by_nobody.run("prompts", "publish", "hi").returncode == 0
    roots = [path for path in by_nobody.folder.rglob("*") if path.stat().st_uid == 0]
    assert roots == [by_nobody.folder / "log"]
    # As a version before this one left it.
    os.chown(by_nobody.folder / "prompts" / ".lock", 0, 0)
    (by_nobody.folder / "services" / ".lock").touch(mode=0o644)
    owner = by_nobody.new_key(kind="admin")["key"]
    assert eventually(lambda: by_nobody.request("GET", "/admin/v1/prompts/hi", key=owner).status == 200)
    assert by_nobody.admin("PUT", "/prompts/two", {"source": "yo"})
    described = "openapi: 3.1.0\ninfo: {title: a, version: '1'}\npaths: {/x: {get: {operationId: x, responses: {}}}}\n"
    assert by_nobody.admin("PUT", "/services/two", {"source": 'upstream = "https://x.example"\nopenapi = "two.yaml"\n', "openapi": described})
    assert "prompts" not in findings(by_nobody)
    os.chown(made, 0, 0)
    made.chmod(0o600)
    assert "prompts/hi.prompt cannot be read by the folder's owner: chown 65534" in by_nobody.run("doctor").stdout
    # What the account itself has put there may be a link to what is not its own.
    opening = by_nobody.folder / "data" / "keyward.opening"
    opening.unlink()
    opening.symlink_to(roots[0])
    by_nobody.cli("keys", "list")
    assert roots[0].stat().st_uid == 0, "only what root makes there is given away"


def test_a_store_of_a_newer_version_is_told_of(counting, tmp_path):
    gateway = Gateway(tmp_path, providers={"test": counting.provider(2)}, env=SETTINGS).start()
    gateway.stop()
    with contextlib.closing(sqlite3.connect(tmp_path / "data" / "keyward.db", isolation_level=None)) as store:
        store.execute("INSERT INTO _sqlx_migrations SELECT 9999, description, installed_on, success, checksum, execution_time FROM _sqlx_migrations LIMIT 1")
    done = gateway.run("serve")
    assert done.returncode == 1 and "written by a newer Keyward than this one" in done.stderr
    wrong = [finding["what"] for finding in json.loads(gateway.run("doctor", "--json").stdout) if finding["state"] == "wrong"]
    assert wrong == ["data folder"], "one finding, and where it is"


@pytest.mark.parametrize("whose", ["gateway", "key"])
def test_a_revocation_waits_for_no_new_limit(counting, tmp_path, whose):
    """A new budget is counted from the ledger, which waits while another program holds the store; a key that is revoked meanwhile is at an end."""
    gateway = Gateway(tmp_path, providers={"test": counting.provider(2)}, env=SETTINGS).start()
    key = gateway.new_key(rpm=100000)
    gateway.cli("limits", "set", "--rpm", "100000")
    assert eventually(lambda: call(gateway.port, key["key"], 0, "whole")[0] == 200)
    table, row = ("groups", "gateway") if whose == "gateway" else ("keys", key["id"])
    with contextlib.closing(sqlite3.connect(tmp_path / "data" / "keyward.db", isolation_level=None)) as store:
        store.execute("BEGIN IMMEDIATE")
        [(limits,)] = store.execute(f"SELECT limits FROM {table} WHERE id = ?", [row])
        limits = json.loads(limits) | {"budgets": [{"nano_usd": 10**12, "per": "day"}]}
        store.execute("UPDATE changes SET newest = newest + 1")
        store.execute(f"UPDATE {table} SET limits = ?, changed = (SELECT newest FROM changes) WHERE id = ?", [json.dumps(limits), row])
        # So that something waits to be taken in, which the new budget has to count.
        call(gateway.port, key["key"], 0, "whole")
        store.execute("COMMIT")
        store.execute("BEGIN IMMEDIATE")
        time.sleep(0.5)
        store.execute("UPDATE changes SET newest = newest + 1")
        store.execute("UPDATE keys SET revoked = created, changed = (SELECT newest FROM changes) WHERE id = ?", [key["id"]])
        store.execute("COMMIT")
        store.execute("BEGIN IMMEDIATE")
        assert eventually(lambda: call(gateway.port, key["key"], 0, "whole")[1] == "key_revoked", seconds=1.5)
        store.execute("ROLLBACK")
    if whose == "gateway":
        assert eventually(lambda: gateway.admin("GET", "/budgets/gateway")["budgets"], seconds=20), "and the budget holds in the end"
    gateway.stop()


def test_an_upgrade_of_the_store_is_told(counting, tmp_path):
    gateway = Gateway(tmp_path, providers={"test": counting.provider(2)}, env=SETTINGS).start()
    assert "brought up to date" not in gateway.log(), "a new store needs nothing"
    key = gateway.new_key()["key"]
    gateway.stop()
    with contextlib.closing(sqlite3.connect(tmp_path / "data" / "keyward.db", isolation_level=None)) as store:
        # Which can be made a second time.
        store.execute("DELETE FROM _sqlx_migrations WHERE version >= 18")
    gateway.start()
    assert "being brought up to date" in gateway.log() and '"from":17' in gateway.log() and "the store is up to date" in gateway.log()
    assert call(gateway.port, key, 0, "whole")[0] == 200
    gateway.stop()


@pytest.mark.parametrize("is_there", [True, False], ids=["another one", "none"])
def test_a_store_whose_keys_were_made_under_another_secret_is_not_served(counting, tmp_path, is_there):
    gateway = Gateway(tmp_path, providers={"test": counting.provider(2)}, env=SETTINGS).start()
    key = gateway.new_key()["key"]
    gateway.stop()
    secret = tmp_path / "data" / "server.secret"
    right = secret.read_bytes()
    secret.unlink()
    if is_there:
        secret.write_bytes(bytes(reversed(right)))
    done = gateway.run("serve")
    assert done.returncode != 0 and "put back the one that was backed up with keyward.db" in done.stderr, done.stderr
    assert secret.exists() == is_there, "none is made"
    assert gateway.run("keys", "list").returncode != 0 and "server.secret" in gateway.run("doctor").stdout
    secret.write_bytes(right)
    secret.chmod(0o600)
    gateway.start()
    assert call(gateway.port, key, 0, "whole")[0] == 200
    gateway.stop()


def test_more_streams_run_at_once_than_a_shell_gives_files(counting, tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # What tests before have left open counts while the process is made.
    fewest = max(96, len(os.listdir("/proc/self/fd")) + 32)
    assert fewest < 200, "150 streams take 300"
    resource.setrlimit(resource.RLIMIT_NOFILE, (fewest, hard))
    try:
        gateway = Gateway(tmp_path, providers={"test": counting.provider(200)}, env=SETTINGS).start()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    key = gateway.new_key()["key"]
    counting.gate.clear()
    with concurrent.futures.ThreadPoolExecutor(150) as pool:
        calling = [pool.submit(call, gateway.port, key, model, "stream") for model in range(150)]
        assert eventually(lambda: len(counting.log) == 150, seconds=20), len(counting.log)
        counting.gate.set()
        assert {future.result()[0] for future in calling} == {200}
    gateway.stop()


def test_a_full_disk_refuses_and_recovers_by_itself(counting, tmp_path):
    with small_disk(tmp_path, "12m") as disk:
        env = {**SETTINGS, "KEYWARD_DATA": str(disk)}
        gateway = Gateway(tmp_path, providers={"test": counting.provider(600)}, env=env).start()
        key = gateway.new_key()["key"]
        assert call(gateway.port, key, 0, "whole")[0] == 200
        (disk / "filler").write_bytes(b"")
        with (disk / "filler").open("wb", buffering=0) as filler, contextlib.suppress(OSError):
            while filler.write(b"x" * 4096):
                pass
        models = iter(range(1, 600))
        refused = eventually(lambda: (told := call(gateway.port, key, next(models), "whole"))[0] != 200 and told, seconds=20)
        assert refused[:2] == (503, "ledger_unavailable"), refused
        status, body = ready(gateway)
        assert (status, body["ledger"]) == (503, "the ledger cannot be written")
        (disk / "filler").unlink()
        assert eventually(lambda: call(gateway.port, key, next(models), "whole")[0] == 200)
        assert eventually(lambda: ready(gateway)[0] == 200 and ready(gateway)[1]["ledger_waiting_bytes"] == 0, seconds=20)
        assert eventually(lambda: has_all(gateway, counting), seconds=20), sorted(set(counting.log) - {row["model"] for row in rows(gateway)})
        gateway.stop()


def test_a_full_disk_is_told_of_by_management(tmp_path):
    with small_disk(tmp_path, "12m") as disk:
        gateway = Gateway(tmp_path, env={**SETTINGS, "KEYWARD_DATA": str(disk)}).start()
        gateway.admin("GET", "/keys")
        with (disk / "filler").open("wb", buffering=0) as filler, contextlib.suppress(OSError):
            while filler.write(b"x" * 4096):
                pass
        make = lambda: gateway.request("POST", "/admin/v1/keys", '{"name": "x"}', gateway.owner, idempotency_key="once")  # noqa: E731
        reply = make()
        assert (reply.status, reply.json()["code"]) == (503, "store_full") and "disk" in reply.json()["detail"], reply
        (disk / "filler").unlink()
        assert eventually(lambda: make().status == 201), "what was not done may be sent again under its name"
        gateway.stop()


def test_doctor_tells_that_the_store_is_locked(gateway):
    gateway.new_key()
    assert "store" not in findings(gateway)
    with contextlib.closing(sqlite3.connect(gateway.folder / "data" / "keyward.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert "locked by another program" in findings(gateway)["store"]
        other.execute("ROLLBACK")
    assert "store" not in findings(gateway)


async def burst(port, key, count):
    """So many requests over one connection at once, so that their beginnings are written together; their statuses."""
    body = {"model": "simulator/echo", "max_tokens": 10, "messages": [{"role": "user", "content": "Hi"}]}
    # Over one connection that speaks HTTP/2 from its first byte.
    async with httpx.AsyncClient(http1=False, http2=True, timeout=30, headers={"authorization": f"Bearer {key}"}) as client:
        calls = [client.post(f"http://127.0.0.1:{port}/v1/chat/completions", json=body) for _ in range(count)]
        return collections.Counter(answer.status_code for answer in await asyncio.gather(*calls))


def test_a_full_disk_that_takes_some_of_many_beginnings_keeps_none_that_was_refused(tmp_path):
    with small_disk(tmp_path, "16m") as disk:
        gateway = Gateway(tmp_path, env={**SETTINGS, "KEYWARD_DATA": str(disk)}).start()
        key, told = gateway.new_key(budget="1/month")["key"], collections.Counter()
        filler = disk / "filler"
        for pages in [0, 1, 2, 3] * 5:
            with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
                while file.write(b"x" * 4096):
                    pass
            os.truncate(filler, (filler.stat().st_size // 4096 - pages) * 4096)
            told += asyncio.run(burst(gateway.port, key, 100))
            os.truncate(filler, 0)
            assert eventually(lambda: ready(gateway)[0] == 200 and ready(gateway)[1]["ledger_waiting_bytes"] == 0, seconds=20)
        filler.unlink()
        assert told[503] > 500, told
        assert eventually(lambda: {row["outcome"] for row in rows(gateway)} <= {"answered"}), collections.Counter(row["outcome"] for row in rows(gateway))
        assert eventually(lambda: len(rows(gateway)) == told[200]), (len(rows(gateway)), told)
        gateway.stop()


def test_a_clock_that_goes_back_loses_nothing(counting, tmp_path):
    """The clock of a second run is a day behind the first's."""
    faketime = shutil.which("faketime")
    if not faketime:
        pytest.skip("faketime is not installed")
    library = subprocess.run([faketime, "-f", "-1d", "printenv", "LD_PRELOAD"], capture_output=True, text=True).stdout.strip()
    gateway = Gateway(tmp_path, providers={"test": counting.provider(600)}, env=SETTINGS).start()
    key = gateway.new_key()["key"]
    assert call(gateway.port, key, 0, "whole")[0] == 200
    gateway.kill()
    gateway.env |= {"LD_PRELOAD": library, "FAKETIME": "-1d"}
    gateway.start()
    assert call(gateway.port, key, 1, "whole")[0] == 200
    assert eventually(lambda: len(rows(gateway)) == 2)
    began = {row["model"]: row["began"] for row in rows(gateway)}
    assert began["m1"] < began["m0"] - 80_000_000_000
    gateway.stop()


def test_a_clock_that_is_ahead_for_a_while_deletes_nothing(counting, tmp_path):
    faketime = shutil.which("faketime")
    if not faketime:
        pytest.skip("faketime is not installed")
    library = subprocess.run([faketime, "-f", "+1d", "printenv", "LD_PRELOAD"], capture_output=True, text=True).stdout.strip()
    settings = SETTINGS | {"KEYWARD_LEDGER_KEEP": "1d"}
    gateway = Gateway(tmp_path, providers={"test": counting.provider(600)}, env=settings | {"LD_PRELOAD": library, "FAKETIME": "-40d"}).start()
    assert call(gateway.port, gateway.new_key()["key"], 0, "whole")[0] == 200
    assert eventually(lambda: len(rows(gateway)) == 1)
    gateway.stop()
    del gateway.env["LD_PRELOAD"]
    gateway.start()
    # The sums of what is over are made by the step that deletes too, before it.
    assert eventually(lambda: count(gateway, "SELECT COUNT(*) FROM rolled WHERE span = 24") == 1)
    time.sleep(0.3)
    assert len(rows(gateway)) == 1
    gateway.stop()


@pytest.mark.parametrize("off, period", [("-40d", "month"), ("+40d", "month"), ("-2d", "day")])
def test_a_clock_that_is_set_right_after_the_start_gives_no_budget_a_second_time(counting, tmp_path, off, period):
    """The clock of a second run is wrong at first, as that of a machine without a battery for it is until it has asked another one."""
    faketime = shutil.which("faketime")
    if not faketime:
        pytest.skip("faketime is not installed")
    library = subprocess.run([faketime, "-f", "+1d", "printenv", "LD_PRELOAD"], capture_output=True, text=True).stdout.strip()
    gateway = Gateway(tmp_path, providers={"test": counting.provider(600)}, env=SETTINGS).start()
    limits = {"budget": f"0.001/{period}"}, {"limit": "requests/day=3"}
    spent = [gateway.new_key(**limit)["key"] for limit in limits]
    for key in spent:
        assert [call(gateway.port, key, 0, "whole")[0] for _ in range(3)] == [200] * 3
        assert call(gateway.port, key, 0, "whole")[0] in (402, 429)
    gateway.kill()
    clock = tmp_path / "clock"
    clock.write_text(off)
    gateway.env |= {"LD_PRELOAD": library, "FAKETIME_TIMESTAMP_FILE": str(clock), "FAKETIME_NO_CACHE": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1", "DONT_FAKE_MONOTONIC": "1"}
    gateway.start()
    # To a clock that is behind, what was used is yet to come, and counts.
    assert [call(gateway.port, key, 0, "whole")[0] for key in spent] == ([200, 200] if off[0] == "+" else [402, 429])
    clock.write_text("+0")
    for key, refused in zip(spent, (402, 429), strict=True):
        told = eventually(lambda key=key: (told := call(gateway.port, key, 0, "whole")[:2])[0] != 503 and told)
        assert told[0] == refused, told
    # What else is counted goes on at once, and so does whoever has something left.
    fresh = gateway.new_key(budget=f"0.001/{period}")["key"]
    assert call(gateway.port, fresh, 0, "whole")[0] == 200
    gateway.stop()


def count(gateway, query):
    with contextlib.closing(sqlite3.connect(gateway.folder / "data" / "keyward.db")) as db:
        return db.execute(query).fetchone()[0]


def test_what_ran_when_a_store_was_backed_up_does_not_run_for_ever_in_its_copy(counting, gateway, tmp_path):
    key, answered = gateway.new_key(budget="10/ever"), []
    counting.gate.clear()
    counting.arrivals = itertools.count(10)
    callers = [threading.Thread(target=lambda n=n: answered.append(call(gateway.port, key["key"], n, "whole")[0])) for n in range(3)]
    for caller in callers:
        caller.start()
    assert eventually(lambda: count(gateway, "SELECT COUNT(*) FROM requests WHERE outcome = 'open'") == 3)
    copy = tmp_path / "copy"
    (copy / "data").mkdir(parents=True, mode=0o700)
    with contextlib.closing(sqlite3.connect(gateway.folder / "data" / "keyward.db")) as db, contextlib.closing(sqlite3.connect(copy / "data" / "keyward.db")) as to:
        db.backup(to)
    shutil.copy(gateway.folder / "data" / "server.secret", copy / "data")
    counting.gate.set()
    for caller in callers:
        caller.join()
    assert answered == [200] * 3
    restored = Gateway(copy, providers={"test": counting.provider(600)}, env=SETTINGS).start()
    used = restored.usage("key", key["id"], 3)
    assert (used["requests"], used["running"]) == (3, 0) and used["cost_nano_usd"] > 0
    restored.stop()


def test_a_store_that_is_put_back_is_not_destroyed_by_the_journal_of_the_one_before(counting, tmp_path):
    gateway = Gateway(tmp_path, providers={"test": counting.provider(600)}, env=SETTINGS).start()
    data, store = tmp_path / "data", tmp_path / "data" / "keyward.db"
    known = gateway.new_key()["key"]
    with contextlib.closing(sqlite3.connect(store)) as db, contextlib.closing(sqlite3.connect(tmp_path / "backup")) as to:
        db.backup(to)
    for number in range(120):
        gateway.admin("POST", "/keys", {"name": f"{number}", "models": [f"test/{'x' * 40}{glob}" for glob in range(40)]})
        if number == 60:
            # As one that is due by itself: the journal begins anew.
            with contextlib.closing(sqlite3.connect(store)) as db:
                assert db.execute("PRAGMA wal_checkpoint(RESTART)").fetchone()[0] == 0
    later = gateway.new_key()["key"]
    gateway.kill()
    shutil.copytree(data, tmp_path / "whole")
    shutil.copy(tmp_path / "backup", store)
    store.chmod(0o600)
    kept = {path: path.read_bytes() for path in (store, store.with_name("keyward.db-wal"))}
    for command in (["serve"], ["keys", "list"], ["keys", "create", "--name", "x"], ["serve", "--check"], ["doctor"]):
        done = gateway.run(*command)
        assert done.returncode == 1 and "keyward.db-wal beside it is of another one" in done.stderr + done.stdout, (command, done)
    assert {path: path.read_bytes() for path in kept} == kept, "nothing was changed"
    for end in ("wal", "shm"):
        store.with_name(f"keyward.db-{end}").unlink()
    gateway.start()
    assert call(gateway.port, known, 0, "whole")[0] == 200 and call(gateway.port, later, 1, "whole")[0] == 401
    gateway.stop()
    # What a killed process left is its own, wherever it was copied to.
    shutil.rmtree(data)
    (tmp_path / "whole").rename(data)
    gateway.start()
    assert [call(gateway.port, key, 2, "whole")[0] for key in (known, later)] == [200, 200]
    gateway.stop()


def test_a_command_beside_a_first_start_waits_for_it(tmp_path):
    for number in range(4):
        folder = tmp_path / str(number)
        folder.mkdir()
        gateway = Gateway(folder)
        with (folder / "log").open("ab") as log:
            gateway.process = subprocess.Popen([BINARY], cwd=folder, env=gateway.env, stdout=log, stderr=subprocess.STDOUT)
        assert eventually(lambda: (folder / "data" / "ledger").exists())
        time.sleep(number * 0.01)
        done = gateway.run("keys", "create", "--name", "x")
        assert done.returncode == 0, done
        assert eventually(gateway.is_up, seconds=20)
        gateway.stop()


def test_only_a_start_brings_a_store_up_to_date(gateway, counting, tmp_path):
    newest = count(gateway, "SELECT MAX(version) FROM _sqlx_migrations")
    version = lambda: count(gateway, "SELECT MAX(version) FROM _sqlx_migrations")  # noqa: E731

    def as_before():
        """The tables are as they were, but for what says so."""
        with contextlib.closing(sqlite3.connect(gateway.folder / "data" / "keyward.db")) as db, db:
            db.execute("DELETE FROM _sqlx_migrations WHERE version = ?", [newest])

    as_before()
    for running in (True, False):
        for command in (["keys", "list"], ["keys", "create", "--name", "x"], ["usage"], ["audit", "--verify"]):
            done = gateway.run(*command)
            assert done.returncode == 1 and "of an older Keyward" in done.stderr and "back it up" in done.stderr, (command, done)
        done = gateway.run("serve", "--check")
        assert done.returncode == 0 and "of an older Keyward" in done.stdout, done
        assert "of an older Keyward" in gateway.run("doctor").stdout
        assert version() == newest - 1
        if running:
            other = subprocess.run([BINARY, "serve"], cwd=gateway.folder, env=gateway.env | {"KEYWARD_LISTEN": "127.0.0.1:0"}, capture_output=True, text=True, timeout=30)
            assert other.returncode == 1 and "another keyward is running" in other.stderr + other.stdout and version() == newest - 1
            gateway.stop()


@pytest.mark.parametrize("gateway", [{"KEYWARD_STORE_DOWN_FOR": "2s"}], indirect=True)
def test_readyz_tells_when_no_key_is_let_in_any_more(gateway):
    key = gateway.new_key()["key"]
    ask = lambda: call(gateway.port, key, 0, "whole")[0]  # noqa: E731
    assert ask() == 200
    store = gateway.folder / "data" / "keyward.db"
    store.rename(store.with_suffix(".away"))
    assert eventually(lambda: ready(gateway)[1]["status"] == "degraded") and ready(gateway)[0] == 200
    assert eventually(lambda: ready(gateway)[0] == 503, seconds=8) and ready(gateway)[1]["status"] == "not ready"
    assert ask() == 503
    store.with_suffix(".away").rename(store)
    assert eventually(lambda: ready(gateway) and ready(gateway)[0] == 200, seconds=8)
    assert eventually(lambda: ask() == 200)


def test_a_torn_last_record_is_told(gateway, counting):
    key = gateway.new_key()["key"]
    assert call(gateway.port, key, 0, "whole")[0] == 200
    gateway.kill()
    segment = max((gateway.folder / "data" / "ledger").glob("*.seg"))
    with segment.open("ab") as file:
        file.write(b"0badc0de {\"begi")
    gateway.start()
    assert eventually(lambda: ready(gateway)[1]["ledger_damaged_lines"] == 1), ready(gateway)
    assert b"keyward_ledger_damaged_lines_total 1" in gateway.request("GET", "/metrics").body
    assert call(gateway.port, key, 1, "whole")[0] == 200
    assert eventually(lambda: len(rows(gateway)) == 2), rows(gateway)
