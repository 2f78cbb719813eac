"""The recorded cases, and a provider that plays them: it finds the case by the model's name in the path or the body."""

import base64
import dataclasses
import json
import mimetypes
import pathlib
import sys
import urllib.parse

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "e2e"))

import meaning  # noqa: E402
from upstream import Answer, Asked, Upstream  # noqa: E402

FOLDER = ROOT.parent / "shared" / "traffic"
DIALECTS = ["openai_chat", "openai_responses", "anthropic_messages", "gemini", "bedrock_converse", "cohere_v2", "ollama"]
FILES = {"anthropic_messages": "anthropic"}


@dataclasses.dataclass
class Case:
    """One recorded exchange of chat."""

    id: str
    dialect: str
    stream: bool
    request: dict
    response: dict
    truth: dict
    features: list
    is_complete: bool
    has_request: bool

    def answer(self):
        response = self.response
        if "b64" in response:
            body = base64.b64decode(response["b64"])
        else:
            body = (response["text"] if "text" in response else json.dumps(response["body"], ensure_ascii=False)).encode()
        return Answer(body, response["status"], response["headers"], stream=self.stream)


def load(dialect):
    """The chat cases of a dialect; none where the folder is missing, or nothing was recorded of it."""
    path = FOLDER / f"{FILES.get(dialect, dialect)}.jsonl"
    if not path.exists():
        return []
    lines = (json.loads(line) for line in path.read_text().splitlines())
    return [
        Case(
            line["id"], dialect, line["stream"], line["request"], line["response"], line["truth"] or {}, line["features"],
            line["complete"] is not False, line["request_is"] == "recorded" and line["request"]["body"] is not None,
        )
        for line in lines
        if line["op"] == "chat"
    ]


class Provider(Upstream):
    """Speaks all dialects, each under a path of its own: a recorded answer for a case's id, a short one otherwise."""

    def __init__(self, cases):
        super().__init__()
        self.cases = {case.id: case for case in cases}
        # By `<dialect> text`, `<dialect> tool`, …, each told whether to stream.
        self.short = {}
        # Answers that break off, by the model's name.
        self.cuts = {}

    @property
    def base(self):
        return self.url.removesuffix("/v1")

    def answer_to(self, asked: Asked):
        if asked.path.startswith("/media/"):
            kind = mimetypes.guess_type(asked.path)[0] or "application/octet-stream"
            return Answer(meaning.media_at(self.base + asked.path), headers={"content-type": kind})
        path = urllib.parse.unquote(asked.path)
        body = asked.json() if asked.body else {}
        model = body.get("model") or path.split("/models/")[-1].split("/model/")[-1].split(":generate")[0].split(":stream")[0].split("/")[0]
        if cut := self.cuts.get(model):
            return cut
        if case := self.cases.get(model):
            return case.answer()
        dialect = path.split("/")[1]
        stream = body.get("stream", dialect == "ollama") or "stream" in path.rsplit("/", 1)[-1]
        return self.short[f"{dialect} {model.removeprefix('short-')}"](stream)

