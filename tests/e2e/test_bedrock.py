"""boto3 through Keyward: a Converse request and its answer are what they are without it, and every refusal is the exception that fits."""

import http.client
import http.server
import json
import pathlib
import struct
import threading
import zlib

import boto3
import botocore.exceptions
import pytest
from botocore.config import Config

import gateway as under_test

MODEL = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
CREDENTIAL = "bedrock-api-key-upstream"
MESSAGES = [{"role": "user", "content": [{"text": "Say hello."}, {"image": {"format": "png", "source": {"bytes": b"\x89PNG"}}}]}]
WHOLE = {
    "output": {"message": {"role": "assistant", "content": [{"text": "Hello!"}]}},
    "stopReason": "end_turn",
    "usage": {"inputTokens": 9, "outputTokens": 3, "totalTokens": 12},
    "metrics": {"latencyMs": 7},
}
EVENTS = [
    ("messageStart", {"role": "assistant"}),
    ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "Hel"}}),
    ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "lo!"}}),
    ("contentBlockStop", {"contentBlockIndex": 0}),
    ("messageStop", {"stopReason": "end_turn"}),
    ("metadata", {"usage": WHOLE["usage"], "metrics": WHOLE["metrics"]}),
]


def frame(name, payload, kind="event"):
    """A message of an event stream, as AWS writes it."""
    texts = {f":{kind}-type": name, ":content-type": "application/json", ":message-type": kind}
    headers = b"".join(struct.pack(">B", len(key)) + key.encode() + struct.pack(">BH", 7, len(value)) + value.encode() for key, value in texts.items())
    body = json.dumps(payload).encode()
    head = struct.pack(">II", 16 + len(headers) + len(body), len(headers))
    message = head + struct.pack(">I", zlib.crc32(head)) + headers + body
    return message + struct.pack(">I", zlib.crc32(message))


class Provider:
    """Stands in for Bedrock: `answer` is a status and a body, or the pieces of a stream."""

    def __init__(self):
        self.asked, self.answer = [], (200, WHOLE)
        provider = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                provider.asked.append((self.path, headers, json.loads(body)))
                status, answer = provider.answer
                stream = isinstance(answer, bytes)
                data = answer if stream else json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("content-type", "application/vnd.amazon.eventstream" if stream else "application/json")
                self.send_header("x-amzn-requestid", "their-id")
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                for at in range(0, len(data), 41):
                    self.wfile.write(data[at : at + 41])
                    self.wfile.flush()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"


def bedrock_file(url):
    text = (pathlib.Path(under_test.ROOT) / "providers" / "amazon-bedrock.toml").read_text()
    return text.replace("https://bedrock-runtime.${AWS_REGION}.amazonaws.com", url)


@pytest.fixture
def bedrock(start_gateway):
    """A gateway whose Bedrock is the stand-in, with more variables for it."""

    def start(**env):
        provider = Provider()
        env = {"AWS_REGION": "us-east-1", **env}
        return start_gateway(providers={"amazon-bedrock": bedrock_file(provider.url)}, env=env), provider

    return start


def client(gateway, key):
    """boto3 with the key where it can have it over plain HTTP, which it refuses to send bearer tokens over."""
    return boto3.client(
        "bedrock-runtime",
        region_name="us-east-1",
        endpoint_url=f"http://127.0.0.1:{gateway.port}",
        aws_access_key_id=key,
        aws_secret_access_key="any",
        config=Config(retries={"total_max_attempts": 1}),
    )


def test_what_boto3_sends_and_reads_is_what_it_would_without(bedrock):
    gateway, provider = bedrock(AWS_BEARER_TOKEN_BEDROCK=CREDENTIAL)
    made = gateway.new_key(name="boto3")
    key = made["key"]
    sdk = client(gateway, key)
    answer = sdk.converse(modelId=f"amazon-bedrock/{MODEL}", messages=MESSAGES, inferenceConfig={"maxTokens": 5})
    assert {name: answer[name] for name in WHOLE} == WHOLE
    assert answer["ResponseMetadata"]["RequestId"] == "their-id"
    path, headers, body = provider.asked[-1]
    assert (path, headers["authorization"]) == (f"/model/{MODEL.replace(':', '%3A')}/converse", f"Bearer {CREDENTIAL}")
    assert body["messages"][0]["content"][1]["image"]["source"]["bytes"] == "iVBORw=="
    assert key not in json.dumps(headers)

    bearer = gateway.request("POST", path.replace("/model/", "/model/amazon-bedrock%2F"), json.dumps(body), key)
    assert (bearer.status, bearer.json()) == (200, WHOLE)
    provider.answer = (200, b"".join(frame(*event) for event in EVENTS))
    stream = sdk.converse_stream(modelId=f"amazon-bedrock/{MODEL}", messages=MESSAGES)["stream"]
    assert [next(iter(event.items())) for event in stream] == EVENTS
    assert provider.asked[-1][0].endswith("/converse-stream")
    gateway.usage("key", made["id"], 3)
    [used] = gateway.cli("usage", "--by", "model", "--key", made["id"])
    assert (used["group"], used["input_tokens"], used["output_tokens"]) == (f"amazon-bedrock/{MODEL}", 27, 9)


@pytest.mark.parametrize(
    ("status", "exception"),
    [
        (400, "ValidationException"),
        (403, "AccessDeniedException"),
        (404, "ResourceNotFoundException"),
        (424, "ModelErrorException"),
        (429, "ThrottlingException"),
        (503, "ServiceUnavailableException"),
    ],
)
def test_a_providers_error_is_the_exception_that_it_would_be_without(bedrock, status, exception):
    gateway, provider = bedrock(AWS_BEARER_TOKEN_BEDROCK=CREDENTIAL, KEYWARD_UPSTREAM_ATTEMPTS="1")
    sdk = client(gateway, gateway.new_key(name="boto3")["key"])
    provider.answer = (status, {"message": "It did not work."})
    with pytest.raises(getattr(sdk.exceptions, exception)) as raised:
        sdk.converse(modelId=f"amazon-bedrock/{MODEL}", messages=MESSAGES)
    assert "It did not work." in str(raised.value)


def test_an_exception_in_a_stream_and_a_key_that_is_no_good(bedrock):
    gateway, provider = bedrock(AWS_BEARER_TOKEN_BEDROCK=CREDENTIAL)
    key = gateway.new_key(name="boto3")["key"]
    sdk = client(gateway, key)
    provider.answer = (200, frame(*EVENTS[0]) + frame("throttlingException", {"message": "slower"}, "exception"))
    with pytest.raises(botocore.exceptions.EventStreamError, match="slower"):
        list(sdk.converse_stream(modelId=f"amazon-bedrock/{MODEL}", messages=MESSAGES)["stream"])
    with pytest.raises(sdk.exceptions.AccessDeniedException, match="cut short"):
        client(gateway, key[:-1]).converse(modelId=MODEL, messages=MESSAGES)
    with pytest.raises(sdk.exceptions.ResourceNotFoundException):
        sdk.converse(modelId="amazon-bedrok/x", messages=MESSAGES)


def test_a_credential_that_the_provider_repeats_is_kept_from_the_caller(bedrock):
    gateway, provider = bedrock(AWS_BEARER_TOKEN_BEDROCK=CREDENTIAL)
    sdk = client(gateway, gateway.new_key(name="boto3")["key"])
    said = lambda text: {"contentBlockIndex": 0, "delta": {"text": text}}  # noqa: E731
    events = [EVENTS[0], ("contentBlockDelta", said(f"it is {CREDENTIAL}")), ("contentBlockDelta", said("not that")), *EVENTS[3:]]
    provider.answer = (200, b"".join(frame(*event) for event in events))
    # boto3 checks the checksums.
    stream = list(sdk.converse_stream(modelId=f"amazon-bedrock/{MODEL}", messages=MESSAGES)["stream"])
    assert [event["contentBlockDelta"]["delta"]["text"] for event in stream if "contentBlockDelta" in event] == ["it is " + "*" * len(CREDENTIAL), "not that"]
    for size in (10, 2 << 20):
        text = CREDENTIAL.join("x" * size for _ in range(3))
        provider.answer = (200, WHOLE | {"output": {"message": {"role": "assistant", "content": [{"text": text}]}}})
        answer = sdk.converse(modelId=f"amazon-bedrock/{MODEL}", messages=MESSAGES)
        told = answer["output"]["message"]["content"][0]["text"]
        assert CREDENTIAL not in told and told.count("x") == 3 * size
    assert CREDENTIAL not in gateway.log()


def test_a_signed_request_is_told_to_use_a_bearer_token(bedrock):
    gateway, _ = bedrock(AWS_BEARER_TOKEN_BEDROCK=CREDENTIAL)
    signing = client(gateway, "AKIDEXAMPLE")
    with pytest.raises(signing.exceptions.AccessDeniedException, match="AWS_BEARER_TOKEN_BEDROCK"):
        signing.converse(modelId=f"amazon-bedrock/{MODEL}", messages=MESSAGES)


def test_two_keys_that_differ_are_refused_where_one_is_an_access_keys_id(start_gateway):
    gateway = start_gateway()
    one, other = (gateway.new_key()["key"] for _ in range(2))
    signed = lambda key: f"AWS4-HMAC-SHA256 Credential={key}/20260102/us-east-1/bedrock/aws4_request, SignedHeaders=host, Signature=00"  # noqa: E731
    bearer = lambda key: f"Bearer {key}"  # noqa: E731
    for first, second, status in [(signed(one), bearer(other), 401), (bearer(one), signed(other), 401), (signed(one), signed(other), 401), (signed(one), bearer(one), 200)]:
        connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=20)
        connection.putrequest("POST", "/model/simulator%2Fecho/converse")
        body = json.dumps({"messages": [{"role": "user", "content": [{"text": "hi"}]}]}).encode()
        for name, value in [("authorization", first), ("authorization", second), ("content-type", "application/json"), ("content-length", str(len(body)))]:
            connection.putheader(name, value)
        connection.endheaders(body)
        reply = connection.getresponse()
        told = reply.read().decode()
        connection.close()
        assert reply.status == status and (status == 200 or "two different API keys" in told), (first[:8], second[:8], told)


def test_requests_to_bedrock_are_signed_with_aws_keys(bedrock):
    """Signed anew by botocore over what arrived, the signature is the same."""
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    keys = {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "secret/with+signs", "AWS_SESSION_TOKEN": "session=="}
    gateway, provider = bedrock(**keys)
    sdk = client(gateway, gateway.new_key(name="boto3")["key"])
    sdk.converse(modelId=f"amazon-bedrock/{MODEL}", messages=MESSAGES)
    path, headers, body = provider.asked[-1]
    assert headers["x-amz-security-token"] == "session=="
    request = AWSRequest("POST", provider.url + path, {"content-type": "application/json"}, json.dumps(body).encode())
    request.context["timestamp"] = headers["x-amz-date"]
    auth = SigV4Auth(Credentials(*keys.values()), "bedrock", "us-east-1")
    request.headers["host"] = headers["host"]
    request.headers["x-amz-date"] = headers["x-amz-date"]
    request.headers["x-amz-security-token"] = "session=="
    signature = auth.signature(auth.string_to_sign(request, auth.canonical_request(request)), request)
    assert headers["authorization"].endswith(f"Signature={signature}")
