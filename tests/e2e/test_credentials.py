"""Providers' credentials that are kept in the store: sealed, several to a provider, each the others' stand-in."""

import base64
import collections
import concurrent.futures
import json
import sqlite3
import subprocess
import threading
import urllib.parse

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


def test_a_shell_without_the_master_key_seals_nothing(dormant, upstream):
    gateway, key = dormant
    master = {"KEYWARD_MASTER_KEY": base64.b64encode(b"b" * 32).decode()}
    gateway.stop()
    gateway.env |= master
    gateway.start()
    switch_on(gateway, key, "main")
    del gateway.env["KEYWARD_MASTER_KEY"]
    for command in (["replace", "main"], ["add", "test", "--name", "second"]):
        done = subprocess.run([BINARY, "credentials", *command], cwd=gateway.folder, env=gateway.env, input="sk-new", capture_output=True, text=True)
        assert done.returncode == 1 and "KEYWARD_MASTER_KEY" in done.stderr, done
    gateway.env |= master
    done = subprocess.run([BINARY, "credentials", "replace", "main"], cwd=gateway.folder, env=gateway.env, input="sk-new", capture_output=True, text=True)
    assert done.returncode == 0, done
    upstream.requests.clear()
    assert eventually(lambda: ask(gateway, key).status == 200 and "sk-new" in shown(upstream))


@pytest.mark.parametrize("is_set", ["for the gateway", "for the shell"])
def test_not_even_a_first_credential_is_sealed_under_another_key_than_the_gateways(dormant, is_set):
    gateway, key = dormant
    without, master = gateway.env, gateway.env | {"KEYWARD_MASTER_KEY": base64.b64encode(b"b" * 32).decode()}
    its_own, another = (master, without) if is_set == "for the gateway" else (without, master)

    def add_from(shell, name="main"):
        command = [BINARY, "credentials", "add", "test", "--name", name]
        return subprocess.run(command, cwd=gateway.folder, env=shell, input="sk-new", capture_output=True, text=True)

    gateway.stop()
    gateway.env = its_own
    gateway.start()
    refused = add_from(another)
    assert refused.returncode == 1 and "the gateway seals under another master key" in refused.stderr, refused
    assert gateway.cli("credentials", "list") == []
    assert add_from(its_own).returncode == 0
    assert eventually(lambda: ask(gateway, key).status == 200)
    # Another key holds from the next start on, or for a stopped gateway once all is sealed anew.
    assert gateway.run("credentials", "remove", "main").returncode == 0
    gateway.stop()
    gateway.env = another
    gateway.start()
    assert add_from(its_own).returncode == 1
    gateway.stop()
    gateway.env = its_own
    assert add_from(its_own).returncode == 1
    assert gateway.run("credentials", "reseal").returncode == 0
    assert add_from(its_own, "again").returncode == 0
    gateway.start()
    assert ask(gateway, key).status == 200


def test_what_was_sealed_is_gone_from_the_disk_with_its_credential(dormant):
    gateway, key = dormant
    switch_on(gateway, key, "main", "backup")
    store = gateway.folder / "data" / "keyward.db"
    with sqlite3.connect(store) as db:
        sealed = dict(db.execute("SELECT name, sealed FROM credentials").fetchall())
    db.close()
    journal = store.with_name("keyward.db-wal")
    on_disk = lambda text: text in store.read_bytes() or text in journal.read_bytes()  # noqa: E731
    assert all(on_disk(text) for text in sealed.values())
    assert gateway.run("credentials", "remove", "main").returncode == 0
    done = subprocess.run([BINARY, "credentials", "replace", "backup"], cwd=gateway.folder, env=gateway.env, input="sk-other", capture_output=True, text=True)
    assert done.returncode == 0 and not any(on_disk(text) for text in sealed.values())


def test_a_variable_that_its_provider_does_not_take_is_refused_and_not_repeated(gateway):
    boss = gateway.new_key(kind="admin", role="admin")["key"]
    body = {"provider": "test", "name": "x", "variables": {"TEST_PROVIDER_KEY": "sk-a", "sk-proj-pasted": "x"}}
    reply = gateway.request("POST", "/admin/v1/credentials", json.dumps(body).encode(), boss)
    assert reply.status == 422 and "TEST_PROVIDER_KEY" in reply.body.decode() and "pasted" not in reply.body.decode(), reply
    assert "pasted" not in gateway.run("audit", "--json").stdout


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


def test_a_providers_file_in_the_middle_of_an_edit_keeps_no_credential_in_use(start_gateway, upstream):
    files = {name: provider_file(upstream.url, credential="UNSET_KEY") for name in ("test", "other")}
    gateway = start_gateway(providers=files)
    key = gateway.new_key()["key"]
    switch_on(gateway, key, "main", "backup")
    assert eventually(lambda: ask(gateway, key) and len(shown(upstream)) == 2)
    assert gateway.admin("GET", "/credentials")
    (gateway.folder / "providers" / "other.toml").write_text("nonsense = [\n")

    def used():
        upstream.requests.clear()
        assert [ask(gateway, key).status for _ in range(4)] == [200] * 4
        return set(shown(upstream))

    assert gateway.run("credentials", "disable", "main").returncode == 0
    assert eventually(lambda: used() == {SECRETS["backup"]})
    gateway.admin("PATCH", "/credentials/main", {"disabled": False})
    assert used() == set(SECRETS.values()), "it holds from the answer on"
    gateway.admin("PATCH", "/credentials/backup", {"disabled": True})
    assert used() == {SECRETS["main"]}
    assert [one["fault"] for one in gateway.admin("GET", "/credentials")["data"]] == [None, None]


def test_a_change_that_the_gateway_cannot_read_is_told_until_it_holds(dormant, upstream):
    gateway, key = dormant
    switch_on(gateway, key, "main", "backup")
    store = sqlite3.connect(gateway.folder / "data" / "keyward.db", isolation_level=None, timeout=10)
    store.execute("ALTER TABLE credentials RENAME COLUMN sealed TO away")
    store.execute("BEGIN IMMEDIATE")
    store.execute("UPDATE changes SET newest = newest + 1")
    store.execute("UPDATE credentials SET disabled = 1, changed = (SELECT newest FROM changes) WHERE name = 'main'")
    store.execute("COMMIT")
    ready = lambda: gateway.request("GET", "/readyz").json()  # noqa: E731
    assert eventually(lambda: ready()["status"] == "degraded")
    assert "what was known before is used" in ready()["credentials"] and ask(gateway, key).status == 200
    store.execute("ALTER TABLE credentials RENAME COLUMN away TO sealed")
    store.close()
    assert eventually(lambda: (ready()["status"], ready()["credentials"]) == ("ready", "ok"))
    upstream.requests.clear()
    assert [ask(gateway, key).status for _ in range(4)] == [200] * 4 and set(shown(upstream)) == {SECRETS["backup"]}


def test_a_credential_of_a_provider_whose_file_is_newer_than_the_gateway_is_told(dormant, upstream):
    gateway, _ = dormant
    (gateway.folder / "providers" / "later.toml").write_text(provider_file(upstream.url, credential="LATER_KEY"))
    assert add(gateway, "main", provider="later").returncode == 0
    unusable = lambda: gateway.request("GET", "/readyz").json()["credentials_unusable"]  # noqa: E731
    [told] = eventually(unusable)
    assert (told["provider"], told["credential"]) == ("later", "main") and "from the next start" in told["why"]
    gateway.stop()
    gateway.start()
    assert unusable() == []


def test_another_master_key_is_said_and_harms_nobody(dormant, upstream):
    gateway, key = dormant
    switch_on(gateway, key, "main")
    gateway.stop()
    gateway.env["KEYWARD_MASTER_KEY"] = "A" * 43 + "="
    gateway.start()
    reply = ask(gateway, key)
    assert (reply.status, reply.json()["error"]["code"]) == (502, "provider_credential_unusable")
    assert "tell whoever runs this gateway" in reply.json()["error"]["message"] and "UNSET_KEY" not in reply.body.decode()
    ready = gateway.request("GET", "/readyz")
    assert (ready.status, ready.json()["status"]) == (200, "degraded")
    [unusable] = ready.json()["credentials_unusable"]
    assert (unusable["provider"], unusable["credential"]) == ("test", "main")
    assert 'keyward_credential_unusable{provider="test",credential="main"} 1' in gateway.request("GET", "/metrics").body.decode()
    doctor = gateway.run("doctor")
    assert doctor.returncode == 1 and "sealed under another master key" in doctor.stdout
    assert "sealed under another master key" in gateway.log()
    gateway.run("credentials", "remove", "main")
    assert eventually(lambda: gateway.request("GET", "/readyz").json()["status"] == "ready")
    assert "credential_unusable{" not in gateway.request("GET", "/metrics").body.decode()
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
        ("main", "test", "sk-1\n0000", "a line break"),
    ],
)
def test_wrong_credential_is_refused_with_what_to_do(dormant, name, of, secret, says):
    done = add(dormant[0], name, provider=of, secret=secret)
    assert done.returncode != 0
    assert says in done.stderr
    assert "sk-1" not in done.stderr


def test_credentials_are_sealed_anew_under_a_new_master_key(dormant, upstream):
    gateway, key = dormant
    switch_on(gateway, key, "main")
    first, second = "A" * 43 + "=", "B" * 42 + "A="

    def reseal(**env):
        gateway.stop()
        gateway.env |= env
        done = gateway.run("credentials", "reseal")
        for name in [name for name in gateway.env if "OLD" in name]:
            del gateway.env[name]
        gateway.start()
        return done.returncode, done.stdout

    assert "sealed anew" in reseal(KEYWARD_MASTER_KEY=first)[1], "from the data folder's own"
    assert ask(gateway, key).status == 200
    code, told = reseal(KEYWARD_MASTER_KEY=second)
    assert code == 1 and "KEYWARD_OLD_MASTER_KEY" in told
    assert ask(gateway, key).status == 502
    assert reseal(KEYWARD_OLD_MASTER_KEY=first)[0] == 0
    assert ask(gateway, key).status == 200
    assert shown(upstream).keys() == {SECRETS["main"]}
    assert "already" in reseal(KEYWARD_OLD_MASTER_KEY=first)[1]
    assert [entry["action"] for entry in gateway.cli("audit")].count("credential.reseal") == 2


def test_credentials_are_not_sealed_anew_under_a_running_gateway(dormant):
    gateway, key = dormant
    switch_on(gateway, key, "main")
    done = subprocess.run(
        [BINARY, "credentials", "reseal"], cwd=gateway.folder, env=gateway.env | {"KEYWARD_MASTER_KEY": "A" * 43 + "="}, capture_output=True, text=True
    )
    assert done.returncode == 1 and "stop it" in done.stderr, done
    assert "credential.reseal" not in {entry["action"] for entry in gateway.cli("audit")}
    assert ask(gateway, key).status == 200


def seal_unsendable(gateway, name):
    """A credential as it could be kept before such were refused: sealed, and of no header's characters."""
    folder = gateway.folder / "providers" / "test.toml"
    kept = folder.read_text()
    folder.write_text(kept.replace('auth = "bearer"', 'auth = "query:key"'))
    assert add(gateway, name, secret="sk-bad\n0000").returncode == 0
    folder.write_text(kept)


def test_credential_that_cannot_be_sent_takes_no_other_down(dormant, upstream):
    gateway, key = dormant
    switch_on(gateway, key, "main")
    gateway.stop()
    seal_unsendable(gateway, "bad")
    gateway.start()
    assert [ask(gateway, key).status for _ in range(6)] == [200] * 6
    ready = gateway.request("GET", "/readyz").json()
    assert ready["status"] == "degraded"
    assert [(one["credential"], "line break" in one["why"]) for one in ready["credentials_unusable"]] == [("bad", True)]
    faults = {one["name"]: one["fault"] for one in gateway.cli("credentials", "list")}
    assert faults["main"] is None and "line break" in faults["bad"]
    boss = gateway.new_key(kind="admin", role="owner")["key"]
    for value in ("sk-bad\n0000", "sk-\u0000"):
        body = json.dumps({"name": "worse", "provider": "test", "value": value}).encode()
        refused = gateway.request("POST", "/admin/v1/credentials", body, boss)
        assert refused.status == 422 and "line break" in refused.json()["detail"]
        assert b"sk-" not in refused.body


def test_target_that_does_not_serve_the_operation_is_passed_over(start_gateway, upstream):
    files = {"test": provider_file(upstream.url), "deaf": provider_file(upstream.url, name="Deaf").replace('["openai_chat", ', "[").replace("openai_responses", "anthropic_messages")}
    gateway = start_gateway(providers=files, config='[aliases]\nany = ["deaf/gpt-4o-mini", "test/gpt-4o-mini"]\nnone = ["deaf/gpt-4o-mini"]\n')
    key = gateway.new_key()["key"]
    upstream.serve_at("POST", "/embeddings", provider.answer_json({"object": "list", "data": [], "model": "m", "usage": {"prompt_tokens": 1, "total_tokens": 1}}))

    def embed(model):
        return gateway.request("POST", "/v1/embeddings", json.dumps({"model": model, "input": "x"}).encode(), key).status

    assert (embed("any"), embed("none")) == (200, 501)


def with_backup(dormant, upstream, said, status):
    """Two credentials that have been shown, of which the provider now answers the one, and says that to the other."""
    gateway, key = dormant
    switch_on(gateway, key, "main", "backup")
    assert eventually(lambda: ask(gateway, key) and len(shown(upstream)) == 2)

    def only_backup(asked):
        is_backup = asked.headers["authorization"].endswith(SECRETS["backup"])
        return provider.chat("Hello there!") if is_backup else provider.answer_json(said, status)

    upstream.serve_at("POST", "/chat/completions", only_backup)
    return gateway, key


FORBIDDEN = [
    {"error": {"message": "Invalid API key provided", "type": "auth", "code": "invalid_api_key"}},
    {"error": {"code": 403, "message": "Your API key was reported as leaked. Please use another API key.", "status": "PERMISSION_DENIED"}},
    {"error": {"code": 403, "message": "Permission denied: Consumer 'api_key:x' has been suspended.", "status": "PERMISSION_DENIED"}},
]


@pytest.mark.parametrize("said", FORBIDDEN)
@pytest.mark.parametrize("status", [400, 403])
def test_credential_that_is_forbidden_rests_as_one_that_is_refused(dormant, upstream, said, status):
    gateway, key = with_backup(dormant, upstream, said, status)
    upstream.requests.clear()
    assert [ask(gateway, key).status for _ in range(6)] == [200] * 6
    assert shown(upstream)[SECRETS["main"]] == 1
    gateway.run("credentials", "disable", "backup")
    assert eventually(lambda: ask(gateway, key).status == 502)
    assert ask(gateway, key).json()["error"]["code"] == "provider_credential_refused"


# What providers say of an account with nothing left, by status.
SPENT = [
    (402, {"error": {"message": "Insufficient Balance", "type": "unknown_error", "param": None, "code": "invalid_request_error"}}),
    (402, {"error": {"message": "Insufficient credits. Add more using https://openrouter.ai/settings/credits", "code": 402}}),
    (402, {"type": "error", "error": {"type": "billing_error", "message": "Billing error"}}),
    (400, {"type": "error", "error": {"type": "invalid_request_error", "message": "Your credit balance is too low to access the Anthropic API."}}),
    (429, {"error": {"message": "You exceeded your current quota.", "type": "insufficient_quota", "param": None, "code": "insufficient_quota"}}),
    (429, {"error": {"message": "Your account is not active.", "type": "billing_not_active", "param": None, "code": "billing_not_active"}}),
    (429, {"error": {"message": "x", "type": "insufficient_quota", "param": None, "code": "credit_balance_exhausted"}}),
    (412, {"error": {"message": "Account a is suspended, possibly due to reaching the monthly spending limit.", "code": "PRECONDITION_FAILED"}}),
]
# And of what a credential may not do.
NO_MODEL = {"error": {"message": "Project `proj_1` does not have access to model `gpt-4o-mini`", "type": "invalid_request_error", "code": "model_not_found"}}
NO_RIGHT = [
    {"type": "error", "error": {"type": "permission_error", "message": "Your API key does not have permission to use the specified resource."}},
    {"error": {"message": "You have insufficient permissions for this operation. Missing scopes: model.request.", "type": "invalid_request_error", "code": "missing_scope"}},
    {"error": {"code": 403, "message": "x", "status": "PERMISSION_DENIED", "details": [{"reason": "IAM_PERMISSION_DENIED"}]}},
    {"Message": "User: arn:aws:iam::1:user/u is not authorized to perform: bedrock:InvokeModel on resource: m"},
]


@pytest.mark.parametrize(("status", "said"), [*SPENT, (403, NO_MODEL)])
def test_a_credential_with_nothing_left_or_without_the_model_rests_while_the_others_carry_on(dormant, upstream, status, said):
    gateway, key = with_backup(dormant, upstream, said, status)
    upstream.requests.clear()
    assert [ask(gateway, key).status for _ in range(6)] == [200] * 6
    assert shown(upstream) == {SECRETS["main"]: 1, SECRETS["backup"]: 6}
    [refused] = gateway.request("GET", "/readyz").json()["credentials_refused"]
    assert refused["credential"] == "the stored credential 'main'"
    upstream.serve_at("POST", "/chat/completions", provider.answer_json(said, status))
    error = (reply := ask(gateway, key)).json()["error"]
    assert (reply.status, error["code"]) == (502, "provider_credential_refused")
    assert "Your own key is fine" in error["message"] and "credit" not in error["message"]
    assert ask(gateway, key).status == 502 and len(upstream.requests) == 8, "nobody is asked while all rest"


@pytest.mark.parametrize(("status", "said"), [*SPENT, (403, NO_MODEL)])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_an_alias_falls_over_from_a_credential_with_nothing_left(start_gateway, upstream, status, said, stream):
    other = provider_file(upstream.url, models='"dry" = {}', credential="TEST_PROVIDER_KEY")
    config = '[aliases]\nfast = ["other/dry", "test/gpt-4o-mini"]\n'
    gateway = start_gateway(providers={"other": other, "test": provider_file(upstream.url)}, config=config)
    client = gateway.client(gateway.new_key()["key"])
    upstream.serve("dry", provider.answer_json(said, status))
    upstream.serve("gpt-4o-mini", provider.chat_stream("Hello there!") if stream else provider.chat("Hello there!"))
    for _ in range(3):
        answer = client.chat.completions.with_raw_response.create(model="fast", messages=MESSAGES, stream=stream)
        assert answer.headers["keyward-provider"] == "test"
    assert [asked.json()["model"] for asked in upstream.requests].count("dry") == 1


@pytest.mark.parametrize("said", NO_RIGHT)
def test_a_right_that_is_missing_sends_a_request_elsewhere_and_rests_no_credential(dormant, upstream, said):
    """Whoever asks for what it may not do would have it rest for those who ask for what it may."""
    gateway, key = with_backup(dormant, upstream, said, 403)
    assert [ask(gateway, key).status for _ in range(6)] == [200] * 6
    assert gateway.request("GET", "/readyz").json()["credentials_refused"] == []
    upstream.serve_at("POST", "/chat/completions", provider.answer_json(said, 403))
    error = (reply := ask(gateway, key)).json()["error"]
    assert (reply.status, error["code"]) == (502, "provider_permission_denied") and "Your own key is fine" in error["message"]
    upstream.serve_at("POST", "/chat/completions", provider.chat("Hello there!"))
    assert ask(gateway, key).status == 200, "nothing rests"


@pytest.mark.parametrize("field", ["Your credit balance is too low to access the Anthropic API.", "api key not valid", "余额不足"])
def test_no_caller_puts_a_credential_to_rest_by_what_a_provider_repeats(start_gateway, upstream, field):
    """As Anthropic begins its sentence about a field that it does not know."""
    gateway = start_gateway(providers={"test": provider_file(upstream.url, dialects=["anthropic_messages"])})
    said = {"type": "error", "error": {"type": "invalid_request_error", "message": f"{field}: Extra inputs are not permitted"}}
    good = {"id": "m", "type": "message", "role": "assistant", "model": "m", "content": [{"type": "text", "text": "Hi"}], "stop_reason": "end_turn", "usage": {"input_tokens": 1, "output_tokens": 1}}
    upstream.serve("m", provider.answer_json(said, 400), provider.answer_json(good))
    key = gateway.new_key()["key"]
    body = {"model": "test/m", "max_tokens": 9, "messages": MESSAGES}
    send = lambda more: gateway.request("POST", "/v1/messages", json.dumps({**body, **more}).encode(), key)  # noqa: E731
    refused = send({field: 1})
    assert refused.status == 400 and "Extra inputs" in refused.body.decode()
    assert gateway.request("GET", "/readyz").json()["credentials_refused"] == []
    assert send({}).status == 200


TOO_LARGE = [
    {"error": {"message": "Your key has $0.000730 left of its budget of $1 a month, and this request may cost up to $0.009841.", "type": "insufficient_quota", "param": None, "code": "budget_exceeded"}},
    {"error": {"message": "This request requires more credits, or fewer max_tokens. You requested up to 65536 tokens, but can only afford 9.", "code": 402}},
    {"error": {"code": 402, "message": "x", "metadata": {"reason": "weight_exceeds_budget", "limit_source": "openrouter_credits"}}},
]


@pytest.mark.parametrize("said", TOO_LARGE)
def test_a_request_that_costs_more_than_is_left_goes_elsewhere_and_rests_no_credential(dormant, upstream, said):
    gateway, key = dormant
    switch_on(gateway, key, "main", "backup")
    assert eventually(lambda: ask(gateway, key) and len(shown(upstream)) == 2)

    def is_large(asked):
        return asked.json()["messages"] != MESSAGES

    def poor(asked):
        is_backup = asked.headers["authorization"].endswith(SECRETS["backup"])
        return provider.chat("Hello there!") if is_backup or not is_large(asked) else provider.answer_json(said, 402)

    large = json.dumps({"model": "test/gpt-4o-mini", "messages": [*MESSAGES, *MESSAGES]}).encode()
    upstream.serve_at("POST", "/chat/completions", poor)
    upstream.requests.clear()
    assert [gateway.request("POST", "/v1/chat/completions", large, key).status for _ in range(4)] == [200] * 4
    assert [ask(gateway, key).status for _ in range(4)] == [200] * 4
    assert shown(upstream)[SECRETS["main"]] > 1, "it goes on"
    assert gateway.request("GET", "/readyz").json()["credentials_refused"] == []
    assert eventually(lambda: "too little credit of ours" in gateway.log())
    gateway.run("credentials", "disable", "backup")
    assert eventually(lambda: gateway.request("POST", "/v1/chat/completions", large, key).status == 502)
    error = gateway.request("POST", "/v1/chat/completions", large, key).json()["error"]
    assert error["code"] == "provider_credit_too_low" and "Your own key is fine" in error["message"]
    assert ask(gateway, key).status == 200


def test_credit_that_is_set_aside_for_what_runs_is_waited_for(dormant, upstream):
    gateway, key = dormant
    switch_on(gateway, key, "main")
    said = {"error": {"code": 402, "message": "x", "metadata": {"limit_source": "openrouter_in_flight_budget"}}}
    upstream.serve("gpt-4o-mini", provider.answer_json(said, 402), provider.chat("Hello there!"))
    assert ask(gateway, key).status == 200
    assert gateway.request("GET", "/readyz").json()["credentials_refused"] == []


CONTENT = [
    {"error": {"code": 403, "message": "Your input was flagged", "metadata": {"reasons": ["violence"], "flagged_input": "x", "model_slug": "m"}}},
    {"error": {"code": 403, "message": "Request blocked: prompt injection patterns detected", "metadata": {"patterns": ["x"]}}},
    {"code": "The caller does not have permission to execute the specified operation", "error": "Content violates usage guidelines."},
    {"error": {"code": "unsupported_country_region_territory", "message": "Country, region, or territory not supported", "type": "request_forbidden"}},
    {"error": {"code": 403, "message": "You do not have permission to access the File abc or it may not exist.", "status": "PERMISSION_DENIED"}},
]


@pytest.mark.parametrize("said", CONTENT)
def test_a_403_of_what_a_request_says_rests_no_credential(dormant, upstream, said):
    gateway, key = dormant
    switch_on(gateway, key, "main")
    upstream.serve("gpt-4o-mini", provider.answer_json(said, 403), provider.chat("Hello there!"))
    assert [ask(gateway, key).status for _ in range(2)] == [403, 200]
    assert gateway.request("GET", "/readyz").json()["credentials_refused"] == []


def test_a_limit_of_tokens_a_minute_by_the_name_of_a_quota_rests_no_credential(dormant, upstream):
    gateway, key = dormant
    switch_on(gateway, key, "main")
    told = "Allocated quota exceeded. For details, see: https://help.aliyun.com/zh/model-studio/error-code#token-limit"
    upstream.serve("gpt-4o-mini", provider.error(429, told, "insufficient_quota", "insufficient_quota"), provider.chat("Hello there!"))
    assert ask(gateway, key).status == 200, "it is tried again"
    assert gateway.request("GET", "/readyz").json()["credentials_refused"] == []


def test_a_model_that_a_credential_may_not_use_rests_alone(dormant, upstream):
    gateway, key = dormant
    switch_on(gateway, key, "main")
    upstream.requests.clear()
    for model in ("gated", "other"):
        upstream.serve(model, provider.error(403, f"Project `proj_1` does not have access to model `{model}`", code="model_not_found"))
        for _ in range(2):
            error = (reply := ask(gateway, key, f"test/{model}")).json()["error"]
            assert (reply.status, error["code"]) == (502, "provider_credential_refused")
            assert "for this model" in error["message"]
    assert [asked.json()["model"] for asked in upstream.requests] == ["gated", "other"]
    assert [one["models"] for one in gateway.request("GET", "/readyz").json()["credentials_refused"]] == [2]
    assert ask(gateway, key).status == 200


DENIED = {"error": {"message": "key not allowed to access model", "type": "key_model_access_denied", "param": "model", "code": "401"}}


def test_a_model_that_a_401_is_about_takes_no_credential_away(dormant, upstream):
    gateway, key = dormant
    switch_on(gateway, key, "main")
    upstream.serve("gated", provider.answer_json(DENIED, 401))
    for path, more in (("/v1/chat/completions", {}), ("/v1/messages", {"max_tokens": 9}), ("/v1/responses", {})):
        asked = {"model": "test/gated", "input" if "responses" in path else "messages": MESSAGES, **more}
        reply = gateway.request("POST", path, json.dumps(asked).encode(), key)
        assert reply.status == 403 and "key not allowed to access model" in reply.body.decode(), reply
        assert "www-authenticate" not in reply.headers, "it is none of the caller's key"
        assert ask(gateway, key).status == 200
    assert gateway.request("GET", "/readyz").json()["credentials_refused"] == []


def test_a_401_that_does_not_say_why_rests_the_model_first_and_then_the_credential(dormant, upstream):
    gateway, key = dormant
    switch_on(gateway, key, "main", "backup")
    assert eventually(lambda: ask(gateway, key) and len(shown(upstream)) == 2)
    no = provider.answer_json({"error": "Unauthorized"}, 401)
    upstream.serve("gated", no)
    upstream.serve("other", no)
    upstream.requests.clear()
    for _ in range(3):
        reply = ask(gateway, key, "test/gated")
        assert (reply.status, reply.json()["error"]["code"]) == (502, "provider_credential_refused")
        assert ask(gateway, key).status == 200
    assert [asked.json()["model"] for asked in upstream.requests].count("gated") == 2, "each credential rests for it"
    told = lambda: gateway.request("GET", "/readyz").json()["credentials_refused"]  # noqa: E731
    resting = lambda: gateway.request("GET", "/metrics").body.decode().count("keyward_credential_resting{") and [  # noqa: E731
        line for line in gateway.request("GET", "/metrics").body.decode().splitlines() if "credential_resting{" in line and line.endswith(" 1")
    ]
    assert [(one["credential"], one["models"]) for one in told()] == [(f"the stored credential '{name}'", 1) for name in ("backup", "main")]
    assert resting() == [] and eventually(lambda: gateway.log().count("refused our credential for a model") == 2)
    # Both were taken since: it is that model's own, once more.
    assert ask(gateway, key).status == ask(gateway, key).status == 200
    assert ask(gateway, key, "test/other").status == 502 and {one["models"] for one in told()} == {2}
    upstream.serve("gpt-4o-mini", no)
    assert ask(gateway, key).status == 502, "another model after that, and none taken between them: it is the credential"
    assert ["models" in one for one in told()] == [False, False] and len(resting()) == 2


def test_refusals_that_come_at_once_are_one(dormant, upstream):
    gateway, key = dormant
    switch_on(gateway, key, "main")
    together = threading.Barrier(8, timeout=10)

    def refuse(asked):
        together.wait()
        return provider.error(401, "Incorrect API key provided.")

    upstream.serve_at("POST", "/chat/completions", refuse)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda _: ask(gateway, key), range(8)))
    assert {reply.status for reply in replies} == {502}
    [refused] = gateway.request("GET", "/readyz").json()["credentials_refused"]
    assert refused["tried_again_in_s"] <= 5
    upstream.serve_at("POST", "/chat/completions", provider.chat("Hello there!"))
    assert eventually(lambda: ask(gateway, key).status == 200, seconds=8)


def test_older_success_does_not_end_a_rest(dormant, upstream):
    gateway, key = dormant
    switch_on(gateway, key, "main")
    held, is_first = threading.Event(), iter([True])

    def answer(asked):
        if next(is_first, False):
            held.wait(10)
            return provider.chat("Hello there!")
        return provider.error(401, "Incorrect API key provided.")

    upstream.serve_at("POST", "/chat/completions", answer)
    upstream.requests.clear()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        older = pool.submit(ask, gateway, key)
        assert eventually(lambda: len(upstream.requests) == 1)
        assert ask(gateway, key).status == 502
        held.set()
        assert older.result().status == 200
    assert len(gateway.request("GET", "/readyz").json()["credentials_refused"]) == 1


def form(**fields):
    parts = [f'--B\r\ncontent-disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in fields.items()]
    file = '--B\r\ncontent-disposition: form-data; name="file"; filename="a.txt"\r\n\r\nabc\r\n--B--\r\n'
    return "".join(parts + [file]).encode()


def test_what_a_credential_made_that_is_out_of_use_is_no_fault_of_the_request(dormant, upstream):
    gateway, key = dormant
    switch_on(gateway, key, "main")
    upstream.serve_at("POST", "/files", provider.answer_json({"id": "file-1", "object": "file"}))
    upstream.serve_at("GET", "/files/file-1", provider.answer_json({"id": "file-1", "object": "file"}))
    made = gateway.request("POST", "/v1/files", form(purpose="user_data"), key, content_type="multipart/form-data; boundary=B")
    assert made.status == 200, made
    switch_on(gateway, key, "backup")
    gateway.admin("PATCH", "/credentials/main", {"disabled": True})
    item = {"role": "user", "content": [{"type": "input_file", "file_id": "file-1"}]}
    named = json.dumps({"model": "test/gpt-4o-mini", "input": [item]}).encode()
    batch = json.dumps({"input_file_id": "file-1", "endpoint": "/v1/chat/completions", "completion_window": "24h"}).encode()
    ways = [("GET", "/v1/files/file-1", None), ("DELETE", "/v1/files/file-1", None), ("POST", "/v1/responses", named), ("POST", "/v1/batches", batch)]
    for method, path, body in ways:
        reply = gateway.request(method, path, body, key)
        error = reply.json()["error"]
        assert (reply.status, error["code"], error["provider"]) == (502, "provider_credential_unusable", "test"), reply
        assert error["message"].startswith("Test keeps this for a credential") and "Your own key is fine" in error["message"] and "#" not in reply.body.decode()
    gateway.admin("PATCH", "/credentials/main", {"disabled": False})
    assert gateway.request("GET", "/v1/files/file-1", key=key).status == 200


def test_files_go_to_a_credential_that_works_and_stay_with_it(dormant, upstream):
    gateway, key = dormant
    switch_on(gateway, key, "main", "backup")
    assert eventually(lambda: ask(gateway, key) and len(shown(upstream)) == 2)
    refused, kept = {SECRETS["main"]}, {}

    def of(asked):
        return asked.headers["authorization"].removeprefix("Bearer ")

    def make(asked):
        if of(asked) in refused:
            return provider.error(401, "Incorrect API key provided.")
        name = f"file-{len(kept)}"
        kept[name] = of(asked)
        return provider.answer_json({"id": name, "object": "file"})

    def listed(asked):
        if of(asked) in refused:
            return provider.error(401, "Incorrect API key provided.")
        files = [{"id": name, "object": "file"} for name, keeper in kept.items() if keeper == of(asked)]
        after = urllib.parse.parse_qs(asked.path.partition("?")[2]).get("after", [None])[0]
        begin = next((at + 1 for at, file in enumerate(files) if file["id"] == after), 0)
        return provider.answer_json({"object": "list", "data": files[begin:], "has_more": False})

    upstream.serve_at("POST", "/files", make)
    upstream.serve_at("GET", "/files", listed)

    def upload(key):
        reply = gateway.request("POST", "/v1/files", form(purpose="user_data"), key, content_type="multipart/form-data; boundary=B")
        assert reply.status == 200, reply.body
        return reply.json()["id"]

    def files(key, query=""):
        reply = gateway.request("GET", f"/v1/files{query}", None, key)
        assert reply.status == 200, reply.body
        return [file["id"] for file in reply.json()["data"]]

    def waits():
        return [one["tried_again_in_s"] for one in gateway.request("GET", "/readyz").json()["credentials_refused"]]

    assert files(key) == [], "nothing is kept, so that any may say so"
    first = [upload(key) for _ in range(4)]
    assert {kept[name] for name in first} == {SECRETS["backup"]}
    assert files(key) == first
    refused.clear()
    # A rest of five seconds is over.
    assert eventually(lambda: waits() == [0], seconds=8)
    assert kept[upload(key)] == SECRETS["backup"], "what a key makes can be used together"
    others = [gateway.new_key()["key"] for _ in range(4)]
    assert {kept[upload(other)] for other in others} == set(SECRETS.values()), "a key's first goes by the weights"
    assert waits() == [], "the provider took it"
    refused.add(SECRETS["backup"])
    away = upload(key)
    assert kept[away] == SECRETS["main"]
    refused.clear()
    assert eventually(lambda: waits() == [0], seconds=8)
    mine = [*first, "file-4", away]
    assert sorted(files(key)) == sorted(mine), "of both credentials"
    in_order = files(key)
    paged, after = [], ""
    while (page := files(key, f"?limit=2{after}")) and len(paged) < 10:
        paged += page
        after = f"&after={page[-1]}"
    assert paged == in_order


def test_credential_that_an_error_in_a_stream_repeats_is_hidden(dormant, upstream):
    gateway, key = dormant
    switch_on(gateway, key, "main")
    event = {"error": {"message": f"Bad key {SECRETS['main']} and {SECRETS['main']}.", "type": "x"}}
    upstream.serve("gpt-4o-mini", provider.answer_events([event]))
    body = json.dumps({"model": "test/gpt-4o-mini", "messages": MESSAGES, "stream": True}).encode()
    for path in ("/v1/chat/completions", "/v1/messages"):
        more = {"max_tokens": 9} if path == "/v1/messages" else {}
        body = json.dumps({"model": "test/gpt-4o-mini", "messages": MESSAGES, "stream": True, **more}).encode()
        reply = gateway.request("POST", path, body, key)
        assert SECRETS["main"].encode() not in reply.body
        assert "Bad key … and ….".encode() in reply.body or b"Bad key \\u2026 and \\u2026." in reply.body, reply.body
    assert SECRETS["main"] not in gateway.log()


def test_what_names_a_file_goes_to_the_credential_that_keeps_it(start_gateway, upstream):
    file = provider_file(upstream.url, credential="UNSET_KEY", dialects=("openai_chat", "openai_responses", "anthropic_messages"))
    gateway = start_gateway(providers={"test": file})
    key = gateway.new_key()["key"]
    switch_on(gateway, key, "main", "backup")
    made = {"id": "file-1", "object": "file", "bytes": 1, "created_at": 1, "filename": "a", "purpose": "user_data"}
    upstream.serve_at("POST", "/files", provider.answer_json(made))
    upstream.serve_at("POST", "/conversations", provider.answer_json({"id": "conv_1", "object": "conversation", "created_at": 1, "metadata": {}}))
    upstream.serve_at("POST", "/messages/batches", provider.answer_json({"id": "msgbatch_1", "type": "message_batch", "processing_status": "in_progress"}))
    gateway.client(key).files.create(file=("a.txt", b"x"), purpose="user_data")
    keeper = upstream.requests[-1].headers["authorization"]
    item = {"type": "message", "role": "user", "content": [{"type": "input_file", "file_id": "file-1"}]}
    said = [{"role": "user", "content": [{"type": "document", "source": {"type": "file", "file_id": "file-1"}}]}]
    batch = {"requests": [{"custom_id": "1", "params": {"model": "test/gpt-4o-mini", "max_tokens": 5, "messages": said}}]}
    upstream.requests.clear()
    for _ in range(4):
        for path, body in (("/v1/conversations", {"items": [item]}), ("/v1/messages/batches", batch)):
            reply = gateway.request("POST", path, json.dumps(body).encode(), key, keyward_provider="test", anthropic_version="2023-06-01")
            assert reply.status == 200, reply
    shown_by = {asked.headers.get("authorization") or "Bearer " + asked.headers["x-api-key"] for asked in upstream.requests}
    assert len(upstream.requests) == 8 and shown_by == {keeper}


@pytest.mark.parametrize("way", ["plain", "slashes", "html", "all"])
def test_credential_that_an_answer_repeats_in_escapes_is_hidden(dormant, upstream, way):
    gateway, key = dormant
    secret = "sk-up/stream+credential=="
    assert add(gateway, "main", secret=secret).returncode == 0
    assert eventually(lambda: ask(gateway, key).status == 200)
    escape = {
        "plain": lambda c: c,
        "slashes": lambda c: "\\/" if c == "/" else c,
        "html": lambda c: f"\\u{ord(c):04x}" if c in "+=" else c,
        "all": lambda c: f"\\u{ord(c):04X}" if not c.isalnum() and c != "-" else c,
    }[way]
    written = "".join(map(escape, secret))
    for status, text in ((422, '{"error":{"message":"you sent %s","type":"x"}}'), (200, json.dumps(json.loads(provider.chat("%s").body)).replace("%", "%%").replace("%%s", "%s"))):
        body = (text % written).encode()
        for path, more in (("/v1/chat/completions", {}), ("/v1/messages", {"max_tokens": 9})):
            headers = {"content-type": "application/json", "openai-version": secret, "x-request-id": secret}
            upstream.serve("gpt-4o-mini", provider.Answer(body, status, headers=headers))
            reply = gateway.request("POST", path, json.dumps({"model": "test/gpt-4o-mini", "messages": MESSAGES, **more}).encode(), key)
            assert reply.status == status and secret not in str(reply.headers)
            assert secret not in json.dumps(reply.json()) and "…" in json.dumps(reply.json(), ensure_ascii=False), reply


def test_name_is_given_once(dormant):
    gateway, _ = dormant
    assert add(gateway, "main").returncode == 0
    assert "choose another name" in add(gateway, "main").stderr
    gateway.run("credentials", "remove", "main")
    assert add(gateway, "main").returncode == 0


# What each kind of credential exchanges for a token: the secret, and what its token server is asked at and by.
EXCHANGES = {
    "entra": (lambda url, name: SECRETS[name], "/tenant/oauth2/v2.0/token", "client_secret"),
    "google": (
        lambda url, name: json.dumps(
            {"type": "authorized_user", "client_id": "app", "client_secret": "s", "refresh_token": SECRETS[name], "token_uri": url + "/token"}
        ),
        "/token",
        "refresh_token",
    ),
}


@pytest.fixture(params=EXCHANGES)
def exchanging(request, start_gateway, upstream):
    """A gateway whose provider wants tokens, and a function that says how the token server answers whom."""
    secret_of, path, member = EXCHANGES[request.param]
    root = upstream.url.removesuffix("/v1")
    auth, variable = {"entra": ("azure-entra", "AZURE_CLIENT_SECRET"), "google": ("gcp", "GOOGLE_APPLICATION_CREDENTIALS")}[request.param]
    file = provider_file(upstream.url, credential=variable).replace('"bearer"', f'"{auth}"')
    env = {"AZURE_AUTHORITY_HOST": root, "AZURE_TENANT_ID": "tenant", "AZURE_CLIENT_ID": "app"}
    gateway = start_gateway(providers={"test": file}, env=env)

    def serve_tokens(answer):
        def grant(asked):
            form = dict(urllib.parse.parse_qsl(asked.body.decode()))
            name = next(name for name, secret in SECRETS.items() if secret == form[member])
            return answer(name) or provider.answer_json({"access_token": f"token-of-{name}", "expires_in": 3600})

        upstream.paths["POST", path] = grant

    for name in SECRETS:
        assert add(gateway, name, secret=secret_of(root, name)).returncode == 0
    serve_tokens(lambda name: None)
    key = gateway.new_key()["key"]
    assert eventually(lambda: ask(gateway, key).status == 200)
    upstream.requests.clear()
    yield gateway, key, serve_tokens, lambda: [asked.headers["authorization"] for asked in upstream.requests if "chat" in asked.path]
    del upstream.paths["POST", path]


def restarted(gateway):
    """Without the tokens that it had."""
    gateway.stop()
    gateway.start()


def answer_of(name, status, error):
    return lambda asked: provider.answer_json({"error": error, "error_description": f"Told of {name}."}, status) if asked == name else None


@pytest.mark.parametrize(("status", "error"), [(400, "invalid_grant"), (401, "invalid_client"), (400, "unauthorized_client"), (403, "access_denied")])
def test_a_credential_that_its_token_server_refuses_rests_and_is_named_while_the_others_carry_on(exchanging, status, error):
    gateway, key, serve_tokens, shown_to_chat = exchanging
    serve_tokens(answer_of("main", status, error))
    restarted(gateway)
    assert [ask(gateway, key).status for _ in range(6)] == [200] * 6
    assert set(shown_to_chat()) == {"Bearer token-of-backup"}
    [refused] = gateway.request("GET", "/readyz").json()["credentials_refused"]
    assert (refused["provider"], refused["credential"]) == ("test", "the stored credential 'main'")
    assert 'keyward_credential_resting{provider="test",credential="main"} 1' in gateway.request("GET", "/metrics").body.decode()
    # The log is written by a thread of its own.
    assert eventually(lambda: "a token server refuses" in gateway.log()), gateway.log()
    [line] = [line for line in gateway.log().splitlines() if "a token server refuses" in line]
    assert all(word in line for word in ("test", "the stored credential 'main'", error, "Told of main.")), line
    gateway.run("credentials", "disable", "backup")
    assert eventually(lambda: ask(gateway, key).status == 502)
    reply = ask(gateway, key)
    assert reply.json()["error"]["code"] == "provider_credential_refused" and "the stored credential 'main'" in reply.json()["error"]["message"]
    checked = gateway.run("providers", "check", "test")
    assert checked.returncode == 1 and f"status {status} {error}: Told of main." in checked.stdout, checked
    serve_tokens(lambda name: None)
    assert eventually(lambda: ask(gateway, key).status == 200, seconds=25), "it is tried again"
    assert gateway.request("GET", "/readyz").json()["credentials_refused"] == []
    checked = gateway.run("providers", "check", "test")
    assert checked.returncode == 0 and "takes the credential (from the stored credential 'main')" in checked.stdout, checked


@pytest.mark.parametrize("status", [403, 429, 503])
def test_a_token_server_that_is_down_rests_no_credential(exchanging, status):
    gateway, key, serve_tokens, shown_to_chat = exchanging
    serve_tokens(lambda name: provider.Answer(b"<html>Try again</html>", status, {"content-type": "text/html"}) if name == "main" else None)
    restarted(gateway)
    assert [ask(gateway, key).status for _ in range(4)] == [200] * 4
    assert set(shown_to_chat()) == {"Bearer token-of-backup"}
    assert gateway.request("GET", "/readyz").json()["credentials_refused"] == []
    gateway.run("credentials", "disable", "backup")
    assert eventually(lambda: ask(gateway, key).status == 502)
    assert ask(gateway, key).json()["error"]["code"] == "provider_credential_unusable"
    checked = gateway.run("providers", "check", "test")
    assert checked.returncode == 1 and f"its token server answered with status {status}" in checked.stdout, checked
