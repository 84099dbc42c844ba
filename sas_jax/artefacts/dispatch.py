"""A stage spread over workers: processes of this machine, or Ray's on any.

`begin` loads what a stage needs in the process of a worker, and returns what does one
task. The driver gives every idle worker the largest task that is left. A task claims
what it makes (`artefacts.stage`), so that drivers that do not know of each other make
nothing twice; what somebody else has claimed is asked for again later.

A worker that dies is replaced and its task given out again, `TRIES` times in all. An
error of a task is raised when the other workers are done with what they are at.
Workers end with their driver, however that ends.
"""

import collections
import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import Any, NamedTuple

from sas_jax.artefacts import on_ray, workers
from sas_jax.errors import InputError

TRIES = 3
"""How many workers may die of one task, or while they begin."""

POLL_S = 0.5
"""Between looks at tasks that another driver's workers have claimed."""


class Task(NamedTuple):
    """What a worker does at a time: `content` is what it gets, `cost` in any unit."""

    name: str
    content: Any
    cost: float = 0.0


class Answer(NamedTuple):
    """What came of a task; `busy` where some of it is claimed elsewhere."""

    result: Any
    busy: bool = False


Begin = Callable[[int], Callable[[Any], Answer]]
"""Called once in each worker, with the number of CPU threads that it may use."""


@dataclasses.dataclass(frozen=True)
class Crew:
    """Who works.

    Attributes:
      workers: how many; one, without Ray, is this process.
      threads: of the CPU for all of them together; None takes all there are.
      ray: address of a cluster, or `local` for one that is started here; None for
        processes of this machine.
      gpus: of each worker, assigned by Ray; a part of one is shared.
    """

    workers: int = 1
    threads: int | None = None
    ray: str | None = None
    gpus: float = 0.0


def spread(
    tasks: Sequence[Task], begin: Begin, crew: Crew
) -> Iterator[tuple[Task, Answer]]:
    """Do tasks, the costliest first; yield each with its answer as it comes.

    Args:
      tasks: in any order. One whose answer is busy comes again.
      begin: can be pickled, as can tasks and answers, where there are workers.
      crew: who works.

    Raises:
      InputError: for workers that die, no Ray, or a cluster without what they need.
      Exception: what a task raised, in whatever process.
    """
    if not tasks:
        return
    count = min(crew.workers, len(tasks))
    hiring: contextlib.AbstractContextManager[Callable[[], workers.Worker]]
    if crew.ray is not None:
        hiring = on_ray.actors(crew.ray, count, crew.threads, crew.gpus)
    elif count > 1:
        hiring = workers.processes(count, crew.threads)
    else:
        hiring = contextlib.nullcontext(lambda: workers.Here(crew.threads))
    with hiring as hire, contextlib.closing(_Driver(tasks, begin, hire)) as driver:
        for _ in range(count):
            driver.hire()
        while driver.has_work():
            yield from driver.answers()
        if driver.fault is not None:
            raise driver.fault


class _Driver:
    """Who has what to do."""

    def __init__(
        self, tasks: Sequence[Task], begin: Begin, hire: Callable[[], workers.Worker]
    ) -> None:
        self.fault: BaseException | None = None
        self._begin, self._hire = begin, hire
        largest_first = sorted(tasks, key=lambda task: -task.cost)
        self._left, self._busy = collections.deque(largest_first), list[Task]()
        self._idle = list[workers.Worker]()
        self._at = dict[Future, tuple[workers.Worker, Task | None]]()
        self._deaths = collections.Counter[str | None]()

    def hire(self) -> None:
        """Let a worker begin; until it has, Ray may have no room, it gets no task."""
        worker = self._hire()
        self._at[worker.submit("begin", self._begin, worker.threads)] = worker, None

    def has_work(self) -> bool:
        """Tell whether a task is to be given, or its answer awaited."""
        given = any(task is not None for _, task in self._at.values())
        return given or bool(self._left or self._busy)

    def answers(self) -> Iterator[tuple[Task, Answer]]:
        """Give tasks to who is idle, wait for somebody, and yield what is answered."""
        while self._left and self._idle:
            worker, task = self._idle.pop(0), self._left.popleft()
            self._at[worker.submit("do", task.content)] = worker, task
        if not self._at:  # all that is left is claimed elsewhere
            time.sleep(POLL_S)
        done, _ = wait(self._at, POLL_S if self._busy else None, FIRST_COMPLETED)
        if not done:
            self._left.extend(self._busy)
            self._busy.clear()
        for future in done:
            worker, about = self._at.pop(future)
            error = future.exception()
            if error is not None:
                self._failed(worker, about, error)
                continue
            self._idle.append(worker)
            if about is not None:
                answer = future.result()
                if answer.busy and self.fault is None:
                    self._busy.append(about)
                yield about, answer

    def _failed(
        self, worker: workers.Worker, task: Task | None, error: BaseException
    ) -> None:
        """Replace a worker that died; keep the first error of a task."""
        if not worker.has_died(error):
            self._idle.append(worker)
        else:
            worker.close()
            name = task.name if task else None
            self._deaths[name] += 1
            if self.fault is None and self._deaths[name] < TRIES:
                if task is not None:
                    self._left.append(task)  # after what has killed nobody
                self.hire()
                return
            error = _dead(name)
        self.fault = self.fault or getattr(error, "cause", None) or error
        self._left.clear()
        self._busy.clear()

    def close(self) -> None:
        """End all workers, whatever they are at."""
        for worker in [*self._idle, *(worker for worker, _ in self._at.values())]:
            worker.close()


def _dead(name: str | None) -> InputError:
    at = f"at {name}" if name else "before its first task"
    return InputError(
        f"workers: a worker that lives is required, got {TRIES} that were killed {at}; "
        "perhaps memory ran out. Give each more of it by fewer --workers and run the "
        "same command again: what is finished is kept."
    )
