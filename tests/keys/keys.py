"""Keys in every state, of both planes, and keys of other services; what of them is secret."""

import dataclasses
import random
import types
import zlib

BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
ID, SECRET, SUM = 12, 30, 6
# A piece of a secret that is found is a secret that is lost.
PIECE = 10

ALNUM = "q7Zt2LwX9cVb4NmK8jHg3FdS6aPoI5uYrE1zQxWv"
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJrZXl3YXJkLXRlc3QifQ.bm90LWEtcmVhbC1zaWduYXR1cmU3Nw"

PEM = "-----BEGIN PRIVATE KEY-----"

# Made up, in the shapes that their services give out.
FOREIGN = {
    "OpenAI": f"sk-proj-{ALNUM}T3BlbkFJ{ALNUM[::-1]}",
    "OpenAI, of old": f"sk-{ALNUM[:20]}T3BlbkFJ{ALNUM[20:]}",
    "OpenAI's service accounts": f"sk-svcacct-{ALNUM}",
    "Anthropic": f"sk-ant-api03-{ALNUM}-{ALNUM[:8]}AA",
    "Anthropic's OAuth": f"sk-ant-oat01-{ALNUM}",
    "Google": f"AIzaSy{ALNUM[:33]}",
    "Google's OAuth": f"ya29.a0{ALNUM}",
    "AWS": f"AKIA{ALNUM[:16].upper()}",
    "AWS, temporary": f"ASIA{ALNUM[:16].upper()}",
    "Bedrock": f"ABSK{ALNUM}",
    "GitHub": f"ghp_{ALNUM[:36]}",
    "GitHub, fine-grained": f"github_pat_{ALNUM}",
    "GitLab": f"glpat-{ALNUM[:20]}",
    "Slack": f"xoxb-123456789012-{ALNUM[:24]}",
    "Hugging Face": f"hf_{ALNUM[:34]}",
    "Groq": f"gsk_{ALNUM}",
    "xAI": f"xai-{ALNUM}",
    "OpenRouter": f"sk-or-v1-{ALNUM}",
    "Perplexity": f"pplx-{ALNUM}",
    "Replicate": f"r8_{ALNUM[:37]}",
    "NVIDIA": f"nvapi-{ALNUM}",
    "Stripe": f"sk_live_{ALNUM[:24]}",
    "npm": f"npm_{ALNUM[:36]}",
    "PyPI": f"pypi-{ALNUM}",
    "a JWT's issuer": JWT,
    "PEM": f"{PEM}{ALNUM}",
}
AWS_SIGNATURE = (
    f"AWS4-HMAC-SHA256 Credential={FOREIGN['AWS']}/20260102/us-east-1/bedrock/aws4_request, SignedHeaders=host;x-amz-date, Signature={ALNUM.lower()}"
)


def checksum(head):
    rest, digits = zlib.crc32(head.encode()), ""
    for _ in range(SUM):
        rest, digit = divmod(rest, len(BASE62))
        digits = BASE62[digit] + digits
    return digits


def with_secret_of(key, other):
    """A well-formed key with the id of one and the secret of the other."""
    head = key[: -SECRET - SUM] + other[-SECRET - SUM : -SUM]
    return head + checksum(head)


def with_own_id(key):
    """A well-formed key that nobody has made."""
    head = key[: -ID - SECRET - SUM] + "".join(random.choices(BASE62, k=ID + SECRET))
    return head + checksum(head)


@dataclasses.dataclass
class Made:
    """A key and its id."""

    key: str
    id: str


def make(gateway, stranger, **options):
    """All keys of one plane, in every state; `kind` is `live` or `admin`."""
    def new(**more):
        made = gateway.new_key(**options, **more)
        return Made(made["key"], made["id"])

    good, other, revoked, rotated, disabled = new(), new(), new(), new(), new()
    of_owner = new(owner=f"ann of {options['name']}")
    gateway.cli("keys", "disable", disabled.id)
    gateway.cli("keys", "disable", "--owner", f"ann of {options['name']}")
    gateway.cli("keys", "revoke", revoked.id)
    gateway.cli("keys", "rotate", rotated.id, "--grace", "1ms")
    return types.SimpleNamespace(
        good=good.key, id=good.id, other=other.key, revoked=revoked.key, rotated=rotated.key, revoked_id=revoked.id,
        expired=new(expires="2020-01-01T00:00:00Z").key, not_yet=new(**{"not-before": "30d"}).key, disabled=disabled.key, of_owner=of_owner.key,
        later_of_owner=new(owner=f"ann of {options['name']}").key, from_elsewhere=new(**{"from": "192.0.2.0/24"}).key,
        other_path=new(path="GET /nowhere").key, other_method=new(path="DELETE /*").key, stranger=stranger, wrong_secret=with_secret_of(good.key, stranger),
        foreign=FOREIGN, aws_signature=AWS_SIGNATURE,
    )


def pieces(secret):
    """Pieces of a secret, so that one that is cut or changed is found too."""
    return [secret[at : at + PIECE] for at in range(0, len(secret) - PIECE + 1, PIECE)]


def secrets_of(*planes):
    """What must be found nowhere: pieces of the secrets of all keys, the checksums left out, and of other services' keys."""
    texts = {value for keys in planes for value in vars(keys).values() if isinstance(value, str) and value.startswith("kw_")}
    own = [piece for text in texts for piece in pieces(text[-SECRET - SUM : -SUM])]
    foreign = [piece for text in [*FOREIGN.values(), AWS_SIGNATURE.rsplit("=", 1)[1]] for piece in pieces(text.removeprefix(PEM))]
    return sorted({form for piece in own + foreign for form in (piece, piece.lower(), piece.upper())})
