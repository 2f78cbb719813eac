"""Every way to present a bad key on every surface: the status, the code, the sentence, the dialect's own shape; nothing reaches a provider, and no secret stays anywhere.

`--show` prints the table, `--only WORD` tries the ways whose name has the word.
"""

import concurrent.futures
import contextlib
import itertools
import json
import pathlib
import queue
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "e2e"))

import explain
import keys as made_keys
import protocol
import sdks
import surfaces
import upstream as provider
import ways
from client import Client
from gateway import Gateway, eventually
from gateway import provider as provider_file

CREDENTIAL = "sk-upstream-credential"
MODELS = '"gpt-4o-mini" = { context = 128000, max_output = 16384, price = { input = 0.15, output = 0.6 } }\n"embed" = {}\n"gpt-image-1" = { price = { input = 5, output = 40 } }\n"gpt-realtime" = {}\n"whisper" = {}'
OTHER = 'name = "{name}"\ndocs = "https://example.com"\ndialects = ["{dialect}"]\nbase_url = "{url}"\nauth = "bearer"\ncredential = ["TEST_PROVIDER_KEY"]\n\n[models]\n"{model}" = {{}}\n'
# Providers of other dialects, each with one model.
OTHERS = {"ranks": ("cohere_v2", "rank"), "claudes": ("anthropic_messages", "claude"), "googles": ("gemini", "flash")}
PROMPT = "---\nmodel: test/gpt-4o-mini\ninput:\n  schema:\n    name: string\nkeyward.state: published\n---\nGreet {{name}}\n"
SERVICE = (
    'upstream = "{url}"\nopenapi = "weather.yaml"\nstate = "published"\nprice = "0.002"\n\n'
    '[credential]\nin = "header"\nname = "X-Weather-Key"\nvalue = "${{TEST_PROVIDER_KEY}}"\n'
)
OPENAPI = 'openapi: 3.1.0\ninfo: {title: Weather, version: "1"}\npaths: {/stations: {get: {operationId: list, responses: {200: {description: Them}}}}}\n'
# Limits that are set once more than that was used.
OVER = {"input": "input-tokens/day=100", "output": "output-tokens/day=100", "hour": "requests/hour=1", "day": "requests/day=1"}
JSON = ("application/json", "application/problem+json")
LANES = 8
# Addresses of this machine: none of the others may be held up by what the second one does.
HERE, GUESSER, NEIGHBOUR = "127.0.0.1", "127.0.0.2", "127.0.0.3"
# None of these tries so many that it is told to wait.
STRANGERS = [f"127.0.1.{lane}" for lane in range(1, LANES + 1)]
MOST_GUESSES = 400
# Where a key is pasted in place of something.
PATHS = (
    "/{}/v1/models", "/v1/{}", "/v1/messages/{}", "/v1beta/{}", "/v2/{}", "/api/{}", "/model/{}/invoke", "/admin/v1/{}", "/v1/responses/{}", "/v1/models/{}",
    "/anthropic/v1/messages/batches/{}", "/v1beta/files/{}", "/v1beta/models/{}:explain", "/download/v1beta/files/{}", "/mcp/{}", "/prompts/{}", "/prompts/{}/x",
    "/prompts/hello@{}", "/services/{}", "/services/{}/stations", "/services/weather/{}", "/v1/batches?after={}", "/admin/v1/teams/{}",
    "/admin/v1/prompts/{}", "/admin/v1/services/{}", "/admin/v1/credentials/{}", "/admin/v1/budgets/{}", "/admin/v1/usage?by={}",
)
# What is no UTF-8 in a path is no name of anything, and is refused in its dialect's words.
NO_TEXT = ("/v1/models/%ff", "/v1beta/%ff", "/v1/projects/%ff", "/download/v1beta/files/%ff", "/mcp/%ff", "/prompts/%ff", "/services/%ff/x", "/admin/v1/teams/%ff")
ONLY = sys.argv[sys.argv.index("--only") + 1] if "--only" in sys.argv else ""


class Table:
    """What was tried, and what was wrong with the answers."""

    def __init__(self, gateway, upstream):
        self.gateway, self.upstream = gateway, upstream
        self.tried, self.wrong, self.unchallenged = 0, [], set()
        stranger = stranger_to(gateway)
        self.live = made_keys.make(gateway, stranger, name="data")
        self.admin = made_keys.make(gateway, admin_like(stranger), name="management", kind="admin")
        self.live.of_other_plane, self.admin.of_other_plane = self.admin.other, self.live.other
        new = lambda **options: gateway.new_key(**options)["key"]  # noqa: E731
        self.live.test = self.admin.test = new(kind="test")
        self.live.limited = new(models="simulator/*")
        gateway.cli("teams", "create", "idle-team")
        gateway.cli("projects", "create", "idle", "--disabled", "true")
        gateway.cli("projects", "create", "of-idle-team", "--team", "idle-team")
        gateway.cli("projects", "create", "elsewhere", "--from", "192.0.2.0/24")
        self.live.of_project, self.live.of_team, self.live.of_elsewhere = new(project="idle"), new(project="of-idle-team"), new(project="elsewhere")
        # It was in use before its team was switched off.
        gateway.request("GET", "/v1/models", key=self.live.of_team)
        gateway.cli("teams", "update", "idle-team", "--disabled", "true")
        assert eventually(lambda: gateway.request("GET", "/v1/models", key=self.live.of_team).status == 401)
        self.live.out_of_requests = new(rpm=1)
        self.live.out_of_tokens = new(tpm=100)
        self.live.at_work = new(parallel=1)
        self.live.out_of_money = new(budget="0/ever")
        self.used_up = {f"out_of_{what}": (gateway.new_key(), limit) for what, limit in OVER.items()}
        vars(self.live).update({name: made["key"] for name, (made, _) in self.used_up.items()})
        self.secrets = [*made_keys.secrets_of(self.live, self.admin), CREDENTIAL]

    # One case.

    def ask(self, client, way, surface):
        keys = self.admin if surface.is_admin else self.live
        query = way.query(keys)
        target = surface.path + (("&" if "?" in surface.path else "?") + query if query else "")
        if authority := way.authority(keys):
            target = f"http://{authority}gateway{target}"
        headers = [("content-type", surface.content_type), *surface.headers, *way.headers(keys)]
        return client.send(surface.method, target, headers, surface.body)

    def case(self, client, way, surface):
        """What is wrong with the answer to one way on one surface; nothing where it is right."""
        reply = self.ask(client, way, surface)
        text = reply.text()
        if leaked := [piece for piece in self.secrets if piece in text]:
            return f"the answer has a piece of a secret ({leaked[0][:3]}…)"
        if reply.status != way.status:
            return f"{reply.status} {reply.body[:200]!r}"
        if reply.status == 401 and "www-authenticate" not in reply.headers:
            self.unchallenged.add(surface.name)
        if not way.code:
            # What is no HTTP is refused before anybody knows what was asked for, on every surface in OpenAI's words.
            error = json.loads(reply.body)["error"]
            expected = "head_too_large" if way.status == 431 else "head_malformed"
            return "" if error["code"] == expected and error["message"].endswith(".") else f"an error: {error}"
        keys = self.admin if surface.is_admin else self.live
        code, message = surface.shape_for(way.headers(keys), way.query(keys))(reply)
        if code != way.code or way.says not in message:
            return f"{code}: {message}"
        if not message.endswith((".", "them.")) or reply.headers["content-type"] not in JSON or not reply.headers.get("x-request-id"):
            return f"the answer's form: {reply.text()}"
        if way.status == 429 and not 0 < int(reply.headers.get("retry-after", 0)) <= way.wait:
            return f"retry-after is {reply.headers.get('retry-after')}"
        return ""

    def fine(self, client, name, headers, surface):
        """A good key is let in: what comes then is no refusal of the key."""
        keys = self.admin if surface.is_admin else self.live
        reply = client.send(surface.method, surface.path, [("content-type", surface.content_type), *surface.headers, *headers(keys)], surface.body)
        return "" if reply.status not in (401, 403, 429) else f"{reply.status} {reply.body[:200]!r}"

    # All of them.

    def run(self, cases, sources=(HERE,)):
        """Tries `(name, check)` over a few connections; `check` is given one and says what is wrong."""
        lanes = queue.SimpleQueue()
        clients = [Client(self.gateway.port, source) for _, source in zip(range(LANES), itertools.cycle(sources))]
        for client in clients:
            lanes.put(client)

        def one(case):
            name, check = case
            client = lanes.get()
            try:
                wrong = check(client)
            except Exception as error:  # noqa: BLE001: a broken connection or a broken shape is a wrong answer
                wrong = f"{type(error).__name__}: {error}"
            finally:
                lanes.put(client)
            return name, wrong

        with concurrent.futures.ThreadPoolExecutor(LANES) as pool:
            for name, wrong in pool.map(one, cases):
                self.tried += 1
                if wrong:
                    self.wrong.append((name, wrong))
        for client in clients:
            client.close()

    def stage(self, stage, sources=(HERE,), before=lambda client: None):
        """Every way of a stage on every surface; `before` is done ahead of each."""
        chosen = [way for way in ways.ALL if way.stage == stage and ONLY in way.name]
        pairs = [(way, surface) for way in chosen for surface in surfaces.ALL if way.on(surface)]

        def tried(client, way, surface):
            before(client)
            return self.case(client, way, surface)

        self.run([(f"{way.name} | {surface.name}", lambda client, it=(way, surface): tried(client, *it)) for way, surface in pairs], sources)

    def must(self, name, is_so, seen=""):
        self.tried += 1
        if not is_so:
            self.wrong.append((name, str(seen)))


def begin(folder, url):
    """A gateway with a provider of each sort, a prompt and a service, all of which are the same upstream."""
    others = {name: OTHER.format(name=name.title(), dialect=dialect, url=url, model=model) for name, (dialect, model) in OTHERS.items()}
    providers = {"test": provider_file(url, models=MODELS), **others}
    gateway = Gateway(folder, providers=providers, config='[mcp]\nhosts = ["gateway"]\n', env={"TEST_PROVIDER_KEY": CREDENTIAL, "KEYWARD_LOG": "debug"})
    for file, text in {"prompts/hello.prompt": PROMPT, "services/weather.toml": SERVICE.format(url=url), "services/weather.yaml": OPENAPI}.items():
        (gateway.folder / file).parent.mkdir(exist_ok=True)
        (gateway.folder / file).write_text(text)
    return gateway.start()


def stranger_to(gateway):
    """A key of a gateway that is not this one."""
    key = gateway.new_key()["key"]
    return made_keys.with_own_id(key)


def admin_like(key):
    head = "kw_admin_" + key[len("kw_live_") : -made_keys.SUM]
    return head + made_keys.checksum(head)


def spend(table, key, words=60):
    """One request; the simulator answers, and no provider."""
    client = Client(table.gateway.port)
    body = b'{"model":"simulator/echo","messages":[{"role":"user","content":"%s"}]}' % (b"word " * words)
    reply = client.send("POST", "/v1/chat/completions", [("content-type", "application/json"), ("authorization", f"Bearer {key}")], body)
    client.close()
    return reply.status


def use_up(table):
    """Keys that have nothing left for a minute, and for longer."""
    assert [spend(table, key) for key in (table.live.out_of_requests, table.live.out_of_tokens)] == [200, 200]
    for made, limit in table.used_up.values():
        assert spend(table, made["key"], 300) == spend(table, made["key"], 300) == 200
        table.gateway.cli("keys", "update", made["id"], "--limit", limit)
    for made, _ in table.used_up.values():
        assert eventually(lambda made=made: spend(table, made["key"], 300) == 429)


@contextlib.contextmanager
def at_work(table):
    """A key whose only parallel request is being answered."""
    hold = provider.Hold(after=0)
    table.upstream.serve("gpt-4o-mini", provider.chat_stream("Hello there!", hold=hold))
    client = Client(table.gateway.port)
    body = b'{"model":"test/gpt-4o-mini","stream":true,"messages":[{"role":"user","content":"hi"}]}'
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        headers = [("content-type", "application/json"), ("authorization", f"Bearer {table.live.at_work}")]
        answer = pool.submit(client.send, "POST", "/v1/chat/completions", headers, body)
        assert hold.reached.wait(10)
        table.upstream.requests.clear()
        try:
            yield
        finally:
            hold.released.set()
        assert answer.result().status == 200
    client.close()


def nothing_reached(table):
    upstream = table.upstream
    table.must("nothing reached a provider", not upstream.requests, [(asked.method, asked.path) for asked in upstream.requests])


def guess(table):
    """Tries keys from one address until it is told to wait; unknown ids and wrong secrets are told the same before and after."""
    client = Client(table.gateway.port, GUESSER)
    ask = lambda key: client.send("GET", "/v1/models", [("authorization", f"Bearer {key}")])  # noqa: E731
    bodies = {ask(key).body for key in (table.live.stranger, table.live.wrong_secret)}
    table.must("unknown and wrong secret: the same bytes", len(bodies) == 1, bodies)
    guesses = next((i for i in range(MOST_GUESSES) if ask(made_keys.with_own_id(table.live.good)).status == 429), None)
    table.must("guessing: told to wait", guesses is not None and 20 < guesses, guesses)
    bodies = {ask(key).body for key in (table.live.stranger, table.live.wrong_secret)}
    table.must("guessing: the same bytes", len(bodies) == 1, bodies)
    client.close()


def guess_again(table, client):
    """One guess a second may be made again: what time has given back is used up."""
    head = [("authorization", f"Bearer {table.live.stranger}")]
    next(i for i in range(MOST_GUESSES) if client.send("GET", "/v1/models", head).status == 429)


def after_guessing(table):
    """A good key behind the guesser's address is let in, known or never used before, and its neighbours are told what is wrong."""
    fresh = table.gateway.new_key()["key"]
    for name, source, key, status in [
        ("guessing: a good key behind the same address", GUESSER, table.live.good, 200),
        ("guessing: a new key behind the same address", GUESSER, fresh, 200),
        ("guessing: another address", NEIGHBOUR, table.live.stranger, 401),
        ("guessing: a typo is still named", GUESSER, table.live.good[:-1], 401),
    ]:
        client = Client(table.gateway.port, source)
        seen = client.send("GET", "/v1/models", [("authorization", f"Bearer {key}")]).status
        table.must(name, seen == status, seen)
        client.close()


def in_paths(table):
    """A key in the path is not repeated in the answer, whichever dialect the path is of, whether or not a good one is sent beside it."""
    client = Client(table.gateway.port)
    beside = lambda keys: [("content-type", "application/json"), ("authorization", f"Bearer {keys.good}")]  # noqa: E731
    good = beside(table.live)
    for path, method, is_beside in itertools.product(PATHS, ("GET", "POST", "DELETE"), (False, True)):
        headers = beside(table.admin if path.startswith("/admin") else table.live) if is_beside else []
        reply = client.send(method, path.format(table.live.other), headers, b"" if method == "GET" else b"{}")
        name = f"a key in the path {method} {path}" + (" beside a good one" if is_beside else "")
        is_right = 400 <= reply.status < 500 if is_beside else reply.status in (401, 404, 405)
        table.must(name, is_right and table.live.other not in reply.text(), reply.body)
    for path in NO_TEXT:
        reply = client.send("GET", path, [])
        table.must(f"no UTF-8 in the path {path}", reply.status in (401, 404) and reply.headers["content-type"] in JSON, reply.body)
    for header, path in (("keyward-provider", "/v1/batches"), ("mcp-session-id", "/mcp")):
        reply = client.send("GET", path, [*good, (header, table.live.other)])
        table.must(f"a key in place of {header}", 400 <= reply.status < 500 and table.live.other not in reply.text(), reply.body)
    for model in (table.live.other, made_keys.FOREIGN["OpenAI"]):
        body = b'{"model":"%s","messages":[]}' % model.encode()
        reply = client.send("POST", "/v1/chat/completions", [*good, ("x-request-id", table.live.other)], body)
        table.must("a key in place of the model", reply.status == (400 if "kw_" in model else 404) and table.live.other not in reply.head, reply.text())
    client.close()


def no_secret_stays(table, metrics):
    """Neither in what the process printed, nor in what it counted, nor in what it wrote; what is looked for is found where it has to be."""
    files = {str(path): path.read_bytes() for path in table.gateway.folder.rglob("*") if path.is_file()}
    files["/metrics"] = metrics
    for name, text in files.items():
        found = [piece for piece in table.secrets if piece.encode() in text]
        table.must(f"no secret in {name}", not found, found)
    log = table.gateway.log()
    table.must("the log names the key whose holder proved it", table.live.revoked_id in log)
    table.must("the log has every code", not (missing := {way.code for way in ways.ALL if way.code and way.code not in log} - {"request_is_signed"}), missing)
    table.must("the store is looked through", any(name.endswith("keyward.db") for name in files) and any("/ledger/" in name for name in files), list(files))
    table.must("the counters are looked through", b'code="key_revoked"' in metrics, metrics[:2000])


def for_scanners(table):
    """The code that docs/keys.md gives to secret scanners knows keys, and nothing that is changed."""
    page = (pathlib.Path(__file__).parents[2] / "docs" / "keys.md").read_text()
    code = page.split("<!-- checked by tests/keys/table.py -->\n```python\n")[1].split("```")[0]
    names = {}
    exec(code, names)  # noqa: S102: it is the page's own
    is_key = names["is_key"]
    for key in (table.live.good, table.live.test, table.admin.good):
        table.must("for scanners: a key", is_key(key))
        table.must("for scanners: no key", not any(map(is_key, (key[:-1], ways.swapped(key), ways.with_another(key, 20), key.upper()))))


def main():
    began = time.monotonic()
    upstream = provider.Upstream()
    with tempfile.TemporaryDirectory() as folder:
        gateway = begin(folder, upstream.url)
        try:
            table = Table(gateway, upstream)
            use_up(table)
            upstream.requests.clear()
            table.stage("used up")
            protocol.run(table)
            table.stage("strangers", STRANGERS)
            table.stage("")
            table.must("every 401 says how to show a key (RFC 9110, section 15.5.2)", not table.unchallenged, sorted(table.unchallenged))
            nothing_reached(table)
            with at_work(table):
                table.stage("at work")
            in_paths(table)
            guess(table)
            table.stage("guessing", [GUESSER], lambda client: guess_again(table, client))
            after_guessing(table)
            explain.run(table)
            sdks.run(table)
            for_scanners(table)
            nothing_reached(table)
            upstream.forget()
            fine = [(name, headers, surface) for name, headers in ways.FINE.items() for surface in surfaces.ALL]
            table.run([(f"fine: {name} | {surface.name}", lambda client, it=(name, headers, surface): table.fine(client, *it)) for name, headers, surface in fine])
            table.must("a good key's requests do reach a provider", eventually(lambda: len(upstream.requests) > len(ways.FINE)), len(upstream.requests))
            metrics = gateway.request("GET", "/metrics").body
        finally:
            gateway.stop()
            upstream.close()
        no_secret_stays(table, metrics)
    seconds = time.monotonic() - began
    report(table, seconds)


def report(table, seconds):
    if "--show" in sys.argv:
        print(*(f"| {way.name} | {way.status} | `{way.code}` | …{way.says}… |" for way in ways.ALL), sep="\n")
    for name, wrong in table.wrong:
        print(f"{name}: {wrong}")
    print(f"{len(ways.ALL)} ways on {len(surfaces.ALL)} surfaces, in {seconds:.1f} s")
    print(f"{table.tried - len(table.wrong)} passed, {len(table.wrong)} failed")
    sys.exit(bool(table.wrong))


if __name__ == "__main__":
    main()
