"""The comparison itself: it sees what is lost, and forgives only what is named."""

import copy

import pytest

import meaning
import recorded

CASES = [pytest.param(case, id=case.id) for dialect in recorded.DIALECTS for case in recorded.load(dialect) if case.has_request]


def test_a_loss_is_seen():
    body = {
        "messages": [
            {"role": "system", "content": "Be kind."},
            {"role": "user", "content": [{"type": "text", "text": "Hi"}, {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]},
            {"role": "assistant", "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{\"a\": 1}"}}]},
            {"role": "tool", "tool_call_id": "1", "content": "two"},
        ],
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {"a": {"type": "integer"}}}}}],
        "temperature": 0.5,
        "max_tokens": 7,
    }
    sent = meaning.openai_chat(body)
    assert meaning.differences(sent, meaning.openai_chat(body), []) == []
    changes = {
        "system": lambda b: b["messages"].pop(0),
        "text": lambda b: b["messages"][1]["content"].pop(0),
        "image": lambda b: b["messages"][1]["content"].pop(1),
        "call": lambda b: b["messages"].pop(2),
        "arguments": lambda b: b["messages"][2]["tool_calls"][0]["function"].update(arguments="{}"),
        "result": lambda b: b["messages"][3].update(content="three"),
        "tool": lambda b: b.pop("tools"),
        "schema": lambda b: b["tools"][0]["function"].update(parameters={}),
        "temperature": lambda b: b.pop("temperature"),
        "max_tokens": lambda b: b.update(max_tokens=8),
    }
    for name, change in changes.items():
        other = copy.deepcopy(body)
        change(other)
        assert meaning.differences(sent, meaning.openai_chat(other), []), name
    other = {**body, "temperature": None}
    assert meaning.differences(sent, meaning.openai_chat(other), ["temperature"]) == []


@pytest.mark.parametrize("case", CASES or [pytest.param(None, marks=pytest.mark.skip(reason="no recorded traffic"))])
def test_every_recorded_request_can_be_read(case):
    read = meaning.READ[case.dialect](case.request["body"])
    assert read.turns or read.system


def test_a_document_may_be_told_as_text_but_not_lost():
    document = {"type": "document", "title": "Rules", "source": {"type": "text", "media_type": "text/plain", "data": "No running.\nNo shouting."}}
    sent = meaning.anthropic_messages({"messages": [{"role": "user", "content": [{"type": "text", "text": "What is not allowed?"}, document]}]})

    def told(*texts):
        return meaning.ollama({"messages": [{"role": "user", "content": text} for text in texts]})

    for texts in [("What is not allowed?\nRules:\nNo running.\nNo shouting.",), ("What is not allowed?", "No running.\nNo shouting.")]:
        assert meaning.differences(sent, told(*texts), []) == []
    for texts in [("What is not allowed?",), ("What is not allowed?\nNo running.",), ("What is not allowed?\nNo running.\nNo shouting.\nNo eating.",)]:
        assert meaning.differences(sent, told(*texts), []), texts


def test_a_document_of_coheres_is_compared():
    ask = [{"role": "user", "content": "What is not allowed?"}]
    sent = meaning.cohere_v2({"messages": ask, "documents": [{"data": {"text": "No running.", "title": "Rules"}}]})
    assert meaning.differences(sent, meaning.cohere_v2({"messages": ask, "documents": ["No running."]}), []) == []
    assert meaning.differences(sent, meaning.cohere_v2({"messages": ask}), [])
