"""Anthropic's files and batches by its own SDK: each key sees its own, and the results are fetched through the gateway."""

import json
import urllib.parse

import anthropic
import openai
import pytest

import upstream as provider
from gateway import provider as provider_file
from upstream import Answer

LINE = {"custom_id": "a", "result": {"type": "canceled"}}
PARAMS = {"max_tokens": 9, "messages": [{"role": "user", "content": "Grüß Gott"}]}


class Shelf:
    """A provider's files and batches, as Anthropic answers for them."""

    def __init__(self, upstream):
        self.things = {"/files": {}, "/messages/batches": {}}
        self.upstream = upstream
        for path in self.things:
            upstream.serve_at("POST", path, self.make)
            upstream.serve_at("GET", path, self.list)

    def make(self, asked):
        path = asked.path.partition("?")[0].removeprefix("/v1")
        number = sum(map(len, self.things.values())) + 1
        if path == "/files":
            thing = {"id": f"file_{number}", "type": "file", "filename": "a.txt", "mime_type": "text/plain", "size_bytes": 2, "created_at": "2026-01-01T00:00:00Z"}
        else:
            counts = dict.fromkeys(("processing", "succeeded", "errored", "canceled", "expired"), 0)
            thing = {"id": f"msgbatch_{number}", "type": "message_batch", "processing_status": "ended", "request_counts": counts, "created_at": "2026-01-01T00:00:00Z",
                     "expires_at": "2026-01-02T00:00:00Z", "ended_at": "2026-01-01T00:00:01Z", "archived_at": None, "cancel_initiated_at": None,
                     "results_url": f"https://api.anthropic.com/v1/messages/batches/msgbatch_{number}/results"}
        self.things[path][thing["id"]] = thing
        own = f"{path}/{thing['id']}"
        self.upstream.serve_at("GET", own, provider.answer_json(thing))
        self.upstream.serve_at("DELETE", own, provider.answer_json({"id": thing["id"], "type": f"{thing['type']}_deleted"}))
        self.upstream.serve_at("POST", f"{own}/cancel", provider.answer_json(thing | {"processing_status": "canceling"}))
        self.upstream.serve_at("GET", f"{own}/content", Answer(b"Hi", headers={"content-type": "text/plain"}))
        self.upstream.serve_at("GET", f"{own}/results", Answer(json.dumps(LINE).encode() + b"\n", headers={"content-type": "application/x-jsonl"}))
        return provider.answer_json(thing)

    def list(self, asked):
        path, _, query = asked.path.removeprefix("/v1").partition("?")
        query = dict(urllib.parse.parse_qsl(query))
        things = list(reversed(self.things[path].values()))
        start = [thing["id"] for thing in things].index(query["after_id"]) + 1 if "after_id" in query else 0
        page = things[start : start + 2]
        return provider.answer_json({"data": page, "has_more": start + 2 < len(things), "first_id": page[0]["id"], "last_id": page[-1]["id"]} if page else {"data": [], "has_more": False})


@pytest.fixture
def shelf(upstream):
    return Shelf(upstream)


@pytest.fixture
def claude(start_gateway, upstream):
    def file(name, models):
        text = provider_file(upstream.url, name=name, models=models)
        return text.replace('["openai_chat", "openai_responses"]', '["anthropic_messages"]')

    return start_gateway(providers={"claude": file("Claude's", '"opus" = {}\n"haiku" = {}'), "test": provider_file(upstream.url)})


def sdk(gateway, path="", **settings):
    key = gateway.new_key(name="someone", **settings)["key"]
    return anthropic.Anthropic(base_url=f"http://127.0.0.1:{gateway.port}{path}", api_key=key, max_retries=0, timeout=20)


@pytest.fixture(params=["", "/anthropic"])
def client(claude, request):
    return sdk(claude, request.param)


def batch(client, *models):
    return client.messages.batches.create(requests=[{"custom_id": str(i), "params": PARAMS | {"model": model}} for i, model in enumerate(models)])


def test_a_file_is_made_listed_read_and_deleted(client, claude, upstream, shelf):
    file = client.beta.files.upload(file=("a.txt", b"Hi", "text/plain"), betas=["files-api-2025-04-14"])
    sent = upstream.requests[-1]
    assert b"\r\n\r\nHi\r\n" in sent.body and "files-api" in sent.headers["anthropic-beta"] and client.api_key not in str(sent)
    assert client.beta.files.retrieve_metadata(file.id) == file
    assert client.beta.files.download(file.id).read() == b"Hi"
    assert [listed.id for listed in client.beta.files.list()] == [file.id]
    other = sdk(claude)
    assert list(other.beta.files.list()) == []
    with pytest.raises(anthropic.NotFoundError) as refused:
        other.beta.files.retrieve_metadata(file.id)
    assert refused.value.body["error"]["type"] == "not_found_error"
    assert client.beta.files.delete(file.id).id == file.id
    with pytest.raises(anthropic.NotFoundError):
        client.beta.files.retrieve_metadata(file.id)


def test_openais_files_stay_openais(claude, upstream, shelf):
    client = claude.client(claude.new_key(name="openai")["key"])
    upstream.serve_at("POST", "/files", provider.answer_json({"id": "file-1", "object": "file", "bytes": 2, "created_at": 1, "filename": "a", "purpose": "batch", "status": "processed"}))
    assert client.files.create(file=("a.jsonl", b"{}"), purpose="batch").id == "file-1"
    with pytest.raises(openai.NotFoundError):
        client.files.retrieve("file_1")


def test_a_batch_is_sent_with_its_providers_names_and_its_results_come_through_the_gateway(client, upstream, shelf):
    made = batch(client, "claude/opus", "haiku", "claude/opus")
    sent = upstream.requests[-1].json()
    assert [request["params"]["model"] for request in sent["requests"]] == ["opus", "haiku", "opus"]
    assert sent["requests"][1] == {"custom_id": "1", "params": PARAMS | {"model": "haiku"}}
    assert made.results_url == f"/v1/messages/batches/{made.id}/results"
    assert client.messages.batches.retrieve(made.id) == made
    assert [json.loads(line.to_json()) for line in client.messages.batches.results(made.id)] == [LINE]
    assert upstream.requests[-1].path.partition("?")[0] == f"/v1/messages/batches/{made.id}/results"
    assert client.messages.batches.cancel(made.id).processing_status == "canceling"
    assert client.messages.batches.delete(made.id).id == made.id


def test_batches_are_listed_page_by_page_without_those_of_other_keys(claude, client, upstream, shelf):
    other = sdk(claude)
    own = []
    for _ in range(3):
        own.append(batch(client, "claude/opus").id)
        batch(other, "claude/opus")
    listed = client.messages.batches.list(limit=2)
    assert [one.id for one in listed.data] == own[:0:-1] and listed.has_more
    assert [one.id for one in listed] == own[::-1]
    assert {one.results_url for one in listed} == {f"/v1/messages/batches/{id}/results" for id in own}
    with pytest.raises(anthropic.NotFoundError):
        other.messages.batches.results(own[0])


@pytest.mark.parametrize(
    "models, status, words",
    [
        ([], 400, "at least one"),
        (["claude/opus", "nobody/none"], 404, "nobody/none"),
        (["claude/opus", "test/gpt-4o-mini"], 400, "one provider"),
        (["test/gpt-4o-mini"], 501, "no provider that takes Anthropic's batches"),
        (["claude/opus", 3], 400, "requests.1.params.model"),
    ],
)
def test_a_batch_that_cannot_be_sent_is_refused_whole(claude, upstream, shelf, models, status, words):
    before = len(upstream.requests)
    with pytest.raises(anthropic.APIStatusError) as refused:
        batch(sdk(claude), *models)
    assert refused.value.status_code == status and words in refused.value.body["error"]["message"]
    assert len(upstream.requests) == before


def test_a_batch_with_a_model_that_the_key_may_not_use_is_refused(claude, upstream, shelf):
    with pytest.raises(anthropic.PermissionDeniedError) as refused:
        batch(sdk(claude, models="claude/opus"), "claude/opus", "claude/haiku")
    assert "claude/haiku" in refused.value.body["error"]["message"]
    assert not upstream.requests
