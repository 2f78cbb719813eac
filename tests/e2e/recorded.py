"""What real providers answered, from `../shared/traffic` beside the repository."""

import functools
import json

import pytest

from gateway import ROOT
from upstream import Answer

FOLDER = ROOT.parent / "shared" / "traffic"


@functools.cache
def load(dialect):
    path = FOLDER / f"{dialect}.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def cases(dialect, only=lambda case: True):
    """The dialect's cases as parameters of a test; one that is skipped where there are none."""
    found = [pytest.param(case, id=case["id"]) for case in load(dialect) if only(case)]
    return found or [pytest.param(None, marks=pytest.mark.skip(reason=f"no recorded traffic: {FOLDER} is missing"))]


@functools.cache
def by_id():
    dialects = ("openai_chat", "openai_responses", "openai_embeddings", "openai_completions")
    return {case["id"]: case for dialect in dialects for case in load(dialect)}


def answer(case_id):
    """A case's answer as an upstream's, `None` where there is no such case."""
    case = by_id().get(case_id)
    return answer_of(case) if case else None


def answer_of(case):
    """The same of a case of any dialect."""
    response = case["response"]
    body = response["text"] if "text" in response else json.dumps(response["body"], ensure_ascii=False)
    return Answer(body.encode(), response["status"], response["headers"], stream="text" in response)
