"""Cut every scene of a data set in ScanNet's layout into superpoints.

    python experiments/make_superpoints.py --flagfile=rooms.flags

Writes <workspace>/superpoints/<scene>.safetensors. Scenes that are up to date are
skipped, so a killed run goes on where it stopped.
"""

import time

import numpy as np
import settings
import stage_flags as given
from tqdm import tqdm

from sas_jax.artefacts.features import load_superpoints, save_superpoints
from sas_jax.artefacts.files import is_current
from sas_jax.artefacts.lock import workspace_lock
from sas_jax.datasets.scannet import open_scene
from sas_jax.superpoints.stage import SuperpointConfig, segment_scene, superpoint_key


def main() -> None:
    folder = settings.workspace() / "superpoints"
    config = SuperpointConfig(given.K_THRESHOLD.value, given.MIN_VERTICES.value)
    made, sizes, start = 0, [], time.monotonic()
    scans = settings.scene_folders(given.SPLITS.value)
    with workspace_lock(folder):
        for scan in tqdm(scans, desc="superpoints", unit="scene"):
            scene = open_scene(scan, annotations=False)
            path = folder / f"{scan.name}.safetensors"
            key = superpoint_key(scene, config)
            if not is_current(path, key):
                ids = segment_scene(scene, config)
                save_superpoints(path, ids, key=key, points=scene.points)
                made += 1
            sizes.append(np.bincount(load_superpoints(path)))
    _print_table(sizes, made, time.monotonic() - start)


def _print_table(sizes: list[np.ndarray], made: int, seconds: float) -> None:
    mean = np.mean([len(s) for s in sizes]) if sizes else 0
    median = np.median(np.concatenate(sizes)) if sizes else 0
    head = ("scenes", "made", "superpoints/scene", "points/superpoint", "seconds")
    row = (len(sizes), made, f"{mean:.0f}", f"{median:.0f}", f"{seconds:.1f}")
    print("  ".join(head))
    print("  ".join(f"{v:>{len(h)}}" for h, v in zip(head, row, strict=True)))


if __name__ == "__main__":
    settings.run(main)
