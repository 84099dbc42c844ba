"""Training scenes: points, superpoints and what the student is to learn at each.

P points, L superpoints, R target rows, C channels. A target row is the fused feature
of a superpoint (`level="superpoint"`) or of a seen point (`level="point"`).
"""

import collections
import dataclasses
import json
import pathlib
import threading
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from jaxtyping import Float16, Float32, Int32

from sas_jax.artefacts import features as store
from sas_jax.artefacts.files import content_key
from sas_jax.distill.config import TrainConfig
from sas_jax.errors import InputError


@dataclasses.dataclass(frozen=True)
class TrainScene:
    """One scene as the batches need it.

    Attributes:
      name: identifier, unique in a run.
      points: positions in metres.
      superpoint: superpoint id of each point, contiguous from 0.
      targets: fused features.
      target_row: row of `targets` for each point, -1 where there is nothing to learn.
    """

    name: str
    points: Float32[np.ndarray, "P 3"]
    superpoint: Int32[np.ndarray, " P"]
    targets: Float16[np.ndarray, "R C"]
    target_row: Int32[np.ndarray, " P"]

    def __post_init__(self) -> None:
        num_points = len(self.points)
        if len(self.superpoint) != num_points or len(self.target_row) != num_points:
            raise InputError(
                f"scene {self.name}: one superpoint and target row per point "
                f"({num_points}) is required, got {len(self.superpoint)} and "
                f"{len(self.target_row)}. Make all caches from the same scene."
            )

    @property
    def num_bytes(self) -> int:
        """Memory that the arrays take."""
        arrays = (self.points, self.superpoint, self.targets, self.target_row)
        return sum(array.nbytes for array in arrays)

    @property
    def num_superpoints(self) -> int:
        """Number of superpoints, L."""
        return int(self.superpoint.max(initial=-1)) + 1


class SceneSource(Protocol):
    """Loads one scene when asked for; must be picklable for worker processes."""

    @property
    def name(self) -> str:
        """Name of the scene."""
        ...

    @property
    def key(self) -> str:
        """Content key: changes when `load` would return something else."""
        ...

    def load(self, config: TrainConfig) -> TrainScene:
        """Return the scene with the targets that the configuration asks for."""
        ...


def read_scannet_points(folder: pathlib.Path) -> Float32[np.ndarray, "P 3"]:
    """Return the mesh vertices of a scan in ScanNet's layout."""
    from sas_jax.datasets import scannet
    from sas_jax.scenes import ply

    return ply.read_ply(scannet.mesh_path(folder)).points


@dataclasses.dataclass(frozen=True)
class SceneFiles:
    """A scene whose targets lie in the feature store.

    Attributes:
      name: identifier.
      scene: what `read_points` takes, for ScanNet the folder of the scan.
      features: point features or superpoint features, as fusion wrote them.
      superpoints: superpoint id per point, or None to make each point its own.
      read_points: function that returns the points.
    """

    name: str
    scene: pathlib.Path
    features: pathlib.Path
    superpoints: pathlib.Path | None
    read_points: Callable[[pathlib.Path], np.ndarray] = read_scannet_points

    @property
    def key(self) -> str:
        """Content key of the files, from their manifests."""
        caches = (self.features, self.superpoints)
        return content_key([_manifest(path).get("key") for path in caches if path])

    def load(self, config: TrainConfig) -> TrainScene:
        """Read and verify the files of the scene.

        Raises:
          InputError: if a file is missing or damaged, or the files do not belong
            together; the message names the file.
        """
        points = self.read_points(self.scene)
        if self.superpoints is None:
            superpoint = np.arange(len(points), dtype=np.int32)
        else:
            superpoint = store.load_superpoints(self.superpoints, points)
        targets, target_row = self._targets(points, superpoint, config)
        if targets.shape[1] != config.student.out_dim:
            raise InputError(
                f"train: features with the student's {config.student.out_dim} channels "
                f"are required, got {targets.shape[1]} ({self.features}). "
                "Use the text tower that the features were made with."
            )
        return TrainScene(self.name, points, superpoint, targets, target_row)

    def _targets(
        self,
        points: Float32[np.ndarray, "P 3"],
        superpoint: Int32[np.ndarray, " P"],
        config: TrainConfig,
    ) -> tuple[Float16[np.ndarray, "R C"], Int32[np.ndarray, " P"]]:
        needs_points = config.level == "point" or config.compat == "official"
        schema = _manifest(self.features).get("schema")
        if needs_points or schema != store.SUPERPOINT_FEATURES:
            features = store.load_point_features(self.features, points)
            return point_targets(features, superpoint, config)
        means = store.load_superpoint_features(self.features, points)
        return means.feat, superpoint_rows(means, superpoint, self.features)


def _manifest(path: pathlib.Path) -> dict:
    """Return the manifest of an artefact; empty if unreadable, `load` says why."""
    try:
        manifest = json.loads(path.with_name(path.name + ".json").read_bytes())
    except (OSError, ValueError):
        return {}
    return manifest if isinstance(manifest, dict) else {}


def point_targets(
    features: store.PointFeatures,
    superpoint: Int32[np.ndarray, " P"],
    config: TrainConfig,
) -> tuple[Float16[np.ndarray, "R C"], Int32[np.ndarray, " P"]]:
    """Return targets and target rows from point features.

    Superpoint means are taken over all seen points. The paper maps them onto all
    points, so unseen points of a partly seen superpoint are taught too; the authors'
    code teaches seen points only, with means over the voxels that it sampled.
    """
    if config.level == "point":
        rows = np.full(features.num_points, -1, np.int32)
        rows[features.point_index] = np.arange(len(features.feat), dtype=np.int32)
        return features.feat, rows
    means = store.superpoint_means(features, superpoint)
    rows = superpoint_rows(means, superpoint, "point features")
    if config.compat == "official":
        rows = np.where(features.seen, rows, -1).astype(np.int32)
    return means.feat, rows


def superpoint_rows(
    means: store.SuperpointFeatures,
    superpoint: Int32[np.ndarray, " P"],
    where: object,
) -> Int32[np.ndarray, " P"]:
    """Return the superpoint of each point, -1 where it has no feature."""
    if superpoint.max(initial=-1) >= len(means.counts):
        raise InputError(
            f"train: features of all {superpoint.max() + 1} superpoints are required, "
            f"got {len(means.counts)} ({where}). Run fuse_features.py again."
        )
    has_mean = means.counts[superpoint] > 0
    return np.where(has_mean, superpoint, -1).astype(np.int32)


class SceneCache:
    """Keeps the scenes used last in memory; may be called from several threads.

    Args:
      sources: the scenes.
      config: what to load of them.
      max_bytes: memory for scenes; one that does not fit is loaded every time.
    """

    def __init__(
        self, sources: Sequence[SceneSource], config: TrainConfig, max_bytes: int
    ):
        self._sources = sources
        self._config = config
        self._max_bytes = max_bytes
        self._bytes = 0
        self._scenes: collections.OrderedDict[int, TrainScene] = (
            collections.OrderedDict()
        )
        self._lock = threading.Lock()

    def __getstate__(self) -> dict:
        empty = {"_lock": None, "_scenes": collections.OrderedDict(), "_bytes": 0}
        return {**self.__dict__, **empty}

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state)
        self._lock = threading.Lock()

    def load(self, index: int) -> TrainScene:
        """Return scene `index` of the sources."""
        with self._lock:
            if index in self._scenes:
                self._scenes.move_to_end(index)
                return self._scenes[index]
        scene = self._sources[index].load(self._config)
        with self._lock:
            if index not in self._scenes:  # another thread may have been faster
                self._scenes[index] = scene
                self._bytes += scene.num_bytes
            while self._bytes > self._max_bytes:
                _, oldest = self._scenes.popitem(last=False)
                self._bytes -= oldest.num_bytes
        return scene
