"""Images, sound and moderations: passed through to a provider that has them, with the official SDK, and forms that are never whole in memory."""

import contextlib
import email
import email.policy
import http.client
import json
import pathlib
import socket
import threading
import time

import openai
import pytest

import upstream as provider
from gateway import ROOT
from gateway import provider as provider_file
from test_limits import code
from upstream import Answer, Upstream

MP3 = bytes(range(256)) * 40
IMAGE_USAGE = {"input_tokens": 50, "output_tokens": 4000, "total_tokens": 4050, "input_tokens_details": {"text_tokens": 10, "image_tokens": 40}}
IMAGES = {"created": 1760000000, "data": [{"b64_json": "iVBORw0KGgo="}], "usage": IMAGE_USAGE}
TRANSCRIPT = {"text": "Grüß Gott.", "usage": {"type": "tokens", "input_tokens": 14, "output_tokens": 45, "total_tokens": 59, "input_token_details": {"text_tokens": 4, "audio_tokens": 10}}}
PRICED = '"gpt-image-1" = { price = { input = 5.0, output = 40.0 } }\n"whisper-1" = { price = { input = 6.0, output = 6.0, input_audio = 9.0 } }'


def fields(asked):
    """The parts of a form as `{name: (filename, bytes)}`, read by Python's own parser."""
    head = f"content-type: {asked.headers['content-type']}\r\n\r\n".encode()
    form = email.message_from_bytes(head + asked.body, policy=email.policy.HTTP)
    assert form.is_multipart() and not form.defects
    return {
        part.get_param("name", header="content-disposition"): (part.get_filename(), part.get_payload(decode=True)) for part in form.iter_parts()
    }


def form(*parts, boundary="wall"):
    """A form's bytes: parts are `(name, filename, bytes)`."""
    out = b""
    for name, filename, value in parts:
        file = f'; filename="{filename}"' if filename else ""
        out += f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'.encode() + value + b"\r\n"
    return out + f"--{boundary}--\r\n".encode()


def send(gateway, key, body, path="/v1/audio/transcriptions", **headers):
    return gateway.request("POST", path, body, key, content_type="multipart/form-data; boundary=wall", **headers)


# Images.


def test_image_as_the_sdk_asks(client, direct, upstream):
    upstream.serve_at("POST", "/images/generations", provider.answer_json(IMAGES))
    asked = {"prompt": "A lighthouse", "size": "1024x1024", "quality": "low", "background": "transparent"}
    answer = client.images.generate(model="test/gpt-image-1", **asked)
    assert answer == direct.images.generate(model="gpt-image-1", **asked)
    assert upstream.requests[0].body == upstream.requests[1].body
    assert upstream.requests[0].headers["authorization"] == "Bearer sk-upstream-credential"


def test_image_streamed(client, upstream):
    partial = {"type": "image_generation.partial_image", "b64_json": "aGk=", "partial_image_index": 0}
    done = {"type": "image_generation.completed", "b64_json": "aGk=" * 9, "usage": IMAGE_USAGE}
    upstream.serve_at("POST", "/images/generations", provider.answer_events([partial, done]))
    events = list(client.images.generate(model="test/gpt-image-1", prompt="A lighthouse", stream=True, partial_images=1))
    assert [event.type for event in events] == ["image_generation.partial_image", "image_generation.completed"]
    assert events[-1].usage.output_tokens == 4000


def test_image_is_metered_and_priced(start_gateway, upstream):
    upstream.serve_at("POST", "/images/generations", provider.answer_json(IMAGES))
    gateway = start_gateway(providers={"test": provider_file(upstream.url, models=PRICED)})
    key = gateway.new_key()
    gateway.client(key["key"]).images.generate(model="test/gpt-image-1", prompt="A lighthouse")
    row = gateway.usage("key", key["id"], 1)
    assert (row["requests"], row["input_tokens"], row["output_tokens"]) == (1, 50, 4000)
    assert row["cost_nano_usd"] == round((50 * 5.0 + 4000 * 40.0) * 1000)
    assert '"operation":"images"' in gateway.log()


def image(gateway, key, **fields):
    body = json.dumps({"model": "test/gpt-image-1", "prompt": "A lighthouse", **fields}).encode()
    return gateway.request("POST", "/v1/images/generations", body, key)


def test_budget_holds_for_images(start_gateway, upstream):
    upstream.serve_at("POST", "/images/generations", provider.answer_json(IMAGES))
    # One may cost 0.2 and the little that its prompt takes.
    models = '"gpt-image-1" = { context = 0, max_output = 5000, price = { input = 5.0, output = 40.0 } }'
    gateway = start_gateway(providers={"test": provider_file(upstream.url, models=models)})
    key = gateway.new_key(budget="0.5/ever")
    refused = image(gateway, key["key"], n=3)
    assert code(refused) == (402, "budget_exceeded")
    # How many there are to be, some read in another word.
    refused = image(gateway, key["key"], num_images=3)
    assert code(refused) == (403, "unknown_field_with_budget") and "'num_images'" in refused.json()["error"]["message"]
    assert image(gateway, key["key"], n=2, quality="high", style=None).status == 200
    row = gateway.usage("key", key["id"], 1)
    assert row["cost_nano_usd"] == round((50 * 5.0 + 4000 * 40.0) * 1000)
    # Which picture a form asks for, and how many, may stand at its end.
    edit = form(("model", None, b"test/gpt-image-1"), ("image", "a.png", b"\x89PNG"))
    refused = send(gateway, key["key"], edit, "/v1/images/edits")
    assert code(refused) == (403, "model_without_limit")
    assert [asked.path for asked in upstream.requests] == ["/v1/images/generations"]


@pytest.mark.parametrize("mib", [0, 2], ids=["small", "large"])
def test_budget_holds_for_pictures_that_a_form_asks_for_at_its_end(start_gateway, upstream, mib):
    upstream.serve_at("POST", "/images/edits", provider.answer_json(IMAGES))
    models = '"gpt-image-1" = { context = 1000, max_output = 5000, price = { input = 5.0, output = 40.0 } }'
    gateway = start_gateway(providers={"test": provider_file(upstream.url, models=models)})
    key = gateway.new_key(budget="0.5/ever")["key"]
    told = {"n": "50", "num_images": "2", "N": "2", "partial_images": "9"}
    for name, value in told.items():
        edit = form(("model", None, b"test/gpt-image-1"), ("image[]", "a.png", b"\x89PNG" + bytes(mib << 20)), (name, None, value.encode()))
        told[name] = code(send(gateway, key, edit, "/v1/images/edits"))
    unknown = (403, "unknown_field_with_budget")
    assert told == {"n": (402, "budget_exceeded"), "num_images": unknown, "N": unknown, "partial_images": (402, "budget_exceeded")}
    assert upstream.requests == []
    edit = form(("image", "a.png", b"\x89PNG" + bytes(mib << 20)), ("n", None, b"2"), ("size", None, b"auto"), ("model", None, b"test/gpt-image-1"))
    assert send(gateway, key, edit, "/v1/images/edits").status == 200


def test_images_that_nobody_counts_are_charged_as_reserved(start_gateway, upstream):
    upstream.serve_at("POST", "/images/generations", provider.answer_json({**IMAGES, "usage": None}))
    models = '"gpt-image-1" = { max_output = 5000, price = { input = 5.0, output = 40.0 } }'
    gateway = start_gateway(providers={"test": provider_file(upstream.url, models=models)})
    key = gateway.new_key(budget="0.3/ever")
    assert [image(gateway, key["key"]).status for _ in range(2)] == [200, 402]
    assert 200_000_000 <= gateway.usage("key", key["id"], 1)["cost_nano_usd"] < 201_000_000


@pytest.mark.parametrize("facts", ["", "context = 0, max_output = 0, "], ids=["silent", "zero"])
def test_budget_takes_no_image_whose_most_is_unknown(start_gateway, upstream, facts):
    models = f'"gpt-image-1" = {{ {facts}price = {{ input = 5.0, output = 40.0 }} }}'
    gateway = start_gateway(providers={"test": provider_file(upstream.url, models=models)})
    refused = image(gateway, gateway.new_key(budget="100/ever")["key"])
    assert code(refused) == (403, "model_without_limit")
    assert "max_tokens" not in refused.json()["error"]["message"]
    assert upstream.requests == []


def test_image_edit_is_a_form_with_nothing_but_the_model_changed(client, upstream):
    upstream.serve_at("POST", "/images/edits", provider.answer_json(IMAGES))
    answer = client.images.edit(model="test/gpt-image-1", image=[("a.png", b"\x89PNG a"), ("b.png", b"\x89PNG b")], prompt="A hat")
    assert answer.data[0].b64_json == "iVBORw0KGgo="
    sent = upstream.requests[-1]
    assert b"\x89PNG a" in sent.body and b"\x89PNG b" in sent.body
    assert fields(sent)["model"] == (None, b"gpt-image-1")
    assert int(sent.headers["content-length"]) == len(sent.body)


# Sound.


def test_speech_comes_as_bytes(client, upstream):
    upstream.serve_at("POST", "/audio/speech", Answer(MP3, headers={"content-type": "audio/mpeg"}, stream=True))
    with client.audio.speech.with_streaming_response.create(model="test/tts-1", voice="alloy", input="Grüß Gott") as answer:
        assert answer.headers["content-type"] == "audio/mpeg"
        assert answer.headers["keyward-provider"] == "test"
        assert b"".join(answer.iter_bytes()) == MP3
    assert upstream.requests[-1].json()["model"] == "tts-1"


def test_speech_is_not_held_back(gateway, key, upstream):
    hold = provider.Hold(after=100)
    upstream.serve_at("POST", "/audio/speech", Answer(MP3, headers={"content-type": "audio/mpeg"}, stream=True, hold=hold))
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=20)
    body = json.dumps({"model": "test/tts-1", "voice": "alloy", "input": "Hi"})
    connection.request("POST", "/v1/audio/speech", body, {"authorization": f"Bearer {key}", "content-type": "application/json"})
    answer = connection.getresponse()
    assert answer.read(100) == MP3[:100]
    hold.released.set()
    assert answer.read() == MP3[100:]
    connection.close()


def test_speech_as_events(client, upstream):
    events = [{"type": "speech.audio.delta", "audio": "aGk="}, {"type": "speech.audio.done", "usage": {"input_tokens": 3, "output_tokens": 9, "total_tokens": 12}}]
    upstream.serve_at("POST", "/audio/speech", provider.answer_events(events))
    with client.audio.speech.with_streaming_response.create(model="test/tts-1", voice="alloy", input="Hi", stream_format="sse") as answer:
        assert "speech.audio.done" in answer.read().decode()


@pytest.mark.parametrize("operation", ["transcriptions", "translations"])
def test_transcription_of_a_large_file(client, upstream, operation):
    sound = MP3 * 512
    upstream.serve_at("POST", f"/audio/{operation}", provider.answer_json(TRANSCRIPT))
    answer = getattr(client.audio, operation).create(model="test/whisper-1", file=("a.mp3", sound, "audio/mpeg"), prompt="Bavarian")
    assert answer.text == "Grüß Gott."
    sent = upstream.requests[-1]
    assert len(sound) == 5 << 20
    assert fields(sent) == {"model": (None, b"whisper-1"), "prompt": (None, b"Bavarian"), "file": ("a.mp3", sound)}


def test_transcription_streamed(client, upstream):
    events = [{"type": "transcript.text.delta", "delta": "Grüß"}, {"type": "transcript.text.done", "text": "Grüß Gott.", "usage": TRANSCRIPT["usage"]}]
    upstream.serve_at("POST", "/audio/transcriptions", provider.answer_events(events))
    stream = client.audio.transcriptions.create(model="test/gpt-4o-transcribe", file=("a.mp3", MP3), stream=True)
    assert [event.type for event in stream] == ["transcript.text.delta", "transcript.text.done"]
    assert fields(upstream.requests[-1])["stream"] == (None, b"true")


@pytest.mark.parametrize(("format", "text"), [("text", "Grüß Gott.\n"), ("srt", "1\n00:00:00,000 --> 00:00:01,000\nGrüß Gott.\n"), ("vtt", "WEBVTT\n\nGrüß")])
def test_transcription_as_text(client, upstream, format, text):
    upstream.serve_at("POST", "/audio/transcriptions", Answer(text.encode(), headers={"content-type": "text/plain; charset=utf-8"}))
    assert client.audio.transcriptions.create(model="test/whisper-1", file=("a.mp3", MP3), response_format=format) == text


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_the_model_may_come_after_the_file(gateway, key, upstream, chunked):
    upstream.serve_at("POST", "/audio/transcriptions", provider.answer_json(TRANSCRIPT))
    sound = MP3 * 512
    parts = lambda model: form(("file", "a.mp3", sound), ("model", None, model), ("language", None, b"de"))
    body = parts(b"test/whisper-1")
    pieces = (body[at : at + 65_537] for at in range(0, len(body), 65_537))
    reply = send(gateway, key, pieces if chunked else body)
    assert (reply.status, reply.json()["text"]) == (200, "Grüß Gott.")
    assert upstream.requests[-1].body == parts(b"whisper-1")
    assert list(pathlib.Path(gateway.folder / "data").glob("*.upload")) == []


def test_transcription_is_metered_and_priced(start_gateway, upstream):
    upstream.serve_at("POST", "/audio/transcriptions", provider.answer_json(TRANSCRIPT))
    gateway = start_gateway(providers={"test": provider_file(upstream.url, models=PRICED)})
    key = gateway.new_key()
    gateway.client(key["key"]).audio.transcriptions.create(model="test/whisper-1", file=("a.mp3", MP3))
    row = gateway.usage("key", key["id"], 1)
    assert (row["input_tokens"], row["output_tokens"], row["cost_nano_usd"]) == (14, 45, (4 * 6 + 10 * 9 + 45 * 6) * 1000)


def test_transcription_by_duration_has_no_price(start_gateway, upstream):
    upstream.serve_at("POST", "/audio/transcriptions", provider.answer_json({"text": "Hi", "usage": {"type": "duration", "seconds": 9}}))
    gateway = start_gateway(providers={"test": provider_file(upstream.url, models=PRICED)})
    key = gateway.new_key()
    gateway.client(key["key"]).audio.transcriptions.create(model="test/whisper-1", file=("a.mp3", MP3))
    row = gateway.usage("key", key["id"], 1)
    assert (row["unpriced"], row["input_tokens"], row["cost_nano_usd"]) == (1, 0, 0)


def rss(pid):
    [line] = [line for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS")]
    return int(line.split()[1]) / 1024


@pytest.mark.parametrize("order", ["model first", "file first"])
def test_a_large_upload_is_never_whole_in_memory(start_gateway, upstream, order):
    upstream.serve_at("POST", "/audio/transcriptions", provider.answer_json(TRANSCRIPT))
    gateway = start_gateway()
    key = gateway.new_key()["key"]
    parts = [("model", None, b"test/whisper-1"), ("file", "a.mp3", bytes(1 << 20) * 50)]
    body = form(*(parts if order == "model first" else reversed(parts)))
    send(gateway, key, form(("model", None, b"test/whisper-1"), ("file", "a.mp3", b"warm")))
    before = peak = rss(gateway.process.pid)
    done = threading.Event()

    def watch():
        nonlocal peak
        while not done.wait(0.002):
            peak = max(peak, rss(gateway.process.pid))

    watcher = threading.Thread(target=watch)
    watcher.start()
    reply = send(gateway, key, body)
    done.set()
    watcher.join()
    print(f"{order}: {peak - before:.1f} MiB for {len(body) >> 20} MiB")
    assert reply.status == 200 and len(upstream.requests[-1].body) == len(body) - len("test/")
    assert peak - before < 12


def test_an_upload_that_is_not_whole_never_ends_at_the_provider(gateway, key, upstream):
    upstream.serve_at("POST", "/audio/transcriptions", provider.answer_json(TRANSCRIPT))
    model = form(("model", None, b"test/whisper-1"))[: -len("--wall--\r\n")]
    head = f"POST /v1/audio/transcriptions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\ncontent-type: multipart/form-data; boundary=wall\r\n"
    for bad in (form(("model", None, b"test/other")), b'--wall\r\nContent-Disposition: form-data; name="file"\r\n\r\nhalf', b""):
        with socket.create_connection(("127.0.0.1", gateway.port), timeout=20) as connection:
            connection.sendall(f"{head}transfer-encoding: chunked\r\nconnection: close\r\n\r\n".encode())
            for piece in (model + form(("file", "a.mp3", MP3 * 8))[: -len("--wall--\r\n")], bad):
                if piece:
                    connection.sendall(b"%x\r\n%b\r\n" % (len(piece), piece))
            connection.sendall(b"0\r\n\r\n")
            answer = connection.makefile("rb").read()
        assert b" 400 " in answer.splitlines()[0] and b"form_broken" in answer, answer[:300]
    assert upstream.requests == []


def test_an_upload_has_a_limit(start_gateway, upstream):
    gateway = start_gateway(env={"KEYWARD_LIMITS_UPLOAD_MIB": "1"})
    key = gateway.new_key()["key"]
    body = form(("model", None, b"test/whisper-1"), ("file", "a.mp3", bytes(2 << 20)))
    announced = send(gateway, key, body)
    streamed = send(gateway, key, iter([body[: 1 << 19], body[1 << 19 :]]))
    for reply in (announced, streamed):
        assert (reply.status, reply.json()["error"]["code"]) == (413, "upload_too_large")
    assert upstream.requests == []


@pytest.mark.parametrize("order", ["model first", "file first"])
def test_a_provider_may_refuse_an_upload_before_its_end(start_gateway, order):
    error = provider.error(413, "Maximum content size limit exceeded.").body
    with socket.create_server(("127.0.0.1", 0)) as server:

        def refuse():
            connection, _ = server.accept()
            with connection:
                connection.recv(1 << 16)
                connection.sendall(b"HTTP/1.1 413 X\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(error))
                time.sleep(0.2)
                connection.sendall(error)
                with contextlib.suppress(ConnectionError):
                    while connection.recv(1 << 16):
                        pass

        refusing = threading.Thread(target=refuse)
        refusing.start()
        gateway = start_gateway(providers={"test": provider_file(f"http://127.0.0.1:{server.getsockname()[1]}/v1")})
        parts = [("model", None, b"test/whisper-1"), ("file", "a.mp3", bytes(20 << 20))]
        reply = send(gateway, gateway.new_key()["key"], form(*(parts if order == "model first" else reversed(parts))))
        refusing.join(timeout=10)
        assert not refusing.is_alive()
    assert (reply.status, reply.json()["error"]["message"]) == (413, "Maximum content size limit exceeded.")
    assert reply.headers["keyward-provider"] == "test"


@pytest.mark.parametrize("status", [429, 503])
def test_a_small_form_is_sent_again(gateway, key, upstream, status):
    answers = [provider.error(status, retry_after="0.05"), provider.answer_json(TRANSCRIPT)]
    upstream.serve_at("POST", "/audio/transcriptions", lambda _: answers.pop(0))
    reply = send(gateway, key, form(("file", "a.mp3", MP3), ("model", None, b"test/whisper-1")))
    assert reply.status == 200
    assert upstream.requests[0].body == upstream.requests[1].body


def test_what_a_form_is_refused_for(gateway, key, upstream):
    json_body = gateway.request("POST", "/v1/audio/transcriptions", b"{}", key)
    assert (json_body.status, json_body.json()["error"]["code"]) == (415, "content_type")
    unknown = send(gateway, key, form(("model", None, b"nobody/x"), ("file", "a.mp3", MP3)))
    assert (unknown.status, unknown.json()["error"]["code"]) == (404, "model_not_found")
    narrow = gateway.new_key(models="test/gpt-*")["key"]
    refused = send(gateway, narrow, form(("file", "a.mp3", MP3), ("model", None, b"test/whisper-1")))
    assert (refused.status, refused.json()["error"]["code"]) == (403, "model_not_allowed")
    assert upstream.requests == []


# Moderations, and what is the same for all.


def test_moderation_with_and_without_a_model(client, upstream):
    result = {"flagged": False, "categories": {}, "category_scores": {}, "category_applied_input_types": {}}
    upstream.serve_at("POST", "/moderations", provider.answer_json({"id": "modr-1", "model": "omni-moderation-latest", "results": [result]}))
    assert client.moderations.create(model="test/omni-moderation-latest", input="Hi").id == "modr-1"
    assert upstream.requests[-1].json() == {"model": "omni-moderation-latest", "input": "Hi"}
    assert client.moderations.create(input="Hi").results[0].flagged is False
    assert upstream.requests[-1].json() == {"input": "Hi"}


def test_moderations_of_openai_are_free_and_so_pass_a_hard_budget(start_gateway, upstream):
    text = (ROOT / "providers" / "openai.toml").read_text().replace("https://api.openai.com/v1", upstream.url)
    gateway = start_gateway(providers={"openai": text}, env={"OPENAI_API_KEY": "sk-told"})
    upstream.serve_at("POST", "/moderations", provider.answer_json({"id": "modr-1", "model": "omni-moderation-latest", "results": []}))
    key = gateway.new_key(budget="0.01/ever")
    assert gateway.client(key["key"]).moderations.create(model="openai/omni-moderation-latest", input="Hi").id == "modr-1"
    assert gateway.usage("key", key["id"], 1)["cost_nano_usd"] == 0


def test_without_a_model_the_provider_has_to_be_clear(start_gateway, upstream):
    other = Upstream()
    files = {"test": provider_file(upstream.url), "other": provider_file(other.url, credential="OTHER_KEY")}
    gateway = start_gateway(providers=files, env={"OTHER_KEY": "sk-other"})
    client = gateway.client(gateway.new_key()["key"])
    other.serve_at("POST", "/moderations", provider.answer_json({"id": "modr-2", "model": "m", "results": []}))
    with pytest.raises(openai.BadRequestError) as refused:
        client.moderations.create(input="Hi")
    assert refused.value.code == "provider_ambiguous" and "other, test" in str(refused.value)
    assert client.moderations.create(input="Hi", extra_headers={"keyward-provider": "other"}).id == "modr-2"
    assert "keyward-provider" not in other.requests[-1].headers
    with pytest.raises(openai.NotFoundError):
        client.moderations.create(input="Hi", extra_headers={"keyward-provider": "nobody"})
    other.close()


def test_a_provider_that_has_no_such_operation_is_named(start_gateway, upstream):
    anthropic = provider_file(upstream.url, name="Claude's", credential="OTHER_KEY").replace('["openai_chat", "openai_responses"]', '["anthropic_messages"]')
    files = {"test": provider_file(upstream.url), "claude": anthropic}
    gateway = start_gateway(providers=files, env={"OTHER_KEY": "sk-other"})
    client = gateway.client(gateway.new_key()["key"])
    upstream.serve_at("POST", "/images/generations", Answer(b"<h1>Not found</h1>", 404, {"content-type": "text/html"}))
    for model, spoken in (("claude/opus", "anthropic_messages"), ("test/gpt-4o-mini", "openai_chat, openai_responses"), ("simulator/echo", "openai_chat")):
        with pytest.raises(openai.APIStatusError) as refused:
            client.images.generate(model=model, prompt="A lighthouse")
        assert (refused.value.status_code, refused.value.code) == (501, "operation_not_served")
        assert spoken in str(refused.value) and "images" in str(refused.value)


def test_a_providers_own_error_is_passed_on(client, upstream):
    upstream.serve_at("POST", "/images/generations", provider.error(404, "The model 'x' does not exist", code="model_not_found"))
    with pytest.raises(openai.NotFoundError) as refused:
        client.images.generate(model="test/x", prompt="A lighthouse")
    assert (refused.value.code, refused.value.body["provider"]) == ("model_not_found", "test")


# Counting tokens, by the dialects that can.


@pytest.fixture
def counting(start_gateway, upstream):
    def file(dialect, name):
        return provider_file(upstream.url, name=name, models='"m" = {}').replace('["openai_chat", "openai_responses"]', f'["{dialect}"]')

    return start_gateway(providers={"claude": file("anthropic_messages", "Claude's"), "google": file("gemini", "Google's")})


@pytest.mark.parametrize("prefix", ["", "/anthropic"])
def test_anthropics_tokens_are_counted_for_nothing(counting, upstream, prefix):
    key = counting.new_key()
    upstream.serve_at("POST", "/messages/count_tokens", provider.answer_json({"input_tokens": 14}))
    body = {"model": "claude/m", "messages": [{"role": "user", "content": "Hi"}]}
    headers = {"x_api_key": key["key"], "anthropic_beta": "token-counting-2024-11-01"}
    reply = counting.request("POST", f"{prefix}/v1/messages/count_tokens", json.dumps(body), **headers)
    assert (reply.status, reply.json()) == (200, {"input_tokens": 14})
    assert upstream.requests[-1].json() == body | {"model": "m"}
    assert upstream.requests[-1].headers["anthropic-beta"] == headers["anthropic_beta"]
    row = counting.usage("key", key["id"], 1)
    assert (row["requests"], row["input_tokens"], row["cost_nano_usd"], row["unpriced"]) == (1, 0, 0, 0)


def test_geminis_tokens_are_counted(counting, upstream):
    key = counting.new_key()["key"]
    upstream.serve_at("POST", "/models/m:countTokens", provider.answer_json({"totalTokens": 3}))
    body = json.dumps({"contents": [{"parts": [{"text": "Hi"}]}]}).encode()
    reply = counting.request("POST", "/v1beta/models/google/m:countTokens", body, x_goog_api_key=key)
    assert (reply.status, reply.json()) == (200, {"totalTokens": 3})
    assert upstream.requests[-1].body == body
    refused = counting.request("POST", "/v1beta/models/simulator/echo:countTokens", body, x_goog_api_key=key)
    assert refused.status == 501 and "does not serve 'count_tokens'" in refused.json()["error"]["message"]


def test_a_responses_input_is_counted(client, upstream):
    upstream.serve_at("POST", "/responses/input_tokens", provider.answer_json({"object": "response.input_tokens", "input_tokens": 11}))
    assert client.responses.input_tokens.count(model="test/gpt-4o-mini", input="Hi").input_tokens == 11
    assert upstream.requests[-1].json() == {"model": "gpt-4o-mini", "input": "Hi"}


@pytest.mark.parametrize(
    ("method", "path", "right"),
    [("GET", "/v1/images/generations", "POST"), ("DELETE", "/v1/files", "POST or GET"), ("PUT", "/v1/responses/resp_1", "GET or DELETE")],
)
def test_a_wrong_method_hears_the_right_ones(gateway, key, method, path, right):
    reply = gateway.request(method, path, key=key)
    assert (reply.status, reply.json()["error"]["code"]) == (405, "method_not_allowed")
    assert reply.json()["error"]["message"].endswith(f"use {right}.")
