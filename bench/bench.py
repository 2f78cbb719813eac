"""Measures Keyward beside nginx, and beside other gateways from a list. See bench/README.md."""

import argparse
import contextlib
import json
import os
import pathlib
import shlex
import signal
import subprocess
import sys

from processes import Fault, Stage, memory, note
from report import over_ceiling, render, summarise
from targets import OPEN, TRANSLATED, start_gateway, start_keyward, start_nginx, start_open, start_upstream
from traffic import SCENARIOS, Void, check_all, load, taking_part

ROOT = pathlib.Path(__file__).resolve().parent.parent
WRONG, VOID = 2, 3


def build(options):
    """Builds what is measured; returns the folder of the binaries."""
    release = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", "target"))
    release = (ROOT / release).resolve() / "release"
    if not options.no_build:
        command = ["cargo", "build", "--release", "--example", "bench-upstream"]
        command += [] if options.without_keyward else ["--example", "bench-open", "--bin", "keyward"]
        if subprocess.run(command, check=False, cwd=ROOT).returncode != 0:
            raise Fault("the build failed")
    return release


def start_all(stage, options):
    release = build(options)
    targets = [start_upstream(stage, str(release / "examples" / "bench-upstream"), options.upstream_args)]
    targets.append(start_nginx(stage, targets[0]))
    if not options.without_keyward:
        keyward = start_keyward(stage, targets[0], str(release / "keyward"))
        targets += keyward
        targets.append(start_open(stage, keyward[0], str(release / "examples" / "bench-open")))
    targets += [start_gateway(stage, targets[0], entry) for entry in options.gateways]
    for target in targets:
        target.wait_ready()
    return targets


def alone(parser, main):
    """Runs a script of its own that takes the same binaries; it ends with the reason where it cannot be done."""
    parser.add_argument("--no-build", action="store_true")
    try:
        main(parser.parse_args(namespace=argparse.Namespace(without_keyward=False)))
    except (Fault, Void) as error:
        sys.exit(f"{parser.prog}: {error}")


def sample(target, scenario, connections, seconds, length):
    before = target.cpu()
    result = load(target, scenario, connections, seconds, length)
    spent = target.settled_cpu().since(before)
    return {
        "rps": result["requests"] / (result["us"] / 1e6),
        "p50_us": result["p50"],
        "p99_us": result["p99"],
        "cpu_us": spent / 1e3 / result["requests"],
    }


def measure(targets, scenario, connections, options, lengths):
    """Alternating rounds; each starts with another target, so that none is always the one after a loud neighbour."""
    for target in targets:
        load(target, scenario, connections, options.seconds, lengths[target.name, scenario])
    rounds = []
    for index in range(options.rounds):
        turn = index % len(targets)
        results = {}
        for target in targets[turn:] + targets[:turn]:
            result = sample(target, scenario, connections, options.seconds, lengths[target.name, scenario])
            note(
                f"{scenario}, {connections} connections, round {index + 1}/{options.rounds}, {target.name}: "
                f"{result['rps']:.0f} requests/s, {result['cpu_us']:.1f} us CPU"
            )
            results[target.name] = result
        rounds.append(results)
    return rounds


def run(targets, options):
    lengths = check_all(targets, options.scenarios)
    processes = {target.name: target.process.pid for target in targets if target.name != TRANSLATED}
    idle = {name: memory(pid)["rss"] for name, pid in processes.items()}
    rounds = {
        scenario: {
            str(connections): measure(taking_part(targets, scenario), scenario, connections, options, lengths)
            for connections in sorted({options.connections, 1}, reverse=True)
        }
        for scenario in options.scenarios
    }
    check_all(targets, options.scenarios)
    return {
        "cpus": len(os.sched_getaffinity(0)),
        "connections": options.connections,
        "rounds": options.rounds,
        "seconds": options.seconds,
        "upstream_args": options.upstream_args,
        "memory_mb": {name: {"idle": idle[name]} | memory(pid) for name, pid in processes.items()},
        "summary": {
            scenario: {connections: summarise(some) for connections, some in by_load.items()}
            for scenario, by_load in rounds.items()
        },
        "samples": rounds,
    }


def parse_scenarios(text):
    names = text.split(",")
    if unknown := set(names) - set(SCENARIOS):
        raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}; there are {', '.join(SCENARIOS)}")
    return names


def parse_ceilings(text):
    try:
        return {name: float(value) for name, value in (part.split("=") for part in text.split(","))}
    except ValueError:
        raise argparse.ArgumentTypeError("expected SCENARIO=RATIO,...") from None


def parse_gateways(path):
    try:
        gateways = json.loads(pathlib.Path(path).read_text())
        names = {"upstream", "nginx", "keyward", TRANSLATED, OPEN}
        for gateway in gateways:
            if missing := {"name", "command", "url", "model"} - set(gateway):
                raise ValueError(f"a gateway lacks {', '.join(sorted(missing))}")
            if gateway["name"] in names:
                raise ValueError(f"there is a {gateway['name']} already")
            names.add(gateway["name"])
        return gateways
    except (OSError, TypeError, ValueError) as error:
        raise argparse.ArgumentTypeError(f"{path}: {error}") from error


def parse_options():
    parser = argparse.ArgumentParser(prog="bench/run", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3, help="length of one run of wrk")
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--scenarios", type=parse_scenarios, default=list(SCENARIOS), metavar="NAME,...")
    parser.add_argument("--gateways", type=parse_gateways, default=[], metavar="FILE", help="other gateways, as JSON")
    parser.add_argument(
        "--upstream-args",
        type=shlex.split,
        default=[],
        metavar="ARGS",
        help="for the mock: --stream-writes N, --chunk-delay-us N",
    )
    parser.add_argument("--without-keyward", action="store_true", help="measure the others alone")
    parser.add_argument("--no-build", action="store_true", help="measure the binaries that are there")
    parser.add_argument("--quick", action="store_true", help="one round of one second: does it run at all?")
    parser.add_argument(
        "--ceiling",
        type=parse_ceilings,
        default={},
        metavar="NAME=RATIO,...",
        help="exit with 1 if Keyward's CPU per request is above RATIO times nginx's",
    )
    parser.add_argument(
        "--translation-ceiling",
        type=parse_ceilings,
        default={},
        metavar="NAME=RATIO,...",
        help="exit with 1 if a translated request takes more than RATIO times the CPU of one passed through",
    )
    parser.add_argument("--markdown", action="store_true", help="print Markdown tables")
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE", help="write everything measured to FILE")
    parser.add_argument("--keep", action="store_true", help="keep the temporary folder")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.seconds = 1, 1
    if (options.ceiling or options.translation_ceiling) and options.without_keyward:
        parser.error("a ceiling needs Keyward")
    if missing := {*options.ceiling, *options.translation_ceiling} - set(options.scenarios):
        parser.error(f"a ceiling names what is not run: {', '.join(missing)}")
    return options


def main():
    options = parse_options()
    for sign in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(sign, signal.default_int_handler)
    try:
        with contextlib.ExitStack() as stack:
            report = run(start_all(Stage(stack, options.keep), options), options)
    except Void as void:
        note(f"void: {void}")
        return VOID
    except Fault as fault:
        note(f"error: {fault}")
        return WRONG
    except KeyboardInterrupt:
        return 130
    if options.json:
        options.json.write_text(json.dumps(report, indent=1) + "\n")
    print(render(report, options.markdown))
    broken = list(over_ceiling(report, options.ceiling, options.translation_ceiling))
    for line in broken:
        note(line)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
