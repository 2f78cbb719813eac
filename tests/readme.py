"""Runs the README's marked blocks against a fresh gateway, each in an empty folder, as someone who pastes them would.

`<!-- test: NAME -->` before a block runs it: it has to succeed. `<!-- output: NAME -->` before another has its lines, in order,
in the output of the first; `…` stands for anything. The address of the README is replaced by the test's, and KEYWARD_KEY is set.
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "e2e"))

from gateway import BINARY, ROOT, Gateway

BLOCK = re.compile(r"^<!-- (test|output): (\S+) -->\n+```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
RUNNERS = {
    "bash": ("block.sh", ["bash", "-euo", "pipefail"]),
    "sh": ("block.sh", ["bash", "-euo", "pipefail"]),
    "python": ("block.py", [sys.executable]),
    "javascript": ("block.mjs", ["node"]),
    "typescript": ("block.mts", ["node"]),
}


def execute(gateway, env, language, text):
    name, runner = RUNNERS[language]
    with tempfile.TemporaryDirectory() as folder:
        cwd = pathlib.Path(folder)
        if packages := os.environ.get("NODE_PATH"):
            # Modules are looked for beside the file that imports them, and nowhere else.
            (cwd / "node_modules").symlink_to(packages)
        # Whoever pastes them is in the folder that the gateway runs in.
        (cwd / "prompts").symlink_to(gateway.folder / "prompts")
        here = f"127.0.0.1:{gateway.port}"
        (cwd / name).write_text(text.replace("127.0.0.1:8080", here))
        command = [*runner, name]
        done = subprocess.run(command, cwd=cwd, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60)
        done.stdout = done.stdout.replace(here, "127.0.0.1:8080")
        return done


def missing_line(expected, output):
    """The first line that is not there in its turn."""
    at = 0
    for line in filter(None, map(str.strip, expected.splitlines())):
        found = re.compile(".*".join(map(re.escape, line.split("…")))).search(output, at)
        if not found:
            return line
        at = found.end()
    return None


def fault(done, expected):
    if done.returncode != 0:
        return f"it ended with {done.returncode}"
    line = missing_line(expected, done.stdout)
    return line and f"its output lacks {line!r}"


def main():
    blocks = BLOCK.findall((ROOT / "README.md").read_text())
    expected = {name: text for kind, name, _, text in blocks if kind == "output"}
    failed = []
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(ROOT / "prompts", pathlib.Path(folder) / "prompts", ignore=shutil.ignore_patterns(".*"))
        gateway = Gateway(folder).start()
        path = f"{BINARY.parent}:{os.environ['PATH']}"
        env = {**gateway.env, "PATH": path, "KEYWARD_KEY": gateway.new_key(name="readme")["key"]}
        tests = [(name, language, text) for kind, name, language, text in blocks if kind == "test"]
        for name, language, text in tests:
            done = execute(gateway, env, language, text)
            wrong = fault(done, expected.pop(name, ""))
            print(f"{name}: {wrong or 'ok'}")
            if wrong:
                failed.append(name)
                print(done.stdout)
        gateway.stop()
    for name in expected:
        failed.append(name)
        print(f"{name}: an output, and no test of that name")
    print(f"{len(tests) - len(set(failed) - set(expected))} passed, {len(failed)} failed")
    return bool(failed)


sys.exit(main())
