"""Masks of frames at points: which mask of a frame each point lies in."""

import itertools
from collections.abc import Iterator

import numpy as np
from jaxtyping import Int32

from sas_jax.errors import InputError
from sas_jax.lifting.config import ExtractConfig
from sas_jax.lifting.lift import grid_cells
from sas_jax.lifting.project import project
from sas_jax.scenes.scene import Frame, Scene
from sas_jax.teachers.contracts import MaskTeacher, Teacher, is_mask

UNSEEN = -1
"""Of a point that a frame does not see; 0 is void, masks count from 1."""


def checked_masks(teacher: Teacher) -> MaskTeacher:
    """Return a teacher that has masks.

    Raises:
      InputError: if it has none.
    """
    if is_mask(teacher):
        return teacher
    raise InputError(
        f"mask votes: mask teachers are required, got {teacher.spec.name}, a "
        f"{teacher.spec.contract} one. Correct --mask_votes."
    )


def seen_masks(
    scene: Scene, teacher: MaskTeacher, config: ExtractConfig
) -> Iterator[Int32[np.ndarray, " P"]]:
    """Yield for every usable frame the mask of each point.

    Args:
      scene: points and frames; unusable frames are counted in `scene.skipped`.
      teacher: whose masks; their names do not matter.
      config: frames and what counts as seen; as for features.

    Raises:
      InputError: for faults of the scene.
    """
    frames = scene.frames(config.frame_stride)
    while batch := list(itertools.islice(frames, config.batch)):
        found = teacher.segment([frame.rgb for frame in batch])
        for frame, segments in zip(batch, found, strict=True):
            yield _at_points(scene, frame, segments.ids, config)


def _at_points(
    scene: Scene, frame: Frame, ids: Int32[np.ndarray, "h w"], config: ExtractConfig
) -> Int32[np.ndarray, " P"]:
    lift = config.lift
    pixel, visible = project(
        scene.points, frame, threshold=lift.threshold, border_px=lift.border_px
    )
    at = np.full(len(scene.points), UNSEEN, np.int32)
    cells = grid_cells(pixel[visible], frame.size_hw, ids.shape)
    at[visible] = ids[cells[:, 0], cells[:, 1]]
    return at
