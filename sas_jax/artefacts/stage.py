"""How a stage goes through its scenes: skip, claim, make, and wait for other workers.

Any number of workers - one a GPU, or one a machine - may run the same stage on one
workspace. Each claims the scene that it makes; what another one has claimed is left
for later, and made after all if that worker dies. A worker returns when every scene is
done, whoever made it, so that the next stage may begin.
"""

import dataclasses
import pathlib
import time
from collections.abc import Callable, Sequence

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
    """

    name: str
    path: pathlib.Path
    key: str


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
    for folder in {job.path.parent for job in jobs}:
        remove_left(folder)
    began = time.monotonic()
    tally, waiting, first = Tally(), list(jobs), True
    while waiting:
        left = []
        for job in waiting:
            if is_current(job.path, job.key, verify=verify and first):
                tally.current += 1
            elif not _make_claimed(job, make, tally, verify):
                left.append(job)
                continue
            progress()
        if len(left) == len(waiting):
            time.sleep(POLL_S)
        waiting, first = left, False
    tally.seconds = time.monotonic() - began
    tally.megabytes = sum(job.path.stat().st_size for job in jobs) / 1e6
    return tally


def _make_claimed(
    job: Job, make: Callable[[Job], None], tally: Tally, verify: bool
) -> bool:
    """Make a job unless another worker does; tell whether it is done."""
    base = job.path.parent / ".claims" / job.path.name
    with writing(base):
        base.parent.mkdir(parents=True, exist_ok=True)
        claim = take(base)
    if not isinstance(claim, Lock):
        return False
    try:
        if is_current(job.path, job.key, verify=verify):
            tally.current += 1  # made between the look and the claim
        else:
            make(job)
            tally.made += 1
    finally:
        claim.release()
    return True
