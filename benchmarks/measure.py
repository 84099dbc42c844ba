"""Timing beside the machine's own limit, and rows of results.

The limit is a 2048^3 float32 matrix product by numpy, taken in turn with what is
measured, so that both suffer alike from whatever else the machine does. Both are
reported as wall time and as processor time: on a shared machine the latter is the
steadier one, and equal work per processor second is what the kernels are about.
"""

import dataclasses
import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

# SAS_JAX_RESULTS names another folder, for trials that are not to be kept.
RESULTS = Path(
    os.environ.get("SAS_JAX_RESULTS", Path(__file__).resolve().parent / "results")
)
_LIMIT_SIZE = 2048


@dataclasses.dataclass(frozen=True)
class Timing:
    """Medians over repeats.

    Attributes:
      wall_s: elapsed seconds.
      cpu_s: processor seconds of all threads.
    """

    wall_s: float
    cpu_s: float


def time_once(run: Callable[[], object]) -> tuple[float, float]:
    """Return elapsed and processor seconds of one call."""
    cpu, wall = time.process_time(), time.perf_counter()
    run()
    return time.perf_counter() - wall, time.process_time() - cpu


def beside_limit(run: Callable[[], object], repeats: int) -> tuple[Timing, Timing]:
    """Return timings of the limit and of `run`, taken in turn."""
    matrix = np.ones((_LIMIT_SIZE, _LIMIT_SIZE), np.float32)
    out = np.empty_like(matrix)
    samples = ([], [])
    for _ in range(repeats):
        samples[0].append(time_once(lambda: np.matmul(matrix, matrix, out=out)))
        # The product's idle workers spin on for 2^28 cycles, a tenth of a second, and
        # would halve the time of anything short that runs on all processors.
        time.sleep(0.25)
        samples[1].append(time_once(run))
        # XLA gives memory back a moment after a run: not at the limit's expense.
        time.sleep(0.25)
    limit, timing = (
        Timing(*map(statistics.median, zip(*sample, strict=True))) for sample in samples
    )
    return limit, timing


def threads() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0))


def report(
    benchmark: str, row: dict, timing: Timing, gflop: float, limit: Timing
) -> None:
    """Print a result and append it to <RESULTS>/<benchmark>.jsonl.

    Args:
      benchmark: name of the file.
      row: what was measured.
      timing: its time.
      gflop: its work, 0 if it is not arithmetic.
      limit: the matrix product's time in the same run.
    """
    limit_gflop = 2 * _LIMIT_SIZE**3 / 1e9
    row = {
        **row,
        "wall_ms": round(1e3 * timing.wall_s, 3),
        "cpu_ms": round(1e3 * timing.cpu_s, 3),
    }
    if gflop:
        row |= {
            "gflops": round(gflop / timing.wall_s, 1),
            "limit_gflops": round(limit_gflop / limit.wall_s, 1),
            "percent_wall": round(
                100 * gflop / timing.wall_s / (limit_gflop / limit.wall_s)
            ),
            "percent_cpu": round(
                100 * gflop / timing.cpu_s / (limit_gflop / limit.cpu_s)
            ),
        }
    append(benchmark, row)


def append(benchmark: str, row: dict) -> None:
    """Print a result and append it to <RESULTS>/<benchmark>.jsonl."""
    row = {**row, "threads": threads(), "numpy": np.__version__}
    RESULTS.mkdir(parents=True, exist_ok=True)
    with open(RESULTS / f"{benchmark}.jsonl", "a") as file:
        file.write(json.dumps(row) + "\n")
    print(json.dumps(row), flush=True)


def peak_gb() -> float:
    """Return the most memory that this process had, as the kernel counts it.

    Not `ru_maxrss`: that begins with the peak of the process that started this one.
    """
    lines = Path("/proc/self/status").read_text().splitlines()
    peak = next(line for line in lines if line.startswith("VmHWM:"))
    return round(int(peak.split()[1]) * 1024 / 1e9, 2)
