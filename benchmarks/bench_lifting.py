"""Time pixels to points to fused superpoints: 150,000 points, 300 frames, 512 channels.

    python benchmarks/bench_lifting.py [--points 150000] [--frames 300]

A furnished room is seen by two dense teachers with a vector for every pixel of 320x240;
their features are averaged over views, fused by capability, averaged over superpoints,
written and read again. What frames and teachers take is left out: both are made here.
"""

import argparse
import pathlib
import statistics
import sys
import tempfile
import time
from collections.abc import Callable

import furnished_room
import measure
import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from sas_jax.artefacts import features as store
from sas_jax.artefacts.space import TextFeatures, TextSpace
from sas_jax.fusion.fuse import fuse
from sas_jax.lifting.extract import extract_scene
from sas_jax.superpoints.segment import segment_mesh
from sas_jax.teachers.contracts import TeacherSpec

_CHANNELS = 512
_CLASSES = 20
_SPACE = TextSpace("benchmark", "0" * 64, _CHANNELS)
_READS = 9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=150_000)
    parser.add_argument("--frames", type=int, default=300)
    args = parser.parse_args()
    clock = Clock()
    scene = furnished_room.scene(args.points, args.frames, clock.paused)
    superpoints = segment_mesh(scene.points, scene.faces)
    teachers = [Teacher(name, seed, clock) for seed, name in enumerate("ab")]
    row = {"points": args.points, "frames": args.frames, "channels": _CHANNELS}

    clock.start()
    lifted = extract_scene(scene, teachers)
    row["lift_s"], row["views"] = clock.lap(), int(lifted[0].counts.sum())
    rng = np.random.default_rng(5)
    capability = rng.uniform(0.2, 0.9, (len(teachers), _CLASSES)).astype(np.float32)
    texts = TextFeatures(_unit(rng.normal(size=(_CLASSES, _CHANNELS))), _SPACE)
    named = {t.spec.name: f for t, f in zip(teachers, lifted, strict=True)}
    clock.start()
    fused = fuse(named, capability, texts)
    row["fuse_s"] = clock.lap()
    means = store.superpoint_means(fused, superpoints)
    row["means_s"], row["superpoints"] = clock.lap(), len(means.feat)
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "fused.safetensors"
        store.save_features(path, means, key="benchmark")
        row["save_s"] = clock.lap()
        row["file_mb"] = round(path.stat().st_size / 1e6, 2)
        row["read_ms"] = round(1e3 * _median(lambda: store.load_features(path)), 1)
    row["total_s"] = round(sum(row[f"{n}_s"] for n in ("lift", "fuse", "means")), 2)
    row["peak_gb"] = measure.peak_gb()
    measure.append("lifting", row)


class Clock:
    """Wall time but for what is paused."""

    def __init__(self) -> None:
        self.start()

    def start(self) -> None:
        """Begin to count."""
        self._began = time.perf_counter()

    def lap(self) -> float:
        """Return seconds since the last start or lap, and begin again."""
        seconds = time.perf_counter() - self._began
        self.start()
        return round(seconds, 2)

    def paused(self, make: Callable):
        """Return what `make` returns; its time does not count."""
        began = time.perf_counter()
        made = make()
        self._began += time.perf_counter() - began
        return made


class Teacher:
    """A `DenseTeacher` whose pixels are rows of one random table, other ones each time.

    Attributes:
      spec: see `teachers.contracts`.
    """

    def __init__(self, name: str, seed: int, clock: Clock):
        self.spec = TeacherSpec(name, "dense", _SPACE, _CHANNELS, f"random:{seed}", {})
        self._rng = np.random.default_rng(seed)
        self._clock = clock

    def features(self, images):
        """Return f16 [H, W, C] of every image, in memory of its own."""
        return self._clock.paused(lambda: [self._make(image) for image in images])

    def _make(self, image):
        table = self._rng.standard_normal((509, _CHANNELS), np.float32)
        table = _unit(table).astype(np.float16)
        rows = np.arange(image.shape[0] * image.shape[1]) % len(table)
        return np.take(table, rows, axis=0).reshape(*image.shape[:2], _CHANNELS)


def _unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def _median(run: Callable[[], object]) -> float:
    return statistics.median(measure.time_once(run)[0] for _ in range(_READS))


if __name__ == "__main__":
    main()
