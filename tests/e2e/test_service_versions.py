"""Versions of REST services: pinned, weighed, drafts, immutable, written and removed over HTTP, and as MCP tools."""

import datetime
import json

import pytest

from gateway import eventually
from mcp_fixture import session, tool_names
from rest_upstream import FILE, OPENAPI, SECRET, Api


@pytest.fixture
def api():
    running = Api()
    yield running
    running.close()


@pytest.fixture
def weather(start_gateway, api):
    gateway = start_gateway(env={"WEATHER_KEY": SECRET, "SERVICE_KEY": SECRET, "OTHER_SECRET": "sk-other-0123456789"})
    gateway.api, gateway.services = api, gateway.folder / "services"
    gateway.services.mkdir()
    (gateway.services / "weather.yaml").write_text(OPENAPI)
    (gateway.services / "next.yaml").write_text(OPENAPI.replace("/echo:", "/parrot:").replace("operationId: echoHead", "operationId: parrot"))
    write(gateway)
    gateway.made = gateway.new_key(name="services")
    gateway.secret = gateway.made["key"]
    gateway.manager = gateway.new_key(kind="admin", role="admin", name="admin")["key"]
    assert eventually(lambda: call(gateway, "/services/weather").status == 200)
    yield gateway
    assert SECRET not in gateway.log()


def text(gateway, *, openapi="weather.yaml", state="published", more="", tables="", url=None):
    return FILE.format(url=url or gateway.api.url, state=state, more=more, tables=tables).replace("weather.yaml", openapi)


def write(gateway, version=1, **fields):
    name = "weather.toml" if version == 1 else f"weather@{version}.toml"
    (gateway.services / name).write_text(text(gateway, **fields))


def call(gateway, path, *, method="GET", body=None, key=None, **headers):
    reply = gateway.request(method, path, body, key or gateway.secret, **headers)
    assert SECRET.encode() not in reply.body and SECRET not in str(reply.headers)
    return reply


def manage(gateway, method, path, body=None, **headers):
    sent = None if body is None else json.dumps(body).encode()
    if method == "POST" and sent is None:
        sent = b""
    return gateway.request(method, f"/admin/v1/services{path}", sent, gateway.manager, **headers)


def answered(gateway, path="/services/weather/stations/a", **more):
    return call(gateway, path, **more).headers.get("keyward-operation")


def is_problem(reply, status, code, told=""):
    assert reply.status == status, reply.body
    assert reply.json()["code"] == code and told in reply.json()["detail"], reply.json()
    return True


def refused(gateway):
    return gateway.request("GET", "/readyz").json()["services_refused"]


def test_a_call_gets_the_newest_version_or_the_one_that_it_names(weather):
    write(weather, 2, openapi="next.yaml", more='price = "0.002"')
    assert eventually(lambda: answered(weather) == "weather@2/getStation")
    assert answered(weather, "/services/weather@1/stations/a") == "weather@1/getStation"
    assert call(weather, "/services/weather/parrot").status == 200 and call(weather, "/services/weather@1/echo").status == 200
    assert answered(weather, "/services/weather%401/stations/a") == "weather@1/getStation"
    is_problem(call(weather, "/services/weather@1/parrot"), 404, "operation_not_found", "GET /services/weather@1/openapi.json")
    is_problem(call(weather, "/services/weather@7/echo"), 404, "service_not_found", "There is no service 'weather@7': its versions are weather@1, weather@2.")
    is_problem(call(weather, "/services/weather@01/echo"), 404, "service_not_found", "its versions are")
    # Places in an answer are those that the caller goes on with.
    assert call(weather, "/services/weather@1/moved").headers["location"] == "/services/weather@1/stations/first?units=C"
    assert call(weather, "/services/weather/moved").headers["location"] == "/services/weather/stations/first?units=C"
    assert "/parrot" in call(weather, "/services/weather/openapi.json").json()["paths"]
    old = call(weather, "/services/weather@1/openapi.json").json()
    assert old["servers"] == [{"url": f"{weather.url}/services/weather@1"}] and "/echo" in old["paths"]
    shown = call(weather, "/services/weather").json()
    assert (shown["version"], shown["versions"], shown["price_nano_usd"]) == (2, [1, 2], 2_000_000)
    assert [(row["name"], row["version"]) for row in call(weather, "/services").json()["data"]] == [("weather", 2)]
    # Each version's calls are its own in the ledger.
    assert weather.usage("service", "weather@1/getStation", 1)["cost_nano_usd"] == 0
    assert weather.usage("service", "weather@2/getStation", 1)["cost_nano_usd"] == 2_000_000


def test_versions_share_calls_by_weight(weather):
    write(weather, more="weight = 1")
    write(weather, 2, more="weight = 1")
    seen = lambda: {answered(weather) for _ in range(20)}  # noqa: E731
    assert eventually(lambda: seen() == {"weather@1/getStation", "weather@2/getStation"})
    write(weather, more="weight = 0")
    assert eventually(lambda: seen() == {"weather@2/getStation"})
    write(weather, 2, more="weight = 0")
    assert "all published versions of 'weather' have the weight 0" in weather.run("services", "check").stdout
    # What it was goes on, and that is not the newest.
    write(weather, 2, more="weight = 1")
    assert eventually(lambda: not refused(weather))
    write(weather, more="weight = 2")
    assert eventually(lambda: "weather@1/getStation" in seen())
    write(weather, 2, more="weight = 0")
    assert eventually(lambda: seen() == {"weather@1/getStation"})
    write(weather, more="weight = 0")
    assert eventually(lambda: refused(weather)) and seen() == {"weather@1/getStation"}
    weather.stop()
    weather.start()
    assert refused(weather) and seen() == {"weather@1/getStation"}


def test_each_version_ends_by_itself(weather):
    write(weather, 2)
    assert eventually(lambda: answered(weather) == "weather@2/getStation")
    assert weather.run("services", "deprecate", "weather@1", "--sunset", "2099-01-01", "--successor", "weather@2").returncode == 0
    assert eventually(lambda: "deprecation" in call(weather, "/services/weather@1/stations/a").headers)
    told = call(weather, "/services/weather@1/stations/a").headers
    assert (told["sunset"], told["link"]) == ("Thu, 01 Jan 2099 00:00:00 GMT", '</services/weather@2>; rel="successor-version"')
    assert "deprecation" not in call(weather, "/services/weather/stations/a").headers
    assert manage(weather, "POST", "/weather@1/retire").json()["id"] == "weather@1"
    gone = call(weather, "/services/weather@1/stations/a")
    assert is_problem(gone, 410, "service_retired", "call /services/weather@2 instead") and "sunset" in gone.headers
    assert call(weather, "/services/weather/stations/a").status == 200
    # As a name, it is the newest that callers get.
    assert "weather@2 has state = retired" in weather.run("services", "retire", "weather").stdout
    assert eventually(lambda: call(weather, "/services/weather/stations/a").status == 410)


def test_a_draft_is_called_with_a_key_that_names_it(weather):
    write(weather, 2, state="draft", openapi="next.yaml")
    bold = weather.new_key(tools="weather@2/parrot,weather@2/getStation,keyward/usage")["key"]
    assert eventually(lambda: call(weather, "/services/weather@2/parrot", key=bold).status == 200)
    is_problem(call(weather, "/services/weather@2/parrot"), 404, "service_not_found", "keyward services publish weather@2")
    is_problem(call(weather, "/services/weather@2/status/200", key=bold), 403, "operation_not_allowed")
    is_problem(call(weather, "/services/weather/stations/a", key=bold), 403, "operation_not_allowed")
    other = weather.new_key(tools="github/*")["key"]
    hidden = call(weather, "/services/weather@2/parrot", key=other)
    assert is_problem(hidden, 404, "service_not_found") and "draft:" not in hidden.json()["detail"]
    assert [row["name"] for row in call(weather, "/services", key=bold).json()["data"]] == ["weather@2"]
    assert set(call(weather, "/services/weather@2/openapi.json", key=bold).json()["paths"]) == {"/parrot", "/stations/{id}"}
    # A model's name to lists of models, and nothing of other versions.
    by_models = weather.new_key(models="service/weather@2/*")["key"]
    assert call(weather, "/services/weather@2/parrot", key=by_models).status == 200
    is_problem(call(weather, "/services/weather@1/stations/a", key=by_models), 403, "operation_not_allowed")
    # What is published is every key's that may call the service.
    published = weather.new_key(tools="weather/get*")["key"]
    assert weather.run("services", "publish", "weather").returncode == 0
    assert eventually(lambda: answered(weather, key=published) == "weather@2/getStation")
    assert answered(weather, "/services/weather@1/stations/a", key=published) == "weather@1/getStation"


def test_a_limit_of_a_service_holds_for_all_its_versions_and_over_restarts(weather):
    write(weather, 2)
    key = weather.new_key(limit="requests/hour=2@service/weather/*")["key"]
    assert eventually(lambda: call(weather, "/services/weather@2").status == 200)
    assert answered(weather, "/services/weather@1/stations/a", key=key) == "weather@1/getStation"
    assert answered(weather, "/services/weather@2/stations/a", key=key) == "weather@2/getStation"
    is_problem(call(weather, "/services/weather/stations/a", key=key), 429, "rate_limit_exceeded")
    weather.stop()
    weather.start()
    is_problem(call(weather, "/services/weather@1/stations/a", key=key), 429, "rate_limit_exceeded")


def test_each_versions_limits_are_its_own_over_restarts(weather):
    write(weather, tables='[limits]\nrates = ["requests/hour=2"]\n')
    write(weather, 2)
    assert eventually(lambda: call(weather, "/services/weather@2").status == 200)
    limited = lambda: call(weather, "/services/weather@1/echo")  # noqa: E731
    assert eventually(lambda: limited().status == 429)
    weather.stop()
    weather.start()
    is_problem(limited(), 429, "rate_limit_exceeded", "All callers of the service 'weather@1' together")
    assert call(weather, "/services/weather/echo").status == 200


def test_what_is_published_stays_as_it_was_over_restarts(weather):
    ready = lambda: weather.request("GET", "/readyz").json()["services_refused"]  # noqa: E731
    price = lambda: call(weather, "/services/weather").json()["price_nano_usd"]  # noqa: E731
    write(weather, more='price = "9"')
    assert eventually(ready)
    fault = ready()[0]
    assert fault["file"].endswith("weather.toml") and "price" in (weather.services / "weather.toml").read_text().splitlines()[fault["line"] - 1]
    assert "'weather@1' is published, and its price must not change" in fault["message"] and "weather@2.toml" in fault["message"]
    assert price() == 0
    weather.stop()
    weather.start()
    assert ready() and price() == 0
    assert "must not change" in weather.run("services", "check").stdout
    assert "must not change" in weather.run("services", "deprecate", "weather").stderr
    write(weather)
    (weather.services / "weather.yaml").write_text(OPENAPI.replace("/echo:", "/parrot:"))
    assert eventually(lambda: ready() and ready()[0]["file"].endswith("weather.yaml"))
    line = OPENAPI.splitlines()[ready()[0]["line"] - 1]
    assert "/echo" in line and call(weather, "/services/weather/echo").status == 200
    # Where it is, and what all may do together, is the operator's.
    (weather.services / "weather.yaml").write_text(OPENAPI)
    write(weather, more='timeout = "300ms"')
    assert eventually(lambda: not ready() and call(weather, "/services/weather/slow").status == 504)


def test_a_draft_is_written_published_and_removed_over_http(weather):
    source = text(weather, openapi="weather@2.yaml", state="draft")
    described = OPENAPI.replace("/echo:", "/parrot:")
    assert manage(weather, "PUT", "/weather@2", {"source": source}).json()["code"] == "service_invalid"
    assert not (weather.services / "weather@2.toml").exists()
    made = manage(weather, "PUT", "/weather@2", {"source": source, "openapi": described})
    assert (made.status, made.json()["id"], made.json()["state"], made.json()["source"]) == (200, "weather@2", "draft", source), made.body
    assert made.json()["openapi"] == described and "parrot" not in str(call(weather, "/services/weather").json())
    told = manage(weather, "GET", "/weather@2")
    assert told.json() == made.json() and told.headers["etag"] == made.headers["etag"]
    assert "${WEATHER_KEY}" in told.json()["source"]
    compared = manage(weather, "GET", "/weather@2/diff").json()
    assert compared["from"] == "weather@1" and "+  /parrot:" in compared["diff"] and '+openapi = "weather@2.yaml"' in compared["diff"]
    assert "+  /parrot:" in weather.run("services", "diff", "weather").stdout
    # Nobody's change is lost, and nobody's secret goes elsewhere.
    changed = described + "\n# More.\n"
    stale = manage(weather, "PUT", "/weather@2", {"source": source, "openapi": changed}, if_match='"other"')
    assert is_problem(stale, 412, "changed_meanwhile")
    assert manage(weather, "PUT", "/weather@2", {"source": source, "openapi": changed}, if_match=told.headers["etag"]).status == 200
    away = text(weather, openapi="weather@2.yaml", state="draft", url="http://127.0.0.1:9")
    is_problem(manage(weather, "PUT", "/weather@2", {"source": away}), 422, "service_invalid", "the variable WEATHER_KEY is not for this")
    literal = manage(weather, "PUT", "/weather@3", {"source": source.replace("${WEATHER_KEY}", "sk-hunter2")})
    assert is_problem(literal, 422, "service_invalid", "a secret does not belong into this file") and b"hunter2" not in literal.body
    shown = manage(weather, "PUT", "/weather@3", {"source": source.replace("${WEATHER_KEY}", "sk-hunter2 ${WEATHER_KEY}")})
    assert shown.status == 200 and "hunter2" not in str(shown.json()) and '"…${WEATHER_KEY}"' in shown.json()["source"]
    is_problem(manage(weather, "PUT", "/weather@3", {"source": shown.json()["source"]}), 422, "service_invalid", "stands for what is not shown")
    assert "hunter2" not in weather.run("audit").stdout + weather.run("services", "diff", "weather@3").stdout
    for named, status in [("OTHER_SECRET", 422), ("SERVICE_NONE", 422), ("SERVICE_KEY", 200)]:
        assert manage(weather, "PUT", "/weather@3", {"source": source.replace("WEATHER_KEY", named)}).status == status, named
    assert manage(weather, "DELETE", "/weather@3").status == 204
    assert (weather.services / "weather@2.yaml").exists() and not (weather.services / "weather@3.toml").exists()
    assert manage(weather, "POST", "/weather/publish").json()["id"] == "weather@2"
    assert call(weather, "/services/weather/parrot").status == 200, "at once"
    is_problem(manage(weather, "DELETE", "/weather@2"), 422, "service_invalid", "is no draft")
    changed = manage(weather, "PUT", "/weather@2", {"source": source.replace("draft", "published"), "openapi": OPENAPI})
    is_problem(changed, 422, "service_invalid", "what it describes must not change")
    assert manage(weather, "PUT", "/weather@4", {"source": source}).status == 200
    assert manage(weather, "DELETE", "/weather@4").status == 204 and (weather.services / "weather@2.yaml").exists()
    is_problem(manage(weather, "GET", "/weather@4"), 404, "service_not_found", "there are weather@1, weather@2")
    assert manage(weather, "PUT", "/forecast", {"source": source.replace("weather@2", "forecast"), "openapi": OPENAPI}).json()["id"] == "forecast@1"
    noted = weather.run("audit").stdout
    assert noted.count("service.write") == 6 and noted.count("service.remove") == 2 and "service.publish" in noted
    reader = weather.new_key(kind="admin", role="viewer", name="reader")["key"]
    assert weather.request("PUT", "/admin/v1/services/forecast", b"{}", reader).status == 403


def test_tools_are_those_of_the_version_that_is_shown(weather):
    async def publish_meanwhile(opened):
        before = {tool.name for tool in (await opened.list_tools()).tools}
        assert weather.run("services", "publish", "weather@2").returncode == 0
        assert eventually(lambda: call(weather, "/services/weather/parrot").status == 200)
        return before, {tool.name for tool in (await opened.list_tools()).tools}

    write(weather, 2, state="draft", openapi="next.yaml")
    assert eventually(lambda: len(weather.cli("services", "list")) == 2)
    _, (before, after) = session(weather, weather.secret, publish_meanwhile)
    assert "weather__echoHead" in before and "weather__parrot" not in before
    assert "weather__parrot" in after and "weather__echoHead" not in after
    # Of versions that share calls and are described otherwise, the one that is shown is called.
    write(weather, more="weight = 100000")
    write(weather, 2, openapi="next.yaml", more="weight = 1")
    assert eventually(lambda: answered(weather) == "weather@1/getStation")

    async def parrot(opened):
        return await opened.call_tool("weather__parrot", {})

    assert not session(weather, weather.secret, parrot)[1].is_error
    assert weather.usage("service", "weather@2/parrot", 1)["failed"] == 0
    assert "weather__parrot" in tool_names(weather, weather.secret)
    assert "share calls and are described otherwise" in weather.run("services", "check").stdout


def test_a_subscription_is_to_all_versions_and_ends_with_the_last(weather):
    approval = 'subscription = "approval"'
    write(weather, 2, more=approval)
    assert eventually(lambda: call(weather, "/services/weather/echo").status == 403)
    assert call(weather, "/services/weather@1/echo").status == 200, "it was published without"
    assert call(weather, "/services/weather@1/subscription", method="POST").json()["standing"] == "approved"
    assert call(weather, "/services/weather@2/subscription", method="POST").json()["standing"] == "pending"
    assert weather.cli("services", "approve", "weather@2", weather.made["id"])["service"] == "weather"
    assert eventually(lambda: call(weather, "/services/weather/echo").status == 200)
    write(weather, 3, more=approval)
    assert eventually(lambda: answered(weather, "/services/weather/echo") == "weather@3/echoHead")
    standings = lambda: [row["standing"] for row in weather.cli("services", "subscriptions", "weather")]  # noqa: E731
    for version in ("weather@3", "weather@1"):
        assert weather.run("services", "retire", version).returncode == 0
        assert standings() == ["approved"]
    assert manage(weather, "POST", "/weather@2/retire").status == 200
    assert standings() == ["ended"]


def test_what_is_retired_or_past_its_sunset_stays_so(weather):
    write(weather, 2)
    assert eventually(lambda: answered(weather) == "weather@2/getStation")
    assert weather.run("services", "retire", "weather@2").returncode == 0
    is_gone = lambda version: call(weather, f"/services/weather@{version}/echo").status == 410  # noqa: E731
    assert eventually(lambda: is_gone(2))
    back = {"source": text(weather)}
    is_problem(manage(weather, "PUT", "/weather@2", back), 422, "service_invalid", "'weather@2' is retired and stays so")
    write(weather, 2)
    assert eventually(lambda: refused(weather)) and is_gone(2)
    assert "state = " in (weather.services / "weather@2.toml").read_text().splitlines()[refused(weather)[0]["line"] - 1]
    weather.stop()
    weather.start()
    assert refused(weather) and is_gone(2)
    # An end that came by itself is one as well.
    soon = (datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=2)).strftime("%Y-%m-%dT%H:%M:%SZ")
    write(weather, 2, state="retired")
    write(weather, more=f'sunset = "{soon}"')
    assert eventually(lambda: is_gone(1))
    write(weather)
    assert eventually(lambda: refused(weather) and "weather.toml" in refused(weather)[0]["file"]) and is_gone(1)


def test_a_change_of_the_files_that_the_gateway_has_not_seen_is_not_overwritten(weather):
    tag = manage(weather, "GET", "/weather@1").headers["etag"]
    assert weather.run("services", "deprecate", "weather", "--sunset", "2099-01-01").returncode == 0
    stale = manage(weather, "PUT", "/weather@1", {"source": text(weather)}, if_match=tag)
    assert is_problem(stale, 412, "changed_meanwhile")
    tag = manage(weather, "GET", "/weather@1").headers["etag"]
    file = weather.services / "weather.toml"
    file.write_text('weight = 3\n' + file.read_text())
    is_problem(manage(weather, "POST", "/weather@1/retire", if_match=tag), 412, "changed_meanwhile")
    assert "weight = 3" in file.read_text() and "2099" in file.read_text()


def test_a_put_changes_no_other_version(weather):
    evil = OPENAPI.replace("  /echo:\n", "  /echo:\n    servers: [{ url: /admin }]\n")
    refusal = manage(weather, "PUT", "/draft", {"source": text(weather, state="draft"), "openapi": evil})
    is_problem(refusal, 422, "service_invalid", "'weather.yaml' is the description of weather.toml too")
    assert (weather.services / "weather.yaml").read_text() == OPENAPI and not (weather.services / "draft.toml").exists()
    assert manage(weather, "PUT", "/draft", {"source": text(weather, state="draft"), "openapi": OPENAPI}).status == 200
    # A name is that of one version alone.
    own = {"source": text(weather, state="draft", openapi="own.yaml"), "openapi": OPENAPI}
    assert manage(weather, "PUT", "/draft", own).json()["id"] == "draft@1"
    assert manage(weather, "PUT", "/draft", own, if_none_match="*").json()["code"] == "exists_already"
    next_one = {"source": text(weather, state="draft", openapi="draft2.yaml"), "openapi": OPENAPI}
    assert manage(weather, "PUT", "/draft@2", next_one, if_none_match="*").json()["id"] == "draft@2"
    is_problem(manage(weather, "PUT", "/draft", own), 422, "service_invalid", "several versions (draft@1, draft@2): name the one")


def test_a_wrong_file_is_mended_and_removed_over_http(weather):
    file = weather.services / "broken.toml"
    file.write_text("upstream = ")
    assert eventually(lambda: refused(weather))
    assert manage(weather, "PUT", "/broken", {"source": text(weather, state="draft")}).json()["id"] == "broken@1"
    assert eventually(lambda: not refused(weather))
    file.write_text("upstream = ")
    assert eventually(lambda: refused(weather)) and manage(weather, "DELETE", "/broken@1").status == 204
    assert not file.exists() and eventually(lambda: not refused(weather))


def test_a_key_of_one_version_alone_has_its_tools(weather):
    write(weather, 2, openapi="next.yaml")
    assert eventually(lambda: answered(weather) == "weather@2/getStation")
    key = weather.new_key(tools="weather@2/parrot")["key"]
    assert tool_names(weather, key) == ["weather__parrot"]

    async def parrot(opened):
        return await opened.call_tool("weather__parrot", {})

    assert not session(weather, key, parrot)[1].is_error
    assert tool_names(weather, weather.new_key(tools="weather@1/getStation")["key"]) == []
    # A list of models means nothing beside one of tools.
    write(weather, 3, state="draft")
    of_models, broad = (weather.new_key(models="service/weather@3/*", **more)["key"] for more in ({}, {"tools": "*"}))
    assert eventually(lambda: call(weather, "/services/weather@3/echo", key=of_models).status == 200)
    is_problem(call(weather, "/services/weather@3/echo", key=broad), 404, "service_not_found", "is a draft")


def test_a_description_tells_of_an_end_and_not_of_the_credential(weather):
    described = call(weather, "/services/weather/openapi.json").json()
    assert "X-Weather-Key" not in json.dumps(described) and "X-Trace" in json.dumps(described)
    assert "deprecated" not in described["paths"]["/echo"]["get"]
    assert weather.run("services", "deprecate", "weather").returncode == 0
    read = lambda: call(weather, "/services/weather/openapi.json").json()["paths"]["/echo"]["get"]  # noqa: E731
    assert eventually(lambda: read().get("deprecated") is True)
