"""Every surface that takes a key: how it is called, and the shape that its errors have."""

import dataclasses
import json
from collections.abc import Callable

CHAT_BODY = {"model": "test/gpt-4o-mini", "messages": [{"role": "user", "content": "hi"}]}
BOUNDARY = "keyward-boundary"
# What names something with a price.
PRICED = ("gpt-4o-mini", "/prompts/hello", "/services/weather/stations")
HANDSHAKE = (("connection", "Upgrade"), ("upgrade", "websocket"), ("sec-websocket-version", "13"), ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="))


class WrongShape(Exception):
    """An error that is not in its dialect's own shape."""


def holds(is_so, what, seen):
    if not is_so:
        raise WrongShape(f"{what}: {seen}")


# The shapes: each gives the code and the sentence.

KINDS = {401: "invalid_request_error", 402: "insufficient_quota", 403: "permission_error", 429: ("requests", "tokens", "parallel")}


def openai(reply):
    error = reply.json()["error"]
    holds(set(error) >= {"message", "type", "param", "code"}, "OpenAI's error object", error)
    holds(error["type"] in KINDS[reply.status], "its type", error)
    return error["code"], error["message"]


def anthropic(reply):
    body = reply.json()
    kinds = {401: "authentication_error", 402: "billing_error", 403: "permission_error", 429: "rate_limit_error"}
    holds(body["type"] == "error" and "request_id" in body and "request-id" in reply.headers, "Anthropic's error object", body)
    holds(body["error"]["type"] == kinds[reply.status], "its type", body)
    return body["error"]["code"], body["error"]["message"]


def gemini(reply):
    error = reply.json()["error"]
    names = {401: "UNAUTHENTICATED", 402: "RESOURCE_EXHAUSTED", 403: "PERMISSION_DENIED", 429: "RESOURCE_EXHAUSTED"}
    holds((error["code"], error["status"]) == (reply.status, names[reply.status]), "Google's status", error)
    reasons = [detail["reason"] for detail in error["details"] if detail["@type"].endswith("ErrorInfo")]
    holds(len(reasons) == 1, "one reason", error)
    return reasons[0], error["message"]


def bedrock(reply):
    body = reply.json()
    names = {401: "AccessDeniedException", 402: "AccessDeniedException", 403: "AccessDeniedException", 429: "ThrottlingException"}
    holds(reply.headers.get("x-amzn-errortype") == names[reply.status], "the exception's name", reply.headers)
    return body["code"], body["message"]


def cohere(reply):
    body = reply.json()
    holds(body["id"], "Cohere's error object", body)
    return body["code"], body["message"]


def ollama(reply):
    body = reply.json()
    holds(isinstance(body["error"], str), "Ollama's error object", body)
    return body["code"], body["error"]


def mcp(reply):
    """Nothing was read of the message: the error has no id, and whoever has no key is told how to show one (RFC 6750, section 3)."""
    body = reply.json()
    holds(body["jsonrpc"] == "2.0" and body.get("id") is None and isinstance(body["error"]["code"], int), "JSON-RPC's error object", body)
    holds(reply.status != 401 or reply.headers.get("www-authenticate", "").startswith("Bearer "), "a challenge", reply.headers)
    return body["error"]["data"]["code"], body["error"]["message"]


def problem(reply):
    body = reply.json()
    holds(reply.headers["content-type"] == "application/problem+json", "a problem's content type (RFC 9457)", reply.headers)
    holds(body["status"] == reply.status and body["title"], "a problem", body)
    return body["code"], body["detail"]


# What is no request to limits and has no model for scopes; or it names what nobody keeps, which is told before either is asked.
UNCOUNTED = {"calls": False, "model": False}


@dataclasses.dataclass
class Surface:
    """A path, what is sent to it, and the shape of its errors; `calls` where limits are asked, `model` where scopes and budgets are.

    What `is_free` asks no budget.
    """

    name: str
    method: str
    path: str
    shape: Callable
    body: bytes = b""
    calls: bool = True
    model: bool = True
    is_free: bool = False
    is_service: bool = False
    is_admin: bool = False
    content_type: str = "application/json"
    headers: tuple = ()

    def shape_for(self, headers, query):
        """Some paths are of several SDKs: who sends Google's header, or Google's parameter and nothing else, reads Google's shape."""
        names = {name.lower() for name, _ in headers}
        if self.method != "GET" or not self.path.startswith(("/v1/models", "/v1/batches")):
            return self.shape
        by_query = self.path == "/v1/batches" and query.startswith("key=") and not names & {"authorization", "x-api-key", "api-key"}
        return gemini if "x-goog-api-key" in names or by_query else self.shape


def posted(name, path, shape, body, **more):
    return Surface(name, "POST", path, shape, json.dumps(body).encode(), **more)


def listed(name, path, shape, **more):
    return Surface(name, "GET", path, shape, **UNCOUNTED, **more)


def form(name, path, fields, **more):
    parts = "".join(f"--{BOUNDARY}\r\ncontent-disposition: form-data; {disposition}\r\n\r\n{value}\r\n" for disposition, value in fields)
    body = f"{parts}--{BOUNDARY}--\r\n".encode()
    return Surface(name, "POST", path, openai, body, content_type=f"multipart/form-data; boundary={BOUNDARY}", **more)


GEMINI_BODY = {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}
GEMINI_INPUT = {"content": {"parts": [{"text": "hi"}]}}
GEMINI_BATCH = {"batch": {"inputConfig": {"requests": {"requests": [{"request": GEMINI_BODY}]}}}}
BATCH = {"input_file_id": "file-1", "endpoint": "/v1/chat/completions", "completion_window": "24h"}
ANTHROPIC_BATCH = {"requests": [{"custom_id": "a", "params": {"model": "claudes/claude", "max_tokens": 9, "messages": CHAT_BODY["messages"]}}]}
CLIENT = {"name": "table", "version": "1"}
INITIALIZE = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": CLIENT}}
AT_TEST, AT_CLAUDES, AT_GOOGLES = ((("keyward-provider", provider),) for provider in ("test", "claudes", "googles"))
ANTHROPIC = (("anthropic-version", "2023-06-01"),)
ACCEPT_MCP = (("accept", "application/json, text/event-stream"),)

ALL = [
    posted("openai chat", "/v1/chat/completions", openai, CHAT_BODY),
    posted("openai chat, streamed", "/v1/chat/completions", openai, CHAT_BODY | {"stream": True}),
    posted("openai responses", "/v1/responses", openai, {"model": "test/gpt-4o-mini", "input": "hi"}),
    posted("openai completions", "/v1/completions", openai, {"model": "test/gpt-4o-mini", "prompt": "hi"}),
    posted("openai embeddings", "/v1/embeddings", openai, {"model": "test/embed", "input": "hi"}),
    posted("rankings", "/v1/rerank", openai, {"model": "ranks/rank", "query": "hi", "documents": ["a", "b"]}),
    posted("openai images", "/v1/images/generations", openai, {"model": "test/gpt-image-1", "prompt": "a key"}),
    form("openai transcriptions", "/v1/audio/transcriptions", [('name="model"', "test/whisper"), ('name="file"; filename="a.wav"', "RIFF")]),
    posted("openai moderations, of no model", "/v1/moderations", openai, {"input": "hi"}, headers=AT_TEST),
    form("openai files", "/v1/files", [('name="purpose"', "batch"), ('name="file"; filename="a.jsonl"', "{}")], is_free=True, headers=AT_TEST),
    posted("openai batches", "/v1/batches", openai, BATCH, **UNCOUNTED),
    Surface("openai batches, listed", "GET", "/v1/batches", openai, is_free=True, headers=AT_TEST),
    listed("openai stored response", "/v1/responses/resp_1", openai),
    posted("openai conversations", "/v1/conversations", openai, {}, is_free=True, headers=AT_TEST),
    Surface("realtime", "GET", "/v1/realtime?model=test/gpt-realtime", openai, headers=HANDSHAKE),
    listed("openai models", "/v1/models", openai),
    listed("openai model", "/v1/models/test/gpt-4o-mini", openai),
    listed("anthropic models", "/v1/models", anthropic, headers=ANTHROPIC),
    listed("anthropic model", "/v1/models/test/gpt-4o-mini", anthropic, headers=ANTHROPIC),
    posted("anthropic", "/v1/messages", anthropic, CHAT_BODY | {"max_tokens": 64}, headers=ANTHROPIC),
    posted("anthropic count", "/v1/messages/count_tokens", anthropic, CHAT_BODY | {"model": "claudes/claude"}, is_free=True, headers=ANTHROPIC),
    posted("anthropic batches", "/v1/messages/batches", anthropic, ANTHROPIC_BATCH, is_free=True, headers=ANTHROPIC),
    Surface("anthropic files", "GET", "/v1/files", anthropic, is_free=True, headers=ANTHROPIC + AT_CLAUDES),
    listed("anthropic batch", "/anthropic/v1/messages/batches/msgbatch_1", anthropic),
    posted("gemini", "/v1beta/models/test/gpt-4o-mini:generateContent", gemini, GEMINI_BODY),
    posted("gemini, streamed", "/v1beta/models/test/gpt-4o-mini:streamGenerateContent", gemini, GEMINI_BODY),
    posted("gemini, at Vertex's path", "/v1/projects/p/locations/l/publishers/google/models/test/gpt-4o-mini:generateContent", gemini, GEMINI_BODY),
    posted("gemini, at OpenAI's path", "/v1/models/test/gpt-4o-mini:generateContent", gemini, GEMINI_BODY),
    posted("gemini embeddings", "/v1beta/models/test/embed:embedContent", gemini, GEMINI_INPUT),
    posted("gemini count", "/v1beta/models/googles/flash:countTokens", gemini, GEMINI_BODY, is_free=True),
    posted("gemini batches", "/v1beta/models/googles/flash:batchGenerateContent", gemini, GEMINI_BATCH, is_free=True),
    posted("gemini uploads", "/upload/v1beta/files", gemini, {"file": {"displayName": "a"}}, is_free=True,
           headers=AT_GOOGLES + (("x-goog-upload-protocol", "resumable"), ("x-goog-upload-command", "start"))),
    Surface("gemini files", "GET", "/v1beta/files", gemini, is_free=True, headers=AT_GOOGLES),
    listed("gemini download", "/download/v1beta/files/a:download", gemini),
    listed("gemini models", "/v1beta/models", gemini),
    listed("gemini model", "/v1beta/models/test/gpt-4o-mini", gemini),
    listed("gemini models, as Vertex lists them", "/v1/publishers/google/models", gemini),
    posted("bedrock", "/model/test%2Fgpt-4o-mini/converse", bedrock, {"messages": [{"role": "user", "content": [{"text": "hi"}]}]}),
    posted("cohere", "/v2/chat", cohere, CHAT_BODY),
    posted("cohere rankings", "/v2/rerank", cohere, {"model": "ranks/rank", "query": "hi", "documents": ["a", "b"]}),
    posted("ollama", "/api/chat", ollama, CHAT_BODY),
    posted("ollama generate", "/api/generate", ollama, {"model": "test/gpt-4o-mini", "prompt": "hi"}),
    posted("ollama embed", "/api/embed", ollama, {"model": "test/embed", "input": "hi"}),
    listed("ollama tags", "/api/tags", ollama),
    posted("ollama show", "/api/show", ollama, {"model": "test/gpt-4o-mini"}, **UNCOUNTED),
    # What limits and scopes say is said inside the protocol: protocol.py has it.
    posted("mcp", "/mcp", mcp, INITIALIZE, **UNCOUNTED, headers=ACCEPT_MCP),
    listed("mcp, of one server", "/mcp/nobody", mcp, headers=ACCEPT_MCP),
    listed("prompts", "/prompts", problem),
    listed("prompt", "/prompts/hello", problem),
    posted("prompt, called", "/prompts/hello", problem, {"name": "Ann"}),
    listed("services", "/services", problem),
    listed("service", "/services/weather", problem),
    posted("service's subscription", "/services/weather/subscription", problem, {}, **UNCOUNTED),
    Surface("service, called", "GET", "/services/weather/stations", problem, is_service=True),
    listed("admin usage", "/admin/v1/usage", problem, is_admin=True),
    posted("admin keys explain", "/admin/v1/keys/explain", problem, {"key": "letmein"}, **UNCOUNTED, is_admin=True),
    posted("admin prompt's test", "/admin/v1/prompts/hello/test", problem, {}, **UNCOUNTED, is_admin=True),
]


# Which surfaces a way is tried on.

def everywhere(_):
    return True


def data(surface):
    return not surface.is_admin


def reads_query(surface):
    """What is called `key` in a service's URL is the service's own."""
    return data(surface) and not surface.is_service


def reads_no_query(surface):
    return not reads_query(surface)


def admin(surface):
    return surface.is_admin


def calls(surface):
    return surface.calls


def calls_something(surface):
    return surface.model


def calls_model(surface):
    return surface.model and not surface.is_service


def calls_service(surface):
    return surface.is_service


def calls_priced(surface):
    return surface.model and not surface.is_free and is_priced(surface)


def calls_unpriced(surface):
    return surface.model and not surface.is_free and not is_priced(surface) and not calls_unbounded(surface)


def calls_unbounded(surface):
    return b"gpt-image-1" in surface.body


def is_priced(surface):
    return any(name in surface.path + surface.body.decode() for name in PRICED)


def only(name):
    return lambda surface: surface.name == name


def but(name):
    return lambda surface: surface.name != name
