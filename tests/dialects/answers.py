"""Answers, recorded and short, as the official SDKs read them through the gateway: held against what the answers say."""

import concurrent.futures
import dataclasses
import json
import re

import asked
import clients
import meaning
import short
from recorded import DIALECTS

# What an event has in it that says why the answer ends: behind it, an end is nothing invented.
ENDS = {
    "openai_chat": rb'"finish_reason":\s*"|\[DONE\]', "openai_responses": rb'"type":\s*"response\.(completed|incomplete|failed)"', "anthropic_messages": rb'"stop_reason":\s*"',
    "gemini": rb'"finishReason":\s*"', "bedrock_converse": rb"messageStop", "cohere_v2": rb'"type":\s*"message-end"', "ollama": rb'"done":\s*true',
}
FORGIVEN_FINISHES = {"", "queued", "complete", "failed", None}


@dataclasses.dataclass
class Rate:
    """How many of how many were right, and what was wrong with the others."""

    right: int = 0
    misses: list = dataclasses.field(default_factory=list)

    @property
    def all(self):
        return self.right + len(self.misses)

    @property
    def value(self):
        return self.right / self.all if self.all else None

    def add(self, name, wrong):
        if wrong:
            self.misses.append(f"{name}: {wrong}")
        else:
            self.right += 1

    def __add__(self, other):
        return Rate(self.right + other.right, self.misses + other.misses)

    def __str__(self):
        return f"{self.right}/{self.all}" if self.all else "-"


def check(case, caller, seen):
    """What is wrong with what an SDK made of a recorded answer."""
    truth = case.truth
    if not case.is_complete:
        return check_cut(case, seen)
    if not truth:
        return ""
    if error := truth.get("error"):
        said = (seen.error or (None, ""))[1]
        return "" if seen.error and (error.get("message") or "")[:80] in said else f"the error {error} became {seen.error or seen}"
    if seen.error:
        return "" if truth["finish_reason"] in FORGIVEN_FINISHES else f"{seen.error}"
    wrong = []
    if seen.text.strip() != joined(truth["text"], truth.get("refusal"), truth.get("plan") if caller != "cohere_v2" and not same(seen, truth) else None).strip():
        wrong.append(f"text {seen.text[:80]!r} for {truth['text'][:80]!r}")
    calls = [(call["name"], call["arguments"] if isinstance(call["arguments"], dict) else clients.arguments(call["arguments"])) for call in truth["tool_calls"]]
    if seen.calls != calls:
        wrong.append(f"tool calls {seen.calls} for {calls}")
    if truth["reasoning"] and meaning.squeeze(truth["reasoning"]) not in meaning.squeeze(seen.reasoning):
        wrong.append(f"reasoning {seen.reasoning[:60]!r} for {truth['reasoning'][:60]!r}")
    if truth["finish_reason"] in ("stop", "tool_calls", "length", "content_filter") and not finish_fits(seen, truth):
        wrong.append(f"finish {seen.finish} for {truth['finish_reason']}")
    if usage := truth["usage"]:
        output = {usage["output"], (usage["total"] or 0) - (usage["input"] or 0)}
        if not seen.usage or seen.usage[0] != usage["input"] or seen.usage[1] not in output:
            wrong.append(f"usage {seen.usage} for {usage}")
        # Ollama's answers have no place for it.
        elif usage.get("cached") and caller not in ("ollama",) and seen.cached != usage["cached"]:
            wrong.append(f"cached {seen.cached} for {usage['cached']}")
    return "; ".join(wrong)


def check_cut(case, seen):
    """A stream that was recorded only in part, without its end, never ends as if it were whole."""
    has_ended = re.search(ENDS[case.dialect], case.answer().body)
    return "" if seen.error or has_ended or not seen.finish else f"a broken stream was read as whole: {seen}"


def same(seen, truth):
    return seen.text.strip() == truth["text"].strip()


def joined(*texts):
    return "".join(text for text in texts if text)


def finish_fits(seen, truth):
    if seen.finish == truth["finish_reason"]:
        return True
    # A finish that says "stop" beside tool calls, and the reverse, is the provider's own.
    return {seen.finish, truth["finish_reason"]} == {"stop", "tool_calls"} and bool(seen.calls) == bool(truth["tool_calls"])


def play(gateway, key, _provider, cases, callers):
    rates = {(caller, dialect, stream): Rate() for caller in callers for dialect in DIALECTS for stream in (False, True)}
    sdks = {caller: clients.CLIENTS[caller](gateway.url, key) for caller in callers}

    def one(caller, case):
        seen = clients.Seen()
        try:
            sdks[caller].ask(f"{case.dialect}/{case.id}", case.stream, seen)
            wrong = check(case, caller, seen)
        except Exception as error:  # noqa: BLE001: whatever an SDK stumbles over is a miss
            wrong = f"{type(error).__name__}: {str(error)[:300]}"
        # In its own dialect an answer is the provider's to the byte, whatever an SDK makes of it.
        if wrong and caller == case.dialect and passes_untouched(gateway, key, case):
            wrong = ""
        return caller, case.dialect, case.stream, case.id, wrong

    def brief(caller, dialect, kind, stream):
        return caller, dialect, stream, f"short {kind}", short.check(sdks[caller], dialect, kind, stream)

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        asks = []
        # One caller after the other, so that no connection of an SDK's is kept for long without use.
        for caller in callers:
            asks += [pool.submit(one, caller, case) for case in cases]
            # What every pair has to do, also where nothing was recorded.
            asks += [pool.submit(brief, caller, dialect, kind, stream) for dialect in DIALECTS for stream in (False, True)
                     for kind in short.SAID if short.is_played(dialect, kind, stream)]
        for done in asks:
            caller, dialect, stream, name, wrong = done.result()
            rates[caller, dialect, stream].add(name, wrong)
    return rates


def passes_untouched(gateway, key, case):
    path, body = asked.target(case, case.dialect, case.id)
    if case.dialect == "openai_chat" and case.stream:
        body["stream_options"] = {"include_usage": True}
    reply = gateway.request("POST", path, json.dumps(body or {}).encode(), key)
    return reply.body == case.answer().body
