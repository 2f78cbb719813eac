"""Who is measured: the mock itself, nginx, Keyward (as it passes through, and as it translates) and the gateways of a list."""

import dataclasses
import http.client
import json
import os
import pathlib
import socket
import subprocess
import time
import urllib.parse

from processes import Cpu, Fault, clean_env, tool
from traffic import ANTHROPIC, OPENAI


TRANSLATED, OPEN = "translated", "open"


@dataclasses.dataclass
class Target:
    name: str
    process: subprocess.Popen
    url: str
    api_key: str
    models: dict[str, str]
    """Which model is asked in which dialect; in one that is not here, none."""
    folder: pathlib.Path
    ready: str | None = None
    answers_streams: bool = True
    headers: dict[str, str] = dataclasses.field(default_factory=dict)
    """What it wants to be told with each request."""

    def cpu(self):
        return Cpu.read(self.process.pid)

    def settled_cpu(self):
        """CPU time once the work that was put off is done, so that it is charged to whoever put it off."""
        last = self.cpu()
        for _ in range(20):
            time.sleep(0.1)
            now = self.cpu()
            if now.since(last) < 2e6:
                return now
            last = now
        return last

    def log(self):
        return (self.folder / "log").read_text(errors="replace")[-2000:]

    def wait_ready(self, seconds=90):
        deadline = time.monotonic() + seconds
        while not self.answers():
            if self.process.poll() is not None:
                raise Fault(f"{self.name} exited with {self.process.returncode}:\n{self.log()}")
            if time.monotonic() > deadline:
                raise Fault(f"{self.name} was not ready in {seconds} s:\n{self.log()}")
            time.sleep(0.05)

    def answers(self):
        at = urllib.parse.urlsplit(self.url)
        connection = http.client.HTTPConnection(at.hostname, at.port, timeout=2)
        try:
            connection.connect()
            if self.ready:
                connection.request("GET", self.ready)
                return connection.getresponse().status < 400
            return True
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


ANY = {OPENAI: "gpt-4o-mini", ANTHROPIC: "claude-sonnet-4-5"}


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def start_upstream(stage, binary, arguments):
    port, folder = free_port(), stage.folder("upstream")
    process = stage.launch(folder, [binary, "--listen", f"127.0.0.1:{port}", *arguments])
    return Target("upstream", process, f"http://127.0.0.1:{port}/v1", "bench", ANY, folder)


NGINX = """\
daemon off;
worker_processes 2;
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
{user}
events {{ worker_connections 4096; }}
http {{
    access_log {folder}/access.log combined buffer=64k;
    client_body_buffer_size 256k;
    client_max_body_size 8m;
    keepalive_requests 1000000;
    {temp_paths}
    upstream mock {{
        server {upstream};
        keepalive 256;
        keepalive_requests 1000000;
    }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://mock;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Authorization $http_authorization;
        }}
    }}
}}
"""


def start_nginx(stage, upstream):
    nginx, port, folder = tool("nginx"), free_port(), stage.folder("nginx")
    built_with = subprocess.run([nginx, "-V"], capture_output=True, text=True, check=True).stderr
    modules = ["fastcgi", "uwsgi", "scgi"]
    kinds = ["client_body", "proxy"] + [name for name in modules if f"--http-{name}-temp-path" in built_with]
    config = NGINX.format(
        folder=folder,
        port=port,
        upstream=urllib.parse.urlsplit(upstream.url).netloc,
        # As root nginx would give its workers to a user who may not enter the temporary folder.
        user="user root;" if os.geteuid() == 0 else "",
        temp_paths=" ".join(f"{kind}_temp_path {folder}/{kind};" for kind in kinds),
    )
    (folder / "nginx.conf").write_text(config)
    process = stage.launch(folder, [nginx, "-p", str(folder), "-c", str(folder / "nginx.conf")])
    return Target("nginx", process, f"http://127.0.0.1:{port}/v1", "bench", ANY, folder)


PROVIDER = """\
name = "Bench"
docs = ""
dialects = ["{dialect}"]
base_url = "{upstream}"
auth = "bearer"
credential = ["BENCH_API_KEY"]

[models]
"{model}" = {{ context = 128000, max_output = 16384, price = {{ input = 0.15, output = 0.6 }} }}
"""
# What a key has that is held to something, so wide that nothing is refused.
LIMITS = ["--rpm", "1000000000", "--tpm", "4000000000", "--budget", "1000000/month"]
# A dialect on the caller's side, and the model whose provider speaks the same; those of "translated" are the other way round.
OWN = {dialect: f"bench-{dialect.partition('_')[0]}/{model}" for dialect, model in ANY.items()}
OTHER = {OPENAI: OWN[ANTHROPIC], ANTHROPIC: OWN[OPENAI]}


def start_keyward(stage, upstream, binary, name="keyward", prepare=None):
    """Keyward twice: the same process, asked for models of providers that speak the caller's dialect, and the other one.

    `prepare` is given the folder before it starts, once there are `data` and `providers` in it."""
    port, folder = free_port(), stage.folder(name)
    (folder / "providers").mkdir()
    for dialect, name in OWN.items():
        provider, _, model = name.partition("/")
        text = PROVIDER.format(dialect=dialect, model=model, upstream=upstream.url)
        (folder / "providers" / f"{provider}.toml").write_text(text)
    env = {
        "KEYWARD_DATA": str(folder / "data"),
        "KEYWARD_LISTEN": f"127.0.0.1:{port}",
        "KEYWARD_PROVIDERS": str(folder / "providers"),
        "BENCH_API_KEY": "bench",
    }
    create = [binary, "keys", "create", "--json", "--name", "bench", *LIMITS]
    made = subprocess.run(create, check=False, env=clean_env() | env, capture_output=True, text=True)
    if made.returncode != 0:
        raise Fault(f"{' '.join(create)}:\n{made.stderr}")
    try:
        key = json.loads(made.stdout)["key"]
    except (ValueError, LookupError, TypeError) as error:
        raise Fault(f"{' '.join(create)}: no key in {made.stdout!r}") from error
    if prepare:
        prepare(folder)
    process = stage.launch(folder, [binary, "serve"], env)
    own = Target("keyward", process, f"http://127.0.0.1:{port}/v1", key, OWN, folder, "/healthz")
    return [own, dataclasses.replace(own, name=TRANSLATED, models=OTHER)]


def start_open(stage, keyward, binary):
    """Keyward's server, router and client with no check and no ledger, for the providers that `keyward` has."""
    port, folder = free_port(), stage.folder(OPEN)
    env = {
        "KEYWARD_LISTEN": f"127.0.0.1:{port}",
        "KEYWARD_PROVIDERS": str(keyward.folder / "providers"),
        "BENCH_API_KEY": "bench",
    }
    process = stage.launch(folder, [binary], env)
    return Target(OPEN, process, f"http://127.0.0.1:{port}/v1", "bench", {OPENAI: OWN[OPENAI]}, folder, answers_streams=False)


def start_gateway(stage, upstream, entry):
    folder = stage.folder(f"gateway-{entry['name']}")
    places = {
        "{upstream}": upstream.url,
        "{upstream_address}": urllib.parse.urlsplit(upstream.url).netloc,
        "{port}": str(free_port()),
        "{tmp}": str(folder),
    }

    def fill(text):
        for place, value in places.items():
            text = text.replace(place, value)
        return text

    for name, lines in entry.get("files", {}).items():
        (folder / name).write_text(fill("\n".join(lines) + "\n"))
    env = {name: fill(value) for name, value in entry.get("env", {}).items()}
    process = stage.launch(folder, [fill(word) for word in entry["command"]], env)
    url, key = fill(entry["url"]).rstrip("/"), entry.get("api_key", "bench")
    wanted = {name: fill(value) for name, value in entry.get("headers", {}).items()}
    streams = entry.get("answers_streams", True)
    return Target(entry["name"], process, url, key, {OPENAI: entry["model"]}, folder, entry.get("ready"), streams, wanted)
