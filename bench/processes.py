"""Processes under measurement: started in a temporary folder, read from /proc, stopped whatever happens."""

import contextlib
import dataclasses
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile

TICK = 1e9 / os.sysconf("SC_CLK_TCK")


class Fault(Exception):
    """The benchmark cannot be set up."""


def note(text):
    print(text, file=sys.stderr, flush=True)


def tool(name):
    found = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin")
    if not found:
        raise Fault(f"{name} is not installed")
    return found


def process_tree(root):
    """The process and all its descendants, as {pid: fields of /proc/PID/stat from `state` on}."""
    stats = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError):
                stat = pathlib.Path("/proc", entry, "stat").read_text()
                stats[int(entry)] = stat.rpartition(")")[2].split()
    tree = {root} & stats.keys()
    while grown := {pid for pid, stat in stats.items() if int(stat[1]) in tree} - tree:
        tree |= grown
    return {pid: stats[pid] for pid in tree}


@dataclasses.dataclass
class Cpu:
    """CPU time of a process tree, by two clocks."""

    by_thread: int
    by_tick: float
    slack: float

    @classmethod
    def read(cls, root):
        tree = process_tree(root)
        by_thread = 0
        for pid in tree:
            for schedstat in pathlib.Path("/proc", str(pid), "task").glob("*/schedstat"):
                with contextlib.suppress(OSError):
                    by_thread += int(schedstat.read_text().split()[0])
        ticks = sum(int(field) for stat in tree.values() for field in stat[11:15])
        # Ticks are counted by process and kind, and each count may be one off.
        return cls(by_thread, ticks * TICK, 2 * TICK * len(tree) if by_thread else 0)

    def since(self, before):
        """Nanoseconds. schedstat is exact but forgets threads that ended; ticks are coarse but forget nothing."""
        return max(self.by_thread - before.by_thread, self.by_tick - before.by_tick - self.slack)


def memory(root):
    """Resident memory of a process tree in MB: now, and the sum of each process's peak."""
    total = {"VmRSS": 0, "VmHWM": 0}
    for pid in process_tree(root):
        with contextlib.suppress(OSError):
            for line in pathlib.Path("/proc", str(pid), "status").read_text().splitlines():
                name, _, value = line.partition(":")
                if name in total:
                    total[name] += int(value.split()[0]) / 1024
    return {"rss": total["VmRSS"], "peak": total["VmHWM"]}


class Stage:
    """The temporary folder and the processes in it; both go when it closes."""

    def __init__(self, stack, keep):
        self.stack = stack
        self.tmp = pathlib.Path(tempfile.mkdtemp(prefix="keyward-bench-"))
        if keep:
            stack.callback(note, f"kept {self.tmp}")
        else:
            stack.callback(shutil.rmtree, self.tmp, ignore_errors=True)

    def folder(self, name):
        folder = self.tmp / name
        folder.mkdir()
        return folder

    def launch(self, folder, command, env=None):
        with open(folder / "log", "wb") as log:
            try:
                process = subprocess.Popen(
                    command,
                    cwd=folder,
                    env=clean_env() | (env or {}),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            except OSError as error:
                raise Fault(f"{command[0]}: {error.strerror}") from error
        self.stack.callback(stop, process)
        return process


def clean_env():
    """The environment without what would change the result: a proxy between us and the mock, settings of Keyward."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.lower().endswith("_proxy") and not name.startswith("KEYWARD_")
    }


def stop(process):
    for sign in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, sign)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(5)
