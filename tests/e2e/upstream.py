"""A provider under test's control: it answers by the model's name, in odd pieces, and remembers what it was asked."""

import collections
import dataclasses
import http.server
import json
import random
import select
import socket
import threading

HOP_BY_HOP = {"connection", "content-encoding", "content-length", "transfer-encoding"}


@dataclasses.dataclass
class Asked:
    """A request as it arrived."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    def json(self):
        return json.loads(self.body)


class Hold:
    """Stops an answer after so many bytes until it is released; tells when the other side has gone."""

    def __init__(self, after=0):
        self.after = after
        self.reached = threading.Event()
        self.released = threading.Event()
        self.gone = threading.Event()

    @classmethod
    def up(cls, after):
        """One that breaks the answer off by itself."""
        hold = cls(after)
        hold.released.set()
        hold.gone.set()
        return hold

    def wait(self, connection):
        """Whether the answer may go on."""
        self.reached.set()
        while not self.released.is_set():
            if select.select([connection], [], [], 0.01)[0] and is_closed(connection):
                self.gone.set()
                break
        return not self.gone.is_set()


def is_closed(connection):
    try:
        return not connection.recv(1, socket.MSG_PEEK)
    except ConnectionResetError:
        return True


@dataclasses.dataclass
class Answer:
    """What to send back; a stream is chunked and has no length."""

    body: bytes
    status: int = 200
    headers: dict[str, str] = dataclasses.field(default_factory=lambda: {"content-type": "application/json"})
    stream: bool = False
    hold: Hold | None = None
    # What recorded headers say of it does not hold of recorded bodies.
    encoding: str | None = None

    def pieces(self):
        """The body in odd pieces, with `None` where it is held."""
        sizes = random.Random(len(self.body))
        longest = max(61, len(self.body) // 150)
        hold_at = self.hold.after if self.hold else None
        at = 0
        while True:
            if at == hold_at:
                yield None
            if at == len(self.body):
                return
            end = min(at + sizes.randint(1, longest), len(self.body))
            if hold_at is not None and at < hold_at:
                end = min(end, hold_at)
            yield self.body[at:end]
            at = end


class Upstream:
    """`answers[model]` are given in turn, the last one again and again; what `paths` has is answered by that, whatever the body."""

    def __init__(self):
        self.requests: list[Asked] = []
        self.answers: dict[str, collections.deque[Answer]] = {}
        self.paths = {}
        self.fallback = lambda model: None
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True
            timeout = 30

            def do_POST(self):
                body = self.read_body()
                asked = Asked(self.command, self.path, {name.lower(): value for name, value in self.headers.items()}, body)
                outer.requests.append(asked)
                self.give(outer.answer_to(asked))

            do_GET = do_DELETE = do_POST

            def read_body(self):
                if self.headers.get("transfer-encoding") != "chunked":
                    return self.rfile.read(int(self.headers.get("content-length", 0)))
                pieces = []
                while size := int(self.rfile.readline(), 16):
                    pieces.append(self.rfile.read(size))
                    self.rfile.readline()
                self.rfile.readline()
                return b"".join(pieces)

            def give(self, answer):
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    if name.lower() not in HOP_BY_HOP:
                        self.send_header(name, value)
                if answer.encoding:
                    self.send_header("content-encoding", answer.encoding)
                length = ("transfer-encoding", "chunked") if answer.stream else ("content-length", str(len(answer.body)))
                self.send_header(*length)
                self.end_headers()
                try:
                    self.write(answer)
                except ConnectionError:
                    self.close_connection = True
                    if answer.hold:
                        answer.hold.gone.set()

            def write(self, answer):
                for piece in answer.pieces():
                    if piece is not None:
                        self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece) if answer.stream else piece)
                    elif not answer.hold.wait(self.connection):
                        self.close_connection = True
                        return
                if answer.stream:
                    self.wfile.write(b"0\r\n\r\n")

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            request_queue_size = 128
            daemon_threads = True

            def handle_error(self, request, client_address):
                """A caller that hangs up is no error here."""

        self.server = Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server.server_address[1]}/v1"

    def serve(self, model, *answers):
        self.answers[model] = collections.deque(answers)

    def serve_at(self, method, path, answer):
        """`path` is without `/v1` and the query; `answer` may be a function of what was asked."""
        self.paths[method, f"/v1{path}"] = answer

    def answer_to(self, asked):
        if answer := self.paths.get((asked.method, asked.path.partition("?")[0])):
            return answer(asked) if callable(answer) else answer
        if asked.method != "POST" or not asked.body.lstrip().startswith(b"{"):
            return error(404, f"Unknown request URL: {asked.method} {asked.path}.", code="unknown_url")
        body = asked.json()
        given = self.answers.get(body["model"])
        if given:
            return given.popleft() if len(given) > 1 else given[0]
        if recorded := self.fallback(body["model"]):
            return recorded
        usage = body.get("stream_options", {}).get("include_usage", False)
        return chat_stream("Hello there!", usage=usage) if body.get("stream") else chat("Hello there!")

    def forget(self):
        self.requests.clear()
        self.answers.clear()
        self.paths.clear()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


# What OpenAI's API answers.

USAGE = {
    "prompt_tokens": 1000,
    "completion_tokens": 200,
    "total_tokens": 1200,
    "prompt_tokens_details": {"cached_tokens": 400},
    "completion_tokens_details": {"reasoning_tokens": 50},
}
HEAD = {"id": "chatcmpl-1", "created": 1760000000, "model": "gpt-4o-mini-2024-07-18"}


def answer_json(value, status=200, **headers):
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(json.dumps(value, ensure_ascii=False).encode(), status, {"content-type": "application/json", **headers})


def answer_events(events, hold=None):
    body = "".join(f"data: {json.dumps(event, ensure_ascii=False)}\n\n" for event in events) + "data: [DONE]\n\n"
    return Answer(body.encode(), headers={"content-type": "text/event-stream; charset=utf-8"}, stream=True, hold=hold)


def chat(text, *, tool_calls=None, n=1, usage=USAGE):
    message = {"role": "assistant", "content": text, "refusal": None} | ({"tool_calls": tool_calls} if tool_calls else {})
    finish = "tool_calls" if tool_calls else "stop"
    choices = [{"index": i, "message": message, "logprobs": None, "finish_reason": finish} for i in range(n)]
    return answer_json({**HEAD, "object": "chat.completion", "choices": choices, "usage": usage})


def chat_stream(text, *, usage=False, hold=None):
    def chunk(delta, finish=None):
        return {**HEAD, "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}

    words = [chunk({"content": word}) for word in text.replace(" ", "\0 ").split("\0")]
    events = [chunk({"role": "assistant", "content": ""}), *words, chunk({}, "stop")]
    if usage:
        events.append({**HEAD, "object": "chat.completion.chunk", "choices": [], "usage": USAGE})
    return answer_events(events, hold)


def error(status, message="It did not work.", kind="invalid_request_error", code=None, **headers):
    return answer_json({"error": {"message": message, "type": kind, "param": None, "code": code}}, status, **headers)
