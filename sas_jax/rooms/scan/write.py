"""Write a set of rooms on disk, divided into train, val and test.

Room i of a set with seed s has the room seed `s * MAX_ROOMS + i`, which stays below
`FIRST_PRETRAINING_SEED`: sets of different seeds share no room, and none has a room
that the shipped networks were trained on.
"""

import pathlib
import shutil
from collections.abc import Iterator

from tqdm import tqdm

from sas_jax.artefacts.files import atomic_write
from sas_jax.artefacts.lock import workspace_lock
from sas_jax.artefacts.workers import worker_pool
from sas_jax.errors import InputError
from sas_jax.rooms.layout import make_room
from sas_jax.rooms.scan.config import RoomsConfig
from sas_jax.rooms.scan.scene import SceneSummary, write_scene


def write_rooms(
    root: str | pathlib.Path,
    config: RoomsConfig | None = None,
    *,
    workers: int = 1,
    progress: bool = True,
) -> list[SceneSummary]:
    """Write all rooms of a set below `root`; skip what is up to date.

    Args:
      root: gets `scans/<name>/` and `splits/{train,val,test}.txt`. The lists are
        written last: where they are, their scenes are complete.
      config: the set; None means the defaults.
      workers: processes; results do not depend on it.
      progress: show a progress bar.

    Returns:
      One summary a scene, in the order of train, val and test.

    Raises:
      InputError: for bad settings, a full disk, or a second run on the same root.
    """
    config = config or RoomsConfig()
    if workers < 1:
        raise InputError(
            f"write_rooms: workers must be at least 1, got {workers}. "
            "Use 1 or the number of cores."
        )
    root = pathlib.Path(root)
    table = config.scenes()
    jobs = [
        (root / "scans" / name, seed, config)
        for scenes in table.values()
        for name, seed in scenes
    ]
    with workspace_lock(root):
        # Under the lock nobody else writes: what is left here is from a killed run.
        for left in (root / "scans").glob(".*.tmp"):
            shutil.rmtree(left, ignore_errors=True)
        bar = tqdm(total=len(jobs), unit="room", desc="rooms", disable=not progress)
        summaries = []
        with bar:
            for summary in _run(jobs, workers):
                summaries.append(summary)
                bar.update()
        for split, scenes in table.items():
            lines = "".join(f"{name}\n" for name, _ in scenes)
            atomic_write(root / "splits" / f"{split}.txt", lines.encode())
    return summaries


Job = tuple[pathlib.Path, int, RoomsConfig]


def _run(jobs: list[Job], workers: int) -> Iterator[SceneSummary]:
    """Write scenes here or in processes, in order."""
    if workers == 1 or len(jobs) == 1:
        yield from map(_write_one, jobs)
        return
    with worker_pool(min(workers, len(jobs))) as pool:
        try:
            yield from pool.map(_write_one, jobs)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _write_one(job: Job) -> SceneSummary:
    folder, seed, config = job
    return write_scene(make_room(seed, config.rooms), folder, config.write)
