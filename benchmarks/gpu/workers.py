"""Prepare many processes at once, then let one after the other use the device.

A worker compiles, prints `READY` and waits for a line on its standard input; only then
it measures. So programs compile on all processors, while nothing disturbs a
measurement. Each worker has the device's memory to account for alone.
"""

import dataclasses
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import rows

READY = "ready to measure"
_HERE = Path(__file__).resolve().parent


@dataclasses.dataclass(frozen=True)
class Patience:
    """Seconds to wait for a worker to be ready, and for it to measure."""

    ready: float
    measure: float

    @classmethod
    def of_day(cls, ready: float, measure: float) -> "Patience":
        """Return these seconds, and many times as many in a rehearsal."""
        factor = 6 if rows.REHEARSE else 1
        return cls(factor * ready, factor * measure)


class Worker:
    """A process of ours that prepares itself in the background."""

    def __init__(self, script: str, *args: str) -> None:
        self.name = " ".join((script, *args))
        self._ready = threading.Event()
        self._process = subprocess.Popen(
            [sys.executable, "-u", str(_HERE / script), *args],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for line in self._process.stdout:
            if line.strip() == READY:
                self._ready.set()
            else:
                print(f"[{self.name}] {line}", end="", flush=True)
        self._ready.set()  # it ended: nobody need wait for it

    def wait_ready(self, deadline: float) -> None:
        """Wait until it is ready, has ended, or the time is up; then it is ended."""
        if not self._ready.wait(max(0.0, deadline - time.monotonic())):
            print(f"[{self.name}] was not ready in time", flush=True)
            self._process.kill()

    def measure(self, seconds: float) -> int:
        """Let it measure; return its exit status, negative if it was ended."""
        try:
            if self._process.poll() is None:
                self._process.stdin.write("go\n")
                self._process.stdin.close()
        except BrokenPipeError:
            pass
        try:
            status = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            print(f"[{self.name}] took more than {seconds:g} s", flush=True)
            self._process.kill()
            status = self._process.wait()
        self._reader.join(5)
        return status


def run_all(
    commands: list[tuple[str, ...]],
    patience: Patience,
    prepare: Callable[[], object] = lambda: None,
) -> list[str]:
    """Start all workers, let them measure in order; return the names of failed ones.

    Args:
      commands: script and arguments of each.
      patience: how long to wait for them.
      prepare: what else must be done before the first one measures, meanwhile.
    """
    workers = [Worker(*command) for command in commands]
    deadline = time.monotonic() + patience.ready
    prepare()
    for worker in workers:
        worker.wait_ready(deadline)
    return [w.name for w in workers if w.measure(patience.measure) != 0]


def wait_for_turn() -> None:
    """Say that this process is ready and wait until it is its turn."""
    print(READY, flush=True)
    sys.stdin.readline()
