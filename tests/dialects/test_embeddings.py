"""Embeddings and rankings by the official SDKs, through Keyward, of providers in every dialect that has them."""

import base64
import json
import pathlib
import struct
import sys

import cohere
import google.genai
import ollama
import openai
import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))

from gateway import Gateway  # noqa: E402
from upstream import Answer, Asked, Upstream  # noqa: E402

TEXTS = ["hello", "world"]
VECTORS = [[0.5, -0.25, 1.0], [0.125, 2.0, -3.0]]
TOKENS = 7
MODELS = {
    "openai_chat": "text-embedding-3-small", "gemini": "gemini-embedding-001", "cohere_v2": "embed-v4.0", "ollama": "nomic-embed-text",
    "bedrock_converse": "amazon.titan-embed-text-v2:0",
}


class Provider(Upstream):
    """Makes the same vectors in each dialect, as the providers' references have them."""

    def answer_to(self, asked: Asked):
        path, body = asked.path, asked.json()
        if path.endswith("/rerank"):
            ranked = [{"index": 1, "relevance_score": 0.9}, {"index": 0, "relevance_score": 0.1}]
            if path.startswith("/cohere_v2/"):
                answer = {"id": "r1", "results": ranked, "meta": {"api_version": {"version": "2"}, "billed_units": {"search_units": 1}}}
            else:
                answer = {"object": "list", "model": body["model"], "results": ranked, "usage": {"total_tokens": TOKENS}}
        elif path.startswith("/openai_chat/"):
            form = as_base64 if body.get("encoding_format") == "base64" else list
            data = [{"object": "embedding", "index": at, "embedding": form(vector)} for at, vector in enumerate(VECTORS[: len(body["input"])])]
            answer = {"object": "list", "data": data, "model": body["model"], "usage": {"prompt_tokens": TOKENS, "total_tokens": TOKENS}}
        elif path.endswith(":embedContent"):
            answer = {"embedding": {"values": VECTORS[0]}}
        elif path.startswith("/gemini/"):
            answer = {"embeddings": [{"values": vector} for vector in VECTORS[: len(body["requests"])]], "usageMetadata": {"promptTokenCount": TOKENS}}
        elif path.startswith("/cohere_v2/"):
            answer = {"id": "e1", "embeddings": {"float": VECTORS[: len(body["texts"])]}, "texts": body["texts"], "response_type": "embeddings_by_type",
                      "meta": {"api_version": {"version": "2"}, "billed_units": {"input_tokens": TOKENS}}}
        elif path.startswith("/ollama/"):
            inputs = [body["input"]] if isinstance(body.get("input"), str) else body.get("input")
            answer = {"model": body["model"], "embeddings": VECTORS[: len(inputs)], "prompt_eval_count": TOKENS} if inputs else {"embedding": VECTORS[0]}
        else:
            at = TEXTS.index(body["inputText"])
            answer = {"embedding": VECTORS[at], "inputTextTokenCount": [3, 4][at]}
        return Answer(json.dumps(answer).encode())


def as_base64(vector):
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


def provider_file(dialect, base):
    return f'name = "{dialect}"\ndocs = "https://example.com"\ndialects = ["{dialect}"]\nbase_url = "{base}/{dialect}"\nauth = "bearer"\ncredential = ["TEST_PROVIDER_KEY"]\n'


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    provider = Provider()
    base = provider.url.removesuffix("/v1")
    files = {dialect: provider_file(dialect, base) for dialect in MODELS}
    aliases = "".join(f'by-{dialect} = ["{dialect}/{model}", "openai_chat/none-such"]\n' for dialect, model in MODELS.items())
    gateway = Gateway(tmp_path_factory.mktemp("embeddings"), providers=files, config=f"[aliases]\n{aliases}", env={"TEST_PROVIDER_KEY": "sk-upstream-credential", "KEYWARD_UPSTREAM_ATTEMPTS": "1"})
    gateway.start()
    yield gateway, provider, gateway.new_key()["key"]
    gateway.stop()
    provider.close()


def by_openai(url, key, model):
    answer = openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0).embeddings.create(model=model, input=TEXTS)
    return [list(one.embedding) for one in answer.data], answer.usage.prompt_tokens


def by_openai_float(url, key, model):
    answer = openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0).embeddings.create(model=model, input=TEXTS, encoding_format="float")
    return [one.embedding for one in answer.data], answer.usage.prompt_tokens


def by_cohere(url, key, model):
    answer = cohere.ClientV2(api_key=key, base_url=url).embed(model=model, texts=TEXTS, input_type="search_query", embedding_types=["float"])
    return answer.embeddings.float_, answer.meta.billed_units.input_tokens


def by_gemini(url, key, model):
    client = google.genai.Client(api_key=key, http_options=google.genai.types.HttpOptions(base_url=url))
    answer = client.models.embed_content(model=model, contents=TEXTS)
    return [one.values for one in answer.embeddings], None


def by_ollama(url, key, model):
    answer = ollama.Client(host=url, headers={"authorization": f"Bearer {key}"}).embed(model=model, input=TEXTS)
    return [list(one) for one in answer.embeddings], answer.prompt_eval_count


@pytest.mark.parametrize("dialect", MODELS)
@pytest.mark.parametrize("ask", [by_openai, by_openai_float, by_cohere, by_gemini, by_ollama], ids=lambda ask: ask.__name__)
def test_vectors_are_the_same_through_every_sdk(world, ask, dialect):
    gateway, _, key = world
    vectors, tokens = ask(gateway.url, key, f"{dialect}/{MODELS[dialect]}")
    assert vectors == VECTORS
    assert tokens in (TOKENS, None)


@pytest.mark.parametrize("dialect", MODELS)
def test_an_alias_takes_the_right_answer_of_its_first_target(world, dialect):
    gateway, provider, key = world
    body = json.dumps({"model": f"by-{dialect}", "input": TEXTS}).encode()
    reply = gateway.request("POST", "/v1/embeddings", body, key)
    assert reply.headers["keyward-provider"] == dialect
    assert [one["embedding"] for one in reply.json()["data"]] == VECTORS
    assert "none-such" not in provider.requests[-1].path + provider.requests[-1].body.decode()


@pytest.mark.parametrize("dialect", MODELS)
def test_ollamas_older_path_makes_one_vector(world, dialect):
    gateway, _, key = world
    client = ollama.Client(host=gateway.url, headers={"authorization": f"Bearer {key}"})
    assert list(client.embeddings(model=f"{dialect}/{MODELS[dialect]}", prompt=TEXTS[0]).embedding) == VECTORS[0]


def test_the_same_dialect_passes_bytes_but_for_the_model(world):
    gateway, provider, key = world
    body = b'{ "model": "openai_chat/m",  "input":["hello"], "x": 1 }'
    reply = gateway.request("POST", "/v1/embeddings", body, key)
    assert reply.status == 200, reply.body
    assert provider.requests[-1].body == body.replace(b"openai_chat/m", b"m")


def test_what_is_dropped_is_named_and_tokens_are_refused(world):
    gateway, _, key = world
    reply = gateway.request("POST", "/v2/embed", json.dumps({"model": "openai_chat/m", "texts": ["hello"], "input_type": "search_query"}).encode(), key)
    assert (reply.status, reply.headers.get("keyward-dropped")) == (200, "input_type")
    reply = gateway.request("POST", "/v1/embeddings", json.dumps({"model": "cohere_v2/m", "input": [1, 2]}).encode(), key)
    assert (reply.status, reply.json()["error"]["code"]) == (400, "not_expressible")


@pytest.mark.parametrize("dialect", ["openai_chat", "cohere_v2"])
def test_rankings_are_the_same_in_both_shapes(world, dialect):
    gateway, _, key = world
    answer = cohere.ClientV2(api_key=key, base_url=gateway.url).rerank(model=f"{dialect}/m", query="q", documents=TEXTS, top_n=2)
    assert [(one.index, one.relevance_score) for one in answer.results] == [(1, 0.9), (0, 0.1)]
    body = {"model": f"{dialect}/m", "query": "q", "documents": TEXTS, "top_n": 2}
    reply = gateway.request("POST", "/v1/rerank", json.dumps(body).encode(), key)
    assert [(one["index"], one["relevance_score"]) for one in reply.json()["results"]] == [(1, 0.9), (0, 0.1)]
