"""From teachers' features to a student: fusion, superpoints, training."""

import dataclasses
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, Int32

from sas_jax.api.sources import class_texts, features_of, student_path
from sas_jax.artefacts.features import Features
from sas_jax.artefacts.files import content_key
from sas_jax.classes import Vocabulary
from sas_jax.distill import train as training
from sas_jax.distill.config import (
    Augmentation,
    AugmentConfig,
    RunConfig,
    TrainConfig,
    named_augmentation,
)
from sas_jax.distill.data import TrainScene, targets_of
from sas_jax.errors import InputError
from sas_jax.fusion import fuse as fusion
from sas_jax.fusion.strategies import FuseConfig, Name, Strategy
from sas_jax.models.config import StudentConfig
from sas_jax.scenes.scene import Scene
from sas_jax.superpoints.config import SuperpointConfig
from sas_jax.superpoints.stage import segment_scene


def fuse(
    features: Mapping[str, Features],
    *,
    classes: Sequence[str] = (),
    capability: Float[np.ndarray, "T K"] | None = None,
    strategy: Name | Strategy | None = None,
    **config: Any,
) -> Features:
    """Fuse the features that several teachers have of one scene.

    Args:
      features: teacher -> features, e.g. of `load_features`.
      classes: K names that "capability" and "linear" compare on.
      capability: mIoU of each teacher on each class, for the strategy "capability".
      strategy: a name, or a function of one's own: it gets `fusion.strategies.Votes`
        and returns the weight of each teacher on each point, [T, M]. None takes
        "capability" with a table and "add" without.
      **config: other fields of `fusion.strategies.FuseConfig`.

    Raises:
      InputError: when the features are of several scenes or text spaces.

    >>> import sas_jax
    >>> mean = sas_jax.fuse({"a": a, "b": b})
    >>> bool((mean.feat == (a.feat + b.feat) / 2).all())
    True
    >>> table = [[0.9, 0.1], [0.1, 0.8]]
    >>> fused = sas_jax.fuse({"a": a, "b": b}, classes=["bed", "sink"],
    ...                      capability=table)
    >>> fused.num_points
    4
    >>> def only_a(votes): return [[1] * 4, [0] * 4]
    >>> first = sas_jax.fuse({"a": a, "b": b}, strategy=only_a)
    >>> bool((first.feat == a.feat).all())
    True
    """
    usual: Name = "add" if capability is None else "capability"
    name = strategy if isinstance(strategy, str) else usual
    texts = None
    if classes and features:
        space = next(iter(features.values())).space
        texts = class_texts("fuse", classes, space)
    table = None if capability is None else np.asarray(capability, np.float32)
    own = None if strategy is None or isinstance(strategy, str) else strategy
    config_of = FuseConfig(strategy=name, **config)
    return fusion.fuse(features, table, texts, config_of, own)


def cut_superpoints(scene: Scene, **config: Any) -> Int32[np.ndarray, " P"]:
    """Cut a scene into superpoints.

    Args:
      scene: with faces, or a cloud with normals.
      **config: fields of `SuperpointConfig`.

    Raises:
      InputError: for values out of range.

    >>> import sas_jax
    >>> sas_jax.cut_superpoints(sas_jax.open_scene(scan), min_vertices=1)
    array([0, 0, 0, 0], dtype=int32)
    """
    return segment_scene(scene, SuperpointConfig(**config))


def train(
    scenes: Iterable[tuple[Scene, Features]],
    classes: Sequence[str],
    folder: str | os.PathLike,
    *,
    arch: str | None = None,
    superpoints: Mapping[str, Any] | None = None,
    augment: Augmentation | AugmentConfig = "full",
    run: RunConfig | None = None,
    init_from: str | os.PathLike | None = None,
    **config: Any,
) -> training.TrainResult:
    """Distil features of scenes, all in memory, into a student; or go on with that.

    Args:
      scenes: scene and (fused) features of its points.
      classes: names that pseudo labels choose from.
      folder: of the run; `load_student` takes it.
      arch: name of a network, see `StudentConfig`.
      superpoints: how scenes are cut: what `cut_superpoints` takes.
      augment: random transforms, or the name of a choice, see `named_augmentation`:
        "aligned" for few rooms whose walls stand along the axes.
      run: how it is carried out.
      init_from: student to begin with: "rooms", a file, or a run's checkpoints.
      **config: fields of `TrainConfig`; the defaults are the paper's, for hundreds of
        scenes.

    Raises:
      InputError: for inconsistent scenes or values.

    >>> import sas_jax
    >>> scene = sas_jax.open_scene(scan)
    >>> done = sas_jax.train([(scene, a)], ["wall", "chair"], folder, epochs=1, loop=1,
    ...                      arch="MinkUNet14S", self_distillation=0)
    >>> done.completed
    True
    """
    cut = SuperpointConfig(**(superpoints or {}))
    moved = named_augmentation(augment) if isinstance(augment, str) else augment
    sources = [
        _Opened(s.name, s.points, segment_scene(s, cut), features_of(f, s))
        for s, f in scenes
    ]
    if not sources:
        raise InputError("train: at least one scene is required, got none. Give one.")
    texts = class_texts("train", classes, sources[0].features.space)
    student = StudentConfig(out_dim=texts.space.dim)
    if arch is not None:
        student = dataclasses.replace(student, arch=arch)
    return training.train(
        TrainConfig(student=student, augment=moved, **config),
        sources,
        training.EncodedVocabulary(Vocabulary("asked", tuple(classes)), texts),
        folder,
        run=run,
        init_from=None if init_from is None else student_path(init_from),
    )


@dataclasses.dataclass(frozen=True)
class _Opened:
    """A training scene in memory; see `distill.data.SceneSource`."""

    name: str
    points: Float32[np.ndarray, "P 3"]
    superpoint: Int32[np.ndarray, " P"]
    features: Features

    @property
    def key(self) -> str:
        own = self.features
        held = (self.points, self.superpoint, own.feat, own.row, own.confidence)
        return content_key(held)

    def load(self, config: TrainConfig) -> TrainScene:
        targets = targets_of(self.features, self.superpoint, config, self.name)
        return TrainScene(self.name, self.points, self.superpoint, targets)
