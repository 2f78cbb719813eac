"""The same key explained by the command line and by the management API: they say the same, what a request would be told, and repeat nothing."""

import json
import subprocess

from client import Client
from gateway import BINARY

SAME = ("accepted", "code", "message", "hint", "key", "model", "last_use")
GOOD = "This key is good"


def cases(live, admin):
    """What is explained: a name, the text, the model, and the code and a piece of the sentence."""
    return [
        ("a good key", live.good, None, None, GOOD),
        ("a good key and a model", live.good, "test/gpt-4o-mini", None, "may use this model"),
        ("a good key and no model", live.good, "nobody/nothing", "model_not_found", "No live provider"),
        ("a good key by its id", live.id, None, None, GOOD),
        ("a good key by its short form", f"kw_live_{live.id}…", None, None, GOOD),
        ("an admin key", admin.good, None, None, GOOD),
        ("an admin key and a model", admin.good, "test/gpt-4o-mini", "key_is_admin", "kw_live_"),
        ("revoked", live.revoked, None, "key_revoked", "was revoked on"),
        ("revoked, by its id", live.revoked_id, "test/gpt-4o-mini", "key_revoked", "was revoked on"),
        ("expired", live.expired, None, "key_expired", "expired on"),
        ("not yet valid", live.not_yet, None, "key_not_yet_valid", "is not valid before"),
        ("disabled", live.disabled, None, "key_disabled", "enable it"),
        ("of an owner who is disabled", live.of_owner, None, "key_owner_disabled", "are disabled for now"),
        ("of a project that is disabled", live.of_project, None, "key_group_disabled", "The project 'idle'"),
        ("of a project whose team is disabled", live.of_team, None, "key_group_disabled", "The team 'idle-team'"),
        ("rotated", live.rotated, None, "key_rotated", "use the new key"),
        ("a test key and a real model", live.test, "test/gpt-4o-mini", "key_test_only", "simulator"),
        ("a test key and the simulator", live.test, "simulator/echo", None, GOOD),
        ("a key for other models", live.limited, "test/gpt-4o-mini", "model_not_allowed", "may not use"),
        ("a stranger", live.stranger, None, "invalid_api_key", "never issued"),
        ("a wrong secret", live.wrong_secret, None, "invalid_api_key", "never issued"),
        ("an id that nobody has", "A" * 12, None, "invalid_api_key", "never issued"),
        ("another service's", live.foreign["Anthropic"], None, "key_of_another_service", "an Anthropic key"),
        ("a placeholder", "YOUR_API_KEY", None, "key_placeholder", "placeholder"),
        ("a space inside", f"{live.good[:20]} {live.good[20:]}", None, "key_whitespace", "white space"),
        ("a typo", live.good[:-1] + ("A" if live.good[-1] != "A" else "B"), None, "key_wrong_checksum", "checksum"),
        ("cut short", live.good[:-3], None, "key_wrong_length", "cut short"),
        ("nothing", "", None, "key_empty", "is empty"),
        ("a key in the model's place", live.good, live.other, "key_in_model", "holds a key of this gateway"),
        ("one with escapes in the model's place", live.good, f"test/{live.other.replace('_', '%5F')}", "key_in_model", "holds a key of this gateway"),
        ("no key, and one in the model's place", live.stranger, live.other, "invalid_api_key", "never issued"),
    ]


def by_command(gateway, text, model):
    """What the command says, with the key on its standard input."""
    arguments = [BINARY, "keys", "explain", "-", "--json", *(["--model", model] if model else [])]
    done = subprocess.run(arguments, cwd=gateway.folder, env=gateway.env, input=text, capture_output=True, text=True, timeout=30, check=False)
    return done.returncode, json.loads(done.stdout), done.stdout + done.stderr


def by_api(client, key, text, model):
    body = json.dumps({"key": text, "model": model}).encode()
    return client.send("POST", "/admin/v1/keys/explain", [("authorization", f"Bearer {key}"), ("content-type", "application/json")], body)


def run(table):
    """Explains keys in every state both ways."""
    gateway, live, admin = table.gateway, table.live, table.admin
    client = Client(gateway.port)
    for name, text, model, code, says in cases(live, admin):
        reply = by_api(client, admin.good, text, model)
        status, told, printed = by_command(gateway, text, model)
        api = reply.json()
        table.must(f"explain: {name}: the same by both", all(api[field] == told[field] for field in SAME), (api, told))
        table.must(f"explain: {name}: what it is", (told["code"], told["accepted"]) == (code, code is None) and says in told["message"], told)
        table.must(f"explain: {name}: the exit status", (status == 0) == (code is None), status)
        table.must(f"explain: {name}: repeats nothing", not [piece for piece in table.secrets if piece in printed + reply.text()], printed)
    hints = {text: by_api(client, admin.good, text, None).json()["hint"] for text in (live.stranger, live.wrong_secret)}
    table.must("explain: whoever runs the gateway is told which of the two it is", len(set(hints.values())) == 2 and None not in hints.values(), hints)
    limits(table, client)
    for name, body in {"no JSON": b"{", "a key as a member": json.dumps({live.other: 1}).encode(), "nothing": b""}.items():
        reply = client.send("POST", "/admin/v1/keys/explain", [("authorization", f"Bearer {admin.good}")], body)
        table.must(f"explain: {name}", reply.status in (400, 422) and live.other not in reply.text(), reply.text())
    client.close()


def spent(table, client, **limit):
    """A key that has just used up its minute."""
    key = table.gateway.new_key(**limit)["key"]
    body = b'{"model":"simulator/echo","messages":[{"role":"user","content":"%s"}]}' % (b"word " * 60)
    reply = client.send("POST", "/v1/chat/completions", [("content-type", "application/json"), ("authorization", f"Bearer {key}")], body)
    assert reply.status == 200, reply.body
    return key


def limits(table, client):
    """When each limit frees up, and what the key was last used for."""
    out_of_requests, out_of_tokens = (spent(table, client, **limit) for limit in ({"rpm": 1}, {"tpm": 100}))
    told = by_api(client, table.admin.good, out_of_requests, None).json()
    [standing] = told["limits"]
    table.must("explain: requests are used up", (told["code"], standing["left"], standing["most"]) == ("rate_limit_exceeded", 0, 1), told)
    table.must("explain: and when there is room", 0 < standing["room_in_seconds"] <= 60, standing)
    table.must("explain: the last use", (told["last_use"] or {}).get("model") == "simulator/echo" and told["last_use"]["status"] == 200, told)
    table.must("explain: and from where", (told["last_use"] or {}).get("from") == "127.0.0.1", told)
    told = by_api(client, table.admin.good, out_of_tokens, "simulator/echo").json()
    table.must("explain: tokens are used up", told["code"] == "rate_limit_exceeded" and told["limits"][0]["limit"] == "tokens/minute=100", told)
    told = by_api(client, table.admin.good, table.live.at_work, None).json()
    table.must("explain: nothing runs", told["accepted"] and told["limits"][0] == {"account": told["key"]["id"], "limit": "parallel=1", "most": 1, "left": 1, "held": 0, "room_in_seconds": 0.0, "full_in_seconds": 0.0}, told)
