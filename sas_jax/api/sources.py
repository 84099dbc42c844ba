"""What answers questions about a scene, and texts in the space of its features."""

import os
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sas_jax.artefacts.features import Features, check_points
from sas_jax.artefacts.space import TextFeatures, TextSpace
from sas_jax.artefacts.workspace import CHECKPOINTS
from sas_jax.datasets.registry import open_folder
from sas_jax.distill.checkpoint import load_student as newest_checkpoint
from sas_jax.errors import InputError
from sas_jax.models import shipped
from sas_jax.models.config import StudentPrecision
from sas_jax.models.student import Predictor
from sas_jax.models.student_card import SUFFIX
from sas_jax.models.student_file import read_student
from sas_jax.scenes.scene import Scene
from sas_jax.text import registry as towers
from sas_jax.text.prompts import prompts

Source = Predictor | Features | Mapping[str, Features] | Callable[[Scene], Features]
"""What answers: a student, features of the scene at hand or of scenes by their names,
or a function that returns them."""


def open_scene(path: str | os.PathLike, **settings: Any) -> Scene:
    """Open one scan: a mesh or a cloud, posed RGB-D frames, ScanNet's, and others.

    Args:
      path: of the scan's folder or file.
      **settings: `image_size_wh`, `label_set`, `annotations`, and the fields of the
        data set that it is; see `datasets.registry.open_folder`.

    Raises:
      InputError: for an unknown layout or setting, and for damaged files.

    >>> import sas_jax
    >>> scene = sas_jax.open_scene(scan)
    >>> scene.points.shape, scene.points.dtype
    ((4, 3), dtype('float32'))
    """
    return open_folder(pathlib.Path(path), **settings)


def load_student(
    path: str | os.PathLike, precision: StudentPrecision = "f32"
) -> Predictor:
    """Load a trained student.

    Args:
      path: file of `sas-jax export_student`, folder of a training run, or "rooms", the
        student that comes with the package.
      precision: what it computes in; "bf16" is nearly twice as fast, see `Predictor`.

    Raises:
      InputError: when there is none, or it is damaged; for bf16 on a processor that
        does not multiply it.

    >>> import sas_jax
    >>> sas_jax.load_student(student).student.class_names
    ('wall', 'chair')
    >>> sas_jax.load_student("rooms").student.voxel_size_m
    0.08
    """
    path = student_path(path)
    if path.suffix == SUFFIX:
        return Predictor(read_student(path), precision)
    inside = path / CHECKPOINTS
    student = newest_checkpoint(inside if inside.is_dir() else path)
    return Predictor(student, precision)


def encode(texts: Sequence[str], space: TextSpace) -> TextFeatures:
    """Encode texts with the tower of a space.

    Args:
      texts: as they are to be read; `predict` and `fuse` put class names into the
        paper's sentence.
      space: of the features that they are compared with, e.g. `features.space`.

    Raises:
      InputError: when the tower, or one with these weights, is not on this machine, or
        knows no word of a text.

    >>> import sas_jax
    >>> sas_jax.encode(["a red chair"], a.space).rows.shape
    (1, 384)
    """
    texts = listed("encode", texts)
    tower = towers.of_space(space, "the features")
    tower.check(texts)
    return TextFeatures(tower.encode(texts), space)


def student_path(path: str | os.PathLike) -> pathlib.Path:
    """Return the file or folder of a student, of one of the package by its name."""
    own = shipped.find(path) if isinstance(path, str) else None
    return pathlib.Path(path) if own is None else own


def listed(where: str, texts: Sequence[str]) -> list[str]:
    """Return texts as a list; one text would be taken for a list of its letters."""
    if isinstance(texts, str):
        raise InputError(
            f"{where}: a list of texts is required, got the text {texts!r}. Put it in "
            "brackets."
        )
    return list(texts)


def class_texts(where: str, classes: Sequence[str], space: TextSpace) -> TextFeatures:
    """Return the texts of classes, in the sentence of the paper."""
    names = listed(where, classes)
    if not names:
        raise InputError(
            f"{where}: at least one class is required, got none. Give names, e.g. "
            '["wall", "chair"].'
        )
    towers.of_space(space, "the features").check(names)
    return encode(prompts(names), space)


def features_of(source: Source, scene: Scene) -> Features:
    """Return what answers for the points of a scene."""
    if isinstance(source, Predictor):
        return source.features(scene.points)
    if isinstance(source, Mapping):
        if scene.name not in source:
            raise InputError(
                f"source: features of {scene.name} are required, got those of "
                f"{', '.join(map(str, source)) or 'no scene'}. Extract them."
            )
        found = source[scene.name]
    elif isinstance(source, Features) or callable(source):
        found = source if isinstance(source, Features) else source(scene)
    else:
        raise InputError(
            "source: a student, features, features by the names of scenes or a "
            f"function of a scene is required, got {type(source).__name__}. Load it: "
            "load_student, load_features."
        )
    held = (found.num_points, found.geometry)
    check_points(scene.points, *held, scene.name, ("extract_features",))
    return found
