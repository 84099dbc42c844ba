"""A rehearsal: two steps of each stage on clouds of a true size, with random targets.

It tells before any feature was made which shapes batches have, what a step takes of
memory, and how long it lasts here.
"""

import dataclasses
import pathlib
import tempfile
from collections.abc import Sequence

import jax
import numpy as np
from jaxtyping import Float32, Int32

from sas_jax import memory
from sas_jax.artefacts.features import Features
from sas_jax.artefacts.files import content_key
from sas_jax.artefacts.space import TextFeatures, TextSpace
from sas_jax.classes import Vocabulary
from sas_jax.distill.buckets import Bucket
from sas_jax.distill.config import RunConfig, TrainConfig
from sas_jax.distill.data import TrainScene
from sas_jax.distill.footprint import step_bytes
from sas_jax.distill.setup import EncodedVocabulary, make_setup
from sas_jax.distill.train import train
from sas_jax.errors import InputError

VERSION = 0
"""It decides no numbers; see `artefacts.versions`."""

_CLASSES = 20
# Edge of the cells that stand for superpoints: some hundred points each, as those of
# ScanNet have.
_SUPERPOINT_M = 0.3
_HEIGHT_M = 2.6
_FURNITURE_M2 = 0.35  # of each m2 of walls, floor and ceiling


@dataclasses.dataclass(frozen=True)
class Rehearsal:
    """What was measured.

    Attributes:
      bucket: capacities of the usual batch on one device.
      step_bytes: what a step takes on one device, to about a tenth.
      free_bytes: what is free, None where nobody knows.
      seconds: of a step that does not compile; None where memory is too short for it.
      short: what is required, where memory is too short.
    """

    bucket: Bucket
    step_bytes: int
    free_bytes: int | None
    seconds: float | None
    short: str = ""


@dataclasses.dataclass(frozen=True)
class _Scene:
    """A cloud with random targets; see `data.SceneSource`."""

    name: str
    points: Float32[np.ndarray, "P 3"]
    space: TextSpace
    superpoints: bool

    @property
    def key(self) -> str:
        return content_key([self.name, self.points])

    def load(self, config: TrainConfig) -> TrainScene:
        count = len(self.points)
        superpoint = np.arange(count, dtype=np.int32)
        if self.superpoints:
            superpoint = _cells(self.points)
        rows = count
        row = np.arange(count, dtype=np.int32)
        if config.level == "superpoint":
            rows, row = int(superpoint.max(initial=-1)) + 1, superpoint
        rng = np.random.default_rng(0)
        feat = rng.standard_normal((rows, self.space.dim), dtype=np.float32)
        ones = np.ones(rows, np.int32)
        feat = feat.astype(np.float16)
        sure = ones.astype(np.float32)
        targets = Features(feat, row, ones, self.space, config.level, confidence=sure)
        return TrainScene(self.name, self.points, superpoint, targets)


def room(
    num_points: int, spacing_m: float, rng: np.random.Generator
) -> Float32[np.ndarray, "P 3"]:
    """Return points on the surfaces of a room with furniture.

    Args:
      num_points: P.
      spacing_m: mean distance of neighbours; with the points it decides how large the
        room is.
      rng: of places.
    """
    area = num_points * spacing_m**2 / (1 + _FURNITURE_M2)
    # Floor and ceiling 2 a^2 and four walls of the height.
    edge = (np.sqrt((4 * _HEIGHT_M) ** 2 + 8 * area) - 4 * _HEIGHT_M) / 4
    size = np.array([edge, edge, _HEIGHT_M])
    boxes = [(np.zeros(3), size)]
    for _ in range(max(1, round(area * _FURNITURE_M2 / 3))):  # of 3 m2 each
        own = rng.uniform(0.4, 1.0, 3)
        low = np.append(rng.uniform(0, np.maximum(edge - own[:2], 0.01)), 0)
        boxes.append((low, own))
    areas = np.array([_faces(size) for _, size in boxes])
    shares = rng.multinomial(num_points, areas.ravel() / areas.sum())
    parts = []
    for index, count in enumerate(shares):
        low, size = boxes[index // 6]
        axis, high = index % 6 // 2, index % 2
        spots = rng.uniform(0, 1, (count, 3))
        spots[:, axis] = high
        parts.append(low + spots * size)
    return np.concatenate(parts).astype(np.float32)


def rehearse(
    config: TrainConfig,
    clouds: Sequence[Float32[np.ndarray, "P 3"]],
    *,
    superpoints: bool = True,
) -> Rehearsal:
    """Train two steps of each stage that the configuration has.

    Args:
      config: of the real run.
      clouds: the scenes of one step, metres.
      superpoints: cut them; without, each point is its own.

    Raises:
      InputError: for clouds that no batch can be made of.
    """
    space = TextSpace("rehearsal", "0" * 64, config.student.out_dim)
    rng = np.random.default_rng(0)
    texts = rng.standard_normal((_CLASSES, space.dim), dtype=np.float32)
    texts /= np.linalg.norm(texts, axis=1, keepdims=True)
    names = tuple(f"class {i}" for i in range(_CLASSES))
    classes = EncodedVocabulary(
        Vocabulary("rehearsal", names), TextFeatures(texts, space)
    )
    scenes = [
        _Scene(f"scene{i}", cloud, space, superpoints) for i, cloud in enumerate(clouds)
    ]
    two = bool(0 < config.self_distillation < 1)
    short = dataclasses.replace(
        config,
        epochs=4 if two else 2,
        self_distillation=0.5 if two else config.self_distillation,
        loop=1,
        batch_size=len(scenes),
        initial_weights=None,
    )
    run = RunConfig(progress=False)
    setup = make_setup(short, scenes, classes, run, None)
    bucket = setup.policy.bucket(0)
    needed = step_bytes(short, bucket)
    free = memory.device_bytes(jax.devices()[0])
    with tempfile.TemporaryDirectory() as folder:
        try:
            done = train(short, scenes, classes, pathlib.Path(folder), run=run)
        except InputError as error:
            if free is not None and needed > free:
                return Rehearsal(bucket, needed, free, None, str(error))
            raise
    return Rehearsal(bucket, needed, free, done.speed["seconds_per_step"])


def _cells(points: Float32[np.ndarray, "P 3"]) -> Int32[np.ndarray, " P"]:
    cells = np.floor(points / _SUPERPOINT_M).astype(np.int64)
    cells -= cells.min(axis=0)
    sizes = cells.max(axis=0) + 1
    flat = (cells[:, 0] * sizes[1] + cells[:, 1]) * sizes[2] + cells[:, 2]
    return np.unique(flat, return_inverse=True)[1].astype(np.int32)


def _faces(size: Float32[np.ndarray, " 3"]) -> list[float]:
    """Return the areas of a box's faces, two of each axis."""
    x, y, z = (float(edge) for edge in size)
    return [y * z, y * z, x * z, x * z, x * y, x * y]
