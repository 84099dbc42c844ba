"""Time work that a device does behind the program's back, and compare results.

A batch enqueues k calls and waits once, at its end, so that the cost of starting a call
hides behind the work of the one before it. The time of a call is the median over
batches of a k-th of the batch. The first calls, which compile, tune and allocate, are
not counted.
"""

import dataclasses
import statistics
import time
from collections.abc import Callable

import numpy as np
import rows


@dataclasses.dataclass(frozen=True)
class Batches:
    """How often to call.

    Attributes:
      count: batches, of which the median is taken.
      seconds: a batch should take at least this long.
      most: calls of a batch, at most.
    """

    count: int = 7
    seconds: float = 0.08
    most: int = 100


DAY = Batches(count=2, seconds=0.0, most=2) if rows.REHEARSE else Batches()


class Unequal(Exception):
    """Say that a result is not what it should be, so that its time means nothing."""


def time_calls(
    run: Callable[[], object],
    wait: Callable[[object], object],
    batches: Batches = DAY,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, float]:
    """Return the time of a call: `ms`, the fastest and slowest batch, calls per batch.

    Args:
      run: enqueues the work and returns something to wait for.
      wait: takes what `run` returned last, returns when the work is done.
      batches: how often.
      clock: seconds.
    """
    wait(run())
    once = _seconds_of_batch(run, wait, 1, clock)
    calls = min(batches.most, max(1, round(batches.seconds / max(once, 1e-6))))
    samples = [
        1e3 * _seconds_of_batch(run, wait, calls, clock) / calls
        for _ in range(batches.count)
    ]
    return {
        "ms": round(statistics.median(samples), 4),
        "ms_least": round(min(samples), 4),
        "ms_most": round(max(samples), 4),
        "calls": calls,
    }


def _seconds_of_batch(run, wait, calls: int, clock) -> float:
    start = clock()
    for _ in range(calls - 1):
        run()
    wait(run())
    return clock() - start


def relative_error(got: object, expected: object) -> float:
    """Return |got - expected| / |expected|; infinite where `got` is not finite.

    Raises:
      Unequal: if the shapes differ, or nothing or only zeros are expected.
    """
    got = np.asarray(got, np.float64)
    expected = np.asarray(expected, np.float64)
    if got.shape != expected.shape or not expected.any():
        raise Unequal(
            f"a result of shape {expected.shape} that is not all zero is required, "
            f"got {got.shape}."
        )
    if not np.isfinite(got).all():
        return float("inf")
    return float(np.linalg.norm(got - expected) / np.linalg.norm(expected))


def require_close(name: str, got: object, expected: object, bound: float) -> float:
    """Return the relative error.

    Raises:
      Unequal: if it is larger than the bound.
    """
    error = relative_error(got, expected)
    if not error <= bound:
        raise Unequal(f"{name}: relative error {error:.2e} is over {bound:.0e}")
    return float(f"{error:.2e}")
