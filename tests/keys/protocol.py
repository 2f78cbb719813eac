"""What is told of a key inside the Model Context Protocol: it was let in, and what it wants is over its limits or none of its own."""

import json

from client import Client
from surfaces import ACCEPT_MCP, CLIENT

VERSION = "2026-07-28"
META = {f"io.modelcontextprotocol/{name}": value for name, value in {"protocolVersion": VERSION, "clientInfo": CLIENT, "clientCapabilities": {}}.items()}
OVER = ("out_of_requests", "out_of_tokens", "out_of_input", "out_of_output", "out_of_hour", "out_of_day")


def ask(client, key, method, **params):
    """One request of the revision that has no handshake."""
    headers = [*ACCEPT_MCP, ("content-type", "application/json"), ("authorization", f"Bearer {key}"), ("mcp-protocol-version", VERSION), ("mcp-method", method)]
    headers += [("mcp-name", params["name"])] if "name" in params else []
    body = {"jsonrpc": "2.0", "id": 7, "method": method, "params": params | {"_meta": META}}
    return client.send("POST", "/mcp", headers, json.dumps(body).encode())


def run(table):
    client, live = Client(table.gateway.port), table.live
    for name in OVER:
        told = ask(client, getattr(live, name), "tools/list").json()
        is_right = told["id"] == 7 and told.get("error", {}).get("data") == {"code": "rate_limit_exceeded"}
        table.must(f"{name} | mcp's lists", is_right, told)
    greeting = {"name": "prompt__hello", "arguments": {"name": "Ann"}}
    calls = [
        ("out_of_hour", greeting, "1 requests an hour"),
        ("out_of_day", {"name": "list_models"}, "1 requests a day"),
        ("out_of_money", greeting, "has spent its budget of $0"),
        ("out_of_money", {"name": "weather__list"}, "has spent its budget of $0"),
        ("test", greeting, "A kw_test_ key never costs money"),
        ("test", {"name": "weather__list"}, "A kw_test_ key never costs money"),
        ("limited", greeting, "may not use the model"),
        ("limited", {"name": "weather__list"}, "may not call"),
    ]
    for name, call, says in calls:
        told = ask(client, getattr(live, name), "tools/call", **call).json()
        result = told.get("result", {})
        table.must(f"{name} | mcp's {call['name']}", result.get("isError") and says in result["content"][0]["text"], told)
    client.close()
