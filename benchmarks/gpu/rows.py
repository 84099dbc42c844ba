"""Rows of a GPU day: what was measured, on which card, with which software, when.

Every row is appended to <SAS_JAX_RESULTS>/gpu_<part>.jsonl the moment it is known, so
that a part which dies later has not lost it.
"""

import datetime
import functools
import importlib.metadata
import json
import os
import subprocess
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import measure

# Sizes, repeats and devices of a trial on a CPU, which is to find every typo.
REHEARSE = os.environ.get("SAS_GPU_REHEARSE") == "1"
DEVICE = "cpu" if REHEARSE else "cuda"
_PACKAGES = ("jax", "jaxlib", "torch", "spconv", "spconv-cu126", "spconv-triton")


@functools.cache
def machine() -> dict:
    """Return card, driver, toolkit, versions of packages and the date."""
    versions = {"python": sys.version.split()[0]}
    for name in _PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    card, _, driver = _output(
        "nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"
    ).partition(", ")
    return {
        "card": card or "none",
        "driver": driver or "none",
        "versions": versions,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }


def write(part: str, **values: object) -> None:
    """Print a row and append it to the part's file."""
    row = {**values, **machine()}
    if REHEARSE:
        row["rehearsal"] = True
    measure.RESULTS.mkdir(parents=True, exist_ok=True)
    with open(measure.RESULTS / f"gpu_{part}.jsonl", "a") as file:
        file.write(json.dumps(row) + "\n")
    print(json.dumps(values), flush=True)


class Failures:
    """Turn what goes wrong in one case into a row, and go on with the next.

    Attributes:
      count: how many cases failed.
    """

    def __init__(self, part: str) -> None:
        self._part = part
        self.count = 0

    @contextmanager
    def case(self, **values: object) -> Iterator[None]:
        """Run one case; its exception ends in a row with an `error`."""
        try:
            yield
        except Exception as error:
            self.count += 1
            traceback.print_exc()
            lines = str(error).strip().splitlines() or [""]
            message = f"{type(error).__name__}: {lines[0]}"
            write(self._part, **values, error=message[:300])

    def exit(self) -> None:
        """End the process, with status 1 if anything failed."""
        sys.stdout.flush()
        sys.stderr.flush()
        sys.exit(1 if self.count else 0)


def _output(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip().partition("\n")[0] if done.returncode == 0 else ""
