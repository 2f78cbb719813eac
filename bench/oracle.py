"""Whether a clock tells an unknown key id from a wrong secret: interleaved samples, Mann-Whitney's test and the difference of the medians.

Three states are measured, each over one connection to a running release build (or KEYWARD_BIN): ids that are tried for the first time,
and an id that is tried again and again; and, after a restart, ids of keys with limits that nobody has used since. A third sample of unknown ids is held against the first as a control: what differs there is noise.
"""

import argparse
import math
import pathlib
import random
import statistics
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests" / "e2e"), str(ROOT / "tests" / "keys")]

from client import Client  # noqa: E402
from gateway import Gateway  # noqa: E402
from keys import with_own_id, with_secret_of  # noqa: E402

# A difference is told apart only where it is larger than both.
P = 0.001
MICROSECONDS = 5.0
ADDRESSES = [f"127.0.{i}.{j}" for i in range(1, 40) for j in range(1, 255)]
# Of one address so many are answered before it has to wait.
PER_ADDRESS = 90


def mann_whitney(a, b):
    """The two-sided p by the normal approximation, with ties."""
    ranked = sorted((value, side) for side, values in enumerate((a, b)) for value in values)
    rank_sum, ties, at = 0.0, 0.0, 0
    while at < len(ranked):
        end = at
        while end < len(ranked) and ranked[end][0] == ranked[at][0]:
            end += 1
        rank_sum += (at + end + 1) / 2 * sum(side == 0 for _, side in ranked[at:end])
        ties += (end - at) ** 3 - (end - at)
        at = end
    n, m = len(a), len(b)
    mean, total = n * m / 2, n + m
    spread = math.sqrt(n * m / 12 * (total + 1 - ties / (total * (total - 1))))
    return math.erfc(abs(rank_sum - n * (n + 1) / 2 - mean) / spread / math.sqrt(2))


class Asker:
    """Times requests; its address changes before the throttle of guesses sees it."""

    def __init__(self, port):
        self.port, self.left, self.addresses = port, 0, iter(ADDRESSES)
        self.client = None

    def time(self, key):
        if not self.left:
            if self.client:
                self.client.close()
            self.client, self.left = Client(self.port, next(self.addresses)), PER_ADDRESS
            self.client.send("GET", "/healthz", [])
        self.left -= 1
        began = time.perf_counter_ns()
        reply = self.client.send("GET", "/v1/models", [("authorization", f"Bearer {key}")])
        took = (time.perf_counter_ns() - began) / 1000
        if reply.status != 401 or b"invalid_api_key" not in reply.body:
            raise SystemExit(f"the answer is {reply.status} {reply.body!r}")
        return took, reply.body


def sample(asker, sides):
    """Times of each side, in rounds of changing order; the bodies have to be one."""
    times, bodies = {name: [] for name in sides}, set()
    rounds = min(map(len, sides.values()))
    for at in range(rounds):
        for name in random.sample(list(sides), len(sides)):
            took, body = asker.time(sides[name][at])
            times[name].append(took)
            bodies.add(body)
    if len(bodies) != 1:
        raise SystemExit(f"the answers differ: {bodies}")
    return times


def judge(state, times):
    """Prints what was found; whether the two can be told apart."""
    unknown = times["unknown id"]
    can_tell = False
    for name in ("wrong secret", "unknown id again"):
        p, gap = mann_whitney(unknown, times[name]), statistics.median(times[name]) - statistics.median(unknown)
        print(f"{state:20} {name:18} n = {len(unknown):6}  median {statistics.median(unknown):7.1f} us and {gap:+6.2f} us  p = {p:.3f}")
        can_tell |= name == "wrong secret" and p < P and abs(gap) > MICROSECONDS
    return can_tell


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a few samples: whether it runs")
    options = parser.parse_args()
    keys, rounds = (30, 300) if options.quick else (400, 20_000)
    with tempfile.TemporaryDirectory() as folder:
        gateway = Gateway(folder, env={"KEYWARD_LOG": "warn"}).start()
        try:
            can_tell = measure(gateway, keys, rounds)
        finally:
            gateway.stop()
    print("they can be told apart" if can_tell else "they cannot be told apart")
    # A few samples on a busy machine prove nothing either way.
    sys.exit(can_tell and not options.quick)


def measure(gateway, keys, rounds):
    made = [gateway.new_key()["key"] for _ in range(keys)]
    asker = Asker(gateway.port)
    good = Client(gateway.port)
    # In use, as the keys are that a guesser would like to find.
    for key in made:
        assert good.send("GET", "/v1/models", [("authorization", f"Bearer {key}")]).status == 200
    new = lambda count: [with_own_id(made[0]) for _ in range(count)]  # noqa: E731
    wrong = [with_secret_of(key, with_own_id(key)) for key in made]
    first = sample(asker, {"unknown id": new(keys), "wrong secret": wrong, "unknown id again": new(keys)})
    again = sample(asker, {"unknown id": new(1) * rounds, "wrong secret": wrong[:1] * rounds, "unknown id again": new(1) * rounds})
    return judge("tried first", first) | judge("tried again", again) | judge("limited, at rest", at_rest(gateway, keys))


def at_rest(gateway, keys):
    """Of keys whose limits would have to be counted before they are let in."""
    limited = [gateway.new_key(budget="5/month", limit="requests/day=1000")["key"] for _ in range(keys)]
    gateway.stop()
    gateway.start()
    new = lambda: [with_own_id(limited[0]) for _ in range(keys)]  # noqa: E731
    wrong = [with_secret_of(key, with_own_id(key)) for key in limited]
    return sample(Asker(gateway.port), {"unknown id": new(), "wrong secret": wrong, "unknown id again": new()})


if __name__ == "__main__":
    main()
