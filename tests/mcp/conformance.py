"""The official conformance suite against the fixture, directly and through the gateway: what passes directly has to pass through it too."""

import contextlib
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))

from gateway import ROOT, TARGET, Gateway, eventually, free_port  # noqa: E402

FIXTURE = ROOT / TARGET / "debug" / "examples" / "mcp-fixture"
SUITES = pathlib.Path(os.environ["KEYWARD_MCP_SUITES"])
# Which release of the suite knows a revision best: the older one is the newest that is stable.
RUNS = [
    ("0.1.16", "2025-06-18"),
    ("0.1.16", "2025-11-25"),
    ("0.2.0-alpha.12", "2025-06-18"),
    ("0.2.0-alpha.12", "2025-11-25"),
    ("0.2.0-alpha.12", "2026-07-28"),
]
SCENARIO = re.compile(r"^\s*- (\S+) \[([^\]]*)\]$")


def conformance(release, *arguments):
    folder = SUITES / f"conformance-{release}" / "node_modules"
    command = [folder / "node/bin/node", folder / "@modelcontextprotocol/conformance/dist/index.js", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=180, cwd=SUITES)


def scenarios(release, revision):
    """The server scenarios of a revision, without those of extensions."""
    names = []
    for line in conformance(release, "list", "--server").stdout.splitlines():
        if (found := SCENARIO.match(line)) and revision in found[2].split(","):
            names.append(found[1])
    return names


def passes(release, revision, scenario, url):
    """Whether a scenario passes, and what the suite says."""
    arguments = ["server", "--url", url, "--scenario", scenario]
    if release != "0.1.16":
        arguments += ["--spec-version", revision]
    done = conformance(release, *arguments)
    return done.returncode == 0, done.stdout + done.stderr


@contextlib.contextmanager
def fixture(*, env=None):
    """A fixture that serves HTTP; its URL."""
    port = free_port()
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen([FIXTURE, f"127.0.0.1:{port}"], env=os.environ | (env or {}), stdout=log, stderr=log)
        try:
            time.sleep(0.5)
            yield f"http://127.0.0.1:{port}/mcp"
        finally:
            process.kill()
            process.wait()


@contextlib.contextmanager
def gateway(config, **env):
    with tempfile.TemporaryDirectory() as folder:
        running = Gateway(folder, config=config, env=env).start()
        try:
            yield running
        finally:
            running.kill()


def main():
    wanted = sys.argv[1:]
    worse, passed, failed = [], 0, 0
    with fixture() as direct, gateway(f'[mcp.servers.fixture]\nurl = "{direct}"\n') as running:
        key = running.new_key(name="conformance")["key"]
        through = f"{running.url}/mcp/fixture?key={key}"
        assert eventually(lambda: "fixture" in running.log() or running.is_up())
        for release, revision in RUNS:
            print(f"\n{release}, {revision}\n{'scenario':45} {'directly':10} through the gateway")
            for scenario in scenarios(release, revision):
                if wanted and scenario not in wanted:
                    continue
                (is_right, _), (is_right_through, said) = (passes(release, revision, scenario, url) for url in (direct, through))
                print(f"{scenario:45} {'pass' if is_right else 'fail':10} {'pass' if is_right_through else 'fail'}", flush=True)
                passed, failed = passed + is_right_through, failed + (not is_right_through)
                if is_right and not is_right_through:
                    worse.append(f"{release} {revision} {scenario}:\n{said[-3000:]}")
                elif wanted and not is_right_through:
                    print(said[-3000:])
    print(*worse, sep="\n\n")
    print(f"\nthrough the gateway {passed} scenarios pass, {failed} do not; worse than directly: {len(worse)}")
    print(f"{int(not worse)} passed, {int(bool(worse))} failed")
    return bool(worse)


if __name__ == "__main__":
    sys.exit(main())
