"""Every surface that takes a key: how it is called, and the shape that its errors have."""

import dataclasses
import json
from collections.abc import Callable

CHAT_BODY = {"model": "test/gpt-4o-mini", "messages": [{"role": "user", "content": "hi"}]}
BOUNDARY = "keyward-boundary"
FORM = "".join(
    f"--{BOUNDARY}\r\ncontent-disposition: form-data; {disposition}\r\n\r\n{value}\r\n"
    for disposition, value in (('name="purpose"', "batch"), ('name="file"; filename="a.jsonl"', "{}"))
) + f"--{BOUNDARY}--\r\n"
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


def problem(reply):
    body = reply.json()
    holds(reply.headers["content-type"] == "application/problem+json", "a problem's content type (RFC 9457)", reply.headers)
    holds(body["status"] == reply.status and body["title"], "a problem", body)
    return body["code"], body["detail"]


@dataclasses.dataclass
class Surface:
    """A path, what is sent to it, and the shape of its errors; `calls` where a provider is called, `model` where a model is."""

    name: str
    method: str
    path: str
    shape: Callable
    body: bytes = b""
    calls: bool = True
    model: bool = True
    is_admin: bool = False
    content_type: str = "application/json"
    headers: tuple = ()

    def shape_for(self, headers):
        """The list of models has one path for three SDKs: who sends Google's header reads Google's shape."""
        is_googles = self.path == "/v1/models" and any(name.lower() == "x-goog-api-key" for name, _ in headers)
        return gemini if is_googles else self.shape


def posted(name, path, shape, body, **more):
    return Surface(name, "POST", path, shape, json.dumps(body).encode(), **more)


def listed(name, path, shape, **more):
    return Surface(name, "GET", path, shape, calls=False, model=False, **more)


GEMINI_BODY = {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}

ALL = [
    posted("openai chat", "/v1/chat/completions", openai, CHAT_BODY),
    posted("openai chat, streamed", "/v1/chat/completions", openai, CHAT_BODY | {"stream": True}),
    posted("openai responses", "/v1/responses", openai, {"model": "test/gpt-4o-mini", "input": "hi"}),
    posted("openai embeddings", "/v1/embeddings", openai, {"model": "test/embed", "input": "hi"}),
    posted("rankings", "/v1/rerank", openai, {"model": "ranks/rank", "query": "hi", "documents": ["a", "b"]}),
    posted("openai images", "/v1/images/generations", openai, {"model": "test/gpt-image-1", "prompt": "a key"}),
    Surface("openai files", "POST", "/v1/files", openai, FORM.encode(), model=False, content_type=f"multipart/form-data; boundary={BOUNDARY}",
            headers=(("keyward-provider", "test"),)),
    Surface("realtime", "GET", "/v1/realtime?model=test/gpt-realtime", openai, headers=HANDSHAKE),
    listed("openai models", "/v1/models", openai),
    listed("anthropic models", "/v1/models", anthropic, headers=(("anthropic-version", "2023-06-01"),)),
    posted("anthropic", "/v1/messages", anthropic, CHAT_BODY | {"max_tokens": 64}, headers=(("anthropic-version", "2023-06-01"),)),
    posted("gemini", "/v1beta/models/test/gpt-4o-mini:generateContent", gemini, GEMINI_BODY),
    listed("gemini models", "/v1beta/models", gemini),
    posted("bedrock", "/model/test%2Fgpt-4o-mini/converse", bedrock, {"messages": [{"role": "user", "content": [{"text": "hi"}]}]}),
    posted("cohere", "/v2/chat", cohere, CHAT_BODY),
    posted("cohere rankings", "/v2/rerank", cohere, {"model": "ranks/rank", "query": "hi", "documents": ["a", "b"]}),
    posted("ollama", "/api/chat", ollama, CHAT_BODY),
    listed("ollama tags", "/api/tags", ollama),
    listed("admin usage", "/admin/v1/usage", problem, is_admin=True),
    posted("admin keys explain", "/admin/v1/keys/explain", problem, {"key": "letmein"}, calls=False, model=False, is_admin=True),
]


# Which surfaces a way is tried on.

def everywhere(_):
    return True


def data(surface):
    return not surface.is_admin


def admin(surface):
    return surface.is_admin


def calls(surface):
    return surface.calls


def calls_model(surface):
    return surface.model


def calls_priced(surface):
    return surface.model and is_priced(surface)


def calls_unpriced(surface):
    return surface.model and not is_priced(surface)


def is_priced(surface):
    return "gpt-4o-mini" in surface.path + surface.body.decode()


def only(name):
    return lambda surface: surface.name == name


def but(name):
    return lambda surface: surface.name != name
