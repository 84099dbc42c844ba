"""Cut every scene of a data set into superpoints.

    python experiments/make_superpoints.py --flagfile=rooms.flags

Writes <workspace>/superpoints/<scene>.safetensors. Scenes that are up to date are
skipped, so a killed run goes on where it stopped. --workers share the scenes, on this
machine or wherever --ray places them; so do several runs of the same command.
"""

import time
from collections.abc import Callable, Sequence

import numpy as np
import scene_workers
import settings
import stage_flags
from tqdm import tqdm

from sas_jax.artefacts.dispatch import Answer, Task
from sas_jax.artefacts.lock import remove_left
from sas_jax.artefacts.stage import Job, Tally, try_group
from sas_jax.artefacts.superpoints import (
    load_superpoints,
    save_superpoints,
    superpoint_counts,
)
from sas_jax.datasets.contracts import Scan
from sas_jax.scenes.scene import Scene
from sas_jax.superpoints.stage import segment_scene, superpoint_key


def main() -> None:
    """Cut every scene."""
    scans = settings.scans(stage_flags.SPLITS.value)
    tally = cut(scans)
    paths = [settings.workspace().superpoints(scan.name) for scan in scans]
    counts = [superpoint_counts(path) for path in paths]
    points, superpoints = sum(p for p, _ in counts), sum(s for _, s in counts)
    row = {
        "scenes": len(scans),
        "made": tally.made,
        "superpoints/scene": round(superpoints / max(len(scans), 1)),
        "points/superpoint": round(points / max(superpoints, 1)),
        "seconds": tally.seconds,
    }
    print(settings.table([row]))


def cut(wanted: Sequence[Scan]) -> Tally:
    """Cut the scans whose superpoints are not up to date."""
    began, memo = time.monotonic(), settings.memo()
    scans = {scan.name: scan for scan in wanted}
    tasks = [Task(n, s, s.size("geometry", memo=memo)) for n, s in scans.items()]
    tally = Tally()
    with tqdm(total=len(scans), desc="superpoints", unit="scene") as bar:
        for made in scene_workers.answers("make_superpoints", tasks, bar):
            tally.made += made
        bar.leave = tally.made > 0  # nothing to be done is told in words
    tally.current = len(scans) - tally.made
    tally.seconds = time.monotonic() - began
    return tally


def worker(threads: int) -> Callable[[Scan], Answer]:
    """Return what cuts a scan, and says how many files it made."""
    workspace, memo = settings.workspace(), settings.memo()
    config = stage_flags.SUPERPOINT.make()
    remove_left(workspace.superpoint_folder)

    def work(scan: Scan) -> Answer:
        def make(due: Sequence[Job]) -> None:
            scene = scan.open(annotations=False)
            ids = segment_scene(scene, config)
            save_superpoints(due[0].path, ids, key=due[0].key, points=scene.points)

        key = superpoint_key(scan.key("geometry", memo=memo), config)
        job, tally = Job(scan.name, workspace.superpoints(scan.name), key), Tally()
        left = try_group([job], make, tally, verify=stage_flags.VERIFY.value)
        return Answer(tally.made, busy=bool(left))

    return work


def of_scene(scan: Scan, scene: Scene) -> np.ndarray:
    """Return the superpoint of each point of a scene, [P] i32, made now where due."""
    if not cut([scan]).made:
        print("superpoints: up to date")
    return load_superpoints(settings.workspace().superpoints(scan.name), scene.points)


if __name__ == "__main__":
    settings.run(main)
