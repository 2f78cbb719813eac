"""An MCP server of older revisions that does one thing or another amiss: by HTTP, or as a program, `python mcp_odd.py WORD…`."""

import http.server
import json
import os
import sys
import threading
import time
import uuid

NAMES = ["echo", "pid", "sleep", "chatter", "ask", "big", "die", "touch", "environment", "later", "unreadable", "withdraw", "tell_secret", "flood", "headers"]
# Answers that are none, by what is wrong with them; `%s` is the id.
UNREADABLE = {
    "surrogate": '{"jsonrpc": "2.0", "id": %s, "result": {"content": [{"type": "text", "text": "\\ud800"}]}}',
    "deep": '{"jsonrpc": "2.0", "id": %s, "result": {"content": [], "structuredContent": ' + '{"a": ' * 5000 + "1" + "}" * 5000 + "}}",
    "both": '{"jsonrpc": "2.0", "id": %s, "result": "text", "error": "text"}',
}


class Odd:
    """What it answers, by the words that say what it does amiss; `tell` takes what it says by itself."""

    def __init__(self, words):
        self.words, self.says, self.asked, self.calls = set(words), "For testing", threading.Event(), 0
        self.able, self.answered, self.subscribed = {}, None, set()
        # What it says of a resource and a template besides; and the headers of its last request.
        self.more, self.heard = {}, {}

    def tools(self):
        listed = [{"name": name, "description": self.says, "inputSchema": {"type": "object"}} for name in NAMES]
        if "sampling" in self.able:
            listed.append({"name": "for_the_able", "inputSchema": {"type": "object"}})
        if "tasks" in self.words:
            supports = {"needs_task": "required", "may_task": "optional", "no_task": "forbidden"}
            listed += [{"name": name, "inputSchema": {"type": "object"}, "execution": {"taskSupport": support}} for name, support in supports.items()]
        if "no_schema" in self.words:
            listed += [{"name": "bare"}, {"description": "no name"}]
        if "strange" in self.words:
            schemas = {"untyped": {"properties": {"a": {}}}, "any": {"anyOf": [{"type": "object"}]}, "array": {"type": "array"}, "echo": {"type": "object"}}
            listed += [{"name": name, "inputSchema": schema} for name, schema in schemas.items()]
        return listed

    def resources(self):
        listed = [{"uri": "file:///public/a", "name": "a", "description": self.says, **self.more}, {"uri": "file:///named", "name": self.says}]
        if "strange" in self.words:
            listed += [{"uri": "file:///rated", "name": "rated", "annotations": {"priority": 5, "lastModified": "yesterday"}}, {"uri": "no uri", "name": "x"}]
        return listed

    def answer(self, message, tell):
        """A result, an error as text, or nothing."""
        method, params = message.get("method"), message.get("params") or {}
        if method is None:
            self.answered = message
            return self.asked.set()
        if method == "server/discover":
            return self.discovered()
        if method == "initialize":
            self.able = params["capabilities"]
            return self.introduced(params["protocolVersion"])
        if method == "resources/templates/list" and "silent_templates" in self.words:
            return None
        if method == "tools/list" and "announces" in self.words:
            tell({"method": "notifications/tools/list_changed"})
        if method == "tools/list" and "endless" in self.words:
            page = int(params.get("cursor", 0))
            return {"tools": [{"name": f"page{page}", "inputSchema": {"type": "object"}}], "nextCursor": str(page + 1)}
        if method == "resources/subscribe":
            self.subscribed.add(params["uri"])
        if method == "tools/call":
            self.calls += 1
            said = getattr(self, params["name"])(params.get("arguments") or {}, (params.get("_meta") or {}).get("progressToken"), tell)
            return {"content": [{"type": "text", "text": said}]}
        return {
            "tools/list": {"tools": self.tools()},
            "prompts/list": {"prompts": [{"name": "greet", "description": self.says}]},
            "resources/list": {"resources": self.resources()},
            "resources/templates/list": {"resourceTemplates": [{"uriTemplate": "file:///made/{x}", "name": "made", "description": self.says, **self.more}]},
            "completion/complete": {"completion": {"values": ["completed"]}},
            "resources/read": {"contents": [{"uri": params.get("uri"), "text": "read"}]},
            "resources/subscribe": {},
            "logging/setLevel": {},
        }.get(method, "no such method")

    def discovered(self):
        if "exits_at_discover" in self.words:
            os._exit(3)
        if "silent_discover" in self.words:
            return None
        return {} if "empty_discover" in self.words else {"hello": [1]} if "rubbish_discover" in self.words else "no such method"

    def introduced(self, version):
        who = {"name": "odd"} if "no_version" in self.words else {"name": "odd", "version": "1"}
        able = {"tools": {"listChanged": True}, "prompts": {}, "resources": {"subscribe": True}, "logging": {}, "completions": {}}
        return {"protocolVersion": version, "capabilities": able, "serverInfo": who, "instructions": self.says}

    # Tools.

    def echo(self, arguments, token, tell):
        return json.dumps(arguments)

    def pid(self, arguments, token, tell):
        time.sleep(arguments.get("seconds", 0))
        return str(os.getpid())

    def sleep(self, arguments, token, tell):
        time.sleep(arguments["seconds"])
        return "slept"

    def chatter(self, arguments, token, tell):
        """Goes on although it is cancelled."""
        until, count = time.monotonic() + arguments["seconds"], 0
        while time.monotonic() < until:
            count += 1
            tell({"method": "notifications/progress", "params": {"progressToken": token, "progress": count, "message": arguments["tag"]}})
            tell({"method": "notifications/message", "params": {"level": arguments.get("level", "info"), "data": arguments["tag"]}})
            time.sleep(0.1)
        return arguments["tag"]

    def ask(self, arguments, token, tell):
        if "elicitation" not in self.able and "anyway" not in arguments:
            return "nobody can be asked"
        schema, answers = {"type": "object", "properties": {"name": {"type": "string"}}}, []
        for turn in range(arguments.get("times", 1)):
            self.asked.clear()
            tell({"id": f"asked{turn}", "method": "elicitation/create", "params": {"message": "Who?", "requestedSchema": schema}})
            tell({"method": "notifications/progress", "params": {"progressToken": token, "progress": 10 * turn}})
            self.asked.wait(arguments.get("seconds", 5))
            tell({"method": "notifications/progress", "params": {"progressToken": token, "progress": 10 * turn + 1}})
            answers.append(self.answered)
        return json.dumps(answers)

    def tell_secret(self, arguments, token, tell):
        """Repeats what it was given in all that it says before its answer."""
        secret = os.environ["ODD_SECRET"]
        tell({"method": "notifications/progress", "params": {"progressToken": token, "progress": 1, "message": f"progress {secret}"}})
        tell({"method": "notifications/message", "params": {"level": "info", "data": {"log": [f"log {secret}"]}}})
        message = {"role": "user", "content": {"type": "text", "text": f"sampling {secret}"}}
        tell({"id": "sampling", "method": "sampling/createMessage", "params": {"messages": [message], "maxTokens": 1}})
        tell({"id": "eliciting", "method": "elicitation/create", "params": {"message": f"elicitation {secret}", "requestedSchema": {"type": "object", "properties": {}}}})
        time.sleep(1)
        return f"result {secret}"

    def flood(self, arguments, token, tell):
        for count in range(arguments["count"]):
            tell({"method": "notifications/message", "params": {"level": "info", "data": f"{count} " + "x" * arguments["bytes"]}})
        return "flooded"

    def big(self, arguments, token, tell):
        return "x" * (arguments["mib"] << 20)

    def die(self, arguments, token, tell):
        os._exit(3)

    def touch(self, arguments, token, tell):
        for uri in [arguments["uri"]] if "uri" in arguments else list(self.subscribed):
            tell({"method": "notifications/resources/updated", "params": {"uri": uri}})
        return "touched"

    def headers(self, arguments, token, tell):
        return json.dumps(self.heard)

    def environment(self, arguments, token, tell):
        return f"It is {os.environ.get(arguments.get('variable', 'ODD_SECRET'))}."

    def later(self, arguments, token, tell):
        """Asks and says something when the call is over."""

        def asks():
            time.sleep(arguments["seconds"])
            tell({"method": "notifications/message", "params": {"level": "error", "data": "SAID LATER"}})
            message = {"role": "user", "content": {"type": "text", "text": "ASKED LATER"}}
            tell({"id": "later", "method": "sampling/createMessage", "params": {"messages": [message], "maxTokens": 1}})

        threading.Thread(target=asks, daemon=True).start()
        return "later"

    def withdraw(self, arguments, token, tell):
        """Asks, and no longer wants to know."""
        tell({"id": "withdrawn", "method": "elicitation/create", "params": {"message": "Who?", "requestedSchema": {"type": "object", "properties": {}}}})
        time.sleep(1)
        tell({"method": "notifications/cancelled", "params": {"requestId": "withdrawn"}})
        time.sleep(1)
        return "withdrawn"

    def for_the_able(self, arguments, token, tell):
        return "able"


def reply(message, said):
    if isinstance(said, str):
        return {"id": message["id"], "error": {"code": -32601, "message": said}}
    return {"id": message["id"], "result": said}


def touches(odd, tell):
    """Says again and again that each resource which is subscribed to has changed."""
    while True:
        time.sleep(0.2)
        odd.touch({}, None, tell)


def program():
    odd, lock = Odd(sys.argv[1:]), threading.Lock()
    if started := os.environ.get("ODD_STARTED"):
        with open(started, "a") as file:
            file.write("started\n")
    if "touches" in odd.words:
        threading.Thread(target=touches, args=(odd, lambda message: tell(message)), daemon=True).start()
    if "complains" in odd.words:
        print(f"no good: {os.environ.get('ODD_SECRET')}", file=sys.stderr, flush=True)

    def tell(message):
        with lock:
            sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
            sys.stdout.flush()

    def handle(message):
        if (message.get("params") or {}).get("name") == "unreadable":
            with lock:
                print(UNREADABLE[message["params"]["arguments"]["how"]] % message["id"], flush=True)
            return
        said = odd.answer(message, tell)
        if "id" in message and said is not None:
            tell(reply(message, said))

    for line in sys.stdin:
        threading.Thread(target=handle, args=(json.loads(line),), daemon=True).start()


class Served(http.server.ThreadingHTTPServer):
    """The same by HTTP. `refuses` says what it answers to a request before it reads it: a status, a text and maybe a challenge, or nothing."""

    daemon_threads = True

    def __init__(self, *words, refuses=lambda headers: None):
        self.odd, self.refuses, self.sessions = Odd(words), refuses, set()
        # When each session's stream of news was open, and when a tool was called last.
        self.listened, self.called = {}, None
        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}/mcp"


class Answering(http.server.BaseHTTPRequestHandler):
    """What servers of MCP have in common here: they have no stream of their own, and say nothing to the console."""

    def do_GET(self):
        self.send(405, b"", "text/plain")

    def send(self, status, body, kind, session=None, challenge=None):
        self.send_response(status)
        named = [("content-type", kind), ("mcp-session-id", session), ("content-length", str(len(body))), ("www-authenticate", challenge)]
        for name, value in named:
            if value:
                self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Handler(Answering):
    def do_GET(self):
        if "closes" not in self.server.odd.words:
            return super().do_GET()
        if "opens_late" in self.server.odd.words:
            time.sleep(0.2)
        self.server.listened.setdefault(self.headers["mcp-session-id"], []).append(time.monotonic())
        self.send(200, b"retry: 0\n\n", "text/event-stream")

    def do_POST(self):
        message = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if refused := self.server.refuses(self.headers):
            kind = "application/json" if refused[1].startswith("{") else "text/plain"
            return self.send(refused[0], refused[1].encode(), kind, challenge=refused[2] if len(refused) > 2 else None)
        if message.get("method") == "server/discover" and "hangs" in self.server.odd.words:
            return time.sleep(60)
        if message.get("method") == "server/discover" and "drops" in self.server.odd.words:
            return self.connection.close()
        if message.get("method") == "server/discover" and "fails" in self.server.odd.words:
            return self.send(500, b"oops", "text/plain")
        session = None
        if message.get("method") == "initialize":
            session = uuid.uuid4().hex
            self.server.sessions.add(session)
        if message.get("method") == "tools/call":
            self.server.called = time.monotonic()
        self.server.odd.heard = {name.lower(): value for name, value in self.headers.items()}
        if message.get("method") == "tools/call" and "answers_nothing" in self.server.odd.words:
            return self.send(200, b'{"jsonrpc": "2.0", "method": "notifications/x"}', "application/json")
        said = self.server.odd.answer(message, lambda _: None)
        if "id" not in message or said is None:
            return self.send(202, b"", "text/plain")
        whole = json.dumps({"jsonrpc": "2.0", **reply(message, said)})
        if "streams" in self.server.odd.words:
            return self.send(200, f"event: message\ndata: {whole}\n\n".encode(), "text/event-stream", session)
        self.send(200, whole.encode(), "application/json", session)

    def do_DELETE(self):
        self.send(200, b"", "text/plain")


if __name__ == "__main__":
    program()
