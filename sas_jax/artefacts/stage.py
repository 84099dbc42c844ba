"""How a stage goes through its scenes: skip, claim, make, and wait for other workers.

Any number of workers - one a GPU, or one a machine - may run the same stage on one
workspace. Each claims the scene that it makes; what another one has claimed is left
for later, and made after all if that worker dies. A worker returns when every scene is
done, whoever made it, so that the next stage may begin.
"""

import contextlib
import dataclasses
import pathlib
import time
from collections.abc import Callable, Iterator, Sequence

from sas_jax.artefacts.files import is_current, writing
from sas_jax.artefacts.lock import Lock, remove_left, take

POLL_S = 0.5
"""Between looks at scenes that other workers have claimed."""


@dataclasses.dataclass(frozen=True)
class Job:
    """One artefact of a stage.

    Attributes:
      name: of the scene.
      path: where the artefact belongs.
      key: content key of what it is made from.
      looked_at: says whether a path is whole and of a key, for files that keep their
        key themselves; None looks at the manifest beside it.
    """

    name: str
    path: pathlib.Path
    key: str
    looked_at: Callable[[pathlib.Path, str], bool] | None = None

    def is_current(self, *, verify: bool) -> bool:
        """Tell whether the artefact is up to date; `verify` as in `run_jobs`."""
        if self.looked_at is not None:
            return self.looked_at(self.path, self.key)
        return is_current(self.path, self.key, verify=verify)


@dataclasses.dataclass
class Tally:
    """What became of the jobs of a stage.

    Attributes:
      made: by this worker.
      current: were up to date, or made by other workers meanwhile.
      seconds: from the first look to the last artefact.
      megabytes: of all artefacts.
    """

    made: int = 0
    current: int = 0
    seconds: float = dataclasses.field(default=0.0, compare=False)
    megabytes: float = dataclasses.field(default=0.0, compare=False)


def run_jobs(
    jobs: Sequence[Job],
    make: Callable[[Job], None],
    *,
    verify: bool = False,
    progress: Callable[[], None] = lambda: None,
) -> Tally:
    """Make every artefact that is not up to date, beside other workers.

    Args:
      jobs: artefacts, which need not lie in one folder.
      make: makes and saves one; what it raises ends the stage and gives the claim back.
      verify: hash what is there, even if its stamp stands.
      progress: called once for every job that is done.

    Raises:
      InputError: when a folder cannot be written.
    """
    groups = [[job] for job in jobs]

    def make_one(due: Sequence[Job]) -> None:
        make(due[0])

    return run_groups(groups, make_one, verify=verify, progress=progress)


def run_groups(
    groups: Sequence[Sequence[Job]],
    make: Callable[[Sequence[Job]], None],
    *,
    verify: bool = False,
    progress: Callable[[], None] = lambda: None,
) -> Tally:
    """Make artefacts in groups: those of a scene that one pass over it makes together.

    Every artefact is claimed by itself, so that workers with other groups of the same
    artefacts make none twice. Who has claimed the first one that is due is left to make
    the others too.

    Args:
      groups: artefacts of one scene each.
      make: makes and saves those of a group that are due, at least one.
      verify: see `run_jobs`.
      progress: called once for every group that is done.

    Returns:
      How many artefacts were made, and how many were up to date.

    Raises:
      InputError: when a folder cannot be written.
    """
    for folder in {job.path.parent for group in groups for job in group}:
        remove_left(folder)
    began = time.monotonic()
    tally, waiting, first = Tally(), list(groups), True
    while waiting:
        left: list[Sequence[Job]] = []
        for group in waiting:
            if others := try_group(group, make, tally, verify=verify and first):
                left.append(others)
            else:
                progress()
        if sum(map(len, left)) == sum(map(len, waiting)):
            time.sleep(POLL_S)
        waiting, first = left, False
    tally.seconds = time.monotonic() - began
    files = (job.path for group in groups for job in group)
    tally.megabytes = sum(file.stat().st_size for file in files) / 1e6
    return tally


def try_group(
    group: Sequence[Job],
    make: Callable[[Sequence[Job]], None],
    tally: Tally,
    *,
    verify: bool = False,
) -> list[Job]:
    """Make what is due of one group and what no other worker has claimed.

    Args:
      group: artefacts of a scene.
      make: as in `run_groups`.
      tally: counts what was made, and what was current.
      verify: see `run_jobs`.

    Returns:
      What others have claimed, to be asked for again.

    Raises:
      InputError: when a folder cannot be written.
    """
    return _make_claimed(_not_current(group, tally, verify), make, tally, verify)


@contextlib.contextmanager
def claimed(path: pathlib.Path) -> Iterator[bool]:
    """Claim an artefact for what is done inside; False where another worker has it.

    Raises:
      InputError: when its folder cannot be written.
    """
    claim = _claim(path)
    try:
        yield isinstance(claim, Lock)
    finally:
        if isinstance(claim, Lock):
            claim.release()


def _not_current(group: Sequence[Job], tally: Tally, verify: bool) -> list[Job]:
    """Return what is not up to date; count the rest."""
    due = [job for job in group if not job.is_current(verify=verify)]
    tally.current += len(group) - len(due)
    return due


def _make_claimed(
    due: Sequence[Job],
    make: Callable[[Sequence[Job]], None],
    tally: Tally,
    verify: bool,
) -> list[Job]:
    """Make what no other worker does; return what others have claimed."""
    with contextlib.ExitStack() as claims:
        own, others = [], []
        for job in due:
            if claims.enter_context(claimed(job.path)):
                own.append(job)
            elif not own:
                return list(due)
            else:
                others.append(job)
        # What was made between the look and the claim is counted as up to date.
        if own := _not_current(own, tally, verify):
            make(own)
            tally.made += len(own)
    return others


def _claim(path: pathlib.Path) -> object:
    """Return the lock of an artefact, or anything else where another worker has it."""
    base = path.parent / ".claims" / path.name
    with writing(base):
        base.parent.mkdir(parents=True, exist_ok=True)
        return take(base)
