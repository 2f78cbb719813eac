"""Requests, recorded and made, as they arrive upstream: held against what the caller sent."""

import dataclasses
import json
import urllib.parse

import meaning
from recorded import DIALECTS

PATHS = {"openai_chat": "/v1/chat/completions", "openai_responses": "/v1/responses", "anthropic_messages": "/v1/messages",
         "cohere_v2": "/v2/chat", "ollama": "/api/chat"}


@dataclasses.dataclass
class Outcomes:
    """Requests of one pair: how many arrived whole, how many without members that were named, which were refused and for what, and what is wrong with the others."""

    faithful: int = 0
    dropped: list = dataclasses.field(default_factory=list)
    refused: list = dataclasses.field(default_factory=list)
    misses: list = dataclasses.field(default_factory=list)

    @property
    def right(self):
        return self.faithful + len(self.dropped) + len(self.refused)

    @property
    def all(self):
        return self.right + len(self.misses)

    @property
    def value(self):
        return self.right / self.all if self.all else None

    def miss(self, name, wrong):
        self.misses.append(f"{name}: {wrong}")

    def __add__(self, other):
        return Outcomes(self.faithful + other.faithful, self.dropped + other.dropped, self.refused + other.refused, self.misses + other.misses)

    def __str__(self):
        return f"{self.faithful}/{len(self.dropped)}/{len(self.refused)}/{len(self.misses)}" if self.all else "-"


def target(case, dialect, name="short-text"):
    """The path and the body of a recorded request, as a caller sends it to a model of a dialect's provider."""
    body, model = dict(case.request["body"] or {}), f"{dialect}/{name}"
    if case.dialect == "gemini":
        verb = case.request["path"].rsplit(":", 1)[1]
        query = "?alt=sse" if verb.startswith("stream") else ""
        return f"/v1beta/models/{model}:{verb}{query}", body
    if case.dialect == "bedrock_converse":
        return f"/model/{urllib.parse.quote(model, safe='')}/{case.request['path'].rsplit('/', 1)[1]}", body
    return PATHS[case.dialect], {**body, "model": model}


def play(gateway, key, provider, cases, callers):
    outcomes = {(caller, dialect): Outcomes() for caller in callers for dialect in DIALECTS}
    for case in cases:
        if not case.has_request or case.dialect not in callers:
            continue
        for dialect in DIALECTS:
            path, body = target(case, dialect)
            body = meaning.with_own_urls(body, provider.base)
            provider.requests.clear()
            found = outcomes[case.dialect, dialect]
            try:
                raw = json.dumps(body).encode()
                reply = gateway.request("POST", path, raw, key, anthropic_version="2023-06-01")
                check(found, case, dialect, path, raw, reply, provider)
            except Exception as error:  # noqa: BLE001: a broken connection is a miss
                found.miss(case.id, f"{type(error).__name__}: {error}")
    return outcomes


def check(found, case, dialect, path, raw, reply, provider):
    asked = [asked for asked in provider.requests if asked.method == "POST"]
    if case.dialect == dialect:
        wrong = "" if reply.status == 200 and asked else f"{reply.status} {reply.body.decode(errors='replace')[:300]}"
        wrong = wrong or untouched(raw, asked[-1].body, dialect)
        found.faithful += not wrong
        if wrong:
            found.miss(case.id, wrong)
        return
    sent = meaning.READ[case.dialect](json.loads(raw), path)
    if reply.status != 200:
        said = reply.body.decode(errors="replace")
        is_refused = "not_expressible" in said or "media_not_fetched" in said and any(f"'{door}://" in said for door in ("gs", "s3"))
        member = "media behind a provider's own door" if "media_not_fetched" in said else meaning.refused_for(dialect, sent, said)
        if is_refused and member and not asked:
            found.refused.append(f"{case.id}: {member}")
        else:
            found.miss(case.id, f"{reply.status} {said[:300]}")
        return
    if not asked:
        found.miss(case.id, "nothing arrived")
        return
    named = [name.strip() for name in reply.headers.get("keyward-dropped", "").split(",") if name.strip()]
    verdict = meaning.judge(case.dialect, dialect, sent, meaning.READ[dialect](asked[-1].json(), asked[-1].path), named)
    if verdict.wrong:
        found.miss(case.id, "; ".join([*verdict.wrong, f"named: {named}"]))
    elif verdict.dropped:
        found.dropped.append(f"{case.id}: {', '.join(verdict.dropped)}")
    else:
        found.faithful += 1


def untouched(sent, arrived, dialect):
    """What was changed in a body between two ends of one dialect, but for the model's name, and usage that is asked for of a stream."""
    expected = sent.replace(f'"model": "{dialect}/short-text"'.encode(), b'"model": "short-text"')
    if arrived == expected:
        return ""
    before, after = json.loads(expected), json.loads(arrived)
    if dialect == "openai_chat" and before.get("stream"):
        before["stream_options"] = {**(before.get("stream_options") or {}), "include_usage": True}
    changed = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    return f"changed on its way through: {changed}" if changed else ""
