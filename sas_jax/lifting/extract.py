"""Extraction: a scene and teachers to one mean feature per seen point and teacher.

Frames stream through in small batches, each read and its points projected once for all
teachers: segment or embed, align masks via text, add to a running mean. Reading and
projecting run ahead of the teachers and adding behind them, each on a thread of its
own. Memory does not grow with the number of frames: 4 P C bytes for every teacher, P
points and C channels (0.3 GB for 200,000 points and 384 channels), beside the networks,
three batches of frames and what two teachers said of one. The sums' memory is asked for
before the first frame is read.
"""

import contextlib
import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int32

from sas_jax import memory
from sas_jax.artefacts.features import Features, geometry_of
from sas_jax.artefacts.files import content_key
from sas_jax.artefacts.space import TextSpace
from sas_jax.artefacts.versions import decided_by, module_of
from sas_jax.errors import InputError
from sas_jax.lifting.align import align
from sas_jax.lifting.background import OneBehind, ahead
from sas_jax.lifting.config import ExtractConfig
from sas_jax.lifting.lift import FeatureImage, Lifter, MaskFeatures
from sas_jax.lifting.project import project
from sas_jax.scenes.scene import Frame, Scene
from sas_jax.teachers.contracts import (
    Captioner,
    DenseTeacher,
    Image,
    MaskTeacher,
    is_dense,
    is_mask,
)


def extract_scene(
    scene: Scene,
    teachers: Sequence[DenseTeacher | MaskTeacher],
    config: ExtractConfig | None = None,
    *,
    captioner: Captioner | None = None,
    on_frame: Callable[[Frame], None] | None = None,
) -> list[Features]:
    """Average features over all frames that see each point, for every teacher.

    Args:
      scene: points and frames; unusable frames are counted in `scene.skipped`.
      teachers: dense, or mask with a captioner.
      config: frames and lifting.
      captioner: describes the masks of mask teachers; None words the label alone.
      on_frame: called after each frame, for a progress bar.

    Returns:
      For each teacher float16 [M, C] for the M points that at least one frame saw; M
      may be 0.

    Raises:
      InputError: for a teacher without an extraction, faults of the scene, or more
        points than the memory that is free can hold features of.

    Deterministic: as far as the teachers are, and the same whatever the company that a
      teacher is in; PyTorch's last bits depend on the number of threads. Frames are
      added in their order.
    Source: SAS (arXiv 2503.08512) section 3.1.
    """
    config = config or ExtractConfig()
    lift = config.lift
    spaces = [_feature_space(teacher) for teacher in teachers]
    _check_memory(scene, [space.dim for space in spaces])
    lifters = [Lifter(len(scene.points), space, lift.compat) for space in spaces]
    views = ahead(_views(scene, config), config.batch)
    with contextlib.closing(views), OneBehind() as behind:
        for batch in _batches(views, config.batch):
            images = [view.frame.rgb for view in batch]
            for teacher, lifter in zip(teachers, lifters, strict=True):
                features = feature_images(images, teacher, captioner, lift.compat)
                behind(functools.partial(_add, lifter, batch, features))
            if on_frame is not None:
                for view in batch:
                    on_frame(view.frame)
    geometry = geometry_of(scene.points)
    lifters.reverse()
    # Each is let go before the next one's result takes memory.
    return [
        dataclasses.replace(lifters.pop().result(), geometry=geometry) for _ in spaces
    ]


class _View(NamedTuple):
    """A frame, the pixel of each point in it, and which points it sees."""

    frame: Frame
    pixel: Int32[np.ndarray, "P 2"]
    visible: Bool[np.ndarray, " P"]


def _views(scene: Scene, config: ExtractConfig) -> Iterator[_View]:
    for frame in scene.frames(config.frame_stride):
        threshold, border_px = config.lift.threshold, config.lift.border_px
        where = project(scene.points, frame, threshold=threshold, border_px=border_px)
        yield _View(frame, *where)


def _add(lifter: Lifter, batch: list[_View], features: list[FeatureImage]) -> None:
    for view, feature in zip(batch, features, strict=True):
        size_hw = view.frame.size_hw
        lifter.add(view.pixel, view.visible, feature, image_hw=size_hw)


def _check_memory(scene: Scene, dims: Sequence[int]) -> None:
    """Refuse a scene whose sums, and the largest result beside them, do not fit."""
    num_points = len(scene.points)
    memory.require(
        num_points * (4 * sum(dims) + 2 * max(dims, default=0)),
        f"features of {num_points} points from {len(dims)} teachers ({scene.name})",
        remedy="Thin the points (--thin_m), or extract one teacher after the other "
        "(--teachers).",
    )


def feature_images(
    images: Sequence[Image],
    teacher: DenseTeacher | MaskTeacher,
    captioner: Captioner | None = None,
    compat: str = "paper",
) -> list[FeatureImage]:
    """Return every image's features in the shared text space, per pixel or per mask.

    Args:
      images: uint8 RGB.
      teacher: dense, or mask.
      captioner: see `extract_scene`.
      compat: see `align`.

    Raises:
      InputError: for a heat teacher.
    """
    if is_dense(teacher):
        return list(teacher.features(images))
    if is_mask(teacher):
        return [
            _aligned(image, segments, teacher, captioner, compat)
            for image, segments in zip(images, teacher.segment(images), strict=True)
        ]
    raise InputError(
        f"extract: the teacher must be dense or mask, got {teacher.spec.contract} "
        f"({teacher.spec.name}). Choose another teacher."
    )


def extraction_key(
    scene_key: str,
    teacher: DenseTeacher | MaskTeacher,
    config: ExtractConfig,
    captioner: Captioner | None = None,
) -> str:
    """Return the content key of a scene's features: what they are made from.

    Args:
      scene_key: key of what is read of the scene (see `datasets.contracts.Scan.key`).
      teacher: its spec and code count.
      config: all but the batch counts.
      captioner: its id and code count, for a mask teacher.
    """
    masks = teacher.spec.contract == "mask"
    models = [teacher, *([captioner] if captioner and masks else [])]
    return content_key(
        {
            "made_by": decided_by(__name__, *map(module_of, models)),
            "scene": scene_key,
            "teacher": teacher.spec,
            "captioner": captioner.id if captioner and masks else None,
            "lift": config.lift,
            "frame_stride": config.frame_stride,
            "image_size_wh": config.image_size_wh,
        }
    )


class _TeacherText:
    """Encode alignment's sentences in a mask teacher's shared text space."""

    def __init__(self, teacher: MaskTeacher):
        self.dim = teacher.spec.feat_dim
        self.encode = teacher.encode_text


def _aligned(
    image: Image, segments, teacher: MaskTeacher, captioner: Captioner | None, compat
) -> MaskFeatures:
    if captioner is not None:
        captions = captioner.caption(image, segments)
        segments = dataclasses.replace(segments, captions=captions)
    return align(segments, _TeacherText(teacher), compat=compat)


def _feature_space(teacher: DenseTeacher | MaskTeacher) -> TextSpace:
    spec = teacher.spec
    if spec.feat_dim < 1 or spec.feat_dim != spec.text_space.dim:
        raise InputError(
            f"extract: the teacher must give features in {spec.text_space}, got "
            f"feat_dim {spec.feat_dim} ({spec.name}). Choose a dense or mask teacher."
        )
    return spec.text_space


def _batches(views: Iterator[_View], size: int) -> Iterator[list[_View]]:
    while batch := list(itertools.islice(views, size)):
        yield batch
