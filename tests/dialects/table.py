"""Every dialect in, every dialect out: recorded answers read by the official SDKs through Keyward, and recorded requests as they arrive upstream.

Prints a table of callers by providers, and fails where a rate is below the one reached before (`reached.json`; `--raise` writes it anew).
"""

import concurrent.futures
import dataclasses
import json
import pathlib
import sys
import tempfile
import time
import urllib.parse

import clients
import meaning
import recorded
import short
from gateway import Gateway
from recorded import DIALECTS, Provider

HERE = pathlib.Path(__file__).parent
REACHED = HERE / "reached.json"
MISSES = pathlib.Path(sys.argv[sys.argv.index("--misses") + 1]) if "--misses" in sys.argv else None
ONLY = sys.argv[sys.argv.index("--only") + 1].split(",") if "--only" in sys.argv else DIALECTS
PATHS = {"openai_chat": "/v1/chat/completions", "openai_responses": "/v1/responses", "anthropic_messages": "/v1/messages",
         "cohere_v2": "/v2/chat", "ollama": "/api/chat"}
EXPLAINED = {
    "gemini-de3717973d": "its streamed arguments (partialArgs) are put together, and its truth does not count that call",
    "openai-2741d3fd69": "its recorded image was cut, and is no base64 that an SDK takes",
    "openai-95bd0b7000": "a search in the provider's own list of tools has no like elsewhere; it is named as dropped",
    "openai-63f8ef8a6e": "an image in a tool's result follows it, introduced by the call's id",
    "anthropic-11f3a57cf1": "a text document in a tool's result is told as text where results are text",
    "bedrock-5b1903eba6": "a text document is told as text, or as Cohere's documents",
    "bedrock-b801f3188c": "a text document is told as text, or as Cohere's documents",
    "bedrock-a8d1401c13": "a text document is told as text, or as Cohere's documents",
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


def provider_file(dialect, base):
    return f'name = "{dialect}"\ndocs = "https://example.com"\ndialects = ["{dialect}"]\nbase_url = "{base}/{dialect}"\nauth = "bearer"\ncredential = ["TEST_PROVIDER_KEY"]\n'


# Answers.

def check_answer(case, caller, seen):
    """What is wrong with what an SDK made of a recorded answer."""
    truth = case.truth
    if not truth:
        return ""
    if error := truth.get("error"):
        said = (seen.error or (None, ""))[1]
        return "" if seen.error and (error.get("message") or "")[:80] in said else f"the error {error} became {seen.error or seen}"
    if not case.is_complete:
        return "" if seen.error or seen.text == truth["text"] else f"a broken stream was read as {seen}"
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
    if truth["finish_reason"] in ("stop", "tool_calls", "length", "content_filter") and not finish_fits(case, caller, seen, truth):
        wrong.append(f"finish {seen.finish} for {truth['finish_reason']}")
    if usage := truth["usage"]:
        output = {usage["output"], (usage["total"] or 0) - (usage["input"] or 0)}
        if not seen.usage or seen.usage[0] != usage["input"] or seen.usage[1] not in output:
            wrong.append(f"usage {seen.usage} for {usage}")
        # Cohere's and Ollama's answers have no place for it, or none that their SDKs know.
        elif usage.get("cached") and caller not in ("ollama",) and seen.cached != usage["cached"]:
            wrong.append(f"cached {seen.cached} for {usage['cached']}")
    return "; ".join(wrong)


def same(seen, truth):
    return seen.text.strip() == truth["text"].strip()


def joined(*texts):
    return "".join(text for text in texts if text)


def finish_fits(case, caller, seen, truth):
    if seen.finish == truth["finish_reason"]:
        return True
    # A finish that says "stop" beside tool calls, and the reverse, is the provider's own.
    return {seen.finish, truth["finish_reason"]} == {"stop", "tool_calls"} and bool(seen.calls) == bool(truth["tool_calls"])


def answers(gateway, key, cases):
    rates = {(caller, dialect, stream): Rate() for caller in ONLY for dialect in DIALECTS for stream in (False, True)}
    sdks = {caller: clients.CLIENTS[caller](gateway.url, key) for caller in ONLY}

    def one(caller, case):
        try:
            wrong = check_answer(case, caller, sdks[caller].ask(f"{case.dialect}/{case.id}", case.stream))
        except Exception as error:  # noqa: BLE001: whatever an SDK stumbles over is a miss
            wrong = f"{type(error).__name__}: {str(error)[:300]}"
        # In its own dialect an answer is the provider's to the byte, whatever an SDK makes of it.
        if wrong and caller == case.dialect and passes_untouched(gateway, key, case):
            wrong = ""
        return caller, case, wrong

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for caller, case, wrong in pool.map(lambda pair: one(*pair), [(caller, case) for caller in ONLY for case in cases]):
            rates[caller, case.dialect, case.stream].add(case.id, wrong)
    for caller in ONLY:
        for dialect in DIALECTS:
            for stream in (False, True):
                # What every pair has to do, also where nothing was recorded: a text and a tool call.
                for kind in ("text", "tool"):
                    rates[caller, dialect, stream].add(f"short {kind}", short.check(sdks[caller], dialect, kind, stream))
    return rates


def passes_untouched(gateway, key, case):
    path, body = target(case, case.dialect, case.id)
    if case.dialect == "openai_chat" and case.stream:
        body["stream_options"] = {"include_usage": True}
    reply = gateway.request("POST", path, json.dumps(body or {}).encode(), key)
    return reply.body == case.answer().body


# Requests.

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


def requests(gateway, key, provider, cases):
    rates = {(caller, dialect): Rate() for caller in ONLY for dialect in DIALECTS}
    for case in cases:
        if not case.has_request or case.dialect not in ONLY:
            continue
        for dialect in DIALECTS:
            path, body = target(case, dialect)
            body = meaning.with_own_urls(body, provider.base)
            provider.requests.clear()
            try:
                reply = gateway.request("POST", path, json.dumps(body).encode(), key, anthropic_version="2023-06-01")
                rates[case.dialect, dialect].add(case.id, check_request(case, dialect, body, reply, provider))
            except Exception as error:  # noqa: BLE001: a broken connection is a miss
                rates[case.dialect, dialect].add(case.id, f"{type(error).__name__}: {error}")
    return rates


def check_request(case, dialect, body, reply, provider):
    if reply.status != 200:
        said = reply.body.decode(errors="replace")
        # Refused clearly, because dropping would change the meaning.
        is_refused = "not_expressible" in said or "media_not_fetched" in said and ("'gs://" in said or "'s3://" in said)
        return "" if is_refused and case.dialect != dialect else f"{reply.status} {said[:300]}"
    asked = [asked for asked in provider.requests if asked.method == "POST"]
    if not asked:
        return "nothing arrived"
    named = [name.strip() for name in reply.headers.get("keyward-dropped", "").split(",") if name.strip()]
    sent, arrived = meaning.READ[case.dialect](body), meaning.READ[dialect](asked[-1].json())
    wrong = meaning.differences(sent, arrived, named)
    return "; ".join([*wrong, f"named: {named}"]) if wrong else ""


# The table.

def show(title, cell):
    print(f"\n{title}\n{'caller':20}" + "".join(f"{dialect:>19}" for dialect in DIALECTS) + f"{'all':>18}")
    for caller in ONLY:
        cells = [cell(caller, dialect) for dialect in DIALECTS]
        total = Rate(sum(rate.right for rate in cells), [miss for rate in cells for miss in rate.misses])
        text = [f"{rate.right}/{rate.all}" if rate.all else "-" for rate in cells]
        print(f"{caller:20}" + "".join(f"{one:>19}" for one in text) + f"{total.right:>9}/{total.all} {100 * (total.value or 0):5.1f} %")


def main():
    cases = [case for dialect in DIALECTS for case in recorded.load(dialect)]
    if not cases:
        print(f"{recorded.FOLDER} is missing: only the short answers are played.")
    provider = Provider(cases)
    provider.short = short.ANSWERS
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        files = {dialect: provider_file(dialect, provider.base) for dialect in DIALECTS}
        gateway = Gateway(folder, providers=files, env={"TEST_PROVIDER_KEY": "sk-upstream-credential", "KEYWARD_UPSTREAM_ATTEMPTS": "1", "KEYWARD_FETCH_PRIVATE_ADDRESSES": "true"})
        gateway.start()
        try:
            key = gateway.new_key()["key"]
            told = answers(gateway, key, cases)
            asked = requests(gateway, key, provider, cases)
        finally:
            gateway.stop()
            provider.close()
    report(told, asked, time.monotonic() - began)


def report(told, asked, seconds):
    kinds = {"whole": False, "stream": True}
    for name, stream in kinds.items():
        show(f"Answers, {name}: right of played", lambda caller, dialect: told[caller, dialect, stream])
    show("Requests: faithful of sent", lambda caller, dialect: asked[caller, dialect])
    rates = {f"{name} {caller} <- {dialect}": told[caller, dialect, stream] for (caller, dialect, stream) in told for name in kinds if kinds[name] == stream}
    rates |= {f"request {caller} -> {dialect}": rate for (caller, dialect), rate in asked.items() if rate.all}
    if MISSES:
        MISSES.write_text("".join(f"{name}: {miss}\n" for name, rate in rates.items() for miss in rate.misses))
    reached = json.loads(REACHED.read_text()) if REACHED.exists() else {}
    if "--raise" in sys.argv:
        REACHED.write_text(json.dumps({name: max(round(rate.value, 4), reached.get(name, 0)) for name, rate in sorted(rates.items())}, indent=0) + "\n")
    failed = 0
    for name, rate in rates.items():
        # Without the recordings only what has to be whole anyway is held against the rate.
        if rate.all > 2 and round(rate.value, 4) < reached.get(name, 0) or rate.all == 2 and rate.misses and reached.get(name, 0) == 1:
            failed += 1
            print(f"\n{name}: {rate.value:.4f} is below the {reached[name]} that was reached:", *rate.misses[:20], sep="\n  ")
    missed = sorted({miss.split(":")[0] for rate in rates.values() for miss in rate.misses})
    print("\nMissed:", *(f"{name}: {EXPLAINED.get(name, 'not explained')}" for name in missed), sep="\n  ")
    played = sum(rate.all for rate in rates.values())
    print(f"\n{played} exchanges in {seconds:.0f} s")
    print(f"{len(rates) - failed} passed, {failed} failed")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
