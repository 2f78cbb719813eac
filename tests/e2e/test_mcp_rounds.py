"""Callers of the newest revision, who are asked by results alone, and servers of older ones, which ask in the middle of a call."""

import json
import os

import pytest

from gateway import eventually
from mcp_fixture import tool_names
from test_mcp_faults import error, started
from test_mcp_servers import lines, modern, program

ABLE = {"elicitation": {}}
ADA = {"action": "accept", "content": {"name": "Ada"}}


@pytest.fixture
def odd(start_gateway):
    return started(start_gateway, program("odd"))


def ask(gateway, key, progress=None, capabilities=ABLE, tool="odd__ask", state=None, answers=None, **arguments):
    """What is told for a call of `ask`, or for its next request."""
    more = {"requestState": state, "inputResponses": answers} if state else {}
    meta = {"progressToken": progress} if progress else {}
    with modern(gateway, key, "tools/call", name=tool, arguments=arguments, capabilities=capabilities, meta=meta, **more) as reply:
        if "text/event-stream" in reply.headers["content-type"]:
            return list(lines(reply))
        return [json.loads(reply.read())]


def wanted(told):
    """The state and the questions of a result that wants input."""
    result = told[-1].get("result", {})
    assert result.get("resultType") == "input_required", told
    assert all(question["method"] == "elicitation/create" and question["params"]["message"] == "Who?" for question in result["inputRequests"].values())
    return result["requestState"], list(result["inputRequests"])


def test_what_an_older_server_asks_is_answered_by_the_next_request(odd):
    state, [name] = wanted(ask(odd, odd.secret, times=2))
    state, [other] = wanted(ask(odd, odd.secret, "second", state=state, answers={name: ADA}, times=2))
    assert other != name
    told = ask(odd, odd.secret, "third", state=state, answers={other: {"action": "decline"}}, times=2)
    answers = [message["result"] for message in json.loads(told[-1]["result"]["content"][0]["text"])]
    assert answers == [ADA, {"action": "decline"}]
    # What the server tells meanwhile reaches the request that waits.
    progress = [message["params"] for message in told[:-1] if message["method"] == "notifications/progress"]
    assert [(one["progressToken"], one["progress"]) for one in progress] == [("third", 11)]
    assert "No such call waits" in error(ask(odd, odd.secret, state=state, answers={other: ADA}, times=2))
    # Each request is a call of its own in the ledger.
    assert odd.usage("tool", "odd/ask", 4)["requests"] == 4


def test_a_call_that_waits_is_its_callers_alone(odd):
    state, [name] = wanted(ask(odd, odd.secret, seconds=60))
    other = odd.new_key(name="other")["key"]
    for key, arguments in [(other, {"seconds": 60}), (odd.secret, {"seconds": 61})]:
        assert "No such call waits" in error(ask(odd, key, state=state, answers={name: ADA}, **arguments))
    assert "is none to what was asked" in error(ask(odd, odd.secret, state=state, answers={name: {"action": "perhaps"}}, seconds=60))
    # What is left open is asked again; other calls run meanwhile, and are asked for themselves.
    state, [again] = wanted(ask(odd, odd.secret, state=state, answers={}, seconds=60))
    assert again == name
    beside, [theirs] = wanted(ask(odd, odd.secret, seconds=60))
    for state, name, says in [(beside, theirs, "Grace"), (state, name, "Ada")]:
        answers = {name: {"action": "accept", "content": {"name": says}}}
        assert says in ask(odd, odd.secret, state=state, answers=answers, seconds=60)[-1]["result"]["content"][0]["text"]


def test_calls_that_wait_have_bounds(start_gateway):
    gateway = started(start_gateway, program("odd") + 'call_timeout = "20s"\n')
    asked = [ask(gateway, gateway.secret, seconds=60) for _ in range(17)]
    assert all("inputRequests" in told[-1]["result"] for told in asked[:16]) and "which is the most" in error(asked[16])
    other = gateway.new_key(name="other")
    state, [name] = wanted(ask(gateway, other["key"], seconds=60))
    assert gateway.run("keys", "revoke", other["id"]).returncode == 0

    def programs():
        return [pid for pid in os.listdir("/proc") if pid.isdigit() and is_child(pid, gateway.process.pid)]

    # The one of the revoked key goes soon, and all others when their time is over, with their programs.
    assert eventually(lambda: len(programs()) <= 17, seconds=10) and len(programs()) >= 16
    assert eventually(lambda: len(programs()) <= 2, seconds=40)
    state, [name] = wanted(asked[0])
    assert "No such call waits" in error(ask(gateway, gateway.secret, state=state, answers={name: ADA}, seconds=60))


def is_child(pid, parent):
    try:
        fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
    except OSError:
        return False
    return fields[0] != "Z" and int(fields[1]) == parent


def test_who_cannot_be_asked_is_not(odd):
    assert "odd__ask" in tool_names(odd, odd.secret)
    assert ask(odd, odd.secret, capabilities={})[-1]["result"]["content"][0]["text"] == "nobody can be asked"
