"""Work beside the main thread, in order and bounded: reading ahead, adding up behind.

One thread each: whoever reads frames is never asked by two at once, and sums have one
order. Both leave the interpreter to others for most of their time, in the decoders'
and numpy's loops.
"""

import collections
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

Item = TypeVar("Item")


def ahead(items: Iterable[Item], most: int) -> Generator[Item, None, None]:
    """Yield items that another thread makes meanwhile, in their order.

    Args:
      items: asked for from one other thread only.
      most: items that are made before they are wanted, >= 1.

    What the items raise is raised here, where the item was wanted. Whoever stops early
    closes the iterator, which waits for the item that is being made.
    """
    iterator, end = iter(items), object()
    with ThreadPoolExecutor(1, "ahead") as thread:
        waiting = collections.deque(
            thread.submit(next, iterator, end) for _ in range(most)
        )
        try:
            while waiting:
                item: Any = waiting.popleft().result()
                if item is end:
                    break
                waiting.append(thread.submit(next, iterator, end))
                yield item
        finally:
            for future in waiting:
                future.cancel()


class OneBehind:
    """Run calls on another thread, in their order, and at most one call behind.

    A context: at its end all calls are done. What a call raises is raised by the next
    one, or at the end.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "behind")
        self._last: Future | None = None

    def __enter__(self) -> "OneBehind":
        return self

    def __call__(self, function: Callable[[], object]) -> None:
        """Wait for the call before, then start this one."""
        self._wait()
        self._last = self._thread.submit(function)

    def __exit__(self, kind: object, *rest: object) -> None:
        try:
            if kind is None:
                self._wait()
        finally:
            self._thread.shutdown()

    def _wait(self) -> None:
        if self._last is not None:
            self._last.result()
            self._last = None
