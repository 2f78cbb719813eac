"""Google's files and batches by its own SDK: uploads in pieces through the gateway, and each key sees its own."""

import contextlib
import io
import socket
import urllib.parse

import openai
import pytest
from google import genai
from google.genai import errors, types

import upstream as provider
from gateway import eventually
from gateway import provider as provider_file
from upstream import Answer

CREDENTIAL = "sk-upstream-credential"
SECRET = "session-of-the-provider"
MIB = 1 << 20
CLIENTS = []  # One that nobody holds closes its connections, even in the middle of a call.


class Shelf:
    """A provider's files and batches, as the Gemini API answers for them; an upload's address is a secret of its own."""

    def __init__(self, upstream, page=2):
        self.upstream = upstream
        self.page = page
        self.things = {"files": {}, "batches": {}}
        self.uploads = {}
        self.on_piece = lambda number: None
        upstream.paths["POST", "/upload/v1/files"] = self.begin
        for kind in self.things:
            upstream.serve_at("GET", f"/{kind}", self.list)
        for model in ("flash", "pro"):
            for verb in ("batchGenerateContent", "asyncBatchEmbedContent"):
                upstream.serve_at("POST", f"/models/{model}:{verb}", self.batch)

    def begin(self, asked):
        number = len(self.uploads) + 1
        self.uploads[number] = [b"", asked]
        path = f"/resumable/{SECRET}-{number}"
        self.upstream.paths["POST", path] = lambda asked: self.piece(number, asked)
        address = f"{self.upstream.url.removesuffix('/v1')}{path}?key={CREDENTIAL}"
        return Answer(b"", headers={"x-goog-upload-url": address, "x-goog-upload-status": "active", "x-goog-upload-control-url": address})

    def piece(self, number, asked):
        upload = self.uploads[number]
        if int(asked.headers["x-goog-upload-offset"]) != len(upload[0]):
            return provider.answer_json({"error": {"code": 400, "message": f"Wrong offset at {asked.path}"}}, 400, x_goog_upload_status="final")
        upload[0] += asked.body
        self.on_piece(len(upload[0]))
        if "finalize" not in asked.headers["x-goog-upload-command"]:
            return Answer(b"", headers={"x-goog-upload-status": "active"})
        told = upload[1].json().get("file", {})
        file = {"name": told.get("name", f"files/shelf-{number}"), "mimeType": told.get("mimeType"), "sizeBytes": str(len(upload[0])), "state": "ACTIVE"}
        self.add("files", file | {"uri": f"https://generativelanguage.googleapis.com/v1beta/{file['name']}"})
        return provider.answer_json({"file": self.things["files"][file["name"]]}, x_goog_upload_status="final")

    def batch(self, asked):
        number = len(self.things["batches"]) + 1
        result = {"name": f"files/batch-result-{number}", "source": "GENERATED", "downloadUri": "https://x/files/y:download?alt=media"}
        self.add("files", result)
        metadata = {"state": "BATCH_STATE_SUCCEEDED", "model": "models/flash", "displayName": asked.json()["batch"].get("displayName", ""),
                    "output": {"responsesFile": result["name"]}}
        batch = {"name": f"batches/shelf{number}", "metadata": metadata}
        self.add("batches", batch)
        self.upstream.serve_at("POST", f"/{batch['name']}:cancel", provider.answer_json({}))
        return provider.answer_json({**batch, "metadata": {**metadata, "output": None, "state": "BATCH_STATE_PENDING"}})

    def add(self, kind, thing):
        self.things[kind][thing["name"]] = thing
        self.upstream.serve_at("GET", f"/{thing['name']}", provider.answer_json(thing))
        self.upstream.serve_at("DELETE", f"/{thing['name']}", provider.answer_json({}))
        self.upstream.serve_at("GET", f"/{thing['name']}:download", Answer(b'{"broken": ', headers={"content-type": "application/json"}))

    def list(self, asked):
        path, _, query = asked.path.removeprefix("/v1/").partition("?")
        query = dict(urllib.parse.parse_qsl(query))
        things = list(self.things[path].values())
        start, size = int(query.get("pageToken", 0)), int(query.get("pageSize", self.page))
        more = {"nextPageToken": str(start + size)} if start + size < len(things) else {}
        return provider.answer_json({{"files": "files", "batches": "operations"}[path]: things[start : start + size], **more})


def google_file(upstream, name="Google's", credential="TEST_PROVIDER_KEY", more=""):
    text = provider_file(upstream.url, name=name, credential=credential, models='"flash" = {}\n"pro" = {}')
    text = text.replace('["openai_chat", "openai_responses"]', '["gemini"]').replace('auth = "bearer"', 'auth = "header:x-goog-api-key"')
    return text.replace("[models]", f"{more}\n[models]")


@pytest.fixture
def shelf(upstream):
    return Shelf(upstream)


@pytest.fixture
def goog(start_gateway, upstream):
    return start_gateway(providers={"goog": google_file(upstream), "test": provider_file(upstream.url, models='"gpt-4o-mini" = {}')})


def sdk(gateway, key=None, version=None, **settings):
    key = key or gateway.new_key(name="someone", **settings)["key"]
    options = {"base_url": gateway.url} | ({"api_version": version} if version else {})
    CLIENTS.append(genai.Client(api_key=key, http_options=options))
    return CLIENTS[-1]


def upload(client, content=b"Hi", **settings):
    return client.files.upload(file=io.BytesIO(content), config={"mime_type": "text/plain", **settings})


@contextlib.contextmanager
def refused(status, *words):
    with pytest.raises(errors.APIError) as told:
        yield told
    assert told.value.code == status, told.value
    assert all(word in str(told.value.details) for word in words), told.value.details


def holds_no_secret(gateway):
    return CREDENTIAL not in gateway.log() and SECRET not in gateway.log()


# Files.


@pytest.mark.parametrize("version", [None, "v1beta", "v1alpha"])
def test_a_file_of_several_pieces_is_uploaded_listed_read_and_deleted(goog, upstream, shelf, version):
    key = goog.new_key()["key"]
    client = sdk(goog, key, version)
    content = bytes(range(256)) * (20 * MIB // 256)
    file = upload(client, content, display_name="Großes")
    whole, begun = shelf.uploads[1]
    assert whole == content and file.name == "files/shelf-1" and file.size_bytes == 20 * MIB
    assert begun.headers["x-goog-upload-header-content-length"] == str(20 * MIB) and begun.headers["x-goog-api-key"] == CREDENTIAL
    pieces = [asked for asked in upstream.requests if asked.path.startswith("/resumable/")]
    assert [len(asked.body) for asked in pieces] == [8 * MIB, 8 * MIB, 4 * MIB]
    assert all("x-goog-api-key" not in asked.headers and key not in str(asked.headers) for asked in pieces)
    assert client.files.get(name=file.name).name == file.name
    assert [listed.name for listed in client.files.list()] == [file.name]
    client.files.delete(name=file.name)
    with refused(404, "file_not_found"):
        client.files.get(name=file.name)
    assert holds_no_secret(goog)


def test_a_file_of_another_key_is_not_there(goog, upstream, shelf):
    client, other = sdk(goog), sdk(goog)
    file = upload(client)
    before = len(upstream.requests)
    for name in (file.name, "files/nobodys"):
        for call in (other.files.get, other.files.delete):
            with refused(404, "file_not_found"):
                call(name=name)
        with refused(404, "file_not_found"):
            other.files.download(file=name)
    assert len(upstream.requests) == before
    assert list(other.files.list()) == []
    assert client.files.download(file=file.name) == b'{"broken": '


def test_lists_have_the_keys_own_files_though_whole_pages_are_of_others(goog, upstream, shelf):
    client, other = sdk(goog), sdk(goog)
    own = [upload(client).name]
    for _ in range(5):
        upload(other)
    own.append(upload(client).name)
    assert [file.name for file in client.files.list()] == own
    assert [file.name for file in client.files.list(config={"page_size": 3})] == own
    reply = goog.request("GET", "/v1beta/files?pageSize=7&pageToken=0", x_goog_api_key=client._api_client.api_key)
    assert [file["name"] for file in reply.json()["files"]] == own and "nextPageToken" not in reply.json()


class Shelves(Shelf):
    """What two credentials keep apart, each with page tokens of its own."""

    def piece(self, number, asked):
        self.keeper = self.uploads[number][1].headers["x-goog-api-key"]
        return super().piece(number, asked)

    def add(self, kind, thing):
        super().add(kind, thing | {"keeper": self.keeper})

    def list(self, asked):
        path, _, query = asked.path.removeprefix("/v1/").partition("?")
        query, asks = dict(urllib.parse.parse_qsl(query)), asked.headers["x-goog-api-key"]
        whose, _, start = query.get("pageToken", f"{asks}@0").rpartition("@")
        if whose != asks:
            return provider.answer_json({"error": {"code": 400, "message": "Invalid page token.", "status": "INVALID_ARGUMENT"}}, 400)
        things = [thing for thing in self.things[path].values() if thing["keeper"] == asks]
        end = int(start) + int(query.get("pageSize", self.page))
        more = {"nextPageToken": f"{asks}@{end}"} if end < len(things) else {}
        return provider.answer_json({"files": things[int(start) : end], **more})


def test_files_by_several_credentials_are_one_list(start_gateway, upstream):
    shelves = Shelves(upstream)
    gateway = start_gateway(providers={"goog": google_file(upstream, credential="UNSET_KEY")})
    for name in ("one", "two"):
        gateway.admin("POST", "/credentials", {"name": name, "provider": "goog", "value": f"sk-goog-of-{name}"})
    client, other = sdk(gateway), sdk(gateway)
    own = []
    for name in ("two", "one"):
        gateway.admin("PATCH", f"/credentials/{name}", {"disabled": True})
        own += [upload(client).name for _ in range(3)]
        upload(other)
        gateway.admin("PATCH", f"/credentials/{name}", {"disabled": False})
    assert {file["keeper"] for file in shelves.things["files"].values()} == {"sk-goog-of-one", "sk-goog-of-two"}
    for size in (1, 2, 3, 4, 100):
        assert sorted(file.name for file in client.files.list(config={"page_size": size})) == sorted(own), size
    key = client._api_client.api_key
    first = gateway.request("GET", "/v1beta/files?pageSize=2", x_goog_api_key=key).json()
    assert len(first["files"]) == 2 and "sk-goog" not in first["nextPageToken"]
    for token in ("sk-goog-of-one@2", first["nextPageToken"][:-4] + "AAAA"):
        told = gateway.request("GET", f"/v1beta/files?pageToken={token}", x_goog_api_key=key)
        assert told.status == 400 and "list from the beginning" in told.json()["error"]["message"]


def test_a_key_that_is_revoked_in_the_middle_of_an_upload_goes_no_further(goog, upstream, shelf):
    made = goog.new_key()

    def revoke(received):
        goog.cli("keys", "revoke", made["id"])
        assert eventually(lambda: goog.request("GET", "/v1/models", key=made["key"]).status == 401)

    shelf.on_piece = revoke
    with refused(401, "key_revoked"):
        upload(sdk(goog, made["key"]), b"x" * (9 * MIB))
    assert len(shelf.uploads[1][0]) == 8 * MIB and not shelf.things["files"]


def begin(gateway, key, path="/upload/v1beta/files", **headers):
    start = {"x_goog_upload_protocol": "resumable", "x_goog_upload_command": "start", "x_goog_upload_header_content_length": "4", **headers}
    return gateway.request("POST", path, "{}", x_goog_api_key=key, **start)


def piece(gateway, address, content, offset=0, command="upload"):
    address = urllib.parse.urlsplit(address)
    return gateway.request("POST", f"{address.path}?{address.query}", content, x_goog_upload_command=command, x_goog_upload_offset=str(offset))


def test_an_uploads_address_is_the_gateways_and_good_for_that_upload_alone(goog, upstream, shelf):
    key = goog.new_key()["key"]
    begun = begin(goog, key)
    address = begun.headers["x-goog-upload-url"]
    assert begun.status == 200 and address.startswith(f"{goog.url}/upload/v1beta/files?upload_id=")
    assert begun.headers["x-goog-upload-status"] == "active" and "x-goog-upload-control-url" not in begun.headers
    assert not any(secret in str(begun) for secret in (SECRET, CREDENTIAL, key))
    sealed = urllib.parse.parse_qs(urllib.parse.urlsplit(address).query)["upload_id"][0]
    middle = len(sealed) // 2
    changed = sealed[:middle] + ("A" if sealed[middle] != "A" else "B") + sealed[middle + 1 :]
    before = len(upstream.requests)
    for forged in (changed, sealed[:-4], "x", ""):
        reply = piece(goog, address.replace(sealed, forged), b"Hi")
        assert (reply.status, reply.json()["error"]["details"][0]["reason"]) == (404, "upload_not_found")
        assert reply.headers["x-goog-upload-status"] == "cancelled"
    assert goog.request("GET", f"/v1beta/files?upload_id={sealed}").status == 401
    assert len(upstream.requests) == before
    assert piece(goog, address, b"Hi").headers["x-goog-upload-status"] == "active"
    wrong = piece(goog, address, b"Hi", offset=7)
    assert wrong.status == 400 and SECRET not in str(wrong) and wrong.headers["x-goog-upload-status"] == "final"
    done = piece(goog, address, b"Ho", offset=2, command="upload, finalize")
    assert done.json()["file"]["name"] == "files/shelf-1" and shelf.uploads[1][0] == b"HiHo"
    assert sdk(goog, key).files.get(name="files/shelf-1").name == "files/shelf-1"
    assert holds_no_secret(goog) and sealed not in goog.log()


def test_only_a_trusted_proxy_says_that_its_caller_came_by_https(start_gateway, goog, upstream, shelf):
    behind = start_gateway(providers={"goog": google_file(upstream)}, config='trusted_proxies = ["127.0.0.1"]\n')
    for gateway, scheme in ((behind, "https"), (goog, "http")):
        begun = begin(gateway, gateway.new_key()["key"], x_forwarded_proto="https")
        assert begun.headers["x-goog-upload-url"].startswith(f"{scheme}://127.0.0.1:{gateway.port}/upload/")


def test_a_piece_is_sent_on_as_it_comes(goog, upstream, shelf):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"http://127.0.0.1:{listener.getsockname()[1]}/{SECRET}"
        upstream.paths["POST", "/upload/v1/files"] = Answer(b"", headers={"x-goog-upload-url": address, "x-goog-upload-status": "active"})
        begun = urllib.parse.urlsplit(begin(goog, goog.new_key()["key"]).headers["x-goog-upload-url"])
        caller = socket.create_connection(("127.0.0.1", goog.port), timeout=20)
        head = f"POST {begun.path}?{begun.query} HTTP/1.1\r\nhost: x\r\nx-goog-upload-command: upload\r\nx-goog-upload-offset: 0\r\ncontent-length: 8\r\n\r\n"
        caller.sendall(head.encode() + b"half")
        connection, _ = listener.accept()
        connection.settimeout(20)
        seen = b""
        while not seen.endswith(b"\r\n\r\nhalf"):
            seen += connection.recv(4096)
        assert b"content-length: 8" in seen.lower()
        caller.sendall(b"rest")
        assert connection.recv(4) == b"rest"
        connection.sendall(b"HTTP/1.1 200 OK\r\nx-goog-upload-status: active\r\ncontent-length: 0\r\n\r\n")
        answer = caller.recv(4096)
        assert answer.startswith(b"HTTP/1.1 200") and b"x-goog-upload-status: active" in answer
        connection.close()
        caller.close()


def test_other_ways_to_upload_and_larger_files_are_refused(goog, upstream, shelf):
    key = goog.new_key()["key"]
    cases = [({"x_goog_upload_protocol": "multipart"}, 400), ({"x_goog_upload_command": "upload, finalize"}, 400),
             ({"x_goog_upload_header_content_length": str(1 << 40)}, 413), ({"x_goog_upload_header_content_length": "much"}, 400)]
    for headers, status in cases:
        assert begin(goog, key, **headers).status == status
    assert begin(goog, "kw_live_nonsense").status == 401 and not upstream.requests
    address = begin(goog, key).headers["x-goog-upload-url"]
    assert piece(goog, address, b"Hi", command="delete").status == 400
    assert piece(goog, address, b"Hi", offset=1 << 40).status == 413


def test_a_key_for_other_models_uploads_nothing(goog, upstream, shelf):
    for settings in ({"models": "test/*"}, {"kind": "test"}):
        with pytest.raises((errors.APIError, KeyError)):
            upload(sdk(goog, **settings))
    assert begin(goog, goog.new_key(models="test/*")["key"]).status == 403
    assert not upstream.requests


def test_a_file_is_used_by_its_own_key_alone_in_whatever_dialect(goog, upstream, shelf):
    mine, others = goog.new_key()["key"], goog.new_key()["key"]
    file = upload(sdk(goog, mine))
    answer = {"candidates": [{"content": {"role": "model", "parts": [{"text": "Servus"}]}, "finishReason": "STOP"}], "usageMetadata": {}}
    upstream.serve_at("POST", "/models/flash:generateContent", provider.answer_json(answer))

    def ask(key, uri):
        part = types.Part.from_uri(file_uri=uri, mime_type="image/png")
        return sdk(goog, key).models.generate_content(model="goog/flash", contents=[part])

    def ask_by_openai(key):
        content = [{"type": "image_url", "image_url": {"url": file.uri}}]
        return goog.client(key).chat.completions.create(model="goog/flash", messages=[{"role": "user", "content": content}])

    assert ask(mine, file.uri).text == "Servus" and file.uri in upstream.requests[-1].body.decode()
    assert ask(others, "https://generativelanguage.googleapis.com/v1beta/files/unknown").text == "Servus"
    assert ask_by_openai(mine).choices[0].message.content == "Servus"
    before = len(upstream.requests)
    with refused(404, "file_not_found"):
        ask(others, file.uri)
    with refused(404, "file_not_found"):
        sdk(goog, others).models.count_tokens(model="goog/flash", contents=[types.Part.from_uri(file_uri=file.uri, mime_type="image/png")])
    with pytest.raises(openai.NotFoundError):
        ask_by_openai(others)
    assert len(upstream.requests) == before


# Batches.


def batch(client, *models, src=None, model="goog/flash"):
    inlined = [types.InlinedRequest(contents="Grüß Gott", **({"model": name} if name else {})) for name in models]
    return client.batches.create(model=model, src=src or inlined, config={"display_name": "Stapel"})


def test_a_batch_is_made_read_listed_cancelled_and_deleted_by_its_key(goog, upstream, shelf):
    client, other = sdk(goog), sdk(goog)
    made = batch(client, None, "goog/pro", "flash")
    sent = upstream.requests[-1]
    requests = [entry["request"] for entry in sent.json()["batch"]["inputConfig"]["requests"]["requests"]]
    assert sent.path.partition("?")[0] == "/v1/models/flash:batchGenerateContent"
    assert [request.get("model") for request in requests] == [None, "models/pro", "models/flash"] and requests[0]["contents"][0]["parts"][0]["text"] == "Grüß Gott"
    with refused(404, "file_not_found"):
        client.files.download(file="files/batch-result-1")
    batch(other, None)
    assert [listed.name for listed in client.batches.list(config={"page_size": 1})] == [made.name]
    read = client.batches.get(name=made.name)
    assert read.state == types.JobState.JOB_STATE_SUCCEEDED and read.dest.file_name == "files/batch-result-1"
    assert client.files.download(file=read.dest.file_name) == b'{"broken": '
    for call in (other.batches.get, other.batches.cancel, other.batches.delete):
        with refused(404, "batch_not_found"):
            call(name=made.name)
    with refused(404, "file_not_found"):
        other.files.download(file=read.dest.file_name)
    client.batches.cancel(name=made.name)
    client.batches.delete(name=made.name)
    with refused(404, "batch_not_found"):
        client.batches.get(name=made.name)


def test_a_batch_of_a_file_needs_the_file_and_all_models_of_its_provider(goog, upstream, shelf):
    client = sdk(goog)
    file = upload(client)
    assert batch(client, src=file.name).display_name == "Stapel"
    assert upstream.requests[-1].json()["batch"]["inputConfig"]["fileName"] == file.name
    with refused(404, "file_not_found"):
        batch(sdk(goog), src=file.name)
    narrow = sdk(goog, models="goog/flash")
    with refused(403, "model_not_allowed"):
        batch(narrow, src=upload(narrow).name)


def test_a_batch_of_vectors_is_made(goog, upstream, shelf):
    with pytest.warns():
        made = sdk(goog).batches.create_embeddings(model="goog/flash", src={"inlined_requests": {"contents": ["Servus"]}})
    assert made.name == "batches/shelf1" and upstream.requests[-1].path.partition("?")[0] == "/v1/models/flash:asyncBatchEmbedContent"


@pytest.mark.parametrize(
    "settings, models, status, word",
    [
        ({}, ["nobody/none"], 404, "nobody/none"),
        ({}, ["test/gpt-4o-mini"], 400, "one provider"),
        ({"models": "goog/flash"}, ["goog/pro"], 403, "goog/pro"),
        ({"budget": "5/day"}, ["flash"], 403, "batch_with_budget"),
    ],
)
def test_a_batch_that_its_key_may_not_have_is_refused_whole(goog, upstream, shelf, settings, models, status, word):
    with refused(status, word):
        batch(sdk(goog, **settings), *models)
    assert not upstream.requests


def test_a_file_of_another_key_is_in_no_batch(goog, upstream, shelf):
    file = upload(sdk(goog))
    part = types.Part.from_uri(file_uri=file.uri, mime_type="text/plain")
    before = len(upstream.requests)
    with refused(404, "file_not_found"):
        sdk(goog).batches.create(model="goog/flash", src=[types.InlinedRequest(contents=[part])])
    assert len(upstream.requests) == before


# Where none is.


def test_a_provider_that_has_none_says_so(start_gateway, upstream, shelf):
    vertex = google_file(upstream, name="Vertex's", more='[quirks]\nlacks = ["files", "batches"]\n')
    gateway = start_gateway(providers={"vertex": vertex, "test": provider_file(upstream.url)})
    client = sdk(gateway)
    assert begin(gateway, client._api_client.api_key).status == 501
    with refused(501, "operation_not_served"):
        client.files.list()
    for model in ("vertex/flash", "test/gpt-4o-mini"):
        with refused(501, "operation_not_served"):
            batch(client, None, model=model)
    assert not upstream.requests


def test_paths_that_are_none_are_refused_in_googles_words(goog, upstream, shelf):
    key = goog.new_key()["key"]
    cases = [
        ("PUT", "/v1/files/a", 405),
        ("POST", "/v1/batches/a:pause", 404), ("GET", "/v1/batches/a:cancel", 405), ("GET", "/v1/nothing", 404), ("GET", "/upload/v1/files", 405),
        ("GET", "/v1/files/a:b:c", 404), ("GET", "/v1beta/files/a%2fb", 404), ("POST", "/upload/v1/other", 404), ("POST", "/upload/v7/files", 404), ("GET", "/download/v1beta/files/a", 404),
    ]
    for method, path, status in cases:
        for way in ({"x_goog_api_key": key}, {}):
            if not way and not path.startswith("/v1/"):
                continue
            reply = goog.request(method, path if way else f"{path}?key={key}", **way)
            error = reply.json()["error"]
            assert (reply.status, error["code"]) == (status, status) and error["status"], (method, path, reply)
    assert not upstream.requests


def test_what_openai_alone_has_is_openais_wherever_the_key_stands(goog, upstream, shelf):
    key = goog.new_key()["key"]
    for method, path in [("GET", "/v1/files/a/content"), ("POST", "/v1/files"), ("POST", "/v1/batches")]:
        error = goog.request(method, path, x_goog_api_key=key).json()["error"]
        assert error["type"] == "invalid_request_error", (method, path, error)
    assert not upstream.requests


def test_openais_files_stay_openais(goog, upstream, shelf):
    client = goog.client(goog.new_key()["key"])
    upstream.serve_at("POST", "/files", provider.answer_json({"id": "file-1", "object": "file", "bytes": 2, "created_at": 1, "filename": "a", "purpose": "batch", "status": "processed"}))
    assert client.files.create(file=("a.jsonl", b"{}"), purpose="batch").id == "file-1"
    with pytest.raises(openai.NotFoundError):
        client.files.retrieve("shelf-1")
    with pytest.raises(openai.APIStatusError) as told:
        client.post("/batches/a:cancel", cast_to=object)
    assert told.value.status_code == 405 and told.value.body["type"] == "invalid_request_error"
