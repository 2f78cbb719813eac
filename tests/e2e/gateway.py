"""A Keyward process under test, with its command line and its clients."""

import contextlib
import dataclasses
import http.client
import json
import os
import pathlib
import signal
import socket
import subprocess
import time

import openai

ROOT = pathlib.Path(__file__).resolve().parents[2]
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", "target"))
BINARY = pathlib.Path(os.environ.get("KEYWARD_BIN", ROOT / TARGET / "debug" / "keyward"))


class Fault(Exception):
    """Keyward did not do what it was told to."""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def eventually(check, seconds=5.0):
    """The first true answer of `check`, which is asked again until the deadline; its last answer after that."""
    deadline = time.monotonic() + seconds
    while not (answer := check()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return answer


@dataclasses.dataclass
class Reply:
    """An HTTP answer, for what no SDK shows."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self):
        return json.loads(self.body)


class Gateway:
    """`providers` are files by id, `config` is the text of `keyward.toml`, `env` adds variables; nothing else is inherited."""

    def __init__(self, folder, *, providers=None, config="", env=None):
        self.folder = pathlib.Path(folder)
        self.port = free_port()
        self.process = None
        (self.folder / "providers").mkdir()
        for name, text in (providers or {}).items():
            (self.folder / "providers" / f"{name}.toml").write_text(text)
        (self.folder / "keyward.toml").write_text(config)
        self.env = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "KEYWARD_LISTEN": f"127.0.0.1:{self.port}",
            "KEYWARD_DATA": str(self.folder / "data"),
            "KEYWARD_PROVIDERS": str(self.folder / "providers"),
            "KEYWARD_CONFIG": str(self.folder / "keyward.toml"),
            "RUST_BACKTRACE": "1",
            **(env or {}),
        }

    # The process.

    def start(self):
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen([BINARY], cwd=self.folder, env=self.env, stdout=log, stderr=subprocess.STDOUT)
        if not eventually(lambda: self.process.poll() is not None or self.is_up(), seconds=30) or self.process.poll() is not None:
            self.kill()
            raise Fault(f"keyward did not come up (exit {self.process.returncode}):\n{self.log()}")
        return self

    def is_up(self):
        with contextlib.suppress(OSError, http.client.HTTPException):
            return self.request("GET", "/healthz").status == 200
        return False

    def terminate(self):
        self.process.send_signal(signal.SIGTERM)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        """Ends it as an init system would, and holds it to a clean end."""
        if self.process.poll() is None:
            self.terminate()
        try:
            code = self.process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            self.kill()
            raise Fault(f"keyward did not end 15 s after SIGTERM:\n{self.log()[-4000:]}") from None
        if code != 0 or "panicked at" in self.log():
            raise Fault(f"keyward ended with {code}:\n{self.log()[-4000:]}")

    def log(self):
        return (self.folder / "log").read_text(errors="replace")

    # The command line.

    def run(self, *arguments):
        return subprocess.run([BINARY, *arguments], cwd=self.folder, env=self.env, capture_output=True, text=True, timeout=30)

    def cli(self, *arguments, code=0):
        """What `keyward … --json` prints, where it ends with that code."""
        done = self.run(*arguments, "--json")
        if done.returncode != code:
            raise Fault(f"keyward {' '.join(arguments)} ended with {done.returncode}: {done.stderr}{done.stdout}")
        return json.loads(done.stdout)

    def new_key(self, **options):
        """`{"id", "key", …}` of a new key; an option is a flag of `keys create`."""
        flags = {"name": "e2e", **options}
        return self.cli("keys", "create", *(word for name, value in flags.items() for word in (f"--{name}", str(value))))

    def admin(self, method, path, body=None):
        """What the management API answers to its owner."""
        if not hasattr(self, "owner"):
            self.owner = self.new_key(kind="admin")["key"]
        reply = self.request(method, f"/admin/v1{path}", json.dumps(body).encode() if body is not None else None, self.owner)
        if reply.status >= 300:
            raise Fault(f"{method} {path}: {reply.status} {reply.body.decode()}")
        return reply.json()

    def usage(self, by, group, requests):
        """A row of `keyward usage` once it has so many requests, each to its end: the ledger is drained in the background."""

        def row():
            rows = {row["group"]: row for row in self.cli("usage", "--by", by)}
            return rows.get(group)

        def is_drained():
            found = row()
            return found and found["requests"] - found["running"] >= requests

        eventually(is_drained)
        return row()

    # Clients.

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def client(self, key, cls=openai.OpenAI, **options):
        """The official SDK; it tries nothing twice, so that each test sees what Keyward answers."""
        return cls(base_url=f"{self.url}/v1", api_key=key, **{"max_retries": 0, "timeout": 20, **options})

    def request(self, method, path, body=None, key=None, **headers):
        """Plain HTTP; header names are written with `_` for `-`."""
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        if key:
            headers["authorization"] = f"Bearer {key}"
        if body is not None:
            headers.setdefault("content-type", "application/json")
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return Reply(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
        finally:
            connection.close()


def provider(base_url, *, name="Test", dialects=("openai_chat", "openai_responses"), credential="TEST_PROVIDER_KEY", models='"gpt-4o-mini" = {}'):
    """A provider's file."""
    return f"""
name = "{name}"
docs = "https://example.com"
dialects = {json.dumps(dialects)}
base_url = "{base_url}"
auth = "bearer"
credential = ["{credential}"]

[models]
{models}
"""
