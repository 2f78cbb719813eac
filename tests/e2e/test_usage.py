"""What was used and what it cost, as the command line and the management API tell it."""

import contextlib
import csv
import datetime
import io
import json
import sqlite3

import openai
import pytest

import upstream as provider
from gateway import eventually
from test_chat import MESSAGES

# 600 plain input tokens at 0.15, 400 cached ones at 0.075 and 200 of output at 0.6 USD per million, in nano-dollars.
COST = 600 * 150 + 400 * 75 + 200 * 600


def ask(gateway, key, **options):
    return gateway.client(key["key"]).chat.completions.create(**{"model": "test/gpt-4o-mini", "messages": MESSAGES, **options})


def test_whole_and_streamed_answers_cost_the_same(gateway, upstream):
    key = gateway.new_key(name="spender")
    ask(gateway, key)
    list(ask(gateway, key, stream=True))
    list(ask(gateway, key, stream=True, stream_options={"include_usage": True}))
    row = gateway.usage("key", key["id"], 3)
    assert row == {
        "group": key["id"],
        "requests": 3,
        "failed": 0,
        "input_tokens": 3000,
        "cached_tokens": 1200,
        "output_tokens": 600,
        "cost_nano_usd": 3 * COST,
        "unpriced": 0,
        "running": 0,
    }


def test_who_stops_at_the_end_marker_has_not_hung_up(gateway, upstream):
    """The SDK closes the connection at `[DONE]`, which may be before the provider has ended its answer."""
    key = gateway.new_key()
    answer = provider.chat_stream("one two three", usage=True)
    answer.hold = provider.Hold(after=len(answer.body))
    upstream.serve("gpt-4o-mini", answer)
    list(ask(gateway, key, stream=True))
    assert answer.hold.gone.wait(5)
    row = gateway.usage("key", key["id"], 1)
    assert (row["failed"], row["output_tokens"], row["cost_nano_usd"]) == (0, 200, COST)


def test_management_api_tells_the_same(gateway, upstream):
    key, admin = gateway.new_key(), gateway.new_key(kind="admin")["key"]
    ask(gateway, key)
    rows = gateway.request("GET", f"/admin/v1/usage?by=key&key={key['id']}", key=admin).json()["data"]
    assert rows == [gateway.usage("key", key["id"], 1)]
    assert rows[0]["cost_nano_usd"] == COST


def test_a_page_that_ends_with_what_belongs_to_no_project_is_not_the_last(start_gateway):
    gateway = start_gateway()
    gateway.admin("POST", "/projects", {"id": "dear"})
    gateway.admin("POST", "/projects", {"id": "cheap"})
    for project, requests in ((["--project", "dear"], 3), ([], 2), (["--project", "cheap"], 1)):
        key = gateway.cli("keys", "create", "--name", "x", *project)
        for _ in range(requests):
            ask(gateway, key)
        assert gateway.usage("key", key["id"], requests)
    groups, query = [], ""
    while query is not None:
        page = gateway.admin("GET", f"/usage?by=project&limit=1{query}")
        groups += [row["group"] for row in page["data"]]
        query = f"&after={page['next']}" if page["next"] else None
    assert groups == ["dear", "", "cheap"]
    # As `next` was in versions before this one.
    assert [row["group"] for row in gateway.admin("GET", "/usage?by=project&after=")["data"]] == ["cheap"]


def test_management_api_is_for_admin_keys(gateway, key):
    reply = gateway.request("GET", "/admin/v1/usage?by=key", key=key)
    assert (reply.status, reply.json()["code"]) == (403, "key_not_admin")


def test_by_model_and_by_day(gateway, upstream):
    key = gateway.new_key()
    ask(gateway, key)
    ask(gateway, key, model="test/unlisted")
    gateway.usage("key", key["id"], 2)
    models = {row["group"]: row for row in gateway.cli("usage", "--by", "model", "--key", key["id"])}
    assert set(models) == {"test/gpt-4o-mini", "test/unlisted"}
    assert models["test/unlisted"]["unpriced"] == 1 and models["test/unlisted"]["cost_nano_usd"] == 0
    [day] = gateway.cli("usage", "--by", "day", "--key", key["id"])
    today = datetime.datetime.now(datetime.UTC).date()
    assert day["group"] in {str(today), str(today - datetime.timedelta(days=1))}
    assert day["requests"] == 2


def test_errors_of_the_provider_are_failures_and_cost_nothing(gateway, upstream):
    key = gateway.new_key()
    upstream.serve("gpt-4o-mini", provider.error(400))
    with pytest.raises(openai.BadRequestError):
        ask(gateway, key)
    row = gateway.usage("key", key["id"], 1)
    assert (row["failed"], row["output_tokens"], row["cost_nano_usd"]) == (1, 0, 0)


def test_refusals_are_no_requests(gateway, upstream):
    key = gateway.new_key(models="simulator/*")
    with pytest.raises(openai.PermissionDeniedError):
        ask(gateway, key)
    ask(gateway, key, model="simulator/echo")
    assert gateway.usage("key", key["id"], 1)["requests"] == 1


def test_who_hangs_up_is_charged_for_what_came(gateway, upstream):
    key = gateway.new_key()
    hold = provider.Hold(after=900)
    upstream.serve("gpt-4o-mini", provider.chat_stream("one two three four five six seven eight", hold=hold))
    stream = ask(gateway, key, stream=True)
    chunks = iter(stream)
    while not next(chunks).choices[0].delta.content:
        pass
    stream.close()
    assert hold.gone.wait(5)
    row = gateway.usage("key", key["id"], 1)
    settled = eventually(lambda: gateway.usage("key", key["id"], 1)["output_tokens"])
    assert row["failed"] == 1 and 0 < settled < 200


def test_embeddings_and_responses_are_counted(gateway, upstream):
    key = gateway.new_key()
    client = gateway.client(key["key"])
    upstream.serve(
        "gpt-4o-mini",
        provider.answer_json({"object": "list", "data": [], "model": "m", "usage": {"prompt_tokens": 7, "total_tokens": 7}}),
        provider.answer_json(
            {"id": "r", "object": "response", "output": [], "usage": {"input_tokens": 20, "output_tokens": 3, "total_tokens": 23}}
        ),
    )
    client.embeddings.create(model="test/gpt-4o-mini", input="Hi", encoding_format="float")
    client.responses.create(model="test/gpt-4o-mini", input="Hi")
    row = gateway.usage("key", key["id"], 2)
    assert (row["input_tokens"], row["output_tokens"], row["failed"]) == (27, 3, 0)


def test_single_requests_are_exported_by_both_ways(gateway, upstream):
    key, admin = gateway.new_key(name="exported"), gateway.new_key(kind="admin")["key"]
    ask(gateway, key)
    gateway.usage("key", key["id"], 1)
    path = "/admin/v1/usage/export"
    lines = gateway.request("GET", f"{path}?since=2026-01-01", key=admin).body.decode().splitlines()
    (mine,) = [row for row in map(json.loads, lines) if row["key"] == key["id"]]
    # A time that does not say of which zone is none, and least of all that day's midnight.
    for since in ("2026-01-31T12:00:00", "2026-01-31 12:00", "20260131"):
        told = gateway.request("GET", f"{path}?since={since.replace(' ', '%20')}", key=admin)
        assert told.status == 400 and "write it as 2027-01-31 or 2027-01-31T12:00:00Z" in told.json()["detail"], told
    assert (mine["outcome"], mine["cost_nano_usd"], mine["provider"], mine["source"]) == ("answered", COST, "test", "reported")
    answer = gateway.request("GET", f"{path}?format=csv", key=admin)
    assert answer.headers["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(answer.body.decode())))
    assert [row["id"] for row in rows if row["key"] == key["id"]] == [mine["id"]]
    # Of one key alone, and from where: what is asked of one that has leaked.
    alone = gateway.request("GET", f"{path}?key={key['id']}", key=admin).body.decode().splitlines()
    assert [json.loads(line) for line in alone] == [mine] and mine["source_address"] == "127.0.0.1"
    assert gateway.run("usage", "export", "--key", key["id"]).stdout.splitlines() == alone
    printed = gateway.run("usage", "export", "--format", "csv").stdout
    assert mine["id"] in printed and printed.startswith("id,began,ended,")
    assert gateway.request("GET", path, key=key["key"]).status == 403
    assert gateway.request("GET", f"{path}?format=xml", key=admin).json()["code"] == "invalid_query"


def test_what_the_store_has_not_taken_yet_is_told_beside_what_the_command_line_sums_up(start_gateway):
    gateway = start_gateway()
    key = gateway.new_key()

    def noted():
        told = {gateway.run(*command).stderr for command in (("usage", "--by", "key"), ("usage", "--json"), ("usage", "export"))}
        assert len(told) == 1, told
        return told.pop()

    ask(gateway, key, model="simulator/echo")
    # What has come is waited for.
    assert noted() == "" and gateway.usage("key", key["id"], 1)["requests"] == 1
    with contextlib.closing(sqlite3.connect(gateway.folder / "data" / "keyward.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        ask(gateway, key, model="simulator/echo")
        assert "are not in the store yet" in noted() and "/readyz" in noted()
        gateway.kill()
        assert "are not in the store yet" in noted() and "the next start" in noted()
        other.execute("ROLLBACK")
    gateway.start()
    assert noted() == "" and gateway.usage("key", key["id"], 2)["requests"] == 2


def test_a_part_of_an_hour_whose_requests_have_had_their_time_is_said_to_be_left_out(start_gateway):
    gateway = start_gateway(env={"KEYWARD_LEDGER_KEEP": "1h"})
    key, admin = gateway.new_key(), gateway.new_key(kind="admin")["key"]
    ask(gateway, key, model="simulator/echo")
    assert gateway.usage("key", key["id"], 1)["requests"] == 1
    gateway.stop()
    # As if it had come at half past, five hours ago; another comes now, so that the clock is believed.
    hour = datetime.datetime.now(datetime.UTC).replace(minute=0, second=0, microsecond=0) - datetime.timedelta(hours=5)
    micros = int(hour.timestamp() + 1800) * 1_000_000
    with contextlib.closing(sqlite3.connect(gateway.folder / "data" / "keyward.db", isolation_level=None)) as store:
        store.execute("UPDATE ledger SET place = ? << 8, ended = ?", (micros, micros))
        store.execute("DELETE FROM rollups")
        store.execute("DELETE FROM rolled")
    gateway.start()
    ask(gateway, key, model="simulator/echo")
    assert gateway.usage("key", key["id"], 2)["requests"] == 2
    gateway.stop()
    gateway.start()

    def time(minutes):
        return (hour + datetime.timedelta(minutes=minutes)).strftime("%Y-%m-%dT%H:%M:%SZ")

    def sums(since=None, until=None):
        query = "".join(f"&{name}={value}" for name, value in (("since", since), ("until", until)) if value)
        told = gateway.request("GET", f"/admin/v1/usage?by=key{query}", key=admin).json()
        return sum(row["requests"] for row in told["data"]), told["complete"], told.get("note", "")

    def export(query):
        answer = gateway.request("GET", f"/admin/v1/usage/export?{query}", key=admin)
        return len(answer.body.splitlines()), answer.headers["keyward-complete"], answer.headers.get("keyward-kept-since")

    assert eventually(lambda: export("")[0] == 1), export("")
    assert [sums(), sums(time(0)), sums(time(0), time(60)), sums(time(60))] == [(2, True, ""), (2, True, ""), (1, True, ""), (1, True, "")]
    for since, until, requests in ((time(15), None, 1), (None, time(45), 0), (time(15), time(45), 0)):
        count, complete, note = sums(since, until)
        assert (count, complete) == (requests, False) and f"from {time(0)} to {time(60)} " in note and "ledger.keep" in note, note
        assert note.count(time(0)) == 1
    flags = ["--by", "key", "--since", time(15)]
    assert f"from {time(0)} to {time(60)} " in gateway.run("usage", *flags).stderr and gateway.run("usage", "--by", "key").stderr == ""
    # Of single requests all that is deleted is missing; who names no beginning asks for what there is.
    assert export("") == (1, "true", time(60))
    assert export(f"since={time(0)}") == (1, "false", time(60)) and export(f"since={time(60)}") == (1, "true", None)
    assert time(60) in gateway.run("usage", "export", "--since", time(0)).stderr and gateway.run("usage", "export").stderr == ""


@pytest.mark.parametrize("by, group", [("provider", "test"), ("operation", "chat"), ("project", ""), ("team", "")])
def test_usage_is_summed_by_what_else_there_is(gateway, upstream, by, group):
    key = gateway.new_key(name="summed")
    ask(gateway, key)
    gateway.usage("key", key["id"], 1)
    (row,) = gateway.cli("usage", "--by", by, "--key", key["id"])
    assert (row["group"], row["requests"], row["cost_nano_usd"]) == (group, 1, COST)
