"""Cut every scene of a data set into superpoints.

    python experiments/make_superpoints.py --flagfile=rooms.flags

Writes <workspace>/superpoints/<scene>.safetensors. Scenes that are up to date are
skipped, so a killed run goes on where it stopped; several workers share the scenes.
"""

from collections.abc import Sequence

import numpy as np
import settings
import stage_flags

from sas_jax.artefacts.stage import Job, Tally
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
    workspace, memo = settings.workspace(), settings.memo()
    config, scans = stage_flags.SUPERPOINT.make(), {s.name: s for s in wanted}

    def job(name: str) -> Job:
        key = superpoint_key(scans[name].key("geometry", memo=memo), config)
        return Job(name, workspace.superpoints(name), key)

    def make(job: Job) -> None:
        scene = scans[job.name].open(annotations=False)
        ids = segment_scene(scene, config)
        save_superpoints(job.path, ids, key=job.key, points=scene.points)

    return settings.run_scenes("superpoints", [job(name) for name in scans], make)


def of_scene(scan: Scan, scene: Scene) -> np.ndarray:
    """Return the superpoint of each point of a scene, [P] i32, made now where due."""
    if not cut([scan]).made:
        print("superpoints: up to date")
    return load_superpoints(settings.workspace().superpoints(scan.name), scene.points)


if __name__ == "__main__":
    settings.run(main)
