"""The management API by a real HTTP client: every route, roles, problems, pages, idempotency, audit, leaks."""

import base64
import contextlib
import datetime
import http.server
import json
import sqlite3
import subprocess
import threading
import time

import httpx
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from openapi_spec_validator import OpenAPIV31SpecValidator

from gateway import BINARY, eventually, free_port
from gateway import provider as provider_file
from upstream import error

V1 = "/admin/v1"
HELLO = {"model": "simulator/echo", "messages": [{"role": "user", "content": "Hello"}]}


def client(gateway, role="owner", base=None):
    made = gateway.new_key(kind="admin", role=role, name=role)
    http = httpx.Client(base_url=base or gateway.url, headers={"authorization": f"Bearer {made['key']}"}, timeout=20)
    http.key_id = made["id"]
    return http


@pytest.fixture(scope="module")
def owner(gateway):
    with client(gateway) as http:
        yield http


@pytest.fixture(scope="module")
def admin(gateway):
    with client(gateway, "admin") as http:
        yield http


@pytest.fixture(scope="module")
def viewer(gateway):
    with client(gateway, "viewer") as http:
        yield http


def problem(answer, status, code):
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), answer.text
    body = answer.json()
    assert (body["status"], body["code"]) == (status, code), body
    assert body["type"] and body["title"] and body["detail"]
    return body


def ok(answer, status=200):
    assert answer.status_code == status, answer.text
    return answer.json()


def chat(gateway, key):
    return gateway.request("POST", "/v1/chat/completions", json.dumps(HELLO), key=key)


def newest(http, subject):
    return next(entry for entry in ok(http.get(f"{V1}/audit"))["data"] if entry["subject"] == subject)


# Keys.


def test_a_key_from_its_making_to_its_end(gateway, admin):
    limits = {"models": ["simulator/*"], "rates": [{"unit": "requests", "per": "day", "most": 9}]}
    made = ok(admin.post(f"{V1}/keys", json={"name": "ci", "owner": "ann", **limits}), 201)
    path = f"{V1}/keys/{made['id']}"
    assert made["key"].startswith("kw_live_") and made["warnings"] == [] and chat(gateway, made["key"]).status == 200

    shown = admin.get(path)
    assert ok(shown)["owner"] == "ann" and "key" not in shown.json()
    changed = admin.patch(path, json={"name": "cd", "rates": []}, headers={"if-match": shown.headers["etag"]})
    assert (ok(changed)["name"], changed.json()["rates"], changed.json()["models"]) == ("cd", [], ["simulator/*"])
    problem(admin.patch(path, json={"name": "x"}, headers={"if-match": shown.headers["etag"]}), 412, "changed_meanwhile")
    entry = newest(admin, made["id"])
    assert (entry["actor"], entry["action"]) == (f"key:{admin.key_id}", "key.update")
    assert json.loads(entry["detail"]) == {"name": "cd", "rates": []}

    assert ok(admin.post(f"{path}/disable"))["state"] == "key_disabled"
    assert ok(admin.post(f"{path}/enable"))["state"] == "active"
    successor = ok(admin.post(f"{path}/rotate", json={"grace_s": 3600}), 201)
    ok(admin.patch(f"{V1}/keys/{successor['id']}", json={"parallel": 3}))
    assert ok(admin.get(path))["parallel"] == 3, "the limits are the family's"
    assert ok(admin.post(f"{path}/revoke"))["state"] == "key_revoked"
    problem(admin.patch(path, json={"name": "y"}), 409, "key_revoked")
    problem(admin.get(f"{V1}/keys/000000000000"), 404, "key_not_found")


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"nam": "x"}, "/nam"),
        ({"name": ""}, "/name"),
        ({"kind": "super"}, "/kind"),
        ({"role": "owner"}, "/role"),
        ({"project": "nobody"}, "/project"),
        ({"expires": "soon"}, "/expires"),
        ({"rates": [{"unit": "requests", "per": "week", "most": 1}]}, "/rates"),
        ({"rates": [{"unit": "apples", "per": "day", "most": 1}]}, "/rates/0"),
        ({"budgets": [{"nano_usd": -1, "per": "day"}]}, "/budgets/0"),
        ({"addresses": ["10.0.0.1/8"]}, "/addresses/0"),
        ({"paths": ["get /v1/models"]}, "/paths"),
    ],
)
def test_a_bad_field_is_named(admin, body, pointer):
    answer = problem(admin.post(f"{V1}/keys", json=body), 422, "invalid_fields")
    assert [error["pointer"] for error in answer["errors"]] == [pointer]


def test_null_in_a_change_is_no_word(admin):
    path = f"{V1}/keys/{ok(admin.post(f'{V1}/keys', json={'project': None, 'models': ['simulator/*'], 'parallel': 2}), 201)['id']}"
    for name in ("name", "owner", "role", "disabled", "models", "addresses", "paths", "tools", "rates", "parallel_by_model", "budgets"):
        [error] = problem(admin.patch(path, json={name: None, "parallel": 9}), 422, "invalid_fields")["errors"]
        assert (error["pointer"], "null" in error["detail"]) == (f"/{name}", True)
        problem(admin.post(f"{V1}/keys", json={name: None}), 422, "invalid_fields")
    assert ok(admin.get(path))["parallel"] == 2
    cleared = ok(admin.patch(path, json={"parallel": None, "expires": None, "not_before": None, "project": None}))
    assert (cleared["parallel"], cleared["models"]) == (None, ["simulator/*"])
    problem(admin.patch(f"{V1}/limits", json={"budgets": None}), 422, "invalid_fields")
    schemas = ok(admin.get(f"{V1}/openapi.json"))["components"]["schemas"]
    assert schemas["LimitsChange"]["properties"]["budgets"]["type"] == "array"
    money = schemas["Budget"]["properties"]["nano_usd"]
    assert (money["minimum"], money["maximum"]) == (0, 10**18)
    problem(admin.post(f"{V1}/keys", json={"budgets": [{"nano_usd": 10**18 + 1, "per": "month"}]}), 422, "invalid_fields")
    assert schemas["LimitsChange"]["properties"]["parallel"]["type"] == ["integer", "null"]


def test_bad_json_and_bad_queries(admin):
    problem(admin.post(f"{V1}/keys", content=b"{"), 400, "invalid_json")
    problem(admin.get(f"{V1}/keys?limit=0"), 400, "invalid_query")
    problem(admin.get(f"{V1}/keys?after=x"), 400, "invalid_query")
    problem(admin.get(f"{V1}/keys?after={'A' * 12}"), 400, "invalid_query")
    problem(admin.get(f"{V1}/keys?ownr=x"), 400, "invalid_query")
    problem(admin.get(f"{V1}/keys?state=tired"), 422, "invalid_fields")
    problem(admin.get(f"{V1}/usage?by=moon"), 400, "invalid_query")


def test_a_glob_that_names_nothing_is_warned_of(admin):
    made = ok(admin.post(f"{V1}/keys", json={"models": ["simulater/*", "openai/*"]}), 201)
    [warning] = made["warnings"]
    assert "did you mean 'simulator/*'" in warning


def test_what_all_may_call_does_not_shut_out_who_can_change_it(start_gateway):
    gateway = start_gateway()
    gateway.admin("PATCH", "/limits", {"paths": ["POST /v1/chat/*"], "addresses": ["192.0.2.0/24"]})
    assert gateway.admin("PATCH", "/limits", {"paths": [], "addresses": []})["paths"] == []


def test_paths_and_methods_that_are_not_served_are_problems_too(admin):
    problem(admin.get(f"{V1}/nothing"), 404, "path_not_found")
    problem(admin.put(f"{V1}/leaks"), 405, "method_not_allowed")
    for path in ("keys", "teams", "projects", "credentials", "budgets", "prompts", "services"):
        assert problem(admin.get(f"{V1}/{path}/%ff%00"), 404, admin.get(f"{V1}/{path}/nothing").json()["code"])


def test_revocation_reaches_running_requests_path_within_a_second(gateway, admin):
    made = ok(admin.post(f"{V1}/keys", json={}), 201)
    assert chat(gateway, made["key"]).status == 200
    ok(admin.post(f"{V1}/keys/{made['id']}/revoke"))
    began = time.monotonic()
    while (reply := chat(gateway, made["key"])).status == 200:
        assert time.monotonic() - began < 1
    assert reply.json()["error"]["code"] == "key_revoked" and time.monotonic() - began < 1


def test_pages_over_a_thousand_keys(start_gateway):
    gateway = start_gateway()
    with client(gateway) as http:
        made = [ok(http.post(f"{V1}/keys", json={"name": f"n{n}", "owner": "bulk" if n % 2 else "other"}), 201)["id"] for n in range(1000)]
        assert walk(http, "limit=300")[:1000] == made[::-1]
        listed = walk(http, "limit=37&owner=bulk")
        assert listed == made[1::2][::-1], "newest first, each once"
        ok(http.post(f"{V1}/keys/{made[1]}/disable"))
        assert walk(http, "state=disabled") == [made[1]]
        assert len(ok(http.post(f"{V1}/keys/revoke", json={"owner": "bulk"}))["data"]) == 500
        assert walk(http, "owner=bulk&state=active") == [] and len(walk(http, "owner=other&state=active")) == 500
        problem(http.post(f"{V1}/keys/revoke", json={}), 422, "invalid_fields")


def walk(http, query):
    ids, after = [], ""
    while True:
        page = ok(http.get(f"{V1}/keys?{query}{after}"))
        ids += [key["id"] for key in page["data"]]
        if page["next"] is None:
            return ids
        after = f"&after={page['next']}"


# Credentials.


def test_a_credential_from_its_coming_to_its_end(start_gateway, upstream):
    gateway = start_gateway(providers={"test": provider_file(upstream.url, credential="UNSET_KEY")})
    key = gateway.new_key()["key"]
    ask = lambda: gateway.request("POST", "/v1/chat/completions", json.dumps(HELLO | {"model": "test/gpt-4o-mini"}), key=key).status  # noqa: E731
    shown = lambda: upstream.requests[-1].headers["authorization"].removeprefix("Bearer ")  # noqa: E731
    with client(gateway, "admin") as http:
        problem(http.get(f"{V1}/credentials/main"), 404, "credential_not_found")
        new = {"name": "main", "provider": "test", "value": " sk-first-7d1f\n"}
        made = http.post(f"{V1}/credentials", json=new, headers={"idempotency-key": "one"})
        assert ok(made, 201) == {**ok(made, 201), "name": "main", "provider": "test", "weight": 1, "disabled": False, "fault": None, "refused_for_s": None}
        assert ask() == 200 and shown() == "sk-first-7d1f", "it holds at once"
        again = http.post(f"{V1}/credentials", json=new, headers={"idempotency-key": "one"})
        assert again.json() == made.json() and again.headers["idempotency-replayed"] == "true"
        problem(http.post(f"{V1}/credentials", json=new), 409, "exists")

        path = f"{V1}/credentials/main"
        tag = http.get(path).headers["etag"]
        replaced = http.patch(path, json={"value": "sk-second-2c90"}, headers={"if-match": tag})
        assert ok(replaced)["weight"] == 1 and ask() == 200 and shown() == "sk-second-2c90"
        changed = http.patch(path, json={"weight": 7}, headers={"if-match": replaced.headers["etag"]})
        assert ok(changed)["weight"] == 7
        problem(http.patch(path, json={"weight": 8}, headers={"if-match": tag}), 412, "changed_meanwhile")
        problem(http.delete(path, headers={"if-match": tag}), 412, "changed_meanwhile")
        assert ok(http.patch(path, json={"disabled": True}, headers={"if-match": f'"x", {changed.headers["etag"]}'}))["disabled"] is True
        assert ask() == 404, "so is that"
        assert ok(http.patch(path, json={"disabled": False}))["disabled"] is False and ask() == 200
        assert ok(http.post(f"{V1}/credentials", json={"name": "backup", "provider": "test", "variables": {"UNSET_KEY": "sk-third-55aa"}}), 201)
        assert [one["name"] for one in ok(http.get(f"{V1}/credentials"))["data"]] == ["backup", "main"]
        first = ok(http.get(f"{V1}/credentials?limit=1"))
        assert first["next"] == "backup" and ok(http.get(f"{V1}/credentials?after=backup"))["data"][0]["name"] == "main"
        assert http.delete(path).status_code == 204 and ask() == 200 and shown() == "sk-third-55aa"
        problem(http.delete(path), 404, "credential_not_found")
        upstream.serve("gpt-4o-mini", error(401, "Incorrect API key provided."))
        assert ask() == 502 and ok(http.get(f"{V1}/credentials/backup"))["refused_for_s"] > 0
        entries = [entry for entry in ok(http.get(f"{V1}/audit"))["data"] if entry["subject"] == "main"]
        assert [entry["action"] for entry in entries] == ["credential.remove", *["credential.update"] * 3, "credential.replace", "credential.add"]
        assert {entry["actor"] for entry in entries} == {f"key:{http.key_id}"}
        told = http.get(f"{V1}/credentials").text + http.get(f"{V1}/audit").text + made.text + replaced.text
    files = b"".join(file.read_bytes() for file in (gateway.folder / "data").rglob("*") if file.is_file()).decode("latin1")
    for secret in ("sk-first-7d1f", "sk-second-2c90", "sk-third-55aa"):
        assert secret not in told + files + gateway.log()


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"provider": "openai", "value": "sk-x"}, "/name"),
        ({"name": "No Slug", "provider": "openai", "value": "sk-x"}, "/name"),
        ({"name": "a", "value": "sk-x"}, "/provider"),
        ({"name": "a", "provider": "opnai", "value": "sk-x"}, "/provider"),
        ({"name": "a", "provider": "openai"}, "/value"),
        ({"name": "a", "provider": "openai", "value": " "}, "/value"),
        ({"name": "a", "provider": "openai", "value": 7351926}, "/value"),
        ({"name": "a", "provider": "openai", "value": "sk-x", "variables": {"OPENAI_API_KEY": "sk-y"}}, "/variables"),
        ({"name": "a", "provider": "openai", "variables": "sk-7351926"}, "/variables"),
        ({"name": "a", "provider": "openai", "variables": {"OTHER": "x"}}, "/variables"),
        ({"name": "a", "provider": "openai", "value": "sk-x", "weight": 0}, "/weight"),
        ({"name": "a", "provider": "openai", "value": "sk-x", "weight": 1001}, "/weight"),
        ({"name": "a", "provider": "openai", "value": "sk-x", "disabled": True}, "/disabled"),
        ({"name": "a", "provider": "openai", "valeu": "sk-x"}, "/valeu"),
    ],
)
def test_a_bad_field_of_a_credential_is_named_and_no_secret_repeated(admin, body, pointer):
    answer = admin.post(f"{V1}/credentials", json=body)
    assert [error["pointer"] for error in problem(answer, 422, "invalid_fields")["errors"]] == [pointer]
    assert "7351926" not in answer.text
    assert "7351926" not in admin.post(f"{V1}/credentials", json="sk-7351926").text
    assert ok(admin.get(f"{V1}/credentials"))["data"] == []


def test_a_credential_over_http_names_no_file_of_the_gateway_and_leads_nowhere_else(start_gateway):
    gateway = start_gateway()
    with client(gateway, "admin") as http:
        places = {"GOOGLE_VERTEX_PROJECT": "p", "GOOGLE_VERTEX_LOCATION": "eu"}
        new = {"name": "g", "provider": "google-vertex"}
        told = set()
        for path in ("/etc/passwd", "/no/such/file"):
            answer = http.post(f"{V1}/credentials", json=new | {"variables": places | {"GOOGLE_APPLICATION_CREDENTIALS": path}})
            [error] = problem(answer, 422, "invalid_fields")["errors"]
            told.add((error["pointer"], error["detail"]))
        assert len(told) == 1, "nothing of what files there are"
        user = {"type": "authorized_user", "client_id": "c", "client_secret": "s", "refresh_token": "r"}
        for text in (json.dumps(user), "\n" + json.dumps(user, indent=2)):
            variables = places | {"GOOGLE_APPLICATION_CREDENTIALS": text}
            ok(http.post(f"{V1}/credentials", json=new | {"variables": variables}), 201)
            assert http.delete(f"{V1}/credentials/g").status_code == 204
        azure = {"AZURE_API_KEY": "secret-of-azure", "AZURE_RESOURCE_NAME": "127.0.0.1:9/x?"}
        answer = problem(http.post(f"{V1}/credentials", json={"name": "a", "provider": "azure", "variables": azure}), 422, "invalid_fields")
        assert "AZURE_RESOURCE_NAME is no part of an address" in answer["detail"]


# Two who change the same.


def test_whoever_was_slower_is_told(start_gateway):
    gateway = start_gateway()
    with client(gateway, "admin") as http:
        ok(http.post(f"{V1}/teams", json={"id": "research"}), 201)
        ok(http.post(f"{V1}/projects", json={"id": "chat"}), 201)
        for path in ("teams/research", "projects/chat", "limits"):
            read = http.get(f"{V1}/{path}")
            budgets = {"budgets": [{"nano_usd": 10**9, "per": "day", "soft": True}]}
            first = http.patch(f"{V1}/{path}", json=budgets, headers={"if-match": read.headers["etag"]})
            assert ok(first)["budgets"][0]["nano_usd"] == 10**9
            problem(http.patch(f"{V1}/{path}", json={"budgets": []}, headers={"if-match": read.headers["etag"]}), 412, "changed_meanwhile")
            assert http.get(f"{V1}/{path}").headers["etag"] == first.headers["etag"]
            ok(http.patch(f"{V1}/{path}", json={"budgets": []}, headers={"if-match": "*"}))
        made = ok(http.post(f"{V1}/keys", json={}), 201)
        stale = http.get(f"{V1}/keys/{made['id']}").headers["etag"]
        assert ok(http.post(f"{V1}/keys/{made['id']}/disable", headers={"if-match": stale}))["disabled"] is True
        for step in ("enable", "rotate", "revoke"):
            problem(http.post(f"{V1}/keys/{made['id']}/{step}", headers={"if-match": stale}), 412, "changed_meanwhile")


# Owners.


def test_an_owner_is_switched_off_with_all_keys(gateway, admin, owner):
    first, other = (ok(admin.post(f"{V1}/keys", json={"owner": who}), 201) for who in ("ivy", "adam"))
    assert chat(gateway, first["key"]).status == 200
    assert [key["state"] for key in ok(admin.post(f"{V1}/keys/disable", json={"owner": "ivy"}))["data"]] == ["key_owner_disabled"]
    assert eventually(lambda: chat(gateway, first["key"]).status == 401, seconds=1)
    later = ok(admin.post(f"{V1}/keys", json={"owner": "ivy"}), 201)
    assert later["state"] == "key_owner_disabled" and chat(gateway, later["key"]).json()["error"]["code"] == "key_owner_disabled"
    assert chat(gateway, other["key"]).status == 200
    assert {key["id"] for key in ok(admin.get(f"{V1}/keys?state=owner_disabled"))["data"]} == {first["id"], later["id"]}
    ok(admin.post(f"{V1}/keys/{later['id']}/disable"))
    states = {key["id"]: key["state"] for key in ok(admin.post(f"{V1}/keys/enable", json={"owner": "ivy"}))["data"]}
    assert states == {first["id"]: "active", later["id"]: "key_disabled"}
    assert eventually(lambda: chat(gateway, first["key"]).status == 200, seconds=1)
    assert [newest(admin, "ivy")["action"], newest(admin, first["id"])["action"]] == ["owner.enable", "key.create"]
    problem(admin.post(f"{V1}/keys/disable", json={}), 422, "invalid_fields")
    assert "'evee'" in problem(admin.post(f"{V1}/keys/revoke", json={"owner": "evee"}), 404, "owner_not_found")["detail"]
    assert ok(admin.post(f"{V1}/keys/disable", json={"owner": "later"}))["data"] == []
    assert ok(admin.get(f"{V1}/keys/{first['id']}"))["state"] == "active"
    ok(owner.post(f"{V1}/keys", json={"owner": "boss", "kind": "admin", "role": "viewer"}), 201)
    problem(admin.post(f"{V1}/keys/disable", json={"owner": "boss"}), 403, "role_too_low")


# Roles.


def test_what_each_role_may(gateway, owner, admin, viewer, key):
    reads = ["keys", "teams", "projects", "limits", "budgets", "budgets/gateway", "credentials", "usage", "audit", "audit/verification"]
    assert [viewer.get(f"{V1}/{path}").status_code for path in reads] == [200] * len(reads)
    writes = [("POST", p) for p in ("keys", "teams", "projects", "leaks", "credentials", "keys/revoke", "keys/disable", "keys/enable", "keys/x/revoke", "keys/x/rotate", "keys/x/disable", "keys/x/enable")]
    writes += [("PATCH", p) for p in ("keys/x", "teams/x", "projects/x", "credentials/x", "limits")] + [("DELETE", "credentials/x")]
    for method, path in writes:
        refused = problem(viewer.request(method, f"{V1}/{path}", json={}), 403, "role_too_low")
        assert "'admin'" in refused["detail"] and "'viewer'" in refused["detail"]
    assert "'owner'" in problem(admin.post(f"{V1}/keys", json={"kind": "admin"}), 403, "role_too_low")["detail"]
    other = ok(owner.post(f"{V1}/keys", json={"kind": "admin", "role": "viewer", "owner": "root"}), 201)
    problem(admin.patch(f"{V1}/keys/{other['id']}", json={"role": "owner"}), 403, "role_too_low")
    problem(admin.post(f"{V1}/keys/{other['id']}/revoke"), 403, "role_too_low")
    problem(admin.post(f"{V1}/keys/revoke", json={"owner": "root"}), 403, "role_too_low")
    assert ok(owner.patch(f"{V1}/keys/{other['id']}", json={"role": "admin"}))["role"] == "admin"
    for path in reads:
        problem(httpx.get(f"{gateway.url}{V1}/{path}"), 401, "key_missing")
        problem(httpx.get(f"{gateway.url}{V1}/{path}", headers={"authorization": f"Bearer {key}"}), 403, "key_not_admin")


def test_each_management_request_is_a_line_of_the_log_and_who_may_not_is_counted(start_gateway):
    gateway = start_gateway()
    key = gateway.new_key()
    with client(gateway, "viewer") as viewer:
        ok(viewer.get(f"{V1}/keys?owner=ann", headers={"x-request-id": "looked"}))
        problem(viewer.post(f"{V1}/keys", json={"name": "mine"}), 403, "role_too_low")
        problem(viewer.get(f"{V1}/keys/{key['key']}x"), 404, "key_not_found")
        assert gateway.request("GET", f"{V1}/keys", key=key["key"]).status == 403
        assert gateway.request("GET", f"{V1}/keys", key="kw_admin_wrong").status == 401

        def lines():
            told = [json.loads(line) for line in gateway.log().splitlines() if line.startswith("{")]
            return [line for line in told if line.get("path", "").startswith(V1) or line.get("path") == "a path with a key in it"]

        assert eventually(lambda: len(lines()) == 5), lines()
        assert [(line.get("key"), line["method"], line["path"], line["status"], line.get("refused")) for line in lines()] == [
            (viewer.key_id, "GET", f"{V1}/keys", 200, None),
            (viewer.key_id, "POST", f"{V1}/keys", 403, "role_too_low"),
            (viewer.key_id, "GET", "a path with a key in it", 404, "key_not_found"),
            (key["id"], "GET", f"{V1}/keys", 403, "key_not_admin"),
            (None, "GET", f"{V1}/keys", 401, "key_wrong_length"),
        ]
        assert lines()[0]["request_id"] == "looked"
        assert {(line["from"], line["level"], line["target"]) for line in lines()} == {("127.0.0.1", "INFO", "keyward::request")}
    metrics = gateway.request("GET", "/metrics").body.decode()
    for code in ("role_too_low", "key_not_admin", "key_wrong_length"):
        assert f'code="{code}"}} 1\n' in metrics, metrics


def test_what_is_asked_of_management_in_vain_is_a_line_of_the_log_too(start_gateway):
    port = free_port()
    of_its_own = {"KEYWARD_ADMIN_LISTEN": f"127.0.0.1:{port}"}
    for gateway, base in ((start_gateway(), None), (start_gateway(env=of_its_own), f"http://127.0.0.1:{port}")):
        with client(gateway, "viewer", base) as viewer:
            problem(viewer.get(f"{V1}/nothing/here", headers={"x-request-id": "in-vain"}), 404, "path_not_found")
            problem(viewer.request("BREW", f"{V1}/keys"), 405, "method_not_allowed")
            problem(viewer.get(V1), 404, "path_not_found")
            for path in ("/nothing", "/admin", "/administration", "/v1/nothing/here", f"{V1}ated", "/healthz"):
                viewer.get(path)
            ok(viewer.get(f"{V1}/limits"))

        def lines(gateway=gateway):
            told = [json.loads(line) for line in gateway.log().splitlines() if line.startswith("{")]
            return [line for line in told if line.get("target") == "keyward::request"]

        assert eventually(lambda: len(lines()) >= 4), lines()  # noqa: B023
        assert [(line["method"], line["path"], line["status"], line.get("refused")) for line in lines()] == [
            ("GET", f"{V1}/nothing/here", 404, "path_not_found"),
            ("BREW", f"{V1}/keys", 405, "method_not_allowed"),
            ("GET", V1, 404, "path_not_found"),
            ("GET", f"{V1}/limits", 200, None),
        ]
        assert lines()[0]["request_id"] == "in-vain" and {line["from"] for line in lines()} == {"127.0.0.1"}


def test_an_admin_key_is_explained_by_what_it_changed(gateway, owner):
    with client(gateway, "admin") as admin:
        explained = ok(owner.post(f"{V1}/keys/explain", json={"key": admin.key_id}))
        assert (explained["last_use"], explained["last_change"]) == (None, None)
        assert "has changed nothing" in gateway.run("keys", "explain", admin.key_id).stdout
        made = ok(admin.post(f"{V1}/keys", json={"name": "its own"}), 201)
        explained = ok(owner.post(f"{V1}/keys/explain", json={"key": admin.key_id}))
        last = explained["last_change"]
        assert (last["actor"], last["action"], last["subject"]) == (f"key:{admin.key_id}", "key.create", made["id"])
        told = gateway.run("keys", "explain", admin.key_id).stdout
        assert f"key.create of {made['id']}" in told and "Last used" not in told, told


# Teams, projects, the gateway.


def test_teams_projects_and_budgets(start_gateway):
    gateway = start_gateway()
    budget = {"nano_usd": 5_000_000_000, "per": "month"}
    with client(gateway, "admin") as http:
        assert ok(http.post(f"{V1}/teams", json={"id": "research", "budgets": [budget]}), 201)["state"]["budgets"][0]["left_nano_usd"] == 5_000_000_000
        problem(http.post(f"{V1}/teams", json={"id": "research"}), 409, "exists")
        near = problem(http.post(f"{V1}/projects", json={"id": "chat", "team": "reserch"}), 422, "invalid_fields")
        assert near["errors"][0]["pointer"] == "/team" and "did you mean 'research'" in near["detail"]
        ok(http.post(f"{V1}/projects", json={"id": "chat", "team": "research"}), 201)
        problem(http.post(f"{V1}/projects", json={"id": "No Slug"}), 422, "invalid_fields")
        problem(http.get(f"{V1}/teams/nobody"), 404, "not_found")
        made = ok(http.post(f"{V1}/keys", json={"project": "chat"}), 201)
        assert [key["id"] for key in ok(http.get(f"{V1}/keys?project=chat"))["data"]] == [made["id"]]
        assert chat(gateway, made["key"]).status == 200

        day = {"unit": "requests", "per": "day", "most": 10}
        ok(http.patch(f"{V1}/projects/chat", json={"rates": [day], "name": "Chat"}))
        assert chat(gateway, made["key"]).status == 200
        shown = ok(http.get(f"{V1}/projects/chat"))
        assert (shown["name"], shown["team"], shown["state"]["rates"][0]["left"]) == ("Chat", "research", 8), "what was used before counts"
        ok(http.patch(f"{V1}/teams/research", json={"disabled": True}))
        time.sleep(1)
        assert chat(gateway, made["key"]).json()["error"]["code"] == "key_group_disabled"
        other = ok(http.post(f"{V1}/keys", json={"name": "of no project"}), 201)
        states = {key["id"]: key["state"] for key in ok(http.get(f"{V1}/keys"))["data"]}
        assert (states[made["id"]], states[other["id"]]) == ("key_group_disabled", "active")
        assert {key["id"]: key["state"] for key in gateway.cli("keys", "list")} == states
        assert [key["id"] for key in ok(http.get(f"{V1}/keys?state=group_disabled"))["data"]] == [made["id"]]
        told = ok(http.post(f"{V1}/keys/explain", json={"key": made["id"]}))
        assert (told["code"], told["key"]["state"]) == ("key_group_disabled", "key_group_disabled")
        ok(http.patch(f"{V1}/teams/research", json={"disabled": False}))
        assert ok(http.get(f"{V1}/keys/{made['id']}"))["state"] == "active"

        ok(http.patch(f"{V1}/limits", json={"budgets": [{"nano_usd": 10**9, "per": "day", "soft": True}]}))
        assert ok(http.get(f"{V1}/limits"))["budgets"][0]["soft"] is True
        accounts = ok(http.get(f"{V1}/budgets?limit=2"))
        assert [state["account"] for state in accounts["data"]] == ["gateway", "project:chat"] and accounts["next"] == "project:chat"
        assert [state["account"] for state in ok(http.get(f"{V1}/budgets?after=project:chat"))["data"]] == ["team:research"]
        assert ok(http.get(f"{V1}/budgets/{made['id']}"))["account"] == made["id"]
        problem(http.get(f"{V1}/budgets/nobody"), 404, "not_found")
        assert [team["id"] for team in ok(http.get(f"{V1}/teams"))["data"]] == ["research"]
        assert [project["id"] for project in ok(http.get(f"{V1}/projects"))["data"]] == ["chat"]


def test_the_command_line_does_the_same(start_gateway, tmp_path):
    gateway = start_gateway()
    gateway.cli("teams", "create", "research", "--budget", "50/month")
    project = gateway.cli("projects", "create", "chat", "--team", "research", "--limit", "requests/day=5")
    assert project["state"]["rates"][0]["left"] == 5
    made = gateway.new_key(project="chat", owner="ann", rpm=7)
    assert gateway.cli("keys", "update", made["id"], "--clear", "limits", "--parallel", "2")["rates"] == []
    assert gateway.cli("keys", "list", "--project", "chat")[0]["parallel"] == 2
    assert gateway.cli("keys", "disable", made["id"])["state"] == "key_disabled"
    assert gateway.cli("keys", "enable", made["id"])["state"] == "active"
    near = gateway.run("keys", "create", "--project", "chatt")
    assert near.returncode == 1 and "did you mean 'chat'" in near.stderr
    assert "did you mean 'simulator/*'" in gateway.run("keys", "create", "--models", "simulater/*").stderr
    leaked = tmp_path / "leaked"
    leaked.write_bytes(b"a log \xff line\n" + f"{made['key']}\n\nkw_live_nothing\n".encode())
    assert [leak["outcome"] for leak in gateway.cli("keys", "revoke", "--leaked", str(leaked))] == ["unknown", "revoked", "unknown"]
    gateway.new_key(owner="ann")
    assert len(gateway.cli("keys", "revoke", "--owner", "ann")) == 1
    assert gateway.cli("limits", "set", "--budget", "9/day")["budgets"] == [{"nano_usd": 9_000_000_000, "per": "day", "soft": False}]
    assert gateway.cli("limits", "show")["state"]["budgets"][0]["left_nano_usd"] == 9_000_000_000
    assert gateway.cli("projects", "update", "chat", "--disabled", "true")["disabled"] is True
    assert [team["id"] for team in gateway.cli("teams", "list")] == ["research"]
    for command in (["teams", "show", "research"], ["projects", "list"], ["audit"], ["limits", "show"]):
        done = gateway.run(*command)
        assert done.returncode == 0 and len(done.stdout.splitlines()) > 1, done.stderr


# Idempotency.


def test_a_post_has_its_effect_once_also_after_a_restart(start_gateway):
    gateway = start_gateway()
    once = {"idempotency-key": "order-1"}
    with client(gateway) as http, client(gateway) as other:
        first = http.post(f"{V1}/keys", json={"name": "once"}, headers=once)
        key = ok(first, 201)["key"]
        gateway.stop()
        stored = b"".join(file.read_bytes() for file in (gateway.folder / "data").rglob("*") if file.is_file())
        assert key.encode() not in stored and key[-36:].encode() not in stored
        gateway.start()
        again = http.post(f"{V1}/keys", json={"name": "once"}, headers=once)
        assert (again.status_code, again.json(), again.headers["idempotency-replayed"]) == (201, first.json(), "true")
        assert abs(datetime.datetime.fromisoformat(first.headers["idempotency-expires"]).timestamp() - time.time() - 24 * 3600) < 60
        assert again.headers["idempotency-expires"][:19] == first.headers["idempotency-expires"][:19]
        problem(http.post(f"{V1}/keys", json={"name": "twice"}, headers=once), 422, "idempotency_key_reused")
        problem(http.post(f"{V1}/teams", json={"name": "once"}, headers=once), 422, "idempotency_key_reused")
        assert ok(other.post(f"{V1}/keys", json={"name": "once"}, headers=once), 201)["id"] != first.json()["id"]
        assert [entry["name"] for entry in ok(http.get(f"{V1}/keys"))["data"]].count("once") == 2
        # What was refused had no effect, and may be sent again.
        bad = {"idempotency-key": "order-2"}
        problem(http.post(f"{V1}/projects", json={"id": "p", "team": "t"}, headers=bad), 422, "invalid_fields")
        ok(http.post(f"{V1}/teams", json={"id": "t"}), 201)
        ok(http.post(f"{V1}/projects", json={"id": "p", "team": "t"}, headers=bad), 201)
        problem(httpx.post(f"{gateway.url}{V1}/keys", json={"name": "once"}, headers=once), 401, "key_missing")


def test_a_change_whose_answer_is_too_large_to_be_kept_is_answered_as_done(start_gateway):
    gateway = start_gateway()
    once = {"idempotency-key": "all"}
    with client(gateway) as http:
        for _ in range(3):
            ok(http.post(f"{V1}/keys", json={"owner": "ann", "paths": [f"POST /{number:0>4000}" for number in range(400)]}), 201)
        first = http.post(f"{V1}/keys/disable", json={"owner": "ann"}, headers=once)
        assert len(first.content) > 4 << 20 and [key["state"] for key in ok(first)["data"]] == ["key_owner_disabled"] * 3
        again = http.post(f"{V1}/keys/disable", json={"owner": "ann"}, headers=once)
        assert ok(again)["done"] is True and "by GET" in again.json()["detail"]
        assert (again.headers["idempotency-replayed"], again.headers["content-type"]) == ("true", "application/json")


# Audit.


def behind(gateway, *statements):
    """What somebody does who can write the file: statements, each with its values."""
    with contextlib.closing(sqlite3.connect(gateway.folder / "data" / "keyward.db")) as db, db:
        for statement, *values in statements:
            db.execute(statement, values)


def test_a_change_of_the_audit_list_is_found(start_gateway):
    gateway = start_gateway()
    with client(gateway, "viewer") as http:
        for name in "abc":
            gateway.new_key(name=name)
        first = ok(http.get(f"{V1}/audit?limit=2"))
        rest = ok(http.get(f"{V1}/audit?limit=100&after={first['next']}"))
        numbers = [entry["number"] for entry in first["data"] + rest["data"]]
        assert numbers == list(range(len(numbers), 0, -1)) and rest["next"] is None
        whole = gateway.cli("audit", "--verify")
        assert (whole["first_broken"], whole["entries"]) == (None, len(numbers)) and whole == ok(http.get(f"{V1}/audit/verification"))
        change = ["UPDATE audit SET actor = 'nobody' WHERE number = 2"]
        with pytest.raises(sqlite3.DatabaseError, match="can only grow"):
            behind(gateway, change)
        behind(gateway, ["DROP TRIGGER audit_is_not_changed"], change)
        done = gateway.run("audit", "--verify")
        assert done.returncode == 1 and "entry 2 " in done.stdout
        assert ok(http.get(f"{V1}/audit/verification"))["first_broken"] == 2


def test_an_audit_list_whose_end_is_cut_off_is_found(start_gateway):
    gateway = start_gateway()
    with client(gateway, "viewer") as http:
        gateway.new_key(name="cut")
        whole = ok(http.get(f"{V1}/audit/verification"))
        assert whole["end"] == "whole"
        behind(gateway, ["DROP TRIGGER audit_is_not_cut"], ["DELETE FROM audit WHERE number = ?", whole["entries"]])
        done = gateway.run("audit", "--verify")
        assert done.returncode == 1 and "taken off the end" in done.stdout
        told = ok(http.get(f"{V1}/audit/verification"))
        assert (told["end"], told["first_broken"]) == ("cut", None)
        gateway.new_key(name="after")
        told = ok(http.get(f"{V1}/audit/verification"))
        assert (told["end"], told["first_broken"], told["kept_since"]) == ("whole", whole["entries"] + 1, None), "the gap stays"
    gateway.stop()
    behind(gateway, ["DELETE FROM audit WHERE number >= ?", whole["entries"]], ["DELETE FROM audit_head"])
    for _ in range(2):
        done = gateway.run("audit", "--verify")
        assert done.returncode == 1 and "What was kept of the end of the list is gone" in done.stdout, "it does not make good what it looks for"
    gateway.cli("keys", "list")
    done = gateway.run("audit", "--verify")
    assert done.returncode == 0 and f"kept since the entry {whole['entries']} (audit.seal)" in done.stdout


def test_an_audit_list_of_which_nothing_is_left_is_found(start_gateway):
    gateway = start_gateway()
    with client(gateway, "admin") as http:
        made = ok(http.post(f"{V1}/keys", json={"name": "a"}), 201)
        behind(gateway, ["DROP TRIGGER audit_is_not_cut"], ["DELETE FROM audit"], ["DELETE FROM audit_head"])
        done = gateway.run("audit", "--verify")
        assert done.returncode == 1 and "is gone" in done.stdout
        assert ok(http.get(f"{V1}/audit/verification"))["end"] == "missing"
        ok(http.post(f"{V1}/keys/{made['id']}/disable"))
        told = ok(http.get(f"{V1}/audit/verification"))
        assert (told["entries"], told["end"], told["kept_since"]) == (2, "whole", 1), "that it was away stays in the list"


def test_a_key_is_explained_beside_a_locked_store_as_its_requests_are_told(start_gateway):
    gateway = start_gateway()
    used, limited = gateway.new_key(), gateway.new_key(budget="5/month")
    with client(gateway) as admin:
        explain = lambda key: ok(admin.post(f"{V1}/keys/explain", json={"key": key["id"]}))  # noqa: E731
        assert chat(gateway, used["key"]).status == 200 and explain(used)["accepted"]
        with contextlib.closing(sqlite3.connect(gateway.folder / "data" / "keyward.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            # What has to be counted waits.
            assert chat(gateway, used["key"]).status == 200
            refused = chat(gateway, limited["key"])
            assert (refused.status, refused.json()["error"]["code"]) == (503, "key_store_unavailable")
            told = explain(limited)
            assert (told["accepted"], told["code"], told["key"]["id"]) == (False, "key_store_unavailable", limited["id"])
            assert "locked by another program" in told["hint"] and explain(used)["accepted"]
            done = gateway.run("keys", "explain", limited["id"])
            assert "note: the store is locked by another program" in done.stderr and "are not in the store yet" in done.stderr, done.stderr
            assert "are not in the store yet" in gateway.run("limits", "show").stderr
            ready = lambda: gateway.request("GET", "/readyz").json()  # noqa: E731
            assert "locked by another program" in ready()["store"] or "has not taken in the newest" in ready()["store"]
            assert eventually(lambda: "locked by another program" in ready()["ledger"], seconds=15), ready()
            assert "cannot be read from the store" not in gateway.log()
            other.execute("ROLLBACK")
        assert eventually(lambda: explain(limited)["accepted"], seconds=15)
        assert gateway.run("keys", "explain", limited["id"]).stderr == ""


def test_explain_tells_of_a_budget_with_too_little_left_for_an_answer_without_a_limit(gateway, owner):
    for budget, is_told in (("0.005/month", True), ("5/month", False), ("0.005/month:soft", False)):
        key = gateway.new_key(budget=budget)
        told = ok(owner.post(f"{V1}/keys/explain", json={"key": key["id"], "model": "test/gpt-4o-mini"}))
        assert told["accepted"] and ("max_tokens" in (told["hint"] or "")) == is_told, told
        body = json.dumps({"model": "test/gpt-4o-mini", "messages": HELLO["messages"]})
        assert gateway.request("POST", "/v1/chat/completions", body, key=key["key"]).status == (402 if is_told else 200)


# Leaks.


def test_leaked_keys_are_ended(gateway, admin):
    made, other = gateway.new_key(), gateway.new_key()
    typo = made["key"][:-1] + ("1" if made["key"].endswith("0") else "0")
    report = {"keys": [made["key"], other["id"], typo, "sk-something"], "source": "a chat"}
    leaks = ok(admin.post(f"{V1}/leaks", json=report))["data"]
    assert [(leak["id"], leak["outcome"]) for leak in leaks] == [(made["id"], "revoked"), (other["id"], "revoked"), (None, "unknown"), (None, "unknown")]
    assert json.loads(newest(admin, made["id"])["detail"])["source"] == "a chat"
    assert ok(admin.post(f"{V1}/leaks", json={"keys": [made["key"]]}))["data"][0]["outcome"] == "was_revoked"
    problem(admin.post(f"{V1}/leaks", json={}), 422, "invalid_fields")


def test_keys_in_lines_of_a_leak_are_all_ended(gateway, admin, tmp_path):
    made = [gateway.new_key() for _ in range(5)]
    lines = [f'OPENAI_API_KEY="{made[0]["key"]}" # old: {made[1]["key"]}_old', f"authorization: Bearer {made[2]['key']}, curl", "no key at all"]
    leaks = ok(admin.post(f"{V1}/leaks", json={"keys": lines}))["data"]
    assert [leak["id"] for leak in leaks] == [*(key["id"] for key in made[:3]), None]
    (tmp_path / "found").write_text(f"a.env:3:KEY={made[3]['key']};{made[3]['key'][:-1]}\n")
    assert [leak["outcome"] for leak in gateway.cli("keys", "revoke", "--leaked", str(tmp_path / "found"))] == ["revoked"]
    assert [ok(admin.get(f"{V1}/keys/{key['id']}"))["state"] for key in made] == ["key_revoked"] * 4 + ["active"]


def test_no_whole_key_is_kept_where_others_read(gateway, admin, viewer):
    other, leaked = gateway.new_key()["key"], gateway.new_key()
    ok(admin.post(f"{V1}/leaks", json={"keys": [leaked["id"]], "source": f"a log: export KEY={other}"}))
    path = f"{V1}/keys/{gateway.new_key()['id']}"
    for field in ("name", "owner"):
        problem(admin.patch(path, json={field: f"key of {other}"}), 422, "invalid_fields")
    for field in ("models", "tools", "paths"):
        problem(admin.patch(path, json={field: [f"* /{other}*"]}), 422, "invalid_fields")
    for field, limit in (("rates", {"unit": "requests", "per": "day", "most": 9}), ("budgets", {"nano_usd": 9, "per": "day"}), ("parallel_by_model", {"most": 9})):
        problem(admin.patch(path, json={field: [limit | {"models": f"{other}*"}]}), 422, "invalid_fields")
    problem(admin.post(f"{V1}/keys/disable", json={"owner": other}), 422, "invalid_fields")
    problem(admin.post(f"{V1}/teams", json={"id": "t", "name": other}), 422, "invalid_fields")
    problem(admin.post(f"{V1}/keys", json={}, headers={"idempotency-key": other}), 400, "invalid_idempotency_key")
    assert other not in viewer.get(f"{V1}/audit?limit=1000").text + viewer.get(f"{V1}/keys?limit=1000").text
    assert json.loads(newest(admin, leaked["id"])["detail"])["source"] == "a log: export KEY=(a key)"


FOREIGN = {"anthropic": "sk-ant-api03-" + "Qz7" * 20, "aws": "AKIAIOSFODNN7EXAMPLE", "deepseek": "sk-" + "0a1b2c3d" * 4}


@pytest.mark.parametrize("whose", ["ours", *FOREIGN])
def test_what_names_other_things_holds_no_key(gateway, admin, viewer, whose):
    secret, leaked = FOREIGN.get(whose) or gateway.new_key()["key"], gateway.new_key()

    def refused(answer, pointer, code="invalid_fields"):
        [error] = problem(answer, 422, code)["errors"]
        assert error["pointer"] == pointer and "consider replacing the key" in error["detail"], error

    path = f"{V1}/keys/{gateway.new_key()['id']}"
    for field in ("models", "tools", "paths"):
        refused(admin.patch(path, json={field: [f"GET /{secret}*"]}), f"/{field}")
    for field, limit in (("rates", {"unit": "requests", "per": "day", "most": 9}), ("budgets", {"nano_usd": 9, "per": "day"}), ("parallel_by_model", {"most": 9})):
        refused(admin.patch(path, json={field: [limit | {"models": f"openai/{secret}"}]}), "/limits")
    for kind in ("prompts", "partials"):
        refused(admin.put(f"{V1}/{kind}/{secret}", json={"source": "Hello"}), "/name", "prompt_invalid")
    if whose == "deepseek":
        # The others are no ids for their capitals.
        refused(admin.post(f"{V1}/teams", json={"id": secret}), "/id")
        refused(admin.post(f"{V1}/projects", json={"id": secret}), "/id")
        refused(admin.post(f"{V1}/credentials", json={"name": secret, "provider": "openai", "variables": {"OPENAI_API_KEY": "sk-x"}}), "/name")
    ok(admin.post(f"{V1}/leaks", json={"keys": [leaked["id"]], "source": f"a log: export KEY={secret}"}))
    (gateway.folder / "prompts").mkdir(exist_ok=True)
    by_hand = gateway.folder / "prompts" / f"{secret}.prompt"
    by_hand.write_text("---\nmodel: simulator/echo\n---\nHello")
    for step in ("new", "publish"):
        done = gateway.run("prompts", step, secret if step == "publish" else f"{secret}@2")
        assert done.returncode == 1 and "consider replacing the key" in done.stderr and secret not in done.stderr, done
    by_hand.unlink()
    assert secret not in viewer.get(f"{V1}/audit?limit=1000").text


def test_a_leak_is_reported_as_it_is_shown_and_all_of_it_or_nothing_is_done(gateway, admin):
    made = [gateway.new_key() for _ in range(3)]
    shown = [f"kw_live_{made[0]['id']}…", f"kw_live_{made[0]['id']}", made[1]["key"]]
    leaks = ok(admin.post(f"{V1}/leaks", json={"keys": [*shown, "nothing"]}))["data"]
    assert [(leak["id"], leak["outcome"]) for leak in leaks] == [(made[0]["id"], "revoked")] * 2 + [(made[1]["id"], "revoked"), (None, "unknown")]
    assert ok(admin.get(f"{V1}/keys/{made[2]['id']}"))["state"] == "active"
    assert gateway.cli("keys", "show", f"kw_live_{made[0]['id']}")["state"] == "key_revoked"


def test_no_change_of_another_process_is_undone(gateway, admin):
    """Both wait for the same lock, and the one that is second makes its change of what the first has made."""
    key, team = gateway.new_key(), "locked"
    ok(admin.post(f"{V1}/teams", json={"id": team}), 201)
    waiting = [(("keys", "rotate", key["id"], "--grace", "1h"), f"keys/{key['id']}/revoke", None), (("teams", "update", team, "--limit", "requests/day=1000"), f"teams/{team}", {"disabled": True})]
    for command, path, change in waiting:
        store = sqlite3.connect(gateway.folder / "data" / "keyward.db", isolation_level=None, check_same_thread=False)
        store.execute("BEGIN IMMEDIATE")
        cli = subprocess.Popen([BINARY, *command, "--json"], cwd=gateway.folder, env=gateway.env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        time.sleep(0.5)
        done = []
        send = lambda path=path, change=change: admin.post(f"{V1}/{path}") if change is None else admin.patch(f"{V1}/{path}", json=change)  # noqa: E731
        call = threading.Thread(target=lambda send=send, done=done: done.append(send()))
        call.start()
        time.sleep(0.2)
        store.execute("ROLLBACK")
        store.close()
        call.join()
        said = cli.communicate(timeout=20)[1].decode()
        # Whoever waits for the lock for long is refused, and so is who finds the key revoked then: neither has changed anything.
        has_changed = cli.returncode == 0
        assert has_changed or "lock" in said or "is revoked" in said, said
        ok(done[0] if done[0].status_code != 503 else send())
    assert ok(admin.get(f"{V1}/keys/{key['id']}"))["state"] == "key_revoked"
    assert eventually(lambda: gateway.request("GET", "/v1/models", key=key["key"]).status == 401)
    group = ok(admin.get(f"{V1}/teams/{team}"))
    assert group["disabled"] and [rate["most"] for rate in group["rates"]] == [1000] * has_changed


def test_a_rotation_makes_one_successor_that_works(gateway, admin):
    key = gateway.new_key()
    new = ok(admin.post(f"{V1}/keys/{key['id']}/rotate", json={}), 201)
    assert new["id"] in problem(admin.post(f"{V1}/keys/{key['id']}/rotate", json={}), 409, "key_rotated")["detail"]
    ok(admin.post(f"{V1}/keys/{new['id']}/revoke"))
    again = ok(admin.post(f"{V1}/keys/{key['id']}/rotate", json={}), 201)
    assert ok(admin.get(f"{V1}/keys/{key['id']}"))["replaced_by"] == again["id"]
    short = gateway.new_key(expires="1s")
    time.sleep(1.2)
    assert problem(admin.post(f"{V1}/keys/{short['id']}/rotate", json={}), 422, "invalid_fields")["errors"][0]["pointer"] == "/expires"
    assert ok(admin.post(f"{V1}/keys/{short['id']}/rotate", json={"expires": None}), 201)["expires"] is None
    ends = gateway.cli("keys", "rotate", gateway.new_key(expires="1h")["id"], "--expires", "2d")
    assert ends["state"] == "active" and ends["expires"] > datetime.datetime.now(datetime.UTC).replace(tzinfo=None).isoformat()


def test_a_rotation_tells_what_becomes_of_the_old_key(gateway, admin):
    old = gateway.new_key(models="gtp-4o")
    new = ok(admin.post(f"{V1}/keys/{old['id']}/rotate", json={"grace_s": 3600}), 201)
    until = ok(admin.get(f"{V1}/keys/{old['id']}"))["works_until"]
    assert new["replaces"] == {"id": old["id"], "works_until": until} and new["works_until"] is None
    assert "'gtp-4o' matches no alias" in new["warnings"][0], "it warns as for a key that is created"
    told = gateway.run("keys", "rotate", new["id"], "--grace", "1h")
    until = ok(admin.get(f"{V1}/keys/{new['id']}"))["works_until"]
    assert f"note: {new['id']} works until {until}; end it now with 'keyward keys revoke {new['id']}'" in told.stderr, told.stderr
    assert "'gtp-4o' matches no alias" in told.stderr, "it warns as for a key that is created"
    third = ok(admin.get(f"{V1}/keys/{new['id']}"))["replaced_by"]
    hint = f"It was replaced by the key {third}, and works beside it until {until}."
    assert ok(admin.post(f"{V1}/keys/explain", json={"key": new["key"]}))["hint"] == hint
    assert hint in gateway.run("keys", "explain", new["id"]).stdout
    assert "works no more" in gateway.run("keys", "rotate", third, "--grace", "0s").stderr
    assert ok(admin.post(f"{V1}/keys/explain", json={"key": third}))["hint"].startswith("It was replaced by the key ")


def test_a_key_that_was_replaced_is_said_to_work_only_where_it_does(gateway, admin):
    old = gateway.new_key()
    new = ok(admin.post(f"{V1}/keys/{old['id']}/rotate", json={"grace_s": 3600}), 201)
    explain = lambda: ok(admin.post(f"{V1}/keys/explain", json={"key": old["key"]}))  # noqa: E731
    assert "works beside it" in explain()["hint"]
    for step, code in (("disable", "key_disabled"), ("revoke", "key_revoked")):
        ok(admin.post(f"{V1}/keys/{old['id']}/{step}"))
        assert (explain()["code"], explain()["hint"]) == (code, f"It was replaced by the key {new['id']}.")
    assert "works beside it" not in gateway.run("keys", "explain", old["id"]).stdout


def test_a_rotation_promises_no_more_than_the_old_keys_own_end(gateway, admin):
    old = gateway.new_key(expires="1h")
    new = ok(admin.post(f"{V1}/keys/{old['id']}/rotate", json={}), 201)
    assert new["replaces"]["works_until"] == new["expires"] == old["expires"] and new["warnings"] == []
    assert ok(admin.get(f"{V1}/keys/{old['id']}"))["works_until"] == old["expires"]
    assert f"works beside it until {old['expires']}." in ok(admin.post(f"{V1}/keys/explain", json={"key": old["key"]}))["hint"]
    assert json.loads(newest(admin, old["id"])["detail"])["works_until"] == old["expires"]
    told = gateway.run("keys", "rotate", new["id"])
    assert f"note: {new['id']} works until {old['expires']}; end it now" in told.stderr, told.stderr
    # An end that is put off later gives it the rest of its grace period.
    ok(admin.patch(f"{V1}/keys/{old['id']}", json={"expires": None}))
    assert ok(admin.get(f"{V1}/keys/{old['id']}"))["works_until"] > old["expires"]


def test_a_disabled_key_that_is_rotated_is_let_in_by_its_new_text_alone(start_gateway):
    gateway = start_gateway(config='[admin]\nleaks = "disable"\n')
    with client(gateway, "admin") as admin:
        leaked = gateway.new_key()
        assert ok(admin.post(f"{V1}/leaks", json={"keys": [leaked["key"]]}))["data"][0]["outcome"] == "disabled"
        new = ok(admin.post(f"{V1}/keys/{leaked['id']}/rotate", json={"grace_s": 3600}), 201)
        assert new["state"] == "key_disabled"
        for key in (leaked, new):
            ok(admin.post(f"{V1}/keys/{key['id']}/enable"))
        assert eventually(lambda: [chat(gateway, key["key"]).status for key in (leaked, new)] == [401, 200])
        assert chat(gateway, leaked["key"]).json()["error"]["code"] == "key_rotated"
        other = gateway.new_key()
        ok(admin.post(f"{V1}/keys/{other['id']}/disable"))
        told = gateway.run("keys", "rotate", other["id"])
        successor = ok(admin.get(f"{V1}/keys/{other['id']}"))["replaced_by"]
        assert f"note: {other['id']} works no more" in told.stderr and f"'keyward keys enable {successor}'" in told.stderr, told.stderr


def test_a_key_whose_owner_project_or_team_is_disabled_is_let_in_by_its_new_text_alone(start_gateway):
    gateway = start_gateway()
    with client(gateway) as admin:
        ok(admin.post(f"{V1}/teams", json={"id": "t"}), 201)
        for project in ({"id": "p"}, {"id": "q", "team": "t"}):
            ok(admin.post(f"{V1}/projects", json=project), 201)

        def switch_owner(off):
            ok(admin.post(f"{V1}/keys/{'disable' if off else 'enable'}", json={"owner": "bob"}))

        ways = [
            ({"owner": "bob"}, "key_owner_disabled", switch_owner),
            ({"project": "p"}, "key_group_disabled", lambda off: ok(admin.patch(f"{V1}/projects/p", json={"disabled": off}))),
            ({"project": "q"}, "key_group_disabled", lambda off: ok(admin.patch(f"{V1}/teams/t", json={"disabled": off}))),
        ]
        for options, state, switch in ways:
            old = gateway.new_key(**options)
            switch(True)
            new = ok(admin.post(f"{V1}/keys/{old['id']}/rotate", json={"grace_s": 3600}), 201)
            assert new["state"] == state, new
            switch(False)
            assert eventually(lambda: [chat(gateway, key["key"]).status for key in (old, new)] == [401, 200])  # noqa: B023
            assert chat(gateway, old["key"]).json()["error"]["code"] == "key_rotated"


def test_an_owner_whom_no_key_has_is_told_of(gateway, admin):
    assert "'nobody'" in problem(admin.post(f"{V1}/keys/enable", json={"owner": "nobody"}), 404, "owner_not_found")["detail"]
    assert "'nobody'" in gateway.run("keys", "enable", "--owner", "nobody").stderr
    told = ok(admin.post(f"{V1}/keys/disable", json={"owner": "still to come"}))
    assert told["data"] == [] and "'still to come'" in told["warnings"][0]
    assert gateway.new_key(owner="still to come")["state"] == "key_owner_disabled"
    assert ok(admin.post(f"{V1}/keys/disable", json={"owner": "still to come"}))["warnings"] == []
    assert [key["state"] for key in ok(admin.post(f"{V1}/keys/enable", json={"owner": "still to come"}))["data"]] == ["active"]
    # Switched off before any key was made, and on again.
    ok(admin.post(f"{V1}/keys/disable", json={"owner": "never came"}))
    assert ok(admin.post(f"{V1}/keys/enable", json={"owner": "never came"})) == {"data": [], "next": None, "warnings": []}
    assert "warning: no key has this owner now" in gateway.run("keys", "disable", "--owner", "never came").stderr
    gateway.run("keys", "enable", "--owner", "never came")


def test_a_glob_that_names_nothing_is_refused_and_a_test_key_for_real_models_is_warned_of(gateway, admin):
    for field, flag in (("models", "--models"), ("tools", "--tools"), ("paths", "--path")):
        refused = problem(admin.post(f"{V1}/keys", json={field: ["simulator/*", " "]}), 422, "invalid_fields")
        assert refused["errors"][0]["pointer"] == f"/{field}", refused
        done = gateway.run("keys", "create", "--name", "useless", flag, "")
        assert done.returncode == 1 and f"{field}: " in done.stderr, done.stderr
    assert "an empty glob names nothing" in gateway.run("keys", "create", "--models", "").stderr
    key = gateway.new_key()
    problem(admin.patch(f"{V1}/keys/{key['id']}", json={"models": [""]}), 422, "invalid_fields")
    told = {}
    for models in (["simulator/*"], ["echo"], ["*"], ["test/gpt-4o-mini"], ["simulator/echo", "test/*"]):
        warnings = ok(admin.post(f"{V1}/keys", json={"kind": "test", "models": models}), 201)["warnings"]
        told[models[-1]] = [warning for warning in warnings if "test key" in warning]
        assert not ok(admin.post(f"{V1}/keys", json={"models": models}), 201)["warnings"]
    assert {glob for glob, warnings in told.items() if warnings} == {"test/gpt-4o-mini", "test/*"}, told
    assert "of no use to a test key" in gateway.run("keys", "create", "--kind", "test", "--models", "test/*").stderr


def test_what_an_earlier_version_took_stands_in_the_way_of_no_other_change(start_gateway):
    gateway = start_gateway()
    with client(gateway) as http:
        key = gateway.new_key(models="test/*")
        ok(http.post(f"{V1}/teams", json={"id": "t", "models": ["test/*"]}), 201)
        store = sqlite3.connect(gateway.folder / "data" / "keyward.db", isolation_level=None)
        for table, id in (("keys", key["id"]), ("groups", "team:t")):
            limits = json.dumps({"models": ["test/*", ""], "paths": ["", "* /*"], "tools": [""]})
            assert store.execute(f"UPDATE {table} SET limits = ? WHERE id = ?", (limits, id)).rowcount == 1
        store.close()
        for path, command in ((f"keys/{key['id']}", ("keys", "update", key["id"])), ("teams/t", ("teams", "update", "t"))):
            done = gateway.run(*command, "--name", "new")
            assert done.returncode == 0, done.stderr
            changed = ok(http.patch(f"{V1}/{path}", json={"models": ["test/gpt-4o-mini"]}))
            assert (changed["name"], changed["models"], changed["tools"]) == ("new", ["test/gpt-4o-mini"], [""])
            for field in ("models", "paths", "tools"):
                refused = problem(http.patch(f"{V1}/{path}", json={field: ["* /v1/*", ""]}), 422, "invalid_fields")
                assert refused["errors"][0]["pointer"] == f"/{field}", refused


def test_a_role_is_that_of_a_key_and_of_those_before_it(gateway, admin):
    boss = gateway.new_key(kind="admin", role="owner")
    with httpx.Client(base_url=gateway.url, headers={"authorization": f"Bearer {boss['key']}"}) as old:
        new = ok(old.post(f"{V1}/keys/{boss['id']}/rotate", json={"grace_s": 3600}), 201)
        ok(old.patch(f"{V1}/keys/{new['id']}", json={"role": "viewer"}))
        assert eventually(lambda: old.post(f"{V1}/keys", json={"name": "b", "kind": "admin"}).status_code == 403)
        assert ok(old.get(f"{V1}/keys/{boss['id']}"))["role"] == "viewer"


def test_a_grace_period_is_at_most_a_year(gateway, admin):
    key = gateway.new_key()
    problem(admin.post(f"{V1}/keys/{key['id']}/rotate", json={"grace_s": 367 * 24 * 3600}), 422, "invalid_fields")
    for grace in ("367d", "99999999d", "9999999999999999999d"):
        done = gateway.run("keys", "rotate", key["id"], "--grace", grace)
        assert done.returncode in (1, 2) and "panicked" not in done.stderr, done.stderr
    for expires in ("99999999999d", "9999999d"):
        done = gateway.run("keys", "create", "--name", "x", "--expires", expires)
        assert done.returncode == 2 and "no calendar goes that far" in done.stderr, done.stderr


def test_an_owners_key_is_ended_by_whoever_holds_it_and_by_no_id(gateway, admin):
    boss = gateway.new_key(kind="admin", role="owner")
    problem(admin.post(f"{V1}/leaks", json={"keys": [boss["id"]]}), 403, "role_too_low")
    assert ok(admin.post(f"{V1}/leaks", json={"keys": [boss["key"]]}))["data"][0]["outcome"] == "revoked"


def test_the_scanner_is_not_listened_to_unless_configured(gateway):
    problem(httpx.post(f"{gateway.url}{V1}/leaks/github", json=[]), 404, "scanner_not_configured")


def test_a_key_of_another_service_is_no_name(start_gateway):
    gateway, secret = start_gateway(), "sk-ant-api03-" + "a1B2" * 10
    http = httpx.Client(base_url=gateway.url, headers={"authorization": f"Bearer {gateway.new_key(kind='admin')['key']}"})
    made = gateway.new_key()
    ways = [
        ("POST", "keys", {"name": secret}, "name"),
        ("POST", "keys", {"name": "x", "owner": secret}, "owner"),
        ("PATCH", f"keys/{made['id']}", {"name": f"Bearer {secret}"}, "name"),
        ("POST", "keys/disable", {"owner": secret}, "owner"),
        ("POST", "teams", {"id": "x", "name": secret}, "name"),
    ]
    for method, path, body, field in ways:
        answer = http.request(method, f"{V1}/{path}", json=body)
        assert answer.status_code == 422 and "a key of another service" in answer.text and secret not in answer.text, (path, answer.text)
        assert field in answer.text
    for path in (f"keys/{secret}", f"keys/{secret}/rotate", f"teams/{secret.replace('-', '%2D')}", f"prompts/x%20{secret}", secret):
        answer = http.request("POST" if path.endswith("rotate") else "GET", f"{V1}/{path}")
        assert answer.status_code == 404, (path, answer.text)
    assert secret not in answer.text and http.get(f"/v1/files/{secret}").status_code == 403
    assert eventually(lambda: gateway.log().count("a path with a key in it") >= 5), gateway.log()
    assert secret[-20:] not in gateway.run("audit", "--json").stdout + gateway.log()


def test_a_log_does_not_repeat_what_the_scanners_address_may_keep_secret(start_gateway):
    address = f"http://user:hushed@127.0.0.1:{free_port()}/keys?token=hushed"
    gateway = start_gateway(config=f'[admin]\ngithub_public_keys = "{address}"\n')
    headers = {"github-public-key-identifier": "one", "github-public-key-signature": "AAAA", "content-type": "application/json"}
    answer = httpx.post(f"{gateway.url}{V1}/leaks/github", content=b"[]", headers=headers)
    assert answer.status_code == 503, answer.text
    assert eventually(lambda: "public keys cannot be read" in gateway.log())
    assert "/keys" in gateway.log() and "hushed" not in gateway.log()


def test_leaks_as_githubs_secret_scanner_reports_them(start_gateway):
    private = ec.generate_private_key(ec.SECP256R1())
    pem = private.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()
    listed = json.dumps({"public_keys": [{"key_identifier": "one", "key": pem, "is_current": True}]}).encode()

    asked, held = [], threading.Event()

    class Keys(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.headers)
            if len(asked) > 1:
                held.wait(5)
            self.send_response(200 if self.headers["user-agent"] else 403)
            self.send_header("content-length", str(len(listed)))
            self.end_headers()
            self.wfile.write(listed)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Keys)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    admin = f'[admin]\nlisten = "127.0.0.1:{free_port()}"\nleaks = "disable"\ngithub_public_keys = "http://127.0.0.1:{server.server_port}/keys"\n'
    # A scanner is outside: it reports to the listener that all can reach.
    gateway = start_gateway(config=admin)
    assert httpx.get(f"{gateway.url}{V1}/limits").status_code == 404
    made = gateway.new_key()
    found = [
        {"token": made["key"], "type": "keyward_key", "url": "https://example.com/a", "source": "content"},
        {"token": made["key"][:-2] + "zz", "type": "keyward_key", "url": "", "source": "commit"},
    ]
    body = json.dumps(found).encode()
    signed = lambda body: base64.b64encode(private.sign(body, ec.ECDSA(hashes.SHA256()))).decode()  # noqa: E731
    signature = signed(body)

    def report(body, identifier="one", signature=signature):
        headers = {"github-public-key-identifier": identifier, "github-public-key-signature": signature, "content-type": "application/json"}
        return httpx.post(f"{gateway.url}{V1}/leaks/github", content=body, headers=headers)

    problem(report(body + b" "), 401, "signature_wrong")
    assert asked[0]["user-agent"].startswith("keyward/") and asked[0]["accept"] == "application/json"
    # A key that is not listed may be a new one: the list is asked for again, and not more than once a minute.
    for identifier in ("two", "three", "four"):
        answer = report(body, identifier=identifier)
        problem(answer, 503, "public_keys_unavailable")
        assert 1 <= int(answer.headers["retry-after"]) <= 60
    problem(report(body, signature=""), 401, "signature_wrong")
    problem(report(body, signature="AAAA"), 401, "signature_wrong")
    problem(report(b" " * 3_000_000), 413, "body_too_large")
    assert len(asked) == 1
    # What is no secret is no key that was found.
    shown = json.dumps([{"token": token, "type": "keyward_key"} for token in (made["id"], f"kw_live_{made['id']}", f"kw_live_{made['id']}…")]).encode()
    assert {label["label"] for label in ok(report(shown, signature=signed(shown)))} == {"false_positive"}
    assert gateway.cli("keys", "show", made["id"])["state"] == "active"
    labels = ok(report(body))
    assert [label["label"] for label in labels] == ["true_positive", "false_positive"]
    assert labels[0] == {"token_raw": made["key"], "token_type": "keyward_key", "label": "true_positive"}
    assert gateway.cli("keys", "show", made["id"])["state"] == "key_disabled"
    entry = next(entry for entry in gateway.cli("audit") if entry["action"] == "key.leak")
    assert entry["actor"] == "scanner:github" and "https://example.com/a" in entry["detail"] and made["key"] not in entry["detail"]
    server.shutdown()


# The description, and a listener of its own.


def test_the_description_is_valid_and_whole(gateway):
    description = ok(httpx.get(f"{gateway.url}{V1}/openapi.json"))
    assert description["openapi"].startswith("3.1.")
    OpenAPIV31SpecValidator(description).validate()
    for path, item in description["paths"].items():
        for method in {"get", "post", "put", "patch", "delete"} & set(item):
            answer = httpx.request(method.upper(), gateway.url + path.replace("{", "").replace("}", ""))
            assert answer.status_code == (404 if path.endswith("github") else 401), (method, path)
    made = description["paths"][f"{V1}/keys"]["post"]
    [once] = [parameter for parameter in made["parameters"] if parameter["name"] == "Idempotency-Key"]
    assert "within 24 hours" in once["description"] and not once["required"]
    assert {"Idempotency-Expires", "Idempotency-Replayed"} <= set(made["responses"]["201"]["headers"])


def test_the_description_names_a_tag_where_one_is_sent_and_nowhere_else(start_gateway):
    gateway = start_gateway()
    (gateway.folder / "prompts").mkdir()
    with client(gateway) as http:
        paths = ok(http.get(f"{V1}/openapi.json"))["paths"]

        def tags(method, path, body=None, described=None):
            answer = http.request(method, V1 + path, json=body)
            responses = paths[V1 + (described or path)][method.lower()]["responses"]
            is_named = "ETag" in responses[str(answer.status_code)].get("headers", {})
            assert is_named == ("etag" in answer.headers), (method, path, answer.headers)
            return answer.json()

        id = tags("POST", "/keys", {"name": "x"})["id"]
        id = tags("POST", f"/keys/{id}/rotate", {}, "/keys/{id}/rotate")["id"]
        for method, path, body in [("GET", "", None), ("PATCH", "", {"name": "y"}), *(("POST", f"/{step}", None) for step in ("disable", "enable", "revoke"))]:
            tags(method, f"/keys/{id}{path}", body, "/keys/{id}" + path)
        for group in ("teams", "projects"):
            tags("POST", f"/{group}", {"id": "g"})
            tags("GET", f"/{group}/g", described=f"/{group}/{{id}}")
            tags("PATCH", f"/{group}/g", {"name": "G"}, f"/{group}/{{id}}")
            tags("GET", f"/{group}")
        tags("PATCH", "/limits", {"parallel": 100})
        tags("POST", "/credentials", {"name": "c", "provider": "openai", "value": "sk-abcdefghijklmnop"})
        tags("PATCH", "/credentials/c", {"weight": 3}, "/credentials/{name}")
        tags("PUT", "/prompts/p", {"source": "---\nmodel: test/gpt-4o-mini\n---\nHello"}, "/prompts/{name}")
        for step in ("publish", "retire"):
            tags("POST", f"/prompts/p/{step}", None, f"/prompts/{{name}}/{step}")
        tags("PUT", "/partials/q", {"source": "Hello"}, "/partials/{name}")
        for path in ("/keys", "/limits", "/budgets", "/credentials", "/prompts", "/services", "/usage", "/audit"):
            tags("GET", path)
    assert all("ETag" in paths[f"{V1}/services/{{name}}"][method]["responses"]["200"]["headers"] for method in ("get", "put"))


def test_a_listener_of_its_own(start_gateway):
    port = free_port()
    gateway = start_gateway(env={"KEYWARD_ADMIN_LISTEN": f"127.0.0.1:{port}"})
    with client(gateway, base=f"http://127.0.0.1:{port}") as http:
        assert ok(http.get(f"{V1}/limits"))["id"] == "gateway"
        assert http.get("/v1/models").status_code == 404
        problem(http.delete(f"{V1}/keys"), 405, "method_not_allowed")
        assert httpx.get(f"{gateway.url}{V1}/limits", headers=http.headers).status_code == 404
        assert httpx.get(f"{gateway.url}{V1}/openapi.json").status_code == 404
