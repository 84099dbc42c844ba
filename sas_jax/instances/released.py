"""Masks as OpenMask3D publishes them: `<scene>_masks.pt`, a tensor [P, K] of f16.

K masks over P points in the order of their scores, which are not in the file. Here a
score tells the place in that order, from 1 down to 1 / K.
"""

import pathlib

import numpy as np

from sas_jax.artefacts.torch_files import read_torch
from sas_jax.errors import InputError
from sas_jax.instances.masks import NO_CLASS, Instances


def mask_file(folder: pathlib.Path, scene: str) -> pathlib.Path:
    """Return where the masks of a scene are, if they are."""
    return folder / f"{scene}_masks.pt"


def read_masks(path: pathlib.Path, num_points: int) -> Instances:
    """Read the masks of a scene.

    Args:
      path: see `mask_file`.
      num_points: P.

    Returns:
      Instances without classes.

    Raises:
      InputError: for a damaged file, and masks of other points.
    """
    table = read_torch(path)
    shape = list(table.shape) if isinstance(table, np.ndarray) else type(table).__name__
    if (
        not isinstance(table, np.ndarray)
        or shape[:1] != [num_points]
        or table.ndim != 2
    ):
        raise InputError(
            f"instances: a tensor [{num_points}, K] of masks is required, got {shape} "
            f"({path}). Predict on the same points, in their order: those of the "
            "labelled mesh."
        )
    count = table.shape[1]
    packed = [np.packbits(column != 0) for column in table.T]
    return Instances(
        np.reshape(np.array(packed, np.uint8), (count, -(-num_points // 8))),
        num_points,
        ((count - np.arange(count)) / max(count, 1)).astype(np.float32),
        np.full(count, NO_CLASS, np.int32),
    )
