"""Providers' credentials that are kept in the store: sealed, several to a provider, each the others' stand-in."""

import collections
import json
import subprocess

import pytest

import upstream as provider
from gateway import BINARY, eventually
from gateway import provider as provider_file
from test_chat import MESSAGES

SECRETS = {"main": "sk-stored-main-1f7c", "backup": "sk-stored-backup-90aa"}


def add(gateway, name, *flags, provider="test", secret=None):
    done = subprocess.run(
        [BINARY, "credentials", "add", provider, "--name", name, *flags, "--json"],
        cwd=gateway.folder,
        env=gateway.env,
        input=SECRETS.get(name) if secret is None else secret,
        capture_output=True,
        text=True,
        timeout=30,
    )
    return done


def ask(gateway, key, model="test/gpt-4o-mini"):
    return gateway.request("POST", "/v1/chat/completions", json.dumps({"model": model, "messages": MESSAGES}).encode(), key)


@pytest.fixture
def dormant(start_gateway, upstream):
    """A gateway whose provider has no credential in the environment."""
    files = {"test": provider_file(upstream.url, credential="UNSET_KEY")}
    gateway = start_gateway(providers=files)
    return gateway, gateway.new_key()["key"]


def switch_on(gateway, key, *names):
    for name in names:
        assert add(gateway, name).returncode == 0
    assert eventually(lambda: ask(gateway, key).status == 200)


def shown(upstream):
    return collections.Counter(asked.headers["authorization"].removeprefix("Bearer ") for asked in upstream.requests)


def test_stored_credential_switches_its_provider_on_without_a_restart(dormant, upstream):
    gateway, key = dormant
    assert ask(gateway, key).json()["error"]["code"] == "provider_not_live"
    switch_on(gateway, key, "main")
    assert set(shown(upstream)) == {SECRETS["main"]}
    gateway.run("credentials", "remove", "main")
    assert eventually(lambda: ask(gateway, key).status == 404)


def test_stored_credential_never_comes_out(dormant, upstream):
    gateway, key = dormant
    switch_on(gateway, key, "main")
    ask(gateway, key)
    listed = gateway.run("credentials", "list", "--json").stdout + gateway.run("credentials", "list").stdout
    audit = gateway.request("GET", "/metrics").body.decode() + gateway.request("GET", "/readyz").body.decode()
    assert "main" in listed
    files = [path.read_bytes() for path in (gateway.folder / "data").rglob("*") if path.is_file()]
    everything = [*files, (listed + audit + gateway.log()).encode()]
    assert not any(SECRETS["main"].encode() in text for text in everything)
    gateway.run("credentials", "remove", "main")
    gateway.stop()
    assert gateway.start().run("credentials", "list", "--json").stdout.strip() == "[]"


def test_credentials_share_the_requests_by_their_weights(dormant, upstream):
    gateway, key = dormant
    assert add(gateway, "main", "--weight", "3").returncode == 0
    switch_on(gateway, key, "backup")
    assert eventually(lambda: ask(gateway, key) and len(shown(upstream)) == 2)
    upstream.requests.clear()
    for _ in range(40):
        assert ask(gateway, key).status == 200
    assert shown(upstream) == {SECRETS["main"]: 30, SECRETS["backup"]: 10}
    assert gateway.run("credentials", "disable", "main").returncode == 0

    def only_backup():
        upstream.requests.clear()
        return ask(gateway, key).status == 200 and ask(gateway, key).status == 200 and set(shown(upstream)) == {SECRETS["backup"]}

    assert eventually(only_backup)


def test_refused_credential_rests_and_is_named_while_the_others_carry_on(dormant, upstream):
    gateway, key = dormant
    switch_on(gateway, key, "main", "backup")
    assert eventually(lambda: ask(gateway, key) and len(shown(upstream)) == 2)

    def only_backup(asked):
        is_backup = asked.headers["authorization"].endswith(SECRETS["backup"])
        return provider.chat("Hello there!") if is_backup else provider.error(401, "Incorrect API key provided.")

    upstream.serve_at("POST", "/chat/completions", only_backup)
    upstream.requests.clear()
    statuses = [ask(gateway, key).status for _ in range(10)]
    assert statuses == [200] * 10
    assert shown(upstream) == {SECRETS["main"]: 1, SECRETS["backup"]: 10}, "it rests after it was refused"
    refused = gateway.request("GET", "/readyz").json()["credentials_refused"]
    assert [(one["provider"], one["credential"]) for one in refused] == [("test", "the stored credential 'main'")]
    assert 'keyward_credential_resting{provider="test",credential="main"} 1' in gateway.request("GET", "/metrics").body.decode()
    upstream.serve_at("POST", "/chat/completions", provider.error(401, "Incorrect API key provided."))
    reply = ask(gateway, key)
    assert (reply.status, reply.json()["error"]["code"]) == (502, "provider_credential_refused")
    assert "Your own key is fine" in reply.json()["error"]["message"]


def test_another_master_key_is_said_and_harms_nobody(dormant, upstream):
    gateway, key = dormant
    switch_on(gateway, key, "main")
    gateway.stop()
    gateway.env["KEYWARD_MASTER_KEY"] = "A" * 43 + "="
    gateway.start()
    assert ask(gateway, key).json()["error"]["code"] == "provider_not_live"
    assert "sealed under another master key" in gateway.log()
    gateway.run("credentials", "remove", "main")
    switch_on(gateway, key, "main")
    gateway.stop()
    gateway.env["KEYWARD_MASTER_KEY"] = "too short"
    assert "openssl rand -base64 32" in gateway.run("serve").stderr
    del gateway.env["KEYWARD_MASTER_KEY"]
    gateway.start()


@pytest.mark.parametrize(
    ("name", "of", "secret", "says"),
    [
        ("main", "tset", "sk-1", "did you mean 'test'?"),
        ("Main key", "test", "sk-1", "a name has 1 to 63"),
        ("main", "test", "  \n", "standard input is empty"),
        ("main", "simulator", "sk-1", "takes no credential"),
    ],
)
def test_wrong_credential_is_refused_with_what_to_do(dormant, name, of, secret, says):
    done = add(dormant[0], name, provider=of, secret=secret)
    assert done.returncode != 0
    assert says in done.stderr
    assert "sk-1" not in done.stderr


def test_name_is_given_once(dormant):
    gateway, _ = dormant
    assert add(gateway, "main").returncode == 0
    assert "choose another name" in add(gateway, "main").stderr
    gateway.run("credentials", "remove", "main")
    assert add(gateway, "main").returncode == 0
