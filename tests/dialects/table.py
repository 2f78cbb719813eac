"""Every dialect in, every dialect out: answers read by the official SDKs through Keyward, requests as they arrive upstream,
streams that break off, and answers that go back to their provider.

Prints tables of callers by providers, and fails where a rate is below the one reached before (`reached.json`; `--raise` writes it anew).
"""

import json
import multiprocessing
import pathlib
import sys
import tempfile
import time

import answers
import asked
import cuts
import loops
import made
import recorded
import short
from answers import Rate
from asked import Outcomes
from gateway import Gateway
from recorded import DIALECTS, Provider

HERE = pathlib.Path(__file__).parent
REACHED = HERE / "reached.json"
MISSES = pathlib.Path(sys.argv[sys.argv.index("--misses") + 1]) if "--misses" in sys.argv else None
ONLY = sys.argv[sys.argv.index("--only") + 1].split(",") if "--only" in sys.argv else DIALECTS
EXPLAINED = {
    "gemini-de3717973d": "its streamed arguments (partialArgs) are put together, and its truth does not count that call",
    "openai-2741d3fd69": "its recorded image was cut, and is no base64 that an SDK takes",
}


def provider_file(dialect, base):
    return f'name = "{dialect}"\ndocs = "https://example.com"\ndialects = ["{dialect}"]\nbase_url = "{base}/{dialect}"\nauth = "bearer"\ncredential = ["TEST_PROVIDER_KEY"]\n'


def show(title, cell, callers, none):
    print(f"\n{title}\n{'caller':20}" + "".join(f"{dialect:>19}" for dialect in DIALECTS) + f"{'all':>22}")
    for caller in callers:
        cells = [cell(caller, dialect) for dialect in DIALECTS]
        total = sum(cells, none())
        print(f"{caller:20}" + "".join(f"{str(one):>19}" for one in cells) + f"{str(total):>22} {100 * (total.value or 0):5.1f} %")


def play(part, cases):
    """One part of the measurement, with a gateway and a provider of its own."""
    provider = Provider(cases)
    provider.short = short.ANSWERS
    with tempfile.TemporaryDirectory() as folder:
        files = {dialect: provider_file(dialect, provider.base) for dialect in DIALECTS}
        env = {"TEST_PROVIDER_KEY": "sk-upstream-credential", "KEYWARD_UPSTREAM_ATTEMPTS": "1", "KEYWARD_FETCH_PRIVATE_ADDRESSES": "true"}
        gateway = Gateway(folder, providers=files, env=env)
        gateway.start()
        try:
            return part(gateway, gateway.new_key()["key"], provider, cases, ONLY)
        finally:
            gateway.stop()
            provider.close()


def measure(cases):
    """What was told of answers and of streams that broke off, and what was asked of providers by requests, recorded and made."""
    parts = [(answers.play, cases), (cuts.play, cases), (asked.play, cases), (asked.play, made.CASES), (loops.play, [])]
    with multiprocessing.get_context("fork").Pool(2) as pool:
        return pool.starmap(play, parts, chunksize=1)


def main():
    cases = [case for dialect in DIALECTS for case in recorded.load(dialect)]
    if not cases:
        print(f"{recorded.FOLDER} is missing: only what is written by hand is played.")
    began = time.monotonic()
    told, cut, sent, written, looped = measure(cases)
    seconds = time.monotonic() - began
    for name, stream in (("whole", False), ("stream", True)):
        show(f"Answers, {name}: right/played", lambda caller, dialect: told[caller, dialect, stream], ONLY, Rate)
    how = "faithful/dropped and named/refused/missed"
    show(f"Requests, recorded: {how}", lambda caller, dialect: sent[caller, dialect], ONLY, Outcomes)
    show(f"Requests, made: {how}", lambda caller, dialect: written[caller, dialect], ONLY, Outcomes)
    show("Streams that break off: right/played", lambda caller, dialect: cut[caller, dialect], [caller for caller in cuts.CALLERS if caller in ONLY], Rate)
    show("Tool loops of models that think: right/played", lambda caller, dialect: looped[caller, dialect], ONLY, Rate)
    rates = {f"{'stream' if stream else 'whole'} {caller} <- {dialect}": rate for (caller, dialect, stream), rate in told.items()}
    for name, outcomes in (("request", sent), ("made", written)):
        rates |= {f"{name} {caller} -> {dialect}": found for (caller, dialect), found in outcomes.items() if found.all}
    rates |= {f"loop {caller} <-> {dialect}": rate for (caller, dialect), rate in looped.items()}
    rates |= {f"cut {caller} <- {dialect}": rate for (caller, dialect), rate in cut.items()}
    report(rates, bool(cases), seconds)


def report(rates, is_recorded, seconds):
    if MISSES:
        MISSES.write_text("".join(f"{name}: {miss}\n" for name, rate in rates.items() for miss in rate.misses))
    reached = json.loads(REACHED.read_text()) if REACHED.exists() else {}
    if "--raise" in sys.argv:
        REACHED.write_text(json.dumps({name: max(round(rate.value, 4), reached.get(name, 0)) for name, rate in sorted(rates.items())}, indent=0) + "\n")
    failed = 0
    for name, rate in rates.items():
        # Without the recordings only what has to be whole anyway is held against the rate.
        is_below = round(rate.value, 4) < reached.get(name, 0)
        if is_below if is_recorded else rate.misses and reached.get(name, 0) == 1:
            failed += 1
            print(f"\n{name}: {rate.value:.4f} is below the {reached[name]} that was reached:", *rate.misses[:20], sep="\n  ")
    refusals(rates)
    missed = sorted({miss.split(":")[0] for rate in rates.values() for miss in rate.misses})
    print("\nMissed:", *(f"{name}: {EXPLAINED.get(name, 'not explained')}" for name in missed), sep="\n  ")
    played = sum(rate.all for rate in rates.values())
    print(f"\n{played} exchanges in {seconds:.0f} s")
    print(f"{len(rates) - failed} passed, {failed} failed")
    sys.exit(bool(failed))


def refusals(rates):
    """For what, and how often, each dialect's providers were not asked."""
    found = {}
    for name, outcomes in rates.items():
        for refusal in getattr(outcomes, "refused", ()):
            what = f"{name.split(' -> ')[1]}: {refusal.split(': ', 1)[1]}"
            found[what] = found.get(what, 0) + 1
    print("\nRefused:", *(f"{what}, {times} times" for what, times in sorted(found.items())), sep="\n  ")


if __name__ == "__main__":
    main()
