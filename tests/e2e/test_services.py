"""REST services: somebody's API behind keys, by plain HTTP and as MCP tools."""

import concurrent.futures
import fcntl
import json
import os
import socket
import threading
import time

import httpx
import pytest

from gateway import eventually
from mcp_fixture import call as call_tool
from mcp_fixture import session, tool_names
from rest_upstream import FILE, OPENAPI, SECRET, Api


@pytest.fixture
def api():
    running = Api()
    yield running
    running.close()


@pytest.fixture
def weather(start_gateway, api, request):
    gateway = start_gateway(env={"WEATHER_KEY": SECRET}, config='[mcp.servers.other]\ncommand = "false"\n')
    gateway.api = api
    gateway.services = gateway.folder / "services"
    gateway.services.mkdir()
    (gateway.services / "weather.yaml").write_text(OPENAPI)
    at_first = getattr(request, "param", {})
    write(gateway, **at_first)
    gateway.made = gateway.new_key(name="services")
    gateway.secret = gateway.made["key"]
    assert eventually(lambda: call(gateway, "/services/weather").status == (404 if "state" in at_first else 200))
    yield gateway
    assert SECRET not in gateway.log()


def at_first(**fields):
    """What the service's file says from its beginning: once it is published, that does not change."""
    return pytest.mark.parametrize("weather", [fields], indirect=True)


APPROVAL = 'subscription = "approval"'


def write(gateway, *, name="weather", url=None, state="published", more="", tables=""):
    text = FILE.format(url=url or gateway.api.url, state=state, more=more, tables=tables)
    (gateway.services / f"{name}.toml").write_text(text)


def call(gateway, path, *, method="GET", body=None, key=None, **headers):
    reply = gateway.request(method, path, body, key or gateway.secret, **headers)
    assert SECRET.encode() not in reply.body and SECRET not in str(reply.headers)
    return reply


def is_problem(reply, status, code, told=""):
    assert reply.status == status, reply.body
    assert reply.headers["content-type"] == "application/problem+json"
    assert (reply.json()["code"], reply.json()["status"]) == (code, status) and told in reply.json()["detail"], reply.json()
    return True


def test_a_call_goes_on_with_the_gateways_credential_in_the_place_of_the_callers(weather):
    headers = {"cookie": "a=b", "x_forwarded_for": "1.2.3.4", "connection": "x-hop", "x_hop": "here", "x_trace": "7", "x_weather_key": "mine"}
    reply = call(weather, "/services/weather/stations/M%C3%BCnchen%20Ost?units=C&key=theirs", **headers)
    assert reply.status == 200 and reply.json()["asked"] == {"path": "/v1/stations/München Ost", "query": "units=C&key=theirs", "body": None}
    assert reply.headers["keyward-operation"] == "weather@1/getStation" and reply.headers["x-request-id"]
    method, path, sent, _ = weather.api.seen[-1]
    assert (method, path) == ("GET", "/v1/stations/M%C3%BCnchen%20Ost?units=C&key=theirs")
    assert sent["x-weather-key"] == SECRET and sent["x-trace"] == "7" and sent["x-request-id"] == reply.headers["x-request-id"]
    assert not {"authorization", "cookie", "x-forwarded-for", "x-hop"} & set(sent) and weather.secret not in str(sent)


def test_a_body_streams_both_ways_and_the_credential_never_comes_back(weather):
    body = bytes(range(256)) * 8192
    reply = call(weather, "/services/weather/echo", method="POST", body=body, content_type="application/octet-stream")
    assert (reply.status, reply.body) == (200, body)
    assert "set-cookie" not in reply.headers and "x-your-key" not in reply.headers
    chunked = httpx.post(f"{weather.url}/services/weather/echo", content=iter([b"a" * 70000, b"b" * 70000]), headers={"authorization": f"Bearer {weather.secret}"})
    assert chunked.content == b"a" * 70000 + b"b" * 70000
    head = call(weather, "/services/weather/stations/first", method="HEAD")
    assert (head.status, head.body, int(head.headers["content-length"]) > 0) == (200, b"", True)
    assert weather.usage("service", "weather@1/headStation", 1)["failed"] == 0
    told = call(weather, "/services/weather/echo").json()["headers"]
    assert told["x-weather-key"] == "*" * len(SECRET)
    with httpx.stream("GET", f"{weather.url}/services/weather/stream", headers={"authorization": f"Bearer {weather.secret}"}) as answer:
        pieces = list(answer.iter_raw())
    assert b"".join(pieces) == b"data: one\n\ndata: " + b"*" * len(SECRET) + b"\n\ndata: end\n\n" and len(pieces) > 1


@pytest.mark.parametrize(
    "path",
    ["..", "stations/..", "stations/%2e%2e", "stations/%252e%252e/x", "stations/..;/x", "stations/..%2fecho", "stations/a%2f..%2f..%2fecho", "stations/%2fa", "stations/a%252fb", "stations/a%5Cb", "stations/%00", "./echo", "stations/%c0%af", "stations/a%ef%bc%8fb", "stations/first;x", "stations/first%3Bx", "stations/FIRST", "stations/first%20"],
)
def test_paths_that_lead_elsewhere_are_refused(weather, path):
    is_problem(call(weather, f"/services/weather/{path}"), 400, "path_not_plain")
    assert not weather.api.seen


def test_what_there_is_not_says_what_there_is(weather):
    is_problem(call(weather, "/services/weather/station"), 404, "operation_not_found", "/stations/{id}")
    wrong = call(weather, "/services/weather/stations/first", method="DELETE")
    assert is_problem(wrong, 405, "method_not_allowed", "use GET, HEAD, PUT.") and wrong.headers["allow"] == "GET, HEAD, PUT"
    is_problem(call(weather, "/services/wether/echo"), 404, "service_not_found", "did you mean 'weather'?")
    is_problem(call(weather, "/services/weather", method="POST"), 405, "method_not_allowed")
    is_problem(weather.request("GET", "/services/weather/echo"), 401, "key_missing")
    for written in (weather.secret, weather.secret.replace("_", "%5F"), weather.secret.replace("k", "%6b", 1)):
        is_problem(call(weather, f"/services/weather/echo?k={written}"), 401, "key_misplaced")
        is_problem(call(weather, f"/services/weather/stations/{written}"), 401, "key_misplaced")
    assert not weather.api.seen


def test_trouble_of_the_service_is_told_as_its_own(weather):
    missing = call(weather, "/services/weather/status/404")
    assert (missing.status, missing.json()) == (404, {"says": "so"})
    moved = call(weather, "/services/weather/moved")
    assert (moved.status, moved.headers["location"]) == (302, "/services/weather/stations/first?units=C")
    is_problem(call(weather, "/services/weather/status/401"), 502, "service_credential_refused", "Your own key is fine")
    write(weather, more='timeout = "300ms"')
    assert eventually(lambda: call(weather, "/services/weather/slow").status == 504)
    is_problem(call(weather, "/services/weather/slow"), 504, "service_timeout", "0.3 s")
    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
        httpx.get(f"{weather.url}/services/weather/drops", headers={"authorization": f"Bearer {weather.secret}"})
    weather.api.close()
    is_problem(call(weather, "/services/weather/echo"), 502, "service_unreachable", "could not be reached")


def test_a_body_that_is_too_large_is_refused(weather):
    write(weather, more="body_mib = 1")
    large = b"x" * (1 << 20) + b"x"
    path = f"{weather.url}/services/weather/echo"
    key = {"authorization": f"Bearer {weather.secret}"}
    assert eventually(lambda: httpx.post(path, content=large, headers=key).status_code == 413)
    chunked = httpx.post(path, content=iter([large[: 1 << 19]] * 3), headers=key)
    assert chunked.status_code == 413 and chunked.json()["code"] == "body_too_large"
    assert httpx.post(path, content=large[:-1], headers=key).status_code == 200


@at_first(more='price = "0.002"')
def test_calls_are_in_the_ledger_with_their_price(weather):
    assert eventually(lambda: call(weather, "/services/weather").json()["price_nano_usd"] == 2_000_000)
    for path in ["stations/a", "stations/b", "status/500"]:
        call(weather, f"/services/weather/{path}")
    for code in (301, 302):
        call(weather, f"/services/weather/status/{code}")
    row = weather.usage("service", "weather@1/getStation", 2)
    assert (row["requests"], row["failed"], row["cost_nano_usd"]) == (2, 0, 4_000_000)
    row = weather.usage("service", "weather@1/status", 3)
    assert (row["failed"], row["cost_nano_usd"]) == (1, 0)
    assert weather.usage("operation", "service", 5)["requests"] == 5
    poor = weather.new_key(budget="0.003/day")["key"]
    assert call(weather, "/services/weather/stations/a", key=poor).status == 200
    spent = call(weather, "/services/weather/stations/a", key=poor)
    assert is_problem(spent, 402, "budget_exceeded", "Ask whoever runs this gateway for more.") and "max_tokens" not in spent.json()["detail"]
    assert 'model="weather@1/getStation"' in weather.request("GET", "/metrics").body.decode()


def test_limits_of_keys_and_of_the_service(weather):
    key = weather.new_key(limit="requests/minute=1@service/weather/get*")["key"]
    assert call(weather, "/services/weather/stations/a", key=key).status == 200
    limited = call(weather, "/services/weather/stations/a", key=key)
    assert is_problem(limited, 429, "rate_limit_exceeded") and limited.headers["retry-after"]
    assert call(weather, "/services/weather/echo", key=key).status == 200
    write(weather, tables='[limits]\nrates = ["requests/minute=2"]\nparallel = 1\n')
    # Two of each minute are left, whoever calls.
    assert eventually(lambda: call(weather, "/services/weather/status/200", key=weather.new_key()["key"]).status == 429)
    is_problem(call(weather, "/services/weather/echo"), 429, "rate_limit_exceeded", "All callers of the service 'weather@1' together may send 2 requests a minute")


def test_limits_that_come_again_count_what_came_between(weather):
    def statuses(year, tables, calls):
        """Of so many calls, once the file is read that says so."""
        write(weather, more=f'sunset = "{year}-01-01"', tables=tables)
        assert eventually(lambda: str(year) in call(weather, "/services/weather").headers.get("sunset", ""), seconds=8)
        return [call(weather, "/services/weather/echo").status for _ in range(calls)]

    limit = '[limits]\nrates = ["requests/day=20"]\n'
    assert statuses(2041, limit, 2) == [200] * 2
    assert statuses(2042, "", 30) == [200] * 30
    assert statuses(2043, limit, 1) == [429]


def test_at_most_so_many_at_a_time(weather):
    write(weather, tables="[limits]\nparallel = 1\n")
    # Longer than it takes until a file is seen.
    time.sleep(1.5)
    running = threading.Thread(target=call, args=(weather, "/services/weather/slow"))
    running.start()
    assert eventually(lambda: weather.api.seen)
    refused = call(weather, "/services/weather/echo")
    running.join()
    assert is_problem(refused, 429, "parallel_limit_exceeded") and call(weather, "/services/weather/echo").status == 200


def test_a_key_calls_what_its_scope_allows(weather):
    key = weather.new_key(tools="weather/getS*")["key"]
    assert call(weather, "/services/weather/stations/a", key=key).status == 200
    is_problem(call(weather, "/services/weather/stations/first", key=key), 403, "operation_not_allowed", "weather/getS*")
    assert list(call(weather, "/services/weather/openapi.json", key=key).json()["paths"]) == ["/stations/{id}"]
    assert [row["name"] for row in call(weather, "/services", key=key).json()["data"]] == ["weather"]
    other = weather.new_key(tools="github/*")["key"]
    assert call(weather, "/services", key=other).json()["data"] == []
    refused = call(weather, "/services/weather/echo", key=other)
    is_problem(refused, 403, "operation_not_allowed", "weather/*")
    assert "getS" not in refused.body.decode(), "an operation that it may not know of is not named"
    is_problem(call(weather, "/services/weather/echo", key=weather.new_key(kind="test")["key"]), 403, "key_test_only")


def test_the_description_is_the_gateways(weather):
    told = call(weather, "/services/weather/openapi.json").json()
    assert told["servers"] == [{"url": f"{weather.url}/services/weather"}] and told["security"] == [{"keyward": []}]
    assert "internal.example" not in json.dumps(told) and "theirs" not in json.dumps(told)
    assert set(told["paths"]["/stations/{id}"]) == {"parameters", "get", "put"}
    shown = call(weather, "/services/weather").json()
    assert {"id": "putStation", "method": "PUT", "path": "/services/weather/stations/{id}", "summary": None, "deprecated": False} in shown["operations"]


@at_first(state="draft")
def test_a_service_lives_and_ends(weather):
    assert eventually(lambda: call(weather, "/services/weather/echo").status == 404)
    assert call(weather, "/services").json()["data"] == []
    assert weather.run("services", "publish", "weather").returncode == 0
    assert eventually(lambda: call(weather, "/services/weather/echo").status == 200)
    for successor, why in [("weather2", "there is no such service"), ("weather", "it is the same"), ("x\nstate = 7", "no name of a successor")]:
        assert why in weather.run("services", "deprecate", "weather", "--successor", successor).stderr
    write(weather, name="weather2")
    assert "deprecation" not in call(weather, "/services/weather/echo").headers
    done = weather.run("services", "deprecate", "weather", "--sunset", "2099-01-01", "--successor", "weather2")
    assert done.returncode == 0 and "state = deprecated" in done.stdout
    assert eventually(lambda: "deprecation" in call(weather, "/services/weather/echo").headers)
    reply = call(weather, "/services/weather/echo")
    assert reply.headers["sunset"] == "Thu, 01 Jan 2099 00:00:00 GMT" and reply.headers["link"] == '</services/weather2>; rel="successor-version"'
    admin = weather.new_key(kind="admin")["key"]
    assert weather.request("POST", "/admin/v1/services/weather/retire", b"", admin).json()["state"] == "retired"
    gone = call(weather, "/services/weather/echo")
    assert is_problem(gone, 410, "service_retired", "/services/weather2") and "sunset" in gone.headers
    assert "service.retire" in weather.run("audit").stdout
    assert "'weather@1' is retired, and stays so" in weather.run("services", "publish", "weather@1").stderr
    rows = weather.cli("services", "list")
    assert (rows[0]["name"], rows[0]["version"], rows[0]["state"]) == ("weather", 1, "retired") and "getStation" in rows[0]["operations"]


def test_a_bad_file_is_told_and_the_last_good_one_serves(weather):
    (weather.services / "weather.yaml").write_text(OPENAPI.replace("/echo:", "/echo: ["))
    ready = lambda: weather.request("GET", "/readyz").json()["services_refused"]  # noqa: E731
    assert eventually(ready) and ready()[0]["file"].endswith("weather.yaml") and ready()[0]["line"] > 1
    assert call(weather, "/services/weather/echo").status == 200
    done = weather.run("services", "check")
    assert done.returncode == 1 and "weather.yaml:" in done.stdout
    (weather.services / "weather.yaml").write_text(OPENAPI + "\n# The same.\n")
    assert eventually(lambda: not ready()) and call(weather, "/services/weather/echo").status == 200
    done = weather.run("services", "check")
    assert done.returncode == 0 and "weather@1/echo is served, and is no MCP tool: its body is application/octet-stream" in done.stdout
    write(weather, name="other")
    assert eventually(ready) and "'other' cannot be the name of a service" in ready()[0]["message"]


@at_first(more=APPROVAL)
def test_a_subscription_is_asked_for_and_decided(weather):
    assert eventually(lambda: call(weather, "/services/weather/echo").status == 403)
    is_problem(call(weather, "/services/weather/echo"), 403, "subscription_needed", "POST /services/weather/subscription")
    assert call(weather, "/services").json()["data"][0]["subscription"] == {"needed": True, "standing": "none"}
    for _ in range(2):
        asked = call(weather, "/services/weather/subscription", method="POST")
        assert asked.json()["standing"] == "pending"
    is_problem(call(weather, "/services/weather/echo"), 403, "subscription_pending")
    assert [(row["key"], row["standing"]) for row in weather.cli("services", "subscriptions", "weather")] == [(weather.made["id"], "pending")]
    assert weather.cli("services", "approve", "weather", weather.made["id"])["standing"] == "approved"
    assert eventually(lambda: call(weather, "/services/weather/echo").status == 200, seconds=1)
    assert weather.run("audit").stdout.count("subscription.ask") == 1
    # Its successor has it too, and another key has not.
    new = weather.cli("keys", "rotate", weather.made["id"])["key"]
    assert call(weather, "/services/weather/echo", key=new).status == 200
    other = weather.new_key(name="other")
    is_problem(call(weather, "/services/weather/echo", key=other["key"]), 403, "subscription_needed")
    admin = weather.new_key(kind="admin")["key"]
    paths = f"/admin/v1/services/weather/subscriptions/{other['id']}"
    assert weather.request("POST", f"{paths}/approve", b"", admin).json()["standing"] == "approved"
    assert call(weather, "/services/weather/echo", key=other["key"]).status == 200
    assert weather.request("POST", f"{paths}/deny", b"", admin).json()["standing"] == "denied"
    is_problem(call(weather, "/services/weather/echo", key=other["key"]), 403, "subscription_denied")
    listed = weather.request("GET", "/admin/v1/services/weather/subscriptions", None, admin).json()["data"]
    assert {row["standing"] for row in listed} == {"approved", "denied"}
    assert weather.request("POST", "/admin/v1/services/weather/subscriptions/nobody/approve", b"", admin).status == 404
    assert weather.request("GET", "/admin/v1/services/nothing/subscriptions", None, admin).json()["code"] == "service_not_found"
    assert weather.run("services", "approve", "nothing", other["id"]).returncode == 1


def test_operations_are_tools(weather):
    async def use(opened):
        return {tool.name: tool for tool in (await opened.list_tools()).tools}

    _, tools = session(weather, weather.secret, use)
    ours = {name for name in tools if name.startswith("weather__")}
    assert ours == {f"weather__{name}" for name in ["getStation", "putStation", "firstStation", "headStation", "echoHead", "status", "slow", "drops", "stream", "endless", "half", "halfOwner", "closes", "part", "otherStation", "beside", "get_moved", "styled", "repeat"]}
    tool = tools["weather__getStation"]
    assert set(tool.input_schema["properties"]) == {"id", "units", "tags", "X-Trace"} and tool.input_schema["required"] == ["id"]
    assert tool.description == "Tells one station" and tool.annotations.read_only_hint
    near = tools["weather__putStation"].input_schema["properties"]["body"]["properties"]["near"]
    assert near["items"] == {"$ref": "#/$defs/Station"} and "$defs" in tools["weather__putStation"].input_schema

    told = call_tool(weather, weather.secret, "weather__getStation", id="a b", tags=["x", "y"], **{"X-Trace": 3})
    assert told.structured_content["asked"] == {"path": "/v1/stations/a b", "query": "tags=x&tags=y", "body": None}
    assert weather.api.seen[-1][2]["x-trace"] == "3" and weather.secret not in str(weather.api.seen)
    told = call_tool(weather, weather.secret, "weather__putStation", id="b", body={"name": "B", "altitude": None})
    assert json.loads(told.structured_content["asked"]["body"]) == {"name": "B", "altitude": None}
    assert weather.usage("service", "weather@1/putStation", 1)["requests"] == 1
    assert SECRET not in str(call_tool(weather, weather.secret, "weather__echoHead"))


@pytest.mark.parametrize(
    ("name", "arguments", "says"),
    [
        ("weather__getStation", {}, "id"),
        ("weather__getStation", {"id": "a", "units": "K"}, "/units"),
        ("weather__getStation", {"id": "a", "colour": 1}, "colour"),
        ("weather__getStation", {"id": ".."}, "not passed on"),
        ("weather__getStation", {"id": "a/../b"}, "not passed on"),
        ("weather__putStation", {"id": "a", "body": {"near": [{"name": ""}], "name": "x"}}, "/body/near/0/name"),
        ("weather__status", {"code": 503}, "status 503"),
        ("weather__status", {"code": 401}, "Your own key is fine"),
        ("weather__echo", {"body": "x"}, "is no tool"),
    ],
)
def test_what_is_wrong_is_told_to_the_model(weather, name, arguments, says):
    result = call_tool(weather, weather.secret, name, **arguments)
    assert result.is_error and says in result.content[0].text, result


@at_first(more=APPROVAL)
def test_tools_are_those_that_the_key_may_call(weather):
    made = weather.new_key(tools="weather/getStation,keyward/usage")
    key = made["key"]
    assert tool_names(weather, key) == ["usage"]
    assert "POST /services/weather/subscription" in call_tool(weather, key, "weather__getStation", id="a").content[0].text
    weather.cli("services", "approve", "weather", made["id"])
    assert eventually(lambda: tool_names(weather, key) == ["usage", "weather__getStation"])
    refused = call_tool(weather, key, "weather__status", code=200)
    assert refused.is_error and "weather/getStation" in refused.content[0].text
    write(weather, state="retired", more=APPROVAL)
    assert eventually(lambda: "is retired" in call_tool(weather, key, "weather__getStation", id="a").content[0].text)
    assert not [name for name in tool_names(weather, weather.secret) if name.startswith("weather__")]


def test_the_credential_comes_back_in_no_form(weather):
    told = call(weather, "/services/weather/repeat/forms").body.decode()
    assert set(told) <= set('* "='), told
    away = call(weather, "/services/weather/repeat/away")
    assert away.status == 302 and "location" not in away.headers
    switched = call(weather, "/services/weather/repeat/switch")
    is_problem(switched, 502, "service_bad_answer")


def test_places_in_an_answer_are_the_gateways(weather):
    write(weather, state="deprecated", more='successor = "weather2"')
    assert eventually(lambda: "deprecation" in call(weather, "/services/weather").headers)
    links = call(weather, "/services/weather/repeat/links")
    raw = httpx.get(f"{weather.url}/services/weather/repeat/links", headers={"authorization": f"Bearer {weather.secret}"}).headers
    assert links.headers["content-location"] == "/services/weather/repeat/first#part"
    assert raw.get_list("link") == [
        '</services/weather/stations/2?page=2>; rel="next"; title="a <b> c", <https://other.example/x>; rel=about',
        '</services/weather2>; rel="successor-version"',
    ]


def test_no_header_makes_another_call_of_it(weather):
    names = ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override", "X-Original-URL", "X-Rewrite-URL", "True-Client-IP", "CF-Connecting-IP", "Forwarded", "X_HTTP_Method_Override"]
    headers = {"authorization": f"Bearer {weather.secret}", "cookie": "session=s1; other=o1"} | {name: "DELETE" for name in names}
    assert httpx.get(f"{weather.url}/services/weather/stations/a", headers=headers).status_code == 200
    sent = weather.api.seen[-1][2]
    assert not {name.lower() for name in names} & set(sent) and "cookie" not in sent
    assert httpx.get(f"{weather.url}/services/weather/styled/;shape=a", headers=headers).status_code == 200
    assert weather.api.seen[-1][2]["cookie"] == "session=s1"
    assert call(weather, "/services/weather/stream", method="HEAD").status == 200 and weather.api.seen[-1][0] == "HEAD"


def test_tools_write_arguments_in_their_style(weather):
    told = call_tool(weather, weather.secret, "weather__styled", shape=["a", "b c"], flat=["x", "y,z"], session="s 1")
    assert not told.is_error, told
    _, path, sent, _ = weather.api.seen[-1]
    assert path == "/v1/styled/;shape=a,b%20c?flat=x,y%2Cz" and sent["cookie"] == "session=s%201"


def test_who_is_asked_for_a_key_that_nobody_sent_is_told_so(weather):
    text = (weather.services / "weather.toml").read_text()
    (weather.services / "weather.toml").write_text(text.split("[credential]")[0])
    refused = lambda: call(weather, "/services/weather/status/401")  # noqa: E731
    assert eventually(lambda: refused().status == 401) and "error" in refused().json()


def test_the_callers_query_does_not_double_the_credential(weather):
    weather.api.server.wants_key = False
    text = (weather.services / "weather.toml").read_text().replace('in = "header"\nname = "X-Weather-Key"', 'in = "query"\nname = "key"')
    (weather.services / "weather.toml").write_text(text)
    asked = lambda: call(weather, "/services/weather/stations/a?key=mine&b=1&KEY=x") and weather.api.seen[-1][1]  # noqa: E731
    assert eventually(lambda: "x-weather-key" not in (asked() and weather.api.seen[-1][2]))
    assert asked() == "/v1/stations/a?b=1&key=sk-weather%2Fcredential%2B0123456789%3D"


def test_lists_of_models_and_tools_hold_for_services_as_for_tools(weather):
    status = lambda **key: call(weather, "/services/weather/stations/a", key=weather.new_key(**key)["key"]).status  # noqa: E731
    assert status(models="test/*") == 403
    assert status(models="test/*,service/weather/get*") == 200
    assert status(models="test/*", tools="weather/*") == 200
    assert status(tools="prompt/*") == 403
    only = weather.new_key(tools="weather/firstStation")["key"]
    told = call(weather, "/services/weather/openapi.json", key=only).json()
    assert "schemas" not in told["components"] and list(told["paths"]) == ["/stations/first"]
    whole = call(weather, "/services/weather/openapi.json").json()
    assert list(whole["components"]["schemas"]) == ["Station"]


@at_first(state="draft", more='title = """\nstate = "old"\n[limits]\n"""')
def test_a_step_changes_one_field_of_a_file(weather):
    before = (weather.services / "weather.toml").read_text()
    assert weather.run("services", "publish", "weather").returncode == 0
    assert (weather.services / "weather.toml").read_text() == before.replace('state = "draft"', 'state = "published"')


def test_no_part_of_an_answer_has_a_part_of_the_credential(weather):
    call(weather, "/services/weather/stations/a", range="bytes=0-3", if_range="x", request_range="bytes=0-3")
    sent = weather.api.seen[-1][2]
    assert not {"range", "if-range", "request-range"} & set(sent)
    is_problem(call(weather, "/services/weather/part"), 502, "service_bad_answer")


def test_headers_that_mean_the_gateway_stay_with_it(weather):
    path = f"{weather.url}/services/weather/echo"
    key = {"authorization": f"Bearer {weather.secret}"}
    httpx.get(path, headers=key | {"X_Weather_Key": "mine", "X-Weather_Key": "mine", "Proxy": "http://evil.example", "X-Fine": "1"})
    sent = weather.api.seen[-1][2]
    assert [name for name in sent if "weather" in name] == ["x-weather-key"] and "proxy" not in sent and sent["x-fine"] == "1"
    told = call(weather, "/services/weather/echo").headers
    assert told["keyward-operation"] == "weather@1/echoHead"
    assert not {"x-ratelimit-remaining", "strict-transport-security", "alt-svc", "accept-ranges"} & set(told)


@at_first(more='price = "0.002"')
def test_a_service_that_closes_after_its_head_is_told(weather):
    assert eventually(lambda: call(weather, "/services/weather").json()["price_nano_usd"] == 2_000_000)
    is_problem(call(weather, "/services/weather/closes"), 502, "service_broke_off")
    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
        httpx.get(f"{weather.url}/services/weather/drops", headers={"authorization": f"Bearer {weather.secret}"})
    for name in ("closes", "drops"):
        assert weather.usage("service", f"weather@1/{name}", 1)["cost_nano_usd"] == 0


@at_first(more='price = "0.002"')
def test_a_call_that_is_not_waited_for_may_have_succeeded(weather):
    assert eventually(lambda: call(weather, "/services/weather").json()["price_nano_usd"] == 2_000_000)
    with socket.create_connection(("127.0.0.1", weather.port)) as caller:
        caller.sendall(f"GET /services/weather/slow HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {weather.secret}\r\n\r\n".encode())
        assert eventually(lambda: any("/slow" in seen[1] for seen in weather.api.seen))
    assert weather.usage("service", "weather@1/slow", 1)["cost_nano_usd"] == 2_000_000


# What ends a call, and the code by which the log says so.
ENDS = {
    "key_revoked": lambda weather, key: weather.admin("POST", f"/keys/{key['id']}/revoke", {}),
    "key_disabled": lambda weather, key: weather.admin("POST", f"/keys/{key['id']}/disable", {}),
    "operation_not_allowed": lambda weather, key: weather.admin("PATCH", f"/keys/{key['id']}", {"tools": ["weather/get*"]}),
    "subscription_denied": lambda weather, key: weather.cli("services", "deny", "weather", key["id"]),
}


@at_first(more=f'price = "0.002"\n{APPROVAL}')
@pytest.mark.parametrize("how", ["busy", "silent"])
@pytest.mark.parametrize("code", ENDS)
def test_an_answer_without_an_end_ends_with_its_key(weather, how, code):
    key = weather.new_key()
    weather.cli("services", "approve", "weather", key["id"])
    assert eventually(lambda: call(weather, "/services/weather/echo", key=key["key"]).status == 200)
    headers = {"authorization": f"Bearer {key['key']}"}
    with httpx.stream("GET", f"{weather.url}/services/weather/endless/{how}", headers=headers, timeout=10) as reply:
        pieces = reply.iter_raw()
        assert next(pieces).startswith(b"data: tick")
        ENDS[code](weather, key)
        began = time.monotonic()
        with pytest.raises(httpx.RemoteProtocolError):
            any(time.monotonic() > began + 5 for _ in pieces)
        assert time.monotonic() < began + 2
    assert eventually(lambda: weather.api.left == [how]), "the API is left too"
    assert weather.usage("service", "weather@1/endless", 1)["cost_nano_usd"] == 2_000_000
    lines = [json.loads(line) for line in weather.log().splitlines() if '"refused":"' in line and "endless" in line]
    assert [(line["status"], line["outcome"], line["refused"]) for line in lines] == [(200, "abandoned", code)], lines


def test_a_call_that_is_not_answered_ends_with_its_key(weather):
    key = weather.new_key()
    with concurrent.futures.ThreadPoolExecutor() as pool:
        running = pool.submit(call, weather, "/services/weather/endless/mute", key=key["key"])
        assert eventually(lambda: weather.api.seen)
        ENDS["key_revoked"](weather, key)
        is_problem(running.result(), 401, "key_revoked")
    assert eventually(lambda: weather.api.left == ["mute"])


def test_other_protocols_are_refused(weather):
    headers = {"connection": "upgrade", "upgrade": "websocket", "sec_websocket_version": "13", "sec_websocket_key": "x"}
    is_problem(call(weather, "/services/weather/echo", **headers), 501, "upgrade_not_served", "WebSocket")
    assert not weather.api.seen


def test_a_slash_in_a_value_goes_on_where_it_makes_no_other_operation(weather):
    assert call(weather, "/services/weather/stations/a%2Fb").status == 200
    assert weather.api.seen[-1][1] == "/v1/stations/a%2Fb"
    assert call(weather, "/services/weather/half/a%2fb").status == 200
    count = len(weather.api.seen)
    is_problem(call(weather, "/services/weather/half/a%2Fowner"), 400, "path_not_plain", "another operation")
    assert len(weather.api.seen) == count


def test_paths_that_differ_by_case_are_told_apart(weather):
    assert call(weather, "/services/weather/Stations/a").headers["keyward-operation"] == "weather@1/otherStation"
    assert call(weather, "/services/weather/stations/a").headers["keyward-operation"] == "weather@1/getStation"


def test_an_operation_on_another_server_is_not_served(weather):
    assert call(weather, "/services/weather/beside").status == 200 and weather.api.seen[-1][1] == "/v2/beside"
    is_problem(call(weather, "/services/weather/away"), 404, "operation_not_found")
    checked = weather.run("services", "check")
    assert checked.returncode == 0 and "weather@1/away is not served: its 'servers' are another host" in checked.stdout


@at_first(state="draft")
def test_a_version_without_quotes_and_a_missing_state(weather):
    (weather.services / "weather.yaml").write_text(OPENAPI.replace("openapi: 3.0.3", "openapi: 3.0"))
    checked = weather.run("services", "check")
    assert checked.returncode == 0 and "weather@1 is a draft" in checked.stdout, checked.stdout
    write(weather)
    assert eventually(lambda: call(weather, "/services/weather/openapi.json").json().get("openapi") == "3.0.0")
    is_problem(call(weather, "/services/%ff"), 404, "service_not_found", "'state'")
    assert call(weather, "/services/%ff", key="nonsense").status == 401


@at_first(more=APPROVAL)
def test_subscriptions_outlive_their_file(weather):
    assert eventually(lambda: call(weather, "/services/weather/echo").status == 403)
    weather.cli("services", "approve", "weather", weather.made["id"])
    (weather.services / "weather.toml").unlink()
    assert eventually(lambda: call(weather, "/services/weather").status == 404)
    assert [row["standing"] for row in weather.cli("services", "subscriptions", "weather")] == ["approved"]
    assert weather.cli("services", "deny", "weather", weather.made["id"])["standing"] == "denied"
    assert weather.run("services", "approve", "weather", weather.made["id"]).returncode == 1


def test_a_service_is_served_as_it_was_over_restarts(weather):
    (weather.services / "weather.yaml").write_text("openapi: [")
    assert eventually(lambda: weather.request("GET", "/readyz").json()["services_refused"])
    weather.stop()
    weather.start()
    assert call(weather, "/services/weather/echo").status == 200
    assert weather.request("GET", "/readyz").json()["services_refused"]
    assert SECRET not in (weather.services / ".served.json").read_text()
    assert weather.run("services", "check").returncode == 1


def test_an_answer_that_cannot_be_searched_for_the_credential_is_not_passed_on(weather):
    for how, told in (("packed", "compressed"), ("wide", "in another encoding")):
        is_problem(call(weather, f"/services/weather/repeat/{how}"), 502, "service_bad_answer", told)
    assert weather.usage("service", "weather@1/repeat", 2)["failed"] == 2


@at_first(more=APPROVAL)
def test_a_subscription_ends_with_its_service(weather):
    assert eventually(lambda: call(weather, "/services/weather/echo").status == 403)
    standings = lambda: [row["standing"] for row in weather.cli("services", "subscriptions", "weather")]  # noqa: E731
    weather.cli("services", "approve", "weather", weather.made["id"])
    assert eventually(lambda: call(weather, "/services/weather/echo").status == 200)
    # A file that is away for a moment is no end.
    (weather.services / "weather.toml").unlink()
    assert eventually(lambda: call(weather, "/services/weather").status == 404)
    write(weather, more=APPROVAL)
    assert eventually(lambda: call(weather, "/services/weather/echo").status == 200)
    assert weather.run("services", "retire", "weather").returncode == 0
    assert standings() == ["ended"]
    assert eventually(lambda: call(weather, "/services/weather/echo").status == 410)
    # Another one of its name is its next version, and has to be asked for anew.
    write(weather, name="weather@2", more=APPROVAL)
    assert eventually(lambda: call(weather, "/services/weather").status == 200)
    is_problem(call(weather, "/services/weather/echo"), 403, "subscription_needed")
    assert call(weather, "/services/weather/subscription").json()["standing"] == "ended"
    asked = call(weather, "/services/weather/subscription", method="POST")
    assert (asked.status, asked.json()["standing"], standings()) == (202, "pending", ["pending"])
    weather.cli("services", "approve", "weather", weather.made["id"])
    assert eventually(lambda: call(weather, "/services/weather/echo").status == 200)
    for file in ("weather.toml", "weather@2.toml"):
        (weather.services / file).unlink()
    assert eventually(lambda: standings() == ["ended"], seconds=20)
    assert weather.run("audit").stdout.count("subscription.end") == 2


@at_first(more=APPROVAL)
def test_a_step_of_a_folder_that_is_away_ends_no_subscription(weather):
    assert eventually(lambda: call(weather, "/services/weather/echo").status == 403)
    weather.cli("services", "approve", "weather", weather.made["id"])
    assert eventually(lambda: call(weather, "/services/weather/echo").status == 200)
    away = weather.folder / "away"
    weather.services.rename(away)
    for step in ("publish", "retire"):
        done = weather.run("services", step, "weather")
        assert done.returncode != 0 and "there is no service 'weather'" in done.stderr
    assert not weather.services.exists()
    away.rename(weather.services)
    assert [row["standing"] for row in weather.cli("services", "subscriptions", "weather")] == ["approved"]
    assert eventually(lambda: call(weather, "/services/weather/echo").status == 200)


def test_who_holds_the_folder_is_told(weather):
    lock = os.open(weather.services / ".lock", os.O_WRONLY | os.O_CREAT)
    fcntl.flock(lock, fcntl.LOCK_EX)
    admin = weather.new_key(kind="admin", role="admin", name="admin")["key"]
    is_problem(weather.request("POST", "/admin/v1/services/weather/retire", b"", admin), 503, "folder_locked", ".lock")
    os.close(lock)
    assert weather.request("POST", "/admin/v1/services/weather/retire", b"", admin).status == 200


def test_a_service_has_its_time_from_the_end_of_a_body_on_whether_its_length_was_told_or_not(weather):
    described = OPENAPI.replace("  /slow:\n", "  /slow:\n    post: { operationId: slowPost, responses: { 200: { description: Late } } }\n")
    (weather.services / "late.yaml").write_text(described)
    late = FILE.format(url=weather.api.url, state="published", more='timeout = "300ms"', tables="[limits]\nparallel = 1\n")
    (weather.services / "late.toml").write_text(late.replace("weather.yaml", "late.yaml"))
    assert eventually(lambda: call(weather, "/services/late").status == 200)
    for body in (b'{"name": "x"}', b""):
        is_problem(call(weather, "/services/late/slow", method="POST", body=body), 504, "service_timeout", "0.3 s")
    chunked = httpx.post(f"{weather.url}/services/late/slow", content=iter([b"x"] * 3), headers={"authorization": f"Bearer {weather.secret}"})
    assert chunked.status_code == 504
    assert call(weather, "/services/late/stations/first").status == 200, "none of them holds a place any more"


def test_a_head_of_no_known_length_has_none(weather):
    head = call(weather, "/services/weather/stream", method="HEAD")
    assert head.status == 200 and "content-length" not in head.headers and head.headers["content-type"] == "text/event-stream"


def test_what_a_services_variables_are_gone_for_is_the_gateways_trouble(weather):
    write(weather, name="old", state="retired", more='successor = "weather"')
    assert eventually(lambda: call(weather, "/services/old/echo").status == 410)
    weather.stop()
    weather.env.pop("WEATHER_KEY")
    weather.start()
    is_problem(call(weather, "/services/weather/echo"), 503, "service_not_ready", "Your key is fine")
    is_problem(call(weather, "/services/old/echo"), 410, "service_retired", "call /services/weather instead")
    faults = weather.request("GET", "/readyz").json()["services_refused"]
    assert [fault["file"].rsplit("/", 1)[1] for fault in faults] == ["weather.toml"], faults
    line = (weather.services / "weather.toml").read_text().splitlines()[faults[0]["line"] - 1]
    assert line.startswith("value = ") and "the variable WEATHER_KEY is not set" in faults[0]["message"]


def test_a_limit_of_a_service_is_no_mistake(weather):
    made = weather.run("keys", "create", "--name", "x", "--limit", "requests/minute=10@service/weather/*", "--models", "service/weather/*")
    assert made.returncode == 0 and "no model that is known" not in made.stdout + made.stderr
