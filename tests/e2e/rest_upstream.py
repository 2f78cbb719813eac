"""Somebody's REST API: it remembers what it was sent, and answers as its path says."""

import base64
import contextlib
import gzip
import http.server
import json
import threading
import time
import urllib.parse

SECRET = "sk-weather/credential+0123456789="

OPENAPI = """
openapi: 3.0.3
info: { title: Weather, version: "1", description: Tells the weather }
servers: [{ url: https://internal.example }]
security: [{ theirs: [] }]
paths:
  /stations/{id}:
    parameters:
      - { name: id, in: path, required: true, schema: { type: string } }
    get:
      operationId: getStation
      summary: Tells one station
      parameters:
        - { name: units, in: query, description: Celsius or not, schema: { type: string, enum: [C, F] } }
        - { name: tags, in: query, schema: { type: array, items: { type: string } } }
        - { name: X-Trace, in: header, schema: { type: integer } }
        - { $ref: "#/components/parameters/Key" }
      responses: { 200: { description: It, content: { application/json: { schema: { $ref: "#/components/schemas/Station" } } } } }
    put:
      operationId: putStation
      security: [{ theirs: [] }]
      requestBody: { required: true, content: { application/json: { schema: { $ref: "#/components/schemas/Station" } } } }
      responses: { 200: { description: Done } }
  /stations/first:
    get: { operationId: firstStation, responses: { 200: { description: It } } }
    head: { operationId: headStation, responses: { 200: { description: It } } }
  /echo:
    post: { operationId: echo, requestBody: { content: { "application/octet-stream": {} } }, responses: { 200: { description: Back } } }
    get: { operationId: echoHead, responses: { 200: { description: Back } } }
  /status/{code}:
    get:
      operationId: status
      parameters: [{ name: code, in: path, required: true, schema: { type: integer } }]
      responses: { 200: { description: As asked } }
  /slow:
    get: { operationId: slow, responses: { 200: { description: Late } } }
  /drops:
    get: { operationId: drops, responses: { 200: { description: Half of it } } }
  /stream:
    get: { operationId: stream, responses: { 200: { description: Pieces } } }
  /endless/{how}:
    get:
      operationId: endless
      parameters: [{ name: how, in: path, required: true, schema: { type: string } }]
      responses: { 200: { description: Pieces } }
  /half/{id}:
    get:
      operationId: half
      parameters: [{ name: id, in: path, required: true, schema: { type: string } }]
      responses: { 200: { description: It } }
  /half/{id}/owner:
    get:
      operationId: halfOwner
      parameters: [{ name: id, in: path, required: true, schema: { type: string } }]
      responses: { 200: { description: It } }
  /closes:
    get: { operationId: closes, responses: { 200: { description: A head } } }
  /part:
    get: { operationId: part, responses: { 206: { description: A part } } }
  /Stations/{id}:
    get:
      operationId: otherStation
      parameters: [{ name: id, in: path, required: true, schema: { type: string } }]
      responses: { 200: { description: It } }
  /beside:
    get: { operationId: beside, servers: [{ url: "/v2" }], responses: { 200: { description: It } } }
  /away:
    get: { operationId: away, servers: [{ url: "https://files.example/v1" }], responses: { 200: { description: It } } }
  /styled/{shape}:
    get:
      operationId: styled
      parameters:
        - { name: shape, in: path, required: true, style: matrix, schema: { type: array, items: { type: string } } }
        - { name: flat, in: query, explode: false, schema: { type: array, items: { type: string } } }
        - { name: session, in: cookie, required: true, schema: { type: string } }
      responses: { 200: { description: It } }
  /repeat/{how}:
    get:
      operationId: repeat
      parameters: [{ name: how, in: path, required: true, schema: { type: string } }]
      responses: { 200: { description: What it was sent } }
  /moved:
    get: { responses: { 302: { description: Elsewhere } } }
components:
  parameters:
    Key: { name: X-Weather-Key, in: header, required: true, schema: { type: string } }
  schemas:
    Station:
      type: object
      required: [name]
      properties:
        name: { type: string, minLength: 1 }
        altitude: { type: number, nullable: true }
        near: { type: array, items: { $ref: "#/components/schemas/Station" } }
  securitySchemes:
    theirs: { type: apiKey, in: header, name: X-Weather-Key }
"""

FILE = """
upstream = "{url}/v1"
openapi = "weather.yaml"
state = "{state}"
{more}
[credential]
in = "header"
name = "X-Weather-Key"
value = "${{WEATHER_KEY}}"
{tables}"""


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self):
        body = self.body()
        path, _, query = self.path.partition("?")
        self.server.seen.append((self.command, self.path, {name.lower(): value for name, value in self.headers.items()}, body))
        if self.headers.get("x-weather-key") != SECRET and self.server.wants_key:
            return self.send(401, {"error": "who are you?"})
        if path == "/v1/echo":
            headers = {name.lower(): value for name, value in self.headers.items()}
            return self.send(200, body or json.dumps({"headers": headers}).encode(), **{
                "X-Your-Key": SECRET,
                "Set-Cookie": "session=theirs",
                "Keyward-Operation": "theirs",
                "X-RateLimit-Remaining": "7",
                "Strict-Transport-Security": "max-age=1",
                "Alt-Svc": "h3",
                "Accept-Ranges": "bytes",
            })
        if path.startswith("/v1/status/"):
            return self.send(int(path.rsplit("/", 1)[1]), {"says": "so"})
        if path == "/v1/slow":
            time.sleep(1.5)
            return self.send(200, {})
        if path == "/v1/closes":
            self.send(200, b"", length=100)
            self.close_connection = True
            return None
        if path == "/v1/part":
            return self.send(206, SECRET[:9].encode())
        if path == "/v1/drops":
            self.send(200, b"half", length=100)
            self.close_connection = True
            return None
        if path == "/v1/stream":
            return self.pieces()
        if path.startswith("/v1/endless/"):
            return self.endless(path.rsplit("/", 1)[1])
        if path.startswith("/v1/repeat/"):
            return self.repeat(path.rsplit("/", 1)[1])
        if path == "/v1/moved":
            return self.send(302, b"", Location="/v1/stations/first?units=C")
        said = {"path": urllib.parse.unquote(path), "query": query, "body": body.decode() or None}
        return self.send(200, {"name": path.rsplit("/", 1)[1], "altitude": None, "asked": said})

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = answer

    def body(self):
        if "chunked" in self.headers.get("transfer-encoding", ""):
            whole = b""
            while size := int(self.rfile.readline(), 16):
                whole += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return whole
        return self.rfile.read(int(self.headers.get("content-length", 0)))

    def send(self, status, body, length=None, **headers):
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(length or len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def repeat(self, how):
        here = f"http://127.0.0.1:{self.server.server_port}"
        quoted = urllib.parse.quote_plus(SECRET)
        if how == "links":
            links = f'<{here}/v1/stations/2?page=2>; rel="next"; title="a <b> c", <https://other.example/x>; rel=about'
            return self.send(200, {}, **{"Link": links, "Content-Location": "first#part"})
        if how == "away":
            return self.send(302, b"", Location=f"https://evil.example/?k={quoted.lower()}")
        if how == "packed":
            return self.send(200, gzip.compress(json.dumps({"key": SECRET}).encode()), **{"Content-Encoding": "gzip"})
        if how == "wide":
            return self.send(200, SECRET.encode("utf-16"), **{"Content-Type": "text/plain; charset=UTF-16"})
        if how == "switch":
            self.send_response(101)
            self.send_header("Upgrade", "websocket")
            return self.end_headers()
        forms = [SECRET, quoted, quoted.replace("%2F", "%2f").replace("%2B", "%2b"), json.dumps(SECRET).replace("/", "\\/"), base64.b64encode(SECRET.encode()).decode()]
        return self.send(200, " ".join(forms).encode())

    def pieces(self):
        """The credential, torn in two."""
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        if self.command == "HEAD":
            return
        for piece in [b"data: one\n\n", b"data: " + SECRET[:9].encode(), SECRET[9:].encode() + b"\n\n", b"data: end\n\n"]:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            self.wfile.flush()
            time.sleep(0.05)
        self.wfile.write(b"0\r\n\r\n")


    def endless(self, how):
        """Events until its caller hangs up: one, one after another, or not even a head."""
        self.close_connection = True
        if how != "mute":
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.end_headers()
            self.wfile.write(b"data: tick\n\n")
        with contextlib.suppress(OSError):
            while how == "busy":
                self.wfile.write(b"data: tick\n\n")
                time.sleep(0.001)
            self.connection.recv(1)
        self.server.left.append(how)


class Api:
    """It listens until it is closed."""

    def __init__(self):
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.seen, self.server.left, self.server.wants_key = [], [], True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server.server_port}"

    @property
    def seen(self):
        return self.server.seen

    @property
    def left(self):
        """What has no end by itself, and has ended."""
        return self.server.left

    def close(self):
        self.server.shutdown()
        self.server.server_close()
