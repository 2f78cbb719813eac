"""What a provider keeps: files, batches, responses, conversations. Each key sees its own, and nothing of another's."""

import contextlib
import json
import sqlite3
import urllib.parse

import openai
import pytest

import upstream as provider
from gateway import eventually
from gateway import provider as provider_file
from upstream import Answer, Upstream

LINES = b'{"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": {"model": "gpt-4o-mini"}}\n'


class Shelf:
    """A provider's files, batches and responses, as OpenAI answers for them."""

    def __init__(self, upstream, page=100):
        self.things = {"files": {}, "batches": {}, "responses": {}, "conversations": {}}
        self.contents = {}
        self.page = page
        self.upstream = upstream
        for path in ("/files", "/batches"):
            upstream.serve_at("POST", path, self.make)
            upstream.serve_at("GET", path, self.list)
        upstream.serve_at("POST", "/responses", self.respond)
        upstream.serve_at("POST", "/conversations", self.make)

    def make(self, asked):
        kind = asked.path.removeprefix("/v1/")
        number = sum(map(len, self.things.values())) + 1
        thing = {
            "files": lambda: {"id": f"file-{number}", "object": "file", "bytes": len(LINES), "filename": "a.jsonl", "purpose": "batch", "status": "processed"},
            "batches": lambda: {"id": f"batch_{number}", "object": "batch", "endpoint": "/v1/chat/completions", "status": "completed",
                                "completion_window": "24h", "input_file_id": asked.json()["input_file_id"], "output_file_id": f"file-out-{number}"},
            "conversations": lambda: {"id": f"conv_shelf_{number}", "object": "conversation", "metadata": {}},
        }[kind]() | {"created_at": 1760000000}
        self.add(kind, thing)
        if kind == "batches":
            self.add("files", {"id": thing["output_file_id"], "object": "file", "bytes": 2, "created_at": 1, "filename": "out", "purpose": "batch_output"})
        return provider.answer_json(thing)

    def add(self, kind, thing):
        self.things[kind][thing["id"]] = thing
        path = f"/{kind}/{thing['id']}"
        self.upstream.serve_at("GET", path, provider.answer_json(thing))
        self.upstream.serve_at("DELETE", path, provider.answer_json({"id": thing["id"], "object": thing["object"], "deleted": True}))
        self.upstream.serve_at("POST", f"{path}/cancel", provider.answer_json(thing | {"status": "cancelled"}))
        self.upstream.serve_at("GET", f"{path}/content", Answer(b'{"broken": ', headers={"content-type": "application/json"}))

    def list(self, asked):
        path, _, query = asked.path.partition("?")
        query = dict(urllib.parse.parse_qsl(query))
        things = list(reversed(self.things[path.removeprefix("/v1/")].values()))
        start = [thing["id"] for thing in things].index(query["after"]) + 1 if "after" in query else 0
        page = things[start : start + self.page]
        return provider.answer_json({"object": "list", "data": page, "has_more": start + self.page < len(things)})

    def respond(self, asked):
        body = asked.json()
        number = len(self.things["responses"]) + 1
        text = {"type": "message", "id": "msg_1", "status": "completed", "role": "assistant", "content": [{"type": "output_text", "text": "Servus!", "annotations": []}]}
        answer = {"id": f"resp_shelf_{number}", "object": "response", "created_at": 1760000000, "status": "completed", "model": body["model"], "output": [text],
                  "parallel_tool_calls": True, "tool_choice": "auto", "tools": [], "usage": {"input_tokens": 10, "output_tokens": 5, "total_tokens": 15}}
        self.add("responses", answer)
        self.upstream.serve_at("GET", f"/responses/{answer['id']}", lambda asked: stream(answer) if "stream=true" in asked.path else provider.answer_json(answer))
        items = {"object": "list", "data": [{"type": "message", "role": "user", "id": "msg_0", "content": []}], "has_more": False}
        self.upstream.serve_at("GET", f"/responses/{answer['id']}/input_items", provider.answer_json(items))
        return stream(answer) if body.get("stream") else provider.answer_json(answer)


def stream(answer):
    events = [{"type": "response.created", "response": answer | {"status": "in_progress", "usage": None}}, {"type": "response.completed", "response": answer}]
    body = "".join(f"event: {event['type']}\ndata: {json.dumps(event | {'sequence_number': i})}\n\n" for i, event in enumerate(events))
    return Answer(body.encode(), headers={"content-type": "text/event-stream"}, stream=True)


@pytest.fixture
def shelf(upstream):
    return Shelf(upstream)


@pytest.fixture
def other(gateway):
    return gateway.client(gateway.new_key(name="other")["key"])


def upload(client):
    return client.files.create(file=("a.jsonl", LINES), purpose="batch")


@contextlib.contextmanager
def nothing_there():
    """What another key made and what nobody made are the same."""
    with pytest.raises(openai.NotFoundError) as refused:
        yield
    assert refused.value.code.endswith("_not_found") and refused.value.body.get("provider") is None


# Files.


def test_file_is_made_read_and_deleted(client, upstream, shelf):
    file = upload(client)
    assert LINES in upstream.requests[-1].body
    assert client.files.retrieve(file.id) == file
    assert client.files.content(file.id).read() == b'{"broken": '
    assert client.files.delete(file.id).deleted
    with nothing_there():
        client.files.retrieve(file.id)


def test_what_a_provider_has_deleted_already_is_forgotten_when_it_is_deleted(client, upstream, shelf):
    file = upload(client)
    gone = provider.error(404, "No such File object.", code="not_found")
    upstream.serve_at("GET", f"/files/{file.id}", gone)
    with pytest.raises(openai.NotFoundError):
        client.files.retrieve(file.id)
    upstream.serve_at("DELETE", f"/files/{file.id}", gone)
    with pytest.raises(openai.NotFoundError) as told:
        client.files.delete(file.id)
    assert "No such File object." in str(told.value)
    before = len(upstream.requests)
    with nothing_there():
        client.files.retrieve(file.id)
    assert len(upstream.requests) == before, "nobody has to be asked any more"


def test_file_of_another_key_is_not_there(client, other, upstream, shelf):
    file = upload(client)
    count = len(upstream.requests)
    messages = []
    for id in (file.id, "file-999"):
        for call in (other.files.retrieve, other.files.content, other.files.delete):
            with nothing_there():
                call(id)
        reply = pytest.raises(openai.NotFoundError, other.files.retrieve, id)
        messages.append(str(reply.value.body["message"]).replace(id, "ID"))
    assert messages[0] == messages[1]
    assert len(upstream.requests) == count
    assert client.files.retrieve(file.id).id == file.id


NAMING = {
    "chat": lambda id: {"messages": [{"role": "user", "content": [{"type": "file", "file": {"file_id": id}}]}]},
    "responses": lambda id: {"input": [{"role": "user", "content": [{"type": "input_file", "file_id": id}]}]},
    "a tool's": lambda id: {"input": "Hi", "tools": [{"type": "code_interpreter", "container": {"type": "auto", "file_ids": ["file-elsewhere", id]}}]},
}


@pytest.mark.parametrize("how", NAMING)
def test_a_request_names_no_file_of_another_key(client, other, upstream, shelf, how):
    file, fields = upload(client), NAMING[how]
    upstream.serve("gpt-4o-mini", provider.chat("Hi"))

    def ask(whose, id):
        create = whose.chat.completions.create if how == "chat" else whose.responses.create
        return create(model="test/gpt-4o-mini", **fields(id))

    count = len(upstream.requests)
    with nothing_there():
        ask(other, file.id)
    assert len(upstream.requests) == count
    ask(client, file.id)
    # One that was not made here is its provider's to judge.
    ask(other, "file-of-somebody")
    assert len(upstream.requests) == count + 2


def test_list_has_the_keys_own_files_over_all_pages(gateway, upstream):
    Shelf(upstream, page=3)
    clients = [gateway.client(gateway.new_key()["key"]) for _ in range(2)]
    ids = [[], []]
    for i in range(14):
        ids[i % 2].append(upload(clients[i % 2]).id)
    for client, own in zip(clients, ids, strict=True):
        assert [file.id for file in client.files.list()] == own[::-1]
        assert [file.id for file in client.files.list(limit=2)] == own[::-1]
        page = client.files.list(limit=5)
        assert ([file.id for file in page.data], page.has_more) == (own[:1:-1], True)
        with nothing_there():
            client.files.list(after=ids[1 - ids.index(own)][0])


def test_no_other_page_is_asked_for_a_key_that_has_ended(gateway, upstream):
    shelf, key = Shelf(upstream, page=3), gateway.new_key()
    client = gateway.client(key["key"])
    for _ in range(4):
        upload(client)

    def page(asked):
        gateway.admin("POST", f"/keys/{key['id']}/revoke", {})
        return shelf.list(asked)

    upstream.serve_at("GET", "/files", page)
    with pytest.raises(openai.AuthenticationError, match="was revoked"):
        client.files.list()
    assert [asked.method for asked in upstream.requests].count("GET") == 1


def test_list_of_a_key_that_made_nothing_is_empty(gateway, upstream, shelf, client):
    upload(client)
    assert list(gateway.client(gateway.new_key()["key"]).files.list()) == []


def test_ids_that_are_none_are_not_passed_on(gateway, key, upstream, shelf):
    for path in ("/v1/files/..%2fmodels", "/v1/files/a%3fb", "/v1/files/%2e%2e/content"):
        reply = gateway.request("GET", path, key=key)
        assert (reply.status, reply.json()["error"]["code"]) == (404, "path_not_found")
    assert upstream.requests == []


def test_own_key_in_the_query_is_not_passed_on(gateway, key, upstream, shelf, client):
    id = client.responses.create(model="test/gpt-4o-mini", input="Hi").id
    assert gateway.request("GET", f"/v1/responses/{id}?key={key}&x=1%26").status == 200
    assert upstream.requests[-1].path == f"/v1/responses/{id}?x=1%26"
    # On these the same is how Google's callers show theirs.
    file = upload(client)
    assert gateway.request("GET", f"/v1/files/{file.id}?key={key}&x=1%26", key=key).status == 200
    assert upstream.requests[-1].path == f"/v1/files/{file.id}?x=1%26"


def test_a_rotated_key_keeps_what_it_made(gateway, upstream, shelf):
    old = gateway.new_key()
    file = upload(gateway.client(old["key"]))
    new = gateway.cli("keys", "rotate", old["id"])
    assert gateway.client(new["key"]).files.retrieve(file.id).id == file.id


def test_files_cost_nothing_and_are_in_the_ledger(gateway, upstream, shelf):
    key = gateway.new_key()
    client = gateway.client(key["key"])
    client.files.retrieve(upload(client).id)
    row = gateway.usage("key", key["id"], 2)
    assert (row["requests"], row["failed"], row["cost_nano_usd"], row["unpriced"], row["input_tokens"]) == (2, 0, 0, 0, 0)
    assert '"operation":"files"' in gateway.log()


def test_a_key_for_other_providers_uploads_nothing(gateway, upstream, shelf):
    with pytest.raises(openai.PermissionDeniedError):
        upload(gateway.client(gateway.new_key(models="simulator/*")["key"]))
    with pytest.raises(openai.PermissionDeniedError):
        upload(gateway.client(gateway.new_key(kind="test")["key"]))
    assert upstream.requests == []


# Batches.


def test_batch_goes_where_its_file_is(start_gateway, upstream):
    elsewhere = Upstream()
    shelf = Shelf(elsewhere)
    files = {"test": provider_file(upstream.url), "batchy": provider_file(elsewhere.url, credential="OTHER_KEY")}
    gateway = start_gateway(providers=files, env={"OTHER_KEY": "sk-other"})
    client, other = (gateway.client(gateway.new_key()["key"]) for _ in range(2))
    file = client.files.create(file=("a.jsonl", LINES), purpose="batch", extra_headers={"keyward-provider": "batchy"})
    order = {"input_file_id": file.id, "endpoint": "/v1/chat/completions", "completion_window": "24h"}
    with nothing_there():
        other.batches.create(**order)
    batch = client.batches.create(**order)
    assert batch.id in shelf.things["batches"]
    assert client.batches.retrieve(batch.id).status == "completed"
    assert client.batches.cancel(batch.id).status == "cancelled"
    assert [listed.id for listed in client.batches.list()] == [batch.id]
    # What came of it is its maker's, too.
    assert client.files.retrieve(batch.output_file_id).purpose == "batch_output"
    for call in (other.batches.retrieve, other.batches.cancel):
        with nothing_there():
            call(batch.id)
    with nothing_there():
        other.files.content(batch.output_file_id)
    assert list(other.batches.list(extra_headers={"keyward-provider": "batchy"})) == []
    assert upstream.requests == []
    elsewhere.close()


def test_batch_needs_a_key_for_all_models_of_its_provider(gateway, upstream, shelf):
    client = gateway.client(gateway.new_key(models="test/gpt-4o-mini")["key"])
    file = upload(client)
    with pytest.raises(openai.PermissionDeniedError) as refused:
        client.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h")
    assert refused.value.code == "model_not_allowed"


# Responses.


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream"])
def test_response_is_read_cancelled_and_deleted_by_its_maker(client, other, upstream, shelf, streamed):
    answer = client.responses.create(model="test/gpt-4o-mini", input="Grüß Gott", stream=streamed)
    id = next(iter(answer)).response.id if streamed else answer.id
    assert client.responses.retrieve(id).output_text == "Servus!"
    with client.responses.retrieve(id, stream=True) as events:
        assert [event.type for event in events] == ["response.created", "response.completed"]
    assert client.responses.input_items.list(id).data[0].role == "user"
    assert client.responses.cancel(id).status == "cancelled"
    for call in (other.responses.retrieve, other.responses.cancel, other.responses.delete, other.responses.input_items.list):
        with nothing_there():
            call(id)
    client.responses.delete(id)
    with nothing_there():
        client.responses.retrieve(id)


def test_response_that_is_not_stored_is_nobodys(client, upstream, shelf):
    answer = client.responses.create(model="test/gpt-4o-mini", input="Hi", store=False)
    with nothing_there():
        client.responses.retrieve(answer.id)


def test_reading_a_response_again_costs_nothing(gateway, upstream, shelf):
    key = gateway.new_key()
    client = gateway.client(key["key"])
    client.responses.retrieve(client.responses.create(model="test/gpt-4o-mini", input="Hi").id)
    assert gateway.usage("key", key["id"], 2)["input_tokens"] == 10


def test_response_outlives_a_restart(start_gateway, upstream, shelf):
    gateway = start_gateway()
    client = gateway.client(gateway.new_key()["key"])
    id = client.responses.create(model="test/gpt-4o-mini", input="Hi").id
    gateway.stop()
    gateway.start()
    assert client.responses.retrieve(id).id == id


def test_what_goes_on_with_a_response_goes_where_that_is(start_gateway, upstream):
    elsewhere = Upstream()
    Shelf(upstream)
    Shelf(elsewhere)
    files = {"first": provider_file(elsewhere.url, credential="OTHER_KEY"), "test": provider_file(upstream.url)}
    gateway = start_gateway(providers=files, config='[aliases]\nfast = ["first/gpt-4o-mini", "test/gpt-4o-mini"]\n', env={"OTHER_KEY": "sk-other"})
    client, other = (gateway.client(gateway.new_key()["key"]) for _ in range(2))
    id = client.responses.create(model="test/gpt-4o-mini", input="Hi").id
    elsewhere.requests.clear()
    for model in ("fast", "gpt-4o-mini", "test/gpt-4o-mini"):
        client.responses.create(model=model, input="Again", previous_response_id=id)
        assert upstream.requests[-1].json() == {"model": "gpt-4o-mini", "input": "Again", "previous_response_id": id}
    with pytest.raises(openai.BadRequestError) as refused:
        client.responses.create(model="first/gpt-4o-mini", input="Again", previous_response_id=id)
    assert refused.value.code == "held_elsewhere" and "'test/model'" in str(refused.value)
    with nothing_there():
        other.responses.create(model="fast", input="Again", previous_response_id=id)
    assert elsewhere.requests == []
    # What nobody made through the gateway is the provider's to judge.
    client.responses.create(model="fast", input="Again", previous_response_id="resp_made_elsewhere")
    assert elsewhere.requests[-1].json()["previous_response_id"] == "resp_made_elsewhere"
    elsewhere.close()


def test_conversation_is_its_makers(client, other, upstream, shelf):
    conversation = client.conversations.create()
    assert client.conversations.retrieve(conversation.id) == conversation
    client.responses.create(model="gpt-4o-mini", input="Hi", conversation=conversation.id)
    client.responses.create(model="gpt-4o-mini", input="Hi", conversation={"id": conversation.id})
    assert upstream.requests[-1].json()["conversation"] == {"id": conversation.id}
    with nothing_there():
        other.conversations.retrieve(conversation.id)
    for named in (conversation.id, {"id": conversation.id}):
        with nothing_there():
            other.responses.create(model="gpt-4o-mini", input="Hi", conversation=named)
    assert client.conversations.delete(conversation.id).deleted


# The store is locked, the process is killed.


@contextlib.contextmanager
def locked_store(gateway):
    """Another program writes to the store, and is not done."""
    with contextlib.closing(sqlite3.connect(gateway.folder / "data" / "keyward.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


def kept(gateway):
    """The ids of what the store knows the makers of."""
    with contextlib.closing(sqlite3.connect(gateway.folder / "data" / "keyward.db")) as store:
        return {id for (id,) in store.execute("SELECT id FROM held")}


def order(file):
    return {"input_file_id": file.id, "endpoint": "/v1/chat/completions", "completion_window": "24h"}


def test_what_is_made_while_the_store_is_locked_is_made_once_and_its_makers(start_gateway, upstream, shelf):
    gateway = start_gateway()
    # As patient as the SDK is by itself: what it is told to try again, it makes again.
    client, other = (gateway.client(gateway.new_key()["key"], max_retries=2) for _ in range(2))
    file = upload(client)
    with locked_store(gateway):
        batch, conversation, late = client.batches.create(**order(file)), client.conversations.create(), upload(client)
        answer = client.responses.create(model="test/gpt-4o-mini", input="Hi")
        assert [len(shelf.things[kind]) for kind in ("batches", "conversations", "responses")] == [1, 1, 1]
        assert client.batches.retrieve(batch.id).id == batch.id and [listed.id for listed in client.batches.list()] == [batch.id]
        client.responses.create(model="test/gpt-4o-mini", input="Again", previous_response_id=answer.id, conversation=conversation.id)
        assert client.files.delete(late.id).deleted
        count = len(upstream.requests)
        for call in (
            lambda: other.batches.retrieve(batch.id),
            lambda: other.files.content(batch.output_file_id),
            lambda: other.responses.create(model="test/gpt-4o-mini", input="Again", previous_response_id=answer.id),
            lambda: other.responses.create(model="test/gpt-4o-mini", input="Again", conversation=conversation.id),
            lambda: client.files.retrieve(late.id),
        ):
            with nothing_there():
                call()
        assert len(upstream.requests) == count, "what is another's is not even asked for"
        # What nobody made here is its provider's to judge, as ever.
        other.responses.create(model="test/gpt-4o-mini", input="Again", previous_response_id="resp_made_elsewhere")
    made = {file.id, batch.id, batch.output_file_id, conversation.id, answer.id}
    assert eventually(lambda: made <= kept(gateway), seconds=20)
    assert late.id not in kept(gateway)
    gateway.stop()
    gateway.start()
    assert [listed.id for listed in client.batches.list()] == [batch.id] and list(other.batches.list()) == []
    with nothing_there():
        other.batches.retrieve(batch.id)


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream"])
def test_whose_a_response_is_outlives_the_process_that_is_killed(start_gateway, upstream, shelf, streamed):
    gateway = start_gateway()
    client, other = (gateway.client(gateway.new_key()["key"]) for _ in range(2))
    # However late the store would have had it.
    with locked_store(gateway):
        answer = client.responses.create(model="test/gpt-4o-mini", input="Hi", stream=streamed)
        id = next(iter(answer)).response.id if streamed else answer.id
        gateway.kill()
    gateway.start()
    with nothing_there():
        other.responses.create(model="test/gpt-4o-mini", input="Again", previous_response_id=id)
    assert client.responses.retrieve(id).id == id
    client.responses.create(model="test/gpt-4o-mini", input="Again", previous_response_id=id)


def test_whose_something_is_cannot_be_told_before_a_locked_store_has_what_the_last_run_made(start_gateway, upstream, shelf):
    gateway = start_gateway()
    client, other = (gateway.client(gateway.new_key()["key"]) for _ in range(2))
    ask = lambda whose, id: whose.responses.create(model="test/gpt-4o-mini", input="Again", previous_response_id=id)  # noqa: E731
    with locked_store(gateway):
        id = client.responses.create(model="test/gpt-4o-mini", input="Hi").id
        gateway.stop()
        gateway.start()
        count = len(upstream.requests)
        for call in (lambda: ask(client, id), lambda: ask(other, id), lambda: client.responses.retrieve(id), lambda: list(client.batches.list())):
            with pytest.raises(openai.InternalServerError) as refused:
                call()
            assert (refused.value.status_code, refused.value.code) == (503, "store_unavailable")
        assert len(upstream.requests) == count, "no provider is asked whose it is"
        new = client.responses.create(model="test/gpt-4o-mini", input="Hi").id
        ask(client, new)
    assert eventually(lambda: {id, new} <= kept(gateway), seconds=20)
    ask(client, id)
    with nothing_there():
        ask(other, id)


# What is named beside responses.


def test_a_file_of_another_key_is_named_nowhere(start_gateway, upstream):
    upstream.serve_at("POST", "/files", Shelf(upstream).make)
    counted = provider.answer_json({"object": "response.input_tokens", "input_tokens": 7})
    items = provider.answer_json({"object": "list", "data": [], "has_more": False})
    upstream.serve_at("POST", "/responses/input_tokens", counted)
    upstream.serve_at("POST", "/messages/count_tokens", provider.answer_json({"input_tokens": 7}))
    upstream.serve_at("POST", "/messages/batches", provider.answer_json({"id": "msgbatch_1", "type": "message_batch", "processing_status": "in_progress"}))
    models = '"m" = {}'
    files = {
        "test": provider_file(upstream.url, models=models),
        "ant": provider_file(upstream.url, models=models, name="Ant", dialects=("anthropic_messages",)),
    }
    gateway = start_gateway(providers=files)
    mine, others = gateway.new_key()["key"], gateway.new_key()["key"]
    openai_client = gateway.client(mine, default_headers={"keyward-provider": "test"})
    file = upload(openai_client).id
    answer = openai_client.responses.create(model="test/m", input="Hi")
    item = {"type": "message", "role": "user", "content": [{"type": "input_file", "file_id": file}, {"type": "input_text", "text": "Say it"}]}
    said = [{"role": "user", "content": [{"type": "document", "source": {"type": "file", "file_id": file}}]}]
    ask = lambda key, path, body, **headers: gateway.request("POST", path, json.dumps(body).encode(), key, keyward_provider="test", **headers)  # noqa: E731
    own = {}
    for key in (mine, others):
        own[key] = ask(key, "/v1/conversations", {}).json()["id"]
        upstream.serve_at("POST", f"/conversations/{own[key]}/items", items)
    anthropic = {"anthropic_version": "2023-06-01"}
    calls = [
        lambda key: ask(key, "/v1/conversations", {"items": [item]}),
        lambda key: ask(key, f"/v1/conversations/{own[key]}/items", {"items": [item]}),
        lambda key: ask(key, "/v1/responses/input_tokens", {"model": "test/m", "input": [item]}),
        lambda key: ask(key, "/v1/responses/input_tokens", {"model": "test/m", "input": "Hi", "previous_response_id": answer.id}),
        lambda key: ask(key, "/v1/responses/input_tokens", {"model": "test/m", "input": "Hi", "conversation": own[mine]}),
        lambda key: ask(key, "/v1/messages/count_tokens", {"model": "ant/m", "messages": said}, **anthropic),
        lambda key: ask(key, "/v1/messages/batches", {"requests": [{"custom_id": "1", "params": {"model": "ant/m", "max_tokens": 5, "messages": said}}]}, **anthropic),
    ]
    for number, call in enumerate(calls):
        before = len(upstream.requests)
        refused = call(others)
        assert refused.status == 404 and "_not_found" in refused.body.decode().replace("not_found_error", "_not_found"), (number, refused)
        assert len(upstream.requests) == before, number
        # Whose it is may name it, where the provider that keeps it is asked.
        if number < 5:
            assert call(mine).status == 200, (number, call(mine))
        else:
            assert "at 'test'" in call(mine).body.decode() or "by 'test'" in call(mine).body.decode()
