"""Cut every scene of a data set into superpoints.

    python experiments/make_superpoints.py --flagfile=rooms.flags

Writes <workspace>/superpoints/<scene>.safetensors. Scenes that are up to date are
skipped, so a killed run goes on where it stopped.
"""

import time

import settings
import stage_flags as given
from tqdm import tqdm

from sas_jax.artefacts.lock import workspace_lock
from sas_jax.artefacts.superpoints import save_superpoints, superpoint_counts
from sas_jax.superpoints.stage import SuperpointConfig, segment_scene, superpoint_key


def main() -> None:
    folder = settings.workspace() / "superpoints"
    config = SuperpointConfig(given.K_THRESHOLD.value, given.MIN_VERTICES.value)
    made, counts, start = 0, [], time.monotonic()
    memo = settings.memo()
    scans = settings.scans(given.SPLITS.value)
    with workspace_lock(folder):
        for scan in tqdm(scans, desc="superpoints", unit="scene"):
            path = folder / f"{scan.name}.safetensors"
            key = superpoint_key(scan.key("geometry", memo=memo), config)
            if not settings.is_current(path, key):
                scene = scan.open(annotations=False)
                ids = segment_scene(scene, config)
                save_superpoints(path, ids, key=key, points=scene.points)
                made += 1
            counts.append(superpoint_counts(path))
    _print_table(counts, made, time.monotonic() - start)


def _print_table(counts: list[tuple[int, int]], made: int, seconds: float) -> None:
    points, superpoints = sum(p for p, _ in counts), sum(s for _, s in counts)
    mean, size = superpoints / max(len(counts), 1), points / max(superpoints, 1)
    head = ("scenes", "made", "superpoints/scene", "points/superpoint", "seconds")
    row = (len(counts), made, f"{mean:.0f}", f"{size:.0f}", f"{seconds:.1f}")
    print("  ".join(head))
    print("  ".join(f"{v:>{len(h)}}" for h, v in zip(head, row, strict=True)))


if __name__ == "__main__":
    settings.run(main)
