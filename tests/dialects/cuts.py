"""Streams that break off behind each of their events: what came is told, and no caller is led to believe that it was all."""

import concurrent.futures
import http.client
import json
import re
import struct

import botocore.exceptions
import httpx

import answers
import asked
import clients
import made
import meaning
import short
from answers import ENDS, Rate
from recorded import DIALECTS
from upstream import Answer, Hold

# How many places of a stream are tried with each caller.
CALLERS = {"openai_chat": 8, "openai_responses": 8, "anthropic_messages": 8, "gemini": 8, "bedrock_converse": 3, "cohere_v2": 3, "ollama": 3}
# What SDKs raise when a connection breaks.
BROKEN = (httpx.HTTPError, OSError, botocore.exceptions.BotoCoreError)


def ends_of_events(body, dialect):
    """Where in a stream its events end, but for the last."""
    if dialect == "bedrock_converse":
        at, found = 0, []
        while at < len(body):
            at += struct.unpack(">I", body[at:at + 4])[0]
            found.append(at)
    else:
        found = [match.end() for match in re.finditer(rb"\n" if dialect == "ollama" else rb"\r?\n\r?\n", body)]
    return [at for at in found if at < len(body)]


def spread(places, most):
    """At most so many of them, evenly."""
    if len(places) <= most:
        return places
    return sorted({places[round(number * (len(places) - 1) / (most - 1))] for number in range(most)})


def streams(cases):
    """Every stream that is whole: id, dialect, answer, and the texts that it may be read as."""
    for case in cases:
        if case.stream and case.is_complete and case.truth and not case.truth.get("error"):
            text, refusal, plan = case.truth["text"], case.truth.get("refusal"), case.truth.get("plan")
            yield case.id, case.dialect, case.answer(), {answers.joined(text, refusal), answers.joined(text, refusal, plan), answers.joined(plan, text)}
    for dialect in DIALECTS:
        for kind, said in short.SAID.items():
            if short.is_played(dialect, kind, True) and not said.error:
                yield f"short-{dialect}-{kind}", dialect, short.ANSWERS[f"{dialect} {kind}"](True), {"".join(said.text), ""}


def play(gateway, key, provider, cases, callers):
    callers = [caller for caller in CALLERS if caller in callers]
    rates = {(caller, dialect): Rate() for caller in callers for dialect in DIALECTS}
    sdks = {caller: clients.CLIENTS[caller](gateway.url, key) for caller in callers}
    asks = []
    for name, dialect, whole, texts in streams(cases):
        places = ends_of_events(whole.body, dialect)
        chosen = {caller: spread(places, CALLERS[caller]) for caller in callers}
        for number, at in enumerate(sorted({at for some in chosen.values() for at in some})):
            begun = whole.body[:at]
            # By turns the provider ends its answer too early, and the connection breaks.
            cut = Answer(begun, whole.status, whole.headers, stream=True) if number % 2 else Answer(whole.body, whole.status, whole.headers, stream=True, hold=Hold.up(at))
            model = f"{name}~{at}"
            provider.cuts[model] = cut
            asks += [(caller, dialect, model, bool(re.search(ENDS[dialect], begun)), texts) for caller in callers if at in chosen[caller]]

    def one(ask):
        caller, dialect, model, has_ended, texts = ask
        seen = clients.Seen()
        try:
            sdks[caller].ask(f"{dialect}/{model}", True, seen)
        except BROKEN as error:
            seen.error = (None, f"{type(error).__name__}: {error}")
        except Exception as error:  # noqa: BLE001: whatever an SDK stumbles over is a miss
            # In its own dialect what the provider said is not the gateway's; only that it does not end as if it were whole.
            if caller == dialect and (has_ended or tells_of_break(gateway, key, dialect, model, provider.cuts[model])):
                return caller, dialect, model, ""
            return caller, dialect, model, f"{type(error).__name__}: {str(error)[:200]}, having read {seen}"
        return caller, dialect, model, check(seen, has_ended, texts)

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for caller, dialect, model, wrong in pool.map(one, asks):
            rates[caller, dialect].add(model, wrong)
    return rates


def tells_of_break(gateway, key, dialect, model, cut):
    """Whether the bytes that came are passed on as they are, and then an error, or the connection breaks."""
    path, body = asked.target(made.STREAMED[dialect], dialect, model)
    begun = cut.body[:cut.hold.after] if cut.hold else cut.body
    try:
        told = gateway.request("POST", path, json.dumps(body).encode(), key, anthropic_version="2023-06-01").body
    except http.client.IncompleteRead as broken:
        return broken.partial.startswith(begun)
    return told.startswith(begun) and b"error" in told[len(begun):]


def check(seen, has_ended, texts):
    """What is wrong with what an SDK made of a stream that broke off; `has_ended` where it did only behind the answer's end."""
    told = meaning.squeeze(seen.text)
    if not any(meaning.squeeze(text).startswith(told) for text in texts):
        return f"the text {seen.text[:80]!r} was never said"
    if seen.error and not (seen.finish and not has_ended):
        return ""
    if has_ended and seen.finish:
        return "" if any(meaning.squeeze(text) == told for text in texts) else f"the text ends with {seen.text[-40:]!r}"
    return f"no error came, finish is {seen.finish}, {len(seen.text)} characters were told"
