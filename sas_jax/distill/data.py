"""Training scenes: points, superpoints and what the student is to learn at each.

P points, L superpoints, R target rows, C channels. A target row is the fused feature
of a superpoint (`level="superpoint"`) or of a seen point (`level="point"`).
"""

import collections
import dataclasses
import pathlib
import threading
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
from jaxtyping import Float32, Int32

from sas_jax.artefacts.features import Features, load_features, superpoint_means
from sas_jax.artefacts.files import content_key, read_manifest
from sas_jax.artefacts.space import TextSpace, one_space
from sas_jax.artefacts.superpoints import load_superpoints
from sas_jax.datasets.contracts import Scan
from sas_jax.distill.config import TrainConfig
from sas_jax.errors import ContractError, DamagedFile, InputError
from sas_jax.stages import command


@dataclasses.dataclass(frozen=True)
class TrainScene:
    """One scene as the batches need it.

    Attributes:
      name: identifier, unique in a run.
      points: positions in metres.
      superpoint: superpoint id of each point, contiguous from 0.
      targets: fused features; a point with row -1 has nothing to learn.
      inputs: of the student, where it takes more than geometry: raw Gaussians.
      moved: what an augmentation, a similarity, makes of rows of `inputs`.
    """

    name: str
    points: Float32[np.ndarray, "P 3"]
    superpoint: Int32[np.ndarray, " P"]
    targets: Features
    inputs: Float32[np.ndarray, "P C_in"] | None = None
    moved: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None

    def __post_init__(self) -> None:
        num_points = len(self.points)
        inputs = num_points if self.inputs is None else len(self.inputs)
        lengths = {len(self.superpoint), self.targets.num_points, inputs}
        if lengths != {num_points}:
            raise ContractError(
                f"scene {self.name}: one superpoint and target row per point "
                f"({num_points}) is required, got {len(self.superpoint)} and "
                f"{self.targets.num_points}. Make all caches from the same scene."
            )

    @property
    def num_bytes(self) -> int:
        """Memory that the arrays take."""
        arrays = [self.points, self.superpoint, self.targets.feat, self.targets.row]
        arrays += [] if self.inputs is None else [self.inputs]
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


@dataclasses.dataclass(frozen=True)
class SceneFiles:
    """A scene whose targets lie in the feature store.

    Attributes:
      scan: where the points are.
      features: fused features, per point or per superpoint.
      superpoints: superpoint id per point, or None to make each point its own.
    """

    scan: Scan
    features: pathlib.Path
    superpoints: pathlib.Path | None

    @property
    def name(self) -> str:
        """Name of the scene."""
        return self.scan.name

    @property
    def key(self) -> str:
        """Content key of the files, from their manifests."""
        caches = (self.features, self.superpoints)
        return content_key([_key(path) for path in caches if path])

    def load(self, config: TrainConfig) -> TrainScene:
        """Read and verify the files of the scene.

        Raises:
          InputError: if a file is missing or damaged, or the files do not belong
            together; the message names the file.
        """
        points = self.scan.points()
        if self.superpoints is None:
            superpoint = np.arange(len(points), dtype=np.int32)
        else:
            superpoint = load_superpoints(self.superpoints, points)
        features = load_features(self.features, points)
        if features.space.dim != config.student.out_dim:
            raise InputError(
                f"train: features with the student's {config.student.out_dim} channels "
                f"are required, got {features.space.dim} ({self.features}). "
                "Use the text tower that the features were made with."
            )
        targets = targets_of(features, superpoint, config, self.features)
        return TrainScene(self.name, points, superpoint, targets)


def _key(path: pathlib.Path) -> str | None:
    """Return the content key of an artefact; None if unreadable, `load` says why."""
    try:
        return read_manifest(path)["key"]
    except DamagedFile:
        return None


def targets_of(
    features: Features,
    superpoint: Int32[np.ndarray, " P"],
    config: TrainConfig,
    where: object,
) -> Features:
    """Return what a student is to learn from fused features.

    Superpoint means are taken over all seen points. The paper maps them onto all
    points, so unseen points of a partly seen superpoint are taught too; the authors'
    code teaches seen points only, with means over the voxels that it sampled: their
    own features are what a batch needs.

    Args:
      features: with a row per point, or per superpoint.
      superpoint: superpoint id of each point.
      config: "level" and "compat" decide.
      where: names the features in errors.

    Raises:
      InputError: for superpoint means where points are needed, or means of others, and
        where confidence is asked for and there is none.
    """
    if config.confidence_weights and features.confidence is None:
        raise InputError(
            "train: features with a confidence are required for --confidence_weights, "
            f"got none ({where}). Run: {command('fuse_features')}, of several teachers "
            "and with a strategy that compares them with texts: capability or linear."
        )
    if features.level == "point":
        own = config.own_targets
        return features if own else superpoint_means(features, superpoint)
    if config.own_targets:
        raise InputError(
            f"train: a row per point is required for --distill={config.level} and "
            f"--compat={config.compat}, got one per {features.level} ({where}). Run "
            "fuse_features.py without --level."
        )
    own = (features.row == superpoint) | (features.row == -1)
    if not own.all() or superpoint.max(initial=-1) >= len(features.feat):
        raise InputError(
            "train: features of the superpoints at hand are required, got those of "
            f"others ({where}). Run fuse_features.py again."
        )
    return features


class SceneCache:
    """Keeps the scenes used last in memory; may be called from several threads.

    Args:
      sources: the scenes.
      config: what to load of them.
      max_bytes: memory for scenes; one that does not fit is loaded every time.
      space: text space that the targets must live in; None takes any.
    """

    def __init__(
        self,
        sources: Sequence[SceneSource],
        config: TrainConfig,
        max_bytes: int,
        space: TextSpace | None = None,
    ):
        self._sources = sources
        self._config = config
        self._max_bytes = max_bytes
        self._space = space
        self._bytes = 0
        self._scenes: collections.OrderedDict[int, TrainScene] = (
            collections.OrderedDict()
        )
        self._lock = threading.Lock()

    def __getstate__(self) -> dict:
        empty: dict[str, Any] = {
            "_lock": None,
            "_scenes": collections.OrderedDict(),
            "_bytes": 0,
        }
        return {**self.__dict__, **empty}

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state)
        self._lock = threading.Lock()

    def name(self, index: int) -> str:
        """Return the name of scene `index` of the sources."""
        return self._sources[index].name

    def load(self, index: int) -> TrainScene:
        """Return scene `index` of the sources.

        Raises:
          InputError: for targets in another text space; and what the source raises.
        """
        with self._lock:
            if index in self._scenes:
                self._scenes.move_to_end(index)
                return self._scenes[index]
        scene = self._sources[index].load(self._config)
        if self._space is not None:
            what = f"the features of scene {scene.name}"
            one_space("train", {"the texts": self._space, what: scene.targets.space})
        with self._lock:
            if index not in self._scenes:  # another thread may have been faster
                self._scenes[index] = scene
                self._bytes += scene.num_bytes
            while self._bytes > self._max_bytes:
                _, oldest = self._scenes.popitem(last=False)
                self._bytes -= oldest.num_bytes
        return scene
