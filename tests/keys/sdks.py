"""The same mistakes made in the official SDKs: the exception's status and its message are what the table says."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "dialects"))

import clients

MODEL = "test/gpt-4o-mini"


def cases(live):
    """What is given to an SDK as its key: a name, the text, the status and a piece of the sentence."""
    return [
        ("the last letter cut off", live.good[:-1], 401, "cut short"),
        ("a letter off", live.good[:-1] + ("A" if live.good[-1] != "A" else "B"), 401, "checksum does not fit"),
        ("the short form", f"{live.good[:12]}...{live.good[-4:]}", 401, "short form"),
        ("all capitals", live.good.upper(), 401, "case-sensitive"),
        ("never issued here", live.stranger, 401, "never issued"),
        ("a wrong secret", live.wrong_secret, 401, "never issued"),
        ("expired", live.expired, 401, "expired on"),
        ("revoked", live.revoked, 401, "was revoked on"),
        ("an admin key", live.of_other_plane, 403, "is an admin key"),
        ("a test key", live.test, 403, "simulator"),
        ("a model that it may not use", live.limited, 403, "may not use the model"),
        ("another service's", live.foreign["OpenAI"], 401, "an OpenAI key"),
        ("a stand-in", "sk-dummy", 401, "placeholder"),
    ]


def run(table):
    """Asks by every SDK, whole and streamed."""
    for dialect, sdk in clients.CLIENTS.items():
        for name, key, status, says in cases(table.live):
            if dialect == "bedrock_converse" and not key.lower().startswith("kw_"):
                says = "signed with AWS credentials"
            for stream in (False, True):
                seen = clients.Seen()
                sdk(table.gateway.url, key).ask(MODEL, stream, seen)
                told = seen.error or (None, str(seen))
                is_right = told[0] in (status, None) and says in str(told[1])
                table.must(f"{name} | {dialect}'s SDK{', streamed' if stream else ''}", is_right, told)
