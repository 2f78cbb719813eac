"""What else the command line tells, for people and for scripts."""

import contextlib
import json
import os
import pwd
import re
import sqlite3
import subprocess
import urllib.parse

import pytest

from gateway import BINARY, Gateway, eventually, provider


def test_version(gateway):
    assert gateway.run("--version").stdout.startswith("keyward 0.")


def test_completions(gateway):
    script = gateway.run("completions", "bash").stdout
    subprocess.run(["bash", "-n"], input=script, text=True, check=True)
    assert "rotate" in script


def test_completions_for_who_has_had_enough(gateway):
    done = subprocess.run(["bash", "-c", f"set -o pipefail; {BINARY} completions bash | head -n 1"], capture_output=True, text=True)
    assert "panicked" not in done.stderr and done.returncode == 0, done.stderr


def test_owners_without_keys_are_told_of(gateway):
    gateway.new_key(owner="eve")
    revoked = gateway.run("keys", "revoke", "--owner", "evee")
    assert revoked.returncode == 1 and "no key has the owner 'evee'" in revoked.stderr
    assert "no key has this owner now" in gateway.run("keys", "disable", "--owner", "frank").stderr
    made = gateway.run("keys", "create", "--owner", "frank")
    assert made.returncode == 0 and "warning: it cannot be used as things are (key_owner_disabled)" in made.stderr
    assert gateway.run("keys", "enable", "--owner", "frank").returncode == 0


def test_nothing_that_callers_write_steers_a_terminal(gateway):
    key = gateway.new_key(owner="eve\x1b[2J")
    body = json.dumps({"model": "simulator/\x1b]0;x\x07\u202ex", "messages": [{"role": "user", "content": "Hello"}]}).encode()
    gateway.request("POST", "/v1/chat/completions", body, key["key"])
    gateway.usage("key", key["id"], 1)
    for arguments in (("keys", "explain", key["id"]), ("keys", "explain", key["id"], "--model", "\x1b[2Jx"), ("keys", "disable", "--owner", "eve\x1b[2J")):
        done = gateway.run(*arguments)
        assert not {"\x1b", "\x07", "\u202e"} & set(done.stdout + done.stderr), (arguments, done)
        assert "\\u{1b}" in done.stdout + done.stderr


def test_no_json_or_csv_or_line_of_the_log_steers_a_terminal(gateway):
    key, admin = gateway.new_key(), gateway.new_key(kind="admin")["key"]
    name = "simulator/a\u009b31m\u202eb\x7f\ufeffc鍵"
    body = json.dumps({"model": name, "messages": [{"role": "user", "content": "Hello"}]}).encode()
    gateway.request("POST", "/v1/chat/completions", body, key["key"])
    gateway.usage("key", key["id"], 1)
    export = lambda form: gateway.request("GET", f"/admin/v1/usage/export?key={key['id']}&format={form}", key=admin).body.decode()  # noqa: E731
    shown = [gateway.run("usage", "export", "--key", key["id"], "--format", form).stdout for form in ("csv", "jsonl")]
    shown += [export("csv"), export("jsonl"), gateway.run("usage", "--by", "model", "--json").stdout, gateway.run("keys", "explain", key["id"], "--json").stdout]
    assert eventually(lambda: "鍵" in gateway.log())
    for text in (*shown, gateway.log()):
        assert "鍵" in text and not set("\u009b\u202e\x7f\ufeff") & set(text), text
    # JSON reads back as it was.
    assert json.loads(export("jsonl"))["model"] == name.removeprefix("simulator/")
    assert name in [json.loads(line).get("model") for line in gateway.log().splitlines() if line.startswith("{")]


@pytest.mark.parametrize("flags", [(), ("--json",)])
def test_a_key_that_nobody_has_seen_is_named_and_so_is_how_to_end_it(gateway, flags):
    def unseen(out, *command):
        done = subprocess.run([BINARY, "keys", *command, *flags], cwd=gateway.folder, env=gateway.env, stdout=out, stderr=subprocess.PIPE, text=True)
        assert done.returncode == 1, done
        made = re.search(r"the key (\w{10,}) was made and not shown", done.stderr)
        assert made and f"keyward keys revoke {made[1]}" in done.stderr, done.stderr
        return made[1], done.stderr

    def gone():
        """The end for writing of a pipe that nobody reads."""
        reading, writing = os.pipe()
        os.close(reading)
        return os.fdopen(writing, "wb", buffering=0)

    with gone() as away, open("/dev/full", "wb") as full:
        for out in (away, full):
            lost, _ = unseen(out, "create")
            assert gateway.cli("keys", "show", lost)["state"] == "active"
            old = gateway.new_key()["id"]
            _, told = unseen(out, "rotate", old, "--grace", "1h")
            assert old in told and f"ends at {gateway.cli('keys', 'show', old)['works_until']}" in told
            old = gateway.new_key()["id"]
            lost, told = unseen(out, "rotate", old, "--grace", "0s")
            assert f"{old}, which it takes the place of, has ended" in told
            # As it says.
            assert gateway.cli("keys", "rotate", lost, "--grace", "0s")["key"]


def test_what_there_is_nothing_of_is_not_cleared(gateway):
    key = gateway.new_key()["id"]
    gateway.cli("teams", "create", "cleared")
    gateway.cli("projects", "create", "cleared", "--team", "cleared")
    for command, wrong in (
        (("keys", "update", key), "team"),
        (("teams", "update", "cleared"), "team"),
        (("projects", "update", "cleared"), "expires"),
        (("limits", "set"), "project"),
    ):
        done = gateway.run(*command, "--clear", f"models,{wrong}")
        assert done.returncode == 1 and f"has no '{wrong}' to clear" in done.stderr and "budgets" in done.stderr, done
    assert gateway.run("teams", "create", "other", "--clear", "models").returncode == 1
    assert gateway.cli("projects", "update", "cleared", "--clear", "team")["team"] is None


def test_the_audit_tells_the_account_and_not_what_a_variable_says(gateway):
    made = subprocess.run([BINARY, "keys", "create"], cwd=gateway.folder, env=gateway.env | {"USER": "the-boss"}, capture_output=True, text=True)
    account = pwd.getpwuid(os.getuid()).pw_name
    assert made.returncode == 0 and gateway.cli("audit")[0]["actor"] == f"cli:{account}"
    # Only root could be anybody.
    subprocess.run([BINARY, "keys", "create"], cwd=gateway.folder, env=gateway.env | {"SUDO_USER": "ann"}, capture_output=True)
    assert gateway.cli("audit")[0]["actor"] == f"cli:{account}" + (" (ann)" if os.getuid() == 0 else "")


def test_a_ledger_that_cannot_be_written_is_named(tmp_path):
    gateway = Gateway(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "ledger").write_text("no folder")
    done = gateway.run("serve")
    assert done.returncode == 1 and "data/ledger/lock cannot be written" in done.stderr, done


def test_what_the_command_line_does_to_files_is_in_the_audit(start_gateway):
    gateway = start_gateway()
    gateway.run("prompts", "new", "hello")
    assert gateway.run("prompts", "publish", "hello").returncode == 0
    assert gateway.run("prompts", "retire", "hello").returncode == 0
    done = [(entry["action"], entry["subject"]) for entry in gateway.cli("audit") if entry["action"].startswith("prompt.")]
    assert sorted(done) == [("prompt.publish", "hello@1"), ("prompt.retire", "hello@1"), ("prompt.write", "hello@1")]


def test_a_path_that_is_none_is_refused(gateway):
    done = gateway.run("keys", "create", "--path", "chat")
    assert done.returncode == 1 and "'chat' matches no path: write it as 'POST /v1/chat/*'" in done.stderr


def test_doctor_looks_at_services_and_at_the_audit_list(start_gateway):
    gateway = start_gateway()
    gateway.new_key()
    (gateway.folder / "services").mkdir()
    (gateway.folder / "services" / "x.toml").write_text('upstream = "http://127.0.0.1:1"\nopenapi = "missing.yaml"\n')
    with contextlib.closing(sqlite3.connect(gateway.folder / "data" / "keyward.db", isolation_level=None)) as store:
        [store.execute(f"DROP TRIGGER {name}") for (name,) in store.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = 'audit'").fetchall()]
        store.execute("UPDATE audit SET detail = '{}' WHERE number = 2")
    wrong = {finding["what"] for finding in json.loads(gateway.run("doctor", "--json").stdout) if finding["state"] == "wrong"}
    assert wrong == {"services", "audit list"}


def test_no_key_is_made_that_nobody_would_see(tmp_path):
    gateway = Gateway(tmp_path)
    with subprocess.Popen(["bash", "-c", f"exec {BINARY} serve >&-"], cwd=tmp_path, env=gateway.env, stderr=subprocess.PIPE, text=True) as process:
        assert eventually(gateway.is_up)
        process.terminate()
        assert "none is made where standard output goes nowhere" in process.stderr.read()
    assert gateway.cli("keys", "list") == []


@pytest.mark.parametrize(
    "models,named,why",
    [
        ('"text-embed-1" = {}\n"our-large" = { context = 8192, price = { input = 1, output = 2 } }', "ours/our-large", ""),
        ("", "simulator/echo", " (which models ours has is not known here)"),
    ],
)
def test_the_first_lines_to_paste_name_a_model_that_is_not_described_too(start_gateway, one_upstream, models, named, why):
    gateway = start_gateway(providers={"ours": provider(one_upstream.url, models=models)})
    assert eventually(lambda: "Try it" in gateway.log())
    welcome = gateway.log()
    assert f"Try it{why}:\n" in welcome and f'"model": "{named}"' in welcome and f'model="{named}"' in welcome, welcome


def test_who_looks_at_federated_servers_makes_no_data_folder(tmp_path):
    gateway = Gateway(tmp_path)
    assert gateway.run("mcp", "servers").returncode == 0 and not (tmp_path / "data").exists()


def test_providers_list(gateway):
    listed = {provider["id"]: provider for provider in gateway.cli("providers", "list")}
    assert len(listed) > 100
    assert listed["test"]["live"] and listed["simulator"]["live"]
    assert not listed["openai"]["live"] and listed["openai"]["needs"] == ["OPENAI_API_KEY"]


def test_providers_show(gateway):
    shown = gateway.cli("providers", "show", "openai")
    assert shown["base_url"] == "https://api.openai.com/v1" and "gpt-4o-mini" in shown["models"]
    near = gateway.run("providers", "show", "opena")
    assert near.returncode == 1 and "'openai'" in near.stderr


def test_providers_show_no_password(start_gateway):
    gateway = start_gateway(providers={"mine": provider("http://user:hushed@127.0.0.1:1/v1", credential="MINE_KEY")})
    assert gateway.cli("providers", "show", "mine")["base_url"] == "http://…@127.0.0.1:1/v1"
    assert "http://…@127.0.0.1:1/v1" in gateway.run("providers", "show", "mine").stdout


def test_providers_check(gateway, one_upstream):
    [checked] = gateway.cli("providers", "check", "test")
    assert checked["id"] == "test" and checked["ok"]


def test_models_list(gateway):
    models = {model["id"]: model for model in gateway.cli("models", "list")}
    assert models["test/gpt-4o-mini"]["price"]["input"] == 0.15
    assert "simulator/echo" in models


def test_doctor(gateway):
    findings = gateway.run("doctor", "--json")
    assert '"live: test' in findings.stdout


def test_tables_for_people(gateway, key):
    body = json.dumps({"model": "simulator/echo", "messages": [{"role": "user", "content": "Hi"}]}).encode()
    assert gateway.request("POST", "/v1/chat/completions", body, key).status == 200
    assert eventually(lambda: gateway.cli("usage"))
    for command in (["keys", "list"], ["usage"], ["providers", "list"], ["models", "list"]):
        done = gateway.run(*command)
        assert done.returncode == 0 and len(done.stdout.splitlines()) > 1, done.stderr


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ('listn = "127.0.0.1:1"', ["keyward.toml:1", "listen"]),
        ("\n[upstream]\nattempt = 3", ["keyward.toml:3", "attempts"]),
        ('[upstream]\nidle_timeout = "soon"', ["keyward.toml:2", '"30s"']),
        ('[aliases]\nfast = "opnai/gpt-4o"', ["fast", "openai"]),
        ("[limits", ["keyward.toml:1"]),
        ('listen = "localhost:8080"', ["keyward.toml:1", '"127.0.0.1:8080"']),
    ],
)
def test_check_names_the_place_and_the_nearest_right_thing(tmp_path, config, told):
    done = Gateway(tmp_path, config=config).run("serve", "--check")
    assert done.returncode == 1
    assert all(part in done.stderr for part in told), done.stderr


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ('[aliases]\nfast = "opnai/gpt-4o"', "did you mean 'openai'?"),
        ('[alerts]\nwebhook = "https://example.com"', "KEYWARD_ALERT_SECRET"),
        ('[log]\nfilter = "a=b=c"', "is no filter"),
        ('[log]\nfilter = "inf"', "did you mean 'info'?"),
        ('[admin]\ngithub_public_keys = "htp://example.com/keys"', "is no http"),
        ('[admin]\ngithub_public_keys = "/none/keys.json"', "/none/keys.json"),
        ('[mcp.servers.x]\nurl = "nonsense"', "is no http"),
        ('[admin]\nlisten = "127.0.0.1:{port}"', "another port"),
    ],
)
def test_doctor_and_check_know_what_keeps_it_from_starting(tmp_path, config, told):
    gateway = Gateway(tmp_path)
    (tmp_path / "keyward.toml").write_text(config.format(port=gateway.port))
    for command in (["serve", "--check"], ["doctor"]):
        done = gateway.run(*command)
        assert done.returncode == 1 and told in done.stdout + done.stderr, (command, done.stdout, done.stderr)


def test_a_webhook_is_called_over_http_alone(tmp_path):
    for number, url in enumerate(["ftp://user:hushed@example.com", "mailto:ann@example.com", "file:///etc/passwd"]):
        folder = tmp_path / str(number)
        folder.mkdir()
        gateway = Gateway(folder, config=f'[alerts]\nwebhook = "{url}"\n', env={"KEYWARD_ALERT_SECRET": "k" * 20})
        for command in (["serve", "--check"], ["doctor"], ["serve"]):
            done = gateway.run(*command)
            assert done.returncode == 1 and "is no http:// or https:// URL" in done.stdout + done.stderr, (command, done)
            assert "hushed" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("Mine", "", "small letters"),
        ("prompt", "", "prompts"),
        ("mine", 'base_url = "https://example.com/v1?version=1"', "'?' or '#'"),
        ("mine", 'models = { m = { price = { input = -1.0, output = 1.0 } } }', "price -1"),
        ("mine", 'models = { m = { price = { input = 1.0, output = nan } } }', "price NaN"),
    ],
)
def test_provider_file_that_cannot_be_meant_is_refused(tmp_path, name, text, told):
    base = "" if "base_url" in text else 'base_url = "https://example.com/v1"\n'
    whole = f'name = "Mine"\ndocs = "https://example.com"\ndialects = ["openai_chat"]\nauth = "bearer"\ncredential = ["X"]\n{base}{text}\n'
    done = Gateway(tmp_path, providers={name: whole}).run("serve", "--check")
    assert done.returncode == 1 and told in done.stderr, done.stderr


def test_hidden_files_beside_providers_are_passed_over(tmp_path):
    done = Gateway(tmp_path, providers={"._mine": "no TOML"}).run("serve", "--check")
    assert done.returncode == 0, done.stderr


def test_check_tells_all_that_is_wrong_at_once(tmp_path):
    config = '[aliases]\na = "opnai/x"\nb = "antropic/y"\n[alerts]\nwebhook = "https://example.com"\n'
    done = Gateway(tmp_path, config=config, env={"KEYWARD_LISTN": "x"}).run("serve", "--check")
    assert done.returncode != 0
    for told in ("did you mean 'openai'?", "did you mean 'anthropic'?", "KEYWARD_ALERT_SECRET is not"):
        assert told in done.stderr
    assert "KEYWARD_LISTN is no setting and is ignored; did you mean KEYWARD_LISTEN?" in done.stdout


def test_a_named_folder_that_is_not_there_is_noted(tmp_path):
    done = Gateway(tmp_path, config='[prompts]\nfolder = "gone"\n[services]\nfolder = "services"').run("serve", "--check")
    assert done.returncode == 0
    assert "Note: prompts.folder is gone, and there is no such folder: nothing is served from it" in done.stdout
    assert "services.folder" not in done.stdout, "it is where they are looked for by default"


def test_check_of_a_right_configuration(tmp_path):
    done = Gateway(tmp_path, config='[aliases]\nfast = "openai/gpt-4o"').run("serve", "--check")
    assert done.returncode == 0, done.stderr


def test_broken_provider_file_is_named(tmp_path):
    done = Gateway(tmp_path, providers={"mine": 'name = "Mine"\nbase_ur = "x"'}).run("serve", "--check")
    assert done.returncode == 1
    assert "mine.toml" in done.stderr and "base_url" in done.stderr


def test_taken_address(gateway):
    done = subprocess.run([BINARY], cwd=gateway.folder, env=gateway.env, capture_output=True, text=True, timeout=10)
    assert done.returncode == 1
    assert "cannot listen on" in done.stderr and "KEYWARD_LISTEN" in done.stderr


def test_usage_is_told_of_keys_as_people_write_them_and_of_nobody_who_is_not_there(gateway):
    key, body = gateway.new_key(), json.dumps({"model": "simulator/echo", "messages": [{"role": "user", "content": "Hello"}]}).encode()
    assert gateway.request("POST", "/v1/chat/completions", body, key["key"]).status == 200
    gateway.usage("key", key["id"], 1)
    boss = gateway.new_key(kind="admin")["key"]
    for written in (key["id"], f"kw_live_{key['id']}", f"kw_live_{key['id']}…", key["key"]):
        assert gateway.cli("usage", "--key", written)[0]["requests"] == 1
        assert len(gateway.run("usage", "export", "--key", written).stdout.splitlines()) == 1
        if written != key["key"]:
            shown = gateway.request("GET", f"/admin/v1/usage?key={urllib.parse.quote(written)}", None, boss)
            assert shown.json()["data"][0]["requests"] == 1
    for unknown in (["--key", "x"], ["--key", "000000000000"], ["--project", "x"], ["--team", "x"]):
        done = gateway.run("usage", *unknown)
        assert done.returncode == 1 and "there is no" in done.stderr.lower(), done
        query = f"{unknown[0].removeprefix('--')}={unknown[1]}"
        for path in ["usage", "usage/export"] if "--key" in unknown else ["usage"]:
            told = gateway.request("GET", f"/admin/v1/{path}?{query}", None, boss)
            assert (told.status, told.json()["code"]) == (400, "invalid_query") and "there is no" in told.json()["detail"], told
    gateway.run("keys", "revoke", key["id"])
    assert gateway.request("GET", f"/admin/v1/usage?key={key['id']}", None, boss).json()["data"][0]["requests"] == 1, "also of a key that has ended"
