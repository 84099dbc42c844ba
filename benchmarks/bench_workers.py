"""Time the extraction of a data set by one process and by several workers, in turn.

    python benchmarks/bench_workers.py --data_root=data/rooms [--workers 1,2]

Both teachers of the rooms on all scenes of rooms.flags' splits, each time from nothing,
as a whole command: imports and loading of models are part of it. Times are those of
the clock and of all processes' processors; the least counts.
"""

import argparse
import os
import pathlib
import resource
import subprocess
import sys
import tempfile
import time

import measure

ROOT = pathlib.Path(__file__).resolve().parent.parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data_root", type=pathlib.Path, required=True)
    parser.add_argument("--workers", type=lambda text: text.split(","), default="1,2")
    parser.add_argument("--rounds", type=int, default=2)
    args = parser.parse_args()
    load = os.getloadavg()[0]
    counts = [int(count) for count in args.workers]
    rounds = [[extract(args.data_root, n) for n in counts] for _ in range(args.rounds)]
    for count, times in zip(counts, zip(*rounds, strict=True), strict=True):
        wall, cpu = map(min, zip(*times, strict=True))
        row = {"workers": count, "wall_s": round(wall, 1), "cpu_s": round(cpu, 1)}
        scenes = len(list((args.data_root / "scans").iterdir()))
        measure.append("workers", {**row, "scenes": scenes, "load": round(load, 1)})


def extract(data_root: pathlib.Path, workers: int) -> tuple[float, float]:
    """Return the seconds that extraction takes, of the clock and of processors."""
    with tempfile.TemporaryDirectory() as workspace:
        command = [
            *(sys.executable, "experiments/extract_features.py"),
            *("--flagfile=rooms.flags", "--nomake_rooms", f"--workers={workers}"),
            *(f"--data_root={data_root.resolve()}", f"--workspace={workspace}"),
        ]
        before, began = spent(), time.perf_counter()
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
        return time.perf_counter() - began, spent() - before


def spent() -> float:
    """Return the processor seconds of all processes that this one has waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
