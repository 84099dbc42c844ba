"""Processes that share the work of one and end with it, even when it is killed."""

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import Connection, wait
from typing import Any, Protocol


class Worker(Protocol):
    """A `Seat` in some process.

    Attributes:
      threads: of the CPU that it may use.
    """

    threads: int

    def submit(self, method: str, *arguments: Any) -> Future:
        """Call a method of the seat, after those that were called before."""

    def has_died(self, error: BaseException) -> bool:
        """Tell whether an error of a future means that the process is gone."""

    def close(self) -> None:
        """End the process, whatever it is at."""


class Seat:
    """What a worker keeps between tasks."""

    def begin(self, begin: Callable[[int], Callable], threads: int) -> None:
        """Load what tasks need."""
        self._work = begin(threads)

    def do(self, content: Any) -> Any:
        """Do one task."""
        return self._work(content)


class Here:
    """A worker that is this process; what it raises is raised at once."""

    def __init__(self, threads: int | None = None) -> None:
        self.threads, self._seat = threads or os.cpu_count() or 1, Seat()

    def submit(self, method: str, *arguments: Any) -> Future:
        """See `Worker`."""
        future: Future = Future()
        future.set_result(getattr(self._seat, method)(*arguments))
        return future

    def has_died(self, error: BaseException) -> bool:
        """See `Worker`."""
        return False

    def close(self) -> None:
        """See `Worker`."""


@contextlib.contextmanager
def processes(
    workers: int, threads: int | None = None
) -> Iterator[Callable[[], Worker]]:
    """Give what starts one of several workers on this machine.

    Args:
      workers: how many there will be.
      threads: of the CPU for all of them; None takes all there are.
    """
    each = max(1, (threads or os.cpu_count() or 1) // workers)
    before = dict(os.environ)
    os.environ.update(environment(each))  # libraries read it as they are loaded
    try:
        yield lambda: _Process(each)
    finally:
        os.environ.clear()
        os.environ.update(before)


def environment(threads: int) -> dict[str, str]:
    """Return what bounds the threads of a worker's libraries, and hides its bars."""
    return {"OMP_NUM_THREADS": str(threads), "TQDM_DISABLE": "1"}


def worker_pool(workers: int, *, line: Connection | None = None) -> ProcessPoolExecutor:
    """Return a pool whose processes end with this one, even when it is killed.

    Args:
      workers: processes.
      line: the receiving end of a pipe; closing the other end ends them too, whatever
        they are at.
    """
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(workers, context, _end_with_parent, (line,))


def _end_with_parent(line: Connection | None) -> None:
    """Let a thread wait for the end of the parent; idle workers never notice it.

    Ctrl-C reaches workers too, and is for the parent to answer.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None  # a worker has one
    ends: list[Connection | int] = [parent.sentinel, *([line] if line else [])]

    def end() -> None:
        wait(ends)
        os._exit(1)

    threading.Thread(target=end, daemon=True).start()


_seat = Seat()


def _call(method: str, *arguments: Any) -> Any:
    return getattr(_seat, method)(*arguments)


class _Process:
    """A pool of one process: when that dies, other workers stay at their work."""

    def __init__(self, threads: int) -> None:
        theirs, self._line = multiprocessing.Pipe(duplex=False)
        self.threads, self._pool = threads, worker_pool(1, line=theirs)
        self._last: Future = Future()

    def submit(self, method: str, *arguments: Any) -> Future:
        try:
            self._last = self._pool.submit(_call, method, *arguments)
        except BrokenProcessPool as error:  # it died while it had nothing to do
            self._last = Future()
            self._last.set_exception(error)
        return self._last

    def has_died(self, error: BaseException) -> bool:
        return isinstance(error, BrokenProcessPool)

    def close(self) -> None:
        if not self._last.done():
            self._line.close()
        self._pool.shutdown(cancel_futures=True)
        self._line.close()
