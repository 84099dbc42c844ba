"""Compare a training step of two checkouts, in turn on one machine: time and memory.

    python benchmarks/compare_steps.py OLD NEW [--what train|distill] [--repeats 7]

Each checkout has a process of its own, which compiles the step of `bench_network` and
then waits for its turns, so that both suffer alike from whatever else the machine does.
The ratio is the median over rounds, of processor time; memory is the most over the
interpreter with its imports. Results must agree in every bit, or the row says so.
"""

import argparse
import functools
import hashlib
import operator
import os
import statistics
import subprocess
import sys
from pathlib import Path

import measure


def main() -> None:
    if len(sys.argv) == 3 and sys.argv[1] == "--serve":
        serve(sys.argv[2])
        return
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkouts", nargs=2, type=Path, metavar=("OLD", "NEW"))
    parser.add_argument("--what", choices=("train", "distill"), default="distill")
    parser.add_argument("--repeats", type=int, default=7)
    args = parser.parse_args()
    servers = [start(path.resolve(), args.what) for path in args.checkouts]
    for server in servers:
        ask(server)  # the first step, untimed
    rounds = [[ask(server) for server in servers] for _ in range(args.repeats)]
    last = rounds[-1]
    for server in servers:
        server.stdin.close()
        server.wait()
    old, new = ([float(turn[i][0]) for turn in rounds] for i in range(2))
    row = {
        "what": f"{args.what}, two checkouts",
        "peak_mb_over_base": [int(answer[1]) for answer in last],
        "cpu_ms": [round(1e3 * statistics.median(times)) for times in (old, new)],
        "ratio": round(statistics.median(map(operator.truediv, new, old)), 3),
        "same_bits": last[0][2] == last[1][2],
        "load": round(os.getloadavg()[0], 1),
    }
    measure.append("network", row)


def start(checkout: Path, what: str) -> subprocess.Popen:
    """Start a process that runs steps of a checkout when asked."""
    paths = f"{checkout}{os.pathsep}{checkout / 'benchmarks'}"
    return subprocess.Popen(
        [sys.executable, __file__, "--serve", what],
        env={**os.environ, "PYTHONPATH": paths},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def ask(server: subprocess.Popen) -> list[str]:
    """Return processor seconds, peak and hash of one step."""
    print("go", file=server.stdin, flush=True)
    return server.stdout.readline().split()


def serve(what: str) -> None:
    """Answer every line of the standard input with a step."""
    # The checkout's own modules, which `PYTHONPATH` names.
    sys.path.remove(str(Path(__file__).resolve().parent))
    import bench_network
    import profile_network

    base = bench_network.peak_memory_mb()
    compiled, operands = profile_network.compile_step(what)
    import jax
    import numpy as np

    def step(result: list) -> None:
        result.append(jax.block_until_ready(compiled(*operands)))

    for _ in sys.stdin:
        digest, result = hashlib.sha256(), []
        _, cpu = measure.time_once(functools.partial(step, result))
        peak = bench_network.peak_memory_mb() - base
        for leaf in jax.tree.leaves(result.pop()):
            digest.update(np.asarray(leaf).tobytes())
        print(cpu, round(peak), digest.hexdigest(), flush=True)


if __name__ == "__main__":
    main()
